//! Graph to text, the inverse of `source::parse`.
//!
//! An instruction is printed as its row names it: `%y = permute %x {axes=[1, 0]}`. Scalar literals stand where they are
//! used, with their dtype where the other operands would not give it. Values without a name are printed by their number.
//! What the text has no word for is printed as a comment: the rules that led to an instruction.

use std::collections::HashMap;
use std::fmt::Write;

use indexmap::IndexMap;

use super::constant::{Constant, ConstantData, Distribution};
use super::graph::{Block, Def, Graph, Inst, Location, StateView, ValueId};
use super::spelling::{METADATA, default_output_name, is_plain, quote, write_literal};
use crate::ops::{Op, PointFn};
use crate::types::{DType, InputMode, Layout, TensorType};

/// The most elements of a constant that are printed as numbers; longer ones are printed as hexadecimal bytes.
const MAX_LISTED: usize = 64;

/// The whole graph: parsing the text gives it back.
pub fn print(graph: &Graph) -> String {
    Printer { graph, text: String::new(), large: Large::Written }.graph().0
}

/// The graph for a reader: the bytes of large constants are left out, so the text does not parse.
pub fn elided(graph: &Graph) -> String {
    Printer { graph, text: String::new(), large: Large::Elided }.graph().0
}

/// A text, and what is in the safetensors file beside it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub text: String,
    /// Names of the arrays, each once, and their elements.
    pub arrays: Vec<(String, Constant)>,
}

/// The graph with its large constants and initial states in a file called `file` in the text's folder.
pub fn stored(graph: &Graph, file: &str) -> Stored {
    let (text, large) =
        Printer { graph, text: String::new(), large: Large::Stored { file, arrays: Arrays::default() } }.graph();
    let arrays = match large {
        Large::Stored { arrays, .. } => arrays.named.into_iter().collect(),
        Large::Written | Large::Elided => Vec::new(),
    };
    Stored { text, arrays }
}

/// Where the elements of large constants go.
enum Large<'a> {
    /// Into the text.
    Written,
    Elided,
    Stored {
        file: &'a str,
        arrays: Arrays,
    },
}

/// What goes into the file of weights.
#[derive(Default)]
struct Arrays {
    named: IndexMap<String, Constant>,
    /// Names of those that lie in an imported file, by where they lie there.
    places: HashMap<(usize, TensorType), String>,
}

impl Arrays {
    /// The name of a constant in the file: `wanted`, if no other one has it. What lies in the same bytes of an imported file
    /// is there once.
    fn store(&mut self, constant: &Constant, wanted: &str) -> String {
        let place = match &constant.data {
            ConstantData::Mapped { file, offset } => Some((file.as_ptr() as usize + offset, constant.ty.clone())),
            _ => None,
        };
        if let Some(name) = place.as_ref().and_then(|place| self.places.get(place)) {
            return name.clone();
        }
        let mut name = wanted.to_string();
        while name == METADATA || self.named.contains_key(&name) {
            name.push('\'');
        }
        self.named.insert(name.clone(), constant.clone());
        if let Some(place) = place {
            self.places.insert(place, name.clone());
        }
        name
    }
}

struct Printer<'a> {
    graph: &'a Graph,
    text: String,
    large: Large<'a>,
}

/// `%x`, `%"any name"` or `%4`.
fn value_name(graph: &Graph, value: ValueId) -> String {
    let name = &graph.value(value).name;
    match name.as_str() {
        "" => format!("%{}", value.0),
        plain if is_plain(plain) => format!("%{plain}"),
        other => format!("%{}", quote(other)),
    }
}

fn label(name: &str) -> String {
    let keyword = matches!(name, "inf" | "nan" | "NaN");
    let word = is_plain(name) && !name.starts_with(|c: char| c.is_ascii_digit() || c == '.') && !keyword;
    if word { name.to_string() } else { quote(name) }
}

