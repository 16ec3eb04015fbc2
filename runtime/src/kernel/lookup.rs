//! Where gathers and scatters find their elements: one geometry for all five kernels.
//!
//! Such a kernel walks a domain (that of the gathered result, or of the updates). At every point it has a position in
//! the *moved* tensor (result or updates), one in the index tensor, and one in the *store* (data or base) to which each
//! coordinate it reads adds `index * stride`. Trailing axes that are dense in moved tensor and store are moved as one
//! block.

use crate::kernel::call::{Operand, RunError, Source};
use crate::kernel::domain::Odometer;
use crate::kernel::element::typed;
use crate::types::{DType, Layout, MAX_RANK};

/// One axis of the domain and the strides along it, in elements.
#[derive(Clone, Copy, Debug)]
struct Axis {
    extent: usize,
    moved: i64,
    index: i64,
    store: i64,
}

/// A coordinate of the store that is looked up.
#[derive(Clone, Copy, Debug)]
struct Coordinate {
    extent: usize,
    stride: i64,
}

#[derive(Debug)]
pub struct Lookup {
    /// Axes before the block.
    outer: Vec<Axis>,
    /// Elements moved at once.
    pub block: usize,
    moved: i64,
    index: i64,
    store: i64,
    coordinates: Vec<Coordinate>,
    /// Distance between the coordinates of one point in the index tensor.
    step: i64,
    indices: Layout,
    /// How many trailing axes of `indices` hold coordinates (0 or 1).
    inner: usize,
}

impl Lookup {
    fn new(
        axes: Vec<Axis>,
        [moved, index, store]: [&Layout; 3],
        coordinates: Vec<Coordinate>,
        step: i64,
        inner: usize,
    ) -> Lookup {
        let mut outer = axes;
        let mut block = 1;
        while let Some(axis) = outer.last() {
            let dense = axis.moved == block as i64 && axis.store == block as i64;
            if axis.index != 0 || !(dense || axis.extent == 1) {
                break;
            }
            block *= axis.extent;
            outer.pop();
        }
        Lookup {
            outer,
            block,
            moved: moved.offset,
            index: index.offset,
            store: store.offset,
            coordinates,
            step,
            indices: index.clone(),
            inner,
        }
    }

    /// `moved[before, at.., after] ↔ store[before, indices[at], after]`.
    pub fn along(axis: usize, moved: &Layout, indices: &Layout, store: &Layout) -> Lookup {
        let mut axes = Vec::with_capacity(moved.rank());
        for n in 0..moved.rank() {
            let (index, store) = if n < axis {
                (0, store.strides[n])
            } else if n < axis + indices.rank() {
                (indices.strides[n - axis], 0)
            } else {
                (0, store.strides[n + 1 - indices.rank()])
            };
            axes.push(Axis { extent: moved.shape[n], moved: moved.strides[n], index, store });
        }
        let coordinate = Coordinate { extent: store.shape[axis], stride: store.strides[axis] };
        Lookup::new(axes, [moved, indices, store], vec![coordinate], 0, 0)
    }

    /// `moved[i] ↔ store[i with i[axis] = indices[i]]`.
    pub fn elements(axis: usize, moved: &Layout, indices: &Layout, store: &Layout) -> Lookup {
        let axes = (0..moved.rank())
            .map(|n| Axis {
                extent: moved.shape[n],
                moved: moved.strides[n],
                index: indices.strides[n],
                store: if n == axis { 0 } else { store.strides[n] },
            })
            .collect();
        let coordinate = Coordinate { extent: store.shape[axis], stride: store.strides[axis] };
        Lookup::new(axes, [moved, indices, store], vec![coordinate], 0, 0)
    }

    /// `moved[at, rest] ↔ store[at[..batch], indices[at, ..], rest]`. `indices` has an axis.
    pub fn points(batch: usize, moved: &Layout, indices: &Layout, store: &Layout) -> Lookup {
        let at = indices.rank() - 1;
        let depth = indices.shape[at];
        let axes = (0..moved.rank())
            .map(|n| Axis {
                extent: moved.shape[n],
                moved: moved.strides[n],
                index: if n < at { indices.strides[n] } else { 0 },
                store: match n {
                    n if n < batch => store.strides[n],
                    n if n < at => 0,
                    n => store.strides[n - at + batch + depth],
                },
            })
            .collect();
        let coordinates =
            (batch..batch + depth).map(|n| Coordinate { extent: store.shape[n], stride: store.strides[n] }).collect();
        Lookup::new(axes, [moved, indices, store], coordinates, indices.strides[at], 1)
    }

    /// Leading axes of the domain that are not in the block.
    pub fn outer_rank(&self) -> usize {
        self.outer.len()
    }

