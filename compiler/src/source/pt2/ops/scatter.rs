//! Writing at indices that are data. Each row gives the new tensor; its form with `_` writes that over the old one.

use super::super::site::{Number, Outputs, Site, Stop, Words, axis_of, invalid, non_negative, unsupported};
use super::index::places;
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{CumulativeFn, Op, PointFn, ScatterFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row("index_put.default _unsafe_index_put.default", "self indices values accumulate=False unsafe=False", |s| {
        let function = if s.flag("accumulate")? { ScatterFn::Add } else { ScatterFn::Assign };
        index_put(s, function)
    }),
    row("_index_put_impl.default", "self indices values accumulate=False unsafe=False", |s| {
        let function = if s.flag("accumulate")? { ScatterFn::Add } else { ScatterFn::Assign };
        index_put(s, function)
    }),
    row("index_copy.default", "self dim index source", |s| {
        let source = s.tensor("source")?;
        along(s, source, ScatterFn::Assign)
    }),
    row("index_add.default", "self dim index source alpha=1", |s| {
        let (source, alpha) = (s.tensor("source")?, s.numeral("alpha")?);
        let source = if alpha.as_f64() == 1.0 {
            source
        } else {
            let alpha = s.scalar(alpha, s.dtype(source));
            let function = if s.dtype(source) == DType::Bool { PointFn::And } else { PointFn::Mul };
            s.binary(function, source, alpha)?
        };
        along(s, source, ScatterFn::Add)
    }),
    row("index_fill.int_Scalar index_fill.int_Tensor", "self dim index value", |s| {
        let (x, index) = (s.tensor("self")?, s.tensor("index")?);
        let value = s.operand("value", s.dtype(x))?;
        let mut shape = s.shape(x);
        if !shape.is_empty() {
            let axis = axis_of(s.int("dim")?, shape.len())?;
            shape[axis] = s.ty(index).len();
        }
        let source = s.expand(value, &shape)?;
        along(s, source, ScatterFn::Assign)
    }),
    row("scatter.src scatter.value", "self dim index src|value", |s| scattered(s, ScatterFn::Assign)),
    row("scatter_add.default", "self dim index src", |s| scattered(s, ScatterFn::Add)),
    row("scatter.reduce scatter.value_reduce", "self dim index src|value reduce", |s| {
        let function = match s.text("reduce")? {
            "add" => ScatterFn::Add,
            "multiply" => ScatterFn::Mul,
            other => return invalid(format!("argument reduce is {other:?}, expected add or multiply")),
        };
        scattered(s, function)
    }),
    row("scatter_reduce.two", "self dim index src reduce include_self=True", |s| {
        let function = match s.text("reduce")? {
            "sum" => ScatterFn::Add,
            "prod" => ScatterFn::Mul,
            "amax" => ScatterFn::Max,
            "amin" => ScatterFn::Min,
            other => return unsupported(format!("the reduction {other:?}")),
        };
        if s.flag("include_self")? {
            return scattered(s, function);
        }
        // What is hit starts from the reduction of nothing.
        let (x, index) = (s.tensor("self")?, s.tensor("index")?);
        let dtype = s.dtype(x);
        let start = match function {
            ScatterFn::Add => Number::Int(0),
            ScatterFn::Mul => Number::Int(1),
            ScatterFn::Max if dtype.is_float() => Number::Float(f64::NEG_INFINITY),
            ScatterFn::Min if dtype.is_float() => Number::Float(f64::INFINITY),
            _ => return unsupported(format!("the largest of nothing in {dtype}")),
        };
        let value = s.scalar(start, dtype);
        let from = scatter(s, x, index, value, ScatterFn::Assign)?;
        let source = s.operand("src", dtype)?;
        Ok(vec![scatter(s, from, index, source, function)?])
    }),
    row("index_reduce.default", "self dim index source reduce include_self=True", |s| {
        let function = match s.text("reduce")? {
            "prod" => ScatterFn::Mul,
            "amax" => ScatterFn::Max,
            "amin" => ScatterFn::Min,
            other => return unsupported(format!("the reduction {other:?}")),
        };
        if !s.flag("include_self")? {
            return unsupported("a reduction without what was there");
        }
        let source = s.tensor("source")?;
        along(s, source, function)
    }),
    row("put.default", "self index source accumulate=False", |s| {
        let (x, index) = (s.tensor("self")?, s.tensor("index")?);
        let source = s.operand("source", s.dtype(x))?;
        let function = if s.flag("accumulate")? { ScatterFn::Add } else { ScatterFn::Assign };
        let (shape, length, count) = (s.shape(x), s.ty(x).len(), s.ty(index).len());
        let (flat, index, source) =
            (s.reshape(x, &[length])?, s.reshape(index, &[count])?, s.reshape(source, &[count])?);
        let (flat, source, function, own) = truths(s, flat, source, function)?;
        let y = s.one(Op::ScatterElements { axis: 0, function }, &[flat, index, source])?;
        let y = s.cast(y, own)?;
        Ok(vec![s.reshape(y, &shape)?])
    }),
    row("masked_scatter.default", "self mask source", |s| {
        let (x, source) = (s.tensor("self")?, s.tensor("source")?);
        let mask = s.operand("mask", DType::Bool)?;
        let shape = crate::ops::shape::broadcast(&s.shape(x), &s.shape(mask))?;
        let (x, mask) = (s.expand(x, &shape)?, s.expand(mask, &shape)?);
        let (length, available) = (s.ty(x).len(), s.ty(source).len());
        if available == 0 || length == 0 {
            return Ok(vec![s.one(Op::Contiguous {}, &[x])?]);
        }
        // The n-th true place gets the n-th element: their numbers are a running sum.
        let flat = s.reshape(mask, &[length])?;
        let ones = s.cast(flat, DType::I64)?;
        let op = Op::Cumulative { function: CumulativeFn::Sum, axis: 0, exclusive: true, reverse: false };
        let number = s.one(op, &[ones])?;
        let number = s.with_number(PointFn::Min, number, (available - 1) as f64)?;
        let elements = s.reshape(source, &[available])?;
        let taken = s.one(Op::Gather { axis: 0 }, &[elements, number])?;
        let taken = s.reshape(taken, &shape)?;
        Ok(vec![s.select(mask, taken, x)?])
    }),
    row("slice_scatter.default", "self src dim=0 start=None end=None step=1", |s| {
        let (x, source) = (s.tensor("self")?, s.tensor("src")?);
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let extent = s.shape(x)[axis] as i64;
        let place = |value: i64| if value < 0 { value.saturating_add(extent) } else { value }.clamp(0, extent);
        let start = place(s.int_opt("start")?.unwrap_or(0));
        let end = place(s.int_opt("end")?.unwrap_or(extent)).max(start);
        let step = non_negative(&[s.int("step")?], "a step")?[0] as i64;
        let base = s.one(Op::Contiguous {}, &[x])?;
        let part = s.one(Op::Slice { axis, start, end, step }, &[base])?;
        s.write(part, source)?;
        Ok(vec![base])
    }),
    row("select_scatter.default", "self src dim index", |s| {
        let (x, source) = (s.tensor("self")?, s.tensor("src")?);
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let index = axis_of(s.int("index")?, s.shape(x)[axis])?;
        let base = s.one(Op::Contiguous {}, &[x])?;
        let part = s.one(Op::Select { axis, index }, &[base])?;
        s.write(part, source)?;
        Ok(vec![base])
    }),
    row("diagonal_scatter.default", "self src offset=0 dim1=0 dim2=1", |s| {
        let (x, source) = (s.tensor("self")?, s.tensor("src")?);
        let axes = super::super::site::axes_of(&[s.int("dim1")?, s.int("dim2")?], s.rank(x))?;
        let base = s.one(Op::Contiguous {}, &[x])?;
        let op = Op::Diagonal { offset: s.int("offset")?, axis1: axes[0], axis2: axes[1] };
        let part = s.one(op, &[base])?;
        s.write(part, source)?;
        Ok(vec![base])
    }),
    row("as_strided_scatter.default", "self src size stride storage_offset=None", |s| {
        let (x, source) = (s.tensor("self")?, s.tensor("src")?);
        let (shape, strides) = (s.sizes("size")?, s.sizes("stride")?);
        let offset = non_negative(&[s.int_opt("storage_offset")?.unwrap_or(0)], "an offset")?[0];
        // Strides count in the bytes of the operand, whatever its own strides are.
        let own = s.layout(x);
        if !own.is_parallel(&crate::types::Layout { strides: crate::types::dense_strides(&own.shape), ..own.clone() }) {
            return unsupported("strides over a tensor that is not contiguous");
        }
        let base = s.one(Op::Contiguous {}, &[x])?;
        let part = s.one(Op::AsStrided { shape, strides, offset: Some(offset) }, &[base])?;
        s.write(part, source)?;
        Ok(vec![base])
    }),
];

