//! Two reports side by side: what one has and the other lacks.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::kept::{Kept, Life, Live, Refusal, Step, Tie};
use super::text::Table;
use super::words::{count, grouped};

/// The most entries of one list in the text; the JSON has all of them.
const MOST_LISTED: usize = 40;

/// Version of the fields of [`Difference::json`].
pub const DIFF_SCHEMA: u32 = 1;

/// A number of both reports; `None` where a report has none.
struct Measure {
    /// For people, and as the report's JSON calls it.
    name: String,
    field: String,
    a: Option<u64>,
    b: Option<u64>,
}

/// What only one of two lists holds, in the order of that list.
struct Changed<'a, T> {
    gained: Vec<&'a T>,
    lost: Vec<&'a T>,
}

/// A name with a number of uses in each report.
type Uses<'a> = IndexMap<&'a str, (u64, u64)>;

/// How report `b` differs from report `a`.
pub struct Difference<'a> {
    measures: Vec<Measure>,
    ties: Changed<'a, Tie>,
    refusals: Changed<'a, Refusal>,
    /// Where the numbers differ.
    rules: Uses<'a>,
    kernels: Uses<'a>,
    at_peak: Changed<'a, Live>,
    /// Assumptions and notes, a line each.
    gained_lines: Vec<String>,
    lost_lines: Vec<String>,
    /// The same kernels run in another order.
    is_reordered: bool,
    /// Pieces of the arena of `b` that `a` does not have at this place and time, and how many `b` has.
    moved: (usize, usize),
}

/// Compares two reports.
pub fn diff<'a>(a: &'a Kept, b: &'a Kept) -> Difference<'a> {
    let kernels = uses(steps(a).map(|step| (step.label.as_str(), 1)), steps(b).map(|step| (step.label.as_str(), 1)));
    let rule = |(rule, &uses): (&'a String, &u64)| (rule.as_str(), uses);
    let lines = [said(a), said(b)];
    let only =
        |one: &[String], other: &[String]| changed(other, one, |line| line).gained.into_iter().cloned().collect();
    let moved = match (&a.lives, &b.lives) {
        (Some(before), Some(now)) => (changed(before, now, spot).gained.len(), now.len()),
        _ => (0, 0),
    };
    Difference {
        measures: measures(a, b),
        ties: changed(&a.ties, &b.ties, |tie| (&tie.body, &tie.value, &tie.over, &tie.kind)),
        refusals: changed(&a.refusals, &b.refusals, |it| (&it.body, &it.value, &it.over, &it.reason)),
        rules: uses(a.rules.iter().map(rule), b.rules.iter().map(rule)),
        is_reordered: kernels.is_empty() && !steps(a).map(|step| &step.label).eq(steps(b).map(|step| &step.label)),
        kernels,
        at_peak: changed(&a.live_at_peak, &b.live_at_peak, |live| (&live.values, live.bytes)),
        gained_lines: only(&lines[1], &lines[0]),
        lost_lines: only(&lines[0], &lines[1]),
        moved,
    }
}

fn measures(a: &Kept, b: &Kept) -> Vec<Measure> {
    let mut measures = Vec::new();
    let mut measure = |name: &str, field: &str, of: &dyn Fn(&Kept) -> Option<u64>| {
        let (a, b) = (of(a), of(b));
        if a.is_some() || b.is_some() {
            measures.push(Measure { name: name.to_string(), field: field.to_string(), a, b });
        }
    };
    measure("ops", "source_ops", &|it| Some(it.source_ops));
    measure("steps", "kernels", &|it| Some(it.kernels));
    measure("arena", "arena_bytes", &|it| Some(it.arena_bytes));
    measure("lower bound", "lower_bound_bytes", &|it| Some(it.lower_bound_bytes));
    measure("not in place", "arena_bytes_without_inplace", &|it| Some(it.arena_bytes_without_inplace));
    measure("not emplaced", "arena_bytes_without_emplacement", &|it| it.arena_bytes_without_emplacement);
    measure("not reordered", "arena_bytes_without_order", &|it| it.arena_bytes_without_order);
    measure("not recomputed", "arena_bytes_without_rematerialisation", &|it| it.arena_bytes_without_rematerialisation);
    measure("not shared", "arena_bytes_unshared", &|it| it.arena_bytes_unshared);
    measure("as written", "fallback_arena_bytes", &|it| it.fallback_arena_bytes);
    measure("weights", "weights_bytes", &|it| Some(it.weights_bytes));
    let mut classes: Vec<&str> = a.classes().map(|(class, _)| class).collect();
    for (class, _) in b.classes() {
        if !a.peak.get(class).is_some_and(Value::is_u64) {
            classes.push(class);
        }
    }
    for class in classes {
        let of = |it: &Kept| it.peak.get(class).and_then(Value::as_u64);
        measure(&format!("peak, {class}"), &format!("peak.{class}"), &of);
    }
    measures
}

/// The steps of the program and its bodies.
fn steps(kept: &Kept) -> impl Iterator<Item = &Step> {
    kept.steps.iter().chain(kept.bodies.iter().flat_map(|body| &body.steps))
}

/// What a report says in whole lines.
fn said(kept: &Kept) -> Vec<String> {
    let aliasing = kept.aliasing();
    let mut lines: Vec<String> = aliasing.lines().into_iter().map(|line| line.join(" ")).collect();
    if aliasing.pairs > 0 {
        lines.push(aliasing.otherwise());
    }
    lines.extend(kept.notes.iter().cloned());
    lines
}

/// What a life is, where and when.
fn spot(life: &Life) -> (&Vec<String>, u64, u64, u64, u64) {
    (&life.values, life.bytes, life.offset, life.first_step, life.last_step)
}

/// What only one list has; entries are the same when their keys are, and each counts once.
fn changed<'a, T, K: Ord>(a: &'a [T], b: &'a [T], key: impl Fn(&'a T) -> K) -> Changed<'a, T> {
    let without = |all: &'a [T], others: &'a [T]| -> Vec<&'a T> {
        let mut counts: BTreeMap<K, usize> = BTreeMap::new();
        for other in others {
            *counts.entry(key(other)).or_default() += 1;
        }
        let is_new = |it: &&'a T| match counts.get_mut(&key(it)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        all.iter().filter(is_new).collect()
    };
    Changed { gained: without(b, a), lost: without(a, b) }
}

