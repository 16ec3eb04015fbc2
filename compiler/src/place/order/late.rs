//! Nodes that may as well wait: what only begins an object.
//!
//! A node that touches one object, needs no workspace, and whose followers all touch that object too, frees nothing
//! whenever it runs. Moved to right before the first of its followers it makes no step's bytes more: in between, the
//! object is live later or as long, and while the node runs no more is live than while that follower does. So there is a
//! best order in which it stands there, and the search need not ask when it runs. The borders of padded values are such
//! nodes, four for each, and a network of pooled cells has hundreds.

use super::{Object, Problem};

/// A problem without such nodes, and what it takes to put them back.
pub(super) struct Reduced {
    pub problem: Problem,
    /// The node of the whole problem that each node is.
    kept: Vec<usize>,
    /// For each node of the whole problem its number here, if it is kept.
    numbers: Vec<Option<usize>>,
}

impl Reduced {
    /// `None` if there is nothing to leave out.
    pub fn of(whole: &Problem) -> Option<Reduced> {
        let mut waits = vec![false; whole.len()];
        for node in 0..whole.len() {
            let next = &whole.successors[node];
            let beside = next.iter().chain(&whole.predecessors[node]).any(|&other| waits[other]);
            waits[node] = !beside && only_begins(whole, node);
        }
        if !waits.contains(&true) {
            return None;
        }
        let kept: Vec<usize> = (0..whole.len()).filter(|&node| !waits[node]).collect();
        let mut numbers = vec![None; whole.len()];
        for (number, &node) in kept.iter().enumerate() {
            numbers[node] = Some(number);
        }
        let mut edges = Vec::new();
        for &node in &kept {
            for &next in &whole.successors[node] {
                // What a node that waits waited for, its followers wait for.
                let through = if waits[next] { &whole.successors[next][..] } else { std::slice::from_ref(&next) };
                edges.extend(through.iter().filter_map(|&next| Some((numbers[node]?, numbers[next]?))));
            }
        }
        let object = |object: &Object| {
            let touched_by = object.touched_by.iter().filter_map(|&node| numbers[node]).collect();
            Object { touched_by, ..object.clone() }
        };
        let workspace = kept.iter().map(|&node| whole.workspace[node]).collect();
        let problem = Problem::new(workspace, &edges, whole.objects.iter().map(object).collect());
        Some(Reduced { problem, kept, numbers })
    }

    /// A valid order of the whole problem as one of this.
    pub fn without(&self, order: &[usize]) -> Vec<usize> {
        order.iter().filter_map(|&node| self.numbers[node]).collect()
    }

    /// An order of this as one of the whole problem, each node that waits right before the first of its followers.
    pub fn with(&self, whole: &Problem, order: &[usize]) -> Vec<usize> {
        let mut all = Vec::with_capacity(whole.len());
        let mut is_there = vec![false; whole.len()];
        for &number in order {
            let node = self.kept[number];
            for &before in &whole.predecessors[node] {
                if self.numbers[before].is_none() && !std::mem::replace(&mut is_there[before], true) {
                    all.push(before);
                }
            }
            all.push(node);
        }
        all
    }
}

/// Whether a node only begins an object, for followers that all touch it.
fn only_begins(problem: &Problem, node: usize) -> bool {
    let next = &problem.successors[node];
    let [object] = problem.touches[node][..] else { return false };
    problem.workspace[node] == 0
        && !next.is_empty()
        && next.iter().all(|&follower| problem.touches[follower].contains(&object))
}
