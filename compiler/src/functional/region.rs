//! Regions as view ops: how a layout or a box of a storage is read and written by ops that know no strides.

use crate::alias::view::BoxMap;
use crate::ops::Op;
use crate::strides::in_units;
use crate::strides::progression::Progression;
use crate::types::{DType, Layout, TensorType};

/// The order of axes in which a layout lies in its storage, outermost first; `None` if that is their own.
pub fn storage_order(layout: &Layout) -> Option<Vec<usize>> {
    if layout.is_empty() || layout.is_dense() {
        return None;
    }
    let mut order: Vec<usize> = (0..layout.rank()).collect();
    order.sort_by_key(|&axis| std::cmp::Reverse(if layout.shape[axis] == 1 { 0 } else { layout.strides[axis].abs() }));
    let own = order.iter().enumerate().all(|(place, &axis)| place == axis);
    (!own).then_some(order)
}

/// The permutation that undoes `axes`.
pub fn inverse(axes: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; axes.len()];
    for (place, &axis) in axes.iter().enumerate() {
        inverse[axis] = place;
    }
    inverse
}

/// Ops that turn a value laid out as `layout` into the storage of shape `base`, whose elements it covers exactly once;
/// `None` if it does not.
pub fn cover(layout: &Layout, base: &[usize]) -> Option<Vec<Op>> {
    let elements: usize = base.iter().product();
    let covers = layout.len() == elements && layout.offset == 0 && layout.is_injective();
    let rises = layout.shape.iter().zip(&layout.strides).all(|(&extent, &stride)| extent == 1 || stride > 0);
    if !covers || !rises {
        return None;
    }
    let mut ops = Vec::new();
    let mut shape = layout.shape.clone();
    if let Some(order) = storage_order(layout) {
        shape = order.iter().map(|&axis| layout.shape[axis]).collect();
        ops.push(Op::Permute { axes: order });
    }
    if shape != base {
        ops.push(Op::Reshape { shape: base.to_vec() });
    }
    Some(ops)
}

/// A write of one dtype as a write of the storage: what the base and the value become before the region is replaced, and what
/// makes the result the storage again. Sizes are powers of two, so the smaller element always divides the larger one.
pub struct Rewritten {
    pub base: Vec<Op>,
    pub value: Vec<Op>,
    /// In elements of the smaller dtype.
    pub layout: Layout,
    /// Shape of the base that is written.
    pub shape: Vec<usize>,
    pub back: Vec<Op>,
}

/// A write through `layout`, in elements of `seen`, into the storage `stored`; `None` where a number does not fit.
pub fn rewritten(layout: &Layout, seen: DType, stored: &TensorType) -> Option<Rewritten> {
    let (from, to) = (seen.size(), stored.dtype.size());
    let whole = stored.shape.clone();
    let none = Vec::new;
    Some(if from < to {
        let elements = stored.len();
        Rewritten {
            base: vec![Op::Reshape { shape: vec![elements] }, Op::Bitcast { to: seen }],
            value: none(),
            layout: layout.clone(),
            shape: vec![elements * (to / from)],
            back: vec![Op::Bitcast { to: stored.dtype }, Op::Reshape { shape: whole }],
        }
    } else {
        let cast = Op::Bitcast { to: stored.dtype };
        let value = match (seen == stored.dtype, from == to) {
            (true, _) => none(),
            (false, true) => vec![cast],
            (false, false) => vec![Op::Unsqueeze { axes: vec![layout.rank()] }, cast],
        };
        Rewritten { base: none(), value, layout: in_units(layout, from, to)?, shape: whole, back: none() }
    })
}

/// Ops that turn a root's own value into its storage, row-major, in elements of `to`. Bytes at the end that are no whole
/// element are left out.
pub fn storage_as(root: &Layout, ty: &TensorType, to: DType) -> Vec<Op> {
    let mut ops = Vec::new();
    if let Some(order) = storage_order(root) {
        ops.push(Op::Permute { axes: order });
    }
    if ty.dtype != to {
        let elements = ty.len();
        ops.push(Op::Reshape { shape: vec![elements] });
        let ratio = (to.size() / ty.dtype.size()).max(1);
        if !elements.is_multiple_of(ratio) {
            ops.push(Op::Slice { axis: 0, start: 0, end: (elements - elements % ratio) as i64, step: 1 });
        }
        ops.push(Op::Bitcast { to });
    }
    ops
}

/// The positions of a layout in row-major order of its indices, as the bytes of `i64` numbers.
pub fn positions(layout: &Layout) -> Vec<u8> {
    let mut positions = vec![layout.offset];
    for (&extent, &stride) in layout.shape.iter().zip(&layout.strides) {
        positions = positions.iter().flat_map(|&at| (0..extent as i64).map(move |i| at + i * stride)).collect();
    }
    positions.iter().flat_map(|at| at.to_le_bytes()).collect()
}

/// Ops that read a box of a root of shape `shape`: slices, then the view's own order and number of axes.
pub fn extract(map: &BoxMap, shape: &[usize]) -> Vec<Op> {
    let mut ops = Vec::new();
    for (axis, &taken) in map.axes.iter().enumerate() {
        if taken != Progression::all(shape[axis]) {
            ops.push(slice(axis, taken));
        }
    }
    // Axes of the root that the view runs over, in its order; the others have one index and go.
    let kept: Vec<usize> = map.view.iter().filter_map(|&(_, root)| root).collect();
    let dropped: Vec<usize> = (0..shape.len()).filter(|axis| !kept.contains(axis)).collect();
    if !dropped.is_empty() {
        ops.push(Op::Squeeze { axes: dropped });
    }
    let mut sorted = kept.clone();
    sorted.sort_unstable();
    let axes: Vec<usize> = kept.iter().map(|axis| sorted.partition_point(|other| other < axis)).collect();
    if axes != sorted.iter().enumerate().map(|(place, _)| place).collect::<Vec<_>>() {
        ops.push(Op::Permute { axes });
    }
    let new: Vec<usize> = (0..map.view.len()).filter(|&axis| map.view[axis].1.is_none()).collect();
    if !new.is_empty() {
        let expands = new.iter().any(|&axis| map.view[axis].0 != 1);
        ops.push(Op::Unsqueeze { axes: new });
        if expands {
            ops.push(Op::Expand { shape: map.view.iter().map(|axis| axis.0).collect() });
        }
    }
    ops
}

/// The `slice` that takes a progression of an axis.
fn slice(axis: usize, taken: Progression) -> Op {
    if taken.len == 0 {
        return Op::Slice { axis, start: 0, end: 0, step: 1 };
    }
    let last = taken.start + taken.step * (taken.len as i64 - 1);
    let (end, step) = match (taken.len, taken.step) {
        (1, _) => (last + 1, 1),
        (_, step) if step < 0 => (last - 1, step),
        (_, step) => (last + 1, step),
    };
    Op::Slice { axis, start: taken.start, end, step }
}
