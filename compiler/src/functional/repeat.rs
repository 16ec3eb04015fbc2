//! `loop` and `scan` in functional form.
//!
//! Carried around the loop are: what the source carries, where it is a value; a version of each storage of outside that
//! the body writes; and for a carry whose identity matters, which of its alternatives it is (a `bool` for each, where
//! there are several), the indices of rows, and slots for storages that the body made.
//!
//! Which storages the body writes and what its carries may refer to is seen by walking it. A walk starts from what is
//! known so far; if it finds more, it is given up and begun again. What is known only grows, and is kept for the next
//! time, so a loop inside another is not learned twice.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{Chains, fault};
use super::escape::Contents;
use super::handle::{Alternative, Cond, Handle, Root};
use super::{Stop, WriteForm};
use crate::ir::{BlockId, Constant, ConstantData, InstId, ValueId};
use crate::ops::Op;
use crate::types::{DType, TensorType};

/// How often a loop's body is walked. Each walk sees one step further around the loop: a storage that is handed from
/// carry to carry takes as many walks as carries.
const MAX_WALKS: usize = 256;

/// What is known of a loop from walking its body.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Storages of outside that the body writes.
    written: BTreeSet<Root>,
    /// What carries may refer to, by place; conditions and indices do not count.
    places: BTreeMap<usize, Handle>,
}

impl Seen {
    /// Adds an alternative of a carry. Whether it is new.
    fn add(&mut self, place: usize, alternative: &Alternative) -> bool {
        let known = self.places.entry(place).or_default();
        let new = known.iter().all(|other| !other.agrees(alternative));
        if new {
            known.push(alternative.clone());
        }
        new
    }

    /// Slots that the alternatives refer to.
    fn slots(&self, id: InstId) -> BTreeSet<Root> {
        let roots = self.places.values().flatten().map(|alternative| &alternative.root);
        roots.filter(|root| matches!(root, Root::Slot { inst, .. } if *inst == id)).cloned().collect()
    }
}

/// Something that is carried around the functional loop.
#[derive(Clone, Debug)]
enum Carry {
    /// Carry `place` of the source, a value.
    Value(usize),
    Version(Root),
    Slot(Root),
    /// Whether carry `place` is alternative `key`.
    When {
        place: usize,
        key: usize,
    },
    /// The index of row `hole` of that alternative.
    Row {
        place: usize,
        key: usize,
        hole: usize,
    },
}

/// The parts of the source's loop.
struct Shape {
    inits: Vec<ValueId>,
    sequences: Vec<ValueId>,
    args: Vec<ValueId>,
    index: ValueId,
    carries: Vec<ValueId>,
    slices: Vec<ValueId>,
    /// Parameters that stand for `args`.
    rest: Vec<ValueId>,
    /// What the body yields: a condition, if it is a `loop`, the next carries, elements.
    condition: Option<ValueId>,
    next: Vec<ValueId>,
    elements: Vec<ValueId>,
}

/// What goes around in one walk of the body, and where it begins.
struct Walk {
    seen: Seen,
    list: Vec<Carry>,
    starts: Vec<ValueId>,
    /// Trip count and condition of a `loop`.
    head: Vec<ValueId>,
    /// Initially, for the carries whose identity matters.
    handles: BTreeMap<usize, Handle>,
    /// Sequences that are values, each with its parameter in the source.
    runs: Vec<(ValueId, ValueId)>,
    /// Sequences that are looked at, likewise.
    looked: Vec<(ValueId, Handle)>,
}

/// What a trip gives.
struct Trip {
    condition: Option<ValueId>,
    values: BTreeMap<usize, ValueId>,
    handles: BTreeMap<usize, Handle>,
    contents: Contents,
    elements: Vec<ValueId>,
}

