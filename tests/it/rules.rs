//! The rules of the rewriter as a whole: each is shown at work, none is needed for a right result, and their page says what
//! their rows say.
//!
//! `tests/it/rules` holds a program for each theme, with what rewriting makes of it beside it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use situ::eval;
use situ::ir::{self, Graph};
use situ::npz::Array;
use situ::pipeline::{Options, compile, make_functional};
use situ::rewrite::rules::{self, Freedom};
use situ::rewrite::{self, Math, Phase, RewriteOptions};
use situ_runtime::session::Session;

use crate::examples;
use crate::support::run;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/rules")
}

/// The programs of this test, in order, and whether each is for `--math fast --assume-finite`.
fn programs() -> Vec<(PathBuf, bool)> {
    let entries = std::fs::read_dir(folder()).expect("the programs").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "situ")).collect();
    found.sort();
    let fast = |path: &PathBuf| std::fs::read_to_string(path).expect("text").contains("// options: fast, finite\n");
    found.into_iter().map(|path| (path.clone(), fast(&path))).collect()
}

/// Rules that contribute to what becomes of a program, by the report of rewriting.
fn fired(graph: &Graph, options: &RewriteOptions) -> (Graph, Vec<(&'static str, usize)>) {
    let functional = make_functional(graph).expect("a functional form");
    let (rewritten, report) = rewrite::optimize(functional, options).expect("rewriting");
    let rewritten: &Graph = &rewritten;
    (rewritten.clone(), report.rules.into_iter().collect())
}

fn admitting(fast: bool) -> RewriteOptions {
    RewriteOptions {
        math: if fast { Math::Fast } else { Math::Default },
        assume_finite: fast,
        ..RewriteOptions::default()
    }
}

#[test]
fn every_rule_is_shown_at_work() {
    let mut shown: BTreeSet<&str> = BTreeSet::new();
    for (path, fast) in programs() {
        let (rewritten, used) = fired(&examples::graph(&path), &admitting(fast));
        let mut text = String::new();
        for (name, times) in &used {
            let _ = writeln!(text, "// {name} {times}");
        }
        text.push_str(&ir::print(&rewritten));
        shown.extend(used.iter().map(|(name, _)| *name));
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder());
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let stem = path.file_stem().expect("a stem").to_string_lossy().into_owned();
        settings.bind(|| insta::assert_snapshot!(stem, text));
    }
    let hidden: Vec<&str> = rules::all()
        .iter()
        .filter(|rule| rule.phase.is_optional() && !shown.contains(rule.name))
        .map(|rule| rule.name)
        .filter(|rule| !serves(rule))
        .collect();
    assert!(hidden.is_empty(), "no program shows {hidden:?}");
}

/// Whether some form in which exporters write a function becomes something else without this rule, which only makes what
/// other rules look for: `kernels.txt` beside the form shows it at work.
fn serves(rule: &str) -> bool {
    crate::forms::all().iter().any(|(graph, math)| {
        let with = RewriteOptions { math: *math, ..RewriteOptions::default() };
        let without = RewriteOptions { without_rules: vec![rule.to_string()], ..with.clone() };
        ir::print(&fired(graph, &with).0) != ir::print(&fired(graph, &without).0)
    })
}

/// What was rewritten says how: each step with what it made of what, those that made what others look for before them.
#[test]
fn derivations_are_told() {
    let cases = [
        (
            "gelu_recovered",
            "%g",
            &[
                "  div(%h, 1.4142135) = mul(%h, 0.70710677)  (div-constant, ulp)\n",
                "  mul(mul(%h, add(erf(mul(%h, 0.70710677)), 1.0)), 0.5) = gelu(%h)  (gelu-halved-last, ulp)\n",
            ][..],
        ),
        ("rms_norm_recovered", "%y", &["(rms-norm, ulp)\n"][..]),
    ];
    for (stem, value, steps) in cases {
        let path = examples::programs().into_iter().find(|path| path.file_stem().is_some_and(|own| own == stem));
        let graph = examples::graph(&path.expect("the example"));
        let compiled = situ::pipeline::compile(&graph, &situ::pipeline::Options::default()).expect("compilation");
        let told = compiled.explain(&graph, value).expect("a value of the program");
        let mut rest = &told[..];
        for step in steps {
            let at = rest.find(step).unwrap_or_else(|| panic!("{step} is not, or not in its place, in\n{told}"));
            rest = &rest[at + step.len()..];
        }
    }
}

