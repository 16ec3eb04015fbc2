//! Comparisons, conditions and `where`.
//!
//! A comparison with NaN is false, so `not` of an order is the opposite order only where there is no NaN.

use egg::Id;
use situ_runtime::scalar;

use super::Freedom::{Exact, Finite};
use super::pattern::{constant, filled, spread};
use super::{Plans, Rule, guarded, pattern, structural};
use crate::ops::{Op, PointFn};
use crate::rewrite::analysis::{Egraph, number, op_of, ty};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;
use crate::types::DType;

/// Each with what holds where it does not, and whether it holds of two equal numbers.
const COMPARISONS: [(PointFn, PointFn, bool); 6] = [
    (PointFn::Eq, PointFn::Ne, true),
    (PointFn::Ne, PointFn::Eq, false),
    (PointFn::Lt, PointFn::Ge, false),
    (PointFn::Le, PointFn::Gt, true),
    (PointFn::Gt, PointFn::Le, false),
    (PointFn::Ge, PointFn::Lt, true),
];

pub(super) fn rules() -> Vec<Rule> {
    let comparisons = COMPARISONS.map(|(function, ..)| Kind::point(function));
    let is_bool = |m: &super::Match<'_>| m.root_ty().dtype == DType::Bool;
    vec![
        pattern("where-not", "(where (not ?c) ?a ?b)", "(where ?c ?b ?a)", Exact),
        pattern("where-same", "(where ?c ?a ?a)", "?a", Exact),
        pattern("where-then-where", "(where ?c (where ?c ?a ?b) ?d)", "(where ?c ?a ?d)", Exact),
        pattern("where-else-where", "(where ?c ?a (where ?c ?b ?d))", "(where ?c ?a ?d)", Exact),
        guarded("where-true-false", "(where ?c 1 0)", "?c", Exact, "bool", is_bool),
        guarded("where-false-true", "(where ?c 0 1)", "(not ?c)", Exact, "bool", is_bool),
        structural(
            "where-constant",
            "where(c, a, b) => a, or b",
            "c is a constant",
            Exact,
            &[Kind::point(PointFn::Where)],
            where_constant,
        ),
        structural(
            "not-compare",
            "not(a == b) => a != b, not(a < b) => a >= b, ..",
            "equality, or an order of integers",
            Exact,
            &[Kind::point(PointFn::Not)],
            |egraph, _, node| not_compare(egraph, node, false),
        ),
        structural(
            "not-compare-float",
            "not(a < b) => a >= b, ..",
            "an order of floats",
            Finite,
            &[Kind::point(PointFn::Not)],
            |egraph, _, node| not_compare(egraph, node, true),
        ),
        structural(
            "compare-same",
            "x == x => true, x < x => false, ..",
            "integers, or < and > of floats",
            Exact,
            &comparisons,
            compare_same,
        ),
        structural(
            "differs-from-itself",
            "x != x => is_nan(x)",
            "floats",
            Exact,
            &[Kind::point(PointFn::Ne)],
            differs_from_itself,
        ),
        structural(
            "compare-cast",
            "cast(b) == c => b, not(b), or a constant; also !=, <, ..",
            "b is bool and c a constant",
            Exact,
            &comparisons,
            compare_cast,
        ),
    ]
}

fn where_constant(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    number(egraph, node.children[0])
        .map(|condition| {
            let chosen = node.children[if condition != 0.0 { 1 } else { 2 }];
            Plan::op(Op::Expand { shape: ty(egraph, class).shape.clone() }, [Plan::Class(chosen)])
        })
        .into_iter()
        .collect()
}

fn not_compare(egraph: &Egraph, node: &Node, floats: bool) -> Plans {
    let mut plans = Plans::new();
    for inner in egraph[node.children[0]].iter() {
        let function = inner.kind.function();
        let Some(&(own, opposite, _)) = COMPARISONS.iter().find(|row| Some(row.0) == function) else { continue };
        let ordered_floats =
            ty(egraph, inner.children[0]).dtype.is_float() && !matches!(own, PointFn::Eq | PointFn::Ne);
        if ordered_floats == floats && ty(egraph, node.children[0]).dtype == DType::Bool {
            plans.push(Plan::point(opposite, inner.children.iter().map(|&child| Plan::Class(child))));
        }
    }
    plans
}

fn compare_same(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let same = egraph.find(node.children[0]) == egraph.find(node.children[1]);
    let row = COMPARISONS.iter().find(|row| Some(row.0) == node.kind.function());
    let float = ty(egraph, node.children[0]).dtype.is_float();
    row.filter(|row| same && (!float || matches!(row.0, PointFn::Lt | PointFn::Gt)))
        .map(|&(.., holds)| filled(ty(egraph, class), f64::from(u8::from(holds))))
        .into_iter()
        .collect()
}

fn differs_from_itself(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let (a, b) = (egraph.find(node.children[0]), egraph.find(node.children[1]));
    let is = a == b && ty(egraph, a).dtype.is_float();
    is.then(|| Plan::point(PointFn::IsNan, [Plan::Class(a)])).into_iter().collect()
}

/// What a comparison says of `false` and of `true` decides it.
fn compare_cast(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(function) = node.kind.function() else { return Plans::new() };
    let result = ty(egraph, class);
    let mut plans = Plans::new();
    for (cast, other) in [(0, 1), (1, 0)] {
        let Some(bits) = egraph[node.children[other]].data.constant else { continue };
        let dtype = ty(egraph, node.children[cast]).dtype;
        for inner in super::views::nodes(egraph, node.children[cast], Kind::CAST) {
            let b = inner.children[0];
            if ty(egraph, b).dtype != DType::Bool || !matches!(op_of(egraph, inner), Some(Op::Point(PointFn::Cast(_))))
            {
                continue;
            }
            let says = [0, 1].map(|value| {
                let value = scalar::cast(DType::Bool, dtype, value);
                let operands = if cast == 0 { [value, bits] } else { [bits, value] };
                scalar::eval(function, &[dtype, dtype], &operands) != 0
            });
            plans.push(match says {
                [false, true] => Plan::op(Op::Expand { shape: result.shape.clone() }, [Plan::Class(b)]),
                [true, false] => {
                    let not = Plan::point(PointFn::Not, [Plan::Class(b)]);
                    Plan::op(Op::Expand { shape: result.shape.clone() }, [not])
                }
                [same, _] => spread(constant(DType::Bool, f64::from(u8::from(same))), result),
            });
        }
    }
    plans
}
