//! Sound plans pass; each kind of damage is refused, by the finding that names it.

use super::*;
use crate::executable::{AsWritten, Distinct};
use crate::fixture::{Build, access, map, update, vector, whole};
use crate::kernel::ScatterFn;
use crate::point::PointFn;
use crate::types::DType;

fn findings(build: &Build) -> Vec<Finding> {
    match check_plan(&build.plan, 0) {
        Ok(()) => Vec::new(),
        Err(findings) => findings,
    }
}

macro_rules! refused {
    ($build:expr, $pattern:pat) => {
        let found = findings(&$build);
        assert!(matches!(found.as_slice(), [$pattern, ..]), "{found:?}");
        for finding in found {
            assert!(!finding.to_string().is_empty());
        }
    };
}

/// `a = -x`, `b = exp a`, `c = a + b`, and the same with `b` over nothing; three buffers of sixteen elements.
fn chain() -> Build {
    let mut build = Build::new(&[("x", InputMode::Read, &[16])]);
    let (a, b, c) = (build.arena(0, 16), build.arena(64, 16), build.arena(128, 16));
    build.map(PointFn::Neg, &[0], a, 16);
    build.map(PointFn::Exp, &[a], b, 16);
    build.map(PointFn::Add, &[a, b], c, 16);
    build.output(vector(c, 16));
    build
}

fn columns(value: u32, first: i64, count: usize, of: i64) -> Access {
    access(value, Layout { offset: first, shape: vec![8, count], strides: vec![of, 1] })
}

#[test]
fn sound_plans_pass() {
    assert_eq!(findings(&chain()), []);
    assert_eq!(check(&update()), Ok(()));
    let mut tied = chain();
    tied.plan.values[3].place.offset = 0;
    assert_eq!(findings(&tied), []);
}

#[test]
fn shared_places_and_wrong_orders_lose_values() {
    let mut build = chain();
    build.plan.values[2].place.offset = 0;
    refused!(build, Finding::Absent { overwritten_by: Some(1), .. });
    let mut build = chain();
    build.plan.steps.swap(0, 1);
    refused!(build, Finding::Absent { overwritten_by: None, .. });
    let mut build = chain();
    build.plan.values[2].place.bytes = 60;
    refused!(build, Finding::Malformed(_));
    let mut build = chain();
    build.plan.steps.remove(2);
    refused!(build, Finding::OutputAbsent { .. });
    let mut build = chain();
    build.plan.steps[2].reads[0].value = 3;
    refused!(build, Finding::Absent { .. });
}

#[test]
fn bounds_alignment_and_indices_are_malformed() {
    for damage in [
        |plan: &mut Plan| plan.arena_bytes -= 64,
        |plan: &mut Plan| plan.values[1].place.offset = 4,
        |plan: &mut Plan| plan.values[1].place.offset = u64::MAX,
        |plan: &mut Plan| plan.values[1].place.bytes = u64::MAX,
        |plan: &mut Plan| plan.values[1].place.space = Space::Input(7),
        |plan: &mut Plan| plan.steps[0].reads[0].value = 99,
        |plan: &mut Plan| plan.steps[0].reads[0].layout.offset = 1,
        |plan: &mut Plan| plan.steps[0].reads[0].layout.offset = -1,
        |plan: &mut Plan| plan.steps[0].reads[0].layout.strides[0] = 2,
        |plan: &mut Plan| plan.steps[0].reads[0].layout.strides.clear(),
        |plan: &mut Plan| plan.steps[0].reads[0].layout.shape[0] = usize::MAX,
        |plan: &mut Plan| plan.steps[0].reads[0].dtype = DType::I32,
        |plan: &mut Plan| plan.steps[0].writes[0].access.layout.strides[0] = 0,
        |plan: &mut Plan| plan.steps[0].reads.clear(),
        |plan: &mut Plan| plan.input_values.clear(),
        |plan: &mut Plan| plan.input_values[0] = 1,
        |plan: &mut Plan| plan.outputs[0].access.layout.shape[0] = 17,
        |plan: &mut Plan| plan.finals.push((0, 0)),
        |plan: &mut Plan| plan.threads = 0,
        |plan: &mut Plan| plan.weight_values.push(1),
        |plan: &mut Plan| plan.assumed_distinct.others.push(9),
        |plan: &mut Plan| plan.assumed_distinct = Distinct { written: vec![0], others: vec![0] },
        |plan: &mut Plan| plan.assumed_distinct = Distinct { written: vec![2, 1], others: vec![0] },
    ] {
        let mut build = chain();
        damage(&mut build.plan);
        refused!(build, Finding::Malformed(_));
    }
}