/// The names whose numbers differ.
fn uses<'a>(a: impl Iterator<Item = (&'a str, u64)>, b: impl Iterator<Item = (&'a str, u64)>) -> Uses<'a> {
    let mut uses = Uses::new();
    for (name, number) in a {
        let entry = uses.entry(name).or_default();
        entry.0 = entry.0.saturating_add(number);
    }
    for (name, number) in b {
        let entry = uses.entry(name).or_default();
        entry.1 = entry.1.saturating_add(number);
    }
    uses.retain(|_, (a, b)| a != b);
    uses
}

/// `+2,848`, `-64`, `0`.
fn signed(a: u64, b: u64) -> String {
    match b.checked_sub(a) {
        Some(0) => "0".to_string(),
        Some(more) => format!("+{}", grouped(more)),
        None => format!("-{}", grouped(a - b)),
    }
}

/// `+16.6 %`; nothing where there was nothing or nothing changed.
fn percent(a: u64, b: u64) -> String {
    if a == 0 || a == b { String::new() } else { format!("{:+.1} %", 100.0 * (b as f64 - a as f64) / a as f64) }
}

impl Difference<'_> {
    /// Whether nothing that is compared differs.
    pub fn is_empty(&self) -> bool {
        let Difference { measures, ties, refusals, rules, kernels, at_peak, .. } = self;
        let lists = [&ties.gained, &ties.lost].iter().all(|list| list.is_empty())
            && [&refusals.gained, &refusals.lost].iter().all(|list| list.is_empty())
            && [&at_peak.gained, &at_peak.lost].iter().all(|list| list.is_empty());
        let lines = self.gained_lines.is_empty() && self.lost_lines.is_empty();
        let numbers = measures.iter().all(|measure| measure.a == measure.b);
        numbers && lists && lines && rules.is_empty() && kernels.is_empty() && !self.is_reordered && self.moved.0 == 0
    }

    /// For people: the numbers side by side, then what changed, list by list. `a` and `b` are what the sides are called.
    pub fn text(&self, a: &str, b: &str) -> String {
        let mut text = format!("A  {a}\nB  {b}\n\n");
        let mut table = Table::new(&[false, true, true, true, true]);
        table.row(["", "A", "B", "B - A", ""].map(String::from));
        for Measure { name, a, b, .. } in &self.measures {
            let shown = |number: &Option<u64>| number.map_or_else(|| "-".to_string(), grouped);
            let (change, ratio) = match (*a, *b) {
                (Some(a), Some(b)) => (signed(a, b), percent(a, b)),
                _ => (String::new(), String::new()),
            };
            table.row([name.clone(), shown(a), shown(b), change, ratio]);
        }
        table.print(&mut text);
        if self.is_empty() {
            text.push_str("\nno difference\n");
            return text;
        }
        let tie = |tie: &&Tie| {
            let value = named(tie.body.as_ref(), &tie.value);
            vec![value, format!("in {}", tie.over), grouped(tie.bytes), tie.kind.clone(), tie.because.clone()]
        };
        let refusal = |it: &&Refusal| {
            let value = named(it.body.as_ref(), &it.value);
            vec![value, format!("in {}", it.over), grouped(it.bytes), it.reason.clone(), it.because.clone()]
        };
        let live = |live: &&Live| vec![grouped(live.bytes), live.values.join(" = ")];
        let line = |line: &String| vec![line.clone()];
        const SHARING: &[bool] = &[false, false, true, false, false];
        list("tie gained", SHARING, self.ties.gained.iter().map(tie), &mut text);
        list("tie lost", SHARING, self.ties.lost.iter().map(tie), &mut text);
        list("refusal gained", SHARING, self.refusals.gained.iter().map(refusal), &mut text);
        list("refusal lost", SHARING, self.refusals.lost.iter().map(refusal), &mut text);
        counts("rewrites", &self.rules, &mut text);
        counts("kernels", &self.kernels, &mut text);
        if self.is_reordered {
            text.push_str("\nthe same kernels run in another order\n");
        }
        list("piece new at the peak", &[true, false], self.at_peak.gained.iter().map(live), &mut text);
        list("piece gone from the peak", &[true, false], self.at_peak.lost.iter().map(live), &mut text);
        list("note gained", &[false], self.gained_lines.iter().map(line), &mut text);
        list("note lost", &[false], self.lost_lines.iter().map(line), &mut text);
        if let (moved @ 1.., all) = self.moved {
            text.push_str(&format!("\n{} of {} of the arena at another place or time\n", moved, count(all, "piece")));
        }
        text
    }

    /// The same for programs.
    pub fn json(&self, a: &str, b: &str) -> Value {
        let tie = |tie: &&Tie| {
            json!({
                "body": tie.body,
                "value": tie.value,
                "over": tie.over,
                "kind": tie.kind,
                "bytes": tie.bytes,
                "because": tie.because,
            })
        };
        let refusal = |it: &&Refusal| {
            json!({
                "body": it.body,
                "value": it.value,
                "over": it.over,
                "reason": it.reason,
                "bytes": it.bytes,
                "because": it.because,
            })
        };
        let live = |live: &&Live| json!({ "values": live.values, "bytes": live.bytes });
        let measures: Map<String, Value> = self
            .measures
            .iter()
            .map(|measure| (measure.field.clone(), json!({ "a": measure.a, "b": measure.b })))
            .collect();
        json!({
            "schema": DIFF_SCHEMA,
            "a": a,
            "b": b,
            "same": self.is_empty(),
            "measures": measures,
            "ties": both(&self.ties, tie),
            "refusals": both(&self.refusals, refusal),
            "rules": used(&self.rules),
            "kernels": used(&self.kernels),
            "reordered": self.is_reordered,
            "live_at_peak": both(&self.at_peak, live),
            "lines": { "gained": self.gained_lines, "lost": self.lost_lines },
            "pieces_moved": self.moved.0,
        })
    }
}

