//! Functions of two or three tensors, element by element, with broadcasting and type promotion.

use super::super::promote;
use super::super::site::{Number, Outputs, Site, Stop, Words, invalid, unsupported};
use super::{Row, row, wide};
use crate::ir::ValueId;
use crate::ops::PointFn;
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row("add.Tensor add.Scalar", "self other alpha=1", |s| sum(s, PointFn::Add)),
    row("sub.Tensor sub.Scalar subtract.Tensor subtract.Scalar", "self other alpha=1", |s| sum(s, PointFn::Sub)),
    wide("rsub.Tensor rsub.Scalar", "self other alpha=1", |s| {
        let dtype = s.promoted(&["self", "other"])?;
        let (x, other) = (s.operand("self", dtype)?, s.operand("other", dtype)?);
        let x = times_alpha(s, x, "alpha")?;
        Ok(vec![s.sub(other, x)?])
    }),
    row("mul.Tensor mul.Scalar multiply.Tensor multiply.Scalar", "self other", product),
    row("div.Tensor div.Scalar divide.Tensor divide.Scalar true_divide.Tensor true_divide.Scalar", "self other", |s| {
        quotient(s, None)
    }),
    wide(
        "div.Tensor_mode div.Scalar_mode divide.Tensor_mode divide.Scalar_mode",
        "self other rounding_mode=None",
        |s| {
            let mode = if s.has("rounding_mode") { Some(s.text("rounding_mode")?) } else { None };
            quotient(s, mode)
        },
    ),
    wide("floor_divide.default floor_divide.Scalar floor_divide.Tensor", "self other", |s| quotient(s, Some("floor"))),
    row("remainder.Tensor remainder.Scalar remainder.Scalar_Tensor", "self other", |s| arithmetic(s, PointFn::Rem)),
    row("fmod.Tensor fmod.Scalar", "self other", |s| arithmetic(s, PointFn::Fmod)),
    row("pow.Tensor_Tensor pow.Tensor", "self exponent", power),
    row("pow.Tensor_Scalar", "self exponent", power),
    row("pow.Scalar", "self exponent", power),
    row(
        "float_power.Tensor_Tensor float_power.Tensor_Scalar float_power.Scalar float_power.Tensor",
        "self exponent",
        |s| {
            let (x, exponent) = (s.operand("self", DType::F64)?, s.operand("exponent", DType::F64)?);
            Ok(vec![s.binary(PointFn::Pow, x, exponent)?])
        },
    ),
    row("maximum.default max.other", "self other", |s| arithmetic(s, PointFn::Max)),
    row("minimum.default min.other", "self other", |s| arithmetic(s, PointFn::Min)),
    row("fmax.default", "self other", |s| ignoring_nan(s, PointFn::Max)),
    row("fmin.default", "self other", |s| ignoring_nan(s, PointFn::Min)),
    row("eq.Tensor eq.Scalar", "self other", |s| arithmetic(s, PointFn::Eq)),
    row("ne.Tensor ne.Scalar not_equal.Tensor not_equal.Scalar", "self other", |s| arithmetic(s, PointFn::Ne)),
    row("lt.Tensor lt.Scalar less.Tensor less.Scalar", "self other", |s| arithmetic(s, PointFn::Lt)),
    row("le.Tensor le.Scalar less_equal.Tensor less_equal.Scalar", "self other", |s| arithmetic(s, PointFn::Le)),
    row("gt.Tensor gt.Scalar greater.Tensor greater.Scalar", "self other", |s| arithmetic(s, PointFn::Gt)),
    row("ge.Tensor ge.Scalar greater_equal.Tensor greater_equal.Scalar", "self other", |s| arithmetic(s, PointFn::Ge)),
    row("logical_and.default", "self other", |s| logic(s, PointFn::And)),
    row("logical_or.default", "self other", |s| logic(s, PointFn::Or)),
    row("logical_xor.default", "self other", |s| logic(s, PointFn::Xor)),
    row(
        "bitwise_and.Tensor bitwise_and.Scalar bitwise_and.Scalar_Tensor __and__.Tensor __and__.Scalar",
        "self other",
        |s| arithmetic(s, PointFn::And),
    ),
    row(
        "bitwise_or.Tensor bitwise_or.Scalar bitwise_or.Scalar_Tensor __or__.Tensor __or__.Scalar",
        "self other",
        |s| arithmetic(s, PointFn::Or),
    ),
    row(
        "bitwise_xor.Tensor bitwise_xor.Scalar bitwise_xor.Scalar_Tensor __xor__.Tensor __xor__.Scalar",
        "self other",
        |s| arithmetic(s, PointFn::Xor),
    ),
    row(
        "bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar bitwise_left_shift.Scalar_Tensor __lshift__.Tensor __lshift__.Scalar",
        "self other",
        |s| shift(s, PointFn::Shl),
    ),
    row(
        "bitwise_right_shift.Tensor bitwise_right_shift.Tensor_Scalar bitwise_right_shift.Scalar_Tensor __rshift__.Tensor __rshift__.Scalar",
        "self other",
        |s| shift(s, PointFn::Shr),
    ),
    wide("atan2.default arctan2.default", "self other", arc_tangent),
    wide("hypot.default", "self other", |s| {
        let dtype = s.promoted(&["self", "other"])?;
        let (x, y) = (s.operand("self", dtype)?, s.operand("other", dtype)?);
        // Scaled by the larger magnitude, so that squares do not overflow.
        let (x, y) = (s.unary(PointFn::Abs, x)?, s.unary(PointFn::Abs, y)?);
        let (large, small) = (s.binary(PointFn::Max, x, y)?, s.binary(PointFn::Min, x, y)?);
        let ratio = s.div(small, large)?;
        let square = s.mul(ratio, ratio)?;
        let above = s.with_number(PointFn::Add, square, 1.0)?;
        let root = s.unary(PointFn::Sqrt, above)?;
        let length = s.mul(large, root)?;
        let zero = s.with_number(PointFn::Eq, large, 0.0)?;
        let length = s.select(zero, large, length)?;
        // An infinite side makes the length infinite, whatever the other is.
        let (a, b) = (s.unary(PointFn::IsInf, x)?, s.unary(PointFn::IsInf, y)?);
        let (far, infinity) = (s.binary(PointFn::Or, a, b)?, s.number(dtype, f64::INFINITY));
        Ok(vec![s.select(far, infinity, length)?])
    }),
    wide("logaddexp.default", "self other", |s| {
        let dtype = s.promoted(&["self", "other"])?;
        let (x, y) = (s.operand("self", dtype)?, s.operand("other", dtype)?);
        let (large, distance) = (s.binary(PointFn::Max, x, y)?, s.sub(x, y)?);
        let distance = s.unary(PointFn::Abs, distance)?;
        let negative = s.unary(PointFn::Neg, distance)?;
        let power = s.unary(PointFn::Exp, negative)?;
        let rest = s.unary(PointFn::Log1p, power)?;
        let y = s.add(large, rest)?;
        // Equal infinities have no distance.
        let (same, infinite) = (s.unary(PointFn::IsInf, large)?, s.unary(PointFn::IsNan, distance)?);
        let kept = s.binary(PointFn::And, same, infinite)?;
        Ok(vec![s.select(kept, large, y)?])
    }),
    wide("xlogy.Tensor xlogy.Scalar_Other xlogy.Scalar_Self special_xlogy.default", "self other", |s| {
        let dtype = floating(s.promoted(&["self", "other"])?);
        let (x, other) = (s.operand("self", dtype)?, s.operand("other", dtype)?);
        let log = s.unary(PointFn::Log, other)?;
        let y = s.mul(x, log)?;
        let (none, nan) = (s.with_number(PointFn::Eq, x, 0.0)?, s.unary(PointFn::IsNan, other)?);
        let zero = s.scalar(Number::Int(0), dtype);
        let y = s.select(none, zero, y)?;
        Ok(vec![s.select(nan, other, y)?])
    }),
    row("copysign.Tensor copysign.Scalar", "self other", |s| {
        let dtype = floating(s.promoted(&["self", "other"])?);
        let (x, other) = (s.operand("self", dtype)?, s.operand("other", dtype)?);
        let magnitude = s.unary(PointFn::Abs, x)?;
        let opposite = s.unary(PointFn::Neg, magnitude)?;
        let over = s.unary(PointFn::Reciprocal, other)?;
        let (below, under) = (s.with_number(PointFn::Lt, other, 0.0)?, s.with_number(PointFn::Lt, over, 0.0)?);
        let negative = s.binary(PointFn::Or, below, under)?;
        Ok(vec![s.select(negative, opposite, magnitude)?])
    }),
    row("addcmul.default", "self tensor1 tensor2 value=1", |s| addc(s, PointFn::Mul)),
    row("addcdiv.default", "self tensor1 tensor2 value=1", |s| addc(s, PointFn::Div)),
    wide("lerp.Scalar lerp.Tensor", "self end weight", |s| {
        let dtype = s.promoted(&["self", "end"])?;
        let (start, end, weight) = (s.operand("self", dtype)?, s.operand("end", dtype)?, s.operand("weight", dtype)?);
        let distance = s.sub(end, start)?;
        // From the nearer end, as PyTorch has it.
        let part = s.mul(weight, distance)?;
        let low = s.add(start, part)?;
        let one = s.scalar(Number::Int(1), dtype);
        let rest = s.sub(one, weight)?;
        let part = s.mul(distance, rest)?;
        let high = s.sub(end, part)?;
        let magnitude = s.unary(PointFn::Abs, weight)?;
        let near = s.with_number(PointFn::Lt, magnitude, 0.5)?;
        Ok(vec![s.select(near, low, high)?])
    }),
    row("where.self where.Scalar where.ScalarOther where.ScalarSelf", "condition self other", |s| {
        let dtype = s.promoted(&["self", "other"])?;
        let condition = s.operand("condition", DType::Bool)?;
        let (x, other) = (s.operand("self", dtype)?, s.operand("other", dtype)?);
        Ok(vec![s.select(condition, x, other)?])
    }),
    row("masked_fill.Scalar masked_fill.Tensor", "self mask value", |s| {
        let (x, mask) = (s.tensor("self")?, s.operand("mask", DType::Bool)?);
        let value = s.operand("value", s.dtype(x))?;
        Ok(vec![s.select(mask, value, x)?])
    }),
];

