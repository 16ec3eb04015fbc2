//! Running a program: one session, one arena, any number of runs.
//!
//! [`Session::new`] checks the plan, prepares every kernel and allocates the arena. [`Session::run`] allocates nothing of
//! its own (with several threads rayon may allocate while it queues work), and hands back views of the results.
//!
//! How an argument is passed is a matter of types, so that misuse does not compile: a `read` input is borrowed, a
//! `donate` input is moved, state (`inout`) is borrowed mutably. Arguments are dense, row-major and aligned for their
//! element; bytes that are not aligned are refused rather than copied, because a copy would be memory that the report
//! does not show.
//!
//! Kernels find out that an index is out of range before they write. A run that fails so has touched no state unless
//! an earlier step had written some, or it failed inside a loop or branch that writes some; in that case the session is
//! *poisoned* and refuses to run, because the state is neither old nor new. The caller who has put it right says so with [`Session::clear_poison`].

use std::sync::Arc;

use crate::arena::{Binding, Block, Memories, OutOfMemory};
use crate::check::{Finding, check};
use crate::executable::{Executable, InputPort, OutputPort, Plan};
use crate::kernel::call::{RunError, Threads};
use crate::kernel::control::MAX_NESTING;
use crate::schedule::{Context, Schedule, Unprepared, fault};
use crate::simd::Isa;
use crate::tensor::{Element, Tensor, TensorMut, TensorRef};
use crate::types::{DType, InputMode};
use crate::wire::Compiled;

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads, at most as many as the plan was made for; `None`: as many as plan and machine have. Results do not
    /// depend on it.
    pub threads: Option<usize>,
    /// Instruction set; `None`: the best of this machine. Results may differ between sets, within the documented bounds.
    pub isa: Option<Isa>,
    /// Which plan, one for each binding of the symbols.
    pub plan: usize,
}

/// Why there is no session.
#[derive(Debug)]
pub enum SessionError {
    /// The checker has refused the plan.
    Refused(Vec<Finding>),
    /// The executable has no plan of this number.
    NoSuchPlan { plan: usize, plans: usize },
    /// More threads than the plan's workspaces allow for, or none.
    Threads { asked: usize, compiled: usize },
    /// This runtime has no kernel that fits the step.
    Kernel { step: usize, label: String, why: String },
    /// The arena does not fit this machine.
    OutOfMemory(OutOfMemory),
    /// The operating system starts no threads.
    ThreadPool(String),
}

impl std::fmt::Display for SessionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SessionError::Refused(findings) => {
                f.write_str("the checker refuses the plan")?;
                findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
            }
            SessionError::NoSuchPlan { plan, plans } => write!(f, "there is no plan {plan}, only {plans}"),
            SessionError::Threads { asked, compiled } => {
                write!(f, "compiled for 1 to {compiled} threads, asked for {asked}")
            }
            SessionError::Kernel { step, label, why } => write!(f, "step {step} ({label}) cannot be run: {why}"),
            SessionError::OutOfMemory(error) => write!(f, "{error}"),
            SessionError::ThreadPool(error) => write!(f, "no threads: {error}"),
        }
    }
}

impl std::error::Error for SessionError {}

impl From<Unprepared> for SessionError {
    fn from(unprepared: Unprepared) -> SessionError {
        SessionError::Kernel { step: unprepared.step, label: unprepared.label, why: unprepared.why }
    }
}

