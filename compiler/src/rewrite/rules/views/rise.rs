//! Slices rise above what they cut, towards the source, so that only what is read is made.

use egg::Id;

use super::super::Freedom::Exact;
use super::super::pattern::spread;
use super::super::{Plans, Rule, structural};
use super::sink::groups;
use super::{axes_of, nodes, pads_of, slice_of};
use crate::ops::Op;
use crate::rewrite::analysis::{Egraph, op_of, ty};
use crate::rewrite::decompose::canonical_slice;
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        structural(
            "slice-concat",
            "slice(concat(.., x, ..)) => slice(x)",
            "the slice lies inside one part",
            Exact,
            &[Kind::SLICE],
            slice_concat,
        ),
        structural(
            "slice-concat-parts",
            "slice(concat(x..)) => concat(slice(x)..)",
            "steps by one, over several parts but not all",
            Exact,
            &[Kind::SLICE],
            slice_concat_parts,
        ),
        structural(
            "slice-pad",
            "slice(pad(x, c)) => pad(slice(x), c), or c",
            "the slice lies inside x or inside the padding",
            Exact,
            &[Kind::SLICE],
            slice_pad,
        ),
        structural(
            "slice-expand",
            "slice(expand(x)) => expand(slice(x)), or expand(x)",
            "",
            Exact,
            &[Kind::SLICE],
            slice_expand,
        ),
        structural("slice-permute", "slice(permute(x)) => permute(slice(x))", "", Exact, &[Kind::SLICE], slice_permute),
        structural(
            "slice-reshape",
            "slice(reshape(x)) => reshape(slice(x))",
            "the reshape keeps the axis, or splits one and the slice is of the first of the parts",
            Exact,
            &[Kind::SLICE],
            slice_reshape,
        ),
    ]
}

/// Axis, first index, step, number of indices, and the least and the largest index of a slice that is not empty.
struct Cut {
    axis: usize,
    start: i64,
    step: i64,
    len: usize,
    low: i64,
    high: i64,
}

impl Cut {
    fn of(egraph: &Egraph, class: Id, node: &Node) -> Option<Cut> {
        let (axis, start, step) = slice_of(egraph, node)?;
        let len = ty(egraph, class).shape[axis];
        if ty(egraph, class).is_empty() {
            return None;
        }
        let last = start + step * (len as i64 - 1);
        Some(Cut { axis, start, step, len, low: start.min(last), high: start.max(last) })
    }

    /// The same cut of what begins `by` further on, along another axis.
    fn moved(&self, axis: usize, by: i64) -> Op {
        canonical_slice(axis, self.start - by, self.step, self.len)
    }
}

fn slice_concat(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(cut) = Cut::of(egraph, class, node) else { return Plans::new() };
    let mut plans = Plans::new();
    for inner in concats(egraph, node.children[0], cut.axis) {
        let mut begin = 0i64;
        for &part in &inner.children {
            let end = begin + ty(egraph, part).shape[cut.axis] as i64;
            if begin <= cut.low && cut.high < end {
                plans.push(Plan::op(cut.moved(cut.axis, begin), [Plan::Class(part)]));
            }
            begin = end;
        }
    }
    plans
}

fn concats(egraph: &Egraph, class: Id, axis: usize) -> impl Iterator<Item = &Node> {
    nodes(egraph, class, Kind::CONCAT)
        .filter(move |inner| matches!(op_of(egraph, inner), Some(Op::Concat { axis: other }) if other == axis))
}

