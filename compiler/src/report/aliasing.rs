//! What is assumed about inputs that share bytes, why, and what happens when they do.

use serde_json::{Value, json};
use situ_runtime::executable::{Fallback, Plan};

use super::words::{count, grouped, size};
use crate::functional::FunctionalNotes;
use crate::ir::Graph;

/// The most names of inputs that a sentence lists.
const MAX_NAMES: usize = 6;

/// Which inputs a plan assumes distinct, and what happens when they are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliasing {
    /// Inputs whose bytes change, each with the reason in words. No two of them may share bytes.
    pub written: Vec<(String, String)>,
    /// Other inputs that must keep apart from those.
    pub others: Vec<String>,
    /// How many pairs that makes.
    pub pairs: usize,
    pub on_overlap: OnOverlap,
}

/// What a run does when inputs share bytes against the assumptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnOverlap {
    /// Nothing is assumed.
    #[default]
    Unneeded,
    /// The program as written runs.
    AsWritten {
        steps: usize,
        arena_bytes: u64,
        /// Weights in a form that the optimised plan does not read.
        weights_bytes: u64,
    },
    /// The run is refused, and why.
    Missing(String),
    /// It does not happen, by `--assume-noalias`.
    Promised,
}

/// The facts about `plan`, made of `graph`. `added_weights` is what the fallback adds to the weights section, in bytes.
pub fn aliasing(
    graph: &Graph,
    source: &FunctionalNotes,
    plan: &Plan,
    fallback: &Fallback,
    added_weights: u64,
) -> Aliasing {
    let assumed = &plan.assumed_distinct;
    let name = |&input: &u32| graph.inputs[input as usize].name.clone();
    let why = |&input: &u32| {
        let value = graph.inputs[input as usize].value;
        let written = source.writes.iter().find(|(_, root, _)| *root == value).map(|&(inst, ..)| graph.inst(inst));
        match written {
            Some(inst) => format!("written by {}_ ({})", inst.op.name(), inst.location),
            None if graph.finals.iter().any(|entry| entry.0 == input) => "ends as another value".to_string(),
            None => "given up, and its bytes are used again".to_string(),
        }
    };
    Aliasing {
        written: assumed.written.iter().map(|input| (name(input), why(input))).collect(),
        others: assumed.others.iter().map(name).collect(),
        pairs: assumed.pairs(),
        on_overlap: match fallback {
            Fallback::Unneeded => OnOverlap::Unneeded,
            Fallback::Missing(why) => OnOverlap::Missing(why.clone()),
            Fallback::Promised => OnOverlap::Promised,
            Fallback::AsWritten(written) => OnOverlap::AsWritten {
                steps: written.plan.steps.len(),
                arena_bytes: written.plan.arena_bytes,
                weights_bytes: added_weights,
            },
        },
    }
}

impl Aliasing {
    /// The section of the text report: a line for each written input, then what happens otherwise.
    pub(super) fn lines(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for (name, why) in &self.written {
            rows.push(vec![name.clone(), why.clone(), format!("apart from {}", self.apart_from(name))]);
        }
        rows
    }

    /// The inputs that must keep apart from written input `name`.
    fn apart_from(&self, name: &str) -> String {
        let others: Vec<&str> = self
            .written
            .iter()
            .map(|(name, _)| name)
            .chain(&self.others)
            .map(String::as_str)
            .filter(|other| *other != name)
            .collect();
        let shown = others.len().min(MAX_NAMES);
        let mut text = others[..shown].join(", ");
        if others.len() > shown {
            text.push_str(&format!(" and {} more", others.len() - shown));
        }
        text
    }

    /// What happens when the assumptions do not hold, in a sentence without a full stop.
    pub(super) fn otherwise(&self) -> String {
        match &self.on_overlap {
            OnOverlap::Unneeded => "nothing is assumed".into(),
            OnOverlap::AsWritten { steps, arena_bytes, weights_bytes } => {
                let weights = match weights_bytes {
                    0 => String::new(),
                    bytes => format!(", {} more of weights", size(*bytes)),
                };
                let arena = grouped(*arena_bytes);
                format!("otherwise the program as written runs: {}, arena {arena}{weights}", count(*steps, "step"))
            }
            OnOverlap::Missing(why) => format!("otherwise the run is refused: {why}"),
            OnOverlap::Promised => "promised by --assume-noalias; nothing is compared before a run".into(),
        }
    }

    /// A sentence about the input called `name`; `None` when nothing is assumed about it.
    pub(super) fn about(&self, name: &str) -> Option<String> {
        let name = name.trim_start_matches('%');
        if let Some((name, why)) = self.written.iter().find(|(written, _)| written == name) {
            return Some(format!(
                "Assumed to share no byte with {}, because it is {why}; {}.",
                self.apart_from(name),
                self.otherwise()
            ));
        }
        let other = self.others.iter().find(|other| *other == name)?;
        let written: Vec<&str> = self.written.iter().take(MAX_NAMES).map(|(name, _)| name.as_str()).collect();
        let more = self.written.len().saturating_sub(MAX_NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let written = written.join(", ");
        Some(format!(
            "{other} is assumed to share no byte with {written}{more}, which the run writes; {}.",
            self.otherwise()
        ))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "pairs": self.pairs,
            "written": self.written.iter().map(|(input, why)| json!({ "input": input, "why": why })).collect::<Vec<_>>(),
            "others": self.others,
        })
    }

    pub(super) fn fallback_json(&self) -> Value {
        let (status, steps, weights, why) = match &self.on_overlap {
            OnOverlap::Unneeded => ("unneeded", None, None, None),
            OnOverlap::AsWritten { steps, weights_bytes, .. } => {
                ("as-written", Some(*steps), Some(*weights_bytes), None)
            }
            OnOverlap::Missing(why) => ("missing", None, None, Some(why.as_str())),
            OnOverlap::Promised => ("promised", None, None, None),
        };
        json!({ "status": status, "steps": steps, "weights_bytes": weights, "why": why })
    }

    /// The arena of the program as written, in bytes.
    pub fn fallback_arena_bytes(&self) -> Option<u64> {
        match self.on_overlap {
            OnOverlap::AsWritten { arena_bytes, .. } => Some(arena_bytes),
            _ => None,
        }
    }
}
