//! Pools without positions, a result row at a time.
//!
//! 1. *Down*: the rows of the operand that the window covers are combined into one *line*, which is padded with the
//!    neutral element on both sides so that later no tap needs a bounds check.
//! 2. The line is split into *phases*, one for each remainder of the stride: then the elements that one tap
//!    contributes to neighbouring results are neighbours too.
//! 3. *Along*: the taps of the row are combined.
//!
//! 1 and 3 work on blocks of neighbours that the compiler keeps in vector registers. The last block of a row overlaps the
//! one before it, which computes the same results twice and writes the same bits.

use super::PreparedPool;
use crate::kernel::domain::Odometer;
use crate::kernel::element::{Element, Sum, typed_mut};
use crate::kernel::share::{Share, aligned};
use crate::kernel::{PoolFn, Window};
use crate::simd::{Algorithm, Lanes};
use crate::types::{Layout, MAX_RANK};

/// Neighbours that are combined at once.
const BLOCK: usize = 16;
/// Rows that are combined without going through memory.
const ROWS: usize = 64;

/// Where the padded line and its phases lie.
#[derive(Debug)]
pub(super) struct Line {
    /// Padding before the operand's elements.
    pad: usize,
    stride: usize,
    /// Length of a phase; the line is as long as all phases.
    phase: usize,
    /// For each tap the start, in the phases, of what it contributes to result 0, 1, ….
    taps: Vec<usize>,
    /// Results of a row, rounded up to blocks.
    results: usize,
}

impl Line {
    /// The line of a window's innermost axis over `width` elements for `results` results. `None` when it is too long.
    pub(super) fn new(window: &Window, width: usize, results: usize) -> Option<Line> {
        let axis = window.kernel.len() - 1;
        let (pad, stride) = (window.pads_begin[axis], window.strides[axis]);
        let reach = (window.kernel[axis] - 1).checked_mul(window.dilations[axis])?;
        let results = results.checked_next_multiple_of(BLOCK)?;
        let end = results.saturating_sub(1).checked_mul(stride)?.checked_add(reach)?.checked_add(1)?;
        let length = end.max(pad.checked_add(width)?);
        if length > 1 << 28 {
            return None;
        }
        let phase = length.div_ceil(stride);
        let taps = (0..window.kernel[axis])
            .map(|tap| tap * window.dilations[axis])
            .map(|place| place % stride * phase + place / stride)
            .collect();
        Some(Line { pad, stride, phase, taps, results })
    }

    /// Scratch bytes: the line, its phases, the results, and a row gathered from a strided operand.
    pub(super) fn scratch(&self, width: usize) -> [usize; 4] {
        let bytes = |elements: usize| aligned(elements * size_of::<u64>());
        let line = self.phase * self.stride;
        [bytes(line), if self.stride == 1 { 0 } else { bytes(line) }, bytes(self.results), bytes(width)]
    }
}

/// A thread's share of the rows.
pub(super) struct Rows<'s, T> {
    pub(super) pool: &'s PreparedPool,
    pub(super) line: &'s Line,
    pub(super) x: &'s [T],
    pub(super) layout: &'s Layout,
    pub(super) share: Share<'s, 1>,
}

impl<T: Element> Algorithm for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.pool.function {
            PoolFn::Max => self.pool(T::LOWEST, |a: T, b: T| b.larger(a), |a, b| b.larger(a), |_, result, _| result),
            PoolFn::Average { .. } => {
                let zero: T::Sum = bytemuck::Zeroable::zeroed();
                let mean = |columns: u32, sum: T::Sum, rows: u32| match columns.wrapping_mul(rows) {
                    0 => T::from_sum(zero),
                    count => T::from_sum(sum.divide(count)),
                };
                self.pool(zero, |sum: T::Sum, x: T| sum.add(x.to_sum()), T::Sum::add, mean);
            }
        }
    }
}

