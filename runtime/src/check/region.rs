//! Sets of bytes that an access touches, and whether two of them meet. The checker's own; the planner has another.
//!
//! A [`Region`] is a start and a list of digits `(extent, stride)` in bytes, the largest stride first, the last stride
//! always 1; it holds the bytes `low + sum(d[i] * stride[i])` for every `0 <= d[i] < extent[i]`. Regions are *nested*:
//! each stride exceeds the sum of all smaller reaches, so that no byte is named twice and bytes come out ascending.
//! An access whose strides do not nest becomes the interval of its hull, which holds more bytes than it touches.
//!
//! Two questions, each answered "yes" only when proven:
//!
//! - [`Region::is_disjoint`]. First by hull. Then by digits: if both regions fit one system of strides
//!   `s0 > s1 > … > 1`, each starting at digits `a[i]` with `sum(j > i, (a[j] + extent[j] - 1) * s[j]) < s[i]`, then
//!   every byte of either has one notation in that system, and the regions meet exactly when they meet in every digit.
//!   Last by listing the runs of both, which is exact, within a budget.
//! - [`Region::contains`], in the same three ways.
//!
//! "No" therefore means "not known"; the caller treats it as the dangerous answer.

use crate::types::Layout;

/// The most runs of one region that are listed to compare it with another.
const MAX_RUNS: u64 = 1 << 16;

/// A non-empty set of bytes of one space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub low: u64,
    /// `(extent, stride)`, strides descending, the last one 1.
    digits: Vec<(u64, u64)>,
}

/// What an access touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// It has no element.
    Nothing,
    /// The region; `exact` when no index repeats an element and the region holds nothing else.
    Bytes { region: Region, exact: bool },
    /// It starts before its space does, or its numbers do not fit.
    OutOfRange,
}

impl Region {
    /// The bytes `low..high`, which must not be empty.
    pub fn interval(low: u64, high: u64) -> Region {
        debug_assert!(low < high);
        Region { low, digits: vec![(high - low, 1)] }
    }

    /// What `layout` touches when its storage begins at byte `start` and an element has `size` bytes.
    pub fn of(start: u64, size: u64, layout: &Layout) -> Touched {
        Region::try_of(start, size, layout).unwrap_or(Touched::OutOfRange)
    }

    fn try_of(start: u64, size: u64, layout: &Layout) -> Option<Touched> {
        if layout.shape.contains(&0) {
            return Some(Touched::Nothing);
        }
        let mut low = i128::from(start) + i128::from(layout.offset) * i128::from(size);
        let mut digits = vec![(size, 1u64)];
        let mut repeats = layout.shape.len() != layout.strides.len();
        for (&extent, &stride) in layout.shape.iter().zip(&layout.strides) {
            if extent == 1 {
                continue;
            }
            if stride == 0 {
                repeats = true;
                continue;
            }
            if stride < 0 {
                low -= i128::from(stride.unsigned_abs()) * (extent as i128 - 1) * i128::from(size);
            }
            digits.push((extent as u64, stride.unsigned_abs().checked_mul(size)?));
        }
        let low = u64::try_from(low).ok()?;
        // The element's own digit stays last: it is the only one that may have stride 1 and belongs below its equals.
        digits.sort_by_key(|&(extent, stride)| std::cmp::Reverse((stride, extent)));
        let region = Region { low, digits };
        let (mut high, mut touched) = (low, 1u64);
        for &(extent, stride) in &region.digits {
            high = high.checked_add(stride.checked_mul(extent - 1)?)?;
            touched = touched.checked_mul(extent)?;
        }
        high.checked_add(1)?;
        Some(match region.joined() {
            Some(joined) => {
                let exact = !repeats && joined.bytes() == touched;
                Touched::Bytes { region: joined, exact }
            }
            None => Touched::Bytes { region: Region::interval(low, high + 1), exact: false },
        })
    }