#[test]
fn ties_need_one_layout_and_a_contract() {
    // Reversed over itself: the same bytes, another order.
    let mut build = chain();
    build.plan.values[3].place.offset = 0;
    let write = &mut build.plan.steps[2].writes[0].access.layout;
    (write.offset, write.strides[0]) = (15, -1);
    refused!(build, Finding::Overlap { why: NoTie::DifferentLayout, .. });
    // A sum over its operand.
    let mut build = chain();
    let axes = vec![0];
    let program = crate::point::Program::identity(DType::F32);
    let function = crate::kernel::ReduceFn::Sum;
    let kernel = Kernel::Reduce { function, axes, prologue: program.clone(), epilogue: program };
    let sum = build.arena(128, 1);
    build.step(kernel, vec![vector(3, 16)], vec![whole(vector(sum, 1))]);
    build.plan.outputs[0].access = vector(sum, 1);
    refused!(build, Finding::Overlap { .. });
    // A product of square matrices over each of its factors: the same bytes in the same order, but no contract.
    for factor in [0, 1] {
        let mut build = Build::new(&[("x", InputMode::Read, &[4, 4])]);
        let values = [build.arena(0, 16), build.arena(64, 16)];
        for value in values {
            let all = Layout::dense(&[4, 4]);
            build.step(map(PointFn::Neg), vec![access(0, all.clone())], vec![whole(access(value, all))]);
        }
        let product = build.arena(64 * factor, 16);
        let matrix = |value| access(value, Layout::dense(&[1, 4, 4]));
        let epilogue = crate::point::Program::identity(DType::F32);
        let kernel = Kernel::MatMul { dtype: DType::F32, packed: false, epilogue };
        build.step(kernel, values.map(matrix).to_vec(), vec![whole(matrix(product))]);
        build.output(vector(product, 16));
        let build = Build { plan: build.finish() };
        refused!(build, Finding::Overlap { why: NoTie::Contract, .. });
    }
    // Half of the result over half of the operand.
    let mut build = chain();
    build.plan.values[3].place.offset = 64;
    build.plan.steps[2].writes[0].access.layout.offset = 0;
    build.plan.steps[2].reads[1].layout.strides[0] = 0;
    refused!(build, Finding::Overlap { why: NoTie::DifferentLayout, .. });
}

#[test]
fn parts_written_by_several_steps_make_a_whole() {
    let parts = |first: [i64; 2]| {
        let mut build = Build::new(&[("x", InputMode::Read, &[8, 3])]);
        let concat = build.arena(0, 48);
        let result = build.arena(192, 48);
        for start in first {
            let read = access(0, Layout::dense(&[8, 3]));
            build.step(map(PointFn::Neg), vec![read], vec![whole(columns(concat, start, 3, 6))]);
        }
        build.map(PointFn::Exp, &[concat], result, 48);
        build.output(vector(result, 48));
        build
    };
    assert_eq!(findings(&parts([0, 3])), []);
    assert_eq!(findings(&parts([3, 0])), []);
    refused!(parts([0, 2]), Finding::WrittenTwice { .. });
    let mut missing = parts([0, 3]);
    missing.plan.steps.remove(0);
    refused!(missing, Finding::Absent { .. });
}

#[test]
fn interleaved_operands_of_one_step_are_refused() {
    let mut build = Build::new(&[("x", InputMode::Read, &[8, 6])]);
    let a = build.arena(0, 48);
    build.map(PointFn::Neg, &[0], a, 48);
    let b = build.arena(0, 48);
    let write = Write { access: columns(b, 3, 3, 6), base: Some(a) };
    build.step(map(PointFn::Neg), vec![columns(a, 0, 3, 6)], vec![write]);
    build.output(vector(b, 48));
    refused!(build, Finding::Overlap { why: NoTie::DifferentLayout, .. });
}

#[test]
fn updates_replace_their_base() {
    let updated = || {
        let mut build = Build::new(&[("x", InputMode::Read, &[48]), ("u", InputMode::Read, &[8, 3])]);
        let base = build.arena(0, 48);
        build.map(PointFn::Neg, &[0], base, 48);
        let new = build.arena(0, 48);
        let read = access(1, Layout::dense(&[8, 3]));
        build.step(map(PointFn::Neg), vec![read], vec![Write { access: columns(new, 0, 3, 6), base: Some(base) }]);
        let result = build.arena(192, 48);
        build.map(PointFn::Exp, &[new], result, 48);
        build.output(vector(result, 48));
        build
    };
    assert_eq!(findings(&updated()), []);
    let mut build = updated();
    build.plan.steps[2].reads[0].value = 2;
    refused!(build, Finding::Absent { .. });
    let mut build = updated();
    build.plan.steps[1].writes[0].base = None;
    refused!(build, Finding::Absent { .. });
    let mut build = updated();
    build.plan.steps.swap(0, 1);
    refused!(build, Finding::BaseGone { .. });
    let mut build = updated();
    build.plan.arena_bytes += 256;
    build.plan.values[3].place.offset = 384;
    refused!(build, Finding::BaseElsewhere { .. });
    let mut build = updated();
    let again = build.plan.steps[1].clone();
    build.plan.steps.insert(2, again);
    refused!(build, Finding::Redefined { .. });
    // The base was destroyed where the update does not write.
    let mut build = updated();
    let hole = build.arena(0, 4);
    build.step(map(PointFn::Neg), vec![vector(0, 4)], vec![whole(vector(hole, 4))]);
    let step = build.plan.steps.pop().unwrap();
    build.plan.steps.insert(1, step);
    refused!(build, Finding::Absent { .. });
}

