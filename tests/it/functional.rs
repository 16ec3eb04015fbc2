//! The functional form: what becomes of views and writes, and that it means the same.

use situ::alias::analyze;
use situ::functional::functionalize;
use situ::ir::{print, verify};

use proptest::prelude::*;

use crate::support::programs::Step;
use crate::text::{graph_of, round_trip};

fn functional(text: &str) -> String {
    let graph = graph_of(text);
    let (pure, _) = functionalize(&graph, &analyze(&graph)).expect("a verified graph has a functional form");
    assert_eq!(verify(&pure), []);
    round_trip(&pure);
    print(&pure)
}

#[test]
fn a_write_through_a_view_is_an_update() {
    insta::assert_snapshot!(functional(
        "\
graph update {
  inout %cache: f32[2, 4]
  input %x: f32[4]
  %row = select %cache {axis=0, index=1}
  %other = select %cache {axis=0, index=0}
  %before = relu %other
  copy_ %row, %x
  %after = add %other, %row
  %flat = view %cache {shape=[8]}
  %y = exp %flat
  return %before, %after, %y
}
"
    ));
}

#[test]
fn a_write_of_the_whole_replaces_the_version() {
    insta::assert_snapshot!(functional(
        "\
graph whole {
  input %x: f32[2, 3]
  donate %d: f32[3, 2]
  %h = add %x, 1.0
  %v = t %h
  %r = relu_ %v
  %m = mul_ %h, %h
  %e = exp_ %d
  %w = add %r, %d
  return %w, %m
}
"
    ));
}

#[test]
fn a_fresh_value_may_lie_transposed() {
    insta::assert_snapshot!(functional(
        "\
graph transposed {
  input %x: f32[2, 3]
  %t = t %x
  %h = relu %t
  %back = t %h
  %flat = view %back {shape=[6]}
  %part = slice %flat {axis=0, start=1, end=6, step=2}
  %n = neg_ %part
  return %h, %n
}
"
    ));
}

/// Generated programs, run both ways.
pub mod generated {
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    use situ::alias::analyze;
    use situ::eval::{Tensor, evaluate};
    use situ::functional::functionalize;
    use situ::ir::{Graph, print, verify};

    use crate::support::interpreter;
    use crate::support::programs::{Step, inputs, program};
    use crate::text::round_trip;

    /// Whether the functional form of a generated program means what the program does.
    pub fn agrees(steps: &[Step]) -> Result<(), String> {
        let graph = program(steps);
        let inputs = inputs(&graph);
        let mutated = interpreter::run(&graph, &inputs)?;
        let (pure, notes) = functionalize(&graph, &analyze(&graph)).map_err(|fault| fault.to_string())?;
        let told = || format!("{}\nbecomes\n{}", print(&graph), print(&pure));
        let wrong = verify(&pure);
        if !wrong.is_empty() {
            return Err(format!("{wrong:?}\n{}", told()));
        }
        // Final values are read like outputs.
        let mut observed = Graph::clone(&pure);
        for &(input, value) in &pure.finals {
            observed.add_output(format!("final{input}"), value);
        }
        let mut outputs = evaluate(&observed, &inputs)?;
        let last = outputs.split_off(graph.outputs.len());
        let finals: Vec<(u32, Tensor)> = pure.finals.iter().map(|entry| entry.0).zip(last).collect();
        for ((output, expected), found) in graph.outputs.iter().zip(&mutated.outputs).zip(&outputs) {
            if expected != found {
                return Err(format!("{} differs:\n{expected:?}\n{found:?}\n{}", output.name, told()));
            }
        }
        if finals != mutated.state {
            return Err(format!("state differs:\n{:?}\n{finals:?}\n{}", mutated.state, told()));
        }
        assert_eq!(notes.writes.len(), graph.insts.iter().filter(|inst| inst.mutates).count());
        round_trip(&graph);
        round_trip(&pure);
        Ok(())
    }

    /// The same programs on every run and machine.
    pub fn runner(cases: u32) -> TestRunner {
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
    }
}

/// Programs of views and writes: what the mutating interpreter leaves behind, bit for bit, is what the functional form
/// evaluates to.
#[test]
fn differential() {
    let steps = proptest::collection::vec(any::<Step>(), 0..24);
    let checked = generated::runner(3000).run(&steps, |steps| generated::agrees(&steps).map_err(TestCaseError::fail));
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}
