//! Compiled branches and loops against their meaning, bit for bit: whatever is tied, planned, rewritten or threaded.

pub mod listed;
mod random;
mod spoiled;

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::test_runner::TestCaseError;

use self::listed::PROGRAMS;
use situ::eval::{Tensor, evaluate};
use situ::functional::PureGraph;
use situ::ir::Graph;
use situ::npz::Array;
use situ::pipeline::{self, Compilation, Options, compile};
use situ::plan::Owner;
use situ::rewrite::Math;
use situ_runtime::RunError;
use situ_runtime::session::{self, Argument, Session};
use situ_runtime::wire::Compiled;

use crate::functional::generated::runner;
use crate::support::controlled::{self, nodes};
use crate::support::{interpreter, programs, run};
use crate::text::graph_of;

/// What a program gives and leaves in its state, op by op.
fn meaning(graph: &Graph, inputs: &[Array]) -> Vec<Array> {
    let functional = pipeline::make_functional(graph).expect("a functional form");
    meaning_of(&functional, inputs)
}

fn meaning_of(functional: &PureGraph, inputs: &[Array]) -> Vec<Array> {
    let mut graph = Graph::clone(functional);
    for (position, &(_, value)) in functional.finals.iter().enumerate() {
        graph.add_output(format!("final{position}"), value);
    }
    let inputs: Vec<Tensor> = inputs.iter().map(|array| Tensor::new(array.ty.clone(), array.bytes.clone())).collect();
    let outputs = evaluate(&graph, &inputs).expect("the program has a meaning");
    outputs.into_iter().map(|tensor| Array { ty: tensor.ty, bytes: tensor.bytes.to_vec() }).collect()
}

/// Every way to compile a program that may not change a bit of its results.
fn variants() -> Vec<(&'static str, Options)> {
    let strict = Options { math: Math::Strict, threads: 2, ..Options::default() };
    vec![
        ("as it is", strict.clone()),
        ("not in place", Options { inplace: false, ..strict.clone() }),
        ("not planned", Options { planned: false, ..strict.clone() }),
        ("neither", Options { inplace: false, planned: false, ..strict.clone() }),
        ("three ties", Options { tie_limit: Some(3), ..strict.clone() }),
        ("not rewritten", Options { rewrite: false, ..strict }),
    ]
}

fn results(compilation: &Compilation, inputs: &[Array], threads: usize) -> Vec<Array> {
    let options = session::Options { threads: Some(threads), ..session::Options::default() };
    let mut session = Session::new(compilation.compiled.clone(), options).expect("a session");
    let first = run::once(&mut session, inputs);
    let again = run::once(&mut session, inputs);
    assert!(same(&first, &again), "a second run differs");
    first
}

fn same(a: &[Array], b: &[Array]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.ty == b.ty && a.bytes == b.bytes)
}

/// Whether results are equal, up to `bound` relative to the largest where it is not zero.
fn close(found: &[Array], expected: &[Array], bound: f64) -> bool {
    let near = |(found, expected): (&Array, &Array)| {
        found.ty == expected.ty && (found.bytes == expected.bytes || run::relative_error(found, expected) <= bound)
    };
    if bound == 0.0 {
        same(found, expected)
    } else {
        found.len() == expected.len() && found.iter().zip(expected).all(near)
    }
}

/// Holds every variant against the meaning, and variants that may not differ against each other; the compilation of the
/// first. Sums may be added up in another order than the meaning's, everything else is equal bit for bit.
fn agree(text: &str, seeds: std::ops::Range<u64>) -> Compilation {
    let graph = graph_of(text);
    let bound = if ["matmul", "sum", "cumulative"].iter().any(|op| text.contains(op)) { 1e-5 } else { 0.0 };
    let mut first = None;
    let mut known: BTreeMap<u64, Vec<Array>> = BTreeMap::new();
    for (name, options) in variants() {
        let compilation = compile(&graph, &options).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        for seed in seeds.clone() {
            let inputs = random_inputs(&graph, seed);
            let expected = meaning(&graph, &inputs);
            for threads in [1, 2] {
                let found = results(&compilation, &inputs, threads);
                let shown = |results: &[Array]| results.iter().map(Array::to_f64).collect::<Vec<_>>();
                assert!(
                    close(&found, &expected, bound),
                    "{name}, seed {seed}, {threads} threads:\n{text}\n{:?}\n{:?}",
                    shown(&found),
                    shown(&expected)
                );
                // What the rewriter does not change is computed by the same kernels.
                if options.rewrite {
                    let known = known.entry(seed).or_insert_with(|| found.clone());
                    assert!(same(&found, known), "{name}, seed {seed}, {threads} threads:\n{text}");
                }
            }
        }
        first.get_or_insert(compilation);
    }
    first.expect("there is a variant")
}

