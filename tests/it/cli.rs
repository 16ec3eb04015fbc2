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
pub fn said(arguments: &[&str]) -> (i32, String, String) {
    let output = run(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// A folder of this test's own, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("situ-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    pub fn file(&self, name: &str) -> String {
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
    assert_eq!(said(&["verify", &archive]).0, 1);
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
    assert_eq!(said(&["explain", chain, "%nothing"]).0, 2);
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

/// Inputs that share bytes: the route is told, the numbers are those of the program as written, and mistakes are usage.
#[test]
fn inputs_may_share_bytes() {
    let folder = Folder::new("alias");
    let model = "ir-examples/inplace/shared_inputs.situ";
    let given = folder.file("in.npz");
    let x: Vec<f32> = (0..16).map(|i| i as f32 - 3.5).collect();
    let y: Vec<f32> = (0..16).map(|i| 100.0 + i as f32).collect();
    let write = |path: &str, arrays: &[(&str, &[usize], &[f32])]| {
        let file = std::fs::File::create(path).expect("a file");
        let arrays: Vec<(String, situ::npz::Array)> =
            arrays.iter().map(|(key, shape, data)| (key.to_string(), situ::npz::Array::f32(shape, data))).collect();
        situ::npz::write_npz(file, arrays.iter().map(|(key, array)| (key.clone(), array))).expect("an archive");
    };
    write(&given, &[("x", &[4, 4], &x), ("y", &[16], &y)]);
    let executable = folder.file("shared.situx");
    assert_eq!(said(&["compile", model, "-o", &executable]).0, 0);
    let promised = folder.file("promised.situx");
    assert_eq!(said(&["compile", model, "--assume-noalias", "-o", &promised]).0, 0);
    let (_, accepted, _) = said(&["check", &executable]);
    assert!(accepted.contains("and 2 as written"), "{accepted}");

    // The sixteen elements of %y, as the memory has them when %y begins `by` elements after %x, or %x after %y.
    let expected = |by: isize| -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (x_at, y_at) = if by < 0 { (by.unsigned_abs(), 0) } else { (0, by.unsigned_abs()) };
        let mut memory = [0.0; 48];
        // The base's value counts.
        let (first, second) = if by < 0 { ((x_at, &x), (y_at, &y)) } else { ((y_at, &y), (x_at, &x)) };
        for (at, values) in [first, second] {
            memory[at..at + 16].copy_from_slice(values);
        }
        memory[x_at..x_at + 16].iter_mut().for_each(|element| *element += 1.0);
        let now = memory[y_at..y_at + 16].to_vec();
        (now.iter().map(|element| element * 2.0).collect(), memory[x_at..x_at + 16].to_vec(), now)
    };
    let wanted = folder.file("wanted.npz");
    let cases = [
        ("y=x", 0, "as written"),
        ("y=x+4", 1, "as written"),
        ("y=x+60", 15, "as written"),
        ("y=x+64", 16, "optimised"),
        ("x=y+4", -1, "as written"),
        ("x=y+60", -15, "as written"),
        ("x=y+64", -16, "optimised"),
    ];
    for (alias, by, route) in cases {
        let (n, x, y) = expected(by);
        write(&wanted, &[("out0", &[16], &n), ("mut0", &[4, 4], &x), ("mut1", &[16], &y)]);
        for file in [model, &executable] {
            let arguments =
                ["run", file, "--input-npz", &given, "--alias", alias, "--expect-npz", &wanted, "--max-rel", "0"];
            let (code, text, note) = said(&arguments);
            assert!(code == 0 && text.contains("mut1: relative error 0"), "{alias}: {text}{note}");
            assert!(note.starts_with("note: the ") && note.contains(route), "{alias}: {note}");
            let strict: Vec<&str> = arguments.into_iter().chain(["--strict-alias"]).collect();
            let (code, _, error) = said(&strict);
            assert_eq!(code, i32::from(route == "as written"), "{alias}: {error}");
            assert_eq!(error.contains("input x, which is written, shares bytes with y"), code == 1, "{error}");
        }
        // A promise is not relied on where it is visibly broken.
        let (code, _, error) = said(&["run", &promised, "--input-npz", &given, "--alias", alias]);
        assert_eq!(code, i32::from(route == "as written"), "{alias}: {error}");
        assert_eq!(error.contains("--assume-noalias"), code == 1, "{error}");
    }
    // An alias needs a value of its own only for what no other input covers.
    let only_x = ["run", model, "--input", "x=random:1"];
    let with = |more: &[&str]| said(&only_x.iter().chain(more).copied().collect::<Vec<_>>());
    assert_eq!(with(&["--alias", "y=x"]).0, 0);
    for (arguments, code, told) in [
        (&["--alias", "y=x+4"][..], 2, "input y has no value, or not all of its bytes lie in inputs that have one"),
        (&["--alias", "y=x+65"], 2, "x has 64 bytes, so y cannot begin at byte 65 of it"),
        (&["--alias", "y=x+6"], 2, "which is not a multiple of 4 bytes"),
        (&["--alias", "y=z"], 2, "there is no input z; the inputs are x, y"),
        (&["--alias", "y=x", "--alias", "y=x+4"], 2, "y is given a place twice"),
        (&["--alias", "y=x", "--alias", "x=y"], 2, "lies in its own bytes"),
        (&["--alias", "x=x"], 2, "x lies in its own bytes"),
        (&["--alias", "y"], 2, "expected Y=X or Y=X+BYTES"),
        (&["--alias", "y=x+far"], 2, "not a number of bytes"),
        (&["--alias", "y=x", "--assume-noalias"], 2, "cannot be used with"),
    ] {
        let (found, out, error) = with(arguments);
        assert!(found == code && out.is_empty() && error.contains(told), "{arguments:?}: {found} {error}");
    }
}

const BUFFERS: &str =
    "id,lower,upper,size,offset\nfirst,0,3,4,\nsecond,3,9,4,\n\"third, long\",0,9,4,\nfixed,2,5,3,20\n";

#[test]
fn packing_keeps_what_is_given() {
    let folder = Folder::new("pack");
    let (file, out, again) = (folder.file("in.csv"), folder.file("out.csv"), folder.file("again.csv"));
    std::fs::write(&file, BUFFERS).expect("a file");
    let (code, text, _) = said(&["pack", &file, "-o", &out, "--json"]);
    assert_eq!(code, 0);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&json["height"], &json["load"], &json["lower_bound"]), (&23.into(), &11.into(), &23.into()));
    assert_eq!((&json["proved_optimal"], &json["buffers"]), (&true.into(), &4.into()));
    assert!(json["nodes"].is_u64());
    let written = std::fs::read_to_string(&out).expect("offsets");
    assert!(written.starts_with("id,lower,upper,size,offset\n") && written.contains("\nfixed,2,5,3,20\n"), "{written}");
    assert!(written.contains("\n\"third, long\",0,9,4,"), "{written}");
    // What is written is an instance with every offset given: a packing of that height.
    assert_eq!(said(&["pack", &out, "-o", &again, "--capacity", "23"]).0, 0);
    assert_eq!(std::fs::read_to_string(&again).expect("offsets"), written);
    let (_, aligned, _) = said(&["pack", &file, "--align", "16", "-o", &again]);
    assert!(aligned.contains("height       48"), "{aligned}");
}

