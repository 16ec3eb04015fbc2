//! Elementwise ops: arithmetic, comparisons, logic, activations, casts.

use super::super::site::{Outputs, Site, Stop, Words, axis_of, invalid, unsupported};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::PointFn;
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row_of("Neg", 1, |s| unary(s, PointFn::Neg)),
    row_of("Abs", 1, |s| unary(s, PointFn::Abs)),
    row_of("Sign", 9, |s| unary(s, PointFn::Sign)),
    row_of("Exp", 1, |s| unary(s, PointFn::Exp)),
    row_of("Log", 1, |s| unary(s, PointFn::Log)),
    row_of("Sqrt", 1, |s| unary(s, PointFn::Sqrt)),
    row_of("Reciprocal", 1, |s| unary(s, PointFn::Reciprocal)),
    row_of("Sin", 7, |s| unary(s, PointFn::Sin)),
    row_of("Cos", 7, |s| unary(s, PointFn::Cos)),
    row_of("Tan", 7, |s| unary(s, PointFn::Tan)),
    row_of("Asin", 7, |s| unary(s, PointFn::Asin)),
    row_of("Acos", 7, |s| unary(s, PointFn::Acos)),
    row_of("Atan", 7, |s| unary(s, PointFn::Atan)),
    row_of("Sinh", 9, |s| unary(s, PointFn::Sinh)),
    row_of("Cosh", 9, |s| unary(s, PointFn::Cosh)),
    row_of("Tanh", 1, |s| unary(s, PointFn::Tanh)),
    row_of("Asinh", 9, |s| unary(s, PointFn::Asinh)),
    row_of("Acosh", 9, |s| unary(s, PointFn::Acosh)),
    row_of("Atanh", 9, |s| unary(s, PointFn::Atanh)),
    row_of("Erf", 9, |s| unary(s, PointFn::Erf)),
    row_of("Sigmoid", 1, |s| unary(s, PointFn::Sigmoid)),
    row_of("Relu", 1, |s| unary(s, PointFn::Relu)),
    row_of("HardSwish", 14, |s| unary(s, PointFn::HardSwish)),
    row_of("Softplus", 1, |s| unary(s, PointFn::Softplus)),
    row_of("Mish", 18, |s| unary(s, PointFn::Mish)),
    row_of("Floor", 1, |s| unary(s, PointFn::Floor)),
    row_of("Ceil", 1, |s| unary(s, PointFn::Ceil)),
    row_of("Round", 11, |s| unary(s, PointFn::Round)),
    row_of("IsNaN", 9, |s| unary(s, PointFn::IsNan)),
    row_of("IsInf", 10, is_inf),
    row_of("Not", 1, |s| unary(s, PointFn::Not)),
    row_of("BitwiseNot", 18, |s| unary(s, PointFn::Not)),
    row_of("Gelu", 20, gelu),
    row_of("Add", 1, |s| binary(s, PointFn::Add)),
    row_of("Sub", 1, |s| binary(s, PointFn::Sub)),
    row_of("Mul", 1, |s| binary(s, PointFn::Mul)),
    row_of("Div", 1, |s| binary(s, PointFn::Div)),
    row_of("And", 1, |s| binary(s, PointFn::And)),
    row_of("Or", 1, |s| binary(s, PointFn::Or)),
    row_of("Xor", 1, |s| binary(s, PointFn::Xor)),
    row_of("BitwiseAnd", 18, |s| binary(s, PointFn::And)),
    row_of("BitwiseOr", 18, |s| binary(s, PointFn::Or)),
    row_of("BitwiseXor", 18, |s| binary(s, PointFn::Xor)),
    row_of("Equal", 1, |s| binary(s, PointFn::Eq)),
    row_of("Less", 1, |s| binary(s, PointFn::Lt)),
    row_of("LessOrEqual", 12, |s| binary(s, PointFn::Le)),
    row_of("Greater", 1, |s| binary(s, PointFn::Gt)),
    row_of("GreaterOrEqual", 12, |s| binary(s, PointFn::Ge)),
    row_of("BitShift", 11, bit_shift),
    row_of("Mod", 10, modulo),
    row_of("Pow", 1, power),
    row_of("Where", 9, choose),
    row_of("Max", 1, |s| variadic(s, PointFn::Max)),
    row_of("Min", 1, |s| variadic(s, PointFn::Min)),
    row_of("Sum", 1, |s| variadic(s, PointFn::Add)),
    row_of("Mean", 1, mean),
    row_of("Clip", 1, clip_attributes),
    row_of("Clip", 11, clip),
    row_of("LeakyRelu", 1, leaky_relu),
    row_of("PRelu", 1, prelu),
    row_of("Elu", 1, elu),
    row_of("Celu", 12, celu),
    row_of("Selu", 1, selu),
    row_of("Softsign", 1, softsign),
    row_of("HardSigmoid", 1, hard_sigmoid),
    row_of("Swish", 24, swish),
    row_of("SwiGLU", 28, |s| {
        let gate = swish(s)?[0];
        let value = s.input(1)?;
        Ok(vec![s.mul(gate, value)?])
    }),
    row_of("ThresholdedRelu", 10, thresholded_relu),
    row_of("Shrink", 9, shrink),
    row_of("Cast", 6, cast),
    row_of("CastLike", 15, cast_like),
    row_of("Identity", 1, |s| Ok(vec![s.input(0)?])),
    row_of("Dropout", 1, dropout),
];

