//! Rewriting and placing in rounds.
//!
//! The rewriter prices what it cannot know: whether `place` will grant its requests, and how much longer values live when
//! kernels are merged. So the first result is placed and planned, and what that says is handed back, a fixed number of
//! times: regions of which a request was refused are extracted again without hoping for it (a *nogood*), and where
//! something was merged, the program is made once more without. The plan with the smallest arena stands, of equal ones
//! that which moves fewer bytes.

use std::collections::BTreeSet;

use crate::diagnostic::Fault;
use crate::functional::PureGraph;
use crate::lower::{KernelGraph, Lowered};
use crate::place::{OrderStatus, Placed};
use crate::rematerialise::Arranged;
use crate::rewrite::{self, RewriteOptions, RewriteReport};

/// Bytes that merging may cost: about what one kernel keeps in registers beside it.
const SLACK: u64 = 16 << 10;

/// Programs of more kernels than this are made once; of fewer, where the order could not be proved, because to place them
/// takes long.
const MOST_KERNELS: usize = 4_000;
const MOST_KERNELS_IF_UNPROVED: usize = 200;

/// A program as it was made, with what each stage said.
#[derive(Clone, Debug)]
pub struct Round {
    pub rewritten: PureGraph,
    pub report: RewriteReport,
    pub lowered: Lowered,
    pub arranged: Arranged,
}

/// Lowers and arranges a rewritten program.
pub type Arrange<'a> = dyn Fn(&PureGraph) -> Result<(Lowered, Arranged), Fault> + 'a;

/// Chooses kernels, order, ties and offsets together.
pub fn settle(functional: &PureGraph, options: &RewriteOptions, arrange: &Arrange) -> Result<Round, Fault> {
    let attempt = |options: &RewriteOptions| -> Result<Round, Fault> {
        let (rewritten, report) = rewrite::optimize(functional.clone(), options)?;
        let (lowered, arranged) = arrange(&rewritten)?;
        Ok(Round { rewritten, report, lowered, arranged })
    };
    let mut best = attempt(options)?;
    let is_proved = best.arranged.planned.placed.order_status == OrderStatus::Optimal;
    let most = if is_proved { MOST_KERNELS } else { MOST_KERNELS_IF_UNPROVED };
    if !options.rewrite || best.lowered.main.nodes.len() > most {
        return Ok(best);
    }
    let mut options = options.clone();
    let pessimistic = refused(&best.arranged.planned.placed, &best.report);
    if !pessimistic.is_empty() {
        let hopeful = std::mem::replace(&mut options.pessimistic, pessimistic);
        let other = attempt(&options)?;
        if key(&other) < key(&best) {
            best = other;
        } else {
            options.pessimistic = hopeful;
        }
    }
    if options.merge && is_merged(&best.report) {
        let apart = attempt(&RewriteOptions { merge: false, ..options })?;
        if apart.arranged.planned.arena_bytes.saturating_add(SLACK) < best.arranged.planned.arena_bytes {
            best = apart;
        }
    }
    Ok(best)
}

fn key(round: &Round) -> (u64, u64) {
    (round.arranged.planned.arena_bytes, round.report.bytes_after)
}

fn is_merged(report: &RewriteReport) -> bool {
    report.rules.keys().any(|&rule| rewrite::is_merge(rule))
}

/// Regions of the rewriter of which a request was not granted.
fn refused(placed: &Placed, report: &RewriteReport) -> BTreeSet<u32> {
    let graph: &KernelGraph = &placed.graph;
    let granted: BTreeSet<&str> =
        placed.ties.iter().filter(|tie| tie.requested).map(|tie| tie.value.as_str()).collect();
    let asking = graph.nodes.iter().filter(|node| !node.requests.is_empty());
    let refused = asking.filter(|node| {
        let names = node.writes.iter().map(|write| graph.buffer(write.access.value).name.as_str());
        !names.into_iter().any(|name| granted.contains(name))
    });
    let made = refused.flat_map(|node| &node.origins);
    made.filter_map(|&made| report.derivations.as_ref()?.region(made)).collect()
}
