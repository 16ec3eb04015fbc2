//! Kernel graphs by hand, and the checker as the judge of what place and plan made of them.

use situ::ir::Location;
use situ::lower::{
    BufferId, BufferKind, KernelGraph, KernelInput, KernelNode, KernelOutput, Weight, WeightForm, whole,
};
use situ::place::{PlaceOptions, place};
use situ::plan::{PlanOptions, Planned, plan};
use situ::types::{DType, InputMode, TensorType};
use situ_runtime::check::check_plan;
use situ_runtime::executable::{Access, Distinct, InputPort, OutputPort, Plan, PlannedValue, Space, Step, Write};
use situ_runtime::kernel::prepared::workspace_bytes;
use situ_runtime::kernel::{Kernel, ResizeAxis, ResizeFn};
use situ_runtime::point::{PointFn, PointInstr, Program};

/// A graph under construction; all values are `f32`.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    pub graph: KernelGraph,
}

fn ty(shape: &[usize]) -> TensorType {
    TensorType::new(DType::F32, shape)
}

impl Builder {
    pub fn new(name: &str) -> Builder {
        Builder { graph: KernelGraph { name: name.into(), ..KernelGraph::default() } }
    }

    pub fn input(&mut self, name: &str, shape: &[usize], mode: InputMode) -> BufferId {
        let position = self.graph.inputs.len() as u32;
        let buffer = self.graph.add_buffer(format!("%{name}"), ty(shape), BufferKind::Input(position));
        self.graph.inputs.push(KernelInput {
            name: name.into(),
            mode,
            ty: ty(shape),
            buffer,
            initial: None,
            views: Vec::new(),
        });
        buffer
    }

    pub fn weight(&mut self, name: &str, shape: &[usize]) -> BufferId {
        let kind = BufferKind::Weight(self.graph.weights.len() as u32);
        let form = WeightForm::Dense;
        self.graph.weights.push(Weight { constant: situ::ir::ConstId(0), form, stored: ty(shape) });
        self.graph.add_buffer(format!("%{name}"), ty(shape), kind)
    }

    /// Its operand as `f64`.
    pub fn widened(&mut self, name: &str, operand: BufferId) -> BufferId {
        let shape = self.graph.buffers[operand.index()].ty.shape.clone();
        let wide = TensorType::new(DType::F64, shape);
        let result = self.graph.add_buffer(format!("%{name}"), wide, BufferKind::Temporary);
        let program = Program {
            inputs: vec![DType::F32],
            code: vec![PointInstr { function: PointFn::Cast(DType::F64), args: [0; 3] }],
            outputs: vec![1],
        };
        let (read, access) = (self.read(operand), self.read(result));
        self.node("cast", Kernel::Map { program }, vec![read], vec![Write { access, base: None }]);
        result
    }

    pub fn buffer(&mut self, name: &str, shape: &[usize]) -> BufferId {
        self.graph.add_buffer(format!("%{name}"), ty(shape), BufferKind::Temporary)
    }

    pub fn read(&self, buffer: BufferId) -> Access {
        whole(buffer, &self.graph.buffers[buffer.index()].ty)
    }

    pub fn node(&mut self, label: &str, kernel: Kernel, reads: Vec<Access>, writes: Vec<Write>) {
        let workspace = workspace_bytes(&kernel, &reads, &writes, 1).expect("the node is sound") as u64;
        self.graph.source_ops += 1;
        self.graph.nodes.push(KernelNode {
            kernel,
            reads,
            writes,
            workspace,
            scratch: None,
            requests: Vec::new(),
            label: label.into(),
            location: Location::default(),
            flops: 0,
            rules: Vec::new(),
            origins: Vec::new(),
        });
    }

    /// The sum of its operands, element by element (one operand: its negation, which is not idempotent).
    pub fn map(&mut self, name: &str, reads: Vec<Access>) -> BufferId {
        let shape = reads[0].layout.shape.clone();
        let result = self.buffer(name, &shape);
        let write = Write { access: self.read(result), base: None };
        let label = if reads.len() == 1 { "neg" } else { "add" };
        self.node(label, Kernel::Map { program: sum(reads.len()) }, reads, vec![write]);
        result
    }

    pub fn on(&mut self, name: &str, operands: &[BufferId]) -> BufferId {
        let reads = operands.iter().map(|&operand| self.read(operand)).collect();
        self.map(name, reads)
    }

