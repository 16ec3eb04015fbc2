//! States of the exact search that are known to fail.

/// What is left, and the lowest offset of each, in 128 bits; [`mark`]s combined by exclusive or.
pub(super) type Key = u128;

/// Entries beyond which old ones are overwritten: 16 MB for each table.
const MAX_ENTRIES: usize = 1 << 19;

/// How many entries after its own a key may be found in.
const PROBES: usize = 4;

/// A state that cannot be completed below a capacity.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: Key,
    capacity: u64,
}

/// A table of bounded size. What it forgets is searched again; what it knows is true.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    entries: Vec<Entry>,
    used: usize,
}

impl Failed {
    pub fn new() -> Failed {
        Failed { entries: vec![Entry::default(); 1 << 8], used: 0 }
    }

    /// Whether a state cannot be completed below `capacity`: it failed with no less room.
    pub fn knows(&self, key: Key, capacity: u64) -> bool {
        self.slots(key).any(|slot| self.entries[slot].key == key && self.entries[slot].capacity >= capacity)
    }

    pub fn insert(&mut self, key: Key, capacity: u64) {
        if 2 * self.used >= self.entries.len() && self.entries.len() < MAX_ENTRIES {
            let entries = std::mem::take(&mut self.entries);
            *self = Failed { entries: vec![Entry::default(); 2 * entries.len()], used: 0 };
            for entry in entries.into_iter().filter(|entry| entry.key != 0) {
                self.put(entry);
            }
        }
        self.put(Entry { key, capacity });
    }

    fn put(&mut self, entry: Entry) {
        let same = self.slots(entry.key).find(|&slot| self.entries[slot].key == entry.key);
        let slot = same.or_else(|| self.slots(entry.key).find(|&slot| self.entries[slot].key == 0));
        self.used += usize::from(slot.is_some_and(|slot| self.entries[slot].key == 0));
        let slot = slot.unwrap_or_else(|| self.slots(entry.key).next().expect("there are probes"));
        let capacity = if self.entries[slot].key == entry.key { self.entries[slot].capacity } else { 0 };
        self.entries[slot] = Entry { capacity: capacity.max(entry.capacity), ..entry };
    }

    fn slots(&self, key: Key) -> impl Iterator<Item = usize> + use<> {
        let mask = self.entries.len() - 1;
        (0..PROBES).map(move |probe| (key as usize).wrapping_add(probe) & mask)
    }
}

/// A fixed random-looking number for an item, by rank, at a lowest offset.
pub(super) fn mark(rank: u32, lowest: u64) -> Key {
    let mixed = (u64::from(rank) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ lowest.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (u128::from(mix(mixed.wrapping_add(0x4528_21E6_38D0_1377))) << 64) | u128::from(mix(mixed ^ 0xBE54_66CF_34E9_0C6C))
}
