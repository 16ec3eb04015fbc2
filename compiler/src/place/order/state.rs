//! Where the search of a part stands: what has run, what is live, and what could run next.
//!
//! Nodes that could run are kept by what they would do, so that each step costs what it changes and not the number of
//! nodes that wait. *Calm* ones free as much as they allocate; the others *grow*. What a node does changes only when an
//! object it touches is touched for the first time, or by the last but one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::part::Part;

/// What a node that could run would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Needs so many bytes while it runs.
    Calm { need: u64 },
    /// Leaves so many more bytes than before, and needs so many while it runs.
    Growing { growth: u64, need: u64 },
}

/// A way to go on, the least growth first.
pub(super) type Move = (u64, u64, usize);

/// What happened to nodes since [`State::rise_and_fall`] began.
#[derive(Default)]
struct Trial {
    /// Whether a node that changed could run before, and grew.
    grew: BTreeMap<usize, bool>,
    /// Those of them that are calm now.
    calm: BTreeSet<usize>,
}

/// Where the search of a part stands.
pub(super) struct State<'p> {
    pub part: &'p Part,
    bound: u64,
    live: u64,
    /// Nodes of each object that have not run, and the sum of their numbers: it names the last.
    remaining: Vec<(u32, usize)>,
    /// Nodes of each object.
    touched_by: Vec<Vec<usize>>,
    /// Predecessors of each node that have not run.
    missing: Vec<usize>,
    /// Of each node that could run: what it would do.
    classes: Vec<Option<Class>>,
    /// How many nodes had run when a node became one that could.
    since: Vec<usize>,
    /// Calm nodes by what they need.
    calm: BTreeMap<u64, BTreeSet<usize>>,
    /// Growing nodes by growth and need.
    growing: BTreeMap<(u64, u64), BTreeSet<usize>>,
    trial: Option<Trial>,
    /// Identifies the set of nodes that have run.
    pub done: u128,
    pub order: Vec<usize>,
}

