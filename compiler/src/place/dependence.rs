//! What must run before what.
//!
//! The nodes are those of the kernel graph. An edge is a *data* dependence (a reader after every writer of what it
//! reads), a dependence the meaning *demands* although no data flows (the readers of the base of an update come before
//! the update), or an *anti-dependence* that a tie added. The graph stays acyclic by construction: an order of the nodes
//! that is possible is kept beside it, an edge against it moves what it must, and one that would close a cycle is
//! refused. What must move is what leads to the one end or what the other leads to, whichever is less: both are followed
//! at once until one is exhausted.
//!
//! Whether one node comes before another is asked for every candidate of a tie, often of nodes that are far apart. The
//! answer is no where the topological order says the contrary. It is yes where the edges of the program contain a tree
//! in which one node descends from the other, of which there are two: each node below the latest that it needs, and
//! each node below the earliest that needs it. While nothing was added it is no where one walk of the program's edges
//! leaves the one node before the other, or where the one leads to less than the other does. In between, a search goes from both ends at once, and ends when either
//! is exhausted: a path between distant nodes soon meets one of the trees, and where there is none, one of the ends
//! usually has little to look at.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::graph::{DiGraph, EdgeIndex, NodeIndex};
use petgraph::visit::EdgeRef;

use super::sequence::Sequence;

/// Why one node comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Data,
    Demanded,
    Added,
}

/// The nodes of a kernel graph and the order among them.
#[derive(Clone, Debug)]
pub(super) struct Dependence {
    graph: DiGraph<(), Edge, u32>,
    /// A topological order.
    sequence: Sequence,
    /// Trees of edges that stay, downwards and upwards.
    trees: Option<Arc<[Tree; 2]>>,
    /// Walks of the edges that stay.
    walks: Option<Arc<[Walk; 2]>>,
    /// How many edges there are that may go again.
    added: usize,
    search: RefCell<Search>,
}

/// Nodes that [`Dependence::step`] looks at before it names the next best step.
const MAX_VISITS: usize = 1 << 14;

/// A forest; a node descends from another when its interval lies in the other's.
#[derive(Clone, Debug)]
struct Tree {
    intervals: Vec<(u32, u32)>,
}

impl Tree {
    /// The forest in which `parents[node]` is above `node`; parents come before their children in `order`.
    fn new(parents: &[Option<usize>], order: &[usize]) -> Tree {
        let mut sizes = vec![1u32; parents.len()];
        for &at in order.iter().rev() {
            if let Some(parent) = parents[at] {
                sizes[parent] += sizes[at];
            }
        }
        // `free[node]` is where the next child of the node begins.
        let mut intervals = vec![(0, 0); parents.len()];
        let mut free = vec![0; parents.len()];
        let mut roots = 0;
        for &at in order {
            let place = parents[at].map_or(&mut roots, |parent| &mut free[parent]);
            let start = *place;
            *place += sizes[at];
            intervals[at] = (start, start + sizes[at]);
            free[at] = start + 1;
        }
        Tree { intervals }
    }

    fn descends(&self, node: usize, from: usize) -> bool {
        let (start, end) = self.intervals[from];
        (start..end).contains(&self.intervals[node].0)
    }
}

/// A walk of all edges, depth first: when each node was left, and when the first of those it leads to was. A node leads
/// only to those whose spans lie in its own (Yildirim, Chaoji and Zaki, "GRAIL: scalable reachability index for large
/// graphs", VLDB 2010).
#[derive(Clone, Debug)]
struct Walk {
    spans: Vec<(u32, u32)>,
}

impl Walk {
    /// Successors as given, all in the one order or the other; nodes nobody leads to come first in `order`.
    fn new(successors: &[Vec<usize>], order: &[usize]) -> Walk {
        let mut spans: Vec<(u32, u32)> = vec![(u32::MAX, u32::MAX); successors.len()];
        let mut entered = vec![false; successors.len()];
        let mut clock = 0;
        for &root in order {
            let mut stack = vec![(root, 0)];
            if std::mem::replace(&mut entered[root], true) {
                continue;
            }
            while let Some((at, done)) = stack.last_mut() {
                let at = *at;
                match successors[at].get(*done) {
                    Some(&next) => {
                        *done += 1;
                        if !std::mem::replace(&mut entered[next], true) {
                            stack.push((next, 0));
                        }
                    }
                    None => {
                        let first = successors[at].iter().map(|&next| spans[next].0).min().unwrap_or(clock);
                        spans[at] = (first.min(clock), clock);
                        clock += 1;
                        stack.pop();
                    }
                }
            }
        }
        Walk { spans }
    }

