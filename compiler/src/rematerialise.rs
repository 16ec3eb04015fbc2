//! Rematerialisation: a value that is live over the peak is dropped, and computed again for those who read it later.
//!
//! Only when the arena would be larger than allowed. One value after the other: of those that are live at the peak step
//! without being touched there, the one whose second computation takes away most of the largest sums for the least
//! work. What is tried is ordered, tied and planned like any program, so that the gain is what the plan says, not an
//! estimate. What a second computation needs and would no longer be there is computed again as well, a few steps deep.
//!
//! Weighing bytes against work is the rule of Dynamic Tensor Rematerialization (Kirisame et al.; arXiv 2006.09616), which decides
//! while it runs; here it is decided before.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Fault;
use crate::lower::{BufferKind, KernelGraph, KernelNode};
use crate::place;
use crate::plan::{Owner, Planned};

/// A value that is computed twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recomputed {
    pub value: String,
    /// What computes it, as the report names steps.
    pub step: String,
    /// Additions and multiplications done again, those of its operands included.
    pub flops: u64,
    /// Bytes written again, likewise.
    pub bytes: u64,
}

/// A program and its plan.
#[derive(Clone, Debug)]
pub struct Arranged {
    pub planned: Planned,
    /// What branches and loops run, innermost first.
    pub bodies: Vec<Planned>,
}

/// Orders, ties and plans a graph.
pub type Arrange<'a> = dyn Fn(&KernelGraph) -> Result<Arranged, Fault> + 'a;

/// A program made to need fewer bytes.
#[derive(Clone, Debug)]
pub struct Fitted {
    pub graph: KernelGraph,
    pub arranged: Arranged,
    pub recomputed: Vec<Recomputed>,
}

/// Values to compute twice.
const MAX_ROUNDS: usize = 64;

/// Values that are tried for each.
pub const MAX_TRIALS: usize = 12;

/// How many steps a second computation may take.
const MAX_CHAIN: usize = 4;

/// A trial has this share of the search for an order.
pub const TRIAL_SHARE: u64 = 16;

/// Nodes that are arranged in all trials together, so that a large program is not tried for hours.
const MAX_WORK: usize = 4_000_000;

/// Computes values again until the arena has at most `budget` bytes. When that cannot be reached, the result is the least
/// that was.
pub fn fit(graph: &KernelGraph, start: Arranged, budget: u64, arrange: &Arrange) -> Result<Fitted, Fault> {
    let mut fitted = Fitted { graph: graph.clone(), arranged: start, recomputed: Vec::new() };
    place::part_cycles_of_state(&mut fitted.graph);
    let mut least = fitted.clone();
    let rounds = (MAX_WORK / (graph.nodes.len().max(1) * 6 * MAX_TRIALS)).clamp(1, MAX_ROUNDS);
    for _ in 0..rounds {
        if fitted.arranged.planned.arena_bytes <= budget {
            return Ok(fitted);
        }
        // The way down is the same whatever the budget is, so what is reached under one is reached under another. Where
        // nothing lowers the largest sums, sums that are nearly as large are lowered first.
        let arena = fitted.arranged.planned.arena_bytes;
        let targets = [arena - 1, arena - arena / 8, arena - arena / 4];
        let next = targets.into_iter().find_map(|target| improve(&fitted, target, MAX_TRIALS, arrange));
        let Some(next) = next else { break };
        fitted = next;
        if fitted.arranged.planned.arena_bytes < least.arranged.planned.arena_bytes {
            least = fitted.clone();
        }
    }
    Ok(least)
}

/// One more value that is computed twice: of the `trials` largest that are live at the peak the one that takes away most of
/// what the sums have above `target` for its work, if any does.
pub fn improve(fitted: &Fitted, target: u64, trials: usize, arrange: &Arrange) -> Option<Fitted> {
    let before = excess(&fitted.arranged.planned, target);
    let mut best: Option<(u128, u64, Fitted)> = None;
    for (value, late) in candidates(&fitted.graph, &fitted.arranged.planned).into_iter().take(trials) {
        for depth in [0, MAX_CHAIN] {
            let Some((graph, again)) = again(fitted, value, &late, depth) else { continue };
            // What could not be arranged is none: an order that the second computation makes impossible.
            let Ok(arranged) = arrange(&graph) else { continue };
            let after = excess(&arranged.planned, target);
            let work = (again.flops + again.bytes).max(1);
            let Some(gain) = before.checked_sub(after).filter(|&gain| gain > 0) else { continue };
            let better = best.as_ref().is_none_or(|(most, least, _)| {
                // Gain for work, as fractions.
                gain.saturating_mul(u128::from(*least)) > most.saturating_mul(u128::from(work))
            });
            if better {
                let mut recomputed = fitted.recomputed.clone();
                recomputed.push(again);
                best = Some((gain, work, Fitted { graph, arranged, recomputed }));
            }
        }
    }
    best.map(|(_, _, fitted)| fitted)
}

/// Bytes above the target, over all steps.
fn excess(planned: &Planned, target: u64) -> u128 {
    let sums = planned.sums();
    let above = sums.iter().map(|&sum| u128::from(sum.saturating_sub(target))).sum::<u128>();
    // What packing adds to the load counts as well, or a plan could be refused that nothing can improve.
    above + u128::from(planned.arena_bytes.saturating_sub(target.max(planned.lower_bound_bytes)))
}

/// Steps by node of the graph before it was placed; copies that are gone have none.
fn steps(graph: &KernelGraph, planned: &Planned) -> Vec<Option<usize>> {
    let mut steps = vec![None; graph.nodes.len()];
    for (step, &node) in planned.placed.order.iter().enumerate() {
        steps[planned.placed.sources[node]] = Some(step);
    }
    steps
}

