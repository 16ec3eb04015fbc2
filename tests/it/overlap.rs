//! Inputs that share bytes: whatever the overlap, a compiled program does what the program as written does.
//!
//! The oracle is the mutating interpreter, with the inputs laid into one memory. Results and every byte of the memory are
//! compared, bit for bit under `--math strict`.

mod controlled;

use proptest::prelude::*;
use situ::eval::Tensor;
use situ::ir::{Graph, print};
use situ::pipeline::{Options, compile};
use situ::rewrite::Math;
use situ::types::{InputMode, TensorType};
use situ_runtime::arena::Block;
use situ_runtime::check::check;
use situ_runtime::executable::{AsWritten, Executable, Fallback, Plan};
use situ_runtime::kernel::call::RunError;
use situ_runtime::raw::{AliasPolicy, RawInput, RawSession, Route};
use situ_runtime::types::DType;
use situ_runtime::wire::Compiled;

use crate::support::interpreter::{self, Outcome};
use crate::support::programs::{Step, program};
use crate::text::graph_of;

fn strict() -> Options {
    Options { math: Math::Strict, ..Options::default() }
}

fn compiled(graph: &Graph, options: &Options) -> Compiled {
    compile(graph, options).unwrap_or_else(|error| panic!("{error}\n{}", print(graph))).compiled
}

fn session(compiled: Compiled) -> RawSession {
    RawSession::new(compiled, Default::default(), AliasPolicy::Fallback).expect("a compiled program opens")
}

fn length(graph: &Graph, input: usize) -> usize {
    graph.ty(graph.inputs[input].value).bytes()
}

/// A memory for inputs at `starts`: small numbers, neither constant nor zero, as `f32` and as integers of four bytes.
fn memory(graph: &Graph, starts: &[usize]) -> Block {
    let end = (0..starts.len()).map(|input| starts[input] + length(graph, input)).max().unwrap_or(0);
    let mut block = Block::zeroed(end.next_multiple_of(4) as u64).expect("a small block");
    for (at, element) in block.chunks_exact_mut(4).enumerate() {
        let value = ((at * 7 + 3) % 23 + 1) as f32 * if at % 3 == 2 { -1.0 } else { 1.0 };
        element.copy_from_slice(&value.to_le_bytes());
    }
    for (place, (input, &start)) in graph.inputs.iter().zip(starts).enumerate() {
        // Conditions are true and false in turn, counts are 2.
        match graph.ty(input.value) {
            ty if ty.dtype == DType::Bool => block[start..start + ty.len()].fill(u8::from(place % 2 == 0)),
            ty if ty.dtype == DType::I64 && ty.rank() == 0 => {
                block[start..start + 8].copy_from_slice(&2i64.to_le_bytes())
            }
            _ => {}
        }
    }
    block
}

/// Whether inputs share bytes that the plan assumes distinct, by comparing every byte of every pair.
fn should_divert(plan: &Plan, graph: &Graph, starts: &[usize]) -> bool {
    let range = |input: usize| starts[input]..starts[input] + length(graph, input);
    (0..starts.len()).any(|a| {
        (0..a).any(|b| {
            plan.assumed_distinct.contains(a as u32, b as u32) && range(a).any(|byte| range(b).contains(&byte))
        })
    })
}

/// How far apart results may be.
#[derive(Clone, Copy, PartialEq)]
enum Close {
    Bits,
    Relative(f64),
}

fn agree(found: &[u8], expected: &[u8], dtype: DType, close: Close) -> bool {
    if found == expected {
        return true;
    }
    if found.len() != expected.len() || dtype != DType::F32 {
        return false;
    }
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect()
    };
    let (found, expected) = (floats(found), floats(expected));
    let scale = expected.iter().filter(|x| x.is_finite()).fold(0.0f32, |scale, x| scale.max(x.abs()));
    found.iter().zip(&expected).all(|(a, b)| {
        // The sign and payload of a NaN are nobody's promise.
        let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        same || matches!(close, Close::Relative(bound) if f64::from((a - b).abs()) <= bound * f64::from(scale))
    })
}

