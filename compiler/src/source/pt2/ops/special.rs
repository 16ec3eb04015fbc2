//! Special functions, and comparisons with a tolerance, composed from elementary ones.

use super::super::site::{Number, Site, Stop, Words, unsupported};
use super::unary::floating;
use super::{Row, row, wide};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ReduceFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    wide("special_entr.default", "self", |s| {
        let x = floating(s)?;
        let log = s.unary(PointFn::Log, x)?;
        let product = s.mul(x, log)?;
        let y = s.unary(PointFn::Neg, product)?;
        let (none, below) = (s.with_number(PointFn::Eq, x, 0.0)?, s.with_number(PointFn::Lt, x, 0.0)?);
        let (zero, far) = (s.number(s.dtype(x), 0.0), s.number(s.dtype(x), f64::NEG_INFINITY));
        let y = s.select(none, zero, y)?;
        Ok(vec![s.select(below, far, y)?])
    }),
    wide("special_xlog1py.default special_xlog1py.self_scalar special_xlog1py.other_scalar", "self other", |s| {
        let (x, y) = floats(s)?;
        let log = s.unary(PointFn::Log1p, y)?;
        let product = s.mul(x, log)?;
        let (none, unknown) = (s.with_number(PointFn::Eq, x, 0.0)?, s.unary(PointFn::IsNan, y)?);
        let zero = s.number(s.dtype(x), 0.0);
        let product = s.select(none, zero, product)?;
        Ok(vec![s.select(unknown, y, product)?])
    }),
    wide("special_ndtr.default", "self", |s| {
        let x = floating(s)?;
        // The tail is a small complement, for which single precision has no digits left.
        let own = s.dtype(x);
        let x = s.cast(x, DType::F64)?;
        let scaled = s.with_number(PointFn::Mul, x, std::f64::consts::FRAC_1_SQRT_2)?;
        let erf = s.unary(PointFn::Erf, scaled)?;
        let above = s.with_number(PointFn::Add, erf, 1.0)?;
        let y = s.with_number(PointFn::Mul, above, 0.5)?;
        Ok(vec![s.cast(y, own)?])
    }),
    wide("erfinv.default special_erfinv.default", "self", |s| {
        let x = floating(s)?;
        Ok(vec![erfinv(s, x)?])
    }),
    wide("logaddexp2.default", "self other", |s| {
        let (x, y) = floats(s)?;
        let (large, distance) = (s.binary(PointFn::Max, x, y)?, s.sub(x, y)?);
        let distance = s.unary(PointFn::Abs, distance)?;
        let negative = s.with_number(PointFn::Mul, distance, -std::f64::consts::LN_2)?;
        let power = s.unary(PointFn::Exp, negative)?;
        let log = s.unary(PointFn::Log1p, power)?;
        let rest = s.with_number(PointFn::Mul, log, std::f64::consts::LOG2_E)?;
        let sum = s.add(large, rest)?;
        // Equal infinities have no distance.
        let (far, unknown) = (s.unary(PointFn::IsInf, large)?, s.unary(PointFn::IsNan, distance)?);
        let kept = s.binary(PointFn::And, far, unknown)?;
        Ok(vec![s.select(kept, large, sum)?])
    }),
    wide("ldexp.Tensor ldexp.default", "self other", |s| {
        let (x, y) = floats(s)?;
        let two = s.number(s.dtype(y), 2.0);
        let power = s.binary(PointFn::Pow, two, y)?;
        Ok(vec![s.mul(x, power)?])
    }),
    row("heaviside.default", "self values", |s| {
        let (x, values) = (s.tensor("self")?, s.tensor("values")?);
        let (zero, one) = (s.scalar(Number::Int(0), s.dtype(x)), s.scalar(Number::Int(1), s.dtype(x)));
        // What is no number is not above zero and not zero: it counts as below.
        let (above, none) = (s.binary(PointFn::Gt, x, zero)?, s.binary(PointFn::Eq, x, zero)?);
        let y = s.select(above, one, zero)?;
        Ok(vec![s.select(none, values, y)?])
    }),
    row("isclose.default", "self other rtol=1e-05 atol=1e-08 equal_nan=False", |s| {
        let close = close(s)?;
        Ok(vec![close])
    }),
    row("isin.Tensor_Tensor isin.Tensor_Scalar isin.Scalar_Tensor", ISIN, |s| {
        let dtype = s.promoted(&["elements", "test_elements"])?;
        let (x, tests) = (s.operand("elements", dtype)?, s.operand("test_elements", dtype)?);
        let (rank, count) = (s.rank(x), s.ty(tests).len());
        let shape = s.shape(x);
        let invert = s.flag("invert")?;
        if count == 0 {
            return Ok(vec![s.fresh(DType::Bool, &shape, Number::Bool(invert))?]);
        }
        let (column, tests) = (s.unsqueeze(x, &[rank])?, s.reshape(tests, &[count])?);
        let hits = s.binary(PointFn::Eq, column, tests)?;
        let hits = s.cast(hits, DType::U8)?;
        let any = s.reduce(ReduceFn::Max, hits, &[rank], false)?;
        let any = s.cast(any, DType::Bool)?;
        Ok(vec![if invert { s.unary(PointFn::Not, any)? } else { any }])
    }),
    row("conj_physical.default", "self", |s| {
        let x = s.tensor("self")?;
        Ok(vec![s.one(Op::Contiguous {}, &[x])?])
    }),
    row("isreal.default", "self", |s| {
        let shape = s.shape(s.tensor("self")?);
        Ok(vec![s.fresh(DType::Bool, &shape, Number::Bool(true))?])
    }),
    row("angle.default", "self", |s| {
        let x = floating(s)?;
        let below = s.with_number(PointFn::Lt, x, 0.0)?;
        let (half, zero) = (s.number(s.dtype(x), std::f64::consts::PI), s.number(s.dtype(x), 0.0));
        let y = s.select(below, half, zero)?;
        let unknown = s.unary(PointFn::IsNan, x)?;
        Ok(vec![s.select(unknown, x, y)?])
    }),
    row("gcd.default", "self other", |s| {
        let dtype = s.promoted(&["self", "other"])?;
        let (mut a, mut b) = (s.operand("self", dtype)?, s.operand("other", dtype)?);
        let steps = euclidean_steps(dtype)?;
        if dtype != DType::U8 {
            (a, b) = (s.unary(PointFn::Abs, a)?, s.unary(PointFn::Abs, b)?);
        }
        for _ in 0..steps {
            // By zero the remainder is zero here, so that the pair stays once the second is zero.
            let rest = s.binary(PointFn::Fmod, a, b)?;
            let done = s.with_number(PointFn::Eq, b, 0.0)?;
            (a, b) = (s.select(done, a, b)?, rest);
        }
        Ok(vec![a])
    }),
];

