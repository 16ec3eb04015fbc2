//! `print`: the IR after a stage as text, and with `--weights` its large constants in a file beside it.

use std::io::{self, BufWriter};
use std::path::Path;

use situ::{ir, pipeline, safetensors, source};
use situ_runtime::file;

use super::args::{CompileArgs, ModelArgs};
use super::failure::Failure;
use super::model;

/// The text after a stage. `weights` is where large constants and initial states go.
pub fn print(args: &ModelArgs, compile: &CompileArgs, after: &str, weights: Option<&Path>) -> Result<String, Failure> {
    if let Some(path) = weights {
        if after != "source" {
            return Err(Failure::usage("--weights is for the graph as it was read; leave --after out"));
        }
        model::refuse_same_file(&args.model, path)?;
    }
    let source = model::load(args)?;
    let Some(path) = weights else {
        let printed = pipeline::print_after(&source.graph, after, &compile.options()).ok_or_else(|| {
            Failure::usage(format!("{after} is not a stage; the stages are {}", pipeline::PRINTABLE.join(", ")))
        })?;
        return printed.map_err(|error| Failure::compile(error, &source.file, &source.text));
    };
    if let Some(used) = source::weights_file(&source.text) {
        model::refuse_same_file(&args.model.with_file_name(used), path)?;
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| Failure::usage(format!("--weights: {} is not the name of a file", path.display())))?;
    let stored = ir::stored(&source.graph, name);
    file::replace(path, |file: &std::fs::File| -> io::Result<()> {
        safetensors::write(BufWriter::with_capacity(1 << 20, file), &stored.arrays)
    })
    .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))?;
    Ok(stored.text)
}