#[test]
fn programs_keep_their_meaning() {
    for (name, text) in PROGRAMS {
        println!("{name}");
        agree(text, 0..8);
    }
}

/// Random programs, as many as `SITU_PROGRAMS` says: a few in every run of the suite, a hundred thousand at night.
#[test]
fn random_programs_keep_their_meaning() {
    let count: u64 = std::env::var("SITU_PROGRAMS").map_or(400, |count| count.parse().expect("a number of programs"));
    let (mut ties, mut bodies, mut bytes) = (0, 0, 0);
    for seed in 0..count {
        let text = random::program(seed);
        let graph = graph_of(&text);
        let inputs = random_inputs(&graph, seed);
        let expected = meaning(&graph, &inputs);
        for (number, (name, options)) in variants().into_iter().enumerate() {
            // The first for every program, the others in turn.
            if number != 0 && number as u64 != 1 + seed % 5 {
                continue;
            }
            let compilation = compile(&graph, &options).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
            let found = results(&compilation, &inputs, 1 + (seed % 2) as usize);
            assert!(same(&found, &expected), "seed {seed}, {name}:\n{text}");
            if number == 0 {
                let parts = compilation.decided.bodies.iter().chain([&compilation.decided.planned]);
                let granted = parts.flat_map(|planned| &planned.placed.ties);
                ties += granted.clone().count();
                bytes += granted.map(|tie| tie.bytes).sum::<u64>();
                bodies += compilation.decided.bodies.len();
            }
        }
    }
    println!("{count} programs, {bodies} bodies, {ties} ties of {bytes} bytes");
    assert!(bodies as u64 > count && ties as u64 > count);
}

