//! The best choice of ties there is, by trying every one: the oracle of the choice `place` makes.
//!
//! It shares no code with `place`. A choice of ties says in which cells of which storage the elements of each buffer lie and
//! which copies are gone; nothing else. Whether a choice is legal is decided by what a program means: every element has
//! a *meaning* (who computed it; a copy moves meanings and makes none), and an order is right when every step finds in the
//! cells it reads what it would have found with every buffer in cells of its own, and the caller finds at the end what is
//! promised. All orders are looked at, by their sets of finished steps: of a cell that is still needed such a set says what it
//! holds, because no right order has overwritten it.
//!
//! What is taken as given is what the machine can do: which kernels may find an operand where they write (element by
//! element only), that a kernel is handed ranges of bytes, and which regions it can write.

use std::collections::BTreeMap;

use situ::lower::{BufferKind, KernelGraph};
use situ::place::Placed;
use situ::types::InputMode;
use situ_runtime::executable::{Access, Write};
use situ_runtime::kernel::Kernel;
use situ_runtime::kernel::prepared::workspace_bytes;
use situ_runtime::types::Layout;

/// Something that could be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A copy is gone.
    Copy { node: usize },
    /// A result has the cells of an operand.
    Overwrite { node: usize, read: usize, write: usize },
}

/// The best figures over all choices of ties and all orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Best {
    /// Most bytes that are not moved or not allocated.
    pub bytes: u64,
    /// Most ties.
    pub ties: usize,
    /// Least peak, and the most bytes with that peak.
    pub peak: u64,
    pub bytes_at_peak: u64,
    /// The ties of that choice.
    pub shares: Vec<Share>,
    /// Choices that were looked at.
    pub tried: usize,
}

/// Storage for some elements. Pinned storage belongs to an input or a weight.
#[derive(Clone, Debug)]
struct Storage {
    cells: usize,
    size: usize,
    pinned: Option<usize>,
}

/// Where everything is.
#[derive(Clone, Debug)]
struct Placement {
    storages: Vec<Storage>,
    /// For each buffer its storage and the cell of each of its elements.
    at: Vec<(usize, Vec<usize>)>,
    gone: Vec<bool>,
}

fn elements(layout: &Layout) -> Vec<usize> {
    let mut all = vec![layout.offset];
    for (&extent, &stride) in layout.shape.iter().zip(&layout.strides) {
        all = all.iter().flat_map(|start| (0..extent as i64).map(move |i| start + i * stride)).collect();
    }
    all.into_iter().map(|element| element as usize).collect()
}

fn is_copy(graph: &KernelGraph, node: usize) -> bool {
    let node = &graph.nodes[node];
    node.kernel.name() == "copy" && node.reads[0].dtype == node.writes[0].access.dtype
}

/// What every element of every buffer means, from a run with every buffer in cells of its own.
fn meanings(graph: &KernelGraph) -> Vec<Vec<u32>> {
    let mut fresh = 0;
    let mut next = || {
        fresh += 1;
        fresh
    };
    let mut meaning: Vec<Vec<u32>> = graph
        .buffers
        .iter()
        .map(|buffer| match buffer.kind {
            BufferKind::Input(_) | BufferKind::Weight(_) => (0..buffer.ty.len()).map(|_| next()).collect(),
            _ => vec![0; buffer.ty.len()],
        })
        .collect();
    for (number, node) in graph.nodes.iter().enumerate() {
        for write in &node.writes {
            let value = write.access.value as usize;
            if let Some(base) = write.base {
                meaning[value] = meaning[base as usize].clone();
            }
            let moved: Option<Vec<u32>> = is_copy(graph, number).then(|| {
                let read = &node.reads[0];
                elements(&read.layout).into_iter().map(|e| meaning[read.value as usize][e]).collect()
            });
            for (position, element) in elements(&write.access.layout).into_iter().enumerate() {
                meaning[value][element] = moved.as_ref().map_or_else(&mut next, |moved| moved[position]);
            }
        }
    }
    meaning
}

