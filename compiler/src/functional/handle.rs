//! Handles: what a value refers to when control flow decides it.
//!
//! A handle is a list of alternatives, each a condition, a storage and a way of looking at it; at run time exactly one
//! condition holds. Reading selects among the alternatives, writing gives each of their storages a new version in which
//! the elements change where the condition holds. Most values have one alternative and no condition.

use super::Stop;
use super::chain::{Chains, as_value, fault};
use super::region::{inverse, storage_as, storage_order};
use crate::alias::AliasDb;
use crate::ir::layout::view_layouts;
use crate::ir::{Def, Graph, InstId, ValueId};
use crate::ops::{Op, PointFn, ScatterFn};
use crate::types::{DType, Layout, TensorType};

/// The most alternatives of a handle.
const MAX_ALTERNATIVES: usize = 64;

/// A storage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Root {
    /// That of a value which owns one.
    Value(ValueId),
    /// The one that result or carry `place` of `inst` holds, if a region of `inst` made it.
    Slot { inst: InstId, place: usize, kind: Kind },
}

/// What a storage holds: a value, whose axes lie in an order of their own if one is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    dtype: DType,
    shape: Vec<usize>,
    pub order: Option<Vec<usize>>,
}

impl Kind {
    /// The kind of a storage whose value lies as `layout`.
    pub fn of(ty: &TensorType, layout: &Layout) -> Kind {
        Kind { dtype: ty.dtype, shape: ty.shape.clone(), order: storage_order(layout) }
    }

    /// The type of its versions: the value in the order of the storage.
    pub fn stored(&self) -> TensorType {
        let extent = |axis: &usize| self.shape[*axis];
        match &self.order {
            None => TensorType::new(self.dtype, self.shape.clone()),
            Some(order) => TensorType::new(self.dtype, order.iter().map(extent).collect::<Vec<_>>()),
        }
    }

    /// The layout of the value in the storage.
    pub fn layout(&self) -> Layout {
        let stored = Layout::dense(&self.stored().shape);
        let Some(order) = &self.order else { return stored };
        let mut strides = vec![0; order.len()];
        for (place, &axis) in order.iter().enumerate() {
            strides[axis] = stored.strides[place];
        }
        Layout { offset: 0, shape: self.shape.clone(), strides }
    }
}

/// A view on the way from a storage to what is looked at.
#[derive(Clone, Debug)]
pub enum View {
    /// A view instruction of the source and the place of its result.
    Source(InstId, u32),
    /// One that the source has no instruction for.
    Made(Op),
    /// One of the storage itself, whatever its value looks like: ops taken of the value that the storage is.
    Storage(Vec<Op>),
}

/// A step of the way from a storage to what is looked at: an element of axis 0, unless it is the first step, then views.
#[derive(Clone, Debug)]
pub struct Part {
    /// The index of the element, an `i64` scalar; the first part has none.
    pub row: Option<ValueId>,
    /// What the views are taken of.
    pub kind: Kind,
    pub views: Vec<View>,
    /// What the views amount to in `kind`'s storage, in elements of `seen`.
    pub layout: Layout,
    /// The dtype that the views end in.
    pub seen: DType,
    /// By how much `layout` moves: indices, `i64` scalars, each times a stride. If there are any, `layout` alone says what
    /// is looked at.
    pub moves: Vec<(ValueId, i64)>,
}

impl Part {
    pub fn whole(kind: Kind, row: Option<ValueId>) -> Part {
        Part { row, layout: kind.layout(), views: Vec::new(), seen: kind.dtype, moves: Vec::new(), kind }
    }

    fn through(&mut self, op: Op) -> Result<(), Stop> {
        let layout = crate::ops::views::apply(&op, &self.layout, self.seen).and_then(|mut layouts| layouts.pop());
        self.layout = layout.ok_or_else(|| fault("a part is looked at as it cannot be"))?;
        self.views.push(View::Made(op));
        Ok(())
    }

    /// Whether two parts look at the same elements, whatever the index of the row.
    fn agrees(&self, other: &Part) -> bool {
        let (a, b) = (&self.layout, &other.layout);
        let kind = self.kind == other.kind && self.seen == other.seen;
        // The strides of axes that have no second element say nothing, and grow around a loop without an end.
        let layout = a.shape == b.shape && (a.is_empty() || a.offset == b.offset && a.is_parallel(b));
        let strides = |part: &Part| part.moves.iter().map(|(_, stride)| *stride).collect::<Vec<_>>();
        self.row.is_some() == other.row.is_some() && kind && layout && strides(self) == strides(other)
    }

    /// Places of the indices that run-time values decide.
    fn rows(&mut self) -> impl Iterator<Item = &mut ValueId> {
        self.row.iter_mut().chain(self.moves.iter_mut().map(|(index, _)| index))
    }
}

