//! The rewriter held to its claims: same results, expected kernels, the same bytes whatever the threads.

mod extraction;
mod laws;
mod models;
mod siblings;

use super::{Math, RewriteOptions, RewriteReport, optimize};
use crate::eval::{Tensor, evaluate};
use crate::functional::PureGraph;
use crate::ir::{Distribution, Graph};
use crate::seeded;
use crate::source::{Bindings, parse};
use crate::types::TensorType;

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
pub fn inputs(graph: &Graph) -> Vec<Tensor> {
    let draw = |position: usize, ty: &TensorType| {
        let distribution = if ty.dtype.is_float() {
            Distribution::Normal { mean: 0.1, std: 1.0 }
        } else {
            Distribution::Uniform { low: 0.0, high: 2.0 }
        };
        Tensor::new(ty.clone(), seeded::draw(distribution, 90 + position as u64, ty.dtype, ty.len()))
    };
    graph.inputs.iter().enumerate().map(|(position, input)| draw(position, graph.ty(input.value))).collect()
}

/// Largest difference over the largest magnitude expected.
pub fn distance(expected: &Tensor, found: &Tensor) -> f64 {
    assert_eq!(expected.ty, found.ty, "results have one type");
    let (mut difference, mut magnitude) = (0f64, 1e-30f64);
    for (a, b) in expected.floats().into_iter().zip(found.floats()) {
        magnitude = magnitude.max(if a.is_finite() { a.abs() } else { 0.0 });
        let same = a == b || a.is_nan() && b.is_nan();
        difference = difference.max(if same { 0.0 } else { (a - b).abs() });
    }
    difference / magnitude
}

/// Optimises with and without rewriting, holds the results against each other and gives what rewriting made.
pub fn compare(text: &str, math: Math, bound: f64) -> (PureGraph, RewriteReport) {
    let plain = RewriteOptions { rewrite: false, math, ..RewriteOptions::default() };
    let source = pure(text);
    let arguments = inputs(&source);
    let expected = evaluate(&source, &arguments).expect("the source evaluates");
    let (unrewritten, _) = optimize(source, &plain).expect("plain rewriting");
    let (found, report) =
        optimize(pure(text), &RewriteOptions { math, ..RewriteOptions::default() }).expect("rewriting");
    for graph in [&unrewritten, &found] {
        let mistakes = crate::ir::verify(graph);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let results = evaluate(graph, &arguments).expect("the result evaluates");
        for (expected, found) in expected.iter().zip(&results) {
            let far = distance(expected, found);
            assert!(far <= bound, "{far} apart, {:?}\n{}", report.rules, outline(graph));
        }
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

#[test]
fn a_bias_and_an_activation_join_their_matmul() {
    let text = "graph g {\n input %x: f32[4, 8]\n input %w: f32[8, 6]\n input %b: f32[6]\n \
        %m = matmul %x, %w\n %a = add %m, %b\n %r = relu %a\n return %r\n}";
    let (found, report) = compare(text, Math::Default, 1e-6);
    assert_eq!(outline(&found), "kernel matmul add relu\n");
    assert_eq!(report.rules.get("fuse"), Some(&2));
}

#[test]
fn a_weight_only_part_is_computed_when_compiling() {
    let text = "graph g {\n input %x: f32[2, 4, 6, 6]\n const %w: f32[8, 4, 3, 3] = seeded(normal, std=0.3, seed=1)\n \
        const %b: f32[8] = seeded(normal, std=0.3, seed=2)\n const %s: f32[8] = seeded(uniform, low=0.5, high=1.5, seed=3)\n \
        const %h: f32[8] = seeded(normal, std=0.3, seed=4)\n const %m: f32[8] = seeded(normal, std=0.3, seed=5)\n \
        const %v: f32[8] = seeded(uniform, low=0.5, high=1.5, seed=6)\n \
        %c = conv %x, %w, %b {strides=[1, 1], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1], groups=1}\n \
        %n = batch_norm %c, %s, %h, %m, %v {eps=1e-5}\n %r = relu %n\n return %r\n}";
    let (found, report) = compare(text, Math::Default, 1e-5);
    assert!(outline(&found).ends_with("kernel conv add relu\n"), "{}", outline(&found));
    assert_eq!(report.kernels_after, 1, "{report:?}");
}

#[test]
fn strict_mathematics_keeps_every_bit() {
    let text = models::block(1);
    compare(&text, Math::Strict, 0.0);
}

#[test]
fn the_same_graph_whatever_the_threads() {
    let text = models::block(3);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let (graph, report) = optimize(pure(&text), &RewriteOptions::default()).expect("rewriting");
            (crate::ir::print(&graph), report)
        })
    };
    let first = run(1);
    for threads in [2, 3, 5] {
        assert_eq!(run(threads), first);
    }
}

