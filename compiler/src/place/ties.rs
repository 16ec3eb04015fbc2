//! Which ties to try, in which order, and what to make of the answers.
//!
//! Copies come first, because a copy that is gone saves time as well as memory: final values of state (those must be
//! where they belong), bases of updates, parts of larger values. Then results over operands: those whose operand has the
//! fewest readers that nothing orders before the step yet, then by bytes, counting twice what is live at the peak. Random
//! graphs say that this greedy finds 99 % of the most ties possible; the last use in a fixed order finds 85 to 92 %.
//!
//! Order and ties are chosen together, in rounds. One round lets ties add edges freely and orders the steps under them;
//! another orders the steps first and grants only what that order allows, since an edge can cost more at the peak than
//! its tie saves; each is done with several rankings of the candidates. The best order found is then taken for the order
//! to obey, and ties that others wanted are forbidden, one at a time, as long as that helps. The lowest measured peak
//! wins, then the most bytes. A part whose place in a larger value keeps that value alive too long is taken out again.
//! `memory::choice` holds all of it against the best choice there is.

use std::collections::{BTreeMap, BTreeSet};

use super::order::{self, Order};
use super::problem::{compact, problem, roots_at_peak};
use super::proof::{Before, Reason, Refused, TieKind, Tied};
use super::readers::Readers;
use super::sharing::{Grant, Sharing};
use super::uses::Uses;
use super::{OrderStatus, PlaceOptions};
use crate::diagnostic::Fault;
use crate::lower::{BufferKind, KernelGraph, is_copy};

/// Rounds with some copies left in place, at most: for small graphs, and for large ones.
const MAX_TRIALS: usize = 24;
const MAX_TRIALS_IF_LARGE: usize = 6;

/// A round of trial has this share of the search.
const TRIAL_SHARE: u64 = 16;

/// Rounds in which the best order is the one to obey.
const MAX_ROUNDS: usize = 2;

/// Granted ties that are forbidden on trial.
const MAX_SWAPS: usize = 12;

/// From this many nodes on a graph is large.
const LARGE: usize = 600;

/// Graphs with more nodes than this are ordered and tied in one round.
pub(super) const MAX_NODES_FOR_TRIALS: usize = 4000;

/// Sharing and order that belong together.
pub(super) struct Choice<'g> {
    pub sharing: Sharing<'g>,
    pub ties: Vec<Tied>,
    pub refusals: Vec<Refused>,
    /// In nodes of the graph; elided ones are left out.
    pub order: Order,
    pub source_peak: Option<u64>,
}

