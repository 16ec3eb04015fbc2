//! Storages that leave the region that made them.
//!
//! A storage made inside a region has no name outside. If a handle that is yielded refers to it, its content is yielded
//! as well, into a *slot* that belongs to the place of that handle. Where several handles may refer to one such storage,
//! it goes into the slot of the first that does, so that outside they still refer to one storage.

use std::collections::{BTreeMap, BTreeSet};

use super::Stop;
use super::chain::Chains;
use super::handle::{Cond, Handle, Kind, Root};
use crate::ir::{InstId, ValueId};

/// Versions of storages.
pub type Contents = BTreeMap<Root, ValueId>;

impl Chains<'_> {
    /// Moves the storages made inside that `yields` refer to into slots of `inst`: the handles as they are outside, and
    /// what the slots hold. Places of `yields` are those of the slots.
    pub fn escape(
        &mut self,
        inst: InstId,
        yields: &BTreeMap<usize, Handle>,
        inner: &BTreeSet<Root>,
    ) -> Result<(BTreeMap<usize, Handle>, Contents), Stop> {
        // When each place holds each storage.
        let mut holds: BTreeMap<(Root, usize), Cond> = BTreeMap::new();
        for (&place, handle) in yields {
            for alternative in handle.iter().filter(|alternative| inner.contains(&alternative.root)) {
                let key = (alternative.root.clone(), place);
                let cond = match holds.get(&key) {
                    Some(&known) => self.or(known, alternative.cond)?,
                    None => alternative.cond,
                };
                holds.insert(key, cond);
            }
        }
        let mut outside = BTreeMap::new();
        for (&place, handle) in yields {
            let mut moved: Handle = Vec::new();
            for alternative in handle {
                if !inner.contains(&alternative.root) {
                    moved.push(alternative.clone());
                    continue;
                }
                let kind = self.kind(&alternative.root);
                let mut left = Some(alternative.cond);
                for (&earlier, _) in yields.range(..place) {
                    let held = holds.get(&(alternative.root.clone(), earlier)).copied();
                    let (Some(held), Some(cond)) = (held, left) else { continue };
                    let both = self.and(cond, held)?;
                    let mut shared = alternative.clone();
                    (shared.cond, shared.root) = (both, Root::Slot { inst, place: earlier, kind: kind.clone() });
                    moved.push(shared);
                    left = self.without(cond, held)?;
                }
                if let Some(cond) = left {
                    let mut own = alternative.clone();
                    (own.cond, own.root) = (cond, Root::Slot { inst, place, kind });
                    moved.push(own);
                }
            }
            outside.insert(place, self.simplify(moved)?);
        }
        let contents = self.slots(inst, &holds)?;
        Ok((outside, contents))
    }

    /// What each slot holds: of the storages of its kind the one that is held, whichever that is.
    fn slots(&mut self, inst: InstId, holds: &BTreeMap<(Root, usize), Cond>) -> Result<Contents, Stop> {
        let mut held: BTreeMap<(usize, Kind), Vec<(Cond, Root)>> = BTreeMap::new();
        for ((root, place), &cond) in holds {
            let kind = self.kind(root);
            held.entry((*place, kind)).or_default().push((cond, root.clone()));
        }
        let mut contents = Contents::new();
        for ((place, kind), roots) in held {
            let mut content = None;
            for (cond, root) in roots.into_iter().rev() {
                let base = self.base(&root)?;
                content = Some(match (content, cond) {
                    (None, _) | (_, Cond::Always) => base,
                    (Some(other), Cond::When(cond)) => self.select(cond, base, other)?,
                });
            }
            contents.extend(content.map(|content| (Root::Slot { inst, place, kind }, content)));
        }
        Ok(contents)
    }
}
