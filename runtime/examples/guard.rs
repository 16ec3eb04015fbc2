//! What it costs to compare the inputs before a run: nanoseconds for 2 to 256 inputs, all of them written, so that every
//! pair is assumed distinct.
//!
//! ```text
//! cargo run --release -p situ_runtime --example guard
//! ```

use std::hint::black_box;
use std::time::Instant;

use situ_runtime::executable::{Distinct, Executable, Fallback, InputPort, Place, Plan, PlannedValue, Space};
use situ_runtime::map::Weights;
use situ_runtime::raw::{AliasPolicy, RawInput, RawSession, Route};
use situ_runtime::session::Options;
use situ_runtime::types::{DType, InputMode};
use situ_runtime::wire::Compiled;

const ELEMENTS: usize = 16;

/// A program that updates nothing, and assumes that all of its inputs are distinct.
fn program(inputs: u32) -> Compiled {
    let place = |input| Place { space: Space::Input(input), offset: 0, bytes: 4 * ELEMENTS as u64 };
    let port = |input| InputPort {
        name: format!("x{input}"),
        dtype: DType::F32,
        shape: vec![ELEMENTS],
        mode: InputMode::InOut,
        initial: None,
        views: Vec::new(),
    };
    let value = |input| PlannedValue { name: format!("%x{input}"), dtype: DType::F32, place: place(input) };
    let plan = Plan {
        inputs: (0..inputs).map(port).collect(),
        outputs: Vec::new(),
        input_values: (0..inputs).collect(),
        finals: (0..inputs).map(|input| (input, input)).collect(),
        weight_values: Vec::new(),
        values: (0..inputs).map(value).collect(),
        steps: Vec::new(),
        arena_bytes: 0,
        threads: 1,
        assumed_distinct: Distinct { written: (0..inputs).collect(), others: Vec::new() },
    };
    let executable = Executable {
        name: "guarded".into(),
        plans: vec![plan],
        fallbacks: vec![Fallback::Missing("made to be measured".into())],
        bodies: Vec::new(),
        bindings: vec![Vec::new()],
        weights_bytes: 0,
        report: String::new(),
        report_text: String::new(),
    };
    Compiled::new(executable, Weights::none()).expect("the plan is well formed")
}

/// Nanoseconds of one comparison, the least of several rounds.
fn nanoseconds(session: &mut RawSession, callers: &[Vec<RawInput>]) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        let runs = 2_000;
        for run in 0..runs {
            let route = session.route(black_box(&callers[run % callers.len()]));
            assert_eq!(black_box(route), Ok(Route::Planned));
        }
        least = least.min(start.elapsed().as_nanos() as f64 / runs as f64);
    }
    least
}

fn main() {
    println!("inputs   same buffers again       other buffers each time");
    for count in [2usize, 16, 64, 256] {
        let mut session = RawSession::new(program(count as u32), Options::default(), AliasPolicy::Fallback)
            .expect("the checker accepts it");
        let mut memory = vec![0f32; count * ELEMENTS];
        let base = memory.as_mut_ptr();
        // In orders that no two runs share: 7 and 11 have no factor in common with the counts.
        let caller = |stride: usize, shift: usize| -> Vec<RawInput> {
            let at = |input: usize| (input * stride + shift) % count * ELEMENTS;
            let pointer = |input| base.wrapping_add(at(input)).cast();
            (0..count)
                .map(|input| RawInput { dtype: DType::F32, pointer: pointer(input), bytes: 4 * ELEMENTS })
                .collect()
        };
        let again = nanoseconds(&mut session, &[caller(7, 0)]);
        let other = nanoseconds(&mut session, &[caller(7, 0), caller(11, 3), caller(1, 5), caller(7, 9)]);
        println!(
            "{count:6}   {again:8.0} ns {:6.1} each   {other:8.0} ns {:6.1} each",
            again / count as f64,
            other / count as f64
        );
    }
}
