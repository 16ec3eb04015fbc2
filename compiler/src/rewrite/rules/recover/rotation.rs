//! Rotary embedding: pairs of elements turned by an angle, in every spelling one kernel that reads its input twice.
//!
//! The pairs are an axis of extent 2 of their own: after a reshape that moves nothing, one element and its partner are
//! neighbours along it, and the partner of each is read by a view that runs along that axis backwards. So nothing is cut,
//! negated and joined in memory. With `X` the input so reshaped and `F` the same backwards, the result is
//! `X * cos + F * (sin * [-1, 1])`, bit for bit what the spellings give.

use egg::Id;

use super::super::Freedom::Exact;
use super::super::{Plans, Rule, structural};
use super::{binary, both_orders, nodes, unary};
use crate::ops::{Op, PointFn};
use crate::rewrite::analysis::{Egraph, op_of, ty};
use crate::rewrite::decompose::canonical_slice;
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;
use crate::rewrite::rules::pattern::constant;
use crate::types::DType;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        structural(
            "rotation-of-parts",
            "concat(a * c - b * d, b * c + a * d) => X * c + F * (d * [-1, 1])",
            "a and b are the halves of x, or its even and its odd elements put side by side",
            Exact,
            &[Kind::CONCAT],
            rotation_of_parts,
        ),
        structural(
            "rotation-of-whole",
            "x * C + concat(-b, a) * D => X * C + F * (D * [-1, 1])",
            "a and b are the halves of x, or its even and its odd elements put side by side; without the signs if b has none",
            Exact,
            &[Kind::point(PointFn::Add)],
            rotation_of_whole,
        ),
    ]
}

/// How a last axis is made of pairs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pairs {
    /// An element of the first half with one of the second.
    Halves,
    /// Neighbours.
    Neighbours,
}

impl Pairs {
    /// A shape whose last axis, of extent `2 * half`, has become two.
    fn split(self, shape: &[usize], pair: usize, half: usize) -> Vec<usize> {
        let mut split = shape[..shape.len() - 1].to_vec();
        match self {
            Pairs::Halves => split.extend([pair, half]),
            Pairs::Neighbours => split.extend([half, pair]),
        }
        split
    }

    /// The axis of extent 2 among so many.
    fn axis(self, rank: usize) -> usize {
        match self {
            Pairs::Halves => rank - 2,
            Pairs::Neighbours => rank - 1,
        }
    }
}

/// One element of each pair: of which class, how paired, and which one (0 or 1).
fn part(egraph: &Egraph, class: Id) -> Vec<(Id, Pairs, i64)> {
    let half = ty(egraph, class).shape.last().copied().unwrap_or(0) as i64;
    let rank = ty(egraph, class).rank();
    let mut found = Vec::new();
    for node in nodes(egraph, class, Kind::SLICE) {
        let x = egraph.find(node.children[0]);
        let Some(Op::Slice { axis, start, step, .. }) = op_of(egraph, node) else { continue };
        if axis + 1 != rank || ty(egraph, x).shape[axis] as i64 != 2 * half {
            continue;
        }
        // With one pair both readings are one.
        if (step == 1 || half == 1) && (start == 0 || start == half) {
            found.push((x, Pairs::Halves, i64::from(start != 0)));
        } else if step == 2 && (start == 0 || start == 1) {
            found.push((x, Pairs::Neighbours, start));
        }
    }
    for node in nodes(egraph, class, Kind::RESHAPE) {
        for inner in nodes(egraph, node.children[0], Kind::SLICE) {
            let pairs = inner.children[0];
            let Some(Op::Slice { axis, start, .. }) = op_of(egraph, inner) else { continue };
            let shape = &ty(egraph, pairs).shape;
            let wide = axis == rank && shape.len() == rank + 1 && shape[axis] == 2;
            if !wide || shape[..rank] != ty(egraph, class).shape[..] {
                continue;
            }
            for whole in nodes(egraph, pairs, Kind::RESHAPE) {
                let x = egraph.find(whole.children[0]);
                let (lead, last) = (&shape[..rank - 1], 2 * half as usize);
                if ty(egraph, x).shape.split_last() == Some((&last, lead)) {
                    found.push((x, Pairs::Neighbours, start));
                }
            }
        }
    }
    found
}

