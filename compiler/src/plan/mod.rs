//! Offsets: where in the arena every value lies.
//!
//! Lives are half-open ranges of steps. What is tied lives as one; an operand and a result of one step overlap in time,
//! so they share bytes only when they are tied. A workspace lives for its step.

mod liveness;
pub mod pack;

use situ_runtime::executable::{Place, Space};

use crate::diagnostic::Fault;
use crate::lower::{BodyScratch, BufferId, BufferKind};
use crate::place::{Placed, rounded};

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
    /// The largest sum of live bytes over the steps; a step that runs bodies counts with what is live in them.
    pub lower_bound_bytes: u64,
    /// The sum of all lives: the arena in which nothing is used twice.
    pub unshared_bytes: u64,
    /// Offset of each weight in the weights section.
    pub weight_offsets: Vec<u64>,
    /// Length of the weights section, each weight rounded to the alignment.
    pub weights_bytes: u64,
    /// The first step at which the live bytes are the most.
    pub peak_step: usize,
    /// Indices into `lives`, largest first.
    pub live_at_peak: Vec<usize>,
    pub threads: u32,
}

impl Planned {
    /// Sum of live bytes in each step.
    pub fn sums(&self) -> Vec<u64> {
        liveness::sums(&self.lives, self.placed.order.len())
    }
}

/// Gives everything an address. Fails only by a mistake of ours: bytes beyond what an address can say.
pub fn plan(placed: Placed, options: &PlanOptions) -> Result<Planned, Fault> {
    let fault = |message: &str| Fault { stage: "plan", message: message.to_string() };
    let mut lives = liveness::lives(&placed);
    let steps = placed.order.len();
    let unshared = |life: &Life| scratch(&placed, life, |scratch| scratch.unshared);
    let total = lives.iter().try_fold(0u64, |sum, life| sum.checked_add(unshared(life)));
    let unshared_bytes = total.ok_or_else(|| fault("the lives have more than 2^64 bytes"))?;
    let sums = liveness::sums(&lives, steps);
    let least =
        lives.iter().map(|life| Life { bytes: scratch(&placed, life, |scratch| scratch.least), ..life.clone() });
    let lower_bound_bytes = liveness::sums(&least.collect::<Vec<_>>(), steps).into_iter().max().unwrap_or(0);
    let highest = sums.iter().copied().max().unwrap_or(0);
    let arena_bytes = if options.planned {
        let intervals: Vec<pack::Interval> = lives
            .iter()
            .map(|life| pack::Interval { lower: life.lower, upper: life.upper, size: life.bytes, offset: None })
            .collect();
        // A state costs about as much as there are lives.
        let budget = (20_000_000 / lives.len().max(1) as u64).clamp(2_000, pack::PackOptions::default().budget);
        let packing = pack::pack(&intervals, &pack::PackOptions { budget, ..Default::default() })
            .map_err(|_| fault("the lives have more than 2^62 bytes"))?;
        for (life, offset) in lives.iter_mut().zip(packing.offsets) {
            life.offset = offset;
        }
        packing.height
    } else {
        let mut end = 0;
        for life in &mut lives {
            life.offset = end;
            end += life.bytes;
        }
        end
    };
    let peak_step = sums.iter().position(|&sum| sum == highest).unwrap_or(0);
    let mut live_at_peak: Vec<usize> =
        (0..lives.len()).filter(|&life| (lives[life].lower..lives[life].upper).contains(&peak_step)).collect();
    live_at_peak.sort_by_key(|&life| (std::cmp::Reverse(lives[life].bytes), life));
    let (weights, weights_bytes) = weights(&placed).ok_or_else(|| fault("the weights have more than 2^64 bytes"))?;
    let mut workspaces = vec![None; steps];
    let mut offsets = std::collections::BTreeMap::new();
    for life in &lives {
        match life.owner {
            Owner::Root(root) => {
                offsets.insert(root, life.offset);
            }
            Owner::Workspace { step } => {
                let bytes = placed.graph.nodes[placed.order[step]].workspace;
                workspaces[step] = Some(Place { space: Space::Arena, offset: life.offset, bytes });
            }
        }
    }
    let place = |number: usize| {
        let root = placed.homes[number].root;
        let (space, offset) = match placed.graph.buffer(root.0).kind {
            BufferKind::Input(input) => (Space::Input(input), 0),
            BufferKind::Weight(weight) => (Space::Weights, weights[weight as usize]),
            // A root without a life is never touched: it has no bytes.
            BufferKind::Temporary | BufferKind::Final(_) => (Space::Arena, offsets.get(&root).copied().unwrap_or(0)),
        };
        Place { space, offset, bytes: placed.graph.buffers[number].bytes() }
    };
    let places =
        (0..placed.homes.len()).map(|number| place(placed.elided[number].map_or(number, BufferId::index))).collect();
    Ok(Planned {
        placed,
        places,
        workspaces,
        lives,
        arena_bytes,
        lower_bound_bytes,
        unshared_bytes,
        weight_offsets: weights,
        weights_bytes,
        peak_step,
        live_at_peak,
        threads: options.threads,
    })
}

/// Bytes of a life; of the scratch for bodies what it would be in other circumstances.
fn scratch(placed: &Placed, life: &Life, other: impl Fn(BodyScratch) -> u64) -> u64 {
    match life.owner {
        Owner::Workspace { step } => {
            placed.graph.nodes[placed.order[step]].scratch.map_or(life.bytes, |scratch| rounded(other(scratch)))
        }
        Owner::Root(_) => life.bytes,
    }
}

/// Offset of each weight in the weights section, and its length.
fn weights(placed: &Placed) -> Option<(Vec<u64>, u64)> {
    let mut end = 0u64;
    let mut offsets = Vec::with_capacity(placed.graph.weights.len());
    for weight in &placed.graph.weights {
        offsets.push(end);
        end = end.checked_add(rounded(weight.stored.bytes() as u64))?;
    }
    Some((offsets, end))
}