fn floating(dtype: DType) -> DType {
    if dtype.is_float() { dtype } else { DType::F32 }
}

fn operands(s: &mut Site, dtype: DType) -> Result<(ValueId, ValueId), Stop> {
    Ok((s.operand("self", dtype)?, s.operand("other", dtype)?))
}

/// The function in the common dtype; numbers beside halves count in `f32`, as PyTorch computes.
fn arithmetic(s: &mut Site, function: PointFn) -> Outputs {
    let dtype = s.promoted(&["self", "other"])?;
    let (x, other) = operands(s, dtype)?;
    Ok(vec![s.binary(function, x, other)?])
}

/// Number arguments beside halves are not rounded to a half before they are used.
fn beside_number(s: &mut Site, dtype: DType, function: PointFn) -> Outputs {
    let wide = promote::computed(dtype);
    if wide != dtype && (s.numeral("other").is_ok() || s.numeral("self").is_ok()) {
        let (x, other) = operands(s, wide)?;
        let y = s.binary(function, x, other)?;
        return Ok(vec![s.cast(y, dtype)?]);
    }
    let (x, other) = operands(s, dtype)?;
    Ok(vec![s.binary(function, x, other)?])
}

/// `bool` adds as "or" and multiplies as "and".
fn sum(s: &mut Site, function: PointFn) -> Outputs {
    let dtype = s.promoted(&["self", "other"])?;
    if dtype == DType::Bool {
        if function == PointFn::Sub {
            return invalid("bools cannot be subtracted");
        }
        return arithmetic(s, PointFn::Or);
    }
    if s.numeral("alpha")?.as_f64() == 1.0 {
        return beside_number(s, dtype, function);
    }
    let wide = promote::computed(dtype);
    let (x, other) = operands(s, wide)?;
    let other = times_alpha(s, other, "alpha")?;
    let y = s.binary(function, x, other)?;
    Ok(vec![s.cast(y, dtype)?])
}