impl<'a> Printer<'a> {
    fn graph(mut self) -> (String, Large<'a>) {
        let graph = self.graph;
        self.line(0, &format!("graph {} {{", label(&graph.name)));
        if let Large::Stored { file, .. } = self.large {
            self.line(1, &format!("weights {}", quote(file)));
        }
        if let Some(why) = &graph.apart {
            self.line(1, &format!("apart {}", quote(why)));
        }
        for input in &graph.inputs {
            let mode = match input.mode {
                InputMode::Read => "input",
                InputMode::Donate => "donate",
                InputMode::InOut => "inout",
                InputMode::Out => "out",
            };
            let mut line = format!("{mode} {}: {}", value_name(graph, input.value), graph.ty(input.value));
            if let Some(initial) = &input.initial {
                line.push_str(" = ");
                line.push_str(&self.filling(initial, &input.name));
            }
            self.line(1, &line);
            for StateView { name, layout } in &input.views {
                let Layout { shape, strides, offset } = layout;
                let (name, base) = (label(name), value_name(graph, input.value));
                let line = format!("state {name} = {base} {{shape={shape:?}, strides={strides:?}, offset={offset}}}");
                self.line(1, &line);
            }
        }
        for (at, value) in graph.values.iter().enumerate() {
            let Def::Constant(id) = value.def else { continue };
            let constant = graph.constant(id);
            if !constant.is_inline() {
                let name = value_name(graph, ValueId(at as u32));
                let own = if value.name.is_empty() { at.to_string() } else { value.name.clone() };
                let filling = self.filling(constant, &own);
                let line = format!("const {name}: {} = {filling}", constant.ty);
                self.line(1, &line);
            }
        }
        self.block(graph.body(), 1);
        for &(input, value) in &graph.finals {
            let input = value_name(graph, graph.inputs[input as usize].value);
            let line = format!("final {input} = {}", self.typed_operand(value));
            self.line(1, &line);
        }
        let outputs: Vec<String> = graph
            .outputs
            .iter()
            .enumerate()
            .map(|(at, output)| {
                let value = self.typed_operand(output.value);
                let unnamed = default_output_name(graph, at, output.value) == output.name;
                if unnamed { value } else { format!("{}={value}", label(&output.name)) }
            })
            .collect();
        self.line(1, format!("return {}", outputs.join(", ")).trim_end());
        self.line(0, "}");
        (self.text, self.large)
    }

