//! The walk over a source program that replaces storages by chains of versions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::handle::{Handle, Root};
use super::identity::Identity;
use super::repeat::Seen;
use super::{FunctionalNotes, Stop, WriteForm};
use crate::alias::AliasDb;
use crate::diagnostic::Fault;
use crate::ir::{BlockId, Constant, Def, Graph, Inst, InstId, Location, ValueId};
use crate::ops::{Op, Storage};
use crate::types::{DType, InputMode};

/// Instructions that the functional form of any program may have. Only a program made to grow (long chains of reshapes,
/// each read again after each of many writes) comes near.
const MAX_INSTS: usize = 1 << 22;

/// A change that leaving a region takes back: what a value of the source was known as.
pub(super) type Known = Option<(usize, ValueId)>;

pub(super) struct Chains<'a> {
    pub source: &'a Graph,
    pub aliases: &'a AliasDb<'a>,
    /// Which joins have to be known as what they refer to.
    pub identity: Identity,
    pub graph: Graph,
    /// Where instructions go.
    pub block: BlockId,
    /// Newest versions of the storages that were written, in the order of the storage.
    pub state: BTreeMap<Root, ValueId>,
    /// For each storage, what was written, one entry a version: a value whose region it was, if only that changed.
    pub written: BTreeMap<Root, Vec<Option<ValueId>>>,
    /// What joins refer to, for those that are not values of their own.
    pub handles: BTreeMap<ValueId, Handle>,
    /// For each value of the source: the value that holds it, as of so many writes of its storage.
    pub current: Vec<Known>,
    /// What `current` held, for each change of it.
    journal: Vec<(ValueId, Known)>,
    /// Parameters of regions that stand for one operand.
    pub passed: BTreeMap<ValueId, ValueId>,
    /// For each region around the place where we are, the storages made in it.
    pub made: Vec<BTreeSet<Root>>,
    /// What is known of each loop from walking its body.
    pub seen: BTreeMap<InstId, Seen>,
    /// Names of the source, which no version may take.
    names: HashSet<&'a str>,
    /// How many values were called after a name of the source.
    versions: HashMap<String, usize>,
    /// Names used, to give them back where a region is walked again.
    named: Vec<(ValueId, String, Option<usize>)>,
    pub notes: FunctionalNotes,
    pub location: Location,
    /// Instructions made, those given up included.
    count: usize,
}

pub(super) fn fault(message: impl Into<String>) -> Stop {
    Stop::Fault(Fault { stage: "functional", message: message.into() })
}

/// Where a walk began, to go back there.
pub(super) struct Mark {
    values: usize,
    insts: usize,
    blocks: usize,
    constants: usize,
    standing: usize,
    writes: usize,
    named: usize,
    journal: usize,
    state: BTreeMap<Root, ValueId>,
}

