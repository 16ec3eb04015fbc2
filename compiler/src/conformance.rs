//! ONNX's backend test suite as the referee: which of its cases situ passes.
//!
//! A case is a folder with `model.onnx` and folders `test_data_set_*` that hold `input_*.pb` and `output_*.pb`, or a light
//! model `light_*.onnx` beside `light_*_output_0.pb`, whose input is `0, 1, .. n - 1` divided by `n`. Inputs that decide
//! shapes are bound to the case's values before compiling; everything else is fed at run time. Results may differ by
//! `1e-7 + 1e-3 |expected|`, as in the suite (`bf16`: two units in the last place).
//!
//! A case that panics is a crash, which is our fault whatever the model says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Kind};
use crate::eval::{self, Tensor};
use crate::ir::Graph;
use crate::source::onnx;
use crate::types::DType;

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pass,
    Unsupported,
    Wrong,
    Crash,
}

/// One case of the suite.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The folders below the suite's, or the light model's name.
    pub name: String,
    pub status: Status,
    /// Empty for a pass.
    pub why: String,
    /// Ops that kept the case from being compiled.
    #[serde(skip)]
    pub ops: Vec<String>,
}

/// How many cases ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub pass: usize,
    pub unsupported: usize,
    pub wrong: usize,
    pub crash: usize,
}

/// The result of a suite.
#[derive(Clone, Debug, Serialize)]
pub struct Conformance {
    pub schema: u32,
    pub counts: Counts,
    pub cases: Vec<Case>,
    /// Cases each op keeps from being compiled, most first.
    pub unsupported: IndexMap<String, usize>,
}

/// How a graph is compiled and run: graph and inputs to outputs, or why not.
pub type Engine<'e> = dyn Fn(Graph, &[Tensor]) -> Result<Vec<Tensor>, Failure> + 'e;

/// Why an engine gave no outputs.
#[derive(Clone, Debug)]
pub enum Failure {
    Unsupported(String),
    Wrong(String),
}

/// Runs the cases at and below `directory` in the order of their names. `report` hears of every case as it ends.
pub fn run(directory: &Path, engine: &Engine, mut report: impl FnMut(&Case)) -> Result<Conformance, Diagnostic> {
    let mut found = Vec::new();
    let refuse = |error: std::io::Error| Diagnostic::invalid(directory.display().to_string(), error.to_string());
    find(directory, &mut found, 0).map_err(refuse)?;
    if found.is_empty() {
        return Err(Diagnostic::invalid(directory.display().to_string(), "there are no ONNX backend tests here"));
    }
    let mut counts = Counts::default();
    let mut cases = Vec::with_capacity(found.len());
    for model in found {
        let case = run_case(directory, &model, engine);
        match case.status {
            Status::Pass => counts.pass += 1,
            Status::Unsupported => counts.unsupported += 1,
            Status::Wrong => counts.wrong += 1,
            Status::Crash => counts.crash += 1,
        }
        report(&case);
        cases.push(case);
    }
    let mut unsupported: IndexMap<String, usize> = IndexMap::new();
    for op in cases.iter().flat_map(|case| &case.ops) {
        *unsupported.entry(op.clone()).or_default() += 1;
    }
    unsupported.sort_by(|a, m, b, n| n.cmp(m).then_with(|| a.cmp(b)));
    Ok(Conformance { schema: 1, counts, cases, unsupported })
}

/// Models of cases below a folder, sorted.
fn find(directory: &Path, found: &mut Vec<PathBuf>, depth: usize) -> std::io::Result<()> {
    let model = directory.join("model.onnx");
    if model.is_file() {
        found.push(model);
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let light = entry.extension().is_some_and(|extension| extension == "onnx");
        if entry.is_dir() && depth < 4 {
            find(&entry, found, depth + 1)?;
        } else if light && light_output(&entry).is_file() {
            found.push(entry);
        }
    }
    Ok(())
}

fn light_output(model: &Path) -> PathBuf {
    let stem = model.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    model.with_file_name(format!("{stem}_output_0.pb"))
}

fn run_case(root: &Path, model: &Path, engine: &Engine) -> Case {
    let folder = if model.file_name().is_some_and(|name| name == "model.onnx") { model.parent() } else { None };
    let path = folder.map_or_else(|| model.with_extension(""), Path::to_path_buf);
    let name = path.strip_prefix(root).ok().filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(&path);
    let name = name.display().to_string();
    let outcome = catch_unwind(AssertUnwindSafe(|| match folder {
        Some(folder) => run_data_sets(model, folder, engine),
        None => run_light(model, engine),
    }));
    let (status, why, ops) = match outcome {
        Ok(Ok(())) => (Status::Pass, String::new(), Vec::new()),
        Ok(Err(Refused::Unsupported { why, ops })) => (Status::Unsupported, why, ops),
        Ok(Err(Refused::Wrong(why))) => (Status::Wrong, why, Vec::new()),
        Err(panic) => {
            let why = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
                .unwrap_or_else(|| "a panic".into());
            (Status::Crash, why, Vec::new())
        }
    };
    Case { name, status, why, ops }
}