fn times_alpha(s: &mut Site, x: ValueId, name: &str) -> Result<ValueId, Stop> {
    let alpha = s.numeral(name)?;
    if alpha.as_f64() == 1.0 {
        return Ok(x);
    }
    let alpha = s.scalar(alpha, s.dtype(x));
    s.mul(alpha, x)
}

fn product(s: &mut Site) -> Outputs {
    let dtype = s.promoted(&["self", "other"])?;
    if dtype == DType::Bool { arithmetic(s, PointFn::And) } else { beside_number(s, dtype, PointFn::Mul) }
}

fn quotient(s: &mut Site, mode: Option<&str>) -> Outputs {
    let dtype = s.promoted(&["self", "other"])?;
    match mode {
        None => beside_number(s, floating(dtype), PointFn::Div),
        Some("trunc") if !dtype.is_float() => arithmetic(s, PointFn::Div),
        Some("trunc") => {
            let y = beside_number(s, dtype, PointFn::Div)?[0];
            Ok(vec![s.unary(PointFn::Trunc, y)?])
        }
        Some("floor") if !dtype.is_float() => {
            // Truncated, and one less where signs differ and something is left.
            let (x, other) = operands(s, dtype)?;
            let (y, rest) = (s.div(x, other)?, s.binary(PointFn::Fmod, x, other)?);
            let off = differs(s, rest, other)?;
            let less = s.with_number(PointFn::Sub, y, 1.0)?;
            Ok(vec![s.select(off, less, y)?])
        }
        Some("floor") => {
            let (x, other) = operands(s, dtype)?;
            // `(x - x mod y) / y` is whole; the plain quotient may have been rounded up to the next one.
            let rest = s.binary(PointFn::Fmod, x, other)?;
            let whole = s.sub(x, rest)?;
            let y = s.div(whole, other)?;
            let (off, less) = (differs(s, rest, other)?, s.with_number(PointFn::Sub, y, 1.0)?);
            let y = s.select(off, less, y)?;
            let floor = s.unary(PointFn::Floor, y)?;
            let (part, more) = (s.sub(y, floor)?, s.with_number(PointFn::Add, floor, 1.0)?);
            let near = s.with_number(PointFn::Gt, part, 0.5)?;
            let y = s.select(near, more, floor)?;
            let (plain, none) = (s.div(x, other)?, s.with_number(PointFn::Eq, other, 0.0)?);
            Ok(vec![s.select(none, plain, y)?])
        }
        Some(other) => unsupported(format!("the rounding mode {other:?}")),
    }
}

