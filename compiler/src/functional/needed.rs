//! What of a functional graph is needed for its outputs and final values.
//!
//! A value is needed if an output depends on it; through regions that is asked place by place, so that a carry or a
//! result of an `if` that nobody reads goes, with all that computes it.

use crate::ir::{BlockId, Def, Graph, InstId, ValueId};
use crate::ops::Op;

/// Which values are needed.
#[derive(Clone, Debug)]
pub struct Needed {
    values: Vec<bool>,
}

impl Needed {
    pub fn of(graph: &Graph) -> Needed {
        // The instruction that holds each block.
        let mut holders: Vec<Option<InstId>> = vec![None; graph.blocks.len()];
        for id in graph.all_insts() {
            graph.inst(id).regions.iter().for_each(|region| holders[region.index()] = Some(id));
        }
        let mut needed = Needed { values: vec![false; graph.values.len()] };
        let outputs = graph.outputs.iter().map(|output| output.value);
        let mut open: Vec<ValueId> = outputs.chain(graph.finals.iter().map(|entry| entry.1)).collect();
        while let Some(value) = open.pop() {
            if std::mem::replace(&mut needed.values[value.index()], true) {
                continue;
            }
            match graph.value(value).def {
                Def::Input(_) | Def::Constant(_) => {}
                Def::Result(id, place) => behind_result(graph, id, place as usize, &mut open),
                Def::Param(block, place) => {
                    if let Some(id) = holders[block.index()] {
                        behind_param(graph, id, block, place as usize, &mut open);
                    }
                }
            }
        }
        needed
    }

    pub fn is(&self, value: ValueId) -> bool {
        self.values[value.index()]
    }

    /// Whether any result of an instruction is needed.
    pub fn any(&self, values: &[ValueId]) -> bool {
        values.iter().any(|&value| self.is(value))
    }
}

/// What a result is computed from.
fn behind_result(graph: &Graph, id: InstId, place: usize, open: &mut Vec<ValueId>) {
    let inst = graph.inst(id);
    let yields = |region: usize| graph.block(inst.regions[region]).yields.as_slice();
    match inst.op {
        Op::If { .. } => open.extend([inst.operands[0], yields(0)[place], yields(1)[place]]),
        Op::Loop { .. } => {
            open.extend([inst.operands[0], inst.operands[1], inst.operands[2 + place]]);
            open.extend([yields(0)[0], yields(0)[1 + place]]);
        }
        Op::Scan { carried, .. } => {
            open.push(yields(0)[place]);
            open.extend(inst.operands[..carried].get(place));
        }
        _ => open.extend(&inst.operands),
    }
    // A body of a kernel is taken whole; it sees nothing but its parameters and constants.
    if !inst.op.is_control() {
        let blocks = inst.regions.iter().map(|&region| graph.block(region));
        open.extend(blocks.flat_map(|block| block.params.iter().chain(&block.yields)));
    }
}

/// What a parameter stands for.
fn behind_param(graph: &Graph, id: InstId, block: BlockId, place: usize, open: &mut Vec<ValueId>) {
    let inst = graph.inst(id);
    let yields = &graph.block(block).yields;
    match inst.op {
        Op::If { .. } => open.push(inst.operands[1 + place]),
        // The number of the trip is there in any case.
        Op::Loop { .. } | Op::Scan { .. } if place == 0 => {}
        Op::Loop { carried } => {
            open.push(inst.operands[1 + place]);
            if place <= carried {
                open.push(yields[place]);
            }
        }
        Op::Scan { carried, .. } => {
            open.push(inst.operands[place - 1]);
            if place <= carried {
                open.push(yields[place - 1]);
            }
        }
        _ => {}
    }
}

/// Removes instructions whose results nobody needs from a graph without control flow: views that were replayed,
/// versions that were covered.
pub fn without_unneeded(mut graph: Graph, needed: &Needed) -> Graph {
    let mut kept = std::mem::take(&mut graph.blocks[Graph::BODY.index()].insts);
    kept.retain(|&id| needed.any(&graph.inst(id).results));
    graph.blocks[Graph::BODY.index()].insts = kept;
    graph
}
