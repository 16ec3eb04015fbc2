//! How long each stage takes on generated programs: `cargo run --release --example scale -- KIND OPS`.
//!
//! Kinds: `deep` (a network with residual branches, long skips and one mask that many ops read), `wide` (random layers
//! as wide as the program is long), `flat` (short branches of one value, added up at the end), `ladder` (a chain whose
//! values a second one reads), `writes` (slices of one tensor written one after the other), `state` (the same of a tensor of the caller, so that the program is compiled as
//! written besides), `transformer` (OPS blocks with attention, softmax, layer norm and gelu taken apart as exporters write
//! them) and `unet` (OPS levels down and up again, joined by long skips). The programs depend on nothing but kind and
//! size, and are compiled, not run.

use std::fmt::Write;
use std::time::Instant;

use situ::functional::functionalize;
use situ::lower::LowerOptions;
use situ::pipeline::{self, Options};
use situ::place::PlaceOptions;
use situ::plan::PlanOptions;
use situ::rewrite::RewriteOptions;
use situ::source::Bindings;
use situ::{alias, emit, ir, lower, place, plan, rewrite, source};
use situ_runtime::executable::{Executable, Fallback};
use situ_runtime::wire::Compiled;

/// Numbers from SplitMix64.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// A program that is being written. All values are `f32[8, 16]` but for the parts of a concatenation.
struct Program {
    text: String,
    ops: usize,
    random: Random,
    /// Values nobody has used, oldest first.
    unused: Vec<usize>,
}

const WEIGHTS: usize = 8;

impl Program {
    fn new() -> Program {
        let mut text = String::from("graph scale {\n  input %x: f32[8, 16]\n  input %given: f32[8, 16]\n");
        for weight in 0..WEIGHTS {
            let _ = writeln!(text, "  const %w{weight}: f32[16, 16] = seeded(normal, std=0.1, seed={weight})");
        }
        Program { text, ops: 0, random: Random(7), unused: Vec::new() }
    }

    /// Writes an op; the number of its result.
    fn op(&mut self, words: std::fmt::Arguments<'_>) -> usize {
        let _ = writeln!(self.text, "  %v{} = {words}", self.ops);
        self.ops += 1;
        self.ops - 1
    }

    /// One or a few ops on `a`, and on `b` where two are needed.
    fn step(&mut self, a: usize, b: usize) {
        self.unused.retain(|&value| value != a);
        let both = |program: &mut Program, op: &str| {
            program.unused.retain(|&value| value != b);
            program.op(format_args!("{op} %v{a}, %v{b}"))
        };
        let made = match self.random.below(20) {
            0..3 => self.op(format_args!("relu %v{a}")),
            3..5 => self.op(format_args!("tanh %v{a}")),
            5..10 => both(self, "add"),
            10..13 => both(self, "mul"),
            13..16 => {
                let weight = self.random.below(WEIGHTS);
                self.op(format_args!("matmul %v{a}, %w{weight}"))
            }
            16 => self.op(format_args!("softmax %v{a} {{axis=1}}")),
            17 => self.op(format_args!("add %v{a}, %v0")),
            18 => {
                let sum = self.op(format_args!("sum %v{a} {{axes=[1], keepdim=true}}"));
                self.op(format_args!("div %v{a}, %v{sum}"))
            }
            _ => {
                let joined = both(self, "concat").to_string();
                let from = self.random.below(8);
                self.text.truncate(self.text.len() - 1);
                self.text.push_str(" {axis=0}\n");
                self.op(format_args!("slice %v{joined} {{axis=0, start={from}, end={}}}", from + 8))
            }
        };
        self.unused.push(made);
    }

    /// Adds up what nobody has used.
    fn finish(mut self) -> String {
        let mut rest = std::mem::take(&mut self.unused).into_iter();
        let mut sum = rest.next().unwrap_or(0);
        for value in rest {
            sum = self.op(format_args!("add %v{sum}, %v{value}"));
        }
        let _ = writeln!(self.text, "  return y=%v{sum}\n}}");
        self.text
    }
}

fn deep(ops: usize) -> String {
    let mut program = Program::new();
    let mask = program.op(format_args!("sigmoid %given"));
    let first = program.op(format_args!("add %x, %v{mask}"));
    program.unused.push(first);
    // Results, for the long skips; some are used up to three times.
    let mut made = vec![first];
    while program.ops < ops {
        let oldest = program.unused[0];
        let near = made[made.len() - 1 - program.random.below(made.len().min(4))];
        let a = if program.unused.len() > 3 { oldest } else { near };
        let b = match program.random.below(200) {
            0 => made[program.random.below(made.len())],
            1..4 => made[made.len() - 1 - program.random.below(made.len().min(500))],
            _ => made[made.len() - 1 - program.random.below(made.len().min(6))],
        };
        program.step(a, b);
        made.push(program.ops - 1);
    }
    program.finish()
}

