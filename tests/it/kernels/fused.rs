//! Kernels with programs around or for their core.

use situ_runtime::kernel::{Kernel, RecurrentFn, ReduceFn, RowFn, Window};
use situ_runtime::point::{PointFn, PointInstr, Program};
use situ_runtime::types::DType;

use super::case::{Bound, Case, Fill, Random, Tensor};
use super::walk;

/// A program over `inputs` of `dtype` with one result, of functions whose vector forms are exact.
fn program(random: &mut Random, dtype: DType, inputs: usize) -> Program {
    let mut program = Program { inputs: vec![dtype; inputs], code: Vec::new(), outputs: Vec::new() };
    let functions: &[PointFn] = if dtype == DType::Bool {
        &[PointFn::And, PointFn::Or, PointFn::Xor, PointFn::Not]
    } else {
        &[PointFn::Add, PointFn::Sub, PointFn::Max, PointFn::Min, PointFn::Neg, PointFn::Abs, PointFn::Relu]
    };
    for step in 0..random.range(0, 3).max(inputs - 1) {
        let function = random.pick(functions);
        let last = program.registers() - 1;
        // Every input takes part, each step in turn.
        let second = if step + 1 < inputs { step + 1 } else { random.range(0, last) };
        let args = [if step == 0 { 0 } else { last as u16 }, second as u16, 0];
        program.code.push(PointInstr { function, args });
    }
    program.outputs = vec![(program.registers() - 1) as u16];
    program
}

/// An epilogue with its extra operands over `shape`, at times tied to the result.
fn epilogue(random: &mut Random, dtype: DType, shape: &[usize]) -> (Program, Vec<Tensor>, Tensor) {
    let inputs = random.range(1, 3);
    let program = program(random, dtype, inputs);
    let write = Tensor::written(random, dtype, shape);
    let extra = (1..inputs)
        .map(|_| {
            if random.chance(3) {
                Tensor { tied: Some(0), ..write.clone() }
            } else {
                Tensor::read(random, dtype, shape, Fill::Plain)
            }
        })
        .collect();
    (program, extra, write)
}

#[test]
fn map() {
    walk("map", 400, |random| {
        let rank = random.range(0, 4);
        let most = if rank < 2 { 300 } else { 9 };
        let shape = random.shape(rank, most);
        let dtype = random.pick(&DType::ALL);
        let inputs = random.range(1, 3);
        let program = program(random, dtype, inputs);
        let write = Tensor::written(random, dtype, &shape);
        let reads = (0..inputs)
            .map(|_| {
                if random.chance(4) {
                    Tensor { tied: Some(0), ..write.clone() }
                } else {
                    Tensor::read(random, dtype, &shape, Fill::Plain)
                }
            })
            .collect();
        Case { kernel: Kernel::Map { program }, reads, writes: vec![write], bound: Bound::Equal }
    });
}

#[test]
fn reduce() {
    walk("reduce", 400, |random| {
        let rank = random.range(1, 4);
        let mut shape = random.shape(rank, 7);
        if random.flip() {
            shape[rank - 1] = random.range(1, 200);
        }
        let dtype = random.pick(&DType::ALL);
        let function =
            random.pick(if dtype == DType::Bool { &[ReduceFn::Max, ReduceFn::Min] } else { &ReduceFn::ALL[..] });
        let inputs = random.range(1, 2);
        // Many factors near one stay near one; a prologue would take them away from it.
        let prologue =
            if function == ReduceFn::Prod { Program::identity(dtype) } else { program(random, dtype, inputs) };
        let fill = if function == ReduceFn::Prod { Fill::NearOne } else { Fill::Plain };
        let mut reads: Vec<Tensor> =
            prologue.inputs.iter().map(|_| Tensor::read(random, dtype, &shape, fill)).collect();
        let axes: Vec<usize> = (0..rank).filter(|_| random.flip()).collect();
        axes.iter().for_each(|&axis| shape[axis] = 1);
        let (epilogue, extra, write) = epilogue(random, dtype, &shape);
        reads.extend(extra);
        let kernel = Kernel::Reduce { function, axes, prologue, epilogue };
        Case { kernel, reads, writes: vec![write], bound: Bound::Ulps(600.0) }
    });
}

