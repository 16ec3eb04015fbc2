//! Making graphs without text: the library API.
//!
//! ```
//! use situ::ir::Builder;
//! use situ::types::{DType, TensorType};
//!
//! let mut b = Builder::new("double");
//! let x = b.input("x", TensorType::new(DType::F32, [2, 3]));
//! let y = b.add(x, x)?;
//! b.output("y", y);
//! let graph = b.finish()?;
//! assert_eq!(graph.outputs.len(), 1);
//! # Ok::<(), situ::ir::BuildError>(())
//! ```

use std::sync::Arc;

use super::constant::{Constant, ConstantData, Distribution};
use super::graph::{BlockId, Graph, Location, ValueId};
use crate::ops::control::{index_type, without_first_axis};
use crate::ops::{Mutation, Op, PointFn};
use crate::types::{DType, InputMode, TensorType};

/// Why an instruction could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError(pub String);

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BuildError {}

/// Builds one [`Graph`]; every call checks its operands' types.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    /// Where instructions are put.
    block: BlockId,
    location: Location,
}

impl Builder {
    pub fn new(name: impl Into<String>) -> Builder {
        Builder { graph: Graph::new(name), block: Graph::BODY, location: Location::default() }
    }

    /// The location that following instructions carry.
    pub fn set_location(&mut self, location: Location) {
        self.location = location;
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn ty(&self, value: ValueId) -> &TensorType {
        self.graph.ty(value)
    }

    /// An input nobody writes.
    pub fn input(&mut self, name: impl Into<String>, ty: TensorType) -> ValueId {
        self.input_with(name, InputMode::Read, ty)
    }

    pub fn input_with(&mut self, name: impl Into<String>, mode: InputMode, ty: TensorType) -> ValueId {
        self.graph.add_input(name, mode, ty)
    }

    /// A constant given by its elements, row-major and little endian.
    pub fn constant(
        &mut self,
        name: impl Into<String>,
        ty: TensorType,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<ValueId, BuildError> {
        let bytes = bytes.into();
        ty.check().map_err(BuildError)?;
        if bytes.len() != ty.bytes() {
            return Err(BuildError(format!("{ty} has {} bytes, found {}", ty.bytes(), bytes.len())));
        }
        Ok(self.graph.add_constant(Constant { name: name.into(), ty, data: ConstantData::Bytes(bytes) }))
    }

    /// A constant of `f32` elements.
    pub fn constant_f32(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        elements: &[f32],
    ) -> Result<ValueId, BuildError> {
        let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, TensorType::new(DType::F32, shape), bytes)
    }

    /// A constant drawn by the seeded generator.
    pub fn seeded(
        &mut self,
        name: impl Into<String>,
        ty: TensorType,
        distribution: Distribution,
        seed: u64,
    ) -> Result<ValueId, BuildError> {
        ty.check().map_err(BuildError)?;
        Ok(self.graph.add_constant(Constant {
            name: name.into(),
            ty,
            data: ConstantData::Seeded { distribution, seed },
        }))
    }

    /// A scalar literal of a dtype.
    pub fn scalar(&mut self, dtype: DType, value: f64) -> ValueId {
        self.graph.add_constant(Constant::scalar(dtype, situ_runtime::scalar::cast(DType::F64, dtype, value.to_bits())))
    }

    /// Applies an op; all its results.
    pub fn apply(&mut self, op: Op, operands: &[ValueId]) -> Result<Vec<ValueId>, BuildError> {
        if op.row().mutation == Mutation::Only {
            return Err(BuildError(format!("{} exists only as {}_", op.name(), op.name())));
        }
        let location = self.location.clone();
        let inst = self.graph.append(self.block, op, operands, location).map_err(BuildError)?;
        Ok(self.graph.inst(inst).results.clone())
    }

    /// Applies an op with one result.
    pub fn one(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, BuildError> {
        Ok(self.apply(op, operands)?[0])
    }

    /// Applies the mutating form of an op: the result is written into the storage of operand 0.
    pub fn apply_mut(&mut self, op: Op, operands: &[ValueId]) -> Result<ValueId, BuildError> {
        if op.row().mutation == Mutation::Never {
            return Err(BuildError(format!("{} has no mutating form", op.name())));
        }
        let location = self.location.clone();
        let name = op.name();
        let inst = self.graph.append(self.block, op, operands, location).map_err(BuildError)?;
        let result = self.graph.inst(inst).results[0];
        if self.graph.ty(result) != self.graph.ty(operands[0]) {
            return Err(BuildError(format!(
                "{name}_ writes {} into {}",
                self.graph.ty(result),
                self.graph.ty(operands[0])
            )));
        }
        self.graph.insts[inst.index()].mutates = true;
        Ok(result)
    }

    /// `if`: the yields of `then` where `cond` is true, else those of `otherwise`. Both see every value made so far; what
    /// they should take as parameters is in `args`.
    pub fn branch(
        &mut self,
        cond: ValueId,
        args: &[ValueId],
        then: impl FnOnce(&mut Builder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
        otherwise: impl FnOnce(&mut Builder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<Vec<ValueId>, BuildError> {
        let operands = [&[cond], args].concat();
        let types: Vec<TensorType> = args.iter().map(|&arg| self.ty(arg).clone()).collect();
        let (first, yields) = self.region(&types, then)?;
        let (second, _) = self.region(&types, otherwise)?;
        let (results, shapes) = self.declared(&yields);
        self.control(Op::If { results, shapes }, &operands, vec![first, second])
    }

    /// `loop`: at most `trip` (`i64[]`) trips while the condition holds, which is `cond` (`bool[]`) at first and then what
    /// the trip before gave. `body` gets the trip's number, the carries and `args`, and gives the condition, then the
    /// carries. The results are the last carries.
    pub fn repeat(
        &mut self,
        trip: ValueId,
        cond: ValueId,
        inits: &[ValueId],
        args: &[ValueId],
        body: impl FnOnce(&mut Builder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<Vec<ValueId>, BuildError> {
        let operands = [&[trip, cond], inits, args].concat();
        let mut types = vec![index_type()];
        types.extend(operands[2..].iter().map(|&operand| self.ty(operand).clone()));
        let (region, _) = self.region(&types, body)?;
        self.control(Op::Loop { carried: inits.len() }, &operands, vec![region])
    }

    /// `scan`: one trip for each of the `trips` elements of axis 0 of the sequences. `body` gets the trip's number, the
    /// carries, the elements of the sequences and `args`, and gives the carries, then what the results stack. The results
    /// are the last carries, then the stacks.
    pub fn scan(
        &mut self,
        trips: usize,
        inits: &[ValueId],
        sequences: &[ValueId],
        args: &[ValueId],
        body: impl FnOnce(&mut Builder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<Vec<ValueId>, BuildError> {
        let operands = [inits, sequences, args].concat();
        let mut types = vec![index_type()];
        for (place, &operand) in operands.iter().enumerate() {
            let ty = self.ty(operand);
            let sliced = place >= inits.len() && place < inits.len() + sequences.len();
            types.push(if sliced { without_first_axis(ty) } else { ty.clone() });
        }
        let (region, yields) = self.region(&types, body)?;
        let (results, shapes) = self.declared(yields.get(inits.len()..).unwrap_or_default());
        let op = Op::Scan { trips, carried: inits.len(), sequences: sequences.len(), results, shapes };
        self.control(op, &operands, vec![region])
    }

    /// A region with parameters of the given types, and what it yields.
    fn region(
        &mut self,
        params: &[TensorType],
        body: impl FnOnce(&mut Builder, &[ValueId]) -> Result<Vec<ValueId>, BuildError>,
    ) -> Result<(BlockId, Vec<ValueId>), BuildError> {
        let block = self.graph.add_block();
        let params: Vec<ValueId> = params.iter().map(|ty| self.graph.add_param(block, ty.clone(), "")).collect();
        let outer = std::mem::replace(&mut self.block, block);
        let yields = body(self, &params);
        self.block = outer;
        let yields = yields?;
        self.graph.blocks[block.index()].yields = yields.clone();
        Ok((block, yields))
    }

    fn declared(&self, values: &[ValueId]) -> (Vec<DType>, Vec<Vec<usize>>) {
        values.iter().map(|&value| (self.ty(value).dtype, self.ty(value).shape.clone())).unzip()
    }

    fn control(&mut self, op: Op, operands: &[ValueId], regions: Vec<BlockId>) -> Result<Vec<ValueId>, BuildError> {
        let location = self.location.clone();
        let inst = self.graph.append(self.block, op, operands, location).map_err(BuildError)?;
        self.graph.insts[inst.index()].regions = regions;
        Ok(self.graph.inst(inst).results.clone())
    }

    pub fn output(&mut self, name: impl Into<String>, value: ValueId) {
        self.graph.add_output(name, value);
    }

    /// The graph, verified.
    pub fn finish(self) -> Result<Graph, BuildError> {
        let mistakes = super::verify(&self.graph);
        match mistakes.first() {
            None => Ok(self.graph),
            Some(first) => Err(BuildError(first.message.clone())),
        }
    }
}

macro_rules! unary_methods {
    ($($name:ident = $function:ident),* $(,)?) => {
        impl Builder {
            $(#[doc = concat!("Elementwise `", stringify!($name), "`.")]
            pub fn $name(&mut self, x: ValueId) -> Result<ValueId, BuildError> {
                self.one(Op::Point(PointFn::$function), &[x])
            })*
        }
    };
}

macro_rules! binary_methods {
    ($($name:ident = $function:ident),* $(,)?) => {
        impl Builder {
            $(#[doc = concat!("Elementwise `", stringify!($name), "` with broadcasting.")]
            pub fn $name(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, BuildError> {
                self.one(Op::Point(PointFn::$function), &[a, b])
            })*
        }
    };
}

unary_methods!(
    neg = Neg,
    exp = Exp,
    sqrt = Sqrt,
    tanh = Tanh,
    relu = Relu,
    sigmoid = Sigmoid,
    gelu = Gelu,
    silu = Silu
);
binary_methods!(add = Add, sub = Sub, mul = Mul, div = Div, max = Max, min = Min);

impl Builder {
    /// Matrix product of the last two axes.
    pub fn matmul(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, BuildError> {
        self.one(Op::MatMul {}, &[a, b])
    }

    /// `x @ weight^T + bias`.
    pub fn linear(&mut self, x: ValueId, weight: ValueId, bias: ValueId) -> Result<ValueId, BuildError> {
        self.one(Op::Linear {}, &[x, weight, bias])
    }

    pub fn reshape(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, BuildError> {
        self.one(Op::Reshape { shape: shape.to_vec() }, &[x])
    }

    pub fn permute(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId, BuildError> {
        self.one(Op::Permute { axes: axes.to_vec() }, &[x])
    }

    pub fn slice(&mut self, x: ValueId, axis: usize, start: i64, end: i64, step: i64) -> Result<ValueId, BuildError> {
        self.one(Op::Slice { axis, start, end, step }, &[x])
    }

    pub fn softmax(&mut self, x: ValueId, axis: usize) -> Result<ValueId, BuildError> {
        self.one(Op::Softmax { axis }, &[x])
    }
}
