//! The guard: whether inputs share bytes that a plan assumes distinct.
//!
//! Inputs are dense, so each is one interval of addresses and comparing intervals is exact: two inputs share a byte when
//! their intervals meet, and ranges that merely touch do not. A sweep over the intervals in the order of their starts finds
//! a pair in as many steps as there are inputs. The order is kept from run to run; callers pass the same buffers again,
//! and sorting what is sorted takes one pass.

use crate::executable::Plan;

/// The bytes of one input that takes part.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: usize,
    end: usize,
    input: usize,
    written: bool,
}

/// The assumptions of one plan, ready to be compared with addresses.
#[derive(Debug)]
pub(crate) struct Guard {
    /// The inputs that the plan assumes anything about, in the order of the addresses of the last run.
    ranges: Vec<Range>,
}

impl Guard {
    pub fn new(plan: &Plan) -> Guard {
        let assumed = &plan.assumed_distinct;
        let range = |written: bool| move |&input: &u32| Range { start: 0, end: 0, input: input as usize, written };
        let mut ranges = Vec::new();
        if !assumed.is_empty() {
            ranges.extend(assumed.written.iter().map(range(true)));
            ranges.extend(assumed.others.iter().map(range(false)));
        }
        Guard { ranges }
    }

    /// A written input and another one that share bytes against the assumptions; `bytes_of` gives the start and the length
    /// of each input, whose sum is an address. Allocates nothing.
    pub fn shared(&mut self, bytes_of: impl Fn(usize) -> (usize, usize)) -> Option<(usize, usize)> {
        for range in &mut self.ranges {
            let (start, bytes) = bytes_of(range.input);
            (range.start, range.end) = (start, start + bytes);
        }
        self.ranges.sort_unstable_by_key(|range| (range.start, range.input));
        // Of the intervals that started so far, the one that ends last, and the written one that ends last: the next
        // interval meets an earlier one exactly when it starts before such an end.
        let (mut last, mut last_written) = ((0, 0), (0, 0));
        for &Range { start, end, input, written } in self.ranges.iter().filter(|range| range.start < range.end) {
            if written && start < last.0 {
                return Some((input, last.1));
            }
            if start < last_written.0 {
                return Some((last_written.1, input));
            }
            last = last.max((end, input));
            if written {
                last_written = last_written.max((end, input));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executable::Distinct;
    use crate::fixture::Build;
    use crate::types::InputMode;

    /// Agrees with comparing every pair, over all small intervals of four inputs, in any order of runs.
    #[test]
    fn agrees_with_all_pairs() {
        let shape: &[usize] = &[1];
        let mut build = Build::new(&["a", "b", "c", "d"].map(|name| (name, InputMode::InOut, shape)));
        for (written, others) in
            [(vec![0], vec![1, 2]), (vec![1, 3], vec![0]), (vec![0, 1, 2, 3], vec![]), (vec![], vec![1])]
        {
            build.plan.assumed_distinct = Distinct { written, others };
            let assumed = build.plan.assumed_distinct.clone();
            let mut guard = Guard::new(&build.plan);
            let mut verdicts = [0; 2];
            for code in 0..(4 * 3usize).pow(4) {
                let range = |input: usize| {
                    let digit = code / 12usize.pow(input as u32) % 12;
                    (100 + digit / 3, digit % 3)
                };
                let meet = |a: u32, b: u32| {
                    let ((start, bytes), (other, length)) = (range(a as usize), range(b as usize));
                    bytes > 0 && length > 0 && start < other + length && other < start + bytes
                };
                let pairs = (0..4u32).flat_map(|a| (0..a).map(move |b| (a, b)));
                let expected = pairs.filter(|&(a, b)| assumed.contains(a, b)).any(|(a, b)| meet(a, b));
                let found = guard.shared(range);
                assert_eq!(found.is_some(), expected, "{code}: {found:?}");
                if let Some((written, other)) = found {
                    let (written, other) = (written as u32, other as u32);
                    assert!(meet(written, other) && assumed.contains(written, other));
                    assert!(assumed.written.contains(&written));
                }
                verdicts[usize::from(expected)] += 1;
            }
            assert!(assumed.is_empty() == (verdicts[1] == 0) && verdicts[0] > 0);
            let pairs = (0..4u32).flat_map(|a| (0..a).map(move |b| (a, b)));
            assert_eq!(pairs.filter(|&(a, b)| assumed.contains(a, b)).count(), assumed.pairs());
        }
    }
}
