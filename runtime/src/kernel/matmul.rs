//! `Kernel::MatMul`: stacks of matrices of any dtype and layout.
//!
//! `f32` runs the vector product on the operands where they are, as far as their layouts allow; `f16` and `bf16` are
//! widened to `f32` on the way into scratch and rounded once at the end. Integers (which wrap) and `f64` take
//! a plain loop.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::bands::{Bands, Tile};
use crate::executable::{Access, Write};
use crate::kernel::call::{Call, Operand, RunError, Source};
use crate::kernel::epilogue::{Bound, Epilogue, body_bytes, check_hull, elements, strides};
use crate::kernel::gemm::{Left, Panels, Product, Right, Rows, Shape};
use crate::kernel::stack::{Stack, StackStrides};
use crate::kernel::tile::Values;
use crate::pack::PANEL;
use crate::point::Program;
use crate::simd::Isa;
use crate::types::DType;

/// A matmul ready to run.
#[derive(Debug)]
pub struct PreparedMatMul {
    form: Form,
    dtype: DType,
    depth: usize,
    left: Side,
    right: Side,
    packed: bool,
    epilogue: Epilogue,
    workspace_bytes: usize,
}

#[derive(Debug)]
enum Form {
    Floats(Product),
    /// The plain loop, in tiles of rows.
    Plain(Bands),
}

/// Strides of a factor over the written stack, and along `k`.
#[derive(Clone, Debug)]
pub struct Side {
    pub stack: StackStrides,
    pub depth: i64,
}

/// Columns that the plain loop takes at a time.
const PLAIN: usize = 64;

impl PreparedMatMul {
    /// Prepares a matmul, whose accesses have been validated against the kernel, for up to `threads` threads.
    pub fn prepare(
        dtype: DType,
        packed: bool,
        epilogue: &Program,
        reads: &[Access],
        writes: &[Write],
        threads: usize,
    ) -> Result<PreparedMatMul, String> {
        let ([a, b, extras @ ..], [write]) = (reads, writes) else {
            return Err("a matmul reads two factors and writes one result".into());
        };
        let out = &write.access;
        let rank = out.layout.rank();
        if rank < 2 {
            return Err("a matrix has two axes".into());
        }
        let (row, column) = (rank - 2, rank - 1);
        let a_strides = strides(a, rank)?;
        let b_strides = strides(b, rank + usize::from(packed))?;
        let depth = a.layout.shape[column];
        // The factors as views of the written domain: the left one stands still along columns, the right along rows.
        let mut left = a_strides.to_vec();
        left[column] = 0;
        let mut right = b_strides[..rank].to_vec();
        right[row] = 0;
        if packed {
            right[column] = 0;
        }
        let mut views = vec![&out.layout.strides[..], &left, &right];
        for extra in extras {
            views.push(strides(extra, rank)?);
        }
        // A single row takes the strides of the batch, and may not where the right factor differs along it.
        let shape = &out.layout.shape;
        let shared = (0..row).all(|axis| right[axis] == 0 || shape[axis] == 1);
        let (stack, mut views) = Stack::new(shape, row, shape[row] > 1 || shared, &views)?;
        let extras = views.split_off(3);
        let [out_strides, left, right] =
            <[StackStrides; 3]>::try_from(views).map_err(|_| "a matmul has three views".to_string())?;
        let left = Side { stack: left, depth: a_strides[column] };
        let right = Side { stack: right, depth: if packed { PANEL as i64 } else { b_strides[row] } };
        let epilogue = Epilogue::new(epilogue, dtype, &stack, extras, out.dtype)?;
        let size = out.dtype.size();
        let (form, workspace_bytes) = if matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            let shape = Shape {
                batches: stack.batches(),
                rows: stack.rows(),
                columns: stack.columns(),
                depth,
                packs_left: dtype != DType::F32 || (left.depth != 1 && depth > 1),
                packs_right: dtype != DType::F32 || !packed,
            };
            let blocks = shape.blocks();
            let bands = Bands::new(stack, out_strides, size, blocks.rows, blocks.panels * PANEL)?;
            let product = Product::new(bands, shape, epilogue.scratch_bytes(), threads)?;
            let bytes = product.workspace_bytes();
            (Form::Floats(product), bytes)
        } else {
            let bands = Bands::new(stack, out_strides, size, 8, 16 * PLAIN)?;
            let bytes = bands.workers(threads) * epilogue.scratch_bytes().max(1).next_multiple_of(64);
            (Form::Plain(bands), bytes)
        };
        Ok(PreparedMatMul { form, dtype, depth, left, right, packed, epilogue, workspace_bytes })
    }

    /// Scratch for all threads.
    pub fn workspace_bytes(&self) -> usize {
        self.workspace_bytes
    }

    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let Call { reads, writes, workspace, threads } = call;
        let ([a, b, extras @ ..], [out]) = (reads, writes) else {
            return Err(RunError::Argument("a matmul reads two factors and writes one result".into()));
        };
        for extra in extras {
            if let Source::Bytes(bytes) = extra.source {
                check_hull(extra, bytes.len())?;
            }
        }
        let offset = out.layout.offset;
        match &self.form {
            Form::Floats(product) => {
                let stack = product.bands().stack();
                let finish = self.epilogue.bind(stack, extras)?;
                let left = Matrix::new(a, self.dtype, &self.left, stack)?;
                let right = Matrix::new(b, self.dtype, &self.right, stack)?;
                let left = LeftMatrix { matrix: left, in_place: !product.shape().packs_left };
                let depth = self.depth;
                match self.packed {
                    true => {
                        let right = PackedMatrix { matrix: right, depth };
                        product.run(isa, &left, &right, &finish, out.bytes, offset, workspace, threads)
                    }
                    false => {
                        let right = RightMatrix(right);
                        product.run(isa, &left, &right, &finish, out.bytes, offset, workspace, threads)
                    }
                }
            }
            Form::Plain(bands) => {
                let finish = self.epilogue.bind(bands.stack(), extras)?;
                let (a, b) = (Factor::new(a)?, Factor::new(b)?);
                let bytes = self.epilogue.scratch_bytes();
                bands.run(threads, out.bytes, offset, workspace, bytes, |mut tile, scratch, _| {
                    let plain = Plain { isa, matmul: self, stack: bands.stack(), a, b, finish: &finish };
                    match self.dtype {
                        DType::F64 => plain.tile::<f64, f64>(&mut tile, scratch),
                        DType::I64 => plain.tile::<i64, i64>(&mut tile, scratch),
                        DType::I32 => plain.tile::<i32, i32>(&mut tile, scratch),
                        DType::I16 => plain.tile::<i16, i32>(&mut tile, scratch),
                        DType::I8 => plain.tile::<i8, i32>(&mut tile, scratch),
                        _ => plain.tile::<u8, i32>(&mut tile, scratch),
                    }
                })
            }
        }
    }
}

