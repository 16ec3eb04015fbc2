//! `if`, `loop` and `scan`: their text, what is wrong with them, and what they mean.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use situ::alias::{External, Relation, analyze, analyze_with};
use situ::eval::{Tensor, evaluate, evaluate_within};
use situ::functional::{Stop, functionalize};
use situ::ir::layout::placements;
use situ::ir::{Builder, Def, Graph, ValueId, print, verify, verify::captured};
use situ::ops::{Op, PointFn};
use situ::types::{DType, Layout, TensorType};

use crate::functional::generated::{agrees_on, runner};
use crate::support::controlled::{nodes, program};
use crate::support::interpreter::{self, Handle, run_watched};
use crate::support::programs::inputs;
use crate::text::{complaints, graph_of, round_trip};
use proptest::test_runner::TestCaseError;

/// All three ops with parameters for everything, as `functional` writes them.
pub const PURE: &str = "\
graph pure {
  input %x: f32[3, 2]
  input %c: bool[]
  input %n: i64[]
  const %w: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]
  %y = if %c (%p = %x, %two = 2.0) {
    %t = mul %p, %two
    yield %t
  } else (%q, %unused) {
    %e = neg %q
    yield %e
  }
  %a, %k = loop %n, %c (%i, %s = %y, %count = 0) (%by = %x) {
    %s2 = add %s, %by
    %more = add %count, 1
    %go = lt %i, 3
    yield %go, %s2, %more
  }
  %h, %hs: f32[3, 2, 1], %js = scan (%j, %h0 = 0.5) (%row in %a) (%m = %k) {trips=3} {
    %z = unsqueeze %row {axes=[1]}
    %u = matmul %w, %z
    %both = add %u, %h0
    %sum = sum %both
    %last = mul %j, %m
    yield %sum, %both, %last
  }
  return %y, %a, %k, %h, %hs, %js
}
";

/// Regions that use and write what is around them.
const SOURCE: &str = "\
graph source {
  inout %state: f32[4]
  input %c: bool[]
  %half = slice %state {axis=0, end=2}
  if %c {
    add_ %half, 1.0
    if %c {
      mul_ %state, 2.0
    } else {
      zero_ %state
    }
  }
  loop 3, true (%i) {
    %f = cast %i {to=f32}
    add_ %half, %f
    yield %c
  }
  %all = scan (%j) {trips=2} {
    %r = relu %half
    yield %r
  }
  return %all
}
";

#[test]
fn text_round_trips() {
    for text in [PURE, SOURCE] {
        let graph = graph_of(text);
        round_trip(&graph);
    }
    assert!(captured(&graph_of(PURE)).is_none());
    assert!(captured(&graph_of(SOURCE)).is_some());
    insta::assert_snapshot!(situ::ir::print(&graph_of(PURE)));
}

#[test]
fn mistakes_are_told_with_carets() {
    insta::assert_snapshot!(complaints(
        "\
graph wrong {
  input %x: f32[2]
  input %c: bool[]
  input %s: f32[]
  %a = if %x { yield %x } else { yield %x }
  %b = if %c { yield %x } else { yield %s }
  %d = if %c (%p = %x) { yield %p } else { yield %x }
  %e = if %c { yield %x }
  %f = loop 3, true (%i, %q = %x) { yield %i, %q }
  %g = loop %s, true (%i2, %r = %x) { yield %c, %r, %r }
  %h = scan (%i3) (%t in %s) { yield %t }
  %j = scan (%i4) { yield %x }
  %k = scan (%i5) (%u in %x) {trips=3} { yield %u }
  %l = scan (%i6) (%v in %x) {steps=2} { yield %v }
  if %c {
    %inner = relu %x
    neg %inner
  }
  %m = relu %inner
  %n = loop 3, true (%i7, %w %x) {
    yield %c, %w
  }
  %o = kernel(%kp = %x) {
    %z = if %c { yield %kp } else { yield %x }
    yield %z
  }
  loop 3, true (%i8) { relu %x }
  return %x
}
"
    ));
}

#[test]
fn nesting_is_bounded() {
    let deep = |levels: usize| {
        let body = "if %c {\n".repeat(levels) + "zero_ %x\n" + &"}\n".repeat(levels);
        format!("graph deep {{\n inout %x: f32[2]\n input %c: bool[]\n {body} return %x\n}}")
    };
    round_trip(&graph_of(&deep(32)));
    for levels in [33, 20_000] {
        let said = complaints(&deep(levels));
        assert!(said.contains("regions nest at most 32 deep"), "{said}");
    }
}

