//! Kernels with several results.
//!
//! Two kernels of point functions over one domain become one, with both results, where they read the same values or the
//! second reads what the first writes: what both read is read once, what both compute is computed once, and a value that
//! only they need is not stored at all. An update of an optimizer's moments and parameters becomes one pass over them.
//!
//! In the e-graph this would be a rule on pairs of classes, which is quadratic; after extraction it is a merge of
//! instructions. It is legal where no third instruction lies on a way from the one to the other. Pairs are taken in the
//! order of the program, nearest first, so the result depends on nothing else.

use std::collections::BTreeSet;

use super::fuse::{MOST_OPERANDS, MOST_OPS, MOST_REGISTERS};
use super::rebuild::{Rebuild, fault};
use crate::diagnostic::Fault;
use crate::functional::PureGraph;
use crate::ir::{BlockId, Def, Graph, InstId, Location, ValueId};
use crate::ops::{Class, Op};
use crate::types::TensorType;

/// Most results of a kernel; the runtime has loops of their own for so many.
const MOST_RESULTS: usize = 4;
/// Kernels further apart than this are not merged: what lies between them would have to move.
const REACH: usize = 64;

/// A place without a unit.
const GONE: usize = usize::MAX;

/// The name under which a merge is counted and explained.
pub(super) const MERGED: &str = "share-kernel";

/// Merges kernels of `graph`; how many are gone.
pub(super) fn merge(graph: PureGraph) -> Result<(PureGraph, usize), Fault> {
    let graph = graph.into_graph();
    let mut units = Units::of(&graph);
    let mut gone = 0;
    let mut position = 0;
    while position < units.order.len() {
        match units.partner(position) {
            Some(later) => {
                units.join(position, later);
                gone += 1;
            }
            None => position += 1,
        }
    }
    if gone == 0 {
        return Ok((PureGraph::new(graph)?, 0));
    }
    let merged = write(&graph, &units)?;
    Ok((PureGraph::new(merged)?, gone))
}

/// An instruction, or several kernels that are to be one.
#[derive(Default)]
struct Unit {
    /// In an order in which each stands after what it needs.
    members: Vec<InstId>,
    operands: Vec<ValueId>,
    results: Vec<ValueId>,
    /// The written domain, if it is a kernel of point functions.
    domain: Option<Vec<usize>>,
    /// Point functions and literals of the bodies.
    work: usize,
}

struct Units<'a> {
    graph: &'a Graph,
    units: Vec<Unit>,
    /// Units in an order in which each stands after what it needs; [`GONE`] where one was merged away.
    order: Vec<usize>,
    /// Place of each unit in that order.
    at: Vec<usize>,
    /// For each value the units that read it.
    readers: Vec<Vec<usize>>,
    /// For each value whether the graph gives it out.
    kept: Vec<bool>,
}

