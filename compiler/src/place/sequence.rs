//! A list of numbers in which any can be put before or after any other, and of two the first is known at once.
//!
//! Each has a label, and labels ascend along the list. Where there is no label left between two neighbours, the smallest
//! stretch around them that is sparse enough is labelled anew, evenly; longer stretches must be sparser, so that this is
//! seldom (Bender, Cole, Demaine, Farach-Colton and Zito, "Two simplified algorithms for maintaining order in a list", ESA
//! 2002).

/// A list of the numbers below a count, at first in their own order.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    /// By number; the last two are the ends of the list.
    labels: Vec<u64>,
    previous: Vec<usize>,
    next: Vec<usize>,
}

impl Sequence {
    pub fn new(count: usize) -> Sequence {
        let (head, tail) = (count, count + 1);
        let step = u64::MAX / (count as u64 + 1);
        let mut labels: Vec<u64> = (0..count as u64).map(|at| (at + 1) * step - step / 2).collect();
        labels.extend([0, u64::MAX]);
        let mut previous: Vec<usize> = (0..count).map(|at| if at == 0 { head } else { at - 1 }).collect();
        previous.extend([head, if count == 0 { head } else { count - 1 }]);
        let mut next: Vec<usize> = (0..count).map(|at| if at + 1 == count { tail } else { at + 1 }).collect();
        next.extend([if count == 0 { tail } else { 0 }, tail]);
        Sequence { labels, previous, next }
    }

    fn head(&self) -> usize {
        self.labels.len() - 2
    }

    fn tail(&self) -> usize {
        self.labels.len() - 1
    }

    /// Where a number stands: those of less come before it. Good until something is moved.
    pub fn label(&self, number: usize) -> u64 {
        self.labels[number]
    }

    /// All numbers, first to last.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(self.next[self.head()]), |&at| Some(self.next[at]))
            .take_while(|&at| at != self.tail())
    }

    /// Puts `number` right before `at`.
    pub fn put_before(&mut self, number: usize, at: usize) {
        self.take(number);
        self.put(number, self.previous[at]);
    }

    /// Puts `number` right after `at`.
    pub fn put_after(&mut self, number: usize, at: usize) {
        self.take(number);
        self.put(number, at);
    }

    fn take(&mut self, number: usize) {
        let (previous, next) = (self.previous[number], self.next[number]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn put(&mut self, number: usize, previous: usize) {
        let next = self.next[previous];
        if self.labels[next] - self.labels[previous] < 2 {
            self.spread(if previous == self.head() { next } else { previous });
        }
        self.labels[number] = self.labels[previous] + (self.labels[next] - self.labels[previous]) / 2;
        (self.previous[number], self.next[number]) = (previous, next);
        self.next[previous] = number;
        self.previous[next] = number;
    }

    /// Labels a stretch around `at` anew, so that there is room on both sides of it.
    fn spread(&mut self, at: usize) {
        let (mut first, mut last, mut count) = (at, at, 1u128);
        let mut most = 1f64;
        for bits in 1..=64 {
            most *= 1.5;
            let width = 1u128 << bits;
            let start = u128::from(self.labels[at]) / width * width;
            let within = |label: u64| (start..start + width).contains(&u128::from(label));
            while self.previous[first] != self.head() && within(self.labels[self.previous[first]]) {
                first = self.previous[first];
                count += 1;
            }
            while self.next[last] != self.tail() && within(self.labels[self.next[last]]) {
                last = self.next[last];
                count += 1;
            }
            // Each gets at least four labels.
            if (count as f64) <= most && count * 4 <= width {
                let step = width / count;
                let mut label = start + step / 2;
                let mut at = first;
                loop {
                    self.labels[at] = label as u64;
                    if at == last {
                        return;
                    }
                    label += step;
                    at = self.next[at];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_vector() {
        let count = 50;
        let mut sequence = Sequence::new(count);
        let mut expected: Vec<usize> = (0..count).collect();
        let mut state = 1u64;
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % end
        };
        for round in 0..20_000 {
            // Long runs of moves to one place use labels up.
            let at = if round / 1000 % 2 == 0 { 7 } else { below(count) };
            let number = below(count);
            if number == at {
                continue;
            }
            let is_before = round / 500 % 2 == 0;
            expected.retain(|&other| other != number);
            let place = expected.iter().position(|&other| other == at).expect("still there");
            expected.insert(if is_before { place } else { place + 1 }, number);
            match is_before {
                true => sequence.put_before(number, at),
                false => sequence.put_after(number, at),
            }
            assert!(sequence.iter().eq(expected.iter().copied()));
            assert!(expected.windows(2).all(|pair| sequence.label(pair[0]) < sequence.label(pair[1])));
        }
        assert_eq!(Sequence::new(0).iter().count(), 0);
    }
}
