//! The functional form: what becomes of views and writes, and that it means the same.

use situ::alias::analyze;
use situ::eval::{Tensor, evaluate};
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
    use situ::npz::Array;
    use situ::pipeline::{Options, compile};
    use situ::rewrite::Math;
    use situ_runtime::session::Session;

    use crate::support::programs::{Step, inputs, program};
    use crate::support::{interpreter, run};
    use crate::text::round_trip;

    /// Whether the functional form of a generated program means what the program does.
    pub fn agrees(steps: &[Step]) -> Result<(), String> {
        agrees_on(&program(steps))
    }

    /// Whether the functional form of `graph` means what the graph does.
    pub fn agrees_on(graph: &Graph) -> Result<(), String> {
        let inputs = inputs(graph);
        let mutated = interpreter::run(graph, &inputs).map_err(|why| format!("{why}\n{}", print(graph)))?;
        let (pure, notes) =
            functionalize(graph, &analyze(graph)).map_err(|stop| format!("{stop}\n{}", print(graph)))?;
        let told = || format!("{}\nbecomes\n{}", print(graph), print(&pure));
        let wrong = verify(&pure);
        if !wrong.is_empty() {
            return Err(format!("{wrong:?}\n{}", told()));
        }
        // Final values are read like outputs.
        let mut observed = Graph::clone(&pure);
        for &(input, value) in &pure.finals {
            observed.add_output(format!("final{input}"), value);
        }
        let mut outputs = evaluate(&observed, &inputs).map_err(|why| format!("{why}\n{}", told()))?;
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
        let written = graph.all_insts().iter().filter(|&&id| graph.inst(id).mutates).count();
        if notes.writes.len() != written {
            return Err(format!("{} of {written} writes are noted\n{}", notes.writes.len(), told()));
        }
        round_trip(graph);
        round_trip(&pure);
        Ok(())
    }

    /// Whether a generated program, compiled and run, leaves what it leaves when it is interpreted.
    pub fn compiles(steps: &[Step], threads: usize) -> Result<(), String> {
        let graph = program(steps);
        runs(&graph, &inputs(&graph), threads)
    }

    /// Whether a compiled program leaves what it leaves when it is interpreted.
    pub fn runs(graph: &Graph, inputs: &[Tensor], threads: usize) -> Result<(), String> {
        let mutated = interpreter::run(graph, inputs)?;
        let options = Options { math: Math::Strict, threads, ..Options::default() };
        let compilation = compile(graph, &options).map_err(|error| format!("{error}\n{}", print(graph)))?;
        let told = || format!("{}\n{}", print(graph), compilation.report);
        let mut session = Session::new(compilation.compiled.clone(), Default::default()).map_err(|e| e.to_string())?;
        let arrays: Vec<Array> =
            inputs.iter().map(|input| Array { ty: input.ty.clone(), bytes: input.bytes.to_vec() }).collect();
        let found = run::once(&mut session, &arrays);
        let expected = mutated.outputs.iter().chain(mutated.state.iter().map(|(_, tensor)| tensor));
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            if found.bytes[..] != expected.bytes[..] || found.ty != expected.ty {
                return Err(format!("result {at} differs:\n{:?}\n{:?}\n{}", found.bytes, expected, told()));
            }
        }
        Ok(())
    }

    /// So many cases, or as the environment says (`SITU_PROGRAMS`), for long runs.
    pub fn cases(few: u32) -> u32 {
        std::env::var("SITU_PROGRAMS").ok().and_then(|count| count.parse().ok()).unwrap_or(few)
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
    let cases = generated::cases(3000);
    let checked = generated::runner(cases).run(&steps, |steps| generated::agrees(&steps).map_err(TestCaseError::fail));
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}

/// States that are read when others, or they themselves, are replaced.
#[test]
fn states_change_places() {
    let text = "\
graph places {
  inout %x: f32[2, 2]
  inout %y: f32[2, 2]
  inout %z: f32[2, 2]
  %old = clone %x
  copy_ %x, %y
  copy_ %y, %old
  %t = t %z
  %k = clone %t
  copy_ %z, %k
  return %x
}
";
    let graph = graph_of(text);
    let tensor = |from: f32| Tensor::from_f32(&[2, 2], &[from, from + 1.0, from + 2.0, from + 3.0]);
    generated::runs(&graph, &[tensor(1.0), tensor(5.0), tensor(9.0)], 1).expect("it runs as it is interpreted");
}

/// The same programs through the whole compiler, under `--math strict`, bit for bit.
#[test]
fn compiled_programs_do_what_the_source_does() {
    let steps = proptest::collection::vec(any::<Step>(), 0..24);
    let cases = generated::cases(400);
    let checked =
        generated::runner(cases).run(&steps, |steps| generated::compiles(&steps, 1).map_err(TestCaseError::fail));
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}