#[test]
fn regions_mean_what_they_say() {
    let graph = graph_of(PURE);
    let x = Tensor::from_f32(&[3, 2], &[1.0, -2.0, 3.0, 4.0, 5.0, -6.0]);
    let truth = |value: u8| Tensor::new(TensorType::new(DType::Bool, Vec::<usize>::new()), vec![value]);
    let run = |c: u8, n: i64| {
        evaluate(&graph, &[x.clone(), truth(c), Tensor::from_i64(&[], &[n])]).expect("the program evaluates")
    };
    let found = run(1, 7);
    assert_eq!(found[0].floats(), [2.0, -4.0, 6.0, 8.0, 10.0, -12.0]);
    // The condition fails after trip 3, so four trips run.
    assert_eq!(found[1].floats(), [6.0, -12.0, 18.0, 24.0, 30.0, -36.0]);
    assert_eq!(found[2].ints(), [4]);
    // Rows [6, -12], [18, 24], [30, -36]; each times w, plus the sum so far.
    let (first, second) = ([6.0 - 24.0 + 0.5, 18.0 - 48.0 + 0.5], -17.5 - 29.5);
    assert_eq!(found[4].floats()[..2], first);
    assert_eq!(found[4].floats()[2..4], [18.0 + 48.0 + second, 54.0 + 96.0 + second]);
    assert_eq!(found[5].ints(), [0, 4, 8]);
    let none = run(0, 7);
    assert_eq!(none[0].floats(), [-1.0, 2.0, -3.0, -4.0, -5.0, 6.0]);
    assert_eq!((none[1].clone(), none[2].ints()), (none[0].clone(), vec![0]));
    assert_eq!(run(1, 2)[2].ints(), [2]);
    assert_eq!(run(1, -1)[2].ints(), [0]);
}

#[test]
fn endless_loops_are_given_up() {
    let graph = graph_of(
        "graph endless {\n input %x: f32[]\n %y = loop 9223372036854775807, true (%i, %p = %x) {\n yield true, %p\n }\n return %y\n}",
    );
    let failed = evaluate_within(&graph, &[Tensor::from_f32(&[], &[1.5])], 1000);
    assert!(failed.is_err_and(|why| why.contains("too many trips")));
}

