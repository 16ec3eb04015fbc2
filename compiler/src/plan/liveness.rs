//! When the bytes of the arena are in use, in half-open ranges of steps.

use std::collections::BTreeMap;

use super::{Life, Owner};
use crate::lower::{BufferId, BufferKind};
use crate::place::{Placed, rounded};

/// The lives of every root in the arena, by number of the root, and of every workspace, by step. Offsets are 0.
///
/// A root lives from the first step that writes any value of its line to the last that touches one, that step included:
/// a result that nobody reads still needs its bytes while it is written. What the caller gets lives to the end.
pub(super) fn lives(placed: &Placed) -> Vec<Life> {
    let mut ranges: BTreeMap<BufferId, (usize, usize)> = BTreeMap::new();
    let mut touch = |value: u32, step: usize| {
        let root = placed.homes[value as usize].root;
        let range = ranges.entry(root).or_insert((step, step + 1));
        *range = (range.0.min(step), range.1.max(step + 1));
    };
    let mut workspaces = Vec::new();
    for (step, &number) in placed.order.iter().enumerate() {
        let node = &placed.graph.nodes[number];
        let reads = node.reads.iter().map(|read| read.value);
        for value in reads.chain(node.writes.iter().map(|write| write.access.value)) {
            touch(value, step);
        }
        if node.workspace > 0 {
            let owner = Owner::Workspace { step };
            workspaces.push(Life { owner, lower: step, upper: step + 1, bytes: rounded(node.workspace), offset: 0 });
        }
    }
    let end = placed.order.len();
    for output in &placed.graph.outputs {
        if let Some(last) = end.checked_sub(1) {
            touch(output.access.value, last);
        }
    }
    let mut lives: Vec<Life> = ranges
        .into_iter()
        .filter(|(root, _)| {
            let buffer = placed.graph.buffer(root.0);
            buffer.kind == BufferKind::Temporary && buffer.bytes() > 0
        })
        .map(|(root, (lower, upper))| {
            let bytes = rounded(placed.graph.buffer(root.0).bytes());
            Life { owner: Owner::Root(root), lower, upper, bytes, offset: 0 }
        })
        .collect();
    lives.append(&mut workspaces);
    lives
}

/// Sum of live bytes in each step.
pub(super) fn sums(lives: &[Life], steps: usize) -> Vec<u64> {
    let mut changes = vec![0i128; steps + 1];
    for life in lives {
        changes[life.lower] += i128::from(life.bytes);
        changes[life.upper] -= i128::from(life.bytes);
    }
    let mut sum = 0i128;
    changes[..steps]
        .iter()
        .map(|change| {
            sum += change;
            sum as u64
        })
        .collect()
}
