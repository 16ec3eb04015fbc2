//! Functions in the forms in which exporters write them: all forms of one function end in the same kernels.
//!
//! Each directory of `forms` is a function, each program in it a form with its origin in its head, and `kernels.txt` what
//! all of them have to become: the ops of each kernel in order, and the number of steps of the compiled program, in which
//! a copy would show. A form that needs more freedom than the default says so in a line `// math: fast`. Forms have the
//! same inputs and weights, so they are also held against each other: a form that means something else is noticed.
//! `SITU_BLESS=1` writes `kernels.txt` anew from the first form; read the difference.

use std::path::{Path, PathBuf};

use situ::alias;
use situ::eval::{Tensor, evaluate};
use situ::functional::{PureGraph, functionalize};
use situ::ir::Graph;
use situ::pipeline::{Options, compile};
use situ::rewrite::{Math, RewriteOptions, optimize};
use situ::source::{Bindings, parse};
use situ::types::DType;

use crate::support::run;

/// What is inside a folder of forms, in order.
fn inside(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    found
}

struct Form {
    path: PathBuf,
    graph: Graph,
    /// The least freedom under which it has to become what the others are.
    math: Math,
}

fn read(path: &Path) -> Form {
    let text = std::fs::read_to_string(path).expect("a form is text");
    let (graph, mistakes) = parse(&text, &Bindings::new());
    let rendered: Vec<String> = mistakes.iter().map(|mistake| mistake.render("form", &text)).collect();
    let graph = graph.unwrap_or_else(|| panic!("{}:\n{}", path.display(), rendered.join("\n")));
    assert!(text.starts_with("// "), "{} does not name its origin", path.display());
    let math = if text.lines().any(|line| line == "// math: fast") { Math::Fast } else { Math::Default };
    Form { path: path.to_path_buf(), graph, math }
}

fn rewritten(graph: &Graph, math: Math) -> PureGraph {
    let db = alias::analyze(graph);
    let (pure, _) = functionalize(graph, &db).expect("a form is functional");
    let options = RewriteOptions { math, ..RewriteOptions::default() };
    optimize(pure, &options).expect("rewriting").0
}

/// The kernels and the ops of their own of a rewritten graph, a line each; views are left out.
fn kernels(graph: &Graph) -> String {
    let mut text = String::new();
    for (_, inst) in graph.body_insts() {
        if inst.op.row().class == situ::ops::Class::View {
            continue;
        }
        text.push_str(inst.op.name());
        for &region in &inst.regions {
            for &inner in &graph.block(region).insts {
                text.push(' ');
                text.push_str(graph.inst(inner).op.name());
            }
        }
        text.push('\n');
    }
    text
}

/// The kernels of a form, and how many steps they are when they are compiled.
fn outcome(form: &Form) -> String {
    let options = Options { math: form.math, ..Options::default() };
    let compiled = compile(&form.graph, &options).unwrap_or_else(|error| panic!("{}: {error}", form.path.display()));
    let first = compiled.report.lines().next().unwrap_or_default();
    let steps = first.split(" in ").nth(1).and_then(|rest| rest.split(',').next()).expect("a report counts steps");
    format!("{}{steps}\n", kernels(&rewritten(&form.graph, form.math)))
}

/// Every form, with the least freedom under which it has to become what the others are.
pub fn all() -> Vec<(Graph, Math)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/forms");
    let files = inside(&root).into_iter().flat_map(|folder| inside(&folder));
    let forms = files.filter(|path| path.extension().is_some_and(|extension| extension == "situ"));
    forms.map(|path| read(&path)).map(|form| (form.graph, form.math)).collect()
}

fn bound(graph: &Graph) -> f64 {
    let narrow = graph.outputs.iter().any(|output| graph.ty(output.value).dtype == DType::F16);
    if narrow { 2e-3 } else { 1e-5 }
}

/// Largest difference over the largest magnitude; infinite where only one side is NaN.
fn distance(a: &[Tensor], b: &[Tensor]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut worst = 0f64;
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.ty, b.ty);
        let scale = a.floats().into_iter().filter(|x| x.is_finite()).fold(1e-30f64, |scale, x| scale.max(x.abs()));
        for (x, y) in a.floats().into_iter().zip(b.floats()) {
            let apart = if x == y || x.is_nan() && y.is_nan() { 0.0 } else { (x - y).abs() / scale };
            worst = worst.max(if apart.is_nan() { f64::INFINITY } else { apart });
        }
    }
    worst
}

#[test]
fn all_forms_of_a_function_become_the_same_kernels() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/forms");
    let bless = std::env::var_os("SITU_BLESS").is_some();
    let mut wrong: Vec<String> = Vec::new();
    let mut forms = 0;
    for folder in inside(&root) {
        let paths: Vec<PathBuf> =
            inside(&folder).into_iter().filter(|p| p.extension().is_some_and(|e| e == "situ")).collect();
        let expectation = folder.join("kernels.txt");
        let mut first: Option<Vec<Tensor>> = None;
        for path in &paths {
            let form = read(path);
            forms += 1;
            let name = path.strip_prefix(&root).expect("a form is in its folder").display().to_string();
            let found = outcome(&form);
            if bless && first.is_none() {
                std::fs::write(&expectation, &found).expect("the expectation is written");
            }
            let expected = std::fs::read_to_string(&expectation).unwrap_or_default();
            if found != expected {
                wrong.push(format!("{name}: expected\n{expected}found\n{found}"));
            }
            let inputs: Vec<Tensor> = run::random_inputs(&form.graph, 11)
                .into_iter()
                .map(|array| Tensor::new(array.ty, array.bytes))
                .collect();
            let meant = evaluate(&form.graph, &inputs).expect("a form evaluates");
            let bound = bound(&form.graph);
            let strict = evaluate(&rewritten(&form.graph, Math::Strict), &inputs).expect("the strict result evaluates");
            if !meant.iter().zip(&strict).all(|(a, b)| is_same(a, b)) {
                wrong.push(format!("{name}: strict rewriting changes bits"));
            }
            let free = evaluate(&rewritten(&form.graph, form.math), &inputs).expect("the result evaluates");
            let far = distance(&meant, &free);
            if far > bound {
                wrong.push(format!("{name}: rewriting moves the result by {far:e}"));
            }
            match &first {
                None => first = Some(meant),
                Some(first) => {
                    let far = distance(first, &meant);
                    if far > bound {
                        wrong.push(format!("{name} means something else than the first form: {far:e} apart"));
                    }
                }
            }
        }
        assert!(paths.len() >= 2, "{} has one form", folder.display());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(forms >= 150, "{forms} forms");
}

/// Bit for bit, the payloads of NaN aside.
fn is_same(a: &Tensor, b: &Tensor) -> bool {
    a.ty == b.ty
        && (0..a.ty.len()).all(|at| {
            let nan = |t: &Tensor| {
                t.ty.dtype.is_float() && situ_runtime::scalar::decode_float(t.ty.dtype, t.bits(at)).is_nan()
            };
            a.bits(at) == b.bits(at) || nan(a) && nan(b)
        })
}
