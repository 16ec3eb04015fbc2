//! Runs of small plans: results, state, refusals, poisoning, foreign pointers.

use super::*;
use crate::executable::{AsWritten, Distinct, Executable, Fallback, Space, Write};
use crate::fixture::{Build, access, map, update, vector, whole};
use crate::kernel::Kernel;
use crate::map::Weights;
use crate::point::PointFn;
use crate::raw::{AliasPolicy, RawInput, RawSession, Route};
use crate::types::Layout;

fn compiled(executable: Executable) -> Compiled {
    Compiled::new(executable, Weights::none()).unwrap()
}

fn session(executable: Executable, threads: usize) -> Session {
    Session::new(compiled(executable), Options { threads: Some(threads), ..Options::default() }).unwrap()
}

fn donated(data: [f32; 4]) -> Tensor {
    Tensor::copied(&[4], &data).unwrap()
}

#[test]
fn runs_update_state_and_give_results() {
    for threads in [1, 2] {
        let mut session = session(update(), threads);
        let x = [1.0f32, 2.0, 3.0, 4.0];
        let mut state = vec![1.0f32; 4];
        for round in 0..3 {
            let before = state.clone();
            let mut arguments =
                [Argument::read(&x), Argument::Donate(donated([round as f32; 4])), Argument::inout(&mut state)];
            let mut steps = Vec::new();
            let outputs = session.run_observed(&mut arguments, |step| steps.push(step)).unwrap();
            let sum = x.map(|x| x + round as f32);
            let product: Vec<f32> = sum.iter().zip(&before).map(|(t, s)| t * s).collect();
            assert_eq!(outputs.slice::<f32>(0).unwrap(), product);
            assert_eq!(outputs.to_tensor(0).unwrap().as_slice::<f32>().unwrap(), product);
            assert_eq!(outputs.ports()[0].name, "out0");
            let mut copy = [0f32; 4];
            outputs.copy_to(0, &mut copy).unwrap();
            assert_eq!(copy[..], product);
            assert!(outputs.copy_to(0, &mut copy[1..]).is_err());
            assert!(outputs.slice::<i32>(0).is_err() && outputs.bytes(1).is_err());
            assert_eq!(steps, [0, 1, 2]);
            let after: Vec<f32> = before.iter().zip(sum).map(|(s, t)| s + t).collect();
            assert_eq!(state, after);
        }
    }
}

#[test]
fn arguments_must_fit() {
    let mut session = session(update(), 1);
    let (x, mut s) = ([1.0f32; 4], [0.0f32; 4]);
    let mut refused = |make: &mut dyn FnMut() -> Vec<Argument<'static>>, word: &str| {
        let mut arguments = make();
        let Err(RunError::Argument(message)) = session.run(&mut arguments).map(|_| ()) else { panic!("accepted") };
        assert!(message.contains(word), "{message}");
    };
    let leak = |data: &[f32]| -> &'static mut [f32] { Box::leak(data.to_vec().into_boxed_slice()) };
    let state = || Argument::inout(leak(&[0.0; 4]));
    let donate = || Argument::Donate(donated([0.0; 4]));
    refused(&mut || vec![Argument::read(&*leak(&[0.0; 4]))], "3 inputs");
    refused(&mut || vec![Argument::read(&*leak(&[0.0; 3])), donate(), state()], "16 bytes, found 12");
    refused(&mut || vec![Argument::read(&[0i32; 4]), donate(), state()], "is f32, found i32");
    refused(&mut || vec![state(), donate(), state()], "is read, passed as inout");
    refused(&mut || vec![Argument::read(&[0f32; 4]), Argument::read(&[0f32; 4]), state()], "is donate");
    refused(&mut || vec![Argument::read(&[0f32; 4]), Argument::Donate(Tensor::default()), state()], "input d");
    let square = || Argument::Donate(Tensor::copied(&[2, 2], &[0f32; 4]).unwrap());
    refused(&mut || vec![Argument::read(&[0f32; 4]), square(), state()], "has shape [4]");
    let odd: &'static [u8] = &bytemuck::cast_slice::<f32, u8>(leak(&[0.0; 5]))[1..17];
    refused(&mut || vec![Argument::read(TensorRef::new(DType::F32, odd)), donate(), state()], "not aligned");
    // Refusals touch nothing: the donated tensor is still the caller's.
    let mut arguments = [Argument::read(&[0i32; 4]), donate(), Argument::inout(&mut s)];
    assert!(session.run(&mut arguments).is_err());
    assert!(matches!(&arguments[1], Argument::Donate(tensor) if tensor.shape() == [4]));
    // And a donated tensor cannot be donated twice.
    let mut arguments = [Argument::read(&x), donate(), Argument::inout(&mut s)];
    assert!(session.run(&mut arguments).is_ok());
    assert!(matches!(session.run(&mut arguments), Err(RunError::Argument(_))));
}

