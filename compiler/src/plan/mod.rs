//! Offsets: where in the arena every value lies.
//!
//! Lives are half-open ranges of steps. What is tied lives as one; an operand and a result of one step overlap in time,
//! so they share bytes only when they are tied. A workspace lives for its step.

use situ_runtime::executable::Place;

use crate::lower::BufferId;
use crate::place::Placed;

/// What the caller chooses.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions {
    /// Whether bytes are used again over time. `false` gives every root its own.
    pub planned: bool,
    /// The thread count the workspaces were computed for.
    pub threads: u32,
}

impl Default for PlanOptions {
    fn default() -> PlanOptions {
        PlanOptions { planned: true, threads: 1 }
    }
}

/// Whose bytes a life is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A root and everything tied to it.
    Root(BufferId),
    /// The scratch of a step.
    Workspace { step: usize },
}

/// A piece of the arena over a range of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub owner: Owner,
    /// First step in which the bytes are in use.
    pub lower: usize,
    /// One past the last such step.
    pub upper: usize,
    /// Rounded to the alignment.
    pub bytes: u64,
    pub offset: u64,
}

/// A program with an address for everything.
#[derive(Clone, Debug)]
pub struct Planned {
    pub placed: Placed,
    /// One for each buffer. Buffers that were elided have the place of the one that holds their content.
    pub places: Vec<Place>,
    /// One for each step, in order.
    pub workspaces: Vec<Option<Place>>,
    pub lives: Vec<Life>,
    pub arena_bytes: u64,
    /// The largest sum of live bytes over the steps.
    pub lower_bound_bytes: u64,
    /// The sum of all lives: the arena in which nothing is used twice.
    pub unshared_bytes: u64,
    /// Length of the weights section, each weight rounded to the alignment.
    pub weights_bytes: u64,
    /// The first step at which the live bytes are the most.
    pub peak_step: usize,
    /// Indices into `lives`, largest first.
    pub live_at_peak: Vec<usize>,
    pub threads: u32,
}