fn index_put(s: &mut Site, function: ScatterFn) -> Outputs {
    let x = s.tensor("self")?;
    let values = s.operand("values", s.dtype(x))?;
    let indices = s.tensors_opt("indices")?;
    if let Some(&Some(mask)) = indices.first()
        && matches!(s.dtype(mask), DType::Bool | DType::U8)
    {
        return masked_put(s, x, mask, values, indices.len(), function);
    }
    let (x, values, function, own) = truths(s, x, values, function)?;
    let at = places(s, x, &indices)?;
    // The value broadcasts to the shape that reading there would give.
    let picked = Op::GatherNd { batch_dims: 0 }.infer(&[s.ty(at.turned), s.ty(at.coordinates)])?;
    let shape: Vec<usize> = at.order_of_result().iter().map(|&axis| picked[0].shape[axis]).collect();
    let wide = s.expand(values, &shape)?;
    let updates = s.permute(wide, &at.order_of_values())?;
    let y = s.one(Op::ScatterNd { function }, &[at.turned, at.coordinates, updates])?;
    let mut back = vec![0; at.order.len()];
    at.order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
    let y = s.permute(y, &back)?;
    Ok(vec![s.cast(y, own)?])
}

/// Truths are combined as numbers: a sum is their largest, a product their least. The last result is the dtype to go back to.
fn truths(
    s: &mut Site,
    x: ValueId,
    values: ValueId,
    function: ScatterFn,
) -> Result<(ValueId, ValueId, ScatterFn, DType), Stop> {
    let own = s.dtype(x);
    if own != DType::Bool || function == ScatterFn::Assign {
        return Ok((x, values, function, own));
    }
    let function = match function {
        ScatterFn::Add => ScatterFn::Max,
        ScatterFn::Mul => ScatterFn::Min,
        other => other,
    };
    Ok((s.cast(x, DType::U8)?, s.cast(values, DType::U8)?, function, own))
}

