//! Views: compositions, and views that move past the op that reads them towards one that cancels them.
//!
//! Every rule has one direction: `reshape` and `permute` sink towards the results. Both directions at once would multiply
//! each class by the group of its axes.

use std::ops::Range;

use egg::Id;

use super::Freedom::Exact;
use super::{Plans, Rule, structural};
use crate::ops::{Op, PointFn, ReduceFn};
use crate::rewrite::analysis::{Egraph, number, op_of, ty};
use crate::rewrite::decompose::canonical_slice;
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    let mut points: Vec<Kind> = PointFn::NAMED.iter().map(|&function| Kind::point(function)).collect();
    points.push(Kind::CAST);
    let mut rows: Vec<Kind> = ReduceFn::ALL.map(Kind::last).to_vec();
    rows.extend([Kind::SOFTMAX, Kind::LOG_SOFTMAX, Kind::LAYER_NORM, Kind::RMS_NORM]);
    vec![
        structural(
            "reshape-reshape",
            "reshape(reshape(x)) => reshape(x)",
            "",
            Exact,
            &[Kind::RESHAPE],
            reshape_reshape,
        ),
        structural(
            "permute-permute",
            "permute(permute(x)) => permute(x)",
            "",
            Exact,
            &[Kind::PERMUTE],
            permute_permute,
        ),
        structural("expand-expand", "expand(expand(x)) => expand(x)", "", Exact, &[Kind::EXPAND], expand_expand),
        structural(
            "slice-slice",
            "slice(slice(x)) => slice(x)",
            "both cut one axis",
            Exact,
            &[Kind::SLICE],
            slice_slice,
        ),
        structural(
            "slice-concat",
            "slice(concat(.., x, ..)) => slice(x)",
            "the slice lies inside one part",
            Exact,
            &[Kind::SLICE],
            slice_concat,
        ),
        structural(
            "concat-slices",
            "concat(slice(x), slice(x), ..) => slice(x)",
            "the slices follow each other",
            Exact,
            &[Kind::CONCAT],
            concat_slices,
        ),
        structural(
            "concat-concat",
            "concat(.., concat(x..), ..) => concat(.., x.., ..)",
            "one axis",
            Exact,
            &[Kind::CONCAT],
            concat_concat,
        ),
        structural("contiguous", "contiguous(x) => x", "", Exact, &[Kind::CONTIGUOUS], contiguous),
        structural(
            "bitcast-bitcast",
            "bitcast(bitcast(x)) => bitcast(x)",
            "",
            Exact,
            &[Kind::BITCAST],
            bitcast_bitcast,
        ),
        structural(
            "gather-slice",
            "gather(x, i) => slice(x)",
            "i is one known index",
            Exact,
            &[Kind::GATHER],
            gather_slice,
        ),
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

fn one(plan: Plan) -> Plans {
    [plan].into_iter().collect()
}

/// Nodes of a kind in a class.
fn nodes(egraph: &Egraph, class: Id, kind: Kind) -> impl Iterator<Item = &Node> {
    egraph[class].iter().filter(move |node| node.kind == kind)
}

fn has(egraph: &Egraph, class: Id, kind: Kind) -> bool {
    nodes(egraph, class, kind).next().is_some()
}

/// What is reshaped in a class, apart from what is itself a reshape of something.
fn reshaped(egraph: &Egraph, class: Id) -> impl Iterator<Item = Id> + '_ {
    nodes(egraph, class, Kind::RESHAPE).map(|node| node.children[0]).filter(|&x| !has(egraph, x, Kind::RESHAPE)).take(2)
}

fn reshape_reshape(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let shape = &ty(egraph, class).shape;
    nodes(egraph, node.children[0], Kind::RESHAPE)
        .map(|inner| Plan::reshape(Plan::Class(inner.children[0]), shape))
        .collect()
}

fn axes_of(egraph: &Egraph, node: &Node) -> Vec<usize> {
    match op_of(egraph, node) {
        Some(Op::Permute { axes }) => axes,
        _ => Vec::new(),
    }
}

fn permute_permute(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let outer = axes_of(egraph, node);
    nodes(egraph, node.children[0], Kind::PERMUTE)
        .map(|inner| {
            let axes = axes_of(egraph, inner);
            let composed: Vec<usize> = outer.iter().map(|&axis| axes[axis]).collect();
            Plan::permute(Plan::Class(inner.children[0]), &composed)
        })
        .collect()
}