fn unary(s: &mut Site, function: PointFn) -> Outputs {
    let x = s.input(0)?;
    Ok(vec![s.unary(function, x)?])
}

fn binary(s: &mut Site, function: PointFn) -> Outputs {
    let (a, b) = (s.input(0)?, s.input(1)?);
    let b = aligned(s, a, b)?;
    Ok(vec![s.binary(function, a, b)?])
}

/// Before opset 7 the second operand was aligned to the first by an attribute `axis` and not from the right.
fn aligned(s: &mut Site, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
    if s.opset >= 7 || !s.flag("broadcast", false)? {
        return Ok(b);
    }
    match s.int_opt("axis")? {
        None => Ok(b),
        Some(axis) => {
            let (rank, mut shape) = (s.rank(a), s.shape(b));
            let axis = axis_of(axis, rank.max(1))?;
            if axis + shape.len() > rank {
                return invalid(format!("operand 1 does not fit operand 0 at axis {axis}"));
            }
            shape.resize(rank - axis, 1);
            s.reshape(b, &shape)
        }
    }
}

fn bit_shift(s: &mut Site) -> Outputs {
    match s.text("direction", "")? {
        "LEFT" => binary(s, PointFn::Shl),
        "RIGHT" => binary(s, PointFn::Shr),
        other => invalid(format!("direction {other:?} is neither LEFT nor RIGHT")),
    }
}

fn modulo(s: &mut Site) -> Outputs {
    let function = if s.flag("fmod", false)? { PointFn::Fmod } else { PointFn::Rem };
    binary(s, function)
}

/// The exponent may have a dtype of its own; the result has the base's.
fn power(s: &mut Site) -> Outputs {
    let (a, b) = (s.input(0)?, s.input(1)?);
    let b = aligned(s, a, b)?;
    let (base, exponent) = (s.dtype(a), s.dtype(b));
    if base.is_float() || !exponent.is_float() {
        let b = s.cast(b, base)?;
        return Ok(vec![s.binary(PointFn::Pow, a, b)?]);
    }
    let (wide_a, wide_b) = (s.cast(a, DType::F64)?, s.cast(b, DType::F64)?);
    let y = s.binary(PointFn::Pow, wide_a, wide_b)?;
    Ok(vec![s.cast(y, base)?])
}

fn choose(s: &mut Site) -> Outputs {
    let (condition, then, otherwise) = (s.input(0)?, s.input(1)?, s.input(2)?);
    Ok(vec![s.select(condition, then, otherwise)?])
}

