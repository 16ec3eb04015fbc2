//! The rewriter held to its claims: same results, expected kernels, the same bytes whatever the threads.

mod interpret;
mod models;

use super::{Math, RewriteOptions, RewriteReport, optimize};
use crate::functional::PureGraph;
use crate::ir::{Distribution, Graph};
use crate::ops::Op;
use crate::seeded;
use crate::source::{Bindings, parse};
use crate::types::DType;

pub fn graph(text: &str) -> Graph {
    let (graph, mistakes) = parse(text, &Bindings::new());
    let rendered: Vec<String> = mistakes.iter().map(|mistake| mistake.render("test", text)).collect();
    assert!(rendered.is_empty(), "{}", rendered.join("\n"));
    graph.expect("a graph without mistakes")
}

pub fn pure(text: &str) -> PureGraph {
    PureGraph::new(graph(text)).expect("nothing writes")
}

/// Inputs drawn for a graph: floats near one, small integers.
pub fn inputs(graph: &Graph) -> Vec<Vec<u8>> {
    let draw = |position: usize, dtype: DType, len: usize| {
        let distribution = if dtype.is_float() {
            Distribution::Normal { mean: 0.1, std: 1.0 }
        } else {
            Distribution::Uniform { low: 0.0, high: 2.0 }
        };
        seeded::draw(distribution, 90 + position as u64, dtype, len)
    };
    graph
        .inputs
        .iter()
        .enumerate()
        .map(|(position, input)| {
            let ty = graph.ty(input.value);
            draw(position, ty.dtype, ty.len())
        })
        .collect()
}

/// Largest difference over the largest magnitude expected.
pub fn distance(dtype: DType, expected: &[u8], found: &[u8]) -> f64 {
    let size = dtype.size();
    let element = |bytes: &[u8]| {
        let mut all = [0u8; 8];
        all[..size].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(all);
        if dtype.is_float() {
            situ_runtime::scalar::decode_float(dtype, bits)
        } else {
            situ_runtime::scalar::decode_int(dtype, bits) as f64
        }
    };
    let (mut difference, mut magnitude) = (0f64, 1e-30f64);
    assert_eq!(expected.len(), found.len(), "results have one length");
    for (a, b) in expected.chunks_exact(size).zip(found.chunks_exact(size)) {
        let (a, b) = (element(a), element(b));
        magnitude = magnitude.max(a.abs());
        difference =
            difference.max(if a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() });
    }
    difference / magnitude
}

/// Optimises with and without rewriting, holds the results against each other and gives what rewriting made.
pub fn compare(text: &str, math: Math, bound: f64) -> (PureGraph, RewriteReport) {
    let plain = RewriteOptions { rewrite: false, math, ..RewriteOptions::default() };
    let (expected, _) = optimize(pure(text), &plain).expect("plain rewriting");
    let (found, report) =
        optimize(pure(text), &RewriteOptions { math, ..RewriteOptions::default() }).expect("rewriting");
    let arguments = inputs(&expected);
    let expected_results = interpret::run(&expected, &arguments);
    let results = interpret::run(&found, &arguments);
    for ((dtype, a), (_, b)) in expected_results.iter().zip(&results) {
        let far = distance(*dtype, a, b);
        assert!(far <= bound, "{far} apart, {:?}\n{}", report.rules, outline(&found));
    }
    (found, report)
}

/// Kernels and ops of a rewritten graph, a line each, for assertions: `kernel matmul add gelu`.
pub fn outline(graph: &Graph) -> String {
    let mut text = String::new();
    for (_, inst) in graph.body_insts() {
        text.push_str(inst.op.name());
        for &region in &inst.regions {
            for &inner in &graph.block(region).insts {
                text.push(' ');
                text.push_str(graph.inst(inner).op.name());
            }
        }
        text.push('\n');
    }
    text
}

pub fn kernels(graph: &Graph) -> usize {
    graph.body_insts().filter(|(_, inst)| matches!(inst.op, Op::Kernel { .. })).count()
}

#[test]
fn a_bias_and_an_activation_join_their_matmul() {
    let text = "graph g {\n input %x: f32[4, 8]\n input %w: f32[8, 6]\n input %b: f32[6]\n \
        %m = matmul %x, %w\n %a = add %m, %b\n %r = relu %a\n return %r\n}";
    let (found, report) = compare(text, Math::Default, 1e-6);
    assert_eq!(outline(&found), "kernel matmul add relu\n");
    assert_eq!(report.rules.get("fuse"), Some(&2));
}
