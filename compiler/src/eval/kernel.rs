//! Ops that are kernels, run by the runtime's reference kernels, and composite ops, by their definitions.

use situ_runtime::kernel::call::{Call, Operand, Source, Target, Threads};
use situ_runtime::kernel::{Kernel, RowFn, Window, reference};
use situ_runtime::point::Program;

use super::{Tensor, evaluate_op, view};
use crate::ops::{Op, PointFn};
use crate::types::{Layout, TensorType};

type Evaluated = Result<Vec<Tensor>, String>;

/// The results, of types `results`, of an op that is neither a view nor elementwise nor movement.
pub fn evaluate(op: &Op, operands: &[Tensor], results: Vec<TensorType>) -> Evaluated {
    let x = &operands[0];
    let dtype = x.ty.dtype;
    let identity = Program::identity;
    let window = |kernel: &[usize], strides: &[usize], before: &[usize], after: &[usize], dilations: &[usize]| Window {
        kernel: kernel.to_vec(),
        strides: strides.to_vec(),
        pads_begin: before.to_vec(),
        pads_end: after.to_vec(),
        dilations: dilations.to_vec(),
    };
    match op {
        Op::Reduce { function, axes, .. } => {
            let kept: Vec<usize> =
                (0..x.ty.rank()).map(|axis| if axes.contains(&axis) { 1 } else { x.ty.shape[axis] }).collect();
            let kernel = Kernel::Reduce {
                function: *function,
                axes: axes.clone(),
                prologue: identity(dtype),
                epilogue: identity(dtype),
            };
            let reduced = call(&kernel, operands, vec![TensorType::new(dtype, kept)])?;
            Ok(reduced.into_iter().map(|y| reshaped(y, &results[0])).collect())
        }
        Op::Softmax { axis } => along(RowFn::Softmax, x, *axis),
        Op::LogSoftmax { axis } => along(RowFn::LogSoftmax, x, *axis),
        Op::LayerNorm { axis, eps } => normalised(RowFn::LayerNorm { eps: eps.0 }, operands, *axis),
        Op::RmsNorm { axis, eps } => normalised(RowFn::RmsNorm { eps: eps.0 }, operands, *axis),
        Op::MatMul {} => matmul(operands, &results[0]),
        Op::Linear {} => {
            let weight = evaluate_op(&Op::Permute { axes: vec![1, 0] }, &operands[1..2])?;
            let product = evaluate_op(&Op::MatMul {}, &[x.clone(), weight[0].clone()])?;
            match operands.get(2) {
                Some(bias) => evaluate_op(&Op::Point(PointFn::Add), &[product[0].clone(), bias.clone()]),
                None => Ok(product),
            }
        }
        Op::BatchNorm { eps } => batch_norm(operands, eps.get()),
        Op::GroupNorm { groups, eps } => {
            let mut shape = vec![x.ty.shape[0], *groups];
            shape.push(x.ty.len() / (shape[0] * shape[1]).max(1));
            let grouped = reshaped(x.clone(), &TensorType::new(dtype, shape));
            let rows = row(RowFn::LayerNorm { eps: eps.0 }, &grouped)?;
            let centred = reshaped(rows, &x.ty);
            let scaled = point(PointFn::Mul, &centred, &per_channel(&operands[1], x))?;
            Ok(vec![point(PointFn::Add, &scaled, &per_channel(&operands[2], x))?])
        }
        Op::Conv { strides, pads_begin, pads_end, dilations, groups } => {
            let window = window(&operands[1].ty.shape[2..], strides, pads_begin, pads_end, dilations);
            let kernel = Kernel::Conv { dtype, window, groups: *groups, packed: false, epilogue: identity(dtype) };
            with_bias(call(&kernel, &operands[..2], results)?, operands)
        }
        Op::ConvTranspose { strides, pads_begin, pads_end, dilations, groups, .. } => {
            let window = window(&operands[1].ty.shape[2..], strides, pads_begin, pads_end, dilations);
            let kernel = Kernel::ConvTranspose { dtype, window, groups: *groups, epilogue: identity(dtype) };
            with_bias(call(&kernel, &operands[..2], results)?, operands)
        }
        Op::Pool { function, kernel, strides, pads_begin, pads_end, dilations } => {
            let window = window(kernel, strides, pads_begin, pads_end, dilations);
            call(&Kernel::Pool { function: *function, window, column_major: false }, operands, results)
        }
        Op::MaxPoolIndices { kernel, strides, pads_begin, pads_end, dilations, column_major } => {
            let window = window(kernel, strides, pads_begin, pads_end, dilations);
            let function = situ_runtime::kernel::PoolFn::Max;
            call(&Kernel::Pool { function, window, column_major: *column_major }, operands, results)
        }
        Op::Gather { axis } => call(&Kernel::Gather { axis: *axis }, operands, results),
        Op::GatherElements { axis } => call(&Kernel::GatherElements { axis: *axis }, operands, results),
        Op::GatherNd { batch_dims } => call(&Kernel::GatherNd { batch_dims: *batch_dims }, operands, results),
        Op::ScatterElements { axis, function } => {
            let kernel = Kernel::ScatterElements { axis: *axis, function: *function };
            call_into(&kernel, &operands[1..], results, Some(x))
        }
        Op::ScatterNd { function } => {
            call_into(&Kernel::ScatterNd { function: *function }, &operands[1..], results, Some(x))
        }
        Op::DynamicSlice { axes, .. } => call(&Kernel::DynamicSlice { axes: axes.clone() }, operands, results),
        Op::DynamicUpdate { axes } => {
            call_into(&Kernel::DynamicUpdate { axes: axes.clone() }, &operands[1..], results, Some(x))
        }
        Op::ArgReduce { largest, axis, last, .. } => {
            let kernel = Kernel::ArgReduce { largest: *largest, axis: *axis, last: *last };
            let mut kept = x.ty.shape.clone();
            kept[*axis] = 1;
            let positions = call(&kernel, operands, vec![TensorType::new(results[0].dtype, kept)])?;
            Ok(positions.into_iter().map(|y| reshaped(y, &results[0])).collect())
        }
        Op::TopK { axis, largest, sorted, .. } => {
            call(&Kernel::TopK { axis: *axis, largest: *largest, sorted: *sorted }, operands, results)
        }
        Op::Cumulative { function, axis, exclusive, reverse } => {
            let kernel =
                Kernel::Cumulative { function: *function, axis: *axis, exclusive: *exclusive, reverse: *reverse };
            call(&kernel, operands, results)
        }
        Op::Resize { function, axes, extrapolation, .. } => {
            let extrapolation = extrapolation.map(|value| value.0);
            call(&Kernel::Resize { function: *function, axes: axes.clone(), extrapolation }, operands, results)
        }
        Op::Recurrent { function, hidden, reverse, clip, input_forget } => {
            let kernel = Kernel::Recurrent {
                function: *function,
                hidden: *hidden,
                reverse: reverse.clone(),
                clip: clip.map(|value| value.0),
                input_forget: *input_forget,
                packed: false,
            };
            call(&kernel, operands, results)
        }
        _ => Err(format!("{} has no value by itself", op.name())),
    }
}

