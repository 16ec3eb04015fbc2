//! The right side of a convolution as a product: one column for each output position, one row for each input channel
//! and tap (`im2col`), made panel by panel in scratch and never as a whole.
//!
//! Sixteen neighbouring positions fall into runs along the innermost axis. For one tap, the elements of a run are
//! neighbours in the input as well if the stride is one; which of them lie in the padding is the same for all channels.
//! So masks are made once a tap, and each row of the panel is a few vector loads, one a run.

use std::ops::Range;

use crate::kernel::gemm::{Panels, Right};
use crate::kernel::matmul::Floats;
use crate::kernel::stack::{Stack, StackStrides};
use crate::pack::PANEL;
use crate::simd::{Algorithm, IntLanes, Isa, Lanes};
use crate::types::MAX_RANK;

/// One spatial axis: position `o` and tap `j` meet input element `o * stride + taps[j].shift`.
#[derive(Clone, Debug)]
pub struct Axis {
    pub input: usize,
    pub output: usize,
    pub stride: usize,
    pub taps: Vec<Tap>,
    /// Stride of the input along this axis, in elements.
    pub step: i64,
}

/// A tap along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap {
    /// Its index in the weights.
    pub index: usize,
    /// Input element that position zero meets; padding makes it negative.
    pub shift: i64,
}

/// The input of one call, as columns of patches.
pub struct Patches<'a> {
    pub floats: Floats<'a>,
    pub offset: i64,
    pub strides: &'a StackStrides,
    pub stack: &'a Stack,
    /// Stride of the input along its channels.
    pub channel: i64,
    pub axes: &'a [Axis],
}

/// Number of taps.
pub fn taps(axes: &[Axis]) -> usize {
    axes.iter().map(|axis| axis.taps.len()).product()
}

/// Joins neighbouring axes that the window does not mix (one tap, stride one, no padding), so that their positions
/// form long runs. `spatial` are the weights' strides, one an axis.
pub fn join(axes: &mut Vec<Axis>, spatial: &mut Vec<i64>) {
    let plain = |axis: &Axis| {
        axis.stride == 1 && axis.input == axis.output && matches!(axis.taps[..], [Tap { index: 0, shift: 0 }])
    };
    let mut at = 1;
    while at < axes.len() {
        let (outer, inner) = (&axes[at - 1], &axes[at]);
        let joins = plain(outer)
            && plain(inner)
            && (inner.input as i64).checked_mul(inner.step) == Some(outer.step)
            && outer.input.checked_mul(inner.input).is_some();
        if joins {
            let inner = axes.remove(at);
            spatial.remove(at);
            let outer = &mut axes[at - 1];
            outer.input *= inner.input;
            outer.output = outer.input;
            outer.step = inner.step;
        } else {
            at += 1;
        }
    }
}

/// Positions that are neighbours along the innermost axis: lanes `lane .. lane + length` of a panel.
#[derive(Clone, Copy)]
struct Run {
    lane: usize,
    length: usize,
    /// Coordinates of the first position, on every axis.
    position: [usize; MAX_RANK],
}

/// For one tap: where each lane's element lies in the first channel, and which lanes are in the input at all.
struct Lookup {
    positions: [i64; PANEL],
    inside: [bool; PANEL],
}

