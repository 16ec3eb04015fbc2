//! Every reason for a refusal, each by the smallest graph that shows it, as the report tells it.

use situ::lower::KernelGraph;
use situ::place::{Condition, PlaceOptions, Reason};
use situ::report::{self, Aliasing, Decisions};
use situ::rewrite::RewriteReport;
use situ::savings::Savings;
use situ::types::InputMode::{Donate, InOut, Read};

use super::graphs::{Builder, examine, planned, rows, transposed};

/// The report of a graph, checked on the way, and the reasons in it.
fn told(graph: &KernelGraph, options: &PlaceOptions) -> (String, Vec<&'static str>) {
    let with = planned(graph, options);
    examine(&with);
    let without = planned(graph, &PlaceOptions { inplace: false, ..options.clone() });
    examine(&without);
    let rewrites = RewriteReport::default();
    let decisions = Decisions {
        rewrites: &rewrites,
        planned: &with,
        bodies: &[],
        savings: &Savings { without_inplace: without.arena_bytes, ..Savings::default() },
        saved_bytes: 0,
        notes: &[],
        aliasing: &Aliasing::default(),
    };
    let json = report::json(&decisions);
    assert_eq!(json["arena_bytes"], with.arena_bytes);
    for refused in &with.placed.refusals {
        let said = report::placement(&decisions, &refused.value).expect("a refused value has a buffer");
        assert!(said.contains("To unblock it: ") && said.contains(refused.reason.name()), "{said}");
    }
    (report::text(&decisions), with.placed.refusals.iter().map(|refused| refused.reason.name()).collect())
}