    /// A kernel that forbids every tie: a resize to the same size, which reads neighbours.
    pub fn resized(&mut self, name: &str, operand: BufferId) -> BufferId {
        let read = self.read(operand);
        let result = self.buffer(name, &read.layout.shape.clone());
        let write = Write { access: self.read(result), base: None };
        let [zero, one] = [0.0f64, 1.0].map(f64::to_bits);
        let axis = ResizeAxis { offset: zero, numerator: one, denominator: one, shift: zero, support: one };
        let axes = vec![axis; read.layout.rank()];
        let function = ResizeFn::Linear { exclude_outside: false };
        let kernel = Kernel::Resize { function, axes, extrapolation: None };
        self.node("resize", kernel, vec![read], vec![write]);
        result
    }

    pub fn copy(&mut self, from: Access, to: Access, base: Option<BufferId>) {
        let kernel = Kernel::Map { program: Program::identity(DType::F32) };
        let write = Write { access: to, base: base.map(|base| base.0) };
        self.node("copy", kernel, vec![from], vec![write]);
    }

    /// A copy of a whole value.
    pub fn forwarded(&mut self, name: &str, value: BufferId) -> BufferId {
        let shape = self.graph.buffers[value.index()].ty.shape.clone();
        let result = self.buffer(name, &shape);
        let (from, to) = (self.read(value), self.read(result));
        self.copy(from, to, None);
        result
    }

    /// Parts one after the other along the last axis (`rows: false`) or the first.
    pub fn concat(&mut self, name: &str, parts: &[BufferId], rows: bool) -> BufferId {
        let shapes: Vec<Vec<usize>> =
            parts.iter().map(|part| self.graph.buffers[part.index()].ty.shape.clone()).collect();
        let axis = if rows { 0 } else { shapes[0].len() - 1 };
        let mut shape = shapes[0].clone();
        shape[axis] = shapes.iter().map(|shape| shape[axis]).sum();
        let result = self.buffer(name, &shape);
        let mut start = 0;
        for (part, part_shape) in parts.iter().zip(&shapes) {
            let mut to = self.read(result);
            to.layout.offset = start as i64 * to.layout.strides[axis];
            to.layout.shape.clone_from(part_shape);
            start += part_shape[axis];
            let from = self.read(*part);
            self.copy(from, to, None);
        }
        result
    }

    /// `base` with its first `rows` rows replaced by `value`, by a copy and an update.
    pub fn update(&mut self, name: &str, base: BufferId, value: BufferId) -> BufferId {
        let shape = self.graph.buffers[base.index()].ty.shape.clone();
        let fresh = self.buffer(&format!("{name}.base"), &shape);
        let (from, to) = (self.read(base), self.read(fresh));
        self.copy(from, to, None);
        let result = self.buffer(name, &shape);
        let from = self.read(value);
        let mut to = self.read(result);
        to.layout.shape.clone_from(&from.layout.shape);
        self.copy(from, to, Some(fresh));
        result
    }

    pub fn output(&mut self, buffer: BufferId) {
        let access = self.read(buffer);
        let name = self.graph.buffers[buffer.index()].name.trim_start_matches('%').to_string();
        self.graph.outputs.push(KernelOutput { name, access });
    }

    /// Copies `value` into the bytes of an `inout` input at the end.
    pub fn finish(&mut self, input: BufferId, value: BufferId) {
        let BufferKind::Input(position) = self.graph.buffers[input.index()].kind else { panic!("not an input") };
        let ty = self.graph.buffers[input.index()].ty.clone();
        let name = format!("{}'", self.graph.buffers[input.index()].name);
        let last = self.graph.add_buffer(name, ty, BufferKind::Final(position));
        let (from, to) = (self.read(value), self.read(last));
        self.copy(from, to, None);
        self.graph.finals.push((position, last));
    }
}

/// The access with its last two axes exchanged.
pub fn transposed(mut access: Access) -> Access {
    let rank = access.layout.rank();
    access.layout.shape.swap(rank - 1, rank - 2);
    access.layout.strides.swap(rank - 1, rank - 2);
    access
}

/// Rows `start..start + rows` of the access.
pub fn rows(mut access: Access, start: usize, rows: usize) -> Access {
    access.layout.offset += start as i64 * access.layout.strides[0];
    access.layout.shape[0] = rows;
    access
}

fn sum(operands: usize) -> Program {
    let inputs = vec![DType::F32; operands];
    if operands == 1 {
        return Program { inputs, code: vec![PointInstr { function: PointFn::Neg, args: [0; 3] }], outputs: vec![1] };
    }
    let code: Vec<PointInstr> = (1..operands)
        .map(|next| {
            let left = if next == 1 { 0 } else { operands + next - 2 };
            PointInstr { function: PointFn::Add, args: [left as u16, next as u16, 0] }
        })
        .collect();
    let last = operands + code.len() - 1;
    Program { inputs, code, outputs: vec![last as u16] }
}

