//! How a computed value comes to the bytes it belongs in: by the kernel that computes it, by a copy, or through the arena.

use situ_runtime::contract::contract;
use situ_runtime::executable::{Access, Write};
use situ_runtime::kernel::Kernel;

use super::{AsWritten, Made};
use crate::diagnostic::Fault;
use crate::lower::graph::Origin;
use crate::lower::{BufferId, BufferKind, Source, views, whole};
use crate::types::{Layout, TensorType};

impl AsWritten<'_> {
    /// Brings the elements of `source`, computed by the nodes since `first`, to `target`: by the kernel that computes them,
    /// if it may write there, else by a copy, through the arena if it must be.
    pub(super) fn settle(
        &mut self,
        source: Source,
        ty: &TensorType,
        target: Access,
        base: Option<BufferId>,
        first: &Made,
        origin: Origin,
    ) -> Result<(), Fault> {
        if target.layout.is_injective() && self.redirect(&source, ty, &target, base, first, &origin)? {
            return Ok(());
        }
        let mut from = self.access(source, ty)?;
        // A copy is an elementwise kernel; of a region onto itself it does nothing, but the version must come to be.
        if !self.may_write(std::slice::from_ref(&from), &target) {
            let name = self.out.buffer(target.value).name.clone();
            let buffer = self.out.add_buffer(name, ty.clone(), BufferKind::Temporary);
            let aside = Origin {
                label: origin.label.clone(),
                location: origin.location.clone(),
                rules: Vec::new(),
                origins: Vec::new(),
            };
            self.copy(from, whole(buffer, ty), None, aside)?;
            from = whole(buffer, ty);
        }
        self.copy_in_pieces(from, target, base, origin)
    }

    /// A copy to elements that a kernel can be shown to write once each: where strides interlock, one piece after the other,
    /// each a version of its own.
    fn copy_in_pieces(
        &mut self,
        from: Access,
        target: Access,
        base: Option<BufferId>,
        origin: Origin,
    ) -> Result<(), Fault> {
        let axes = unrolled(&target.layout);
        let (mut targets, mut sources) = (vec![target.layout.clone()], vec![from.layout.clone()]);
        for axis in axes {
            targets = targets.iter().flat_map(|layout| along(layout, axis)).collect();
            sources = sources.iter().flat_map(|layout| along(layout, axis)).collect();
        }
        let mut base = base;
        let last = targets.len() - 1;
        for (number, (read, written)) in sources.into_iter().zip(targets).enumerate() {
            let value = match base {
                Some(old) if number < last => {
                    let storage = self.out.buffer(old.0).clone();
                    let version = self.out.add_buffer(storage.name, storage.ty, BufferKind::Temporary);
                    self.note_lines()?;
                    self.lines[version.index()] = self.lines[old.index()];
                    version.0
                }
                _ => target.value,
            };
            // What is read of the same storage is where no piece before has written; its newest version holds it.
            let newest = base.filter(|old| self.lines[old.index()] == self.lines[from.value as usize]);
            let from = Access { value: newest.map_or(from.value, |old| old.0), layout: read, ..from.clone() };
            self.copy(from, Access { value, layout: written, ..target.clone() }, base, origin.clone())?;
            base = base.map(|_| BufferId(value));
        }
        Ok(())
    }

    /// Lets the one elementwise kernel that computes `source` write to `target` instead, if it may.
    fn redirect(
        &mut self,
        source: &Source,
        ty: &TensorType,
        target: &Access,
        base: Option<BufferId>,
        first: &Made,
        origin: &Origin,
    ) -> Result<bool, Fault> {
        let Source::Memory { buffer, layout } = source else { return Ok(false) };
        let computed = Access { value: buffer.0, dtype: ty.dtype, layout: layout.clone() };
        if buffer.index() < first.buffers || !is_same(&computed, &whole(*buffer, ty)) {
            return Ok(false);
        }
        let nodes = &self.out.nodes[first.nodes..];
        let reads_it = nodes.iter().any(|node| node.reads.iter().any(|read| read.value == buffer.0));
        let mut writers = (0..nodes.len()).filter(|&node| {
            nodes[node].writes.iter().any(|write| write.access.value == buffer.0 || write.base == Some(buffer.0))
        });
        let (Some(writer), None, false) = (writers.next(), writers.next(), reads_it) else { return Ok(false) };
        let node = &nodes[writer];
        let last = writer + 1 == nodes.len();
        let [write] = node.writes.as_slice() else { return Ok(false) };
        let elementwise = matches!(node.kernel, Kernel::Map { .. });
        if !elementwise || !last || write.base.is_some() || !is_same(&write.access, &computed) {
            return Ok(false);
        }
        let mut access = target.clone();
        views::canonicalise(&mut access.layout);
        if !self.may_write(&node.reads, &access) {
            return Ok(false);
        }
        let written = Write { access, base: base.map(|base| base.0) };
        let permitted = contract(&node.kernel, &node.reads, std::slice::from_ref(&written));
        let line = |value: u32| self.lines[value as usize];
        let ties_hold = node.reads.iter().enumerate().all(|(read, access)| {
            line(access.value) != line(target.value)
                || is_clear(access, target)
                || permitted.iter().any(|&(permitted, ..)| permitted == read)
        });
        if !ties_hold {
            return Ok(false);
        }
        let number = first.nodes + writer;
        let node = &mut self.out.nodes[number];
        node.writes = vec![written];
        node.label.clone_from(&origin.label);
        // The node's epoch stands; what it writes may be an input now.
        self.epochs.truncate(number);
        self.writes = self.epochs_end(number);
        self.note_lines()?;
        Ok(true)
    }

    /// How many of the first `nodes` nodes write an input.
    fn epochs_end(&self, nodes: usize) -> u32 {
        match nodes.checked_sub(1) {
            None => 0,
            Some(last) => {
                let writes = self.out.nodes[last].writes.iter();
                let written = writes.map(|write| write.access.value).any(|value| self.input_of(value).is_some());
                self.epochs[last] + u32::from(written)
            }
        }
    }

    /// Whether an elementwise kernel that reads `reads` may write `target`, whichever inputs share bytes.
    fn may_write(&self, reads: &[Access], target: &Access) -> bool {
        let line = |access: &Access| self.lines[access.value as usize];
        let writes_input = self.input_of(target.value).is_some();
        reads.iter().all(|read| {
            if line(read) == line(target) {
                is_same(read, target) || is_clear(read, target)
            } else {
                !writes_input || self.input_of(read.value).is_none()
            }
        })
    }
}

