//! Loops over tiles for integers, `bool` and `f64`: the scalar meaning applied element by element, with loops of their
//! own for what is frequent so that the compiler can vectorise them.

use super::apply::Arg;
use crate::point::PointFn;
use crate::scalar;
use crate::types::DType;

#[inline(always)]
pub(super) fn map1<A: Copy, R: Copy>(a: Arg<A>, out: &mut [R], f: impl Fn(A) -> R) {
    match a {
        Arg::Slice(a) => {
            for (out, &a) in out.iter_mut().zip(a) {
                *out = f(a);
            }
        }
        Arg::Splat(a) => out.fill(f(a)),
    }
}

#[inline(always)]
pub(super) fn map2<A: Copy, R: Copy>(a: Arg<A>, b: Arg<A>, out: &mut [R], f: impl Fn(A, A) -> R) {
    match (a, b) {
        (Arg::Slice(a), Arg::Slice(b)) => {
            for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *out = f(a, b);
            }
        }
        (Arg::Slice(a), Arg::Splat(b)) => {
            for (out, &a) in out.iter_mut().zip(a) {
                *out = f(a, b);
            }
        }
        (Arg::Splat(a), Arg::Slice(b)) => {
            for (out, &b) in out.iter_mut().zip(b) {
                *out = f(a, b);
            }
        }
        (Arg::Splat(a), Arg::Splat(b)) => out.fill(f(a, b)),
    }
}

/// The element at `i`.
#[inline(always)]
fn at<T: Copy>(arg: Arg<T>, i: usize) -> T {
    match arg {
        Arg::Slice(values) => values[i],
        Arg::Splat(value) => value,
    }
}

pub(super) fn select<T: Copy>(condition: Arg<i32>, a: Arg<T>, b: Arg<T>, out: &mut [T]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = if at(condition, i) != 0 { at(a, i) } else { at(b, i) };
    }
}

pub(super) fn compare<T: Copy + PartialOrd>(function: PointFn, a: Arg<T>, b: Arg<T>, out: &mut [i32]) {
    match function {
        PointFn::Eq => map2(a, b, out, |a, b| i32::from(a == b)),
        PointFn::Ne => map2(a, b, out, |a, b| i32::from(a != b)),
        PointFn::Lt => map2(a, b, out, |a, b| i32::from(a < b)),
        PointFn::Le => map2(a, b, out, |a, b| i32::from(a <= b)),
        PointFn::Gt => map2(a, b, out, |a, b| i32::from(a > b)),
        PointFn::Ge => map2(a, b, out, |a, b| i32::from(a >= b)),
        _ => out.fill(0),
    }
}

/// An integer that registers hold.
pub(super) trait Held: Copy {
    fn widen(self) -> i64;
    fn narrow(value: i64) -> Self;
}

impl Held for i32 {
    #[inline(always)]
    fn widen(self) -> i64 {
        i64::from(self)
    }

    #[inline(always)]
    fn narrow(value: i64) -> i32 {
        value as i32
    }
}

impl Held for i64 {
    #[inline(always)]
    fn widen(self) -> i64 {
        self
    }

    #[inline(always)]
    fn narrow(value: i64) -> i64 {
        value
    }
}

pub(super) fn int_unary<T: Held>(function: PointFn, dtype: DType, a: Arg<T>, out: &mut [T]) {
    map1(a, out, |x| T::narrow(scalar::int_unary(function, dtype, x.widen())));
}

pub(super) fn narrow_binary(function: PointFn, dtype: DType, a: Arg<i32>, b: Arg<i32>, out: &mut [i32]) {
    match function {
        PointFn::Add => map2(a, b, out, i32::wrapping_add),
        PointFn::Sub => map2(a, b, out, i32::wrapping_sub),
        PointFn::Mul => map2(a, b, out, i32::wrapping_mul),
        PointFn::Max => return map2(a, b, out, i32::max),
        PointFn::Min => return map2(a, b, out, i32::min),
        PointFn::And => return map2(a, b, out, |a, b| a & b),
        PointFn::Or => return map2(a, b, out, |a, b| a | b),
        PointFn::Xor => return map2(a, b, out, |a, b| a ^ b),
        _ => return map2(a, b, out, |a, b| i32::narrow(scalar::int_binary(function, dtype, a.widen(), b.widen()))),
    }
    match dtype {
        DType::I8 => out.iter_mut().for_each(|x| *x = i32::from(*x as i8)),
        DType::U8 => out.iter_mut().for_each(|x| *x = i32::from(*x as u8)),
        DType::I16 => out.iter_mut().for_each(|x| *x = i32::from(*x as i16)),
        _ => {}
    }
}

pub(super) fn long_binary(function: PointFn, a: Arg<i64>, b: Arg<i64>, out: &mut [i64]) {
    match function {
        PointFn::Add => map2(a, b, out, i64::wrapping_add),
        PointFn::Sub => map2(a, b, out, i64::wrapping_sub),
        PointFn::Mul => map2(a, b, out, i64::wrapping_mul),
        PointFn::Max => map2(a, b, out, i64::max),
        PointFn::Min => map2(a, b, out, i64::min),
        PointFn::And => map2(a, b, out, |a, b| a & b),
        PointFn::Or => map2(a, b, out, |a, b| a | b),
        PointFn::Xor => map2(a, b, out, |a, b| a ^ b),
        _ => map2(a, b, out, |a, b| scalar::int_binary(function, DType::I64, a, b)),
    }
}

pub(super) fn double_binary(function: PointFn, a: Arg<f64>, b: Arg<f64>, out: &mut [f64]) {
    match function {
        PointFn::Add => map2(a, b, out, |a, b| a + b),
        PointFn::Sub => map2(a, b, out, |a, b| a - b),
        PointFn::Mul => map2(a, b, out, |a, b| a * b),
        PointFn::Div => map2(a, b, out, |a, b| a / b),
        _ => map2(a, b, out, |a, b| scalar::float_binary(function, a, b)),
    }
}
