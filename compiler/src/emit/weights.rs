//! The weights section: constants in the order and the form in which the kernels read them, equal ones once.

use indexmap::IndexMap;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use situ_runtime::arena::{Block, OutOfMemory};
use situ_runtime::executable::{ALIGNMENT, Place, Plan, Space};
use situ_runtime::map::Weights;
use situ_runtime::pack;

use super::{EmitError, fault};
use crate::diagnostic::Fault;
use crate::ir::{Constant, ConstantData, Graph};
use crate::lower::{Weight, WeightForm};
use crate::plan::Planned;

/// The weights section, which the program and its bodies have in common: each weight at its place, in its form. Weights are made in parallel; each has bytes of its own.
pub fn weights(planned: &Planned, source: &Graph) -> Result<Weights, EmitError> {
    let weights = &planned.placed.graph.weights;
    let mut block = Block::zeroed(planned.weights_bytes)?;
    let placed = planned.weight_offsets.iter().zip(weights);
    let placed = placed.map(|(&offset, weight)| (offset, weight.stored.bytes() as u64, weight));
    let mut parts = Vec::with_capacity(placed.len());
    let mut rest: &mut [u8] = &mut block;
    let mut at = 0u64;
    for (offset, bytes, weight) in placed {
        if bytes == 0 {
            continue;
        }
        let gap = offset.checked_sub(at).ok_or_else(|| fault("two weights share bytes"))?;
        let (_, from) = std::mem::take(&mut rest).split_at_mut(gap as usize);
        let (part, after) = from.split_at_mut(bytes as usize);
        parts.push((part, weight));
        rest = after;
        at = offset + bytes;
    }
    parts
        .into_par_iter()
        .try_for_each(|(part, weight)| write_weight(part, weight, source.constant(weight.constant)))?;
    Ok(Weights::owned(block))
}

fn write_weight(part: &mut [u8], weight: &Weight, constant: &Constant) -> Result<(), Fault> {
    let bytes = constant.bytes();
    if weight.form == WeightForm::Dense {
        part.get_mut(..bytes.len()).ok_or_else(|| fault("a weight is larger than its place"))?.copy_from_slice(&bytes);
        return Ok(());
    }
    // Mapped files need not be aligned for their elements.
    let elements: std::borrow::Cow<'_, [f32]> = match bytemuck::try_cast_slice(&bytes) {
        Ok(elements) => elements.into(),
        Err(_) => bytemuck::allocation::pod_collect_to_vec::<u8, f32>(&bytes).into(),
    };
    let length = weight.stored.len();
    let packed: &mut [f32] = bytemuck::try_cast_slice_mut(part).map_err(|_| fault("a weight's place is misaligned"))?;
    let packed = packed.get_mut(..length).ok_or_else(|| fault("a packed weight is larger than its place"))?;
    match &weight.form {
        WeightForm::Dense => {}
        WeightForm::MatMul { layout } => pack::pack_b(&elements, layout, packed),
        WeightForm::Conv { groups } => pack::pack_conv(&elements, &constant.ty.shape, *groups, packed),
    }
    Ok(())
}

/// A weights section for several plans: equal bytes have one place, whichever plan they came from.
pub struct Section {
    /// What it begins with.
    base: Weights,
    /// What comes after that.
    added: Vec<u8>,
    /// Offset of what is there, by hash and length.
    known: IndexMap<([u8; 32], u64), u64>,
}

impl Default for Section {
    fn default() -> Section {
        Section { base: Weights::none(), added: Vec::new(), known: IndexMap::new() }
    }
}

impl Section {
    /// A section that begins with all of `base`, to which the values of `plans` refer.
    pub fn beginning_with<'p>(plans: impl IntoIterator<Item = &'p Plan>, base: &Weights) -> Result<Section, Fault> {
        let mut section = Section { base: base.clone(), ..Section::default() };
        let values = plans.into_iter().flat_map(|plan| &plan.values);
        for place in values.map(|value| value.place).filter(|place| place.space == Space::Weights) {
            let key = key(base, place.offset, place.bytes)?;
            section.known.entry(key).or_insert(place.offset);
        }
        Ok(section)
    }

    /// Adds the weights and the initial state of `plan`, which lie in `from`, and lets it refer to this section.
    pub fn take(&mut self, plan: &mut Plan, from: &[u8]) -> Result<(), EmitError> {
        let values = plan.values.iter_mut().map(|value| &mut value.place);
        let places = values.chain(plan.inputs.iter_mut().filter_map(|port| port.initial.as_mut()));
        for place in places.filter(|place| place.space == Space::Weights) {
            let key = key(from, place.offset, place.bytes)?;
            // In bounds, or there would be no key.
            place.offset = self.placed(key, &from[place.offset as usize..][..place.bytes as usize])?;
        }
        Ok(())
    }

    /// The place of the elements of a constant.
    pub fn add(&mut self, constant: &Constant) -> Result<Place, EmitError> {
        let length = constant.ty.bytes();
        let start = self.room(length)?;
        self.added.resize(start + length, 0);
        let part = &mut self.added[start..];
        match &constant.data {
            // A short text may ask for many of them, so they are made where they stay.
            ConstantData::Splat(bits) => {
                let size = constant.ty.dtype.size();
                part.chunks_exact_mut(size).for_each(|element| element.copy_from_slice(&bits.to_le_bytes()[..size]));
            }
            _ => part.copy_from_slice(&constant.bytes()),
        }
        let key = (Sha256::digest(&*part).into(), length as u64);
        let offset = match self.known.get(&key) {
            Some(&offset) => {
                self.added.truncate(start);
                offset
            }
            None => self.know(key, start),
        };
        Ok(Place { space: Space::Weights, offset, bytes: length as u64 })
    }

    fn placed(&mut self, key: ([u8; 32], u64), bytes: &[u8]) -> Result<u64, OutOfMemory> {
        if let Some(&offset) = self.known.get(&key) {
            return Ok(offset);
        }
        let start = self.room(bytes.len())?;
        self.added.extend_from_slice(bytes);
        Ok(self.know(key, start))
    }

    /// Where in `added` something of `length` bytes begins, for which there is room.
    fn room(&mut self, length: usize) -> Result<usize, OutOfMemory> {
        let start = (self.base.len() + self.added.len()).next_multiple_of(ALIGNMENT as usize) - self.base.len();
        let needed = (start - self.added.len()).saturating_add(length);
        self.added.try_reserve(needed).map_err(|_| OutOfMemory { bytes: needed as u64 })?;
        self.added.resize(start, 0);
        Ok(start)
    }

    fn know(&mut self, key: ([u8; 32], u64), start: usize) -> u64 {
        let offset = (self.base.len() + start) as u64;
        self.known.insert(key, offset);
        offset
    }

    pub fn finish(self) -> Result<Weights, EmitError> {
        let Section { base, added, .. } = self;
        let length = (base.len() + added.len()).next_multiple_of(ALIGNMENT as usize);
        let mut block = Block::zeroed(length as u64)?;
        let (front, back) = block.split_at_mut(base.len());
        front.copy_from_slice(&base);
        back[..added.len()].copy_from_slice(&added);
        Ok(Weights::owned(block))
    }
}

fn key(bytes: &[u8], offset: u64, length: u64) -> Result<([u8; 32], u64), Fault> {
    let end = offset.checked_add(length).filter(|&end| end <= bytes.len() as u64);
    let end = end.ok_or_else(|| fault("a weight lies outside its section"))?;
    Ok((Sha256::digest(&bytes[offset as usize..end as usize]).into(), length))
}
