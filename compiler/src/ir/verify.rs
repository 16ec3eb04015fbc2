//! The verifier: whether a graph is well formed.
//!
//! All mistakes are found at once. Later rules are asked only where the earlier ones hold, so that a mistake is told once.
//!
//! 1. Ids name things that exist, a value's definition points back to it, every instruction stands in one block.
//! 2. Names of values are unique, so are names of inputs and of outputs; inputs are called as their values, and none is
//!    `out`, which is for the bodies that `lower` makes.
//! 3. An operand is defined before its use and is visible: a kernel's body sees its parameters, its own results and
//!    constants, nothing else; the regions of `if`, `loop` and `scan` see what is around them too.
//! 4. Results have the types that the op's row infers; inputs and constants have types within bounds, and constants as
//!    many bytes as their type.
//! 5. An op has the regions its row says, their parameters and yields have the types it says ([`Op::regions`]), and they
//!    nest at most [`MAX_NESTING`] deep. Nothing writes inside a kernel.
//! 6. Only an op with a mutating form writes; its result has the type of operand 0; `copy` does nothing else.
//! 7. What is written is a `donate` or `inout` input or a value of the program, never a `read` input or a constant,
//!    whether directly or through views.
//! 8. A written layout maps no two indices to one element, and the bytes of a `bool` are written as `bool`.
//! 9. `view`, `view_dtype` and `as_strided` are possible with their operand's strides and storage, and whether `reshape` is
//!    a view does not depend on the way a program went.
//! 10. A tie names an operand with the type of result 0.
//! 11. `final` values stand in a graph without writes and with isolated regions: one for each `inout` input, of its type.
//! 12. Asked by [`captured`] alone: no region sees anything but its parameters, its own results and constants.
//! 13. Only an `inout` input comes with state, of its own type; names of parts of it are unique among inputs and parts, and
//!     every part lies inside.

use std::collections::{HashMap, HashSet};

use super::constant::{Constant, ConstantData, Distribution};
use super::graph::{BlockId, Def, Graph, InstId, ValueId};
use super::layout::{MAX_LAYOUTS, Placements, placements};
use crate::diagnostic::Diagnostic;
use crate::ops::control::MAX_NESTING;
use crate::ops::{Mutation, Op, PointFn};
use crate::strides::injective::{MOST_INTERLOCKED, Naming, naming};
use crate::types::{DType, InputMode, Layout, TensorType};

/// One violated rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of the rule in the module's head.
    pub rule: u8,
    /// The instruction at fault, if one is.
    pub inst: Option<InstId>,
    pub message: String,
    pub notes: Vec<String>,
}

/// Everything that is wrong with `graph`, in order.
pub fn verify(graph: &Graph) -> Vec<Diagnostic> {
    let place = |violation: &Violation| match violation.inst.and_then(|id| graph.insts.get(id.index())) {
        Some(inst) => {
            let results: Vec<String> = inst.results.iter().map(|&result| shown(graph, result)).collect();
            let underscore = if inst.mutates { "_" } else { "" };
            let line = if inst.location.line > 0 { format!(" (line {})", inst.location.line) } else { String::new() };
            format!("{} = {}{underscore}{line}", results.join(", "), inst.op.name())
        }
        None => String::new(),
    };
    mistakes(graph)
        .into_iter()
        .map(|violation| {
            let place = place(&violation);
            Diagnostic { notes: violation.notes, ..Diagnostic::invalid(place, violation.message) }
        })
        .collect()
}

/// Everything that is wrong with `graph`, in order, with the rules and instructions.
pub fn mistakes(graph: &Graph) -> Vec<Violation> {
    let mut verifier = Verifier { graph, found: Vec::new() };
    verifier.structure();
    if verifier.found.is_empty() {
        verifier.names();
        verifier.constants();
        verifier.state();
        verifier.scopes();
    }
    if verifier.found.is_empty() {
        verifier.instructions();
        verifier.finals();
    }
    if verifier.found.is_empty() {
        verifier.writes();
    }
    verifier.found
}

