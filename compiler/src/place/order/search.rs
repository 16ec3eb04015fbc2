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

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::part::Part;
use super::state::{Move, State};
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
    let mut ranked: BTreeSet<(Reverse<u64>, usize)> =
        peaks.iter().enumerate().map(|(part, &peak)| (Reverse(peak), part)).collect();
    // The part with the largest peak decides; work on it until nothing can be gained there.
    while let Some(&(Reverse(peak), worst)) = ranked.first() {
        if peak <= floor || bounds[worst] >= peak || budget == 0 {
            break;
        }
        match within(&parts[worst], peak - 1, &mut budget) {
            Some((order, least)) => {
                orders[worst] = order.iter().map(|&node| parts[worst].nodes[node]).collect();
                ranked.remove(&(Reverse(peak), worst));
                ranked.insert((Reverse(least), worst));
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

/// Searches from where `state` stands. The frames of the search are kept on a stack of our own, since parts can have thousands of
/// nodes.
fn descend(state: &mut State<'_>, budget: &mut u64) -> bool {
    struct Frame {
        /// Length of the order before this frame's first step.
        start: usize,
        /// The last move that was made from here.
        last: Option<Move>,
        is_known: bool,
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
            let is_known = failed.contains(&state.done);
            frames.push(Frame { start, last: None, is_known, key: state.done });
        }
        let Some(frame) = frames.last_mut() else { return false };
        let next = if frame.is_known { None } else { state.next_move(frame.last) };
        match next {
            Some(next) => {
                frame.last = Some(next);
                entering = Some(state.order.len());
                state.advance(next.2);
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
