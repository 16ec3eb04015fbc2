//! Reductions, positions of extremes, running totals, sorting.

use super::super::site::{Outputs, Site, Stop, Words, axes_of, axis_of, invalid};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{CumulativeFn, Op, PointFn, ReduceFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row_of("ReduceSum", 1, |s| plain(s, ReduceFn::Sum)),
    row_of("ReduceMean", 1, |s| plain(s, ReduceFn::Mean)),
    row_of("ReduceMax", 1, |s| plain(s, ReduceFn::Max)),
    row_of("ReduceMin", 1, |s| plain(s, ReduceFn::Min)),
    row_of("ReduceProd", 1, |s| plain(s, ReduceFn::Prod)),
    row_of("ReduceL1", 1, |s| composed(s, |s, x| s.unary(PointFn::Abs, x), |_, sum| Ok(sum))),
    row_of("ReduceL2", 1, |s| composed(s, |s, x| s.mul(x, x), |s, sum| on_floats(s, PointFn::Sqrt, sum))),
    row_of("ReduceSumSquare", 1, |s| composed(s, |s, x| s.mul(x, x), |_, sum| Ok(sum))),
    row_of("ReduceLogSum", 1, |s| composed(s, |_, x| Ok(x), |s, sum| on_floats(s, PointFn::Log, sum))),
    row_of("ReduceLogSumExp", 1, log_sum_exp),
    row_of("ArgMax", 1, |s| arg_reduce(s, true)),
    row_of("ArgMin", 1, |s| arg_reduce(s, false)),
    row_of("CumSum", 11, |s| cumulative(s, CumulativeFn::Sum)),
    row_of("CumProd", 26, |s| cumulative(s, CumulativeFn::Prod)),
    row_of("TopK", 1, top_k),
];

/// Axes that a reduction names, by attribute or operand. `None`: it reduces nothing (`noop_with_empty_axes`).
fn axes(s: &mut Site, rank: usize) -> Result<Option<Vec<usize>>, Stop> {
    let operand_since = if s.node.op_type == "ReduceSum" { 13 } else { 18 };
    let axes = if s.opset < operand_since { s.ints("axes")? } else { s.known_ints(1, "axes")? };
    match axes.filter(|axes| !axes.is_empty()) {
        Some(axes) => axes_of(&axes, rank).map(Some),
        None if s.flag("noop_with_empty_axes", false)? => Ok(None),
        None => Ok(Some((0..rank).collect())),
    }
}

fn plain(s: &mut Site, function: ReduceFn) -> Outputs {
    let x = s.input(0)?;
    let rank = s.rank(x);
    match axes(s, rank)? {
        None => Ok(vec![x]),
        Some(axes) => {
            let keepdim = s.flag("keepdims", true)?;
            Ok(vec![s.reduce(function, x, &axes, keepdim)?])
        }
    }
}

type Step = fn(&mut Site<'_, '_>, ValueId) -> Result<ValueId, Stop>;

/// A sum with something done before and after it; both are done where nothing is reduced, too.
fn composed(s: &mut Site, before: Step, after: Step) -> Outputs {
    let x = s.input(0)?;
    let prepared = before(s, x)?;
    let rank = s.rank(x);
    let sum = match axes(s, rank)? {
        None => prepared,
        Some(axes) => {
            let keepdim = s.flag("keepdims", true)?;
            s.reduce(ReduceFn::Sum, prepared, &axes, keepdim)?
        }
    };
    Ok(vec![after(s, sum)?])
}

/// A function of floats on any number, by way of `f64` for integers.
fn on_floats(s: &mut Site, function: PointFn, x: ValueId) -> Result<ValueId, Stop> {
    let dtype = s.dtype(x);
    let wide = s.cast(x, if dtype.is_float() { dtype } else { DType::F64 })?;
    let y = s.unary(function, wide)?;
    s.cast(y, dtype)
}

/// `max + log(sum(exp(x - max)))`, so that nothing overflows; an infinite maximum is left out of it.
fn log_sum_exp(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let dtype = s.dtype(x);
    let rank = s.rank(x);
    let Some(axes) = axes(s, rank)? else { return Ok(vec![x]) };
    let keepdim = s.flag("keepdims", true)?;
    let x = s.cast(x, if dtype.is_float() { dtype } else { DType::F64 })?;
    let y = if s.ty(x).is_empty() {
        let powers = s.unary(PointFn::Exp, x)?;
        let sum = s.reduce(ReduceFn::Sum, powers, &axes, keepdim)?;
        s.unary(PointFn::Log, sum)?
    } else {
        let most = s.reduce(ReduceFn::Max, x, &axes, true)?;
        let infinite = s.unary(PointFn::IsInf, most)?;
        let zero = s.number(s.dtype(x), 0.0);
        let base = s.select(infinite, zero, most)?;
        let shifted = s.sub(x, base)?;
        let powers = s.unary(PointFn::Exp, shifted)?;
        let sum = s.reduce(ReduceFn::Sum, powers, &axes, true)?;
        let log = s.unary(PointFn::Log, sum)?;
        let y = s.add(log, base)?;
        if keepdim { y } else { s.squeeze(y, &axes)? }
    };
    Ok(vec![s.cast(y, dtype)?])
}

fn arg_reduce(s: &mut Site, largest: bool) -> Outputs {
    let x = s.input(0)?;
    let axis = axis_of(s.int("axis", 0)?, s.rank(x))?;
    let (keepdim, last) = (s.flag("keepdims", true)?, s.flag("select_last_index", false)?);
    Ok(vec![s.one(Op::ArgReduce { largest, axis, keepdim, last }, &[x])?])
}

fn cumulative(s: &mut Site, function: CumulativeFn) -> Outputs {
    let x = s.input(0)?;
    let Some(axis) = s.known_int(1, "axis")? else { return invalid("the axis is missing") };
    let axis = axis_of(axis, s.rank(x))?;
    let (exclusive, reverse) = (s.flag("exclusive", false)?, s.flag("reverse", false)?);
    Ok(vec![s.one(Op::Cumulative { function, axis, exclusive, reverse }, &[x])?])
}

fn top_k(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let axis = axis_of(s.int("axis", -1)?, s.rank(x))?;
    let k = if s.opset < 10 { s.int_opt("k")? } else { s.known_int(1, "k")? };
    let Some(k) = k.and_then(|k| usize::try_from(k).ok()) else { return invalid("k is missing or negative") };
    let (largest, sorted) = (s.flag("largest", true)?, s.flag("sorted", true)?);
    s.apply(Op::TopK { k, axis, largest, sorted }, &[x])
}
