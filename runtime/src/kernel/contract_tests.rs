//! The contract, held against the kernels: every permitted tie gives the bits of the untied run, for every instruction
//! set, thread count and shift in memory, over sizes around each block; and what is not permitted is shown to differ.
//!
//! Functions are affine, so that a second application to an element shows.

use crate::contract::{Permission, contract};
use crate::kernel::harness::{Case, How, strided};
use crate::kernel::row_tests::affine;
use crate::kernel::tile::tests::Random;
use crate::kernel::{Kernel, PoolFn, ReduceFn, RowFn, Window};
use crate::point::{PointFn, PointInstr, Program};
use crate::simd::Isa;
use crate::types::{DType, Layout};

const F: DType = DType::F32;

/// Small integers: sums of products of them are exact in any order.
fn integral(case: &mut Case, random: &mut Random) {
    for (content, read) in case.contents.iter_mut().zip(&case.reads) {
        for bits in content.iter_mut().filter(|_| read.dtype.is_float()) {
            *bits = crate::scalar::encode_float(read.dtype, random.below(9) as f64 - 4.0);
        }
    }
}

/// Checks every tie that the contract names, each alone and all of one result together, and that there are `expected`
/// of them.
fn check_permitted(mut case: Case, random: &mut Random, expected: &[(usize, usize, Permission)]) {
    integral(&mut case, random);
    let permitted = contract(&case.kernel, &case.reads, &case.writes);
    assert_eq!(permitted, expected, "{:?}", case.kernel);
    for &(read, write, _) in &permitted {
        case.check(&[&[(read, write)]], 1e-3);
    }
    // Several operands can have the bytes of one result when they are one value.
    for write in 0..case.writes.len() {
        let together: Vec<(usize, usize)> =
            permitted.iter().filter(|pair| pair.1 == write).map(|pair| (pair.0, pair.1)).collect();
        let Some(&(first, _)) = together.first() else { continue };
        if together.iter().all(|&(read, _)| case.reads[read].dtype == case.reads[first].dtype) {
            for &(read, _) in &together {
                case.contents[read] = case.contents[first].clone();
            }
            case.check(&[&together], 1e-3);
        }
    }
}

/// The case run by its scalar meaning with and without the tie, which the contract must not name: results differ.
fn check_forbidden(mut case: Case, random: &mut Random, tie: (usize, usize)) {
    integral(&mut case, random);
    let permitted = contract(&case.kernel, &case.reads, &case.writes);
    assert!(!permitted.iter().any(|pair| (pair.0, pair.1) == tie), "{:?}", case.kernel);
    let tied = case.expected_tied(&How { isa: Isa::PORTABLE, threads: 1, ties: &[tie], shift: 0 });
    assert!(tied != case.expected(), "the tie {tie:?} of {} shows nothing", case.kernel.name());
}

/// Shapes whose lengths lie around vectors, tiles, and what is worth a thread.
const SHAPES: [[usize; 2]; 9] = [[1, 1], [3, 7], [2, 16], [5, 33], [1, 511], [2, 512], [3, 513], [40, 257], [300, 130]];

/// Dense, spaced, and backwards.
fn written_layouts(shape: &[usize]) -> Vec<Layout> {
    let (rows, columns) = (shape[0] as i64, shape[1] as i64);
    vec![
        Layout::dense(shape),
        strided(shape, &[columns + 3, 1]),
        strided(shape, &[-columns, 1]),
        strided(shape, &[1, rows]),
    ]
}

fn same(read: usize) -> (usize, usize, Permission) {
    (read, 0, Permission::SameIndex)
}

#[test]
fn maps_read_an_index_before_they_write_it() {
    let mut random = Random(31);
    for shape in SHAPES {
        for layout in written_layouts(&shape) {
            let scalar = strided(&shape, &[0, 0]);
            let reads = vec![(F, layout.clone()), (F, scalar.clone()), (F, layout.clone())];
            let case = Case::new(Kernel::Map { program: affine(F) }, reads, vec![(F, layout.clone())], &mut random);
            let expected = if shape == [1, 1] { vec![same(0), same(1), same(2)] } else { vec![same(0), same(2)] };
            let case_permits = contract(&case.kernel, &case.reads, &case.writes).len();
            if case_permits == expected.len() {
                check_permitted(case, &mut random, &expected);
            }
            // A cast between types of one size, read from the bytes it is written to.
            let cast = PointInstr { function: PointFn::Cast(DType::I32), args: [0; 3] };
            let program = Program { inputs: vec![F], code: vec![cast], outputs: vec![1] };
            let writes = vec![(DType::I32, layout.clone())];
            let case = Case::new(Kernel::Map { program }, vec![(F, layout.clone())], writes, &mut random);
            check_permitted(case, &mut random, &[same(0)]);
        }
    }
}