/// What a caller passes for one input. The variant must be that of the input's mode.
#[derive(Debug)]
pub enum Argument<'a> {
    /// For a `read` input.
    Read(TensorRef<'a>),
    /// For a `donate` input: the program may overwrite its bytes. A run leaves an empty tensor behind.
    Donate(Tensor),
    /// For an `inout` input: state, updated in its own bytes.
    InOut(TensorMut<'a>),
}

impl<'a> Argument<'a> {
    /// Borrows a slice, vector, array or tensor.
    pub fn read(tensor: impl Into<TensorRef<'a>>) -> Argument<'a> {
        Argument::Read(tensor.into())
    }

    /// Mutably borrows a slice, vector, array or tensor.
    pub fn inout(tensor: impl Into<TensorMut<'a>>) -> Argument<'a> {
        Argument::InOut(tensor.into())
    }

    fn parts(&self) -> (InputMode, DType, &[u8]) {
        match self {
            Argument::Read(tensor) => (InputMode::Read, tensor.dtype, tensor.bytes),
            Argument::Donate(tensor) => (InputMode::Donate, tensor.dtype(), tensor.bytes()),
            Argument::InOut(tensor) => (InputMode::InOut, tensor.dtype, tensor.bytes),
        }
    }
}

/// A program with its arena, ready to run any number of times.
pub struct Session {
    compiled: Arc<Compiled>,
    plan: usize,
    schedule: Schedule,
    runner: Runner,
    /// Tensors that the last run was given; outputs may lie in them.
    donated: Vec<Tensor>,
}

/// What a run needs beside a schedule.
pub(crate) struct Runner {
    arena: Block,
    memories: Memories,
    /// The memories of bodies, one table for each level of nesting.
    nested: Vec<Memories>,
    pool: Option<rayon::ThreadPool>,
    threads: usize,
    isa: Isa,
    poisoned: bool,
}

impl Session {
    /// Checks the plan, prepares its kernels and allocates its arena. No plan runs unchecked.
    pub fn new(compiled: impl Into<Arc<Compiled>>, options: Options) -> Result<Session, SessionError> {
        Session::with_arena(compiled.into(), options, 0)
    }

    /// A session whose arena has at least `arena_bytes`.
    pub(crate) fn with_arena(
        compiled: Arc<Compiled>,
        options: Options,
        arena_bytes: u64,
    ) -> Result<Session, SessionError> {
        check(&compiled.executable).map_err(SessionError::Refused)?;
        let plans = compiled.executable.plans.len();
        let plan = compiled.executable.plans.get(options.plan);
        let plan = plan.ok_or(SessionError::NoSuchPlan { plan: options.plan, plans })?;
        let most = plan.threads as usize;
        let threads = match options.threads {
            Some(asked) if asked == 0 || asked > most => {
                return Err(SessionError::Threads { asked, compiled: most });
            }
            Some(asked) => asked,
            None => std::thread::available_parallelism().map_or(1, |n| n.get()).min(most),
        };
        let schedule = Schedule::new(plan, &compiled.executable, threads)?;
        let arena_bytes = plan.arena_bytes.max(arena_bytes);
        let mut runner = Runner::new(arena_bytes, plan.inputs.len(), threads, options.isa)?;
        runner.make_room(&compiled.executable);
        let mut donated = Vec::new();
        donated.resize_with(plan.inputs.len(), Tensor::default);
        Ok(Session { plan: options.plan, schedule, runner, donated, compiled })
    }

    /// What the raw entry point runs with.
    pub(crate) fn parts(&mut self) -> (&Compiled, usize, &Schedule, &mut Runner) {
        (&self.compiled, self.plan, &self.schedule, &mut self.runner)
    }

    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The plan this session runs.
    pub fn plan(&self) -> &Plan {
        &self.compiled.executable.plans[self.plan]
    }

    /// The program this session runs.
    pub fn compiled(&self) -> &Arc<Compiled> {
        &self.compiled
    }

    pub fn inputs(&self) -> &[InputPort] {
        &self.plan().inputs
    }

    /// What the state of an input is before the first run, where the program comes with it: bytes of the program, which a
    /// caller copies and passes to [`run`](Session::run), from then on as they are after each run. The
    /// [example](crate#state-and-donated-inputs) does so.
    pub fn initial(&self, input: usize) -> Option<TensorRef<'_>> {
        let port = self.inputs().get(input)?;
        port.initial_bytes(&self.compiled.weights).map(|bytes| TensorRef::new(port.dtype, bytes))
    }

    pub fn threads(&self) -> usize {
        self.runner.threads
    }

    pub fn isa(&self) -> Isa {
        self.runner.isa
    }

    /// Whether a run has failed after it had begun to write state.
    pub fn is_poisoned(&self) -> bool {
        self.runner.poisoned
    }

    /// Says that the caller has put the state right.
    pub fn clear_poison(&mut self) {
        self.runner.poisoned = false;
    }

    /// Runs the program on one argument for each input, in order. The results live in the arena, in donated tensors or
    /// in state, and can be looked at until the session is used again.
    ///
    /// # Errors
    /// [`RunError::Argument`] when an argument does not fit its input, before anything is touched;
    /// [`RunError::IndexOutOfRange`] when the data hold such an index; [`RunError::Poisoned`] after a failure in the
    /// middle of an update.
    pub fn run<'r>(&'r mut self, arguments: &'r mut [Argument<'_>]) -> Result<Outputs<'r>, RunError> {
        self.run_observed(arguments, |_| ())
    }

    /// As [`Session::run`]; calls `after_step` with the number of each step when it is done.
    pub fn run_observed<'r>(
        &'r mut self,
        arguments: &'r mut [Argument<'_>],
        after_step: impl FnMut(usize),
    ) -> Result<Outputs<'r>, RunError> {
        let Session { compiled, plan, schedule, runner, donated } = self;
        let plan = &compiled.executable.plans[*plan];
        check_arguments(plan, &schedule.seen, arguments)?;
        let bind = |binding: &mut Binding<'r>| {
            for (argument, slot) in arguments.iter_mut().zip(donated) {
                match argument {
                    Argument::Read(tensor) => binding.push_shared(tensor.bytes),
                    Argument::Donate(tensor) => {
                        *slot = std::mem::take(tensor);
                        binding.push_exclusive(slot.bytes_mut());
                    }
                    Argument::InOut(tensor) => binding.push_exclusive(tensor.bytes),
                }
            }
        };
        runner.run(plan, schedule, &compiled.weights, bind, after_step)
    }
}

