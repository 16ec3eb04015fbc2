//! One node being imported: its arguments by name, with the defaults of its row, and the words its row is written in.

use indexmap::IndexMap;

use super::import::{Importer, Item};
use super::ops::Row;
use super::promote::{self, Part};
use super::schema::{self, Argument, Node};
use super::storage;
use crate::ir::{Constant, ConstantData, Graph, Location, ValueId};
use crate::ops::{Class, Op};
use crate::source::words::is_identity;
pub use crate::source::words::{Outputs, Stop, Words, axes_of, axis_of, invalid, non_negative, unsupported};
use crate::types::{DType, Layout, TensorType};

/// A Python number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Number {
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Bool(value) => f64::from(u8::from(value)),
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }

    /// The dtype it would have as a tensor.
    pub fn dtype(self) -> DType {
        match self {
            Number::Bool(_) => DType::Bool,
            Number::Int(_) => DType::I64,
            Number::Float(_) => DType::F32,
        }
    }

    /// The bits of an element of `dtype`.
    pub fn bits(self, dtype: DType) -> u64 {
        match self {
            Number::Int(value) if !dtype.is_float() => situ_runtime::scalar::cast(DType::I64, dtype, value as u64),
            other => crate::source::words::bits(dtype, other.as_f64()),
        }
    }
}

