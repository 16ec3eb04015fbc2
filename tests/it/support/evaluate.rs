//! The value of one op, and of a graph without writes, on dense tensors: the oracle for everything after `functional`.
//!
//! Views are evaluated by their definition on indices, not by strides, so that this and the mutating interpreter agree
//! only if both are right. Arithmetic is the scalar meaning of the kernels, in the order of their definition.

use std::collections::BTreeMap;

use situ::ir::{BlockId, Graph, InstId, ValueId};
use situ::ops::{Op, PointFn};
use situ::types::{DType, Layout, TensorType};
use situ_runtime::kernel::call::{Call, Operand, Source, Target, Threads};
use situ_runtime::kernel::domain::for_each_index;
use situ_runtime::kernel::element::{load_bits, store_bits};
use situ_runtime::kernel::{Kernel, PoolFn, ReduceFn, RowFn, Window, reference};
use situ_runtime::point::Program;
use situ_runtime::scalar;

/// A dense, row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub ty: TensorType,
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn zeros(ty: TensorType) -> Tensor {
        Tensor { bytes: vec![0; ty.bytes()], ty }
    }

    fn get(&self, index: &[usize]) -> u64 {
        load_bits(&self.bytes, self.ty.dtype, row_major(&self.ty.shape, index))
    }

    fn set(&mut self, index: &[usize], bits: u64) {
        let position = row_major(&self.ty.shape, index);
        store_bits(&mut self.bytes, self.ty.dtype, position, bits);
    }

    /// The tensor whose element at `index` is the one of `self` at `source(index)`.
    fn gathered(&self, ty: TensorType, source: impl Fn(&[usize]) -> Vec<usize>) -> Tensor {
        let mut made = Tensor::zeros(ty);
        for_each_index(&made.ty.shape.clone(), |index| {
            let bits = self.get(&source(index));
            made.set(index, bits);
        });
        made
    }

    fn reshaped(&self, shape: &[usize]) -> Tensor {
        Tensor { ty: TensorType::new(self.ty.dtype, shape), bytes: self.bytes.clone() }
    }
}

fn row_major(shape: &[usize], index: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |position, (&i, &extent)| position * extent + i)
}

/// The index of a broadcast operand at an index of the result.
fn broadcast(shape: &[usize], index: &[usize]) -> Vec<usize> {
    let new = index.len() - shape.len();
    shape.iter().enumerate().map(|(axis, &extent)| if extent == 1 { 0 } else { index[new + axis] }).collect()
}

/// Values of all outputs and final values of `graph`, which must not write.
pub fn graph(graph: &Graph, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Vec<(u32, Tensor)>), String> {
    let mut values: BTreeMap<ValueId, Tensor> = BTreeMap::new();
    for (input, tensor) in graph.inputs.iter().zip(inputs) {
        values.insert(input.value, tensor.clone());
    }
    block(graph, Graph::BODY, &mut values)?;
    let read = |value: ValueId| known(graph, &values, value);
    let outputs = graph.outputs.iter().map(|output| read(output.value)).collect::<Result<_, _>>()?;
    let finals = graph.finals.iter().map(|&(input, value)| Ok((input, read(value)?))).collect::<Result<_, String>>()?;
    Ok((outputs, finals))
}

fn known(graph: &Graph, values: &BTreeMap<ValueId, Tensor>, value: ValueId) -> Result<Tensor, String> {
    if let Some(constant) = graph.constant_of(value) {
        return Ok(Tensor { ty: constant.ty.clone(), bytes: constant.bytes().into_owned() });
    }
    values.get(&value).cloned().ok_or_else(|| format!("{} has no value", graph.display(value)))
}

