//! The abstract memory: for each space, which bytes hold which value.
//!
//! A fact says that a region holds the bytes of a value that belong there. Facts whose hulls meet are kept in one
//! *cluster*; clusters are disjoint intervals in a `BTreeMap` by their start, so that finding what a read or write
//! meets costs a logarithm and the few facts of its clusters. Everything that is done here can only lose facts that
//! hold, never invent one:
//!
//! - [`Memory::kill`] removes from every fact the bytes that a write may touch. Where the two are not proven disjoint, a
//!   fact that is an interval keeps what lies outside the hull of the write, and any other goes.
//! - [`Memory::define`] adds a fact. Facts of one value never overlap, so when their sizes add up to the length of
//!   their common hull they fill it, and they become one interval (the parts of a concatenation, all written).
//! - [`Memory::rename`] turns the facts of a value into those of its successor.

use std::collections::BTreeMap;

use super::region::{Region, union_contains};
use crate::executable::Space;

/// Runs of regions and pairs of facts that one check may look at one by one: far more than a real plan needs, few
/// enough that a hostile one is refused soon.
const BUDGET: u64 = 1 << 22;

#[derive(Clone, Debug)]
struct Fact {
    region: Region,
    value: u32,
}

#[derive(Debug)]
struct Cluster {
    end: u64,
    facts: Vec<Fact>,
}

/// Which bytes hold which value.
pub(super) struct Memory {
    spaces: BTreeMap<Space, BTreeMap<u64, Cluster>>,
    budget: u64,
}

impl Memory {
    pub fn new() -> Memory {
        Memory { spaces: BTreeMap::new(), budget: BUDGET }
    }

    /// Removes and returns the facts of every cluster that meets `low..high`.
    fn take(&mut self, space: Space, low: u64, high: u64) -> Vec<Fact> {
        let Some(clusters) = self.spaces.get_mut(&space) else { return Vec::new() };
        let mut taken = Vec::new();
        while let Some((&start, cluster)) = clusters.range(..high).next_back() {
            if cluster.end <= low {
                break;
            }
            let cluster = clusters.remove(&start).expect("the cluster was just found");
            self.budget = self.budget.saturating_sub(cluster.facts.len() as u64);
            taken.extend(cluster.facts);
        }
        taken
    }

    /// Puts facts back, joined with the clusters they meet.
    fn put(&mut self, space: Space, mut facts: Vec<Fact>) {
        if facts.len() > 1 {
            facts.sort_by_key(|fact| fact.region.low);
        }
        let mut facts = facts.into_iter().peekable();
        while let Some(first) = facts.next() {
            let mut start = first.region.low;
            let mut cluster = Cluster { end: first.region.high(), facts: vec![first] };
            while let Some(next) = facts.next_if(|fact| fact.region.low < cluster.end) {
                cluster.end = cluster.end.max(next.region.high());
                cluster.facts.push(next);
            }
            let clusters = self.spaces.entry(space).or_default();
            while let Some((&other, met)) = clusters.range(..cluster.end).next_back() {
                if met.end <= start {
                    break;
                }
                let met = clusters.remove(&other).expect("the cluster was just found");
                start = start.min(other);
                cluster.end = cluster.end.max(met.end);
                cluster.facts.extend(met.facts);
            }
            clusters.insert(start, cluster);
        }
    }

    /// Facts of clusters that meet the hull of `region`.
    fn near(&self, space: Space, region: &Region) -> impl Iterator<Item = &Fact> {
        let (low, high) = (region.low, region.high());
        self.spaces
            .get(&space)
            .into_iter()
            .flat_map(move |clusters| clusters.range(..high).rev().take_while(move |(_, cluster)| cluster.end > low))
            .flat_map(|(_, cluster)| &cluster.facts)
    }

    /// Whether every byte of `region` is known to hold `value`.
    pub fn holds(&mut self, space: Space, region: &Region, frame: u64, value: u32) -> bool {
        let mut budget = self.budget;
        let mut parts: Vec<&Region> = Vec::new();
        let mut found = false;
        for fact in self.near(space, region) {
            budget = budget.saturating_sub(1);
            if fact.value != value || !fact.region.hulls_meet(region) {
                continue;
            }
            if budget > 0 && fact.region.contains(region, frame, &mut budget) {
                found = true;
                break;
            }
            parts.push(&fact.region);
        }
        found = found || (parts.len() > 1 && union_contains(&parts, region, &mut budget));
        self.budget = budget;
        found
    }

    /// Adds a region to those of a value that were written; `false` when some byte of it may have been written before.
    pub fn write_once(&mut self, written: &mut Vec<Region>, region: &Region, frame: u64) -> bool {
        self.budget = self.budget.saturating_sub(written.len() as u64);
        let fresh = written.iter().all(|part| part.is_disjoint(region, frame, &mut self.budget));
        written.push(region.clone());
        join(written);
        fresh
    }

    /// The bytes of `region` have been overwritten, and what they held is unknown. Facts of `spared` stay: they tell of
    /// the value that is being written.
    pub fn kill(&mut self, space: Space, region: &Region, frame: u64, spared: Option<u32>) {
        let (low, high) = (region.low, region.high());
        let facts = self.take(space, low, high);
        let mut kept = Vec::with_capacity(facts.len());
        for fact in facts {
            let (fact_low, fact_high) = (fact.region.low, fact.region.high());
            // Rows between the columns of a write are beside it, though they lie in its hull.
            let is_apart = !fact.region.hulls_meet(region)
                || !region.is_interval() && fact.region.is_disjoint(region, frame, &mut self.budget);
            if Some(fact.value) == spared || is_apart {
                kept.push(fact);
            } else if fact.region.is_interval() {
                if fact_low < low {
                    kept.push(Fact { region: Region::interval(fact_low, low), value: fact.value });
                }
                if high < fact_high {
                    kept.push(Fact { region: Region::interval(high, fact_high), value: fact.value });
                }
            } else if fact.region.is_disjoint(region, frame, &mut self.budget) {
                kept.push(fact);
            }
        }
        self.put(space, kept);
    }

