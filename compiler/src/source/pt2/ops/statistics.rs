//! Norms of matrices, quantiles, running extremes.

use super::super::promote;
use super::super::site::{Number, Outputs, Site, Stop, Words, axes_of, axis_of, invalid, unsupported};
use super::reduce::p_norm;
use super::{Row, row, wide};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ReduceFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    wide("dist.default", "self other p=2", |s| {
        let dtype = s.promoted(&["self", "other"])?;
        let (a, b, p) = (s.operand("self", dtype)?, s.operand("other", dtype)?, s.float("p")?);
        let distance = s.sub(a, b)?;
        let axes: Vec<usize> = (0..s.rank(distance)).collect();
        Ok(vec![p_norm(s, distance, p, &axes, false)?])
    }),
    row("linalg_norm.default", "self|A ord=None dim=None keepdim=False dtype=None", |s| {
        let (x, dtype) = in_dtype(s)?;
        let keep = s.flag("keepdim")?;
        let order = s.numeral_opt("ord")?.map(Number::as_f64);
        let (axes, flat) = match s.ints_opt("dim")? {
            Some(axes) => (axes_of(&axes, s.rank(x))?, false),
            None => ((0..s.rank(x)).collect(), order.is_none()),
        };
        let y = match (axes.as_slice(), order) {
            (&[rows, columns], Some(order)) if !flat => matrix_norm(s, x, order, rows, columns, keep)?,
            (axes, order) if flat || axes.len() < 2 || order.is_none() => {
                p_norm(s, x, order.unwrap_or(2.0), axes, keep)?
            }
            _ => return invalid(format!("a norm of {} axes", axes.len())),
        };
        Ok(vec![s.cast(y, dtype)?])
    }),
    row("linalg_norm.ord_str linalg_matrix_norm.str_ord", "self|A ord='fro' dim=[] keepdim=False dtype=None", |s| {
        let (x, dtype) = in_dtype(s)?;
        let keep = s.flag("keepdim")?;
        let (rows, columns) = matrix_axes(s, x)?;
        match s.text("ord")? {
            "fro" => {
                let y = p_norm(s, x, 2.0, &[rows, columns], keep)?;
                Ok(vec![s.cast(y, dtype)?])
            }
            other => unsupported(format!("the norm {other:?}, which needs singular values")),
        }
    }),
    row("linalg_matrix_norm.default", "self|A ord dim=[] keepdim=False dtype=None", |s| {
        let (x, dtype) = in_dtype(s)?;
        let (order, keep) = (s.float("ord")?, s.flag("keepdim")?);
        let (rows, columns) = matrix_axes(s, x)?;
        let y = matrix_norm(s, x, order, rows, columns, keep)?;
        Ok(vec![s.cast(y, dtype)?])
    }),
    wide("renorm.default", "self p dim maxnorm", |s| {
        let (x, p, most) = (s.tensor("self")?, s.float("p")?, s.float("maxnorm")?);
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let axes: Vec<usize> = (0..s.rank(x)).filter(|&other| other != axis).collect();
        let norm = p_norm(s, x, p, &axes, true)?;
        let (longer, above) = (s.with_number(PointFn::Gt, norm, most)?, s.with_number(PointFn::Add, norm, 1e-7)?);
        let (most, one) = (s.number(s.dtype(x), most), s.number(s.dtype(x), 1.0));
        let factor = s.div(most, above)?;
        let factor = s.select(longer, factor, one)?;
        Ok(vec![s.mul(x, factor)?])
    }),
    row("quantile.default quantile.scalar", "self q dim=None keepdim=False interpolation='linear'", quantile),
    row("trapezoid.dx trapz.dx", "y dx=1 dim=-1", |s| {
        let (sums, axis) = pairs(s)?;
        let dtype = s.dtype(sums);
        let sum = s.reduce(ReduceFn::Sum, sums, &[axis], false)?;
        let dx = s.scalar(s.numeral("dx")?, dtype);
        let scaled = s.mul(sum, dx)?;
        Ok(vec![s.with_number(PointFn::Div, scaled, 2.0)?])
    }),
    row("cummax.default", "self dim", |s| running_extreme(s, PointFn::Ge)),
    row("cummin.default", "self dim", |s| running_extreme(s, PointFn::Le)),
];

