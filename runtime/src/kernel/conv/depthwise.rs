//! Convolutions in which each output channel sees one input channel, over one or two spatial axes.
//!
//! A band of the input channel is copied to scratch with its padding, each row split by the remainder of the column
//! modulo the stride. Every tap then reads neighbours, whatever stride and dilation, and needs no bounds of its own.

use super::Operands;
use crate::bands::{Bands, Tile};
use crate::kernel::call::{Operand, RunError, Target, Threads};
use crate::kernel::epilogue::{Bound, Epilogue};
use crate::kernel::gemm::Finish;
use crate::kernel::matmul::Floats;
use crate::kernel::stack::Stack;
use crate::simd::{Algorithm, Isa, Lanes};

/// Elements that a block of vectors may reach beyond a row.
const SLACK: usize = 64;
/// Elements of a band that stay in the first-level cache.
const BAND: usize = 8 << 10;
/// The most scratch of a thread, in elements.
const MAX_SCRATCH: usize = 1 << 22;

/// Geometry along one axis.
#[derive(Clone, Copy, Debug)]
struct Axis {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    dilation: usize,
}

#[derive(Debug)]
pub(super) struct Depthwise {
    bands: Bands,
    epilogue: Epilogue,
    rows: Axis,
    columns: Axis,
    /// Input channel `c` feeds output channels `c * multiplier ..`.
    multiplier: usize,
    /// Strides of the input along batch, channels, rows and columns.
    input_strides: [i64; 4],
    /// Strides of the weights along channels, rows and columns.
    weight_strides: [i64; 3],
    /// Output rows of a band.
    band: usize,
    /// Elements of one remainder of one row of scratch.
    line: usize,
    /// Where each tap's first element lies, from the first row of scratch of an output row.
    taps: Vec<usize>,
    threads: usize,
}

impl Depthwise {
    /// The form for these operands, if they are depthwise and of usual size.
    pub(super) fn prepare(operands: &Operands) -> Result<Option<Depthwise>, String> {
        let (x, w, out, window) = (&operands.x.layout, &operands.w.layout, &operands.out.layout, operands.window);
        let spatial = window.kernel.len();
        if x.shape[1] != operands.groups || !(1..=2).contains(&spatial) || out.is_empty() || x.is_empty() {
            return Ok(None);
        }
        let axis = |axis: usize| Axis {
            input: x.shape[axis + 2],
            output: out.shape[axis + 2],
            kernel: window.kernel[axis],
            stride: window.strides[axis],
            pad: window.pads_begin[axis],
            dilation: window.dilations[axis],
        };
        let one = Axis { input: 1, output: 1, kernel: 1, stride: 1, pad: 0, dilation: 1 };
        let (rows, columns) = if spatial == 2 { (axis(0), axis(1)) } else { (one, axis(0)) };
        let outer = |strides: &[i64]| if spatial == 2 { strides[2] } else { 0 };
        let line = (columns.kernel - 1)
            .checked_mul(columns.dilation)
            .and_then(|reach| (reach / columns.stride).checked_add(columns.output + SLACK));
        let reach = (rows.kernel - 1).checked_mul(rows.dilation).and_then(|reach| reach.checked_add(1));
        let (Some(line), Some(reach)) = (line, reach) else { return Ok(None) };
        let Some(row) = line.checked_mul(columns.stride) else { return Ok(None) };
        let per_row = row.saturating_mul(rows.stride);
        let band = (BAND / per_row).min(BAND / 2 / columns.output).clamp(1, rows.output);
        let taps = rows.kernel.saturating_mul(columns.kernel);
        let scratch = ((band - 1).saturating_mul(rows.stride).saturating_add(reach)).saturating_mul(row);
        if scratch.saturating_add(taps).saturating_add(band.saturating_mul(columns.output)) > MAX_SCRATCH {
            return Ok(None);
        }
        let taps = (0..rows.kernel)
            .flat_map(|i| (0..columns.kernel).map(move |j| (i, j)))
            .map(|(i, j)| {
                let column = j * columns.dilation;
                i * rows.dilation * row + column % columns.stride * line + column / columns.stride
            })
            .collect();
        let mut views = vec![&out.strides[..]];
        views.extend(operands.extras.iter().map(|extra| &extra.layout.strides[..]));
        let (stack, mut strides) = Stack::new(&out.shape, 1, false, &views)?;
        let extras = strides.split_off(1);
        let written = operands.out.dtype;
        let epilogue = Epilogue::new(operands.epilogue, operands.dtype, &stack, extras, written)?;
        let channels = stack.batches().saturating_mul(stack.rows());
        let work = channels as f64 * stack.columns() as f64 * (rows.kernel * columns.kernel) as f64;
        let (tile_rows, all) = ((channels / 32).max(1), stack.columns());
        let bands = Bands::new(stack, strides.remove(0), written.size(), tile_rows, all)?;
        let threads = if work > 1e6 { bands.workers(operands.threads) } else { 1 };
        Ok(Some(Depthwise {
            bands,
            epilogue,
            rows,
            columns,
            multiplier: operands.channels_out(),
            input_strides: [x.strides[0], x.strides[1], outer(&x.strides), x.strides[spatial + 1]],
            weight_strides: [w.strides[0], outer(&w.strides), w.strides[spatial + 1]],
            band,
            line,
            taps,
            threads,
        }))
    }

