//! `Kernel::Recurrent`: LSTM, GRU and the plain cell in `f32`, and in `f16` and `bf16` by way of `f32`.
//!
//! The input's share of all gates does not depend on the state, so it is one product for many steps at a time
//! (Appleyard et al., "Optimizing Performance of Recurrent Neural Networks on GPUs", 2016). What remains in each step
//! is the state times the recurrent weights, whose rows are read where they are as dot products ([`dots`]), and the
//! gates ([`cell`]). Batch elements that are shorter than the sequence are computed along with the others and not kept.

mod cell;
mod dots;

use std::ops::Range;

use cell::{Cell, Kind};
use dots::Dots;

use crate::bands::{Bands, Tile};
use crate::executable::{Access, Write};
use crate::kernel::RecurrentFn;
use crate::kernel::call::{Call, RunError, Target, Threads};
use crate::kernel::epilogue::body_bytes;
use crate::kernel::gemm::{Finish, Left, Product, Rows, Shape};
use crate::kernel::matmul::{Floats, Matrix, RightMatrix, Side};
use crate::kernel::stack::Stack;
use crate::pack::PANEL;
use crate::simd::Isa;
use crate::types::{DType, Layout};

/// Rows of the product of inputs that are worth packing its weights for.
const PRODUCT_ROWS: usize = 64;
/// Multiply-adds of one step that are worth the hand-over to other threads.
const PARALLEL: usize = 1 << 19;

/// A recurrent kernel ready to run.
#[derive(Debug)]
pub struct PreparedRecurrent {
    kind: Kind,
    gates: usize,
    hidden: usize,
    reverse: Vec<bool>,
    clip: f32,
    dtype: DType,
    steps: usize,
    batch: usize,
    input: usize,
    /// Steps whose inputs are multiplied at once.
    chunk: usize,
    product: Product,
    /// The input weights as the right side of the product.
    weights: Side,
    threads: usize,
}

/// Scratch, in elements.
struct Scratch<'a> {
    /// Both biases `[2 * gates * hidden]` and the peepholes `[3 * hidden]`.
    bias: &'a mut [f32],
    peephole: &'a mut [f32],
    /// `[batch][hidden]`.
    state: &'a mut [f32],
    cell: &'a mut [f32],
    reset: &'a mut [f32],
    /// Inputs of a chunk, `[chunk * batch][input]`.
    inputs: &'a mut [f32],
    /// Their share of the gates, with the input's bias, `[chunk * batch][gates * hidden]`.
    shares: &'a mut [f32],
    /// The state's share of the gates, `[gates * hidden][batch]`.
    recurrent: &'a mut [f32],
    /// The gates of one batch element.
    gates: &'a mut [f32],
}

/// The attributes of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub function: RecurrentFn,
    pub hidden: usize,
    pub reverse: &'a [bool],
    /// Bits of an `f64`.
    pub clip: Option<u64>,
    pub input_forget: bool,
}