/// Chooses.
pub(super) fn choose<'g>(graph: &'g KernelGraph, uses: &'g Uses, options: &PlaceOptions) -> Result<Choice<'g>, Fault> {
    let start = Sharing::new(graph, uses, options)?;
    let mut round = Round { graph, uses, options, start: &start, limit: options.search_limit, is_thorough: true };
    let mut best = round.best(&BTreeSet::new());
    if !options.inplace || graph.nodes.len() > MAX_NODES_FOR_TRIALS {
        return Ok(best.choice);
    }
    // Copies by the buffer they write: the parts of one value stay or go together.
    let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
    for (number, node) in graph.nodes.iter().enumerate().filter(|(_, node)| is_copy(node)) {
        let target = node.writes[0].access.value as usize;
        match groups.iter_mut().find(|(value, _)| *value == target) {
            Some((_, nodes)) => nodes.push(number),
            None => groups.push((target, vec![number])),
        }
    }
    let at_peak = |target: usize| best.at_peak.contains(&best.choice.sharing.root(best.choice.sharing.value(target)));
    if best.elided.is_empty() || !groups.iter().any(|(target, _)| at_peak(*target)) {
        return Ok(best.choice);
    }
    groups.sort_by_key(|(target, _)| (!at_peak(*target), std::cmp::Reverse(graph.buffers[*target].bytes()), *target));
    // Every copy gone (above), every copy kept, and then one group after the other the other way round.
    round.limit = options.search_limit / TRIAL_SHARE;
    round.is_thorough = false;
    let mut withdrawn = BTreeSet::new();
    let attempt =
        |candidate: BTreeSet<usize>, round: &Round<'_, 'g>, best: &mut Attempt<'g>, withdrawn: &mut BTreeSet<usize>| {
            let other = round.best(&candidate);
            if other.key() < best.key() {
                *best = other;
                *withdrawn = candidate;
            }
        };
    attempt(groups.iter().flat_map(|(_, nodes)| nodes.iter().copied()).collect(), &round, &mut best, &mut withdrawn);
    let trials = if graph.nodes.len() > LARGE { MAX_TRIALS_IF_LARGE } else { MAX_TRIALS };
    for (_, nodes) in groups.iter().take(trials) {
        let mut candidate = withdrawn.clone();
        for node in nodes {
            if !candidate.remove(node) {
                candidate.insert(*node);
            }
        }
        attempt(candidate, &round, &mut best, &mut withdrawn);
    }
    // Copies of a group that need not be kept with the others.
    for node in withdrawn.clone().into_iter().take(trials) {
        let mut candidate = withdrawn.clone();
        candidate.remove(&node);
        attempt(candidate, &round, &mut best, &mut withdrawn);
    }
    (round.limit, round.is_thorough) = (options.search_limit, true);
    if !withdrawn.is_empty() {
        let other = round.best(&withdrawn);
        if other.key() < best.key() {
            best = other;
        }
    }
    (round.limit, round.is_thorough) = (options.search_limit / TRIAL_SHARE, false);
    // Why each copy that was kept was kept: what it would be without.
    for &node in withdrawn.iter().take(trials) {
        let mut candidate = withdrawn.clone();
        candidate.remove(&node);
        let without = round.best(&candidate);
        let copy = Candidate::Copy { node };
        let reason = match without.copies_refused.into_iter().find(|(refused, _)| *refused == node) {
            Some((_, reason)) => reason,
            None => {
                let (from, to) = (best.choice.order.peak, without.choice.order.peak);
                Reason::RaisesPeak { from, to: to.max(from) }
            }
        };
        best.choice.refusals.push(refusal(graph, uses, &copy, reason));
    }
    Ok(best.choice)
}

/// A tie that may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Candidate {
    Copy { node: usize },
    Overwrite { node: usize, read: usize, write: usize },
}

/// What comes first among candidates.
#[derive(Clone, Copy, Debug)]
enum Ranking {
    /// Those with the fewest readers that nothing orders before the step yet, then the largest.
    Readers,
    /// The largest, then those with the fewest such readers.
    Bytes,
    /// As `Readers`, and among equals those at the end of the program.
    LastFirst,
}

impl Ranking {
    const ALL: [Ranking; 3] = [Ranking::Readers, Ranking::Bytes, Ranking::LastFirst];
}

/// How one attempt goes about it.
#[derive(Clone, Copy)]
struct Plan<'p> {
    ranking: Ranking,
    /// Roots whose bytes count twice.
    at_peak: &'p BTreeSet<usize>,
    /// An order that ties must not change.
    sequence: Option<&'p [usize]>,
    forbidden: &'p BTreeSet<Candidate>,
}

/// What every attempt starts from.
struct Round<'r, 'g> {
    graph: &'g KernelGraph,
    uses: &'g Uses,
    options: &'r PlaceOptions,
    start: &'r Sharing<'g>,
    /// Nodes of the search for an order.
    limit: u64,
    /// Whether to try every ranking, and to forbid ties on trial.
    is_thorough: bool,
}

/// A choice with what is needed to improve on it.
struct Attempt<'g> {
    choice: Choice<'g>,
    /// Copies that are gone, with the buffer they went into.
    elided: Vec<(usize, usize)>,
    copies_refused: Vec<(usize, Reason)>,
    /// Roots that are live at the peak.
    at_peak: BTreeSet<usize>,
    tied_bytes: u64,
    /// Ties whose operand another result could have had, or for which edges were added.
    contested: Vec<Candidate>,
}

impl Attempt<'_> {
    /// Less is better: the peak, then what is neither moved nor allocated.
    fn key(&self) -> (u64, std::cmp::Reverse<u64>) {
        (self.choice.order.peak, std::cmp::Reverse(self.tied_bytes))
    }
}