fn variadic(s: &mut Site, function: PointFn) -> Outputs {
    let operands = s.all_inputs()?;
    let Some((&first, rest)) = operands.split_first() else { return invalid("there is no operand") };
    let mut total = first;
    for &operand in rest {
        total = s.binary(function, total, operand)?;
    }
    Ok(vec![total])
}

fn mean(s: &mut Site) -> Outputs {
    let count = s.inputs.len();
    let total = variadic(s, PointFn::Add)?;
    if count == 1 {
        return Ok(total);
    }
    Ok(vec![s.with_number(PointFn::Div, total[0], count as f64)?])
}

fn is_inf(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let (negative, positive) = (s.flag("detect_negative", true)?, s.flag("detect_positive", true)?);
    Ok(vec![match (negative, positive) {
        (true, true) => s.unary(PointFn::IsInf, x)?,
        (true, false) => s.with_number(PointFn::Eq, x, f64::NEG_INFINITY)?,
        (false, true) => s.with_number(PointFn::Eq, x, f64::INFINITY)?,
        (false, false) => {
            let shape = s.shape(x);
            s.filled(DType::Bool, &shape, 0.0)?
        }
    }])
}

fn gelu(s: &mut Site) -> Outputs {
    match s.text("approximate", "none")? {
        "none" => unary(s, PointFn::Gelu),
        "tanh" => unary(s, PointFn::GeluTanh),
        other => invalid(format!("approximate {other:?} is neither none nor tanh")),
    }
}

fn clip_attributes(s: &mut Site) -> Outputs {
    let mut x = s.input(0)?;
    for (name, function) in [("min", PointFn::Max), ("max", PointFn::Min)] {
        if let Some(bound) = s.float_opt(name)? {
            // The attributes default to the ends of f32, which bound nothing.
            if bound.abs() < f64::from(f32::MAX) {
                x = s.with_number(function, x, bound)?;
            }
        }
    }
    Ok(vec![x])
}

fn clip(s: &mut Site) -> Outputs {
    let mut x = s.input(0)?;
    for (position, function) in [(1, PointFn::Max), (2, PointFn::Min)] {
        if let Some(bound) = s.optional(position) {
            x = s.binary(function, x, bound)?;
        }
    }
    Ok(vec![x])
}

/// `x` where it is not negative, else `negative`.
fn where_negative(s: &mut Site, x: ValueId, negative: ValueId) -> Outputs {
    let is_negative = s.with_number(PointFn::Lt, x, 0.0)?;
    Ok(vec![s.select(is_negative, negative, x)?])
}

fn leaky_relu(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let alpha = s.float("alpha", 0.01)?;
    let scaled = s.with_number(PointFn::Mul, x, alpha)?;
    where_negative(s, x, scaled)
}

fn prelu(s: &mut Site) -> Outputs {
    let (x, mut slope) = (s.input(0)?, s.input(1)?);
    // Before opset 7 a vector of slopes belongs to the channels.
    if s.opset < 7 && s.rank(slope) == 1 && s.rank(x) > 1 {
        let rank = s.rank(x);
        slope = s.along_axis(slope, 1, rank)?;
    }
    let scaled = s.mul(x, slope)?;
    where_negative(s, x, scaled)
}

fn elu(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let alpha = s.float("alpha", 1.0)?;
    let negative = scaled_expm1(s, x, alpha)?;
    where_negative(s, x, negative)
}

/// `alpha * (exp(x) - 1)`.
fn scaled_expm1(s: &mut Site, x: ValueId, alpha: f64) -> Result<ValueId, Stop> {
    let power = s.unary(PointFn::Exp, x)?;
    let below = s.with_number(PointFn::Sub, power, 1.0)?;
    if alpha == 1.0 { Ok(below) } else { s.with_number(PointFn::Mul, below, alpha) }
}

