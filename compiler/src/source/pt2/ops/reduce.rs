//! Reductions, searches along an axis, running sums.

use super::super::promote;
use super::super::site::{Number, Outputs, Site, Stop, Words, axis_of, invalid, non_negative, unsupported};
use super::unary::floating;
use super::{Row, row, wide};
use crate::ir::ValueId;
use crate::ops::{CumulativeFn, Op, PointFn, ReduceFn, ScatterFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row("sum.default", "self dtype=None", |s| summed(s, ReduceFn::Sum)),
    row("sum.dim_IntList", "self dim keepdim=False dtype=None", |s| summed(s, ReduceFn::Sum)),
    row("mean.default", "self dtype=None", |s| summed(s, ReduceFn::Mean)),
    row("mean.dim", "self dim keepdim=False dtype=None", |s| summed(s, ReduceFn::Mean)),
    row("prod.default", "self dtype=None", |s| summed(s, ReduceFn::Prod)),
    row("prod.dim_int", "self dim keepdim=False dtype=None", |s| summed(s, ReduceFn::Prod)),
    row("nansum.default", "self dim=None keepdim=False dtype=None", |s| {
        let x = s.tensor("self")?;
        let dtype = s.dtype_opt("dtype")?;
        let x = if s.dtype(x).is_float() {
            let (nan, zero) = (s.unary(PointFn::IsNan, x)?, s.scalar(Number::Int(0), s.dtype(x)));
            s.select(nan, zero, x)?
        } else {
            x
        };
        reduced_as(s, x, ReduceFn::Sum, dtype)
    }),
    wide("nanmean.default", "self dim=None keepdim=False dtype=None", |s| {
        let x = s.tensor("self")?;
        let dtype = s.dtype_opt("dtype")?.unwrap_or(s.dtype(x));
        if !s.dtype(x).is_float() || dtype != s.dtype(x) {
            return unsupported(format!("the mean of {} as {dtype}", s.dtype(x)));
        }
        let (axes, keep) = (s.axes("dim", s.rank(x))?, keepdim(s)?);
        let (nan, zero, one) = (s.unary(PointFn::IsNan, x)?, s.number(dtype, 0.0), s.number(dtype, 1.0));
        let (kept, counted) = (s.select(nan, zero, x)?, s.select(nan, zero, one)?);
        let (sum, count) = (over(s, ReduceFn::Sum, kept, &axes, keep)?, over(s, ReduceFn::Sum, counted, &axes, keep)?);
        Ok(vec![s.div(sum, count)?])
    }),
    row("sum_to_size.default", "self size", |s| {
        let (x, size) = (s.tensor("self")?, s.sizes("size")?);
        let shape = s.shape(x);
        let Some(new) = shape.len().checked_sub(size.len()) else { return invalid("a sum has fewer axes") };
        let axes = (0..shape.len()).filter(|&axis| axis < new || (size[axis - new] == 1 && shape[axis] != 1));
        let axes: Vec<usize> = axes.collect();
        let to = if s.dtype(x).is_float() { s.dtype(x) } else { DType::I64 };
        if axes.is_empty() {
            return if size.is_empty() { Ok(vec![s.cast(x, to)?]) } else { Ok(vec![x]) };
        }
        let x = s.cast(x, promote::computed(to))?;
        let sum = s.reduce(ReduceFn::Sum, x, &axes, true)?;
        let sum = s.cast(sum, to)?;
        Ok(vec![s.reshape(sum, &size)?])
    }),
    row("amax.default", "self dim=[] keepdim=False", |s| extreme(s, ReduceFn::Max)),
    row("amin.default", "self dim=[] keepdim=False", |s| extreme(s, ReduceFn::Min)),
    row("max.default", "self", |s| extreme(s, ReduceFn::Max)),
    row("min.default", "self", |s| extreme(s, ReduceFn::Min)),
    row("aminmax.default", "self dim=None keepdim=False", |s| {
        let (low, high) = (extreme(s, ReduceFn::Min)?, extreme(s, ReduceFn::Max)?);
        Ok(vec![low[0], high[0]])
    }),
    row("max.dim", "self dim keepdim=False", |s| found(s, true)),
    row("min.dim", "self dim keepdim=False", |s| found(s, false)),
    row("argmax.default", "self dim=None keepdim=False", |s| position(s, true)),
    row("argmin.default", "self dim=None keepdim=False", |s| position(s, false)),
    row("any.default", "self", |s| quantified(s, ReduceFn::Max)),
    row("any.dim any.dims", "self dim=None keepdim=False", |s| quantified(s, ReduceFn::Max)),
    row("all.default", "self", |s| quantified(s, ReduceFn::Min)),
    row("all.dim all.dims", "self dim=None keepdim=False", |s| quantified(s, ReduceFn::Min)),
    row("count_nonzero.default count_nonzero.dim_IntList", "self dim=None", |s| {
        let x = s.tensor("self")?;
        let truth = s.cast(x, DType::Bool)?;
        let count = s.cast(truth, DType::I64)?;
        let axes = s.axes("dim", s.rank(x))?;
        Ok(vec![over(s, ReduceFn::Sum, count, &axes, false)?])
    }),
    row("var.default", "self unbiased=True", |s| variance(s, false, false)),
    row("var.dim", "self dim unbiased=True keepdim=False", |s| variance(s, false, false)),
    row("var.correction", "self dim=None correction=None keepdim=False", |s| variance(s, false, false)),
    row("std.default", "self unbiased=True", |s| variance(s, true, false)),
    row("std.dim", "self dim unbiased=True keepdim=False", |s| variance(s, true, false)),
    row("std.correction", "self dim=None correction=None keepdim=False", |s| variance(s, true, false)),
    row("var_mean.default", "self unbiased=True", |s| variance(s, false, true)),
    row("var_mean.dim", "self dim unbiased=True keepdim=False", |s| variance(s, false, true)),
    row("var_mean.correction", "self dim=None correction=None keepdim=False", |s| variance(s, false, true)),
    row("std_mean.default", "self unbiased=True", |s| variance(s, true, true)),
    row("std_mean.dim", "self dim unbiased=True keepdim=False", |s| variance(s, true, true)),
    row("std_mean.correction", "self dim=None correction=None keepdim=False", |s| variance(s, true, true)),
    row(
        "norm.Scalar norm.ScalarOpt_dim norm.ScalarOpt_dtype norm.ScalarOpt_dim_dtype",
        "self p=2 dim=None keepdim=False dtype=None",
        |s| norm(s, "p"),
    ),
    row("linalg_vector_norm.default", "self|x ord=2 dim=None keepdim=False dtype=None", |s| norm(s, "ord")),
    wide("logsumexp.default special_logsumexp.default", "self dim keepdim=False", |s| {
        let x = floating(s)?;
        let (axes, keepdim) = (s.axes("dim", s.rank(x))?, s.flag("keepdim")?);
        Ok(vec![log_sum_exp(s, x, &axes, keepdim)?])
    }),
    row("cumsum.default", "self dim dtype=None", |s| running(s, CumulativeFn::Sum)),
    row("cumprod.default", "self dim dtype=None", |s| running(s, CumulativeFn::Prod)),
    row("topk.default", "self k dim=-1 largest=True sorted=True", |s| {
        let (x, k) = (s.tensor("self")?, non_negative(&[s.int("k")?], "k")?[0]);
        if s.rank(x) == 0 && k <= 1 {
            let place = s.fresh(DType::I64, &[], Number::Int(0))?;
            return Ok(vec![s.one(Op::Contiguous {}, &[x])?, place]);
        }
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        s.apply(Op::TopK { k, axis, largest: s.flag("largest")?, sorted: true }, &[x])
    }),
    row("sort.default", "self dim=-1 descending=False", sorted),
    row("sort.stable", "self stable=None dim=-1 descending=False", sorted),
    row("argsort.default", "self dim=-1 descending=False", |s| Ok(vec![sorted(s)?[1]])),
    row("argsort.stable", "self stable=None dim=-1 descending=False", |s| Ok(vec![sorted(s)?[1]])),
    row("msort.default", "self", |s| {
        let x = s.tensor("self")?;
        let Some(&k) = s.shape(x).first() else { return invalid("a scalar cannot be sorted") };
        Ok(vec![s.apply(Op::TopK { k, axis: 0, largest: false, sorted: true }, &[x])?[0]])
    }),
    row("kthvalue.default", "self k dim=-1 keepdim=False", |s| {
        let (x, k) = (s.tensor("self")?, non_negative(&[s.int("k")?], "k")?[0]);
        let axis = s.axis("dim", s.rank(x))?;
        if k == 0 {
            return invalid("k counts from 1");
        }
        at(s, x, axis, k - 1, k)
    }),
    row("median.dim", "self dim keepdim=False", |s| {
        let x = s.tensor("self")?;
        let axis = s.axis("dim", s.rank(x))?;
        let extent = s.shape(x).get(axis).copied().unwrap_or(1);
        if extent == 0 {
            return invalid("an axis without elements has no median");
        }
        let middle = at(s, x, axis, (extent - 1) / 2, (extent - 1) / 2 + 1)?;
        let keep = s.flag("keepdim")?;
        or_first_nan(s, x, axis, keep, middle)
    }),
    row("median.default", "self", |s| {
        let x = s.tensor("self")?;
        let length = s.ty(x).len();
        if length == 0 {
            let nan = Number::Float(f64::NAN);
            return Ok(vec![s.fresh(s.dtype(x), &[], nan)?]);
        }
        let flat = s.reshape(x, &[length])?;
        let middle = ranked(s, flat, 0, (length - 1) / 2, (length - 1) / 2 + 1, false)?;
        Ok(vec![or_first_nan(s, flat, 0, false, middle)?[0]])
    }),
    row("histc.default", "self bins=100 min=0 max=0", histogram),
    row("diff.default", "self n=1 dim=-1 prepend=None append=None", |s| {
        let mut x = s.tensor("self")?;
        let n = s.int("n")?;
        if !(0..=64).contains(&n) {
            return unsupported(format!("{n} differences"));
        }
        if n == 0 {
            return Ok(vec![s.one(Op::Contiguous {}, &[x])?]);
        }
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let around = [s.tensor_opt("prepend")?, Some(x), s.tensor_opt("append")?];
        let parts: Vec<ValueId> = around.into_iter().flatten().collect();
        x = s.concat(&parts, axis)?;
        for _ in 0..n {
            let extent = s.shape(x)[axis];
            let (low, high) =
                (s.slice(x, axis, 0, extent.saturating_sub(1))?, s.slice(x, axis, extent.min(1), extent)?);
            let function = if s.dtype(x) == DType::Bool { PointFn::Xor } else { PointFn::Sub };
            x = s.binary(function, high, low)?;
        }
        Ok(vec![x])
    }),
];