/// Programs of views, writes and control flow: what the mutating interpreter leaves behind, bit for bit, is what the
/// functional form evaluates to. `SITU_PROGRAMS=100000` tries that many.
#[test]
fn differential() {
    let cases = std::env::var("SITU_PROGRAMS").ok().and_then(|count| count.parse().ok()).unwrap_or(3000);
    let counts = Cell::new([0; 4]);
    let checked = runner(cases).run(&nodes(), |nodes| {
        let graph = program(&nodes);
        agrees_on(&graph).map_err(TestCaseError::fail)?;
        let mut counted = counts.get();
        counted.iter_mut().zip(features(&graph)).for_each(|(count, has)| *count += u32::from(has));
        counts.set(counted);
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    let counts = counts.get();
    println!("of {cases} programs: {counts:?} write in regions, select among storages, fill slots, write rows");
    assert!(counts.iter().all(|&count| count * 50 > cases), "{counts:?}");
}

/// Whether a program writes in a region, and whether its functional form selects among storages, carries storages that a
/// region made, and writes rows at run-time indices: what the generator is there for.
fn features(graph: &Graph) -> [bool; 4] {
    let body = &graph.body().insts;
    let writes = graph.all_insts().iter().any(|id| graph.inst(*id).mutates && !body.contains(id));
    let Ok((pure, _)) = functionalize(graph, &analyze(graph)) else { return [writes, false, false, false] };
    let ops: Vec<&Op> = pure.all_insts().iter().map(|&id| &pure.inst(id).op).collect();
    let selects = ops.iter().any(|op| matches!(op, Op::Point(PointFn::Where)));
    let rows = ops.iter().any(|op| matches!(op, Op::ScatterNd { .. }));
    let slots = pure.values.iter().any(|value| match value.def {
        Def::Constant(id) => pure.constant(id).name.is_empty() && !pure.constant(id).is_inline(),
        _ => false,
    });
    [writes, selects, slots, rows]
}

/// What compilers of loops and branches have got wrong, each with the numbers that eager PyTorch gives. `%a` is
/// `[1, 2]`, `%b` is `[10, 20]`, `%m` is `[[1, 2], [3, 4]]`, `%c` is true and `%n` is 3.
#[test]
fn museum() {
    let museum: &[(&str, &str, &[f64])] = &[
        (
            "a swap, an odd number of times, then a write of one",
            "%x, %y = loop %n, true (%i, %p = %a, %q = %b) { yield true, %q, %p }\n add_ %x, 5.0\n %r = concat %a, %b, %y {axis=0}\n return %r",
            &[1.0, 2.0, 15.0, 25.0, 1.0, 2.0],
        ),
        (
            "a swap with a write in it",
            "%x, %y = loop %n, true (%i, %p = %a, %q = %b) {\n add_ %p, 1.0\n yield true, %q, %p\n}\n %r = concat %x, %y {axis=0}\n return %r",
            &[11.0, 21.0, 3.0, 4.0],
        ),
        (
            "a shift: each carry is what the one before it was",
            "%x, %y, %z = loop 2, true (%i, %p = %a, %q = %b, %s = %b) {\n %t = mul %p, 2.0\n yield true, %t, %p, %q\n}\n add_ %z, 1.0\n %r = concat %x, %y, %z, %a {axis=0}\n return %r",
            &[4.0, 8.0, 2.0, 4.0, 2.0, 3.0, 2.0, 3.0],
        ),
        (
            "both carries are one fresh storage",
            "%x, %y = loop %n, true (%i, %p = %a, %q = %b) {\n %t = add %p, %q\n yield true, %t, %t\n}\n add_ %x, 1.0\n %r = concat %x, %y {axis=0}\n return %r",
            &[45.0, 89.0, 45.0, 89.0],
        ),
        (
            "two fresh values that are equal stay two",
            "%s = mul %a, 0.0\n %t = mul %a, 0.0\n %x, %y = loop %n, true (%i, %p = %s, %q = %t) {\n add_ %p, 1.0\n add_ %q, 2.0\n yield true, %p, %q\n}\n %r = concat %x, %y {axis=0}\n return %r",
            &[3.0, 3.0, 6.0, 6.0],
        ),
        (
            "what is read before is written outside",
            "%t = t %m\n loop %n, true (%i) {\n %row = select %m {axis=0, index=0}\n %col = select %t {axis=1, index=1}\n add_ %row, %col\n yield true\n}\n return %m",
            &[10.0, 14.0, 3.0, 4.0],
        ),
        (
            "a branch gives a view of what is outside",
            "%v = if %c {\n %w = select %m {axis=1, index=1}\n yield %w\n} else {\n yield %a\n}\n zero_ %v\n %f = reshape %m {shape=[4]}\n %r = concat %f, %a {axis=0}\n return %r",
            &[1.0, 0.0, 3.0, 0.0, 1.0, 2.0],
        ),
        (
            "a branch writes what the other does not",
            "if %c { add_ %a, %b } else { add_ %b, %a }\n %r = concat %a, %b {axis=0}\n return %r",
            &[11.0, 22.0, 10.0, 20.0],
        ),
        (
            "a view of a storage, handed on and written",
            "%d = as_strided %m {shape=[2], strides=[3], offset=none}\n %x = loop 2, true (%i, %p = %d) {\n add_ %p, 10.0\n yield true, %p\n}\n %f = reshape %m {shape=[4]}\n %r = concat %f, %x {axis=0}\n return %r",
            &[21.0, 2.0, 3.0, 24.0, 21.0, 24.0],
        ),
        (
            "the bits of floats, handed on and written: one more in the exponent",
            "%d = view_dtype %a {to=i32}\n %x = loop %n, true (%i, %p = %d) {\n add_ %p, 8388608\n yield true, %p\n}\n %r = concat %a, %b {axis=0}\n return %r",
            &[8.0, 16.0, 10.0, 20.0],
        ),
        (
            "a branch picks one of two views of a storage",
            "%d = as_strided %m {shape=[2], strides=[3], offset=0}\n %e = as_strided %m {shape=[2], strides=[1], offset=1}\n %x = if %c { yield %e } else { yield %d }\n mul_ %x, 10.0\n %f = reshape %m {shape=[4]}\n return %f",
            &[1.0, 20.0, 30.0, 4.0],
        ),
        (
            "an axis of one element may have any stride, and another one at every trip",
            "%e = slice %a {axis=0, start=1, end=2, step=1}\n %x = loop %n, true (%i, %p = %e) {\n %q = slice %p {axis=0, start=0, end=1, step=2}\n add_ %q, 1.0\n yield true, %q\n}\n %r = concat %a, %x {axis=0}\n return %r",
            &[1.0, 5.0, 5.0],
        ),
        (
            "windows that overlap are written as they come: each sees what the one before it left",
            "%f = reshape %m {shape=[4]}\n %w = unfold %f {axis=0, size=2, step=1}\n scan (%i) (%p in %w) {\n mul_ %p, 2.0\n}\n return %m",
            &[2.0, 8.0, 12.0, 8.0],
        ),
        (
            "windows of windows that overlap, and a view of each is written",
            "%f = reshape %m {shape=[4]}\n %w = unfold %f {axis=0, size=3, step=1}\n %v = unfold %w {axis=1, size=2, step=1}\n scan (%i) (%p in %v) {\n scan (%j) (%q in %p) {\n %l = slice %q {axis=0, start=1, end=2, step=1}\n mul_ %l, 2.0\n}\n}\n return %m",
            &[1.0, 4.0, 12.0, 8.0],
        ),
        (
            "rows of a matrix are written as they come",
            "%last, %all = scan (%i, %p = %a) (%row in %m) {\n add_ %row, %p\n yield %row, %row\n}\n mul_ %last, 10.0\n %f = reshape %m {shape=[4]}\n %r = concat %last, %f {axis=0}\n return %r",
            &[50.0, 80.0, 2.0, 4.0, 50.0, 80.0],
        ),
        (
            "an element is stacked as it is when the trip ends",
            "%x, %ys = scan (%i, %p = %a) {trips=2} {\n %y = view %p {shape=[2]}\n add_ %p, 1.0\n yield %p, %y\n}\n add_ %x, 100.0\n return %ys",
            &[2.0, 3.0, 3.0, 4.0],
        ),
        (
            "the condition is read when the trip ends",
            "%g = mul %n, 1\n %go = gt %g, 0\n loop 10, %go (%i) {\n add_ %a, 1.0\n sub_ %g, 1\n %more = gt %g, 0\n yield %more\n}\n return %a",
            &[4.0, 5.0],
        ),
        (
            "a loop in a branch in a loop",
            "loop %n, true (%i) {\n %odd = eq %i, 1\n if %odd {\n loop 2, true (%j) {\n mul_ %a, 3.0\n yield true\n}\n } else {\n add_ %a, 1.0\n }\n yield true\n}\n return %a",
            &[19.0, 28.0],
        ),
    ];
    for (what, body, expected) in museum {
        let text = format!(
            "graph case {{\n inout %a: f32[2]\n inout %b: f32[2]\n inout %m: f32[2, 2]\n input %c: bool[]\n input %n: i64[]\n {body}\n}}"
        );
        let graph = graph_of(&text);
        let inputs = [
            Tensor::from_f32(&[2], &[1.0, 2.0]),
            Tensor::from_f32(&[2], &[10.0, 20.0]),
            Tensor::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]),
            Tensor::new(TensorType::new(DType::Bool, Vec::<usize>::new()), vec![1]),
            Tensor::from_i64(&[], &[3]),
        ];
        let run = interpreter::run(&graph, &inputs).expect("the program runs");
        assert_eq!(run.outputs[0].floats(), *expected, "{what}, interpreted\n{}", print(&graph));
        let (pure, _) = functionalize(&graph, &analyze(&graph)).expect("a verified graph has a functional form");
        let found = evaluate(&pure, &inputs).expect("it can be evaluated");
        assert_eq!(found[0].floats(), *expected, "{what}\n{}", print(&pure));
        round_trip(&pure);
    }
}

