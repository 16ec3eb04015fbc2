//! The alias database: which values of a graph share bytes, which bytes, and how we know.
//!
//! Facts are about *regions*, not about buffers. Every value has an origin: the value that owns its storage (its root),
//! a layout in that storage by eager PyTorch's rules ([`crate::ir::layout`]), and, where the views that lead to it allow,
//! a box in the root's coordinates. One layout is always enough: where no strides express a `reshape` it is a copy, so no view
//! is a chain of several. A view may see the bytes as another dtype; a layout counts in elements of the value's own. Two values of one root are compared by the ladder of [`relation`]; values of
//! different roots are apart, unless both are inputs, for which the caller may pass the same bytes: that is a symmetric
//! relation between inputs ([`External`]), pessimistic until it is contracted away.
//!
//! Where control flow joins, a value stands for one of several. It is the root of its own views (*must-sharing*, exact
//! among themselves), and beside that has a set of storages it may have (*may-sharing*, [`joins`]), to a fixpoint over
//! the way around a loop.
//!
//! Whether an op makes a view is asked of its row, whose storage field has no default. `reshape` is decided by strides.
//! **Unknown means overlap.** A database describes one graph and borrows it; after a change it is made anew.

mod dot;
mod explain;
pub mod grid;
mod joins;
pub mod relation;
mod sharing;
pub mod view;

pub use joins::Candidate;
pub use relation::{Region, Relation, Why, Witness, relate, relate_within};

use std::collections::BTreeSet;

use crate::ir::layout::{Placements, placements};
use crate::ir::{BlockId, Def, Graph, Inst, InstId, ValueId};
use crate::ops::{Op, Storage};
use crate::types::{InputMode, Layout};
use joins::Joins;
pub(crate) use joins::Order;
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
    /// The scan `inst` copies it at the end of a trip, as the element of its result `result`.
    Element { inst: InstId, result: usize },
}

/// The alias database of one graph.
#[derive(Clone, Debug)]
pub struct AliasDb<'g> {
    graph: &'g Graph,
    external: External,
    placements: Placements,
    sharing: Sharing,
    joins: Joins,
    order: Order,
    /// Mutating instructions, in order, each with the storages it may write; `None`: any.
    writes: Vec<(InstId, Option<Vec<Candidate>>)>,
    /// Owners of the storages that are written; `None`: any may be.
    written: Option<BTreeSet<ValueId>>,
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
    share_block(graph, Graph::BODY, &placements, &mut sharing);
    let order = Order::new(graph);
    let joins = Joins::new(graph, &placements, &order, &|value| sharing.find(value).1.cloned());
    let candidates =
        |value: ValueId| joins.of(value, &placements, sharing.find(value).1.cloned(), graph.ty(value).dtype.size());
    let writes: Vec<(InstId, Option<Vec<Candidate>>)> = graph
        .all_insts()
        .into_iter()
        .filter(|&id| graph.inst(id).mutates)
        .map(|id| (id, candidates(graph.inst(id).operands[0])))
        .collect();
    let owners = writes.iter().map(|(_, candidates)| candidates.as_deref());
    let written = owners.map(|found| found.map(|found| found.iter().map(|candidate| candidate.owner)));
    let written: Option<Vec<Vec<ValueId>>> = written.map(|found| found.map(Iterator::collect)).collect();
    let written = written.map(|found| found.into_iter().flatten().collect());
    AliasDb { graph, external, placements, sharing, joins, order, writes, written }
}