impl<'a> Units<'a> {
    fn of(graph: &'a Graph) -> Units<'a> {
        let mut kept = vec![false; graph.values.len()];
        let finals = graph.finals.iter().map(|&(_, value)| value);
        for value in graph.outputs.iter().map(|output| output.value).chain(finals) {
            kept[value.index()] = true;
        }
        let mut readers = vec![Vec::new(); graph.values.len()];
        let mut units = Vec::new();
        for (at, (id, inst)) in graph.body_insts().enumerate() {
            for &operand in &inst.operands {
                if readers[operand.index()].last() != Some(&at) {
                    readers[operand.index()].push(at);
                }
            }
            let body = (matches!(inst.op, Op::Kernel { .. })).then(|| graph.block(inst.regions[0]));
            let is_point = body
                .is_some_and(|body| body.insts.iter().all(|&inner| graph.inst(inner).op.row().class == Class::Point));
            units.push(Unit {
                members: vec![id],
                operands: inst.operands.clone(),
                results: inst.results.clone(),
                domain: is_point.then(|| graph.ty(inst.results[0]).shape.clone()),
                work: body.map_or(0, |body| work(graph, &body.insts)),
            });
        }
        let order: Vec<usize> = (0..units.len()).collect();
        Units { graph, at: order.clone(), order, units, readers, kept }
    }

    /// The place of the nearest later unit that may be merged into the one at `position`, and is worth it.
    fn partner(&self, position: usize) -> Option<usize> {
        let unit = self.units.get(self.order[position])?;
        unit.domain.as_ref()?;
        let mut candidates: Vec<usize> = unit
            .operands
            .iter()
            .chain(&unit.results)
            .flat_map(|value| &self.readers[value.index()])
            .map(|&reader| self.at[reader])
            .filter(|&place| place > position && place <= position + REACH)
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.into_iter().find(|&later| self.may_join(position, later))
    }

    fn may_join(&self, first: usize, later: usize) -> bool {
        let (a, b) = (&self.units[self.order[first]], &self.units[self.order[later]]);
        let (Some(domain), true) = (&a.domain, a.domain == b.domain) else { return false };
        // A value that is read once instead of twice has to be one whose reading counts: no row of a bias.
        let len: usize = domain.iter().product();
        let counts = |value: &&ValueId| 2 * self.graph.ty(**value).len() >= len;
        let shared = a.operands.iter().chain(&a.results).filter(counts).any(|value| b.operands.contains(value));
        let operands = self.operands(a, b);
        let stored = self.stored(a, b).len() + b.results.len();
        shared
            && len > 0
            && operands.len() <= MOST_OPERANDS
            && stored <= MOST_RESULTS
            && a.work + b.work <= MOST_OPS
            && operands.len() + a.work + b.work <= MOST_REGISTERS
            && self.followers(first, later).is_some()
    }

    /// What the two read together.
    fn operands(&self, a: &Unit, b: &Unit) -> Vec<ValueId> {
        let mut operands = a.operands.clone();
        for &operand in b.operands.iter().filter(|operand| !a.results.contains(operand)) {
            if !operands.contains(&operand) {
                operands.push(operand);
            }
        }
        operands
    }

    /// Results of the first that somebody else than the second needs.
    fn stored(&self, a: &Unit, b: &Unit) -> Vec<ValueId> {
        let is_other = |&&reader: &&usize| self.units[reader].members != b.members;
        let needed = |value: &&ValueId| {
            self.kept[value.index()] || self.readers[value.index()].iter().any(|reader| is_other(&reader))
        };
        a.results.iter().filter(needed).copied().collect()
    }

    /// Units between the two that need the first, directly or not; `None` if the second needs one of them.
    fn followers(&self, first: usize, later: usize) -> Option<BTreeSet<usize>> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.order[first]];
        while let Some(unit) = open.pop() {
            for result in &self.units[unit].results {
                for &reader in &self.readers[result.index()] {
                    let place = self.at[reader];
                    if place == later && unit != self.order[first] {
                        return None;
                    }
                    if place < later && found.insert(reader) {
                        open.push(reader);
                    }
                }
            }
        }
        Some(found)
    }

    /// Makes one unit of the two, where the second stood; what needs the first follows it.
    fn join(&mut self, first: usize, later: usize) {
        let (one, two) = (self.order[first], self.order[later]);
        let followers = self.followers(first, later).unwrap_or_default();
        let operands = self.operands(&self.units[one], &self.units[two]);
        let stored = self.stored(&self.units[one], &self.units[two]);
        for value in self.units[one].operands.clone() {
            let readers = &mut self.readers[value.index()];
            readers.retain(|&reader| reader != one && reader != two);
            readers.push(two);
        }
        for value in self.units[one].results.clone() {
            self.readers[value.index()].retain(|&reader| reader != two);
        }
        let a = std::mem::take(&mut self.units[one]);
        let b = &mut self.units[two];
        b.members = [a.members, std::mem::take(&mut b.members)].concat();
        b.results = [stored, std::mem::take(&mut b.results)].concat();
        b.operands = operands;
        b.work += a.work;
        let between = self.order[first + 1..later].iter().copied().filter(|&unit| unit != GONE);
        let (after, before): (Vec<usize>, Vec<usize>) = between.partition(|unit| followers.contains(unit));
        let mut segment = [before, vec![two], after].concat();
        segment.resize(later + 1 - first, GONE);
        for (place, &unit) in (first..).zip(&segment) {
            self.order[place] = unit;
            if unit != GONE {
                self.at[unit] = place;
            }
        }
    }
}

/// Point functions of a body and the literals they name, each a register.
fn work(graph: &Graph, insts: &[InstId]) -> usize {
    let mut literals: BTreeSet<ValueId> = BTreeSet::new();
    for &inst in insts {
        let operands = &graph.inst(inst).operands;
        literals.extend(operands.iter().filter(|&&operand| matches!(graph.value(operand).def, Def::Constant(_))));
    }
    insts.len() + literals.len()
}

/// The graph in the order of the units, kernels of several members as one.
fn write(graph: &Graph, units: &Units) -> Result<Graph, Fault> {
    let mut new = Rebuild::new(graph);
    for unit in units.order.iter().filter_map(|&unit| units.units.get(unit)) {
        match unit.members[..] {
            [single] => new.copy(graph.inst(single))?,
            _ => kernel(&mut new, graph, unit)?,
        }
    }
    new.finish()
}

