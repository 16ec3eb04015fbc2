//! ONNX files that are wrong, on purpose or by mutation: always a diagnostic, never a panic, a hang or an unbounded
//! allocation. The mutants come from a fixed generator, so a failure names a seed that can be run again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use situ::diagnostic::{Diagnostic, Kind};
use situ::ir::Graph;
use situ::source::onnx::{ImportOptions, import, import_bytes};
use situ_runtime::map::FileBytes;

use crate::support::onnx::{
    Message, attribute_float, attribute_graph, attribute_int, attribute_ints, attribute_tensor, attribute_text, graph,
    model, node, scalar_i64, tensor, tensor_f32, tensor_i64, value,
};
use crate::support::random::Random;

fn read(bytes: &[u8]) -> Result<Graph, Vec<Diagnostic>> {
    import_bytes(&FileBytes::from_vec(bytes.to_vec()), &ImportOptions::default())
}

/// The messages of a refusal.
fn refusal(bytes: &[u8]) -> String {
    match read(bytes) {
        Ok(graph) => panic!("accepted: {} instructions", graph.insts.len()),
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "a refusal has a reason");
            diagnostics.iter().map(|diagnostic| diagnostic.render("", "")).collect()
        }
    }
}

/// A model that uses a little of everything the format has.
pub fn sample() -> Vec<u8> {
    let branch = |sign: f32| {
        graph(
            vec![node("Mul", &["h", "s"], &["b"], vec![])],
            vec![tensor_f32("s", &[], &[sign])],
            vec![],
            vec![value("b", 1, &[2, 4])],
        )
    };
    let trip = graph(
        vec![node("Add", &["v", "one"], &["v_out"], vec![]), node("Identity", &["c"], &["c_out"], vec![])],
        vec![],
        vec![value("i", 7, &[]), value("c", 9, &[]), value("v", 1, &[2, 4])],
        vec![value("c_out", 9, &[]), value("v_out", 1, &[2, 4])],
    );
    let nodes = vec![
        node("Gemm", &["x", "w", "bias"], &["h"], vec![attribute_int("transB", 1), attribute_float("alpha", 0.5)]),
        node("Shape", &["h"], &["shape"], vec![]),
        node("Gather", &["shape", "index"], &["rows"], vec![attribute_int("axis", 0)]),
        node("Concat", &["rows", "minus"], &["target"], vec![attribute_int("axis", 0)]),
        node("Reshape", &["h", "target"], &["flat"], vec![]),
        node(
            "If",
            &["yes"],
            &["branch"],
            vec![attribute_graph("then_branch", branch(1.0)), attribute_graph("else_branch", branch(-1.0))],
        ),
        node("Loop", &["trips", "yes", "branch"], &["looped"], vec![attribute_graph("body", trip)]),
        node("Reshape", &["looped", "image"], &["pixels"], vec![]),
        node(
            "Conv",
            &["pixels", "k"],
            &["conv"],
            vec![attribute_ints("pads", &[0, 1, 0, 1]), attribute_text("auto_pad", "NOTSET")],
        ),
        node("Slice", &["conv", "start", "end", "axes"], &["part"], vec![]),
        node("Constant", &[], &["c0"], vec![attribute_tensor("value", tensor_f32("", &[1], &[2.0]))]),
        node("Pow", &["part", "c0"], &["power"], vec![]),
        node("Softmax", &["power"], &["y"], vec![attribute_int("axis", -1)]),
    ];
    // Elements in the typed field and not in `raw_data`.
    let bias = [0.5f32, -0.5, 0.25, 0.0];
    let bias =
        bias.iter().fold(Message::new().ints(1, &[4]).int(2, 1).text(8, "bias"), |tensor, &x| tensor.float(4, x));
    let initializers = vec![
        tensor_f32("w", &[4, 3], &[0.25; 12]),
        bias,
        tensor_i64("index", &[0]),
        tensor_i64("minus", &[-1]),
        tensor("yes", 9, &[], &[1]),
        scalar_i64("trips", 3),
        tensor_f32("one", &[1], &[1.0]),
        tensor_i64("image", &[1, 2, 1, 4]),
        tensor_f32("k", &[2, 2, 1, 3], &[0.5; 12]),
        tensor_i64("start", &[0]),
        tensor_i64("end", &[3]),
        tensor_i64("axes", &[3]),
    ];
    let whole =
        graph(nodes, initializers, vec![value("x", 1, &[2, 3])], vec![value("flat", 1, &[2, 4]), value("y", 1, &[])]);
    model(whole, 18).0
}

