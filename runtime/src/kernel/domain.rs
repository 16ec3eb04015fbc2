//! Walks over the indices of a shape without allocating.

use crate::types::{Layout, MAX_RANK};

/// A row-major odometer over a shape of at most [`MAX_RANK`] axes, that also tracks positions in up to `N` layouts.
#[derive(Clone, Debug)]
pub struct Odometer<const N: usize> {
    rank: usize,
    shape: [usize; MAX_RANK],
    index: [usize; MAX_RANK],
    strides: [[i64; MAX_RANK]; N],
    positions: [i64; N],
    left: usize,
}

impl<const N: usize> Odometer<N> {
    /// Starts at the first index of `shape`. `views` gives an offset and the strides over `shape` for each position
    /// tracked.
    pub fn new(shape: &[usize], views: [(i64, &[i64]); N]) -> Odometer<N> {
        let mut odometer = Odometer {
            rank: shape.len(),
            shape: [1; MAX_RANK],
            index: [0; MAX_RANK],
            strides: [[0; MAX_RANK]; N],
            positions: [0; N],
            left: shape.iter().product(),
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

    /// The current positions and index, after which the odometer moves on; `None` after the last.
    #[inline]
    // Not an `Iterator`: adapters would hide that an odometer is meant for a plain loop.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<([i64; N], [usize; MAX_RANK])> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let current = (self.positions, self.index);
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
        Some(current)
    }
}

/// Calls `visit` with every index of `shape`, row-major.
pub fn for_each_index(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut odometer = Odometer::<0>::new(shape, []);
    while let Some((_, index)) = odometer.next() {
        visit(&index[..shape.len()]);
    }
}

/// Where `layout` puts `index`.
#[inline]
pub fn position(layout: &Layout, index: &[usize]) -> usize {
    let reach: i64 = index.iter().zip(&layout.strides).map(|(&i, &stride)| i as i64 * stride).sum();
    (layout.offset + reach) as usize
}
