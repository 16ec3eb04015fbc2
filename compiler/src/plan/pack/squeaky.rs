//! Squeaky wheel: items that stick out above the goal are ranked higher, and the greedy is run again.
//!
//! Squeaky wheel optimization is by Joslin and Clements (1999; doi 10.1613/jair.561).

use rayon::prelude::*;

use super::instance::{Instance, Item};
use super::skyline::Skyline;

/// Turns of each wheel between two looks at whether one of them has reached the goal.
const TURNS: usize = 8;

/// Turns without gain after which a ranking is shaken.
const PATIENCE: usize = 20;

/// What sticks out moves up by the number of items over this; every shake takes the next.
const STEPS: [usize; 4] = [32, 8, 64, 16];

/// The lowest offsets that wheels beginning with these rankings find in at most `turns` turns each.
///
/// They turn side by side, all for the same number of turns; of those that reach the goal at the same time the first
/// one counts.
pub(super) fn pack(instance: &Instance, skyline: &Skyline, starts: &[&[usize]], goal: u64, turns: usize) -> Vec<u64> {
    let mut wheels: Vec<Wheel> =
        starts.iter().map(|start| Wheel::new(instance, skyline.clone(), start, goal)).collect();
    let mut left = turns;
    while left > 0 && wheels.iter().all(|wheel| wheel.least > goal) {
        let turns = left.min(TURNS);
        wheels.par_iter_mut().with_max_len(1).for_each(|wheel| wheel.turn(turns));
        left -= turns;
    }
    let best = wheels.into_iter().min_by_key(|wheel| wheel.least);
    best.map(|wheel| wheel.best).unwrap_or_default()
}

struct Wheel<'i> {
    instance: &'i Instance,
    skyline: Skyline<'i>,
    goal: u64,
    shakes: usize,
    /// Least first.
    priority: Vec<i64>,
    ranking: Vec<usize>,
    last: Vec<u64>,
    best: Vec<u64>,
    least: u64,
    stalled: usize,
    seed: u64,
}

impl<'i> Wheel<'i> {
    fn new(instance: &'i Instance, mut skyline: Skyline<'i>, start: &[usize], goal: u64) -> Wheel<'i> {
        let mut priority = vec![0; start.len()];
        for (rank, &item) in start.iter().enumerate() {
            priority[item] = rank as i64;
        }
        let last = skyline.pack(start);
        Wheel {
            instance,
            skyline,
            goal,
            shakes: 0,
            priority,
            ranking: start.to_vec(),
            least: instance.height(&last),
            best: last.clone(),
            last,
            stalled: 0,
            seed: 0x2545_F491_4F6C_DD1D,
        }
    }

    fn turn(&mut self, turns: usize) {
        for _ in 0..turns {
            if self.least <= self.goal {
                return;
            }
            self.blame();
            if self.stalled >= PATIENCE {
                self.shake();
                (self.shakes, self.stalled) = (self.shakes + 1, 0);
            }
            self.ranking.sort_by_key(|&item| (self.priority[item], item));
            for (rank, &item) in self.ranking.iter().enumerate() {
                self.priority[item] = rank as i64;
            }
            self.last = self.skyline.pack(&self.ranking);
            let height = self.instance.height(&self.last);
            if height < self.least {
                (self.least, self.best, self.stalled) = (height, self.last.clone(), 0);
            } else {
                self.stalled += 1;
            }
        }
    }

    fn step(&self) -> i64 {
        (self.ranking.len() / STEPS[self.shakes % STEPS.len()]).max(1) as i64
    }

    /// What sticks out moves up by a step, and by up to another one the further it does.
    fn blame(&mut self) {
        let step = self.step();
        for (item, Item { size, .. }) in self.instance.items.iter().enumerate() {
            let top = self.last[item] + size;
            if top > self.goal {
                let share = u128::from(top - self.goal) * step as u128 / u128::from(self.goal.max(1));
                self.priority[item] -= step + share.min(step as u128) as i64;
            }
        }
    }

    /// The wheel turns in a circle: the ranking is shaken, by a fixed sequence.
    fn shake(&mut self) {
        let step = self.step();
        for value in &mut self.priority {
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            *value += (self.seed % (2 * step as u64 + 1)) as i64 - step;
        }
    }
}