/// When an alternative is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cond {
    Always,
    /// Where this `bool` scalar is true.
    When(ValueId),
}

/// One thing a value may refer to.
#[derive(Clone, Debug)]
pub struct Alternative {
    pub cond: Cond,
    pub root: Root,
    pub parts: Vec<Part>,
}

impl Alternative {
    /// Whether both look at the same elements of the same storage, apart from indices of rows.
    pub fn agrees(&self, other: &Alternative) -> bool {
        let parts = self.parts.len() == other.parts.len();
        self.root == other.root && parts && self.parts.iter().zip(&other.parts).all(|(a, b)| a.agrees(b))
    }

    pub fn rows(&self) -> impl Iterator<Item = ValueId> {
        self.parts.iter().flat_map(|part| part.row.into_iter().chain(part.moves.iter().map(|(index, _)| *index)))
    }

    /// Lets the alternative, which looks at a sequence, look at its element `row`; elements have the layout `element` in
    /// the source. Along an expanded axis, or one of extent 1, there is one element, whatever the index: it is not
    /// repeated in the part that is written, but expanded again behind it. So every index is one of a real axis, of which
    /// a storage has finitely many, and ways of looking at a storage do not get longer for ever. Elements that overlap one
    /// another are no storages of their own; what looks at them moves within theirs.
    pub fn step(&mut self, row: ValueId, element: &Layout) -> Result<(), Stop> {
        let part = self.parts.last_mut().ok_or_else(|| fault("a handle looks at something"))?;
        let expanded: Vec<usize> = (0..part.layout.rank())
            .filter(|&axis| part.layout.strides[axis] == 0 && part.layout.shape[axis] > 1)
            .collect();
        if expanded.contains(&0) || part.layout.shape[0] == 1 {
            return part.through(Op::Select { axis: 0, index: 0 });
        }
        let once = part.layout.shape.iter().zip(&part.layout.strides).map(|(&extent, &stride)| match stride {
            0 => (1, 0),
            stride => (extent, stride),
        });
        let (shape, strides) = once.unzip();
        if !part.moves.is_empty() || !(Layout { offset: part.layout.offset, shape, strides }).is_injective() {
            part.moves.push((row, part.layout.strides[0]));
            part.layout.shape.remove(0);
            part.layout.strides.remove(0);
            return Ok(());
        }
        let shape = part.layout.shape[1..].to_vec();
        for &axis in &expanded {
            part.through(Op::Slice { axis, start: 0, end: 1, step: 1 })?;
        }
        let single = Layout { shape: part.layout.shape[1..].to_vec(), ..element.clone() };
        let ty = TensorType::new(part.seen, single.shape.clone());
        let mut inner = Part::whole(Kind::of(&ty, &single), Some(row));
        if !expanded.is_empty() {
            inner.through(Op::Expand { shape })?;
        }
        self.parts.push(inner);
        Ok(())
    }

    /// The same with other indices of rows.
    pub fn with_rows(&self, rows: &[ValueId]) -> Alternative {
        let mut other = self.clone();
        other.parts.iter_mut().flat_map(Part::rows).zip(rows).for_each(|(hole, &row)| *hole = row);
        other
    }
}

/// What a value refers to.
pub type Handle = Vec<Alternative>;

