//! Matmul against its scalar meaning, around every block size.

use super::*;
use crate::kernel::Kernel;
use crate::kernel::testing::{Case, access, strided};
use crate::point::{PointFn, PointInstr};
use crate::types::Layout;

fn check(case: &Case, tolerance: f64) {
    let Kernel::MatMul { dtype, packed, epilogue } = &case.kernel else { panic!("a matmul") };
    let prepared = PreparedMatMul::prepare(*dtype, *packed, epilogue, &case.reads, &case.writes, 3).unwrap();
    case.check(&|isa, call| prepared.run(isa, call), prepared.workspace_bytes(), tolerance);
}

fn matmul(dtype: DType, epilogue: Program) -> Kernel {
    Kernel::MatMul { dtype, packed: false, epilogue }
}

fn dense(dtype: DType, shape: &[usize]) -> Access {
    access(dtype, Layout::dense(shape))
}

fn simple(m: usize, k: usize, n: usize) -> Case {
    let f32s = |shape: &[usize]| dense(DType::F32, shape);
    Case::new(matmul(DType::F32, Program::identity(DType::F32)), vec![f32s(&[m, k]), f32s(&[k, n])], f32s(&[m, n]))
}

#[test]
fn sizes_around_blocks() {
    for m in [1, 2, 3, 5, 6, 7, 8, 13, 25] {
        for n in [1, 7, 15, 16, 17, 33, 65] {
            for k in [0, 1, 2, 17] {
                check(&simple(m, k, n), 1e-5);
            }
        }
    }
}

#[test]
fn large_enough_for_passes_and_threads() {
    for (m, k, n) in [(130, 300, 70), (40, 1500, 130), (1, 1100, 300), (200, 64, 200), (7, 2049, 17)] {
        check(&simple(m, k, n), 1e-4);
    }
}

#[test]
fn empty_extents_write_nothing_or_zeros() {
    for (m, k, n) in [(0, 3, 4), (3, 4, 0), (0, 0, 0)] {
        check(&simple(m, k, n), 0.0);
    }
}

#[test]
fn transposed_and_strided_factors() {
    for k in [5, 1100] {
        let (m, n) = (9, 21);
        let lefts = [
            strided(0, &[m, k], &[1, m as i64]),
            strided(3, &[m, k], &[2 * k as i64, 2]),
            strided(((m - 1) * k) as i64, &[m, k], &[-(k as i64), 1]),
            strided(0, &[m, k], &[0, 1]),
        ];
        let rights = [
            strided(0, &[k, n], &[1, k as i64]),
            strided(7, &[k, n], &[3 * n as i64, 3]),
            strided((k * n - 1) as i64, &[k, n], &[-(n as i64), -1]),
            strided(0, &[k, n], &[1, 0]),
        ];
        let outs = [strided(2, &[m, n], &[40, 1]), strided(0, &[m, n], &[1, m as i64]), strided(5, &[m, n], &[60, 2])];
        for a in &lefts {
            for b in &rights {
                for out in &outs {
                    let reads = vec![access(DType::F32, a.clone()), access(DType::F32, b.clone())];
                    let kernel = matmul(DType::F32, Program::identity(DType::F32));
                    check(&Case::new(kernel, reads, access(DType::F32, out.clone())), 1e-4);
                }
            }
        }
    }
}

#[test]
fn batches_repeat_and_merge() {
    let shape = |last: [usize; 2]| [2, 3, last[0], last[1]];
    let (m, k, n) = (5, 4, 19);
    let lefts = [
        Layout::dense(&shape([m, k])),
        strided(0, &shape([m, k]), &[20, 0, 4, 1]),
        strided(0, &shape([m, k]), &[20, 40, 4, 1]),
    ];
    let rights = [
        Layout::dense(&shape([k, n])),
        strided(0, &shape([k, n]), &[0, 0, 19, 1]),
        strided(0, &shape([k, n]), &[0, 76, 1, 4]),
    ];
    for a in &lefts {
        for b in &rights {
            let reads = vec![access(DType::F32, a.clone()), access(DType::F32, b.clone())];
            let kernel = matmul(DType::F32, Program::identity(DType::F32));
            check(&Case::new(kernel, reads, dense(DType::F32, &shape([m, n]))), 1e-5);
        }
    }
}

