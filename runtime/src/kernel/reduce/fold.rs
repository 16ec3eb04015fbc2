//! Folding values into totals: along lines, and across rows into columns.
//!
//! Totals of floats are `f64`. Of `f32` values, sums and extremes run in vectors: along a line as in
//! [`sum`](crate::kernel::sum); across rows in one `f32` a column, which is emptied into the total after each block of
//! rows. Products run in `f64`, where no partial product of a finite result overflows that would not overflow in `f32`.

use crate::kernel::ReduceFn;
use crate::kernel::sum::{Identity, SUMS, sum};
use crate::kernel::tile::Values;
use crate::simd::{Algorithm, Isa, Lanes};
use crate::types::DType;

/// What nothing combines to.
pub(super) fn neutral_float(function: ReduceFn) -> f64 {
    match function {
        ReduceFn::Sum | ReduceFn::Mean => 0.0,
        ReduceFn::Prod => 1.0,
        ReduceFn::Max => f64::NEG_INFINITY,
        ReduceFn::Min => f64::INFINITY,
    }
}

/// What nothing combines to: of extremes the least or largest element of the dtype.
pub(super) fn neutral_int(function: ReduceFn, dtype: DType) -> i64 {
    let (least, largest) = match dtype {
        DType::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DType::U8 => (0, i64::from(u8::MAX)),
        DType::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        DType::I64 => (i64::MIN, i64::MAX),
        _ => (0, 1),
    };
    match function {
        ReduceFn::Sum | ReduceFn::Mean => 0,
        ReduceFn::Prod => 1,
        ReduceFn::Max => least,
        ReduceFn::Min => largest,
    }
}

#[inline(always)]
fn combine_float(function: ReduceFn, total: f64, x: f64) -> f64 {
    match function {
        ReduceFn::Sum | ReduceFn::Mean => total + x,
        ReduceFn::Prod => total * x,
        ReduceFn::Max if x > total || x.is_nan() => x,
        ReduceFn::Min if x < total || x.is_nan() => x,
        // A total that is NaN compares false, so it stays.
        ReduceFn::Max | ReduceFn::Min => total,
    }
}

#[inline(always)]
fn combine_int(function: ReduceFn, total: i64, x: i64) -> i64 {
    match function {
        ReduceFn::Sum | ReduceFn::Mean => total.wrapping_add(x),
        ReduceFn::Prod => total.wrapping_mul(x),
        ReduceFn::Max => total.max(x),
        ReduceFn::Min => total.min(x),
    }
}

/// Totals, one for each element that remains.
pub(super) enum Totals<'a> {
    Float(&'a mut [f64]),
    Int(&'a mut [i64]),
}

/// Combines each total with the values of one line; lines are `len` long and lie one after the other.
pub(super) fn lines(isa: Isa, function: ReduceFn, len: usize, values: Values, totals: Totals) {
    match (values, totals) {
        (Values::F32(values), Totals::Float(totals)) => isa.run(FloatLines { function, len, values, totals }),
        (Values::F64(values), Totals::Float(totals)) => {
            for (line, total) in values.chunks_exact(len).zip(totals) {
                *total = line.iter().fold(*total, |total, &x| combine_float(function, total, x));
            }
        }
        (Values::I32(values), Totals::Int(totals)) => {
            for (line, total) in values.chunks_exact(len).zip(totals) {
                *total = line.iter().fold(*total, |total, &x| combine_int(function, total, i64::from(x)));
            }
        }
        (Values::I64(values), Totals::Int(totals)) => {
            for (line, total) in values.chunks_exact(len).zip(totals) {
                *total = line.iter().fold(*total, |total, &x| combine_int(function, total, x));
            }
        }
        _ => {}
    }
}

struct FloatLines<'a> {
    function: ReduceFn,
    len: usize,
    values: &'a [f32],
    totals: &'a mut [f64],
}

impl Algorithm for FloatLines<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let FloatLines { function, len, values, totals } = self;
        for (line, total) in values.chunks_exact(len).zip(totals) {
            match function {
                ReduceFn::Sum | ReduceFn::Mean => *total += sum::<L, _>(line, &Identity, 0.0),
                ReduceFn::Prod => *total = line.iter().fold(*total, |total, &x| total * f64::from(x)),
                ReduceFn::Max => {
                    *total = combine_float(function, *total, f64::from(largest::<L, false>(line)));
                }
                // The least is the largest with all signs changed.
                ReduceFn::Min => {
                    *total = combine_float(function, *total, -f64::from(largest::<L, true>(line)));
                }
            }
        }
    }
}

