//! Packings against the obvious quadratic check, against brute force, and against packings that were cut from a block.

use super::*;

/// Why the packing is not one, looked at pair by pair.
fn fault(intervals: &[Interval], packing: &Packing, align: u64) -> Option<String> {
    let size = |i: usize| match intervals[i].offset {
        None => intervals[i].size.next_multiple_of(align),
        Some(_) => intervals[i].size,
    };
    let top = |i: usize| packing.offsets[i] + size(i);
    for i in (0..intervals.len()).filter(|&i| !intervals[i].is_empty()) {
        if top(i) > packing.height {
            return Some(format!("{i} is higher than {}", packing.height));
        }
        match intervals[i].offset {
            Some(offset) if offset != packing.offsets[i] => return Some(format!("{i} was moved")),
            None if !packing.offsets[i].is_multiple_of(align) => return Some(format!("{i} is not aligned")),
            _ => {}
        }
        for j in (0..i).filter(|&j| !intervals[j].is_empty()) {
            let (a, b) = (intervals[i], intervals[j]);
            let apart = a.lower >= b.upper || b.lower >= a.upper;
            if !apart && packing.offsets[i] < top(j) && packing.offsets[j] < top(i) {
                return Some(format!("{i} and {j} overlap"));
            }
        }
    }
    None
}

fn lowest(intervals: &[Interval]) -> Packing {
    pack(intervals, &PackOptions::default()).expect("the bytes are few")
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
            Interval { lower, upper, size: (1 + random.below(sizes)) * quantum, offset: None }
        })
        .collect()
}

/// A block of `height` by `times`, cut by straight cuts into pieces: a packing of them that wastes nothing.
fn cut(seed: u64, count: usize, times: usize, height: u64) -> Vec<Interval> {
    let mut random = Random(seed * 0x9E37_79B9 + 1);
    let mut pieces = vec![(0, times, 0, height)];
    for _ in 0..20 * count {
        let at = random.below(pieces.len() as u64) as usize;
        let (lower, upper, bottom, top) = pieces[at];
        if pieces.len() == count {
            break;
        } else if random.below(2) == 0 && upper - lower > 1 {
            let middle = lower + 1 + random.below((upper - lower - 1) as u64) as usize;
            pieces[at].1 = middle;
            pieces.push((middle, upper, bottom, top));
        } else if top - bottom > 1 {
            let middle = bottom + 1 + random.below(top - bottom - 1);
            pieces[at].3 = middle;
            pieces.push((lower, upper, middle, top));
        }
    }
    let interval = |(lower, upper, bottom, top)| Interval { lower, upper, size: top - bottom, offset: Some(bottom) };
    pieces.into_iter().map(interval).collect()
}

/// Least height over all orders of placing at the lowest free offset, which contains an optimum.
fn least_height(intervals: &[Interval]) -> u64 {
    fn place(intervals: &[Interval], offsets: &mut Vec<Option<u64>>, height: u64, best: &mut u64) {
        if height >= *best {
            return;
        }
        if offsets.iter().all(Option::is_some) {
            *best = height;
            return;
        }
        for i in 0..intervals.len() {
            if offsets[i].is_some() {
                continue;
            }
            let met: Vec<(u64, u64)> = (0..intervals.len())
                .filter(|&j| intervals[i].lower < intervals[j].upper && intervals[j].lower < intervals[i].upper)
                .filter_map(|j| Some((offsets[j]?, offsets[j]? + intervals[j].size)))
                .collect();
            let free = |&start: &u64| met.iter().all(|&(low, high)| start >= high || low >= start + intervals[i].size);
            let mut starts: Vec<u64> = met.iter().map(|&(_, high)| high).chain([0]).collect();
            starts.sort_unstable();
            let start = starts.into_iter().find(free).expect("the top is free");
            offsets[i] = Some(start);
            place(intervals, offsets, height.max(start + intervals[i].size), best);
            offsets[i] = None;
        }
    }
    let mut best = u64::MAX;
    let mut offsets: Vec<Option<u64>> = intervals.iter().map(|interval| interval.offset).collect();
    let fixed = intervals.iter().filter_map(|interval| Some(interval.offset? + interval.size)).max().unwrap_or(0);
    place(intervals, &mut offsets, fixed, &mut best);
    best
}

/// The packing that the exact search alone finds and proves.
fn exactly(intervals: &[Interval], capacity: Option<u64>) -> exact::Raced {
    let instance = Instance::of(intervals, 1).expect("the bytes are few");
    let height = 1 + intervals.iter().map(|interval| interval.offset.unwrap_or(0) + interval.size).sum::<u64>();
    let raced = exact::race(&instance, height, capacity, 1_000_000);
    if let Some(offsets) = &raced.offsets {
        assert!(instance.is_valid(offsets));
    }
    raced
}