/// Programs that compilers have got wrong, each with the numbers that eager PyTorch gives (operands that overlap the
/// destination cloned first, where PyTorch refuses). `%x` is `[[1, 2], [3, 4]]`, `%v` is `[1, 2, 3, 4]`.
#[test]
fn museum() {
    let museum: &[(&str, &str, &[f64])] = &[
        (
            "a row is added to the matrix that holds it",
            "%r = select %x {axis=0, index=0}\n add_ %x, %r\n return %x",
            &[2.0, 4.0, 4.0, 6.0],
        ),
        ("a matrix is added to its transpose", "%t = t %x\n add_ %x, %t\n return %x", &[2.0, 5.0, 5.0, 8.0]),
        (
            "neighbours are added one way",
            "%a = slice %v {axis=0, start=1}\n %b = slice %v {axis=0, end=-1}\n add_ %a, %b\n return %v",
            &[1.0, 3.0, 5.0, 7.0],
        ),
        (
            "two halves are swapped",
            "%a = slice %v {axis=0, end=2}\n %b = slice %v {axis=0, start=2}\n %k = clone %a\n copy_ %a, %b\n copy_ %b, %k\n return %v",
            &[3.0, 4.0, 1.0, 2.0],
        ),
        (
            "write, read, write",
            "%a = slice %v {axis=0, end=2}\n add_ %a, 10.0\n %s = sum %v\n mul_ %a, 0.0\n %r = add %v, %s\n return %r",
            &[30.0, 30.0, 33.0, 34.0],
        ),
        (
            "a view read after its base is written",
            "%f = view %x {shape=[4]}\n %before = neg %f\n add_ %x, 1.0\n %r = add %f, %before\n return %r",
            &[1.0, 1.0, 1.0, 1.0],
        ),
        (
            "reshape of a transposed matrix copies",
            "%t = t %x\n %c = reshape %t {shape=[4]}\n add_ %x, 1.0\n return %c",
            &[1.0, 3.0, 2.0, 4.0],
        ),
        (
            "reshape of a dense matrix is a view",
            "%c = reshape %x {shape=[4]}\n add_ %x, 1.0\n return %c",
            &[2.0, 3.0, 4.0, 5.0],
        ),
        ("what was written is what is returned", "%y = relu_ %v\n mul_ %v, 2.0\n return %y", &[2.0, 4.0, 6.0, 8.0]),
        (
            "two unsqueezed views of one value, squared in place",
            "%a = unsqueeze %v {axes=[0]}\n %b = unsqueeze %v {axes=[0]}\n square_ %a\n %c = concat %a, %b {axis=0}\n return %c",
            &[1.0, 4.0, 9.0, 16.0, 1.0, 4.0, 9.0, 16.0],
        ),
        (
            "an even slice does not see an odd one",
            "%e = slice %v {axis=0, step=2}\n %o = slice %v {axis=0, start=1, step=2}\n %k = exp %o\n zero_ %e\n %l = exp %o\n %d = sub %k, %l\n return %d",
            &[0.0, 0.0],
        ),
        (
            "windows with gaps are written and the gaps stay",
            "%w = unfold %v {size=1, step=3}\n fill_ %w, 9.0\n return %v",
            &[9.0, 2.0, 3.0, 9.0],
        ),
        (
            "overlapping windows are read after their base is written",
            "%w = unfold %v {size=2}\n %a = slice %v {axis=0, start=1, end=3}\n mul_ %a, 10.0\n return %w",
            &[1.0, 20.0, 20.0, 30.0, 30.0, 4.0],
        ),
        (
            "the storage is seen through a view of a part",
            "%r = select %x {axis=0, index=1}\n %s = as_strided %r {shape=[2], strides=[2], offset=0}\n add_ %s, 10.0\n return %x",
            &[11.0, 2.0, 13.0, 4.0],
        ),
        (
            "the diagonal of a transposed matrix is the diagonal",
            "%t = t %x\n %d = diagonal %t\n neg_ %d\n return %x",
            &[-1.0, 2.0, 3.0, -4.0],
        ),
        (
            "the sign bits of floats are cleared as integers",
            "%n = neg_ %v\n %i = view_dtype %n {to=i32}\n %m = and %i, 2147483647\n copy_ %i, %m\n return %v",
            &[1.0, 2.0, 3.0, 4.0],
        ),
        (
            "the upper halves of floats are written as 16-bit integers",
            "%h = view_dtype %v {to=i16}\n %u = slice %h {axis=0, start=1, step=2}\n add_ %u, 128\n return %v",
            &[2.0, 4.0, 6.0, 8.0],
        ),
        (
            "two floats are written as one wide integer",
            "%w = view_dtype %v {to=i64}\n %a = slice %w {axis=0, end=1}\n %b = slice %w {axis=0, start=1}\n copy_ %a, %b\n return %v",
            &[3.0, 4.0, 3.0, 4.0],
        ),
        (
            "strides that interlock are written",
            "%s = as_strided %v {shape=[2, 2], strides=[2, 1]}\n %i = as_strided %v {shape=[2], strides=[3], offset=0}\n mul_ %s, 2.0\n add_ %i, 1.0\n return %v",
            &[3.0, 4.0, 6.0, 9.0],
        ),
        (
            "a reversed view is written",
            "%r = slice %v {axis=0, step=-1}\n %part = slice %r {axis=0, end=3}\n mul_ %part, 10.0\n return %v",
            &[1.0, 20.0, 30.0, 40.0],
        ),
    ];
    for (what, body, expected) in museum {
        let graph = graph_of(&format!("graph case {{\n inout %x: f32[2, 2]\n inout %v: f32[4]\n {body}\n}}"));
        let (pure, _) = functionalize(&graph, &analyze(&graph)).expect("a verified graph has a functional form");
        let inputs = [Tensor::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), Tensor::from_f32(&[4], &[1.0, 2.0, 3.0, 4.0])];
        let found = evaluate(&pure, &inputs).expect("it can be evaluated");
        assert_eq!(found[0].floats(), *expected, "{what}\n{}", print(&pure));
        round_trip(&pure);
        if let Err(wrong) = generated::runs(&graph, &inputs, 1) {
            panic!("{what}: {wrong}");
        }
    }
}
