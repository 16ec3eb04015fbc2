//! Pooling.

use super::super::site::{Outputs, Site, Stop, Words, invalid, unsupported};
use super::{Row, row, wide};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, PoolFn, ReduceFn, Window};
use crate::source::windows::{average, beyond, extended, spatial};
use crate::types::DType;

const MAX: &str = "self kernel_size stride=[] padding=0 dilation=1 ceil_mode=False";
const AVERAGE: &str =
    "self kernel_size stride=[] padding=0 ceil_mode=False count_include_pad=True divisor_override=None";

pub const ROWS: &[Row] = &[
    row("max_pool1d.default", MAX, |s| batched(s, 1, max_pool)),
    row("max_pool2d.default", MAX, |s| batched(s, 2, max_pool)),
    row("max_pool3d.default", MAX, |s| batched(s, 3, max_pool)),
    row("max_pool1d_with_indices.default", MAX, |s| batched(s, 1, max_pool_indices)),
    row("max_pool2d_with_indices.default", MAX, |s| batched(s, 2, max_pool_indices)),
    row("max_pool3d_with_indices.default", MAX, |s| batched(s, 3, max_pool_indices)),
    wide("avg_pool1d.default", AVERAGE, |s| batched(s, 1, average_pool)),
    wide("avg_pool2d.default", AVERAGE, |s| batched(s, 2, average_pool)),
    wide("avg_pool3d.default", AVERAGE, |s| batched(s, 3, average_pool)),
    row("max_unpool2d.default", "self indices output_size", |s| unpool(s, 2)),
    row("max_unpool3d.default", "self indices output_size stride padding", |s| unpool(s, 3)),
    row("adaptive_avg_pool1d.default", "self output_size", |s| {
        batched(s, 1, |s, x, n| adaptive(s, x, n, ReduceFn::Mean))
    }),
    row("adaptive_avg_pool2d.default _adaptive_avg_pool2d.default", "self output_size", |s| {
        batched(s, 2, |s, x, n| adaptive(s, x, n, ReduceFn::Mean))
    }),
    row("adaptive_avg_pool3d.default _adaptive_avg_pool3d.default", "self output_size", |s| {
        batched(s, 3, |s, x, n| adaptive(s, x, n, ReduceFn::Mean))
    }),
    row("adaptive_max_pool1d.default", "self output_size", |s| adaptive_max(s, 1)),
    row("adaptive_max_pool2d.default", "self output_size", |s| adaptive_max(s, 2)),
    row("adaptive_max_pool3d.default", "self output_size", |s| adaptive_max(s, 3)),
];

type Pool = fn(&mut Site<'_, '_>, ValueId, usize) -> Outputs;

/// A sample without the axis of samples gets one of extent 1.
fn batched(s: &mut Site, axes: usize, pool: Pool) -> Outputs {
    let x = s.tensor("self")?;
    match s.rank(x).checked_sub(axes) {
        Some(2) => pool(s, x, axes),
        Some(1) => {
            let x = s.unsqueeze(x, &[0])?;
            pool(s, x, axes)?.into_iter().map(|y| s.squeeze(y, &[0])).collect()
        }
        _ => invalid(format!("{} has not {axes} spatial axes", s.ty(x))),
    }
}

/// The window of a node, and how far it reaches beyond the padding at each axis's end.
fn window(s: &Site, x: ValueId, axes: usize) -> Result<(Window, Vec<usize>), Stop> {
    let kernel = s.per_axis("kernel_size", axes)?;
    let strides = if s.ints("stride")?.is_empty() { kernel.clone() } else { s.per_axis("stride", axes)? };
    let pads = s.per_axis("padding", axes)?;
    let dilations = if s.has("dilation") { s.per_axis("dilation", axes)? } else { vec![1; axes] };
    let window = Window { kernel, strides, pads_begin: pads.clone(), pads_end: pads, dilations };
    let extents = spatial(s, x)?;
    let beyond = if s.flag("ceil_mode")? { beyond(&extents, &window)? } else { vec![0; axes] };
    Ok((window, beyond))
}

