//! Placement through regions.
//!
//! Everything is handed on by reference. A parameter that stands for one operand has the operand's placement. Where
//! several values may meet (the result of an `if`, what a loop carries, an element of a sequence) the value is a *join*:
//! it stands for one of its sources, has the layouts of all of them, and is the root of the views taken of it.

use super::{MAX_LAYOUTS, Placement, Placements, place_block};
use crate::ir::{Constant, Graph, InstId, ValueId};
use crate::ops::Op;
use crate::types::Layout;

/// Places the parameters, the insides and the results of an op's regions.
pub fn place_regions(graph: &Graph, id: InstId, placed: &mut Placements) {
    let inst = graph.inst(id);
    let params = |at: usize| graph.block(inst.regions[at]).params.as_slice();
    match &inst.op {
        Op::If { .. } => {
            for (at, &region) in inst.regions.iter().enumerate() {
                alias(params(at), &inst.operands[1..], placed);
                place_block(graph, region, placed);
            }
            for (place, &result) in inst.results.iter().enumerate() {
                let yields: Vec<ValueId> = inst.regions.iter().map(|&at| graph.block(at).yields[place]).collect();
                join(graph, id, result, &yields, placed);
            }
        }
        Op::Loop { carried } => {
            let (inits, args) = inst.operands[2..].split_at(*carried);
            let (carries, rest) = params(0)[1..].split_at(*carried);
            alias(rest, args, placed);
            let yields = graph.block(inst.regions[0]).yields[1..].to_vec();
            fixpoint(graph, id, carries, inits, &yields, placed);
            finals(graph, id, inits, &yields, placed);
        }
        Op::Scan { carried, sequences, .. } => {
            let (inits, rest) = inst.operands.split_at(*carried);
            let (sequences, args) = rest.split_at(*sequences);
            let (carries, rest) = params(0)[1..].split_at(*carried);
            let (slices, rest) = rest.split_at(sequences.len());
            alias(rest, args, placed);
            for (&slice, &sequence) in slices.iter().zip(sequences) {
                placed.joined.insert(slice, vec![sequence]);
                let element = |layout: &Layout| Layout {
                    offset: 0,
                    shape: layout.shape[1..].to_vec(),
                    strides: layout.strides[1..].to_vec(),
                };
                let layouts = placed.layouts(sequence).map(element).collect();
                placed.set_layouts(slice, slice, layouts);
            }
            let yields = graph.block(inst.regions[0]).yields[..*carried].to_vec();
            fixpoint(graph, id, carries, inits, &yields, placed);
            finals(graph, id, inits, &yields, placed);
        }
        _ => {}
    }
}

/// Places the last carries: what the last trip yielded, or the initial values if there may be none.
fn finals(graph: &Graph, id: InstId, inits: &[ValueId], yields: &[ValueId], placed: &mut Placements) {
    let runs = runs_at_all(graph, id);
    for ((&result, &init), &yielded) in graph.inst(id).results.iter().zip(inits).zip(yields) {
        let sources = [yielded, init];
        join(graph, id, result, if runs { &sources[..1] } else { &sources }, placed);
    }
}

/// Whether a loop is known to have a trip.
fn runs_at_all(graph: &Graph, id: InstId) -> bool {
    let inst = graph.inst(id);
    let known = |operand: ValueId| graph.constant_of(operand).and_then(Constant::splat);
    match inst.op {
        Op::Scan { trips, .. } => trips > 0,
        Op::Loop { .. } => {
            known(inst.operands[0]).is_some_and(|trips| trips as i64 > 0) && known(inst.operands[1]) == Some(1)
        }
        _ => false,
    }
}

/// Parameters that stand for one operand each.
fn alias(params: &[ValueId], operands: &[ValueId], placed: &mut Placements) {
    for (&param, &operand) in params.iter().zip(operands) {
        let others = placed.others.get(&operand).cloned().unwrap_or_default();
        placed.set(param, placed.of(operand).clone(), others);
    }
}

/// Places a loop's body until the layouts of what it carries no longer grow.
fn fixpoint(
    graph: &Graph,
    id: InstId,
    carries: &[ValueId],
    inits: &[ValueId],
    yields: &[ValueId],
    placed: &mut Placements,
) {
    for (&carry, &init) in carries.iter().zip(inits) {
        join(graph, id, carry, &[init], placed);
    }
    loop {
        place_block(graph, graph.inst(id).regions[0], placed);
        let mut grown = false;
        for ((&carry, &init), &yielded) in carries.iter().zip(inits).zip(yields) {
            grown |= join(graph, id, carry, &[init, yielded], placed);
        }
        if !grown {
            return;
        }
    }
}

/// Makes `value` stand for any of `sources`. Whether it has a layout it had not before.
fn join(graph: &Graph, id: InstId, value: ValueId, sources: &[ValueId], placed: &mut Placements) -> bool {
    // What the value was known to be before stays possible: around a loop the layouts only grow.
    let mut layouts: Vec<Layout> = match placed.joined.contains_key(&value) {
        true => placed.layouts(value).cloned().collect(),
        false => Vec::new(),
    };
    let known = layouts.len();
    let mut crowded = false;
    for layout in sources.iter().flat_map(|&source| placed.layouts(source)) {
        let layout = Layout { offset: 0, ..layout.clone() };
        let seen = layouts.iter().any(|known| known.is_empty() || known.is_parallel(&layout));
        if !seen && layouts.len() == MAX_LAYOUTS {
            crowded = true;
        } else if !seen {
            layouts.push(layout);
        }
    }
    if crowded {
        placed.undecided.insert(id);
    }
    placed.joined.insert(value, sources.to_vec());
    let grown = layouts.len() > known;
    let mut layouts = layouts.into_iter();
    let layout = layouts.next().unwrap_or_else(|| Layout::dense(&graph.ty(value).shape));
    placed.set(value, Placement { root: value, layout }, layouts.collect());
    grown
}
