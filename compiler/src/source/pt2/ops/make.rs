//! Tensors made of nothing: filled, counted, triangular.

use super::super::promote::Part;
use super::super::site::{Number, Outputs, Site, Stop, Words, invalid, non_negative, unsupported};
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn};
use crate::types::{DType, TensorType};

pub const ROWS: &[Row] = &[
    row("zeros.default", "size dtype=None layout=None device=None pin_memory=None", |s| filled(s, Number::Int(0))),
    row("ones.default", "size dtype=None layout=None device=None pin_memory=None", |s| filled(s, Number::Int(1))),
    // What an uninitialised tensor holds is nobody's business; here it is zero, so that runs are alike.
    row("empty.memory_format", "size dtype=None layout=None device=None pin_memory=None memory_format=None", |s| {
        filled(s, Number::Int(0))
    }),
    row(
        "empty_strided.default empty_permuted.default",
        "size stride|physical_layout dtype=None layout=None device=None pin_memory=None",
        |s| filled(s, Number::Int(0)),
    ),
    row("full.default", "size fill_value dtype=None layout=None device=None pin_memory=None", |s| {
        let value = s.numeral("fill_value")?;
        filled(s, value)
    }),
    row("scalar_tensor.default", "s dtype=None layout=None device=None pin_memory=None", |s| {
        let value = s.numeral("s")?;
        let dtype = s.dtype_opt("dtype")?.unwrap_or(DType::F32);
        Ok(vec![s.fresh(dtype, &[], value)?])
    }),
    row("zeros_like.default", LIKE, |s| like(s, Number::Int(0))),
    row("ones_like.default", LIKE, |s| like(s, Number::Int(1))),
    row("empty_like.default", LIKE, |s| like(s, Number::Int(0))),
    row(
        "full_like.default",
        "self fill_value dtype=None layout=None device=None pin_memory=None memory_format=None",
        |s| {
            let value = s.numeral("fill_value")?;
            like(s, value)
        },
    ),
    row("new_zeros.default", NEW, |s| new(s, Number::Int(0))),
    row("new_ones.default", NEW, |s| new(s, Number::Int(1))),
    row("new_empty.default", NEW, |s| new(s, Number::Int(0))),
    row("new_empty_strided.default", "self size stride dtype=None layout=None device=None pin_memory=None", |s| {
        new(s, Number::Int(0))
    }),
    row("new_full.default", "self size fill_value dtype=None layout=None device=None pin_memory=None", |s| {
        let value = s.numeral("fill_value")?;
        new(s, value)
    }),
    row("arange.default", "end dtype=None layout=None device=None pin_memory=None", |s| counted(s, &["end"])),
    row("arange.start", "start end dtype=None layout=None device=None pin_memory=None", |s| {
        counted(s, &["start", "end"])
    }),
    row("arange.start_step", "start end step=1 dtype=None layout=None device=None pin_memory=None", |s| {
        counted(s, &["start", "end", "step"])
    }),
    row("linspace.default", "start end steps dtype=None layout=None device=None pin_memory=None", |s| {
        let (start, end) = (s.float("start")?, s.float("end")?);
        let steps = non_negative(&[s.int("steps")?], "steps")?[0];
        let dtype = s.dtype_opt("dtype")?.unwrap_or(DType::F32);
        let step = if steps > 1 { (end - start) / (steps - 1) as f64 } else { 0.0 };
        // From both ends, so that the last element is `end`.
        listed(s, dtype, steps, |i| {
            if i < steps / 2 || steps == 1 { start + step * i as f64 } else { end - step * (steps - 1 - i) as f64 }
        })
    }),
    row("logspace.default", "start end steps base=10.0 dtype=None layout=None device=None pin_memory=None", |s| {
        let (start, end, base) = (s.float("start")?, s.float("end")?, s.float("base")?);
        let steps = non_negative(&[s.int("steps")?], "steps")?[0];
        let dtype = s.dtype_opt("dtype")?.unwrap_or(DType::F32);
        let step = if steps > 1 { (end - start) / (steps - 1) as f64 } else { 0.0 };
        listed(s, dtype, steps, |i| base.powf(start + step * i as f64))
    }),
    row("eye.default", "n dtype=None layout=None device=None pin_memory=None", |s| {
        let n = non_negative(&[s.int("n")?], "n")?[0];
        identity(s, n, n)
    }),
    row("eye.m", "n m dtype=None layout=None device=None pin_memory=None", |s| {
        let size = non_negative(&[s.int("n")?, s.int("m")?], "a size")?;
        identity(s, size[0], size[1])
    }),
    row("tril.default", "self diagonal=0", |s| triangle(s, PointFn::Le)),
    row("triu.default", "self diagonal=0", |s| triangle(s, PointFn::Ge)),
    row("tril_indices.default", "row col offset=0 dtype=None layout=None device=None pin_memory=None", |s| {
        triangle_indices(s, |row, column, offset| column.saturating_sub(row) <= offset)
    }),
    row("triu_indices.default", "row col offset=0 dtype=None layout=None device=None pin_memory=None", |s| {
        triangle_indices(s, |row, column, offset| column.saturating_sub(row) >= offset)
    }),
    row("one_hot.default", "self num_classes=-1", |s| {
        let (x, classes) = (s.tensor("self")?, s.int("num_classes")?);
        let Some(classes) = usize::try_from(classes).ok().filter(|&classes| classes > 0) else {
            return unsupported("a number of classes that depends on data");
        };
        let (rank, positions) = (s.rank(x), iota(s, DType::I64, classes, 0, 1)?);
        let column = s.unsqueeze(x, &[rank])?;
        let hits = s.binary(PointFn::Eq, column, positions)?;
        let y = s.cast(hits, DType::I64)?;
        Ok(vec![s.settled(y, positions)?])
    }),
    row("diag_embed.default", "self offset=0 dim1=-2 dim2=-1", |s| {
        let x = s.tensor("self")?;
        let rank = s.rank(x) + 1;
        let axes = super::super::site::axes_of(&[s.int("dim1")?, s.int("dim2")?], rank)?;
        let offset = s.int("offset")?;
        let Some(length) = s.shape(x).last().copied() else { return invalid("a scalar has no diagonal") };
        let side = length.saturating_add(usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX));
        let mut shape = s.shape(x);
        shape.pop();
        let (low, high) = (axes[0].min(axes[1]), axes[0].max(axes[1]));
        shape.insert(low, side);
        shape.insert(high, side);
        let square = s.fresh(s.dtype(x), &shape, Number::Int(0))?;
        let diagonal = s.one(Op::Diagonal { offset, axis1: axes[0], axis2: axes[1] }, &[square])?;
        s.write(diagonal, x)?;
        Ok(vec![square])
    }),
];

