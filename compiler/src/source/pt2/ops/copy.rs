//! Copies: the same elements in bytes of their own, joined, repeated, turned round; and writes that are copies.

use super::super::promote;
use super::super::site::{
    CHANNELS_LAST, CHANNELS_LAST_3D, CONTIGUOUS, Number, Outputs, PRESERVE, Site, Stop, Words, axes_of, axis_of,
    invalid, non_negative, unsupported,
};
use super::{Row, effect, row, view};
use crate::ir::ValueId;
use crate::ops::Op;
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row(
        "clone.default lift_fresh_copy.default detach_copy.default alias_copy.default",
        "self memory_format=None",
        |s| {
            let x = s.tensor("self")?;
            Ok(vec![s.one(Op::Contiguous {}, &[x])?])
        },
    ),
    view("contiguous.default", "self memory_format=None", |s| {
        let x = s.tensor("self")?;
        let format = if s.has("memory_format") { s.memory_format("memory_format")? } else { CONTIGUOUS };
        in_format(s, x, format)
    }),
    view("to.dtype", "self dtype non_blocking=False copy=False memory_format=None", converted),
    view("to.device", "self device dtype non_blocking=False copy=False memory_format=None", converted),
    view("to.other", "self other non_blocking=False copy=False memory_format=None", converted),
    view(
        "to.dtype_layout",
        "self dtype=None layout=None device=None pin_memory=None non_blocking=False copy=False memory_format=None",
        converted,
    ),
    row(
        "_to_copy.default",
        "self dtype=None layout=None device=None pin_memory=None non_blocking=False memory_format=None",
        |s| {
            let x = s.tensor("self")?;
            let to = s.dtype_opt("dtype")?.unwrap_or(s.dtype(x));
            fresh_cast(s, x, to)
        },
    ),
    view("type_as.default", "self other", converted),
    row("_cast_Float.default", "self non_blocking=False", |s| {
        let x = s.tensor("self")?;
        fresh_cast(s, x, DType::F32)
    }),
    effect("copy.default", "self src non_blocking=False", |s| {
        let (x, source) = (s.tensor("self")?, s.tensor("src")?);
        Ok(vec![s.write(x, source)?])
    }),
    effect("fill.Scalar fill.Tensor", "self value", |s| {
        let x = s.tensor("self")?;
        let value = s.operand("value", s.dtype(x))?;
        filled(s, x, value)
    }),
    effect("zero.default", "self", |s| {
        let x = s.tensor("self")?;
        let zero = s.scalar(Number::Int(0), s.dtype(x));
        filled(s, x, zero)
    }),
    effect("fill_diagonal.default", "self fill_value wrap=False", |s| {
        let x = s.tensor("self")?;
        if s.flag("wrap")? {
            return unsupported("a diagonal that wraps");
        }
        let shape = s.shape(x);
        let (Some(&least), layout) = (shape.iter().min(), s.layout(x)) else {
            return invalid("a scalar has no diagonal");
        };
        let stride = layout.strides.iter().sum::<i64>();
        let Ok(stride) = usize::try_from(stride) else { return unsupported("a diagonal that runs backwards") };
        let diagonal = s.one(Op::AsStrided { shape: vec![least], strides: vec![stride], offset: None }, &[x])?;
        let value = s.operand("fill_value", s.dtype(x))?;
        s.write(diagonal, value)?;
        Ok(vec![x])
    }),
    row("cat.default concat.default concatenate.default", "tensors dim=0", |s| {
        let tensors = s.tensors("tensors")?;
        joined(s, &tensors, s.int("dim")?)
    }),
    row("stack.default", "tensors dim=0", |s| {
        let tensors = s.tensors("tensors")?;
        let Some(&first) = tensors.first() else { return invalid("nothing to stack") };
        let axis = axis_of(s.int("dim")?, s.rank(first) + 1)?;
        let parts = tensors.iter().map(|&tensor| s.unsqueeze(tensor, &[axis])).collect::<Result<Vec<_>, _>>()?;
        joined(s, &parts, axis as i64)
    }),
    row("hstack.default", "tensors", |s| {
        let tensors = at_least(s, 1)?;
        let axis = i64::from(tensors.first().is_some_and(|&tensor| s.rank(tensor) > 1));
        joined(s, &tensors, axis)
    }),
    row("vstack.default row_stack.default", "tensors", |s| {
        let tensors = at_least(s, 2)?;
        joined(s, &tensors, 0)
    }),
    row("repeat.default", "self repeats", |s| {
        let x = s.tensor("self")?;
        repeated(s, x, &s.sizes("repeats")?)
    }),
    row("tile.default", "self dims", |s| {
        let x = s.tensor("self")?;
        let mut repeats = s.sizes("dims")?;
        while repeats.len() < s.rank(x) {
            repeats.insert(0, 1);
        }
        repeated(s, x, &repeats)
    }),
    row("repeat_interleave.self_int", "self repeats dim=None output_size=None", |s| {
        let x = s.tensor("self")?;
        let times = non_negative(&[s.int("repeats")?], "repeats")?[0];
        let (x, axis) = match s.int_opt("dim")? {
            None => {
                let length = s.ty(x).len();
                (s.reshape(x, &[length])?, 0)
            }
            Some(axis) => (x, axis_of(axis, s.rank(x))?),
        };
        let mut shape = s.shape(x);
        let column = s.unsqueeze(x, &[axis + 1])?;
        shape.insert(axis + 1, times);
        let wide = s.expand(column, &shape)?;
        let copy = s.one(Op::Contiguous {}, &[wide])?;
        shape.remove(axis + 1);
        let Some(extent) = shape[axis].checked_mul(times) else { return invalid("an axis is too long") };
        shape[axis] = extent;
        Ok(vec![s.reshape(copy, &shape)?])
    }),
    row("flip.default", "self dims", |s| {
        let x = s.tensor("self")?;
        let axes = s.axes("dims", s.rank(x))?;
        let axes = if s.ints("dims")?.is_empty() { Vec::new() } else { axes };
        flipped(s, x, &axes)
    }),
    row("fliplr.default", "self", |s| {
        let x = s.tensor("self")?;
        flipped(s, x, &[1])
    }),
    row("flipud.default", "self", |s| {
        let x = s.tensor("self")?;
        flipped(s, x, &[0])
    }),
    row("rot90.default", "self k=1 dims=[]", |s| {
        let x = s.tensor("self")?;
        let dims = s.ints("dims")?;
        let axes = axes_of(if dims.is_empty() { &[0, 1] } else { &dims }, s.rank(x))?;
        let [a, b] = axes.as_slice() else { return invalid("a plane has two axes") };
        let mut order: Vec<usize> = (0..s.rank(x)).collect();
        order.swap(*a, *b);
        match s.int("k")?.rem_euclid(4) {
            0 => Ok(vec![s.one(Op::Contiguous {}, &[x])?]),
            1 => {
                let turned = flipped(s, x, &[*b])?[0];
                Ok(vec![s.permute(turned, &order)?])
            }
            2 => flipped(s, x, &[*a, *b]),
            _ => {
                let turned = flipped(s, x, &[*a])?[0];
                Ok(vec![s.permute(turned, &order)?])
            }
        }
    }),
    row("roll.default", "self shifts dims=[]", rolled),
    row("pad.default", "self pad mode='constant' value=None", |s| padding(s, s.text("mode")?)),
    row("constant_pad_nd.default", "self pad value=0", |s| padding(s, "constant")),
    row("reflection_pad1d.default reflection_pad2d.default reflection_pad3d.default", "self pad|padding", |s| {
        padding(s, "reflect")
    }),
    row("replication_pad1d.default replication_pad2d.default replication_pad3d.default", "self pad|padding", |s| {
        padding(s, "replicate")
    }),
    row("pixel_shuffle.default", "self upscale_factor", |s| {
        let (x, r) = (s.tensor("self")?, non_negative(&[s.int("upscale_factor")?], "upscale_factor")?[0]);
        let shape = s.shape(x);
        let [outer @ .., c, h, w] = shape.as_slice() else { return invalid("expected [.., c, h, w]") };
        if r == 0 || r > *c || c % (r * r) != 0 {
            return invalid(format!("{c} channels for a factor of {r}"));
        }
        let n = outer.len();
        let inner = s.reshape(x, &[outer, &[c / (r * r), r, r, *h, *w]].concat())?;
        let order: Vec<usize> = (0..n).chain([n, n + 3, n + 1, n + 4, n + 2]).collect();
        let turned = s.permute(inner, &order)?;
        let dense = s.one(Op::Contiguous {}, &[turned])?;
        Ok(vec![s.reshape(dense, &[outer, &[c / (r * r), h * r, w * r]].concat())?])
    }),
    row("pixel_unshuffle.default", "self downscale_factor", |s| {
        let (x, r) = (s.tensor("self")?, non_negative(&[s.int("downscale_factor")?], "downscale_factor")?[0]);
        let shape = s.shape(x);
        let [outer @ .., c, h, w] = shape.as_slice() else { return invalid("expected [.., c, h, w]") };
        if r == 0 || r > (*h).max(*w).max(1) || h % r != 0 || w % r != 0 {
            return invalid(format!("{h} by {w} for a factor of {r}"));
        }
        let n = outer.len();
        let inner = s.reshape(x, &[outer, &[*c, h / r, r, w / r, r]].concat())?;
        let order: Vec<usize> = (0..n).chain([n, n + 2, n + 4, n + 1, n + 3]).collect();
        let turned = s.permute(inner, &order)?;
        let dense = s.one(Op::Contiguous {}, &[turned])?;
        Ok(vec![s.reshape(dense, &[outer, &[c * r * r, h / r, w / r]].concat())?])
    }),
    row("channel_shuffle.default native_channel_shuffle.default", "self groups", |s| {
        let (x, groups) = (s.tensor("self")?, non_negative(&[s.int("groups")?], "groups")?[0]);
        let shape = s.shape(x);
        let [n, c, rest @ ..] = shape.as_slice() else { return invalid("expected [n, c, ..]") };
        if groups == 0 || c % groups != 0 {
            return invalid(format!("{c} channels in {groups} groups"));
        }
        let inner = s.reshape(x, &[&[*n, groups, c / groups], rest].concat())?;
        let mut order: Vec<usize> = (0..rest.len() + 3).collect();
        order.swap(1, 2);
        let turned = s.permute(inner, &order)?;
        let dense = s.one(Op::Contiguous {}, &[turned])?;
        Ok(vec![s.reshape(dense, &shape)?])
    }),
];

