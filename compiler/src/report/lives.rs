//! Every life of an arena with what is written into it and when: what a drawing of the arena is made from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use situ_runtime::executable::Write;

use crate::lower::BufferId;
use crate::plan::{Life, Owner, Planned};

/// What is written into a line of bytes, step by step.
#[derive(Default)]
struct Written<'a> {
    /// In the order of their first write.
    values: Vec<&'a str>,
    /// `(value, step, bytes from the start of the root, bytes)`.
    writes: Vec<(&'a str, usize, u64, u64)>,
    /// Values that have no bytes but these: the copy that would have made them, or moved them here, is gone.
    also: Vec<&'a str>,
    is_output: bool,
}

/// The lives of `planned`, in the order it has them.
pub(super) fn json(planned: &Planned) -> Vec<Value> {
    let written = written(planned);
    let nothing = Written::default();
    let life = |life: &Life| {
        let (line, class) = match life.owner {
            Owner::Workspace { .. } => (&nothing, "workspace"),
            Owner::Root(root) => {
                let line = written.get(&root).unwrap_or(&nothing);
                let class = match line {
                    line if line.is_output => "output",
                    line if line.values.len() + line.also.len() > 1 => "tied",
                    _ => "temporary",
                };
                (line, class)
            }
        };
        json!({
            "class": class,
            "values": line.values,
            "also": line.also,
            "bytes": life.bytes,
            "offset": life.offset,
            "first_step": life.lower,
            "last_step": life.upper - 1,
            "writes": line.writes.iter().map(|(value, step, from, bytes)| json!({
                "value": value,
                "step": step,
                "offset": life.offset + from,
                "bytes": bytes,
            })).collect::<Vec<_>>(),
        })
    };
    planned.lives.iter().map(life).collect()
}

fn written(planned: &Planned) -> BTreeMap<BufferId, Written<'_>> {
    let placed = &planned.placed;
    let graph = &placed.graph;
    let mut lines: BTreeMap<BufferId, Written> = BTreeMap::new();
    let mut seen: BTreeSet<(BufferId, &str)> = BTreeSet::new();
    for (step, &node) in placed.order.iter().enumerate() {
        for Write { access, .. } in &graph.nodes[node].writes {
            let home = placed.homes[access.value as usize];
            let name = graph.buffer(access.value).name.as_str();
            let line = lines.entry(home.root).or_default();
            if seen.insert((home.root, name)) {
                line.values.push(name);
            }
            let Some((low, high)) = access.layout.hull() else { continue };
            let size = access.dtype.size() as u64;
            line.writes.push((name, step, home.offset + low as u64 * size, (high - low) as u64 * size));
        }
    }
    for buffer in (0..placed.elided.len()).filter(|&buffer| placed.elided[buffer].is_some()) {
        let root = placed.homes[buffer].root;
        let Some(line) = lines.get_mut(&root) else { continue };
        let name = graph.buffers[buffer].name.as_str();
        if seen.insert((root, name)) {
            line.also.push(name);
        }
    }
    for output in &graph.outputs {
        if let Some(line) = lines.get_mut(&placed.homes[output.access.value as usize].root) {
            line.is_output = true;
        }
    }
    lines
}
