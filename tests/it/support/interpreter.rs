//! The mutating interpreter: what a source program does, by doing it.
//!
//! Storages are byte vectors that really are shared and really are overwritten; a value is a storage and a layout. It is
//! the oracle of `functional`. Two inputs may be made to share a storage, which no functional form knows about.

use situ::eval::{Tensor, evaluate_op};
use situ::ir::layout::{Placement, placements};
use situ::ir::{Def, Graph, ValueId};
use situ::types::{InputMode, Layout};
use situ_runtime::kernel::domain::{for_each_index, position};
use situ_runtime::kernel::element::{load_bits, store_bits};

/// What a run leaves behind.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub outputs: Vec<Tensor>,
    /// Contents of the `inout` inputs, by position.
    pub state: Vec<(u32, Tensor)>,
}

struct Memory<'g> {
    graph: &'g Graph,
    /// For each value that owns its storage, the bytes.
    storages: Vec<Vec<u8>>,
    placed: Vec<Placement>,
}

impl Memory<'_> {
    fn read(&self, value: ValueId) -> Tensor {
        let ty = self.graph.ty(value).clone();
        let mut bytes = vec![0; ty.bytes()];
        let Placement { root, layout } = &self.placed[value.index()];
        let dense = Layout::dense(&ty.shape);
        for_each_index(&layout.shape, |index| {
            let bits = load_bits(&self.storages[root.index()], ty.dtype, position(layout, index));
            store_bits(&mut bytes, ty.dtype, position(&dense, index), bits);
        });
        Tensor::new(ty, bytes)
    }

    fn write(&mut self, value: ValueId, tensor: &Tensor) {
        let Placement { root, layout } = &self.placed[value.index()];
        let dense = Layout::dense(&tensor.ty.shape);
        for_each_index(&layout.shape, |index| {
            let bits = load_bits(&tensor.bytes, tensor.ty.dtype, position(&dense, index));
            store_bits(&mut self.storages[root.index()], tensor.ty.dtype, position(layout, index), bits);
        });
    }
}

/// Runs `graph`, which has no kernels, in the order of its instructions, reading and writing storages through strides.
/// The result of a mutating op is computed before any of it is written.
pub fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Outcome, String> {
    let places = placements(graph);
    let ids = (0..graph.values.len() as u32).map(ValueId);
    let placed: Vec<Placement> = ids.map(|value| places.of(value).clone()).collect();
    let mut storages = vec![Vec::new(); graph.values.len()];
    for (at, value) in graph.values.iter().enumerate() {
        storages[at] = match value.def {
            Def::Input(place) => inputs[place as usize].bytes.to_vec(),
            Def::Constant(id) => graph.constant(id).bytes().into_owned(),
            Def::Result(..) if placed[at].root.index() == at => vec![0; value.ty.bytes()],
            Def::Result(..) | Def::Param(..) => Vec::new(),
        };
    }
    let mut memory = Memory { graph, storages, placed };
    for (_, inst) in graph.body_insts() {
        let shares = |result: &ValueId| memory.placed[result.index()].root != *result;
        if !inst.mutates && inst.results.iter().all(shares) {
            // A view: nothing happens until somebody reads it.
            continue;
        }
        let operands: Vec<Tensor> = inst.operands.iter().map(|&operand| memory.read(operand)).collect();
        for (&result, tensor) in inst.results.iter().zip(evaluate_op(&inst.op, &operands)?) {
            memory.write(result, &tensor);
        }
    }
    let outputs = graph.outputs.iter().map(|output| memory.read(output.value)).collect();
    let state = graph
        .inputs
        .iter()
        .enumerate()
        .filter(|(_, input)| input.mode == InputMode::InOut)
        .map(|(place, input)| (place as u32, memory.read(input.value)))
        .collect();
    Ok(Outcome { outputs, state })
}
