//! The report as a drawing, a page and a trace, and two reports side by side.

use std::path::Path;

use serde_json::{Value, json};
use situ::pipeline::{Options, compile};
use situ::report::{self, Kept, NoChart};
use situ_runtime::wire::Compiled;

use crate::cli::{Folder, said};
use crate::examples;
use crate::support::xml::{self, Element};

/// The report of an example, as JSON.
fn json_of(path: &Path) -> String {
    compile(&examples::graph(path), &Options::default()).expect("an example compiles").report_json
}

fn example(name: &str) -> String {
    json_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../ir-examples").join(name))
}

fn kept(json: &str) -> Kept {
    Kept::read(json).expect("a report")
}

fn elements(text: &str) -> Vec<Element> {
    xml::elements(text).unwrap_or_else(|how| panic!("{how}\n{text}"))
}

/// The rectangles of lives: left, top, right, bottom, in hundredths of a pixel.
fn rectangles(elements: &[Element]) -> Vec<[i64; 4]> {
    let rects = elements.iter().filter(|element| element.name == "rect" && element.within == "life");
    rects
        .map(|rect| {
            let [x, y, width, height] =
                ["x", "y", "width", "height"].map(|name| (rect.number(name) * 100.0).round() as i64);
            [x, y, x + width, y + height]
        })
        .collect()
}

#[test]
fn formats_of_small_programs() {
    for (name, file) in [("not_twice", "inplace/not_twice.situ"), ("emplaced_pool", "inplace/emplaced_pool.situ")] {
        let kept = kept(&example(file));
        insta::assert_snapshot!(format!("{name}_svg"), report::svg(&kept).expect("a drawing"));
        insta::assert_snapshot!(format!("{name}_trace"), report::trace(&kept).expect("a trace"));
    }
    insta::assert_snapshot!("not_twice_html", report::html(&kept(&example("inplace/not_twice.situ"))).expect("a page"));
}

/// Of every example: a rectangle for each life, none over another, all within the sheet, in well-formed XML; the counter of
/// the trace reaches what the report calls the lower bound.
#[test]
fn drawings_and_traces_say_what_the_report_says() {
    for path in examples::programs() {
        let text = json_of(&path);
        let report: Value = serde_json::from_str(&text).expect("JSON");
        let kept = kept(&text);
        let svg = report::svg(&kept).expect("a drawing");
        let rectangles = rectangles(&elements(&svg));
        let lives = report["lives"].as_array().expect("lives");
        assert_eq!(rectangles.len(), lives.len(), "{}", path.display());
        for (number, a) in rectangles.iter().enumerate() {
            assert!(a[0] >= 0 && a[1] >= 0 && a[2] <= 120_000 && a[3] <= 64_000, "{}: {a:?}", path.display());
            for b in &rectangles[..number] {
                let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
                assert!(apart, "{}: {a:?} lies over {b:?}", path.display());
            }
        }
        for life in lives {
            let label = match life["class"].as_str() {
                Some("workspace") => "workspace".to_string(),
                _ => life["values"][0].as_str().expect("a name").to_string(),
            };
            assert!(svg.contains(&format!("<title>{label}")), "{}: {label}", path.display());
        }
        let page = report::html(&kept).expect("a page");
        let outside = ["src", "href", "data", "action"];
        for element in elements(&page) {
            assert!(!outside.iter().any(|attribute| element.get(attribute).is_some()) && element.name != "script");
        }
        assert!(!page.contains("url(") && !page.contains("@import"));
        traced(&report, &report::trace(&kept).expect("a trace"), &path);
    }
}

fn traced(report: &Value, trace: &str, path: &Path) {
    let trace: Value = serde_json::from_str(trace).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let of = |phase: &'static str| events.iter().filter(move |event| event["ph"] == phase);
    let most = of("C").filter_map(|event| event["args"]["bytes"].as_u64()).max().unwrap_or(0);
    let has_bodies = report["bodies"].as_array().is_some_and(|bodies| !bodies.is_empty());
    assert!(has_bodies || report["lower_bound_bytes"] == most, "{}: {most}", path.display());
    assert!(report["arena_bytes"].as_u64() >= Some(most), "{}", path.display());
    let length = |list: &Value| list.as_array().expect("a list").len();
    assert_eq!(of("X").count(), length(&report["steps"]) + length(&report["lives"]), "{}", path.display());
    // What stands on one track follows one another.
    let span = |event: &Value| {
        let [group, track, from, time] = ["pid", "tid", "ts", "dur"].map(|key| event[key].as_u64().expect("a number"));
        ((group, track), from, from + time)
    };
    let mut spans: Vec<_> = of("X").map(span).collect();
    spans.sort_unstable();
    for pair in spans.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1, "{}: {pair:?}", path.display());
    }
}