#[test]
fn layers_are_optimised_once() {
    let report = |layers| optimize(pure(&models::block(layers)), &RewriteOptions::default()).expect("rewriting").1;
    let (few, many) = (report(3), report(9));
    assert_eq!(few.unique_regions, many.unique_regions);
    assert_eq!(few.nodes, many.nodes);
    assert!(few.nodes < 20 * few.source_ops, "{few:?}");
    assert_eq!(few.overflows + many.overflows, 0);
    assert_eq!(many.kernels_after, 3 * few.kernels_after);
}

#[test]
fn over_the_cap_a_region_stays_as_it_was() {
    let options = RewriteOptions { node_cap: 1, ..RewriteOptions::default() };
    let source = pure(&models::block(1));
    let arguments = inputs(&source);
    let expected = evaluate(&source, &arguments).expect("the source evaluates");
    let (found, report) = optimize(source, &options).expect("rewriting");
    assert!(report.overflows > 0);
    let (_, free) = optimize(pure(&models::block(1)), &RewriteOptions::default()).expect("rewriting");
    assert!(report.kernels_after > free.kernels_after, "{report:?}");
    let results = evaluate(&found, &arguments).expect("the result evaluates");
    assert!(distance(&expected[0], &results[0]) < 1e-5);
}

#[test]
fn kernels_ask_for_operands_that_nobody_reads_later() {
    let text = "graph g {\n input %x: f32[4, 8]\n input %w: f32[8, 8]\n %a = matmul %x, %w\n %b = matmul %a, %w\n \
        %c = add %a, %b\n return %c\n}";
    let (found, report) = compare(text, Math::Default, 1e-6);
    assert_eq!(outline(&found), "kernel matmul\nkernel matmul add\n");
    assert_eq!(report.requests, 0, "the sum reads a matmul operand elsewhere than where it writes");
    let text = "graph g {\n input %x: f32[4, 8]\n input %w: f32[8, 8]\n %a = matmul %x, %w\n %d = softmax %a {axis=1}\n \
        %b = matmul %x, %w\n %s = softmax %d {axis=1}\n return %s\n}";
    let (found, _) = compare(text, Math::Default, 1e-6);
    let tied = found.body_insts().filter(|(_, inst)| inst.tie.is_some()).count();
    assert_eq!(tied, 2, "{}", outline(&found));
}

/// A rule can make an input equal to an op on itself; the program reads the input.
#[test]
fn values_that_are_ops_on_themselves_are_read() {
    for lines in [
        "%a = mul %x, 1.0\n %s = sigmoid %a\n %r = mul %x, %s",
        "%a = neg %x\n %b = neg %a\n %c = add %b, 0.0\n %r = exp %c",
        "%a = sub %x, 0.0\n %c = lt %x, 1.5\n %d = add %x, 0.0\n %e = where %c, %a, %d\n %r = mul %e, %a",
        "%a = permute %x {axes=[1, 0]}\n %b = permute %a {axes=[1, 0]}\n %c = reshape %b {shape=[128]}\n \
         %d = reshape %c {shape=[8, 16]}\n %r = tanh %d",
    ] {
        let text = format!("graph g {{\n input %x: f32[8, 16]\n {lines}\n return %r\n}}");
        let (found, report) = compare(&text, Math::Default, 1e-5);
        assert_eq!((report.kernels_after, report.overflows), (1, 0), "{}", outline(&found));
    }
}

/// A long program without a narrow place, every op with several views of its operands: bounded in size and work.
#[test]
fn a_wide_graph_is_cut_into_bounded_regions() {
    let mut text = String::from("graph g {\n input %a0: f32[4, 6]\n input %b0: f32[6, 4]\n input %c0: f32[24]\n");
    for i in 0..400 {
        let j = i + 1;
        text.push_str(&format!(
            " %s{i} = permute %b{i} {{axes=[1, 0]}}\n %t{i} = reshape %c{i} {{shape=[4, 6]}}\n %u{i} = add %s{i}, %t{i}\n \
             %a{j} = sub %u{i}, %a{i}\n %v{i} = tanh %u{i}\n %b{j} = permute %v{i} {{axes=[1, 0]}}\n \
             %w{i} = mul %v{i}, 0.5\n %c{j} = reshape %w{i} {{shape=[24]}}\n"
        ));
    }
    text.push_str(" return %a400, %b400, %c400\n}");
    let (found, report) = compare(&text, Math::Default, 1e-5);
    assert!(report.regions >= 20, "{report:?}");
    assert!(report.kernels_after < report.kernels_before / 2, "{report:?}");
    assert!(found.body().insts.len() < 3200);
}