impl Placement {
    /// Nothing shared but what the program demands: an update has the cells of its base, a final value those of its input.
    fn new(graph: &KernelGraph) -> Placement {
        let mut placement = Placement { storages: Vec::new(), at: Vec::new(), gone: vec![false; graph.nodes.len()] };
        for (number, buffer) in graph.buffers.iter().enumerate() {
            let pinned = matches!(buffer.kind, BufferKind::Input(_) | BufferKind::Weight(_)).then_some(number);
            placement.storages.push(Storage { cells: buffer.ty.len(), size: buffer.ty.dtype.size(), pinned });
            placement.at.push((number, (0..buffer.ty.len()).collect()));
        }
        for write in graph.nodes.iter().flat_map(|node| &node.writes) {
            if let Some(base) = write.base {
                let all: Vec<usize> = (0..graph.buffers[base as usize].ty.len()).collect();
                assert!(placement.join(base as usize, &all, write.access.value as usize, &all).is_some());
            }
        }
        for &(input, last) in &graph.finals {
            let all: Vec<usize> = (0..graph.buffers[last.index()].ty.len()).collect();
            let first = graph.inputs[input as usize].buffer.index();
            assert!(placement.join(first, &all, last.index(), &all).is_some());
        }
        placement
    }

    /// Puts element `of_a[k]` of `a` and element `of_b[k]` of `b` in one cell, for every `k`. `None`: impossible without new
    /// cells, or they have other places already. `Some(false)`: it was so before.
    fn join(&mut self, a: usize, of_a: &[usize], b: usize, of_b: &[usize]) -> Option<bool> {
        let cells = |at: &Placement, buffer: usize, of: &[usize]| -> Vec<usize> {
            of.iter().map(|&element| at.at[buffer].1[element]).collect()
        };
        let (from, to) = (cells(self, a, of_a), cells(self, b, of_b));
        let (sa, sb) = (self.at[a].0, self.at[b].0);
        if sa == sb {
            return (from == to).then_some(false);
        }
        if self.storages[sa].size != self.storages[sb].size {
            return None;
        }
        let whole = |from: &[usize], to: &[usize], count: usize| -> Option<Vec<usize>> {
            let mut map = vec![usize::MAX; count];
            for (&from, &to) in from.iter().zip(to) {
                map[from] = to;
            }
            let mut hosts = map.clone();
            hosts.sort_unstable();
            hosts.dedup();
            (!map.contains(&usize::MAX) && hosts.len() == count).then_some(map)
        };
        let attempts = [
            (sa, sb, whole(&from, &to, self.storages[sa].cells)),
            (sb, sa, whole(&to, &from, self.storages[sb].cells)),
        ];
        for (guest, host, map) in attempts {
            if self.storages[guest].pinned.is_some() {
                continue;
            }
            let Some(map) = map else { continue };
            for (storage, cells) in self.at.iter_mut().filter(|(storage, _)| *storage == guest) {
                *storage = host;
                cells.iter_mut().for_each(|cell| *cell = map[*cell]);
            }
            return Some(true);
        }
        None
    }

    fn apply(&mut self, graph: &KernelGraph, share: Share) -> Option<bool> {
        let (node, read, write) = match share {
            Share::Copy { node } => (node, 0, 0),
            Share::Overwrite { node, read, write } => (node, read, write),
        };
        let (from, to) = (&graph.nodes[node].reads[read], &graph.nodes[node].writes[write].access);
        let (a, b) = (from.value as usize, to.value as usize);
        let joined = self.join(a, &elements(&from.layout), b, &elements(&to.layout))?;
        if let Share::Copy { node } = share {
            self.gone[node] = true;
        }
        Some(joined)
    }

    fn cells(&self, access: &Access) -> Vec<usize> {
        let cells = &self.at[access.value as usize].1;
        elements(&access.layout).into_iter().map(|element| cells[element]).collect()
    }

