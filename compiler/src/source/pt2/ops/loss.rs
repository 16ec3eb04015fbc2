//! Losses, by the formulas of `torch.nn.functional`. Halves are computed in `f32` up to the end.

use super::super::promote;
use super::super::site::{Outputs, Site, Stop, Words, invalid};
use super::reduce::p_norm;
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ReduceFn};
use crate::source::loss::{Reduction, negative_log_likelihood};
use crate::types::DType;

const LIKELIHOOD: &str = "self target weight=None reduction=1 ignore_index=-100";

pub const ROWS: &[Row] = &[
    row("nll_loss.default nll_loss_nd.default nll_loss2d.default", LIKELIHOOD, |s| Ok(vec![likelihood(s)?[0]])),
    row("nll_loss_forward.default nll_loss2d_forward.default", LIKELIHOOD, likelihood),
    row(
        "cross_entropy_loss.default",
        "self target weight=None reduction=1 ignore_index=-100 label_smoothing=0.0",
        cross_entropy,
    ),
    row("mse_loss.default", "self target reduction=1", |s| {
        compared(s, |s, x, y| {
            let distance = s.sub(x, y)?;
            s.mul(distance, distance)
        })
    }),
    row("l1_loss.default", "self target reduction=1", |s| compared(s, distance)),
    row("smooth_l1_loss.default", "self target reduction=1 beta=1.0", |s| {
        let beta = s.float("beta")?;
        compared(s, |s, x, y| {
            let far = distance(s, x, y)?;
            if beta == 0.0 {
                return Ok(far);
            }
            let square = s.mul(far, far)?;
            let half = s.with_number(PointFn::Mul, square, 0.5)?;
            let (near, less) =
                (s.with_number(PointFn::Div, half, beta)?, s.with_number(PointFn::Sub, far, 0.5 * beta)?);
            let within = s.with_number(PointFn::Lt, far, beta)?;
            s.select(within, near, less)
        })
    }),
    row("huber_loss.default", "self target reduction=1 delta=1.0", |s| {
        let delta = s.float("delta")?;
        compared(s, |s, x, y| {
            let far = distance(s, x, y)?;
            let square = s.mul(far, far)?;
            let near = s.with_number(PointFn::Mul, square, 0.5)?;
            let less = s.with_number(PointFn::Sub, far, 0.5 * delta)?;
            let line = s.with_number(PointFn::Mul, less, delta)?;
            let within = s.with_number(PointFn::Le, far, delta)?;
            s.select(within, near, line)
        })
    }),
    row("kl_div.default", "self target reduction=1 log_target=False", |s| {
        let logs = s.flag("log_target")?;
        compared(s, |s, x, y| {
            if logs {
                let (distance, p) = (s.sub(y, x)?, s.unary(PointFn::Exp, y)?);
                return s.mul(p, distance);
            }
            let log = s.unary(PointFn::Log, y)?;
            let (entropy, cross) = (s.mul(y, log)?, s.mul(y, x)?);
            // Nothing times the logarithm of nothing is nothing.
            let (none, zero) = (s.with_number(PointFn::Eq, y, 0.0)?, s.number(s.dtype(y), 0.0));
            let entropy = s.select(none, zero, entropy)?;
            s.sub(entropy, cross)
        })
    }),
    row("binary_cross_entropy.default", "self target weight=None reduction=1", |s| {
        let weight = s.tensor_opt("weight")?;
        compared(s, |s, x, y| {
            let negative = s.unary(PointFn::Neg, x)?;
            // Logarithms stop at -100, so that a certain mistake costs a finite number.
            let log = s.unary(PointFn::Log, x)?;
            let hit = s.with_number(PointFn::Max, log, -100.0)?;
            let log = s.unary(PointFn::Log1p, negative)?;
            let miss = s.with_number(PointFn::Max, log, -100.0)?;
            let rest = s.with_number(PointFn::Sub, y, 1.0)?;
            let (miss, hit) = (s.mul(rest, miss)?, s.mul(y, hit)?);
            let loss = s.sub(miss, hit)?;
            weighted(s, loss, weight)
        })
    }),
    row("binary_cross_entropy_with_logits.default", "self target weight=None pos_weight=None reduction=1", |s| {
        let (weight, positive) = (s.tensor_opt("weight")?, s.tensor_opt("pos_weight")?);
        compared(s, |s, x, y| {
            let (negative, one) = (s.unary(PointFn::Neg, x)?, s.number(s.dtype(y), 1.0));
            let mut soft = s.unary(PointFn::Softplus, negative)?;
            if let Some(positive) = positive {
                let positive = s.cast(positive, s.dtype(x))?;
                let above = s.with_number(PointFn::Sub, positive, 1.0)?;
                let part = s.mul(above, y)?;
                let factor = s.with_number(PointFn::Add, part, 1.0)?;
                soft = s.mul(factor, soft)?;
            }
            let rest = s.sub(one, y)?;
            let linear = s.mul(rest, x)?;
            let loss = s.add(linear, soft)?;
            weighted(s, loss, weight)
        })
    }),
    row("soft_margin_loss.default", "self target reduction=1", |s| {
        compared(s, |s, x, y| {
            let negative = s.unary(PointFn::Neg, y)?;
            let inner = s.mul(negative, x)?;
            let power = s.unary(PointFn::Exp, inner)?;
            s.unary(PointFn::Log1p, power)
        })
    }),
    row("hinge_embedding_loss.default", "self target margin=1.0 reduction=1", |s| {
        let margin = s.float("margin")?;
        compared(s, |s, x, y| {
            let zero = s.number(s.dtype(x), 0.0);
            let margin = s.number(s.dtype(x), margin);
            let rest = s.sub(margin, x)?;
            let rest = s.binary(PointFn::Max, rest, zero)?;
            let (unlike, like) = (s.with_number(PointFn::Ne, y, 1.0)?, s.with_number(PointFn::Ne, y, -1.0)?);
            let (a, b) = (s.select(unlike, rest, zero)?, s.select(like, x, zero)?);
            s.add(a, b)
        })
    }),
    row("margin_ranking_loss.default", "input1 input2 target margin=0.0 reduction=1", |s| {
        let ([a, b, y], own) = widened(s, ["input1", "input2", "target"])?;
        let (distance, negative) = (s.sub(a, b)?, s.unary(PointFn::Neg, y)?);
        let product = s.mul(negative, distance)?;
        let margin = s.float("margin")?;
        let above = s.with_number(PointFn::Add, product, margin)?;
        let loss = s.with_number(PointFn::Max, above, 0.0)?;
        finished(s, loss, own)
    }),
    row("cosine_embedding_loss.default", "input1 input2 target margin=0.0 reduction=1", |s| {
        let ([a, b, y], own) = widened(s, ["input1", "input2", "target"])?;
        let (margin, axis) = (s.float("margin")?, s.rank(y).min(1));
        let (ab, aa, bb) = (s.mul(a, b)?, s.mul(a, a)?, s.mul(b, b)?);
        let ab = s.reduce(ReduceFn::Sum, ab, &[axis], false)?;
        let mut lengths = Vec::with_capacity(2);
        for square in [aa, bb] {
            let sum = s.reduce(ReduceFn::Sum, square, &[axis], false)?;
            lengths.push(s.with_number(PointFn::Add, sum, 1e-12)?);
        }
        let product = s.mul(lengths[0], lengths[1])?;
        let length = s.unary(PointFn::Sqrt, product)?;
        let (cosine, one, zero) = (s.div(ab, length)?, s.number(s.dtype(a), 1.0), s.number(s.dtype(a), 0.0));
        let (like, above) = (s.sub(one, cosine)?, s.with_number(PointFn::Sub, cosine, margin)?);
        let unlike = s.binary(PointFn::Max, above, zero)?;
        let (same, other) = (s.with_number(PointFn::Eq, y, 1.0)?, s.with_number(PointFn::Eq, y, -1.0)?);
        let (like, unlike) = (s.select(same, like, zero)?, s.select(other, unlike, zero)?);
        let loss = s.add(like, unlike)?;
        finished(s, loss, own)
    }),
    row(
        "triplet_margin_loss.default",
        "anchor positive negative margin=1.0 p=2.0 eps=1e-06 swap=False reduction=1",
        |s| {
            let names = ["anchor", "positive", "negative"];
            let own = s.promoted(&names)?;
            // Differences of integers wrap, as they do there.
            let wide = promote::computed(own);
            let [anchor, positive, negative] = names.map(|name| s.operand(name, wide));
            let (anchor, positive, negative) = (anchor?, positive?, negative?);
            let own = if own.is_float() { own } else { DType::F32 };
            let (p, eps) = (s.float("p")?, s.float("eps")?);
            let near = between(s, anchor, positive, p, eps, false)?;
            let mut far = between(s, anchor, negative, p, eps, false)?;
            if s.flag("swap")? {
                let other = between(s, positive, negative, p, eps, false)?;
                far = s.binary(PointFn::Min, far, other)?;
            }
            let margin = s.float("margin")?;
            let above = s.with_number(PointFn::Add, near, margin)?;
            let above = s.sub(above, far)?;
            let loss = s.with_number(PointFn::Max, above, 0.0)?;
            finished(s, loss, own)
        },
    ),
    row("poisson_nll_loss.default", "self|input target log_input full eps reduction", |s| {
        let (logs, full, eps) = (s.flag("log_input")?, s.flag("full")?, s.float("eps")?);
        compared(s, |s, x, y| {
            let loss = if logs {
                let (rate, part) = (s.unary(PointFn::Exp, x)?, s.mul(y, x)?);
                s.sub(rate, part)?
            } else {
                let above = s.with_number(PointFn::Add, x, eps)?;
                let log = s.unary(PointFn::Log, above)?;
                let part = s.mul(y, log)?;
                s.sub(x, part)?
            };
            if !full {
                return Ok(loss);
            }
            // Stirling's formula for the logarithm of the factorial.
            let log = s.unary(PointFn::Log, y)?;
            let product = s.mul(y, log)?;
            let body = s.sub(product, y)?;
            let turn = s.with_number(PointFn::Mul, y, 2.0 * std::f64::consts::PI)?;
            let turn = s.unary(PointFn::Log, turn)?;
            let half = s.with_number(PointFn::Mul, turn, 0.5)?;
            let stirling = s.add(body, half)?;
            let (small, zero) = (s.with_number(PointFn::Le, y, 1.0)?, s.number(s.dtype(y), 0.0));
            let stirling = s.select(small, zero, stirling)?;
            s.add(loss, stirling)
        })
    }),
    row("multi_margin_loss.default", "self target p=1 margin=1 weight=None reduction=1", multi_margin),
    row("pairwise_distance.default", "x1 x2 p=2.0 eps=1e-06 keepdim=False", |s| {
        let dtype = s.promoted(&["x1", "x2"])?;
        let to = if dtype.is_float() { dtype } else { DType::F32 };
        let wide = promote::computed(dtype);
        let (a, b) = (s.operand("x1", wide)?, s.operand("x2", wide)?);
        let (p, eps, keep) = (s.float("p")?, s.float("eps")?, s.flag("keepdim")?);
        let y = between(s, a, b, p, eps, keep)?;
        Ok(vec![s.cast(y, to)?])
    }),
    row("cdist.default _cdist_forward.default", "x1 x2 p=2.0 compute_mode=None", |s| {
        let p = s.float("p")?;
        distances(s, p)
    }),
    row("_euclidean_dist.default", "x1 x2", |s| distances(s, 2.0)),
    row("pdist.default _pdist_forward.default", "self p=2.0", |s| {
        let (x, p) = (s.tensor("self")?, s.float("p")?);
        let &[rows, _] = s.shape(x).as_slice() else { return invalid(format!("expected rows, found {}", s.ty(x))) };
        if rows > 1 << 11 {
            return super::super::site::unsupported(format!("distances between pairs of {rows} rows"));
        }
        let pairs: Vec<(i64, i64)> = (0..rows as i64).flat_map(|i| (i + 1..rows as i64).map(move |j| (i, j))).collect();
        let (front, back): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
        let (front, back) = (s.int_constant(&[front.len()], &front)?, s.int_constant(&[back.len()], &back)?);
        let (a, b) = (s.one(Op::Gather { axis: 0 }, &[x, front])?, s.one(Op::Gather { axis: 0 }, &[x, back])?);
        let far = s.sub(a, b)?;
        Ok(vec![p_norm(s, far, p, &[1], false)?])
    }),
];