#[test]
fn maps_of_several_results_load_all_operands_first() {
    let mut random = Random(32);
    // (a + b, a - b): either result may have the bytes of either operand.
    let code = vec![
        PointInstr { function: PointFn::Add, args: [0, 1, 0] },
        PointInstr { function: PointFn::Sub, args: [0, 1, 0] },
    ];
    let program = Program { inputs: vec![F; 2], code, outputs: vec![2, 3] };
    for shape in SHAPES {
        for layout in written_layouts(&shape) {
            let reads = vec![(F, layout.clone()), (F, layout.clone())];
            let writes = vec![(F, layout.clone()), (F, layout.clone())];
            let mut case = Case::new(Kernel::Map { program: program.clone() }, reads, writes, &mut random);
            integral(&mut case, &mut random);
            assert_eq!(contract(&case.kernel, &case.reads, &case.writes).len(), 4);
            case.check(&[&[(0, 0)], &[(1, 0)], &[(0, 1)], &[(0, 0), (1, 1)], &[(0, 1), (1, 0)]], 0.0);
        }
    }
}

#[test]
fn rows_are_read_before_they_are_written() {
    let mut random = Random(33);
    let eps = 1e-5f64.to_bits();
    for function in [RowFn::Softmax, RowFn::LogSoftmax, RowFn::LayerNorm { eps }, RowFn::RmsNorm { eps }] {
        for shape in SHAPES {
            for layout in written_layouts(&shape) {
                let scale = strided(&shape, &[0, 1]);
                let reads =
                    vec![(F, layout.clone()), (F, scale.clone()), (F, layout.clone()), (F, scale), (F, layout.clone())];
                let kernel = Kernel::Row { function, prologue: affine(F), epilogue: affine(F) };
                let case = Case::new(kernel, reads, vec![(F, layout)], &mut random);
                let local = |read| (read, 0, Permission::RowLocal);
                let expected = [local(0), local(2), same(4)];
                if contract(&case.kernel, &case.reads, &case.writes).len() == expected.len() {
                    check_permitted(case, &mut random, &expected);
                }
            }
        }
    }
}

#[test]
fn reductions_read_epilogue_operands_after_folding() {
    let mut random = Random(34);
    for (shape, axis) in [([3, 5, 7], 1), ([70, 9, 40], 1), ([2, 600, 513], 1), ([40, 33, 129], 2), ([600, 3, 70], 0)] {
        let mut result = shape.to_vec();
        result[axis] = 1;
        let written = Layout::dense(&result);
        let reads = vec![(F, Layout::dense(&shape)), (F, written.clone()), (F, written.clone())];
        let kernel = Kernel::Reduce {
            function: ReduceFn::Sum,
            axes: vec![axis],
            prologue: Program::identity(F),
            epilogue: affine(F),
        };
        let case = Case::new(kernel, reads, vec![(F, written)], &mut random);
        let expected = [(1, 0, Permission::Accumulate), (2, 0, Permission::Accumulate)];
        check_permitted(case, &mut random, &expected);
    }
}

fn window(rank: usize, kernel: usize, stride: usize, pad: usize) -> Window {
    Window {
        kernel: vec![kernel; rank],
        strides: vec![stride; rank],
        pads_begin: vec![pad; rank],
        pads_end: vec![pad; rank],
        dilations: vec![1; rank],
    }
}

