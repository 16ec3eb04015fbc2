//! Matrix products and what is made of them.

use super::super::promote;
use super::super::site::{Number, Outputs, Site, Stop, Words, axes_of, invalid};
use super::{Row, row, wide};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ReduceFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row("matmul.default mm.default bmm.default", "self other|mat2", |s| {
        let (a, b) = (s.tensor("self")?, s.tensor("other")?);
        Ok(vec![s.matmul(a, b)?])
    }),
    row("mv.default", "self vec", |s| {
        let (a, b) = (s.tensor("self")?, s.tensor("vec")?);
        Ok(vec![s.matmul(a, b)?])
    }),
    row("dot.default vdot.default", "self other|tensor", |s| {
        let (a, b) = (s.tensor("self")?, s.tensor("other")?);
        Ok(vec![s.matmul(a, b)?])
    }),
    row("inner.default", "self other", |s| {
        let (a, b) = (s.tensor("self")?, s.tensor("other")?);
        if s.rank(a) == 0 || s.rank(b) == 0 {
            return Ok(vec![s.mul(a, b)?]);
        }
        let (outer_a, outer_b) = (s.shape(a), s.shape(b));
        let k = outer_a[outer_a.len() - 1];
        let rows = |shape: &[usize]| shape[..shape.len() - 1].iter().product::<usize>();
        let (left, right) = (s.reshape(a, &[rows(&outer_a), k])?, s.reshape(b, &[rows(&outer_b), k])?);
        let right = s.transposed(right)?;
        let y = s.matmul(left, right)?;
        Ok(vec![s.reshape(y, &[&outer_a[..outer_a.len() - 1], &outer_b[..outer_b.len() - 1]].concat())?])
    }),
    row("outer.default ger.default", "self vec2", |s| {
        let (a, b) = (s.tensor("self")?, s.tensor("vec2")?);
        let (a, b) = (s.unsqueeze(a, &[1])?, s.unsqueeze(b, &[0])?);
        let dtype = promote::common(s.dtype(a), s.dtype(b));
        let (a, b) = (s.cast(a, dtype)?, s.cast(b, dtype)?);
        let function = if dtype == DType::Bool { PointFn::And } else { PointFn::Mul };
        Ok(vec![s.binary(function, a, b)?])
    }),
    row("linear.default", "input weight bias=None", |s| {
        let mut operands = vec![s.tensor("input")?, s.tensor("weight")?];
        operands.extend(s.tensor_opt("bias")?);
        linear(s, &operands)
    }),
    wide("addmm.default", "self mat1 mat2 beta=1 alpha=1", |s| added(s, &["mat1", "mat2"], None)),
    wide("addmv.default", "self mat vec beta=1 alpha=1", |s| added(s, &["mat", "vec"], None)),
    wide("addr.default", "self vec1 vec2 beta=1 alpha=1", |s| {
        let (a, b) = (s.tensor("vec1")?, s.tensor("vec2")?);
        let (a, b) = (s.unsqueeze(a, &[1])?, s.unsqueeze(b, &[0])?);
        if s.dtype(a) != DType::Bool {
            let product = s.mul(a, b)?;
            return scaled_sum(s, product);
        }
        // Truths add as "or" and multiply as "and".
        let (product, x) = (s.binary(PointFn::And, a, b)?, s.operand("self", DType::Bool)?);
        let (beta, alpha) = (s.operand("beta", DType::Bool)?, s.operand("alpha", DType::Bool)?);
        let (x, product) = (s.binary(PointFn::And, x, beta)?, s.binary(PointFn::And, product, alpha)?);
        Ok(vec![s.binary(PointFn::Or, x, product)?])
    }),
    wide("baddbmm.default", "self batch1 batch2 beta=1 alpha=1", |s| added(s, &["batch1", "batch2"], None)),
    wide("addbmm.default", "self batch1 batch2 beta=1 alpha=1", |s| added(s, &["batch1", "batch2"], Some(0))),
    row("tensordot.default", "self other dims_self dims_other", |s| {
        let (a, b) = (s.tensor("self")?, s.tensor("other")?);
        let (axes_a, axes_b) =
            (axes_of(&s.ints("dims_self")?, s.rank(a))?, axes_of(&s.ints("dims_other")?, s.rank(b))?);
        if axes_a.len() != axes_b.len() {
            return invalid(format!("{} axes against {}", axes_a.len(), axes_b.len()));
        }
        // An axis of one element against a longer one stands for its sum.
        let (mut a, mut b) = (a, b);
        for (&i, &j) in axes_a.iter().zip(&axes_b) {
            let (of_a, of_b) = (s.shape(a)[i], s.shape(b)[j]);
            if of_a == 1 && of_b != 1 {
                b = s.reduce(ReduceFn::Sum, b, &[j], true)?;
            } else if of_b == 1 && of_a != 1 {
                a = s.reduce(ReduceFn::Sum, a, &[i], true)?;
            }
        }
        let free = |rank: usize, axes: &[usize]| (0..rank).filter(|axis| !axes.contains(axis)).collect::<Vec<usize>>();
        let (free_a, free_b) = (free(s.rank(a), &axes_a), free(s.rank(b), &axes_b));
        let (shape_a, shape_b) = (s.shape(a), s.shape(b));
        let len = |shape: &[usize], axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product::<usize>();
        let left = s.permute(a, &[free_a.as_slice(), &axes_a].concat())?;
        let left = s.reshape(left, &[len(&shape_a, &free_a), len(&shape_a, &axes_a)])?;
        let right = s.permute(b, &[axes_b.as_slice(), &free_b].concat())?;
        let right = s.reshape(right, &[len(&shape_b, &axes_b), len(&shape_b, &free_b)])?;
        let y = s.matmul(left, right)?;
        let outer_a = free_a.iter().map(|&axis| shape_a[axis]);
        let shape: Vec<usize> = outer_a.chain(free_b.iter().map(|&axis| shape_b[axis])).collect();
        Ok(vec![s.reshape(y, &shape)?])
    }),
    row("bilinear.default", "input1 input2 weight bias=None", |s| {
        let (a, b, weight) = (s.tensor("input1")?, s.tensor("input2")?, s.tensor("weight")?);
        let &[out, left, right] = s.shape(weight).as_slice() else {
            return invalid(format!("expected weights [out, left, right], found {}", s.ty(weight)));
        };
        let outer = s.shape(a);
        let own = s.dtype(a);
        let wide = promote::computed(own);
        let (a, b, weight) = (s.cast(a, wide)?, s.cast(b, wide)?, s.cast(weight, wide)?);
        let rows: usize = outer[..outer.len().saturating_sub(1)].iter().product();
        let (a, b) = (s.reshape(a, &[rows, left])?, s.reshape(b, &[rows, 1, right])?);
        let turned = s.permute(weight, &[1, 0, 2])?;
        let matrix = s.reshape(turned, &[left, out * right])?;
        let product = s.matmul(a, matrix)?;
        let product = s.reshape(product, &[rows, out, right])?;
        let product = s.mul(product, b)?;
        let y = s.reduce(ReduceFn::Sum, product, &[2], false)?;
        let mut y = s.reshape(y, &[&outer[..outer.len().saturating_sub(1)], &[out]].concat())?;
        if let Some(bias) = s.tensor_opt("bias")? {
            let bias = s.cast(bias, wide)?;
            y = s.add(y, bias)?;
        }
        Ok(vec![s.cast(y, own)?])
    }),
    // Rows that are sorted by group, each group with a matrix of its own; how many rows each has is data. Every row is
    // multiplied by every matrix and takes the product that is its own.
    row("transformers.grouped_mm_fallback.default", "input weight offs", |s| {
        let (x, weight, ends) = (s.tensor("input")?, s.tensor("weight")?, s.tensor("offs")?);
        let (&[rows, _], &[groups, _, columns]) = (s.shape(x).as_slice(), s.shape(weight).as_slice()) else {
            return invalid(format!("rows {} by matrices {}", s.ty(x), s.ty(weight)));
        };
        if groups == 0 || s.shape(ends) != [groups] {
            return invalid(format!("ends {} of {groups} groups", s.ty(ends)));
        }
        let product = s.matmul(x, weight)?;
        let product = s.permute(product, &[1, 0, 2])?;
        let (number, ends) = (s.iota(DType::I64, rows, 0, 2)?, s.cast(ends, DType::I64)?);
        let behind = s.binary(PointFn::Le, ends, number)?;
        let behind = s.cast(behind, DType::I64)?;
        let group = s.reduce(ReduceFn::Sum, behind, &[1], true)?;
        let last = s.scalar(Number::Int(groups as i64 - 1), DType::I64);
        let known = s.binary(PointFn::Le, group, last)?;
        let group = s.binary(PointFn::Min, group, last)?;
        let own = s.one(Op::GatherNd { batch_dims: 1 }, &[product, group])?;
        let own = s.reshape(own, &[rows, columns])?;
        let zero = s.scalar(Number::Int(0), s.dtype(own));
        Ok(vec![s.select(known, own, zero)?])
    }),
    wide("_weight_norm.default", "v g dim=0", |s| {
        let (v, g, dim) = (s.tensor("v")?, s.tensor("g")?, s.int("dim")?);
        let rank = s.rank(v);
        let kept = if dim == -1 { None } else { Some(super::super::site::axis_of(dim, rank)?) };
        let axes: Vec<usize> = (0..rank).filter(|&axis| Some(axis) != kept).collect();
        let square = s.mul(v, v)?;
        let sum = super::reduce::over(s, ReduceFn::Sum, square, &axes, true)?;
        let norm = s.unary(PointFn::Sqrt, sum)?;
        let by = s.div(g, norm)?;
        Ok(vec![s.mul(v, by)?])
    }),
    wide("cosine_similarity.default", "x1 x2 dim=1 eps=1e-08", |s| {
        let (a, b) = (s.tensor("x1")?, s.tensor("x2")?);
        let shape = crate::ops::shape::broadcast(&s.shape(a), &s.shape(b))?;
        if shape.is_empty() {
            // One number each: the sign of their product, by the same formula.
            let (a, b) = (s.unsqueeze(a, &[0])?, s.unsqueeze(b, &[0])?);
            return Ok(vec![cosine(s, a, b, 0)?]);
        }
        let axis = super::super::site::axis_of(s.int("dim")?, shape.len())?;
        let (a, b) = (s.expand(a, &shape)?, s.expand(b, &shape)?);
        Ok(vec![cosine(s, a, b, axis)?])
    }),
    wide("cross.default linalg_cross.default", "self other dim=-1", |s| {
        let (a, b) = (s.tensor("self")?, s.tensor("other")?);
        let shape = crate::ops::shape::broadcast(&s.shape(a), &s.shape(b))?;
        let (a, b) = (s.expand(a, &shape)?, s.expand(b, &shape)?);
        let axis = match s.int_opt("dim")? {
            Some(axis) => super::super::site::axis_of(axis, shape.len())?,
            None => shape.iter().position(|&extent| extent == 3).unwrap_or(shape.len()),
        };
        if shape.get(axis) != Some(&3) {
            return invalid("a cross product has an axis of 3");
        }
        let mut parts = Vec::with_capacity(3);
        for i in 0..3 {
            let (j, k) = ((i + 1) % 3, (i + 2) % 3);
            let at = |s: &mut Site, x: ValueId, i: usize| s.slice(x, axis, i, i + 1);
            let (aj, bk, ak, bj) = (at(s, a, j)?, at(s, b, k)?, at(s, a, k)?, at(s, b, j)?);
            let (front, back) = (s.mul(aj, bk)?, s.mul(ak, bj)?);
            parts.push(s.sub(front, back)?);
        }
        Ok(vec![s.concat(&parts, axis)?])
    }),
];

