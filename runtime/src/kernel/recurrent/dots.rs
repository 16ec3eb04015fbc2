//! Many dot products of weight rows with a few vectors, both read where they are.
//!
//! In a recurrence the vectors are few and change in every step, so nothing is gained by packing; and the rows, which
//! are many, stream through the cache once. Each dot product is one chain of vector multiply-adds, summed at the end
//! in the fixed order of [`Lanes::reduce_sum`].

use rayon::prelude::*;

use crate::kernel::call::Threads;
use crate::kernel::gemm::Rows;
use crate::simd::{Algorithm, Isa, Lanes};

/// `sums[r * batch + b]` becomes row `r` times vector `b`.
pub(super) struct Dots<'a> {
    pub rows: Rows<'a>,
    pub depth: usize,
    /// `[batch][depth]`.
    pub vectors: &'a [f32],
    pub batch: usize,
    pub sums: &'a mut [f32],
}

/// Rows that a thread takes at a time.
const SHARE: usize = 64;

/// Computes all sums, on up to `threads.count` threads.
pub(super) fn multiply(isa: Isa, threads: Threads, dots: Dots) {
    let Dots { rows, depth, vectors, batch, sums } = dots;
    match threads.pool {
        Some(pool) if threads.count > 1 && batch > 0 => pool.install(|| {
            sums.par_chunks_mut(SHARE * batch).enumerate().for_each(|(share, sums)| {
                let start = rows.start + (share * SHARE) as i64 * rows.stride;
                isa.run(Dots { rows: Rows { start, ..rows }, depth, vectors, batch, sums });
            });
        }),
        _ => isa.run(Dots { rows, depth, vectors, batch, sums }),
    }
}

impl Algorithm for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let count = self.sums.len().checked_div(self.batch).unwrap_or(0);
        let mut row = 0;
        while row < count {
            // A single vector leaves registers for more rows, and the rows stream from memory.
            row += match count - row {
                8.. if self.batch == 1 => self.row_block::<L, 8>(row),
                4.. => self.row_block::<L, 4>(row),
                _ => self.row_block::<L, 1>(row),
            };
        }
    }
}

impl Dots<'_> {
    /// All products of `R` rows. Returns `R`.
    #[inline(always)]
    fn row_block<L: Lanes, const R: usize>(&mut self, row: usize) -> usize {
        let mut b = 0;
        while b + 2 <= self.batch {
            self.block::<L, R, 2>(row, b);
            b += 2;
        }
        if b < self.batch {
            self.block::<L, R, 1>(row, b);
        }
        R
    }

    #[inline(always)]
    fn block<L: Lanes, const R: usize, const B: usize>(&mut self, row: usize, b: usize) {
        let depth = self.depth;
        let mut rows = [&[][..]; R];
        for (i, slice) in rows.iter_mut().enumerate() {
            *slice = self.rows.row(row + i, depth);
        }
        let mut vectors = [&[][..]; B];
        for (i, slice) in vectors.iter_mut().enumerate() {
            *slice = &self.vectors[(b + i) * depth..][..depth];
        }
        let mut held = [[L::splat(0.0); B]; R];
        let mut k = 0;
        while k < depth {
            let end = (k + L::WIDTH).min(depth);
            let mut v = [L::splat(0.0); B];
            for (v, vector) in v.iter_mut().zip(&vectors) {
                *v = L::load_partial(&vector[k..end], 0.0);
            }
            for (held, row) in held.iter_mut().zip(&rows) {
                let weights = L::load_partial(&row[k..end], 0.0);
                for (held, v) in held.iter_mut().zip(&v) {
                    *held = weights.mul_add(*v, *held);
                }
            }
            k = end;
        }
        for (i, held) in held.into_iter().enumerate() {
            for (j, held) in held.into_iter().enumerate() {
                self.sums[(row + i) * self.batch + b + j] = held.reduce_sum();
            }
        }
    }
}
