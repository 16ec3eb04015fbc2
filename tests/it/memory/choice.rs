//! The choice of ties against the best there is, which `exact` finds by trying every one.
//!
//! `cargo test -p tests --test it memory::choice::gaps -- --ignored --nocapture` prints the table of `docs/ties.md`; with
//! `SITU_GAPS=1` also the graphs that are not optimal.

use situ::lower::KernelGraph;
use situ::place::{PlaceOptions, Placed};

use super::exact::{Best, Reach, Share, best, simulate};
use super::graphs::{examine, planned};
use super::random::{maps, random};

/// Choices the oracle may look at for one graph.
const BUDGET: usize = 20_000;

/// Seed of the first mixed graph.
const MIXED: u64 = 9000;

/// What the choice and the oracle found on some graphs, added up.
#[derive(Debug, Default)]
struct Gap {
    graphs: usize,
    /// Graphs with too many choices for the oracle, or without any order as they stand.
    skipped: usize,
    bytes: u64,
    most_bytes: u64,
    bytes_at_peak: u64,
    ties: usize,
    most_ties: usize,
    /// Graphs where the peak is the least possible, and where no choice with that peak has more bytes.
    least: usize,
    optimal: usize,
    peak: u64,
    least_peak: u64,
    /// Largest ratio of a peak to the least.
    worst: f64,
}

impl Gap {
    fn of(graphs: impl Iterator<Item = KernelGraph>, reach: Reach) -> Gap {
        let mut gap = Gap::default();
        for (number, graph) in graphs.enumerate() {
            let plan = planned(&graph, &PlaceOptions::default());
            examine(&plan);
            simulate(&graph, &plan.placed);
            let Some(best) = best(&graph, reach, BUDGET) else {
                gap.skipped += 1;
                continue;
            };
            let placed = &plan.placed;
            let bytes = placed.ties.iter().map(|tie| tie.bytes).sum::<u64>();
            assert!(
                placed.peak_bytes >= best.peak,
                "graph {number}: the oracle missed a peak of {}",
                placed.peak_bytes
            );
            assert!(bytes <= best.bytes, "graph {number}: the oracle missed {bytes} tied bytes");
            if std::env::var_os("SITU_GAPS").is_some() {
                trace(number, &graph, placed, &best);
            }
            gap.graphs += 1;
            gap.bytes += bytes;
            gap.most_bytes += best.bytes;
            gap.bytes_at_peak += best.bytes_at_peak;
            gap.ties += placed.ties.len();
            gap.most_ties += best.ties;
            gap.least += usize::from(placed.peak_bytes == best.peak);
            gap.optimal += usize::from(placed.peak_bytes == best.peak && bytes >= best.bytes_at_peak);
            gap.peak += placed.peak_bytes;
            gap.least_peak += best.peak;
            gap.worst = gap.worst.max(placed.peak_bytes as f64 / best.peak as f64);
        }
        gap
    }

    /// Share of the graphs where peak and bytes are the best, in percent.
    fn share_optimal(&self) -> f64 {
        percent(self.optimal as f64, self.graphs as f64)
    }

    /// How much larger the peaks are than the least ones, in percent.
    fn peak_gap(&self) -> f64 {
        percent((self.peak - self.least_peak) as f64, self.least_peak as f64)
    }

    fn line(&self, name: &str) -> String {
        format!(
            "| {name} | {} | {} | {:.1} % | {:.1} % | {:.1} % | {:.1} % | {:.1} % | {:.2} % | {:.3} |",
            self.graphs,
            self.skipped,
            percent(self.ties as f64, self.most_ties as f64),
            percent(self.bytes as f64, self.most_bytes as f64),
            percent(self.bytes as f64, self.bytes_at_peak as f64),
            percent(self.least as f64, self.graphs as f64),
            self.share_optimal(),
            self.peak_gap(),
            self.worst,
        )
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    100.0 * part / whole
}

/// Says what the best choice has that was not found.
fn trace(number: usize, graph: &KernelGraph, placed: &Placed, best: &Best) {
    let bytes = placed.ties.iter().map(|tie| tie.bytes).sum::<u64>();
    if placed.peak_bytes == best.peak && bytes >= best.bytes_at_peak {
        return;
    }
    println!("{number}: peak {} ({}), bytes {bytes} ({})", placed.peak_bytes, best.peak, best.bytes_at_peak);
    for tie in &placed.ties {
        println!("  found {} in {}", tie.value, tie.over);
    }
    for refused in &placed.refusals {
        println!("  refused {} in {}: {}", refused.value, refused.over, refused.reason.name());
    }
    for &share in &best.shares {
        let (Share::Copy { node } | Share::Overwrite { node, .. }) = share;
        let read = if let Share::Overwrite { read, .. } = share { read } else { 0 };
        let node = &graph.nodes[node];
        let [from, to] = [node.reads[read].value, node.writes[0].access.value].map(|value| &graph.buffer(value).name);
        println!("  best {to} in {from}");
    }
}

#[test]
fn maps_are_tied_nearly_as_well_as_can_be() {
    let gap = Gap::of((0..60).map(|seed| maps(seed, 4, 9)), Reach::Whole);
    assert!(gap.skipped == 0 && gap.share_optimal() >= 97.0 && gap.peak_gap() <= 0.02, "{}", gap.line("maps"));
    assert!(gap.ties * 100 >= gap.most_ties * 99, "{}", gap.line("maps"));
}

#[test]
fn copies_updates_and_state_are_tied_nearly_as_well_as_can_be() {
    let gap = Gap::of((0..40).map(|seed| random(seed + MIXED, 4, 4)), Reach::Whole);
    assert!(gap.skipped <= 1 && gap.share_optimal() >= 80.0 && gap.peak_gap() <= 0.2, "{}", gap.line("mixed"));
    assert!(gap.bytes * 100 >= gap.bytes_at_peak * 94, "{}", gap.line("mixed"));
}

/// Prints how far the choice is from the best.
#[test]
#[ignore = "a measurement: minutes"]
fn gaps() {
    println!(
        "| graphs | tried | skipped | ties | bytes | bytes at that peak | least peak | optimal | mean gap | worst |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for nodes in [8, 10, 12] {
        let gap = Gap::of((0..200).map(|seed| maps(seed, 4, nodes)), Reach::Whole);
        println!("{}", gap.line(&format!("maps of {nodes}")));
    }
    for (reach, name) in [(Reach::Whole, ""), (Reach::Region, ", regions too")] {
        for nodes in [4, 6] {
            let gap = Gap::of((0..200).map(|seed| random(seed + MIXED, 4, nodes)), reach);
            println!("{}", gap.line(&format!("mixed of {nodes}{name}")));
        }
    }
}
