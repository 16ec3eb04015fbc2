//! Depthwise convolutions of stride one on planes too small to be worth padding row by row.
//!
//! Where rows of the output are as long as those of the input, a tap is one shift of the flattened plane. The plane is copied
//! between zeros, for the rows that a shift pushes out of it, and the columns that it pushes into the next row are
//! masked. So short rows fill vectors, and a channel is one copy and one pass.

use super::band::Axis;
use crate::pack::PANEL;
use crate::simd::{Algorithm, IntLanes, Lanes};

/// Output positions at most; beyond, rows are long enough.
const POSITIONS: usize = 1024;
/// Taps at most.
const TAPS: usize = 128;
/// Elements that a block of vectors may reach beyond the plane.
const SLACK: usize = 4 * PANEL;

#[derive(Debug)]
pub(super) struct Flat {
    /// Elements of the input plane, and zeros before it.
    input: usize,
    before: usize,
    /// Elements of the copy with all its zeros.
    padded: usize,
    output: usize,
    taps: Vec<Shift>,
    /// For each column of taps, the lanes of every position that stay in their row: all bits or none.
    masks: Vec<i32>,
    /// Elements from one column's masks to the next.
    masks_len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Shift {
    /// Where position zero reads, in the copy.
    from: usize,
    /// Where its masks begin, unless all lanes stay.
    masks: Option<usize>,
}

impl Flat {
    /// `None` where a plane does not have this form.
    pub(super) fn new(rows: Axis, columns: Axis) -> Option<Flat> {
        let output = rows.output.checked_mul(columns.output).filter(|&positions| positions <= POSITIONS)?;
        let input = rows.input.checked_mul(columns.input).filter(|&positions| positions <= 2 * POSITIONS)?;
        let taps = rows.kernel.checked_mul(columns.kernel).filter(|&taps| taps <= TAPS)?;
        if (rows.stride, columns.stride) != (1, 1) || columns.input != columns.output || taps == 0 || output == 0 {
            return None;
        }
        let shift = |axis: Axis, tap: usize| {
            let at = i64::try_from(tap.checked_mul(axis.dilation)?).ok()?;
            at.checked_sub(i64::try_from(axis.pad).ok()?).filter(|at| at.unsigned_abs() <= POSITIONS as u64)
        };
        let width = columns.input as i64;
        let mut shifts = Vec::with_capacity(taps);
        for i in 0..rows.kernel {
            for j in 0..columns.kernel {
                shifts.push(shift(rows, i)?.checked_mul(width)? + shift(columns, j)?);
            }
        }
        let before = shifts.iter().map(|&shift| -shift).max()?.max(0) as usize;
        let end = shifts.iter().max()? + (before + output) as i64;
        let padded = (before + input).max(usize::try_from(end).ok()?) + SLACK;
        let masks_len = output.next_multiple_of(SLACK);
        let mut masks = Vec::with_capacity(columns.kernel * masks_len);
        let mut stays = Vec::with_capacity(columns.kernel);
        for j in 0..columns.kernel {
            let shift = shift(columns, j)?;
            stays.push(shift == 0);
            masks.extend((0..masks_len).map(|position| {
                let column = (position % columns.output) as i64 + shift;
                if (0..width).contains(&column) { -1 } else { 0 }
            }));
        }
        let taps = shifts.iter().enumerate().map(|(tap, &shift)| {
            let column = tap % columns.kernel;
            let masks = (!stays[column]).then_some(column * masks_len);
            Shift { from: (before as i64 + shift) as usize, masks }
        });
        let taps = taps.collect();
        Some(Flat { input, before, padded, output, taps, masks, masks_len })
    }

    /// Elements of the copy.
    pub(super) fn elements(&self) -> usize {
        self.padded
    }

    /// The part of the copy that holds the plane; the rest must be zero.
    pub(super) fn plane(&self) -> std::ops::Range<usize> {
        self.before..self.before + self.input
    }

    pub(super) fn taps(&self) -> usize {
        self.taps.len()
    }

    /// Elements of sums.
    pub(super) fn sums(&self) -> usize {
        self.masks_len
    }

    /// Output positions.
    pub(super) fn output(&self) -> usize {
        self.output
    }
}

/// The sums of one channel: its copy in `padded` times the weights.
pub(super) struct Plane<'a> {
    pub(super) flat: &'a Flat,
    pub(super) padded: &'a [f32],
    pub(super) weights: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

impl Algorithm for Plane<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        const N: usize = 4;
        let Plane { flat, padded, weights, sums } = self;
        let block = N * L::WIDTH;
        for (at, sums) in (0..flat.output).step_by(block).zip(sums.chunks_exact_mut(block)) {
            let mut held = [L::splat(0.0); N];
            for (&weight, tap) in weights.iter().zip(&flat.taps) {
                let weight = L::splat(weight);
                let source = &padded[tap.from + at..][..block];
                match tap.masks {
                    None => {
                        for v in 0..N {
                            held[v] = weight.mul_add(L::load(&source[v * L::WIDTH..]), held[v]);
                        }
                    }
                    Some(masks) => {
                        let masks = &flat.masks[masks + at..][..block];
                        for v in 0..N {
                            let mask = L::Int::load(&masks[v * L::WIDTH..]);
                            let inside = (L::load(&source[v * L::WIDTH..]).to_bits() & mask).bitcast();
                            held[v] = weight.mul_add(inside, held[v]);
                        }
                    }
                }
            }
            for v in 0..N {
                held[v].store(&mut sums[v * L::WIDTH..]);
            }
        }
    }
}