/// A call of the plain loop.
struct Plain<'a> {
    isa: Isa,
    matmul: &'a PreparedMatMul,
    stack: &'a Stack,
    a: Factor<'a>,
    b: Factor<'a>,
    finish: &'a Bound<'a>,
}

impl Plain<'_> {
    /// A tile of elements `T`, whose sums go to the epilogue as `C`.
    fn tile<T: Number + Into<C>, C: Class>(&self, tile: &mut Tile, scratch: &mut [u8]) {
        let (stack, a, b) = (self.stack, self.a, self.b);
        let PreparedMatMul { left, right, depth, packed, .. } = self.matmul;
        let left_start = a.offset + left.stack.batch_offset(stack, tile.batch());
        let right_start = b.offset + right.stack.batch_offset(stack, tile.batch());
        let columns = tile.columns();
        for row in tile.rows() {
            let left_start = left_start + row as i64 * left.stack.row();
            let mut first = columns.start;
            while first < columns.end {
                let lanes = stack.line(first, (columns.end - first).min(PLAIN));
                let mut starts = [0i64; PLAIN];
                for (lane, start) in starts[..lanes].iter_mut().enumerate() {
                    let column = first + lane;
                    *start = right_start
                        + match packed {
                            true => ((column / PANEL * depth) * PANEL + column % PANEL) as i64,
                            false => right.stack.column_offset(stack, column),
                        };
                }
                let mut sums = [T::ZERO; PLAIN];
                for k in 0..*depth as i64 {
                    let factor = T::load(a.bytes, left_start + k * left.depth);
                    for (sum, start) in sums[..lanes].iter_mut().zip(&starts) {
                        *sum = sum.add_product(factor, T::load(b.bytes, start + k * right.depth));
                    }
                }
                let sums = sums.map(T::into);
                self.finish.line(self.isa, tile, row, first, lanes, C::values(&sums[..lanes]), scratch);
                first += lanes;
            }
        }
    }
}

/// A class of the tile interpreter.
trait Class: Sized {
    fn values(values: &[Self]) -> Values<'_>;
}

impl Class for f64 {
    fn values(values: &[f64]) -> Values<'_> {
        Values::F64(values)
    }
}