impl Patches<'_> {
    /// The runs of the positions `columns`, of which there are at most [`PANEL`].
    fn runs(&self, columns: Range<usize>) -> ([Run; PANEL], usize) {
        let mut runs = [Run { lane: 0, length: 0, position: [0; MAX_RANK] }; PANEL];
        let mut count = 0;
        let mut column = columns.start;
        while column < columns.end {
            let mut position = [0; MAX_RANK];
            let mut rest = column;
            for (axis, at) in self.axes.iter().zip(&mut position).rev() {
                *at = rest % axis.output;
                rest /= axis.output;
            }
            let inner = self.axes.len() - 1;
            let length = (self.axes[inner].output - position[inner]).min(columns.end - column);
            runs[count] = Run { lane: column - columns.start, length, position };
            count += 1;
            column += length;
        }
        (runs, count)
    }

    fn lookup(&self, runs: &[Run], tap: &[usize; MAX_RANK]) -> Lookup {
        let mut lookup = Lookup { positions: [0; PANEL], inside: [false; PANEL] };
        let (inner, outer) = match self.axes.split_last() {
            Some(split) => split,
            None => return lookup,
        };
        for run in runs {
            let mut start = 0;
            let mut valid = true;
            for (axis, (&position, &tap)) in outer.iter().zip(run.position.iter().zip(tap)) {
                let at = (position * axis.stride) as i64 + axis.taps[tap].shift;
                valid &= (0..axis.input as i64).contains(&at);
                start += at.wrapping_mul(axis.step);
            }
            let first = (run.position[outer.len()] * inner.stride) as i64 + inner.taps[tap[outer.len()]].shift;
            for i in 0..run.length {
                let at = first + (i * inner.stride) as i64;
                lookup.inside[run.lane + i] = valid && (0..inner.input as i64).contains(&at);
                lookup.positions[run.lane + i] = start.wrapping_add(at.wrapping_mul(inner.step));
            }
        }
        lookup
    }
}

impl Right for Patches<'_> {
    fn in_place(&self, _: usize, _: usize, _: usize) -> Option<Panels<'_>> {
        None
    }

    fn pack(&self, isa: Isa, batch: usize, columns: Range<usize>, depths: Range<usize>, packed: &mut [f32]) {
        let start = self.offset + self.strides.batch_offset(self.stack, batch);
        let taps = taps(self.axes);
        let panel_len = depths.len() * PANEL;
        if let (1, [axis], Floats::F32(source)) = (taps, self.axes, self.floats)
            && (axis.stride, axis.step, axis.taps[0].shift) == (1, 1, 0)
            && axis.input == axis.output
        {
            // A pointwise convolution: the rows of the input are the rows of the product.
            for (line, channel) in depths.enumerate() {
                let from = (start + channel as i64 * self.channel) as usize + columns.start;
                let row = &source[from..from + columns.len()];
                for (panel, values) in row.chunks(PANEL).enumerate() {
                    let line = &mut packed[panel * panel_len + line * PANEL..][..PANEL];
                    match <&[f32; PANEL]>::try_from(values) {
                        Ok(values) => line.copy_from_slice(values),
                        Err(_) => line[..values.len()].copy_from_slice(values),
                    }
                }
            }
            return;
        }
        for (first, panel) in columns.clone().step_by(PANEL).zip(packed.chunks_exact_mut(panel_len.max(1))) {
            let (runs, count) = self.runs(first..columns.end.min(first + PANEL));
            let mut tap = [0; MAX_RANK];
            for number in 0..taps {
                let lookup = self.lookup(&runs[..count], &tap);
                // The rows of this tap among `depths`: row `channel * taps + number`.
                let channels = depths.start.saturating_sub(number).div_ceil(taps)
                    ..depths.end.saturating_sub(number).div_ceil(taps);
                if channels.is_empty() {
                    advance(self.axes, &mut tap);
                    continue;
                }
                let rows = TapRows {
                    lookup: &lookup,
                    runs: &runs[..count],
                    start: start + channels.start as i64 * self.channel,
                    channel: self.channel,
                    channels: channels.len(),
                    panel: &mut panel[(channels.start * taps + number - depths.start) * PANEL..],
                    distance: taps * PANEL,
                };
                let inner = self.axes.last().map_or(0, |axis| axis.step * axis.stride as i64);
                match self.floats {
                    Floats::F32(source) if inner == 1 => isa.run(Vectors { rows, source }),
                    Floats::F32(source) => rows.each(|position| source[position]),
                    Floats::F16(source) => rows.each(|position| source[position].to_f32()),
                    Floats::BF16(source) => rows.each(|position| source[position].to_f32()),
                }
                advance(self.axes, &mut tap);
            }
        }
    }
}