/// Why a case does not pass.
enum Refused {
    Unsupported { why: String, ops: Vec<String> },
    Wrong(String),
}

impl From<Vec<Diagnostic>> for Refused {
    fn from(diagnostics: Vec<Diagnostic>) -> Refused {
        let why: Vec<String> = diagnostics
            .iter()
            .map(|d| if d.place.is_empty() { d.message.clone() } else { format!("{}: {}", d.place, d.message) })
            .collect();
        let why = why.join("; ");
        // A mistake in a model of the suite is a mistake of ours.
        if diagnostics.iter().any(|diagnostic| diagnostic.kind == Kind::Invalid) {
            return Refused::Wrong(why);
        }
        let mut ops: Vec<String> = diagnostics
            .iter()
            .map(|diagnostic| match diagnostic.message.strip_prefix("op ").and_then(|rest| rest.split_once(',')) {
                Some((op, _)) => op.to_string(),
                None => diagnostic.message.clone(),
            })
            .collect();
        ops.sort();
        ops.dedup();
        Refused::Unsupported { why, ops }
    }
}

fn run_data_sets(model: &Path, folder: &Path, engine: &Engine) -> Result<(), Refused> {
    let signature = onnx::signature(model).map_err(|diagnostic| Refused::from(vec![diagnostic]))?;
    for set in 0.. {
        let set_folder = folder.join(format!("test_data_set_{set}"));
        if !set_folder.is_dir() {
            break;
        }
        let mut inputs = IndexMap::new();
        for (position, (name, _)) in signature.iter().enumerate() {
            // What cannot be read has a type that the import refuses with a reason.
            if let Ok(tensor) = onnx::read_tensor(&set_folder.join(format!("input_{position}.pb"))) {
                inputs.insert(name.clone(), tensor);
            }
        }
        let outputs = compute(model, &inputs, engine)?;
        for (position, output) in outputs.iter().enumerate() {
            compare(output, &set_folder.join(format!("output_{position}.pb")), position)?;
        }
        if outputs.is_empty() || set_folder.join(format!("output_{}.pb", outputs.len())).exists() {
            return Err(Refused::Wrong("the number of outputs differs".into()));
        }
    }
    Ok(())
}

fn run_light(model: &Path, engine: &Engine) -> Result<(), Refused> {
    let signature = onnx::signature(model).map_err(|diagnostic| Refused::from(vec![diagnostic]))?;
    let ramp = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        let elements: Vec<f32> = (0..n).map(|i| (i as f64 / n as f64) as f32).collect();
        Tensor::from_f32(shape, &elements)
    };
    let inputs = signature.iter().map(|(name, shape)| (name.clone(), ramp(shape))).collect();
    let outputs = compute(model, &inputs, engine)?;
    match outputs.first() {
        Some(output) => compare(output, &light_output(model), 0),
        None => Err(Refused::Wrong("there is no output".into())),
    }
}

fn compute(model: &Path, inputs: &IndexMap<String, Tensor>, engine: &Engine) -> Result<Vec<Tensor>, Refused> {
    let onnx::BoundImport { graph, bound } = onnx::import_for(model, inputs)?;
    let fed: Vec<Tensor> =
        inputs.iter().filter(|(name, _)| !bound.contains(name)).map(|(_, tensor)| tensor.clone()).collect();
    engine(graph, &fed).map_err(|failure| match failure {
        Failure::Unsupported(why) => Refused::Unsupported { ops: vec![why.clone()], why },
        Failure::Wrong(why) => Refused::Wrong(why),
    })
}

fn compare(output: &Tensor, expected: &Path, position: usize) -> Result<(), Refused> {
    let expected = onnx::read_tensor(expected)
        .map_err(|stop| Refused::Wrong(format!("output {position}: the expected tensor is not read: {stop:?}")))?;
    let relative = if output.ty.dtype == DType::BF16 { 1.0 / 64.0 } else { 1e-3 };
    match eval::difference(output, &expected, relative, 1e-7) {
        None => Ok(()),
        Some(why) => Err(Refused::Wrong(format!("output {position}: {why}"))),
    }
}

/// The engine that evaluates a graph op by op, without compiling it.
pub fn interpret(graph: Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, Failure> {
    eval::evaluate(&graph, inputs).map_err(Failure::Wrong)
}
