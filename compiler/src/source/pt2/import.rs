//! The walk over a program: names become values, nodes become instructions by the rows of [`ops`](super::ops).
//!
//! A mistake does not end the walk. The outputs of a refused node are marked, nodes that read them are passed over in
//! silence, and in the end everything that is wrong or unsupported is reported at once, with its Python lines.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use indexmap::IndexMap;
use situ_runtime::map::FileBytes;

use super::archive::Archive;
use super::fold::fold;
use super::location::location;
use super::names::hint_of;
use super::ops;
use super::program;
use super::schema::{
    self, Argument, ExportedProgram, Node, OptionalTensor, SymBoolArgument, SymFloatArgument, SymIntArgument,
};
use super::signature::{named, stored_name};
use super::site::{Number, Site, Stop, Value, Words, invalid, non_negative, unsupported};
use super::storage::Storages;
use crate::diagnostic::{Diagnostic, Kind};
use crate::ir::layout::{Placements, placements};
use crate::ir::{BlockId, Constant, ConstantData, Graph, Location, ValueId};
use crate::ops::{Mutation, Op};
use crate::source::Bindings;
use crate::types::{Layout, TensorType, dense_strides};

/// How to import a program.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Extents of symbolic dimensions.
    pub bindings: Bindings,
    /// Whether the file may be mapped; see `situ_runtime::map`.
    pub mmap: bool,
}

/// A program, and what its author should know.
#[derive(Debug)]
pub struct Imported {
    pub graph: Graph,
    /// Sentences; nothing is wrong.
    pub warnings: Vec<String>,
}

/// The most nodes of a program, those of graphs in graphs included.
const MAX_NODES: usize = 1 << 18;

/// How deep graphs may hold graphs.
const MAX_GRAPHS: usize = 32;

/// How many elements a storage may have for each of a result that has gaps.
const MAX_GAPS: usize = 64;

/// The most places that a diagnostic lists.
const MAX_PLACES: usize = 8;

/// Imports the program in a file.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported, Vec<Diagnostic>> {
    let refuse = |error: std::io::Error| vec![Diagnostic::invalid(path.display().to_string(), error.to_string())];
    let file = FileBytes::open(path, options.mmap).map_err(refuse)?;
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    import_bytes(&file, &name, options)
}

/// Imports a program that is in memory and gives it a name.
pub fn import_bytes(file: &FileBytes, name: &str, options: &ImportOptions) -> Result<Imported, Vec<Diagnostic>> {
    let wrong = |message: String| vec![Diagnostic::invalid("not a valid .pt2 file", message)];
    let mut archive = Archive::open(file).map_err(wrong)?;
    let mut warnings = Vec::new();
    let program = program::read(&mut archive, &mut warnings)?;
    let needed: HashSet<&str> = program.graph_module.signature.input_specs.iter().filter_map(stored_name).collect();
    let refuse = |messages: Vec<String>| -> Vec<Diagnostic> {
        messages.into_iter().map(|message| Diagnostic::invalid("", message)).collect()
    };
    let storages = Storages::read(&mut archive, |name| needed.contains(name)).map_err(refuse)?;
    let name = if name.is_empty() { "program" } else { name };
    // The first graph takes all inputs and weights for constants, and shows which are written; those are state.
    let first = Importer::new(&program, &storages, options, file, name, BTreeSet::new()).run()?;
    let written = written(&first);
    let last = if written.is_empty() {
        first
    } else {
        Importer::new(&program, &storages, options, file, name, written).run()?
    };
    let mistakes = crate::ir::verify::mistakes(&last.graph);
    if !mistakes.is_empty() {
        let undecided = placements(&last.graph).undecided;
        let diagnostics = mistakes.into_iter().map(|mistake| {
            let inst = mistake.inst.and_then(|inst| last.graph.insts.get(inst.index()));
            let place = inst.map_or_else(String::new, |inst| inst.location.to_string());
            // What the way of a program decides may be right, but is not known when compiling.
            let open = mistake.inst.is_some_and(|inst| undecided.contains(&inst));
            let mut diagnostic = match open {
                true => Diagnostic::unsupported(place, mistake.message),
                false => Diagnostic::invalid(place, mistake.message),
            };
            diagnostic.notes = mistake.notes;
            diagnostic
        });
        return Err(diagnostics.collect());
    }
    Ok(Imported { graph: fold(last.graph), warnings })
}

