//! `Reduce` against its scalar meaning: axes, lengths around every block, programs before and after, ties.

use crate::kernel::harness::{Case, strided};
use crate::kernel::row_tests::affine;
use crate::kernel::tile::tests::Random;
use crate::kernel::{Kernel, ReduceFn};
use crate::point::Program;
use crate::types::{DType, Layout};

fn kept(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().map(|(axis, &extent)| if axes.contains(&axis) { 1 } else { extent }).collect()
}

/// Small numbers, so that sums of floats keep their digits and products stay finite.
fn tame(case: &mut Case, random: &mut Random, function: ReduceFn) {
    for (content, read) in case.contents.iter_mut().zip(&case.reads) {
        for bits in content.iter_mut().filter(|_| read.dtype.is_float()) {
            let value = match function {
                ReduceFn::Prod => 0.9 + random.below(200) as f64 / 1000.0,
                _ => random.below(4000) as f64 / 500.0 + 0.1,
            };
            *bits = crate::scalar::encode_float(read.dtype, value);
        }
    }
}

fn slack(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-12,
        DType::F32 => 1e-5,
        DType::F16 => 0.002,
        _ => 0.02,
    }
}

#[test]
fn every_function_reduces_every_dtype() {
    let mut random = Random(21);
    for function in ReduceFn::ALL {
        for dtype in DType::ALL {
            if dtype == DType::Bool && !matches!(function, ReduceFn::Max | ReduceFn::Min) {
                continue;
            }
            for (shape, axes) in [
                (vec![3, 40], vec![1]),
                (vec![40, 3], vec![0]),
                (vec![4, 5, 6], vec![0, 2]),
                (vec![4, 5, 6], vec![1]),
                (vec![7], vec![0]),
                (vec![], vec![]),
                (vec![2, 3], vec![]),
                (vec![3, 0], vec![1]),
                (vec![0, 3], vec![1]),
                (vec![2, 3, 130], vec![1]),
            ] {
                let program = Program::identity(dtype);
                let kernel =
                    Kernel::Reduce { function, axes: axes.clone(), prologue: program.clone(), epilogue: program };
                let written = vec![(dtype, Layout::dense(&kept(&shape, &axes)))];
                let mut case = Case::new(kernel, vec![(dtype, Layout::dense(&shape))], written, &mut random);
                tame(&mut case, &mut random, function);
                case.check(&[], slack(dtype));
            }
        }
    }
}

#[test]
fn lengths_around_blocks_reduce() {
    let mut random = Random(22);
    for function in [ReduceFn::Sum, ReduceFn::Mean, ReduceFn::Max, ReduceFn::Min] {
        for (shape, axes) in [
            (vec![3, 2047], vec![1]),
            (vec![3, 2048], vec![1]),
            (vec![2, 5000], vec![1]),
            (vec![1500, 7], vec![1]),
            (vec![300, 63], vec![0]),
            (vec![300, 64], vec![0]),
            (vec![129, 1030], vec![0]),
            (vec![3, 260, 65], vec![1]),
            (vec![9, 60, 5], vec![1]),
            (vec![2, 33, 40, 9], vec![0, 2]),
            (vec![5, 200, 17], vec![1, 2]),
        ] {
            let program = Program::identity(DType::F32);
            let kernel = Kernel::Reduce { function, axes: axes.clone(), prologue: program.clone(), epilogue: program };
            let written = vec![(DType::F32, Layout::dense(&kept(&shape, &axes)))];
            let mut case = Case::new(kernel, vec![(DType::F32, Layout::dense(&shape))], written, &mut random);
            tame(&mut case, &mut random, function);
            case.check(&[], slack(DType::F32));
        }
    }
}

#[test]
fn programs_run_before_and_after_reductions() {
    let mut random = Random(23);
    for dtype in [DType::F32, DType::I32] {
        for (shape, axes) in
            [([5, 70, 300], vec![1]), ([60, 40, 30], vec![2]), ([3, 1200, 4], vec![0, 1]), ([90, 9, 33], vec![0])]
        {
            let result = kept(&shape, &axes);
            let dense = Layout::dense(&shape);
            let turned = strided(&shape, &[1, shape[0] as i64, (shape[0] * shape[1]) as i64]);
            let column = strided(&shape, &[0, 0, 1]);
            let mut strides = vec![0i64; 3];
            let mut step = 2;
            for axis in (0..3).rev() {
                strides[axis] = if axis == 0 { -step } else { step };
                step *= result[axis] as i64 + 1;
            }
            for written in [Layout::dense(&result), strided(&result, &strides)] {
                let reads = vec![
                    (dtype, dense.clone()),
                    (dtype, turned.clone()),
                    (dtype, column.clone()),
                    (dtype, written.clone()),
                    (dtype, strided(&result, &[0, 0, 0])),
                ];
                let kernel = Kernel::Reduce {
                    function: ReduceFn::Sum,
                    axes: axes.clone(),
                    prologue: affine(dtype),
                    epilogue: affine(dtype),
                };
                let mut case = Case::new(kernel, reads, vec![(dtype, written)], &mut random);
                tame(&mut case, &mut random, ReduceFn::Sum);
                case.check(&[&[(3, 0)]], 1e-4);
            }
        }
    }
}
