//! Ops that move, select or make elements without computing on them: reshapes, slices, concatenation, padding, constants.

use super::super::site::{Outputs, Site, Stop, Words, axes_of, axis_of, invalid, non_negative, unsupported};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn};
use crate::types::{DType, TensorType};

pub const ROWS: &[Row] = &[
    row_of("Reshape", 1, |s| match s.ints("shape")? {
        Some(shape) => reshape(s, &shape),
        None => invalid("attribute shape is missing"),
    }),
    row_of("Reshape", 5, |s| {
        let shape = s.known_ints(1, "shape")?.unwrap_or_default();
        reshape(s, &shape)
    }),
    row_of("Flatten", 1, flatten),
    row_of("Transpose", 1, transpose),
    row_of("Squeeze", 1, squeeze),
    row_of("Unsqueeze", 1, unsqueeze),
    row_of("Concat", 1, concat),
    row_of("Split", 1, split),
    row_of("Slice", 1, slice_attributes),
    row_of("Slice", 10, slice_operands),
    row_of("Expand", 8, expand),
    row_of("Tile", 6, tile),
    row_of("Pad", 1, |s| {
        let pads = s.ints("pads")?.or(s.ints("paddings")?).unwrap_or_default();
        let x = s.input(0)?;
        let value = s.float("value", 0.0)?;
        let value = s.number(s.dtype(x), value);
        let axes: Vec<usize> = (0..s.rank(x)).collect();
        pad(s, x, &pads, &axes, value)
    }),
    row_of("Pad", 11, pad_operands),
    row_of("CenterCropPad", 18, center_crop_pad),
    row_of("Shape", 1, shape),
    row_of("Size", 1, |s| {
        let x = s.input(0)?;
        let len = s.ty(x).len();
        Ok(vec![s.int_constant(&[], &[len as i64])?])
    }),
    row_of("Constant", 1, constant),
    row_of("ConstantOfShape", 9, constant_of_shape),
    row_of("Range", 11, range),
    row_of("EyeLike", 9, eye_like),
    row_of("Trilu", 14, trilu),
    row_of("DepthToSpace", 1, depth_to_space),
    row_of("SpaceToDepth", 1, space_to_depth),
];

/// Extents of 0 copy the operand's unless `allowzero`, one extent of -1 takes what is left.
fn reshape(s: &mut Site, shape: &[i64]) -> Outputs {
    let x = s.input(0)?;
    let ty = s.ty(x);
    let allow_zero = s.flag("allowzero", false)?;
    let mut extents = Vec::with_capacity(shape.len().min(64));
    let mut rest = None;
    for (axis, &extent) in shape.iter().enumerate() {
        extents.push(match extent {
            -1 if rest.is_some() => return invalid("a shape holds -1 twice"),
            -1 => {
                rest = Some(axis);
                1
            }
            0 if !allow_zero => match ty.shape.get(axis) {
                Some(&extent) => extent,
                None => return invalid(format!("extent {axis} copies an axis that {ty} does not have")),
            },
            _ => non_negative(&[extent], "a shape")?[0],
        });
    }
    if let Some(axis) = rest {
        let others = extents.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent)).unwrap_or(0);
        if others == 0 || !ty.len().is_multiple_of(others) {
            return invalid(format!("{ty} does not take the shape {shape:?}"));
        }
        extents[axis] = ty.len() / others;
    }
    Ok(vec![s.reshape(x, &extents)?])
}

fn flatten(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let axis = s.int("axis", 1)?;
    let axis = if axis == shape.len() as i64 { shape.len() } else { axis_of(axis, shape.len().max(1))? };
    let axis = axis.min(shape.len());
    let y = [shape[..axis].iter().product(), shape[axis..].iter().product()];
    Ok(vec![s.reshape(x, &y)?])
}

fn transpose(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let rank = s.rank(x);
    let axes = match s.ints("perm")? {
        Some(perm) => axes_of(&perm, rank)?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![s.permute(x, &axes)?])
}

