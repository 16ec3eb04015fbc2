//! Several plans in one executable: one for each binding of the symbols, over one weights section.
//!
//! Each binding is compiled by itself. A weight that several plans read in the same form is stored once: equal bytes have
//! one place, whichever plan they came from.

use situ_runtime::executable::{Executable, Fallback};
use situ_runtime::wire::Compiled;

use crate::diagnostic::Fault;
use crate::emit::Section;
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
    let mut section = Section::default();
    let (name, report) = (first.executable.name.clone(), first.executable.report.clone());
    let report_text = first.executable.report_text.clone();
    let (mut plans, mut fallbacks, mut bodies, mut bindings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Compiled { mut executable, weights, .. } in std::iter::once(first).chain(rest) {
        let before = bodies.len() as u32;
        let all = executable.bodies.iter_mut().chain(&mut executable.plans);
        for step in all.flat_map(|plan| &mut plan.steps) {
            step.kernel.renumber_bodies(|body| before + body);
        }
        bindings.extend(executable.bindings);
        for mut body in executable.bodies {
            section.take(&mut body, &weights)?;
            bodies.push(body);
        }
        for mut plan in executable.plans {
            section.take(&mut plan, &weights)?;
            plans.push(plan);
        }
        for mut fallback in executable.fallbacks {
            if let Fallback::AsWritten(written) = &mut fallback {
                section.take(&mut written.plan, &weights)?;
            }
            fallbacks.push(fallback);
        }
    }
    let weights = section.finish()?;
    let weights_bytes = weights.len() as u64;
    let executable = Executable { name, plans, fallbacks, bodies, bindings, weights_bytes, report, report_text };
    let compiled = Compiled::new(executable, weights).map_err(|invalid| fault(invalid.to_string()))?;
    situ_runtime::check::check(&compiled.executable).map_err(|findings| {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        fault(findings.join("; "))
    })?;
    Ok(compiled)
}
