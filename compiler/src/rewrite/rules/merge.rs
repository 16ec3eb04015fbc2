//! Contractions that read the same operand: one contraction with their weights side by side, of which each is a slice.
//!
//! These rules look at all users of a class at once. They run once, after algebra has come to rest, and refuse what they
//! made themselves, so that groups of groups never arise. Whether the merge is worth it (one launch and one reading of the
//! operand, against results that live as long as the longest of them) is for extraction to say: it moves all users to the
//! merged class together.

use egg::Id;

use super::Freedom::Exact;
use super::{Phase, Plans, Rule, structural};
use crate::ops::{Op, PointFn};
use crate::rewrite::analysis::{Egraph, number, op_of, ty};
use crate::rewrite::decompose::canonical_slice;
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;

/// Most contractions that become one.
const MOST_MEMBERS: usize = 16;
/// Most ways in which the slices of one contraction are scaled together.
const MOST_WAYS: usize = 8;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule {
            phase: Phase::Merge,
            ..structural(
                "merge-contractions",
                "f(x, v), f(x, w) => slices of f(x, concat(v, w))",
                "v and w are weights; the sum over each result's terms is in the order it was",
                Exact,
                &[Kind::MATMUL, Kind::CONV],
                merge_contractions,
            )
        },
        Rule {
            phase: Phase::Merge,
            ..structural(
                "merge-linears",
                "f(x, v) + b, f(x, w) + c => slices of f(x, concat(v, w)) + concat(b, c)",
                "v, w, b and c are weights; b and c vary along the channels only",
                Exact,
                &[Kind::point(PointFn::Add)],
                merge_linears,
            )
        },
        Rule {
            phase: Phase::Merge,
            ..structural(
                "scale-slices",
                "slice(y) * c => slice(y * v)",
                "floats; y is a contraction with weights, or that and a bias, into which v goes next; v is c on the slice and 1 elsewhere",
                Exact,
                &[Kind::point(PointFn::Mul), Kind::SLICE],
                scale_slices,
            )
        },
    ]
}

/// A contraction with a weight, as a part of a merged one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Member {
    class: Id,
    weight: Id,
}

/// Axis of the result, and of the weight, along which the channels of a contraction lie.
fn channels(egraph: &Egraph, node: &Node) -> Option<(usize, usize)> {
    let (x, weight) = (ty(egraph, node.children[0]), ty(egraph, node.children[1]));
    match op_of(egraph, node)? {
        Op::MatMul {} if weight.rank() == 2 && x.rank() >= 2 => Some((x.rank() - 1, 1)),
        Op::Conv { groups: 1, .. } => Some((1, 0)),
        _ => None,
    }
}

/// Groups of contractions like `node` of the same operand with weights, in the order of their making: those whose results
/// nothing scales that could be scaled in the weights, and, where they are others, those of the program's own weights, whose
/// slices can be scaled together later.
fn groups(egraph: &Egraph, node: &Node) -> Vec<Vec<Member>> {
    let x = node.children[0];
    let Some((_, axis)) = channels(egraph, node) else { return Vec::new() };
    if egraph[x].data.weight {
        return Vec::new();
    }
    let fits = |weight: Id| {
        let (own, other) = (&ty(egraph, node.children[1]).shape, &ty(egraph, weight).shape);
        own.len() == other.len() && (0..own.len()).all(|at| at == axis || own[at] == other[at])
    };
    let mut parents: Vec<Id> = egraph[x].parents().collect();
    parents.sort_unstable();
    let (mut last, mut own): (Vec<Member>, Vec<Member>) = (Vec::new(), Vec::new());
    for parent in parents {
        let other = &egraph.nodes()[usize::from(parent)];
        let is_like = other.kind == node.kind
            && other.attr == node.attr
            && egraph.find(other.children[0]) == egraph.find(x)
            && egraph.find(other.children[1]) != egraph.find(x);
        if !is_like {
            continue;
        }
        let member = Member { class: egraph.find(parent), weight: egraph.find(other.children[1]) };
        let has = |test: fn(Kind) -> bool| egraph[member.weight].iter().any(|node| test(node.kind));
        if !egraph[member.weight].data.weight || !fits(member.weight) || has(|kind| kind == Kind::CONCAT) {
            continue;
        }
        let is_in = |group: &[Member]| group.iter().any(|other| other.class == member.class);
        if !is_in(&last) && !is_folded(egraph, node, member.class) {
            last.push(member);
        }
        if !is_in(&own) && !has(|kind| kind.function().is_some()) {
            own.push(member);
        }
    }
    let mut groups = vec![last];
    if groups[0] != own {
        groups.push(own);
    }
    groups.retain(|group| (2..=MOST_MEMBERS).contains(&group.len()));
    groups
}

/// Whether a product of a contraction's result is a contraction of the same operand with other weights: then that one is
/// what its users read.
fn is_folded(egraph: &Egraph, node: &Node, class: Id) -> bool {
    let is_like = |other: &Node| {
        other.kind == node.kind
            && other.attr == node.attr
            && egraph.find(other.children[0]) == egraph.find(node.children[0])
    };
    egraph[class].parents().any(|parent| {
        let scaled = egraph.nodes()[usize::from(parent)].kind == Kind::point(PointFn::Mul);
        scaled && egraph[egraph.find(parent)].iter().any(is_like)
    })
}