#[test]
fn scatters_need_their_base_whole() {
    let scattered = |written: usize| {
        let mut build = Build::new(&[("x", InputMode::Read, &[16]), ("i", InputMode::Read, &[1, 1])]);
        build.plan.inputs[1].dtype = DType::I32;
        build.plan.values[1].dtype = DType::I32;
        let base = build.arena(0, 16);
        build.map(PointFn::Neg, &[0], base, written);
        let new = build.arena(0, 16);
        let mut index = access(1, Layout::dense(&[1, 1]));
        index.dtype = DType::I32;
        let write = Write { access: vector(new, 16), base: Some(base) };
        let updates = vector(0, 1);
        build.step(Kernel::ScatterNd { function: ScatterFn::Add }, vec![index, updates], vec![write]);
        build.output(vector(new, 16));
        build
    };
    assert_eq!(findings(&scattered(16)), []);
    refused!(scattered(15), Finding::BaseGone { .. });
}

#[test]
fn workspace_destroys_and_meets_nothing() {
    let place = |offset| Some(Place { space: Space::Arena, offset, bytes: 64 });
    let mut build = chain();
    build.plan.arena_bytes = 256;
    build.plan.steps[1].workspace = place(192);
    assert_eq!(findings(&build), []);
    build.plan.steps[1].workspace = place(128);
    assert_eq!(findings(&build), [], "c is not there yet");
    build.plan.steps[1].workspace = place(0);
    refused!(build, Finding::Overlap { other: Operand::Read(0), .. });
    build.plan.steps[1].workspace = place(64);
    refused!(build, Finding::Overlap { other: Operand::Write(0), .. });
    // A value that a later step reads.
    let mut build = chain();
    build.map(PointFn::Neg, &[0], 3, 16).workspace = place(0);
    build.plan.steps.swap(2, 3);
    build.plan.steps[2].writes[0].access.value = 3;
    refused!(build, Finding::Absent { overwritten_by: Some(2), .. });
}

#[test]
fn inputs_and_weights_are_protected() {
    let mut build = chain();
    build.plan.values[3].place.space = Space::Input(0);
    build.plan.values[3].place.offset = 0;
    refused!(build, Finding::ReadOnly { .. });
    let mut build = chain();
    build.plan.values[3].place = Place { space: Space::Weights, offset: 0, bytes: 64 };
    let found = check_plan(&build.plan, 64).unwrap_err();
    assert!(matches!(found[0], Finding::ReadOnly { .. }), "{found:?}");
    let mut build = chain();
    build.plan.outputs[0].access.value = 0;
    refused!(build, Finding::OutputBorrowed { .. });
    let mut build = chain();
    build.output(vector(3, 8));
    refused!(build, Finding::OutputsOverlap { .. });
}

#[test]
fn state_must_end_as_declared() {
    let spoil = |damage: fn(&mut Plan)| {
        let mut executable = update();
        damage(&mut executable.plans[0]);
        check(&executable).unwrap_err()
    };
    assert!(matches!(spoil(|plan| plan.finals.clear())[..], [Finding::FinalUndeclared { .. }]));
    assert!(matches!(spoil(|plan| plan.finals[0].1 = 2)[..], [Finding::FinalAbsent { .. }]));
    assert!(matches!(spoil(|plan| drop(plan.steps.pop()))[..], [Finding::FinalAbsent { .. }]));
    assert!(matches!(spoil(|plan| plan.steps.swap(1, 2))[..], [Finding::Absent { .. }, ..]));
    // Input 1 is given up and overwritten, so that even an input nobody reads must keep away from it.
    for (written, others) in
        [(vec![1, 2], vec![]), (vec![1], vec![0, 2]), (vec![2], vec![0, 1]), (vec![], vec![0, 1, 2])]
    {
        let mut executable = update();
        executable.plans[0].assumed_distinct = Distinct { written, others };
        assert!(matches!(check(&executable).unwrap_err()[..], [Finding::Unassumed { .. }, ..]));
    }
}

