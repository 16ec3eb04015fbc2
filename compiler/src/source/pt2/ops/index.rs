//! Reading at indices that are data.

use super::super::site::{Number, Outputs, Site, Stop, Words, axis_of, invalid, unsupported};
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row("index_select.default", "self dim index", |s| {
        let (x, index) = (s.tensor("self")?, s.tensor("index")?);
        let index = vector(s, index)?;
        if s.rank(x) == 0 {
            let column = s.unsqueeze(x, &[0])?;
            let y = s.one(Op::Gather { axis: 0 }, &[column, index])?;
            return Ok(vec![s.reshape(y, &[])?]);
        }
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        Ok(vec![s.one(Op::Gather { axis }, &[x, index])?])
    }),
    row("embedding.default", "weight indices padding_idx=-1 scale_grad_by_freq=False sparse=False", |s| {
        let (weight, indices) = (s.tensor("weight")?, s.tensor("indices")?);
        Ok(vec![s.one(Op::Gather { axis: 0 }, &[weight, indices])?])
    }),
    row("gather.default", "self dim index sparse_grad=False", |s| {
        let (x, index) = (s.tensor("self")?, s.tensor("index")?);
        if s.rank(x) == 0 || s.ty(index).is_empty() {
            // There is one element to take, or none.
            let shape = s.shape(index);
            if s.ty(index).is_empty() {
                return Ok(vec![s.fresh(s.dtype(x), &shape, Number::Int(0))?]);
            }
            let wide = s.expand(x, &shape)?;
            return Ok(vec![s.one(Op::Contiguous {}, &[wide])?]);
        }
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let x = covered(s, x, index, axis)?;
        Ok(vec![s.one(Op::GatherElements { axis }, &[x, index])?])
    }),
    row("take.default", "self index", |s| {
        let (x, index) = (s.tensor("self")?, s.tensor("index")?);
        let length = s.ty(x).len();
        let flat = s.reshape(x, &[length])?;
        Ok(vec![s.one(Op::Gather { axis: 0 }, &[flat, index])?])
    }),
    row("take_along_dim.default", "self indices dim=None", |s| {
        let (mut x, mut index) = (s.tensor("self")?, s.tensor("indices")?);
        let axis = match s.int_opt("dim")? {
            Some(axis) => axis_of(axis, s.rank(x))?,
            None => {
                let (length, count) = (s.ty(x).len(), s.ty(index).len());
                x = s.reshape(x, &[length])?;
                index = s.reshape(index, &[count])?;
                0
            }
        };
        let (mut of_x, mut of_index) = (s.shape(x), s.shape(index));
        if of_x.len() != of_index.len() {
            return invalid("indices have as many axes as what they index");
        }
        let along = (of_x[axis], of_index[axis]);
        (of_x[axis], of_index[axis]) = (1, 1);
        let mut shape = crate::ops::shape::broadcast(&of_x, &of_index)?;
        shape[axis] = along.0;
        x = s.expand(x, &shape)?;
        shape[axis] = along.1;
        index = s.expand(index, &shape)?;
        Ok(vec![s.one(Op::GatherElements { axis }, &[x, index])?])
    }),
    row("index.Tensor", "self indices", |s| {
        let x = s.tensor("self")?;
        let indices = s.tensors_opt("indices")?;
        if let Some(&Some(mask)) = indices.first()
            && matches!(s.dtype(mask), DType::Bool | DType::U8)
        {
            return unsupported("a selection by a mask, whose size depends on data");
        }
        let at = places(s, x, &indices)?;
        let y = s.one(Op::GatherNd { batch_dims: 0 }, &[at.turned, at.coordinates])?;
        // Gathered axes come first; where the indices are neighbours they belong in their place.
        let order = at.order_of_result();
        Ok(vec![s.permute(y, &order)?])
    }),
    row("trace.default", "self", |s| {
        let x = s.tensor("self")?;
        let diagonal = s.one(Op::Diagonal { offset: 0, axis1: 0, axis2: 1 }, &[x])?;
        let dtype = if s.dtype(x).is_float() { s.dtype(x) } else { DType::I64 };
        let diagonal = s.cast(diagonal, dtype)?;
        Ok(vec![s.reduce(crate::ops::ReduceFn::Sum, diagonal, &[0], false)?])
    }),
    row("bucketize.Tensor", "self boundaries out_int32=False right=False", |s| {
        let (x, boundaries, right) = (s.tensor("self")?, s.tensor("boundaries")?, s.flag("right")?);
        bucket(s, x, boundaries, right, "out_int32")
    }),
    row("searchsorted.Tensor", "sorted_sequence self out_int32=False right=False side=None sorter=None", |s| {
        let (x, boundaries) = (s.tensor("self")?, s.tensor("sorted_sequence")?);
        if s.has("sorter") {
            return unsupported("a sequence sorted by another tensor");
        }
        let right = s.flag("right")? || (s.has("side") && s.text("side")? == "right");
        bucket(s, x, boundaries, right, "out_int32")
    }),
];

