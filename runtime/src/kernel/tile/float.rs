//! Loops over tiles of `f32`, in the vectors of the instruction set.

use super::TILE;
use super::apply::Arg;
use super::exact::map2;
use crate::point::PointFn;
use crate::scalar;
use crate::simd::{Algorithm, IntLanes, Isa, Lanes, MAX_WIDTH, math};

/// Computes `function` of every element of `a`.
pub(super) fn unary(isa: Isa, function: PointFn, a: Arg<f32>, out: &mut [f32]) {
    match a {
        Arg::Slice(a) => isa.run(Unary { function, a, out }),
        Arg::Splat(a) => {
            let mut value = [0.0; MAX_WIDTH];
            isa.run(Unary { function, a: &[a; MAX_WIDTH], out: &mut value });
            out.fill(value[0]);
        }
    }
}

struct Unary<'a> {
    function: PointFn,
    a: &'a [f32],
    out: &'a mut [f32],
}

/// A function of one vector.
trait Of1 {
    fn of<L: Lanes>(x: L) -> L;
}

/// A function of two vectors.
trait Of2 {
    fn of<L: Lanes>(a: L, b: L) -> L;
}

macro_rules! functions {
    ($trait:ident: $($name:ident = |$($arg:ident),*| $value:expr;)*) => {
        $(struct $name;
        impl $trait for $name {
            #[inline(always)]
            fn of<L: Lanes>($($arg: L),*) -> L {
                $value
            }
        })*
    };
}

functions! { Of1:
    Neg = |x| -x;
    Abs = |x| x.abs();
    Sign = |x| math::sign(x);
    Exp = |x| math::exp(x);
    Log = |x| math::log(x);
    Log1p = |x| math::log1p(x);
    Sqrt = |x| x.sqrt();
    Rsqrt = |x| L::splat(1.0) / x.sqrt();
    Reciprocal = |x| L::splat(1.0) / x;
    Sin = |x| math::sin(x);
    Cos = |x| math::cos(x);
    Tanh = |x| math::tanh(x);
    Erf = |x| math::erf(x);
    Sigmoid = |x| math::sigmoid(x);
    Silu = |x| math::silu(x);
    Gelu = |x| math::gelu(x);
    GeluTanh = |x| math::gelu_tanh(x);
    Relu = |x| math::relu(x);
    HardSwish = |x| math::hard_swish(x);
    Softplus = |x| math::softplus(x);
    Mish = |x| math::mish(x);
    Floor = |x| x.floor();
    Ceil = |x| x.ceil();
    Round = |x| x.round();
    Trunc = |x| x.trunc();
}

functions! { Of2:
    Add = |a, b| a + b;
    Sub = |a, b| a - b;
    Mul = |a, b| a * b;
    Div = |a, b| a / b;
    Max = |a, b| a.maximum(b);
    Min = |a, b| a.minimum(b);
}

/// Instructions per element dominate here, so the tail shares the loop.
#[inline(always)]
fn each<L: Lanes, F: Of1>(a: &[f32], out: &mut [f32]) {
    for (a, out) in a.chunks(L::WIDTH).zip(out.chunks_mut(L::WIDTH)) {
        F::of(L::load_partial(a, 0.0)).store_partial(out);
    }
}

/// Loads and stores dominate here, so the loop over whole vectors is free of conditions.
#[inline(always)]
fn each_light<L: Lanes, F: Of1>(a: &[f32], out: &mut [f32]) {
    let (mut a, mut out) = (a.chunks_exact(L::WIDTH), out.chunks_exact_mut(L::WIDTH));
    for (a, out) in a.by_ref().zip(out.by_ref()) {
        F::of(L::load(a)).store(out);
    }
    F::of(L::load_partial(a.remainder(), 0.0)).store_partial(out.into_remainder());
}

