//! The walk over a model: names become values, nodes become instructions by the rows of [`ops`](super::ops), functions and
//! branches are inlined, and what depends on nothing at run time is folded.
//!
//! A mistake does not end the walk. The outputs of a refused node are marked, nodes that read them are passed over in
//! silence, and in the end everything that is wrong or unsupported is reported at once.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use indexmap::{IndexMap, IndexSet};
use situ_runtime::map::FileBytes;

use super::model::{self, Attribute, Dim, Function, Model, Node, Opset, ValueInfo, ValueType};
use super::ops;
use super::site::{Site, Stop};
use super::tensor::{self, Files};
use super::wire::Malformed;
use crate::diagnostic::Diagnostic;
use crate::eval;
use crate::ir::{BlockId, Constant, ConstantData, Graph, Location, ValueId, pruned};
use crate::source::Bindings;
use crate::types::{InputMode, TensorType};

/// How to import a model.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Extents of named dimensions.
    pub bindings: Bindings,
    /// Shapes of inputs whose declaration leaves extents open, by name.
    pub input_shapes: IndexMap<String, Vec<usize>>,
    /// Inputs that become constants, by name: operands that decide shapes must be known when compiling.
    pub bind_inputs: IndexMap<String, eval::Tensor>,
    /// Whether files may be mapped; see `situ_runtime::map`.
    pub mmap: bool,
}

impl Default for ImportOptions {
    fn default() -> ImportOptions {
        ImportOptions {
            bindings: Bindings::new(),
            input_shapes: IndexMap::new(),
            bind_inputs: IndexMap::new(),
            mmap: true,
        }
    }
}

/// The newest opset of ONNX's own domain whose ops the rows describe.
const NEWEST_OPSET: i64 = 28;

/// The most nodes an import may see after inlining and unrolling.
const MAX_NODES: usize = 1 << 18;

/// How deep functions and branches may call each other.
const MAX_CALLS: usize = 32;

/// Imports the model in a file.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Graph, Vec<Diagnostic>> {
    let place = path.display().to_string();
    let refuse = |error: std::io::Error| vec![Diagnostic::invalid(&place, error.to_string())];
    let file = FileBytes::open(path, options.mmap).map_err(refuse)?;
    let resolved = path.canonicalize().map_err(refuse)?;
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    import_model(&file, resolved.parent(), &name, options).map_err(|refusal| refusal.diagnostics)
}

/// Imports a model that is in memory; it cannot have external data.
pub fn import_bytes(bytes: &FileBytes, options: &ImportOptions) -> Result<Graph, Vec<Diagnostic>> {
    import_model(bytes, None, "", options).map_err(|refusal| refusal.diagnostics)
}

/// A graph, and the names of the inputs that became constants because an operand that decides a shape depends on them.
#[derive(Debug)]
pub struct BoundImport {
    pub graph: Graph,
    pub bound: Vec<String>,
}

/// Imports the model in a file whose inputs will be `values`: open extents are taken from them, and inputs that must be
/// known when compiling become constants; the others stay inputs.
pub fn import_for(path: &Path, values: &IndexMap<String, eval::Tensor>) -> Result<BoundImport, Vec<Diagnostic>> {
    let place = path.display().to_string();
    let refuse = |error: std::io::Error| vec![Diagnostic::invalid(&place, error.to_string())];
    let mut options = ImportOptions { mmap: false, ..ImportOptions::default() };
    let file = FileBytes::open(path, options.mmap).map_err(refuse)?;
    let resolved = path.canonicalize().map_err(refuse)?;
    options.input_shapes = values.iter().map(|(name, tensor)| (name.clone(), tensor.ty.shape.clone())).collect();
    loop {
        match import_model(&file, resolved.parent(), "", &options) {
            Ok(graph) => {
                let bound = options.bind_inputs.into_keys().collect();
                return Ok(BoundImport { graph, bound });
            }
            Err(refusal) => {
                let before = options.bind_inputs.len();
                for name in refusal.unknown_inputs {
                    if let Some(tensor) = values.get(&name) {
                        options.bind_inputs.insert(name, tensor.clone());
                    }
                }
                if options.bind_inputs.len() == before {
                    return Err(refusal.diagnostics);
                }
            }
        }
    }
}

