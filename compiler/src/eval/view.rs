//! Views of dense tensors as layouts.

use crate::ops::Op;
use crate::types::{Layout, TensorType, dense_strides};

/// Where the results of a view of a dense tensor of type `x` lie in it; `None` for ops that are no views.
pub fn layouts(op: &Op, x: &TensorType, results: &[TensorType]) -> Option<Vec<Layout>> {
    let strides = dense_strides(&x.shape);
    let one = |offset: i64, strides: Vec<i64>| Some(vec![Layout { offset, shape: results[0].shape.clone(), strides }]);
    match op {
        // A dense operand takes any shape in place.
        Op::View { .. } | Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
            Some(vec![Layout::dense(&results[0].shape)])
        }
        Op::Permute { axes } => one(0, axes.iter().map(|&axis| strides[axis]).collect()),
        Op::Slice { axis, start, step, .. } => {
            let mut stepped = strides;
            let offset = start * stepped[*axis];
            stepped[*axis] *= step;
            one(if results[0].is_empty() { 0 } else { offset }, stepped)
        }
        Op::Select { axis, index } => {
            let mut rest = strides;
            let stride = rest.remove(*axis);
            one(*index as i64 * stride, rest)
        }
        Op::Unfold { axis, step, .. } => {
            let mut windows = strides;
            windows.push(windows[*axis]);
            windows[*axis] *= i64::try_from(*step).unwrap_or(i64::MAX).min(x.shape[*axis].max(1) as i64);
            one(0, windows)
        }
        Op::Diagonal { offset, axis1, axis2 } => {
            let start = if *offset < 0 { -offset * strides[*axis1] } else { offset * strides[*axis2] };
            let both = strides[*axis1] + strides[*axis2];
            let kept = (0..strides.len()).filter(|axis| axis != axis1 && axis != axis2).map(|axis| strides[axis]);
            one(if results[0].is_empty() { 0 } else { start }, kept.chain([both]).collect())
        }
        Op::Strided { strides, offset, .. } => one(*offset as i64, strides.clone()),
        Op::Expand { shape } => Some(vec![broadcast(&x.shape, shape)]),
        Op::Split { axis, .. } => {
            let mut start = 0i64;
            let part = |result: &TensorType| {
                let offset = start * strides[*axis];
                start += result.shape[*axis] as i64;
                Layout { offset, shape: result.shape.clone(), strides: strides.clone() }
            };
            Some(results.iter().map(part).collect())
        }
        _ => None,
    }
}

/// A dense tensor of shape `from` read over `to`, which it broadcasts to.
pub fn broadcast(from: &[usize], to: &[usize]) -> Layout {
    let dense = dense_strides(from);
    let lead = to.len() - from.len();
    let strides =
        (0..to.len()).map(|axis| if axis < lead || from[axis - lead] == 1 { 0 } else { dense[axis - lead] }).collect();
    Layout { offset: 0, shape: to.to_vec(), strides }
}
