//! May-sharing: which storages a value may have where control flow joins.
//!
//! The result of an `if`, what a loop carries and an element of a sequence stand for one of several values. Each such
//! join has a set of *candidates*: the owner of a storage, and the region of it, as a map where that is known. Around a
//! loop the sets grow to a fixpoint: a carry may be its initial value or whatever the body yields, and what the body
//! yields may come from the carry. After two rounds a region that still changes is given up ("any part of it"), so that
//! the fixpoint is reached; owners are finitely many.
//!
//! A storage made inside a loop's body is another one at every trip. A candidate that has come around the loop is the
//! storage of an *earlier* trip, apart from the one made in this trip. (TorchScript's database misses the way around:
//! it says that after `o = a + 0; b.add_(1); a = b` the values `a` and `b` are apart.)

use std::collections::{BTreeMap, BTreeSet};

use super::view::BoxMap;
use crate::ir::layout::Placements;
use crate::ir::{BlockId, Def, Graph, InstId, ValueId};
use crate::ops::Op;
use crate::types::Layout;

/// Rounds in which the regions of a join's candidates may change before they are given up.
const EXACT_ROUNDS: usize = 2;

/// The most candidates of a join; beyond, it may have any storage.
const MAX_CANDIDATES: usize = 64;

/// A storage that a value may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The value that owns it.
    pub owner: ValueId,
    /// Made by an earlier trip of the loop around the owner.
    pub earlier: bool,
    /// The elements of the owner, if they are known as a box.
    pub map: Option<BoxMap>,
    /// The elements in the storage, if they are known, each of `size` bytes.
    pub layout: Option<Layout>,
    pub size: usize,
}

/// Where things stand in the program: every definition has a number, and an instruction with regions an interval.
#[derive(Clone, Debug)]
pub struct Order {
    /// Number of the definition of each value; 0 for inputs and constants.
    values: Vec<usize>,
    /// Numbers of an instruction: where its regions begin, and itself, behind them.
    insts: Vec<(usize, usize)>,
    /// For each block, the instruction that holds it.
    holders: Vec<Option<InstId>>,
    /// For each instruction, the block it stands in.
    blocks: Vec<BlockId>,
}

impl Order {
    pub fn new(graph: &Graph) -> Order {
        let mut order = Order {
            values: vec![0; graph.values.len()],
            insts: vec![(0, 0); graph.insts.len()],
            holders: vec![None; graph.blocks.len()],
            blocks: vec![Graph::BODY; graph.insts.len()],
        };
        let mut next = 1;
        order.number(graph, Graph::BODY, &mut next);
        order
    }

    fn number(&mut self, graph: &Graph, block: BlockId, next: &mut usize) {
        for &param in &graph.block(block).params {
            self.values[param.index()] = *next;
        }
        for &id in &graph.block(block).insts {
            let begin = *next;
            *next += 1;
            self.blocks[id.index()] = block;
            for &region in &graph.inst(id).regions {
                self.holders[region.index()] = Some(id);
                self.number(graph, region, next);
            }
            self.insts[id.index()] = (begin, *next);
            for &result in &graph.inst(id).results {
                self.values[result.index()] = *next;
            }
            *next += 1;
        }
    }

    /// Where an instruction takes effect.
    pub fn of(&self, inst: InstId) -> usize {
        self.insts[inst.index()].1
    }

    /// Where an instruction begins: before its regions.
    pub fn begin(&self, inst: InstId) -> usize {
        self.insts[inst.index()].0
    }

    /// Whether `value` is defined inside a region of `inst`.
    pub fn is_inside(&self, value: ValueId, inst: InstId) -> bool {
        let (begin, end) = self.insts[inst.index()];
        (begin + 1..end).contains(&self.values[value.index()])
    }

    /// The loops around an instruction, innermost first.
    pub fn loops_around<'a>(&'a self, graph: &'a Graph, inst: InstId) -> impl Iterator<Item = InstId> + 'a {
        let outer = |id: &InstId| self.holders[self.blocks[id.index()].index()];
        let holders = std::iter::successors(outer(&inst), outer);
        holders.filter(|&id| matches!(graph.inst(id).op, Op::Loop { .. } | Op::Scan { .. }))
    }
}

/// Candidates of every join.
#[derive(Clone, Debug)]
pub struct Joins {
    /// `None`: any storage.
    candidates: BTreeMap<ValueId, Option<Vec<Candidate>>>,
}

