//! Resizing along some axes, one axis after the other.
//!
//! Positions and weights of the taps are tables, computed when preparing. The axes between the first and the last
//! that is resized are blended outermost first: for each result position along an axis, the slabs behind the taps are
//! added up into one slab, which is a vector loop over all later axes, and then the next axis is done within it.
//! `f32`, `f16` and `bf16` are blended in `f32`, the others in `f64`; the result is rounded once.
//!
//! Nearest neighbours move elements as they are and need their size alone.

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, RunError, Target, Threads};
use crate::kernel::domain::Odometer;
use crate::kernel::element::{Element, number_bits, typed, typed_mut, with_bits, with_element};
use crate::kernel::lookup::slice;
use crate::kernel::share::{Share, aligned, share_units};
use crate::kernel::{NearestFn, ResizeAxis, ResizeFn};
use crate::simd::{Algorithm, Isa, Lanes};
use crate::types::{DType, Layout, MAX_RANK};

/// Result elements that a thread should compute at least.
const GRAIN: usize = 1 << 13;

/// Where the results along one axis come from.
#[derive(Debug)]
struct AxisTable {
    /// Taps of every result, the same number for each.
    taps: usize,
    /// `taps` source positions a result.
    sources: Vec<u32>,
    /// `taps` weights a result.
    weights: Vec<f64>,
    /// The same, rounded.
    weights_f32: Vec<f32>,
    /// Whether the result lies outside the source.
    outside: Vec<bool>,
}

#[derive(Debug)]
pub struct PreparedResize {
    dtype: DType,
    nearest: bool,
    /// What results outside are.
    extrapolation: Option<f64>,
    x: Layout,
    tables: Vec<AxisTable>,
    /// Axes `first..=last` are blended; those before are units, those behind are moved as they are.
    first: usize,
    last: usize,
    threads: usize,
}

/// `Resize`, validated.
pub fn prepare(
    function: ResizeFn,
    axes: &[ResizeAxis],
    extrapolation: Option<u64>,
    reads: &[Access],
    writes: &[Write],
    threads: usize,
) -> Result<PreparedResize, String> {
    let (x, out) = (&reads[0].layout, &writes[0].access.layout);
    if x.shape.iter().any(|&extent| u32::try_from(extent).is_err()) {
        return Err("an axis is too long to resize".into());
    }
    let tables: Vec<AxisTable> = (0..x.rank()).map(|n| table(function, &axes[n], x.shape[n], out.shape[n])).collect();
    let moved = |n: &usize| !is_identity(&tables[*n], x.shape[*n]);
    let first = (0..x.rank()).find(moved).unwrap_or(0);
    let last = (0..x.rank()).rfind(moved).unwrap_or(0);
    Ok(PreparedResize {
        dtype: reads[0].dtype,
        nearest: matches!(function, ResizeFn::Nearest(_)),
        extrapolation: extrapolation.map(f64::from_bits),
        x: x.clone(),
        tables,
        first,
        last,
        threads: threads.max(1),
    })
}

/// Whether an axis stays as it is.
fn is_identity(table: &AxisTable, extent: usize) -> bool {
    let results = table.outside.len();
    let in_place = |(n, taps): (usize, (&[u32], &[f64]))| {
        taps.0.iter().zip(taps.1).all(|(&source, &weight)| weight == 0.0 || (source as usize == n && weight == 1.0))
    };
    let rows = table.sources.chunks_exact(table.taps).zip(table.weights.chunks_exact(table.taps));
    results == extent && !table.outside.contains(&true) && rows.enumerate().all(in_place)
}

