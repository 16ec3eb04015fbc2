//! The canonical greedy: always place the item with the lowest possible offset, ties by a ranking.
//!
//! "Lowest possible" is on top of what is already placed (the skyline), so gaps below never open: a canonical packing
//! places items in the order of their offsets. The lowest valley of the skyline decides: of the items whose whole life
//! lies inside it, the best ranked one is placed on its floor; when there is none, nothing can ever lie there, and the
//! valley is filled up to its lower wall. At most about three steps an item.
//!
//! The question "best ranked item with its life in [a, b)" is answered by a tree over items by their first section,
//! whose blocks list their items by last section with a tree of least ranks: O(log² n) for a question and for the
//! removal of an item, O(n log n) bytes, and no graph of overlaps.
//!
//! An item that an obstacle keeps from the floor of its valley waits until the floor has risen to where it can lie.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::instance::Instance;

const NONE: u32 = u32::MAX;

/// Items in a block of the lowest level; fewer than these are looked at one by one.
const LEAF: usize = 8;

/// The structure that does not depend on the ranking, and the ranks of what is left under the one at hand.
#[derive(Clone)]
pub(super) struct Skyline<'i> {
    instance: &'i Instance,
    /// For each item its place among the items by first section.
    places: Vec<u32>,
    /// For each section how many items begin before it.
    before: Vec<u32>,
    /// By place: last section and rank, `NONE` when placed.
    ends: Vec<u32>,
    ranks: Vec<u32>,
    /// Blocks of `LEAF`, twice as many, … places; only whole blocks.
    levels: Vec<Level>,
}

#[derive(Clone)]
struct Level {
    /// Places in a block.
    block: usize,
    /// Last sections, ascending in each block.
    ends: Vec<u32>,
    /// By place: where in its block.
    inside: Vec<u32>,
    /// A tree of least ranks for each block, its root at 1.
    least: Vec<u32>,
}

impl Level {
    fn new(block: usize, all_ends: &[u32]) -> Level {
        let whole = all_ends.len() / block * block;
        let (mut ends, mut inside) = (Vec::with_capacity(whole), vec![0; whole]);
        for start in (0..whole).step_by(block) {
            let mut places: Vec<usize> = (start..start + block).collect();
            places.sort_by_key(|&place| all_ends[place]);
            for (at, &place) in places.iter().enumerate() {
                ends.push(all_ends[place]);
                inside[place] = at as u32;
            }
        }
        Level { block, ends, inside, least: vec![NONE; 2 * whole] }
    }

    fn fill(&mut self, ranks: &[u32]) {
        let block = self.block;
        for (place, &at) in self.inside.iter().enumerate() {
            self.least[place / block * 2 * block + block + at as usize] = ranks[place];
        }
        for tree in self.least.chunks_exact_mut(2 * block) {
            for at in (1..block).rev() {
                tree[at] = tree[2 * at].min(tree[2 * at + 1]);
            }
        }
    }

    /// Least rank in a block among items that end at `end` or before.
    fn query(&self, block: usize, end: u32) -> u32 {
        let size = self.block;
        let count = self.ends[block * size..(block + 1) * size].partition_point(|&other| other <= end);
        let tree = &self.least[block * 2 * size..(block + 1) * 2 * size];
        if count == size {
            return tree[1];
        }
        let (mut low, mut high) = (size, size + count);
        let mut best = NONE;
        while low < high {
            // `low` is the first place of its level and not the root, so only the right border can be odd.
            if high & 1 == 1 {
                high -= 1;
                best = best.min(tree[high]);
            }
            low /= 2;
            high /= 2;
        }
        best
    }

    fn set(&mut self, place: usize, rank: u32) {
        let Some(&at) = self.inside.get(place) else { return };
        let tree = &mut self.least[place / self.block * 2 * self.block..][..2 * self.block];
        let mut at = self.block + at as usize;
        tree[at] = rank;
        while at > 1 {
            at /= 2;
            let least = tree[2 * at].min(tree[2 * at + 1]);
            if tree[at] == least {
                break;
            }
            tree[at] = least;
        }
    }
}

