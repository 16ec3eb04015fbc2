//! An arena over the steps, checked and ready to be drawn: of a program, or of the body of a branch or loop.

use std::collections::{BTreeMap, BTreeSet};

use super::kept::{Body, Class, Kept, Life, Refusal, Step, Tie, clipped};
use super::words::{count, grouped, size};

/// The most values, writes or reasons that a description lists; of more, their number is said.
const MOST_LISTED: usize = 8;
/// The longest name or sentence that is quoted, in characters.
const MOST_CHARACTERS: usize = 160;

/// Why nothing can be drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoChart {
    /// The report was made before reports had what is drawn.
    Lacking,
    /// The report contradicts itself, and how.
    Wrong(String),
}

impl std::fmt::Display for NoChart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoChart::Lacking => write!(f, "the report holds no lives: it is from before reports did"),
            NoChart::Wrong(how) => write!(f, "the report contradicts itself: {how}"),
        }
    }
}

/// Lives that lie within the arena and within the steps.
pub(super) struct Chart<'a> {
    pub name: String,
    pub steps: &'a [Step],
    pub lives: &'a [Life],
    pub arena_bytes: u64,
    /// Live bytes in each step.
    pub sums: Vec<u64>,
    /// The largest of `sums`, and the first step that has it.
    pub load: u64,
    pub peak_step: usize,
    ties: BTreeMap<&'a str, Vec<&'a Tie>>,
    refusals: BTreeMap<&'a str, Vec<&'a Refusal>>,
}

impl<'a> Chart<'a> {
    /// The arena of the program itself.
    pub fn of(kept: &'a Kept) -> Result<Chart<'a>, NoChart> {
        let name = if kept.name.is_empty() { "program" } else { &kept.name };
        Chart::new(kept, None, name, &kept.steps, kept.lives.as_deref(), kept.arena_bytes)
    }

    pub fn of_body(kept: &'a Kept, body: &'a Body) -> Result<Chart<'a>, NoChart> {
        Chart::new(kept, Some(&body.name), &body.name, &body.steps, body.lives.as_deref(), body.arena_bytes)
    }

