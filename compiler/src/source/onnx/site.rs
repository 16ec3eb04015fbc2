//! One node being imported: its operands and attributes, and the words its row is written in.
//!
//! Every instruction goes through [`Site::apply`], which leaves out views that change nothing and folds what depends on
//! constants alone. Shape arithmetic thereby disappears while it is imported, whatever ops an exporter wrote it with.

use super::import::Importer;
use super::model::{self, Attribute, AttributeValue, Node};
use super::tensor;
use crate::eval;
use crate::ir::{Constant, ConstantData, Graph, Location, ValueId};
use crate::ops::{Class, Op};
use crate::source::words::is_identity;
pub use crate::source::words::{Outputs, Stop, Words, axes_of, axis_of, invalid, non_negative, unsupported};
use crate::types::{DType, TensorType};

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

/// Instructions: every one of an import is written in these words.
impl Words for Site<'_, '_> {
    fn graph(&self) -> &Graph {
        &self.importer.graph
    }

    fn literal(&mut self, constant: Constant) -> ValueId {
        self.importer.constant(constant)
    }

    /// Appends an op, or folds it; all its results.
    fn apply(&mut self, op: Op, operands: &[ValueId]) -> Result<Vec<ValueId>, Stop> {
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
}

impl Site<'_, '_> {
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
}