const LIKE: &str = "self dtype=None layout=None device=None pin_memory=None memory_format=None";
const NEW: &str = "self size dtype=None layout=None device=None pin_memory=None";

fn filled(s: &mut Site, number: Number) -> Outputs {
    let default = if s.has("fill_value") { number.dtype() } else { DType::F32 };
    let dtype = s.dtype_opt("dtype")?.unwrap_or(default);
    let shape = s.sizes("size")?;
    Ok(vec![s.fresh(dtype, &shape, number)?])
}

fn like(s: &mut Site, number: Number) -> Outputs {
    let x = s.tensor("self")?;
    let (dtype, shape) = (s.dtype_opt("dtype")?.unwrap_or(s.dtype(x)), s.shape(x));
    Ok(vec![s.fresh(dtype, &shape, number)?])
}

fn new(s: &mut Site, number: Number) -> Outputs {
    let x = s.tensor("self")?;
    let (dtype, shape) = (s.dtype_opt("dtype")?.unwrap_or(s.dtype(x)), s.sizes("size")?);
    Ok(vec![s.fresh(dtype, &shape, number)?])
}

/// `0, 1, ..` along one axis of a shape that is 1 elsewhere; not to be written.
pub fn iota(s: &mut Site, dtype: DType, len: usize, axis: usize, rank: usize) -> Result<ValueId, Stop> {
    Words::iota(s, dtype, len, axis, rank)
}