/// Indices as a vector.
fn vector(s: &mut Site, index: ValueId) -> Result<ValueId, Stop> {
    if s.rank(index) == 0 { s.unsqueeze(index, &[0]) } else { Ok(index) }
}

/// The part of the operand that indices of its other axes reach.
pub fn covered(s: &mut Site, x: ValueId, index: ValueId, axis: usize) -> Result<ValueId, Stop> {
    let (shape, reached) = (s.shape(x), s.shape(index));
    if shape.len() != reached.len() {
        return invalid(format!("indices {} for {}", s.ty(index), s.ty(x)));
    }
    let mut part = x;
    for other in (0..shape.len()).filter(|&other| other != axis) {
        if reached[other] > shape[other] {
            return invalid(format!("indices {} for {}", s.ty(index), s.ty(x)));
        }
        part = s.slice(part, other, 0, reached[other])?;
    }
    Ok(part)
}

/// How many boundaries are below (or at most) each element, by comparing with each.
fn bucket(s: &mut Site, x: ValueId, boundaries: ValueId, right: bool, narrow: &str) -> Outputs {
    let (rank, to) = (s.rank(x), if s.flag(narrow)? { DType::I32 } else { DType::I64 });
    let dtype = super::super::promote::common(s.dtype(x), s.dtype(boundaries));
    let (x, boundaries) = (s.cast(x, dtype)?, s.cast(boundaries, dtype)?);
    let column = s.unsqueeze(x, &[rank])?;
    let row = match s.rank(boundaries) {
        1 => boundaries,
        _ if rank > 0 && s.shape(boundaries)[..rank - 1] == s.shape(x)[..rank - 1] => {
            s.unsqueeze(boundaries, &[rank - 1])?
        }
        _ => return invalid("boundaries are a vector, or one for each row"),
    };
    // Asked the other way round, so that NaN lies behind all boundaries.
    let function = if right { PointFn::Gt } else { PointFn::Ge };
    let reached = s.binary(function, row, column)?;
    let below = s.unary(PointFn::Not, reached)?;
    let counted = s.cast(below, to)?;
    Ok(vec![s.reduce(crate::ops::ReduceFn::Sum, counted, &[rank], false)?])
}

/// What `x[i, :, j]` names.
pub struct Places {
    /// The operand with its indexed axes first.
    pub turned: ValueId,
    /// Coordinates along the last axis, over the broadcast shape of the indices.
    pub coordinates: ValueId,
    /// Axes of the operand in the order of `turned`.
    pub order: Vec<usize>,
    /// How many axes are indexed.
    pub indexed: usize,
    /// Axes of the broadcast indices.
    pub rank: usize,
    /// Where the axes of the indices stand in the result.
    pub at: usize,
}

impl Places {
    /// The axes of what was gathered, in the order of the result.
    pub fn order_of_result(&self) -> Vec<usize> {
        let kept = self.order.len() - self.indexed;
        let (front, back) = (self.rank..self.rank + self.at, self.rank + self.at..self.rank + kept);
        front.chain(0..self.rank).chain(back).collect()
    }

    /// The other way round: the axes of a value of the result's shape, those of the indices first.
    pub fn order_of_values(&self) -> Vec<usize> {
        let order = self.order_of_result();
        let mut inverse = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &axis)| inverse[axis] = place);
        inverse
    }
}

/// Indices of some axes, broadcast against each other (numpy's advanced indexing).
pub fn places(s: &mut Site, x: ValueId, indices: &[Option<ValueId>]) -> Result<Places, Stop> {
    let rank = s.rank(x);
    let named: Vec<(usize, ValueId)> =
        indices.iter().enumerate().filter_map(|(axis, index)| Some((axis, (*index)?))).collect();
    if named.is_empty() || indices.len() > rank {
        return invalid(format!("{} indices for {rank} axes", indices.len()));
    }
    let mut shape = Vec::new();
    for &(_, index) in &named {
        if !matches!(s.dtype(index), DType::I64 | DType::I32) {
            return unsupported(format!("indices of {}", s.dtype(index)));
        }
        shape = crate::ops::shape::broadcast(&shape, &s.shape(index))?;
    }
    let mut columns = Vec::with_capacity(named.len());
    for &(_, index) in &named {
        let index = s.cast(index, DType::I64)?;
        let wide = s.expand(index, &shape)?;
        columns.push(s.unsqueeze(wide, &[shape.len()])?);
    }
    let coordinates = s.concat(&columns, shape.len())?;
    let axes: Vec<usize> = named.iter().map(|entry| entry.0).collect();
    let rest = (0..rank).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = axes.iter().copied().chain(rest).collect();
    let turned = s.permute(x, &order)?;
    let neighbours = axes.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    let at = if neighbours { axes[0] } else { 0 };
    Ok(Places { turned, coordinates, order, indexed: axes.len(), rank: shape.len(), at })
}
