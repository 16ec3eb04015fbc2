//! Bad input of any kind gives a diagnostic: never a panic, a hang or an unbounded allocation.
//!
//! The mutants are made by a fixed generator, so a failure names a seed that can be run again. ONNX files have a family
//! of their own.

use situ::ir::Graph;
use situ::pipeline::{self, Options};
use situ::source::{self, Bindings};
use situ_runtime::map::FileBytes;
use situ_runtime::session::{self, Session};
use situ_runtime::wire::Compiled;

use crate::bodies::listed::PROGRAMS;
use crate::examples;
use crate::support::random::Random;
use crate::text::graph_of;

/// Small wrong programs, each with a word its first diagnostic must hold.
const WRONG: &[(&str, &str)] = &[
    ("", "graph"),
    ("graph", "expected"),
    ("graph g {", "expected"),
    ("graph g { input %x f32[2] return %x }", "expected"),
    ("graph g {\n input %x: f33[2]\n return y=%x\n}", "f33"),
    ("graph g {\n input %x: f32[2, 0x]\n return y=%x\n}", ""),
    ("graph g {\n input %x: f32[99999999999999999999]\n return y=%x\n}", ""),
    ("graph g {\n input %x: f32[1099511627776, 2]\n return y=%x\n}", "elements"),
    ("graph g {\n input %x: f32[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]\n return y=%x\n}", "axes"),
    ("graph g {\n input %x: f32[N]\n return y=%x\n}", "N"),
    ("graph g {\n input %x: f32[2]\n %y = relu %z\n return y=%y\n}", "%z"),
    ("graph g {\n input %x: f32[2]\n %y = rleu %x\n return y=%y\n}", "rleu"),
    ("graph g {\n input %x: f32[2]\n %x = relu %x\n return y=%x\n}", "%x"),
    ("graph g {\n input %x: f32[2]\n input %y: f32[3]\n %z = add %x, %y\n return z=%z\n}", "broadcast"),
    ("graph g {\n input %x: f32[2]\n input %y: i32[2]\n %z = add %x, %y\n return z=%z\n}", "dtype"),
    ("graph g {\n input %x: f32[2, 3]\n %z = permute %x {axes=[0, 0]}\n return z=%z\n}", "twice"),
    ("graph g {\n input %x: f32[2, 3]\n %z = permute %x {axes=[0, 7]}\n return z=%z\n}", "7"),
    ("graph g {\n input %x: f32[2, 3]\n %z = reshape %x {shape=[7]}\n return z=%z\n}", "elements"),
    ("graph g {\n input %x: f32[2, 3]\n %z = slice %x {axis=0, start=0, end=9}\n return z=%z\n}", "slice"),
    ("graph g {\n input %x: f32[2, 3]\n %z = slice %x {axis=0, start=0, end=2, step=0}\n return z=%z\n}", ""),
    ("graph g {\n input %x: f32[2, 3]\n %z = matmul %x, %x\n return z=%z\n}", "multiply"),
    ("graph g {\n input %x: f32[2, 3]\n %z = softmax %x {axis=5}\n return z=%z\n}", "axis"),
    ("graph g {\n input %x: f32[2, 3]\n %z = permute %x\n return z=%z\n}", "axes"),
    ("graph g {\n input %x: f32[2, 3]\n %z = softmax %x {axis=hello}\n return z=%z\n}", "axis"),
    ("graph g {\n input %x: f32[2, 3]\n %z = relu %x {speed=9}\n return z=%z\n}", "speed"),
    ("graph g {\n input %x: f32[2, 3]\n %z = relu_ %x\n return z=%z\n}", "%x"),
    ("graph g {\n donate %x: f32[3]\n %e = expand %x {shape=[2, 3]}\n %z = relu_ %e\n return z=%z\n}", ""),
    ("graph g {\n const %c: f32[2] = [1.0, 2.0, 3.0]\n return c=%c\n}", ""),
    ("graph g {\n const %c: f32[2] = seeded(poisson, seed=1)\n return c=%c\n}", "poisson"),
    ("graph g {\n input %x: f32[2]\n %y = conv %x, %x\n return y=%y\n}", ""),
    ("graph g {\n input %x: f32[2]\n return y=%x, y=%x\n}", "y"),
    ("graph g {\n inout %s: f32[2] = [1.0\n return s=%s\n}", "expected"),
    ("graph g {\n inout %s: f32[2] =\n return s=%s\n}", "expected"),
    ("graph g {\n inout %s: f32[2] = safetensors(\"s\")\n return s=%s\n}", "names no file of weights"),
    ("graph g {\n weights \"w\"\n const %s: f32[2] = safetensors(\"s\")\n return s=%s\n}", "no folder"),
    ("graph g {\n weights\n return\n}", "in quotes"),
    ("graph g {\n state 5\n return\n}", "a part of the state"),
    ("graph g {\n inout %s: f32[2] = splat(0)\n state t = %s\n return s=%s\n}", "expected"),
    ("graph g {\n inout %s: f32[2] = splat(0)\n state t = %s {shape=[-1]}\n return s=%s\n}", "shape"),
    ("graph g {\n input %x: f32[2]\n %y = relu %x at\n return y=%y\n}", "in quotes"),
    ("graph g {\n input %x: f32[2]\n %y = relu %x at \"a\" at \"b\"\n return y=%y\n}", "the end of the line"),
    ("graph g { } graph h { }", ""),
    ("\u{feff}graph g {\n return\n}", ""),
];