/// The next tap, in row-major order.
fn advance(axes: &[Axis], tap: &mut [usize; MAX_RANK]) {
    for (axis, tap) in axes.iter().zip(tap).rev() {
        *tap += 1;
        if *tap < axis.taps.len() {
            break;
        }
        *tap = 0;
    }
}

/// The rows of a panel that belong to one tap, one a channel.
struct TapRows<'a> {
    lookup: &'a Lookup,
    runs: &'a [Run],
    /// Position of the first channel.
    start: i64,
    channel: i64,
    channels: usize,
    panel: &'a mut [f32],
    /// Elements from one row to the next.
    distance: usize,
}

impl TapRows<'_> {
    /// Element by element.
    #[inline(always)]
    fn each(self, load: impl Fn(usize) -> f32) {
        for channel in 0..self.channels {
            let start = self.start + channel as i64 * self.channel;
            let line = &mut self.panel[channel * self.distance..][..PANEL];
            fill(line, start, self.lookup, &load);
        }
    }
}

#[inline(always)]
fn fill(line: &mut [f32], start: i64, lookup: &Lookup, load: &impl Fn(usize) -> f32) {
    for (lane, x) in line.iter_mut().enumerate() {
        *x = if lookup.inside[lane] { load((start + lookup.positions[lane]) as usize) } else { 0.0 };
    }
}

/// Rows whose runs are neighbours in the input.
struct Vectors<'a> {
    rows: TapRows<'a>,
    source: &'a [f32],
}

/// Runs that vector loads are worth it for.
const MAX_RUNS: usize = 6;
/// Vectors in a panel where they are narrowest.
const PANEL_VECTORS: usize = 4;

impl Algorithm for Vectors<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Vectors { rows, source } = self;
        let vectors = PANEL / L::WIDTH;
        // For each run that has lanes inside: where lane zero of the panel would lie, and its lanes.
        let mut loads = [0i64; MAX_RUNS];
        let none = L::Int::splat(0).eq(L::Int::splat(1));
        let mut masks = [[none; PANEL_VECTORS]; MAX_RUNS];
        let mut count = 0;
        for run in rows.runs {
            let lanes = run.lane..run.lane + run.length;
            if !rows.lookup.inside[lanes.clone()].contains(&true) {
                continue;
            }
            if count == MAX_RUNS {
                return rows.each(|position| source[position]);
            }
            let mut chosen = [0i32; PANEL];
            for lane in lanes {
                chosen[lane] = i32::from(rows.lookup.inside[lane]);
            }
            loads[count] = rows.lookup.positions[run.lane].wrapping_sub(run.lane as i64);
            for v in 0..vectors {
                masks[count][v] = L::Int::load(&chosen[v * L::WIDTH..]).eq(L::Int::splat(1));
            }
            count += 1;
        }
        let whole = count == 1 && rows.lookup.inside == [true; PANEL];
        for channel in 0..rows.channels {
            let start = rows.start + channel as i64 * rows.channel;
            let line = &mut rows.panel[channel * rows.distance..][..PANEL];
            if whole {
                let from = (start + loads[0]) as usize;
                for v in 0..vectors {
                    L::load(&source[from + v * L::WIDTH..]).store(&mut line[v * L::WIDTH..]);
                }
                continue;
            }
            let mut values = [L::splat(0.0); PANEL_VECTORS];
            let mut readable = true;
            for r in 0..count {
                // A whole panel is read, also around the run; near the ends of the input that is not possible.
                let from = start.wrapping_add(loads[r]);
                if from < 0 || from as usize + PANEL > source.len() {
                    readable = false;
                    break;
                }
                for v in 0..vectors {
                    let loaded = L::load(&source[from as usize + v * L::WIDTH..]);
                    values[v] = L::select(masks[r][v], loaded, values[v]);
                }
            }
            if readable {
                for v in 0..vectors {
                    values[v].store(&mut line[v * L::WIDTH..]);
                }
            } else {
                fill(line, start, rows.lookup, &|position| source[position]);
            }
        }
    }
}
