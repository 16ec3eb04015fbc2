//! The mutating interpreter: what a source program does, by doing it.
//!
//! Storages are byte vectors that really are shared and really are overwritten. A value is a *handle*: a storage and a
//! layout in it, found while running, by eager PyTorch's rules. Handles are what regions pass and yield, as references
//! are in Python. It is the oracle of `functional` and shares nothing with it: whether a `reshape` copies is decided by
//! the strides that are there, not by an analysis. All inputs lie in one memory, where they may be made to share bytes,
//! which no functional form knows about; so it is the oracle of the program as written, too.

use std::collections::BTreeMap;

use situ::eval::{Tensor, evaluate_op};
use situ::ir::layout::{elementwise_strides, view_layouts};
use situ::ir::{BlockId, Def, Graph, Inst, ValueId};
use situ::ops::{LayoutRule, Op, Storage};
use situ::types::{DType, InputMode, Layout, TensorType};
use situ_runtime::kernel::domain::{for_each_index, position};
use situ_runtime::kernel::element::{load_bits, store_bits};

/// What a run leaves behind.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub outputs: Vec<Tensor>,
    /// Contents of the `inout` inputs, by position.
    pub state: Vec<(u32, Tensor)>,
}

/// A reference to some elements of a storage.
#[derive(Clone, Debug)]
pub struct Handle {
    pub storage: usize,
    /// Where the value's storage begins in it, and how long it is, in bytes.
    pub start: usize,
    bytes: usize,
    pub layout: Layout,
}

/// Is shown, after every instruction, what all visible values refer to.
pub type Watch<'a> = &'a mut dyn FnMut(&BTreeMap<ValueId, Handle>, &[ValueId]);

struct Memory<'g> {
    graph: &'g Graph,
    storages: Vec<Vec<u8>>,
    /// What each name means at this moment.
    handles: BTreeMap<ValueId, Handle>,
    /// The values that an instruction here may use.
    visible: Vec<ValueId>,
    watch: Option<Watch<'g>>,
    /// Instructions that may still run.
    fuel: usize,
}

