//! Scatters into a base. Indices are all checked before the first element is written.

use super::Memory;
use super::gather::{check_all, coordinates};
use crate::kernel::ScatterFn;
use crate::kernel::call::RunError;
use crate::point::PointFn;
use crate::scalar;
use crate::types::{DType, MAX_RANK};

/// Combines bits of the base with bits of the update, in the dtype's own precision.
fn combine(function: ScatterFn, dtype: DType, old: u64, update: u64) -> u64 {
    let point = match function {
        ScatterFn::Assign => return update,
        ScatterFn::Add => PointFn::Add,
        ScatterFn::Mul => PointFn::Mul,
        ScatterFn::Max => PointFn::Max,
        ScatterFn::Min => PointFn::Min,
    };
    scalar::eval(point, &[dtype, dtype], &[old, update])
}

fn update(memory: &mut Memory, function: ScatterFn, to: &[usize], bits: u64) {
    let combined = combine(function, memory.write_dtype(0), memory.old(0, to), bits);
    memory.write(0, to, combined);
}

/// `base[i with i[axis] = indices[i]] ⊕= updates[i]`, in row-major order of `i`.
pub(super) fn scatter_elements(
    memory: &mut Memory,
    axis: usize,
    function: ScatterFn,
    step: &str,
) -> Result<(), RunError> {
    let (base_shape, index_shape) = (memory.write_shape(0), memory.read_shape(0));
    check_all(index_shape, |at| memory.index(0, at, base_shape[axis], step).map(drop))?;
    check_all(index_shape, |index| {
        let mut to = [0usize; MAX_RANK];
        to[..index.len()].copy_from_slice(index);
        to[axis] = memory.index(0, index, base_shape[axis], step)?;
        let bits = memory.read(1, index);
        update(memory, function, &to[..index.len()], bits);
        Ok(())
    })
}

/// `base[indices[at, ..], rest] ⊕= updates[at, rest]`, in row-major order of `at, rest`.
pub(super) fn scatter_nd(memory: &mut Memory, function: ScatterFn, step: &str) -> Result<(), RunError> {
    let (base_shape, index_shape) = (memory.write_shape(0), memory.read_shape(0));
    let Some((&depth, lookups)) = index_shape.split_last() else { return Ok(()) };
    let mut to = [0usize; MAX_RANK];
    check_all(lookups, |at| coordinates(memory, 0, at, base_shape, &mut to[..depth], step))?;
    check_all(memory.read_shape(1), |index| {
        let (at, after) = index.split_at(lookups.len());
        coordinates(memory, 0, at, base_shape, &mut to[..depth], step)?;
        to[depth..base_shape.len()].copy_from_slice(after);
        let bits = memory.read(1, index);
        update(memory, function, &to[..base_shape.len()], bits);
        Ok(())
    })
}
