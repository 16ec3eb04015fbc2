//! Dividing a kernel's results over threads without `unsafe`.
//!
//! The domain's leading axes make up *units*; a thread computes a run of them. Where a layout is ordered as its indices
//! are, the elements of a run lie in one stretch of bytes that holds nothing of another run, so the bytes of the result
//! can be split between runs. Each unit is computed the same way in whatever run it is, so results do not depend on
//! the number of threads.

use std::ops::Range;

use crate::kernel::call::{Target, Threads};
use crate::types::Layout;

/// One thread's part of a kernel's results.
pub struct Share<'s, const N: usize> {
    /// The units to compute, numbered row-major over the leading axes.
    pub units: Range<usize>,
    /// Bytes of each result that belong to the units.
    pub targets: [&'s mut [u8]; N],
    /// Position, in elements, of the first byte of each of `targets`.
    pub starts: [i64; N],
    pub workspace: &'s mut [u8],
}

/// Bytes that one thread's scratch of `bytes` takes, so that the next one's is aligned.
pub fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(64)
}

/// How units are cut out of results.
struct Cut<'l, const N: usize> {
    layouts: [&'l Layout; N],
    sizes: [usize; N],
    /// Number of leading axes that units run over.
    lead: usize,
    /// Scratch bytes of a thread.
    scratch: usize,
}

/// Computes all units of the results `targets`, whose leading `lead` axes are the same, by calling `compute` for runs
/// of units, on several threads when each gets at least `grain` units. `scratch` bytes of the workspace go to each.
pub fn share_units<const N: usize>(
    threads: Threads,
    targets: &mut [Target; N],
    lead: usize,
    grain: usize,
    workspace: &mut [u8],
    scratch: usize,
    compute: impl Fn(Share<N>) + Sync,
) {
    let layouts = targets.each_ref().map(|target| target.layout);
    let sizes = targets.each_ref().map(|target| target.dtype.size());
    let units: usize = layouts[0].shape[..lead].iter().product();
    let cut = Cut { layouts, sizes, lead, scratch: aligned(scratch) };
    let parts =
        if layouts.iter().all(|layout| is_ordered(layout)) { threads.count.min(units / grain.max(1)) } else { 1 };
    let share = Share {
        units: 0..units,
        targets: targets.each_mut().map(|target| &mut *target.bytes),
        starts: [0; N],
        workspace,
    };
    match threads.pool {
        Some(pool) if parts > 1 => pool.install(|| cut.divide(share, parts, &compute)),
        _ => compute(share),
    }
}

impl<const N: usize> Cut<'_, N> {
    fn divide(&self, share: Share<N>, parts: usize, compute: &(impl Fn(Share<N>) + Sync)) {
        if parts <= 1 {
            return compute(share);
        }
        let left_parts = parts / 2;
        let middle = share.units.start + share.units.len() * left_parts / parts;
        let mut starts = share.starts;
        let mut rights: [&mut [u8]; N] = std::array::from_fn(|_| &mut [][..]);
        let mut lefts: [&mut [u8]; N] = std::array::from_fn(|_| &mut [][..]);
        for (n, bytes) in share.targets.into_iter().enumerate() {
            starts[n] = unit_position(self.layouts[n], self.lead, middle);
            let at = (starts[n] - share.starts[n]) as usize * self.sizes[n];
            (lefts[n], rights[n]) = bytes.split_at_mut(at.min(bytes.len()));
        }
        let (left_scratch, right_scratch) = share.workspace.split_at_mut(left_parts * self.scratch);
        let left =
            Share { units: share.units.start..middle, targets: lefts, starts: share.starts, workspace: left_scratch };
        let right = Share { units: middle..share.units.end, targets: rights, starts, workspace: right_scratch };
        rayon::join(|| self.divide(left, left_parts, compute), || self.divide(right, parts - left_parts, compute));
    }
}

/// Whether positions grow with the row-major number of the index: each step outweighs all steps of the later axes.
fn is_ordered(layout: &Layout) -> bool {
    let mut reach = 0i64;
    for (&extent, &stride) in layout.shape.iter().zip(&layout.strides).rev() {
        if extent > 1 {
            if stride <= reach {
                return false;
            }
            reach += stride * (extent as i64 - 1);
        }
    }
    true
}

/// Position of the first element of a unit.
pub fn unit_position(layout: &Layout, lead: usize, unit: usize) -> i64 {
    let mut rest = unit;
    let mut position = layout.offset;
    for axis in (0..lead).rev() {
        let extent = layout.shape[axis].max(1);
        position += (rest % extent) as i64 * layout.strides[axis];
        rest /= extent;
    }
    position
}
