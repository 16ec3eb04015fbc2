//! Matrix products and what is made of them.

use super::super::promote;
use super::super::site::{Number, Outputs, Site, Stop, Words, axes_of, invalid, unsupported};
use super::{Row, row};
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
        Ok(vec![s.mul(a, b)?])
    }),
    row("linear.default", "input weight bias=None", |s| {
        let mut operands = vec![s.tensor("input")?, s.tensor("weight")?];
        operands.extend(s.tensor_opt("bias")?);
        linear(s, &operands)
    }),
    row("addmm.default", "self mat1 mat2 beta=1 alpha=1", |s| added(s, &["mat1", "mat2"], None)),
    row("addmv.default", "self mat vec beta=1 alpha=1", |s| added(s, &["mat", "vec"], None)),
    row("addr.default", "self vec1 vec2 beta=1 alpha=1", |s| {
        let (a, b) = (s.tensor("vec1")?, s.tensor("vec2")?);
        let (a, b) = (s.unsqueeze(a, &[1])?, s.unsqueeze(b, &[0])?);
        let product = s.mul(a, b)?;
        scaled_sum(s, product)
    }),
    row("baddbmm.default", "self batch1 batch2 beta=1 alpha=1", |s| added(s, &["batch1", "batch2"], None)),
    row("addbmm.default", "self batch1 batch2 beta=1 alpha=1", |s| added(s, &["batch1", "batch2"], Some(0))),
    row("einsum.default", "equation tensors path=None", einsum),
    row("tensordot.default", "self other dims_self dims_other", |s| {
        let (a, b) = (s.tensor("self")?, s.tensor("other")?);
        let (axes_a, axes_b) =
            (axes_of(&s.ints("dims_self")?, s.rank(a))?, axes_of(&s.ints("dims_other")?, s.rank(b))?);
        if axes_a.len() != axes_b.len() {
            return invalid(format!("{} axes against {}", axes_a.len(), axes_b.len()));
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
    row(
        "scaled_dot_product_attention.default",
        "query key value attn_mask=None dropout_p=0.0 is_causal=False scale=None enable_gqa=False",
        attention,
    ),
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
    row("_weight_norm.default", "v g dim=0", |s| {
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
    row("cosine_similarity.default", "x1 x2 dim=1 eps=1e-08", |s| {
        let (a, b) = (s.tensor("x1")?, s.tensor("x2")?);
        let shape = crate::ops::shape::broadcast(&s.shape(a), &s.shape(b))?;
        let axis = super::super::site::axis_of(s.int("dim")?, shape.len())?;
        let (a, b, eps) = (s.expand(a, &shape)?, s.expand(b, &shape)?, s.float("eps")?);
        let mut parts = Vec::new();
        for x in [a, b] {
            let square = s.mul(x, x)?;
            let sum = s.reduce(ReduceFn::Sum, square, &[axis], true)?;
            let norm = s.unary(PointFn::Sqrt, sum)?;
            let norm = s.with_number(PointFn::Max, norm, eps)?;
            parts.push(s.div(x, norm)?);
        }
        let product = s.mul(parts[0], parts[1])?;
        Ok(vec![s.reduce(ReduceFn::Sum, product, &[axis], false)?])
    }),
    row("cross.default linalg_cross.default", "self other dim=-1", |s| {
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

/// Sums of products over named axes, two operands at a time from the left: each step is one matrix product over what both
/// share, batched over what is kept.
fn einsum(s: &mut Site) -> Outputs {
    let equation: String = s.text("equation")?.chars().filter(|c| !c.is_whitespace()).collect();
    let tensors = s.tensors("tensors")?;
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_string(), Some(right.to_string())),
        None => (equation.clone(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != tensors.len() {
        return invalid(format!("{} operands for {equation:?}", tensors.len()));
    }
    // Axes of an ellipsis get capital letters that the equation does not use, aligned from the right.
    let wide = |term: &str, rank: usize| -> Result<Vec<char>, Stop> {
        let Some((front, back)) = term.split_once("...") else {
            return Ok(term.chars().collect());
        };
        let named = front.chars().count() + back.chars().count();
        let Some(hidden) = rank.checked_sub(named) else {
            return invalid(format!("{term:?} names {named} axes of {rank}"));
        };
        let letters = (0..hidden).rev().map(|place| char::from_u32(0xE000 + place as u32).unwrap_or('?'));
        Ok(front.chars().chain(letters).chain(back.chars()).collect())
    };
    let mut operands: Vec<(Vec<char>, ValueId)> = Vec::new();
    for (term, &tensor) in terms.iter().zip(&tensors) {
        let labels = wide(term, s.rank(tensor))?;
        if labels.len() != s.rank(tensor) {
            return invalid(format!("{term:?} names {} axes of {}", labels.len(), s.rank(tensor)));
        }
        operands.push(diagonals(s, labels, tensor)?);
    }
    let all: Vec<char> = operands.iter().flat_map(|(labels, _)| labels.iter().copied()).collect();
    let hidden: Vec<char> = {
        let mut hidden: Vec<char> = all.iter().copied().filter(|&c| c >= '\u{E000}').collect();
        hidden.sort_unstable_by(|a, b| b.cmp(a));
        hidden.dedup();
        hidden
    };
    let output: Vec<char> = match right {
        Some(right) => {
            let shown = hidden.iter().collect::<String>();
            right.replace("...", &shown).chars().collect()
        }
        // Implicitly: the ellipsis, then what is named once, in the order of the alphabet.
        None => {
            let mut once: Vec<char> = all
                .iter()
                .copied()
                .filter(|c| *c < '\u{E000}' && all.iter().filter(|d| *d == c).count() == 1)
                .collect();
            once.sort_unstable();
            hidden.iter().copied().chain(once).collect()
        }
    };
    if output.iter().any(|c| !all.contains(c)) || output.iter().enumerate().any(|(i, c)| output[..i].contains(c)) {
        return invalid(format!("the result of {equation:?} names an axis that is not there, or twice"));
    }
    let mut rest = operands.into_iter();
    let Some((mut labels, mut value)) = rest.next() else { return invalid("an equation without operands") };
    let mut rest: Vec<(Vec<char>, ValueId)> = rest.collect();
    while !rest.is_empty() {
        let (other_labels, other) = rest.remove(0);
        let needed = |c: &char| output.contains(c) || rest.iter().any(|(labels, _)| labels.contains(c));
        (labels, value) = contract(s, (labels, value), (other_labels, other), needed)?;
    }
    let gone: Vec<usize> = (0..labels.len()).filter(|&axis| !output.contains(&labels[axis])).collect();
    if !gone.is_empty() {
        value = s.reduce(ReduceFn::Sum, value, &gone, false)?;
        labels.retain(|c| output.contains(c));
    }
    let axes: Option<Vec<usize>> = output.iter().map(|c| labels.iter().position(|d| d == c)).collect();
    let Some(axes) = axes else { return invalid(format!("the result of {equation:?}")) };
    let value = s.permute(value, &axes)?;
    if value == tensors[0] { Ok(vec![s.one(Op::Contiguous {}, &[value])?]) } else { Ok(vec![value]) }
}

/// An axis named twice is the diagonal of both.
fn diagonals(s: &mut Site, mut labels: Vec<char>, mut value: ValueId) -> Result<(Vec<char>, ValueId), Stop> {
    loop {
        let twice =
            (0..labels.len()).find_map(|i| (i + 1..labels.len()).find(|&j| labels[j] == labels[i]).map(|j| (i, j)));
        let Some((i, j)) = twice else { return Ok((labels, value)) };
        value = s.one(Op::Diagonal { offset: 0, axis1: i, axis2: j }, &[value])?;
        let label = labels[i];
        labels.retain(|&c| c != label);
        labels.push(label);
    }
}

/// The product of two operands, summed over what nothing else needs.
fn contract(
    s: &mut Site,
    (mut a_labels, mut a): (Vec<char>, ValueId),
    (mut b_labels, mut b): (Vec<char>, ValueId),
    needed: impl Fn(&char) -> bool,
) -> Result<(Vec<char>, ValueId), Stop> {
    let (of_a, of_b) = (a_labels.clone(), b_labels.clone());
    // What only one of them has, and nobody needs, is summed first; so are axes of 1 that broadcast.
    for (labels, value, others) in [(&mut a_labels, &mut a, of_b), (&mut b_labels, &mut b, of_a)] {
        let gone: Vec<usize> =
            (0..labels.len()).filter(|&axis| !others.contains(&labels[axis]) && !needed(&labels[axis])).collect();
        if !gone.is_empty() {
            *value = s.reduce(ReduceFn::Sum, *value, &gone, false)?;
            let kept: Vec<char> =
                (0..labels.len()).filter(|axis| !gone.contains(axis)).map(|axis| labels[axis]).collect();
            *labels = kept;
        }
    }
    let shared: Vec<char> = a_labels.iter().copied().filter(|c| b_labels.contains(c)).collect();
    let extent = |s: &Site, labels: &[char], value: ValueId, c: char| {
        labels.iter().position(|&d| d == c).map_or(1, |axis| s.shape(value)[axis])
    };
    for &c in &shared {
        let (x, y) = (extent(s, &a_labels, a, c), extent(s, &b_labels, b, c));
        if x != y && x != 1 && y != 1 {
            return invalid(format!("an axis of {x} against one of {y}"));
        }
        for (labels, value, other) in [(&a_labels, &mut a, y), (&b_labels, &mut b, x)] {
            let axis = labels.iter().position(|&d| d == c).unwrap_or_default();
            let mut shape = s.shape(*value);
            if shape[axis] != other && shape[axis] == 1 {
                shape[axis] = other;
                *value = s.expand(*value, &shape)?;
            }
        }
    }
    let batch: Vec<char> = shared.iter().copied().filter(|c| needed(c)).collect();
    let inner: Vec<char> = shared.iter().copied().filter(|c| !needed(c)).collect();
    let free = |labels: &[char]| labels.iter().copied().filter(|c| !shared.contains(c)).collect::<Vec<char>>();
    let (rows, columns) = (free(&a_labels), free(&b_labels));
    let arranged =
        |s: &mut Site, labels: &[char], value: ValueId, parts: [&[char]; 3]| -> Result<(ValueId, Vec<usize>), Stop> {
            let order: Vec<char> = parts.concat();
            let axes: Vec<usize> =
                order.iter().map(|c| labels.iter().position(|d| d == c).unwrap_or_default()).collect();
            let turned = s.permute(value, &axes)?;
            let shape = s.shape(turned);
            let mut place = 0;
            let mut matrix = shape[..parts[0].len()].to_vec();
            place += parts[0].len();
            for part in &parts[1..] {
                matrix.push(shape[place..place + part.len()].iter().product());
                place += part.len();
            }
            Ok((s.reshape(turned, &matrix)?, shape))
        };
    let (left, left_shape) = arranged(s, &a_labels, a, [&batch, &rows, &inner])?;
    let (right, right_shape) = arranged(s, &b_labels, b, [&batch, &inner, &columns])?;
    let product = s.matmul(left, right)?;
    let shape = [&left_shape[..batch.len() + rows.len()], &right_shape[batch.len() + inner.len()..]].concat();
    let labels = [batch, rows, columns].concat();
    Ok((labels, s.reshape(product, &shape)?))
}

/// `softmax(q k^T scale + mask) v`, as `torch.nn.functional.scaled_dot_product_attention` documents it.
fn attention(s: &mut Site) -> Outputs {
    let (query, mut key, mut value) = (s.tensor("query")?, s.tensor("key")?, s.tensor("value")?);
    if s.float("dropout_p")? != 0.0 {
        return unsupported("attention that drops at random");
    }
    let shape = s.shape(query);
    let ([.., length, width], true) = (shape.as_slice(), s.rank(key) >= 2 && s.rank(value) >= 2) else {
        return invalid("attention is of matrices");
    };
    let (length, width) = (*length, *width);
    if s.flag("enable_gqa")? {
        (key, value) = (shared_heads(s, query, key)?, shared_heads(s, query, value)?);
    }
    let dtype = s.dtype(query);
    let wide = promote::computed(dtype);
    let (query, key, value) = (s.cast(query, wide)?, s.cast(key, wide)?, s.cast(value, wide)?);
    let scale = match s.numeral_opt("scale")? {
        Some(scale) => scale.as_f64(),
        None => 1.0 / (width as f64).sqrt(),
    };
    let keys = s.transposed(key)?;
    let scores = s.matmul(query, keys)?;
    let mut scores = s.with_number(PointFn::Mul, scores, scale)?;
    let mut masked = false;
    if s.flag("is_causal")? {
        let (last, rank) = (s.shape(key)[s.rank(key) - 2], s.rank(scores));
        let (down, across) = (s.iota(DType::I64, length, rank - 2, rank)?, s.iota(DType::I64, last, rank - 1, rank)?);
        let seen = s.binary(PointFn::Le, across, down)?;
        let hidden = s.scalar(Number::Float(f64::NEG_INFINITY), wide);
        scores = s.select(seen, scores, hidden)?;
    }
    if let Some(mask) = s.tensor_opt("attn_mask")? {
        if s.dtype(mask) == DType::Bool {
            let hidden = s.scalar(Number::Float(f64::NEG_INFINITY), wide);
            scores = s.select(mask, scores, hidden)?;
            masked = true;
        } else {
            let mask = s.cast(mask, wide)?;
            scores = s.add(scores, mask)?;
            masked = true;
        }
    }
    let axis = s.rank(scores) - 1;
    let mut weights = s.one(Op::Softmax { axis }, &[scores])?;
    if masked {
        // A row in which everything is hidden gives zeros and not NaN.
        let largest = s.reduce(ReduceFn::Max, scores, &[axis], true)?;
        let nothing = s.with_number(PointFn::Eq, largest, f64::NEG_INFINITY)?;
        let zero = s.scalar(Number::Int(0), wide);
        weights = s.select(nothing, zero, weights)?;
    }
    let y = s.matmul(weights, value)?;
    Ok(vec![s.cast(y, dtype)?])
}

/// Heads of keys that several heads of queries share, each seen once for each of them.
fn shared_heads(s: &mut Site, query: ValueId, x: ValueId) -> Result<ValueId, Stop> {
    let (wanted, shape) = (s.shape(query), s.shape(x));
    let (Some(place), true) = (shape.len().checked_sub(3), wanted.len() == shape.len()) else {
        return invalid("heads of attention are the third axis from the end");
    };
    let (heads, own) = (wanted[place], shape[place]);
    if own == 0 || heads % own != 0 {
        return invalid(format!("{heads} heads share {own}"));
    }
    let column = s.unsqueeze(x, &[place + 1])?;
    let mut wide = s.shape(column);
    wide[place + 1] = heads / own;
    let seen = s.expand(column, &wide)?;
    let mut joined = shape;
    joined[place] = heads;
    s.reshape(seen, &joined)
}
