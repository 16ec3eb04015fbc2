//! Programs that come with their state: the text, the executable, runs one after the other.

use situ::bundle::bundle;
use situ::eval::Tensor;
use situ::ir::{Graph, canonical, in_program_order, print};
use situ::pipeline::{Compilation, Options, compile};
use situ::source::{Bindings, parse};
use situ::types::Layout;
use situ_runtime::executable::{Executable, Place, Space, StateView};
use situ_runtime::map::FileBytes;
use situ_runtime::session::{Argument, Session};
use situ_runtime::tensor::Tensor as Held;
use situ_runtime::types::InputMode;
use situ_runtime::wire::{Compiled, LoadError};

use crate::support::interpreter;
use crate::text::{complaints, graph_of, round_trip};

/// A program with state in parts, that shares bytes with a weight, in a bundle with others and beside state of the caller's.
pub const COUNTED: &str = "\
graph counted {
  input %x: f32[2, 3]
  inout %sum: f32[6] = [1.0, -2.0, 3.5, 4.0, 5.0, -6.25]
  state \"left half\" = %sum {shape=[2, 2], strides=[3, 1]}
  state backwards = %sum {shape=[6], strides=[-1], offset=5}
  state nothing = %sum {shape=[0, 3], offset=6}
  inout %steps: i64[1] = splat(7)
  inout %other: f32[2]
  const %w: f32[6] = [1.0, -2.0, 3.5, 4.0, 5.0, -6.25]
  %flat = view %x {shape=[6]}
  %weighted = mul %flat, %w
  add_ %sum, %weighted
  add_ %steps, 1
  %two = slice %sum {axis=0, start=0, end=2}
  copy_ %other, %two
  return sum=%sum, weighted=%weighted
}
";

fn compiled(graph: &Graph) -> Compilation {
    compile(graph, &Options::default()).expect("it compiles")
}

#[test]
fn text_keeps_state_and_its_parts() {
    let graph = graph_of(COUNTED);
    insta::assert_snapshot!(print(&graph));
    round_trip(&graph);
    let parts: Vec<&str> = graph.inputs[1].views.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(parts, ["left half", "backwards", "nothing"]);
    assert_eq!(graph.inputs[1].views[1].layout, Layout { offset: 5, shape: vec![6], strides: vec![-1] });
    assert_eq!(graph.initial_bytes(), 32);
    let ordered = in_program_order(&graph);
    assert_eq!(ordered, in_program_order(&ordered));
    assert_eq!(canonical(&ordered), canonical(&graph));
}

#[test]
fn wrong_state_is_told() {
    insta::assert_snapshot!(complaints(
        "\
graph wrong {
  input %x: f32[2] = splat(0.0)
  donate %g: f32[2] = [1.0, 2.0]
  inout %s: f32[2, 3] = [1.0]
  inout %t: f32[2, 3] = splat(1.0)
  inout %bare: f32[4]
  state s = %missing {shape=[1]}
  state x = %t {shape=[1]}
  state a = %t {shape=[2, 3]}
  state a = %t {shape=[2, 3]}
  state b = %t {shape=[2, 3], offset=1}
  state c = %t {shape=[2], strides=[-1]}
  state d = %t {shape=[2], strides=[1, 1]}
  state e = %t {shape=[2, 9223372036854775807], strides=[9223372036854775807, 1]}
  state f = %t {strides=[1]}
  state k = %t {shape=[2], step=1}
  state h = %bare {shape=[2]}
  state i = %t {shape=[0], strides=[9223372036854775807], offset=-9223372036854775808}
  state \"\" = %t {shape=[2]}
  state j %t
  %y = relu %x at here
  return y=%y
}
"
    ));
}

/// Importers make graphs without a text; the verifier has the last word about those.
#[test]
fn graphs_with_wrong_state_are_refused() {
    use situ::ir::{Constant, ConstantData, StateView, verify};
    use situ::types::{DType, TensorType};
    let graph = graph_of(COUNTED);
    let part = |name: &str, layout: Layout| StateView { name: name.into(), layout };
    let inside = || Layout::dense(&[2]);
    type Spoil<'a> = (&'a str, &'a dyn Fn(&mut Graph));
    let spoilt: &[Spoil] = &[
        ("only an `inout` input", &|graph| graph.inputs[0].initial = graph.inputs[1].initial.clone()),
        ("the value has type i64[1], the constant f32[6]", &|graph| {
            graph.inputs[2].initial = graph.inputs[1].initial.clone();
        }),
        ("has 24 bytes, found 3", &|graph| {
            let (ty, data) = (TensorType::new(DType::F32, [6]), ConstantData::Bytes([1, 2, 3].into()));
            graph.inputs[1].initial = Some(Constant { name: String::new(), ty, data });
        }),
        ("ends beyond the file", &|graph| {
            let (ty, file) = (TensorType::new(DType::F32, [6]), FileBytes::from_vec(vec![7; 30]));
            let data = ConstantData::Mapped { file, offset: 8 };
            graph.inputs[1].initial = Some(Constant { name: String::new(), ty, data });
        }),
        ("%sum has no initial state", &|graph| graph.inputs[1].initial = None),
        ("called \"steps\"", &|graph| graph.inputs[1].views.push(part("steps", inside()))),
        ("called \"turned\"", &|graph| {
            graph.inputs[1].views.push(part("turned", inside()));
            graph.inputs[2].views.push(part("turned", Layout::dense(&[1])));
        }),
        ("called \"\"", &|graph| graph.inputs[1].views.push(part("", inside()))),
        ("no part of %steps", &|graph| graph.inputs[2].views.push(part("more", inside()))),
        ("too far apart", &|graph| {
            let layout = Layout { offset: 0, shape: vec![1 << 40], strides: vec![1 << 40] };
            graph.inputs[1].views.push(part("far", layout));
        }),
    ];
    for (told, spoil) in spoilt {
        let mut graph = graph.clone();
        spoil(&mut graph);
        let found: Vec<String> = verify(&graph).into_iter().map(|mistake| mistake.message).collect();
        assert!(found.iter().any(|message| message.contains(told)), "{told}: {found:?}");
    }
}

