//! Normalisations and softmax.

use super::super::promote;
use super::super::site::{Number, Outputs, Site, Stop, Words, axis_of, invalid, non_negative};
use super::{Row, row, wide};
use crate::ir::ValueId;
use crate::ops::{Float, Op, PointFn, PoolFn, ReduceFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row("softmax.int special_softmax.default", "self dim dtype=None", |s| along(s, |axis| Op::Softmax { axis })),
    row("log_softmax.int special_log_softmax.default", "self dim dtype=None", |s| {
        along(s, |axis| Op::LogSoftmax { axis })
    }),
    row("_softmax.default", "self dim half_to_float=False", |s| along(s, |axis| Op::Softmax { axis })),
    // A row of which everything is minus infinity gives zeros.
    row("_safe_softmax.default", "self dim dtype=None", |s| {
        let (x, y) = (s.tensor("self")?, along(s, |axis| Op::Softmax { axis })?[0]);
        let dtype = s.dtype(y);
        let (x, zero) = (s.cast(x, dtype)?, s.number(dtype, 0.0));
        if s.rank(x) == 0 || s.ty(x).is_empty() {
            return Ok(vec![y]);
        }
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let largest = s.reduce(ReduceFn::Max, x, &[axis], true)?;
        let nothing = s.with_number(PointFn::Eq, largest, f64::NEG_INFINITY)?;
        Ok(vec![s.select(nothing, zero, y)?])
    }),
    row("_log_softmax.default", "self dim half_to_float=False", |s| along(s, |axis| Op::LogSoftmax { axis })),
    row(
        "batch_norm.default",
        "input weight=None bias=None running_mean=None running_var=None training momentum eps cudnn_enabled=True",
        |s| {
            let (training, momentum) = (s.flag("training")?, s.float("momentum")?);
            batch_norm(s, training, momentum)
        },
    ),
    row(
        "instance_norm.default",
        "input weight=None bias=None running_mean=None running_var=None use_input_stats momentum eps cudnn_enabled=True",
        instance_norm,
    ),
    row("layer_norm.default", "input normalized_shape weight=None bias=None eps=1e-05 cudnn_enable=True", layer_norm),
    row("native_layer_norm.default", "input normalized_shape weight=None bias=None eps", |s| {
        let y = layer_norm(s)?[0];
        let x = s.tensor("input")?;
        let axis = s.rank(x) - s.ints("normalized_shape")?.len();
        let wide = s.cast(x, promote::computed(s.dtype(x)))?;
        let axes: Vec<usize> = (axis..s.rank(x)).collect();
        let (mean, var) = moments(s, wide, &axes)?;
        let eps = s.float("eps")?;
        let shifted = s.with_number(PointFn::Add, var, eps)?;
        let root = s.unary(PointFn::Rsqrt, shifted)?;
        // Statistics are as wide as the parameters.
        let stored = s.tensor_opt("weight")?.map_or(s.dtype(x), |weight| s.dtype(weight));
        Ok(vec![y, s.cast(mean, stored)?, s.cast(root, stored)?])
    }),
    row(
        "_native_batch_norm_legit_no_training.default",
        "input weight bias running_mean running_var momentum eps",
        |s| {
            let y = batch_norm(s, false, 0.0)?[0];
            // Nothing was measured.
            let x = s.tensor("input")?;
            let stored = s.tensor_opt("weight")?.map_or(s.dtype(x), |weight| s.dtype(weight));
            let empty = s.fresh(stored, &[0], Number::Int(0))?;
            Ok(vec![y, empty, empty])
        },
    ),
    row(
        "native_batch_norm.default _native_batch_norm_legit.default",
        "input weight bias running_mean running_var training momentum eps",
        native_batch_norm,
    ),
    row(
        "_native_batch_norm_legit_functional.default",
        "input weight bias running_mean running_var training momentum eps",
        |s| {
            // The new running statistics are results, and the old ones stay.
            s.replace_by_copy("running_mean")?;
            s.replace_by_copy("running_var")?;
            let mut results = native_batch_norm(s)?;
            results.extend([s.tensor("running_mean")?, s.tensor("running_var")?]);
            Ok(results)
        },
    ),
    row("_native_batch_norm_legit.no_stats", "input weight bias training momentum eps", native_batch_norm),
    row("native_group_norm.default", "input weight bias N C HxW group eps", |s| {
        let (x, sizes) = (s.tensor("input")?, non_negative(&[s.int("N")?, s.int("C")?, s.int("HxW")?], "a size")?);
        let groups = usize::try_from(s.int("group")?).ok().filter(|&groups| groups > 0 && sizes[1] % groups == 0);
        let Some(groups) = groups else { return invalid(format!("group does not divide {} channels", sizes[1])) };
        let (eps, own) = (s.float("eps")?, s.dtype(x));
        let y = grouped(s, x, groups, eps)?[0];
        let wide = s.cast(x, promote::computed(own))?;
        let row = sizes[1] / groups * sizes[2];
        let rows = s.reshape(wide, &[sizes[0], groups, row])?;
        let (mean, var) = moments(s, rows, &[2])?;
        let shifted = s.with_number(PointFn::Add, var, eps)?;
        let root = s.unary(PointFn::Rsqrt, shifted)?;
        let mut results = vec![y];
        for statistic in [mean, root] {
            let statistic = s.reshape(statistic, &[sizes[0], groups])?;
            results.push(s.cast(statistic, own)?);
        }
        Ok(results)
    }),
    row("rms_norm.default", "input normalized_shape weight=None eps=None", |s| {
        let x = s.tensor("input")?;
        let axis = tail(s, x)?;
        let dtype = s.dtype(x);
        // Left out, it is the distance from 1 to the next number.
        let eps = match s.numeral_opt("eps")? {
            Some(eps) => eps.as_f64(),
            None => match promote::computed(dtype) {
                DType::F64 => f64::EPSILON,
                _ => f64::from(f32::EPSILON),
            },
        };
        let mut operands = vec![x];
        operands.extend(s.tensor_opt("weight")?);
        wide_norm(s, Op::RmsNorm { axis, eps: Float::new(eps) }, &operands, dtype)
    }),
    row("group_norm.default", "input num_groups weight=None bias=None eps=1e-05 cudnn_enabled=True", |s| {
        let x = s.tensor("input")?;
        let c = channels(s, x)?;
        let groups = usize::try_from(s.int("num_groups")?).ok().filter(|&groups| groups > 0 && c % groups == 0);
        let Some(groups) = groups else { return invalid(format!("num_groups does not divide {c} channels")) };
        let eps = s.float("eps")?;
        grouped(s, x, groups, eps)
    }),
    wide("local_response_norm.default", "input size alpha=0.0001 beta=0.75 k=1.0", |s| {
        let x = s.tensor("input")?;
        let (shape, c) = (s.shape(x), channels(s, x)?);
        let size = usize::try_from(s.int("size")?).ok().filter(|&size| size > 0);
        let Some(size) = size else { return invalid("size is at least 1") };
        let (alpha, beta, k) = (s.float("alpha")?, s.float("beta")?, s.float("k")?);
        let squares = s.mul(x, x)?;
        let image = s.reshape(squares, &[shape[0], 1, c, shape[2..].iter().product()])?;
        let op = Op::Pool {
            function: PoolFn::Average { count_padding: true },
            kernel: vec![size, 1],
            strides: vec![1, 1],
            pads_begin: vec![size / 2, 0],
            pads_end: vec![(size - 1) / 2, 0],
            dilations: vec![1, 1],
        };
        let mean = s.one(op, &[image])?;
        let mean = s.reshape(mean, &shape)?;
        let scaled = s.with_number(PointFn::Mul, mean, alpha)?;
        let shifted = s.with_number(PointFn::Add, scaled, k)?;
        let power = s.with_number(PointFn::Pow, shifted, beta)?;
        Ok(vec![s.div(x, power)?])
    }),
];