/// Whose bytes a value that nothing computes has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An input of the caller's, by its position in the signature.
    User(usize),
    Storage(usize),
}

/// The sources that a graph writes, directly or through views.
fn written(first: &Walked) -> BTreeSet<Source> {
    let placed = placements(&first.graph);
    let mutating = first.graph.all_insts().into_iter().filter(|&id| first.graph.inst(id).mutates);
    let owners = mutating.flat_map(|id| placed.owners(first.graph.inst(id).operands[0]));
    owners.filter_map(|owner| first.sources.get(&owner).copied()).collect()
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub enum Item {
    Tensor(ValueId),
    Number(Number),
    None,
    /// Defined by a node that was refused.
    Refused,
}

/// A finished walk.
struct Walked {
    graph: Graph,
    pub sources: HashMap<ValueId, Source>,
}

/// The state of an import.
pub struct Importer<'a> {
    pub graph: Graph,
    /// Where instructions go.
    pub block: BlockId,
    /// Strides, by the rules of eager PyTorch, as far as the walk has come.
    pub placements: Placements,
    pub program: &'a ExportedProgram,
    pub storages: &'a Storages,
    pub options: &'a ImportOptions,
    pub file: &'a FileBytes,
    pub written: BTreeSet<Source>,
    pub sources: HashMap<ValueId, Source>,
    /// Innermost last; a graph in a graph sees its own names alone.
    pub scopes: Vec<Scope<'a>>,
    pub names: HashSet<String>,
    nodes: usize,
    found: IndexMap<(bool, String, String), Vec<String>>,
    pub unbound: BTreeSet<String>,
    /// Results whose strides a row knows better than the trace: PyTorch traces with functions of its own, some of which
    /// give other strides than the real ones.
    pub settled: HashSet<ValueId>,
    /// The counter of random draws, when there is one, and how many there were.
    pub randomness: Option<(ValueId, u64)>,
}

pub struct Scope<'a> {
    pub graph: &'a schema::Graph,
    pub items: HashMap<&'a str, Item>,
}

