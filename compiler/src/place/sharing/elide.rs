//! A copy that is gone: what it copied and what it made are one value, or one is a part of the other.

use situ_runtime::kernel::prepared::workspace_bytes;
use situ_runtime::kernel::{Kernel, control};

use super::{Grant, Link, Sharing, Spot, Undo, Value};
use crate::lower::BufferKind;
use crate::place::contract::writes_region;
use crate::place::proof::{Reason, Root, TieKind};
use crate::place::region::RegionMap;

impl<'g> Sharing<'g> {
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
        // A step writes one version of a value at most: two of them are one after the other.
        let writers = self.writers(source);
        let is_other = |value: usize| value != target && value != source;
        let line = self.line(self.root(target));
        if line.into_iter().any(|value| is_other(value) && self.writers(value).iter().any(|it| writers.contains(it))) {
            return Err(Reason::PlaceFixed { at: self.name(target) });
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