fn along(s: &mut Site, op: fn(usize) -> Op) -> Outputs {
    let x = s.tensor("self")?;
    let own = s.dtype(x);
    let dtype = s.dtype_opt("dtype").unwrap_or(None).unwrap_or(own);
    if !dtype.is_float() {
        return invalid(format!("softmax of {dtype}"));
    }
    let x = s.cast(x, promote::computed(dtype))?;
    let y = match s.rank(x) {
        0 => {
            let column = s.unsqueeze(x, &[0])?;
            let y = s.one(op(0), &[column])?;
            s.squeeze(y, &[0])?
        }
        rank => {
            let axis = axis_of(s.int("dim")?, rank)?;
            s.one(op(axis), &[x])?
        }
    };
    Ok(vec![s.cast(y, dtype)?])
}

/// Channels of `[n, c, ..]`.
fn channels(s: &Site, x: ValueId) -> Result<usize, Stop> {
    s.shape(x).get(1).copied().ok_or_else(|| Stop::Invalid(format!("expected [n, c, ..], found {}", s.ty(x))))
}

/// Mean and mean squared distance over axes, which become 1.
fn moments(s: &mut Site, x: ValueId, axes: &[usize]) -> Result<(ValueId, ValueId), Stop> {
    let mean = s.reduce(ReduceFn::Mean, x, axes, true)?;
    let centred = s.sub(x, mean)?;
    let squares = s.mul(centred, centred)?;
    Ok((mean, s.reduce(ReduceFn::Mean, squares, axes, true)?))
}