fn wide(ops: usize) -> String {
    let mut program = Program::new();
    program.op(format_args!("sigmoid %given"));
    let width = ops.isqrt();
    let mut layer: Vec<usize> = (0..width)
        .map(|_| {
            let weight = program.random.below(WEIGHTS);
            program.op(format_args!("matmul %x, %w{weight}"))
        })
        .collect();
    while program.ops < ops {
        program.unused.clone_from(&layer);
        let mut next = Vec::with_capacity(width);
        for place in 0..width {
            let (a, b) = (layer[place], layer[program.random.below(width)]);
            program.step(a, b);
            next.push(program.ops - 1);
        }
        layer = next;
    }
    program.unused = layer;
    program.finish()
}

fn flat(ops: usize) -> String {
    let mut program = Program::new();
    let shared = program.op(format_args!("softmax %given {{axis=1}}"));
    while program.ops < ops {
        let weight = program.random.below(WEIGHTS);
        let product = program.op(format_args!("matmul %v{shared}, %w{weight}"));
        let branch = program.op(format_args!("softmax %v{product} {{axis=1}}"));
        program.unused.push(branch);
    }
    program.finish()
}

fn ladder(ops: usize) -> String {
    let mut program = Program::new();
    let mut rail: Vec<usize> = vec![program.op(format_args!("softmax %x {{axis=1}}"))];
    while rail.len() < ops / 3 {
        let last = rail[rail.len() - 1];
        rail.push(program.op(format_args!("softmax %v{last} {{axis=1}}")));
    }
    let mut other = program.op(format_args!("softmax %given {{axis=1}}"));
    for rung in rail {
        let sum = program.op(format_args!("add %v{other}, %v{rung}"));
        other = program.op(format_args!("softmax %v{sum} {{axis=1}}"));
    }
    program.unused.push(other);
    program.finish()
}

fn writes(ops: usize, base: &str) -> String {
    let mut program = Program::new();
    if base == "%state" {
        program.text.push_str("  inout %state: f32[32, 16]\n");
    } else {
        let _ = writeln!(program.text, "  %sum = concat %x, %given, %x, %given {{axis=0}}\n  {base} = clone %sum");
    }
    let mut last = program.op(format_args!("relu %x"));
    while program.ops < ops {
        let row = program.random.below(25);
        let part = program.op(format_args!("slice {base} {{axis=0, start={row}, end={}}}", row + 8));
        match program.random.below(4) {
            0 => program.op(format_args!("add_ %v{part}, %v{last}")),
            1 => program.op(format_args!("relu_ %v{part}")),
            2 => program.op(format_args!("copy_ %v{part}, %v{last}")),
            _ => {
                last = program.op(format_args!("tanh %v{part}"));
                last
            }
        };
    }
    let given = if base == "%state" { String::new() } else { format!("y={base}, ") };
    let _ = writeln!(program.text, "  return {given}last=%v{last}\n}}");
    program.text
}

/// Layer norm of `%x` in primitives, the result `%n{tag}`.
fn layer_norm(text: &mut String, tag: &str, x: &str) {
    let _ = write!(
        text,
        "  %m{tag} = mean {x} {{axes=[2], keepdim=true}}\n  %d{tag} = sub {x}, %m{tag}\n  %q{tag} = pow %d{tag}, 2.0\n  \
         %v{tag} = mean %q{tag} {{axes=[2], keepdim=true}}\n  %e{tag} = add %v{tag}, 1e-5\n  %s{tag} = sqrt %e{tag}\n  \
         %t{tag} = div %d{tag}, %s{tag}\n  %g{tag} = mul %t{tag}, %scale{tag}\n  %n{tag} = add %g{tag}, %shift{tag}\n"
    );
}