#[test]
fn the_sample_is_right() {
    let graph = read(&sample()).expect("the sample imports");
    assert_eq!(graph.outputs.len(), 2);
}

/// No single import may take this long, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn survives(bytes: &[u8], what: impl Fn() -> String) {
    let start = Instant::now();
    let outcome = read(bytes);
    assert!(start.elapsed() < PATIENCE, "{} took {:?}", what(), start.elapsed());
    if let Err(diagnostics) = outcome {
        assert!(!diagnostics.is_empty(), "{} was refused without a reason", what());
    }
}

#[test]
fn every_truncation_is_survived() {
    let bytes = sample();
    for len in 0..bytes.len() {
        survives(&bytes[..len], || format!("the first {len} bytes"));
    }
}

#[test]
fn every_changed_byte_is_survived() {
    let bytes = sample();
    for at in 0..bytes.len() {
        for change in [0x01, 0x08, 0x20, 0x80, 0xFF] {
            let mut mutant = bytes.clone();
            mutant[at] ^= change;
            survives(&mutant, || format!("byte {at} xor {change:#x}"));
        }
    }
}

#[test]
fn mutations_are_survived() {
    let bytes = sample();
    for seed in 0..4000u64 {
        let mut random = Random(seed);
        let mut mutant = bytes.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(mutant.len());
            match random.below(6) {
                0 => mutant[at] = random.next() as u8,
                // A length or an integer that is far too large, negative, or not a number at all.
                1 => drop(mutant.splice(at..at + 1, [0xFF; 9].into_iter().chain([0x01]))),
                2 => drop(mutant.splice(at..at + 1, [0xFF, 0xFF, 0xFF, 0xFF, 0x0F])),
                3 => drop(mutant.splice(at..at, [0x80; 12])),
                4 => {
                    let end = (at + 1 + random.below(40)).min(mutant.len());
                    let copy = mutant[at..end].to_vec();
                    mutant.splice(at..at, copy);
                }
                _ => {
                    let end = (at + 1 + random.below(16)).min(mutant.len());
                    mutant.drain(at..end);
                }
            }
            if mutant.is_empty() {
                break;
            }
        }
        survives(&mutant, || format!("seed {seed}"));
    }
}

/// A model of one node whose operands `a`, `b`, .. are the given initializers, after a graph input `x`.
fn one_node(op: &str, operands: &[&str], attributes: Vec<Message>, initializers: Vec<Message>) -> Vec<u8> {
    let nodes = vec![node(op, operands, &["y"], attributes)];
    let inputs = vec![value("x", 1, &[2, 3, 4, 4])];
    model(graph(nodes, initializers, inputs, vec![value("y", 1, &[])]), 19).0
}