    fn new(
        kept: &'a Kept,
        body: Option<&str>,
        name: &str,
        steps: &'a [Step],
        lives: Option<&'a [Life]>,
        arena_bytes: u64,
    ) -> Result<Chart<'a>, NoChart> {
        let lives = lives.ok_or(NoChart::Lacking)?;
        let mut changes = vec![0i128; steps.len() + 1];
        for (number, life) in lives.iter().enumerate() {
            let (first, last) = within(life, steps.len(), arena_bytes)
                .map_err(|how| NoChart::Wrong(format!("{how} (life {number})")))?;
            changes[first] += i128::from(life.bytes);
            changes[last + 1] -= i128::from(life.bytes);
        }
        let mut sum = 0i128;
        let mut sums = Vec::with_capacity(steps.len());
        for change in &changes[..steps.len()] {
            sum += change;
            sums.push(
                u64::try_from(sum).map_err(|_| NoChart::Wrong("more bytes are live than can be counted".into()))?,
            );
        }
        let load = sums.iter().copied().max().unwrap_or(0);
        if load > arena_bytes {
            let (load, arena) = (grouped(load), grouped(arena_bytes));
            return Err(NoChart::Wrong(format!("{load} bytes are live at once in an arena of {arena}")));
        }
        let (mut ties, mut refusals) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for tie in kept.ties.iter().filter(|tie| tie.body.as_deref() == body) {
            ties.entry(tie.value.as_str()).or_default().push(tie);
        }
        for refusal in kept.refusals.iter().filter(|refusal| refusal.body.as_deref() == body) {
            refusals.entry(refusal.value.as_str()).or_default().push(refusal);
        }
        let peak_step = sums.iter().position(|&sum| sum == load).unwrap_or(0);
        Ok(Chart { name: name.to_string(), steps, lives, arena_bytes, sums, load, peak_step, ties, refusals })
    }

    /// `%a = %b`, or `workspace`.
    pub fn label(&self, life: &Life) -> String {
        match life.class {
            Class::Workspace => "workspace".to_string(),
            _ => listed(life.values.iter().map(String::as_str), " = "),
        }
    }

    /// Where in its life one value gives way to the next: the step, the value, and whether it is a new one rather than
    /// another part of one that is there already. The first write is none.
    pub fn turns<'b>(&self, life: &'b Life) -> Vec<Turn<'b>> {
        let mut seen = BTreeSet::new();
        let mut turns = Vec::new();
        for write in &life.writes {
            let is_new = seen.insert(write.value.as_str());
            if write.step > life.first_step || (is_new && seen.len() > 1) {
                turns.push(Turn {
                    value: &write.value,
                    step: write.step,
                    offset: write.offset,
                    bytes: write.bytes,
                    is_new,
                });
            }
        }
        turns
    }

    /// Everything there is to say of a life, a line each.
    pub fn described(&self, life: &Life) -> Vec<String> {
        let mut lines = vec![format!("{} ({})", self.label(life), class_name(life.class))];
        lines.push(format!(
            "{} bytes ({}) at {}, steps {}..{}",
            grouped(life.bytes),
            size(life.bytes),
            grouped(life.offset),
            life.first_step,
            life.last_step + 1
        ));
        if life.class == Class::Workspace {
            lines.extend(self.step(life.first_step).map(|step| self.scene(life.first_step, step)));
            return lines;
        }
        let mut last = None;
        let writes: Vec<_> = life
            .writes
            .iter()
            .filter(|write| last.replace((&write.value, write.step)) != Some((&write.value, write.step)))
            .collect();
        for write in writes.iter().take(MOST_LISTED) {
            if let Some(step) = self.step(write.step) {
                lines.push(format!("{} by {}", quoted(&write.value), self.scene(write.step, step)));
            }
        }
        left_out(writes.len(), "write", &mut lines);
        if !life.also.is_empty() {
            lines.push(format!("in it, without a copy: {}", listed(life.also.iter().map(String::as_str), ", ")));
        }
        let reasons = self.reasons(life);
        lines.extend(reasons.iter().take(MOST_LISTED).cloned());
        left_out(reasons.len(), "reason", &mut lines);
        lines
    }

    /// Why the values of a life are in place, and why they are not.
    pub fn reasons(&self, life: &Life) -> Vec<String> {
        let names: BTreeSet<&str> = life.values.iter().chain(&life.also).map(String::as_str).collect();
        let said = |value: &str, word: &str, over: &str, what: &str, because: &str| {
            format!("{} {word} {}: {what}: {}", quoted(value), quoted(over), quoted(because))
        };
        let mut reasons = Vec::new();
        for tie in names.iter().filter_map(|&name| self.ties.get(name)).flatten() {
            reasons.push(said(&tie.value, "in", &tie.over, &tie.kind, &tie.because));
        }
        for it in names.iter().filter_map(|&name| self.refusals.get(name)).flatten() {
            reasons.push(said(&it.value, "not in", &it.over, &it.reason, &it.because));
        }
        reasons
    }

    /// `step 3: matmul, from `%c = matmul %a, %b``.
    pub fn scene(&self, number: u64, step: &Step) -> String {
        let from = if step.location.is_empty() { String::new() } else { format!(", from {}", quoted(&step.location)) };
        format!("step {number}: {}{from}", quoted(&step.label))
    }

    fn step(&self, number: u64) -> Option<&'a Step> {
        self.steps.get(usize::try_from(number).ok()?)
    }
}

/// A write into bytes that are live already.
pub(super) struct Turn<'a> {
    pub value: &'a str,
    pub step: u64,
    pub offset: u64,
    pub bytes: u64,
    pub is_new: bool,
}

/// The first and last step of a life that has its place in the arena.
fn within(life: &Life, steps: usize, arena_bytes: u64) -> Result<(usize, usize), String> {
    let (first, last) = (life.first_step, life.last_step);
    if first > last || last >= steps as u64 {
        return Err(format!("steps {first} to {last} of {}", count(steps, "step")));
    }
    let end = life.offset.checked_add(life.bytes).filter(|&end| end <= arena_bytes);
    let end = end.ok_or_else(|| format!("{} bytes at {} of {arena_bytes}", life.bytes, life.offset))?;
    for write in &life.writes {
        let there = write.offset >= life.offset && write.offset.checked_add(write.bytes).is_some_and(|to| to <= end);
        if !there || !(first..=last).contains(&write.step) {
            return Err(format!("{} is written outside its life", quoted(&write.value)));
        }
    }
    Ok((first as usize, last as usize))
}

pub(super) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Temporary => "temporary result",
        Class::Tied => "values in place of one another",
        Class::Output => "output, kept to the end",
        Class::Workspace => "workspace of a step",
    }
}

fn quoted(text: &str) -> String {
    clipped(text, MOST_CHARACTERS)
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>, between: &str) -> String {
    let more = names.len().saturating_sub(MOST_LISTED);
    let mut text = names.take(MOST_LISTED).map(quoted).collect::<Vec<_>>().join(between);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn left_out(number: usize, what: &str, lines: &mut Vec<String>) {
    if number > MOST_LISTED {
        lines.push(format!("and {}", count(number - MOST_LISTED, &format!("more {what}"))));
    }
}