const ISIN: &str = "elements|element test_elements|test_element assume_unique=False invert=False";

/// Both arguments in a common float.
fn floats(s: &mut Site) -> Result<(ValueId, ValueId), Stop> {
    let dtype = s.promoted(&["self", "other"])?;
    let dtype = if dtype.is_float() { dtype } else { DType::F32 };
    Ok((s.operand("self", dtype)?, s.operand("other", dtype)?))
}

/// Euclid's algorithm needs most steps for Fibonacci numbers.
fn euclidean_steps(dtype: DType) -> Result<usize, Stop> {
    match dtype {
        DType::I8 => Ok(12),
        DType::U8 => Ok(14),
        DType::I16 => Ok(24),
        DType::I32 => Ok(47),
        DType::I64 => Ok(92),
        other => unsupported(format!("the common divisor of {other}")),
    }
}

/// `|self - other| <= atol + rtol |other|`, or equal.
fn close(s: &mut Site) -> Result<ValueId, Stop> {
    let dtype = s.promoted(&["self", "other"])?;
    let (x, y) = (s.operand("self", dtype)?, s.operand("other", dtype)?);
    let (rtol, atol) = (s.float("rtol")?, s.float("atol")?);
    let mut same = s.binary(PointFn::Eq, x, y)?;
    if dtype.is_float() && s.flag("equal_nan")? {
        let (a, b) = (s.unary(PointFn::IsNan, x)?, s.unary(PointFn::IsNan, y)?);
        let both = s.binary(PointFn::And, a, b)?;
        same = s.binary(PointFn::Or, same, both)?;
    }
    if rtol == 0.0 && atol == 0.0 {
        return Ok(same);
    }
    let counted = if dtype.is_float() { dtype } else { DType::F32 };
    let (allowed, distance) = if dtype == DType::Bool {
        let (x, y) = (s.cast(x, counted)?, s.cast(y, counted)?);
        (y, s.sub(x, y)?)
    } else {
        let distance = s.sub(x, y)?;
        let distance = s.cast(distance, counted)?;
        (s.cast(y, counted)?, distance)
    };
    let (magnitude, distance) = (s.unary(PointFn::Abs, allowed)?, s.unary(PointFn::Abs, distance)?);
    let part = s.with_number(PointFn::Mul, magnitude, rtol)?;
    let allowed = s.with_number(PointFn::Add, part, atol)?;
    let finite = s.with_number(PointFn::Lt, distance, f64::INFINITY)?;
    let near = s.binary(PointFn::Le, distance, allowed)?;
    let near = s.binary(PointFn::And, near, finite)?;
    s.binary(PointFn::Or, same, near)
}

