//! Regions of a storage under random chains of every view op: what the alias database says against enumeration of bytes, and how
//! much of what is true it can prove. `SITU_REGION_PAIRS` sets the number of pairs; nightly runs take half a million.

use proptest::strategy::{Strategy, ValueTree};
use situ::alias::{Region, Relation, analyze, relate};
use situ::ir::{Graph, ValueId, print};
use situ::types::{DType, Layout};
use situ_runtime::session::{Argument, Session};

use proptest::prelude::any;

use crate::alias::{bytes, holds};
use crate::functional::generated::runner;
use crate::support::programs::{Step, views};
use crate::text::graph_of;

fn wanted(few: usize) -> usize {
    std::env::var("SITU_REGION_PAIRS").ok().and_then(|count| count.parse().ok()).unwrap_or(few)
}

/// Truly disjoint pairs, and how many of them each method proves disjoint.
#[derive(Default)]
struct Precision {
    pairs: usize,
    disjoint: usize,
    bounds: usize,
    gcd: usize,
    proved: usize,
}

impl Precision {
    fn count(&mut self, a: &Region<'_>, b: &Region<'_>, relation: &Relation, disjoint: bool) {
        self.pairs += 1;
        // What is empty meets nothing, and no method needs to be told.
        if !disjoint || a.layout.is_empty() || b.layout.is_empty() {
            return;
        }
        self.disjoint += 1;
        self.proved += usize::from(relation.is_disjoint());
        let bounds = is_apart_by_bounds(a, b);
        self.bounds += usize::from(bounds);
        self.gcd += usize::from(bounds || is_apart_by_gcd(a, b));
    }

    fn told(&self, what: &str) -> String {
        let share = |count: usize| 100.0 * count as f64 / self.disjoint.max(1) as f64;
        format!(
            "{what}: {} pairs, {} disjoint; proved by bounds {:.1} %, with the divisor {:.1} %, by the ladder {:.3} %",
            self.pairs,
            self.disjoint,
            share(self.bounds),
            share(self.gcd),
            share(self.proved)
        )
    }
}

/// Bounds of the bytes, the method of most compilers.
fn is_apart_by_bounds(a: &Region<'_>, b: &Region<'_>) -> bool {
    let hull = |region: &Region<'_>| {
        region.layout.hull().map(|(low, high)| (low * region.size as i64, high * region.size as i64))
    };
    match (hull(a), hull(b)) {
        (Some(a), Some(b)) => a.1 <= b.0 || b.1 <= a.0,
        _ => true,
    }
}

/// Elements of one size whose strides have a divisor that their distance has not.
fn is_apart_by_gcd(a: &Region<'_>, b: &Region<'_>) -> bool {
    let strides = |region: &Region<'_>| {
        let axes = region.layout.shape.iter().zip(&region.layout.strides);
        axes.filter(|axis| *axis.0 > 1).map(|axis| axis.1.abs()).collect::<Vec<i64>>()
    };
    fn gcd(a: i64, b: i64) -> i64 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    let divisor = strides(a).into_iter().chain(strides(b)).fold(0, gcd);
    a.size == b.size && divisor > 1 && (a.layout.offset - b.layout.offset) % divisor != 0
}

fn values(graph: &Graph) -> Vec<ValueId> {
    (0..graph.values.len() as u32).map(ValueId).collect()
}

/// Whether two regions share a byte, from the list of one and a mark for each byte of the other.
fn meet(a: &[i64], b: &[i64]) -> bool {
    let mut marks = [false; 4096];
    a.iter().for_each(|&byte| marks[byte as usize] = true);
    b.iter().any(|&byte| marks[byte as usize])
}

#[test]
fn chains_of_views_agree_with_brute_force() {
    let steps = proptest::collection::vec(any::<Step>(), 1..28);
    let mut runner = runner(1);
    let (mut boxes, mut others) = (Precision::default(), Precision::default());
    let wanted = wanted(40_000);
    let dtypes = [DType::F32, DType::U8, DType::I64, DType::I16];
    let (mut at, mut names) = (0, std::collections::BTreeMap::<&str, usize>::new());
    while boxes.pairs + others.pairs < wanted {
        let steps = steps.new_tree(&mut runner).expect("a list of numbers").current();
        let graph = views(dtypes[at % 4], &steps);
        at += 1;
        graph.body_insts().for_each(|(_, inst)| *names.entry(inst.op.name()).or_default() += 1);
        let aliases = analyze(&graph);
        for a in values(&graph) {
            for b in values(&graph) {
                if aliases.storage(a) != aliases.storage(b) {
                    continue;
                }
                let (p, q) = (aliases.region(a), aliases.region(b));
                let relation = aliases.relation(a, b);
                let root = &aliases.origin(aliases.storage(a)).layout.strides;
                assert!(
                    holds(&relation, &p, &q, root),
                    "{} {}: {relation}\n{p:?}\n{q:?}\n{}",
                    graph.display(a),
                    graph.display(b),
                    print(&graph)
                );
                let disjoint = !meet(&bytes(&p), &bytes(&q));
                let class = if p.map.is_some() && q.map.is_some() { &mut boxes } else { &mut others };
                class.count(&p, &q, &relation, disjoint);
            }
        }
    }
    println!("{}", boxes.told("slices, permutations and expansions"));
    println!("{}", others.told("chains with reshapes, strides, windows, diagonals or dtypes"));
    println!("ops: {names:?}");
    // Every view op takes part, and nothing that is disjoint is missed where boxes or the search decide.
    for op in ["unfold", "as_strided", "strided", "diagonal", "view_dtype", "bitcast", "reshape", "slice", "expand"] {
        assert!(names.get(op).is_some_and(|&count| count > 20), "{op}: {names:?}");
    }
    assert!(boxes.disjoint > 250 && others.disjoint > 2_500, "{} {}", boxes.disjoint, others.disjoint);
    assert_eq!(boxes.proved, boxes.disjoint);
    assert_eq!(others.proved, others.disjoint);
}