impl PreparedRecurrent {
    /// Prepares a recurrent kernel whose accesses have been validated against it, for up to `threads` threads. There is no
    /// form for `f64`, nor for recurrent weights whose rows are scattered.
    pub fn prepare(
        attributes: Attributes,
        reads: &[Access],
        writes: &[Write],
        threads: usize,
    ) -> Result<PreparedRecurrent, String> {
        let Attributes { function, hidden, reverse, clip, input_forget } = attributes;
        let (kind, gates) = match function {
            RecurrentFn::Lstm => (Kind::Lstm { input_forget }, 4),
            RecurrentFn::Gru { linear_before_reset } => (Kind::Gru { linear_before_reset }, 3),
            RecurrentFn::Rnn => (Kind::Rnn, 1),
        };
        let lstm = function == RecurrentFn::Lstm;
        if reads.len() != if lstm { 8 } else { 6 } || writes.len() != if lstm { 3 } else { 2 } {
            return Err("a recurrent kernel has other operands".into());
        }
        let dtype = reads[0].dtype;
        let (x, w, r) = (&reads[0].layout, &reads[1].layout, &reads[2].layout);
        let &[steps, batch, input] = &x.shape[..] else { return Err("a sequence has three axes".into()) };
        let in_rows = dtype != DType::F32 || hidden <= 1 || r.strides.get(2) == Some(&1);
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) || w.rank() != 3 || r.rank() != 3 || !in_rows {
            return Err("there is no fast form of this recurrent kernel".into());
        }
        let chunk = (PRODUCT_ROWS / batch.max(1)).clamp(1, steps.max(1));
        let rows = chunk.checked_mul(batch).ok_or("a recurrent kernel is too large")?;
        let columns = gates * hidden;
        let out = Layout::dense(&[rows, columns]);
        let (stack, mut views) = Stack::new(&[rows, columns], 0, false, &[&out.strides, &[0, w.strides[1]]])?;
        let weights = Side { stack: views.pop().ok_or("a product has two views")?, depth: w.strides[2] };
        let shape = Shape { batches: 1, rows, columns, depth: input, packs_left: false, packs_right: true };
        let blocks = shape.blocks();
        let bands = Bands::new(stack, views.remove(0), 4, blocks.rows, blocks.panels * PANEL)?;
        let product = Product::new(bands, shape, 0, threads)?;
        let parallel = batch.saturating_mul(columns).saturating_mul(hidden) >= PARALLEL;
        let prepared = PreparedRecurrent {
            kind,
            gates,
            hidden,
            reverse: reverse.to_vec(),
            clip: clip.map_or(f32::INFINITY, |bits| f64::from_bits(bits) as f32),
            dtype,
            steps,
            batch,
            input,
            chunk,
            product,
            weights,
            threads: if parallel { threads.max(1) } else { 1 },
        };
        prepared.elements().ok_or("a recurrent kernel needs too much scratch")?;
        Ok(prepared)
    }

    /// Sizes of the pieces of [`Scratch`], and of the widened recurrent weights.
    fn sizes(&self) -> Option<[usize; 10]> {
        let columns = self.gates.checked_mul(self.hidden)?;
        let state = self.batch.checked_mul(self.hidden)?;
        let rows = self.chunk.checked_mul(self.batch)?;
        let widened = if self.dtype == DType::F32 { 0 } else { columns.checked_mul(self.hidden)? };
        let sizes = [
            columns.checked_mul(2)?,
            self.hidden.checked_mul(3)?,
            state,
            state,
            state,
            rows.checked_mul(self.input)?,
            rows.checked_mul(columns)?,
            columns.checked_mul(self.batch)?,
            columns.checked_mul(2)?,
            widened,
        ];
        Some(sizes.map(|size| size.next_multiple_of(16)))
    }

    fn elements(&self) -> Option<usize> {
        let total = self.sizes()?.into_iter().try_fold(0usize, usize::checked_add)?;
        (total < 1 << 40).then_some(total)
    }

    /// Scratch for all threads.
    pub fn workspace_bytes(&self) -> usize {
        self.elements().map_or(usize::MAX, |elements| elements * 4).saturating_add(self.product.workspace_bytes())
    }

    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let Call { reads, writes, workspace, threads } = call;
        let bytes = self.elements().unwrap_or(0) * 4;
        if reads.len() < 6 || workspace.len() < bytes {
            return Err(RunError::Argument("a recurrent kernel lacks operands or workspace".into()));
        }
        let floats = |operand: usize| -> Result<Source, RunError> {
            let operand = &reads[operand];
            Ok(Source { floats: Floats::new(body_bytes(operand)?, self.dtype)?, layout: operand.layout })
        };
        let initial = |operand: usize| match reads[operand].source {
            crate::kernel::call::Source::Written(write) => Ok(Initial::Written(write)),
            crate::kernel::call::Source::Bytes(_) => floats(operand).map(Initial::Bytes),
        };
        let lstm = matches!(self.kind, Kind::Lstm { .. });
        let operands = Operands {
            x: floats(0)?,
            w: floats(1)?,
            r: floats(2)?,
            bias: floats(3)?,
            state: initial(4)?,
            cell: if lstm { Some((initial(5)?, floats(6)?)) } else { None },
        };
        let lengths = &reads[reads.len() - 1];
        let lengths = Lengths { bytes: body_bytes(lengths)?, layout: lengths.layout, steps: self.steps };
        let (scratch, product_workspace) = workspace.split_at_mut(bytes);
        let mut pieces = bytemuck::cast_slice_mut::<u8, f32>(scratch);
        let mut take = |size: usize| {
            let (piece, rest) = std::mem::take(&mut pieces).split_at_mut(size);
            pieces = rest;
            piece
        };
        let [bias, peephole, state, cell, reset, inputs, shares, recurrent, gates, widened] =
            self.sizes().unwrap_or([0; 10]).map(&mut take);
        let mut scratch = Scratch { bias, peephole, state, cell, reset, inputs, shares, recurrent, gates };
        for direction in 0..self.reverse.len() {
            let run = Direction { kernel: self, isa, threads, operands: &operands, lengths: &lengths, direction };
            run.run(&mut scratch, widened, product_workspace, writes)?;
        }
        Ok(())
    }
}