/// `s = s + x`, `y = x`, as written: `x` goes through the arena, for it may share bytes with `s`.
fn as_written() -> Executable {
    let inputs = [("x", InputMode::Read, &[4][..]), ("s", InputMode::InOut, &[4])];
    let mut main = Build::new(&inputs);
    let s = main.value(Space::Input(1), 0, 4);
    main.map(PointFn::Add, &[1, 0], s, 4);
    let y = main.arena(0, 4);
    main.map(PointFn::Abs, &[0], y, 4);
    main.output(vector(y, 4));
    main.plan.finals = vec![(1, s)];
    main.plan.assumed_distinct = Distinct { written: vec![1], others: vec![0] };
    let mut executable = main.executable();
    let mut build = Build::new(&inputs);
    let x = build.arena(64, 4);
    build.map(PointFn::Abs, &[0], x, 4);
    let s = build.value(Space::Input(1), 0, 4);
    build.map(PointFn::Add, &[1, x], s, 4);
    let y = build.arena(0, 4);
    build.map(PointFn::Abs, &[0], y, 4);
    build.output(vector(y, 4));
    build.plan.finals = vec![(1, s)];
    let written = AsWritten { plan: build.finish(), epochs: vec![0, 0, 1] };
    executable.fallbacks = vec![Fallback::AsWritten(Box::new(written))];
    executable
}

#[test]
fn a_fallback_touches_no_input_while_it_writes_another() {
    check(&as_written()).unwrap();
    let spoil = |damage: fn(&mut AsWritten)| {
        let mut executable = as_written();
        let Fallback::AsWritten(written) = &mut executable.fallbacks[0] else { panic!("as made") };
        damage(written);
        check(&executable).unwrap_err()
    };
    let found = spoil(|written| written.plan.steps[1].reads[1].value = 0);
    assert!(matches!(found[..], [Finding::FallbackAliases { written: 1, other: 0, .. }]), "{found:?}");
    // For inputs that do not share bytes all of these orders mean the same.
    let found = spoil(|written| written.plan.steps.swap(1, 2));
    assert!(matches!(found[..], [Finding::OutOfOrder { step: 2, expected: 1, found: 0, .. }]), "{found:?}");
    let found = spoil(|written| written.epochs[2] = 0);
    assert!(matches!(found[..], [Finding::OutOfOrder { step: 2, .. }]), "{found:?}");
    for damage in [
        |written: &mut AsWritten| written.epochs.clear(),
        |written: &mut AsWritten| written.plan.inputs[0].name.push('!'),
        |written: &mut AsWritten| written.plan.outputs.clear(),
        |written: &mut AsWritten| written.plan.threads = 1,
        |written: &mut AsWritten| written.plan.assumed_distinct = Distinct { written: vec![1], others: vec![0] },
    ] {
        let found = spoil(damage);
        assert!(matches!(found[..], [Finding::Malformed(_)]), "{found:?}");
    }
    for fallbacks in [vec![], vec![Fallback::Unneeded], vec![Fallback::Promised; 2]] {
        let executable = Executable { fallbacks, ..as_written() };
        assert!(matches!(check(&executable).unwrap_err()[..], [Finding::Malformed(_)]));
    }
}

#[test]
fn thousand_steps_are_checked_in_milliseconds() {
    let mut build = Build::new(&[("x", InputMode::Read, &[64, 64])]);
    let mut last = 0;
    for layer in 0..250u64 {
        let offset = layer % 2 * 65536;
        let parts = build.arena(offset, 64 * 192);
        for part in 0..3 {
            let read = access(last, Layout::dense(&[64, 64]));
            let layout = Layout { offset: part * 64, shape: vec![64, 64], strides: vec![192, 1] };
            build.step(map(PointFn::Neg), vec![read], vec![whole(access(parts, layout))]);
        }
        let sum = build.arena(131072, 64 * 64);
        let view = |part: i64| access(parts, Layout { offset: part * 64, shape: vec![64, 64], strides: vec![192, 1] });
        let write = whole(access(sum, Layout::dense(&[64, 64])));
        build.step(map(PointFn::Add), vec![view(0), view(2)], vec![write]);
        last = sum;
    }
    build.output(access(last, Layout::dense(&[64, 64])));
    let start = std::time::Instant::now();
    assert_eq!(findings(&build), []);
    let elapsed = start.elapsed();
    assert!(elapsed.as_millis() < 100, "{elapsed:?}");
    println!("{} steps in {elapsed:?}", build.plan.steps.len());
}