impl Joins {
    /// Grows the candidates of all joins to the fixpoint. `maps` are the boxes of all values in their roots.
    pub fn new(graph: &Graph, placed: &Placements, order: &Order, maps: &dyn Fn(ValueId) -> Option<BoxMap>) -> Joins {
        let mut joins = Joins { candidates: BTreeMap::new() };
        let all: Vec<(ValueId, Option<InstId>)> = joined_values(graph, placed);
        let mut users: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
        for (at, &(join, _)) in all.iter().enumerate() {
            joins.candidates.insert(join, Some(Vec::new()));
            for &source in placed.joined(join).unwrap_or_default() {
                users.entry(placed.root(source)).or_default().push(at);
            }
        }
        let mut rounds = vec![0; all.len()];
        let mut open: BTreeSet<usize> = (0..all.len()).collect();
        while let Some(at) = open.pop_first() {
            let (join, around) = all[at];
            let mut grown = false;
            for &source in placed.joined(join).unwrap_or_default() {
                let sequence = graph.ty(source) != graph.ty(join);
                let Some(found) = joins.of(source, placed, maps(source), graph.ty(source).dtype.size()) else {
                    grown |= joins.candidates.insert(join, None) != Some(None);
                    continue;
                };
                for mut candidate in found {
                    candidate.earlier |= around.is_some_and(|around| order.is_inside(candidate.owner, around));
                    if sequence {
                        // One element of the sequence, we do not know which.
                        (candidate.map, candidate.layout) = (None, None);
                    }
                    grown |= joins.add(join, candidate, rounds[at] >= EXACT_ROUNDS);
                }
            }
            if grown {
                rounds[at] += 1;
                open.extend(users.get(&join).into_iter().flatten());
            }
        }
        joins
    }

    fn add(&mut self, join: ValueId, candidate: Candidate, widen: bool) -> bool {
        let Some(Some(known)) = self.candidates.get_mut(&join) else { return false };
        let same = |other: &&mut Candidate| (other.owner, other.earlier) == (candidate.owner, candidate.earlier);
        if known.contains(&candidate) || known.iter_mut().filter(same).any(|other| other.layout.is_none()) {
            return false;
        }
        if widen && known.iter_mut().any(|other| same(&other)) {
            known.retain(|other| (other.owner, other.earlier) != (candidate.owner, candidate.earlier));
            known.push(Candidate { map: None, layout: None, ..candidate });
        } else if known.len() == MAX_CANDIDATES {
            self.candidates.insert(join, None);
        } else {
            known.push(candidate);
        }
        true
    }

    /// The storages that `value` may have, as the box `map` and the layout of its root, in elements of `size` bytes; `None`:
    /// any.
    pub fn of(&self, value: ValueId, placed: &Placements, map: Option<BoxMap>, size: usize) -> Option<Vec<Candidate>> {
        let root = placed.root(value);
        let layout = Some(placed.layout(value).clone()).filter(|_| placed.has_one_layout(value));
        let Some(candidates) = self.candidates.get(&root) else {
            return Some(vec![Candidate { owner: root, earlier: false, map, layout, size }]);
        };
        let one_layout = placed.has_one_layout(root);
        let through = |candidate: &Candidate| {
            let map = candidate.map.as_ref().zip(map.as_ref()).map(|(outer, inner)| outer.then(inner));
            // With one set of strides, the layout in the join lies in the storage where the join begins.
            let begin = candidate.layout.as_ref().filter(|_| one_layout).map(|outer| outer.offset);
            let layout = layout
                .clone()
                .zip(begin)
                .and_then(|(layout, begin)| Some(Layout { offset: layout.offset.checked_add(begin)?, ..layout }));
            Candidate { map, layout, ..*candidate }
        };
        candidates.as_ref().map(|candidates| candidates.iter().map(through).collect())
    }
}

/// Every join in the order of the program, with the loop whose way around it closes.
fn joined_values(graph: &Graph, placed: &Placements) -> Vec<(ValueId, Option<InstId>)> {
    let mut found = Vec::new();
    for (at, value) in graph.values.iter().enumerate() {
        let id = ValueId(at as u32);
        if placed.joined(id).is_some()
            && let Def::Result(inst, _) = value.def
        {
            let loops = matches!(graph.inst(inst).op, Op::Loop { .. } | Op::Scan { .. });
            found.push((id, loops.then_some(inst)));
        }
    }
    for id in graph.all_insts() {
        let inst = graph.inst(id);
        for &param in inst.regions.iter().flat_map(|&region| &graph.block(region).params) {
            if placed.joined(param).is_some() {
                found.push((param, Some(id)));
            }
        }
    }
    found
}
