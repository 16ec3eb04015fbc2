//! Syntax tree to graph: names, types, symbols, literals.
//!
//! A mistake never stops the walk. A value whose definition is wrong is known but has no type ("poisoned"); what uses it
//! is skipped in silence, so that each mistake is told once. When every instruction stands, the verifier has the last
//! word and its mistakes get the spans of their instructions.

mod filling;
mod regions;

use indexmap::IndexMap;

use super::attributes::{Attributes, Mistake, complete, extra_names};
use super::closest;
use super::parser::{MAX_MISTAKES, is_symbol};
use super::sugar::{self, Emit, RENAMED, SUGAR};
use super::syntax::{
    Argument, AttrSyntax, AttributeSyntax, Extent, Filling, GraphSyntax, InstSyntax, Item, Literal, Name, RegionKind,
    TypeSyntax,
};
use crate::diagnostic::{Diagnostic, Span};
use crate::ir::spelling::{default_output_name, read_literal, unquote};
use crate::ir::verify::mistakes;
use crate::ir::{BlockId, Constant, Graph, InstId, Location, ValueId};
use crate::ops::{AttrValue, Mutation, Op, PointFn};
use crate::types::{DType, InputMode, TensorType};

use super::{Bindings, Folder};
use crate::safetensors::Archive;

/// What a name stands for.
#[derive(Clone, Copy)]
struct Known {
    /// `None` where the definition is wrong.
    value: Option<ValueId>,
    /// The body it is visible in: the innermost one that encloses its definition.
    block: BlockId,
    span: Span,
}

struct Lowering<'a> {
    text: &'a str,
    bindings: &'a Bindings,
    graph: Graph,
    /// By [`Name::key`].
    scope: IndexMap<(bool, String), Known>,
    /// Where each name is defined anywhere in the text, to tell "unknown" from "too early".
    definitions: IndexMap<(bool, &'a str), Span>,
    /// Where each instruction stands, by its id.
    spans: Vec<Span>,
    lines: Vec<usize>,
    /// For each block of the graph, the one around it and whether its values are visible inside.
    outer: Vec<Option<(BlockId, bool)>>,
    mistakes: Vec<Diagnostic>,
    arange: usize,
    /// The file of weights that the text names.
    archive: Option<Result<Archive, Poisoned>>,
}

/// The graph of a tree, and what is wrong with it. Weights are in `folder`.
pub fn lower<'a>(
    text: &'a str,
    syntax: &'a GraphSyntax,
    bindings: &'a Bindings,
    folder: &mut Folder,
) -> (Graph, Vec<Diagnostic>) {
    let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut lowering = Lowering {
        text,
        bindings,
        graph: Graph::new(syntax.name.text.clone()),
        scope: IndexMap::new(),
        definitions: IndexMap::new(),
        spans: Vec::new(),
        lines,
        outer: vec![None],
        mistakes: Vec::new(),
        arange: 0,
        archive: None,
    };
    lowering.weights(&syntax.items, folder);
    lowering.collect(syntax);
    let mut returned: Option<Span> = None;
    for item in &syntax.items {
        if let (Some(_), Item::Inst(InstSyntax { span, .. })) = (returned, item) {
            lowering.note(*span, "expected nothing after `return`");
        }
        match item {
            Item::Input { mode, name, ty, initial, span } => {
                lowering.input(*mode, name, ty, initial.as_ref().map(|filling| (filling, *span)));
            }
            Item::State { name, input, attributes } => lowering.state(name, input, attributes),
            Item::Weights(_) => {}
            Item::Apart(why) => {
                if lowering.graph.apart.replace(why.text.clone()).is_some() {
                    lowering.note(why.span, "a graph says once why inputs must not share bytes");
                }
            }
            Item::Constant { name, ty, filling, span } => lowering.constant(name, ty, filling, *span),
            Item::Inst(inst) => lowering.inst(Graph::BODY, inst),
            Item::Final { input, value } => lowering.final_value(input, value),
            Item::Return { outputs, span } => {
                if returned.replace(*span).is_some() {
                    lowering.note(*span, "a graph returns once");
                }
                lowering.outputs(outputs);
            }
        }
    }
    if returned.is_none() {
        lowering.note(syntax.name.span, "the graph has no `return`");
    }
    // What could be built is well formed, so that beside other mistakes only the rules on writes can be broken.
    let complete = lowering.mistakes.is_empty();
    for mistake in mistakes(&lowering.graph) {
        if complete || (7..=9).contains(&mistake.rule) {
            let span = mistake.inst.and_then(|inst| lowering.spans.get(inst.index()).copied());
            let mut diagnostic = Diagnostic::at(span.unwrap_or(syntax.name.span), mistake.message);
            diagnostic.notes = mistake.notes;
            lowering.mistakes.push(diagnostic);
        }
    }
    (lowering.graph, lowering.mistakes)
}

