//! One node being imported: its operands and attributes, and the words its row is written in.
//!
//! Every instruction goes through [`Site::apply`], which leaves out views that change nothing and folds what depends on
//! constants alone. Shape arithmetic thereby disappears while it is imported, whatever ops an exporter wrote it with.

use super::import::Importer;
use super::model::{self, Attribute, AttributeValue, Node};
use super::tensor;
use crate::eval;
use crate::ir::{Constant, ConstantData, Location, ValueId};
use crate::ops::{Class, Op, PointFn, ReduceFn};
use crate::types::{DType, TensorType};

/// Why a node is not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model is wrong.
    Invalid(String),
    /// The model may be right, but uses something that is not supported.
    Unsupported(String),
    /// An operand comes from a node that was refused; that has been said already.
    Poisoned,
}

/// A sentence of an op's shape rule.
impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop::Invalid(message)
    }
}

pub fn invalid<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Invalid(message.into()))
}

pub fn unsupported<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Unsupported(message.into()))
}

/// The values of a node's outputs, in order; optional ones at the end may be missing when nobody reads them.
pub type Outputs = Result<Vec<ValueId>, Stop>;

/// The most elements an instruction may read and write to be folded when its operands are constants.
const FOLD_ELEMENTS: usize = 1 << 16;

/// The most elements of an operand that decides a shape.
const MAX_SHAPE_OPERAND: usize = 1 << 16;

/// The state of one node's import.
pub struct Site<'s, 'a> {
    pub importer: &'s mut Importer<'a>,
    pub node: &'a Node<'a>,
    /// `None`: left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Version of the node's domain.
    pub opset: i64,
    pub location: Location,
}