    /// Joins digits that continue one another; `None` when the rest does not nest.
    fn joined(mut self) -> Option<Region> {
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.digits.len());
        while let Some((mut extent, stride)) = self.digits.pop() {
            // `(extent, stride)` is the smallest digit left; outer digits that step on its end or inside it join it.
            while let Some(&(outer_extent, outer)) = self.digits.last() {
                if !outer.is_multiple_of(stride) || outer > extent.checked_mul(stride)? {
                    break;
                }
                extent = (outer / stride).checked_mul(outer_extent - 1)?.checked_add(extent)?;
                self.digits.pop();
            }
            joined.push((extent, stride));
        }
        let mut reach = 0u64;
        for &(extent, stride) in &joined {
            if stride <= reach {
                return None;
            }
            reach = reach.checked_add(stride.checked_mul(extent - 1)?)?;
        }
        joined.reverse();
        if joined.len() > 1 {
            joined.retain(|&(extent, stride)| extent > 1 || stride == 1);
        }
        Some(Region { low: self.low, digits: joined })
    }

    /// One past the highest byte.
    pub fn high(&self) -> u64 {
        self.low + self.digits.iter().map(|&(extent, stride)| (extent - 1) * stride).sum::<u64>() + 1
    }

    /// How many bytes the region holds.
    pub fn bytes(&self) -> u64 {
        self.digits.iter().map(|&(extent, _)| extent).product()
    }

    /// Whether the region is all of its hull.
    pub fn is_interval(&self) -> bool {
        self.digits.len() == 1
    }

    fn runs(&self) -> u64 {
        self.bytes() / self.digits.last().map_or(1, |&(extent, _)| extent)
    }

    /// Whether the hulls share a byte.
    pub fn hulls_meet(&self, other: &Region) -> bool {
        self.low < other.high() && other.low < self.high()
    }

    /// Whether no byte is in both regions. `frame` is a byte offset at which both are likely to have round digits
    /// (the start of the buffer they are parts of); `budget` bounds the runs that may be listed.
    pub fn is_disjoint(&self, other: &Region, frame: u64, budget: &mut u64) -> bool {
        if !self.hulls_meet(other) {
            return true;
        }
        if self.is_interval() && other.is_interval() {
            return false;
        }
        if let Some(mut pairs) = self.in_one_system(other, frame) {
            return pairs.any(|[(a, a_end), (b, b_end)]| a_end <= b || b_end <= a);
        }
        if !self.may_list(other, budget) {
            return false;
        }
        let (mut left, mut right) = (Runs::of(self), Runs::of(other));
        let (mut a, mut b) = (left.next(), right.next());
        while let (Some(x), Some(y)) = (a, b) {
            if x.1 <= y.0 {
                a = left.next();
            } else if y.1 <= x.0 {
                b = right.next();
            } else {
                return false;
            }
        }
        true
    }

    /// Whether every byte of `other` is in this region.
    pub fn contains(&self, other: &Region, frame: u64, budget: &mut u64) -> bool {
        if other.low < self.low || other.high() > self.high() || other.bytes() > self.bytes() {
            return false;
        }
        if self.is_interval() || self == other {
            return true;
        }
        if let Some(mut pairs) = self.in_one_system(other, frame) {
            return pairs.all(|[(a, a_end), (b, b_end)]| a <= b && b_end <= a_end);
        }
        self.may_list(other, budget) && covers(Runs::of(self), other)
    }

    fn may_list(&self, other: &Region, budget: &mut u64) -> bool {
        let runs = self.runs().saturating_add(other.runs());
        if self.runs() > MAX_RUNS || other.runs() > MAX_RUNS || runs > *budget {
            return false;
        }
        *budget -= runs;
        true
    }

    /// Both regions as intervals of digits of one system, or `None` when the attempts at finding one fail.
    fn in_one_system(&self, other: &Region, frame: u64) -> Option<impl Iterator<Item = [(u64, u64); 2]> + use<>> {
        let mut strides: Vec<u64> = self.digits.iter().chain(&other.digits).map(|&(_, stride)| stride).collect();
        strides.sort_unstable_by_key(|&stride| std::cmp::Reverse(stride));
        strides.dedup();
        let lowest = self.low.min(other.low);
        let origins = [frame.min(lowest), lowest];
        origins.into_iter().find_map(|origin| {
            let left = self.digits_in(&strides, origin)?;
            let right = other.digits_in(&strides, origin)?;
            Some(left.into_iter().zip(right).map(|(a, b)| [a, b]))
        })
    }

    /// The half-open interval of each digit in the system of `strides` counted from `origin`.
    fn digits_in(&self, strides: &[u64], origin: u64) -> Option<Vec<(u64, u64)>> {
        let mut rest = self.low - origin;
        let mut own = self.digits.iter().copied().peekable();
        // What is left of an own digit that spans several strides of the system.
        let mut pending: Option<(u64, u64)> = None;
        let mut intervals = Vec::with_capacity(strides.len());
        for &stride in strides {
            let (start, remainder) = (rest / stride, rest % stride);
            rest = remainder;
            if pending.is_none() {
                // The next own digit starts here when its reach comes to this stride.
                pending = own.next_if(|&(extent, own_stride)| {
                    extent.checked_mul(own_stride).is_none_or(|r| r > stride) || own_stride == stride
                });
            }
            let extent = match pending {
                None => 1,
                Some((extent, own_stride)) if own_stride == stride => {
                    pending = None;
                    extent
                }
                Some((extent, own_stride)) => {
                    // One digit of small stride that runs across this stride is a box only if it fills whole steps.
                    let step = (stride % own_stride == 0).then_some(stride / own_stride)?;
                    if extent % step != 0 {
                        return None;
                    }
                    pending = Some((step, own_stride));
                    extent / step
                }
            };
            intervals.push((start, start.checked_add(extent)?));
        }
        if pending.is_some() || own.next().is_some() || rest != 0 {
            return None;
        }
        let mut reach = 0u64;
        for (&stride, &(_, end)) in strides.iter().zip(&intervals).rev() {
            if reach >= stride {
                return None;
            }
            reach = reach.checked_add((end - 1).checked_mul(stride)?)?;
        }
        Some(intervals)
    }
}

