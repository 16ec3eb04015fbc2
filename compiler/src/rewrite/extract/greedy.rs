//! A first choice: each class takes the way whose set of classes costs least.

use super::Choice;
use crate::ops::Class;
use crate::rewrite::cost::{LAUNCH, VIEW};
use crate::rewrite::language::Kind;
use crate::rewrite::table::Table;

/// Greedy choice over the DAG: each class takes the way whose set of classes costs least. Loads and stores cost nothing
/// here, so that what is inside kernels is compared as if everything could be fused.
pub(super) fn greedy(table: &Table) -> Choice {
    let count = table.entries.len();
    let words = count.div_ceil(64);
    let mut sets: Vec<Option<(u64, Vec<u64>)>> = vec![None; count];
    let mut own = vec![0u64; count];
    let mut pick = vec![0u16; count];
    let mut loaded = vec![false; count];
    let mut changed = true;
    let mut rounds = 0;
    while changed && rounds < 4 * count + 4 {
        changed = false;
        rounds += 1;
        for class in 0..count {
            let entry = &table.entries[class];
            // What is inside a kernel can be loaded, unless it is what makes the value in memory.
            if let (true, Some(memory)) = (entry.inner, entry.partner)
                && let Some((total, set)) = &sets[memory as usize]
                && set[class / 64] >> (class % 64) & 1 == 0
                && sets[class].as_ref().is_none_or(|(best, _)| total < best)
            {
                let (total, mut set) = (*total, set.clone());
                set[class / 64] |= 1 << (class % 64);
                sets[class] = Some((total, set));
                own[class] = 0;
                loaded[class] = true;
                changed = true;
            }
            for (at, way) in entry.alternatives.iter().enumerate() {
                let cost = match way.class {
                    _ if matches!(way.kind, Kind::LEAF | Kind::CONST | Kind::KERNEL | Kind::RESULT) => 0,
                    _ if entry.weight => 1,
                    Some(Class::View) => VIEW,
                    Some(Class::Point | Class::Row | Class::Contraction) => {
                        way.arithmetic.saturating_add(LAUNCH / 4).saturating_add(entry.bytes / 4)
                    }
                    _ => LAUNCH.saturating_add(entry.bytes),
                };
                let mut set = vec![0u64; words];
                let ready = way.children.iter().all(|&child| match &sets[child as usize] {
                    Some((_, child)) => {
                        set.iter_mut().zip(child).for_each(|(word, other)| *word |= other);
                        true
                    }
                    None => false,
                });
                let round = set[class / 64] >> (class % 64) & 1 == 1;
                if !ready || round {
                    continue;
                }
                let mut total = cost;
                for (word, mut bits) in set.iter().copied().enumerate() {
                    while bits != 0 {
                        total = total.saturating_add(own[word * 64 + bits.trailing_zeros() as usize]);
                        bits &= bits - 1;
                    }
                }
                if sets[class].as_ref().is_none_or(|(best, _)| total < *best) {
                    set[class / 64] |= 1 << (class % 64);
                    sets[class] = Some((total, set));
                    own[class] = cost;
                    pick[class] = at as u16;
                    loaded[class] = false;
                    changed = true;
                }
            }
        }
    }
    Choice { pick, inline: loaded.into_iter().map(|loaded| !loaded).collect() }
}
