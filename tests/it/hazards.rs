//! The hard cases: every way in which working in place is known to go wrong, each as a small program with its verdict.
//!
//! `tests/hazards/*.situ` hold a program each. Its first comment line names the case (`H5: …`, `pytorch#198094: …`), the
//! following ones say what goes wrong elsewhere, and directives say what must come out here:
//!
//! | directive | |
//! |---|---|
//! | `given: x = 1 2 3` | elements of an input; the others are random |
//! | `alias: y = x + 16` | input `y` begins 16 bytes into `x`; then only results, state and route can be asked for |
//! | `must: route planned`, `must: route fallback` | which plan ran on inputs that lie so |
//! | `option: no-rewrite` | every op is a kernel of its own, where fusion would hide the case |
//! | `must: rejected TEXT` | verification says so |
//! | `must: gives y = 1 2 3` | elements of output `y`, which were worked out by hand |
//! | `must: state x = 1 2 3` | elements of the `inout` input `x` after the run |
//! | `must: tied %v [over %w] [as KIND]`, `must: not tied %v`, `must: ties N` | the ties of the report |
//! | `must: refused %v REASON` | a refusal of the report |
//! | `must: ordered %a before %b` | the steps of the report |
//! | `must: live %v` | the value has bytes of its own in the step that writes it |
//! | `must: relation %a %b WORD` | what the alias database says |
//! | `must: output a is not b` | output `a` shares no byte with output or input `b` |
//! | `must: rule NAME` | a rule of the rewriter that was used |
//!
//! Every program runs besides: tied, untied, unplanned and with two threads, bit for bit alike, and as the mutating
//! interpreter has it. `docs/hazards.md` is the list of them all with their verdicts, made here.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use situ::alias::{Relation, analyze};
use situ::eval;
use situ::ir::{Graph, ValueId};
use situ::npz::Array;
use situ::pipeline::{Compilation, Options, compile};
use situ::rewrite::Math;
use situ::source::{self, Bindings};
use situ::types::{InputMode, TensorType};
use situ_runtime::arena::Block;
use situ_runtime::raw::{AliasPolicy, RawSession, Route};
use situ_runtime::session::Session;

use crate::support::{interpreter, run};

/// What the compiler has no form for yet, so that no program can show it.
const WAITING: [(&str, &str); 3] = [
    ("H30", "a value saved for the backward pass is a use like any other: waits for gradients"),
    ("sigmoid, then a write of its input", "legal, since the derivative needs the output: waits for gradients"),
    ("sigmoid, then a write of its output", "refused, since the derivative needs it: waits for gradients"),
];

/// A program with what is said about it.
struct Case {
    path: PathBuf,
    text: String,
    title: String,
    story: Vec<String>,
    given: Vec<(String, Vec<f64>)>,
    /// An input, the one it lies in, and how many bytes from its start.
    alias: Option<(String, String, usize)>,
    rewrite: bool,
    musts: Vec<String>,
}

impl Case {
    fn read(path: PathBuf) -> Case {
        let text = std::fs::read_to_string(&path).expect("a case is text");
        let mut comments = text.lines().map_while(|line| line.strip_prefix("// "));
        let title = comments.next().unwrap_or_else(|| panic!("{} has no title", path.display())).to_string();
        let mut case = Case {
            title,
            story: Vec::new(),
            given: Vec::new(),
            alias: None,
            rewrite: true,
            musts: Vec::new(),
            text: String::new(),
            path,
        };
        for line in comments {
            match line.split_once(": ") {
                Some(("given", elements)) => case.given.push(assignment(elements)),
                Some(("must", must)) => case.musts.push(must.to_string()),
                Some(("alias", within)) => case.alias = Some(lies_within(within)),
                Some(("option", "no-rewrite")) => case.rewrite = false,
                Some(("option", other)) => panic!("{}: there is no option {other}", case.path.display()),
                _ => case.story.push(line.to_string()),
            }
        }
        case.text = text;
        case
    }

    fn options(&self) -> Options {
        Options { math: Math::Strict, rewrite: self.rewrite, threads: 2, ..Options::default() }
    }

    fn inputs(&self, graph: &Graph) -> Vec<Array> {
        let mut inputs = run::random_inputs(graph, 11);
        for (name, elements) in &self.given {
            let at = graph.inputs.iter().position(|input| input.name == *name).expect("a given input exists");
            inputs[at] = filled(&inputs[at], elements);
        }
        inputs
    }

