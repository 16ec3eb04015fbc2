//! The interpreter against the scalar meaning: random programs over random layouts.

use super::*;
use crate::point::PointInstr;
use crate::scalar;
use crate::types::Layout;

/// A splitmix64 generator.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// An element; floats are mostly small numbers, sometimes special ones.
    pub(crate) fn element(&mut self, dtype: DType) -> u64 {
        if dtype.is_float() {
            let special = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, 1e30, -1e-40];
            let value = match self.below(10) {
                0 => special[self.below(special.len())],
                _ => self.below(16_000) as f64 / 1000.0 - 8.0,
            };
            scalar::encode_float(dtype, value)
        } else {
            let value = if self.below(3) == 0 { self.next() as i64 } else { self.below(20) as i64 - 10 };
            scalar::encode_int(dtype, value)
        }
    }
}

/// A well-typed program with `inputs`, one of whose results is the last instruction's.
pub(crate) fn random_program(random: &mut Random, inputs: &[DType], length: usize) -> Program {
    let mut program = Program { inputs: inputs.to_vec(), code: Vec::new(), outputs: Vec::new() };
    let mut dtypes = inputs.to_vec();
    while program.code.len() < length {
        let function = match random.below(6) {
            0 => PointFn::Cast(DType::ALL[random.below(10)]),
            1 => {
                let dtype = DType::ALL[random.below(10)];
                PointFn::Const(random.element(dtype), dtype)
            }
            _ => PointFn::NAMED[random.below(PointFn::NAMED.len())],
        };
        let arity = function.row().arity;
        for _ in 0..20 {
            let args: Vec<u16> = (0..arity).map(|_| random.below(dtypes.len()) as u16).collect();
            let of: Vec<DType> = args.iter().map(|&arg| dtypes[arg as usize]).collect();
            if let Ok(dtype) = function.result_dtype(&of) {
                let mut places = [0; 3];
                places[..arity].copy_from_slice(&args);
                program.code.push(PointInstr { function, args: places });
                dtypes.push(dtype);
                break;
            }
        }
    }
    program.outputs.push((dtypes.len() - 1) as u16);
    program
}

/// Whether two elements agree within the bounds that `slack` allows: exactly for integers, and for floats within
/// `slack` relative to the magnitude.
pub(crate) fn close(dtype: DType, a: u64, b: u64, slack: f64) -> bool {
    if !dtype.is_float() {
        return scalar::decode_int(dtype, a) == scalar::decode_int(dtype, b);
    }
    let (a, b) = (scalar::decode_float(dtype, a), scalar::decode_float(dtype, b));
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= slack * a.abs().max(b.abs()).max(1e-3)
}

fn single(function: PointFn, dtypes: &[DType]) -> Program {
    let mut args = [0; 3];
    (0..dtypes.len()).for_each(|i| args[i] = i as u16);
    Program { inputs: dtypes.to_vec(), code: vec![PointInstr { function, args }], outputs: vec![dtypes.len() as u16] }
}

/// Runs a program over dense operands of `n` elements.
fn run_dense(isa: Isa, program: &Program, operands: &[Vec<u8>], n: usize) -> Vec<u8> {
    let layout = Layout::dense(&[n]);
    let layouts = vec![&layout; operands.len()];
    let grid = Grid::row_major(&[n], &layouts).unwrap();
    let tile = TileProgram::new(program, false, grid, Results::Contiguous).unwrap();
    let reads: Vec<Operand> = operands
        .iter()
        .zip(&program.inputs)
        .map(|(bytes, &dtype)| Operand { source: Source::Bytes(bytes), dtype, layout: &layout })
        .collect();
    let result = program.dtypes().unwrap()[program.outputs[0] as usize];
    let mut out = vec![0u64; n];
    let bytes = &mut bytemuck::cast_slice_mut(&mut out)[..n * result.size()];
    let mut scratch = vec![0u64; tile.scratch_bytes() / 8];
    let feed = Feed { reads: &reads, ..Feed::default() };
    tile.run(isa, &feed, &mut [Out { bytes, origin: 0 }], 0, n, bytemuck::cast_slice_mut(&mut scratch));
    bytemuck::cast_slice(&out)[..n * result.size()].to_vec()
}

fn bits_at(bytes: &[u8], dtype: DType, i: usize) -> u64 {
    let mut bits = [0; 8];
    bits[..dtype.size()].copy_from_slice(&bytes[i * dtype.size()..][..dtype.size()]);
    u64::from_le_bytes(bits)
}

