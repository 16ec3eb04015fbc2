//! The alias database: which values of a graph share bytes, which bytes, and how we know.
//!
//! Facts are about *regions*, not about buffers. Every value has an origin: the value that owns its storage (its root),
//! a layout in that storage by eager PyTorch's rules ([`crate::ir::layout`]), and, where the views that lead to it allow,
//! a box in the root's coordinates. Two values of one root are compared by the ladder of [`relation`]; values of
//! different roots are apart, unless both are inputs, for which the caller may pass the same bytes: that is a symmetric
//! relation between inputs ([`External`]), pessimistic until it is contracted away.
//!
//! Whether an op makes a view is asked of its row, whose storage field has no default. `reshape` is decided by strides.
//! **Unknown means overlap.** A database describes one graph and borrows it; after a change it is made anew.

mod diophantine;
mod explain;
pub mod progression;
pub mod relation;
mod sharing;
pub mod view;

pub use relation::{Region, Relation, Why, Witness, relate};

use crate::ir::layout::{Placements, placements};
use crate::ir::{Def, Graph, InstId, ValueId};
use crate::ops::Storage;
use crate::types::{InputMode, Layout};
use sharing::Sharing;
use view::BoxMap;

/// Which pairs of inputs may have the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum External {
    /// Any pair may.
    MayShare,
    /// None does: the caller said so, or a guard checks it.
    Distinct,
}

/// Where a value's bytes are.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub root: ValueId,
    pub map: Option<&'a BoxMap>,
    pub layout: &'a Layout,
}

/// Who sees a storage after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observer {
    /// An instruction reads it as operand `operand`.
    Read { inst: InstId, operand: usize },
    /// It is graph output `i`.
    Output(usize),
    /// It is the content of `inout` input `i` after the run.
    State(usize),
}

/// The alias database of one graph.
#[derive(Clone, Debug)]
pub struct AliasDb<'g> {
    graph: &'g Graph,
    external: External,
    placements: Placements,
    sharing: Sharing,
    /// Mutating instructions of each root, in order.
    writers: Vec<Vec<InstId>>,
    /// Position of each instruction in its block.
    order: Vec<usize>,
}

/// The database of `graph`, which must be verified, under the assumption that any two inputs may share bytes.
pub fn analyze(graph: &Graph) -> AliasDb<'_> {
    analyze_with(graph, External::MayShare)
}

/// The database of `graph` under an assumption about its inputs.
pub fn analyze_with(graph: &Graph, external: External) -> AliasDb<'_> {
    let placements = placements(graph);
    let shapes: Vec<&[usize]> = graph.values.iter().map(|value| value.ty.shape.as_slice()).collect();
    let mut sharing = Sharing::new(&shapes);
    let mut writers = vec![Vec::new(); graph.values.len()];
    let mut order = vec![0; graph.insts.len()];
    for block in &graph.blocks {
        for (position, &id) in block.insts.iter().enumerate() {
            order[id.index()] = position;
            let inst = graph.inst(id);
            if inst.mutates {
                let destination = inst.operands[0];
                let map = sharing.find(destination).1.cloned();
                sharing.join(inst.results[0], destination, map);
                writers[placements.root(destination).index()].push(id);
                continue;
            }
            match inst.op.row().storage {
                Storage::Fresh | Storage::Yielded => {}
                Storage::ViewOf(operand) | Storage::MayViewOf(operand) => {
                    let operand = inst.operands[operand];
                    // Where strides forbid the view, placement has made the result a storage of its own.
                    let is_view = inst.results.iter().all(|&result| placements.root(result) != result);
                    if is_view {
                        let maps = sharing.find(operand).1.and_then(|map| map.through(graph, inst));
                        for (place, &result) in inst.results.iter().enumerate() {
                            sharing.join(result, operand, maps.as_ref().map(|maps| maps[place].clone()));
                        }
                    }
                }
            }
        }
    }
    AliasDb { graph, external, placements, sharing, writers, order }
}

impl<'g> AliasDb<'g> {
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// Where the bytes of `value` are.
    pub fn origin(&self, value: ValueId) -> Origin<'_> {
        let (root, map) = self.sharing.find(value);
        debug_assert_eq!(root, self.placements.root(value));
        Origin { root, map, layout: self.placements.layout(value) }
    }

    /// The value that owns the storage of `value`.
    pub fn storage(&self, value: ValueId) -> ValueId {
        self.placements.root(value)
    }

    /// How the bytes of `a` lie to those of `b`, with the reason.
    pub fn relation(&self, a: ValueId, b: ValueId) -> Relation {
        let (p, q) = (self.origin(a), self.origin(b));
        if p.root != q.root {
            return self.roots(p.root, q.root);
        }
        let root = self.graph.display(p.root);
        relate(Region { map: p.map, layout: p.layout }, Region { map: q.map, layout: q.layout }, &root)
    }

    fn roots(&self, a: ValueId, b: ValueId) -> Relation {
        let names = (self.graph.display(a), self.graph.display(b));
        let input = |value: ValueId| matches!(self.graph.value(value).def, Def::Input(_));
        let empty = self.graph.ty(a).is_empty() || self.graph.ty(b).is_empty();
        if self.external == External::MayShare && input(a) && input(b) && !empty {
            return Relation::Unknown(Why::Inputs { a: names.0, b: names.1 });
        }
        Relation::Disjoint(Why::OtherStorage { a: names.0, b: names.1 })
    }

    /// Whether `a` and `b` might share an element. Unknown means that they might.
    pub fn may_alias(&self, a: ValueId, b: ValueId) -> bool {
        !self.relation(a, b).is_disjoint()
    }

    /// Whether `a` and `b` share an element whatever the caller does.
    pub fn must_alias(&self, a: ValueId, b: ValueId) -> bool {
        self.relation(a, b).meets()
    }

    /// Instructions that write the storage of `value`, in order.
    pub fn writers(&self, value: ValueId) -> &[InstId] {
        &self.writers[self.storage(value).index()]
    }

    /// Whether anything writes the storage of `value`.
    pub fn is_written(&self, value: ValueId) -> bool {
        !self.writers(value).is_empty()
    }

    /// Everything that may see what `write` has written, through whatever view: reads after it in program order (its
    /// own are before it), outputs, and the state the caller gets back. Later writes of the same bytes hide nothing.
    pub fn observers_after(&self, write: InstId) -> Vec<Observer> {
        let graph = self.graph;
        let destination = graph.inst(write).operands[0];
        let mut observers = Vec::new();
        for &id in &graph.body().insts[self.order[write.index()] + 1..] {
            for (operand, &value) in graph.inst(id).operands.iter().enumerate() {
                // Making a view reads nothing, and `copy` does not look at what it replaces.
                let inst = graph.inst(id);
                let is_view = inst.results.iter().all(|&result| self.storage(result) == self.storage(value));
                let reads = inst.mutates || !is_view;
                let replaced = inst.mutates && operand == 0 && matches!(inst.op, crate::ops::Op::Copy {});
                if reads && !replaced && self.may_alias(value, destination) {
                    observers.push(Observer::Read { inst: id, operand });
                }
            }
        }
        for (place, output) in graph.outputs.iter().enumerate() {
            if self.may_alias(output.value, destination) {
                observers.push(Observer::Output(place));
            }
        }
        for (place, input) in graph.inputs.iter().enumerate() {
            if input.mode == InputMode::InOut && self.may_alias(input.value, destination) {
                observers.push(Observer::State(place));
            }
        }
        observers
    }
}
