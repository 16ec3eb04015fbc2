//! Several plans in one executable: one for each binding of the symbols, over one weights section.
//!
//! Each binding is compiled by itself. A weight that several plans read in the same form is stored once: equal bytes have
//! one place, whichever plan they came from.

use indexmap::IndexMap;
use sha2::{Digest, Sha256};
use situ_runtime::arena::Block;
use situ_runtime::executable::{ALIGNMENT, Executable, Space};
use situ_runtime::map::Weights;
use situ_runtime::wire::Compiled;

use crate::diagnostic::Fault;
use crate::pipeline::Error;

fn fault(message: impl Into<String>) -> Fault {
    Fault { stage: "bundle", message: message.into() }
}

/// One executable with the plans of all `programs`, in order; name and report are the first's.
pub fn bundle(programs: Vec<Compiled>) -> Result<Compiled, Error> {
    let mut programs = programs.into_iter();
    let first = programs.next().ok_or_else(|| fault("there is no program to bundle"))?;
    let rest: Vec<Compiled> = programs.collect();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut section: Vec<u8> = Vec::new();
    let mut known: IndexMap<([u8; 32], u64), u64> = IndexMap::new();
    let (name, report) = (first.executable.name.clone(), first.executable.report.clone());
    let report_text = first.executable.report_text.clone();
    let (mut plans, mut bodies) = (Vec::new(), Vec::new());
    for program in std::iter::once(first).chain(rest) {
        let before = bodies.len() as u32;
        let inner = program.executable.bodies.into_iter().map(|body| (body, true));
        for (mut plan, is_body) in inner.chain(program.executable.plans.into_iter().map(|plan| (plan, false))) {
            for step in &mut plan.steps {
                step.kernel.renumber_bodies(|body| before + body);
            }
            for value in &mut plan.values {
                let place = &mut value.place;
                if place.space != Space::Weights {
                    continue;
                }
                let from = place.offset as usize;
                let bytes = program.weights.get(from..from + place.bytes as usize);
                let bytes = bytes.ok_or_else(|| fault("a weight lies outside its section"))?;
                let key = (Sha256::digest(bytes).into(), place.bytes);
                place.offset = *known.entry(key).or_insert_with(|| {
                    section.resize(section.len().next_multiple_of(ALIGNMENT as usize), 0);
                    let offset = section.len() as u64;
                    section.extend_from_slice(bytes);
                    offset
                });
            }
            if is_body { bodies.push(plan) } else { plans.push(plan) }
        }
    }
    section.resize(section.len().next_multiple_of(ALIGNMENT as usize), 0);
    let block = Block::copied(&section).map_err(|error| fault(error.to_string()))?;
    let executable =
        Executable { name, plans, fallback: None, bodies, weights_bytes: section.len() as u64, report, report_text };
    let compiled = Compiled::new(executable, Weights::owned(block)).map_err(|invalid| fault(invalid.to_string()))?;
    situ_runtime::check::check(&compiled.executable).map_err(|findings| {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        fault(findings.join("; "))
    })?;
    Ok(compiled)
}
