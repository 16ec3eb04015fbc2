//! Arithmetic progressions: the indices that a view takes of one axis, and which of them two views share.

/// `start, start + step, ...`, `len` numbers; the first rung of exact answers. A step may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Progression {
    pub start: i64,
    pub step: i64,
    pub len: usize,
}

impl Progression {
    /// All indices of an axis.
    pub fn all(extent: usize) -> Progression {
        Progression { start: 0, step: 1, len: extent }
    }

    /// The numbers `start + step * k` for the `k` of `inner`: a view of a view.
    pub fn then(self, inner: Progression) -> Progression {
        match inner.len {
            // A start behind the end and a step that is never taken say nothing.
            0 => Progression { start: self.start, step: 1, len: 0 },
            1 => Progression { start: self.start + self.step * inner.start, step: 1, len: 1 },
            len => Progression { start: self.start + self.step * inner.start, step: self.step * inner.step, len },
        }
    }

    /// The same numbers, rising; one number has step 1.
    pub fn normalised(self) -> Progression {
        match self {
            Progression { start, len: 0 | 1, .. } => Progression { start, step: 1, len: self.len },
            Progression { start, step, len } if step < 0 => {
                Progression { start: start + step * (len as i64 - 1), step: -step, len }
            }
            _ => self,
        }
    }

    /// The last number of a normalised progression that is not empty.
    fn last(self) -> i64 {
        self.start + self.step * (self.len as i64 - 1)
    }

    /// The numbers in both, rising. By the Chinese remainder theorem the common numbers of two progressions step by the
    /// least common multiple of their steps; exact for any starts, steps and lengths.
    pub fn intersection(self, other: Progression) -> Progression {
        let empty = Progression { start: 0, step: 1, len: 0 };
        let (a, b) = (self.normalised(), other.normalised());
        if a.len == 0 || b.len == 0 {
            return empty;
        }
        // A repeated index (step zero) is one number.
        if a.step == 0 || b.step == 0 {
            let (single, many) = if a.step == 0 { (a, b) } else { (b, a) };
            let inside = match many.step {
                0 => many.start == single.start,
                step => {
                    let distance = single.start - many.start;
                    distance >= 0 && single.start <= many.last() && distance % step == 0
                }
            };
            return if inside { Progression { start: single.start, step: 1, len: 1 } } else { empty };
        }
        let (gcd, x, _) = extended_gcd(i128::from(a.step), i128::from(b.step));
        let difference = i128::from(b.start) - i128::from(a.start);
        if difference % gcd != 0 {
            return empty;
        }
        // a.start + a.step * k is in b where k = x * difference / gcd, modulo b.step / gcd.
        let period = i128::from(b.step) / gcd;
        let k = (x % period * (difference / gcd % period)).rem_euclid(period);
        let step = i128::from(a.step) * period;
        let first = i128::from(a.start) + i128::from(a.step) * k;
        let low = i128::from(a.start.max(b.start));
        let high = i128::from(a.last().min(b.last()));
        let start = if first >= low { first } else { first + (low - first + step - 1) / step * step };
        if start > high {
            return empty;
        }
        let len = (high - start) / step + 1;
        let narrow = |number: i128| i64::try_from(number).unwrap_or(i64::MAX);
        Progression { start: narrow(start), step: narrow(step), len: usize::try_from(len).unwrap_or(usize::MAX) }
            .normalised()
    }

    /// How many different numbers there are.
    pub fn distinct(self) -> usize {
        if self.step == 0 { self.len.min(1) } else { self.len }
    }
}

impl std::fmt::Display for Progression {
    /// `3`, `0..4`, or `0..8 by 2`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Progression { start, step, len } = self.normalised();
        match (len, step) {
            (0, _) => f.write_str("nothing"),
            (1, _) | (_, 0) => write!(f, "{start}"),
            (_, 1) => write!(f, "{start}..{}", start + len as i64),
            _ => write!(f, "{start}..{} by {step}", start + step * (len as i64 - 1) + 1),
        }
    }
}

/// `(g, x, y)` with `a * x + b * y == g`, the greatest common divisor, for `a` and `b` above zero.
pub fn extended_gcd(a: i128, b: i128) -> (i128, i128, i128) {
    let (mut r, mut next_r) = (a, b);
    let (mut x, mut next_x) = (1i128, 0i128);
    let (mut y, mut next_y) = (0i128, 1i128);
    while next_r != 0 {
        let quotient = r / next_r;
        (r, next_r) = (next_r, r - quotient * next_r);
        (x, next_x) = (next_x, x - quotient * next_x);
        (y, next_y) = (next_y, y - quotient * next_y);
    }
    (r, x, y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn numbers(p: Progression) -> BTreeSet<i64> {
        (0..p.len as i64).map(|k| p.start + p.step * k).collect()
    }

    #[test]
    fn intersections_agree_with_enumeration() {
        let mut all = Vec::new();
        for start in 0..7 {
            for step in -4..=5 {
                for len in 0..5 {
                    all.push(Progression { start, step, len });
                }
            }
        }
        for &a in &all {
            for &b in &all {
                let expected: BTreeSet<i64> = numbers(a).intersection(&numbers(b)).copied().collect();
                assert_eq!(numbers(a.intersection(b)), expected, "{a:?} {b:?}");
            }
        }
    }
}
