//! `reshape` and `permute` sink below the op that reads them, towards the results.

use std::ops::Range;

use egg::Id;

use super::super::Freedom::Exact;
use super::super::{Plans, Rule, structural};
use super::{axes_of, has, nodes, one};
use crate::ops::{Op, PointFn, ReduceFn};
use crate::rewrite::analysis::{Egraph, op_of, ty};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    let mut points: Vec<Kind> = PointFn::NAMED.iter().map(|&function| Kind::point(function)).collect();
    points.push(Kind::CAST);
    let mut rows: Vec<Kind> = ReduceFn::ALL.map(Kind::last).to_vec();
    rows.extend([Kind::SOFTMAX, Kind::LOG_SOFTMAX, Kind::LAYER_NORM, Kind::RMS_NORM]);
    vec![
        structural(
            "broadcast-operand",
            "f(expand(x), y) => f(x, y)",
            "the type of the result stays; also for a reshape that adds leading axes to a part",
            Exact,
            &points,
            broadcast_operand,
        ),
        structural(
            "reshape-point",
            "f(reshape(x), y) => reshape(f(x, reshape(y)))",
            "y is whole or repeated along each group of axes",
            Exact,
            &points,
            reshape_point,
        ),
        structural(
            "permute-point",
            "f(permute(x), y) => permute(f(x, permute(y)))",
            "y is a weight, one element, or permuted the same way",
            Exact,
            &points,
            permute_point,
        ),
        structural(
            "reshape-row",
            "f(reshape(x)) => reshape(f(x))",
            "f works on the last axis, which the reshape keeps",
            Exact,
            &rows,
            reshape_row,
        ),
        structural(
            "permute-reshape",
            "permute(reshape(x)) => reshape(permute(x))",
            "the axes of each group stay together",
            Exact,
            &[Kind::PERMUTE],
            permute_reshape,
        ),
        structural(
            "reshape-matmul",
            "matmul(reshape(x), w) => reshape(matmul(x, w))",
            "w is a matrix and the reshape keeps the last axis",
            Exact,
            &[Kind::MATMUL],
            reshape_matmul,
        ),
        structural(
            "matmul-repeated",
            "matmul(x, reshape(expand(y))) => reshape(matmul(reshape(x), expand(y)))",
            "the reshape keeps the last two axes",
            Exact,
            &[Kind::MATMUL],
            matmul_repeated,
        ),
    ]
}

/// What is reshaped in a class, apart from what is itself a reshape of something. A slice counts: where it has risen, it is
/// a reshape only of what it was before.
fn reshaped(egraph: &Egraph, class: Id) -> impl Iterator<Item = Id> + '_ {
    let is_source = |&x: &Id| !has(egraph, x, Kind::RESHAPE) || has(egraph, x, Kind::SLICE);
    nodes(egraph, class, Kind::RESHAPE).map(|node| node.children[0]).filter(is_source).take(2)
}

/// `shape` without leading extents of 1.
fn trimmed(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().take_while(|&&extent| extent == 1).count();
    &shape[ones..]
}

fn broadcast_operand(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let whole = &ty(egraph, class).shape;
    let mut changed = false;
    let operands: Vec<Plan> = node
        .children
        .iter()
        .map(|&child| {
            let expanded = nodes(egraph, child, Kind::EXPAND).map(|node| node.children[0]).next();
            let lifted = nodes(egraph, child, Kind::RESHAPE).map(|node| node.children[0]).find(|&x| {
                let (from, to) = (&ty(egraph, x).shape, &ty(egraph, child).shape);
                // A whole operand keeps its reshape: it may sink below the op and meet another one.
                to != whole && from.len() < to.len() && trimmed(from) == trimmed(to)
            });
            match expanded.or(lifted) {
                Some(x) => {
                    changed = true;
                    Plan::Class(x)
                }
                None => Plan::Class(child),
            }
        })
        .collect();
    if changed { one(Plan::Op(op, operands)) } else { Plans::new() }
}

