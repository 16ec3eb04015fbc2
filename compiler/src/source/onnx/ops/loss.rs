//! Losses of classifiers.

use super::super::site::{Site, Stop, Words, invalid};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ReduceFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row_of("NegativeLogLikelihoodLoss", 12, |s| {
        let x = s.input(0)?;
        Ok(vec![negative_log_likelihood(s, x)?])
    }),
    row_of("SoftmaxCrossEntropyLoss", 12, |s| {
        let x = s.input(0)?;
        let logs = s.one(Op::LogSoftmax { axis: 1 }, &[x])?;
        Ok(vec![negative_log_likelihood(s, logs)?, logs])
    }),
];

/// Minus the log probability `[n, c, ..]` of each target `[n, ..]`, weighted by class, without the targets to ignore.
fn negative_log_likelihood(s: &mut Site, logs: ValueId) -> Result<ValueId, Stop> {
    let mut target = s.input(1)?;
    let dtype = s.dtype(logs);
    if s.rank(logs) < 2 {
        return invalid(format!("expected [n, c, ..], found {}", s.ty(logs)));
    }
    let ignored = match s.int_opt("ignore_index")? {
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
    let mut weights = match s.optional(2) {
        Some(weights) => Some(s.one(Op::Gather { axis: 0 }, &[weights, target])?),
        None => None,
    };
    if let Some(ignored) = ignored {
        let (zero, one) = (s.number(dtype, 0.0), s.number(dtype, 1.0));
        weights = Some(s.select(ignored, zero, weights.unwrap_or(one))?);
    }
    if let Some(weights) = weights {
        loss = s.mul(loss, weights)?;
    }
    let axes: Vec<usize> = (0..s.rank(loss)).collect();
    match (s.text("reduction", "mean")?, weights) {
        ("none", _) => Ok(loss),
        ("sum", _) => s.reduce(ReduceFn::Sum, loss, &axes, false),
        ("mean", None) => s.reduce(ReduceFn::Mean, loss, &axes, false),
        ("mean", Some(weights)) => {
            let total = s.reduce(ReduceFn::Sum, loss, &axes, false)?;
            let weight = s.reduce(ReduceFn::Sum, weights, &axes, false)?;
            s.div(total, weight)
        }
        (other, _) => invalid(format!("reduction {other:?} is not known")),
    }
}