/// Rule 12: the first value that a region of `if`, `loop` or `scan` takes from outside past its parameters, and the
/// instruction the region belongs to.
pub fn captured(graph: &Graph) -> Option<(InstId, ValueId)> {
    graph.blocks.iter().flat_map(|block| &block.insts).find_map(|&id| {
        let inst = graph.inst(id);
        inst.regions.iter().find_map(|&region| {
            let own: HashSet<ValueId> = values_of(graph, region).collect();
            let block = graph.block(region);
            let read = block.insts.iter().flat_map(|&inner| &graph.inst(inner).operands).chain(&block.yields);
            let foreign = |value: &ValueId| graph.constant_of(*value).is_none() && !own.contains(value);
            read.copied().find(foreign).map(|value| (id, value))
        })
    })
}

/// Parameters of a block and results of its instructions, without those of regions inside.
fn values_of(graph: &Graph, block: BlockId) -> impl Iterator<Item = ValueId> + '_ {
    let block = graph.block(block);
    let results = block.insts.iter().flat_map(|&id| graph.inst(id).results.iter().copied());
    block.params.iter().copied().chain(results)
}

/// A value's name even where the graph is broken.
fn shown(graph: &Graph, value: ValueId) -> String {
    if value.index() < graph.values.len() { graph.display(value) } else { format!("%{}", value.0) }
}

struct Verifier<'a> {
    graph: &'a Graph,
    found: Vec<Violation>,
}

