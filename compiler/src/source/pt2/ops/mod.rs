//! ATen ops, a row each: overloads that are one op, their arguments with defaults, and how a node becomes instructions.
//!
//! Names are those of `native_functions.yaml`. A row for `add.Tensor` serves `add_.Tensor` too, which writes the result over
//! its first argument. Arguments are listed in order; `name=default` may be left out of a file, `a|b` are spellings of one
//! argument. What has no op of its own is composed from smaller ones, so that the rewriter and the kernels know a short
//! list of words.

mod activation;
mod arrange;
mod attention;
mod binary;
mod control;
mod convolution;
mod copy;
mod einsum;
mod grid;
mod index;
mod loss;
mod make;
mod matrix;
mod norm;
mod number;
mod pool;
mod random;
mod recurrent;
mod reduce;
mod resize;
mod scatter;
mod special;
mod statistics;
mod unary;
mod view;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::import::Item;
use super::site::{Outputs, Site, Stop, unsupported};

pub use random::count_draws;

/// What an op does with the bytes of its first argument when its name ends in `_`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InPlace {
    /// Writes its result over it.
    Writes,
    /// Changes how its bytes are seen; the result is a view.
    Sees,
    /// The row writes what there is to write.
    Done,
}

/// How one op is imported.
pub struct Row {
    /// `name.overload` of each, with spaces between.
    names: &'static str,
    arguments: &'static str,
    import: Import,
    in_place: InPlace,
    /// Whether halves are computed in `f32` and rounded at the end.
    wide: bool,
}

type Import = fn(&mut Site<'_, '_>) -> Outputs;

const fn row(names: &'static str, arguments: &'static str, import: Import) -> Row {
    Row { names, arguments, import, in_place: InPlace::Writes, wide: false }
}

/// A row of several steps, between which PyTorch does not round halves.
const fn wide(names: &'static str, arguments: &'static str, import: Import) -> Row {
    Row { names, arguments, import, in_place: InPlace::Writes, wide: true }
}

/// A row whose results are views.
const fn view(names: &'static str, arguments: &'static str, import: Import) -> Row {
    Row { names, arguments, import, in_place: InPlace::Sees, wide: false }
}

/// A row that writes by itself.
const fn effect(names: &'static str, arguments: &'static str, import: Import) -> Row {
    Row { names, arguments, import, in_place: InPlace::Done, wide: false }
}

impl Row {
    /// Arguments with their defaults, in order; of several spellings the first.
    pub fn arguments(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        self.arguments.split_whitespace().map(|argument| match argument.split_once('=') {
            Some((names, default)) => (first(names), Some(default)),
            None => (first(argument), None),
        })
    }

    /// The name under which the row looks for an argument that a file calls `name`.
    pub fn canonical(&self, name: &str) -> Option<&'static str> {
        self.arguments.split_whitespace().find_map(|argument| {
            let names = argument.split('=').next().unwrap_or(argument);
            names.split('|').any(|spelling| spelling == name).then(|| first(names))
        })
    }

    /// Turns a node into instructions.
    pub fn import(&self, site: &mut Site<'_, '_>) -> Outputs {
        if self.wide { site.widened(self.import) } else { (self.import)(site) }
    }

    /// Whether the form with `_` writes the result over the first argument.
    pub fn writes(&self) -> bool {
        self.in_place == InPlace::Writes
    }

    /// Whether the row writes its first argument by itself.
    pub fn writes_itself(&self) -> bool {
        self.in_place == InPlace::Done
    }

    /// The argument that the form with `_` writes.
    pub fn destination(&self) -> &'static str {
        self.arguments().next().map_or("self", |(name, _)| name)
    }
}

