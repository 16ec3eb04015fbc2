//! View ops on layouts: where the elements of a view lie, without moving them.

use crate::ops::Op;
use crate::types::{DType, Layout, dense_strides};

/// The layouts of the results of a view op on an operand of `dtype` at `layout`, in elements of their own dtypes; `None`
/// where the elements cannot be reached with one stride an axis, so that a copy is needed. Attributes were verified with
/// the graph.
pub fn apply(op: &Op, layout: &Layout, dtype: DType) -> Option<Vec<Layout>> {
    Some(match op {
        Op::Unfold { axis, size, step } => vec![unfold(layout, *axis, *size, *step)],
        Op::Diagonal { offset, axis1, axis2 } => vec![diagonal(layout, *offset, *axis1, *axis2)],
        Op::Strided { shape, strides, offset } => vec![strided(layout, shape, strides, *offset)?],
        Op::ViewDtype { to } | Op::Bitcast { to } => vec![reinterpret(layout, dtype.size(), to.size())?],
        Op::View { shape } | Op::Reshape { shape } => vec![reshape(layout, shape)?],
        Op::Permute { axes } => vec![permute(layout, axes)],
        Op::Slice { axis, start, end, step } => vec![slice(layout, *axis, *start, *end, *step)],
        Op::Select { axis, index } => {
            let mut result = layout.clone();
            result.offset += layout.strides[*axis] * *index as i64;
            result.shape.remove(*axis);
            result.strides.remove(*axis);
            vec![result]
        }
        Op::Expand { shape } => vec![broadcast(layout, shape)],
        Op::Squeeze { axes } => {
            let keep: Vec<usize> = (0..layout.rank()).filter(|axis| !axes.contains(axis)).collect();
            vec![Layout {
                offset: layout.offset,
                shape: keep.iter().map(|&axis| layout.shape[axis]).collect(),
                strides: keep.iter().map(|&axis| layout.strides[axis]).collect(),
            }]
        }
        Op::Unsqueeze { axes } => vec![unsqueeze(layout, axes)],
        Op::Split { axis, sizes } => {
            let mut start = 0i64;
            sizes
                .iter()
                .map(|&size| {
                    let part = slice(layout, *axis, start, start + size as i64, 1);
                    start += size as i64;
                    part
                })
                .collect()
        }
        _ => return None,
    })
}

pub fn permute(layout: &Layout, axes: &[usize]) -> Layout {
    Layout {
        offset: layout.offset,
        shape: axes.iter().map(|&axis| layout.shape[axis]).collect(),
        strides: axes.iter().map(|&axis| layout.strides[axis]).collect(),
    }
}

fn slice(layout: &Layout, axis: usize, start: i64, end: i64, step: i64) -> Layout {
    let mut result = layout.clone();
    let len = crate::ops::shape::slice_len(layout.shape[axis], start, end, step)
        .expect("the slice was verified with the graph");
    result.shape[axis] = len;
    if len > 0 {
        result.offset += layout.strides[axis] * start;
    }
    result.strides[axis] = layout.strides[axis] * step;
    result
}

/// Windows along an axis: the axis steps from window to window, the new last axis inside one.
pub fn unfold(layout: &Layout, axis: usize, size: usize, step: usize) -> Layout {
    let mut result = layout.clone();
    let stride = layout.strides[axis];
    result.shape[axis] = (layout.shape[axis] - size) / step + 1;
    // A single window is never stepped over, however long the step.
    result.strides[axis] = if result.shape[axis] > 1 { stride * step as i64 } else { stride };
    result.shape.push(size);
    result.strides.push(stride);
    result
}

/// Along the diagonal both axes step at once.
pub fn diagonal(layout: &Layout, offset: i64, axis1: usize, axis2: usize) -> Layout {
    let len = crate::ops::shape::diagonal_len(layout.shape[axis1], layout.shape[axis2], offset);
    let (down, across) = (layout.strides[axis1], layout.strides[axis2]);
    let kept: Vec<usize> = (0..layout.rank()).filter(|&axis| axis != axis1 && axis != axis2).collect();
    let start = match len {
        0 => 0,
        _ if offset >= 0 => offset * across,
        _ => -offset * down,
    };
    Layout {
        offset: layout.offset + start,
        shape: kept.iter().map(|&axis| layout.shape[axis]).chain([len]).collect(),
        strides: kept.iter().map(|&axis| layout.strides[axis]).chain([down + across]).collect(),
    }
}

/// A strided region of the row-major elements of `layout`, where those lie in one run.
pub fn strided(layout: &Layout, shape: &[usize], strides: &[i64], offset: usize) -> Option<Layout> {
    let run = reshape(layout, &[layout.len()])?;
    let step = if run.is_empty() { 1 } else { run.strides[0] };
    let strides = strides.iter().map(|stride| stride.checked_mul(step)).collect::<Option<Vec<i64>>>()?;
    let offset = i64::try_from(offset).ok()?.checked_mul(step)?.checked_add(run.offset)?;
    Some(Layout { offset, shape: shape.to_vec(), strides })
}

