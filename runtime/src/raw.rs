//! The entry point for callers who have pointers, whose inputs may share bytes.
//!
//! A plan is made for inputs that do not share bytes and says on which pairs it relies
//! ([`Plan::assumed_distinct`]). Before each run a sweep over the sorted pointers compares every written input
//! with every other one. Inputs are dense, so that comparing intervals is exact. When an assumption fails, the *fallback*
//! runs in the plan's place: the program as written, step by step on the caller's bytes, which was compiled and checked
//! together with the plan. Without a fallback, or when the caller wants it so, the run is refused.
//!
//! Safe Rust cannot create the situation: `&mut` and moves keep arguments apart. So [`Session`] has no sweep.

use std::sync::Arc;

use crate::executable::{InputPort, Plan};
use crate::kernel::call::RunError;
use crate::schedule::Schedule;
use crate::session::{Options, Outputs, Session, SessionError, check_bytes};
use crate::types::{DType, InputMode};
use crate::wire::Compiled;

/// An input of a foreign caller: dense, row-major elements.
#[derive(Clone, Copy, Debug)]
pub struct RawInput {
    pub dtype: DType,
    pub pointer: *mut u8,
    pub bytes: usize,
}

/// Which plan has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The plan that was optimised for distinct inputs.
    Planned,
    /// The program as written, because inputs share bytes.
    Fallback,
}

/// What to do when inputs share bytes against the plan's assumptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AliasPolicy {
    /// Run the fallback; refuse when there is none.
    #[default]
    Fallback,
    /// Refuse always.
    Strict,
}

/// A session that takes pointers.
pub struct RawSession {
    session: Session,
    fallback: Option<Schedule>,
    policy: AliasPolicy,
    /// `(start, end, input)`; keeps its capacity from run to run.
    ranges: Vec<(usize, usize, usize)>,
}

impl RawSession {
    /// As [`Session::new`]. The arena is large enough for the fallback as well.
    pub fn new(
        compiled: impl Into<Arc<Compiled>>,
        options: Options,
        policy: AliasPolicy,
    ) -> Result<RawSession, SessionError> {
        let compiled = compiled.into();
        let plans = compiled.executable.plans.len();
        let plan = compiled.executable.plans.get(options.plan);
        let plan = plan.ok_or(SessionError::NoSuchPlan { plan: options.plan, plans })?;
        // A fallback that was compiled for other shapes does not belong to this plan.
        let fallback = compiled.executable.fallback.as_deref().filter(|fallback| fallback.inputs == plan.inputs);
        let arena_bytes = fallback.map_or(0, |fallback| fallback.arena_bytes);
        let ranges = Vec::with_capacity(plan.inputs.len());
        let session = Session::with_arena(compiled.clone(), options, arena_bytes)?;
        let fallback = match fallback {
            Some(fallback) => Some(Schedule::new(fallback, &compiled.executable, session.threads())?),
            None => None,
        };
        Ok(RawSession { session, fallback, policy, ranges })
    }

    /// The plan this session runs when inputs do not share bytes.
    pub fn plan(&self) -> &Plan {
        self.session.plan()
    }

    /// Runs the program and says which plan it took. `inout` inputs are updated in the caller's bytes; those of `donate`
    /// inputs are overwritten.
    ///
    /// # Errors
    /// As [`Session::run`], and [`RunError::Aliased`] when inputs share bytes and no fallback may run.
    ///
    /// # Safety
    /// Each pointer is valid for reading its `bytes`, initialised, until the outputs are dropped; those of `donate` and
    /// `inout` inputs are valid for writing too. Until then nobody else writes any of them, and nobody else reads
    /// what is written. Inputs may overlap one another.
    pub unsafe fn run<'r>(&'r mut self, inputs: &[RawInput]) -> Result<(Outputs<'r>, Route), RunError> {
        let RawSession { session, fallback, policy, ranges } = self;
        let (compiled, plan, schedule, runner) = session.parts();
        let planned = &compiled.executable.plans[plan];
        if inputs.len() != planned.inputs.len() {
            let message = format!("{} inputs are expected, found {}", planned.inputs.len(), inputs.len());
            return Err(RunError::Argument(message));
        }
        for (port, input) in planned.inputs.iter().zip(inputs) {
            check_bytes(port, input.dtype, input.pointer, input.bytes)?;
            if input.bytes > 0
                && (input.pointer.is_null() || (input.pointer as usize).checked_add(input.bytes).is_none())
            {
                return Err(RunError::Argument(format!("input {} has no address", port.name)));
            }
        }
        let route = match shared_with_written(ranges, &planned.inputs, inputs, &schedule.written_inputs) {
            None => Route::Planned,
            Some((written, other)) if *policy == AliasPolicy::Strict || fallback.is_none() => {
                let [written, other] = [written, other].map(|input| planned.inputs[input].name.clone());
                return Err(RunError::Aliased { written, other });
            }
            Some(_) => Route::Fallback,
        };
        let (plan, schedule) = match (route, fallback, &compiled.executable.fallback) {
            (Route::Fallback, Some(schedule), Some(plan)) => (&**plan, &*schedule),
            _ => (planned, schedule),
        };
        let bind = |binding: &mut crate::arena::Binding<'r>| {
            for (port, input) in plan.inputs.iter().zip(inputs) {
                let writable = port.mode != InputMode::Read;
                // SAFETY: the caller vouches for pointer, length and exclusive use; an empty input is never touched.
                unsafe { binding.push_raw(input.pointer, input.bytes, writable) }
            }
        };
        let outputs = runner.run(plan, schedule, &compiled.weights, bind, |_| ())?;
        Ok((outputs, route))
    }
}

/// A written input and another one that shares bytes with it. Sorted by start, an interval meets an earlier one exactly
/// when it starts before the latest end so far; two ends are kept, that of all intervals and that of the written ones.
fn shared_with_written(
    ranges: &mut Vec<(usize, usize, usize)>,
    ports: &[InputPort],
    inputs: &[RawInput],
    written: &[bool],
) -> Option<(usize, usize)> {
    debug_assert_eq!(ports.len(), inputs.len());
    ranges.clear();
    for (index, input) in inputs.iter().enumerate().filter(|(_, input)| input.bytes > 0) {
        ranges.push((input.pointer as usize, input.pointer as usize + input.bytes, index));
    }
    ranges.sort_unstable();
    let (mut last, mut last_written) = ((0, 0), (0, 0));
    for &(start, end, index) in ranges.iter() {
        if written[index] && start < last.0 {
            return Some((index, last.1));
        }
        if start < last_written.0 {
            return Some((last_written.1, index));
        }
        last = last.max((end, index));
        if written[index] {
            last_written = last_written.max((end, index));
        }
    }
    None
}
