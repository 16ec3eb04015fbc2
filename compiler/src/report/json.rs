//! The report for programs. `schema` changes when a field changes its meaning or goes away.

use serde_json::{Map, Value, json};
use situ_runtime::contract::Permission;

use super::{Decisions, live_at_peak, words};
use crate::place::{Before, Clear, Condition, OrderStatus, Proof, Root, Tied};

/// Version of the fields below.
pub const SCHEMA: u32 = 1;

/// The whole report, as one object with a fixed order of fields.
pub fn json(decisions: &Decisions) -> Value {
    let planned = decisions.planned;
    let placed = &planned.placed;
    let graph = &placed.graph;
    let peak = decisions.peak();
    let rules: Map<String, Value> =
        decisions.rules.iter().map(|(rule, uses)| ((*rule).to_string(), json!(uses))).collect();
    let inputs: Vec<String> = graph.inputs.iter().map(|input| input.name.clone()).collect();
    json!({
        "schema": SCHEMA,
        "name": graph.name,
        "source_ops": graph.source_ops,
        "kernels": placed.order.len(),
        "weights_bytes": planned.weights_bytes,
        "peak": { "state": peak.state, "saved": peak.saved, "temporary": peak.temporary },
        "arena_bytes": planned.arena_bytes,
        "lower_bound_bytes": planned.lower_bound_bytes,
        "arena_bytes_without_inplace": decisions.arena_bytes_without_inplace,
        "arena_bytes_unshared": planned.unshared_bytes,
        "threads": planned.threads,
        "order": order(decisions),
        "ties": placed.ties.iter().map(|tie| json!({
            "value": tie.value,
            "over": tie.over,
            "kind": tie.kind.name(),
            "step": tie.step,
            "bytes": tie.bytes,
            "requested": tie.requested,
            "proof": proof(&tie.proof, decisions),
            "conditions": conditions(tie, &inputs),
        })).collect::<Vec<_>>(),
        "refusals": placed.refusals.iter().map(|refused| json!({
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
        "peak_step": planned.peak_step,
        "live_at_peak": live_at_peak(decisions).iter().map(|life| json!({
            "values": life.names,
            "bytes": life.bytes,
            "offset": life.offset,
            "first_step": life.lower,
            "last_step": life.upper - 1,
        })).collect::<Vec<_>>(),
        "steps": placed.order.iter().enumerate().map(|(step, &node)| {
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
        }).collect::<Vec<_>>(),
        "notes": decisions.notes,
    })
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
fn conditions(tie: &Tied, inputs: &[String]) -> Map<String, Value> {
    let said = |condition| json!(words::evidence(tie, condition, inputs));
    Condition::ALL.into_iter().map(|condition| (condition.name().to_string(), said(condition))).collect()
}

fn proof(proof: &Proof, decisions: &Decisions) -> Value {
    let input = |input: u32| decisions.planned.placed.graph.inputs[input as usize].name.clone();
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
