//! Convolutions in which each output channel sees one input channel, over one or two spatial axes.
//!
//! Each channel passes through scratch that stays in the first-level cache: band by band ([`Band`]), or, where the plane is
//! small, as a whole ([`Flat`]). Both sum the taps of an element in the same order.

use super::Operands;
use super::band::Band;
use super::flat::{Flat, Plane};
use crate::bands::{Bands, Tile};
use crate::kernel::call::{Operand, RunError, Target, Threads};
use crate::kernel::epilogue::{Bound, Epilogue};
use crate::kernel::gemm::Finish;
use crate::kernel::matmul::Floats;
use crate::kernel::stack::Stack;
use crate::simd::{Algorithm, Isa, Lanes};
use crate::types::DType;

/// Elements that a block of vectors may reach beyond a row.
const SLACK: usize = 64;
/// Elements of a band that stay in the first-level cache.
const BAND: usize = 6 << 10;
/// The most scratch of a thread, in elements.
const MAX_SCRATCH: usize = 1 << 22;

#[derive(Debug)]
pub(super) struct Depthwise {
    bands: Bands,
    epilogue: Epilogue,
    form: Form,
    /// Output rows and columns.
    output: [usize; 2],
    /// Taps along an axis of columns.
    kernel: usize,
    /// Input channel `c` feeds output channels `c * multiplier ..`.
    multiplier: usize,
    /// Strides of the input along batch, channels, rows and columns.
    input_strides: [i64; 4],
    /// Strides of the weights along channels, rows and columns.
    weight_strides: [i64; 3],
    threads: usize,
}

#[derive(Debug)]
enum Form {
    Bands(Band),
    Flat(Flat),
}

impl Depthwise {
    /// The form for these operands, if they are depthwise and of usual size.
    pub(super) fn prepare(operands: &Operands) -> Result<Option<Depthwise>, String> {
        let (x, w, out, window) = (&operands.x.layout, &operands.w.layout, &operands.out.layout, operands.window);
        let spatial = window.kernel.len();
        if x.shape[1] != operands.groups || !(1..=2).contains(&spatial) || out.is_empty() || x.is_empty() {
            return Ok(None);
        }
        let (rows, columns) = operands.axes();
        let outer = |strides: &[i64]| if spatial == 2 { strides[2] } else { 0 };
        // A plane that is copied as a whole has its rows one behind the other.
        let joined = x.strides[spatial + 1] == 1 && (rows.input == 1 || outer(&x.strides) == columns.input as i64);
        let flat = if joined && operands.dtype == DType::F32 { Flat::new(rows, columns) } else { None };
        let form = match flat {
            Some(flat) => Form::Flat(flat),
            None => {
                // What one more output row adds to a band.
                let Some(row) = Band::new(rows, columns, 1, columns.output) else { return Ok(None) };
                let height = (BAND / row.distance().max(1)).min(BAND / columns.output).clamp(1, rows.output);
                let Some(band) = Band::new(rows, columns, height, columns.output) else { return Ok(None) };
                let scratch = [band.elements(), band.taps().len(), height.saturating_mul(columns.output)];
                if scratch.into_iter().any(|elements| elements > MAX_SCRATCH) {
                    return Ok(None);
                }
                Form::Bands(band)
            }
        };
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
            form,
            output: [rows.output, columns.output],
            kernel: columns.kernel,
            multiplier: operands.channels_out(),
            input_strides: [x.strides[0], x.strides[1], outer(&x.strides), x.strides[spatial + 1]],
            weight_strides: [w.strides[0], outer(&w.strides), w.strides[spatial + 1]],
            threads,
        }))
    }

    /// Elements of scratch: the copy of the input, the weights, the sums.
    fn scratch(&self) -> [usize; 3] {
        match &self.form {
            Form::Bands(band) => [band.elements() + SLACK, band.taps().len(), band.height() * self.output[1] + SLACK],
            Form::Flat(flat) => [flat.elements(), flat.taps(), flat.sums()],
        }
    }

    /// Whether planes are summed as a whole.
    #[cfg(test)]
    pub(super) fn is_flat(&self) -> bool {
        matches!(self.form, Form::Flat(_))
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
            if let Form::Flat(flat) = &self.form {
                // Around the plane, the copies of all channels share their zeros.
                let (_, scratch) = scratch.split_at_mut(self.epilogue.scratch_bytes());
                bytemuck::cast_slice_mut::<u8, f32>(scratch)[..flat.elements()].fill(0.0);
            }
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
        for (i, line) in weights.chunks_exact_mut(self.kernel).enumerate() {
            let start = w_start + channel as i64 * self.weight_strides[0] + i as i64 * self.weight_strides[1];
            w.copy(start, self.weight_strides[2], line);
        }
        let start = x_start
            + tile.batch() as i64 * self.input_strides[0]
            + (channel / self.multiplier) as i64 * self.input_strides[1];
        let strides = [self.input_strides[2], self.input_strides[3]];
        let [rows, columns] = self.output;
        match &self.form {
            Form::Flat(flat) => {
                x.copy(start, 1, &mut band[flat.plane()]);
                isa.run(Plane { flat, padded: band, weights, sums });
                finish.finish(isa, tile, channel, 0, &mut sums[..flat.output()], finish_scratch);
            }
            Form::Bands(shape) => {
                for first in (0..rows).step_by(shape.height()) {
                    let count = shape.height().min(rows - first);
                    shape.copy(isa, x, (start, strides), (first, count, 0), band);
                    let (taps, distance) = (shape.taps(), shape.distance());
                    isa.run(Rows { band, weights, taps, distance, rows: count, columns, sums });
                    finish.finish(isa, tile, channel, first * columns, &mut sums[..count * columns], finish_scratch);
                }
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
            1 => self.blocks::<L, 1>(),
            2 => self.blocks::<L, 2>(),
            _ => self.blocks::<L, 4>(),
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn blocks<L: Lanes, const N: usize>(&mut self) {
        let mut row = 0;
        while row < self.rows {
            row += match self.rows - row {
                8.. if N == 1 => self.row_block::<L, 8, N>(row),
                4.. if N <= 2 => self.row_block::<L, 4, N>(row),
                2.. => self.row_block::<L, 2, N>(row),
                _ => self.row_block::<L, 1, N>(row),
            };
        }
    }

    /// `R` rows from `row` on, `N` vectors at a time. What a block writes beyond the end of its row is overwritten by the
    /// next row, or lies behind the last. Returns `R`.
    #[inline(always)]
    fn row_block<L: Lanes, const R: usize, const N: usize>(&mut self, row: usize) -> usize {
        let block = N * L::WIDTH;
        // What the taps of one block reach, so that all its rows share one check.
        let reach = block + self.taps.iter().max().copied().unwrap_or(0);
        let mut column = 0;
        while column < self.columns {
            let mut held = [[L::splat(0.0); N]; R];
            let mut lines = [&[][..]; R];
            for (r, line) in lines.iter_mut().enumerate() {
                *line = &self.band[(row + r) * self.distance + column..][..reach];
            }
            for (&weight, &tap) in self.weights.iter().zip(self.taps) {
                let weight = L::splat(weight);
                for (r, held) in held.iter_mut().enumerate() {
                    let source = &lines[r][tap..][..block];
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
        R
    }
}