/// Every string of a value, but for keys and the words that have a fixed meaning.
fn rename(value: &mut Value, name: &str) {
    match value {
        Value::String(text) if !["temporary", "tied", "output", "workspace"].contains(&text.as_str()) => {
            *text = format!("{text}{name}");
        }
        Value::Array(list) => list.iter_mut().for_each(|it| rename(it, name)),
        Value::Object(fields) => fields.values_mut().for_each(|it| rename(it, name)),
        _ => {}
    }
}

#[test]
fn names_may_hold_anything() {
    for name in
        ["<script>alert('&')</script>", "\"/><!--", "]]>", "\u{0}\u{1}\u{b}\u{1b}\u{7f}\r\u{fffe}", "größe→𝛼", " "]
    {
        for program in ["inplace/not_twice.situ", "inplace/carried_state.situ", "inplace/shared_inputs.situ"] {
            let mut report: Value = serde_json::from_str(&example(program)).expect("JSON");
            rename(&mut report, name);
            let kept = kept(&report.to_string());
            let lives = report["lives"].as_array().expect("lives").len();
            assert_eq!(rectangles(&elements(&report::svg(&kept).expect("a drawing"))).len(), lives);
            let page = elements(&report::html(&kept).expect("a page"));
            assert!(page.iter().all(|element| element.name != "script"));
            let trace: Value = serde_json::from_str(&report::trace(&kept).expect("a trace")).expect("JSON");
            assert!(trace["traceEvents"][0]["args"]["name"].as_str().is_some_and(|told| told.ends_with(name)));
        }
    }
}

/// A report with so many lives, each of one value over some steps.
fn many(lives: u64) -> Value {
    let mut report: Value = serde_json::from_str(&example("inplace/not_twice.situ")).expect("JSON");
    let step = report["steps"][0].clone();
    report["steps"] = (0..lives).map(|_| step.clone()).collect();
    let life = |number: u64| {
        let (step, offset) = (number / 4, 64 * (number % 4));
        let value = format!("%v{number}");
        json!({
            "class": "temporary", "values": [value], "also": [], "bytes": 64, "offset": offset, "first_step": step,
            "last_step": step, "writes": [{ "value": value, "step": step, "offset": offset, "bytes": 64 }],
        })
    };
    report["lives"] = (0..lives).map(life).collect();
    report
}

/// The drawing of a very large program has a bounded size, and says what it leaves out.
#[test]
fn drawings_have_a_bounded_size() {
    let svg = report::svg(&kept(&many(60_000).to_string())).expect("a drawing");
    assert!(svg.len() < 3_000_000, "{}", svg.len());
    assert_eq!(rectangles(&elements(&svg)).len(), 4_000);
    assert!(svg.contains("56,000 of 60,000 pieces are too small for a name here"));
    let all = report::svg(&kept(&many(4_000).to_string())).expect("a drawing");
    assert_eq!(rectangles(&elements(&all)).len(), 4_000);
    assert!(!all.contains("too small"));
}