/// The most writes that one filling becomes.
const MAX_FILLS: usize = 1024;

/// One element written everywhere. Where two indices are one element, as in windows that overlap, every order gives the
/// same, so the axis that overlaps is taken index by index.
fn filled(s: &mut Site, x: ValueId, value: ValueId) -> Outputs {
    let mut parts = vec![x];
    while let Some(place) = parts.iter().position(|&part| !s.layout(part).is_injective()) {
        let part = parts.remove(place);
        let layout = s.layout(part);
        let axes = (0..layout.rank()).filter(|&axis| layout.shape[axis] > 1);
        let Some(axis) = axes.min_by_key(|&axis| layout.shape[axis]) else { break };
        // An axis that repeats its elements is written once.
        let count = if layout.strides[axis] == 0 { 1 } else { layout.shape[axis] };
        if parts.len() + count > MAX_FILLS {
            return unsupported("a filling of windows that overlap this much");
        }
        for index in 0..count {
            parts.push(s.one(Op::Select { axis, index }, &[part])?);
        }
    }
    for part in parts {
        s.write(part, value)?;
    }
    Ok(vec![x])
}

/// A copy in another dtype, or the tensor itself where nothing changes and no copy is asked for.
fn converted(s: &mut Site) -> Outputs {
    let x = s.tensor("self")?;
    let to = match s.tensor_opt("other")? {
        Some(other) => s.dtype(other),
        None => s.dtype_opt("dtype")?.unwrap_or(s.dtype(x)),
    };
    let copy = s.has("copy") && s.flag("copy")?;
    let format = s.memory_format("memory_format")?;
    if to == s.dtype(x) && !copy {
        return in_format(s, x, format);
    }
    fresh_cast(s, x, to)
}