impl Class for i64 {
    fn values(values: &[i64]) -> Values<'_> {
        Values::I64(values)
    }
}

impl Class for i32 {
    fn values(values: &[i32]) -> Values<'_> {
        Values::I32(values)
    }
}

/// Bytes of a factor of the plain loop.
#[derive(Clone, Copy)]
struct Factor<'a> {
    bytes: &'a [u8],
    offset: i64,
}

impl<'a> Factor<'a> {
    fn new(operand: &Operand<'a>) -> Result<Factor<'a>, RunError> {
        Ok(Factor { bytes: body_bytes(operand)?, offset: operand.layout.offset })
    }
}

/// Arithmetic of the plain loop.
trait Number: Copy {
    const ZERO: Self;
    fn load(bytes: &[u8], position: i64) -> Self;
    fn add_product(self, a: Self, b: Self) -> Self;
}

macro_rules! number {
    ($($type:ty, |$sum:ident, $a:ident, $b:ident| $value:expr;)*) => {
        $(impl Number for $type {
            const ZERO: Self = 0 as $type;

            #[inline(always)]
            fn load(bytes: &[u8], position: i64) -> Self {
                const SIZE: usize = size_of::<$type>();
                bytemuck::pod_read_unaligned(&bytes[position as usize * SIZE..][..SIZE])
            }

            #[inline(always)]
            fn add_product(self, $a: Self, $b: Self) -> Self {
                let $sum = self;
                $value
            }
        })*
    };
}

number! {
    f64, |sum, a, b| sum + a * b;
    i64, |sum, a, b| sum.wrapping_add(a.wrapping_mul(b));
    i32, |sum, a, b| sum.wrapping_add(a.wrapping_mul(b));
    i16, |sum, a, b| sum.wrapping_add(a.wrapping_mul(b));
    i8, |sum, a, b| sum.wrapping_add(a.wrapping_mul(b));
    u8, |sum, a, b| sum.wrapping_add(a.wrapping_mul(b));
}

/// Elements that are `f32` or become it.
#[derive(Clone, Copy)]
pub enum Floats<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

impl<'a> Floats<'a> {
    pub fn new(bytes: &'a [u8], dtype: DType) -> Result<Floats<'a>, RunError> {
        Ok(match dtype {
            DType::F16 => Floats::F16(elements(bytes)?),
            DType::BF16 => Floats::BF16(elements(bytes)?),
            _ => Floats::F32(elements(bytes)?),
        })
    }

    /// Copies `target.len()` elements, `stride` apart from `start` on.
    #[inline]
    pub fn copy(&self, start: i64, stride: i64, target: &mut [f32]) {
        // Nothing may have any position.
        if target.is_empty() {
            return;
        }
        let first = start as usize;
        if stride == 1 {
            match self {
                Floats::F32(source) => target.copy_from_slice(&source[first..first + target.len()]),
                Floats::F16(source) => source[first..first + target.len()].convert_to_f32_slice(target),
                Floats::BF16(source) => source[first..first + target.len()].convert_to_f32_slice(target),
            }
            return;
        }
        let position = |i: usize| (start + i as i64 * stride) as usize;
        match self {
            Floats::F32(source) => {
                for (i, x) in target.iter_mut().enumerate() {
                    *x = source[position(i)];
                }
            }
            Floats::F16(source) => {
                for (i, x) in target.iter_mut().enumerate() {
                    *x = source[position(i)].to_f32();
                }
            }
            Floats::BF16(source) => {
                for (i, x) in target.iter_mut().enumerate() {
                    *x = source[position(i)].to_f32();
                }
            }
        }
    }
}

/// A factor of one call.
pub struct Matrix<'a> {
    pub floats: Floats<'a>,
    pub offset: i64,
    pub side: &'a Side,
    pub stack: &'a Stack,
}

impl<'a> Matrix<'a> {
    fn new(operand: &Operand<'a>, dtype: DType, side: &'a Side, stack: &'a Stack) -> Result<Matrix<'a>, RunError> {
        let floats = Floats::new(body_bytes(operand)?, dtype)?;
        Ok(Matrix { floats, offset: operand.layout.offset, side, stack })
    }

    fn start(&self, batch: usize, depth: usize) -> i64 {
        self.offset + self.side.stack.batch_offset(self.stack, batch) + depth as i64 * self.side.depth
    }
}

struct LeftMatrix<'a> {
    matrix: Matrix<'a>,
    /// Whether the elements of a row are neighbours.
    in_place: bool,
}

impl Left for LeftMatrix<'_> {
    fn in_place(&self, batch: usize, row: usize, depth: usize) -> Option<Rows<'_>> {
        let matrix = &self.matrix;
        match matrix.floats {
            Floats::F32(elements) if self.in_place => {
                let stride = matrix.side.stack.row();
                Some(Rows { elements, start: matrix.start(batch, depth) + row as i64 * stride, stride })
            }
            _ => None,
        }
    }

    fn pack(&self, batch: usize, rows: Range<usize>, depths: Range<usize>, packed: &mut [f32]) {
        let matrix = &self.matrix;
        let start = matrix.start(batch, depths.start);
        for (row, target) in rows.zip(packed.chunks_exact_mut(depths.len().max(1))) {
            matrix.floats.copy(start + row as i64 * matrix.side.stack.row(), matrix.side.depth, target);
        }
    }
}

