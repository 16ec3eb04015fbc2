//! One exact search: can everything be placed below a capacity?
//!
//! A state is what is left to place, and for each item the lowest offset at which what is placed lets it lie. The floor
//! of a section is the least of these among the items of that section; a *valley* is a stretch of sections of one floor,
//! lower than what is beside it. In a packing whose sum of offsets is the least, an item lies at offset 0 or upon
//! another one. So either something begins on the floor of a valley, or nothing begins there below its lower wall, for
//! whatever begins between has to lie upon something that does. Any valley will do; the one whose sections have the
//! least room to waste is asked, what is the *first* item on the floor, from the left? Left of it nothing begins below
//! its top and the left wall, so every choice says at once what it wastes. What is pruned is never a packing with the
//! least sum of offsets:
//!
//! - an item that leaves, below its top and to its left, room for one that could lie there, for then that one could be
//!   moved down; the same when nothing begins on the floor;
//! - of twins, items of the same life and size, the second before the first, for they could be exchanged;
//! - a state in which the items left in one section, each not below its lowest offset, do not end below the capacity
//!   even when they are stacked without regard to other sections (one machine with release times: by release is the best
//!   order, Jackson 1955);
//! - a state that is known to fail ([`super::failed`]). A state does not depend on how it was reached.
//!
//! Where nothing that is left crosses a border between sections, the two sides are searched one after the other: when
//! one fails, nothing on the other can help.
//!
//! MiniMalloc (Moffitt, 2023; doi 10.1145/3623278.3624752) showed that canonical packings can be searched, bounded by
//! section and decomposed; it takes all items in the order of their offsets. The branching by valleys is ours.

use super::failed::{Failed, Key, mark};
use super::instance::{Instance, Item};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The offsets are there.
    Found,
    /// There are none.
    Exhausted,
    /// The budget is used up, or somebody else was faster.
    GivenUp,
}

/// Which of the items that can be the first in a valley is tried first; equals by the ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preference {
    Ranking,
    /// Those that reach the sides of the valley.
    Sides,
    /// The same, and those whose tops are level with what is beside.
    Level,
}

const NONE: u32 = u32::MAX;

/// A stretch of sections of one floor, lower than what is beside it.
#[derive(Clone, Copy)]
struct Valley {
    start: usize,
    end: usize,
    floor: u64,
    /// The floors to the left and to the right.
    walls: (u64, u64),
}

/// Searches of one instance under one ranking. What one learns about states that fail the next one uses.
pub(super) struct Search<'i> {
    instance: &'i Instance,
    preference: Preference,
    ranking: Vec<usize>,
    /// By rank, as are all the following.
    items: Vec<Item>,
    /// The twin ranked just before, or `NONE`.
    twins: Vec<u32>,
    /// Items that meet each item in time, and items of each section.
    meets: Vec<Vec<u32>>,
    inside: Vec<Vec<u32>>,
    /// From where on no obstacle is in the way of each item.
    clear_from: Vec<u64>,
    /// Lowest offset of each item, given what is placed.
    lowest: Vec<u64>,
    placed: Vec<bool>,
    offsets: Vec<u64>,
    /// Lowest offsets before they were raised, and for each decision its item, or `NONE`, and how long this list was.
    trail: Vec<(u32, u64)>,
    log: Vec<(u32, usize)>,
    /// For each border before a section: items left that cross it.
    crossing: Vec<u32>,
    /// Sum of the sizes left in each section.
    remaining: Vec<u64>,
    /// Items left in each part that is being searched, part after part, and the choices in each state on the way.
    pool: Vec<u32>,
    choices: Vec<u32>,
    /// For each section the floor, and the end of what is stacked in it.
    floors: Vec<u64>,
    tops: Vec<u64>,
    failed: Failed,
    capacity: u64,
    budget: u64,
}

