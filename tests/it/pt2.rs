//! Programs that PyTorch exported, against what eager PyTorch computed: outputs, inputs and state after the call.
//!
//! The archives and arrays beside this file were written by `tests/pt2/write_cases.py` from `tests/pt2/cases.py`, where each
//! case says which hazard it holds. `NAME.npz` has a call's inputs and results, `NAME.state.npz` the state it leaves;
//! `NAME.second.*` are those of a second call, which starts from there.

use std::path::{Path, PathBuf};

use situ::npz;
use situ_runtime::types::DType;

use crate::cli::{Folder, said};
use crate::support::run::relative_error;

/// The archives, in order.
fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/pt2");
    let entries = std::fs::read_dir(folder).expect("the folder of cases").map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "pt2")).collect();
    cases.sort();
    assert!(cases.len() > 50, "the cases are there");
    cases
}

/// A file beside an archive.
fn beside(case: &Path, end: &str) -> Option<String> {
    let path = case.with_extension(end);
    path.exists().then(|| path.to_string_lossy().into_owned())
}

/// What differs between a file of state and what eager PyTorch left.
fn state_differs(expected: &str, found: &str) -> Vec<String> {
    let read = |path: &str| npz::read(Path::new(path), |_| true).expect("arrays");
    let (expected, found) = (read(expected), read(found));
    let mut wrong = Vec::new();
    for (name, want) in &expected {
        match found.get(name) {
            None => wrong.push(format!("{name} is missing")),
            Some(have) if have.ty != want.ty => wrong.push(format!("{name} is {}, expected {}", have.ty, want.ty)),
            // Integers and `bool` have no error.
            Some(have) => {
                let bound = if want.ty.dtype.is_float() { 1e-5 } else { 0.0 };
                let error = relative_error(have, want);
                if error.is_nan() || error > bound {
                    wrong.push(format!("{name} differs by {error:e}"));
                }
            }
        }
    }
    wrong
}

/// Runs a case with further options, both calls where there are two; what went wrong.
fn run(case: &Path, options: &[&str], folder: &Folder) -> Vec<String> {
    let model = case.to_string_lossy().into_owned();
    let state = folder.file("state.npz");
    let mut wrong = Vec::new();
    let mut before: Option<String> = None;
    for call in ["", "second."] {
        let Some(arrays) = beside(case, &format!("{call}npz")) else { continue };
        let mut arguments = vec!["run", &model, "--input-npz", &arrays, "--expect-npz", &arrays, "--state-out", &state];
        if let Some(before) = &before {
            arguments.extend(["--state-in", before]);
        }
        arguments.extend(options);
        let (code, _, error) = said(&arguments);
        if code != 0 {
            wrong.push(format!("{call}call: exit {code}: {error}"));
        } else if let Some(expected) = beside(case, &format!("{call}state.npz")) {
            wrong.extend(state_differs(&expected, &state));
        }
        before = Some(state.clone());
    }
    wrong
}

fn all_agree(options: &[&str], name: &str) {
    let folder = Folder::new(name);
    let mut failures = Vec::new();
    for case in cases() {
        for wrong in run(&case, options, &folder) {
            failures.push(format!("{}: {wrong}", case.file_stem().unwrap_or_default().to_string_lossy()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn programs_do_what_eager_pytorch_did() {
    all_agree(&[], "pt2");
}

#[test]
fn without_rewriting_they_do_the_same() {
    all_agree(&["--no-rewrite"], "pt2-plain");
}

#[test]
fn with_every_tie_refused_they_do_the_same() {
    all_agree(&["--no-inplace", "--math", "strict"], "pt2-apart");
}

/// Text and weights, read back, are the same program to the byte.
#[test]
fn printed_programs_compile_to_the_same_file() {
    let folder = Folder::new("pt2-print");
    for case in cases() {
        let model = case.to_string_lossy().into_owned();
        let (text, weights) = (folder.file("program.situ"), folder.file("weights.safetensors"));
        let (code, printed, error) = said(&["print", &model, "--weights", &weights]);
        assert_eq!(code, 0, "{model}: {error}");
        std::fs::write(&text, printed).expect("written");
        let (direct, again) = (folder.file("direct.situx"), folder.file("again.situx"));
        for (from, to) in [(&model, &direct), (&text, &again)] {
            let (code, _, error) = said(&["compile", from, "-o", to]);
            assert_eq!(code, 0, "{from}: {error}");
        }
        let same = std::fs::read(&direct).expect("a file") == std::fs::read(&again).expect("a file");
        assert!(same, "{model}: the printed program compiles to another file");
    }
}

/// Every place that a report or a complaint names is a line of the Python program.
#[test]
fn reports_name_python_lines() {
    let case = cases().into_iter().find(|case| case.ends_with("kv_cache.pt2")).expect("the case");
    let (code, report, _) = said(&["report", &case.to_string_lossy()]);
    assert_eq!(code, 0);
    assert!(report.contains(".py:"), "{report}");
    let (code, json, _) = said(&["report", "--json", &case.to_string_lossy()]);
    assert_eq!(code, 0);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    for step in json["steps"].as_array().expect("steps") {
        // A copy at the end is asked for by no line, but by an input.
        let place = step["location"].as_str().expect("a place");
        assert!(place.contains(".py:") || step["label"] == "final", "{step}");
    }
}

/// A program compiled for distinct inputs and called with views of one another (pytorch#139789) does what eager does.
#[test]
fn inputs_that_share_bytes_mean_what_eager_means() {
    let folder = Folder::new("pt2-shared");
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/pt2/mutates_input.pt2");
    let given = npz::read(&case.with_extension("npz"), |_| true).expect("arrays");
    let x = given.get("in0").expect("the first input");
    assert_eq!(x.ty.dtype, DType::F32);
    let (file, out) = (folder.file("x.npz"), folder.file("out.npz"));
    let only_x = [("x".to_string(), x)];
    situ_runtime::file::replace(Path::new(&file), |f| {
        npz::write_npz(f, only_x.iter().map(|(name, array)| (name.clone(), *array))).map_err(std::io::Error::other)
    })
    .expect("written");
    let (code, _, error) =
        said(&["run", &case.to_string_lossy(), "--input-npz", &file, "--alias", "y=x", "--output", &out]);
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("the program as written ran"), "{error}");
    // `z = y.sin(); x.add_(1); return z + y, x * 2` with y and x the same bytes.
    let found = npz::read(Path::new(&out), |_| true).expect("arrays");
    let floats = |array: &npz::Array| array.to_f64();
    for (at, x) in floats(x).into_iter().enumerate() {
        let bound = 1e-6 * (1.0 + x.abs());
        assert!((floats(&found["out0"])[at] - (x.sin() + x + 1.0)).abs() < bound);
        assert!((floats(&found["out1"])[at] - 2.0 * (x + 1.0)).abs() < bound);
        assert!((floats(&found["mut0"])[at] - (x + 1.0)).abs() < bound);
    }
}

/// Inputs that were traced with strides of their own are read through copies, in which sharing would not show: refused.
#[test]
fn inputs_behind_copies_must_not_share_bytes() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/pt2/input_with_gaps.pt2");
    let model = case.to_string_lossy().into_owned();
    let printed = said(&["print", &model]).1;
    assert!(printed.contains("apart \"input x was traced with strides"), "{printed}");
    let (code, _, error) = said(&["run", &model, "--input", "x=random:1", "--alias", "v=x"]);
    assert!(code == 1 && error.contains("a copy of it stands for it"), "{code} {error}");
}
