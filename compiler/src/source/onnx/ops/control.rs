//! `If`, `Loop` and `Scan`, onto the ops with regions.
//!
//! A constant condition chooses its branch. A loop becomes a `loop`, or a `scan` if it collects rows and its number of
//! trips is known. Where that cannot be, because shapes differ from trip to trip or a body needs to know something when
//! compiling, a known number of trips is written out ([`unroll`]).

use super::super::import::Attempt;
use super::super::model::Graph;
use super::super::site::{Outputs, Site, Stop, Words, axis_of, invalid, unsupported};
use super::unroll::{self, MAX_TRIPS};
use super::{Row, row_of};
use crate::ir::{BlockId, ValueId};
use crate::ops::Op;
use crate::ops::control::{index_type, without_first_axis};
use crate::types::{DType, TensorType};

pub const ROWS: &[Row] =
    &[row_of("If", 1, branch), row_of("Loop", 1, repeat), row_of("Scan", 8, scan_batched), row_of("Scan", 9, scan)];

/// A loop that begins with constants is written out first if it has no more trips, since all of it may then be known.
const MAX_FOLDED: i64 = 64;

/// The truth of a condition, if it is known.
pub fn known_truth(s: &Site, condition: ValueId) -> Option<bool> {
    s.known(condition).and_then(|condition| condition.ints().first().map(|&truth| truth != 0))
}

/// Imports into a block of its own what `fill` makes of parameters of the given types: the block and what it gives.
fn region<'s, 'a>(
    s: &mut Site<'s, 'a>,
    params: &[TensorType],
    fill: impl FnOnce(&mut Site<'s, 'a>, &[ValueId]) -> Outputs,
) -> Result<(BlockId, Vec<ValueId>), Stop> {
    let graph = &mut s.importer.graph;
    let block = graph.add_block();
    let params: Vec<ValueId> = params.iter().map(|ty| graph.add_param(block, ty.clone(), "")).collect();
    let outer = std::mem::replace(&mut s.importer.block, block);
    let yields = fill(s, &params);
    s.importer.block = outer;
    let yields = yields?;
    s.importer.graph.blocks[block.index()].yields.clone_from(&yields);
    Ok((block, yields))
}

/// Appends an op with its regions.
fn control(s: &mut Site, op: Op, operands: &[ValueId], regions: Vec<BlockId>) -> Outputs {
    let types: Vec<TensorType> = operands.iter().map(|&operand| s.ty(operand)).collect();
    let results = op.infer(&types)?;
    let (block, location) = (s.importer.block, s.location.clone());
    let graph = &mut s.importer.graph;
    let made = graph.append_typed(block, op, operands, results, location);
    graph.insts[made.index()].regions = regions;
    Ok(graph.inst(made).results.clone())
}

fn declared(s: &Site, values: &[ValueId]) -> (Vec<DType>, Vec<Vec<usize>>) {
    values.iter().map(|&value| (s.dtype(value), s.shape(value))).unzip()
}

fn branch(s: &mut Site) -> Outputs {
    let condition = s.input(0)?;
    let (then, otherwise) = (s.body("then_branch")?, s.body("else_branch")?);
    if let Some(truth) = known_truth(s, condition) {
        return s.importer.body(if truth { then } else { otherwise }, &[]);
    }
    let condition = s.reshape(condition, &[])?;
    let (first, a) = region(s, &[], |s, _| s.importer.body(then, &[]))?;
    let (second, b) = region(s, &[], |s, _| s.importer.body(otherwise, &[]))?;
    if a.len() != b.len() {
        return invalid(format!("branches that give {} and {} outputs", a.len(), b.len()));
    }
    if let Some((&a, &b)) = a.iter().zip(&b).find(|&(&a, &b)| s.ty(a) != s.ty(b)) {
        let (a, b) = (s.ty(a), s.ty(b));
        return unsupported(format!("branches that give {a} and {b} under a condition that is not a constant"));
    }
    let (results, shapes) = declared(s, &a);
    control(s, Op::If { results, shapes }, &[condition], vec![first, second])
}