/// A place in the source stays with its instruction, whatever it is made of.
#[test]
fn places_in_the_source_are_kept() {
    let text = "\
graph imported {
  input %c: bool[]
  input %x: f32[4]
  %y = relu %x at \"zoo.py:98 in \\\"blocks.0\\\" \\\\ }\"
  %z = if %c (%p = %y) at \"zoo.py:99\" {
    %q = neg %p at \"zoo.py:100\"
    yield %q
  } else (%p2) {
    yield %p2
  }
  %at = neg %z
  return z=%at
}
";
    let graph = graph_of(text);
    round_trip(&graph);
    let printed = print(&graph);
    for line in text.lines().filter(|line| line.contains(" at \"")) {
        let place = &line[line.find(" at ").expect("a place")..];
        assert!(printed.contains(place), "{printed}");
    }
    let places: Vec<String> = graph.insts.iter().map(|inst| inst.location.to_string()).collect();
    assert_eq!(places, ["zoo.py:98 in \"blocks.0\" \\ }", "zoo.py:100", "zoo.py:99", "line 11"]);
    assert!(compiled(&graph).report.contains("zoo.py:98"), "a report speaks of the original lines");
}

/// What is in the program is in the executable, once, and what was there before is not there twice.
#[test]
fn executables_hold_the_state_once() {
    let graph = graph_of(COUNTED);
    let Compilation { compiled, report, report_json, .. } = compiled(&graph);
    let executable = &compiled.executable;
    let plan = &executable.plans[0];
    for (input, port) in graph.inputs.iter().zip(&plan.inputs) {
        let initial = input.initial.as_ref().map(|initial| initial.bytes().into_owned());
        assert_eq!(port.initial_bytes(&compiled.weights).map(<[u8]>::to_vec), initial, "{}", port.name);
    }
    // The weight `%w` has the bytes that `%sum` begins with.
    let weights: Vec<Place> = plan.weight_values.iter().map(|&value| plan.values[value as usize].place).collect();
    assert!(weights.contains(&plan.inputs[1].initial.expect("it has state")), "{weights:?}");
    assert_eq!(executable.weights_bytes, 128);
    assert!(report.contains("weights 64, updated in place 40, of which 32 comes with the program"), "{report}");
    let json: serde_json::Value = serde_json::from_str(&report_json).expect("JSON");
    assert_eq!((&json["weights_bytes"], &json["initial_state_bytes"]), (&64.into(), &32.into()));
    // Of a bundle, every plan and every fallback has it.
    let with = |extent: usize| {
        let text = COUNTED.replace("f32[2, 3]", "f32[B, 3]").replace("graph counted", "graph any");
        let (graph, mistakes) = parse(&text, &Bindings::new().bind("B", extent));
        assert!(mistakes.is_empty(), "{mistakes:?}");
        compile(&graph.expect("a graph"), &Options::default()).expect("it compiles").compiled
    };
    let both = bundle(vec![with(2), with(2)]).expect("they fit together");
    assert_eq!(both.executable.weights_bytes, 128, "two plans, one state");
    for plan in &both.executable.plans {
        let bytes = graph.inputs[2].initial.as_ref().expect("it has state").bytes();
        assert_eq!(plan.inputs[2].initial_bytes(&both.weights), Some(&*bytes));
    }
}