/// Bytes of a layout of elements of `size` bytes.
fn bytes(layout: &Layout, size: usize) -> BTreeSet<i64> {
    let mut elements = vec![layout.offset];
    for (&extent, &stride) in layout.shape.iter().zip(&layout.strides) {
        elements = elements.iter().flat_map(|&at| (0..extent as i64).map(move |i| at + i * stride)).collect();
    }
    let size = size as i64;
    elements.into_iter().flat_map(|at| at * size..(at + 1) * size).collect()
}

/// Whether what the database says of any two values holds whenever both can be used.
fn relations_hold(graph: &Graph) -> Result<(usize, usize), String> {
    // Where nothing is written, a reshape or bitcast may be a view on one way and a copy on another: nobody could tell.
    if !placements(graph).undecided.is_empty() {
        return Ok((0, 0));
    }
    let aliases = analyze_with(graph, External::Distinct);
    let mut known: BTreeMap<(ValueId, ValueId), Relation> = BTreeMap::new();
    let mut wrong = None;
    let mut watch = |handles: &BTreeMap<ValueId, Handle>, visible: &[ValueId]| {
        // The newest value with all others: older pairs were compared when their newer one came to be.
        let Some((&b, others)) = visible.split_last() else { return };
        for &a in others {
            let relation = known.entry((a, b)).or_insert_with(|| aliases.relation(a, b));
            let (p, q) = (&handles[&a], &handles[&b]);
            let frames = (p.storage, p.start) != (q.storage, q.start);
            let bytes_of = |value: ValueId, handle: &Handle| bytes(&handle.layout, graph.ty(value).dtype.size());
            let apart = frames || bytes_of(a, p).is_disjoint(&bytes_of(b, q));
            if (apart && relation.meets()) || (!apart && relation.is_disjoint()) {
                wrong.get_or_insert_with(|| format!("{} {}: {relation}", graph.display(a), graph.display(b)));
            }
        }
    };
    let (mut memory, mut starts) = (Vec::new(), Vec::new());
    for input in inputs(graph) {
        starts.push(memory.len());
        memory.extend_from_slice(&input.bytes);
    }
    run_watched(graph, &mut memory, &starts, Some(&mut watch))?;
    let decided = known.values().filter(|relation| !matches!(relation, Relation::Unknown(_))).count();
    match wrong {
        Some(wrong) => Err(format!("{wrong}\n{}", print(graph))),
        None => Ok((decided, known.len())),
    }
}

