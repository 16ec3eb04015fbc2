//! Order and ties: which step runs when, and which values share bytes.
//!
//! This stage alone decides both, and decides them together: a tie may need steps in a certain order, and an order
//! decides which ties are legal. The input says only what depends on what.

mod contract;
mod dependence;
pub mod order;
mod problem;
mod proof;
mod readers;
mod region;
mod sequence;
mod sharing;
mod ties;
mod uses;

pub use proof::{Before, Clear, Condition, Home, Observer, Operand, Proof, Reason, Refused, Root, TieKind, Tied};

use situ_runtime::executable::ALIGNMENT;

use crate::diagnostic::Fault;
use crate::lower::{BufferId, BufferKind, KernelGraph, KernelInput, is_copy};

/// What the caller chooses.
#[derive(Clone, Debug)]
pub struct PlaceOptions {
    /// Whether values may share bytes at all. `false` refuses every tie; the kernels stay the same.
    pub inplace: bool,
    /// Whether a part may be written straight into the whole; `false` keeps the copies of parts.
    pub emplace: bool,
    /// Whether steps may change places.
    pub reorder: bool,
    /// At most so many ties, in the order in which they are granted: to bisect a wrong result.
    pub tie_limit: Option<usize>,
    /// Only the tie of the value with this name.
    pub only_tie: Option<String>,
    /// Steps of the search for the best order, for the whole graph.
    pub search_limit: u64,
    /// Threads the workspaces must suffice for.
    pub threads: usize,
}

