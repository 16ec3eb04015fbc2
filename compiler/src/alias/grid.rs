//! Grids: which indices of each axis of the root a region holds, found from its strides.
//!
//! A view that is no box by the ops that lead to it (a `reshape`, windows, a view by strides) often still holds a product of
//! progressions, one for each axis of the root. The axes of the view are joined into runs where one steps inside or onto the end of
//! another, whether that comes of a reshape or of windows that overlap; each run is then laid along the root's axes, and may
//! cover several of them whole. What cannot be laid so is no grid, and is known by its strides alone.
//!
//! Only the set of elements counts here, not the order in which the view names them.

use crate::strides::progression::Progression;
use crate::types::Layout;

/// The progressions that `layout` takes of the axes of a root at `root`, which is dense in some order of axes; `None` where it
/// takes no product of progressions. Neither may be empty, and `layout` lies inside the root.
pub fn grid(layout: &Layout, root: &Layout) -> Option<Vec<Progression>> {
    let mut start = layout.offset - root.offset;
    let mut runs: Vec<(i64, i64)> = Vec::with_capacity(layout.rank());
    for (&extent, &stride) in layout.shape.iter().zip(&layout.strides) {
        let extent = i64::try_from(extent).ok()?;
        if stride < 0 {
            start += stride * (extent - 1);
        }
        if extent > 1 && stride != 0 {
            runs.push((stride.abs(), extent));
        }
    }
    let runs = joined(runs)?;
    // The root's axes, the longest stride first, with the index at which the region begins.
    let mut order: Vec<usize> = (0..root.rank()).filter(|&axis| root.shape[axis] > 1).collect();
    order.sort_by_key(|&axis| std::cmp::Reverse(root.strides[axis]));
    let mut axes = vec![Progression { start: 0, step: 1, len: 1 }; root.rank()];
    for &axis in &order {
        axes[axis].start = start.div_euclid(root.strides[axis]);
        start -= axes[axis].start * root.strides[axis];
    }
    let mut taken = vec![false; root.rank()];
    for (mut stride, mut extent) in runs {
        loop {
            let place =
                order.iter().position(|&axis| root.strides[axis] <= stride && stride % root.strides[axis] == 0)?;
            let axis = order[place];
            let (whole, step) = (root.shape[axis] as i64, stride / root.strides[axis]);
            if std::mem::replace(&mut taken[axis], true) {
                return None;
            }
            if axes[axis].start + step * (extent - 1) < whole {
                axes[axis] = Progression { start: axes[axis].start, step, len: extent as usize };
                break;
            }
            // A run over the end of an axis covers it whole and goes on along the next one out.
            if step != 1 || axes[axis].start != 0 || extent % whole != 0 {
                return None;
            }
            axes[axis] = Progression { start: 0, step: 1, len: whole as usize };
            stride *= whole;
            extent /= whole;
            if extent == 1 {
                break;
            }
        }
    }
    Some(axes)
}

/// Runs `(stride, extent)` with those joined that together are one progression.
fn joined(mut runs: Vec<(i64, i64)>) -> Option<Vec<(i64, i64)>> {
    runs.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::with_capacity(runs.len());
    for (stride, extent) in runs {
        match joined.last_mut() {
            Some((inner, length)) if stride % *inner == 0 && stride / *inner <= *length => {
                *length = (extent - 1).checked_mul(stride / *inner)?.checked_add(*length)?;
            }
            _ => joined.push((stride, extent)),
        }
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_windows_and_strides_are_grids() {
        let told = |offset: i64, axes: &[(usize, i64)], root: &[usize]| {
            let (shape, strides) = axes.iter().copied().unzip();
            grid(&Layout { offset, shape, strides }, &Layout::dense(root))
                .map(|axes| axes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        };
        // The last half of a flattened matrix; windows of three every two; a matrix in a matrix; two rows as one.
        assert_eq!(told(24, &[(24, 1)], &[8, 6]).as_deref(), Some("4..8, 0..6"));
        assert_eq!(told(1, &[(2, 2), (3, 1)], &[8]).as_deref(), Some("1..6"));
        assert_eq!(told(7, &[(2, 6), (2, 2)], &[8, 6]).as_deref(), Some("1..3, 1..4 by 2"));
        assert_eq!(told(6, &[(12, 1)], &[8, 6]).as_deref(), Some("1..3, 0..6"));
        // Over the end of a row, a diagonal, windows with gaps.
        assert_eq!(told(3, &[(6, 1)], &[8, 6]), None);
        assert_eq!(told(0, &[(6, 7)], &[8, 6]), None);
        assert_eq!(told(0, &[(2, 3), (2, 1)], &[6]), None);
    }
}
