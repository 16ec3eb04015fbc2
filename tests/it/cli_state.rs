//! The command line with programs that come with their state, step by step, and texts beside their weights.

use std::path::Path;

use situ::npz::{self, Array};

use crate::cli::{Folder, said};

const MODEL: &str = "\
graph walk {
  inout %place: f32[6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
  state \"first two\" = %place {shape=[2]}
  state turned = %place {shape=[3, 2], strides=[1, 3]}
  input %by: f32[6]
  inout %steps: i64[1] = [0]
  inout %mine: f32[2]
  add_ %place, %by
  add_ %steps, 1
  add_ %mine, 1.0
  return place=%place
}
";

fn read(path: &str) -> indexmap::IndexMap<String, Array> {
    npz::read(Path::new(path), |_| true).expect("an archive")
}

fn write(path: &str, arrays: &[(&str, Array)]) {
    let file = std::fs::File::create(path).expect("a file");
    npz::write_npz(file, arrays.iter().map(|(name, array)| (name.to_string(), array))).expect("an archive");
}

fn model(folder: &Folder) -> String {
    let model = folder.file("walk.situ");
    std::fs::write(&model, MODEL).expect("a file");
    model
}

/// Inputs by position: those that come with state are not counted.
fn given(folder: &Folder) -> String {
    let given = folder.file("given.npz");
    let by = Array::f32(&[6], &[0.5, 1.5, 2.5, 3.5, 4.5, 5.5]);
    write(&given, &[("in0", by), ("in1", Array::f32(&[2], &[7.0, -7.0]))]);
    given
}

#[test]
fn state_goes_from_step_to_step() {
    let folder = Folder::new("steps");
    let (model, given, state) = (model(&folder), given(&folder), folder.file("state.npz"));
    let executable = folder.file("walk.situx");
    assert_eq!(said(&["compile", &model, "-o", &executable]).0, 0);
    for step in 1..=3 {
        // The text and the executable take turns.
        let file = [&model, &executable][step % 2];
        let mut arguments = vec!["run", file, "--input-npz", &given, "--state-out", &state];
        if step > 1 {
            arguments.extend(["--state-in", &state]);
        }
        let (code, text, error) = said(&arguments);
        assert_eq!(code, 0, "{error}");
        let lines: Vec<&str> = text.lines().map(|line| line.split(':').next().expect("a name")).collect();
        let names =
            ["out0 place", "mut0 by", "mut1 mine", "state place", "state first two", "state turned", "state steps"];
        assert_eq!(lines, names);
        let arrays = read(&state);
        assert_eq!(arrays.keys().collect::<Vec<_>>(), ["place", "first two", "turned", "steps"]);
        let place: Vec<f64> = (0..6).map(|i| 1.0 + i as f64 + step as f64 * (0.5 + i as f64)).collect();
        assert_eq!(arrays["place"].to_f64(), place);
        assert_eq!(arrays["first two"].to_f64(), place[..2]);
        assert_eq!(arrays["turned"].ty.shape, [3, 2]);
        assert_eq!(arrays["turned"].to_f64(), [0, 3, 1, 4, 2, 5].map(|at| place[at]));
        assert_eq!(arrays["steps"].to_f64(), [step as f64]);
    }
}

