//! `Row` against its scalar meaning: lengths around every vector and tile, programs before and after, ties.

use crate::kernel::harness::{Case, strided};
use crate::kernel::tile::tests::Random;
use crate::kernel::{Kernel, RowFn};
use crate::point::{PointFn, PointInstr, Program};
use crate::types::{DType, Layout};

const EPS: u64 = 1e-5f64.to_bits();

const FUNCTIONS: [RowFn; 4] =
    [RowFn::Softmax, RowFn::LogSoftmax, RowFn::LayerNorm { eps: EPS }, RowFn::RmsNorm { eps: EPS }];

/// `a * b + c`.
pub(crate) fn affine(dtype: DType) -> Program {
    let code = vec![
        PointInstr { function: PointFn::Mul, args: [0, 1, 0] },
        PointInstr { function: PointFn::Add, args: [3, 2, 0] },
    ];
    Program { inputs: vec![dtype; 3], code, outputs: vec![4] }
}

/// Finite, so that rows keep their digits.
fn tame(case: &mut Case, random: &mut Random) {
    for (content, read) in case.contents.iter_mut().zip(&case.reads) {
        for bits in content {
            let value = random.below(4000) as f64 / 500.0 - 4.0;
            *bits = crate::scalar::encode_float(read.dtype, value);
        }
    }
}

fn slack(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-11,
        DType::F32 => 3e-5,
        // A difference in the last place of the core is magnified by the epilogue.
        DType::F16 => 0.02,
        _ => 0.2,
    }
}

#[test]
fn plain_rows_agree_with_their_scalar_meaning() {
    let mut random = Random(11);
    for function in FUNCTIONS {
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            for len in [1, 2, 7, 8, 15, 16, 17, 33, 64, 127, 511, 512, 513, 1030, 5000] {
                if dtype != DType::F32 && len > 600 {
                    continue;
                }
                let shape = [2, 3, len];
                let dense = Layout::dense(&shape);
                let program = Program::identity(dtype);
                let kernel = Kernel::Row { function, prologue: program.clone(), epilogue: program };
                let mut case = Case::new(kernel, vec![(dtype, dense.clone())], vec![(dtype, dense)], &mut random);
                tame(&mut case, &mut random);
                case.check(&[&[(0, 0)]], slack(dtype));
            }
        }
    }
}

#[test]
fn programs_run_before_and_after_rows() {
    let mut random = Random(12);
    for function in FUNCTIONS {
        for dtype in [DType::F32, DType::F16, DType::F64] {
            for shape in [[5, 3, 20], [2, 2, 300], [1, 4, 1100], [40, 40, 40]] {
                let dense = Layout::dense(&shape);
                let by_column = strided(&shape, &[0, 0, 1]);
                let by_row = strided(&shape, &[3, 1, 0]);
                let spaced = strided(&shape, &[shape[1] as i64 * (shape[2] as i64 + 5), shape[2] as i64 + 5, 1]);
                let backwards = strided(&shape, &[shape[2] as i64, (shape[0] * shape[2]) as i64, -1]);
                for written in [dense.clone(), spaced, backwards] {
                    let reads = vec![
                        (dtype, written.clone()),
                        (dtype, by_row.clone()),
                        (dtype, dense.clone()),
                        (dtype, by_column.clone()),
                        (dtype, written.clone()),
                    ];
                    let kernel = Kernel::Row { function, prologue: affine(dtype), epilogue: affine(dtype) };
                    let mut case = Case::new(kernel, reads, vec![(dtype, written)], &mut random);
                    tame(&mut case, &mut random);
                    case.contents[0] = case.contents[4].clone();
                    // The row's own operand, the residual after it, and both as one value.
                    // The epilogue may cancel what the core gives.
                    case.check(&[&[(0, 0)], &[(4, 0)], &[(0, 0), (4, 0)]], slack(dtype).max(1e-3));
                }
            }
        }
    }
}

#[test]
fn special_elements_spread_as_in_the_formula() {
    let mut random = Random(13);
    for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for function in FUNCTIONS {
            for len in [1, 5, 40] {
                let dense = Layout::dense(&[3, len]);
                let program = Program::identity(DType::F32);
                let kernel = Kernel::Row { function, prologue: program.clone(), epilogue: program };
                let mut case =
                    Case::new(kernel, vec![(DType::F32, dense.clone())], vec![(DType::F32, dense)], &mut random);
                tame(&mut case, &mut random);
                case.contents[0][len] = u64::from(special.to_bits());
                case.contents[0][2 * len..].fill(u64::from(f32::NEG_INFINITY.to_bits()));
                case.check(&[], 3e-5);
            }
        }
    }
}