/// The arguments in the dtype in which losses are computed, and that of the result.
fn widened<const N: usize>(s: &mut Site, names: [&str; N]) -> Result<([ValueId; N], DType), Stop> {
    let own = s.promoted(&names)?;
    let own = if own.is_float() { own } else { DType::F32 };
    let mut values = Vec::with_capacity(N);
    for name in names {
        values.push(s.operand(name, promote::computed(own))?);
    }
    let Ok(values) = values.try_into() else { return invalid("arguments are missing") };
    Ok((values, own))
}

/// A loss of each element against its target.
fn compared(s: &mut Site, loss: impl FnOnce(&mut Site, ValueId, ValueId) -> Result<ValueId, Stop>) -> Outputs {
    let ([x, y], own) = widened(s, ["self", "target"])?;
    let loss = loss(s, x, y)?;
    finished(s, loss, own)
}

fn reduction(s: &Site) -> Result<Reduction, Stop> {
    Ok(match s.int("reduction")? {
        0 => Reduction::None,
        1 => Reduction::Mean,
        2 => Reduction::Sum,
        other => return invalid(format!("argument reduction is {other}, expected 0, 1 or 2")),
    })
}

fn finished(s: &mut Site, loss: ValueId, own: DType) -> Outputs {
    let reduction = reduction(s)?;
    let loss = reduction.apply(s, loss)?;
    Ok(vec![s.cast(loss, own)?])
}

