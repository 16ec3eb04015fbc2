//! Running allocates nothing, and opening a session what the report says: an allocator that counts, for each thread, what
//! that thread asks for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use situ::pipeline::{Options, compile};
use situ_runtime::session::{self, Argument, Session};
use situ_runtime::tensor::{Tensor, TensorMut, TensorRef};
use situ_runtime::types::InputMode;

use crate::bodies::{self, listed::PROGRAMS};
use crate::examples;
use crate::text::graph_of;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// Bytes asked for and not given back.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn hold(bytes: isize) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counters are plain cells of the thread,
// which need no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        hold(layout.size() as isize);
        // SAFETY: the caller's duties are those of `System::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: the pointer came from `System::alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        hold(size as isize - layout.size() as isize);
        // SAFETY: the pointer came from `System::alloc` with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn the_allocator_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))) > 0);
}

/// With one thread the second run of every example, branches and loops included, allocates nothing, and so does the first.
#[test]
fn running_allocates_nothing() {
    let written = examples::programs().into_iter().map(|path| (path.display().to_string(), examples::graph(&path)));
    let controlled = PROGRAMS.iter().map(|&(name, text)| (name.to_string(), graph_of(text)));
    for (name, graph) in written.chain(controlled) {
        let compilation = compile(&graph, &Options::default()).expect("an example compiles");
        let options = session::Options { threads: Some(1), ..Default::default() };
        let mut session = Session::new(compilation.compiled, options).expect("a compiled program opens");
        for seed in [1, 2] {
            let inputs = bodies::random_inputs(&graph, seed + 4);
            let mut held: Vec<Tensor> = inputs
                .iter()
                .map(|array| Tensor::from_bytes(array.ty.dtype, &array.ty.shape, &array.bytes).expect("an input"))
                .collect();
            let modes: Vec<InputMode> = session.inputs().iter().map(|port| port.mode).collect();
            let mut arguments: Vec<Argument> = held
                .iter_mut()
                .zip(modes)
                .map(|(tensor, mode)| match mode {
                    InputMode::Read => Argument::Read(TensorRef::from(&*tensor)),
                    InputMode::Donate => Argument::Donate(std::mem::take(tensor)),
                    InputMode::InOut | InputMode::Out => Argument::InOut(TensorMut::from(tensor)),
                })
                .collect();
            let counted = allocations(|| {
                session.run(&mut arguments).expect("an example runs");
            });
            assert_eq!(counted, 0, "{name} allocates while running");
        }
    }
}

/// Bytes of bookkeeping for each step, value and port that a session may hold beside its arena, and for itself.
const BOOKKEEPING: usize = 3072;

/// What a session holds is the arena that the report states, and a list entry for each thing it names. With the test above:
/// this is all that a run needs beyond the weights and what the caller brings.
#[test]
fn a_session_holds_what_the_report_says() {
    let mut large = 0;
    for path in examples::programs() {
        let compilation = compile(&examples::graph(&path), &Options::default()).expect("an example compiles");
        let arena = compilation.decided.planned.arena_bytes as usize;
        let executable = &compilation.compiled.executable;
        let plans = executable.plans.iter().chain(&executable.bodies);
        let things: usize = plans.map(|plan| plan.steps.len() + plan.values.len() + plan.inputs.len()).sum();
        let before = HELD.with(Cell::get);
        let options = session::Options { threads: Some(1), ..Default::default() };
        let session = Session::new(compilation.compiled, options).expect("a compiled program opens");
        let held = usize::try_from(HELD.with(Cell::get) - before).expect("a session holds something");
        assert!(held >= arena, "{} holds {held} bytes, less than its arena of {arena}", path.display());
        let beside = held - arena;
        assert!(beside <= BOOKKEEPING * (things + 1), "{} holds {beside} bytes beside its arena", path.display());
        large += usize::from(arena > 4 * beside);
        drop(session);
    }
    assert!(large >= 10, "only {large} examples have an arena worth measuring");
}
