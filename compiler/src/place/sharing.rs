//! Who shares bytes with whom: the state that ties change, and the rules by which they may.
//!
//! Buffers are joined in two ways.
//!
//! - *One value.* A copy that is gone leaves two names for one content. Each buffer has a [`Spot`]: the value that holds
//!   it now, and the region of that value. A part that its producer writes straight into a concatenation is a spot too.
//! - *One line of versions.* Different values that have the same bytes one after the other. `next` and `previous` make
//!   the line; its first value is the *root*, whose kind says which memory the bytes are in. A value is overwritten by
//!   the writers of its `next`, so everyone who touches it must come before them: those are the edges a tie adds.
//!
//! Both changes are made on trial, then everything they could break is looked at: every access must still be expressible,
//! every step's operands must keep clear of its results or be permitted by the contract, and the edges must not close a
//! cycle. Otherwise the state is put back and the first thing that failed is the reason.

mod elide;
mod lines;
mod overwrite;

use situ_runtime::executable::{Access, Write};

use self::lines::Lines;
use super::PlaceOptions;
use super::contract::permits;
use super::dependence::{Dependence, Edge};
use super::proof::{Proof, Reason, Root, TieKind};
use super::region::{RegionMap, is_clear, is_same};
use super::uses::Uses;
use crate::diagnostic::Fault;
use crate::lower::{BufferKind, KernelGraph};
use crate::types::InputMode;

/// Where the content of a buffer is.
#[derive(Clone, Debug)]
struct Spot {
    value: usize,
    /// `None`: it is the whole value.
    map: Option<RegionMap>,
}

/// How a value came to have the bytes of the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// It replaces a region of the one before; the write names it as its base.
    Base,
    /// Its step reads the one before and overwrites it.
    Tie,
    /// The one before is dead by then.
    Succeed,
}

/// What is known of a value, kept at the buffer that represents it.
#[derive(Clone, Debug, Default)]
struct Value {
    /// Buffers that are spots of it, itself included.
    members: Vec<usize>,
    next: Option<usize>,
    previous: Option<(usize, Link)>,
    output: bool,
    /// It is the final content of this `inout` input.
    final_of: Option<u32>,
}

/// The state.
#[derive(Clone, Debug)]
pub(super) struct Sharing<'g> {
    graph: &'g KernelGraph,
    uses: &'g Uses,
    dependence: Dependence,
    elided: Vec<bool>,
    spots: Vec<Spot>,
    values: Vec<Value>,
    /// As the links between values say.
    lines: Lines,
    /// Scratch of each node; it depends on the layouts, which an emplacement changes.
    workspaces: Vec<u64>,
    threads: usize,
}

/// A tie that went through.
pub(super) struct Grant {
    pub kind: TieKind,
    pub proof: Proof,
}

/// What to put back when a trial fails.
#[derive(Default)]
struct Undo {
    spots: Vec<(usize, Spot)>,
    values: Vec<(usize, Value)>,
    elided: Option<usize>,
}

