//! Arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use situ::pipeline::Options;
use situ::rewrite::{Math, rules};

/// An ahead-of-time tensor compiler that works in place where it can prove it safe.
#[derive(Parser, Debug)]
#[command(name = "situ", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Parse and verify a model, and say everything that is wrong with it.
    Verify {
        #[command(flatten)]
        model: ModelArgs,
    },
    /// Compile a model ahead of time to one file.
    Compile {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        compile: CompileArgs,
        /// Plan for several extents of a symbol; the executable holds a plan for each combination.
        #[arg(long, value_name = "B=1,8", value_parser = shapes)]
        shapes: Vec<(String, Vec<usize>)>,
        /// Where to write the executable.
        #[arg(short, long, value_name = "F.situx")]
        output: PathBuf,
    },
    /// Run a model or an executable.
    Run {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        compile: CompileArgs,
        #[command(flatten)]
        inputs: InputArgs,
        #[command(flatten)]
        state: StateArgs,
        /// Write the outputs (out0, out1, …), the inputs after the run (mut0, …) if the program writes any, and the
        /// state it comes with (state:NAME).
        #[arg(long, value_name = "F.npz")]
        output: Option<PathBuf>,
        /// Compare with the out*, mut* and state:* arrays of this file.
        #[arg(long, value_name = "F.npz")]
        expect_npz: Option<PathBuf>,
        /// Largest absolute difference allowed, relative to the largest expected magnitude.
        #[arg(long, default_value_t = 1e-5, value_name = "R", value_parser = magnitude)]
        max_rel: f64,
        /// Let input Y have the bytes of input X, from byte BYTES of X on; may be given several times. Where Y reaches
        /// beyond the end of X it keeps the bytes of its own value; for the rest the value of X counts.
        #[arg(long, value_name = "Y=X[+BYTES]", value_parser = alias, conflicts_with = "assume_noalias")]
        alias: Vec<Alias>,
        /// Fail (exit 1) when inputs share bytes that the plan assumes distinct, instead of running the program as
        /// written.
        #[arg(long)]
        strict_alias: bool,
        /// Print the optimisation report before the results.
        #[arg(long)]
        report: bool,
    },
    /// Say what was fused, what works in place and why, and where every byte goes.
    Report {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        compile: CompileArgs,
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        /// Short for `--format json`.
        #[arg(long)]
        json: bool,
    },
    /// Compare two reports: sizes, ties, refusals, rewrites, and what is live at the peak.
    Diff {
        #[command(flatten)]
        sides: DiffArgs,
        #[command(flatten)]
        compile: CompileArgs,
    },
    /// Why a value is or is not in place, who shares its bytes, and what it became.
    Explain {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        compile: CompileArgs,
        /// The value, as the source names it (%h or h).
        value: String,
    },
    /// Print the IR after a stage.
    Print {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        compile: CompileArgs,
        /// source, alias (who shares bytes with whom, for Graphviz), functional or rewrite.
        #[arg(long, default_value = "source", value_name = "STAGE")]
        after: String,
        /// Put large constants and initial states into this file, which the printed text then names: keep both in one
        /// folder.
        #[arg(long, value_name = "F.safetensors")]
        weights: Option<PathBuf>,
    },
    /// Measure latency and memory.
    Bench {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        compile: CompileArgs,
        #[command(flatten)]
        inputs: InputArgs,
        /// How long to measure.
        #[arg(long, default_value_t = 2.0, value_name = "S", value_parser = magnitude)]
        secs: f64,
        /// Time each step as well.
        #[arg(long)]
        per_step: bool,
        #[arg(long)]
        json: bool,
    },
    /// Find offsets for buffers with given lifetimes and sizes, so that the highest address is low.
    Pack {
        /// Lines of id,lower,upper,size[,offset]; lifetimes are half-open, a filled offset stays as it is.
        file: PathBuf,
        /// Any packing below this will do; fail (exit 4) if there is none, or none was found. Without it the height is
        /// minimised.
        #[arg(long, value_name = "BYTES", value_parser = bytes)]
        capacity: Option<u64>,
        /// Offsets are multiples of this, and sizes are rounded up to it.
        #[arg(long, default_value_t = 1, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
        align: u64,
        /// Write the same lines with the offsets.
        #[arg(short, long, value_name = "OUT.csv")]
        output: Option<PathBuf>,
        /// How many states the exact search may see; by default 1,000,000, and fewer from 500 buffers on.
        #[arg(long, value_name = "NODES")]
        budget: Option<u64>,
        #[arg(long)]
        json: bool,
    },
    /// Check an executable: structure, certificate and the hash of its weights.
    Check {
        /// The executable.
        file: PathBuf,
        /// Read the file instead of mapping it.
        #[arg(long)]
        no_mmap: bool,
    },
    /// Run ONNX backend test directories and count what passes.
    Conformance {
        dir: PathBuf,
        #[arg(long)]
        json: bool,
        /// Fail unless at least so many cases pass.
        #[arg(long, value_name = "N")]
        min_pass: Option<usize>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people and for version control.
    Text,
    /// For programs.
    Json,
    /// The arena as a drawing: steps across, addresses upwards.
    Svg,
    /// One page with the drawing and everything else.
    Html,
    /// Trace events for the viewers of Chrome and Perfetto; a microsecond stands for a step.
    Trace,
}