fn weighted(s: &mut Site, loss: ValueId, weight: Option<ValueId>) -> Result<ValueId, Stop> {
    match weight {
        Some(weight) => {
            let weight = s.cast(weight, s.dtype(loss))?;
            s.mul(loss, weight)
        }
        None => Ok(loss),
    }
}

fn distance(s: &mut Site, x: ValueId, y: ValueId) -> Result<ValueId, Stop> {
    let distance = s.sub(x, y)?;
    s.unary(PointFn::Abs, distance)
}

/// The norm of the difference along the last axis; `eps` keeps it from zero.
fn between(s: &mut Site, a: ValueId, b: ValueId, p: f64, eps: f64, keepdim: bool) -> Result<ValueId, Stop> {
    let mut distance = s.sub(a, b)?;
    if !s.dtype(distance).is_float() {
        distance = s.cast(distance, DType::F32)?;
    }
    let distance = s.with_number(PointFn::Add, distance, eps)?;
    let axis = s.rank(distance).checked_sub(1).ok_or_else(|| Stop::Invalid("a distance of scalars".into()))?;
    p_norm(s, distance, p, &[axis], keepdim)
}

/// Distances between all rows of one matrix and all rows of another.
fn distances(s: &mut Site, p: f64) -> Outputs {
    let (a, b) = (s.tensor("x1")?, s.tensor("x2")?);
    let (Some(rows), Some(columns)) = (s.rank(a).checked_sub(1), s.rank(b).checked_sub(2)) else {
        return invalid("distances are between matrices");
    };
    let own = s.dtype(a);
    let (a, b) = (s.cast(a, promote::computed(own))?, s.cast(b, promote::computed(own))?);
    let (a, b) = (s.unsqueeze(a, &[rows])?, s.unsqueeze(b, &[columns])?);
    let distance = s.sub(a, b)?;
    let axis = s.rank(distance) - 1;
    let y = p_norm(s, distance, p, &[axis], false)?;
    Ok(vec![s.cast(y, own)?])
}

