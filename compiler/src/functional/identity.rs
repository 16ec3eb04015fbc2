//! Which joins must be known as what they refer to.
//!
//! The result of an `if`, what a loop carries and an element of a sequence refer to one of several storages. Which one
//! matters only if somebody writes one of them while the join may be read: otherwise the join is a value like any other,
//! read once where it comes to be. That is so for a join of whose candidates none is written after it comes to be, and
//! that does not flow into a join for which it matters.

use std::collections::{BTreeMap, BTreeSet};

use crate::alias::AliasDb;
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
        let groups = groups(graph);
        // For each root, the groups that flow into it.
        let mut matters = vec![false; groups.len()];
        let mut group_of: BTreeMap<ValueId, usize> = BTreeMap::new();
        for (at, group) in groups.iter().enumerate() {
            group_of.extend(group.joins.iter().map(|&join| (join, at)));
        }
        // The last write of each storage says whether any comes after a join.
        let mut writes: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
        let mut anywhere = 0;
        for (at, (inst, candidates)) in aliases.writes().iter().enumerate() {
            match candidates {
                None => anywhere = aliases.order().of(*inst),
                Some(candidates) => {
                    for candidate in candidates {
                        writes.entry(candidate.owner).or_default().push(at);
                    }
                }
            }
        }
        let mut open = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let hit = |join: &ValueId| {
                let Some(own) = aliases.candidates(*join) else { return true };
                own.iter().any(|candidate| {
                    writes.get(&candidate.owner).into_iter().flatten().any(|&write| {
                        let (inst, written) = &aliases.writes()[write];
                        let mut written = written.iter().flatten();
                        (group.since + 1..group.until).contains(&aliases.order().of(*inst))
                            && written.any(|written| !aliases.is_apart(written, candidate))
                    })
                })
            };
            if anywhere > group.since || group.joins.iter().any(hit) {
                matters[at] = true;
                open.push(at);
            }
        }
        while let Some(at) = open.pop() {
            for &join in &groups[at].joins {
                for &source in aliases.joined(join) {
                    if let Some(&from) = group_of.get(&aliases.storage(source))
                        && !std::mem::replace(&mut matters[from], true)
                    {
                        open.push(from);
                    }
                }
            }
        }
        let joins = groups.into_iter().zip(matters).filter(|(_, matters)| *matters);
        Identity(joins.flat_map(|(group, _)| group.joins).collect())
    }
}

/// Joins that are decided together: a result of a loop and what it carries in that place.
struct Group {
    joins: Vec<ValueId>,
    /// Where they come to be.
    since: usize,
    /// Where they are no longer seen, unless something else refers to what they do.
    until: usize,
}

fn groups(graph: &Graph) -> Vec<Group> {
    let order = crate::alias::Order::new(graph);
    let mut groups = Vec::new();
    for id in graph.all_insts() {
        let inst = graph.inst(id);
        match inst.op {
            Op::If { .. } => {
                let since = order.of(id);
                groups.extend(inst.results.iter().map(|&result| Group {
                    joins: vec![result],
                    since,
                    until: usize::MAX,
                }));
            }
            Op::Loop { carried } => groups.extend(carries(graph, id, carried, order.begin(id))),
            Op::Scan { carried, sequences, .. } => {
                let (since, until) = (order.begin(id), order.of(id));
                groups.extend(carries(graph, id, carried, since));
                let slices = &graph.block(inst.regions[0]).params[1 + carried..][..sequences];
                groups.extend(slices.iter().map(|&slice| Group { joins: vec![slice], since, until }));
            }
            _ => {}
        }
    }
    groups
}

fn carries(graph: &Graph, id: InstId, carried: usize, since: usize) -> Vec<Group> {
    let inst = graph.inst(id);
    let params = &graph.block(inst.regions[0]).params[1..=carried];
    let pairs = inst.results.iter().zip(params);
    pairs.map(|(&result, &param)| Group { joins: vec![result, param], since, until: usize::MAX }).collect()
}