/// The logarithm of the sum of exponentials, measured from the largest.
pub fn log_sum_exp(s: &mut Site, x: ValueId, axes: &[usize], keepdim: bool) -> Result<ValueId, Stop> {
    let largest = over(s, ReduceFn::Max, x, axes, true)?;
    // Infinite maxima are no place to measure from.
    let magnitude = s.unary(PointFn::Abs, largest)?;
    let (far, zero) = (s.with_number(PointFn::Eq, magnitude, f64::INFINITY)?, s.scalar(Number::Int(0), s.dtype(x)));
    let from = s.select(far, zero, largest)?;
    let distance = s.sub(x, from)?;
    let power = s.unary(PointFn::Exp, distance)?;
    let sum = over(s, ReduceFn::Sum, power, axes, true)?;
    let log = s.unary(PointFn::Log, sum)?;
    let y = s.add(log, from)?;
    if keepdim || axes.is_empty() { Ok(y) } else { s.squeeze(y, axes) }
}

/// A reduction; over no axis a copy.
pub fn over(s: &mut Site, function: ReduceFn, x: ValueId, axes: &[usize], keepdim: bool) -> Result<ValueId, Stop> {
    if axes.is_empty() || s.rank(x) == 0 {
        return s.one(Op::Contiguous {}, &[x]);
    }
    s.reduce(function, x, axes, keepdim)
}

