//! The house rules that a machine can hold.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the repository").to_path_buf()
}

/// Every `.rs` file below `folder`, with its path from the root and its text, in order.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} holds no source");
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
            (name, fs::read_to_string(&path).expect("a source is text"))
        })
        .collect()
}

fn all_sources() -> Vec<(String, String)> {
    ["compiler/src", "runtime/src", "tests/it"].into_iter().flat_map(sources).collect()
}

/// The code of a file: comments and doc comments left out.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

#[test]
fn files_have_heads() {
    for (name, text) in all_sources() {
        assert!(text.starts_with("//! "), "{name} does not say what it is for");
    }
}

#[test]
fn files_are_short() {
    for (name, text) in all_sources() {
        let lines = text.lines().count();
        assert!(lines <= 1000, "{name} has {lines} lines");
    }
}

/// Stages in the order of the pipeline. `eval` is the meaning of a graph, which several stages ask for.
const STAGES: &[&str] = &[
    "diagnostic",
    "types",
    "strides",
    "ops",
    "seeded",
    "ir",
    "npz",
    "safetensors",
    "eval",
    "source",
    "alias",
    "functional",
    "rewrite",
    "lower",
    "place",
    "plan",
    "rematerialise",
    "rounds",
    "savings",
    "report",
    "emit",
    "pipeline",
    "bundle",
    "conformance",
];

#[test]
fn stages_look_back_only() {
    // `ir` draws seeded constants and `seeded` names their distribution: two words that explain each other. The result
    // type of `functional` is a word too: the graph it makes is what `rewrite` and `lower` take.
    let allowed = [("seeded", "ir")];
    for (name, text) in sources("compiler/src") {
        let place = name.trim_start_matches("compiler/src/");
        let stage = place.split(['/', '.']).next().unwrap_or("");
        let Some(own) = STAGES.iter().position(|&known| known == stage) else {
            assert!(matches!(stage, "lib" | "main" | "cli"), "{name} belongs to no stage");
            continue;
        };
        for (later, other) in STAGES.iter().enumerate().skip(own + 1) {
            let uses = [format!("crate::{other}::"), format!("crate::{other};"), format!("crate::{other} ")];
            let used = uses.iter().any(|used| code(&text).contains(used.as_str()));
            let _ = later;
            assert!(!used || allowed.contains(&(stage, other)), "{stage} comes before {other} and {name} uses it");
        }
    }
}

#[test]
fn runtime_stands_alone() {
    let manifest = fs::read_to_string(root().join("runtime/Cargo.toml")).expect("the manifest");
    for foreign in ["situ.workspace", "egg", "petgraph", "indexmap", "clap"] {
        assert!(!manifest.contains(foreign), "the runtime depends on {foreign}");
    }
}

/// The files of the runtime that may hold `unsafe`, and why.
const UNSAFE: &[&str] = &[
    "runtime/src/arena.rs", // the aligned block and its disjoint slices
    "runtime/src/bands.rs", // disjoint column bands of one result, a part of the arena
    "runtime/src/map.rs",   // the file map
    "runtime/src/raw.rs",   // the entry point for foreign callers
    "runtime/src/simd/",    // the instruction sets
];

#[test]
fn unsafe_has_its_places() {
    for (name, text) in sources("runtime/src") {
        // Tests call the raw entry point; what they do is not shipped.
        let test = name.ends_with("tests.rs");
        let allowed = test || UNSAFE.iter().any(|place| name.starts_with(place));
        let found = code(&text)
            .lines()
            .any(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe"));
        assert!(allowed || !found, "{name} holds unsafe code");
    }
    for file in ["compiler/src/lib.rs", "compiler/src/main.rs"] {
        let text = fs::read_to_string(root().join(file)).expect("a source");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file} does not forbid unsafe code");
    }
}

#[test]
fn the_checker_stands_alone() {
    for (name, text) in sources("runtime/src/check") {
        for other in ["crate::arena", "crate::session", "crate::schedule"] {
            assert!(!code(&text).contains(other), "{name} shares code with the runtime's execution: {other}");
        }
    }
}

#[test]
fn foreign_crates_have_homes() {
    let homes = [
        ("egg", vec!["compiler/src/rewrite/"]),
        ("petgraph", vec!["compiler/src/place/"]),
        ("insta", vec!["tests/it/"]),
    ];
    for (name, text) in all_sources() {
        for (foreign, homes) in &homes {
            let used = [format!("use {foreign}::"), format!("{foreign}::")];
            let uses = code(&text).lines().any(|line| {
                used.iter().any(|used| {
                    line.match_indices(used.as_str())
                        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"'))
                })
            });
            let home = homes.iter().any(|home| name.starts_with(home));
            assert!(!uses || home, "{name} uses {foreign}, whose home is {homes:?}");
        }
    }
}

#[test]
fn ir_is_not_serialised() {
    for (name, text) in sources("compiler/src/ir").into_iter().chain(sources("compiler/src/ops")) {
        assert!(!code(&text).contains("Serialize"), "{name} gives an IR type a byte form");
    }
}

/// Every path in backticks in the documents exists.
#[test]
fn documents_name_what_exists() {
    for document in ["README.md", "docs/architecture.md", "docs/report.md", "docs/ir.md", "docs/aliasing.md"] {
        let text = fs::read_to_string(root().join(document)).expect("a document");
        for quoted in text.split('`').skip(1).step_by(2) {
            let looks_like_path = quoted.contains('/') && !quoted.contains([' ', '<', '*', ':', '{', '…']);
            if !looks_like_path {
                continue;
            }
            let bases = ["", "compiler/src", "runtime/src", "docs", "tests"];
            let exists = bases.iter().any(|base| root().join(base).join(quoted).exists());
            assert!(exists, "{document} names {quoted}, which does not exist");
        }
    }
}

/// Every test that an invariant names exists.
#[test]
fn invariants_have_their_tests() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("the document");
    let tests: String = all_sources().into_iter().map(|(_, text)| text).collect();
    let (_, invariants) = text.split_once("## Invariants").expect("the section");
    let mut named = 0;
    for quoted in invariants.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains("::")) {
        let name = quoted.rsplit("::").next().expect("a name");
        assert!(tests.contains(&format!("fn {name}(")), "there is no test {quoted}");
        named += 1;
    }
    assert!(named >= 15, "{named}");
}

/// A snapshot without its program is a leftover of a rename.
#[test]
fn snapshots_have_their_programs() {
    fn walk(folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path);
            } else if path.extension().is_some_and(|extension| extension == "snap") {
                assert!(path.with_extension("situ").exists(), "{} has no program", path.display());
            }
        }
    }
    walk(&root().join("ir-examples"));
}