impl<'i> Skyline<'i> {
    pub fn new(instance: &'i Instance) -> Skyline<'i> {
        let items = &instance.items;
        let count = items.len();
        let mut by_start: Vec<u32> = (0..count as u32).collect();
        by_start.sort_by_key(|&item| (items[item as usize].lower, item));
        let mut places = vec![0; count];
        for (place, &item) in by_start.iter().enumerate() {
            places[item as usize] = place as u32;
        }
        let mut before = vec![0u32; instance.sections + 1];
        for item in items {
            before[item.lower + 1] += 1;
        }
        for section in 1..before.len() {
            before[section] += before[section - 1];
        }
        let ends: Vec<u32> = by_start.iter().map(|&item| items[item as usize].upper as u32).collect();
        let blocks = std::iter::successors(Some(LEAF), |block| Some(2 * block)).take_while(|&block| block <= count);
        let levels = blocks.map(|block| Level::new(block, &ends)).collect();
        Skyline { instance, places, before, ranks: vec![NONE; count], ends, levels }
    }

    fn fill(&mut self, ranking: &[usize]) {
        for (rank, &item) in ranking.iter().enumerate() {
            self.ranks[self.places[item] as usize] = rank as u32;
        }
        for level in &mut self.levels {
            level.fill(&self.ranks);
        }
    }

    /// Least rank among items that begin at section `start` or later and end at `end` or before.
    fn query(&self, start: usize, end: usize) -> u32 {
        let (mut low, mut high) = (self.before[start] as usize, self.before[end] as usize);
        let end = end as u32;
        let mut best = NONE;
        while low < high && low % LEAF != 0 {
            if self.ends[low] <= end {
                best = best.min(self.ranks[low]);
            }
            low += 1;
        }
        while low < high && high % LEAF != 0 {
            high -= 1;
            if self.ends[high] <= end {
                best = best.min(self.ranks[high]);
            }
        }
        (low, high) = (low / LEAF, high / LEAF);
        for level in &self.levels {
            if low >= high {
                break;
            }
            if low & 1 == 1 {
                best = best.min(level.query(low, end));
                low += 1;
            }
            if high & 1 == 1 {
                high -= 1;
                best = best.min(level.query(high, end));
            }
            (low, high) = (low / 2, high / 2);
        }
        best
    }

    fn set(&mut self, item: usize, rank: u32) {
        let place = self.places[item] as usize;
        self.ranks[place] = rank;
        for level in &mut self.levels {
            level.set(place, rank);
        }
    }

    /// Offsets under a ranking (items, first to last).
    pub fn pack(&mut self, ranking: &[usize]) -> Vec<u64> {
        self.fill(ranking);
        let mut offsets = vec![0; ranking.len()];
        let mut left = ranking.len();
        let mut valleys = Valleys::new(self.instance.sections);
        // Items that cannot lie on the floor of their valley because of an obstacle: from which offset on, and the rank.
        let mut waiting: BTreeSet<(u64, u32)> = BTreeSet::new();
        while left > 0 {
            let (floor, start, end) = valleys.lowest();
            while let Some(&(height, rank)) = waiting.first().filter(|&&(height, _)| height <= floor) {
                waiting.remove(&(height, rank));
                self.set(ranking[rank as usize], rank);
            }
            let rank = self.query(start, end);
            if rank == NONE {
                valleys.raise(start, waiting.first().map_or(u64::MAX, |&(height, _)| height));
                continue;
            }
            let number = ranking[rank as usize];
            let item = &self.instance.items[number];
            let free = self.instance.free_from(item, floor);
            self.set(number, NONE);
            if free > floor {
                waiting.insert((free, rank));
            } else {
                offsets[number] = floor;
                valleys.place(start, item.lower, item.upper, floor + item.size);
                left -= 1;
            }
        }
        offsets
    }
}

/// The skyline: stretches of sections of one height, neighbours of different heights.
struct Valleys {
    /// `(height, start)`; entries whose stretch is gone or has another height are passed over.
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    /// By start: `(end, height)`; an end of 0 where no stretch starts.
    stretches: Vec<(usize, u64)>,
    /// By end: the start of the stretch that ends there.
    starts: Vec<usize>,
    sections: usize,
}

impl Valleys {
    fn new(sections: usize) -> Valleys {
        let mut valleys = Valleys {
            heap: BinaryHeap::new(),
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
        self.heap.push(Reverse((height, start)));
    }

    fn drop(&mut self, start: usize) -> (usize, u64) {
        std::mem::take(&mut self.stretches[start])
    }

    /// Height, start and end of the lowest stretch; of equals the first.
    fn lowest(&mut self) -> (u64, usize, usize) {
        loop {
            let &Reverse((height, start)) = self.heap.peek().expect("items are left, so there are sections");
            let (end, now) = self.stretches[start];
            if end > 0 && now == height {
                return (height, start, end);
            }
            self.heap.pop();
        }
    }

    /// Raises the stretch at `start` to its lower neighbour, or to `limit` if that is lower.
    fn raise(&mut self, start: usize, limit: u64) {
        let (end, _) = self.drop(start);
        let left = (start > 0).then(|| self.stretches[self.starts[start]].1);
        let right = (end < self.sections).then(|| self.stretches[end].1);
        let wall = left.unwrap_or(u64::MAX).min(right.unwrap_or(u64::MAX));
        self.join(start, end, wall.min(limit));
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
