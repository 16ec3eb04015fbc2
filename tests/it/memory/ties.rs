//! Ties on random graphs: every plan is accepted by the checker, with any number of ties.

use situ::place::{PlaceOptions, TieKind};
use situ::types::InputMode::Read;

use super::graphs::{Builder, examine, planned};
use super::random::random;

#[test]
fn the_checker_accepts_every_plan() {
    let mut tied = 0;
    let mut worse = Vec::new();
    let mut kinds = std::collections::BTreeMap::new();
    for seed in 0..48 {
        let graph = random(seed, 32, 2 + seed as usize % 20);
        let with = planned(&graph, &PlaceOptions::default());
        examine(&with);
        let without = planned(&graph, &PlaceOptions { inplace: false, ..PlaceOptions::default() });
        examine(&without);
        assert!(without.placed.ties.is_empty());
        if with.lower_bound_bytes > without.lower_bound_bytes {
            worse.push((seed, with.lower_bound_bytes, without.lower_bound_bytes));
        }
        tied += with.placed.ties.len();
        for tie in &with.placed.ties {
            *kinds.entry(tie.kind).or_insert(0) += 1;
        }
    }
    assert!(worse.is_empty(), "{worse:?}");
    assert!(tied > 300, "{tied}");
    for kind in [TieKind::Overwrite, TieKind::Forward, TieKind::Update, TieKind::Emplace, TieKind::Final] {
        assert!(kinds.contains_key(&kind), "{kinds:?}");
    }
}

#[test]
fn any_number_of_ties_is_a_sound_plan() {
    for seed in 0..12 {
        let graph = random(seed + 5000, 32, 12);
        let all = planned(&graph, &PlaceOptions::default()).placed.ties.len();
        for limit in 0..=all {
            let some = planned(&graph, &PlaceOptions { tie_limit: Some(limit), ..PlaceOptions::default() });
            assert!(some.placed.ties.len() <= limit);
            examine(&some);
        }
    }
}

#[test]
fn one_tie_alone_can_be_asked_for() {
    let mut b = Builder::new("one");
    let x = b.input("x", &[32, 32], Read);
    let a = b.resized("a", x);
    let c = b.on("c", &[a]);
    let d = b.on("d", &[c]);
    b.output(d);
    let only = PlaceOptions { only_tie: Some("%d".into()), ..PlaceOptions::default() };
    let plan = planned(&b.graph, &only);
    examine(&plan);
    let values: Vec<&str> = plan.placed.ties.iter().map(|tie| tie.value.as_str()).collect();
    assert_eq!(values, ["%d"]);
}
