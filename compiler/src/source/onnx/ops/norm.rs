//! Normalisations and softmax.

use super::super::site::{Outputs, Site, Stop, Words, axes_of, axis_of, invalid, unsupported};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Float, Op, PointFn, PoolFn, ReduceFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row_of("Softmax", 1, |s| coerced(s, softmax_of)),
    row_of("Softmax", 13, |s| along(s, softmax_of)),
    row_of("LogSoftmax", 1, |s| coerced(s, log_softmax_of)),
    row_of("LogSoftmax", 13, |s| along(s, log_softmax_of)),
    row_of("Hardmax", 1, |s| coerced(s, hardmax_of)),
    row_of("Hardmax", 13, |s| along(s, hardmax_of)),
    row_of("BatchNormalization", 1, batch_norm),
    row_of("LayerNormalization", 17, layer_norm),
    row_of("RMSNormalization", 23, rms_norm),
    row_of("GroupNormalization", 18, group_norm),
    row_of("InstanceNormalization", 1, instance_norm),
    row_of("MeanVarianceNormalization", 9, mean_variance_norm),
    row_of("LpNormalization", 1, lp_norm),
    row_of("LRN", 1, local_response_norm),
];

type RowFunction = fn(&mut Site<'_, '_>, ValueId, usize) -> Result<ValueId, Stop>;

fn softmax_of(s: &mut Site, x: ValueId, axis: usize) -> Result<ValueId, Stop> {
    s.one(Op::Softmax { axis }, &[x])
}

fn log_softmax_of(s: &mut Site, x: ValueId, axis: usize) -> Result<ValueId, Stop> {
    s.one(Op::LogSoftmax { axis }, &[x])
}

/// One at the first largest element, zero elsewhere.
fn hardmax_of(s: &mut Site, x: ValueId, axis: usize) -> Result<ValueId, Stop> {
    let ty = s.ty(x);
    let best = s.one(Op::ArgReduce { largest: true, axis, keepdim: true, last: false }, &[x])?;
    let positions = s.iota(DType::I64, ty.shape[axis], axis, ty.rank())?;
    let hit = s.binary(PointFn::Eq, positions, best)?;
    s.cast(hit, ty.dtype)
}

fn along(s: &mut Site, function: RowFunction) -> Outputs {
    let x = s.input(0)?;
    let axis = axis_of(s.int("axis", -1)?, s.rank(x))?;
    Ok(vec![function(s, x, axis)?])
}

/// Before opset 13 the operand counts as a matrix whose rows begin at an axis.
fn coerced(s: &mut Site, function: RowFunction) -> Outputs {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let axis = axis_of(s.int("axis", 1)?, shape.len())?;
    if axis + 1 == shape.len() {
        return Ok(vec![function(s, x, axis)?]);
    }
    let matrix = [shape[..axis].iter().product(), shape[axis..].iter().product()];
    let rows = s.reshape(x, &matrix)?;
    let y = function(s, rows, 1)?;
    Ok(vec![s.reshape(y, &shape)?])
}

fn batch_norm(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let (scale, bias, mean, var) = (s.input(1)?, s.input(2)?, s.input(3)?, s.input(4)?);
    let eps = s.float("epsilon", 1e-5)?;
    if s.opset < 9 && !s.flag("spatial", true)? {
        return unsupported("statistics for each element (spatial = 0)");
    }
    let training = s.opset >= 14 && s.flag("training_mode", false)?;
    let dtype = s.dtype(x);
    let statistics = s.dtype(mean);
    if !training {
        // The op has one dtype; statistics in another are more precise, so they decide.
        let wide = if dtype.size() < statistics.size() { statistics } else { dtype };
        let mut operands = Vec::with_capacity(5);
        for operand in [x, scale, bias, mean, var] {
            operands.push(s.cast(operand, wide)?);
        }
        let y = s.one(Op::BatchNorm { eps: Float::new(eps) }, &operands)?;
        return Ok(vec![s.cast(y, dtype)?]);
    }
    let axes: Vec<usize> = (0..s.rank(x)).filter(|&axis| axis != 1).collect();
    if s.rank(x) < 2 {
        return invalid(format!("expected [n, c, ..], found {}", s.ty(x)));
    }
    let momentum = s.float("momentum", 0.9)?;
    let (batch_mean, batch_var) = moments(s, x, &axes, false)?;
    let mut operands = vec![x];
    for operand in [scale, bias, batch_mean, batch_var] {
        operands.push(s.cast(operand, dtype)?);
    }
    let mut outputs = vec![s.one(Op::BatchNorm { eps: Float::new(eps) }, &operands)?];
    for (running, batch) in [(mean, batch_mean), (var, batch_var)] {
        let batch = s.cast(batch, statistics)?;
        let old = s.with_number(PointFn::Mul, running, momentum)?;
        let new = s.with_number(PointFn::Mul, batch, 1.0 - momentum)?;
        outputs.push(s.add(old, new)?);
    }
    Ok(outputs)
}

