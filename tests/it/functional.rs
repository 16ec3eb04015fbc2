//! The functional form: what becomes of views and writes, and that it means the same.

use situ::alias::analyze;
use situ::functional::functionalize;
use situ::ir::{print, verify};

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

pub mod generated {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    use situ::alias::analyze;
    use situ::functional::functionalize;
    use situ::ir::{print, verify};

    use crate::support::programs::{Step, inputs, program};
    use crate::support::{evaluate, interpreter};
    use crate::text::round_trip;

    fn agrees(steps: &[Step]) -> Result<(), String> {
        let graph = program(steps);
        let inputs = inputs(&graph);
        let mutated = interpreter::run(&graph, &inputs)?;
        let (pure, notes) = functionalize(&graph, &analyze(&graph)).map_err(|fault| fault.to_string())?;
        let told = || format!("{}\nbecomes\n{}", print(&graph), print(&pure));
        let wrong = verify(&pure);
        if !wrong.is_empty() {
            return Err(format!("{wrong:?}\n{}", told()));
        }
        let (outputs, finals) = evaluate::graph(&pure, &inputs)?;
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

    #[test]
    fn the_functional_form_means_what_the_program_does() {
        let steps = proptest::collection::vec(any::<Step>(), 0..24);
        let checked = runner(3000).run(&steps, |steps| agrees(&steps).map_err(TestCaseError::fail));
        if let Err(failure) = checked {
            panic!("{failure}");
        }
    }
}
