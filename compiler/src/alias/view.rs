//! View maps: which elements of a storage's value a view has.
//!
//! A [`BoxMap`] is exact and readable: for each axis of the root an arithmetic progression, and for each axis of the view
//! the axis of the root it runs over. Slices, selections, permutations, splits, new and removed axes of extent 1 and
//! expansions keep boxes; `reshape` in general does not, and what is beyond a box is known by its strides alone.

use crate::ir::{Graph, Inst};
use crate::ops::Op;
use crate::strides::progression::Progression;

/// A box in the coordinates of a root value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoxMap {
    /// The indices taken of each axis of the root.
    pub axes: Vec<Progression>,
    /// For each axis of the view its extent, and the root's axis it runs over; `None` for an axis of extent 1 or an
    /// expanded one, along which nothing changes.
    pub view: Vec<(usize, Option<usize>)>,
}

impl BoxMap {
    /// The whole of a value.
    pub fn whole(shape: &[usize]) -> BoxMap {
        BoxMap {
            axes: shape.iter().map(|&extent| Progression::all(extent)).collect(),
            view: shape.iter().enumerate().map(|(axis, &extent)| (extent, Some(axis))).collect(),
        }
    }

    /// The view that takes `inner` of one axis of this view.
    fn restricted(mut self, axis: usize, inner: Progression) -> BoxMap {
        if let (_, Some(root)) = self.view[axis] {
            self.axes[root] = self.axes[root].then(inner);
        }
        self.view[axis].0 = inner.len;
        self
    }

    /// The box of the view's only index on an axis of extent 1, without that axis.
    fn without(mut self, axis: usize) -> BoxMap {
        self.view.remove(axis);
        self
    }

    /// The box that is `inner` of this view, in the coordinates of this view's root.
    pub fn then(&self, inner: &BoxMap) -> BoxMap {
        let mut axes = self.axes.clone();
        for (&(_, root), &taken) in self.view.iter().zip(&inner.axes) {
            if let Some(root) = root {
                axes[root] = axes[root].then(taken);
            }
        }
        let through = |&(extent, axis): &(usize, Option<usize>)| (extent, axis.and_then(|axis| self.view[axis].1));
        BoxMap { axes, view: inner.view.iter().map(through).collect() }
    }

    /// Boxes of a view's results in the coordinates of its operand's root; `None` where the view is no box.
    pub fn through(&self, graph: &Graph, inst: &Inst) -> Option<Vec<BoxMap>> {
        let one = |map: BoxMap| Some(vec![map]);
        match &inst.op {
            Op::Permute { axes } => {
                one(BoxMap { axes: self.axes.clone(), view: axes.iter().map(|&axis| self.view[axis]).collect() })
            }
            Op::Slice { axis, start, step, .. } => {
                let len = graph.ty(inst.results[0]).shape[*axis];
                one(self.clone().restricted(*axis, Progression { start: *start, step: *step, len }))
            }
            Op::Select { axis, index } => {
                let at = Progression { start: *index as i64, step: 1, len: 1 };
                one(self.clone().restricted(*axis, at).without(*axis))
            }
            Op::Expand { shape } => {
                let new = shape.len() - self.view.len();
                let expanded = |(&extent, &(own, root)): (&usize, &(usize, Option<usize>))| {
                    if own == extent { (extent, root) } else { (extent, None) }
                };
                let old = shape[new..].iter().zip(&self.view).map(expanded);
                let view = shape[..new].iter().map(|&extent| (extent, None)).chain(old).collect();
                one(BoxMap { axes: self.axes.clone(), view })
            }
            Op::Squeeze { axes } => {
                let kept = (0..self.view.len()).filter(|axis| !axes.contains(axis));
                one(BoxMap { axes: self.axes.clone(), view: kept.map(|axis| self.view[axis]).collect() })
            }
            Op::Unsqueeze { axes } => {
                let mut rest = self.view.iter();
                let rank = self.view.len() + axes.len();
                let view = (0..rank).map(|axis| match axes.contains(&axis) {
                    true => Some((1, None)),
                    false => rest.next().copied(),
                });
                Some(vec![BoxMap { axes: self.axes.clone(), view: view.collect::<Option<Vec<_>>>()? }])
            }
            Op::Split { axis, sizes } => {
                let mut start = 0;
                let part = |&len: &usize| {
                    let map = self.clone().restricted(*axis, Progression { start, step: 1, len });
                    start += len as i64;
                    map
                };
                Some(sizes.iter().map(part).collect())
            }
            Op::View { shape } | Op::Reshape { shape } => {
                // Axes of extent 1 come and go; anything else is no box.
                let mut wide = self.view.iter().filter(|axis| axis.0 != 1);
                let view = shape.iter().map(|&extent| match extent {
                    1 => Some((1, None)),
                    _ => wide.next().copied().filter(|axis| axis.0 == extent),
                });
                let view = view.collect::<Option<Vec<_>>>()?;
                if wide.next().is_some() {
                    return None;
                }
                one(BoxMap { axes: self.axes.clone(), view })
            }
            // Elements of the same size lie where they lay.
            Op::ViewDtype { to } | Op::Bitcast { to } if graph.ty(inst.operands[0]).dtype.size() == to.size() => {
                one(self.clone())
            }
            _ => None,
        }
    }
}