/// Least groups of axes with equal products, in order: `[4, 6]` and `[2, 2, 6]` give `4 | 2 2` and `6 | 6`. Extents of 1 go
/// with the group after them, at the end with the last.
pub(in super::super) fn groups(a: &[usize], b: &[usize]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    if a.contains(&0) || b.contains(&0) || a.is_empty() || b.is_empty() {
        return None;
    }
    let mut found: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (from, to) = (i, j);
        let (mut m, mut n) = (a[i], b[j]);
        i += 1;
        j += 1;
        while m != n {
            if m < n {
                m *= *a.get(i)?;
                i += 1;
            } else {
                n *= *b.get(j)?;
                j += 1;
            }
        }
        found.push((from..i, to..j));
    }
    let last = found.last_mut()?;
    if a[i..].iter().chain(&b[j..]).any(|&extent| extent != 1) {
        return None;
    }
    last.0.end = a.len();
    last.1.end = b.len();
    Some(found)
}

/// `y`, which broadcasts to `whole`, for a result of shape `inner` whose reshape is `whole`; `None` where no shape does it.
fn regrouped(egraph: &Egraph, y: Id, whole: &[usize], inner: &[usize]) -> Option<Plan> {
    let shape = &ty(egraph, y).shape;
    if shape.is_empty() {
        return Some(Plan::Class(y));
    }
    let aligned: Vec<usize> = std::iter::repeat_n(1, whole.len() - shape.len()).chain(shape.iter().copied()).collect();
    let mut wanted = vec![1; inner.len()];
    for (there, here) in groups(whole, inner)? {
        if aligned[there.clone()] == whole[there.clone()] {
            wanted[here.clone()].copy_from_slice(&inner[here]);
        } else if aligned[there].iter().any(|&extent| extent != 1) {
            return None;
        }
    }
    Some(Plan::reshape(Plan::Class(y), &wanted))
}

fn reshape_point(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let whole = &ty(egraph, class).shape;
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let mut plans = Plans::new();
    for (at, &child) in node.children.iter().enumerate() {
        if ty(egraph, child).shape != *whole || node.children[..at].contains(&child) {
            continue;
        }
        for x in reshaped(egraph, child) {
            let inner = &ty(egraph, x).shape;
            let operands: Option<Vec<Plan>> = node
                .children
                .iter()
                .map(
                    |&other| {
                        if other == child { Some(Plan::Class(x)) } else { regrouped(egraph, other, whole, inner) }
                    },
                )
                .collect();
            if let Some(operands) = operands {
                plans.push(Plan::reshape(Plan::Op(op.clone(), operands), whole));
            }
        }
    }
    plans
}

fn permute_point(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let shape = &ty(egraph, class).shape;
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let mut plans = Plans::new();
    for (at, &child) in node.children.iter().enumerate() {
        if ty(egraph, child).shape != *shape || node.children[..at].contains(&child) {
            continue;
        }
        let Some(permute) = nodes(egraph, child, Kind::PERMUTE).next() else { continue };
        let axes = axes_of(egraph, permute);
        let mut back = vec![0; axes.len()];
        for (to, &from) in axes.iter().enumerate() {
            back[from] = to;
        }
        let operands: Option<Vec<Plan>> = node
            .children
            .iter()
            .map(|&other| {
                let same = nodes(egraph, other, Kind::PERMUTE).find(|node| node.attr == permute.attr);
                match same {
                    Some(same) => Some(Plan::Class(same.children[0])),
                    None if ty(egraph, other).rank() == 0 => Some(Plan::Class(other)),
                    None if egraph[other].data.weight => {
                        let own = &ty(egraph, other).shape;
                        let lead = std::iter::repeat_n(1, shape.len() - own.len());
                        let aligned: Vec<usize> = lead.chain(own.iter().copied()).collect();
                        Some(Plan::permute(Plan::reshape(Plan::Class(other), &aligned), &back))
                    }
                    None => None,
                }
            })
            .collect();
        if let Some(operands) = operands {
            plans.push(Plan::permute(Plan::Op(op.clone(), operands), &axes));
        }
    }
    plans
}

/// Whether two shapes end in the same axis, of its own.
fn keeps_last(a: &[usize], b: &[usize]) -> bool {
    match (a.split_last(), b.split_last()) {
        (Some((m, _)), Some((n, _))) => m == n && !a.contains(&0),
        _ => false,
    }
}

