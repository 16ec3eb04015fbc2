//! Pooling: the largest element or the mean of a window that slides over the spatial axes.
//!
//! A result row is computed in two passes. The rows of the operand that the window covers are first combined into one,
//! position by position, which is a vector loop whatever the stride; then the taps along the row are combined, each
//! for the run of results where it lies inside. With positions asked for, every window is searched element by element.
//!
//! `f32` and `f64` means are added up in their own precision, rows first; `f16` and `bf16` in `f32`; integers in `i64`.

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, RunError, Target, Threads};
use crate::kernel::domain::Odometer;
use crate::kernel::element::{Element, Sum, typed, typed_mut, with_element};
use crate::kernel::lookup::slice;
use crate::kernel::share::{Share, aligned, share_units};
use crate::kernel::{PoolFn, Window};
use crate::simd::{Algorithm, Isa, Lanes};
use crate::types::{DType, Layout, MAX_RANK};

/// Operand elements that a thread should read at least.
const GRAIN: usize = 1 << 15;

/// The taps of a window at one result position along one axis.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    /// First tap that lies inside, and the input position it reads.
    tap: usize,
    input: usize,
    /// Taps inside.
    inside: usize,
    /// Taps inside or on the padding.
    padded: usize,
}

#[derive(Debug)]
pub struct PreparedPool {
    dtype: DType,
    function: PoolFn,
    window: Window,
    column_major: bool,
    x: Layout,
    /// For each spatial axis the reach at every result position.
    reaches: Vec<Vec<Reach>>,
    /// For each tap of the innermost axis the results where it lies inside.
    runs: Vec<Run>,
    /// Number of elements that each result of a row averages along the innermost axis.
    counts: Vec<u32>,
    threads: usize,
}

/// The results `from..to` of a row read this tap inside, from input position `input` on.
#[derive(Clone, Copy, Debug)]
struct Run {
    from: usize,
    to: usize,
    input: usize,
}

/// `Pool`, validated.
pub fn prepare(
    function: PoolFn,
    window: &Window,
    column_major: bool,
    reads: &[Access],
    writes: &[Write],
    threads: usize,
) -> PreparedPool {
    let (x, out) = (reads[0].layout.clone(), &writes[0].access.layout);
    let spatial = x.rank() - 2;
    let reaches: Vec<Vec<Reach>> = (0..spatial)
        .map(|axis| (0..out.shape[axis + 2]).map(|at| reach(window, axis, x.shape[axis + 2], at)).collect())
        .collect();
    let row = &reaches[spatial - 1];
    let runs = if out.is_empty() { Vec::new() } else { runs(window, x.shape[spatial + 1], row) };
    let counts = row
        .iter()
        .map(|reach| match function {
            PoolFn::Average { count_padding: true } => reach.padded as u32,
            _ => reach.inside as u32,
        })
        .collect();
    let dtype = reads[0].dtype;
    let threads = threads.max(1);
    PreparedPool { dtype, function, window: window.clone(), column_major, x, reaches, runs, counts, threads }
}

/// The taps of the window at result position `at` of spatial axis `axis`.
fn reach(window: &Window, axis: usize, extent: usize, at: usize) -> Reach {
    let (kernel, dilation, pad) = (window.kernel[axis], window.dilations[axis], window.pads_begin[axis]);
    let first = at * window.strides[axis];
    // Taps below `limit` read positions below it; divided up, since taps are `dilation` apart.
    let taps_below = |limit: usize| limit.saturating_sub(first).div_ceil(dilation).min(kernel);
    let tap = taps_below(pad);
    let end = taps_below(pad + extent);
    Reach {
        tap,
        input: (first + tap * dilation).saturating_sub(pad),
        inside: end.saturating_sub(tap),
        padded: taps_below(pad + extent + window.pads_end[axis]),
    }
}

