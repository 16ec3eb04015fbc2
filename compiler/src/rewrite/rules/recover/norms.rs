//! Layer norm and RMS norm over the last axes, their scales in every association, and means written as sums.

use egg::Id;
use smallvec::SmallVec;

use super::super::Freedom::{Reassociate, Ulp};
use super::super::pattern::{Match, rounding};
use super::super::{Plans, Rule, built, structural};
use super::{binary, both_orders, is_reduced, reduced, unary};
use crate::ops::{Float, Op, PointFn, ReduceFn};
use crate::rewrite::analysis::{Egraph, number, ty};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    let mul = [Kind::point(PointFn::Mul)];
    vec![
        structural(
            "mean-of-sum",
            "sum(x) * c => mean(x)",
            "floats; c is one over the number of elements of a sum",
            Ulp,
            &mul,
            mean_of_sum,
        ),
        structural(
            "layer-norm",
            "d * rsqrt(mean(d * d) + e) => layer_norm(x), d = x - mean(x)",
            "the last axes; e is a constant above zero",
            Ulp,
            &mul,
            layer_norm,
        ),
        structural(
            "rms-norm",
            "x * rsqrt(mean(x * x) + e) => rms_norm(x)",
            "the last axes; e is a constant above zero",
            Ulp,
            &mul,
            rms_norm,
        ),
        structural(
            "norm-scaled-root",
            "d * (rsqrt(mean(d * d) + e) * w) => (d * rsqrt(mean(d * d) + e)) * w",
            "as for a norm",
            Ulp,
            &mul,
            scaled_root,
        ),
        structural(
            "norm-scaled-first",
            "(d * w) * rsqrt(mean(d * d) + e) => (d * rsqrt(mean(d * d) + e)) * w",
            "as for a norm",
            Ulp,
            &mul,
            scaled_first,
        ),
        structural(
            "variance-of-moments",
            "mean(x * x) - mean(x) * mean(x) => mean(d * d), d = x - mean(x)",
            "over the same axes",
            Reassociate,
            &[Kind::point(PointFn::Sub)],
            variance_of_moments,
        ),
        built(
            "moments-applied-apart",
            "(add (mul ?x ?s) (sub ?b (mul ?m ?s)))",
            "(add (mul (sub ?x ?m) ?s) ?b)",
            Reassociate,
            "?m is a mean of ?x",
            moments_applied_apart,
        ),
    ]
}

fn mean_of_sum(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let dtype = ty(egraph, class).dtype;
    let (a, b) = (node.children[0], node.children[1]);
    let mut plans = Plans::new();
    for (sum, c) in [(a, b), (b, a)] {
        let Some(c) = number(egraph, c).filter(|_| dtype.is_float()) else { continue };
        for (x, axes) in reduced(egraph, sum, ReduceFn::Sum) {
            let count: usize = axes.iter().map(|&axis| ty(egraph, x).shape[axis]).product();
            if (c * count as f64 - 1.0).abs() <= rounding(dtype) {
                let mean = Op::Reduce { function: ReduceFn::Mean, axes, keepdim: true };
                plans.push(Plan::op(mean, [Plan::Class(x)]));
            }
        }
    }
    plans
}

/// First of the last axes over which `root` is `rsqrt(mean(d * d) + e)`, and `e`.
fn root_mean_square(egraph: &Egraph, root: Id, d: Id) -> Option<(usize, Float)> {
    let rank = ty(egraph, d).rank();
    if !ty(egraph, d).dtype.is_float() {
        return None;
    }
    unary(egraph, root, PointFn::Rsqrt).find_map(|sum| {
        both_orders(egraph, sum, PointFn::Add).find_map(|(mean, e)| {
            let e = number(egraph, e).filter(|&e| e > 0.0)?;
            reduced(egraph, mean, ReduceFn::Mean).find_map(|(square, axes)| {
                let first = *axes.first()?;
                let last = axes.iter().copied().eq(first..rank);
                let squared = binary(egraph, square, PointFn::Mul).any(|pair| pair == (d, d));
                (last && squared).then(|| (first, Float::new(e)))
            })
        })
    })
}

/// Both operands of a node, in both orders.
fn operands(egraph: &Egraph, node: &Node) -> SmallVec<[(Id, Id); 2]> {
    let (a, b) = (egraph.find(node.children[0]), egraph.find(node.children[1]));
    SmallVec::from_slice(&[(a, b), (b, a)])
}

fn layer_norm(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let mut plans = Plans::new();
    for (d, root) in operands(egraph, node) {
        let Some((axis, eps)) = root_mean_square(egraph, root, d) else { continue };
        let axes: Vec<usize> = (axis..ty(egraph, d).rank()).collect();
        let x = binary(egraph, d, PointFn::Sub).find(|&(x, m)| is_reduced(egraph, m, ReduceFn::Mean, x, &axes));
        plans.extend(x.map(|(x, _)| Plan::op(Op::LayerNorm { axis, eps }, [Plan::Class(x)])));
    }
    plans
}

fn rms_norm(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    operands(egraph, node)
        .into_iter()
        .filter_map(|(x, root)| {
            let (axis, eps) = root_mean_square(egraph, root, x)?;
            Some(Plan::op(Op::RmsNorm { axis, eps }, [Plan::Class(x)]))
        })
        .collect()
}

/// `(d * root) * w`.
fn scaled_last(d: Id, root: Id, w: Id) -> Plan {
    let normal = Plan::point(PointFn::Mul, [Plan::Class(d), Plan::Class(root)]);
    Plan::point(PointFn::Mul, [normal, Plan::Class(w)])
}

fn scaled_root(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let mut plans = Plans::new();
    for (d, scaled) in operands(egraph, node) {
        let found =
            both_orders(egraph, scaled, PointFn::Mul).find(|&(root, _)| root_mean_square(egraph, root, d).is_some());
        plans.extend(found.map(|(root, w)| scaled_last(d, root, w)));
    }
    plans
}

fn scaled_first(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let mut plans = Plans::new();
    for (scaled, root) in operands(egraph, node) {
        let found =
            both_orders(egraph, scaled, PointFn::Mul).find(|&(d, _)| root_mean_square(egraph, root, d).is_some());
        plans.extend(found.map(|(d, w)| scaled_last(d, root, w)));
    }
    plans
}

fn variance_of_moments(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let (second, squared) = (node.children[0], node.children[1]);
    let mut plans = Plans::new();
    for (square, axes) in reduced(egraph, second, ReduceFn::Mean) {
        let Some((x, _)) = binary(egraph, square, PointFn::Mul).find(|(a, b)| a == b) else { continue };
        let m = binary(egraph, squared, PointFn::Mul)
            .find(|&(a, b)| a == b && is_reduced(egraph, a, ReduceFn::Mean, x, &axes));
        let Some((m, _)) = m else { continue };
        let d = Plan::point(PointFn::Sub, [Plan::Class(x), Plan::Class(m)]);
        let mean = Op::Reduce { function: ReduceFn::Mean, axes, keepdim: true };
        plans.push(Plan::op(mean, [Plan::point(PointFn::Mul, [d.clone(), d])]));
    }
    plans
}

fn moments_applied_apart(m: &Match<'_>) -> Option<Plan> {
    reduced(m.egraph, m.id("m"), ReduceFn::Mean).find(|&(x, _)| x == m.id("x"))?;
    let centred = Plan::point(PointFn::Sub, [m.class("x"), m.class("m")]);
    let scaled = Plan::point(PointFn::Mul, [centred, m.class("s")]);
    Some(Plan::point(PointFn::Add, [scaled, m.class("b")]))
}
