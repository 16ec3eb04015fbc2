//! Reductions of views and of reductions.
//!
//! Which of several equal zeros `amax` and `amin` give depends on the order of the elements; a sum of floats depends on it in
//! every bit, a sum of integers in none.

use egg::Id;

use super::Freedom::{self, Exact, Reassociate, ZeroSign};
use super::pattern::constant;
use super::views::{axes_of, nodes, one};
use super::{Plans, Rule, structural};
use crate::ops::{Op, PointFn, ReduceFn};
use crate::rewrite::analysis::{Egraph, op_of, ty};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    let mut kinds: Vec<Kind> = ReduceFn::ALL.map(Kind::last).to_vec();
    kinds.push(Kind::REDUCE);
    let rule = |name, equation, condition, freedom: Freedom, planner| {
        structural(name, equation, condition, freedom, &kinds, planner)
    };
    vec![
        rule("reduce-one", REDUCE_ONE, "the axis has one element; integers, or amax, amin, prod", Exact, |e, _, n| {
            reduce_one(e, n, |function, float| !float || !is_sum(function))
        }),
        // A sum begins with +0.
        rule("sum-one", REDUCE_ONE, "the axis has one element; sum or mean of floats", ZeroSign, |e, _, n| {
            reduce_one(e, n, |function, float| float && is_sum(function))
        }),
        rule("reduce-reduce-integer", REDUCE_REDUCE, "integers; one function, not mean", Exact, |e, _, n| {
            reduce_reduce(e, n, |function, float| !float && function != ReduceFn::Mean)
        }),
        rule("extremum-extremum", REDUCE_REDUCE, "amax or amin of floats", ZeroSign, |e, _, n| {
            reduce_reduce(e, n, |function, float| float && is_extremum(function))
        }),
        rule("reduce-reduce", REDUCE_REDUCE, "sum, mean or prod of floats", Reassociate, |e, _, n| {
            reduce_reduce(e, n, |function, float| float && !is_extremum(function))
        }),
        rule("reduce-permute-integer", REDUCE_PERMUTE, "integers", Exact, |e, _, n| {
            reduce_permute(e, n, |_, float| !float)
        }),
        rule("extremum-permute", REDUCE_PERMUTE, "amax or amin of floats", ZeroSign, |e, _, n| {
            reduce_permute(e, n, |function, float| float && is_extremum(function))
        }),
        rule("reduce-permute", REDUCE_PERMUTE, "sum, mean or prod of floats", Reassociate, |e, _, n| {
            reduce_permute(e, n, |function, float| float && !is_extremum(function))
        }),
        rule("extremum-expand", "amax(expand(x)) => expand(amax(x))", "amax or amin", Exact, |e, c, n| {
            reduce_expand(e, c, n, |function, _| is_extremum(function))
        }),
        rule("sum-expand-integer", SUM_EXPAND, "integers", Exact, |e, c, n| {
            reduce_expand(e, c, n, |function, float| !float && function == ReduceFn::Sum)
        }),
        rule("sum-expand", SUM_EXPAND, "floats; mean without n", Reassociate, |e, c, n| {
            reduce_expand(e, c, n, |function, float| float && is_sum(function))
        }),
    ]
}

const REDUCE_ONE: &str = "reduce(x) => x, or fewer axes";
const REDUCE_REDUCE: &str = "reduce(reduce(x)) => reduce(x)";
const REDUCE_PERMUTE: &str = "reduce(permute(x)) => permute(reduce(x))";
const SUM_EXPAND: &str = "sum(expand(x)) => expand(sum(x) * n)";

fn is_sum(function: ReduceFn) -> bool {
    matches!(function, ReduceFn::Sum | ReduceFn::Mean)
}

fn is_extremum(function: ReduceFn) -> bool {
    matches!(function, ReduceFn::Max | ReduceFn::Min)
}

/// Function and axes of a reduction that keeps its axes; `None` unless `admits` takes the function on floats, or not.
fn reduction(egraph: &Egraph, node: &Node, admits: fn(ReduceFn, bool) -> bool) -> Option<(ReduceFn, Vec<usize>)> {
    match op_of(egraph, node) {
        Some(Op::Reduce { function, axes, keepdim: true }) => {
            admits(function, ty(egraph, node.children[0]).dtype.is_float()).then_some((function, axes))
        }
        _ => None,
    }
}

fn reduce(function: ReduceFn, mut axes: Vec<usize>, x: Plan) -> Plan {
    axes.sort_unstable();
    if axes.is_empty() { x } else { Plan::op(Op::Reduce { function, axes, keepdim: true }, [x]) }
}

fn reduce_one(egraph: &Egraph, node: &Node, admits: fn(ReduceFn, bool) -> bool) -> Plans {
    let Some((function, axes)) = reduction(egraph, node, admits) else { return Plans::new() };
    let x = ty(egraph, node.children[0]);
    let rest: Vec<usize> = axes.iter().copied().filter(|&axis| x.shape[axis] != 1).collect();
    if rest.len() == axes.len() { Plans::new() } else { one(reduce(function, rest, Plan::Class(node.children[0]))) }
}

fn reduce_reduce(egraph: &Egraph, node: &Node, admits: fn(ReduceFn, bool) -> bool) -> Plans {
    let Some((function, axes)) = reduction(egraph, node, admits) else { return Plans::new() };
    egraph[node.children[0]]
        .iter()
        .filter_map(|inner| {
            let (other, mut both) = reduction(egraph, inner, admits)?;
            both.extend(axes.iter().filter(|axis| !both.contains(axis)).copied().collect::<Vec<usize>>());
            (other == function).then(|| reduce(function, both, Plan::Class(inner.children[0])))
        })
        .collect()
}

fn reduce_permute(egraph: &Egraph, node: &Node, admits: fn(ReduceFn, bool) -> bool) -> Plans {
    let Some((function, axes)) = reduction(egraph, node, admits) else { return Plans::new() };
    nodes(egraph, node.children[0], Kind::PERMUTE)
        .map(|inner| {
            let order = axes_of(egraph, inner);
            let moved = axes.iter().map(|&axis| order[axis]).collect();
            Plan::permute(reduce(function, moved, Plan::Class(inner.children[0])), &order)
        })
        .collect()
}

fn reduce_expand(egraph: &Egraph, class: Id, node: &Node, admits: fn(ReduceFn, bool) -> bool) -> Plans {
    let Some((function, axes)) = reduction(egraph, node, admits) else { return Plans::new() };
    let whole = &ty(egraph, node.children[0]).shape;
    nodes(egraph, node.children[0], Kind::EXPAND)
        .filter_map(|inner| {
            let x = ty(egraph, inner.children[0]);
            let lead = std::iter::repeat_n(1, whole.len() - x.rank());
            let aligned: Vec<usize> = lead.chain(x.shape.iter().copied()).collect();
            let repeated = |axis: &usize| aligned[*axis] == 1 && whole[*axis] != 1;
            let (gone, left): (Vec<usize>, Vec<usize>) = axes.iter().partition(|axis| repeated(axis));
            let times: usize = gone.iter().map(|&axis| whole[axis]).product();
            if gone.is_empty() || times == 0 {
                return None;
            }
            let part = reduce(function, left, Plan::reshape(Plan::Class(inner.children[0]), &aligned));
            let part = match function {
                ReduceFn::Sum => Plan::point(PointFn::Mul, [part, constant(x.dtype, times as f64)]),
                _ => part,
            };
            Some(Plan::op(Op::Expand { shape: ty(egraph, class).shape.clone() }, [part]))
        })
        .collect()
}