/// Gives some of them the offsets of a packing, so that there is one.
fn fix_some(intervals: &mut [Interval], seed: u64) {
    let packing = lowest(intervals);
    let mut random = Random(seed * 77 + 5);
    for (interval, offset) in intervals.iter_mut().zip(packing.offsets) {
        // Sometimes higher than it need be.
        interval.offset = (random.below(3) == 0).then_some(offset);
    }
}

#[test]
fn random_packings_are_valid_and_aligned() {
    for seed in 1..60 {
        let mut intervals = random(seed, 5 + seed as usize * 3, 12 + seed, 40 * 64, 1);
        if seed % 2 == 0 {
            fix_some(&mut intervals, seed);
        }
        let align = [1, 64][seed as usize % 2];
        let options = PackOptions { align, ..PackOptions::default() };
        let packing = pack(&intervals, &options).expect("the bytes are few");
        assert_eq!(fault(&intervals, &packing, align), None, "seed {seed}");
        assert!(packing.height >= packing.lower_bound && packing.lower_bound >= packing.load);
        assert_eq!(packing, pack(&intervals, &options).expect("the bytes are few"), "the same twice");
    }
}

#[test]
fn small_packings_are_optimal() {
    for seed in 1..300 {
        let mut intervals = random(seed, 6, 7, 5, 1);
        if seed % 3 == 0 {
            fix_some(&mut intervals, seed);
        }
        let packing = lowest(&intervals);
        assert!(packing.proved, "seed {seed}: {intervals:?} {packing:?}");
        assert_eq!(packing.height, least_height(&intervals), "seed {seed}: {intervals:?}");
    }
}

#[test]
fn the_exact_search_alone_is_exact() {
    for seed in 1..2000 {
        let mut intervals = random(seed, 7, 9, 6, 1);
        if seed % 3 == 0 {
            fix_some(&mut intervals, seed);
            for interval in intervals.iter_mut().take(2).filter(|interval| interval.offset.is_some()) {
                // In the air, so that there is room below and above.
                interval.offset = interval.offset.map(|offset| offset + 9);
            }
            if pack(&intervals, &PackOptions::default()).is_err() {
                continue;
            }
        }
        let least = least_height(&intervals);
        let raced = exactly(&intervals, None);
        assert_eq!(raced.lower_bound, least, "seed {seed}: {intervals:?}");
        let below = exactly(&intervals, Some(least - 1));
        assert!(below.offsets.is_none() && below.lower_bound >= least, "seed {seed}: {intervals:?}");
        assert!(exactly(&intervals, Some(least)).offsets.is_some(), "seed {seed}: {intervals:?}");
    }
}

/// What is pruned is never the last packing there is: a block cut into pieces has one, and it wastes nothing.
#[test]
fn no_cut_block_is_called_impossible() {
    for seed in 1..400 {
        let (times, height) = (4 + seed as usize % 23, 8 + seed % 57);
        let mut pieces = cut(seed, 8 + seed as usize % 40, times, height);
        let mut random = Random(seed * 13 + 3);
        for piece in &mut pieces {
            if seed % 4 > 0 || random.below(6) > 0 {
                piece.offset = None;
            }
        }
        let raced = exactly(&pieces, None);
        assert_eq!(raced.lower_bound, height, "seed {seed}: {pieces:?}");
        let found = raced.offsets.expect("the search ends");
        assert_eq!(Instance::of(&pieces, 1).expect("the bytes are few").height(&found), height, "seed {seed}");
    }
}

#[test]
fn a_capacity_is_enough_or_proved_impossible() {
    let intervals = random(11, 40, 30, 50, 1);
    let best = lowest(&intervals);
    assert!(best.proved);
    let within = |capacity| {
        pack(&intervals, &PackOptions { capacity: Some(capacity), ..PackOptions::default() })
            .expect("the bytes are few")
    };
    assert!(within(best.height).height <= best.height);
    assert!(within(best.height * 2).height <= best.height * 2);
    let below = within(best.height - 1);
    assert!(below.lower_bound >= best.height && below.height >= best.height);
}

#[test]
fn what_is_given_must_be_possible() {
    let at = |lower, upper, size, offset| Interval { lower, upper, size, offset };
    let options = PackOptions::default();
    let refused = |intervals: &[Interval]| pack(intervals, &options).expect_err("it is impossible");
    assert_eq!(refused(&[at(0, 3, 10, Some(4)), at(5, 6, 1, None), at(2, 4, 1, Some(13))]), PackError::Overlap(0, 2));
    assert!(pack(&[at(0, 3, 10, Some(4)), at(3, 4, 1, Some(13))], &options).is_ok());
    assert_eq!(refused(&[at(0, 1, u64::MAX, None)]), PackError::TooLarge);
    assert_eq!(refused(&[at(0, 1, 1, Some(u64::MAX))]), PackError::TooLarge);
    assert_eq!(refused(&[at(0, 1, 1 << 61, None), at(4, 5, (1 << 61) + 1, None)]), PackError::TooLarge);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let intervals = random(5, 700, 300, 900, 64);
    let hard = cut(9, 120, 40, 1000).iter().map(|piece| Interval { offset: None, ..*piece }).collect::<Vec<_>>();
    for intervals in [intervals, hard] {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| lowest(&intervals))
        };
        assert_eq!(with(1), with(4));
    }
}