/// Places and plans.
pub fn planned(graph: &KernelGraph, options: &PlaceOptions) -> Planned {
    let placed = place(graph.clone(), options).expect("the graph is sound");
    plan(placed, &PlanOptions::default()).expect("the sizes are small")
}

/// The plan as the runtime sees it.
pub fn executable(planned: &Planned) -> Plan {
    let graph = &planned.placed.graph;
    let mut weights = 0;
    let values: Vec<PlannedValue> = graph
        .buffers
        .iter()
        .zip(&planned.places)
        .map(|(buffer, &place)| PlannedValue { name: buffer.name.clone(), dtype: buffer.ty.dtype, place })
        .collect();
    let weight_values = (0..values.len() as u32)
        .filter(|&value| {
            let is = matches!(graph.buffer(value).kind, BufferKind::Weight(_));
            weights += u64::from(is);
            is
        })
        .collect();
    let steps = planned
        .placed
        .order
        .iter()
        .zip(&planned.workspaces)
        .map(|(&node, &workspace)| {
            let node = &graph.nodes[node];
            Step {
                kernel: node.kernel.clone(),
                reads: node.reads.clone(),
                writes: node.writes.clone(),
                workspace,
                label: node.label.clone(),
            }
        })
        .collect();
    let inputs = 0..graph.inputs.len() as u32;
    let (others, written) = inputs.partition(|&input| graph.inputs[input as usize].mode == InputMode::Read);
    let assumed_distinct = Distinct { written, others };
    Plan {
        inputs: graph
            .inputs
            .iter()
            .map(|input| InputPort {
                name: input.name.clone(),
                dtype: input.ty.dtype,
                shape: input.ty.shape.clone(),
                mode: input.mode,
                initial: None,
                views: Vec::new(),
            })
            .collect(),
        outputs: graph
            .outputs
            .iter()
            .map(|output| OutputPort { name: output.name.clone(), access: output.access.clone() })
            .collect(),
        input_values: graph.inputs.iter().map(|input| input.buffer.0).collect(),
        finals: graph.finals.iter().map(|&(input, buffer)| (input, buffer.0)).collect(),
        weight_values,
        values,
        steps,
        arena_bytes: planned.arena_bytes,
        threads: planned.threads,
        assumed_distinct,
    }
}

/// Panics unless the plan is what it should be: accepted by the checker, lives disjoint by the quadratic definition, order
/// and figures right.
pub fn examine(planned: &Planned) {
    let plan = executable(planned);
    if let Err(findings) = check_plan(&plan, planned.weights_bytes) {
        let graph = &planned.placed.graph;
        let steps: Vec<String> = plan
            .steps
            .iter()
            .map(|step| {
                let name = |value: u32| format!("{}@{:?}", graph.buffer(value).name, plan.values[value as usize].place);
                let reads: Vec<String> = step.reads.iter().map(|read| name(read.value)).collect();
                let writes: Vec<String> = step
                    .writes
                    .iter()
                    .map(|write| format!("{} base {:?}", name(write.access.value), write.base.map(name)))
                    .collect();
                format!("{} {reads:?} -> {writes:?}", step.label)
            })
            .collect();
        panic!("{findings:#?}\n{}\n{:#?}", steps.join("\n"), planned.placed.ties);
    }
    let lives = &planned.lives;
    for (a, life) in lives.iter().enumerate() {
        assert!(life.offset + life.bytes <= planned.arena_bytes);
        for other in &lives[..a] {
            let meet_in_time = life.lower < other.upper && other.lower < life.upper;
            let meet_in_space = life.offset < other.offset + other.bytes && other.offset < life.offset + life.bytes;
            assert!(!(meet_in_time && meet_in_space), "{life:?} meets {other:?}");
        }
    }
    let steps = planned.placed.order.len();
    let live = |step: usize| -> u64 {
        lives.iter().filter(|life| (life.lower..life.upper).contains(&step)).map(|life| life.bytes).sum()
    };
    let largest = (0..steps).map(live).max().unwrap_or(0);
    assert_eq!(largest, planned.lower_bound_bytes);
    assert_eq!(largest, planned.placed.peak_bytes);
    assert!(planned.arena_bytes >= largest);
    for (place, home) in planned.places.iter().zip(&planned.placed.homes) {
        let root = planned.placed.graph.buffer(home.root.0).kind;
        let arena = matches!(root, BufferKind::Temporary);
        assert_eq!(place.space == Space::Arena, arena);
    }
}