/// Names and declared shapes of a model's inputs, initializers left out. Open extents are 1.
pub fn signature(path: &Path) -> Result<Vec<(String, Vec<usize>)>, Diagnostic> {
    let file = FileBytes::open(path, false)
        .map_err(|error| Diagnostic::invalid(path.display().to_string(), error.to_string()))?;
    let model =
        model::read(&file).map_err(|Malformed(message)| Diagnostic::invalid("not a valid ONNX file", message))?;
    let initializers: HashSet<&str> = model.graph.initializers.iter().map(|tensor| tensor.name).collect();
    let inputs = model.graph.inputs.iter().filter(|input| !initializers.contains(input.name));
    let extents = |ty: &ValueType| match ty {
        ValueType::Tensor { shape: Some(dims), .. } => dims
            .iter()
            .map(|dim| match dim {
                Dim::Known(extent) => usize::try_from(*extent).unwrap_or(1),
                _ => 1,
            })
            .collect(),
        _ => Vec::new(),
    };
    Ok(inputs.map(|input| (input.name.to_string(), extents(&input.ty))).collect())
}

/// Why a model was not imported.
struct Refusal {
    diagnostics: Vec<Diagnostic>,
    /// Inputs that operands which decide shapes depend on.
    unknown_inputs: IndexSet<String>,
}

fn import_model(
    file: &FileBytes,
    folder: Option<&Path>,
    name: &str,
    options: &ImportOptions,
) -> Result<Graph, Refusal> {
    let model = model::read(file).map_err(|Malformed(message)| Refusal {
        diagnostics: vec![Diagnostic::invalid("not a valid ONNX file", message)],
        unknown_inputs: IndexSet::new(),
    })?;
    let name = [name, model.graph.name, "graph"].into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    let files = Files::new(file.clone(), folder.map(Path::to_path_buf), options.mmap);
    let mut importer = Importer {
        graph: Graph::new(name),
        block: Graph::BODY,
        files,
        model: &model,
        options,
        frames: vec![Frame::new(&model.opsets, HashMap::new())],
        calls: Vec::new(),
        diagnostics: Vec::new(),
        names: HashSet::new(),
        taken: Vec::new(),
        nodes: 0,
        fold_budget: FOLD_BUDGET,
        input_names: HashMap::new(),
        unknown_inputs: IndexSet::new(),
    };
    importer.run();
    if importer.diagnostics.is_empty() {
        Ok(pruned(&importer.graph))
    } else {
        Err(Refusal { diagnostics: importer.diagnostics, unknown_inputs: importer.unknown_inputs })
    }
}

/// Element operations that folding may spend on one model, so that no model makes importing slow.
const FOLD_BUDGET: usize = 1 << 26;

/// What a name stands for.
#[derive(Clone, Copy)]
pub enum Bound<'a> {
    Value(ValueId),
    /// Becomes a constant when it is first read.
    Initializer(&'a model::Tensor<'a>),
    /// Defined by a node that was refused, or not there.
    Refused,
}

type Scope<'a> = HashMap<&'a str, Bound<'a>>;

/// The names and versions that nodes of one graph or function body see. Bodies of `If` and `Loop` add scopes, functions
/// have a frame of their own.
struct Frame<'a> {
    opsets: &'a [Opset<'a>],
    /// Attributes of the call, for a function.
    attributes: HashMap<&'a str, &'a Attribute<'a>>,
    scopes: Vec<Scope<'a>>,
}

impl<'a> Frame<'a> {
    fn new(opsets: &'a [Opset<'a>], attributes: HashMap<&'a str, &'a Attribute<'a>>) -> Frame<'a> {
        Frame { opsets, attributes, scopes: vec![Scope::new()] }
    }
}

/// A point of an import, see [`Importer::attempt`].
pub struct Attempt {
    standing: usize,
    diagnostics: usize,
    unknown_inputs: usize,
    taken: usize,
}