fn table(function: ResizeFn, axis: &ResizeAxis, extent: usize, results: usize) -> AxisTable {
    let [offset, numerator, denominator, shift, support] =
        [axis.offset, axis.numerator, axis.denominator, axis.shift, axis.support].map(f64::from_bits);
    let (radius, exclude_outside) = match function {
        ResizeFn::Nearest(_) => (0.0, false),
        ResizeFn::Linear { exclude_outside } => (1.0, exclude_outside),
        ResizeFn::Cubic { exclude_outside, .. } => (2.0, exclude_outside),
    };
    let reach = (radius * support).ceil() as i64;
    let taps = (2 * reach).max(1) as usize;
    let mut table = AxisTable {
        taps,
        sources: Vec::with_capacity(taps * results),
        weights: Vec::with_capacity(taps * results),
        weights_f32: Vec::new(),
        outside: Vec::with_capacity(results),
    };
    let last = extent as i64 - 1;
    for output in 0..results {
        let x = (output as f64 + offset) * numerator / denominator + shift;
        table.outside.push(x < 0.0 || x > last as f64);
        if let ResizeFn::Nearest(rounding) = function {
            let rounded = match rounding {
                NearestFn::RoundPreferFloor => (x - 0.5).ceil(),
                NearestFn::RoundPreferCeil => (x + 0.5).floor(),
                NearestFn::Floor => x.floor(),
                NearestFn::Ceil => x.ceil(),
            };
            table.sources.push((rounded as i64).clamp(0, last) as u32);
            table.weights.push(1.0);
            continue;
        }
        let start = x.floor() as i64 + 1 - reach;
        let row = table.weights.len();
        for tap in start..start + taps as i64 {
            let excluded = exclude_outside && (tap < 0 || tap > last);
            let weight = if excluded { 0.0 } else { weight(function, ((tap as f64 - x) / support).abs()) };
            table.weights.push(weight);
            table.sources.push(tap.clamp(0, last) as u32);
        }
        let weights = &mut table.weights[row..];
        let sum: f64 = weights.iter().sum();
        if (support > 1.0 || exclude_outside) && sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
    }
    table.weights_f32 = table.weights.iter().map(|&weight| weight as f32).collect();
    table
}

/// Weight of a tap at distance `d`: the tent, or Keys' cubic convolution ("Cubic convolution interpolation for
/// digital image processing", 1981) with its coefficient free.
fn weight(function: ResizeFn, d: f64) -> f64 {
    match function {
        ResizeFn::Cubic { a, .. } => {
            let a = f64::from_bits(a);
            if d <= 1.0 {
                ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
            } else if d < 2.0 {
                ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
            } else {
                0.0
            }
        }
        _ => (1.0 - d).max(0.0),
    }
}

impl PreparedResize {
    /// Elements of a slab behind axis `axis` of the operand, up to the end.
    fn slab(&self, axis: usize) -> usize {
        self.x.shape[(axis + 1).min(self.x.rank())..].iter().product()
    }

    /// Elements of the buffer in which a strided operand is gathered: a slab behind the first blended axis, or, when
    /// that is the last axis of all, a line.
    fn gathered(&self) -> usize {
        self.slab(self.first).max(if self.first == self.last { self.x.shape[self.first] } else { 0 })
    }

    /// Scratch of one thread: the gathered operand and a slab behind each blended axis.
    fn scratch(&self) -> usize {
        if self.nearest || self.x.rank() == 0 {
            return 0;
        }
        let slabs: usize = (self.first..=self.last).map(|axis| self.slab(axis)).sum();
        (slabs + self.gathered()).saturating_mul(size_of::<f64>())
    }

