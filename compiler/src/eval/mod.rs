//! What a graph means, op by op, without any optimisation: the oracle of the compiler.
//!
//! Constants are folded with [`evaluate_op`], and compiled programs are compared with [`evaluate`]. Elements are computed
//! by the runtime's scalar meanings and reference kernels, one op at a time, every result in bytes of its own. It is
//! made to be right and small; it is slow.

mod control;
mod kernel;
mod view;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use situ_runtime::kernel::domain::{Odometer, for_each_index};
use situ_runtime::kernel::element::{load_bits, number, number_bits, store_bits};
use situ_runtime::scalar;

use crate::ir::{BlockId, Def, Graph, InstId, ValueId};
use crate::ops::{Op, PointFn};
use crate::types::{DType, Layout, TensorType};

/// A tensor with its elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub ty: TensorType,
    /// Row-major, little endian.
    pub bytes: Arc<[u8]>,
}

impl Tensor {
    /// A tensor of elements that are there. Panics unless there are as many bytes as the type says.
    pub fn new(ty: TensorType, bytes: impl Into<Arc<[u8]>>) -> Tensor {
        let bytes = bytes.into();
        assert_eq!(bytes.len(), ty.bytes(), "the bytes of a tensor fit its type {ty}");
        Tensor { ty, bytes }
    }

    pub fn from_f32(shape: &[usize], elements: &[f32]) -> Tensor {
        let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        Tensor::new(TensorType::new(DType::F32, shape), bytes)
    }

    pub fn from_i64(shape: &[usize], elements: &[i64]) -> Tensor {
        let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
        Tensor::new(TensorType::new(DType::I64, shape), bytes)
    }

    /// The bits of element `position` in row-major order.
    pub fn bits(&self, position: usize) -> u64 {
        load_bits(&self.bytes, self.ty.dtype, position)
    }

    /// The elements as numbers.
    pub fn floats(&self) -> Vec<f64> {
        (0..self.ty.len()).map(|i| number(self.ty.dtype, self.bits(i))).collect()
    }

    /// The elements as integers; floats truncate towards zero.
    pub fn ints(&self) -> Vec<i64> {
        (0..self.ty.len()).map(|i| scalar::cast(self.ty.dtype, DType::I64, self.bits(i)) as i64).collect()
    }

    fn zeros(ty: TensorType) -> Result<Buffer, String> {
        // The oracle works on whole tensors; a gigabyte is far beyond what anybody compares element by element.
        if ty.bytes() > 1 << 30 {
            return Err(format!("{ty} is too large to be evaluated"));
        }
        Ok(Buffer { bytes: vec![0; ty.bytes()], ty })
    }
}

/// A tensor being computed.
struct Buffer {
    ty: TensorType,
    bytes: Vec<u8>,
}

impl Buffer {
    fn finish(self) -> Tensor {
        Tensor { ty: self.ty, bytes: self.bytes.into() }
    }
}

/// Trips of all loops that [`evaluate`] runs before it gives up.
pub const MAX_TRIPS: u64 = 1 << 20;

/// The outputs of a graph without writes for inputs in the graph's order.
///
/// Errors: inputs that do not fit, a mutating instruction, an index outside its axis, more than [`MAX_TRIPS`] trips.
pub fn evaluate(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    evaluate_within(graph, inputs, MAX_TRIPS)
}

/// As [`evaluate`], giving up after so many trips of all loops together: a program may loop for ever.
pub fn evaluate_within(graph: &Graph, inputs: &[Tensor], trips: u64) -> Result<Vec<Tensor>, String> {
    if inputs.len() != graph.inputs.len() {
        return Err(format!("expected {} inputs, found {}", graph.inputs.len(), inputs.len()));
    }
    let mut run = Run { values: vec![None; graph.values.len()], trips, last: vec![None; graph.blocks.len()] };
    for (input, tensor) in graph.inputs.iter().zip(inputs) {
        if *graph.ty(input.value) != tensor.ty {
            return Err(format!("input {} is {}, found {}", input.name, graph.ty(input.value), tensor.ty));
        }
        run.values[input.value.index()] = Some(tensor.clone());
    }
    run_block(graph, Graph::BODY, &mut run)?;
    graph.outputs.iter().map(|output| read(graph, &run.values, output.value)).collect()
}

/// A run of a graph.
struct Run {
    /// Tensors of the values that are known and still needed.
    values: Vec<Option<Tensor>>,
    /// Trips left.
    trips: u64,
    /// For each block that ran: after which instruction each of its own values is no longer needed.
    last: Vec<Option<Arc<[Vec<ValueId>]>>>,
}

