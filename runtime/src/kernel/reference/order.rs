//! Kernels along one axis that depend on the order of elements: positions of extremes, the k best, running totals.

use super::{Memory, Total};
use crate::kernel::CumulativeFn;
use crate::kernel::domain::for_each_index;
use crate::kernel::element::order_key;
use crate::types::MAX_RANK;

/// Calls `line` for every line along `axis` of `shape`, with the index of its first element.
fn for_each_line(shape: &[usize], axis: usize, mut line: impl FnMut(&mut [usize])) {
    let mut others = [0usize; MAX_RANK];
    others[..shape.len()].copy_from_slice(shape);
    others[axis] = 1;
    for_each_index(&others[..shape.len()], |start| {
        let mut index = [0usize; MAX_RANK];
        index[..start.len()].copy_from_slice(start);
        line(&mut index[..start.len()]);
    });
}

/// NaN is the most extreme element, in both directions.
pub(super) fn arg_reduce(memory: &mut Memory, largest: bool, axis: usize, last: bool) {
    let (shape, dtype) = (memory.read_shape(0), memory.read_dtype(0));
    for_each_line(shape, axis, |index| {
        let mut best: Option<(u64, usize)> = None;
        for i in 0..shape[axis] {
            index[axis] = i;
            let key = order_key(dtype, memory.read(0, index));
            let nan = dtype.is_float() && memory.number(0, index).is_nan();
            let rank = if largest || nan { key } else { !key };
            let rank = if nan { u64::MAX } else { rank };
            if best.is_none_or(|(other, _)| rank > other || (last && rank == other)) {
                best = Some((rank, i));
            }
        }
        index[axis] = 0;
        memory.write(0, index, best.map_or(0, |(_, i)| i as u64));
    });
}

/// Sorted whether that is asked for or not, which is one of the orders that an unsorted result may have. NaN counts as
/// the largest element.
pub(super) fn top_k(memory: &mut Memory, axis: usize, largest: bool) {
    let (shape, dtype) = (memory.read_shape(0), memory.read_dtype(0));
    let count = memory.write_shape(0)[axis];
    for_each_line(shape, axis, |index| {
        // The rank of the result before: the next one is the least pair above it.
        let mut previous: Option<(u64, usize)> = None;
        for place in 0..count {
            let mut next: Option<(u64, usize)> = None;
            for i in 0..shape[axis] {
                index[axis] = i;
                let key = order_key(dtype, memory.read(0, index));
                let rank = (if largest { !key } else { key }, i);
                if previous.is_none_or(|previous| rank > previous) && next.is_none_or(|next| rank < next) {
                    next = Some(rank);
                }
            }
            let Some((_, i)) = next else { return };
            previous = next;
            index[axis] = i;
            let bits = memory.read(0, index);
            index[axis] = place;
            memory.write(0, index, bits);
            memory.write(1, index, i as u64);
        }
    });
}

pub(super) fn cumulative(memory: &mut Memory, function: CumulativeFn, axis: usize, exclusive: bool, reverse: bool) {
    let (shape, dtype) = (memory.read_shape(0), memory.read_dtype(0));
    for_each_line(shape, axis, |index| {
        let mut total = Total::from_integer(dtype, i64::from(function == CumulativeFn::Prod));
        for step in 0..shape[axis] {
            index[axis] = if reverse { shape[axis] - 1 - step } else { step };
            let element = Total::from_bits(dtype, memory.read(0, index));
            let before = total;
            total = match function {
                CumulativeFn::Sum => total.add(element),
                CumulativeFn::Prod => total.mul(element),
            };
            let result = if exclusive { before } else { total };
            memory.write(0, index, result.to_bits(dtype));
        }
    });
}
