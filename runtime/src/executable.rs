//! The executable: what a compiled program is, as plain data. `wire` knows its bytes, `check` accepts or refuses it,
//! `session` runs it.
//!
//! A [`Plan`] is its own certificate. Each step names the *values* it reads and writes; each value has a place. Two
//! values may have the same place at different times. The checker replays the steps on an abstract memory that maps
//! bytes to the value they hold; a step that would read a value that is not there, whole, is refused.
//!
//! Branches and loops are steps that run other plans, the *bodies*. A body is a plan like any other and is its own
//! certificate; its inputs are the bytes that the step lends it ([`crate::kernel::control`]). A body runs bodies with
//! smaller numbers only, and each belongs to one step of one plan, so what an executable can do is as finite as it is.

use serde::{Deserialize, Serialize};

use crate::kernel::Kernel;
use crate::types::{DType, InputMode, Layout};

/// Which memory a place is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Space {
    /// The one block the session allocates.
    Arena,
    /// The weights of the file; never written.
    Weights,
    /// The bytes of a graph input, by position.
    Input(u32),
}

/// Bytes with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    pub space: Space,
    /// Byte offset in the space; a multiple of [`ALIGNMENT`] in arena and weights.
    pub offset: u64,
    pub bytes: u64,
}

/// Alignment of every buffer, in bytes.
pub const ALIGNMENT: u64 = 64;

/// A value and the bytes that hold it while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedValue {
    /// As the compiler printed it (`%12`).
    pub name: String,
    pub dtype: DType,
    pub place: Place,
}

/// An operand of a step: a view of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Index into [`Plan::values`].
    pub value: u32,
    pub dtype: DType,
    /// In elements of `dtype`, from the start of the value's place.
    pub layout: Layout,
}

/// A result of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    pub access: Access,
    /// `None`: the written region of the value becomes defined. A value may be written in several disjoint regions by
    /// several steps (a concatenation), and may be read once they cover it.
    /// `Some(v)`: the value is `v` with the written region replaced; both have the same place, and `v` is gone.
    pub base: Option<u32>,
}

/// One kernel call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub kernel: Kernel,
    pub reads: Vec<Access>,
    pub writes: Vec<Write>,
    /// Scratch bytes in the arena, for all threads together.
    pub workspace: Option<Place>,
    /// Source location and ops, for reports and profiles.
    pub label: String,
}

/// A graph input as the caller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputPort {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub mode: InputMode,
    /// For an `InOut` input of a program that comes with its state: where in the weights the bytes are that it holds before
    /// the first run. A run takes them from the caller, like those of every input.
    pub initial: Option<Place>,
    /// Names for parts of that state: several buffers that share one storage.
    pub views: Vec<StateView>,
}

impl InputPort {
    /// The bytes of its initial state in `weights`, those of its program; `None` where it has none.
    pub fn initial_bytes<'w>(&self, weights: &'w [u8]) -> Option<&'w [u8]> {
        let Place { offset, bytes, .. } = self.initial?;
        let (start, end) = (usize::try_from(offset).ok()?, usize::try_from(offset.checked_add(bytes)?).ok()?);
        weights.get(start..end)
    }
}

/// A named part of the bytes of an input, in its elements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateView {
    pub name: String,
    pub layout: Layout,
}

/// A graph output: a dense view of a value after the last step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPort {
    pub name: String,
    pub access: Access,
}

/// Order, places and certificate for one binding of the symbols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub inputs: Vec<InputPort>,
    pub outputs: Vec<OutputPort>,
    /// The value that holds each input before the first step, in the order of `inputs`.
    pub input_values: Vec<u32>,
    /// For each `InOut` input, `(input, value)`: the value its bytes hold after the last step.
    pub finals: Vec<(u32, u32)>,
    /// Values that are weights: `(value, nothing else to say)`; their place is in `Space::Weights`.
    pub weight_values: Vec<u32>,
    pub values: Vec<PlannedValue>,
    pub steps: Vec<Step>,
    pub arena_bytes: u64,
    /// The largest thread count the workspaces allow for.
    pub threads: u32,
    /// Which inputs this plan assumes not to share bytes.
    pub assumed_distinct: Distinct,
}

/// Pairs of inputs that are assumed not to share bytes: each input of `written` with each other one of `written` and of
/// `others`. Programs that update hundreds of parameters assume tens of thousands of pairs, hence a product and no list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct {
    /// Inputs whose bytes change during a run, in ascending order.
    pub written: Vec<u32>,
    /// Other inputs whose bytes the program looks at, in ascending order; none is in `written`.
    pub others: Vec<u32>,
}

impl Distinct {
    /// Whether no pair is assumed distinct.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() || self.written.len() + self.others.len() < 2
    }

    /// How many pairs are assumed distinct.
    pub fn pairs(&self) -> usize {
        let written = self.written.len();
        written * written.saturating_sub(1) / 2 + written * self.others.len()
    }

    /// Whether `a` and `b` are assumed distinct.
    pub fn contains(&self, a: u32, b: u32) -> bool {
        let written = |input: u32| self.written.binary_search(&input).is_ok();
        let named = |input: u32| written(input) || self.others.binary_search(&input).is_ok();
        a != b && ((written(a) && named(b)) || (written(b) && named(a)))
    }
}

/// The program as written: for callers whose inputs share bytes against what a [`Plan`] assumes.
///
/// It reads and writes the caller's bytes in the order of the source. Nothing about `plan` relies on distinct inputs: a
/// step that writes one touches no other. What is left to go wrong is the order of steps that touch different inputs, which
/// no operand shows; `epochs` is the certificate of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsWritten {
    pub plan: Plan,
    /// For each step, how many writes of inputs the source has before it.
    pub epochs: Vec<u32>,
}

/// What a run does when inputs share bytes against a plan's assumptions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fallback {
    /// The plan assumes nothing.
    Unneeded,
    /// The program as written runs in the plan's place.
    AsWritten(Box<AsWritten>),
    /// The run is refused, because the compiler knows no way to run the program as written: why.
    Missing(String),
    /// It does not happen: whoever compiled the program has promised it. Nothing is compared before a run.
    Promised,
}

impl Fallback {
    /// Its plan, if it has one.
    pub fn plan_mut(&mut self) -> Option<&mut Plan> {
        match self {
            Fallback::AsWritten(written) => Some(&mut written.plan),
            Fallback::Unneeded | Fallback::Missing(_) | Fallback::Promised => None,
        }
    }

    /// How many steps it has.
    pub fn steps(&self) -> usize {
        match self {
            Fallback::AsWritten(written) => written.plan.steps.len(),
            Fallback::Unneeded | Fallback::Missing(_) | Fallback::Promised => 0,
        }
    }
}

/// A compiled program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executable {
    pub name: String,
    /// One plan for each binding of the symbols, the first the default.
    pub plans: Vec<Plan>,
    /// One for each plan: what happens when inputs share bytes against its assumptions.
    pub fallbacks: Vec<Fallback>,
    /// What the steps of branches and loops run, innermost first.
    pub bodies: Vec<Plan>,
    /// For each plan the symbols of its shapes and the extents they were bound to; empty where nothing was bound.
    pub bindings: Vec<Vec<(String, u64)>>,
    /// Length of the weights section, in bytes.
    pub weights_bytes: u64,
    /// The optimisation report as JSON, kept for `situ report`.
    pub report: String,
    /// The same as text.
    pub report_text: String,
}
