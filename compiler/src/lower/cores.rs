//! Kernels with a body: which instruction is the core, what comes before it and what after.
//!
//! A body has at most one core. What the core's operand needs is the prologue, read over the core's input domain; the
//! rest is the epilogue, read over the written domain. Layouts are then brought to the form the kernel wants (row last,
//! batch axes merged), which never changes what is read.

use std::collections::BTreeMap;

use situ_runtime::executable::{Access, Write};
use situ_runtime::kernel::{Kernel, ReduceFn, RowFn, Window};
use situ_runtime::pack;
use situ_runtime::point::{PointFn, Program};

use super::body::{Body, fault};
use super::graph::{Lowering, Origin};
use super::{BufferId, BufferKind, Source, WeightForm, views, whole};
use crate::diagnostic::Fault;
use crate::ir::{Def, Inst, InstId, ValueId};
use crate::ops::{Class, Op};
use crate::types::{DType, Layout, TensorType};

/// The body of an instruction, its own or the instruction itself.
struct Parts {
    sources: BTreeMap<ValueId, Source>,
    core: Option<InstId>,
    yields: Vec<ValueId>,
    /// Operand that asks to be tied.
    tied: Option<Source>,
    origin: Origin,
}

impl Lowering<'_> {
    /// Lowers an instruction of class point, row, contraction or kernel.
    pub(super) fn kernel(&mut self, inst: &Inst) -> Result<(), Fault> {
        let parts = self.parts(inst)?;
        let targets: Vec<Access> = inst.results.iter().map(|&result| self.result(result)).collect();
        let Some(core) = parts.core else {
            return self.map(&parts, targets);
        };
        if targets.len() != 1 || parts.yields.len() != 1 {
            return Err(fault("a kernel with a core has one result"));
        }
        let core = self.graph.inst(core).clone();
        match &core.op {
            Op::Reduce { function, axes, keepdim } => self.reduce(&parts, &core, *function, axes, *keepdim, targets),
            Op::Softmax { axis } => self.row(&parts, &core, RowFn::Softmax, *axis, targets),
            Op::LogSoftmax { axis } => self.row(&parts, &core, RowFn::LogSoftmax, *axis, targets),
            Op::LayerNorm { axis, eps } => self.row(&parts, &core, RowFn::LayerNorm { eps: eps.0 }, *axis, targets),
            Op::RmsNorm { axis, eps } => self.row(&parts, &core, RowFn::RmsNorm { eps: eps.0 }, *axis, targets),
            Op::MatMul {} => self.matmul(&parts, &core, targets),
            Op::Conv { .. } | Op::ConvTranspose { .. } => self.convolution(&parts, &core, targets),
            other => Err(fault(format!("{} is not a core", other.name()))),
        }
    }

    fn parts(&mut self, inst: &Inst) -> Result<Parts, Fault> {
        let mut sources = BTreeMap::new();
        let mut core = None;
        let mut origin = Origin::of(inst);
        let (insts, yields) = match inst.regions.first() {
            Some(&region) => {
                let block = self.graph.block(region);
                for (&param, &operand) in block.params.iter().zip(&inst.operands) {
                    sources.insert(param, self.source(operand)?);
                }
                origin.label = label(block.insts.iter().map(|&id| self.graph.inst(id).op.name()));
                (block.insts.clone(), block.yields.clone())
            }
            None => match self.graph.producer(inst.results[0]) {
                Some(id) => (vec![id], inst.results.clone()),
                None => return Err(fault("an instruction does not define its results")),
            },
        };
        for &id in &insts {
            let member = self.graph.inst(id);
            for &operand in &member.operands {
                let outside = inst.regions.is_empty() || matches!(self.graph.value(operand).def, Def::Constant(_));
                if outside && !sources.contains_key(&operand) {
                    sources.insert(operand, self.source(operand)?);
                }
            }
            if matches!(member.op.row().class, Class::Row | Class::Contraction) && core.replace(id).is_some() {
                return Err(fault(format!("{} has two cores", origin.label)));
            }
        }
        let tied = inst.tie.and_then(|tie| inst.operands.get(tie as usize)).map(|&operand| self.source(operand));
        Ok(Parts { sources, core, yields, tied: tied.transpose()?, origin })
    }

    /// Reads of a program's operands over `domain`, brought to the kernel's form by `fit`.
    fn reads(
        &mut self,
        operands: &[(ValueId, Source)],
        domain: &[usize],
        fit: &dyn Fn(&Layout) -> Option<Layout>,
    ) -> Result<Vec<Access>, Fault> {
        let mut reads = Vec::with_capacity(operands.len());
        for (value, source) in operands {
            let ty = self.graph.ty(*value).clone();
            let (buffer, layout) = self.memory(source.clone(), &ty);
            if layout.rank() > domain.len() {
                return Err(fault(format!("{} does not broadcast to {domain:?}", self.graph.display(*value))));
            }
            let read = Access { value: buffer.0, dtype: ty.dtype, layout: views::broadcast(&layout, domain) };
            reads.push(self.fitted(read, fit)?);
        }
        Ok(reads)
    }

    /// `access` brought to the kernel's form, copied to a dense buffer first where strides do not allow it.
    fn fitted(&mut self, access: Access, fit: &dyn Fn(&Layout) -> Option<Layout>) -> Result<Access, Fault> {
        if let Some(layout) = fit(&access.layout) {
            return Ok(Access { layout, ..access });
        }
        let ty = TensorType::new(access.dtype, access.layout.shape.clone());
        let name = self.out.buffer(access.value).name.clone();
        let buffer = self.out.add_buffer(name, ty.clone(), BufferKind::Temporary);
        let origin =
            Origin { label: "layout".into(), location: Default::default(), rules: Vec::new(), origins: Vec::new() };
        self.copy(access, whole(buffer, &ty), None, origin);
        let dense = whole(buffer, &ty);
        let layout = fit(&dense.layout).ok_or_else(|| fault("a dense layout does not fit its kernel"))?;
        Ok(Access { layout, ..dense })
    }

    /// Pushes the node and turns the instruction's request into `(read, 0)` pairs.
    fn finish(&mut self, parts: &Parts, kernel: Kernel, reads: Vec<Access>, targets: Vec<Access>, asked: &[bool]) {
        let writes = targets.into_iter().map(|access| Write { access, base: None }).collect();
        let origin = Origin {
            label: parts.origin.label.clone(),
            location: parts.origin.location.clone(),
            rules: parts.origin.rules.clone(),
            origins: parts.origin.origins.clone(),
        };
        let before = self.out.nodes.len();
        self.push(kernel, reads, writes, origin);
        if let Some(node) = self.out.nodes.get_mut(before) {
            node.requests = asked.iter().enumerate().filter(|(_, asked)| **asked).map(|(read, _)| (read, 0)).collect();
        }
    }

    fn asked(parts: &Parts, operands: &[(ValueId, Source)]) -> Vec<bool> {
        operands.iter().map(|(_, source)| parts.tied.as_ref() == Some(source)).collect()
    }

    fn map(&mut self, parts: &Parts, targets: Vec<Access>) -> Result<(), Fault> {
        let body = Body::new(self.graph, &parts.sources, None);
        let (program, operands) = body.finish(&parts.yields)?;
        let domain = targets[0].layout.shape.clone();
        if targets.iter().any(|target| target.layout.shape != domain) {
            return Err(fault("results of one map differ in shape"));
        }
        let reads = self.reads(&operands, &domain, &|layout| Some(layout.clone()))?;
        let asked = Self::asked(parts, &operands);
        self.finish(parts, Kernel::Map { program }, reads, targets, &asked);
        Ok(())
    }

    /// The program of what the core's operand needs, and its operands. A prologue reads at least one, so that there is a
    /// domain to read over: where every operand is one repeated element, these lie in memory.
    fn prologue(&self, parts: &Parts, core: &Inst) -> Result<(Program, Vec<(ValueId, Source)>), Fault> {
        let operand = &core.operands[..1];
        let (program, operands) = Body::new(self.graph, &parts.sources, None).finish(operand)?;
        match operands.is_empty() {
            false => Ok((program, operands)),
            true => Body::new(self.graph, &parts.sources, None).with_splats_in_memory().finish(operand),
        }
    }

    /// The program of what comes after the core, its operands, and the core's own extra operands applied first.
    fn epilogue(
        &self,
        parts: &Parts,
        core: &Inst,
        sources: &BTreeMap<ValueId, Source>,
        extras: &[(PointFn, ValueId)],
    ) -> Result<(Program, Vec<(ValueId, Source)>), Fault> {
        let result = core.results[0];
        let mut body = Body::new(self.graph, sources, Some((result, self.graph.ty(result).dtype)));
        for &(function, value) in extras {
            body.apply_to_core(function, value)?;
        }
        body.finish(&parts.yields)
    }

    fn reduce(
        &mut self,
        parts: &Parts,
        core: &Inst,
        function: ReduceFn,
        axes: &[usize],
        keepdim: bool,
        targets: Vec<Access>,
    ) -> Result<(), Fault> {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        let domain = self.graph.ty(core.operands[0]).shape.clone();
        let (prologue, before) = self.prologue(parts, core)?;
        let (epilogue, after) = self.epilogue(parts, core, &parts.sources, &[])?;
        let reduced = axes.clone();
        let restore =
            move |layout: &Layout| Some(if keepdim { layout.clone() } else { views::unsqueeze(layout, &reduced) });
        let out = self.graph.ty(core.results[0]).shape.clone();
        let mut reads = self.reads(&before, &domain, &|layout| Some(layout.clone()))?;
        reads.extend(self.reads(&after, &out, &restore)?);
        let targets = self.written(targets, &out, &restore)?;
        let asked = [Self::asked(parts, &before), Self::asked(parts, &after)].concat();
        self.finish(parts, Kernel::Reduce { function, axes, prologue, epilogue }, reads, targets, &asked);
        Ok(())
    }

    /// Written accesses in the kernel's form; a result is dense, so a form always exists.
    fn written(
        &self,
        targets: Vec<Access>,
        domain: &[usize],
        fit: &dyn Fn(&Layout) -> Option<Layout>,
    ) -> Result<Vec<Access>, Fault> {
        targets
            .into_iter()
            .map(|target| {
                if target.layout.shape != domain {
                    return Err(fault(format!("a kernel yields {:?} over {domain:?}", target.layout.shape)));
                }
                let layout = fit(&target.layout).ok_or_else(|| fault("a dense result does not fit its kernel"))?;
                Ok(Access { layout, ..target })
            })
            .collect()
    }

    fn row(
        &mut self,
        parts: &Parts,
        core: &Inst,
        function: RowFn,
        axis: usize,
        targets: Vec<Access>,
    ) -> Result<(), Fault> {
        let domain = self.graph.ty(core.operands[0]).shape.clone();
        let rank = domain.len();
        let norm = matches!(function, RowFn::LayerNorm { .. } | RowFn::RmsNorm { .. });
        let (prologue, before) = self.prologue(parts, core)?;
        let mut extras = Vec::new();
        if norm {
            extras.extend(core.operands.get(1).map(|&scale| (PointFn::Mul, scale)));
            extras.extend(core.operands.get(2).map(|&bias| (PointFn::Add, bias)));
        }
        let (epilogue, after) = self.epilogue(parts, core, &parts.sources, &extras)?;
        let row: usize = domain[axis..].iter().product();
        let merged: Vec<usize> = domain[..axis].iter().copied().chain([row]).collect();
        let last: Vec<usize> = (0..rank).filter(|&other| other != axis).chain([axis]).collect();
        let fit = move |layout: &Layout| -> Option<Layout> {
            if norm { views::reshape(layout, &merged) } else { Some(views::permute(layout, &last)) }
        };
        let mut reads = self.reads(&before, &domain, &fit)?;
        reads.extend(self.reads(&after, &domain, &fit)?);
        let targets = self.written(targets, &domain, &fit)?;
        let asked = [Self::asked(parts, &before), Self::asked(parts, &after)].concat();
        self.finish(parts, Kernel::Row { function, prologue, epilogue }, reads, targets, &asked);
        Ok(())
    }

    fn matmul(&mut self, parts: &Parts, core: &Inst, targets: Vec<Access>) -> Result<(), Fault> {
        let (a, b) = (core.operands[0], core.operands[1]);
        let dtype = self.graph.ty(a).dtype;
        let (a_rank, b_rank) = (self.graph.ty(a).rank(), self.graph.ty(b).rank());
        let out = self.graph.ty(core.results[0]).shape.clone();
        // Axes that vector operands leave out of the result, in coordinates of `[batch.., m, n]`.
        let batch_rank = a_rank.saturating_sub(2).max(b_rank.saturating_sub(2));
        let mut missing = Vec::new();
        if a_rank == 1 {
            missing.push(batch_rank);
        }
        if b_rank == 1 {
            missing.push(batch_rank + 1);
        }
        let full = views::unsqueeze(&Layout::dense(&out), &missing).shape;
        let (batch, m, n) = (full[..batch_rank].to_vec(), full[batch_rank], full[batch_rank + 1]);

        let operand = |lowering: &mut Self, value: ValueId, vector_axis: usize| -> Result<Source, Fault> {
            let source = parts
                .sources
                .get(&value)
                .cloned()
                .ok_or_else(|| fault("an operand of a contraction is computed in its own kernel"))?;
            let ty = lowering.graph.ty(value).clone();
            let lift = |layout: &Layout| {
                if layout.rank() == 1 { views::unsqueeze(layout, &[vector_axis]) } else { layout.clone() }
            };
            Ok(match source {
                Source::Memory { buffer, layout } => Source::Memory { buffer, layout: lift(&layout) },
                Source::Constant { constant, layout } => Source::Constant { constant, layout: lift(&layout) },
                Source::Splat(_) => {
                    let (buffer, layout) = lowering.memory(source, &ty);
                    Source::Memory { buffer, layout: lift(&layout) }
                }
            })
        };
        let a_source = operand(self, a, 0)?;
        let b_source = operand(self, b, 1)?;
        let a_ty = self.graph.ty(a).clone();
        let (a_buffer, a_layout) = self.memory(a_source, &a_ty);
        let k = a_layout.shape[a_layout.rank() - 1];
        let a_full: Vec<usize> = batch.iter().copied().chain([m, k]).collect();
        let b_full: Vec<usize> = batch.iter().copied().chain([k, n]).collect();
        let a_layout = views::broadcast(&a_layout, &a_full);

        let (epilogue, after) = self.epilogue(parts, core, &parts.sources, &[])?;
        let b_own = match &b_source {
            Source::Memory { layout, .. } | Source::Constant { layout, .. } => layout.clone(),
            Source::Splat(_) => return Err(fault("a repeated operand has a layout by now")),
        };
        let b_batches: usize = b_own.shape[..b_own.rank() - 2].iter().product();

        // One matrix b for all batches: the batches are rows.
        let rows: usize = batch.iter().product::<usize>() * m;
        let restore = {
            let missing = missing.clone();
            move |layout: &Layout| Some(views::unsqueeze(layout, &missing))
        };
        let mut reads_after = self.reads(&after, &out, &restore)?;
        let mut written = self.written(targets, &out, &restore)?;
        let merge = |layout: &Layout, columns: usize| views::reshape(layout, &[rows, columns]);
        let mut a_access = Access { value: a_buffer.0, dtype, layout: a_layout };
        let mut batch_axes = batch.clone();
        if b_batches == 1 && !batch.is_empty() {
            let merged_after: Option<Vec<Layout>> = reads_after.iter().map(|read| merge(&read.layout, n)).collect();
            let merged_a = merge(&a_access.layout, k);
            let merged_out = merge(&written[0].layout, n);
            if let (Some(after), Some(a), Some(out)) = (merged_after, merged_a, merged_out) {
                for (read, layout) in reads_after.iter_mut().zip(after) {
                    read.layout = layout;
                }
                a_access.layout = a;
                written[0].layout = out;
                batch_axes.clear();
            }
        }
        let b_matrix =
            Layout { offset: b_own.offset, shape: vec![k, n], strides: b_own.strides[b_own.rank() - 2..].to_vec() };
        let (b_access, packed) = match b_source {
            Source::Constant { constant, .. }
                if self.options.pack && dtype == DType::F32 && batch_axes.is_empty() && b_batches == 1 =>
            {
                let stored = TensorType::new(dtype, pack::pack_b_shape(k, n));
                let layout = Layout::dense(&stored.shape);
                let buffer = self.weight(constant, WeightForm::MatMul { layout: b_matrix }, stored);
                (Access { value: buffer.0, dtype, layout }, true)
            }
            source => {
                let ty = self.graph.ty(b).clone();
                let (buffer, layout) = self.memory(source, &ty);
                let layout = if batch_axes.is_empty() { b_matrix } else { views::broadcast(&layout, &b_full) };
                (Access { value: buffer.0, dtype, layout }, false)
            }
        };
        let mut reads = vec![a_access, b_access];
        reads.extend(reads_after);
        let asked = [vec![false, false], Self::asked(parts, &after)].concat();
        self.finish(parts, Kernel::MatMul { dtype, packed, epilogue }, reads, written, &asked);
        Ok(())
    }

    fn convolution(&mut self, parts: &Parts, core: &Inst, targets: Vec<Access>) -> Result<(), Fault> {
        let (x, w) = (core.operands[0], core.operands[1]);
        let dtype = self.graph.ty(x).dtype;
        let kernel_shape = self.graph.ty(w).shape[2..].to_vec();
        let source = |value: ValueId| {
            parts
                .sources
                .get(&value)
                .cloned()
                .ok_or_else(|| fault("an operand of a contraction is computed in its own kernel"))
        };
        let x_ty = self.graph.ty(x).clone();
        let (x_buffer, x_layout) = self.memory(source(x)?, &x_ty);
        // The bias is one element a channel: axis 1 of the result.
        let mut sources = parts.sources.clone();
        let mut extras = Vec::new();
        if let Some(&bias) = core.operands.get(2) {
            let spatial: Vec<usize> = (1..=kernel_shape.len()).collect();
            let lifted = match source(bias)? {
                Source::Memory { buffer, layout } => {
                    Source::Memory { buffer, layout: views::unsqueeze(&layout, &spatial) }
                }
                Source::Constant { constant, layout } => {
                    Source::Constant { constant, layout: views::unsqueeze(&layout, &spatial) }
                }
                splat => splat,
            };
            sources.insert(bias, lifted);
            extras.push((PointFn::Add, bias));
        }
        let (epilogue, after) = self.epilogue(parts, core, &sources, &extras)?;
        let out = self.graph.ty(core.results[0]).shape.clone();
        let keep = |layout: &Layout| Some(layout.clone());
        let (w_access, kernel) = match &core.op {
            Op::Conv { strides, pads_begin, pads_end, dilations, groups } => {
                let window = Window {
                    kernel: kernel_shape,
                    strides: strides.clone(),
                    pads_begin: pads_begin.clone(),
                    pads_end: pads_end.clone(),
                    dilations: dilations.clone(),
                };
                let (access, packed) = self.convolution_weight(w, source(w)?, *groups);
                (access, Kernel::Conv { dtype, window, groups: *groups, packed, epilogue })
            }
            Op::ConvTranspose { strides, pads_begin, pads_end, dilations, groups, .. } => {
                let window = Window {
                    kernel: kernel_shape,
                    strides: strides.clone(),
                    pads_begin: pads_begin.clone(),
                    pads_end: pads_end.clone(),
                    dilations: dilations.clone(),
                };
                let ty = self.graph.ty(w).clone();
                let (buffer, layout) = self.memory(source(w)?, &ty);
                let access = Access { value: buffer.0, dtype, layout };
                (access, Kernel::ConvTranspose { dtype, window, groups: *groups, epilogue })
            }
            other => return Err(fault(format!("{} is not a convolution", other.name()))),
        };
        let mut reads = vec![Access { value: x_buffer.0, dtype, layout: x_layout }, w_access];
        reads.extend(self.reads(&after, &out, &keep)?);
        let written = self.written(targets, &out, &keep)?;
        let asked = [vec![false, false], Self::asked(parts, &after)].concat();
        self.finish(parts, kernel, reads, written, &asked);
        Ok(())
    }

    /// A convolution's weight: packed if it is a constant in the order it was written in.
    fn convolution_weight(&mut self, value: ValueId, source: Source, groups: usize) -> (Access, bool) {
        let ty = self.graph.ty(value).clone();
        if let Source::Constant { constant, layout } = &source {
            let as_written = *layout == Layout::dense(&self.owner.constant(*constant).ty.shape);
            let packable = self.options.pack && ty.dtype == DType::F32 && as_written;
            if let Some(shape) = pack::pack_conv_shape(&ty.shape, groups).filter(|_| packable) {
                let stored = TensorType::new(ty.dtype, shape);
                let access_layout = Layout::dense(&stored.shape);
                let buffer: BufferId = self.weight(*constant, WeightForm::Conv { groups }, stored);
                return (Access { value: buffer.0, dtype: ty.dtype, layout: access_layout }, true);
            }
        }
        let (buffer, layout) = self.memory(source, &ty);
        (Access { value: buffer.0, dtype: ty.dtype, layout }, false)
    }
}

/// The ops of a body in a word: `matmul+add+gelu`, the rest counted.
fn label<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.len().min(6);
    let mut text = names[..shown].join("+");
    if names.len() > shown {
        text.push_str(&format!("+{} more", names.len() - shown));
    }
    text
}
