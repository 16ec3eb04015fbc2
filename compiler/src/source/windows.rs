//! Windows that slide over spatial axes, as every source of models has them.

use crate::ir::ValueId;
use crate::ops::{Op, PoolFn, Window};
use crate::source::words::{Stop, Words, invalid};

/// Extents of the spatial axes of `[n, c, ..]`.
pub fn spatial(s: &impl Words, x: ValueId) -> Result<Vec<usize>, Stop> {
    match s.shape(x).as_slice() {
        [_, _, spatial @ ..] if !spatial.is_empty() => Ok(spatial.to_vec()),
        _ => invalid(format!("expected [n, c, ..], found {}", s.ty(x))),
    }
}

/// Elements that a window reaches on one axis.
pub fn reach(window: &Window, axis: usize) -> Result<usize, Stop> {
    let steps = window.kernel[axis].checked_sub(1).and_then(|steps| steps.checked_mul(window.dilations[axis]));
    match steps.and_then(|steps| steps.checked_add(1)) {
        Some(reach) => Ok(reach),
        None => invalid(format!("a window {window:?} does not fit")),
    }
}

/// How far the last windows reach beyond the padding at each axis's end where the number of positions is rounded up.
pub fn beyond(extents: &[usize], window: &Window) -> Result<Vec<usize>, Stop> {
    let mut beyond = vec![0; extents.len()];
    for (axis, beyond) in beyond.iter_mut().enumerate() {
        let (stride, reach) = (window.strides[axis], reach(window, axis)?);
        let inside = extents[axis].saturating_add(window.pads_begin[axis]);
        let padded = inside.saturating_add(window.pads_end[axis]);
        if stride == 0 || reach > padded {
            continue;
        }
        let mut last = (padded - reach).div_ceil(stride) * stride;
        // A window that begins in the padding at the end does not count.
        if last >= inside {
            last -= stride;
        }
        *beyond = (last + reach).saturating_sub(padded);
    }
    Ok(beyond)
}

/// Padding at the ends, and what lies beyond it.
pub fn extended(pads_end: Vec<usize>, beyond: &[usize]) -> Vec<usize> {
    pads_end.iter().zip(beyond).map(|(&pad, &more)| pad.saturating_add(more)).collect()
}

/// The mean over windows; padding may count, what lies beyond it never does.
pub fn average(
    s: &mut impl Words,
    mut x: ValueId,
    window: Window,
    beyond: &[usize],
    mut count_padding: bool,
) -> Result<ValueId, Stop> {
    let Window { kernel, strides, mut pads_begin, mut pads_end, dilations } = window;
    if count_padding && beyond.iter().any(|&n| n > 0) {
        // The padding becomes part of the operand.
        let zero = s.number(s.dtype(x), 0.0);
        let before = [&[0, 0], pads_begin.as_slice()].concat();
        let after = [&[0, 0], pads_end.as_slice()].concat();
        x = s.one(Op::Pad { before, after }, &[x, zero])?;
        pads_begin.fill(0);
        pads_end.fill(0);
        count_padding = false;
    }
    let pads_end = extended(pads_end, beyond);
    let function = PoolFn::Average { count_padding };
    s.one(Op::Pool { function, kernel, strides, pads_begin, pads_end, dilations }, &[x])
}
