//! The walk: one instruction after the other, from values to buffers.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use situ_runtime::executable::{Access, Write};
use situ_runtime::kernel::{Kernel, Window};
use situ_runtime::point::{PointFn, PointInstr, Program};

use super::body::fault;
use super::{
    BufferId, BufferKind, KernelGraph, KernelInput, KernelNode, KernelOutput, Lowered, Source, Weight, WeightForm,
    views, whole,
};
use crate::diagnostic::Fault;
use crate::functional::PureGraph;
use crate::ir::{ConstId, Def, Graph, Inst, Location, ValueId};
use crate::ops::{Class, Op};
use crate::types::{Layout, TensorType, dense_strides};

/// What lowering depends on beside the graph.
#[derive(Clone, Debug)]
pub struct LowerOptions {
    /// Threads the workspaces must suffice for.
    pub threads: usize,
    /// Whether constant operands of contractions are stored in the order their kernel reads them.
    pub pack: bool,
}

/// Makes kernels and buffers of `graph` and of the regions in it. Fails only by a mistake of an earlier stage.
pub fn lower(graph: &PureGraph, options: &LowerOptions) -> Result<Lowered, Fault> {
    let mut lowering = Lowering::new(graph, options, Shared::default());
    lowering.out.name.clone_from(&graph.name);
    lowering.users = users(graph);
    lowering.inputs();
    for &inst in &graph.body().insts {
        lowering.instruction(graph.inst(inst))?;
    }
    lowering.finals()?;
    lowering.outputs()?;
    let mut lowered = Lowered { main: lowering.out, bodies: lowering.shared.bodies };
    for graph in lowered.bodies.iter_mut().chain([&mut lowered.main]) {
        graph.weights.clone_from(&lowering.shared.weights);
        find_workspaces(graph, options.threads)?;
    }
    Ok(lowered)
}

/// For each value, how often it is used: as an operand, a yield, an output or a final value.
fn users(graph: &Graph) -> Vec<usize> {
    let mut users = vec![0; graph.values.len()];
    let insts = graph.blocks.iter().flat_map(|block| &block.insts).flat_map(|&id| &graph.inst(id).operands);
    let yields = graph.blocks.iter().flat_map(|block| &block.yields);
    let ends = graph.outputs.iter().map(|output| &output.value).chain(graph.finals.iter().map(|(_, value)| value));
    for value in insts.chain(yields).chain(ends) {
        users[value.index()] += 1;
    }
    users
}

/// Asks every kernel for the scratch bytes it needs with its present layouts, which `place` may have changed. What a
/// step that runs bodies needs is known only when they have been planned.
pub fn find_workspaces(graph: &mut KernelGraph, threads: usize) -> Result<(), Fault> {
    for node in graph.nodes.iter_mut().filter(|node| node.kernel.bodies().next().is_none()) {
        node.workspace =
            situ_runtime::kernel::prepared::workspace_bytes(&node.kernel, &node.reads, &node.writes, threads)
                .map_err(|message| fault(format!("{}: {message}", node.label)))? as u64;
    }
    Ok(())
}

/// What the graphs of one program have in common.
#[derive(Default)]
pub(super) struct Shared {
    pub bodies: Vec<KernelGraph>,
    pub weights: Vec<Weight>,
    /// Position in `weights`.
    known: IndexMap<(ConstId, WeightForm), u32>,
}

impl Shared {
    /// Additions and multiplications of a body.
    pub fn flops(&self, body: u32) -> u64 {
        self.bodies[body as usize].nodes.iter().fold(0, |sum, node| sum.saturating_add(node.flops))
    }
}

pub(super) struct Lowering<'a> {
    pub graph: &'a Graph,
    /// The graph whose constants a [`Source::Constant`] and a [`Weight`] name: `graph`, or the program it is a piece of.
    pub owner: &'a Graph,
    pub options: &'a LowerOptions,
    pub out: KernelGraph,
    pub sources: BTreeMap<ValueId, Source>,
    pub shared: Shared,
    /// Whether a region is lowered and not the graph's body.
    pub is_body: bool,
    /// How often each value is used.
    pub users: Vec<usize>,
    pub weights: Weights,
}

/// The buffers of the constants that have one, by constant and form.
pub(super) type Weights = IndexMap<(ConstId, WeightForm), BufferId>;

/// The facts of a node that come from its instruction.
#[derive(Clone)]
pub(super) struct Origin {
    pub label: String,
    pub location: Location,
    pub rules: Vec<&'static str>,
    /// Where the rewriter made it.
    pub origins: Vec<(u32, u32)>,
}