fn fresh_cast(s: &mut Site, x: ValueId, to: DType) -> Outputs {
    if to == s.dtype(x) {
        return Ok(vec![s.one(Op::Contiguous {}, &[x])?]);
    }
    Ok(vec![s.cast(x, to)?])
}

/// The tensor itself if it lies in a memory format, else a copy; the copy's strides are those the program was traced with.
pub fn in_format(s: &mut Site, x: ValueId, format: u64) -> Outputs {
    let layout = s.layout(x);
    let is_last = |rank: usize| {
        let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
        layout.rank() == rank && crate::ops::views::permute(&layout, &order).is_dense()
    };
    let lies = match format {
        PRESERVE => true,
        CONTIGUOUS => layout.is_empty() || layout.is_dense(),
        CHANNELS_LAST => is_last(4),
        CHANNELS_LAST_3D => is_last(5),
        other => return unsupported(format!("the memory format {other} of the schema")),
    };
    if lies { Ok(vec![x]) } else { Ok(vec![s.one(Op::Contiguous {}, &[x])?]) }
}

/// Tensors one after the other, in their common dtype. An empty vector, PyTorch's word for nothing yet, is passed over.
fn joined(s: &mut Site, tensors: &[ValueId], axis: i64) -> Outputs {
    let parts: Vec<_> = tensors.iter().map(|&tensor| s.tensor_part(tensor)).collect();
    let dtype = promote::result(&parts);
    let mut kept: Vec<ValueId> = tensors.iter().copied().filter(|&tensor| s.shape(tensor) != [0]).collect();
    if kept.is_empty() {
        kept.extend(tensors.first());
    }
    let Some(&first) = kept.first() else { return invalid("nothing to join") };
    let axis = axis_of(axis, s.rank(first))?;
    for part in &mut kept {
        *part = s.cast(*part, dtype)?;
    }
    match kept.as_slice() {
        [one] => Ok(vec![s.one(Op::Contiguous {}, &[*one])?]),
        _ if kept.len() > 4096 => unsupported(format!("{} tensors joined", kept.len())),
        _ => Ok(vec![s.one(Op::Concat { axis }, &kept)?]),
    }
}

