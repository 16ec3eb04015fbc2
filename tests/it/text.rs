//! The text form: what it accepts, how it complains, and that printing is its inverse.

use std::path::Path;

use situ::alias::analyze;
use situ::functional::functionalize;
use situ::ir::{Graph, elided, print, verify};
use situ::source::{Bindings, parse};

const MLP: &str = "\
// two layers and an update of a cache
graph mlp {
  input %x: f32[B, 4]
  inout %cache: f32[2, 4]
  const %w: f32[4, 4] = seeded(normal, std=0.02, seed=7)
  const %b: f32[4] = [1.0, 2.5, -3e-7, inf]
  %h = linear %x, %w, %b
  %y = relu_ %h
  %a, %c = split %y {axis=-1, sizes=[1, 3]}
  %z = add %a, 2.0
  %row = select %cache {axis=0, index=-1}
  copy_ %row, 0.5
  %k: f32[B, 3] = kernel(%p = %c, %q = %z) {
    %s = mul %p, %q
    %t = max %s, 0.0
    yield %t
  }
  %m = sum %k {dim=1, keepdim=true}
  %f = flatten %m
  %v = view %k {shape=[-1]}
  return y=%f, %v, f32(1.5)
}
";

pub fn graph_of(text: &str) -> Graph {
    let (graph, mistakes) = parse(text, &Bindings::new().bind("B", 2));
    let rendered: Vec<String> = mistakes.iter().map(|mistake| mistake.render("case.situ", text)).collect();
    graph.unwrap_or_else(|| panic!("{}", rendered.join("\n")))
}

pub fn complaints(text: &str) -> String {
    let (graph, mistakes) = parse(text, &Bindings::new());
    assert!(graph.is_none(), "parsed without a complaint");
    mistakes.iter().map(|mistake| mistake.render("case.situ", text)).collect::<Vec<_>>().join("\n")
}

/// For each instruction in order, where it was before it was a text.
fn origins(graph: &Graph) -> Vec<Option<String>> {
    let places = graph.all_insts().into_iter().map(|id| &graph.inst(id).location);
    places.map(|place| (place.line == 0 && !place.text.is_empty()).then(|| place.text.clone())).collect()
}

/// Parsing what is printed gives the graph back: the second text is the first.
pub fn round_trip(graph: &Graph) {
    let text = print(graph);
    let again = graph_of(&text);
    assert_eq!(print(&graph_of(&print(&again))), print(&again), "a fixed point");
    assert_eq!(situ::ir::canonical(&again), situ::ir::canonical(graph), "{text}");
    assert_eq!(origins(&again), origins(graph), "{text}");
    assert!(verify(graph).is_empty());
}

#[test]
fn whole_program_round_trips() {
    let graph = graph_of(MLP);
    insta::assert_snapshot!(print(&graph));
    round_trip(&graph);
    assert!(elided(&graph).contains("linear"));
}

/// Every program in the tree, and its functional form; generated ones are in `functional::differential`.
#[test]
fn print_and_parse_are_inverse() {
    let mut programs = 0;
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../ir-examples")];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> =
            std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "situ") {
                let graph = graph_of(&std::fs::read_to_string(&path).expect("a program is text"));
                round_trip(&graph);
                let (pure, _) = functionalize(&graph, &analyze(&graph)).expect("it has a functional form");
                round_trip(&pure);
                programs += 1;
            }
        }
    }
    assert!(programs > 0, "there are examples");
}

#[test]
fn all_mistakes_are_told_at_once_with_carets() {
    insta::assert_snapshot!(complaints(
        "\
graph wrong {
  input %x: f32[B, 4]
  input %y: f32[2, 4]
  inptu %z: f32[2]
  const %w: f32[2] = [1.0, 2.0, 3.0]
  const %i: i32[1] = [1.5]
  %a = rellu %y
  %b = add %y, %nowhere
  %c = add %y, %later %a
  %d = relu %c
  %e: f32[4, 2] = relu %y
  %f = softmax %y {axsi=1}
  %g = softmax %y {axis=2}
  %later = matmul %y, %y
  %y = relu %y
  relu %y
  %h, %j = relu %y
  $
  %k = add_ %y, 1.0
  return %a, %h
}
"
    ));
}

