//! First fit and best fit: each item, in the order of a ranking, goes into the lowest gap, or the tightest, between the
//! items placed before it that are live at the same time. Quadratic, and sometimes lower than any canonical greedy.

use super::instance::{Instance, Item};

/// Which of the gaps that are large enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// The lowest.
    First,
    /// The one that leaves least room; of equals the lowest. The room above everything counts as the widest.
    Best,
}

/// Offsets under a ranking (items, first to last).
pub(super) fn pack(instance: &Instance, ranking: &[usize], fit: Fit) -> Vec<u64> {
    let mut offsets = vec![0u64; ranking.len()];
    // Placed items by offset, so that one pass sees the gaps from the bottom.
    let mut placed: Vec<usize> = Vec::with_capacity(ranking.len());
    for &number in ranking {
        let item = &instance.items[number];
        let mut floor = instance.free_from(item, 0);
        let mut chosen: Option<(u64, u64)> = None;
        for &other in &placed {
            let Item { lower, upper, size } = instance.items[other];
            if lower >= item.upper || item.lower >= upper {
                continue;
            }
            let start = offsets[other];
            if start >= floor + item.size {
                let room = start - floor;
                if chosen.is_none_or(|(least, _)| room < least) {
                    chosen = Some((room, floor));
                }
                if fit == Fit::First {
                    break;
                }
            }
            if start + size > floor {
                floor = instance.free_from(item, start + size);
            }
        }
        offsets[number] = chosen.map_or(floor, |(_, offset)| offset);
        let at = placed.partition_point(|&other| offsets[other] <= offsets[number]);
        placed.insert(at, number);
    }
    offsets
}
