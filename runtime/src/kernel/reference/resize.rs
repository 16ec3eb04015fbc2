//! Resizing, as the sum over the product of the taps of every axis, outermost axis first.

use super::Memory;
use crate::kernel::domain::for_each_index;
use crate::kernel::element::number_bits;
use crate::kernel::{NearestFn, ResizeAxis, ResizeFn};
use crate::types::MAX_RANK;

/// The source coordinate of output position `output` (ONNX's `x_original`).
fn coordinate(axis: &ResizeAxis, output: usize) -> f64 {
    let [offset, numerator, denominator, shift] =
        [axis.offset, axis.numerator, axis.denominator, axis.shift].map(f64::from_bits);
    (output as f64 + offset) * numerator / denominator + shift
}

/// Weight of a tap at distance `d` from the source coordinate.
fn filter(function: ResizeFn, d: f64) -> f64 {
    let d = d.abs();
    match function {
        ResizeFn::Cubic { a, .. } => {
            let a = f64::from_bits(a);
            if d <= 1.0 {
                ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
            } else if d < 2.0 {
                ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
            } else {
                0.0
            }
        }
        _ => (1.0 - d).max(0.0),
    }
}

/// Calls `visit` with source position and weight of every tap of output position `output` along one axis.
fn for_each_tap(
    function: ResizeFn,
    axis: &ResizeAxis,
    output: usize,
    extent: usize,
    visit: &mut dyn FnMut(usize, f64),
) {
    let (x, last) = (coordinate(axis, output), extent as i64 - 1);
    if let ResizeFn::Nearest(rounding) = function {
        let rounded = match rounding {
            NearestFn::RoundPreferFloor => (x - 0.5).ceil(),
            NearestFn::RoundPreferCeil => (x + 0.5).floor(),
            NearestFn::Floor => x.floor(),
            NearestFn::Ceil => x.ceil(),
        };
        return visit((rounded as i64).clamp(0, last) as usize, 1.0);
    }
    let support = f64::from_bits(axis.support).max(1.0);
    let (radius, exclude_outside) = match function {
        ResizeFn::Cubic { exclude_outside, .. } => (2.0, exclude_outside),
        ResizeFn::Linear { exclude_outside } => (1.0, exclude_outside),
        ResizeFn::Nearest(_) => (0.0, false),
    };
    let reach = (radius * support).ceil() as i64;
    let middle = x.floor() as i64;
    let taps = middle.saturating_sub(reach - 1)..=middle.saturating_add(reach);
    let weight = |tap: i64| {
        let outside = exclude_outside && (tap < 0 || tap > last);
        if outside { 0.0 } else { filter(function, (tap as f64 - x) / support) }
    };
    let sum: f64 = if support > 1.0 || exclude_outside { taps.clone().map(weight).sum() } else { 1.0 };
    let sum = if sum == 0.0 { 1.0 } else { sum };
    for tap in taps {
        visit(tap.clamp(0, last) as usize, weight(tap) / sum);
    }
}

/// The weighted sum over the axes from `depth` on, of the element whose earlier coordinates `source` holds.
fn blend(
    memory: &Memory,
    function: ResizeFn,
    axes: &[ResizeAxis],
    output: &[usize],
    source: &mut [usize; MAX_RANK],
    depth: usize,
) -> f64 {
    if depth == axes.len() {
        return memory.number(0, &source[..depth]);
    }
    let extent = memory.read_shape(0)[depth];
    let mut sum = 0.0;
    for_each_tap(function, &axes[depth], output[depth], extent, &mut |tap, weight| {
        // A tap of no weight must not bring in an infinity.
        if weight != 0.0 {
            source[depth] = tap;
            sum += weight * blend(memory, function, axes, output, source, depth + 1);
        }
    });
    sum
}

pub(super) fn resize(memory: &mut Memory, function: ResizeFn, axes: &[ResizeAxis], extrapolation: Option<f64>) {
    let (shape, dtype) = (memory.read_shape(0), memory.write_dtype(0));
    for_each_index(memory.write_shape(0), |index| {
        let outside = (0..axes.len()).any(|axis| {
            let x = coordinate(&axes[axis], index[axis]);
            x < 0.0 || x > shape[axis] as f64 - 1.0
        });
        let mut source = [0usize; MAX_RANK];
        let bits = match (extrapolation, function) {
            (Some(value), _) if outside => number_bits(dtype, value),
            (_, ResizeFn::Nearest(_)) => {
                for (axis, place) in source[..axes.len()].iter_mut().enumerate() {
                    for_each_tap(function, &axes[axis], index[axis], shape[axis], &mut |tap, _| *place = tap);
                }
                memory.read(0, &source[..axes.len()])
            }
            _ => number_bits(dtype, blend(memory, function, axes, index, &mut source, 0)),
        };
        memory.write(0, index, bits);
    });
}
