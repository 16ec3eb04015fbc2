//! Branches and loops in plans made by hand: what they compute, and that no damage to one is accepted.

use crate::RunError;
use crate::check::{Finding, NoTie, check};
use crate::executable::{Access, Distinct, Executable, Place, Plan, Space, Write};
use crate::fixture::{Build, access, below, map, vector, whole};
use crate::kernel::control::{MAX_NESTING, workspace_bytes};
use crate::kernel::{Kernel, ScatterFn};
use crate::map::Weights;
use crate::point::{PointFn, Program};
use crate::session::{Argument, Options, Session};
use crate::tensor::Tensor;
use crate::types::{DType, InputMode, Layout};
use crate::wire::Compiled;

use InputMode::{Donate, InOut, Out, Read};

fn session(executable: Executable, threads: usize) -> Session {
    let compiled = Compiled::new(executable, Weights::none()).unwrap();
    Session::new(compiled, Options { threads: Some(threads), ..Options::default() }).unwrap()
}

/// A step that runs bodies, with its scratch at `offset`.
fn control(build: &mut Build, kernel: Kernel, reads: Vec<Access>, writes: Vec<Write>, offset: u64, bodies: &[Plan]) {
    let bytes = workspace_bytes(&kernel, |body| bodies[body as usize].arena_bytes);
    build.plan.arena_bytes = build.plan.arena_bytes.max(offset + bytes);
    build.step(kernel, reads, writes).workspace = (bytes > 0).then_some(Place { space: Space::Arena, offset, bytes });
}

fn identity(dtype: DType) -> Kernel {
    Kernel::Map { program: Program::identity(dtype) }
}

/// `(a, b), go = (b + x, a), i < limit`, the condition that comes first in the ports' order last in the file's.
fn whirl_body(limit: i64) -> Plan {
    let mut body = Build::new(&[]);
    let i = body.input("i", DType::I64, Read, &[]);
    let (a, b) = (body.input("a", DType::F32, InOut, &[4]), body.input("b", DType::F32, InOut, &[4]));
    let x = body.input("x", DType::F32, Read, &[4]);
    let go = body.input("go", DType::Bool, Out, &[]);
    let aside = body.arena(0, 4);
    let (a2, b2, went) = (body.over(a), body.over(b), body.over(go));
    body.step(identity(DType::F32), vec![vector(a, 4)], vec![whole(vector(aside, 4))]);
    body.map(PointFn::Add, &[b, x], a2, 4);
    body.step(identity(DType::F32), vec![vector(aside, 4)], vec![whole(vector(b2, 4))]);
    let (read, write) = (body.port(i), body.port(went));
    body.step(below(limit), vec![read], vec![whole(write)]);
    body.plan.finals = vec![(1, a2), (2, b2), (4, went)];
    body.finish()
}

/// `a, b = whirl(n, c, a, b, x)`: `a` is state, `b` is given up and returned.
fn whirl(limit: i64) -> Executable {
    let bodies = vec![whirl_body(limit)];
    let mut build = Build::new(&[]);
    let (n, c) = (build.input("n", DType::I64, Read, &[]), build.input("c", DType::Bool, Read, &[]));
    let (a, b) = (build.input("a", DType::F32, InOut, &[4]), build.input("b", DType::F32, Donate, &[4]));
    let x = build.input("x", DType::F32, Read, &[4]);
    let (a2, b2) = (build.over(a), build.over(b));
    let kernel = Kernel::Loop { body: 0, trips: None, carried: 2, sequences: 0 };
    let reads = [n, c, x].map(|value| build.port(value)).to_vec();
    let writes = [(a2, a), (b2, b)].map(|(new, old)| Write { access: vector(new, 4), base: Some(old) }).to_vec();
    control(&mut build, kernel, reads, writes, 0, &bodies);
    build.output(vector(b2, 4));
    build.plan.finals = vec![(2, a2)];
    build.plan.assumed_distinct = Distinct { written: vec![2, 3], others: vec![0, 1, 4] };
    Executable { bodies, ..build.executable() }
}