    /// The access in terms of its storage, when its cells lie in equal steps along every axis.
    fn access(&self, access: &Access) -> Option<Access> {
        let cells = self.cells(access);
        let shape = &access.layout.shape;
        let mut strides = vec![0; shape.len()];
        let mut step = 1;
        for axis in (0..shape.len()).rev() {
            if shape[axis] > 1 {
                strides[axis] = cells[step] as i64 - cells[0] as i64;
            }
            step *= shape[axis];
        }
        let layout = Layout { offset: cells[0] as i64, shape: shape.clone(), strides };
        let same = elements(&layout) == cells;
        same.then(|| Access { value: self.at[access.value as usize].0 as u32, dtype: access.dtype, layout })
    }
}

/// What a set of finished steps must not lose: cells whose content somebody needs.
struct Need {
    /// Who needs it; the highest bit stands for the end of the program.
    readers: u64,
    /// The step that puts it there; `None`: it is there from the start.
    writer: Option<usize>,
    /// Steps that put something else there.
    spoilers: u64,
}

const END: u64 = 1 << 63;

/// A placement as a question about orders.
struct Orders {
    steps: Vec<usize>,
    predecessors: Vec<u64>,
    needs: Vec<Need>,
    /// Bytes, who touches them, and whether the caller gets them.
    objects: Vec<(u64, u64, bool)>,
    workspaces: Vec<u64>,
}