/// Axes as an attribute, or since opset 13 as an operand.
fn axes_operand(s: &mut Site) -> Result<Option<Vec<i64>>, Stop> {
    if s.opset < 13 { s.ints("axes") } else { s.known_ints(1, "axes") }
}

fn squeeze(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let axes = match axes_operand(s)? {
        Some(axes) => axes_of(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&axis| shape[axis] == 1).collect(),
    };
    Ok(vec![s.squeeze(x, &axes)?])
}

fn unsqueeze(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let Some(axes) = axes_operand(s)? else { return invalid("axes are missing") };
    let axes = axes_of(&axes, s.rank(x) + axes.len())?;
    Ok(vec![s.unsqueeze(x, &axes)?])
}

fn concat(s: &mut Site) -> Outputs {
    let parts = s.all_inputs()?;
    let Some(&first) = parts.first() else { return invalid("there is no operand") };
    let axis = axis_of(s.int("axis", 1)?, s.rank(first))?;
    Ok(vec![s.concat(&parts, axis)?])
}

fn split(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let axis = axis_of(s.int("axis", 0)?, shape.len())?;
    let sizes = if s.opset < 13 { s.ints("split")? } else { s.known_ints(1, "split")? };
    let sizes = match sizes {
        Some(sizes) => non_negative(&sizes, "split")?,
        None => {
            let parts = s.int("num_outputs", s.node.outputs.len() as i64)?;
            let parts = usize::try_from(parts).ok().filter(|parts| (1..=4096).contains(parts));
            let Some(parts) = parts else { return invalid("a split has at least one part") };
            // Equal parts, the last one smaller.
            let size = shape[axis].div_ceil(parts);
            (0..parts).map(|i| size.min(shape[axis].saturating_sub(i * size))).collect()
        }
    };
    s.apply(Op::Split { axis, sizes }, &[x])
}

fn slice_attributes(s: &mut Site) -> Outputs {
    let (starts, ends) = (s.ints("starts")?.unwrap_or_default(), s.ints("ends")?.unwrap_or_default());
    let axes = s.ints("axes")?;
    slice(s, &starts, &ends, axes, None)
}

fn slice_operands(s: &mut Site) -> Outputs {
    let starts = s.known_ints(1, "starts")?.unwrap_or_default();
    let ends = s.known_ints(2, "ends")?.unwrap_or_default();
    let axes = s.known_ints(3, "axes")?;
    let steps = s.known_ints(4, "steps")?;
    slice(s, &starts, &ends, axes, steps)
}

fn slice(s: &mut Site, starts: &[i64], ends: &[i64], axes: Option<Vec<i64>>, steps: Option<Vec<i64>>) -> Outputs {
    let mut x = s.input(0)?;
    let shape = s.shape(x);
    let axes = axes_of(&axes.unwrap_or_else(|| (0..starts.len() as i64).collect()), shape.len())?;
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return invalid("starts, ends, axes and steps differ in length");
    }
    for (i, &axis) in axes.iter().enumerate() {
        let extent = shape[axis] as i64;
        let from_start = |index: i64| if index < 0 { index.saturating_add(extent) } else { index };
        let step = steps[i];
        if step == 0 {
            return invalid("a slice steps by 0");
        }
        // Beyond the axis there is nothing, as in numpy; running down, the end may lie before element 0.
        let (start, end) = if step > 0 {
            (from_start(starts[i]).clamp(0, extent), from_start(ends[i]).clamp(0, extent))
        } else {
            (from_start(starts[i]).clamp(-1, extent - 1), from_start(ends[i]).clamp(-1, extent - 1))
        };
        let step = step.clamp(-extent.max(1), extent.max(1));
        let end = if (step > 0 && end < start) || (step < 0 && end > start) { start } else { end };
        // An empty slice that starts outside the axis says so in the plainest way.
        let (start, end) = if start == end { (0, 0) } else { (start, end) };
        let step = if start == end { 1 } else { step };
        x = s.one(Op::Slice { axis, start, end, step }, &[x])?;
    }
    Ok(vec![x])
}