#[test]
fn a_loop_swaps_its_carries_in_their_own_bytes() {
    for threads in [1, 2] {
        for (n, begin, limit) in [(0, true, 9), (-3, true, 9), (1, true, 9), (2, true, 9), (7, true, 2), (7, false, 9)]
        {
            let mut session = session(whirl(limit), threads);
            let (x, mut state) = ([1.0f32, 2.0, 3.0, 4.0], [0.5f32, -1.0, 8.0, 0.25]);
            let start = [10.0f32, 20.0, 30.0, 40.0];
            let (mut a, mut b, mut go, mut i) = (state, start, begin, 0i64);
            while i < n && go {
                (a, b) = (std::array::from_fn(|j| b[j] + x[j]), a);
                go = i < limit;
                i += 1;
            }
            let (trips, condition) = ([n], Tensor::from_bytes(DType::Bool, &[], &[u8::from(begin)]).unwrap());
            let mut arguments = [
                Argument::read(&trips),
                Argument::read(&condition),
                Argument::inout(&mut state),
                Argument::Donate(Tensor::copied(&[4], &start).unwrap()),
                Argument::read(&x),
            ];
            let outputs = session.run(&mut arguments).unwrap();
            assert_eq!(outputs.slice::<f32>(0).unwrap(), b, "{n} {begin} {limit}");
            assert_eq!(state, a, "{n} {begin} {limit}");
        }
    }
}

/// `h = if h[0] < s[0] { h * x + s } else { h - x }` over five slices `s` of a sequence; gives every `h` and the last.
fn recurrence() -> Executable {
    let branch = |first: bool| {
        let mut body = Build::new(&[]);
        let h = body.input("h", DType::F32, InOut, &[3]);
        let (s, x) = (body.input("s", DType::F32, Read, &[3]), body.input("x", DType::F32, Read, &[3]));
        let h2 = body.over(h);
        if first {
            let product = body.arena(0, 3);
            body.map(PointFn::Mul, &[h, x], product, 3);
            body.map(PointFn::Add, &[product, s], h2, 3);
        } else {
            body.map(PointFn::Sub, &[h, x], h2, 3);
        }
        body.plan.finals = vec![(0, h2)];
        body.finish()
    };
    let mut bodies = vec![branch(true), branch(false)];
    let mut body = Build::new(&[]);
    body.input("i", DType::I64, Read, &[]);
    let h = body.input("h", DType::F32, InOut, &[3]);
    let (s, x) = (body.input("s", DType::F32, Read, &[3]), body.input("x", DType::F32, Read, &[3]));
    let e = body.input("e", DType::F32, Out, &[3]);
    let less = body.arena(64, 1);
    body.plan.values[less as usize].dtype = DType::Bool;
    let scalar = |value: u32| access(value, Layout::dense(&[]));
    let condition = Access { dtype: DType::Bool, ..scalar(less) };
    body.step(Kernel::Map { program: compare() }, vec![scalar(h), scalar(s)], vec![whole(condition.clone())]);
    let (h2, e2) = (body.over(h), body.over(e));
    let kernel = Kernel::If { then_body: 0, else_body: 1, carried: 1 };
    let writes = vec![Write { access: vector(h2, 3), base: Some(h) }];
    control(&mut body, kernel, vec![condition, vector(s, 3), vector(x, 3)], writes, 128, &bodies);
    body.step(identity(DType::F32), vec![vector(h2, 3)], vec![whole(vector(e2, 3))]);
    body.plan.finals = vec![(1, h2), (4, e2)];
    bodies.push(body.finish());
    let mut build = Build::new(&[("s", Read, &[5, 3]), ("x", Read, &[3]), ("h", Read, &[3])]);
    let (start, stacked) = (build.arena(0, 3), build.arena(64, 15));
    build.step(identity(DType::F32), vec![vector(2, 3)], vec![whole(vector(start, 3))]);
    let last = build.over(start);
    let kernel = Kernel::Loop { body: 2, trips: Some(5), carried: 1, sequences: 1 };
    let reads = vec![build.port(0), vector(1, 3)];
    let writes =
        vec![Write { access: vector(last, 3), base: Some(start) }, whole(access(stacked, Layout::dense(&[5, 3])))];
    control(&mut build, kernel, reads, writes, 128, &bodies);
    build.output(vector(last, 3));
    build.output(access(stacked, Layout::dense(&[5, 3])));
    Executable { bodies, ..build.executable() }
}

fn compare() -> Program {
    let Kernel::Map { program } = map(PointFn::Lt) else { unreachable!() };
    program
}