/// A mistake was noted already, or its cause was.
struct Poisoned;

impl<'a> Lowering<'a> {
    fn note(&mut self, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::at(span, message));
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(diagnostic);
        }
    }

    fn written(&self, span: Span) -> &'a str {
        &self.text[span.start..span.end]
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at)
    }

    /// Where an instruction stands: in what the text was made from, if it says so, else in the text.
    fn location(&self, inst: &InstSyntax) -> Location {
        if let Some(at) = inst.at {
            return Location { text: unquote(self.written(at)), line: 0, column: 0 };
        }
        let span = inst.span;
        let line = self.line(span.start);
        let start = self.lines[line - 1];
        let end = self.lines.get(line).map_or(self.text.len(), |&next| next - 1);
        let text = self.text[start..end].trim().chars().take(120).collect();
        let column = self.text[start..span.start].chars().count() + 1;
        Location { text, line: line as u32, column: u32::try_from(column).unwrap_or(u32::MAX) }
    }

    fn collect(&mut self, syntax: &'a GraphSyntax) {
        for item in &syntax.items {
            match item {
                Item::Input { name, .. } | Item::Constant { name, .. } => {
                    self.definitions.entry((name.numbered, &name.text)).or_insert(name.span);
                }
                Item::Inst(inst) => self.collect_inst(inst),
                Item::State { .. } | Item::Weights(_) | Item::Apart(_) | Item::Final { .. } | Item::Return { .. } => {}
            }
        }
    }

    fn collect_inst(&mut self, inst: &'a InstSyntax) {
        for (name, _) in &inst.results {
            self.definitions.entry((name.numbered, &name.text)).or_insert(name.span);
        }
        for body in inst.regions.iter().flat_map(|regions| &regions.bodies) {
            for param in &body.params {
                self.definitions.entry((param.numbered, &param.text)).or_insert(param.span);
            }
            body.insts.iter().for_each(|inst| self.collect_inst(inst));
        }
    }

    /// Makes `name` mean `value` inside `block`.
    fn define(&mut self, block: BlockId, name: &Name, value: Option<ValueId>) {
        if let Some(known) = self.scope.get(&name.key()) {
            let line = self.line(known.span.start);
            return self.note(name.span, format!("%{} is already defined on line {line}", name.text));
        }
        if let Some(value) = value {
            let kept = if name.numbered { String::new() } else { name.text.clone() };
            self.graph.values[value.index()].name = kept;
        }
        self.scope.insert(name.key(), Known { value, block, span: name.span });
    }

    fn lookup(&mut self, block: BlockId, name: &Name) -> Result<ValueId, Poisoned> {
        if let Some(&known) = self.scope.get(&name.key()) {
            let is_constant = known.value.is_some_and(|value| self.graph.constant_of(value).is_some());
            if is_constant || self.sees(block, known.block) {
                return known.value.ok_or(Poisoned);
            }
            let message = if self.is_within(block, known.block) {
                format!("%{} is outside the kernel; pass it as a parameter", name.text)
            } else {
                format!("%{} is defined inside a region and not visible here", name.text)
            };
            self.note(name.span, message);
            return Err(Poisoned);
        }
        let mut diagnostic = match self.definitions.get(&(name.numbered, name.text.as_str())) {
            Some(&span) => {
                let line = self.line(span.start);
                let message = format!("%{} is used before it is defined on line {line}", name.text);
                Diagnostic::at(name.span, message)
            }
            None => Diagnostic::at(name.span, format!("unknown value %{}", name.text)),
        };
        if self.mistakes.len() < MAX_MISTAKES && !self.definitions.contains_key(&(name.numbered, name.text.as_str())) {
            let names = self.scope.keys().map(|(_, name)| name.as_str());
            if let Some(close) = closest(&name.text, names) {
                diagnostic = diagnostic.with_note(format!("did you mean %{close}?"));
            }
        }
        self.push(diagnostic);
        Err(Poisoned)
    }

    fn symbol(&mut self, symbol: &str, span: Span) -> Result<usize, Poisoned> {
        if let Some(extent) = self.bindings.get(symbol) {
            return Ok(extent);
        }
        let diagnostic = Diagnostic::at(span, format!("the symbol {symbol} is not bound"))
            .with_note(format!("bind it with `--bind {symbol}=8`"));
        self.push(diagnostic);
        Err(Poisoned)
    }

    fn tensor_type(&mut self, ty: &TypeSyntax) -> Result<TensorType, Poisoned> {
        let mut shape = Vec::with_capacity(ty.extents.len());
        let mut poisoned = false;
        for (extent, span) in &ty.extents {
            match extent {
                Extent::Number(extent) => shape.push(usize::try_from(*extent).unwrap_or(usize::MAX)),
                Extent::Symbol(symbol) => match self.symbol(symbol, *span) {
                    Ok(extent) => shape.push(extent),
                    Err(Poisoned) => poisoned = true,
                },
            }
        }
        if poisoned {
            return Err(Poisoned);
        }
        let made = TensorType::new(ty.dtype, shape);
        match made.check() {
            Ok(()) => Ok(made),
            Err(message) => {
                self.note(ty.span, message);
                Err(Poisoned)
            }
        }
    }

    fn input(&mut self, mode: InputMode, name: &Name, ty: &TypeSyntax, initial: Option<(&Filling, Span)>) {
        if name.numbered {
            self.note(name.span, "an input has a name, not a number");
        }
        if let (Some((_, span)), true) = (initial, mode != InputMode::InOut) {
            let word = if mode == InputMode::Read { "input" } else { "donate" };
            self.note(span, format!("only an `inout` input comes with state; this is `{word}`"));
        }
        let value = self.tensor_type(ty).and_then(|ty| {
            let data = initial.map(|(filling, span)| self.filling(&ty, filling, span)).transpose()?;
            let value = self.graph.add_input(name.text.clone(), mode, ty.clone());
            if let (Some(data), Some(input)) = (data, self.graph.inputs.last_mut()) {
                input.initial = Some(Constant { name: name.text.clone(), ty, data });
            }
            Ok(value)
        });
        self.define(Graph::BODY, name, value.ok());
    }

    fn constant(&mut self, name: &Name, ty: &TypeSyntax, filling: &Filling, span: Span) {
        let value = self.tensor_type(ty).and_then(|ty| {
            let data = self.filling(&ty, filling, span)?;
            Ok(self.graph.add_constant(Constant { name: name.text.clone(), ty, data }))
        });
        if let (Ok(value), true) = (&value, name.numbered)
            && let crate::ir::Def::Constant(id) = self.graph.value(*value).def
        {
            self.graph.constants[id.index()].name = String::new();
        }
        self.define(Graph::BODY, name, value.ok());
    }

    fn literal(&mut self, span: Span, dtype: DType) -> Result<u64, Poisoned> {
        read_literal(self.written(span), dtype).map_err(|message| {
            self.note(span, message);
            Poisoned
        })
    }

    /// The operands, literals included; a literal takes the dtype of its peers.
    fn operands(&mut self, block: BlockId, op: &str, arguments: &[Argument]) -> Result<Vec<ValueId>, Poisoned> {
        let mut found: Vec<Option<ValueId>> = Vec::with_capacity(arguments.len());
        let mut poisoned = false;
        for argument in arguments {
            match argument {
                Argument::Value(name) => match self.lookup(block, name) {
                    Ok(value) => found.push(Some(value)),
                    Err(Poisoned) => poisoned = true,
                },
                Argument::Literal(_) => found.push(None),
            }
        }
        if poisoned {
            return Err(Poisoned);
        }
        let dtypes: Vec<Option<DType>> = found.iter().map(|v| v.map(|v| self.graph.ty(v).dtype)).collect();
        let mut operands = Vec::with_capacity(found.len());
        for (place, (argument, value)) in arguments.iter().zip(found).enumerate() {
            let value = match (value, argument) {
                (Some(value), _) => Ok(value),
                (None, Argument::Literal(literal)) => self.literal_value(op, place, &dtypes, *literal),
                (None, Argument::Value(_)) => Err(Poisoned),
            };
            operands.push(value);
        }
        operands.into_iter().collect()
    }

    fn literal_value(
        &mut self,
        op: &str,
        place: usize,
        dtypes: &[Option<DType>],
        literal: Literal,
    ) -> Result<ValueId, Poisoned> {
        let written = self.written(literal.span);
        let selects = op == "where";
        let indexes = matches!(op, "gather" | "gather_elements" | "gather_nd" | "scatter_elements" | "scatter_nd");
        let own = || match written {
            "true" | "false" => DType::Bool,
            _ if written.parse::<i64>().is_ok() => DType::I64,
            _ => DType::F32,
        };
        let dtype = match literal.dtype {
            Some(dtype) => dtype,
            None if selects && place == 0 => DType::Bool,
            None if indexes && place == 1 => DType::I64,
            None if op == "if" && place == 0 => DType::Bool,
            None if op == "loop" && place < 2 => [DType::I64, DType::Bool][place],
            None if matches!(op, "if" | "loop" | "scan" | "yield") => own(),
            None if selects => dtypes.iter().skip(1).flatten().next().copied().unwrap_or(DType::F32),
            None => dtypes.iter().flatten().next().copied().unwrap_or_else(own),
        };
        let bits = self.literal(literal.span, dtype)?;
        Ok(self.graph.add_constant(Constant::scalar(dtype, bits)))
    }

    fn attribute(&mut self, value: &AttrSyntax) -> Result<AttrValue, Poisoned> {
        match value {
            AttrSyntax::Number(span) => {
                let written = self.written(*span);
                match (written.parse::<i64>(), written.parse::<f64>()) {
                    (Ok(integer), _) => Ok(AttrValue::Int(integer)),
                    (_, Ok(float)) => Ok(AttrValue::Float(float)),
                    _ => {
                        self.note(*span, format!("`{written}` is not a number"));
                        Err(Poisoned)
                    }
                }
            }
            AttrSyntax::Word(word, span) if is_symbol(word) => {
                let extent = self.symbol(word, *span)?;
                Ok(AttrValue::Int(i64::try_from(extent).unwrap_or(i64::MAX)))
            }
            AttrSyntax::Word(word, _) => Ok(AttrValue::Word(word.clone())),
            AttrSyntax::List(items, _) => {
                let items: Result<Vec<AttrValue>, Poisoned> = items.iter().map(|item| self.attribute(item)).collect();
                Ok(AttrValue::List(items?))
            }
        }
    }

    fn inst(&mut self, block: BlockId, inst: &InstSyntax) {
        let before = self.graph.insts.len();
        let results = self.try_inst(block, inst);
        self.spans.resize(self.graph.insts.len(), inst.span);
        debug_assert!(before <= self.graph.insts.len());
        match results {
            Ok(results) => self.name_results(block, inst, &results),
            Err(Poisoned) => {
                for (name, ty) in &inst.results {
                    if let Some(ty) = ty {
                        // A type that is wrong in itself is worth telling in any case.
                        let _ = self.tensor_type(ty);
                    }
                    self.define(block, name, None);
                }
            }
        }
    }

    fn name_results(&mut self, block: BlockId, inst: &InstSyntax, results: &[ValueId]) {
        if inst.results.is_empty() {
            let mutates = results.first().and_then(|&v| self.graph.producer(v)).map(|id| self.graph.inst(id).mutates);
            if mutates == Some(false) {
                self.note(inst.op.span, format!("the result of {} is dropped; name it: `%y = ...`", inst.op.text));
            }
            return;
        }
        if inst.results.len() != results.len() {
            let count = results.len();
            let plural = if count == 1 { "result" } else { "results" };
            let found = inst.results.len();
            self.note(inst.results[0].0.span, format!("{} has {count} {plural}, found {found} names", inst.op.text));
        }
        for (place, (name, ty)) in inst.results.iter().enumerate() {
            let value = results.get(place).copied();
            self.define(block, name, value);
            if let (Some(ty), Some(value)) = (ty, value)
                && let Ok(declared) = self.tensor_type(ty)
            {
                let inferred = self.graph.ty(value);
                if declared != *inferred {
                    let message = format!("%{} has type {inferred}, declared as {declared}", name.text);
                    self.note(ty.span, message);
                }
            }
        }
    }

    fn try_inst(&mut self, block: BlockId, inst: &InstSyntax) -> Result<Vec<ValueId>, Poisoned> {
        if let Some(regions) = &inst.regions {
            return self.regions(block, inst, regions);
        }
        if inst.op.text.is_empty() {
            return Err(Poisoned);
        }
        let written = inst.op.text.as_str();
        let resolved = resolve(written);
        let target = resolved.as_ref().map_or(written, |(target, _)| target.name());
        let operands = self.operands(block, target, &inst.operands);
        let attributes = self.attributes(&inst.attributes);
        let Some((target, mutates)) = resolved else {
            self.unknown_op(&inst.op);
            return Err(Poisoned);
        };
        let (operands, mut attributes) = (operands?, attributes?);
        let span = Span { start: inst.op.span.start, end: inst.span.end };
        self.build(block, target, mutates, inst, &operands, &mut attributes).map_err(|mistake| {
            let mut diagnostic = Diagnostic::at(mistake.span.unwrap_or(span), mistake.message);
            diagnostic.notes.extend(mistake.note);
            self.push(diagnostic);
            Poisoned
        })
    }

    fn attributes(&mut self, written: &[AttributeSyntax]) -> Result<Attributes, Poisoned> {
        let mut attributes = Attributes::default();
        let mut poisoned = false;
        for attribute in written {
            if attributes.get(&attribute.name.text).is_some() {
                self.note(attribute.name.span, format!("{} is given twice", attribute.name.text));
                poisoned = true;
            }
            let span = Span { start: attribute.name.span.start, end: attribute.value.span().end };
            match self.attribute(&attribute.value) {
                Ok(value) => attributes.push(attribute.name.text.clone(), value, span),
                Err(Poisoned) => poisoned = true,
            }
        }
        if poisoned { Err(Poisoned) } else { Ok(attributes) }
    }

    fn unknown_op(&mut self, op: &Name) {
        let mut diagnostic = Diagnostic::at(op.span, format!("unknown op `{}`", op.text));
        if self.mistakes.len() < MAX_MISTAKES {
            let bare = op.text.strip_suffix('_').unwrap_or(&op.text);
            let names = Op::NAMES.iter().copied().chain(PointFn::NAMED.iter().map(|function| function.row().name));
            let names = names.chain(["cast"]).chain(SUGAR.iter().map(|row| row.name));
            if let Some(close) = closest(bare, names.chain(RENAMED.iter().map(|row| row.0))) {
                diagnostic = diagnostic.with_note(format!("did you mean `{close}`?"));
            }
        }
        self.push(diagnostic);
    }

    fn build(
        &mut self,
        block: BlockId,
        target: Target,
        mutates: bool,
        inst: &InstSyntax,
        operands: &[ValueId],
        attributes: &mut Attributes,
    ) -> Result<Vec<ValueId>, Mistake> {
        let location = self.location(inst);
        let name = target.name();
        let expected: Vec<&str> = match target {
            Target::Sugar(row) => row.attributes.to_vec(),
            Target::Row(name) => {
                let signature = Op::signature(name).unwrap_or_default();
                signature.iter().map(|attribute| attribute.0).chain(extra_names(name).iter().copied()).collect()
            }
        };
        attributes.rename(&expected);
        for (found, span) in attributes.iter() {
            if found == "tie" || expected.contains(&found) {
                continue;
            }
            let note = match closest(found, expected.iter().copied()) {
                Some(close) => Some(format!("did you mean `{close}`?")),
                None if expected.is_empty() => None,
                None => Some(format!(
                    "it has {}",
                    expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                )),
            };
            let message = format!("{name} has no attribute `{found}`");
            return Err(Mistake { span: Some(span), message, note });
        }
        let tie = attributes.read::<i64>("tie")?;
        let (results, made) = match target {
            Target::Sugar(row) => {
                if operands.len() < row.arity.0 || operands.len() > row.arity.1 {
                    return Err(crate::ops::shape::arity_message(row.name, row.arity, operands.len()).into());
                }
                if mutates && !row.writes {
                    return Err(format!("{name} has no mutating form").into());
                }
                let mut emit = Emit { graph: &mut self.graph, block, location, made: Vec::new() };
                let mut results = (row.build)(&mut emit, operands, attributes)?;
                if mutates {
                    results = vec![emit.copy_over(operands[0], results[0])?];
                }
                (results, emit.made.pop())
            }
            Target::Row(name) => {
                let (results, made) = self.row(block, name, mutates, operands, attributes, location)?;
                (results, Some(made))
            }
        };
        if let Some(tie) = tie {
            let tie = u32::try_from(tie).map_err(|_| attributes.wrong("tie", "tie is the number of an operand"))?;
            if let Some(made) = made {
                self.graph.insts[made.index()].tie = Some(tie);
            }
        }
        Ok(results)
    }

    fn row(
        &mut self,
        block: BlockId,
        name: &'static str,
        mutates: bool,
        operands: &[ValueId],
        attributes: &mut Attributes,
        location: Location,
    ) -> Result<(Vec<ValueId>, InstId), Mistake> {
        let types: Vec<TensorType> = operands.iter().map(|&operand| self.graph.ty(operand).clone()).collect();
        if types.is_empty() {
            return Err(format!("{name} takes operands, found none").into());
        }
        complete(name, attributes, &types)?;
        let op = match Op::read(name, &|attribute| attributes.get(attribute).cloned()) {
            Some(Ok(op)) => op,
            Some(Err(bad)) => {
                let signature = Op::signature(name).unwrap_or_default();
                let expected =
                    signature.iter().find(|attribute| attribute.0 == bad).map_or("", |attribute| attribute.1);
                return Err(match attributes.get(bad) {
                    Some(found) => attributes.wrong(bad, format!("{bad} is {expected}, found {found}")),
                    None => format!("the attribute {bad} is missing ({expected})").into(),
                });
            }
            None => return Err(format!("unknown op `{name}`").into()),
        };
        match (op.row().mutation, mutates) {
            (Mutation::Never, true) => return Err(format!("{name} has no mutating form").into()),
            (Mutation::Only, false) => return Err(format!("{name} exists only as {name}_").into()),
            _ => {}
        }
        let inst = self.graph.append(block, op, operands, location)?;
        self.graph.insts[inst.index()].mutates = mutates;
        Ok((self.graph.inst(inst).results.clone(), inst))
    }

    fn final_value(&mut self, input: &Name, value: &Argument) {
        let place = self.graph.inputs.iter().position(|known| known.name == input.text);
        let value = self.operands(Graph::BODY, "final", std::slice::from_ref(value));
        match (place, value) {
            (Some(place), Ok(value)) => self.graph.finals.push((place as u32, value[0])),
            (None, _) => self.note(input.span, format!("%{} is not an input", input.text)),
            (_, Err(Poisoned)) => {}
        }
    }

    fn outputs(&mut self, outputs: &[(Option<Name>, Argument)]) {
        for (name, argument) in outputs {
            let Ok(value) = self.operands(Graph::BODY, "return", std::slice::from_ref(argument)) else { continue };
            let name = match name {
                Some(name) => {
                    if self.graph.outputs.iter().any(|output| output.name == name.text) {
                        self.note(name.span, format!("there are two outputs called {}", name.text));
                    }
                    name.text.clone()
                }
                None => default_output_name(&self.graph, self.graph.outputs.len(), value[0]),
            };
            self.graph.add_output(name, value[0]);
        }
    }
}

/// What an op's name in the text stands for.
#[derive(Clone, Copy)]
enum Target {
    Row(&'static str),
    Sugar(&'static sugar::Sugar),
}

impl Target {
    fn name(&self) -> &'static str {
        match self {
            Target::Row(name) => name,
            Target::Sugar(row) => row.name,
        }
    }
}

/// The op called `written`, and whether that is its mutating form.
fn resolve(written: &str) -> Option<(Target, bool)> {
    let bare = |name: &str| -> Option<Target> {
        if let Some(row) = sugar::find(name) {
            return Some(Target::Sugar(row));
        }
        let name = RENAMED.iter().find(|renamed| renamed.0 == name).map_or(name, |renamed| renamed.1);
        // Ops with regions have a syntax of their own.
        let row = Op::NAMES.iter().copied().find(|row| *row == name && RegionKind::from_name(name).is_none());
        row.or_else(|| PointFn::from_name(name).map(|function| function.row().name))
            .or((name == "cast").then_some("cast"))
            .map(Target::Row)
    };
    match bare(written) {
        Some(target) => Some((target, false)),
        None => written.strip_suffix('_').and_then(bare).map(|target| (target, true)),
    }
}
