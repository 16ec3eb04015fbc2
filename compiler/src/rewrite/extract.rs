//! Choosing one way for each class: the cheapest set of kernels found.
//!
//! Cost is that of the whole DAG, not of a tree: what two users share counts once. A choice names an alternative for
//! each class and, for each value inside kernels, whether its users compute it themselves or read it from memory. From a
//! greedy start over bit sets, single changes are kept while they lower the cost, in a fixed order.

use super::analysis::op_of;
use super::cost::{IMPOSSIBLE, LAUNCH, VIEW};
use super::fuse::{self, Fused};
use super::language::Kind;
use super::table::Table;
use crate::ops::{Class, views};
use crate::types::Layout;

/// One way for each class.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Position among the alternatives of a class.
    pub pick: Vec<u16>,
    /// Whether users of an inner class compute it themselves where a kernel can hold it.
    pub inline: Vec<bool>,
}

/// One piece of the extracted program.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// A view, movement or op of its own: memory class.
    Op(u32),
    /// A kernel that writes a memory class.
    Kernel(u32, Fused),
}

/// The program of a choice, operands first, with its cost.
pub(super) struct Program {
    pub cost: u64,
    pub work: Vec<Work>,
    /// Classes that the choice at them decided.
    pub touched: Vec<bool>,
    /// Classes looked at, as a measure of the work.
    pieces: usize,
}

/// The cheapest choice found for the classes `roots`.
pub(super) fn extract(table: &Table, roots: &[u32]) -> (Choice, Program) {
    let mut choice = greedy(table);
    let mut best = program(table, &choice, roots);
    let inline = choice.inline.clone();
    share(table, &mut choice, &best);
    let shared = program(table, &choice, roots);
    if shared.cost <= best.cost {
        best = shared;
    } else {
        choice.inline = inline;
    }
    let mut search = Search { table, roots, choice, best, budget: BUDGET };
    search.improve();
    (search.choice, search.best)
}

/// Passes of the local search; it nearly always stops by itself.
const PASSES: usize = 6;
/// Pieces of programs that the local search of one region may look at. Counted, not timed, so that the result is the same
/// on every machine; regions of real networks need a tenth of it.
const BUDGET: usize = 1 << 20;

/// The local search: the best choice so far and its program.
struct Search<'a> {
    table: &'a Table<'a>,
    roots: &'a [u32],
    choice: Choice,
    best: Program,
    budget: usize,
}

impl Search<'_> {
    fn improve(&mut self) {
        for _ in 0..PASSES {
            let before = self.best.cost;
            for class in 0..self.table.entries.len() {
                if self.budget == 0 {
                    return;
                }
                if self.best.touched[class] {
                    self.change(class);
                }
            }
            if self.best.cost == before {
                return;
            }
        }
    }

    /// Tries everything else at one class.
    fn change(&mut self, class: usize) {
        let entry = &self.table.entries[class];
        let ways = entry.alternatives.len();
        if entry.inner && ways > 0 && entry.constant.is_none() {
            self.choice.inline[class] = !self.choice.inline[class];
            if !self.accept() {
                self.choice.inline[class] = !self.choice.inline[class];
            }
        }
        for way in 0..ways as u16 {
            let old = self.choice.pick[class];
            if way == old {
                continue;
            }
            self.choice.pick[class] = way;
            if !self.accept() && !self.accept_below(class) {
                self.choice.pick[class] = old;
            }
        }
    }

    /// Whether the way just picked for `class` pays off together with another way for one of its operands: a view that
    /// sank below an op is worth it only if the op then joins the kernel before it.
    fn accept_below(&mut self, class: usize) -> bool {
        let table = self.table;
        let way = &table.entries[class].alternatives[self.choice.pick[class] as usize];
        for &child in &way.children {
            // The op inside the operand's kernel, if it has one.
            let inside = if table.entries[child as usize].inner { None } else { table.entries[child as usize].partner };
            for below in [Some(child), inside].into_iter().flatten().map(|below| below as usize) {
                let old = self.choice.pick[below];
                for other in (0..table.entries[below].alternatives.len() as u16).filter(|&other| other != old) {
                    self.choice.pick[below] = other;
                    if self.accept() {
                        return true;
                    }
                }
                self.choice.pick[below] = old;
            }
        }
        false
    }

    /// Keeps the choice's program if it is cheaper than the best.
    fn accept(&mut self) -> bool {
        if self.budget == 0 {
            return false;
        }
        let found = program(self.table, &self.choice, self.roots);
        self.budget = self.budget.saturating_sub(found.pieces);
        let better = found.cost < self.best.cost;
        if better {
            self.best = found;
        }
        better
    }
}