fn cases() -> Vec<(&'static str, KernelGraph, PlaceOptions)> {
    let mut cases = Vec::new();
    let mut case = |reason, builder: Builder| cases.push((reason, builder.graph, PlaceOptions::default()));

    // %a would be overwritten by %b, but %c needs both.
    let mut b = Builder::new("read-later");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
    let r = b.on("b", &[a]);
    let s = b.resized("s", r);
    let c = b.on("c", &[a, s]);
    let c = b.resized("d", c);
    b.output(c);
    case("read-later", b);

    // Each of two steps overwrites what the other one reads: one of them must wait, not both.
    let mut b = Builder::new("anti-dependence-cycle");
    let x = b.input("x", &[64, 64], Read);
    let p = b.resized("p", x);
    let q = b.resized("q", x);
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
    let a = b.resized("a", x);
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

    // %a becomes the new state where the old one was; %c needs it afterwards and may not overwrite it.
    let mut b = Builder::new("state");
    let p = b.input("p", &[64, 64], InOut);
    let a = b.on("a", &[p]);
    let c = b.on("c", &[a]);
    b.output(c);
    b.finish(p, a);
    case("is-state", b);

    let mut b = Builder::new("layout-differs");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
    let reads = vec![transposed(b.read(a))];
    let c = b.map("c", reads);
    b.output(c);
    case("layout-differs", b);

    let mut b = Builder::new("size-differs");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
    let c = b.widened("c", a);
    b.output(c);
    case("size-differs", b);

    let mut b = Builder::new("kernel-forbids");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
    let c = b.resized("c", a);
    b.output(c);
    case("kernel-forbids", b);

    // The part is stored across, element by element far apart, and a resize writes rows.
    let mut b = Builder::new("cannot-write-region");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
    let d = b.buffer("d", &[128, 64]);
    let (from, to) = (transposed(b.read(a)), rows(b.read(d), 0, 64));
    b.copy(from, to, None);
    let (from, to) = (b.read(x), rows(b.read(d), 64, 64));
    b.copy(from, to, None);
    b.output(d);
    case("cannot-write-region", b);

    // Two steps could have the bytes of %a; only one can.
    let mut b = Builder::new("already-taken");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
    let c = b.on("c", &[a]);
    let d = b.on("d", &[a]);
    b.output(c);
    b.output(d);
    case("already-taken", b);

    // %a is a part of %d by then, and %d is read whole.
    let mut b = Builder::new("partial-overlap");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
    let c = b.on("c", &[a]);
    let d = b.concat("d", &[a, x], true);
    b.output(c);
    b.output(d);
    case("partial-overlap", b);

    // %c reads %a twice, once in another order.
    let mut b = Builder::new("other-operand-overlaps");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
    let reads = vec![b.read(a), transposed(b.read(a))];
    let c = b.map("c", reads);
    b.output(c);
    case("other-operand-overlaps", b);

    // The same value is returned twice; the caller gets two.
    let mut b = Builder::new("outputs-collide");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
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
    let a = b.resized("a", y);
    let c = b.concat("c", &[x, a], true);
    b.output(c);
    case("place-fixed", b);

    // Writing the first part in place would keep the whole of %d alive while %t is computed.
    let mut b = Builder::new("raises-peak");
    let x = b.input("x", &[64, 64], Read);
    let y = b.input("y", &[256, 64], Read);
    let a = b.resized("a", x);
    let early = {
        let read = rows(b.read(a), 0, 1);
        b.map("early", vec![read])
    };
    let t = b.resized("t", y);
    let t2 = b.resized("t2", t);
    let mut wide = b.read(early);
    wide.layout.shape = vec![256, 64];
    wide.layout.strides = vec![0, 1];
    let reads = vec![b.read(t2), wide];
    let u = b.map("u", reads);
    let u2 = b.resized("u2", u);
    let late = {
        let read = rows(b.read(u2), 0, 192);
        b.map("late", vec![read])
    };
    let d = b.concat("d", &[a, late], true);
    b.output(d);
    case("raises-peak", b);

    let mut b = Builder::new("withheld");
    let x = b.input("x", &[64, 64], Read);
    let a = b.resized("a", x);
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
        let (text, reasons) = told(&graph, &options);
        assert!(reasons.contains(&reason) && text.contains(reason), "{reason} is not in\n{text}");
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

/// A tie has evidence for each of the ten conditions, and the report tells it.
#[test]
fn every_condition_is_proved() {
    // %d is over %c, which it reads twice, and needs %s put before it; %e is the new state.
    let mut b = Builder::new("proved");
    let p = b.input("p", &[64, 64], InOut);
    let g = b.input("g", &[64, 64], Donate);
    let c = b.resized("c", g);
    let s = b.resized("s", c);
    let y = b.input("y", &[64, 64], Read);
    let d = b.on("d", &[c, c, y]);
    let e = b.on("e", &[p, d]);
    b.output(s);
    b.finish(p, e);
    let plan = planned(&b.graph, &PlaceOptions::default());
    examine(&plan);
    let rewrites = RewriteReport::default();
    let aliasing = Aliasing::default();
    let decisions = Decisions {
        rewrites: &rewrites,
        planned: &plan,
        bodies: &[],
        savings: &Savings::default(),
        saved_bytes: 0,
        notes: &[],
        aliasing: &aliasing,
    };
    let said = report::placement(&decisions, "d").expect("a buffer");
    for (condition, evidence) in [
        ("contract", "%d = add: element by element"),
        ("region", "16,384 bytes at 0 of the root"),
        ("root", "the program's own memory"),
        ("observers", "put before it %s = resize"),
        ("operands", "elsewhere %y; beside it none; at the place, permitted %c"),
        ("order", "1 edge added"),
        ("versions", "version 1 of its bytes"),
        ("iteration", "one list of steps"),
        ("boundary", "not an output"),
        ("once", "written by %d = add, in the order once"),
    ] {
        let line = said.lines().find(|line| line.trim_start().starts_with(&format!("{condition}: ")));
        assert!(line.is_some_and(|line| line.contains(evidence)), "{condition}: {evidence}\n{said}");
    }
    let json = report::json(&decisions);
    for tie in json["ties"].as_array().expect("ties") {
        for condition in Condition::ALL {
            assert!(tie["conditions"][condition.name()].as_str().is_some_and(|said| !said.is_empty()), "{tie}");
        }
    }
}

/// Every condition that can fail in a list of steps has a reason; the two that cannot are held by construction.
#[test]
fn every_condition_can_be_refused() {
    let refused: Vec<Condition> = cases()
        .iter()
        .flat_map(|(_, graph, options)| planned(graph, options).placed.refusals)
        .map(|refused| refused.reason.condition())
        .collect();
    for condition in Condition::ALL {
        let by_construction = matches!(condition, Condition::Iteration | Condition::Once);
        assert_eq!(refused.contains(&condition), !by_construction, "{condition:?}");
    }
}