/// Runs the program on inputs at `starts` of one memory, and compares everything with the interpreter.
fn compare(session: &mut RawSession, graph: &Graph, starts: &[usize], close: Close) -> Result<Route, String> {
    let before = memory(graph, starts);
    let mut expected = before.to_vec();
    let Outcome { outputs, .. } = interpreter::run_within(graph, &mut expected, starts)?;
    let mut found = Block::copied(&before).expect("a small block");
    let route = {
        let (results, route) = session.run_within(&mut found, starts).map_err(|error| error.to_string())?;
        for (index, (port, expected)) in results.ports().iter().zip(&outputs).enumerate() {
            let bytes = results.bytes(index).map_err(|error| error.to_string())?;
            if !agree(bytes, &expected.bytes, port.access.dtype, close) {
                let ty = expected.ty.clone();
                let found = Tensor::new(ty, bytes.to_vec());
                return Err(format!("{}: {:?}, expected {:?}", port.name, found.floats(), expected.floats()));
            }
        }
        assert_eq!(results.len(), outputs.len());
        route
    };
    let diverted = should_divert(session.plan(), graph, starts);
    if diverted != (route == Route::Fallback) {
        return Err(format!("took {route:?}"));
    }
    // Only the optimised plan may leave anything in donated bytes, and only in bytes that are no other input's.
    let mut matters = vec![true; found.len()];
    for (input, &start) in starts.iter().enumerate() {
        let donated = graph.inputs[input].mode == InputMode::Donate;
        matters[start..start + length(graph, input)].fill(!donated || route == Route::Fallback);
    }
    for (input, &start) in starts.iter().enumerate().filter(|(input, _)| graph.inputs[*input].mode != InputMode::Donate)
    {
        matters[start..start + length(graph, input)].fill(true);
    }
    let blank = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().zip(&matters).map(|(&byte, &matters)| if matters { byte } else { 0 }).collect()
    };
    if !agree(&blank(&found), &blank(&expected), DType::F32, close) {
        let show = |bytes: &[u8]| Tensor::new(TensorType::new(DType::F32, [bytes.len() / 4]), bytes.to_vec()).floats();
        return Err(format!("the memory is {:?}, expected {:?}", show(&found), show(&expected)));
    }
    Ok(route)
}

