//! Functions that exporters take apart, recognised from their primitives.
//!
//! The left sides are written in the normal forms of `identity` and `scalar` (`x / c` is also `x * (1/c)`, `pow(x, 2)` is also
//! `x * x`, `1 / sqrt(x)` is also `rsqrt(x)`), so that one pattern covers many spellings.

use super::Freedom::{Reassociate, Ulp};
use super::pattern::{Match, rounding};
use super::{Plans, Rule, built, guarded, pattern, structural};
use crate::ops::{Float, Op};
use crate::rewrite::analysis::{Egraph, op_of};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;
use egg::Id;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        pattern("sigmoid", "(reciprocal (add (exp (neg ?x)) 1))", "(sigmoid ?x)", Ulp),
        pattern("silu", "(mul ?x (sigmoid ?x))", "(silu ?x)", Ulp),
        pattern("silu-quotient", "(div ?x (add (exp (neg ?x)) 1))", "(silu ?x)", Ulp),
        pattern("gelu", "(mul (mul ?x 0.5) (add (erf (mul ?x 0.7071067811865476)) 1))", "(gelu ?x)", Ulp),
        pattern("gelu-halved-last", "(mul (mul ?x (add (erf (mul ?x 0.7071067811865476)) 1)) 0.5)", "(gelu ?x)", Ulp),
        pattern("gelu-halved-inside", "(mul ?x (mul (add (erf (mul ?x 0.7071067811865476)) 1) 0.5))", "(gelu ?x)", Ulp),
        pattern(
            "gelu-tanh",
            "(mul (mul ?x 0.5) (add (tanh (mul (add ?x (mul (mul ?x (mul ?x ?x)) 0.044715)) 0.7978845608028654)) 1))",
            "(gelu_tanh ?x)",
            Ulp,
        ),
        pattern(
            "gelu-tanh-halved-last",
            "(mul (mul ?x (add (tanh (mul (add ?x (mul (mul ?x (mul ?x ?x)) 0.044715)) 0.7978845608028654)) 1)) 0.5)",
            "(gelu_tanh ?x)",
            Ulp,
        ),
        pattern(
            "gelu-tanh-halved-inside",
            "(mul ?x (mul (add (tanh (mul (add ?x (mul (mul ?x (mul ?x ?x)) 0.044715)) 0.7978845608028654)) 1) 0.5))",
            "(gelu_tanh ?x)",
            Ulp,
        ),
        pattern(
            "gelu-tanh-factored",
            "(mul (mul ?x 0.5) (add (tanh (mul (mul ?x 0.7978845608028654) (add (mul (mul ?x ?x) 0.044715) 1))) 1))",
            "(gelu_tanh ?x)",
            Ulp,
        ),
        pattern("hard-swish", "(mul (mul ?x (min (relu (add ?x 3)) 6)) 0.16666666666666666)", "(hard_swish ?x)", Ulp),
        pattern(
            "hard-swish-inside",
            "(mul ?x (mul (min (relu (add ?x 3)) 6) 0.16666666666666666))",
            "(hard_swish ?x)",
            Ulp,
        ),
        pattern(
            "hard-swish-sigmoid",
            "(mul ?x (min (relu (add (mul ?x 0.16666666666666666) 0.5)) 1))",
            "(hard_swish ?x)",
            Ulp,
        ),
        pattern("mish", "(mul ?x (tanh (softplus ?x)))", "(mish ?x)", Ulp),
        guarded(
            "mean-of-sum",
            "(mul (sum-last ?x) ?c)",
            "(mean-last ?x)",
            Ulp,
            "?c is one over the extent of the last axis",
            |m| {
                let extent = m.ty("x").shape.last().copied().unwrap_or(0) as f64;
                let dtype = m.root_ty().dtype;
                dtype.is_float() && m.number("c").is_some_and(|c| (c * extent - 1.0).abs() <= rounding(dtype))
            },
        ),
        built(
            "softmax",
            "(div (exp (sub ?x (amax-last ?x))) (sum-last (exp (sub ?x (amax-last ?x)))))",
            "softmax(?x)",
            Ulp,
            "",
            |m| Some(Plan::op(Op::Softmax { axis: m.ty("x").rank().checked_sub(1)? }, [m.class("x")])),
        ),
        built(
            "log-softmax",
            "(sub (sub ?x (amax-last ?x)) (log (sum-last (exp (sub ?x (amax-last ?x))))))",
            "log_softmax(?x)",
            Ulp,
            "",
            |m| Some(Plan::op(Op::LogSoftmax { axis: m.ty("x").rank().checked_sub(1)? }, [m.class("x")])),
        ),
        structural(
            "log-of-softmax",
            "log(softmax(x)) => log_softmax(x)",
            "",
            Reassociate,
            &[Kind::point(crate::ops::PointFn::Log)],
            log_of_softmax,
        ),
        built(
            "layer-norm",
            "(mul (sub ?x (mean-last ?x)) (rsqrt (add (mean-last (mul (sub ?x (mean-last ?x)) (sub ?x (mean-last ?x)))) ?e)))",
            "layer_norm(?x)",
            Ulp,
            "?e is a constant above zero",
            |m| {
                Some(Plan::op(
                    Op::LayerNorm { axis: m.ty("x").rank().checked_sub(1)?, eps: epsilon(m)? },
                    [m.class("x")],
                ))
            },
        ),
        built(
            "rms-norm",
            "(mul ?x (rsqrt (add (mean-last (mul ?x ?x)) ?e)))",
            "rms_norm(?x)",
            Ulp,
            "?e is a constant above zero",
            |m| {
                Some(Plan::op(Op::RmsNorm { axis: m.ty("x").rank().checked_sub(1)?, eps: epsilon(m)? }, [m.class("x")]))
            },
        ),
    ]
}

/// The constant `?e` of a norm.
fn epsilon(m: &Match<'_>) -> Option<Float> {
    m.number("e").filter(|&e| e > 0.0 && m.ty("x").dtype.is_float()).map(Float::new)
}

fn log_of_softmax(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    egraph[node.children[0]]
        .iter()
        .filter_map(|inner| match op_of(egraph, inner) {
            Some(Op::Softmax { axis }) => Some(Plan::op(Op::LogSoftmax { axis }, [Plan::Class(inner.children[0])])),
            _ => None,
        })
        .collect()
}