impl Memory<'_> {
    fn fresh(&mut self, ty: &TensorType, strides: Option<Vec<i64>>) -> Handle {
        self.storages.push(vec![0; ty.bytes()]);
        let dense = Layout::dense(&ty.shape);
        Handle {
            storage: self.storages.len() - 1,
            start: 0,
            bytes: ty.bytes(),
            layout: Layout { strides: strides.unwrap_or(dense.strides), ..dense },
        }
    }

    fn handle(&self, value: ValueId) -> Handle {
        self.handles[&value].clone()
    }

    fn load(&self, handle: &Handle, ty: &TensorType) -> Tensor {
        let mut bytes = vec![0; ty.bytes()];
        let dense = Layout::dense(&ty.shape);
        for_each_index(&handle.layout.shape, |index| {
            let bits =
                load_bits(&self.storages[handle.storage][handle.start..], ty.dtype, position(&handle.layout, index));
            store_bits(&mut bytes, ty.dtype, position(&dense, index), bits);
        });
        Tensor::new(ty.clone(), bytes)
    }

    fn read(&self, value: ValueId) -> Tensor {
        self.load(&self.handles[&value], self.graph.ty(value))
    }

    fn store(&mut self, handle: &Handle, tensor: &Tensor) {
        let dense = Layout::dense(&tensor.ty.shape);
        for_each_index(&handle.layout.shape, |index| {
            let bits = load_bits(&tensor.bytes, tensor.ty.dtype, position(&dense, index));
            let at = position(&handle.layout, index);
            store_bits(&mut self.storages[handle.storage][handle.start..], tensor.ty.dtype, at, bits);
        });
    }

    /// A scalar of its own.
    fn number(&mut self, ty: &TensorType, bytes: &[u8]) -> Handle {
        let handle = self.fresh(ty, None);
        self.storages[handle.storage].copy_from_slice(bytes);
        handle
    }

    fn truth(&self, value: ValueId) -> bool {
        self.read(value).bits(0) != 0
    }

    fn block(&mut self, block: BlockId, params: Vec<Handle>) -> Result<Vec<Handle>, String> {
        let graph = self.graph;
        let block = graph.block(block);
        let outside = self.visible.len();
        self.visible.extend(&block.params);
        self.handles.extend(block.params.iter().copied().zip(params));
        for &id in &block.insts {
            let inst = graph.inst(id);
            self.fuel = self.fuel.checked_sub(1).ok_or("the program runs for too long")?;
            let results = match inst.regions.is_empty() {
                true => self.inst(inst)?,
                false => self.control(inst)?,
            };
            self.handles.extend(inst.results.iter().copied().zip(results));
            self.visible.extend(&inst.results);
            if let Some(watch) = &mut self.watch {
                watch(&self.handles, &self.visible);
            }
        }
        self.visible.truncate(outside);
        Ok(block.yields.iter().map(|&value| self.handle(value)).collect())
    }

    fn inst(&mut self, inst: &Inst) -> Result<Vec<Handle>, String> {
        let row = inst.op.row();
        if let (false, Storage::ViewOf(operand) | Storage::MayViewOf(operand)) = (inst.mutates, row.storage) {
            let operand = self.handle(inst.operands[operand]);
            if let Some(layouts) = view_layouts(self.graph, inst, &operand.layout, operand.bytes) {
                return Ok(layouts.into_iter().map(|layout| Handle { layout, ..operand }).collect());
            }
            if matches!(row.storage, Storage::ViewOf(_)) {
                return Err(format!("{} cannot be a view of {:?}", inst.op.name(), operand.layout));
            }
        }
        let operands: Vec<Tensor> = inst.operands.iter().map(|&operand| self.read(operand)).collect();
        let computed = evaluate_op(&inst.op, &operands)?;
        if inst.mutates {
            // All of it is computed before any of it is written.
            let destination = self.handle(inst.operands[0]);
            self.store(&destination, &computed[0]);
            return Ok(vec![destination]);
        }
        let layouts: Vec<Layout> = inst.operands.iter().map(|operand| self.handles[operand].layout.clone()).collect();
        let layouts: Vec<&Layout> = layouts.iter().collect();
        let mut results = Vec::new();
        for tensor in &computed {
            let elementwise = row.layout == LayoutRule::Elementwise;
            let strides = elementwise.then(|| elementwise_strides(&tensor.ty.shape, &layouts));
            let handle = self.fresh(&tensor.ty, strides);
            self.store(&handle, tensor);
            results.push(handle);
        }
        Ok(results)
    }

    fn control(&mut self, inst: &Inst) -> Result<Vec<Handle>, String> {
        let handles: Vec<Handle> = inst.operands.iter().map(|&operand| self.handle(operand)).collect();
        let index = TensorType::new(DType::I64, Vec::<usize>::new());
        let spend = |memory: &mut Self| {
            memory.fuel = memory.fuel.checked_sub(1).ok_or("the program runs for too long")?;
            Ok::<(), String>(())
        };
        match &inst.op {
            Op::If { .. } => {
                let taken = if self.truth(inst.operands[0]) { 0 } else { 1 };
                self.block(inst.regions[taken], handles[1..].to_vec())
            }
            Op::Loop { carried } => {
                let trips = self.read(inst.operands[0]).ints()[0];
                let mut holds = self.truth(inst.operands[1]);
                let mut carries = handles[2..2 + carried].to_vec();
                let mut trip = 0i64;
                while trip < trips && holds {
                    spend(self)?;
                    let mut params = vec![self.number(&index, &trip.to_le_bytes())];
                    params.extend(carries);
                    params.extend_from_slice(&handles[2 + carried..]);
                    let mut yields = self.block(inst.regions[0], params)?;
                    let condition = TensorType::new(DType::Bool, Vec::<usize>::new());
                    holds = self.load(&yields[0], &condition).bits(0) != 0;
                    carries = yields.split_off(1);
                    trip += 1;
                }
                Ok(carries)
            }
            Op::Scan { trips, carried, sequences, .. } => {
                let mut carries = handles[..*carried].to_vec();
                let stacks: Vec<Handle> =
                    inst.results[*carried..].iter().map(|&result| self.fresh(self.graph.ty(result), None)).collect();
                for trip in 0..*trips {
                    spend(self)?;
                    let row = |handle: &Handle| {
                        let mut layout = handle.layout.clone();
                        layout.offset += trip as i64 * layout.strides.remove(0);
                        layout.shape.remove(0);
                        Handle { layout, ..*handle }
                    };
                    let mut params = vec![self.number(&index, &(trip as i64).to_le_bytes())];
                    params.extend(carries);
                    params.extend(handles[*carried..carried + sequences].iter().map(row));
                    params.extend_from_slice(&handles[carried + sequences..]);
                    let mut yields = self.block(inst.regions[0], params)?;
                    // What is stacked is copied when the trip is over.
                    for ((stack, element), &result) in
                        stacks.iter().zip(yields.split_off(*carried)).zip(&inst.results[*carried..])
                    {
                        let ty = self.graph.ty(result);
                        let element = self.load(&element, &TensorType::new(ty.dtype, &ty.shape[1..]));
                        self.store(&row(stack), &element);
                    }
                    carries = yields;
                }
                carries.extend(stacks);
                Ok(carries)
            }
            other => Err(format!("{} is not interpreted", other.name())),
        }
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
    run_watched(graph, &mut memory, &starts, None)
}