fn transformer(blocks: usize) -> String {
    let mut text = String::from("graph transformer {\n  input %x0: f32[1, 16, 32]\n");
    for l in 0..blocks {
        let shapes = [
            ("q", "32, 32"),
            ("k", "32, 32"),
            ("v", "32, 32"),
            ("o", "32, 32"),
            ("up", "32, 128"),
            ("down", "128, 32"),
        ];
        for (seed, (name, shape)) in shapes.into_iter().enumerate() {
            let width = shape.rsplit(' ').next().unwrap_or_default();
            let seed = l * 16 + seed;
            let _ = writeln!(text, "  const %w{name}{l}: f32[{shape}] = seeded(normal, std=0.2, seed={seed})");
            let _ = writeln!(text, "  const %b{name}{l}: f32[{width}] = seeded(normal, std=0.2, seed={})", seed + 7);
        }
        for tag in [format!("a{l}"), format!("b{l}")] {
            let seed = l * 16 + 14;
            let _ = writeln!(text, "  const %scale{tag}: f32[32] = seeded(uniform, low=0.5, high=1.5, seed={seed})");
            let _ = writeln!(text, "  const %shift{tag}: f32[32] = seeded(normal, std=0.2, seed={})", seed + 1);
        }
    }
    for l in 0..blocks {
        layer_norm(&mut text, &format!("a{l}"), &format!("%x{l}"));
        for name in ["q", "k", "v"] {
            let axes = if name == "k" { "0, 2, 3, 1" } else { "0, 2, 1, 3" };
            let _ = write!(
                text,
                "  %{name}m{l} = matmul %na{l}, %w{name}{l}\n  %{name}z{l} = add %{name}m{l}, %b{name}{l}\n  \
                 %{name}r{l} = reshape %{name}z{l} {{shape=[1, 16, 4, 8]}}\n  %{name}t{l} = permute %{name}r{l} {{axes=[{axes}]}}\n"
            );
        }
        let _ = write!(
            text,
            "  %sc{l} = matmul %qt{l}, %kt{l}\n  %sd{l} = div %sc{l}, 2.8284271247461903\n  \
             %mx{l} = amax %sd{l} {{axes=[3], keepdim=true}}\n  %sm{l} = sub %sd{l}, %mx{l}\n  %ex{l} = exp %sm{l}\n  \
             %su{l} = sum %ex{l} {{axes=[3], keepdim=true}}\n  %pr{l} = div %ex{l}, %su{l}\n  \
             %at{l} = matmul %pr{l}, %vt{l}\n  %ap{l} = permute %at{l} {{axes=[0, 2, 1, 3]}}\n  \
             %ar{l} = reshape %ap{l} {{shape=[1, 16, 32]}}\n  %om{l} = matmul %ar{l}, %wo{l}\n  \
             %ob{l} = add %om{l}, %bo{l}\n  %y{l} = add %x{l}, %ob{l}\n"
        );
        layer_norm(&mut text, &format!("b{l}"), &format!("%y{l}"));
        let _ = write!(
            text,
            "  %um{l} = matmul %nb{l}, %wup{l}\n  %ub{l} = add %um{l}, %bup{l}\n  \
             %hd{l} = div %ub{l}, 1.4142135623730951\n  %he{l} = erf %hd{l}\n  %hf{l} = add %he{l}, 1.0\n  \
             %hg{l} = mul %ub{l}, %hf{l}\n  %hh{l} = mul %hg{l}, 0.5\n  %dm{l} = matmul %hh{l}, %wdown{l}\n  \
             %dz{l} = add %dm{l}, %bdown{l}\n  %x{} = add %y{l}, %dz{l}\n",
            l + 1
        );
    }
    let _ = writeln!(text, "  return y=%x{blocks}\n}}");
    text
}

/// Two convolutions with batch norm and relu, from `from` to `to` channels; the result is `%{tag}r1`.
fn two_convolutions(heads: &mut String, body: &mut String, tag: &str, x: &str, from: usize, to: usize) {
    let mut x = x.to_string();
    for (at, channels) in [from, to].into_iter().enumerate() {
        let name = format!("{tag}{at}");
        let _ = writeln!(
            heads,
            "  const %w{name}: f32[{to}, {channels}, 3, 3] = seeded(normal, std=0.1, seed={})",
            heads.len()
        );
        for (row, distribution) in [
            ("s", "uniform, low=0.5, high=1.5"),
            ("h", "normal, std=0.2"),
            ("m", "normal, std=0.2"),
            ("v", "uniform, low=0.5, high=1.5"),
        ] {
            let _ = writeln!(heads, "  const %{row}{name}: f32[{to}] = seeded({distribution}, seed={})", heads.len());
        }
        let _ = write!(
            body,
            "  %c{name} = conv {x}, %w{name} {{strides=[1, 1], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1], groups=1}}\n  \
             %n{name} = batch_norm %c{name}, %s{name}, %h{name}, %m{name}, %v{name} {{eps=1e-5}}\n  %{tag}r{at} = relu %n{name}\n"
        );
        x = format!("%{tag}r{at}");
    }
}