fn keepdim(s: &Site) -> Result<bool, Stop> {
    if s.has("keepdim") { s.flag("keepdim") } else { Ok(false) }
}

fn summed(s: &mut Site, function: ReduceFn) -> Outputs {
    let x = s.tensor("self")?;
    let dtype = s.dtype_opt("dtype")?;
    reduced_as(s, x, function, dtype)
}

/// Sums of integers are `i64`; halves are summed in `f32`.
fn reduced_as(s: &mut Site, x: ValueId, function: ReduceFn, dtype: Option<DType>) -> Outputs {
    let own = s.dtype(x);
    let result = dtype.unwrap_or(match own {
        own if own.is_float() => own,
        _ if function == ReduceFn::Mean => return invalid(format!("the mean of {own}")),
        _ => DType::I64,
    });
    let computed = promote::computed(result);
    let x = s.cast(x, computed)?;
    let axes = s.axes("dim", s.rank(x))?;
    let y = over(s, function, x, &axes, keepdim(s)?)?;
    Ok(vec![s.cast(y, result)?])
}

fn extreme(s: &mut Site, function: ReduceFn) -> Outputs {
    let x = s.tensor("self")?;
    let axes = s.axes("dim", s.rank(x))?;
    let (x, boolean) = (as_bytes(s, x)?, s.dtype(x) == DType::Bool);
    let y = over(s, function, x, &axes, keepdim(s)?)?;
    if boolean { Ok(vec![s.cast(y, DType::Bool)?]) } else { Ok(vec![y]) }
}

