//! Choosing one way for each class: the cheapest set of kernels found.
//!
//! Cost is that of the whole DAG, not of a tree: what two users share counts once. A choice names an alternative for
//! each class and, for each value inside kernels, whether its users compute it themselves or read it from memory. From a
//! greedy start over bit sets, single changes are kept while they lower the cost, in a fixed order.

mod greedy;
mod peak;
mod program;

use super::fuse::Fused;
use super::language::Kind;
use super::table::Table;
use crate::ops::Class;

use greedy::greedy;
pub(super) use program::program;

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

/// The values a program is for.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    /// Memory classes.
    pub classes: Vec<u32>,
    /// For each whether it has to have bytes of its own, row-major.
    pub is_dense: Vec<bool>,
    /// Whether requests to overwrite an operand are priced as granted.
    pub hopeful: bool,
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
pub(super) fn extract(table: &Table, roots: &Roots) -> (Choice, Program) {
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
    let mut search = Search { table, roots, choice, best, budget: BUDGET, views: views(table) };
    search.improve();
    (search.choice, search.best)
}

/// Passes of the local search; it nearly always stops by itself.
const PASSES: usize = 6;
/// Pieces of programs that the local search of one region may look at. Counted, not timed, so that the result is the same
/// on every machine; regions of real networks need a tenth of it.
const BUDGET: usize = 1 << 20;

/// Views between a value that is needed and one that could be a part of a merged value.
const MOST_VIEWS: usize = 4;
/// Classes that are looked at for one number of views.
const MOST_BRANCHES: usize = 16;

/// The local search: the best choice so far and its program.
struct Search<'a> {
    table: &'a Table<'a>,
    roots: &'a Roots,
    choice: Choice,
    best: Program,
    budget: usize,
    /// For each memory class those that can be a view of it, with the way that is the view.
    views: Vec<Vec<(u32, u16)>>,
}

impl Search<'_> {
    fn improve(&mut self) {
        // Memory classes that several others could be slices of.
        let is_slice = |&&(user, way): &&(u32, u16)| {
            self.table.entries[user as usize].alternatives[way as usize].kind == Kind::SLICE
        };
        let slices = |views: &Vec<(u32, u16)>| views.iter().filter(is_slice).copied().collect::<Vec<_>>();
        let hubs: Vec<(usize, Vec<(u32, u16)>)> =
            self.views.iter().map(slices).enumerate().filter(|(_, users)| users.len() > 1).collect();
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
            for (hub, users) in &hubs {
                if !self.best.touched[*hub] {
                    self.move_to(users);
                }
            }
            if self.best.cost == before {
                return;
            }
        }
    }

    /// Lets all users of a class that nobody uses read it at once: one alone would pay for all of it. A user may be a value
    /// that the program has only as something it is a view of. Users that are computed inside kernels are stored instead.
    fn move_to(&mut self, users: &[(u32, u16)]) {
        let moved: Vec<Vec<(u32, u16)>> = users
            .iter()
            .filter(|&&(user, way)| self.choice.pick[user as usize] != way)
            .filter_map(|&(user, way)| {
                let mut picks = self.seen_as(user)?;
                picks.push((user, way));
                Some(picks)
            })
            .collect();
        if moved.len() < 2 {
            return;
        }
        let before = self.choice.clone();
        for (user, way) in moved.into_iter().flatten() {
            self.choice.pick[user as usize] = way;
            if let Some(inside) = self.table.entries[user as usize].partner {
                self.choice.inline[inside as usize] = false;
            }
        }
        if !self.accept() {
            self.choice = before;
        }
    }

    /// The choice of views by which a value that the best program needs shows `class`, nearest to the need first; `None` if
    /// there is no such value within so many views.
    fn seen_as(&self, class: u32) -> Option<Vec<(u32, u16)>> {
        let mut open = vec![(class, Vec::new())];
        for _ in 0..=MOST_VIEWS {
            let mut next = Vec::new();
            for (class, picks) in open {
                if self.is_needed(class as usize) {
                    return Some(picks);
                }
                for &(user, way) in &self.views[class as usize] {
                    let longer = std::iter::once((user, way)).chain(picks.iter().copied()).collect();
                    next.push((user, longer));
                }
            }
            next.truncate(MOST_BRANCHES);
            open = next;
        }
        None
    }

    /// Whether the best program has the value of a memory class, in memory or inside a kernel.
    fn is_needed(&self, class: usize) -> bool {
        self.best.touched[class]
            || self.table.entries[class].partner.is_some_and(|inside| self.best.touched[inside as usize])
    }

    /// Tries everything else at one class.
    fn change(&mut self, class: usize) {
        let entry = &self.table.entries[class];
        let ways = entry.alternatives.len();
        self.flip(class);
        for way in 0..ways as u16 {
            let old = self.choice.pick[class];
            if way == old {
                continue;
            }
            self.choice.pick[class] = way;
            if !self.accept() && !self.accept_below(class) && !self.accept_above(class) {
                self.choice.pick[class] = old;
            }
        }
    }

    /// Stores what users computed themselves, or the other way round, if that is cheaper.
    fn flip(&mut self, class: usize) -> bool {
        let entry = &self.table.entries[class];
        if !entry.inner || entry.alternatives.is_empty() || entry.constant.is_some() {
            return false;
        }
        self.choice.inline[class] = !self.choice.inline[class];
        let better = self.accept();
        if !better {
            self.choice.inline[class] = !self.choice.inline[class];
        }
        better
    }

    /// Whether the way just picked for `class` pays off together with another way for one of its operands, or with storing
    /// one: a view that sank below an op is worth it only if the op then joins the kernel before it, and a product that is
    /// scaled afterwards only if others read the product too.
    fn accept_below(&mut self, class: usize) -> bool {
        let table = self.table;
        let picked = |choice: &Choice, class: usize| {
            table.entries[class].alternatives.get(choice.pick[class] as usize).map(|way| &way.children[..])
        };
        for &child in picked(&self.choice, class).unwrap_or_default() {
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
                if self.flip(below) {
                    return true;
                }
                for &operand in picked(&self.choice, below).unwrap_or_default() {
                    if self.flip(operand as usize) {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Whether the way just picked for `class` pays off together with another class becoming a view of it: of two values
    /// that are views of each other, one has to be computed, and it matters which.
    fn accept_above(&mut self, class: usize) -> bool {
        let views = std::mem::take(&mut self.views);
        let found = views[class].iter().any(|&(user, way)| {
            let inside = self.table.entries[user as usize].partner.map(|inside| inside as usize);
            let old = std::mem::replace(&mut self.choice.pick[user as usize], way);
            let inline = inside.map(|inside| std::mem::replace(&mut self.choice.inline[inside], false));
            let better = old != way && self.accept();
            if !better {
                self.choice.pick[user as usize] = old;
                if let (Some(inside), Some(inline)) = (inside, inline) {
                    self.choice.inline[inside] = inline;
                }
            }
            better
        });
        self.views = views;
        found
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

/// For each memory class those that can be a view of it and have another way, with the way that is the view.
fn views(table: &Table) -> Vec<Vec<(u32, u16)>> {
    let mut views: Vec<Vec<(u32, u16)>> = vec![Vec::new(); table.entries.len()];
    for (class, entry) in table.entries.iter().enumerate().filter(|(_, entry)| !entry.inner && !entry.weight) {
        if entry.alternatives.len() < 2 {
            continue;
        }
        for (at, way) in entry.alternatives.iter().enumerate().filter(|(_, way)| way.class == Some(Class::View)) {
            views[way.children[0] as usize].push((class as u32, at as u16));
        }
    }
    views
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