    /// Elements of scratch: the padded band, the weights, the sums.
    fn scratch(&self) -> [usize; 3] {
        let rows = (self.band - 1) * self.rows.stride + (self.rows.kernel - 1) * self.rows.dilation + 1;
        let sums = self.band * self.columns.output + SLACK;
        [rows * self.columns.stride * self.line + SLACK, self.taps.len(), sums]
    }

    fn scratch_bytes(&self) -> usize {
        let elements: usize = self.scratch().iter().sum();
        (elements * 4).next_multiple_of(64) + self.epilogue.scratch_bytes()
    }

    pub(super) fn workspace_bytes(&self) -> usize {
        self.scratch_bytes().next_multiple_of(64) * self.threads
    }

    /// `x` and `w` are elements and the position of the first.
    #[expect(clippy::too_many_arguments)]
    pub(super) fn run(
        &self,
        isa: Isa,
        x: (Floats, i64),
        w: (Floats, i64),
        extras: &[Operand],
        out: &mut Target,
        workspace: &mut [u8],
        threads: Threads,
    ) -> Result<(), RunError> {
        let finish = self.epilogue.bind(self.bands.stack(), extras)?;
        let threads = Threads { count: threads.count.min(self.threads), ..threads };
        let offset = out.layout.offset;
        self.bands.run(threads, out.bytes, offset, workspace, self.scratch_bytes(), |mut tile, scratch, _| {
            for channel in tile.rows() {
                self.channel(isa, x, w, &finish, &mut tile, channel, scratch);
            }
        })
    }

    #[expect(clippy::too_many_arguments)]
    fn channel(
        &self,
        isa: Isa,
        (x, x_start): (Floats, i64),
        (w, w_start): (Floats, i64),
        finish: &Bound,
        tile: &mut Tile,
        channel: usize,
        scratch: &mut [u8],
    ) {
        let (finish_scratch, scratch) = scratch.split_at_mut(self.epilogue.scratch_bytes());
        let [band_len, taps_len, sums_len] = self.scratch();
        let (band, scratch) = bytemuck::cast_slice_mut::<u8, f32>(scratch).split_at_mut(band_len);
        let (weights, scratch) = scratch.split_at_mut(taps_len);
        let sums = &mut scratch[..sums_len];
        for (i, line) in weights.chunks_exact_mut(self.columns.kernel).enumerate() {
            let start = w_start + channel as i64 * self.weight_strides[0] + i as i64 * self.weight_strides[1];
            w.copy(start, self.weight_strides[2], line);
        }
        let start = x_start
            + tile.batch() as i64 * self.input_strides[0]
            + (channel / self.multiplier) as i64 * self.input_strides[1];
        let row_len = self.columns.stride * self.line;
        for first in (0..self.rows.output).step_by(self.band) {
            let count = self.band.min(self.rows.output - first);
            let rows = (count - 1) * self.rows.stride + (self.rows.kernel - 1) * self.rows.dilation + 1;
            for (i, row) in band.chunks_exact_mut(row_len).take(rows).enumerate() {
                let at = (first * self.rows.stride + i) as i64 - self.rows.pad as i64;
                if (0..self.rows.input as i64).contains(&at) {
                    self.copy_row(x, start + at * self.input_strides[2], row);
                } else {
                    row.fill(0.0);
                }
            }
            let used = count * self.columns.output;
            isa.run(Rows {
                band,
                weights,
                taps: &self.taps,
                distance: self.rows.stride * row_len,
                rows: count,
                columns: self.columns.output,
                sums,
            });
            let column = first * self.columns.output;
            finish.finish(isa, tile, channel, column, &mut sums[..used], finish_scratch);
        }
    }