/// Programs that are compiled again and again.
fn small_programs() -> Vec<(PathBuf, Vec<Math>)> {
    const EXAMPLES: [&str; 12] = [
        "gelu_recovered",
        "layer_norm_recovered",
        "masked_softmax",
        "rms_norm_recovered",
        "conv_norm_relu",
        "chain",
        "emplaced_concat",
        "emplaced_pad",
        "kv_cache",
        "scattered",
        "slice_assignment",
        "split_heads",
    ];
    let examples = examples::programs().into_iter().filter(|path| {
        let stem = path.file_stem().expect("a stem").to_string_lossy();
        EXAMPLES.contains(&&*stem)
    });
    let own = programs().into_iter().map(|(path, fast)| match fast {
        true => (path, vec![Math::Fast]),
        false => (path, vec![Math::Strict, Math::Default]),
    });
    let all = vec![Math::Strict, Math::Default, Math::Fast];
    let found: Vec<(PathBuf, Vec<Math>)> = examples.map(|path| (path, all.clone())).chain(own).collect();
    assert_eq!(found.len(), EXAMPLES.len() + programs().len());
    found
}

/// A number of each array, and what is wrong with them.
fn compare(found: &[Array], expected: &[Array], exact: bool) -> Option<String> {
    found.iter().zip(expected).enumerate().find_map(|(index, (found, expected))| {
        let float = found.ty.dtype.is_float();
        let wrong = if exact || !float {
            !same(found, expected)
        } else {
            let narrow = found.ty.dtype.size() == 2;
            let error = run::relative_error(found, expected);
            error.is_nan() || error > if narrow { 2e-2 } else { 2e-5 }
        };
        wrong.then(|| format!("result {index}: {:?} instead of {:?}", found.to_f64(), expected.to_f64()))
    })
}

/// Bit for bit, but for the payload of NaN.
fn same(found: &Array, expected: &Array) -> bool {
    found.bytes == expected.bytes
        || found.ty.dtype.is_float()
            && found
                .to_f64()
                .iter()
                .zip(expected.to_f64())
                .all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

fn executed(graph: &Graph, options: &Options, inputs: &[Array]) -> Vec<Array> {
    let compilation = compile(graph, options).unwrap_or_else(|error| panic!("{}: {error}", graph.name));
    let options = situ_runtime::session::Options { threads: Some(1), ..Default::default() };
    run::once(&mut Session::new(compilation.compiled, options).expect("a compiled program opens"), inputs)
}

/// What the functional form means, by the oracle: outputs, then final states.
fn meaning(graph: &Graph, inputs: &[Array]) -> Vec<Array> {
    let functional = make_functional(graph).expect("a functional form");
    let tensors: Vec<eval::Tensor> =
        inputs.iter().map(|array| eval::Tensor::new(array.ty.clone(), array.bytes.clone())).collect();
    let mut whole: Graph = (*functional).clone();
    for (place, value) in whole.finals.clone() {
        whole.add_output(format!("final{place}"), value);
    }
    let results = eval::evaluate(&whole, &tensors).expect("the program evaluates");
    results.into_iter().map(|tensor| Array { bytes: tensor.bytes.to_vec(), ty: tensor.ty }).collect()
}

/// What is wrong with a program that is compiled with all rules, without each that it uses and with only that one; and how
/// often it was compiled.
fn without_and_alone(path: &Path, maths: &[Math]) -> (Vec<String>, usize) {
    let graph = examples::graph(path);
    let inputs = run::random_inputs(&graph, 11);
    let expected = meaning(&graph, &inputs);
    let plain = Options { rewrite: false, math: Math::Strict, ..Options::default() };
    let unrewritten = executed(&graph, &plain, &inputs);
    let name = path.file_stem().expect("a stem").to_string_lossy().into_owned();
    let mut wrong: Vec<String> = Vec::new();
    let mut compiled = 1;
    wrong.extend(compare(&unrewritten, &expected, false).map(|why| format!("{name} unrewritten: {why}")));
    for &math in maths {
        // The inputs are finite, and so is all that these programs make of them.
        let finite = math == Math::Fast;
        let base = Options { math, assume_finite: finite, ..Options::default() };
        let (_, used) = fired(&graph, &RewriteOptions { math, assume_finite: finite, ..RewriteOptions::default() });
        let mut variants = vec![("all".to_string(), base.clone())];
        for (rule, _) in used {
            variants.push((format!("without {rule}"), Options { without_rules: vec![rule.into()], ..base.clone() }));
            variants.push((format!("only {rule}"), Options { only_rule: Some(rule.into()), ..base.clone() }));
        }
        for (label, options) in variants {
            let found = executed(&graph, &options, &inputs);
            compiled += 1;
            let why = match math {
                Math::Strict => compare(&found, &unrewritten, true),
                _ => compare(&found, &expected, false),
            };
            wrong.extend(why.map(|why| format!("{name} {math:?} {label}: {why}")));
        }
    }
    (wrong, compiled)
}

/// The results stay whatever rule is left out or stands alone, bit for bit where nothing may change a bit. A rule that leans
/// on another, or that is wrong alone, shows here.
#[test]
fn each_rule_can_be_left_out_and_stands_alone() {
    let programs = small_programs();
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut wrong, mut compiled) = (Vec::new(), 0);
        while let Some((path, maths)) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (own, times) = without_and_alone(path, maths);
            wrong.extend(own);
            compiled += times;
        }
        (wrong, compiled)
    };
    let (mut wrong, mut compiled) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        for worker in [scope.spawn(work), scope.spawn(work)] {
            let (own, times) = worker.join().expect("a worker ends");
            wrong.extend(own);
            compiled += times;
        }
    });
    let some = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of them\n{some}", wrong.len());
    assert!(compiled > 500, "{compiled}");
}

