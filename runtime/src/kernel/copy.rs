//! Copies of elements between any two layouts: whole lines where both are contiguous, blocks where one is contiguous
//! along another axis than the other (a transpose), else element by element.

use std::ops::Range;

use crate::kernel::call::{Operand, Source};
use crate::kernel::element::with_bits;
use crate::kernel::grid::Grid;
use crate::kernel::tile::Out;
use crate::types::{DType, MAX_RANK};

/// Side of the blocks of a transpose, in elements: the lines of a block of the widest elements fill an eighth of the
/// first-level cache.
const BLOCK: usize = 16;

/// A prepared copy. Layout 0 of the grid is read, layout 1 written.
#[derive(Debug)]
pub struct Copy {
    grid: Grid,
    dtype: DType,
    /// The axis along which the operand is contiguous, where that is not the innermost.
    across: Option<usize>,
}

impl Copy {
    pub fn new(grid: Grid, dtype: DType) -> Copy {
        let inner = grid.extents.len() - 1;
        let turned = grid.strides[1][inner] == 1 && grid.strides[0][inner].abs() > 1;
        let across = (0..inner).rev().find(|&axis| turned && grid.strides[0][axis] == 1 && grid.extents[axis] > 1);
        Copy { grid, dtype, across }
    }

    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Copies the elements of the positions `range`.
    pub fn run(&self, read: &Operand, out: &mut Out, range: Range<usize>) {
        self.run_from(read, 0, out, range);
    }

    /// Likewise, from elements of the operand that lie `shift` further on than its layout says.
    pub fn run_from(&self, read: &Operand, shift: i64, out: &mut Out, range: Range<usize>) {
        // An operand tied to the result is there already.
        let Source::Bytes(bytes) = read.source else { return };
        let origin = read.layout.offset + self.grid.starts[0] + shift;
        with_bits!(self.dtype, Bits => {
            let source: &[Bits] = bytemuck::cast_slice(bytes);
            let target: &mut [Bits] = bytemuck::cast_slice_mut(out.bytes);
            match self.across {
                Some(axis) => self.blocks(source, origin, target, out.origin, range, axis),
                None => self.lines(source, origin, target, out.origin, range),
            }
        });
    }

    fn lines<T: Clone + std::marker::Copy>(
        &self,
        source: &[T],
        from: i64,
        target: &mut [T],
        to: i64,
        range: Range<usize>,
    ) {
        let strides = (self.grid.run_stride(0), self.grid.run_stride(1));
        let reads = self.grid.runs(0, range.start, range.len());
        let writes = self.grid.runs(1, range.start, range.len());
        for ((read, n), (write, _)) in reads.zip(writes) {
            let (mut read, mut write) = (from + read, to + write);
            match strides {
                (1, 1) => target[write as usize..][..n].copy_from_slice(&source[read as usize..][..n]),
                (0, 1) => target[write as usize..][..n].fill(source[read as usize]),
                (stride, 1) => {
                    for element in &mut target[write as usize..][..n] {
                        *element = source[read as usize];
                        read += stride;
                    }
                }
                _ => {
                    for _ in 0..n {
                        target[write as usize] = source[read as usize];
                        read += strides.0;
                        write += strides.1;
                    }
                }
            }
        }
    }

    /// Copies by blocks over the innermost axis, along which the result is contiguous, and `axis`, along which the
    /// operand is. Ranges begin and end within a plane of the two where threads divide it; such planes go by lines.
    fn blocks<T: Clone + std::marker::Copy>(
        &self,
        source: &[T],
        from: i64,
        target: &mut [T],
        to: i64,
        range: Range<usize>,
        axis: usize,
    ) {
        let extents = &self.grid.extents;
        let inner = extents.len() - 1;
        let (read_strides, write_strides) = (&self.grid.strides[0], &self.grid.strides[1]);
        // The positions below one index of the axes outside `axis` are whole boxes.
        let below: usize = extents[axis..].iter().product();
        let first = range.start.next_multiple_of(below.max(1)).min(range.end);
        let last = (range.end / below.max(1) * below).max(first);
        self.lines(source, from, target, to, range.start..first);
        self.lines(source, from, target, to, last..range.end);
        let (rows, columns) = (extents[axis], extents[inner]);
        let middle = &extents[axis + 1..inner];
        let boxes: usize = middle.iter().product();
        for position in (first..last).step_by(below.max(1)) {
            let (read, write) = (from + self.grid.offset(0, position), to + self.grid.offset(1, position));
            let mut index = [0usize; MAX_RANK];
            let (mut read, mut write) = (read, write);
            for _ in 0..boxes {
                let plane =
                    Plane { rows, columns, read_stride: read_strides[inner], write_stride: write_strides[axis] };
                transpose(source, read, target, write, &plane);
                for (at, &extent) in middle.iter().enumerate().rev() {
                    let strides = (read_strides[axis + 1 + at], write_strides[axis + 1 + at]);
                    index[at] += 1;
                    (read, write) = (read + strides.0, write + strides.1);
                    if index[at] < extent {
                        break;
                    }
                    index[at] = 0;
                    (read, write) = (read - strides.0 * extent as i64, write - strides.1 * extent as i64);
                }
            }
        }
    }
}

/// A matrix of `rows` and `columns` written row by row.
struct Plane {
    rows: usize,
    columns: usize,
    /// Between columns of the operand, whose rows are contiguous.
    read_stride: i64,
    /// Between rows of the result, whose columns are contiguous.
    write_stride: i64,
}

fn transpose<T: std::marker::Copy>(source: &[T], read: i64, target: &mut [T], write: i64, plane: &Plane) {
    for row in (0..plane.rows).step_by(BLOCK) {
        let rows = BLOCK.min(plane.rows - row);
        for column in (0..plane.columns).step_by(BLOCK) {
            let columns = BLOCK.min(plane.columns - column);
            let read = read + row as i64 + column as i64 * plane.read_stride;
            let write = write + row as i64 * plane.write_stride + column as i64;
            // Reads run along the operand's lines, and the block's lines of the result stay in cache.
            if rows == BLOCK && columns == BLOCK {
                let mut block = [[source[read as usize]; BLOCK]; BLOCK];
                for (j, line) in block.iter_mut().enumerate() {
                    line.copy_from_slice(&source[(read + j as i64 * plane.read_stride) as usize..][..BLOCK]);
                }
                for i in 0..BLOCK {
                    let line = &mut target[(write + i as i64 * plane.write_stride) as usize..][..BLOCK];
                    for (j, element) in line.iter_mut().enumerate() {
                        *element = block[j][i];
                    }
                }
            } else {
                for i in 0..rows {
                    let line = &mut target[(write + i as i64 * plane.write_stride) as usize..][..columns];
                    for (j, element) in line.iter_mut().enumerate() {
                        *element = source[(read + i as i64 + j as i64 * plane.read_stride) as usize];
                    }
                }
            }
        }
    }
}
