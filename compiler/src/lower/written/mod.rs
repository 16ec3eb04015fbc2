//! The program as written: a source graph, which has views and writes, as kernels in source order on the caller's bytes.
//!
//! The optimised plan takes inputs to be distinct. This is what runs when they are not, so it takes nothing for granted: a
//! view of an input is a strided access to the input's bytes at the moment it is read, a mutating op writes the storage
//! itself, and nothing is moved, fused or left to be decided. `place` adds no order and no tie to it.
//!
//! **Storages.** A value that owns its bytes has a buffer with the layout that eager PyTorch gives it, since strides decide
//! which `reshape` is a view. Each write of a storage makes the next version of its buffer, in the same bytes
//! ([`Write::base`](situ_runtime::executable::Write::base)); whoever reads afterwards names the newest version.
//!
//! **One instruction** is lowered as a graph of its own by the walk that lowers everything: composites are taken apart,
//! operands are read where they lie. A result computed in the arena becomes the storage of a fresh value as it is. The
//! result of a mutating op is written to its destination by the kernel itself where that is safe whatever shares bytes
//! with whatever, else from the arena by a copy. It is safe when each operand of the kernel is
//! - in the arena or a weight, and not in the storage that is written;
//! - or in that storage, and either exactly the region that is written, which an elementwise kernel may overwrite, or
//!   clear of it.
//!
//! A step that writes an input thus touches no other one, and means the same whether they share bytes or not.
//!
//! An `inout` input ends in its own bytes without further ado. A donated input is written where the program says so and
//! nowhere else. Outputs are read after the last instruction, into bytes of their own.

mod settle;
mod straighten;

use std::borrow::Cow;
use std::collections::BTreeMap;

use situ_runtime::executable::Access;

use self::settle::{is_clear, is_same};
use super::body::fault;
use super::graph::{Lowering, Origin, Shared, Weights};
use super::{
    BufferId, BufferKind, KernelGraph, KernelInput, KernelOutput, LowerOptions, Source, find_workspaces, views, whole,
};
use crate::diagnostic::Fault;
use crate::functional::PureGraph;
use crate::ir::layout::{Placements, placements};
use crate::ir::{Def, Graph, Inst, Location, ValueId};
use crate::ops::Op;
use crate::rewrite::{self, Math, RewriteOptions};
use crate::types::{InputMode, Layout, TensorType, dense_strides};

/// Kernels in the order of the source.
#[derive(Clone, Debug)]
pub struct LoweredAsWritten {
    pub graph: KernelGraph,
    /// For each node, how many writes of inputs the program has before it.
    pub epochs: Vec<u32>,
}

/// The most pieces that one write is cut into.
const MAX_PIECES: usize = 4096;

/// The program without branches and loops, which can be lowered as written; else why there is none, in words.
pub fn straightened(graph: &Graph) -> Result<Cow<'_, Graph>, String> {
    if let Some(why) = &graph.apart {
        return Err(why.clone());
    }
    let graph = match graph.body_insts().any(|(_, inst)| !inst.regions.is_empty()) {
        true => Cow::Owned(straighten::straighten(graph)?),
        false => Cow::Borrowed(graph),
    };
    let placed = placements(&graph);
    for (_, inst) in graph.body_insts().filter(|(_, inst)| inst.mutates) {
        let layout = placed.layout(inst.operands[0]);
        let pieces: usize = settle::unrolled(layout).into_iter().map(|axis| layout.shape[axis]).product();
        if pieces > MAX_PIECES && !layout.is_empty() {
            let (name, at) = (inst.op.name(), &inst.location);
            let why =
                format!("{name}_ ({at}) writes strides that interlock, in {pieces} pieces, more than {MAX_PIECES}");
            return Err(why);
        }
    }
    Ok(graph)
}

/// Lowers a program that [`straightened`] gave. Fails only by a mistake of ours.
pub fn lower_as_written(graph: &Graph, math: Math, options: &LowerOptions) -> Result<LoweredAsWritten, Fault> {
    let mut walk = AsWritten {
        graph,
        options,
        rewriting: RewriteOptions { math, rewrite: false, inplace: false, ..RewriteOptions::default() },
        placed: placements(graph),
        out: KernelGraph { name: graph.name.clone(), source_ops: graph.body().insts.len(), ..KernelGraph::default() },
        weights: Weights::new(),
        shared: Shared::default(),
        newest: BTreeMap::new(),
        lines: Vec::new(),
        epochs: Vec::new(),
        writes: 0,
    };
    walk.inputs();
    let live = live(graph, &walk.placed);
    for (&id, live) in graph.body().insts.iter().zip(live) {
        if live {
            walk.instruction(graph.inst(id))?;
        }
    }
    walk.finals()?;
    walk.outputs()?;
    walk.out.weights = walk.shared.weights;
    find_workspaces(&mut walk.out, options.threads)?;
    Ok(LoweredAsWritten { graph: walk.out, epochs: walk.epochs })
}

