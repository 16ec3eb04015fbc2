//! Values that are computed twice: the same results within fewer bytes, and a refusal that says how few there could be.

use situ::pipeline::{Compilation, Error, Options, compile};
use situ_runtime::session::{self, Session};

use crate::support::run::{once, random_inputs};
use crate::text::graph_of;

/// A program of matrices in which some are read long after they were made.
fn program(seed: u64) -> String {
    let mut state = seed;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % bound
    };
    let mut text = String::from("graph late {\n  input %v0: f32[16, 16]\n  input %v1: f32[16, 16]\n");
    let mut values: Vec<String> = vec!["%v0".into(), "%v1".into()];
    let mut op = |text: &mut String, op: &str, operands: &[&str]| {
        let name = format!("%v{}", values.len());
        text.push_str(&format!("  {name} = {op} {}\n", operands.join(", ")));
        values.push(name.clone());
        name
    };
    // Down: each level has something that is read again on the way up.
    let mut now = String::from("%v0");
    let mut kept = Vec::new();
    for _ in 0..2 + below(5) {
        let unary = ["relu", "tanh", "neg", "exp", "sigmoid"][below(5)];
        let side = op(&mut text, unary, &[&now]);
        if below(2) == 0 {
            now = side.clone();
        }
        now = match below(3) {
            0 => op(&mut text, "matmul", &[&now, "%v1"]),
            1 => op(&mut text, "softmax", &[&now]),
            _ => op(&mut text, "matmul", &[&now, &now]),
        };
        kept.push(side);
    }
    // Up.
    for side in kept.into_iter().rev() {
        let binary = ["add", "mul", "sub"][below(3)];
        now = op(&mut text, binary, &[&now, &side]);
        if below(2) == 0 {
            now = op(&mut text, "matmul", &[&now, "%v1"]);
        }
    }
    let count = values.len();
    text.push_str(&format!("  return y=%v{}\n}}\n", count - 1));
    text
}

fn results(compilation: Compilation, inputs: &[situ::npz::Array]) -> Vec<Vec<u8>> {
    let options = session::Options { threads: Some(1), ..Default::default() };
    let mut session = Session::new(compilation.compiled, options).expect("a compiled program opens");
    once(&mut session, inputs).into_iter().map(|array| array.bytes).collect()
}

/// The kernels are the same, so the results are the same, bit for bit.
#[test]
fn what_is_computed_twice_changes_no_result() {
    let (mut fitted, mut refused) = (0, 0);
    for seed in 0..300 {
        let graph = graph_of(&program(seed));
        let plain = Options { rewrite: seed % 2 == 0, ..Options::default() };
        let free = compile(&graph, &plain).expect("it compiles");
        let arena = free.decided.planned.arena_bytes;
        let inputs = random_inputs(&graph, seed);
        let max_peak = arena - 1 - (seed % 5) * arena / 10;
        match compile(&graph, &Options { max_peak: Some(max_peak), ..plain.clone() }) {
            Ok(tight) => {
                fitted += 1;
                let savings = &tight.decided.savings;
                assert!(tight.decided.planned.arena_bytes <= max_peak, "seed {seed}");
                assert!(!savings.recomputed.is_empty(), "seed {seed}");
                assert_eq!(savings.without_rematerialisation, Some(arena), "seed {seed}");
                assert!(tight.report.contains("computed twice"), "seed {seed}");
                assert_eq!(results(tight, &inputs), results(free, &inputs), "seed {seed}");
            }
            Err(Error::Budget { arena_bytes, least_bytes, max_peak: asked }) => {
                refused += 1;
                assert_eq!((arena_bytes, asked), (arena, max_peak), "seed {seed}");
                assert!(least_bytes > max_peak && least_bytes <= arena, "seed {seed}");
                if least_bytes < arena {
                    // What is said to be possible is possible.
                    let least = compile(&graph, &Options { max_peak: Some(least_bytes), ..plain }).expect("it fits");
                    assert!(least.decided.planned.arena_bytes <= least_bytes);
                    assert_eq!(results(least, &inputs), results(free, &inputs), "seed {seed}");
                }
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert!(fitted >= 20 && refused >= 20, "{fitted} fitted, {refused} refused");
}

/// What can be reached does not depend on what was asked for.
#[test]
fn what_is_reached_under_one_budget_is_reached_under_another() {
    let mut lowered = 0;
    for seed in 0..100 {
        let graph = graph_of(&program(seed));
        let plain = Options { rewrite: seed % 2 == 0, ..Options::default() };
        let within = |max_peak| compile(&graph, &Options { max_peak: Some(max_peak), ..plain.clone() });
        let Err(Error::Budget { arena_bytes, least_bytes, .. }) = within(0) else {
            panic!("seed {seed} needs nothing")
        };
        for budget in [least_bytes, least_bytes.midpoint(arena_bytes), arena_bytes] {
            assert!(within(budget).is_ok(), "seed {seed}: {budget} between {least_bytes} and {arena_bytes}");
        }
        if let Err(error) = within(least_bytes - 1) {
            assert!(matches!(error, Error::Budget { least_bytes: least, .. } if least == least_bytes), "seed {seed}");
        }
        lowered += usize::from(least_bytes < arena_bytes);
    }
    assert!(lowered >= 10, "only {lowered} can be lowered");
}

/// What the report names as an action does what it says.
#[test]
fn actions_do_what_they_say() {
    let (mut donated, mut recomputed) = (0, 0);
    for seed in 0..120 {
        let text = program(seed);
        let graph = graph_of(&text);
        let options = Options { rewrite: seed % 2 == 0, ..Options::default() };
        let before = compile(&graph, &options).expect("it compiles");
        let arena = before.decided.planned.arena_bytes;
        for action in &before.decided.savings.actions {
            assert_eq!(action.saves_bytes, arena - action.arena_bytes);
            let after = match &action.what {
                situ::savings::What::Donate { input } => {
                    donated += 1;
                    let text = text.replace(&format!("input %{input}:"), &format!("donate %{input}:"));
                    compile(&graph_of(&text), &options)
                }
                situ::savings::What::Recompute(_) => {
                    recomputed += 1;
                    compile(&graph, &Options { max_peak: Some(action.arena_bytes), ..options.clone() })
                }
            };
            let after = after.expect("it compiles").decided.planned.arena_bytes;
            assert!(after <= action.arena_bytes, "seed {seed}: {after} > {} by {:?}", action.arena_bytes, action.what);
        }
    }
    assert!(donated >= 10 && recomputed >= 10, "{donated} donated, {recomputed} recomputed");
}