/// An argument, its symbols and names resolved.
#[derive(Clone)]
pub enum Value<'a> {
    None,
    Tensor(ValueId),
    Tensors(Vec<Option<ValueId>>),
    Number(Number),
    Numbers(Vec<Number>),
    Text(&'a str),
    DType(DType),
    MemoryFormat(u64),
    Graph(&'a schema::Graph),
    /// What no row looks at: devices, layouts.
    Ignored,
    /// What no row can use.
    Foreign(&'static str),
}

/// The state of one node's import.
pub struct Site<'s, 'a> {
    pub importer: &'s mut Importer<'a>,
    pub node: &'a Node,
    pub location: Location,
    arguments: IndexMap<&'a str, Value<'a>>,
    /// Arguments without names, in order: those of operators that take graphs.
    pub positional: Vec<Value<'a>>,
}

impl<'s, 'a> Site<'s, 'a> {
    /// The arguments of a node in the words of its row.
    pub fn new(
        importer: &'s mut Importer<'a>,
        node: &'a Node,
        row: Option<&'static Row>,
        location: Location,
    ) -> Result<Site<'s, 'a>, Stop> {
        let mut arguments = IndexMap::new();
        let mut positional = Vec::new();
        for argument in &node.inputs {
            let value = importer.resolve(&argument.arg)?;
            if argument.name.is_empty() {
                positional.push(value);
                continue;
            }
            let name = match row {
                None => argument.name.as_str(),
                Some(row) => match row.canonical(&argument.name) {
                    Some(name) => name,
                    None => return unsupported(format!("argument {} is not known", argument.name)),
                },
            };
            if arguments.insert(name, value).is_some() {
                return invalid(format!("argument {} is given twice", argument.name));
            }
        }
        if let Some(row) = row {
            for (name, default) in row.arguments() {
                match default {
                    Some(default) => {
                        arguments.entry(name).or_insert_with(|| default_value(default));
                    }
                    None if arguments.contains_key(name) => {}
                    None => return invalid(format!("argument {name} is missing")),
                }
            }
        }
        Ok(Site { importer, node, location, arguments, positional })
    }

    /// All arguments, in the order of the file.
    pub fn all(&self) -> impl Iterator<Item = &Value<'a>> {
        self.arguments.values().chain(&self.positional)
    }

    pub fn has(&self, name: &str) -> bool {
        !matches!(self.arguments.get(name), None | Some(Value::None))
    }

    fn wrong<T>(&self, name: &str, expected: &str) -> Result<T, Stop> {
        let found = match self.arguments.get(name) {
            None => "nothing",
            Some(Value::None) => "None",
            Some(Value::Tensor(_)) => "a tensor",
            Some(Value::Tensors(_)) => "tensors",
            Some(Value::Number(_)) => "a number",
            Some(Value::Numbers(_)) => "numbers",
            Some(Value::Text(_)) => "a string",
            Some(Value::DType(_)) => "a dtype",
            Some(Value::MemoryFormat(_)) => "a memory format",
            Some(Value::Graph(_)) => "a graph",
            Some(Value::Ignored) => "a device or layout",
            Some(Value::Foreign(what)) => what,
        };
        invalid(format!("argument {name} should be {expected}, found {found}"))
    }

    pub fn tensor(&self, name: &str) -> Result<ValueId, Stop> {
        match self.arguments.get(name) {
            Some(Value::Tensor(value)) => Ok(*value),
            _ => self.wrong(name, "a tensor"),
        }
    }

    pub fn tensor_opt(&self, name: &str) -> Result<Option<ValueId>, Stop> {
        if self.has(name) { self.tensor(name).map(Some) } else { Ok(None) }
    }

    pub fn tensors_opt(&self, name: &str) -> Result<Vec<Option<ValueId>>, Stop> {
        match self.arguments.get(name) {
            Some(Value::Tensors(values)) => Ok(values.clone()),
            Some(Value::Numbers(numbers)) if numbers.is_empty() => Ok(Vec::new()),
            _ => self.wrong(name, "tensors"),
        }
    }

    pub fn tensors(&self, name: &str) -> Result<Vec<ValueId>, Stop> {
        let all: Option<Vec<ValueId>> = self.tensors_opt(name)?.into_iter().collect();
        all.map_or_else(|| self.wrong(name, "tensors, none of them None"), Ok)
    }

    /// A number; a tensor of one element is not one.
    pub fn numeral(&self, name: &str) -> Result<Number, Stop> {
        match self.arguments.get(name) {
            Some(Value::Number(value)) => Ok(*value),
            _ => self.wrong(name, "a number"),
        }
    }

    pub fn numeral_opt(&self, name: &str) -> Result<Option<Number>, Stop> {
        if self.has(name) { self.numeral(name).map(Some) } else { Ok(None) }
    }

    pub fn float(&self, name: &str) -> Result<f64, Stop> {
        self.numeral(name).map(Number::as_f64)
    }

    pub fn int(&self, name: &str) -> Result<i64, Stop> {
        match self.arguments.get(name) {
            Some(Value::Number(Number::Int(value))) => Ok(*value),
            Some(Value::Number(Number::Bool(value))) => Ok(i64::from(*value)),
            _ => self.wrong(name, "an integer"),
        }
    }

    pub fn int_opt(&self, name: &str) -> Result<Option<i64>, Stop> {
        if self.has(name) { self.int(name).map(Some) } else { Ok(None) }
    }

    pub fn flag(&self, name: &str) -> Result<bool, Stop> {
        match self.arguments.get(name) {
            Some(Value::Number(Number::Bool(value))) => Ok(*value),
            Some(Value::Number(Number::Int(value))) => Ok(*value != 0),
            _ => self.wrong(name, "a bool"),
        }
    }

    /// Integers; one integer counts as a list of one.
    pub fn ints(&self, name: &str) -> Result<Vec<i64>, Stop> {
        match self.arguments.get(name) {
            Some(Value::Numbers(values)) => values
                .iter()
                .map(|value| match value {
                    Number::Int(value) => Ok(*value),
                    Number::Bool(value) => Ok(i64::from(*value)),
                    Number::Float(_) => self.wrong(name, "integers"),
                })
                .collect(),
            Some(Value::Number(_)) => Ok(vec![self.int(name)?]),
            _ => self.wrong(name, "integers"),
        }
    }

    pub fn ints_opt(&self, name: &str) -> Result<Option<Vec<i64>>, Stop> {
        if self.has(name) { self.ints(name).map(Some) } else { Ok(None) }
    }

    pub fn floats_opt(&self, name: &str) -> Result<Option<Vec<f64>>, Stop> {
        match self.arguments.get(name) {
            None | Some(Value::None) => Ok(None),
            Some(Value::Numbers(values)) => Ok(Some(values.iter().map(|value| value.as_f64()).collect())),
            Some(Value::Number(value)) => Ok(Some(vec![value.as_f64()])),
            _ => self.wrong(name, "floats"),
        }
    }

    /// Extents, none negative.
    pub fn sizes(&self, name: &str) -> Result<Vec<usize>, Stop> {
        non_negative(&self.ints(name)?, name)
    }

    /// One extent for each of `count` spatial axes; one number stands for all of them.
    pub fn per_axis(&self, name: &str, count: usize) -> Result<Vec<usize>, Stop> {
        let sizes = self.sizes(name)?;
        match sizes.len() {
            1 => Ok(vec![sizes[0]; count]),
            length if length == count => Ok(sizes),
            length => invalid(format!("argument {name} has {length} elements, expected {count}")),
        }
    }

    pub fn text(&self, name: &str) -> Result<&'a str, Stop> {
        match self.arguments.get(name) {
            Some(Value::Text(text)) => Ok(text),
            _ => self.wrong(name, "a string"),
        }
    }

    pub fn dtype_opt(&self, name: &str) -> Result<Option<DType>, Stop> {
        match self.arguments.get(name) {
            None | Some(Value::None) => Ok(None),
            Some(Value::DType(dtype)) => Ok(Some(*dtype)),
            _ => self.wrong(name, "a dtype"),
        }
    }

    /// Number of the schema's `MemoryFormat`, preserve unless said.
    pub fn memory_format(&self, name: &str) -> Result<u64, Stop> {
        match self.arguments.get(name) {
            None | Some(Value::None) => Ok(PRESERVE),
            Some(Value::MemoryFormat(format)) => Ok(*format),
            _ => self.wrong(name, "a memory format"),
        }
    }

    /// An axis argument, which may count from the end; a tensor without axes has one for this purpose.
    pub fn axis(&self, name: &str, rank: usize) -> Result<usize, Stop> {
        axis_of(self.int(name)?, rank.max(1))
    }

    /// Axes; all where none are named.
    pub fn axes(&self, name: &str, rank: usize) -> Result<Vec<usize>, Stop> {
        match self.ints_opt(name)? {
            Some(axes) if !axes.is_empty() => {
                let named = axes_of(&axes, rank.max(1))?;
                // A scalar may be asked for its axis 0, which is then all there is.
                Ok(if rank == 0 { Vec::new() } else { named })
            }
            _ => Ok((0..rank).collect()),
        }
    }

    /// How an argument takes part in type promotion.
    pub fn part(&self, name: &str) -> Result<Part, Stop> {
        match self.arguments.get(name) {
            Some(Value::Tensor(value)) => Ok(self.tensor_part(*value)),
            Some(Value::Number(number)) => Ok(Part::Number(number.dtype())),
            _ => self.wrong(name, "a tensor or a number"),
        }
    }

    pub fn tensor_part(&self, value: ValueId) -> Part {
        let ty = self.graph().ty(value);
        if ty.shape.is_empty() { Part::Scalar(ty.dtype) } else { Part::Tensor(ty.dtype) }
    }

    /// A tensor or number argument as an operand of a dtype.
    pub fn operand(&mut self, name: &str, dtype: DType) -> Result<ValueId, Stop> {
        match self.arguments.get(name) {
            Some(Value::Tensor(value)) => {
                let value = *value;
                self.cast(value, dtype)
            }
            Some(Value::Number(number)) => {
                let number = *number;
                Ok(self.scalar(number, dtype))
            }
            _ => self.wrong(name, "a tensor or a number"),
        }
    }

    /// A number as a constant without axes.
    pub fn scalar(&mut self, number: Number, dtype: DType) -> ValueId {
        self.literal(Constant::scalar(dtype, number.bits(dtype)))
    }

    /// The dtype in which the arguments are combined.
    pub fn promoted(&self, names: &[&str]) -> Result<DType, Stop> {
        let parts = names.iter().map(|name| self.part(name)).collect::<Result<Vec<Part>, Stop>>()?;
        Ok(promote::result(&parts))
    }

    /// Runs a row on its tensors with halves as `f32`, and rounds what it gives.
    pub fn widened(&mut self, import: fn(&mut Site<'s, 'a>) -> Outputs) -> Outputs {
        let tensors = self.arguments.values().filter_map(|value| match value {
            Value::Tensor(value) => Some(self.tensor_part(*value)),
            _ => None,
        });
        let own = promote::result(&tensors.collect::<Vec<Part>>());
        let wide = promote::computed(own);
        if wide == own {
            return import(self);
        }
        let given = self.arguments.clone();
        for (name, value) in &given {
            if let Value::Tensor(value) = *value
                && promote::computed(self.dtype(value)) != self.dtype(value)
            {
                let value = self.cast(value, wide)?;
                self.arguments.insert(name, Value::Tensor(value));
            }
        }
        let results = import(self);
        self.arguments = given;
        let narrowed = results?.into_iter().map(|y| if self.dtype(y) == wide { self.cast(y, own) } else { Ok(y) });
        narrowed.collect()
    }

    /// The layout of a value in its storage, as the program has it at this point.
    pub fn layout(&self, value: ValueId) -> Layout {
        self.importer.placements.layout(value).clone()
    }

    /// Whether a value of four or five axes lies in channels last.
    pub fn is_channels_last(&self, x: ValueId) -> bool {
        let layout = self.layout(x);
        let order: Vec<usize> = [0].into_iter().chain(2..layout.rank()).chain([1]).collect();
        matches!(layout.rank(), 4 | 5) && crate::ops::views::permute(&layout, &order).is_dense()
    }

    /// A fresh result in bytes that are row-major, or in channels last as `like` is, whatever the trace says.
    pub fn settled(&mut self, y: ValueId, like: ValueId) -> Result<ValueId, Stop> {
        let last = self.is_channels_last(like) && !self.layout(like).is_dense();
        let rank = self.rank(y);
        let y = if last {
            let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
            let back: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
            let turned = self.permute(y, &order)?;
            let dense = self.one(Op::Contiguous {}, &[turned])?;
            self.permute(dense, &back)?
        } else if self.layout(y).is_dense() {
            y
        } else {
            self.one(Op::Contiguous {}, &[y])?
        };
        self.importer.settled.insert(y);
        Ok(y)
    }

    /// A fresh tensor with the same element everywhere, which may be written.
    pub fn fresh(&mut self, dtype: DType, shape: &[usize], number: Number) -> Result<ValueId, Stop> {
        let ty = TensorType::new(dtype, shape);
        ty.check()?;
        let data = ConstantData::Splat(number.bits(dtype));
        let constant = self.literal(Constant { name: String::new(), ty, data });
        self.one(Op::Contiguous {}, &[constant])
    }

    /// Puts a copy in the place of a tensor argument, for rows that write theirs.
    pub fn replace_by_copy(&mut self, name: &'static str) -> Result<(), Stop> {
        let x = self.tensor(name)?;
        let copy = self.one(Op::Contiguous {}, &[x])?;
        self.arguments.insert(name, Value::Tensor(copy));
        Ok(())
    }

    /// Writes `value`, converted and broadcast, over `destination`, whose storage the result has.
    pub fn write(&mut self, destination: ValueId, value: ValueId) -> Result<ValueId, Stop> {
        let value = self.cast(value, self.dtype(destination))?;
        self.mutate(Op::Copy {}, &[destination, value])
    }

    /// The mutating form of an op.
    pub fn mutate(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, Stop> {
        let types: Vec<TensorType> = operands.iter().map(|&operand| self.ty(operand)).collect();
        let results = op.infer(&types)?;
        if results.first() != types.first() {
            return invalid(format!("{} cannot be written over {}", results[0], types[0]));
        }
        Ok(self.importer.append(op, operands, results, true, &self.location)?[0])
    }
}

impl Words for Site<'_, '_> {
    fn graph(&self) -> &Graph {
        &self.importer.graph
    }

    fn literal(&mut self, constant: Constant) -> ValueId {
        self.importer.constant(constant)
    }

    fn apply(&mut self, op: Op, operands: &[ValueId]) -> Result<Vec<ValueId>, Stop> {
        let types: Vec<TensorType> = operands.iter().map(|&operand| self.ty(operand)).collect();
        let results = op.infer(&types)?;
        if op.row().class == Class::View && results.len() == 1 && results[0] == types[0] && is_identity(&op) {
            return Ok(vec![operands[0]]);
        }
        self.importer.append(op, operands, results, false, &self.location)
    }
}

/// `MemoryFormat` of the schema.
pub const CONTIGUOUS: u64 = 1;
pub const CHANNELS_LAST: u64 = 2;
pub const CHANNELS_LAST_3D: u64 = 3;
pub const PRESERVE: u64 = 4;

/// A default as its row spells it.
fn default_value(text: &'static str) -> Value<'static> {
    match text {
        "None" => Value::None,
        "True" => Value::Number(Number::Bool(true)),
        "False" => Value::Number(Number::Bool(false)),
        "[]" => Value::Numbers(Vec::new()),
        number => match (number.parse::<i64>(), number.parse::<f64>()) {
            (Ok(value), _) => Value::Number(Number::Int(value)),
            (_, Ok(value)) => Value::Number(Number::Float(value)),
            _ => Value::Text(text.trim_matches('\'')),
        },
    }
}

/// What an argument of the schema says, without its names and symbols.
pub fn plain(argument: &Argument) -> Result<Value<'_>, Stop> {
    Ok(match argument {
        Argument::None(_) => Value::None,
        Argument::Int(value) => Value::Number(Number::Int(*value)),
        Argument::Ints(values) => Value::Numbers(values.iter().map(|&value| Number::Int(value)).collect()),
        Argument::Float(value) => Value::Number(Number::Float(value.0)),
        Argument::Floats(values) => Value::Numbers(values.iter().map(|value| Number::Float(value.0)).collect()),
        Argument::Bool(value) => Value::Number(Number::Bool(*value)),
        Argument::Bools(values) => Value::Numbers(values.iter().map(|&value| Number::Bool(value)).collect()),
        Argument::Text(text) => Value::Text(text),
        Argument::ScalarType(number) => Value::DType(storage::dtype(*number).map_err(Stop::Unsupported)?),
        Argument::MemoryFormat(format) => Value::MemoryFormat(*format),
        Argument::Layout(layout) if *layout == storage::STRIDED => Value::Ignored,
        Argument::Layout(layout) => return unsupported(format!("the memory layout {layout} of the schema")),
        Argument::Device(device) if device.kind == "cpu" || device.kind == "cuda" => Value::Ignored,
        Argument::Device(device) => return unsupported(format!("the device {:?}", device.kind)),
        Argument::Graph(graph) => Value::Graph(&graph.graph),
        Argument::Complex(_) => return unsupported("complex numbers"),
        Argument::Texts(_) => Value::Foreign("strings"),
        Argument::IntLists(_) | Argument::FloatLists(_) => Value::Foreign("lists of lists"),
        Argument::NestedTensors(_) => Value::Foreign("lists of lists of tensors"),
        Argument::CustomObject(object) => {
            return unsupported(format!("the object {} of class {}", object.name, object.class_fqn));
        }
        Argument::Operator(_) => Value::Foreign("an operator"),
        Argument::Dictionary(_) => Value::Foreign("a dictionary"),
        // These name values of the program, which the importer resolves.
        Argument::Tensor(_)
        | Argument::Tensors(_)
        | Argument::OptionalTensor(_)
        | Argument::OptionalTensors(_)
        | Argument::SymInt(_)
        | Argument::SymInts(_)
        | Argument::SymFloat(_)
        | Argument::SymFloats(_)
        | Argument::SymBool(_)
        | Argument::SymBools(_) => Value::Foreign("a name"),
    })
}

impl Item {
    /// As an argument.
    pub fn value<'a>(&self) -> Result<Value<'a>, Stop> {
        Ok(match self {
            Item::Tensor(value) => Value::Tensor(*value),
            Item::Number(number) => Value::Number(*number),
            Item::None => Value::None,
            Item::Refused => return Err(Stop::Poisoned),
        })
    }
}
