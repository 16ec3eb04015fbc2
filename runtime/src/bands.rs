//! One result written by several threads, each in tiles of its own.
//!
//! Threads that split a result by columns, or that write into a strided region of a larger buffer, cannot be given
//! `&mut [T]` pieces by the standard library, since their rows interleave. This file, together with `arena`, is where
//! disjointness is an argument and not a type: [`Bands::new`] accepts only a layout that maps no two indices to the
//! same element; [`Bands::run`] hands out each tile of the index space once; a [`Tile`] lets its holder touch the
//! elements of its own indices and no others. So no element is reachable from two threads.
//!
//! Tiles have a fixed size that does not depend on the number of threads, and whoever computes a tile does so in the
//! same way; results therefore do not depend on the number of threads either.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::kernel::call::{RunError, Threads};
use crate::kernel::stack::{Stack, StackStrides};

/// A written layout cut into tiles, checked to be injective.
#[derive(Clone, Debug)]
pub struct Bands {
    stack: Stack,
    strides: StackStrides,
    /// Lowest and one past the highest element written, relative to the offset of the layout; `None` when there are
    /// no elements.
    hull: Option<(i64, i64)>,
    /// Bytes of an element.
    element: usize,
    tile_rows: usize,
    tile_columns: usize,
    tiles: usize,
    /// Batch entries in a row whose tiles of the same columns share operands.
    shared: usize,
}

impl Bands {
    /// Tiles of at most `tile_rows` x `tile_columns` over `stack`, for elements of `element` bytes.
    pub fn new(
        stack: Stack,
        strides: StackStrides,
        element: usize,
        tile_rows: usize,
        tile_columns: usize,
    ) -> Result<Bands, String> {
        let layout = strides.layout(&stack);
        if !layout.is_injective() {
            return Err("the written layout names an element twice".into());
        }
        let hull = layout.hull();
        if hull.is_none() && !layout.is_empty() {
            return Err("the written layout overflows".into());
        }
        let (tile_rows, tile_columns) = (tile_rows.max(1), tile_columns.max(1));
        let tiles = [stack.batches(), stack.rows().div_ceil(tile_rows), stack.columns().div_ceil(tile_columns)]
            .into_iter()
            .try_fold(1usize, usize::checked_mul)
            .ok_or("a product has too many tiles")?;
        Ok(Bands { stack, strides, hull, element, tile_rows, tile_columns, tiles, shared: 1 })
    }

    /// Makes tiles of the same columns follow each other for each `shared` batch entries in a row, and counts them as one
    /// batch entry when [`Bands::run`] tells what a thread computed before.
    pub fn sharing(self, shared: usize) -> Bands {
        let divides = shared > 0 && self.stack.batches().is_multiple_of(shared);
        Bands { shared: if divides { shared } else { 1 }, ..self }
    }

    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// How many threads find work.
    pub fn workers(&self, threads: usize) -> usize {
        threads.min(self.tiles).max(1)
    }