impl Orders {
    /// `None` when no order can be right, or a kernel cannot do what would be asked of it.
    fn new(graph: &KernelGraph, meaning: &[Vec<u32>], placement: &Placement) -> Option<Orders> {
        let steps: Vec<usize> = (0..graph.nodes.len()).filter(|&node| !placement.gone[node]).collect();
        assert!(steps.len() < 60);
        let mut workspaces = Vec::new();
        for &step in &steps {
            let node = &graph.nodes[step];
            let reads = node.reads.iter().map(|read| placement.access(read)).collect::<Option<Vec<_>>>()?;
            let writes = node
                .writes
                .iter()
                .map(|write| Some(Write { access: placement.access(&write.access)?, base: write.base }))
                .collect::<Option<Vec<_>>>()?;
            if !can_run(&node.kernel, &reads, &writes) {
                return None;
            }
            workspaces.push(workspace_bytes(&node.kernel, &reads, &writes, 1).ok()? as u64);
        }
        // Cells of all storages in one row.
        let mut starts = Vec::new();
        let mut cells = 0;
        for storage in &placement.storages {
            starts.push(cells);
            cells += storage.cells;
        }
        let meant = |access: &Access| -> Vec<(usize, u32)> {
            let (storage, cells) = &placement.at[access.value as usize];
            let meaning = &meaning[access.value as usize];
            elements(&access.layout).into_iter().map(|e| (starts[*storage] + cells[e], meaning[e])).collect()
        };
        let whole = |buffer: usize| situ::lower::whole(situ::lower::BufferId(buffer as u32), &graph.buffers[buffer].ty);
        // What is put where, by whom; what is there from the start; and what is needed.
        let mut put: Vec<Vec<(u32, usize)>> = vec![Vec::new(); cells];
        let mut start = vec![0; cells];
        let mut needed: Vec<(usize, u32, u64)> = Vec::new();
        for (at, &step) in steps.iter().enumerate() {
            for (cell, meaning) in graph.nodes[step].writes.iter().flat_map(|write| meant(&write.access)) {
                put[cell].push((meaning, at));
            }
            let read = graph.nodes[step].reads.iter().flat_map(&meant);
            needed.extend(read.map(|(cell, meaning)| (cell, meaning, 1 << at)));
        }
        let mut returned = Vec::new();
        for output in &graph.outputs {
            if !placement.access(&output.access)?.layout.is_dense() {
                return None;
            }
            returned.extend(meant(&output.access));
        }
        needed.extend(returned.iter().map(|&(cell, meaning)| (cell, meaning, END)));
        // Results are distinct from one another and from what the caller keeps.
        let mut taken: Vec<usize> = returned.iter().map(|(cell, _)| *cell).collect();
        taken.sort_unstable();
        let is_kept = |storage: &Storage| match storage.pinned.map(|buffer| graph.buffers[buffer].kind) {
            Some(BufferKind::Input(input)) => graph.inputs[input as usize].mode != InputMode::Donate,
            Some(_) => true,
            None => false,
        };
        let outputs_kept = graph.outputs.iter().map(|output| placement.at[output.access.value as usize].0);
        if taken.windows(2).any(|pair| pair[0] == pair[1])
            || outputs_kept.into_iter().any(|storage| is_kept(&placement.storages[storage]))
        {
            return None;
        }
        for (number, storage) in placement.storages.iter().enumerate() {
            if storage.pinned != Some(number) {
                continue;
            }
            for (cell, meaning) in meant(&whole(number)) {
                start[cell] = meaning;
            }
            let last = match graph.buffers[number].kind {
                BufferKind::Input(input) => match graph.inputs[input as usize].mode {
                    InputMode::Donate => continue,
                    InputMode::Read => number,
                    InputMode::InOut | InputMode::Out => {
                        graph.finals.iter().find(|(of, _)| *of == input).map_or(number, |(_, last)| last.index())
                    }
                },
                _ => number,
            };
            needed.extend(meant(&whole(last)).into_iter().map(|(cell, meaning)| (cell, meaning, END)));
        }
        needed.sort_unstable();
        // Who puts a meaning there, unless it is there from the start.
        let maker = |cell: usize, meaning: u32| put[cell].iter().find(|(put, _)| *put == meaning).map(|(_, by)| *by);
        let mut predecessors = vec![0; steps.len()];
        let mut needs: Vec<(u64, Option<usize>, u64)> = Vec::new();
        for needed in needed.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (cell, meaning, _) = needed[0];
            let readers = needed.iter().fold(0, |mask, (_, _, reader)| mask | reader);
            let writer = if start[cell] == meaning { None } else { Some(maker(cell, meaning)?) };
            let spoilers = put[cell].iter().filter(|(put, _)| *put != meaning).fold(0, |mask, (_, by)| mask | 1 << by);
            if let Some(writer) = writer {
                let after = (0..steps.len()).filter(|at| readers & 1 << at != 0 && *at != writer);
                after.for_each(|at| predecessors[at] |= 1 << writer);
            }
            if spoilers != 0 {
                needs.push((readers, writer, spoilers));
            }
        }
        needs.sort_unstable();
        needs.dedup();
        // An update comes after what it updates was made, read or not.
        for (at, &step) in steps.iter().enumerate() {
            for base in graph.nodes[step].writes.iter().filter_map(|write| write.base) {
                for (cell, meaning) in meant(&whole(base as usize)) {
                    let before = maker(cell, meaning).filter(|before| *before != at && start[cell] != meaning);
                    predecessors[at] |= before.map_or(0, |before| 1 << before);
                }
            }
        }
        let mut objects = Vec::new();
        for (number, storage) in placement.storages.iter().enumerate() {
            let lives = placement.at.iter().any(|(at, _)| *at == number);
            if storage.pinned.is_some() || !lives {
                continue;
            }
            let here = |access: &Access| placement.at[access.value as usize].0 == number;
            let mut touched = 0;
            for (at, &step) in steps.iter().enumerate() {
                let node = &graph.nodes[step];
                if node.reads.iter().any(here) || node.writes.iter().any(|write| here(&write.access)) {
                    touched |= 1 << at;
                }
            }
            let kept = graph.outputs.iter().any(|output| here(&output.access));
            objects.push(((storage.cells * storage.size).next_multiple_of(64) as u64, touched, kept));
        }
        let workspaces = workspaces.into_iter().map(|bytes| bytes.next_multiple_of(64)).collect();
        let needs = needs.into_iter().map(|(readers, writer, spoilers)| Need { readers, writer, spoilers }).collect();
        Some(Orders { steps, predecessors, needs, objects, workspaces })
    }

    /// Whether step `at` may run when the steps of `done` have.
    fn may_run(&self, done: u64, at: usize) -> bool {
        self.predecessors[at] & !done == 0
            && self.needs.iter().filter(|need| need.spoilers & 1 << at != 0).all(|need| {
                let there = need.writer.is_none_or(|writer| done & 1 << writer != 0);
                !there || need.readers & !done & !(1 << at) == 0
            })
    }

    fn live(&self, done: u64, at: usize) -> u64 {
        let (now, after) = (done | 1 << at, !done);
        let bytes =
            self.objects.iter().filter(|(_, touched, kept)| touched & now != 0 && (*kept || touched & after != 0));
        bytes.map(|(bytes, _, _)| bytes).sum::<u64>() + self.workspaces[at]
    }

    /// Least peak over all right orders below `limit`; `None`: there is none.
    fn least_peak(&self, limit: u64) -> Option<u64> {
        let mut layer: BTreeMap<u64, u64> = BTreeMap::from([(0, 0)]);
        for _ in 0..self.steps.len() {
            let mut next: BTreeMap<u64, u64> = BTreeMap::new();
            for (done, peak) in layer {
                for at in (0..self.steps.len()).filter(|at| done & 1 << at == 0) {
                    if self.may_run(done, at) {
                        let peak = peak.max(self.live(done, at));
                        if peak < limit {
                            let entry = next.entry(done | 1 << at).or_insert(peak);
                            *entry = peak.min(*entry);
                        }
                    }
                }
            }
            layer = next;
        }
        layer.into_values().next()
    }

    /// Whether there is a right order.
    fn is_possible(&self) -> bool {
        let mut seen = std::collections::BTreeSet::new();
        let mut stack = vec![0u64];
        let all = (1u64 << self.steps.len()) - 1;
        while let Some(done) = stack.pop() {
            if done == all {
                return true;
            }
            for at in (0..self.steps.len()).filter(|at| done & 1 << at == 0) {
                if self.may_run(done, at) && seen.insert(done | 1 << at) {
                    stack.push(done | 1 << at);
                }
            }
        }
        false
    }
}

