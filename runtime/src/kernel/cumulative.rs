//! Running sums and products along an axis.
//!
//! Floats are carried in `f64` and rounded for each result; integers wrap. Lines run side by side in tiles, unless the
//! axis is the innermost. An element is read before the result at its index is written, and never after, so the
//! operand may be computed in its own bytes.

use crate::executable::Access;
use crate::kernel::CumulativeFn;
use crate::kernel::call::{Call, RunError, Source};
use crate::kernel::domain::Odometer;
use crate::kernel::element::{Element, typed, typed_mut, with_element};
use crate::kernel::share::{Share, share_units};
use crate::types::{DType, Layout};

/// Lines carried side by side when they are neighbours.
const TILE: usize = 64;
/// Lines carried side by side when each is dense itself, so that one addition need not wait for the one before.
const FEW: usize = 8;
/// Elements that a thread should add up at least.
const GRAIN: usize = 1 << 15;

#[derive(Debug)]
pub struct PreparedCumulative {
    dtype: DType,
    function: CumulativeFn,
    axis: usize,
    exclusive: bool,
    reverse: bool,
    x: Layout,
    /// The axis along which lines run side by side: the innermost one but `axis` that has more than one line, or
    /// `axis` itself when there is none.
    side: usize,
}

/// `Cumulative`, validated.
pub fn prepare(
    function: CumulativeFn,
    axis: usize,
    exclusive: bool,
    reverse: bool,
    reads: &[Access],
) -> PreparedCumulative {
    let x = reads[0].layout.clone();
    let side = (0..x.rank()).rfind(|&n| n != axis && x.shape[n] > 1).unwrap_or(axis);
    PreparedCumulative { dtype: reads[0].dtype, function, axis, exclusive, reverse, x, side }
}

impl PreparedCumulative {
    pub fn run(&self, call: Call) -> Result<(), RunError> {
        let [out] = call.writes else { return Ok(()) };
        if out.layout.is_empty() {
            return Ok(());
        }
        let layout = out.layout;
        let lead = self.axis.min(self.side);
        let inner: usize = self.x.shape[lead..].iter().product();
        let grain = GRAIN.div_ceil(inner);
        with_element!(self.dtype, T => {
            let x: Option<&[T]> = match call.reads[0].source {
                Source::Bytes(bytes) => Some(typed(bytes)),
                Source::Written(_) => None,
            };
            share_units(call.threads, std::array::from_mut(out), lead, grain, call.workspace, 0, |share| {
                let Share { units, targets: [bytes], starts: [start], .. } = share;
                let lines = Lines { kernel: self, x, out: typed_mut(bytes), start };
                lines.run(layout, units);
            });
        });
        Ok(())
    }
}

/// A share of the lines. Without `x` the operand is what the result holds.
struct Lines<'s, T> {
    kernel: &'s PreparedCumulative,
    x: Option<&'s [T]>,
    out: &'s mut [T],
    start: i64,
}

impl<T: Element> Lines<'_, T> {
    fn run(mut self, layout: &Layout, units: std::ops::Range<usize>) {
        let axis = self.kernel.axis;
        let x = if self.x.is_some() { &self.kernel.x } else { layout };
        // Units are the axes before both `axis` and `side`.
        let rank = x.rank();
        let side = self.kernel.side;
        let mut shape = [1usize; crate::types::MAX_RANK];
        shape[..rank].copy_from_slice(&x.shape);
        shape[axis] = 1;
        let (width, steps) =
            if side == axis { (1, [0, 0]) } else { (shape[side], [x.strides[side], layout.strides[side]]) };
        shape[side] = 1;
        let inner: usize = shape[axis.min(side)..rank].iter().product();
        let views = [(x.offset, &x.strides[..]), (layout.offset, &layout.strides[..])];
        let mut odometer = Odometer::new(&shape[..rank], views).range(units.start * inner, units.len() * inner);
        let along = [x.strides[axis], layout.strides[axis]];
        while let Some(at) = odometer.advance() {
            let most = if steps[1] == 1 { TILE } else { FEW };
            for tile in (0..width).step_by(most) {
                let first = [0, 1].map(|n| at[n] + tile as i64 * steps[n]);
                let width = most.min(width - tile);
                if T::IS_FLOAT {
                    self.tile(first, along, steps, width, 0.0, 1.0, T::to_f64, T::from_f64, |a, b| a + b, |a, b| a * b);
                } else {
                    self.tile(
                        first,
                        along,
                        steps,
                        width,
                        0,
                        1,
                        T::to_i64,
                        T::from_i64,
                        i64::wrapping_add,
                        i64::wrapping_mul,
                    );
                }
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the arithmetic of one of two kinds of total")]
    fn tile<A: Copy>(
        &mut self,
        first: [i64; 2],
        along: [i64; 2],
        steps: [i64; 2],
        width: usize,
        zero: A,
        one: A,
        load: impl Fn(T) -> A,
        round: impl Fn(A) -> T,
        add: impl Fn(A, A) -> A,
        mul: impl Fn(A, A) -> A,
    ) {
        let PreparedCumulative { function, exclusive, reverse, .. } = *self.kernel;
        let extent = self.kernel.x.shape[self.kernel.axis];
        let product = function == CumulativeFn::Prod;
        let mut totals = [if product { one } else { zero }; TILE];
        for step in 0..extent {
            let i = (if reverse { extent - 1 - step } else { step }) as i64;
            let row = [0, 1].map(|n| first[n] + i * along[n]);
            for (n, total) in totals[..width].iter_mut().enumerate() {
                let to = (row[1] + n as i64 * steps[1] - self.start) as usize;
                let element = match self.x {
                    Some(x) => x[(row[0] + n as i64 * steps[0]) as usize],
                    None => self.out[to],
                };
                let after = if product { mul(*total, load(element)) } else { add(*total, load(element)) };
                self.out[to] = round(if exclusive { *total } else { after });
                *total = after;
            }
        }
    }
}
