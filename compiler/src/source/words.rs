//! The words imports are written in: few methods over `apply`, shared by every source that is not text.

use half::{bf16, f16};

use crate::ir::{Constant, ConstantData, Graph, ValueId};
use crate::ops::{Op, PointFn, ReduceFn};
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

/// A number as an element of `dtype`, in the low bytes.
pub fn bits(dtype: DType, value: f64) -> u64 {
    match dtype {
        DType::F16 => u64::from(f16::from_f64(value).to_bits()),
        DType::BF16 => u64::from(bf16::from_f64(value).to_bits()),
        _ => situ_runtime::scalar::cast(DType::F64, dtype, value.to_bits()),
    }
}

/// Appends instructions to a graph that is being imported.
pub trait Words {
    fn graph(&self) -> &Graph;

    /// A constant as a value.
    fn literal(&mut self, constant: Constant) -> ValueId;

    /// Appends an op; all its results.
    fn apply(&mut self, op: Op, operands: &[ValueId]) -> Result<Vec<ValueId>, Stop>;

    fn ty(&self, value: ValueId) -> TensorType {
        self.graph().ty(value).clone()
    }

    fn dtype(&self, value: ValueId) -> DType {
        self.graph().ty(value).dtype
    }

    fn shape(&self, value: ValueId) -> Vec<usize> {
        self.graph().ty(value).shape.clone()
    }

    fn rank(&self, value: ValueId) -> usize {
        self.graph().ty(value).rank()
    }

    /// Appends an op with one result.
    fn one(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, Stop> {
        Ok(self.apply(op, operands)?[0])
    }

    fn unary(&mut self, function: PointFn, x: ValueId) -> Result<ValueId, Stop> {
        self.one(Op::Point(function), &[x])
    }

    fn binary(&mut self, function: PointFn, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.one(Op::Point(function), &[a, b])
    }

    fn add(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.binary(PointFn::Add, a, b)
    }

    fn sub(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.binary(PointFn::Sub, a, b)
    }

    fn mul(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.binary(PointFn::Mul, a, b)
    }

    fn div(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.binary(PointFn::Div, a, b)
    }

    /// `x op number`, the number in the dtype of `x`.
    fn with_number(&mut self, function: PointFn, x: ValueId, number: f64) -> Result<ValueId, Stop> {
        let number = self.number(self.dtype(x), number);
        self.binary(function, x, number)
    }

    fn select(&mut self, condition: ValueId, then: ValueId, otherwise: ValueId) -> Result<ValueId, Stop> {
        self.one(Op::Point(PointFn::Where), &[condition, then, otherwise])
    }

    /// A scalar literal.
    fn number(&mut self, dtype: DType, value: f64) -> ValueId {
        let bits = bits(dtype, value);
        self.literal(Constant::scalar(dtype, bits))
    }

    /// A constant with the same number everywhere.
    fn filled(&mut self, dtype: DType, shape: &[usize], value: f64) -> Result<ValueId, Stop> {
        let ty = TensorType::new(dtype, shape);
        ty.check()?;
        let data = ConstantData::Splat(bits(dtype, value));
        Ok(self.literal(Constant { name: String::new(), ty, data }))
    }

    /// A constant of `i64` elements.
    fn int_constant(&mut self, shape: &[usize], elements: &[i64]) -> Result<ValueId, Stop> {
        let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(TensorType::new(DType::I64, shape), bytes)
    }

    /// A constant of numbers, rounded to `dtype`.
    fn number_constant(&mut self, dtype: DType, shape: &[usize], elements: &[f64]) -> Result<ValueId, Stop> {
        let size = dtype.size();
        let bytes: Vec<u8> =
            elements.iter().flat_map(|&x| bits(dtype, x).to_le_bytes().into_iter().take(size)).collect();
        self.constant(TensorType::new(dtype, shape), bytes)
    }

    fn constant(&mut self, ty: TensorType, bytes: Vec<u8>) -> Result<ValueId, Stop> {
        ty.check()?;
        if ty.bytes() != bytes.len() {
            return invalid(format!("{ty} has {} bytes, found {}", ty.bytes(), bytes.len()));
        }
        let data = ConstantData::Bytes(bytes.into());
        Ok(self.literal(Constant { name: String::new(), ty, data }))
    }

    /// `0, 1, ..` along one axis of a shape that is 1 elsewhere.
    fn iota(&mut self, dtype: DType, len: usize, axis: usize, rank: usize) -> Result<ValueId, Stop> {
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

    fn cast(&mut self, x: ValueId, to: DType) -> Result<ValueId, Stop> {
        if self.dtype(x) == to { Ok(x) } else { self.unary(PointFn::Cast(to), x) }
    }

    fn reshape(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Reshape { shape: shape.to_vec() }, &[x])
    }

    fn permute(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Permute { axes: axes.to_vec() }, &[x])
    }

    /// The last two axes exchanged.
    fn transposed(&mut self, x: ValueId) -> Result<ValueId, Stop> {
        let mut axes: Vec<usize> = (0..self.rank(x)).collect();
        if let [.., a, b] = axes.as_mut_slice() {
            std::mem::swap(a, b);
        }
        self.permute(x, &axes)
    }

    fn expand(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Expand { shape: shape.to_vec() }, &[x])
    }

    fn unsqueeze(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Unsqueeze { axes: axes.to_vec() }, &[x])
    }

    fn squeeze(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId, Stop> {
        self.one(Op::Squeeze { axes: axes.to_vec() }, &[x])
    }

    /// Indices `start..end` of an axis.
    fn slice(&mut self, x: ValueId, axis: usize, start: usize, end: usize) -> Result<ValueId, Stop> {
        self.one(Op::Slice { axis, start: start as i64, end: end as i64, step: 1 }, &[x])
    }

    fn concat(&mut self, parts: &[ValueId], axis: usize) -> Result<ValueId, Stop> {
        match parts {
            [one] => Ok(*one),
            _ => self.one(Op::Concat { axis }, parts),
        }
    }

    fn reduce(&mut self, function: ReduceFn, x: ValueId, axes: &[usize], keepdim: bool) -> Result<ValueId, Stop> {
        self.one(Op::Reduce { function, axes: axes.to_vec(), keepdim }, &[x])
    }

    fn matmul(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, Stop> {
        self.one(Op::MatMul {}, &[a, b])
    }

    /// `x` with axes of extent 1 behind it, so that it broadcasts over axis `axis` of a tensor of `rank` axes.
    fn along_axis(&mut self, x: ValueId, axis: usize, rank: usize) -> Result<ValueId, Stop> {
        let mut shape = vec![1; rank];
        shape[axis] = self.ty(x).len();
        self.reshape(x, &shape)
    }
}

/// Whether a view whose type is its operand's changes nothing.
pub fn is_identity(op: &Op) -> bool {
    match op {
        Op::Permute { axes } => axes.iter().enumerate().all(|(i, &axis)| i == axis),
        Op::Slice { step, .. } => *step == 1,
        // These name elements of a storage, so that equal types say nothing.
        Op::Select { .. } | Op::AsStrided { .. } | Op::Strided { .. } => false,
        _ => true,
    }
}
