//! From a choice to the program it means, and what that costs.

use super::peak::{OUTSIDE, peak};
use super::{Choice, Program, Roots, Work};
use crate::ops::{Class, views};
use crate::rewrite::analysis::op_of;
use crate::rewrite::cost::{IMPOSSIBLE, LAUNCH, PEAK, VIEW};
use crate::rewrite::fuse;
use crate::rewrite::language::Kind;
use crate::rewrite::table::Table;
use crate::types::Layout;

/// The program of a choice; its cost is [`IMPOSSIBLE`] when the choice goes round in a circle.
pub(in super::super) fn program(table: &Table, choice: &Choice, roots: &Roots) -> Program {
    let mut walk = Walk {
        table,
        choice,
        state: vec![State::New; table.entries.len()],
        program: Program { cost: 0, work: Vec::new(), touched: vec![false; table.entries.len()], pieces: 1 },
        holder: vec![OUTSIDE; table.entries.len()],
    };
    for &root in &roots.classes {
        if walk.need(root).is_none() {
            walk.program.cost = IMPOSSIBLE;
            return walk.program;
        }
    }
    for (&root, _) in roots.classes.iter().zip(&roots.is_dense).filter(|(_, is_dense)| **is_dense) {
        if !walk.layout(root).is_dense() {
            walk.add(LAUNCH.saturating_add(2 * table.entries[root as usize].bytes));
        }
    }
    let peak = peak(table, choice, &walk.program.work, &walk.holder, roots);
    walk.add(peak.saturating_mul(PEAK));
    walk.program
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

struct Walk<'a> {
    table: &'a Table<'a>,
    choice: &'a Choice,
    state: Vec<State>,
    program: Program,
    /// For each memory class whose bytes it shows.
    holder: Vec<u32>,
}

impl Walk<'_> {
    /// Makes sure a memory class is computed; `None` if that needs the class itself.
    fn need(&mut self, class: u32) -> Option<()> {
        match self.state[class as usize] {
            State::Done => return Some(()),
            State::Open => return None,
            State::New => self.state[class as usize] = State::Open,
        }
        self.program.touched[class as usize] = true;
        self.program.pieces += 1;
        let entry = &self.table.entries[class as usize];
        let way = entry.alternatives.get(self.choice.pick[class as usize] as usize)?;
        if way.kind == Kind::KERNEL {
            let fused = fuse::fuse(self.table, self.choice, way.children[0])?;
            for &load in fused.prologue_loads.iter().chain(&fused.core_loads).chain(&fused.epilogue_loads) {
                if let Some(inner) = self.table.entries[load as usize].partner {
                    self.program.touched[inner as usize] = true;
                }
                self.need(load)?;
            }
            for &member in fused.members() {
                self.program.touched[member as usize] = true;
                self.program.pieces += 1;
            }
            let cost = fused.cost(self.table, self.choice).saturating_add(entry.bytes);
            self.add(cost);
            self.holder[class as usize] = class;
            self.program.work.push(Work::Kernel(class, fused));
        } else {
            for &child in &way.children {
                self.need(child)?;
            }
            match way.kind {
                Kind::LEAF | Kind::CONST => {}
                Kind::RESULT => {
                    self.holder[class as usize] = class;
                    self.program.work.push(Work::Op(class));
                }
                _ => {
                    let cost = self.own_cost(class);
                    self.add(cost);
                    self.holder[class as usize] = match cost {
                        _ if entry.weight => OUTSIDE,
                        VIEW => self.holder[way.children[0] as usize],
                        _ => class,
                    };
                    self.program.work.push(Work::Op(class));
                }
            }
        }
        self.state[class as usize] = State::Done;
        Some(())
    }

    fn add(&mut self, cost: u64) {
        self.program.cost = self.program.cost.saturating_add(cost).min(IMPOSSIBLE - 1);
    }

    /// Cost of a view, a movement, an op of its own, or of something that is computed when compiling.
    fn own_cost(&self, class: u32) -> u64 {
        let entry = &self.table.entries[class as usize];
        let way = &entry.alternatives[self.choice.pick[class as usize] as usize];
        let read = || way.children.iter().map(|&child| self.table.entries[child as usize].bytes).sum::<u64>();
        match way.class {
            _ if entry.weight => 1,
            Some(Class::View)
                if (way.kind == Kind::RESHAPE && !self.is_view(way.children[0], &self.table.ty(class).shape))
                    || (matches!(way.kind, Kind::BITCAST | Kind::SEEN) && !self.is_seen(class)) =>
            {
                LAUNCH + 2 * entry.bytes
            }
            Some(Class::View) => VIEW,
            _ => LAUNCH.saturating_add(entry.bytes).saturating_add(read()),
        }
    }

    /// Whether a reshape of this class to `shape` moves nothing.
    fn is_view(&self, class: u32, shape: &[usize]) -> bool {
        let way = &self.table.entries[class as usize].alternatives[self.choice.pick[class as usize] as usize];
        way.class != Some(Class::View) || views::reshape(&self.layout(class), shape).is_some()
    }

    /// Whether the chosen view of a class moves nothing.
    fn is_seen(&self, class: u32) -> bool {
        let way = &self.table.entries[class as usize].alternatives[self.choice.pick[class as usize] as usize];
        let (child, egraph) = (way.children[0], self.table.egraph);
        op_of(egraph, &egraph.nodes()[way.id])
            .is_none_or(|op| views::apply(&op, &self.layout(child), self.table.ty(child).dtype).is_some())
    }

    /// Where the elements of a memory class lie under the choice.
    fn layout(&self, class: u32) -> Layout {
        let way = &self.table.entries[class as usize].alternatives[self.choice.pick[class as usize] as usize];
        let egraph = self.table.egraph;
        let seen = (way.class == Some(Class::View))
            .then(|| op_of(egraph, &egraph.nodes()[way.id]))
            .flatten()
            .and_then(|op| views::apply(&op, &self.layout(way.children[0]), self.table.ty(way.children[0]).dtype))
            .and_then(|layouts| layouts.into_iter().next());
        seen.unwrap_or_else(|| Layout::dense(&self.table.ty(class).shape))
    }
}
