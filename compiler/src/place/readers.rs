//! How far the readers of a value are from being ordered before one of them.

use std::collections::BTreeMap;

use super::sharing::Sharing;
use super::ties::MAX_NODES_FOR_TRIALS;

/// Of a value with more readers than this it is estimated how many are unordered against a step; the second holds where
/// there are no trials.
const MAX_READERS: usize = 512;
const MAX_READERS_IF_LARGE: usize = 64;

/// Readers of values that have many, by their place in the topological order.
#[derive(Default)]
pub(super) struct Readers {
    places: BTreeMap<usize, Vec<u64>>,
}

impl Readers {
    /// How many readers of `value` nothing orders before `node`, another of them. Where they are many, those that stand
    /// later in one order that is possible are counted.
    pub fn unordered(&mut self, sharing: &Sharing, value: usize, node: usize) -> usize {
        let dependence = sharing.dependence();
        let Some(places) = self.places.get(&value) else {
            let readers = sharing.readers(value);
            let is_large = dependence.len() > MAX_NODES_FOR_TRIALS;
            if readers.len() <= if is_large { MAX_READERS_IF_LARGE } else { MAX_READERS } {
                return readers.into_iter().filter(|&r| r != node && !dependence.is_before(r, node)).count();
            }
            let mut places: Vec<u64> = readers.iter().map(|&r| dependence.position(r)).collect();
            places.sort_unstable();
            self.places.insert(value, places);
            return self.unordered(sharing, value, node);
        };
        let place = dependence.position(node);
        places.len() - places.partition_point(|&other| other <= place)
    }
}
