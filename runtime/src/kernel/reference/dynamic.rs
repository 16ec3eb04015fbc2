//! Blocks at a place that is read. The place is checked before the first element is written.

use super::Memory;
use crate::kernel::call::RunError;
use crate::kernel::domain::for_each_index;
use crate::types::MAX_RANK;

/// Where a block of `size` elements begins on an axis of `extent`: nothing wraps, and all of it lies inside.
pub fn place(start: i64, extent: usize, size: usize, step: &str) -> Result<usize, RunError> {
    let last = start.saturating_add(size.max(1) as i64 - 1);
    let inside = usize::try_from(start).ok().filter(|&start| start + size <= extent);
    inside.ok_or_else(|| RunError::IndexOutOfRange {
        step: step.to_string(),
        index: if start < 0 { start } else { last },
        extent,
    })
}

/// The places of a block of `shape` in `whole`, one for each axis.
fn places(
    memory: &Memory,
    axes: &[usize],
    whole: &[usize],
    shape: &[usize],
    step: &str,
) -> Result<[usize; MAX_RANK], RunError> {
    let mut places = [0; MAX_RANK];
    for (number, &axis) in axes.iter().enumerate() {
        places[axis] = place(memory.integer(1 + number, &[]), whole[axis], shape[axis], step)?;
    }
    Ok(places)
}

/// `out[i] = x[i + starts]`.
pub(super) fn slice(memory: &mut Memory, axes: &[usize], step: &str) -> Result<(), RunError> {
    let (whole, shape) = (memory.read_shape(0), memory.write_shape(0));
    let places = places(memory, axes, whole, shape, step)?;
    for_each_index(shape, |index| {
        let from: [usize; MAX_RANK] = std::array::from_fn(|axis| places[axis] + index.get(axis).copied().unwrap_or(0));
        let bits = memory.read(0, &from[..index.len()]);
        memory.write(0, index, bits);
    });
    Ok(())
}

/// `base[i + starts] = x[i]`.
pub(super) fn update(memory: &mut Memory, axes: &[usize], step: &str) -> Result<(), RunError> {
    let (whole, shape) = (memory.write_shape(0), memory.read_shape(0));
    let places = places(memory, axes, whole, shape, step)?;
    for_each_index(shape, |index| {
        let to: [usize; MAX_RANK] = std::array::from_fn(|axis| places[axis] + index.get(axis).copied().unwrap_or(0));
        let bits = memory.read(0, index);
        memory.write(0, &to[..index.len()], bits);
    });
    Ok(())
}