/// Giles ("Approximating the erfinv function", 2011) in single precision, then Newton's steps on `erf`.
fn erfinv(s: &mut Site, x: ValueId) -> Result<ValueId, Stop> {
    const NEAR: [f64; 9] = [
        2.81022636e-08,
        3.43273939e-07,
        -3.5233877e-06,
        -4.39150654e-06,
        0.00021858087,
        -0.00125372503,
        -0.00417768164,
        0.246640727,
        1.50140941,
    ];
    const FAR: [f64; 9] = [
        -0.000200214257,
        0.000100950558,
        0.00134934322,
        -0.00367342844,
        0.00573950773,
        -0.0076224613,
        0.00943887047,
        1.00167406,
        2.83297682,
    ];
    let (negative, one) = (s.unary(PointFn::Neg, x)?, s.number(s.dtype(x), 1.0));
    let (left, right) = (s.unary(PointFn::Log1p, negative)?, s.unary(PointFn::Log1p, x)?);
    let log = s.add(left, right)?;
    let w = s.unary(PointFn::Neg, log)?;
    let root = s.unary(PointFn::Sqrt, w)?;
    let near = s.with_number(PointFn::Sub, w, 2.5)?;
    let far = s.with_number(PointFn::Sub, root, 3.0)?;
    let mut factors = Vec::with_capacity(2);
    for (w, coefficients) in [(near, NEAR), (far, FAR)] {
        let mut p = s.number(s.dtype(x), coefficients[0]);
        for coefficient in &coefficients[1..] {
            let product = s.mul(p, w)?;
            p = s.with_number(PointFn::Add, product, *coefficient)?;
        }
        factors.push(p);
    }
    let central = s.with_number(PointFn::Lt, w, 5.0)?;
    let factor = s.select(central, factors[0], factors[1])?;
    let mut y = s.mul(factor, x)?;
    for _ in 0..2 {
        let erf = s.unary(PointFn::Erf, y)?;
        let error = s.sub(erf, x)?;
        let square = s.mul(y, y)?;
        let slope = s.unary(PointFn::Exp, square)?;
        let step = s.mul(error, slope)?;
        let step = s.with_number(PointFn::Mul, step, 0.886_226_925_452_758)?;
        y = s.sub(y, step)?;
    }
    // At the ends, and beyond, the formulas say nothing.
    let magnitude = s.unary(PointFn::Abs, x)?;
    let end = s.binary(PointFn::Eq, magnitude, one)?;
    let far = s.with_number(PointFn::Mul, x, f64::INFINITY)?;
    s.select(end, far, y)
}
