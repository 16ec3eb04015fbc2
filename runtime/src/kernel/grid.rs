//! The iteration space that several layouts share, as few axes as possible, and walks over it.
//!
//! A grid numbers its indices: the *position* of an index is its rank in row-major order of the grid's axes. Axes of
//! extent one are dropped and neighbours that all layouts step through alike become one axis, so that most elementwise
//! work is one axis over contiguous memory. Kernels divide work by ranges of positions.

use crate::types::{Layout, MAX_RANK, elements};

/// Axes of an iteration and, for each layout, its stride along them. There is always at least one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Outermost first.
    pub extents: Vec<usize>,
    /// For each layout one stride an axis, in elements.
    pub strides: Vec<Vec<i64>>,
    /// For each layout the element of position 0, counted from the layout's offset.
    pub starts: Vec<i64>,
}

/// How a layout runs through the positions of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Position `p` lies at element `p` from the start.
    Dense,
    /// All positions name one element.
    Constant,
    Strided,
}

impl Grid {
    /// The grid over `shape` with its axes taken in `order`, for layouts that all have that shape.
    ///
    /// Errors when a layout has another shape, or `order` is not a permutation of the axes.
    pub fn new(shape: &[usize], layouts: &[&Layout], order: &[usize]) -> Result<Grid, String> {
        if shape.len() > MAX_RANK {
            return Err(format!("a shape has at most {MAX_RANK} axes, found {}", shape.len()));
        }
        elements(shape).ok_or("a shape has too many elements")?;
        let mut seen = vec![false; shape.len()];
        for &axis in order {
            match seen.get_mut(axis) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err("the order of the axes is no permutation".into()),
            }
        }
        if order.len() != shape.len() {
            return Err("the order of the axes is no permutation".into());
        }
        for layout in layouts {
            if layout.shape != shape || layout.strides.len() != shape.len() {
                return Err(format!("expected a layout of shape {shape:?}, found {:?}", layout.shape));
            }
            if !layout.is_empty() && layout.hull().is_none() {
                return Err("a layout reaches beyond every address".into());
            }
        }
        let count = layouts.len();
        let mut grid = Grid { extents: Vec::new(), strides: vec![Vec::new(); count], starts: vec![0; count] };
        for &axis in order {
            let extent = shape[axis];
            if extent == 1 {
                continue;
            }
            // The strides of axes without elements do not matter; they stay apart so that nothing overflows.
            let joins = match grid.extents.last() {
                None => false,
                Some(_) => grid.strides.iter().zip(layouts).all(|(strides, layout)| {
                    let outer = strides.last().copied().unwrap_or(0);
                    layout.strides[axis].checked_mul(extent as i64) == Some(outer)
                }),
            };
            if joins {
                if let Some(outer) = grid.extents.last_mut() {
                    *outer *= extent;
                }
                for (strides, layout) in grid.strides.iter_mut().zip(layouts) {
                    if let Some(stride) = strides.last_mut() {
                        *stride = layout.strides[axis];
                    }
                }
            } else {
                grid.extents.push(extent);
                for (strides, layout) in grid.strides.iter_mut().zip(layouts) {
                    strides.push(layout.strides[axis]);
                }
            }
        }
        if grid.extents.is_empty() {
            grid.extents.push(1);
            for strides in &mut grid.strides {
                strides.push(0);
            }
        }
        Ok(grid)
    }

    /// The grid with the axes in the order of the shape.
    pub fn row_major(shape: &[usize], layouts: &[&Layout]) -> Result<Grid, String> {
        let order: Vec<usize> = (0..shape.len()).collect();
        Grid::new(shape, layouts, &order)
    }

    /// The grid in which the first of the `written` layouts ascends as far as it can: axes are taken by falling size
    /// of its stride, and backwards where that is negative. The grid's layouts are `read`, then `written`.
    pub fn ascending(shape: &[usize], read: &[&Layout], written: &[&Layout]) -> Result<Grid, String> {
        let Some(leader) = written.first() else {
            return Grid::row_major(shape, read);
        };
        if leader.shape != shape || leader.strides.len() != shape.len() {
            return Err(format!("expected a layout of shape {shape:?}, found {:?}", leader.shape));
        }
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.sort_by_key(|&axis| std::cmp::Reverse(leader.strides[axis].unsigned_abs()));
        let mut layouts: Vec<Layout> = read.iter().chain(written).map(|&layout| layout.clone()).collect();
        let mut starts = vec![0i64; layouts.len()];
        for axis in 0..shape.len() {
            if leader.strides[axis] >= 0 || shape[axis] <= 1 {
                continue;
            }
            for (layout, start) in layouts.iter_mut().zip(&mut starts) {
                let stride = layout.strides.get_mut(axis).ok_or("a layout lacks a stride")?;
                let reach =
                    stride.checked_mul(shape[axis] as i64 - 1).ok_or("a layout reaches beyond every address")?;
                *start = start.checked_add(reach).ok_or("a layout reaches beyond every address")?;
                layout.offset = layout.offset.checked_add(reach).ok_or("a layout reaches beyond every address")?;
                *stride = stride.checked_neg().ok_or("a layout reaches beyond every address")?;
            }
        }
        let mut grid = Grid::new(shape, &layouts.iter().collect::<Vec<_>>(), &order)?;
        grid.starts = starts;
        Ok(grid)
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.extents.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.extents.contains(&0)
    }

    /// How layout `which` runs through the positions.
    pub fn pattern(&self, which: usize) -> Pattern {
        let strides = &self.strides[which];
        if self.len() == 1 {
            return Pattern::Dense;
        }
        if strides.iter().all(|&stride| stride == 0) {
            return Pattern::Constant;
        }
        let mut expected = 1i64;
        for (&extent, &stride) in self.extents.iter().zip(strides).rev() {
            if stride != expected {
                return Pattern::Strided;
            }
            expected = expected.saturating_mul(extent as i64);
        }
        Pattern::Dense
    }

    /// Whether the element named by layout `which` moves strictly up from each position to the next.
    pub fn is_ascending(&self, which: usize) -> bool {
        let mut reach = 0i64;
        for (&extent, &stride) in self.extents.iter().zip(&self.strides[which]).rev() {
            if extent > 1 && stride <= reach {
                return false;
            }
            reach = reach.saturating_add(stride.saturating_mul(extent as i64 - 1));
        }
        true
    }

    /// The element that layout `which` names at `position`, relative to the element of the first position.
    #[inline]
    pub fn offset(&self, which: usize, position: usize) -> i64 {
        let mut rest = position;
        let mut offset = 0i64;
        for (&extent, &stride) in self.extents.iter().zip(&self.strides[which]).rev() {
            let (outer, index) = divide(rest, extent);
            offset += index as i64 * stride;
            rest = outer;
        }
        offset
    }

    /// The stride of layout `which` within a run.
    #[inline]
    pub fn run_stride(&self, which: usize) -> i64 {
        self.strides[which].last().copied().unwrap_or(0)
    }

    /// How many positions from `position` on lie in one run, that is on one line along the innermost axis.
    #[inline]
    pub fn run_left(&self, position: usize) -> usize {
        match self.extents.as_slice() {
            [only] => only - position,
            [.., inner] => inner - divide(position, *inner).1,
            [] => 0,
        }
    }

    /// The runs of layout `which` over the positions `start .. start + len`: the offset of each run's first element
    /// and its length. Within a run the elements are [`Grid::run_stride`] apart.
    #[inline]
    pub fn runs(&self, which: usize, start: usize, len: usize) -> Runs<'_> {
        let mut index = [0usize; MAX_RANK];
        let mut rest = start;
        let mut offset = 0i64;
        for (axis, (&extent, &stride)) in self.extents.iter().zip(&self.strides[which]).enumerate().rev() {
            let (outer, at) = divide(rest, extent);
            index[axis] = at;
            offset += at as i64 * stride;
            rest = outer;
        }
        Runs { extents: &self.extents, strides: &self.strides[which], index, offset, left: len }
    }
}