    pub fn workspace_bytes(&self) -> usize {
        aligned(self.scratch()).saturating_mul(self.threads)
    }

    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let x = slice(&call.reads[0])?;
        let [out] = call.writes else { return Ok(()) };
        if out.layout.is_empty() {
            return Ok(());
        }
        if self.nearest || self.x.rank() == 0 {
            self.nearest(x, out, call.threads, call.workspace);
            return Ok(());
        }
        let layout = out.layout;
        let unit: usize = layout.shape[self.first..].iter().product();
        let threads = Threads { count: call.threads.count.min(self.threads), ..call.threads };
        let (lead, grain) = (self.first, GRAIN.div_ceil(unit));
        with_element!(self.dtype, T => {
            let x: &[T] = typed(x);
            share_units(threads, std::array::from_mut(out), lead, grain, call.workspace, self.scratch(), |share| {
                isa.run(Blend { kernel: self, x, layout, share });
            });
        });
        Ok(())
    }

    /// Moves the nearest element to every result.
    fn nearest(&self, x: &[u8], out: &mut Target, threads: Threads, workspace: &mut [u8]) {
        let layout = out.layout;
        let rank = layout.rank();
        // A result row is walked along the last axis; the rows are the units.
        let lead = rank.saturating_sub(1);
        let width = layout.shape[lead..].iter().product::<usize>();
        let (from_step, to_step) = if rank == 0 { (0, 0) } else { (self.x.strides[lead], layout.strides[lead]) };
        let moved = self.last == lead || rank == 0;
        with_bits!(self.dtype, T => {
            let x: &[T] = typed(x);
            let extrapolation = self.extrapolation.map(|value| number_bits(self.dtype, value) as T);
            share_units(threads, std::array::from_mut(out), lead, GRAIN.div_ceil(width), workspace, 0, |share| {
                let Share { units, targets: [bytes], starts: [start], .. } = share;
                let out: &mut [T] = typed_mut(bytes);
                let views = [(layout.offset - start, &layout.strides[..lead])];
                let mut odometer = Odometer::new(&layout.shape[..lead], views).range(units.start, units.len());
                while let Some([to]) = odometer.advance() {
                    let index = odometer.index();
                    let mut from = self.x.offset;
                    let mut outside = false;
                    for (axis, &at) in index.iter().enumerate() {
                        from += i64::from(self.tables[axis].sources[at]) * self.x.strides[axis];
                        outside |= self.tables[axis].outside[at];
                    }
                    let row = self.tables.get(lead);
                    let dense = to_step == 1 && from_step == 1;
                    match (extrapolation, row) {
                        (Some(value), _) if outside => {
                            (0..width as i64).for_each(|n| out[(to + n * to_step) as usize] = value);
                        }
                        (Some(value), Some(row)) if moved => {
                            for (n, (&source, &outside)) in row.sources.iter().zip(&row.outside).enumerate() {
                                let element = x[(from + i64::from(source) * from_step) as usize];
                                out[(to + n as i64 * to_step) as usize] = if outside { value } else { element };
                            }
                        }
                        (_, Some(row)) if moved && dense => {
                            let x = &x[from as usize..];
                            for (out, &source) in out[to as usize..][..width].iter_mut().zip(&row.sources) {
                                *out = x[source as usize];
                            }
                        }
                        (_, Some(row)) if moved => {
                            for (n, &source) in row.sources.iter().enumerate() {
                                out[(to + n as i64 * to_step) as usize] =
                                    x[(from + i64::from(source) * from_step) as usize];
                            }
                        }
                        _ if dense => out[to as usize..][..width].copy_from_slice(&x[from as usize..][..width]),
                        _ => {
                            for n in 0..width as i64 {
                                out[(to + n * to_step) as usize] = x[(from + n * from_step) as usize];
                            }
                        }
                    }
                }
            });
        });
    }
}

/// What elements are blended in.
trait Blended: bytemuck::Pod + PartialEq {
    fn weights(table: &AxisTable) -> &[Self];
    fn muladd(self, weight: Self, element: Self) -> Self;

    /// A tap of no weight must not bring in an infinity.
    #[inline(always)]
    fn muladd_unless_zero(self, weight: Self, element: Self) -> Self {
        let total = self.muladd(weight, element);
        if weight == Self::zeroed() { self } else { total }
    }
}

impl Blended for f32 {
    fn weights(table: &AxisTable) -> &[f32] {
        &table.weights_f32
    }

    #[inline(always)]
    fn muladd(self, weight: f32, element: f32) -> f32 {
        self + weight * element
    }
}

impl Blended for f64 {
    fn weights(table: &AxisTable) -> &[f64] {
        &table.weights
    }

    #[inline(always)]
    fn muladd(self, weight: f64, element: f64) -> f64 {
        self + weight * element
    }
}

/// A thread's units of a blended resize.
struct Blend<'s, T> {
    kernel: &'s PreparedResize,
    x: &'s [T],
    layout: &'s Layout,
    share: Share<'s, 1>,
}

impl<T: Element> Algorithm for Blend<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        // `f16` and `bf16` have sums in `f32` too, but integers are blended in `f64`.
        if T::IS_FLOAT && size_of::<T>() <= 4 {
            self.blend(|element: T| element.to_f64() as f32, |value| T::from_f64(f64::from(value)));
        } else {
            self.blend(|element: T| element.to_f64(), T::from_f64);
        }
    }
}