/// Programs of views, writes and control flow as they are written: compiled, they do what an interpreter does that really
/// writes shared storage. `SITU_PROGRAMS` says how many; most of the time goes into orders that are proved optimal.
#[test]
fn compiled_programs_do_what_the_interpreter_does() {
    let cases = std::env::var("SITU_PROGRAMS").ok().and_then(|count| count.parse().ok()).unwrap_or(150);
    let (bodies, number) = (Cell::new(0), Cell::new(0usize));
    let checked = runner(cases).run(&nodes(), |nodes| {
        let graph = controlled::program(&nodes);
        let inputs = programs::inputs(&graph);
        let expected = interpreter::run(&graph, &inputs).map_err(TestCaseError::fail)?;
        let state = expected.state.into_iter().map(|(_, tensor)| tensor);
        let array = |tensor: Tensor| Array { ty: tensor.ty, bytes: tensor.bytes.to_vec() };
        let expected: Vec<Array> = expected.outputs.into_iter().chain(state).map(array).collect();
        let inputs: Vec<Array> = inputs.into_iter().map(array).collect();
        number.set(number.get() + 1);
        let mut all = variants();
        let (name, options) = all.swap_remove(if number.get() % 2 == 0 { 0 } else { number.get() / 2 % 6 });
        let told = |why: String| TestCaseError::fail(format!("{name}: {why}\n{}", situ::ir::print(&graph)));
        let compilation = compile(&graph, &options).map_err(|error| told(error.to_string()))?;
        bodies.set(bodies.get() + compilation.decided.bodies.len());
        let found = results(&compilation, &inputs, 1 + number.get() % 2);
        if same(&found, &expected) { Ok(()) } else { Err(told("the results differ".into())) }
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    println!("{} programs, {} bodies", number.get(), bodies.get());
    assert!(bodies.get() > number.get() / 4);
}

/// Seeded inputs; a number of iterations is between -1 and 6.
pub fn random_inputs(graph: &Graph, seed: u64) -> Vec<Array> {
    let mut inputs = run::random_inputs(graph, seed);
    for (input, array) in graph.inputs.iter().zip(&mut inputs) {
        if input.name == "n" {
            array.bytes = ((seed % 8) as i64 - 1).to_le_bytes().to_vec();
        }
    }
    inputs
}

/// What the compiled program has beside its results: ties that are expected where the program lets them be.
#[test]
fn carries_are_in_place() {
    let program = |wanted: &str| PROGRAMS.iter().find(|(name, _)| *name == wanted).expect("a program of this name").1;
    let compiled = |name: &str| compile(&graph_of(program(name)), &Options::default()).expect("it compiles");
    // State that a loop carries, through a loop in it: nothing is copied, in neither.
    let nested = compiled("state in two loops");
    for part in nested.decided.bodies.iter().chain([&nested.decided.planned]) {
        let names: Vec<&str> = part.placed.graph.nodes.iter().map(|node| node.kernel.name()).collect();
        assert!(!names.contains(&"copy"), "{names:?}\n{}", nested.report);
    }
    // A swap costs one value put aside, in the body.
    let swap = compiled("swap");
    let body = &swap.decided.bodies[0];
    assert_eq!(body.placed.graph.nodes.iter().filter(|node| node.kernel.name() == "copy").count(), 3);
    let values = body.lives.iter().filter(|life| matches!(life.owner, Owner::Root(_)));
    assert_eq!(values.map(|life| life.bytes).sum::<u64>(), 64, "one value of 48 bytes");
    // A branch that leaves its argument, which is state, writes nothing at all.
    let branch = compiled("a branch leaves its argument");
    let steps: Vec<usize> = branch.decided.bodies.iter().map(|body| body.placed.order.len()).collect();
    assert_eq!((steps, branch.decided.planned.placed.order.len()), (vec![1, 0], 1), "{}", branch.report);
    // A cache is updated where it is, at a place that is known when the program runs.
    let cache = compiled("a cache at a place");
    for part in cache.decided.bodies.iter().chain([&cache.decided.planned]) {
        assert!(part.placed.graph.nodes.iter().all(|node| node.kernel.name() != "copy"), "{}", cache.report);
    }
    // The report names what is in a body, and explains it.
    let decisions = nested.decided.decisions();
    let json = situ::report::json(&decisions);
    let ties = json["ties"].as_array().expect("a list");
    assert!(ties.iter().any(|tie| tie["body"] == "loop %a / loop %b"), "{json}");
    assert!(nested.report.contains("loop %a / loop %b / %r'"), "{}", nested.report);
    let told = nested.explain(&graph_of(program("state in two loops")), "u").expect("a value of a body");
    assert!(told.contains("In loop %a / loop %b:"), "{told}");
    let printed = pipeline::print_after(&graph_of(program("swap")), "rewrite", &Options::default());
    assert!(printed.expect("a stage").expect("it is rewritten").contains("loop %n"));
}

/// A place outside the cache is an error before any of it is written.
#[test]
fn a_place_outside_is_refused_before_a_write() {
    let text = "\
graph g {
  inout %cache: f32[4, 2]
  input %x: f32[1, 2]
  input %at: i64[]
  dynamic_update_ %cache, %x, %at {axes=[0]}
  return
}
";
    let graph = graph_of(text);
    let compilation = compile(&graph, &Options::default()).expect("it compiles");
    let steps: Vec<&str> = compilation.compiled.executable.plans[0].steps.iter().map(|s| s.kernel.name()).collect();
    assert_eq!(steps, ["dynamic_update"]);
    let mut session = Session::new(compilation.compiled, session::Options::default()).expect("a session");
    let mut cache: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let x = [10.0f32, 20.0];
    for (at, expected) in [(3i64, None), (4, Some(4)), (-1, Some(-1)), (0, None), (i64::MAX, Some(i64::MAX))] {
        let (before, place) = (cache.clone(), [at]);
        let mut arguments = [Argument::inout(&mut cache), Argument::read(&x), Argument::read(&place)];
        let found = session.run(&mut arguments).map(drop);
        match expected {
            None => {
                assert_eq!(found, Ok(()));
                let mut after = before;
                after[2 * at as usize..][..2].copy_from_slice(&x);
                assert_eq!(cache, after);
            }
            Some(wrong) => {
                assert!(
                    matches!(found, Err(RunError::IndexOutOfRange { index, extent: 4, .. }) if index == wrong),
                    "{found:?}"
                );
                assert_eq!(cache, before);
                assert!(!session.is_poisoned());
            }
        }
    }
}

/// Spoils of compiled plans with bodies: each must be refused, or leave the program's results as they are.
#[test]
fn spoiled_bodies_are_refused_or_harmless() {
    let (mut refused, mut harmless) = (0, 0);
    for (name, text) in PROGRAMS {
        let graph = graph_of(text);
        let compilation = compile(&graph, &Options { math: Math::Strict, ..Options::default() }).expect("it compiles");
        let inputs = random_inputs(&graph, 3);
        let expected = results(&compilation, &inputs, 1);
        for (what, executable) in spoiled::all(&compilation.compiled.executable) {
            let Ok(compiled) = Compiled::new(executable, compilation.compiled.weights.clone()) else {
                refused += 1;
                continue;
            };
            let options = session::Options { threads: Some(1), ..session::Options::default() };
            match Session::new(compiled, options) {
                Err(_) => refused += 1,
                Ok(mut session) => {
                    harmless += 1;
                    let found = run::once(&mut session, &inputs);
                    assert!(same(&found, &expected), "{name}: {what} is accepted and changes the result");
                }
            }
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 1000 && harmless < refused / 4, "{refused} refused, {harmless} harmless");
}
