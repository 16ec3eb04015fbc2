//! View ops on layouts: where the elements of a view lie, without moving them.

use crate::ops::Op;
use crate::types::{Layout, dense_strides};

/// The layouts of the results of a view op on an operand at `layout`; `None` where the elements cannot be reached with
/// one stride an axis, so that a copy is needed. Attributes were verified with the graph.
pub fn apply(op: &Op, layout: &Layout) -> Option<Vec<Layout>> {
    Some(match op {
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