fn kernel<'a>(new: &mut Rebuild<'a>, graph: &'a Graph, unit: &Unit) -> Result<(), Fault> {
    let types: Vec<TensorType> = unit.results.iter().map(|&result| graph.ty(result).clone()).collect();
    let op = Op::Kernel {
        results: types.iter().map(|ty| ty.dtype).collect(),
        shapes: types.iter().map(|ty| ty.shape.clone()).collect(),
    };
    let operands = new.values(&unit.operands)?;
    let location = location(graph, unit);
    let id = new.graph.append_typed(Graph::BODY, op, &operands, types, location.clone());
    let block = new.graph.add_block();
    let mut writer = Writer { new, graph, block, location, known: Vec::new(), inside: Vec::new() };
    for &operand in &unit.operands {
        let param = writer.new.graph.add_param(block, graph.ty(operand).clone(), "");
        writer.inside.push((operand, param));
    }
    let mut rules: Vec<&'static str> = Vec::new();
    for &member in &unit.members {
        writer.member(member)?;
        let unseen: Vec<&'static str> =
            graph.inst(member).rules.iter().filter(|rule| !rules.contains(rule)).copied().collect();
        rules.extend(unseen);
    }
    rules.push(MERGED);
    let yields = unit.results.iter().map(|&result| writer.value(result)).collect::<Result<Vec<_>, _>>()?;
    new.graph.blocks[block.index()].yields = yields;
    new.graph.insts[id.index()].regions.push(block);
    new.graph.insts[id.index()].rules = rules;
    let origins = unit.members.iter().flat_map(|&member| &graph.inst(member).origins).copied().collect();
    new.graph.insts[id.index()].origins = origins;
    let results = new.graph.inst(id).results.clone();
    for (&old, result) in unit.results.iter().zip(results) {
        new.set(old, result);
    }
    Ok(())
}

/// A body that is being written.
struct Writer<'n, 'a> {
    new: &'n mut Rebuild<'a>,
    graph: &'a Graph,
    block: BlockId,
    location: Location,
    /// What the body computes already.
    known: Vec<(Op, Vec<ValueId>, ValueId)>,
    /// Values of the source that the body has.
    inside: Vec<(ValueId, ValueId)>,
}

impl Writer<'_, '_> {
    fn value(&mut self, old: ValueId) -> Result<ValueId, Fault> {
        if let Some(&(_, new)) = self.inside.iter().rev().find(|(known, _)| *known == old) {
            return Ok(new);
        }
        match self.graph.value(old).def {
            Def::Constant(_) => self.new.value(old),
            _ => Err(fault(format!("{} is not in the kernel that needs it", self.graph.display(old)))),
        }
    }

    /// Appends the body of a kernel, without what is there already.
    fn member(&mut self, member: InstId) -> Result<(), Fault> {
        let graph = self.graph;
        let inst = graph.inst(member);
        let body = graph.block(inst.regions[0]);
        for (&param, &operand) in body.params.iter().zip(&inst.operands) {
            let value = self.value(operand)?;
            self.inside.push((param, value));
        }
        for &id in &body.insts {
            let inner = graph.inst(id);
            let operands = inner.operands.iter().map(|&old| self.value(old)).collect::<Result<Vec<_>, _>>()?;
            let known = self.known.iter().find(|(op, on, _)| *op == inner.op && *on == operands);
            let value = match known {
                Some(&(.., value)) => value,
                None => {
                    let types = vec![graph.ty(inner.results[0]).clone()];
                    let graph = &mut self.new.graph;
                    let made =
                        graph.append_typed(self.block, inner.op.clone(), &operands, types, self.location.clone());
                    let value = graph.inst(made).results[0];
                    self.known.push((inner.op.clone(), operands, value));
                    value
                }
            };
            self.inside.push((inner.results[0], value));
        }
        for (&result, &yielded) in inst.results.iter().zip(&body.yields) {
            let value = self.value(yielded)?;
            self.inside.push((result, value));
        }
        Ok(())
    }
}

/// The place of the first member, with the texts of all.
fn location(graph: &Graph, unit: &Unit) -> Location {
    let mut location = graph.inst(unit.members[0]).location.clone();
    let mut texts: Vec<&str> = Vec::new();
    for &member in &unit.members {
        let text = graph.inst(member).location.text.as_str();
        if !text.is_empty() && !texts.contains(&text) {
            texts.push(text);
        }
    }
    location.text = texts.join(" + ");
    location
}