/// Values that several kernels use start in memory.
fn share(table: &Table, choice: &mut Choice, program: &Program) {
    let mut users = vec![0u32; table.entries.len()];
    let mut counted = vec![false; table.entries.len()];
    for work in &program.work {
        match work {
            Work::Kernel(_, fused) => {
                for &member in fused.members() {
                    if std::mem::replace(&mut counted[member as usize], true) {
                        continue;
                    }
                    let way = &table.entries[member as usize].alternatives[choice.pick[member as usize] as usize];
                    let mut children = way.children.clone();
                    children.sort_unstable();
                    children.dedup();
                    for child in children {
                        users[child as usize] += 1;
                    }
                }
            }
            Work::Op(class) => {
                let way = &table.entries[*class as usize].alternatives[choice.pick[*class as usize] as usize];
                for &child in &way.children {
                    if let Some(partner) = table.entries[child as usize].partner {
                        users[partner as usize] += 1;
                    }
                }
            }
        }
    }
    for (class, inline) in choice.inline.iter_mut().enumerate() {
        *inline &= users[class] <= 1;
    }
}

/// The program of a choice; its cost is [`IMPOSSIBLE`] when the choice goes round in a circle.
pub(super) fn program(table: &Table, choice: &Choice, roots: &[u32]) -> Program {
    let mut walk = Walk {
        table,
        choice,
        state: vec![State::New; table.entries.len()],
        program: Program { cost: 0, work: Vec::new(), touched: vec![false; table.entries.len()], pieces: 1 },
    };
    for &root in roots {
        if walk.need(root).is_none() {
            walk.program.cost = IMPOSSIBLE;
            break;
        }
    }
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
            self.program.work.push(Work::Kernel(class, fused));
        } else {
            for &child in &way.children {
                self.need(child)?;
            }
            match way.kind {
                Kind::LEAF | Kind::CONST => {}
                Kind::RESULT => self.program.work.push(Work::Op(class)),
                _ => {
                    let cost = self.own_cost(class);
                    self.add(cost);
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

/// Greedy choice over the DAG: each class takes the way whose set of classes costs least. Loads and stores cost nothing
/// here, so that what is inside kernels is compared as if everything could be fused.
fn greedy(table: &Table) -> Choice {
    let count = table.entries.len();
    let words = count.div_ceil(64);
    let mut sets: Vec<Option<(u64, Vec<u64>)>> = vec![None; count];
    let mut own = vec![0u64; count];
    let mut pick = vec![0u16; count];
    let mut loaded = vec![false; count];
    let mut changed = true;
    let mut rounds = 0;
    while changed && rounds < 4 * count + 4 {
        changed = false;
        rounds += 1;
        for class in 0..count {
            let entry = &table.entries[class];
            // What is inside a kernel can be loaded, unless it is what makes the value in memory.
            if let (true, Some(memory)) = (entry.inner, entry.partner)
                && let Some((total, set)) = &sets[memory as usize]
                && set[class / 64] >> (class % 64) & 1 == 0
                && sets[class].as_ref().is_none_or(|(best, _)| total < best)
            {
                let (total, mut set) = (*total, set.clone());
                set[class / 64] |= 1 << (class % 64);
                sets[class] = Some((total, set));
                own[class] = 0;
                loaded[class] = true;
                changed = true;
            }
            for (at, way) in entry.alternatives.iter().enumerate() {
                let cost = match way.class {
                    _ if matches!(way.kind, Kind::LEAF | Kind::CONST | Kind::KERNEL | Kind::RESULT) => 0,
                    _ if entry.weight => 1,
                    Some(Class::View) => VIEW,
                    Some(Class::Point | Class::Row | Class::Contraction) => {
                        way.arithmetic.saturating_add(LAUNCH / 4).saturating_add(entry.bytes / 4)
                    }
                    _ => LAUNCH.saturating_add(entry.bytes),
                };
                let mut set = vec![0u64; words];
                let ready = way.children.iter().all(|&child| match &sets[child as usize] {
                    Some((_, child)) => {
                        set.iter_mut().zip(child).for_each(|(word, other)| *word |= other);
                        true
                    }
                    None => false,
                });
                let round = set[class / 64] >> (class % 64) & 1 == 1;
                if !ready || round {
                    continue;
                }
                let mut total = cost;
                for (word, mut bits) in set.iter().copied().enumerate() {
                    while bits != 0 {
                        total = total.saturating_add(own[word * 64 + bits.trailing_zeros() as usize]);
                        bits &= bits - 1;
                    }
                }
                if sets[class].as_ref().is_none_or(|(best, _)| total < *best) {
                    set[class / 64] |= 1 << (class % 64);
                    sets[class] = Some((total, set));
                    own[class] = cost;
                    pick[class] = at as u16;
                    loaded[class] = false;
                    changed = true;
                }
            }
        }
    }
    Choice { pick, inline: loaded.into_iter().map(|loaded| !loaded).collect() }
}