#[test]
fn bombs_do_not_go_off() {
    let huge = 1i64 << 40;
    let most = i64::MAX;
    let shape = |values: &[i64]| tensor_i64("a", values);
    let ints = attribute_ints;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("expand", one_node("Expand", &["x", "a"], vec![], vec![shape(&[huge, 2, 3, 4, 4])])),
        (
            "expand to the limit",
            one_node("Expand", &["s", "a"], vec![], vec![shape(&[huge]), tensor_f32("s", &[], &[1.0])]),
        ),
        ("tile", one_node("Tile", &["x", "a"], vec![], vec![shape(&[most, most, 1, 1])])),
        ("constant of shape", one_node("ConstantOfShape", &["a"], vec![], vec![shape(&[huge, huge])])),
        ("pad", one_node("Pad", &["x", "a"], vec![], vec![shape(&[most, 0, 0, 0, most, 0, 0, 0])])),
        ("negative pad", one_node("Pad", &["x", "a"], vec![], vec![shape(&[i64::MIN, 0, 0, 0, 0, 0, 0, 0])])),
        (
            "wide reflection",
            one_node(
                "Pad",
                &["x", "a"],
                vec![attribute_text("mode", "reflect")],
                vec![shape(&[most, 0, 0, 0, most, 0, 0, 0])],
            ),
        ),
        (
            "slice by least step",
            one_node("Slice", &["x", "a", "a", "b", "a"], vec![], vec![shape(&[i64::MIN]), tensor_i64("b", &[0])]),
        ),
        ("slice by no step", one_node("Slice", &["x", "b", "b", "b", "b"], vec![], vec![tensor_i64("b", &[0])])),
        ("reshape to two rests", one_node("Reshape", &["x", "a"], vec![], vec![shape(&[-1, -1])])),
        ("reshape to none", one_node("Reshape", &["x", "a"], vec![], vec![shape(&[0, 0, 0, 0, 0, 0])])),
        (
            "reshape to a rest of nothing",
            one_node("Reshape", &["x", "a"], vec![attribute_int("allowzero", 1)], vec![shape(&[0, -1])]),
        ),
        ("many axes", one_node("Unsqueeze", &["x", "a"], vec![], vec![shape(&(0..60).collect::<Vec<i64>>())])),
        (
            "conv of no stride",
            one_node(
                "Conv",
                &["x", "w"],
                vec![ints("strides", &[0, 0])],
                vec![tensor_f32("w", &[1, 3, 1, 1], &[0.0; 3])],
            ),
        ),
        (
            "conv of huge pads",
            one_node(
                "Conv",
                &["x", "w"],
                vec![ints("pads", &[most, most, most, most])],
                vec![tensor_f32("w", &[1, 3, 1, 1], &[0.0; 3])],
            ),
        ),
        (
            "conv of huge dilation",
            one_node(
                "Conv",
                &["x", "w"],
                vec![ints("dilations", &[most, most])],
                vec![tensor_f32("w", &[1, 3, 2, 2], &[0.0; 12])],
            ),
        ),
        ("pool without kernel", one_node("MaxPool", &["x"], vec![ints("kernel_shape", &[0, 0])], vec![])),
        (
            "pool by ceiling",
            one_node("MaxPool", &["x"], vec![ints("kernel_shape", &[most, 2]), attribute_int("ceil_mode", 1)], vec![]),
        ),
        (
            "same padding",
            one_node(
                "MaxPool",
                &["x"],
                vec![
                    ints("kernel_shape", &[2, 2]),
                    ints("strides", &[0, most]),
                    attribute_text("auto_pad", "SAME_UPPER"),
                ],
                vec![],
            ),
        ),
        ("split in nothing", one_node("Split", &["x"], vec![attribute_int("num_outputs", 0)], vec![])),
        ("split in too much", one_node("Split", &["x"], vec![attribute_int("num_outputs", most)], vec![])),
        (
            "range",
            one_node(
                "Range",
                &["a", "b", "c"],
                vec![],
                vec![scalar_i64("a", i64::MIN), scalar_i64("b", most), scalar_i64("c", 1)],
            ),
        ),
        (
            "range of no step",
            one_node(
                "Range",
                &["a", "b", "c"],
                vec![],
                vec![scalar_i64("a", 0), scalar_i64("b", 1), scalar_i64("c", 0)],
            ),
        ),
        (
            "range of NaN",
            one_node(
                "Range",
                &["a", "b", "c"],
                vec![],
                vec![tensor_f32("a", &[], &[0.0]), tensor_f32("b", &[], &[f32::NAN]), tensor_f32("c", &[], &[0.0])],
            ),
        ),
        (
            "one hot",
            one_node(
                "OneHot",
                &["a", "b", "c"],
                vec![],
                vec![shape(&[1]), scalar_i64("b", huge), tensor_f32("c", &[2], &[0.0, 1.0])],
            ),
        ),
        ("gather outside", one_node("Gather", &["a", "b"], vec![], vec![shape(&[1, 2]), tensor_i64("b", &[7])])),
        ("select outside", one_node("Gather", &["x", "b"], vec![], vec![scalar_i64("b", most)])),
        ("resize by NaN", one_node("Resize", &["x", "", "a"], vec![], vec![tensor_f32("a", &[4], &[f32::NAN; 4])])),
        ("resize by much", one_node("Resize", &["x", "", "a"], vec![], vec![tensor_f32("a", &[4], &[1e30; 4])])),
        ("resize to nothing", one_node("Resize", &["x", "", "a"], vec![], vec![tensor_f32("a", &[4], &[0.0; 4])])),
        (
            "divide by zero",
            one_node("Div", &["a", "b"], vec![], vec![shape(&[1, i64::MIN]), tensor_i64("b", &[0, -1])]),
        ),
        (
            "shift by much",
            one_node(
                "BitShift",
                &["a", "b"],
                vec![attribute_text("direction", "LEFT")],
                vec![tensor("a", 2, &[1], &[1]), tensor("b", 2, &[1], &[200])],
            ),
        ),
        ("depth to no space", one_node("DepthToSpace", &["x"], vec![attribute_int("blocksize", 0)], vec![])),
        ("depth to much space", one_node("SpaceToDepth", &["x"], vec![attribute_int("blocksize", 65_535)], vec![])),
        ("axis out of range", one_node("Softmax", &["x"], vec![attribute_int("axis", i64::MIN)], vec![])),
        ("k beyond the axis", one_node("TopK", &["x", "k"], vec![], vec![tensor_i64("k", &[most])])),
        (
            "scatter outside",
            one_node("ScatterElements", &["a", "b", "a"], vec![], vec![shape(&[1, 2]), tensor_i64("b", &[9, -9])]),
        ),
        ("large rank", one_node("Identity", &["r"], vec![], vec![tensor("r", 1, &[1; 17], &[0; 4])])),
        (
            "attention of no heads",
            one_node(
                "Attention",
                &["q", "q", "q"],
                vec![attribute_int("q_num_heads", 0), attribute_int("kv_num_heads", 0)],
                vec![tensor_f32("q", &[1, 1, 1], &[0.0])],
            ),
        ),
    ];
    for (what, bytes) in cases {
        survives(&bytes, || what.to_string());
    }
}

