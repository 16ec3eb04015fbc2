//! The race of exact searches: several rankings by several capacities, with growing budgets.
//!
//! The time a search takes jumps up and down with the capacity and the ranking, so no single choice is any good, and many
//! short searches find more than a few long ones. All rankings search one capacity side by side; then another capacity
//! is tried, now and then for longer. The first ranking in order that finds a packing wins, whatever the threads did, so
//! the result and the count of states do not depend on them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::instance::Instance;
use super::rankings;
use super::search::{Outcome, Search};

/// What came of the race.
pub(super) struct Raced {
    /// A packing below the height there was.
    pub offsets: Option<Vec<u64>>,
    /// No packing is lower.
    pub lower_bound: u64,
    /// States seen by searches that count.
    pub nodes: u64,
}

/// States that the shortest searches may see; four for each item if that is more.
const FIRST_BUDGET: u64 = 1_000;

/// The golden ratio in 64 bits: its multiples fill an interval evenly, whenever one stops.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Tries to pack below `height`: down to `capacity` if there is one, as low as it goes otherwise. Sees about `limit`
/// states.
pub(super) fn race(instance: &Instance, height: u64, capacity: Option<u64>, limit: u64) -> Raced {
    // Without obstacles every offset of a canonical packing is a sum of sizes.
    let quantum = match instance.obstacles.is_empty() {
        true => instance.items.iter().fold(0, |gcd, item| greatest_common_divisor(gcd, item.size)).max(1),
        false => 1,
    };
    let mut raced = Raced { offsets: None, lower_bound: instance.lower_bound, nodes: 0 };
    let mut upper = height;
    let mirrored = instance.mirrored();
    let mut searches: Vec<Search> = rankings::for_search(instance, &mirrored)
        .into_iter()
        .map(|(turned, ranking, preference)| {
            Search::new(if turned { &mirrored } else { instance }, ranking, preference)
        })
        .collect();
    let first = FIRST_BUDGET.max(4 * instance.items.len() as u64);
    // The largest budget that each capacity was searched with.
    let mut searched: BTreeMap<u64, u64> = BTreeMap::new();
    let mut longest = 0;
    for turn in 1.. {
        let highest = capacity.map_or(upper - 1, |capacity| capacity.min(upper - 1));
        let Some(span) = highest.checked_sub(raced.lower_bound) else { break };
        if raced.nodes >= limit || capacity.is_some_and(|capacity| upper <= capacity) {
            break;
        }
        let units = luby(turn);
        // A longer search than any before begins where it proves most: right below what is known, then at the bound.
        let room = match units {
            units if units > longest => span,
            _ if turn.is_power_of_two() => 0,
            _ => ((u128::from(span) * u128::from(turn.wrapping_mul(GOLDEN) >> 32)) >> 32) as u64,
        };
        longest = longest.max(units);
        let tried = ((raced.lower_bound + room) / quantum * quantum).clamp(raced.lower_bound, highest);
        let before = searched.get(&tried).copied().unwrap_or(0);
        let budget = if first * units > before { first * units } else { 2 * before };
        searched.insert(tried, budget);
        let share = (limit - raced.nodes).div_ceil(searches.len() as u64);
        let (found, exhausted, nodes) = side_by_side(&mut searches, tried, budget.min(share));
        raced.nodes += nodes;
        if let Some(offsets) = found {
            upper = instance.height(&offsets);
            raced.offsets = Some(offsets);
        } else if exhausted {
            raced.lower_bound = (tried / quantum + 1) * quantum;
        }
    }
    raced
}

/// 1, 1, 2, 1, 1, 2, 4, 1, …: how long to search in turn `turn`, from 1 on, when nobody knows how long is enough (Luby,
/// Sinclair, Zuckerman 1993; doi 10.1016/0020-0190(93)90029-9).
fn luby(turn: u64) -> u64 {
    let bits = u64::BITS - turn.leading_zeros();
    match turn + 1 == 1 << bits {
        true => 1 << (bits - 1),
        false => luby(turn + 1 - (1 << (bits - 1))),
    }
}

/// One search for each ranking. The offsets of the first that found some, whether one has seen everything, and the
/// states seen up to the first that came to an end.
fn side_by_side(searches: &mut [Search], capacity: u64, budget: u64) -> (Option<Vec<u64>>, bool, u64) {
    let first = AtomicUsize::new(usize::MAX);
    let outcomes: Vec<(Outcome, u64)> = searches
        .par_iter_mut()
        .with_max_len(1)
        .enumerate()
        .map(|(number, search)| {
            let late = || first.load(Ordering::Relaxed) < number;
            if late() {
                return (Outcome::GivenUp, 0);
            }
            let (outcome, nodes) = search.run(capacity, budget, &late);
            if outcome != Outcome::GivenUp {
                first.fetch_min(number, Ordering::Relaxed);
            }
            (outcome, nodes)
        })
        .collect();
    let ended = outcomes.iter().position(|&(outcome, _)| outcome != Outcome::GivenUp);
    let counted = &outcomes[..ended.map_or(outcomes.len(), |number| number + 1)];
    let nodes = counted.iter().map(|&(_, nodes)| nodes).sum();
    let Some(ended) = ended else { return (None, false, nodes) };
    // How far the later ones came is chance, so they must not build on it.
    searches[ended + 1..].iter_mut().for_each(Search::forget);
    match outcomes[ended].0 {
        Outcome::Found => (Some(searches[ended].offsets()), false, nodes),
        _ => (None, true, nodes),
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
