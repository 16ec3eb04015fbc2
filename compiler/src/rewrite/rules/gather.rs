//! Reads at indices that are known: they are slices.
//!
//! Indices that count from the end, or lie outside, are left to the op: it wraps the former and refuses the latter.

use egg::Id;

use super::Freedom::Exact;
use super::views::{nodes, one};
use super::{Plans, Rule, structural};
use crate::ops::Op;
use crate::rewrite::analysis::{Egraph, op_of, progression_of, ty};
use crate::rewrite::decompose::canonical_slice;
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        structural(
            "gather-slice",
            "gather(x, i) => slice(x)",
            "the indices i are known and step evenly",
            Exact,
            &[Kind::GATHER],
            gather_slice,
        ),
        structural(
            "gather-gather",
            "gather(gather(x, i), j) => gather(x, gather(i, j))",
            "one axis; i and j are weights, i a list",
            Exact,
            &[Kind::GATHER],
            gather_gather,
        ),
        structural(
            "pick-slice",
            "gather_elements(x, i), gather_nd(x, i) => slice(x)",
            "the indices i are known: one everywhere, or a list that steps evenly",
            Exact,
            &[Kind::PICK],
            pick_slice,
        ),
        structural(
            "dynamic-slice",
            "dynamic_slice(x, i..) => slice(x)",
            "the places i are known",
            Exact,
            &[Kind::DYNAMIC_SLICE],
            dynamic_slice,
        ),
    ]
}

/// The indices of `x` along `axis` that a class of `len` indices names, first and step, where all lie inside. Those that
/// count from the end do so together.
pub(super) fn indices(egraph: &Egraph, index: Id, len: usize, extent: usize) -> Option<(i64, i64)> {
    let (first, step) = progression_of(egraph, index)?;
    let extent = i64::try_from(extent).ok()?;
    let last = step.checked_mul(len.checked_sub(1)? as i64)?.checked_add(first)?;
    let from_the_end = if first < 0 { extent } else { 0 };
    let (first, last) = (first.checked_add(from_the_end)?, last.checked_add(from_the_end)?);
    let inside = |at: i64| (0..extent).contains(&at);
    (inside(first) && inside(last)).then_some((first, step))
}

/// The `len` indices of `x` along `axis` from `first` on.
fn taken(x: Plan, axis: usize, (first, step): (i64, i64), len: usize, shape: &[usize]) -> Plan {
    if step != 0 || len == 1 {
        return Plan::op(canonical_slice(axis, first, step, len), [x]);
    }
    let mut repeated = shape.to_vec();
    repeated[axis] = len;
    Plan::op(Op::Expand { shape: repeated }, [Plan::op(canonical_slice(axis, first, 1, 1), [x])])
}

fn gather_slice(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(Op::Gather { axis }) = op_of(egraph, node) else { return Plans::new() };
    let (x, index) = (node.children[0], node.children[1]);
    let (shape, len) = (&ty(egraph, x).shape, ty(egraph, index).len());
    let Some(known) = indices(egraph, index, len, shape[axis]) else { return Plans::new() };
    one(Plan::reshape(taken(Plan::Class(x), axis, known, len, shape), &ty(egraph, class).shape))
}

fn gather_gather(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(Op::Gather { axis }) = op_of(egraph, node) else { return Plans::new() };
    let weight = |id: Id| egraph[id].data.weight;
    nodes(egraph, node.children[0], Kind::GATHER)
        .filter(|inner| inner.attr == node.attr && !weight(inner.children[0]))
        .filter(|inner| weight(inner.children[1]) && weight(node.children[1]))
        .filter(|inner| ty(egraph, inner.children[1]).rank() == 1)
        .map(|inner| {
            let index =
                Plan::op(Op::Gather { axis: 0 }, [Plan::Class(inner.children[1]), Plan::Class(node.children[1])]);
            Plan::op(Op::Gather { axis }, [Plan::Class(inner.children[0]), index])
        })
        .collect()
}

fn pick_slice(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let (x, index) = (node.children[0], node.children[1]);
    let (shape, result) = (&ty(egraph, x).shape, &ty(egraph, class).shape);
    let index_shape = &ty(egraph, index).shape;
    match op_of(egraph, node) {
        Some(Op::GatherElements { axis }) => {
            let others = (0..shape.len()).all(|other| other == axis || shape[other] == index_shape[other]);
            let len = index_shape[axis];
            let Some(known) = indices(egraph, index, len, shape[axis]) else { return Plans::new() };
            let even = known.1 == 0 || shape.len() == 1;
            if others && even { one(taken(Plan::Class(x), axis, known, len, shape)) } else { Plans::new() }
        }
        Some(Op::GatherNd { batch_dims: 0 }) if index_shape.last() == Some(&1) => {
            let len = ty(egraph, index).len();
            let Some(known) = indices(egraph, index, len, shape[0]) else { return Plans::new() };
            one(Plan::reshape(taken(Plan::Class(x), 0, known, len, shape), result))
        }
        _ => Plans::new(),
    }
}

/// Known places of a block, where all of it lies inside; nothing wraps.
pub(super) fn places(
    egraph: &Egraph,
    places: &[Id],
    axes: &[usize],
    sizes: &[usize],
    whole: &[usize],
) -> Option<Vec<usize>> {
    let place = |(at, &axis): (usize, &usize)| {
        let (place, _) = progression_of(egraph, places[at])?;
        let place = usize::try_from(place).ok()?;
        (place.checked_add(sizes[at])? <= whole[axis]).then_some(place)
    };
    axes.iter().enumerate().map(place).collect()
}

fn dynamic_slice(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(Op::DynamicSlice { axes, sizes }) = op_of(egraph, node) else { return Plans::new() };
    let whole = &ty(egraph, node.children[0]).shape;
    let Some(places) = places(egraph, &node.children[1..], &axes, &sizes, whole) else { return Plans::new() };
    let part = axes.iter().zip(sizes).zip(places).fold(Plan::Class(node.children[0]), |x, ((&axis, size), place)| {
        Plan::op(canonical_slice(axis, place as i64, 1, size), [x])
    });
    one(part)
}
