//! Regions: stretches of the graph that are optimised on their own, equal ones once.
//!
//! A graph is cut where few computed values are live, at a value that is stored in memory in any case: one that feeds a
//! contraction or an op without fusion. Two regions are equal when their ops, wiring, types and literals are;
//! weights and activations differ only by where they come from, so the layers of a network share one region.

use indexmap::IndexMap;

use super::analysis::is_moderate_element;

use crate::eval::Tensor;
use crate::ir::{Constant, Def, Graph, InstId, ValueId};
use crate::ops::{Class, Op, PointFn, ReduceFn};
use crate::types::{DType, InputMode, TensorType};

/// Most instructions of a region; longer stretches are cut at their narrowest place.
const LONGEST: usize = 96;
/// Fewest instructions worth a region of their own.
const SHORTEST: usize = 4;
/// Views through which the use of a value is looked for.
const VIEWS: usize = 8;
/// A cut has no narrower place this many instructions before or after it.
const WINDOW: usize = 24;

/// A value a region reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leaf {
    pub ty: TensorType,
    pub weight: bool,
    /// The bits of every element, if they are known to be the same.
    pub literal: Option<u64>,
    /// First element and step of a short list of integers that is an arithmetic progression: indices, as a rule.
    pub progression: Option<(i64, i64)>,
    /// Whether every element of a short list of floats is known to be finite and of moderate size: scales, as a rule.
    pub moderate: bool,
    /// Whether its bytes may be overwritten once nobody reads them.
    pub writable: bool,
}

/// Where an operand of a region's instruction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operand {
    Leaf(u32),
    /// Instruction of the region and result.
    Result(u32, u32),
}

/// What a region computes, apart from where its values come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Region {
    pub leaves: Vec<Leaf>,
    pub insts: Vec<(Op, Vec<Operand>)>,
    /// Values needed outside: instruction and result.
    pub outputs: Vec<(u32, u32)>,
    /// For each of them whether the graph gives it out, for which it has to be dense.
    pub given: Vec<bool>,
}

/// One place of the graph where a region stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Instance {
    /// Position in the list of distinct regions.
    pub region: usize,
    pub insts: Vec<InstId>,
    pub leaves: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
}

/// A stretch of the graph.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Region(Instance),
    /// A branch or a loop, which no region holds.
    Control(InstId),
}

/// The distinct regions of a graph, in order of first appearance, and what the graph is made of.
pub(super) fn partition(graph: &Graph) -> (Vec<Region>, Vec<Piece>) {
    let order = &graph.body().insts;
    let uses = Uses::of(graph);
    let mut regions: IndexMap<Region, ()> = IndexMap::new();
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in cuts(graph, &uses) {
        if graph.inst(order[start]).op.is_control() {
            pieces.push(Piece::Control(order[start]));
        } else {
            let (region, mut instance) = outline(graph, &order[start..end], &uses, end);
            instance.region = regions.insert_full(region, ()).0;
            pieces.push(Piece::Region(instance));
        }
        start = end;
    }
    (regions.into_keys().collect(), pieces)
}

/// For each value, where it is used.
struct Uses {
    /// One past the last position of a user; the number of instructions plus one for outputs of the graph.
    last: Vec<usize>,
    /// Instructions that use the value.
    users: Vec<Vec<InstId>>,
    /// Whether the graph gives it out.
    output: Vec<bool>,
}

impl Uses {
    fn of(graph: &Graph) -> Uses {
        let count = graph.values.len();
        let mut uses = Uses { last: vec![0; count], users: vec![Vec::new(); count], output: vec![false; count] };
        for (position, (id, inst)) in graph.body_insts().enumerate() {
            for operand in &inst.operands {
                uses.last[operand.index()] = position + 1;
                uses.users[operand.index()].push(id);
            }
        }
        let end = graph.body().insts.len() + 1;
        let given = graph.outputs.iter().map(|output| output.value);
        for value in given.chain(graph.finals.iter().map(|&(_, value)| value)) {
            uses.last[value.index()] = end;
            uses.output[value.index()] = true;
        }
        uses
    }

