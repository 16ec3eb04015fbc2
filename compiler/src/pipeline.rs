//! The pipeline: the stages in order, verified between. The only file that knows the order.
//!
//! ```text
//! text, ONNX -> source -> ir -> alias -> functional -> rewrite -> lower -> place -> plan -> emit -> check
//! ```
//!
//! A program that writes an input goes a second way, for callers whose inputs share bytes: as written, from `ir` straight
//! to `lower`.

use situ_runtime::arena::OutOfMemory;
use situ_runtime::executable::{AsWritten, Executable, Fallback, Plan};
use situ_runtime::kernel::control::workspace_bytes;
use situ_runtime::map::Weights;
use situ_runtime::wire::Compiled;

use crate::diagnostic::{Diagnostic, Fault};
use crate::emit::Section;
use crate::functional::{self, FunctionalNotes, PureGraph};
use crate::ir::{self, Graph, ValueId};
use crate::lower::{self, BodyScratch, KernelGraph, LowerOptions};
use crate::place::{self, PlaceOptions};
use crate::plan::{self, PlanOptions, Planned};
use crate::rematerialise::{self, Arranged};
use crate::report::{self, Aliasing, Decisions};
use crate::rewrite::{Math, RewriteOptions, RewriteReport};
use crate::rounds::{self, Round};
use crate::savings::{self, Savings};
use crate::{alias, emit};

/// What the caller chooses; the default is what `situ compile` does without flags.
#[derive(Clone, Debug)]
pub struct Options {
    pub math: Math,
    /// `false`: ops are only decomposed where they must be, each becomes a kernel of its own.
    pub rewrite: bool,
    /// `false`: every op that algebra leaves becomes a kernel of its own.
    pub fuse: bool,
    /// The caller promises that no value is NaN or infinite: rules that drop them are used as well.
    pub assume_finite: bool,
    /// Only the rule of this name, of those of algebra.
    pub only_rule: Option<String>,
    /// Without the rules of these names, of those of algebra.
    pub without_rules: Vec<String>,
    /// Only the first so many rules of the table.
    pub rule_limit: Option<usize>,
    /// `false`: every tie is refused. The kernels stay the same.
    pub inplace: bool,
    /// At most so many ties.
    pub tie_limit: Option<usize>,
    /// Only the tie of this value.
    pub only_tie: Option<String>,
    /// `false`: no bytes are used twice.
    pub planned: bool,
    /// The largest thread count the program will run with; workspaces depend on it.
    pub threads: usize,
    /// Budget for the arena of the optimised plan, in bytes.
    pub max_peak: Option<u64>,
    /// The caller promises that inputs never share bytes: no fallback is made, and nothing is compared before a run.
    pub assume_noalias: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            math: Math::Default,
            rewrite: true,
            fuse: true,
            assume_finite: false,
            only_rule: None,
            without_rules: Vec::new(),
            rule_limit: None,
            inplace: true,
            tie_limit: None,
            only_tie: None,
            planned: true,
            threads: 1,
            max_peak: None,
            assume_noalias: false,
        }
    }
}

/// Why nothing was compiled.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The model is wrong; every mistake, in order.
    Invalid(Vec<Diagnostic>),
    /// A valid program that cannot be compiled yet, and why.
    Unsupported(String),
    /// The plan needs more than the budget allows, and so does the one with the smallest arena that was found by computing
    /// values again; all in bytes.
    Budget { arena_bytes: u64, least_bytes: u64, max_peak: u64 },
    /// The program is sound, and this machine has no room for its weights.
    OutOfMemory(OutOfMemory),
    /// A mistake of ours.
    Fault(Fault),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        Error::Fault(fault)
    }
}

impl From<emit::EmitError> for Error {
    fn from(error: emit::EmitError) -> Error {
        match error {
            emit::EmitError::Fault(fault) => Error::Fault(fault),
            emit::EmitError::OutOfMemory(error) => Error::OutOfMemory(error),
        }
    }
}

