//! Which values one kernel computes: at most one core, what comes before it and what comes after.
//!
//! A kernel is grown from its result towards its operands. A point op joins where it is computed over the domain of what
//! uses it: the written domain after the core, the core's input domain before it. A core joins when its result has
//! exactly the written shape. What cannot join is loaded, so every choice gives legal kernels.

use super::cost::LAUNCH;
use super::extract::Choice;
use super::table::{Alternative, Table};
use crate::ops::Class;

/// Most operands of a kernel.
pub(super) const MOST_OPERANDS: usize = 16;
/// Most ops of a kernel.
pub(super) const MOST_OPS: usize = 64;
/// Most registers that the programs of a kernel may need: operands, literals and ops.
pub(super) const MOST_REGISTERS: usize = situ_runtime::point::MAX_REGISTERS - 8;

/// A kernel: inner classes it computes, operands first, and memory classes it reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Fused {
    pub prologue: Vec<u32>,
    pub core: Option<u32>,
    pub epilogue: Vec<u32>,
    pub prologue_loads: Vec<u32>,
    pub core_loads: Vec<u32>,
    pub epilogue_loads: Vec<u32>,
    /// Inner classes that are elements written into the body.
    literals: Vec<u32>,
}

impl Fused {
    /// Inner classes computed here, each after what it needs; one that is needed before and after the core stands twice.
    pub fn members(&self) -> impl Iterator<Item = &u32> {
        self.prologue.iter().chain(&self.core).chain(&self.epilogue)
    }

    /// Memory classes read, each once.
    pub fn loads(&self) -> Vec<u32> {
        let mut loads: Vec<u32> = Vec::new();
        for &load in self.prologue_loads.iter().chain(&self.core_loads).chain(&self.epilogue_loads) {
            if !loads.contains(&load) {
                loads.push(load);
            }
        }
        loads
    }

    /// Launch, arithmetic and bytes read; bytes written are the caller's.
    pub fn cost(&self, table: &Table, choice: &Choice) -> u64 {
        let way = |member: u32| picked(table, choice, member);
        let per_element = |member: u32| {
            let entry = &table.entries[member as usize];
            way(member).arithmetic / (entry.len.max(1) as u64)
        };
        let mut cost = LAUNCH;
        let root = self.epilogue.last().or(self.core.as_ref());
        let written = root.map_or(0, |&root| table.entries[root as usize].len as u64);
        for &member in &self.epilogue {
            cost = cost.saturating_add(per_element(member).saturating_mul(written));
        }
        if let Some(core) = self.core {
            let way = way(core);
            cost = cost.saturating_add(way.arithmetic);
            let domain = table.entries[way.children[0] as usize].len as u64;
            for &member in &self.prologue {
                cost = cost.saturating_add(per_element(member).saturating_mul(domain));
            }
        }
        self.loads().iter().fold(cost, |cost, &load| cost.saturating_add(table.entries[load as usize].bytes))
    }
}

fn picked<'a>(table: &'a Table, choice: &Choice, class: u32) -> &'a Alternative {
    &table.entries[class as usize].alternatives[choice.pick[class as usize] as usize]
}

/// The kernel that computes the inner class `root`; `None` if the choice needs a class for itself.
pub(super) fn fuse(table: &Table, choice: &Choice, root: u32) -> Option<Fused> {
    let mut ops = MOST_OPS;
    loop {
        let mut growth = Growth { table, choice, root, left: ops, open: Vec::new(), fused: Fused::default() };
        growth.after(root)?;
        let loads = growth.fused.loads().len();
        let registers = loads + growth.fused.literals.len() + growth.fused.members().count();
        if loads <= MOST_OPERANDS && registers <= MOST_REGISTERS || ops == 1 {
            return Some(growth.fused);
        }
        ops /= 2;
    }
}

struct Growth<'a> {
    table: &'a Table<'a>,
    choice: &'a Choice,
    root: u32,
    /// Ops that may still join.
    left: usize,
    /// Classes whose operands are being looked at.
    open: Vec<u32>,
    fused: Fused,
}

impl Growth<'_> {
    /// Computes a class over the written domain.
    fn after(&mut self, class: u32) -> Option<()> {
        if self.open.contains(&class) {
            return None;
        }
        self.open.push(class);
        self.left = self.left.saturating_sub(1);
        let table = self.table;
        let way = picked(table, self.choice, class);
        match way.class {
            Some(Class::Row) => {
                self.fused.core = Some(class);
                for &child in &way.children {
                    self.before_operand(child)?;
                }
            }
            Some(Class::Contraction) => {
                self.fused.core = Some(class);
                for &child in &way.children {
                    let load = table.entries[child as usize].partner?;
                    if !self.fused.core_loads.contains(&load) {
                        self.fused.core_loads.push(load);
                    }
                }
            }
            _ => {
                for &child in &way.children {
                    self.after_operand(child)?;
                }
                self.fused.epilogue.push(class);
            }
        }
        self.open.pop();
        Some(())
    }

    fn after_operand(&mut self, class: u32) -> Option<()> {
        if self.fused.core == Some(class) || self.fused.epilogue.contains(&class) {
            return Some(());
        }
        let table = self.table;
        let entry = &table.entries[class as usize];
        if is_literal(table, class) {
            self.literal(class);
            return Some(());
        }
        let joins = self.left > 0
            && self.choice.inline[class as usize]
            && entry.alternatives.get(self.choice.pick[class as usize] as usize).is_some_and(|way| match way.class {
                Some(Class::Point) => true,
                Some(Class::Row | Class::Contraction) => {
                    self.fused.core.is_none() && table.ty(class).shape == table.ty(self.root).shape
                }
                _ => false,
            });
        if joins {
            return self.after(class);
        }
        let load = entry.partner?;
        if !self.fused.epilogue_loads.contains(&load) {
            self.fused.epilogue_loads.push(load);
        }
        Some(())
    }

    fn literal(&mut self, class: u32) {
        if !self.fused.literals.contains(&class) {
            self.fused.literals.push(class);
        }
    }

    /// An operand of a row core, over the core's input domain.
    fn before_operand(&mut self, class: u32) -> Option<()> {
        if self.fused.prologue.contains(&class) {
            return Some(());
        }
        if is_literal(self.table, class) {
            self.literal(class);
            return Some(());
        }
        if self.open.contains(&class) {
            return None;
        }
        let table = self.table;
        let entry = &table.entries[class as usize];
        let way = entry.alternatives.get(self.choice.pick[class as usize] as usize);
        match way {
            Some(way) if self.left > 0 && self.choice.inline[class as usize] && way.class == Some(Class::Point) => {
                self.open.push(class);
                self.left -= 1;
                for &child in &way.children {
                    self.before_operand(child)?;
                }
                self.open.pop();
                self.fused.prologue.push(class);
            }
            _ => {
                let load = entry.partner?;
                if !self.fused.prologue_loads.contains(&load) {
                    self.fused.prologue_loads.push(load);
                }
            }
        }
        Some(())
    }
}

/// Whether a class inside kernels is an element that is written into the body.
pub(super) fn is_literal(table: &Table, class: u32) -> bool {
    let entry = &table.entries[class as usize];
    entry.constant.is_some() && table.ty(class).rank() == 0
}