    /// Whether the value is in memory whatever the rewriter does, so that nothing could be fused across it. Looks through
    /// `depth` views.
    fn is_stored(&self, graph: &Graph, value: ValueId, depth: usize) -> bool {
        // A maximum or a sum beside other users may be a part of a softmax that is still to be recognised. (A norm is
        // recognised from the value its mean is taken of, which may be a leaf.)
        let rows = |id: &InstId| {
            let op = &graph.inst(*id).op;
            let softmax = matches!(op, Op::Reduce { function: ReduceFn::Sum | ReduceFn::Max, .. });
            op.row().class == Class::Row && !softmax
        };
        let users = &self.users[value.index()];
        self.output[value.index()]
            || users.len() > 1 && users.iter().any(rows)
            || users.iter().any(|&id| {
                let inst = graph.inst(id);
                match inst.op.row().class {
                    Class::Contraction | Class::Opaque | Class::Control => true,
                    Class::View if depth > 0 => {
                        inst.results.iter().any(|&result| self.is_stored(graph, result, depth - 1))
                    }
                    _ => false,
                }
            })
    }
}

impl Uses {
    /// Whether a part of the value is multiplied by a number, which may go into the weights that made the value. Looks
    /// through `depth` views.
    fn is_scaled(&self, graph: &Graph, value: ValueId, depth: usize) -> bool {
        self.users[value.index()].iter().any(|&id| {
            let inst = graph.inst(id);
            let number = |&operand: &ValueId| graph.constant_of(operand).and_then(Constant::splat).is_some();
            match inst.op.row().class {
                Class::Point => inst.op == Op::Point(PointFn::Mul) && inst.operands.iter().any(number),
                Class::View if depth > 0 => inst.results.iter().any(|&result| self.is_scaled(graph, result, depth - 1)),
                _ => false,
            }
        })
    }
}

/// Ends of the regions: positions in the body, ascending, the last one the length of the body.
fn cuts(graph: &Graph, uses: &Uses) -> Vec<usize> {
    let order = &graph.body().insts;
    let n = order.len();
    // live[p]: computed values alive after instruction p.
    let mut change = vec![0i64; n + 2];
    for (position, &id) in order.iter().enumerate() {
        for result in &graph.inst(id).results {
            let last = uses.last[result.index()];
            if last > position {
                change[position] += 1;
                change[(last - 1).min(n)] -= 1;
            }
        }
    }
    let live: Vec<i64> = change
        .iter()
        .scan(0, |sum, change| {
            *sum += change;
            Some(*sum)
        })
        .collect();
    let mut cuts = Vec::new();
    let mut start = 0;
    for p in 0..n {
        let length = p + 1 - start;
        let around = &live[p.saturating_sub(WINDOW)..(p + WINDOW + 1).min(n)];
        let narrow = around.iter().all(|&other| live[p] <= other);
        let crossing = || {
            order[start..=p]
                .iter()
                .flat_map(|&id| &graph.inst(id).results)
                .filter(|result| uses.last[result.index()] > p + 1)
        };
        let made_by_view =
            |value: &ValueId| graph.producer(*value).is_some_and(|id| graph.inst(id).op.row().class == Class::View);
        let is_control = |p: usize| order.get(p).is_some_and(|&id| graph.inst(id).op.is_control());
        let apart = is_control(p) || is_control(p + 1);
        let is_end = |value: &ValueId| {
            !made_by_view(value) && uses.is_stored(graph, *value, VIEWS) && !uses.is_scaled(graph, *value, VIEWS)
        };
        let small = || crossing().all(is_end);
        if apart || (length >= SHORTEST && narrow && small()) {
            cuts.push(p + 1);
            start = p + 1;
        } else if length >= LONGEST {
            let best = (start + LONGEST / 2..=p).rev().min_by_key(|&p| live[p]).unwrap_or(p);
            cuts.push(best + 1);
            start = best + 1;
        }
    }
    if cuts.last() != Some(&n) && n > 0 {
        cuts.push(n);
    }
    cuts
}

