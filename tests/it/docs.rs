//! `docs/ops.md` and `docs/aten.md` are what the rows say. Set `SITU_BLESS=1` to write it anew.

use std::fmt::Write;
use std::path::Path;

use situ::ops::{AttrValue, Mutation, Op, PointFn, Storage};
use situ::source::pt2::supported_ops;
use situ::source::sugar;
use situ_runtime::point::Domain;

/// Some value of each kind of attribute, to make an op of which only the row matters.
fn any_op(name: &str) -> Op {
    let word = |word: &str| AttrValue::Word(word.to_string());
    let mut candidates = vec![AttrValue::Int(0), AttrValue::List(Vec::new())];
    candidates.extend(["true", "none", "f32", "sum", "max", "assign", "linear", "lstm"].map(word));
    let signature = Op::signature(name).expect("the name of a row");
    let mut chosen = vec![0; signature.len()];
    loop {
        let get = |attribute: &str| {
            let place = signature.iter().position(|known| known.0 == attribute)?;
            candidates.get(chosen[place]).cloned()
        };
        match Op::read(name, &get).expect("the name of a row") {
            Ok(op) => return op,
            Err(bad) => {
                let place = signature.iter().position(|known| known.0 == bad).expect("an attribute of the row");
                chosen[place] += 1;
                assert!(chosen[place] < candidates.len(), "no value is known for {bad} of {name}");
            }
        }
    }
}

fn ops() -> String {
    let mut text = String::from(
        "# Ops\n\nGenerated from the rows of `compiler/src/ops/table.rs` and `runtime/src/point.rs` by \
         `SITU_BLESS=1 cargo test docs`; `docs/ir.md` says how ops are written.\n\n## Ops of their own\n\n\
         Storage: whose bytes a result has. Writes: whether a mutating form, written with a trailing `_`, exists.\n\n\
         | op | operands | attributes | storage | writes | meaning |\n|---|---|---|---|---|---|\n",
    );
    for name in Op::NAMES {
        let row = any_op(name).row();
        let operands = match row.arity {
            (least, most) if least == most => format!("{least}"),
            (least, most) => format!("{least} to {most}"),
        };
        let signature = Op::signature(name).expect("the name of a row");
        let attributes: Vec<String> = signature.iter().map(|(name, kind)| format!("`{name}`: {kind}")).collect();
        let storage = match row.storage {
            Storage::Fresh => "its own".to_string(),
            Storage::ViewOf(operand) => format!("operand {operand}'s"),
            Storage::MayViewOf(operand) => format!("operand {operand}'s or its own"),
            Storage::Yielded => "what its regions yield".to_string(),
        };
        let writes = match row.mutation {
            Mutation::Never => "",
            Mutation::Form => "yes",
            Mutation::Only => "always",
        };
        let attributes = attributes.join("<br>");
        let _ = writeln!(text, "| `{name}` | {operands} | {attributes} | {storage} | {writes} | {} |", row.doc);
    }
    text.push_str(
        "\n## Elementwise functions\n\nOperands broadcast as in numpy. Error: of the vector form against the scalar \
         meaning, in units in the last place of `f32`.\n\n\
         | op | operands | dtypes | writes | error | meaning |\n|---|---|---|---|---|---|\n",
    );
    for &function in PointFn::NAMED {
        let row = function.row();
        let dtypes = match row.domain {
            Domain::Any => "any",
            Domain::Number => "floats, integers",
            Domain::Float => "floats",
            Domain::Bits => "integers, `bool`",
            Domain::Int => "integers",
            Domain::Bool => "`bool`",
        };
        let writes = if Op::Point(function).row().mutation == Mutation::Form { "yes" } else { "" };
        let _ = writeln!(text, "| `{}` | {} | {dtypes} | {writes} | {} | {} |", row.name, row.arity, row.ulps, row.doc);
    }
    text.push_str("| `cast` | 1 | any |  | 0 | The element converted to the dtype `to`. |\n");
    text.push_str(
        "\n## Ops that stand for others\n\nThey exist in text only; what is printed is what they stand for.\n\n\
         | op | writes | stands for |\n|---|---|---|\n",
    );
    for (name, writes, doc) in sugar() {
        let _ = writeln!(text, "| `{name}` | {} | {doc} |", if writes { "yes" } else { "" });
    }
    text
}

/// The ATen ops of `.pt2` files, by family.
fn aten() -> String {
    let mut text = String::from(
        "# ATen ops\n\nGenerated from the rows of `compiler/src/source/pt2/ops` by `SITU_BLESS=1 cargo test docs`; \
         `docs/pytorch.md` says how programs are read.\n\nA row serves its form with `_` too, which writes the result over \
         the first argument, and for views the one with `_copy`. Arguments with `=` may be left out.\n",
    );
    let mut before = "";
    for (family, names, arguments, views) in supported_ops() {
        if family != before {
            let _ = write!(text, "\n## {family}\n\n| ops | arguments | |\n|---|---|---|\n");
            before = family;
        }
        let names: Vec<String> = names.split_whitespace().map(|name| format!("`{name}`")).collect();
        let arguments = arguments.replace('|', " or ");
        let arguments = if arguments.is_empty() { arguments } else { format!("`{arguments}`") };
        let _ = writeln!(text, "| {} | {arguments} | {} |", names.join(" "), if views { "view" } else { "" });
    }
    text
}

/// Compares a page with what the code says, or writes it.
fn page_is(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("SITU_BLESS").is_some() {
        std::fs::write(&path, expected).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/{name} is not what the rows say; write it anew with SITU_BLESS=1");
}

#[test]
fn ops_are_documented_by_their_rows() {
    page_is("ops.md", &ops());
}

#[test]
fn aten_ops_are_documented_by_their_rows() {
    page_is("aten.md", &aten());
}

/// The example at the head of the language's page is a program.
#[test]
fn the_first_example_parses() {
    let page = include_str!("../../docs/ir.md");
    let example = page.split("```").nth(1).expect("a block of code");
    crate::text::round_trip(&crate::text::graph_of(example));
}
