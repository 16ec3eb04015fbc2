//! The row functions themselves, on rows that lie one after the other.

use crate::kernel::RowFn;
use crate::kernel::sum::{ExpBelow, Identity, PIECE, SUMS, Square, SquaredDistance, Term, sum, total};
use crate::simd::{Algorithm, Lanes};

/// Rows of `f32`.
pub(super) struct FloatRows<'a> {
    pub(super) function: RowFn,
    pub(super) len: usize,
    /// The elements, if they are not in `target`.
    pub(super) source: Option<&'a [f32]>,
    pub(super) target: &'a mut [f32],
}

impl Algorithm for FloatRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (row, target) in self.target.chunks_exact_mut(self.len).enumerate() {
            let source = self.source.map(|source| &source[row * self.len..][..self.len]);
            match self.function {
                RowFn::Softmax => softmax::<L>(source, target),
                RowFn::LogSoftmax => log_softmax::<L>(source, target),
                RowFn::LayerNorm { eps } => layer_norm::<L>(source, target, f64::from_bits(eps)),
                RowFn::RmsNorm { eps } => rms_norm::<L>(source, target, f64::from_bits(eps)),
            }
        }
    }
}

/// Replaces every element by its term, from `source` if there is one, and gives their sum.
#[inline(always)]
fn replace_and_sum<L: Lanes, T: Term<L>>(source: Option<&[f32]>, target: &mut [f32], term: &T, fill: f32) -> f64 {
    let mut all = 0.0f64;
    for (nth, piece) in target.chunks_mut(PIECE).enumerate() {
        let source = source.map(|source| &source[nth * PIECE..][..piece.len()]);
        let mut sums = [L::splat(0.0); SUMS];
        let whole = piece.len() / (SUMS * L::WIDTH) * (SUMS * L::WIDTH);
        let (blocks, rest) = piece.split_at_mut(whole);
        match source {
            Some(source) => {
                let sources = source.chunks_exact(SUMS * L::WIDTH);
                for (block, source) in blocks.chunks_exact_mut(SUMS * L::WIDTH).zip(sources) {
                    for (nth, sum) in sums.iter_mut().enumerate() {
                        let value = term.of(L::load(&source[nth * L::WIDTH..]));
                        value.store(&mut block[nth * L::WIDTH..]);
                        *sum = *sum + value;
                    }
                }
            }
            None => {
                for block in blocks.chunks_exact_mut(SUMS * L::WIDTH) {
                    for (nth, sum) in sums.iter_mut().enumerate() {
                        let value = term.of(L::load(&block[nth * L::WIDTH..]));
                        value.store(&mut block[nth * L::WIDTH..]);
                        *sum = *sum + value;
                    }
                }
            }
        }
        for (nth, rest) in rest.chunks_mut(L::WIDTH).enumerate() {
            let x = match source {
                Some(source) => L::load_partial(&source[whole + nth * L::WIDTH..][..rest.len()], fill),
                None => L::load_partial(rest, fill),
            };
            let value = term.of(x);
            value.store_partial(rest);
            sums[nth] = sums[nth] + value;
        }
        all += total(sums);
    }
    all
}

/// Replaces every element `x` by `(x - shift) * scale`, from `source` if there is one.
#[inline(always)]
fn rescale<L: Lanes>(source: Option<&[f32]>, target: &mut [f32], shift: f32, scale: f32) {
    let (shift, scale) = (L::splat(shift), L::splat(scale));
    match source {
        Some(source) => {
            let (mut sources, mut targets) = (source.chunks_exact(L::WIDTH), target.chunks_exact_mut(L::WIDTH));
            for (source, target) in sources.by_ref().zip(targets.by_ref()) {
                ((L::load(source) - shift) * scale).store(target);
            }
            let x = L::load_partial(sources.remainder(), 0.0);
            ((x - shift) * scale).store_partial(targets.into_remainder());
        }
        None => {
            for target in target.chunks_mut(L::WIDTH) {
                ((L::load_partial(target, 0.0) - shift) * scale).store_partial(target);
            }
        }
    }
}