#[test]
fn loops_and_calls_end() {
    let body = |nodes: Vec<Message>| {
        graph(
            nodes,
            vec![],
            vec![value("i", 7, &[]), value("c", 9, &[]), value("v", 1, &[2])],
            vec![value("c_out", 9, &[]), value("v_out", 1, &[2])],
        )
    };
    let add = || body(vec![node("Add", &["v", "v"], &["v_out"], vec![]), node("Identity", &["c"], &["c_out"], vec![])]);
    let looped = |trips: Option<i64>, body: Message| {
        let trip_name = if trips.is_some() { "m" } else { "" };
        let nodes = vec![node("Loop", &[trip_name, "", "x"], &["y"], vec![attribute_graph("body", body)])];
        let initializers = trips.map(|trips| scalar_i64("m", trips)).into_iter().collect();
        model(graph(nodes, initializers, vec![value("x", 1, &[2])], vec![value("y", 1, &[2])]), 16).0
    };
    // A loop is as long as its body, however many trips it has.
    for trips in [Some(i64::MAX), None] {
        let graph = read(&looped(trips, add())).expect("a loop without end is a loop");
        assert!(graph.insts.len() < 10);
    }
    // Written out it is not: this body widens what it carries.
    let widen = || {
        let nodes = vec![
            node("Concat", &["v", "v"], &["v_out"], vec![attribute_int("axis", 0)]),
            node("Identity", &["c"], &["c_out"], vec![]),
        ];
        body(nodes)
    };
    assert!(refusal(&looped(Some(i64::MAX), widen())).contains("carries"));
    survives(&looped(Some(4000), widen()), || "a loop that doubles".into());
    // Loops in loops multiply.
    let nested = body(vec![
        node("Loop", &["m", "c", "v"], &["w"], vec![attribute_graph("body", add())]),
        node("Loop", &["m", "c", "w"], &["u"], vec![attribute_graph("body", add())]),
        node("Loop", &["m", "c", "u"], &["v_out"], vec![attribute_graph("body", add())]),
        node("Identity", &["c"], &["c_out"], vec![]),
    ]);
    survives(&looped(Some(2000), nested), || "loops in loops".into());

    // A body in a body in a body.
    let mut deep = graph(vec![node("Add", &["x", "x"], &["b"], vec![])], vec![], vec![], vec![value("b", 1, &[2])]);
    for _ in 0..2000 {
        let inner = attribute_graph("then_branch", deep);
        deep = graph(vec![node("If", &["x"], &["b"], vec![inner])], vec![], vec![], vec![value("b", 1, &[2])]);
    }
    assert!(refusal(&model(deep, 16).0).contains("nest"));

    // Functions that call themselves, each other, or too many.
    let function = |name: &str, calls: &[&str]| {
        let nodes =
            calls.iter().enumerate().map(|(at, call)| node(call, &["a"], &[&format!("t{at}")], vec![]).text(7, "own"));
        Message::new()
            .text(1, name)
            .text(4, "a")
            .text(5, "t0")
            .messages(7, nodes)
            .message(9, Message::new().text(1, "own").int(2, 1))
            .text(10, "own")
    };
    let calling = |name: &str, functions: Vec<Message>| {
        let nodes = vec![node(name, &["x"], &["y"], vec![]).text(7, "own")];
        let whole = graph(nodes, vec![], vec![value("x", 1, &[2])], vec![value("y", 1, &[2])]);
        model(whole, 16).message(8, Message::new().text(1, "own").int(2, 1)).messages(25, functions).0
    };
    assert!(refusal(&calling("F", vec![function("F", &["F"])])).contains("calls itself"));
    assert!(refusal(&calling("F", vec![function("F", &["G"]), function("G", &["F"])])).contains("calls itself"));
    let names: Vec<String> = (0..40).map(|at| format!("F{at}")).collect();
    let tower = (0..39).map(|at| function(&names[at], &[&names[at + 1], &names[at + 1]])).collect();
    survives(&calling("F0", tower), || "a tower of functions".into());
}