fn call(kernel: &Kernel, operands: &[Tensor], results: Vec<TensorType>) -> Evaluated {
    call_into(kernel, operands, results, None)
}

/// Runs a reference kernel on dense operands. `base` is what the first result holds before.
fn call_into(kernel: &Kernel, operands: &[Tensor], results: Vec<TensorType>, base: Option<&Tensor>) -> Evaluated {
    let layouts: Vec<Layout> = operands.iter().map(|operand| Layout::dense(&operand.ty.shape)).collect();
    call_strided(kernel, operands, &layouts, results, base)
}

fn call_strided(
    kernel: &Kernel,
    operands: &[Tensor],
    layouts: &[Layout],
    results: Vec<TensorType>,
    base: Option<&Tensor>,
) -> Evaluated {
    let reads: Vec<Operand> = operands
        .iter()
        .zip(layouts)
        .map(|(operand, layout)| Operand { source: Source::Bytes(&operand.bytes), dtype: operand.ty.dtype, layout })
        .collect();
    let mut buffers = results.into_iter().map(Tensor::zeros).collect::<Result<Vec<_>, _>>()?;
    if let (Some(base), Some(first)) = (base, buffers.first_mut()) {
        first.bytes.copy_from_slice(&base.bytes);
    }
    let written: Vec<Layout> = buffers.iter().map(|buffer| Layout::dense(&buffer.ty.shape)).collect();
    let mut writes: Vec<Target> = buffers
        .iter_mut()
        .zip(&written)
        .map(|(buffer, layout)| Target { bytes: &mut buffer.bytes, dtype: buffer.ty.dtype, layout })
        .collect();
    let mut workspace = vec![0u64; reference::workspace_bytes(kernel).div_ceil(8)];
    let call = Call {
        reads: &reads,
        writes: &mut writes,
        workspace: bytemuck::cast_slice_mut(&mut workspace),
        threads: Threads { pool: None, count: 1 },
    };
    reference::run(kernel, call).map_err(|error| error.to_string())?;
    Ok(buffers.into_iter().map(super::Buffer::finish).collect())
}

fn reshaped(x: Tensor, ty: &TensorType) -> Tensor {
    Tensor { ty: ty.clone(), bytes: x.bytes }
}

