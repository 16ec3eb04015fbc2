//! A checked plan made ready to run: kernels prepared, ranges and layouts computed, nothing left to allocate.
//!
//! Memories are numbered: 0 is the arena, 1 the weights, `2 + i` input `i`. A kernel gets for each operand the bytes of
//! its hull and a layout whose offset counts from there; a tied operand gets no bytes of its own (the session hands out
//! no byte twice when one of the two is written), but the number of the result it shares them with. A step that runs
//! bodies has a schedule for each (`control`).

mod control;

use std::sync::LazyLock;

use self::control::Control;
use crate::arena::{Binding, Conflict, Memories, Span};
use crate::executable::{Access, Executable, Place, Plan, Space, Step, Write};
use crate::kernel::Kernel;
use crate::kernel::call::{Call, Operand, RunError, Source, Target, Threads};
use crate::kernel::prepared::{Prepared, prepare};
use crate::simd::Isa;
use crate::types::{DType, InputMode, Layout};
use crate::validate::MAX_OPERANDS;

/// Most steps have this few operands; the others pay for the initialisation of longer tables.
const FEW_OPERANDS: usize = 8;

/// Number of the memory of a space.
fn memory_of(space: Space) -> usize {
    match space {
        Space::Arena => 0,
        Space::Weights => 1,
        Space::Input(input) => 2 + input as usize,
    }
}

fn place_span(place: Place) -> Span {
    Span { memory: memory_of(place.space), start: place.offset as usize, bytes: place.bytes as usize }
}

/// The bytes of an access's hull, and its layout relative to them.
fn hull(plan: &Plan, access: &Access) -> (Span, Layout) {
    let place = plan.values[access.value as usize].place;
    let (low, high) = access.layout.hull().unwrap_or((access.layout.offset, access.layout.offset));
    let size = access.dtype.size();
    // Validation has seen the hull inside the place; an access without elements has no bytes wherever it points.
    let start = if low == high { 0 } else { place.offset as usize + low as usize * size };
    let span = Span { memory: memory_of(place.space), start, bytes: (high - low) as usize * size };
    (span, Layout { offset: access.layout.offset - low, ..access.layout.clone() })
}

#[derive(Debug)]
struct PreparedOperand {
    /// The result whose bytes the operand shares.
    tied: Option<usize>,
    dtype: DType,
    layout: Layout,
}

/// What a run gives to every step.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub isa: Isa,
    pub threads: Threads<'a>,
}

#[derive(Debug)]
enum Ready {
    Call(Box<PreparedStep>),
    Control(Box<Control>),
}

#[derive(Debug)]
struct PreparedStep {
    kernel: Prepared,
    reads: Vec<PreparedOperand>,
    /// Spans of the reads that are not tied, in order.
    read_spans: Vec<Span>,
    writes: Vec<PreparedOperand>,
    /// Spans of the writes, then that of the workspace.
    write_spans: Vec<Span>,
}

/// A plan ready to run.
#[derive(Debug)]
pub(crate) struct Schedule {
    steps: Vec<Ready>,
    /// What each step is called, to say where a run failed.
    labels: Vec<String>,
    /// Where the outputs are after the last step.
    pub outputs: Vec<Span>,
    /// The first step that writes an `inout` input.
    pub first_state_write: Option<usize>,
    /// The first step that writes any input.
    pub first_input_write: Option<usize>,
    /// The widest dtype that the plan sees the bytes of each input as; its size is their alignment.
    pub seen: Vec<DType>,
}

/// Why a step cannot be prepared.
pub(crate) struct Unprepared {
    pub step: usize,
    pub label: String,
    pub why: String,
}

