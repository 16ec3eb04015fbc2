//! The decisions of all stages as text and as JSON: the only place that formats them.
//!
//! A report holds no time, no path and no thread timing, and every list has a fixed order, so that it can be committed
//! and its difference read. How to read one is said in `docs/report.md`.

use indexmap::IndexMap;

use crate::plan::Planned;

/// What a report is made from. `pipeline` fills it.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<'a> {
    /// How often each rewrite rule was used, in the order of first use.
    pub rules: &'a IndexMap<&'static str, usize>,
    pub planned: &'a Planned,
    /// Arena of the best plan with every tie refused.
    pub arena_bytes_without_inplace: u64,
    /// Bytes of values kept for the backward pass.
    pub saved_bytes: u64,
    /// Facts other stages want said, a line each, in the order given.
    pub notes: &'a [String],
}
