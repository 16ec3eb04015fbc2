//! One value, in a paragraph: what the source says of it, where it lives, who shares its bytes, and why.

use situ_runtime::executable::Space;

use super::origin::{absorbed, origin};
use super::words::{evidence, grouped, proof, reason, size, unblock};
use super::{Decisions, Part, is_named};
use crate::alias;
use crate::ir::{Graph, ValueId};
use crate::lower::KernelNode;
use crate::place::Condition;
use crate::plan::{Owner, Planned};
use crate::rewrite::{self, Freedom, RewriteReport};

/// What became of the values of a source program.
#[derive(Clone, Copy, Debug)]
pub struct Became<'a> {
    pub functional: &'a Graph,
    /// For each value of the source the value of the functional form that holds it when it is last read.
    pub values: &'a [Option<ValueId>],
}

/// Explains the value of `source` called `name` (with or without `%`): its bytes in the source, then what became of it. Also
/// takes the name of a value that the compiler made, such as a version of a storage. `None` when there is no such value.
pub fn explain(source: &Graph, became: Became<'_>, decisions: &Decisions, name: &str) -> Option<String> {
    let values = (0..source.values.len() as u32).map(ValueId);
    let Some(value) = values.into_iter().find(|&value| is_named(&source.display(value), name)) else {
        return placement(decisions, name);
    };
    let mut text = origin(&alias::analyze(source), value);
    let last = became.values.get(value.index()).copied().flatten();
    let made = last.map_or_else(|| source.display(value), |last| became.functional.display(last));
    if made != source.display(value) {
        text.push_str(&format!("In functional form it is {made} when it is last read.\n"));
    }
    if let Some(sentence) = decisions.aliasing.about(name) {
        text.push_str(&sentence);
        text.push('\n');
    }
    let placed = placement(decisions, &made).or_else(|| placement(decisions, name));
    text.push_str(&placed.unwrap_or_else(|| absorbed(source, decisions, value)));
    Some(text)
}

/// Where the value called `name` lives and why; `None` when it has no bytes of its own.
pub fn placement(decisions: &Decisions, name: &str) -> Option<String> {
    let told: String = decisions.parts().map(|part| placement_in(part, decisions.rewrites, name)).collect();
    (!told.is_empty()).then_some(told)
}

/// What the program or one of its bodies has to say of a value.
fn placement_in(part: Part, rewrites: &RewriteReport, name: &str) -> String {
    let planned = part.planned;
    let placed = &planned.placed;
    let graph = &placed.graph;
    let mut text = String::new();
    let mut said = |sentence: String| {
        text.push_str(&sentence);
        text.push('\n');
    };
    let buffers: Vec<usize> =
        (0..graph.buffers.len()).filter(|&buffer| is_named(&graph.buffers[buffer].name, name)).collect();
    if let (Some(body), false) = (part.body, buffers.is_empty()) {
        said(format!("In {body}:"));
    }
    for &buffer in &buffers {
        let it = &graph.buffers[buffer];
        let place = planned.places[buffer];
        let space = match place.space {
            Space::Arena => "the arena".to_string(),
            Space::Weights => "the weights".to_string(),
            Space::Input(input) if part.body.is_some() => {
                format!("what is lent as {}", graph.inputs[input as usize].name)
            }
            Space::Input(input) => format!("the bytes of input {}", graph.inputs[input as usize].name),
        };
        said(format!("{} is {}, {} bytes ({}).", it.name, it.ty, grouped(it.bytes()), size(it.bytes())));
        match placed.elided[buffer] {
            Some(holder) if graph.buffers[holder.index()].name == it.name => {
                said("It was copied in the source; the copy is gone.".into());
            }
            Some(holder) => said(format!(
                "It has no bytes of its own: it is {} {}.",
                if graph.buffers[holder.index()].bytes() == it.bytes() { "the content of" } else { "a part of" },
                graph.buffers[holder.index()].name
            )),
            None => {}
        }
        let root = placed.homes[buffer].root;
        let life = planned.lives.iter().find(|life| life.owner == Owner::Root(root));
        let when = life.map_or(String::new(), |life| format!(", in use in steps {}..{}", life.lower, life.upper));
        let offset = place.offset + placed.homes[buffer].offset;
        said(format!("It lies at {} of {space}{when}.", grouped(offset)));
        let shares: Vec<&str> = (0..graph.buffers.len())
            .filter(|&other| other != buffer && placed.homes[other].root == root && is_distinct(planned, other))
            .map(|other| graph.buffers[other].name.as_str())
            .collect();
        if !shares.is_empty() {
            said(format!("The same bytes hold {} at other times.", shares.join(", ")));
        }
    }
    let inputs: Vec<String> = graph.inputs.iter().map(|input| input.name.clone()).collect();
    for tie in &placed.ties {
        if is_named(&tie.value, name) {
            said(format!("Tied: it has the bytes of {} ({}): {}.", tie.over, tie.kind.name(), proof(tie, &inputs)));
            for condition in Condition::ALL {
                said(format!("  {}: {}.", condition.name(), evidence(tie, condition, &inputs)));
            }
        } else if is_named(&tie.over, name) {
            said(format!("Its bytes go to {} at {}.", tie.value, tie.step));
        }
    }
    for refused in &placed.refusals {
        let subject = if is_named(&refused.value, name) {
            format!("Not in place: it could have had the bytes of {}, but", refused.over)
        } else if is_named(&refused.over, name) {
            format!("{} could have had its bytes, but", refused.value)
        } else {
            continue;
        };
        said(format!(
            "{subject} {}; {}, {} bytes.",
            reason(refused),
            format_args!("{} ({})", refused.reason.name(), refused.blame),
            grouped(refused.bytes)
        ));
        said(format!("To unblock it: {}.", unblock(refused)));
    }
    for node in placed.order.iter().map(|&node| &graph.nodes[node]) {
        if node.writes.iter().any(|write| buffers.contains(&(write.access.value as usize))) {
            made(node, rewrites, &mut said);
        }
    }
    text
}

/// What the kernel that writes a value was made of, and by which rules, each with what it made of what.
fn made(node: &KernelNode, rewrites: &RewriteReport, said: &mut impl FnMut(String)) {
    if !node.location.text.is_empty() {
        said(format!("Computed by {}, of: {}.", node.label, node.location.text));
    }
    if node.rules.is_empty() {
        return;
    }
    said(format!("Rules that led to it: {}.", node.rules.join(", ")));
    let Some(derivations) = rewrites.derivations.as_deref() else { return };
    for &made in &node.origins {
        for (rule, from, to) in derivations.chain(made) {
            said(format!("  {from} = {to}  ({rule}{})", freedom(rule)));
        }
    }
    if let Some(&made) = node.origins.first()
        && derivations.repeats(made) > 1
    {
        said(format!("  The same was found in {} places of the program.", derivations.repeats(made)));
    }
}

/// What a rule may change, if it may change anything.
fn freedom(rule: &str) -> String {
    match rewrite::rules::all().iter().find(|other| other.name == rule).map(|rule| rule.freedom) {
        None | Some(Freedom::Exact) => String::new(),
        Some(freedom) => format!(", {}", freedom.name()),
    }
}

/// Whether a buffer is a value of its own, and not another name for one.
fn is_distinct(planned: &Planned, buffer: usize) -> bool {
    planned.placed.elided[buffer].is_none()
}