impl<'a> Importer<'a> {
    fn new(
        program: &'a ExportedProgram,
        storages: &'a Storages,
        options: &'a ImportOptions,
        file: &'a FileBytes,
        name: &str,
        written: BTreeSet<Source>,
    ) -> Importer<'a> {
        let root = &program.graph_module.graph;
        Importer {
            graph: Graph::new(name),
            block: Graph::BODY,
            placements: Placements::new(),
            program,
            storages,
            options,
            file,
            written,
            sources: HashMap::new(),
            scopes: vec![Scope { graph: root, items: HashMap::new() }],
            names: HashSet::new(),
            nodes: 0,
            found: IndexMap::new(),
            unbound: BTreeSet::new(),
            settled: HashSet::new(),
            randomness: None,
        }
    }

    fn run(mut self) -> Result<Walked, Vec<Diagnostic>> {
        let program = self.program;
        let signature = &program.graph_module.signature;
        self.check_ranges();
        // The caller's inputs come first: they are bound by position, and state is not.
        let mut shadows = Vec::new();
        for (at, spec) in signature.input_specs.iter().enumerate() {
            match self.user_input(at, spec) {
                Ok(Some(shadow)) => shadows.push(shadow),
                Ok(None) => {}
                Err(stop) => self.refuse(format!("input {at}"), "", stop),
            }
        }
        let mut bases = HashMap::new();
        for spec in &signature.input_specs {
            if let Err(stop) = self.stored_input(spec, &mut bases) {
                self.refuse(stored_name(spec).unwrap_or_default().to_string(), "", stop);
            }
        }
        self.run_nodes(&program.graph_module.graph);
        for spec in &signature.output_specs {
            if let Err(stop) = self.output(spec) {
                self.refuse("output".into(), "", stop);
            }
        }
        let writes_input = self.written.iter().any(|source| matches!(source, Source::User(_)));
        if let (Some(&(input, _)), true) = (shadows.first(), writes_input) {
            let name = self.graph.value(input).name.clone();
            self.graph.apart =
                Some(format!("input {name} was traced with strides of its own, so a copy of it stands for it"));
        }
        for (input, shadow) in shadows {
            let source = self.sources.get(&self.placements.root(shadow));
            if source.is_some_and(|source| self.written.contains(source)) {
                let ty = self.graph.ty(input).clone();
                let at = named(&self.graph.value(input).name);
                if let Err(stop) = self.append(Op::Copy {}, &[input, shadow], vec![ty], true, &at) {
                    self.refuse("input".into(), "", stop);
                }
            }
        }
        if let Err(stop) = ops::count_draws(&mut self) {
            self.refuse("random numbers".into(), "", stop);
        }
        let diagnostics = self.diagnostics();
        if diagnostics.is_empty() { Ok(Walked { graph: self.graph, sources: self.sources }) } else { Err(diagnostics) }
    }

    /// Records why something was refused; what is refused for one reason in many places is told once.
    pub fn refuse(&mut self, place: String, target: &str, stop: Stop) {
        let (supported, message) = match stop {
            Stop::Invalid(message) => (true, message),
            Stop::Unsupported(message) => (false, message),
            Stop::Poisoned => return,
        };
        // What a file calls things must not reach a terminal as it is.
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
        let (place, message) = (plain(&place), plain(&message));
        let places = self.found.entry((supported, plain(target), message)).or_default();
        places.push(place);
    }

    fn diagnostics(&mut self) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        for symbol in &self.unbound {
            let range = self.program.range_constraints.get(symbol);
            let (least, most) = range.map_or((None, None), |range| (range.min_val, range.max_val));
            let range = match (least, most) {
                (Some(least), Some(most)) if most < i64::MAX => format!(", from {least} to {most}"),
                (Some(least), _) => format!(", at least {least}"),
                _ => String::new(),
            };
            let hint = hint_of(&self.program.graph_module.graph, symbol);
            let traced = hint.map_or_else(String::new, |hint| format!("; it was traced with {hint}"));
            let message = format!("the dimension {symbol} has no value: bind it with --bind {symbol}=N{range}{traced}");
            diagnostics.push(Diagnostic::invalid("", message));
        }
        for ((supported, target, message), places) in std::mem::take(&mut self.found) {
            let place = match (target.as_str(), places[0].as_str()) {
                ("", place) => place.to_string(),
                (target, place) => format!("{target} ({place})"),
            };
            let kind = if supported { Kind::Invalid } else { Kind::Unsupported };
            let mut diagnostic = Diagnostic { kind, ..Diagnostic::invalid(place, message) };
            let mut others: Vec<&String> = places[1..].iter().collect();
            others.dedup();
            diagnostic.notes.extend(others.iter().take(MAX_PLACES).map(|place| format!("also {place}")));
            if others.len() > MAX_PLACES {
                diagnostic.notes.push(format!("and in {} more places", others.len() - MAX_PLACES));
            }
            diagnostics.push(diagnostic);
        }
        diagnostics
    }

    pub fn run_nodes(&mut self, graph: &'a schema::Graph) {
        for node in &graph.nodes {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                if self.nodes == MAX_NODES + 1 {
                    self.refuse(String::new(), "", Stop::Unsupported(format!("more than {MAX_NODES} nodes")));
                }
                return;
            }
            let name = output_names(node).next().flatten().unwrap_or(&node.target);
            let location = location(&node.metadata, name);
            if let Err(stop) = self.node(node, &location) {
                self.refuse(location.text, &node.target, stop);
                for name in output_names(node).flatten() {
                    self.bind(name, Item::Refused);
                }
            }
        }
    }

    fn node(&mut self, node: &'a Node, location: &Location) -> Result<(), Stop> {
        let fresh_from = self.graph.values.len();
        let items = match ops::find(&node.target)? {
            ops::Found::Tensors { row, form } => {
                let mut site = Site::new(self, node, Some(row), location.clone())?;
                if form != ops::Form::InPlace && row.writes_itself() {
                    site.replace_by_copy(row.destination())?;
                }
                let mut results = row.import(&mut site)?;
                if form == ops::Form::Copy {
                    for result in &mut results {
                        *result = site.one(Op::Contiguous {}, &[*result])?;
                    }
                }
                if form == ops::Form::InPlace && row.writes() {
                    let destination = site.tensor(row.destination())?;
                    let value = *results.first().ok_or_else(|| Stop::Invalid("there is nothing to write".into()))?;
                    results[0] = self.in_place(destination, value, location)?;
                }
                results.into_iter().map(Item::Tensor).collect()
            }
            ops::Found::Items(import) => import(&mut Site::new(self, node, None, location.clone())?)?,
        };
        let names: Vec<Option<&str>> = output_names(node).collect();
        if names.len() > items.len() {
            return invalid(format!("{} results are named, there are {}", names.len(), items.len()));
        }
        for (name, item) in names.into_iter().zip(items) {
            let Some(name) = name else { continue };
            let item = match item {
                Item::Tensor(value) => Item::Tensor(self.conform(name, value, fresh_from, location)?),
                other => other,
            };
            self.bind(name, item);
        }
        Ok(())
    }

    /// Gives a result the strides that the program was traced with, and its name.
    pub fn conform(
        &mut self,
        name: &'a str,
        value: ValueId,
        fresh_from: usize,
        at: &Location,
    ) -> Result<ValueId, Stop> {
        let scope = self.scopes.last().expect("an import always has a scope");
        let Some(meta) = scope.graph.tensor_values.get(name) else { return Ok(value) };
        let declared = self.declared(meta)?;
        if declared != *self.graph.ty(value) {
            return invalid(format!("the file says {declared} of {name}, the op gives {}", self.graph.ty(value)));
        }
        let root = self.placements.root(value);
        let fresh =
            root.index() >= fresh_from && self.placements.joined(root).is_none() && !self.settled.contains(&value);
        let value = if fresh && self.placements.has_one_layout(value) {
            let strides = self.extents(&meta.strides)?;
            self.with_strides(value, &strides, at)?
        } else {
            value
        };
        self.name(value, name);
        Ok(value)
    }

    /// The value in a layout with these strides, the value itself if it has them.
    pub fn with_strides(&mut self, value: ValueId, strides: &[i64], at: &Location) -> Result<ValueId, Stop> {
        let ty = self.graph.ty(value).clone();
        let wanted = Layout { offset: 0, shape: ty.shape.clone(), strides: strides.to_vec() };
        if strides.len() != ty.rank() || strides.iter().any(|&stride| stride < 0) {
            return invalid(format!("strides {strides:?} for {ty}"));
        }
        if ty.len() < 2 || self.placements.layout(value).is_parallel(&wanted) {
            return Ok(value);
        }
        let mut axes: Vec<usize> = (0..ty.rank()).collect();
        axes.sort_by_key(|&axis| (std::cmp::Reverse(strides[axis]), ty.shape[axis] == 1));
        let dense = dense_strides(&axes.iter().map(|&axis| ty.shape[axis]).collect::<Vec<usize>>());
        if !axes.iter().zip(&dense).all(|(&axis, &stride)| ty.shape[axis] == 1 || strides[axis] == stride) {
            return self.with_gaps(value, wanted, at);
        }
        let sorted = self.append_one(Op::Permute { axes: axes.clone() }, &[value], at)?;
        let copied = self.append_one(Op::Contiguous {}, &[sorted], at)?;
        let mut back = vec![0; axes.len()];
        axes.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
        self.append_one(Op::Permute { axes: back }, &[copied], at)
    }

    /// The value in a storage that has more elements than it. Where two indices are one element nobody may write, and what
    /// is read is the same in any layout.
    fn with_gaps(&mut self, value: ValueId, wanted: Layout, at: &Location) -> Result<ValueId, Stop> {
        let ty = self.graph.ty(value).clone();
        let elements = wanted.hull().and_then(|(_, end)| usize::try_from(end).ok());
        let Some(elements) = elements.filter(|_| wanted.is_injective()) else { return Ok(value) };
        if elements > ty.len().saturating_mul(MAX_GAPS) {
            return unsupported(format!("a result of {} elements in a storage of {elements}", ty.len()));
        }
        let storage = TensorType::new(ty.dtype, [elements]);
        let zeros = Constant { name: String::new(), ty: storage, data: ConstantData::Splat(0) };
        let zeros = self.constant(zeros);
        let storage = self.append_one(Op::Contiguous {}, &[zeros], at)?;
        let strides = non_negative(&wanted.strides, "strides")?;
        let op = Op::AsStrided { shape: wanted.shape, strides, offset: Some(0) };
        let place = self.append_one(op, &[storage], at)?;
        Ok(self.append(Op::Copy {}, &[place, value], vec![ty], true, at)?[0])
    }

    /// Writes the result of an op over its first argument; the op's own mutating form where it is one instruction.
    fn in_place(&mut self, destination: ValueId, value: ValueId, at: &Location) -> Result<ValueId, Stop> {
        if value == destination {
            return Ok(value);
        }
        let last = self.graph.block(self.block).insts.last().copied();
        let producer = self.graph.producer(value).filter(|&inst| Some(inst) == last);
        if let Some(id) = producer {
            let inst = self.graph.inst(id);
            let forms = inst.op.row().mutation == Mutation::Form && inst.operands[0] == destination;
            if forms && inst.results.len() == 1 && self.graph.ty(value) == self.graph.ty(destination) {
                self.graph.insts[id.index()].mutates = true;
                self.placements.place(&self.graph, id);
                return Ok(value);
            }
        }
        let ty = self.graph.ty(destination).clone();
        let value = match self.graph.ty(value).dtype == ty.dtype {
            true => value,
            false => self.append_one(Op::Point(crate::ops::PointFn::Cast(ty.dtype)), &[value], at)?,
        };
        let results = Op::Copy {}.infer(&[ty, self.graph.ty(value).clone()])?;
        Ok(self.append(Op::Copy {}, &[destination, value], results, true, at)?[0])
    }

    /// Appends an instruction with one result.
    pub fn append_one(&mut self, op: Op, operands: &[ValueId], at: &Location) -> Result<ValueId, Stop> {
        let types: Vec<TensorType> = operands.iter().map(|&operand| self.graph.ty(operand).clone()).collect();
        let results = op.infer(&types)?;
        Ok(self.append(op, operands, results, false, at)?[0])
    }

    /// Appends an instruction and places its results; a view that strides forbid is the program's mistake.
    pub fn append(
        &mut self,
        op: Op,
        operands: &[ValueId],
        results: Vec<TensorType>,
        mutates: bool,
        at: &Location,
    ) -> Result<Vec<ValueId>, Stop> {
        let inst = self.graph.append_typed(self.block, op, operands, results, at.clone());
        self.graph.insts[inst.index()].mutates = mutates;
        self.placements.place(&self.graph, inst);
        match self.placements.impossible.get(&inst) {
            Some(why) => invalid(why.message.clone()),
            None => Ok(self.graph.inst(inst).results.clone()),
        }
    }

    pub fn constant(&mut self, constant: Constant) -> ValueId {
        let value = self.graph.add_constant(constant);
        self.placements.grow(&self.graph);
        value
    }

    /// Runs a graph that stands in an argument, its inputs bound to `operands`; what it yields.
    pub fn inline(&mut self, graph: &'a schema::Graph, operands: &[Item]) -> Result<Vec<Item>, Stop> {
        if self.scopes.len() > MAX_GRAPHS {
            return unsupported(format!("graphs more than {MAX_GRAPHS} deep in each other"));
        }
        if graph.inputs.len() != operands.len() {
            return invalid(format!("a graph of {} inputs has {} operands", graph.inputs.len(), operands.len()));
        }
        self.scopes.push(Scope { graph, items: HashMap::new() });
        let result = self.inlined(graph, operands);
        self.scopes.pop();
        result
    }

    fn inlined(&mut self, graph: &'a schema::Graph, operands: &[Item]) -> Result<Vec<Item>, Stop> {
        for (input, &operand) in graph.inputs.iter().zip(operands) {
            match input {
                Argument::Tensor(tensor) => self.bind(&tensor.name, operand),
                Argument::SymInt(SymIntArgument::Name(name)) => self.bind(name, operand),
                _ => {}
            }
        }
        self.run_nodes(graph);
        let mut items = Vec::with_capacity(graph.outputs.len());
        for output in &graph.outputs {
            items.push(match output {
                Argument::Tensor(tensor) => self.lookup(&tensor.name)?,
                other => match self.resolve(other)? {
                    Value::Tensor(value) => Item::Tensor(value),
                    Value::Number(number) => Item::Number(number),
                    _ => Item::None,
                },
            });
        }
        Ok(items)
    }
}

/// Names of a node's outputs, in order; `None` for one that nothing can name.
fn output_names(node: &Node) -> impl Iterator<Item = Option<&str>> {
    node.outputs.iter().flat_map(|output| -> Vec<Option<&str>> {
        match output {
            Argument::Tensor(tensor) => vec![Some(&tensor.name)],
            Argument::Tensors(tensors) => tensors.iter().map(|tensor| Some(tensor.name.as_str())).collect(),
            Argument::OptionalTensor(OptionalTensor::Tensor(tensor)) => vec![Some(&tensor.name)],
            Argument::SymInt(SymIntArgument::Name(name))
            | Argument::SymFloat(SymFloatArgument::Name(name))
            | Argument::SymBool(SymBoolArgument::Name(name)) => vec![Some(name)],
            Argument::None(_) => Vec::new(),
            _ => vec![None],
        }
    })
}
