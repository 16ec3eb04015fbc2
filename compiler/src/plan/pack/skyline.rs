//! The canonical greedy: always place the item with the lowest possible offset, ties by a ranking.
//!
//! "Lowest possible" is on top of what is already placed (the skyline), so gaps below never open: a canonical packing
//! places items in the order of their offsets. The lowest valley of the skyline decides: of the items whose whole life
//! lies inside it, the best ranked one is placed on its floor; when there is none, nothing can ever lie there, and the
//! valley is filled up to its lower wall. At most about three steps an item.
//!
//! The question "best ranked item with its life in [a, b)" is answered by a tree over items by their first section,
//! whose nodes list their items by last section with a tree of least ranks: O(log^2 n) for a question and for the
//! removal of an item, and no graph of overlaps.

use std::collections::BTreeSet;

use super::Instance;

const NONE: u32 = u32::MAX;

/// The structure that does not depend on the ranking.
pub(super) struct Skyline<'i> {
    instance: &'i Instance,
    /// Items by first section.
    by_start: Vec<u32>,
    /// Leaves of the outer tree (a power of two, at least one).
    leaves: usize,
    nodes: Vec<Node>,
}

/// The items below a node of the outer tree.
#[derive(Clone, Default)]
struct Node {
    /// Ascending by end.
    ends: Vec<u32>,
    items: Vec<u32>,
    /// A tree of least ranks over `items`, root at 1.
    least: Vec<u32>,
}

impl Node {
    /// Least rank among items that end at `end` or before.
    fn query(&self, end: usize) -> u32 {
        let count = self.ends.partition_point(|&e| e as usize <= end);
        let half = self.least.len() / 2;
        let (mut low, mut high) = (half, half + count);
        let mut best = NONE;
        while low < high {
            if low & 1 == 1 {
                best = best.min(self.least[low]);
                low += 1;
            }
            if high & 1 == 1 {
                high -= 1;
                best = best.min(self.least[high]);
            }
            low /= 2;
            high /= 2;
        }
        best
    }

    fn set(&mut self, at: usize, rank: u32) {
        let mut at = at + self.least.len() / 2;
        self.least[at] = rank;
        while at > 1 {
            at /= 2;
            self.least[at] = self.least[2 * at].min(self.least[2 * at + 1]);
        }
    }
}

