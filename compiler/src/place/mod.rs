//! Order and ties: which step runs when, and which values share bytes.
//!
//! This stage alone decides both, and decides them together: a tie may need steps in a certain order, and an order
//! decides which ties are legal. The input says only what depends on what.

mod proof;

pub use proof::{Before, Condition, Home, Observer, Proof, Reason, Refused, Root, TieKind, Tied};

use crate::lower::KernelGraph;

/// What the caller chooses.
#[derive(Clone, Debug)]
pub struct PlaceOptions {
    /// Whether values may share bytes at all. `false` refuses every tie; the kernels stay the same.
    pub inplace: bool,
    /// At most so many ties, in the order in which they are granted: to bisect a wrong result.
    pub tie_limit: Option<usize>,
    /// Only the tie of the value with this name.
    pub only_tie: Option<String>,
    /// Steps of the search for the best order, for the whole graph.
    pub search_limit: u64,
}

impl Default for PlaceOptions {
    fn default() -> PlaceOptions {
        PlaceOptions { inplace: true, tie_limit: None, only_tie: None, search_limit: 200_000 }
    }
}

/// How good the order is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    /// No order of these steps with these ties has a lower peak.
    Optimal,
    /// The search ended at its limit; no order has a peak below `lower_bound`.
    Bounded { lower_bound: u64 },
    /// Too large to search; the best of several heuristics.
    Heuristic { lower_bound: u64 },
}

/// Order and ties of a program.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The graph without the copies that were elided. Buffers keep their numbers; one that is no longer named by any
    /// access, port or final was elided.
    pub graph: KernelGraph,
    /// `order[step]` is an index into `graph.nodes`.
    pub order: Vec<usize>,
    /// One for each buffer.
    pub homes: Vec<Home>,
    /// For a buffer that was elided, the one that holds its content now.
    pub elided: Vec<Option<crate::lower::BufferId>>,
    pub ties: Vec<Tied>,
    pub refusals: Vec<Refused>,
    pub order_status: OrderStatus,
    /// Largest sum of live bytes of this order, workspaces included.
    pub peak_bytes: u64,
    /// The same for the source order with the same ties, where that order obeys them.
    pub source_peak_bytes: Option<u64>,
}