impl<'p> State<'p> {
    pub fn new(part: &'p Part, bound: u64) -> State<'p> {
        let mut touched_by = vec![Vec::new(); part.objects.len()];
        for (node, touches) in part.touches.iter().enumerate() {
            touches.iter().for_each(|&object| touched_by[object].push(node));
        }
        let begun = part.objects.iter().filter(|object| object.before && object.touches > 0);
        let remaining =
            part.objects.iter().zip(&touched_by).map(|(object, nodes)| (object.touches, nodes.iter().sum()));
        let mut state = State {
            part,
            bound,
            live: part.across + begun.map(|object| object.bytes).sum::<u64>(),
            remaining: remaining.collect(),
            touched_by,
            missing: part.predecessors.iter().map(Vec::len).collect(),
            classes: vec![None; part.len()],
            since: vec![0; part.len()],
            calm: BTreeMap::new(),
            growing: BTreeMap::new(),
            trial: None,
            done: 0,
            order: Vec::with_capacity(part.len()),
        };
        for node in (0..part.len()).filter(|&node| part.predecessors[node].is_empty()) {
            state.place(node, Some(state.class(node)));
        }
        state
    }

    /// Bytes `node` would allocate, and bytes it would free.
    fn effect(&self, node: usize) -> (u64, u64) {
        let (mut allocated, mut freed) = (0, 0);
        for &number in &self.part.touches[node] {
            let object = &self.part.objects[number];
            if self.remaining[number].0 == object.touches && !object.before {
                allocated += object.bytes;
            }
            if self.remaining[number].0 == 1 && !object.after {
                freed += object.bytes;
            }
        }
        (allocated, freed)
    }

    fn class(&self, node: usize) -> Class {
        let (allocated, freed) = self.effect(node);
        let need = allocated + self.part.workspace[node];
        match allocated.checked_sub(freed) {
            Some(growth) if growth > 0 => Class::Growing { growth, need },
            _ => Class::Calm { need },
        }
    }

    /// Puts a node where its class belongs; `None`: it cannot run now.
    fn place(&mut self, node: usize, class: Option<Class>) {
        let old = std::mem::replace(&mut self.classes[node], class);
        if old == class {
            return;
        }
        match old {
            Some(Class::Calm { need }) => take(&mut self.calm, need, node),
            Some(Class::Growing { growth, need }) => take(&mut self.growing, (growth, need), node),
            None => {}
        }
        match class {
            Some(Class::Calm { need }) => {
                self.calm.entry(need).or_default().insert(node);
            }
            Some(Class::Growing { growth, need }) => {
                self.growing.entry((growth, need)).or_default().insert(node);
            }
            None => {}
        }
        if let Some(trial) = &mut self.trial {
            trial.grew.entry(node).or_insert(matches!(old, Some(Class::Growing { .. })));
            match class {
                Some(Class::Calm { .. }) => trial.calm.insert(node),
                _ => trial.calm.remove(&node),
            };
        }
    }

    /// Bytes that a node may need.
    fn room(&self) -> Option<u64> {
        self.bound.checked_sub(self.live)
    }

    fn fits(&self, node: usize) -> bool {
        match self.classes[node] {
            Some(Class::Calm { need } | Class::Growing { need, .. }) => self.room().is_some_and(|room| need <= room),
            None => false,
        }
    }

    /// The first calm node that fits.
    fn free(&self) -> Option<usize> {
        self.calm.range(..=self.room()?).filter_map(|(_, nodes)| nodes.first().copied()).min()
    }

    /// The first growing node from `start` on that fits.
    fn rising(&self, start: usize) -> Option<usize> {
        let room = self.room()?;
        let groups = self.growing.range(..=(room, room)).filter(|((_, need), _)| *need <= room);
        groups.filter_map(|(_, nodes)| nodes.range(start..).next().copied()).min()
    }

    /// The growing node that fits and has the least growth, then the least need, after `last`.
    pub fn next_move(&self, last: Option<Move>) -> Option<Move> {
        let room = self.room()?;
        let (from, after) = match last {
            Some((growth, need, node)) => (Bound::Included((growth, need)), Some(((growth, need), node))),
            None => (Bound::Unbounded, None),
        };
        for (&(growth, need), nodes) in self.growing.range((from, Bound::Included((room, room)))) {
            if need > room {
                continue;
            }
            let start = match after {
                Some((group, node)) if group == (growth, need) => Bound::Excluded(node),
                _ => Bound::Unbounded,
            };
            if let Some(&node) = nodes.range((start, Bound::Unbounded)).next() {
                return Some((growth, need, node));
            }
        }
        None
    }

    /// Puts a node, if it could run, where it belongs now.
    fn place_again(&mut self, node: usize) {
        if self.classes[node].is_some() {
            self.place(node, Some(self.class(node)));
        }
    }

    /// Looks again at the nodes whose effect changed when the number of nodes of `object` that are left went from one more
    /// than `least` to `least`, or back.
    fn look_again(&mut self, object: usize, least: u32) {
        let shared = &self.part.objects[object];
        if least + 1 == shared.touches && !shared.before {
            let nodes = std::mem::take(&mut self.touched_by[object]);
            nodes.iter().for_each(|&node| self.place_again(node));
            self.touched_by[object] = nodes;
        } else if self.remaining[object].0 == 1 {
            // The last to touch it.
            self.place_again(self.remaining[object].1);
        }
    }

    /// Runs `node`; the bytes that were live meanwhile.
    pub fn advance(&mut self, node: usize) -> u64 {
        let (allocated, freed) = self.effect(node);
        let during = self.live + allocated + self.part.workspace[node];
        self.live = self.live + allocated - freed;
        self.place(node, None);
        let part = self.part;
        for &object in &part.touches[node] {
            let (count, sum) = &mut self.remaining[object];
            *count -= 1;
            *sum -= node;
        }
        for &object in &part.touches[node] {
            self.look_again(object, self.remaining[object].0);
        }
        self.done ^= mark(part.nodes[node]);
        self.order.push(node);
        for &next in &part.successors[node] {
            self.missing[next] -= 1;
            if self.missing[next] == 0 {
                self.since[next] = self.order.len();
                self.place(next, Some(self.class(next)));
            }
        }
        during
    }

    /// Takes back the step that `node` was, the last one.
    fn withdraw(&mut self, node: usize) {
        let part = self.part;
        for &next in &part.successors[node] {
            if self.missing[next] == 0 {
                self.place(next, None);
            }
            self.missing[next] += 1;
        }
        self.done ^= mark(part.nodes[node]);
        let mut lasts = Vec::new();
        for &object in &part.touches[node] {
            let (count, sum) = &mut self.remaining[object];
            if *count == 1 {
                // What was the last to touch it is not any more.
                lasts.push(*sum);
            }
            *count += 1;
            *sum += node;
        }
        for last in lasts {
            self.place_again(last);
        }
        for &object in &part.touches[node] {
            self.look_again(object, self.remaining[object].0 - 1);
        }
        let (allocated, freed) = self.effect(node);
        self.live = self.live + freed - allocated;
        self.place(node, Some(self.class(node)));
    }

    /// Takes steps back until `length` nodes have run.
    pub fn retreat(&mut self, length: usize) {
        while self.order.len() > length
            && let Some(node) = self.order.pop()
        {
            self.withdraw(node);
        }
    }

    /// Runs what needs no choice, until nothing does.
    pub fn settle(&mut self, budget: &mut u64) {
        loop {
            while let Some(node) = self.free() {
                self.advance(node);
                *budget = budget.saturating_sub(1);
            }
            let mut start = 0;
            loop {
                if *budget == 0 {
                    return;
                }
                let Some(node) = self.rising(start) else { return };
                if self.rise_and_fall(node, budget) {
                    break;
                }
                start = node + 1;
            }
        }
    }

    /// Runs `node`, which grows and fits, and the free nodes behind it, if that takes the growth back; else nothing. No
    /// node is free before.
    fn rise_and_fall(&mut self, node: usize, budget: &mut u64) -> bool {
        let (length, before) = (self.order.len(), self.live);
        self.trial = Some(Trial::default());
        self.advance(node);
        *budget -= 1;
        // Whether one that could run before has run; what that made ready does not count.
        let mut has_other = false;
        let mut besides: BTreeSet<usize> = BTreeSet::new();
        while self.live > before {
            let trial = self.trial.as_ref().map(|trial| (&trial.calm, &trial.grew));
            let Some((calm, grew)) = trial else { break };
            let is_new = |node: usize| self.since[node] > length;
            let fitting = || calm.iter().copied().filter(|&node| self.fits(node));
            let behind = fitting().find(|&node| is_new(node) && !besides.contains(&node));
            // One that grew nothing before but did not fit would leave less than all of them together.
            let other = || fitting().find(|&node| !is_new(node) && grew.get(&node) == Some(&true));
            if let Some(free) = behind {
                self.advance(free);
            } else if !has_other && let Some(free) = other() {
                has_other = true;
                besides.extend(self.ready_behind(free));
                self.advance(free);
            } else {
                self.trial = None;
                self.retreat(length);
                return false;
            }
            *budget = budget.saturating_sub(1);
        }
        self.trial = None;
        true
    }

    /// What becomes ready when `node` runs.
    fn ready_behind(&self, node: usize) -> impl Iterator<Item = usize> + use<'_, 'p> {
        self.part.successors[node].iter().copied().filter(|&next| self.missing[next] == 1)
    }
}

fn take<K: Ord + Copy>(groups: &mut BTreeMap<K, BTreeSet<usize>>, group: K, node: usize) {
    if let Some(nodes) = groups.get_mut(&group) {
        nodes.remove(&node);
        if nodes.is_empty() {
            groups.remove(&group);
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
