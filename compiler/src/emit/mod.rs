//! Emission: the planned program as an executable, and its weights in the order the kernels read them.
//!
//! Every buffer that is still named becomes a value of the plan; the steps name values, so the plan is its own
//! certificate.

mod weights;

pub use weights::{Section, weights};

use std::collections::BTreeMap;

use situ_runtime::arena::OutOfMemory;
use situ_runtime::executable::{Access, Distinct, InputPort, OutputPort, Plan, PlannedValue, Space, StateView, Step};
use situ_runtime::map::Weights;

use crate::diagnostic::Fault;
use crate::functional::FunctionalNotes;
use crate::ir;
use crate::lower::BufferKind;
use crate::plan::Planned;
use crate::types::InputMode;

fn fault(message: impl Into<String>) -> Fault {
    Fault { stage: "emit", message: message.into() }
}

/// Why there is no weights section.
#[derive(Clone, Debug, PartialEq)]
pub enum EmitError {
    Fault(Fault),
    /// This machine has no room for it.
    OutOfMemory(OutOfMemory),
}

impl From<Fault> for EmitError {
    fn from(fault: Fault) -> EmitError {
        EmitError::Fault(fault)
    }
}

impl From<OutOfMemory> for EmitError {
    fn from(error: OutOfMemory) -> EmitError {
        EmitError::OutOfMemory(error)
    }
}

/// The plan of one binding. It assumes nothing about its inputs so far; [`assumed_distinct`] says what it must.
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
                // Where the bytes are is known when there is a section to hold them.
                initial: None,
                views: input.views.iter().map(named_part).collect(),
            })
            .collect(),
        outputs,
        input_values,
        finals,
        weight_values,
        assumed_distinct: Distinct::default(),
        values: planned_values,
        steps,
        arena_bytes: planned.arena_bytes,
        threads: planned.threads,
    })
}

fn named_part(view: &ir::StateView) -> StateView {
    StateView { name: view.name.clone(), layout: view.layout.clone() }
}

/// Puts the state that the program comes with into the weights section, and lets the inputs of its plans refer to it. Bytes
/// that are there already have no second place.
pub fn initial_state(planned: &Planned, plans: &mut [&mut Plan], weights: &mut Weights) -> Result<(), EmitError> {
    let inputs = &planned.placed.graph.inputs;
    if inputs.iter().all(|input| input.initial.is_none()) {
        return Ok(());
    }
    let mut section = Section::beginning_with(plans.iter().map(|plan| &**plan), weights)?;
    for (position, input) in inputs.iter().enumerate() {
        let Some(initial) = &input.initial else { continue };
        let place = section.add(initial)?;
        plans.iter_mut().for_each(|plan| plan.inputs[position].initial = Some(place));
    }
    *weights = section.finish()?;
    Ok(())
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

/// The inputs that `plan` must find apart from one another to mean what the source means.
///
/// *Written* is an input whose bytes change: the source writes it (even if the plan found that it ends as it began), or the
/// plan does. *Other* is an input whose bytes either looks at. An input that neither looks at is still looked at by the
/// caller after the run. Sharing the bytes of state does it no harm, for state ends in both as the source wants it;
/// what is left in a donated input only the plan knows, so when one is written every input must keep away from it.
pub fn assumed_distinct(plan: &Plan, source: &FunctionalNotes) -> Distinct {
    let count = plan.inputs.len();
    let (mut written, mut used) = (vec![false; count], vec![false; count]);
    source.written_inputs.iter().for_each(|&input| written[input as usize] = true);
    source.used_inputs.iter().for_each(|&input| used[input as usize] = true);
    let input_of = |access: &Access| match plan.values[access.value as usize].place.space {
        Space::Input(input) if !access.layout.is_empty() => Some(input as usize),
        _ => None,
    };
    for step in &plan.steps {
        step.writes.iter().filter_map(|write| input_of(&write.access)).for_each(|input| written[input] = true);
        step.reads.iter().filter_map(input_of).for_each(|input| used[input] = true);
    }
    let filled = |input: usize| plan.values[plan.input_values[input] as usize].place.bytes > 0;
    let gives_up =
        (0..count).any(|input| written[input] && filled(input) && plan.inputs[input].mode == InputMode::Donate);
    let filled: Vec<usize> = (0..count).filter(|&input| filled(input)).collect();
    let list = |wanted: &dyn Fn(usize) -> bool| -> Vec<u32> {
        filled.iter().filter(|&&input| wanted(input)).map(|&input| input as u32).collect()
    };
    let distinct = Distinct {
        written: list(&|input| written[input]),
        others: list(&|input| !written[input] && (used[input] || gives_up)),
    };
    if distinct.is_empty() { Distinct::default() } else { distinct }
}