impl Runner {
    pub fn new(arena_bytes: u64, inputs: usize, threads: usize, isa: Option<Isa>) -> Result<Runner, SessionError> {
        let pool = if threads > 1 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            Some(pool.map_err(|error| SessionError::ThreadPool(error.to_string()))?)
        } else {
            None
        };
        Ok(Runner {
            arena: Block::zeroed(arena_bytes).map_err(SessionError::OutOfMemory)?,
            memories: Memories::with_capacity(2 + inputs),
            nested: Vec::new(),
            pool,
            threads,
            isa: isa.unwrap_or_else(Isa::detect),
            poisoned: false,
        })
    }

    /// Makes the tables that the bodies of `executable` need.
    fn make_room(&mut self, executable: &Executable) {
        let ports = executable.bodies.iter().map(|body| body.inputs.len()).max().unwrap_or(0);
        let levels = executable.bodies.len().min(MAX_NESTING);
        self.nested.resize_with(levels, || Memories::with_capacity(2 + ports));
    }

    /// Runs a schedule of `plan`; `bind_inputs` adds one memory for each input. From the first write of state to success
    /// the session counts as poisoned, so that an error, or even a panic of a kernel, leaves it so.
    pub fn run<'r>(
        &'r mut self,
        plan: &'r Plan,
        schedule: &'r Schedule,
        weights: &'r [u8],
        bind_inputs: impl FnOnce(&mut Binding<'r>),
        mut after_step: impl FnMut(usize),
    ) -> Result<Outputs<'r>, RunError> {
        let Runner { arena, memories, nested, pool, threads, isa, poisoned } = self;
        if *poisoned {
            return Err(RunError::Poisoned);
        }
        let mut binding = memories.bind();
        binding.push_exclusive(arena);
        binding.push_shared(weights);
        bind_inputs(&mut binding);
        let context = Context { isa: *isa, threads: Threads { pool: pool.as_ref(), count: *threads } };
        for index in 0..schedule.len() {
            // A kernel that fails has written nothing, so the step that would be the first to write state has left it as
            // it was (unless it runs a body, which may have got halfway); a kernel that panics promises nothing, hence the
            // flag is set before.
            let first = schedule.first_state_write == Some(index);
            *poisoned |= first;
            if let Err(error) = schedule.run_step(index, &mut binding, nested, context) {
                *poisoned &= !(first && schedule.fails_whole(index));
                return Err(error);
            }
            after_step(index);
        }
        *poisoned = false;
        Ok(Outputs { binding, ports: &plan.outputs, schedule })
    }
}

