//! Running allocates nothing: a counting allocator watches a session run.
//!
//! The count is that of the calling thread, so that tests which run beside this one do not disturb it. With one thread
//! the caller does all the work, and its count must not move.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use situ_runtime::executable::{
    Access, Executable, InputPort, OutputPort, Place, Plan, PlannedValue, Space, Step, Write,
};
use situ_runtime::kernel::prepared::workspace_bytes;
use situ_runtime::kernel::{Kernel, ReduceFn, RowFn};
use situ_runtime::map::Weights;
use situ_runtime::point::{PointFn, PointInstr, Program};
use situ_runtime::types::{self, DType, InputMode};
use situ_runtime::{Argument, Compiled, Options, Session, Tensor};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count() {
    // A thread that is ending has no counter any more, and nobody who would ask it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates on this thread.
pub fn allocations<R>(work: impl FnOnce() -> R) -> (usize, R) {
    let before = ALLOCATIONS.with(Cell::get);
    let result = work();
    (ALLOCATIONS.with(Cell::get) - before, result)
}

fn access(value: u32, shape: &[usize]) -> Access {
    Access { value, dtype: DType::F32, layout: types::Layout::dense(shape) }
}

fn point(function: PointFn) -> Program {
    let arity = function.row().arity;
    let code = vec![PointInstr { function, args: [0, (arity > 1).into(), 0] }];
    Program { inputs: vec![DType::F32; arity], code, outputs: vec![arity as u16] }
}

/// `y = softmax(x @ d)`, `d` donated; `s = s + sum(y)`, in place: one step of each of several families of kernels.
fn program() -> Compiled {
    const N: usize = 40;
    let square: &[usize] = &[N, N];
    let identity = || Program::identity(DType::F32);
    let mut plan = Plan {
        inputs: Vec::new(),
        outputs: vec![OutputPort { name: "y".into(), access: access(4, square) }],
        input_values: vec![0, 1, 2],
        finals: vec![(2, 6)],
        weight_values: Vec::new(),
        values: Vec::new(),
        steps: Vec::new(),
        arena_bytes: 0,
        threads: 1,
        assumed_distinct: vec![(2, 0), (2, 1)],
    };
    let ports = [("x", InputMode::Read, square), ("d", InputMode::Donate, square), ("s", InputMode::InOut, &[1, 1])];
    for (name, mode, shape) in ports {
        plan.inputs.push(InputPort { name: name.into(), dtype: DType::F32, shape: shape.to_vec(), mode });
    }
    let mut value = |space, bytes: usize| {
        let mut offset = 0;
        if space == Space::Arena {
            offset = plan.arena_bytes;
            plan.arena_bytes += bytes.next_multiple_of(64) as u64;
        }
        let place = Place { space, offset, bytes: bytes as u64 };
        plan.values.push(PlannedValue { name: format!("%{}", plan.values.len()), dtype: DType::F32, place });
    };
    let bytes = N * N * 4;
    for (input, bytes) in [(0, bytes), (1, bytes), (2, 4)] {
        value(Space::Input(input), bytes);
    }
    for bytes in [bytes, bytes, 4] {
        value(Space::Arena, bytes);
    }
    value(Space::Input(2), 4);
    let matmul = Kernel::MatMul { dtype: DType::F32, packed: false, epilogue: point(PointFn::Relu) };
    let softmax = Kernel::Row { function: RowFn::Softmax, prologue: identity(), epilogue: identity() };
    let sum = Kernel::Reduce { function: ReduceFn::Sum, axes: vec![0, 1], prologue: identity(), epilogue: identity() };
    let one: &[usize] = &[1, 1];
    for (kernel, reads, write) in [
        (matmul, vec![access(0, square), access(1, square)], access(3, square)),
        (softmax, vec![access(3, square)], access(4, square)),
        (sum, vec![access(4, square)], access(5, one)),
        (Kernel::Map { program: point(PointFn::Add) }, vec![access(2, one), access(5, one)], access(6, one)),
    ] {
        let writes = vec![Write { access: write, base: None }];
        let bytes = workspace_bytes(&kernel, &reads, &writes, 1).unwrap() as u64;
        let workspace = (bytes > 0).then_some(Place { space: Space::Arena, offset: plan.arena_bytes, bytes });
        plan.arena_bytes += bytes.next_multiple_of(64);
        plan.steps.push(Step { label: kernel.name().into(), kernel, reads, writes, workspace });
    }
    let executable = Executable {
        name: "program".into(),
        plans: vec![plan],
        fallback: None,
        weights_bytes: 0,
        report: String::new(),
    };
    Compiled::new(executable, Weights::none()).unwrap()
}

#[test]
fn a_run_allocates_nothing() {
    let mut session = Session::new(program(), Options { threads: Some(1), ..Options::default() }).unwrap();
    let x = vec![0.01f32; 1600];
    let mut state = [0f32];
    for round in 1..4 {
        let donated = Tensor::copied(&[40, 40], &x).unwrap();
        let mut arguments = [Argument::read(&x), Argument::Donate(donated), Argument::inout(&mut state)];
        let (count, rows) = allocations(|| {
            let outputs = session.run(&mut arguments).unwrap();
            outputs.slice::<f32>(0).unwrap().iter().sum::<f32>()
        });
        assert_eq!(count, 0, "round {round}");
        assert!((rows - 40.0).abs() < 1e-3, "{rows}");
        assert!((state[0] - 40.0 * round as f32).abs() < 1e-2, "{state:?}");
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| std::hint::black_box(vec![1u8; 100])).0, 1);
    assert_eq!(allocations(|| std::hint::black_box([1u8; 100])).0, 0);
}