fn at_least(s: &mut Site, rank: usize) -> Result<Vec<ValueId>, Stop> {
    let mut tensors = s.tensors("tensors")?;
    for tensor in &mut tensors {
        while s.rank(*tensor) < rank {
            *tensor = s.unsqueeze(*tensor, &[0])?;
        }
    }
    Ok(tensors)
}

/// Each axis seen again and again through an expanded axis before it, then copied.
fn repeated(s: &mut Site, x: ValueId, repeats: &[usize]) -> Outputs {
    let mut shape = s.shape(x);
    if repeats.len() < shape.len() {
        return invalid(format!("{} repeats for {} axes", repeats.len(), shape.len()));
    }
    while shape.len() < repeats.len() {
        shape.insert(0, 1);
    }
    let interleave = |outer: &[usize]| outer.iter().zip(&shape).flat_map(|(&a, &b)| [a, b]).collect::<Vec<usize>>();
    let single = s.reshape(x, &interleave(&vec![1; repeats.len()]))?;
    let wide = s.expand(single, &interleave(repeats))?;
    let copy = s.one(Op::Contiguous {}, &[wide])?;
    let joined: Option<Vec<usize>> = shape.iter().zip(repeats).map(|(&a, &b)| a.checked_mul(b)).collect();
    let Some(joined) = joined else { return invalid("an axis is too long") };
    Ok(vec![s.reshape(copy, &joined)?])
}

pub fn flipped(s: &mut Site, mut x: ValueId, axes: &[usize]) -> Outputs {
    for &axis in axes {
        let Some(&extent) = s.shape(x).get(axis) else { return invalid(format!("there is no axis {axis}")) };
        if extent > 1 {
            x = s.one(Op::Slice { axis, start: extent as i64 - 1, end: -1, step: -1 }, &[x])?;
        }
    }
    Ok(vec![s.one(Op::Contiguous {}, &[x])?])
}

fn rolled(s: &mut Site) -> Outputs {
    let x = s.tensor("self")?;
    let (shifts, dims) = (s.ints("shifts")?, s.ints("dims")?);
    if dims.is_empty() {
        let (shape, length) = (s.shape(x), s.ty(x).len());
        let [shift] = shifts.as_slice() else { return invalid("several shifts and no axes") };
        let flat = s.reshape(x, &[length])?;
        let y = rolled_along(s, flat, 0, *shift)?;
        return Ok(vec![s.reshape(y, &shape)?]);
    }
    if shifts.len() != dims.len() {
        return invalid(format!("{} shifts for {} axes", shifts.len(), dims.len()));
    }
    let mut y = x;
    for (&shift, &dim) in shifts.iter().zip(&dims) {
        let axis = axis_of(dim, s.rank(x))?;
        y = rolled_along(s, y, axis, shift)?;
    }
    let y = if y == x { s.one(Op::Contiguous {}, &[x])? } else { y };
    Ok(vec![s.settled(y, x)?])
}

fn rolled_along(s: &mut Site, x: ValueId, axis: usize, shift: i64) -> Result<ValueId, Stop> {
    let extent = s.shape(x)[axis];
    let shift = if extent == 0 { 0 } else { shift.rem_euclid(extent as i64) as usize };
    if shift == 0 {
        return s.one(Op::Contiguous {}, &[x]);
    }
    let (front, back) = (s.slice(x, axis, extent - shift, extent)?, s.slice(x, axis, 0, extent - shift)?);
    s.concat(&[front, back], axis)
}