/// Mean and biased variance over axes.
fn moments(s: &mut Site, x: ValueId, axes: &[usize], keepdim: bool) -> Result<(ValueId, ValueId), Stop> {
    let kept = s.reduce(ReduceFn::Mean, x, axes, true)?;
    let centred = s.sub(x, kept)?;
    let squares = s.mul(centred, centred)?;
    let var = s.reduce(ReduceFn::Mean, squares, axes, keepdim)?;
    let mean = if keepdim { kept } else { s.squeeze(kept, axes)? };
    Ok((mean, var))
}

/// Scale and bias of a norm over the axes from `axis` on: they broadcast from the right, and leading ones fall away.
fn over_tail(s: &mut Site, x: ValueId, operand: ValueId, axis: usize) -> Result<ValueId, Stop> {
    let (rank, shape) = (s.rank(x), s.shape(operand));
    let extra = shape.len().saturating_sub(rank - axis);
    if shape[..extra].iter().any(|&extent| extent != 1) {
        return unsupported(format!("a scale {} of a norm from axis {axis}", s.ty(operand)));
    }
    s.reshape(operand, &shape[extra..])
}

fn layer_norm(s: &mut Site) -> Outputs {
    let (x, scale) = (s.input(0)?, s.input(1)?);
    let axis = axis_of(s.int("axis", -1)?, s.rank(x))?;
    let eps = s.float("epsilon", 1e-5)?;
    let mut operands = vec![x, over_tail(s, x, scale, axis)?];
    if let Some(bias) = s.optional(2) {
        operands.push(over_tail(s, x, bias, axis)?);
    }
    let mut outputs = vec![s.one(Op::LayerNorm { axis, eps: Float::new(eps) }, &operands)?];
    if s.wants(1) || s.wants(2) {
        let stash = s.int("stash_type", 1)?;
        let wide = s.cast(x, super::super::tensor::dtype(stash)?)?;
        let axes: Vec<usize> = (axis..s.rank(x)).collect();
        let (mean, var) = moments(s, wide, &axes, true)?;
        let shifted = s.with_number(PointFn::Add, var, eps)?;
        let deviation = s.unary(PointFn::Sqrt, shifted)?;
        outputs.push(mean);
        outputs.push(s.unary(PointFn::Reciprocal, deviation)?);
    }
    Ok(outputs)
}

fn rms_norm(s: &mut Site) -> Outputs {
    let (x, scale) = (s.input(0)?, s.input(1)?);
    let axis = axis_of(s.int("axis", -1)?, s.rank(x))?;
    let eps = Float::new(s.float("epsilon", 1e-5)?);
    let dtype = s.dtype(x);
    // A scale of another dtype multiplies after the norm.
    if s.dtype(scale) != dtype {
        let y = s.one(Op::RmsNorm { axis, eps }, &[x])?;
        let to = s.dtype(scale);
        let y = s.cast(y, to)?;
        return Ok(vec![s.mul(y, scale)?]);
    }
    let scale = over_tail(s, x, scale, axis)?;
    Ok(vec![s.one(Op::RmsNorm { axis, eps }, &[x, scale])?])
}

fn channels(s: &Site, x: ValueId) -> Result<usize, Stop> {
    s.shape(x).get(1).copied().ok_or_else(|| Stop::Invalid(format!("expected [n, c, ..], found {}", s.ty(x))))
}

