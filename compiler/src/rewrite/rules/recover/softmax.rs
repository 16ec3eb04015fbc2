//! Softmax and its logarithm, along any axis.

use egg::Id;

use super::super::Freedom::{Exact, Reassociate, Ulp};
use super::super::{Plans, Rule, structural};
use super::{binary, both_orders, is_reduced, nodes, reduced, unary};
use crate::ops::{Op, PointFn, ReduceFn};
use crate::rewrite::analysis::{Egraph, op_of};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        structural(
            "softmax",
            "exp(x - max(x)) / sum(exp(x - max(x))) => softmax(x)",
            "one axis",
            Ulp,
            &[Kind::point(PointFn::Div)],
            softmax,
        ),
        structural(
            "softmax-without-maximum",
            "exp(x) / sum(exp(x)) => softmax(x)",
            "one axis",
            Reassociate,
            &[Kind::point(PointFn::Div)],
            softmax_without_maximum,
        ),
        structural(
            "exp-of-log-softmax",
            "exp(log_softmax(x)) => softmax(x)",
            "",
            Reassociate,
            &[Kind::point(PointFn::Exp)],
            exp_of_log_softmax,
        ),
        structural(
            "log-softmax",
            "x - max(x) - log(sum(exp(x - max(x)))) => log_softmax(x)",
            "one axis",
            Ulp,
            &[Kind::point(PointFn::Sub)],
            log_softmax,
        ),
        structural(
            "log-softmax-of-sum",
            "x - (m + log(sum(exp(x - m)))) => log_softmax(x)",
            "one axis; m is max(x), or zero where that is infinite",
            Reassociate,
            &[Kind::point(PointFn::Sub)],
            log_softmax_of_sum,
        ),
        structural(
            "log-softmax-without-maximum",
            "x - log(sum(exp(x))) => log_softmax(x)",
            "one axis",
            Reassociate,
            &[Kind::point(PointFn::Sub)],
            log_softmax_without_maximum,
        ),
        structural(
            "log-of-softmax",
            "log(softmax(x)) => log_softmax(x)",
            "",
            Reassociate,
            &[Kind::point(PointFn::Log)],
            log_of_softmax,
        ),
        structural(
            "softmax-permuted",
            "softmax(permute(x)) => permute(softmax(x))",
            "also for log_softmax",
            Exact,
            &[Kind::SOFTMAX, Kind::LOG_SOFTMAX],
            softmax_permuted,
        ),
    ]
}

/// Classes `x` for which a class is `x - max(x)` along an axis.
fn shifted(egraph: &Egraph, class: Id, axis: usize) -> Option<Id> {
    binary(egraph, class, PointFn::Sub).find(|&(x, m)| is_reduced(egraph, m, ReduceFn::Max, x, &[axis])).map(|(x, _)| x)
}

/// What the sums in a class are taken over, with the axis, where it is one.
fn sums(egraph: &Egraph, class: Id) -> impl Iterator<Item = (Id, usize)> + '_ {
    reduced(egraph, class, ReduceFn::Sum).filter_map(|(e, axes)| match axes[..] {
        [axis] => Some((e, axis)),
        _ => None,
    })
}

/// The axis along which a class is the sum of `e`.
fn summed(egraph: &Egraph, class: Id, e: Id) -> Option<usize> {
    sums(egraph, class).find(|&(x, _)| x == e).map(|(_, axis)| axis)
}

fn softmax(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let (e, s) = (egraph.find(node.children[0]), node.children[1]);
    let Some(axis) = summed(egraph, s, e) else { return Plans::new() };
    let x = unary(egraph, e, PointFn::Exp).find_map(|t| shifted(egraph, t, axis));
    x.map(|x| Plan::op(Op::Softmax { axis }, [Plan::Class(x)])).into_iter().collect()
}

fn softmax_without_maximum(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let (e, s) = (egraph.find(node.children[0]), node.children[1]);
    let Some(axis) = summed(egraph, s, e) else { return Plans::new() };
    // What is shifted already is the rule above's.
    let x = unary(egraph, e, PointFn::Exp).find(|&x| shifted(egraph, x, axis).is_none());
    x.map(|x| Plan::op(Op::Softmax { axis }, [Plan::Class(x)])).into_iter().collect()
}

