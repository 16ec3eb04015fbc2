//! What a program computes from constants alone is computed while importing: masks, positions, triangles.
//!
//! Such values would otherwise live through the whole program and keep it from falling into regions. Only ops whose results
//! are exact are folded, so that bits are those of a run, and nothing that is written is.

use std::collections::{BTreeSet, HashMap};

use crate::eval::{self, Tensor};
use crate::ir::layout::placements;
use crate::ir::{Constant, ConstantData, Def, Graph, InstId, ValueId, in_program_order};
use crate::ops::{Accuracy, Class, Op};
use crate::types::TensorType;

/// The most elements an instruction may read and write to be folded.
const MAX_ELEMENTS: usize = 1 << 18;

/// Elements that folding may touch in one program.
const BUDGET: usize = 1 << 26;

/// The graph, in the order of its text, with constants in the place of results that depend on constants alone.
pub fn fold(mut graph: Graph) -> Graph {
    let placed = placements(&graph);
    let mutating = graph.all_insts().into_iter().filter(|&id| graph.inst(id).mutates);
    let written: BTreeSet<ValueId> = mutating.flat_map(|id| placed.owners(graph.inst(id).operands[0])).collect();
    let mut budget = BUDGET;
    let mut known: HashMap<ValueId, Tensor> = HashMap::new();
    let mut folded: BTreeSet<InstId> = BTreeSet::new();
    for id in graph.body().insts.clone() {
        let inst = graph.inst(id);
        let results: Vec<&TensorType> = inst.results.iter().map(|&result| graph.ty(result)).collect();
        let operands = inst.operands.iter().map(|&operand| graph.ty(operand));
        let elements: usize = operands.chain(results.iter().copied()).map(TensorType::len).sum();
        let stays = inst.mutates
            || !inst.regions.is_empty()
            || inst.operands.is_empty()
            || !is_exact(&inst.op)
            || elements > MAX_ELEMENTS.min(budget)
            || inst.results.iter().any(|&result| !placed.owners(result).is_disjoint(&written));
        if stays {
            continue;
        }
        let operands = inst.operands.iter().map(|&operand| match known.get(&operand) {
            Some(tensor) => Some(tensor.clone()),
            None => {
                // Weights have names, and views of them stay views: a copy would be stored beside them.
                let constant = graph.constant_of(operand).filter(|constant| constant.name.is_empty())?;
                Some(Tensor::new(constant.ty.clone(), constant.bytes().into_owned()))
            }
        });
        let Some(operands) = operands.collect::<Option<Vec<Tensor>>>() else { continue };
        budget -= elements;
        if let Ok(tensors) = eval::evaluate_op(&inst.op, &operands) {
            known.extend(inst.results.iter().copied().zip(tensors));
            folded.insert(id);
        }
    }
    graph.blocks[Graph::BODY.index()].insts.retain(|id| !folded.contains(id));
    for id in folded {
        for result in graph.inst(id).results.clone() {
            let Some(tensor) = known.remove(&result) else { continue };
            let name = graph.value(result).name.clone();
            let data = ConstantData::Bytes(tensor.bytes);
            let made = graph.add_constant(Constant { name, ty: tensor.ty, data });
            // The value itself becomes the constant; the one that was made for it is referred to by nobody.
            let def = graph.value(made).def;
            graph.values[result.index()].def = def;
            graph.values.pop();
            debug_assert!(matches!(def, Def::Constant(_)));
        }
    }
    in_program_order(&graph)
}

/// Whether every kernel gives the bits of the scalar meaning.
fn is_exact(op: &Op) -> bool {
    match op {
        Op::Point(function) => function.row().ulps == 0,
        op => op.row().accuracy == Accuracy::Exact && matches!(op.row().class, Class::View | Class::Movement),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Bindings, parse};

    /// Constants meet constants; what is written, and what reads it, is left to run.
    #[test]
    fn only_what_nobody_writes_is_folded() {
        let text = "graph folded {
            const %w: i64[4] = [3, 1, 4, 1]
            %a = add i64(2), 3
            %b = expand %a {shape=[4]}
            %kept = contiguous %b
            %written = contiguous %b
            add_ %written, 1
            %sum = add %kept, %written
            %named = add %w, 1
            %root = sqrt f32(2.0)
            %rough = exp f32(2.0)
            return %sum, %named, %root, %rough, %kept
        }";
        let (graph, mistakes) = parse(text, &Bindings::new());
        let graph = fold(graph.unwrap_or_else(|| panic!("{mistakes:?}")));
        let left: Vec<String> = graph.body_insts().map(|(_, inst)| graph.display(inst.results[0])).collect();
        let names: Vec<&str> =
            left.iter().map(String::as_str).filter(|name| name[1..].parse::<u32>().is_err()).collect();
        assert_eq!(names, ["%written", "%sum", "%named", "%rough"]);
        let kept = graph.constant_of(graph.outputs[4].value).expect("a constant");
        let expected: Vec<u8> = [5i64; 4].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(kept.bytes().as_ref(), expected);
        assert_eq!(crate::ir::verify(&graph), Vec::new());
    }
}
