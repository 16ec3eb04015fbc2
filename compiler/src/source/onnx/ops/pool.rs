//! Pooling.

use super::super::site::{Outputs, Site, Stop, Words, invalid, unsupported};
use super::convolution::window;
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, PoolFn, ReduceFn, Window};
use crate::source::windows::{average, beyond, extended, spatial};

pub const ROWS: &[Row] = &[
    row_of("MaxPool", 1, max_pool),
    row_of("AveragePool", 1, average_pool),
    row_of("LpPool", 2, lp_pool),
    row_of("GlobalMaxPool", 1, |s| global(s, ReduceFn::Max)),
    row_of("GlobalAveragePool", 1, |s| global(s, ReduceFn::Mean)),
    row_of("GlobalLpPool", 2, global_lp_pool),
];

/// The window of a node, and how far `ceil_mode` lets it reach beyond the padding at each axis's end.
fn pool_window(s: &Site, x: ValueId) -> Result<(Window, Vec<usize>), Stop> {
    let extents = spatial(s, x)?;
    let Some(kernel) = s.sizes("kernel_shape")? else { return invalid("attribute kernel_shape is missing") };
    let window = window(s, &extents, kernel)?;
    let beyond = if s.flag("ceil_mode", false)? { beyond(&extents, &window)? } else { vec![0; extents.len()] };
    Ok((window, beyond))
}

fn max_pool(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let (Window { kernel, strides, pads_begin, pads_end, dilations }, beyond) = pool_window(s, x)?;
    let pads_end = extended(pads_end, &beyond);
    if s.wants(1) {
        let column_major = s.flag("storage_order", false)?;
        return s.apply(Op::MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, column_major }, &[x]);
    }
    let op = Op::Pool { function: PoolFn::Max, kernel, strides, pads_begin, pads_end, dilations };
    Ok(vec![s.one(op, &[x])?])
}

fn average_pool(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let (window, beyond) = pool_window(s, x)?;
    let count_padding = s.flag("count_include_pad", false)?;
    Ok(vec![average(s, x, window, &beyond, count_padding)?])
}

/// The exponent of a norm, at least 1.
fn exponent(s: &Site) -> Result<f64, Stop> {
    match s.int("p", 2)? {
        p @ 1.. => Ok(p as f64),
        p => invalid(format!("a norm has an exponent of at least 1, found {p}")),
    }
}

/// `|x|^p`.
fn powered(s: &mut Site, x: ValueId, p: f64) -> Result<ValueId, Stop> {
    if p == 2.0 {
        return s.mul(x, x);
    }
    let magnitude = s.unary(PointFn::Abs, x)?;
    if p == 1.0 { Ok(magnitude) } else { s.with_number(PointFn::Pow, magnitude, p) }
}

fn root(s: &mut Site, x: ValueId, p: f64) -> Result<ValueId, Stop> {
    if p == 1.0 {
        Ok(x)
    } else if p == 2.0 {
        s.unary(PointFn::Sqrt, x)
    } else {
        s.with_number(PointFn::Pow, x, 1.0 / p)
    }
}

/// A sum over windows is their mean, padding counted, times their size.
fn lp_pool(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let p = exponent(s)?;
    let (Window { kernel, strides, pads_begin, pads_end, dilations }, beyond) = pool_window(s, x)?;
    let pads_end = extended(pads_end, &beyond);
    let size: f64 = kernel.iter().map(|&extent| extent as f64).product();
    let powers = powered(s, x, p)?;
    let function = PoolFn::Average { count_padding: true };
    let mean = s.one(Op::Pool { function, kernel, strides, pads_begin, pads_end, dilations }, &[powers])?;
    let sum = s.with_number(PointFn::Mul, mean, size)?;
    Ok(vec![root(s, sum, p)?])
}

fn spatial_axes(s: &Site, x: ValueId) -> Result<Vec<usize>, Stop> {
    let rank = s.rank(x);
    if rank < 2 { unsupported(format!("pooling over {}", s.ty(x))) } else { Ok((2..rank).collect()) }
}

fn global(s: &mut Site, function: ReduceFn) -> Outputs {
    let x = s.input(0)?;
    let axes = spatial_axes(s, x)?;
    Ok(vec![s.reduce(function, x, &axes, true)?])
}

fn global_lp_pool(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let p = exponent(s)?;
    let axes = spatial_axes(s, x)?;
    let powers = powered(s, x, p)?;
    let sum = s.reduce(ReduceFn::Sum, powers, &axes, true)?;
    Ok(vec![root(s, sum, p)?])
}
