//! From a path to a graph or to a compiled program.

use std::path::Path;

use situ::ir::{Graph, ValueId};
use situ::pipeline::{self, Compilation, Options};
use situ::source;
use situ_runtime::executable::Executable;
use situ_runtime::wire::Compiled;

use super::args::{CompileArgs, ModelArgs};
use super::failure::Failure;

/// The largest text program that is read, in bytes.
const TEXT_LIMIT: usize = 256 << 20;

/// A model in source form, with what diagnostics need to show its lines.
pub struct Source {
    pub graph: Graph,
    pub file: String,
    pub text: String,
}

/// The file's name without its folders, so that messages do not depend on where it lies.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

pub fn is_executable(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "situx")
}

/// Reads a source model.
pub fn load(args: &ModelArgs) -> Result<Source, Failure> {
    let path = &args.model;
    let file = file_name(path);
    let cannot = |error: std::io::Error| Failure::wrong(format!("{file}: {error}"));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("situ") => {
            let bytes = situ_runtime::map::FileBytes::open(path, !args.no_mmap).map_err(cannot)?;
            if bytes.len() > TEXT_LIMIT {
                return Err(Failure::wrong(format!("{file}: larger than {TEXT_LIMIT} bytes")));
            }
            let text = std::str::from_utf8(&bytes)
                .map_err(|error| Failure::wrong(format!("{file}: not UTF-8 at byte {}", error.valid_up_to())))?;
            let bindings = args.bind.iter().cloned().collect();
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let (graph, diagnostics) = source::parse_in(text, &bindings, folder, !args.no_mmap);
            match graph {
                Some(graph) if diagnostics.is_empty() => Ok(Source { graph, file, text: text.to_string() }),
                _ => Err(Failure::diagnostics(&diagnostics, &file, text)),
            }
        }
        Some("onnx") => {
            let options = source::onnx::ImportOptions {
                bindings: args.bind.iter().cloned().collect(),
                mmap: !args.no_mmap,
                ..Default::default()
            };
            let graph = source::onnx::import(path, &options)
                .map_err(|diagnostics| Failure::diagnostics(&diagnostics, &file, ""))?;
            Ok(Source { graph, file, text: String::new() })
        }
        Some("pt2") => {
            let options =
                source::pt2::ImportOptions { bindings: args.bind.iter().cloned().collect(), mmap: !args.no_mmap };
            let imported = source::pt2::import(path, &options)
                .map_err(|diagnostics| Failure::diagnostics(&diagnostics, &file, ""))?;
            for warning in &imported.warnings {
                eprintln!("warning: {file}: {warning}");
            }
            Ok(Source { graph: imported.graph, file, text: String::new() })
        }
        Some("situx") => Err(Failure::usage(format!("{file} is an executable; this command takes a model"))),
        _ => Err(Failure::usage(format!("{file}: expected a .situ, .onnx, .pt2 or .situx file"))),
    }
}

/// Compiles a source model.
pub fn compile(source: &Source, options: &Options) -> Result<Compilation, Failure> {
    let compilation = pipeline::compile(&source.graph, options)
        .map_err(|error| Failure::compile(error, &source.file, &source.text))?;
    if let Some(name) = &options.only_tie {
        // A version of a storage, or a value that the rewriter made, has a name that the source does not know.
        let named = |graph: &Graph| (0..graph.values.len()).any(|at| graph.display(ValueId(at as u32)) == *name);
        if ![&source.graph, &*compilation.functional, &*compilation.rewritten].into_iter().any(named) {
            return Err(Failure::usage(format!("there is no value {name} to grant a tie to")));
        }
    }
    Ok(compilation)
}

/// The most plans one executable is compiled with.
const PLAN_LIMIT: usize = 64;

