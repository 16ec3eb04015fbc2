//! Back to a graph: every place of every region is made from the region's recipe.

use super::rebuild::{Rebuild, fault};
use super::recipe::{Inner, Recipe, Ref, Step, StepKind};
use super::regions::{Instance, Piece};
use crate::diagnostic::Fault;
use crate::ir::{Graph, Location, ValueId};
use crate::ops::Op;

pub(super) fn assemble(graph: &Graph, pieces: &[Piece], recipes: &[Recipe]) -> Result<Graph, Fault> {
    let mut new = Rebuild::new(graph);
    let mut number = 0;
    for piece in pieces {
        match piece {
            Piece::Region(instance) => {
                place(&mut new, number, instance, &recipes[instance.region])?;
                number += 1;
            }
            Piece::Control(inst) => new.copy(graph.inst(*inst))?,
        }
    }
    new.finish()
}

fn place(new: &mut Rebuild, number: u32, instance: &Instance, recipe: &Recipe) -> Result<(), Fault> {
    let mut results: Vec<Vec<ValueId>> = Vec::with_capacity(recipe.steps.len());
    for (at, step) in (0u32..).zip(&recipe.steps) {
        let made = (number, at);
        let mut operands = Vec::with_capacity(step.operands.len());
        for operand in &step.operands {
            operands.push(resolve(new, instance, &results, *operand)?);
        }
        let location = location(new.source, instance, step);
        let made = match &step.kind {
            StepKind::Op(op) => append(new, op.clone(), &operands, step, location, made),
            StepKind::Kernel(_) => kernel(new, &operands, step, location, made)?,
        };
        for &(result, inst, position) in &step.values {
            let old = new.source.inst(instance.insts[inst as usize]).results[position as usize];
            new.set(old, made[result as usize]);
        }
        results.push(made);
    }
    for (output, &old) in recipe.outputs.iter().zip(&instance.outputs) {
        let place = output.ok_or_else(|| fault("an output of a region is nowhere"))?;
        let value = resolve(new, instance, &results, place)?;
        new.set(old, value);
    }
    Ok(())
}

fn resolve(new: &mut Rebuild, instance: &Instance, results: &[Vec<ValueId>], place: Ref) -> Result<ValueId, Fault> {
    match place {
        Ref::Leaf(leaf) => new.value(instance.leaves[leaf as usize]),
        Ref::Step(step, result) => Ok(results[step as usize][result as usize]),
        Ref::Literal(dtype, bits) => Ok(new.literal(dtype, bits)),
    }
}

fn append(
    new: &mut Rebuild,
    op: Op,
    operands: &[ValueId],
    step: &Step,
    location: Location,
    made: (u32, u32),
) -> Vec<ValueId> {
    let id = new.graph.append_typed(Graph::BODY, op, operands, step.types.clone(), location);
    new.graph.insts[id.index()].rules.clone_from(&step.rules);
    new.graph.insts[id.index()].origins = vec![made];
    new.graph.inst(id).results.clone()
}

fn kernel(
    new: &mut Rebuild,
    operands: &[ValueId],
    step: &Step,
    location: Location,
    made: (u32, u32),
) -> Result<Vec<ValueId>, Fault> {
    let StepKind::Kernel(ops) = &step.kind else { return Err(fault("a kernel has a body")) };
    let op = Op::Kernel {
        results: step.types.iter().map(|ty| ty.dtype).collect(),
        shapes: step.types.iter().map(|ty| ty.shape.clone()).collect(),
    };
    let results = append(new, op, operands, step, location.clone(), made);
    let block = new.graph.add_block();
    let mut params = Vec::with_capacity(operands.len());
    for &operand in operands {
        let ty = new.graph.ty(operand).clone();
        params.push(new.graph.add_param(block, ty, ""));
    }
    let mut made: Vec<ValueId> = Vec::with_capacity(ops.len());
    for inner in ops {
        let mut arguments = Vec::with_capacity(inner.operands.len());
        for operand in &inner.operands {
            arguments.push(match *operand {
                Inner::Param(at) => params[at as usize],
                Inner::Op(at) => made[at as usize],
                Inner::Literal(dtype, bits) => new.literal(dtype, bits),
            });
        }
        let id = new.graph.append_typed(block, inner.op.clone(), &arguments, vec![inner.ty.clone()], location.clone());
        made.push(new.graph.inst(id).results[0]);
    }
    let last = made.last().copied().ok_or_else(|| fault("a kernel is empty"))?;
    new.graph.blocks[block.index()].yields = vec![last];
    let kernel = new.graph.producer(results[0]).ok_or_else(|| fault("a kernel has a result"))?;
    new.graph.insts[kernel.index()].regions.push(block);
    Ok(results)
}

/// Where the source of a step stands: the first instruction's place, and the texts of all.
fn location(graph: &Graph, instance: &Instance, step: &Step) -> Location {
    let mut sources = step.sources.iter().map(|&inst| &graph.inst(instance.insts[inst as usize]).location);
    let Some(first) = sources.next() else { return Location::default() };
    let mut location = first.clone();
    let mut texts = vec![first.text.as_str()];
    for other in sources {
        if !other.text.is_empty() && !texts.contains(&other.text.as_str()) {
            texts.push(&other.text);
        }
    }
    if texts.len() > 1 {
        location.text = texts.join(" + ");
    }
    location
}