/// A vector for each channel, or one number in its place.
fn per_channel(s: &mut Site, name: &str, count: usize, default: i64, dtype: DType) -> Result<ValueId, Stop> {
    match s.tensor_opt(name)? {
        Some(value) => s.cast(value, dtype),
        None => s.filled(dtype, &[count], default as f64),
    }
}

/// While training the statistics are those of the batch, and the running ones are written, which no annotation of the op
/// says: `running = (1 - momentum) * running + momentum * batch`, the variance over `n - 1`.
fn batch_norm(s: &mut Site, training: bool, momentum: f64) -> Outputs {
    let x = s.tensor("input")?;
    let (c, eps, own) = (channels(s, x)?, s.float("eps")?, s.dtype(x));
    let statistics = s.tensor_opt("running_mean")?.map_or(own, |mean| s.dtype(mean));
    // The op has one dtype; statistics in another are more precise, so they decide.
    let dtype = promote::computed(if own.size() < statistics.size() { statistics } else { own });
    let x = s.cast(x, dtype)?;
    let (scale, bias) = (per_channel(s, "weight", c, 1, dtype)?, per_channel(s, "bias", c, 0, dtype)?);
    let (mean, var) = if training {
        let axes: Vec<usize> = (0..s.rank(x)).filter(|&axis| axis != 1).collect();
        let count = s.ty(x).len().checked_div(c).unwrap_or(0);
        let (mean, var) = moments(s, x, &axes)?;
        let (mean, var) = (s.squeeze(mean, &axes)?, s.squeeze(var, &axes)?);
        let unbiased = s.with_number(PointFn::Mul, var, count as f64 / (count as f64 - 1.0))?;
        for (name, batch) in [("running_mean", mean), ("running_var", unbiased)] {
            if let Some(running) = s.tensor_opt(name)? {
                let old = s.with_number(PointFn::Mul, running, 1.0 - momentum)?;
                let new = s.with_number(PointFn::Mul, batch, momentum)?;
                let new = s.cast(new, s.dtype(running))?;
                let updated = s.add(old, new)?;
                s.write(running, updated)?;
            }
        }
        (mean, var)
    } else {
        (per_channel(s, "running_mean", c, 0, dtype)?, per_channel(s, "running_var", c, 1, dtype)?)
    };
    let y = s.one(Op::BatchNorm { eps: Float::new(eps) }, &[x, scale, bias, mean, var])?;
    let y = s.cast(y, own)?;
    let like = s.tensor("input")?;
    Ok(vec![s.settled(y, like)?])
}

/// The same with the statistics that were used: the mean and one over the root of the variance.
fn native_batch_norm(s: &mut Site) -> Outputs {
    let (training, momentum, eps) = (s.flag("training")?, s.float("momentum")?, s.float("eps")?);
    let x = s.tensor("input")?;
    let y = batch_norm(s, training, momentum)?[0];
    // Statistics are as wide as the parameters.
    let stored = s.tensor_opt("weight")?.map_or(s.dtype(x), |weight| s.dtype(weight));
    if !training {
        let empty = s.fresh(stored, &[0], Number::Int(0))?;
        return Ok(vec![y, empty, empty]);
    }
    let wide = s.cast(x, promote::computed(s.dtype(x)))?;
    let axes: Vec<usize> = (0..s.rank(x)).filter(|&axis| axis != 1).collect();
    let (mean, var) = moments(s, wide, &axes)?;
    let shifted = s.with_number(PointFn::Add, var, eps)?;
    let root = s.unary(PointFn::Rsqrt, shifted)?;
    let mut results = vec![y];
    for statistic in [mean, root] {
        let statistic = s.squeeze(statistic, &axes)?;
        results.push(s.cast(statistic, stored)?);
    }
    Ok(results)
}

