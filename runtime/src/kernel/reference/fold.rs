//! Reductions and row functions.

use super::program::Body;
use super::{Memory, Total};
use crate::kernel::domain::for_each_index;
use crate::kernel::{ReduceFn, RowFn};
use crate::point::Program;
use crate::scalar;
use crate::types::MAX_RANK;

/// The least value of a maximum, the largest of a minimum: what remains when nothing is combined.
fn neutral(function: ReduceFn, dtype: crate::types::DType) -> Total {
    match function {
        ReduceFn::Sum | ReduceFn::Mean => Total::from_integer(dtype, 0),
        ReduceFn::Prod => Total::from_integer(dtype, 1),
        ReduceFn::Max | ReduceFn::Min if dtype.is_float() => {
            Total::Float(if function == ReduceFn::Max { f64::NEG_INFINITY } else { f64::INFINITY })
        }
        ReduceFn::Max => Total::Int(least(dtype)),
        ReduceFn::Min => Total::Int(match dtype {
            crate::types::DType::U8 => i64::from(u8::MAX),
            crate::types::DType::Bool => 1,
            _ => !least(dtype),
        }),
    }
}

/// The least element of an integer or `bool` dtype.
fn least(dtype: crate::types::DType) -> i64 {
    use crate::types::DType;
    match dtype {
        DType::I8 => i64::from(i8::MIN),
        DType::I16 => i64::from(i16::MIN),
        DType::I32 => i64::from(i32::MIN),
        DType::I64 => i64::MIN,
        _ => 0,
    }
}

pub(super) fn reduce(memory: &mut Memory, function: ReduceFn, axes: &[usize], prologue: &Program, epilogue: &Program) {
    let (mut before, mut after) = (Body::new(prologue), Body::new(epilogue));
    let dtype = before.dtype(0);
    let domain = memory.read_shape(0);
    let mut reduced = [1usize; MAX_RANK];
    for &axis in axes {
        reduced[axis] = domain[axis];
    }
    let reduced = &reduced[..domain.len()];
    let count: usize = reduced.iter().product();
    for_each_index(memory.write_shape(0), |kept| {
        let mut total = neutral(function, dtype);
        for_each_index(reduced, |step| {
            let mut index = [0usize; MAX_RANK];
            for (axis, place) in index[..domain.len()].iter_mut().enumerate() {
                *place = kept[axis] + step[axis];
            }
            let element = Total::from_bits(dtype, before.prologue(memory, &index[..domain.len()]));
            total = match function {
                ReduceFn::Sum | ReduceFn::Mean => total.add(element),
                ReduceFn::Prod => total.mul(element),
                ReduceFn::Max => total.extreme(element, true),
                ReduceFn::Min => total.extreme(element, false),
            };
        });
        if function == ReduceFn::Mean {
            total = total.divide(count);
        }
        after.finish(memory, total.to_bits(dtype), prologue.inputs.len(), kept);
    });
}

/// The statistics of a row are taken before its first element is written, and an element is read for the last time
/// when its own result is computed: a row may be computed in its own bytes.
pub(super) fn row(memory: &mut Memory, function: RowFn, prologue: &Program, epilogue: &Program) {
    let (mut before, mut after) = (Body::new(prologue), Body::new(epilogue));
    let dtype = before.dtype(0);
    let domain = memory.write_shape(0);
    let Some((&length, rows)) = domain.split_last() else { return };
    for_each_index(rows, |row| {
        let mut index = [0usize; MAX_RANK];
        index[..row.len()].copy_from_slice(row);
        let rank = domain.len();
        let mut element = |memory: &Memory, i: usize| {
            index[rank - 1] = i;
            scalar::decode_float(dtype, before.prologue(memory, &index[..rank]))
        };
        let fold = |memory: &Memory, element: &mut dyn FnMut(&Memory, usize) -> f64, f: &dyn Fn(f64) -> f64| {
            (0..length).map(|i| f(element(memory, i))).sum::<f64>()
        };
        let n = length as f64;
        let largest = (0..length).fold(f64::NEG_INFINITY, |largest, i| {
            let x = element(memory, i);
            if x > largest || x.is_nan() { x } else { largest }
        });
        let (shift, scale) = match function {
            RowFn::Softmax => (largest, fold(memory, &mut element, &|x| libm::exp(x - largest))),
            RowFn::LogSoftmax => (largest, libm::log(fold(memory, &mut element, &|x| libm::exp(x - largest)))),
            RowFn::LayerNorm { eps } => {
                let mean = fold(memory, &mut element, &|x| x) / n;
                let variance = fold(memory, &mut element, &|x| (x - mean) * (x - mean)) / n;
                (mean, (variance + f64::from_bits(eps)).sqrt())
            }
            RowFn::RmsNorm { eps } => (0.0, (fold(memory, &mut element, &|x| x * x) / n + f64::from_bits(eps)).sqrt()),
        };
        for i in 0..length {
            let x = element(memory, i);
            let core = match function {
                RowFn::Softmax => libm::exp(x - shift) / scale,
                RowFn::LogSoftmax => x - shift - scale,
                RowFn::LayerNorm { .. } | RowFn::RmsNorm { .. } => (x - shift) / scale,
            };
            let mut at = [0usize; MAX_RANK];
            at[..row.len()].copy_from_slice(row);
            at[rank - 1] = i;
            after.finish(memory, scalar::encode_float(dtype, core), prologue.inputs.len(), &at[..rank]);
        }
    });
}