/// The merged contraction.
fn merged(egraph: &Egraph, node: &Node, members: &[Member]) -> Option<Plan> {
    let (_, axis) = channels(egraph, node)?;
    let weights = members.iter().map(|member| Plan::Class(member.weight));
    let weight = Plan::op(Op::Concat { axis }, weights);
    Some(Plan::op(op_of(egraph, node)?, [Plan::Class(node.children[0]), weight]))
}

fn slice(egraph: &Egraph, node: &Node, members: &[Member], class: Id, whole: Plan) -> Option<Plan> {
    let (axis, _) = channels(egraph, node)?;
    let extent = |member: &Member| ty(egraph, member.class).shape[axis];
    let at = members.iter().position(|member| member.class == egraph.find(class))?;
    let start: usize = members[..at].iter().map(extent).sum();
    Some(Plan::op(canonical_slice(axis, start as i64, 1, extent(&members[at])), [whole]))
}

fn merge_contractions(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    if egraph[class].data.weight {
        return Plans::new();
    }
    let part = |members: Vec<Member>| slice(egraph, node, &members, class, merged(egraph, node, &members)?);
    groups(egraph, node).into_iter().filter_map(part).collect()
}

/// The first sum of a contraction and a bias along its channels: its class, and the bias as a tensor of rank one.
fn biased(egraph: &Egraph, class: Id, axis: usize) -> Option<(Id, Plan)> {
    let whole = ty(egraph, class);
    let channels = whole.shape[axis];
    let mut parents: Vec<Id> = egraph[class].parents().collect();
    parents.sort_unstable();
    parents.into_iter().find_map(|parent| {
        let add = &egraph.nodes()[usize::from(parent)];
        if add.kind != Kind::point(PointFn::Add) || ty(egraph, parent) != whole {
            return None;
        }
        let at = add.children.iter().position(|&child| egraph.find(child) == egraph.find(class))?;
        let other = egraph.find(add.children[1 - at]);
        let shape = &ty(egraph, other).shape;
        let lead = whole.rank() - shape.len();
        let is_row = (0..shape.len()).all(|here| shape[here] == 1 || here + lead == axis);
        if !egraph[other].data.weight || !is_row {
            return None;
        }
        let len = ty(egraph, other).len();
        let flat = Plan::reshape(Plan::Class(other), &[len]);
        // One element for all channels is spread, so that it can lie beside the biases of the others.
        let bias = if len == channels { flat } else { Plan::op(Op::Expand { shape: vec![channels] }, [flat]) };
        Some((egraph.find(parent), bias))
    })
}

/// A tensor of rank one as the operand that varies along an axis of `rank`.
fn along(row: Plan, len: usize, axis: usize, rank: usize) -> Plan {
    let mut shape = vec![1; rank - axis];
    shape[0] = len;
    Plan::reshape(row, &shape)
}

fn merge_linears(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let mut plans = Plans::new();
    for &child in &node.children {
        for inner in egraph[child].iter().filter(|inner| matches!(inner.kind, Kind::MATMUL | Kind::CONV)) {
            let Some((axis, _)) = channels(egraph, inner) else { continue };
            for members in groups(egraph, inner) {
                let sums: Option<Vec<(Id, Plan)>> =
                    members.iter().map(|member| biased(egraph, member.class, axis)).collect();
                let (Some(sums), Some(product)) = (sums, merged(egraph, inner, &members)) else { continue };
                let is_this = |(member, sum): (&Member, &(Id, Plan))| {
                    member.class == egraph.find(child) && sum.0 == egraph.find(class)
                };
                if !members.iter().zip(&sums).any(is_this) {
                    continue;
                }
                let len = members.iter().map(|member| ty(egraph, member.class).shape[axis]).sum();
                let row = Plan::op(Op::Concat { axis: 0 }, sums.into_iter().map(|(_, bias)| bias));
                let bias = along(row, len, axis, ty(egraph, class).rank());
                let sum = Plan::point(PointFn::Add, [product, bias]);
                plans.extend(slice(egraph, inner, &members, child, sum));
            }
        }
    }
    plans
}

/// A slice of the channels of a contraction.
struct Part {
    class: Id,
    start: usize,
    len: usize,
    /// Products of it with one element: their classes and the elements'.
    scaled: Vec<(Id, Id)>,
}

/// The axis of the channels of a class that is a contraction with weights, or that and a bias of weights.
fn channel_axis(egraph: &Egraph, class: Id) -> Option<usize> {
    let own = |class: Id| {
        egraph[class]
            .iter()
            .filter(|node| matches!(node.kind, Kind::MATMUL | Kind::CONV))
            .filter(|node| egraph[node.children[1]].data.weight && !egraph[node.children[0]].data.weight)
            .find_map(|node| channels(egraph, node))
            .map(|(axis, _)| axis)
    };
    let below = |node: &Node| {
        let [a, b] = node.children[..] else { return None };
        let product = if egraph[a].data.weight { b } else { a };
        let is_bias = egraph[a].data.weight != egraph[b].data.weight && ty(egraph, product) == ty(egraph, class);
        is_bias.then(|| own(product)).flatten()
    };
    own(class).or_else(|| egraph[class].iter().filter(|node| node.kind == Kind::point(PointFn::Add)).find_map(below))
}

