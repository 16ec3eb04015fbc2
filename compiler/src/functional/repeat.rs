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
use crate::ir::{Constant, ConstantData, InstId, ValueId};
use crate::ops::Op;
use crate::types::{DType, TensorType};

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
struct Shape<'g> {
    inits: &'g [ValueId],
    sequences: &'g [ValueId],
    args: &'g [ValueId],
    carries: &'g [ValueId],
    slices: &'g [ValueId],
    /// Parameters that stand for `args`.
    rest: &'g [ValueId],
    index: ValueId,
}

impl Chains<'_> {
    pub fn repeat(&mut self, id: InstId) -> Result<(), Stop> {
        if let Op::Scan { trips: 0, carried, .. } = self.source.inst(id).op {
            return self.no_trip(id, carried);
        }
        let location = self.location.clone();
        let mark = self.mark();
        while !self.walk(id)? {
            self.give_up(&mark);
            self.location.clone_from(&location);
        }
        Ok(())
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

    fn shape(&self, id: InstId) -> Result<Shape<'_>, Stop> {
        let inst = self.source.inst(id);
        let (first, carried, sequences) = match inst.op {
            Op::Loop { carried } => (2, carried, 0),
            Op::Scan { carried, sequences, .. } => (0, carried, sequences),
            _ => return Err(fault("no loop")),
        };
        let params = &self.source.block(inst.regions[0]).params;
        let (inits, rest) = inst.operands[first..].split_at(carried);
        let (sequences, args) = rest.split_at(sequences);
        let (carries, rest) = params[1..].split_at(carried);
        let (slices, rest) = rest.split_at(sequences.len());
        Ok(Shape { inits, sequences, args, carries, slices, rest, index: params[0] })
    }

    /// Walks the body with what is known of it. Whether that was all.
    fn walk(&mut self, id: InstId) -> Result<bool, Stop> {
        let source = self.source;
        let inst = source.inst(id);
        let location = self.location.clone();
        let mut seen = self.seen.get(&id).cloned().unwrap_or_default();
        let shape = self.shape(id)?;
        let (inits, sequences, args) = (shape.inits.to_vec(), shape.sequences.to_vec(), shape.args.to_vec());
        let (carries, slices, rest) = (shape.carries.to_vec(), shape.slices.to_vec(), shape.rest.to_vec());
        let index = shape.index;

        // Outside: where everything begins.
        let mut head = Vec::new();
        if matches!(inst.op, Op::Loop { .. }) {
            head = self.read_all(&inst.operands[..2])?;
        }
        let mut values = BTreeMap::new();
        let mut handles: BTreeMap<usize, Handle> = BTreeMap::new();
        for (place, &init) in inits.iter().enumerate() {
            if self.identity.matters(carries[place]) {
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
        let (mut runs, mut sliced) = (Vec::new(), BTreeMap::new());
        for (&slice, &sequence) in slices.iter().zip(&sequences) {
            if self.identity.matters(slice) {
                sliced.insert(slice, self.handle(sequence)?);
            } else {
                runs.push((slice, self.read(sequence)?));
            }
        }

        // Inside.
        let journal = self.journal();
        let outer = self.enter();
        let block = self.block;
        let number = self.graph.add_param(block, source.ty(index).clone(), "");
        self.name(number, index);
        self.know(index, 0, number);
        self.make(Root::Value(index));
        let mut params = Vec::new();
        for (carry, &start) in list.iter().zip(&starts) {
            let ty = self.graph.ty(start).clone();
            let param = self.graph.add_param(block, ty, "");
            match carry {
                Carry::Value(place) => {
                    self.name(param, carries[*place]);
                    self.know(carries[*place], 0, param);
                    self.make(Root::Value(carries[*place]));
                }
                Carry::Version(root) => {
                    if let Root::Value(value) = root {
                        self.name(param, *value);
                    }
                    self.change(root, param, None);
                }
                Carry::Slot(root) => {
                    self.change(root, param, None);
                    self.make(root.clone());
                }
                Carry::When { .. } | Carry::Row { .. } => {}
            }
            params.push(param);
        }
        for (&place, _) in &handles {
            let handle = refers(&seen, place, &list, &params);
            self.handles.insert(carries[place], handle);
        }
        for &(slice, sequence) in &runs {
            let ty = crate::ops::control::without_first_axis(self.graph.ty(sequence));
            let param = self.graph.add_param(block, ty, "");
            self.name(param, slice);
            self.know(slice, 0, param);
            self.make(Root::Value(slice));
        }
        for (slice, mut handle) in sliced {
            let element = self.aliases.origin(slice).layout;
            handle.iter_mut().try_for_each(|alternative| alternative.step(number, element))?;
            self.handles.insert(slice, handle);
        }
        self.passed.extend(rest.iter().copied().zip(args.iter().copied()));
        let entry = self.state.clone();
        self.insts(inst.regions[0])?;
        self.location.clone_from(&location);

        // What the trip gives.
        let given = &source.block(inst.regions[0]).yields;
        let (conditions, given) = given.split_at(usize::from(!head.is_empty()));
        let mut yields = self.read_all(conditions)?;
        let (next, elements) = given.split_at(carries.len());
        let mut now = BTreeMap::new();
        let mut after: BTreeMap<usize, Handle> = BTreeMap::new();
        for (place, &value) in next.iter().enumerate() {
            if handles.contains_key(&place) {
                after.insert(place, self.handle(value)?);
            } else {
                now.insert(place, self.read(value)?);
            }
        }
        let elements = self.read_all(elements)?;
        let inner = self.made.last().cloned().unwrap_or_default();
        let (after, contents) = self.escape(id, &after, &inner)?;
        if self.grown(&mut seen, &after, &entry, &inner) {
            self.seen.insert(id, seen);
            self.leave(outer, journal);
            return Ok(false);
        }
        for carry in &list {
            yields.push(match carry {
                Carry::Value(place) => now[place],
                Carry::Version(root) => self.base(root)?,
                Carry::Slot(root) => match contents.get(root) {
                    Some(&content) => content,
                    None => self.base(root)?,
                },
                Carry::When { .. } | Carry::Row { .. } => self.pick(carry, &seen, &after)?,
            });
        }
        yields.extend(elements.iter().copied());
        self.graph.blocks[block.index()].yields = yields;
        self.leave(outer, journal);
        self.state = entry.into_iter().filter(|(root, _)| !inner.contains(root)).collect();

        // Outside again.
        let operands: Vec<ValueId> =
            head.iter().chain(&starts).copied().chain(runs.iter().map(|&(_, sequence)| sequence)).collect();
        let op = match inst.op {
            Op::Scan { trips, .. } => {
                let types: Vec<&TensorType> = elements.iter().map(|&value| self.graph.ty(value)).collect();
                let (results, shapes) = types.into_iter().map(|ty| (ty.dtype, ty.shape.clone())).unzip();
                Op::Scan { trips, carried: list.len(), sequences: runs.len(), results, shapes }
            }
            _ => Op::Loop { carried: list.len() },
        };
        let results = self.emit_regions(op, &operands, vec![block])?;
        for (carry, &made) in list.iter().zip(&results) {
            match carry {
                Carry::Value(place) => {
                    let result = inst.results[*place];
                    self.name(made, result);
                    self.know(result, 0, made);
                    self.make(Root::Value(result));
                }
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
        for &place in handles.keys() {
            let result = inst.results[place];
            let mut handle = refers(&seen, place, &list, &results);
            if self.aliases.joined(result).len() == 1 {
                // The loop surely has a trip, so that the result is what a trip yielded.
                handle.retain(|alternative| after[&place].iter().any(|given| given.agrees(alternative)));
                handle = self.simplify(handle)?;
            }
            self.handles.insert(result, handle);
        }
        for (&result, &made) in inst.results[carries.len()..].iter().zip(&results[list.len()..]) {
            self.name(made, result);
            self.know(result, 0, made);
            self.make(Root::Value(result));
        }
        self.seen.insert(id, seen);
        Ok(true)
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

/// What a carry refers to, with conditions and indices among `values`.
fn refers(seen: &Seen, place: usize, list: &[Carry], values: &[ValueId]) -> Handle {
    let mut handle = seen.places[&place].clone();
    for (at, alternative) in handle.iter_mut().enumerate() {
        alternative.cond = Cond::Always;
        let mut rows = Vec::new();
        for (carry, &value) in list.iter().zip(values) {
            match carry {
                Carry::When { place: of, key } if (*of, *key) == (place, at) => alternative.cond = Cond::When(value),
                Carry::Row { place: of, key, .. } if (*of, *key) == (place, at) => rows.push(value),
                _ => {}
            }
        }
        *alternative = alternative.with_rows(&rows);
    }
    handle
}