#[test]
fn skyline_is_the_canonical_greedy() {
    for seed in 1..80 {
        let mut intervals = random(seed, 30, 20, 9, 1);
        if seed % 2 == 0 {
            fix_some(&mut intervals, seed);
        }
        let instance = Instance::of(&intervals, 1).expect("the bytes are few");
        for ranking in rankings::for_greedy(&instance) {
            let fast = skyline::Skyline::new(&instance).pack(&ranking);
            // The definition: of all items left, the one with the lowest possible offset, ties by rank.
            let mut sky = vec![0u64; instance.sections];
            let mut slow = vec![0u64; instance.items.len()];
            let mut left = ranking.clone();
            while !left.is_empty() {
                let offset = |item: usize| {
                    let instance::Item { lower, upper, .. } = instance.items[item];
                    let above = sky[lower..upper].iter().copied().max().expect("lives are not empty");
                    instance.free_from(&instance.items[item], above)
                };
                let at = (0..left.len()).min_by_key(|&at| (offset(left[at]), at)).expect("something is left");
                let item = left.remove(at);
                slow[item] = offset(item);
                let instance::Item { lower, upper, size } = instance.items[item];
                sky[lower..upper].fill(slow[item] + size);
            }
            assert_eq!(fast, slow, "seed {seed}");
        }
    }
}

#[test]
fn nothing_needs_nothing() {
    let nothing = Packing { offsets: vec![], height: 0, load: 0, lower_bound: 0, proved: true, nodes: 0 };
    assert_eq!(lowest(&[]), nothing);
    let empty = Interval { lower: 3, upper: 3, size: 9, offset: None };
    let one = Interval { lower: 0, upper: 1, size: 7, offset: None };
    let packing = lowest(&[empty, one, Interval { size: 0, offset: Some(5), ..one }]);
    assert_eq!((packing.offsets, packing.height, packing.proved), (vec![0, 0, 5], 7, true));
}

#[test]
fn large_instances_stay_near_their_load() {
    let packing = lowest(&random(7, 3_000, 1_500, 1_000, 64));
    assert!(packing.height as f64 <= packing.load as f64 * 1.02, "{} over {}", packing.height, packing.load);
}

#[test]
fn a_table_keeps_its_lines() {
    let text = "id,size,offset,lower,upper\n\"a, b\",4,,0,5\nc,3,9,2,6\nd,1,,5,5\n";
    let table = csv::read(text).expect("it is right");
    let packing = lowest(&table.intervals());
    let written = String::from_utf8(table.write(&packing.offsets)).expect("it is text");
    assert_eq!(written, "id,size,offset,lower,upper\n\"a, b\",4,0,0,5\nc,3,9,2,6\nd,1,0,5,5\n");
    let again = csv::read(&written).expect("what is written can be read");
    assert_eq!(lowest(&again.intervals()).offsets, packing.offsets);
}

#[test]
fn mistakes_in_a_table_have_a_line() {
    let first = |text: &str| {
        let mistakes = csv::read(text).expect_err("it is wrong");
        mistakes[0].render("f.csv", text)
    };
    for (text, said) in [
        ("", "column \"id\" is missing"),
        ("id,lower,upper\n", "column \"size\" is missing"),
        ("id,lower,upper,size,id\n", "column \"id\" is there twice"),
        ("id,lower,upper,size,hint\n", "there is no column \"hint\""),
        ("id,lower,upper,size\na,1,2\n", "found 3 fields, expected 4"),
        ("id,lower,upper,size\na,1,2,3\n\na,1,2,3\n", "id \"a\" is given twice"),
        ("id,lower,upper,size\na,1,2,-3\n", "size: found \"-3\", expected a whole number, 0 or more"),
        ("id,lower,upper,size\na,1,2,99999999999999999999\n", "size: found"),
        ("id,lower,upper,size\na,3,2,1\n", "the lifetime ends at 2, before it begins at 3"),
        ("id,lower,upper,size\na,0,1,1\nb,\"2,3,4\n", "found 2 fields, expected 4"),
    ] {
        assert!(first(text).contains(said), "{text:?}: {}", first(text));
    }
    assert!(first("id,lower,upper,size\r\na,0,1,1\r\n\r\nb,x,1,1\r\n").contains("f.csv:4:1"));
}