    fn stem(&self) -> String {
        self.path.file_stem().expect("a stem").to_string_lossy().into_owned()
    }
}

/// `x = 1 2 3`.
fn assignment(text: &str) -> (String, Vec<f64>) {
    let (name, elements) = text.split_once(" = ").unwrap_or_else(|| panic!("`{text}` is no assignment"));
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("`{word}` is no number"));
    (name.to_string(), elements.split_whitespace().map(number).collect())
}

/// `y = x + 16`.
fn lies_within(text: &str) -> (String, String, usize) {
    let (name, place) = text.split_once(" = ").unwrap_or_else(|| panic!("`{text}` says not where"));
    let (base, bytes) = place.split_once(" + ").unwrap_or((place, "0"));
    (name.to_string(), base.to_string(), bytes.parse().expect("a number of bytes"))
}

/// An array of the type of `like`.
fn filled(like: &Array, elements: &[f64]) -> Array {
    let dtype = like.ty.dtype;
    assert_eq!(like.ty.len(), elements.len(), "as many elements as the type has");
    let bytes = elements.iter().flat_map(|&x| eval::element(dtype, x).to_le_bytes()[..dtype.size()].to_vec());
    Array { ty: like.ty.clone(), bytes: bytes.collect() }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("hazards");
    let files = std::fs::read_dir(folder).expect("the folder of cases");
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(Case::read).collect()
}

/// One compilation of a case, run on its inputs.
struct Outcome<'c> {
    graph: &'c Graph,
    report: Json,
    /// Outputs, then the `inout` inputs.
    results: Vec<Array>,
    names: Vec<String>,
    /// First byte and length of each output, and of each input, as the session had them.
    places: Vec<(String, situ_runtime::executable::Place)>,
}

fn compiled(graph: &Graph, options: &Options) -> Result<Compilation, String> {
    compile(graph, options).map_err(|error| error.to_string())
}

fn results(compilation: &Compilation, inputs: &[Array], threads: usize) -> Result<Vec<Array>, String> {
    let options = situ_runtime::session::Options { threads: Some(threads), ..Default::default() };
    let mut session =
        Session::new(compilation.compiled.clone(), options).map_err(|error| format!("no session: {error}"))?;
    Ok(run::once(&mut session, inputs))
}

fn outcome<'c>(case: &Case, graph: &'c Graph) -> Result<Outcome<'c>, String> {
    let compilation = compiled(graph, &case.options())?;
    let inputs = case.inputs(graph);
    let reference = results(&compilation, &inputs, 1)?;
    for (label, options, threads) in [
        ("with two threads", case.options(), 2),
        ("without ties", Options { inplace: false, ..case.options() }, 1),
        ("without a plan", Options { planned: false, ..case.options() }, 1),
    ] {
        let other = results(&compiled(graph, &options)?, &inputs, threads)?;
        if reference.iter().zip(&other).any(|(a, b)| a.bytes != b.bytes) {
            return Err(format!("the results differ {label}"));
        }
    }
    let states = graph.inputs.iter().filter(|input| input.mode == InputMode::InOut);
    let names = graph.outputs.iter().map(|output| output.name.clone()).chain(states.map(|input| input.name.clone()));
    let names: Vec<String> = names.collect();
    agrees_with_the_interpreter(graph, &inputs, &reference, &names)?;
    let plan = &compilation.compiled.executable.plans[0];
    let place = |value: u32| plan.values[value as usize].place;
    let outputs = plan.outputs.iter().map(|port| (port.name.clone(), place(port.access.value)));
    let ports = plan.inputs.iter().zip(&plan.input_values).map(|(port, &value)| (port.name.clone(), place(value)));
    let places = outputs.chain(ports).collect();
    let report = serde_json::from_str(&compilation.report_json).expect("a report is JSON");
    Ok(Outcome { graph, report, results: reference, names, places })
}

