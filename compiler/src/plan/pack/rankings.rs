//! Rankings of the items, first to last. The names of the keys are those of the literature: size, life (sections), area
//! (size by life), total (the largest load an item meets).

use std::cmp::Reverse;

use super::instance::Instance;
use super::search::Preference;

/// A key by which items are ranked, largest first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Size,
    Life,
    /// Time it lives, where `Life` counts sections.
    Span,
    Area,
    /// Size by span.
    SpanArea,
    Total,
    /// First section, the earliest first.
    Birth,
    /// One past the last section, the earliest first.
    Death,
    /// The same, the latest first.
    LateDeath,
}

use Key::{Area, Birth, Death, LateDeath, Life, Size, Span, SpanArea, Total};

/// For packings made in one go, best first.
pub(super) fn for_greedy(instance: &Instance) -> Vec<Vec<usize>> {
    rank(
        instance,
        &[
            [Area, Size, Life],
            [Size, Life, Total],
            [Total, Area, Life],
            [Life, Area, Total],
            [Total, Life, Area],
            [Total, Size, Area],
            [Birth, Area, Size],
            [LateDeath, Area, Size],
            [Death, Area, Size],
        ],
    )
}

/// For the exact search: whether time is turned round, the ranking, and what is preferred to it. Sweeping time from one
/// side leads it best; which side, and what else, differs so much between instances that all of them race.
pub(super) fn for_search(instance: &Instance, mirrored: &Instance) -> Vec<(bool, Vec<usize>, Preference)> {
    let racers = [
        (false, [Birth, SpanArea, Size], Preference::Sides),
        (true, [Birth, Life, Size], Preference::Sides),
        (true, [Birth, SpanArea, Size], Preference::Ranking),
        (true, [Size, Span, Total], Preference::Level),
        (false, [Birth, Death, Size], Preference::Sides),
        (true, [Total, SpanArea, Span], Preference::Sides),
        (false, [Birth, Life, Size], Preference::Level),
        (true, [SpanArea, Total, Span], Preference::Level),
    ];
    let ranking = |turned: bool, keys| rank(if turned { mirrored } else { instance }, &[keys]).remove(0);
    racers.into_iter().map(|(turned, keys, preference)| (turned, ranking(turned, keys), preference)).collect()
}

fn rank(instance: &Instance, keys: &[[Key; 3]]) -> Vec<Vec<usize>> {
    let totals = totals(instance);
    let value = |key: Key, number: usize| -> u128 {
        let item = instance.items[number];
        let life = item.upper - item.lower;
        match key {
            Size => u128::from(item.size),
            Life => life as u128,
            Span => instance.spans[number] as u128,
            SpanArea => u128::from(item.size) * instance.spans[number] as u128,
            Area => u128::from(item.size) * life as u128,
            Total => u128::from(totals[number]),
            Birth => (instance.sections - item.lower) as u128,
            Death => (instance.sections - item.upper) as u128,
            LateDeath => item.upper as u128,
        }
    };
    let ranking = |keys: &[Key; 3]| {
        let mut ranking: Vec<usize> = (0..instance.items.len()).collect();
        ranking.sort_by_cached_key(|&number| (keys.map(|key| Reverse(value(key, number))), number));
        ranking
    };
    keys.iter().map(ranking).collect()
}

/// The largest load each item meets: the maximum over a range, from a table of maxima over powers of two.
fn totals(instance: &Instance) -> Vec<u64> {
    let mut table = vec![instance.sums.iter().zip(instance.obstacles.sums()).map(|(a, b)| a + b).collect::<Vec<u64>>()];
    for power in 1.. {
        let (half, below) = (1usize << (power - 1), &table[power - 1]);
        if 2 * half > instance.sections {
            break;
        }
        let next = (0..=instance.sections - 2 * half).map(|at| below[at].max(below[at + half])).collect();
        table.push(next);
    }
    let total = |item: &super::instance::Item| {
        let power = (item.upper - item.lower).ilog2() as usize;
        table[power][item.lower].max(table[power][item.upper - (1 << power)])
    };
    instance.items.iter().map(total).collect()
}