/// The operand in the dtype in which its norm is computed, and that of the result.
fn in_dtype(s: &mut Site) -> Result<(ValueId, DType), Stop> {
    let x = s.tensor("self")?;
    let dtype = s.dtype_opt("dtype")?.unwrap_or(s.dtype(x));
    if !dtype.is_float() {
        return invalid(format!("the norm of {dtype}"));
    }
    Ok((s.cast(x, promote::computed(dtype))?, dtype))
}

fn matrix_axes(s: &Site, x: ValueId) -> Result<(usize, usize), Stop> {
    let axes = match s.ints_opt("dim")? {
        Some(axes) if !axes.is_empty() => axes,
        _ => vec![-2, -1],
    };
    match axes_of(&axes, s.rank(x))?.as_slice() {
        &[rows, columns] => Ok((rows, columns)),
        other => invalid(format!("a matrix has two axes, not {}", other.len())),
    }
}

/// The largest or smallest sum of magnitudes of a column (1) or a row (infinity).
fn matrix_norm(s: &mut Site, x: ValueId, order: f64, rows: usize, columns: usize, keep: bool) -> Result<ValueId, Stop> {
    let (summed, left) = match order.abs() {
        1.0 => (rows, columns),
        f64::INFINITY => (columns, rows),
        _ => return unsupported(format!("the norm {order} of matrices, which needs singular values")),
    };
    let magnitude = s.unary(PointFn::Abs, x)?;
    let sum = s.reduce(ReduceFn::Sum, magnitude, &[summed], true)?;
    let function = if order > 0.0 { ReduceFn::Max } else { ReduceFn::Min };
    let y = s.reduce(function, sum, &[left], true)?;
    if keep { Ok(y) } else { s.squeeze(y, &[rows.min(columns), rows.max(columns)]) }
}

/// Sums of neighbours along an axis.
fn pairs(s: &mut Site) -> Result<(ValueId, usize), Stop> {
    let x = s.tensor("y")?;
    let x = if s.dtype(x).is_float() { x } else { s.cast(x, DType::F32)? };
    let axis = axis_of(s.int("dim")?, s.rank(x))?;
    let extent = s.shape(x)[axis];
    let (low, high) = (s.slice(x, axis, 0, extent.saturating_sub(1))?, s.slice(x, axis, extent.min(1), extent)?);
    Ok((s.add(low, high)?, axis))
}

/// Between the two elements whose ranks are nearest to `q (n - 1)`.
fn quantile(s: &mut Site) -> Outputs {
    let x = s.tensor("self")?;
    let dtype = s.dtype(x);
    if dtype != DType::F32 && dtype != DType::F64 {
        return invalid(format!("a quantile of {dtype}"));
    }
    let keep = s.flag("keepdim")?;
    let rank = s.rank(x);
    let (flat, axis) = match s.int_opt("dim")? {
        Some(axis) if rank > 0 => (x, axis_of(axis, rank)?),
        _ => {
            let length = s.ty(x).len();
            (s.reshape(x, &[length])?, 0)
        }
    };
    let whole = !s.has("dim");
    let last = s.rank(flat) - 1;
    let order: Vec<usize> = (0..=last).filter(|&other| other != axis).chain([axis]).collect();
    let rows = s.permute(flat, &order)?;
    let extent = s.shape(rows)[last];
    if extent == 0 {
        return invalid("an axis without elements has no quantile");
    }
    let sorted = s.apply(Op::TopK { k: extent, axis: last, largest: false, sorted: true }, &[rows])?[0];
    let q = s.operand("q", dtype)?;
    let many = s.rank(q) == 1;
    let count = s.ty(q).len();
    let q = s.reshape(q, &[count])?;
    let place = s.with_number(PointFn::Mul, q, extent as f64 - 1.0)?;
    let function = match s.text("interpolation")? {
        "lower" => Some(PointFn::Floor),
        "higher" => Some(PointFn::Ceil),
        "nearest" => Some(PointFn::Round),
        "linear" | "midpoint" => None,
        other => return invalid(format!("argument interpolation is {other:?}")),
    };
    let place = match function {
        Some(function) => s.unary(function, place)?,
        None => place,
    };
    let (low, high) = (s.unary(PointFn::Floor, place)?, s.unary(PointFn::Ceil, place)?);
    let weight = match s.text("interpolation")? {
        "midpoint" => {
            let apart = s.binary(PointFn::Ne, low, high)?;
            let apart = s.cast(apart, dtype)?;
            s.with_number(PointFn::Mul, apart, 0.5)?
        }
        _ => s.sub(place, low)?,
    };
    let mut ends = Vec::with_capacity(2);
    for place in [low, high] {
        let index = s.cast(place, DType::I64)?;
        ends.push(s.one(Op::Gather { axis: last }, &[sorted, index])?);
    }
    let distance = s.sub(ends[1], ends[0])?;
    let part = s.mul(distance, weight)?;
    let mut y = s.add(ends[0], part)?;
    let same = s.binary(PointFn::Eq, ends[0], ends[1])?;
    y = s.select(same, ends[0], y)?;
    // One element that is no number makes the quantile none.
    let unknown = s.unary(PointFn::IsNan, rows)?;
    let unknown = s.cast(unknown, DType::U8)?;
    let unknown = s.reduce(ReduceFn::Max, unknown, &[last], true)?;
    let unknown = s.cast(unknown, DType::Bool)?;
    let nan = s.number(dtype, f64::NAN);
    y = s.select(unknown, nan, y)?;
    let order: Vec<usize> = [last].into_iter().chain(0..last).collect();
    y = s.permute(y, &order)?;
    let mut shape = s.shape(y)[1..].to_vec();
    if keep {
        shape = if whole { vec![1; rank] } else { shape };
        if !whole && rank > 0 {
            shape.insert(axis, 1);
        }
    }
    if many {
        shape.insert(0, count);
    }
    Ok(vec![s.reshape(y, &shape)?])
}