/// What has been tried, or the other way of doing it. What the first way left behind is taken back.
fn or_else<'s, 'a>(
    s: &mut Site<'s, 'a>,
    tried: Outputs,
    before: &Attempt,
    other: impl FnOnce(&mut Site<'s, 'a>) -> Outputs,
) -> Outputs {
    tried.or_else(|_| {
        s.importer.take_back(before);
        other(s)
    })
}

fn repeat(s: &mut Site) -> Outputs {
    let graph = s.body("body")?;
    let trips = match s.optional(0) {
        None => Some(i64::MAX),
        Some(trips) => s.known(trips).and_then(|trips| trips.ints().first().copied()),
    };
    let condition = match s.optional(1) {
        Some(condition) => s.reshape(condition, &[])?,
        None => s.number(DType::Bool, 1.0),
    };
    let initial: Vec<ValueId> = (2..s.inputs.len()).map(|at| s.input(at)).collect::<Result<_, _>>()?;
    let count = trips.filter(|&trips| trips <= MAX_TRIPS);
    let begins = known_truth(s, condition);
    let known =
        |s: &Site, values: &[ValueId]| values.iter().all(|&value| s.importer.graph.constant_of(value).is_some());
    let before = s.importer.attempt();
    // A loop of at most one trip, or one that computes constants.
    if count.is_some_and(|trips| trips <= 1) || begins == Some(false) {
        return unroll::repeat(s, graph, trips, condition, &initial);
    }
    if trips.is_some_and(|trips| trips <= MAX_FOLDED) && !initial.is_empty() && known(s, &initial) {
        match unroll::repeat(s, graph, trips, condition, &initial) {
            Ok(results) if known(s, &results) => return Ok(results),
            _ => s.importer.take_back(&before),
        }
    }
    let collects = graph.outputs.len().saturating_sub(1 + initial.len()) > 0;
    let tried = match collects {
        false => carry(s, graph, condition, &initial),
        // A stack has as many rows as there are trips, which its type has to say.
        true => s.known_int(0, "trip count").and_then(|trips| {
            s.known_input(1, "condition")?;
            match trips {
                Some(trips) if begins != Some(false) => collect(s, graph, trips, &initial),
                _ => unsupported("a loop that collects rows for as long as its condition holds"),
            }
        }),
    };
    match (count, s.optional(0)) {
        (Some(_), _) => or_else(s, tried, &before, |s| unroll::repeat(s, graph, trips, condition, &initial)),
        (None, Some(count)) if tried.is_err() && trips.is_none() => {
            // With a known number of trips it could be written out.
            s.importer.unknown(count);
            tried
        }
        _ => tried,
    }
}

/// A loop that only carries values.
fn carry<'a>(s: &mut Site<'_, 'a>, graph: &'a Graph<'a>, condition: ValueId, initial: &[ValueId]) -> Outputs {
    let trips = match s.optional(0) {
        Some(trips) => {
            let trips = s.cast(trips, DType::I64)?;
            s.reshape(trips, &[])?
        }
        None => s.int_constant(&[], &[i64::MAX])?,
    };
    let types = carried_types(s, initial);
    let (block, _) = region(s, &types, |s, params| {
        let yes = s.number(DType::Bool, 1.0);
        let mut results = s.importer.body(graph, &[&[params[0], yes], &params[1..]].concat())?;
        let next = same_types(s, &results, 1, initial)?;
        results[0] = s.reshape(next, &[])?;
        Ok(results)
    })?;
    control(s, Op::Loop { carried: initial.len() }, &[&[trips, condition], initial].concat(), vec![block])
}

