//! Dividing a kernel's work among threads, without allocating, and checking what a call hands over.
//!
//! Work is cut into numbered parts whose bounds depend on the sizes and the thread count; kernels are written so that
//! the bits of a result depend on neither.

use std::ops::Range;

use crate::kernel::call::{Operand, RunError, Source, Target, Threads};
use crate::kernel::grid::Grid;
use crate::kernel::tile::Out;
use crate::types::{DType, Layout};

/// Additions below which another thread costs more than it saves.
const WORTH_A_THREAD: u64 = 1 << 16;

/// How many parts to cut work of `cost` additions into, of which at most `most` are of use.
pub fn parts(threads: usize, cost: u64, most: usize) -> usize {
    let worth = usize::try_from(cost / WORTH_A_THREAD).unwrap_or(usize::MAX);
    threads.min(worth).min(most).max(1)
}

/// Part `part` of `parts` of `0..len`, with bounds that are multiples of `unit`.
pub fn part_of(len: usize, unit: usize, part: usize, parts: usize) -> Range<usize> {
    let units = len.div_ceil(unit);
    let bound = |part: usize| (units / parts * part + (units % parts).min(part)).saturating_mul(unit).min(len);
    bound(part)..bound(part + 1)
}

/// Runs parts `range` of some work: `cut(state, at, range)` divides the state of the parts `range` at part `at`, and
/// `work(state, part)` does one part.
pub fn for_parts<S: Send>(
    threads: Threads,
    range: Range<usize>,
    state: S,
    cut: &(impl Fn(S, usize, Range<usize>) -> (S, S) + Sync),
    work: &(impl Fn(S, usize) + Sync),
) {
    match threads.pool {
        Some(pool) if range.len() > 1 => pool.install(|| fork(range, state, cut, work)),
        _ => {
            let (mut state, end) = (state, range.end);
            for part in range.start..end.saturating_sub(1) {
                let (first, rest) = cut(state, part + 1, part..end);
                work(first, part);
                state = rest;
            }
            if !range.is_empty() {
                work(state, end - 1);
            }
        }
    }
}

fn fork<S: Send>(
    range: Range<usize>,
    state: S,
    cut: &(impl Fn(S, usize, Range<usize>) -> (S, S) + Sync),
    work: &(impl Fn(S, usize) + Sync),
) {
    if range.len() <= 1 {
        return work(state, range.start);
    }
    let middle = range.start + range.len() / 2;
    let (left, right) = cut(state, middle, range.clone());
    rayon::join(|| fork(range.start..middle, left, cut, work), || fork(middle..range.end, right, cut, work));
}

/// Divides a result at a position of a grid in which its layout ascends.
pub fn cut_out<'a>(grid: &Grid, layout: usize, dtype: DType, out: Out<'a>, position: usize) -> (Out<'a>, Out<'a>) {
    let element = out.origin + grid.offset(layout, position);
    let at = (element as usize * dtype.size()).min(out.bytes.len());
    let (before, after) = out.bytes.split_at_mut(at);
    (Out { bytes: before, origin: out.origin }, Out { bytes: after, origin: out.origin - element })
}

/// Checks that slices hold what their layouts name, aligned, and that ties name results of the same size and shape.
/// Kernels index without further checks of their own.
pub fn check_call(reads: &[Operand], writes: &[Target], expected: &[Layout]) -> Result<(), RunError> {
    if reads.len() + writes.len() != expected.len() {
        return Err(RunError::Argument("a kernel got another number of operands than it was prepared for".into()));
    }
    for (read, expected) in reads.iter().zip(expected) {
        match read.source {
            Source::Bytes(bytes) => check_slice(bytes, read.dtype, read.layout, expected)?,
            Source::Written(write) => {
                let tied = writes
                    .get(write)
                    .is_some_and(|write| write.dtype.size() == read.dtype.size() && write.layout.is_parallel(expected));
                if !tied {
                    return Err(RunError::Argument("an operand is tied to a result of another layout".into()));
                }
            }
        }
    }
    for (write, expected) in writes.iter().zip(&expected[reads.len()..]) {
        check_slice(write.bytes, write.dtype, write.layout, expected)?;
    }
    Ok(())
}

fn check_slice(bytes: &[u8], dtype: DType, layout: &Layout, expected: &Layout) -> Result<(), RunError> {
    if layout.shape != expected.shape || layout.strides != expected.strides {
        return Err(RunError::Argument("a kernel got another layout than it was prepared for".into()));
    }
    if layout.is_empty() {
        return Ok(());
    }
    let holds = layout.hull().is_some_and(|(low, high)| low >= 0 && high as u64 <= (bytes.len() / dtype.size()) as u64);
    let aligned = (bytes.as_ptr() as usize).is_multiple_of(dtype.size()) && bytes.len().is_multiple_of(dtype.size());
    if holds && aligned { Ok(()) } else { Err(RunError::Argument("a slice does not hold its layout, aligned".into())) }
}
