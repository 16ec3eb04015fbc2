//! A result in the bytes of an operand, and the proof of it.

use situ_runtime::contract::{Permission, permission};

use super::{Grant, Link, Sharing, Undo};
use crate::place::contract::permits;
use crate::place::proof::{Before, Clear, Observer, Operand, Proof, Reason, Root, TieKind};
use crate::place::region::is_same;

impl<'g> Sharing<'g> {
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
    pub(super) fn follower(&self, value: usize) -> Option<usize> {
        let next = self.values[value].next?;
        matches!(self.values[next].previous, Some((_, Link::Succeed))).then_some(next)
    }

    /// A value and those that have its bytes after it.
    pub(super) fn line(&self, value: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(value), |&at| self.values[at].next)
    }

    /// Lets `follower` come after the line that `value` begins; the values whose line changed.
    pub(super) fn defer(&mut self, before: &mut Undo, value: usize, follower: usize) -> [usize; 2] {
        let last = self.last(value);
        self.keep(before, last);
        self.keep(before, follower);
        self.values[last].next = Some(follower);
        self.values[follower].previous = Some((last, Link::Succeed));
        [last, follower]
    }

    /// The proof of what has just been granted: `new` has the bytes of `old`.
    pub(super) fn proof(&self, old: usize, new: usize, contract: Option<Permission>, root: Root) -> Proof {
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
}