fn block(graph: &Graph, id: BlockId, values: &mut BTreeMap<ValueId, Tensor>) -> Result<(), String> {
    for &inst in &graph.block(id).insts {
        let operands: Vec<Tensor> =
            graph.inst(inst).operands.iter().map(|&value| known(graph, values, value)).collect::<Result<_, _>>()?;
        assert!(!graph.inst(inst).mutates, "nothing is written here");
        for (&result, tensor) in graph.inst(inst).results.iter().zip(inst_values(graph, inst, &operands)?) {
            values.insert(result, tensor);
        }
    }
    Ok(())
}

/// Values of the results of an instruction; of a mutating one, what it writes.
pub fn inst_values(graph: &Graph, id: InstId, operands: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let inst = graph.inst(id);
    let types: Vec<TensorType> = inst.results.iter().map(|&result| graph.ty(result).clone()).collect();
    if let Some(&region) = inst.regions.first() {
        let body = graph.block(region);
        let mut values: BTreeMap<ValueId, Tensor> = body.params.iter().copied().zip(operands.iter().cloned()).collect();
        block(graph, region, &mut values)?;
        return body.yields.iter().map(|&value| known(graph, &values, value)).collect();
    }
    op_values(&inst.op, operands, &types)
}

fn op_values(op: &Op, x: &[Tensor], types: &[TensorType]) -> Result<Vec<Tensor>, String> {
    let ty = types[0].clone();
    let one = |tensor: Tensor| Ok(vec![tensor]);
    match op {
        Op::Point(function) => one(point(*function, x, ty)),
        Op::View { .. } | Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
            one(x[0].reshaped(&ty.shape))
        }
        Op::Contiguous {} => one(x[0].clone()),
        Op::Permute { axes } => one(x[0].gathered(ty, |index| {
            let mut source = vec![0; axes.len()];
            axes.iter().zip(index).for_each(|(&axis, &i)| source[axis] = i);
            source
        })),
        Op::Slice { axis, start, step, .. } => one(x[0].gathered(ty, |index| {
            let mut source = index.to_vec();
            source[*axis] = (start + step * index[*axis] as i64) as usize;
            source
        })),
        Op::Select { axis, index: at } => one(x[0].gathered(ty, |index| {
            let mut source = index.to_vec();
            source.insert(*axis, *at);
            source
        })),
        Op::Expand { .. } => one(x[0].gathered(ty, |index| broadcast(&x[0].ty.shape, index))),
        Op::Copy {} => one(x[1].gathered(ty, |index| broadcast(&x[1].ty.shape, index))),
        Op::Split { axis, sizes } => {
            let mut start = 0;
            let part = |(ty, size): (&TensorType, &usize)| {
                let begin = start;
                start += size;
                x[0].gathered(ty.clone(), |index| {
                    let mut source = index.to_vec();
                    source[*axis] += begin;
                    source
                })
            };
            Ok(types.iter().zip(sizes).map(part).collect())
        }
        Op::Update { offset, strides } => {
            let mut made = x[0].clone();
            for_each_index(&x[1].ty.shape, |index| {
                let position =
                    index.iter().zip(strides).fold(*offset as i64, |at, (&i, &stride)| at + i as i64 * stride);
                store_bits(&mut made.bytes, made.ty.dtype, position as usize, x[1].get(index));
            });
            one(made)
        }
        Op::Concat { axis } => {
            let mut made = Tensor::zeros(ty);
            let mut start = 0;
            for part in x {
                for_each_index(&part.ty.shape, |index| {
                    let mut target = index.to_vec();
                    target[*axis] += start;
                    made.set(&target, part.get(index));
                });
                start += part.ty.shape[*axis];
            }
            one(made)
        }
        Op::Pad { before, .. } => {
            let mut made = Tensor::zeros(ty);
            for_each_index(&made.ty.shape.clone(), |index| {
                let source: Option<Vec<usize>> = index
                    .iter()
                    .zip(before)
                    .zip(&x[0].ty.shape)
                    .map(|((&i, &before), &extent)| i.checked_sub(before).filter(|&i| i < extent))
                    .collect();
                let bits = source.map_or_else(|| x[1].get(&[]), |source| x[0].get(&source));
                made.set(index, bits);
            });
            one(made)
        }
        Op::Reduce { function, axes, .. } => one(reduce(*function, axes, &x[0], ty)),
        Op::Softmax { axis } => one(row(RowFn::Softmax, *axis, &x[0])),
        Op::LogSoftmax { axis } => one(row(RowFn::LogSoftmax, *axis, &x[0])),
        Op::LayerNorm { axis, eps } => one(norm(RowFn::LayerNorm { eps: eps.0 }, *axis, x)),
        Op::RmsNorm { axis, eps } => one(norm(RowFn::RmsNorm { eps: eps.0 }, *axis, x)),
        Op::BatchNorm { eps } => one(batch_norm(x, eps.get())),
        Op::MatMul {} => one(matmul(&x[0], &x[1], ty)),
        Op::Linear {} => {
            let swapped = TensorType::new(x[1].ty.dtype, [x[1].ty.shape[1], x[1].ty.shape[0]]);
            let weight = x[1].gathered(swapped, |index| vec![index[1], index[0]]);
            let product = matmul(&x[0], &weight, ty.clone());
            one(match x.get(2) {
                Some(bias) => point(PointFn::Add, &[product, bias.clone()], ty),
                None => product,
            })
        }
        Op::Conv { strides, pads_begin, pads_end, dilations, groups } => {
            let window = Window {
                kernel: x[1].ty.shape[2..].to_vec(),
                strides: strides.clone(),
                pads_begin: pads_begin.clone(),
                pads_end: pads_end.clone(),
                dilations: dilations.clone(),
            };
            let (dtype, groups) = (ty.dtype, *groups);
            let kernel = Kernel::Conv { dtype, window, groups, packed: false, epilogue: Program::identity(dtype) };
            let product = run(kernel, &x[..2], vec![ty.clone()], &[])?.remove(0);
            one(match x.get(2) {
                Some(bias) => {
                    let shape: Vec<usize> = std::iter::once(bias.ty.shape[0]).chain(vec![1; ty.rank() - 2]).collect();
                    point(PointFn::Add, &[product, bias.reshaped(&shape)], ty)
                }
                None => product,
            })
        }
        Op::Pool { function, kernel, strides, pads_begin, pads_end, dilations } => {
            let window = Window {
                kernel: kernel.clone(),
                strides: strides.clone(),
                pads_begin: pads_begin.clone(),
                pads_end: pads_end.clone(),
                dilations: dilations.clone(),
            };
            let function: PoolFn = *function;
            run(Kernel::Pool { function, window, column_major: false }, x, vec![ty], &[])
        }
        Op::Gather { axis } => run(Kernel::Gather { axis: *axis }, x, vec![ty], &[]),
        Op::GatherElements { axis } => run(Kernel::GatherElements { axis: *axis }, x, vec![ty], &[]),
        Op::GatherNd { batch_dims } => run(Kernel::GatherNd { batch_dims: *batch_dims }, x, vec![ty], &[]),
        Op::ScatterElements { axis, function } => {
            run(Kernel::ScatterElements { axis: *axis, function: *function }, &x[1..], vec![ty], &x[..1])
        }
        Op::ScatterNd { function } => run(Kernel::ScatterNd { function: *function }, &x[1..], vec![ty], &x[..1]),
        Op::Cumulative { function, axis, exclusive, reverse } => {
            let (function, axis, exclusive, reverse) = (*function, *axis, *exclusive, *reverse);
            run(Kernel::Cumulative { function, axis, exclusive, reverse }, x, vec![ty], &[])
        }
        Op::TopK { axis, largest, sorted, .. } => {
            run(Kernel::TopK { axis: *axis, largest: *largest, sorted: *sorted }, x, types.to_vec(), &[])
        }
        Op::ArgReduce { largest, axis, last, .. } => {
            let mut shape = x[0].ty.shape.clone();
            shape[*axis] = 1;
            let kernel = Kernel::ArgReduce { largest: *largest, axis: *axis, last: *last };
            let made = run(kernel, x, vec![TensorType::new(ty.dtype, shape)], &[])?.remove(0);
            one(made.reshaped(&ty.shape))
        }
        other => Err(format!("the test oracle does not know {}", other.name())),
    }
}