impl<T: Element> Blend<'_, T> {
    #[inline(always)]
    fn blend<A: Blended>(self, load: impl Fn(T) -> A + Copy, round: impl Fn(A) -> T + Copy) {
        let Blend { kernel, x, layout, share } = self;
        let Share { units, targets: [bytes], starts: [start], workspace } = share;
        let out: &mut [T] = typed_mut(bytes);
        let (first, last, rank) = (kernel.first, kernel.last, layout.rank());
        let scratch: &mut [A] = &mut typed_mut(workspace)[..kernel.scratch() / size_of::<f64>()];
        let (gathered, slabs) = scratch.split_at_mut(kernel.gathered());
        let extrapolation = kernel.extrapolation.map(T::from_f64);
        let views = [(kernel.x.offset, &kernel.x.strides[..first]), (layout.offset - start, &layout.strides[..first])];
        let tail = (&layout.shape[last + 1..rank], &layout.strides[last + 1..rank]);
        let table = &kernel.tables[last];
        let mut odometer = Odometer::new(&layout.shape[..first], views).range(units.start, units.len());
        while let Some([from, to]) = odometer.advance() {
            // The result's coordinates along the blended axes but the last. The slab of each axis is kept while its
            // coordinate and those before it stay.
            let mut at = [0usize; MAX_RANK];
            let mut stale = first;
            loop {
                for (axis, &at) in at[..last].iter().enumerate().skip(stale) {
                    blend_axis(kernel, x, from, axis, at, gathered, slabs, load);
                }
                let outside = (first..last).any(|axis| kernel.tables[axis].outside[at[axis]]);
                let to = to + (first..last).map(|axis| at[axis] as i64 * layout.strides[axis]).sum::<i64>();
                if kernel.slab(last) == 1 {
                    let line = if first == last {
                        for (n, element) in gathered[..kernel.x.shape[last]].iter_mut().enumerate() {
                            *element = load(x[(from + n as i64 * kernel.x.strides[last]) as usize]);
                        }
                        &*gathered
                    } else {
                        slab_of(kernel, slabs, last - 1)
                    };
                    let row = Row { out: &mut *out, to, step: layout.strides[last] };
                    match extrapolation {
                        Some(value) if outside => row.fill(layout.shape[last], |_| value),
                        Some(value) => row.fill(layout.shape[last], |n| {
                            if table.outside[n] { value } else { round(table.blend(n, line)) }
                        }),
                        None if table.taps == 2 => row.blend::<A, 2>(table, line, round),
                        None if table.taps == 4 => row.blend::<A, 4>(table, line, round),
                        None => row.fill(layout.shape[last], |n| round(table.blend(n, line))),
                    }
                } else {
                    for n in 0..layout.shape[last] {
                        blend_axis(kernel, x, from, last, n, gathered, slabs, load);
                        let slab = slab_of(kernel, slabs, last);
                        let to = to + n as i64 * layout.strides[last];
                        match extrapolation {
                            Some(value) if outside || table.outside[n] => emit(out, to, tail, slab, |_| value),
                            _ => emit(out, to, tail, slab, round),
                        }
                    }
                }
                // On to the next coordinates: the axis that moves and all behind it are stale.
                let Some(moved) = (first..last).rfind(|&axis| at[axis] + 1 < layout.shape[axis]) else { break };
                at[moved] += 1;
                at[moved + 1..last].fill(0);
                stale = moved;
            }
        }
    }
}

impl AxisTable {
    /// The weighted sum of the taps of result `n` in a line.
    #[inline(always)]
    fn blend<A: Blended>(&self, n: usize, line: &[A]) -> A {
        let taps = self.sources[n * self.taps..][..self.taps].iter().zip(&A::weights(self)[n * self.taps..]);
        let mut total = A::zeroed();
        for (&source, &weight) in taps {
            total = total.muladd_unless_zero(weight, line[source as usize]);
        }
        total
    }
}

/// A row of results, `step` elements apart from position `to` on.
struct Row<'o, T> {
    out: &'o mut [T],
    to: i64,
    step: i64,
}

