//! Branches and loops written out, so that the program as written is a list of instructions.
//!
//! Everything in a source graph is by reference, and a list keeps it so. A trip of a loop is its body again, with the values
//! of that trip in the place of its parameters; a slice of a sequence is a `select` of it. Both regions of an `if` are
//! computed, and where one of them writes, the elements change where its condition holds: `where(c, new, old)`, read and
//! written in source order whatever shares bytes with whatever. A result of an `if` stands for one of several values, each
//! under a condition: a view of it is a view of each, a read selects among them at that moment, a write changes the
//! elements of each where its condition holds.
//!
//! What cannot be a list is told: loops whose number of trips is decided when the program runs, and ops that may fail in a
//! region that may not be taken.

use std::collections::BTreeMap;

use crate::alias::{AliasDb, analyze};
use crate::eval::evaluate_op;
use crate::ir::{BlockId, Constant, ConstantData, Def, Graph, Inst, InstId, Location, ValueId};
use crate::ops::{Op, PointFn};
use crate::types::DType;

/// The most instructions that a program may have when it is written out, each trip of a loop counted as one.
const MAX_INSTS: usize = 20_000;

/// The most values that one may stand for.
const MAX_ALTERNATIVES: usize = 16;

/// The program without regions, or why there is none, in words.
pub(super) fn straighten(graph: &Graph) -> Result<Graph, String> {
    let aliases = analyze(graph);
    let to = Graph::new(graph.name.clone());
    let mut straight =
        Straight { from: graph, aliases: &aliases, to, values: BTreeMap::new(), trips: 0, known: BTreeMap::new() };
    for (position, input) in graph.inputs.iter().enumerate() {
        let made = straight.to.add_input_of(graph, position);
        straight.values.insert(input.value, vec![(None, made)]);
    }
    for (at, value) in graph.values.iter().enumerate() {
        if let Def::Constant(constant) = value.def {
            let made = straight.to.add_constant(graph.constant(constant).clone());
            straight.values.insert(ValueId(at as u32), vec![(None, made)]);
        }
    }
    straight.block(Graph::BODY, None)?;
    let end = Location::default();
    let finals = graph.finals.iter().map(|&(input, value)| Ok((input, straight.read(value, &end)?)));
    straight.to.finals = finals.collect::<Result<_, String>>()?;
    for output in &graph.outputs {
        let value = straight.read(output.value, &end)?;
        straight.to.add_output(output.name.clone(), value);
    }
    Ok(straight.to)
}

/// A `bool` scalar under which something is so; `None`: it is.
type When = Option<ValueId>;

/// What a value stands for: one of these, the one whose condition holds.
type Alternatives = Vec<(When, ValueId)>;

struct Straight<'a> {
    from: &'a Graph,
    aliases: &'a AliasDb<'a>,
    to: Graph,
    /// What stands for each value of the source in this place of the walk.
    values: BTreeMap<ValueId, Alternatives>,
    /// Trips of loops so far: one costs something even where its body is empty.
    trips: usize,
    /// Values of one element that do not depend on the inputs: numbers of trips, and what is made of them.
    known: BTreeMap<ValueId, Constant>,
}

