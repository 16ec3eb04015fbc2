//! Emission: the planned program as an executable, and its weights in the order the kernels read them.
//!
//! Every buffer that is still named becomes a value of the plan; the steps name values, so the plan is its own
//! certificate.

use std::collections::BTreeMap;

use rayon::prelude::*;
use situ_runtime::arena::Block;
use situ_runtime::executable::{InputPort, OutputPort, Plan, PlannedValue, Space, Step};
use situ_runtime::map::Weights;
use situ_runtime::pack;

use crate::diagnostic::Fault;
use crate::ir::{Constant, Graph};
use crate::lower::{BufferKind, Weight, WeightForm};
use crate::plan::Planned;

fn fault(message: impl Into<String>) -> Fault {
    Fault { stage: "emit", message: message.into() }
}

/// The plan of one binding.
pub fn emit(planned: &Planned) -> Result<Plan, Fault> {
    let graph = &planned.placed.graph;
    let mut values = Values::default();
    let input_values: Vec<u32> = graph.inputs.iter().map(|input| values.number(input.buffer.0)).collect();
    let mut steps = Vec::with_capacity(planned.placed.order.len());
    for (position, &index) in planned.placed.order.iter().enumerate() {
        let node = &graph.nodes[index];
        let mut reads = node.reads.clone();
        for read in &mut reads {
            read.value = values.number(read.value);
        }
        let mut writes = node.writes.clone();
        for write in &mut writes {
            write.base = write.base.map(|base| values.number(base));
            write.access.value = values.number(write.access.value);
        }
        let label = if node.location.text.is_empty() {
            node.label.clone()
        } else {
            format!("{} ({})", node.label, node.location.text)
        };
        steps.push(Step { kernel: node.kernel.clone(), reads, writes, workspace: planned.workspaces[position], label });
    }
    let outputs = graph
        .outputs
        .iter()
        .map(|output| {
            let mut access = output.access.clone();
            access.value = values.number(access.value);
            OutputPort { name: output.name.clone(), access }
        })
        .collect();
    let finals = graph.finals.iter().map(|&(input, buffer)| (input, values.number(buffer.0))).collect();
    let planned_values: Vec<PlannedValue> = values
        .buffers
        .iter()
        .map(|&buffer| {
            let info = graph.buffer(buffer);
            PlannedValue { name: info.name.clone(), dtype: info.ty.dtype, place: planned.places[buffer as usize] }
        })
        .collect();
    let weight_values = values
        .buffers
        .iter()
        .enumerate()
        .filter(|(_, buffer)| matches!(graph.buffer(**buffer).kind, BufferKind::Weight(_)))
        .map(|(value, _)| value as u32)
        .collect();
    Ok(Plan {
        inputs: graph
            .inputs
            .iter()
            .map(|input| InputPort {
                name: input.name.clone(),
                dtype: input.ty.dtype,
                shape: input.ty.shape.clone(),
                mode: input.mode,
            })
            .collect(),
        outputs,
        input_values,
        finals,
        weight_values,
        assumed_distinct: assumed_distinct(graph.inputs.len(), &steps, &planned_values),
        values: planned_values,
        steps,
        arena_bytes: planned.arena_bytes,
        threads: planned.threads,
    })
}

/// Numbers of values, in the order in which buffers are first named.
#[derive(Default)]
struct Values {
    numbers: BTreeMap<u32, u32>,
    buffers: Vec<u32>,
}

impl Values {
    fn number(&mut self, buffer: u32) -> u32 {
        *self.numbers.entry(buffer).or_insert_with(|| {
            self.buffers.push(buffer);
            (self.buffers.len() - 1) as u32
        })
    }
}

/// Every pair of an input some step writes and another input: the plan holds only while they share no byte.
fn assumed_distinct(inputs: usize, steps: &[Step], values: &[PlannedValue]) -> Vec<(u32, u32)> {
    let mut written = vec![false; inputs];
    for write in steps.iter().flat_map(|step| &step.writes) {
        if let Space::Input(input) = values[write.access.value as usize].place.space {
            written[input as usize] = true;
        }
    }
    let mut pairs = Vec::new();
    for i in (0..inputs).filter(|&i| written[i]) {
        pairs.extend((0..inputs).filter(|&j| j != i && (!written[j] || i < j)).map(|j| (i as u32, j as u32)));
    }
    pairs
}

/// The weights section, which the program and its bodies have in common: each weight at its place, in its form. Weights are made in parallel; each has bytes of its own.
pub fn weights(planned: &Planned, source: &Graph) -> Result<Weights, Fault> {
    let weights = &planned.placed.graph.weights;
    let mut block = Block::zeroed(planned.weights_bytes).map_err(|error| fault(error.to_string()))?;
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
