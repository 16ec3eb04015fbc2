//! Branch and bound over downsets, part by part.
//!
//! The decision "is there an order with a peak of at most `B`?" is a depth-first search over the sets of nodes that have
//! run, with a table of the sets that failed. `B` starts below the best known peak and follows each success down, until
//! the search fails (the last peak is the optimum) or reaches a bound that no order can beat.
//!
//! Most steps need no choice. The bytes live after a set of nodes, `f`, are submodular: each object adds 1 where some of
//! its nodes have run, less 1 where all have. So if a set `C` of nodes can run next within `B` and no downset between
//! here and there has fewer live bytes than `C` leaves, then any order that stays within `B` still does when `C` is moved
//! to its front: every later set `T` has `f(S ∪ C ∪ T) <= f(S ∪ T)`. [`State::settle`] runs two kinds of such sets at once:
//! a *free* node, which makes nothing grow; and a node that grows together with free nodes behind it, which take all of that
//! growth back (and at most one that was ready before, whose own followers do not count: without the first node it
//! grows). The same holds backwards, of the last nodes of a part.
//!
//! Parts: a node that is ordered against every other node cuts the graph. What has run at a cut is the same set in every
//! order, so the parts before and after it have nothing to do with one another, and the peak is the largest of the parts'.
//!
//! Sources: the memory planning notes on SERENITY (downsets with memo, cut nodes; arXiv 2003.02369); the exchange argument is
//! that of Liu's hill-valley segments (generalized pebbling on trees, 1987), re-derived above for objects with several
//! writers.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::part::Part;
use super::{Memory, Order, Problem};
use crate::place::OrderStatus;

/// Improves `start`, a valid order. `limit` bounds the steps of the search over all parts together: each node that is run on
/// trial is one.
pub(super) fn improve(problem: &Problem, start: Vec<usize>, limit: u64) -> Order {
    let mut orders = parts(problem, &start);
    let mut parts: Vec<Part> = Vec::with_capacity(orders.len());
    let mut peaks: Vec<u64> = Vec::with_capacity(orders.len());
    let mut memory = Memory::new(problem);
    for order in &orders {
        parts.push(Part::new(problem, order, &memory));
        peaks.push(order.iter().map(|&node| memory.run(problem, node)).max().unwrap_or(0));
    }
    let floor = problem.lower_bound();
    let mut bounds: Vec<u64> = parts.iter().map(Part::lower_bound).collect();
    let mut budget = limit;
    // The part with the largest peak decides; work on it until nothing can be gained there.
    loop {
        let peak = peaks.iter().copied().max().unwrap_or(0);
        let Some(worst) = (0..parts.len()).find(|&part| peaks[part] == peak) else { break };
        if peak <= floor || bounds[worst] >= peak || budget == 0 {
            break;
        }
        match within(&parts[worst], peak - 1, &mut budget) {
            Some((order, least)) => {
                orders[worst] = order.iter().map(|&node| parts[worst].nodes[node]).collect();
                peaks[worst] = least;
            }
            None if budget > 0 => bounds[worst] = peak,
            None => {}
        }
    }
    let peak = peaks.iter().copied().max().unwrap_or(0);
    let lower_bound = bounds.iter().copied().max().unwrap_or(0).max(floor);
    let status = if lower_bound >= peak { OrderStatus::Optimal } else { OrderStatus::Bounded { lower_bound } };
    Order { nodes: orders.concat(), peak, status }
}

/// An order of the part with a peak of at most `bound`, and its peak; `None` if there is none, or none was found within the
/// budget, which is then 0.
fn within(part: &Part, bound: u64, budget: &mut u64) -> Option<(Vec<usize>, u64)> {
    // What can be last without making the rest any harder. It depends on nothing that comes before.
    let backwards = part.reversed();
    let mut last = State::new(&backwards, bound);
    last.settle(budget);
    let rest = part.without_last(&last.order);
    let mut is_last = vec![false; part.len()];
    last.order.iter().for_each(|&node| is_last[node] = true);
    let numbers: Vec<usize> = (0..part.len()).filter(|&node| !is_last[node]).collect();
    let mut state = State::new(&rest, bound);
    if !descend(&mut state, budget) {
        return None;
    }
    let first = state.order.iter().map(|&node| numbers[node]);
    let order: Vec<usize> = first.chain(last.order.iter().rev().copied()).collect();
    let mut whole = State::new(part, u64::MAX);
    let peak = order.iter().map(|&node| whole.advance(node)).max().unwrap_or(0);
    Some((order, peak))
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

/// Where the search of a part stands.
struct State<'p> {
    part: &'p Part,
    bound: u64,
    live: u64,
    /// Nodes of each object that have not run.
    remaining: Vec<u32>,
    /// Predecessors of each node that have not run.
    missing: Vec<usize>,
    ready: BTreeSet<usize>,
    done: u128,
    order: Vec<usize>,
}

