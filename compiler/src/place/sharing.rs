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

use situ_runtime::contract::{Permission, permission};
use situ_runtime::executable::{Access, Write};
use situ_runtime::kernel::prepared::workspace_bytes;
use situ_runtime::kernel::{Kernel, control};

use super::contract::{permits, writes_region};
use super::dependence::{Dependence, Edge};
use super::proof::{Before, Clear, Observer, Operand, Proof, Reason, Root, TieKind};
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
    pub fn new(graph: &'g KernelGraph, uses: &'g Uses, threads: usize) -> Result<Sharing<'g>, Fault> {
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
        let spots = (0..graph.buffers.len()).map(|value| Spot { value, map: None }).collect();
        let workspaces = graph.nodes.iter().map(|node| node.workspace).collect();
        let elided = vec![false; graph.nodes.len()];
        Ok(Sharing { graph, uses, dependence, elided, spots, values, workspaces, threads })
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
        let mut at = value;
        while let Some((previous, _)) = self.values[at].previous {
            at = previous;
        }
        at
    }

    pub fn next(&self, value: usize) -> Option<usize> {
        self.values[value].next
    }

    fn last(&self, value: usize) -> usize {
        let mut at = value;
        while let Some(next) = self.values[at].next {
            at = next;
        }
        at
    }

    fn version(&self, value: usize) -> u32 {
        let mut at = value;
        let mut count = 0;
        while let Some((previous, _)) = self.values[at].previous {
            at = previous;
            count += 1;
        }
        count
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
        let mut nodes: Vec<usize> = touched.iter().flat_map(|&v| [self.readers(v), self.writers(v)].concat()).collect();
        nodes.sort_unstable();
        nodes.dedup();
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
        for &node in &nodes {
            self.operands_clear(node)?;
        }
        let (by, after) = match self.dependence.add_all(&pairs, Edge::Added) {
            Ok(_) => return Ok(()),
            Err(pair) => pair,
        };
        let through = self.dependence.path(after, by, true).and_then(|path| path.first().copied()).unwrap_or(after);
        Err(Reason::AntiDependenceCycle { by: self.label(by), through: self.label(through) })
    }

    /// Lets the result `write` of `node` have the bytes of its operand `read`.
    pub fn tie(&mut self, node: usize, read: usize, write: usize) -> Result<Grant, Reason> {
        let (reads, writes) = self.accesses(node).ok_or(Reason::LayoutDiffers)?;
        let [old, new] = [&reads[read], &writes[write].access].map(|access| access.value as usize);
        let found = self.graph.buffers[self.graph.nodes[node].reads[read].value as usize].bytes();
        let expected = self.graph.buffers[self.graph.nodes[node].writes[write].access.value as usize].bytes();
        if found != expected || reads[read].dtype.size() != writes[write].access.dtype.size() {
            return Err(Reason::SizeDiffers { found, expected });
        }
        let kernel = &self.graph.nodes[node].kernel;
        if permission(kernel, reads.len(), read, write).is_none() {
            return Err(Reason::KernelForbids { kernel: kernel.name() });
        }
        for (value, bytes) in [(old, found), (new, expected)] {
            if self.graph.buffers[value].bytes() != bytes {
                return Err(Reason::PartialOverlap { whole: self.name(value) });
            }
        }
        if !is_same(&reads[read], &writes[write].access) {
            return Err(Reason::LayoutDiffers);
        }
        // What follows the operand already: a final value, before which the line of the result can come.
        let follower = self.follower(old).filter(|&follower| follower != new);
        let root = self.writable(old, follower.unwrap_or(new))?;
        if self.values[old].output {
            return Err(Reason::IsOutput);
        }
        if follower.is_none() {
            // Who has the bytes is to blame only where the step could have had them.
            self.taken(old).map_err(|taken| self.read_later(old, node).unwrap_or(taken))?;
        }
        let succeeded = match self.values[new].previous {
            None => None,
            // The new value was to follow an input that is dead by then; the whole line of the operand can come between.
            Some((input, Link::Succeed)) if !self.is_pinned(old) => Some(input),
            Some((previous, _)) => return Err(Reason::PlaceFixed { at: self.name(previous) }),
        };
        if matches!(root, Root::State(_)) && self.line(new).any(|value| self.values[value].output) {
            return Err(Reason::OutputsCollide { with: self.name(self.root(old)) });
        }
        if self.writers(new) != [node] || writes[write].access.layout.len() != self.elements(new) {
            return Err(Reason::PartialOverlap { whole: self.name(new) });
        }
        let Some(contract) = permits(kernel, &reads, &writes, read, write) else {
            return Err(Reason::KernelForbids { kernel: kernel.name() });
        };
        let mut before = Undo::default();
        let mut touched = vec![old, new];
        self.keep(&mut before, old);
        self.keep(&mut before, new);
        self.values[old].next = Some(new);
        self.values[new].previous = Some((old, Link::Tie));
        if let Some(follower) = follower {
            touched.extend(self.defer(&mut before, new, follower));
        }
        if let Some(input) = succeeded {
            let first = self.root(old);
            self.keep(&mut before, input);
            self.keep(&mut before, first);
            self.values[input].next = Some(first);
            self.values[first].previous = Some((input, Link::Succeed));
            touched.extend([input, first]);
        }
        self.finish(before, &touched)?;
        let proof = self.proof(old, new, Some(contract), root);
        Ok(Grant { kind: TieKind::Overwrite, proof })
    }

    /// The final value that is to follow `value` in the same bytes, without needing it.
    fn follower(&self, value: usize) -> Option<usize> {
        let next = self.values[value].next?;
        matches!(self.values[next].previous, Some((_, Link::Succeed))).then_some(next)
    }

    /// A value and those that have its bytes after it.
    fn line(&self, value: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(value), |&at| self.values[at].next)
    }

    /// Lets `follower` come after the line that `value` begins; the values whose line changed.
    fn defer(&mut self, before: &mut Undo, value: usize, follower: usize) -> [usize; 2] {
        let last = self.last(value);
        self.keep(before, last);
        self.keep(before, follower);
        self.values[last].next = Some(follower);
        self.values[follower].previous = Some((last, Link::Succeed));
        [last, follower]
    }

    /// Settles a trial, or puts everything back.
    fn finish(&mut self, before: Undo, touched: &[usize]) -> Result<(), Reason> {
        match self.settle(touched) {
            Ok(()) => Ok(()),
            Err(reason) => {
                self.put_back(before);
                Err(reason)
            }
        }
    }

    /// The proof of what has just been granted: `new` has the bytes of `old`.
    fn proof(&self, old: usize, new: usize, contract: Option<Permission>, root: Root) -> Proof {
        let writers = self.writers(new);
        let mut readers = self.readers(old);
        if old == new {
            readers.clear();
        }
        let observers = readers
            .into_iter()
            .map(|reader| Observer {
                step: self.label(reader),
                before: if writers.contains(&reader) {
                    Before::Itself
                } else if writers.iter().all(|&writer| self.dependence.is_before_by_data(reader, writer)) {
                    Before::Data
                } else {
                    Before::Added
                },
            })
            .collect();
        Proof {
            contract,
            offset: 0,
            bytes: self.graph.buffers[new].bytes(),
            root,
            observers,
            operands: self.clearances(old, new),
            version: self.version(new),
            output: self.values[new].output,
            steps: writers.into_iter().map(|writer| self.label(writer)).collect(),
        }
    }

    /// How what else the writers of `new` read keeps clear of it; `old` itself is what the tie is about.
    fn clearances(&self, old: usize, new: usize) -> Vec<Operand> {
        let mut operands: Vec<Operand> = Vec::new();
        for writer in self.writers(new) {
            let Some((reads, writes)) = self.accesses(writer) else { continue };
            let kernel = &self.graph.nodes[writer].kernel;
            let targets: Vec<usize> =
                (0..writes.len()).filter(|&write| writes[write].access.value as usize == new).collect();
            for (number, read) in reads.iter().enumerate() {
                let value = read.value as usize;
                let permitted = targets.iter().find_map(|&write| permits(kernel, &reads, &writes, number, write));
                let clear = match permitted {
                    _ if self.root(value) != self.root(new) => Clear::Apart,
                    Some(permission) if value == old || value == new => Clear::Permitted(permission),
                    _ => Clear::Beside,
                };
                let operand = Operand { name: self.name(self.graph.nodes[writer].reads[number].value as usize), clear };
                if !operands.contains(&operand) {
                    operands.push(operand);
                }
            }
        }
        operands
    }

    /// Takes the copy `node` away: its result becomes another name for (a part of) what it reads, or the other way
    /// round.
    pub fn elide(&mut self, node: usize) -> Result<Grant, Reason> {
        let copy = &self.graph.nodes[node];
        let (from, to) = (&copy.reads[0], &copy.writes[0].access);
        let (a, b) = (from.value as usize, to.value as usize);
        let (source, target) = (self.spots[a].value, self.spots[b].value);
        if source == target || self.spots[a].map.is_some() {
            return Err(Reason::PartialOverlap { whole: self.name(source) });
        }
        // Counted in elements of the copy, which may see the bytes as another dtype than they are.
        let size = from.dtype.size();
        let count = |buffer: usize| self.elements(buffer) * self.size(buffer) / size;
        if from.layout.len() * size != self.elements(a) * self.size(a) {
            return Err(Reason::PartialOverlap { whole: self.name(a) });
        }
        let map = RegionMap::of_copy(&from.layout, &to.layout, count(a)).ok_or(Reason::LayoutDiffers)?;
        let map = match &self.spots[b].map {
            None => map,
            Some(outer) => map.then(outer).ok_or(Reason::LayoutDiffers)?,
        };
        let whole = self.elements(target) * self.size(target) == count(target) * size && map.is_identity(count(target));
        if copy.writes[0].base.is_none() && whole {
            self.join(node, source, target)
        } else if [source, target].iter().chain(&self.values[source].members).any(|&buffer| self.size(buffer) != size) {
            // A part would have to be counted in elements of two sizes.
            Err(Reason::LayoutDiffers)
        } else {
            self.emplace(node, source, target, &map)
        }
    }

    /// Both are one value from now on, and `source` represents it.
    fn join(&mut self, node: usize, source: usize, target: usize) -> Result<Grant, Reason> {
        let (s, t) = (self.values[source].clone(), self.values[target].clone());
        let root = self.root(source);
        let adjacent = t.previous.is_some_and(|(previous, _)| previous == source);
        if s.output && t.output {
            return Err(Reason::OutputsCollide { with: self.name(source) });
        }
        if s.output && (t.next.is_some() || t.final_of.is_some()) {
            return Err(Reason::IsOutput);
        }
        let mut proof_root = Root::Fresh;
        // What is made of the copy can come before a final value that does not need it.
        let follower = self.follower(source).filter(|_| !adjacent && t.next.is_some() && t.final_of.is_none());
        if t.next.is_some() {
            proof_root = self.writable(source, follower.unwrap_or(target))?;
        }
        if follower.is_none() && !adjacent && s.next.is_some() && (t.next.is_some() || t.output || t.final_of.is_some())
        {
            self.taken(source)?;
        }
        if follower.is_some() && self.line(target).any(|value| self.values[value].output) {
            return Err(Reason::OutputsCollide { with: self.name(root) });
        }
        if t.output {
            proof_root = self.may_leave(source)?;
        }
        let mut before = Undo::default();
        let mut touched = vec![source];
        self.keep(&mut before, source);
        let mut joined = Value { members: [s.members.clone(), t.members.clone()].concat(), ..s.clone() };
        joined.output |= t.output;
        joined.final_of = s.final_of.or(t.final_of);
        joined.next = match (adjacent, follower) {
            (true, _) | (_, Some(_)) => t.next,
            _ => s.next.or(t.next),
        };
        match t.previous {
            _ if adjacent => {}
            None => {}
            // A final value: the line that ends with it follows the input.
            Some((input, Link::Succeed)) => {
                self.pinned(source)?;
                self.keep(&mut before, input);
                self.values[input].next = Some(root);
                if root == source {
                    joined.previous = Some((input, Link::Succeed));
                } else {
                    self.keep(&mut before, root);
                    self.values[root].previous = Some((input, Link::Succeed));
                }
                touched.extend([input, root]);
                if let BufferKind::Input(input) = self.graph.buffers[input].kind {
                    proof_root = Root::State(input);
                }
            }
            Some((previous, _)) => return Err(Reason::PlaceFixed { at: self.name(previous) }),
        }
        if let Some(next) = joined.next {
            self.keep(&mut before, next);
            if let Some((previous, _)) = &mut self.values[next].previous {
                *previous = source;
            }
            touched.push(next);
            if let Some(follower) = follower {
                touched.extend(self.defer(&mut before, next, follower));
            }
        }
        let kind = match (t.final_of, t.next) {
            (Some(_), _) => TieKind::Final,
            (None, Some(_)) => TieKind::Update,
            (None, None) => TieKind::Forward,
        };
        self.values[source] = joined;
        for &member in &t.members {
            before.spots.push((member, self.spots[member].clone()));
            self.spots[member].value = source;
        }
        before.elided = Some(node);
        self.elided[node] = true;
        self.finish(before, &touched)?;
        let (old, new) = match (kind, self.values[source].next, self.values[self.root(source)].next) {
            (TieKind::Update, Some(next), _) => (source, next),
            (TieKind::Final, _, Some(first)) => (self.root(source), first),
            _ => (source, source),
        };
        Ok(Grant { kind, proof: self.proof(old, new, None, proof_root) })
    }

    /// `source` is a part of `target` from now on.
    fn emplace(&mut self, node: usize, source: usize, target: usize, map: &RegionMap) -> Result<Grant, Reason> {
        let (s, t) = (self.values[source].clone(), self.values[target].clone());
        self.pinned(source)?;
        if let Some((previous, _)) = s.previous {
            return Err(Reason::PlaceFixed { at: self.name(previous) });
        }
        self.taken(source)?;
        if s.output && t.output {
            return Err(Reason::OutputsCollide { with: self.name(target) });
        }
        if s.output && (t.next.is_some() || t.final_of.is_some()) {
            return Err(Reason::IsOutput);
        }
        let updates = self.graph.nodes[node].writes[0].base.is_some();
        if updates && self.writers(source).len() != 1 {
            return Err(Reason::PlaceFixed { at: self.name(source) });
        }
        let mut before = Undo::default();
        for &member in &s.members {
            let inner = self.spots[member].map.as_ref();
            let composed = match inner {
                None => Some(map.clone()),
                Some(inner) => inner.then(map),
            };
            let Some(composed) = composed else {
                self.put_back(before);
                return Err(Reason::LayoutDiffers);
            };
            before.spots.push((member, self.spots[member].clone()));
            self.spots[member] = Spot { value: target, map: Some(composed) };
        }
        self.keep(&mut before, target);
        self.values[target].members.extend(&s.members);
        self.values[target].output |= s.output;
        before.elided = Some(node);
        self.elided[node] = true;
        let workspaces = match self.expressible(&s.members) {
            Ok(workspaces) => workspaces,
            Err(reason) => {
                self.put_back(before);
                return Err(reason);
            }
        };
        let touched: Vec<usize> =
            [Some(target), t.previous.map(|(previous, _)| previous)].into_iter().flatten().collect();
        self.finish(before, &touched)?;
        for (node, bytes) in workspaces {
            self.workspaces[node] = bytes;
        }
        let root = self.writable(target, target).unwrap_or(Root::Fresh);
        let mut proof = match t.previous {
            Some((previous, _)) => self.proof(previous, target, None, root),
            None => self.proof(target, target, None, root),
        };
        proof.offset = map.offset() as u64 * self.graph.buffers[target].ty.dtype.size() as u64;
        proof.bytes = self.graph.buffers[source].bytes();
        Ok(Grant { kind: TieKind::Emplace, proof })
    }

    /// Whether every access to the given buffers can be said in terms of the value that holds them now, and the kernels
    /// take it like that; the scratch they then need.
    fn expressible(&self, members: &[usize]) -> Result<Vec<(usize, u64)>, Reason> {
        let mut nodes = Vec::new();
        for &member in members {
            for &writer in self.uses.writers[member].iter().filter(|&&writer| !self.elided[writer]) {
                let node = &self.graph.nodes[writer];
                for write in node.writes.iter().filter(|write| write.access.value as usize == member) {
                    let access = self.access(&write.access).ok_or(Reason::LayoutDiffers)?;
                    if !writes_region(&node.kernel, &access) {
                        return Err(Reason::CannotWriteRegion { kernel: node.kernel.name() });
                    }
                }
            }
            for output in self.graph.outputs.iter().filter(|output| output.access.value as usize == member) {
                match self.access(&output.access) {
                    Some(access) if access.layout.is_dense() => {}
                    _ => return Err(Reason::IsOutput),
                }
            }
            nodes.extend(self.uses.writers[member].iter().chain(&self.uses.readers[member]).copied());
        }
        nodes.retain(|&node| !self.elided[node]);
        nodes.sort_unstable();
        nodes.dedup();
        let mut workspaces = Vec::with_capacity(nodes.len());
        for number in nodes {
            let (reads, writes) = self.accesses(number).ok_or(Reason::LayoutDiffers)?;
            let kernel = &self.graph.nodes[number].kernel;
            // The scratch of a node that runs bodies is theirs; it does not depend on where its operands are.
            let bytes = match kernel {
                Kernel::If { .. } | Kernel::Loop { .. } => {
                    control::validate(kernel, &reads, &writes).map(|()| self.workspaces[number])
                }
                _ => workspace_bytes(kernel, &reads, &writes, self.threads).map(|bytes| bytes as u64),
            };
            workspaces.push((number, bytes.map_err(|_| Reason::CannotWriteRegion { kernel: kernel.name() })?));
        }
        Ok(workspaces)
    }
}