/// `s = s + x` before or after `y = gather(x, i)`, in one step each.
fn gathering(state_first: bool) -> Executable {
    let modes = [("x", InputMode::Read, &[4][..]), ("i", InputMode::Read, &[2]), ("s", InputMode::InOut, &[4])];
    let mut build = Build::new(&modes);
    build.plan.inputs[1].dtype = DType::I32;
    build.plan.values[1].dtype = DType::I32;
    let y = build.arena(0, 2);
    let mut indices = vector(1, 2);
    indices.dtype = DType::I32;
    build.step(Kernel::Gather { axis: 0 }, vec![vector(0, 4), indices], vec![whole(vector(y, 2))]).label =
        "gather at line 3".into();
    let s = build.value(Space::Input(2), 0, 4);
    build.map(PointFn::Add, &[2, 0], s, 4);
    if state_first {
        build.plan.steps.swap(0, 1);
    }
    build.output(vector(y, 2));
    build.plan.finals = vec![(2, s)];
    build.plan.assumed_distinct = Distinct { written: vec![2], others: vec![0, 1] };
    build.executable()
}

#[test]
fn a_failure_after_a_write_of_state_poisons() {
    for state_first in [false, true] {
        let mut session = session(gathering(state_first), 1);
        let (x, mut s) = ([1f32, 2.0, 3.0, 4.0], [10f32; 4]);
        let run = |session: &mut Session, i: [i32; 2], s: &mut [f32; 4]| {
            session.run(&mut [Argument::read(&x), Argument::read(&i), Argument::inout(s)]).map(|_| ())
        };
        assert_eq!(run(&mut session, [3, -4], &mut s), Ok(()));
        assert_eq!(s, [11.0, 12.0, 13.0, 14.0]);
        let error = run(&mut session, [0, 4], &mut s).unwrap_err();
        let step = "gather at line 3".to_string();
        assert_eq!(error, RunError::IndexOutOfRange { step, index: 4, extent: 4 });
        assert_eq!(session.is_poisoned(), state_first);
        if state_first {
            assert_eq!(run(&mut session, [0, 0], &mut s), Err(RunError::Poisoned));
            session.clear_poison();
        } else {
            assert_eq!(s, [11.0, 12.0, 13.0, 14.0]);
        }
        assert_eq!(run(&mut session, [0, 0], &mut s), Ok(()));
    }
}