/// The longest axis along which an extreme runs: every element is compared with all before it.
const MAX_RUNNING: usize = 1 << 12;

/// The last position of the extreme among all elements up to each: those before are compared with every one.
fn running_extreme(s: &mut Site, function: PointFn) -> Outputs {
    let x = s.tensor("self")?;
    if s.rank(x) == 0 {
        let place = s.fresh(DType::I64, &[], Number::Int(0))?;
        return Ok(vec![s.one(Op::Contiguous {}, &[x])?, place]);
    }
    let own = s.dtype(x);
    let axis = axis_of(s.int("dim")?, s.rank(x))?;
    let (shape, rank) = (s.shape(x), s.rank(x));
    let extent = shape[axis];
    if s.ty(x).is_empty() {
        let copy = s.one(Op::Contiguous {}, &[x])?;
        return Ok(vec![copy, s.fresh(DType::I64, &shape, Number::Int(0))?]);
    }
    if extent > MAX_RUNNING {
        return unsupported(format!("running extremes along an axis of {extent}, at most {MAX_RUNNING}"));
    }
    let numbers = if own == DType::Bool { s.cast(x, DType::U8)? } else { x };
    // By doubling: after step d, each place knows the extreme of the 2d elements up to it, and where it is.
    let (mut value, mut place) = (numbers, s.iota(DType::I64, extent, axis, rank)?);
    place = s.expand(place, &shape)?;
    let mut reach = 1;
    while reach < extent {
        let front_value = s.slice(value, axis, 0, extent - reach)?;
        let front_place = s.slice(place, axis, 0, extent - reach)?;
        let (back_value, back_place) = (s.slice(value, axis, reach, extent)?, s.slice(place, axis, reach, extent)?);
        let mut later = s.binary(function, back_value, front_value)?;
        if own.is_float() {
            let unknown = s.unary(PointFn::IsNan, back_value)?;
            later = s.binary(PointFn::Or, later, unknown)?;
        }
        let value_here = s.select(later, back_value, front_value)?;
        let place_here = s.select(later, back_place, front_place)?;
        let (head_value, head_place) = (s.slice(value, axis, 0, reach)?, s.slice(place, axis, 0, reach)?);
        value = s.concat(&[head_value, value_here], axis)?;
        place = s.concat(&[head_place, place_here], axis)?;
        reach *= 2;
    }
    let value = s.cast(value, own)?;
    Ok(vec![s.one(Op::Contiguous {}, &[value])?, s.one(Op::Contiguous {}, &[place])?])
}
