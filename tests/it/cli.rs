//! The command line: verbs, files, exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The binary, built once in the profile of this test.
fn situ() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("the test has a path");
        let profile = test.parent().and_then(Path::parent).expect("below the target folder").to_path_buf();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--offline", "--package", "situ", "--bin", "situ"]);
        build.current_dir(root()).env("CARGO_TARGET_DIR", profile.parent().expect("the target folder"));
        if profile.file_name().is_some_and(|name| name == "release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success());
        profile.join("situ")
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

fn run(arguments: &[&str]) -> Output {
    Command::new(situ()).args(arguments).current_dir(root()).output().expect("the binary runs")
}

/// Exit code, stdout, stderr.
fn said(arguments: &[&str]) -> (i32, String, String) {
    let output = run(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// A folder of this test's own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("situ-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn compile_check_run_report() {
    let folder = Folder::new("cli");
    let (model, file) = ("ir-examples/models/mlp.situ", folder.file("mlp.situx"));
    assert_eq!(said(&["compile", model, "--bind", "B=4", "-o", &file]), (0, String::new(), String::new()));
    let (code, accepted, _) = said(&["check", &file]);
    assert!(code == 0 && accepted.starts_with("accepted"), "{accepted}");
    let out = folder.file("out.npz");
    assert_eq!(said(&["run", &file, "--input", "x=random:3", "--output", &out]).0, 0);
    let compared = ["run", model, "--bind", "B=4", "--input", "x=random:3", "--expect-npz", &out, "--max-rel", "0"];
    let (code, text, error) = said(&compared);
    assert!(code == 0 && text.contains("out0: relative error"), "{text}{error}");
    let (code, text, _) = said(&["run", model, "--bind", "B=4", "--input", "x=random:4", "--expect-npz", &out]);
    assert!(code == 1 && text.is_empty(), "another input gives another result");
    let from_file = said(&["report", &file]).1;
    assert_eq!(from_file, said(&["report", model, "--bind", "B=4"]).1);
    let json: serde_json::Value = serde_json::from_str(&said(&["report", &file, "--json"]).1).expect("JSON");
    for key in [
        "schema",
        "source_ops",
        "kernels",
        "weights_bytes",
        "peak",
        "arena_bytes",
        "lower_bound_bytes",
        "arena_bytes_without_inplace",
        "ties",
        "refusals",
        "rules",
    ] {
        assert!(json.get(key).is_some(), "the report lacks {key}");
    }
}

#[test]
fn several_shapes_in_one_file() {
    let folder = Folder::new("shapes");
    let file = folder.file("mlp.situx");
    assert_eq!(said(&["compile", "ir-examples/models/mlp.situ", "--shapes", "B=1,8", "-o", &file]).0, 0);
    let one = folder.file("one.situx");
    assert_eq!(said(&["compile", "ir-examples/models/mlp.situ", "--bind", "B=1", "-o", &one]).0, 0);
    let size = |path: &str| std::fs::metadata(path).expect("the file").len();
    assert!(size(&file) < size(&one) + size(&one) / 4, "the plans share their weights");
    assert_eq!(said(&["check", &file]).0, 0);
    let out = folder.file("out.npz");
    let eight = ["run", "ir-examples/models/mlp.situ", "--bind", "B=8", "--input", "x=random:3", "--output", &out];
    assert_eq!(said(&eight).0, 0);
    // The array given decides which plan runs.
    let x = folder.file("x.npz");
    write_input(&x);
    let from_model = ["run", "ir-examples/models/mlp.situ", "--bind", "B=8", "--input-npz", &x, "--output", &out];
    assert_eq!(said(&from_model).0, 0);
    let (code, text, error) = said(&["run", &file, "--input-npz", &x, "--expect-npz", &out, "--max-rel", "0"]);
    assert_eq!(code, 0, "{text}{error}");
}

fn write_input(path: &str) {
    let elements: Vec<f32> = (0..8 * 784).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect();
    let array = situ::npz::Array::f32(&[8, 784], &elements);
    let file = std::fs::File::create(path).expect("a file");
    situ::npz::write_npz(file, [("x".to_string(), &array)]).expect("an archive");
}

#[test]
fn exit_codes() {
    let folder = Folder::new("codes");
    let wrong = folder.file("wrong.situ");
    std::fs::write(&wrong, "graph g {\n  input %x: f32[2]\n  %y = rleu %x\n  return y=%y\n}\n").expect("a file");
    let (code, out, error) = said(&["verify", &wrong]);
    assert!(code == 1 && out.is_empty() && error.contains("relu") && error.contains("wrong.situ:3:"), "{error}");
    assert_eq!(said(&["verify", "ir-examples/models/mlp.situ"]).0, 1, "B is not bound");
    assert_eq!(said(&["verify", "ir-examples/models/mlp.situ", "--bind", "B=2"]).0, 0);
    assert_eq!(said(&["verify", "no-such-file.situ"]).0, 1);
    assert_eq!(said(&["frobnicate"]).0, 2);
    assert_eq!(said(&["run", "ir-examples/inplace/chain.situ"]).0, 2, "an input without a value");
    assert_eq!(said(&["report", "ir-examples/inplace/chain.situ", "--max-peak", "1KiB"]).0, 4);
    assert_eq!(said(&["report", "ir-examples/inplace/chain.situ", "--max-peak", "1MiB"]).0, 0);
    let junk = folder.file("junk.situx");
    std::fs::write(&junk, b"not an executable at all").expect("a file");
    assert_eq!(said(&["check", &junk]).0, 1);
    let onnx = folder.file("junk.onnx");
    std::fs::write(&onnx, b"\xff\xff\xff\xff").expect("a file");
    assert_eq!(said(&["verify", &onnx]).0, 1);
    let archive = folder.file("a.pt2");
    std::fs::write(&archive, b"").expect("a file");
    assert_eq!(said(&["verify", &archive]).0, 3);
}

#[test]
fn print_and_explain() {
    let chain = "ir-examples/inplace/chain.situ";
    for stage in ["source", "functional", "rewrite"] {
        let (code, text, error) = said(&["print", chain, "--after", stage]);
        assert!(code == 0 && text.starts_with("graph chain {"), "{stage}: {error}");
    }
    let (code, text, _) = said(&["print", "ir-examples/views/slice_assignment.situ", "--after", "alias"]);
    assert!(
        code == 0 && text.starts_with("digraph") && text.contains("\"%v\" -> \"%window\" [label=\"slice\"];"),
        "{text}"
    );
    assert_eq!(said(&["print", chain, "--after", "lunch"]).0, 2);
    let (code, text, error) = said(&["explain", chain, "%b"]);
    assert!(code == 0 && text.contains("%b"), "{error}");
    assert_eq!(said(&["explain", chain, "%nothing"]).0, 1);
}

#[test]
fn bench_says_what_it_measured() {
    let arguments = ["bench", "ir-examples/inplace/chain.situ", "--secs", "0", "--per-step", "--json"];
    let (code, text, error) = said(&arguments);
    assert_eq!(code, 0, "{error}");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(json["median_ms"].as_f64().is_some_and(|ms| ms > 0.0));
    assert!(json["extra_bytes"].is_u64() && json["steps"].as_array().is_some_and(|steps| !steps.is_empty()));
}