/// Whether a remainder is there and has not the sign of the divisor.
fn differs(s: &mut Site, rest: ValueId, divisor: ValueId) -> Result<ValueId, Stop> {
    let (there, low) = (s.with_number(PointFn::Ne, rest, 0.0)?, s.with_number(PointFn::Lt, rest, 0.0)?);
    let below = s.with_number(PointFn::Lt, divisor, 0.0)?;
    let apart = s.binary(PointFn::Ne, low, below)?;
    s.binary(PointFn::And, there, apart)
}

/// Exponents that are numbers stay numbers, so that squares are products.
fn power(s: &mut Site) -> Outputs {
    let dtype = s.promoted(&["self", "exponent"])?;
    let (x, exponent) = (s.operand("self", dtype)?, s.operand("exponent", dtype)?);
    let dtype_of_numbers = promote::computed(dtype);
    if dtype_of_numbers != dtype && s.numeral("exponent").is_ok() {
        let (x, exponent) = (s.operand("self", dtype_of_numbers)?, s.operand("exponent", dtype_of_numbers)?);
        let y = s.binary(PointFn::Pow, x, exponent)?;
        return Ok(vec![s.cast(y, dtype)?]);
    }
    match s.numeral("exponent").map(Number::as_f64) {
        Ok(0.5) if dtype.is_float() => Ok(vec![s.unary(PointFn::Sqrt, x)?]),
        Ok(-0.5) if dtype.is_float() => Ok(vec![s.unary(PointFn::Rsqrt, x)?]),
        Ok(-1.0) if dtype.is_float() => Ok(vec![s.unary(PointFn::Reciprocal, x)?]),
        Ok(1.0) => Ok(vec![s.one(crate::ops::Op::Contiguous {}, &[x])?]),
        Ok(2.0) => Ok(vec![s.mul(x, x)?]),
        _ => Ok(vec![s.binary(PointFn::Pow, x, exponent)?]),
    }
}