impl<T: Copy> Row<'_, T> {
    #[inline(always)]
    fn fill(self, count: usize, result: impl Fn(usize) -> T) {
        if self.step == 1 {
            self.out[self.to as usize..][..count].iter_mut().enumerate().for_each(|(n, out)| *out = result(n));
        } else {
            (0..count).for_each(|n| self.out[(self.to + n as i64 * self.step) as usize] = result(n));
        }
    }

    /// Blends `TAPS` taps a result.
    #[inline(always)]
    fn blend<A: Blended, const TAPS: usize>(self, table: &AxisTable, line: &[A], round: impl Fn(A) -> T) {
        let (sources, weights) = (table.sources.as_chunks::<TAPS>().0, A::weights(table).as_chunks::<TAPS>().0);
        self.fill(sources.len(), |n| {
            let mut total = A::zeroed();
            for tap in 0..TAPS {
                let (weight, source) = (weights[n][tap], sources[n][tap] as usize);
                total = total.muladd_unless_zero(weight, line[source]);
            }
            round(total)
        });
    }
}

/// The slab behind `axis` in the scratch of a unit.
#[inline(always)]
fn slab_of<'s, A>(kernel: &PreparedResize, slabs: &'s [A], axis: usize) -> &'s [A] {
    let before: usize = (kernel.first..axis).map(|axis| kernel.slab(axis)).sum();
    &slabs[before..][..kernel.slab(axis)]
}

/// Blends the slabs behind the taps of result `at` along `axis` into the slab of that axis. The first blended axis reads
/// the operand, whose unit begins at `from`; the others read the slab of the axis before.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "an inner loop's operands")]
fn blend_axis<T: Element, A: Blended>(
    kernel: &PreparedResize,
    x: &[T],
    from: i64,
    axis: usize,
    at: usize,
    gathered: &mut [A],
    slabs: &mut [A],
    load: impl Fn(T) -> A,
) {
    let table = &kernel.tables[axis];
    let size = kernel.slab(axis);
    let before: usize = (kernel.first..axis).map(|axis| kernel.slab(axis)).sum();
    let (sources, slab) = slabs.split_at_mut(before);
    let slab = &mut slab[..size];
    slab.fill(A::zeroed());
    let taps = table.sources[at * table.taps..][..table.taps].iter().zip(&A::weights(table)[at * table.taps..]);
    for (&source, &weight) in taps {
        // A tap of no weight must not bring in an infinity.
        if weight == A::zeroed() {
            continue;
        }
        if axis > kernel.first {
            let source = &sources[before - kernel.slab(axis - 1)..][source as usize * size..][..size];
            for (total, &element) in slab.iter_mut().zip(source) {
                *total = total.muladd(weight, element);
            }
            continue;
        }
        let position = from + i64::from(source) * kernel.x.strides[axis];
        let (shape, strides) = (&kernel.x.shape[axis + 1..], &kernel.x.strides[axis + 1..]);
        if is_dense(shape, strides) {
            for (total, &element) in slab.iter_mut().zip(&x[position as usize..][..size]) {
                *total = total.muladd(weight, load(element));
            }
        } else {
            let mut odometer = Odometer::new(shape, [(position, strides)]);
            for element in gathered.iter_mut() {
                if let Some([position]) = odometer.advance() {
                    *element = load(x[position as usize]);
                }
            }
            for (total, &element) in slab.iter_mut().zip(&*gathered) {
                *total = total.muladd(weight, element);
            }
        }
    }
}

fn is_dense(shape: &[usize], strides: &[i64]) -> bool {
    let mut expected = 1;
    for (&extent, &stride) in shape.iter().zip(strides).rev() {
        if extent != 1 && stride != expected {
            return false;
        }
        expected *= extent as i64;
    }
    true
}

/// Rounds a slab to the results of one position along the blended axes.
#[inline(always)]
fn emit<T: Copy, A: Copy>(
    out: &mut [T],
    to: i64,
    (shape, strides): (&[usize], &[i64]),
    slab: &[A],
    round: impl Fn(A) -> T,
) {
    if is_dense(shape, strides) {
        for (out, &value) in out[to as usize..][..slab.len()].iter_mut().zip(slab) {
            *out = round(value);
        }
        return;
    }
    let mut odometer = Odometer::new(shape, [(to, strides)]);
    for &value in slab {
        if let Some([to]) = odometer.advance() {
            out[to as usize] = round(value);
        }
    }
}