/// Elements around the last axes, which `pad` names in pairs from the last one on; negative ones take away.
fn padding(s: &mut Site, mode: &str) -> Outputs {
    let mut x = s.tensor("self")?;
    let pad = s.ints("pad")?;
    let rank = s.rank(x);
    if pad.len() % 2 != 0 || pad.len() / 2 > rank {
        return invalid(format!("{} paddings for {rank} axes", pad.len()));
    }
    let mut around = vec![(0i64, 0i64); rank];
    for (place, pair) in pad.chunks(2).enumerate() {
        around[rank - 1 - place] = (pair[0], pair[1]);
    }
    let given = x;
    // What is taken away still counts where the rest is repeated or reflected.
    if mode != "constant" && around.iter().any(|pair| pair.0.max(pair.1) > 0) {
        for (axis, &(before, after)) in around.iter().enumerate() {
            let more = |s: &mut Site, x| extended(s, x, axis, before.max(0) as usize, after.max(0) as usize, mode);
            // Only what is left goes round in a circle.
            if mode != "circular" {
                x = more(s, x)?;
            }
            let extent = s.shape(x)[axis] as i64;
            let (start, end) = ((-before).max(0), extent - (-after).max(0));
            if start > end {
                return invalid(format!("more than axis {axis} has is taken away"));
            }
            x = s.slice(x, axis, start as usize, end as usize)?;
            if mode == "circular" {
                x = more(s, x)?;
            }
        }
        return Ok(vec![x]);
    }
    for (axis, &(before, after)) in around.iter().enumerate() {
        if before < 0 || after < 0 {
            let extent = s.shape(x)[axis] as i64;
            let (start, end) = ((-before).max(0), extent - (-after).max(0));
            if start > end {
                return invalid(format!("more than axis {axis} has is taken away"));
            }
            x = s.slice(x, axis, start as usize, end as usize)?;
        }
    }
    let before: Vec<usize> = around.iter().map(|pair| pair.0.max(0) as usize).collect();
    let after: Vec<usize> = around.iter().map(|pair| pair.1.max(0) as usize).collect();
    if before.iter().chain(&after).all(|&count| count == 0) {
        return Ok(vec![if mode == "constant" {
            s.one(Op::Contiguous {}, &[x])?
        } else {
            given_or_copy(s, x, given)?
        }]);
    }
    let value = s.numeral_opt("value")?.unwrap_or(Number::Int(0));
    let value = s.scalar(value, s.dtype(x));
    Ok(vec![s.one(Op::Pad { before, after }, &[x, value])?])
}

fn given_or_copy(s: &mut Site, x: ValueId, given: ValueId) -> Result<ValueId, Stop> {
    if x == given { s.one(Op::Contiguous {}, &[x]) } else { Ok(x) }
}

/// One axis with mirrored, repeated or wrapped elements at its ends.
fn extended(s: &mut Site, x: ValueId, axis: usize, before: usize, after: usize, mode: &str) -> Result<ValueId, Stop> {
    let extent = s.shape(x)[axis];
    if before + after == 0 {
        return Ok(x);
    }
    let most = match mode {
        "reflect" => extent.saturating_sub(1),
        "circular" => extent,
        "replicate" if extent > 0 => usize::MAX,
        "replicate" => 0,
        other => return unsupported(format!("the padding mode {other:?}")),
    };
    if before > most || after > most {
        return invalid(format!("{before} and {after} elements around an axis of {extent} by {mode}"));
    }
    let mut parts = Vec::new();
    for (count, front) in [(before, true), (after, false)] {
        if count > 0 {
            let part = match (mode, front) {
                ("reflect", true) => backwards(s, x, axis, count as i64, 0)?,
                ("reflect", false) => backwards(s, x, axis, extent as i64 - 2, extent as i64 - 2 - count as i64)?,
                ("circular", true) => s.slice(x, axis, extent - count, extent)?,
                ("circular", false) => s.slice(x, axis, 0, count)?,
                (_, front) => {
                    let at = if front { 0 } else { extent - 1 };
                    let edge = s.slice(x, axis, at, at + 1)?;
                    let mut shape = s.shape(x);
                    shape[axis] = count;
                    s.expand(edge, &shape)?
                }
            };
            parts.push(part);
        }
        if front {
            parts.push(x);
        }
    }
    s.concat(&parts, axis)
}

/// Elements from `start` down to before `end`.
fn backwards(s: &mut Site, x: ValueId, axis: usize, start: i64, end: i64) -> Result<ValueId, Stop> {
    s.one(Op::Slice { axis, start, end, step: -1 }, &[x])
}