/// Every argument has the mode, dtype, size and alignment of its port.
fn check_arguments(plan: &Plan, seen: &[DType], arguments: &[Argument<'_>]) -> Result<(), RunError> {
    if arguments.len() != plan.inputs.len() {
        let message = format!("{} inputs are expected, found {}", plan.inputs.len(), arguments.len());
        return Err(RunError::Argument(message));
    }
    for (index, (port, argument)) in plan.inputs.iter().zip(arguments).enumerate() {
        let (mode, dtype, bytes) = argument.parts();
        check_bytes(port, seen[index], dtype, bytes.as_ptr(), bytes.len())?;
        if mode != port.mode {
            let (name, expected, found) = (&port.name, port.mode.name(), mode.name());
            return Err(RunError::Argument(format!("input {name} is {expected}, passed as {found}")));
        }
        if let Argument::Donate(tensor) = argument
            && tensor.shape() != port.shape
        {
            let (name, expected, found) = (&port.name, &port.shape, tensor.shape());
            return Err(RunError::Argument(format!("input {name} has shape {expected:?}, found {found:?}")));
        }
    }
    Ok(())
}

/// The bytes of an argument fit its port, and the widest dtype that the program sees them as.
pub(crate) fn check_bytes(
    port: &InputPort,
    seen: DType,
    dtype: DType,
    start: *const u8,
    bytes: usize,
) -> Result<(), RunError> {
    let name = &port.name;
    if dtype != port.dtype {
        return Err(RunError::Argument(format!("input {name} is {}, found {dtype}", port.dtype)));
    }
    let expected = port.shape.iter().product::<usize>() * port.dtype.size();
    if bytes != expected {
        return Err(RunError::Argument(format!("input {name} has {expected} bytes, found {bytes}")));
    }
    if bytes > 0 && !(start as usize).is_multiple_of(seen.size()) {
        return Err(RunError::Argument(format!("input {name} is not aligned for {seen}")));
    }
    Ok(())
}

/// The results of a run, where they lie.
pub struct Outputs<'r> {
    binding: Binding<'r>,
    ports: &'r [OutputPort],
    schedule: &'r Schedule,
}

impl Outputs<'_> {
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// Name, dtype and shape (`access.layout.shape`) of each output.
    pub fn ports(&self) -> &[OutputPort] {
        self.ports
    }

    fn port(&self, index: usize) -> Result<&OutputPort, RunError> {
        let count = self.ports.len();
        self.ports.get(index).ok_or_else(|| RunError::Argument(format!("there is no output {index}, only {count}")))
    }

    /// The little-endian bytes of an output, dense and row-major.
    pub fn bytes(&self, index: usize) -> Result<&[u8], RunError> {
        self.port(index)?;
        self.binding.view(self.schedule.outputs[index]).map_err(fault)
    }

    /// The elements of an output.
    pub fn slice<T: Element>(&self, index: usize) -> Result<&[T], RunError> {
        let port = self.port(index)?;
        if port.access.dtype != T::DTYPE {
            let (name, found) = (&port.name, port.access.dtype);
            return Err(RunError::Argument(format!("output {name} is {found}, asked for as {}", T::DTYPE)));
        }
        let bytes = self.bytes(index)?;
        bytemuck::try_cast_slice(bytes).map_err(|error| RunError::Fault(format!("output {}: {error}", port.name)))
    }

    /// Copies an output into the caller's buffer, which must be as long.
    pub fn copy_to<T: Element>(&self, index: usize, target: &mut [T]) -> Result<(), RunError> {
        let source = self.slice::<T>(index)?;
        if source.len() != target.len() {
            let (name, found) = (&self.ports[index].name, target.len());
            return Err(RunError::Argument(format!("output {name} has {} elements, not {found}", source.len())));
        }
        target.copy_from_slice(source);
        Ok(())
    }

    /// A copy of an output.
    pub fn to_tensor(&self, index: usize) -> Result<Tensor, RunError> {
        let port = self.port(index)?;
        Tensor::from_bytes(port.access.dtype, &port.access.layout.shape, self.bytes(index)?)
            .map_err(|error| RunError::Argument(format!("output {}: {error}", port.name)))
    }
}

#[cfg(test)]
mod tests;