fn point(function: PointFn, x: &[Tensor], ty: TensorType) -> Tensor {
    let dtypes: Vec<DType> = x.iter().map(|x| x.ty.dtype).collect();
    let mut made = Tensor::zeros(ty);
    for_each_index(&made.ty.shape.clone(), |index| {
        let args: Vec<u64> = x.iter().map(|x| x.get(&broadcast(&x.ty.shape, index))).collect();
        made.set(index, scalar::eval(function, &dtypes, &args));
    });
    made
}

/// A kernel on dense operands, by its reference meaning. `old` is what the results hold before.
fn run(kernel: Kernel, x: &[Tensor], types: Vec<TensorType>, old: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let layouts = |types: &[TensorType]| types.iter().map(|ty| Layout::dense(&ty.shape)).collect::<Vec<_>>();
    let read: Vec<TensorType> = x.iter().map(|x| x.ty.clone()).collect();
    run_layouts(kernel, x, &layouts(&read), &types, &layouts(&types), old)
}

fn run_layouts(
    kernel: Kernel,
    x: &[Tensor],
    read: &[Layout],
    types: &[TensorType],
    written: &[Layout],
    old: &[Tensor],
) -> Result<Vec<Tensor>, String> {
    let mut made: Vec<Tensor> = match old {
        [] => types.iter().map(|ty| Tensor::zeros(ty.clone())).collect(),
        old => old.to_vec(),
    };
    let operand = |(x, layout): (&'_ _, &'_ _)| -> Operand<'_> { operand_of(x, layout) };
    let reads: Vec<Operand<'_>> = x.iter().zip(read).map(operand).collect();
    let mut writes: Vec<Target<'_>> = made
        .iter_mut()
        .zip(written)
        .map(|(made, layout)| Target { bytes: &mut made.bytes, dtype: made.ty.dtype, layout })
        .collect();
    let mut workspace = vec![0u8; reference::workspace_bytes(&kernel)];
    let threads = Threads { pool: None, count: 1 };
    let call = Call { reads: &reads, writes: &mut writes, workspace: &mut workspace, threads };
    reference::run(&kernel, call).map_err(|error| error.to_string())?;
    Ok(made)
}

