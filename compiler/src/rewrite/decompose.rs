//! Composite ops become the ops they are made of, and equal things get one spelling.
//!
//! Decomposition always happens, because `lower` knows no composite. The one spelling is only for the rewriter: all
//! reshaping views are `reshape`, a split is slices, a reduction keeps its axes, a slice ends where its last element
//! says, and a literal stands on the right of a commutative function.

use situ_runtime::point::PointFn;

use super::rebuild::{Rebuild, fault};
use super::{Math, RewriteOptions};
use crate::diagnostic::Fault;
use crate::ir::{Constant, Graph, Inst, Location, ValueId};
use crate::ops::{Float, Op, shape};
use crate::types::DType;

pub(super) fn decompose(graph: &Graph, options: &RewriteOptions) -> Result<Graph, Fault> {
    let mut new = Decompose { new: Rebuild::new(graph), math: options.math, normal: options.rewrite };
    for (_, inst) in graph.body_insts() {
        new.instruction(inst)?;
    }
    new.new.finish()
}

struct Decompose<'a> {
    new: Rebuild<'a>,
    math: Math,
    normal: bool,
}

impl Decompose<'_> {
    fn instruction(&mut self, inst: &Inst) -> Result<(), Fault> {
        let at = &inst.location;
        let x = self.new.values(&inst.operands)?;
        let result = match &inst.op {
            Op::Linear {} => {
                let weight = self.new.one(Op::Permute { axes: vec![1, 0] }, &x[1..2], at)?;
                let product = self.new.one(Op::MatMul {}, &[x[0], weight], at)?;
                match x.get(2) {
                    Some(&bias) => self.point(PointFn::Add, &[product, bias], at)?,
                    None => product,
                }
            }
            Op::BatchNorm { eps } => self.batch_norm(&x, *eps, at)?,
            Op::GroupNorm { groups, eps } => self.group_norm(&x, *groups, *eps, at)?,
            Op::LayerNorm { .. } | Op::RmsNorm { .. } if x.len() > 1 => {
                let mut result = self.new.one(inst.op.clone(), &x[..1], at)?;
                for (&operand, function) in x[1..].iter().zip([PointFn::Mul, PointFn::Add]) {
                    result = self.point(function, &[result, operand], at)?;
                }
                result
            }
            Op::Conv { .. } | Op::ConvTranspose { .. } if x.len() > 2 => {
                let product = self.new.one(inst.op.clone(), &x[..2], at)?;
                let rank = self.new.graph.ty(product).rank();
                let bias = self.per_channel(x[2], rank, at)?;
                self.point(PointFn::Add, &[product, bias], at)?
            }
            _ if self.normal => return self.normalise(inst, &x),
            _ => return self.new.copy(inst),
        };
        self.new.set(inst.results[0], result);
        Ok(())
    }

    fn point(&mut self, function: PointFn, operands: &[ValueId], at: &Location) -> Result<ValueId, Fault> {
        self.new.one(Op::Point(function), operands, at)
    }

    fn reshape(&mut self, x: ValueId, shape: Vec<usize>, at: &Location) -> Result<ValueId, Fault> {
        if self.new.graph.ty(x).shape == shape {
            return Ok(x);
        }
        self.new.one(Op::Reshape { shape }, &[x], at)
    }

    /// `[c]` as `[1, c, 1, ..]`, so that it broadcasts over `[n, c, ..]`.
    fn per_channel(&mut self, x: ValueId, rank: usize, at: &Location) -> Result<ValueId, Fault> {
        let mut shape = vec![1; rank];
        shape[1] = self.new.graph.ty(x).len();
        self.reshape(x, shape, at)
    }

    fn batch_norm(&mut self, x: &[ValueId], eps: Float, at: &Location) -> Result<ValueId, Fault> {
        let rank = self.new.graph.ty(x[0]).rank();
        let eps = self.float(self.new.graph.ty(x[0]).dtype, eps.get());
        let (scale, bias, mean, var) = (x[1], x[2], x[3], x[4]);
        let var = self.point(PointFn::Add, &[var, eps], at)?;
        let deviation = self.point(PointFn::Sqrt, &[var], at)?;
        if self.math == Math::Strict {
            let mut result = x[0];
            let steps = [(PointFn::Sub, mean), (PointFn::Div, deviation), (PointFn::Mul, scale), (PointFn::Add, bias)];
            for (function, operand) in steps {
                let operand = self.per_channel(operand, rank, at)?;
                result = self.point(function, &[result, operand], at)?;
            }
            return Ok(result);
        }
        let factor = self.point(PointFn::Div, &[scale, deviation], at)?;
        let moved = self.point(PointFn::Mul, &[mean, factor], at)?;
        let shift = self.point(PointFn::Sub, &[bias, moved], at)?;
        let factor = self.per_channel(factor, rank, at)?;
        let shift = self.per_channel(shift, rank, at)?;
        let scaled = self.point(PointFn::Mul, &[x[0], factor], at)?;
        self.point(PointFn::Add, &[scaled, shift], at)
    }

    fn group_norm(&mut self, x: &[ValueId], groups: usize, eps: Float, at: &Location) -> Result<ValueId, Fault> {
        let shape = self.new.graph.ty(x[0]).shape.clone();
        let inner = shape[1] / groups * shape[2..].iter().product::<usize>();
        let grouped = self.reshape(x[0], vec![shape[0], groups, inner], at)?;
        let normal = self.new.one(Op::LayerNorm { axis: 2, eps }, &[grouped], at)?;
        let rank = shape.len();
        let mut result = self.reshape(normal, shape, at)?;
        for (&operand, function) in x[1..].iter().zip([PointFn::Mul, PointFn::Add]) {
            let operand = self.per_channel(operand, rank, at)?;
            result = self.point(function, &[result, operand], at)?;
        }
        Ok(result)
    }

    fn float(&mut self, dtype: DType, value: f64) -> ValueId {
        self.new.literal(dtype, situ_runtime::scalar::encode_float(dtype, value))
    }

    fn normalise(&mut self, inst: &Inst, x: &[ValueId]) -> Result<(), Fault> {
        let at = &inst.location;
        let ty = self.new.source.ty(inst.results[0]).clone();
        let result = match &inst.op {
            Op::View { .. } | Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
                self.reshape(x[0], ty.shape, at)?
            }
            Op::Select { axis, index } => {
                let start = *index as i64;
                let one = self.new.one(Op::Slice { axis: *axis, start, end: start + 1, step: 1 }, x, at)?;
                self.reshape(one, ty.shape, at)?
            }
            Op::Slice { axis, start, end, step } => {
                let extent = self.new.graph.ty(x[0]).shape[*axis];
                let len = shape::slice_len(extent, *start, *end, *step).map_err(fault)?;
                self.new.one(canonical_slice(*axis, *start, *step, len), x, at)?
            }
            Op::Split { axis, sizes } => {
                let mut start = 0i64;
                for (&size, &old) in sizes.iter().zip(&inst.results) {
                    let part = self.new.one(canonical_slice(*axis, start, 1, size), x, at)?;
                    self.new.set(old, part);
                    start += size as i64;
                }
                return Ok(());
            }
            Op::ViewDtype { to } => self.new.one(Op::Bitcast { to: *to }, x, at)?,
            Op::Reduce { function, axes, keepdim } => {
                let mut axes = axes.clone();
                axes.sort_unstable();
                let kept = self.new.one(Op::Reduce { function: *function, axes, keepdim: true }, x, at)?;
                if *keepdim { kept } else { self.reshape(kept, ty.shape, at)? }
            }
            Op::Point(function) if commutes(*function) && self.literal(x[0]) && !self.literal(x[1]) => {
                self.point(*function, &[x[1], x[0]], at)?
            }
            _ => return self.new.copy(inst),
        };
        self.new.set(inst.results[0], result);
        Ok(())
    }

    fn literal(&self, value: ValueId) -> bool {
        self.new.graph.constant_of(value).and_then(Constant::splat).is_some()
    }
}

/// The slice of `len` elements whose end follows from its last element.
pub(super) fn canonical_slice(axis: usize, start: i64, step: i64, len: usize) -> Op {
    if len == 0 {
        return Op::Slice { axis, start: 0, end: 0, step: 1 };
    }
    let last = start + step * (len as i64 - 1);
    let step = if len == 1 { 1 } else { step };
    Op::Slice { axis, start, end: last + step.signum(), step }
}

/// Whether the order of the operands does not matter, bit for bit (payloads of NaN aside).
pub(super) fn commutes(function: PointFn) -> bool {
    use PointFn::{Add, And, Eq, Mul, Ne, Or, Xor};
    matches!(function, Add | Mul | And | Or | Xor | Eq | Ne)
}