/// Which instructions of the body somebody may see the effect of: a write of an input, or of a storage that is looked at
/// by such an instruction or returned. Storages are taken whole and for all time.
fn live(graph: &Graph, placed: &Placements) -> Vec<bool> {
    let mut seen = vec![false; graph.values.len()];
    let ends = graph.outputs.iter().map(|output| output.value).chain(graph.finals.iter().map(|entry| entry.1));
    for value in ends.chain(graph.inputs.iter().map(|input| input.value)) {
        seen[placed.root(value).index()] = true;
    }
    let mut live: Vec<bool> = Vec::with_capacity(graph.body().insts.len());
    for &id in graph.body().insts.iter().rev() {
        let inst = graph.inst(id);
        let is_live = inst.results.iter().any(|&result| seen[placed.root(result).index()]);
        if is_live {
            inst.operands.iter().for_each(|&operand| seen[placed.root(operand).index()] = true);
        }
        live.push(is_live);
    }
    live.reverse();
    live
}

struct AsWritten<'a> {
    graph: &'a Graph,
    options: &'a LowerOptions,
    rewriting: RewriteOptions,
    placed: Placements,
    out: KernelGraph,
    weights: Weights,
    shared: Shared,
    /// For each storage, the newest version of its buffer.
    newest: BTreeMap<ValueId, BufferId>,
    /// For each buffer, the first version of its bytes.
    lines: Vec<BufferId>,
    epochs: Vec<u32>,
    /// Nodes so far that write an input.
    writes: u32,
}

