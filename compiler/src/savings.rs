//! What each kind of decision saved, found by doing without it, and what would save more, found by doing it.

use std::collections::BTreeMap;

use crate::diagnostic::Fault;
use crate::lower::KernelGraph;
use crate::place::{OrderStatus, PlaceOptions, Reason};
use crate::plan::Planned;
use crate::rematerialise::{self, Arranged, Fitted, Recomputed};
use crate::types::InputMode;

/// Arenas of other plans for the same kernels, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Savings {
    /// Every tie refused.
    pub without_inplace: u64,
    /// No part written straight into the whole. `None` where the graph is too large to plan it once more.
    pub without_emplacement: Option<u64>,
    /// The steps in the order of the source. `None` as above.
    pub without_order: Option<u64>,
    /// Nothing computed twice, where something is.
    pub without_rematerialisation: Option<u64>,
    pub recomputed: Vec<Recomputed>,
    /// At most three, those that save most first.
    pub actions: Vec<Action>,
}

/// Something the user could do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub what: What,
    /// What the arena would be.
    pub arena_bytes: u64,
    pub saves_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Declare this input `donate`.
    Donate { input: String },
    /// Allow `--max-peak` to have this value computed twice.
    Recompute(Recomputed),
}

/// Orders, ties and plans a program whose main graph is given.
pub type Arrange<'a> = dyn Fn(&KernelGraph, &PlaceOptions) -> Result<Arranged, Fault> + 'a;

/// Graphs with more nodes are not planned once more for a report.
const MAX_NODES: usize = 20_000;

/// Graphs with more nodes are not tried with every action; nor are those whose order could not be proved, from fewer nodes
/// on, because each trial would search as long again.
const MAX_NODES_FOR_ACTIONS: usize = 1_000;
const MAX_NODES_IF_UNPROVED: usize = 200;

/// Actions of a kind that are tried.
const MAX_ACTIONS: usize = 4;

/// Plans the program in all these ways. `planned` is the plan that was chosen under `options`, of `graph`.
pub fn savings(fitted: &Fitted, options: &PlaceOptions, arrange: &Arrange) -> Result<Savings, Fault> {
    let (graph, planned) = (&fitted.graph, &fitted.arranged.planned);
    let arena = |options: PlaceOptions| Ok(arrange(graph, &options)?.planned.arena_bytes);
    let has_ties = options.inplace;
    let is_small = graph.nodes.len() <= MAX_NODES;
    let emplaced = planned.placed.ties.iter().any(|tie| tie.kind == crate::place::TieKind::Emplace);
    let mut savings = Savings {
        without_inplace: match has_ties {
            true => arena(PlaceOptions { inplace: false, ..options.clone() })?,
            false => planned.arena_bytes,
        },
        recomputed: fitted.recomputed.clone(),
        ..Savings::default()
    };
    if is_small {
        savings.without_order = Some(arena(PlaceOptions { reorder: false, ..options.clone() })?);
        savings.without_emplacement = Some(match emplaced {
            true => arena(PlaceOptions { emplace: false, ..options.clone() })?,
            false => planned.arena_bytes,
        });
    }
    let is_proved = planned.placed.order_status == OrderStatus::Optimal;
    if graph.nodes.len() <= if is_proved { MAX_NODES_FOR_ACTIONS } else { MAX_NODES_IF_UNPROVED } {
        let options =
            PlaceOptions { search_limit: options.search_limit / rematerialise::TRIAL_SHARE, ..options.clone() };
        savings.actions = actions(fitted, &options, arrange);
    }
    Ok(savings)
}

/// What would lower the arena, each alone, most first.
fn actions(fitted: &Fitted, options: &PlaceOptions, arrange: &Arrange) -> Vec<Action> {
    let planned = &fitted.arranged.planned;
    let mut actions = Vec::new();
    for input in kept_inputs(planned).into_iter().take(MAX_ACTIONS) {
        let mut graph = fitted.graph.clone();
        for port in graph.inputs.iter_mut().filter(|port| port.name == input) {
            port.mode = InputMode::Donate;
        }
        if let Ok(arranged) = arrange(&graph, options) {
            actions.push((What::Donate { input }, arranged.planned.arena_bytes));
        }
    }
    let arrange = |graph: &KernelGraph| arrange(graph, options);
    let target = planned.arena_bytes.saturating_sub(1);
    if let Some(mut again) = rematerialise::improve(fitted, target, rematerialise::MAX_TRIALS, &arrange)
        && let Some(recomputed) = again.recomputed.pop()
    {
        actions.push((What::Recompute(recomputed), again.arranged.planned.arena_bytes));
    }
    let mut actions: Vec<Action> = actions
        .into_iter()
        .filter_map(|(what, arena_bytes)| {
            let saves_bytes = planned.arena_bytes.checked_sub(arena_bytes).filter(|&bytes| bytes > 0)?;
            Some(Action { what, arena_bytes, saves_bytes })
        })
        .collect();
    actions.sort_by_key(|action| std::cmp::Reverse(action.saves_bytes));
    actions.truncate(3);
    actions
}

/// Inputs whose bytes somebody wanted but for the caller, those that cost most first.
fn kept_inputs(planned: &Planned) -> Vec<String> {
    let mut wanted: BTreeMap<&String, u64> = BTreeMap::new();
    for refused in &planned.placed.refusals {
        if let Reason::NotDonated { input } = &refused.reason {
            *wanted.entry(input).or_default() += refused.bytes;
        }
    }
    let mut inputs: Vec<(&String, u64)> = wanted.into_iter().collect();
    inputs.sort_by_key(|&(input, bytes)| (std::cmp::Reverse(bytes), input.clone()));
    inputs.into_iter().map(|(input, _)| input.clone()).collect()
}