/// Slices of the channels of `y`, in order; none where they overlap.
fn parts(egraph: &Egraph, y: Id, axis: usize) -> Vec<Part> {
    let mut parents: Vec<Id> = egraph[y].parents().collect();
    parents.sort_unstable();
    let mut parts: Vec<Part> = Vec::new();
    for parent in parents {
        let node = &egraph.nodes()[usize::from(parent)];
        let Some(Op::Slice { axis: along, start, step: 1, .. }) = op_of(egraph, node) else { continue };
        let class = egraph.find(parent);
        if along != axis
            || egraph.find(node.children[0]) != egraph.find(y)
            || parts.iter().any(|part| part.class == class)
        {
            continue;
        }
        let len = ty(egraph, class).shape[axis];
        parts.push(Part { class, start: start as usize, len, scaled: scaled(egraph, class) });
    }
    parts.sort_by_key(|part| part.start);
    let overlap = parts.windows(2).any(|pair| pair[0].start + pair[0].len > pair[1].start);
    if overlap { Vec::new() } else { parts }
}

fn scaled(egraph: &Egraph, class: Id) -> Vec<(Id, Id)> {
    let mut parents: Vec<Id> = egraph[class].parents().collect();
    parents.sort_unstable();
    let mut products: Vec<(Id, Id)> = Vec::new();
    for parent in parents {
        let node = &egraph.nodes()[usize::from(parent)];
        let [x, c] = node.children[..] else { continue };
        let (product, c) = (egraph.find(parent), egraph.find(c));
        let is_scale = node.kind == Kind::point(PointFn::Mul)
            && egraph.find(x) == egraph.find(class)
            && number(egraph, c).is_some()
            && ty(egraph, c).rank() == 0;
        if is_scale && !products.iter().any(|&(other, _)| other == product) {
            products.push((product, c));
        }
    }
    products
}

/// Ways to scale the parts: for each the element, or none. A part may be read as it is, or as one of its products; what all
/// parts are together is one way.
fn ways(parts: &[Part]) -> Vec<Vec<Option<(Id, Id)>>> {
    let mut ways: Vec<Vec<Option<(Id, Id)>>> = vec![Vec::new()];
    for part in parts {
        let choices: Vec<Option<(Id, Id)>> =
            std::iter::once(None).chain(part.scaled.iter().copied().map(Some)).collect();
        let extended = ways
            .iter()
            .flat_map(|way| choices.iter().map(move |&choice| way.iter().copied().chain([choice]).collect::<Vec<_>>()));
        ways = extended.take(MOST_WAYS).collect();
    }
    ways.retain(|way| way.iter().any(Option::is_some));
    ways
}

fn scale_slices(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    // The slice that is looked at: the class itself, or what it is a multiple of.
    let own = if node.kind == Kind::SLICE { class } else { node.children[0] };
    let mut plans = Plans::new();
    for inner in egraph[own].iter().filter(|inner| inner.kind == Kind::SLICE) {
        let y = egraph.find(inner.children[0]);
        let Some(axis) = channel_axis(egraph, y).filter(|_| ty(egraph, y).dtype.is_float()) else { continue };
        let parts = parts(egraph, y, axis);
        let Some(at) = parts.iter().position(|part| part.class == egraph.find(own)) else { continue };
        for way in ways(&parts) {
            let read = way[at].map_or(parts[at].class, |(product, _)| product);
            if read == egraph.find(class) {
                let scaled = Plan::point(PointFn::Mul, [Plan::Class(y), factor(egraph, y, axis, &parts, &way)]);
                plans.push(Plan::op(canonical_slice(axis, parts[at].start as i64, 1, parts[at].len), [scaled]));
            }
        }
    }
    plans
}

/// What scales the channels of `y`: the elements of `way` on the parts, one elsewhere.
fn factor(egraph: &Egraph, y: Id, axis: usize, parts: &[Part], way: &[Option<(Id, Id)>]) -> Plan {
    let whole = ty(egraph, y);
    let one = || Plan::Const(situ_runtime::scalar::encode_float(whole.dtype, 1.0), whole.dtype);
    let spread = |element: Plan, len: usize| Plan::op(Op::Expand { shape: vec![len] }, [Plan::reshape(element, &[1])]);
    let mut pieces = Vec::new();
    let mut end = 0;
    for (part, scaled) in parts.iter().zip(way) {
        if part.start > end {
            pieces.push(spread(one(), part.start - end));
        }
        pieces.push(spread(scaled.map_or_else(one, |(_, element)| Plan::Class(element)), part.len));
        end = part.start + part.len;
    }
    if end < whole.shape[axis] {
        pieces.push(spread(one(), whole.shape[axis] - end));
    }
    along(Plan::op(Op::Concat { axis: 0 }, pieces), whole.shape[axis], axis, whole.rank())
}