#[test]
fn parts_are_written_into_the_whole() {
    let folder = Folder::new("parts");
    let (model, given) = (model(&folder), given(&folder));
    let (before, after) = (folder.file("before.npz"), folder.file("after.npz"));
    let attempt = |arrays: &[(&str, Array)], more: &[&str]| {
        write(&before, arrays);
        let arguments = ["run", &model, "--input-npz", &given, "--state-in", &before, "--state-out", &after];
        let (code, _, error) = said(&[&arguments[..], more].concat());
        if code == 0 { Ok(read(&after)["place"].to_f64()) } else { Err((code, error)) }
    };
    // Of the whole and its parts the later counts, whatever the order in the file; nothing need be there.
    let turned = Array::f32(&[3, 2], &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
    let whole = Array::f32(&[6], &[-1.0; 6]);
    assert_eq!(
        attempt(&[("turned", turned), ("place", whole.clone())], &[]),
        Ok(vec![10.5, 31.5, 52.5, 23.5, 44.5, 65.5])
    );
    let two = Array::f32(&[2], &[100.0, 200.0]);
    assert_eq!(attempt(&[("first two", two.clone())], &[]), Ok(vec![100.5, 201.5, 5.5, 7.5, 9.5, 11.5]));
    assert_eq!(attempt(&[], &[]), Ok(vec![1.5, 3.5, 5.5, 7.5, 9.5, 11.5]));
    // What is said about one input alone counts most.
    assert_eq!(attempt(&[("place", whole)], &["--input", "place=zeros"]), Ok(vec![0.5, 1.5, 2.5, 3.5, 4.5, 5.5]));
    for (name, array, code, told) in [
        ("palce", two.clone(), 2, "has no state palce; it has place, first two, turned, steps; did you mean place?"),
        ("mine", two.clone(), 2, "has no state mine"),
        ("in0", two.clone(), 2, "has no state in0"),
        ("place", two.clone(), 1, "place is f32[6], found f32[2]"),
        ("turned", two.clone(), 1, "turned is f32[3, 2], found f32[2]"),
        ("steps", Array::f32(&[1], &[1.0]), 1, "steps is i64[1], found f32[1]"),
    ] {
        let (found, error) = attempt(&[(name, array)], &[]).expect_err(name);
        assert!(found == code && error.contains(told), "{found} {error}");
    }
    // A run that fails leaves the file as it was.
    let kept = std::fs::read(&after).expect("a file");
    assert!(said(&["run", &model, "--state-out", &after]).2.contains("input by has no value"));
    assert_eq!(std::fs::read(&after).expect("a file"), kept);
    assert_eq!(said(&["run", &model, "--input-npz", &given, "--state-out", &model]).0, 2, "that is the model");
    let stateless = ["run", "ir-examples/inplace/chain.situ", "--input", "x=random:1"];
    let (code, _, error) = said(&[&stateless[..], &["--state-in", &after]].concat());
    assert!(code == 2 && error.contains("comes with no state"), "{code} {error}");
    assert_eq!(std::fs::read(&after).expect("a file"), kept);
    // A program without state leaves a file without arrays, so that scripts need not know.
    let none = folder.file("none.npz");
    assert_eq!(said(&[&stateless[..], &["--state-out", &none]].concat()).0, 0);
    assert!(read(&none).is_empty());
}

#[test]
fn results_and_expectations_name_state() {
    let folder = Folder::new("expected");
    let (model, given, out) = (model(&folder), given(&folder), folder.file("out.npz"));
    assert_eq!(said(&["run", &model, "--input-npz", &given, "--output", &out]).0, 0);
    let keys = ["out0", "mut0", "mut1", "state:place", "state:first two", "state:turned", "state:steps"];
    assert_eq!(read(&out).keys().collect::<Vec<_>>(), keys);
    let compare = |arguments: &[&str]| said(&[&["run", &model, "--input-npz", &given], arguments].concat());
    let (code, text, _) = compare(&["--expect-npz", &out, "--max-rel", "0"]);
    assert!(code == 0 && keys.iter().all(|key| text.contains(&format!("{key}: relative error 0"))), "{text}");
    write(&out, &[("state:steps", Array { ty: read(&out)["state:steps"].ty.clone(), bytes: vec![9; 8] })]);
    let (code, _, error) = compare(&["--expect-npz", &out]);
    assert!(code == 1 && error.contains("state:steps: relative error"), "{error}");
    // State also begins as it should where inputs share bytes, and where time is taken.
    let (code, text, error) = compare(&["--alias", "mine=by"]);
    assert!(code == 0 && text.contains("state steps: i64[1] = [1]") && error.contains("as written"), "{text}{error}");
    let (code, text, error) = said(&["bench", &model, "--secs", "0"]);
    assert!(code == 0 && text.starts_with("median"), "{error}");
    let cache = "ir-examples/inplace/decode_step.situ";
    assert_eq!(said(&["bench", cache, "--secs", "0.05"]).0, 0, "hundreds of steps, each the first");
}

/// The text that `print --weights` gives, with its file, is the model.
#[test]
fn a_printed_model_compiles_to_the_same_file() {
    let folder = Folder::new("printed");
    let (text, weights) = (folder.file("m.situ"), folder.file("m.safetensors"));
    let model = "tests/it/rules/integer.situ";
    let large = folder.file("large.situ");
    let numbers: Vec<String> = (0..100).map(|i| format!("{}.25", i % 17)).collect();
    let list = numbers.join(", ");
    std::fs::write(
        &large,
        format!(
            "graph large {{\n  input %x: f32[10, 10]\n  inout %total: f32[100] = [{list}]\n  state part = %total {{shape=[50], strides=[2]}}\n  const %w: f32[10, 10] = [{list}]\n  %y = matmul %x, %w at \"layer.py:3\"\n  %flat = view %y {{shape=[100]}} at \"layer.py:4\"\n  add_ %total, %flat at \"layer.py:5\"\n  return y=%y\n}}\n"
        ),
    )
    .expect("a file");
    let executable = |model: &str, name: &str| {
        let file = folder.file(name);
        let (code, _, error) = said(&["compile", model, "-o", &file]);
        assert_eq!(code, 0, "{error}");
        std::fs::read(file).expect("the executable")
    };
    let (code, printed, error) = said(&["print", &large, "--weights", &weights]);
    assert_eq!(code, 0, "{error}");
    assert!(printed.contains("weights \"m.safetensors\"") && printed.contains("= safetensors(\"total\")"), "{printed}");
    std::fs::write(&text, &printed).expect("a file");
    let written = std::fs::read(&weights).expect("the weights");
    assert_eq!(written.len() % 8, 0);
    assert!(executable(&large, "a.situx") == executable(&text, "b.situx"), "two files of one program");
    assert_eq!(said(&["report", &large]).1, said(&["report", &text]).1);
    // Printing it again, to another file, gives the same bytes; its own weights are not overwritten.
    let other = folder.file("other.safetensors");
    let again = said(&["print", &text, "--weights", &other]);
    assert_eq!((again.0, again.1), (0, printed.replace("m.safetensors", "other.safetensors")));
    assert!(std::fs::read(&other).expect("the weights") == written);
    for (model, weights) in [(&text, &text), (&text, &weights)] {
        let (code, out, error) = said(&["print", model, "--weights", weights]);
        assert!(code == 2 && out.is_empty() && error.contains("the file that is read"), "{error}");
    }
    assert!(std::fs::read(&weights).expect("the weights") == written);
    let (code, out, error) = said(&["print", model, "--weights", &other, "--after", "functional"]);
    assert!(code == 2 && out.is_empty() && error.contains("--after"), "{error}");
    assert_eq!(said(&["print", &large, "--weights", &folder.file("absent/f.safetensors")]).0, 1);
}