    /// `region` holds `value` from now on. The caller has killed the region and made sure that no fact of the value
    /// meets it.
    pub fn define(&mut self, space: Space, region: Region, value: u32) {
        // Facts of the value that only touch the new one are to be joined with it as well.
        let facts = self.take(space, region.low.saturating_sub(1), region.high().saturating_add(1));
        let (own, mut others): (Vec<Fact>, Vec<Fact>) = facts.into_iter().partition(|fact| fact.value == value);
        let mut parts: Vec<Region> = own.into_iter().map(|fact| fact.region).chain([region]).collect();
        join(&mut parts);
        others.extend(parts.into_iter().map(|region| Fact { region, value }));
        self.put(space, others);
    }

    /// What is known of `from` inside the hull of `place` is known of `to` instead.
    pub fn rename(&mut self, space: Space, place: &Region, from: u32, to: u32) {
        let Some(clusters) = self.spaces.get_mut(&space) else { return };
        let (low, high) = (place.low, place.high());
        let met = clusters.range_mut(..high).rev().take_while(|(_, cluster)| cluster.end > low);
        for fact in met.flat_map(|(_, cluster)| &mut cluster.facts) {
            self.budget = self.budget.saturating_sub(1);
            if fact.value == from {
                fact.value = to;
            }
        }
    }

    /// Whether the check has looked at more than any real plan needs; answers are then all "no".
    pub fn is_exhausted(&self) -> bool {
        self.budget == 0
    }
}

/// Disjoint regions become one interval when they fill their common hull.
fn join(parts: &mut Vec<Region>) {
    let hull = parts.iter().map(|part| (part.low, part.high())).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    if let Some((low, high)) = hull
        && parts.len() > 1
        && parts.iter().map(Region::bytes).sum::<u64>() == high - low
    {
        *parts = vec![Region::interval(low, high)];
    }
}

#[cfg(test)]
mod tests {
    use super::super::region::Touched;
    use super::*;
    use crate::types::Layout;

    const A: Space = Space::Arena;

    fn columns(first: i64, count: usize) -> Region {
        let layout = Layout { offset: first, shape: vec![100, count], strides: vec![12, 1] };
        match Region::of(0, 4, &layout) {
            Touched::Bytes { region, .. } => region,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parts_become_the_whole() {
        let mut memory = Memory::new();
        let whole = Region::interval(0, 4800);
        let mut written = Vec::new();
        for (first, count) in [(8, 4), (0, 3), (3, 5)] {
            assert!(!memory.holds(A, &whole, 0, 7));
            assert!(memory.write_once(&mut written, &columns(first, count), 0));
            memory.kill(A, &columns(first, count), 0, None);
            memory.define(A, columns(first, count), 7);
        }
        assert_eq!(written, std::slice::from_ref(&whole));
        assert!(!memory.write_once(&mut written, &columns(4, 1), 0));
        assert!(memory.holds(A, &whole, 0, 7));
        assert!(!memory.holds(A, &whole, 0, 8));
        assert_eq!(memory.spaces[&A].len(), 1);
    }

    #[test]
    fn kill_keeps_the_rest_of_an_interval() {
        let mut memory = Memory::new();
        memory.define(A, Region::interval(0, 100), 1);
        memory.kill(A, &Region::interval(40, 60), 0, None);
        memory.define(A, Region::interval(40, 60), 2);
        assert!(memory.holds(A, &Region::interval(0, 40), 0, 1));
        assert!(memory.holds(A, &Region::interval(60, 100), 0, 1));
        assert!(!memory.holds(A, &Region::interval(39, 41), 0, 1));
        assert!(memory.holds(A, &Region::interval(40, 60), 0, 2));
        memory.rename(A, &Region::interval(0, 100), 1, 3);
        assert!(memory.holds(A, &Region::interval(60, 100), 0, 3));
        assert!(!memory.holds(A, &Region::interval(60, 100), 0, 1));
    }

    /// The border of a padded value, written as columns after the rows between them.
    #[test]
    fn kill_of_columns_spares_the_rows_between() {
        let mut memory = Memory::new();
        memory.define(A, Region::interval(4, 48), 1);
        memory.define(A, Region::interval(52, 96), 1);
        memory.kill(A, &columns(0, 1), 0, None);
        assert!(memory.holds(A, &Region::interval(4, 48), 0, 1) && memory.holds(A, &Region::interval(52, 96), 0, 1));
        memory.kill(A, &columns(3, 1), 0, None);
        assert!(!memory.holds(A, &Region::interval(4, 48), 0, 1));
    }

    #[test]
    fn kill_of_columns_spares_other_columns() {
        let mut memory = Memory::new();
        memory.define(A, columns(0, 4), 1);
        memory.define(A, columns(4, 4), 2);
        memory.kill(A, &columns(8, 4), 0, None);
        assert!(memory.holds(A, &columns(0, 4), 0, 1) && memory.holds(A, &columns(5, 2), 0, 2));
        memory.kill(A, &columns(3, 2), 0, None);
        assert!(!memory.holds(A, &columns(0, 1), 0, 1) && !memory.holds(A, &columns(7, 1), 0, 2));
    }
}
