//! The order of the steps: one with the least peak of live bytes.
//!
//! A [`Problem`] is a dependence graph whose nodes touch *objects*. An object is allocated by the first node that
//! touches it and freed after the last (or never, when it is kept for the caller). What is live after a set of nodes has
//! run depends only on the set, so the best order is a best path through the downsets of the graph.
//!
//! Nodes that may as well wait are left out ([`late`]).
//! The graph is cut at nodes that are ordered against all others; between cuts the parts are independent. Each part is
//! searched by branch and bound ([`search`]) from the best of several list orders ([`heuristic`]); the sources are the
//! module docs there. The result is never worse than the source order.

mod heuristic;
mod late;
mod part;
mod search;
mod state;

use super::OrderStatus;

/// Bytes that some nodes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub bytes: u64,
    /// Ascending, without repetition.
    pub touched_by: Vec<usize>,
    /// Still live when the last node has run.
    pub kept: bool,
}

/// What is to be ordered.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// Nodes that must come later; node numbers are a valid order or `source` says one.
    pub successors: Vec<Vec<usize>>,
    pub predecessors: Vec<Vec<usize>>,
    /// Bytes that live only while a node runs.
    pub workspace: Vec<u64>,
    pub objects: Vec<Object>,
    /// Objects each node touches.
    pub touches: Vec<Vec<usize>>,
}

/// An order and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub nodes: Vec<usize>,
    pub peak: u64,
    pub status: OrderStatus,
}

impl Problem {
    /// Puts a problem together. `edges` may repeat; objects that nobody touches are dropped.
    pub fn new(workspace: Vec<u64>, edges: &[(usize, usize)], objects: Vec<Object>) -> Problem {
        let nodes = workspace.len();
        let mut problem = Problem {
            successors: vec![Vec::new(); nodes],
            predecessors: vec![Vec::new(); nodes],
            workspace,
            objects: Vec::new(),
            touches: vec![Vec::new(); nodes],
        };
        let mut edges = edges.to_vec();
        edges.sort_unstable();
        edges.dedup();
        for (before, after) in edges {
            problem.successors[before].push(after);
            problem.predecessors[after].push(before);
        }
        for object in objects.into_iter().filter(|object| !object.touched_by.is_empty() && object.bytes > 0) {
            for &node in &object.touched_by {
                problem.touches[node].push(problem.objects.len());
            }
            problem.objects.push(object);
        }
        problem
    }

    pub fn len(&self) -> usize {
        self.workspace.len()
    }

    pub fn is_empty(&self) -> bool {
        self.workspace.is_empty()
    }

    /// Whether `order` names every node once, each after its predecessors.
    pub fn is_valid(&self, order: &[usize]) -> bool {
        let mut position = vec![usize::MAX; self.len()];
        for (at, &node) in order.iter().enumerate() {
            if node >= self.len() || position[node] != usize::MAX {
                return false;
            }
            position[node] = at;
        }
        order.len() == self.len()
            && self.successors.iter().enumerate().all(|(node, next)| next.iter().all(|&n| position[node] < position[n]))
    }

    /// Largest sum of live bytes over the steps of `order`.
    pub fn peak(&self, order: &[usize]) -> u64 {
        let mut memory = Memory::new(self);
        order.iter().map(|&node| memory.run(self, node)).max().unwrap_or(0)
    }

    /// Live bytes while each step of `order` runs.
    pub fn sums(&self, order: &[usize]) -> Vec<u64> {
        let mut memory = Memory::new(self);
        order.iter().map(|&node| memory.run(self, node)).collect()
    }

    /// Bytes that are live while `node` runs in any order: no order has a smaller peak than the largest of these.
    fn working_set(&self, node: usize) -> u64 {
        self.workspace[node] + self.touches[node].iter().map(|&object| self.objects[object].bytes).sum::<u64>()
    }

    /// A peak that no order goes below.
    pub fn lower_bound(&self) -> u64 {
        let kept = self.objects.iter().filter(|object| object.kept).map(|object| object.bytes).sum();
        (0..self.len()).map(|node| self.working_set(node)).max().unwrap_or(0).max(kept)
    }
}

/// What is live while nodes run one after the other.
#[derive(Clone, Debug)]
struct Memory {
    live: u64,
    /// Nodes of each object that have not run.
    remaining: Vec<u32>,
}

impl Memory {
    fn new(problem: &Problem) -> Memory {
        let remaining = problem.objects.iter().map(|object| object.touched_by.len() as u32).collect();
        Memory { live: 0, remaining }
    }

    /// Bytes `node` would allocate, and bytes it would free.
    fn effect(&self, problem: &Problem, node: usize) -> (u64, u64) {
        let (mut allocated, mut freed) = (0, 0);
        for &number in &problem.touches[node] {
            let object = &problem.objects[number];
            if self.remaining[number] as usize == object.touched_by.len() {
                allocated += object.bytes;
            }
            if self.remaining[number] == 1 && !object.kept {
                freed += object.bytes;
            }
        }
        (allocated, freed)
    }

    /// Runs `node`; the bytes that were live meanwhile.
    fn run(&mut self, problem: &Problem, node: usize) -> u64 {
        let (allocated, freed) = self.effect(problem, node);
        let during = self.live + allocated + problem.workspace[node];
        self.live = self.live + allocated - freed;
        for &number in &problem.touches[node] {
            self.remaining[number] -= 1;
        }
        during
    }
}

/// The best order found. `sources` are valid orders to begin with; the result is never worse than any of them.
/// `limit` bounds the steps of the search over the whole graph.
pub fn order(problem: &Problem, sources: &[Vec<usize>], limit: u64) -> Order {
    let Some(reduced) = late::Reduced::of(problem) else { return search_all(problem, sources, limit) };
    let sources: Vec<Vec<usize>> =
        sources.iter().filter(|source| problem.is_valid(source)).map(|source| reduced.without(source)).collect();
    let order = search_all(&reduced.problem, &sources, limit);
    let nodes = reduced.with(problem, &order.nodes);
    Order { peak: problem.peak(&nodes), nodes, status: order.status }
}

/// The same, with every node looked at.
fn search_all(problem: &Problem, sources: &[Vec<usize>], limit: u64) -> Order {
    let mut best: Option<(u64, Vec<usize>)> = None;
    let mut consider = |nodes: Vec<usize>| {
        let peak = problem.peak(&nodes);
        if best.as_ref().is_none_or(|(least, _)| peak < *least) {
            best = Some((peak, nodes));
        }
    };
    for source in sources.iter().filter(|source| problem.is_valid(source)) {
        consider(source.clone());
    }
    for nodes in heuristic::orders(problem) {
        consider(nodes);
    }
    let (peak, nodes) = best.unwrap_or_default();
    let lower_bound = problem.lower_bound();
    if peak <= lower_bound || problem.is_empty() {
        return Order { nodes, peak, status: OrderStatus::Optimal };
    }
    search::improve(problem, nodes, limit)
}