fn counted(s: &mut Site, names: &[&str]) -> Outputs {
    let parts = names.iter().map(|name| s.part(name)).collect::<Result<Vec<Part>, Stop>>()?;
    // Numbers alone: floats if any is one, else i64.
    let floats = parts.iter().any(|part| matches!(part, Part::Number(dtype) if dtype.is_float()));
    let dtype = s.dtype_opt("dtype")?.unwrap_or(if floats { DType::F32 } else { DType::I64 });
    let number =
        |s: &Site, name: &str, default: Number| if names.contains(&name) { s.numeral(name) } else { Ok(default) };
    let (start, end) = (number(s, "start", Number::Int(0))?, s.numeral("end")?);
    let step = number(s, "step", Number::Int(1))?;
    if let (Number::Int(start), Number::Int(end), Number::Int(step)) = (start, end, step) {
        let (span, step) = (i128::from(end) - i128::from(start), i128::from(step));
        if step == 0 || (span != 0 && (span > 0) != (step > 0)) {
            return invalid(format!("from {start} to {end} in steps of {step}"));
        }
        let count = usize::try_from((span + step - step.signum()) / step).unwrap_or(usize::MAX);
        if dtype != DType::I64 {
            return listed(s, dtype, count, |i| (i128::from(start) + step * i as i128) as f64);
        }
        // Beyond 2^53 a float would not name every integer.
        bounded(count)?;
        let elements: Vec<i64> = (0..count).map(|i| (i128::from(start) + step * i as i128) as i64).collect();
        let constant = s.int_constant(&[count], &elements)?;
        return Ok(vec![s.one(Op::Contiguous {}, &[constant])?]);
    }
    let (start, end, step) = (start.as_f64(), end.as_f64(), step.as_f64());
    let count = ((end - start) / step).ceil();
    if !count.is_finite() || count < 0.0 {
        return invalid(format!("from {start} to {end} in steps of {step}"));
    }
    if !dtype.is_float() {
        // Integers are counted in integers, which fractions are cut to first.
        let (first, step) = (start.trunc(), step.trunc());
        return listed(s, dtype, count as usize, |i| first + step * i as f64);
    }
    listed(s, dtype, count as usize, |i| start + step * i as f64)
}

/// The most elements that are counted out while importing.
const MAX_LISTED: usize = 1 << 24;

fn check_listed(count: usize) -> Result<(), Stop> {
    if count > MAX_LISTED {
        return unsupported(format!("{count} elements counted out, at most {MAX_LISTED}"));
    }
    Ok(())
}

fn bounded(count: usize) -> Result<(), Stop> {
    match count {
        0..=MAX_LISTED => Ok(()),
        _ => unsupported(format!("{count} elements counted out, at most {MAX_LISTED}")),
    }
}

fn listed(s: &mut Site, dtype: DType, count: usize, element: impl Fn(usize) -> f64) -> Outputs {
    check_listed(count)?;
    let elements: Vec<f64> = (0..count).map(element).collect();
    let constant = s.number_constant(dtype, &[count], &elements)?;
    Ok(vec![s.one(Op::Contiguous {}, &[constant])?])
}

/// `row - column` of a matrix, by broadcasting two vectors.
fn distance(s: &mut Site, rows: usize, columns: usize) -> Result<ValueId, Stop> {
    let (down, across) = (iota(s, DType::I64, rows, 0, 2)?, iota(s, DType::I64, columns, 1, 2)?);
    s.sub(across, down)
}

fn identity(s: &mut Site, rows: usize, columns: usize) -> Outputs {
    TensorType::new(DType::F32, [rows, columns]).check()?;
    let dtype = s.dtype_opt("dtype")?.unwrap_or(DType::F32);
    let off = distance(s, rows, columns)?;
    let on = s.with_number(PointFn::Eq, off, 0.0)?;
    if dtype == DType::Bool { Ok(vec![on]) } else { Ok(vec![s.cast(on, dtype)?]) }
}

/// Elements on one side of a diagonal, zero elsewhere.
fn triangle(s: &mut Site, keep: PointFn) -> Outputs {
    let (x, diagonal) = (s.tensor("self")?, s.int("diagonal")?);
    let shape = s.shape(x);
    let [.., rows, columns] = shape.as_slice() else { return invalid("a triangle has two axes") };
    let off = distance(s, *rows, *columns)?;
    let diagonal = s.scalar(Number::Int(diagonal), DType::I64);
    let kept = s.binary(keep, off, diagonal)?;
    let zero = s.scalar(Number::Int(0), s.dtype(x));
    Ok(vec![s.select(kept, x, zero)?])
}

fn triangle_indices(s: &mut Site, keep: fn(i64, i64, i64) -> bool) -> Outputs {
    let size = non_negative(&[s.int("row")?, s.int("col")?], "a size")?;
    let offset = s.int("offset")?;
    if size[0].checked_mul(size[1]).is_none_or(|elements| elements > MAX_LISTED) {
        return unsupported(format!("a triangle of {} by {}", size[0], size[1]));
    }
    let places = (0..size[0] as i64).flat_map(|row| (0..size[1] as i64).map(move |column| (row, column)));
    let kept: Vec<(i64, i64)> = places.filter(|&(row, column)| keep(row, column, offset)).collect();
    let elements: Vec<f64> = kept.iter().map(|at| at.0 as f64).chain(kept.iter().map(|at| at.1 as f64)).collect();
    let dtype = s.dtype_opt("dtype")?.unwrap_or(DType::I64);
    let constant = s.number_constant(dtype, &[2, kept.len()], &elements)?;
    Ok(vec![s.one(Op::Contiguous {}, &[constant])?])
}