/// The product of two directions along an axis.
fn cosine(s: &mut Site, a: ValueId, b: ValueId, axis: usize) -> Result<ValueId, Stop> {
    let eps = s.float("eps")?;
    let mut parts = Vec::new();
    for x in [a, b] {
        let square = s.mul(x, x)?;
        let sum = s.reduce(ReduceFn::Sum, square, &[axis], true)?;
        let norm = s.unary(PointFn::Sqrt, sum)?;
        let norm = s.with_number(PointFn::Max, norm, eps)?;
        parts.push(s.div(x, norm)?);
    }
    let product = s.mul(parts[0], parts[1])?;
    s.reduce(ReduceFn::Sum, product, &[axis], false)
}

pub fn linear(s: &mut Site, operands: &[ValueId]) -> Outputs {
    // The op wants a matrix of weights; a vector has one row.
    if s.rank(operands[1]) == 1 {
        let y = s.matmul(operands[0], operands[1])?;
        return match operands.get(2) {
            Some(&bias) => Ok(vec![s.add(y, bias)?]),
            None => Ok(vec![y]),
        };
    }
    Ok(vec![s.one(Op::Linear {}, operands)?])
}

/// `beta * self + alpha * product`, the product summed over an axis if one is named.
fn added(s: &mut Site, factors: &[&str; 2], over: Option<usize>) -> Outputs {
    let (a, b) = (s.tensor(factors[0])?, s.tensor(factors[1])?);
    let mut product = s.matmul(a, b)?;
    if let Some(axis) = over {
        product = s.reduce(ReduceFn::Sum, product, &[axis], false)?;
    }
    scaled_sum(s, product)
}

fn scaled_sum(s: &mut Site, product: ValueId) -> Outputs {
    let (x, beta, alpha) = (s.tensor("self")?, s.numeral("beta")?, s.numeral("alpha")?);
    let scaled = |s: &mut Site, x: ValueId, by: Number| {
        let number = s.scalar(by, s.dtype(x));
        if by.as_f64() == 1.0 { Ok(x) } else { s.mul(x, number) }
    };
    let product = scaled(s, product, alpha)?;
    // With beta = 0 the tensor does not count, whatever it holds.
    if beta.as_f64() == 0.0 {
        let shape = crate::ops::shape::broadcast(&s.shape(x), &s.shape(product))?;
        let y = s.expand(product, &shape)?;
        return Ok(vec![s.one(Op::Contiguous {}, &[y])?]);
    }
    let x = scaled(s, x, beta)?;
    Ok(vec![s.add(x, product)?])
}