/// The loss and the weights that were summed.
fn likelihood(s: &mut Site) -> Outputs {
    let (x, target, ignored) = (s.tensor("self")?, s.tensor("target")?, s.int("ignore_index")?);
    let own = s.dtype(x);
    let wide = promote::computed(own);
    let reduction = reduction(s)?;
    let logs = s.cast(x, wide)?;
    let (loss, weight) = likelihood_of(s, logs, target, reduction, ignored)?;
    let weight = match weight {
        Some(weight) => weight,
        None => s.fresh(own, &[], super::super::site::Number::Int(0))?,
    };
    Ok(vec![s.cast(loss, own)?, s.cast(weight, own)?])
}

fn likelihood_of(
    s: &mut Site,
    mut logs: ValueId,
    mut target: ValueId,
    reduction: Reduction,
    ignored: i64,
) -> Result<(ValueId, Option<ValueId>), Stop> {
    let weight = match s.tensor_opt("weight")? {
        Some(weight) => Some(s.cast(weight, s.dtype(logs))?),
        None => None,
    };
    let single = s.rank(logs) == 1;
    if single {
        (logs, target) = (s.unsqueeze(logs, &[0])?, s.reshape(target, &[1])?);
    }
    let (loss, weight) = negative_log_likelihood(s, logs, target, weight, Some(ignored), reduction)?;
    let loss = if single && reduction == Reduction::None { s.reshape(loss, &[])? } else { loss };
    Ok((loss, weight))
}

