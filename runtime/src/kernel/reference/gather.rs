//! Gathers. Indices are all checked before the first element is written.

use super::Memory;
use crate::kernel::call::RunError;
use crate::kernel::domain::for_each_index;
use crate::types::MAX_RANK;

/// Runs `check` over every index of `shape` and gives the first error.
pub(super) fn check_all(
    shape: &[usize],
    mut check: impl FnMut(&[usize]) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let mut result = Ok(());
    for_each_index(shape, |index| {
        if result.is_ok() {
            result = check(index);
        }
    });
    result
}

/// `out[before, indices.., after] = data[before, indices[indices..], after]`.
pub(super) fn gather(memory: &mut Memory, axis: usize, step: &str) -> Result<(), RunError> {
    let (data_shape, index_shape) = (memory.read_shape(0), memory.read_shape(1));
    check_all(index_shape, |at| memory.index(1, at, data_shape[axis], step).map(drop))?;
    let tail = axis + index_shape.len();
    let mut result = Ok(());
    for_each_index(memory.write_shape(0), |index| {
        let mut from = [0usize; MAX_RANK];
        from[..axis].copy_from_slice(&index[..axis]);
        from[axis + 1..data_shape.len()].copy_from_slice(&index[tail..]);
        match memory.index(1, &index[axis..tail], data_shape[axis], step) {
            Ok(place) => from[axis] = place,
            Err(error) => result = Err(error),
        }
        let bits = memory.read(0, &from[..data_shape.len()]);
        memory.write(0, index, bits);
    });
    result
}

/// `out[i] = data[i with i[axis] = indices[i]]`.
pub(super) fn gather_elements(memory: &mut Memory, axis: usize, step: &str) -> Result<(), RunError> {
    let (data_shape, index_shape) = (memory.read_shape(0), memory.read_shape(1));
    check_all(index_shape, |at| memory.index(1, at, data_shape[axis], step).map(drop))?;
    check_all(index_shape, |index| {
        let mut from = [0usize; MAX_RANK];
        from[..index.len()].copy_from_slice(index);
        from[axis] = memory.index(1, index, data_shape[axis], step)?;
        let bits = memory.read(0, &from[..index.len()]);
        memory.write(0, index, bits);
        Ok(())
    })
}

/// The coordinates that `indices[at, ..]` holds, put behind `prefix` axes of `into`.
pub(super) fn coordinates(
    memory: &Memory,
    operand: usize,
    at: &[usize],
    shape: &[usize],
    into: &mut [usize],
    step: &str,
) -> Result<(), RunError> {
    let mut place = [0usize; MAX_RANK];
    place[..at.len()].copy_from_slice(at);
    for (n, coordinate) in into.iter_mut().enumerate() {
        place[at.len()] = n;
        *coordinate = memory.index(operand, &place[..=at.len()], shape[n], step)?;
    }
    Ok(())
}

/// `out[at, rest] = data[at[..batch_dims], indices[at, ..], rest]`.
pub(super) fn gather_nd(memory: &mut Memory, batch_dims: usize, step: &str) -> Result<(), RunError> {
    let (data_shape, index_shape) = (memory.read_shape(0), memory.read_shape(1));
    let Some((&depth, lookups)) = index_shape.split_last() else { return Ok(()) };
    let rest = batch_dims + depth;
    let mut from = [0usize; MAX_RANK];
    check_all(lookups, |at| coordinates(memory, 1, at, &data_shape[batch_dims..], &mut from[batch_dims..rest], step))?;
    check_all(memory.write_shape(0), |index| {
        let (at, after) = index.split_at(lookups.len());
        from[..batch_dims].copy_from_slice(&at[..batch_dims]);
        coordinates(memory, 1, at, &data_shape[batch_dims..], &mut from[batch_dims..rest], step)?;
        from[rest..data_shape.len()].copy_from_slice(after);
        let bits = memory.read(0, &from[..data_shape.len()]);
        memory.write(0, index, bits);
        Ok(())
    })
}