fn operand_of<'a>(x: &'a Tensor, layout: &'a Layout) -> Operand<'a> {
    Operand { source: Source::Bytes(&x.bytes), dtype: x.ty.dtype, layout }
}

fn reduce(function: ReduceFn, axes: &[usize], x: &Tensor, ty: TensorType) -> Tensor {
    let dtype = ty.dtype;
    let kept: Vec<usize> =
        x.ty.shape.iter().enumerate().map(|(axis, &extent)| if axes.contains(&axis) { 1 } else { extent }).collect();
    let mut axes = axes.to_vec();
    axes.sort_unstable();
    let (prologue, epilogue) = (Program::identity(dtype), Program::identity(dtype));
    let kernel = Kernel::Reduce { function, axes, prologue, epilogue };
    let made = run(kernel, std::slice::from_ref(x), vec![TensorType::new(dtype, kept)], &[]);
    made.expect("a reduction does not fail").remove(0).reshaped(&ty.shape)
}

/// A row function along one axis: the axis is brought to the end by the layouts.
fn row(function: RowFn, axis: usize, x: &Tensor) -> Tensor {
    let dense = Layout::dense(&x.ty.shape);
    let order: Vec<usize> = (0..dense.rank()).filter(|&other| other != axis).chain([axis]).collect();
    let layout = Layout {
        offset: 0,
        shape: order.iter().map(|&axis| dense.shape[axis]).collect(),
        strides: order.iter().map(|&axis| dense.strides[axis]).collect(),
    };
    let dtype = x.ty.dtype;
    let kernel = Kernel::Row { function, prologue: Program::identity(dtype), epilogue: Program::identity(dtype) };
    let layouts = [layout];
    let made = run_layouts(kernel, std::slice::from_ref(x), &layouts, &[x.ty.clone()], &layouts, &[]);
    made.expect("a row function does not fail").remove(0)
}