/// `bool` as numbers.
fn as_bytes(s: &mut Site, x: ValueId) -> Result<ValueId, Stop> {
    if s.dtype(x) == DType::Bool { s.cast(x, DType::U8) } else { Ok(x) }
}

/// The largest or smallest element along an axis, and where the first such is.
fn found(s: &mut Site, largest: bool) -> Outputs {
    let x = s.tensor("self")?;
    let keep = s.flag("keepdim")?;
    if s.rank(x) == 0 {
        let at = s.fresh(DType::I64, &[], Number::Int(0))?;
        return Ok(vec![s.one(Op::Contiguous {}, &[x])?, at]);
    }
    let axis = axis_of(s.int("dim")?, s.rank(x))?;
    let numbers = as_bytes(s, x)?;
    let place = s.one(Op::ArgReduce { largest, axis, keepdim: true, last: false }, &[numbers])?;
    let value = s.one(Op::GatherElements { axis }, &[x, place])?;
    if keep { Ok(vec![value, place]) } else { Ok(vec![s.squeeze(value, &[axis])?, s.squeeze(place, &[axis])?]) }
}

fn position(s: &mut Site, largest: bool) -> Outputs {
    let x = s.tensor("self")?;
    let x = as_bytes(s, x)?;
    let rank = s.rank(x);
    let keep = s.flag("keepdim")?;
    match s.int_opt("dim")? {
        Some(axis) if rank > 0 => {
            let axis = axis_of(axis, rank)?;
            Ok(vec![s.one(Op::ArgReduce { largest, axis, keepdim: keep, last: false }, &[x])?])
        }
        _ => {
            let length = s.ty(x).len();
            let flat = s.reshape(x, &[length])?;
            let place = s.one(Op::ArgReduce { largest, axis: 0, keepdim: false, last: false }, &[flat])?;
            if keep { Ok(vec![s.reshape(place, &vec![1; rank])?]) } else { Ok(vec![place]) }
        }
    }
}

/// Whether any, or all, elements are true.
fn quantified(s: &mut Site, function: ReduceFn) -> Outputs {
    let x = s.tensor("self")?;
    let own = s.dtype(x);
    let axes = s.axes("dim", s.rank(x))?;
    let truth = s.cast(x, DType::Bool)?;
    let bytes = s.cast(truth, DType::U8)?;
    let y = match s.shape(x).iter().enumerate().any(|(axis, &extent)| extent == 0 && axes.contains(&axis)) {
        // Over nothing, any is false and all is true.
        true => {
            let shape = s.shape(x);
            let kept = keepdim(s)?;
            let shape: Vec<usize> = (0..shape.len())
                .filter(|axis| kept || !axes.contains(axis))
                .map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] })
                .collect();
            s.fresh(DType::U8, &shape, Number::Int(i64::from(function == ReduceFn::Min)))?
        }
        false => over(s, function, bytes, &axes, keepdim(s)?)?,
    };
    // Of `u8` the result is `u8`.
    if own == DType::U8 { Ok(vec![y]) } else { Ok(vec![s.cast(y, DType::Bool)?]) }
}