fn agrees_with_the_interpreter(
    graph: &Graph,
    inputs: &[Array],
    found: &[Array],
    names: &[String],
) -> Result<(), String> {
    let tensors: Vec<eval::Tensor> =
        inputs.iter().map(|array| eval::Tensor::new(array.ty.clone(), array.bytes.clone())).collect();
    let meant = interpreter::run(graph, &tensors)?;
    let meant = meant.outputs.into_iter().chain(meant.state.into_iter().map(|(_, tensor)| tensor));
    for ((name, found), meant) in names.iter().zip(found).zip(meant) {
        let meant = Array { ty: meant.ty.clone(), bytes: meant.bytes.to_vec() };
        let error = run::relative_error(found, &meant);
        // Sums may be taken in another order than that of the scalar meaning; nothing else may differ.
        if error.is_nan() || error > 1e-6 {
            return Err(format!("{name} is off by {error:e} from what the program means"));
        }
    }
    Ok(())
}

/// A run on inputs that share a buffer: results and state, compared with the interpreter, and the plan that ran.
fn aliased<'c>(case: &Case, graph: &'c Graph) -> Result<Outcome<'c>, String> {
    let compilation = compiled(graph, &case.options())?;
    let arrays = case.inputs(graph);
    let mut starts = vec![0usize; arrays.len()];
    let mut end = 0usize;
    for (at, array) in arrays.iter().enumerate() {
        starts[at] = end;
        end = (end + array.bytes.len()).next_multiple_of(64);
    }
    let (name, base, bytes) = case.alias.as_ref().expect("it is asked for");
    let at = |name: &str| graph.inputs.iter().position(|input| input.name == name).expect("an input");
    starts[at(name)] = starts[at(base)] + bytes;
    let mut memory = Block::zeroed(end as u64 + 64).expect("a small block");
    // The base's elements count where both have bytes.
    let mut order: Vec<usize> = (0..arrays.len()).collect();
    order.sort_by_key(|&input| input == at(base));
    for input in order {
        memory[starts[input]..starts[input] + arrays[input].bytes.len()].copy_from_slice(&arrays[input].bytes);
    }
    let mut expected = memory.to_vec();
    let meant = interpreter::run_within(graph, &mut expected, &starts)?;
    let mut session = RawSession::new(compilation.compiled.clone(), Default::default(), AliasPolicy::Fallback)
        .map_err(|error| error.to_string())?;
    let (mut results, route) = {
        let (outputs, route) = session.run_within(&mut memory, &starts).map_err(|error| error.to_string())?;
        let results = outputs.ports().iter().enumerate().map(|(index, port)| {
            let ty = TensorType::new(port.access.dtype, port.access.layout.shape.clone());
            Array { ty, bytes: outputs.bytes(index).expect("an output").to_vec() }
        });
        (results.collect::<Vec<_>>(), route)
    };
    if results.iter().zip(&meant.outputs).any(|(found, meant)| found.bytes[..] != meant.bytes[..]) {
        return Err("the outputs are not what the program means".into());
    }
    let mut names: Vec<String> = graph.outputs.iter().map(|output| output.name.clone()).collect();
    for (input, array) in graph.inputs.iter().zip(&arrays).filter(|(input, _)| input.mode == InputMode::InOut) {
        let start = starts[at(&input.name)];
        let bytes = memory[start..start + array.bytes.len()].to_vec();
        if bytes != expected[start..start + array.bytes.len()] {
            return Err(format!("{} is not left as the program leaves it", input.name));
        }
        results.push(Array { ty: array.ty.clone(), bytes });
        names.push(input.name.clone());
    }
    let mut report: Json = serde_json::from_str(&compilation.report_json).expect("a report is JSON");
    report["route"] = if route == Route::Planned { "planned" } else { "fallback" }.into();
    Ok(Outcome { graph, report, results, names, places: Vec::new() })
}

/// Whether `name` in a report is the value `%v`; versions of a storage are `%v.1`, `%v.2`, …, the last one `%v'`.
fn is_value(name: &Json, value: &str) -> bool {
    let name = name.as_str().unwrap_or_default();
    name == value || name.strip_prefix(value).is_some_and(|rest| rest.starts_with(['.', '\'']))
}