/// Ties granted and refused so far.
struct Ledger<'r> {
    options: &'r PlaceOptions,
    ties: Vec<Tied>,
    refusals: Vec<(Candidate, Reason)>,
    elided: Vec<(usize, usize)>,
}

impl Ledger<'_> {
    /// Whether the options let another tie be tried, for the value with this name.
    fn admits(&self, value: &str) -> bool {
        self.options.inplace
            && self.options.tie_limit.is_none_or(|limit| self.ties.len() < limit)
            && self.options.only_tie.as_ref().is_none_or(|only| only == value)
    }
}

impl<'g> Round<'_, 'g> {
    /// The best of the ways to couple order and ties.
    fn best(&self, withdrawn: &BTreeSet<usize>) -> Attempt<'g> {
        let (sharing, ledger) = self.copies(withdrawn);
        let (problem, live) = problem(self.graph, &sharing);
        let source: Vec<usize> = (0..live.len()).collect();
        let ordered = order::order(&problem, &[source], self.limit);
        let at_peak = roots_at_peak(self.graph, &sharing, &problem, &live, &ordered.nodes);
        let sequence: Vec<usize> = ordered.nodes.iter().map(|&node| live[node]).collect();
        let none = BTreeSet::new();
        let run = |plan: &Plan| self.overwrites(sharing.clone(), ledger.clone(), plan);
        let first = Plan { ranking: Ranking::ALL[0], at_peak: &at_peak, sequence: None, forbidden: &none };
        let mut best = run(&first);
        let nodes = self.graph.nodes.len();
        if !self.options.inplace || nodes > MAX_NODES_FOR_TRIALS {
            return best;
        }
        let mut plan = first;
        let is_thorough = self.is_thorough && nodes <= LARGE;
        let rankings = if is_thorough { &Ranking::ALL[..] } else { &Ranking::ALL[..1] };
        for (number, &ranking) in rankings.iter().enumerate() {
            for sequence in [None, Some(&sequence[..])] {
                if (number, sequence) == (0, None) {
                    continue;
                }
                let tried = Plan { ranking, at_peak: &at_peak, sequence, forbidden: &none };
                let other = run(&tried);
                if other.key() < best.key() {
                    (best, plan) = (other, tried);
                }
            }
        }
        if !is_thorough {
            return best;
        }
        // The best order as the one to obey; what it leaves room for may have been refused before.
        for _ in 0..MAX_ROUNDS {
            let (sequence, at_peak) = (best.choice.order.nodes.clone(), best.at_peak.clone());
            let other = run(&Plan { at_peak: &at_peak, sequence: Some(&sequence), ..plan });
            if other.key() >= best.key() {
                break;
            }
            best = other;
        }
        // One granted tie after the other is forbidden, where somebody else wanted the bytes or an edge was added for it.
        let mut forbidden = BTreeSet::new();
        for contested in best.contested.clone().into_iter().take(MAX_SWAPS) {
            let mut more = forbidden.clone();
            more.insert(contested);
            let other = run(&Plan { forbidden: &more, ..plan });
            if other.key() < best.key() {
                best = other;
                forbidden = more;
            }
        }
        best
    }

    /// Elides what copies can be elided.
    fn copies(&self, withdrawn: &BTreeSet<usize>) -> (Sharing<'g>, Ledger<'_>) {
        let graph = self.graph;
        let mut sharing = self.start.clone();
        let mut ledger = Ledger { options: self.options, ties: Vec::new(), refusals: Vec::new(), elided: Vec::new() };
        let mut copies: Vec<(usize, std::cmp::Reverse<u64>, usize)> = Vec::new();
        for (number, node) in graph.nodes.iter().enumerate().filter(|(_, node)| is_copy(node)) {
            let target = node.writes[0].access.value as usize;
            let class = match graph.buffers[target].kind {
                BufferKind::Final(_) => 0,
                _ if sharing.next(target).is_some() => 1,
                _ => 2,
            };
            copies.push((class, std::cmp::Reverse(moved_bytes(graph, number)), number));
        }
        copies.sort_unstable();
        for (_, _, node) in copies {
            let copy = Candidate::Copy { node };
            let value = &graph.buffer(graph.nodes[node].writes[0].access.value).name;
            if withdrawn.contains(&node) {
                continue;
            }
            let is_kept = !self.options.emplace && copy_kind(graph, self.uses, node) == TieKind::Emplace;
            let outcome = match ledger.admits(value) && !is_kept {
                true => sharing.elide(node),
                false => Err(Reason::Withheld),
            };
            match outcome {
                Ok(grant) => {
                    ledger.elided.push((node, graph.nodes[node].writes[0].access.value as usize));
                    ledger.ties.push(tied(graph, self.uses, &copy, grant));
                }
                Err(reason) => ledger.refusals.push((copy, reason)),
            }
        }
        (sharing, ledger)
    }

    /// Lets results overwrite operands, then orders the steps.
    fn overwrites<'l>(&self, mut sharing: Sharing<'g>, mut ledger: Ledger<'l>, plan: &Plan) -> Attempt<'g> {
        let graph = self.graph;
        let mut position = vec![0usize; graph.nodes.len()];
        for (at, &node) in plan.sequence.unwrap_or_default().iter().enumerate() {
            position[node] = at;
        }
        let mut granted: Vec<(Candidate, usize, bool)> = Vec::new();
        let mut wanted = BTreeSet::new();
        for candidate in self.candidates(&sharing, plan) {
            let Candidate::Overwrite { node, read, write } = candidate else { continue };
            let access = &graph.nodes[node].writes[write].access;
            let result = sharing.value(access.value as usize);
            let operand = sharing.value(graph.nodes[node].reads[read].value as usize);
            if sharing.next(operand) == Some(result) || plan.forbidden.contains(&candidate) {
                continue;
            }
            let outcome = if !ledger.admits(&graph.buffer(access.value).name) {
                Err(Reason::Withheld)
            } else {
                let mut late = plan.sequence.map_or(Vec::new(), |_| sharing.readers(operand)).into_iter();
                match late.find(|&reader| position[reader] > position[node]) {
                    Some(by) if !sharing.dependence().is_before_by_data(node, by) => {
                        let label = sharing.label(by);
                        Err(Reason::AntiDependenceCycle { through: label.clone(), by: label })
                    }
                    _ => sharing.tie(node, read, write),
                }
            };
            match outcome {
                Ok(grant) => {
                    let adds = grant.proof.observers.iter().any(|observer| observer.before == Before::Added);
                    granted.push((candidate, operand, adds));
                    ledger.ties.push(tied(graph, self.uses, &candidate, grant));
                }
                Err(reason) => {
                    if matches!(reason, Reason::AlreadyTaken { .. } | Reason::AntiDependenceCycle { .. }) {
                        wanted.insert(operand);
                    }
                    ledger.refusals.push((candidate, reason));
                }
            }
        }
        let contested = granted.into_iter().filter(|(_, operand, adds)| *adds || wanted.contains(operand));
        let contested = contested.map(|(candidate, ..)| candidate).collect();
        let (problem, live) = problem(graph, &sharing);
        let mut starts: Vec<Vec<usize>> = vec![(0..live.len()).collect()];
        let compact = compact(graph, &live);
        starts.extend(plan.sequence.map(|sequence| sequence.iter().map(|&node| compact[node]).collect()));
        let source_peak = problem.is_valid(&starts[0]).then(|| problem.peak(&starts[0]));
        let mut order = order::order(&problem, &starts, self.limit);
        let at_peak = roots_at_peak(graph, &sharing, &problem, &live, &order.nodes);
        order.nodes = order.nodes.iter().map(|&node| live[node]).collect();
        let tied_bytes = ledger.ties.iter().map(|tie| tie.bytes).sum();
        let copies_refused = ledger
            .refusals
            .iter()
            .filter_map(|(candidate, reason)| match candidate {
                Candidate::Copy { node } => Some((*node, reason.clone())),
                Candidate::Overwrite { .. } => None,
            })
            .collect();
        let refusals = self.refusals(&sharing, ledger.refusals);
        let choice = Choice { sharing, ties: ledger.ties, refusals, order, source_peak };
        Attempt { choice, elided: ledger.elided, copies_refused, at_peak, tied_bytes, contested }
    }

    /// Results and operands that could share bytes by their size, the most promising first.
    fn candidates(&self, sharing: &Sharing<'g>, plan: &Plan) -> Vec<Candidate> {
        let graph = self.graph;
        let mut ranked = Vec::new();
        let mut readers = Readers::default();
        for (number, node) in graph.nodes.iter().enumerate() {
            if is_copy(node) || sharing.is_elided(number) {
                continue;
            }
            for (w, write) in node.writes.iter().enumerate().filter(|(_, write)| write.base.is_none()) {
                let new = graph.buffer(write.access.value);
                let mut seen = BTreeSet::new();
                for (r, read) in node.reads.iter().enumerate() {
                    let old = graph.buffer(read.value);
                    let similar = old.bytes() == new.bytes() || old.ty.len() == new.ty.len();
                    if !similar
                        || new.bytes() == 0
                        || !seen.insert((read.value, read.layout.offset, read.layout.strides.clone()))
                    {
                        continue;
                    }
                    let operand = sharing.value(read.value as usize);
                    let unordered = readers.unordered(sharing, operand, number);
                    let result = sharing.value(write.access.value as usize);
                    let live = [operand, result].iter().any(|&value| plan.at_peak.contains(&sharing.root(value)));
                    let weight = new.bytes() * if live { 2 } else { 1 };
                    let asked = node.requests.iter().position(|&request| request == (r, w)).unwrap_or(usize::MAX);
                    let candidate = Candidate::Overwrite { node: number, read: r, write: w };
                    let weight = std::cmp::Reverse(weight);
                    // The least rank is tried first.
                    let rank = match plan.ranking {
                        Ranking::Readers => (unordered as u64, weight, 0),
                        Ranking::Bytes => (0, weight, unordered as u64),
                        Ranking::LastFirst => (unordered as u64, weight, (graph.nodes.len() - number) as u64),
                    };
                    ranked.push(((rank, asked, number, w, r), candidate));
                }
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// One refusal for each value that got no bytes of another's: the one that came closest.
    fn refusals(&self, sharing: &Sharing<'g>, refused: Vec<(Candidate, Reason)>) -> Vec<Refused> {
        let mut closest: BTreeMap<(usize, usize), (u8, Candidate, Reason)> = BTreeMap::new();
        for (candidate, reason) in refused {
            match candidate {
                Candidate::Copy { node } => {
                    closest.insert((node, 0), (0, candidate, reason));
                }
                Candidate::Overwrite { node, write, .. } => {
                    let value = sharing.value(self.graph.nodes[node].writes[write].access.value as usize);
                    if !sharing.is_root(value) {
                        continue;
                    }
                    let distance = distance(&reason);
                    if closest.get(&(node, write)).is_none_or(|(least, ..)| distance < *least) {
                        closest.insert((node, write), (distance, candidate, reason));
                    }
                }
            }
        }
        closest.into_values().map(|(_, candidate, reason)| refusal(self.graph, self.uses, &candidate, reason)).collect()
    }
}

impl<'r> Clone for Ledger<'r> {
    fn clone(&self) -> Ledger<'r> {
        Ledger {
            options: self.options,
            ties: self.ties.clone(),
            refusals: self.refusals.clone(),
            elided: self.elided.clone(),
        }
    }
}

/// How far from a tie a refusal is: what a small change of the program could remove comes first.
fn distance(reason: &Reason) -> u8 {
    match reason {
        Reason::ReadLater { .. } | Reason::AntiDependenceCycle { .. } | Reason::NotDonated { .. } => 0,
        Reason::IsOutput | Reason::AlreadyTaken { .. } | Reason::OutputsCollide { .. } | Reason::IsState { .. } => 1,
        Reason::OtherOperandOverlaps { .. } | Reason::PartialOverlap { .. } | Reason::PlaceFixed { .. } => 2,
        Reason::LayoutDiffers | Reason::CannotWriteRegion { .. } | Reason::RaisesPeak { .. } => 3,
        Reason::KernelForbids { .. } | Reason::Withheld => 4,
        Reason::SizeDiffers { .. } => 5,
        Reason::IsConstant => 6,
    }
}

fn moved_bytes(graph: &KernelGraph, copy: usize) -> u64 {
    let access = &graph.nodes[copy].writes[0].access;
    (access.layout.len() * access.dtype.size()) as u64
}

/// `(over, value, bytes, requested)` of a candidate.
fn parties(graph: &KernelGraph, candidate: &Candidate) -> (String, String, u64, bool) {
    let (node, read, write) = match *candidate {
        Candidate::Copy { node } => (node, 0, 0),
        Candidate::Overwrite { node, read, write } => (node, read, write),
    };
    let kernel = &graph.nodes[node];
    let (old, new) = (graph.buffer(kernel.reads[read].value), graph.buffer(kernel.writes[write].access.value));
    match candidate {
        Candidate::Copy { .. } => (old.name.clone(), new.name.clone(), moved_bytes(graph, node), false),
        Candidate::Overwrite { .. } => {
            (old.name.clone(), new.name.clone(), new.bytes(), kernel.requests.contains(&(read, write)))
        }
    }
}

fn tied(graph: &KernelGraph, uses: &Uses, candidate: &Candidate, grant: Grant) -> Tied {
    let (Candidate::Copy { node } | Candidate::Overwrite { node, .. }) = *candidate;
    let (over, value, bytes, requested) = parties(graph, candidate);
    Tied { kind: grant.kind, value, over, step: uses.name(graph, node), bytes, requested, proof: grant.proof }
}

fn refusal(graph: &KernelGraph, uses: &Uses, candidate: &Candidate, reason: Reason) -> Refused {
    let (Candidate::Copy { node } | Candidate::Overwrite { node, .. }) = *candidate;
    let (over, value, bytes, requested) = parties(graph, candidate);
    let step = uses.name(graph, node);
    let blame = match &reason {
        Reason::ReadLater { by } | Reason::AntiDependenceCycle { by, .. } | Reason::AlreadyTaken { by } => by.clone(),
        Reason::NotDonated { input } | Reason::IsState { input } => input.clone(),
        Reason::OtherOperandOverlaps { by, .. } => by.clone(),
        Reason::PartialOverlap { whole } => whole.clone(),
        Reason::OutputsCollide { with } => with.clone(),
        Reason::PlaceFixed { at } => at.clone(),
        Reason::IsOutput | Reason::IsConstant | Reason::SizeDiffers { .. } => over.clone(),
        Reason::LayoutDiffers
        | Reason::KernelForbids { .. }
        | Reason::CannotWriteRegion { .. }
        | Reason::RaisesPeak { .. } => step.clone(),
        Reason::Withheld => "options".to_string(),
    };
    let hint = match &reason {
        Reason::NotDonated { .. } => Some("declare the input `donate` if the caller does not need it afterwards"),
        Reason::IsOutput => Some("return a copy of it, or do not return it"),
        Reason::LayoutDiffers => Some("keep the operand in the order in which it is read"),
        Reason::IsState { .. } => Some("let the new state be made last, or be a copy"),
        _ => None,
    };
    let kind = match candidate {
        Candidate::Overwrite { .. } => TieKind::Overwrite,
        Candidate::Copy { .. } => copy_kind(graph, uses, node),
    };
    Refused { kind, value, over, step, reason, blame, bytes, hint, requested }
}

/// What eliding a copy would have been.
fn copy_kind(graph: &KernelGraph, uses: &Uses, node: usize) -> TieKind {
    let write = &graph.nodes[node].writes[0];
    let target = graph.buffer(write.access.value);
    match target.kind {
        BufferKind::Final(_) => TieKind::Final,
        _ if uses.is_base[write.access.value as usize] => TieKind::Update,
        _ if write.access.layout.len() < target.ty.len() || write.base.is_some() => TieKind::Emplace,
        _ => TieKind::Forward,
    }
}

impl OrderStatus {
    /// The word in reports.
    pub fn name(&self) -> &'static str {
        match self {
            OrderStatus::Optimal => "optimal",
            OrderStatus::Bounded { .. } => "bounded",
            OrderStatus::Heuristic { .. } => "heuristic",
        }
    }
}
