//! Activations, by the formulas of `torch.nn.functional`.

use super::super::site::{Number, Outputs, Site, Stop, Words, axis_of, invalid, unsupported};
use super::unary::{expm1, float, floating};
use super::{Row, row, wide};
use crate::ir::ValueId;
use crate::ops::PointFn;

pub const ROWS: &[Row] = &[
    row("relu.default", "self", |s| {
        let x = s.tensor("self")?;
        Ok(vec![s.unary(PointFn::Relu, x)?])
    }),
    row("relu6.default", "self", |s| {
        let x = s.tensor("self")?;
        between(s, x, Number::Int(0), Number::Int(6))
    }),
    row("sigmoid.default special_expit.default", "self", |s| float(s, PointFn::Sigmoid)),
    row("silu.default", "self", |s| float(s, PointFn::Silu)),
    row("gelu.default", "self approximate='none'", |s| match s.text("approximate")? {
        "none" => float(s, PointFn::Gelu),
        "tanh" => float(s, PointFn::GeluTanh),
        other => invalid(format!("argument approximate is {other:?}, expected none or tanh")),
    }),
    row("mish.default", "self", |s| float(s, PointFn::Mish)),
    row("hardswish.default", "self", |s| float(s, PointFn::HardSwish)),
    wide("hardsigmoid.default", "self", |s| {
        let x = floating(s)?;
        let sixth = s.with_number(PointFn::Mul, x, 1.0 / 6.0)?;
        let line = s.with_number(PointFn::Add, sixth, 0.5)?;
        between(s, line, Number::Int(0), Number::Int(1))
    }),
    row("hardtanh.default", "self min_val=-1 max_val=1", |s| {
        let x = s.tensor("self")?;
        let (low, high) = (s.numeral("min_val")?, s.numeral("max_val")?);
        between(s, x, low, high)
    }),
    wide("leaky_relu.default", "self negative_slope=0.01", |s| {
        let x = floating(s)?;
        let slope = s.float("negative_slope")?;
        let negative = s.with_number(PointFn::Mul, x, slope)?;
        where_positive(s, x, x, negative)
    }),
    wide("rrelu.default", "self lower=0.125 upper=0.3333333333333333 training=False generator=None", |s| {
        if s.flag("training")? {
            return unsupported("random slopes while training");
        }
        let x = floating(s)?;
        let slope = (s.float("lower")? + s.float("upper")?) / 2.0;
        let negative = s.with_number(PointFn::Mul, x, slope)?;
        where_positive(s, x, x, negative)
    }),
    wide("prelu.default", "self weight", |s| {
        let (x, weight) = (s.tensor("self")?, s.tensor("weight")?);
        let rank = s.rank(x);
        let slope = if s.ty(weight).len() == 1 {
            s.reshape(weight, &vec![1; rank])?
        } else {
            if rank < 2 {
                return invalid("a slope for each channel, and no channels");
            }
            s.along_axis(weight, 1, rank)?
        };
        let negative = s.mul(x, slope)?;
        where_positive(s, x, x, negative)
    }),
    wide("elu.default", "self alpha=1 scale=1 input_scale=1", |s| {
        let x = floating(s)?;
        let (alpha, scale, inner) = (s.float("alpha")?, s.float("scale")?, s.float("input_scale")?);
        let curve = curved(s, x, alpha, inner)?;
        let y = where_positive(s, x, x, curve)?[0];
        times(s, y, scale)
    }),
    wide("selu.default", "self", |s| {
        let x = floating(s)?;
        let curve = curved(s, x, 1.673_263_242_354_377_2, 1.0)?;
        let y = where_positive(s, x, x, curve)?[0];
        times(s, y, 1.050_700_987_355_480_5)
    }),
    wide("celu.default", "self alpha=1.0", |s| {
        let (x, alpha) = (floating(s)?, s.float("alpha")?);
        let curve = curved(s, x, alpha, 1.0 / alpha)?;
        where_positive(s, x, x, curve)
    }),
    wide("softplus.default", "self beta=1 threshold=20", |s| {
        let x = floating(s)?;
        let (beta, threshold) = (s.float("beta")?, s.float("threshold")?);
        let inner = times(s, x, beta)?[0];
        let soft = s.unary(PointFn::Softplus, inner)?;
        let soft = if beta == 1.0 { soft } else { s.with_number(PointFn::Div, soft, beta)? };
        let linear = s.with_number(PointFn::Gt, inner, threshold)?;
        Ok(vec![s.select(linear, x, soft)?])
    }),
    wide("log_sigmoid.default", "self", |s| {
        let x = floating(s)?;
        let negative = s.unary(PointFn::Neg, x)?;
        let soft = s.unary(PointFn::Softplus, negative)?;
        Ok(vec![s.unary(PointFn::Neg, soft)?])
    }),
    row("threshold.default", "self threshold value", |s| {
        let x = s.tensor("self")?;
        let dtype = s.dtype(x);
        let (threshold, value) = (s.operand("threshold", dtype)?, s.operand("value", dtype)?);
        // Written so that NaN stays.
        let below = s.binary(PointFn::Le, x, threshold)?;
        Ok(vec![s.select(below, value, x)?])
    }),
    wide("hardshrink.default", "self lambd=0.5", |s| {
        let (x, lambda) = (floating(s)?, s.float("lambd")?);
        let (low, high) = (s.with_number(PointFn::Ge, x, -lambda)?, s.with_number(PointFn::Le, x, lambda)?);
        let (inside, zero) = (s.binary(PointFn::And, low, high)?, s.scalar(Number::Int(0), s.dtype(x)));
        Ok(vec![s.select(inside, zero, x)?])
    }),
    wide("softshrink.default", "self lambd=0.5", |s| {
        let (x, lambda) = (floating(s)?, s.float("lambd")?);
        let (low, high) = (s.with_number(PointFn::Lt, x, -lambda)?, s.with_number(PointFn::Gt, x, lambda)?);
        let (up, down) = (s.with_number(PointFn::Add, x, lambda)?, s.with_number(PointFn::Sub, x, lambda)?);
        // Multiplied by zero inside, so that NaN stays.
        let nothing = s.with_number(PointFn::Mul, x, 0.0)?;
        let right = s.select(high, down, nothing)?;
        Ok(vec![s.select(low, up, right)?])
    }),
    wide("glu.default", "self dim=-1", |s| {
        let x = s.tensor("self")?;
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let extent = s.shape(x)[axis];
        if extent % 2 != 0 {
            return invalid(format!("an axis of {extent} has no halves"));
        }
        let (value, gate) = (s.slice(x, axis, 0, extent / 2)?, s.slice(x, axis, extent / 2, extent)?);
        let gate = s.unary(PointFn::Sigmoid, gate)?;
        Ok(vec![s.mul(value, gate)?])
    }),
];

/// `positive` where the operand is above zero, else `otherwise`.
fn where_positive(s: &mut Site, x: ValueId, positive: ValueId, otherwise: ValueId) -> Outputs {
    let condition = s.with_number(PointFn::Gt, x, 0.0)?;
    Ok(vec![s.select(condition, positive, otherwise)?])
}

fn times(s: &mut Site, x: ValueId, by: f64) -> Outputs {
    Ok(vec![if by == 1.0 { x } else { s.with_number(PointFn::Mul, x, by)? }])
}

/// `alpha * (exp(inner * x) - 1)`.
fn curved(s: &mut Site, x: ValueId, alpha: f64, inner: f64) -> Result<ValueId, Stop> {
    let x = times(s, x, inner)?[0];
    let below = expm1(s, x)?;
    Ok(times(s, below, alpha)?[0])
}

fn between(s: &mut Site, x: ValueId, low: Number, high: Number) -> Outputs {
    let dtype = s.dtype(x);
    let (low, high) = (s.scalar(low, dtype), s.scalar(high, dtype));
    let least = s.binary(PointFn::Max, x, low)?;
    Ok(vec![s.binary(PointFn::Min, least, high)?])
}