/// Whatever a file claims, it is told or drawn, and nothing panics.
#[test]
fn hostile_reports_are_told() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let in_field = format!("{{\"schema\":1,\"name\":{deep}}}");
    let unknown = format!("{{\"schema\":{deep}}}");
    for text in ["", "{", "null", "[]", "3", "\"\"", "{}", "{\"schema\":1}", "\u{0}", &deep, &in_field, &unknown] {
        let how = Kept::read(text).expect_err("no report");
        assert!(how.contains("expected the JSON of a report of schema 1") && how.len() < 500, "{how}");
    }
    for schema in [json!(0), json!(2), json!("1"), json!(1.5), json!("a very long word ".repeat(100))] {
        let how = Kept::read(&json!({ "schema": schema }).to_string()).expect_err("another schema");
        assert!(how.starts_with("found schema ") && how.len() < 200, "{how}");
    }
    let mut lacking: Value = serde_json::from_str(&example("inplace/not_twice.situ")).expect("JSON");
    lacking.as_object_mut().expect("an object").shift_remove("lives");
    assert_eq!(report::svg(&kept(&lacking.to_string())), Err(NoChart::Lacking));
    // Every field of two reports, one after the other, made into something else.
    let others =
        [json!(null), json!(-1), json!(0), json!(u64::MAX), json!(1.5), json!("x"), json!([]), json!({}), json!([[1]])];
    let mut drawn = 0;
    for program in ["inplace/not_twice.situ", "inplace/carried_state.situ"] {
        let report: Value = serde_json::from_str(&example(program)).expect("JSON");
        let original = kept(&report.to_string());
        for path in paths(&report, String::new()) {
            for other in &others {
                let mut spoiled = report.clone();
                *spoiled.pointer_mut(&path).expect("a field") = other.clone();
                let Ok(spoiled) = Kept::read(&spoiled.to_string()) else { continue };
                for (a, b) in [(&spoiled, &original), (&original, &spoiled), (&spoiled, &spoiled)] {
                    let difference = report::diff(a, b);
                    let (text, json) = (difference.text("a", "b"), difference.json("a", "b"));
                    assert!(text.contains("no difference") == (json["same"] == true), "{path} {other}");
                }
                if let Ok(page) = report::html(&spoiled) {
                    elements(&page);
                    elements(&report::svg(&spoiled).expect("what the page shows"));
                    report::trace(&spoiled).expect("what the page shows");
                    drawn += 1;
                }
            }
        }
    }
    assert!(drawn > 100, "{drawn}");
}

/// The places of a value and everything in it.
fn paths(value: &Value, at: String) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Array(list) => list.iter().enumerate().map(|(number, it)| (number.to_string(), it)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, it)| (key.replace('~', "~0").replace('/', "~1"), it)).collect()
        }
        _ => Vec::new(),
    };
    let inner = children.into_iter().flat_map(|(key, it)| paths(it, format!("{at}/{key}")));
    std::iter::once(at.clone()).chain(inner).collect()
}

/// From a model and from what was compiled of it come the same bytes.
#[test]
fn executables_keep_what_is_drawn() {
    let folder = Folder::new("formats");
    let (model, file) = ("ir-examples/inplace/carried_state.situ", folder.file("carried.situx"));
    assert_eq!(said(&["compile", model, "-o", &file]).0, 0);
    for (format, begins) in [("svg", "<svg "), ("html", "<!DOCTYPE html>"), ("trace", "{\"traceEvents\":[")] {
        let (code, text, error) = said(&["report", model, "--format", format]);
        assert!(code == 0 && text.starts_with(begins), "{format}: {error}");
        assert_eq!(said(&["report", &file, "--format", format]), (0, text, String::new()), "{format}");
    }
    assert_eq!(said(&["report", model, "--format", "pdf"]).0, 2);
    // An executable from before reports had lives, and one whose report is damaged.
    let spoil = |how: &dyn Fn(&mut Value)| {
        let mut compiled = Compiled::load(&file, false).expect("the file");
        let mut report: Value = serde_json::from_str(&compiled.executable.report).expect("JSON");
        how(&mut report);
        compiled.executable.report = report.to_string();
        let spoiled = folder.file("spoiled.situx");
        compiled.write(&spoiled).expect("a file");
        let (code, text, error) = said(&["report", &spoiled, "--format", "svg"]);
        assert!(text.is_empty());
        (code, error)
    };
    let (code, error) = spoil(&|report| drop(report.as_object_mut().expect("an object").shift_remove("lives")));
    assert!(code == 2 && error.contains("give the model instead"), "{code} {error}");
    let (code, error) = spoil(&|report| report["lives"][0]["offset"] = json!(u64::MAX));
    assert!(code == 1 && error.contains("contradicts itself"), "{code} {error}");
    let (code, error) = spoil(&|report| report["schema"] = json!(99));
    assert!(code == 1 && error.contains("found schema 99; expected"), "{code} {error}");
}