#[test]
fn every_function_on_every_dtype_agrees_with_its_scalar_meaning() {
    let mut random = Random(1);
    for &function in PointFn::NAMED {
        let row = function.row();
        for dtype in DType::ALL {
            let mut dtypes = vec![dtype; row.arity];
            if row.typing == Typing::Select {
                dtypes[0] = DType::Bool;
            }
            let Ok(result) = function.result_dtype(&dtypes) else { continue };
            let n = 1037;
            // Bytes of every operand, eight-aligned.
            let operands: Vec<Vec<u64>> = dtypes
                .iter()
                .map(|&dtype| {
                    let mut words = vec![0u64; n];
                    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
                    for i in 0..n {
                        let element = random.element(dtype).to_le_bytes();
                        bytes[i * dtype.size()..][..dtype.size()].copy_from_slice(&element[..dtype.size()]);
                    }
                    words
                })
                .collect();
            let bytes: Vec<Vec<u8>> = operands.iter().map(|words| bytemuck::cast_slice(words).to_vec()).collect();
            let bytes: Vec<Vec<u8>> =
                bytes.iter().zip(&dtypes).map(|(bytes, dtype)| bytes[..n * dtype.size()].to_vec()).collect();
            for isa in Isa::available() {
                let found = run_dense(isa, &single(function, &dtypes), &bytes, n);
                for i in 0..n {
                    let args: Vec<u64> =
                        bytes.iter().zip(&dtypes).map(|(bytes, &dtype)| bits_at(bytes, dtype, i)).collect();
                    let (found, expected) = (bits_at(&found, result, i), scalar::eval(function, &dtypes, &args));
                    let slack = match result {
                        DType::F32 => f64::from(row.ulps) * f64::from(f32::EPSILON),
                        // A last-place difference in `f32` may fall on either side of a rounding boundary.
                        DType::F16 | DType::BF16 if row.ulps > 0 => 1.0 / 128.0,
                        _ => 0.0,
                    };
                    assert!(
                        close(result, found, expected, slack),
                        "{} on {dtype} of {args:x?} with {isa:?}: found {found:x}, expected {expected:x}",
                        row.name
                    );
                }
            }
        }
    }
}

#[test]
fn segments_run_over_core_results() {
    // relu(core * scale + bias + residual) over [rows, cols], with scale per row and bias per column.
    let f = DType::F32;
    let code =
        [(PointFn::Mul, [0, 1, 0]), (PointFn::Add, [4, 2, 0]), (PointFn::Add, [5, 3, 0]), (PointFn::Relu, [6, 0, 0])];
    let code = code.iter().map(|&(function, args)| PointInstr { function, args }).collect();
    let program = Program { inputs: vec![f; 4], code, outputs: vec![7] };
    for cols in [1, 7, 16, 130, 700] {
        let rows = 5;
        let shape = [rows, cols];
        let by_row = Layout { offset: 0, shape: shape.to_vec(), strides: vec![1, 0] };
        let by_col = Layout { offset: 0, shape: shape.to_vec(), strides: vec![0, 1] };
        let dense = Layout::dense(&shape);
        let grid = Grid::row_major(&shape, &[&by_row, &by_col, &dense]).unwrap();
        let tile = TileProgram::new(&program, true, grid, Results::Contiguous).unwrap();
        let value = |seed: usize| (0..rows * cols).map(move |i| ((i * 37 + seed * 11) % 29) as f32 - 13.0);
        let (scale, bias): (Vec<f32>, Vec<f32>) = (value(1).take(rows).collect(), value(2).take(cols).collect());
        let (core, residual): (Vec<f32>, Vec<f32>) = (value(3).collect(), value(4).collect());
        let reads = [
            Operand { source: Source::Bytes(bytemuck::cast_slice(&scale)), dtype: f, layout: &by_row },
            Operand { source: Source::Bytes(bytemuck::cast_slice(&bias)), dtype: f, layout: &by_col },
            Operand { source: Source::Written(0), dtype: f, layout: &dense },
        ];
        let mut scratch = vec![0u64; tile.scratch_bytes() / 8];
        for isa in Isa::available() {
            let mut out = residual.clone();
            // Whole, and in uneven pieces.
            for (start, len) in [(0, cols), (cols, 3 * cols + cols / 2), (4 * cols + cols / 2, cols - cols / 2)] {
                let range = start..start + len;
                let scratch = bytemuck::cast_slice_mut(&mut scratch);
                tile.run_segment(isa, &reads, &core[range.clone()], start, &mut out[range], scratch);
            }
            let expected: Vec<f32> =
                (0..rows * cols).map(|i| (core[i] * scale[i / cols] + bias[i % cols] + residual[i]).max(0.0)).collect();
            assert_eq!(out, expected);
        }
    }
}