/// The largest element, or with `NEGATED` the largest of the negated ones; NaN if any is NaN.
#[inline(always)]
fn largest<L: Lanes, const NEGATED: bool>(line: &[f32]) -> f32 {
    let mut all = [L::splat(f32::NEG_INFINITY); SUMS];
    let fill = if NEGATED { f32::INFINITY } else { f32::NEG_INFINITY };
    for block in line.chunks(SUMS * L::WIDTH) {
        for (all, part) in all.iter_mut().zip(block.chunks(L::WIDTH)) {
            let x = L::load_partial(part, fill);
            *all = all.maximum(if NEGATED { -x } else { x });
        }
    }
    all[0].maximum(all[1]).maximum(all[2].maximum(all[3])).reduce_max()
}

/// Totals of columns, and what of them is still in `f32`.
pub(super) struct Columns<'a> {
    pub(super) totals: Totals<'a>,
    /// Used for `f32` values.
    pub(super) partial: &'a mut [f32],
    /// Rows that are in `partial` only.
    pub(super) pending: usize,
}

/// Rows that are folded in `f32` before the totals take over.
pub(super) const ROWS: usize = 128;

impl Columns<'_> {
    /// Sets totals and partial results to what nothing combines to.
    pub(super) fn clear(&mut self, function: ReduceFn, dtype: DType) {
        match &mut self.totals {
            Totals::Float(totals) => totals.fill(neutral_float(function)),
            Totals::Int(totals) => totals.fill(neutral_int(function, dtype)),
        }
        self.partial.fill(neutral_float(function) as f32);
        self.pending = 0;
    }

    /// Moves what is still in `f32` to the totals.
    pub(super) fn settle(&mut self, function: ReduceFn) {
        if let (1.., Totals::Float(totals)) = (std::mem::take(&mut self.pending), &mut self.totals) {
            for (total, partial) in totals.iter_mut().zip(self.partial.iter_mut()) {
                *total = combine_float(function, *total, f64::from(*partial));
                *partial = neutral_float(function) as f32;
            }
        }
    }

    /// Combines every column with the values of some rows, at most [`ROWS`]; rows begin `pitch` values apart.
    pub(super) fn rows(&mut self, isa: Isa, function: ReduceFn, values: Values, pitch: usize) {
        match (values, &mut self.totals) {
            (Values::F32(values), Totals::Float(totals)) => {
                if function == ReduceFn::Prod {
                    for row in values.chunks(pitch) {
                        totals.iter_mut().zip(row).for_each(|(total, &x)| *total *= f64::from(x));
                    }
                    return;
                }
                self.pending += values.len().div_ceil(pitch);
                isa.run(FloatRows { function, values, pitch, partial: self.partial });
                if self.pending >= ROWS {
                    self.settle(function);
                }
            }
            (Values::F64(values), Totals::Float(totals)) => {
                for row in values.chunks(pitch) {
                    totals.iter_mut().zip(row).for_each(|(total, &x)| *total = combine_float(function, *total, x));
                }
            }
            (Values::I32(values), Totals::Int(totals)) => {
                for row in values.chunks(pitch) {
                    let columns = totals.iter_mut().zip(row);
                    columns.for_each(|(total, &x)| *total = combine_int(function, *total, i64::from(x)));
                }
            }
            (Values::I64(values), Totals::Int(totals)) => {
                for row in values.chunks(pitch) {
                    totals.iter_mut().zip(row).for_each(|(total, &x)| *total = combine_int(function, *total, x));
                }
            }
            _ => {}
        }
    }
}

struct FloatRows<'a> {
    function: ReduceFn,
    values: &'a [f32],
    pitch: usize,
    partial: &'a mut [f32],
}

impl Algorithm for FloatRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let FloatRows { function, values, pitch, partial } = self;
        for row in values.chunks(pitch) {
            let row = &row[..partial.len()];
            match function {
                ReduceFn::Max => {
                    for (partial, x) in partial.chunks_mut(L::WIDTH).zip(row.chunks(L::WIDTH)) {
                        L::load_partial(partial, 0.0).maximum(L::load_partial(x, 0.0)).store_partial(partial);
                    }
                }
                ReduceFn::Min => {
                    for (partial, x) in partial.chunks_mut(L::WIDTH).zip(row.chunks(L::WIDTH)) {
                        L::load_partial(partial, 0.0).minimum(L::load_partial(x, 0.0)).store_partial(partial);
                    }
                }
                _ => {
                    for (partial, x) in partial.chunks_mut(L::WIDTH).zip(row.chunks(L::WIDTH)) {
                        (L::load_partial(partial, 0.0) + L::load_partial(x, 0.0)).store_partial(partial);
                    }
                }
            }
        }
    }
}