#[test]
fn a_scan_with_a_branch_gives_every_state() {
    for threads in [1, 2] {
        let mut session = session(recurrence(), threads);
        for seed in 0..4 {
            let s: Vec<f32> = (0..15).map(|i| ((i * 7 + seed * 5) % 11) as f32 - 5.0).collect();
            let (x, start) = ([0.5f32, -2.0, 3.0], [1.0f32, 2.0, -seed as f32]);
            let (mut h, mut all) = (start, Vec::new());
            for s in s.chunks_exact(3) {
                let first = h[0] < s[0];
                h = std::array::from_fn(|j| if first { h[j] * x[j] + s[j] } else { h[j] - x[j] });
                all.extend(h);
            }
            let mut arguments = [Argument::read(&s), Argument::read(&x), Argument::read(&start)];
            let outputs = session.run(&mut arguments).unwrap();
            assert_eq!(outputs.slice::<f32>(0).unwrap(), h);
            assert_eq!(outputs.slice::<f32>(1).unwrap(), all);
        }
    }
}

/// A loop that adds to one element of its state at the index it reads from a sequence.
fn counting() -> Executable {
    let mut body = Build::new(&[]);
    body.input("i", DType::I64, Read, &[]);
    let state = body.input("state", DType::F32, InOut, &[4]);
    let at = body.input("at", DType::I64, Read, &[1, 1]);
    let one = body.input("one", DType::F32, Read, &[1]);
    let state2 = body.over(state);
    let reads = vec![body.port(at), body.port(one)];
    let write = Write { access: vector(state2, 4), base: Some(state) };
    body.step(Kernel::ScatterNd { function: ScatterFn::Add }, reads, vec![write]);
    body.plan.finals = vec![(1, state2)];
    let bodies = vec![body.finish()];
    let mut build = Build::new(&[]);
    let at = build.input("at", DType::I64, Read, &[3, 1, 1]);
    let one = build.input("one", DType::F32, Read, &[1]);
    let state = build.input("state", DType::F32, InOut, &[4]);
    let state2 = build.over(state);
    let kernel = Kernel::Loop { body: 0, trips: Some(3), carried: 1, sequences: 1 };
    let reads = [at, one].map(|value| build.port(value)).to_vec();
    control(&mut build, kernel, reads, vec![Write { access: vector(state2, 4), base: Some(state) }], 0, &bodies);
    build.plan.finals = vec![(2, state2)];
    build.plan.assumed_distinct = Distinct { written: vec![2], others: vec![0, 1] };
    Executable { bodies, ..build.executable() }
}

#[test]
fn a_loop_that_fails_halfway_poisons_the_session() {
    let mut session = session(counting(), 1);
    let (one, mut state) = ([1.0f32], [0.0f32; 4]);
    for (at, after, fails) in [([1i64, 3, 1], [0.0, 2.0, 0.0, 1.0], false), ([0, 4, 0], [1.0, 2.0, 0.0, 1.0], true)] {
        let mut arguments = [Argument::read(&at), Argument::read(&one), Argument::inout(&mut state)];
        let found = session.run(&mut arguments).map(drop);
        let step = "s0 in s0".to_string();
        let error = RunError::IndexOutOfRange { step, index: 4, extent: 4 };
        assert_eq!(found, if fails { Err(error) } else { Ok(()) });
        assert_eq!((session.is_poisoned(), state), (fails, after));
    }
    let at = [0i64; 3];
    let mut arguments = [Argument::read(&at), Argument::read(&one), Argument::inout(&mut state)];
    assert_eq!(session.run(&mut arguments).map(drop), Err(RunError::Poisoned));
}

fn findings(executable: &Executable) -> Vec<Finding> {
    let findings = check(executable).map_or_else(|findings| findings, |()| Vec::new());
    assert!(findings.iter().all(|finding| !finding.to_string().is_empty()));
    findings
}

/// The findings after some damage.
fn spoiled(mut executable: Executable, damage: impl FnOnce(&mut Executable)) -> Vec<Finding> {
    damage(&mut executable);
    findings(&executable)
}

macro_rules! refused {
    ($findings:expr, $pattern:pat) => {
        let found = $findings;
        assert!(matches!(found.as_slice(), [$pattern, ..]), "{found:?}");
    };
}

macro_rules! inside {
    ($findings:expr, $pattern:pat) => {
        let found = $findings;
        let first = match found.as_slice() {
            [Finding::InBody { finding, .. }, ..] => &**finding,
            _ => panic!("{found:?}"),
        };
        assert!(matches!(first, $pattern), "{first:?}");
    };
}

#[test]
fn sound_bodies_pass() {
    for executable in [whirl(3), recurrence(), counting()] {
        assert_eq!(findings(&executable), []);
    }
}

