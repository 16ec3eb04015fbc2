//! Sums of `f32` over a slice, term by term.
//!
//! A sum runs in [`SUMS`] vectors side by side over pieces of [`PIECE`] elements, and the pieces' sums are added up in
//! `f64`. The order is fixed by the length and the width of the vectors, and the error does not grow with the length.

use crate::simd::{Lanes, math};

/// Elements whose sum is kept in `f32`.
pub const PIECE: usize = 2048;

/// Vectors that a sum is spread over, so that additions do not wait for each other.
pub const SUMS: usize = 4;

/// A term of a sum.
pub trait Term<L: Lanes> {
    fn of(&self, x: L) -> L;
}

/// The element.
pub struct Identity;
/// The square of the distance from a number.
pub struct SquaredDistance<L>(pub L);
/// The square.
pub struct Square;
/// The exponential of the distance below a number.
pub struct ExpBelow<L>(pub L);

impl<L: Lanes> Term<L> for Identity {
    #[inline(always)]
    fn of(&self, x: L) -> L {
        x
    }
}

impl<L: Lanes> Term<L> for SquaredDistance<L> {
    #[inline(always)]
    fn of(&self, x: L) -> L {
        let d = x - self.0;
        d * d
    }
}

impl<L: Lanes> Term<L> for Square {
    #[inline(always)]
    fn of(&self, x: L) -> L {
        x * x
    }
}

impl<L: Lanes> Term<L> for ExpBelow<L> {
    #[inline(always)]
    fn of(&self, x: L) -> L {
        math::exp_of_negative(x - self.0)
    }
}

/// The sum of vectors that terms were spread over.
#[inline(always)]
pub fn total<L: Lanes>(sums: [L; SUMS]) -> f64 {
    f64::from(((sums[0] + sums[1]) + (sums[2] + sums[3])).reduce_sum())
}

/// Sum of the terms of all elements. `fill` is an element whose term is zero.
#[inline(always)]
pub fn sum<L: Lanes, T: Term<L>>(elements: &[f32], term: &T, fill: f32) -> f64 {
    let mut all = 0.0f64;
    for piece in elements.chunks(PIECE) {
        let mut sums = [L::splat(0.0); SUMS];
        let mut blocks = piece.chunks_exact(SUMS * L::WIDTH);
        for block in blocks.by_ref() {
            for (nth, sum) in sums.iter_mut().enumerate() {
                *sum = *sum + term.of(L::load(&block[nth * L::WIDTH..]));
            }
        }
        for (nth, rest) in blocks.remainder().chunks(L::WIDTH).enumerate() {
            sums[nth] = sums[nth] + term.of(L::load_partial(rest, fill));
        }
        all += total(sums);
    }
    all
}
