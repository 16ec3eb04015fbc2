//! `If`, `Loop` and `Scan`. A plan has no branches and no loops, so what they do must be known when compiling: a constant
//! condition chooses its branch, a constant number of trips is written out. A condition known only at run time is
//! computed both ways and selected, which is the same because nothing here has effects.

use super::super::model::Graph;
use super::super::site::{Outputs, Site, Stop, axis_of, invalid, unsupported};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn};
use crate::types::DType;

pub const ROWS: &[Row] =
    &[row_of("If", 1, branch), row_of("Loop", 1, repeat), row_of("Scan", 8, scan_batched), row_of("Scan", 9, scan)];

/// The most trips that are written out.
const MAX_TRIPS: i64 = 4096;

/// Runs a body as part of the current node.
fn body<'a>(s: &mut Site<'_, 'a>, graph: &'a Graph<'a>, arguments: &[ValueId]) -> Outputs {
    s.importer.body(graph, arguments)
}

/// The truth of a condition, if it is known.
fn known_truth(s: &Site, condition: ValueId) -> Option<bool> {
    s.known(condition).and_then(|condition| condition.ints().first().map(|&truth| truth != 0))
}

fn branch(s: &mut Site) -> Outputs {
    let condition = s.input(0)?;
    let (then, otherwise) = (s.body("then_branch")?, s.body("else_branch")?);
    if let Some(truth) = known_truth(s, condition) {
        return body(s, if truth { then } else { otherwise }, &[]);
    }
    let (a, b) = (body(s, then, &[])?, body(s, otherwise, &[])?);
    let condition = s.reshape(condition, &[])?;
    let mut outputs = Vec::with_capacity(a.len());
    for (&a, &b) in a.iter().zip(&b) {
        if s.ty(a) != s.ty(b) {
            return unsupported(format!(
                "branches that give {} and {} under a condition that is not a constant",
                s.ty(a),
                s.ty(b)
            ));
        }
        outputs.push(s.select(condition, a, b)?);
    }
    Ok(outputs)
}

fn repeat(s: &mut Site) -> Outputs {
    let graph = s.body("body")?;
    let trips = s.known_int(0, "trip count")?;
    let mut condition = match s.optional(1) {
        Some(condition) => s.reshape(condition, &[])?,
        None => s.number(DType::Bool, 1.0),
    };
    let initial: Vec<ValueId> = (2..s.inputs.len()).map(|at| s.input(at)).collect::<Result<_, _>>()?;
    let mut carried = initial.clone();
    let mut rows: Vec<Vec<ValueId>> = Vec::new();
    let mut trip = 0i64;
    while trips.is_none_or(|trips| trip < trips) {
        let truth = known_truth(s, condition);
        if truth == Some(false) {
            break;
        }
        if trip == MAX_TRIPS || (truth.is_none() && trips.is_none()) {
            return unsupported("a loop whose number of trips is not known when compiling, or is above 4096");
        }
        let number = s.int_constant(&[], &[trip])?;
        let mut arguments = vec![number, condition];
        arguments.extend(&carried);
        let results = body(s, graph, &arguments)?;
        let Some((&next, values)) = results.split_first().filter(|(_, values)| values.len() >= carried.len()) else {
            return invalid("the body of a loop gives a condition and every carried value");
        };
        let (new, row) = values.split_at(carried.len());
        if truth.is_none() {
            // Trips after the condition has become false change nothing.
            if !row.is_empty() {
                return unsupported("a loop that collects rows under a condition that is not a constant");
            }
            for (old, &new) in carried.iter_mut().zip(new) {
                if s.ty(*old) != s.ty(new) {
                    return unsupported("a loop that changes a shape under a condition that is not a constant");
                }
                *old = s.select(condition, new, *old)?;
            }
            let next = s.reshape(next, &[])?;
            condition = s.binary(PointFn::And, condition, next)?;
        } else {
            carried = new.to_vec();
            condition = s.reshape(next, &[])?;
        }
        rows.push(row.to_vec());
        trip += 1;
    }
    let collected = graph.outputs.len().saturating_sub(1 + carried.len());
    if rows.is_empty() && collected > 0 {
        // No trip: the body says what the rows would have been.
        let number = s.int_constant(&[], &[0])?;
        let mut arguments = vec![number, condition];
        arguments.extend(&initial);
        let results = body(s, graph, &arguments)?;
        for &row in results.iter().skip(1 + carried.len()) {
            let ty = s.ty(row);
            let shape = [&[0], ty.shape.as_slice()].concat();
            carried.push(s.filled(ty.dtype, &shape, 0.0)?);
        }
        return Ok(carried);
    }
    for output in 0..collected {
        let parts: Option<Vec<ValueId>> = rows.iter().map(|row| row.get(output).copied()).collect();
        let Some(parts) = parts else { return invalid("the body of a loop gives the same outputs at every trip") };
        carried.push(stack(s, &parts, 0)?);
    }
    Ok(carried)
}

