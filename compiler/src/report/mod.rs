//! The decisions of all stages as text and as JSON: the only place that formats them.
//!
//! A report holds no time, no path and no thread timing, and every list has a fixed order, so that it can be committed
//! and its difference read. How to read one is said in `docs/report.md`.

mod aliasing;
mod chart;
mod diff;
mod explain;
mod html;
mod json;
mod kept;
mod lives;
mod markup;
mod origin;
mod svg;
mod text;
mod trace;
mod words;

pub use aliasing::{Aliasing, OnOverlap, aliasing};
pub use chart::NoChart;
pub use diff::{DIFF_SCHEMA, Difference, diff};
pub use explain::{Became, explain, placement};
pub use json::{SCHEMA, json};
pub use kept::Kept;
pub use text::text;
pub(crate) use words::grouped;

use std::collections::BTreeMap;

use crate::ir::Location;
use crate::plan::{Owner, Planned};
use crate::rewrite::RewriteReport;
use crate::savings::Savings;
use crate::types::InputMode;

/// The arena over the steps as a drawing: SVG 1.1 that needs nothing else.
pub fn svg(kept: &Kept) -> Result<String, NoChart> {
    Ok(svg::svg(&chart::Chart::of(kept)?))
}

/// The report and the drawing as one page, without script or anything from elsewhere.
pub fn html(kept: &Kept) -> Result<String, NoChart> {
    html::html(kept)
}

/// The plan as trace events for the viewers of Chrome and Perfetto, a step for a microsecond.
pub fn trace(kept: &Kept) -> Result<String, NoChart> {
    Ok(trace::trace(&chart::Chart::of(kept)?))
}

/// What a report is made from. `pipeline` fills it.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<'a> {
    /// What the rewriter did, and how.
    pub rewrites: &'a RewriteReport,
    pub planned: &'a Planned,
    /// What branches and loops run, innermost first.
    pub bodies: &'a [Planned],
    /// What each kind of decision saved, and what would save more.
    pub savings: &'a Savings,
    /// Bytes of values kept for the backward pass.
    pub saved_bytes: u64,
    /// Facts other stages want said, a line each, in the order given.
    pub notes: &'a [String],
    /// What is assumed about inputs that share bytes.
    pub aliasing: &'a Aliasing,
}

/// Memory by class, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// Weights, and inputs that are updated in their own bytes.
    pub state: u64,
    /// Kept for the backward pass.
    pub saved: u64,
    /// Everything else the session allocates.
    pub temporary: u64,
}

/// A plan with the names that its values have in the report: in a body they begin with where it stands.
#[derive(Clone, Copy)]
struct Part<'a> {
    /// As in `loop %a`; `None` for the program itself.
    body: Option<&'a str>,
    planned: &'a Planned,
}

impl Part<'_> {
    /// `%t`, or `loop %a / %t`.
    fn named(&self, value: &str) -> String {
        self.body.map_or_else(|| value.to_string(), |body| format!("{body} / {value}"))
    }

    fn inputs(&self) -> Vec<String> {
        self.planned.placed.graph.inputs.iter().map(|input| input.name.clone()).collect()
    }
}

impl<'a> Decisions<'a> {
    /// The program, then its bodies, outer before inner.
    fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let body = |planned: &'a Planned| Part { body: Some(&planned.placed.graph.name), planned };
        std::iter::once(Part { body: None, planned: self.planned }).chain(self.bodies.iter().rev().map(body))
    }

    /// Steps of the program and its bodies.
    fn steps(&self) -> usize {
        self.parts().map(|part| part.planned.placed.order.len()).sum()
    }
}

impl Decisions<'_> {
    /// Bytes of the inputs whose state comes with the program; it lies in the file beside the weights.
    pub fn initial_bytes(&self) -> u64 {
        let initial = self.planned.placed.graph.inputs.iter().filter_map(|input| input.initial.as_ref());
        initial.map(|initial| initial.ty.bytes() as u64).sum()
    }

    pub fn peak(&self) -> Peak {
        let inputs = &self.planned.placed.graph.inputs;
        let updated: u64 =
            inputs.iter().filter(|input| input.mode == InputMode::InOut).map(|input| input.ty.bytes() as u64).sum();
        Peak {
            state: self.planned.weights_bytes + updated,
            saved: self.saved_bytes,
            temporary: self.planned.arena_bytes.saturating_sub(self.saved_bytes),
        }
    }
}

/// A piece of the arena that is live at the peak.
struct LiveBytes<'a> {
    /// The values that have these bytes one after the other, or the workspace.
    names: Vec<String>,
    bytes: u64,
    offset: u64,
    lower: usize,
    upper: usize,
    /// The last step that has written there, as label and place in the source.
    from: Option<(&'a str, &'a Location)>,
}

/// What is live at the peak, largest first.
fn live_at_peak<'a>(decisions: &Decisions<'a>) -> Vec<LiveBytes<'a>> {
    let planned = decisions.planned;
    let placed = &planned.placed;
    let named = |owner: Owner| match owner {
        Owner::Workspace { .. } => vec!["workspace".to_string()],
        Owner::Root(root) => {
            let values = (0..placed.graph.buffers.len())
                .filter(|&buffer| placed.homes[buffer].root == root && placed.elided[buffer].is_none());
            let mut names: Vec<String> = values.map(|buffer| placed.graph.buffers[buffer].name.clone()).collect();
            names.dedup();
            names
        }
    };
    // The last to write into each line of bytes, up to the peak.
    let mut last = BTreeMap::new();
    for &number in placed.order.iter().take(planned.peak_step + 1) {
        let node = &placed.graph.nodes[number];
        for write in &node.writes {
            last.insert(placed.homes[write.access.value as usize].root, (&node.label[..], &node.location));
        }
    }
    let from = |owner: Owner| match owner {
        Owner::Root(root) => last.get(&root).copied(),
        Owner::Workspace { .. } => None,
    };
    let lives = planned.live_at_peak.iter().map(|&life| &planned.lives[life]);
    lives
        .map(|life| LiveBytes {
            names: named(life.owner),
            bytes: life.bytes,
            offset: life.offset,
            lower: life.lower,
            upper: life.upper,
            from: from(life.owner),
        })
        .collect()
}

/// Whether a value is called `name`, which may lack the `%`.
fn is_named(value: &str, name: &str) -> bool {
    value == name || value.strip_prefix('%') == Some(name)
}