/// Mean squared distance from the mean, over the count less `correction`; its root, and the mean, if asked for.
fn variance(s: &mut Site, root: bool, with_mean: bool) -> Outputs {
    let given = s.tensor("self")?;
    let dtype = s.dtype(given);
    if !dtype.is_float() {
        return invalid(format!("the variance of {dtype}"));
    }
    let x = s.cast(given, promote::computed(dtype))?;
    let (axes, keep) = (s.axes("dim", s.rank(x))?, keepdim(s)?);
    let correction = match s.has("unbiased") {
        true => f64::from(u8::from(s.flag("unbiased")?)),
        false => s.numeral_opt("correction")?.map_or(1.0, Number::as_f64),
    };
    let shape = s.shape(x);
    let count: usize = axes.iter().map(|&axis| shape[axis]).product();
    let mean = over(s, ReduceFn::Mean, x, &axes, true)?;
    let distance = s.sub(x, mean)?;
    let square = s.mul(distance, distance)?;
    let sum = over(s, ReduceFn::Sum, square, &axes, true)?;
    let mut y = s.with_number(PointFn::Div, sum, (count as f64 - correction).max(0.0))?;
    if root {
        y = s.unary(PointFn::Sqrt, y)?;
    }
    let mut results = Vec::new();
    for value in if with_mean { vec![y, mean] } else { vec![y] } {
        let value = s.cast(value, dtype)?;
        results.push(if keep || axes.is_empty() { value } else { s.squeeze(value, &axes)? });
    }
    Ok(results)
}

/// A norm, in the dtype asked for.
fn norm(s: &mut Site, order: &str) -> Outputs {
    let given = s.tensor("self")?;
    let dtype = s.dtype_opt("dtype")?.unwrap_or(s.dtype(given));
    if !dtype.is_float() {
        return invalid(format!("the norm of {dtype}"));
    }
    let x = s.cast(given, promote::computed(dtype))?;
    let p = s.numeral_opt(order)?.map_or(2.0, Number::as_f64);
    let (axes, keep) = (s.axes("dim", s.rank(x))?, s.flag("keepdim")?);
    let y = p_norm(s, x, p, &axes, keep)?;
    Ok(vec![s.cast(y, dtype)?])
}

/// The `p`-norm along axes.
pub fn p_norm(s: &mut Site, x: ValueId, p: f64, axes: &[usize], keep: bool) -> Result<ValueId, Stop> {
    match p {
        2.0 => {
            let square = s.mul(x, x)?;
            let sum = over(s, ReduceFn::Sum, square, axes, keep)?;
            s.unary(PointFn::Sqrt, sum)
        }
        0.0 => {
            let truth = s.with_number(PointFn::Ne, x, 0.0)?;
            let count = s.cast(truth, s.dtype(x))?;
            over(s, ReduceFn::Sum, count, axes, keep)
        }
        p => {
            let magnitude = s.unary(PointFn::Abs, x)?;
            if p == 1.0 {
                over(s, ReduceFn::Sum, magnitude, axes, keep)
            } else if p == f64::INFINITY {
                over(s, ReduceFn::Max, magnitude, axes, keep)
            } else if p == f64::NEG_INFINITY {
                over(s, ReduceFn::Min, magnitude, axes, keep)
            } else {
                let power = s.with_number(PointFn::Pow, magnitude, p)?;
                let sum = over(s, ReduceFn::Sum, power, axes, keep)?;
                s.with_number(PointFn::Pow, sum, 1.0 / p)
            }
        }
    }
}

/// How many elements lie in each of `bins` intervals of one width; the last holds its end too.
fn histogram(s: &mut Site) -> Outputs {
    let x = s.tensor("self")?;
    let (own, length) = (s.dtype(x), s.ty(x).len());
    if !own.is_float() {
        return super::super::site::unsupported(format!("a histogram of {own}"));
    }
    let bins = usize::try_from(s.int("bins")?).ok().filter(|&bins| (1..=1 << 24).contains(&bins));
    let Some(bins) = bins else { return invalid("there is at least one bin") };
    let wide = promote::computed(own);
    let x = s.cast(x, wide)?;
    let x = s.reshape(x, &[length])?;
    let (low, high) = (s.float("min")?, s.float("max")?);
    let (low, high) = if low != high {
        (s.number(wide, low), s.number(wide, high))
    } else if low != 0.0 || length == 0 {
        (s.number(wide, low - 1.0), s.number(wide, high + 1.0))
    } else {
        // Without bounds they are the extremes; where these are equal, one less and one more.
        let (low, high) = (s.reduce(ReduceFn::Min, x, &[0], false)?, s.reduce(ReduceFn::Max, x, &[0], false)?);
        let same = s.binary(PointFn::Eq, low, high)?;
        let (less, more) = (s.with_number(PointFn::Sub, low, 1.0)?, s.with_number(PointFn::Add, high, 1.0)?);
        (s.select(same, less, low)?, s.select(same, more, high)?)
    };
    let (above, below) = (s.binary(PointFn::Ge, x, low)?, s.binary(PointFn::Le, x, high)?);
    let inside = s.binary(PointFn::And, above, below)?;
    let (distance, span) = (s.sub(x, low)?, s.sub(high, low)?);
    let part = s.with_number(PointFn::Mul, distance, bins as f64)?;
    let place = s.div(part, span)?;
    let place = s.with_number(PointFn::Min, place, bins as f64 - 1.0)?;
    // What lies outside goes to a bin of its own, which is cut off.
    let outside = s.number(wide, bins as f64);
    let place = s.select(inside, place, outside)?;
    let place = s.cast(place, DType::I64)?;
    let (empty, one) = (s.filled(DType::I64, &[bins + 1], 0.0)?, s.filled(DType::I64, &[length], 1.0)?);
    let counts = s.one(Op::ScatterElements { axis: 0, function: ScatterFn::Add }, &[empty, place, one])?;
    let counts = s.slice(counts, 0, 0, bins)?;
    Ok(vec![s.cast(counts, own)?])
}