/// Axes along which a layout has to be cut until its pieces need no search to be known to name each element once: the
/// shortest, until what is left does.
pub(super) fn unrolled(layout: &Layout) -> Vec<usize> {
    let mut axes: Vec<usize> = (0..layout.rank()).collect();
    axes.sort_by_key(|&axis| (layout.shape[axis], axis));
    let mut rest = layout.clone();
    let mut cut = Vec::new();
    for axis in axes {
        if rest.is_injective() {
            break;
        }
        rest.shape[axis] = 1;
        cut.push(axis);
    }
    cut
}

/// The pieces of one index each along an axis.
fn along(layout: &Layout, axis: usize) -> impl Iterator<Item = Layout> + use<> {
    let layout = layout.clone();
    (0..layout.shape[axis]).map(move |index| {
        let mut piece = layout.clone();
        piece.shape[axis] = 1;
        piece.offset += index as i64 * layout.strides[axis];
        piece
    })
}

/// Whether two accesses of one line of versions name the same elements in the same order.
pub(super) fn is_same(a: &Access, b: &Access) -> bool {
    let (mut x, mut y) = (a.layout.clone(), b.layout.clone());
    views::canonicalise(&mut x);
    views::canonicalise(&mut y);
    a.dtype == b.dtype && x == y
}

/// Whether two accesses of one line of versions keep apart; hulls are compared, because a kernel is handed hulls.
pub(super) fn is_clear(a: &Access, b: &Access) -> bool {
    let bytes = |access: &Access| {
        let size = access.dtype.size() as i64;
        access.layout.hull().map(|(low, high)| (low * size, high * size))
    };
    match (bytes(a), bytes(b)) {
        (Some((a_low, a_high)), Some((b_low, b_high))) => a_high <= b_low || b_high <= a_low,
        _ => true,
    }
}
