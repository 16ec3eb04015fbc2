//! Functions of one tensor, element by element.

use super::super::site::{Number, Outputs, Site, Stop, Words, invalid};
use super::{Row, row, wide};
use crate::ir::ValueId;
use crate::ops::PointFn;
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row("neg.default negative.default", "self", |s| kept(s, PointFn::Neg)),
    row("abs.default absolute.default", "self", |s| kept(s, PointFn::Abs)),
    row("sign.default sgn.default", "self", |s| {
        let x = s.tensor("self")?;
        if !s.dtype(x).is_float() {
            return kept(s, PointFn::Sign);
        }
        // By comparisons, as PyTorch has it: zero of either sign, and what is no number, give zero.
        let (above, below) = (s.with_number(PointFn::Gt, x, 0.0)?, s.with_number(PointFn::Lt, x, 0.0)?);
        let [one, minus, zero] = [1, -1, 0].map(|value| s.scalar(Number::Int(value), s.dtype(x)));
        let low = s.select(below, minus, zero)?;
        Ok(vec![s.select(above, one, low)?])
    }),
    row("floor.default", "self", |s| rounded(s, PointFn::Floor)),
    row("ceil.default", "self", |s| rounded(s, PointFn::Ceil)),
    row("trunc.default fix.default", "self", |s| rounded(s, PointFn::Trunc)),
    row("round.default", "self", |s| rounded(s, PointFn::Round)),
    wide("round.decimals", "self decimals", round_decimals),
    wide("frac.default", "self", |s| {
        let x = s.tensor("self")?;
        let whole = s.unary(PointFn::Trunc, x)?;
        Ok(vec![s.sub(x, whole)?])
    }),
    row("exp.default", "self", |s| float(s, PointFn::Exp)),
    wide("exp2.default special_exp2.default", "self", |s| {
        let x = floating(s)?;
        let two = s.scalar(Number::Int(2), s.dtype(x));
        Ok(vec![s.binary(PointFn::Pow, two, x)?])
    }),
    wide("expm1.default special_expm1.default", "self", |s| {
        let x = floating(s)?;
        Ok(vec![expm1(s, x)?])
    }),
    row("log.default", "self", |s| float(s, PointFn::Log)),
    row("log1p.default special_log1p.default", "self", |s| float(s, PointFn::Log1p)),
    wide("log2.default", "self", |s| scaled(s, PointFn::Log, std::f64::consts::LOG2_E)),
    wide("log10.default", "self", |s| scaled(s, PointFn::Log, std::f64::consts::LOG10_E)),
    row("sqrt.default", "self", |s| float(s, PointFn::Sqrt)),
    row("rsqrt.default", "self", |s| float(s, PointFn::Rsqrt)),
    row("reciprocal.default", "self", |s| float(s, PointFn::Reciprocal)),
    row("sin.default", "self", |s| float(s, PointFn::Sin)),
    row("cos.default", "self", |s| float(s, PointFn::Cos)),
    row("tan.default", "self", |s| float(s, PointFn::Tan)),
    row("asin.default arcsin.default", "self", |s| float(s, PointFn::Asin)),
    row("acos.default arccos.default", "self", |s| float(s, PointFn::Acos)),
    row("atan.default arctan.default", "self", |s| float(s, PointFn::Atan)),
    row("sinh.default", "self", |s| float(s, PointFn::Sinh)),
    row("cosh.default", "self", |s| float(s, PointFn::Cosh)),
    row("tanh.default", "self", |s| float(s, PointFn::Tanh)),
    row("asinh.default arcsinh.default", "self", |s| float(s, PointFn::Asinh)),
    row("acosh.default arccosh.default", "self", |s| float(s, PointFn::Acosh)),
    row("atanh.default arctanh.default", "self", |s| float(s, PointFn::Atanh)),
    row("erf.default special_erf.default", "self", |s| float(s, PointFn::Erf)),
    wide("erfc.default special_erfc.default", "self", |s| {
        let x = floating(s)?;
        // The tail is a small complement, for which single precision has no digits left.
        let own = s.dtype(x);
        let x = s.cast(x, DType::F64)?;
        let erf = s.unary(PointFn::Erf, x)?;
        let one = s.scalar(Number::Int(1), DType::F64);
        let rest = s.sub(one, erf)?;
        Ok(vec![s.cast(rest, own)?])
    }),
    wide("deg2rad.default", "self", |s| multiplied(s, std::f64::consts::PI / 180.0)),
    wide("rad2deg.default", "self", |s| multiplied(s, 180.0 / std::f64::consts::PI)),
    row("square.default", "self", |s| {
        let x = s.tensor("self")?;
        let x = if s.dtype(x) == DType::Bool { s.cast(x, DType::I64)? } else { x };
        Ok(vec![s.mul(x, x)?])
    }),
    row("logical_not.default", "self", |s| {
        let x = s.tensor("self")?;
        let truth = s.cast(x, DType::Bool)?;
        Ok(vec![s.unary(PointFn::Not, truth)?])
    }),
    row("bitwise_not.default", "self", |s| kept(s, PointFn::Not)),
    row("isnan.default", "self", |s| asked(s, PointFn::IsNan)),
    row("isinf.default", "self", |s| asked(s, PointFn::IsInf)),
    row("isposinf.default", "self", |s| equals(s, f64::INFINITY)),
    row("isneginf.default", "self", |s| equals(s, f64::NEG_INFINITY)),
    row("isfinite.default", "self", |s| {
        let x = s.tensor("self")?;
        if !s.dtype(x).is_float() {
            return everywhere(s, x, true);
        }
        let magnitude = s.unary(PointFn::Abs, x)?;
        Ok(vec![s.with_number(PointFn::Lt, magnitude, f64::INFINITY)?])
    }),
    row("signbit.default", "self", |s| {
        let x = s.tensor("self")?;
        let zero = s.scalar(Number::Int(0), s.dtype(x));
        if !s.dtype(x).is_float() {
            return Ok(vec![s.binary(PointFn::Lt, x, zero)?]);
        }
        // The sign of zero shows in its reciprocal.
        let over = s.unary(PointFn::Reciprocal, x)?;
        let (below, under) = (s.binary(PointFn::Lt, x, zero)?, s.binary(PointFn::Lt, over, zero)?);
        Ok(vec![s.binary(PointFn::Or, below, under)?])
    }),
    row("nan_to_num.default", "self nan=None posinf=None neginf=None", nan_to_num),
    wide("logit.default special_logit.default", "self eps=None", |s| {
        let mut x = floating(s)?;
        if let Some(eps) = s.numeral_opt("eps")? {
            // Where the bounds cross, the lower one counts for what is below it.
            let (eps, given) = (eps.as_f64(), x);
            let (low, top) = (s.number(s.dtype(x), eps), s.number(s.dtype(x), 1.0 - eps));
            let (below, above) = (s.binary(PointFn::Lt, given, low)?, s.binary(PointFn::Gt, given, top)?);
            x = s.select(above, top, x)?;
            x = s.select(below, low, x)?;
        }
        let one = s.scalar(Number::Int(1), s.dtype(x));
        let rest = s.sub(one, x)?;
        let odds = s.div(x, rest)?;
        Ok(vec![s.unary(PointFn::Log, odds)?])
    }),
    wide("sinc.default special_sinc.default", "self", |s| {
        let x = floating(s)?;
        let angle = s.with_number(PointFn::Mul, x, std::f64::consts::PI)?;
        let sine = s.unary(PointFn::Sin, angle)?;
        let ratio = s.div(sine, angle)?;
        let (zero, one) = (s.with_number(PointFn::Eq, x, 0.0)?, s.scalar(Number::Int(1), s.dtype(x)));
        Ok(vec![s.select(zero, one, ratio)?])
    }),
    wide("clamp.default clip.default", "self min=None max=None", |s| clamp(s, &["min", "max"])),
    row("clamp.Tensor clip.Tensor", "self min=None max=None", |s| clamp(s, &["min", "max"])),
    row("clamp_min.default clamp_min.Tensor", "self min", |s| clamp(s, &["min"])),
    row("clamp_max.default clamp_max.Tensor", "self max", |s| clamp(s, &["max"])),
];

