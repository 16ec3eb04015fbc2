//! The report for programs. `schema` changes when a field changes its meaning or goes away.

use serde_json::{Map, Value, json};
use situ_runtime::contract::Permission;

use super::{Decisions, Part, live_at_peak, lives, words};
use crate::place::{Before, Clear, Condition, OrderStatus, Proof, Root, Tied};
use crate::plan::Planned;
use crate::rematerialise::Recomputed;
use crate::savings::What;

/// Version of the fields below.
pub const SCHEMA: u32 = 1;

/// The whole report, as one object with a fixed order of fields.
pub fn json(decisions: &Decisions) -> Value {
    let planned = decisions.planned;
    let placed = &planned.placed;
    let graph = &placed.graph;
    let peak = decisions.peak();
    let rules: Map<String, Value> =
        decisions.rewrites.rules.iter().map(|(rule, uses)| ((*rule).to_string(), json!(uses))).collect();
    json!({
        "schema": SCHEMA,
        "name": graph.name,
        "source_ops": graph.source_ops,
        "kernels": decisions.steps(),
        "weights_bytes": planned.weights_bytes,
        "initial_state_bytes": decisions.initial_bytes(),
        "peak": { "state": peak.state, "saved": peak.saved, "temporary": peak.temporary },
        "arena_bytes": planned.arena_bytes,
        "lower_bound_bytes": planned.lower_bound_bytes,
        "arena_bytes_without_inplace": decisions.savings.without_inplace,
        "arena_bytes_without_emplacement": decisions.savings.without_emplacement,
        "arena_bytes_without_order": decisions.savings.without_order,
        "arena_bytes_without_rematerialisation": decisions.savings.without_rematerialisation,
        "arena_bytes_unshared": planned.unshared_bytes,
        "assumed_distinct": decisions.aliasing.json(),
        "fallback": decisions.aliasing.fallback_json(),
        "fallback_arena_bytes": decisions.aliasing.fallback_arena_bytes(),
        "threads": planned.threads,
        "order": order(decisions),
        "ties": each(decisions, |planned| &planned.placed.ties).map(|(part, tie)| json!({
            "body": part.body,
            "value": tie.value,
            "over": tie.over,
            "kind": tie.kind.name(),
            "step": tie.step,
            "bytes": tie.bytes,
            "requested": tie.requested,
            "because": words::proof(tie, &part.inputs()),
            "proof": proof(&tie.proof, &part),
            "conditions": conditions(tie, &part),
        })).collect::<Vec<_>>(),
        "refusals": each(decisions, |planned| &planned.placed.refusals).map(|(part, refused)| json!({
            "body": part.body,
            "value": refused.value,
            "over": refused.over,
            "kind": refused.kind.name(),
            "step": refused.step,
            "reason": refused.reason.name(),
            "condition": refused.reason.condition().name(),
            "because": words::reason(refused),
            "blame": refused.blame,
            "bytes": refused.bytes,
            "requested": refused.requested,
            "hint": refused.hint,
            "unblock": words::unblock(refused),
        })).collect::<Vec<_>>(),
        "rules": rules,
        "rewrite": {
            "kernels_before": decisions.rewrites.kernels_before,
            "kernels_after": decisions.rewrites.kernels_after,
            "bytes_moved_before": decisions.rewrites.bytes_before,
            "bytes_moved_after": decisions.rewrites.bytes_after,
            "regions": decisions.rewrites.regions,
            "distinct_regions": decisions.rewrites.unique_regions,
            "nodes": decisions.rewrites.nodes,
            "overflows": decisions.rewrites.overflows,
        },
        "peak_step": planned.peak_step,
        "live_at_peak": live_at_peak(decisions).iter().map(|life| json!({
            "values": life.names,
            "bytes": life.bytes,
            "offset": life.offset,
            "first_step": life.lower,
            "last_step": life.upper - 1,
            "label": life.from.map(|(label, _)| label),
            "location": life.from.map(|(_, location)| location.to_string()),
        })).collect::<Vec<_>>(),
        "recomputed": decisions.savings.recomputed.iter().map(recomputed).collect::<Vec<_>>(),
        "actions": decisions.savings.actions.iter().map(|action| {
            let (what, cost) = words::action(action);
            json!({
                "what": what,
                "cost": cost,
                "arena_bytes": action.arena_bytes,
                "saves_bytes": action.saves_bytes,
                "donate": match &action.what { What::Donate { input } => Some(input), What::Recompute(_) => None },
                "recompute": match &action.what { What::Recompute(it) => Some(recomputed(it)), What::Donate { .. } => None },
            })
        }).collect::<Vec<_>>(),
        "steps": steps(planned),
        "lives": lives::json(planned),
        "bodies": decisions.parts().filter_map(|part| Some((part.body?, part.planned))).map(|(name, planned)| json!({
            "name": name,
            "arena_bytes": planned.arena_bytes,
            "lower_bound_bytes": planned.lower_bound_bytes,
            "ports": planned.placed.graph.inputs.iter().map(|port| json!({
                "name": port.name,
                "mode": port.mode.name(),
                "bytes": port.ty.bytes(),
            })).collect::<Vec<_>>(),
            "steps": steps(planned),
            "lives": lives::json(planned),
        })).collect::<Vec<_>>(),
        "notes": decisions.notes,
    })
}

