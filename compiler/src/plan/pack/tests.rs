//! Packings against the obvious quadratic check and against brute force.

use super::*;

/// Whether no two intervals that meet in time meet in space: the quadratic way.
fn is_valid(intervals: &[Interval], packing: &Packing) -> bool {
    let top = |i: usize| packing.offsets[i] + intervals[i].size;
    (0..intervals.len()).all(|i| {
        top(i) <= packing.height.max(packing.offsets[i])
            && (0..i).all(|j| {
                let (a, b) = (intervals[i], intervals[j]);
                let empty = |i: Interval| i.size == 0 || i.lower >= i.upper;
                empty(a)
                    || empty(b)
                    || a.lower >= b.upper
                    || b.lower >= a.upper
                    || packing.offsets[i] >= top(j)
                    || packing.offsets[j] >= top(i)
            })
    })
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

fn random(seed: u64, count: usize, times: u64, sizes: u64, quantum: u64) -> Vec<Interval> {
    let mut random = Random(seed * 0x9E37_79B9 + 1);
    (0..count)
        .map(|_| {
            let lower = random.below(times) as usize;
            let upper = lower + 1 + random.below(times / 2 + 1) as usize;
            Interval { lower, upper, size: (1 + random.below(sizes)) * quantum }
        })
        .collect()
}

/// Least height over all orders of placing at the lowest free offset, which contains an optimum.
fn least_height(intervals: &[Interval]) -> u64 {
    fn place(intervals: &[Interval], offsets: &mut Vec<Option<u64>>, height: u64, best: &mut u64) {
        if height >= *best {
            return;
        }
        let Some(_) = offsets.iter().position(Option::is_none) else {
            *best = height;
            return;
        };
        for i in 0..intervals.len() {
            if offsets[i].is_some() {
                continue;
            }
            let mut starts = vec![0];
            let met: Vec<usize> = (0..intervals.len())
                .filter(|&j| offsets[j].is_some())
                .filter(|&j| intervals[i].lower < intervals[j].upper && intervals[j].lower < intervals[i].upper)
                .collect();
            starts.extend(met.iter().map(|&j| offsets[j].expect("placed") + intervals[j].size));
            starts.sort_unstable();
            let free = |start: u64| {
                met.iter().all(|&j| {
                    let other = offsets[j].expect("placed");
                    start >= other + intervals[j].size || other >= start + intervals[i].size
                })
            };
            let start = starts.into_iter().find(|&s| free(s)).expect("the top is free");
            offsets[i] = Some(start);
            place(intervals, offsets, height.max(start + intervals[i].size), best);
            offsets[i] = None;
        }
    }
    let mut best = u64::MAX;
    place(intervals, &mut vec![None; intervals.len()], 0, &mut best);
    best
}

#[test]
fn random_packings_are_valid_and_aligned() {
    for seed in 1..60 {
        let intervals = random(seed, 5 + seed as usize * 3, 12 + seed, 40, 64);
        let packing = pack(&intervals);
        assert!(is_valid(&intervals, &packing), "seed {seed}");
        assert_eq!(packing.load, load(&intervals));
        assert!(packing.height >= packing.lower_bound && packing.lower_bound >= packing.load);
        assert!(packing.offsets.iter().all(|offset| offset % 64 == 0));
        assert_eq!(packing, pack(&intervals), "the same twice");
    }
}

#[test]
fn small_packings_are_optimal() {
    for seed in 1..150 {
        let intervals = random(seed, 6, 7, 5, 1);
        let packing = pack(&intervals);
        assert!(packing.proved, "seed {seed}: {intervals:?} {packing:?}");
        assert_eq!(packing.height, least_height(&intervals), "seed {seed}: {intervals:?}");
    }
}

#[test]
fn skyline_is_the_canonical_greedy() {
    for seed in 1..80 {
        let intervals = random(seed, 30, 20, 9, 1);
        let instance = Instance::of(&intervals);
        for ranking in rankings(&instance) {
            let fast = skyline::Skyline::new(&instance).pack(&ranking);
            // The definition: of all items left, the one with the lowest possible offset, ties by rank.
            let mut sky = vec![0u64; instance.sections];
            let mut slow = vec![0u64; intervals.len()];
            let mut left = ranking.clone();
            while !left.is_empty() {
                let offset = |item: usize| {
                    let (lower, upper, _) = instance.items[item];
                    sky[lower..upper].iter().copied().max().expect("lives are not empty")
                };
                let at = (0..left.len()).min_by_key(|&at| (offset(left[at]), at)).expect("something is left");
                let item = left.remove(at);
                slow[item] = offset(item);
                let (lower, upper, size) = instance.items[item];
                sky[lower..upper].fill(slow[item] + size);
            }
            assert_eq!(fast, slow, "seed {seed}");
        }
    }
}

#[test]
fn nothing_needs_nothing() {
    assert_eq!(pack(&[]), Packing { offsets: vec![], height: 0, load: 0, lower_bound: 0, proved: true });
    let empty = Interval { lower: 3, upper: 3, size: 9 };
    let one = Interval { lower: 0, upper: 1, size: 7 };
    let packing = pack(&[empty, one, Interval { size: 0, ..one }]);
    assert_eq!((packing.offsets, packing.height, packing.proved), (vec![0, 0, 0], 7, true));
}

#[test]
fn large_instances_stay_near_their_load() {
    let intervals = random(7, 3_000, 1_500, 1_000, 64);
    let packing = pack(&intervals);
    assert!(packing.height as f64 <= packing.load as f64 * 1.02, "{} over {}", packing.height, packing.load);
}
