//! Loads and stores between the memory of operands and results, in any dtype and layout, and registers.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::apply::{AnyArg, Arg, Target};
use crate::scalar;
use crate::types::DType;

/// The bits of an element, as bits of its class.
pub(super) fn class_bits(dtype: DType, bits: u64) -> u64 {
    match dtype {
        DType::F32 | DType::F64 | DType::I64 => bits,
        DType::F16 | DType::BF16 => u64::from((scalar::decode_float(dtype, bits) as f32).to_bits()),
        _ => u64::from(scalar::decode_int(dtype, bits) as u32),
    }
}

/// Loads the elements of `runs` (offset from `origin` and length), which are `stride` apart within a run.
pub(super) fn load(
    dtype: DType,
    bytes: &[u8],
    origin: i64,
    stride: i64,
    runs: impl Iterator<Item = (i64, usize)>,
    target: Target,
) {
    match (dtype, target) {
        (DType::F32, Target::F32(out)) => gather(bytes, origin, stride, runs, out, copy, |x: f32| x),
        (DType::F16, Target::F32(out)) => {
            let whole = |from: &[f16], to: &mut [f32]| from.convert_to_f32_slice(to);
            gather(bytes, origin, stride, runs, out, whole, f16::to_f32);
        }
        (DType::BF16, Target::F32(out)) => {
            let whole = |from: &[bf16], to: &mut [f32]| from.convert_to_f32_slice(to);
            gather(bytes, origin, stride, runs, out, whole, bf16::to_f32);
        }
        (DType::I8, Target::I32(out)) => each(bytes, origin, stride, runs, out, |x: i8| i32::from(x)),
        (DType::U8, Target::I32(out)) => each(bytes, origin, stride, runs, out, |x: u8| i32::from(x)),
        // Any nonzero byte is true, so that a register holds nothing but 0 and 1.
        (DType::Bool, Target::I32(out)) => each(bytes, origin, stride, runs, out, |x: u8| i32::from(x != 0)),
        (DType::I16, Target::I32(out)) => each(bytes, origin, stride, runs, out, |x: i16| i32::from(x)),
        (DType::I32, Target::I32(out)) => gather(bytes, origin, stride, runs, out, copy, |x: i32| x),
        (DType::F64, Target::F64(out)) => gather(bytes, origin, stride, runs, out, copy, |x: f64| x),
        (DType::I64, Target::I64(out)) => gather(bytes, origin, stride, runs, out, copy, |x: i64| x),
        _ => {}
    }
}

/// Stores the elements of a register to `runs`.
pub(super) fn store(
    dtype: DType,
    from: AnyArg,
    bytes: &mut [u8],
    origin: i64,
    stride: i64,
    runs: impl Iterator<Item = (i64, usize)>,
) {
    match (dtype, from) {
        (DType::F32, AnyArg::F32(a)) => scatter(a, bytes, origin, stride, runs, copy, |x: f32| x),
        (DType::F16, AnyArg::F32(a)) => {
            let whole = |from: &[f32], to: &mut [f16]| to.convert_from_f32_slice(from);
            scatter(a, bytes, origin, stride, runs, whole, f16::from_f32);
        }
        (DType::BF16, AnyArg::F32(a)) => {
            let whole = |from: &[f32], to: &mut [bf16]| to.convert_from_f32_slice(from);
            scatter(a, bytes, origin, stride, runs, whole, bf16::from_f32);
        }
        (DType::I8, AnyArg::I32(a)) => put(a, bytes, origin, stride, runs, |x: i32| x as i8),
        (DType::U8 | DType::Bool, AnyArg::I32(a)) => put(a, bytes, origin, stride, runs, |x: i32| x as u8),
        (DType::I16, AnyArg::I32(a)) => put(a, bytes, origin, stride, runs, |x: i32| x as i16),
        (DType::I32, AnyArg::I32(a)) => scatter(a, bytes, origin, stride, runs, copy, |x: i32| x),
        (DType::F64, AnyArg::F64(a)) => scatter(a, bytes, origin, stride, runs, copy, |x: f64| x),
        (DType::I64, AnyArg::I64(a)) => scatter(a, bytes, origin, stride, runs, copy, |x: i64| x),
        _ => {}
    }
}

fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    to.copy_from_slice(from);
}

fn each<S: bytemuck::Pod, D: Copy>(
    bytes: &[u8],
    origin: i64,
    stride: i64,
    runs: impl Iterator<Item = (i64, usize)>,
    out: &mut [D],
    f: impl Fn(S) -> D + Copy,
) {
    let whole = |from: &[S], to: &mut [D]| {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = f(from);
        }
    };
    gather(bytes, origin, stride, runs, out, whole, f);
}

fn gather<S: bytemuck::Pod, D: Copy>(
    bytes: &[u8],
    origin: i64,
    stride: i64,
    runs: impl Iterator<Item = (i64, usize)>,
    mut out: &mut [D],
    whole: impl Fn(&[S], &mut [D]),
    one: impl Fn(S) -> D,
) {
    let source: &[S] = bytemuck::cast_slice(bytes);
    for (offset, n) in runs {
        let first = origin + offset;
        let (now, later) = out.split_at_mut(n);
        out = later;
        match stride {
            1 => whole(&source[first as usize..][..n], now),
            0 => now.fill(one(source[first as usize])),
            _ => {
                let mut at = first;
                for to in now {
                    *to = one(source[at as usize]);
                    at += stride;
                }
            }
        }
    }
}

fn put<S: Copy, D: bytemuck::Pod>(
    from: Arg<S>,
    bytes: &mut [u8],
    origin: i64,
    stride: i64,
    runs: impl Iterator<Item = (i64, usize)>,
    f: impl Fn(S) -> D + Copy,
) {
    let whole = |from: &[S], to: &mut [D]| {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = f(from);
        }
    };
    scatter(from, bytes, origin, stride, runs, whole, f);
}

fn scatter<S: Copy, D: bytemuck::Pod>(
    from: Arg<S>,
    bytes: &mut [u8],
    origin: i64,
    stride: i64,
    runs: impl Iterator<Item = (i64, usize)>,
    whole: impl Fn(&[S], &mut [D]),
    one: impl Fn(S) -> D,
) {
    let target: &mut [D] = bytemuck::cast_slice_mut(bytes);
    let mut done = 0;
    for (offset, n) in runs {
        let first = origin + offset;
        match (from, stride) {
            (Arg::Slice(values), 1) => whole(&values[done..][..n], &mut target[first as usize..][..n]),
            (Arg::Splat(value), 1) => target[first as usize..][..n].fill(one(value)),
            _ => {
                let mut at = first;
                for i in done..done + n {
                    target[at as usize] = one(match from {
                        Arg::Slice(values) => values[i],
                        Arg::Splat(value) => value,
                    });
                    at += stride;
                }
            }
        }
        done += n;
    }
}