#[test]
fn alias_facts_hold_while_running() {
    let (decided, all) = (Cell::new(0), Cell::new(0));
    let checked = runner(1500).run(&nodes(), |nodes| {
        let (some, pairs) = relations_hold(&program(&nodes)).map_err(TestCaseError::fail)?;
        decided.set(decided.get() + some);
        all.set(all.get() + pairs);
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    let (decided, all) = (decided.get(), all.get());
    assert!(decided * 10 > all * 8, "{decided} of {all} pairs are decided");
}

/// TorchScript's database says that `%a` and `%b` are apart, and its peephole pass then returns 4 where eager gives 3.
#[test]
fn the_way_around_a_loop_is_seen() {
    let graph = graph_of(
        "\
graph around {
  inout %a0: f32[]
  inout %b0: f32[]
  %a, %b, %o = loop 3, true (%i, %p = %a0, %q = %b0, %last = %a0) {
    %o1 = add %p, 0.0
    add_ %q, 1.0
    yield true, %q, %q, %o1
  }
  return %o
}
",
    );
    let value = |name: &str| {
        let at = graph.values.iter().position(|value| value.name == name).expect("a value of that name");
        ValueId(at as u32)
    };
    let aliases = analyze_with(&graph, External::Distinct);
    assert!(aliases.may_alias(value("p"), value("q")));
    assert!(aliases.may_alias(value("a"), value("b")));
    assert!(!aliases.may_alias(value("o1"), value("q")));
    insta::assert_snapshot!(aliases.explain(value("p"), value("q")), @r"
    %p and %q may share bytes: %p and %q may both have bytes of %b0
      %p is what control flow makes it: %a0, or %b0
      %q is what control flow makes it: %b0
      %p is written by %11 = add_ (line 6)
      %q is written by %11 = add_ (line 6)
    ");
    let write = aliases.writers(value("p"))[0];
    let observers: Vec<String> =
        aliases.observers_after(write).into_iter().map(|observer| aliases.describe_observer(observer)).collect();
    insta::assert_snapshot!(observers.join("\n"), @r"
    add reads %p (line 5)
    add reads %q (line 6)
    it is what input b0 holds in the end
    ");
    agrees_on(&graph).expect("the functional form means the same");
    let (pure, _) = functionalize(&graph, &analyze(&graph)).expect("it has a functional form");
    let found = evaluate(&pure, &[Tensor::from_f32(&[], &[0.0]), Tensor::from_f32(&[], &[1.0])]).expect("it evaluates");
    assert_eq!(found[0].floats(), [3.0]);
}

#[test]
fn builder_makes_regions() -> Result<(), situ::ir::BuildError> {
    let mut b = Builder::new("built");
    let x = b.input("x", TensorType::new(DType::F32, [3, 2]));
    let c = b.input("c", TensorType::new(DType::Bool, Vec::<usize>::new()));
    let y = b.branch(c, &[x], |b, p| Ok(vec![b.neg(p[0])?]), |b, p| Ok(vec![b.mul(p[0], p[0])?]))?[0];
    let trips = b.scalar(DType::I64, 3.0);
    let z = b.repeat(trips, c, &[y], &[x], |b, p| Ok(vec![c, b.add(p[1], p[2])?]))?[0];
    let zero = b.constant_f32("zero", &[2], &[0.0, 0.0])?;
    let sums = b.scan(3, &[zero], &[z], &[], |b, p| {
        let sum = b.add(p[1], p[2])?;
        Ok(vec![sum, sum])
    })?;
    b.output("last", sums[0]);
    b.output("all", sums[1]);
    let graph = b.finish()?;
    assert_eq!(verify(&graph), []);
    round_trip(&graph);
    let x = Tensor::from_f32(&[3, 2], &[1.0, -2.0, 3.0, 4.0, 5.0, -6.0]);
    let c = Tensor::new(TensorType::new(DType::Bool, Vec::<usize>::new()), vec![1u8]);
    let found = evaluate(&graph, &[x, c]).expect("it evaluates");
    assert_eq!(found[1].floats(), [2.0, -4.0, 8.0, 4.0, 18.0, -8.0]);
    Ok(())
}

/// Short texts that ask for much: each is answered, or refused as beyond a bound, in a time that a test can wait for.
#[test]
fn large_control_flow_is_bounded() {
    let carries = |count: usize| {
        let carries: Vec<String> =
            (0..count).map(|i| format!("%p{i} = {}", if i == 0 { "%x" } else { "%y" })).collect();
        let results: Vec<String> = (0..count).map(|i| format!("%r{i}")).collect();
        let yields: Vec<String> = (0..count - 1).map(|i| format!("%p{i}")).collect();
        let (last, carries, results) = (count - 1, carries.join(", "), results.join(", "));
        let yields = yields.join(", ");
        format!(
            "{results} = loop %n, true (%i, {carries}) {{\n %t = add %p0, 1.0\n add_ %p{last}, 1.0\n yield true, %t, {yields}\n}}\n"
        )
    };
    let chain: String = (0..1000)
        .map(|i| {
            let before = if i == 0 { "%x".to_string() } else { format!("%r{}", i - 1) };
            format!("%r{i} = if %c {{ yield {before} }} else {{ yield %y }}\n add_ %r{i}, 1.0\n")
        })
        .collect();
    let branches = "if %c { add_ %x, %y } else { add_ %y, %x }\n".repeat(1000);
    let deep: String =
        (0..32).map(|i| format!("%z{i} = loop %n, %c (%i{i}, %q{i} = %x) {{\n add_ %q{i}, 1.0\n")).collect();
    let shut: String = (0..32).rev().map(|i| format!("%u{i} = add %q{i}, 1.0\n yield %c, %u{i}\n}}\n")).collect();
    for (body, served) in
        [(carries(60), true), (carries(400), false), (chain, true), (branches, true), (deep + &shut, true)]
    {
        let graph = graph_of(&format!(
            "graph large {{\n inout %x: f32[2]\n inout %y: f32[2]\n input %c: bool[]\n input %n: i64[]\n {body} return %x\n}}"
        ));
        let found = functionalize(&graph, &analyze(&graph));
        match found {
            Ok((pure, _)) => assert!(served && verify(&pure).is_empty()),
            Err(Stop::Unsupported(_)) => assert!(!served),
            Err(fault) => panic!("{fault}"),
        }
    }
}