/// The dtype of the operand stays.
fn kept(s: &mut Site, function: PointFn) -> Outputs {
    let x = s.tensor("self")?;
    if s.dtype(x) == DType::Bool && function == PointFn::Sign {
        return Ok(vec![s.one(crate::ops::Op::Contiguous {}, &[x])?]);
    }
    Ok(vec![s.unary(function, x)?])
}

/// Integers are whole already.
fn rounded(s: &mut Site, function: PointFn) -> Outputs {
    let x = s.tensor("self")?;
    match s.dtype(x).is_float() {
        true => kept(s, function),
        false => Ok(vec![s.one(crate::ops::Op::Contiguous {}, &[x])?]),
    }
}

/// The operand, integers as `f32`.
pub fn floating(s: &mut Site) -> Result<ValueId, Stop> {
    let x = s.tensor("self")?;
    if s.dtype(x).is_float() { Ok(x) } else { s.cast(x, DType::F32) }
}

pub fn float(s: &mut Site, function: PointFn) -> Outputs {
    let x = floating(s)?;
    Ok(vec![s.unary(function, x)?])
}

/// The function times a number.
fn scaled(s: &mut Site, function: PointFn, by: f64) -> Outputs {
    let x = float(s, function)?[0];
    Ok(vec![s.with_number(PointFn::Mul, x, by)?])
}

fn multiplied(s: &mut Site, by: f64) -> Outputs {
    let x = floating(s)?;
    Ok(vec![s.with_number(PointFn::Mul, x, by)?])
}