/// One `must` of a case: `Err` says what is the case instead.
fn hold(must: &str, outcome: &Outcome) -> Result<(), String> {
    let words: Vec<&str> = must.split_whitespace().collect();
    let ties = outcome.report["ties"].as_array().expect("ties");
    let refusals = outcome.report["refusals"].as_array().expect("refusals");
    let steps = outcome.report["steps"].as_array().expect("steps");
    let told = |list: &[Json], keys: &[&str]| {
        let line = |it: &Json| keys.iter().map(|key| it[key].to_string()).collect::<Vec<_>>().join(" ");
        list.iter().map(line).collect::<Vec<_>>().join("; ")
    };
    match words.as_slice() {
        ["gives" | "state", ..] => {
            let (name, elements) = assignment(must.split_once(' ').expect("a name follows").1);
            let at = outcome.names.iter().position(|known| *known == name).ok_or("there is no such result")?;
            let (found, wanted) = (&outcome.results[at], filled(&outcome.results[at], &elements));
            if found.bytes == wanted.bytes
                || found.to_f64().iter().all(|x| x.is_nan()) && elements.iter().all(|x| x.is_nan())
            {
                return Ok(());
            }
            let same =
                |a: &f64, b: &f64| a == b && a.is_sign_negative() == b.is_sign_negative() || a.is_nan() && b.is_nan();
            match found.to_f64().iter().zip(&elements).all(|(a, b)| same(a, b)) {
                true => Ok(()),
                false => Err(format!("it is {:?}", found.to_f64())),
            }
        }
        ["tied", value, rest @ ..] => {
            let over = rest.iter().position(|&word| word == "over").map(|at| rest[at + 1]);
            let kind = rest.iter().position(|&word| word == "as").map(|at| rest[at + 1]);
            let fits = |tie: &Json| {
                is_value(&tie["value"], value)
                    && over.is_none_or(|over| is_value(&tie["over"], over))
                    && kind.is_none_or(|kind| tie["kind"] == kind)
            };
            match ties.iter().any(fits) {
                true => Ok(()),
                false => Err(format!(
                    "ties: {}; refusals: {}",
                    told(ties, &["value", "over", "kind"]),
                    told(refusals, &["value", "over", "reason"])
                )),
            }
        }
        ["not", "tied", value] => match ties.iter().find(|tie| is_value(&tie["value"], value)) {
            None => Ok(()),
            Some(tie) => Err(format!("it is tied to {}", tie["over"])),
        },
        ["ties", count] => match ties.len().to_string() == *count {
            true => Ok(()),
            false => Err(format!("ties: {}", told(ties, &["value", "over", "kind"]))),
        },
        ["refused", value, reason] => {
            match refusals.iter().any(|it| is_value(&it["value"], value) && it["reason"] == *reason) {
                true => Ok(()),
                false => Err(format!(
                    "refusals: {}; ties: {}",
                    told(refusals, &["value", "over", "reason"]),
                    told(ties, &["value", "over", "kind"])
                )),
            }
        }
        ["ordered", first, "before", second] => {
            let at = |value: &str| {
                let writes =
                    |step: &Json| step["writes"].as_array().is_some_and(|w| w.iter().any(|w| is_value(w, value)));
                steps.iter().position(writes).ok_or(format!("no step writes {value}"))
            };
            match at(first)? < at(second)? {
                true => Ok(()),
                false => Err("the steps stand the other way round".into()),
            }
        }
        ["live", value] => {
            let writes = |step: &&Json| step["writes"].as_array().is_some_and(|w| w.iter().any(|w| is_value(w, value)));
            let step = steps.iter().find(writes).ok_or("no step writes it")?;
            match step["writes"].as_array().is_some_and(|all| all.iter().filter(|w| is_value(w, value)).count() == 1) {
                true => Ok(()),
                false => Err("it shares its bytes with another result".into()),
            }
        }
        ["relation", a, b, word] => {
            let value = |name: &str| {
                let values = (0..outcome.graph.values.len() as u32).map(ValueId);
                values.into_iter().find(|&id| outcome.graph.display(id) == name).ok_or(format!("there is no {name}"))
            };
            let relation = analyze(outcome.graph).relation(value(a)?, value(b)?);
            let found = match &relation {
                Relation::Identical => "identical",
                Relation::Permuted => "permuted",
                Relation::Inside => "inside",
                Relation::Around => "around",
                Relation::Partial(_) => "partial",
                Relation::Disjoint(_) => "disjoint",
                Relation::Unknown(_) => "unknown",
            };
            if found == *word { Ok(()) } else { Err(format!("they are {relation}")) }
        }
        ["output", a, "is", "not", b] => {
            let place = |name: &str| outcome.places.iter().find(|(known, _)| known == name).map(|(_, place)| *place);
            let (p, q) = (place(a).ok_or("no such output")?, place(b).ok_or("no such output or input")?);
            let meet = p.space == q.space && p.offset < q.offset + q.bytes && q.offset < p.offset + p.bytes;
            if meet { Err("they share bytes".into()) } else { Ok(()) }
        }
        ["route", route] => match outcome.report["route"] == *route {
            true => Ok(()),
            false => Err(format!("the route was {}", outcome.report["route"])),
        },
        ["rule", name] => match outcome.report["rules"].get(*name) {
            Some(_) => Ok(()),
            None => Err(format!("the rules were {}", outcome.report["rules"])),
        },
        _ => Err("nobody knows how to check this".into()),
    }
}