/// The maximal intervals of a region, ascending.
pub(super) struct Runs<'a> {
    outer: &'a [(u64, u64)],
    length: u64,
    index: Vec<u64>,
    at: Option<u64>,
}

impl<'a> Runs<'a> {
    pub fn of(region: &'a Region) -> Runs<'a> {
        let (inner, outer) = region.digits.split_last().expect("a region has at least the digit of its bytes");
        Runs { outer, length: inner.0, index: vec![0; outer.len()], at: Some(region.low) }
    }
}

impl Iterator for Runs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let start = self.at?;
        let mut next = start;
        self.at = None;
        for (digit, &(extent, stride)) in self.index.iter_mut().zip(self.outer).rev() {
            if *digit + 1 < extent {
                *digit += 1;
                self.at = Some(next + stride);
                break;
            }
            next -= *digit * stride;
            *digit = 0;
        }
        Some((start, start + self.length))
    }
}

/// Whether ascending, disjoint `intervals` hold every byte of `region`; intervals that touch count as one.
pub(super) fn covers(mut intervals: impl Iterator<Item = (u64, u64)>, region: &Region) -> bool {
    let mut current = intervals.next();
    let mut ahead = intervals.next();
    for (start, end) in Runs::of(region) {
        loop {
            match (current, ahead) {
                (Some((low, high)), Some((next_low, next_high))) if next_low <= high => {
                    current = Some((low, high.max(next_high)));
                    ahead = intervals.next();
                }
                (Some((_, high)), next) if high <= start => {
                    current = next;
                    ahead = intervals.next();
                }
                _ => break,
            }
        }
        match current {
            Some((low, high)) if low <= start && end <= high => {}
            _ => return false,
        }
    }
    true
}

