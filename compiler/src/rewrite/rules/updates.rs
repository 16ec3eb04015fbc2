//! Updates: writes through views, in functional form, and reads of what they wrote.
//!
//! `update(base, value)` has a region of the base as its attribute. How that region lies to the one that a view reads, or
//! another update writes, is decided by the arithmetic of the alias database; what it leaves open counts as overlap.
//! Disjoint updates are looked through, never exchanged, so that a chain of them has one order.

use egg::Id;

use super::Freedom::Exact;
use super::gather::{indices, places};
use super::views::{nodes, one};
use super::{Plans, Rule, structural};
use crate::alias::relation::{Region, Relation, relate_within};
use crate::ops::{Op, views};
use crate::rewrite::analysis::{Egraph, op_of, ty};
use crate::rewrite::decompose::canonical_slice;
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;
use crate::types::{Layout, dense_strides};
use situ_runtime::kernel::ScatterFn;

/// Updates that one read or write is compared with before it is given up.
const MOST_UPDATES: usize = 8;
/// Views between a read and the update it reads.
const MOST_VIEWS: usize = 4;
/// Updates that make a concatenation.
const MOST_PARTS: usize = 64;
/// Cases of the search for a common element. A wrong "overlap" costs a copy, not correctness.
const BUDGET: usize = 64;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        structural(
            "read-update",
            "slice(update(b, v)) => slice(b), v, or slice(v)",
            "the slice is disjoint from what was written, or is it, or lies inside",
            Exact,
            &[Kind::SLICE, Kind::SEEN],
            read_update,
        ),
        structural("update-whole", "update(b, v) => v", "all of b is written", Exact, &[Kind::UPDATE], update_whole),
        structural(
            "update-same",
            "update(b, slice(b)) => b",
            "the slice is what is written",
            Exact,
            &[Kind::UPDATE],
            update_same,
        ),
        structural(
            "update-overwritten",
            "update(update(b, v), w) => update(b, w)",
            "w overwrites all of v; also with other updates between",
            Exact,
            &[Kind::UPDATE],
            update_overwritten,
        ),
        structural(
            "updates-concat",
            "update(update(b, v), w) => concat(v, w)",
            "together all of b is written, in slabs along one axis; also with more updates",
            Exact,
            &[Kind::UPDATE],
            updates_concat,
        ),
        structural(
            "dynamic-update",
            "dynamic_update(b, v, i..) => update(b, v)",
            "the places i are known",
            Exact,
            &[Kind::DYNAMIC_UPDATE],
            dynamic_update,
        ),
        structural(
            "scatter-update",
            "scatter(b, i, v) => update(b, v)",
            "assigns rows at indices i that are known, distinct and step evenly",
            Exact,
            &[Kind::SCATTER],
            scatter_update,
        ),
    ]
}

/// An update of an e-graph.
struct Update {
    base: Id,
    value: Id,
    region: Layout,
}

impl Update {
    fn of(egraph: &Egraph, node: &Node) -> Option<Update> {
        let Some(Op::Update { offset, strides }) = op_of(egraph, node) else { return None };
        let shape = ty(egraph, node.children[1]).shape.clone();
        let region = Layout { offset: offset as i64, shape, strides };
        Some(Update { base: node.children[0], value: node.children[1], region })
    }

    /// The first update of a class.
    fn in_class(egraph: &Egraph, class: Id) -> Option<Update> {
        Update::of(egraph, nodes(egraph, class, Kind::UPDATE).next()?)
    }

    fn plan(&self, base: Plan) -> Plan {
        let op = Op::Update { offset: self.region.offset as usize, strides: self.region.strides.clone() };
        Plan::op(op, [base, Plan::Class(self.value)])
    }
}

fn relate(a: &Layout, b: &Layout, root: &Layout) -> Relation {
    let region = |layout| Region { map: None, layout, size: 1, root: Some(root) };
    relate_within(region(a), region(b), "", BUDGET)
}

/// Chains of views that end at a class `below` accepts: the ops, the lowest first, and that class.
fn views_of(egraph: &Egraph, class: Id, below: &dyn Fn(Id) -> bool) -> Option<(Vec<Op>, Id)> {
    fn walk(egraph: &Egraph, class: Id, below: &dyn Fn(Id) -> bool, ops: &mut Vec<Op>) -> Option<Id> {
        for node in egraph[class].iter().filter(|node| is_view(node.kind)).take(3) {
            let Some(op) = op_of(egraph, node) else { continue };
            ops.push(op);
            let child = egraph.find(node.children[0]);
            let end = if below(child) {
                Some(child)
            } else if ops.len() < MOST_VIEWS {
                walk(egraph, child, below, ops)
            } else {
                None
            };
            if end.is_some() {
                return end;
            }
            ops.pop();
        }
        None
    }
    let mut ops = Vec::new();
    let end = walk(egraph, class, below, &mut ops)?;
    ops.reverse();
    Some((ops, end))
}

