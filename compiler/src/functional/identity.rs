//! Which joins must be known as what they refer to.
//!
//! The result of an `if`, what a loop carries and an element of a sequence refer to one of several storages. Which one
//! matters only if one of them is written while the join may still be read, or if it is written through the join.
//! Otherwise the join is a value like any other, read once where it comes to be. A join also matters if it flows into one
//! that does.

use std::collections::{BTreeMap, BTreeSet};

use crate::alias::{AliasDb, Candidate};
use crate::ir::{Graph, InstId, ValueId};
use crate::ops::Op;

/// The joins that are not values of their own.
#[derive(Clone, Debug)]
pub struct Identity(BTreeSet<ValueId>);

impl Identity {
    pub fn matters(&self, join: ValueId) -> bool {
        self.0.contains(&join)
    }

    /// The joins of `graph` whose identity matters.
    pub fn of(graph: &Graph, aliases: &AliasDb<'_>) -> Identity {
        if aliases.writes().is_empty() {
            return Identity(BTreeSet::new());
        }
        let order = aliases.order();
        let groups = groups(graph, aliases);
        let mut group_of: BTreeMap<ValueId, usize> = BTreeMap::new();
        for (at, group) in groups.iter().enumerate() {
            group_of.extend(group.iter().map(|join| (join.value, at)));
        }
        let mut matters = vec![false; groups.len()];
        // Writes of each storage, as positions among all writes; those that may write any storage.
        let mut writes: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
        let mut anywhere = Vec::new();
        for (at, (inst, candidates)) in aliases.writes().iter().enumerate() {
            if let Some(&group) = group_of.get(&aliases.storage(graph.inst(*inst).operands[0])) {
                matters[group] = true;
            }
            match candidates {
                None => anywhere.push(order.of(*inst)),
                Some(candidates) => {
                    for candidate in candidates {
                        writes.entry(candidate.owner).or_default().push(at);
                    }
                }
            }
        }
        let hit = |join: &Join| {
            let alive = |position: usize| join.since < position && position < join.until;
            let Some(own) = aliases.candidates(join.value) else { return true };
            let written = |candidate: &Candidate| {
                writes.get(&candidate.owner).into_iter().flatten().any(|&write| {
                    let (inst, written) = &aliases.writes()[write];
                    let mut written = written.iter().flatten();
                    alive(order.of(*inst)) && written.any(|written| !aliases.is_apart(written, candidate))
                })
            };
            anywhere.iter().any(|&position| alive(position)) || own.iter().any(written)
        };
        let mut open = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            matters[at] |= group.iter().any(hit);
            if matters[at] {
                open.push(at);
            }
        }
        while let Some(at) = open.pop() {
            for join in &groups[at] {
                for &source in aliases.joined(join.value) {
                    if let Some(&from) = group_of.get(&aliases.storage(source))
                        && !std::mem::replace(&mut matters[from], true)
                    {
                        open.push(from);
                    }
                }
            }
        }
        let joins = groups.into_iter().zip(matters).filter(|(_, matters)| *matters);
        Identity(joins.flat_map(|(group, _)| group).map(|join| join.value).collect())
    }
}

/// A join, and when a write of what it refers to would be seen through it.
struct Join {
    value: ValueId,
    /// Where it comes to be.
    since: usize,
    /// Where it is last used, directly or through a view.
    until: usize,
}

/// Joins that are decided together: a result of a loop and what it carries in that place.
fn groups(graph: &Graph, aliases: &AliasDb<'_>) -> Vec<Vec<Join>> {
    let order = aliases.order();
    let last = last_uses(graph, aliases);
    let join = |value: ValueId, since: usize| Join { value, since, until: last.get(&value).copied().unwrap_or(0) };
    let mut groups = Vec::new();
    for id in graph.all_insts() {
        let inst = graph.inst(id);
        let (begin, end) = (order.begin(id), order.of(id));
        let (carried, sequences) = match inst.op {
            Op::If { .. } => {
                groups.extend(inst.results.iter().map(|&result| vec![join(result, end)]));
                continue;
            }
            Op::Loop { carried } => (carried, 0),
            Op::Scan { carried, sequences, .. } => (carried, sequences),
            _ => continue,
        };
        let params = &graph.block(inst.regions[0]).params;
        let pairs = inst.results.iter().zip(&params[1..=carried]);
        groups.extend(pairs.map(|(&result, &param)| vec![join(result, end), join(param, begin)]));
        // The elements of a sequence are taken when the scan begins, so that a write at any trip is after that.
        let slices = &params[1 + carried..][..sequences];
        groups.extend(slices.iter().map(|&value| vec![Join { value, since: begin, until: end }]));
    }
    groups
}

/// For each join, where it or a view of it is last used. A use inside a loop that the join comes from outside of lasts
/// until the loop ends.
fn last_uses(graph: &Graph, aliases: &AliasDb<'_>) -> BTreeMap<ValueId, usize> {
    let order = aliases.order();
    let mut last: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut used = |value: ValueId, by: Option<InstId>| {
        let root = aliases.storage(value);
        if !aliases.is_join(root) {
            return;
        }
        let at = match by {
            None => usize::MAX,
            Some(by) => {
                let outside = order.loops_around(graph, by).filter(|&around| !order.is_inside(root, around));
                outside.last().map_or(order.of(by), |around| order.of(around))
            }
        };
        let known = last.entry(root).or_insert(0);
        *known = at.max(*known);
    };
    for id in graph.all_insts() {
        let inst = graph.inst(id);
        inst.operands.iter().for_each(|&operand| used(operand, Some(id)));
        // What is yielded is used when the trip ends, which is before the loop does.
        for &region in &inst.regions {
            graph.block(region).yields.iter().for_each(|&value| used(value, Some(id)));
        }
    }
    graph.outputs.iter().for_each(|output| used(output.value, None));
    last
}