/// Elements of one operand.
struct Source<'a> {
    floats: Floats<'a>,
    layout: &'a Layout,
}

impl Source<'_> {
    /// Copies elements along the last axis, from the one at `index` on (zero on the last axis).
    fn copy(&self, index: &[usize], target: &mut [f32]) {
        let stride = self.layout.strides[index.len()];
        self.floats.copy(position(self.layout, index), stride, target);
    }
}

/// Position of an index whose further coordinates are zero.
fn position(layout: &Layout, index: &[usize]) -> i64 {
    layout.offset + index.iter().zip(&layout.strides).map(|(&i, &stride)| i as i64 * stride).sum::<i64>()
}

struct Operands<'a> {
    x: Source<'a>,
    w: Source<'a>,
    r: Source<'a>,
    bias: Source<'a>,
    state: Initial<'a>,
    /// First cell state and peepholes of an LSTM.
    cell: Option<(Initial<'a>, Source<'a>)>,
}

/// What a direction starts from.
enum Initial<'a> {
    Bytes(Source<'a>),
    /// It lies where this result will.
    Written(usize),
}

impl Initial<'_> {
    /// As [`Source::copy`].
    fn copy(&self, index: &[usize], writes: &[Target], target: &mut [f32]) -> Result<(), RunError> {
        match self {
            Initial::Bytes(source) => source.copy(index, target),
            Initial::Written(write) => {
                let Target { bytes, dtype, layout } = &writes[*write];
                Source { floats: Floats::new(bytes, *dtype)?, layout }.copy(index, target);
            }
        }
        Ok(())
    }
}

/// Steps of each batch element, `i32`.
struct Lengths<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
    steps: usize,
}

impl Lengths<'_> {
    fn get(&self, batch: usize) -> usize {
        let at = position(self.layout, &[batch]) as usize * 4;
        let length: i32 = bytemuck::pod_read_unaligned(&self.bytes[at..at + 4]);
        (length.max(0) as usize).min(self.steps)
    }
}

/// One direction of one call.
struct Direction<'a> {
    kernel: &'a PreparedRecurrent,
    isa: Isa,
    threads: Threads<'a>,
    operands: &'a Operands<'a>,
    lengths: &'a Lengths<'a>,
    direction: usize,
}

