//! Sources: where graphs come from.
//!
//! [`onnx`] imports exported models. [`parse`] reads the text form. Its grammar, in which `{ x }` repeats, `[ x ]` is optional, and white space and
//! comments (`//` to the end of the line) may stand between any two tokens:
//!
//! ```text
//! graph     = "graph" NAME "{" { item } "}"
//! item      = input | state | weights | apart | const | inst | final | return              each begins a line
//! input     = ( "input" | "donate" ) %NAME ":" type | "inout" %NAME ":" type [ "=" filling ]
//! state     = "state" NAME "=" %NAME attributes
//! weights   = "weights" TEXT
//! apart     = "apart" TEXT
//! const     = "const" %NAME ":" type "=" filling
//! type      = DTYPE "[" [ extent { "," extent } ] "]"
//! extent    = INTEGER | SYMBOL
//! filling   = "seeded" "(" ( "normal" | "uniform" ) { "," SETTING "=" NUMBER } ")"
//!           | "splat" "(" number ")" | "arange" "(" [ number [ "," number ] ] ")"
//!           | "hex" "(" TEXT ")" | "safetensors" "(" TEXT ")" | "[" [ number { "," number } ] "]"
//! inst      = [ result { "," result } "=" ] OP [ operand { "," operand } ] [ attributes ] [ location ]
//!           | [ result { "," result } "=" ] regions
//! regions   = "kernel" "(" [ param { "," param } ] ")" [ attributes ] [ location ] body
//!           | "if" operand [ params ] [ location ] body [ "else" [ "(" %NAME { "," %NAME } ")" ] body ]
//!           | "loop" operand "," operand "(" %NAME { "," param } ")" [ params ] [ location ] body
//!           | "scan" "(" %NAME { "," param } ")" [ "(" slice { "," slice } ")" ] [ params ] [ attributes ] [ location ]
//!             body
//! location  = "at" TEXT
//! result    = %NAME [ ":" type ]
//! operand   = %NAME | number | DTYPE "(" number ")"
//! attributes= "{" [ ATTRIBUTE "=" value { "," value... } ] "}"
//! value     = number | WORD | SYMBOL | "[" [ value { "," value } ] "]"
//! params    = "(" param { "," param } ")"
//! param     = %NAME "=" operand
//! slice     = %NAME "in" operand
//! body      = "{" { inst } [ "yield" operand { "," operand } ] "}"
//! final     = "final" %NAME "=" operand
//! return    = "return" [ output { "," output } ]
//! output    = [ NAME "=" ] operand
//! number    = INTEGER | DECIMAL | "inf" | "-inf" | "nan" | "true" | "false" | "0x" HEX
//! ```
//!
//! A NAME is a word or any text in quotes. Symbols begin in upper case; every other word in lower case. `docs/ir.md`
//! says what the items mean; `sugar.rs` lists the ops that stand for others.

mod attributes;
mod folder;
mod lexer;
mod loss;
mod lower;
pub mod onnx;
mod parser;
mod resize;
mod sugar;
pub mod pt2;
mod syntax;
mod windows;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use folder::Folder;

use crate::diagnostic::Diagnostic;
use crate::ir::Graph;

/// Extents for the symbols in shapes: `B=8`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings(BTreeMap<String, usize>);

impl Bindings {
    pub fn new() -> Bindings {
        Bindings::default()
    }

    /// Binds `symbol`; the last binding of a symbol holds.
    pub fn bind(mut self, symbol: impl Into<String>, extent: usize) -> Bindings {
        self.0.insert(symbol.into(), extent);
        self
    }

    pub fn get(&self, symbol: &str) -> Option<usize> {
        self.0.get(symbol).copied()
    }

    /// All bindings in the order of their symbols.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(symbol, &extent)| (symbol.as_str(), extent))
    }
}

impl<S: Into<String>> FromIterator<(S, usize)> for Bindings {
    fn from_iter<I: IntoIterator<Item = (S, usize)>>(bindings: I) -> Bindings {
        Bindings(bindings.into_iter().map(|(symbol, extent)| (symbol.into(), extent)).collect())
    }
}

/// The graph that `text` describes, verified, and every mistake in it in source order. There is a graph exactly when
/// there is no mistake.
///
/// The text did not come from a file, so it can name no file of weights; see [`parse_in`].
pub fn parse(text: &str, bindings: &Bindings) -> (Option<Graph>, Vec<Diagnostic>) {
    parse_with(text, bindings, &mut Folder::none())
}

/// As [`parse`], for a text that came from a file in `folder`. Weights beside it stay in their file, which is mapped with
/// `mmap` and must then keep its content, else read.
pub fn parse_in(text: &str, bindings: &Bindings, folder: &Path, mmap: bool) -> (Option<Graph>, Vec<Diagnostic>) {
    // A folder that is not there holds no file; that is told where one is asked for.
    parse_with(text, bindings, &mut Folder::new(folder.canonicalize().ok(), mmap))
}

fn parse_with(text: &str, bindings: &Bindings, folder: &mut Folder) -> (Option<Graph>, Vec<Diagnostic>) {
    let (tokens, mut mistakes) = lexer::lex(text);
    mistakes.truncate(parser::MAX_MISTAKES);
    let (syntax, syntax_mistakes) = parser::parse(text, &tokens);
    mistakes.extend(syntax_mistakes);
    let mut graph = None;
    if let Some(syntax) = syntax {
        let (lowered, lowering_mistakes) = lower::lower(text, &syntax, bindings, folder);
        mistakes.extend(lowering_mistakes);
        graph = Some(lowered);
    }
    // A stable sort keeps the more basic of two mistakes at one place first.
    mistakes.sort_by_key(|mistake| mistake.span.map_or(usize::MAX, |span| span.start));
    if mistakes.len() > parser::MAX_MISTAKES {
        mistakes.truncate(parser::MAX_MISTAKES);
        if let Some(last) = mistakes.last_mut() {
            last.notes.push(format!("there are more mistakes; the first {} are shown", parser::MAX_MISTAKES));
        }
    }
    if mistakes.is_empty() { (graph, mistakes) } else { (None, mistakes) }
}

/// The file of weights that a text names, if it names one.
pub fn weights_file(text: &str) -> Option<String> {
    let (tokens, _) = lexer::lex(text);
    let (syntax, _) = parser::parse(text, &tokens);
    syntax?.items.into_iter().find_map(|item| match item {
        syntax::Item::Weights(name) => Some(name.text),
        _ => None,
    })
}

/// Names and meanings of the ops that stand for others, for the documentation: the name, the mutating form if there is
/// one, and a sentence.
pub fn sugar() -> impl Iterator<Item = (&'static str, bool, String)> {
    let renamed = sugar::RENAMED.iter().map(|(name, target)| (*name, false, format!("another name of `{target}`")));
    sugar::SUGAR.iter().map(|row| (row.name, row.writes, row.doc.to_string())).chain(renamed)
}

/// The candidate that `word` is probably meant to be: at most a third of its letters differ.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long word is hardly a slip of the pen, and comparing it is slow.
    let limit = if word.len() > 40 { 0 } else { (word.len() / 3).max(1) };
    candidates
        .into_iter()
        .take(if limit == 0 { 0 } else { 2000 })
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= limit)
        .map(|candidate| (edit_distance(word.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other (optimal string
/// alignment).
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