fn first(names: &'static str) -> &'static str {
    names.split('|').next().unwrap_or(names)
}

/// Rows by family.
const FAMILIES: &[(&str, &[Row])] = &[
    ("Functions of one tensor", unary::ROWS),
    ("Activations", activation::ROWS),
    ("Functions of two or three tensors", binary::ROWS),
    ("Views", view::ROWS),
    ("Copies and writes", copy::ROWS),
    ("Tensors made of nothing", make::ROWS),
    ("Reductions, searches, running sums", reduce::ROWS),
    ("Matrix products", matrix::ROWS),
    ("Einsum", einsum::ROWS),
    ("Attention", attention::ROWS),
    ("Normalisations and softmax", norm::ROWS),
    ("Convolutions", convolution::ROWS),
    ("Pooling", pool::ROWS),
    ("Reading at indices", index::ROWS),
    ("Writing at indices", scatter::ROWS),
    ("Random numbers", random::ROWS),
    ("Recurrent layers", recurrent::ROWS),
    ("Interpolation", resize::ROWS),
    ("Grids and patches", grid::ROWS),
    ("Losses and distances", loss::ROWS),
    ("Special functions", special::ROWS),
    ("Statistics", statistics::ROWS),
    ("Arrangements", arrange::ROWS),
];

/// Ops that give other things than tensors, or take graphs.
type ItemImport = fn(&mut Site<'_, '_>) -> Result<Vec<Item>, Stop>;
const ITEM_FAMILIES: &[&[(&str, ItemImport)]] = &[number::ROWS, control::ROWS];

static BY_NAME: LazyLock<HashMap<&'static str, &'static Row>> = LazyLock::new(|| {
    let rows = FAMILIES.iter().flat_map(|family| family.1.iter());
    rows.flat_map(|row| row.names.split_whitespace().map(move |name| (name, row))).collect()
});

static ITEMS_BY_NAME: LazyLock<HashMap<&'static str, ItemImport>> = LazyLock::new(|| {
    let rows = ITEM_FAMILIES.iter().flat_map(|family| family.iter());
    rows.flat_map(|(names, import)| names.split_whitespace().map(move |name| (name, *import))).collect()
});

/// Every row, for the documentation: its family, its names, its arguments, whether its results are views.
pub fn listed() -> impl Iterator<Item = (&'static str, &'static str, &'static str, bool)> {
    let rows = FAMILIES.iter().flat_map(|(family, rows)| rows.iter().map(move |row| (*family, row)));
    let tensors = rows.map(|(family, row)| (family, row.names, row.arguments, row.in_place == InPlace::Sees));
    let items = ITEM_FAMILIES.iter().flat_map(|family| family.iter());
    tensors.chain(items.map(|(names, _)| ("Numbers, checks and control flow", *names, "", false)))
}

/// How the name of an op is derived from that of its row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Itself,
    /// `add_`.
    InPlace,
    /// `expand_copy`: results are views no more.
    Copy,
}

/// What a target is.
pub enum Found {
    Tensors { row: &'static Row, form: Form },
    Items(ItemImport),
}

/// The row of a target such as `torch.ops.aten.add_.Tensor`.
pub fn find(target: &str) -> Result<Found, Stop> {
    let name = target.strip_prefix("torch.ops.").unwrap_or(target);
    if let Some(import) = ITEMS_BY_NAME.get(name) {
        return Ok(Found::Items(*import));
    }
    // Ops of other namespaces keep their whole name.
    let name = name.strip_prefix("aten.").unwrap_or(name);
    if let Some(row) = BY_NAME.get(name) {
        return Ok(Found::Tensors { row, form: Form::Itself });
    }
    let (op, overload) = name.split_once('.').unwrap_or((name, "default"));
    // `__iand__` is Python's word for what others call `bitwise_and_`.
    let out_of_place = match op.strip_prefix("__i").and_then(|rest| rest.strip_suffix("__")) {
        Some(rest) => Some(format!("__{rest}__")),
        None => op.strip_suffix('_').map(str::to_string),
    };
    let row = out_of_place.and_then(|op| BY_NAME.get(format!("{op}.{overload}").as_str()));
    if let Some(row) = row {
        return Ok(Found::Tensors { row, form: Form::InPlace });
    }
    let seen = op.strip_suffix("_copy").and_then(|op| BY_NAME.get(format!("{op}.{overload}").as_str()));
    match seen {
        Some(row) if row.in_place == InPlace::Sees => Ok(Found::Tensors { row, form: Form::Copy }),
        _ => unsupported("the op is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_has_two_rows() {
        let rows = FAMILIES.iter().flat_map(|family| family.1.iter()).flat_map(|row| row.names.split_whitespace());
        let items = ITEM_FAMILIES.iter().flat_map(|family| family.iter()).flat_map(|row| row.0.split_whitespace());
        let mut names: Vec<&str> = rows.chain(items).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands in two rows");
        assert!(names.iter().all(|name| name.contains('.')), "a name has no overload");
    }
}