/// Runs `graph`, which has no kernels, in the order of its instructions, reading and writing storages through strides. The
/// result of a mutating op is computed before any of it is written. Input `i` begins at byte `starts[i]` of `bytes` and may
/// overlap others.
pub fn run_within(graph: &Graph, bytes: &mut [u8], starts: &[usize]) -> Result<Outcome, String> {
    run_watched(graph, bytes, starts, None)
}

/// As [`run_within`], watched.
pub fn run_watched<'g>(
    graph: &'g Graph,
    bytes: &mut [u8],
    starts: &[usize],
    watch: Option<Watch<'g>>,
) -> Result<Outcome, String> {
    let (storages, handles) = (vec![bytes.to_vec()], BTreeMap::new());
    let mut memory = Memory { graph, storages, handles, visible: Vec::new(), watch, fuel: 1 << 16 };
    for (at, value) in graph.values.iter().enumerate() {
        let handle = match value.def {
            Def::Input(place) => {
                let (start, layout) = (starts[place as usize], Layout::dense(&value.ty.shape));
                Handle { storage: 0, start, bytes: value.ty.bytes(), layout }
            }
            Def::Constant(id) => memory.number(&value.ty, &graph.constant(id).bytes()),
            Def::Result(..) | Def::Param(..) => continue,
        };
        memory.handles.insert(ValueId(at as u32), handle);
        memory.visible.push(ValueId(at as u32));
    }
    memory.block(Graph::BODY, Vec::new())?;
    // The last values of a program that names them are read before the first is written.
    let finals: Vec<(u32, Tensor)> = graph.finals.iter().map(|&(input, value)| (input, memory.read(value))).collect();
    for (input, tensor) in finals {
        let handle = memory.handle(graph.inputs[input as usize].value);
        memory.store(&handle, &tensor);
    }
    let outputs = graph.outputs.iter().map(|output| memory.read(output.value)).collect();
    let state = graph
        .inputs
        .iter()
        .enumerate()
        .filter(|(_, input)| input.mode == InputMode::InOut)
        .map(|(place, input)| (place as u32, memory.read(input.value)))
        .collect();
    bytes.copy_from_slice(&memory.storages[0]);
    Ok(Outcome { outputs, state })
}
