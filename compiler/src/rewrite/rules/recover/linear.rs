//! Matrix products that are written as convolutions.

use egg::Id;

use super::super::Freedom::Fold;
use super::super::{Plans, Rule, structural};
use super::nodes;
use crate::ops::Op;
use crate::rewrite::analysis::{Egraph, op_of, ty};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        // The order of a dot product's sum is another kernel's, which strict mathematics does not allow.
        structural(
            "pointwise-conv",
            "conv(permute(x), w) => permute(matmul(x, w))",
            "w has one element for each pair of channels, and the channels are the last axis of x",
            Fold,
            &[Kind::CONV],
            pointwise_conv,
        ),
    ]
}

fn pointwise_conv(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(Op::Conv { strides, pads_begin, pads_end, groups: 1, .. }) = op_of(egraph, node) else {
        return Plans::new();
    };
    let w = node.children[1];
    let shape = &ty(egraph, w).shape;
    let padded = pads_begin.iter().chain(&pads_end).any(|&pad| pad != 0);
    if padded || strides.iter().any(|&stride| stride != 1) || shape[2..].iter().any(|&extent| extent != 1) {
        return Plans::new();
    }
    let rank = shape.len();
    let channels_first: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    nodes(egraph, node.children[0], Kind::PERMUTE)
        .filter(|inner| matches!(op_of(egraph, inner), Some(Op::Permute { axes }) if axes == channels_first))
        .map(|inner| {
            let matrix = Plan::permute(Plan::reshape(Plan::Class(w), &shape[..2]), &[1, 0]);
            let product = Plan::op(Op::MatMul {}, [Plan::Class(inner.children[0]), matrix]);
            Plan::permute(product, &channels_first)
        })
        .collect()
}
