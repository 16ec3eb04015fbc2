//! Attention and the ops that live around it in language models.

use super::super::site::{Outputs, Site, Stop, Words, axis_of, invalid, unsupported};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ReduceFn, ScatterFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row_of("Attention", 23, attention),
    row_of("RotaryEmbedding", 23, rotary_embedding),
    row_of("LinearAttention", 27, linear_attention),
    row_of("CausalConvWithState", 27, causal_conv),
    row_of("TensorScatter", 24, tensor_scatter),
];

fn count(s: &Site, name: &str) -> Result<usize, Stop> {
    match usize::try_from(s.int(name, 0)?) {
        Ok(count) if count > 0 => Ok(count),
        _ => invalid(format!("attribute {name} is missing or not positive")),
    }
}

/// `[batch, seq, heads * size]` as `[batch, heads, seq, size]`.
fn split_heads(s: &mut Site, x: ValueId, heads: usize) -> Result<ValueId, Stop> {
    let [batch, seq, width] = s.shape(x)[..] else {
        return invalid(format!("expected [batch, seq, width], found {}", s.ty(x)));
    };
    let split = s.reshape(x, &[batch, seq, heads, width / heads])?;
    s.permute(split, &[0, 2, 1, 3])
}

/// The inverse of [`split_heads`].
fn join_heads(s: &mut Site, x: ValueId) -> Result<ValueId, Stop> {
    let [batch, heads, seq, size] = s.shape(x)[..] else {
        return invalid(format!("expected [batch, heads, seq, size], found {}", s.ty(x)));
    };
    let turned = s.permute(x, &[0, 2, 1, 3])?;
    s.reshape(turned, &[batch, seq, heads * size])
}

/// Heads of a rank-4 tensor in groups: `[batch, heads / per, per, ..]`. Heads of extent 1 stay broadcastable.
fn grouped(s: &mut Site, x: ValueId, per: usize) -> Result<ValueId, Stop> {
    let shape = s.shape(x);
    let (heads, per) = if shape[1] == 1 { (1, 1) } else { (shape[1] / per, per) };
    s.reshape(x, &[shape[0], heads, per, shape[2], shape[3]])
}

/// `a @ b` where `b` has one head for each `per` heads of `a`.
fn shared_matmul(s: &mut Site, a: ValueId, b: ValueId, per: usize) -> Result<ValueId, Stop> {
    if per == 1 {
        return s.matmul(a, b);
    }
    let wide = grouped(s, a, per)?;
    let shared = s.unsqueeze(b, &[2])?;
    let y = s.matmul(wide, shared)?;
    let shape = s.shape(y);
    s.reshape(y, &[shape[0], shape[1] * shape[2], shape[3], shape[4]])
}

/// Which keys each query may attend, by position, as a `bool` that broadcasts over the scores; `None`: all.
fn allowed_keys(s: &mut Site, queries: usize, keys: usize, past: usize) -> Result<Option<ValueId>, Stop> {
    let causal = s.flag("is_causal", false)?;
    let (left, right) = (s.int("left_window_size", -1)?, s.int("right_window_size", -1)?);
    let valid = match s.optional(6) {
        Some(valid) => {
            let batch = s.ty(valid).len();
            let valid = s.cast(valid, DType::I64)?;
            Some(s.reshape(valid, &[batch, 1, 1, 1])?)
        }
        None => None,
    };
    let query = s.iota(DType::I64, queries, 0, 2)?;
    let key = s.iota(DType::I64, keys, 1, 2)?;
    // The position of the first query: after the past, or at the end of the keys that are no padding.
    let first = match (s.optional(4), valid) {
        (None, Some(valid)) => s.with_number(PointFn::Sub, valid, queries as f64)?,
        _ => s.int_constant(&[], &[past as i64])?,
    };
    let mut allowed: Option<ValueId> = None;
    let mut also = |s: &mut Site, condition: ValueId| -> Result<(), Stop> {
        allowed = Some(match allowed {
            Some(allowed) => s.binary(PointFn::And, allowed, condition)?,
            None => condition,
        });
        Ok(())
    };
    if causal || left >= 0 || right >= 0 {
        let position = s.add(query, first)?;
        if causal {
            let seen = s.binary(PointFn::Le, key, position)?;
            also(s, seen)?;
        }
        if left >= 0 {
            let bound = s.int_constant(&[], &[left])?;
            let lowest = s.sub(position, bound)?;
            let inside = s.binary(PointFn::Ge, key, lowest)?;
            also(s, inside)?;
        }
        if right >= 0 {
            let bound = s.int_constant(&[], &[right])?;
            let highest = s.add(position, bound)?;
            let inside = s.binary(PointFn::Le, key, highest)?;
            also(s, inside)?;
        }
    }
    if let Some(valid) = valid {
        let inside = s.binary(PointFn::Lt, key, valid)?;
        also(s, inside)?;
    }
    Ok(allowed)
}