fn is_view(kind: Kind) -> bool {
    matches!(kind, Kind::SLICE | Kind::SEEN | Kind::RESHAPE | Kind::PERMUTE)
}

/// Where the elements of a chain of views of a dense value of this shape lie.
fn seen(egraph: &Egraph, of: Id, ops: &[Op]) -> Option<Layout> {
    let of = ty(egraph, of);
    ops.iter().try_fold(Layout::dense(&of.shape), |layout, op| views::apply(op, &layout, of.dtype)?.into_iter().next())
}

fn replay(ops: &[Op], x: Plan) -> Plan {
    ops.iter().fold(x, |x, op| Plan::op(op.clone(), [x]))
}

fn read_update(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let written = |class: Id| nodes(egraph, class, Kind::UPDATE).next().is_some();
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let child = egraph.find(node.children[0]);
    let (mut ops, mut at) = if written(child) {
        (Vec::new(), child)
    } else {
        match views_of(egraph, child, &written) {
            Some(found) => found,
            None => return Plans::new(),
        }
    };
    ops.push(op);
    let Some(read) = seen(egraph, at, &ops).filter(|read| !read.is_empty()) else { return Plans::new() };
    let root = Layout::dense(&ty(egraph, at).shape);
    let mut passed = false;
    for _ in 0..MOST_UPDATES {
        let Some(update) = Update::in_class(egraph, at) else { break };
        match relate(&read, &update.region, &root) {
            Relation::Disjoint(_) => {
                passed = true;
                at = update.base;
            }
            Relation::Identical => {
                return one(Plan::reshape(Plan::Class(update.value), &ty(egraph, class).shape));
            }
            _ => {
                if let Some(ops) = part(&read, &update.region) {
                    return one(Plan::reshape(replay(&ops, Plan::Class(update.value)), &ty(egraph, class).shape));
                }
                break;
            }
        }
    }
    if passed { one(replay(&ops, Plan::Class(at))) } else { Plans::new() }
}

/// Views of the value at `whole` that see the elements of `part`, apart from axes of extent 1; `None` where `part` is not a
/// box of it.
fn part(part: &Layout, whole: &Layout) -> Option<Vec<Op>> {
    // The axes of the whole, the longest stride first: each steps over all the rest, so an offset has one index on each.
    let mut axes: Vec<usize> = (0..whole.rank()).filter(|&axis| whole.shape[axis] > 1).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(whole.strides[axis]));
    let mut rest = part.offset.checked_sub(whole.offset)?;
    let mut cuts = vec![(0i64, 1i64, 1usize); whole.rank()];
    for &axis in &axes {
        let stride = whole.strides[axis];
        let index = if stride > 0 { rest.div_euclid(stride) } else { return None };
        if index >= whole.shape[axis] as i64 {
            return None;
        }
        cuts[axis].0 = index;
        rest -= index * stride;
    }
    if rest != 0 {
        return None;
    }
    let mut order = Vec::new();
    for (&len, &stride) in part.shape.iter().zip(&part.strides).filter(|(len, _)| **len > 1) {
        let &axis =
            axes.iter().find(|&&axis| whole.strides[axis] <= stride.abs() && stride % whole.strides[axis] == 0)?;
        let step = stride / whole.strides[axis];
        let last = cuts[axis].0 + step * (len as i64 - 1);
        if stride == 0 || order.contains(&axis) || !(0..whole.shape[axis] as i64).contains(&last) {
            return None;
        }
        cuts[axis] = (cuts[axis].0, step, len);
        order.push(axis);
    }
    let mut ops: Vec<Op> = Vec::new();
    for (axis, &(start, step, len)) in cuts.iter().enumerate() {
        ops.push(canonical_slice(axis, start, step, len));
    }
    let narrow = (0..whole.rank()).filter(|axis| !order.contains(axis)).collect::<Vec<usize>>();
    ops.push(Op::Permute { axes: order.into_iter().chain(narrow).collect() });
    Some(ops)
}

fn update_whole(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(update) = Update::of(egraph, node) else { return Plans::new() };
    let shape = &ty(egraph, class).shape;
    if update.region.len() != ty(egraph, class).len() || update.region.is_empty() {
        return Plans::new();
    }
    // With its axes in the order of their strides the region is the base, row-major.
    let mut order: Vec<usize> = (0..update.region.rank()).collect();
    order.sort_by_key(|&axis| (update.region.shape[axis] != 1, std::cmp::Reverse(update.region.strides[axis])));
    if !views::permute(&update.region, &order).is_dense() {
        return Plans::new();
    }
    one(Plan::reshape(Plan::permute(Plan::Class(update.value), &order), shape))
}

