//! A plan as a trace for the viewers of Chrome and Perfetto: steps, lives and live bytes over the steps.
//!
//! No time was measured. One unit of the viewer, a microsecond, is one step.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use serde_json::{Value, json};

use super::chart::Chart;
use super::kept::Life;

/// The two groups of tracks.
const PROGRAM: u64 = 1;
const ARENA: u64 = 2;

/// The whole trace, an event a line.
pub(super) fn trace(chart: &Chart<'_>) -> String {
    let mut events = vec![
        named("process_name", PROGRAM, 0, &chart.name),
        named("thread_name", PROGRAM, 1, "steps"),
        named("process_name", ARENA, 0, &format!("arena, {} bytes", chart.arena_bytes)),
    ];
    steps(chart, &mut events);
    live_bytes(chart, &mut events);
    lives(chart, &mut events);
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let unit = json!({
        "unit": "one microsecond is one step; no time was measured",
        "arena_bytes": chart.arena_bytes,
        "load_bytes": chart.load,
        "peak_step": chart.peak_step,
    });
    format!("{{\"traceEvents\":[\n{}\n],\n\"displayTimeUnit\":\"ns\",\n\"otherData\":{unit}}}\n", lines.join(",\n"))
}

/// What a group or a track is called.
fn named(what: &str, group: u64, track: u64, name: &str) -> Value {
    json!({ "ph": "M", "name": what, "pid": group, "tid": track, "args": { "name": name } })
}

fn steps(chart: &Chart<'_>, events: &mut Vec<Value>) {
    for (number, step) in chart.steps.iter().enumerate() {
        events.push(json!({
            "ph": "X",
            "name": step.label,
            "cat": "step",
            "pid": PROGRAM,
            "tid": 1,
            "ts": number,
            "dur": 1,
            "args": {
                "step": number,
                "kernel": step.kernel,
                "reads": step.reads,
                "writes": step.writes,
                "location": step.location,
                "flops": step.flops,
                "workspace_bytes": step.workspace_bytes,
                "live_bytes": chart.sums[number],
            },
        }));
    }
    if !chart.steps.is_empty() {
        let peak = format!("peak, {} bytes", chart.load);
        let (step, scope) = (chart.peak_step, "g");
        events.push(json!({ "ph": "i", "name": peak, "pid": PROGRAM, "tid": 1, "ts": step, "s": scope }));
    }
}

fn live_bytes(chart: &Chart<'_>, events: &mut Vec<Value>) {
    let ends = std::iter::once(0);
    let mut before = None;
    for (step, sum) in chart.sums.iter().copied().chain(ends).enumerate() {
        // A counter keeps its value until it is told another.
        if before.replace(sum) != Some(sum) {
            let args = json!({ "bytes": sum });
            events.push(json!({ "ph": "C", "name": "live bytes", "pid": PROGRAM, "ts": step, "args": args }));
        }
    }
}

/// Lives side by side: those of one track follow one another, and there are no more tracks than lives at one time.
fn lives(chart: &Chart<'_>, events: &mut Vec<Value>) {
    let mut order: Vec<&Life> = chart.lives.iter().collect();
    order.sort_by_key(|life| (life.first_step, life.offset));
    let mut free: BTreeSet<u64> = BTreeSet::new();
    let mut busy: BinaryHeap<Reverse<(u64, u64)>> = BinaryHeap::new();
    let mut tracks = 0;
    for life in order {
        while let Some(&Reverse((_, track))) = busy.peek().filter(|Reverse((last, _))| *last < life.first_step) {
            busy.pop();
            free.insert(track);
        }
        let track = free.pop_first().unwrap_or_else(|| {
            tracks += 1;
            events.push(named("thread_name", ARENA, tracks, &format!("lives {tracks}")));
            tracks
        });
        busy.push(Reverse((life.last_step, track)));
        events.push(json!({
            "ph": "X",
            "name": chart.label(life),
            "cat": life.class.name(),
            "pid": ARENA,
            "tid": track,
            "ts": life.first_step,
            "dur": life.last_step - life.first_step + 1,
            "args": {
                "class": life.class.name(),
                "values": life.values,
                "also": life.also,
                "bytes": life.bytes,
                "offset": life.offset,
                "first_step": life.first_step,
                "last_step": life.last_step,
                "reasons": chart.reasons(life),
            },
        }));
    }
}