/// Statistics for each sample and channel; running ones are the mean over samples.
fn instance_norm(s: &mut Site) -> Outputs {
    let x = s.tensor("input")?;
    if !s.flag("use_input_stats")? {
        return batch_norm(s, false, 0.0);
    }
    let (c, eps, momentum) = (channels(s, x)?, s.float("eps")?, s.float("momentum")?);
    if s.has("running_mean") || s.has("running_var") {
        let axes: Vec<usize> = (2..s.rank(x)).collect();
        let count: usize = s.shape(x)[2..].iter().product();
        let wide = s.cast(x, promote::computed(s.dtype(x)))?;
        let (mean, var) = moments(s, wide, &axes)?;
        let unbiased = s.with_number(PointFn::Mul, var, count as f64 / (count as f64 - 1.0))?;
        for (name, each) in [("running_mean", mean), ("running_var", unbiased)] {
            if let Some(running) = s.tensor_opt(name)? {
                let matrix = s.squeeze(each, &axes)?;
                let batch = s.reduce(ReduceFn::Mean, matrix, &[0], false)?;
                let old = s.with_number(PointFn::Mul, running, 1.0 - momentum)?;
                let new = s.with_number(PointFn::Mul, batch, momentum)?;
                let new = s.cast(new, s.dtype(running))?;
                let updated = s.add(old, new)?;
                s.write(running, updated)?;
            }
        }
    }
    grouped(s, x, c, eps)
}

fn grouped(s: &mut Site, x: ValueId, groups: usize, eps: f64) -> Outputs {
    let (c, own) = (channels(s, x)?, s.dtype(x));
    let dtype = promote::computed(own);
    let x = s.cast(x, dtype)?;
    let (scale, bias) = (per_channel(s, "weight", c, 1, dtype)?, per_channel(s, "bias", c, 0, dtype)?);
    let y = s.one(Op::GroupNorm { groups, eps: Float::new(eps) }, &[x, scale, bias])?;
    Ok(vec![s.cast(y, own)?])
}

/// The first axis of `normalized_shape`, which names the last axes.
fn tail(s: &Site, x: ValueId) -> Result<usize, Stop> {
    let (shape, named) = (s.shape(x), s.sizes("normalized_shape")?);
    match shape.len().checked_sub(named.len()) {
        Some(axis) if shape[axis..] == named && !named.is_empty() => Ok(axis),
        _ => invalid(format!("normalized_shape {named:?} of {}", s.ty(x))),
    }
}

fn layer_norm(s: &mut Site) -> Outputs {
    let x = s.tensor("input")?;
    let (axis, eps, dtype) = (tail(s, x)?, s.float("eps")?, s.dtype(x));
    let mut operands = vec![x];
    match (s.tensor_opt("weight")?, s.tensor_opt("bias")?) {
        (None, None) => {}
        (Some(weight), bias) => {
            operands.push(weight);
            operands.extend(bias);
        }
        (None, Some(bias)) => {
            let shape = s.shape(bias);
            let one = s.scalar(Number::Int(1), s.dtype(bias));
            operands.extend([s.expand(one, &shape)?, bias]);
        }
    }
    wide_norm(s, Op::LayerNorm { axis, eps: Float::new(eps) }, &operands, dtype)
}

/// A norm of halves is computed in `f32`.
fn wide_norm(s: &mut Site, op: Op, operands: &[ValueId], dtype: DType) -> Outputs {
    let wide = promote::computed(dtype);
    let operands = operands.iter().map(|&operand| s.cast(operand, wide)).collect::<Result<Vec<_>, _>>()?;
    let y = s.one(op, &operands)?;
    Ok(vec![s.cast(y, dtype)?])
}