impl From<functional::Stop> for Error {
    fn from(stop: functional::Stop) -> Error {
        match stop {
            functional::Stop::Unsupported(what) => Error::Unsupported(what),
            functional::Stop::Fault(fault) => Error::Fault(fault),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Invalid(diagnostics) => {
                for diagnostic in diagnostics {
                    f.write_str(&diagnostic.render("", ""))?;
                }
                Ok(())
            }
            Error::Unsupported(why) => write!(f, "unsupported: {why}"),
            Error::Budget { arena_bytes, least_bytes, max_peak } if least_bytes < arena_bytes => write!(
                f,
                "the plan needs {arena_bytes} bytes, the budget is {max_peak}; by computing values again {least_bytes} \
                 bytes can be reached"
            ),
            Error::Budget { arena_bytes, max_peak, .. } => write!(
                f,
                "the plan needs {arena_bytes} bytes, the budget is {max_peak}; no value was found that lowers it when it is computed again"
            ),
            Error::OutOfMemory(error) => write!(f, "{error}"),
            Error::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl std::error::Error for Error {}

/// A compiled program with what the stages decided.
#[derive(Clone, Debug)]
pub struct Compilation {
    pub compiled: Compiled,
    /// The optimisation report as text and as JSON.
    pub report: String,
    pub report_json: String,
    /// The graph after each of the stages that make one.
    pub functional: PureGraph,
    pub rewritten: PureGraph,
    /// For each value of the source the value of the functional form that holds it when it is last read.
    pub functional_values: Vec<Option<ValueId>>,
    pub decided: Decided,
}

impl Compilation {
    /// One value of `source`, the graph this came from, in a paragraph; `None` when there is none of this name.
    pub fn explain(&self, source: &Graph, name: &str) -> Option<String> {
        let became = report::Became { functional: &self.functional, values: &self.functional_values };
        report::explain(source, became, &self.decided.decisions(), name)
    }
}

/// The decisions of the stages, as the report needs them.
#[derive(Clone, Debug)]
pub struct Decided {
    pub planned: Planned,
    /// What branches and loops run, innermost first.
    pub bodies: Vec<Planned>,
    pub rewrites: RewriteReport,
    /// What each kind of decision saved.
    pub savings: Savings,
    pub notes: Vec<String>,
    /// What is assumed about inputs that share bytes.
    pub aliasing: Aliasing,
}

impl Decided {
    pub fn decisions(&self) -> Decisions<'_> {
        Decisions {
            rewrites: &self.rewrites,
            planned: &self.planned,
            bodies: &self.bodies,
            savings: &self.savings,
            saved_bytes: 0,
            notes: &self.notes,
            aliasing: &self.aliasing,
        }
    }
}

/// Compiles a graph: all stages, the plan checked by the checker of the runtime before anybody sees it.
pub fn compile(graph: &Graph, options: &Options) -> Result<Compilation, Error> {
    let mistakes = ir::verify(graph);
    if !mistakes.is_empty() {
        return Err(Error::Invalid(mistakes));
    }
    let (functional, functional_notes) = functional_form(graph)?;
    let Round { rewritten, report: rewrites, lowered, arranged } = settle(graph, &functional, options)?;
    let (place_options, plan_options) = (place_options(options), plan_options(options));
    let arrange = |main: &KernelGraph, options: &PlaceOptions| -> Result<Arranged, Fault> {
        let (planned, bodies) = place_and_plan(main, &lowered.bodies, options, &plan_options)?;
        Ok(Arranged { planned, bodies })
    };
    let unfitted = arranged.planned.arena_bytes;
    let budget = options.max_peak.filter(|_| options.planned).unwrap_or(u64::MAX);
    let search_limit = place_options.search_limit / rematerialise::TRIAL_SHARE;
    let trial = PlaceOptions { search_limit, ..place_options.clone() };
    let mut fitted = rematerialise::fit(&lowered.main, arranged, budget, &|graph| arrange(graph, &trial))?;
    if !fitted.recomputed.is_empty() {
        let thorough = arrange(&fitted.graph, &place_options)?;
        if thorough.planned.arena_bytes <= fitted.arranged.planned.arena_bytes {
            fitted.arranged = thorough;
        }
    }
    if let Some(max_peak) = options.max_peak
        && fitted.arranged.planned.arena_bytes > max_peak
    {
        let least_bytes = fitted.arranged.planned.arena_bytes;
        return Err(Error::Budget { arena_bytes: unfitted, least_bytes, max_peak });
    }
    let mut savings = savings::savings(&fitted, &place_options, &arrange)?;
    savings.without_rematerialisation = Some(unfitted).filter(|_| !fitted.recomputed.is_empty());
    let Arranged { planned, bodies } = fitted.arranged;
    let mut plan = emit::emit(&planned)?;
    plan.assumed_distinct = emit::assumed_distinct(&plan, &functional_notes);
    let mut weights = emit::weights(&planned, &rewritten)?;
    let mut fallback = fallback(graph, &plan, &mut weights, options)?;
    let added_weights = weights.len() as u64 - planned.weights_bytes;
    let mut plans: Vec<&mut Plan> = std::iter::once(&mut plan).chain(fallback.plan_mut()).collect();
    emit::initial_state(&planned, &mut plans, &mut weights)?;
    let aliasing = report::aliasing(graph, &functional_notes, &plan, &fallback, added_weights);
    let notes = notes(&rewrites);
    let decided = Decided { planned, bodies, rewrites, savings, notes, aliasing };
    let (report, report_json) = (report::text(&decided.decisions()), report::json(&decided.decisions()).to_string());
    let executable = Executable {
        name: graph.name.clone(),
        plans: vec![plan],
        fallbacks: vec![fallback],
        bodies: decided.bodies.iter().map(emit::emit).collect::<Result<_, _>>()?,
        bindings: vec![Vec::new()],
        weights_bytes: weights.len() as u64,
        report: report_json.clone(),
        report_text: report.clone(),
    };
    let compiled =
        Compiled::new(executable, weights).map_err(|invalid| Fault { stage: "emit", message: invalid.to_string() })?;
    situ_runtime::check::check(&compiled.executable).map_err(|findings| {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        Fault { stage: "check", message: findings.join("; ") }
    })?;
    let functional_values = functional_notes.values;
    Ok(Compilation { compiled, report, report_json, functional, rewritten, functional_values, decided })
}

/// Kernels, order, ties and offsets of `graph`, whose functional form is given.
fn settle(graph: &Graph, functional: &PureGraph, options: &Options) -> Result<Round, Fault> {
    let source_ops = graph.blocks.iter().map(|block| block.insts.len()).sum();
    let (place_options, plan_options) = (place_options(options), plan_options(options));
    rounds::settle(functional, &rewrite_options(options), &|rewritten| {
        verify_stage("rewrite", rewritten)?;
        let mut lowered = lower::lower(rewritten, &LowerOptions { threads: options.threads, pack: true })?;
        lowered.main.source_ops = source_ops;
        let (planned, bodies) = place_and_plan(&lowered.main, &lowered.bodies, &place_options, &plan_options)?;
        Ok((lowered, Arranged { planned, bodies }))
    })
}

fn place_options(options: &Options) -> PlaceOptions {
    PlaceOptions {
        inplace: options.inplace,
        tie_limit: options.tie_limit,
        only_tie: options.only_tie.clone(),
        threads: options.threads,
        ..PlaceOptions::default()
    }
}

fn plan_options(options: &Options) -> PlanOptions {
    PlanOptions { planned: options.planned, threads: options.threads as u32 }
}

/// What a run does when inputs share bytes against the assumptions of `plan`. The weights it needs beyond those of the plan
/// are added to `weights`.
fn fallback(graph: &Graph, plan: &Plan, weights: &mut Weights, options: &Options) -> Result<Fallback, Error> {
    if plan.assumed_distinct.is_empty() {
        return Ok(Fallback::Unneeded);
    }
    if options.assume_noalias {
        return Ok(Fallback::Promised);
    }
    let straight = match lower::straightened(graph) {
        Ok(straight) => straight,
        Err(obstacle) => return Ok(Fallback::Missing(obstacle)),
    };
    let graph = &*straight;
    let lower_options = LowerOptions { threads: options.threads, pack: true };
    let lowered = lower::lower_as_written(graph, options.math, &lower_options)?;
    let plan_options = PlanOptions { planned: options.planned, threads: options.threads as u32 };
    let planned = plan::plan(place::as_written(lowered.graph), &plan_options)?;
    let mut written = AsWritten { plan: emit::emit(&planned)?, epochs: lowered.epochs };
    if planned.weights_bytes > 0 {
        let mut section = Section::beginning_with([plan], weights)?;
        section.take(&mut written.plan, &emit::weights(&planned, graph)?)?;
        *weights = section.finish()?;
    }
    Ok(Fallback::AsWritten(Box::new(written)))
}

/// Chooses order, ties and offsets of every graph, innermost first, because a node that runs bodies needs their arenas as
/// scratch: the program, and its bodies.
fn place_and_plan(
    main: &KernelGraph,
    body_graphs: &[KernelGraph],
    options: &PlaceOptions,
    plan_options: &PlanOptions,
) -> Result<(Planned, Vec<Planned>), Fault> {
    let mut bodies: Vec<Planned> = Vec::with_capacity(body_graphs.len());
    let mut options = options.clone();
    let mut arrange = |graph: &KernelGraph, bodies: &[Planned]| -> Result<Planned, Fault> {
        let mut graph = graph.clone();
        for node in graph.nodes.iter_mut().filter(|node| node.kernel.bodies().next().is_some()) {
            let scratch =
                |bytes: fn(&Planned) -> u64| workspace_bytes(&node.kernel, |body| bytes(&bodies[body as usize]));
            let (least, unshared) = (scratch(|body| body.lower_bound_bytes), scratch(|body| body.unshared_bytes));
            node.workspace = scratch(|body| body.arena_bytes);
            node.scratch = Some(BodyScratch { least, unshared });
        }
        let planned = plan::plan(place::place(graph, &options)?, plan_options)?;
        // A limit on ties is one for all graphs together.
        options.tie_limit = options.tie_limit.map(|limit| limit - planned.placed.ties.len().min(limit));
        Ok(planned)
    };
    for graph in body_graphs {
        bodies.push(arrange(graph, &bodies)?);
    }
    Ok((arrange(main, &bodies)?, bodies))
}

/// Facts of the rewriter that belong in a report.
fn notes(rewrites: &RewriteReport) -> Vec<String> {
    let mut notes = vec![format!(
        "fusion made {} kernels of {}, in {} regions of which {} are distinct",
        rewrites.kernels_after, rewrites.kernels_before, rewrites.regions, rewrites.unique_regions
    )];
    if rewrites.bytes_after < rewrites.bytes_before {
        notes.push(format!(
            "the kernels read and write {} bytes, one for each op would {}",
            report::grouped(rewrites.bytes_after),
            report::grouped(rewrites.bytes_before)
        ));
    }
    if rewrites.overflows > 0 {
        notes.push(format!("{} regions outgrew the cap of the rewriter and stayed as they were", rewrites.overflows));
    }
    notes
}

/// The functional form of a verified graph.
pub fn make_functional(graph: &Graph) -> Result<PureGraph, Error> {
    Ok(functional_form(graph)?.0)
}

fn functional_form(graph: &Graph) -> Result<(PureGraph, FunctionalNotes), Error> {
    let (functional, notes) = functional::functionalize(graph, &alias::analyze(graph))?;
    verify_stage("functional", &functional)?;
    Ok((functional, notes))
}

fn rewrite_options(options: &Options) -> RewriteOptions {
    RewriteOptions {
        math: options.math,
        rewrite: options.rewrite,
        fuse: options.fuse,
        assume_finite: options.assume_finite,
        only_rule: options.only_rule.clone(),
        without_rules: options.without_rules.clone(),
        rule_limit: options.rule_limit,
        ..RewriteOptions::default()
    }
}

/// A graph made by a stage must be well formed; if it is not, the stage is wrong, not the user.
fn verify_stage(stage: &'static str, graph: &Graph) -> Result<(), Fault> {
    match ir::verify(graph).first() {
        None => Ok(()),
        Some(mistake) => Err(Fault { stage, message: mistake.message.clone() }),
    }
}

/// Stages after which the IR can be printed, by the name `situ print --after` takes.
pub const PRINTABLE: &[&str] = &["source", "alias", "functional", "rewrite"];

/// The IR after a stage as text, after `alias` the alias sets for Graphviz; `None` if there is no such stage.
pub fn print_after(graph: &Graph, stage: &str, options: &Options) -> Option<Result<String, Error>> {
    Some(match stage {
        "source" => Ok(ir::print(graph)),
        "alias" => Ok(alias::analyze(graph).dot()),
        "functional" => make_functional(graph).map(|graph| ir::print(&graph)),
        "rewrite" => make_functional(graph).and_then(|functional| {
            let round = settle(graph, &functional, options)?;
            Ok(ir::print(&round.rewritten))
        }),
        _ => return None,
    })
}