impl Run {
    fn spend(&mut self) -> Result<(), String> {
        self.trips = self.trips.checked_sub(1).ok_or("the loops of the program have too many trips to evaluate")?;
        Ok(())
    }
}

/// The tensor of a value: computed before, or a constant.
fn read(graph: &Graph, values: &[Option<Tensor>], value: ValueId) -> Result<Tensor, String> {
    if let Some(tensor) = &values[value.index()] {
        return Ok(tensor.clone());
    }
    match graph.value(value).def {
        Def::Constant(id) => {
            let constant = graph.constant(id);
            if constant.ty.bytes() > 1 << 32 {
                return Err(format!("{} is too large to be evaluated", constant.ty));
            }
            Ok(Tensor::new(constant.ty.clone(), constant.bytes().into_owned()))
        }
        _ => Err(format!("{} is read before it is defined", graph.display(value))),
    }
}

/// For each instruction of a block, the values of the block that nothing needs afterwards.
fn dead_after(graph: &Graph, block: BlockId) -> Arc<[Vec<ValueId>]> {
    let insts = &graph.block(block).insts;
    let mut last: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (at, &id) in insts.iter().enumerate() {
        let mut reads: Vec<ValueId> = graph.inst(id).operands.clone();
        let mut regions = graph.inst(id).regions.clone();
        while let Some(region) = regions.pop() {
            let region = graph.block(region);
            reads.extend(&region.yields);
            for &inner in &region.insts {
                reads.extend(&graph.inst(inner).operands);
                regions.extend(&graph.inst(inner).regions);
            }
        }
        last.extend(reads.into_iter().map(|value| (value, at)));
    }
    let own_insts: HashSet<InstId> = insts.iter().copied().collect();
    // What comes from outside of a region is needed again at its next trip.
    let inside = |value: &ValueId| match graph.value(*value).def {
        Def::Result(inst, _) => own_insts.contains(&inst),
        Def::Param(of, _) => of == block,
        Def::Input(_) | Def::Constant(_) => block == Graph::BODY,
    };
    let ends = graph.outputs.iter().map(|output| output.value).filter(|_| block == Graph::BODY);
    for value in ends.chain(graph.block(block).yields.iter().copied()) {
        last.remove(&value);
    }
    let mut dead = vec![Vec::new(); insts.len()];
    let own: HashSet<ValueId> = last.keys().copied().filter(inside).collect();
    for (value, at) in last {
        if own.contains(&value) {
            dead[at].push(value);
        }
    }
    dead.into()
}

fn run_block(graph: &Graph, block: BlockId, run: &mut Run) -> Result<(), String> {
    let dead = run.last[block.index()].get_or_insert_with(|| dead_after(graph, block)).clone();
    for (at, &id) in graph.block(block).insts.iter().enumerate() {
        let inst = graph.inst(id);
        let name = inst.op.name();
        if inst.mutates {
            return Err(format!("{name}_ writes; only graphs without writes have a value for every name"));
        }
        let operands: Vec<Tensor> =
            inst.operands.iter().map(|&operand| read(graph, &run.values, operand)).collect::<Result<_, _>>()?;
        let results = match inst.regions.is_empty() {
            false => control::run_regions(graph, inst, operands, run)?,
            true => evaluate_op(&inst.op, &operands).map_err(|why| format!("{}: {why}", inst.location.text))?,
        };
        for (&value, tensor) in inst.results.iter().zip(results) {
            if *graph.ty(value) != tensor.ty {
                return Err(format!("{name} gives {}, {} is expected", tensor.ty, graph.ty(value)));
            }
            run.values[value.index()] = Some(tensor);
        }
        for value in &dead[at] {
            run.values[value.index()] = None;
        }
    }
    Ok(())
}

/// The yields of a region for its parameters.
fn run_body(graph: &Graph, body: BlockId, params: Vec<Tensor>, run: &mut Run) -> Result<Vec<Tensor>, String> {
    let block = graph.block(body);
    if block.params.len() != params.len() {
        return Err(format!("a body takes {} operands, found {}", block.params.len(), params.len()));
    }
    for (&param, tensor) in block.params.iter().zip(params) {
        run.values[param.index()] = Some(tensor);
    }
    run_block(graph, body, run)?;
    block.yields.iter().map(|&value| read(graph, &run.values, value)).collect()
}

