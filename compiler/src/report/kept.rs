//! A report read back from its JSON: what an executable keeps of it, and what is committed to be compared later.
//!
//! The text comes from a file, so nothing in it is believed: a field of the wrong type is told, and what is drawn from
//! numbers is checked first (`chart`).

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use super::aliasing::{Aliasing, OnOverlap};
use super::json::SCHEMA;

/// The most characters of somebody else's text that a message quotes.
const MOST_QUOTED: usize = 40;

/// The fields of a report that other forms of it are made from. Sizes are bytes.
#[derive(Clone, Debug, Deserialize)]
pub struct Kept {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub source_ops: u64,
    /// Steps of the program and its bodies.
    pub kernels: u64,
    pub weights_bytes: u64,
    /// Of the inputs whose state comes with the program.
    #[serde(default)]
    pub initial_state_bytes: u64,
    /// Memory by class; what is not a number is of no class.
    #[serde(default)]
    pub peak: IndexMap<String, Value>,
    pub arena_bytes: u64,
    pub lower_bound_bytes: u64,
    pub arena_bytes_without_inplace: u64,
    #[serde(default)]
    pub arena_bytes_without_emplacement: Option<u64>,
    #[serde(default)]
    pub arena_bytes_without_order: Option<u64>,
    #[serde(default)]
    pub arena_bytes_without_rematerialisation: Option<u64>,
    #[serde(default)]
    pub arena_bytes_unshared: Option<u64>,
    #[serde(default)]
    pub recomputed: Vec<Recomputed>,
    #[serde(default)]
    pub actions: Vec<Action>,
    #[serde(default)]
    assumed_distinct: AssumedDistinct,
    #[serde(default)]
    fallback: FallbackStatus,
    #[serde(default)]
    pub fallback_arena_bytes: Option<u64>,
    #[serde(default)]
    pub order: Order,
    pub ties: Vec<Tie>,
    pub refusals: Vec<Refusal>,
    pub rules: IndexMap<String, u64>,
    #[serde(default)]
    pub peak_step: u64,
    #[serde(default)]
    pub live_at_peak: Vec<Live>,
    #[serde(default)]
    pub steps: Vec<Step>,
    /// `None` in reports from before they had them.
    #[serde(default)]
    pub lives: Option<Vec<Life>>,
    #[serde(default)]
    pub bodies: Vec<Body>,
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What was computed twice.
#[derive(Clone, Debug, Deserialize)]
pub struct Recomputed {
    pub step: String,
    pub flops: u64,
    pub bytes: u64,
}

/// What the user could do.
#[derive(Clone, Debug, Deserialize)]
pub struct Action {
    pub what: String,
    pub cost: String,
    pub arena_bytes: u64,
    pub saves_bytes: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct AssumedDistinct {
    pairs: u64,
    written: Vec<WrittenInput>,
    others: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct WrittenInput {
    input: String,
    why: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct FallbackStatus {
    status: String,
    steps: Option<u64>,
    weights_bytes: Option<u64>,
    why: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Order {
    pub status: String,
    pub peak_bytes: u64,
    pub lower_bound_bytes: u64,
    pub source_peak_bytes: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Tie {
    #[serde(default)]
    pub body: Option<String>,
    pub value: String,
    pub over: String,
    pub kind: String,
    #[serde(default)]
    pub step: String,
    pub bytes: u64,
    #[serde(default)]
    pub requested: bool,
    /// Why it is safe, in short.
    #[serde(default)]
    pub because: String,
    /// The evidence for each condition.
    #[serde(default)]
    pub conditions: IndexMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    #[serde(default)]
    pub body: Option<String>,
    pub value: String,
    pub over: String,
    #[serde(default)]
    pub step: String,
    pub reason: String,
    #[serde(default)]
    pub because: String,
    pub bytes: u64,
    #[serde(default)]
    pub hint: Option<String>,
    #[serde(default)]
    pub unblock: String,
}

/// A piece of the arena that is live at the peak.
#[derive(Clone, Debug, Deserialize)]
pub struct Live {
    pub values: Vec<String>,
    pub bytes: u64,
    pub offset: u64,
    pub first_step: u64,
    pub last_step: u64,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub location: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    pub kernel: String,
    pub label: String,
    #[serde(default)]
    pub location: String,
    #[serde(default)]
    pub reads: Vec<String>,
    #[serde(default)]
    pub writes: Vec<String>,
    #[serde(default)]
    pub workspace_bytes: u64,
    #[serde(default)]
    pub flops: u64,
}

/// A piece of the arena over a range of steps, the last one included.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Life {
    pub class: Class,
    /// In the order in which they are written.
    pub values: Vec<String>,
    /// Values whose copy is gone: they are among `values` under other names, or parts of them.
    pub also: Vec<String>,
    pub bytes: u64,
    pub offset: u64,
    pub first_step: u64,
    pub last_step: u64,
    pub writes: Vec<LifeWrite>,
}

/// What the bytes of a life are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// One value.
    Temporary,
    /// Several values, one after the other or one in another.
    Tied,
    /// What the caller gets; it is kept to the end.
    Output,
    /// The scratch of one step.
    Workspace,
}

impl Class {
    /// As in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Class::Temporary => "temporary",
            Class::Tied => "tied",
            Class::Output => "output",
            Class::Workspace => "workspace",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LifeWrite {
    pub value: String,
    pub step: u64,
    pub offset: u64,
    pub bytes: u64,
}

/// What a branch or a loop runs.
#[derive(Clone, Debug, Deserialize)]
pub struct Body {
    pub name: String,
    pub arena_bytes: u64,
    #[serde(default)]
    pub lower_bound_bytes: u64,
    #[serde(default)]
    pub ports: Vec<Port>,
    #[serde(default)]
    pub steps: Vec<Step>,
    #[serde(default)]
    pub lives: Option<Vec<Life>>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Port {
    pub mode: String,
}

impl Kept {
    /// Reads the JSON of a report. The error says what was found and what was expected.
    pub fn read(text: &str) -> Result<Kept, String> {
        #[derive(Deserialize)]
        struct Version {
            schema: Option<Value>,
        }
        let expected = format!("expected the JSON of a report of schema {SCHEMA}, as `situ report --json` prints it");
        let version: Version =
            serde_json::from_str(text).map_err(|error| format!("no report: {}; {expected}", told(&error)))?;
        match version.schema {
            None => return Err(format!("no report: found no field `schema`; {expected}")),
            Some(schema) if schema.as_u64() != Some(u64::from(SCHEMA)) => {
                return Err(format!("found schema {}; {expected}", clipped(&schema.to_string(), MOST_QUOTED)));
            }
            Some(_) => {}
        }
        serde_json::from_str(text).map_err(|error| format!("no report: {}; {expected}", told(&error)))
    }

    /// The classes of memory that have a number of bytes, and it.
    pub fn classes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.peak.iter().filter_map(|(class, bytes)| Some((class.as_str(), bytes.as_u64()?)))
    }

    /// What is assumed about inputs that share bytes.
    pub fn aliasing(&self) -> Aliasing {
        let AssumedDistinct { pairs, written, others } = &self.assumed_distinct;
        let count = |number: Option<u64>| usize::try_from(number.unwrap_or(0)).unwrap_or(usize::MAX);
        Aliasing {
            written: written.iter().map(|written| (written.input.clone(), written.why.clone())).collect(),
            others: others.clone(),
            pairs: count(Some(*pairs)),
            on_overlap: match self.fallback.status.as_str() {
                "as-written" => OnOverlap::AsWritten {
                    steps: count(self.fallback.steps),
                    arena_bytes: self.fallback_arena_bytes.unwrap_or(0),
                    weights_bytes: self.fallback.weights_bytes.unwrap_or(0),
                },
                "missing" => OnOverlap::Missing(self.fallback.why.clone().unwrap_or_default()),
                "promised" => OnOverlap::Promised,
                _ => OnOverlap::Unneeded,
            },
        }
    }
}

/// An error of the reader. It may quote the file, which may be long.
fn told(error: &serde_json::Error) -> String {
    clipped(&error.to_string(), 4 * MOST_QUOTED)
}

/// At most `most` characters of `text`, the last one an ellipsis when some are left out.
pub(super) fn clipped(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_string();
    }
    let mut clipped: String = text.chars().take(most.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}
