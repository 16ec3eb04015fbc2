//! Two views, movements or paddings in a row become one.

use egg::Id;

use super::super::Freedom::Exact;
use super::super::{Plans, Rule, structural};
use super::{axes_of, nodes, one, pads_of, slice_of};
use crate::ops::Op;
use crate::rewrite::analysis::{Egraph, op_of, ty};
use crate::rewrite::decompose::canonical_slice;
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        structural(
            "reshape-reshape",
            "reshape(reshape(x)) => reshape(x)",
            "",
            Exact,
            &[Kind::RESHAPE],
            reshape_reshape,
        ),
        structural(
            "permute-permute",
            "permute(permute(x)) => permute(x)",
            "",
            Exact,
            &[Kind::PERMUTE],
            permute_permute,
        ),
        structural("expand-expand", "expand(expand(x)) => expand(x)", "", Exact, &[Kind::EXPAND], expand_expand),
        structural(
            "slice-slice",
            "slice(slice(x)) => slice(x)",
            "both cut one axis",
            Exact,
            &[Kind::SLICE],
            slice_slice,
        ),
        structural(
            "concat-slices",
            "concat(slice(x), slice(x), ..) => slice(x)",
            "the slices follow each other",
            Exact,
            &[Kind::CONCAT],
            concat_slices,
        ),
        structural(
            "concat-concat",
            "concat(.., concat(x..), ..) => concat(.., x.., ..)",
            "one axis; the inner one stands there once",
            Exact,
            &[Kind::CONCAT],
            concat_concat,
        ),
        structural("contiguous", "contiguous(x) => x", "", Exact, &[Kind::CONTIGUOUS], contiguous),
        structural(
            "bitcast-bitcast",
            "bitcast(bitcast(x)) => bitcast(x)",
            "",
            Exact,
            &[Kind::BITCAST],
            bitcast_bitcast,
        ),
        structural(
            "concat-nothing",
            "concat(.., x, ..) => concat(.., ..)",
            "x has no element",
            Exact,
            &[Kind::CONCAT],
            concat_nothing,
        ),
        structural("pad-nothing", "pad(x) => x", "by no element", Exact, &[Kind::PAD], pad_nothing),
        structural("pad-pad", "pad(pad(x, c), c) => pad(x, c)", "", Exact, &[Kind::PAD], pad_pad),
    ]
}

fn reshape_reshape(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let shape = &ty(egraph, class).shape;
    nodes(egraph, node.children[0], Kind::RESHAPE)
        .map(|inner| Plan::reshape(Plan::Class(inner.children[0]), shape))
        .collect()
}

fn permute_permute(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let outer = axes_of(egraph, node);
    nodes(egraph, node.children[0], Kind::PERMUTE)
        .map(|inner| {
            let axes = axes_of(egraph, inner);
            let composed: Vec<usize> = outer.iter().map(|&axis| axes[axis]).collect();
            Plan::permute(Plan::Class(inner.children[0]), &composed)
        })
        .collect()
}

fn expand_expand(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let shape = ty(egraph, class).shape.clone();
    nodes(egraph, node.children[0], Kind::EXPAND)
        .map(|inner| Plan::op(Op::Expand { shape: shape.clone() }, [Plan::Class(inner.children[0])]))
        .collect()
}

fn bitcast_bitcast(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let to = ty(egraph, class).dtype;
    nodes(egraph, node.children[0], Kind::BITCAST)
        .map(|inner| Plan::op(Op::Bitcast { to }, [Plan::Class(inner.children[0])]))
        .collect()
}

fn slice_slice(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some((axis, start, step)) = slice_of(egraph, node) else { return Plans::new() };
    let len = ty(egraph, class).shape[axis];
    nodes(egraph, node.children[0], Kind::SLICE)
        .filter_map(|inner| {
            let (other, from, stride) = slice_of(egraph, inner)?;
            let slice = canonical_slice(axis, from + start * stride, step * stride, len);
            (other == axis).then(|| Plan::op(slice, [Plan::Class(inner.children[0])]))
        })
        .collect()
}

fn concat_slices(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(Op::Concat { axis }) = op_of(egraph, node) else { return Plans::new() };
    let slices = |part: Id| {
        nodes(egraph, part, Kind::SLICE).filter_map(move |node| {
            let (along, start, step) = slice_of(egraph, node)?;
            (along == axis && step == 1).then_some((node.children[0], start))
        })
    };
    let len = ty(egraph, class).shape[axis];
    slices(node.children[0])
        .filter(|&(x, first)| {
            let mut next = first;
            node.children.iter().all(|&part| {
                let found = slices(part).any(|(other, start)| other == x && start == next);
                next += ty(egraph, part).shape[axis] as i64;
                found
            })
        })
        .map(|(x, first)| Plan::op(canonical_slice(axis, first, 1, len), [Plan::Class(x)]))
        .collect()
}

fn concat_concat(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let mut parts = Vec::new();
    for &part in &node.children {
        // A part that stands there twice is made once and copied; its own parts would be copied each time, and a chain of
        // doublings would grow without bound.
        let stands = node.children.iter().filter(|&&other| egraph.find(other) == egraph.find(part)).count();
        match nodes(egraph, part, Kind::CONCAT).find(|inner| inner.attr == node.attr && stands == 1) {
            Some(inner) => parts.extend(inner.children.iter().map(|&part| Plan::Class(part))),
            None => parts.push(Plan::Class(part)),
        }
    }
    if parts.len() == node.children.len() || parts.len() > 4096 { Plans::new() } else { one(Plan::Op(op, parts)) }
}

fn contiguous(_: &Egraph, _: Id, node: &Node) -> Plans {
    one(Plan::Class(node.children[0]))
}

fn concat_nothing(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let parts: Vec<Plan> =
        node.children.iter().filter(|&&part| !ty(egraph, part).is_empty()).map(|&part| Plan::Class(part)).collect();
    if parts.is_empty() || parts.len() == node.children.len() { Plans::new() } else { one(Plan::Op(op, parts)) }
}

fn pad_nothing(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let none = pads_of(egraph, node).is_some_and(|(before, after)| before.iter().chain(&after).all(|&n| n == 0));
    if none { one(Plan::Class(node.children[0])) } else { Plans::new() }
}

fn pad_pad(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some((before, after)) = pads_of(egraph, node) else { return Plans::new() };
    let sum = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<usize>>();
    nodes(egraph, node.children[0], Kind::PAD)
        .filter(|inner| egraph.find(inner.children[1]) == egraph.find(node.children[1]))
        .filter_map(|inner| {
            let (first, last) = pads_of(egraph, inner)?;
            let pad = Op::Pad { before: sum(&before, &first), after: sum(&after, &last) };
            Some(Plan::op(pad, [Plan::Class(inner.children[0]), Plan::Class(inner.children[1])]))
        })
        .collect()
}