#[test]
fn wrong_programs_are_diagnosed() {
    for (text, word) in WRONG {
        let (graph, mistakes) = source::parse(text, &Bindings::new());
        assert!(graph.is_none() && !mistakes.is_empty(), "accepted: {text:?}");
        let rendered: String = mistakes.iter().map(|mistake| mistake.render("f.situ", text)).collect();
        assert!(rendered.contains(word), "{text:?} should speak of {word:?}:\n{rendered}");
    }
}

#[test]
fn large_junk_is_refused_quickly() {
    for text in [
        "(".repeat(1 << 20),
        "%".repeat(1 << 20),
        "a".repeat(1 << 20),
        format!("graph g {{ %y = relu %x {{a={}", "[".repeat(100_000)),
        format!("graph g {{\n{}}}", "  %y = kernel() {\n".repeat(10_000)),
        "graph g {\n".to_string() + &"  %y = relu %x\n".repeat(20_000),
        "\0".repeat(1 << 20),
    ] {
        let (graph, mistakes) = source::parse(&text, &Bindings::new());
        assert!(graph.is_none() && !mistakes.is_empty());
    }
}

/// Mutants of the small examples: bytes replaced, lines dropped, doubled and swapped, numbers made large.
#[test]
fn mutated_programs_never_panic() {
    let texts: Vec<String> = examples::programs()
        .into_iter()
        .filter(|path| !path.components().any(|part| part.as_os_str() == "models"))
        .map(|path| std::fs::read_to_string(path).expect("text"))
        .collect();
    let numbers = ["0", "-1", "1", "9223372036854775807", "-9223372036854775808", "4294967296", "1e400", "nan"];
    let (mut parsed, mut compiled) = (0, 0);
    for seed in 0..4000u64 {
        let mut random = Random(seed);
        let text = &texts[random.below(texts.len())];
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        for _ in 0..1 + random.below(3) {
            let at = random.below(lines.len());
            match random.below(5) {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 => {
                    let other = random.below(lines.len());
                    lines.swap(at, other);
                }
                3 => {
                    let digit = lines[at].find(|c: char| c.is_ascii_digit());
                    if let Some(digit) = digit {
                        let end = lines[at][digit..].find(|c: char| !c.is_ascii_digit());
                        let end = end.map_or(lines[at].len(), |end| digit + end);
                        lines[at].replace_range(digit..end, numbers[random.below(numbers.len())]);
                    }
                }
                _ => {
                    let mut bytes = std::mem::take(&mut lines[at]).into_bytes();
                    if !bytes.is_empty() {
                        let byte = random.below(bytes.len());
                        bytes[byte] = (random.next() & 0x7F) as u8;
                    }
                    lines[at] = String::from_utf8_lossy(&bytes).into_owned();
                }
            }
            if lines.is_empty() {
                lines.push(String::new());
            }
        }
        let (graph, mistakes) = source::parse(&lines.join("\n"), &Bindings::new());
        assert_eq!(graph.is_some(), mistakes.is_empty(), "seed {seed}");
        if let Some(graph) = graph {
            parsed += 1;
            // What is well formed compiles, unless it is larger than a test wants to be.
            let largest = graph.values.iter().map(|value| value.ty.bytes()).max().unwrap_or(0);
            if largest < 1 << 20 {
                match pipeline::compile(&graph, &Options::default()) {
                    Ok(_) => compiled += 1,
                    Err(pipeline::Error::Invalid(mistakes)) => assert!(!mistakes.is_empty()),
                    Err(pipeline::Error::Unsupported(_)) => {}
                    Err(other) => panic!("seed {seed}: {other}\n{}", lines.join("\n")),
                }
            }
        }
    }
    assert!(parsed > 100 && compiled > 100, "{parsed} parsed, {compiled} compiled");
}

/// Every truncation and thousands of damaged copies of an executable: refused, or still a plan the checker accepts.
#[test]
fn damaged_executables_are_refused_or_sound() {
    let path = examples::programs().into_iter().find(|path| path.ends_with("kv_cache.situ")).expect("the example");
    damage(&examples::graph(&path));
}

/// The same for a program that comes with its state.
#[test]
fn damaged_state_is_refused_or_sound() {
    damage(&graph_of(crate::state::COUNTED));
}

/// The same for a program whose file holds bodies.
#[test]
fn damaged_bodies_are_refused_or_sound() {
    let (_, text) = PROGRAMS.iter().find(|(name, _)| *name == "four deep").expect("the program");
    damage(&graph_of(text));
}

fn damage(graph: &Graph) {
    let compilation = pipeline::compile(graph, &Options::default()).expect("it compiles");
    let mut file = std::io::Cursor::new(Vec::new());
    compilation.compiled.write_to(&mut file).expect("it is written");
    let whole = file.into_inner();
    assert!(Compiled::from_file(&FileBytes::from_vec(whole.clone())).is_ok());
    for length in 0..whole.len() {
        let loaded = Compiled::from_file(&FileBytes::from_vec(whole[..length].to_vec()));
        assert!(loaded.is_err(), "{length} of {} bytes were accepted", whole.len());
    }
    for seed in 0..4000u64 {
        let mut random = Random(seed);
        let mut bytes = whole.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        if let Ok(compiled) = Compiled::from_file(&FileBytes::from_vec(bytes)) {
            let _ = Session::new(compiled, session::Options::default());
        }
    }
}
