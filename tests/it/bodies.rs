//! Compiled branches and loops against their meaning, bit for bit: whatever is tied, planned, rewritten or threaded.

mod programs;
mod random;

use std::collections::BTreeMap;

use self::programs::PROGRAMS;
use situ::eval::{Tensor, evaluate};
use situ::functional::PureGraph;
use situ::ir::Graph;
use situ::npz::Array;
use situ::pipeline::{self, Compilation, Options, compile};
use situ::rewrite::Math;
use situ_runtime::session::{self, Session};

use crate::support::run;
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

/// Seeded inputs; a number of iterations is between -1 and 6.
fn random_inputs(graph: &Graph, seed: u64) -> Vec<Array> {
    let mut inputs = run::random_inputs(graph, seed);
    for (input, array) in graph.inputs.iter().zip(&mut inputs) {
        if input.name == "n" {
            array.bytes = ((seed % 8) as i64 - 1).to_le_bytes().to_vec();
        }
    }
    inputs
}