impl<'g> Sharing<'g> {
    /// Nothing shared but what the meaning demands: updates have the bytes of their base, final values those of their
    /// input.
    pub fn new(graph: &'g KernelGraph, uses: &'g Uses, options: &PlaceOptions) -> Result<Sharing<'g>, Fault> {
        let fault = |message: String| Fault { stage: "place", message };
        let mut values: Vec<Value> =
            (0..graph.buffers.len()).map(|buffer| Value { members: vec![buffer], ..Value::default() }).collect();
        let mut dependence = Dependence::new(graph.nodes.len());
        let mut demand = |before: usize, after: usize, edge: Edge| {
            if before == after || dependence.add(before, after, edge) {
                return Ok(());
            }
            let names = [before, after].map(|node| uses.name(graph, node));
            Err(fault(format!("{} must come before {}, which is needed by it", names[0], names[1])))
        };
        for (writers, readers) in uses.writers.iter().zip(&uses.readers) {
            for &writer in writers {
                for &reader in readers {
                    demand(writer, reader, Edge::Data)?;
                }
            }
        }
        for (number, node) in graph.nodes.iter().enumerate() {
            for write in &node.writes {
                let (Some(base), value) = (write.base, write.access.value as usize) else { continue };
                let base = base as usize;
                if values[base].next.is_some() || values[value].previous.is_some() || uses.writers[value].len() != 1 {
                    return Err(fault(format!("{} is updated twice", graph.buffers[base].name)));
                }
                values[base].next = Some(value);
                values[value].previous = Some((base, Link::Base));
                for &writer in &uses.writers[base] {
                    demand(writer, number, Edge::Data)?;
                }
                for &reader in &uses.readers[base] {
                    demand(reader, number, Edge::Demanded)?;
                }
            }
        }
        for output in &graph.outputs {
            values[output.access.value as usize].output = true;
        }
        for &(input, buffer) in &graph.finals {
            let (first, last) = (graph.inputs[input as usize].buffer.index(), buffer.index());
            values[last].final_of = Some(input);
            if first == last {
                continue;
            }
            values[first].next = Some(last);
            values[last].previous = Some((first, Link::Succeed));
            for &reader in &uses.readers[first] {
                for &writer in &uses.writers[last] {
                    demand(reader, writer, Edge::Demanded)?;
                }
            }
        }
        if !options.reorder {
            dependence.keep_numbers();
        }
        dependence.complete();
        let spots = (0..graph.buffers.len()).map(|value| Spot { value, map: None }).collect();
        let workspaces = graph.nodes.iter().map(|node| node.workspace).collect();
        let elided = vec![false; graph.nodes.len()];
        let lines = Lines::of(&values);
        Ok(Sharing { graph, uses, dependence, elided, spots, values, lines, workspaces, threads: options.threads })
    }

    pub fn dependence(&self) -> &Dependence {
        &self.dependence
    }

    /// Scratch bytes of a node with its operands as they are now.
    pub fn workspace(&self, node: usize) -> u64 {
        self.workspaces[node]
    }

    pub fn is_elided(&self, node: usize) -> bool {
        self.elided[node]
    }

    /// The buffer that represents the value a buffer is now.
    pub fn value(&self, buffer: usize) -> usize {
        self.spots[buffer].value
    }

    /// Where the bytes of a buffer begin in its value, in elements.
    pub fn offset(&self, buffer: usize) -> u64 {
        self.spots[buffer].map.as_ref().map_or(0, |map| map.offset().unsigned_abs())
    }

    pub fn is_output(&self, value: usize) -> bool {
        self.values[value].output
    }

    /// First value of the line of versions that a value belongs to.
    pub fn root(&self, value: usize) -> usize {
        self.lines.first(value)
    }

    /// Whether a value is the first of its line.
    pub fn is_root(&self, value: usize) -> bool {
        self.values[value].previous.is_none()
    }

    pub fn next(&self, value: usize) -> Option<usize> {
        self.values[value].next
    }

    fn last(&self, value: usize) -> usize {
        self.lines.last(value)
    }

    fn version(&self, value: usize) -> u32 {
        self.lines.version(value)
    }

    fn name(&self, value: usize) -> String {
        self.graph.buffers[value].name.clone()
    }

    fn elements(&self, buffer: usize) -> usize {
        self.graph.buffers[buffer].ty.len()
    }

    /// Bytes of an element of a buffer. A value may hold buffers of several sizes, where a copy was gone over bytes seen as
    /// another dtype; a map counts in elements of the buffer it belongs to.
    fn size(&self, buffer: usize) -> usize {
        self.graph.buffers[buffer].ty.dtype.size()
    }

    fn nodes(&self, value: usize, of: &[Vec<usize>]) -> Vec<usize> {
        let members = &self.values[value].members;
        if let [only] = members[..] {
            return of[only].iter().copied().filter(|&node| !self.elided[node]).collect();
        }
        let mut nodes: Vec<usize> =
            members.iter().flat_map(|&m| &of[m]).copied().filter(|&node| !self.elided[node]).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Nodes that read some of a value.
    pub fn readers(&self, value: usize) -> Vec<usize> {
        self.nodes(value, &self.uses.readers)
    }

    /// Nodes that write some of a value.
    pub fn writers(&self, value: usize) -> Vec<usize> {
        self.nodes(value, &self.uses.writers)
    }

    /// An access as it is now; `None` when it cannot be expressed (which a granted tie never causes).
    pub fn access(&self, access: &Access) -> Option<Access> {
        let spot = &self.spots[access.value as usize];
        let layout = match &spot.map {
            None => access.layout.clone(),
            Some(_) if access.dtype.size() != self.size(access.value as usize) => return None,
            Some(map) => map.compose(&access.layout)?,
        };
        Some(Access { value: spot.value as u32, dtype: access.dtype, layout })
    }

    /// A write as it is now. The base follows from the line of versions.
    pub fn write(&self, write: &Write) -> Option<Write> {
        let access = self.access(&write.access)?;
        let base = match self.values[access.value as usize].previous {
            Some((base, Link::Base)) => Some(base as u32),
            _ => None,
        };
        Some(Write { access, base })
    }

    fn accesses(&self, node: usize) -> Option<(Vec<Access>, Vec<Write>)> {
        let node = &self.graph.nodes[node];
        let reads = node.reads.iter().map(|read| self.access(read)).collect::<Option<_>>()?;
        let writes = node.writes.iter().map(|write| self.write(write)).collect::<Option<_>>()?;
        Some((reads, writes))
    }

    /// Whether the operands of a node keep clear of what it writes, or are permitted to be there.
    fn operands_clear(&self, node: usize) -> Result<(), Reason> {
        let (reads, writes) = self.accesses(node).ok_or(Reason::LayoutDiffers)?;
        let kernel = &self.graph.nodes[node].kernel;
        for (w, write) in writes.iter().enumerate() {
            let value = write.access.value;
            let previous = self.values[value as usize].previous.map(|(previous, _)| previous as u32);
            for (r, read) in reads.iter().enumerate() {
                if (read.value != value && Some(read.value) != previous) || is_clear(read, &write.access) {
                    continue;
                }
                if !is_same(read, &write.access) {
                    let operand = self.name(self.graph.nodes[node].reads[r].value as usize);
                    return Err(Reason::OtherOperandOverlaps { by: self.label(node), operand });
                }
                if permits(kernel, &reads, &writes, r, w).is_none() {
                    return Err(Reason::KernelForbids { kernel: kernel.name() });
                }
            }
            // Two results that have the same bytes one after the other, and are written at once.
            let meets = |other: &Write| {
                let one_line = [value, other.access.value].map(|value| self.values[value as usize].previous);
                let adjacent = one_line[0].is_some_and(|(previous, _)| previous == other.access.value as usize)
                    || one_line[1].is_some_and(|(previous, _)| previous == value as usize);
                (other.access.value == value || adjacent) && !is_clear(&other.access, &write.access)
            };
            if writes[..w].iter().any(meets) {
                let operand = self.name(self.graph.nodes[node].writes[w].access.value as usize);
                return Err(Reason::OtherOperandOverlaps { by: self.label(node), operand });
            }
        }
        Ok(())
    }

    /// `(before, after)` for everyone who touches `value` and everyone who overwrites it.
    fn overwrites(&self, value: usize) -> Vec<(usize, usize)> {
        let Some(next) = self.values[value].next else { return Vec::new() };
        let mut before = self.readers(value);
        before.extend(self.writers(value));
        before.sort_unstable();
        before.dedup();
        let after = self.writers(next);
        before.iter().flat_map(|&b| after.iter().map(move |&a| (b, a))).filter(|(b, a)| a != b).collect()
    }

    /// Whether the bytes of `value` may be overwritten by a line of versions that ends with `end`.
    fn writable(&self, value: usize, end: usize) -> Result<Root, Reason> {
        let root = self.root(value);
        let BufferKind::Input(input) = self.graph.buffers[root].kind else {
            return match self.graph.buffers[root].kind {
                BufferKind::Weight(_) => Err(Reason::IsConstant),
                _ => Ok(Root::Fresh),
            };
        };
        let port = &self.graph.inputs[input as usize];
        let state = || Reason::IsState { input: port.name.clone() };
        match port.mode {
            InputMode::Read => Err(Reason::NotDonated { input: port.name.clone() }),
            InputMode::Donate => Ok(Root::Donated(input)),
            _ if self.values[self.last(end)].final_of != Some(input) => Err(state()),
            _ if self.values[value].final_of.is_some() => Err(state()),
            InputMode::InOut | InputMode::Out => Ok(Root::State(input)),
        }
    }

    /// Whether the bytes of `value` belong to an input or a weight.
    pub fn is_pinned(&self, value: usize) -> bool {
        matches!(self.graph.buffers[self.root(value)].kind, BufferKind::Input(_) | BufferKind::Weight(_))
    }

    /// Whether the caller may be given the bytes of `value` as a result.
    fn may_leave(&self, value: usize) -> Result<Root, Reason> {
        match self.graph.buffers[self.root(value)].kind {
            BufferKind::Weight(_) => Err(Reason::IsConstant),
            BufferKind::Input(input) => {
                let port = &self.graph.inputs[input as usize];
                match port.mode {
                    InputMode::Donate => Ok(Root::Donated(input)),
                    InputMode::Read => Err(Reason::NotDonated { input: port.name.clone() }),
                    InputMode::InOut | InputMode::Out => Err(Reason::IsState { input: port.name.clone() }),
                }
            }
            _ => Ok(Root::Fresh),
        }
    }

    fn pinned(&self, value: usize) -> Result<(), Reason> {
        let root = self.root(value);
        match self.graph.buffers[root].kind {
            BufferKind::Weight(_) => Err(Reason::IsConstant),
            BufferKind::Input(_) => Err(Reason::PlaceFixed { at: self.name(root) }),
            _ => Ok(()),
        }
    }

    /// The step that overwrites `value`.
    fn taken(&self, value: usize) -> Result<(), Reason> {
        match self.values[value].next {
            None => Ok(()),
            Some(next) => {
                let by = self.writers(next).first().map_or_else(|| self.name(next), |&node| self.label(node));
                Err(Reason::AlreadyTaken { by })
            }
        }
    }

    /// The reader of `value` that needs what `node` makes, if there is one.
    fn read_later(&self, value: usize, node: usize) -> Option<Reason> {
        let late = self.readers(value).into_iter().find(|&reader| self.dependence.is_before_by_data(node, reader))?;
        Some(Reason::ReadLater { by: self.label(late) })
    }

    pub fn label(&self, node: usize) -> String {
        self.uses.name(self.graph, node)
    }

    fn keep(&mut self, before: &mut Undo, value: usize) {
        before.values.push((value, self.values[value].clone()));
    }

    fn put_back(&mut self, before: Undo) {
        for (buffer, spot) in before.spots.into_iter().rev() {
            self.spots[buffer] = spot;
        }
        for (value, kept) in before.values.into_iter().rev() {
            self.values[value] = kept;
        }
        if let Some(node) = before.elided {
            self.elided[node] = false;
        }
    }

    /// Looks at everything a change may have broken. `touched` are values whose spots or lines changed.
    fn settle(&mut self, touched: &[usize]) -> Result<(), Reason> {
        let mut pairs = Vec::new();
        for &value in touched {
            pairs.extend(self.overwrites(value));
            if let Some((previous, _)) = self.values[value].previous {
                pairs.extend(self.overwrites(previous));
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        for &(before, after) in &pairs {
            if self.dependence.is_before_by_data(after, before) {
                return Err(Reason::ReadLater { by: self.label(before) });
            }
        }
        let mut nodes: Vec<usize> = touched.iter().flat_map(|&v| [self.readers(v), self.writers(v)].concat()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        for &node in &nodes {
            self.operands_clear(node)?;
        }
        let (by, after) = match self.dependence.add_all(&pairs, Edge::Added) {
            Ok(_) => return Ok(()),
            Err(pair) => pair,
        };
        let through = match self.dependence.step(after, by) {
            through if through == by => after,
            through => through,
        };
        Err(Reason::AntiDependenceCycle { by: self.label(by), through: self.label(through) })
    }

    /// Settles a trial, or puts everything back.
    fn finish(&mut self, before: Undo, touched: &[usize]) -> Result<(), Reason> {
        match self.settle(touched) {
            Ok(()) => {
                self.lines.follow(&self.values, touched);
                Ok(())
            }
            Err(reason) => {
                self.put_back(before);
                Err(reason)
            }
        }
    }
}
