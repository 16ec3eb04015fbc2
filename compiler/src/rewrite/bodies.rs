//! Regions of branches and loops.
//!
//! For the graph around it, `if`, `loop` and `scan` are one op that reads its operands from memory and writes its results
//! there: nothing is fused across its border, and the e-graphs never see it. Each region is a program of its own and is
//! rewritten as one. What is known of the operands goes in first: an argument that is a constant becomes that constant, so
//! that it is folded and packed like every other; an argument that no region needs any more is dropped.

use std::collections::BTreeSet;

use super::rebuild::Rebuild;
use super::{RewriteOptions, RewriteReport, optimize};
use crate::diagnostic::Fault;
use crate::functional::PureGraph;
use crate::ir::{BlockId, Constant, Def, Graph, Inst, ValueId};
use crate::ops::Op;
use crate::types::InputMode;

/// The graph with the regions of its body rewritten; `report` adds up what was done to them.
pub(super) fn optimise(graph: Graph, options: &RewriteOptions, report: &mut RewriteReport) -> Result<Graph, Fault> {
    if !has_control(&graph) {
        return Ok(graph);
    }
    let options = RewriteOptions { pessimistic: BTreeSet::new(), ..options.clone() };
    let mut new = Rebuild::new(&graph);
    for (_, inst) in graph.body_insts() {
        if !inst.op.is_control() {
            new.copy(inst)?;
            continue;
        }
        let mut regions = Vec::with_capacity(inst.regions.len());
        for &region in &inst.regions {
            let (region, inner) = optimize(outline(&graph, inst, region)?, &options)?;
            report.add(&inner);
            let mut region = region.into_graph();
            // The record is that of the program around it.
            region.insts.iter_mut().for_each(|inst| inst.origins.clear());
            regions.push(region);
        }
        control(&mut new, inst, &regions)?;
    }
    new.finish()
}

fn has_control(graph: &Graph) -> bool {
    graph.body_insts().any(|(_, inst)| inst.op.is_control())
}

/// The operands of an op of which its regions have parameters: where they begin, and which are arguments, the same in
/// every iteration. Operand `first + i` is parameter `i + ahead`.
struct Shape {
    first: usize,
    ahead: usize,
    /// Among the operands.
    carried: std::ops::Range<usize>,
    arguments: std::ops::Range<usize>,
}

fn shape(inst: &Inst) -> Shape {
    let all = inst.operands.len();
    match &inst.op {
        Op::Loop { carried } => Shape { first: 2, ahead: 1, carried: 2..2 + carried, arguments: 2 + carried..all },
        Op::Scan { carried, sequences, .. } => {
            Shape { first: 0, ahead: 1, carried: 0..*carried, arguments: carried + sequences..all }
        }
        _ => Shape { first: 1, ahead: 0, carried: 0..0, arguments: 1..all },
    }
}

/// A region as a graph: an input for each parameter, an output for each yield.
fn outline(graph: &Graph, inst: &Inst, region: BlockId) -> Result<PureGraph, Fault> {
    let shape = shape(inst);
    let mut new = Rebuild::of_block(graph, region, |param| {
        // The initial value is a copy that the region may overwrite.
        let carried = param.checked_sub(shape.ahead).is_some_and(|at| shape.carried.contains(&(at + shape.first)));
        if carried { InputMode::Donate } else { InputMode::Read }
    });
    for operand in shape.arguments {
        if let Def::Constant(constant) = graph.value(inst.operands[operand]).def {
            let param = graph.block(region).params[operand - shape.first + shape.ahead];
            let constant = new.constant(graph.constant(constant))?;
            new.stand(param, constant);
        }
    }
    let block = graph.block(region);
    for &inner in &block.insts {
        new.copy(graph.inst(inner))?;
    }
    for (position, &value) in block.yields.iter().enumerate() {
        let value = new.value(value)?;
        new.graph.add_output(position.to_string(), value);
    }
    PureGraph::new(new.finish()?)
}

/// Appends the op with its new regions, without the arguments that none of them uses.
fn control(new: &mut Rebuild, inst: &Inst, regions: &[Graph]) -> Result<(), Fault> {
    let shape = shape(inst);
    let used: Vec<BTreeSet<ValueId>> = regions.iter().map(used).collect();
    let param = |operand: usize| operand - shape.first + shape.ahead;
    let is_needed = |operand: &usize| {
        let uses = |(region, used): (&Graph, &BTreeSet<ValueId>)| used.contains(&region.inputs[param(*operand)].value);
        !shape.arguments.contains(operand) || regions.iter().zip(&used).any(uses)
    };
    let kept: Vec<usize> = (0..inst.operands.len()).filter(is_needed).collect();
    let operands: Vec<ValueId> = kept.iter().map(|&operand| inst.operands[operand]).collect();
    let operands = new.values(&operands)?;
    let id = new.append_like(inst, &operands)?;
    let dropped: BTreeSet<usize> =
        shape.arguments.clone().filter(|operand| !kept.contains(operand)).map(param).collect();
    for region in regions {
        let params: Vec<usize> = (0..region.inputs.len()).filter(|at| !dropped.contains(at)).collect();
        new.inline(id, region, &params)?;
    }
    Ok(())
}