#[derive(Args, Debug)]
pub struct ModelArgs {
    /// A .situ, .onnx or .situx file.
    pub model: PathBuf,
    /// Bind a symbol of the model's shapes; may be given several times.
    #[arg(long, value_name = "B=8", value_parser = binding)]
    pub bind: Vec<(String, usize)>,
    /// Read files instead of mapping them.
    #[arg(long)]
    pub no_mmap: bool,
}

#[derive(Args, Debug)]
pub struct DiffArgs {
    /// A .situ or .onnx model, a .situx file, or a report as `situ report --json` prints it.
    pub a: PathBuf,
    /// What it is compared with, likewise.
    pub b: PathBuf,
    /// Fail (exit 4) if the arena of B is larger than that of A by more than this.
    #[arg(long, value_name = "BYTES|PERCENT%", value_parser = growth)]
    pub max_growth: Option<Growth>,
    #[arg(long)]
    pub json: bool,
    /// Bind a symbol of the models' shapes; may be given several times.
    #[arg(long, value_name = "B=8", value_parser = binding)]
    pub bind: Vec<(String, usize)>,
    /// Read files instead of mapping them.
    #[arg(long)]
    pub no_mmap: bool,
}

/// By how much something may be larger than it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Growth {
    Bytes(u64),
    Percent(f64),
}

fn growth(text: &str) -> Result<Growth, String> {
    match text.strip_suffix('%') {
        Some(percent) => magnitude(percent).map(Growth::Percent),
        None => bytes(text).map(Growth::Bytes),
    }
}

#[derive(Args, Debug)]
pub struct CompileArgs {
    /// Which floating-point freedom rewrites may take.
    #[arg(long, value_enum, default_value_t = MathArg::Default)]
    pub math: MathArg,
    /// Do not rewrite: every op is a kernel of its own.
    #[arg(long)]
    pub no_rewrite: bool,
    /// Do not fuse: every op that the rules of algebra leave is a kernel of its own.
    #[arg(long)]
    pub no_fusion: bool,
    /// Promise that no value is NaN or infinite, so that rules which drop them apply whatever --math says.
    #[arg(long)]
    pub assume_finite: bool,
    /// Of the rules of algebra in docs/rules.md, apply only this one.
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub only_rule: Option<String>,
    /// Of the rules of algebra in docs/rules.md, leave this one out; may be given several times.
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub without_rule: Vec<String>,
    /// Apply only the first N rules of the table in docs/rules.md; those that make kernels stand at its end, so fewer are
    /// fused as well.
    #[arg(long, value_name = "N")]
    pub rule_limit: Option<usize>,
    /// Refuse every tie; the kernels stay the same.
    #[arg(long)]
    pub no_inplace: bool,
    /// Grant at most so many ties.
    #[arg(long, value_name = "N")]
    pub tie_limit: Option<usize>,
    /// Grant only the tie of this value.
    #[arg(long, value_name = "%v")]
    pub only_tie: Option<String>,
    /// Give every buffer its own bytes.
    #[arg(long)]
    pub no_plan: bool,
    /// Threads to run with; workspaces are planned for them.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Which machines the executable is packed for; weights are packed alike for all, and instruction sets are chosen when
    /// it is loaded, so both give one file today.
    #[arg(long, value_enum, default_value_t = Target::Baseline)]
    pub target: Target,
    /// Fail (exit 4) if the arena would be larger.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub max_peak: Option<u64>,
    /// Promise that inputs never share bytes: no fallback is compiled, and nothing is compared before a run.
    #[arg(long)]
    pub assume_noalias: bool,
}