fn expand(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let shape = non_negative(&s.known_ints(1, "shape")?.unwrap_or_default(), "shape")?;
    let shape = crate::ops::shape::broadcast(&s.shape(x), &shape)?;
    Ok(vec![s.expand(x, &shape)?])
}

fn tile(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let repeats = non_negative(&s.known_ints(1, "repeats")?.unwrap_or_default(), "repeats")?;
    let shape = s.shape(x);
    if repeats.len() != shape.len() {
        return invalid(format!("{} repeats for {} axes", repeats.len(), shape.len()));
    }
    // Each repeated axis gets an axis in front of it that is expanded and then merged with it.
    let mut y = x;
    for axis in (0..shape.len()).filter(|&axis| repeats[axis] != 1) {
        let mut now = s.shape(y);
        y = s.unsqueeze(y, &[axis])?;
        now.insert(axis, repeats[axis]);
        y = s.expand(y, &now)?;
        let extent = now.remove(axis).checked_mul(now[axis]);
        now[axis] = extent.ok_or_else(|| Stop::Invalid("the result is too large".into()))?;
        y = s.reshape(y, &now)?;
    }
    Ok(vec![y])
}

fn pad_operands(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let pads = s.known_ints(1, "pads")?.unwrap_or_default();
    let rank = s.rank(x);
    let axes = match s.known_ints(3, "axes")? {
        Some(axes) => axes_of(&axes, rank)?,
        None => (0..rank).collect(),
    };
    let value = match s.optional(2) {
        Some(value) => s.reshape(value, &[])?,
        None => s.number(s.dtype(x), 0.0),
    };
    pad(s, x, &pads, &axes, value)
}

fn pad(s: &mut Site, x: ValueId, pads: &[i64], axes: &[usize], value: ValueId) -> Outputs {
    if pads.len() != 2 * axes.len() {
        return invalid(format!("{} pads for {} axes", pads.len(), axes.len()));
    }
    let mode = s.text("mode", "constant")?;
    if !["constant", "reflect", "edge", "wrap"].contains(&mode) {
        return invalid(format!("mode {mode:?} is not a mode of padding"));
    }
    let mut y = x;
    let rank = s.rank(x);
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let (first, last) = (pads[i], pads[i + axes.len()]);
        let extent = s.shape(y)[axis];
        // Negative pads cut off.
        let cut = |n: i64| usize::try_from(n.min(0).unsigned_abs()).unwrap_or(usize::MAX).min(extent);
        let (start, end) = (cut(first), extent - cut(last));
        if start > end {
            return invalid(format!("pads {first} and {last} cut more than axis {axis} has"));
        }
        y = s.slice(y, axis, start, end)?;
        (before[axis], after[axis]) = (first.max(0) as usize, last.max(0) as usize);
    }
    if mode == "constant" {
        if before.iter().chain(&after).all(|&n| n == 0) {
            return Ok(vec![y]);
        }
        return Ok(vec![s.one(Op::Pad { before, after }, &[y, value])?]);
    }
    for axis in 0..rank {
        if before[axis] > 0 || after[axis] > 0 {
            y = pad_by_index(s, y, axis, before[axis], after[axis], mode)?;
        }
    }
    Ok(vec![y])
}

/// Padding whose elements come from the tensor itself: a gather by a constant list of positions.
fn pad_by_index(
    s: &mut Site,
    x: ValueId,
    axis: usize,
    before: usize,
    after: usize,
    mode: &str,
) -> Result<ValueId, Stop> {
    let extent = s.shape(x)[axis] as i64;
    let len = (extent as usize).saturating_add(before).saturating_add(after);
    if extent == 0 || len > 1 << 24 {
        return invalid(format!("an axis of {extent} cannot be padded to {len} by {mode}"));
    }
    let period = (2 * (extent - 1)).max(1);
    let positions: Vec<i64> = (0..len as i64)
        .map(|i| {
            let i = i - before as i64;
            match mode {
                "edge" => i.clamp(0, extent - 1),
                "wrap" => i.rem_euclid(extent),
                _ => {
                    let folded = i.rem_euclid(period);
                    if folded < extent { folded } else { period - folded }
                }
            }
        })
        .collect();
    let positions = s.int_constant(&[len], &positions)?;
    s.one(Op::Gather { axis }, &[x, positions])
}