impl Verifier<'_> {
    fn note(&mut self, rule: u8, inst: Option<InstId>, message: impl Into<String>) {
        self.found.push(Violation { rule, inst, message: message.into(), notes: Vec::new() });
    }

    /// Rule 1.
    fn structure(&mut self) {
        let graph = self.graph;
        let exists = |value: &ValueId| value.index() < graph.values.len();
        let defined = |value: ValueId, def: Def| graph.values.get(value.index()).is_some_and(|v| v.def == def);
        for (place, input) in graph.inputs.iter().enumerate() {
            if !defined(input.value, Def::Input(place as u32)) {
                self.note(1, None, format!("input {} and its value do not name each other", input.name));
            }
        }
        for output in &graph.outputs {
            if !exists(&output.value) {
                self.note(1, None, format!("output {} has no value", output.name));
            }
        }
        for &(input, value) in &graph.finals {
            if input as usize >= graph.inputs.len() || !exists(&value) {
                self.note(1, None, "a final value names no input or no value");
            }
        }
        if graph.blocks.is_empty() {
            self.note(1, None, "the graph has no body");
        }
        let mut standing = vec![0u32; graph.insts.len()];
        for (at, block) in graph.blocks.iter().enumerate() {
            for (place, &param) in block.params.iter().enumerate() {
                if !defined(param, Def::Param(BlockId(at as u32), place as u32)) {
                    self.note(1, None, format!("parameter {place} of block {at} and its value do not name each other"));
                }
            }
            if !block.yields.iter().all(exists) {
                self.note(1, None, format!("block {at} yields a value that does not exist"));
            }
            for &inst in &block.insts {
                match standing.get_mut(inst.index()) {
                    Some(count) => *count += 1,
                    None => self.note(1, None, format!("block {at} holds an instruction that does not exist")),
                }
            }
        }
        for (at, inst) in graph.insts.iter().enumerate() {
            let id = InstId(at as u32);
            if standing[at] > 1 {
                self.note(1, Some(id), "the instruction stands in two places");
            }
            for (place, &result) in inst.results.iter().enumerate() {
                if !defined(result, Def::Result(id, place as u32)) {
                    self.note(1, Some(id), format!("result {place} and its value do not name each other"));
                }
            }
            if !inst.operands.iter().all(exists) {
                self.note(1, Some(id), "an operand does not exist");
            }
            if inst.regions.iter().any(|region| region.index() >= graph.blocks.len() || *region == Graph::BODY) {
                self.note(1, Some(id), "a body does not exist");
            }
        }
        let dangling = graph.values.iter().any(|value| match value.def {
            Def::Input(place) => place as usize >= graph.inputs.len(),
            Def::Constant(id) => id.index() >= graph.constants.len(),
            Def::Param(block, place) => {
                graph.blocks.get(block.index()).is_none_or(|block| place as usize >= block.params.len())
            }
            Def::Result(inst, place) => {
                graph.insts.get(inst.index()).is_none_or(|inst| place as usize >= inst.results.len())
            }
        });
        if dangling {
            self.note(1, None, "a value is defined by something that does not exist");
        }
    }

    /// Rule 2.
    fn names(&mut self) {
        let graph = self.graph;
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (at, value) in graph.values.iter().enumerate() {
            if !value.name.is_empty() && seen.insert(&value.name, at).is_some() {
                self.note(2, None, format!("two values are called %{}", value.name));
            }
        }
        for input in &graph.inputs {
            if input.name.is_empty() || graph.value(input.value).name != input.name {
                self.note(2, None, format!("input {:?} is not called as its value", input.name));
            }
            if input.mode == InputMode::Out {
                self.note(2, None, format!("input {:?} is only written, which only a body's may be", input.name));
            }
        }
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (at, output) in graph.outputs.iter().enumerate() {
            if output.name.is_empty() {
                self.note(2, None, format!("output {at} has no name"));
            } else if seen.insert(&output.name, at).is_some() {
                self.note(2, None, format!("there are two outputs called {}", output.name));
            }
        }
    }

    /// Rule 4, for what is not computed.
    fn constants(&mut self) {
        for (name, ty) in self.graph.inputs.iter().map(|input| (&input.name, self.graph.ty(input.value))) {
            if let Err(message) = ty.check() {
                self.note(4, None, format!("%{name}: {message}"));
            }
        }
        for value in &self.graph.values {
            let Def::Constant(id) = value.def else { continue };
            let constant = self.graph.constant(id);
            if let Err(message) = constant_message(constant, &value.ty) {
                self.note(4, None, format!("constant %{}: {message}", value.name));
            }
        }
    }

    /// Rule 13.
    fn state(&mut self) {
        let graph = self.graph;
        let mut names: HashSet<&str> = graph.inputs.iter().map(|input| input.name.as_str()).collect();
        for input in &graph.inputs {
            let ty = graph.ty(input.value);
            let name = &input.name;
            match &input.initial {
                Some(_) if input.mode != InputMode::InOut => {
                    let mode = input.mode.name();
                    self.note(13, None, format!("%{name} is a `{mode}` input; only an `inout` input comes with state"));
                }
                Some(initial) => {
                    if let Err(message) = constant_message(initial, ty) {
                        self.note(13, None, format!("the state of %{name}: {message}"));
                    }
                }
                None if !input.views.is_empty() => {
                    self.note(13, None, format!("%{name} has no initial state, parts of which could have names"));
                }
                None => {}
            }
            for view in &input.views {
                if view.name.is_empty() || !names.insert(&view.name) {
                    self.note(13, None, format!("two parts of the state or inputs are called {:?}", view.name));
                }
                if let Err(message) = view.check(ty) {
                    self.note(13, None, format!("the state {:?} is no part of %{name}: {message}", view.name));
                }
            }
        }
    }

    /// Rules 3 and 5 (whose body is whose), in program order.
    fn scopes(&mut self) {
        let mut owned = vec![false; self.graph.blocks.len()];
        let mut visible = HashSet::new();
        self.scope(Graph::BODY, &mut owned, &mut visible, 0);
        let local = visible;
        let ends = self.graph.outputs.iter().map(|output| output.value);
        for value in ends.chain(self.graph.finals.iter().map(|entry| entry.1)) {
            let visible = match self.graph.value(value).def {
                Def::Input(_) | Def::Constant(_) => true,
                Def::Param(..) | Def::Result(..) => local.contains(&value),
            };
            if !visible {
                let message = format!("the output {} is not defined in the graph's body", shown(self.graph, value));
                self.note(3, None, message);
            }
        }
    }

    /// Walks a block and the regions in it. `local` holds what is visible in the block besides constants and, outside of
    /// kernels, inputs; the block's own values are in it afterwards.
    fn scope(&mut self, block: BlockId, owned: &mut [bool], local: &mut HashSet<ValueId>, depth: usize) {
        let graph = self.graph;
        owned[block.index()] = true;
        local.extend(graph.block(block).params.iter().copied());
        if block == Graph::BODY {
            local.extend(graph.inputs.iter().map(|input| input.value));
        }
        let visible = |value: ValueId, local: &HashSet<ValueId>| match graph.value(value).def {
            Def::Constant(_) => true,
            Def::Input(_) | Def::Param(..) | Def::Result(..) => local.contains(&value),
        };
        for &id in &graph.block(block).insts {
            let inst = graph.inst(id);
            for &operand in &inst.operands {
                if !visible(operand, local) {
                    let name = shown(graph, operand);
                    self.note(3, Some(id), format!("{name} is used before it is defined, or is not visible here"));
                }
            }
            for &region in &inst.regions {
                if owned[region.index()] {
                    self.note(5, Some(id), "a body belongs to two instructions");
                } else if depth >= MAX_NESTING {
                    self.note(5, Some(id), format!("regions nest at most {MAX_NESTING} deep"));
                } else if inst.op.is_control() {
                    self.scope(region, owned, local, depth + 1);
                    // What a region defines is not visible behind it.
                    for value in values_of(graph, region) {
                        local.remove(&value);
                    }
                } else {
                    self.scope(region, owned, &mut HashSet::new(), depth + 1);
                }
            }
            local.extend(inst.results.iter().copied());
        }
        for &value in &graph.block(block).yields {
            if !visible(value, local) {
                self.note(3, None, format!("{} is yielded but not visible in the body", shown(graph, value)));
            }
        }
    }

    /// Rules 4, 5, 6 and 10.
    fn instructions(&mut self) {
        let graph = self.graph;
        // An arena may hold instructions that no block names any more; they are not part of the graph.
        let standing =
            graph.blocks.iter().enumerate().flat_map(|(at, block)| block.insts.iter().map(move |&id| (at, id)));
        let mut kernels = vec![false; graph.blocks.len()];
        for inst in graph.insts.iter().filter(|inst| !inst.op.is_control()) {
            inst.regions.iter().for_each(|region| kernels[region.index()] = true);
        }
        for (block, id) in standing {
            let inst = graph.inst(id);
            let types: Vec<TensorType> = inst.operands.iter().map(|&operand| graph.ty(operand).clone()).collect();
            let results: Vec<TensorType> = inst.results.iter().map(|&result| graph.ty(result).clone()).collect();
            if let Op::Point(PointFn::Const(..)) = inst.op {
                self.note(4, Some(id), "a literal is a constant of the graph, not an instruction");
                continue;
            }
            match inst.op.infer(&types) {
                Err(message) => self.note(4, Some(id), message),
                Ok(inferred) if inferred != results => {
                    let list =
                        |types: &[TensorType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    let message = format!("results have types {}, expected {}", list(&results), list(&inferred));
                    self.note(4, Some(id), message);
                }
                Ok(_) => self.regions_of(id, &types, &results),
            }
            let row = inst.op.row();
            match row.mutation {
                Mutation::Never if inst.mutates => {
                    self.note(6, Some(id), format!("{} has no mutating form", inst.op.name()));
                }
                Mutation::Only if !inst.mutates => {
                    let name = inst.op.name();
                    self.note(6, Some(id), format!("{name} exists only as {name}_"));
                }
                _ if inst.mutates && kernels[block] => self.note(5, Some(id), "nothing is written inside a kernel"),
                _ if inst.mutates && results.first() != types.first() => {
                    let name = inst.op.name();
                    self.note(6, Some(id), format!("{name}_ writes {} into {}", results[0], types[0]));
                }
                _ => {}
            }
            if let Some(tie) = inst.tie
                && (types.get(tie as usize).is_none_or(|ty| results.first() != Some(ty)) || inst.mutates)
            {
                self.note(10, Some(id), format!("tie {tie} names no operand of the result's type"));
            }
        }
    }

    fn regions_of(&mut self, id: InstId, operands: &[TensorType], results: &[TensorType]) {
        let graph = self.graph;
        let inst = graph.inst(id);
        let name = inst.op.name();
        let expected = inst.op.regions(operands, results);
        if inst.regions.len() != expected.len() {
            let (found, expected) = (inst.regions.len(), expected.len());
            return self.note(5, Some(id), format!("{name} has {expected} bodies, found {found}"));
        }
        let types = |values: &[ValueId]| values.iter().map(|&value| graph.ty(value).clone()).collect::<Vec<_>>();
        for (&region, expected) in inst.regions.iter().zip(&expected) {
            let body = graph.block(region);
            if types(&body.params) != expected.params {
                self.note(5, Some(id), format!("the parameters of a body of {name} do not have the operands' types"));
            }
            if types(&body.yields) != expected.yields {
                self.note(5, Some(id), format!("a body of {name} does not yield the results' types"));
            }
        }
    }

    /// Rule 11.
    fn finals(&mut self) {
        let graph = self.graph;
        if graph.finals.is_empty() {
            return;
        }
        if let Some(at) = graph.insts.iter().position(|inst| inst.mutates) {
            self.note(11, Some(InstId(at as u32)), "a graph with final values writes nothing");
        }
        if let Some((at, value)) = captured(graph) {
            let message = format!("a graph with final values takes {} in as a parameter", shown(graph, value));
            self.note(11, Some(at), message);
        }
        for (place, input) in graph.inputs.iter().enumerate() {
            let finals: Vec<ValueId> =
                graph.finals.iter().filter(|entry| entry.0 as usize == place).map(|entry| entry.1).collect();
            let expected = usize::from(input.mode == InputMode::InOut);
            if finals.len() != expected {
                let found = finals.len();
                self.note(11, None, format!("input %{} has {expected} final values, found {found}", input.name));
            }
            if let Some(&value) = finals.first()
                && graph.ty(value) != graph.ty(input.value)
            {
                let (found, expected) = (graph.ty(value), graph.ty(input.value));
                self.note(11, None, format!("the final value of %{} is {found}, expected {expected}", input.name));
            }
        }
    }

    /// Rules 7, 8 and 9. A graph that writes nothing and asks for no view has no layouts to be wrong.
    fn writes(&mut self) {
        let graph = self.graph;
        let strict = |op: &Op| matches!(op, Op::View { .. } | Op::AsStrided { .. } | Op::ViewDtype { .. });
        if !graph.insts.iter().any(|inst| inst.mutates || strict(&inst.op)) {
            return;
        }
        let placed = placements(graph);
        for id in graph.all_insts() {
            if let Some(why) = placed.impossible.get(&id) {
                let notes = vec![why.hint.to_string()];
                self.found.push(Violation { rule: 9, inst: Some(id), message: why.message.clone(), notes });
            }
            if placed.undecided.contains(&id) {
                self.undecided(id, &placed);
            }
            if graph.inst(id).mutates {
                self.written(id, &placed);
            }
        }
    }

    fn undecided(&mut self, id: InstId, placed: &Placements) {
        let inst = self.graph.inst(id);
        let name = inst.op.name();
        let message = match &inst.op {
            Op::Reshape { .. } => {
                let operand = inst.operands[0];
                let strides: Vec<&[i64]> = placed.layouts(operand).map(|layout| layout.strides.as_slice()).collect();
                let operand = shown(self.graph, operand);
                format!("{operand} has one of the strides {strides:?}; with some {name} is a view, with others a copy")
            }
            Op::AsStrided { .. } | Op::Strided { .. } | Op::ViewDtype { .. } | Op::Bitcast { .. } => {
                let operand = shown(self.graph, inst.operands[0]);
                format!("{operand} may have one of several storages, and {name} must know where it begins in which")
            }
            _ => format!("the result of {name} has one of more than {MAX_LAYOUTS} layouts"),
        };
        let notes = vec!["give what meets there one layout with `contiguous`".to_string()];
        self.found.push(Violation { rule: 9, inst: Some(id), message, notes });
    }

    fn written(&mut self, id: InstId, placed: &Placements) {
        let graph = self.graph;
        let inst = graph.inst(id);
        let destination = inst.operands[0];
        let name = inst.op.name();
        let shown_destination = shown(graph, destination);
        for root in placed.owners(destination) {
            let shown_root = shown(graph, root);
            let through = if root == destination { String::new() } else { format!(" through {shown_destination}") };
            // Behind a join it is one of several storages.
            let certain = placed.joined(placed.root(destination)).is_none();
            match graph.value(root).def {
                Def::Input(place) if graph.inputs[place as usize].mode == InputMode::Read => {
                    let message = match certain {
                        true => format!("{name}_ writes {shown_root}{through}, which is a `read` input"),
                        false => may_write(name, &shown_destination, &format!("the `read` input {shown_root}")),
                    };
                    let notes = vec![format!(
                        "declare it `inout {shown_root}` to keep the change, or `donate {shown_root}` to give its bytes up"
                    )];
                    self.found.push(Violation { rule: 7, inst: Some(id), message, notes });
                }
                Def::Constant(_) => {
                    let unnamed = graph.value(root).name.is_empty();
                    let what = if unnamed { "a literal".to_string() } else { shown_root };
                    let message = match certain {
                        true => format!("{name}_ writes {what}{through}, which is a constant"),
                        false if unnamed => may_write(name, &shown_destination, &what),
                        false => may_write(name, &shown_destination, &format!("the constant {what}")),
                    };
                    let notes = vec!["declare it `inout` to update it, or copy it with `contiguous` first".to_string()];
                    self.found.push(Violation { rule: 7, inst: Some(id), message, notes });
                }
                _ => {}
            }
            let seen = graph.ty(destination).dtype;
            if graph.ty(root).dtype == DType::Bool && seen != DType::Bool {
                let shown_root = shown(graph, root);
                let message =
                    format!("{name}_ writes {shown_root}{through} as {seen}, and the bytes of a bool are 0 or 1");
                let notes = vec!["write it as `bool`".to_string()];
                self.found.push(Violation { rule: 8, inst: Some(id), message, notes });
            }
        }
        let mut ambiguous = placed.layouts(destination).map(|layout| (layout, naming(layout)));
        if let Some((layout, naming)) = ambiguous.find(|(_, naming)| *naming != Naming::Unique) {
            let may = if naming == Naming::Unknown { "may be" } else { "are" };
            let message = format!(
                "{name}_ writes {shown_destination}, in which several indices {may} one element (shape {:?}, strides {:?})",
                layout.shape, layout.strides
            );
            let notes = vec!["write a copy made with `contiguous`".to_string()];
            self.found.push(Violation { rule: 8, inst: Some(id), message, notes });
            return;
        }
        let interlocked = |layout: &&Layout| !layout.is_injective() && layout.len() > MOST_INTERLOCKED;
        if let Some(layout) = placed.layouts(destination).find(interlocked) {
            let message = format!(
                "{name}_ writes {shown_destination}, whose strides {:?} interlock, with more than {MOST_INTERLOCKED} elements",
                layout.strides
            );
            self.note(8, Some(id), message);
        }
    }
}