/// Whether a kernel can run with these operands: it is handed ranges, which may meet only where it goes element by element;
/// and only maps write elements that do not lie in rows.
fn can_run(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> bool {
    let clear = |a: &Access, b: &Access| match (a.layout.hull(), b.layout.hull()) {
        (Some(a_range), Some(b_range)) => a.value != b.value || a_range.1 <= b_range.0 || b_range.1 <= a_range.0,
        _ => true,
    };
    let is_map = matches!(kernel, Kernel::Map { .. });
    writes.iter().enumerate().all(|(w, write)| {
        let target = &write.access;
        let meets = |read: &Access| {
            clear(read, target)
                || (is_map && read.value == target.value && elements(&read.layout) == elements(&target.layout))
        };
        let axes = || target.layout.shape.iter().zip(&target.layout.strides).filter(|(extent, _)| **extent > 1);
        (is_map || axes().next_back().is_none_or(|(_, &stride)| stride == 1))
            && reads.iter().all(meets)
            && writes[..w].iter().all(|other| clear(&other.access, target))
    })
}

/// Everything that could be shared: copies first.
fn candidates(graph: &KernelGraph) -> Vec<(Share, u64)> {
    let mut all = Vec::new();
    for (node, kernel) in graph.nodes.iter().enumerate().filter(|(node, _)| is_copy(graph, *node)) {
        let to = &kernel.writes[0].access;
        all.push((Share::Copy { node }, (to.layout.len() * to.dtype.size()) as u64));
    }
    for (node, kernel) in graph.nodes.iter().enumerate().filter(|(node, _)| !is_copy(graph, *node)) {
        for (write, to) in kernel.writes.iter().enumerate().filter(|(_, write)| write.base.is_none()) {
            let bytes = graph.buffer(to.access.value).bytes();
            for (read, from) in kernel.reads.iter().enumerate() {
                if from.dtype.size() == to.access.dtype.size() && from.layout.shape == to.access.layout.shape {
                    all.push((Share::Overwrite { node, read, write }, bytes));
                }
            }
        }
    }
    all
}

/// Which overwrites are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A result has the bytes of a whole operand, in the operand's order. That is what `place` does.
    Whole,
    /// A result may have the bytes of a region of an operand, or of one that is a part of something larger.
    Region,
}

