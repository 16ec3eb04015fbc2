//! Loops written out trip by trip: for bodies whose shapes differ from trip to trip, or in which something must be known
//! when compiling that depends on the trip.

use super::super::model::Graph;
use super::super::site::{Outputs, Site, Stop, Words, invalid, unsupported};
use super::control::known_truth;
use crate::ir::ValueId;
use crate::ops::{Op, PointFn};

/// The most trips that are written out.
pub const MAX_TRIPS: i64 = 4096;

/// A `Loop` of so many trips (`None`: as many as the condition allows) that begins with `condition`.
pub fn repeat<'a>(
    s: &mut Site<'_, 'a>,
    graph: &'a Graph<'a>,
    trips: Option<i64>,
    mut condition: ValueId,
    initial: &[ValueId],
) -> Outputs {
    let mut carried = initial.to_vec();
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
        let results = s.importer.body(graph, &arguments)?;
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
        arguments.extend(initial);
        let results = s.importer.body(graph, &arguments)?;
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
pub fn stack(s: &mut Site, parts: &[ValueId], axis: usize) -> Result<ValueId, Stop> {
    let mut rows = Vec::with_capacity(parts.len());
    for &part in parts {
        rows.push(s.unsqueeze(part, &[axis])?);
    }
    s.concat(&rows, axis)
}

/// A `Scan` over axis 0 of its sequences: the final states, then what each step gave, stacked.
pub fn scan<'a>(
    s: &mut Site<'_, 'a>,
    graph: &'a Graph<'a>,
    initial: &[ValueId],
    sequences: &[ValueId],
    steps: usize,
) -> Outputs {
    if steps as i64 > MAX_TRIPS {
        return unsupported(format!("a scan of {steps} steps whose shapes differ from step to step"));
    }
    let mut states = initial.to_vec();
    let mut rows: Vec<Vec<ValueId>> = Vec::with_capacity(steps);
    for step in 0..steps {
        let mut arguments = states.clone();
        for &sequence in sequences {
            arguments.push(s.one(Op::Select { axis: 0, index: step }, &[sequence])?);
        }
        let results = s.importer.body(graph, &arguments)?;
        if results.len() < states.len() {
            return invalid("the body of a scan gives every state");
        }
        let (new, row) = results.split_at(states.len());
        states = new.to_vec();
        rows.push(row.to_vec());
    }
    for output in 0..graph.outputs.len().saturating_sub(initial.len()) {
        let parts: Vec<ValueId> = rows.iter().filter_map(|row| row.get(output).copied()).collect();
        if parts.is_empty() {
            return unsupported("a scan of no steps");
        }
        states.push(stack(s, &parts, 0)?);
    }
    Ok(states)
}
