//! Random numbers of PyTorch programs: the documented generator, to the bit, and state that counts the runs.

use serde_json::{Value, json};
use situ::npz::Array;
use situ::source::Bindings;
use situ::source::pt2::{ImportOptions, import_bytes};
use situ::types::{DType, TensorType};
use situ_runtime::map::FileBytes;
use situ_runtime::session::{Options, Session};

use crate::support::pt2::{entries, meta, node, sample, strided, tensor, weights, zip};
use crate::support::run::once;

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Word `i` of draw `d` in run `r`, as `docs/pytorch.md` has it.
fn word(seed: u64, r: u64, d: u64, i: u64) -> u64 {
    let stream = mix(mix(seed.wrapping_add(GAMMA)).wrapping_add(((r << 32) + d + 1).wrapping_mul(GAMMA)));
    mix(stream.wrapping_add((i + 1).wrapping_mul(GAMMA)))
}

fn uniform(word: u64) -> f32 {
    (word >> 40) as f32 / 16_777_216.0
}

/// A session for a program of these nodes, `x` of a shape its input, the last node's result its output.
fn session(shape: &[i64], nodes: Vec<Value>, output: Value) -> Session {
    let mut program = sample();
    let graph = &mut program["graph_module"]["graph"];
    let names: Vec<String> = nodes
        .iter()
        .map(|node| node["outputs"][0]["as_tensor"]["name"].as_str().expect("a name").to_string())
        .collect();
    for name in &names {
        graph["tensor_values"][name] = output.clone();
    }
    graph["tensor_values"]["x"] = meta(shape);
    graph["nodes"] = json!(nodes);
    program["graph_module"]["signature"]["output_specs"] =
        names.iter().map(|name| json!({"user_output": {"arg": tensor(name)}})).collect();
    let bytes = FileBytes::from_vec(zip(&entries(&program, &weights())));
    let options = ImportOptions { bindings: Bindings::new(), mmap: false };
    let imported = import_bytes(&bytes, "net", &options).expect("the program is right");
    let compiled = situ::pipeline::compile(&imported.graph, &situ::pipeline::Options::default()).expect("it compiles");
    Session::new(compiled.compiled, Options::default()).expect("a session")
}

/// `x`, then the state of the generator.
fn inputs(shape: &[usize], seed: u64, run: u64) -> Vec<Array> {
    let count: usize = shape.iter().product();
    let elements: Vec<f32> = (0..count).map(|i| 0.25 + i as f32 * 0.5).collect();
    let state = [seed, run].iter().flat_map(|word| word.to_le_bytes()).collect();
    vec![Array::f32(shape, &elements), Array { ty: TensorType::new(DType::I64, [2]), bytes: state }]
}

fn floats(array: &Array) -> Vec<f32> {
    array.bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
}

#[test]
fn the_generator_is_the_documented_one() {
    let shape = [3usize, 5, 4];
    let like = |name: &str, target: &str| node(target, &[("self", tensor("x"))], &[name]);
    let mut session = session(
        &[3, 5, 4],
        vec![like("a", "torch.ops.aten.rand_like.default"), like("b", "torch.ops.aten.rand_like.default")],
        meta(&[3, 5, 4]),
    );
    let (seed, run) = (u64::MAX - 5, 41);
    let results = once(&mut session, &inputs(&shape, seed, run));
    for draw in 0..2u64 {
        let expected: Vec<f32> = (0..60).map(|i| uniform(word(seed, run, draw, i))).collect();
        assert_eq!(floats(&results[draw as usize]), expected, "draw {draw}");
    }
    let state: Vec<u8> = [seed, run + 1].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(results[2].bytes, state, "the run is counted, the seed stays");
}

#[test]
fn dropout_drops_what_the_generator_says() {
    let shape = [64usize, 96];
    let p = 0.3f64;
    let arguments = [("input", tensor("x")), ("p", json!({"as_float": p})), ("train", json!({"as_bool": true}))];
    let mut session =
        session(&[64, 96], vec![node("torch.ops.aten.dropout.default", &arguments, &["y"])], meta(&[64, 96]));
    let mut masks = Vec::new();
    for (seed, run) in [(0, 0), (0, 1), (7, 0), (0, 0)] {
        let given = inputs(&shape, seed, run);
        let (x, y) = (floats(&given[0]), floats(&once(&mut session, &given)[0]));
        let mask: Vec<bool> = y.iter().map(|y| *y != 0.0).collect();
        for (i, (&x, &y)) in x.iter().zip(&y).enumerate() {
            let kept = uniform(word(seed, run, 0, i as u64)) >= p as f32;
            let expected = if kept { x * (1.0 / (1.0 - p)) as f32 } else { 0.0 };
            assert!((y - expected).abs() <= 1e-6 * expected.abs(), "element {i}: {y}, expected {expected}");
        }
        // 6,144 elements: four standard deviations are 0.024.
        let share = mask.iter().filter(|kept| !**kept).count() as f64 / mask.len() as f64;
        assert!((share - p).abs() < 0.024, "{share} dropped");
        masks.push(mask);
    }
    assert_ne!(masks[0], masks[1], "another run");
    assert_ne!(masks[0], masks[2], "another seed");
    assert_eq!(masks[0], masks[3], "the same again");
}

#[test]
fn normal_numbers_are_normal() {
    let arguments = [("self", tensor("x"))];
    let mut session =
        session(&[100, 200], vec![node("torch.ops.aten.randn_like.default", &arguments, &["y"])], meta(&[100, 200]));
    let y: Vec<f64> = floats(&once(&mut session, &inputs(&[100, 200], 3, 9))[0]).into_iter().map(f64::from).collect();
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    let moment = |k: i32| y.iter().map(|y| (y - mean).powi(k)).sum::<f64>() / n;
    // Bounds of five standard deviations of each estimate, for 20,000 numbers.
    assert!(mean.abs() < 0.036 && (moment(2) - 1.0).abs() < 0.05, "mean {mean}, variance {}", moment(2));
    assert!(moment(3).abs() < 0.14 && (moment(4) - 3.0).abs() < 0.35, "{} and {}", moment(3), moment(4));
    let expected = {
        let (u, v) = (uniform(word(3, 9, 0, 0)), uniform(word(3, 9, 0, 1)));
        (-2.0 * (1.0 - f64::from(u)).ln()).sqrt() * (2.0 * std::f64::consts::PI * f64::from(v)).cos()
    };
    assert!((y[0] - expected).abs() < 1e-5, "{} and {expected}", y[0]);
}

#[test]
fn integers_are_in_range() {
    let arguments =
        [("low", json!({"as_int": -3})), ("high", json!({"as_int": 4})), ("size", json!({"as_ints": [50, 40]}))];
    let mut session = session(
        &[2, 3],
        vec![node("torch.ops.aten.randint.low", &arguments, &["y"])],
        strided(5, &[50, 40], &[40, 1], 0),
    );
    let y = &once(&mut session, &inputs(&[2, 3], 1, 2))[0];
    let y: Vec<i64> =
        y.bytes.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().expect("eight bytes"))).collect();
    for (i, &y) in y.iter().enumerate() {
        assert_eq!(y, ((word(1, 2, 0, i as u64) >> 1) % 7) as i64 - 3);
    }
}
