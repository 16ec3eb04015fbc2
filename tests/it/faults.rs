//! The table of planted faults fits the code, and the page that `tests/faults/run.py` wrote of it has every fault, noticed by
//! somebody. Planting them takes a build and some minutes, and is not done here.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    fault: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    name: String,
    what: String,
    file: String,
    find: String,
    replace: String,
    tests: Vec<String>,
    by: String,
}

#[test]
fn the_table_fits_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|why| panic!("{path}: {why}"));
    let table: Table = toml::from_str(&read("tests/faults/faults.toml")).expect("a table of faults");
    let page = read("docs/faults.md");
    let mut names = BTreeSet::new();
    for Fault { name, what, file, find, replace, tests, by } in &table.fault {
        assert!(names.insert(name), "two faults are called {name}");
        assert_eq!(read(file).matches(find.as_str()).count(), 1, "{name}: {file} holds what is to be replaced once");
        assert!(replace.contains("FAULT") && !tests.is_empty(), "{name} has no switch, or no test");
        let row = format!("| {name} | {what} | `{file}` | {by} | `");
        assert!(page.contains(&row), "docs/faults.md does not say who notices {name}; run tests/faults/run.py");
    }
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains(" | `")).count();
    assert_eq!(rows, table.fault.len(), "docs/faults.md has rows for faults that are not in the table");
    assert!(table.fault.len() >= 40 && !page.contains("**nobody**"));
}
