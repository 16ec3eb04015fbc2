//! Losses of classifiers.

use super::super::site::{Site, Stop, Words, invalid};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::Op;
use crate::source::loss::{Reduction, negative_log_likelihood};

pub const ROWS: &[Row] = &[
    row_of("NegativeLogLikelihoodLoss", 12, |s| {
        let x = s.input(0)?;
        Ok(vec![likelihood(s, x)?])
    }),
    row_of("SoftmaxCrossEntropyLoss", 12, |s| {
        let x = s.input(0)?;
        let logs = s.one(Op::LogSoftmax { axis: 1 }, &[x])?;
        Ok(vec![likelihood(s, logs)?, logs])
    }),
];

fn likelihood(s: &mut Site, logs: ValueId) -> Result<ValueId, Stop> {
    let reduction = match s.text("reduction", "mean")? {
        "none" => Reduction::None,
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        other => return invalid(format!("reduction {other:?} is not known")),
    };
    let (target, weights, ignored) = (s.input(1)?, s.optional(2), s.int_opt("ignore_index")?);
    Ok(negative_log_likelihood(s, logs, target, weights, ignored, reduction)?.0)
}