impl Algorithm for Unary<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Unary { function, a, out } = self;
        match function {
            PointFn::Neg => each_light::<L, Neg>(a, out),
            PointFn::Abs => each_light::<L, Abs>(a, out),
            PointFn::Sign => each_light::<L, Sign>(a, out),
            PointFn::Exp => each::<L, Exp>(a, out),
            PointFn::Log => each::<L, Log>(a, out),
            PointFn::Log1p => each::<L, Log1p>(a, out),
            PointFn::Sqrt => each_light::<L, Sqrt>(a, out),
            PointFn::Rsqrt => each_light::<L, Rsqrt>(a, out),
            PointFn::Reciprocal => each_light::<L, Reciprocal>(a, out),
            PointFn::Sin => each::<L, Sin>(a, out),
            PointFn::Cos => each::<L, Cos>(a, out),
            PointFn::Tanh => each::<L, Tanh>(a, out),
            PointFn::Erf => each::<L, Erf>(a, out),
            PointFn::Sigmoid => each::<L, Sigmoid>(a, out),
            PointFn::Silu => each::<L, Silu>(a, out),
            PointFn::Gelu => each::<L, Gelu>(a, out),
            PointFn::GeluTanh => each::<L, GeluTanh>(a, out),
            PointFn::Relu => each_light::<L, Relu>(a, out),
            PointFn::HardSwish => each_light::<L, HardSwish>(a, out),
            PointFn::Softplus => each::<L, Softplus>(a, out),
            PointFn::Mish => each::<L, Mish>(a, out),
            PointFn::Floor => each_light::<L, Floor>(a, out),
            PointFn::Ceil => each_light::<L, Ceil>(a, out),
            PointFn::Round => each_light::<L, Round>(a, out),
            PointFn::Trunc => each_light::<L, Trunc>(a, out),
            _ => {
                for (&a, out) in a.iter().zip(out) {
                    *out = scalar::float_unary(function, f64::from(a)) as f32;
                }
            }
        }
    }
}

/// Computes `function` of the elements of `a` and `b`.
pub(super) fn binary(isa: Isa, function: PointFn, a: Arg<f32>, b: Arg<f32>, out: &mut [f32]) {
    match (function, a, b) {
        (PointFn::Pow, a, b) => pow(isa, a, b, out),
        (PointFn::Rem | PointFn::Fmod, a, b) => {
            map2(a, b, out, |a, b| scalar::float_binary(function, f64::from(a), f64::from(b)) as f32);
        }
        (_, Arg::Splat(a), Arg::Splat(_)) => {
            let a = [a; TILE];
            isa.run(Binary { function, a: Arg::Slice(&a[..out.len()]), b, out });
        }
        _ => isa.run(Binary { function, a, b, out }),
    }
}

struct Binary<'a> {
    function: PointFn,
    a: Arg<'a, f32>,
    b: Arg<'a, f32>,
    out: &'a mut [f32],
}

#[inline(always)]
fn pair<L: Lanes, F: Of2>(a: Arg<f32>, b: Arg<f32>, out: &mut [f32]) {
    match (a, b) {
        (Arg::Slice(a), Arg::Slice(b)) => {
            let (mut a, mut b) = (a.chunks_exact(L::WIDTH), b.chunks_exact(L::WIDTH));
            let mut out = out.chunks_exact_mut(L::WIDTH);
            for ((out, a), b) in out.by_ref().zip(a.by_ref()).zip(b.by_ref()) {
                F::of(L::load(a), L::load(b)).store(out);
            }
            let (a, b) = (L::load_partial(a.remainder(), 0.0), L::load_partial(b.remainder(), 0.0));
            F::of(a, b).store_partial(out.into_remainder());
        }
        (Arg::Slice(a), Arg::Splat(b)) => {
            let b = L::splat(b);
            let (mut a, mut out) = (a.chunks_exact(L::WIDTH), out.chunks_exact_mut(L::WIDTH));
            for (out, a) in out.by_ref().zip(a.by_ref()) {
                F::of(L::load(a), b).store(out);
            }
            F::of(L::load_partial(a.remainder(), 0.0), b).store_partial(out.into_remainder());
        }
        (Arg::Splat(a), Arg::Slice(b)) => {
            let a = L::splat(a);
            let (mut b, mut out) = (b.chunks_exact(L::WIDTH), out.chunks_exact_mut(L::WIDTH));
            for (out, b) in out.by_ref().zip(b.by_ref()) {
                F::of(a, L::load(b)).store(out);
            }
            F::of(a, L::load_partial(b.remainder(), 0.0)).store_partial(out.into_remainder());
        }
        (Arg::Splat(_), Arg::Splat(_)) => {}
    }
}

impl Algorithm for Binary<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Binary { function, a, b, out } = self;
        match function {
            PointFn::Add => pair::<L, Add>(a, b, out),
            PointFn::Sub => pair::<L, Sub>(a, b, out),
            PointFn::Mul => pair::<L, Mul>(a, b, out),
            PointFn::Div => pair::<L, Div>(a, b, out),
            PointFn::Max => pair::<L, Max>(a, b, out),
            PointFn::Min => pair::<L, Min>(a, b, out),
            _ => {}
        }
    }
}

