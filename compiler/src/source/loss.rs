//! Losses, as every source of models has them.

use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ReduceFn};
use crate::source::words::{Stop, Words, invalid};
use crate::types::DType;

/// What becomes of the losses of single elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    None,
    Mean,
    Sum,
}

impl Reduction {
    /// The losses themselves, their mean or their sum.
    pub fn apply(self, s: &mut impl Words, loss: ValueId) -> Result<ValueId, Stop> {
        let axes: Vec<usize> = (0..s.rank(loss)).collect();
        match self {
            Reduction::None => Ok(loss),
            _ if axes.is_empty() => Ok(loss),
            Reduction::Mean => s.reduce(ReduceFn::Mean, loss, &axes, false),
            Reduction::Sum => s.reduce(ReduceFn::Sum, loss, &axes, false),
        }
    }
}

/// Minus the log probability `[n, c, ..]` of each target `[n, ..]`, weighted by class, without the targets to ignore; then
/// the weights that were summed, a scalar, unless nothing is summed.
pub fn negative_log_likelihood(
    s: &mut impl Words,
    logs: ValueId,
    mut target: ValueId,
    weights: Option<ValueId>,
    ignored: Option<i64>,
    reduction: Reduction,
) -> Result<(ValueId, Option<ValueId>), Stop> {
    let dtype = s.dtype(logs);
    if s.rank(logs) < 2 {
        return invalid(format!("expected [n, c, ..], found {}", s.ty(logs)));
    }
    let ignored = match ignored {
        Some(index) => {
            let wide = s.cast(target, DType::I64)?;
            let index = s.int_constant(&[], &[index])?;
            let ignored = s.binary(PointFn::Eq, wide, index)?;
            // An ignored target need not be a class; class 0 stands in for it.
            let first = s.int_constant(&[], &[0])?;
            target = s.select(ignored, first, wide)?;
            Some(ignored)
        }
        None => None,
    };
    let column = s.unsqueeze(target, &[1])?;
    let chosen = s.one(Op::GatherElements { axis: 1 }, &[logs, column])?;
    let chosen = s.squeeze(chosen, &[1])?;
    let mut loss = s.unary(PointFn::Neg, chosen)?;
    let mut weights = match weights {
        Some(weights) => Some(s.one(Op::Gather { axis: 0 }, &[weights, target])?),
        None => None,
    };
    if let Some(weights) = weights {
        loss = s.mul(loss, weights)?;
    }
    if let Some(ignored) = ignored {
        // Chosen and not multiplied away, for an ignored loss may be infinite.
        let (zero, one) = (s.number(dtype, 0.0), s.number(dtype, 1.0));
        weights = Some(s.select(ignored, zero, weights.unwrap_or(one))?);
        loss = s.select(ignored, zero, loss)?;
    }
    let axes: Vec<usize> = (0..s.rank(loss)).collect();
    let weight = match weights {
        Some(weights) if reduction != Reduction::None => Some(s.reduce(ReduceFn::Sum, weights, &axes, false)?),
        _ => None,
    };
    let loss = match (reduction, weight) {
        (Reduction::Mean, Some(weight)) => {
            let total = s.reduce(ReduceFn::Sum, loss, &axes, false)?;
            s.div(total, weight)?
        }
        _ => reduction.apply(s, loss)?,
    };
    Ok((loss, weight))
}