fn unet(levels: usize) -> String {
    // Long networks keep one width and halve the resolution only as long as there is one.
    let (mut heads, mut body) = (String::from("graph unet {\n  input %x: f32[1, 4, 16, 16]\n"), String::new());
    let mut x = String::from("%x");
    for l in 0..levels {
        two_convolutions(&mut heads, &mut body, &format!("d{l}"), &x, 4, 4);
        x = format!("%d{l}r1");
        if l < 3 {
            let _ = writeln!(body, "  %p{l} = max_pool {x} {{kernel=[2, 2]}}");
            x = format!("%p{l}");
        }
    }
    for l in (0..levels).rev() {
        if l < 3 {
            let _ = writeln!(heads, "  const %wu{l}: f32[4, 4, 2, 2] = seeded(normal, std=0.3, seed={l})");
            let _ = writeln!(
                body,
                "  %u{l} = conv_transpose {x}, %wu{l} {{strides=[2, 2], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1], \
                 output_padding=[0, 0], groups=1}}"
            );
            x = format!("%u{l}");
        }
        let _ = writeln!(body, "  %j{l} = concat {x}, %d{l}r1 {{axis=1}}");
        two_convolutions(&mut heads, &mut body, &format!("e{l}"), &format!("%j{l}"), 8, 4);
        x = format!("%e{l}r1");
    }
    let _ = writeln!(body, "  return y={x}\n}}");
    heads + &body
}

/// Says how long a stage took, in seconds.
fn timed<T>(stage: &str, what: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = what();
    println!("{stage:<12}{:>9.3}", start.elapsed().as_secs_f64());
    result
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: scale (deep | wide | flat | ladder | writes | state | transformer | unet) OPS [text]";
    let (kind, ops) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?.parse::<usize>()?);
    let text = match kind.as_str() {
        "deep" => deep(ops),
        "wide" => wide(ops),
        "writes" => writes(ops, "%base"),
        "state" => writes(ops, "%state"),
        "flat" => flat(ops),
        "ladder" => ladder(ops),
        "transformer" => transformer(ops),
        "unet" => unet(ops),
        _ => return Err(usage.into()),
    };
    if args.next().is_some() {
        print!("{text}");
        return Ok(());
    }
    let (graph, diagnostics) = timed("source", || source::parse(&text, &Bindings::new()));
    let graph = graph.ok_or_else(|| diagnostics.first().map(|first| first.message.clone()).unwrap_or_default())?;
    if let Some(mistake) = timed("verify", || ir::verify(&graph)).first() {
        return Err(mistake.message.clone().into());
    }
    let aliases = timed("alias", || alias::analyze(&graph));
    let (functional, notes) =
        timed("functional", || functionalize(&graph, &aliases)).map_err(|stop| format!("{stop:?}"))?;
    timed("verify", || ir::verify(&functional));
    let rewritten = timed("rewrite", || rewrite::optimize(functional, &RewriteOptions::default()));
    let (rewritten, _) = rewritten.map_err(|fault| fault.to_string())?;
    timed("verify", || ir::verify(&rewritten));
    let lowered = timed("lower", || lower::lower(&rewritten, &LowerOptions { threads: 1, pack: true }));
    let lowered = lowered.map_err(|fault| fault.to_string())?.main;
    let nodes = lowered.nodes.len();
    let placed =
        timed("place", || place::place(lowered.clone(), &PlaceOptions::default())).map_err(|f| f.to_string())?;
    let apart = PlaceOptions { inplace: false, ..PlaceOptions::default() };
    timed("place apart", || place::place(lowered, &apart)).map_err(|fault| fault.to_string())?;
    let (ties, peak, source_peak) = (placed.ties.len(), placed.peak_bytes, placed.source_peak_bytes);
    let plan_options = PlanOptions { planned: true, threads: 1 };
    let planned = timed("plan", || plan::plan(placed, &plan_options)).map_err(|fault| fault.to_string())?;
    let mut emitted = timed("emit", || emit::emit(&planned)).map_err(|fault| fault.to_string())?;
    let weights = timed("weights", || emit::weights(&planned, &rewritten)).map_err(|error| format!("{error:?}"))?;
    emitted.assumed_distinct = emit::assumed_distinct(&emitted, &notes);
    let fallback = if emitted.assumed_distinct.is_empty() { Fallback::Unneeded } else { Fallback::Promised };
    let executable = Executable {
        name: graph.name.clone(),
        plans: vec![emitted],
        fallbacks: vec![fallback],
        bodies: Vec::new(),
        bindings: vec![Vec::new()],
        weights_bytes: weights.len() as u64,
        report: String::new(),
        report_text: String::new(),
    };
    let compiled = timed("validate", || Compiled::new(executable, weights)).map_err(|invalid| invalid.to_string())?;
    timed("check", || situ_runtime::check::check(&compiled.executable)).map_err(|findings| format!("{findings:?}"))?;
    println!("nodes {nodes}, ties {ties}, peak {peak}, source order {source_peak:?}, arena {}", planned.arena_bytes);
    let compilation =
        timed("all", || pipeline::compile(&graph, &Options::default())).map_err(|error| error.to_string())?;
    // Two versions of the compiler decide the same where these agree.
    println!("report {:016x}", hash(compilation.report_json.as_bytes()));
    Ok(())
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}
