//! Every reason for a refusal, each by the smallest graph that shows it, as the report tells it.

use indexmap::IndexMap;
use situ::lower::KernelGraph;
use situ::place::{PlaceOptions, Reason};
use situ::report::{self, Aliasing, Decisions};
use situ::types::InputMode::{Donate, InOut, Read};

use super::graphs::{Builder, examine, planned, rows, transposed};

/// The report of a graph, checked on the way.
fn told(graph: &KernelGraph, options: &PlaceOptions) -> String {
    let with = planned(graph, options);
    examine(&with);
    let without = planned(graph, &PlaceOptions { inplace: false, ..options.clone() });
    examine(&without);
    let rules = IndexMap::new();
    let decisions = Decisions {
        rules: &rules,
        planned: &with,
        bodies: &[],
        arena_bytes_without_inplace: without.arena_bytes,
        saved_bytes: 0,
        notes: &[],
        aliasing: &Aliasing::default(),
    };
    let json = report::json(&decisions);
    assert_eq!(json["arena_bytes"], with.arena_bytes);
    report::text(&decisions)
}

fn cases() -> Vec<(&'static str, KernelGraph, PlaceOptions)> {
    let mut cases = Vec::new();
    let mut case = |reason, builder: Builder| cases.push((reason, builder.graph, PlaceOptions::default()));

    // %a would be overwritten by %b, but %c needs both.
    let mut b = Builder::new("read-later");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let r = b.on("b", &[a]);
    let s = b.cumulative("s", r);
    let c = b.on("c", &[a, s]);
    let c = b.cumulative("d", c);
    b.output(c);
    case("read-later", b);

    // Each of two steps overwrites what the other one reads: one of them must wait, not both.
    let mut b = Builder::new("anti-dependence-cycle");
    let x = b.input("x", &[64, 64], Read);
    let p = b.cumulative("p", x);
    let q = b.cumulative("q", x);
    let reads = vec![b.read(p), transposed(b.read(q))];
    let c = b.map("c", reads);
    let reads = vec![b.read(q), transposed(b.read(p))];
    let d = b.map("d", reads);
    let reads = vec![transposed(b.read(c)), transposed(b.read(d))];
    let e = b.map("e", reads);
    b.output(e);
    case("anti-dependence-cycle", b);

    let mut b = Builder::new("is-output");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let c = b.on("c", &[a]);
    b.output(a);
    b.output(c);
    case("is-output", b);

    let mut b = Builder::new("not-donated");
    let x = b.input("x", &[64, 64], Read);
    let a = b.on("a", &[x]);
    b.output(a);
    case("not-donated", b);

    let mut b = Builder::new("is-constant");
    let x = b.input("x", &[1, 64], Read);
    let w = b.weight("w", &[64, 64]);
    let mut wide = b.read(x);
    wide.layout.shape = vec![64, 64];
    wide.layout.strides = vec![0, 1];
    let reads = vec![wide, b.read(w)];
    let a = b.map("a", reads);
    b.output(a);
    case("is-constant", b);

    // The state ends as something computed late from its first content; nothing else may use its bytes before.
    let mut b = Builder::new("is-state");
    let p = b.input("p", &[64, 64], InOut);
    let a = b.on("a", &[p]);
    let c = b.cumulative("c", a);
    let reads = vec![transposed(b.read(p)), b.read(c)];
    let d = b.map("d", reads);
    b.output(c);
    b.finish(p, d);
    case("is-state", b);

    let mut b = Builder::new("layout-differs");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let reads = vec![transposed(b.read(a))];
    let c = b.map("c", reads);
    b.output(c);
    case("layout-differs", b);

    let mut b = Builder::new("size-differs");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let c = b.widened("c", a);
    b.output(c);
    case("size-differs", b);

    let mut b = Builder::new("kernel-forbids");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let c = b.cumulative("c", a);
    b.output(c);
    case("kernel-forbids", b);

    // The parts lie side by side, with gaps in each, which the kernel of the first cannot write.
    let mut b = Builder::new("cannot-write-region");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let c = b.on("c", &[x]);
    let d = b.concat("d", &[a, c], false);
    b.output(d);
    case("cannot-write-region", b);

    // Two steps could have the bytes of %a; only one can.
    let mut b = Builder::new("already-taken");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let c = b.on("c", &[a]);
    let d = b.on("d", &[a]);
    b.output(c);
    b.output(d);
    case("already-taken", b);

    // %a is a part of %d by then, and %d is read whole.
    let mut b = Builder::new("partial-overlap");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let c = b.on("c", &[a]);
    let d = b.concat("d", &[a, x], true);
    b.output(c);
    b.output(d);
    case("partial-overlap", b);

    // %c reads %a twice, once in another order.
    let mut b = Builder::new("other-operand-overlaps");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let reads = vec![b.read(a), transposed(b.read(a))];
    let c = b.map("c", reads);
    b.output(c);
    case("other-operand-overlaps", b);

    // The same value is returned twice; the caller gets two.
    let mut b = Builder::new("outputs-collide");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let c = b.buffer("c", &[64, 64]);
    let (from, to) = (b.read(a), b.read(c));
    b.copy(from, to, None);
    b.output(a);
    b.output(c);
    case("outputs-collide", b);

    // An input has its bytes already and cannot be a part of another value.
    let mut b = Builder::new("place-fixed");
    let x = b.input("x", &[64, 64], Donate);
    let y = b.input("y", &[64, 64], Read);
    let a = b.cumulative("a", y);
    let c = b.concat("c", &[x, a], true);
    b.output(c);
    case("place-fixed", b);

    // Writing the first part in place would keep the whole of %d alive while %t is computed.
    let mut b = Builder::new("raises-peak");
    let x = b.input("x", &[64, 64], Read);
    let y = b.input("y", &[256, 64], Read);
    let a = b.cumulative("a", x);
    let early = {
        let read = rows(b.read(a), 0, 1);
        b.map("early", vec![read])
    };
    let t = b.cumulative("t", y);
    let t2 = b.cumulative("t2", t);
    let mut wide = b.read(early);
    wide.layout.shape = vec![256, 64];
    wide.layout.strides = vec![0, 1];
    let reads = vec![b.read(t2), wide];
    let u = b.map("u", reads);
    let u2 = b.cumulative("u2", u);
    let late = {
        let read = rows(b.read(u2), 0, 192);
        b.map("late", vec![read])
    };
    let d = b.concat("d", &[a, late], true);
    b.output(d);
    case("raises-peak", b);

    let mut b = Builder::new("withheld");
    let x = b.input("x", &[64, 64], Read);
    let a = b.cumulative("a", x);
    let c = b.on("c", &[a]);
    b.output(c);
    let graph = b.graph;
    cases.push(("withheld", graph, PlaceOptions { tie_limit: Some(0), ..PlaceOptions::default() }));
    cases
}

#[test]
fn every_reason_is_shown() {
    let mut shown = Vec::new();
    for (reason, graph, options) in cases() {
        let text = told(&graph, &options);
        assert!(text.contains(reason), "{reason} is not in\n{text}");
        insta::assert_snapshot!(format!("refused_{reason}"), text);
        shown.push(reason);
    }
    assert_eq!(shown, Reason::NAMES);
}

#[test]
fn every_reason_is_explained() {
    let page = include_str!("../../../docs/report.md");
    for name in Reason::NAMES {
        assert!(page.contains(&format!("| `{name}` |")), "docs/report.md says nothing of {name}");
    }
}

#[test]
fn reports_are_the_same_twice() {
    for (_, graph, options) in cases() {
        assert_eq!(told(&graph, &options), told(&graph, &options));
    }
}