/// The bytes of the last axis in elements of `to` bytes instead of `from`: PyTorch's rules for `view(dtype)`, apart from a
/// last axis of extent 1, whose stride does not matter.
pub fn reinterpret(layout: &Layout, from: usize, to: usize) -> Option<Layout> {
    if from == to {
        return Some(layout.clone());
    }
    let mut result = layout.clone();
    let last = layout.rank().checked_sub(1)?;
    if layout.is_empty() {
        result.offset = 0;
        result.shape[last] = layout.shape[last] * from / to;
        result.strides = dense_strides(&result.shape);
        return Some(result);
    }
    if layout.shape[last] != 1 && layout.strides[last] != 1 {
        return None;
    }
    let scale = |number: i64| match from > to {
        true => number.checked_mul((from / to) as i64),
        false => (number % (to / from) as i64 == 0).then_some(number / (to / from) as i64),
    };
    result.offset = scale(layout.offset)?;
    for (axis, stride) in result.strides.iter_mut().enumerate() {
        // An axis of one index is never stepped along.
        *stride = match layout.shape[axis] {
            _ if axis == last => 1,
            1 => 0,
            _ => scale(*stride)?,
        };
    }
    result.shape[last] = layout.shape[last] * from / to;
    Some(result)
}

/// Gives axes of extent 1 the stride 0, so that equal accesses have equal layouts.
pub fn canonicalise(layout: &mut Layout) {
    for (extent, stride) in layout.shape.iter().zip(&mut layout.strides) {
        if *extent == 1 {
            *stride = 0;
        }
    }
}

/// Inserts axes of extent 1 at the given places of the result.
pub fn unsqueeze(layout: &Layout, axes: &[usize]) -> Layout {
    let rank = layout.rank() + axes.len();
    let mut rest = layout.shape.iter().zip(&layout.strides);
    let mut result =
        Layout { offset: layout.offset, shape: Vec::with_capacity(rank), strides: Vec::with_capacity(rank) };
    for axis in 0..rank {
        let (extent, stride) = if axes.contains(&axis) {
            (1, 0)
        } else {
            rest.next().map_or((1, 0), |(&extent, &stride)| (extent, stride))
        };
        result.shape.push(extent);
        result.strides.push(stride);
    }
    result
}

/// `layout` read over `shape`, aligned from the right, with stride 0 where it repeats.
pub fn broadcast(layout: &Layout, shape: &[usize]) -> Layout {
    let lead = shape.len() - layout.rank();
    let strides = (0..shape.len())
        .map(|axis| match axis.checked_sub(lead) {
            Some(own) if layout.shape[own] == shape[axis] && shape[axis] != 1 => layout.strides[own],
            _ => 0,
        })
        .collect();
    Layout { offset: layout.offset, shape: shape.to_vec(), strides }
}

/// The same elements in row-major order under `shape`, if one stride an axis reaches them: axes are merged into runs
/// whose strides compose, and each run must be cut by `shape` without remainder.
pub fn reshape(layout: &Layout, shape: &[usize]) -> Option<Layout> {
    if layout.is_empty() {
        return Some(Layout { offset: layout.offset, shape: shape.to_vec(), strides: dense_strides(shape) });
    }
    let old: Vec<(usize, i64)> =
        layout.shape.iter().zip(&layout.strides).filter(|(extent, _)| **extent != 1).map(|(&e, &s)| (e, s)).collect();
    let mut strides = vec![0i64; shape.len()];
    let (mut i, mut j) = (0, 0);
    while j < shape.len() {
        if shape[j] == 1 {
            j += 1;
            continue;
        }
        // The least group of old axes and of new axes with equal products.
        let (from, to) = (i, j);
        let (mut have, mut want) = (old.get(i)?.0, shape[j]);
        i += 1;
        j += 1;
        while have != want {
            if have < want {
                have *= old.get(i)?.0;
                i += 1;
            } else {
                want *= shape.get(j)?;
                j += 1;
            }
        }
        for pair in old[from..i].windows(2) {
            if pair[0].1 != pair[1].1 * pair[1].0 as i64 {
                return None;
            }
        }
        let mut stride = old[i - 1].1;
        for axis in (to..j).rev() {
            strides[axis] = stride;
            stride *= shape[axis] as i64;
        }
    }
    Some(Layout { offset: layout.offset, shape: shape.to_vec(), strides })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshape_of_dense_and_of_slices() {
        let dense = Layout::dense(&[2, 3, 4]);
        assert_eq!(reshape(&dense, &[6, 4]), Some(Layout::dense(&[6, 4])));
        assert_eq!(reshape(&dense, &[2, 1, 12]).map(|l| l.strides), Some(vec![12, 0, 1]));
        let columns = Layout { offset: 1, shape: vec![3, 2], strides: vec![4, 1] };
        assert_eq!(reshape(&columns, &[6]), None);
        assert_eq!(reshape(&columns, &[3, 1, 2]).map(|l| (l.offset, l.strides)), Some((1, vec![4, 0, 1])));
        assert_eq!(reshape(&permute(&dense, &[0, 2, 1]), &[2, 12]), None);
    }
}