#[test]
fn writes_that_are_not_allowed_are_told() {
    insta::assert_snapshot!(complaints(
        "\
graph wrong {
  input %x: f32[2, 4]
  inout %s: f32[1, 4]
  const %w: f32[4] = splat(0.0)
  %row = select %x {axis=0, index=0}
  %a = relu_ %row
  %b = relu_ %w
  %wide = expand %s {shape=[3, 4]}
  %c = relu_ %wide
  %t = t %x
  %d = view %t {shape=[8]}
  return %d
}
"
    ));
}

#[test]
fn kernels_see_only_their_parameters() {
    insta::assert_snapshot!(complaints(
        "\
graph wrong {
  input %x: f32[2]
  const %one: f32[2] = splat(1.0)
  %k = kernel(%p = %x) {
    %q = add %p, %x
    %r = add %p, %one
    yield %q
  }
  %y = relu %q
  return %k
}
"
    ));
}

#[test]
fn junk_costs_bounded_time_and_few_lines() {
    let junk: Vec<String> = vec![
        "%".repeat(1 << 20),
        "graph g {".to_string() + &"[".repeat(1 << 20),
        "graph g {\n".to_string() + &"%a = b %c\n".repeat(1 << 16),
        "graph g { %k = ".to_string() + &"kernel() { %k = ".repeat(1 << 16),
        "graph g { %k = f %x {a=".to_string() + &"[".repeat(1 << 20),
        "\u{0}\u{fffd}\"\\".repeat(1 << 17),
        "graph g {\n".to_string() + &"const %a: f32[4096, 4096] = arange()\n".repeat(1 << 14),
        "graph g { input %x: f32[".to_string() + &"9,".repeat(1 << 18),
        "a".repeat(1 << 20),
    ];
    for text in junk {
        let (graph, mistakes) = parse(&text, &Bindings::new());
        assert!(graph.is_none());
        assert!(!mistakes.is_empty() && mistakes.len() <= 100);
        mistakes.iter().for_each(|mistake| assert!(mistake.render("junk", &text).len() < 4000));
    }
}

/// Every prefix of a program, and every program with one byte changed, gives diagnostics or a graph.
#[test]
fn mutants_do_not_panic() {
    let imported =
        crate::state::COUNTED.replace("%weighted = mul %flat, %w", "%weighted = mul %flat, %w at \"m.py:3\"");
    for program in [MLP, &imported] {
        for end in 0..program.len() {
            parse(&program[..end], &Bindings::new().bind("B", 2));
        }
        let bytes = b"%{}[](),:=\"-0x9 \n/_aB.";
        for at in 0..program.len() {
            for &byte in bytes {
                let mut mutant = program.as_bytes().to_vec();
                mutant[at] = byte;
                let text = String::from_utf8(mutant).expect("ASCII stays ASCII");
                let (graph, mistakes) = parse(&text, &Bindings::new().bind("B", 2));
                assert_eq!(graph.is_some(), mistakes.is_empty());
                if let Some(graph) = graph {
                    round_trip(&graph);
                }
            }
        }
    }
}

/// The number of a value without a name is not the name of another, though both are digits.
#[test]
fn numbers_are_no_names() {
    let graph = graph_of(
        "graph g {\n  input %\"0\": f32[2]\n  %0 = relu %\"0\"\n  %\"1\" = neg %0\n  %1 = exp %\"1\"\n  return %1, %\"1\", %\"0\"\n}\n",
    );
    let names: Vec<&str> = graph.values.iter().map(|value| value.name.as_str()).collect();
    assert_eq!(names, ["0", "", "1", ""]);
    round_trip(&graph);
}