/// Programs with inputs `%a` and `%b` of four-byte elements, each with what only it shows.
const PROGRAMS: &[(&str, &str, Close)] = &[
    (
        "rows of one are added to rows of the other as they come",
        "inout %a: f32[3, 2]\n input %b: f32[3, 2]\n %t = scan (%i) (%p in %a, %q in %b) {\n add_ %p, %q\n yield %q\n}\n return %t, %b",
        Close::Bits,
    ),
    (
        "a branch writes one and reads the other; the condition is read from what it writes",
        "inout %a: f32[4]\n input %b: f32[4]\n %s = select %a {axis=0, index=1}\n %c = lt %s, 9.0\n if %c {\n add_ %a, %b\n mul_ %a, 2.0\n} else {\n sub_ %a, %b\n %n = neg %b\n copy_ %a, %n\n}\n return %b",
        Close::Bits,
    ),
    (
        "carries change places, and the one that comes first is written",
        "inout %a: f32[3]\n inout %b: f32[3]\n %x, %y = loop 3, true (%i, %p = %a, %q = %b) {\n add_ %p, %q\n yield true, %q, %p\n}\n add_ %x, 1.0\n return %y",
        Close::Bits,
    ),
    (
        "a loop in a branch in a loop",
        "inout %a: f32[2, 3]\n input %b: f32[3]\n loop 2, true (%i) {\n %c = lt %i, 1\n if %c {\n scan (%j) (%r in %a) {\n sub_ %r, %b\n}\n} else {\n mul_ %a, %b\n}\n yield true\n}\n return %b",
        Close::Bits,
    ),
    (
        "strides that interlock: no nest of loops is known to write each element once",
        "inout %a: f32[11]\n input %b: f32[3, 3]\n %v = as_strided %a {shape=[3, 3], strides=[2, 3], offset=0}\n add_ %v, %b\n copy_ %v, %v\n return %b",
        Close::Bits,
    ),
    (
        "a view of what was written is read (pytorch#139789)",
        "inout %a: f32[2, 3]\n input %b: f32[6]\n add_ %a, 1.0\n %y = neg %b\n return %y",
        Close::Bits,
    ),
    ("one is added to the other", "inout %a: f32[6]\n input %b: f32[6]\n add_ %a, %b\n return %a", Close::Bits),
    (
        "one is added to the other, of a lower rank",
        "inout %a: f32[3, 2]\n input %b: f32[2]\n add_ %a, %b\n mul_ %a, %b\n return",
        Close::Bits,
    ),
    (
        "one is copied to the other backwards",
        "inout %a: f32[6]\n input %b: f32[6]\n %r = slice %b {axis=0, step=-1}\n copy_ %a, %r\n return",
        Close::Bits,
    ),
    (
        "read before and after",
        "inout %a: f32[6]\n input %b: f32[4]\n %p = relu %b\n mul_ %a, 3.0\n %q = relu %b\n %d = sub %q, %p\n return %d, %b",
        Close::Bits,
    ),
    (
        "two states are swapped",
        "inout %a: f32[5]\n inout %b: f32[5]\n %k = clone %a\n copy_ %a, %b\n copy_ %b, %k\n return",
        Close::Bits,
    ),
    (
        "state that ends as it began was another in between",
        "input %a: f32[6]\n inout %b: f32[6]\n %k = clone %b\n neg_ %b\n %y = mul %a, 2.0\n copy_ %b, %k\n return %y",
        Close::Bits,
    ),
    (
        "parts are written, each from the other",
        "inout %a: f32[8]\n inout %b: f32[8]\n %l = slice %a {axis=0, end=4}\n %h = slice %b {axis=0, start=4}\n add_ %l, %h\n add_ %h, %l\n sub_ %h, %h\n return",
        Close::Bits,
    ),
    (
        "donated bytes are used again",
        "donate %a: f32[6]\n input %b: f32[6]\n %e = neg %a\n %f = mul %e, %e\n %y = add %f, %b\n return %y",
        Close::Bits,
    ),
    (
        "donated bytes are used again, nobody reads the other",
        "donate %a: f32[6]\n input %b: f32[6]\n %e = neg %a\n return %e",
        Close::Bits,
    ),
    (
        "donated bytes are written",
        "donate %a: f32[6]\n inout %b: f32[4]\n mul_ %a, 2.0\n add_ %b, 1.0\n %v = slice %a {axis=0, start=1, end=5}\n %y = sub %v, %b\n return %y, %a",
        Close::Bits,
    ),
    (
        "results that are inputs",
        "inout %a: f32[6]\n input %b: f32[6]\n %v = view %b {shape=[2, 3]}\n add_ %a, 1.0\n return %v, %a, %a, %b",
        Close::Bits,
    ),
    (
        "a transposed input is written where it is read",
        "inout %a: f32[3, 3]\n inout %b: f32[3, 3]\n %t = t %b\n add_ %t, %a\n %u = relu %t\n %w = reshape %u {shape=[9]}\n neg_ %w\n return %u, %w",
        Close::Bits,
    ),
    (
        "rows are reduced, joined and gathered",
        "inout %a: f32[4, 3]\n input %b: f32[4, 3]\n mul_ %a, 2.0\n %s = sum %b {axes=[1]}\n %c = concat %a, %b {axis=0}\n add_ %a, %b\n %d = concat %b, %a {axis=1}\n %m = max %s, 1.0\n return %m, %c, %d",
        Close::Bits,
    ),
    (
        "state is rearranged in its own bytes",
        "inout %a: f32[3, 3]\n input %b: f32[9]\n %t = t %a\n copy_ %a, %t\n %y = neg %b\n return %y",
        Close::Bits,
    ),
    (
        "a program in functional form, which names the last values of its state",
        "inout %a: f32[3, 3]\n inout %b: f32[3, 3]\n %s = add %a, %b\n %t = t %a\n final %a = %s\n final %b = %t\n return %s",
        Close::Bits,
    ),
    (
        "softmax in place, norms and products of both",
        "inout %a: f32[4, 4]\n inout %b: f32[4, 4]\n softmax_ %a {axis=1}\n %n = layer_norm %b {axis=1}\n %p = matmul %n, %a\n copy_ %b, %p\n %q = linear %a, %b\n return %q",
        Close::Relative(1e-5),
    ),
    (
        "running statistics",
        "inout %a: f32[3]\n input %b: f32[2, 3, 4]\n const %w: f32[3] = seeded(normal, seed=3)\n const %v: f32[3] = seeded(uniform, low=0.5, high=2.0, seed=4)\n %m = mean %b {axes=[0, 2]}\n %n = batch_norm %b, %w, %w, %a, %v\n mul_ %a, 0.9\n %s = mul %m, 0.1\n add_ %a, %s\n return %n",
        Close::Relative(1e-5),
    ),
    (
        "weights in two forms",
        "inout %a: f32[4, 8]\n input %b: f32[4, 8]\n const %w: f32[8, 8] = seeded(normal, seed=3)\n const %c: f32[8] = seeded(normal, seed=4)\n %h = linear %b, %w, %c\n %g = gelu %h\n add_ %a, %g\n %y = matmul %b, %w\n return %y",
        Close::Relative(1e-5),
    ),
];