/// Operands and attributes.
impl<'a> Site<'_, 'a> {
    /// An operand that must be there.
    pub fn input(&self, position: usize) -> Result<ValueId, Stop> {
        self.optional(position).ok_or_else(|| Stop::Invalid(format!("operand {position} is missing")))
    }

    pub fn optional(&self, position: usize) -> Option<ValueId> {
        self.inputs.get(position).copied().flatten()
    }

    /// All operands, none left out.
    pub fn all_inputs(&self) -> Result<Vec<ValueId>, Stop> {
        (0..self.inputs.len()).map(|position| self.input(position)).collect()
    }

    /// Whether output `position` is read by somebody.
    pub fn wants(&self, position: usize) -> bool {
        self.node.outputs.get(position).is_some_and(|name| !name.is_empty())
    }

    pub fn ty(&self, value: ValueId) -> TensorType {
        self.importer.graph.ty(value).clone()
    }

    pub fn dtype(&self, value: ValueId) -> DType {
        self.importer.graph.ty(value).dtype
    }

    pub fn shape(&self, value: ValueId) -> Vec<usize> {
        self.importer.graph.ty(value).shape.clone()
    }

    pub fn rank(&self, value: ValueId) -> usize {
        self.importer.graph.ty(value).rank()
    }

    fn attribute(&self, name: &str) -> Option<&'a AttributeValue<'a>> {
        let attribute: &'a Attribute<'a> = self.node.attributes.iter().find(|attribute| attribute.name == name)?;
        if attribute.reference.is_empty() {
            return Some(&attribute.value);
        }
        self.importer.referenced_attribute(attribute.reference).map(|attribute| &attribute.value)
    }

    fn wrong<T>(&self, name: &str, expected: &str, found: &AttributeValue) -> Result<T, Stop> {
        invalid(format!("attribute {name} should be {expected}, found {}", found.kind()))
    }

    pub fn int_opt(&self, name: &str) -> Result<Option<i64>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Int(value)) => Ok(Some(*value)),
            Some(other) => self.wrong(name, "an integer", other),
        }
    }

    pub fn int(&self, name: &str, default: i64) -> Result<i64, Stop> {
        Ok(self.int_opt(name)?.unwrap_or(default))
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Stop> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    pub fn float_opt(&self, name: &str) -> Result<Option<f64>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Float(value)) => Ok(Some(f64::from(*value))),
            Some(other) => self.wrong(name, "a float", other),
        }
    }

    pub fn float(&self, name: &str, default: f64) -> Result<f64, Stop> {
        Ok(self.float_opt(name)?.unwrap_or(f64::from(default as f32)))
    }

    pub fn text(&self, name: &str, default: &'static str) -> Result<&'a str, Stop> {
        match self.attribute(name) {
            None => Ok(default),
            Some(AttributeValue::Text(bytes)) => {
                std::str::from_utf8(bytes).or_else(|_| invalid(format!("attribute {name} is not UTF-8")))
            }
            Some(other) => self.wrong(name, "a string", other),
        }
    }

    pub fn texts(&self, name: &str) -> Result<Option<Vec<&'a str>>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Texts(texts)) => texts
                .iter()
                .map(|bytes| std::str::from_utf8(bytes).or_else(|_| invalid(format!("attribute {name} is not UTF-8"))))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(AttributeValue::Ints(ints)) if ints.is_empty() => Ok(Some(Vec::new())),
            Some(other) => self.wrong(name, "strings", other),
        }
    }

    pub fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Ints(values)) => Ok(Some(values.clone())),
            Some(other) => self.wrong(name, "integers", other),
        }
    }

    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Floats(values)) => Ok(Some(values.clone())),
            Some(other) => self.wrong(name, "floats", other),
        }
    }

    /// Integers that are not negative.
    pub fn sizes(&self, name: &str) -> Result<Option<Vec<usize>>, Stop> {
        match self.ints(name)? {
            None => Ok(None),
            Some(values) => non_negative(&values, name).map(Some),
        }
    }

    pub fn tensor(&mut self, name: &str) -> Result<Option<Constant>, Stop> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Tensor(tensor)) => self.importer.files.constant(tensor, "").map(Some),
            Some(other) => self.wrong(name, "a tensor", other),
        }
    }

    pub fn body(&self, name: &str) -> Result<&'a model::Graph<'a>, Stop> {
        match self.attribute(name) {
            None => invalid(format!("attribute {name} is missing")),
            Some(AttributeValue::Graph(graph)) => Ok(graph),
            Some(other) => self.wrong(name, "a graph", other),
        }
    }

    /// The dtype an attribute names.
    pub fn dtype_attribute(&self, name: &str) -> Result<Option<DType>, Stop> {
        self.int_opt(name)?.map(tensor::dtype).transpose()
    }

    /// The constant behind a value, as a tensor; only for values of at most [`MAX_SHAPE_OPERAND`] elements.
    pub fn known(&self, value: ValueId) -> Option<eval::Tensor> {
        let constant = self.importer.graph.constant_of(value)?;
        (constant.ty.len() <= MAX_SHAPE_OPERAND)
            .then(|| eval::Tensor::new(constant.ty.clone(), constant.bytes().into_owned()))
    }

    /// The elements of an operand that must be known when compiling, or `None` if it is left out.
    pub fn known_input(&mut self, position: usize, what: &str) -> Result<Option<eval::Tensor>, Stop> {
        match self.optional(position) {
            None => Ok(None),
            Some(value) => match self.known(value) {
                Some(tensor) => Ok(Some(tensor)),
                None => {
                    let inputs = self.importer.unknown(value);
                    unsupported(format!("operand {position} ({what}) is not a constant: it is computed from {inputs}"))
                }
            },
        }
    }

    pub fn known_ints(&mut self, position: usize, what: &str) -> Result<Option<Vec<i64>>, Stop> {
        Ok(self.known_input(position, what)?.map(|tensor| tensor.ints()))
    }

    pub fn known_floats(&mut self, position: usize, what: &str) -> Result<Option<Vec<f64>>, Stop> {
        Ok(self.known_input(position, what)?.map(|tensor| tensor.floats()))
    }

    /// A known operand with one element.
    pub fn known_int(&mut self, position: usize, what: &str) -> Result<Option<i64>, Stop> {
        match self.known_ints(position, what)?.as_deref() {
            None => Ok(None),
            Some([value]) => Ok(Some(*value)),
            Some(values) => {
                invalid(format!("operand {position} ({what}) should have one element, has {}", values.len()))
            }
        }
    }

    pub fn known_float(&mut self, position: usize, what: &str) -> Result<Option<f64>, Stop> {
        match self.known_floats(position, what)?.as_deref() {
            None => Ok(None),
            Some([value]) => Ok(Some(*value)),
            Some(values) => {
                invalid(format!("operand {position} ({what}) should have one element, has {}", values.len()))
            }
        }
    }
}

/// Integers as sizes.
pub fn non_negative(values: &[i64], what: &str) -> Result<Vec<usize>, Stop> {
    values.iter().map(|&value| usize::try_from(value).or_else(|_| invalid(format!("{what} holds {value}")))).collect()
}

/// An axis that may count from the end.
pub fn axis_of(axis: i64, rank: usize) -> Result<usize, Stop> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match from_start.and_then(|axis| usize::try_from(axis).ok()) {
        Some(axis) if axis < rank => Ok(axis),
        _ => invalid(format!("axis {axis} is out of range for rank {rank}")),
    }
}

/// Axes that may count from the end, each at most once.
pub fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>, Stop> {
    let mut found = Vec::with_capacity(axes.len().min(rank));
    for &axis in axes {
        let axis = axis_of(axis, rank)?;
        if found.contains(&axis) {
            return invalid(format!("axis {axis} is named twice"));
        }
        found.push(axis);
    }
    Ok(found)
}