/// Whether the listed runs of all `facts` together hold every byte of `region`, within the budget.
pub(super) fn union_contains(facts: &[&Region], region: &Region, budget: &mut u64) -> bool {
    let runs = facts.iter().fold(region.runs(), |sum, fact| sum.saturating_add(fact.runs()));
    if runs > MAX_RUNS || runs > *budget {
        return false;
    }
    *budget -= runs;
    let mut intervals: Vec<(u64, u64)> = facts.iter().flat_map(|fact| Runs::of(fact)).collect();
    intervals.sort_unstable();
    covers(intervals.into_iter(), region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    struct Random(u64);

    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 33) % n
        }
    }

    fn bytes_of(start: u64, size: u64, layout: &Layout) -> BTreeSet<u64> {
        let mut bytes = BTreeSet::new();
        for linear in 0..layout.len() {
            let (mut rest, mut at) = (linear, layout.offset);
            for axis in (0..layout.rank()).rev() {
                at += (rest % layout.shape[axis]) as i64 * layout.strides[axis];
                rest /= layout.shape[axis];
            }
            let first = (start as i64 + at * size as i64) as u64;
            bytes.extend(first..first + size);
        }
        bytes
    }

    fn listed(region: &Region) -> BTreeSet<u64> {
        Runs::of(region).flat_map(|(low, high)| low..high).collect()
    }

    fn random_layout(random: &mut Random) -> Layout {
        let rank = random.below(4) as usize;
        let parent: Vec<usize> = (0..rank).map(|_| 1 + random.below(5) as usize).collect();
        let mut layout = Layout { offset: 0, shape: Vec::new(), strides: crate::types::dense_strides(&parent) };
        for (axis, &length) in parent.iter().enumerate() {
            let start = random.below(length as u64) as usize;
            let step = 1 + random.below(2) as usize;
            let extent = 1 + random.below((length - start).div_ceil(step) as u64) as usize;
            layout.offset += start as i64 * layout.strides[axis];
            layout.shape.push(extent);
            layout.strides[axis] *= step as i64;
            match random.below(12) {
                0 => {
                    layout.offset += layout.strides[axis] * (extent as i64 - 1);
                    layout.strides[axis] = -layout.strides[axis];
                }
                1 => layout.strides[axis] = 0,
                2 => layout.strides[axis] = 1 + random.below(7) as i64,
                _ => {}
            }
        }
        if rank == 3 && random.below(3) == 0 {
            layout.shape.swap(0, 2);
            layout.strides.swap(0, 2);
        }
        layout
    }

    #[test]
    fn regions_hold_the_bytes_of_their_layout() {
        let mut random = Random(1);
        let mut exact_count = 0;
        for _ in 0..3000 {
            let (layout, size) = (random_layout(&mut random), 1 << random.below(3));
            let want = bytes_of(1000, size, &layout);
            let Touched::Bytes { region, exact } = Region::of(1000, size, &layout) else { panic!("{layout:?}") };
            let got = listed(&region);
            assert_eq!(region.bytes() as usize, got.len(), "{layout:?}");
            assert_eq!(region.low, *got.first().unwrap());
            assert_eq!(region.high(), *got.last().unwrap() + 1);
            assert!(got.is_superset(&want), "{layout:?}");
            if exact {
                exact_count += 1;
                assert_eq!(got, want);
                assert_eq!(want.len() as u64, size * layout.len() as u64);
            }
        }
        assert!(exact_count > 1000);
    }

    #[test]
    fn answers_agree_with_sets_of_bytes() {
        let mut random = Random(2);
        let (mut disjoint, mut contained) = (0, 0);
        for _ in 0..20000 {
            let size = 1 << random.below(3);
            let (a, b) = (random_layout(&mut random), random_layout(&mut random));
            let shift = size * random.below(6);
            let (Touched::Bytes { region: a, .. }, Touched::Bytes { region: b, .. }) =
                (Region::of(960, size, &a), Region::of(960 + shift, size, &b))
            else {
                panic!("layouts are not empty")
            };
            let (left, right) = (listed(&a), listed(&b));
            // With a budget every answer is exact; without, "yes" is still always right.
            for (mut budget, all) in [(1 << 20, true), (0, false)] {
                let says = a.is_disjoint(&b, 960, &mut budget);
                let is = left.is_disjoint(&right);
                assert!(says == is || (!all && !says), "{a:?} {b:?}");
                disjoint += u32::from(says && !all);
                let says = a.contains(&b, 960, &mut budget);
                let is = left.is_superset(&right);
                assert!(says == is || (!all && !says), "{a:?} {b:?}");
                contained += u32::from(says && !all);
            }
        }
        assert!(disjoint > 1000 && contained > 500, "{disjoint} {contained}");
    }

    #[test]
    fn columns_of_a_large_matrix_are_told_apart_without_listing() {
        let columns =
            |first: i64, count: usize| Layout { offset: first, shape: vec![1_000_000, count], strides: vec![192, 1] };
        let region = |layout: &Layout| match Region::of(64, 4, layout) {
            Touched::Bytes { region, exact: true } => region,
            other => panic!("{other:?}"),
        };
        let (a, b, c) = (region(&columns(0, 64)), region(&columns(64, 128)), region(&columns(60, 8)));
        let whole = region(&columns(0, 192));
        assert!(whole.is_interval());
        assert!(a.is_disjoint(&b, 64, &mut 0));
        assert!(!a.is_disjoint(&c, 64, &mut 0));
        assert!(whole.contains(&c, 64, &mut 0));
        assert!(b.contains(&region(&columns(100, 10)), 64, &mut 0));
        assert!(!b.contains(&c, 64, &mut 0));
    }

    #[test]
    fn unions_are_found_to_cover() {
        let rows = Region::interval(0, 64);
        let more = Region::interval(64, 100);
        assert!(union_contains(&[&more, &rows], &Region::interval(10, 90), &mut 1000));
        assert!(!union_contains(&[&more, &rows], &Region::interval(10, 101), &mut 1000));
        assert!(!union_contains(&[&rows, &Region::interval(65, 100)], &Region::interval(10, 90), &mut 1000));
        assert!(!union_contains(&[&more, &rows], &Region::interval(10, 90), &mut 1));
    }
}
