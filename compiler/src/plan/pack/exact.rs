//! Exact packing: branch and bound over canonical packings.
//!
//! A packing is canonical when its items, taken in the order of their offsets (equal offsets by a fixed ranking), each
//! lie on the skyline of those before. Pushing items down shows that some optimal packing is canonical, so it is enough
//! to ask, for a capacity: which item comes next? A state is the skyline under the items that are left.
//!
//! Pruned are states in which a section cannot hold what is left in it, items that would leave room below them for
//! another one to lie in, and states seen before: a table keeps, for each set of lowest offsets of what is left,
//! the earliest point in the canonical order from which it failed.
//!
//! The scheme is the one published with MiniMalloc (Moffitt, 2023; doi 10.1145/3623278.3624752), re-derived; the
//! table of failed states is not in it. Several capacities race with growing budgets, because the time a search takes
//! jumps up and down with the capacity. The load comes first: reaching it proves optimality.

use std::collections::BTreeMap;

use super::Instance;

/// Tries to pack below `height`. The offsets of a better packing, if one was found, and a lower bound on every packing.
/// `limit` bounds the states of all searches together.
pub(super) fn improve(
    instance: &Instance,
    rankings: &[Vec<usize>],
    height: u64,
    limit: u64,
) -> (Option<Vec<u64>>, u64) {
    let quantum = instance.items.iter().fold(0, |gcd, item| greatest_common_divisor(gcd, item.2)).max(1);
    let mut best: Option<Vec<u64>> = None;
    let (mut lower, mut upper) = (instance.load.next_multiple_of(quantum), height);
    let mut left = limit;
    let mut budget = (limit / 64).max(200);
    let mut turn = 0usize;
    // Rankings by total, area and lifetime lead the search best.
    let orders: Vec<&Vec<usize>> = [2, 3, 4, 0].iter().filter_map(|&r| rankings.get(r)).collect();
    while lower < upper && left > 0 {
        let order = orders[turn % orders.len()];
        // Halfway down from what is known every other time, the lower bound itself otherwise.
        let capacity = match (turn / orders.len()) % 2 {
            0 => lower,
            _ => (lower + (upper - lower) / 2) / quantum * quantum,
        };
        let capacity = capacity.clamp(lower, upper - 1);
        let mut search = Search::new(instance, order, capacity, budget.min(left));
        let found = search.place(0, 0, 0);
        left = left.saturating_sub(budget.min(left) - search.budget);
        if found {
            upper = instance.height(&search.offsets);
            best = Some(search.offsets);
        } else if search.budget > 0 {
            lower = (capacity / quantum + 1) * quantum;
        }
        turn += 1;
        if turn.is_multiple_of(2 * orders.len()) {
            budget *= 2;
        }
    }
    (best, lower)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

struct Search<'i> {
    instance: &'i Instance,
    /// Items by rank.
    order: &'i [usize],
    capacity: u64,
    budget: u64,
    offsets: Vec<u64>,
    /// By rank.
    placed: Vec<bool>,
    /// Lowest offset of each item by rank, given what is placed.
    lowest: Vec<u64>,
    skyline: Vec<u64>,
    /// Sum of the sizes that are left in each section.
    remaining: Vec<u64>,
    /// Exclusive or of the marks of what is left.
    key: u128,
    failed: BTreeMap<u128, (u64, usize)>,
}

