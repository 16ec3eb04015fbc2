//! From steps and bytes to places in the drawing, in whole hundredths of a pixel, so that neighbours share their edges
//! exactly and nothing depends on how a machine rounds.

/// Hundredths of a pixel.
pub(super) type Cents = u64;

pub(super) const fn pixels(whole: u64) -> Cents {
    100 * whole
}

/// A straight scale: `units` of a quantity take `span`, from `start` on.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub start: Cents,
    pub span: Cents,
    pub units: u64,
}

impl Scale {
    /// How far `value`, at most `units`, is from the start.
    pub fn length(&self, value: u64) -> Cents {
        (u128::from(value.min(self.units)) * u128::from(self.span) / u128::from(self.units.max(1))) as Cents
    }

    /// Rightwards.
    pub fn across(&self, value: u64) -> Cents {
        self.start + self.length(value)
    }

    /// Upwards: the start is the lower end.
    pub fn up(&self, value: u64) -> Cents {
        self.start - self.length(value)
    }
}

/// `1234` as `12.34`, `1200` as `12`.
pub(super) fn px(cents: Cents) -> String {
    let (whole, part) = (cents / 100, cents % 100);
    match part {
        0 => whole.to_string(),
        part if part % 10 == 0 => format!("{whole}.{}", part / 10),
        part => format!("{whole}.{part:02}"),
    }
}

/// The distance between ticks for a sequence of `steps`: 1, 2 or 5 times a power of ten, with at most `most` of them.
pub(super) fn step_distance(steps: u64, most: u64) -> u64 {
    let mut power = 1u64;
    loop {
        for digit in [1, 2, 5] {
            let distance = power.saturating_mul(digit);
            if steps / distance <= most || distance == u64::MAX {
                return distance;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// The addresses to label in an arena: multiples of a power of two, four to eight of them.
pub(super) fn byte_ticks(arena: u64) -> Vec<u64> {
    let distance = (arena.max(8) / 4).checked_ilog2().map_or(1, |log| 1u64 << log);
    let fitting = if arena / distance > 8 { distance * 2 } else { distance };
    (0..=arena / fitting).map(|tick| tick * fitting).collect()
}

/// `0`, `512 KiB`, `1.5 MiB`: exact, in the largest unit that the arena has.
pub(super) fn tick_label(bytes: u64, arena: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes == 0 {
        return "0".to_string();
    }
    let log = arena.max(1).ilog2() / 10;
    let (unit, part) = (bytes >> (10 * log), bytes & ((1u64 << (10 * log)) - 1));
    // A part is a multiple of an eighth of the unit or larger, so three digits are exact.
    let thousandths = if log == 0 { 0 } else { (u128::from(part) * 1000) >> (10 * log) };
    let digits = format!("{thousandths:03}");
    match digits.trim_end_matches('0') {
        "" => format!("{unit} {}", UNITS[log as usize]),
        digits => format!("{unit}.{digits} {}", UNITS[log as usize]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks() {
        assert_eq!([1, 20, 21, 57, 1000, u64::MAX].map(|steps| step_distance(steps, 20))[..5], [1, 1, 2, 5, 50]);
        for arena in [0, 1, 64, 100, 4096, 17_152, 901_888, 1 << 20, (1 << 40) + 1, u64::MAX] {
            let ticks = byte_ticks(arena);
            assert!(ticks.len() <= 9 && *ticks.last().expect("zero") <= arena, "{arena}: {ticks:?}");
            assert!(arena < 8 || ticks.len() >= 4, "{arena}: {ticks:?}");
        }
        let labels: Vec<String> = byte_ticks(901_888).into_iter().map(|tick| tick_label(tick, 901_888)).collect();
        assert_eq!(labels, ["0", "128 KiB", "256 KiB", "384 KiB", "512 KiB", "640 KiB", "768 KiB"]);
        assert_eq!(tick_label(1536 << 10, 5 << 20), "1.5 MiB");
        assert_eq!(tick_label(48, 100), "48 B");
    }

    #[test]
    fn neighbours_share_their_edge() {
        let scale = Scale { start: 58_000, span: 37_800, units: 17_152 };
        assert_eq!((scale.up(0), scale.up(17_152), scale.up(u64::MAX)), (58_000, 20_200, 20_200));
        assert_eq!([0, 5, 50, 1234, 1200].map(px), ["0", "0.05", "0.5", "12.34", "12"]);
    }
}
