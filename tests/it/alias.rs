//! The alias database against enumeration: what it says about two values of one storage is true of their elements.

use std::collections::BTreeSet;

use proptest::prelude::*;
use situ::alias::{AliasDb, Observer, Region, Relation, Why, Witness, analyze, relate, relate_within};
use situ::ir::{Graph, ValueId, print};
use situ::types::Layout;

use crate::functional::generated::runner;
use crate::support::programs::{Step, program};
use crate::text::graph_of;

/// Elements of a layout in row-major order of its indices.
pub fn elements(layout: &Layout) -> Vec<i64> {
    let mut elements = vec![layout.offset];
    for (&extent, &stride) in layout.shape.iter().zip(&layout.strides) {
        elements = elements.iter().flat_map(|&at| (0..extent as i64).map(move |i| at + i * stride)).collect();
    }
    elements
}

/// Bytes of a region, in the order of its indices.
pub fn bytes(region: &Region<'_>) -> Vec<i64> {
    let size = region.size as i64;
    elements(region.layout).into_iter().flat_map(|at| (0..size).map(move |byte| at * size + byte)).collect()
}

/// Whether `relation` holds between two regions of a storage whose row-major strides, in elements of the root, are `root`.
pub fn holds(relation: &Relation, a: &Region<'_>, b: &Region<'_>, root: &[i64]) -> bool {
    let (listed_a, listed_b) = (bytes(a), bytes(b));
    let (p, q): (BTreeSet<i64>, BTreeSet<i64>) =
        (listed_a.iter().copied().collect(), listed_b.iter().copied().collect());
    let shared = |byte: i64| p.contains(&byte) && q.contains(&byte);
    match relation {
        Relation::Identical => listed_a == listed_b && !p.is_empty(),
        Relation::Permuted => p == q && !p.is_empty(),
        Relation::Inside => p.is_subset(&q) && !p.is_empty(),
        Relation::Around => q.is_subset(&p) && !q.is_empty(),
        Relation::Partial(Witness::Element(at)) => a.size == b.size && shared(at * a.size as i64),
        Relation::Partial(Witness::Byte(at)) => shared(*at),
        Relation::Partial(Witness::Index(index)) => {
            let at: i64 = index.iter().zip(root).map(|(i, stride)| i * stride).sum();
            shared(at * a.size as i64) && !p.is_subset(&q) && !q.is_subset(&p)
        }
        Relation::Disjoint(_) => p.is_disjoint(&q),
        Relation::Unknown(_) => true,
    }
}

fn every_pair_is_right(graph: &Graph) -> Result<(), String> {
    let aliases = analyze(graph);
    let values: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    for &a in &values {
        for &b in &values {
            if aliases.storage(a) != aliases.storage(b) {
                continue;
            }
            let relation = aliases.relation(a, b);
            let (p, q) = (aliases.region(a), aliases.region(b));
            let root = &aliases.origin(aliases.storage(a)).layout.strides;
            let undecided = matches!(relation, Relation::Unknown(_));
            if undecided
                || !holds(&relation, &p, &q, root)
                || aliases.relation(b, a).is_disjoint() != relation.is_disjoint()
            {
                let names = (graph.display(a), graph.display(b));
                return Err(format!("{names:?}: {relation}\n{:?}\n{:?}\n{}", bytes(&p), bytes(&q), print(graph)));
            }
        }
    }
    Ok(())
}

#[test]
fn agrees_with_brute_force() {
    let steps = proptest::collection::vec(any::<Step>(), 0..24);
    let checked = runner(1500).run(&steps, |steps| every_pair_is_right(&program(&steps)).map_err(TestCaseError::fail));
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}

/// Layouts of any offset and strides, overlapping and empty ones included.
fn layout() -> impl Strategy<Value = Layout> {
    (0i64..20, proptest::collection::vec((0usize..5, -9i64..10), 0..4)).prop_map(|(offset, axes)| Layout {
        offset,
        shape: axes.iter().map(|axis| axis.0).collect(),
        strides: axes.iter().map(|axis| axis.1).collect(),
    })
}