impl<'a> Chains<'a> {
    pub fn new(source: &'a Graph, aliases: &'a AliasDb<'a>) -> Chains<'a> {
        Chains {
            source,
            aliases,
            identity: Identity::of(source, aliases),
            graph: Graph::new(source.name.clone()),
            block: Graph::BODY,
            state: BTreeMap::new(),
            written: BTreeMap::new(),
            handles: BTreeMap::new(),
            current: vec![None; source.values.len()],
            journal: Vec::new(),
            passed: BTreeMap::new(),
            made: vec![BTreeSet::new()],
            seen: BTreeMap::new(),
            names: source.values.iter().map(|value| value.name.as_str()).collect(),
            versions: HashMap::new(),
            named: Vec::new(),
            notes: FunctionalNotes { values: vec![None; source.values.len()], ..FunctionalNotes::default() },
            location: Location::default(),
            count: 0,
        }
    }

    pub fn run(mut self) -> Result<(Graph, FunctionalNotes), Stop> {
        for (position, input) in self.source.inputs.iter().enumerate() {
            let made = self.graph.add_input_of(self.source, position);
            self.versions.insert(input.name.clone(), 0);
            self.know(input.value, 0, made);
        }
        for (at, value) in self.source.values.iter().enumerate() {
            if let Def::Constant(id) = value.def {
                let made = self.graph.add_constant(self.source.constant(id).clone());
                self.versions.insert(value.name.clone(), 0);
                self.know(ValueId(at as u32), 0, made);
            }
        }
        self.insts(Graph::BODY)?;
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
        Ok((self.graph, self.notes))
    }

    /// The instructions of a block of the source, to the block where we are.
    pub fn insts(&mut self, block: BlockId) -> Result<(), Stop> {
        let source = self.source;
        source.block(block).insts.iter().try_for_each(|&id| self.inst(id))
    }

    /// Notes that `made` holds `value` as of `since` writes of its storage.
    pub fn know(&mut self, value: ValueId, since: usize, made: ValueId) {
        let before = self.current[value.index()].replace((since, made));
        self.journal.push((value, before));
        self.notes.values[value.index()] = Some(made);
    }

    /// Begins a region: a block of its own, and storages of its own.
    pub fn enter(&mut self) -> BlockId {
        let block = self.graph.add_block();
        self.made.push(BTreeSet::new());
        std::mem::replace(&mut self.block, block)
    }

    /// Ends the region: what was known only inside is forgotten. The storages made in it.
    pub fn leave(&mut self, outer: BlockId, journal: usize) -> BTreeSet<Root> {
        self.block = outer;
        for (value, before) in self.journal.drain(journal..).rev() {
            self.current[value.index()] = before;
        }
        self.made.pop().unwrap_or_default()
    }

    pub fn journal(&self) -> usize {
        self.journal.len()
    }

    /// This place of the walk.
    pub fn mark(&self) -> Mark {
        Mark {
            values: self.graph.values.len(),
            insts: self.graph.insts.len(),
            blocks: self.graph.blocks.len(),
            constants: self.graph.constants.len(),
            standing: self.graph.block(self.block).insts.len(),
            writes: self.notes.writes.len(),
            named: self.named.len(),
            journal: self.journal.len(),
            state: self.state.clone(),
        }
    }

    /// Gives up everything since `mark`, which was taken in the block where we are.
    pub fn give_up(&mut self, mark: &Mark) {
        self.graph.values.truncate(mark.values);
        self.graph.insts.truncate(mark.insts);
        self.graph.blocks.truncate(mark.blocks);
        self.graph.constants.truncate(mark.constants);
        self.graph.blocks[self.block.index()].insts.truncate(mark.standing);
        self.notes.writes.truncate(mark.writes);
        for (made, name, count) in self.named.drain(mark.named..).rev() {
            // A value from before may have got its name since.
            if let Some(value) = self.graph.values.get_mut(made.index()) {
                value.name.clear();
            }
            match count {
                Some(count) => self.versions.insert(name, count),
                None => self.versions.remove(&name),
            };
        }
        for (value, before) in self.journal.drain(mark.journal..).rev() {
            self.current[value.index()] = before;
        }
        self.state.clone_from(&mark.state);
        let stale = |value: &ValueId| value.index() >= mark.values;
        for value in &mut self.notes.values {
            *value = value.filter(|value| !stale(value));
        }
    }

    fn inst(&mut self, id: InstId) -> Result<(), Stop> {
        let source = self.source;
        let inst = source.inst(id);
        self.location = inst.location.clone();
        match inst.op {
            Op::If { .. } => return self.branch(id),
            Op::Loop { .. } | Op::Scan { .. } => return self.repeat(id),
            _ if inst.mutates => return self.write(id, inst),
            _ => {}
        }
        let operand = match inst.op.row().storage {
            Storage::ViewOf(operand) | Storage::MayViewOf(operand) => Some(inst.operands[operand]),
            Storage::Fresh | Storage::Yielded => None,
        };
        let is_view = operand.is_some_and(|operand| {
            let root = self.aliases.storage(operand);
            inst.results.iter().all(|&result| self.aliases.storage(result) == root)
        });
        if let (true, Some(operand)) = (is_view, operand)
            && (self.aliases.is_written(operand) || self.handles.contains_key(&self.aliases.storage(operand)))
        {
            // A view of what may yet change is taken when it is read.
            return Ok(());
        }
        if let Op::AsStrided { .. } = inst.op {
            // It sees the storage, not the operand.
            self.unwritten(inst.results[0])?;
            return Ok(());
        }
        let operands = self.read_all(&inst.operands)?;
        let results = self.emit(inst, as_value(&inst.op), &operands)?;
        for (&result, made) in inst.results.iter().zip(results) {
            self.name(made, result);
            self.know(result, 0, made);
            self.make(Root::Value(result));
        }
        Ok(())
    }

    /// Notes that a storage is made in the region where we are.
    pub fn make(&mut self, root: Root) {
        if let Some(made) = self.made.last_mut() {
            made.insert(root);
        }
    }

    /// A mutating instruction: its value is computed, then its storage has a new version.
    fn write(&mut self, id: InstId, inst: &Inst) -> Result<(), Stop> {
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
        let form = if self.handles.contains_key(&root) {
            let handle = self.handle(destination)?;
            self.write_handle(&handle, value)?;
            match handle.iter().all(|alternative| alternative.parts.iter().all(|part| part.layout.is_empty())) {
                true => WriteForm::Nothing,
                false => WriteForm::Region,
            }
        } else {
            self.next_version(root, destination, value)?
        };
        let now = self.now(root);
        self.know(destination, now, value);
        self.know(result, now, value);
        self.notes.writes.push((id, root, form));
        Ok(())
    }

    pub fn apply(&mut self, ops: Vec<Op>, value: ValueId) -> Result<ValueId, Stop> {
        ops.into_iter().try_fold(value, |value, op| self.one(op, &[value]))
    }

    pub fn one(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, Stop> {
        self.count += 1;
        if self.count >= MAX_INSTS {
            return Err(Stop::Unsupported(format!("a functional form of more than {MAX_INSTS} instructions")));
        }
        let location = self.location.clone();
        let inst = self.graph.append(self.block, op, operands, location).map_err(fault)?;
        Ok(self.graph.inst(inst).results[0])
    }

    /// A copy of `inst` with another op, on other operands; bodies are copied as they are.
    fn emit(&mut self, inst: &Inst, op: Op, operands: &[ValueId]) -> Result<Vec<ValueId>, Stop> {
        let regions: Vec<BlockId> = inst.regions.iter().map(|&region| self.body(region)).collect::<Result<_, _>>()?;
        let made = self.graph.append(self.block, op, operands, inst.location.clone()).map_err(fault)?;
        let copy = &mut self.graph.insts[made.index()];
        (copy.regions, copy.tie, copy.rules) = (regions, inst.tie, inst.rules.clone());
        Ok(self.graph.inst(made).results.clone())
    }

    /// A copy of a kernel's body, which neither writes nor sees anything but constants outside.
    fn body(&mut self, from: BlockId) -> Result<BlockId, Stop> {
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
            self.count += 1;
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
    pub fn name(&mut self, made: ValueId, source: ValueId) {
        let name = &self.source.value(source).name;
        if name.is_empty() || !self.graph.value(made).name.is_empty() {
            return;
        }
        self.named.push((made, name.clone(), self.versions.get(name).copied()));
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
        let owners = destinations.flat_map(|destination| self.aliases.owners(destination));
        owners.filter_map(input).for_each(|place| written[place as usize] = true);
        finals.iter().for_each(|&(place, _)| written[place as usize] = true);
        let places = |which: Vec<bool>| (0..).zip(which).filter(|(_, is)| *is).map(|(place, _)| place).collect();
        (self.notes.used_inputs, self.notes.written_inputs) = (places(used), places(written));
    }

    /// A scalar constant.
    pub fn scalar(&mut self, dtype: DType, bits: u64) -> ValueId {
        self.graph.add_constant(Constant::scalar(dtype, bits))
    }
}

/// The op on values: `view` and `view_dtype` ask for strides, which a value does not have.
pub(super) fn as_value(op: &Op) -> Op {
    match op {
        Op::ViewDtype { to } => Op::Bitcast { to: *to },
        Op::View { shape } => Op::Reshape { shape: shape.clone() },
        other => other.clone(),
    }
}