/// The results of one op on tensors.
pub fn evaluate_op(op: &Op, operands: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let types: Vec<TensorType> = operands.iter().map(|operand| operand.ty.clone()).collect();
    let results = op.infer(&types)?;
    if let Op::Point(function) = op {
        return Ok(vec![point(*function, operands, &results[0])?]);
    }
    if let Some(layouts) = view::layouts(op, &types[0], &results) {
        let seen = layouts.iter().zip(results).map(|(layout, ty)| gathered(&operands[0], layout, ty));
        return seen.collect();
    }
    match op {
        Op::Contiguous {} => Ok(vec![operands[0].clone()]),
        // A row-major tensor has the bytes of its last axis side by side.
        Op::ViewDtype { .. } | Op::Bitcast { .. } => {
            Ok(vec![Tensor { ty: results[0].clone(), bytes: operands[0].bytes.clone() }])
        }
        Op::AsStrided { .. } => {
            Err("as_strided sees a storage, which a value is not; its value form is strided".into())
        }
        Op::Copy {} => {
            Ok(vec![gathered(&operands[1], &view::broadcast(&types[1].shape, &types[0].shape), results[0].clone())?])
        }
        Op::Update { offset, strides } => {
            let layout = Layout { offset: *offset as i64, shape: types[1].shape.clone(), strides: strides.clone() };
            let mut base = Buffer { ty: types[0].clone(), bytes: operands[0].bytes.to_vec() };
            scatter(&mut base, &layout, &operands[1]);
            Ok(vec![base.finish()])
        }
        Op::Concat { axis } => {
            let mut whole = Tensor::zeros(results[0].clone())?;
            let dense = Layout::dense(&results[0].shape);
            let mut start = 0;
            for operand in operands {
                let region = Layout {
                    offset: start as i64 * dense.strides[*axis],
                    shape: operand.ty.shape.clone(),
                    strides: dense.strides.clone(),
                };
                scatter(&mut whole, &region, operand);
                start += operand.ty.shape[*axis];
            }
            Ok(vec![whole.finish()])
        }
        Op::Pad { before, .. } => {
            let filling = Layout { offset: 0, shape: results[0].shape.clone(), strides: vec![0; results[0].rank()] };
            let filled = gathered(&operands[1], &filling, results[0].clone())?;
            let mut whole = Buffer { ty: filled.ty, bytes: filled.bytes.to_vec() };
            let dense = Layout::dense(&results[0].shape);
            let offset = before.iter().zip(&dense.strides).map(|(&n, &stride)| n as i64 * stride).sum();
            scatter(
                &mut whole,
                &Layout { offset, shape: types[0].shape.clone(), strides: dense.strides },
                &operands[0],
            );
            Ok(vec![whole.finish()])
        }
        _ => kernel::evaluate(op, operands, results),
    }
}

/// An elementwise function with broadcasting.
fn point(function: PointFn, operands: &[Tensor], result: &TensorType) -> Result<Tensor, String> {
    let mut out = Tensor::zeros(result.clone())?;
    let dtypes: Vec<DType> = operands.iter().map(|operand| operand.ty.dtype).collect();
    let layouts: Vec<Layout> =
        operands.iter().map(|operand| view::broadcast(&operand.ty.shape, &result.shape)).collect();
    let zero = vec![0i64; result.rank()];
    let strides = |i: usize| layouts.get(i).map_or(zero.as_slice(), |layout| &layout.strides);
    let mut odometer = Odometer::new(&result.shape, [(0, strides(0)), (0, strides(1)), (0, strides(2))]);
    let mut at = 0;
    while let Some(positions) = odometer.advance() {
        let mut args = [0u64; 3];
        for ((arg, operand), position) in args.iter_mut().zip(operands).zip(positions) {
            *arg = operand.bits(position as usize);
        }
        store_bits(&mut out.bytes, result.dtype, at, scalar::eval(function, &dtypes, &args[..operands.len()]));
        at += 1;
    }
    Ok(out.finish())
}

/// The elements of `x` at the positions of `layout`, row-major.
fn gathered(x: &Tensor, layout: &Layout, ty: TensorType) -> Result<Tensor, String> {
    if layout.offset == 0 && layout.is_dense() && layout.len() == x.ty.len() {
        return Ok(Tensor { ty, bytes: x.bytes.clone() });
    }
    let mut out = Tensor::zeros(ty)?;
    let mut odometer = Odometer::new(&layout.shape, [(layout.offset, layout.strides.as_slice())]);
    let mut at = 0;
    while let Some([position]) = odometer.advance() {
        store_bits(&mut out.bytes, out.ty.dtype, at, x.bits(position as usize));
        at += 1;
    }
    Ok(out.finish())
}