#[test]
fn row() {
    walk("row", 300, |random| {
        let rank = random.range(1, 3);
        let mut shape = random.shape(rank, 6);
        shape[rank - 1] = random.range(1, 100);
        let dtype = random.pick(&DType::ALL[..4]);
        let eps = 1e-5f64.to_bits();
        let function =
            random.pick(&[RowFn::Softmax, RowFn::LogSoftmax, RowFn::LayerNorm { eps }, RowFn::RmsNorm { eps }]);
        let inputs = random.range(1, 2);
        let prologue = program(random, dtype, inputs);
        let mut reads: Vec<Tensor> = (0..inputs).map(|_| Tensor::read(random, dtype, &shape, Fill::Plain)).collect();
        let (epilogue, extra, write) = epilogue(random, dtype, &shape);
        reads.extend(extra);
        // Rows may be computed in their own bytes.
        if random.chance(3) {
            reads[0] = Tensor { tied: Some(0), ..write.clone() };
        }
        let kernel = Kernel::Row { function, prologue, epilogue };
        Case { kernel, reads, writes: vec![write], bound: Bound::Ulps(300.0) }
    });
}

#[test]
fn matmul() {
    walk("matmul", 300, |random| {
        let axes = random.range(0, 2);
        let batch = random.shape(axes, 3);
        let most = random.pick(&[4, 12, 40]);
        let [m, k, n] = [random.range(1, most), random.range(1, most), random.range(1, most)];
        let dtype = random.pick(&[DType::F32, DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32, DType::I8]);
        let packed = random.chance(3);
        let right = if packed { vec![n.div_ceil(16), k, 16] } else { vec![k, n] };
        let mut weights = Tensor::read(random, dtype, &[&batch[..], &right].concat(), Fill::Plain);
        if packed {
            let layout = situ_runtime::types::Layout::dense(&weights.layout.shape);
            weights = Tensor::with_layout(random, dtype, layout, Fill::Plain);
        }
        let mut reads = vec![Tensor::read(random, dtype, &[&batch[..], &[m, k]].concat(), Fill::Plain), weights];
        let (epilogue, extra, write) = epilogue(random, dtype, &[&batch[..], &[m, n]].concat());
        reads.extend(extra);
        let kernel = Kernel::MatMul { dtype, packed, epilogue };
        Case { kernel, reads, writes: vec![write], bound: Bound::Ulps(300.0) }
    });
}

fn window(random: &mut Random, spatial: usize) -> Window {
    Window {
        kernel: random.shape(spatial, 3),
        strides: random.shape(spatial, 2),
        pads_begin: (0..spatial).map(|_| random.range(0, 2)).collect(),
        pads_end: (0..spatial).map(|_| random.range(0, 2)).collect(),
        dilations: random.shape(spatial, 2),
    }
}

#[test]
fn conv() {
    walk("conv", 300, |random| {
        let spatial = random.range(1, 3);
        let window = window(random, spatial);
        let groups = random.range(1, 3);
        let (batch, channels, out_channels) = (random.range(1, 2), random.range(1, 5), random.range(1, 9));
        let mut x = vec![batch, channels * groups];
        let mut result = vec![batch, out_channels * groups];
        for axis in 0..spatial {
            let reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1;
            let pads = window.pads_begin[axis] + window.pads_end[axis];
            let extent = random.range(reach.saturating_sub(pads).max(1), [40, 12, 6][spatial - 1]);
            x.push(extent);
            result.push((extent + pads - reach) / window.strides[axis] + 1);
        }
        let dtype = random.pick(&[DType::F32, DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32]);
        let weights = [&[out_channels * groups, channels], &window.kernel[..]].concat();
        let mut reads =
            vec![Tensor::read(random, dtype, &x, Fill::Plain), Tensor::read(random, dtype, &weights, Fill::Plain)];
        let (epilogue, extra, write) = epilogue(random, dtype, &result);
        reads.extend(extra);
        let kernel = Kernel::Conv { dtype, window, groups, packed: false, epilogue };
        Case { kernel, reads, writes: vec![write], bound: Bound::Ulps(600.0) }
    });
}