    /// Calls `work` once for each tile, on up to `threads.count` threads. Element zero of the layout is element
    /// `offset` of `out`. Each thread has `scratch` bytes of `workspace` for itself; they keep what the thread left
    /// there in its previous tile of this call, whose family of batch entries ([`Bands::sharing`]) and first column
    /// `work` is told. Tiles that differ in rows alone follow each other.
    pub fn run(
        &self,
        threads: Threads,
        out: &mut [u8],
        offset: i64,
        workspace: &mut [u8],
        scratch: usize,
        work: impl Fn(Tile, &mut [u8], Option<(usize, usize)>) + Sync,
    ) -> Result<(), RunError> {
        let Some((low, high)) = self.hull else { return Ok(()) };
        let elements = out.len() / self.element;
        let inside = offset.checked_add(low).is_some_and(|low| low >= 0)
            && offset.checked_add(high).is_some_and(|high| usize::try_from(high).is_ok_and(|high| high <= elements));
        if !inside {
            return Err(RunError::Argument("a result lies outside its buffer".into()));
        }
        if !out.as_ptr().addr().is_multiple_of(self.element) || !workspace.as_ptr().addr().is_multiple_of(8) {
            return Err(RunError::Argument("a buffer is not aligned to its elements".into()));
        }
        let scratch = scratch.max(1).next_multiple_of(64);
        let workers = self.workers(threads.count);
        if workers.checked_mul(scratch).is_none_or(|bytes| bytes > workspace.len()) {
            return Err(RunError::Argument("the workspace of a step is too small".into()));
        }
        let base = Base { pointer: out.as_mut_ptr(), _out: PhantomData };
        let tile = |index: usize| {
            let row_tiles = self.stack.rows().div_ceil(self.tile_rows);
            let column_tiles = self.stack.columns().div_ceil(self.tile_columns);
            let (row, rest) = (index % row_tiles, index / row_tiles);
            let (member, rest) = (rest % self.shared, rest / self.shared);
            let (column, family) = (rest % column_tiles, rest / column_tiles);
            let batch = family * self.shared + member;
            let (row, column) = (row * self.tile_rows, column * self.tile_columns);
            Tile {
                bands: self,
                base: base.pointer(),
                start: offset + self.strides.batch_offset(&self.stack, batch),
                batch,
                rows: row..(row + self.tile_rows).min(self.stack.rows()),
                columns: column..(column + self.tile_columns).min(self.stack.columns()),
                _out: PhantomData,
            }
        };
        let pool = match threads.pool {
            Some(pool) if workers > 1 => pool,
            _ => {
                let mut previous = None;
                for index in 0..self.tiles {
                    let tile = tile(index);
                    let place = (tile.batch / self.shared, tile.columns.start);
                    work(tile, &mut workspace[..scratch], previous);
                    previous = Some(place);
                }
                return Ok(());
            }
        };
        // Threads take short runs of tiles until none is left: neighbours share operands, and an uneven machine
        // stays busy.
        let share = (self.tiles / (workers * 8)).max(1);
        let next = AtomicUsize::new(0);
        pool.install(|| {
            workspace.par_chunks_exact_mut(scratch).take(workers).with_max_len(1).for_each(|scratch| {
                let mut previous = None;
                loop {
                    let first = next.fetch_add(share, Ordering::Relaxed);
                    if first >= self.tiles {
                        break;
                    }
                    for index in first..(first + share).min(self.tiles) {
                        let tile = tile(index);
                        let place = (tile.batch / self.shared, tile.columns.start);
                        work(tile, scratch, previous);
                        previous = Some(place);
                    }
                }
            });
        });
        Ok(())
    }
}

/// The bytes of the result, shared by the threads of one [`Bands::run`].
struct Base<'a> {
    pointer: *mut u8,
    _out: PhantomData<&'a mut [u8]>,
}

// SAFETY: the pointer is used through tiles alone, which reach disjoint elements (see the head of this file).
unsafe impl Sync for Base<'_> {}

impl Base<'_> {
    fn pointer(&self) -> *mut u8 {
        self.pointer
    }
}

/// The right to write the elements of one tile.
pub struct Tile<'a> {
    bands: &'a Bands,
    base: *mut u8,
    /// Element of row zero, column zero of this batch entry.
    start: i64,
    batch: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    _out: PhantomData<&'a mut [u8]>,
}

