//! What depends on constants only is computed when compiling.
//!
//! Views of constants stay views: a kernel reads them where they are. Bounds on size and work keep a small model from
//! becoming a large file or a slow compilation; what is beyond them stays an instruction.

use std::collections::{BTreeMap, BTreeSet};

use super::Math;
use super::rebuild::{Rebuild, fault};
use crate::diagnostic::Fault;
use crate::eval::{Tensor, evaluate_op};
use crate::ir::{Constant, ConstantData, Def, Graph, Inst, ValueId};
use crate::ops::{Accuracy, Class, Op};
use crate::types::TensorType;

/// Most bytes of one folded constant.
const MOST_BYTES: usize = 1 << 28;
/// A result may have this many times the bytes of its operands.
const MOST_GROWTH: usize = 4;
/// Results up to here may grow without bound.
const SMALL_BYTES: usize = 1 << 16;
/// Most elements, counted once for each operand element that goes into them, that one compilation computes.
const MOST_WORK: usize = 1 << 28;
/// Most views between a constant and a view of it; one more is computed.
const MOST_VIEWS: usize = 16;
/// Constants up to this many elements are looked at for being the same everywhere.
const MOST_COMPARED: usize = 1 << 16;

/// The graph with its constant part evaluated.
pub(super) fn fold(graph: &Graph, math: Math) -> Result<Graph, Fault> {
    let names = graph.values.iter().map(|value| value.name.clone()).collect();
    let mut folder = Folder { new: Rebuild::new(graph), views: BTreeMap::new(), names, work: MOST_WORK, math };
    for (_, inst) in graph.body_insts() {
        folder.instruction(inst)?;
    }
    folder.new.finish()
}

struct Folder<'a> {
    new: Rebuild<'a>,
    /// New values that are views of constants, with the number of views between.
    views: BTreeMap<ValueId, usize>,
    names: BTreeSet<String>,
    /// Work that may still be done.
    work: usize,
    math: Math,
}

/// Whether what is computed when compiling has the bits that a run would give: kernels agree with the scalar meaning only
/// within the bound of their row.
pub(super) fn has_the_bits_of_a_run(op: &Op) -> bool {
    match op {
        Op::Point(function) => function.row().ulps == 0,
        other => other.row().accuracy == Accuracy::Exact,
    }
}

impl Folder<'_> {
    fn instruction(&mut self, inst: &Inst) -> Result<(), Fault> {
        let operands = self.new.values(&inst.operands)?;
        let constant = !operands.is_empty() && operands.iter().all(|&operand| self.is_constant(operand));
        let class = inst.op.row().class;
        let depth = operands.first().and_then(|operand| self.views.get(operand)).map_or(1, |depth| depth + 1);
        if constant && class == Class::View && depth <= MOST_VIEWS {
            self.new.copy(inst)?;
            for &result in &inst.results {
                let result = self.new.value(result)?;
                self.views.insert(result, depth);
            }
            return Ok(());
        }
        let is_allowed = self.math != Math::Strict || has_the_bits_of_a_run(&inst.op);
        if !constant || !inst.regions.is_empty() || !is_allowed || !self.is_moderate(inst, &operands) {
            return self.new.copy(inst);
        }
        self.work -= self.work_of(inst, &operands).min(self.work);
        let tensors: Option<Vec<Tensor>> = operands.iter().map(|&operand| self.tensor(operand)).collect();
        let Some(results) = tensors.and_then(|tensors| evaluate_op(&inst.op, &tensors).ok()) else {
            return self.new.copy(inst);
        };
        if results.len() != inst.results.len() {
            return Err(fault(format!("{} was evaluated to another number of results", inst.op.name())));
        }
        for (&old, tensor) in inst.results.iter().zip(results) {
            let value = self.constant(old, tensor);
            self.new.set(old, value);
        }
        Ok(())
    }

    fn is_constant(&self, value: ValueId) -> bool {
        matches!(self.new.graph.value(value).def, Def::Constant(_)) || self.views.contains_key(&value)
    }

    fn is_moderate(&self, inst: &Inst, operands: &[ValueId]) -> bool {
        let source = self.new.source;
        let types: Vec<&TensorType> = inst.results.iter().map(|&result| source.ty(result)).collect();
        let made: usize = types.iter().map(|ty| ty.bytes()).fold(0, usize::saturating_add);
        let read = operands.iter().map(|&operand| self.new.graph.ty(operand).bytes()).fold(0, usize::saturating_add);
        read <= MOST_BYTES
            && made <= MOST_BYTES
            && (made <= SMALL_BYTES || made <= read.saturating_mul(MOST_GROWTH))
            && self.work_of(inst, operands) <= self.work
    }

    fn work_of(&self, inst: &Inst, operands: &[ValueId]) -> usize {
        let results = inst.results.iter().map(|&result| self.new.source.ty(result).len());
        let depth = match &inst.op {
            Op::MatMul {} => self.new.graph.ty(operands[0]).shape.last().copied().unwrap_or(1),
            Op::Conv { .. } | Op::ConvTranspose { .. } => {
                self.new.graph.ty(operands[1]).shape[1..].iter().fold(1usize, |product, &n| product.saturating_mul(n))
            }
            _ => 1,
        };
        results.fold(0, usize::saturating_add).saturating_mul(depth)
    }

    /// The elements of a constant or of a view of one.
    fn tensor(&self, value: ValueId) -> Option<Tensor> {
        let graph = &self.new.graph;
        if let Some(constant) = graph.constant_of(value) {
            return Some(Tensor::new(constant.ty.clone(), constant.bytes().into_owned()));
        }
        let inst = graph.inst(graph.producer(value)?);
        let whole = self.tensor(inst.operands[0])?;
        let parts = evaluate_op(&inst.op, &[whole]).ok()?;
        let at = inst.results.iter().position(|&result| result == value)?;
        parts.into_iter().nth(at)
    }

    fn constant(&mut self, old: ValueId, tensor: Tensor) -> ValueId {
        let Tensor { ty, bytes } = tensor;
        let size = ty.dtype.size();
        let first = bytes.get(..size);
        let uniform = ty.len() <= MOST_COMPARED
            && first.is_some_and(|first| bytes.chunks_exact(size).all(|other| other == first));
        let bits = first.filter(|_| uniform).map(|first| {
            let mut all = [0u8; 8];
            all[..size].copy_from_slice(first);
            u64::from_le_bytes(all)
        });
        match bits {
            Some(bits) if ty.rank() == 0 => self.new.literal(ty.dtype, bits),
            _ => {
                let name = self.name(old);
                let data = bits.map_or(ConstantData::Bytes(bytes), ConstantData::Splat);
                self.new.graph.add_constant(Constant { name, ty, data })
            }
        }
    }

    /// The name of the value that was folded, or a new one.
    fn name(&mut self, old: ValueId) -> String {
        let own = &self.new.source.value(old).name;
        if !own.is_empty() {
            return own.clone();
        }
        let mut at = old.0;
        loop {
            let name = format!("folded{at}");
            if self.names.insert(name.clone()) {
                return name;
            }
            at = at.wrapping_add(1);
        }
    }
}
