//! Gathers and scatters, and what can be said with them.

use super::super::site::{Outputs, Site, Stop, Words, axis_of, invalid, unsupported};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ScatterFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row_of("Gather", 1, gather),
    row_of("GatherElements", 11, |s| {
        let (x, at) = (s.input(0)?, s.input(1)?);
        let axis = axis_of(s.int("axis", 0)?, s.rank(x))?;
        Ok(vec![s.one(Op::GatherElements { axis }, &[x, at])?])
    }),
    row_of("GatherND", 11, |s| {
        let (x, at) = (s.input(0)?, s.input(1)?);
        let batch_dims = usize::try_from(s.int("batch_dims", 0)?).unwrap_or(usize::MAX);
        if batch_dims > s.rank(x) {
            return invalid("batch_dims exceeds the rank");
        }
        Ok(vec![s.one(Op::GatherNd { batch_dims }, &[x, at])?])
    }),
    row_of("ScatterElements", 11, scatter_elements),
    row_of("Scatter", 9, scatter_elements),
    row_of("ScatterND", 11, |s| {
        let (x, at, updates) = (s.input(0)?, s.input(1)?, s.input(2)?);
        let function = scatter_function(s)?;
        Ok(vec![s.one(Op::ScatterNd { function }, &[x, at, updates])?])
    }),
    row_of("OneHot", 9, one_hot),
    row_of("ReverseSequence", 10, reverse_sequence),
    row_of("Compress", 9, compress),
    row_of("NonZero", 9, non_zero),
];

/// A constant scalar index is a view.
fn gather(s: &mut Site) -> Outputs {
    let (x, at) = (s.input(0)?, s.input(1)?);
    let shape = s.shape(x);
    let axis = axis_of(s.int("axis", 0)?, shape.len())?;
    if s.rank(at) == 0
        && s.importer.graph.constant_of(x).is_none()
        && let Some(index) = s.known(at)
    {
        let index = axis_of(index.ints()[0], shape[axis])?;
        return Ok(vec![s.one(Op::Select { axis, index }, &[x])?]);
    }
    Ok(vec![s.one(Op::Gather { axis }, &[x, at])?])
}

fn scatter_function(s: &Site) -> Result<ScatterFn, Stop> {
    Ok(match s.text("reduction", "none")? {
        "none" => ScatterFn::Assign,
        "add" => ScatterFn::Add,
        "mul" => ScatterFn::Mul,
        "max" => ScatterFn::Max,
        "min" => ScatterFn::Min,
        other => return invalid(format!("reduction {other:?} is not known")),
    })
}

fn scatter_elements(s: &mut Site) -> Outputs {
    let (x, at, updates) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let axis = axis_of(s.int("axis", 0)?, s.rank(x))?;
    let function = scatter_function(s)?;
    Ok(vec![s.one(Op::ScatterElements { axis, function }, &[x, at, updates])?])
}

/// `depth` positions compared with each index; negative indices count from the end.
fn one_hot(s: &mut Site) -> Outputs {
    let (at, values) = (s.input(0)?, s.input(2)?);
    let depth = match s.known_int(1, "depth")? {
        Some(depth) if (0..1 << 24).contains(&depth) => depth,
        other => return invalid(format!("a depth of {other:?}")),
    };
    let rank = s.rank(at);
    let axis = axis_of(s.int("axis", -1)?, rank + 1)?;
    let at = s.cast(at, DType::I64)?;
    let at = s.unsqueeze(at, &[axis])?;
    let negative = s.with_number(PointFn::Lt, at, 0.0)?;
    let from_end = s.with_number(PointFn::Add, at, depth as f64)?;
    let at = s.select(negative, from_end, at)?;
    let positions = s.iota(DType::I64, depth as usize, axis, rank + 1)?;
    let hit = s.binary(PointFn::Eq, at, positions)?;
    let (off, on) = (s.slice(values, 0, 0, 1)?, s.slice(values, 0, 1, 2)?);
    let (off, on) = (s.reshape(off, &[])?, s.reshape(on, &[])?);
    Ok(vec![s.select(hit, on, off)?])
}

/// The first `length[b]` elements of the time axis from last to first: a gather of computed positions.
fn reverse_sequence(s: &mut Site) -> Outputs {
    let (x, lengths) = (s.input(0)?, s.input(1)?);
    let shape = s.shape(x);
    let rank = shape.len();
    let time = axis_of(s.int("time_axis", 0)?, rank)?;
    let batch = axis_of(s.int("batch_axis", 1)?, rank)?;
    if time == batch || s.shape(lengths) != [shape[batch]] {
        return invalid("expected a length for each element of the batch axis");
    }
    let lengths = s.cast(lengths, DType::I64)?;
    let lengths = s.along_axis(lengths, batch, rank)?;
    let t = s.iota(DType::I64, shape[time], time, rank)?;
    let mirrored = s.sub(lengths, t)?;
    let mirrored = s.with_number(PointFn::Sub, mirrored, 1.0)?;
    let inside = s.binary(PointFn::Lt, t, lengths)?;
    let positions = s.select(inside, mirrored, t)?;
    let positions = s.expand(positions, &shape)?;
    Ok(vec![s.one(Op::GatherElements { axis: time }, &[x, positions])?])
}

/// Positions of the elements of a constant that are not zero; of anything else the number is not known when compiling.
fn non_zero(s: &mut Site) -> Outputs {
    let Some(x) = s.known_input(0, "x")? else { return invalid("operand 0 is missing") };
    let mut columns = vec![Vec::new(); x.ty.rank()];
    let mut at = 0;
    situ_runtime::kernel::domain::for_each_index(&x.ty.shape, |index| {
        if situ_runtime::scalar::cast(x.ty.dtype, DType::Bool, x.bits(at)) != 0 {
            for (column, &index) in columns.iter_mut().zip(index) {
                column.push(index as i64);
            }
        }
        at += 1;
    });
    let count = columns.first().map_or(0, Vec::len);
    Ok(vec![s.int_constant(&[columns.len(), count], &columns.concat())?])
}

/// The chosen elements of an axis, when the choice is a constant.
fn compress(s: &mut Site) -> Outputs {
    let mut x = s.input(0)?;
    let chosen = match s.known_ints(1, "condition")? {
        Some(chosen) => chosen,
        None => return unsupported("operand 1 (condition) is missing"),
    };
    let axis = match s.int_opt("axis")? {
        Some(axis) => axis_of(axis, s.rank(x))?,
        None => {
            let len = s.ty(x).len();
            x = s.reshape(x, &[len])?;
            0
        }
    };
    let positions: Vec<i64> =
        chosen.iter().enumerate().filter(|(_, chosen)| **chosen != 0).map(|(at, _)| at as i64).collect();
    let positions: ValueId = s.int_constant(&[positions.len()], &positions)?;
    Ok(vec![s.one(Op::Gather { axis }, &[x, positions])?])
}