fn named(body: Option<&String>, value: &str) -> String {
    body.map_or_else(|| value.to_string(), |body| format!("{body} / {value}"))
}

fn both<T>(changed: &Changed<'_, T>, shown: impl Fn(&&T) -> Value) -> Value {
    let list = |list: &[&T]| list.iter().map(&shown).collect::<Vec<_>>();
    json!({ "gained": list(&changed.gained), "lost": list(&changed.lost) })
}

fn used(uses: &Uses<'_>) -> Map<String, Value> {
    uses.iter().map(|(name, (a, b))| ((*name).to_string(), json!({ "a": a, "b": b }))).collect()
}

/// A list with its title, which begins with what it counts, if it is not empty. `right` says which columns are numbers.
fn list(title: &str, right: &'static [bool], rows: impl ExactSizeIterator<Item = Vec<String>>, text: &mut String) {
    let number = rows.len();
    if number == 0 {
        return;
    }
    let (what, rest) = title.split_once(' ').unwrap_or((title, ""));
    text.push_str(&format!("\n{} {rest}\n", count(number, what)));
    let mut table = Table::new(right);
    rows.take(MOST_LISTED).for_each(|row| table.row(row));
    table.print(text);
    if number > MOST_LISTED {
        text.push_str(&format!("  and {} more\n", number - MOST_LISTED));
    }
}

fn counts(title: &str, uses: &Uses<'_>, text: &mut String) {
    if uses.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}\n"));
    let mut table = Table::new(&[false, true, true, true]);
    for (name, &(a, b)) in uses.iter().take(MOST_LISTED) {
        table.row([(*name).to_string(), grouped(a), grouped(b), signed(a, b)]);
    }
    table.print(text);
    if uses.len() > MOST_LISTED {
        text.push_str(&format!("  and {} more\n", uses.len() - MOST_LISTED));
    }
}
