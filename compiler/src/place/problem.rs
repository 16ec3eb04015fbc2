//! The order problem that a sharing poses: its nodes, and the lines of versions as objects they touch.

use std::collections::BTreeSet;

use super::order::{Object, Problem};
use super::rounded;
use super::sharing::Sharing;
use crate::lower::KernelGraph;

/// For each node its place among `live` ones.
pub(super) fn compact(graph: &KernelGraph, live: &[usize]) -> Vec<usize> {
    let mut compact = vec![usize::MAX; graph.nodes.len()];
    for (at, &node) in live.iter().enumerate() {
        compact[node] = at;
    }
    compact
}

/// The order problem of a sharing, over the nodes that are left (returned beside it).
pub(super) fn problem(graph: &KernelGraph, sharing: &Sharing) -> (Problem, Vec<usize>) {
    let live: Vec<usize> = (0..graph.nodes.len()).filter(|&node| !sharing.is_elided(node)).collect();
    let compact = compact(graph, &live);
    let mut edges = Vec::new();
    for &node in &live {
        // A copy that is gone still says that its readers come after its writers.
        let mut stack: Vec<usize> = sharing.dependence().successors(node).collect();
        let mut seen = BTreeSet::new();
        while let Some(next) = stack.pop() {
            if !seen.insert(next) {
                continue;
            }
            if sharing.is_elided(next) {
                stack.extend(sharing.dependence().successors(next));
            } else {
                edges.push((compact[node], compact[next]));
            }
        }
    }
    let objects = roots(graph, sharing)
        .into_iter()
        .map(|(_, object)| Object {
            touched_by: object.touched_by.iter().map(|&node| compact[node]).collect(),
            ..object
        })
        .collect();
    let workspace = live.iter().map(|&node| rounded(sharing.workspace(node))).collect();
    (Problem::new(workspace, &edges, objects), live)
}

/// Every line of versions that needs bytes of the arena, as an object touched by nodes of the graph.
fn roots(graph: &KernelGraph, sharing: &Sharing) -> Vec<(usize, Object)> {
    let mut roots = Vec::new();
    for value in 0..graph.buffers.len() {
        if sharing.value(value) != value || sharing.root(value) != value || sharing.is_pinned(value) {
            continue;
        }
        let mut touched_by = Vec::new();
        let mut kept = false;
        let mut at = Some(value);
        while let Some(version) = at {
            touched_by.extend(sharing.readers(version));
            touched_by.extend(sharing.writers(version));
            kept |= sharing.is_output(version);
            at = sharing.next(version);
        }
        touched_by.sort_unstable();
        touched_by.dedup();
        roots.push((value, Object { bytes: rounded(graph.buffers[value].bytes()), touched_by, kept }));
    }
    roots
}

/// Roots that are live at the first step of the largest sum.
pub(super) fn roots_at_peak(
    graph: &KernelGraph,
    sharing: &Sharing,
    problem: &Problem,
    live: &[usize],
    order: &[usize],
) -> BTreeSet<usize> {
    let (peak, mut step) = (problem.peak(order), 0);
    let sums = problem.sums(order);
    if let Some(at) = sums.iter().position(|&sum| sum == peak) {
        step = at;
    }
    let mut position = vec![0usize; graph.nodes.len()];
    for (at, &node) in order.iter().enumerate() {
        position[live[node]] = at;
    }
    roots(graph, sharing)
        .into_iter()
        .filter(|(_, object)| {
            let first = object.touched_by.iter().map(|&node| position[node]).min();
            let last = object.touched_by.iter().map(|&node| position[node]).max();
            first.is_some_and(|first| first <= step) && (object.kept || last.is_some_and(|last| last >= step))
        })
        .map(|(root, _)| root)
        .collect()
}
