//! Branch and bound over downsets, part by part.
//!
//! The decision "is there an order with a peak of at most `B`?" is a depth-first search over the sets of nodes that have
//! run, with a table of the sets that failed. A ready node that does not make memory grow and fits under `B` is run
//! at once, without branching: at any later time it would grow memory no more (what it allocates can only shrink as
//! others allocate it, what it frees can only grow), so an order that runs it later stays within `B` when it is moved
//! forward. `B` starts below the best known peak and follows each success down, until the search fails (the last
//! peak is the optimum) or reaches a bound that no order can beat.
//!
//! Parts: a node that is ordered against every other node cuts the graph. What has run at a cut is the same set in every
//! order, so the parts before and after it have nothing to do with one another, and the peak is the largest of the parts'.
//!
//! Sources: the memory planning notes on SERENITY (downsets with memo, cut nodes; arXiv 2003.02369) and the free-move
//! dominance, re-derived above for objects with several writers.

use std::collections::BTreeSet;

use super::{Memory, Order, Problem};
use crate::place::OrderStatus;

/// Improves `start`, a valid order. `limit` bounds the search nodes of all parts together.
pub(super) fn improve(problem: &Problem, start: Vec<usize>, limit: u64) -> Order {
    let parts = parts(problem, &start);
    let mut peaks: Vec<u64> = Vec::with_capacity(parts.len());
    let mut memory = Memory::new(problem);
    let mut befores = Vec::with_capacity(parts.len());
    for part in &parts {
        befores.push(memory.live);
        peaks.push(part.iter().map(|&node| memory.run(problem, node)).max().unwrap_or(0));
    }
    let floor = problem.lower_bound();
    let mut bounds: Vec<u64> =
        parts.iter().zip(&befores).map(|(part, &live)| part_bound(problem, part, live)).collect();
    let mut parts = parts;
    let mut budget = limit;
    let mut ended = vec![false; parts.len()];
    // The part with the largest peak decides; work on it until nothing can be gained there.
    loop {
        let peak = peaks.iter().copied().max().unwrap_or(0);
        if peak <= floor {
            break;
        }
        let Some(worst) = (0..parts.len()).filter(|&p| peaks[p] == peak).find(|&p| !ended[p]) else { break };
        if bounds[worst] >= peak {
            break;
        }
        let mut search = Search::new(problem, &parts, worst, peak - 1, budget);
        let found = search.run();
        budget = search.budget;
        match found {
            Some(order) => {
                let mut memory = search.initial.clone();
                peaks[worst] = order.iter().map(|&node| memory.run(problem, node)).max().unwrap_or(0);
                parts[worst] = order;
            }
            None if budget > 0 => {
                bounds[worst] = peak;
                break;
            }
            None => ended[worst] = true,
        }
        if budget == 0 {
            break;
        }
    }
    let peak = peaks.iter().copied().max().unwrap_or(0);
    let lower_bound = bounds.iter().copied().max().unwrap_or(0).max(floor);
    let status = if lower_bound >= peak { OrderStatus::Optimal } else { OrderStatus::Bounded { lower_bound } };
    Order { nodes: parts.concat(), peak, status }
}

/// Bytes that are live while some node of the part runs, whatever the order within it: what is live across the whole
/// part comes on top of a node's own.
fn part_bound(problem: &Problem, part: &[usize], before: u64) -> u64 {
    let inside: BTreeSet<usize> = part.iter().copied().collect();
    // Objects live before the part that no node of it touches stay live throughout.
    let mut touched_before = 0;
    let objects: BTreeSet<usize> = part.iter().flat_map(|&node| problem.touches[node].iter().copied()).collect();
    let first = part.first().copied();
    for &object in &objects {
        let outside = problem.objects[object].touched_by.iter().any(|node| !inside.contains(node));
        if outside {
            touched_before += problem.objects[object].bytes;
        }
    }
    let across = before.saturating_sub(touched_before);
    let own = part.iter().map(|&node| problem.working_set(node)).max().unwrap_or(0);
    if first.is_some() { across + own } else { 0 }
}