/// An executable with a plan for each combination of the extents in `shapes`.
pub fn compile_shapes(
    args: &ModelArgs,
    shapes: &[(String, Vec<usize>)],
    options: &Options,
) -> Result<Compiled, Failure> {
    let mut combinations: Vec<Vec<(String, usize)>> = vec![args.bind.clone()];
    for (symbol, extents) in shapes {
        combinations = combinations
            .into_iter()
            .flat_map(|bound| {
                extents.iter().map(move |&extent| {
                    let mut bound = bound.clone();
                    bound.push((symbol.clone(), extent));
                    bound
                })
            })
            .take(PLAN_LIMIT + 1)
            .collect();
    }
    if combinations.len() > PLAN_LIMIT {
        return Err(Failure::usage(format!("an executable holds at most {PLAN_LIMIT} plans")));
    }
    let programs = combinations.into_iter().map(|bind| {
        let bindings = bind.iter().map(|(symbol, extent)| (symbol.clone(), *extent as u64)).collect();
        let bound = ModelArgs { model: args.model.clone(), bind, no_mmap: args.no_mmap };
        let mut compiled = compile(&load(&bound)?, options)?.compiled;
        compiled.executable.bindings = vec![bindings];
        Ok(compiled)
    });
    let programs: Vec<Compiled> = programs.collect::<Result<_, Failure>>()?;
    situ::bundle::bundle(programs).map_err(|error| Failure::compile(error, &file_name(&args.model), ""))
}

/// A compiled program: loaded if the path names an executable, else compiled now. An executable is what it was compiled to
/// be: choices of the compiler are refused, and `--bind` chooses among its plans.
pub fn compiled(args: &ModelArgs, choices: &CompileArgs) -> Result<Compiled, Failure> {
    if !is_executable(&args.model) {
        return Ok(compile(&load(args)?, &choices.options())?.compiled);
    }
    let chosen = choices.chosen();
    if !chosen.is_empty() {
        let file = file_name(&args.model);
        return Err(Failure::usage(format!("{file} is compiled already; {} is for models", chosen.join(", "))));
    }
    let mut compiled = load_executable(&args.model, !args.no_mmap)?;
    if !args.bind.is_empty() {
        let Executable { plans, fallbacks, bindings, .. } = &mut compiled.executable;
        let wanted = |bound: &Vec<(String, u64)>| {
            args.bind.iter().all(|(symbol, extent)| bound.contains(&(symbol.clone(), *extent as u64)))
        };
        let kept: Vec<bool> = bindings.iter().map(wanted).collect();
        if !kept.contains(&true) {
            let shown: Vec<String> = bindings.iter().map(|bound| shown(bound)).collect();
            return Err(Failure::usage(format!("there is no plan for that; the plans are for {}", shown.join("; "))));
        }
        let (mut of_plans, mut of_fallbacks, mut of_bindings) = (kept.iter(), kept.iter(), kept.iter());
        plans.retain(|_| of_plans.next() == Some(&true));
        fallbacks.retain(|_| of_fallbacks.next() == Some(&true));
        bindings.retain(|_| of_bindings.next() == Some(&true));
    }
    Ok(compiled)
}

/// `B=8, T=128`.
fn shown(bound: &[(String, u64)]) -> String {
    match bound {
        [] => "fixed shapes".to_string(),
        bound => bound.iter().map(|(symbol, extent)| format!("{symbol}={extent}")).collect::<Vec<_>>().join(", "),
    }
}

/// Refuses to write `output` over the model it is made from.
pub fn refuse_same_file(model: &Path, output: &Path) -> Result<(), Failure> {
    match (std::fs::canonicalize(model), std::fs::canonicalize(output)) {
        (Ok(from), Ok(to)) if from == to => {
            Err(Failure::usage(format!("{} is the file that is read; write to another file", output.display())))
        }
        _ => Ok(()),
    }
}

pub fn load_executable(path: &Path, mmap: bool) -> Result<Compiled, Failure> {
    Compiled::load(path, mmap).map_err(|error| Failure::wrong(format!("{}: {error}", file_name(path))))
}