#[test]
fn structural_mistakes_are_named() {
    let x = || vec![value("x", 1, &[2])];
    let y = || vec![value("y", 1, &[2])];
    let of = |nodes: Vec<Message>, inputs: Vec<Message>, outputs: Vec<Message>| {
        model(graph(nodes, vec![], inputs, outputs), 18).0
    };
    let add = |a: &str, out: &str| node("Add", &[a, a], &[out], vec![]);
    for (what, bytes, word) in [
        ("undefined name", of(vec![add("z", "y")], x(), y()), "\"z\""),
        ("reversed order", of(vec![add("t", "y"), add("x", "t")], x(), y()), "\"t\""),
        ("self loop", of(vec![add("y", "y")], x(), y()), "\"y\""),
        ("undefined output", of(vec![], x(), y()), "\"y\""),
        ("no outputs", of(vec![add("x", "y")], x(), vec![]), "no outputs"),
        ("missing operand", of(vec![node("Add", &["x"], &["y"], vec![])], x(), y()), "operand 1"),
        ("symbol", of(vec![add("x", "y")], vec![value("x", 1, &[-1])], y()), "--bind N"),
        ("strings", of(vec![add("x", "y")], vec![value("x", 8, &[2])], y()), "string"),
        ("no dtype", of(vec![add("x", "y")], vec![value("x", 99, &[2])], y()), "99"),
        (
            "wrong attribute",
            of(vec![node("Softmax", &["x"], &["y"], vec![attribute_text("axis", "0")])], x(), y()),
            "axis",
        ),
    ] {
        let told = refusal(&bytes);
        assert!(told.contains(word), "{what}: {told}");
    }
    // Two unknown ops are told together, and both as unsupported.
    let unknown = of(vec![node("Frob", &["x"], &["t"], vec![]), node("Nicate", &["t"], &["y"], vec![])], x(), y());
    let diagnostics = read(&unknown).expect_err("unknown ops");
    assert!(diagnostics.iter().all(|diagnostic| diagnostic.kind == Kind::Unsupported));
    let told = refusal(&unknown);
    assert!(told.contains("op Frob, node nt, opset 18") && told.contains("op Nicate, node ny, opset 18"), "{told}");
    // An input that is an output needs no node.
    assert!(read(&of(vec![], x(), x())).is_ok());
}