/// The largest element that is not NaN, or minus infinity.
#[inline(always)]
fn largest<L: Lanes>(row: &[f32]) -> f32 {
    let mut all = [L::splat(f32::NEG_INFINITY); SUMS];
    let mut blocks = row.chunks_exact(SUMS * L::WIDTH);
    for block in blocks.by_ref() {
        for (nth, all) in all.iter_mut().enumerate() {
            // Of a NaN and another operand this maximum is the second.
            *all = L::load(&block[nth * L::WIDTH..]).max(*all);
        }
    }
    for rest in blocks.remainder().chunks(L::WIDTH) {
        all[0] = L::load_partial(rest, f32::NEG_INFINITY).max(all[0]);
    }
    all[0].max(all[1]).max(all[2].max(all[3])).reduce_max()
}

/// A NaN makes the sum NaN and with it the whole row, so the maximum may pass over it.
#[inline(always)]
fn softmax<L: Lanes>(source: Option<&[f32]>, target: &mut [f32]) {
    let shift = L::splat(largest::<L>(source.unwrap_or(target)));
    let total = replace_and_sum::<L, _>(source, target, &ExpBelow(shift), f32::NEG_INFINITY);
    rescale::<L>(None, target, 0.0, (1.0 / total) as f32);
}

#[inline(always)]
fn log_softmax<L: Lanes>(source: Option<&[f32]>, target: &mut [f32]) {
    let shift = largest::<L>(source.unwrap_or(target));
    let total = sum::<L, _>(source.unwrap_or(target), &ExpBelow(L::splat(shift)), f32::NEG_INFINITY);
    let log = L::splat(libm::log(total) as f32);
    rescale::<L>(source, target, shift, 1.0);
    for target in target.chunks_mut(L::WIDTH) {
        (L::load_partial(target, 0.0) - log).store_partial(target);
    }
}

#[inline(always)]
fn layer_norm<L: Lanes>(source: Option<&[f32]>, target: &mut [f32], eps: f64) {
    let row = source.unwrap_or(target);
    let n = row.len() as f64;
    let mean = (sum::<L, _>(row, &Identity, 0.0) / n) as f32;
    // Distances from the mean before squaring: the variance does not suffer from a large mean.
    let squares = sum::<L, _>(row, &SquaredDistance(L::splat(mean)), mean);
    rescale::<L>(source, target, mean, (1.0 / (squares / n + eps).sqrt()) as f32);
}

#[inline(always)]
fn rms_norm<L: Lanes>(source: Option<&[f32]>, target: &mut [f32], eps: f64) {
    let row = source.unwrap_or(target);
    let squares = sum::<L, _>(row, &Square, 0.0);
    rescale::<L>(source, target, 0.0, (1.0 / (squares / row.len() as f64 + eps).sqrt()) as f32);
}

/// Rows of `f64`, by the definition.
pub(super) struct DoubleRows<'a> {
    pub(super) function: RowFn,
    pub(super) len: usize,
    pub(super) source: Option<&'a [f64]>,
    pub(super) target: &'a mut [f64],
}

impl DoubleRows<'_> {
    pub(super) fn run(self) {
        if let Some(source) = self.source {
            self.target.copy_from_slice(source);
        }
        let n = self.len as f64;
        for row in self.target.chunks_exact_mut(self.len) {
            match self.function {
                RowFn::Softmax | RowFn::LogSoftmax => {
                    let largest =
                        row.iter().fold(f64::NEG_INFINITY, |largest, &x| if x > largest { x } else { largest });
                    let total: f64 = row.iter().map(|&x| libm::exp(x - largest)).sum();
                    match self.function {
                        RowFn::Softmax => row.iter_mut().for_each(|x| *x = libm::exp(*x - largest) / total),
                        _ => row.iter_mut().for_each(|x| *x = *x - largest - libm::log(total)),
                    }
                }
                RowFn::LayerNorm { eps } => {
                    let mean = row.iter().sum::<f64>() / n;
                    let variance = row.iter().map(|&x| (x - mean) * (x - mean)).sum::<f64>() / n;
                    let deviation = (variance + f64::from_bits(eps)).sqrt();
                    row.iter_mut().for_each(|x| *x = (*x - mean) / deviation);
                }
                RowFn::RmsNorm { eps } => {
                    let squares = row.iter().map(|&x| x * x).sum::<f64>() / n;
                    let deviation = (squares + f64::from_bits(eps)).sqrt();
                    row.iter_mut().for_each(|x| *x /= deviation);
                }
            }
        }
    }
}
