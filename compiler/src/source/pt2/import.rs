//! The walk over a program: names become values, nodes become instructions by the rows of [`ops`](super::ops).
//!
//! A mistake does not end the walk. The outputs of a refused node are marked, nodes that read them are passed over in
//! silence, and in the end everything that is wrong or unsupported is reported at once, with its Python lines.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use indexmap::IndexMap;
use situ_runtime::map::FileBytes;

use super::archive::Archive;
use super::location::location;
use super::ops;
use super::schema::{
    self, Argument, ExportedProgram, InputSpec, Node, OptionalTensor, OutputSpec, SymBoolArgument, SymFloatArgument,
    SymInt, SymIntArgument, TensorMeta,
};
use super::site::{Number, Site, Stop, Value, Words, invalid, plain, unsupported};
use super::storage::{self, Storage, Storages};
use super::symbol::{self, Unknown};
use crate::diagnostic::{Diagnostic, Kind};
use crate::ir::layout::{Placements, placements};
use crate::ir::{BlockId, Constant, ConstantData, Def, Graph, Location, StateView, ValueId, in_program_order};
use crate::ops::{Mutation, Op};
use crate::source::Bindings;
use crate::types::{DType, InputMode, Layout, TensorType, dense_strides};

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

/// The largest description of a program that is read, in bytes.
const MAX_JSON: usize = 256 << 20;

/// The most nodes of a program, those of graphs in graphs included.
const MAX_NODES: usize = 1 << 18;

/// How deep graphs may hold graphs.
const MAX_GRAPHS: usize = 32;

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
    let program = read_program(&mut archive, &mut warnings)?;
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
        let diagnostics = mistakes.into_iter().map(|mistake| {
            let inst = mistake.inst.and_then(|inst| last.graph.insts.get(inst.index()));
            let place = inst.map_or_else(String::new, |inst| inst.location.to_string());
            let mut diagnostic = Diagnostic::invalid(place, mistake.message);
            diagnostic.notes = mistake.notes;
            diagnostic
        });
        return Err(diagnostics.collect());
    }
    Ok(Imported { graph: in_program_order(&last.graph), warnings })
}

/// The description of the program, its version checked before the rest is believed.
fn read_program(archive: &mut Archive, warnings: &mut Vec<String>) -> Result<ExportedProgram, Vec<Diagnostic>> {
    let wrong = |message: String| vec![Diagnostic::invalid("not a valid .pt2 file", message)];
    let refused = |message: String| vec![Diagnostic::unsupported("", message)];
    match archive.text("archive_format").map_err(wrong)?.as_deref() {
        Some("pt2") => {}
        Some(other) => return Err(wrong(format!("archive_format is {other:?}, expected \"pt2\""))),
        None if archive.has("serialized_exported_program.json") => {
            return Err(refused("the archive is of torch 2.7 or older: export it anew".into()));
        }
        None => return Err(wrong("the archive has no entry archive_format: save it with torch.export.save".into())),
    }
    match archive.text("byteorder").map_err(wrong)?.as_deref() {
        Some("little") | None => {}
        Some(other) => return Err(refused(format!("byte order {other:?}, only little is read"))),
    }
    let models: Vec<String> = archive.names_in("models/").map(str::to_string).collect();
    let entry = match models.as_slice() {
        [one] => one.clone(),
        [] => return Err(wrong("the archive has no program in models/".into())),
        several => match several.iter().find(|name| *name == "models/model.json") {
            Some(name) => {
                warnings.push(format!("the archive holds {} programs; models/model.json is read", several.len()));
                name.clone()
            }
            None => {
                return Err(refused(format!(
                    "the archive holds {} programs, none is models/model.json",
                    several.len()
                )));
            }
        },
    };
    let range = archive.entry(&entry).map_err(wrong)?;
    if range.len() > MAX_JSON {
        return Err(refused(format!("{entry} has {} bytes, at most {MAX_JSON} are read", range.len())));
    }
    let bytes = &archive.file[range];
    let json = |error: serde_json::Error| wrong(format!("{entry}: {error}"));
    let version = serde_json::from_slice::<schema::Versioned>(bytes).map_err(json)?.schema_version;
    let (major, minor) = schema::VERSION;
    if version.major != major {
        return Err(refused(format!(
            "schema version {}.{}, only {major} is read: export with torch 2.15",
            version.major, version.minor
        )));
    }
    if version.minor > minor {
        warnings.push(format!(
            "schema version {major}.{} is newer than {major}.{minor}: what it adds is not looked at",
            version.minor
        ));
    }
    let program: ExportedProgram = serde_json::from_slice(bytes).map_err(json)?;
    if !program.verifiers.iter().any(|verifier| verifier == "TRAINING" || verifier == "ATEN") {
        warnings.push(format!("the program is of the dialect {:?}, expected TRAINING", program.verifiers));
    }
    Ok(program)
}