fn exp_of_log_softmax(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    nodes(egraph, node.children[0], Kind::LOG_SOFTMAX)
        .filter_map(|inner| match op_of(egraph, inner) {
            Some(Op::LogSoftmax { axis }) => Some(Plan::op(Op::Softmax { axis }, [Plan::Class(inner.children[0])])),
            _ => None,
        })
        .collect()
}

fn log_of_softmax(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    nodes(egraph, node.children[0], Kind::SOFTMAX)
        .filter_map(|inner| match op_of(egraph, inner) {
            Some(Op::Softmax { axis }) => Some(Plan::op(Op::LogSoftmax { axis }, [Plan::Class(inner.children[0])])),
            _ => None,
        })
        .collect()
}

/// The axis for which a class is `log(sum(exp(t)))`.
fn log_of_sum(egraph: &Egraph, class: Id, t: Id) -> Option<usize> {
    unary(egraph, class, PointFn::Log)
        .flat_map(|s| sums(egraph, s))
        .find(|&(e, _)| unary(egraph, e, PointFn::Exp).any(|of| of == t))
        .map(|(_, axis)| axis)
}

fn log_softmax(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let (t, l) = (egraph.find(node.children[0]), node.children[1]);
    let Some(axis) = log_of_sum(egraph, l, t) else { return Plans::new() };
    let x = shifted(egraph, t, axis);
    x.map(|x| Plan::op(Op::LogSoftmax { axis }, [Plan::Class(x)])).into_iter().collect()
}

fn log_softmax_without_maximum(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let (x, l) = (egraph.find(node.children[0]), node.children[1]);
    let axis = log_of_sum(egraph, l, x).filter(|&axis| shifted(egraph, x, axis).is_none());
    axis.map(|axis| Plan::op(Op::LogSoftmax { axis }, [Plan::Class(x)])).into_iter().collect()
}

fn log_softmax_of_sum(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let x = egraph.find(node.children[0]);
    let found = both_orders(egraph, node.children[1], PointFn::Add).find_map(|(m, l)| {
        unary(egraph, l, PointFn::Log).flat_map(|s| sums(egraph, s)).find_map(|(e, axis)| {
            let same = |(of, by): (Id, Id)| of == x && by == m;
            let shifted = unary(egraph, e, PointFn::Exp).any(|t| binary(egraph, t, PointFn::Sub).any(same));
            (shifted && is_maximum(egraph, m, x, axis)).then_some(axis)
        })
    });
    found.map(|axis| Plan::op(Op::LogSoftmax { axis }, [Plan::Class(x)])).into_iter().collect()
}

/// Whether a class is the maximum of `x`, or that with zeros where it is infinite.
fn is_maximum(egraph: &Egraph, class: Id, x: Id, axis: usize) -> bool {
    is_reduced(egraph, class, ReduceFn::Max, x, &[axis])
        || nodes(egraph, class, Kind::point(PointFn::Where)).any(|node| {
            let [condition, zero, m] = node.children[..] else { return false };
            egraph[zero].data.constant == Some(0)
                && is_reduced(egraph, m, ReduceFn::Max, x, &[axis])
                && unary(egraph, condition, PointFn::IsInf).any(|of| of == egraph.find(m))
        })
}

fn softmax_permuted(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    nodes(egraph, node.children[0], Kind::PERMUTE)
        .filter_map(|inner| {
            let Some(Op::Permute { axes }) = op_of(egraph, inner) else { return None };
            let moved = match op {
                Op::Softmax { axis } => Op::Softmax { axis: axes[axis] },
                Op::LogSoftmax { axis } => Op::LogSoftmax { axis: axes[axis] },
                _ => return None,
            };
            Some(Plan::permute(Plan::op(moved, [Plan::Class(inner.children[0])]), &axes))
        })
        .collect()
}
