//! Compiled branches and loops against their meaning, bit for bit: whatever is tied, planned, rewritten or threaded.

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

/// Holds every variant against the meaning; the compilation of the first.
fn agree(text: &str, seeds: std::ops::Range<u64>) -> Compilation {
    let graph = graph_of(text);
    let mut first = None;
    for (name, options) in variants() {
        let compilation = compile(&graph, &options).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        for seed in seeds.clone() {
            let mut inputs = run::random_inputs(&graph, seed);
            // Numbers of iterations between -1 and 6.
            for (input, array) in graph.inputs.iter().zip(&mut inputs) {
                if input.name == "n" {
                    array.bytes = ((seed % 8) as i64 - 1).to_le_bytes().to_vec();
                }
            }
            let expected = meaning(&graph, &inputs);
            for threads in [1, 2] {
                let found = results(&compilation, &inputs, threads);
                assert!(
                    same(&found, &expected),
                    "{name}, seed {seed}, {threads} threads:\n{text}\n{:?}\n{:?}",
                    found.iter().map(Array::to_f64).collect::<Vec<_>>(),
                    expected.iter().map(Array::to_f64).collect::<Vec<_>>()
                );
            }
        }
        first.get_or_insert(compilation);
    }
    first.expect("there is a variant")
}

/// Programs by name: each shows one thing that can go wrong.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "swap",
        "graph swap {
          input %n: i64[]
          input %c: bool[]
          input %x: f32[3, 4]
          input %y: f32[3, 4]
          %a, %b = loop %n, %c (%i, %p = %x, %q = %y) {
            %go = lt %i, 4
            yield %go, %q, %p
          }
          return %a, %b
        }",
    ),
    (
        "shift",
        "graph shift {
          input %n: i64[]
          inout %x: f32[5]
          inout %y: f32[5]
          inout %z: f32[5]
          %a, %b, %d = loop %n, true (%i, %p = %x, %q = %y, %r = %z) {
            %s = add %p, %r
            yield true, %q, %r, %s
          }
          final %x = %a
          final %y = %b
          final %z = %d
          return %a
        }",
    ),
];

#[test]
fn programs_keep_their_meaning() {
    for (name, text) in PROGRAMS {
        println!("{name}");
        agree(text, 0..8);
    }
}