impl Chains<'_> {
    pub fn repeat(&mut self, id: InstId) -> Result<(), Stop> {
        if let Op::Scan { trips: 0, carried, .. } = self.source.inst(id).op {
            return self.no_trip(id, carried);
        }
        let location = self.location.clone();
        let mark = self.mark();
        for _ in 0..MAX_WALKS {
            if self.walk(id)? {
                return Ok(());
            }
            self.give_up(&mark);
            self.location.clone_from(&location);
        }
        Err(Stop::Unsupported(format!("a loop that hands storages on through more than {MAX_WALKS} carries")))
    }

    /// A scan over nothing: the carries are what they were, and the stacks are empty.
    fn no_trip(&mut self, id: InstId, carried: usize) -> Result<(), Stop> {
        let source = self.source;
        let inst = source.inst(id);
        for write in source.insts_in(inst.regions[0]) {
            if source.inst(write).mutates {
                let root = self.aliases.storage(source.inst(write).operands[0]);
                self.notes.writes.push((write, root, WriteForm::Nothing));
            }
        }
        for (place, &result) in inst.results.iter().enumerate() {
            if place < carried && self.identity.matters(result) {
                let handle = self.handle(inst.operands[place])?;
                self.handles.insert(result, handle);
                continue;
            }
            let made = match place < carried {
                true => self.read(inst.operands[place])?,
                false => {
                    let ty = source.ty(result).clone();
                    self.graph.add_constant(Constant { name: String::new(), ty, data: ConstantData::Splat(0) })
                }
            };
            self.know(result, 0, made);
            self.make(Root::Value(result));
        }
        Ok(())
    }

    fn shape(&self, id: InstId) -> Result<Shape, Stop> {
        let inst = self.source.inst(id);
        let (first, carried, sequences) = match inst.op {
            Op::Loop { carried } => (2, carried, 0),
            Op::Scan { carried, sequences, .. } => (0, carried, sequences),
            _ => return Err(fault("no loop")),
        };
        let body = self.source.block(inst.regions[0]);
        let (inits, rest) = inst.operands[first..].split_at(carried);
        let (sequences, args) = rest.split_at(sequences);
        let (carries, rest) = body.params[1..].split_at(carried);
        let (slices, rest) = rest.split_at(sequences.len());
        let (condition, yields) = body.yields.split_at(usize::from(first > 0));
        let (next, elements) = yields.split_at(carried);
        Ok(Shape {
            inits: inits.to_vec(),
            sequences: sequences.to_vec(),
            args: args.to_vec(),
            index: body.params[0],
            carries: carries.to_vec(),
            slices: slices.to_vec(),
            rest: rest.to_vec(),
            condition: condition.first().copied(),
            next: next.to_vec(),
            elements: elements.to_vec(),
        })
    }

    /// Walks the body with what is known of it. Whether that was all.
    fn walk(&mut self, id: InstId) -> Result<bool, Stop> {
        let source = self.source;
        let location = self.location.clone();
        let shape = self.shape(id)?;
        let mut walk = self.begin(id, &shape)?;
        let journal = self.journal();
        let outer = self.enter();
        let block = self.block;
        self.bind(&shape, &walk)?;
        let entry = self.state.clone();
        self.insts(source.inst(id).regions[0])?;
        self.location.clone_from(&location);
        let inner = self.made.last().cloned().unwrap_or_default();
        let trip = self.trip(id, &shape, &walk)?;
        if self.grown(&mut walk.seen, &trip.handles, &entry, &inner) {
            self.seen.insert(id, walk.seen);
            self.leave(outer, journal);
            return Ok(false);
        }
        let yields = self.yields(&walk, &trip)?;
        self.graph.blocks[block.index()].yields = yields;
        self.leave(outer, journal);
        self.state = entry.into_iter().filter(|(root, _)| !inner.contains(root)).collect();
        self.end(id, &shape, &walk, &trip, block)?;
        self.seen.insert(id, walk.seen);
        Ok(true)
    }

    /// Outside, before the loop: where everything begins.
    fn begin(&mut self, id: InstId, shape: &Shape) -> Result<Walk, Stop> {
        let source = self.source;
        let mut seen = self.seen.get(&id).cloned().unwrap_or_default();
        let head = match shape.condition {
            Some(_) => self.read_all(&source.inst(id).operands[..2])?,
            None => Vec::new(),
        };
        let mut values = BTreeMap::new();
        let mut handles: BTreeMap<usize, Handle> = BTreeMap::new();
        for (place, &init) in shape.inits.iter().enumerate() {
            if self.identity.matters(shape.carries[place]) {
                let handle = self.handle(init)?;
                for alternative in &handle {
                    seen.add(place, alternative);
                }
                handles.insert(place, handle);
            } else {
                values.insert(place, self.read(init)?);
            }
        }
        let list = carried(&seen, id, values.keys().copied());
        let mut starts = Vec::new();
        for carry in &list {
            starts.push(match carry {
                Carry::Value(place) => values[place],
                Carry::Version(root) => self.base(root)?,
                Carry::Slot(root) => self.nothing(root),
                Carry::When { .. } | Carry::Row { .. } => self.pick(carry, &seen, &handles)?,
            });
        }
        let (mut runs, mut looked) = (Vec::new(), Vec::new());
        for (&slice, &sequence) in shape.slices.iter().zip(&shape.sequences) {
            if self.identity.matters(slice) {
                looked.push((slice, self.handle(sequence)?));
            } else {
                runs.push((slice, self.read(sequence)?));
            }
        }
        Ok(Walk { seen, list, starts, head, handles, runs, looked })
    }

    /// Inside: the parameters, and what they stand for.
    fn bind(&mut self, shape: &Shape, walk: &Walk) -> Result<(), Stop> {
        let (source, block) = (self.source, self.block);
        let number = self.graph.add_param(block, source.ty(shape.index).clone(), "");
        self.hold(shape.index, number);
        let mut params = Vec::new();
        for &start in &walk.starts {
            let ty = self.graph.ty(start).clone();
            params.push(self.graph.add_param(block, ty, ""));
        }
        self.hold_carries(walk, &params, &shape.carries);
        for (place, handle) in refers(&walk.seen, &walk.list, &params) {
            self.handles.insert(shape.carries[place], handle);
        }
        for &(slice, sequence) in &walk.runs {
            let ty = crate::ops::control::without_first_axis(self.graph.ty(sequence));
            let param = self.graph.add_param(block, ty, "");
            self.hold(slice, param);
        }
        for (slice, handle) in &walk.looked {
            let element = self.aliases.origin(*slice).layout;
            let mut handle = handle.clone();
            handle.iter_mut().try_for_each(|alternative| alternative.step(number, element))?;
            self.handles.insert(*slice, handle);
        }
        self.passed.extend(shape.rest.iter().copied().zip(shape.args.iter().copied()));
        Ok(())
    }

    /// Makes `made` the value of the source that is called `value`, with a storage of its own.
    fn hold(&mut self, value: ValueId, made: ValueId) {
        self.name(made, value);
        self.know(value, 0, made);
        self.make(Root::Value(value));
    }

    /// Takes what goes around: values of the source go to those of `places`, versions and slots to their storages.
    fn hold_carries(&mut self, walk: &Walk, values: &[ValueId], places: &[ValueId]) {
        for (carry, &made) in walk.list.iter().zip(values) {
            match carry {
                Carry::Value(place) => self.hold(places[*place], made),
                Carry::Version(root) => {
                    if let Root::Value(value) = root {
                        self.name(made, *value);
                    }
                    self.change(root, made, None);
                }
                Carry::Slot(root) => {
                    self.change(root, made, None);
                    self.make(root.clone());
                }
                Carry::When { .. } | Carry::Row { .. } => {}
            }
        }
    }

    /// Inside, after the body: what the trip gives.
    fn trip(&mut self, id: InstId, shape: &Shape, walk: &Walk) -> Result<Trip, Stop> {
        let condition = shape.condition.map(|condition| self.read(condition)).transpose()?;
        let (mut values, mut handles) = (BTreeMap::new(), BTreeMap::new());
        for (place, &value) in shape.next.iter().enumerate() {
            if walk.handles.contains_key(&place) {
                handles.insert(place, self.handle(value)?);
            } else {
                values.insert(place, self.read(value)?);
            }
        }
        let elements = self.read_all(&shape.elements)?;
        let inner = self.made.last().cloned().unwrap_or_default();
        let (handles, contents) = self.escape(id, &handles, &inner)?;
        Ok(Trip { condition, values, handles, contents, elements })
    }

    fn yields(&mut self, walk: &Walk, trip: &Trip) -> Result<Vec<ValueId>, Stop> {
        let mut yields: Vec<ValueId> = trip.condition.into_iter().collect();
        for carry in &walk.list {
            yields.push(match carry {
                Carry::Value(place) => trip.values[place],
                Carry::Version(root) => self.base(root)?,
                Carry::Slot(root) => match trip.contents.get(root) {
                    Some(&content) => content,
                    None => self.base(root)?,
                },
                Carry::When { .. } | Carry::Row { .. } => self.pick(carry, &walk.seen, &trip.handles)?,
            });
        }
        yields.extend(&trip.elements);
        Ok(yields)
    }

    /// Outside, behind the loop: the instruction, and what its results stand for.
    fn end(&mut self, id: InstId, shape: &Shape, walk: &Walk, trip: &Trip, block: BlockId) -> Result<(), Stop> {
        let source = self.source;
        let inst = source.inst(id);
        let runs = walk.runs.iter().map(|&(_, sequence)| sequence);
        let operands: Vec<ValueId> = walk.head.iter().chain(&walk.starts).copied().chain(runs).collect();
        let carried = walk.list.len();
        let op = match inst.op {
            Op::Scan { trips, .. } => {
                let types: Vec<&TensorType> = trip.elements.iter().map(|&value| self.graph.ty(value)).collect();
                let (results, shapes) = types.into_iter().map(|ty| (ty.dtype, ty.shape.clone())).unzip();
                Op::Scan { trips, carried, sequences: walk.runs.len(), results, shapes }
            }
            _ => Op::Loop { carried },
        };
        let results = self.emit_regions(op, &operands, vec![block])?;
        self.hold_carries(walk, &results, &inst.results);
        for (place, mut handle) in refers(&walk.seen, &walk.list, &results) {
            let result = inst.results[place];
            if self.aliases.joined(result).len() == 1 {
                // The loop surely has a trip, so that the result is what a trip yielded.
                handle.retain(|alternative| trip.handles[&place].iter().any(|given| given.agrees(alternative)));
                handle = self.simplify(handle)?;
            }
            self.handles.insert(result, handle);
        }
        for (&result, &made) in inst.results[shape.carries.len()..].iter().zip(&results[carried..]) {
            self.hold(result, made);
        }
        Ok(())
    }

    /// Adds what the walk found. Whether that is more than it began with.
    fn grown(
        &self,
        seen: &mut Seen,
        after: &BTreeMap<usize, Handle>,
        entry: &Contents,
        inner: &BTreeSet<Root>,
    ) -> bool {
        let mut grown = false;
        for (&place, handle) in after {
            for alternative in handle {
                grown |= seen.add(place, alternative);
            }
        }
        for (root, version) in &self.state {
            if !inner.contains(root) && entry.get(root) != Some(version) {
                grown |= seen.written.insert(root.clone());
            }
        }
        grown
    }

    /// The condition or the index of a row that a handle has for what is carried.
    fn pick(&mut self, carry: &Carry, seen: &Seen, handles: &BTreeMap<usize, Handle>) -> Result<ValueId, Stop> {
        let (&place, &key) = match carry {
            Carry::When { place, key } | Carry::Row { place, key, .. } => (place, key),
            _ => return Err(fault("neither a condition nor an index")),
        };
        let found = handles[&place].iter().find(|alternative| alternative.agrees(&seen.places[&place][key]));
        Ok(match (carry, found) {
            (Carry::Row { hole, .. }, Some(found)) => {
                found.rows().nth(*hole).ok_or_else(|| fault("an alternative lacks an index"))?
            }
            (Carry::Row { .. }, None) => self.scalar(DType::I64, 0),
            (_, found) => {
                let cond = found.map(|found| found.cond);
                self.truth(cond)
            }
        })
    }
}

