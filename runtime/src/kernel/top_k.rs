//! The k best elements along an axis, with their positions.
//!
//! Every candidate is one unsigned number: the key of its value above its position, so that comparing numbers compares
//! values first and breaks ties by the lower position. A line is read once; candidates below the worst of the k best
//! so far are dropped at sight, the others collect in a buffer of a few k that is cut down to k when full.

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, RunError, Threads};
use crate::kernel::domain::Odometer;
use crate::kernel::element::{Element, typed, typed_mut, with_element};
use crate::kernel::lookup::slice;
use crate::kernel::share::{Share, aligned, share_units};
use crate::simd::{Algorithm, Isa, Lanes};
use crate::types::{DType, Layout};

/// Elements that are passed over at once when none of them is among the best.
const CHUNK: usize = 32;
/// Elements that a thread should look at at least.
const GRAIN: usize = 1 << 14;

#[derive(Debug)]
pub struct PreparedTopK {
    dtype: DType,
    axis: usize,
    largest: bool,
    extent: usize,
    count: usize,
    /// Distance between the elements of a line.
    step: i64,
    /// The operand with the axis of extent one.
    lines: Layout,
    threads: usize,
}

/// `TopK`, validated. Results are always sorted.
pub fn prepare(axis: usize, largest: bool, reads: &[Access], writes: &[Write], threads: usize) -> PreparedTopK {
    let x = &reads[0].layout;
    let mut lines = x.clone();
    lines.shape[axis] = 1;
    PreparedTopK {
        dtype: reads[0].dtype,
        axis,
        largest,
        extent: x.shape[axis],
        count: writes[0].access.layout.shape[axis],
        step: x.strides[axis],
        lines,
        threads: threads.max(1),
    }
}

impl PreparedTopK {
    /// Candidates that the buffer holds.
    fn capacity(&self) -> usize {
        self.extent.min(self.count.saturating_mul(2).saturating_add(64))
    }

    /// Scratch of one thread, in bytes: candidates are 128 bits wide at most.
    fn scratch(&self) -> usize {
        self.capacity().saturating_mul(size_of::<u128>())
    }

    pub fn workspace_bytes(&self) -> usize {
        aligned(self.scratch()).saturating_mul(self.threads)
    }

    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let x = slice(&call.reads[0])?;
        let Ok(results) = <&mut [_; 2]>::try_from(call.writes) else { return Ok(()) };
        if results[0].layout.is_empty() {
            return Ok(());
        }
        let layouts = results.each_ref().map(|result| result.layout);
        // Runs of units are runs of the leading axes; lines behind the axis are walked within a unit.
        let (lead, rank) = (self.axis, self.lines.rank());
        let inner: usize = self.lines.shape[lead..].iter().product();
        let grain = GRAIN.div_ceil(self.extent * inner);
        let threads = Threads { count: call.threads.count.min(self.threads), ..call.threads };
        let small = self.dtype.size() <= 4 && u32::try_from(self.extent).is_ok();
        with_element!(self.dtype, T => {
            let x: &[T] = typed(x);
            share_units(threads, results, lead, grain, call.workspace, self.scratch(), |share| {
                let Share { units, targets: [values, positions], starts, workspace } = share;
                let values: &mut [T] = typed_mut(values);
                let positions: &mut [i64] = typed_mut(positions);
                let views = [
                    (self.lines.offset, &self.lines.strides[..]),
                    (layouts[0].offset - starts[0], &layouts[0].strides[..]),
                    (layouts[1].offset - starts[1], &layouts[1].strides[..]),
                ];
                let mut odometer = Odometer::new(&self.lines.shape[..rank], views)
                    .range(units.start * inner, units.len() * inner);
                let steps = layouts.map(|layout| layout.strides[self.axis]);
                while let Some([from, value, position]) = odometer.advance() {
                    let line = |i: usize| x[(from + i as i64 * self.step) as usize];
                    let store = |n: usize, i: usize| {
                        values[(value + n as i64 * steps[0]) as usize] = line(i);
                        positions[(position + n as i64 * steps[1]) as usize] = i as i64;
                    };
                    let scratch = &mut workspace[..self.scratch()];
                    if !small {
                        self.select::<T, u128>(line, typed_mut(scratch), store);
                    } else if self.step == 1 {
                        let line = &x[from as usize..][..self.extent];
                        isa.run(Select { kernel: self, line, buffer: typed_mut(scratch), store });
                    } else {
                        self.select::<T, u64>(line, typed_mut(scratch), store);
                    }
                }
            });
        });
        Ok(())
    }

    /// Selects one line's best and calls `store(place, position)` for each, the best first.
    #[inline(always)]
    fn select<T: Element, C: Candidate>(
        &self,
        line: impl Fn(usize) -> T,
        buffer: &mut [C],
        mut store: impl FnMut(usize, usize),
    ) {
        let buffer = &mut buffer[..self.capacity()];
        let key_of = |i: usize| {
            let key = line(i).key();
            if self.largest { !key } else { key }
        };
        let mut held = 0;
        // A later element must have a lower key than the worst of the best so far, since a tie goes to the earlier.
        let mut worst: Option<T::Key> = None;
        for start in (0..self.extent).step_by(CHUNK) {
            let end = (start + CHUNK).min(self.extent);
            if let Some(worst) = worst
                && end - start == CHUNK
                && !(0..CHUNK).fold(false, |any, n| any | (key_of(start + n) < worst))
            {
                continue;
            }
            for i in start..end {
                let key = key_of(i);
                if worst.is_some_and(|worst| key >= worst) {
                    continue;
                }
                if held == buffer.len() {
                    buffer.select_nth_unstable(self.count - 1);
                    held = self.count;
                    let last = key_of(buffer[self.count - 1].position());
                    worst = Some(last);
                    if key >= last {
                        continue;
                    }
                }
                buffer[held] = C::new(key.into(), i);
                held += 1;
            }
        }
        let held = &mut buffer[..held];
        if self.count < held.len() {
            held.select_nth_unstable(self.count - 1);
        }
        let best = &mut held[..self.count];
        best.sort_unstable();
        for (n, candidate) in best.iter().enumerate() {
            store(n, candidate.position());
        }
    }
}

/// The best of a dense line.
struct Select<'s, T, F> {
    kernel: &'s PreparedTopK,
    line: &'s [T],
    buffer: &'s mut [u64],
    store: F,
}

impl<T: Element, F: FnMut(usize, usize)> Algorithm for Select<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let line = self.line;
        self.kernel.select::<T, u64>(|i| line[i], self.buffer, self.store);
    }
}

/// A key and a position in one number.
trait Candidate: bytemuck::Pod + Ord {
    fn new(key: u64, position: usize) -> Self;
    fn position(self) -> usize;
}

impl Candidate for u64 {
    #[inline(always)]
    fn new(key: u64, position: usize) -> u64 {
        key << 32 | position as u64
    }

    #[inline(always)]
    fn position(self) -> usize {
        (self & u64::from(u32::MAX)) as usize
    }
}

impl Candidate for u128 {
    #[inline(always)]
    fn new(key: u64, position: usize) -> u128 {
        u128::from(key) << 64 | position as u128
    }

    #[inline(always)]
    fn position(self) -> usize {
        self as u64 as usize
    }
}