/// The mask operand, padded to all keys: what is beyond it is not attended.
fn mask(s: &mut Site, keys: usize) -> Result<Option<ValueId>, Stop> {
    let Some(mask) = s.optional(3) else { return Ok(None) };
    let shape = s.shape(mask);
    let Some(&last) = shape.last() else { return Ok(Some(mask)) };
    if last >= keys || last == 1 && keys != 1 && shape.len() == 1 {
        return Ok(Some(mask));
    }
    let dtype = s.dtype(mask);
    let nothing = s.number(dtype, if dtype == DType::Bool { 0.0 } else { f64::NEG_INFINITY });
    let (before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    after[shape.len() - 1] = keys - last;
    s.one(Op::Pad { before, after }, &[mask, nothing]).map(Some)
}

/// `softmax(q @ k^T * scale + bias) @ v`. Keys that may not be attended score minus infinity, which a softmax makes zero;
/// a query that may attend none gives zeros.
fn attention(s: &mut Site) -> Outputs {
    let (mut q, mut k, mut v) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let packed = s.rank(q) == 3;
    if packed {
        let (q_heads, kv_heads) = (count(s, "q_num_heads")?, count(s, "kv_num_heads")?);
        q = split_heads(s, q, q_heads)?;
        k = split_heads(s, k, kv_heads)?;
        v = split_heads(s, v, kv_heads)?;
    }
    let mut past = 0;
    if let (Some(past_key), Some(past_value)) = (s.optional(4), s.optional(5)) {
        past = s.shape(past_key).get(2).copied().unwrap_or(0);
        k = s.concat(&[past_key, k], 2)?;
        v = s.concat(&[past_value, v], 2)?;
    }
    let (&[_, q_heads, queries, size], &[_, kv_heads, keys, _]) = (s.shape(q).as_slice(), s.shape(k).as_slice()) else {
        return invalid(format!("expected [batch, heads, seq, size], found {} and {}", s.ty(q), s.ty(k)));
    };
    if kv_heads == 0 || q_heads % kv_heads != 0 {
        return invalid(format!("{q_heads} heads of queries do not share {kv_heads} heads of keys"));
    }
    let per = q_heads / kv_heads;
    let dtype = s.dtype(q);
    let scale = s.float_opt("scale")?.unwrap_or(1.0 / (size as f64).sqrt());
    let mut turned = s.transposed(k)?;
    let scaled = if matches!(dtype, DType::F32 | DType::F64) {
        s.with_number(PointFn::Mul, q, scale)?
    } else {
        // In a short dtype the scores of unscaled keys could overflow.
        turned = s.with_number(PointFn::Mul, turned, scale.sqrt())?;
        s.with_number(PointFn::Mul, q, scale.sqrt())?
    };
    let raw = shared_matmul(s, scaled, turned, per)?;
    let softcap = s.float("softcap", 0.0)?;
    let mut scores = raw;
    if softcap > 0.0 {
        let part = s.with_number(PointFn::Div, raw, softcap)?;
        let bounded = s.unary(PointFn::Tanh, part)?;
        scores = s.with_number(PointFn::Mul, bounded, softcap)?;
    }
    let capped = scores;
    let never = s.number(dtype, f64::NEG_INFINITY);
    let mut may_be_empty = s.optional(6).is_some() || s.int("left_window_size", -1)? >= 0;
    if let Some(mask) = mask(s, keys)? {
        may_be_empty = true;
        scores = if s.dtype(mask) == DType::Bool { s.select(mask, scores, never)? } else { s.add(scores, mask)? };
    }
    if let Some(allowed) = allowed_keys(s, queries, keys, past)? {
        scores = s.select(allowed, scores, never)?;
    }
    let precise = match s.dtype_attribute("softmax_precision")? {
        Some(precision) => s.cast(scores, precision)?,
        None => scores,
    };
    let mut weights = s.one(Op::Softmax { axis: 3 }, &[precise])?;
    if may_be_empty {
        let most = s.reduce(ReduceFn::Max, precise, &[3], true)?;
        let empty = s.with_number(PointFn::Eq, most, f64::NEG_INFINITY)?;
        let zero = s.number(s.dtype(weights), 0.0);
        weights = s.select(empty, zero, weights)?;
    }
    let weights = s.cast(weights, dtype)?;
    let mut y = shared_matmul(s, weights, v, per)?;
    if packed {
        y = join_heads(s, y)?;
    }
    let shown = match s.int("qk_matmul_output_mode", 0)? {
        0 => raw,
        1 => capped,
        2 => scores,
        3 => weights,
        mode => return invalid(format!("qk_matmul_output_mode {mode} is not a mode")),
    };
    Ok(vec![y, k, v, shown])
}

/// Pairs of elements turned by an angle: halves of the head, or neighbours when interleaved.
fn rotary_embedding(s: &mut Site) -> Outputs {
    let (x, mut cos, mut sin) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let packed = s.rank(x) == 3;
    let heads = if packed {
        let heads = count(s, "num_heads")?;
        split_heads(s, x, heads)?
    } else {
        x
    };
    let [_, _, _, size] = s.shape(heads)[..] else {
        return invalid(format!("expected [batch, heads, seq, size], found {}", s.ty(heads)));
    };
    let turned = match usize::try_from(s.int("rotary_embedding_dim", 0)?) {
        Ok(0) => size,
        Ok(turned) if turned <= size => turned,
        _ => return invalid(format!("rotary_embedding_dim exceeds the head's {size}")),
    };
    if turned % 2 != 0 {
        return invalid(format!("a head of {turned} elements has no pairs"));
    }
    if let Some(positions) = s.optional(3) {
        cos = s.one(Op::Gather { axis: 0 }, &[cos, positions])?;
        sin = s.one(Op::Gather { axis: 0 }, &[sin, positions])?;
    }
    // [batch, seq, half] over the heads.
    let (cos, sin) = (s.unsqueeze(cos, &[1])?, s.unsqueeze(sin, &[1])?);
    let part = s.slice(heads, 3, 0, turned)?;
    let interleaved = s.flag("interleaved", false)?;
    let half = turned / 2;
    let (a, b) = if interleaved {
        let every_other = |start: i64| Op::Slice { axis: 3, start, end: turned as i64, step: 2 };
        (s.one(every_other(0), &[part])?, s.one(every_other(1), &[part])?)
    } else {
        (s.slice(part, 3, 0, half)?, s.slice(part, 3, half, turned)?)
    };
    let (ca, sb) = (s.mul(a, cos)?, s.mul(b, sin)?);
    let (sa, cb) = (s.mul(a, sin)?, s.mul(b, cos)?);
    let (real, imaginary) = (s.sub(ca, sb)?, s.add(sa, cb)?);
    let mut y = if interleaved {
        let (real, imaginary) = (s.unsqueeze(real, &[4])?, s.unsqueeze(imaginary, &[4])?);
        let pairs = s.concat(&[real, imaginary], 4)?;
        let shape = s.shape(part);
        s.reshape(pairs, &shape)?
    } else {
        s.concat(&[real, imaginary], 3)?
    };
    if turned < size {
        let rest = s.slice(heads, 3, turned, size)?;
        y = s.concat(&[y, rest], 3)?;
    }
    Ok(vec![if packed { join_heads(s, y)? } else { y }])
}

/// The most steps of a recurrence that is written out.
const MAX_STEPS: usize = 1024;

/// A state `[batch, heads, dk, dv]` that decays, is corrected and takes in `k v^T` at every step; written out step by step,
/// in `f32` as the op is defined.
fn linear_attention(s: &mut Site) -> Outputs {
    let (q, k, v) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let dtype = s.dtype(q);
    let (q_heads, kv_heads) = (count(s, "q_num_heads")?, count(s, "kv_num_heads")?);
    if q_heads % kv_heads != 0 {
        return invalid(format!("{q_heads} heads of queries do not share {kv_heads} heads of keys"));
    }
    let rule = s.text("update_rule", "gated_delta")?;
    let (gated, delta) = match rule {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return invalid(format!("update_rule {other:?} is not known")),
    };
    let wide = |s: &mut Site, x: ValueId, heads: usize| {
        let x = s.cast(x, DType::F32)?;
        split_heads(s, x, heads)
    };
    let (q, k, v) = (wide(s, q, q_heads)?, wide(s, k, kv_heads)?, wide(s, v, kv_heads)?);
    let (&[batch, _, steps, dk], &[_, _, _, dv]) = (s.shape(k).as_slice(), s.shape(v).as_slice()) else {
        return invalid("expected [batch, seq, width] for query, key and value");
    };
    if steps > MAX_STEPS {
        return unsupported(format!("{steps} steps of a recurrence"));
    }
    // One number a head, or one for each element of the key.
    let decay = if gated {
        let decay = s.input(4)?;
        let decay = wide(s, decay, kv_heads)?;
        Some(s.unary(PointFn::Exp, decay)?)
    } else {
        None
    };
    let beta = if delta {
        let beta = s.input(5)?;
        let heads = s.shape(beta).last().copied().unwrap_or(1).max(1);
        Some(wide(s, beta, heads)?)
    } else {
        None
    };
    let past = s.optional(3);
    let state_dtype = past.map_or(dtype, |past| s.dtype(past));
    let mut state = match past {
        Some(past) => s.cast(past, DType::F32)?,
        None => s.filled(DType::F32, &[batch, kv_heads, dk, dv], 0.0)?,
    };
    let scale = match s.float("scale", 0.0)? {
        0.0 => 1.0 / (dk as f64).sqrt(),
        scale => scale,
    };
    let q = s.with_number(PointFn::Mul, q, scale)?;
    let mut outputs = Vec::with_capacity(steps);
    for step in 0..steps {
        let at = |s: &mut Site, x: ValueId| s.slice(x, 2, step, step + 1);
        let (q, k, mut v) = (at(s, q)?, at(s, k)?, at(s, v)?);
        let column = s.transposed(k)?;
        if let Some(decay) = decay {
            let decay = at(s, decay)?;
            let decay = s.transposed(decay)?;
            state = s.mul(state, decay)?;
        }
        if let Some(beta) = beta {
            let beta = at(s, beta)?;
            let retrieved = s.matmul(k, state)?;
            let correction = s.sub(v, retrieved)?;
            v = s.mul(beta, correction)?;
        }
        let taken = s.mul(column, v)?;
        state = s.add(state, taken)?;
        outputs.push(shared_matmul(s, q, state, q_heads / kv_heads)?);
    }
    let y = match outputs.is_empty() {
        true => s.filled(DType::F32, &[batch, q_heads, 0, dv], 0.0)?,
        false => s.concat(&outputs, 2)?,
    };
    let y = join_heads(s, y)?;
    Ok(vec![s.cast(y, dtype)?, s.cast(state, state_dtype)?])
}

/// A depthwise convolution over what came before: the state is the padding in front.
fn causal_conv(s: &mut Site) -> Outputs {
    let (x, weight) = (s.input(0)?, s.input(1)?);
    let (&[batch, channels, _], &[_, _, kernel]) = (s.shape(x).as_slice(), s.shape(weight).as_slice()) else {
        return invalid(format!(
            "expected [batch, channels, length] and [channels, 1, k], found {} and {}",
            s.ty(x),
            s.ty(weight)
        ));
    };
    if kernel == 0 {
        return invalid("the kernel has no element");
    }
    let before = match s.optional(3) {
        Some(past) => past,
        None => {
            let dtype = s.dtype(x);
            s.filled(dtype, &[batch, channels, kernel - 1], 0.0)?
        }
    };
    let padded = s.concat(&[before, x], 2)?;
    let op =
        Op::Conv { strides: vec![1], pads_begin: vec![0], pads_end: vec![0], dilations: vec![1], groups: channels };
    let operands: Vec<ValueId> = [Some(padded), Some(weight), s.optional(2)].into_iter().flatten().collect();
    let mut y = s.one(op, &operands)?;
    match s.text("activation", "none")? {
        "none" => {}
        "silu" | "swish" => y = s.unary(PointFn::Silu, y)?,
        other => return invalid(format!("activation {other:?} is not known")),
    }
    let len = s.shape(padded)[2];
    let state = s.slice(padded, 2, len - (kernel - 1), len)?;
    Ok(vec![y, state])
}

/// Rows of a cache replaced from a position of each batch element on.
fn tensor_scatter(s: &mut Site) -> Outputs {
    let (cache, update) = (s.input(0)?, s.input(1)?);
    let (shape, part) = (s.shape(cache), s.shape(update));
    let rank = shape.len();
    let axis = axis_of(s.int("axis", -2)?, rank)?;
    if axis == 0 || part.len() != rank {
        return invalid("the axis of the sequence is not the batch");
    }
    let mut positions = s.iota(DType::I64, part[axis], axis, rank)?;
    if let Some(start) = s.optional(2) {
        let start = s.cast(start, DType::I64)?;
        let start = s.along_axis(start, 0, rank)?;
        positions = s.add(positions, start)?;
    }
    match s.text("mode", "linear")? {
        "linear" => {}
        "circular" => positions = s.with_number(PointFn::Rem, positions, shape[axis] as f64)?,
        other => return invalid(format!("mode {other:?} is neither linear nor circular")),
    }
    let positions = s.expand(positions, &part)?;
    Ok(vec![s.one(Op::ScatterElements { axis, function: ScatterFn::Assign }, &[cache, positions, update])?])
}