fn group_norm(s: &mut Site) -> Outputs {
    let (x, mut scale, mut bias) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let c = channels(s, x)?;
    let groups = usize::try_from(s.int("num_groups", 1)?).ok().filter(|&groups| groups > 0 && c % groups == 0);
    let Some(groups) = groups else { return invalid(format!("num_groups does not divide {c} channels")) };
    let eps = Float::new(s.float("epsilon", 1e-5)?);
    // Before opset 21 scale and bias belong to the groups.
    if s.opset < 21 && groups != c {
        for operand in [&mut scale, &mut bias] {
            let column = s.reshape(*operand, &[groups, 1])?;
            let wide = s.expand(column, &[groups, c / groups])?;
            *operand = s.reshape(wide, &[c])?;
        }
    }
    Ok(vec![s.one(Op::GroupNorm { groups, eps }, &[x, scale, bias])?])
}

fn instance_norm(s: &mut Site) -> Outputs {
    let (x, scale, bias) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let eps = Float::new(s.float("epsilon", 1e-5)?);
    let groups = channels(s, x)?;
    Ok(vec![s.one(Op::GroupNorm { groups, eps }, &[x, scale, bias])?])
}

fn mean_variance_norm(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let axes = axes_of(&s.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]), s.rank(x))?;
    let mean = s.reduce(ReduceFn::Mean, x, &axes, true)?;
    let centred = s.sub(x, mean)?;
    let squares = s.mul(centred, centred)?;
    let var = s.reduce(ReduceFn::Mean, squares, &axes, true)?;
    let deviation = s.unary(PointFn::Sqrt, var)?;
    let shifted = s.with_number(PointFn::Add, deviation, 1e-9)?;
    Ok(vec![s.div(centred, shifted)?])
}

fn lp_norm(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let axis = axis_of(s.int("axis", -1)?, s.rank(x))?;
    let norm = match s.int("p", 2)? {
        1 => {
            let magnitude = s.unary(PointFn::Abs, x)?;
            s.reduce(ReduceFn::Sum, magnitude, &[axis], true)?
        }
        2 => {
            let squares = s.mul(x, x)?;
            let sum = s.reduce(ReduceFn::Sum, squares, &[axis], true)?;
            s.unary(PointFn::Sqrt, sum)?
        }
        p => return invalid(format!("p is 1 or 2, found {p}")),
    };
    // A row of zeros stays one.
    let zero = s.with_number(PointFn::Eq, norm, 0.0)?;
    let one = s.number(s.dtype(x), 1.0);
    let divisor = s.select(zero, one, norm)?;
    Ok(vec![s.div(x, divisor)?])
}

/// `x / (bias + alpha * mean of squares over a window of channels) ^ beta`; ONNX divides alpha by the window's size, so the
/// sum it means is a mean in which padding counts.
fn local_response_norm(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let c = channels(s, x)?;
    let (alpha, beta, bias) = (s.float("alpha", 1e-4)?, s.float("beta", 0.75)?, s.float("bias", 1.0)?);
    let size = usize::try_from(s.int("size", 0)?).ok().filter(|&size| size > 0);
    let Some(size) = size else { return invalid("size is at least 1") };
    let squares = s.mul(x, x)?;
    let image = s.reshape(squares, &[shape[0], 1, c, shape[2..].iter().product()])?;
    let before = (size - 1) / 2;
    let op = Op::Pool {
        function: PoolFn::Average { count_padding: true },
        kernel: vec![size, 1],
        strides: vec![1, 1],
        pads_begin: vec![before, 0],
        pads_end: vec![size - 1 - before, 0],
        dilations: vec![1, 1],
    };
    let mean = s.one(op, &[image])?;
    let mean = s.reshape(mean, &shape)?;
    let scaled = s.with_number(PointFn::Mul, mean, alpha)?;
    let shifted = s.with_number(PointFn::Add, scaled, bias)?;
    let power = s.with_number(PointFn::Pow, shifted, beta)?;
    Ok(vec![s.div(x, power)?])
}