fn slice_concat_parts(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(cut) = Cut::of(egraph, class, node).filter(|cut| cut.step == 1) else { return Plans::new() };
    let mut plans = Plans::new();
    for inner in concats(egraph, node.children[0], cut.axis) {
        let mut begin = 0i64;
        let mut parts = Vec::new();
        for &part in &inner.children {
            let len = ty(egraph, part).shape[cut.axis] as i64;
            let (first, end) = ((cut.low - begin).max(0), (cut.high + 1 - begin).min(len));
            if first < end {
                let own = canonical_slice(cut.axis, first, 1, (end - first) as usize);
                parts.push(Plan::op(own, [Plan::Class(part)]));
            }
            begin += len;
        }
        if (2..inner.children.len()).contains(&parts.len()) {
            plans.push(Plan::op(Op::Concat { axis: cut.axis }, parts));
        }
    }
    plans
}

fn slice_pad(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(cut) = Cut::of(egraph, class, node) else { return Plans::new() };
    nodes(egraph, node.children[0], Kind::PAD)
        .filter_map(|inner| {
            let (mut before, mut after) = pads_of(egraph, inner)?;
            let (x, filling) = (inner.children[0], Plan::Class(inner.children[1]));
            let begin = before[cut.axis] as i64;
            let end = begin + ty(egraph, x).shape[cut.axis] as i64;
            if cut.high < begin || cut.low >= end {
                return Some(spread(filling, ty(egraph, class)));
            }
            if cut.low < begin || cut.high >= end {
                return None;
            }
            (before[cut.axis], after[cut.axis]) = (0, 0);
            let part = Plan::op(cut.moved(cut.axis, begin), [Plan::Class(x)]);
            let padded = before.iter().chain(&after).any(|&n| n != 0);
            Some(if padded { Plan::op(Op::Pad { before, after }, [part, filling]) } else { part })
        })
        .collect()
}

fn slice_expand(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(cut) = Cut::of(egraph, class, node) else { return Plans::new() };
    let shape = &ty(egraph, class).shape;
    nodes(egraph, node.children[0], Kind::EXPAND)
        .map(|inner| {
            let x = ty(egraph, inner.children[0]);
            let own = cut.axis.checked_sub(shape.len() - x.rank()).filter(|&own| x.shape[own] != 1);
            let part = match own {
                Some(own) => Plan::op(cut.moved(own, 0), [Plan::Class(inner.children[0])]),
                None => Plan::Class(inner.children[0]),
            };
            Plan::op(Op::Expand { shape: shape.clone() }, [part])
        })
        .collect()
}

fn slice_permute(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(cut) = Cut::of(egraph, class, node) else { return Plans::new() };
    nodes(egraph, node.children[0], Kind::PERMUTE)
        .map(|inner| {
            let axes = axes_of(egraph, inner);
            Plan::permute(Plan::op(cut.moved(axes[cut.axis], 0), [Plan::Class(inner.children[0])]), &axes)
        })
        .collect()
}

fn slice_reshape(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(cut) = Cut::of(egraph, class, node) else { return Plans::new() };
    let middle = &ty(egraph, node.children[0]).shape;
    nodes(egraph, node.children[0], Kind::RESHAPE)
        .filter_map(|inner| {
            let x = &ty(egraph, inner.children[0]).shape;
            // Axes of extent 1 may share the group.
            let (there, here) = groups(middle, x)?.into_iter().find(|(there, _)| there.contains(&cut.axis))?;
            let wide = |shape: &[usize], group: std::ops::Range<usize>| -> Vec<usize> {
                group.filter(|&axis| shape[axis] != 1).collect()
            };
            let (there, here) = (wide(middle, there), wide(x, here));
            let (&[own], Some((&outer, below))) = (&here[..], there.split_first()) else { return None };
            // So many elements of `x` lie under one index of the axis that is cut.
            let under: usize = below.iter().map(|&axis| middle[axis]).product();
            let moved = match under {
                1 => cut.moved(own, 0),
                _ if cut.step == 1 => canonical_slice(own, cut.start * under as i64, 1, cut.len * under),
                _ => return None,
            };
            let part = Plan::op(moved, [Plan::Class(inner.children[0])]);
            (outer == cut.axis).then(|| Plan::reshape(part, &ty(egraph, class).shape))
        })
        .collect()
}