/// Cuts `order` at every node that is ordered against all others. The cut node ends its part.
fn parts(problem: &Problem, order: &[usize]) -> Vec<Vec<usize>> {
    let mut position = vec![0; order.len()];
    for (at, &node) in order.iter().enumerate() {
        position[node] = at;
    }
    // All before `at` are its ancestors when each has a successor at or before it; likewise for descendants.
    let mut latest_first_successor = vec![0usize; order.len() + 1];
    for (at, &node) in order.iter().enumerate() {
        let first = problem.successors[node].iter().map(|&next| position[next]).min().unwrap_or(usize::MAX);
        latest_first_successor[at + 1] = latest_first_successor[at].max(first);
    }
    let mut earliest_last_predecessor = vec![usize::MAX; order.len() + 1];
    for (at, &node) in order.iter().enumerate().rev() {
        let last = problem.predecessors[node].iter().map(|&p| position[p] + 1).max().unwrap_or(0);
        earliest_last_predecessor[at] = earliest_last_predecessor[at + 1].min(last);
    }
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for (at, &node) in order.iter().enumerate() {
        part.push(node);
        let is_cut = latest_first_successor[at] <= at && earliest_last_predecessor[at + 1] > at;
        if is_cut {
            parts.push(std::mem::take(&mut part));
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// A search for an order of one part with a peak of at most `bound`.
struct Search<'p> {
    problem: &'p Problem,
    bound: u64,
    budget: u64,
    /// What is live before the part, and who has run.
    initial: Memory,
    members: Vec<usize>,
    /// Hashes of sets of nodes from which the search has failed.
    failed: BTreeSet<u128>,
}

/// Where the search stands.
struct State {
    memory: Memory,
    missing: Vec<usize>,
    ready: BTreeSet<usize>,
    done: u128,
    order: Vec<usize>,
}

impl<'p> Search<'p> {
    fn new(problem: &'p Problem, parts: &[Vec<usize>], which: usize, bound: u64, budget: u64) -> Search<'p> {
        let mut initial = Memory::new(problem);
        for &node in parts[..which].iter().flatten() {
            initial.run(problem, node);
        }
        Search { problem, bound, budget, initial, members: parts[which].clone(), failed: BTreeSet::new() }
    }

    fn run(&mut self) -> Option<Vec<usize>> {
        let mut missing = vec![usize::MAX; self.problem.len()];
        for &node in &self.members {
            missing[node] = 0;
        }
        for &node in &self.members {
            missing[node] = self.problem.predecessors[node].iter().filter(|&&p| missing[p] != usize::MAX).count();
        }
        let ready = self.members.iter().copied().filter(|&node| missing[node] == 0).collect();
        let mut state = State {
            memory: self.initial.clone(),
            missing,
            ready,
            done: 0,
            order: Vec::with_capacity(self.members.len()),
        };
        self.descend(&mut state).then_some(state.order)
    }

    fn advance(&self, state: &mut State, node: usize) {
        state.memory.run(self.problem, node);
        state.ready.remove(&node);
        state.done ^= mark(node);
        state.order.push(node);
        for &next in &self.problem.successors[node] {
            if state.missing[next] != usize::MAX {
                state.missing[next] -= 1;
                if state.missing[next] == 0 {
                    state.ready.insert(next);
                }
            }
        }
    }

    fn retreat(&self, state: &mut State) {
        let node = state.order.pop().expect("every retreat follows an advance");
        for &next in &self.problem.successors[node] {
            if state.missing[next] != usize::MAX {
                if state.missing[next] == 0 {
                    state.ready.remove(&next);
                }
                state.missing[next] += 1;
            }
        }
        state.done ^= mark(node);
        state.ready.insert(node);
        state.memory.take_back(self.problem, node);
    }

    /// Runs every node that is free, until none is.
    fn run_free(&self, state: &mut State) {
        loop {
            let free = state.ready.iter().copied().find(|&node| {
                let (allocated, freed) = state.memory.effect(self.problem, node);
                allocated <= freed && state.memory.live + allocated + self.problem.workspace[node] <= self.bound
            });
            match free {
                Some(node) => self.advance(state, node),
                None => return,
            }
        }
    }

    /// The frames of the search are kept on a stack of our own, since parts can have thousands of nodes.
    fn descend(&mut self, state: &mut State) -> bool {
        struct Frame {
            /// Length of the order before this frame's first free move.
            start: usize,
            moves: Vec<usize>,
            key: u128,
        }
        let mut frames: Vec<Frame> = Vec::new();
        let mut entering = Some(0usize);
        loop {
            if let Some(start) = entering.take() {
                self.run_free(state);
                if state.order.len() == self.members.len() {
                    return true;
                }
                if self.budget == 0 {
                    return false;
                }
                self.budget -= 1;
                let mut moves: Vec<(u64, u64, usize)> = Vec::new();
                if !self.failed.contains(&state.done) {
                    for &node in &state.ready {
                        let (allocated, freed) = state.memory.effect(self.problem, node);
                        let during = state.memory.live + allocated + self.problem.workspace[node];
                        if during <= self.bound {
                            moves.push((allocated - freed, during, node));
                        }
                    }
                }
                // Taken from the end, so the least growth last.
                moves.sort_unstable_by(|a, b| b.cmp(a));
                frames.push(Frame { start, moves: moves.into_iter().map(|m| m.2).collect(), key: state.done });
            }
            let Some(frame) = frames.last_mut() else { return false };
            match frame.moves.pop() {
                Some(node) => {
                    let start = state.order.len();
                    self.advance(state, node);
                    entering = Some(start);
                }
                None => {
                    self.failed.insert(frame.key);
                    let start = frame.start;
                    frames.pop();
                    while state.order.len() > start {
                        self.retreat(state);
                    }
                }
            }
        }
    }
}

/// A fixed random-looking number for each node; a set is the exclusive or of its members'. Two sets of one search would
/// need to agree in 128 bits to be confused, and then only the peak could suffer, never the meaning.
fn mark(node: usize) -> u128 {
    let mix = |seed: u64| {
        let mut z = (node as u64).wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(seed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (u128::from(mix(0x243F_6A88_85A3_08D3)) << 64) | u128::from(mix(0x1319_8A2E_0370_7344))
}