struct Search<'a> {
    graph: &'a KernelGraph,
    reach: Reach,
    meaning: Vec<Vec<u32>>,
    candidates: Vec<(Share, u64)>,
    /// The choice that is looked at.
    shares: Vec<Share>,
    best: Best,
    budget: usize,
}

impl Search<'_> {
    /// A choice can only become illegal by another tie: with one tie fewer the same order is right, a copy that is back running
    /// just before its result is needed. So nothing beyond an illegal choice is looked at.
    fn extend(&mut self, from: usize, placement: &Placement, orders: &Orders, bytes: u64, ties: usize) -> Option<()> {
        self.best.tried += 1;
        if self.best.tried > self.budget {
            return None;
        }
        if let Some(peak) = orders.least_peak(self.best.peak + 1)
            && (peak < self.best.peak || bytes > self.best.bytes_at_peak)
        {
            (self.best.peak, self.best.bytes_at_peak) = (peak, bytes);
            self.best.shares.clone_from(&self.shares);
        }
        self.best.bytes = self.best.bytes.max(bytes);
        self.best.ties = self.best.ties.max(ties);
        for next in from..self.candidates.len() {
            let (share, saved) = self.candidates[next];
            if !self.is_within_reach(placement, share) {
                continue;
            }
            let mut more = placement.clone();
            let joined = match more.apply(self.graph, share) {
                Some(joined) => joined,
                None => continue,
            };
            // Sharing that was there before is no tie.
            if !joined && matches!(share, Share::Overwrite { .. }) {
                continue;
            }
            if let Some(orders) = Orders::new(self.graph, &self.meaning, &more).filter(Orders::is_possible) {
                self.shares.push(share);
                self.extend(next + 1, &more, &orders, bytes + saved, ties + 1)?;
                self.shares.pop();
            }
        }
        Some(())
    }

    /// Whether the share is one of those that are looked at. None stores a result in another order than its operand's.
    fn is_within_reach(&self, placement: &Placement, share: Share) -> bool {
        let Share::Overwrite { node, read, write } = share else { return true };
        let (from, to) = (&self.graph.nodes[node].reads[read], &self.graph.nodes[node].writes[write].access);
        let whole = |access: &Access| {
            let (storage, cells) = &placement.at[access.value as usize];
            placement.storages[*storage].cells == cells.len() && access.layout.len() == cells.len()
        };
        let is_one_order = from.layout.strides.iter().zip(&to.layout.strides).all(|(a, b)| *a >= *b)
            && from.layout.strides.windows(2).all(|pair| pair[0] >= pair[1]);
        is_one_order && (self.reach == Reach::Region || (whole(from) && whole(to)))
    }
}

/// The best choice of ties for a graph; `None` when there are more than `budget` choices, or no order is right as the graph
/// stands (state that changes places).
pub fn best(graph: &KernelGraph, reach: Reach, budget: usize) -> Option<Best> {
    let best = Best { bytes: 0, ties: 0, peak: u64::MAX - 1, bytes_at_peak: 0, shares: Vec::new(), tried: 0 };
    let mut search = Search {
        graph,
        reach,
        meaning: meanings(graph),
        candidates: candidates(graph),
        shares: Vec::new(),
        best,
        budget,
    };
    let placement = Placement::new(graph);
    let orders = Orders::new(graph, &search.meaning, &placement).filter(Orders::is_possible)?;
    search.extend(0, &placement, &orders, 0, 0)?;
    Some(search.best)
}