#[test]
fn sessions_refuse_what_they_cannot_run() {
    let mut spoiled = update();
    spoiled.plans[0].steps.swap(1, 2);
    let refused = Session::new(compiled(spoiled), Options::default());
    assert!(matches!(refused, Err(SessionError::Refused(_))));
    let options = |threads, plan| Options { threads, isa: None, plan };
    for (options, word) in
        [(options(Some(0), 0), "1 to 2"), (options(Some(3), 0), "1 to 2"), (options(None, 1), "no plan 1")]
    {
        let error = Session::new(compiled(update()), options).err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
    let mut huge = update();
    huge.plans[0].arena_bytes = crate::validate::MAX_BYTES;
    // Either the system refuses the block, or it promises memory that is never touched.
    drop(Session::new(compiled(huge), Options::default()));
}

#[test]
fn parts_and_strided_operands_meet_their_bytes() {
    // y = concat(-x[:, 1:], exp-free copy of x[:, :1]) written by two steps, then transposed by a third.
    let mut build = Build::new(&[("x", InputMode::Read, &[2, 3])]);
    let concat = build.arena(0, 6);
    let columns = |value, offset, count| access(value, Layout { offset, shape: vec![2, count], strides: vec![3, 1] });
    let neg = || map(PointFn::Neg);
    build.step(neg(), vec![columns(0, 1, 2)], vec![whole(columns(concat, 0, 2))]);
    build.step(neg(), vec![columns(0, 0, 1)], vec![whole(columns(concat, 2, 1))]);
    let result = build.arena(64, 6);
    let transposed = access(concat, Layout { offset: 0, shape: vec![3, 2], strides: vec![1, 3] });
    build.step(neg(), vec![transposed], vec![whole(access(result, Layout::dense(&[3, 2])))]);
    // A second row is then replaced in place.
    let updated = build.arena(64, 6);
    let row = |value| access(value, Layout { offset: 2, shape: vec![2], strides: vec![1] });
    build.step(neg(), vec![row(result)], vec![Write { access: row(updated), base: Some(result) }]);
    build.output(access(updated, Layout::dense(&[3, 2])));
    let mut session = session(build.executable(), 1);
    let x = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut arguments = [Argument::read(&x)];
    let outputs = session.run(&mut arguments).unwrap();
    assert_eq!(outputs.slice::<f32>(0).unwrap(), [2.0, 5.0, -3.0, -6.0, 1.0, 4.0]);
}

/// `s = s + x` and `y = s`, for distinct inputs; the fallback copies `x` before it writes `s`.
fn accumulate() -> Executable {
    let inputs = [("x", InputMode::Read, &[4][..]), ("s", InputMode::InOut, &[4])];
    let build = |fallback: bool| {
        let mut build = Build::new(&inputs);
        let mut x = 0;
        if fallback {
            x = build.arena(64, 4);
            build.map(PointFn::Abs, &[0], x, 4);
        }
        let s = build.value(Space::Input(1), 0, 4);
        build.map(PointFn::Add, &[1, x], s, 4);
        let y = build.arena(0, 4);
        build.map(PointFn::Abs, &[s], y, 4);
        build.output(vector(y, 4));
        build.plan.finals = vec![(1, s)];
        if !fallback {
            build.plan.assumed_distinct = Distinct { written: vec![1], others: vec![0] };
        }
        build
    };
    let mut executable = build(false).executable();
    let written = AsWritten { plan: build(true).finish(), epochs: vec![0, 0, 1] };
    executable.fallbacks = vec![Fallback::AsWritten(Box::new(written))];
    executable
}

#[test]
fn pointers_that_share_bytes_take_the_fallback() {
    let compiled = std::sync::Arc::new(compiled(accumulate()));
    let options = || Options { threads: Some(1), ..Options::default() };
    let mut raw = RawSession::new(compiled.clone(), options(), AliasPolicy::Fallback).unwrap();
    let mut strict = RawSession::new(compiled, options(), AliasPolicy::Strict).unwrap();
    let mut bytes = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let pointer = bytes.as_mut_ptr();
    let input = |first: usize| RawInput { dtype: DType::F32, pointer: pointer.wrapping_add(first).cast(), bytes: 16 };
    // SAFETY: all inputs lie in `bytes`, which is only looked at between the runs.
    let run = |raw: &mut RawSession, x: usize, s: usize| unsafe {
        let run = raw.run(&[input(x), input(s)]);
        run.map(|(outputs, route)| (outputs.slice::<f32>(0).unwrap().to_vec(), route))
    };
    assert_eq!(run(&mut raw, 0, 4), Ok((vec![6.0, 8.0, 10.0, 12.0], Route::Planned)));
    assert_eq!(run(&mut strict, 4, 0), Ok((vec![7.0, 10.0, 13.0, 16.0], Route::Planned)));
    // Now 7 10 13 16 6 8 10 12; x = s + 1 element.
    assert_eq!(run(&mut raw, 1, 0), Ok((vec![17.0, 23.0, 29.0, 22.0], Route::Fallback)));
    assert_eq!(run(&mut raw, 4, 4), Ok((vec![12.0, 16.0, 20.0, 24.0], Route::Fallback)));
    let aliased = RunError::Aliased { written: "s".into(), other: "x".into() };
    assert_eq!(run(&mut strict, 0, 3), Err(aliased.clone()));
    assert_eq!(run(&mut strict, 3, 0), Err(aliased));
    let null = RawInput { dtype: DType::F32, pointer: std::ptr::null_mut(), bytes: 16 };
    // SAFETY: the input is refused before it is looked at.
    assert!(unsafe { raw.run(&[null, input(0)]) }.is_err());
}