fn center_crop_pad(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let target = non_negative(&s.known_ints(1, "shape")?.unwrap_or_default(), "shape")?;
    let rank = s.rank(x);
    let axes = match s.ints("axes")? {
        Some(axes) => axes_of(&axes, rank)?,
        None => (0..rank).collect(),
    };
    if axes.len() != target.len() {
        return invalid(format!("{} extents for {} axes", target.len(), axes.len()));
    }
    let mut y = x;
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (&axis, &extent) in axes.iter().zip(&target) {
        let now = s.shape(y)[axis];
        if now > extent {
            let start = (now - extent) / 2;
            y = s.slice(y, axis, start, start + extent)?;
        } else {
            before[axis] = (extent - now) / 2;
            after[axis] = extent - now - before[axis];
        }
    }
    if before.iter().chain(&after).all(|&n| n == 0) {
        return Ok(vec![y]);
    }
    let zero = s.number(s.dtype(x), 0.0);
    Ok(vec![s.one(Op::Pad { before, after }, &[y, zero])?])
}

fn shape(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let shape: Vec<i64> = s.shape(x).iter().map(|&extent| extent as i64).collect();
    let rank = shape.len() as i64;
    let clamped = |axis: i64| (if axis < 0 { axis.saturating_add(rank) } else { axis }).clamp(0, rank) as usize;
    let (start, end) = (clamped(s.int("start", 0)?), clamped(s.int("end", rank)?));
    let part = &shape[start.min(end)..end];
    Ok(vec![s.int_constant(&[part.len()], part)?])
}

fn constant(s: &mut Site) -> Outputs {
    if let Some(constant) = s.tensor("value")? {
        return Ok(vec![s.importer.constant(constant)]);
    }
    if let Some(value) = s.float_opt("value_float")? {
        return Ok(vec![s.number(DType::F32, value)]);
    }
    if let Some(value) = s.int_opt("value_int")? {
        return Ok(vec![s.int_constant(&[], &[value])?]);
    }
    if let Some(values) = s.floats("value_floats")? {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        return Ok(vec![s.number_constant(DType::F32, &[values.len()], &values)?]);
    }
    if let Some(values) = s.ints("value_ints")? {
        return Ok(vec![s.int_constant(&[values.len()], &values)?]);
    }
    unsupported("a constant that is neither a tensor nor numbers")
}

fn constant_of_shape(s: &mut Site) -> Outputs {
    let shape = non_negative(&s.known_ints(0, "shape")?.unwrap_or_default(), "shape")?;
    let mut value = match s.tensor("value")? {
        Some(value) => value,
        None => crate::ir::Constant::scalar(DType::F32, 0),
    };
    let Some(bits) = value.splat().filter(|_| value.ty.len() == 1) else {
        return invalid("attribute value should have one element");
    };
    value.ty = TensorType::new(value.ty.dtype, shape);
    value.ty.check()?;
    value.data = crate::ir::ConstantData::Splat(bits);
    Ok(vec![s.importer.constant(value)])
}

