//! Packing: offsets for intervals of time, so that the highest address is low.
//!
//! The problem is dynamic storage allocation: rectangles with a fixed place in time and a size, to be given offsets so
//! that no two that meet in time meet in space. The *load*, the largest sum of sizes at one time, is a lower bound;
//! when the height of a packing equals it, the packing is proved optimal and everything stops. In order:
//!
//! 1. [`skyline`]: canonical greedy packings under several rankings, near linear in the number of intervals;
//! 2. [`gaps`]: first fit and best fit into gaps, quadratic, for instances small enough;
//! 3. [`squeaky`]: what sticks out is ranked higher and the greedy is run again, a bounded number of times;
//! 4. [`exact`]: branch and bound over canonical packings, for instances small enough.
//!
//! Nothing here knows of tensors. Sizes are taken as they are: intervals whose sizes are multiples of an alignment get
//! offsets that are multiples of it, because every offset is a sum of sizes.

mod exact;
mod gaps;
mod skyline;
mod squeaky;

#[cfg(test)]
mod tests;

/// Bytes in use from time `lower` up to, but not including, `upper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    pub lower: usize,
    pub upper: usize,
    pub size: u64,
}

/// Offsets, in the order of the intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packing {
    pub offsets: Vec<u64>,
    /// One past the highest byte.
    pub height: u64,
    /// Largest sum of sizes at one time.
    pub load: u64,
    /// No packing is lower than this.
    pub lower_bound: u64,
    /// Whether `height` is known to be the least possible.
    pub proved: bool,
}

/// Intervals up to which quadratic placements are tried.
const MAX_FOR_GAPS: usize = 4000;

/// Intervals up to which the exact search is tried.
const MAX_FOR_EXACT: usize = 1000;

/// Nodes of the exact search.
const EXACT_LIMIT: u64 = 60_000;

/// Runs of the squeaky wheel, times intervals.
const SQUEAKY_LIMIT: usize = 2_000_000;

/// An instance with time in sections: the ranges between two times at which something begins or ends.
#[derive(Clone, Debug)]
struct Instance {
    /// `(first section, one past the last section, size)`.
    items: Vec<(usize, usize, u64)>,
    sections: usize,
    /// Sum of sizes in each section.
    sums: Vec<u64>,
    load: u64,
}

impl Instance {
    fn of(intervals: &[Interval]) -> Instance {
        let mut times: Vec<usize> = intervals.iter().flat_map(|i| [i.lower, i.upper]).collect();
        times.sort_unstable();
        times.dedup();
        let section = |time: usize| times.partition_point(|&t| t < time);
        let items: Vec<(usize, usize, u64)> =
            intervals.iter().map(|i| (section(i.lower), section(i.upper), i.size)).collect();
        let sections = times.len().saturating_sub(1);
        let mut changes = vec![0i128; sections + 1];
        for &(lower, upper, size) in &items {
            changes[lower] += i128::from(size);
            changes[upper] -= i128::from(size);
        }
        let mut sum = 0i128;
        let sums: Vec<u64> = changes[..sections]
            .iter()
            .map(|change| {
                sum += change;
                sum as u64
            })
            .collect();
        let load = sums.iter().copied().max().unwrap_or(0);
        Instance { items, sections, sums, load }
    }

    /// Largest load met by an item.
    fn total(&self, item: usize) -> u64 {
        let (lower, upper, _) = self.items[item];
        self.sums[lower..upper].iter().copied().max().unwrap_or(0)
    }

    fn height(&self, offsets: &[u64]) -> u64 {
        self.items.iter().zip(offsets).map(|(item, offset)| offset + item.2).max().unwrap_or(0)
    }
}

/// The largest sum of sizes at one time; sums that exceed `u64` are the caller's mistake.
pub fn load(intervals: &[Interval]) -> u64 {
    Instance::of(&present(intervals).1).load
}

/// Intervals that take room, with their numbers.
fn present(intervals: &[Interval]) -> (Vec<usize>, Vec<Interval>) {
    intervals.iter().copied().enumerate().filter(|(_, i)| i.size > 0 && i.lower < i.upper).unzip()
}

/// Finds offsets. Deterministic; bounded by counts, never by time. Empty intervals get offset 0.
pub fn pack(intervals: &[Interval]) -> Packing {
    let (numbers, present) = present(intervals);
    let instance = Instance::of(&present);
    let (offsets, lower_bound) = best(&instance);
    let height = instance.height(&offsets);
    let mut all = vec![0; intervals.len()];
    for (&number, &offset) in numbers.iter().zip(&offsets) {
        all[number] = offset;
    }
    Packing { offsets: all, height, load: instance.load, lower_bound, proved: height <= lower_bound }
}