/// A loop that collects rows, of so many trips whatever its condition says at first.
fn collect<'a>(s: &mut Site<'_, 'a>, graph: &'a Graph<'a>, trips: i64, initial: &[ValueId]) -> Outputs {
    let types = carried_types(s, initial);
    let (block, yields) = region(s, &types, |s, params| {
        let yes = s.number(DType::Bool, 1.0);
        let mut results = s.importer.body(graph, &[&[params[0], yes], &params[1..]].concat())?;
        let next = same_types(s, &results, 1, initial)?;
        if known_truth(s, next) != Some(true) {
            return unsupported("a loop that collects rows under a condition that is not a constant");
        }
        results.remove(0);
        Ok(results)
    })?;
    stacked(s, usize::try_from(trips).unwrap_or(0), initial, &[], block, &yields)
}

fn stacked(
    s: &mut Site,
    trips: usize,
    initial: &[ValueId],
    sequences: &[ValueId],
    block: BlockId,
    yields: &[ValueId],
) -> Outputs {
    let (results, shapes) = declared(s, &yields[initial.len()..]);
    let op = Op::Scan { trips, carried: initial.len(), sequences: sequences.len(), results, shapes };
    control(s, op, &[initial, sequences].concat(), vec![block])
}

fn carried_types(s: &Site, initial: &[ValueId]) -> Vec<TensorType> {
    std::iter::once(index_type()).chain(initial.iter().map(|&value| s.ty(value))).collect()
}

/// Whether what a body gives after the first `skipped` values has the types of what it was given; the first value.
fn same_types(s: &Site, given: &[ValueId], skipped: usize, initial: &[ValueId]) -> Result<ValueId, Stop> {
    let (Some(&first), Some(carried)) = (given.first(), given.get(skipped..)) else {
        return invalid("the body of a loop gives nothing");
    };
    if carried.len() < initial.len() {
        return invalid("the body of a loop gives a condition and every carried value");
    }
    match carried.iter().zip(initial).find(|&(&new, &old)| s.ty(new) != s.ty(old)) {
        Some((&new, &old)) => unsupported(format!("a loop that carries {} and then {}", s.ty(old), s.ty(new))),
        None => Ok(first),
    }
}

/// `x` with `axis` in front, backwards if asked.
fn forward(s: &mut Site, x: ValueId, axis: usize, backwards: bool) -> Result<ValueId, Stop> {
    let mut order: Vec<usize> = (0..s.rank(x)).collect();
    order.remove(axis);
    order.insert(0, axis);
    let x = s.permute(x, &order)?;
    reversed(s, x, backwards)
}

/// The inverse of [`forward`].
fn backward(s: &mut Site, x: ValueId, axis: usize, backwards: bool) -> Result<ValueId, Stop> {
    let x = reversed(s, x, backwards)?;
    let mut order: Vec<usize> = (1..s.rank(x)).collect();
    order.insert(axis, 0);
    s.permute(x, &order)
}

fn reversed(s: &mut Site, x: ValueId, backwards: bool) -> Result<ValueId, Stop> {
    let extent = s.shape(x)[0] as i64;
    match backwards && extent > 1 {
        true => s.one(Op::Slice { axis: 0, start: extent - 1, end: -1, step: -1 }, &[x]),
        false => Ok(x),
    }
}

fn scan(s: &mut Site) -> Outputs {
    let operands = s.all_inputs()?;
    let sequences = sequence_count(s, operands.len())?;
    let (initial, sequences) = operands.split_at(operands.len() - sequences);
    let list = |name: &str, len: usize| -> Result<Vec<i64>, Stop> {
        let list = s.ints(name)?.unwrap_or_else(|| vec![0; len]);
        if list.len() == len { Ok(list) } else { invalid(format!("{name} should have {len} entries")) }
    };
    let axes = list("scan_input_axes", sequences.len())?;
    let backwards = list("scan_input_directions", sequences.len())?;
    let graph = s.body("body")?;
    let collected = graph.outputs.len().saturating_sub(initial.len());
    let output_axes = list("scan_output_axes", collected)?;
    let output_backwards = list("scan_output_directions", collected)?;
    let mut run = Vec::with_capacity(sequences.len());
    for (at, &sequence) in sequences.iter().enumerate() {
        let axis = axis_of(axes[at], s.rank(sequence))?;
        run.push(forward(s, sequence, axis, backwards[at] != 0)?);
    }
    let mut outputs = steps(s, graph, initial, &run)?;
    for output in 0..collected {
        let stack = outputs[initial.len() + output];
        let axis = axis_of(output_axes[output], s.rank(stack))?;
        outputs[initial.len() + output] = backward(s, stack, axis, output_backwards[output] != 0)?;
    }
    Ok(outputs)
}