/// Values of a graph's body that something uses.
fn used(graph: &Graph) -> BTreeSet<ValueId> {
    let operands = graph.body_insts().flat_map(|(_, inst)| inst.operands.iter().copied());
    operands.chain(graph.outputs.iter().map(|output| output.value)).collect()
}

/// The graph without branches whose condition is a constant and without loops that never begin.
pub(super) fn simplify(graph: Graph) -> Result<Graph, Fault> {
    if !has_control(&graph) {
        return Ok(graph);
    }
    let mut new = Rebuild::new(&graph);
    for (_, inst) in graph.body_insts() {
        simplified(&mut new, inst)?;
    }
    new.finish()
}

fn simplified(new: &mut Rebuild, inst: &Inst) -> Result<(), Fault> {
    let graph = new.source;
    // A literal is 64 bits with the element in the low ones.
    let known = |new: &mut Rebuild, operand: usize| -> Result<Option<u64>, Fault> {
        let value = new.value(inst.operands[operand])?;
        Ok(new.graph.constant_of(value).and_then(Constant::splat))
    };
    let results = match &inst.op {
        Op::If { .. } => match known(new, 0)? {
            Some(bits) => {
                let block = graph.block(inst.regions[usize::from(bits & 0xff == 0)]);
                for (&param, &operand) in block.params.iter().zip(&inst.operands[1..]) {
                    let operand = new.value(operand)?;
                    new.stand(param, operand);
                }
                for &inner in &block.insts {
                    simplified(new, graph.inst(inner))?;
                }
                Some(block.yields.clone())
            }
            None => None,
        },
        Op::Loop { carried } => {
            let never = known(new, 0)?.is_some_and(|trips| trips as i64 <= 0)
                || known(new, 1)?.is_some_and(|bits| bits & 0xff == 0);
            never.then(|| inst.operands[2..2 + carried].to_vec())
        }
        Op::Scan { trips: 0, carried, .. } if *carried == inst.results.len() => {
            Some(inst.operands[..*carried].to_vec())
        }
        _ => None,
    };
    let Some(results) = results else { return new.copy(inst) };
    for (&old, value) in inst.results.iter().zip(results) {
        let value = new.value(value)?;
        new.stand(old, value);
    }
    Ok(())
}

impl RewriteReport {
    /// Adds what was done to a region.
    fn add(&mut self, inner: &RewriteReport) {
        for (&rule, &times) in &inner.rules {
            *self.rules.entry(rule).or_default() += times;
        }
        self.rules.sort_by(|a, m, b, n| n.cmp(m).then(a.cmp(b)));
        self.source_ops += inner.source_ops;
        self.kernels_before += inner.kernels_before;
        self.kernels_after += inner.kernels_after;
        self.regions += inner.regions;
        self.unique_regions += inner.unique_regions;
        self.requests += inner.requests;
        self.overflows += inner.overflows;
        self.nodes += inner.nodes;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{outline as shown, pure};
    use super::*;

    fn rewritten(text: &str) -> Graph {
        let (graph, _) = optimize(pure(text), &RewriteOptions::default()).expect("it is rewritten");
        let mistakes = crate::ir::verify(&graph);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        graph.into_graph()
    }

    #[test]
    fn constant_arguments_go_into_the_region_and_unused_ones_away() {
        let graph = rewritten(
            "graph g {
              input %h: f32[2, 4]
              input %unused: f32[3]
              const %w: f32[4, 4] = seeded(normal, seed=1)
              %r = scan (%i, %a = %h) (%b = %w, %c = %unused, %d = %h) {trips=3} {
                %m = matmul %a, %b
                %s = add %m, %d
                yield %s
              }
              return %r
            }",
        );
        let (_, scan) = graph.body_insts().find(|(_, inst)| inst.op.is_control()).expect("a scan");
        assert_eq!(scan.operands.len(), 2, "the initial value, and %h");
        let region = graph.block(scan.regions[0]);
        assert_eq!(region.params.len(), 3);
        let reads = region.insts.iter().flat_map(|&inst| &graph.inst(inst).operands);
        assert!(reads.copied().any(|value| graph.constant_of(value).is_some()));
        assert_eq!(region.insts.len(), 1, "matmul and add are one kernel");
    }

    #[test]
    fn what_is_known_when_compiling_is_not_asked_again() {
        let graph = rewritten(
            "graph g {
              input %x: f32[4]
              %a = if true (%p = %x) {
                %t = relu %p
                yield %t
              } else (%q) {
                yield %q
              }
              %b = loop 0, true (%i, %s = %a) { yield true, %s }
              %c = loop 5, false (%j, %u = %b) { yield true, %u }
              %d = scan (%k, %v = %c) {trips=0} { yield %v }
              return %d
            }",
        );
        assert_eq!(shown(&graph), "kernel relu\n");
    }
}