#[test]
fn foreign_files_are_named() {
    assert!(refusal(b"").contains("empty"));
    assert!(refusal(b"PK\x03\x04rest").contains("zip"));
    assert!(refusal(b"\x1F\x8Brest").contains("gzip"));
    assert!(refusal(b"<!DOCTYPE html>").contains("web page"));
    assert!(refusal(b"version https://git-lfs.github.com/spec/v1").contains("LFS"));
    assert!(refusal(&[0; 1 << 20]).contains("field"));
    assert!(refusal(b"\x08\x0a").contains("no graph"));
}

/// A folder of its own for each test, removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("situ-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a file can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A model that adds four external elements to its input.
fn external(keys: &[(&str, &str)]) -> Vec<u8> {
    let entries = keys.iter().map(|(key, value)| Message::new().text(1, key).text(2, value));
    let weight = Message::new().ints(1, &[4]).int(2, 1).text(8, "w").messages(13, entries).int(14, 1);
    let nodes = vec![node("Add", &["x", "w"], &["y"], vec![])];
    model(graph(nodes, vec![weight], vec![value("x", 1, &[4])], vec![value("y", 1, &[4])]), 18).0
}

fn import_file(path: &Path) -> Result<Graph, String> {
    import(path, &ImportOptions::default())
        .map_err(|diagnostics| diagnostics.iter().map(|diagnostic| diagnostic.render("", "")).collect())
}

#[test]
fn external_data_stay_in_the_model_folder() {
    let outer = Folder::new("external");
    std::fs::create_dir_all(outer.0.join("model/below")).expect("a folder can be made");
    let elements: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0, 5.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    outer.write("secret.bin", &elements);
    outer.write("model/w.bin", &elements);
    outer.write("model/below/w.bin", &elements);
    let attempt = |keys: &[(&str, &str)]| import_file(&outer.write("model/m.onnx", &external(keys)));

    for accepted in ["w.bin", "./w.bin", "below/w.bin"] {
        let graph = attempt(&[("location", accepted), ("offset", "4"), ("length", "16")]).expect(accepted);
        let weight = graph.constants.iter().find(|constant| constant.name == "w").expect("the weight");
        assert_eq!(&weight.bytes()[..4], 2.0f32.to_le_bytes());
    }
    let absolute = outer.0.join("secret.bin").display().to_string();
    for refused in [
        "../secret.bin",
        "below/../../secret.bin",
        "below/../w.bin",
        &absolute,
        "",
        "below",
        "none.bin",
        "a\\b",
        "w.bin\0",
    ] {
        let told = attempt(&[("location", refused)]).expect_err(refused);
        assert!(told.contains("external data"), "{refused}: {told}");
    }
    for (key, wrong) in [
        ("offset", "8"),
        ("offset", "-1"),
        ("offset", "18446744073709551615"),
        ("offset", "abc"),
        ("length", "12"),
        ("length", "99"),
    ] {
        attempt(&[("location", "w.bin"), (key, wrong)]).expect_err(wrong);
    }
    attempt(&[]).expect_err("external data without a place");
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let outer = Folder::new("links");
    std::fs::create_dir_all(outer.0.join("model")).expect("a folder can be made");
    std::fs::create_dir_all(outer.0.join("other")).expect("a folder can be made");
    let elements = [0u8; 16];
    outer.write("other/w.bin", &elements);
    std::os::unix::fs::symlink(outer.0.join("other/w.bin"), outer.0.join("model/link.bin"))
        .expect("a link can be made");
    std::os::unix::fs::symlink(outer.0.join("other"), outer.0.join("model/folder")).expect("a link can be made");
    for location in ["link.bin", "folder/w.bin"] {
        let model = outer.write("model/m.onnx", &external(&[("location", location)]));
        assert!(import_file(&model).expect_err(location).contains("link"));
    }
    // In memory there is no folder at all.
    assert!(refusal(&external(&[("location", "w.bin")])).contains("no folder"));
}