impl Chains<'_> {
    /// What `value` refers to, as far as its views lead.
    pub fn handle(&mut self, value: ValueId) -> Result<Handle, Stop> {
        let root = self.aliases.storage(value);
        let mut path = Vec::new();
        let mut at = value;
        // A view of the storage, which is a known one: the verifier lets nobody look at the bytes behind a join.
        let mut of_storage = None;
        while at != root {
            if let Def::Result(id, _) = self.source.value(at).def
                && is_of_storage(&self.source.inst(id).op)
            {
                let layout = self.aliases.origin(at).layout.clone();
                of_storage = Some((View::Storage(self.strided(at)?), layout, self.source.ty(at).dtype));
                break;
            }
            if let Def::Result(id, place) = self.source.value(at).def
                && !self.source.inst(id).mutates
            {
                path.push((id, place));
            }
            at = self.operand_of(at)?;
        }
        path.reverse();
        let mut handle = match self.handles.get(&root) {
            Some(handle) => handle.clone(),
            None => {
                let kind = self.kind_of(root);
                vec![Alternative { cond: Cond::Always, root: Root::Value(root), parts: vec![Part::whole(kind, None)] }]
            }
        };
        for alternative in &mut handle {
            if let Some((view, layout, seen)) = of_storage.clone() {
                let part = alternative.parts.last_mut().ok_or_else(|| fault("a handle looks at something"))?;
                (part.views, part.layout, part.seen) = (vec![view], layout, seen);
            }
            for &(id, place) in &path {
                let part = alternative.parts.last_mut().ok_or_else(|| fault("a handle looks at something"))?;
                let bytes = part.kind.stored().bytes();
                let layouts = view_layouts(self.source, self.source.inst(id), &part.layout, bytes);
                let layout = layouts.and_then(|mut layouts| {
                    ((place as usize) < layouts.len()).then(|| layouts.swap_remove(place as usize))
                });
                part.layout = layout.ok_or_else(|| fault("a view is no view of what it refers to"))?;
                part.views.push(View::Source(id, place));
            }
        }
        Ok(handle)
    }

    /// The kind of storage that a value has which owns one, or is one for the functional form.
    pub fn kind_of(&self, root: ValueId) -> Kind {
        kind_of(self.source, self.aliases, root)
    }

    /// What a handle refers to, read now.
    pub fn read_handle(&mut self, handle: &Handle) -> Result<ValueId, Stop> {
        let (last, others) = handle.split_last().ok_or_else(|| fault("a handle refers to nothing"))?;
        let mut value = self.read_alternative(last)?;
        for alternative in others.iter().rev() {
            let Cond::When(cond) = alternative.cond else { return self.read_alternative(alternative) };
            let read = self.read_alternative(alternative)?;
            value = self.select(cond, read, value)?;
        }
        Ok(value)
    }

    pub fn read_alternative(&mut self, alternative: &Alternative) -> Result<ValueId, Stop> {
        let mut value = self.content(&alternative.root)?;
        for part in &alternative.parts {
            if let Some(row) = part.row {
                value = self.one(Op::Gather { axis: 0 }, &[value, row])?;
            }
            value = self.look(part, value)?;
        }
        Ok(value)
    }

    /// The views of a part, taken of a value.
    fn look(&mut self, part: &Part, value: ValueId) -> Result<ValueId, Stop> {
        if !part.moves.is_empty() {
            let ty = TensorType::new(part.kind.dtype, part.kind.shape.clone());
            let storage = self.apply(storage_as(&part.kind.layout(), &ty, part.seen), value)?;
            let flat = self.one(Op::Reshape { shape: vec![self.graph.ty(storage).len()] }, &[storage])?;
            let index = self.positions(&part.layout, &part.moves)?;
            let taken = self.one(Op::Gather { axis: 0 }, &[flat, index])?;
            return self.one(Op::Reshape { shape: part.layout.shape.clone() }, &[taken]);
        }
        part.views.iter().try_fold(value, |value, view| match view {
            View::Source(id, place) => self.view(*id, *place, value),
            View::Made(op) => self.one(op.clone(), &[value]),
            View::Storage(ops) => self.apply(ops.clone(), value),
        })
    }

    /// Result `place` of a view of the source, taken of `operand`.
    pub fn view(&mut self, id: InstId, place: u32, operand: ValueId) -> Result<ValueId, Stop> {
        let inst = self.source.inst(id);
        let reader = std::mem::replace(&mut self.location, inst.location.clone());
        let made = match &inst.op {
            // One part of a split is a slice; the others need not be made.
            Op::Split { axis, sizes } => {
                let start: usize = sizes[..place as usize].iter().sum();
                let end = (start + sizes[place as usize]) as i64;
                self.one(Op::Slice { axis: *axis, start: start as i64, end, step: 1 }, &[operand])?
            }
            op => self.one(as_value(op), &[operand])?,
        };
        self.location = reader;
        Ok(made)
    }

    /// Writes `value` to whatever a handle refers to.
    pub fn write_handle(&mut self, handle: &Handle, value: ValueId) -> Result<(), Stop> {
        for alternative in handle {
            let value = match alternative.cond {
                Cond::Always => value,
                Cond::When(cond) => {
                    let old = self.read_alternative(alternative)?;
                    self.select(cond, value, old)?
                }
            };
            let base = self.base(&alternative.root)?;
            let next = self.put(&alternative.parts, base, value)?;
            self.change(&alternative.root, next, None);
        }
        Ok(())
    }

    /// The version `base` of what the first part looks at, in the order of its storage, with `value` at the end of the
    /// parts.
    fn put(&mut self, parts: &[Part], base: ValueId, value: ValueId) -> Result<ValueId, Stop> {
        let (part, rest) = parts.split_first().ok_or_else(|| fault("a handle looks at something"))?;
        let value = match rest.first() {
            None => value,
            Some(next) => {
                let row = next.row.ok_or_else(|| fault("an element without an index"))?;
                let logical = self.logical(&part.kind, base)?;
                let sequence = self.look(part, logical)?;
                let element = self.one(Op::Gather { axis: 0 }, &[sequence, row])?;
                let element = self.stored(&next.kind, element)?;
                let element = self.put(rest, element, value)?;
                let element = self.logical(&next.kind, element)?;
                let index = self.one(Op::Reshape { shape: vec![1, 1] }, &[row])?;
                let update = self.one(Op::Unsqueeze { axes: vec![0] }, &[element])?;
                self.one(Op::ScatterNd { function: ScatterFn::Assign }, &[sequence, index, update])?
            }
        };
        Ok(self.replace(base, (&part.layout, &part.moves), part.seen, value)?.0)
    }

    /// A value in the order of a storage.
    pub fn stored(&mut self, kind: &Kind, value: ValueId) -> Result<ValueId, Stop> {
        match &kind.order {
            None => Ok(value),
            Some(order) => self.one(Op::Permute { axes: order.clone() }, &[value]),
        }
    }

    /// A version of a storage in the order of its value.
    pub fn logical(&mut self, kind: &Kind, version: ValueId) -> Result<ValueId, Stop> {
        match &kind.order {
            None => Ok(version),
            Some(order) => self.one(Op::Permute { axes: inverse(order) }, &[version]),
        }
    }

    /// `yes` where the scalar `cond` is true, else `no`.
    pub fn select(&mut self, cond: ValueId, yes: ValueId, no: ValueId) -> Result<ValueId, Stop> {
        match yes == no {
            true => Ok(yes),
            false => self.one(Op::Point(PointFn::Where), &[cond, yes, no]),
        }
    }

    pub fn and(&mut self, a: Cond, b: Cond) -> Result<Cond, Stop> {
        match (a, b) {
            (Cond::Always, other) | (other, Cond::Always) => Ok(other),
            (Cond::When(a), Cond::When(b)) if a == b => Ok(Cond::When(a)),
            (Cond::When(a), Cond::When(b)) => Ok(Cond::When(self.one(Op::Point(PointFn::And), &[a, b])?)),
        }
    }

    pub fn or(&mut self, a: Cond, b: Cond) -> Result<Cond, Stop> {
        match (a, b) {
            (Cond::Always, _) | (_, Cond::Always) => Ok(Cond::Always),
            (Cond::When(a), Cond::When(b)) if a == b => Ok(Cond::When(a)),
            (Cond::When(a), Cond::When(b)) => Ok(Cond::When(self.one(Op::Point(PointFn::Or), &[a, b])?)),
        }
    }

    /// `a` and not `b`; `None` where that never holds.
    pub fn without(&mut self, a: Cond, b: Cond) -> Result<Option<Cond>, Stop> {
        let Cond::When(other) = b else { return Ok(None) };
        if a == b {
            return Ok(None);
        }
        let other = Cond::When(self.one(Op::Point(PointFn::Not), &[other])?);
        self.and(a, other).map(Some)
    }

    /// The condition as a `bool` scalar.
    pub fn truth(&mut self, cond: Option<Cond>) -> ValueId {
        match cond {
            Some(Cond::When(value)) => value,
            Some(Cond::Always) => self.scalar(DType::Bool, 1),
            None => self.scalar(DType::Bool, 0),
        }
    }

    /// The handle with alternatives that agree made one; one that is left alone has no condition.
    pub fn simplify(&mut self, handle: Handle) -> Result<Handle, Stop> {
        let mut simple: Handle = Vec::new();
        for alternative in handle {
            let Some(at) = simple.iter().position(|known| known.agrees(&alternative)) else {
                simple.push(alternative);
                continue;
            };
            let known = simple[at].clone();
            let mut rows = Vec::new();
            for (mine, yours) in known.rows().zip(alternative.rows()) {
                rows.push(match known.cond {
                    Cond::Always => mine,
                    Cond::When(cond) => self.select(cond, mine, yours)?,
                });
            }
            simple[at] = known.with_rows(&rows);
            simple[at].cond = self.or(known.cond, alternative.cond)?;
        }
        if simple.len() > MAX_ALTERNATIVES {
            return Err(Stop::Unsupported(format!(
                "a value that may refer to {} places, more than {MAX_ALTERNATIVES}",
                simple.len()
            )));
        }
        if let [only] = simple.as_mut_slice() {
            only.cond = Cond::Always;
        }
        Ok(simple)
    }
}

/// Whether a view is one of its storage's bytes rather than of its operand's elements.
fn is_of_storage(op: &Op) -> bool {
    matches!(op, Op::AsStrided { .. } | Op::Strided { .. } | Op::ViewDtype { .. } | Op::Bitcast { .. })
}

/// The kind of storage of a value that owns one; of a join, as its elements lie to each other.
fn kind_of(source: &Graph, aliases: &AliasDb<'_>, root: ValueId) -> Kind {
    Kind::of(source.ty(root), aliases.origin(root).layout)
}
