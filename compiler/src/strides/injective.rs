//! Whether a region names an element twice.
//!
//! The quick test of [`Layout::is_injective`] asks that each stride step over all smaller ones. That is sufficient, not necessary:
//! shape `[2, 3]` with strides `[3, 2]` holds the elements 0, 2, 4, 3, 5, 7. What it leaves open is decided by search: two indices
//! that name one element differ by `d`, not zero, with `sum(s_i * d_i) == 0` and `|d_i| < n_i`. Where the first axis on which
//! they differ is `k`, the sign can be chosen so that `d_k > 0`; one bounded equation an axis decides the matter (NumPy's
//! `solve_may_have_internal_overlap` in mem_overlap.c asks the same question).

use super::meet::{Solution, Term, solve};
use crate::types::Layout;

/// Cases that the search may try.
const BUDGET: usize = 100_000;

/// Elements of a written region whose strides interlock, so that it is written element by element at positions found when
/// compiling. Such regions come from `as_strided` alone.
pub const MOST_INTERLOCKED: usize = 1 << 20;

/// Whether an element has two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Every index has an element of its own.
    Unique,
    /// Two indices name one element.
    Repeated,
    /// Not decided within the budget, to be treated as repeated.
    Unknown,
}

/// Whether no two indices of `layout` name one element.
pub fn naming(layout: &Layout) -> Naming {
    if layout.is_injective() {
        return Naming::Unique;
    }
    let axes = layout.shape.iter().zip(&layout.strides).filter(|axis| *axis.0 > 1);
    let axes: Vec<(i128, i128)> = axes.map(|(&n, &stride)| (i128::from(stride).abs(), n as i128 - 1)).collect();
    if axes.iter().any(|axis| axis.0 == 0) {
        return Naming::Repeated;
    }
    let mut naming = Naming::Unique;
    for (k, &(stride, most)) in axes.iter().enumerate() {
        // stride * (1 + x) + sum(s_j * (y_j - most_j)) == 0 with 0 <= x < most and 0 <= y_j <= 2 most_j.
        let mut target = -stride;
        let mut terms = vec![Term { stride, most: most - 1 }];
        for &(stride, most) in &axes[k + 1..] {
            target += stride * most;
            terms.push(Term { stride, most: 2 * most });
        }
        match solve(terms, target, BUDGET) {
            Solution::Found(_) => return Naming::Repeated,
            Solution::None(_) => {}
            Solution::Unknown => naming = Naming::Unknown,
        }
    }
    naming
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn naming_agrees_with_enumeration() {
        let mut decided = (0, 0);
        for code in 0..60_000u64 {
            let digit = |place: u32, base: u64| (code.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (place * 6)) % base;
            let rank = digit(0, 4) as usize;
            let shape: Vec<usize> = (0..rank).map(|axis| digit(1 + axis as u32, 5) as usize).collect();
            let strides: Vec<i64> = (0..rank).map(|axis| digit(5 + axis as u32, 17) as i64 - 8).collect();
            let layout = Layout { offset: 0, shape, strides };
            let mut elements = vec![0i64];
            for (&n, &stride) in layout.shape.iter().zip(&layout.strides) {
                elements = elements.iter().flat_map(|&at| (0..n as i64).map(move |i| at + i * stride)).collect();
            }
            let distinct: BTreeSet<i64> = elements.iter().copied().collect();
            let expected = if distinct.len() == elements.len() { Naming::Unique } else { Naming::Repeated };
            assert_eq!(naming(&layout), expected, "{layout:?}");
            decided.0 += usize::from(expected == Naming::Unique && !layout.is_injective());
            decided.1 += usize::from(expected == Naming::Repeated);
        }
        assert!(decided.0 > 2_000 && decided.1 > 5_000, "{decided:?}");
    }
}