/// Every program on inputs whose starts differ by every number of elements, either one first.
#[test]
fn programs_mean_what_they_say_at_every_distance() {
    let mut routes = [0usize; 2];
    for (what, body, close) in PROGRAMS {
        let graph = graph_of(&format!("graph case {{\n {body}\n}}"));
        for options in [strict(), Options { rewrite: false, planned: false, threads: 2, ..strict() }] {
            let mut session = session(compiled(&graph, &options));
            let (a, b) = (length(&graph, 0), length(&graph, 1));
            let distances = (0..=a / 4 + 1).map(|by| [0, 4 * by]).chain((1..=b / 4 + 1).map(|by| [4 * by, 0]));
            for starts in distances {
                match compare(&mut session, &graph, &starts, *close) {
                    Ok(route) => routes[usize::from(route == Route::Fallback)] += 1,
                    Err(error) => panic!("{what}, starts {starts:?}: {error}\n{}", print(&graph)),
                }
            }
        }
    }
    println!("optimised {}, as written {}", routes[0], routes[1]);
    assert!(routes.iter().all(|&runs| runs > 80), "{routes:?}");
}

/// Where the inputs of a generated program lie, from a number for each: over the first input, over the one before, some
/// elements on, behind it without a gap, or apart.
fn starts(graph: &Graph, choices: &[u8]) -> Vec<usize> {
    // Bytes are aligned for the widest dtype that anything sees them as.
    let unit = graph.values.iter().map(|value| value.ty.dtype.size()).fold(4, usize::max);
    let mut starts: Vec<usize> = Vec::new();
    for input in 0..graph.inputs.len() {
        let choice = usize::from(choices[input % choices.len()]);
        let before = input.checked_sub(1).map(|before| (starts[before], length(graph, before)));
        let end = (0..input).map(|other| starts[other] + length(graph, other)).max().unwrap_or(0);
        starts.push(match (choice % 6, before) {
            (0, _) | (_, None) => unit * (choice / 6 % 3),
            (1, Some((start, _))) => start,
            (2, Some((start, _))) => start + unit * (1 + choice / 6 % 5),
            (3, Some((start, _))) => start.saturating_sub(unit * (1 + choice / 6 % 5)),
            (4, Some((start, bytes))) => (start + bytes).next_multiple_of(unit),
            _ => end.next_multiple_of(unit) + unit * (choice / 6 % 4),
        });
    }
    starts
}

/// Programs of views and writes, some of whose values are results.
fn generated(steps: &[Step], kept: u32) -> Graph {
    let mut graph = program(steps);
    let mut number = 0;
    graph.outputs.retain(|_| {
        number += 1;
        kept >> (number % 32) & 1 == 1
    });
    graph
}

