//! What has a given offset and stays there.
//!
//! A segment tree over sections answers whether an item, at some offset, would hit an obstacle: each obstacle is kept
//! at the nodes that make up its sections, and at all nodes above those. Lists are sorted by offset and know the
//! highest end up to each place, so a question costs O(log² n) and no list of pairs exists.

use super::PackError;
use super::instance::{Item, sums};

#[derive(Clone, Debug, Default)]
pub(super) struct Obstacles {
    /// Leaves of the tree: a power of two, or 0 when there are no obstacles.
    leaves: usize,
    /// For each node the obstacles whose sections it is a part of, and those that lie in a part of its sections.
    nodes: Vec<(List, List)>,
    /// The obstacles and their offsets, rounded outwards.
    rounded: Vec<(Item, u64)>,
    sums: Vec<u64>,
    top: u64,
}

/// Obstacles by offset: `(offset, highest end of this one and those before)`.
type List = Vec<(u64, u64)>;

impl Obstacles {
    /// `fixed` has the number of the interval, its sections with its own size, and its offset. Two that overlap are the
    /// user's mistake. Towards other items their bytes are rounded outwards to `align`.
    pub fn new(fixed: &[(usize, Item, u64)], sections: usize, align: u64) -> Result<Obstacles, PackError> {
        refuse_overlaps(fixed)?;
        let rounded: Vec<Item> = fixed
            .iter()
            .map(|(_, item, offset)| {
                let start = offset - offset % align;
                Item { size: (offset + item.size).next_multiple_of(align) - start, ..*item }
            })
            .collect();
        let exact: Vec<Item> = fixed.iter().map(|&(_, item, _)| item).collect();
        let top = fixed.iter().map(|(_, item, offset)| offset + item.size).max();
        let starts = fixed.iter().map(|(_, _, offset)| offset - offset % align);
        let rounded: Vec<(Item, u64)> = rounded.into_iter().zip(starts).collect();
        Ok(Obstacles::build(rounded, sections, sums(&exact, sections), top.unwrap_or(0)))
    }

    /// The same with time turned round.
    pub fn mirrored(&self, sections: usize) -> Obstacles {
        let turned = self.rounded.iter().map(|(item, start)| (item.turned(sections), *start)).collect();
        Obstacles::build(turned, sections, self.sums.iter().rev().copied().collect(), self.top)
    }

    fn build(rounded: Vec<(Item, u64)>, sections: usize, sums: Vec<u64>, top: u64) -> Obstacles {
        let leaves = if rounded.is_empty() { 0 } else { sections.next_power_of_two() };
        let mut obstacles = Obstacles { leaves, nodes: vec![(Vec::new(), Vec::new()); 2 * leaves], rounded, sums, top };
        for (item, start) in &obstacles.rounded {
            let start = *start;
            let mut touched = std::collections::BTreeSet::new();
            for node in cover(obstacles.leaves, item) {
                obstacles.nodes[node].0.push((start, start + item.size));
                touched.extend(std::iter::successors(Some(node), |node| Some(node / 2).filter(|&node| node > 0)));
            }
            for node in touched {
                obstacles.nodes[node].1.push((start, start + item.size));
            }
        }
        for list in obstacles.nodes.iter_mut().flat_map(|(covering, inside)| [covering, inside]) {
            list.sort_unstable();
            let mut highest = 0;
            for (_, end) in list {
                highest = highest.max(*end);
                *end = highest;
            }
        }
        obstacles
    }

    /// Sum of the obstacles' own sizes in each section.
    pub fn sums(&self) -> &[u64] {
        &self.sums
    }

    /// One past the highest byte, 0 without obstacles.
    pub fn top(&self) -> u64 {
        self.top
    }

    pub fn is_empty(&self) -> bool {
        self.leaves == 0
    }

    /// Lowest offset from `floor` on at which there is room for `item`. Every obstacle that is hit rules out all offsets
    /// below its end, so jumping to any of their ends misses nothing.
    pub fn free_from(&self, item: &Item, mut floor: u64) -> u64 {
        while let Some(end) = self.hit(item, floor) {
            floor = end;
        }
        floor
    }

    /// The end of the highest obstacle that `item` meets in time.
    pub fn clear_from(&self, item: &Item) -> u64 {
        let unbounded = Item { size: u64::MAX >> 1, ..*item };
        let mut floor = 0;
        while let Some(end) = self.hit(&unbounded, floor) {
            floor = end;
        }
        floor
    }

    /// The highest end among obstacles that `item` at `offset` would hit, as far as the first node that has one knows.
    fn hit(&self, item: &Item, offset: u64) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let hit = |list: &List| {
            let count = list.partition_point(|&(start, _)| start < offset + item.size);
            list[..count].last().map(|&(_, end)| end).filter(|&end| end > offset)
        };
        cover(self.leaves, item).find_map(|node| {
            let mut above = std::iter::successors(Some(node / 2), |node| Some(node / 2)).take_while(|&node| node > 0);
            hit(&self.nodes[node].1).or_else(|| above.find_map(|node| hit(&self.nodes[node].0)))
        })
    }
}

/// The nodes that make up the sections of an item.
fn cover(leaves: usize, item: &Item) -> impl Iterator<Item = usize> {
    let (mut low, mut high) = (leaves + item.lower, leaves + item.upper);
    let mut found = Vec::with_capacity(8);
    while low < high {
        if low & 1 == 1 {
            found.push(low);
            low += 1;
        }
        if high & 1 == 1 {
            high -= 1;
            found.push(high);
        }
        low /= 2;
        high /= 2;
    }
    found.into_iter()
}

/// Two intervals with given offsets must not share a byte at a time.
fn refuse_overlaps(fixed: &[(usize, Item, u64)]) -> Result<(), PackError> {
    let mut events: Vec<(usize, bool, usize)> = Vec::with_capacity(2 * fixed.len());
    for (number, (_, item, _)) in fixed.iter().enumerate() {
        events.push((item.lower, true, number));
        events.push((item.upper, false, number));
    }
    events.sort_unstable();
    // What is live, by offset: as long as nothing overlaps, neighbours are enough to look at.
    let mut live: std::collections::BTreeMap<u64, usize> = std::collections::BTreeMap::new();
    for (_, begins, at) in events {
        let (number, item, offset) = fixed[at];
        if !begins {
            live.remove(&offset);
            continue;
        }
        let below = live.range(..=offset).next_back().map(|(_, &other)| other);
        let above = live.range(offset..).next().map(|(_, &other)| other);
        for other in [below, above].into_iter().flatten() {
            let (other_number, other_item, other_offset) = fixed[other];
            if offset < other_offset + other_item.size && other_offset < offset + item.size {
                return Err(PackError::Overlap(number.min(other_number), number.max(other_number)));
            }
        }
        live.insert(offset, at);
    }
    Ok(())
}