/// Runs a placed program on meanings: every step must find in memory what it would have found with every buffer in cells of
/// its own, and the caller what is promised. Panics when something is amiss.
pub fn simulate(graph: &KernelGraph, placed: &Placed) {
    let meaning = meanings(graph);
    let mut memory: BTreeMap<(usize, usize), u32> = BTreeMap::new();
    let cells = |access: &Access| -> Vec<(usize, usize)> {
        let home = &placed.homes[access.value as usize];
        let start = home.offset as usize / access.dtype.size();
        elements(&access.layout).into_iter().map(|element| (home.root.index(), start + element)).collect()
    };
    let meant = |access: &Access| -> Vec<u32> {
        elements(&access.layout).into_iter().map(|e| meaning[access.value as usize][e]).collect()
    };
    let found = |memory: &BTreeMap<(usize, usize), u32>, access: &Access| -> Vec<u32> {
        cells(access).iter().map(|cell| memory.get(cell).copied().unwrap_or(0)).collect()
    };
    let whole = |buffer: usize| situ::lower::whole(situ::lower::BufferId(buffer as u32), &graph.buffers[buffer].ty);
    for (number, buffer) in graph.buffers.iter().enumerate() {
        if matches!(buffer.kind, BufferKind::Input(_) | BufferKind::Weight(_)) {
            memory.extend(cells(&whole(number)).into_iter().zip(meaning[number].iter().copied()));
        }
    }
    // Only copies may be gone; the others are the same steps in the same places of their list.
    let steps =
        |graph: &KernelGraph| -> Vec<usize> { (0..graph.nodes.len()).filter(|&n| !is_copy(graph, n)).collect() };
    let (sources, kept) = (steps(graph), steps(&placed.graph));
    assert_eq!(sources.len(), kept.len());
    let located = |access: &Access| {
        let home = &placed.homes[access.value as usize];
        let mut access = Access { value: home.root.0, ..access.clone() };
        access.layout.offset += home.offset as i64 / access.dtype.size() as i64;
        access
    };
    for &number in &placed.order {
        let node = &placed.graph.nodes[number];
        let reads: Vec<Access> = node.reads.iter().map(located).collect();
        let writes: Vec<Write> =
            node.writes.iter().map(|write| Write { access: located(&write.access), base: None }).collect();
        assert!(can_run(&node.kernel, &reads, &writes), "{} cannot run there", node.label);
        match kept.iter().position(|&step| step == number) {
            None => {
                let moved = found(&memory, &node.reads[0]);
                memory.extend(cells(&node.writes[0].access).into_iter().zip(moved));
            }
            Some(at) => {
                let source = &graph.nodes[sources[at]];
                for (read, expected) in node.reads.iter().zip(&source.reads) {
                    assert_eq!(found(&memory, read), meant(expected), "{} reads something else", node.label);
                }
                for (write, expected) in node.writes.iter().zip(&source.writes) {
                    memory.extend(cells(&write.access).into_iter().zip(meant(&expected.access)));
                }
            }
        }
    }
    for (output, expected) in placed.graph.outputs.iter().zip(&graph.outputs) {
        assert_eq!(found(&memory, &output.access), meant(&expected.access), "{} is something else", output.name);
    }
    for (number, input) in graph.inputs.iter().enumerate() {
        let last = graph.finals.iter().find(|(of, _)| *of as usize == number).map(|(_, last)| last.index());
        let last = last.unwrap_or(input.buffer.index());
        if input.mode != InputMode::Donate {
            let home = whole(input.buffer.index());
            assert_eq!(found(&memory, &home), meant(&whole(last)), "{} ends as something else", input.name);
        }
    }
}