/// Offsets and a lower bound.
fn best(instance: &Instance) -> (Vec<u64>, u64) {
    let mut best: Option<(u64, Vec<u64>)> = None;
    let rankings = rankings(instance);
    let keep = |best: &mut Option<(u64, Vec<u64>)>, offsets: Vec<u64>| {
        let height = instance.height(&offsets);
        if best.as_ref().is_none_or(|(least, _)| height < *least) {
            *best = Some((height, offsets));
        }
        best.as_ref().is_some_and(|(least, _)| *least <= instance.load)
    };
    let mut sky = skyline::Skyline::new(instance);
    let mut heights = Vec::with_capacity(rankings.len());
    for ranking in &rankings {
        let offsets = sky.pack(ranking);
        heights.push(instance.height(&offsets));
        if keep(&mut best, offsets) {
            break;
        }
    }
    let done = |best: &Option<(u64, Vec<u64>)>| best.as_ref().is_some_and(|(least, _)| *least <= instance.load);
    if !done(&best) && instance.items.len() <= MAX_FOR_GAPS {
        'gaps: for ranking in &rankings {
            for fit in [gaps::Fit::First, gaps::Fit::Best] {
                if keep(&mut best, gaps::pack(instance, ranking, fit)) {
                    break 'gaps;
                }
            }
        }
    }
    if !done(&best) {
        let mut starts: Vec<usize> = (0..heights.len()).collect();
        starts.sort_by_key(|&start| (heights[start], start));
        let runs = SQUEAKY_LIMIT / instance.items.len().max(1);
        for &start in starts.iter().take(3) {
            if keep(&mut best, squeaky::pack(instance, &mut sky, &rankings[start], (runs / 3).clamp(2, 500))) {
                break;
            }
        }
    }
    let (mut height, mut offsets) = best.unwrap_or_default();
    let mut lower_bound = instance.load;
    if height > lower_bound && instance.items.len() <= MAX_FOR_EXACT {
        let (found, bound) = exact::improve(instance, &rankings, height, EXACT_LIMIT);
        if let Some(found) = found {
            offsets = found;
            height = instance.height(&offsets);
        }
        lower_bound = bound.min(height);
    }
    (offsets, lower_bound)
}

/// Rankings to begin with: for each, the items from first to last. The names of the keys are those of the literature:
/// size, area (size by time), lifetime, total (the largest load an item meets).
fn rankings(instance: &Instance) -> Vec<Vec<usize>> {
    use std::cmp::Reverse;
    let size = |i: usize| instance.items[i].2;
    let life = |i: usize| (instance.items[i].1 - instance.items[i].0) as u64;
    let area = |i: usize| u128::from(size(i)) * u128::from(life(i));
    let totals: Vec<u64> = (0..instance.items.len()).map(|i| instance.total(i)).collect();
    type Key<'k> = Box<dyn Fn(usize) -> (Reverse<u128>, Reverse<u128>, Reverse<u128>) + 'k>;
    let keys: Vec<Key> = vec![
        Box::new(|i| (Reverse(area(i)), Reverse(u128::from(size(i))), Reverse(0))),
        Box::new(|i| (Reverse(u128::from(size(i))), Reverse(u128::from(life(i))), Reverse(0))),
        Box::new(|i| (Reverse(u128::from(totals[i])), Reverse(area(i)), Reverse(u128::from(life(i))))),
        Box::new(|i| (Reverse(u128::from(life(i))), Reverse(area(i)), Reverse(u128::from(totals[i])))),
        Box::new(|i| (Reverse(u128::from(totals[i])), Reverse(u128::from(life(i))), Reverse(area(i)))),
        Box::new(|i| (Reverse(u128::from(totals[i])), Reverse(u128::from(size(i))), Reverse(area(i)))),
        Box::new(|i| (Reverse((usize::MAX - instance.items[i].0) as u128), Reverse(area(i)), Reverse(0))),
        Box::new(|i| (Reverse(instance.items[i].1 as u128), Reverse(area(i)), Reverse(0))),
        Box::new(|i| (Reverse((usize::MAX - instance.items[i].1) as u128), Reverse(area(i)), Reverse(0))),
    ];
    keys.iter()
        .map(|key| {
            let mut ranking: Vec<usize> = (0..instance.items.len()).collect();
            ranking.sort_by_key(|&i| (key(i), i));
            ranking
        })
        .collect()
}
