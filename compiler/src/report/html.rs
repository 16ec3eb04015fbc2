//! The report as one page: everything the text says and the drawing, for a browser, a phone or paper.
//!
//! The page needs nothing from elsewhere and runs no script, and says so to the browser. It is well-formed XML too.

use std::fmt::Write;

use super::chart::{Chart, NoChart};
use super::kept::{Action, Body, Kept, Order, Recomputed, Refusal, Tie};
use super::markup::escaped;
use super::svg;
use super::words::{self, count, grouped, size};
use crate::savings::Savings;

/// The most bodies of branches and loops whose arenas are drawn.
const MOST_DRAWN: usize = 16;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 1rem; max-width: 78rem; font: 16px/1.5 system-ui, sans-serif;
  color: #222; background: #fff; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
code, td.name { font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: 0.92em; }
figure { margin: 1rem 0; }
figure svg { width: 100%; height: auto; border: 1px solid #ccc; }
figcaption, .aside { color: #666; font-size: 0.9em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92em; }
th, td { padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #ccc; }
tr + tr td { border-top: 1px solid #eee; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
summary { cursor: pointer; }
dl { margin: 0.3rem 0; } dt { font-weight: 600; } dd { margin-left: 1.5rem; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818; }
  h2, th, figure svg { border-color: #444; }
  tr + tr td { border-color: #2c2c2c; }
  figcaption, .aside { color: #999; }
}
@media print {
  body { color: #000; background: #fff; max-width: none; font-size: 10pt; }
  .wide { overflow: visible; }
  h2 { break-after: avoid; }
  tr, figure { break-inside: avoid; }
}
";

/// The whole page.
pub(super) fn html(kept: &Kept) -> Result<String, NoChart> {
    let name = if kept.name.is_empty() { "program" } else { &kept.name };
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <title>{0}: memory</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
        escaped(name)
    );
    let _ = writeln!(
        page,
        "<p>{} in {}, weights {}.</p>",
        count(number(kept.source_ops), "op"),
        count(number(kept.kernels), "step"),
        size(kept.weights_bytes)
    );
    memory(kept, &mut page);
    let chart = Chart::of(kept)?;
    heading("Where everything lies", &mut page);
    figure(
        &chart,
        "Point at a piece to see what is in it, which step writes it, and why it is or is not in place.",
        &mut page,
    );
    ties(&kept.ties, &mut page);
    refusals(&kept.refusals, &mut page);
    assumptions(kept, &mut page);
    rules(kept, &mut page);
    peak(kept, &mut page);
    bodies(kept, &mut page)?;
    steps(&chart, &mut page);
    if !kept.notes.is_empty() {
        heading("Notes", &mut page);
        let notes: String = kept.notes.iter().map(|note| format!("<li>{}</li>\n", escaped(note))).collect();
        let _ = writeln!(page, "<ul>\n{notes}</ul>");
    }
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(page)
}

fn number(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn heading(said: &str, page: &mut String) {
    let _ = writeln!(page, "<h2>{}</h2>", escaped(said));
}

fn figure(chart: &Chart<'_>, caption: &str, page: &mut String) {
    let _ = writeln!(page, "<figure>\n{}<figcaption>{}</figcaption>\n</figure>", svg::svg(chart), escaped(caption));
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    Name,
    Number,
    Words,
}

/// A cell: text, or markup that is made of escaped text.
enum Cell {
    Text(String),
    Markup(String),
}

fn table(columns: &[(&str, Column)], rows: impl IntoIterator<Item = Vec<Cell>>, page: &mut String) {
    let class = |column: Column| match column {
        Column::Name => " class=\"name\"",
        Column::Number => " class=\"number\"",
        Column::Words => "",
    };
    page.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for (title, column) in columns {
        let class = if *column == Column::Number { class(*column) } else { "" };
        let _ = write!(page, "<th{class}>{}</th>", escaped(title));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for (cell, (_, column)) in row.iter().zip(columns) {
            let cell = match cell {
                Cell::Text(text) => escaped(text),
                Cell::Markup(markup) => markup.clone(),
            };
            let _ = write!(page, "<td{}>{cell}</td>", class(*column));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

fn memory(kept: &Kept, page: &mut String) {
    const BYTES: &[(&str, Column)] =
        &[("", Column::Words), ("bytes", Column::Number), ("", Column::Number), ("", Column::Words)];
    let line =
        |name: &str, bytes: u64, said: String| vec![text(name), text(grouped(bytes)), text(size(bytes)), text(said)];
    heading("Memory", page);
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut total = 0u64;
    for (class, bytes) in kept.classes() {
        total = total.saturating_add(bytes);
        let said = match class {
            "state" => {
                let updated = bytes.saturating_sub(kept.weights_bytes);
                words::state(kept.weights_bytes, updated, kept.initial_state_bytes)
            }
            "saved" => "kept for the backward pass".to_string(),
            "temporary" => "the arena".to_string(),
            _ => String::new(),
        };
        rows.push(line(class, bytes, said));
    }
    rows.push(line("peak", total, "all of it".into()));
    table(BYTES, rows, page);

    heading("Arena", page);
    let (arena, bound) = (kept.arena_bytes, kept.lower_bound_bytes);
    let lives = kept.lives.as_ref().map_or(0, Vec::len);
    let ratio = if bound == 0 { 1.0 } else { arena as f64 / bound as f64 };
    let verdict = if arena == bound { "reached" } else { "largest sum of live bytes" };
    let savings = Savings {
        without_inplace: kept.arena_bytes_without_inplace,
        without_emplacement: kept.arena_bytes_without_emplacement,
        without_order: kept.arena_bytes_without_order,
        without_rematerialisation: kept.arena_bytes_without_rematerialisation,
        ..Savings::default()
    };
    let mut rows = vec![
        line("planned", arena, format!("{}; {}", order(&kept.order), count(lives, "buffer"))),
        line("lower bound", bound, format!("ratio {ratio:.3}, {verdict}")),
    ];
    for (name, without, what) in words::without(&savings) {
        rows.push(line(name, without, words::saved(arena, without, what)));
    }
    if let Some(bytes) = kept.arena_bytes_unshared {
        rows.push(line("not shared", bytes, "every buffer its own bytes".into()));
    }
    if let Some(bytes) = kept.fallback_arena_bytes {
        rows.push(line("as written", bytes, "the program as written, for inputs that share bytes".into()));
    }
    table(BYTES, rows, page);
}

fn order(order: &Order) -> String {
    let none_below = || format!("none below {}", grouped(order.lower_bound_bytes));
    let status = match order.status.as_str() {
        "optimal" => "order optimal".to_string(),
        "heuristic" => format!("order by heuristics, {}", none_below()),
        status => format!("order {status}, {}", none_below()),
    };
    match order.source_peak_bytes {
        Some(source) if source > order.peak_bytes => format!("{status} (as written {})", grouped(source)),
        _ => status,
    }
}

/// `loop %a / %t`.
fn named(body: Option<&String>, value: &str) -> Cell {
    text(body.map_or_else(|| value.to_string(), |body| format!("{body} / {value}")))
}

/// How many, and their bytes.
fn counted(number: usize, one: &str, bytes: impl Iterator<Item = u64>) -> String {
    format!("{}, {} bytes", count(number, one), grouped(bytes.fold(0, u64::saturating_add)))
}

fn ties(ties: &[Tie], page: &mut String) {
    heading(&counted(ties.len(), "tie", ties.iter().map(|tie| tie.bytes)), page);
    if ties.is_empty() {
        return;
    }
    let columns = [
        ("value", Column::Name),
        ("in the bytes of", Column::Name),
        ("bytes", Column::Number),
        ("kind", Column::Words),
        ("step", Column::Words),
        ("why it is safe", Column::Words),
    ];
    let row = |tie: &Tie| {
        let kind = if tie.requested { format!("{}, asked for", tie.kind) } else { tie.kind.clone() };
        let mut evidence = String::new();
        for (condition, said) in &tie.conditions {
            let _ = write!(evidence, "<dt>{}</dt><dd>{}</dd>", escaped(condition), escaped(said));
        }
        let why = match evidence.as_str() {
            "" => text(tie.because.clone()),
            _ => Cell::Markup(format!(
                "<details><summary>{}</summary><dl>{evidence}</dl></details>",
                escaped(&tie.because)
            )),
        };
        let (value, over) = (named(tie.body.as_ref(), &tie.value), text(tie.over.clone()));
        vec![value, over, text(grouped(tie.bytes)), text(kind), text(tie.step.clone()), why]
    };
    table(&columns, ties.iter().map(row), page);
}

fn refusals(refusals: &[Refusal], page: &mut String) {
    heading(&counted(refusals.len(), "refusal", refusals.iter().map(|refusal| refusal.bytes)), page);
    if refusals.is_empty() {
        return;
    }
    let columns = [
        ("value", Column::Name),
        ("not in the bytes of", Column::Name),
        ("bytes", Column::Number),
        ("reason", Column::Words),
        ("step", Column::Words),
        ("because", Column::Words),
    ];
    let row = |refusal: &Refusal| {
        let mut why = escaped(&refusal.because);
        for said in refusal.hint.iter().chain(Some(&refusal.unblock).filter(|said| !said.is_empty())) {
            let _ = write!(why, "<br/><span class=\"aside\">{}</span>", escaped(said));
        }
        let (value, over) = (named(refusal.body.as_ref(), &refusal.value), text(refusal.over.clone()));
        let (reason, step) = (text(refusal.reason.clone()), text(refusal.step.clone()));
        vec![value, over, text(grouped(refusal.bytes)), reason, step, Cell::Markup(why)]
    };
    table(&columns, refusals.iter().map(row), page);
}

fn assumptions(kept: &Kept, page: &mut String) {
    let aliasing = kept.aliasing();
    if aliasing.pairs == 0 {
        return;
    }
    heading(&format!("{} of inputs assumed distinct", count(aliasing.pairs, "pair")), page);
    let columns = [("input", Column::Name), ("why", Column::Words), ("", Column::Words)];
    let rows = aliasing.lines().into_iter().map(|line| line.into_iter().map(text).collect());
    table(&columns, rows, page);
    let _ = writeln!(page, "<p>{}.</p>", escaped(&aliasing.otherwise()));
}

fn rules(kept: &Kept, page: &mut String) {
    let total = kept.rules.values().fold(0, |sum: u64, uses| sum.saturating_add(*uses));
    heading(&count(number(total), "rewrite"), page);
    if !kept.rules.is_empty() {
        let columns = [("rule", Column::Name), ("uses", Column::Number)];
        table(&columns, kept.rules.iter().map(|(rule, uses)| vec![text(rule.clone()), text(grouped(*uses))]), page);
    }
}

fn peak(kept: &Kept, page: &mut String) {
    let Some(step) = kept.steps.get(number(kept.peak_step)) else { return };
    let (number, of) = (kept.peak_step, kept.steps.len());
    heading(&format!("Live at the peak, step {number} of {of}: {}", step.label), page);
    let columns =
        [("values", Column::Name), ("bytes", Column::Number), ("at", Column::Number), ("steps", Column::Number)];
    let columns = [&columns[..], &[("from", Column::Words)]].concat();
    let rows = kept.live_at_peak.iter().map(|live| {
        let steps = format!("{}..{}", live.first_step, live.last_step.saturating_add(1));
        let from = match (&live.label, &live.location) {
            (Some(label), Some(location)) => format!("{label}, {location}"),
            _ => String::new(),
        };
        let [bytes, offset] = [live.bytes, live.offset].map(grouped);
        vec![text(live.values.join(" = ")), text(bytes), text(offset), text(steps), text(from)]
    });
    table(&columns, rows, page);
    if !kept.recomputed.is_empty() {
        heading(&format!("{} computed twice", count(kept.recomputed.len(), "value")), page);
        let columns =
            [("step", Column::Name), ("flops again", Column::Number), ("bytes written again", Column::Number)];
        let row =
            |again: &Recomputed| vec![text(again.step.clone()), text(grouped(again.flops)), text(grouped(again.bytes))];
        table(&columns, kept.recomputed.iter().map(row), page);
    }
    if !kept.actions.is_empty() {
        heading("To need less", page);
        let columns =
            [("what", Column::Name), ("saves", Column::Number), ("arena", Column::Number), ("cost", Column::Words)];
        let row = |action: &Action| {
            let [saves, arena] = [action.saves_bytes, action.arena_bytes].map(grouped);
            vec![text(action.what.clone()), text(saves), text(arena), text(action.cost.clone())]
        };
        table(&columns, kept.actions.iter().map(row), page);
    }
}

fn bodies(kept: &Kept, page: &mut String) -> Result<(), NoChart> {
    if kept.bodies.is_empty() {
        return Ok(());
    }
    heading(&count(kept.bodies.len(), "body"), page);
    let columns =
        [("body", Column::Name), ("steps", Column::Number), ("arena", Column::Number), ("carried", Column::Number)];
    let row = |body: &Body| {
        let carried = body.ports.iter().filter(|port| port.mode == "inout").count();
        let steps = body.steps.len().to_string();
        vec![text(body.name.clone()), text(steps), text(grouped(body.arena_bytes)), text(carried.to_string())]
    };
    table(&columns, kept.bodies.iter().map(row), page);
    for body in kept.bodies.iter().filter(|body| body.arena_bytes > 0).take(MOST_DRAWN) {
        figure(&Chart::of_body(kept, body)?, "The scratch of the step that runs this body.", page);
    }
    Ok(())
}

fn steps(chart: &Chart<'_>, page: &mut String) {
    heading("Steps", page);
    let columns = [
        ("step", Column::Number),
        ("kernel", Column::Words),
        ("reads", Column::Name),
        ("writes", Column::Name),
        ("live bytes", Column::Number),
        ("workspace", Column::Number),
        ("from", Column::Name),
    ];
    let rows = chart.steps.iter().enumerate().map(|(number, step)| {
        vec![
            text(number.to_string()),
            text(step.label.clone()),
            text(step.reads.join(", ")),
            text(step.writes.join(", ")),
            text(grouped(chart.sums[number])),
            text(grouped(step.workspace_bytes)),
            text(step.location.clone()),
        ]
    });
    table(&columns, rows, page);
}