impl<T: Element> Rows<'_, T> {
    /// `down` combines an element of the operand into a total, `along` two totals, and `finish` makes a result of the
    /// columns counted, the total and the rows counted.
    #[inline(always)]
    fn pool<A: bytemuck::Pod>(
        self,
        neutral: A,
        down: impl Fn(A, T) -> A + Copy,
        along: impl Fn(A, A) -> A + Copy,
        finish: impl Fn(u32, A, u32) -> T,
    ) {
        let Rows { pool, line, x, layout, share } = self;
        let Share { units, targets: [bytes], starts: [start], workspace } = share;
        let out: &mut [T] = typed_mut(bytes);
        let (rank, length) = (pool.x.rank(), line.phase * line.stride);
        let width = pool.x.shape[rank - 1];
        let scratch = line.scratch(width);
        let (padded, rest) = workspace.split_at_mut(scratch[0]);
        let (phases, rest) = rest.split_at_mut(scratch[1]);
        let (results, gathered) = rest.split_at_mut(scratch[2]);
        let padded: &mut [A] = &mut typed_mut(padded)[..length];
        let phases: &mut [A] = typed_mut(phases);
        let results: &mut [A] = &mut typed_mut(results)[..line.results];
        let gathered: &mut [T] = &mut typed_mut(gathered)[..width];
        padded.fill(neutral);
        let shape = &layout.shape[..rank - 1];
        let per_unit: usize = shape[2..].iter().product();
        let views = [(layout.offset - start, &layout.strides[..rank - 1])];
        let mut odometer = Odometer::new(shape, views).range(units.start * per_unit, units.len() * per_unit);
        let step = layout.strides[rank - 1];
        while let Some([to]) = odometer.advance() {
            let window = Rectangle::new(pool, odometer.index());
            window.combine(x, gathered, &mut padded[line.pad..line.pad + width], neutral, down);
            let phases = if line.stride == 1 {
                &*padded
            } else {
                split_phases(padded, &mut phases[..length], line);
                &*phases
            };
            combine_taps(phases, &line.taps, results, neutral, along);
            let finished = pool.counts.iter().zip(&*results).map(|(&columns, &sum)| finish(columns, sum, window.count));
            if step == 1 {
                let out = &mut out[to as usize..][..pool.counts.len()];
                out.iter_mut().zip(finished).for_each(|(out, result)| *out = result);
            } else {
                finished.enumerate().for_each(|(n, result)| out[(to + n as i64 * step) as usize] = result);
            }
        }
    }
}

/// The operand's rows that the window covers at one result row.
struct Rectangle {
    taps: [usize; MAX_RANK],
    strides: [i64; MAX_RANK],
    outer: usize,
    start: i64,
    /// Distance between neighbours of a row.
    across: i64,
    /// Rows that a mean counts.
    count: u32,
}

impl Rectangle {
    #[inline(always)]
    fn new(pool: &PreparedPool, index: &[usize]) -> Rectangle {
        let (layout, window) = (&pool.x, &pool.window);
        let outer = index.len() - 2;
        let mut rectangle = Rectangle {
            taps: [1; MAX_RANK],
            strides: [0; MAX_RANK],
            outer,
            start: layout.offset + index[0] as i64 * layout.strides[0] + index[1] as i64 * layout.strides[1],
            across: layout.strides[outer + 2],
            count: 1,
        };
        let padding = pool.function == PoolFn::Average { count_padding: true };
        for axis in 0..outer {
            let reach = pool.reaches[axis][index[axis + 2]];
            rectangle.taps[axis] = reach.inside;
            rectangle.start += reach.input as i64 * layout.strides[axis + 2];
            rectangle.strides[axis] = window.dilations[axis] as i64 * layout.strides[axis + 2];
            let counted = if padding { reach.padded } else { reach.inside };
            rectangle.count = rectangle.count.wrapping_mul(counted as u32);
        }
        rectangle
    }