/// Instructions.
impl Site<'_, '_> {
    /// Appends an op, or folds it; all its results.
    pub fn apply(&mut self, op: Op, operands: &[ValueId]) -> Result<Vec<ValueId>, Stop> {
        let types: Vec<TensorType> = operands.iter().map(|&operand| self.ty(operand)).collect();
        let results = op.infer(&types)?;
        if op.row().class == Class::View && results.len() == 1 && results[0] == types[0] && is_identity(&op) {
            return Ok(vec![operands[0]]);
        }
        if let Some(constants) = self.fold(&op, operands, &types, &results)? {
            return Ok(constants.into_iter().map(|constant| self.importer.constant(constant)).collect());
        }
        let block = self.importer.block;
        let graph = &mut self.importer.graph;
        let inst = graph.append_typed(block, op, operands, results, self.location.clone());
        Ok(graph.inst(inst).results.clone())
    }

    /// The results of an op on constants, if it is cheap to compute them now.
    fn fold(
        &mut self,
        op: &Op,
        operands: &[ValueId],
        types: &[TensorType],
        results: &[TensorType],
    ) -> Result<Option<Vec<Constant>>, Stop> {
        let graph = &self.importer.graph;
        let constants: Option<Vec<&Constant>> = operands.iter().map(|&operand| graph.constant_of(operand)).collect();
        let Some(constants) = constants.filter(|constants| !constants.is_empty()) else { return Ok(None) };
        let class = op.row().class;
        let literal =
            |ty: &TensorType, bits| Constant { name: String::new(), ty: ty.clone(), data: ConstantData::Splat(bits) };
        let splats: Option<Vec<u64>> = constants.iter().map(|constant| constant.splat()).collect();
        match (op, splats) {
            (Op::Point(function), Some(splats)) => {
                let dtypes: Vec<DType> = types.iter().map(|ty| ty.dtype).collect();
                let bits = situ_runtime::scalar::eval(*function, &dtypes, &splats);
                return Ok(Some(vec![literal(&results[0], bits)]));
            }
            (_, Some(splats)) if class == Class::View => {
                return Ok(Some(results.iter().map(|ty| literal(ty, splats[0])).collect()));
            }
            _ => {}
        }
        let elements: usize = types.iter().chain(results).map(TensorType::len).sum();
        let work = match class {
            Class::Contraction | Class::Composite => {
                types[0].len().saturating_mul(types.last().map_or(1, TensorType::len))
            }
            _ => elements,
        };
        if elements > FOLD_ELEMENTS || work > self.importer.fold_budget || work > FOLD_ELEMENTS * 64 {
            return Ok(None);
        }
        let tensors: Vec<eval::Tensor> = constants
            .iter()
            .map(|constant| eval::Tensor::new(constant.ty.clone(), constant.bytes().into_owned()))
            .collect();
        self.importer.fold_budget -= work;
        let folded = eval::evaluate_op(op, &tensors)?;
        let constant = |tensor: eval::Tensor| Constant {
            name: String::new(),
            ty: tensor.ty,
            data: ConstantData::Bytes(tensor.bytes),
        };
        Ok(Some(folded.into_iter().map(constant).collect()))
    }