/// `exp(x) - 1 = 2 exp(x/2) sinh(x/2)`, which does not cancel near zero.
pub fn expm1(s: &mut Site, x: ValueId) -> Result<ValueId, Stop> {
    let half = s.with_number(PointFn::Mul, x, 0.5)?;
    let (power, sine) = (s.unary(PointFn::Exp, half)?, s.unary(PointFn::Sinh, half)?);
    let product = s.mul(power, sine)?;
    let near = s.with_number(PointFn::Mul, product, 2.0)?;
    // Far below zero nothing cancels, and the factors leave the range.
    let power = s.unary(PointFn::Exp, x)?;
    let (far, low) = (s.with_number(PointFn::Sub, power, 1.0)?, s.with_number(PointFn::Lt, x, -1.0)?);
    s.select(low, far, near)
}

fn round_decimals(s: &mut Site) -> Outputs {
    let (x, decimals) = (s.tensor("self")?, s.int("decimals")?);
    if !s.dtype(x).is_float() {
        return Ok(vec![s.one(crate::ops::Op::Contiguous {}, &[x])?]);
    }
    let Ok(power) = i32::try_from(decimals.abs()) else { return invalid("argument decimals is out of range") };
    let scale = 10f64.powi(power);
    let (there, back) = if decimals < 0 { (PointFn::Div, PointFn::Mul) } else { (PointFn::Mul, PointFn::Div) };
    let up = s.with_number(there, x, scale)?;
    let whole = s.unary(PointFn::Round, up)?;
    Ok(vec![s.with_number(back, whole, scale)?])
}

/// Whether each element is something that only floats can be.
fn asked(s: &mut Site, function: PointFn) -> Outputs {
    let x = s.tensor("self")?;
    if s.dtype(x).is_float() { Ok(vec![s.unary(function, x)?]) } else { everywhere(s, x, false) }
}

fn equals(s: &mut Site, number: f64) -> Outputs {
    let x = s.tensor("self")?;
    if s.dtype(x).is_float() { Ok(vec![s.with_number(PointFn::Eq, x, number)?]) } else { everywhere(s, x, false) }
}

fn everywhere(s: &mut Site, x: ValueId, value: bool) -> Outputs {
    let shape = s.shape(x);
    Ok(vec![s.fresh(DType::Bool, &shape, Number::Bool(value))?])
}

fn nan_to_num(s: &mut Site) -> Outputs {
    let x = s.tensor("self")?;
    let dtype = s.dtype(x);
    if !dtype.is_float() {
        return Ok(vec![s.one(crate::ops::Op::Contiguous {}, &[x])?]);
    }
    let largest = largest(dtype);
    let number =
        |s: &Site, name: &str, default: f64| s.numeral_opt(name).map(|number| number.map_or(default, Number::as_f64));
    let (nan, above) = (number(s, "nan", 0.0)?, number(s, "posinf", largest)?);
    let below = number(s, "neginf", -largest)?;
    let mut y = x;
    for (infinity, number) in [(f64::INFINITY, above), (f64::NEG_INFINITY, below)] {
        let condition = s.with_number(PointFn::Eq, x, infinity)?;
        let number = s.scalar(Number::Float(number), dtype);
        y = s.select(condition, number, y)?;
    }
    let (condition, number) = (s.unary(PointFn::IsNan, x)?, s.scalar(Number::Float(nan), dtype));
    Ok(vec![s.select(condition, number, y)?])
}

/// The largest finite number of a dtype.
pub fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::MAX,
        DType::F16 => 65504.0,
        DType::BF16 => f64::from(f32::from_bits(0x7f7f_0000)),
        _ => f64::from(f32::MAX),
    }
}

/// The operand between bounds; where they cross, the upper one counts.
fn clamp(s: &mut Site, bounds: &[&str]) -> Outputs {
    let given: Vec<&str> = bounds.iter().copied().filter(|bound| s.has(bound)).collect();
    let dtype = s.promoted(&[&["self"], given.as_slice()].concat())?;
    let mut x = s.operand("self", dtype)?;
    for bound in given {
        let function = if bound == "min" { PointFn::Max } else { PointFn::Min };
        let limit = match s.numeral(bound) {
            // A bound that the dtype cannot hold bounds nothing, or everything.
            Ok(number) if !dtype.is_float() && dtype != DType::Bool => {
                let (least, most) = range(dtype);
                let limit = number.as_f64().clamp(least as f64, most as f64);
                let exact = matches!(number, Number::Int(value) if (least..=most).contains(&value));
                s.scalar(if exact { number } else { Number::Int(limit as i64) }, dtype)
            }
            _ => s.operand(bound, dtype)?,
        };
        x = s.binary(function, x, limit)?;
    }
    Ok(vec![x])
}

/// The least and the largest integer of a dtype.
pub fn range(dtype: DType) -> (i64, i64) {
    match dtype {
        DType::U8 => (0, 255),
        DType::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DType::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}
