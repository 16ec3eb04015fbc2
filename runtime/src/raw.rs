//! The entry point for callers whose inputs may share bytes.
//!
//! A plan is made for inputs that do not share bytes and says on which pairs it relies
//! ([`Plan::assumed_distinct`]). Before each run a sweep over the pointers compares these pairs (`guard`). When an
//! assumption fails, the *fallback* runs in the plan's place: the program as written, step by step on the caller's bytes,
//! which was compiled and checked together with the plan. Without a fallback, or when the caller wants it so, the run is
//! refused.
//!
//! Safe Rust cannot create the situation: `&mut` and moves keep arguments apart. So [`Session`] has no sweep. Here, a caller
//! has either pointers ([`RawSession::run`]) or one buffer in which the inputs lie, one over another
//! ([`RawSession::run_within`]).

use std::sync::Arc;

use crate::arena::Binding;
use crate::executable::{Fallback, InputPort, Plan};
use crate::guard::Guard;
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
    /// Run the fallback; refuse when there is none. A program that was compiled with the promise that it does not happen
    /// ([`Fallback::Promised`]) is run without looking.
    #[default]
    Fallback,
    /// Refuse always, whatever was promised.
    Strict,
    /// It does not happen, says the caller: nothing is compared. Inputs that share bytes all the same give wrong
    /// results, or a fault in the middle of the run; never undefined behaviour.
    Trust,
}

/// A session that takes pointers.
pub struct RawSession {
    session: Session,
    fallback: Option<Schedule>,
    policy: AliasPolicy,
    guard: Guard,
}

impl RawSession {
    /// As [`Session::new`]. The arena is large enough for the fallback as well.
    pub fn new(
        compiled: impl Into<Arc<Compiled>>,
        options: Options,
        policy: AliasPolicy,
    ) -> Result<RawSession, SessionError> {
        let compiled = compiled.into();
        let (plans, number) = (compiled.executable.plans.len(), options.plan);
        let plan = compiled.executable.plans.get(number).ok_or(SessionError::NoSuchPlan { plan: number, plans })?;
        let kind = compiled.executable.fallbacks.get(number);
        let policy = match (policy, kind) {
            (AliasPolicy::Fallback, Some(Fallback::Promised)) => AliasPolicy::Trust,
            (policy, _) => policy,
        };
        let written = match (policy, kind) {
            (AliasPolicy::Fallback, Some(Fallback::AsWritten(written))) => Some(&written.plan),
            _ => None,
        };
        let guard = Guard::new(plan);
        let arena_bytes = written.map_or(0, |plan| plan.arena_bytes);
        let session = Session::with_arena(compiled.clone(), options, arena_bytes)?;
        let fallback = match written {
            Some(plan) => {
                let mut schedule = Schedule::new(plan, &compiled.executable, session.threads())?;
                // Bytes of any input may be bytes of state here.
                schedule.first_state_write = schedule.first_input_write;
                Some(schedule)
            }
            None => None,
        };
        Ok(RawSession { session, fallback, policy, guard })
    }

    /// The plan this session runs when inputs do not share bytes.
    pub fn plan(&self) -> &Plan {
        self.session.plan()
    }

    pub fn inputs(&self) -> &[InputPort] {
        self.session.inputs()
    }

    /// The program this session runs.
    pub fn compiled(&self) -> &Arc<Compiled> {
        self.session.compiled()
    }

    /// Whether a run has failed after it had begun to write state, or in the program as written any input.
    pub fn is_poisoned(&self) -> bool {
        self.session.is_poisoned()
    }

    /// Says that the caller has put the state right.
    pub fn clear_poison(&mut self) {
        self.session.clear_poison();
    }