fn celu(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let alpha = s.float("alpha", 1.0)?;
    let scaled = s.with_number(PointFn::Div, x, alpha)?;
    let negative = scaled_expm1(s, scaled, alpha)?;
    where_negative(s, x, negative)
}

fn selu(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let alpha = s.float("alpha", 1.673_263_192_176_818_8)?;
    let gamma = s.float("gamma", 1.050_700_983_201_365_7)?;
    let negative = scaled_expm1(s, x, alpha)?;
    let y = where_negative(s, x, negative)?[0];
    Ok(vec![s.with_number(PointFn::Mul, y, gamma)?])
}

fn softsign(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let magnitude = s.unary(PointFn::Abs, x)?;
    let above = s.with_number(PointFn::Add, magnitude, 1.0)?;
    Ok(vec![s.div(x, above)?])
}

fn hard_sigmoid(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let (alpha, beta) = (s.float("alpha", 0.2)?, s.float("beta", 0.5)?);
    let scaled = s.with_number(PointFn::Mul, x, alpha)?;
    let line = s.with_number(PointFn::Add, scaled, beta)?;
    let least = s.with_number(PointFn::Max, line, 0.0)?;
    Ok(vec![s.with_number(PointFn::Min, least, 1.0)?])
}

fn swish(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let alpha = s.float("alpha", 1.0)?;
    if alpha == 1.0 {
        return Ok(vec![s.unary(PointFn::Silu, x)?]);
    }
    let scaled = s.with_number(PointFn::Mul, x, alpha)?;
    let gate = s.unary(PointFn::Sigmoid, scaled)?;
    Ok(vec![s.mul(x, gate)?])
}

fn thresholded_relu(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let alpha = s.float("alpha", 1.0)?;
    let above = s.with_number(PointFn::Gt, x, alpha)?;
    let zero = s.number(s.dtype(x), 0.0);
    Ok(vec![s.select(above, x, zero)?])
}

fn shrink(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let dtype = s.dtype(x);
    let (bias, lambda) = (s.float("bias", 0.0)?, s.float("lambd", 0.5)?);
    // Integers are shrunk by arithmetic on floats, as the op is defined.
    let wide = if dtype.is_float() { dtype } else { DType::F32 };
    let x = s.cast(x, wide)?;
    let (below, above) = (s.with_number(PointFn::Lt, x, -lambda)?, s.with_number(PointFn::Gt, x, lambda)?);
    let (up, down) = (s.with_number(PointFn::Add, x, bias)?, s.with_number(PointFn::Sub, x, bias)?);
    let zero = s.number(wide, 0.0);
    let right = s.select(above, down, zero)?;
    let y = s.select(below, up, right)?;
    Ok(vec![s.cast(y, dtype)?])
}

fn cast(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    match s.dtype_attribute("to")? {
        Some(to) => Ok(vec![s.cast(x, to)?]),
        None => invalid("attribute to is missing"),
    }
}

fn cast_like(s: &mut Site) -> Outputs {
    let (x, like) = (s.input(0)?, s.input(1)?);
    let to = s.dtype(like);
    Ok(vec![s.cast(x, to)?])
}

/// At inference the identity; the mask, when asked for, keeps everything.
fn dropout(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let training = match s.opset {
        12.. => s.known_int(2, "training_mode")?.unwrap_or(0) != 0,
        7.. => false,
        // Old exporters leave is_test at its default of 0 in models that are never trained.
        _ => false,
    };
    let ratio = match s.opset {
        12.. => s.known_float(1, "ratio")?.unwrap_or(0.5),
        _ => s.float("ratio", 0.5)?,
    };
    if training && ratio != 0.0 {
        return unsupported("dropout while training is random");
    }
    let mut outputs = vec![x];
    if s.wants(1) {
        let shape = s.shape(x);
        let dtype = if s.opset >= 10 { DType::Bool } else { s.dtype(x) };
        outputs.push(s.filled(dtype, &shape, 1.0)?);
    }
    Ok(outputs)
}
