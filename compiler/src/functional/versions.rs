//! Versions of storages: what each holds now, how a value is read from it, and how a write makes the next.

use super::chain::{Chains, fault};
use super::handle::{Kind, Root};
use super::region::{cover, extract, positions, rewritten, storage_as};
use super::{Stop, WriteForm};
use crate::alias::relation;
use crate::ir::{Constant, ConstantData, Def, ValueId};
use crate::ops::{Op, PointFn, ScatterFn, Storage};
use crate::types::{DType, Layout, TensorType};

/// Writes that are compared with a value before it is given up as changed, and cases that each comparison may search:
/// a wrong "changed" costs a view, not correctness, so the comparison is kept cheap.
const MAX_COMPARED: usize = 64;
const COMPARE_BUDGET: usize = 64;

/// A chain of views up to this length is replayed op by op; a longer one as the slices and permutation it amounts to.
const MAX_REPLAYED: usize = 8;

impl Chains<'_> {
    pub fn read_all(&mut self, values: &[ValueId]) -> Result<Vec<ValueId>, Stop> {
        values.iter().map(|&value| self.read(value)).collect()
    }

    /// How often the storages that a root refers to were written.
    pub(super) fn now(&self, root: ValueId) -> usize {
        let writes = |root: &Root| self.written.get(root).map_or(0, Vec::len);
        match self.handles.get(&root) {
            Some(handle) => handle.iter().map(|alternative| writes(&alternative.root)).sum(),
            None => writes(&Root::Value(root)),
        }
    }

    /// Gives a storage its next version. Only the region of `written` changed, if that is given.
    pub fn change(&mut self, root: &Root, next: ValueId, written: Option<ValueId>) {
        self.state.insert(root.clone(), next);
        self.written.entry(root.clone()).or_default().push(written);
    }

    pub fn kind(&self, root: &Root) -> Kind {
        match root {
            Root::Value(value) => self.kind_of(*value),
            Root::Slot { kind, .. } => kind.clone(),
        }
    }

    /// The newest version of a storage, in its order.
    pub fn base(&mut self, root: &Root) -> Result<ValueId, Stop> {
        if let Some(&base) = self.state.get(root) {
            return Ok(base);
        }
        let Root::Value(value) = root else { return Err(fault("a slot is used before it is filled")) };
        let (_, made) = self.current[value.index()].ok_or_else(|| fault("a storage is written before it exists"))?;
        let base = self.stored(&self.kind(root), made)?;
        self.state.insert(root.clone(), base);
        Ok(base)
    }

    /// What a storage holds now, as the value that owns it.
    pub fn content(&mut self, root: &Root) -> Result<ValueId, Stop> {
        match root {
            Root::Value(value) => self.read(*value),
            Root::Slot { kind, .. } => {
                let base = self.base(root)?;
                self.logical(kind, base)
            }
        }
    }

    pub(super) fn next_version(
        &mut self,
        root: ValueId,
        destination: ValueId,
        value: ValueId,
    ) -> Result<WriteForm, Stop> {
        let base = self.base(&Root::Value(root))?;
        let layout = &self.aliases.origin(destination).layout;
        let (next, form) = self.replace(base, (layout, &[]), self.source.ty(destination).dtype, value)?;
        if form == WriteForm::Region {
            self.name(next, root);
        }
        if form != WriteForm::Nothing {
            self.change(&Root::Value(root), next, Some(destination));
        }
        Ok(form)
    }

    /// The version `base` of a storage with `value` at the elements of a layout, which are of dtype `seen`. The layout moves
    /// by indices times strides.
    pub fn replace(
        &mut self,
        base: ValueId,
        (layout, moves): (&Layout, &[(ValueId, i64)]),
        seen: DType,
        value: ValueId,
    ) -> Result<(ValueId, WriteForm), Stop> {
        if layout.is_empty() {
            return Ok((base, WriteForm::Nothing));
        }
        let ty = self.graph.ty(base).clone();
        let write = rewritten(layout, seen, &ty).ok_or_else(|| fault("a view ends beyond 2^63"))?;
        let value = self.apply(write.value, value)?;
        let (next, form) = match cover(&write.layout, &write.shape).filter(|_| moves.is_empty()) {
            Some(ops) => (self.apply(ops, value)?, WriteForm::Whole),
            None => {
                let base = self.apply(write.base, base)?;
                let unit = (seen.size() / ty.dtype.size()).max(1) as i64;
                let moves: Vec<(ValueId, i64)> = moves.iter().map(|&(index, stride)| (index, stride * unit)).collect();
                (self.replaced(base, &write.layout, &moves, value)?, WriteForm::Region)
            }
        };
        Ok((self.apply(write.back, next)?, form))
    }

    /// `base` with the elements at `layout`, moved, replaced by `value`.
    fn replaced(
        &mut self,
        base: ValueId,
        layout: &Layout,
        moves: &[(ValueId, i64)],
        value: ValueId,
    ) -> Result<ValueId, Stop> {
        if moves.is_empty() && layout.is_injective() {
            let offset = usize::try_from(layout.offset).map_err(|_| fault("a view begins before its storage"))?;
            return self.one(Op::Update { offset, strides: layout.strides.clone() }, &[base, value]);
        }
        // Strides that interlock: no nest of loops writes each element once in order, but every element has its position.
        let shape = self.graph.ty(base).shape.clone();
        let base = self.one(Op::Reshape { shape: vec![shape.iter().product()] }, &[base])?;
        let value = self.one(Op::Reshape { shape: vec![layout.len()] }, &[value])?;
        let index = self.positions(layout, moves)?;
        let scatter = Op::ScatterElements { axis: 0, function: ScatterFn::Assign };
        let next = self.one(scatter, &[base, index, value])?;
        self.one(Op::Reshape { shape }, &[next])
    }

    /// Where the elements of `layout` lie when it has moved, as a list of `i64` numbers in row-major order of its indices.
    pub fn positions(&mut self, layout: &Layout, moves: &[(ValueId, i64)]) -> Result<ValueId, Stop> {
        let data = ConstantData::Bytes(positions(layout).into());
        let index = Constant { name: String::new(), ty: TensorType::new(DType::I64, [layout.len()]), data };
        let mut index = self.graph.add_constant(index);
        for &(by, stride) in moves {
            let stride = self.scalar(DType::I64, stride as u64);
            let by = self.one(Op::Point(PointFn::Mul), &[by, stride])?;
            index = self.one(Op::Point(PointFn::Add), &[index, by])?;
        }
        Ok(index)
    }

    /// The value that holds `value` now.
    pub fn read(&mut self, value: ValueId) -> Result<ValueId, Stop> {
        let root = self.aliases.storage(value);
        let now = self.now(root);
        if self.handles.contains_key(&root) {
            if let Some((since, known)) = self.current[value.index()]
                && since == now
            {
                return Ok(known);
            }
            let handle = self.handle(value)?;
            let made = self.read_handle(&handle)?;
            self.name(made, value);
            self.know(value, now, made);
            return Ok(made);
        }
        if !self.state.contains_key(&Root::Value(root)) {
            return self.unwritten(value);
        }
        // Up to the nearest ancestor whose value is known as of now.
        let mut path = Vec::new();
        let mut at = value;
        let mut known = loop {
            if let Some(known) = self.still(at, root, now) {
                break known;
            }
            if at == root {
                break self.whole(root)?;
            }
            path.push(at);
            at = self.operand_of(at)?;
        };
        if path.len() > MAX_REPLAYED {
            let dtype = self.source.ty(value).dtype;
            let ops = match self.aliases.origin(value).map {
                Some(map) => {
                    let mut ops = extract(map, &self.source.ty(root).shape);
                    ops.extend((dtype != self.source.ty(root).dtype).then_some(Op::Bitcast { to: dtype }));
                    ops
                }
                None => self.strided(value)?,
            };
            let whole = self.read(root)?;
            let made = self.apply(ops, whole)?;
            self.name(made, value);
            self.know(value, now, made);
            return Ok(made);
        }
        self.know(at, now, known);
        while let Some(at) = path.pop() {
            known = self.replay(at, known, now)?;
        }
        Ok(known)
    }

    /// A value whose storage has not been written so far. Its view may have been put off, if it is written later.
    pub(super) fn unwritten(&mut self, value: ValueId) -> Result<ValueId, Stop> {
        let mut path = Vec::new();
        let mut at = value;
        let mut known = loop {
            if let Some((_, known)) = self.current[at.index()] {
                break known;
            }
            path.push(at);
            at = self.operand_of(at)?;
        };
        while let Some(at) = path.pop() {
            known = self.replay(at, known, 0)?;
        }
        Ok(known)
    }

    /// The value that held `value`, if no write since has touched it.
    pub(super) fn still(&mut self, value: ValueId, root: ValueId, now: usize) -> Option<ValueId> {
        let (since, known) = self.current[value.index()]?;
        let writes = self.written.get(&Root::Value(root)).and_then(|writes| writes.get(since..)).unwrap_or_default();
        let region = |value: ValueId| self.aliases.region(value);
        let apart = |write: &Option<ValueId>| {
            let relate = |write| relation::relate_within(region(value), region(write), "", COMPARE_BUDGET);
            write.is_some_and(|write| relate(write).is_disjoint())
        };
        let apart = writes.len() <= MAX_COMPARED && writes.iter().all(apart);
        if !apart {
            return None;
        }
        self.know(value, now, known);
        Some(known)
    }

    /// The root's own value: its newest version, in the root's order of axes.
    pub(super) fn whole(&mut self, root: ValueId) -> Result<ValueId, Stop> {
        let root = Root::Value(root);
        let (base, kind) = (self.base(&root)?, self.kind(&root));
        let made = self.logical(&kind, base)?;
        if let (Root::Value(root), true) = (root, kind.order.is_some()) {
            self.name(made, root);
        }
        Ok(made)
    }

    /// The operand that `value` is a view of, or writes over.
    pub fn operand_of(&self, value: ValueId) -> Result<ValueId, Stop> {
        if let Some(&operand) = self.passed.get(&value) {
            return Ok(operand);
        }
        let inst = self.source.producer(value).ok_or_else(|| fault("a view without an instruction"))?;
        let inst = self.source.inst(inst);
        match inst.op.row().storage {
            _ if inst.mutates => Ok(inst.operands[0]),
            _ if matches!(inst.op, Op::AsStrided { .. }) => Ok(self.aliases.storage(value)),
            Storage::ViewOf(operand) | Storage::MayViewOf(operand) => Ok(inst.operands[operand]),
            Storage::Fresh | Storage::Yielded => Err(fault(format!("{} is no view", inst.op.name()))),
        }
    }

    /// The view that defines `value`, applied to `operand`.
    pub(super) fn replay(&mut self, value: ValueId, operand: ValueId, now: usize) -> Result<ValueId, Stop> {
        let made = match self.source.value(value).def {
            Def::Result(id, place) if !self.source.inst(id).mutates => {
                let made = match &self.source.inst(id).op {
                    Op::AsStrided { .. } => self.strided(value).and_then(|ops| self.apply(ops, operand))?,
                    _ => self.view(id, place, operand)?,
                };
                self.name(made, value);
                made
            }
            // A mutating instruction hands its operand on, and so does a region's parameter.
            _ => operand,
        };
        self.know(value, now, made);
        Ok(made)
    }

    /// Ops that read `value` from its root's own value, through its strides in the storage.
    pub fn strided(&self, value: ValueId) -> Result<Vec<Op>, Stop> {
        let origin = self.aliases.origin(value);
        let (root, stored) = (self.aliases.origin(origin.root).layout, self.source.ty(origin.root));
        let mut ops = storage_as(root, stored, self.source.ty(value).dtype);
        let Layout { offset, shape, strides } = origin.layout.clone();
        let offset = if origin.layout.is_empty() { Ok(0) } else { usize::try_from(offset) };
        let offset = offset.map_err(|_| fault("a view begins before its storage"))?;
        ops.push(Op::Strided { shape, strides, offset });
        Ok(ops)
    }
}