#[test]
fn a_body_must_find_and_leave_what_its_ports_say() {
    // The carries change places, unnoticed by whoever runs the body.
    inside!(
        spoiled(whirl(3), |it| it.bodies[0].finals.iter_mut().for_each(|f| f.1 = if f.0 == 1 { 1 } else { f.1 })),
        Finding::FinalAbsent { .. }
    );
    inside!(spoiled(whirl(3), |it| it.bodies[0].finals.truncate(1)), Finding::FinalUndeclared { .. });
    inside!(spoiled(whirl(3), |it| it.bodies[0].finals.truncate(2)), Finding::FinalUndeclared { .. });
    // One is not put aside, or too late.
    inside!(spoiled(whirl(3), |it| drop(it.bodies[0].steps.remove(0))), Finding::Absent { .. });
    inside!(spoiled(whirl(3), |it| it.bodies[0].steps.swap(0, 1)), Finding::Absent { .. });
    inside!(spoiled(whirl(3), |it| it.bodies[0].steps[2].reads[0].value = 1), Finding::Absent { .. });
    // The condition is not written, or read before it is.
    inside!(spoiled(whirl(3), |it| drop(it.bodies[0].steps.pop())), Finding::FinalAbsent { .. });
    inside!(
        spoiled(recurrence(), |it| {
            it.bodies[2].steps[0].reads[0].value = 4;
        }),
        Finding::Absent { .. }
    );
    // A port that is only read is written.
    inside!(
        spoiled(whirl(3), |it| {
            let place = it.bodies[0].values[3].place;
            it.bodies[0].values[5].place = place;
        }),
        Finding::ReadOnly { .. }
    );
    // An element of a result is not all written.
    inside!(
        spoiled(recurrence(), |it| {
            it.bodies[2].steps[2].writes[0].access.layout = Layout::dense(&[2]);
            it.bodies[2].steps[2].reads[0].layout = Layout::dense(&[2]);
        }),
        Finding::FinalAbsent { .. }
    );
    // A branch forgets its result.
    inside!(spoiled(recurrence(), |it| it.bodies[1].steps.clear()), Finding::FinalAbsent { .. });
    inside!(spoiled(recurrence(), |it| it.bodies[0].steps.swap(0, 1)), Finding::Absent { .. });
}

#[test]
fn who_runs_a_body_must_lend_what_it_assumes() {
    // The initial value is not there.
    refused!(spoiled(recurrence(), |it| drop(it.plans[0].steps.remove(0))), Finding::BaseGone { .. });
    refused!(spoiled(recurrence(), |it| it.plans[0].steps.swap(0, 1)), Finding::BaseGone { .. });
    refused!(spoiled(recurrence(), |it| it.plans[0].steps[1].writes[0].base = None), Finding::BaseGone { .. });
    refused!(
        spoiled(recurrence(), |it| it.plans[0].values[5].place.offset = 256),
        Finding::Overlap { .. } | Finding::BaseElsewhere { .. }
    );
    // What a body only reads is what another result is written over: an argument is a carry, or a sequence a stack.
    refused!(
        spoiled(recurrence(), |it| it.plans[0].steps[1].reads[1] = vector(3, 3)),
        Finding::Overlap { why: NoTie::Contract, .. }
    );
    refused!(
        spoiled(recurrence(), |it| it.plans[0].values[4].place =
            Place { space: Space::Input(0), offset: 0, bytes: 60 }),
        Finding::ReadOnly { .. }
    );
    // Scratch meets a carry, an element, or what the step reads.
    for offset in [0, 64] {
        refused!(
            spoiled(recurrence(), |it| it.plans[0].steps[1].workspace.as_mut().unwrap().offset = offset),
            Finding::Overlap { why: NoTie::BothWritten, .. }
        );
    }
    inside!(
        spoiled(recurrence(), |it| it.bodies[2].steps[1].workspace.as_mut().unwrap().offset = 64),
        Finding::Malformed(_) | Finding::Overlap { .. }
    );
    // State that two carries would share.
    refused!(
        spoiled(whirl(3), |it| {
            let plan = &mut it.plans[0];
            let place = plan.values[2].place;
            plan.values.push(crate::executable::PlannedValue { name: "%c".into(), dtype: DType::F32, place });
            plan.steps[0].writes[1] = Write { access: vector(7, 4), base: Some(2) };
        }),
        Finding::Overlap { why: NoTie::BothWritten, .. }
    );
    refused!(spoiled(whirl(3), |it| it.plans[0].assumed_distinct = Distinct::default()), Finding::Unassumed { .. });
}

