//! The most bytes a program holds at once, as extraction estimates it.
//!
//! The program is taken in the order in which it was found, operands first. A result asks for the bytes of an operand that
//! dies at its step and is read only where it is written: such a request is priced as if it were granted, until `place` has
//! refused one of the region's. What comes into
//! the region from outside does not count, because who reads it elsewhere is not known here. `place` finds a better order
//! and has the last word on every request; for comparing two programs of one region the estimate is fair enough.

use super::{Choice, Roots, Work};
use crate::ops::Class;
use crate::rewrite::fuse::Fused;
use crate::rewrite::language::Kind;
use crate::rewrite::table::Table;

/// No bytes of the region's own: a value from outside, or an element.
pub(super) const OUTSIDE: u32 = u32::MAX;

/// The estimate, in the unit of [`cost::bytes`](crate::rewrite::cost::bytes). `holder` says for each memory class whose
/// bytes it shows.
pub(super) fn peak(table: &Table, choice: &Choice, work: &[Work], holder: &[u32], roots: &Roots) -> u64 {
    let count = work.len();
    let mut last = vec![0; table.entries.len()];
    let of = |class: u32| Some(holder[class as usize]).filter(|&holder| holder != OUTSIDE);
    for (step, piece) in work.iter().enumerate() {
        for_reads(table, choice, piece, |class| {
            if let Some(holder) = of(class) {
                last[holder as usize] = step;
            }
        });
    }
    for &root in &roots.classes {
        if let Some(holder) = of(root) {
            last[holder as usize] = count;
        }
    }
    let bytes = |class: u32| table.entries[class as usize].bytes;
    let (mut live, mut most) = (0u64, 0u64);
    let mut ends: Vec<Vec<u32>> = vec![Vec::new(); count + 1];
    for (step, piece) in work.iter().enumerate() {
        let class = match piece {
            Work::Op(class) | Work::Kernel(class, _) => *class,
        };
        if of(class) == Some(class) {
            let taken = match piece {
                Work::Kernel(_, fused) if roots.hopeful => takes_over(table, fused, class, |load| {
                    of(load).filter(|&holder| holder == load && last[holder as usize] == step).is_some()
                }),
                _ => 0,
            };
            live = live.saturating_add(bytes(class)).saturating_sub(taken);
            most = most.max(live);
            live = live.saturating_add(taken);
            ends[last[class as usize].max(step)].push(class);
        }
        for &ended in &ends[step] {
            live = live.saturating_sub(bytes(ended));
        }
    }
    most
}

/// Calls `each` with the memory classes a piece reads.
fn for_reads(table: &Table, choice: &Choice, piece: &Work, mut each: impl FnMut(u32)) {
    match piece {
        Work::Kernel(_, fused) => {
            fused
                .prologue_loads
                .iter()
                .chain(&fused.core_loads)
                .chain(&fused.epilogue_loads)
                .for_each(|&load| each(load));
        }
        Work::Op(class) => {
            let way = &table.entries[*class as usize].alternatives[choice.pick[*class as usize] as usize];
            // A view reads nothing; who reads it reads what it shows.
            if way.class != Some(Class::View) && way.kind != Kind::RESULT {
                way.children.iter().for_each(|&child| each(child));
            }
        }
    }
}

/// Bytes of an operand that `is_dying` and that the kernel reads only where it writes `class`; 0 if there is none.
fn takes_over(table: &Table, fused: &Fused, class: u32, is_dying: impl Fn(u32) -> bool) -> u64 {
    let own = &table.entries[class as usize];
    let by_row = fused.core_loads.is_empty();
    let fits = |load: &&u32| {
        table.entries[**load as usize].types == own.types
            && !fused.core_loads.contains(load)
            && (by_row || !fused.prologue_loads.contains(load))
            && is_dying(**load)
    };
    let mut loads = fused.epilogue_loads.iter().chain(&fused.prologue_loads);
    loads.find(fits).map_or(0, |_| own.bytes)
}
