//! Rewriting and placing in rounds: what merging costs in memory is found out, and a merge that costs is undone.

use situ::alias;
use situ::functional::{PureGraph, functionalize};
use situ::lower::{LowerOptions, lower};
use situ::place::{PlaceOptions, place};
use situ::plan::{PlanOptions, plan};
use situ::rematerialise::Arranged;
use situ::rewrite::{self, RewriteOptions};
use situ::rounds::{Round, settle};
use situ::source::{Bindings, parse};

/// Bytes that merging may cost.
const SLACK: u64 = 16 << 10;

fn functional(text: &str) -> PureGraph {
    let (graph, mistakes) = parse(text, &Bindings::new());
    let graph = graph.unwrap_or_else(|| panic!("{mistakes:?}\n{text}"));
    functionalize(&graph, &alias::analyze(&graph)).expect("a functional form").0
}

fn settled(program: &PureGraph, options: &RewriteOptions) -> Round {
    settle(program, options, &|rewritten| {
        let lowered = lower(rewritten, &LowerOptions { threads: 1, pack: true })?;
        let placed = place(lowered.main.clone(), &PlaceOptions::default())?;
        let planned = plan(placed, &PlanOptions { planned: true, threads: 1 })?;
        Ok((lowered, Arranged { planned, bodies: Vec::new() }))
    })
    .expect("a plan")
}

fn arena(program: &PureGraph, options: &RewriteOptions) -> u64 {
    settled(program, options).arranged.planned.arena_bytes
}

/// Two values of one input, one read at once, one at the end: in one kernel the second would live all the time.
fn early_and_late(width: usize) -> String {
    format!(
        "graph g {{\n input %x: f32[128, {width}]\n const %w: f32[{width}, {width}] = seeded(normal, std=0.1, seed=1)\n \
         %a = relu %x\n %b = tanh %x\n %m = matmul %a, %w\n %t = softmax %m {{axis=1}}\n \
         %n = matmul %t, %w\n %u = softmax %n {{axis=1}}\n %c = permute %b {{axes=[1, 0]}}\n %r = matmul %u, %c\n \
         return %r\n}}"
    )
}

/// Projections of one value with attention after them.
fn projections(rows: usize) -> String {
    let mut text = format!("graph g {{\n input %x: f32[1, {rows}, 64]\n");
    for (seed, name) in ["q", "k", "v"].into_iter().enumerate() {
        text.push_str(&format!(" const %w{name}: f32[64, 64] = seeded(normal, std=0.1, seed={seed})\n"));
        text.push_str(&format!(" const %c{name}: f32[64] = seeded(normal, std=0.1, seed={})\n", seed + 7));
    }
    for name in ["q", "k", "v"] {
        let axes = if name == "k" { "0, 2, 3, 1" } else { "0, 2, 1, 3" };
        text.push_str(&format!(
            " %m{name} = matmul %x, %w{name}\n %a{name} = add %m{name}, %c{name}\n \
             %r{name} = reshape %a{name} {{shape=[1, {rows}, 4, 16]}}\n %t{name} = permute %r{name} {{axes=[{axes}]}}\n"
        ));
    }
    text.push_str(
        " %s = matmul %tq, %tk\n %d = mul %s, 0.25\n %p = softmax %d {axis=3}\n %o = matmul %p, %tv\n return %o\n}",
    );
    text
}

#[test]
fn a_merge_that_costs_memory_is_undone() {
    let program = functional(&early_and_late(512));
    let (_, first) = rewrite::optimize(program.clone(), &RewriteOptions::default()).expect("rewriting");
    assert!(first.rules.contains_key("share-kernel"), "the rewriter merges: {:?}", first.rules);
    let round = settled(&program, &RewriteOptions::default());
    assert!(!round.report.rules.contains_key("share-kernel"), "{:?}", round.report.rules);
    // A small one is worth its bytes.
    let round = settled(&functional(&early_and_late(16)), &RewriteOptions::default());
    assert!(round.report.rules.contains_key("share-kernel"), "{:?}", round.report.rules);
}

#[test]
fn merging_costs_no_more_than_what_is_granted() {
    let mut merged = 0;
    for text in (0..9).map(|n| projections(1 << n)).chain((3..10).map(|n| early_and_late(1 << n))) {
        let program = functional(&text);
        let with = settled(&program, &RewriteOptions::default());
        let without = arena(&program, &RewriteOptions { merge: false, ..RewriteOptions::default() });
        let found = with.arranged.planned.arena_bytes;
        assert!(found <= without + SLACK, "{found} with merging, {without} without:\n{text}");
        merged += usize::from(with.report.rules.keys().any(|rule| rewrite::is_merge(rule)));
    }
    assert!(merged >= 5, "{merged} programs keep what was merged");
}