/// A mask says where; a value of one element, or one that broadcasts behind the mask's axes, goes to each place.
fn masked_put(
    s: &mut Site,
    x: ValueId,
    mask: ValueId,
    values: ValueId,
    indices: usize,
    function: ScatterFn,
) -> Outputs {
    let (rank, masked) = (s.rank(x), s.rank(mask));
    if indices != 1 || masked > rank || s.shape(mask) != s.shape(x)[..masked] {
        return unsupported("a mask beside other indices");
    }
    // Values for each true place would need their number: only what is the same for all of them is known.
    let tail = rank - masked;
    let own = s.shape(values);
    if own.len() > tail && own[..own.len() - tail].iter().any(|&extent| extent != 1) {
        return unsupported("a value for each true element of a mask, whose number depends on data");
    }
    let values = if own.len() > tail { s.reshape(values, &own[own.len() - tail..])? } else { values };
    let truth = s.cast(mask, DType::Bool)?;
    let shape = [s.shape(truth), vec![1; tail]].concat();
    let truth = s.reshape(truth, &shape)?;
    let new = match function {
        ScatterFn::Assign => values,
        _ if s.dtype(x) == DType::Bool => s.binary(PointFn::Or, x, values)?,
        _ => s.add(x, values)?,
    };
    Ok(vec![s.select(truth, new, x)?])
}

