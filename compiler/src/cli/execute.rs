//! Running: `run` and `bench`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use situ::diagnostic::Kind;
use situ::ir::Graph;
use situ::npz::{self, Array};
use situ::types::TensorType;
use situ::{conformance, eval, pipeline};
use situ_runtime::executable::{InputPort, Plan};
use situ_runtime::file;
use situ_runtime::kernel::call::RunError;
use situ_runtime::session::{Argument, Options, Session};
use situ_runtime::tensor::{Tensor, TensorMut, TensorRef};
use situ_runtime::types::InputMode;
use situ_runtime::wire::Compiled;

use super::failure::Failure;
use super::state::{self, is_state};
use super::values::{self, Named};

/// A session for one plan, with as many of the threads as the plan allows for.
pub fn session(compiled: impl Into<Arc<Compiled>>, plan: usize, threads: usize) -> Result<Session, Failure> {
    let compiled = compiled.into();
    let most = compiled.executable.plans.get(plan).map_or(1, |plan| plan.threads as usize);
    Session::new(compiled, Options { threads: Some(threads.min(most)), plan, ..Options::default() })
        .map_err(Failure::session)
}

/// Tensors that hold the inputs, aligned for their elements.
fn tensors(inputs: &[Array]) -> Result<Vec<Tensor>, Failure> {
    inputs.iter().map(tensor).collect()
}

fn tensor(array: &Array) -> Result<Tensor, Failure> {
    Tensor::from_bytes(array.ty.dtype, &array.ty.shape, &array.bytes).map_err(Failure::wrong)
}

fn arguments<'a>(session: &Session, held: &'a mut [Tensor]) -> Vec<Argument<'a>> {
    let modes: Vec<InputMode> = session.inputs().iter().map(|port| port.mode).collect();
    held.iter_mut()
        .zip(modes)
        .map(|(tensor, mode)| match mode {
            InputMode::Read => Argument::Read(TensorRef::from(&*tensor)),
            InputMode::Donate => Argument::Donate(std::mem::take(tensor)),
            // A program has no `out` input; only bodies have.
            InputMode::InOut | InputMode::Out => Argument::InOut(TensorMut::from(tensor)),
        })
        .collect()
}

pub fn run_failure(error: RunError) -> Failure {
    match error {
        RunError::Fault(_) => Failure::fault(error),
        other => Failure::wrong(other),
    }
}

/// Runs once: the outputs as `out0, out1, …`, what [`after`] says of the inputs.
pub fn run(session: &mut Session, inputs: &[Array]) -> Result<Vec<Named>, Failure> {
    let mut held = tensors(inputs)?;
    let ports = session.inputs().to_vec();
    let mut results = Vec::new();
    {
        let mut arguments = arguments(session, &mut held);
        let outputs = session.run(&mut arguments).map_err(run_failure)?;
        for (index, port) in outputs.ports().iter().enumerate() {
            let ty = TensorType::new(port.access.dtype, port.access.layout.shape.clone());
            let bytes = copied(outputs.bytes(index).map_err(run_failure)?)?;
            results.push(Named { key: format!("out{index}"), array: Array { ty, bytes } });
        }
    }
    results.extend(after(&ports, |input| held[input].bytes())?);
    Ok(results)
}

/// A copy of a result, or why there is no room for it.
pub fn copied(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut copy = Vec::new();
    match copy.try_reserve_exact(bytes.len()) {
        Ok(()) => {
            copy.extend_from_slice(bytes);
            Ok(copy)
        }
        Err(_) => {
            Err(Failure::budget(format!("a result has {} bytes; this machine has no room for a copy", bytes.len())))
        }
    }
}