impl<'i> Search<'i> {
    fn new(instance: &'i Instance, order: &'i [usize], capacity: u64, budget: u64) -> Search<'i> {
        let count = order.len();
        Search {
            instance,
            order,
            capacity,
            budget,
            offsets: vec![0; count],
            placed: vec![false; count],
            lowest: vec![0; count],
            skyline: vec![0; instance.sections],
            remaining: instance.sums.clone(),
            key: (0..count).fold(0, |key, rank| key ^ mark(rank, 0)),
            failed: BTreeMap::new(),
        }
    }

    /// Whether everything that is left can be placed at or after `(offset, rank)` in the canonical order.
    fn place(&mut self, done: usize, offset: u64, rank: usize) -> bool {
        if done == self.order.len() {
            return true;
        }
        if self.budget == 0 {
            return false;
        }
        self.budget -= 1;
        if self.failed.get(&self.key).is_some_and(|&last| last <= (offset, rank)) || !self.fits(offset) {
            return false;
        }
        // An item that starts where another one could still lie wholly below it would not be canonical.
        let ceiling = (0..self.order.len())
            .filter(|&r| !self.placed[r])
            .map(|r| self.lowest[r].max(offset) + self.instance.items[self.order[r]].2)
            .min()
            .unwrap_or(u64::MAX);
        let mut candidates: Vec<(u64, usize)> = (0..self.order.len())
            .filter(|&r| !self.placed[r] && (self.lowest[r], r) >= (offset, rank) && self.lowest[r] < ceiling)
            .map(|r| (self.lowest[r], r))
            .collect();
        candidates.sort_unstable();
        for (start, r) in candidates {
            let saved = self.put(start, r);
            if self.place(done + 1, start, r) {
                return true;
            }
            self.take(r, saved);
            if self.budget == 0 {
                return false;
            }
        }
        let entry = self.failed.entry(self.key).or_insert((offset, rank));
        *entry = (*entry).min((offset, rank));
        false
    }

    /// Whether every section can hold what is left in it, above the lowest place any of that can have.
    fn fits(&self, offset: u64) -> bool {
        let mut floor = vec![u64::MAX; self.instance.sections];
        for (r, &item) in self.order.iter().enumerate().filter(|&(r, _)| !self.placed[r]) {
            let (lower, upper, size) = self.instance.items[item];
            let lowest = self.lowest[r].max(offset);
            if lowest + size > self.capacity {
                return false;
            }
            for section in &mut floor[lower..upper] {
                *section = (*section).min(lowest);
            }
        }
        floor.iter().zip(&self.remaining).all(|(&floor, &left)| left == 0 || floor + left <= self.capacity)
    }

    /// Places the item of rank `r` at `start`; what to put back.
    fn put(&mut self, start: u64, r: usize) -> (Vec<u64>, Vec<(usize, u64)>) {
        let item = self.order[r];
        let (lower, upper, size) = self.instance.items[item];
        self.offsets[item] = start;
        self.placed[r] = true;
        self.key ^= mark(r, self.lowest[r]);
        let sky = self.skyline[lower..upper].to_vec();
        for section in lower..upper {
            self.skyline[section] = start + size;
            self.remaining[section] -= size;
        }
        let mut raised = Vec::new();
        for (other, &number) in self.order.iter().enumerate() {
            let (other_lower, other_upper, _) = self.instance.items[number];
            if !self.placed[other] && other_lower < upper && lower < other_upper && self.lowest[other] < start + size {
                raised.push((other, self.lowest[other]));
                self.key ^= mark(other, self.lowest[other]) ^ mark(other, start + size);
                self.lowest[other] = start + size;
            }
        }
        (sky, raised)
    }

    fn take(&mut self, r: usize, saved: (Vec<u64>, Vec<(usize, u64)>)) {
        let (lower, upper, size) = self.instance.items[self.order[r]];
        for (other, lowest) in saved.1 {
            self.key ^= mark(other, self.lowest[other]) ^ mark(other, lowest);
            self.lowest[other] = lowest;
        }
        self.skyline[lower..upper].copy_from_slice(&saved.0);
        for section in lower..upper {
            self.remaining[section] += size;
        }
        self.placed[r] = false;
        self.key ^= mark(r, self.lowest[r]);
    }
}

/// A fixed random-looking number for an item at a lowest offset.
fn mark(rank: usize, lowest: u64) -> u128 {
    let mix = |seed: u64| {
        let mut z = (rank as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ lowest.wrapping_add(seed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (u128::from(mix(0x452821E638D01377)) << 64) | u128::from(mix(0xBE5466CF34E90C6C))
}
