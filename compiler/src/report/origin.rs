//! One value of the source, in a paragraph: what it is, which bytes it has, who shares and who writes them, and which step
//! it has become a part of.

use super::Decisions;
use crate::alias::{AliasDb, Observer, Relation};
use crate::ir::{Def, Graph, InstId, ValueId};

/// Most values named in one sentence; of more, the number of the others is said.
const MOST_NAMED: usize = 6;

/// What the source says of `value`.
pub(super) fn origin(aliases: &AliasDb<'_>, value: ValueId) -> String {
    let graph = aliases.graph();
    let mut text = String::new();
    let mut said = |sentence: String| {
        text.push_str(&sentence);
        text.push('\n');
    };
    let shown = graph.display(value);
    let ty = graph.ty(value);
    said(match graph.value(value).def {
        Def::Input(at) => format!("{shown} is a graph input, {ty}, {}.", graph.inputs[at as usize].mode.name()),
        Def::Constant(_) => format!("{shown} is a constant, {ty}."),
        Def::Param(..) => format!("{shown} is a parameter of a body, {ty}."),
        Def::Result(inst, _) => format!("{shown} is {ty}, made by `{}`{}.", call(graph, inst), line(graph, inst)),
    });
    let described = aliases.describe(value);
    said(format!("Its bytes: {}.", described.trim()));
    for sentence in sharers(aliases, value) {
        said(sentence);
    }
    match aliases.writers(value).as_slice() {
        [] => {}
        writers => {
            let touching = writers.iter().filter(|&&write| aliases.may_alias(graph.inst(write).operands[0], value));
            let writes: Vec<String> =
                touching.map(|&write| format!("`{}`{}", call(graph, write), line(graph, write))).collect();
            if !writes.is_empty() {
                said(format!("Written by {}.", listed(&writes)));
            }
        }
    }
    if let Def::Result(inst, _) = graph.value(value).def
        && graph.inst(inst).mutates
    {
        let observers: Vec<Observer> = aliases.observers_after(inst);
        let seen: Vec<String> = observers.iter().map(|&observer| aliases.describe_observer(observer)).collect();
        said(match seen.as_slice() {
            [] => "Nobody sees what it writes.".to_string(),
            seen => format!("What it writes is seen later: {}.", listed(seen)),
        });
    }
    text
}

/// Sentences about the values that have the same storage.
fn sharers(aliases: &AliasDb<'_>, value: ValueId) -> Vec<String> {
    let graph = aliases.graph();
    let (mut same, mut part, mut whole, mut some, mut unknown, mut apart) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    for other in (0..graph.values.len() as u32).map(ValueId) {
        if other == value || aliases.storage(other) != aliases.storage(value) {
            continue;
        }
        let name = graph.display(other);
        match aliases.relation(value, other) {
            Relation::Identical => same.push(name),
            Relation::Permuted => same.push(format!("{name} (in another order or shape)")),
            Relation::Around => part.push(name),
            Relation::Inside => whole.push(name),
            Relation::Partial(witness) => some.push(format!("{name} ({})", Relation::Partial(witness))),
            Relation::Unknown(why) => unknown.push(format!("{name} ({why})")),
            Relation::Disjoint(why) => apart.push(format!("{name} ({why})")),
        }
    }
    let mut sentences = Vec::new();
    for (names, lead) in [
        (same, "The same bytes:"),
        (whole, "A part of:"),
        (part, "Parts of it:"),
        (some, "Shares some bytes with:"),
        (unknown, "May share bytes with:"),
        (apart, "Of the same storage, but apart:"),
    ] {
        if !names.is_empty() {
            sentences.push(format!("{lead} {}.", listed(&names)));
        }
    }
    sentences
}

/// The steps in which the instruction that makes `value` takes part, when the value has no bytes of its own there.
pub(super) fn absorbed(source: &Graph, decisions: &Decisions, value: ValueId) -> String {
    let Def::Result(inst, _) = source.value(value).def else {
        return "No step reads it.\n".to_string();
    };
    let made_by = &source.inst(inst).location.text;
    let placed = &decisions.planned.placed;
    let steps: Vec<String> = placed
        .order
        .iter()
        .map(|&node| &placed.graph.nodes[node])
        .filter(|node| !made_by.is_empty() && node.location.text.split(" + ").any(|text| text == made_by))
        .filter_map(|node| {
            let write = node.writes.first()?;
            Some(format!("{} ({})", placed.graph.buffer(write.access.value).name, node.label))
        })
        .collect();
    match steps.as_slice() {
        [] => "It has no bytes of its own: it was rewritten away, or is a view that its readers look through.\n"
            .to_string(),
        steps => format!("It has no bytes of its own: it is computed inside {}.\n", listed(steps)),
    }
}

/// `%y = relu_ %x`, or what the source says.
fn call(graph: &Graph, inst: InstId) -> String {
    let it = graph.inst(inst);
    if !it.location.text.is_empty() {
        return it.location.text.clone();
    }
    let results: Vec<String> = it.results.iter().map(|&result| graph.display(result)).collect();
    let operands: Vec<String> = it.operands.iter().map(|&operand| graph.display(operand)).collect();
    let mark = if it.mutates { "_" } else { "" };
    format!("{} = {}{mark} {}", results.join(", "), it.op.name(), operands.join(", "))
}

fn line(graph: &Graph, inst: InstId) -> String {
    match graph.inst(inst).location.line {
        0 => String::new(),
        line => format!(" (line {line})"),
    }
}

fn listed(names: &[String]) -> String {
    match names.len().checked_sub(MOST_NAMED) {
        Some(more @ 1..) => format!("{} and {more} more", names[..MOST_NAMED].join(", ")),
        _ => names.join(", "),
    }
}
