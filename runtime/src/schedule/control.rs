//! Branches and loops made ready to run: their bodies prepared, and which ranges each is lent.
//!
//! A body has a table of memories of its own, numbered as every plan's are: 0 its arena, which is scratch of the step,
//! 1 the weights, `2 + i` port `i`. The table is filled once when the step begins; what is sliced is then moved on from
//! iteration to iteration.

use super::{Context, Schedule, Unprepared, fault, hull, place_span};
use crate::arena::{Binding, Memories, Span};
use crate::executable::{Executable, Plan, Space, Step};
use crate::kernel::Kernel;
use crate::kernel::call::RunError;
use crate::kernel::control::{Port, ports, scalars, workspace_bytes};
use crate::types::DType;

/// Memory of a plan that is the first of its inputs.
const FIRST_PORT: usize = 2;

#[derive(Debug)]
pub(super) struct Control {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    If {
        condition: Span,
        branches: [Body; 2],
    },
    Loop {
        /// The operands that say how many iterations there are and whether to begin, where that is not known.
        begin: Option<(Span, Span)>,
        trips: u64,
        body: Body,
        /// `(memory, bytes)` of each port that is one slice of its operand.
        sliced: Vec<(usize, usize)>,
        index: usize,
        condition: Option<usize>,
    },
}

/// A body and what it is lent.
#[derive(Debug)]
struct Body {
    schedule: Schedule,
    lent: Vec<(Span, bool)>,
}

impl Control {
    /// Prepares a step that runs bodies. Whether it is one at all, and whether they fit, validation has seen.
    pub fn new(plan: &Plan, step: &Step, executable: &Executable, threads: usize) -> Result<Control, Unprepared> {
        let unprepared = |why: &str| Unprepared { step: 0, label: step.label.clone(), why: why.into() };
        let body = |number: u32| -> Result<Body, Unprepared> {
            let inner = executable.bodies.get(number as usize).ok_or_else(|| unprepared("its body does not exist"))?;
            let schedule = Schedule::new(inner, executable, threads)?;
            Ok(Body { schedule, lent: lent(plan, step, inner, executable.weights_bytes) })
        };
        let all = ports(&step.kernel, step.reads.len(), step.writes.len());
        let memory_of = |wanted: Port| all.iter().position(|&port| port == wanted).map(|port| FIRST_PORT + port);
        let kind = match step.kernel {
            Kernel::If { then_body, else_body, .. } => {
                Kind::If { condition: hull(plan, &step.reads[0]).0, branches: [body(then_body)?, body(else_body)?] }
            }
            Kernel::Loop { body: number, trips, .. } => {
                let begin = trips.is_none().then(|| (hull(plan, &step.reads[0]).0, hull(plan, &step.reads[1]).0));
                let slice = |(number, port): (usize, &Port)| {
                    let sliced = matches!(port, Port::Slice(_) | Port::Element(_));
                    let (dtype, shape) = port.ty(&step.reads, &step.writes).filter(|_| sliced)?;
                    Some((FIRST_PORT + number, shape.iter().product::<usize>() * dtype.size()))
                };
                Kind::Loop {
                    begin,
                    trips: trips.unwrap_or(0),
                    body: body(number)?,
                    sliced: all.iter().enumerate().filter_map(slice).collect(),
                    index: memory_of(Port::Index).ok_or_else(|| unprepared("its body has no index"))?,
                    condition: memory_of(Port::Condition),
                }
            }
            _ => return Err(unprepared("it runs no body")),
        };
        Ok(Control { kind })
    }

    pub fn run(
        &self,
        binding: &mut Binding<'_>,
        nested: &mut [Memories],
        context: Context<'_>,
    ) -> Result<(), RunError> {
        let (memories, deeper) =
            nested.split_first_mut().ok_or_else(|| RunError::Fault("bodies are nested too deep".into()))?;
        match &self.kind {
            Kind::If { condition, branches } => {
                let holds = is_true(binding, *condition)?;
                let branch = &branches[usize::from(!holds)];
                let mut lent = binding.lend(memories, &branch.lent).map_err(fault)?;
                branch.schedule.run(&mut lent, deeper, context)
            }
            Kind::Loop { begin, trips, body, sliced, index, condition } => {
                let trips = match begin {
                    Some((_, condition)) if !is_true(binding, *condition)? => 0,
                    Some((trips, _)) => {
                        let bytes = binding.view(*trips).map_err(fault)?;
                        bytes.try_into().map_or(0, i64::from_le_bytes)
                    }
                    // Validation has seen that it fits.
                    None => *trips as i64,
                };
                let mut lent = binding.lend(memories, &body.lent).map_err(fault)?;
                for iteration in 0..trips {
                    lent.store(*index, &iteration.to_le_bytes()).map_err(fault)?;
                    for &(memory, bytes) in sliced {
                        lent.slide(memory, iteration as usize * bytes, bytes).map_err(fault)?;
                    }
                    body.schedule.run(&mut lent, deeper, context)?;
                    if let Some(memory) = *condition
                        && !is_true(&lent, Span { memory, start: 0, bytes: 1 })?
                    {
                        break;
                    }
                }
                Ok(())
            }
        }
    }
}

fn is_true(binding: &Binding<'_>, condition: Span) -> Result<bool, RunError> {
    Ok(binding.view(condition).map_err(fault)?.first().is_some_and(|&byte| byte != 0))
}

/// Which ranges of the memories of `plan` the memories of `body` are, and whether they may be written.
fn lent(plan: &Plan, step: &Step, body: &Plan, weights_bytes: u64) -> Vec<(Span, bool)> {
    let nothing = Span { memory: 0, start: 0, bytes: 0 };
    let scratch = step.workspace.filter(|_| workspace_bytes(&step.kernel, |_| body.arena_bytes) > 0);
    let scratch = scratch.map_or(nothing, place_span);
    let (index, condition) = scalars(body.arena_bytes);
    let scalar = |at: u64, dtype: DType| Span { start: scratch.start + at as usize, bytes: dtype.size(), ..scratch };
    let arena = Span { bytes: body.arena_bytes as usize, ..scratch };
    let weights = Span { memory: super::memory_of(Space::Weights), start: 0, bytes: weights_bytes as usize };
    let port = |port: Port| match port {
        // The body may only read its index; the loop writes it.
        Port::Index => (scalar(index, DType::I64), true),
        Port::Condition => (scalar(condition, DType::Bool), true),
        Port::Slice(read) | Port::Argument(read) => (hull(plan, &step.reads[read]).0, false),
        Port::Carried(write) | Port::Element(write) | Port::Result(write) => {
            (hull(plan, &step.writes[write].access).0, true)
        }
    };
    let ports = ports(&step.kernel, step.reads.len(), step.writes.len());
    [(arena, true), (weights, false)].into_iter().chain(ports.into_iter().map(port)).collect()
}