/// The state of an import.
pub struct Importer<'a> {
    pub graph: Graph,
    /// Where instructions go.
    pub block: BlockId,
    pub files: Files,
    model: &'a Model<'a>,
    options: &'a ImportOptions,
    frames: Vec<Frame<'a>>,
    /// Functions and bodies that are being inlined, outermost first.
    calls: Vec<(&'a str, &'a str)>,
    diagnostics: Vec<Diagnostic>,
    names: HashSet<String>,
    /// Names in the order in which they were taken.
    taken: Vec<String>,
    nodes: usize,
    pub fold_budget: usize,
    /// The model's names of the graph's inputs.
    input_names: HashMap<ValueId, &'a str>,
    unknown_inputs: IndexSet<String>,
}

impl<'a> Importer<'a> {
    fn run(&mut self) {
        let graph = &self.model.graph;
        if graph.sparse_initializers > 0 {
            self.diagnostics.push(Diagnostic::unsupported("", "sparse initializers"));
        }
        let newest = self.opset("").unwrap_or(1);
        if newest > NEWEST_OPSET {
            self.diagnostics.push(Diagnostic::unsupported("", format!("opset {newest}, the newest is {NEWEST_OPSET}")));
        }
        self.bind_initializers(graph);
        for input in &graph.inputs {
            if let Err(stop) = self.input(input) {
                self.refuse(format!("input {}", input.name), stop);
                self.bind(input.name, Bound::Refused);
            }
        }
        self.run_nodes(&graph.nodes);
        for output in &graph.outputs {
            match self.lookup(output.name) {
                Ok(value) => {
                    self.graph.add_output(output.name, value);
                }
                Err(stop) => self.refuse(format!("output {}", output.name), stop),
            }
        }
        if graph.outputs.is_empty() {
            self.diagnostics.push(Diagnostic::invalid("", "the model has no outputs"));
        }
    }

    /// Records why something was refused.
    fn refuse(&mut self, place: String, stop: Stop) {
        match stop {
            Stop::Invalid(message) => self.diagnostics.push(Diagnostic::invalid(place, message)),
            Stop::Unsupported(message) => self.diagnostics.push(Diagnostic::unsupported(place, message)),
            Stop::Poisoned => {}
        }
    }

    fn input(&mut self, input: &'a ValueInfo<'a>) -> Result<(), Stop> {
        let scope = &self.frames[0].scopes[0];
        if let Some(tensor) = self.options.bind_inputs.get(input.name) {
            let data = ConstantData::Bytes(tensor.bytes.clone());
            let value = self.constant(Constant { name: input.name.into(), ty: tensor.ty.clone(), data });
            self.bind(input.name, Bound::Value(value));
            return Ok(());
        }
        if let Some(bound) = scope.get(input.name) {
            // Older files list initializers among the inputs, as values a caller may replace.
            return if matches!(bound, Bound::Initializer(_)) {
                Ok(())
            } else {
                Err(Stop::Invalid("the name is used twice".into()))
            };
        }
        let ty = self.input_type(input)?;
        self.names.insert(input.name.to_string());
        let value = self.graph.add_input(input.name, InputMode::Read, ty);
        self.input_names.insert(value, input.name);
        self.bind(input.name, Bound::Value(value));
        Ok(())
    }

    fn input_type(&self, input: &ValueInfo) -> Result<TensorType, Stop> {
        let (data_type, dims) = match &input.ty {
            ValueType::Tensor { data_type, shape } => (*data_type, shape),
            ValueType::Unknown => return Err(Stop::Invalid("its type is not declared".into())),
            ValueType::Other(what) => return Err(Stop::Unsupported(format!("{what} as an input"))),
        };
        let dtype = tensor::dtype(data_type)?;
        let given = self.options.input_shapes.get(input.name);
        let shape = match (dims, given) {
            (Some(dims), given) => {
                if given.is_some_and(|given| given.len() != dims.len()) {
                    return Err(Stop::Invalid(format!("it has {} axes, another number was given", dims.len())));
                }
                dims.iter()
                    .enumerate()
                    .map(|(axis, dim)| self.extent(*dim, given.map(|given| given[axis])))
                    .collect::<Result<Vec<usize>, Stop>>()?
            }
            (None, Some(given)) => given.clone(),
            (None, None) => return Err(Stop::Invalid("its rank is not known: give its shape".into())),
        };
        let ty = TensorType::new(dtype, shape);
        ty.check().map_err(Stop::Invalid)?;
        Ok(ty)
    }

