//! The command line: arguments, files, exit codes. Meaning is in the library.
#![forbid(unsafe_code)]

mod cli {
    pub mod alias;
    pub mod args;
    pub mod diff;
    pub mod execute;
    pub mod failure;
    pub mod formats;
    pub mod model;
    pub mod pack;
    pub mod print;
    pub mod state;
    pub mod values;
}

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use cli::args::{Cli, CompileArgs, Format, InputArgs, ModelArgs, Verb};
use cli::failure::Failure;
use cli::{alias, diff, execute, formats, model, state, values};
use situ::conformance::{self, Status};
use situ::npz;
use situ_runtime::executable::{Fallback, InputPort};
use situ_runtime::raw::Route;
use situ_runtime::wire::Compiled;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A panic is our fault whatever the input was; it gets the exit code that says so, never 101.
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(std::io::stderr(), "internal fault: {panic}");
    }));
    let outcome = std::panic::catch_unwind(|| dispatch(cli.verb));
    match outcome {
        Ok(Ok(text)) => print(&text),
        Ok(Err(failure)) => {
            let _ = writeln!(std::io::stderr(), "{}", failure.message);
            ExitCode::from(failure.code)
        }
        Err(_) => ExitCode::from(70),
    }
}

/// Results go to stdout. A reader that has closed the pipe has seen enough.
fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "error: stdout: {error}");
            ExitCode::from(1)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn dispatch(verb: Verb) -> Result<String, Failure> {
    match verb {
        Verb::Verify { model } => verify(&model),
        Verb::Compile { model, compile, shapes, output } => {
            model::refuse_same_file(&model.model, &output)?;
            let compiled = model::compile_shapes(&model, &shapes, &compile.options())?;
            let written = compiled.write(&output);
            written.map_err(|error| Failure::wrong(format!("{}: {error}", output.display())))?;
            Ok(String::new())
        }
        Verb::Run { model, compile, inputs, state: kept, output, expect_npz, max_rel, alias, strict_alias, report } => {
            for output in output.iter().chain(&kept.state_out) {
                model::refuse_same_file(&model.model, output)?;
            }
            let compiled = Arc::new(model::compiled(&model, &compile)?);
            let threads = usize::from(compile.threads);
            let before = |ports: &[InputPort]| state::before(ports, &compiled.weights, kept.state_in.as_deref());
            let (number, results) = if alias.is_empty() {
                let (number, arrays) =
                    fitting(&compiled, |ports| values::inputs(&inputs, ports, before(ports)?, None))?;
                (number, execute::run(&mut execute::session(compiled.clone(), number, threads)?, &arrays)?)
            } else {
                let (number, shared) = fitting(&compiled, |ports| {
                    alias::share(&alias, ports, &values::given(&inputs, ports, before(ports)?, None)?)
                })?;
                let (results, route) = alias::run(compiled.clone(), number, threads, strict_alias, shared)?;
                let said = match route {
                    Route::Planned => "the optimised plan ran: no inputs share bytes that it assumes distinct",
                    Route::Fallback => {
                        "the program as written ran: inputs share bytes that the optimised plan assumes distinct"
                    }
                };
                let _ = writeln!(std::io::stderr(), "note: {said}");
                (number, results)
            };
            let plan = &compiled.executable.plans[number];
            if let Some(path) = &output {
                execute::write(&execute::told(plan, &results), path)?;
            }
            if let Some(path) = &kept.state_out {
                state::write(&results, path)?;
            }
            let mut text = String::new();
            if report {
                text = format!("{}\n", compiled.executable.report_text);
            }
            match &expect_npz {
                Some(path) => text.push_str(&(values::compare(&results, path, max_rel)? + "\n")),
                None if output.is_some() => {}
                None => text.push_str(&execute::summary(plan, &execute::told(plan, &results))),
            }
            Ok(text)
        }
        Verb::Report { model, compile, format, json } => report(&model, &compile, format, json),
        Verb::Diff { sides, compile } => match diff::diff(&sides, &compile)? {
            (text, None) => Ok(text),
            (text, Some(failure)) => {
                print(&text);
                Err(failure)
            }
        },
        Verb::Explain { model, compile, value } => {
            let source = model::load(&model)?;
            let compilation = model::compile(&source, &compile.options())?;
            let name = format!("%{}", value.trim_start_matches('%'));
            compilation.explain(&source.graph, &name).ok_or_else(|| Failure::usage(format!("there is no value {name}")))
        }
        Verb::Print { model, compile, after, weights } => {
            cli::print::print(&model, &compile, &after, weights.as_deref())
        }
        Verb::Bench { model, compile, inputs, secs, per_step, json } => {
            bench(&model, &compile, &inputs, secs, per_step, json)
        }
        Verb::Pack { file, capacity, align, output, budget, json } => {
            let packed = cli::pack::pack(&file, capacity, align, budget, output.as_deref())?;
            let text = if json { packed.json() } else { packed.text() };
            match packed.missed() {
                None => Ok(text),
                Some(why) => {
                    print(&text);
                    Err(Failure::budget(why))
                }
            }
        }
        Verb::Check { file, no_mmap } => {
            let compiled = model::load_executable(&file, !no_mmap)?;
            compiled.verify_weights().map_err(Failure::wrong)?;
            situ_runtime::check::check(&compiled.executable).map_err(|findings| {
                let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
                Failure::wrong(format!("the plan is refused\n{}", findings.join("\n")))
            })?;
            let steps: usize = compiled.executable.plans.iter().map(|plan| plan.steps.len()).sum();
            let written: usize = compiled.executable.fallbacks.iter().map(Fallback::steps).sum();
            Ok(match written {
                0 => format!("accepted: {steps} steps\n"),
                _ => format!("accepted: {steps} steps, and {written} as written\n"),
            })
        }
        Verb::Conformance { dir, json, min_pass } => {
            let outcome = conformance::run(&dir, &execute::compile_and_run, |_| ())
                .map_err(|diagnostic| Failure::diagnostics(&[diagnostic], "", ""))?;
            let counts = outcome.counts;
            let text = if json {
                serde_json::to_string(&outcome).map_err(Failure::fault)? + "\n"
            } else {
                let mut text = format!(
                    "{} passed, {} unsupported, {} wrong, {} crashed\n",
                    counts.pass, counts.unsupported, counts.wrong, counts.crash
                );
                let bad = outcome.cases.iter().filter(|case| matches!(case.status, Status::Wrong | Status::Crash));
                for case in bad {
                    text.push_str(&format!("{:?} {}: {}\n", case.status, case.name, case.why));
                }
                for (op, cases) in &outcome.unsupported {
                    text.push_str(&format!("{cases:5} cases need {op}\n"));
                }
                text
            };
            if counts.wrong + counts.crash > 0 || min_pass.is_some_and(|least| counts.pass < least) {
                print(&text);
                return Err(Failure::wrong("the suite does not pass"));
            }
            Ok(text)
        }
    }
}