/// Two random slices of one row-major tensor, the distribution by which methods are compared in `docs/aliasing.md`.
#[test]
fn slices_are_told_apart() {
    let axis = (2usize..9, 0usize..8, 1usize..9, 1usize..4, 0usize..8, 1usize..9, 1usize..4);
    let axes = proptest::collection::vec(axis, 1..4);
    let mut runner = runner(1);
    let mut precision = Precision::default();
    while precision.pairs < wanted(40_000) {
        let axes = axes.new_tree(&mut runner).expect("a list of numbers").current();
        let shape: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
        let dense = Layout::dense(&shape);
        let slice = |pick: &dyn Fn(usize) -> (usize, usize, usize)| {
            let mut layout = dense.clone();
            for (axis, &extent) in shape.iter().enumerate() {
                let (start, len, step) = pick(axis);
                let start = start % extent;
                layout.offset += start as i64 * dense.strides[axis];
                layout.shape[axis] = len.min((extent - start).div_ceil(step));
                layout.strides[axis] *= step as i64;
            }
            layout
        };
        let a = slice(&|axis| (axes[axis].1, axes[axis].2, axes[axis].3));
        let b = slice(&|axis| (axes[axis].4, axes[axis].5, axes[axis].6));
        let (p, q) = (
            Region { map: None, layout: &a, size: 4, root: None },
            Region { map: None, layout: &b, size: 4, root: None },
        );
        let relation = relate(p, q, "%x");
        assert!(holds(&relation, &p, &q, &[]), "{relation} {p:?} {q:?}");
        precision.count(&p, &q, &relation, !meet(&bytes(&p), &bytes(&q)));
    }
    println!("{}", precision.told("random slices by strides alone"));
    assert!(precision.disjoint > 5_000);
    assert_eq!(precision.proved, precision.disjoint);
}

/// Writes through views in which two indices are one element, or which leave their storage, are told.
#[test]
fn views_that_cannot_be_written_or_taken_are_told() {
    let told = |body: &str| {
        let text = format!("graph case {{\n  inout %x: f32[4]\n  inout %b: bool[4]\n  {body}\n  return %x\n}}\n");
        let (_, mistakes) = situ::source::parse(&text, &situ::source::Bindings::new());
        mistakes.iter().map(|mistake| mistake.render("case.situ", &text)).collect::<Vec<_>>().join("\n")
    };
    let cases = [
        "%w = unfold %x {size=2, step=1}\n  relu_ %w",
        "%w = as_strided %x {shape=[2, 2], strides=[1, 1]}\n  neg_ %w",
        "%w = as_strided %x {shape=[3], strides=[2]}",
        "%s = slice %x {axis=0, step=2}\n  %w = view_dtype %s {to=i16}",
        "%s = slice %x {axis=0, start=1, end=3}\n  %w = view_dtype %s {to=f64}",
        "%w = view_dtype %x {to=bool}",
        "%w = view_dtype %b {to=u8}\n  add_ %w, 1",
        "%w = unfold %x {size=5}",
        "%w = diagonal %x",
    ];
    insta::assert_snapshot!(cases.map(told).join("\n"));
    let fine = "graph fine {\n  inout %x: f32[8]\n  %w = as_strided %x {shape=[2, 3], strides=[3, 2]}\n  neg_ %w\n  return %x\n}\n";
    graph_of(fine);
}

/// A program that sees an input as a wider dtype says so when the input lies where no such element can.
#[test]
fn an_input_seen_as_a_wider_dtype_is_aligned_for_it() {
    let graph =
        graph_of("graph wide {\n  input %x: f32[4]\n  %w = view_dtype %x {to=i64}\n  %y = not %w\n  return %y\n}\n");
    let compilation = situ::pipeline::compile(&graph, &Default::default()).expect("it compiles");
    let mut session = Session::new(compilation.compiled, Default::default()).expect("it opens");
    let data = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let odd = usize::from((data.as_ptr() as usize).is_multiple_of(8));
    let mut arguments = [Argument::read(&data[odd..odd + 4])];
    let refused = session.run(&mut arguments).err().expect("four bytes beside an i64");
    assert_eq!(refused.to_string(), "input x is not aligned for i64");
    let even = 1 - odd;
    let mut arguments = [Argument::read(&data[even..even + 4])];
    let outputs = session.run(&mut arguments).expect("an i64 may lie there");
    let word = |at: usize| !(u64::from(data[at].to_bits()) | u64::from(data[at + 1].to_bits()) << 32) as i64;
    assert_eq!(outputs.slice::<i64>(0).expect("an output"), [word(even), word(even + 2)]);
}
