//! An instance in the form that the algorithms work on: time in sections, sizes in multiples of the alignment, and what
//! already has an offset as obstacles.
//!
//! A section is a maximal set of intervals that are live together. Two intervals meet in time if and only if they share
//! a section, and the load is the largest sum in one, so nothing else of time is kept. There are at most as many
//! sections as intervals, and often far fewer than there are times.

use super::obstacles::Obstacles;
use super::{Interval, PackError};

/// Sums of bytes stay below this, so that a sum of two of them is a `u64`.
const MAX_BYTES: u64 = 1 << 62;

/// Something to be placed: sections `lower..upper`, never empty, and bytes, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub lower: usize,
    pub upper: usize,
    pub size: u64,
}

impl Item {
    pub fn turned(&self, sections: usize) -> Item {
        Item { lower: sections - self.upper, upper: sections - self.lower, size: self.size }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub items: Vec<Item>,
    /// The interval that each item is.
    pub numbers: Vec<usize>,
    /// How long each item lives, in the time of the intervals.
    pub spans: Vec<usize>,
    pub obstacles: Obstacles,
    pub sections: usize,
    /// Sum of the sizes of the items in each section; obstacles are not in it.
    pub sums: Vec<u64>,
    /// Largest sum in one section, obstacles included.
    pub load: u64,
    /// No packing is lower: the load, or the end of the highest obstacle.
    pub lower_bound: u64,
}

impl Instance {
    /// Offsets of what is free will be multiples of `align`; sizes are rounded up to it.
    pub fn of(intervals: &[Interval], align: u64) -> Result<Instance, PackError> {
        let (mut items, mut numbers, mut spans, mut fixed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut total, mut highest) = (0u64, 0);
        let (starts, ends, sections) = sections(intervals);
        for (number, interval) in intervals.iter().enumerate().filter(|(_, interval)| !interval.is_empty()) {
            let offset = interval.offset.unwrap_or(0);
            let size = interval.size.checked_next_multiple_of(align);
            total = size
                .and_then(|size| total.checked_add(size))
                .filter(|&sum| sum <= MAX_BYTES)
                .ok_or(PackError::TooLarge)?;
            highest = highest.max(offset);
            let (lower, upper) = (starts[number], ends[number]);
            if interval.offset.is_some() {
                fixed.push((number, Item { lower, upper, size: interval.size }, offset));
            } else {
                items.push(Item { lower, upper, size: interval.size.next_multiple_of(align) });
                numbers.push(number);
                spans.push(interval.upper - interval.lower);
            }
        }
        if highest > MAX_BYTES - total {
            return Err(PackError::TooLarge);
        }
        let obstacles = Obstacles::new(&fixed, sections, align)?;
        let sums = sums(&items, sections);
        let load = sums.iter().zip(obstacles.sums()).map(|(free, fixed)| free + fixed).max().unwrap_or(0);
        let lower_bound = load.max(obstacles.top());
        Ok(Instance { items, numbers, spans, obstacles, sections, sums, load, lower_bound })
    }

    /// The same with time turned round. A packing of one is a packing of the other.
    pub fn mirrored(&self) -> Instance {
        let turned = |item: &Item| item.turned(self.sections);
        Instance {
            items: self.items.iter().map(turned).collect(),
            obstacles: self.obstacles.mirrored(self.sections),
            sums: self.sums.iter().rev().copied().collect(),
            ..self.clone()
        }
    }

    /// One past the highest byte.
    pub fn height(&self, offsets: &[u64]) -> u64 {
        let tops = self.items.iter().zip(offsets).map(|(item, offset)| offset + item.size);
        tops.max().unwrap_or(0).max(self.obstacles.top())
    }

    /// Lowest offset from `floor` on at which the obstacles leave room for `item`.
    pub fn free_from(&self, item: &Item, floor: u64) -> u64 {
        self.obstacles.free_from(item, floor)
    }

    /// Whether nothing overlaps in time and in bytes. By a sweep over the offsets that are in use at a time, so that it
    /// shares nothing with how the offsets were found.
    pub fn is_valid(&self, offsets: &[u64]) -> bool {
        let mut events: Vec<(usize, bool, usize)> = Vec::with_capacity(2 * self.items.len());
        for (number, item) in self.items.iter().enumerate() {
            if self.free_from(item, offsets[number]) != offsets[number] {
                return false;
            }
            events.push((item.lower, true, number));
            events.push((item.upper, false, number));
        }
        // At one time what ends comes before what begins.
        events.sort_unstable();
        let mut live = std::collections::BTreeMap::new();
        for (_, begins, number) in events {
            let (start, end) = (offsets[number], offsets[number] + self.items[number].size);
            if !begins {
                live.remove(&start);
            } else {
                let below = live.range(..=start).next_back().is_none_or(|(_, &end)| end <= start);
                let above = live.range(start..).next().is_none_or(|(&next, _)| next >= end);
                if !below || !above {
                    return false;
                }
                live.insert(start, end);
            }
        }
        true
    }
}

/// First section and one past the last section of each interval, and the number of sections.
fn sections(intervals: &[Interval]) -> (Vec<usize>, Vec<usize>, usize) {
    // At one time what ends comes before what begins.
    let mut events: Vec<(usize, bool, usize)> = Vec::with_capacity(2 * intervals.len());
    for (number, interval) in intervals.iter().enumerate().filter(|(_, interval)| !interval.is_empty()) {
        events.push((interval.lower, true, number));
        events.push((interval.upper, false, number));
    }
    events.sort_unstable();
    let (mut starts, mut ends) = (vec![0; intervals.len()], vec![0; intervals.len()]);
    let mut section = 0;
    let mut ended = false;
    for &(_, begins, number) in &events {
        if begins {
            // What is live together grows with every beginning; it is maximal when the next thing is an end.
            section += usize::from(std::mem::take(&mut ended));
            starts[number] = section;
        } else {
            ended = true;
            ends[number] = section + 1;
        }
    }
    (starts, ends, if events.is_empty() { 0 } else { section + 1 })
}

/// Sum of sizes in each section.
pub(super) fn sums(items: &[Item], sections: usize) -> Vec<u64> {
    let mut changes = vec![0i128; sections + 1];
    for item in items {
        changes[item.lower] += i128::from(item.size);
        changes[item.upper] -= i128::from(item.size);
    }
    let mut sum = 0i128;
    let sum = changes[..sections].iter().map(|change| {
        sum += change;
        sum as u64
    });
    sum.collect()
}