impl<'i> Search<'i> {
    /// `ranking`: items, first to last.
    pub fn new(instance: &'i Instance, ranking: Vec<usize>, preference: Preference) -> Search<'i> {
        let items: Vec<Item> = ranking.iter().map(|&item| instance.items[item]).collect();
        let count = items.len();
        let mut inside = vec![Vec::new(); instance.sections];
        for (rank, item) in items.iter().enumerate() {
            inside[item.lower..item.upper].iter_mut().for_each(|ranks| ranks.push(rank as u32));
        }
        let meets = |rank: usize| {
            let Item { lower, upper, .. } = items[rank];
            let meets = |other: &usize| *other != rank && items[*other].lower < upper && lower < items[*other].upper;
            (0..count).filter(meets).map(|other| other as u32).collect()
        };
        let twin = |rank: usize| (0..rank).rev().find(|&other| items[other] == items[rank]);
        Search {
            instance,
            preference,
            twins: (0..count).map(|rank| twin(rank).map_or(NONE, |other| other as u32)).collect(),
            meets: (0..count).map(meets).collect(),
            inside,
            clear_from: items.iter().map(|item| instance.obstacles.clear_from(item)).collect(),
            lowest: vec![0; count],
            placed: vec![false; count],
            offsets: vec![0; count],
            trail: Vec::new(),
            log: Vec::new(),
            crossing: vec![0; instance.sections + 1],
            remaining: vec![0; instance.sections],
            pool: Vec::new(),
            choices: Vec::new(),
            floors: vec![0; instance.sections],
            tops: vec![0; instance.sections],
            failed: Failed::new(),
            capacity: 0,
            budget: 0,
            ranking,
            items,
        }
    }

    /// Searches below `capacity`, through at most `budget` states. What came of it, and how many states were seen.
    /// `stop` is asked now and then.
    pub fn run(&mut self, capacity: u64, budget: u64, stop: &dyn Fn() -> bool) -> (Outcome, u64) {
        (self.capacity, self.budget) = (capacity, budget);
        self.trail.clear();
        self.log.clear();
        self.pool.clear();
        self.choices.clear();
        self.placed.fill(false);
        self.crossing.fill(0);
        self.remaining.clone_from(&self.instance.sums);
        for (rank, item) in self.items.iter().enumerate() {
            self.lowest[rank] = self.instance.free_from(item, 0);
            self.crossing[item.lower + 1..item.upper].iter_mut().for_each(|count| *count += 1);
        }
        self.pool.extend(0..self.items.len() as u32);
        let outcome = self.parts(0, self.items.len(), stop);
        (outcome, budget - self.budget)
    }

    /// Drops what was learnt.
    pub fn forget(&mut self) {
        self.failed = Failed::new();
    }

    /// The offsets found, by item of the instance.
    pub fn offsets(&self) -> Vec<u64> {
        let mut offsets = vec![0; self.items.len()];
        for (rank, &item) in self.ranking.iter().enumerate() {
            offsets[item] = self.offsets[rank];
        }
        offsets
    }

    /// Places the items of `pool[from..to]`, part by part, fewest first.
    fn parts(&mut self, from: usize, to: usize, stop: &dyn Fn() -> bool) -> Outcome {
        let items = &self.items;
        self.pool[from..to].sort_unstable_by_key(|&rank| (items[rank as usize].lower, rank));
        let mut parts: Vec<(usize, usize)> = Vec::new();
        let (mut start, mut end) = (from, 0);
        for at in from..to {
            let item = &self.items[self.pool[at] as usize];
            if at > start && item.lower >= end {
                parts.push((start, at));
                start = at;
            }
            end = end.max(item.upper);
        }
        if start < to {
            parts.push((start, to));
        }
        parts.sort_by_key(|&(start, end)| (end - start, start));
        let mark = self.log.len();
        for (start, end) in parts {
            let base = self.pool.len();
            self.pool.extend_from_within(start..end);
            let outcome = self.extend(base, stop);
            self.pool.truncate(base);
            if outcome != Outcome::Found {
                self.take_back(mark);
                return outcome;
            }
        }
        Outcome::Found
    }

    /// Places the items of one part, `pool[from..]`.
    fn extend(&mut self, from: usize, stop: &dyn Fn() -> bool) -> Outcome {
        let to = self.pool.len();
        if from == to {
            return Outcome::Found;
        }
        if self.budget == 0 || (self.budget.is_multiple_of(256) && stop()) {
            return Outcome::GivenUp;
        }
        self.budget -= 1;
        let Some((key, first, end)) = self.bound(from) else { return Outcome::Exhausted };
        if self.failed.knows(key, self.capacity) {
            return Outcome::Exhausted;
        }
        let valley = self.tightest(first, end);
        let base = self.choices.len();
        let may_stay_empty = self.choose(from, &valley);
        let empty = may_stay_empty.then_some(NONE);
        self.choices.extend(empty);
        for at in base..self.choices.len() {
            let outcome = self.attempt(self.choices[at], &valley, from, to, stop);
            if outcome != Outcome::Exhausted {
                return outcome;
            }
        }
        self.choices.truncate(base);
        self.failed.insert(key, self.capacity);
        Outcome::Exhausted
    }

    /// Places `rank` first in the valley, or nothing, and then the rest of `pool[from..to]`.
    fn attempt(&mut self, rank: u32, valley: &Valley, from: usize, to: usize, stop: &dyn Fn() -> bool) -> Outcome {
        let mark = self.log.len();
        let splits = if rank == NONE {
            self.log.push((NONE, self.trail.len()));
            let sections = valley.start..valley.end;
            let height = self.unused(sections.clone(), valley, valley.walls.0.min(valley.walls.1));
            self.raise(sections, height);
            false
        } else if let Some(splits) = self.place(rank, valley) {
            splits
        } else {
            return Outcome::Exhausted;
        };
        let base = self.pool.len();
        for at in from..to {
            let other = self.pool[at];
            if other != rank {
                self.pool.push(other);
            }
        }
        let outcome = if splits { self.parts(base, self.pool.len(), stop) } else { self.extend(base, stop) };
        self.pool.truncate(base);
        if outcome != Outcome::Found {
            self.take_back(mark);
        }
        outcome
    }

    /// The key of a part and its sections; `None` if the part does not fit. Sorts the part by lowest offset and computes
    /// the floors.
    fn bound(&mut self, from: usize) -> Option<(Key, usize, usize)> {
        let lowest = &self.lowest;
        self.pool[from..].sort_unstable_by_key(|&rank| (lowest[rank as usize], rank));
        let (mut key, mut first, mut end) = (0, usize::MAX, 0);
        for &rank in &self.pool[from..] {
            let item = &self.items[rank as usize];
            key ^= mark(rank, self.lowest[rank as usize]);
            first = first.min(item.lower);
            end = end.max(item.upper);
        }
        self.tops[first..end].fill(0);
        for &rank in &self.pool[from..] {
            let (item, lowest) = (&self.items[rank as usize], self.lowest[rank as usize]);
            let mut highest = 0;
            for section in item.lower..item.upper {
                let top = &mut self.tops[section];
                if *top == 0 {
                    self.floors[section] = lowest;
                }
                *top = (*top).max(lowest) + item.size;
                highest = highest.max(*top);
            }
            if highest > self.capacity {
                return None;
            }
        }
        Some((key, first, end))
    }

    /// The valley with the section that has the least room to waste; of equals the first.
    fn tightest(&self, first: usize, end: usize) -> Valley {
        let mut best: Option<(u64, Valley)> = None;
        let mut start = first;
        while start < end {
            let floor = self.floors[start];
            let stop = (start..end).find(|&section| self.floors[section] != floor).unwrap_or(end);
            let left = if start > first { self.floors[start - 1] } else { u64::MAX };
            let right = if stop < end { self.floors[stop] } else { u64::MAX };
            if left > floor && right > floor {
                let most = self.remaining[start..stop].iter().copied().max().unwrap_or(0);
                let room = self.capacity - floor - most;
                if best.as_ref().is_none_or(|(least, _)| room < *least) {
                    best = Some((room, Valley { start, end: stop, floor, walls: (left, right) }));
                }
            }
            start = stop;
        }
        best.expect("the lowest stretch is a valley").1
    }

    /// Pushes the items that can be the first one on the floor of a valley, the preferred first. Whether it is also
    /// possible that nothing begins there.
    fn choose(&mut self, from: usize, valley: &Valley) -> bool {
        let base = self.choices.len();
        for &rank in &self.pool[from..] {
            let item = &self.items[rank as usize];
            let inside = item.lower >= valley.start && item.upper <= valley.end;
            if inside && self.lowest[rank as usize] == valley.floor {
                self.choices.push(rank);
            }
        }
        let (items, placed, twins) = (&self.items, &self.placed, &self.twins);
        let candidates = self.choices[base..].to_vec();
        let fits = |rank: u32, height: u64| items[rank as usize].size <= height - valley.floor;
        let wall = self.unused(valley.start..valley.end, valley, valley.walls.0.min(valley.walls.1));
        let may_stay_empty = wall < u64::MAX && !candidates.iter().any(|&rank| fits(rank, wall));
        let possible = |&rank: &u32| {
            let item = &items[rank as usize];
            let twin = twins[rank as usize];
            let height = self.unused(valley.start..item.lower, valley, valley.walls.0.min(valley.floor + item.size));
            let before = |other: u32| items[other as usize].upper <= item.lower;
            (twin == NONE || placed[twin as usize])
                && !candidates.iter().any(|&other| before(other) && fits(other, height))
        };
        let chosen: Vec<u32> = candidates.iter().copied().filter(possible).collect();
        self.choices.truncate(base);
        self.choices.extend(chosen);
        let apart = |rank: u32| {
            let item = &items[rank as usize];
            let top = valley.floor + item.size;
            let (left, right) = (item.lower != valley.start, item.upper != valley.end);
            let sides = u8::from(left) + u8::from(right);
            let level = u8::from(left || top != valley.walls.0) + u8::from(right || top != valley.walls.1);
            match self.preference {
                Preference::Ranking => 0,
                Preference::Sides => sides,
                Preference::Level => sides + level,
            }
        };
        self.choices[base..].sort_by_key(|&rank| (apart(rank), rank));
        may_stay_empty
    }

    /// Places an item as the first on the floor of its valley, so that nothing before it lies there. Whether a border is
    /// no longer crossed; `None`, and nothing is done, if what is left does not fit above.
    fn place(&mut self, rank: u32, valley: &Valley) -> Option<bool> {
        let item = self.items[rank as usize];
        let top = valley.floor + item.size;
        let left = |lower: usize, upper: usize| self.remaining[lower..upper].iter().copied().max().unwrap_or(0);
        let height = self.unused(valley.start..item.lower, valley, valley.walls.0.min(top));
        let wasted = if valley.start < item.lower { height + left(valley.start, item.lower) } else { 0 };
        if (valley.floor + left(item.lower, item.upper)).max(wasted) > self.capacity {
            return None;
        }
        self.log.push((rank, self.trail.len()));
        self.placed[rank as usize] = true;
        self.offsets[rank as usize] = valley.floor;
        for at in 0..self.meets[rank as usize].len() {
            self.lift(self.meets[rank as usize][at], top);
        }
        self.raise(valley.start..item.lower, height);
        self.remaining[item.lower..item.upper].iter_mut().for_each(|left| *left -= item.size);
        let mut splits = false;
        for count in &mut self.crossing[item.lower + 1..item.upper] {
            *count -= 1;
            splits |= *count == 0;
        }
        Some(splits)
    }

    /// Below which offset nothing begins in these sections of a valley, if nothing begins on its floor there: `height`,
    /// or where an obstacle has the lowest place of an item lie between.
    fn unused(&self, sections: std::ops::Range<usize>, valley: &Valley, height: u64) -> u64 {
        if self.instance.obstacles.is_empty() {
            return height;
        }
        let ranks = sections.clone().flat_map(|section| &self.inside[section]);
        let between = ranks.filter(|&&rank| {
            let item = &self.items[rank as usize];
            let inside = item.lower >= sections.start && item.upper <= sections.end;
            inside && !self.placed[rank as usize] && self.lowest[rank as usize] > valley.floor
        });
        between.map(|&rank| self.lowest[rank as usize]).min().unwrap_or(height).min(height)
    }

    /// Nothing in these sections lies below `height`.
    fn raise(&mut self, sections: std::ops::Range<usize>, height: u64) {
        for section in sections {
            for at in 0..self.inside[section].len() {
                self.lift(self.inside[section][at], height);
            }
        }
    }

    /// An item that is left does not lie below `floor`.
    fn lift(&mut self, rank: u32, floor: u64) {
        let lowest = self.lowest[rank as usize];
        if lowest < floor && !self.placed[rank as usize] {
            self.trail.push((rank, lowest));
            self.lowest[rank as usize] = match self.instance.obstacles.is_empty() {
                true => floor,
                false if floor >= self.clear_from[rank as usize] => floor,
                false => self.instance.free_from(&self.items[rank as usize], floor),
            };
        }
    }

    /// Takes back what was decided since the log had this length.
    fn take_back(&mut self, mark: usize) {
        while self.log.len() > mark {
            let (rank, trail) = self.log.pop().expect("the log is longer");
            for (other, lowest) in self.trail.drain(trail..).rev() {
                self.lowest[other as usize] = lowest;
            }
            if rank == NONE {
                continue;
            }
            let item = &self.items[rank as usize];
            self.placed[rank as usize] = false;
            self.remaining[item.lower..item.upper].iter_mut().for_each(|left| *left += item.size);
            self.crossing[item.lower + 1..item.upper].iter_mut().for_each(|count| *count += 1);
        }
    }
}