#[test]
fn conv_transpose() {
    walk("conv_transpose", 300, |random| {
        let spatial = random.range(1, 3);
        let window = window(random, spatial);
        let groups = random.range(1, 3);
        let (batch, channels, out_channels) = (random.range(1, 2), random.range(1, 5), random.range(1, 5));
        let mut x = vec![batch, channels * groups];
        let mut result = vec![batch, out_channels * groups];
        for axis in 0..spatial {
            let extent = random.range(1, [30, 8, 4][spatial - 1]);
            x.push(extent);
            let reach = (extent - 1) * window.strides[axis] + (window.kernel[axis] - 1) * window.dilations[axis] + 1;
            let padding = random.range(0, window.strides[axis] - 1);
            result.push((reach + padding).saturating_sub(window.pads_begin[axis] + window.pads_end[axis]).max(1));
        }
        let dtype = random.pick(&[DType::F32, DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32]);
        let weights = [&[channels * groups, out_channels], &window.kernel[..]].concat();
        let mut reads =
            vec![Tensor::read(random, dtype, &x, Fill::Plain), Tensor::read(random, dtype, &weights, Fill::Plain)];
        let (epilogue, extra, write) = epilogue(random, dtype, &result);
        reads.extend(extra);
        let kernel = Kernel::ConvTranspose { dtype, window, groups, epilogue };
        Case { kernel, reads, writes: vec![write], bound: Bound::Ulps(600.0) }
    });
}

#[test]
fn recurrent() {
    walk("recurrent", 150, |random| {
        let function = random.pick(&[
            RecurrentFn::Lstm,
            RecurrentFn::Gru { linear_before_reset: false },
            RecurrentFn::Gru { linear_before_reset: true },
            RecurrentFn::Rnn,
        ]);
        let (gates, lstm) = match function {
            RecurrentFn::Lstm => (4, true),
            RecurrentFn::Gru { .. } => (3, false),
            RecurrentFn::Rnn => (1, false),
        };
        let [steps, batch, input, hidden] =
            [random.range(1, 6), random.range(1, 4), random.range(1, 9), random.range(1, 20)];
        let reverse = random.pick(&[vec![false], vec![true], vec![false, true]]);
        let dirs = reverse.len();
        let dtype = random.pick(&[DType::F32, DType::F32, DType::F64]);
        let state = [dirs, batch, hidden];
        let mut read = |shape: &[usize]| Tensor::read(random, dtype, shape, Fill::NearOne);
        let mut reads = vec![
            read(&[steps, batch, input]),
            read(&[dirs, gates * hidden, input]),
            read(&[dirs, gates * hidden, hidden]),
            read(&[dirs, 2 * gates * hidden]),
            read(&state),
        ];
        if lstm {
            reads.extend([read(&state), read(&[dirs, 3 * hidden])]);
        }
        // Sums of many numbers near one would only show saturated gates.
        for weights in &mut reads[1..3] {
            let layout = weights.layout.clone();
            *weights = Tensor::with_layout(random, dtype, layout, Fill::Plain);
        }
        reads.push(Tensor::read(random, DType::I32, &[batch], Fill::Below(steps)));
        let mut writes = vec![Tensor::written(random, dtype, &[steps, dirs, batch, hidden])];
        for _ in 0..if lstm { 2 } else { 1 } {
            writes.push(Tensor::written(random, dtype, &state));
        }
        let clip = random.chance(3).then(|| 1.5f64.to_bits());
        let kernel = Kernel::Recurrent {
            function,
            hidden,
            reverse,
            clip,
            input_forget: lstm && random.chance(3),
            packed: false,
        };
        Case { kernel, reads, writes, bound: Bound::Ulps(2000.0) }
    });
}
