//! Alias facts in words.

use super::{AliasDb, Observer, Relation};
use crate::ir::{Def, InstId, ValueId};
use crate::types::InputMode;

impl AliasDb<'_> {
    /// How `a` and `b` lie to each other and why, in sentences; who writes the bytes, if anyone does.
    pub fn explain(&self, a: ValueId, b: ValueId) -> String {
        let graph = self.graph();
        let (p, q) = (graph.display(a), graph.display(b));
        let relation = self.relation(a, b);
        let verdict = match &relation {
            Relation::Identical => format!("{p} and {q} are the same bytes in the same order"),
            Relation::Permuted => format!("{p} and {q} are the same bytes in another order or shape"),
            Relation::Inside => format!("{p} lies inside {q}"),
            Relation::Around => format!("{q} lies inside {p}"),
            Relation::Partial(_) => format!("{p} and {q} share some bytes: {relation}"),
            Relation::Disjoint(why) => format!("{p} and {q} never share a byte: {why}"),
            Relation::Unknown(why) => format!("{p} and {q} may share bytes: {why}"),
        };
        let mut text = format!("{verdict}\n{}{}", self.describe(a), self.describe(b));
        if self.storage(a) == self.storage(b) {
            text.push_str(&self.describe_writers(a));
        } else {
            text.push_str(&self.describe_writers(a));
            text.push_str(&self.describe_writers(b));
        }
        text
    }

    /// Whose bytes a value has, in a line.
    pub fn describe(&self, value: ValueId) -> String {
        let graph = self.graph();
        let origin = self.origin(value);
        let (shown, root) = (graph.display(value), graph.display(origin.root));
        let owner = match graph.value(origin.root).def {
            Def::Input(place) => match graph.inputs[place as usize].mode {
                InputMode::Read => "an input nobody writes",
                InputMode::Donate => "an input whose bytes are given up",
                InputMode::InOut => "an input that is updated",
                InputMode::Out => "an input that is only written",
            },
            Def::Constant(_) => "a constant",
            Def::Param(..) | Def::Result(..) => "a value of the program",
        };
        if self.is_join(value) {
            return self.describe_join(value);
        }
        if origin.root == value {
            return format!("  {shown} has bytes of its own ({owner})\n");
        }
        let place = self.place(value);
        format!("  {shown} is {place} of {root} ({owner})\n")
    }

    /// Which elements of its storage a value has: a box of the owner's axes, or strides.
    pub(super) fn place(&self, value: ValueId) -> String {
        let origin = self.origin(value);
        let (stored, seen) = (self.graph().ty(origin.root).dtype, self.graph().ty(value).dtype);
        let dtype = if stored == seen { String::new() } else { format!(" as {seen}") };
        match origin.map {
            Some(map) if !map.axes.is_empty() => {
                let axes: Vec<String> = map.axes.iter().map(ToString::to_string).collect();
                format!("[{}]{dtype}", axes.join(", "))
            }
            _ => format!("offset {}, strides {:?}{dtype}", origin.layout.offset, origin.layout.strides),
        }
    }

    /// Whose storages a join may have, in a line.
    fn describe_join(&self, value: ValueId) -> String {
        let graph = self.graph();
        let shown = graph.display(value);
        let Some(candidates) = self.candidates(value) else {
            return format!("  {shown} has the storage of one of very many values\n");
        };
        let named: Vec<String> = candidates
            .iter()
            .map(|candidate| {
                let owner = graph.display(candidate.owner);
                let trip = if candidate.earlier { " of an earlier trip" } else { "" };
                match &candidate.map {
                    Some(map) if *map == super::view::BoxMap::whole(&graph.ty(candidate.owner).shape) => {
                        format!("{owner}{trip}")
                    }
                    Some(map) if !map.axes.is_empty() => {
                        let axes: Vec<String> = map.axes.iter().map(ToString::to_string).collect();
                        format!("[{}] of {owner}{trip}", axes.join(", "))
                    }
                    Some(_) => format!("{owner}{trip}"),
                    None => format!("some part of {owner}{trip}"),
                }
            })
            .collect();
        format!("  {shown} is what control flow makes it: {}\n", named.join(", or "))
    }

    fn describe_writers(&self, value: ValueId) -> String {
        let graph = self.graph();
        let root = graph.display(self.storage(value));
        let place = |id: InstId| {
            let inst = graph.inst(id);
            let line = if inst.location.line > 0 { format!(" (line {})", inst.location.line) } else { String::new() };
            format!("{} = {}_{line}", graph.display(inst.results[0]), inst.op.name())
        };
        match self.writers(value).as_slice() {
            [] => format!("  nothing writes {root}\n"),
            writers => writers.iter().map(|&id| format!("  {root} is written by {}\n", place(id))).collect(),
        }
    }

    /// An observer in words.
    pub fn describe_observer(&self, observer: Observer) -> String {
        let graph = self.graph();
        match observer {
            Observer::Read { inst, operand } => {
                let inst = graph.inst(inst);
                let value = inst.operands[operand];
                let line =
                    if inst.location.line > 0 { format!(" (line {})", inst.location.line) } else { String::new() };
                format!("{} reads {}{line}", inst.op.name(), graph.display(value))
            }
            Observer::Element { inst, result } => {
                let result = graph.inst(inst).results[result];
                format!("the scan stacks it in {}", graph.display(result))
            }
            Observer::Output(place) => format!("it is output {}", graph.outputs[place].name),
            Observer::State(place) => format!("it is what input {} holds in the end", graph.inputs[place].name),
        }
    }
}