/// Normalisation over the axes from `axis` on, then scale and bias.
fn norm(function: RowFn, axis: usize, x: &[Tensor]) -> Tensor {
    let row_len: usize = x[0].ty.shape[axis..].iter().product();
    let rows: usize = x[0].ty.shape[..axis].iter().product();
    let mut made = row(function, 1, &x[0].reshaped(&[rows, row_len])).reshaped(&x[0].ty.shape);
    for (operand, function) in x[1..].iter().zip([PointFn::Mul, PointFn::Add]) {
        made = point(function, &[made, operand.clone()], x[0].ty.clone());
    }
    made
}

fn batch_norm(x: &[Tensor], eps: f64) -> Tensor {
    let dtype = x[0].ty.dtype;
    let shape: Vec<usize> = std::iter::once(x[1].ty.shape[0]).chain(vec![1; x[0].ty.rank() - 2]).collect();
    let [scale, bias, mean, var] = [1, 2, 3, 4].map(|place| x[place].reshaped(&shape));
    let ty = x[0].ty.clone();
    let small = TensorType::new(dtype, shape);
    let eps = Tensor { ty: TensorType::scalar(dtype), bytes: element_bytes(dtype, eps) };
    let std = point(PointFn::Sqrt, &[point(PointFn::Add, &[var, eps], small.clone())], small);
    let centred = point(PointFn::Sub, &[x[0].clone(), mean], ty.clone());
    let unit = point(PointFn::Div, &[centred, std], ty.clone());
    point(PointFn::Add, &[point(PointFn::Mul, &[unit, scale], ty.clone()), bias], ty)
}

fn element_bytes(dtype: DType, value: f64) -> Vec<u8> {
    let bits = scalar::cast(DType::F64, dtype, value.to_bits());
    bits.to_le_bytes()[..dtype.size()].to_vec()
}

fn matmul(a: &Tensor, b: &Tensor, ty: TensorType) -> Tensor {
    let (rows, columns) = (a.ty.rank() > 1, b.ty.rank() > 1);
    let a = if rows { a.clone() } else { a.reshaped(&[1, a.ty.shape[0]]) };
    let b = if columns { b.clone() } else { b.reshaped(&[b.ty.shape[0], 1]) };
    let mut shape = ty.shape.clone();
    if !columns {
        shape.push(1);
    }
    if !rows {
        shape.insert(shape.len() - 1, 1);
    }
    let batch = &shape[..shape.len() - 2];
    // Batch axes that broadcast have stride zero.
    let layout = |x: &Tensor| {
        let dense = Layout::dense(&x.ty.shape);
        let own = dense.rank() - 2;
        let mut strides: Vec<i64> = (0..batch.len())
            .map(|axis| match (axis + own).checked_sub(batch.len()) {
                Some(own) if dense.shape[own] != 1 => dense.strides[own],
                _ => 0,
            })
            .collect();
        strides.extend_from_slice(&dense.strides[own..]);
        Layout { offset: 0, shape: [batch, &dense.shape[own..]].concat(), strides }
    };
    let kernel = Kernel::MatMul { dtype: ty.dtype, packed: false, epilogue: Program::identity(ty.dtype) };
    let layouts = [layout(&a), layout(&b)];
    let written = [Layout::dense(&shape)];
    let made = run_layouts(kernel, &[a, b], &layouts, &[TensorType::new(ty.dtype, shape)], &written, &[]);
    made.expect("a product does not fail").remove(0).reshaped(&ty.shape)
}