fn ignoring_nan(s: &mut Site, function: PointFn) -> Outputs {
    let dtype = s.promoted(&["self", "other"])?;
    let (x, other) = operands(s, dtype)?;
    let y = s.binary(function, x, other)?;
    if !dtype.is_float() {
        return Ok(vec![y]);
    }
    let (no_x, no_other) = (s.unary(PointFn::IsNan, x)?, s.unary(PointFn::IsNan, other)?);
    let y = s.select(no_x, other, y)?;
    Ok(vec![s.select(no_other, x, y)?])
}

fn logic(s: &mut Site, function: PointFn) -> Outputs {
    let (x, other) = operands(s, DType::Bool)?;
    Ok(vec![s.binary(function, x, other)?])
}

fn shift(s: &mut Site, function: PointFn) -> Outputs {
    let dtype = s.promoted(&["self", "other"])?;
    if dtype.is_float() || dtype == DType::Bool {
        return invalid(format!("{dtype} cannot be shifted"));
    }
    arithmetic(s, function)
}

/// The angle of a point, by the arc tangent of its quotient and the quadrant it is in.
fn arc_tangent(s: &mut Site) -> Outputs {
    let dtype = floating(s.promoted(&["self", "other"])?);
    let (y, x) = operands(s, dtype)?;
    let ratio = s.div(y, x)?;
    let angle = s.unary(PointFn::Atan, ratio)?;
    let number = |s: &mut Site, value: f64| s.scalar(Number::Float(value), dtype);
    let pi = std::f64::consts::PI;
    let (half_turn, back, right, left) = (number(s, pi), number(s, -pi), number(s, pi / 2.0), number(s, -pi / 2.0));
    let zero = number(s, 0.0);
    // The sign of a zero counts: it shows in the reciprocal.
    let (over_y, over_x) = (s.unary(PointFn::Reciprocal, y)?, s.unary(PointFn::Reciprocal, x)?);
    let negative = |s: &mut Site, value: ValueId, over: ValueId| {
        let (below, under) = (s.binary(PointFn::Lt, value, zero)?, s.binary(PointFn::Lt, over, zero)?);
        s.binary(PointFn::Or, below, under)
    };
    let (low, behind) = (negative(s, y, over_y)?, negative(s, x, over_x)?);
    let turn = s.select(low, back, half_turn)?;
    let turned = s.add(angle, turn)?;
    let mut result = s.select(behind, turned, angle)?;
    // On the vertical axis, and where both are infinite, the quotient says nothing.
    let on_axis = s.with_number(PointFn::Eq, x, 0.0)?;
    let upright = s.select(low, left, right)?;
    let origin = s.with_number(PointFn::Eq, y, 0.0)?;
    let flat = {
        let nothing = s.mul(y, zero)?;
        let minus_nothing = number(s, -0.0);
        let signed = s.select(low, minus_nothing, nothing)?;
        s.select(behind, turn, signed)?
    };
    let vertical = s.select(origin, flat, upright)?;
    result = s.select(on_axis, vertical, result)?;
    let (far_y, far_x) = (s.unary(PointFn::IsInf, y)?, s.unary(PointFn::IsInf, x)?);
    let far = s.binary(PointFn::And, far_y, far_x)?;
    let (eighth, three) = (number(s, pi / 4.0), number(s, 3.0 * pi / 4.0));
    let diagonal = s.select(behind, three, eighth)?;
    let opposite = s.unary(PointFn::Neg, diagonal)?;
    let diagonal = s.select(low, opposite, diagonal)?;
    let result = s.select(far, diagonal, result)?;
    let unknown = s.unary(PointFn::IsNan, y)?;
    Ok(vec![s.select(unknown, y, result)?])
}

/// `self + value * (tensor1 function tensor2)`.
fn addc(s: &mut Site, function: PointFn) -> Outputs {
    let dtype = s.promoted(&["self", "tensor1", "tensor2"])?;
    let wide = promote::computed(dtype);
    let (x, a, b) = (s.operand("self", wide)?, s.operand("tensor1", wide)?, s.operand("tensor2", wide)?);
    let a = times_alpha(s, a, "value")?;
    let inner = s.binary(function, a, b)?;
    let y = s.add(x, inner)?;
    Ok(vec![s.cast(y, dtype)?])
}