    /// Fails on the first index, row-major, that is outside its axis.
    pub fn check(&self, indices: &Indices, step: &str) -> Result<(), RunError> {
        let error = |index: i64, extent: usize| RunError::IndexOutOfRange { step: step.into(), index, extent };
        if let ([coordinate], true) = (&self.coordinates[..], self.indices.is_dense()) {
            let start = self.indices.offset as usize;
            return match indices.find_outside(start..start + self.indices.len(), coordinate.extent as i64) {
                Some(index) => Err(error(index, coordinate.extent)),
                None => Ok(()),
            };
        }
        let lookups = self.indices.rank() - self.inner;
        let mut odometer =
            Odometer::new(&self.indices.shape[..lookups], [(self.indices.offset, &self.indices.strides[..lookups])]);
        while let Some([at]) = odometer.advance() {
            for (n, coordinate) in self.coordinates.iter().enumerate() {
                let index = indices.get(at + n as i64 * self.step);
                let extent = coordinate.extent as i64;
                if index >= extent || index < -extent {
                    return Err(error(index, coordinate.extent));
                }
            }
        }
        Ok(())
    }

    /// Calls `visit(moved position, store position)` for every block of the points `start .. start + count`. Indices
    /// have been checked.
    #[inline(always)]
    pub fn for_each(&self, indices: &Indices, start: usize, count: usize, mut visit: impl FnMut(i64, i64)) {
        match (*indices, &self.coordinates[..]) {
            (Indices::I32(values), &[coordinate]) => {
                self.walk(|at| coordinate.reach(i64::from(values[at as usize])), start, count, &mut visit);
            }
            (Indices::I64(values), &[coordinate]) => {
                self.walk(|at| coordinate.reach(values[at as usize]), start, count, &mut visit);
            }
            (_, coordinates) => {
                let reach = |at: i64| {
                    let reach = |(n, coordinate): (usize, &Coordinate)| {
                        coordinate.reach(indices.get(at + n as i64 * self.step))
                    };
                    coordinates.iter().enumerate().map(reach).sum()
                };
                self.walk(reach, start, count, &mut visit);
            }
        }
    }

    /// Walks the domain row by row; `reach` gives what the coordinates at a position of the index tensor add to the
    /// store position.
    #[inline(always)]
    fn walk(&self, reach: impl Fn(i64) -> i64, start: usize, count: usize, visit: &mut impl FnMut(i64, i64)) {
        let single = Axis { extent: 1, moved: 0, index: 0, store: 0 };
        let (&inner, outer) = self.outer.split_last().unwrap_or((&single, &[]));
        let rank = outer.len();
        let mut shape = [1usize; MAX_RANK];
        let mut strides = [[0i64; MAX_RANK]; 3];
        for (n, axis) in outer.iter().enumerate() {
            shape[n] = axis.extent;
            (strides[0][n], strides[1][n], strides[2][n]) = (axis.moved, axis.index, axis.store);
        }
        let views =
            [(self.moved, &strides[0][..rank]), (self.index, &strides[1][..rank]), (self.store, &strides[2][..rank])];
        let extent = inner.extent.max(1);
        let mut rows = Odometer::new(&shape[..rank], views).range(start / extent, usize::MAX);
        let mut column = start % extent;
        let mut left = count;
        while left > 0
            && let Some([moved, at, store]) = rows.advance()
        {
            let end = extent.min(column.saturating_add(left));
            for n in column as i64..end as i64 {
                visit(moved + n * inner.moved, store + n * inner.store + reach(at + n * inner.index));
            }
            left -= end - column;
            column = 0;
        }
    }
}

impl Coordinate {
    /// What an index adds to the store position; a negative one counts from the end.
    #[inline(always)]
    fn reach(self, index: i64) -> i64 {
        (if index < 0 { index + self.extent as i64 } else { index }) * self.stride
    }
}

/// The index tensor's elements.
#[derive(Clone, Copy)]
pub enum Indices<'a> {
    I32(&'a [i32]),
    I64(&'a [i64]),
}

impl<'a> Indices<'a> {
    /// The indices of an operand; a tied one cannot be read once results are written.
    pub fn of(operand: &Operand<'a>) -> Result<Indices<'a>, RunError> {
        let bytes = slice(operand)?;
        Ok(match operand.dtype {
            DType::I32 => Indices::I32(typed(bytes)),
            _ => Indices::I64(typed(bytes)),
        })
    }

    /// The first index of a range of positions that is outside an axis.
    fn find_outside(&self, range: std::ops::Range<usize>, extent: i64) -> Option<i64> {
        let outside = |index: &i64| *index >= extent || *index < -extent;
        match self {
            Indices::I32(values) => values[range].iter().map(|&index| i64::from(index)).find(outside),
            Indices::I64(values) => values[range].iter().copied().find(outside),
        }
    }

    #[inline]
    fn get(&self, position: i64) -> i64 {
        match self {
            Indices::I32(values) => i64::from(values[position as usize]),
            Indices::I64(values) => values[position as usize],
        }
    }
}

/// The bytes of an operand that must not be tied.
pub fn slice<'a>(operand: &Operand<'a>) -> Result<&'a [u8], RunError> {
    match operand.source {
        Source::Bytes(bytes) => Ok(bytes),
        Source::Written(_) => {
            Err(RunError::Argument("an operand shares bytes with a result against the kernel's contract".into()))
        }
    }
}