/// Writes the elements of `x` to the positions of `layout`.
fn scatter(out: &mut Buffer, layout: &Layout, x: &Tensor) {
    let mut odometer = Odometer::new(&layout.shape, [(layout.offset, layout.strides.as_slice())]);
    let mut at = 0;
    while let Some([position]) = odometer.advance() {
        store_bits(&mut out.bytes, out.ty.dtype, position as usize, x.bits(at));
        at += 1;
    }
}

/// The largest difference of two tensors of one type against `absolute + relative * |expected|`, as a sentence, or `None`
/// if every element is within it. NaN equals NaN, an infinity only itself.
pub fn difference(found: &Tensor, expected: &Tensor, relative: f64, absolute: f64) -> Option<String> {
    if found.ty != expected.ty {
        return Some(format!("found {}, expected {}", found.ty, expected.ty));
    }
    let mut worst: Option<(f64, String)> = None;
    let mut at = 0;
    for_each_index(&expected.ty.shape, |index| {
        let (a, b) = (number(found.ty.dtype, found.bits(at)), number(expected.ty.dtype, expected.bits(at)));
        let exact = !found.ty.dtype.is_float() && found.bits(at) == expected.bits(at);
        let excess = if exact || a == b || (a.is_nan() && b.is_nan()) {
            0.0
        } else if a.is_finite() && b.is_finite() {
            (a - b).abs() - (absolute + relative * b.abs())
        } else {
            f64::INFINITY
        };
        if excess > 0.0 && worst.as_ref().is_none_or(|(most, _)| excess > *most) {
            worst = Some((excess, format!("at {index:?} found {a}, expected {b}")));
        }
        at += 1;
    });
    worst.map(|(_, sentence)| sentence)
}

/// `value` as an element of `dtype`.
pub fn element(dtype: DType, value: f64) -> u64 {
    number_bits(dtype, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::ReduceFn;

    #[test]
    fn views_and_movement_read_the_right_elements() {
        let x = Tensor::from_f32(&[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let transposed = evaluate_op(&Op::Permute { axes: vec![1, 0] }, std::slice::from_ref(&x)).expect("permute");
        assert_eq!(transposed[0].floats(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let back =
            evaluate_op(&Op::Slice { axis: 1, start: 2, end: -1, step: -2 }, std::slice::from_ref(&x)).expect("slice");
        assert_eq!(back[0].floats(), [2.0, 0.0, 5.0, 3.0]);
        let parts = evaluate_op(&Op::Split { axis: 1, sizes: vec![1, 2] }, std::slice::from_ref(&x)).expect("split");
        assert_eq!(parts[1].floats(), [1.0, 2.0, 4.0, 5.0]);
        let again = evaluate_op(&Op::Concat { axis: 1 }, &parts).expect("concat");
        assert_eq!(again[0], x);
        let zero = Tensor::from_f32(&[], &[9.0]);
        let padded = evaluate_op(&Op::Pad { before: vec![0, 1], after: vec![0, 0] }, &[x.clone(), zero]).expect("pad");
        assert_eq!(padded[0].floats(), [9.0, 0.0, 1.0, 2.0, 9.0, 3.0, 4.0, 5.0]);
        let sum = Op::Reduce { function: ReduceFn::Sum, axes: vec![0], keepdim: false };
        assert_eq!(evaluate_op(&sum, &[x]).expect("sum")[0].floats(), [3.0, 5.0, 7.0]);
    }

    #[test]
    fn products_and_rows_follow_their_formulas() {
        let a = Tensor::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let b = Tensor::from_f32(&[2], &[1.0, -1.0]);
        assert_eq!(evaluate_op(&Op::MatMul {}, &[a.clone(), b.clone()]).expect("matmul")[0].floats(), [-1.0, -1.0]);
        assert_eq!(evaluate_op(&Op::MatMul {}, &[b, a.clone()]).expect("matmul")[0].floats(), [-2.0, -2.0]);
        let soft = evaluate_op(&Op::Softmax { axis: 0 }, &[a]).expect("softmax");
        let expected = 1.0 / (1.0 + (-2.0f64).exp());
        assert!((soft[0].floats()[2] - expected).abs() < 1e-6);
    }
}
