//! A part of the graph that is ordered by itself: its nodes, the objects they touch, and what is live around it.
//!
//! Read backwards a part is a part again: what was live before it is live after it, every dependence turns round, and
//! each node has the same bytes live while it runs. So whatever the search knows of beginnings holds of ends.

use std::collections::BTreeMap;

use super::{Memory, Problem};

/// Bytes that nodes of a part share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub bytes: u64,
    /// How many nodes of the part touch it.
    pub touches: u32,
    /// Whether it is live when the part begins, and when it has ended.
    pub before: bool,
    pub after: bool,
}

/// Nodes between two cuts, by numbers of their own.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// What each number is in the problem.
    pub nodes: Vec<usize>,
    pub successors: Vec<Vec<usize>>,
    pub predecessors: Vec<Vec<usize>>,
    pub workspace: Vec<u64>,
    pub objects: Vec<Shared>,
    /// Objects each node touches.
    pub touches: Vec<Vec<usize>>,
    /// Bytes that are live throughout and that no node of the part touches.
    pub across: u64,
}

impl Part {
    /// The part of `problem` that `nodes` are, in an order they may run in; `memory` is what is live before it.
    pub fn new(problem: &Problem, nodes: &[usize], memory: &Memory) -> Part {
        let number: BTreeMap<usize, usize> = nodes.iter().enumerate().map(|(number, &node)| (node, number)).collect();
        let inside = |of: &[Vec<usize>]| -> Vec<Vec<usize>> {
            nodes.iter().map(|&node| of[node].iter().filter_map(|other| number.get(other).copied()).collect()).collect()
        };
        let mut objects: Vec<Shared> = Vec::new();
        let mut known: BTreeMap<usize, usize> = BTreeMap::new();
        let mut touches = vec![Vec::new(); nodes.len()];
        for (at, &node) in nodes.iter().enumerate() {
            for &object in &problem.touches[node] {
                let place = *known.entry(object).or_insert_with(|| {
                    let all = problem.objects[object].touched_by.len() as u32;
                    let before = memory.remaining[object] != all;
                    objects.push(Shared { bytes: problem.objects[object].bytes, touches: 0, before, after: false });
                    objects.len() - 1
                });
                objects[place].touches += 1;
                touches[at].push(place);
            }
        }
        let mut across = memory.live;
        for (&object, &place) in &known {
            let shared = &mut objects[place];
            shared.after = problem.objects[object].kept || memory.remaining[object] > shared.touches;
            across -= if shared.before { shared.bytes } else { 0 };
        }
        Part {
            successors: inside(&problem.successors),
            predecessors: inside(&problem.predecessors),
            workspace: nodes.iter().map(|&node| problem.workspace[node]).collect(),
            nodes: nodes.to_vec(),
            objects,
            touches,
            across,
        }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The same part with time running backwards.
    pub fn reversed(&self) -> Part {
        let mut part = self.clone();
        std::mem::swap(&mut part.successors, &mut part.predecessors);
        for object in &mut part.objects {
            std::mem::swap(&mut object.before, &mut object.after);
        }
        part
    }

    /// The part without its last nodes, which are given as numbers of this part and come after all others.
    pub fn without_last(&self, last: &[usize]) -> Part {
        let mut is_last = vec![false; self.len()];
        last.iter().for_each(|&node| is_last[node] = true);
        let kept: Vec<usize> = (0..self.len()).filter(|&node| !is_last[node]).collect();
        let mut number = vec![usize::MAX; self.len()];
        kept.iter().enumerate().for_each(|(new, &old)| number[old] = new);
        let inside = |of: &[Vec<usize>]| -> Vec<Vec<usize>> {
            let renamed =
                |others: &Vec<usize>| others.iter().map(|&n| number[n]).filter(|&n| n != usize::MAX).collect();
            kept.iter().map(|&node| renamed(&of[node])).collect()
        };
        let mut objects = self.objects.clone();
        let mut across = self.across;
        for &object in last.iter().flat_map(|&node| &self.touches[node]) {
            objects[object].touches -= 1;
            objects[object].after = true;
        }
        for object in &mut objects {
            // Nobody left touches it: if it was live before, it is live throughout.
            if object.touches == 0 && object.before {
                across += object.bytes;
            }
        }
        Part {
            nodes: kept.iter().map(|&node| self.nodes[node]).collect(),
            successors: inside(&self.successors),
            predecessors: inside(&self.predecessors),
            workspace: kept.iter().map(|&node| self.workspace[node]).collect(),
            touches: kept.iter().map(|&node| self.touches[node].clone()).collect(),
            objects,
            across,
        }
    }

    /// A peak that no order of the part goes below: what is live while a node runs whatever ran before it.
    pub fn lower_bound(&self) -> u64 {
        let touched = |objects: &[usize]| objects.iter().map(|&object| self.objects[object].bytes).sum::<u64>();
        let own = (0..self.len()).map(|node| self.workspace[node] + touched(&self.touches[node])).max().unwrap_or(0);
        let used = || self.objects.iter().filter(|object| object.touches > 0);
        let before: u64 = used().filter(|object| object.before).map(|object| object.bytes).sum();
        let after: u64 = used().filter(|object| object.after).map(|object| object.bytes).sum();
        self.across + own.max(before).max(after)
    }
}
