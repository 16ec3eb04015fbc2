//! Squeaky wheel: items that stick out above the load are ranked higher, and the greedy is run again.

use super::Instance;
use super::skyline::Skyline;

/// The best offsets of at most `runs` greedy packings, beginning with `start`.
pub(super) fn pack(instance: &Instance, skyline: &mut Skyline, start: &[usize], runs: usize) -> Vec<u64> {
    let mut priority: Vec<i64> = vec![0; start.len()];
    for (rank, &item) in start.iter().enumerate() {
        priority[item] = rank as i64;
    }
    let step = (start.len() as i64 / 8).max(1);
    let mut ranking = start.to_vec();
    let mut best = skyline.pack(&ranking);
    let mut least = instance.height(&best);
    let mut last = best.clone();
    let mut stalled = 0;
    let mut seed = 0x2545_F491_4F6C_DD1Du64;
    for _ in 1..runs {
        if least <= instance.load {
            break;
        }
        for (item, &(_, _, size)) in instance.items.iter().enumerate() {
            let top = last[item] + size;
            if top > instance.load {
                priority[item] -= step + (step * (top - instance.load) as i64) / instance.load.max(1) as i64;
            }
        }
        if stalled >= 20 {
            // The wheel turns in a circle: shake the ranking, by a fixed sequence.
            for value in &mut priority {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                *value += (seed % (2 * step as u64 + 1)) as i64 - step;
            }
            stalled = 0;
        }
        ranking.sort_by_key(|&item| (priority[item], item));
        for (rank, &item) in ranking.iter().enumerate() {
            priority[item] = rank as i64;
        }
        last = skyline.pack(&ranking);
        let height = instance.height(&last);
        if height < least {
            (least, best, stalled) = (height, last.clone(), 0);
        } else {
            stalled += 1;
        }
    }
    best
}
