//! Pooling.

use super::{Memory, Total};
use crate::kernel::domain::for_each_index;
use crate::kernel::element::order_key;
use crate::kernel::{PoolFn, Window};
use crate::scalar;
use crate::types::{DType, MAX_RANK};

/// A window that holds no element of the input gives the lowest value at position 0, or an average of 0. Of equal
/// largest elements the first in row-major order gives its position; NaN is above all.
pub(super) fn pool(memory: &mut Memory, function: PoolFn, window: &Window, column_major: bool) {
    let (x_shape, dtype) = (memory.read_shape(0), memory.read_dtype(0));
    let rank = x_shape.len();
    let spatial = &x_shape[2..];
    for_each_index(memory.write_shape(0), |index| {
        let mut best: Option<(u64, [usize; MAX_RANK])> = None;
        let mut total = Total::from_integer(dtype, 0);
        let (mut inside, mut padded) = (0usize, 0usize);
        for_each_index(&window.kernel, |tap| {
            let mut x = [0usize; MAX_RANK];
            (x[0], x[1]) = (index[0], index[1]);
            let mut outside = false;
            for axis in 0..tap.len() {
                let place = index[axis + 2] * window.strides[axis] + tap[axis] * window.dilations[axis];
                // Past the padding is past everything: the last window of a rounded-up extent reaches there.
                if place >= window.pads_begin[axis] + spatial[axis] + window.pads_end[axis] {
                    return;
                }
                match place.checked_sub(window.pads_begin[axis]).filter(|&i| i < spatial[axis]) {
                    Some(i) => x[axis + 2] = i,
                    None => outside = true,
                }
            }
            padded += 1;
            if outside {
                return;
            }
            inside += 1;
            let element = memory.read(0, &x[..rank]);
            total = total.add(Total::from_bits(dtype, element));
            if best.is_none_or(|(bits, _)| order_key(dtype, element) > order_key(dtype, bits)) {
                best = Some((element, x));
            }
        });
        match function {
            PoolFn::Max => {
                memory.write(0, index, best.map_or_else(|| lowest(dtype), |(bits, _)| bits));
                if memory.writes.len() > 1 {
                    let place = best.map_or(0, |(_, x)| flat(&x[..rank], x_shape, column_major));
                    memory.write(1, index, place as u64);
                }
            }
            PoolFn::Average { count_padding } => {
                let count = if count_padding { padded } else { inside };
                let mean = if count == 0 { Total::from_integer(dtype, 0) } else { total.divide(count) };
                memory.write(0, index, mean.to_bits(dtype));
            }
        }
    });
}

/// Bits of the lowest element of a dtype.
pub(super) fn lowest(dtype: DType) -> u64 {
    match dtype {
        DType::I8 => scalar::encode_int(dtype, i64::from(i8::MIN)),
        DType::I16 => scalar::encode_int(dtype, i64::from(i16::MIN)),
        DType::I32 => scalar::encode_int(dtype, i64::from(i32::MIN)),
        DType::I64 => i64::MIN as u64,
        DType::U8 | DType::Bool => 0,
        _ => scalar::encode_float(dtype, f64::NEG_INFINITY),
    }
}

/// Position of `index` in the flattened tensor; `column_major` turns the order of the spatial axes round.
fn flat(index: &[usize], shape: &[usize], column_major: bool) -> usize {
    let plane = index[0] * shape[1] + index[1];
    let spatial = 2..shape.len();
    if column_major {
        let place = spatial.clone().rev().fold(0, |place, axis| place * shape[axis] + index[axis]);
        plane * shape[2..].iter().product::<usize>() + place
    } else {
        spatial.fold(plane, |place, axis| place * shape[axis] + index[axis])
    }
}