/// For every tap of the innermost axis that is inside anywhere, the results where it is: a run, because the position
/// it reads grows with the result's.
fn runs(window: &Window, extent: usize, row: &[Reach]) -> Vec<Run> {
    let axis = window.kernel.len() - 1;
    let (stride, dilation, pad) = (window.strides[axis], window.dilations[axis], window.pads_begin[axis]);
    // No tap beyond those that some result reads inside.
    let taps = row.iter().map(|reach| reach.tap + reach.inside).max().unwrap_or(0);
    let first = row.iter().filter(|reach| reach.inside > 0).map(|reach| reach.tap).min().unwrap_or(0);
    (first..taps)
        .filter_map(|tap| {
            let place = tap * dilation;
            let from = pad.saturating_sub(place).div_ceil(stride);
            let to = (pad + extent).saturating_sub(place).div_ceil(stride).min(row.len());
            (from < to).then(|| Run { from, to, input: from * stride + place - pad })
        })
        .collect()
}

impl PreparedPool {
    /// Scratch of one thread: the combined row, a row gathered from a strided operand, and the results of a row.
    fn scratch(&self) -> [usize; 3] {
        let width = self.x.shape[self.x.rank() - 1];
        let element = size_of::<u64>();
        [aligned(width * element), aligned(width * element), aligned(self.counts.len() * element)]
    }

    pub fn workspace_bytes(&self) -> usize {
        self.scratch().iter().sum::<usize>().saturating_mul(self.threads)
    }

    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let x = slice(&call.reads[0])?;
        if call.writes.iter().any(|out| out.layout.is_empty()) {
            return Ok(());
        }
        let scratch = self.scratch().iter().sum();
        // A unit is an image of one channel.
        let image: usize = self.x.shape[2..].iter().product();
        let grain = GRAIN.div_ceil(image.max(1));
        let threads = Threads { count: call.threads.count.min(self.threads), ..call.threads };
        with_element!(self.dtype, T => {
            let x: &[T] = typed(x);
            match call.writes {
                [out] => {
                    let layout = out.layout;
                    share_units(threads, std::array::from_mut(out), 2, grain, call.workspace, scratch, |share| {
                        isa.run(Rows { pool: self, x, layout, share });
                    });
                }
                [out, positions] => {
                    let layouts = [out.layout, positions.layout];
                    let mut targets = [out, positions].map(|target| Target {
                        bytes: &mut *target.bytes,
                        dtype: target.dtype,
                        layout: target.layout,
                    });
                    share_units(threads, &mut targets, 2, grain, call.workspace, scratch, |share| {
                        self.with_positions(x, layouts, share);
                    });
                }
                _ => {}
            }
        });
        Ok(())
    }

    /// Largest elements and where they are, window by window.
    fn with_positions<T: Element>(&self, x: &[T], layouts: [&Layout; 2], share: Share<2>) {
        let Share { units, targets: [values, positions], starts, .. } = share;
        let values: &mut [T] = typed_mut(values);
        let positions: &mut [i64] = typed_mut(positions);
        let shape = &layouts[0].shape;
        let spatial = shape.len() - 2;
        let per_unit: usize = shape[2..].iter().product();
        let views = [
            (layouts[0].offset - starts[0], &layouts[0].strides[..]),
            (layouts[1].offset - starts[1], &layouts[1].strides[..]),
        ];
        let mut odometer = Odometer::new(shape, views).range(units.start * per_unit, units.len() * per_unit);
        // Weight of each spatial coordinate in the flattened position.
        let mut weights = [1usize; MAX_RANK];
        if self.column_major {
            for axis in 1..spatial {
                weights[axis] = weights[axis - 1] * self.x.shape[axis + 1];
            }
        } else {
            for axis in (0..spatial - 1).rev() {
                weights[axis] = weights[axis + 1] * self.x.shape[axis + 3];
            }
        }
        let image: usize = self.x.shape[2..].iter().product();
        let mut taps = [0usize; MAX_RANK];
        while let Some(([value, position], index)) = odometer.next() {
            let plane = index[0] as i64 * self.x.strides[0] + index[1] as i64 * self.x.strides[1] + self.x.offset;
            let mut at = (plane, (index[0] * self.x.shape[1] + index[1]) * image);
            let mut strides = [0i64; MAX_RANK];
            let mut steps = [0usize; MAX_RANK];
            for axis in 0..spatial {
                let reach = self.reaches[axis][index[axis + 2]];
                taps[axis] = reach.inside;
                at.0 += reach.input as i64 * self.x.strides[axis + 2];
                at.1 += reach.input * weights[axis];
                strides[axis] = self.window.dilations[axis] as i64 * self.x.strides[axis + 2];
                steps[axis] = self.window.dilations[axis] * weights[axis];
            }
            let mut best: Option<(T::Key, T, usize)> = None;
            let mut window = Odometer::new(&taps[..spatial], [(at.0, &strides[..spatial])]);
            while let Some(([from], tap)) = window.next() {
                let element = x[from as usize];
                let key = element.key();
                if best.is_none_or(|(other, ..)| key > other) {
                    let reach: usize = tap[..spatial].iter().zip(&steps).map(|(tap, step)| tap * step).sum();
                    best = Some((key, element, at.1 + reach));
                }
            }
            let (element, place) = best.map_or((T::LOWEST, 0), |(_, element, place)| (element, place));
            values[value as usize] = element;
            positions[position as usize] = place as i64;
        }
    }
}