impl Tile<'_> {
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The number of the tile's family of batch entries; see [`Bands::sharing`].
    pub fn family(&self) -> usize {
        self.batch / self.bands.shared
    }

    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// Whether the elements of a line are neighbours in memory, so that [`Tile::line_mut`] may be called.
    pub fn is_contiguous(&self) -> bool {
        self.bands.strides.column() == 1
    }

    /// The bytes of `length` elements of a row, from `column` on. They must lie on one line of the stack and be
    /// contiguous. Panics outside the tile.
    pub fn line_mut(&mut self, row: usize, column: usize, length: usize) -> &mut [u8] {
        assert!(
            self.is_contiguous() && length <= self.bands.stack.line(column, length),
            "the columns are not one line"
        );
        let position = self.position(row, column, length);
        // SAFETY: `position` has checked that all `length` elements belong to this tile; the layout is injective and
        // inside the buffer (`Bands::new`, `Bands::run`), so the bytes exist and nobody else reaches them while
        // `self` is borrowed.
        unsafe {
            std::slice::from_raw_parts_mut(self.base.add(position * self.bands.element), length * self.bands.element)
        }
    }

    /// Copies the bytes of elements of a row, from `column` on, to `values`. They must lie on one line of the stack.
    pub fn read_line(&self, row: usize, column: usize, values: &mut [u8]) {
        let element = self.bands.element;
        let (start, step) = self.scattered(row, column, values.len() / element);
        for (i, value) in values.chunks_exact_mut(element).enumerate() {
            // SAFETY: as in `line_mut`, for the elements of one line, which are only read and lie `step` apart.
            let bytes = unsafe { std::slice::from_raw_parts(self.base.offset(start + i as isize * step), element) };
            value.copy_from_slice(bytes);
        }
    }

    /// Writes the bytes of elements of a row, from `column` on. They must lie on one line of the stack.
    pub fn write_line(&mut self, row: usize, column: usize, values: &[u8]) {
        let element = self.bands.element;
        let (start, step) = self.scattered(row, column, values.len() / element);
        if let (4, Ok(values)) = (element, bytemuck::try_cast_slice::<u8, u32>(values)) {
            for (i, &value) in values.iter().enumerate() {
                // SAFETY: as below; the buffer is aligned to its elements (`Bands::run`).
                unsafe { self.base.offset(start + i as isize * step).cast::<u32>().write(value) };
            }
            return;
        }
        for (i, value) in values.chunks_exact(element).enumerate() {
            // SAFETY: as in `line_mut`, for the elements of one line, which lie `step` apart.
            let bytes = unsafe { std::slice::from_raw_parts_mut(self.base.offset(start + i as isize * step), element) };
            bytes.copy_from_slice(value);
        }
    }

    /// The byte where an element of this tile lies, and the distance in bytes to the next of its line. Panics if the
    /// `length` columns are not those of this tile, or not one line.
    fn scattered(&self, row: usize, column: usize, length: usize) -> (isize, isize) {
        assert!(length <= self.bands.stack.line(column, length), "the columns are not one line");
        let element = self.bands.element as isize;
        (self.position(row, column, length) as isize * element, self.bands.strides.column() as isize * element)
    }

    /// Where an element lies in the buffer. Panics if the columns are not those of this tile.
    #[inline]
    fn position(&self, row: usize, column: usize, length: usize) -> usize {
        assert!(
            self.rows.contains(&row)
                && self.columns.start <= column
                && column <= self.columns.end
                && length <= self.columns.end - column,
            "an element outside its tile"
        );
        let strides = &self.bands.strides;
        let position = self.start + row as i64 * strides.row() + strides.column_offset(&self.bands.stack, column);
        position as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes every element of a strided `[2, 5, 7]` region once and checks that nothing else changes.
    fn fill(threads: Threads) -> Vec<u8> {
        let (stack, views) = Stack::new(&[2, 5, 7], 1, false, &[&[100, 10, 1]]).unwrap();
        let bands = Bands::new(stack, views[0].clone(), 1, 2, 3).unwrap();
        let mut out = vec![0u8; 200];
        let mut workspace = vec![0u8; 64 * 4];
        bands
            .run(threads, &mut out, 3, &mut workspace, 10, |mut tile, _, _| {
                for row in tile.rows() {
                    let columns = tile.columns();
                    for byte in tile.line_mut(row, columns.start, columns.len()) {
                        *byte += 1 + row as u8;
                    }
                }
            })
            .unwrap();
        out
    }

    #[test]
    fn every_element_is_written_once() {
        let out = fill(Threads { pool: None, count: 1 });
        for (position, &byte) in out.iter().enumerate() {
            let (row, column) = ((position + 97) % 100 / 10, (position + 7) % 10);
            let expected = if position >= 3 && row < 5 && column < 7 { 1 + row as u8 } else { 0 };
            assert_eq!(byte, expected, "{position}");
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(fill(Threads { pool: Some(&pool), count: 3 }), out);
    }

    #[test]
    fn overlap_and_overflow_are_refused() {
        let (stack, views) = Stack::new(&[2, 5, 7], 1, false, &[&[100, 6, 1]]).unwrap();
        assert!(Bands::new(stack, views[0].clone(), 4, 8, 8).is_err());
        let (stack, views) = Stack::new(&[1, 5, 7], 1, false, &[&[0, 7, 1]]).unwrap();
        let bands = Bands::new(stack, views[0].clone(), 4, 8, 8).unwrap();
        let mut out = vec![0u8; 4 * 34];
        let threads = Threads { pool: None, count: 1 };
        assert!(bands.run(threads, &mut out, 0, &mut [0; 64], 0, |_, _, _| panic!("no tile fits")).is_err());
    }
}