#[test]
fn a_capacity_that_is_missed_is_exit_code_4() {
    let folder = Folder::new("pack-capacity");
    let (file, out) = (folder.file("in.csv"), folder.file("out.csv"));
    std::fs::write(&file, "id,lower,upper,size\na,0,3,4\nb,1,4,5\n").expect("a file");
    let (code, text, why) = said(&["pack", &file, "--capacity", "8", "-o", &out, "--json"]);
    assert_eq!(code, 4);
    assert!(why.contains("no packing fits into 8 bytes: proved, none is below 9"), "{why}");
    assert!(text.contains("\"capacity\":8"), "{text}");
    assert!(!Path::new(&out).exists(), "nothing is written that does not fit");
    // Many sizes that do not fit together, and a budget that is too small to find out.
    let mut hard = String::from("id,lower,upper,size\n");
    for number in 0..60 {
        let (lower, size) = (number * 7 % 23, 100 + number * 37 % 61);
        hard.push_str(&format!("b{number},{lower},{},{size}\n", lower + 3 + number % 5));
    }
    std::fs::write(&file, hard).expect("a file");
    let (_, text, _) = said(&["pack", &file, "--json", "--budget", "10"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let (bound, height) = (json["lower_bound"].as_u64().expect("bytes"), json["height"].as_u64().expect("bytes"));
    assert!(bound < height, "the instance is too easy: {text}");
    let (code, _, why) = said(&["pack", &file, "--capacity", &bound.to_string(), "--budget", "10"]);
    assert_eq!(code, 4);
    assert!(why.contains("given up after"), "{why}");
}

#[test]
fn what_cannot_be_packed_is_refused_with_its_line() {
    let folder = Folder::new("pack-wrong");
    let file = folder.file("in.csv");
    for (text, code, why) in [
        ("id,lower,upper,size\na,5,4,1\n", 1, "in.csv:2:1"),
        ("id,lower,upper,size,offset\na,0,4,9,1\nb,3,5,9,9\n", 1, "in.csv:3:1"),
        ("id,lower,upper\n", 1, "column \"size\" is missing"),
        ("id,lower,upper,size\na,0,1,18446744073709551615\n", 1, "exceed 2^62 bytes"),
    ] {
        std::fs::write(&file, text).expect("a file");
        let (found, out, said) = said(&["pack", &file]);
        assert_eq!((found, out.as_str()), (code, ""), "{text}");
        assert!(said.contains(why), "{said}");
    }
    std::fs::write(&file, [0xff, 0xfe]).expect("a file");
    assert_eq!(said(&["pack", &file]).0, 1);
    assert_eq!(said(&["pack", &folder.file("missing.csv")]).0, 1);
    assert_eq!(said(&["pack", &file, "-o", &file]).0, 2);
    assert_eq!(said(&["pack", &file, "--align", "0"]).0, 2);
}

#[test]
fn a_budget_that_is_missed_says_what_can_be_reached() {
    let (code, _, why) = said(&["report", "ir-examples/planning/reuse.situ", "--max-peak", "1KiB"]);
    assert_eq!(code, 4);
    assert!(why.contains("the budget is 1024; ") && why.contains("again"), "{why}");
}

#[test]
fn rules_and_ties_are_chosen_by_their_names() {
    let gelu = "ir-examples/fusion/gelu_recovered.situ";
    let names = |arguments: &[&str]| {
        let (code, text, error) = said(&[&["report", gelu, "--json"], arguments].concat());
        assert_eq!(code, 0, "{error}");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        json["rules"].to_string()
    };
    const GELU: &str = "gelu-halved-last";
    assert!(names(&[]).contains(GELU));
    assert!(!names(&["--without-rule", GELU]).contains(GELU));
    assert!(names(&["--without-rule", "add-zero"]).contains(GELU));
    assert!(!names(&["--without-rule", "add-zero", "--without-rule", GELU]).contains(GELU));
    assert!(!names(&["--only-rule", "add-zero"]).contains(GELU));
    let only = said(&["print", "tests/it/rules/integer.situ", "--after", "rewrite", "--only-rule", "xor-ones"]).1;
    assert!(only.contains("// xor-ones") && !only.contains("shl-shl"), "{only}");
    assert!(!names(&["--rule-limit", "0"]).contains("gelu"));
    for flag in ["--only-rule", "--without-rule"] {
        let (code, out, error) = said(&["report", gelu, flag, "div-constnat"]);
        assert!(code == 2 && out.is_empty() && error.contains("did you mean div-constant"), "{error}");
        let (code, _, error) = said(&["report", gelu, flag, "nothing-like-it-at-all"]);
        assert!(code == 2 && error.contains("docs/rules.md lists them"), "{error}");
        let (code, _, error) = said(&["report", gelu, flag, "fuse"]);
        assert!(code == 2 && error.contains("no rule of algebra"), "{error}");
    }
    let chain = "ir-examples/inplace/chain.situ";
    let (code, out, error) = said(&["report", chain, "--only-tie", "%nobody"]);
    assert!(code == 2 && out.is_empty() && error.contains("%nobody"), "{error}");
    let ties = |arguments: &[&str]| {
        let (code, text, error) = said(&[&["report", chain, "--json"], arguments].concat());
        assert_eq!(code, 0, "{error}");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        json["ties"].as_array().expect("a list").clone()
    };
    let all = ties(&[]);
    assert!(all.len() > 1, "{all:?}");
    let value = all[0]["value"].as_str().unwrap_or_else(|| panic!("{all:?}")).to_string();
    for name in [value.as_str(), value.trim_start_matches('%')] {
        assert_eq!(ties(&["--only-tie", name]).len(), 1, "{name}");
    }
}

/// No `--math` takes every value to be finite; the promise does, whatever the mathematics.
#[test]
fn only_a_promise_drops_what_is_not_finite() {
    let folder = Folder::new("finite");
    let model = folder.file("m.situ");
    std::fs::write(
        &model,
        "graph g {\n  input %x: f32[4]\n  %y = mul %x, 0.0\n  %z = sub %x, %x\n  return %y, %z\n}\n",
    )
    .expect("a file");
    for math in ["strict", "default", "fast"] {
        let rules = |more: &[&str]| {
            let (code, text, error) = said(&[&["report", &model, "--math", math, "--json"], more].concat());
            assert_eq!(code, 0, "{error}");
            text.contains("mul-zero") && text.contains("sub-same")
        };
        assert!(!rules(&[]), "{math}");
        assert!(rules(&["--assume-finite"]), "{math}");
    }
}