impl Direction<'_> {
    fn run(
        &self,
        scratch: &mut Scratch,
        widened: &mut [f32],
        workspace: &mut [u8],
        writes: &mut [Target],
    ) -> Result<(), RunError> {
        let PreparedRecurrent { kind, gates, hidden, batch, steps, chunk, clip, .. } = *self.kernel;
        let (operands, direction, columns) = (self.operands, self.direction, gates * hidden);
        operands.bias.copy(&[direction], &mut scratch.bias[..2 * columns]);
        if let Some((_, peephole)) = &operands.cell {
            peephole.copy(&[direction], &mut scratch.peephole[..3 * hidden]);
        }
        for b in 0..batch {
            operands.state.copy(&[direction, b], writes, &mut scratch.state[b * hidden..][..hidden])?;
            if let Some((cell, _)) = &operands.cell {
                cell.copy(&[direction, b], writes, &mut scratch.cell[b * hidden..][..hidden])?;
            }
        }
        let r = &operands.r;
        let rows = match r.floats {
            Floats::F32(elements) => {
                Rows { elements, start: position(r.layout, &[direction]), stride: r.layout.strides[1] }
            }
            _ => {
                for (row, target) in widened.chunks_exact_mut(hidden.max(1)).take(columns).enumerate() {
                    r.copy(&[direction, row], target);
                }
                Rows { elements: widened, start: 0, stride: hidden as i64 }
            }
        };
        for first in (0..steps).step_by(chunk) {
            let count = chunk.min(steps - first);
            self.shares(first, count, scratch, workspace)?;
            for step in first..first + count {
                self.multiply(rows, 0..columns, scratch.state, scratch.recurrent);
                if let Kind::Gru { linear_before_reset: false } = kind {
                    // The candidate sees the state through the reset gate, which must be known first.
                    for b in 0..batch {
                        self.gather(scratch, b, step - first);
                        let at = b * hidden..(b + 1) * hidden;
                        let (shares, recurrent) = scratch.gates.split_at(columns);
                        self.isa.run(cell::Reset {
                            share: &shares[hidden..2 * hidden],
                            recurrent: &recurrent[hidden..2 * hidden],
                            clip,
                            state: &scratch.state[at.clone()],
                            reset: &mut scratch.reset[at],
                        });
                    }
                    self.multiply(rows, 2 * hidden..columns, scratch.reset, scratch.recurrent);
                }
                for b in 0..batch {
                    let length = self.lengths.get(b);
                    if step >= length {
                        write_row(&mut writes[0], &[step, direction, b], hidden, |_| 0.0);
                        continue;
                    }
                    self.gather(scratch, b, step - first);
                    let (shares, recurrent) = scratch.gates.split_at(columns);
                    let at = b * hidden..(b + 1) * hidden;
                    self.isa.run(Cell {
                        kind,
                        hidden,
                        clip,
                        shares,
                        recurrent: &recurrent[..columns],
                        peephole: scratch.peephole,
                        state: &mut scratch.state[at.clone()],
                        cell: &mut scratch.cell[at.clone()],
                    });
                    let state = &scratch.state[at];
                    write_row(&mut writes[0], &[self.time(step, length), direction, b], hidden, |unit| state[unit]);
                }
            }
        }
        for b in 0..batch {
            let (state, cell) = (&scratch.state[b * hidden..], &scratch.cell[b * hidden..]);
            write_row(&mut writes[1], &[direction, b], hidden, |unit| state[unit]);
            if operands.cell.is_some() {
                write_row(&mut writes[2], &[direction, b], hidden, |unit| cell[unit]);
            }
        }
        Ok(())
    }

    /// The position in the sequence of a step of a batch element of `length` steps.
    fn time(&self, step: usize, length: usize) -> usize {
        if self.kernel.reverse[self.direction] { length - 1 - step } else { step }
    }

    /// Multiplies the inputs of `count` steps with their weights and adds their bias.
    fn shares(&self, first: usize, count: usize, scratch: &mut Scratch, workspace: &mut [u8]) -> Result<(), RunError> {
        let PreparedRecurrent { gates, hidden, batch, input, .. } = *self.kernel;
        for (row, target) in scratch.inputs.chunks_exact_mut(input.max(1)).enumerate() {
            if row >= count * batch || input == 0 {
                target.fill(0.0);
                continue;
            }
            let (step, b) = (first + row / batch, row % batch);
            let length = self.lengths.get(b);
            if step < length {
                self.operands.x.copy(&[self.time(step, length), b], target);
            } else {
                target.fill(0.0);
            }
        }
        let product = &self.kernel.product;
        let w = &self.operands.w;
        let right = RightMatrix(Matrix {
            floats: w.floats,
            offset: position(w.layout, &[self.direction]),
            side: &self.kernel.weights,
            stack: product.bands().stack(),
        });
        let left = Inputs { elements: scratch.inputs, width: input };
        let finish = Shares { bias: &scratch.bias[..gates * hidden] };
        let out = bytemuck::cast_slice_mut(scratch.shares);
        product.run(self.isa, &left, &right, &finish, out, 0, workspace, self.threads)
    }

    /// Multiplies vectors `[batch][hidden]` with the rows `range` of the recurrent weights.
    fn multiply(&self, rows: Rows, range: Range<usize>, vectors: &[f32], sums: &mut [f32]) {
        let (hidden, batch) = (self.kernel.hidden, self.kernel.batch);
        let vectors = &vectors[..batch * hidden];
        let sums = &mut sums[range.start * batch..range.end * batch];
        let rows = Rows { start: rows.start + range.start as i64 * rows.stride, ..rows };
        let threads = Threads { count: self.threads.count.min(self.kernel.threads), ..self.threads };
        dots::multiply(self.isa, threads, Dots { rows, depth: hidden, vectors, batch, sums });
    }

    /// Gathers the gates of batch element `b`: the inputs' share, then the state's with its bias.
    fn gather(&self, scratch: &mut Scratch, b: usize, step: usize) {
        let (columns, batch) = (self.kernel.gates * self.kernel.hidden, self.kernel.batch);
        let (shares, recurrent) = scratch.gates.split_at_mut(columns);
        shares.copy_from_slice(&scratch.shares[(step * batch + b) * columns..][..columns]);
        let bias = &scratch.bias[columns..2 * columns];
        for ((gate, bias), sums) in recurrent.iter_mut().zip(bias).zip(scratch.recurrent.chunks_exact(batch)) {
            *gate = sums[b] + bias;
        }
    }
}