impl Origin {
    pub fn of(inst: &Inst) -> Origin {
        Origin {
            label: inst.op.name().to_string(),
            location: inst.location.clone(),
            rules: inst.rules.clone(),
            origins: inst.origins.clone(),
        }
    }
}

impl<'a> Lowering<'a> {
    pub fn new(graph: &'a Graph, options: &'a LowerOptions, shared: Shared) -> Lowering<'a> {
        Lowering {
            graph,
            owner: graph,
            options,
            out: KernelGraph::default(),
            sources: BTreeMap::new(),
            shared,
            is_body: false,
            users: Vec::new(),
            weights: IndexMap::new(),
        }
    }

    /// How often a value is used.
    pub fn uses(&self, value: ValueId) -> usize {
        self.users.get(value.index()).copied().unwrap_or(usize::MAX)
    }

    fn inputs(&mut self) {
        for (position, input) in self.graph.inputs.iter().enumerate() {
            let ty = self.graph.ty(input.value).clone();
            let name = self.graph.display(input.value);
            let layout = Layout::dense(&ty.shape);
            let buffer = self.out.add_buffer(name, ty, BufferKind::Input(position as u32));
            self.sources.insert(input.value, Source::Memory { buffer, layout });
            self.out.inputs.push(KernelInput::of(self.graph, input, buffer));
        }
    }

    /// Where `value` is. Constants come into being when they are first asked for.
    pub fn source(&self, value: ValueId) -> Result<Source, Fault> {
        if let Some(source) = self.sources.get(&value) {
            return Ok(source.clone());
        }
        match self.graph.value(value).def {
            Def::Constant(constant) => Ok(match self.graph.constant(constant).splat() {
                Some(bits) => Source::Splat(bits),
                None => Source::Constant { constant, layout: Layout::dense(&self.graph.ty(value).shape) },
            }),
            _ => Err(fault(format!("{} is read before it is lowered", self.graph.display(value)))),
        }
    }

    /// The buffer of a constant in the given form.
    pub fn weight(&mut self, constant: ConstId, form: WeightForm, stored: TensorType) -> BufferId {
        let name = &self.owner.constant(constant).name;
        let name = if name.is_empty() { format!("%const{}", constant.0) } else { format!("%{name}") };
        if let Some(&buffer) = self.weights.get(&(constant, form.clone())) {
            return buffer;
        }
        // One weight serves every graph that reads it in this form.
        let Shared { weights, known, .. } = &mut self.shared;
        let weight = *known.entry((constant, form.clone())).or_insert_with(|| {
            weights.push(Weight { constant, form: form.clone(), stored: stored.clone() });
            weights.len() as u32 - 1
        });
        let buffer = self.out.add_buffer(name, stored, BufferKind::Weight(weight));
        self.weights.insert((constant, form), buffer);
        buffer
    }

    /// A buffer and a layout for `source`; a constant gets its dense form, a repeated element a buffer of its own.
    pub fn memory(&mut self, source: Source, ty: &TensorType) -> (BufferId, Layout) {
        match source {
            Source::Memory { buffer, layout } => (buffer, layout),
            Source::Constant { constant, layout } => {
                let stored = self.owner.constant(constant).ty.clone();
                (self.weight(constant, WeightForm::Dense, stored), layout)
            }
            Source::Splat(bits) => {
                let buffer = self.out.add_buffer("%fill", TensorType::scalar(ty.dtype), BufferKind::Temporary);
                let origin = Origin {
                    label: "fill".into(),
                    location: Location::default(),
                    rules: Vec::new(),
                    origins: Vec::new(),
                };
                self.fill(bits, whole(buffer, &TensorType::scalar(ty.dtype)), origin);
                (buffer, views::broadcast(&Layout::dense(&[]), &ty.shape))
            }
        }
    }

    /// The access by which a kernel reads `value`.
    pub fn access(&mut self, value: ValueId) -> Result<Access, Fault> {
        let ty = self.graph.ty(value).clone();
        let source = self.source(value)?;
        let (buffer, layout) = self.memory(source, &ty);
        Ok(Access { value: buffer.0, dtype: ty.dtype, layout })
    }

    /// A dense buffer for a result, and the access that writes it.
    pub fn result(&mut self, value: ValueId) -> Access {
        let ty = self.graph.ty(value).clone();
        let buffer = self.out.add_buffer(self.graph.display(value), ty.clone(), BufferKind::Temporary);
        self.sources.insert(value, Source::Memory { buffer, layout: Layout::dense(&ty.shape) });
        whole(buffer, &ty)
    }

    pub fn push(&mut self, kernel: Kernel, reads: Vec<Access>, writes: Vec<Write>, origin: Origin) {
        if writes.iter().all(|write| write.access.layout.is_empty()) {
            return;
        }
        let (mut reads, mut writes) = (reads, writes);
        let layouts = reads.iter_mut().map(|read| &mut read.layout);
        for layout in layouts.chain(writes.iter_mut().map(|write| &mut write.access.layout)) {
            views::canonicalise(layout);
        }
        let flops = flops(&kernel, &reads, &writes);
        self.out.nodes.push(KernelNode {
            kernel,
            reads,
            writes,
            workspace: 0,
            requests: Vec::new(),
            scratch: None,
            label: origin.label,
            location: origin.location,
            flops,
            rules: origin.rules,
            origins: origin.origins,
        });
    }

    fn fill(&mut self, bits: u64, target: Access, origin: Origin) {
        let program = Program {
            inputs: Vec::new(),
            code: vec![PointInstr { function: PointFn::Const(bits, target.dtype), args: [0; 3] }],
            outputs: vec![0],
        };
        self.push(Kernel::Map { program }, Vec::new(), vec![Write { access: target, base: None }], origin);
    }

    /// Moves the elements of `from` to `to` (layouts of one shape).
    pub fn copy(&mut self, from: Access, to: Access, base: Option<BufferId>, origin: Origin) {
        let program = Program::identity(from.dtype);
        self.push(
            Kernel::Map { program },
            vec![from],
            vec![Write { access: to, base: base.map(|base| base.0) }],
            origin,
        );
    }

    /// `value` with layout dense and row-major, copied if it is not.
    pub fn dense(&mut self, value: ValueId, origin: Origin) -> Result<Access, Fault> {
        let access = self.access(value)?;
        if access.layout.is_dense() {
            return Ok(access);
        }
        let ty = self.graph.ty(value).clone();
        let buffer = self.out.add_buffer(self.graph.display(value), ty.clone(), BufferKind::Temporary);
        let target = whole(buffer, &ty);
        self.copy(access, target.clone(), None, origin);
        Ok(target)
    }

    /// The operand of a view as something the view can be taken of: as it is stored, else a dense copy.
    fn dense_for(&mut self, operand: ValueId, inst: &Inst) -> Result<Access, Fault> {
        let access = self.access(operand)?;
        if views::apply(&inst.op, &access.layout, access.dtype).is_some() {
            return Ok(access);
        }
        let ty = self.graph.ty(operand).clone();
        let buffer = self.out.add_buffer(self.graph.display(operand), ty.clone(), BufferKind::Temporary);
        let target = whole(buffer, &ty);
        self.copy(access, target.clone(), None, Origin::of(inst));
        Ok(target)
    }

    pub fn instruction(&mut self, inst: &Inst) -> Result<(), Fault> {
        match inst.op.row().class {
            Class::View => self.view(inst),
            Class::Movement => self.movement(inst),
            Class::Opaque => self.opaque(inst),
            Class::Point | Class::Row | Class::Contraction => self.kernel(inst),
            Class::Kernel => self.kernel(inst),
            Class::Control => self.control(inst),
            Class::Composite => Err(fault(format!("{} was not decomposed", inst.op.name()))),
        }
    }

    fn view(&mut self, inst: &Inst) -> Result<(), Fault> {
        let operand = inst.operands[0];
        let source = self.source(operand)?;
        let dtype = self.graph.ty(operand).dtype;
        let size_changes = self.graph.ty(inst.results[0]).dtype.size() != dtype.size();
        let place = |source: &Source| -> Option<Vec<Source>> {
            Some(match source {
                // The same bits everywhere, unless an element becomes several or a part of one.
                Source::Splat(_) if size_changes => return None,
                Source::Splat(bits) => vec![Source::Splat(*bits); inst.results.len()],
                Source::Memory { buffer, layout } => views::apply(&inst.op, layout, dtype)?
                    .into_iter()
                    .map(|layout| Source::Memory { buffer: *buffer, layout })
                    .collect(),
                // Constants are packed by their own dtype; seen as another they are plain memory.
                Source::Constant { .. } if matches!(inst.op, Op::Bitcast { .. } | Op::ViewDtype { .. }) => return None,
                Source::Constant { constant, layout } => views::apply(&inst.op, layout, dtype)?
                    .into_iter()
                    .map(|layout| Source::Constant { constant: *constant, layout })
                    .collect(),
            })
        };
        let results = match place(&source) {
            Some(results) => results,
            None => {
                let access = self.dense_for(operand, inst)?;
                let dense = Source::Memory { buffer: BufferId(access.value), layout: access.layout };
                place(&dense).ok_or_else(|| fault(format!("{} of a dense value is not a view", inst.op.name())))?
            }
        };
        for (&result, source) in inst.results.iter().zip(results) {
            self.sources.insert(result, source);
        }
        Ok(())
    }

    fn movement(&mut self, inst: &Inst) -> Result<(), Fault> {
        match &inst.op {
            Op::Contiguous {} => {
                let source = self.source(inst.operands[0])?;
                let source = match source {
                    Source::Splat(_) => source,
                    _ => {
                        let access = self.dense(inst.operands[0], Origin::of(inst))?;
                        Source::Memory { buffer: BufferId(access.value), layout: access.layout }
                    }
                };
                self.sources.insert(inst.results[0], source);
            }
            Op::Concat { axis } => {
                let target = self.result(inst.results[0]);
                let mut start = 0i64;
                for &part in &inst.operands {
                    let from = self.access(part)?;
                    let mut region = target.clone();
                    region.layout.offset += start * region.layout.strides[*axis];
                    region.layout.shape = from.layout.shape.clone();
                    start += from.layout.shape[*axis] as i64;
                    self.copy(from, region, None, Origin::of(inst));
                }
            }
            Op::Pad { before, after } => self.pad(inst, before, after)?,
            Op::Update { offset, strides } => {
                let base = self.copied_base(inst)?;
                let from = self.access(inst.operands[1])?;
                let target = self.result(inst.results[0]);
                let region =
                    Layout { offset: *offset as i64, shape: from.layout.shape.clone(), strides: strides.clone() };
                let mut origin = Origin::of(inst);
                origin.label = "update".into();
                if region.is_empty() {
                    self.sources.insert(
                        inst.results[0],
                        Source::Memory { buffer: base, layout: Layout::dense(&self.graph.ty(inst.results[0]).shape) },
                    );
                } else {
                    self.copy(from, Access { layout: region, ..target }, Some(base), origin);
                }
            }
            other => return Err(fault(format!("{} is not a movement of a pure graph", other.name()))),
        }
        Ok(())
    }

    /// A buffer that holds a copy of operand 0 and may be overwritten by this instruction.
    fn copied_base(&mut self, inst: &Inst) -> Result<BufferId, Fault> {
        self.copied(inst.operands[0], inst)
    }

    /// A buffer that holds a copy of `value` and may be overwritten by `inst`.
    pub fn copied(&mut self, value: ValueId, inst: &Inst) -> Result<BufferId, Fault> {
        let from = self.access(value)?;
        let ty = self.graph.ty(value).clone();
        let base = self.out.add_buffer(self.graph.display(value), ty.clone(), BufferKind::Temporary);
        let origin = Origin { label: format!("copy for {}", inst.op.name()), ..Origin::of(inst) };
        self.copy(from, whole(base, &ty), None, origin);
        Ok(base)
    }

    /// The operand in the middle, and slabs of the pad element around it: slab by slab the axes before keep to the
    /// middle and the axes after run over everything, so that the slabs are disjoint and cover the rest.
    fn pad(&mut self, inst: &Inst, before: &[usize], after: &[usize]) -> Result<(), Fault> {
        let from = self.access(inst.operands[0])?;
        let element = match self.source(inst.operands[1])? {
            Source::Splat(bits) => Ok(bits),
            _ => Err(self.access(inst.operands[1])?),
        };
        let target = self.result(inst.results[0]);
        let mut region = target.layout.clone();
        for axis in 0..region.rank() {
            let inner = from.layout.shape[axis];
            for (start, len) in [(0, before[axis]), (before[axis] + inner, after[axis])] {
                if len == 0 {
                    continue;
                }
                let mut slab = region.clone();
                slab.offset += start as i64 * slab.strides[axis];
                slab.shape[axis] = len;
                let access = Access { layout: slab, ..target.clone() };
                match &element {
                    Ok(bits) => self.fill(*bits, access, Origin::of(inst)),
                    Err(element) => {
                        let mut read = element.clone();
                        read.layout = views::broadcast(&read.layout, &access.layout.shape);
                        self.copy(read, access, None, Origin::of(inst));
                    }
                }
            }
            region.offset += before[axis] as i64 * region.strides[axis];
            region.shape[axis] = inner;
        }
        self.copy(from, Access { layout: region, ..target }, None, Origin::of(inst));
        Ok(())
    }

    fn opaque(&mut self, inst: &Inst) -> Result<(), Fault> {
        let reads = |lowering: &mut Self| -> Result<Vec<Access>, Fault> {
            inst.operands.iter().map(|&operand| lowering.access(operand)).collect()
        };
        let fresh = |lowering: &mut Self| -> Vec<Write> {
            inst.results.iter().map(|&result| Write { access: lowering.result(result), base: None }).collect()
        };
        let origin = Origin::of(inst);
        let kernel = match &inst.op {
            Op::Gather { axis } => Kernel::Gather { axis: *axis },
            Op::GatherElements { axis } => Kernel::GatherElements { axis: *axis },
            Op::GatherNd { batch_dims } => Kernel::GatherNd { batch_dims: *batch_dims },
            Op::ScatterElements { axis, function } => {
                return self.scatter(inst, Kernel::ScatterElements { axis: *axis, function: *function });
            }
            Op::ScatterNd { function } => return self.scatter(inst, Kernel::ScatterNd { function: *function }),
            Op::DynamicSlice { axes, .. } => Kernel::DynamicSlice { axes: axes.clone() },
            Op::DynamicUpdate { axes } => return self.scatter(inst, Kernel::DynamicUpdate { axes: axes.clone() }),
            Op::Pool { function, kernel, strides, pads_begin, pads_end, dilations } => Kernel::Pool {
                function: *function,
                window: Window {
                    kernel: kernel.clone(),
                    strides: strides.clone(),
                    pads_begin: pads_begin.clone(),
                    pads_end: pads_end.clone(),
                    dilations: dilations.clone(),
                },
                column_major: false,
            },
            Op::MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, column_major } => Kernel::Pool {
                function: situ_runtime::kernel::PoolFn::Max,
                window: Window {
                    kernel: kernel.clone(),
                    strides: strides.clone(),
                    pads_begin: pads_begin.clone(),
                    pads_end: pads_end.clone(),
                    dilations: dilations.clone(),
                },
                column_major: *column_major,
            },
            Op::ArgReduce { largest, axis, keepdim, last } => {
                let reads = reads(self)?;
                let mut writes = fresh(self);
                if !keepdim {
                    writes[0].access.layout = views::unsqueeze(&writes[0].access.layout, &[*axis]);
                }
                let kernel = Kernel::ArgReduce { largest: *largest, axis: *axis, last: *last };
                self.push(kernel, reads, writes, origin);
                return Ok(());
            }
            Op::TopK { axis, largest, sorted, .. } => Kernel::TopK { axis: *axis, largest: *largest, sorted: *sorted },
            Op::Cumulative { function, axis, exclusive, reverse } => {
                Kernel::Cumulative { function: *function, axis: *axis, exclusive: *exclusive, reverse: *reverse }
            }
            Op::Resize { function, axes, extrapolation, .. } => Kernel::Resize {
                function: *function,
                axes: axes.clone(),
                extrapolation: extrapolation.map(|value| value.0),
            },
            Op::Recurrent { function, hidden, reverse, clip, input_forget } => Kernel::Recurrent {
                function: *function,
                hidden: *hidden,
                reverse: reverse.clone(),
                clip: clip.map(|value| value.0),
                input_forget: *input_forget,
                packed: false,
            },
            other => return Err(fault(format!("{} has no kernel", other.name()))),
        };
        let reads = reads(self)?;
        let writes = fresh(self);
        self.push(kernel, reads, writes, origin);
        Ok(())
    }

    fn scatter(&mut self, inst: &Inst, kernel: Kernel) -> Result<(), Fault> {
        let base = self.copied_base(inst)?;
        let reads = inst.operands[1..].iter().map(|&operand| self.access(operand)).collect::<Result<Vec<_>, _>>()?;
        let access = self.result(inst.results[0]);
        self.push(kernel, reads, vec![Write { access, base: Some(base.0) }], Origin::of(inst));
        Ok(())
    }

    fn finals(&mut self) -> Result<(), Fault> {
        for &(input, value) in &self.graph.finals {
            self.final_value(input, value)?;
        }
        Ok(())
    }

    /// Lets the bytes of an input end as `value`.
    pub fn final_value(&mut self, input: u32, value: ValueId) -> Result<(), Fault> {
        let own = self.out.inputs[input as usize].buffer;
        let from = self.access(value)?;
        if from.value == own.0 && from.layout.is_dense() && from.layout.offset == 0 {
            self.out.finals.push((input, own));
            return Ok(());
        }
        let ty = self.graph.ty(value).clone();
        let name = format!("{}'", self.out.buffer(own.0).name);
        let buffer = self.out.add_buffer(name, ty.clone(), BufferKind::Final(input));
        let origin =
            Origin { label: "final".into(), location: Location::default(), rules: Vec::new(), origins: Vec::new() };
        self.copy(from, whole(buffer, &ty), None, origin);
        self.out.finals.push((input, buffer));
        Ok(())
    }

    /// Outputs own their bytes: a value that is an input, a weight, another output or not dense is copied.
    fn outputs(&mut self) -> Result<(), Fault> {
        let mut taken: Vec<(u32, i64, i64)> = Vec::new();
        for output in &self.graph.outputs {
            let mut access = self.access(output.value)?;
            let kind = self.out.buffer(access.value).kind;
            let size = access.dtype.size() as i64;
            let bytes = |layout: &Layout| layout.hull().map(|(low, high)| (low * size, high * size));
            let hull = bytes(&access.layout);
            let free = hull.is_none_or(|(low, high)| {
                taken.iter().all(|&(buffer, from, to)| buffer != access.value || high <= from || to <= low)
            });
            if kind != BufferKind::Temporary || !access.layout.is_dense() || !free {
                let ty = self.graph.ty(output.value).clone();
                let name = self.graph.display(output.value);
                let buffer = self.out.add_buffer(name, ty.clone(), BufferKind::Temporary);
                let producer = self.graph.producer(output.value);
                let origin = Origin {
                    label: "output".into(),
                    location: producer.map_or_else(Location::default, |id| self.graph.inst(id).location.clone()),
                    rules: Vec::new(),
                    origins: Vec::new(),
                };
                self.copy(access, whole(buffer, &ty), None, origin);
                access = whole(buffer, &ty);
            }
            if let Some((low, high)) = bytes(&access.layout) {
                taken.push((access.value, low, high));
            }
            // Axes of extent 1 may carry any stride inside the compiler; the caller sees the row-major ones.
            access.layout.strides = dense_strides(&access.layout.shape);
            self.out.outputs.push(KernelOutput { name: output.name.clone(), access });
        }
        Ok(())
    }
}