/// The inputs after a run: those of the caller as `mut0, mut1, …`, then the state that comes with the program under its
/// names.
pub fn after<'a>(ports: &[InputPort], bytes: impl Fn(usize) -> &'a [u8]) -> Result<Vec<Named>, Failure> {
    let (mut caller, mut state) = (Vec::new(), Vec::new());
    let mut number = 0..;
    for (input, port) in ports.iter().enumerate() {
        if is_state(port) {
            state.extend(state::after(port, bytes(input))?);
            continue;
        }
        let key = format!("mut{}", number.next().unwrap_or(0));
        // The bytes of a donated input are gone; nobody can look at them afterwards.
        if port.mode != InputMode::Donate {
            let ty = TensorType::new(port.dtype, port.shape.clone());
            caller.push(Named { key, array: Array { ty, bytes: copied(bytes(input))? } });
        }
    }
    caller.append(&mut state);
    Ok(caller)
}

/// What people are told of a run: inputs of the caller only where the program writes any of them.
pub fn told<'a>(plan: &Plan, results: &'a [Named]) -> Vec<&'a Named> {
    let writes = plan.inputs.iter().any(|port| port.mode == InputMode::InOut && !is_state(port));
    results.iter().filter(|named| writes || !named.key.starts_with("mut")).collect()
}

/// A line an output: its type, and enough of its elements to recognise it.
pub fn summary(plan: &Plan, results: &[&Named]) -> String {
    let mut text = String::new();
    let caller: Vec<&InputPort> = plan.inputs.iter().filter(|port| !is_state(port)).collect();
    for named in results {
        let number = |prefix: &str| named.key.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok());
        let name = match (number("out"), number("mut")) {
            (Some(output), _) => plan.outputs.get(output).map(|port| port.name.as_str()),
            (_, Some(input)) => caller.get(input).map(|port| port.name.as_str()),
            _ => None,
        };
        let (key, name) = match named.key.strip_prefix(state::PREFIX) {
            Some(name) => ("state", name),
            None => (named.key.as_str(), name.unwrap_or("")),
        };
        let shown = named.array.shown(4);
        let more = if named.array.ty.len() > 4 { ", …" } else { "" };
        text.push_str(&format!("{key} {name}: {} = [{}{more}]\n", named.array.ty, shown.join(", ")));
    }
    text
}

pub fn write(results: &[&Named], path: &Path) -> Result<(), Failure> {
    let arrays = || results.iter().map(|named| (named.key.clone(), &named.array));
    file::replace(path, |file| npz::write_npz(file, arrays()).map_err(std::io::Error::other))
        .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))
}

/// What `bench` measures.
pub struct Measured {
    pub median_ms: f64,
    pub min_ms: f64,
    pub runs: usize,
    /// Growth of the resident memory from before the first run to the peak while running, in bytes.
    pub extra_bytes: u64,
    /// Largest error against the expected outputs, if there were any.
    pub rel_err: Option<f64>,
    /// Median milliseconds of each step.
    pub steps: Vec<(String, f64)>,
}