fn recomputed(again: &Recomputed) -> Value {
    json!({ "value": again.value, "step": again.step, "flops": again.flops, "bytes": again.bytes })
}

/// What each part has, part by part.
fn each<'a, T: 'a>(
    decisions: &Decisions<'a>,
    of: impl Fn(&'a Planned) -> &'a Vec<T>,
) -> impl Iterator<Item = (Part<'a>, &'a T)> {
    decisions.parts().flat_map(move |part| of(part.planned).iter().map(move |it| (part, it)))
}

fn steps(planned: &Planned) -> Vec<Value> {
    let graph = &planned.placed.graph;
    let step = |(step, &node): (usize, &usize)| {
        let node = &graph.nodes[node];
        json!({
            "step": step,
            "kernel": node.kernel.name(),
            "label": node.label,
            "location": node.location.text,
            "reads": node.reads.iter().map(|read| graph.buffer(read.value).name.clone()).collect::<Vec<_>>(),
            "writes": node.writes.iter().map(|w| graph.buffer(w.access.value).name.clone()).collect::<Vec<_>>(),
            "workspace_bytes": node.workspace,
            "flops": node.flops,
        })
    };
    planned.placed.order.iter().enumerate().map(step).collect()
}

fn order(decisions: &Decisions) -> Value {
    let placed = &decisions.planned.placed;
    let lower_bound = match placed.order_status {
        OrderStatus::Optimal => placed.peak_bytes,
        OrderStatus::Bounded { lower_bound } | OrderStatus::Heuristic { lower_bound } => lower_bound,
    };
    json!({
        "status": placed.order_status.name(),
        "peak_bytes": placed.peak_bytes,
        "lower_bound_bytes": lower_bound,
        "source_peak_bytes": placed.source_peak_bytes,
    })
}

/// The evidence for each of the ten conditions, in words.
fn conditions(tie: &Tied, part: &Part) -> Map<String, Value> {
    let inputs: Vec<String> = part.planned.placed.graph.inputs.iter().map(|input| input.name.clone()).collect();
    let said = |condition| json!(words::evidence(tie, condition, &inputs));
    Condition::ALL.into_iter().map(|condition| (condition.name().to_string(), said(condition))).collect()
}

fn proof(proof: &Proof, part: &Part) -> Value {
    let input = |input: u32| part.planned.placed.graph.inputs[input as usize].name.clone();
    let (root, of) = match proof.root {
        Root::Fresh => ("fresh", None),
        Root::Donated(number) => ("donated", Some(input(number))),
        Root::State(number) => ("state", Some(input(number))),
    };
    json!({
        "contract": proof.contract.map(Permission::name),
        "offset": proof.offset,
        "bytes": proof.bytes,
        "root": root,
        "input": of,
        "observers": proof.observers.iter().map(|observer| json!({
            "step": observer.step,
            "before": match observer.before {
                Before::Data => "data",
                Before::Added => "added",
                Before::Itself => "itself",
            },
        })).collect::<Vec<_>>(),
        "operands": proof.operands.iter().map(|operand| json!({
            "name": operand.name,
            "clear": match operand.clear {
                Clear::Apart => "apart",
                Clear::Beside => "beside",
                Clear::Permitted(_) => "permitted",
            },
        })).collect::<Vec<_>>(),
        "version": proof.version,
        "output": proof.output,
        "steps": proof.steps,
    })
}
