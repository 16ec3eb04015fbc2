//! The mutating interpreter: what a source program does, by doing it.
//!
//! Storages are byte vectors that really are shared and really are overwritten; a value is a storage and a layout. It is
//! the oracle of `functional`. All inputs lie in one memory, where they may be made to share bytes, which no functional
//! form knows about; so it is the oracle of the program as written, too.

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
    /// The bytes of the inputs.
    inputs: &'g mut [u8],
    /// Where each begins.
    starts: &'g [usize],
    /// For each other value that owns its storage, the bytes.
    storages: Vec<Vec<u8>>,
    placed: Vec<Placement>,
}

impl Memory<'_> {
    /// The bytes of the storage of `root`.
    fn storage(&mut self, root: ValueId) -> &mut [u8] {
        match self.graph.value(root).def {
            Def::Input(place) => &mut self.inputs[self.starts[place as usize]..],
            _ => &mut self.storages[root.index()],
        }
    }

    fn read(&mut self, value: ValueId) -> Tensor {
        let ty = self.graph.ty(value).clone();
        let mut bytes = vec![0; ty.bytes()];
        let Placement { root, layout } = self.placed[value.index()].clone();
        let dense = Layout::dense(&ty.shape);
        let storage = self.storage(root);
        for_each_index(&layout.shape, |index| {
            let bits = load_bits(storage, ty.dtype, position(&layout, index));
            store_bits(&mut bytes, ty.dtype, position(&dense, index), bits);
        });
        Tensor::new(ty, bytes)
    }

    fn write(&mut self, value: ValueId, tensor: &Tensor) {
        let Placement { root, layout } = self.placed[value.index()].clone();
        let dense = Layout::dense(&tensor.ty.shape);
        let storage = self.storage(root);
        for_each_index(&layout.shape, |index| {
            let bits = load_bits(&tensor.bytes, tensor.ty.dtype, position(&dense, index));
            store_bits(storage, tensor.ty.dtype, position(&layout, index), bits);
        });
    }
}

/// Runs `graph` on inputs that share nothing.
pub fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Outcome, String> {
    let mut memory = Vec::new();
    let mut starts = Vec::with_capacity(inputs.len());
    for input in inputs {
        starts.push(memory.len());
        memory.extend_from_slice(&input.bytes);
    }
    run_within(graph, &mut memory, &starts)
}

/// Runs `graph`, which has no kernels, in the order of its instructions, reading and writing storages through strides.
/// The result of a mutating op is computed before any of it is written. Input `i` begins at byte `starts[i]` of `memory`
/// and may overlap others.
pub fn run_within(graph: &Graph, memory: &mut [u8], starts: &[usize]) -> Result<Outcome, String> {
    let places = placements(graph);
    let ids = (0..graph.values.len() as u32).map(ValueId);
    let placed: Vec<Placement> = ids.map(|value| places.of(value).clone()).collect();
    let mut storages = vec![Vec::new(); graph.values.len()];
    for (at, value) in graph.values.iter().enumerate() {
        storages[at] = match value.def {
            Def::Constant(id) => graph.constant(id).bytes().into_owned(),
            Def::Result(..) if placed[at].root.index() == at => vec![0; value.ty.bytes()],
            Def::Input(_) | Def::Result(..) | Def::Param(..) => Vec::new(),
        };
    }
    let mut memory = Memory { graph, inputs: memory, starts, storages, placed };
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
    // The last values of a program that names them are read before the first is written.
    let finals: Vec<(u32, Tensor)> = graph.finals.iter().map(|&(input, value)| (input, memory.read(value))).collect();
    for (input, tensor) in finals {
        memory.write(graph.inputs[input as usize].value, &tensor);
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