/// Run after run from what the session says the state is at first, against the interpreter.
#[test]
fn runs_begin_with_the_state() {
    let graph = graph_of(COUNTED);
    let mut session = Session::new(compiled(&graph).compiled, Default::default()).expect("a session");
    assert!(session.initial(0).is_none() && session.initial(3).is_none() && session.initial(4).is_none());
    let x = [0.5f32, -1.0, 2.0, 3.0, -4.0, 1.5];
    let bytes = |input: usize| session.initial(input).expect("it has state").bytes().to_vec();
    let (sum, steps) = (bytes(1), bytes(2));
    assert_eq!(session.initial(1).and_then(|state| state.as_slice::<f32>().map(<[f32]>::len)), Some(6));
    let tensor = |input: usize, bytes: Vec<u8>| Tensor::new(graph.ty(graph.inputs[input].value).clone(), bytes);
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut expected = vec![tensor(0, floats(&x)), tensor(1, sum), tensor(2, steps), tensor(3, floats(&[9.0, 8.0]))];
    let mut held: Vec<Held> = expected
        .iter()
        .map(|tensor| Held::from_bytes(tensor.ty.dtype, &tensor.ty.shape, &tensor.bytes).expect("it fits"))
        .collect();
    for round in 0..3 {
        let outcome = interpreter::run(&graph, &expected).expect("it runs");
        let [given, state @ ..] = &mut held[..] else { panic!("there are inputs") };
        let mut arguments = vec![Argument::read(&*given)];
        arguments.extend(state.iter_mut().map(|state| Argument::InOut(state.view_mut())));
        let outputs = session.run(&mut arguments).expect("it runs");
        assert_eq!(outputs.bytes(0).expect("an output"), &outcome.outputs[0].bytes[..], "run {round}");
        drop(arguments);
        for (input, after) in outcome.state {
            assert_eq!(held[input as usize].bytes(), &after.bytes[..], "input {input} after run {round}");
            expected[input as usize] = after;
        }
    }
    assert_eq!(held[2].as_slice::<i64>(), Some(&[10][..]));
}

/// Whoever makes a file can let an input's state be anywhere, or anything.
#[test]
fn hostile_state_is_refused() {
    let Compilation { compiled, .. } = compiled(&graph_of(COUNTED));
    let Compiled { executable, weights, .. } = &compiled;
    let attempt = |spoil: &dyn Fn(&mut Executable)| -> Result<(), String> {
        let mut spoiled = executable.clone();
        spoil(&mut spoiled);
        let made = Compiled::new(spoiled.clone(), weights.clone()).map(drop).map_err(|invalid| invalid.to_string());
        // The same from a file, whose hashes fit.
        let mut file = std::io::Cursor::new(Vec::new());
        let mut forged = compiled.clone();
        forged.executable = spoiled;
        forged.write_to(&mut file).expect("it is written");
        let loaded = Compiled::from_file(&FileBytes::from_vec(file.into_inner()));
        match (&made, loaded) {
            (Ok(()), Ok(_)) => {}
            (Err(said), Err(LoadError::Invalid(invalid))) => assert_eq!(*said, invalid.to_string()),
            (made, loaded) => panic!("{made:?}, but from a file {loaded:?}"),
        }
        made
    };
    attempt(&|_| {}).expect("nothing is spoiled");
    // Plan and fallback agree about their inputs, so both are spoiled alike.
    let port = |spoil: &dyn Fn(&mut situ_runtime::executable::InputPort)| {
        attempt(&|executable| {
            spoil(&mut executable.plans[0].inputs[1]);
            spoil(&mut executable.fallbacks[0].plan_mut().expect("a fallback").inputs[1]);
        })
    };
    let place = |spoil: &dyn Fn(&mut Place)| port(&|port| spoil(port.initial.as_mut().expect("it has state")));
    for (what, outcome) in [
        ("another space", place(&|place| place.space = Space::Arena)),
        ("an input", place(&|place| place.space = Space::Input(0))),
        ("too short", place(&|place| place.bytes = 20)),
        ("too long", place(&|place| place.bytes = 28)),
        ("misaligned", place(&|place| place.offset += 4)),
        ("outside", place(&|place| place.offset = 1 << 20)),
        ("beyond numbers", place(&|place| place.offset = u64::MAX - 63)),
        ("no state", port(&|port| port.initial = None)),
        ("a read input", port(&|port| port.mode = InputMode::Read)),
        ("a part outside", port(&|port| port.views[0].layout.offset = 5)),
        ("a part before", port(&|port| port.views[0].layout.offset = -1)),
        ("a part too far", port(&|port| port.views[0].layout.strides[0] = i64::MAX)),
        ("a part without strides", port(&|port| port.views[0].layout.strides.clear())),
        ("a huge part", port(&|port| port.views[0].layout.shape = vec![usize::MAX, usize::MAX])),
        ("a part of huge axes", port(&|port| port.views[2].layout.shape = vec![0, usize::MAX])),
        ("two parts of one name", port(&|port| port.views[0].name = port.views[1].name.clone())),
        ("the name of an input", port(&|port| port.views[0].name = "x".into())),
        ("no name", port(&|port| port.views[0].name.clear())),
        (
            "the fallback's alone",
            attempt(&|executable| {
                executable.fallbacks[0].plan_mut().expect("a fallback").inputs[1].views.pop();
            }),
        ),
    ] {
        assert!(outcome.is_err(), "accepted: {what}");
    }
    // Parts may overlap and repeat, as long as they are inside.
    let layout = Layout { offset: 5, shape: vec![2, 6], strides: vec![0, -1] };
    let view = StateView { name: "more".into(), layout };
    port(&|port| port.views.push(view.clone())).expect("a sound part");
}