fn point(function: PointFn, a: &Tensor, b: &Tensor) -> Result<Tensor, String> {
    Ok(evaluate_op(&Op::Point(function), &[a.clone(), b.clone()])?.swap_remove(0))
}

/// A row function along the last axis.
fn row(function: RowFn, x: &Tensor) -> Result<Tensor, String> {
    let dtype = x.ty.dtype;
    let kernel = Kernel::Row { function, prologue: Program::identity(dtype), epilogue: Program::identity(dtype) };
    Ok(call(&kernel, std::slice::from_ref(x), vec![x.ty.clone()])?.swap_remove(0))
}

/// A row function along any axis.
fn along(function: RowFn, x: &Tensor, axis: usize) -> Evaluated {
    let mut axes: Vec<usize> = (0..x.ty.rank()).collect();
    let last = axes.len() - 1;
    axes.swap(axis, last);
    let turn = Op::Permute { axes };
    let turned = evaluate_op(&turn, std::slice::from_ref(x))?;
    evaluate_op(&turn, &[row(function, &turned[0])?])
}

/// A norm over the axes from `axis` on, then scale and bias.
fn normalised(function: RowFn, operands: &[Tensor], axis: usize) -> Evaluated {
    let x = &operands[0];
    let outer: usize = x.ty.shape[..axis].iter().product();
    let inner: usize = x.ty.shape[axis..].iter().product();
    let rows = row(function, &reshaped(x.clone(), &TensorType::new(x.ty.dtype, vec![outer, inner])))?;
    let mut y = reshaped(rows, &x.ty);
    for (operand, function) in operands[1..].iter().zip([PointFn::Mul, PointFn::Add]) {
        y = point(function, &y, operand)?;
    }
    Ok(vec![y])
}

/// A vector over the channels of `x`, in a shape that broadcasts over it.
fn per_channel(v: &Tensor, x: &Tensor) -> Tensor {
    let mut shape = vec![1; x.ty.rank()];
    shape[1] = v.ty.len();
    reshaped(v.clone(), &TensorType::new(v.ty.dtype, shape))
}

fn batch_norm(operands: &[Tensor], eps: f64) -> Evaluated {
    let [x, scale, bias, mean, var] = operands else { return Err("batch_norm takes five operands".into()) };
    let dtype = x.ty.dtype;
    let size = dtype.size();
    let eps = Tensor::new(TensorType::scalar(dtype), super::element(dtype, eps).to_le_bytes()[..size].to_vec());
    let deviation = evaluate_op(&Op::Point(PointFn::Sqrt), &[point(PointFn::Add, var, &eps)?])?;
    let factor = point(PointFn::Div, scale, &deviation[0])?;
    let centred = point(PointFn::Sub, x, &per_channel(mean, x))?;
    let scaled = point(PointFn::Mul, &centred, &per_channel(&factor, x))?;
    Ok(vec![point(PointFn::Add, &scaled, &per_channel(bias, x))?])
}

fn with_bias(results: Vec<Tensor>, operands: &[Tensor]) -> Evaluated {
    match operands.get(2) {
        Some(bias) => Ok(vec![point(PointFn::Add, &results[0], &per_channel(bias, &operands[0]))?]),
        None => Ok(results),
    }
}

/// A matrix product with broadcast batch axes; vectors become matrices of one row or column.
fn matmul(operands: &[Tensor], result: &TensorType) -> Evaluated {
    let [a, b] = operands else { return Err("matmul takes two operands".into()) };
    let matrix = |x: &Tensor, row: bool| match (x.ty.shape.as_slice(), row) {
        ([k], true) => vec![1, *k],
        ([k], false) => vec![*k, 1],
        (shape, _) => shape.to_vec(),
    };
    let (a_shape, b_shape) = (matrix(a, true), matrix(b, false));
    let (m, k, n) = (a_shape[a_shape.len() - 2], a_shape[a_shape.len() - 1], b_shape[b_shape.len() - 1]);
    let batch = crate::ops::shape::broadcast(&a_shape[..a_shape.len() - 2], &b_shape[..b_shape.len() - 2])?;
    let over = |tail: [usize; 2]| [batch.as_slice(), &tail].concat();
    let layouts = [view::broadcast(&a_shape, &over([m, k])), view::broadcast(&b_shape, &over([k, n]))];
    let dtype = a.ty.dtype;
    let kernel = Kernel::MatMul { dtype, packed: false, epilogue: Program::identity(dtype) };
    let product = call_strided(&kernel, operands, &layouts, vec![TensorType::new(dtype, over([m, n]))], None)?;
    Ok(product.into_iter().map(|y| reshaped(y, result)).collect())
}