fn reshape_row(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let rank = ty(egraph, node.children[0]).rank();
    let result = &ty(egraph, class).shape;
    reshaped(egraph, node.children[0])
        .filter(|&x| keeps_last(&ty(egraph, x).shape, &ty(egraph, node.children[0]).shape))
        .filter_map(|x| {
            let last = ty(egraph, x).rank() - 1;
            let moved = match &op {
                Op::Softmax { axis } if axis + 1 == rank => Op::Softmax { axis: last },
                Op::LogSoftmax { axis } if axis + 1 == rank => Op::LogSoftmax { axis: last },
                Op::LayerNorm { axis, eps } if axis + 1 == rank => Op::LayerNorm { axis: last, eps: *eps },
                Op::RmsNorm { axis, eps } if axis + 1 == rank => Op::RmsNorm { axis: last, eps: *eps },
                Op::Reduce { function, axes, keepdim: true } if axes[..] == [rank - 1] => {
                    Op::Reduce { function: *function, axes: vec![last], keepdim: true }
                }
                _ => return None,
            };
            Some(Plan::reshape(Plan::op(moved, [Plan::Class(x)]), result))
        })
        .collect()
}

fn permute_reshape(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let axes = axes_of(egraph, node);
    let middle = &ty(egraph, node.children[0]).shape;
    reshaped(egraph, node.children[0])
        .filter_map(|x| {
            let groups = groups(middle, &ty(egraph, x).shape)?;
            let mut moved = Vec::new();
            let mut at = 0;
            while at < axes.len() {
                let (there, here) = groups.iter().find(|(there, _)| there.start == axes[at])?;
                if axes.get(at..at + there.len())? != there.clone().collect::<Vec<_>>() {
                    return None;
                }
                moved.extend(here.clone());
                at += there.len();
            }
            Some(Plan::reshape(Plan::permute(Plan::Class(x), &moved), &ty(egraph, class).shape))
        })
        .collect()
}

fn reshape_matmul(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let (a, b) = (node.children[0], node.children[1]);
    if ty(egraph, b).rank() != 2 || ty(egraph, a).rank() < 2 {
        return Plans::new();
    }
    reshaped(egraph, a)
        .filter(|&x| ty(egraph, x).rank() >= 2 && keeps_last(&ty(egraph, x).shape, &ty(egraph, a).shape))
        .map(|x| {
            let product = Plan::op(Op::MatMul {}, [Plan::Class(x), Plan::Class(b)]);
            Plan::reshape(product, &ty(egraph, class).shape)
        })
        .collect()
}

/// Grouped-query attention: heads repeated by `expand` and merged by `reshape` would have to be copied; with the batch
/// axes split, the matmul reads the repeated heads where they are.
fn matmul_repeated(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let (a, b) = (node.children[0], node.children[1]);
    let (left, right) = (ty(egraph, a), ty(egraph, b));
    let rank = left.rank();
    if rank < 3 || right.rank() != rank || left.shape[..rank - 2] != right.shape[..rank - 2] {
        return Plans::new();
    }
    nodes(egraph, b, Kind::RESHAPE)
        .map(|node| node.children[0])
        .filter(|&y| is_repeated(egraph, y))
        .filter_map(|y| {
            let shape = &ty(egraph, y).shape;
            let batch = shape.len().checked_sub(2)?;
            if shape[batch..] != right.shape[rank - 2..] || shape.contains(&0) {
                return None;
            }
            let split = [&shape[..batch], &left.shape[rank - 2..]].concat();
            let product = Plan::op(Op::MatMul {}, [Plan::reshape(Plan::Class(a), &split), Plan::Class(y)]);
            Some(Plan::reshape(product, &ty(egraph, class).shape))
        })
        .take(1)
        .collect()
}

/// Whether a class is an `expand`, possibly permuted.
fn is_repeated(egraph: &Egraph, class: Id) -> bool {
    has(egraph, class, Kind::EXPAND)
        || nodes(egraph, class, Kind::PERMUTE).any(|node| has(egraph, node.children[0], Kind::EXPAND))
}
