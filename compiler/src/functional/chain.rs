//! The walk over a source program that replaces storages by chains of versions.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::region::{cover, extract, inverse, storage_order};
use super::{FunctionalNotes, WriteForm};
use crate::alias::{AliasDb, Region, relation};
use crate::diagnostic::Fault;
use crate::ir::{BlockId, Def, Graph, Inst, InstId, Location, ValueId};
use crate::ops::{Op, Storage};
use crate::types::{InputMode, TensorType};

/// Writes that are compared with a value before it is given up as changed, and cases that each comparison may search:
/// a wrong "changed" costs a view, not correctness, so the comparison is kept cheap.
const MAX_COMPARED: usize = 64;
const COMPARE_BUDGET: usize = 64;

/// A chain of views up to this length is replayed op by op; a longer one as the slices and permutation it amounts to.
const MAX_REPLAYED: usize = 8;

/// Instructions that the functional form of any program may have. Only a program made to grow (long chains of reshapes,
/// each read again after each of many writes) comes near.
const MAX_INSTS: usize = 1 << 22;

/// A storage that is written somewhere.
struct Versions {
    /// Axes of the root in the order of the storage, if that is not its own.
    order: Option<Vec<usize>>,
    /// The storage as a row-major tensor.
    ty: TensorType,
    /// The newest version, in the functional graph.
    base: ValueId,
    /// Values of the source that were written, one a version.
    written: Vec<ValueId>,
}

pub(super) struct Chains<'a> {
    source: &'a Graph,
    aliases: &'a AliasDb<'a>,
    graph: Graph,
    storages: BTreeMap<ValueId, Versions>,
    /// For each value of the source: the value that holds it, as of so many writes of its storage.
    current: Vec<Option<(usize, ValueId)>>,
    /// Names of the source, which no version may take.
    names: HashSet<&'a str>,
    /// How many values were called after a name of the source.
    versions: HashMap<String, usize>,
    notes: FunctionalNotes,
    location: Location,
}

fn fault(message: impl Into<String>) -> Fault {
    Fault { stage: "functional", message: message.into() }
}

