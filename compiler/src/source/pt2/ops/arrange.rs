//! Tensors put together from others: diagonals, products of sets, blocks.

use super::super::site::{Number, Outputs, Site, Stop, Words, axis_of, invalid, non_negative, unsupported};
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row("diag.default", "self diagonal=0", |s| {
        let (x, offset) = (s.tensor("self")?, s.int("diagonal")?);
        match s.rank(x) {
            1 => Ok(vec![on_diagonal(s, x, offset)?]),
            2 => {
                let seen = s.one(Op::Diagonal { offset, axis1: 0, axis2: 1 }, &[x])?;
                Ok(vec![s.one(Op::Contiguous {}, &[seen])?])
            }
            _ => invalid(format!("a diagonal of {}", s.ty(x))),
        }
    }),
    row("diagflat.default", "self offset=0", |s| {
        let (x, offset) = (s.tensor("self")?, s.int("offset")?);
        let length = s.ty(x).len();
        let x = s.reshape(x, &[length])?;
        Ok(vec![on_diagonal(s, x, offset)?])
    }),
    row("block_diag.default", "tensors", |s| {
        let mut blocks = Vec::new();
        for tensor in s.tensors("tensors")? {
            let (rank, length) = (s.rank(tensor), s.ty(tensor).len());
            blocks.push(if rank < 2 { s.reshape(tensor, &[1, length])? } else { tensor });
        }
        let dtype = blocks.iter().map(|&block| s.dtype(block)).reduce(super::super::promote::common);
        let Some(dtype) = dtype else { return invalid("no blocks") };
        let width = |s: &Site, axis: usize| {
            blocks.iter().try_fold(0usize, |sum, &block| sum.checked_add(s.shape(block).get(axis).copied()?))
        };
        let (Some(rows), Some(columns)) = (width(s, 0), width(s, 1)) else { return invalid("blocks are matrices") };
        let y = s.fresh(dtype, &[rows, columns], Number::Int(0))?;
        let (mut row, mut column) = (0, 0);
        for block in blocks {
            let (height, width) = (s.shape(block)[0], s.shape(block)[1]);
            let part = s.slice(y, 0, row, row + height)?;
            let part = s.slice(part, 1, column, column + width)?;
            s.write(part, block)?;
            (row, column) = (row + height, column + width);
        }
        Ok(vec![y])
    }),
    row("cartesian_prod.default", "tensors", |s| {
        let tensors = s.tensors("tensors")?;
        if let [one] = tensors.as_slice() {
            return Ok(vec![*one]);
        }
        let shape: Vec<usize> = tensors.iter().map(|&tensor| s.ty(tensor).len()).collect();
        let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        let Some(count) = count else { return invalid("too many tuples") };
        let mut columns = Vec::with_capacity(tensors.len());
        for (axis, &tensor) in tensors.iter().enumerate() {
            let line = s.along_axis(tensor, axis, shape.len())?;
            let wide = s.expand(line, &shape)?;
            columns.push(s.reshape(wide, &[count, 1])?);
        }
        Ok(vec![s.concat(&columns, 1)?])
    }),
    row("combinations.default", "self r=2 with_replacement=False", |s| {
        let (x, repeated) = (s.tensor("self")?, s.flag("with_replacement")?);
        let (&[length], Ok(size)) = (s.shape(x).as_slice(), usize::try_from(s.int("r")?)) else {
            return invalid("combinations are of the elements of a vector");
        };
        let Some(chosen) = combinations(length, size, repeated) else {
            return unsupported(format!("combinations of {size} of {length} elements, more than {MAX_CHOSEN}"));
        };
        let count = chosen.len().checked_div(size).unwrap_or(0);
        let index = s.int_constant(&[count, size], &chosen)?;
        Ok(vec![s.one(Op::Gather { axis: 0 }, &[x, index])?])
    }),
    row("kron.default", "self other", |s| {
        let (a, b) = (s.tensor("self")?, s.tensor("other")?);
        let rank = s.rank(a).max(s.rank(b));
        let padded = |s: &Site, x: ValueId| [vec![1; rank - s.rank(x)], s.shape(x)].concat();
        let (of_a, of_b) = (padded(s, a), padded(s, b));
        let pairs = |first: &[usize], second: &[usize]| -> Vec<usize> {
            first.iter().zip(second).flat_map(|(&a, &b)| [a, b]).collect()
        };
        let ones = vec![1; rank];
        let (a, b) = (s.reshape(a, &pairs(&of_a, &ones))?, s.reshape(b, &pairs(&ones, &of_b))?);
        let dtype = super::super::promote::common(s.dtype(a), s.dtype(b));
        let (a, b) = (s.cast(a, dtype)?, s.cast(b, dtype)?);
        let function = if dtype == DType::Bool { PointFn::And } else { PointFn::Mul };
        let product = s.binary(function, a, b)?;
        let shape: Vec<usize> = of_a.iter().zip(&of_b).map(|(&a, &b)| a * b).collect();
        Ok(vec![s.reshape(product, &shape)?])
    }),
    row("dstack.default", "tensors", |s| {
        let mut parts = Vec::new();
        for tensor in s.tensors("tensors")? {
            let shape = s.shape(tensor);
            let shape = match shape.as_slice() {
                [] => vec![1, 1, 1],
                [n] => vec![1, *n, 1],
                [n, m] => vec![*n, *m, 1],
                _ => shape,
            };
            parts.push(s.reshape(tensor, &shape)?);
        }
        joined(s, parts, 2)
    }),
    row("column_stack.default", "tensors", |s| {
        let mut parts = Vec::new();
        for tensor in s.tensors("tensors")? {
            let length = s.ty(tensor).len();
            parts.push(if s.rank(tensor) < 2 { s.reshape(tensor, &[length, 1])? } else { tensor });
        }
        joined(s, parts, 1)
    }),
    row("linalg_vander.default", "x N=None", |s| {
        let x = s.tensor("x")?;
        let rank = s.rank(x);
        let Some(&own) = s.shape(x).last() else { return invalid("a scalar has no powers") };
        let count = match s.int_opt("N")? {
            Some(count) => non_negative(&[count], "N")?[0],
            None => own,
        };
        let dtype = if s.dtype(x).is_float() { s.dtype(x) } else { DType::I64 };
        let x = s.cast(x, dtype)?;
        if count == 0 || count > 1 << 20 {
            return unsupported(format!("{count} powers"));
        }
        let column = s.unsqueeze(x, &[rank])?;
        let shape = [s.shape(x), vec![count]].concat();
        let wide = s.expand(column, &shape)?;
        let first = s.scalar(Number::Int(1), dtype);
        let place = s.iota(DType::I64, count, rank, rank + 1)?;
        let start = s.with_number(PointFn::Eq, place, 0.0)?;
        let wide = s.select(start, first, wide)?;
        let function = crate::ops::CumulativeFn::Prod;
        Ok(vec![s.one(Op::Cumulative { function, axis: rank, exclusive: false, reverse: false }, &[wide])?])
    }),
];

