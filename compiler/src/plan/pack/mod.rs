//! Packing: offsets for intervals of time, so that the highest address is low.
//!
//! The problem is dynamic storage allocation: rectangles with a fixed place in time and a size, to be given offsets so
//! that no two that meet in time meet in space. The *load*, the largest sum of sizes at one time, is a lower bound;
//! when the height of a packing equals it, the packing is proved optimal and everything stops. In order:
//!
//! 1. [`skyline`]: canonical greedy packings under several rankings, near linear in the number of intervals;
//! 2. [`gaps`]: first fit and best fit into gaps, quadratic, for instances small enough;
//! 3. [`squeaky`]: what sticks out is ranked higher and the greedy is run again, a bounded number of times;
//! 4. [`exact`]: a race of exact searches over canonical packings, for instances small enough.
//!
//! Nothing here knows of tensors. The budget is counted in states and runs, never in time, and the first success in a
//! fixed order wins, so a packing depends neither on the machine nor on the number of threads.

pub mod csv;
mod exact;
mod failed;
mod gaps;
mod instance;
mod obstacles;
mod rankings;
mod search;
mod skyline;
mod squeaky;

#[cfg(test)]
mod tests;

use instance::Instance;
use skyline::Skyline;

/// Bytes in use from time `lower` up to, but not including, `upper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    pub lower: usize,
    pub upper: usize,
    pub size: u64,
    /// Where the bytes are, if that is given.
    pub offset: Option<u64>,
}

impl Interval {
    /// Without time or bytes, so that it can be anywhere.
    fn is_empty(&self) -> bool {
        self.size == 0 || self.lower >= self.upper
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackOptions {
    /// Offsets that are not given are multiples of this, and sizes are rounded up to it; at least 1.
    pub align: u64,
    /// Bytes there are. Without it the height is minimised; with it, anything that fits will do.
    pub capacity: Option<u64>,
    /// States of the exact search; what is spent on large instances before it, or instead of it, is counted by it too.
    pub budget: u64,
}

impl Default for PackOptions {
    /// Lowest height; a budget for compiling, which takes well below a second.
    fn default() -> PackOptions {
        PackOptions { align: 1, capacity: None, budget: 60_000 }
    }
}

/// Offsets, in the order of the intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Empty intervals have the offset they were given, or 0.
    pub offsets: Vec<u64>,
    /// One past the highest byte.
    pub height: u64,
    /// Largest sum of sizes at one time.
    pub load: u64,
    /// No packing is lower than this.
    pub lower_bound: u64,
    /// Whether `height` is known to be the least possible.
    pub proved: bool,
    /// States that the exact search has seen.
    pub nodes: u64,
}

/// Why an instance is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    /// The sizes together, or a size and its offset, exceed 2^62 bytes.
    TooLarge,
    /// These two intervals have offsets that make them overlap.
    Overlap(usize, usize),
}

/// Intervals up to which quadratic placements are tried.
const MAX_FOR_GAPS: usize = 4000;

/// Intervals up to which the exact search is tried; it holds the pairs that meet.
const MAX_FOR_EXACT: usize = 2000;

/// Intervals up to which the exact search is quicker than the squeaky wheel.
const MAX_FOR_EXACT_FIRST: usize = 500;

/// Turns of each squeaky wheel, times intervals: so many for a state of the budget, and at most so many.
const TURN_COST: u64 = 50;
const MAX_TURNS: u64 = 3_000_000;

/// The largest sum of sizes at one time, in bytes.
pub fn load(intervals: &[Interval]) -> Result<u64, PackError> {
    Ok(Instance::of(intervals, 1)?.load)
}

/// Finds offsets. When a capacity cannot be reached, the packing is the lowest that was found.
pub fn pack(intervals: &[Interval], options: &PackOptions) -> Result<Packing, PackError> {
    let instance = Instance::of(intervals, options.align.max(1))?;
    let found = search(&instance, options);
    debug_assert!(instance.is_valid(&found.offsets));
    let height = instance.height(&found.offsets);
    let mut offsets: Vec<u64> = intervals.iter().map(|interval| interval.offset.unwrap_or(0)).collect();
    for (&number, &offset) in instance.numbers.iter().zip(&found.offsets) {
        offsets[number] = offset;
    }
    Ok(Packing {
        offsets,
        height,
        load: instance.load,
        lower_bound: found.lower_bound,
        proved: height <= found.lower_bound,
        nodes: found.nodes,
    })
}

/// Offsets by item, and what is known about all packings.
struct Found {
    offsets: Vec<u64>,
    lower_bound: u64,
    nodes: u64,
}

/// All methods in order, until the goal is reached.
fn search(instance: &Instance, options: &PackOptions) -> Found {
    let goal = options.capacity.unwrap_or(0).max(instance.lower_bound);
    let mut best = Best { instance, goal, height: u64::MAX, offsets: Vec::new() };
    let rankings = rankings::for_greedy(instance);
    let mut skyline = Skyline::new(instance);
    let mut heights = Vec::with_capacity(rankings.len());
    for ranking in &rankings {
        heights.push(best.keep(skyline.pack(ranking)));
        if best.is_reached() {
            return best.found(0);
        }
    }
    if instance.items.len() <= MAX_FOR_GAPS {
        for ranking in &rankings {
            for fit in [gaps::Fit::First, gaps::Fit::Best] {
                best.keep(gaps::pack(instance, ranking, fit));
                if best.is_reached() {
                    return best.found(0);
                }
            }
        }
    }
    if instance.items.len() > MAX_FOR_EXACT_FIRST {
        let mut starts: Vec<usize> = (0..heights.len()).collect();
        starts.sort_by_key(|&start| (heights[start], start));
        let starts: Vec<&[usize]> = starts.iter().take(4).map(|&start| &rankings[start][..]).collect();
        let turns = options.budget.saturating_mul(TURN_COST).min(MAX_TURNS) / instance.items.len() as u64;
        best.keep(squeaky::pack(instance, &skyline, &starts, goal, turns.clamp(2, 400) as usize));
        if best.is_reached() || instance.items.len() > MAX_FOR_EXACT {
            return best.found(0);
        }
    }
    let raced = exact::race(instance, best.height, options.capacity, options.budget);
    if let Some(offsets) = raced.offsets {
        best.keep(offsets);
    }
    let lower_bound = raced.lower_bound.min(best.height);
    Found { lower_bound, ..best.found(raced.nodes) }
}

/// The lowest packing so far.
struct Best<'i> {
    instance: &'i Instance,
    goal: u64,
    height: u64,
    offsets: Vec<u64>,
}

impl Best<'_> {
    /// Keeps the offsets if they are better. Their height.
    fn keep(&mut self, offsets: Vec<u64>) -> u64 {
        let height = self.instance.height(&offsets);
        if height < self.height {
            (self.height, self.offsets) = (height, offsets);
        }
        height
    }

    fn is_reached(&self) -> bool {
        self.height <= self.goal
    }

    fn found(self, nodes: u64) -> Found {
        Found { offsets: self.offsets, lower_bound: self.instance.lower_bound, nodes }
    }
}