    /// Appends an op with one result.
    pub fn one(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, Stop> {
        Ok(self.apply(op, operands)?[0])
    }

    pub fn unary(&mut self, function: PointFn, x: ValueId) -> Result<ValueId, Stop> {
        self.one(Op::Point(function), &[x])
    }

    pub fn binary(&mut self, function: PointFn, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.one(Op::Point(function), &[a, b])
    }

    pub fn add(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.binary(PointFn::Add, a, b)
    }

    pub fn sub(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.binary(PointFn::Sub, a, b)
    }

    pub fn mul(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.binary(PointFn::Mul, a, b)
    }

    pub fn div(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.binary(PointFn::Div, a, b)
    }

    /// `x op number`, the number in the dtype of `x`.
    pub fn with_number(&mut self, function: PointFn, x: ValueId, number: f64) -> Result<ValueId, Stop> {
        let number = self.number(self.dtype(x), number);
        self.binary(function, x, number)
    }

    pub fn select(&mut self, condition: ValueId, then: ValueId, otherwise: ValueId) -> Result<ValueId, Stop> {
        self.one(Op::Point(PointFn::Where), &[condition, then, otherwise])
    }

    /// A scalar literal.
    pub fn number(&mut self, dtype: DType, value: f64) -> ValueId {
        let bits = tensor::bits(dtype, value);
        self.importer.constant(Constant::scalar(dtype, bits))
    }

    /// A constant with the same number everywhere.
    pub fn filled(&mut self, dtype: DType, shape: &[usize], value: f64) -> Result<ValueId, Stop> {
        let ty = TensorType::new(dtype, shape);
        ty.check()?;
        let data = ConstantData::Splat(tensor::bits(dtype, value));
        Ok(self.importer.constant(Constant { name: String::new(), ty, data }))
    }

    /// A constant of `i64` elements.
    pub fn int_constant(&mut self, shape: &[usize], elements: &[i64]) -> Result<ValueId, Stop> {
        let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(TensorType::new(DType::I64, shape), bytes)
    }

    /// A constant of numbers, rounded to `dtype`.
    pub fn number_constant(&mut self, dtype: DType, shape: &[usize], elements: &[f64]) -> Result<ValueId, Stop> {
        let size = dtype.size();
        let bytes: Vec<u8> =
            elements.iter().flat_map(|&x| tensor::bits(dtype, x).to_le_bytes().into_iter().take(size)).collect();
        self.constant(TensorType::new(dtype, shape), bytes)
    }

    pub fn constant(&mut self, ty: TensorType, bytes: Vec<u8>) -> Result<ValueId, Stop> {
        ty.check()?;
        if ty.bytes() != bytes.len() {
            return invalid(format!("{ty} has {} bytes, found {}", ty.bytes(), bytes.len()));
        }
        let data = ConstantData::Bytes(bytes.into());
        Ok(self.importer.constant(Constant { name: String::new(), ty, data }))
    }

    /// `0, 1, ..` along one axis of a shape that is 1 elsewhere.
    pub fn iota(&mut self, dtype: DType, len: usize, axis: usize, rank: usize) -> Result<ValueId, Stop> {
        if len > 1 << 24 {
            return unsupported(format!("positions along an axis of {len}"));
        }
        let mut shape = vec![1; rank];
        if let Some(extent) = shape.get_mut(axis) {
            *extent = len;
        }
        let elements: Vec<f64> = (0..len).map(|i| i as f64).collect();
        self.number_constant(dtype, &shape, &elements)
    }

    pub fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId, Stop> {
        if self.dtype(x) == to { Ok(x) } else { self.unary(PointFn::Cast(to), x) }
    }

    pub fn reshape(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Reshape { shape: shape.to_vec() }, &[x])
    }

    pub fn permute(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Permute { axes: axes.to_vec() }, &[x])
    }

    /// The last two axes exchanged.
    pub fn transposed(&mut self, x: ValueId) -> Result<ValueId, Stop> {
        let mut axes: Vec<usize> = (0..self.rank(x)).collect();
        if let [.., a, b] = axes.as_mut_slice() {
            std::mem::swap(a, b);
        }
        self.permute(x, &axes)
    }

    pub fn expand(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Expand { shape: shape.to_vec() }, &[x])
    }

    pub fn unsqueeze(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Unsqueeze { axes: axes.to_vec() }, &[x])
    }

    pub fn squeeze(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Squeeze { axes: axes.to_vec() }, &[x])
    }

    /// Indices `start..end` of an axis.
    pub fn slice(&mut self, x: ValueId, axis: usize, start: usize, end: usize) -> Result<ValueId, Stop> {
        self.one(Op::Slice { axis, start: start as i64, end: end as i64, step: 1 }, &[x])
    }

    pub fn concat(&mut self, parts: &[ValueId], axis: usize) -> Result<ValueId, Stop> {
        match parts {
            [one] => Ok(*one),
            _ => self.one(Op::Concat { axis }, parts),
        }
    }

    pub fn reduce(&mut self, function: ReduceFn, x: ValueId, axes: &[usize], keepdim: bool) -> Result<ValueId, Stop> {
        self.one(Op::Reduce { function, axes: axes.to_vec(), keepdim }, &[x])
    }

    pub fn matmul(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.one(Op::MatMul {}, &[a, b])
    }

    /// `x` with axes of extent 1 behind it, so that it broadcasts over axis `axis` of a tensor of `rank` axes.
    pub fn along_axis(&mut self, x: ValueId, axis: usize, rank: usize) -> Result<ValueId, Stop> {
        let mut shape = vec![1; rank];
        shape[axis] = self.ty(x).len();
        self.reshape(x, &shape)
    }
}

/// Whether a view whose type is its operand's changes nothing.
fn is_identity(op: &Op) -> bool {
    match op {
        Op::Permute { axes } => axes.iter().enumerate().all(|(i, &axis)| i == axis),
        Op::Slice { step, .. } => *step == 1,
        Op::Select { .. } => false,
        _ => true,
    }
}
