//! The weights section: constants in the order and the form in which the kernels read them, equal ones once.

use indexmap::IndexMap;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use situ_runtime::arena::Block;
use situ_runtime::executable::{ALIGNMENT, Plan, Space};
use situ_runtime::map::Weights;
use situ_runtime::pack;

use super::{EmitError, fault};
use crate::diagnostic::Fault;
use crate::ir::{Constant, Graph};
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
#[derive(Default)]
pub struct Section {
    bytes: Vec<u8>,
    /// Offset of what is there, by hash and length.
    known: IndexMap<([u8; 32], u64), u64>,
}

impl Section {
    /// A section that begins with all of `bytes`, to which the values of `plan` refer.
    pub fn beginning_with(plan: &Plan, bytes: &[u8]) -> Result<Section, Fault> {
        let mut section = Section { bytes: bytes.to_vec(), known: IndexMap::new() };
        for place in plan.values.iter().map(|value| value.place).filter(|place| place.space == Space::Weights) {
            let key = key(bytes, place.offset, place.bytes)?;
            section.known.entry(key).or_insert(place.offset);
        }
        Ok(section)
    }

    /// Adds the weights of `plan`, which lie in `from`, and lets its values refer to this section.
    pub fn take(&mut self, plan: &mut Plan, from: &[u8]) -> Result<(), Fault> {
        let places = plan.values.iter_mut().map(|value| &mut value.place);
        for place in places.filter(|place| place.space == Space::Weights) {
            let Section { bytes, known } = self;
            place.offset = *known.entry(key(from, place.offset, place.bytes)?).or_insert_with(|| {
                bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
                let offset = bytes.len() as u64;
                // In bounds, or there would be no key.
                bytes.extend_from_slice(&from[place.offset as usize..][..place.bytes as usize]);
                offset
            });
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Weights, EmitError> {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
        Ok(Weights::owned(Block::copied(&self.bytes)?))
    }
}

fn key(bytes: &[u8], offset: u64, length: u64) -> Result<([u8; 32], u64), Fault> {
    let end = offset.checked_add(length).filter(|&end| end <= bytes.len() as u64);
    let end = end.ok_or_else(|| fault("a weight lies outside its section"))?;
    Ok((Sha256::digest(&bytes[offset as usize..end as usize]).into(), length))
}