/// `-log softmax(x)` at a class, or against probabilities of the classes.
fn cross_entropy(s: &mut Site) -> Outputs {
    let (x, target) = (s.tensor("self")?, s.tensor("target")?);
    let (own, axis) = (s.dtype(x), usize::from(s.rank(x) > 1));
    let wide = promote::computed(own);
    let (reduction, smoothing) = (reduction(s)?, s.float("label_smoothing")?);
    let x = s.cast(x, wide)?;
    let Some(&classes) = s.shape(x).get(axis) else { return invalid("classes need an axis") };
    let logs = s.one(Op::LogSoftmax { axis }, &[x])?;
    let weight = match s.tensor_opt("weight")? {
        Some(weight) => {
            let weight = s.cast(weight, wide)?;
            let rank = s.rank(x);
            Some(s.along_axis(weight, axis, rank)?)
        }
        None => None,
    };
    let share = smoothing / classes as f64;
    if s.dtype(target).is_float() && s.shape(target) == s.shape(x) {
        let mut p = s.cast(target, wide)?;
        if smoothing > 0.0 {
            p = s.with_number(PointFn::Mul, p, 1.0 - smoothing)?;
            p = s.with_number(PointFn::Add, p, share)?;
        }
        let product = s.mul(logs, p)?;
        let product = weighted(s, product, weight)?;
        let sum = s.reduce(ReduceFn::Sum, product, &[axis], false)?;
        let loss = s.unary(PointFn::Neg, sum)?;
        let loss = reduction.apply(s, loss)?;
        return Ok(vec![s.cast(loss, own)?]);
    }
    let ignored = s.int("ignore_index")?;
    let (loss, total) = likelihood_of(s, logs, target, reduction, ignored)?;
    if smoothing == 0.0 {
        return Ok(vec![s.cast(loss, own)?]);
    }
    // A part of every target is spread over all classes.
    let product = weighted(s, logs, weight)?;
    let sum = s.reduce(ReduceFn::Sum, product, &[axis], false)?;
    let smooth = s.unary(PointFn::Neg, sum)?;
    let (wanted, number) = (s.cast(target, DType::I64)?, s.int_constant(&[], &[ignored])?);
    let hidden = s.binary(PointFn::Eq, wanted, number)?;
    let zero = s.number(wide, 0.0);
    let smooth = s.select(hidden, zero, smooth)?;
    let smooth = match (reduction, total) {
        (Reduction::Mean, Some(total)) => {
            let sum = Reduction::Sum.apply(s, smooth)?;
            s.div(sum, total)?
        }
        _ => reduction.apply(s, smooth)?,
    };
    let (loss, smooth) =
        (s.with_number(PointFn::Mul, loss, 1.0 - smoothing)?, s.with_number(PointFn::Mul, smooth, share)?);
    let loss = s.add(loss, smooth)?;
    Ok(vec![s.cast(loss, own)?])
}

/// How far every other class comes within a margin of the target's, to the power `p`.
fn multi_margin(s: &mut Site) -> Outputs {
    let (x, target) = (s.tensor("self")?, s.tensor("target")?);
    let own = s.dtype(x);
    let wide = promote::computed(own);
    let mut x = s.cast(x, wide)?;
    // The loss of one row has the shape of its target.
    let single = s.rank(target) == 0;
    if s.rank(x) < 2 {
        let length = s.ty(x).len();
        x = s.reshape(x, &[1, length])?;
    }
    let &[rows, classes] = s.shape(x).as_slice() else { return invalid(format!("expected rows, found {}", s.ty(x))) };
    let column = s.reshape(target, &[rows, 1])?;
    let hit = s.one(Op::GatherElements { axis: 1 }, &[x, column])?;
    let (margin, p) = (s.float("margin")?, s.float("p")?);
    let distance = s.sub(x, hit)?;
    let above = s.with_number(PointFn::Add, distance, margin)?;
    let mut loss = s.with_number(PointFn::Max, above, 0.0)?;
    if p == 2.0 {
        loss = s.mul(loss, loss)?;
    } else if p != 1.0 {
        return invalid(format!("a power of {p}, expected 1 or 2"));
    }
    if let Some(weight) = s.tensor_opt("weight")? {
        let weight = s.cast(weight, wide)?;
        let weight = s.one(Op::Gather { axis: 0 }, &[weight, column])?;
        loss = s.mul(loss, weight)?;
    }
    let numbers = s.iota(DType::I64, classes, 1, 2)?;
    let wanted = s.cast(column, DType::I64)?;
    let own_class = s.binary(PointFn::Eq, numbers, wanted)?;
    let zero = s.number(wide, 0.0);
    let loss = s.select(own_class, zero, loss)?;
    let sum = s.reduce(ReduceFn::Sum, loss, &[1], false)?;
    let mut loss = s.with_number(PointFn::Div, sum, classes as f64)?;
    if single {
        loss = s.reshape(loss, &[])?;
    }
    finished(s, loss, own)
}
