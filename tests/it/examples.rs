//! The programs in `ir-examples`: each has its report beside it, and each gives the same results however it is compiled.

use std::path::{Path, PathBuf};

use situ::npz::Array;
use situ::pipeline::{Compilation, Options, compile};
use situ::source::{self, Bindings};
use situ_runtime::session::Session;

use crate::support::run;

/// Every program that is worth reading, in order.
pub fn programs() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join("ir-examples");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).expect("the examples") {
        let folder = entry.expect("an entry").path();
        if folder.is_dir() {
            for entry in std::fs::read_dir(folder).expect("a folder of examples") {
                let path = entry.expect("an entry").path();
                if path.extension().is_some_and(|extension| extension == "situ") {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// A program with its symbols bound as the examples want it.
pub fn graph(path: &Path) -> situ::ir::Graph {
    let text = std::fs::read_to_string(path).expect("a program is text");
    let (graph, mistakes) = source::parse(&text, &Bindings::new().bind("B", 8));
    let rendered: Vec<String> = mistakes.iter().map(|mistake| mistake.render("example", &text)).collect();
    graph.unwrap_or_else(|| panic!("{}:\n{}", path.display(), rendered.join("\n")))
}

fn compiled(path: &Path, options: &Options) -> Compilation {
    compile(&graph(path), options).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn reports() {
    for path in programs() {
        let report = compiled(&path, &Options::default()).report;
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(path.parent().expect("a folder"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_input_file(Path::new("ir-examples").join(path.file_name().expect("a file")));
        let stem = path.file_stem().expect("a stem").to_string_lossy().into_owned();
        settings.bind(|| insta::assert_snapshot!(stem, report));
    }
}

/// What a program's author expects of its report, as `// claim: …` lines: each is a part of one of its lines, whatever the
/// number of spaces. A snapshot can be accepted in a hurry; a claim is written by hand.
#[test]
fn claims_hold() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut claims = 0;
    let mut missing = Vec::new();
    for path in programs() {
        let text = std::fs::read_to_string(&path).expect("a program is text");
        let wanted: Vec<String> = text.lines().filter_map(|line| line.strip_prefix("// claim: ")).map(words).collect();
        if wanted.is_empty() {
            continue;
        }
        let report = compiled(&path, &Options::default()).report;
        let lines: Vec<String> = report.lines().map(words).collect();
        for claim in wanted {
            if !lines.iter().any(|line| line.contains(&claim)) {
                missing.push(format!("{}: no line of the report says: {claim}", path.display()));
            }
            claims += 1;
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(claims >= 20, "{claims}");
}

fn results(compilation: Compilation, inputs: &[Array], threads: usize) -> Vec<Array> {
    let options = situ_runtime::session::Options { threads: Some(threads), ..Default::default() };
    let mut session = Session::new(compilation.compiled, options).expect("a compiled program opens");
    run::once(&mut session, inputs)
}

/// Tied, untied and unplanned runs agree bit for bit, with one thread and with two; the unrewritten run within 1e-5.
#[test]
fn variants_agree() {
    for path in programs() {
        let graph = graph(&path);
        let base = Options { threads: 2, ..Options::default() };
        let inputs = run::random_inputs(&graph, 7);
        let reference = results(compiled(&path, &base), &inputs, 1);
        let name = path.display();
        for (label, options, threads) in [
            ("two threads", base.clone(), 2),
            ("no ties", Options { inplace: false, ..base.clone() }, 1),
            ("no plan", Options { planned: false, ..base.clone() }, 2),
        ] {
            let other = results(compiled(&path, &options), &inputs, threads);
            for (index, (a, b)) in reference.iter().zip(&other).enumerate() {
                assert!(a.bytes == b.bytes, "{name}: result {index} differs with {label}");
            }
        }
        let unrewritten = results(compiled(&path, &Options { rewrite: false, ..base }), &inputs, 1);
        for (index, (a, b)) in reference.iter().zip(&unrewritten).enumerate() {
            let error = run::relative_error(a, b);
            assert!(error <= 1e-5, "{name}: result {index} differs by {error:e} without rewriting");
        }
    }
}