#[test]
fn products_read_epilogue_operands_after_accumulation() {
    let mut random = Random(35);
    let accumulate = [(2, 0, Permission::Accumulate), (3, 0, Permission::Accumulate)];
    for [batch, m, k, n] in [[1, 1, 1, 1], [2, 7, 5, 17], [1, 64, 33, 48], [3, 13, 300, 100], [1, 150, 40, 257]] {
        let shape = [batch, m, n];
        for dtype in [F, DType::F16] {
            let spaced = strided(&shape, &[(m * (n + 5)) as i64, (n + 5) as i64, 1]);
            for written in [Layout::dense(&shape), spaced] {
                let reads = vec![
                    (dtype, Layout::dense(&[batch, m, k])),
                    (dtype, Layout::dense(&[batch, k, n])),
                    (dtype, written.clone()),
                    (dtype, written.clone()),
                ];
                let kernel = Kernel::MatMul { dtype, packed: false, epilogue: affine(dtype) };
                let mut case = Case::new(kernel, reads, vec![(dtype, written)], &mut random);
                if dtype == DType::F16 {
                    // Small factors, so that nothing overflows.
                    integral(&mut case, &mut random);
                    case.check(&[&[(2, 0)], &[(3, 0)]], 0.02);
                } else {
                    check_permitted(case, &mut random, &accumulate);
                }
            }
        }
    }
    for (x, weights, groups, window) in [
        ([2, 3, 9, 11], [5, 3, 3, 3], 1, window(2, 3, 1, 1)),
        ([1, 8, 20, 20], [8, 1, 3, 3], 8, window(2, 3, 2, 1)),
        ([1, 16, 30, 31], [33, 16, 1, 1], 1, window(2, 1, 1, 0)),
        ([2, 6, 12, 12], [4, 3, 5, 5], 2, window(2, 5, 1, 2)),
    ] {
        let out = |axis: usize| (x[axis] + 2 * window.pads_begin[0] - window.kernel[0]) / window.strides[0] + 1;
        let written = Layout::dense(&[x[0], weights[0], out(2), out(3)]);
        let reads =
            vec![(F, Layout::dense(&x)), (F, Layout::dense(&weights)), (F, written.clone()), (F, written.clone())];
        let kernel = Kernel::Conv { dtype: F, window, groups, packed: false, epilogue: affine(F) };
        check_permitted(Case::new(kernel, reads, vec![(F, written)], &mut random), &mut random, &accumulate);
    }
    for (x, weights, window) in [
        ([1, 3, 7, 6], [3, 5, 3, 3], window(2, 3, 2, 1)),
        ([2, 4, 9, 9], [4, 3, 2, 2], window(2, 2, 2, 0)),
        ([1, 6, 20, 21], [6, 8, 4, 4], window(2, 4, 2, 1)),
    ] {
        let out = |axis: usize| (x[axis] - 1) * window.strides[0] + window.kernel[0] - 2 * window.pads_begin[0];
        let written = Layout::dense(&[x[0], weights[1], out(2), out(3)]);
        let reads =
            vec![(F, Layout::dense(&x)), (F, Layout::dense(&weights)), (F, written.clone()), (F, written.clone())];
        let kernel = Kernel::ConvTranspose { dtype: F, window, groups: 1, epilogue: affine(F) };
        check_permitted(Case::new(kernel, reads, vec![(F, written)], &mut random), &mut random, &accumulate);
    }
}

#[test]
fn forbidden_ties_differ() {
    let mut random = Random(36);
    let identity = Program::identity(F);
    let square = Layout::dense(&[1, 5, 5]);
    for factor in [0, 1] {
        let reads = vec![(F, square.clone()), (F, square.clone())];
        let kernel = Kernel::MatMul { dtype: F, packed: false, epilogue: identity.clone() };
        let case = Case::new(kernel, reads, vec![(F, square.clone())], &mut random);
        check_forbidden(case, &mut random, (factor, 0));
    }
    let image = Layout::dense(&[1, 1, 6, 6]);
    let reads = vec![(F, image.clone()), (F, Layout::dense(&[1, 1, 3, 3]))];
    let same_size = window(2, 3, 1, 1);
    let kernel =
        Kernel::Conv { dtype: F, window: same_size.clone(), groups: 1, packed: false, epilogue: identity.clone() };
    check_forbidden(Case::new(kernel, reads.clone(), vec![(F, image.clone())], &mut random), &mut random, (0, 0));
    let kernel = Kernel::ConvTranspose { dtype: F, window: same_size.clone(), groups: 1, epilogue: identity.clone() };
    check_forbidden(Case::new(kernel, reads, vec![(F, image.clone())], &mut random), &mut random, (0, 0));
    for function in [PoolFn::Max, PoolFn::Average { count_padding: true }] {
        let kernel = Kernel::Pool { function, window: same_size.clone(), column_major: false };
        let case = Case::new(kernel, vec![(F, image.clone())], vec![(F, image.clone())], &mut random);
        check_forbidden(case, &mut random, (0, 0));
    }
    let line = Layout::dense(&[9]);
    // Backwards: every element is written where a later one is read.
    for kernel in [Kernel::Gather { axis: 0 }, Kernel::GatherElements { axis: 0 }, Kernel::GatherNd { batch_dims: 0 }] {
        let indices = match kernel {
            Kernel::GatherNd { .. } => Layout::dense(&[9, 1]),
            _ => line.clone(),
        };
        let reads = vec![(F, line.clone()), (DType::I32, indices)];
        let mut case = Case::new(kernel, reads, vec![(F, line.clone())], &mut random);
        case.contents[1] = (0..9).rev().collect();
        check_forbidden(case, &mut random, (0, 0));
    }
}