    /// Copies one row of the input, with its padding, split by remainders.
    fn copy_row(&self, x: Floats, start: i64, row: &mut [f32]) {
        let Axis { input, stride, pad, .. } = self.columns;
        for (remainder, line) in row.chunks_exact_mut(self.line).enumerate() {
            // Element i of the line is input element i * stride + remainder - pad.
            let first = pad.saturating_sub(remainder).div_ceil(stride).min(line.len());
            let end = (input + pad).saturating_sub(remainder).div_ceil(stride).clamp(first, line.len());
            line[..first].fill(0.0);
            line[end..].fill(0.0);
            if end > first {
                let at = (first * stride + remainder - pad) as i64;
                let step = self.input_strides[3];
                x.copy(start + at * step, stride as i64 * step, &mut line[first..end]);
            }
        }
    }
}

/// Sums of some rows of outputs: `sums[r * columns + c] = sum over taps of weights[t] * band[r * distance + taps[t] + c]`.
struct Rows<'a> {
    band: &'a [f32],
    weights: &'a [f32],
    taps: &'a [usize],
    distance: usize,
    rows: usize,
    columns: usize,
    sums: &'a mut [f32],
}

impl Algorithm for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        // Eight sums in flight, whether rows are short or long.
        match self.columns.div_ceil(L::WIDTH) {
            1 => self.blocks::<L, 8, 1>(),
            2 => self.blocks::<L, 4, 2>(),
            _ => self.blocks::<L, 2, 4>(),
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn blocks<L: Lanes, const R: usize, const N: usize>(&mut self) {
        let mut row = 0;
        while row + R <= self.rows {
            self.row_block::<L, R, N>(row);
            row += R;
        }
        while row < self.rows {
            self.row_block::<L, 1, N>(row);
            row += 1;
        }
    }

    /// `R` rows from `row` on, `N` vectors at a time. What a block writes beyond the end of its row is overwritten by the
    /// next row, or lies behind the last.
    #[inline(always)]
    fn row_block<L: Lanes, const R: usize, const N: usize>(&mut self, row: usize) {
        let block = N * L::WIDTH;
        let mut column = 0;
        while column < self.columns {
            let mut held = [[L::splat(0.0); N]; R];
            for (&weight, &tap) in self.weights.iter().zip(self.taps) {
                let weight = L::splat(weight);
                for (r, held) in held.iter_mut().enumerate() {
                    let source = &self.band[(row + r) * self.distance + tap + column..][..block];
                    for (v, held) in held.iter_mut().enumerate() {
                        *held = weight.mul_add(L::load(&source[v * L::WIDTH..]), *held);
                    }
                }
            }
            for (r, held) in held.into_iter().enumerate() {
                let from = (row + r) * self.columns + column;
                if self.columns <= block || column + block <= self.columns {
                    let target = &mut self.sums[from..][..block];
                    for (v, held) in held.into_iter().enumerate() {
                        held.store(&mut target[v * L::WIDTH..]);
                    }
                } else {
                    // Later rows of this block hold finished columns further left, which must stay.
                    let target = &mut self.sums[from..][..self.columns - column];
                    for (target, held) in target.chunks_mut(L::WIDTH).zip(held) {
                        held.store_partial(target);
                    }
                }
            }
            column += block;
        }
    }
}
