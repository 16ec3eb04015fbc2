//! List orders: a ready node is chosen by a rule, again and again. Linear or nearly so, no search.
//!
//! The rules are those of XLA's memory schedulers (most bytes freed; depth first) and of Liu's tree pebbling (the
//! child with the largest peak first), which the branch and bound starts from.

use std::collections::BTreeSet;

use super::{Memory, Problem};

/// One order for each rule.
pub(super) fn orders(problem: &Problem) -> Vec<Vec<usize>> {
    vec![
        list(problem, |memory, node, _| {
            let (allocated, freed) = memory.effect(problem, node);
            (allocated as i128 - freed as i128, 0)
        }),
        // The newest first: depth first, which finishes what it has begun.
        list(problem, |memory, node, clock| {
            let (allocated, freed) = memory.effect(problem, node);
            let grows = i128::from(allocated > freed);
            (grows, -(clock as i128))
        }),
        depth_first(problem),
    ]
}

/// Chooses the ready node of least key; `clock` counts when the node became ready. Keys of ready nodes change only when
/// a node that shares an object with them runs, and only these are looked at again.
fn list(problem: &Problem, key: impl Fn(&Memory, usize, usize) -> (i128, i128)) -> Vec<usize> {
    let mut memory = Memory::new(problem);
    let mut missing: Vec<usize> = problem.predecessors.iter().map(Vec::len).collect();
    let mut clocks = vec![0usize; problem.len()];
    let mut keys: Vec<Option<(i128, i128)>> = vec![None; problem.len()];
    let mut ready = BTreeSet::new();
    for node in (0..problem.len()).filter(|&node| missing[node] == 0) {
        let first = key(&memory, node, 0);
        keys[node] = Some(first);
        ready.insert((first, node));
    }
    let mut order = Vec::with_capacity(problem.len());
    while let Some((_, node)) = ready.pop_first() {
        keys[node] = None;
        memory.run(problem, node);
        order.push(node);
        let mut changed = Vec::new();
        for &object in &problem.touches[node] {
            let total = problem.objects[object].touched_by.len() as u32;
            let left = memory.remaining[object];
            // Its bytes have just been allocated, or one user is left.
            if left == total - 1 || left == 1 {
                changed.extend(problem.objects[object].touched_by.iter().copied().filter(|&n| keys[n].is_some()));
            }
        }
        for &next in &problem.successors[node] {
            missing[next] -= 1;
            if missing[next] == 0 {
                clocks[next] = order.len();
                changed.push(next);
            }
        }
        for next in changed {
            if let Some(old) = keys[next] {
                ready.remove(&(old, next));
            }
            let new = key(&memory, next, clocks[next]);
            keys[next] = Some(new);
            ready.insert((new, next));
        }
    }
    order
}

/// Post-order from the sinks: operands with the larger subtree first (Liu's rule, exact on trees).
fn depth_first(problem: &Problem) -> Vec<usize> {
    // The size of what hangs below a node, saturating where parts are shared.
    let forward = list(problem, |_, node, _| (node as i128, 0));
    let mut weight = vec![0u64; problem.len()];
    for &node in &forward {
        let below = problem.predecessors[node].iter().map(|&p| weight[p]).max().unwrap_or(0);
        weight[node] = below.max(problem.working_set(node));
    }
    let mut order = Vec::with_capacity(problem.len());
    let mut done = vec![false; problem.len()];
    let sinks = forward.iter().copied().filter(|&node| problem.successors[node].is_empty());
    for sink in sinks {
        let mut stack = vec![(sink, false)];
        while let Some((node, expanded)) = stack.pop() {
            if done[node] {
                continue;
            }
            if expanded {
                done[node] = true;
                order.push(node);
                continue;
            }
            stack.push((node, true));
            let mut operands: Vec<usize> = problem.predecessors[node].iter().copied().filter(|&p| !done[p]).collect();
            operands.sort_by_key(|&p| (weight[p], std::cmp::Reverse(p)));
            stack.extend(operands.into_iter().map(|p| (p, false)));
        }
    }
    order
}