impl Schedule {
    /// Prepares a plan of `executable` that the checker has accepted.
    pub fn new(plan: &Plan, executable: &Executable, threads: usize) -> Result<Schedule, Unprepared> {
        let mut steps = Vec::with_capacity(plan.steps.len());
        let (mut first_state_write, mut first_input_write) = (None, None);
        let mut seen: Vec<DType> = plan.inputs.iter().map(|port| port.dtype).collect();
        for (index, step) in plan.steps.iter().enumerate() {
            steps.push(match step.kernel {
                Kernel::If { .. } | Kernel::Loop { .. } => {
                    let control = Control::new(plan, step, executable, threads);
                    Ready::Control(Box::new(control.map_err(|inner| Unprepared { step: index, ..inner })?))
                }
                _ => {
                    let prepared = PreparedStep::new(plan, step, threads);
                    let unprepared = |why| Unprepared { step: index, label: step.label.clone(), why };
                    Ready::Call(Box::new(prepared.map_err(unprepared)?))
                }
            });
            for access in step.reads.iter().chain(step.writes.iter().map(|write| &write.access)) {
                if let Space::Input(input) = plan.values[access.value as usize].place.space
                    && access.dtype.size() > seen[input as usize].size()
                {
                    seen[input as usize] = access.dtype;
                }
            }
            for write in &step.writes {
                let Space::Input(input) = plan.values[write.access.value as usize].place.space else { continue };
                first_input_write.get_or_insert(index);
                if plan.inputs[input as usize].mode == InputMode::InOut {
                    first_state_write.get_or_insert(index);
                }
            }
        }
        let outputs = plan.outputs.iter().map(|port| hull(plan, &port.access).0).collect();
        let labels = plan.steps.iter().map(|step| step.label.clone()).collect();
        Ok(Schedule { steps, labels, outputs, first_state_write, first_input_write, seen })
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether a step that fails has written nothing: a body may have run halfway.
    pub fn fails_whole(&self, index: usize) -> bool {
        matches!(self.steps[index], Ready::Call(_))
    }

    /// Runs one step on the memories of `binding`; `nested` has a table for each level of bodies.
    pub fn run_step(
        &self,
        index: usize,
        binding: &mut Binding<'_>,
        nested: &mut [Memories],
        context: Context<'_>,
    ) -> Result<(), RunError> {
        let done = match &self.steps[index] {
            Ready::Call(step) if step.reads.len().max(step.write_spans.len()) <= FEW_OPERANDS => {
                step.run::<FEW_OPERANDS>(binding, context)
            }
            Ready::Call(step) => step.run::<{ MAX_OPERANDS + 1 }>(binding, context),
            Ready::Control(control) => control.run(binding, nested, context),
        };
        done.map_err(|error| self.located(error, index))
    }

    /// Runs all steps.
    fn run(&self, binding: &mut Binding<'_>, nested: &mut [Memories], context: Context<'_>) -> Result<(), RunError> {
        (0..self.len()).try_for_each(|index| self.run_step(index, binding, nested, context))
    }

    /// A kernel does not know the name of its step, a body's step not that of the loop.
    fn located(&self, error: RunError, index: usize) -> RunError {
        let label = &self.labels[index];
        match (error, &self.steps[index]) {
            (RunError::IndexOutOfRange { index, extent, .. }, Ready::Call(_)) => {
                RunError::IndexOutOfRange { step: label.clone(), index, extent }
            }
            (RunError::IndexOutOfRange { step, index, extent }, Ready::Control(_)) => {
                RunError::IndexOutOfRange { step: format!("{step} in {label}"), index, extent }
            }
            (other, _) => other,
        }
    }
}

/// Fills the unused entries of operand tables.
static NO_LAYOUT: LazyLock<Layout> = LazyLock::new(|| Layout { offset: 0, shape: Vec::new(), strides: Vec::new() });

/// What a conflict of a checked plan is to the caller.
pub(crate) fn fault(conflict: Conflict) -> RunError {
    RunError::Fault(format!("the plan asks for bytes it cannot have: {conflict}"))
}

impl PreparedStep {
    fn new(plan: &Plan, step: &Step, threads: usize) -> Result<PreparedStep, String> {
        // Kernels see layouts as the call has them: relative to the bytes of the hull.
        let rebased = |access: &Access| Access { layout: hull(plan, access).1, ..access.clone() };
        let reads: Vec<Access> = step.reads.iter().map(rebased).collect();
        let rebase_write = |write: &Write| Write { access: rebased(&write.access), base: write.base };
        let writes: Vec<Write> = step.writes.iter().map(rebase_write).collect();
        let kernel = prepare(&step.kernel, &reads, &writes, threads)?;
        let needed = kernel.workspace_bytes() as u64;
        let found = step.workspace.map_or(0, |place| place.bytes);
        if needed > found {
            return Err(format!("it needs {needed} bytes of workspace, the plan has {found}"));
        }
        let (mut writes, mut write_spans) = (Vec::new(), Vec::new());
        for write in &step.writes {
            let (span, layout) = hull(plan, &write.access);
            writes.push(PreparedOperand { tied: None, dtype: write.access.dtype, layout });
            write_spans.push(span);
        }
        let (mut reads, mut read_spans) = (Vec::new(), Vec::new());
        for read in &step.reads {
            let (span, layout) = hull(plan, read);
            // The checker has made sure that a read which meets a write is a permitted tie.
            let meets = |write: &Span| {
                write.memory == span.memory
                    && write.bytes > 0
                    && span.bytes > 0
                    && write.start < span.start + span.bytes
                    && span.start < write.start + write.bytes
            };
            let tied = write_spans.iter().position(meets);
            if tied.is_none() {
                read_spans.push(span);
            }
            reads.push(PreparedOperand { tied, dtype: read.dtype, layout });
        }
        write_spans.extend(step.workspace.map(place_span));
        Ok(PreparedStep { kernel, reads, read_spans, writes, write_spans })
    }

    /// The call, with tables of `N` entries on the stack.
    fn run<const N: usize>(&self, binding: &mut Binding<'_>, context: Context<'_>) -> Result<(), RunError> {
        let mut shared: [&[u8]; N] = [&[]; N];
        let mut exclusive: [&mut [u8]; N] = std::array::from_fn(|_| &mut [][..]);
        binding.carve(&self.read_spans, &self.write_spans, &mut shared, &mut exclusive).map_err(fault)?;
        let no_layout: &Layout = &NO_LAYOUT;
        let mut operands = [Operand { source: Source::Bytes(&[]), dtype: DType::U8, layout: no_layout }; N];
        let mut bytes = shared.into_iter();
        for (operand, read) in operands.iter_mut().zip(&self.reads) {
            let source = match read.tied {
                Some(write) => Source::Written(write),
                None => Source::Bytes(bytes.next().expect("every untied read has a span")),
            };
            *operand = Operand { source, dtype: read.dtype, layout: &read.layout };
        }
        let mut bytes = exclusive.into_iter();
        let mut targets: [Target<'_>; N] =
            std::array::from_fn(|_| Target { bytes: &mut [], dtype: DType::U8, layout: no_layout });
        for (target, write) in targets.iter_mut().zip(&self.writes) {
            let bytes = bytes.next().expect("every write has a span");
            *target = Target { bytes, dtype: write.dtype, layout: &write.layout };
        }
        // A kernel without scratch gets an empty slice that is aligned all the same.
        let workspace = if self.write_spans.len() > self.writes.len() { bytes.next() } else { None };
        self.kernel.run(
            context.isa,
            Call {
                reads: &operands[..self.reads.len()],
                writes: &mut targets[..self.writes.len()],
                workspace: workspace.unwrap_or_else(|| bytemuck::cast_slice_mut::<u64, u8>(&mut [])),
                threads: context.threads,
            },
        )
    }
}

#[cfg(test)]
mod tests;