/// Runs for `secs` seconds, at least five times, after one run that is not counted. State that comes with the program is
/// what it was before each run.
pub fn bench(
    session: &mut Session,
    inputs: &[Array],
    secs: f64,
    per_step: bool,
    expected: &[(String, Array)],
) -> Result<Measured, Failure> {
    let before = memory::reset();
    let first = run(session, inputs)?;
    let errors = expected.iter().filter_map(|(key, want)| {
        let found = first.iter().find(|named| &named.key == key)?;
        (found.array.ty.shape == want.ty.shape).then(|| values::relative_error(&found.array, want))
    });
    let rel_err = errors.fold(None, |worst: Option<f64>, error| {
        Some(worst.map_or(error, |worst| if error.is_nan() || error > worst { error } else { worst }))
    });
    drop(first);
    let mut held = tensors(inputs)?;
    let donates = session.inputs().iter().any(|port| port.mode == InputMode::Donate);
    let state: Vec<usize> =
        session.inputs().iter().enumerate().filter(|(_, port)| is_state(port)).map(|(input, _)| input).collect();
    let mut times = Vec::new();
    let mut step_times: Vec<Vec<f64>> = vec![Vec::new(); session.plan().steps.len()];
    let end = Instant::now() + Duration::from_secs_f64(secs.clamp(0.0, 3600.0));
    while times.len() < 5 || (Instant::now() < end && times.len() < 1_000_000) {
        if donates {
            held = tensors(inputs)?;
        }
        // A step of a program that counts its steps is measured, not what becomes of it after thousands.
        for &input in &state {
            held[input] = tensor(&inputs[input])?;
        }
        let mut arguments = arguments(session, &mut held);
        let start = Instant::now();
        if per_step {
            let mut last = start;
            session
                .run_observed(&mut arguments, |step| {
                    let now = Instant::now();
                    step_times[step].push((now - last).as_secs_f64() * 1e3);
                    last = now;
                })
                .map_err(run_failure)?;
        } else {
            session.run(&mut arguments).map_err(run_failure)?;
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let extra_bytes = memory::peak().saturating_sub(before);
    times.sort_by(f64::total_cmp);
    let steps = if per_step {
        let labels = session.plan().steps.iter().map(|step| format!("{} {}", step.kernel.name(), step.label));
        labels.zip(&mut step_times).map(|(label, times)| (label, median(times))).collect()
    } else {
        Vec::new()
    };
    let runs = times.len();
    Ok(Measured { median_ms: times[runs / 2], min_ms: times[0], runs, extra_bytes, rel_err, steps })
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

impl Measured {
    pub fn json(&self) -> String {
        let mut object = json!({
            "schema": 1,
            "median_ms": self.median_ms,
            "min_ms": self.min_ms,
            "runs": self.runs,
            "extra_bytes": self.extra_bytes,
            "rel_err": self.rel_err,
        });
        if !self.steps.is_empty() {
            let steps = self.steps.iter().map(|(label, ms)| json!({"step": label, "median_ms": ms}));
            object["steps"] = steps.collect();
        }
        object.to_string()
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "median {:.3} ms, least {:.3} ms, {} runs, {:.1} MiB resident growth",
            self.median_ms,
            self.min_ms,
            self.runs,
            self.extra_bytes as f64 / f64::from(1 << 20)
        );
        if let Some(error) = self.rel_err {
            text.push_str(&format!(", relative error {error:.1e}"));
        }
        text.push('\n');
        let mut steps: Vec<&(String, f64)> = self.steps.iter().collect();
        steps.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (label, ms) in steps.iter().take(40) {
            text.push_str(&format!("{ms:10.4} ms  {label}\n"));
        }
        text
    }
}

/// Resident memory as Linux counts it; zero elsewhere.
mod memory {
    fn status(key: &str) -> u64 {
        let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// Resets the peak to what is resident now, and returns that.
    pub fn reset() -> u64 {
        // Where the reset is not permitted, the peak counts from the start of the process.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        status("VmRSS:")
    }

    /// The largest resident memory since the reset.
    pub fn peak() -> u64 {
        status("VmHWM:")
    }
}

/// Compiles a graph, and runs it once: the engine of the conformance suite.
pub fn compile_and_run(graph: Graph, inputs: &[eval::Tensor]) -> Result<Vec<eval::Tensor>, conformance::Failure> {
    let compilation = pipeline::compile(&graph, &pipeline::Options::default()).map_err(|error| match error {
        pipeline::Error::Invalid(mistakes) if mistakes.iter().all(|mistake| mistake.kind == Kind::Unsupported) => {
            conformance::Failure::Unsupported(pipeline::Error::Invalid(mistakes).to_string())
        }
        unsupported @ pipeline::Error::Unsupported(_) => conformance::Failure::Unsupported(unsupported.to_string()),
        other => conformance::Failure::Wrong(other.to_string()),
    })?;
    let wrong = |failure: Failure| conformance::Failure::Wrong(failure.message);
    let mut session = session(compilation.compiled, 0, 1).map_err(wrong)?;
    let arrays: Vec<Array> =
        inputs.iter().map(|tensor| Array { ty: tensor.ty.clone(), bytes: tensor.bytes.to_vec() }).collect();
    let results = run(&mut session, &arrays).map_err(wrong)?;
    let outputs = results.into_iter().filter(|named| named.key.starts_with("out"));
    Ok(outputs.map(|named| eval::Tensor::new(named.array.ty, named.array.bytes)).collect())
}
