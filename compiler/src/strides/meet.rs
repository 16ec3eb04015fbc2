//! Whether two strided regions meet, decided by search.
//!
//! `offset_a + sum(s_i * x_i) == offset_b + sum(t_j * y_j)` within the extents is a bounded linear Diophantine equation:
//! NP-hard in general, easy for the strides that occur. The search is that of NumPy (mem_overlap.c): largest stride
//! first, the rest bounded by its greatest common divisor and its reach, until a budget is spent.

use super::progression::extended_gcd;
use crate::types::Layout;

/// The answer of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Both touch this element.
    At(i64),
    /// Proved not to meet, after so many cases.
    Never(usize),
    /// Not decided within the budget.
    Unknown,
}

/// One unknown: `stride * x` with `0 <= x <= most`; the stride is positive.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    pub stride: i128,
    pub most: i128,
}

/// Whether terms can sum to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Solution {
    /// Amounts of each distinct stride, the largest first.
    Found(Vec<(i128, i128)>),
    /// There is none, after so many cases.
    None(usize),
    Unknown,
}

struct Search<'a> {
    terms: &'a [Term],
    /// Greatest common divisor and largest sum of the terms from a place on.
    rest: Vec<(i128, i128)>,
    chosen: Vec<i128>,
    budget: usize,
    spent: usize,
}

/// Amounts with which `terms` sum to `target`.
pub fn solve(mut terms: Vec<Term>, target: i128, budget: usize) -> Solution {
    terms.retain(|term| term.most > 0);
    terms.sort_by_key(|term| std::cmp::Reverse(term.stride));
    // Terms of one stride are one term that reaches further.
    let mut merged: Vec<Term> = Vec::new();
    for term in terms {
        match merged.last_mut() {
            Some(last) if last.stride == term.stride => last.most += term.most,
            _ => merged.push(term),
        }
    }
    let mut rest = vec![(0i128, 0i128)];
    for term in merged.iter().rev() {
        let (gcd, sum) = rest[rest.len() - 1];
        let gcd = if gcd == 0 { term.stride } else { extended_gcd(gcd, term.stride).0 };
        rest.push((gcd, sum + term.stride * term.most));
    }
    rest.reverse();
    let mut search = Search { terms: &merged, rest, chosen: Vec::new(), budget, spent: 0 };
    match search.solve(0, target) {
        Some(true) => {
            let amounts = merged.iter().zip(&search.chosen).map(|(term, &x)| (term.stride, x));
            Solution::Found(amounts.collect())
        }
        Some(false) => Solution::None(search.spent),
        None => Solution::Unknown,
    }
}

/// Searches for an element that both layouts touch. Both must be in the same storage and not empty.
pub fn search(a: &Layout, b: &Layout, budget: usize) -> Meeting {
    // With `y = most - y'` for the subtracted terms, every coefficient is positive: sum = target.
    let mut target = i128::from(b.offset) - i128::from(a.offset);
    let mut terms: Vec<Term> = Vec::new();
    for (layout, sign) in [(a, 1i128), (b, -1i128)] {
        for (&extent, &stride) in layout.shape.iter().zip(&layout.strides) {
            let (stride, most) = (i128::from(stride) * sign, extent as i128 - 1);
            if stride == 0 || most == 0 {
                continue;
            }
            if stride < 0 {
                target += -stride * most;
            }
            terms.push(Term { stride: stride.abs(), most });
        }
    }
    match solve(terms, target, budget) {
        Solution::Found(amounts) => Meeting::At(witness(a, amounts)),
        Solution::None(cases) => Meeting::Never(cases),
        Solution::Unknown => Meeting::Unknown,
    }
}

/// The element of `a` that a solution names. A merged term's value is spread over its axes, those of `a` first; the
/// axes of `b` that run backwards were turned, which does not concern `a`.
fn witness(a: &Layout, mut left: Vec<(i128, i128)>) -> i64 {
    let mut element = i128::from(a.offset);
    for (&extent, &stride) in a.shape.iter().zip(&a.strides) {
        let most = extent as i128 - 1;
        if stride == 0 || most == 0 {
            continue;
        }
        let size = i128::from(stride).abs();
        let left = left.iter_mut().find(|(stride, _)| *stride == size);
        let taken = left.map_or(0, |(_, left)| {
            let taken = (*left).min(most);
            *left -= taken;
            taken
        });
        let index = if stride < 0 { most - taken } else { taken };
        element += i128::from(stride) * index;
    }
    i64::try_from(element).unwrap_or(i64::MAX)
}

impl Search<'_> {
    /// Whether the terms from `place` on can sum to `target`; `None` when the budget is spent.
    fn solve(&mut self, place: usize, target: i128) -> Option<bool> {
        let (gcd, reach) = self.rest[place];
        if target < 0 || target > reach {
            return Some(false);
        }
        if target == 0 {
            self.chosen.resize(self.terms.len(), 0);
            return Some(true);
        }
        if gcd == 0 || target % gcd != 0 {
            return Some(false);
        }
        let term = self.terms[place];
        let (rest_gcd, rest_reach) = self.rest[place + 1];
        // What the rest cannot reach, this term must.
        let least = ((target - rest_reach).max(0) + term.stride - 1) / term.stride;
        let most = term.most.min(target / term.stride);
        // stride * x must equal the target modulo the greatest common divisor of the rest.
        let (mut x, step) = if rest_gcd == 0 {
            if target % term.stride != 0 {
                return Some(false);
            }
            (target / term.stride, 1)
        } else {
            let (common, inverse, _) = extended_gcd(term.stride, rest_gcd);
            if target % common != 0 {
                return Some(false);
            }
            let period = rest_gcd / common;
            let first = (inverse % period * (target / common % period)).rem_euclid(period);
            let behind = (least - first).max(0);
            (first + (behind + period - 1) / period * period, period)
        };
        while x >= least && x <= most {
            self.spent += 1;
            if self.spent > self.budget {
                return None;
            }
            self.chosen.truncate(place);
            self.chosen.push(x);
            if self.solve(place + 1, target - term.stride * x)? {
                return Some(true);
            }
            x += step;
        }
        Some(false)
    }
}