fn running(s: &mut Site, function: CumulativeFn) -> Outputs {
    let x = s.tensor("self")?;
    let own = s.dtype(x);
    let dtype = s.dtype_opt("dtype")?.unwrap_or(if own.is_float() { own } else { DType::I64 });
    let x = s.cast(x, dtype)?;
    if s.rank(x) == 0 {
        return Ok(vec![s.one(Op::Contiguous {}, &[x])?]);
    }
    let axis = axis_of(s.int("dim")?, s.rank(x))?;
    Ok(vec![s.one(Op::Cumulative { function, axis, exclusive: false, reverse: false }, &[x])?])
}

fn sorted(s: &mut Site) -> Outputs {
    let x = s.tensor("self")?;
    if s.rank(x) == 0 {
        let at = s.fresh(DType::I64, &[], Number::Int(0))?;
        return Ok(vec![s.one(Op::Contiguous {}, &[x])?, at]);
    }
    let axis = axis_of(s.int("dim")?, s.rank(x))?;
    let k = s.shape(x)[axis];
    s.apply(Op::TopK { k, axis, largest: s.flag("descending")?, sorted: true }, &[x])
}

/// The element at a place of the ascending order.
fn at(s: &mut Site, x: ValueId, axis: usize, from: usize, k: usize) -> Outputs {
    let keep = s.flag("keepdim")?;
    if s.rank(x) == 0 && k == 1 {
        let place = s.fresh(DType::I64, &[], Number::Int(0))?;
        return Ok(vec![s.one(Op::Contiguous {}, &[x])?, place]);
    }
    ranked(s, x, axis, from, k, keep)
}

/// A value and its position along an axis, or those of the first NaN where there is one.
fn or_first_nan(s: &mut Site, x: ValueId, axis: usize, keepdim: bool, found: Vec<ValueId>) -> Outputs {
    if !s.dtype(x).is_float() || s.rank(x) == 0 {
        return Ok(found);
    }
    let nan = s.unary(PointFn::IsNan, x)?;
    let marks = s.cast(nan, DType::U8)?;
    let (any, place) = (
        s.one(Op::Reduce { function: ReduceFn::Max, axes: vec![axis], keepdim }, &[marks])?,
        s.one(Op::ArgReduce { largest: true, axis, keepdim, last: false }, &[marks])?,
    );
    let any = s.cast(any, DType::Bool)?;
    let number = s.scalar(Number::Float(f64::NAN), s.dtype(x));
    Ok(vec![s.select(any, number, found[0])?, s.select(any, place, found[1])?])
}

/// Element `from` of the `k` least along an axis, and its position.
fn ranked(s: &mut Site, x: ValueId, axis: usize, from: usize, k: usize, keep: bool) -> Outputs {
    let extent = s.shape(x).get(axis).copied().unwrap_or(0);
    if k > extent {
        return invalid(format!("place {k} of an axis of {extent}"));
    }
    let least = s.apply(Op::TopK { k, axis, largest: false, sorted: true }, &[x])?;
    let mut results = Vec::with_capacity(2);
    for value in least {
        let one = s.slice(value, axis, from, from + 1)?;
        let one = if keep { one } else { s.squeeze(one, &[axis])? };
        results.push(s.one(Op::Contiguous {}, &[one])?);
    }
    Ok(results)
}