    fn extent(&self, dim: Dim, given: Option<usize>) -> Result<usize, Stop> {
        match (dim, given) {
            (Dim::Known(extent), given) => match usize::try_from(extent) {
                Ok(extent) if given.is_none_or(|given| given == extent) => Ok(extent),
                _ => Err(Stop::Invalid(format!("an extent of {extent}"))),
            },
            (_, Some(given)) => Ok(given),
            (Dim::Symbol(symbol), None) => self.options.bindings.get(symbol).ok_or_else(|| {
                Stop::Invalid(format!("the dimension {symbol} has no value: bind it with --bind {symbol}=N"))
            }),
            (Dim::Unknown, None) => Err(Stop::Invalid("an extent is not known: give the input's shape".into())),
        }
    }

    fn bind_initializers(&mut self, graph: &'a model::Graph<'a>) {
        for tensor in &graph.initializers {
            self.bind(tensor.name, Bound::Initializer(tensor));
        }
    }

    /// Version of a domain in the current frame.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.frame().opsets.iter().find(|opset| opset.domain == domain).map(|opset| opset.version)
    }

    fn frame(&self) -> &Frame<'a> {
        self.frames.last().expect("an import always has a frame")
    }

    /// The call's attribute that a reference in a function body means.
    pub fn referenced_attribute(&self, name: &str) -> Option<&'a Attribute<'a>> {
        self.frame().attributes.get(name).copied()
    }

    fn bind(&mut self, name: &'a str, bound: Bound<'a>) {
        let frame = self.frames.last_mut().expect("an import always has a frame");
        frame.scopes.last_mut().expect("a frame always has a scope").insert(name, bound);
    }

    /// The value a name stands for, innermost scope first.
    fn lookup(&mut self, name: &'a str) -> Result<ValueId, Stop> {
        let frame = self.frames.last().expect("an import always has a frame");
        let found = frame.scopes.iter().enumerate().rev().find_map(|(depth, scope)| Some((depth, *scope.get(name)?)));
        match found {
            None => Err(Stop::Invalid(format!("the name {name:?} is not defined"))),
            Some((_, Bound::Refused)) => Err(Stop::Poisoned),
            Some((_, Bound::Value(value))) => Ok(value),
            Some((depth, Bound::Initializer(tensor))) => {
                let made = self.files.constant(tensor, "").map(|mut constant| {
                    constant.name = name.to_string();
                    self.constant(constant)
                });
                let bound = made.as_ref().map_or(Bound::Refused, |&value| Bound::Value(value));
                let frame = self.frames.last_mut().expect("an import always has a frame");
                frame.scopes[depth].insert(name, bound);
                made
            }
        }
    }

    /// Adds a constant; its name is kept if it is free. Scalars are literals and have none.
    pub fn constant(&mut self, mut constant: Constant) -> ValueId {
        if constant.ty.shape.is_empty()
            && let Some(bits) = constant.splat()
        {
            constant = Constant::scalar(constant.ty.dtype, bits);
        }
        constant.name = self.free_name(&constant.name).unwrap_or_default();
        self.graph.add_constant(constant)
    }

    /// `name` if nothing has it yet.
    fn free_name(&mut self, name: &str) -> Option<String> {
        if name.is_empty() || !self.names.insert(name.to_string()) {
            return None;
        }
        self.taken.push(name.to_string());
        Some(name.to_string())
    }

    /// This point of the import, to come back to when a way of importing a node turns out not to work.
    pub fn attempt(&self) -> Attempt {
        Attempt {
            standing: self.graph.block(self.block).insts.len(),
            diagnostics: self.diagnostics.len(),
            unknown_inputs: self.unknown_inputs.len(),
            taken: self.taken.len(),
        }
    }

    /// Takes back what was done since, in the block where we are. Values that were made stay in the arena, where nothing
    /// refers to them but initializers that were read.
    pub fn take_back(&mut self, before: &Attempt) {
        self.graph.blocks[self.block.index()].insts.truncate(before.standing);
        self.diagnostics.truncate(before.diagnostics);
        self.unknown_inputs.truncate(before.unknown_inputs);
        let constants: HashSet<&str> = self.graph.constants.iter().map(|constant| constant.name.as_str()).collect();
        for name in self.taken.drain(before.taken..) {
            if !constants.contains(name.as_str()) {
                self.names.remove(&name);
            }
        }
    }

    fn run_nodes(&mut self, nodes: &'a [Node<'a>]) {
        for (index, node) in nodes.iter().enumerate() {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                // Said once, also if an attempt that said it was taken back.
                let message = format!("the model has more than {MAX_NODES} nodes");
                if self.diagnostics.iter().all(|diagnostic| diagnostic.message != message) {
                    self.diagnostics.push(Diagnostic::invalid("", message));
                }
                return;
            }
            let before = self.graph.values.len();
            match self.node(node, index) {
                Ok(outputs) => {
                    for (&name, value) in node.outputs.iter().zip(outputs) {
                        self.name_result(value, name, before);
                        self.bind(name, Bound::Value(value));
                    }
                }
                Err(stop) => {
                    let named =
                        if node.name.is_empty() { format!("{}#{index}", node.op_type) } else { node.name.into() };
                    let opset = self.opset(node.domain).unwrap_or(0);
                    match stop {
                        Stop::Unsupported(why) => {
                            let colon = if why.is_empty() { "" } else { ": " };
                            let dot = if node.domain.is_empty() { "" } else { "." };
                            let message = format!(
                                "op {}{dot}{}, node {named}, opset {opset}{colon}{why}",
                                node.domain, node.op_type
                            );
                            self.diagnostics.push(Diagnostic::unsupported("", message));
                        }
                        stop => self.refuse(format!("node {named} ({}, opset {opset})", node.op_type), stop),
                    }
                    for name in &node.outputs {
                        self.bind(name, Bound::Refused);
                    }
                }
            }
        }
    }

    /// Gives a value that a node has just made the name of the node's output.
    fn name_result(&mut self, value: ValueId, name: &str, before: usize) {
        if value.index() < before || !self.graph.value(value).name.is_empty() {
            return;
        }
        if self.graph.ty(value).shape.is_empty() && self.graph.constant_of(value).is_some() {
            return;
        }
        if let Some(name) = self.free_name(name) {
            if let crate::ir::Def::Constant(id) = self.graph.value(value).def {
                self.graph.constants[id.index()].name.clone_from(&name);
            }
            self.graph.values[value.index()].name = name;
        }
    }

    /// Records that `value` should have been a constant, and names the inputs it is computed from.
    pub fn unknown(&mut self, value: ValueId) -> String {
        let mut seen = HashSet::new();
        let mut pending = vec![value];
        let mut names = Vec::new();
        while let Some(value) = pending.pop() {
            if !seen.insert(value) {
                continue;
            }
            if let Some(&name) = self.input_names.get(&value) {
                names.push(name);
            }
            if let Some(inst) = self.graph.producer(value) {
                pending.extend(&self.graph.inst(inst).operands);
            }
        }
        names.sort_unstable();
        self.unknown_inputs.extend(names.iter().map(|name| name.to_string()));
        names.join(", ")
    }

    /// The values of a node's outputs.
    fn node(&mut self, node: &'a Node<'a>, index: usize) -> Result<Vec<ValueId>, Stop> {
        let row = self.opset(node.domain).and_then(|opset| ops::row(node.domain, node.op_type, opset));
        let function = self.function(node);
        if row.is_none() && function.is_none() {
            return Err(Stop::Unsupported(String::new()));
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &name in &node.inputs {
            inputs.push(if name.is_empty() { None } else { Some(self.lookup(name)?) });
        }
        let outputs = match (row, function) {
            (Some(row), None) => {
                let text =
                    if node.name.is_empty() { format!("{}#{index}", node.op_type) } else { node.name.to_string() };
                let opset = self.opset(node.domain).unwrap_or(1);
                let location = Location { text, line: 0, column: 0 };
                (row.import)(&mut Site { importer: self, node, inputs, opset, location })?
            }
            (_, Some(function)) => self.call(node, function, &inputs)?,
            (None, None) => return Err(Stop::Unsupported(String::new())),
        };
        match node.outputs.iter().enumerate().find(|(at, name)| *at >= outputs.len() && !name.is_empty()) {
            Some((at, _)) => Err(Stop::Unsupported(format!("output {at}"))),
            None => Ok(outputs),
        }
    }

    /// The function of the model that a node calls.
    fn function(&self, node: &Node) -> Option<&'a Function<'a>> {
        let functions = &self.model.functions;
        functions.iter().find(|f| f.domain == node.domain && f.name == node.op_type && f.overload == node.overload)
    }

    fn enter(&mut self, domain: &'a str, name: &'a str) -> Result<(), Stop> {
        if self.calls.len() >= MAX_CALLS {
            return Err(Stop::Invalid(format!("bodies and functions nest deeper than {MAX_CALLS} levels")));
        }
        self.calls.push((domain, name));
        Ok(())
    }

    /// Inlines a call of a model's function.
    fn call(
        &mut self,
        node: &'a Node<'a>,
        function: &'a Function<'a>,
        inputs: &[Option<ValueId>],
    ) -> Result<Vec<ValueId>, Stop> {
        if inputs.len() > function.inputs.len() {
            return Err(Stop::Invalid(format!("the function takes {} inputs", function.inputs.len())));
        }
        if self.calls.contains(&(function.domain, function.name)) {
            return Err(Stop::Invalid("the function calls itself".into()));
        }
        let mut attributes: HashMap<&'a str, &'a Attribute<'a>> =
            function.defaults.iter().map(|attribute| (attribute.name, attribute)).collect();
        for attribute in &node.attributes {
            let given = if attribute.reference.is_empty() {
                Some(attribute)
            } else {
                self.referenced_attribute(attribute.reference)
            };
            if let Some(given) = given {
                attributes.insert(attribute.name, given);
            }
        }
        self.enter(function.domain, function.name)?;
        self.frames.push(Frame::new(&function.opsets, attributes));
        for (&name, input) in function.inputs.iter().zip(inputs) {
            if let Some(value) = *input {
                self.bind(name, Bound::Value(value));
            }
        }
        self.run_nodes(&function.nodes);
        let outputs = function.outputs.iter().map(|name| self.lookup(name)).collect();
        self.frames.pop();
        self.calls.pop();
        outputs
    }

    /// Inlines the body of a control-flow node: its inputs are `arguments`, and it sees the names around it.
    pub fn body(&mut self, graph: &'a model::Graph<'a>, arguments: &[ValueId]) -> Result<Vec<ValueId>, Stop> {
        if arguments.len() != graph.inputs.len() {
            return Err(Stop::Invalid(format!(
                "a body takes {} inputs, {} are given",
                graph.inputs.len(),
                arguments.len()
            )));
        }
        self.enter("", "")?;
        let frame = self.frames.last_mut().expect("an import always has a frame");
        frame.scopes.push(Scope::new());
        self.bind_initializers(graph);
        for (input, &value) in graph.inputs.iter().zip(arguments) {
            self.bind(input.name, Bound::Value(value));
        }
        self.run_nodes(&graph.nodes);
        let outputs = graph.outputs.iter().map(|output| self.lookup(output.name)).collect();
        self.frames.last_mut().expect("an import always has a frame").scopes.pop();
        self.calls.pop();
        outputs
    }
}
