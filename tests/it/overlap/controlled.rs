//! Programs with branches and loops on inputs that share bytes: what they say, or a refusal that says why there is no program
//! as written.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use situ::ir::{Graph, print};
use situ::pipeline::Options;
use situ_runtime::executable::Fallback;
use situ_runtime::kernel::call::RunError;
use situ_runtime::raw::Route;
use situ_runtime::types::DType;

use super::{Close, compare, compiled, length, memory, session, should_divert, starts, strict};
use crate::support::controlled::{nodes, program};
use crate::text::graph_of;

/// Arrays lie over one another; conditions and counts, whose bytes no float may be, behind them.
fn places(graph: &Graph, choices: &[u8]) -> Vec<usize> {
    let mut starts = starts(graph, choices);
    let is_array = |input: usize| graph.ty(graph.inputs[input].value).dtype == DType::F32;
    let arrays = (0..starts.len()).filter(|&input| is_array(input));
    let mut end = arrays.map(|input| starts[input] + length(graph, input)).max().unwrap_or(0).next_multiple_of(8);
    for input in (0..starts.len()).filter(|&input| !is_array(input)) {
        starts[input] = end;
        end += 8;
    }
    starts
}

/// What would be too long as a list, or is no list, is told; and soon.
#[test]
fn what_cannot_be_written_out_is_told() {
    for (body, expected) in [
        ("loop 9223372036854775807, true (%i) {\n yield true\n}\n add_ %a, %b", "more than 20000 instructions"),
        ("scan (%i) {trips=4611686018427387904} {\n}\n add_ %a, %b", "more than 20000 instructions"),
        (
            "loop 4000, true (%i) {\n loop 4000, true (%j) {\n add_ %a, %b\n yield true\n}\n yield true\n}",
            "more than 20000",
        ),
        (
            "loop %n, true (%i) {\n add_ %a, %b\n yield true\n}",
            "loop (line 5) decides its number of trips when it runs",
        ),
        (
            "loop 5, true (%i) {\n add_ %a, %b\n %c = lt %i, %n\n yield %c\n}",
            "loop (line 5) decides its number of trips",
        ),
        (
            "%c = lt %n, 3\n if %c {\n %s = dynamic_slice %b, %n {axes=[0], sizes=[1]}\n add_ %a, %s\n}",
            "dynamic_slice (line 7) may fail, in a region that may not be taken",
        ),
    ] {
        let text =
            format!("graph it {{\n inout %a: f32[4]\n input %b: f32[4]\n input %n: i64[]\n {body}\n return %b\n}}");
        let program = compiled(&graph_of(&text), &strict());
        let Fallback::Missing(why) = &program.executable.fallbacks[0] else { panic!("{text} is written out") };
        assert!(why.contains(expected), "{why}\n{text}");
    }
    // A number of trips that follows from constants is none that is decided at run time.
    let text = "graph it {\n inout %a: f32[4]\n input %b: f32[4]\n %n = add 1, 2\n loop %n, true (%i) {\n add_ %a, %b\n %c = lt %i, 1\n yield %c\n}\n return %b\n}";
    let program = compiled(&graph_of(text), &strict());
    assert!(matches!(program.executable.fallbacks[0], Fallback::AsWritten(_)), "{:?}", program.executable.fallbacks[0]);
}

#[test]
fn random_programs_mean_what_they_say() {
    let count = std::env::var("SITU_OVERLAP_PROGRAMS").ok().and_then(|text| text.parse().ok()).unwrap_or(250);
    let counted = Cell::new([0usize; 3]);
    let obstacles = std::cell::RefCell::new(BTreeMap::<String, usize>::new());
    let choices = proptest::collection::vec(any::<[u8; 5]>(), 8);
    let checked = crate::functional::generated::runner(count).run(
        &(nodes(), choices, any::<bool>(), any::<u32>()),
        |(nodes, places_of, rewrite, kept)| {
            let mut graph = program(&nodes);
            let mut number = 0;
            graph.outputs.retain(|_| {
                number += 1;
                kept >> (number % 32) & 1 == 1
            });
            let program = compiled(&graph, &Options { rewrite, ..strict() });
            let missing = match &program.executable.fallbacks[0] {
                Fallback::Missing(why) => Some(why.clone()),
                _ => None,
            };
            let mut session = session(program);
            for choices in &places_of {
                let starts = places(&graph, choices);
                let mut counts = counted.get();
                if let (Some(why), true) = (&missing, should_divert(session.plan(), &graph, &starts)) {
                    let refused = session.run_within(&mut memory(&graph, &starts), &starts).map(drop);
                    prop_assert!(matches!(refused, Err(RunError::Aliased { .. })), "{refused:?}");
                    counts[2] += 1;
                    let words = why.split(['(', ',']).next().unwrap_or_default();
                    let kind: String = words.chars().filter(|c| !c.is_ascii_digit()).collect();
                    *obstacles.borrow_mut().entry(kind).or_default() += 1;
                } else {
                    let route = compare(&mut session, &graph, &starts, Close::Bits).map_err(|error| {
                        TestCaseError::fail(format!("starts {starts:?}: {error}\n{}", print(&graph)))
                    })?;
                    counts[usize::from(route == Route::Fallback)] += 1;
                }
                counted.set(counts);
            }
            Ok(())
        },
    );
    if let Err(failure) = checked {
        panic!("{failure}");
    }
    let [optimised, as_written, refused] = counted.get();
    println!(
        "{count} programs: optimised {optimised}, as written {as_written}, refused {refused}: {:?}",
        obstacles.borrow()
    );
    assert!(as_written > count as usize && refused < as_written, "{:?}", counted.get());
    // Everything is written out but loops that decide their number of trips when they run.
    assert!(obstacles.borrow().keys().all(|kind| kind == "loop "), "{:?}", obstacles.borrow());
}