/// Values that are live at the peak without being touched there, largest first, with the nodes that read them later.
fn candidates(graph: &KernelGraph, planned: &Planned) -> Vec<(u32, Vec<usize>)> {
    let steps = steps(graph, planned);
    let producers = producers(graph);
    let peak = planned.peak_step;
    let mut readers: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut pinned: BTreeSet<u32> = graph.outputs.iter().map(|output| output.access.value).collect();
    for (number, node) in graph.nodes.iter().enumerate() {
        for read in &node.reads {
            readers.entry(read.value).or_default().push(number);
        }
        pinned.extend(node.writes.iter().filter_map(|write| write.base));
    }
    let live: BTreeSet<u32> = planned
        .live_at_peak
        .iter()
        .filter_map(|&life| match planned.lives[life].owner {
            Owner::Root(root) => Some(root.0),
            Owner::Workspace { .. } => None,
        })
        .collect();
    let mut found = Vec::new();
    for (&value, nodes) in &readers {
        let buffer = graph.buffer(value);
        let home = planned.placed.elided[value as usize].map_or(value as usize, |other| other.index());
        let is_live = live.contains(&planned.placed.homes[home].root.0);
        if buffer.kind != BufferKind::Temporary || pinned.contains(&value) || !is_live {
            continue;
        }
        let Some(producer) = producers[value as usize] else { continue };
        let at = |&node: &usize| steps[node];
        let late: Vec<usize> = nodes.iter().copied().filter(|node| at(node).is_none_or(|step| step > peak)).collect();
        let touched = nodes.iter().any(|node| at(node) == Some(peak));
        if steps[producer].is_some_and(|step| step < peak) && !touched && !late.is_empty() {
            found.push((value, late));
        }
    }
    found.sort_by_key(|(value, _)| (std::cmp::Reverse(graph.buffer(*value).bytes()), *value));
    found
}

/// For each value the only node that writes it, if that may run twice: it writes nothing else, updates nothing, and runs no
/// bodies.
fn producers(graph: &KernelGraph) -> Vec<Option<usize>> {
    let mut writers = vec![0usize; graph.buffers.len()];
    let mut producers = vec![None; graph.buffers.len()];
    for (number, node) in graph.nodes.iter().enumerate() {
        for write in &node.writes {
            writers[write.access.value as usize] += 1;
        }
        if let [write] = &node.writes[..]
            && write.base.is_none()
            && node.kernel.bodies().next().is_none()
        {
            producers[write.access.value as usize] = Some(number);
        }
    }
    producers.into_iter().zip(writers).map(|(producer, writers)| producer.filter(|_| writers == 1)).collect()
}

/// The graph in which the `late` readers of a value read a second one, and what that costs.
fn again(fitted: &Fitted, value: u32, late: &[usize], depth: usize) -> Option<(KernelGraph, Recomputed)> {
    let mut graph = fitted.graph.clone();
    let steps = steps(&graph, &fitted.arranged.planned);
    let producers = producers(&graph);
    let first = late.iter().copied().min()?;
    let from = late.iter().filter_map(|&node| steps[node]).min();
    let step = format!("{} = {}", graph.buffer(value).name, graph.nodes[producers[value as usize]?].label);
    let cost = Recomputed { value: graph.buffer(value).name.clone(), step, flops: 0, bytes: 0 };
    let mut last_read = vec![None; graph.buffers.len()];
    for (number, node) in graph.nodes.iter().enumerate() {
        for read in &node.reads {
            let last = &mut last_read[read.value as usize];
            *last = steps[number].max(*last);
        }
    }
    let stays = |value: u32| from.is_some() && last_read[value as usize] >= from;
    let mut second = Second { producers: &producers, stays: &stays, nodes: Vec::new(), copies: BTreeMap::new(), cost };
    let copy = second.repeat(&mut graph, value, depth)?;
    for &reader in late {
        for read in graph.nodes[reader].reads.iter_mut().filter(|read| read.value == value) {
            read.value = copy;
        }
    }
    graph.nodes.splice(first..first, second.nodes);
    Some((graph, second.cost))
}

/// A second computation.
struct Second<'a> {
    producers: &'a [Option<usize>],
    /// Whether a value is still read when the second computation is.
    stays: &'a dyn Fn(u32) -> bool,
    /// Operands first.
    nodes: Vec<KernelNode>,
    copies: BTreeMap<u32, u32>,
    cost: Recomputed,
}

impl Second<'_> {
    /// A second buffer for a value with the nodes that fill it. Operands that do not stay are computed again as well, at
    /// most `depth` steps deep.
    fn repeat(&mut self, graph: &mut KernelGraph, value: u32, depth: usize) -> Option<u32> {
        if let Some(&copy) = self.copies.get(&value) {
            return Some(copy);
        }
        let mut node = graph.nodes[self.producers[value as usize]?].clone();
        for read in &mut node.reads {
            let is_there = graph.buffer(read.value).kind != BufferKind::Temporary || (self.stays)(read.value);
            let may_repeat = depth > 0 && self.nodes.len() < MAX_CHAIN && self.producers[read.value as usize].is_some();
            if !is_there && may_repeat {
                read.value = self.repeat(graph, read.value, depth - 1)?;
            }
        }
        let (name, ty) = (format!("{}.again", graph.buffer(value).name), graph.buffer(value).ty.clone());
        self.cost.flops += node.flops;
        self.cost.bytes += ty.bytes() as u64;
        let copy = graph.add_buffer(name, ty, BufferKind::Temporary);
        node.writes[0].access.value = copy.0;
        self.nodes.push(node);
        self.copies.insert(value, copy.0);
        Some(copy.0)
    }
}
