//! The report for people and for version control: aligned columns, one fact a line.

use super::words::{self, count, grouped, proof, reason, size};
use super::{Decisions, Part, live_at_peak};
use crate::place::{OrderStatus, Refused, Tied};
use crate::types::InputMode;

/// The widest a column of names grows; longer names push their line, not the table.
const MAX_COLUMN: usize = 36;

/// Lines under a heading, their columns aligned. `right` says which columns are numbers.
pub(super) struct Table {
    right: &'static [bool],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(right: &'static [bool]) -> Table {
        Table { right, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn print(&self, text: &mut String) {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).filter(|&width| width <= MAX_COLUMN).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (column, cell) in row.iter().enumerate() {
                let width = widths.get(column).copied().unwrap_or(0);
                line.push(' ');
                if self.right.get(column).copied().unwrap_or(false) {
                    line.push_str(&format!("{cell:>width$}"));
                } else {
                    line.push_str(&format!("{cell:<width$}"));
                }
                line.push(' ');
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
}

/// The whole report.
pub fn text(decisions: &Decisions) -> String {
    let mut text = String::new();
    header(decisions, &mut text);
    memory(decisions, &mut text);
    ties(decisions, &mut text);
    refusals(decisions, &mut text);
    assumptions(decisions, &mut text);
    rules(decisions, &mut text);
    peak(decisions, &mut text);
    actions(decisions, &mut text);
    bodies(decisions, &mut text);
    notes(decisions, &mut text);
    printable(&text)
}

/// Names come from the model; what would move a terminal's cursor is written out.
fn printable(text: &str) -> String {
    let is_odd = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_odd) {
        return text.to_string();
    }
    text.chars().map(|c| if is_odd(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn header(decisions: &Decisions, text: &mut String) {
    let planned = decisions.planned;
    let graph = &planned.placed.graph;
    text.push_str(&format!(
        "{}: {} in {}, weights {}\n",
        if graph.name.is_empty() { "program" } else { &graph.name },
        count(graph.source_ops, "op"),
        count(decisions.steps(), "step"),
        size(planned.weights_bytes),
    ));
}

fn memory(decisions: &Decisions, text: &mut String) {
    let planned = decisions.planned;
    let peak = decisions.peak();
    text.push_str("\nmemory\n");
    let mut table = Table::new(&[false, true, true, false]);
    let mut line = |name: &str, bytes: u64, said: String| {
        table.row([name.to_string(), grouped(bytes), size(bytes), said]);
    };
    let state = peak.state - planned.weights_bytes;
    line("state", peak.state, words::state(planned.weights_bytes, state, decisions.initial_bytes()));
    line("saved", peak.saved, "kept for the backward pass".into());
    line("temporary", peak.temporary, "the arena".into());
    line("peak", peak.state + peak.saved + peak.temporary, "all of it".into());
    table.print(text);

    text.push_str("\narena\n");
    let mut table = Table::new(&[false, true, true, false]);
    let mut line = |name: &str, bytes: u64, said: String| {
        table.row([name.to_string(), grouped(bytes), size(bytes), said]);
    };
    let (arena, bound) = (planned.arena_bytes, planned.lower_bound_bytes);
    line("planned", arena, format!("{}; {}", order(decisions), count(planned.lives.len(), "buffer")));
    let ratio = if bound == 0 { 1.0 } else { arena as f64 / bound as f64 };
    let verdict = if arena == bound { "reached" } else { "largest sum of live bytes" };
    line("lower bound", bound, format!("ratio {ratio:.3}, {verdict}"));
    for (name, without, what) in words::without(decisions.savings) {
        line(name, without, words::saved(arena, without, what));
    }
    line("not shared", planned.unshared_bytes, "every buffer its own bytes".into());
    if let Some(bytes) = decisions.aliasing.fallback_arena_bytes() {
        line("as written", bytes, "the program as written, for inputs that share bytes".into());
    }
    table.print(text);
}

fn order(decisions: &Decisions) -> String {
    let placed = &decisions.planned.placed;
    let status = match placed.order_status {
        OrderStatus::Optimal => "order optimal".to_string(),
        OrderStatus::Bounded { lower_bound } => format!("order bounded, none below {}", grouped(lower_bound)),
        OrderStatus::Heuristic { lower_bound } => format!("order by heuristics, none below {}", grouped(lower_bound)),
    };
    match placed.source_peak_bytes {
        Some(source) if source > placed.peak_bytes => format!("{status} (as written {})", grouped(source)),
        _ => status,
    }
}

fn ties(decisions: &Decisions, text: &mut String) {
    let ties: Vec<(Part, &Tied)> =
        decisions.parts().flat_map(|part| part.planned.placed.ties.iter().map(move |tie| (part, tie))).collect();
    let total: u64 = ties.iter().map(|(_, tie)| tie.bytes).sum();
    text.push_str(&format!("\n{}, {} bytes\n", count(ties.len(), "tie"), grouped(total)));
    let mut table = Table::new(&[false, false, true, false, false, false]);
    for (part, tie) in ties {
        let kind = if tie.requested { format!("{}*", tie.kind.name()) } else { tie.kind.name().to_string() };
        table.row([
            part.named(&tie.value),
            format!("in {}", tie.over),
            grouped(tie.bytes),
            kind,
            label(&tie.step),
            proof(tie, &part.inputs()),
        ]);
    }
    table.print(text);
}

fn refusals(decisions: &Decisions, text: &mut String) {
    let refusals: Vec<(Part, &Refused)> =
        decisions.parts().flat_map(|part| part.planned.placed.refusals.iter().map(move |it| (part, it))).collect();
    let total: u64 = refusals.iter().map(|(_, refused)| refused.bytes).sum();
    text.push_str(&format!("\n{}, {} bytes\n", count(refusals.len(), "refusal"), grouped(total)));
    let mut table = Table::new(&[false, false, true, false, false, false]);
    for (part, refused) in refusals {
        let mut said = reason(refused);
        if let Some(hint) = refused.hint {
            said.push_str(&format!("; {hint}"));
        }
        table.row([
            part.named(&refused.value),
            format!("in {}", refused.over),
            grouped(refused.bytes),
            refused.reason.name().to_string(),
            label(&refused.step),
            said,
        ]);
    }
    table.print(text);
}

fn assumptions(decisions: &Decisions, text: &mut String) {
    let aliasing = decisions.aliasing;
    if aliasing.pairs == 0 {
        return;
    }
    text.push_str(&format!("\n{} of inputs assumed distinct\n", count(aliasing.pairs, "pair")));
    let mut table = Table::new(&[false, false, false]);
    aliasing.lines().into_iter().for_each(|line| table.row(line));
    table.print(text);
    text.push_str(&format!("  {}\n", aliasing.otherwise()));
}

/// The op of a step's name, which begins with the value it writes.
fn label(step: &str) -> String {
    step.split_once(" = ").map_or(step, |(_, label)| label).to_string()
}

fn rules(decisions: &Decisions, text: &mut String) {
    let total: usize = decisions.rewrites.rules.values().sum();
    text.push_str(&format!("\n{}\n", count(total, "rewrite")));
    let mut table = Table::new(&[false, true]);
    for (rule, uses) in &decisions.rewrites.rules {
        table.row([(*rule).to_string(), grouped(*uses as u64)]);
    }
    table.print(text);
}

fn peak(decisions: &Decisions, text: &mut String) {
    let planned = decisions.planned;
    let live = live_at_peak(decisions);
    let Some(&node) = planned.placed.order.get(planned.peak_step) else { return };
    text.push_str(&format!(
        "\nlive at the peak, step {} of {}: {}\n",
        planned.peak_step,
        planned.placed.order.len(),
        planned.placed.graph.nodes[node].label
    ));
    let mut table = Table::new(&[false, true, true, false, false]);
    for life in live {
        let steps = format!("steps {}..{}", life.lower, life.upper);
        let from = life.from.map_or(String::new(), |(label, location)| format!("{label}, {location}"));
        table.row([life.names.join(" = "), grouped(life.bytes), format!("at {}", grouped(life.offset)), steps, from]);
    }
    table.print(text);
}

/// What was computed twice, and what the user could do.
fn actions(decisions: &Decisions, text: &mut String) {
    let savings = decisions.savings;
    if !savings.recomputed.is_empty() {
        text.push_str(&format!("\n{} computed twice\n", count(savings.recomputed.len(), "value")));
        let mut table = Table::new(&[false, true, false, true, false]);
        for again in &savings.recomputed {
            let work = [(again.flops, "flops"), (again.bytes, "bytes written")];
            let [flops, bytes] = work.map(|(number, what)| (grouped(number), what.to_string()));
            table.row([again.step.clone(), flops.0, flops.1, bytes.0, bytes.1]);
        }
        table.print(text);
    }
    if !savings.actions.is_empty() {
        text.push_str("\nto need less\n");
        let mut table = Table::new(&[false, true, true, false]);
        for action in &savings.actions {
            let (what, cost) = words::action(action);
            table.row([what, format!("-{}", grouped(action.saves_bytes)), grouped(action.arena_bytes), cost]);
        }
        table.print(text);
    }
}

/// What branches and loops run, and the scratch it is for them.
fn bodies(decisions: &Decisions, text: &mut String) {
    let bodies = decisions.parts().filter_map(|part| Some((part.body?, part.planned)));
    let bodies: Vec<_> = bodies.collect();
    if bodies.is_empty() {
        return;
    }
    text.push_str(&format!("\n{}\n", count(bodies.len(), "body")));
    let mut table = Table::new(&[false, false, true, false, false]);
    for (name, planned) in bodies {
        let carried = planned.placed.graph.inputs.iter().filter(|input| input.mode == InputMode::InOut).count();
        table.row([
            name.to_string(),
            count(planned.placed.order.len(), "step"),
            grouped(planned.arena_bytes),
            "arena".to_string(),
            format!("{carried} carried"),
        ]);
    }
    table.print(text);
}

fn notes(decisions: &Decisions, text: &mut String) {
    if decisions.notes.is_empty() {
        return;
    }
    text.push_str("\nnotes\n");
    for note in decisions.notes {
        text.push_str(&format!("  {note}\n"));
    }
}