impl Straight<'_> {
    fn one(&mut self, op: Op, operands: &[ValueId], at: &Location) -> Result<ValueId, String> {
        let inst = self.append(op, operands, at)?;
        Ok(self.to.inst(inst).results[0])
    }

    fn append(&mut self, op: Op, operands: &[ValueId], at: &Location) -> Result<InstId, String> {
        self.is_bounded()?;
        self.to.append(Graph::BODY, op, operands, at.clone())
    }

    fn is_bounded(&self) -> Result<(), String> {
        match self.to.insts.len() + self.trips < MAX_INSTS {
            true => Ok(()),
            false => Err(format!("written out, its loops have more than {MAX_INSTS} instructions")),
        }
    }

    fn and(&mut self, a: When, b: When, at: &Location) -> Result<When, String> {
        match (a, b) {
            (None, other) | (other, None) => Ok(other),
            (Some(a), Some(b)) => self.one(Op::Point(PointFn::And), &[a, b], at).map(Some),
        }
    }

    /// The value, as it is now.
    fn read(&mut self, value: ValueId, at: &Location) -> Result<ValueId, String> {
        let alternatives = self.values[&value].clone();
        let mut chosen = alternatives[alternatives.len() - 1].1;
        for &(when, value) in alternatives.iter().rev().skip(1) {
            if let Some(when) = when {
                chosen = self.one(Op::Point(PointFn::Where), &[when, value, chosen], at)?;
            }
        }
        Ok(chosen)
    }

    fn block(&mut self, block: BlockId, when: When) -> Result<(), String> {
        let graph = self.from;
        graph.block(block).insts.iter().try_for_each(|&id| self.inst(graph.inst(id), when))
    }

    fn inst(&mut self, inst: &Inst, when: When) -> Result<(), String> {
        match inst.op {
            Op::If { .. } => return self.branch(inst, when),
            Op::Loop { carried } => return self.repeat(inst, carried, when),
            Op::Scan { trips, carried, sequences, .. } => return self.scan(inst, trips, carried, sequences, when),
            _ if !inst.regions.is_empty() => {
                return Err(format!("{} has a body, which only the optimised plan can run", place(inst)));
            }
            _ => {}
        }
        if when.is_some() && may_fail(&inst.op) {
            return Err(format!("{} may fail, in a region that may not be taken", place(inst)));
        }
        if inst.mutates {
            return self.write(inst, when);
        }
        let is_view = inst.results.iter().all(|&result| self.aliases.storage(result) != result);
        let alternatives = match inst.operands.first() {
            Some(operand) if is_view => self.values[operand].clone(),
            _ => Vec::new(),
        };
        if alternatives.len() > 1 {
            let mut results = vec![Alternatives::new(); inst.results.len()];
            for (when, operand) in alternatives {
                let made = self.append(inst.op.clone(), &[operand], &inst.location)?;
                for (result, &made) in results.iter_mut().zip(&self.to.inst(made).results) {
                    result.push((when, made));
                }
            }
            self.values.extend(inst.results.iter().copied().zip(results));
            return Ok(());
        }
        let operands = self.read_all(&inst.operands, &inst.location)?;
        let made = self.append(inst.op.clone(), &operands, &inst.location)?;
        for (&result, made) in inst.results.iter().zip(self.to.inst(made).results.clone()) {
            self.make(result, made);
        }
        self.learn(inst, &operands);
        Ok(())
    }

    fn read_all(&mut self, values: &[ValueId], at: &Location) -> Result<Vec<ValueId>, String> {
        values.iter().map(|&value| self.read(value, at)).collect()
    }

    /// Lets `made` stand for `value`, under its name unless that is taken: a loop makes many of each.
    fn make(&mut self, value: ValueId, made: ValueId) {
        if !self.values.contains_key(&value) {
            self.to.values[made.index()].name.clone_from(&self.from.value(value).name);
        }
        self.values.insert(value, vec![(None, made)]);
    }

    /// Notes the result of an op on numbers that are known, unless it is written.
    fn learn(&mut self, inst: &Inst, operands: &[ValueId]) {
        let known =
            |&value: &ValueId| self.known.get(&value).or(self.to.constant_of(value)).filter(|c| c.ty.len() == 1);
        let (Op::Point(_), [result]) = (&inst.op, inst.results.as_slice()) else { return };
        let Some(numbers) = operands.iter().map(known).collect::<Option<Vec<&Constant>>>() else { return };
        if self.aliases.is_written(*result) || self.from.ty(*result).len() != 1 {
            return;
        }
        let numbers: Vec<_> =
            numbers.into_iter().map(|c| crate::eval::Tensor::new(c.ty.clone(), c.bytes().to_vec())).collect();
        if let Ok(found) = evaluate_op(&inst.op, &numbers)
            && let [found] = found.as_slice()
        {
            let data = ConstantData::Bytes(found.bytes.to_vec().into());
            let constant = Constant { name: String::new(), ty: found.ty.clone(), data };
            self.known.insert(self.values[result][0].1, constant);
        }
    }

    /// The element of a value that does not depend on the inputs.
    fn number(&self, value: ValueId) -> Option<u64> {
        let [(_, made)] = self.values[&value].as_slice() else { return None };
        self.known.get(made).or(self.to.constant_of(*made)).and_then(Constant::splat)
    }

    /// A write of what the destination stands for, where `when` holds.
    fn write(&mut self, inst: &Inst, when: When) -> Result<(), String> {
        let at = &inst.location;
        let destinations = self.values[&inst.operands[0]].clone();
        let mut operands = self.read_all(&inst.operands, at)?;
        if let ([(None, _)], None) = (destinations.as_slice(), when) {
            let made = self.append(inst.op.clone(), &operands, at)?;
            self.to.insts[made.index()].mutates = true;
            let made = self.to.inst(made).results[0];
            self.make(inst.results[0], made);
            return Ok(());
        }
        let new = match inst.op {
            Op::Copy {} => operands.swap_remove(1),
            ref op => self.one(op.clone(), &operands, at)?,
        };
        let mut results = Alternatives::new();
        for (own, destination) in destinations {
            let value = match self.and(when, own, at)? {
                Some(when) => self.one(Op::Point(PointFn::Where), &[when, new, destination], at)?,
                None => new,
            };
            let made = self.append(Op::Copy {}, &[destination, value], at)?;
            self.to.insts[made.index()].mutates = true;
            results.push((own, self.to.inst(made).results[0]));
        }
        self.values.insert(inst.results[0], results);
        Ok(())
    }

    fn branch(&mut self, inst: &Inst, when: When) -> Result<(), String> {
        let graph = self.from;
        let at = &inst.location;
        // The condition in bytes of its own: a region may write those it was read from.
        let cond = self.read(inst.operands[0], at)?;
        let not = self.one(Op::Point(PointFn::Not), &[cond], at)?;
        let cond = self.one(Op::Point(PointFn::Not), &[not], at)?;
        let mut results = vec![Alternatives::new(); inst.results.len()];
        for (&region, own) in inst.regions.iter().zip([cond, not]) {
            self.pass(&graph.block(region).params, &inst.operands[1..]);
            let inside = self.and(when, Some(own), at)?;
            self.block(region, inside)?;
            for (result, yielded) in results.iter_mut().zip(&graph.block(region).yields) {
                for (when, value) in self.values[yielded].clone() {
                    let when = self.and(Some(own), when, at)?;
                    result.push((when, value));
                }
            }
        }
        for (&result, alternatives) in inst.results.iter().zip(results) {
            let alternatives = self.merged(alternatives, at)?;
            if alternatives.len() > MAX_ALTERNATIVES {
                let name = graph.display(result);
                return Err(format!("{name} ({at}) may stand for more than {MAX_ALTERNATIVES} values"));
            }
            self.values.insert(result, alternatives);
        }
        Ok(())
    }

    /// Alternatives of which no two are one value.
    fn merged(&mut self, alternatives: Alternatives, at: &Location) -> Result<Alternatives, String> {
        let mut merged = Alternatives::new();
        for (when, value) in alternatives {
            match merged.iter().position(|known| known.1 == value) {
                None => merged.push((when, value)),
                Some(place) => {
                    merged[place].0 = match (merged[place].0, when) {
                        (Some(a), Some(b)) => Some(self.one(Op::Point(PointFn::Or), &[a, b], at)?),
                        _ => None,
                    };
                }
            }
        }
        if let [only] = merged.as_mut_slice() {
            only.0 = None;
        }
        Ok(merged)
    }

    fn repeat(&mut self, inst: &Inst, carried: usize, when: When) -> Result<(), String> {
        let body = self.from.block(inst.regions[0]);
        let unknown = || format!("{} decides its number of trips when it runs", place(inst));
        let trips = self.number(inst.operands[0]).ok_or_else(unknown)? as i64;
        let mut goes_on = self.number(inst.operands[1]).ok_or_else(unknown)? == 1;
        let (inits, args) = inst.operands[2..].split_at(carried);
        let mut carries = self.handles(inits);
        let mut trip = 0;
        while goes_on && trip < trips {
            self.bind(body.params[0], trip)?;
            self.pass(&body.params[1 + carried..], args);
            self.values.extend(body.params[1..=carried].iter().copied().zip(carries));
            self.block(inst.regions[0], when)?;
            carries = self.handles(&body.yields[1..]);
            trip += 1;
            if trip < trips {
                goes_on = self.number(body.yields[0]).ok_or_else(unknown)? == 1;
            }
        }
        self.values.extend(inst.results.iter().copied().zip(carries));
        Ok(())
    }

    fn handles(&self, values: &[ValueId]) -> Vec<Alternatives> {
        values.iter().map(|value| self.values[value].clone()).collect()
    }

    fn scan(&mut self, inst: &Inst, trips: usize, carried: usize, sequences: usize, when: When) -> Result<(), String> {
        let graph = self.from;
        let at = &inst.location;
        let body = graph.block(inst.regions[0]);
        let (inits, rest) = inst.operands.split_at(carried);
        let (runs, args) = rest.split_at(sequences);
        let (runs, mut carries) = (self.handles(runs), self.handles(inits));
        let mut stacks: Vec<Vec<ValueId>> = vec![Vec::new(); body.yields.len() - carried];
        for trip in 0..trips {
            self.bind(body.params[0], trip as i64)?;
            self.values.extend(body.params[1..=carried].iter().copied().zip(carries));
            for (&param, run) in body.params[1 + carried..].iter().zip(&runs) {
                let mut slice = run.clone();
                for (_, value) in &mut slice {
                    *value = self.one(Op::Select { axis: 0, index: trip }, &[*value], at)?;
                }
                self.values.insert(param, slice);
            }
            self.pass(&body.params[1 + carried + sequences..], args);
            self.block(inst.regions[0], when)?;
            carries = self.handles(&body.yields[..carried]);
            for (stack, &element) in stacks.iter_mut().zip(&body.yields[carried..]) {
                let element = self.read(element, at)?;
                // In bytes of its own at once: a later trip may write those it lies in.
                let copy = self.one(Op::Contiguous {}, &[element], at)?;
                stack.push(self.one(Op::Unsqueeze { axes: vec![0] }, &[copy], at)?);
            }
        }
        self.values.extend(inst.results.iter().copied().zip(carries));
        for (stack, &result) in stacks.into_iter().zip(&inst.results[carried..]) {
            let made = match stack.is_empty() {
                true => {
                    let (ty, data) = (graph.ty(result).clone(), ConstantData::Splat(0));
                    let nothing = self.to.add_constant(Constant { name: String::new(), ty, data });
                    self.one(Op::Contiguous {}, &[nothing], at)?
                }
                false => self.one(Op::Concat { axis: 0 }, &stack, at)?,
            };
            self.make(result, made);
        }
        Ok(())
    }

    /// Begins a trip: its number.
    fn bind(&mut self, param: ValueId, trip: i64) -> Result<(), String> {
        self.is_bounded()?;
        self.trips += 1;
        let number = self.to.add_constant(Constant::scalar(DType::I64, trip as u64));
        self.values.insert(param, vec![(None, number)]);
        Ok(())
    }

    fn pass(&mut self, params: &[ValueId], args: &[ValueId]) {
        let args = self.handles(args);
        self.values.extend(params.iter().copied().zip(args));
    }
}

/// An instruction and where it stands.
fn place(inst: &Inst) -> String {
    format!("{} ({})", inst.op.name(), inst.location)
}

/// Whether an op may find an index that is out of range.
fn may_fail(op: &Op) -> bool {
    matches!(
        op,
        Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::GatherNd { .. }
            | Op::ScatterElements { .. }
            | Op::ScatterNd { .. }
            | Op::DynamicSlice { .. }
            | Op::DynamicUpdate { .. }
    )
}
