//! Regions: where the elements of a value lie when it has become a part of another one.
//!
//! A [`RegionMap`] sends element `e` of a value (its row-major number) to a position in a larger value. It is kept as a
//! layout: `e` is the number of an index over the layout's shape, and the layout says where that index lies. Axes
//! that continue one another are joined, so that a part that is one block has a single axis of stride 1.
//!
//! [`RegionMap::compose`] rewrites a layout over the value into a layout over the larger one. That is possible when
//! every axis of the layout steps along one axis of the map and never leaves it; otherwise the answer is `None`, which
//! means "cannot be expressed", and the copy stays.

use situ_runtime::executable::Access;

use crate::types::Layout;

/// Where the elements of a value lie inside another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RegionMap {
    /// Outermost first, no axis of extent 1, no two axes that could be one. Strides are not zero.
    axes: Vec<Axis>,
    offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    extent: i64,
    stride: i64,
    /// Elements of the part that one step along this axis passes over.
    weight: i64,
}

impl RegionMap {
    /// The map of a part that is read, whole, through `from` and written through `to` (layouts of one shape). `elements`
    /// is the size of the part. `None` when `from` does not name every element of the part exactly once, or `to`
    /// repeats one.
    pub fn of_copy(from: &Layout, to: &Layout, elements: usize) -> Option<RegionMap> {
        if from.shape != to.shape || from.offset != 0 || from.len() != elements || elements == 0 {
            return None;
        }
        let mut axes: Vec<(i64, i64, i64)> = from
            .shape
            .iter()
            .zip(from.strides.iter().zip(&to.strides))
            .filter(|(extent, _)| **extent != 1)
            .map(|(&extent, (&from, &to))| (extent as i64, from, to))
            .collect();
        // Outermost first in the order of the part's own bytes; there the axes must be dense.
        axes.sort_by_key(|&(_, from, _)| std::cmp::Reverse(from));
        let mut expected = 1i64;
        for &(extent, from, to) in axes.iter().rev() {
            if from != expected || to == 0 {
                return None;
            }
            expected *= extent;
        }
        let mut joined: Vec<Axis> = Vec::new();
        for (extent, weight, stride) in axes {
            match joined.last_mut() {
                Some(outer) if outer.stride == stride * extent => {
                    *outer = Axis { extent: outer.extent * extent, stride, weight };
                }
                _ => joined.push(Axis { extent, stride, weight }),
            }
        }
        Some(RegionMap { axes: joined, offset: to.offset })
    }

    /// Whether the part is one block, in order.
    pub fn is_block(&self) -> bool {
        self.axes.is_empty() || matches!(self.axes[..], [Axis { stride: 1, .. }])
    }

    /// Position of the part's first element.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Whether this is the whole of a value of `elements` elements, in order.
    pub fn is_identity(&self, elements: usize) -> bool {
        self.offset == 0 && self.is_block() && self.axes.first().map_or(1, |axis| axis.extent) == elements as i64
    }

    /// `layout`, over the part, as a layout over the larger value.
    pub fn compose(&self, layout: &Layout) -> Option<Layout> {
        // Digits of the first element, and how far each digit may still rise and fall.
        let mut rest = layout.offset;
        let mut offset = self.offset;
        let mut above = Vec::with_capacity(self.axes.len());
        let mut below = Vec::with_capacity(self.axes.len());
        for axis in &self.axes {
            let digit = rest.div_euclid(axis.weight);
            rest -= digit * axis.weight;
            if digit < 0 || digit >= axis.extent {
                return None;
            }
            offset += digit * axis.stride;
            above.push(axis.extent - 1 - digit);
            below.push(digit);
        }
        if rest != 0 {
            return None;
        }
        let mut strides = Vec::with_capacity(layout.strides.len());
        for (&extent, &stride) in layout.shape.iter().zip(&layout.strides) {
            if extent <= 1 || stride == 0 {
                // An axis of one index may have any stride; keeping it keeps equal layouts equal.
                strides.push(stride);
                continue;
            }
            // The largest weight that divides the stride; a smaller one would leave its axis at once.
            let position = self.axes.iter().position(|axis| stride % axis.weight == 0)?;
            let steps = stride / self.axes[position].weight;
            let reach = steps.checked_mul(extent as i64 - 1)?;
            let room = if reach >= 0 { &mut above[position] } else { &mut below[position] };
            *room -= reach.abs();
            if *room < 0 {
                return None;
            }
            strides.push(steps * self.axes[position].stride);
        }
        Some(Layout { offset, shape: layout.shape.clone(), strides })
    }

    /// This map followed by `outer`.
    pub fn then(&self, outer: &RegionMap) -> Option<RegionMap> {
        let layout = Layout {
            offset: self.offset,
            shape: self.axes.iter().map(|axis| axis.extent as usize).collect(),
            strides: self.axes.iter().map(|axis| axis.stride).collect(),
        };
        let composed = outer.compose(&layout)?;
        let dense = Layout::dense(&layout.shape);
        RegionMap::of_copy(&dense, &composed, layout.len())
    }
}