/// Joins every value of a block to what it is a view of.
fn share_block(graph: &Graph, block: BlockId, placements: &Placements, sharing: &mut Sharing) {
    for &id in &graph.block(block).insts {
        let inst = graph.inst(id);
        if inst.mutates {
            let destination = inst.operands[0];
            let map = sharing.find(destination).1.cloned();
            sharing.join(inst.results[0], destination, map);
            continue;
        }
        match inst.op.row().storage {
            Storage::Fresh => {}
            Storage::Yielded => {
                // A parameter that stands for one operand is that operand.
                for (param, operand) in passed(graph, inst) {
                    if placements.joined(param).is_none() {
                        let map = sharing.find(operand).1.cloned();
                        sharing.join(param, operand, map);
                    }
                }
                for &region in &inst.regions {
                    share_block(graph, region, placements, sharing);
                }
            }
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

/// Parameters of an op's regions, each with the operand that is passed to it (the initial one, for a carry).
fn passed(graph: &Graph, inst: &Inst) -> Vec<(ValueId, ValueId)> {
    let (first, operands) = match inst.op {
        Op::If { .. } => (0, &inst.operands[1..]),
        Op::Loop { .. } => (1, &inst.operands[2..]),
        Op::Scan { .. } => (1, &inst.operands[..]),
        _ => return Vec::new(),
    };
    let params = inst.regions.iter().map(|&region| &graph.block(region).params[first..]);
    params.flat_map(|params| params.iter().copied().zip(operands.iter().copied())).collect()
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

    /// Whether `value` is a join: control flow decides whose storage it has.
    pub fn is_join(&self, value: ValueId) -> bool {
        self.placements.joined(value).is_some()
    }

    /// The values that flow into a join.
    pub fn joined(&self, value: ValueId) -> &[ValueId] {
        self.placements.joined(value).unwrap_or_default()
    }

    /// All layouts a value may have, apart from their offsets.
    pub fn layouts(&self, value: ValueId) -> impl Iterator<Item = &Layout> {
        self.placements.layouts(value)
    }

    /// The values that own the storages which `value` may have; in order.
    pub fn owners(&self, value: ValueId) -> BTreeSet<ValueId> {
        self.placements.owners(value)
    }

    /// Where things stand in the program.
    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// Mutating instructions in order, each with the storages it may write; `None`: any.
    pub(crate) fn writes(&self) -> &[(InstId, Option<Vec<Candidate>>)] {
        &self.writes
    }

    /// Whether two candidates are apart: other storages, or other elements.
    pub(crate) fn is_apart(&self, x: &Candidate, y: &Candidate) -> bool {
        x.owner != y.owner || self.same_owner(x, y, false).is_disjoint()
    }

    /// The storages that `value` may have; `None` if nothing is known about them.
    pub fn candidates(&self, value: ValueId) -> Option<Vec<Candidate>> {
        let size = self.graph.ty(value).dtype.size();
        self.joins.of(value, &self.placements, self.sharing.find(value).1.cloned(), size)
    }

    /// How the bytes of `a` lie to those of `b`, both of one trip of the loops around them, with the reason.
    pub fn relation(&self, a: ValueId, b: ValueId) -> Relation {
        let (p, q) = (self.origin(a), self.origin(b));
        if p.root != q.root {
            return match self.is_join(p.root) || self.is_join(q.root) {
                true => self.candidates_meet(a, b, false),
                false => self.roots(p.root, q.root),
            };
        }
        let (stored, seen) = (self.graph.ty(p.root).dtype, self.graph.ty(a).dtype);
        let mut root = self.graph.display(p.root);
        if seen.size() == self.graph.ty(b).dtype.size() && seen.size() != stored.size() {
            root = format!("{root} seen as {seen}");
        }
        // Boxes of a join say something about its bytes only if it holds no byte twice.
        let plain = |value| self.placements.has_one_layout(value);
        let exact = plain(a) && plain(b);
        if self.graph.ty(a).is_empty() || self.graph.ty(b).is_empty() {
            return Relation::Disjoint(Why::Empty);
        }
        if exact && (!self.is_join(p.root) || p.map.zip(q.map).is_none() || self.is_injective(p.root)) {
            return relate(self.region(a), self.region(b), &root);
        }
        match (p.map, q.map) {
            (Some(map), Some(other)) if map == other => Relation::Identical,
            (Some(map), Some(other)) if self.is_injective(p.root) => {
                relation::relate_boxes(&map.axes, &other.axes, &root)
            }
            _ => self.candidates_meet(a, b, false),
        }
    }

    /// The bytes of `value` in its storage.
    pub fn region(&self, value: ValueId) -> Region<'_> {
        let Origin { root, map, layout } = self.origin(value);
        self.region_of(root, map, layout, self.graph.ty(value).dtype.size())
    }

    /// Elements of `size` bytes in the storage of `root`. A storage that may name a byte twice, as a join may, is no
    /// frame to compare indices in.
    fn region_of<'a>(&'a self, root: ValueId, map: Option<&'a BoxMap>, layout: &'a Layout, size: usize) -> Region<'a> {
        let framed = self.graph.ty(root).dtype.size() == size && self.is_injective(root);
        Region { map, layout, size, root: framed.then(|| self.placements.layout(root)) }
    }

    /// Whether a value names each of its bytes once, whatever its layout.
    fn is_injective(&self, value: ValueId) -> bool {
        self.placements.layouts(value).all(Layout::is_injective)
    }

    /// How two values lie to each other, by the storages that each may have. With `later`, `b` is that of a later trip
    /// of a loop around both.
    fn candidates_meet(&self, a: ValueId, b: ValueId, later: bool) -> Relation {
        let graph = self.graph;
        if graph.ty(a).is_empty() || graph.ty(b).is_empty() {
            return Relation::Disjoint(Why::Empty);
        }
        let (shown, other) = (graph.display(a), graph.display(b));
        let joined = |owner: Option<ValueId>| {
            let owner = owner.map(|owner| graph.display(owner));
            Relation::Unknown(Why::Joined { a: shown.clone(), b: other.clone(), owner })
        };
        let (Some(p), Some(q)) = (self.candidates(a), self.candidates(b)) else { return joined(None) };
        let mut apart = None;
        for x in &p {
            for y in &q {
                let relation = match x.owner == y.owner {
                    false => self.roots(x.owner, y.owner),
                    true => self.same_owner(x, y, later),
                };
                match relation {
                    Relation::Disjoint(why) => apart = apart.or(Some(why)),
                    certain if p.len() == 1 && q.len() == 1 && !x.earlier && !y.earlier && !later => return certain,
                    _ => return joined(Some(x.owner)),
                }
            }
        }
        Relation::Disjoint(apart.unwrap_or(Why::OtherStorage { a: shown, b: other }))
    }

    fn same_owner<'a>(&'a self, x: &'a Candidate, y: &'a Candidate, later: bool) -> Relation {
        let owner = self.graph.display(x.owner);
        // A storage of this trip is apart from those of earlier trips; two earlier ones may be one.
        let made_anew = self.in_loop(x.owner);
        let apart = if later { !y.earlier && made_anew } else { x.earlier != y.earlier };
        if apart {
            return Relation::Disjoint(Why::OtherTrip { root: owner });
        }
        match (&x.layout, &y.layout) {
            (Some(a), Some(b)) => {
                let region =
                    |it: &'a Candidate, layout: &'a Layout| self.region_of(it.owner, it.map.as_ref(), layout, it.size);
                relate(region(x, a), region(y, b), &owner)
            }
            _ => match (&x.map, &y.map) {
                (Some(a), Some(b)) => relation::relate_boxes(&a.axes, &b.axes, &owner),
                _ => Relation::Unknown(Why::Joined { a: owner.clone(), b: owner.clone(), owner: Some(owner) }),
            },
        }
    }

    /// Whether a loop makes the storage of `owner` anew at every trip.
    fn in_loop(&self, owner: ValueId) -> bool {
        match self.graph.value(owner).def {
            Def::Result(inst, _) => self.order.loops_around(self.graph, inst).next().is_some(),
            Def::Param(..) => true,
            Def::Input(_) | Def::Constant(_) => false,
        }
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

    /// Instructions that write, or may write, the storage of `value`, in order.
    pub fn writers(&self, value: ValueId) -> Vec<InstId> {
        let own = self.candidates(value);
        let hits = |written: &Option<Vec<Candidate>>| match (written, &own) {
            (Some(written), Some(own)) => own.iter().any(|x| written.iter().any(|y| x.owner == y.owner)),
            _ => true,
        };
        self.writes.iter().filter(|(_, written)| hits(written)).map(|&(id, _)| id).collect()
    }

    /// Whether anything writes, or may write, the storage of `value`.
    pub fn is_written(&self, value: ValueId) -> bool {
        match (&self.written, self.candidates(value)) {
            (Some(written), Some(own)) => own.iter().any(|candidate| written.contains(&candidate.owner)),
            (Some(written), None) => !written.is_empty(),
            (None, _) => true,
        }
    }

    /// Everything that may see what `write` has written, through whatever view: reads after it in program order (its
    /// own are before it), those of the next trip of a loop around it, outputs, and the state the caller gets back.
    /// Later writes of the same bytes hide nothing.
    pub fn observers_after(&self, write: InstId) -> Vec<Observer> {
        let graph = self.graph;
        let destination = graph.inst(write).operands[0];
        let outermost = self.order.loops_around(graph, write).last();
        let mut observers = Vec::new();
        for id in graph.all_insts() {
            let after = self.order.of(id) > self.order.of(write);
            let again = outermost
                .is_some_and(|outer| (self.order.begin(outer)..=self.order.of(outer)).contains(&self.order.of(id)));
            let sees = |value: ValueId| {
                (after && self.may_alias(value, destination))
                    || (again && !self.candidates_meet(destination, value, true).is_disjoint())
            };
            if after || again {
                self.reads_of(id, &sees, &mut observers);
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

    /// What an instruction itself reads of the values that `sees` asks for.
    fn reads_of(&self, id: InstId, sees: &dyn Fn(ValueId) -> bool, observers: &mut Vec<Observer>) {
        let inst = self.graph.inst(id);
        for (operand, &value) in inst.operands.iter().enumerate() {
            let reads = match inst.op {
                // What is passed to a region is read where the region reads it.
                Op::If { .. } => operand == 0,
                Op::Loop { .. } => operand < 2,
                Op::Scan { .. } => false,
                // `copy` does not look at what it replaces.
                Op::Copy {} => operand > 0,
                // Making a view reads nothing.
                _ => inst.mutates || !inst.results.iter().all(|&result| self.storage(result) == self.storage(value)),
            };
            if reads && sees(value) {
                observers.push(Observer::Read { inst: id, operand });
            }
        }
        if let Op::Scan { carried, .. } = inst.op {
            let yields = &self.graph.block(inst.regions[0]).yields;
            for (place, &value) in yields.iter().enumerate().skip(carried) {
                if sees(value) {
                    observers.push(Observer::Element { inst: id, result: place });
                }
            }
        }
        if let (Op::Loop { .. }, true) = (&inst.op, inst.regions.len() == 1) {
            let condition = self.graph.block(inst.regions[0]).yields[0];
            if sees(condition) {
                observers.push(Observer::Read { inst: id, operand: 1 });
            }
        }
    }
}