fn expand_expand(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let shape = ty(egraph, class).shape.clone();
    nodes(egraph, node.children[0], Kind::EXPAND)
        .map(|inner| Plan::op(Op::Expand { shape: shape.clone() }, [Plan::Class(inner.children[0])]))
        .collect()
}

fn bitcast_bitcast(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let to = ty(egraph, class).dtype;
    nodes(egraph, node.children[0], Kind::BITCAST)
        .map(|inner| Plan::op(Op::Bitcast { to }, [Plan::Class(inner.children[0])]))
        .collect()
}

fn slice_of(egraph: &Egraph, node: &Node) -> Option<(usize, i64, i64)> {
    match op_of(egraph, node) {
        Some(Op::Slice { axis, start, step, .. }) => Some((axis, start, step)),
        _ => None,
    }
}

fn slice_slice(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some((axis, start, step)) = slice_of(egraph, node) else { return Plans::new() };
    let len = ty(egraph, class).shape[axis];
    nodes(egraph, node.children[0], Kind::SLICE)
        .filter_map(|inner| {
            let (other, from, stride) = slice_of(egraph, inner)?;
            let slice = canonical_slice(axis, from + start * stride, step * stride, len);
            (other == axis).then(|| Plan::op(slice, [Plan::Class(inner.children[0])]))
        })
        .collect()
}

fn slice_concat(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some((axis, start, step)) = slice_of(egraph, node) else { return Plans::new() };
    let len = ty(egraph, class).shape[axis];
    if len == 0 {
        return Plans::new();
    }
    let last = start + step * (len as i64 - 1);
    let (low, high) = (start.min(last), start.max(last));
    let mut plans = Plans::new();
    for inner in nodes(egraph, node.children[0], Kind::CONCAT) {
        if !matches!(op_of(egraph, inner), Some(Op::Concat { axis: other }) if other == axis) {
            continue;
        }
        let mut begin = 0i64;
        for &part in &inner.children {
            let end = begin + ty(egraph, part).shape[axis] as i64;
            if begin <= low && high < end {
                plans.push(Plan::op(canonical_slice(axis, start - begin, step, len), [Plan::Class(part)]));
            }
            begin = end;
        }
    }
    plans
}

fn concat_slices(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(Op::Concat { axis }) = op_of(egraph, node) else { return Plans::new() };
    let slices = |part: Id| {
        nodes(egraph, part, Kind::SLICE).filter_map(move |node| {
            let (along, start, step) = slice_of(egraph, node)?;
            (along == axis && step == 1).then_some((node.children[0], start))
        })
    };
    let len = ty(egraph, class).shape[axis];
    slices(node.children[0])
        .filter(|&(x, first)| {
            let mut next = first;
            node.children.iter().all(|&part| {
                let found = slices(part).any(|(other, start)| other == x && start == next);
                next += ty(egraph, part).shape[axis] as i64;
                found
            })
        })
        .map(|(x, first)| Plan::op(canonical_slice(axis, first, 1, len), [Plan::Class(x)]))
        .collect()
}

fn concat_concat(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let mut parts = Vec::new();
    for &part in &node.children {
        match nodes(egraph, part, Kind::CONCAT).find(|inner| inner.attr == node.attr) {
            Some(inner) => parts.extend(inner.children.iter().map(|&part| Plan::Class(part))),
            None => parts.push(Plan::Class(part)),
        }
    }
    if parts.len() == node.children.len() || parts.len() > 4096 { Plans::new() } else { one(Plan::Op(op, parts)) }
}

fn contiguous(_: &Egraph, _: Id, node: &Node) -> Plans {
    one(Plan::Class(node.children[0]))
}

fn gather_slice(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(Op::Gather { axis }) = op_of(egraph, node) else { return Plans::new() };
    let (x, index) = (node.children[0], node.children[1]);
    let extent = ty(egraph, x).shape[axis] as i64;
    let Some(at) = number(egraph, index) else { return Plans::new() };
    let at = at as i64;
    let start = if at < 0 { at + extent } else { at };
    if !(0..extent).contains(&start) || ty(egraph, index).len() != 1 {
        return Plans::new();
    }
    let slice = Plan::op(canonical_slice(axis, start, 1, 1), [Plan::Class(x)]);
    one(Plan::reshape(slice, &ty(egraph, class).shape))
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
fn groups(a: &[usize], b: &[usize]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
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
