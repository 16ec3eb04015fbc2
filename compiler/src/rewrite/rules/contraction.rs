//! Scales, biases and padding around matmul and convolution.

use egg::Id;

use super::Freedom::{Fold, Reassociate, ZeroSign};
use super::pattern::Match;
use super::{Plans, Rule, guarded, structural};
use crate::ops::{Op, PointFn};
use crate::rewrite::analysis::{Egraph, number, op_of, ty};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;
use crate::types::DType;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        guarded(
            "matmul-scale-left",
            "(matmul (mul ?x ?c) ?y)",
            "(mul (matmul ?x ?y) ?c)",
            Fold,
            "?c is one element of moderate size and ?y is a weight, into which it goes next",
            |m| is_moderate_scale(m) && m.is_weight("y"),
        ),
        guarded(
            "matmul-scale-right",
            "(matmul ?x (mul ?y ?c))",
            "(mul (matmul ?x ?y) ?c)",
            Fold,
            "?c is one element of moderate size and ?x is a weight, into which it goes next",
            |m| is_moderate_scale(m) && m.is_weight("x"),
        ),
        // Between two values of a run the sums have another range: what the scale kept finite may overflow.
        guarded(
            "matmul-scale-left-late",
            "(matmul (mul ?x ?c) ?y)",
            "(mul (matmul ?x ?y) ?c)",
            Reassociate,
            "?c is one element",
            is_scale,
        ),
        guarded(
            "matmul-scale-right-late",
            "(matmul ?x (mul ?y ?c))",
            "(mul (matmul ?x ?y) ?c)",
            Reassociate,
            "?c is one element",
            is_scale,
        ),
        guarded(
            "scale-scale",
            "(mul (mul ?x ?a) ?b)",
            "(mul ?x (mul ?a ?b))",
            Fold,
            "?a, ?b and their product are constants of moderate size and ?x is a matmul",
            |m| {
                m.number("a")
                    .zip(m.number("b"))
                    .is_some_and(|(a, b)| [a, b, a * b].into_iter().all(|x| is_moderate(m.root_ty().dtype, x)))
                    && is_contraction(m, "x")
            },
        ),
        guarded(
            "scale-bias",
            "(mul (add ?x ?b) ?s)",
            "(add (mul ?x ?s) (mul ?b ?s))",
            Fold,
            "?b and ?s are weights, ?s of moderate size, and ?x is a contraction",
            |m| {
                let scale = m.is_weight("s") && m.egraph[m.id("s")].data.moderate;
                m.is_weight("b") && scale && is_contraction(m, "x")
            },
        ),
        guarded(
            "bias-bias",
            "(add (add ?x ?b) ?c)",
            "(add ?x (add ?b ?c))",
            Fold,
            "?b and ?c are weights and ?x is a contraction",
            |m| m.is_weight("b") && m.is_weight("c") && is_contraction(m, "x"),
        ),
        structural(
            "contraction-scale",
            "conv(x, w) * s => conv(x, w * s)",
            "w and s are weights, s of moderate size with one element for each channel of the result",
            Fold,
            &[Kind::point(PointFn::Mul)],
            contraction_scale,
        ),
        structural(
            "conv-pad",
            "conv(pad(x, 0), w) => conv(x, w)",
            "only spatial axes are padded, and w is a weight, which is taken to be finite",
            ZeroSign,
            &[Kind::CONV],
            conv_pad,
        ),
    ]
}

/// Whether `?c` is one element for all of a tensor.
fn is_scale(m: &Match<'_>) -> bool {
    m.number("c").is_some() && m.ty("c").rank() == 0
}

fn is_moderate_scale(m: &Match<'_>) -> bool {
    is_scale(m) && m.number("c").is_some_and(|c| is_moderate(m.root_ty().dtype, c))
}

/// Whether a factor keeps finite numbers finite and normal ones normal, but for the ends of a dtype's range, which is narrow
/// for `f16`.
fn is_moderate(dtype: DType, x: f64) -> bool {
    let most = if dtype == DType::F16 { 4 } else { 12 };
    (2f64.powi(-most)..=2f64.powi(most)).contains(&x.abs())
}

const CONTRACTIONS: [Kind; 3] = [Kind::MATMUL, Kind::CONV, Kind::CONV_TRANSPOSE];

fn is_contraction(m: &Match<'_>, name: &str) -> bool {
    m.egraph[m.id(name)].iter().any(|node| CONTRACTIONS.contains(&node.kind))
}

fn contraction_scale(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let result = &ty(egraph, class).shape;
    let mut plans = Plans::new();
    for (x, s) in [(node.children[0], node.children[1]), (node.children[1], node.children[0])] {
        let rank = result.len();
        if !egraph[s].data.weight || !egraph[s].data.moderate || ty(egraph, x).shape != *result {
            continue;
        }
        let own = &ty(egraph, s).shape;
        // The one axis along which the scale varies, counted in the result.
        let wide: Vec<usize> =
            (0..own.len()).filter(|&axis| own[axis] != 1).map(|axis| axis + rank - own.len()).collect();
        for inner in egraph[x].iter().filter(|inner| CONTRACTIONS.contains(&inner.kind)) {
            let weight = inner.children[1];
            let Some(op) = op_of(egraph, inner) else { continue };
            let weight_rank = ty(egraph, weight).rank();
            // The axis of the weight that the channel of the result comes from.
            let (channel, target) = match &op {
                Op::MatMul {} if weight_rank == 2 && ty(egraph, inner.children[0]).rank() >= 2 => (rank - 1, 1),
                Op::Conv { .. } => (1, 0),
                Op::ConvTranspose { groups: 1, .. } => (1, 1),
                _ => continue,
            };
            if !egraph[weight].data.weight || wide.iter().any(|&axis| axis != channel) {
                continue;
            }
            let mut shape = vec![1; weight_rank];
            shape[target] = ty(egraph, s).len();
            let scaled = Plan::point(PointFn::Mul, [Plan::Class(weight), Plan::reshape(Plan::Class(s), &shape)]);
            plans.push(Plan::op(op, [Plan::Class(inner.children[0]), scaled]));
        }
    }
    plans
}

fn conv_pad(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(Op::Conv { strides, pads_begin, pads_end, dilations, groups }) = op_of(egraph, node) else {
        return Plans::new();
    };
    if !egraph[node.children[1]].data.weight {
        return Plans::new();
    }
    egraph[node.children[0]]
        .iter()
        .filter(|inner| inner.kind == Kind::PAD && number(egraph, inner.children[1]) == Some(0.0))
        .filter_map(|inner| {
            let Some(Op::Pad { before, after }) = op_of(egraph, inner) else { return None };
            if before[..2].iter().chain(&after[..2]).any(|&n| n != 0) {
                return None;
            }
            let sum = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<usize>>();
            let conv = Op::Conv {
                strides: strides.clone(),
                pads_begin: sum(&pads_begin, &before[2..]),
                pads_end: sum(&pads_end, &after[2..]),
                dilations: dilations.clone(),
                groups,
            };
            Some(Plan::op(conv, [Plan::Class(inner.children[0]), Plan::Class(node.children[1])]))
        })
        .collect()
}