#[test]
fn differences_and_their_exit_codes() {
    let folder = Folder::new("diff");
    let model = "ir-examples/inplace/chain.situ";
    let report = |name: &str, flags: &[&str]| {
        let path = folder.file(name);
        let arguments: Vec<&str> = ["report", model, "--json"].into_iter().chain(flags.iter().copied()).collect();
        std::fs::write(&path, said(&arguments).1).expect("a file");
        path
    };
    let (with, without) = (report("with.json", &[]), report("without.json", &["--no-inplace"]));
    let file = folder.file("chain.situx");
    assert_eq!(said(&["compile", model, "-o", &file]).0, 0);
    // A model, an executable and a report of one program do not differ.
    for b in [model, &file, &with] {
        let (code, text, error) = said(&["diff", model, b, "--max-growth", "0"]);
        assert!(code == 0 && text.ends_with("\nno difference\n"), "{b}: {text}{error}");
        let (code, text, _) = said(&["diff", b, &with, "--json"]);
        let json: Value = serde_json::from_str(&text).expect("JSON");
        assert!(code == 0 && json["same"] == true && json["ties"]["gained"] == json!([]), "{b}: {text}");
    }
    let (code, text, error) = said(&["diff", &with, &without]);
    assert_eq!(code, 0, "{error}");
    for line in
        ["A  with.json", "B  without.json", "ties lost", "refusals gained", "withheld", "arena   ", "peak, temporary"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    let from_model = said(&["diff", &without, model, "--no-inplace"]).1;
    assert!(from_model.ends_with("\nno difference\n"), "{from_model}");
    let sizes = |path: &str| {
        let report: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON");
        report["arena_bytes"].as_u64().expect("a number")
    };
    let (before, now) = (sizes(&with), sizes(&without));
    let by = now - before;
    assert!(by > 0);
    let percent = |part: f64| format!("{}%", 100.0 * by as f64 / before as f64 * part);
    for (most, code) in [
        (by.to_string(), 0),
        ((by - 1).to_string(), 4),
        ("0".into(), 4),
        ("1GiB".into(), 0),
        (percent(1.0001), 0),
        (percent(0.9999), 4),
        ("0%".into(), 4),
        ("lots".into(), 2),
        ("-1".into(), 2),
        ("nan%".into(), 2),
    ] {
        let (found, text, error) = said(&["diff", &with, &without, &format!("--max-growth={most}")]);
        assert_eq!(found, code, "{most}: {error}");
        assert_eq!(text.is_empty(), code == 2, "the difference is shown either way");
        let told = format!("grew from {before} to {now} bytes, by {by} (");
        assert_eq!(error.contains(&told), code == 4, "{error}");
        assert_eq!(said(&["diff", &without, &with, &format!("--max-growth={most}")]).0, if code == 2 { 2 } else { 0 });
    }
    let (_, text, _) = said(&["diff", &with, &without, "--json", "--max-growth", "1%"]);
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["max_growth"], json!({ "allowed": "1 %", "exceeded": true }));
    assert_eq!(json["measures"]["arena_bytes"], json!({ "a": before, "b": now }));
    // What is no report.
    let write = |name: &str, text: &str| {
        let path = folder.file(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let (other, none) = (write("other.json", "{\"schema\": 7}"), write("none.json", "{\"schema"));
    for (a, b, code, message) in [
        (other.as_str(), model, 1, "other.json: found schema 7; expected the JSON of a report of schema 1"),
        (model, none.as_str(), 1, "none.json: no report: EOF"),
        (model, "no-such-file.json", 1, "no-such-file.json: "),
        (model, "no-such-file.situ", 1, "no-such-file.situ: "),
        (model, "ir-examples", 1, "ir-examples: "),
    ] {
        let (found, text, error) = said(&["diff", a, b]);
        assert!(found == code && text.is_empty() && error.contains(message), "{a} {b}: {found} {error}");
    }
    assert_eq!(said(&["diff", model]).0, 2);
    assert_eq!(said(&["diff", &with, &file, "--no-inplace"]).0, 2, "nothing is compiled");
}
