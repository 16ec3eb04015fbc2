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
        let mut plan = Plan {
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
        for (index, (name, mode, shape)) in inputs.iter().enumerate() {
            let bytes = shape.iter().product::<usize>() as u64 * 4;
            let place = Place { space: Space::Input(index as u32), offset: 0, bytes };
            plan.inputs.push(InputPort { name: (*name).into(), dtype: DType::F32, shape: shape.to_vec(), mode: *mode });
            plan.input_values.push(index as u32);
            plan.values.push(PlannedValue { name: format!("%{name}"), dtype: DType::F32, place });
        }
        Build { plan }
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

    /// The plan with the workspaces that its kernels ask for, all behind the buffers.
    pub fn finish(self) -> Plan {
        let mut plan = self.plan;
        let offset = plan.arena_bytes;
        for step in &mut plan.steps {
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