/// Dense rows of inputs.
struct Inputs<'a> {
    elements: &'a [f32],
    width: usize,
}

impl Left for Inputs<'_> {
    fn in_place(&self, _: usize, row: usize, depth: usize) -> Option<Rows<'_>> {
        Some(Rows { elements: self.elements, start: (row * self.width + depth) as i64, stride: self.width as i64 })
    }

    fn pack(&self, _: usize, _: Range<usize>, _: Range<usize>, _: &mut [f32]) {}
}

/// Adds the input's bias.
struct Shares<'a> {
    bias: &'a [f32],
}

impl Finish for Shares<'_> {
    fn finish(&self, _: Isa, tile: &mut Tile, row: usize, column: usize, sums: &mut [f32], _: &mut [u8]) {
        let out: &mut [f32] = bytemuck::cast_slice_mut(tile.line_mut(row, column, sums.len()));
        for ((out, sum), bias) in out.iter_mut().zip(sums).zip(&self.bias[column..]) {
            *out = *sum + bias;
        }
    }
}

/// Writes the elements along the last axis of a result.
fn write_row(target: &mut Target, index: &[usize], count: usize, value: impl Fn(usize) -> f32) {
    let size = target.dtype.size();
    let start = position(target.layout, index);
    let stride = target.layout.strides[index.len()];
    for i in 0..count {
        let at = (start + i as i64 * stride) as usize * size;
        let bytes = &mut target.bytes[at..at + size];
        match target.dtype {
            DType::F16 => bytes.copy_from_slice(&half::f16::from_f32(value(i)).to_ne_bytes()),
            DType::BF16 => bytes.copy_from_slice(&half::bf16::from_f32(value(i)).to_ne_bytes()),
            _ => bytes.copy_from_slice(&value(i).to_ne_bytes()),
        }
    }
}

#[cfg(test)]
mod tests;