    /// Combines the rows into `line`. A strided row passes through `gathered`.
    #[inline(always)]
    fn combine<T: Element, A: bytemuck::Pod>(
        &self,
        x: &[T],
        gathered: &mut [T],
        line: &mut [A],
        neutral: A,
        function: impl Fn(A, T) -> A + Copy,
    ) {
        let mut odometer = Odometer::new(&self.taps[..self.outer], [(self.start, &self.strides[..self.outer])]);
        if self.across != 1 {
            line.fill(neutral);
            while let Some([from]) = odometer.advance() {
                for (n, element) in gathered.iter_mut().enumerate() {
                    *element = x[(from + n as i64 * self.across) as usize];
                }
                line.iter_mut().zip(&*gathered).for_each(|(total, &element)| *total = function(*total, element));
            }
            return;
        }
        let mut rows = [0usize; ROWS];
        let mut first = true;
        loop {
            let mut count = 0;
            while count < ROWS
                && let Some([from]) = odometer.advance()
            {
                rows[count] = from as usize;
                count += 1;
            }
            if count == 0 && !first {
                return;
            }
            let rows = &rows[..count];
            if first {
                combine_rows(x, rows, line, neutral, function);
            } else {
                for &row in rows {
                    let row = &x[row..][..line.len()];
                    line.iter_mut().zip(row).for_each(|(total, &element)| *total = function(*total, element));
                }
            }
            first = false;
        }
    }
}

/// Replaces `line` by the combination of the rows of `x` that start at `rows`.
#[inline(always)]
fn combine_rows<T: Copy, A: Copy>(
    x: &[T],
    rows: &[usize],
    line: &mut [A],
    neutral: A,
    function: impl Fn(A, T) -> A + Copy,
) {
    if line.len() >= BLOCK {
        blocks::<T, A, BLOCK>(x, rows, line, neutral, function);
    } else if line.len() >= BLOCK / 2 {
        blocks::<T, A, { BLOCK / 2 }>(x, rows, line, neutral, function);
    } else {
        for (n, total) in line.iter_mut().enumerate() {
            *total = rows.iter().fold(neutral, |total, &row| function(total, x[row + n]));
        }
    }
}

#[inline(always)]
fn blocks<T: Copy, A: Copy, const N: usize>(
    x: &[T],
    rows: &[usize],
    line: &mut [A],
    neutral: A,
    function: impl Fn(A, T) -> A,
) {
    let last = line.len() - N;
    let mut at = 0;
    loop {
        let mut totals = [neutral; N];
        for &row in rows {
            let source: &[T] = &x[row + at..][..N];
            for n in 0..N {
                totals[n] = function(totals[n], source[n]);
            }
        }
        line[at..at + N].copy_from_slice(&totals);
        if at == last {
            return;
        }
        at = (at + N).min(last);
    }
}

/// Puts element `n` of the line at place `n / stride` of phase `n % stride`.
#[inline(always)]
fn split_phases<A: Copy>(padded: &[A], phases: &mut [A], line: &Line) {
    if line.stride == 2 {
        let (even, odd) = phases.split_at_mut(line.phase);
        for ((pair, even), odd) in padded.as_chunks::<2>().0.iter().zip(even).zip(odd) {
            (*even, *odd) = (pair[0], pair[1]);
        }
        return;
    }
    for (remainder, phase) in phases.chunks_exact_mut(line.phase).enumerate() {
        phase.iter_mut().zip(padded[remainder..].iter().step_by(line.stride)).for_each(|(to, &from)| *to = from);
    }
}

/// Combines, for every block of results, what the taps contribute.
#[inline(always)]
fn combine_taps<A: Copy>(phases: &[A], taps: &[usize], results: &mut [A], neutral: A, function: impl Fn(A, A) -> A) {
    for (block, results) in results.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut totals = [neutral; BLOCK];
        for &tap in taps {
            let source: &[A] = &phases[tap + block * BLOCK..][..BLOCK];
            for n in 0..BLOCK {
                totals[n] = function(totals[n], source[n]);
            }
        }
        *results = totals;
    }
}