/// Everything that is carried, in order.
fn carried(seen: &Seen, id: InstId, values: impl Iterator<Item = usize>) -> Vec<Carry> {
    let mut list: Vec<Carry> = values.map(Carry::Value).collect();
    list.extend(seen.written.iter().cloned().map(Carry::Version));
    list.extend(seen.slots(id).into_iter().map(Carry::Slot));
    for (&place, alternatives) in &seen.places {
        for (key, alternative) in alternatives.iter().enumerate() {
            if alternatives.len() > 1 {
                list.push(Carry::When { place, key });
            }
            list.extend((0..alternative.rows().count()).map(|hole| Carry::Row { place, key, hole }));
        }
    }
    list
}

/// What the carries refer to, with conditions and indices among `values`.
fn refers(seen: &Seen, list: &[Carry], values: &[ValueId]) -> BTreeMap<usize, Handle> {
    let mut handles = seen.places.clone();
    let mut rows: BTreeMap<(usize, usize), Vec<ValueId>> = BTreeMap::new();
    for alternative in handles.values_mut().flatten() {
        alternative.cond = Cond::Always;
    }
    for (carry, &value) in list.iter().zip(values) {
        match carry {
            Carry::When { place, key } => {
                if let Some(handle) = handles.get_mut(place) {
                    handle[*key].cond = Cond::When(value);
                }
            }
            Carry::Row { place, key, .. } => rows.entry((*place, *key)).or_default().push(value),
            _ => {}
        }
    }
    for ((place, key), rows) in rows {
        if let Some(handle) = handles.get_mut(&place) {
            handle[key] = handle[key].with_rows(&rows);
        }
    }
    handles
}