impl<'a> Chains<'a> {
    pub fn new(source: &'a Graph, aliases: &'a AliasDb<'a>) -> Chains<'a> {
        Chains {
            source,
            aliases,
            graph: Graph::new(source.name.clone()),
            storages: BTreeMap::new(),
            current: vec![None; source.values.len()],
            names: source.values.iter().map(|value| value.name.as_str()).collect(),
            versions: HashMap::new(),
            notes: FunctionalNotes::default(),
            location: Location::default(),
        }
    }

    pub fn run(mut self) -> Result<(Graph, FunctionalNotes), Fault> {
        for input in &self.source.inputs {
            let made = self.graph.add_input(input.name.clone(), input.mode, self.source.ty(input.value).clone());
            self.versions.insert(input.name.clone(), 0);
            self.current[input.value.index()] = Some((0, made));
        }
        for (at, value) in self.source.values.iter().enumerate() {
            if let Def::Constant(id) = value.def {
                let made = self.graph.add_constant(self.source.constant(id).clone());
                self.versions.insert(value.name.clone(), 0);
                self.current[at] = Some((0, made));
            }
        }
        for &id in &self.source.body().insts {
            self.inst(id)?;
        }
        for output in &self.source.outputs {
            let value = self.read(output.value)?;
            self.graph.add_output(output.name.clone(), value);
        }
        for (place, input) in self.source.inputs.iter().enumerate() {
            if input.mode == InputMode::InOut {
                // A program may name the last content of its state, and then writes nothing.
                let named = self.source.finals.iter().find(|entry| entry.0 as usize == place);
                let value = self.read(named.map_or(input.value, |entry| entry.1))?;
                self.graph.finals.push((place as u32, value));
            }
        }
        self.note_inputs();
        self.drop_unused();
        self.notes.values = self.current.iter().map(|current| current.map(|(_, value)| value)).collect();
        Ok((self.graph, self.notes))
    }

    fn inst(&mut self, id: InstId) -> Result<(), Fault> {
        let inst = self.source.inst(id);
        self.location = inst.location.clone();
        if inst.mutates {
            return self.write(id, inst);
        }
        let operand = match inst.op.row().storage {
            Storage::ViewOf(operand) | Storage::MayViewOf(operand) => Some(inst.operands[operand]),
            Storage::Fresh => None,
        };
        let is_view = operand.is_some_and(|operand| {
            let root = self.aliases.storage(operand);
            inst.results.iter().all(|&result| self.aliases.storage(result) == root)
        });
        if let (true, Some(operand)) = (is_view, operand)
            && self.aliases.is_written(operand)
        {
            // A view of what may yet change is taken when it is read.
            return Ok(());
        }
        let operands = self.read_all(&inst.operands)?;
        let results = self.emit(inst, as_value(&inst.op), &operands)?;
        for (&result, made) in inst.results.iter().zip(results) {
            self.name(made, result);
            self.current[result.index()] = Some((0, made));
        }
        Ok(())
    }

    fn read_all(&mut self, values: &[ValueId]) -> Result<Vec<ValueId>, Fault> {
        values.iter().map(|&value| self.read(value)).collect()
    }

    /// A mutating instruction: its value is computed, then its storage has a new version.
    fn write(&mut self, id: InstId, inst: &Inst) -> Result<(), Fault> {
        let (destination, result) = (inst.operands[0], inst.results[0]);
        let value = match &inst.op {
            // `copy` does not look at what it replaces.
            Op::Copy {} => {
                let value = self.read(inst.operands[1])?;
                let shape = &self.source.ty(destination).shape;
                if self.graph.ty(value).shape == *shape {
                    value
                } else {
                    let made = self.one(Op::Expand { shape: shape.clone() }, &[value])?;
                    self.name(made, result);
                    made
                }
            }
            op => {
                let operands = self.read_all(&inst.operands)?;
                let made = self.emit(inst, op.clone(), &operands)?[0];
                self.name(made, result);
                made
            }
        };
        let root = self.aliases.storage(destination);
        self.open(root)?;
        let form = self.next_version(root, destination, value)?;
        let versions = self.storages.get(&root).map_or(0, |storage| storage.written.len());
        self.current[destination.index()] = Some((versions, value));
        self.current[result.index()] = Some((versions, value));
        self.notes.writes.push((id, root, form));
        Ok(())
    }

    /// Makes the storage of `root` one with versions.
    fn open(&mut self, root: ValueId) -> Result<(), Fault> {
        if self.storages.contains_key(&root) {
            return Ok(());
        }
        let (_, mut base) = self.current[root.index()].ok_or_else(|| fault("a storage is written before it exists"))?;
        let order = storage_order(self.aliases.origin(root).layout);
        if let Some(order) = &order {
            base = self.one(Op::Permute { axes: order.clone() }, &[base])?;
        }
        let ty = self.graph.ty(base).clone();
        self.storages.insert(root, Versions { order, ty, base, written: Vec::new() });
        Ok(())
    }

    fn next_version(&mut self, root: ValueId, destination: ValueId, value: ValueId) -> Result<WriteForm, Fault> {
        let layout = self.aliases.origin(destination).layout.clone();
        if layout.is_empty() {
            return Ok(WriteForm::Nothing);
        }
        let storage = &self.storages[&root];
        let (base, shape) = (storage.base, storage.ty.shape.clone());
        let (next, form) = match cover(&layout, &shape) {
            Some(ops) => (self.apply(ops, value)?, WriteForm::Whole),
            None => {
                let offset = usize::try_from(layout.offset).map_err(|_| fault("a view begins before its storage"))?;
                let update = Op::Update { offset, strides: layout.strides };
                let next = self.one(update, &[base, value])?;
                self.name(next, root);
                (next, WriteForm::Region)
            }
        };
        if let Some(storage) = self.storages.get_mut(&root) {
            storage.base = next;
            storage.written.push(destination);
        }
        Ok(form)
    }

    /// The value that holds `value` now.
    fn read(&mut self, value: ValueId) -> Result<ValueId, Fault> {
        let root = self.aliases.storage(value);
        let Some(now) = self.storages.get(&root).map(|storage| storage.written.len()) else {
            return self.unwritten(value);
        };
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
        let map = self.aliases.origin(value).map;
        if let (true, Some(map)) = (path.len() > MAX_REPLAYED, map) {
            let ops = extract(map, &self.source.ty(root).shape);
            let whole = self.read(root)?;
            let made = self.apply(ops, whole)?;
            self.name(made, value);
            self.current[value.index()] = Some((now, made));
            return Ok(made);
        }
        self.current[at.index()] = Some((now, known));
        while let Some(at) = path.pop() {
            known = self.replay(at, known, now)?;
        }
        Ok(known)
    }

    /// A value whose storage has not been written so far. Its view may have been put off, if it is written later.
    fn unwritten(&mut self, value: ValueId) -> Result<ValueId, Fault> {
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
    fn still(&mut self, value: ValueId, root: ValueId, now: usize) -> Option<ValueId> {
        let (since, known) = self.current[value.index()]?;
        let writes = &self.storages.get(&root)?.written[since..];
        let region = |value: ValueId| {
            let origin = self.aliases.origin(value);
            Region { map: origin.map, layout: origin.layout }
        };
        let apart = writes.len() <= MAX_COMPARED
            && writes
                .iter()
                .all(|&write| relation::relate_within(region(value), region(write), "", COMPARE_BUDGET).is_disjoint());
        if !apart {
            return None;
        }
        self.current[value.index()] = Some((now, known));
        Some(known)
    }

    /// The root's own value: its newest version, in the root's order of axes.
    fn whole(&mut self, root: ValueId) -> Result<ValueId, Fault> {
        let storage = &self.storages[&root];
        let (base, order) = (storage.base, storage.order.clone());
        match order {
            None => Ok(base),
            Some(order) => {
                let made = self.one(Op::Permute { axes: inverse(&order) }, &[base])?;
                self.name(made, root);
                Ok(made)
            }
        }
    }

    /// The operand that `value` is a view of, or writes over.
    fn operand_of(&self, value: ValueId) -> Result<ValueId, Fault> {
        let inst = self.source.producer(value).ok_or_else(|| fault("a view without an instruction"))?;
        let inst = self.source.inst(inst);
        match inst.op.row().storage {
            _ if inst.mutates => Ok(inst.operands[0]),
            Storage::ViewOf(operand) | Storage::MayViewOf(operand) => Ok(inst.operands[operand]),
            Storage::Fresh => Err(fault(format!("{} is no view", inst.op.name()))),
        }
    }

    /// The view that defines `value`, applied to `operand`.
    fn replay(&mut self, value: ValueId, operand: ValueId, now: usize) -> Result<ValueId, Fault> {
        let Def::Result(id, place) = self.source.value(value).def else {
            return Err(fault("a view without an instruction"));
        };
        let inst = self.source.inst(id);
        let made = if inst.mutates {
            operand
        } else {
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
            self.name(made, value);
            made
        };
        self.current[value.index()] = Some((now, made));
        Ok(made)
    }

    fn apply(&mut self, ops: Vec<Op>, value: ValueId) -> Result<ValueId, Fault> {
        ops.into_iter().try_fold(value, |value, op| self.one(op, &[value]))
    }

    fn one(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, Fault> {
        if self.graph.insts.len() >= MAX_INSTS {
            return Err(fault(format!("the functional form has more than {MAX_INSTS} instructions")));
        }
        let location = self.location.clone();
        let inst = self.graph.append(Graph::BODY, op, operands, location).map_err(fault)?;
        Ok(self.graph.inst(inst).results[0])
    }

    /// A copy of `inst` with another op, on other operands; bodies are copied as they are.
    fn emit(&mut self, inst: &Inst, op: Op, operands: &[ValueId]) -> Result<Vec<ValueId>, Fault> {
        let regions: Vec<BlockId> = inst.regions.iter().map(|&region| self.body(region)).collect::<Result<_, _>>()?;
        let made = self.graph.append(Graph::BODY, op, operands, inst.location.clone()).map_err(fault)?;
        let copy = &mut self.graph.insts[made.index()];
        (copy.regions, copy.tie, copy.rules) = (regions, inst.tie, inst.rules.clone());
        Ok(self.graph.inst(made).results.clone())
    }

    /// A copy of a kernel's body, which neither writes nor sees anything but constants outside.
    fn body(&mut self, from: BlockId) -> Result<BlockId, Fault> {
        let to = self.graph.add_block();
        let mut inside: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        let block = self.source.block(from);
        for &param in &block.params {
            let value = self.source.value(param);
            inside.insert(param, self.graph.add_param(to, value.ty.clone(), value.name.clone()));
        }
        let constant = |chains: &Chains<'_>, value: ValueId| {
            chains.current[value.index()].map(|(_, made)| made).ok_or_else(|| fault("a body sees what it should not"))
        };
        for &id in &block.insts {
            let inst = self.source.inst(id);
            let operands = inst.operands.iter().map(|operand| match inside.get(operand) {
                Some(&made) => Ok(made),
                None => constant(self, *operand),
            });
            let operands = operands.collect::<Result<Vec<_>, _>>()?;
            let regions = inst.regions.iter().map(|&region| self.body(region)).collect::<Result<Vec<_>, _>>()?;
            let made = self.graph.append(to, inst.op.clone(), &operands, inst.location.clone()).map_err(fault)?;
            self.graph.insts[made.index()].regions = regions;
            let results = self.graph.inst(made).results.clone();
            for (&result, made) in inst.results.iter().zip(results) {
                self.graph.values[made.index()].name = self.source.value(result).name.clone();
                inside.insert(result, made);
            }
        }
        let yields = block.yields.iter().map(|value| match inside.get(value) {
            Some(&made) => Ok(made),
            None => constant(self, *value),
        });
        let yields = yields.collect::<Result<Vec<_>, _>>()?;
        self.graph.blocks[to.index()].yields = yields;
        Ok(to)
    }

    /// Calls a new value after the source value it holds: `%x`, and later `%x.1`, `%x.2`.
    fn name(&mut self, made: ValueId, source: ValueId) {
        let name = &self.source.value(source).name;
        if name.is_empty() || !self.graph.value(made).name.is_empty() {
            return;
        }
        let chosen = match self.versions.entry(name.clone()) {
            std::collections::hash_map::Entry::Vacant(first) => {
                first.insert(0);
                name.clone()
            }
            std::collections::hash_map::Entry::Occupied(mut last) => loop {
                *last.get_mut() += 1;
                let versioned = format!("{name}.{}", last.get());
                if !self.names.contains(versioned.as_str()) {
                    break versioned;
                }
            },
        };
        self.graph.values[made.index()].name = chosen;
    }

    /// Notes which inputs must not share bytes. Instructions count wherever they stand, bodies included.
    fn note_inputs(&mut self) {
        let source = self.source;
        let input = |value: ValueId| match source.value(self.aliases.storage(value)).def {
            Def::Input(place) => Some(place),
            _ => None,
        };
        let changed = |&&(place, value): &&(u32, ValueId)| source.inputs[place as usize].value != value;
        let finals: Vec<(u32, ValueId)> = source.finals.iter().filter(changed).copied().collect();
        let operands = source.insts.iter().flat_map(|inst| &inst.operands);
        let yields = source.blocks.iter().flat_map(|block| &block.yields);
        let outputs = source.outputs.iter().map(|output| &output.value);
        let seen = operands.chain(yields).chain(outputs).chain(finals.iter().map(|(_, value)| value));
        let (mut used, mut written) = (vec![false; source.inputs.len()], vec![false; source.inputs.len()]);
        seen.filter_map(|&value| input(value)).for_each(|place| used[place as usize] = true);
        let destinations = source.insts.iter().filter(|inst| inst.mutates).map(|inst| inst.operands[0]);
        destinations.filter_map(input).for_each(|place| written[place as usize] = true);
        finals.iter().for_each(|&(place, _)| written[place as usize] = true);
        let places = |which: Vec<bool>| (0..).zip(which).filter(|(_, is)| *is).map(|(place, _)| place).collect();
        (self.notes.used_inputs, self.notes.written_inputs) = (places(used), places(written));
    }

    /// Removes instructions whose results nobody needs: views that were replayed, versions that were covered.
    fn drop_unused(&mut self) {
        let mut needed = vec![false; self.graph.values.len()];
        let ends = self.graph.outputs.iter().map(|output| output.value);
        for value in ends.chain(self.graph.finals.iter().map(|entry| entry.1)) {
            needed[value.index()] = true;
        }
        let mut kept = std::mem::take(&mut self.graph.blocks[Graph::BODY.index()].insts);
        kept.reverse();
        kept.retain(|&id| {
            let inst = self.graph.inst(id);
            let keep = inst.results.iter().any(|result| needed[result.index()]);
            if keep {
                inst.operands.iter().for_each(|operand| needed[operand.index()] = true);
            }
            keep
        });
        kept.reverse();
        self.graph.blocks[Graph::BODY.index()].insts = kept;
    }
}

/// The op on values: `view` asks for strides, which a value does not have.
fn as_value(op: &Op) -> Op {
    match op {
        Op::View { shape } => Op::Reshape { shape: shape.clone() },
        other => other.clone(),
    }
}