impl<'i> Skyline<'i> {
    pub fn new(instance: &'i Instance) -> Skyline<'i> {
        let count = instance.items.len();
        let mut by_start: Vec<u32> = (0..count as u32).collect();
        by_start.sort_by_key(|&item| (instance.items[item as usize].0, item));
        let leaves = count.next_power_of_two().max(1);
        let mut nodes = vec![Node::default(); 2 * leaves];
        for (at, &item) in by_start.iter().enumerate() {
            nodes[leaves + at].items.push(item);
        }
        for node in (1..leaves).rev() {
            let mut items = [&nodes[2 * node].items[..], &nodes[2 * node + 1].items[..]].concat();
            items.sort_by_key(|&item| (instance.items[item as usize].1, item));
            nodes[node].items = items;
        }
        for node in &mut nodes {
            node.ends = node.items.iter().map(|&item| instance.items[item as usize].1 as u32).collect();
            node.least = vec![NONE; 2 * node.items.len()];
        }
        Skyline { instance, by_start, leaves, nodes }
    }

    fn fill(&mut self, ranks: &[u32]) {
        for node in &mut self.nodes {
            let half = node.items.len();
            for (at, &item) in node.items.iter().enumerate() {
                node.least[half + at] = ranks[item as usize];
            }
            for at in (1..half).rev() {
                node.least[at] = node.least[2 * at].min(node.least[2 * at + 1]);
            }
        }
    }

    /// Least rank among items that start at `start` or later and end at `end` or before.
    fn query(&self, start: usize, end: usize) -> u32 {
        let first = self.by_start.partition_point(|&item| self.instance.items[item as usize].0 < start);
        let last = self.by_start.partition_point(|&item| self.instance.items[item as usize].0 < end);
        let (mut low, mut high) = (self.leaves + first, self.leaves + last);
        let mut best = NONE;
        while low < high {
            if low & 1 == 1 {
                best = best.min(self.nodes[low].query(end));
                low += 1;
            }
            if high & 1 == 1 {
                high -= 1;
                best = best.min(self.nodes[high].query(end));
            }
            low /= 2;
            high /= 2;
        }
        best
    }

    fn remove(&mut self, item: u32) {
        let (start, end, _) = self.instance.items[item as usize];
        let at = self.by_start.partition_point(|&other| {
            let other_start = self.instance.items[other as usize].0;
            (other_start, other) < (start, item)
        });
        let mut node = self.leaves + at;
        while node >= 1 {
            let place = {
                let items = &self.nodes[node].items;
                items.partition_point(|&other| (self.instance.items[other as usize].1, other) < (end, item))
            };
            self.nodes[node].set(place, NONE);
            node /= 2;
        }
    }

    /// Offsets under a ranking (items, first to last).
    pub fn pack(&mut self, ranking: &[usize]) -> Vec<u64> {
        let mut ranks = vec![0u32; ranking.len()];
        for (rank, &item) in ranking.iter().enumerate() {
            ranks[item] = rank as u32;
        }
        self.fill(&ranks);
        let mut offsets = vec![0; ranking.len()];
        let mut left = ranking.len();
        let mut valleys = Valleys::new(self.instance.sections);
        while left > 0 {
            let (height, start, end) = valleys.lowest();
            match self.query(start, end) {
                NONE => valleys.raise(start),
                rank => {
                    let item = ranking[rank as usize];
                    offsets[item] = height;
                    let (lower, upper, size) = self.instance.items[item];
                    valleys.place(start, lower, upper, height + size);
                    self.remove(item as u32);
                    left -= 1;
                }
            }
        }
        offsets
    }
}

/// The skyline: stretches of sections of one height, neighbours of different heights.
struct Valleys {
    /// `(height, start)`.
    heap: BTreeSet<(u64, usize)>,
    /// By start: `(end, height)`; meaningful where a stretch starts.
    stretches: Vec<(usize, u64)>,
    /// By end: the start of the stretch that ends there.
    starts: Vec<usize>,
    sections: usize,
}

impl Valleys {
    fn new(sections: usize) -> Valleys {
        let mut valleys = Valleys {
            heap: BTreeSet::new(),
            stretches: vec![(0, 0); sections + 1],
            starts: vec![0; sections + 1],
            sections,
        };
        if sections > 0 {
            valleys.add(0, sections, 0);
        }
        valleys
    }

    fn add(&mut self, start: usize, end: usize, height: u64) {
        self.stretches[start] = (end, height);
        self.starts[end] = start;
        self.heap.insert((height, start));
    }

    fn drop(&mut self, start: usize) -> (usize, u64) {
        let (end, height) = self.stretches[start];
        self.heap.remove(&(height, start));
        (end, height)
    }

    fn lowest(&self) -> (u64, usize, usize) {
        let &(height, start) = self.heap.first().expect("items are left, so there are sections");
        (height, start, self.stretches[start].0)
    }

    /// Raises the stretch at `start` to its lower neighbour and joins them.
    fn raise(&mut self, start: usize) {
        let (end, _) = self.drop(start);
        let left = (start > 0).then(|| (self.starts[start], self.stretches[self.starts[start]].1));
        let right = (end < self.sections).then(|| (end, self.stretches[end].1));
        let height = match (left, right) {
            (Some(left), Some(right)) => left.1.min(right.1),
            (Some(wall), None) | (None, Some(wall)) => wall.1,
            (None, None) => u64::MAX,
        };
        self.join(start, end, height);
    }

    /// Adds a stretch, joined with neighbours of its height.
    fn join(&mut self, mut start: usize, mut end: usize, height: u64) {
        if start > 0 && self.stretches[self.starts[start]].1 == height {
            start = self.starts[start];
            self.drop(start);
        }
        if end < self.sections && self.stretches[end].1 == height {
            end = self.drop(end).0;
        }
        self.add(start, end, height);
    }

    /// Raises `lower..upper`, inside the stretch at `start`, to `height`.
    fn place(&mut self, start: usize, lower: usize, upper: usize, height: u64) {
        let (end, floor) = self.drop(start);
        if start < lower {
            self.add(start, lower, floor);
        }
        if upper < end {
            self.add(upper, end, floor);
        }
        self.join(lower, upper, height);
    }
}