/// What is joined in a class along its last axis: the first and the second element of each pair.
fn joined(egraph: &Egraph, class: Id) -> Vec<(Id, Id, Pairs)> {
    let mut found: Vec<(Id, Id, Pairs)> = nodes(egraph, class, Kind::CONCAT)
        .filter_map(|node| concatenated(egraph, node).filter(|&(.., pairs)| pairs == Pairs::Halves))
        .collect();
    for node in nodes(egraph, class, Kind::RESHAPE) {
        let inner = nodes(egraph, node.children[0], Kind::CONCAT).filter_map(|node| concatenated(egraph, node));
        found.extend(inner.filter(|&(p, _, pairs)| {
            let (whole, half) = (&ty(egraph, class).shape, &ty(egraph, p).shape);
            pairs == Pairs::Neighbours
                && whole.len() == half.len()
                && whole[..whole.len() - 1] == half[..half.len() - 1]
        }));
    }
    found
}

/// The two parts of a concat along the last axis. Parts of extent 1 there are given without that axis.
fn concatenated(egraph: &Egraph, node: &Node) -> Option<(Id, Id, Pairs)> {
    let [p, q] = node.children[..] else { return None };
    let (p, q) = (egraph.find(p), egraph.find(q));
    let shape = &ty(egraph, p).shape;
    let Some(Op::Concat { axis }) = op_of(egraph, node) else { return None };
    if axis + 1 != shape.len() || ty(egraph, q).shape != *shape {
        return None;
    }
    if shape[axis] != 1 {
        return Some((p, q, Pairs::Halves));
    }
    let flat = |class: Id| {
        nodes(egraph, class, Kind::RESHAPE)
            .map(|node| egraph.find(node.children[0]))
            .find(|&x| ty(egraph, x).shape == shape[..axis])
    };
    Some((flat(p)?, flat(q)?, Pairs::Neighbours))
}

/// Pairs of factors of a class, in both orders.
fn factors(egraph: &Egraph, class: Id) -> Vec<(Id, Id)> {
    both_orders(egraph, class, PointFn::Mul).collect()
}

/// A table of one element for each pair, for the input split into pairs.
fn spread(egraph: &Egraph, table: Id, pairs: Pairs, half: usize) -> Option<Plan> {
    let shape = &ty(egraph, table).shape;
    (shape.last() == Some(&half)).then(|| Plan::reshape(Plan::Class(table), &pairs.split(shape, 1, half)))
}

/// A table of one element for each element; where both elements of a pair have one, only that one.
fn spread_whole(egraph: &Egraph, table: Id, pairs: Pairs, half: usize) -> Option<Plan> {
    let twice = joined(egraph, table).into_iter().find(|&(p, q, by)| p == q && by == pairs);
    if let Some((once, ..)) = twice {
        return spread(egraph, once, pairs, half);
    }
    let shape = &ty(egraph, table).shape;
    if shape.last() != Some(&(2 * half)) {
        return None;
    }
    let split = pairs.split(shape, 2, half);
    let narrow = pairs.split(shape, 1, half);
    for node in nodes(egraph, table, Kind::RESHAPE).filter(|node| ty(egraph, node.children[0]).shape == split) {
        let repeated = nodes(egraph, node.children[0], Kind::EXPAND).map(|inner| inner.children[0]);
        if let Some(once) = repeated.into_iter().find(|&once| ty(egraph, once).shape == narrow) {
            return Some(Plan::Class(once));
        }
    }
    Some(Plan::reshape(Plan::Class(table), &split))
}

/// `[-1, 1]` along the axis of pairs.
fn signs(dtype: DType, pairs: Pairs) -> Plan {
    let shape: &[usize] = match pairs {
        Pairs::Halves => &[1, 1],
        Pairs::Neighbours => &[1],
    };
    let one = |value: f64| Plan::reshape(constant(dtype, value), shape);
    Plan::op(Op::Concat { axis: 0 }, [one(-1.0), one(1.0)])
}

/// `X * cos + F * sin`, in the shape of the input split into pairs.
fn rotated(egraph: &Egraph, x: Id, pairs: Pairs, cos: Plan, sin: Plan) -> Option<Plan> {
    let TypeOf { shape, half } = type_of(egraph, x)?;
    let split = pairs.split(&shape, 2, half);
    let straight = Plan::reshape(Plan::Class(x), &split);
    let backwards = Plan::op(canonical_slice(pairs.axis(split.len()), 1, -1, 2), [straight.clone()]);
    let terms = [(straight, cos), (backwards, sin)].map(|(x, table)| Plan::point(PointFn::Mul, [x, table]));
    Some(Plan::point(PointFn::Add, terms))
}

