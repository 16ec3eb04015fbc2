//! ONNX ops, a row each: name, the opset from which the row holds, and how its node becomes instructions.
//!
//! An op whose attributes or operands changed meaning has a row for each form; the newest row that is not newer than the
//! model's opset is taken. Most ops become one instruction; what has no op of its own is composed from smaller ones, so
//! that the rewriter and the kernels know a short list of words.

mod attention;
mod control;
mod convolution;
mod index;
mod layout;
mod loss;
mod math;
mod matrix;
mod norm;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod unroll;

use super::site::{Outputs, Site};

/// How one form of one op is imported.
pub struct Row {
    pub name: &'static str,
    /// The first opset with this form.
    pub since: i64,
    pub import: fn(&mut Site<'_, '_>) -> Outputs,
}

const fn row_of(name: &'static str, since: i64, import: fn(&mut Site<'_, '_>) -> Outputs) -> Row {
    Row { name, since, import }
}

/// The rows of ONNX's own domain, by family.
const FAMILIES: &[&[Row]] = &[
    math::ROWS,
    layout::ROWS,
    matrix::ROWS,
    convolution::ROWS,
    pool::ROWS,
    norm::ROWS,
    reduce::ROWS,
    index::ROWS,
    recurrent::ROWS,
    attention::ROWS,
    control::ROWS,
    quantize::ROWS,
    loss::ROWS,
    resize::ROWS,
];

/// The row of an op at an opset.
pub fn row(domain: &str, name: &str, opset: i64) -> Option<&'static Row> {
    let families = match domain {
        "" => FAMILIES,
        _ => return None,
    };
    let rows = families.iter().flat_map(|family| family.iter());
    rows.filter(|row| row.name == name && row.since <= opset).max_by_key(|row| row.since)
}