/// Additions and multiplications of a kernel, from its accesses.
fn flops(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> u64 {
    let written: u64 = writes.iter().map(|write| write.access.layout.len() as u64).max().unwrap_or(0);
    let read: u64 = reads.iter().map(|read| read.layout.len() as u64).max().unwrap_or(0);
    let epilogue = kernel.epilogue().map_or(0, Program::flops).saturating_mul(written);
    let core = match kernel {
        Kernel::Map { program } => program.flops().saturating_mul(written),
        Kernel::Reduce { prologue, .. } => (prologue.flops() + 1).saturating_mul(read),
        Kernel::Row { prologue, .. } => (prologue.flops() + 10).saturating_mul(read),
        Kernel::MatMul { .. } => {
            let k = reads[0].layout.shape.last().copied().unwrap_or(1) as u64;
            written.saturating_mul(2).saturating_mul(k)
        }
        Kernel::Conv { window, groups, .. } => {
            let channels = reads[0].layout.shape.get(1).copied().unwrap_or(1) / (*groups).max(1);
            let taps: usize = window.kernel.iter().product();
            written.saturating_mul(2).saturating_mul((channels * taps) as u64)
        }
        Kernel::ConvTranspose { window, groups, .. } => {
            let oc = writes[0].access.layout.shape.get(1).copied().unwrap_or(1) / (*groups).max(1);
            let taps: usize = window.kernel.iter().product();
            (reads[0].layout.len() as u64).saturating_mul(2).saturating_mul((oc * taps) as u64)
        }
        Kernel::Pool { window, .. } => written.saturating_mul(window.kernel.iter().product::<usize>() as u64),
        Kernel::Recurrent { .. } => {
            let (w, r) = (reads[1].layout.len() as u64, reads[2].layout.len() as u64);
            let rows = reads[0].layout.shape[0] as u64 * reads[0].layout.shape[1] as u64;
            rows.saturating_mul(2).saturating_mul(w + r)
        }
        _ => 0,
    };
    core.saturating_add(epilogue)
}
