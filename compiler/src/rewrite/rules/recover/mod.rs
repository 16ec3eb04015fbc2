//! Functions that exporters take apart, recognised from their primitives.
//!
//! The left sides are written in the normal forms of `identity` and `scalar` (`x / c` is also `x * (1/c)`, `pow(x, 2)` is also
//! `x * x`, `1 / sqrt(x)` is also `rsqrt(x)`), so that one pattern covers many spellings. What works along axes is
//! recognised by functions, whatever the axes; a spelling that loses digits or range where the function does not is
//! recognised only where sums may be taken in another order.

mod activations;
mod attention;
mod linear;
mod norms;
mod rotation;
mod softmax;

use egg::Id;

use super::Rule;
use crate::ops::{Op, PointFn, ReduceFn};
use crate::rewrite::analysis::{Egraph, op_of};
use crate::rewrite::language::{Kind, Node};

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = activations::rules();
    rules.extend(softmax::rules());
    rules.extend(norms::rules());
    rules.extend(linear::rules());
    rules.extend(attention::rules());
    rules.extend(rotation::rules());
    rules
}

/// Nodes of a kind in a class.
fn nodes(egraph: &Egraph, class: Id, kind: Kind) -> impl Iterator<Item = &Node> {
    egraph[class].iter().filter(move |node| node.kind == kind)
}

/// Operands of a point function of one operand in a class.
fn unary(egraph: &Egraph, class: Id, function: PointFn) -> impl Iterator<Item = Id> + '_ {
    nodes(egraph, class, Kind::point(function)).map(|node| egraph.find(node.children[0]))
}

/// Operands of a point function of two operands in a class, as they stand.
fn binary(egraph: &Egraph, class: Id, function: PointFn) -> impl Iterator<Item = (Id, Id)> + '_ {
    nodes(egraph, class, Kind::point(function))
        .map(|node| (egraph.find(node.children[0]), egraph.find(node.children[1])))
}

/// Operands of a commutative function in a class, in both orders.
fn both_orders(egraph: &Egraph, class: Id, function: PointFn) -> impl Iterator<Item = (Id, Id)> + '_ {
    binary(egraph, class, function).flat_map(|(a, b)| [(a, b), (b, a)])
}

/// Operand and axes of a reduction in a class that keeps its axes.
fn reduced(egraph: &Egraph, class: Id, function: ReduceFn) -> impl Iterator<Item = (Id, Vec<usize>)> + '_ {
    egraph[class]
        .iter()
        .filter(move |node| node.kind == Kind::REDUCE || node.kind.reduction() == Some(function))
        .filter_map(move |node| match op_of(egraph, node) {
            Some(Op::Reduce { function: found, axes, keepdim: true }) if found == function => {
                Some((egraph.find(node.children[0]), axes))
            }
            _ => None,
        })
}

/// Whether a class is a reduction of another one over these axes.
fn is_reduced(egraph: &Egraph, class: Id, function: ReduceFn, of: Id, axes: &[usize]) -> bool {
    reduced(egraph, class, function).any(|(x, over)| x == of && over == axes)
}