impl CompileArgs {
    /// The flags that differ from their defaults, except for the number of threads.
    pub fn chosen(&self) -> Vec<&'static str> {
        let flags = [
            ("--math", self.math != MathArg::Default),
            ("--no-rewrite", self.no_rewrite),
            ("--no-fusion", self.no_fusion),
            ("--assume-finite", self.assume_finite),
            ("--only-rule", self.only_rule.is_some()),
            ("--without-rule", !self.without_rule.is_empty()),
            ("--rule-limit", self.rule_limit.is_some()),
            ("--no-inplace", self.no_inplace),
            ("--tie-limit", self.tie_limit.is_some()),
            ("--only-tie", self.only_tie.is_some()),
            ("--no-plan", self.no_plan),
            ("--target", self.target != Target::Baseline),
            ("--max-peak", self.max_peak.is_some()),
            ("--assume-noalias", self.assume_noalias),
        ];
        flags.into_iter().filter(|(_, chosen)| *chosen).map(|(flag, _)| flag).collect()
    }

    pub fn options(&self) -> Options {
        Options {
            math: match self.math {
                MathArg::Strict => Math::Strict,
                MathArg::Default => Math::Default,
                MathArg::Fast => Math::Fast,
            },
            rewrite: !self.no_rewrite,
            fuse: !self.no_fusion,
            assume_finite: self.assume_finite,
            only_rule: self.only_rule.clone(),
            without_rules: self.without_rule.clone(),
            rule_limit: self.rule_limit,
            inplace: !self.no_inplace,
            tie_limit: self.tie_limit,
            only_tie: self.only_tie.as_ref().map(|value| format!("%{}", value.trim_start_matches('%'))),
            planned: !self.no_plan,
            threads: usize::from(self.threads),
            max_peak: self.max_peak,
            assume_noalias: self.assume_noalias,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    Baseline,
    Native,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MathArg {
    /// Only rules that keep every bit.
    Strict,
    /// Also the sign of zero, a few units in the last place, constants folded into weights.
    Default,
    /// Also other orders of sums and other ranges in between: everything but what drops NaN and infinity.
    Fast,
}

#[derive(Args, Debug)]
pub struct InputArgs {
    /// The value of an input; may be given several times.
    #[arg(long, value_name = "NAME=FILE.npy|zeros|random:SEED")]
    pub input: Vec<String>,
    /// Arrays for the inputs, by name, else in0, in1, … by position; inputs that come with state are not counted.
    #[arg(long, value_name = "F.npz")]
    pub input_npz: Option<PathBuf>,
}

/// State that comes with the program; what neither these nor --input give is as the program has it at first.
#[derive(Args, Debug)]
pub struct StateArgs {
    /// State from before, as --state-out writes it.
    #[arg(long, value_name = "F.npz")]
    pub state_in: Option<PathBuf>,
    /// Write the state after the run: an array for each input that comes with state, and one for each named part of it. It
    /// may be the file of --state-in.
    #[arg(long, value_name = "F.npz")]
    pub state_out: Option<PathBuf>,
}

/// That one input lies in the bytes of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    pub base: String,
    /// From the start of the base.
    pub bytes: usize,
}

fn alias(text: &str) -> Result<Alias, String> {
    let (name, place) = text.split_once('=').ok_or("expected Y=X or Y=X+BYTES")?;
    let (base, bytes) = match place.rsplit_once('+') {
        None => (place, 0),
        Some((base, bytes)) => (base, bytes.parse().map_err(|_| format!("{bytes:?} is not a number of bytes"))?),
    };
    Ok(Alias { name: name.to_string(), base: base.to_string(), bytes })
}

/// The name of a rule that can be chosen: how kernels are made cannot.
fn rule(text: &str) -> Result<String, String> {
    match rules::all().iter().find(|rule| rule.name == text) {
        Some(rule) if rule.phase.is_optional() => Ok(text.to_string()),
        Some(_) => Err("it is no rule of algebra, but a part of how kernels are made".to_string()),
        None => Err(match rules::nearest(text).as_slice() {
            [] => "there is no such rule; docs/rules.md lists them".to_string(),
            names => format!("there is no such rule; did you mean {}?", names.join(", ")),
        }),
    }
}

/// A number that is finite and not negative.
fn magnitude(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if number.is_finite() && number >= 0.0 { Ok(number) } else { Err("expected a finite number, zero or more".into()) }
}

fn binding(text: &str) -> Result<(String, usize), String> {
    let (name, value) = text.split_once('=').ok_or("expected SYMBOL=EXTENT")?;
    let value = value.parse().map_err(|_| format!("{value:?} is not an extent"))?;
    Ok((name.to_string(), value))
}

fn shapes(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, values) = text.split_once('=').ok_or("expected SYMBOL=EXTENT,EXTENT,…")?;
    let values: Result<Vec<usize>, _> =
        values.split(',').map(|value| value.parse().map_err(|_| format!("{value:?} is not an extent"))).collect();
    Ok((name.to_string(), values?))
}

/// Bytes as `4096`, `12KiB`, `12MiB`, `1GiB`, `12KB`, `12MB`.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => return Err(format!("{other:?} is not a unit of bytes")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{digits:?} is not a number"))?;
    number.checked_mul(unit).ok_or_else(|| "too many bytes".into())
}