fn max_pool(s: &mut Site, x: ValueId, axes: usize) -> Outputs {
    let (Window { kernel, strides, pads_begin, pads_end, dilations }, beyond) = window(s, x, axes)?;
    let pads_end = extended(pads_end, &beyond);
    Ok(vec![s.one(Op::Pool { function: PoolFn::Max, kernel, strides, pads_begin, pads_end, dilations }, &[x])?])
}

/// PyTorch counts positions within one sample's channel, the op over the whole operand.
fn max_pool_indices(s: &mut Site, x: ValueId, axes: usize) -> Outputs {
    let (Window { kernel, strides, pads_begin, pads_end, dilations }, beyond) = window(s, x, axes)?;
    let pads_end = extended(pads_end, &beyond);
    let op = Op::MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, column_major: false };
    let results = s.apply(op, &[x])?;
    let image: usize = spatial(s, x)?.iter().product();
    let image = s.scalar(super::super::site::Number::Int(image as i64), DType::I64);
    Ok(vec![results[0], s.binary(PointFn::Rem, results[1], image)?])
}

fn average_pool(s: &mut Site, x: ValueId, axes: usize) -> Outputs {
    let (window, beyond) = window(s, x, axes)?;
    let Some(divisor) = s.int_opt("divisor_override")? else {
        let count_padding = s.flag("count_include_pad")?;
        return Ok(vec![average(s, x, window, &beyond, count_padding)?]);
    };
    if divisor == 0 {
        return invalid("divisor_override is zero");
    }
    if !s.dtype(x).is_float() {
        // Sums are found from means of `f64`, which rounding repairs; quotients are truncated.
        let own = s.dtype(x);
        let wide = s.cast(x, DType::F64)?;
        let sum = summed(s, wide, window, &beyond)?;
        let sum = s.unary(PointFn::Round, sum)?;
        let y = s.with_number(PointFn::Div, sum, divisor as f64)?;
        return Ok(vec![s.cast(y, own)?]);
    }
    let sum = summed(s, x, window, &beyond)?;
    Ok(vec![s.with_number(PointFn::Div, sum, divisor as f64)?])
}

/// The sum over windows: the mean in which everything counts, times the size of the window.
fn summed(s: &mut Site, x: ValueId, window: Window, beyond: &[usize]) -> Result<ValueId, Stop> {
    let size: f64 = window.kernel.iter().map(|&extent| extent as f64).product();
    let pads_end = extended(window.pads_end, beyond);
    let Window { kernel, strides, pads_begin, dilations, .. } = window;
    let function = PoolFn::Average { count_padding: true };
    let mean = s.one(Op::Pool { function, kernel, strides, pads_begin, pads_end, dilations }, &[x])?;
    s.with_number(PointFn::Mul, mean, size)
}

/// Cell `i` of an axis of `n` cells covers `floor(i e / n)` to `ceil((i + 1) e / n)` of `e` elements.
fn cell(i: usize, extent: usize, cells: usize) -> (usize, usize) {
    (i * extent / cells, ((i + 1) * extent).div_ceil(cells))
}

/// Extents of the result; `None` keeps that of the operand.
fn output_size(s: &Site, extents: &[usize]) -> Result<Vec<usize>, Stop> {
    let sizes = s.per_axis("output_size", extents.len())?;
    match sizes.iter().all(|&cells| cells <= 4096) {
        true => Ok(sizes),
        false => unsupported(format!("{sizes:?} cells")),
    }
}

