//! Walks over the indices of a shape without allocating.

use crate::types::{Layout, MAX_RANK};

/// A row-major odometer over a shape of at most [`MAX_RANK`] axes, that also tracks positions in `N` layouts.
#[derive(Clone, Debug)]
pub struct Odometer<const N: usize> {
    rank: usize,
    shape: [usize; MAX_RANK],
    index: [usize; MAX_RANK],
    strides: [[i64; MAX_RANK]; N],
    positions: [i64; N],
    left: usize,
    moved: bool,
}

impl<const N: usize> Odometer<N> {
    /// Before the first index of `shape`. `views` gives an offset and the strides over `shape` for each position
    /// tracked.
    #[inline]
    pub fn new(shape: &[usize], views: [(i64, &[i64]); N]) -> Odometer<N> {
        let mut odometer = Odometer {
            rank: shape.len(),
            shape: [1; MAX_RANK],
            index: [0; MAX_RANK],
            strides: [[0; MAX_RANK]; N],
            positions: [0; N],
            left: shape.iter().product(),
            moved: false,
        };
        odometer.shape[..shape.len()].copy_from_slice(shape);
        for (n, (offset, strides)) in views.into_iter().enumerate() {
            odometer.strides[n][..shape.len()].copy_from_slice(strides);
            odometer.positions[n] = offset;
        }
        odometer
    }

    /// The odometer `start` indices further on, in `O(rank)`. At most `count` indices follow.
    pub fn range(mut self, start: usize, count: usize) -> Odometer<N> {
        self.left = self.left.saturating_sub(start).min(count);
        let mut rest = start;
        for axis in (0..self.rank).rev() {
            let extent = self.shape[axis].max(1);
            let step = rest % extent;
            rest /= extent;
            self.index[axis] = step;
            for n in 0..N {
                self.positions[n] += step as i64 * self.strides[n][axis];
            }
        }
        self
    }

    /// Moves to the next index and gives its positions; `None` after the last.
    #[inline]
    pub fn advance(&mut self) -> Option<[i64; N]> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        if !self.moved {
            self.moved = true;
            return Some(self.positions);
        }
        for axis in (0..self.rank).rev() {
            self.index[axis] += 1;
            for n in 0..N {
                self.positions[n] += self.strides[n][axis];
            }
            if self.index[axis] < self.shape[axis] {
                break;
            }
            for n in 0..N {
                self.positions[n] -= self.strides[n][axis] * self.shape[axis] as i64;
            }
            self.index[axis] = 0;
        }
        Some(self.positions)
    }

    /// The index that [`Odometer::advance`] has moved to.
    #[inline]
    pub fn index(&self) -> &[usize] {
        &self.index[..self.rank]
    }
}

/// Calls `visit` with every index of `shape`, row-major.
pub fn for_each_index(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut odometer = Odometer::<0>::new(shape, []);
    while odometer.advance().is_some() {
        visit(odometer.index());
    }
}

/// Where `layout` puts `index`.
#[inline]
pub fn position(layout: &Layout, index: &[usize]) -> usize {
    let reach: i64 = index.iter().zip(&layout.strides).map(|(&i, &stride)| i as i64 * stride).sum();
    (layout.offset + reach) as usize
}