/// Values of one type along a new axis.
fn stack(s: &mut Site, parts: &[ValueId], axis: usize) -> Result<ValueId, Stop> {
    let mut rows = Vec::with_capacity(parts.len());
    for &part in parts {
        rows.push(s.unsqueeze(part, &[axis])?);
    }
    s.concat(&rows, axis)
}

fn scan(s: &mut Site) -> Outputs {
    let operands = s.all_inputs()?;
    let sequences = match usize::try_from(s.int("num_scan_inputs", 0)?) {
        Ok(sequences) if (1..=operands.len()).contains(&sequences) => sequences,
        _ => return invalid("num_scan_inputs does not fit the operands"),
    };
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
    let (states, rows) = scan_steps(s, graph, initial, sequences, &axes, &backwards)?;
    let mut outputs = states;
    for output in 0..collected {
        let mut parts: Vec<ValueId> = rows.iter().filter_map(|row| row.get(output).copied()).collect();
        let Some(&first) = parts.first() else { return unsupported("a scan of no steps") };
        if output_backwards[output] != 0 {
            parts.reverse();
        }
        let axis = axis_of(output_axes[output], s.rank(first) + 1)?;
        outputs.push(stack(s, &parts, axis)?);
    }
    Ok(outputs)
}

/// The final states of a scan and what it gave at every step.
fn scan_steps<'a>(
    s: &mut Site<'_, 'a>,
    graph: &'a Graph<'a>,
    initial: &[ValueId],
    sequences: &[ValueId],
    axes: &[i64],
    backwards: &[i64],
) -> Result<(Vec<ValueId>, Vec<Vec<ValueId>>), Stop> {
    let mut places = Vec::with_capacity(sequences.len());
    for (&sequence, &axis) in sequences.iter().zip(axes) {
        let axis = axis_of(axis, s.rank(sequence))?;
        places.push((axis, s.shape(sequence)[axis]));
    }
    let steps = places.first().map_or(0, |&(_, steps)| steps);
    if places.iter().any(|&(_, other)| other != steps) {
        return invalid("the sequences of a scan differ in length");
    }
    if steps as i64 > MAX_TRIPS {
        return unsupported(format!("a scan of {steps} steps"));
    }
    let mut states = initial.to_vec();
    let mut rows = Vec::with_capacity(steps);
    for step in 0..steps {
        let mut arguments = states.clone();
        for (at, &sequence) in sequences.iter().enumerate() {
            let (axis, _) = places[at];
            let index = if backwards[at] != 0 { steps - 1 - step } else { step };
            arguments.push(s.one(Op::Select { axis, index }, &[sequence])?);
        }
        let results = body(s, graph, &arguments)?;
        if results.len() < states.len() {
            return invalid("the body of a scan gives every state");
        }
        let (new, row) = results.split_at(states.len());
        states = new.to_vec();
        rows.push(row.to_vec());
    }
    Ok((states, rows))
}

/// The form of opset 8: every operand has a batch axis in front, and each element of the batch is scanned by itself.
fn scan_batched(s: &mut Site) -> Outputs {
    if s.optional(0).is_some() {
        return unsupported("sequence lengths of a scan");
    }
    let operands: Vec<ValueId> = (1..s.inputs.len()).map(|at| s.input(at)).collect::<Result<_, _>>()?;
    let sequences = match usize::try_from(s.int("num_scan_inputs", 0)?) {
        Ok(sequences) if (1..=operands.len()).contains(&sequences) => sequences,
        _ => return invalid("num_scan_inputs does not fit the operands"),
    };
    let graph = s.body("body")?;
    let backwards = s.ints("directions")?.unwrap_or_else(|| vec![0; sequences]);
    let batch = operands.iter().map(|&operand| s.shape(operand).first().copied().unwrap_or(0)).min().unwrap_or(0);
    if batch == 0 || batch as i64 > MAX_TRIPS || backwards.len() != sequences {
        return unsupported(format!("a scan over a batch of {batch}"));
    }
    let mut outputs: Vec<Vec<ValueId>> = Vec::new();
    for element in 0..batch {
        let mut own = Vec::with_capacity(operands.len());
        for &operand in &operands {
            own.push(s.one(Op::Select { axis: 0, index: element }, &[operand])?);
        }
        let (initial, rest) = own.split_at(own.len() - sequences);
        let (mut results, rows) = scan_steps(s, graph, initial, rest, &vec![0; sequences], &backwards)?;
        for output in 0..graph.outputs.len().saturating_sub(initial.len()) {
            let parts: Vec<ValueId> = rows.iter().filter_map(|row| row.get(output).copied()).collect();
            if parts.is_empty() {
                return unsupported("a scan of no steps");
            }
            results.push(stack(s, &parts, 0)?);
        }
        outputs.push(results);
    }
    let mut stacked = Vec::new();
    for output in 0..outputs[0].len() {
        let parts: Vec<ValueId> = outputs.iter().map(|results| results[output]).collect();
        stacked.push(stack(s, &parts, 0)?);
    }
    Ok(stacked)
}