fn range(s: &mut Site) -> Outputs {
    let dtype = s.dtype(s.input(0)?);
    let too_long = || Stop::Invalid("a range of more than 2^24 elements".into());
    if dtype.is_float() {
        let mut numbers = [0.0; 3];
        for (position, (number, what)) in numbers.iter_mut().zip(["start", "limit", "delta"]).enumerate() {
            *number = s.known_float(position, what)?.unwrap_or(f64::NAN);
        }
        let [start, limit, delta] = numbers;
        let len = ((limit - start) / delta).ceil().max(0.0);
        if len.is_nan() || len > f64::from(1 << 24) {
            return Err(too_long());
        }
        let elements: Vec<f64> = (0..len as usize).map(|i| start + i as f64 * delta).collect();
        return Ok(vec![s.number_constant(dtype, &[elements.len()], &elements)?]);
    }
    let mut numbers = [0i128; 3];
    for (position, (number, what)) in numbers.iter_mut().zip(["start", "limit", "delta"]).enumerate() {
        *number = i128::from(s.known_int(position, what)?.unwrap_or(0));
    }
    let [start, limit, delta] = numbers;
    if delta == 0 {
        return invalid("a range steps by 0");
    }
    let len = if (limit > start) == (delta > 0) { ((limit - start).abs() + delta.abs() - 1) / delta.abs() } else { 0 };
    if len > 1 << 24 {
        return Err(too_long());
    }
    let elements: Vec<i64> = (0..len).map(|i| (start + i * delta) as i64).collect();
    let range = s.int_constant(&[elements.len()], &elements)?;
    Ok(vec![s.cast(range, dtype)?])
}

/// Coordinates of rows and columns of the last two axes, as `i64` constants that broadcast to a matrix.
fn matrix_coordinates(s: &mut Site, rows: usize, columns: usize) -> Result<(ValueId, ValueId), Stop> {
    Ok((s.iota(DType::I64, rows, 0, 2)?, s.iota(DType::I64, columns, 1, 2)?))
}

fn eye_like(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let [rows, columns] = s.shape(x)[..] else { return invalid("expected a matrix") };
    let dtype = match s.dtype_attribute("dtype")? {
        Some(dtype) => dtype,
        None => s.dtype(x),
    };
    let k = s.int("k", 0)?;
    let (row, column) = matrix_coordinates(s, rows, columns)?;
    let k = s.int_constant(&[], &[k])?;
    let shifted = s.add(row, k)?;
    let diagonal = s.binary(PointFn::Eq, shifted, column)?;
    Ok(vec![s.cast(diagonal, dtype)?])
}

/// Keeps the elements on one side of a diagonal by a mask of coordinates.
fn trilu(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let [.., rows, columns] = shape[..] else { return invalid("expected a matrix") };
    let upper = s.flag("upper", true)?;
    let k = match s.optional(1) {
        Some(k) => s.reshape(k, &[])?,
        None => s.int_constant(&[], &[0])?,
    };
    let (row, column) = matrix_coordinates(s, rows, columns)?;
    let distance = s.sub(column, row)?;
    let kept = s.binary(if upper { PointFn::Ge } else { PointFn::Le }, distance, k)?;
    let zero = s.number(s.dtype(x), 0.0);
    Ok(vec![s.select(kept, x, zero)?])
}

/// `[n, c, h, w]` and a block size that is at least 1.
fn image_and_block(s: &Site, x: ValueId) -> Result<([usize; 4], usize), Stop> {
    let block = usize::try_from(s.int("blocksize", 0)?).ok().filter(|&block| block > 0 && block < 1 << 16);
    match (s.shape(x)[..].try_into(), block) {
        (Ok(shape), Some(block)) => Ok((shape, block)),
        _ => invalid("expected [n, c, h, w] and a blocksize of at least 1"),
    }
}

fn depth_to_space(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let ([n, c, h, w], b) = image_and_block(s, x)?;
    let depth = c / (b * b);
    let (split, axes) = match s.text("mode", "DCR")? {
        "DCR" => ([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3]),
        other => return invalid(format!("mode {other:?} is neither DCR nor CRD")),
    };
    let blocks = s.reshape(x, &split)?;
    let moved = s.permute(blocks, &axes)?;
    Ok(vec![s.reshape(moved, &[n, depth, h * b, w * b])?])
}

fn space_to_depth(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let ([n, c, h, w], b) = image_and_block(s, x)?;
    let blocks = s.reshape(x, &[n, c, h / b, b, w / b, b])?;
    let moved = s.permute(blocks, &[0, 3, 5, 1, 2, 4])?;
    let depth = c.checked_mul(b * b).ok_or_else(|| Stop::Invalid("the result is too large".into()))?;
    Ok(vec![s.reshape(moved, &[n, depth, h / b, w / b])?])
}