#[test]
fn any_two_layouts_agree_with_brute_force() {
    let sizes = (0usize..3, 0usize..3);
    let checked = runner(20_000).run(&(layout(), layout(), sizes), |(a, b, (m, n))| {
        let region = |layout, size| Region { map: None, layout, size: 1usize << size, root: None };
        // Half of the pairs have elements of one size.
        let (p, q) = (region(&a, m), region(&b, if n == 0 { m } else { n }));
        let relation = relate(p, q, "%x");
        let decided = !matches!(relation, Relation::Unknown(_));
        prop_assert!(decided && holds(&relation, &p, &q, &[]), "{relation}\n{p:?}\n{q:?}");
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
}

/// A budget too small for the last rung costs a decision, never a true one.
#[test]
fn a_search_that_gives_up_decides_nothing() {
    let undecided = std::cell::Cell::new(0);
    let checked = runner(20_000).run(&(layout(), layout(), 0usize..4), |(a, b, budget)| {
        let region = |layout| Region { map: None, layout, size: 4, root: None };
        let (p, q) = (region(&a), region(&b));
        let relation = relate_within(p, q, "%x", budget);
        undecided.set(undecided.get() + usize::from(matches!(relation, Relation::Unknown(_))));
        prop_assert!(holds(&relation, &p, &q, &[]), "{relation}\n{p:?}\n{q:?}");
        Ok(())
    });
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    assert!(undecided.get() > 200, "{} undecided", undecided.get());
}

/// A reshape that regroups axes is no box, also where it has as many axes as before.
#[test]
fn reshapes_that_regroup_axes_agree_with_brute_force() {
    for (from, to) in [("2, 6", "3, 4"), ("4, 6", "6, 4"), ("2, 3, 4", "4, 3, 2"), ("2, 1, 6", "3, 4"), ("12", "2, 6")]
    {
        let mut text = format!("graph regrouped {{\n input %x: f32[{from}]\n %y = reshape %x {{shape=[{to}]}}\n");
        let mut names = vec!["%x".to_string(), "%y".to_string()];
        for (value, shape) in [("x", from), ("y", to)] {
            for (axis, extent) in shape.split(", ").enumerate() {
                for index in 0..extent.parse::<usize>().expect("an extent") {
                    let name = format!("%{value}{axis}_{index}");
                    text.push_str(&format!(" {name} = select %{value} {{axis={axis}, index={index}}}\n"));
                    names.push(name);
                }
            }
        }
        text.push_str(&format!(" return {}\n}}\n", names.join(", ")));
        every_pair_is_right(&graph_of(&text)).expect("every pair is right");
    }
}

fn named(graph: &Graph, name: &str) -> ValueId {
    let at = graph.values.iter().position(|value| value.name == name).expect("the value exists");
    ValueId(at as u32)
}

fn explain(aliases: &AliasDb<'_>, a: &str, b: &str) -> String {
    aliases.explain(named(aliases.graph(), a), named(aliases.graph(), b))
}

const SLICES: &str = "\
graph slices {
  inout %w: f32[8, 6]
  input %x: f32[4, 6]
  %top, %bottom = split %w {axis=0, sizes=[4, 4]}
  %even = slice %w {axis=0, step=2}
  %odd = slice %w {axis=0, start=1, step=2}
  %column = select %w {axis=1, index=2}
  %flat = view %w {shape=[48]}
  %tail = slice %flat {axis=0, start=24}
  %turned = t %w
  %a = add_ %top, %x
  %b = relu %bottom
  %c = relu %column
  %d = relu_ %even
  %y = view %x {shape=[24]}
  return %b, %c, %d, %y
}
";

#[test]
fn relations_say_why() {
    let graph = graph_of(SLICES);
    let aliases = analyze(&graph);
    let pairs = [
        ("top", "bottom"),
        ("even", "odd"),
        ("top", "even"),
        ("column", "top"),
        ("tail", "top"),
        ("tail", "bottom"),
        ("tail", "even"),
        ("w", "turned"),
        ("w", "x"),
        ("a", "top"),
        ("b", "w"),
    ];
    let told: Vec<String> = pairs.iter().map(|(a, b)| explain(&aliases, a, b)).collect();
    insta::assert_snapshot!(told.join("\n"));
}

/// Views whose elements are not those of their storage, and the graph of the alias sets.
const BYTES: &str = "\
graph bytes {
  inout %x: f32[4, 4]
  input %y: f32[4, 4]
  %half = view_dtype %x {to=i16}
  %upper = slice %half {axis=1, start=1, step=2}
  %lower = slice %half {axis=1, step=2}
  %first = select %x {axis=0, index=0}
  %wide = view_dtype %first {to=i64}
  %windows = unfold %x {axis=0, size=2, step=2}
  %diagonal = diagonal %x
  %corner = as_strided %first {shape=[2, 2], strides=[4, 1], offset=10}
  %flat = view %x {shape=[16]}
  %tail = slice %flat {axis=0, start=8}
  %u = neg_ %upper
  %v = view %y {shape=[16]}
  return %lower, %wide, %windows, %diagonal, %corner, %tail, %v
}
";

#[test]
fn relations_of_other_dtypes_and_strides_say_why() {
    let graph = graph_of(BYTES);
    let aliases = analyze(&graph);
    let pairs = [
        ("upper", "lower"),
        ("upper", "x"),
        ("wide", "first"),
        ("wide", "upper"),
        ("wide", "tail"),
        ("windows", "x"),
        ("diagonal", "corner"),
        ("diagonal", "wide"),
        ("corner", "tail"),
        ("corner", "first"),
    ];
    let told: Vec<String> = pairs.iter().map(|(a, b)| explain(&aliases, a, b)).collect();
    insta::assert_snapshot!(told.join("\n"));
    insta::assert_snapshot!("alias_sets_for_graphviz", aliases.dot());
}

#[test]
fn observers_of_a_write_are_those_that_may_see_it() {
    let graph = graph_of(SLICES);
    let aliases = analyze(&graph);
    let told = |write: &str| -> Vec<String> {
        let inst = graph.producer(named(&graph, write)).expect("a write is an instruction");
        aliases.observers_after(inst).into_iter().map(|observer| aliases.describe_observer(observer)).collect()
    };
    insta::assert_snapshot!(format!("%a\n{}\n\n%d\n{}", told("a").join("\n"), told("d").join("\n")));
    let writers = aliases.writers(named(&graph, "column"));
    assert_eq!(writers.len(), 2);
    assert!(matches!(aliases.observers_after(writers[0])[0], Observer::Read { .. }));
}

#[test]
fn unknown_means_overlap() {
    let graph = graph_of(SLICES);
    let aliases = analyze(&graph);
    let (w, x) = (named(&graph, "w"), named(&graph, "x"));
    assert!(matches!(aliases.relation(w, x), Relation::Unknown(Why::Inputs { .. })));
    assert!(aliases.may_alias(w, x) && !aliases.must_alias(w, x));
    let apart = situ::alias::analyze_with(&graph, situ::alias::External::Distinct);
    assert!(!apart.may_alias(w, x));
}
