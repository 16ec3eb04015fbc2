//! Two reports side by side, each of a model that is compiled now, of an executable, or of a file.

use std::io::Read;
use std::path::Path;

use situ::report::{self, Kept};

use super::args::{CompileArgs, DiffArgs, Growth, ModelArgs};
use super::failure::Failure;
use super::model;

/// The largest report that is read, in bytes.
const REPORT_LIMIT: u64 = 256 << 20;

/// What to print, and the failure if the arena grew by more than was allowed.
pub fn diff(args: &DiffArgs, compile: &CompileArgs) -> Result<(String, Option<Failure>), Failure> {
    let chosen = compile.chosen();
    if !chosen.is_empty() && ![&args.a, &args.b].into_iter().any(|path| is_model(path)) {
        return Err(Failure::usage(format!("neither side is a model to compile; {} is for models", chosen.join(", "))));
    }
    let a = report_of(&args.a, args, compile)?;
    let b = report_of(&args.b, args, compile)?;
    let (a_name, b_name) = (model::file_name(&args.a), model::file_name(&args.b));
    let difference = report::diff(&a, &b);
    let (before, now) = (a.arena_bytes, b.arena_bytes);
    let exceeded = args.max_growth.filter(|growth| !growth.allows(before, now));
    let text = if args.json {
        let mut json = difference.json(&a_name, &b_name);
        if let Some(growth) = args.max_growth {
            json["max_growth"] = serde_json::json!({ "allowed": growth.to_string(), "exceeded": exceeded.is_some() });
        }
        format!("{json}\n")
    } else {
        difference.text(&a_name, &b_name)
    };
    let failure = exceeded.map(|growth| {
        let by = now.saturating_sub(before);
        let percent =
            if before == 0 { String::new() } else { format!(" ({:.2} %)", 100.0 * by as f64 / before as f64) };
        Failure::budget(format!("the arena grew from {before} to {now} bytes, by {by}{percent}; allowed is {growth}"))
    });
    Ok((text, failure))
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or("")
}

fn is_model(path: &Path) -> bool {
    matches!(extension(path), "situ" | "onnx" | "pt2")
}

/// The report of one side. What is neither a model nor an executable is taken for the JSON of a report, whatever its name.
fn report_of(path: &Path, args: &DiffArgs, compile: &CompileArgs) -> Result<Kept, Failure> {
    let file = model::file_name(path);
    if is_model(path) {
        let args = ModelArgs { model: path.to_path_buf(), bind: args.bind.clone(), no_mmap: args.no_mmap };
        let compilation = model::compile(&model::load(&args)?, &compile.options())?;
        return Kept::read(&compilation.report_json).map_err(Failure::fault);
    }
    let json = if model::is_executable(path) {
        model::load_executable(path, !args.no_mmap)?.executable.report
    } else {
        read(path).map_err(|how| Failure::wrong(format!("{file}: {how}")))?
    };
    Kept::read(&json).map_err(|how| Failure::wrong(format!("{file}: {how}")))
}

/// Pipes too: a report may come from another command.
fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(REPORT_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > REPORT_LIMIT {
        return Err(format!("larger than {REPORT_LIMIT} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}

impl Growth {
    /// Whether an arena may grow so from `before` to `now`, both in bytes.
    fn allows(self, before: u64, now: u64) -> bool {
        let by = now.saturating_sub(before);
        match self {
            Growth::Bytes(most) => by <= most,
            Growth::Percent(most) => by == 0 || 100.0 * by as f64 <= most * before as f64,
        }
    }
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Growth::Bytes(most) => write!(f, "{most} bytes"),
            Growth::Percent(most) => write!(f, "{most} %"),
        }
    }
}