#[test]
fn packed_panels() {
    for (batch, m, k, n) in [(1, 5, 9, 33), (2, 7, 3, 16), (1, 40, 1200, 50), (1, 1, 40, 200)] {
        for dtype in [DType::F32, DType::F16, DType::I32] {
            let panels = usize::div_ceil(n, PANEL);
            let reads = vec![dense(dtype, &[batch, m, k]), dense(dtype, &[batch, panels, k, PANEL])];
            let kernel = Kernel::MatMul { dtype, packed: true, epilogue: Program::identity(dtype) };
            check(
                &Case::new(kernel, reads, dense(dtype, &[batch, m, n])),
                if dtype == DType::F32 { 1e-4 } else { 2e-2 },
            );
        }
    }
}

#[test]
fn every_dtype() {
    for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != DType::Bool) {
        let tolerance = match dtype {
            DType::F32 => 1e-5,
            DType::F16 => 2e-3,
            DType::BF16 => 2e-2,
            _ => 1e-12,
        };
        let kernel = matmul(dtype, Program::identity(dtype));
        let reads = vec![dense(dtype, &[2, 9, 20]), access(dtype, strided(0, &[2, 20, 18], &[360, 1, 20]))];
        check(&Case::new(kernel, reads, dense(dtype, &[2, 9, 18])), tolerance);
    }
}

fn program(inputs: usize, code: &[(PointFn, [u16; 3])]) -> Program {
    let code: Vec<PointInstr> = code.iter().map(|&(function, args)| PointInstr { function, args }).collect();
    let last = (inputs + code.len() - 1) as u16;
    Program { inputs: vec![DType::F32; inputs], code, outputs: vec![last] }
}

#[test]
fn epilogues_with_bias_residual_and_ties() {
    let (m, k, n) = (13, 20, 75);
    let bias = access(DType::F32, strided(1, &[m, n], &[0, 1]));
    let scale = access(DType::F32, strided(0, &[m, n], &[1, 0]));
    let residual = dense(DType::F32, &[m, n]);
    let half = PointFn::Const(u64::from(0.5f32.to_bits()), DType::F32);
    let programs = [
        program(
            4,
            &[
                (PointFn::Add, [0, 1, 0]),
                (PointFn::Mul, [2, 4, 0]),
                (PointFn::Sub, [3, 5, 0]),
                (PointFn::Relu, [6, 0, 0]),
            ],
        ),
        program(
            4,
            &[
                (half, [0, 0, 0]),
                (PointFn::Max, [0, 4, 0]),
                (PointFn::Sub, [5, 1, 0]),
                (PointFn::Gelu, [6, 0, 0]),
                (PointFn::Mul, [7, 2, 0]),
                (PointFn::Add, [8, 3, 0]),
            ],
        ),
        // Not chains: the sum is used twice, and the second function does not take the first one's result.
        program(4, &[(PointFn::Mul, [0, 0, 0]), (PointFn::Add, [4, 3, 0])]),
        program(4, &[(PointFn::Mul, [1, 2, 0]), (PointFn::Add, [4, 0, 0]), (PointFn::Add, [5, 3, 0])]),
    ];
    for out in [Layout::dense(&[m, n]), strided(3, &[m, n], &[2, 30])] {
        for program in &programs {
            for tied in [false, true] {
                let residual = if tied { access(DType::F32, out.clone()) } else { residual.clone() };
                let reads =
                    vec![dense(DType::F32, &[m, k]), dense(DType::F32, &[k, n]), bias.clone(), scale.clone(), residual];
                let mut case = Case::new(matmul(DType::F32, program.clone()), reads, access(DType::F32, out.clone()));
                case.tied = if tied { vec![4] } else { vec![] };
                check(&case, 1e-5);
            }
        }
    }
}

#[test]
fn hostile_layouts_are_refused() {
    let mut case = simple(4, 5, 6);
    case.writes[0].access.layout.strides = vec![5, 1];
    let Kernel::MatMul { dtype, packed, epilogue } = &case.kernel else { panic!("a matmul") };
    assert!(PreparedMatMul::prepare(*dtype, *packed, epilogue, &case.reads, &case.writes, 1).is_err());
    assert!(PreparedMatMul::prepare(*dtype, *packed, epilogue, &case.reads[..1], &case.writes, 1).is_err());
}