fn sequence_count(s: &Site, operands: usize) -> Result<usize, Stop> {
    match usize::try_from(s.int("num_scan_inputs", 0)?) {
        Ok(sequences) if (1..=operands).contains(&sequences) => Ok(sequences),
        _ => invalid("num_scan_inputs does not fit the operands"),
    }
}

/// A scan over axis 0 of its sequences: the final states, then the stacks.
fn steps<'a>(s: &mut Site<'_, 'a>, graph: &'a Graph<'a>, initial: &[ValueId], sequences: &[ValueId]) -> Outputs {
    let extents: Vec<Option<usize>> = sequences.iter().map(|&sequence| s.shape(sequence).first().copied()).collect();
    let Some(&Some(trips)) = extents.first() else { return invalid("a scan runs over an axis of its sequences") };
    if extents.iter().any(|&other| other != Some(trips)) {
        return invalid("the sequences of a scan differ in length");
    }
    let before = s.importer.attempt();
    let tried = once(s, graph, trips, initial, sequences);
    or_else(s, tried, &before, |s| unroll::scan(s, graph, initial, sequences, trips))
}

fn once<'a>(
    s: &mut Site<'_, 'a>,
    graph: &'a Graph<'a>,
    trips: usize,
    initial: &[ValueId],
    sequences: &[ValueId],
) -> Outputs {
    let mut types = carried_types(s, initial);
    types.extend(sequences.iter().map(|&sequence| without_first_axis(&s.ty(sequence))));
    let (block, yields) = region(s, &types, |s, params| {
        let results = s.importer.body(graph, &params[1..])?;
        same_types(s, &results, 0, initial)?;
        Ok(results)
    })?;
    stacked(s, trips, initial, sequences, block, &yields)
}

/// The form of opset 8: every operand has a batch axis in front. It is a scan over the batch whose body is the scan.
fn scan_batched(s: &mut Site) -> Outputs {
    if s.optional(0).is_some() {
        return unsupported("sequence lengths of a scan");
    }
    let operands: Vec<ValueId> = (1..s.inputs.len()).map(|at| s.input(at)).collect::<Result<_, _>>()?;
    let count = sequence_count(s, operands.len())?;
    let graph = s.body("body")?;
    let backwards = s.ints("directions")?.unwrap_or_else(|| vec![0; count]);
    let batches: Vec<Option<usize>> = operands.iter().map(|&operand| s.shape(operand).first().copied()).collect();
    let Some(&Some(batch)) = batches.first() else { return invalid("a scan of opset 8 has a batch axis") };
    if batches.iter().any(|&other| other != Some(batch)) || backwards.len() != count {
        return invalid("the operands of a scan differ in their batch");
    }
    if operands[operands.len() - count..].iter().any(|&sequence| s.rank(sequence) < 2) {
        return invalid("the sequences of a scan have a batch axis and a sequence axis");
    }
    let types: Vec<TensorType> =
        std::iter::once(index_type()).chain(operands.iter().map(|&x| without_first_axis(&s.ty(x)))).collect();
    let (block, yields) = region(s, &types, |s, params| {
        let (initial, sequences) = params[1..].split_at(operands.len() - count);
        let mut run = Vec::with_capacity(count);
        for (&sequence, &backwards) in sequences.iter().zip(&backwards) {
            run.push(reversed(s, sequence, backwards != 0)?);
        }
        steps(s, graph, initial, &run)
    })?;
    stacked(s, batch, &[], &operands, block, &yields)
}