    fn may_lead(&self, from: usize, to: usize) -> bool {
        let (from, to) = (self.spans[from], self.spans[to]);
        from.0 <= to.0 && to.1 <= from.1
    }
}

/// What one search has seen: a number of its own for each end.
#[derive(Clone, Debug, Default)]
struct Search {
    seen: Vec<u32>,
    last: u32,
}

impl Search {
    /// Two numbers nobody has used, for a graph of `nodes` nodes.
    fn begin(&mut self, nodes: usize) -> [u32; 2] {
        if self.last > u32::MAX - 2 || self.seen.len() != nodes {
            self.seen = vec![0; nodes];
            self.last = 0;
        }
        self.last += 2;
        [self.last - 1, self.last]
    }
}

fn node(index: usize) -> NodeIndex<u32> {
    NodeIndex::new(index)
}

impl Dependence {
    /// `nodes` nodes that nothing orders.
    pub fn new(nodes: usize) -> Dependence {
        let mut graph = DiGraph::with_capacity(nodes, nodes);
        for _ in 0..nodes {
            graph.add_node(());
        }
        Dependence {
            graph,
            sequence: Sequence::new(nodes),
            trees: None,
            walks: None,
            added: 0,
            search: RefCell::default(),
        }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Demands `before` before `after`; `false` when that would close a cycle.
    pub fn add(&mut self, before: usize, after: usize, edge: Edge) -> bool {
        self.try_add(before, after, edge).is_some()
    }

    /// Demands one order: of the possible ones that which always takes the least number there is.
    pub fn keep_numbers(&mut self) {
        let degree = |at| self.graph.neighbors_directed(node(at), Direction::Incoming).count();
        let mut missing: Vec<usize> = (0..self.len()).map(degree).collect();
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..self.len()).filter(|&at| missing[at] == 0).map(Reverse).collect();
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse(at)) = ready.pop() {
            order.push(at);
            for next in self.graph.neighbors(node(at)) {
                missing[next.index()] -= 1;
                if missing[next.index()] == 0 {
                    ready.push(Reverse(next.index()));
                }
            }
        }
        for pair in order.windows(2) {
            self.add(pair[0], pair[1], Edge::Demanded);
        }
    }

    /// To be called when the edges of the program are complete: questions are answered faster from then on.
    pub fn complete(&mut self) {
        let order: Vec<usize> = self.sequence.iter().collect();
        let backwards: Vec<usize> = order.iter().rev().copied().collect();
        let near = |at: usize, direction| self.graph.neighbors_directed(node(at), direction);
        let nodes = 0..order.len();
        let latest = |at| near(at, Direction::Incoming).max_by_key(|other| self.position(other.index()));
        let earliest = |at| near(at, Direction::Outgoing).min_by_key(|other| self.position(other.index()));
        let down: Vec<_> = nodes.clone().map(|at| latest(at).map(NodeIndex::index)).collect();
        let up: Vec<_> = nodes.map(|at| earliest(at).map(NodeIndex::index)).collect();
        self.trees = Some(Arc::new([Tree::new(&down, &order), Tree::new(&up, &backwards)]));
        let mut successors: Vec<Vec<usize>> = (0..order.len()).map(|at| self.successors(at).collect()).collect();
        let first = Walk::new(&successors, &order);
        successors.iter_mut().for_each(|next| next.reverse());
        self.walks = Some(Arc::new([first, Walk::new(&successors, &order)]));
    }

    fn try_add(&mut self, before: usize, after: usize, edge: Edge) -> Option<EdgeIndex<u32>> {
        if before == after || self.reaches(after, before, true) {
            return None;
        }
        if self.position(before) > self.position(after) {
            self.reorder(before, after);
        }
        if edge == Edge::Added {
            self.added += 1;
        } else {
            self.walks = None;
        }
        Some(self.graph.add_edge(node(before), node(after), edge))
    }

    /// Moves what must be moved for `before` to stand before `after`, from which nothing leads to it.
    fn reorder(&mut self, before: usize, after: usize) {
        let (start, end) = (self.position(after), self.position(before));
        let mut search = self.search.borrow_mut();
        let [ahead, behind] = search.begin(self.graph.node_count());
        let mut ends = [(after, ahead, Direction::Outgoing), (before, behind, Direction::Incoming)].map(
            |(at, mark, direction)| {
                search.seen[at] = mark;
                (vec![at], 0, mark, direction)
            },
        );
        // The first `done` nodes of a list have been followed.
        let exhausted = 'search: loop {
            for (which, (nodes, done, mark, direction)) in ends.iter_mut().enumerate() {
                let Some(&at) = nodes.get(*done) else { break 'search which };
                *done += 1;
                for next in self.graph.neighbors_directed(node(at), *direction).map(|next| next.index()) {
                    if search.seen[next] != *mark && (start..=end).contains(&self.sequence.label(next)) {
                        search.seen[next] = *mark;
                        nodes.push(next);
                    }
                }
            }
        };
        let mut nodes = std::mem::take(&mut ends[exhausted].0);
        nodes.sort_unstable_by_key(|&at| self.sequence.label(at));
        if exhausted == 0 {
            nodes.into_iter().rev().for_each(|at| self.sequence.put_after(at, before));
        } else {
            nodes.into_iter().for_each(|at| self.sequence.put_before(at, after));
        }
    }

    /// Adds an edge for each pair that is not ordered yet. All or nothing: on failure the first pair that closes a cycle
    /// is returned, and no edge stays.
    pub fn add_all(&mut self, pairs: &[(usize, usize)], edge: Edge) -> Result<usize, (usize, usize)> {
        let mut added = Vec::new();
        for &(before, after) in pairs {
            if self.is_before(before, after) {
                continue;
            }
            match self.try_add(before, after, edge) {
                Some(index) => added.push(index),
                None => {
                    // The newest edge first: removing the last edge leaves the numbers of the others alone.
                    self.added -= added.len();
                    for index in added.into_iter().rev() {
                        self.graph.remove_edge(index);
                    }
                    return Err((before, after));
                }
            }
        }
        Ok(added.len())
    }

    /// Whether `before` must run before `after`.
    pub fn is_before(&self, before: usize, after: usize) -> bool {
        before != after && self.reaches(before, after, true)
    }

    /// Whether that is so by the edges of the program alone.
    pub fn is_before_by_data(&self, before: usize, after: usize) -> bool {
        before != after && self.reaches(before, after, false)
    }

    /// Where a node stands in an order that is possible.
    pub fn position(&self, at: usize) -> u64 {
        self.sequence.label(at)
    }

    /// Whether a tree of the program's edges leads from `before` to `after`.
    fn in_tree(&self, before: usize, after: usize) -> bool {
        self.trees.as_ref().is_some_and(|trees| trees[0].descends(after, before) || trees[1].descends(before, after))
    }

    /// Whether a path leads from `before` to another node `after`.
    fn reaches(&self, before: usize, after: usize, with_added: bool) -> bool {
        let (start, end) = (self.position(before), self.position(after));
        if start >= end {
            return false;
        }
        if self.in_tree(before, after) {
            return true;
        }
        let is_final = !with_added || self.added == 0;
        if is_final && self.walks.as_ref().is_some_and(|walks| walks.iter().any(|walk| !walk.may_lead(before, after))) {
            return false;
        }
        let mut search = self.search.borrow_mut();
        let [ahead, behind] = search.begin(self.graph.node_count());
        let (mut onwards, mut backwards) = (vec![before], vec![after]);
        search.seen[before] = ahead;
        search.seen[after] = behind;
        loop {
            let Some(at) = onwards.pop() else { return false };
            for edge in self.graph.edges(node(at)) {
                let next = edge.target().index();
                if (!with_added && *edge.weight() == Edge::Added) || search.seen[next] == ahead {
                    continue;
                }
                if search.seen[next] == behind || self.in_tree(next, after) {
                    return true;
                }
                search.seen[next] = ahead;
                if self.position(next) < end {
                    onwards.push(next);
                }
            }
            let Some(at) = backwards.pop() else { return false };
            for edge in self.graph.edges_directed(node(at), Direction::Incoming) {
                let next = edge.source().index();
                if (!with_added && *edge.weight() == Edge::Added) || search.seen[next] == behind {
                    continue;
                }
                if search.seen[next] == ahead || self.in_tree(before, next) {
                    return true;
                }
                search.seen[next] = behind;
                if self.position(next) > start {
                    backwards.push(next);
                }
            }
        }
    }

    /// The first step from `before` on a path to `after`, or `after` itself where it is next or there is no path.
    pub fn step(&self, before: usize, after: usize) -> usize {
        let end = self.position(after);
        let next = || self.graph.neighbors(node(before)).map(|next| next.index());
        if self.position(before) > end || next().any(|next| next == after) {
            return after;
        }
        // Depth first, the last neighbour first; nothing beyond the position of the goal can lead to it.
        let [seen, _] = self.search.borrow_mut().begin(self.graph.node_count());
        {
            let mut search = self.search.borrow_mut();
            let mut stack: Vec<(usize, usize)> = Vec::new();
            let mut visits = 0;
            for first in next() {
                search.seen[first] = seen;
                if self.position(first) < end {
                    stack.push((first, first));
                }
            }
            while visits < MAX_VISITS {
                let Some((at, first)) = stack.pop() else { return after };
                visits += 1;
                for next in self.graph.neighbors(node(at)) {
                    let next_at = next.index();
                    if search.seen[next_at] == seen {
                        continue;
                    }
                    if next_at == after {
                        return first;
                    }
                    search.seen[next_at] = seen;
                    if self.position(next_at) < end {
                        stack.push((next_at, first));
                    }
                }
            }
        }
        // Too far to follow: any step that leads there.
        next().find(|&next| self.reaches(next, after, true)).unwrap_or(after)
    }

    /// Direct successors.
    pub fn successors(&self, of: usize) -> impl Iterator<Item = usize> + '_ {
        self.graph.neighbors(node(of)).map(|next| next.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_agree_with_the_edges() {
        let mut state = 3u64;
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % end
        };
        for round in 0..60 {
            let nodes = 2 + below(30);
            let mut dependence = Dependence::new(nodes);
            // Edges against the first order too; `leads[by][to]` by edges of the program, then by all.
            let mut leads = [vec![vec![false; nodes]; nodes], vec![vec![false; nodes]; nodes]];
            for number in 0..3 * nodes {
                if number == nodes {
                    dependence.complete();
                }
                let (before, after) = (below(nodes), below(nodes));
                let is_added = number >= nodes;
                let added = if is_added && round % 2 == 0 {
                    dependence.add_all(&[(before, after)], Edge::Added).is_ok()
                } else {
                    dependence.add(before, after, if is_added { Edge::Added } else { Edge::Data })
                };
                assert_eq!(added, before != after && !leads[1][after][before]);
                for all in leads.iter_mut().skip(usize::from(is_added)).filter(|_| added) {
                    for from in 0..nodes {
                        for to in 0..nodes {
                            all[from][to] |= (from == before || all[from][before]) && (to == after || all[after][to]);
                        }
                    }
                }
                for from in 0..nodes {
                    for to in 0..nodes {
                        assert_eq!(dependence.is_before_by_data(from, to), leads[0][from][to]);
                        assert_eq!(dependence.is_before(from, to), leads[1][from][to]);
                        let step = dependence.step(from, to);
                        assert!(!leads[1][from][to] || step == to || leads[1][from][step] && leads[1][step][to]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let mut dependence = Dependence::new(4);
        assert!(dependence.add(0, 1, Edge::Data));
        dependence.complete();
        assert_eq!(dependence.add_all(&[(2, 0), (3, 2), (1, 3)], Edge::Added), Err((1, 3)));
        assert!(!dependence.is_before(2, 0) && !dependence.is_before(3, 2));
        assert_eq!(dependence.add_all(&[(2, 0), (3, 2), (3, 1)], Edge::Added), Ok(2));
        assert_eq!((dependence.step(3, 1), dependence.step(0, 1), dependence.step(1, 3)), (2, 1, 3));
    }
}