impl Default for PlaceOptions {
    fn default() -> PlaceOptions {
        PlaceOptions {
            inplace: true,
            emplace: true,
            reorder: true,
            tie_limit: None,
            only_tie: None,
            search_limit: 200_000,
            threads: 1,
        }
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
    /// For each node of `graph` which node of the graph it came from, after cycles of state were parted.
    pub sources: Vec<usize>,
    /// `order[step]` is an index into `graph.nodes`.
    pub order: Vec<usize>,
    /// One for each buffer.
    pub homes: Vec<Home>,
    /// For a buffer that was elided, the one that holds its content now.
    pub elided: Vec<Option<BufferId>>,
    pub ties: Vec<Tied>,
    pub refusals: Vec<Refused>,
    pub order_status: OrderStatus,
    /// Largest sum of live bytes of this order, workspaces included.
    pub peak_bytes: u64,
    /// The same for the source order with the same ties, where that order obeys them.
    pub source_peak_bytes: Option<u64>,
}

/// `bytes` rounded up to the alignment of buffers.
pub(crate) fn rounded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Chooses order and ties. Fails only by a mistake of an earlier stage (a cycle, a value that is updated twice).
pub fn place(mut graph: KernelGraph, options: &PlaceOptions) -> Result<Placed, Fault> {
    part_cycles_of_state(&mut graph);
    let uses = uses::Uses::of(&graph);
    let choice = ties::choose(&graph, &uses, options)?;
    let sharing = &choice.sharing;
    let fault = |message: &str| Fault { stage: "place", message: message.to_string() };
    let mut placed = KernelGraph { nodes: Vec::new(), ..graph.clone() };
    let mut numbers = vec![usize::MAX; graph.nodes.len()];
    let mut sources = Vec::new();
    for (number, node) in graph.nodes.iter().enumerate().filter(|(number, _)| !sharing.is_elided(*number)) {
        let mut node = node.clone();
        for read in &mut node.reads {
            *read = sharing.access(read).ok_or_else(|| fault("an operand has no layout in its place"))?;
        }
        for write in &mut node.writes {
            *write = sharing.write(write).ok_or_else(|| fault("a result has no layout in its place"))?;
        }
        node.workspace = sharing.workspace(number);
        numbers[number] = placed.nodes.len();
        sources.push(number);
        placed.nodes.push(node);
    }
    for output in &mut placed.outputs {
        output.access = sharing.access(&output.access).ok_or_else(|| fault("an output has no layout in its place"))?;
    }
    for (_, buffer) in &mut placed.finals {
        *buffer = BufferId(sharing.value(buffer.index()) as u32);
    }
    // The last of the ten conditions: what overwrites its operand must not run on it again.
    let order: Vec<usize> = choice.order.nodes.iter().map(|&node| numbers[node]).collect();
    let mut once = order.clone();
    once.sort_unstable();
    if !once.into_iter().eq(0..placed.nodes.len()) {
        return Err(fault("a step is not in the order exactly once"));
    }
    let homes = (0..graph.buffers.len())
        .map(|buffer| Home {
            root: BufferId(sharing.root(sharing.value(buffer)) as u32),
            offset: sharing.offset(buffer) * graph.buffers[buffer].ty.dtype.size() as u64,
        })
        .collect();
    let elided = (0..graph.buffers.len())
        .map(|buffer| Some(sharing.value(buffer)).filter(|&value| value != buffer).map(|value| BufferId(value as u32)))
        .collect();
    Ok(Placed {
        order,
        sources,
        homes,
        elided,
        order_status: choice.order.status,
        peak_bytes: choice.order.peak,
        source_peak_bytes: choice.source_peak,
        ties: choice.ties,
        refusals: choice.refusals,
        graph: placed,
    })
}

/// The order and the bytes of the graph as it is: no step is moved, no copy elided, and nothing shares bytes but the
/// versions of one storage, each of which has the bytes of the one it updates.
pub fn as_written(graph: KernelGraph) -> Placed {
    let mut homes: Vec<Home> =
        (0..graph.buffers.len()).map(|buffer| Home { root: BufferId(buffer as u32), offset: 0 }).collect();
    for write in graph.nodes.iter().flat_map(|node| &node.writes) {
        if let Some(base) = write.base {
            homes[write.access.value as usize] = homes[base as usize];
        }
    }
    Placed {
        order: (0..graph.nodes.len()).collect(),
        sources: (0..graph.nodes.len()).collect(),
        elided: vec![None; homes.len()],
        homes,
        ties: Vec::new(),
        refusals: Vec::new(),
        // Nothing was sought, so nothing is known.
        order_status: OrderStatus::Heuristic { lower_bound: 0 },
        peak_bytes: 0,
        source_peak_bytes: None,
        graph,
    }
}

/// State that only changes places (`a, b = b, a`) would need every copy to come before every other: each copy overwrites
/// what the next one reads. One value of each such cycle is set aside first. State that is rearranged (`a = a.t()`) is
/// a cycle of one.
pub(crate) fn part_cycles_of_state(graph: &mut KernelGraph) {
    // `sources[i]` is `(node, j)` when the last copy into input `i` reads input `j`.
    let mut sources: Vec<Option<(usize, usize)>> = vec![None; graph.inputs.len()];
    for (number, node) in graph.nodes.iter().enumerate().filter(|(_, node)| is_copy(node)) {
        let (read, write) = (&node.reads[0], &node.writes[0].access);
        let (target, source) = (graph.buffer(write.value).kind, graph.buffer(read.value).kind);
        if let (BufferKind::Final(to), BufferKind::Input(from)) = (target, source)
            && (to != from || !region::is_same(read, write))
        {
            sources[to as usize] = Some((number, from as usize));
        }
    }
    let mut visited = vec![false; sources.len()];
    let mut aside = Vec::new();
    for start in 0..sources.len() {
        let mut trail = Vec::new();
        let mut at = start;
        while let (false, Some((node, next))) = (visited[at], sources[at]) {
            visited[at] = true;
            trail.push(at);
            if trail.contains(&next) {
                aside.push(node);
            }
            at = next;
        }
    }
    aside.sort_unstable();
    for node in aside.into_iter().rev() {
        let copy = graph.nodes[node].clone();
        let KernelInput { ty, .. } = {
            let BufferKind::Input(input) = graph.buffer(copy.reads[0].value).kind else { continue };
            graph.inputs[input as usize].clone()
        };
        let name = format!("{}.aside", graph.buffer(copy.reads[0].value).name);
        let buffer = graph.add_buffer(name, ty.clone(), BufferKind::Temporary);
        let whole = crate::lower::whole(buffer, &ty);
        let mut first = copy.clone();
        first.reads[0] = situ_runtime::executable::Access { value: copy.reads[0].value, ..whole.clone() };
        first.writes[0].access = whole.clone();
        graph.nodes[node].reads[0].value = buffer.0;
        graph.nodes.insert(node, first);
    }
}