fn page() -> String {
    let mut text = String::from(
        "# Rules\n\nGenerated from the rows of `compiler/src/rewrite/rules` by `SITU_BLESS=1 cargo test docs`.\n\n\
         A rule says that what stands on its left may be replaced by what stands on its right; both then denote one value, and \
         the cheapest program is chosen in the end. `?x` is any value, a number on the left a constant of that value in every \
         element, and both orders of a commutative function are tried. A condition speaks of types, constants and weights \
         only.\n\n## What a rule may change\n\nEvery rule has a mark. It is held to it on random inputs, both sides computed \
         by the scalar meaning of each op (`rewrite::tests::laws`).\n\n\
         | mark | what it promises | granted by |\n|---|---|---|\n",
    );
    for freedom in Freedom::ALL {
        let (promise, granted) = match freedom {
            Freedom::Exact => (
                "Every bit of every element, for all inputs: infinities, zeros of both signs, subnormal numbers and the \
                 ends of the range. NaN stays NaN; its payload may change.",
                "every `--math`",
            ),
            Freedom::ZeroSign => ("As exact, but a zero may have the other sign.", "`--math default`, `fast`"),
            Freedom::Ulp => (
                "Each element within 4 units in its last place, wherever what lies between is normal: nothing overflows, \
                 underflows or cancels on one side only. Infinities, NaN and zeros stay. For a function that was taken \
                 apart and is recognised, the distance is that of its parts, which may cancel where it does not.",
                "`--math default`, `fast`",
            ),
            Freedom::Fold => (
                "Constants are combined with weights when compiling: one rounding more, or one less, of numbers of \
                 moderate size.",
                "`--math default`, `fast`",
            ),
            Freedom::Reassociate => (
                "The same over the real numbers. Sums and products are taken in another order, or what lies between has \
                 another range: what cancels, overflows or underflows may differ in every bit.",
                "`--math fast`",
            ),
            Freedom::Finite => (
                "The same where no value is NaN, infinite, or a zero divided by; a zero may have the other sign.",
                "`--assume-finite`, with every `--math`",
            ),
        };
        let _ = writeln!(text, "| {} | {promise} | {granted} |", freedom.name());
    }
    text.push_str(
        "\n`--math strict` gives the bits of the same program without rewriting. `--math default` is for inference and training \
         as they are usually compared: an element differs by a few units in its last place for each rule that led to it. \
         `--math fast` may change the order of sums. `--assume-finite` is a promise of the caller about every value of the \
         program, not only its inputs; where it is broken, results are wrong without notice. No `--math` implies it.\n\n\
         ## The table\n\nIn the order in which rules are tried; `--rule-limit N` applies the first N. `--only-rule` and \
         `--without-rule` choose among those of the phases *algebra* and *merge*. The phases follow each other: *algebra* until \
         nothing changes, *merge* once and *algebra* again, *lower* into kernels, *fuse* kernels until nothing changes, *tie* asks to work in place.\n\n\
         | | rule | equation | condition | mark | phase |\n|---|---|---|---|---|---|\n",
    );
    for (at, rule) in rules::all().iter().enumerate() {
        let phase = match rule.phase {
            Phase::Algebra => "algebra",
            Phase::Merge => "merge",
            Phase::Lower => "lower",
            Phase::Fuse => "fuse",
            Phase::Tie => "tie",
        };
        let equation = rule.equation.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| {} | `{}` | `{equation}` | {} | {} | {phase} |",
            at + 1,
            rule.name,
            rule.condition,
            rule.freedom.name()
        );
    }
    text
}

/// `docs/rules.md` is what the rows say. Set `SITU_BLESS=1` to write it anew.
#[test]
fn docs_of_rules_are_their_rows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    let expected = page();
    if std::env::var_os("SITU_BLESS").is_some() {
        std::fs::write(&path, &expected).expect("docs/rules.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/rules.md is not what the rows say; write it anew with SITU_BLESS=1");
}
