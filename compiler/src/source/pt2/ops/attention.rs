//! Attention.

use super::super::promote;
use super::super::site::{Number, Outputs, Site, Stop, Words, invalid, unsupported};
use super::reduce::log_sum_exp;
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ReduceFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row(
        "scaled_dot_product_attention.default",
        "query key value attn_mask=None dropout_p=0.0 is_causal=False scale=None enable_gqa=False",
        attention,
    ),
    row(
        "_scaled_dot_product_flash_attention_for_cpu.default",
        "query key value dropout_p=0.0 is_causal=False attn_mask=None scale=None enable_gqa=False",
        attention,
    ),
];

/// `softmax(q k^T scale + mask) v`, as `torch.nn.functional.scaled_dot_product_attention` documents it.
fn attention(s: &mut Site) -> Outputs {
    let (query, mut key, mut value) = (s.tensor("query")?, s.tensor("key")?, s.tensor("value")?);
    if s.float("dropout_p")? != 0.0 {
        return unsupported("attention that drops at random");
    }
    let shape = s.shape(query);
    let ([.., length, width], true) = (shape.as_slice(), s.rank(key) >= 2 && s.rank(value) >= 2) else {
        return invalid("attention is of matrices");
    };
    let (length, width) = (*length, *width);
    if s.flag("enable_gqa")? {
        (key, value) = (shared_heads(s, query, key)?, shared_heads(s, query, value)?);
    }
    let dtype = s.dtype(query);
    let wide = promote::computed(dtype);
    let (query, key, value) = (s.cast(query, wide)?, s.cast(key, wide)?, s.cast(value, wide)?);
    let scale = match s.numeral_opt("scale")? {
        Some(scale) => scale.as_f64(),
        None => 1.0 / (width as f64).sqrt(),
    };
    let keys = s.transposed(key)?;
    let scores = s.matmul(query, keys)?;
    let mut scores = s.with_number(PointFn::Mul, scores, scale)?;
    let mut masked = false;
    if s.flag("is_causal")? {
        let (last, rank) = (s.shape(key)[s.rank(key) - 2], s.rank(scores));
        let (down, across) = (s.iota(DType::I64, length, rank - 2, rank)?, s.iota(DType::I64, last, rank - 1, rank)?);
        let seen = s.binary(PointFn::Le, across, down)?;
        let hidden = s.scalar(Number::Float(f64::NEG_INFINITY), wide);
        scores = s.select(seen, scores, hidden)?;
    }
    if let Some(mask) = s.tensor_opt("attn_mask")? {
        if s.dtype(mask) == DType::Bool {
            let hidden = s.scalar(Number::Float(f64::NEG_INFINITY), wide);
            scores = s.select(mask, scores, hidden)?;
            masked = true;
        } else {
            let mask = s.cast(mask, wide)?;
            scores = s.add(scores, mask)?;
            masked = true;
        }
    }
    let axis = s.rank(scores) - 1;
    let mut weights = s.one(Op::Softmax { axis }, &[scores])?;
    if masked {
        // A row in which everything is hidden gives zeros and not NaN.
        let largest = s.reduce(ReduceFn::Max, scores, &[axis], true)?;
        let nothing = s.with_number(PointFn::Eq, largest, f64::NEG_INFINITY)?;
        let zero = s.scalar(Number::Int(0), wide);
        weights = s.select(nothing, zero, weights)?;
    }
    let y = s.matmul(weights, value)?;
    let y = s.cast(y, dtype)?;
    if s.node.outputs.len() < 2 {
        return Ok(vec![y]);
    }
    let sums = log_sum_exp(s, scores, &[axis], false)?;
    Ok(vec![y, sums])
}

/// Heads of keys that several heads of queries share, each seen once for each of them.
fn shared_heads(s: &mut Site, query: ValueId, x: ValueId) -> Result<ValueId, Stop> {
    let (wanted, shape) = (s.shape(query), s.shape(x));
    let (Some(place), Some(asked)) = (shape.len().checked_sub(3), wanted.len().checked_sub(3)) else {
        return invalid("heads of attention are the third axis from the end");
    };
    let (heads, own) = (wanted[asked], shape[place]);
    if own == 0 || heads % own != 0 {
        return invalid(format!("{heads} heads share {own}"));
    }
    let column = s.unsqueeze(x, &[place + 1])?;
    let mut wide = s.shape(column);
    wide[place + 1] = heads / own;
    let seen = s.expand(column, &wide)?;
    let mut joined = shape;
    joined[place] = heads;
    s.reshape(seen, &joined)
}
