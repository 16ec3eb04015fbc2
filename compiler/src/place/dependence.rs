//! What must run before what.
//!
//! The nodes are those of the kernel graph. An edge is a *data* dependence (a reader after every writer of what it
//! reads), a dependence the meaning *demands* although no data flows (the readers of the base of an update come before
//! the update), or an *anti-dependence* that a tie added. The graph stays acyclic by construction: petgraph's
//! [`Acyclic`] keeps a topological order and refuses an edge that would close a cycle.

use petgraph::acyclic::Acyclic;
use petgraph::graph::{DiGraph, EdgeIndex, NodeIndex};
use petgraph::visit::EdgeRef;

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
    graph: Acyclic<DiGraph<(), Edge, u32>>,
}

fn node(index: usize) -> NodeIndex<u32> {
    NodeIndex::new(index)
}

impl Dependence {
    /// `nodes` nodes that nothing orders.
    pub fn new(nodes: usize) -> Dependence {
        let mut graph = Acyclic::new();
        for _ in 0..nodes {
            petgraph::data::Build::add_node(&mut graph, ());
        }
        Dependence { graph }
    }

    /// Demands `before` before `after`; `false` when that would close a cycle.
    pub fn add(&mut self, before: usize, after: usize, edge: Edge) -> bool {
        self.try_add(before, after, edge).is_some()
    }

    fn try_add(&mut self, before: usize, after: usize, edge: Edge) -> Option<EdgeIndex<u32>> {
        self.graph.try_add_edge(node(before), node(after), edge).ok()
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
        before != after && self.path(before, after, true).is_some()
    }

    /// Whether that is so by the edges of the program alone.
    pub fn is_before_by_data(&self, before: usize, after: usize) -> bool {
        before != after && self.path(before, after, false).is_some()
    }

    /// The nodes strictly between `before` and `after` on some path, if there is one.
    pub fn path(&self, before: usize, after: usize, with_added: bool) -> Option<Vec<usize>> {
        let end = self.graph.get_position(node(after));
        if self.graph.get_position(node(before)) > end {
            return None;
        }
        // Depth first, nearest edge first; nothing beyond the position of the goal can lead to it.
        let mut parents = std::collections::BTreeMap::new();
        let mut stack = vec![before];
        while let Some(at) = stack.pop() {
            for edge in self.graph.inner().edges(node(at)) {
                let next = edge.target();
                if (!with_added && *edge.weight() == Edge::Added) || parents.contains_key(&next.index()) {
                    continue;
                }
                parents.insert(next.index(), at);
                if next.index() == after {
                    let mut path = Vec::new();
                    let mut step = at;
                    while step != before {
                        path.push(step);
                        step = parents[&step];
                    }
                    path.reverse();
                    return Some(path);
                }
                if self.graph.get_position(next) < end {
                    stack.push(next.index());
                }
            }
        }
        None
    }

    /// Direct successors.
    pub fn successors(&self, of: usize) -> impl Iterator<Item = usize> + '_ {
        self.graph.inner().neighbors(node(of)).map(|next| next.index())
    }
}