fn verify(args: &ModelArgs) -> Result<String, Failure> {
    let source = model::load(args)?;
    let mistakes = situ::ir::verify(&source.graph);
    if mistakes.is_empty() {
        let graph = &source.graph;
        let initial = match graph.initial_bytes() {
            0 => String::new(),
            bytes => format!(", {bytes} bytes of initial state"),
        };
        Ok(format!(
            "{}: {} inputs, {} outputs, {} ops, {} bytes of weights{initial}\n",
            graph.name,
            graph.inputs.len(),
            graph.outputs.len(),
            graph.body().insts.len(),
            graph.weights_bytes()
        ))
    } else {
        Err(Failure::diagnostics(&mistakes, &source.file, &source.text))
    }
}

/// Of several plans the first whose inputs fit, and what `prepare` makes of them.
fn fitting<T>(
    compiled: &Compiled,
    prepare: impl Fn(&[InputPort]) -> Result<T, Failure>,
) -> Result<(usize, T), Failure> {
    let mut refused = None;
    for (number, plan) in compiled.executable.plans.iter().enumerate() {
        match prepare(&plan.inputs) {
            Ok(prepared) => return Ok((number, prepared)),
            Err(failure) => refused = refused.or(Some(failure)),
        }
    }
    Err(refused.unwrap_or_else(|| Failure::wrong("the executable holds no plan")))
}

fn report(args: &ModelArgs, compile: &CompileArgs, format: Format, json: bool) -> Result<String, Failure> {
    let format = if json { Format::Json } else { format };
    let is_executable = model::is_executable(&args.model);
    let (text, json) = if is_executable {
        let executable = model::load_executable(&args.model, !args.no_mmap)?.executable;
        (executable.report_text, executable.report)
    } else {
        let compilation = model::compile(&model::load(args)?, &compile.options())?;
        (compilation.report, compilation.report_json)
    };
    match format {
        Format::Text => Ok(text),
        Format::Json => Ok(json + "\n"),
        _ => formats::made(&json, format, is_executable),
    }
}

fn bench(
    model: &ModelArgs,
    compile: &CompileArgs,
    inputs: &InputArgs,
    secs: f64,
    per_step: bool,
    json: bool,
) -> Result<String, Failure> {
    let compiled = Arc::new(model::compiled(model, compile)?);
    let (number, arrays) = fitting(&compiled, |ports| {
        values::inputs(inputs, ports, state::before(ports, &compiled.weights, None)?, Some("random:0"))
    })?;
    let mut session = execute::session(compiled, number, usize::from(compile.threads))?;
    let expected: Vec<(String, npz::Array)> = match &inputs.input_npz {
        Some(path) => npz::read(path, |key| key.starts_with("out"))
            .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))?
            .into_iter()
            .collect(),
        None => Vec::new(),
    };
    let measured = execute::bench(&mut session, &arrays, secs, per_step, &expected)?;
    Ok(if json { measured.json() + "\n" } else { measured.text() })
}