/// A thread's rows of a pool without positions.
struct Rows<'s, T> {
    pool: &'s PreparedPool,
    x: &'s [T],
    layout: &'s Layout,
    share: Share<'s, 1>,
}

impl<T: Element> Algorithm for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Rows { pool, x, layout, share } = self;
        let Share { units, targets: [bytes], starts: [start], workspace } = share;
        let out: &mut [T] = typed_mut(bytes);
        let [combined, gathered, _] = pool.scratch();
        let (combined, rest) = workspace.split_at_mut(combined);
        let (gathered, results) = rest.split_at_mut(gathered);
        let rank = pool.x.rank();
        let (width, row) = (pool.x.shape[rank - 1], pool.counts.len());
        let gathered: &mut [T] = &mut typed_mut(gathered)[..width];
        let shape = &layout.shape[..rank - 1];
        let per_unit: usize = shape[2..].iter().product();
        let views = [(layout.offset - start, &layout.strides[..rank - 1])];
        let mut odometer = Odometer::new(shape, views).range(units.start * per_unit, units.len() * per_unit);
        let across = layout.strides[rank - 1];
        let stride = pool.window.strides[rank - 3];
        while let Some(([to], index)) = odometer.next() {
            let source = SourceRows { pool, x, index: &index[..rank - 1] };
            match pool.function {
                PoolFn::Max => {
                    let combined: &mut [T] = &mut typed_mut(combined)[..width];
                    let results: &mut [T] = &mut typed_mut(results)[..row];
                    combined.fill(T::LOWEST);
                    let rows = source.combine(gathered, combined, |a: T, b: T| b.larger(a));
                    results.fill(T::LOWEST);
                    if rows > 0 {
                        along(&pool.runs, stride, combined, results, |a: T, b: T| b.larger(a));
                    }
                    emit(out, to, across, results, |_, result| result);
                }
                PoolFn::Average { count_padding } => {
                    let combined: &mut [T::Sum] = &mut typed_mut(combined)[..width];
                    let results: &mut [T::Sum] = &mut typed_mut(results)[..row];
                    combined.fill(bytemuck::Zeroable::zeroed());
                    let rows = source.combine(gathered, combined, |sum: T::Sum, x: T| sum.add(x.to_sum()));
                    results.fill(bytemuck::Zeroable::zeroed());
                    if rows > 0 {
                        along(&pool.runs, stride, combined, results, T::Sum::add);
                    }
                    let rows = source.count(count_padding);
                    let counts = &pool.counts;
                    emit(out, to, across, results, |n, sum: T::Sum| match counts[n].wrapping_mul(rows) {
                        0 => T::from_sum(bytemuck::Zeroable::zeroed()),
                        count => T::from_sum(sum.divide(count)),
                    });
                }
            }
        }
    }
}