impl AsWritten<'_> {
    fn inputs(&mut self) {
        for (position, input) in self.graph.inputs.iter().enumerate() {
            let ty = self.graph.ty(input.value).clone();
            let name = self.graph.display(input.value);
            let buffer = self.out.add_buffer(name, ty, BufferKind::Input(position as u32));
            self.newest.insert(input.value, buffer);
            self.out.inputs.push(KernelInput::of(self.graph, input, buffer));
        }
    }

    /// Where the elements of `value` are now.
    fn source(&self, value: ValueId) -> Result<Source, Fault> {
        let root = self.placed.root(value);
        let layout = self.placed.layout(value).clone();
        if let Def::Constant(constant) = self.graph.value(root).def {
            return Ok(match self.graph.constant(constant).splat() {
                Some(bits) => Source::Splat(bits),
                None => Source::Constant { constant, layout },
            });
        }
        match self.newest.get(&root) {
            Some(&buffer) => Ok(Source::Memory { buffer, layout }),
            None => Err(fault(format!("{} is read before it is computed", self.graph.display(value)))),
        }
    }

    /// Runs a piece of the walk that lowers pure graphs on the kernels made so far.
    fn lowering<T>(
        &mut self,
        graph: &Graph,
        sources: BTreeMap<ValueId, Source>,
        piece: impl FnOnce(&mut Lowering<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (out, weights) = (std::mem::take(&mut self.out), std::mem::take(&mut self.weights));
        let shared = std::mem::take(&mut self.shared);
        let lowering = Lowering::new(graph, self.options, shared);
        let mut lowering = Lowering { owner: self.graph, out, sources, weights, ..lowering };
        let made = piece(&mut lowering);
        (self.out, self.weights, self.shared) = (lowering.out, lowering.weights, lowering.shared);
        self.note_lines()?;
        made
    }

    /// Finds the lines of the buffers that were added, and gives the nodes that were added their epoch.
    fn note_lines(&mut self) -> Result<(), Fault> {
        let known = self.lines.len();
        self.lines.extend((known..self.out.buffers.len()).map(|buffer| BufferId(buffer as u32)));
        for node in &self.out.nodes[self.epochs.len()..] {
            for write in &node.writes {
                if let Some(base) = write.base {
                    self.lines[write.access.value as usize] = self.lines[base as usize];
                }
            }
        }
        for number in self.epochs.len()..self.out.nodes.len() {
            self.epochs.push(self.writes);
            let written = self.out.nodes[number].writes.iter().any(|write| self.input_of(write.access.value).is_some());
            self.writes =
                self.writes.checked_add(u32::from(written)).ok_or_else(|| fault("more writes than can be counted"))?;
        }
        Ok(())
    }

    /// The input whose bytes a buffer has.
    fn input_of(&self, buffer: u32) -> Option<u32> {
        match self.out.buffer(self.lines[buffer as usize].0).kind {
            BufferKind::Input(input) => Some(input),
            _ => None,
        }
    }

    fn copy(&mut self, from: Access, to: Access, base: Option<BufferId>, origin: Origin) -> Result<(), Fault> {
        let graph = self.graph;
        self.lowering(graph, BTreeMap::new(), |lowering| {
            lowering.copy(from, to, base, origin);
            Ok(())
        })
    }

    /// A buffer and a layout for `source`; a repeated element gets a buffer of its own.
    fn access(&mut self, source: Source, ty: &TensorType) -> Result<Access, Fault> {
        let graph = self.graph;
        let (buffer, layout) = self.lowering(graph, BTreeMap::new(), |lowering| Ok(lowering.memory(source, ty)))?;
        Ok(Access { value: buffer.0, dtype: ty.dtype, layout })
    }

    fn instruction(&mut self, inst: &Inst) -> Result<(), Fault> {
        let shares = |&result: &ValueId| self.placed.root(result) != result;
        if !inst.mutates && inst.results.iter().all(shares) {
            // A view: nothing happens until somebody reads it.
            return Ok(());
        }
        let first = Made { nodes: self.out.nodes.len(), buffers: self.out.buffers.len() };
        let sources = match (&inst.op, inst.mutates) {
            (Op::Copy {}, true) => vec![self.repeated(inst)?],
            _ => self.computed(inst)?,
        };
        if inst.mutates {
            return self.write(inst, sources[0].clone(), &first);
        }
        let mut taken = Vec::new();
        for (&result, source) in inst.results.iter().zip(sources) {
            let buffer = self.fresh(result, source, &taken, &first, inst)?;
            taken.push(buffer);
            self.newest.insert(result, buffer);
        }
        Ok(())
    }

    /// What `copy_` writes: operand 1, repeated over the shape of operand 0.
    fn repeated(&self, inst: &Inst) -> Result<Source, Fault> {
        let shape = &self.graph.ty(inst.operands[0]).shape;
        Ok(match self.source(inst.operands[1])? {
            Source::Memory { buffer, layout } => Source::Memory { buffer, layout: views::broadcast(&layout, shape) },
            Source::Constant { constant, layout } => {
                Source::Constant { constant, layout: views::broadcast(&layout, shape) }
            }
            splat => splat,
        })
    }

    /// Computes the results of an op from what its operands hold now; where they are.
    fn computed(&mut self, inst: &Inst) -> Result<Vec<Source>, Fault> {
        let mut piece = Graph::new("");
        let mut operands = Vec::with_capacity(inst.operands.len());
        for (position, &operand) in inst.operands.iter().enumerate() {
            operands.push(piece.add_input(format!("{position}"), InputMode::Read, self.graph.ty(operand).clone()));
        }
        let types = inst.results.iter().map(|&result| self.graph.ty(result).clone()).collect();
        // A view that must copy is what it is on values.
        let op = match &inst.op {
            Op::View { shape } => Op::Reshape { shape: shape.clone() },
            op => op.clone(),
        };
        let id = piece.append_typed(Graph::BODY, op, &operands, types, inst.location.clone());
        for (position, result) in piece.inst(id).results.clone().into_iter().enumerate() {
            let name = self.graph.display(inst.results[position]);
            piece.values[result.index()].name = name.trim_start_matches('%').to_string();
            piece.add_output(format!("{position}"), result);
        }
        let (piece, _) = rewrite::optimize(PureGraph::new(piece)?, &self.rewriting)?;
        let mut sources = BTreeMap::new();
        for (input, &operand) in piece.inputs.iter().zip(&inst.operands) {
            sources.insert(input.value, self.source(operand)?);
        }
        self.lowering(&piece, sources, |lowering| {
            for &id in &piece.body().insts {
                lowering.instruction(piece.inst(id))?;
            }
            piece.outputs.iter().map(|output| lowering.source(output.value)).collect()
        })
    }

    /// The buffer of a value with bytes of its own: the one it was computed in, if that holds nothing else and has the
    /// layout the value must have.
    fn fresh(
        &mut self,
        value: ValueId,
        source: Source,
        taken: &[BufferId],
        first: &Made,
        inst: &Inst,
    ) -> Result<BufferId, Fault> {
        let ty = self.graph.ty(value).clone();
        let layout = self.placed.layout(value).clone();
        if let Source::Memory { buffer, layout: found } = &source {
            let own = buffer.index() >= first.buffers
                && !taken.contains(buffer)
                && self.out.buffer(buffer.0).kind == BufferKind::Temporary
                && self.out.buffer(buffer.0).bytes() == ty.bytes() as u64;
            let access = |layout: &Layout| Access { value: buffer.0, dtype: ty.dtype, layout: layout.clone() };
            if own && is_same(&access(found), &access(&layout)) {
                return Ok(*buffer);
            }
        }
        let buffer = self.out.add_buffer(self.graph.display(value), ty.clone(), BufferKind::Temporary);
        self.note_lines()?;
        let target = Access { value: buffer.0, dtype: ty.dtype, layout };
        self.settle(source, &ty, target, None, first, Origin::of(inst))?;
        Ok(buffer)
    }

    /// Writes the value of a mutating op to its destination.
    fn write(&mut self, inst: &Inst, source: Source, first: &Made) -> Result<(), Fault> {
        let destination = inst.operands[0];
        let layout = self.placed.layout(destination).clone();
        if layout.is_empty() {
            return Ok(());
        }
        let ty = self.graph.ty(destination).clone();
        let mut origin = Origin::of(inst);
        origin.label.push('_');
        self.replace(self.placed.root(destination), layout, source, &ty, first, origin)
    }

    /// The next version of a storage: `source` in the region `layout`.
    fn replace(
        &mut self,
        root: ValueId,
        layout: Layout,
        source: Source,
        ty: &TensorType,
        first: &Made,
        origin: Origin,
    ) -> Result<(), Fault> {
        let old = self.newest.get(&root).copied().ok_or_else(|| fault("a storage is written before it exists"))?;
        let storage = self.out.buffer(old.0).clone();
        let new = self.out.add_buffer(storage.name, storage.ty, BufferKind::Temporary);
        self.note_lines()?;
        self.lines[new.index()] = self.lines[old.index()];
        let target = Access { value: new.0, dtype: ty.dtype, layout };
        self.settle(source, ty, target, Some(old), first, origin)?;
        self.newest.insert(root, new);
        Ok(())
    }

    /// A graph in functional form names the final values of its state; they are read before the first is written.
    fn finals(&mut self) -> Result<(), Fault> {
        let graph = self.graph;
        let mut moved = Vec::new();
        for &(input, value) in &graph.finals {
            let (own, ty) = (graph.inputs[input as usize].value, graph.ty(value).clone());
            let access = {
                let source = self.source(value)?;
                self.access(source, &ty)?
            };
            let now = whole(self.newest[&own], &ty);
            if is_same(&access, &now) && access.value == now.value {
                continue;
            }
            let buffer = self.out.add_buffer(graph.display(value), ty.clone(), BufferKind::Temporary);
            let origin =
                Origin { label: "final".into(), location: Location::default(), rules: Vec::new(), origins: Vec::new() };
            self.copy(access, whole(buffer, &ty), None, origin)?;
            moved.push((own, buffer, ty));
        }
        for (own, buffer, ty) in moved {
            let origin =
                Origin { label: "final".into(), location: Location::default(), rules: Vec::new(), origins: Vec::new() };
            let layout = Layout::dense(&ty.shape);
            let first = Made { nodes: self.out.nodes.len(), buffers: self.out.buffers.len() };
            let source = Source::Memory { buffer, layout: layout.clone() };
            if !layout.is_empty() {
                self.replace(own, layout, source, &ty, &first, origin)?;
            }
        }
        for (position, input) in graph.inputs.iter().enumerate().filter(|(_, input)| input.mode == InputMode::InOut) {
            self.out.finals.push((position as u32, self.newest[&input.value]));
        }
        Ok(())
    }

    /// Outputs own their bytes: what lies in an input, in a weight, in another output or is not dense is copied.
    fn outputs(&mut self) -> Result<(), Fault> {
        let graph = self.graph;
        let mut taken: Vec<Access> = Vec::new();
        for output in &graph.outputs {
            let ty = graph.ty(output.value).clone();
            let source = self.source(output.value)?;
            let mut access = self.access(source, &ty)?;
            let in_arena = self.out.buffer(self.lines[access.value as usize].0).kind == BufferKind::Temporary;
            let free = taken.iter().all(|other| other.value != access.value || is_clear(other, &access));
            if !in_arena || !access.layout.is_dense() || !free {
                let buffer = self.out.add_buffer(graph.display(output.value), ty.clone(), BufferKind::Temporary);
                let producer = graph.producer(output.value);
                let origin = Origin {
                    label: "output".into(),
                    location: producer.map_or_else(Location::default, |id| graph.inst(id).location.clone()),
                    rules: Vec::new(),
                    origins: Vec::new(),
                };
                self.copy(access, whole(buffer, &ty), None, origin)?;
                access = whole(buffer, &ty);
            }
            access.layout.strides = dense_strides(&access.layout.shape);
            taken.push(access.clone());
            self.out.outputs.push(KernelOutput { name: output.name.clone(), access });
        }
        Ok(())
    }
}

/// How many nodes and buffers there were before an instruction.
struct Made {
    nodes: usize,
    buffers: usize,
}