impl<'p> State<'p> {
    fn new(part: &'p Part, bound: u64) -> State<'p> {
        let missing: Vec<usize> = part.predecessors.iter().map(Vec::len).collect();
        let begun = part.objects.iter().filter(|object| object.before && object.touches > 0);
        State {
            part,
            bound,
            live: part.across + begun.map(|object| object.bytes).sum::<u64>(),
            remaining: part.objects.iter().map(|object| object.touches).collect(),
            ready: (0..part.len()).filter(|&node| missing[node] == 0).collect(),
            missing,
            done: 0,
            order: Vec::with_capacity(part.len()),
        }
    }

    /// Bytes `node` would allocate, and bytes it would free.
    fn effect(&self, node: usize) -> (u64, u64) {
        let (mut allocated, mut freed) = (0, 0);
        for &number in &self.part.touches[node] {
            let object = &self.part.objects[number];
            if self.remaining[number] == object.touches && !object.before {
                allocated += object.bytes;
            }
            if self.remaining[number] == 1 && !object.after {
                freed += object.bytes;
            }
        }
        (allocated, freed)
    }

    fn fits(&self, node: usize, allocated: u64) -> bool {
        self.live + allocated + self.part.workspace[node] <= self.bound
    }

    fn is_free(&self, node: usize) -> bool {
        let (allocated, freed) = self.effect(node);
        allocated <= freed && self.fits(node, allocated)
    }

    /// Runs `node`; the bytes that were live meanwhile.
    fn advance(&mut self, node: usize) -> u64 {
        let (allocated, freed) = self.effect(node);
        let during = self.live + allocated + self.part.workspace[node];
        self.live = self.live + allocated - freed;
        for &object in &self.part.touches[node] {
            self.remaining[object] -= 1;
        }
        self.ready.remove(&node);
        self.done ^= mark(self.part.nodes[node]);
        self.order.push(node);
        for &next in &self.part.successors[node] {
            self.missing[next] -= 1;
            if self.missing[next] == 0 {
                self.ready.insert(next);
            }
        }
        during
    }

    /// Takes steps back until `length` nodes have run.
    fn retreat(&mut self, length: usize) {
        while self.order.len() > length
            && let Some(node) = self.order.pop()
        {
            for &next in &self.part.successors[node] {
                if self.missing[next] == 0 {
                    self.ready.remove(&next);
                }
                self.missing[next] += 1;
            }
            self.done ^= mark(self.part.nodes[node]);
            self.ready.insert(node);
            for &object in &self.part.touches[node] {
                self.remaining[object] += 1;
            }
            let (allocated, freed) = self.effect(node);
            self.live = self.live + freed - allocated;
        }
    }

    /// Runs what needs no choice, until nothing does.
    fn settle(&mut self, budget: &mut u64) {
        loop {
            while let Some(node) = self.ready.iter().copied().find(|&node| self.is_free(node)) {
                self.advance(node);
                *budget = budget.saturating_sub(1);
            }
            let ready: Vec<usize> = self.ready.iter().copied().collect();
            if !ready.into_iter().any(|node| self.rise_and_fall(node, budget)) {
                return;
            }
        }
    }

    /// Runs `node`, which grows, and the free nodes behind it, if that takes the growth back; else nothing. No node is
    /// free before.
    fn rise_and_fall(&mut self, node: usize, budget: &mut u64) -> bool {
        if *budget == 0 || !self.fits(node, self.effect(node).0) {
            return false;
        }
        let (length, before) = (self.order.len(), self.live);
        // One that grows nothing but does not fit here would leave less than all of them together.
        let grows = |state: &State<'_>, other: usize| {
            let (allocated, freed) = state.effect(other);
            allocated > freed
        };
        let mut others: Vec<usize> =
            self.ready.iter().copied().filter(|&other| other != node && grows(self, other)).collect();
        let mut behind: BTreeSet<usize> = self.ready_behind(node).collect();
        self.advance(node);
        *budget -= 1;
        while self.live > before {
            if let Some(free) = behind.iter().copied().find(|&next| self.is_free(next)) {
                behind.remove(&free);
                behind.extend(self.ready_behind(free));
                self.advance(free);
            } else if let Some(free) = others.iter().copied().find(|&next| self.is_free(next)) {
                others.clear();
                self.advance(free);
            } else {
                self.retreat(length);
                return false;
            }
            *budget = budget.saturating_sub(1);
        }
        true
    }

    /// What becomes ready when `node` runs.
    fn ready_behind(&self, node: usize) -> impl Iterator<Item = usize> + use<'_, 'p> {
        self.part.successors[node].iter().copied().filter(|&next| self.missing[next] == 1)
    }
}

/// Searches from where `state` stands. The frames of the search are kept on a stack of our own, since parts can have thousands of
/// nodes.
fn descend(state: &mut State<'_>, budget: &mut u64) -> bool {
    struct Frame {
        /// Length of the order before this frame's first step.
        start: usize,
        moves: Vec<usize>,
        key: u128,
    }
    // Sets of nodes from which the search has failed.
    let mut failed: HashSet<u128, BuildHasherDefault<Folded>> = HashSet::default();
    let mut frames: Vec<Frame> = Vec::new();
    let mut entering = Some(0usize);
    loop {
        if let Some(start) = entering.take() {
            state.settle(budget);
            if state.order.len() == state.part.len() {
                return true;
            }
            if *budget == 0 {
                return false;
            }
            let mut moves: Vec<(u64, u64, usize)> = Vec::new();
            if !failed.contains(&state.done) {
                for &node in &state.ready {
                    let (allocated, freed) = state.effect(node);
                    if state.fits(node, allocated) {
                        moves.push((allocated - freed, allocated + state.part.workspace[node], node));
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
                entering = Some(state.order.len());
                state.advance(node);
                *budget = budget.saturating_sub(1);
            }
            None => {
                failed.insert(frame.key);
                let start = frame.start;
                frames.pop();
                state.retreat(start);
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

/// Marks are random enough to be their own hash.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u128(&mut self, mark: u128) {
        self.0 = mark as u64;
    }
}