/// A right factor that is packed by the compiler.
struct PackedMatrix<'a> {
    matrix: Matrix<'a>,
    depth: usize,
}

impl Right for PackedMatrix<'_> {
    fn in_place(&self, batch: usize, panel: usize, depth: usize) -> Option<Panels<'_>> {
        let stride = self.depth * PANEL;
        match self.matrix.floats {
            Floats::F32(elements) => {
                let start = self.matrix.start(batch, depth) as usize + panel * stride;
                Some(Panels { elements: &elements[start..], stride })
            }
            _ => None,
        }
    }

    fn pack(&self, _: Isa, batch: usize, columns: Range<usize>, depths: Range<usize>, packed: &mut [f32]) {
        let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
        let start = self.matrix.start(batch, depths.start);
        for (panel, target) in panels.zip(packed.chunks_exact_mut((depths.len() * PANEL).max(1))) {
            self.matrix.floats.copy(start + (panel * self.depth * PANEL) as i64, 1, target);
        }
    }
}

/// A right factor of any layout.
pub struct RightMatrix<'a>(pub Matrix<'a>);

impl Right for RightMatrix<'_> {
    fn in_place(&self, _: usize, _: usize, _: usize) -> Option<Panels<'_>> {
        None
    }

    fn pack(&self, _: Isa, batch: usize, columns: Range<usize>, depths: Range<usize>, packed: &mut [f32]) {
        let Matrix { floats, side, stack, .. } = &self.0;
        let start = self.0.start(batch, depths.start);
        pack_panels(*floats, start, side, stack, columns, depths.len(), packed);
    }
}

/// Copies columns of a strided matrix to panels. `start` is the position of row zero, column zero.
fn pack_panels(
    floats: Floats,
    start: i64,
    side: &Side,
    stack: &Stack,
    columns: Range<usize>,
    depth: usize,
    packed: &mut [f32],
) {
    let panels = columns.clone().step_by(PANEL).zip(packed.chunks_exact_mut((depth * PANEL).max(1)));
    for (first, panel) in panels {
        let lanes = (columns.end - first).min(PANEL);
        let lines = panel.as_chunks_mut::<PANEL>().0;
        if side.stack.column() == 1 && stack.line(first, lanes) == lanes {
            let start = start + side.stack.column_offset(stack, first);
            for (k, line) in lines.iter_mut().enumerate() {
                let start = start + k as i64 * side.depth;
                match floats {
                    Floats::F32(source) if lanes == PANEL => {
                        line.copy_from_slice(&source[start as usize..][..PANEL]);
                    }
                    _ => floats.copy(start, 1, &mut line[..lanes]),
                }
            }
            continue;
        }
        let mut starts = [0i64; PANEL];
        for (lane, position) in starts[..lanes].iter_mut().enumerate() {
            *position = start + side.stack.column_offset(stack, first + lane);
        }
        // The lanes after the last column repeat it: anything finite or not may stand there, but it must exist.
        let last = starts[lanes - 1];
        starts[lanes..].fill(last);
        match floats {
            Floats::F32(source) if side.depth == 1 => {
                let mut rows = [&[][..]; PANEL];
                for (row, &start) in rows.iter_mut().zip(&starts) {
                    *row = &source[start as usize..][..depth];
                }
                for (k, line) in lines.iter_mut().enumerate() {
                    for (x, row) in line.iter_mut().zip(&rows) {
                        *x = row[k];
                    }
                }
            }
            _ => {
                for (k, line) in lines.iter_mut().enumerate() {
                    for (x, &start) in line.iter_mut().zip(&starts) {
                        floats.copy(start + k as i64 * side.depth, 1, std::slice::from_mut(x));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