fn may_write(op: &str, destination: &str, root: &str) -> String {
    format!("{op}_ writes {destination}, which may be {root}")
}

fn constant_message(constant: &Constant, ty: &TensorType) -> Result<(), String> {
    constant.ty.check()?;
    if constant.ty != *ty {
        return Err(format!("the value has type {ty}, the constant {}", constant.ty));
    }
    let expected = ty.bytes();
    match &constant.data {
        ConstantData::Bytes(bytes) if bytes.len() != expected => {
            Err(format!("{ty} has {expected} bytes, found {}", bytes.len()))
        }
        ConstantData::Bytes(bytes) if ty.dtype == DType::Bool && bytes.iter().any(|&byte| byte > 1) => {
            Err("a bool is 0 or 1".into())
        }
        ConstantData::Seeded { distribution, .. } => {
            let (Distribution::Normal { mean: a, std: b } | Distribution::Uniform { low: a, high: b }) = distribution;
            if a.is_finite() && b.is_finite() { Ok(()) } else { Err("a seeded constant has finite settings".into()) }
        }
        ConstantData::Mapped { file, offset } if offset.checked_add(expected).is_none_or(|end| end > file.len()) => {
            Err(format!("{ty} ends beyond the file it is mapped from"))
        }
        _ => Ok(()),
    }
}