fn mistakes_of(case: &Case) -> Vec<String> {
    let (graph, mistakes) = source::parse(&case.text, &Bindings::new());
    let verified = graph.as_ref().map(situ::ir::verify).unwrap_or_default();
    mistakes.iter().chain(&verified).map(|mistake| mistake.render("case", &case.text)).collect()
}

/// What is wrong with a case, if anything.
fn examine(case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    let rejected: Vec<&str> = case.musts.iter().filter_map(|must| must.strip_prefix("rejected ")).collect();
    let mistakes = mistakes_of(case);
    if !rejected.is_empty() {
        let missing = rejected.iter().filter(|text| !mistakes.iter().any(|mistake| mistake.contains(**text)));
        wrong.extend(missing.map(|text| format!("nothing says `{text}` in\n{}", mistakes.join("\n"))));
        return wrong;
    }
    if !mistakes.is_empty() {
        return mistakes;
    }
    let (graph, _) = source::parse(&case.text, &Bindings::new());
    let Some(graph) = graph else { return vec!["no graph".into()] };
    let outcome = if case.alias.is_some() { aliased(case, &graph) } else { outcome(case, &graph) };
    match outcome {
        Err(why) => wrong.push(why),
        Ok(outcome) => {
            for must in &case.musts {
                if let Err(instead) = hold(must, &outcome) {
                    wrong.push(format!("must: {must}\n    {instead}"));
                }
            }
        }
    }
    wrong
}

#[test]
fn verdicts_hold() {
    let cases = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(!case.musts.is_empty(), "{} says nothing that must hold", case.path.display());
        wrong.extend(examine(case).into_iter().map(|what| format!("{}: {what}", case.stem())));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every hard case of the list has a program, or stands among those that wait.
#[test]
fn no_hard_case_is_left_out() {
    let cases = cases();
    for number in 1..=33 {
        let id = format!("H{number}");
        let shown = cases.iter().any(|case| case.title.starts_with(&format!("{id}:")));
        let waiting = WAITING.iter().any(|(name, _)| *name == id);
        assert!(shown || waiting, "{id} has no program in tests/hazards");
    }
}

fn page() -> String {
    let mut text = String::from(
        "# Hard cases\n\nEvery way in which working in place is known to go wrong, each as a small program with its verdict: \
         the hard cases H1 to H33 of alias analysis, then a museum of wrong answers that other systems have given. \
         Generated from `tests/hazards` by `SITU_BLESS=1 cargo test hazards`; `tests/it/hazards.rs` says what the \
         verdicts mean, and holds them.\n\n| case | program | verdict |\n|---|---|---|\n",
    );
    let number = |case: &Case| {
        let digits: String =
            case.title.strip_prefix('H').unwrap_or("").chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().unwrap_or(u32::MAX)
    };
    let mut cases = cases();
    cases.sort_by_key(|case| (number(case), case.stem()));
    for case in cases {
        let verdicts: Vec<String> = case.musts.iter().map(|must| must.replace('|', "\\|")).collect();
        let _ = writeln!(
            text,
            "| {} | [`{}`](../tests/hazards/{}.situ) | {} |",
            case.title.replace('|', "\\|"),
            case.stem(),
            case.stem(),
            verdicts.join("; ")
        );
    }
    text.push_str("\n## Waiting\n\n");
    for (name, why) in WAITING {
        let _ = writeln!(text, "- {name}: {why}.");
    }
    text
}

#[test]
fn the_page_is_what_the_cases_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hazards.md");
    let expected = page();
    if std::env::var_os("SITU_BLESS").is_some() {
        std::fs::write(&path, &expected).expect("docs/hazards.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/hazards.md is not what the cases say; write it anew with SITU_BLESS=1");
}
