//! Ties on whole models against an upper bound, and why the others were refused.
//!
//! `SITU_MODELS=DIR cargo test --release -p tests --test it memory::zoo -- --ignored --nocapture` prints the table of
//! `docs/ties.md` for every `.onnx` and `.situ` file of a folder; without the variable, for the models of `ir-examples`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use situ::ir::Graph;
use situ::lower::{BufferKind, KernelGraph, LowerOptions, is_copy, lower};
use situ::pipeline::{Options, compile};
use situ::types::InputMode;
use situ_runtime::contract::permission;

/// More than can be tied, in ties and bytes: every copy is gone, and results are matched with operands, each once, where
/// the pair alone would do. A pair would do when the kernel may permit it in some layout, the sizes agree, the caller does not
/// keep the operand, and no step that needs the result reads the operand.
fn bound(graph: &KernelGraph) -> (usize, u64) {
    let nodes = graph.nodes.len();
    let mut readers = vec![Vec::new(); graph.buffers.len()];
    let mut writers = vec![Vec::new(); graph.buffers.len()];
    for (number, node) in graph.nodes.iter().enumerate() {
        node.reads.iter().for_each(|read| readers[read.value as usize].push(number));
        for write in &node.writes {
            writers[write.access.value as usize].push(number);
            // An update needs what it updates.
            write.base.iter().for_each(|&base| readers[base as usize].push(number));
        }
    }
    let after = |node: usize| -> Vec<bool> {
        let mut after = vec![false; nodes];
        let mut stack = vec![node];
        while let Some(at) = stack.pop() {
            for write in &graph.nodes[at].writes {
                for &reader in &readers[write.access.value as usize] {
                    if !std::mem::replace(&mut after[reader], true) {
                        stack.push(reader);
                    }
                }
            }
        }
        after
    };
    let (mut ties, mut bytes) = (0, 0);
    let mut wanted: BTreeMap<u64, Vec<Vec<usize>>> = BTreeMap::new();
    for (number, node) in graph.nodes.iter().enumerate() {
        if is_copy(node) {
            let to = &node.writes[0].access;
            (ties, bytes) = (ties + 1, bytes + (to.layout.len() * to.dtype.size()) as u64);
            continue;
        }
        let after = after(number);
        for (w, write) in node.writes.iter().enumerate().filter(|(_, write)| write.base.is_none()) {
            let size = graph.buffer(write.access.value).bytes();
            let would_do = |read: usize| {
                let value = node.reads[read].value;
                let is_kept = match graph.buffer(value).kind {
                    BufferKind::Input(input) => graph.inputs[input as usize].mode == InputMode::Read,
                    BufferKind::Weight(_) => true,
                    _ => false,
                };
                !is_kept
                    && graph.buffer(value).bytes() == size
                    && permission(&node.kernel, node.reads.len(), read, w).is_some()
                    && !readers[value as usize].iter().any(|&reader| after[reader])
                    && !graph.outputs.iter().any(|output| output.access.value == value)
            };
            let operands: Vec<usize> = (0..node.reads.len())
                .filter(|&read| would_do(read))
                .map(|read| node.reads[read].value as usize)
                .collect();
            wanted.entry(size).or_default().push(operands);
        }
    }
    for (size, results) in wanted {
        let matched = matching(&results, graph.buffers.len());
        (ties, bytes) = (ties + matched, bytes + matched as u64 * size);
    }
    (ties, bytes)
}

/// The most results that can have an operand of their own (augmenting paths).
fn matching(results: &[Vec<usize>], operands: usize) -> usize {
    fn augment(results: &[Vec<usize>], result: usize, seen: &mut [bool], holder: &mut [Option<usize>]) -> bool {
        for &operand in &results[result] {
            if std::mem::replace(&mut seen[operand], true) {
                continue;
            }
            if holder[operand].is_none_or(|other| augment(results, other, seen, holder)) {
                holder[operand] = Some(result);
                return true;
            }
        }
        false
    }
    let mut holder = vec![None; operands];
    (0..results.len()).filter(|&result| augment(results, result, &mut vec![false; operands], &mut holder)).count()
}

fn models() -> Vec<PathBuf> {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join("ir-examples/models");
    let folder = std::env::var_os("SITU_MODELS").map_or_else(own, PathBuf::from);
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder of models").flatten().map(|e| e.path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "onnx" || extension == "situ"));
    found.sort();
    found
}

fn graph(path: &Path) -> Graph {
    if path.extension().is_some_and(|extension| extension == "situ") {
        return crate::examples::graph(path);
    }
    situ::source::onnx::import(path, &situ::source::onnx::ImportOptions::default())
        .unwrap_or_else(|mistakes| panic!("{}: {mistakes:?}", path.display()))
}

fn table(paths: &[PathBuf]) -> String {
    let mut text = String::from(
        "| model | steps | ties | of at most | bytes | of at most | arena | not in place |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut reasons: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for path in paths {
        let compilation =
            compile(&graph(path), &Options::default()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lowered =
            lower(&compilation.rewritten, &LowerOptions { threads: 1, pack: true }).expect("it was lowered before");
        let (most, most_bytes) = bound(&lowered.main);
        let placed = &compilation.decided.planned.placed;
        let bytes: u64 = placed.ties.iter().map(|tie| tie.bytes).sum();
        assert!(placed.ties.len() <= most && bytes <= most_bytes, "{}: the bound is none", path.display());
        for refused in &placed.refusals {
            let entry = reasons.entry(refused.reason.name()).or_default();
            *entry = (entry.0 + 1, entry.1 + refused.bytes);
        }
        text.push_str(&format!(
            "| {} | {} | {} | {most} | {bytes} | {most_bytes} ({:.1} %) | {} | {} |\n",
            path.file_stem().expect("a name").to_string_lossy(),
            placed.order.len(),
            placed.ties.len(),
            if most_bytes == 0 { 100.0 } else { 100.0 * bytes as f64 / most_bytes as f64 },
            compilation.decided.planned.arena_bytes,
            compilation.decided.savings.without_inplace,
        ));
    }
    text.push_str("\n| reason | refusals | bytes |\n|---|--:|--:|\n");
    for (reason, (count, bytes)) in reasons {
        text.push_str(&format!("| `{reason}` | {count} | {bytes} |\n"));
    }
    text
}

/// The models of the repository have nearly all the ties there can be.
#[test]
fn models_are_near_the_bound() {
    let own =
        crate::examples::programs().into_iter().filter(|path| path.parent().is_some_and(|p| p.ends_with("models")));
    let text = table(&own.collect::<Vec<_>>());
    let mut lines = 0;
    for line in text.lines().filter(|line| line.contains(" %)")) {
        let share =
            line.split('(').nth(1).and_then(|rest| rest.split(' ').next()).and_then(|share| share.parse::<f64>().ok());
        assert!(share.is_some_and(|share| share >= 90.0), "{line}");
        lines += 1;
    }
    assert!(lines >= 3);
}

#[test]
#[ignore = "a measurement: it compiles every model of a folder"]
fn ties_of_models() {
    println!("{}", table(&models()));
}