fn adaptive(s: &mut Site, x: ValueId, axes: usize, function: ReduceFn) -> Outputs {
    let extents = spatial(s, x)?;
    let cells = output_size(s, &extents)?;
    if cells.iter().all(|&cells| cells == 1) {
        let over: Vec<usize> = (2..axes + 2).collect();
        return Ok(vec![s.reduce(function, x, &over, true)?]);
    }
    let even = |(&extent, &cells): (&usize, &usize)| cells > 0 && extent >= cells && extent % cells == 0;
    if extents.iter().zip(&cells).all(even) {
        let kernel: Vec<usize> = extents.iter().zip(&cells).map(|(extent, cells)| extent / cells).collect();
        let none = vec![0; axes];
        let function = match function {
            ReduceFn::Max => PoolFn::Max,
            _ => PoolFn::Average { count_padding: false },
        };
        let op = Op::Pool {
            function,
            strides: kernel.clone(),
            kernel,
            pads_begin: none.clone(),
            pads_end: none,
            dilations: vec![1; axes],
        };
        return Ok(vec![s.one(op, &[x])?]);
    }
    // Cells of several sizes are products of intervals, so the axes go one after the other.
    let mut y = x;
    for (axis, (&extent, &cells)) in extents.iter().zip(&cells).enumerate() {
        if extent == 0 || cells == 0 {
            return unsupported("cells without elements");
        }
        if extent == cells {
            continue;
        }
        let mut parts = Vec::with_capacity(cells);
        for i in 0..cells {
            let (start, end) = cell(i, extent, cells);
            let part = s.slice(y, axis + 2, start, end)?;
            parts.push(s.reduce(function, part, &[axis + 2], true)?);
        }
        y = s.concat(&parts, axis + 2)?;
    }
    Ok(vec![y])
}

fn adaptive_max(s: &mut Site, axes: usize) -> Outputs {
    let x = s.tensor("self")?;
    let extents: Vec<usize> = s.shape(x).into_iter().rev().take(axes).rev().collect();
    let cells = output_size(s, &extents)?;
    let named = s.node.outputs.len();
    let y = batched(s, axes, |s, x, n| adaptive(s, x, n, ReduceFn::Max))?[0];
    if named < 2 {
        return Ok(vec![y]);
    }
    // Positions within a channel: of each cell's rows laid out one after the other, counted back into the image.
    let rank = s.rank(x);
    let outer: Vec<usize> = s.shape(x)[..rank - axes].to_vec();
    let count: usize = cells.iter().product();
    if count > 4096 {
        return unsupported(format!("positions in {count} cells"));
    }
    let image: usize = extents.iter().product();
    let counting: Vec<i64> = (0..image as i64).collect();
    let places = s.int_constant(&extents, &counting)?;
    let mut found = Vec::with_capacity(count);
    for at in 0..count {
        let (mut rest, mut region, mut named) = (at, x, places);
        for axis in (0..axes).rev() {
            let (start, end) = cell(rest % cells[axis], extents[axis], cells[axis]);
            rest /= cells[axis];
            region = s.slice(region, rank - axes + axis, start, end)?;
            named = s.slice(named, axis, start, end)?;
        }
        let size: usize = s.shape(region)[rank - axes..].iter().product();
        let flat = s.reshape(region, &[outer.as_slice(), &[size]].concat())?;
        let axis = outer.len();
        let best = s.one(Op::ArgReduce { largest: true, axis, keepdim: true, last: false }, &[flat])?;
        let names = s.reshape(named, &[size])?;
        found.push(s.one(Op::Gather { axis: 0 }, &[names, best])?);
    }
    let places = s.concat(&found, outer.len())?;
    let shape = [outer.as_slice(), &cells].concat();
    Ok(vec![y, s.reshape(places, &shape)?])
}

/// Elements put back at the positions within their channel that pooling gave; zeros elsewhere.
fn unpool(s: &mut Site, axes: usize) -> Outputs {
    let (x, indices) = (s.tensor("self")?, s.tensor("indices")?);
    let extents = s.per_axis("output_size", axes)?;
    let shape = s.shape(x);
    let Some(outer) = shape.len().checked_sub(axes).filter(|&outer| outer > 0 && shape == s.shape(indices)) else {
        return invalid(format!("{} at positions {}", s.ty(x), s.ty(indices)));
    };
    let rows: usize = shape[..outer].iter().product();
    let count: usize = shape[outer..].iter().product();
    let image = extents.iter().try_fold(1usize, |image, &extent| image.checked_mul(extent));
    let Some(image) = image else { return invalid(format!("an image of {extents:?}")) };
    let (x, indices) = (s.reshape(x, &[rows, count])?, s.reshape(indices, &[rows, count])?);
    let empty = s.fresh(s.dtype(x), &[rows, image], super::super::site::Number::Int(0))?;
    let function = crate::ops::ScatterFn::Assign;
    let y = s.one(Op::ScatterElements { axis: 1, function }, &[empty, indices, x])?;
    Ok(vec![s.reshape(y, &[&shape[..outer], &extents].concat())?])
}
