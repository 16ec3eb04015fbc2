//! The alias sets as a graph for Graphviz.
//!
//! A storage is a cluster, named after the value that owns it; its values are nodes that say which of its elements they have. A
//! solid edge is a view or a write, from operand to result. A dashed edge joins two values that overlap though neither is made
//! of the other, with their relation and a witness; values that are apart have no edge. A dotted edge joins inputs for which
//! the caller may pass the same bytes. Storages that nobody views or writes are left out.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{AliasDb, Relation};
use crate::ir::{Def, ValueId};

/// Values of one storage that are compared pair by pair.
const MOST_COMPARED: usize = 64;

/// `text` as a quoted name.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

impl AliasDb<'_> {
    /// The alias sets in the language of Graphviz.
    pub fn dot(&self) -> String {
        let graph = self.graph();
        let mut storages: BTreeMap<ValueId, Vec<ValueId>> = BTreeMap::new();
        for at in 0..graph.values.len() as u32 {
            let value = ValueId(at);
            // Parameters of bodies are registers.
            if !matches!(graph.value(value).def, Def::Param(..)) {
                storages.entry(self.storage(value)).or_default().push(value);
            }
        }
        storages.retain(|_, values| values.len() > 1);
        let mut text = format!("digraph {} {{\n  compound=true; node [shape=box]; rankdir=TB;\n", quoted(&graph.name));
        for (&root, values) in &storages {
            self.cluster(&mut text, root, values);
        }
        for (_, inst) in graph.body_insts() {
            for &result in &inst.results {
                let from = inst.operands.iter().find(|&&operand| self.storage(operand) == self.storage(result));
                let (Some(&from), true) = (from, storages.contains_key(&self.storage(result))) else { continue };
                let underscore = if inst.mutates { "_" } else { "" };
                let label = quoted(&format!("{}{underscore}", inst.op.name()));
                let (from, to) = (quoted(&graph.display(from)), quoted(&graph.display(result)));
                let _ = writeln!(text, "  {from} -> {to} [label={label}];");
            }
        }
        let roots: Vec<ValueId> = storages.keys().copied().collect();
        for (at, &a) in roots.iter().enumerate() {
            for &b in &roots[at + 1..] {
                if let Relation::Unknown(why) = self.relation(a, b) {
                    let (a, b, why) = (quoted(&graph.display(a)), quoted(&graph.display(b)), quoted(&why.to_string()));
                    let _ = writeln!(text, "  {a} -> {b} [style=dotted, dir=none, constraint=false, label={why}];");
                }
            }
        }
        text.push_str("}\n");
        text
    }

    fn cluster(&self, text: &mut String, root: ValueId, values: &[ValueId]) {
        let graph = self.graph();
        let written = match self.writers(root).len() {
            0 => String::new(),
            1 => ", written once".to_string(),
            count => format!(", written {count} times"),
        };
        let label = quoted(&format!("{}: {}{written}", graph.display(root), graph.ty(root)));
        let _ = writeln!(text, "  subgraph \"cluster_{}\" {{\n    label={label};", root.0);
        for &value in values {
            let label = quoted(&format!("{}\n{}", graph.display(value), self.place(value)));
            let _ = writeln!(text, "    {} [label={label}];", quoted(&graph.display(value)));
        }
        text.push_str("  }\n");
        if values.len() > MOST_COMPARED {
            let _ = writeln!(text, "  // {} values are too many to be compared pair by pair", values.len());
            return;
        }
        for (at, &a) in values.iter().enumerate() {
            for &b in &values[at + 1..] {
                let relation = self.relation(a, b);
                if relation.is_disjoint() || self.is_made_of(b, a) {
                    continue;
                }
                let (a, b, label) =
                    (quoted(&graph.display(a)), quoted(&graph.display(b)), quoted(&relation.to_string()));
                let _ = writeln!(text, "  {a} -> {b} [style=dashed, dir=none, constraint=false, label={label}];");
            }
        }
    }

    /// Whether views and writes lead from `base` to `value`.
    fn is_made_of(&self, value: ValueId, base: ValueId) -> bool {
        let mut at = value;
        while at != base {
            let Some(inst) = self.graph().producer(at) else { return false };
            let inst = self.graph().inst(inst);
            match inst.operands.iter().find(|&&operand| self.storage(operand) == self.storage(at)) {
                Some(&operand) if self.storage(at) != at => at = operand,
                _ => return false,
            }
        }
        true
    }
}