/// A matrix that is zero but for one diagonal.
fn on_diagonal(s: &mut Site, x: ValueId, offset: i64) -> Result<ValueId, Stop> {
    let side = s.ty(x).len().saturating_add(usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX));
    let y = s.fresh(s.dtype(x), &[side, side], Number::Int(0))?;
    let diagonal = s.one(Op::Diagonal { offset, axis1: 0, axis2: 1 }, &[y])?;
    s.write(diagonal, x)?;
    Ok(y)
}

fn joined(s: &mut Site, parts: Vec<ValueId>, axis: usize) -> Outputs {
    let dtype = parts.iter().map(|&part| s.dtype(part)).reduce(super::super::promote::common);
    let Some(dtype) = dtype else { return invalid("nothing to stack") };
    let parts = parts.into_iter().map(|part| s.cast(part, dtype)).collect::<Result<Vec<_>, _>>()?;
    let axis = axis_of(axis as i64, s.rank(parts[0]))?;
    let y = s.concat(&parts, axis)?;
    Ok(vec![if parts.len() == 1 { s.one(Op::Contiguous {}, &[y])? } else { y }])
}

/// The most indices of combinations that are listed while importing.
const MAX_CHOSEN: usize = 1 << 22;

/// Indices of all choices of `size` of `length`, in order; none if there are too many.
fn combinations(length: usize, size: usize, repeated: bool) -> Option<Vec<i64>> {
    let mut all = Vec::new();
    if size == 0 || size > 64 || length == 0 || (!repeated && size > length) {
        return if size > 64 { None } else { Some(all) };
    }
    let mut chosen: Vec<usize> = (0..size).map(|i| if repeated { 0 } else { i }).collect();
    loop {
        if all.len() > MAX_CHOSEN {
            return None;
        }
        all.extend(chosen.iter().map(|&i| i as i64));
        let last = |i: usize| if repeated { length - 1 } else { length - size + i };
        let Some(moved) = (0..size).rfind(|&i| chosen[i] < last(i)) else { return Some(all) };
        chosen[moved] += 1;
        for i in moved + 1..size {
            chosen[i] = if repeated { chosen[moved] } else { chosen[i - 1] + 1 };
        }
    }
}