    /// Which plan a run on these inputs would take. Looks at no byte of them.
    ///
    /// # Errors
    /// [`RunError::Argument`] when an input does not fit; [`RunError::Aliased`] when inputs share bytes and no fallback
    /// may run.
    pub fn route(&mut self, inputs: &[RawInput]) -> Result<Route, RunError> {
        let ports = self.session.inputs();
        if inputs.len() != ports.len() {
            let message = format!("{} inputs are expected, found {}", ports.len(), inputs.len());
            return Err(RunError::Argument(message));
        }
        // Either plan may run.
        let seen = |input: usize| {
            let planned = self.session.schedule().seen[input];
            let written = self.fallback.as_ref().map_or(planned, |fallback| fallback.seen[input]);
            if written.size() > planned.size() { written } else { planned }
        };
        for (index, (port, input)) in ports.iter().zip(inputs).enumerate() {
            check_bytes(port, seen(index), input.dtype, input.pointer, input.bytes)?;
            if input.bytes > 0
                && (input.pointer.is_null() || (input.pointer as usize).checked_add(input.bytes).is_none())
            {
                return Err(RunError::Argument(format!("input {} has no address", port.name)));
            }
        }
        if self.policy == AliasPolicy::Trust {
            return Ok(Route::Planned);
        }
        // An empty input may have any pointer; its range is empty wherever it is.
        let bytes_of = |input: usize| match inputs[input].bytes {
            0 => (0, 0),
            bytes => (inputs[input].pointer as usize, bytes),
        };
        match self.guard.shared(bytes_of) {
            None => Ok(Route::Planned),
            Some(_) if self.fallback.is_some() => Ok(Route::Fallback),
            Some((written, other)) => {
                let [written, other] = [written, other].map(|input| ports[input].name.clone());
                Err(RunError::Aliased { written, other })
            }
        }
    }

    /// Runs the program and says which plan it took. `inout` inputs are updated in the caller's bytes; those of `donate`
    /// inputs are overwritten. The results are bytes of their own, or lie in `donate` inputs, or are the final content of
    /// state.
    ///
    /// # Errors
    /// As [`Session::run`], and [`RunError::Aliased`] when inputs share bytes and no fallback may run.
    ///
    /// # Safety
    /// Each pointer is valid for reading its `bytes`, initialised, until the outputs are dropped; those of `donate` and
    /// `inout` inputs are valid for writing too. Until then nobody else writes any of them, and nobody else reads
    /// what is written. Inputs may overlap one another, but neither the weights of the program nor results of this session.
    pub unsafe fn run<'r>(&'r mut self, inputs: &[RawInput]) -> Result<(Outputs<'r>, Route), RunError> {
        let route = self.route(inputs)?;
        let RawSession { session, fallback, .. } = self;
        let (compiled, number, schedule, runner) = session.parts();
        let (plan, schedule) = match (route, fallback, &compiled.executable.fallbacks[number]) {
            (Route::Fallback, Some(schedule), Fallback::AsWritten(written)) => (&written.plan, &*schedule),
            _ => (&compiled.executable.plans[number], schedule),
        };
        let bind = |binding: &mut Binding<'r>| {
            for (port, input) in plan.inputs.iter().zip(inputs) {
                let writable = port.mode != InputMode::Read;
                // SAFETY: the caller vouches for pointer, length and exclusive use; an empty input is never touched.
                unsafe { binding.push_raw(input.pointer, input.bytes, writable) }
            }
        };
        let outputs = runner.run(plan, schedule, &compiled.weights, bind, |_| ())?;
        Ok((outputs, route))
    }

    /// As [`RawSession::run`] on inputs that lie in one buffer: input `i` begins at byte `starts[i]` and may overlap
    /// others. Its address must be aligned for its elements.
    pub fn run_within<'r>(
        &'r mut self,
        memory: &'r mut [u8],
        starts: &[usize],
    ) -> Result<(Outputs<'r>, Route), RunError> {
        let ports = self.session.inputs();
        if starts.len() != ports.len() {
            return Err(RunError::Argument(format!("{} inputs are expected, found {}", ports.len(), starts.len())));
        }
        // One pointer for all of them, so that none is invalidated by the making of another.
        let (base, length) = (memory.as_mut_ptr(), memory.len());
        let mut inputs = Vec::with_capacity(ports.len());
        for (port, &start) in ports.iter().zip(starts) {
            let bytes = port.shape.iter().product::<usize>() * port.dtype.size();
            if start.checked_add(bytes).is_none_or(|end| end > length) {
                let message = format!("input {} needs bytes {start}+{bytes} of a buffer of {length}", port.name);
                return Err(RunError::Argument(message));
            }
            inputs.push(RawInput { dtype: port.dtype, pointer: base.wrapping_add(start), bytes });
        }
        // SAFETY: each input lies inside `memory`, which is borrowed mutably for as long as the outputs live; it is neither
        // weights nor the arena, which the session owns.
        unsafe { self.run(&inputs) }
    }
}