/// The operand's rows that the window at one result row covers.
struct SourceRows<'s, T> {
    pool: &'s PreparedPool,
    x: &'s [T],
    /// Batch, channel, and the result's spatial coordinates but the last.
    index: &'s [usize],
}

impl<T: Element> SourceRows<'_, T> {
    /// Combines every row into `combined`, and gives how many there are. Rows of a strided operand pass through
    /// `gathered`.
    #[inline(always)]
    fn combine<A: Copy>(&self, gathered: &mut [T], combined: &mut [A], function: impl Fn(A, T) -> A) -> usize {
        let (layout, window) = (&self.pool.x, &self.pool.window);
        let outer = self.index.len() - 2;
        let mut at =
            layout.offset + self.index[0] as i64 * layout.strides[0] + self.index[1] as i64 * layout.strides[1];
        let (mut taps, mut strides) = ([1usize; MAX_RANK], [0i64; MAX_RANK]);
        for axis in 0..outer {
            let reach = self.pool.reaches[axis][self.index[axis + 2]];
            taps[axis] = reach.inside;
            at += reach.input as i64 * layout.strides[axis + 2];
            strides[axis] = window.dilations[axis] as i64 * layout.strides[axis + 2];
        }
        let across = layout.strides[outer + 2];
        let mut odometer = Odometer::new(&taps[..outer], [(at, &strides[..outer])]);
        let mut rows = 0;
        while let Some(([from], _)) = odometer.next() {
            let source = if across == 1 {
                &self.x[from as usize..][..combined.len()]
            } else {
                for (n, element) in gathered.iter_mut().enumerate() {
                    *element = self.x[(from + n as i64 * across) as usize];
                }
                &*gathered
            };
            for (total, &element) in combined.iter_mut().zip(source) {
                *total = function(*total, element);
            }
            rows += 1;
        }
        rows
    }

    /// How many rows a mean counts.
    #[inline(always)]
    fn count(&self, padding: bool) -> u32 {
        let outer = self.index.len() - 2;
        (0..outer)
            .map(|axis| {
                let reach = self.pool.reaches[axis][self.index[axis + 2]];
                (if padding { reach.padded } else { reach.inside }) as u32
            })
            .fold(1, u32::wrapping_mul)
    }
}

/// Combines the taps along a row: result `n` takes `row[n * stride + …]` for every tap that is inside.
#[inline(always)]
fn along<A: Copy>(runs: &[Run], stride: usize, row: &[A], results: &mut [A], function: impl Fn(A, A) -> A) {
    for run in runs {
        let results = &mut results[run.from..run.to];
        let source = &row[run.input..];
        match stride {
            1 => {
                for (result, &element) in results.iter_mut().zip(source) {
                    *result = function(*result, element);
                }
            }
            2 => {
                // The last result has an element of its own but perhaps no neighbour behind it.
                let Some((last, results)) = results.split_last_mut() else { continue };
                *last = function(*last, source[2 * results.len()]);
                for (result, pair) in results.iter_mut().zip(source.as_chunks::<2>().0) {
                    *result = function(*result, pair[0]);
                }
            }
            _ => {
                for (result, &element) in results.iter_mut().zip(source.iter().step_by(stride)) {
                    *result = function(*result, element);
                }
            }
        }
    }
}

/// Writes a row of results.
#[inline(always)]
fn emit<A: Copy, T: Copy>(out: &mut [T], to: i64, across: i64, results: &[A], function: impl Fn(usize, A) -> T) {
    if across == 1 {
        for (n, (out, &result)) in out[to as usize..][..results.len()].iter_mut().zip(results).enumerate() {
            *out = function(n, result);
        }
    } else {
        for (n, &result) in results.iter().enumerate() {
            out[(to + n as i64 * across) as usize] = function(n, result);
        }
    }
}