/// Powers: exponents that are frequent as constants have loops of their own, with the bits of the general one.
fn pow(isa: Isa, a: Arg<f32>, b: Arg<f32>, out: &mut [f32]) {
    match b {
        Arg::Splat(1.0) => super::exact::map1(a, out, |a| a),
        Arg::Splat(2.0) => binary(isa, PointFn::Mul, a, a, out),
        Arg::Splat(3.0) => super::exact::map1(a, out, |a| a * a * a),
        Arg::Splat(0.5) => super::exact::map1(a, out, square_root),
        _ => map2(a, b, out, |a, b| {
            if b == 3.0 {
                a * a * a
            } else if b == 0.5 {
                square_root(a)
            } else {
                scalar::float_binary(PointFn::Pow, f64::from(a), f64::from(b)) as f32
            }
        }),
    }
}

/// The power of one half, which differs from the square root at minus infinity and minus zero.
fn square_root(a: f32) -> f32 {
    if a == f32::NEG_INFINITY { f32::INFINITY } else { a.sqrt() + 0.0 }
}

/// Computes whether `function` holds of the elements, as 0 and 1.
pub(super) fn compare(isa: Isa, function: PointFn, a: Arg<f32>, b: Arg<f32>, out: &mut [i32]) {
    isa.run(Compare { function, a, b, out });
}

struct Compare<'a> {
    function: PointFn,
    a: Arg<'a, f32>,
    b: Arg<'a, f32>,
    out: &'a mut [i32],
}

/// The vector from element `i` on, of which those beyond the slice are zero.
#[inline(always)]
fn lanes_at<L: Lanes>(arg: Arg<f32>, i: usize) -> L {
    match arg {
        Arg::Slice(values) => L::load_partial(&values[i..], 0.0),
        Arg::Splat(value) => L::splat(value),
    }
}

impl Algorithm for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Compare { function, a, b, out } = self;
        for (chunk, out) in out.chunks_mut(L::WIDTH).enumerate() {
            let (a, b): (L, L) = (lanes_at(a, chunk * L::WIDTH), lanes_at(b, chunk * L::WIDTH));
            let holds = match function {
                PointFn::Eq => a.eq(b),
                PointFn::Ne => !a.eq(b),
                PointFn::Lt => a.lt(b),
                PointFn::Le => a.le(b),
                PointFn::Gt => a.gt(b),
                PointFn::Ge => a.ge(b),
                PointFn::IsNan => a.is_nan(),
                _ => a.abs().eq(L::splat(f32::INFINITY)),
            };
            let truth = L::Int::select(holds, L::Int::splat(1), L::Int::splat(0));
            if out.len() == L::WIDTH {
                truth.store(out);
            } else {
                let mut lanes = [0; MAX_WIDTH];
                truth.store(&mut lanes);
                out.copy_from_slice(&lanes[..out.len()]);
            }
        }
    }
}

/// The elements of `a` where the condition is not 0, else those of `b`.
pub(super) fn select(isa: Isa, condition: Arg<i32>, a: Arg<f32>, b: Arg<f32>, out: &mut [f32]) {
    match condition {
        Arg::Slice(condition) => isa.run(Select { condition, a, b, out }),
        Arg::Splat(condition) => super::exact::map1(if condition != 0 { a } else { b }, out, |x| x),
    }
}

struct Select<'a> {
    condition: &'a [i32],
    a: Arg<'a, f32>,
    b: Arg<'a, f32>,
    out: &'a mut [f32],
}

impl Algorithm for Select<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Select { condition, a, b, out } = self;
        let conditions = condition.chunks(L::WIDTH);
        for (chunk, (condition, out)) in conditions.zip(out.chunks_mut(L::WIDTH)).enumerate() {
            let (a, b): (L, L) = (lanes_at(a, chunk * L::WIDTH), lanes_at(b, chunk * L::WIDTH));
            let condition = if condition.len() == L::WIDTH {
                L::Int::load(condition)
            } else {
                let mut lanes = [0; MAX_WIDTH];
                lanes[..condition.len()].copy_from_slice(condition);
                L::Int::load(&lanes)
            };
            L::select(condition.eq(L::Int::splat(0)), b, a).store_partial(out);
        }
    }
}