fn leaf_of(graph: &Graph, value: ValueId) -> Leaf {
    let constant = graph.constant_of(value);
    let writable = match graph.value(value).def {
        Def::Input(position) => graph.inputs[position as usize].mode != InputMode::Read,
        Def::Constant(_) => false,
        _ => true,
    };
    Leaf {
        ty: graph.ty(value).clone(),
        weight: constant.is_some(),
        literal: constant.and_then(Constant::splat),
        progression: constant.and_then(progression),
        moderate: constant.is_some_and(is_moderate),
        writable,
    }
}

/// Longest list of floats that is looked at for being of moderate size.
const MOST_SCALES: usize = 1 << 14;

/// Whether the elements of a short list are all of moderate size.
fn is_moderate(constant: &Constant) -> bool {
    let dtype = constant.ty.dtype;
    let fits = |element: &[u8]| {
        let mut bits = [0u8; 8];
        bits[..element.len()].copy_from_slice(element);
        is_moderate_element(dtype, u64::from_le_bytes(bits))
    };
    dtype.is_float() && constant.ty.len() <= MOST_SCALES && constant.bytes().chunks_exact(dtype.size()).all(fits)
}

/// Longest list of integers that is looked at for being a progression.
const LONGEST_LIST: usize = 1 << 12;

/// First element and step of a constant whose integers, in row-major order, are an arithmetic progression.
fn progression(constant: &Constant) -> Option<(i64, i64)> {
    let (dtype, len) = (constant.ty.dtype, constant.ty.len());
    if dtype.is_float() || dtype == DType::Bool || !(1..=LONGEST_LIST).contains(&len) {
        return None;
    }
    let list = Tensor::new(constant.ty.clone(), constant.bytes().into_owned()).ints();
    let step = list.get(1).map_or(Some(0), |second| second.checked_sub(list[0]))?;
    list.windows(2).all(|pair| pair[1].checked_sub(pair[0]) == Some(step)).then_some((list[0], step))
}

/// The region of consecutive instructions, and which values its leaves and outputs are.
fn outline(graph: &Graph, insts: &[InstId], uses: &Uses, end: usize) -> (Region, Instance) {
    let mut region = Region { leaves: Vec::new(), insts: Vec::new(), outputs: Vec::new(), given: Vec::new() };
    let mut instance = Instance { region: 0, insts: insts.to_vec(), leaves: Vec::new(), outputs: Vec::new() };
    let mut places: IndexMap<ValueId, Operand> = IndexMap::new();
    for (position, &id) in insts.iter().enumerate() {
        let inst = graph.inst(id);
        let mut operands = Vec::with_capacity(inst.operands.len());
        for &operand in &inst.operands {
            let place = match places.get(&operand) {
                Some(&place) => place,
                None => {
                    let leaf = leaf_of(graph, operand);
                    // Equal literals are one leaf, so that regions do not differ by how a literal was shared.
                    let known = leaf.literal.and_then(|_| region.leaves.iter().position(|other| *other == leaf));
                    let at = known.unwrap_or_else(|| {
                        region.leaves.push(leaf);
                        instance.leaves.push(operand);
                        region.leaves.len() - 1
                    });
                    let place = Operand::Leaf(at as u32);
                    places.insert(operand, place);
                    place
                }
            };
            operands.push(place);
        }
        for (at, &result) in inst.results.iter().enumerate() {
            places.insert(result, Operand::Result(position as u32, at as u32));
            if uses.last[result.index()] > end {
                region.outputs.push((position as u32, at as u32));
                region.given.push(uses.output[result.index()]);
                instance.outputs.push(result);
            }
        }
        region.insts.push((inst.op.clone(), operands));
    }
    (region, instance)
}