fn update_same(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(update) = Update::of(egraph, node) else { return Plans::new() };
    let base = egraph.find(update.base);
    let Some((ops, _)) = views_of(egraph, update.value, &|class| class == base) else { return Plans::new() };
    let same = seen(egraph, base, &ops).is_some_and(|read| {
        relate(&read, &update.region, &Layout::dense(&ty(egraph, base).shape)) == Relation::Identical
    });
    if same { one(Plan::Class(base)) } else { Plans::new() }
}

fn update_overwritten(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(last) = Update::of(egraph, node) else { return Plans::new() };
    let root = Layout::dense(&ty(egraph, last.base).shape);
    let mut between: Vec<Update> = Vec::new();
    let mut at = last.base;
    while let Some(update) = Update::in_class(egraph, at) {
        if matches!(
            relate(&update.region, &last.region, &root),
            Relation::Identical | Relation::Permuted | Relation::Inside
        ) {
            let kept = between.iter().rev().fold(Plan::Class(update.base), |base, update| update.plan(base));
            return one(last.plan(kept));
        }
        at = update.base;
        between.push(update);
        if between.len() == MOST_UPDATES {
            break;
        }
    }
    Plans::new()
}

/// The axis and the range of it that a region of a dense value takes, with all of the other axes, in its order.
fn slab(region: &Layout, shape: &[usize]) -> Option<(usize, usize, usize)> {
    let strides = dense_strides(shape);
    let whole: usize = shape.iter().product();
    (0..shape.len()).find_map(|axis| {
        let others = whole / shape[axis];
        let (start, len) = (region.offset / strides[axis].max(1), region.len() / others);
        let mut own = shape.to_vec();
        own[axis] = len;
        let slab = Layout { offset: start * strides[axis], shape: own, strides: strides.clone() };
        let is = len * others == region.len() && relate(&slab, region, &Layout::dense(shape)) == Relation::Identical;
        is.then_some((axis, start as usize, len))
    })
}

fn updates_concat(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let Some(last) = Update::of(egraph, node) else { return Plans::new() };
    let shape = &ty(egraph, class).shape;
    if ty(egraph, class).is_empty() || last.region.is_empty() {
        return Plans::new();
    }
    let Some((axis, start, len)) = slab(&last.region, shape) else { return Plans::new() };
    let mut parts = vec![(start, len, last.value)];
    let (mut covered, mut at) = (len, last.base);
    while covered < shape[axis] && parts.len() < MOST_PARTS {
        let Some(update) = Update::in_class(egraph, at) else { return Plans::new() };
        let Some((_, start, len)) = slab(&update.region, shape).filter(|slab| slab.0 == axis) else {
            return Plans::new();
        };
        if parts.iter().any(|&(other, length, _)| start < other + length && other < start + len) {
            return Plans::new();
        }
        parts.push((start, len, update.value));
        covered += len;
        at = update.base;
    }
    if covered < shape[axis] || parts.len() < 2 {
        return Plans::new();
    }
    parts.sort_unstable();
    let parts = parts.into_iter().map(|(_, len, value)| {
        let mut own = shape.clone();
        own[axis] = len;
        Plan::reshape(Plan::Class(value), &own)
    });
    one(Plan::op(Op::Concat { axis }, parts))
}

fn dynamic_update(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(Op::DynamicUpdate { axes }) = op_of(egraph, node) else { return Plans::new() };
    let (base, value) = (node.children[0], node.children[1]);
    let (whole, block) = (&ty(egraph, base).shape, &ty(egraph, value).shape);
    let sizes: Vec<usize> = axes.iter().map(|&axis| block[axis]).collect();
    let Some(places) = places(egraph, &node.children[2..], &axes, &sizes, whole) else { return Plans::new() };
    let strides = dense_strides(whole);
    let offset = axes.iter().zip(places).map(|(&axis, place)| place * strides[axis] as usize).sum();
    one(Plan::op(Op::Update { offset, strides }, [Plan::Class(base), Plan::Class(value)]))
}

fn scatter_update(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let (base, index, value) = (node.children[0], node.children[1], node.children[2]);
    let shape = &ty(egraph, class).shape;
    let rows = match op_of(egraph, node) {
        Some(Op::ScatterElements { axis: 0, function: ScatterFn::Assign }) => shape.len() == 1,
        Some(Op::ScatterNd { function: ScatterFn::Assign }) => ty(egraph, index).shape.last() == Some(&1),
        _ => false,
    };
    if !rows || ty(egraph, value).is_empty() {
        return Plans::new();
    }
    let len = ty(egraph, index).len();
    let Some((first, step)) = indices(egraph, index, len, shape[0]).filter(|known| known.1 != 0 || len == 1) else {
        return Plans::new();
    };
    let strides = dense_strides(shape);
    let mut own = shape.clone();
    own[0] = len;
    let mut stepped = strides.clone();
    stepped[0] *= if len == 1 { 1 } else { step };
    let update = Op::Update { offset: (first * strides[0]) as usize, strides: stepped };
    one(Plan::op(update, [Plan::Class(base), Plan::reshape(Plan::Class(value), &own)]))
}