struct TypeOf {
    shape: Vec<usize>,
    half: usize,
}

/// Shape of an input of floats, and how many pairs its last axis has.
fn type_of(egraph: &Egraph, x: Id) -> Option<TypeOf> {
    let ty = ty(egraph, x);
    let last = *ty.shape.last()?;
    (ty.dtype.is_float() && last >= 2 && last.is_multiple_of(2))
        .then(|| TypeOf { shape: ty.shape.clone(), half: last / 2 })
}

fn rotation_of_parts(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    parts(egraph, class, node).into_iter().collect()
}

fn parts(egraph: &Egraph, class: Id, node: &Node) -> Option<Plan> {
    let (p, q, by) = concatenated(egraph, node)?;
    for (u, v) in binary(egraph, p, PointFn::Sub) {
        for (a, c) in factors(egraph, u) {
            for (x, pairs, _) in part(egraph, a).into_iter().filter(|&(_, pairs, at)| pairs == by && at == 0) {
                for (b, d) in factors(egraph, v) {
                    if !part(egraph, b).contains(&(x, pairs, 1)) {
                        continue;
                    }
                    let crossed = both_orders(egraph, q, PointFn::Add)
                        .any(|(u, v)| factors(egraph, u).contains(&(b, c)) && factors(egraph, v).contains(&(a, d)));
                    if !crossed {
                        continue;
                    }
                    let TypeOf { half, .. } = type_of(egraph, x)?;
                    let sin =
                        Plan::point(PointFn::Mul, [spread(egraph, d, pairs, half)?, signs(ty(egraph, x).dtype, pairs)]);
                    let whole = rotated(egraph, x, pairs, spread(egraph, c, pairs, half)?, sin)?;
                    return Some(Plan::reshape(whole, &ty(egraph, class).shape));
                }
            }
        }
    }
    None
}

fn rotation_of_whole(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let (u, v) = (egraph.find(node.children[0]), egraph.find(node.children[1]));
    [(u, v), (v, u)].into_iter().filter_map(|(u, v)| whole(egraph, class, u, v)).take(1).collect()
}

fn whole(egraph: &Egraph, class: Id, straight: Id, turned: Id) -> Option<Plan> {
    for (turn, d) in factors(egraph, turned) {
        for (p, a, by) in joined(egraph, turn) {
            for (x, pairs, _) in part(egraph, a).into_iter().filter(|&(_, pairs, at)| pairs == by && at == 0) {
                let second = |class: Id| part(egraph, class).contains(&(x, pairs, 1));
                let negated = unary(egraph, p, PointFn::Neg).any(second);
                let Some((_, c)) = factors(egraph, straight).into_iter().find(|&(other, _)| other == x) else {
                    continue;
                };
                if !negated && !second(p) {
                    continue;
                }
                let TypeOf { half, .. } = type_of(egraph, x)?;
                let dtype = ty(egraph, x).dtype;
                let sin = match opposite(egraph, d, pairs) {
                    // The table has the signs: `[-d, d]`.
                    Some(once) if !negated => {
                        Plan::point(PointFn::Mul, [spread(egraph, once, pairs, half)?, signs(dtype, pairs)])
                    }
                    _ if negated => {
                        Plan::point(PointFn::Mul, [spread_whole(egraph, d, pairs, half)?, signs(dtype, pairs)])
                    }
                    _ => spread_whole(egraph, d, pairs, half)?,
                };
                let whole = rotated(egraph, x, pairs, spread_whole(egraph, c, pairs, half)?, sin)?;
                return Some(Plan::reshape(whole, &ty(egraph, class).shape));
            }
        }
    }
    None
}

/// `d` of a table that joins `-d` and `d`.
fn opposite(egraph: &Egraph, table: Id, pairs: Pairs) -> Option<Id> {
    joined(egraph, table)
        .into_iter()
        .find(|&(p, q, by)| by == pairs && unary(egraph, p, PointFn::Neg).any(|of| of == q))
        .map(|(_, q, _)| q)
}
