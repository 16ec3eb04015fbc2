//! Rematerialisation: a value that is live over the peak is dropped, and computed again for those who read it later.
//!
//! Only when the arena would be larger than allowed. One value after the other: of those that are live at the peak step
//! without being touched there, the one whose second computation takes away most bytes above the budget for the least
//! work. What is tried is ordered, tied and planned like any program, so that the gain is what the plan says, not an
//! estimate. What a second computation needs and would no longer be there is computed again as well, a few steps deep.
//!
//! Greedy in the manner of Kumar et al. (Efficient rematerialization for deep networks, 2019); the choice is ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Fault;
use crate::lower::{BufferKind, KernelGraph};
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
const MAX_TRIALS: usize = 12;

/// How many steps a second computation may take.
const MAX_CHAIN: usize = 4;

/// Computes values again until the arena has at most `budget` bytes. When that cannot be reached, the result is the least
/// that was.
pub fn fit(graph: &KernelGraph, start: Arranged, budget: u64, arrange: &Arrange) -> Result<Fitted, Fault> {
    let mut fitted = Fitted { graph: graph.clone(), arranged: start, recomputed: Vec::new() };
    place::part_cycles_of_state(&mut fitted.graph);
    let mut least = fitted.clone();
    for _ in 0..MAX_ROUNDS {
        if fitted.arranged.planned.arena_bytes <= budget {
            return Ok(fitted);
        }
        let Some(next) = improve(&fitted, budget, MAX_TRIALS, arrange) else { break };
        fitted = next;
        if fitted.arranged.planned.arena_bytes < least.arranged.planned.arena_bytes {
            least = fitted.clone();
        }
    }
    Ok(least)
}

/// One more value that is computed twice: of the `trials` largest that are live at the peak the one that does most for its
/// work, if any does anything.
pub fn improve(fitted: &Fitted, budget: u64, trials: usize, arrange: &Arrange) -> Option<Fitted> {
    let before = excess(&fitted.arranged.planned, budget);
    let mut best: Option<(u128, u64, Fitted)> = None;
    for (value, late) in candidates(&fitted.graph, &fitted.arranged.planned).into_iter().take(trials) {
        for depth in [0, MAX_CHAIN] {
            let Some((graph, again)) = again(fitted, value, &late, depth) else { continue };
            // What could not be arranged is none: an order that the second computation makes impossible.
            let Ok(arranged) = arrange(&graph) else { continue };
            let after = excess(&arranged.planned, budget);
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

/// Bytes above the budget, over all steps.
fn excess(planned: &Planned, budget: u64) -> u128 {
    let sums = planned.sums();
    let above = sums.iter().map(|&sum| u128::from(sum.saturating_sub(budget))).sum::<u128>();
    // What packing adds to the load counts as well, or a plan could be refused that nothing can improve.
    above + u128::from(planned.arena_bytes.saturating_sub(budget.max(planned.lower_bound_bytes)))
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
        let Some(producer) = producer(graph, value) else { continue };
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

/// The only node that writes a value, if it may run twice: it writes nothing else, updates nothing, and runs no bodies.
fn producer(graph: &KernelGraph, value: u32) -> Option<usize> {
    let mut writers =
        (0..graph.nodes.len()).filter(|&node| graph.nodes[node].writes.iter().any(|write| write.access.value == value));
    let (first, second) = (writers.next()?, writers.next());
    let node = &graph.nodes[first];
    let alone = second.is_none() && node.writes.len() == 1 && node.writes[0].base.is_none();
    (alone && node.kernel.bodies().next().is_none()).then_some(first)
}

/// The graph in which the `late` readers of a value read a second one, and what that costs.
fn again(fitted: &Fitted, value: u32, late: &[usize], depth: usize) -> Option<(KernelGraph, Recomputed)> {
    let planned = &fitted.arranged.planned;
    let mut graph = fitted.graph.clone();
    let steps = steps(&graph, planned);
    let first = late.iter().copied().min()?;
    let from = late.iter().filter_map(|&node| steps[node]).min();
    let node = producer(&graph, value)?;
    let label = format!("{} = {}", graph.buffer(value).name, graph.nodes[node].label);
    let mut again = Recomputed { value: graph.buffer(value).name.clone(), step: label, flops: 0, bytes: 0 };
    let mut nodes = Vec::new();
    let mut copies = BTreeMap::new();
    let copy = repeat(&mut graph, value, from, &steps, depth, &mut nodes, &mut copies, &mut again)?;
    if nodes.is_empty() {
        return None;
    }
    for &reader in late {
        for read in graph.nodes[reader].reads.iter_mut().filter(|read| read.value == value) {
            read.value = copy;
        }
    }
    graph.nodes.splice(first..first, nodes);
    Some((graph, again))
}

/// A second buffer for a value with the nodes that fill it, operands first. Operands that nobody reads from step `from` on
/// are computed again as well, at most `depth` steps deep.
fn repeat(
    graph: &mut KernelGraph,
    value: u32,
    from: Option<usize>,
    steps: &[Option<usize>],
    depth: usize,
    nodes: &mut Vec<crate::lower::KernelNode>,
    copies: &mut BTreeMap<u32, u32>,
    cost: &mut Recomputed,
) -> Option<u32> {
    if let Some(&copy) = copies.get(&value) {
        return Some(copy);
    }
    let number = producer(graph, value)?;
    let mut node = graph.nodes[number].clone();
    for read in &mut node.reads {
        let is_there = graph.buffer(read.value).kind != BufferKind::Temporary
            || graph.nodes.iter().enumerate().any(|(other, node)| {
                node.reads.iter().any(|access| access.value == read.value) && steps[other] >= from && from.is_some()
            });
        if depth > 0 && nodes.len() < MAX_CHAIN && !is_there && producer(graph, read.value).is_some() {
            read.value = repeat(graph, read.value, from, steps, depth - 1, nodes, copies, cost)?;
        }
    }
    let (name, ty) = (format!("{}.again", graph.buffer(value).name), graph.buffer(value).ty.clone());
    cost.flops += node.flops;
    cost.bytes += ty.bytes() as u64;
    let copy = graph.add_buffer(name, ty, BufferKind::Temporary);
    node.writes[0].access.value = copy.0;
    nodes.push(node);
    copies.insert(value, copy.0);
    Some(copy.0)
}