/// The bytes an access may touch, as a half-open range from the start of its value; `None` when it touches none.
pub(super) fn hull(access: &Access) -> Option<(i64, i64)> {
    let size = access.dtype.size() as i64;
    access.layout.hull().map(|(low, high)| (low * size, high * size))
}

/// Whether two accesses to the same bytes are known to touch different ones. Hulls are compared, because a kernel is
/// handed hulls.
pub(super) fn is_clear(a: &Access, b: &Access) -> bool {
    match (hull(a), hull(b)) {
        (Some((a_low, a_high)), Some((b_low, b_high))) => a_high <= b_low || b_high <= a_low,
        _ => true,
    }
}

/// Whether two accesses name the same elements in the same order; axes of extent 1 may have any stride.
pub(super) fn is_same(a: &Access, b: &Access) -> bool {
    let strides = a.layout.strides.iter().zip(&b.layout.strides);
    a.dtype.size() == b.dtype.size()
        && a.layout.offset == b.layout.offset
        && a.layout.shape == b.layout.shape
        && a.layout.shape.iter().zip(strides).all(|(&extent, (a, b))| extent == 1 || a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(layout: &Layout) -> Vec<i64> {
        let mut all = vec![layout.offset];
        for (&extent, &stride) in layout.shape.iter().zip(&layout.strides) {
            all = all.iter().flat_map(|start| (0..extent as i64).map(move |i| start + i * stride)).collect();
        }
        all
    }

    /// Position of every element of the part, by the definition.
    fn table(from: &Layout, to: &Layout) -> Vec<i64> {
        let mut table = vec![0; from.len()];
        for (from, to) in positions(from).into_iter().zip(positions(to)) {
            table[from as usize] = to;
        }
        table
    }

    #[test]
    fn compose_agrees_with_the_definition() {
        // A part [2, 3, 4], its middle axis permuted outwards, in a larger value.
        let from = Layout { offset: 0, shape: vec![3, 2, 4], strides: vec![4, 12, 1] };
        let to = Layout { offset: 5, shape: vec![3, 2, 4], strides: vec![100, 20, 2] };
        let map = RegionMap::of_copy(&from, &to, 24).expect("a permutation of a dense part");
        let table = table(&from, &to);
        let views = [
            Layout::dense(&[2, 3, 4]),
            Layout::dense(&[6, 4]),
            Layout { offset: 13, shape: vec![2, 2], strides: vec![4, 2] },
            Layout { offset: 23, shape: vec![2, 1, 3, 4], strides: vec![-12, 7, -4, -1] },
            Layout { offset: 4, shape: vec![5, 2], strides: vec![0, 1] },
        ];
        for view in &views[..1] {
            assert!(map.compose(view).is_some());
        }
        for view in &views {
            if let Some(composed) = map.compose(view) {
                let expected: Vec<i64> = positions(view).into_iter().map(|e| table[e as usize]).collect();
                assert_eq!(positions(&composed), expected, "{view:?}");
            }
        }
        assert!(
            map.compose(&views[2]).is_some() && map.compose(&views[3]).is_some() && map.compose(&views[4]).is_some()
        );
        // Six rows of four cross from one block of the part into the next.
        assert!(map.compose(&views[1]).is_none());
    }

    #[test]
    fn blocks_and_identities() {
        let dense = Layout::dense(&[2, 3]);
        let map = RegionMap::of_copy(&dense, &Layout { offset: 6, ..dense.clone() }, 6).expect("a block");
        assert!(map.is_block() && !map.is_identity(6) && map.offset() == 6);
        assert!(RegionMap::of_copy(&dense, &dense, 6).expect("itself").is_identity(6));
        let flipped = Layout { offset: 0, shape: vec![3, 2], strides: vec![1, 3] };
        let map = RegionMap::of_copy(&flipped, &Layout::dense(&[3, 2]), 6).expect("a transposition");
        assert!(!map.is_block());
        let column = Layout { offset: 2, shape: vec![6], strides: vec![5] };
        let outer = RegionMap::of_copy(&Layout::dense(&[6]), &column, 6).expect("a column");
        let both = map.then(&outer).expect("axes stay whole");
        assert_eq!(both.compose(&dense).map(|l| positions(&l)), Some(vec![2, 12, 22, 7, 17, 27]));
    }

    #[test]
    fn parts_that_are_not_whole_have_no_map() {
        let dense = Layout::dense(&[4]);
        assert!(RegionMap::of_copy(&dense, &dense, 5).is_none());
        assert!(RegionMap::of_copy(&Layout { offset: 0, shape: vec![4], strides: vec![0] }, &dense, 4).is_none());
        assert!(RegionMap::of_copy(&Layout { offset: 3, shape: vec![4], strides: vec![-1] }, &dense, 4).is_none());
    }
}