    fn line(&mut self, depth: usize, line: &str) {
        for _ in 0..depth {
            self.text.push_str("  ");
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn block(&mut self, block: &Block, depth: usize) {
        for &id in &block.insts {
            self.inst(self.graph.inst(id), depth);
        }
    }

    fn inst(&mut self, inst: &Inst, depth: usize) {
        let graph = self.graph;
        let mut line = String::new();
        let results: Vec<String> = inst
            .results
            .iter()
            .map(|&result| match inst.regions.is_empty() {
                false => format!("{}: {}", value_name(graph, result), graph.ty(result)),
                true => value_name(graph, result),
            })
            .collect();
        if !results.is_empty() {
            line.push_str(&results.join(", "));
            line.push_str(" = ");
        }
        line.push_str(inst.op.name());
        let mut attributes: Vec<String> = Vec::new();
        if inst.regions.is_empty() {
            if inst.mutates {
                line.push('_');
            }
            let operands: Vec<String> = (0..inst.operands.len()).map(|place| self.operand(inst, place)).collect();
            if !operands.is_empty() {
                line.push(' ');
                line.push_str(&operands.join(", "));
            }
            attributes.extend(inst.op.attributes().into_iter().map(|(name, value)| format!("{name}={value}")));
        } else {
            self.region_header(&mut line, inst);
        }
        if let Op::Scan { trips, .. } = inst.op {
            attributes.push(format!("trips={trips}"));
        }
        attributes.extend(inst.tie.map(|tie| format!("tie={tie}")));
        if !attributes.is_empty() {
            let _ = write!(line, " {{{}}}", attributes.join(", "));
        }
        // What was read from text has its place there; what was imported says where it comes from.
        let Location { text: place, line: at, .. } = &inst.location;
        if *at == 0 && !place.is_empty() {
            let _ = write!(line, " at {}", quote(place));
        }
        if !inst.regions.is_empty() {
            line.push_str(" {");
        }
        if !inst.rules.is_empty() {
            let _ = write!(line, "  // {}", inst.rules.join(", "));
        }
        self.line(depth, &line);
        for (at, &region) in inst.regions.iter().enumerate() {
            let body = graph.block(region);
            if at > 0 {
                if body.params.is_empty() && body.insts.is_empty() && body.yields.is_empty() {
                    break;
                }
                let names: Vec<String> = body.params.iter().map(|&param| value_name(graph, param)).collect();
                let params = if names.is_empty() { String::new() } else { format!("({}) ", names.join(", ")) };
                self.line(depth, &format!("}} else {params}{{"));
            }
            self.block(body, depth + 1);
            if !body.yields.is_empty() {
                let yields: Vec<String> = body.yields.iter().map(|&value| self.typed_operand(value)).collect();
                self.line(depth + 1, &format!("yield {}", yields.join(", ")));
            }
        }
        if !inst.regions.is_empty() {
            self.line(depth, "}");
        }
    }

    /// What stands between the name of an op with regions and its first region.
    fn region_header(&self, line: &mut String, inst: &Inst) {
        let params = &self.graph.block(inst.regions[0]).params;
        let pairs = |line: &mut String, open: &str, params: &[ValueId], word: &str, operands: &[ValueId]| {
            let pair = |(&param, &operand): (&ValueId, &ValueId)| {
                format!("{} {word} {}", value_name(self.graph, param), self.typed_operand(operand))
            };
            let pairs = params.iter().zip(operands).map(pair);
            let listed: Vec<String> = (!open.is_empty()).then(|| open.to_string()).into_iter().chain(pairs).collect();
            if !listed.is_empty() {
                let _ = write!(line, " ({})", listed.join(", "));
            }
        };
        let number = || value_name(self.graph, params[0]);
        match &inst.op {
            Op::If { .. } => {
                let _ = write!(line, " {}", self.typed_operand(inst.operands[0]));
                pairs(line, "", params, "=", &inst.operands[1..]);
            }
            Op::Loop { carried } => {
                let (head, rest) = inst.operands.split_at(2);
                let _ = write!(line, " {}, {}", self.typed_operand(head[0]), self.typed_operand(head[1]));
                pairs(line, &number(), &params[1..=*carried], "=", &rest[..*carried]);
                pairs(line, "", &params[1 + carried..], "=", &rest[*carried..]);
            }
            Op::Scan { carried, sequences, .. } => {
                let (inits, rest) = inst.operands.split_at(*carried);
                let (run, args) = rest.split_at(*sequences);
                pairs(line, &number(), &params[1..=*carried], "=", inits);
                pairs(line, "", &params[1 + carried..][..*sequences], "in", run);
                pairs(line, "", &params[1 + carried + sequences..], "=", args);
            }
            _ => {
                let before = line.len();
                pairs(line, "", params, "=", &inst.operands);
                // A kernel's list follows its name at once, and is there even when it is empty.
                let list = line.split_off(before);
                line.push_str(if list.is_empty() { "()" } else { list.trim_start() });
            }
        }
    }

    /// The literal behind a value that is printed where it is used.
    fn literal(&self, value: ValueId) -> Option<(DType, String)> {
        let constant = self.graph.constant_of(value).filter(|constant| constant.is_inline())?;
        let bits = constant.splat()?;
        Some((constant.ty.dtype, write_literal(constant.ty.dtype, bits)))
    }

    fn typed_operand(&self, value: ValueId) -> String {
        match self.literal(value) {
            Some((dtype, number)) => format!("{dtype}({number})"),
            None => value_name(self.graph, value),
        }
    }

    /// An operand; a literal without its dtype where reading would find it by itself.
    fn operand(&self, inst: &Inst, place: usize) -> String {
        let value = inst.operands[place];
        let Some((dtype, number)) = self.literal(value) else { return value_name(self.graph, value) };
        let peers = inst.operands.iter().map(|&operand| match self.literal(operand) {
            Some(_) => None,
            None => Some(self.graph.ty(operand).dtype),
        });
        let selects = matches!(inst.op, Op::Point(PointFn::Where));
        let skipped = usize::from(selects);
        let indexes = matches!(
            inst.op,
            Op::Gather { .. }
                | Op::GatherElements { .. }
                | Op::GatherNd { .. }
                | Op::ScatterElements { .. }
                | Op::ScatterNd { .. }
        );
        let implied = peers.skip(skipped).flatten().next();
        // Positions whose dtype the other operands do not give are written in full.
        let special = (selects && place == 0) || (indexes && place == 1);
        if !special && implied == Some(dtype) { number } else { format!("{dtype}({number})") }
    }

    fn filling(&mut self, constant: &Constant, name: &str) -> String {
        let dtype = constant.ty.dtype;
        match &constant.data {
            ConstantData::Splat(bits) => format!("splat({})", write_literal(dtype, *bits)),
            ConstantData::Seeded { distribution: Distribution::Normal { mean, std }, seed } => {
                let mean =
                    if *mean == 0.0 && mean.is_sign_positive() { String::new() } else { format!(", mean={mean:?}") };
                format!("seeded(normal{mean}, std={std:?}, seed={seed})")
            }
            ConstantData::Seeded { distribution: Distribution::Uniform { low, high }, seed } => {
                format!("seeded(uniform, low={low:?}, high={high:?}, seed={seed})")
            }
            ConstantData::Bytes(_) | ConstantData::Mapped { .. } => {
                let len = constant.ty.len();
                match &mut self.large {
                    Large::Elided if len > MAX_LISTED => return format!("...  // {} bytes", constant.ty.bytes()),
                    Large::Stored { arrays, .. } if len > MAX_LISTED => {
                        return format!("safetensors({})", quote(&arrays.store(constant, name)));
                    }
                    Large::Written | Large::Elided | Large::Stored { .. } => {}
                }
                let bytes = constant.bytes();
                if len <= MAX_LISTED {
                    let element = |chunk: &[u8]| {
                        let mut bits = [0u8; 8];
                        bits[..chunk.len()].copy_from_slice(chunk);
                        write_literal(dtype, u64::from_le_bytes(bits))
                    };
                    let elements: Vec<String> = bytes.chunks_exact(dtype.size()).map(element).collect();
                    return format!("[{}]", elements.join(", "));
                }
                let mut digits = String::with_capacity(2 * bytes.len());
                for byte in bytes.iter() {
                    let _ = write!(digits, "{byte:02x}");
                }
                format!("hex(\"{digits}\")")
            }
        }
    }
}