/// Quotient and remainder. Division of 32-bit numbers is several times as fast on most machines.
#[inline]
fn divide(a: usize, b: usize) -> (usize, usize) {
    match (u32::try_from(a), u32::try_from(b)) {
        (Ok(a), Ok(b)) if b != 0 => ((a / b) as usize, (a % b) as usize),
        _ if b == 0 => (0, 0),
        _ => (a / b, a % b),
    }
}

/// A walk over a range of positions, run by run; see [`Grid::runs`].
pub struct Runs<'g> {
    extents: &'g [usize],
    strides: &'g [i64],
    index: [usize; MAX_RANK],
    offset: i64,
    left: usize,
}

impl Iterator for Runs<'_> {
    /// Offset of the first element and number of elements.
    type Item = (i64, usize);

    #[inline]
    fn next(&mut self) -> Option<(i64, usize)> {
        if self.left == 0 {
            return None;
        }
        let inner = self.extents.len() - 1;
        let len = (self.extents[inner] - self.index[inner]).min(self.left);
        let run = (self.offset, len);
        self.left -= len;
        self.offset -= self.index[inner] as i64 * self.strides[inner];
        self.index[inner] = 0;
        for axis in (0..inner).rev() {
            self.index[axis] += 1;
            self.offset += self.strides[axis];
            if self.index[axis] < self.extents[axis] {
                break;
            }
            self.offset -= self.extents[axis] as i64 * self.strides[axis];
            self.index[axis] = 0;
        }
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shape: &[usize], strides: &[i64]) -> Layout {
        Layout { offset: 0, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    #[test]
    fn neighbours_join_when_all_layouts_agree() {
        let shape = [2, 3, 4];
        let dense = Layout::dense(&shape);
        let bias = layout(&shape, &[0, 0, 1]);
        let grid = Grid::row_major(&shape, &[&dense, &dense]).unwrap();
        assert_eq!((grid.extents.as_slice(), grid.pattern(0)), (&[24][..], Pattern::Dense));
        let grid = Grid::row_major(&shape, &[&dense, &bias]).unwrap();
        assert_eq!(grid.extents, [6, 4]);
        assert_eq!((grid.pattern(0), grid.pattern(1)), (Pattern::Dense, Pattern::Strided));
        let scalar = layout(&shape, &[0, 0, 0]);
        assert_eq!(Grid::row_major(&shape, &[&scalar]).unwrap().pattern(0), Pattern::Constant);
    }

    #[test]
    fn runs_visit_every_position_once() {
        let shape = [2, 3, 4];
        let permuted = layout(&shape, &[4, 8, 1]);
        let grid = Grid::row_major(&shape, &[&permuted, &Layout::dense(&shape)]).unwrap();
        for start in 0..24 {
            for len in 0..=24 - start {
                let mut visited = Vec::new();
                for (offset, n) in grid.runs(0, start, len) {
                    visited.extend((0..n).map(|i| offset + i as i64 * grid.run_stride(0)));
                }
                let expected: Vec<i64> = (start..start + len).map(|position| grid.offset(0, position)).collect();
                assert_eq!(visited, expected);
            }
        }
        assert!(grid.is_ascending(1) && !grid.is_ascending(0));
    }

    #[test]
    fn an_ascending_grid_follows_what_is_written() {
        let shape = [3, 4];
        let backwards = Layout { offset: 11, shape: shape.to_vec(), strides: vec![-1, -3] };
        let read = Layout::dense(&shape);
        let grid = Grid::ascending(&shape, &[&read], &[&backwards]).unwrap();
        assert!(grid.is_ascending(1));
        assert_eq!((grid.extents.as_slice(), grid.starts.as_slice()), (&[4, 3][..], &[11, -11][..]));
        assert_eq!(grid.strides, [vec![-1, -4], vec![3, 1]]);
    }
}