#[test]
fn bodies_that_do_not_fit_are_malformed() {
    let damages: &[fn(&mut Executable)] = &[
        |it| it.bodies[2].inputs[1].mode = Read,
        |it| it.bodies[2].inputs[2].mode = Donate,
        |it| it.bodies[2].inputs[3].shape = vec![4],
        |it| it.bodies[2].inputs[0].dtype = DType::F64,
        |it| it.bodies[0].inputs.swap(0, 1),
        |it| drop(it.bodies[2].inputs.pop()),
        |it| it.bodies[2].threads = 1,
        |it| it.bodies[0].arena_bytes += 1 << 20,
        |it| it.bodies[2].steps[1].workspace = None,
        |it| it.bodies.swap(0, 2),
        |it| it.bodies.push(it.bodies[0].clone()),
        |it| it.bodies.clear(),
        |it| it.plans[0].inputs[1].mode = Out,
        |it| it.plans.push(it.plans[0].clone()),
        |it| it.plans[0].steps[1].kernel = Kernel::Loop { body: 3, trips: Some(5), carried: 1, sequences: 1 },
        |it| it.plans[0].steps[1].kernel = Kernel::Loop { body: u32::MAX, trips: Some(5), carried: 1, sequences: 1 },
        |it| it.plans[0].steps[1].kernel = Kernel::Loop { body: 2, trips: Some(4), carried: 1, sequences: 1 },
        |it| it.plans[0].steps[1].kernel = Kernel::Loop { body: 2, trips: Some(u64::MAX), carried: 1, sequences: 1 },
        |it| it.plans[0].steps[1].kernel = Kernel::Loop { body: 2, trips: None, carried: 1, sequences: 0 },
        |it| it.plans[0].steps[1].kernel = Kernel::Loop { body: 2, trips: Some(5), carried: 2, sequences: 1 },
        |it| it.plans[0].steps[1].kernel = Kernel::Loop { body: 2, trips: Some(5), carried: usize::MAX, sequences: 1 },
        |it| it.plans[0].steps[1].kernel = Kernel::Loop { body: 2, trips: Some(5), carried: 1, sequences: usize::MAX },
        |it| it.plans[0].steps[1].kernel = Kernel::If { then_body: 2, else_body: 2, carried: 1 },
        |it| it.bodies[2].steps[1].kernel = Kernel::If { then_body: 0, else_body: 2, carried: 1 },
        |it| it.bodies[2].steps[1].kernel = Kernel::If { then_body: 0, else_body: 0, carried: 1 },
        |it| it.bodies[2].steps[1].reads[0] = vector(2, 3),
        |it| it.plans[0].steps[1].writes[1].access.layout.strides = vec![4, 1],
        |it| {
            it.plans[0].steps[1].writes[1].access.layout = Layout { offset: 0, shape: vec![5, 3], strides: vec![1, 5] }
        },
        |it| it.plans[0].steps[1].reads[0].layout = Layout { offset: 0, shape: vec![5, 3], strides: vec![0, 1] },
    ];
    for (number, &damage) in damages.iter().enumerate() {
        let found = spoiled(recurrence(), damage);
        assert!(matches!(found.as_slice(), [Finding::Malformed(_)]), "{number}: {found:?}");
    }
}

/// `depth` loops, one in the other, each of one iteration over one carry.
fn nested(depth: usize) -> Executable {
    let step = |build: &mut Build, value: u32, bodies: &[Plan]| {
        let new = build.over(value);
        let body = bodies.len() as u32 - 1;
        let kernel = Kernel::Loop { body, trips: Some(1), carried: 1, sequences: 0 };
        let write = Write { access: build.port(new), base: Some(value) };
        control(build, kernel, Vec::new(), vec![write], 0, bodies);
        new
    };
    let mut bodies: Vec<Plan> = Vec::new();
    for level in 0..depth {
        let mut body = Build::new(&[]);
        body.input("i", DType::I64, Read, &[]);
        let x = body.input("x", DType::F32, InOut, &[2]);
        let last = if level == 0 { body.over(x) } else { step(&mut body, x, &bodies) };
        if level == 0 {
            body.map(PointFn::Add, &[x, x], last, 2);
        }
        body.plan.finals = vec![(1, last)];
        bodies.push(body.finish());
    }
    let mut build = Build::new(&[("x", InOut, &[2])]);
    let last = step(&mut build, 0, &bodies);
    build.plan.finals = vec![(0, last)];
    Executable { bodies, ..build.executable() }
}

#[test]
fn nesting_is_bounded() {
    let mut session = session(nested(MAX_NESTING), 1);
    let mut x = [1.5f32, -2.0];
    session.run(&mut [Argument::inout(&mut x)]).unwrap();
    assert_eq!(x, [3.0, -4.0]);
    refused!(findings(&nested(MAX_NESTING + 1)), Finding::Malformed(_));
}