fn random_cases(programs: u32, overlaps: usize) {
    let steps = proptest::collection::vec(any::<Step>(), 0..20);
    let places = proptest::collection::vec(any::<[u8; 4]>(), overlaps);
    let counted = std::cell::Cell::new([0usize; 2]);
    let mut runner = crate::functional::generated::runner(programs);
    let checked = runner.run(&(steps, places, any::<u32>(), any::<bool>()), |(steps, places, kept, rewrite)| {
        let graph = generated(&steps, kept);
        let mut session = session(compiled(&graph, &Options { rewrite, ..strict() }));
        for choices in places {
            let starts = starts(&graph, &choices);
            let route = compare(&mut session, &graph, &starts, Close::Bits)
                .map_err(|error| TestCaseError::fail(format!("starts {starts:?}: {error}\n{}", print(&graph))))?;
            let mut counts = counted.get();
            counts[usize::from(route == Route::Fallback)] += 1;
            counted.set(counts);
        }
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    let [optimised, as_written] = counted.get();
    println!("{programs} programs: optimised {optimised}, as written {as_written}");
    assert!(optimised > programs as usize && as_written > programs as usize, "{:?}", counted.get());
}

/// `SITU_OVERLAP_PROGRAMS` asks for more programs.
#[test]
fn random_programs_mean_what_they_say() {
    let programs = std::env::var("SITU_OVERLAP_PROGRAMS").ok().and_then(|text| text.parse().ok());
    random_cases(programs.unwrap_or(300), 16);
}

fn as_written(compiled: &mut Compiled) -> Option<&mut AsWritten> {
    match compiled.executable.fallbacks.first_mut() {
        Some(Fallback::AsWritten(written)) => Some(written),
        _ => None,
    }
}

/// The program as written, damaged in its order and its places: refused, or no different.
#[test]
fn the_checker_refuses_spoiled_fallbacks() {
    let mut verdicts: std::collections::BTreeMap<&str, [u32; 2]> = Default::default();
    let steps = proptest::collection::vec(any::<Step>(), 6..20);
    let mut runner = crate::functional::generated::runner(150);
    let places = proptest::collection::vec(any::<[u8; 4]>(), 4);
    let counted = std::cell::RefCell::new(&mut verdicts);
    let checked = runner.run(&(steps, places, any::<u32>(), any::<u16>()), |(steps, places, kept, choice)| {
        let graph = generated(&steps, kept);
        let good = compiled(&graph, &strict());
        for kind in 0..7 {
            let mut spoiled = good.clone();
            let Some(written) = as_written(&mut spoiled) else { return Ok(()) };
            let count = written.plan.steps.len();
            if count < 2 {
                return Ok(());
            }
            let at = usize::from(choice) % (count - 1);
            let inputs = written.plan.inputs.len();
            let what = match kind {
                0 => {
                    written.plan.steps.swap(at, at + 1);
                    "two steps change places"
                }
                1 => {
                    written.plan.steps.remove(at);
                    written.epochs.remove(at);
                    "a step is gone"
                }
                2 => {
                    let (step, epoch) = (written.plan.steps.remove(at), written.epochs.remove(at));
                    written.plan.steps.push(step);
                    written.epochs.push(epoch);
                    "a step comes last"
                }
                3 => {
                    let value = usize::from(choice) % written.plan.values.len();
                    let other = usize::from(choice / 7) % written.plan.values.len();
                    written.plan.values[value].place = written.plan.values[other].place;
                    "a place becomes another's"
                }
                4 => {
                    // What went through the arena is read from the input itself.
                    let step = &mut written.plan.steps[at + 1];
                    let Some(read) = step.reads.first_mut() else { continue };
                    read.value = written.plan.input_values[usize::from(choice) % inputs];
                    "a step reads an input"
                }
                5 => {
                    written.epochs[at] += 1;
                    "an epoch is another"
                }
                _ => {
                    let write = &mut written.plan.steps[at].writes[0];
                    write.base = None;
                    "a base is gone"
                }
            };
            if spoiled.executable == good.executable {
                continue;
            }
            let accepted = check(&spoiled.executable).is_ok();
            counted.borrow_mut().entry(what).or_default()[usize::from(accepted)] += 1;
            // Another operand is another certificate: what it means is no longer the source.
            if !accepted || kind == 4 {
                continue;
            }
            let spoiled = Compiled::new(spoiled.executable, spoiled.weights).expect("the checker has validated it");
            let mut session = session(spoiled);
            for choices in &places {
                let starts = starts(&graph, choices);
                compare(&mut session, &graph, &starts, Close::Bits)
                    .map_err(|error| TestCaseError::fail(format!("{what}, {starts:?}: {error}\n{}", print(&graph))))?;
            }
        }
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    println!("refused and harmless: {verdicts:?}");
    assert_eq!(verdicts.len(), 7);
    for (what, [refused, _]) in &verdicts {
        // A base that is gone harms nobody where the whole storage is written, as most writes do.
        let least = if *what == "a base is gone" { 1 } else { 20 };
        assert!(*refused >= least, "{what}: {verdicts:?}");
    }
}

fn one(text: &str) -> Graph {
    graph_of(&format!("graph case {{\n {text}\n}}"))
}

/// The only thing wrong with this order is that the inputs may share bytes.
#[test]
fn the_order_of_steps_on_different_inputs_is_certified() {
    let graph = one("inout %a: f32[4]\n inout %b: f32[4]\n neg_ %a\n relu_ %b\n return");
    let mut compiled = compiled(&graph, &strict());
    check(&compiled.executable).expect("as made");
    let written = as_written(&mut compiled).expect("the inputs are written");
    assert_eq!(written.epochs, [0, 1]);
    written.plan.steps.swap(0, 1);
    let told = |compiled: &Compiled| {
        check(&compiled.executable)
            .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    // The same numbers at other steps say nothing; that they are the source's is what makes the difference.
    written.epochs.swap(0, 1);
    let refused = told(&compiled).expect_err("relu runs first");
    assert!(refused.contains("the source has 1 writes of inputs before it, the fallback 0"), "{refused}");
}

#[test]
fn several_shapes_have_a_fallback_each() {
    let text = "graph case {\n inout %a: f32[B, 3]\n input %b: f32[B, 3]\n const %w: f32[3, 3] = seeded(normal, seed=5)\n %h = matmul %b, %w\n add_ %a, %h\n %y = relu %b\n return %y\n}";
    let mut graphs = Vec::new();
    let mut programs = Vec::new();
    for extent in [1, 4] {
        let (graph, mistakes) = situ::source::parse(text, &situ::source::Bindings::new().bind("B", extent));
        assert!(mistakes.is_empty());
        let graph = graph.expect("it parses");
        programs.push(compiled(&graph, &strict()));
        graphs.push(graph);
    }
    let bundle = situ::bundle::bundle(programs).expect("they fit together");
    let bytes = {
        let mut out = std::io::Cursor::new(Vec::new());
        bundle.write_to(&mut out).expect("it is written");
        out.into_inner()
    };
    let loaded = Compiled::from_file(&situ_runtime::map::FileBytes::from_vec(bytes)).expect("it loads");
    assert_eq!(loaded.executable, bundle.executable);
    for (plan, graph) in graphs.iter().enumerate() {
        let options = situ_runtime::session::Options { plan, ..Default::default() };
        let mut session = RawSession::new(loaded.clone(), options, AliasPolicy::Fallback).expect("it opens");
        for (starts, route) in [([0, 64], Route::Planned), ([0, 0], Route::Fallback), ([4, 0], Route::Fallback)] {
            assert_eq!(compare(&mut session, graph, &starts, Close::Relative(1e-5)), Ok(route));
        }
    }
}

/// Programs that cannot be run as written are refused, never run wrong.
#[test]
fn what_has_no_fallback_is_refused() {
    let graph = one(
        "inout %a: f32[4]\n input %b: f32[4]\n %k: f32[4] = kernel(%p = %b) {\n %e = neg %p\n yield %e\n }\n add_ %a, 1.0\n return %k",
    );
    let program = compiled(&graph, &Options { rewrite: false, ..strict() });
    let Fallback::Missing(why) = &program.executable.fallbacks[0] else { panic!("a kernel has a body") };
    assert!(why.contains("kernel (line") && why.contains("has a body"), "{why}");
    let mut session = session(program);
    let mut run = |starts: [usize; 2]| {
        let mut memory = Block::zeroed(64).expect("a small block");
        let run = session.run_within(&mut memory, &starts).map(|(_, route)| route);
        (run, memory.iter().all(|&byte| byte == 0))
    };
    assert_eq!(run([0, 16]).0, Ok(Route::Planned));
    let aliased = RunError::Aliased { written: "a".into(), other: "b".into() };
    assert_eq!(run([0, 12]), (Err(aliased.clone()), true));
    assert_eq!(run([12, 0]), (Err(aliased), true));
}

/// A promise switches the guard off; whoever wants may still have it.
#[test]
fn promises_and_strictness() {
    let graph = one("inout %a: f32[4]\n input %b: f32[4]\n add_ %a, 1.0\n %y = neg %b\n return %y");
    let promised = compiled(&graph, &Options { assume_noalias: true, ..strict() });
    assert_eq!(promised.executable.fallbacks, [Fallback::Promised]);
    let kept = compiled(&graph, &strict());
    let route = |program: &Compiled, policy: AliasPolicy| {
        let mut session = RawSession::new(program.clone(), Default::default(), policy).expect("it opens");
        let mut memory = [0f32; 8];
        let pointer: *mut u8 = memory.as_mut_ptr().cast();
        let input = |at: usize| RawInput { dtype: DType::F32, pointer: pointer.wrapping_add(at), bytes: 16 };
        session.route(&[input(0), input(8)])
    };
    let aliased = Err(RunError::Aliased { written: "a".into(), other: "b".into() });
    assert_eq!(route(&promised, AliasPolicy::Fallback), Ok(Route::Planned));
    assert_eq!(route(&promised, AliasPolicy::Strict), aliased);
    assert_eq!(route(&kept, AliasPolicy::Fallback), Ok(Route::Fallback));
    assert_eq!(route(&kept, AliasPolicy::Strict), aliased);
    assert_eq!(route(&kept, AliasPolicy::Trust), Ok(Route::Planned));
    // Whoever breaks the promise gets the numbers for distinct inputs, or a fault, and never bytes of others.
    let broken = |body: &str| {
        let graph = one(&format!("inout %a: f32[4]\n input %b: f32[4]\n {body}"));
        let program = compiled(&graph, &Options { assume_noalias: true, ..strict() });
        let mut memory = memory(&graph, &[0, 0]);
        session(program).run_within(&mut memory, &[0, 0]).map(|(_, route)| route)
    };
    assert_eq!(broken("add_ %a, 1.0\n %y = neg %b\n return %y"), Ok(Route::Planned));
    assert!(matches!(broken("add_ %a, %b\n return"), Err(RunError::Fault(_))));
}

/// Only pairs that matter divert: bytes that nobody looks at may be anybody's, unless what is left in them is unknown.
#[test]
fn inputs_that_nobody_looks_at_do_not_divert() {
    for (mode, route) in [("inout", Route::Planned), ("donate", Route::Fallback)] {
        let graph = one(&format!("{mode} %a: f32[4]\n input %b: f32[4]\n mul_ %a, 2.0\n %y = neg %a\n return %y"));
        let mut session = session(compiled(&graph, &strict()));
        for starts in [[0, 0], [0, 4], [8, 0]] {
            assert_eq!(compare(&mut session, &graph, &starts, Close::Bits), Ok(route), "{mode}");
        }
    }
    // Nobody writes: every overlap is as good as none.
    let graph =
        one("input %a: f32[4]\n inout %s: f32[4]\n input %b: f32[4]\n %y = add %a, %b\n %z = sub %y, %s\n return %z");
    let mut session = session(compiled(&graph, &strict()));
    for starts in [[0, 0, 0], [0, 4, 8], [8, 4, 0]] {
        assert_eq!(compare(&mut session, &graph, &starts, Close::Bits), Ok(Route::Planned));
    }
}

/// A run that fails after it has written an input leaves the session poisoned, even where the input that was written is
/// not state itself: its bytes may be.
#[test]
fn a_failure_as_written_poisons() {
    for (mode, name) in [("inout", "a"), ("donate", "a")] {
        let text = format!(
            "{mode} %a: f32[4]\n inout %s: f32[4]\n input %x: f32[4]\n input %i: i32[2]\n add_ %a, 1.0\n %g = gather %x, %i {{axis=0}}\n mul_ %s, 2.0\n return %g"
        );
        let graph = one(&text);
        let mut session = session(compiled(&graph, &strict()));
        let run = |session: &mut RawSession, index: i32| {
            let mut memory = Block::zeroed(128).expect("a small block");
            memory[64..68].copy_from_slice(&index.to_le_bytes());
            // %a and %s are one.
            session.run_within(&mut memory, &[0, 0, 32, 64]).map(|(_, route)| route)
        };
        assert_eq!(run(&mut session, 3), Ok(Route::Fallback));
        assert!(!session.is_poisoned());
        let failed = run(&mut session, 9);
        assert!(matches!(failed, Err(RunError::IndexOutOfRange { index: 9, extent: 4, .. })), "{name}: {failed:?}");
        assert!(session.is_poisoned(), "{mode}");
        assert_eq!(run(&mut session, 0), Err(RunError::Poisoned));
        session.clear_poison();
        assert_eq!(run(&mut session, 0), Ok(Route::Fallback));
    }
    // Nothing was written before this one fails.
    let graph = one("inout %s: f32[4]\n input %i: i32[2]\n %g = gather %s, %i {axis=0}\n mul_ %s, 2.0\n return %g");
    let mut session = session(compiled(&graph, &strict()));
    let mut memory = Block::zeroed(64).expect("a small block");
    memory[0] = 77;
    let failed = session.run_within(&mut memory, &[0, 0]).map(|(_, route)| route);
    assert!(matches!(failed, Err(RunError::IndexOutOfRange { index: 77, .. })), "{failed:?}");
    assert!(!session.is_poisoned() && memory[0] == 77 && memory[1..].iter().all(|&byte| byte == 0));
}

/// Inputs of one buffer must lie in it.
#[test]
fn buffers_must_hold_their_inputs() {
    let graph = one("inout %a: f32[4]\n input %b: f32[4]\n add_ %a, %b\n return");
    let mut session = session(compiled(&graph, &strict()));
    let mut memory = Block::zeroed(32).expect("a small block");
    for starts in [&[0usize, 20][..], &[usize::MAX, 0], &[0, 2], &[0], &[0, 0, 0]] {
        let refused = session.run_within(&mut memory, starts).map(|(_, route)| route);
        assert!(matches!(refused, Err(RunError::Argument(_))), "{starts:?}: {refused:?}");
    }
}

/// The report says what is assumed and why, and what runs otherwise.
#[test]
fn reports_name_what_is_assumed() {
    let graph = one(
        "inout %a: f32[4]\n donate %d: f32[4]\n input %b: f32[4]\n input %unused: f32[4]\n add_ %a, 1.0\n %e = exp %d\n %y = add %e, %b\n return %y",
    );
    let compilation = compile(&graph, &strict()).expect("it compiles");
    let report: serde_json::Value = serde_json::from_str(&compilation.report_json).expect("JSON");
    let fallback = match &compilation.compiled.executable.fallbacks[0] {
        Fallback::AsWritten(written) => &written.plan,
        other => panic!("{other:?}"),
    };
    assert_eq!(report["fallback_arena_bytes"], fallback.arena_bytes);
    assert_eq!(report["fallback"]["status"], "as-written");
    assert_eq!(report["assumed_distinct"]["pairs"], 5);
    assert_eq!(report["assumed_distinct"]["written"][1]["why"], "given up, and its bytes are used again");
    for line in ["a  written by add_ (line 6)", "apart from d, b, unused", "otherwise the program as written runs"] {
        assert!(compilation.report.contains(line), "{line}\n{}", compilation.report);
    }
    let explained = compilation.explain(&graph, "%b").expect("it has bytes");
    assert!(explained.contains("b is assumed to share no byte with a, d"), "{explained}");
    let explained = compilation.explain(&graph, "a").expect("it has bytes");
    assert!(
        explained.contains("Assumed to share no byte with d, b, unused, because it is written by add_"),
        "{explained}"
    );
    // Nothing is assumed where nothing is written.
    let pure = compile(&one("input %a: f32[4]\n input %b: f32[4]\n %y = add %a, %b\n return %y"), &strict())
        .expect("it compiles");
    assert_eq!(pure.compiled.executable.fallbacks, [Fallback::Unneeded]);
    assert!(!pure.report.contains("assumed distinct"));
}

fn fallback_of(executable: &Executable) -> &Plan {
    match &executable.fallbacks[0] {
        Fallback::AsWritten(written) => &written.plan,
        other => panic!("{other:?}"),
    }
}

/// A write costs one step where the kernel itself may write, whatever shares bytes; else the value goes through the arena.
#[test]
fn writes_go_straight_to_the_callers_bytes() {
    let state = "inout %a: f32[64]\n input %b: f32[64]\n";
    for (body, labels, in_arena) in [
        ("relu_ %a\n mul_ %a, 2.0\n return %b", &["relu_", "mul_", "output"][..], 1),
        (
            "%l = slice %a {axis=0, end=32}\n %h = slice %a {axis=0, start=32}\n add_ %l, %h\n return %b",
            &["add_", "output"],
            1,
        ),
        ("add_ %a, %b\n return", &["add", "add_"], 1),
        ("copy_ %a, %b\n return", &["copy_", "copy_"], 1),
        ("%r = slice %a {axis=0, step=-1}\n copy_ %a, %r\n return %b", &["copy_", "copy_", "output"], 1),
        ("%e = exp %b\n add_ %a, %e\n add_ %e, %b\n return %e", &["exp", "add_", "add_"], 1),
        // What nobody sees is not computed.
        ("%e = exp %b\n neg_ %e\n add_ %a, 1.0\n return", &["add_"], 0),
    ] {
        let compiled = compiled(&one(&format!("{state} {body}")), &strict());
        let plan = fallback_of(&compiled.executable);
        let found: Vec<&str> =
            plan.steps.iter().map(|step| step.label.split(' ').next().expect("a first word")).collect();
        assert_eq!(found, labels, "{body}");
        let places: std::collections::BTreeSet<u64> = plan
            .values
            .iter()
            .filter(|value| value.place.space == situ_runtime::executable::Space::Arena)
            .map(|value| value.place.offset)
            .collect();
        assert_eq!(places.len(), in_arena, "{body}");
    }
}