/// The name under which an input is stored in the archive.
fn stored_name(spec: &InputSpec) -> Option<&str> {
    match spec {
        InputSpec::Parameter { parameter_name: name, .. }
        | InputSpec::Buffer { buffer_name: name, .. }
        | InputSpec::TensorConstant { tensor_constant_name: name, .. } => Some(name),
        _ => None,
    }
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
    sources: HashMap<ValueId, Source>,
}

/// The state of an import.
pub struct Importer<'a> {
    pub graph: Graph,
    /// Where instructions go.
    pub block: BlockId,
    /// Strides, by the rules of eager PyTorch, as far as the walk has come.
    pub placements: Placements,
    program: &'a ExportedProgram,
    storages: &'a Storages,
    options: &'a ImportOptions,
    file: &'a FileBytes,
    written: BTreeSet<Source>,
    sources: HashMap<ValueId, Source>,
    /// Innermost last; a graph in a graph sees its own names alone.
    scopes: Vec<Scope<'a>>,
    names: HashSet<String>,
    nodes: usize,
    found: IndexMap<(bool, String, String), Vec<String>>,
    unbound: BTreeSet<String>,
    /// The counter of random draws, when there is one, and how many there were.
    pub randomness: Option<(ValueId, u64)>,
}

struct Scope<'a> {
    graph: &'a schema::Graph,
    items: HashMap<&'a str, Item>,
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
        for (input, shadow) in shadows {
            if matches!(self.sources.get(&shadow), Some(source) if self.written.contains(source)) {
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

    /// Whether the bound extents are in the ranges that the program was exported for.
    fn check_ranges(&mut self) {
        for (symbol, extent) in self.options.bindings.iter() {
            let Some(range) = self.program.range_constraints.get(symbol) else { continue };
            let (least, most) = (range.min_val.unwrap_or(i64::MIN), range.max_val.unwrap_or(i64::MAX));
            if i64::try_from(extent).is_ok_and(|extent| extent < least || extent > most) {
                let most = if most == i64::MAX { "any".to_string() } else { most.to_string() };
                let message = format!(
                    "the dimension {symbol} is bound to {extent}; the program was exported for {least} to {most}"
                );
                self.refuse(String::new(), "", Stop::Invalid(message));
            }
        }
    }

    /// Records why something was refused; what is refused for one reason in many places is told once.
    fn refuse(&mut self, place: String, target: &str, stop: Stop) {
        let (supported, message) = match stop {
            Stop::Invalid(message) => (true, message),
            Stop::Unsupported(message) => (false, message),
            Stop::Poisoned => return,
        };
        let places = self.found.entry((supported, target.to_string(), message)).or_default();
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

    /// The number behind an extent.
    fn extent(&mut self, value: &SymInt) -> Result<i64, Stop> {
        match value {
            SymInt::Int(value) => Ok(*value),
            SymInt::Expr(expr) => match symbol::evaluate(&expr.expr_str, &self.options.bindings) {
                Ok(value) => Ok(value),
                Err(Unknown::Wrong(message)) => invalid(message),
                // A symbol that no input has stands for a number that is known only when running.
                Err(Unknown::Symbol(symbol)) if symbol.starts_with('u') => {
                    unsupported(format!("the extent {symbol} depends on data"))
                }
                Err(Unknown::Symbol(symbol)) => {
                    self.unbound.insert(symbol);
                    Err(Stop::Poisoned)
                }
            },
        }
    }

    fn extents(&mut self, values: &[SymInt]) -> Result<Vec<i64>, Stop> {
        values.iter().map(|value| self.extent(value)).collect()
    }

    /// The type that a description gives.
    fn declared(&mut self, meta: &TensorMeta) -> Result<TensorType, Stop> {
        if meta.layout != storage::STRIDED {
            return unsupported("a tensor that is not strided");
        }
        let dtype = storage::dtype(meta.dtype).map_err(Stop::Unsupported)?;
        let shape = super::site::non_negative(&self.extents(&meta.sizes)?, "a shape")?;
        let ty = TensorType::new(dtype, shape);
        ty.check().map_err(Stop::Invalid)?;
        Ok(ty)
    }

    /// An input of the caller's. One that was traced with strides of its own is read through a copy that has them, which
    /// is given back with the input: strides decide what is a view.
    fn user_input(&mut self, at: usize, spec: &'a InputSpec) -> Result<Option<(ValueId, ValueId)>, Stop> {
        let name = match spec {
            InputSpec::User { arg: Argument::Tensor(tensor) } => tensor.name.as_str(),
            InputSpec::User { arg } => {
                if let Argument::SymInt(SymIntArgument::Name(name)) = arg {
                    let root = self.scopes[0].graph;
                    let Some(value) = root.sym_int_values.get(name) else {
                        return invalid(format!("the number {name} is not described"));
                    };
                    let number = self.extent(value)?;
                    self.bind(name, Item::Number(Number::Int(number)));
                }
                return Ok(None);
            }
            InputSpec::Constant { name, value } => {
                if let Value::Number(number) = plain(value)? {
                    self.bind(name, Item::Number(number));
                }
                return Ok(None);
            }
            InputSpec::CustomObject { arg, custom_obj_name } => {
                let message = format!("the object {custom_obj_name} of class {}, which is pickled", arg.class_fqn);
                return unsupported(message);
            }
            InputSpec::Token(_) => return unsupported("tokens of effects"),
            InputSpec::Parameter { .. } | InputSpec::Buffer { .. } | InputSpec::TensorConstant { .. } => {
                return Ok(None);
            }
        };
        self.bind(name, Item::Refused);
        let Some(meta) = self.scopes[0].graph.tensor_values.get(name) else {
            return invalid(format!("the input {name} is not described"));
        };
        let ty = self.declared(meta)?;
        let strides = self.extents(&meta.strides)?;
        let source = Source::User(at);
        let mode = if self.written.contains(&source) { InputMode::InOut } else { InputMode::Read };
        if name.is_empty() || name == "out" || !self.names.insert(name.to_string()) {
            return invalid(format!("the input name {name:?} cannot be used"));
        }
        let input = self.graph.add_input(name, mode, ty);
        self.placements.grow(&self.graph);
        let shadow = self.with_strides(input, &strides, &named(name))?;
        self.sources.insert(self.placements.root(shadow), source);
        self.bind(name, Item::Tensor(shadow));
        Ok((shadow != input).then_some((input, shadow)))
    }

    /// A parameter, buffer or constant: a view of its storage.
    fn stored_input(&mut self, spec: &'a InputSpec, bases: &mut HashMap<usize, ValueId>) -> Result<(), Stop> {
        let (arg, place) = match spec {
            InputSpec::Parameter { arg, parameter_name: name } | InputSpec::Buffer { arg, buffer_name: name } => {
                (arg, self.storages.weight(name))
            }
            InputSpec::TensorConstant { arg, tensor_constant_name: name } => (arg, self.storages.constant(name)),
            _ => return Ok(()),
        };
        self.bind(&arg.name, Item::Refused);
        let Some((at, view)) = place else { return invalid("the archive does not hold it") };
        let (_, storage) = self.storages.storages.get_index(at).expect("places of storages are valid");
        let base = match bases.get(&at) {
            Some(&base) => base,
            None => {
                let base = self.storage(at, storage)?;
                bases.insert(at, base);
                base
            }
        };
        let view = &storage.views[view];
        let seen = if self.graph.ty(base).dtype == view.dtype {
            base
        } else {
            self.append_one(Op::ViewDtype { to: view.dtype }, &[base], &named(&view.name))?
        };
        let value = if storage::whole(storage).is_some() {
            seen
        } else {
            let strides = super::site::non_negative(&view.layout.strides, "strides")?;
            let offset = usize::try_from(view.layout.offset).or_else(|_| invalid("a negative offset"))?;
            let op = Op::AsStrided { shape: view.layout.shape.clone(), strides, offset: Some(offset) };
            self.append_one(op, &[seen], &named(&view.name))?
        };
        self.name(value, &view.name);
        if let Some(meta) = self.scopes[0].graph.tensor_values.get(arg.name.as_str()) {
            let declared = self.declared(meta)?;
            if declared != *self.graph.ty(value) {
                return invalid(format!(
                    "the program has it as {declared}, the archive holds {}",
                    self.graph.ty(value)
                ));
            }
        }
        self.bind(&arg.name, Item::Tensor(value));
        Ok(())
    }

    /// A storage as a constant, or as state if the program writes it.
    fn storage(&mut self, at: usize, storage: &Storage) -> Result<ValueId, Stop> {
        let first = &storage.views[0];
        let (name, ty) = match storage::whole(storage) {
            Some(view) => (view.name.clone(), TensorType::new(view.dtype, view.layout.shape.clone())),
            None => {
                let elements = storage.range.len() / first.dtype.size();
                (format!("{}.storage", first.name), TensorType::new(first.dtype, [elements]))
            }
        };
        ty.check().map_err(Stop::Invalid)?;
        if ty.bytes() != storage.range.len() {
            return invalid(format!("its storage of {} bytes is no whole number of {}", storage.range.len(), ty.dtype));
        }
        let name = self.unique(&name);
        let bytes = &self.file[storage.range.clone()];
        // True is every byte but zero in PyTorch, and one here.
        let data = match first.dtype == DType::Bool && bytes.iter().any(|&byte| byte > 1) {
            true => ConstantData::Bytes(bytes.iter().map(|&byte| u8::from(byte != 0)).collect()),
            false => ConstantData::Mapped { file: self.file.clone(), offset: storage.range.start },
        };
        let source = Source::Storage(at);
        let value = if self.written.contains(&source) {
            let name_of_input = name.clone();
            let value = self.graph.add_input(name, InputMode::InOut, ty.clone());
            let input = self.graph.inputs.last_mut().expect("an input was just added");
            input.initial = Some(Constant { name: String::new(), ty, data });
            let named = storage::whole(storage).is_some().then_some(name_of_input);
            let views =
                storage.views.iter().filter(|view| view.dtype == first.dtype && Some(&view.name) != named.as_ref());
            input.views =
                views.map(|view| StateView { name: view.name.clone(), layout: view.layout.clone() }).collect();
            self.placements.grow(&self.graph);
            value
        } else {
            self.constant(Constant { name, ty, data })
        };
        self.sources.insert(value, source);
        Ok(value)
    }

    fn output(&mut self, spec: &'a OutputSpec) -> Result<(), Stop> {
        let signature = &self.program.graph_module.signature;
        let tensor = match spec {
            OutputSpec::User { arg: Argument::Tensor(tensor) } => tensor,
            // Numbers and None are no results of a tensor program.
            OutputSpec::User { .. } => return Ok(()),
            OutputSpec::Loss { arg }
            | OutputSpec::GradientToParameter { arg }
            | OutputSpec::GradientToUserInput { arg } => arg,
            OutputSpec::Token(_) => return unsupported("tokens of effects"),
            // Programs made functional say at their end what is written.
            OutputSpec::BufferMutation { arg, buffer_name: name }
            | OutputSpec::ParameterMutation { arg, parameter_name: name } => {
                let spec = signature.input_specs.iter().find(|spec| stored_name(spec) == Some(name));
                let destination = match spec {
                    Some(InputSpec::Parameter { arg, .. } | InputSpec::Buffer { arg, .. }) => &arg.name,
                    _ => return invalid(format!("there is no buffer {name}")),
                };
                return self.write_back(destination, &arg.name);
            }
            OutputSpec::UserInputMutation { arg, user_input_name } => {
                return self.write_back(user_input_name, &arg.name);
            }
        };
        let value = self.lookup_tensor(&tensor.name)?;
        let mut name = tensor.name.clone();
        let taken = |name: &String, graph: &Graph| graph.outputs.iter().any(|output| output.name == *name);
        for count in 1.. {
            if !taken(&name, &self.graph) {
                break;
            }
            name = format!("{}.{count}", tensor.name);
        }
        self.graph.add_output(name, value);
        Ok(())
    }

    fn write_back(&mut self, target: &str, value: &str) -> Result<(), Stop> {
        let (destination, value) = (self.lookup_tensor(target)?, self.lookup_tensor(value)?);
        let ty = self.graph.ty(destination).clone();
        if *self.graph.ty(value) != ty {
            return invalid(format!("{} is written over {ty}", self.graph.ty(value)));
        }
        self.append(Op::Copy {}, &[destination, value], vec![ty], true, &named(target))?;
        Ok(())
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
    fn conform(&mut self, name: &'a str, value: ValueId, fresh_from: usize, at: &Location) -> Result<ValueId, Stop> {
        let scope = self.scopes.last().expect("an import always has a scope");
        let Some(meta) = scope.graph.tensor_values.get(name) else { return Ok(value) };
        let declared = self.declared(meta)?;
        if declared != *self.graph.ty(value) {
            return invalid(format!("the file says {declared} of {name}, the op gives {}", self.graph.ty(value)));
        }
        let root = self.placements.root(value);
        let fresh = root.index() >= fresh_from && self.placements.joined(root).is_none();
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
    fn with_strides(&mut self, value: ValueId, strides: &[i64], at: &Location) -> Result<ValueId, Stop> {
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
            // Gaps and repetitions are made with a storage of their own, which nothing else sees.
            return Ok(value);
        }
        let sorted = self.append_one(Op::Permute { axes: axes.clone() }, &[value], at)?;
        let copied = self.append_one(Op::Contiguous {}, &[sorted], at)?;
        let mut back = vec![0; axes.len()];
        axes.iter().enumerate().for_each(|(place, &axis)| back[axis] = place);
        self.append_one(Op::Permute { axes: back }, &[copied], at)
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

    /// Gives a value a name, if it has none and the name is free.
    fn name(&mut self, value: ValueId, name: &str) {
        let named = &self.graph.value(value);
        if named.name.is_empty() && !matches!(named.def, Def::Param(..)) && self.names.insert(name.to_string()) {
            self.graph.values[value.index()].name = name.to_string();
        }
    }

    /// The name, or one like it that is free; it is taken then.
    pub fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_string();
        let mut count = 1;
        while unique == "out" || !self.names.insert(unique.clone()) {
            unique = format!("{name}.{count}");
            count += 1;
        }
        unique
    }

    pub fn bind(&mut self, name: &'a str, item: Item) {
        self.scopes.last_mut().expect("an import always has a scope").items.insert(name, item);
    }

    fn lookup(&self, name: &str) -> Result<Item, Stop> {
        let scope = self.scopes.last().expect("an import always has a scope");
        match scope.items.get(name) {
            None => invalid(format!("the name {name:?} is not defined")),
            Some(Item::Refused) => Err(Stop::Poisoned),
            Some(item) => Ok(*item),
        }
    }

    fn lookup_tensor(&self, name: &str) -> Result<ValueId, Stop> {
        match self.lookup(name)? {
            Item::Tensor(value) => Ok(value),
            _ => invalid(format!("{name} is not a tensor")),
        }
    }

    /// An argument, its names and symbols replaced by what they stand for.
    pub fn resolve(&self, argument: &'a Argument) -> Result<Value<'a>, Stop> {
        let numbers = |values: Result<Vec<Number>, Stop>| values.map(Value::Numbers);
        match argument {
            Argument::Tensor(tensor) => self.lookup(&tensor.name)?.value(),
            Argument::Tensors(tensors) => {
                let values = tensors.iter().map(|tensor| self.lookup_tensor(&tensor.name).map(Some));
                values.collect::<Result<_, _>>().map(Value::Tensors)
            }
            Argument::OptionalTensor(OptionalTensor::Tensor(tensor)) => self.lookup(&tensor.name)?.value(),
            Argument::OptionalTensor(OptionalTensor::None(_)) => Ok(Value::None),
            Argument::OptionalTensors(tensors) => {
                let values = tensors.iter().map(|tensor| match tensor {
                    OptionalTensor::Tensor(tensor) => self.lookup_tensor(&tensor.name).map(Some),
                    OptionalTensor::None(_) => Ok(None),
                });
                values.collect::<Result<_, _>>().map(Value::Tensors)
            }
            Argument::SymInt(value) => self.sym_int(value).map(Value::Number),
            Argument::SymInts(values) => numbers(values.iter().map(|value| self.sym_int(value)).collect()),
            Argument::SymFloat(value) => self.sym_float(value).map(Value::Number),
            Argument::SymFloats(values) => numbers(values.iter().map(|value| self.sym_float(value)).collect()),
            Argument::SymBool(value) => self.sym_bool(value).map(Value::Number),
            Argument::SymBools(values) => numbers(values.iter().map(|value| self.sym_bool(value)).collect()),
            other => plain(other),
        }
    }

    fn named_number(&self, name: &str) -> Result<Number, Stop> {
        match self.lookup(name)? {
            Item::Number(number) => Ok(number),
            _ => invalid(format!("{name} is not a number")),
        }
    }

    fn sym_int(&self, value: &SymIntArgument) -> Result<Number, Stop> {
        match value {
            SymIntArgument::Int(value) => Ok(Number::Int(*value)),
            SymIntArgument::Name(name) => self.named_number(name),
        }
    }

    fn sym_float(&self, value: &SymFloatArgument) -> Result<Number, Stop> {
        match value {
            SymFloatArgument::Float(value) => Ok(Number::Float(value.0)),
            SymFloatArgument::Name(name) => self.named_number(name),
        }
    }

    fn sym_bool(&self, value: &SymBoolArgument) -> Result<Number, Stop> {
        match value {
            SymBoolArgument::Bool(value) => Ok(Number::Bool(*value)),
            SymBoolArgument::Name(name) => self.named_number(name),
        }
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

/// The place of what no line of the program asked for: the input or weight that it serves.
fn named(name: &str) -> Location {
    Location { text: name.chars().filter(|c| !c.is_control()).take(200).collect(), ..Location::default() }
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

/// The extent that a symbol had while tracing, if a description says.
fn hint_of(graph: &schema::Graph, symbol: &str) -> Option<i64> {
    let sizes = graph.tensor_values.values().flat_map(|meta| &meta.sizes);
    sizes.into_iter().find_map(|size| match size {
        SymInt::Expr(expr) if expr.expr_str.contains(&format!("Symbol('{symbol}'")) => match expr.hint {
            Some(schema::Hint::Int(hint)) if expr.expr_str.starts_with("Symbol(") => Some(hint),
            _ => None,
        },
        _ => None,
    })
}
