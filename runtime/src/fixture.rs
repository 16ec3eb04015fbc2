//! Plans made by hand, for unit tests.

use crate::executable::*;
use crate::kernel::Kernel;
use crate::kernel::prepared::workspace_bytes;
use crate::point::{PointFn, PointInstr, Program};
use crate::types::{DType, InputMode, Layout};

/// Builds a plan of `f32` values; steps are pushed in order.
pub struct Build {
    pub plan: Plan,
}

impl Build {
    pub fn new(inputs: &[(&str, InputMode, &[usize])]) -> Build {
        let plan = Plan {
            inputs: Vec::new(),
            outputs: Vec::new(),
            input_values: Vec::new(),
            finals: Vec::new(),
            weight_values: Vec::new(),
            values: Vec::new(),
            steps: Vec::new(),
            arena_bytes: 0,
            threads: 2,
            assumed_distinct: Distinct::default(),
        };
        let mut build = Build { plan };
        for (name, mode, shape) in inputs {
            build.input(name, DType::F32, *mode, shape);
        }
        build
    }

    /// Another input; the value that holds it at first.
    pub fn input(&mut self, name: &str, dtype: DType, mode: InputMode, shape: &[usize]) -> u32 {
        let plan = &mut self.plan;
        let index = plan.inputs.len() as u32;
        let bytes = (shape.iter().product::<usize>() * dtype.size()) as u64;
        let place = Place { space: Space::Input(index), offset: 0, bytes };
        plan.inputs.push(InputPort {
            name: name.into(),
            dtype,
            shape: shape.to_vec(),
            mode,
            initial: None,
            views: Vec::new(),
        });
        plan.input_values.push(plan.values.len() as u32);
        plan.values.push(PlannedValue { name: format!("%{name}"), dtype, place });
        plan.values.len() as u32 - 1
    }

    /// A value in the place of another.
    pub fn over(&mut self, value: u32) -> u32 {
        let other =
            PlannedValue { name: format!("%{}", self.plan.values.len()), ..self.plan.values[value as usize].clone() };
        self.plan.values.push(other);
        self.plan.values.len() as u32 - 1
    }

    /// All of an input's value, or of another one in its place.
    pub fn port(&self, value: u32) -> Access {
        let it = &self.plan.values[value as usize];
        let Space::Input(input) = it.place.space else { panic!("{} is in no port", it.name) };
        let shape = &self.plan.inputs[input as usize].shape;
        Access { value, dtype: it.dtype, layout: Layout::dense(shape) }
    }

    pub fn value(&mut self, space: Space, offset: u64, elements: u64) -> u32 {
        let name = format!("%{}", self.plan.values.len());
        let place = Place { space, offset, bytes: elements * 4 };
        if space == Space::Arena {
            self.plan.arena_bytes = self.plan.arena_bytes.max((offset + elements * 4).next_multiple_of(ALIGNMENT));
        }
        self.plan.values.push(PlannedValue { name, dtype: DType::F32, place });
        self.plan.values.len() as u32 - 1
    }

    pub fn arena(&mut self, offset: u64, elements: u64) -> u32 {
        self.value(Space::Arena, offset, elements)
    }

    pub fn step(&mut self, kernel: Kernel, reads: Vec<Access>, writes: Vec<Write>) -> &mut Step {
        let label = format!("s{}", self.plan.steps.len());
        self.plan.steps.push(Step { kernel, reads, writes, workspace: None, label });
        self.plan.steps.last_mut().unwrap()
    }

    /// A step that applies `function` to whole vectors of `elements`.
    pub fn map(&mut self, function: PointFn, reads: &[u32], result: u32, elements: usize) -> &mut Step {
        let reads = reads.iter().map(|&value| vector(value, elements)).collect();
        self.step(map(function), reads, vec![whole(vector(result, elements))])
    }

    pub fn output(&mut self, access: Access) {
        let name = format!("out{}", self.plan.outputs.len());
        self.plan.outputs.push(OutputPort { name, access });
    }

    /// The plan with the workspaces that its kernels ask for, all behind the buffers; a step that runs bodies keeps its.
    pub fn finish(self) -> Plan {
        let mut plan = self.plan;
        let offset = plan.arena_bytes;
        for step in plan.steps.iter_mut().filter(|step| step.kernel.bodies().next().is_none()) {
            let bytes = workspace_bytes(&step.kernel, &step.reads, &step.writes, plan.threads as usize).unwrap() as u64;
            step.workspace = (bytes > 0).then_some(Place { space: Space::Arena, offset, bytes });
            plan.arena_bytes = plan.arena_bytes.max((offset + bytes).next_multiple_of(ALIGNMENT));
        }
        plan
    }

    pub fn executable(self) -> Executable {
        Executable {
            name: "fixture".into(),
            plans: vec![self.finish()],
            fallbacks: vec![Fallback::Missing("made by hand".into())],
            bodies: Vec::new(),
            bindings: vec![Vec::new()],
            weights_bytes: 0,
            report: String::new(),
            report_text: String::new(),
        }
    }
}

pub fn map(function: PointFn) -> Kernel {
    let arity = function.row().arity;
    let args = std::array::from_fn(|i| if i < arity { i as u16 } else { 0 });
    let code = vec![PointInstr { function, args }];
    Kernel::Map { program: Program { inputs: vec![DType::F32; arity], code, outputs: vec![arity as u16] } }
}

/// `%value < bound` for one integer, as a `bool`.
pub fn below(bound: i64) -> Kernel {
    let code = vec![
        PointInstr { function: PointFn::Const(bound as u64, DType::I64), args: [0; 3] },
        PointInstr { function: PointFn::Lt, args: [0, 1, 0] },
    ];
    Kernel::Map { program: Program { inputs: vec![DType::I64], code, outputs: vec![2] } }
}

pub fn vector(value: u32, elements: usize) -> Access {
    access(value, Layout::dense(&[elements]))
}

pub fn access(value: u32, layout: Layout) -> Access {
    Access { value, dtype: DType::F32, layout }
}

pub fn whole(access: Access) -> Write {
    Write { access, base: None }
}

/// Inputs `x` (read), `d` (donate) and `s` (inout) of four elements:
/// `t = x + d` over `d`; `out0 = t * s`; `s = s + t` in its own bytes.
pub fn update() -> Executable {
    let shape: &[usize] = &[4];
    let mut build =
        Build::new(&[("x", InputMode::Read, shape), ("d", InputMode::Donate, shape), ("s", InputMode::InOut, shape)]);
    let t = build.value(Space::Input(1), 0, 4);
    build.map(PointFn::Add, &[0, 1], t, 4);
    let product = build.arena(64, 4);
    build.map(PointFn::Mul, &[t, 2], product, 4);
    let s = build.value(Space::Input(2), 0, 4);
    build.map(PointFn::Add, &[2, t], s, 4);
    build.output(vector(product, 4));
    build.plan.finals = vec![(2, s)];
    build.plan.assumed_distinct = Distinct { written: vec![1, 2], others: vec![0] };
    build.executable()
}
