//! Views: compositions, and views that move past an op towards one that cancels them.
//!
//! Every rule has one direction: `reshape` and `permute` sink towards the results (`sink`), slices rise towards the source
//! (`rise`). Both directions at once would multiply each class by the group of its axes.

mod compose;
mod rise;
pub(super) mod sink;

use egg::Id;

use super::{Plans, Rule};
use crate::ops::Op;
use crate::rewrite::analysis::{Egraph, op_of};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = compose::rules();
    rules.extend(rise::rules());
    rules.extend(sink::rules());
    rules
}

pub(super) fn one(plan: Plan) -> Plans {
    [plan].into_iter().collect()
}

/// Nodes of a kind in a class.
pub(super) fn nodes(egraph: &Egraph, class: Id, kind: Kind) -> impl Iterator<Item = &Node> {
    egraph[class].iter().filter(move |node| node.kind == kind)
}

pub(super) fn has(egraph: &Egraph, class: Id, kind: Kind) -> bool {
    nodes(egraph, class, kind).next().is_some()
}

pub(super) fn axes_of(egraph: &Egraph, node: &Node) -> Vec<usize> {
    match op_of(egraph, node) {
        Some(Op::Permute { axes }) => axes,
        _ => Vec::new(),
    }
}

pub(super) fn slice_of(egraph: &Egraph, node: &Node) -> Option<(usize, i64, i64)> {
    match op_of(egraph, node) {
        Some(Op::Slice { axis, start, step, .. }) => Some((axis, start, step)),
        _ => None,
    }
}

pub(super) fn pads_of(egraph: &Egraph, node: &Node) -> Option<(Vec<usize>, Vec<usize>)> {
    match op_of(egraph, node) {
        Some(Op::Pad { before, after }) => Some((before, after)),
        _ => None,
    }
}
