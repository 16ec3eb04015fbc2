//! Lines of versions, each as one list: what is first, what is last, and how many come before, without walking.
//!
//! The links between values say the same and are what a trial changes; the lists follow when the trial has gone well. A
//! line that comes after another is joined to it by renaming the shorter of the two, so that a program of thousands of
//! writes into one storage is not renamed thousands of times.

use std::collections::VecDeque;

use super::Value;

/// The lines of all values.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    /// For each value the number of its line, and its place there; only differences of places mean anything.
    of: Vec<(usize, i64)>,
    lines: Vec<VecDeque<usize>>,
}

impl Lines {
    pub fn of(values: &[Value]) -> Lines {
        let mut lines = Lines { of: vec![(0, 0); values.len()], lines: Vec::with_capacity(values.len()) };
        for first in (0..values.len()).filter(|&value| values[value].previous.is_none()) {
            lines.renew(values, first);
        }
        lines
    }

    /// First value of the line of `value`.
    pub fn first(&self, value: usize) -> usize {
        self.lines[self.of[value].0].front().copied().unwrap_or(value)
    }

    /// Last value of the line of `value`.
    pub fn last(&self, value: usize) -> usize {
        self.lines[self.of[value].0].back().copied().unwrap_or(value)
    }

    /// How many values come before `value`.
    pub fn version(&self, value: usize) -> u32 {
        (self.of[value].1 - self.of[self.first(value)].1) as u32
    }

    /// Follows the links of the values in `touched`.
    pub fn follow(&mut self, values: &[Value], touched: &[usize]) {
        for &value in touched {
            if let Some((previous, _)) = values[value].previous {
                self.link(values, previous, value);
            }
            if let Some(next) = values[value].next {
                self.link(values, value, next);
            }
        }
    }

    fn link(&mut self, values: &[Value], before: usize, after: usize) {
        let (mut left, mut right) = (self.of[before].0, self.of[after].0);
        if left == right && self.of[before].1 + 1 == self.of[after].1 {
            return;
        }
        let is_left = |value: usize| {
            let next = values[value].next;
            next.is_some_and(|next| values[next].previous.is_none_or(|(previous, _)| previous != value))
        };
        if left != right && self.lines[right].get(1) == Some(&after) && is_left(self.lines[right][0]) {
            // What was before it is another name of `before` now.
            self.lines[right].pop_front();
        }
        if left == right || self.last(before) != before || self.first(after) != after {
            let mut first = before;
            while let Some((previous, _)) = values[first].previous {
                first = previous;
            }
            return self.renew(values, first);
        }
        let appends = self.lines[left].len() >= self.lines[right].len();
        let (mut place, step) = if appends { (self.of[before].1, 1) } else { (self.of[after].1, -1) };
        if !appends {
            std::mem::swap(&mut left, &mut right);
        }
        let mut moved = std::mem::take(&mut self.lines[right]);
        while let Some(value) = if appends { moved.pop_front() } else { moved.pop_back() } {
            place += step;
            self.of[value] = (left, place);
            match appends {
                true => self.lines[left].push_back(value),
                false => self.lines[left].push_front(value),
            }
        }
    }

    /// Makes the line that `first` begins anew.
    fn renew(&mut self, values: &[Value], first: usize) {
        let line = self.lines.len();
        let mut members = VecDeque::new();
        let mut at = Some(first);
        while let Some(value) = at {
            self.of[value] = (line, members.len() as i64);
            members.push_back(value);
            at = values[value].next;
        }
        self.lines.push(members);
    }
}