/// Rows of `source` written at indices of one axis.
fn along(s: &mut Site, source: ValueId, function: ScatterFn) -> Outputs {
    let (x, index) = (s.tensor("self")?, s.tensor("index")?);
    let source = s.cast(source, s.dtype(x))?;
    let (x, source, function, own) = truths(s, x, source, function)?;
    if s.rank(x) == 0 {
        let (x, index) = (s.unsqueeze(x, &[0])?, s.reshape(index, &[1])?);
        let source = s.reshape(source, &[1])?;
        let y = s.one(Op::ScatterElements { axis: 0, function }, &[x, index, source])?;
        let y = s.cast(y, own)?;
        return Ok(vec![s.reshape(y, &[])?]);
    }
    let axis = axis_of(s.int("dim")?, s.rank(x))?;
    let count = s.ty(index).len();
    let index = s.cast(index, DType::I64)?;
    let column = s.reshape(index, &[count, 1])?;
    let order: Vec<usize> = [axis].into_iter().chain((0..s.rank(x)).filter(|&other| other != axis)).collect();
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
    let source = if s.rank(source) == 0 && s.rank(x) == 1 { s.reshape(source, &[1])? } else { source };
    let (turned, updates) = (s.permute(x, &order)?, s.permute(source, &order)?);
    let y = s.one(Op::ScatterNd { function }, &[turned, column, updates])?;
    let y = s.cast(y, own)?;
    Ok(vec![s.permute(y, &back)?])
}

/// Elements of `src` written at indices of one axis, element by element.
fn scattered(s: &mut Site, function: ScatterFn) -> Outputs {
    let (x, index) = (s.tensor("self")?, s.tensor("index")?);
    let source = s.operand("src", s.dtype(x))?;
    Ok(vec![scatter(s, x, index, source, function)?])
}

fn scatter(s: &mut Site, x: ValueId, index: ValueId, source: ValueId, function: ScatterFn) -> Result<ValueId, Stop> {
    if s.ty(index).is_empty() {
        return s.one(Op::Contiguous {}, &[x]);
    }
    if s.dtype(x) == DType::Bool && function != ScatterFn::Assign {
        let (x, source, function, own) = truths(s, x, source, function)?;
        let y = scatter(s, x, index, source, function)?;
        return s.cast(y, own);
    }
    if s.rank(x) == 0 {
        let (x, index, source) = (s.reshape(x, &[1])?, s.reshape(index, &[1])?, s.reshape(source, &[1])?);
        let y = s.one(Op::ScatterElements { axis: 0, function }, &[x, index, source])?;
        return s.reshape(y, &[]);
    }
    let axis = axis_of(s.int("dim")?, s.rank(x))?;
    let (shape, reached) = (s.shape(x), s.shape(index));
    let source = if s.rank(source) == 0 {
        s.expand(source, &reached)?
    } else {
        let mut part = source;
        for other in 0..reached.len().min(s.rank(source)) {
            if reached[other] > s.shape(source)[other] {
                return invalid(format!("indices {} for a source {}", s.ty(index), s.ty(source)));
            }
            part = s.slice(part, other, 0, reached[other])?;
        }
        part
    };
    if reached.len() != shape.len() {
        return invalid(format!("indices {} for {}", s.ty(index), s.ty(x)));
    }
    if (0..shape.len()).all(|other| other == axis || reached[other] == shape[other]) {
        return s.one(Op::ScatterElements { axis, function }, &[x, index, source]);
    }
    // Only a part of the other axes is reached: that part is written in a copy.
    let base = s.one(Op::Contiguous {}, &[x])?;
    let part = super::index::covered(s, base, index, axis)?;
    let y = s.one(Op::ScatterElements { axis, function }, &[part, index, source])?;
    s.write(part, y)?;
    Ok(base)
}
