//! The contract, held against the kernels: every permitted tie gives the bits of the untied run, for every instruction
//! set, thread count and shift in memory, over sizes around each block; and what is not permitted is shown to differ.
//!
//! Functions are affine, so that a second application to an element shows.

use crate::contract::{Permission, contract};
use crate::executable::{Access, Write};
use crate::kernel::harness::{Case, How, strided};
use crate::kernel::row_tests::affine;
use crate::kernel::tile::tests::Random;
use crate::kernel::{
    CumulativeFn, Kernel, PoolFn, RecurrentFn, ReduceFn, ResizeAxis, ResizeFn, RowFn, ScatterFn, Window,
};
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
    check_differs(&case, tie);
}

/// The same with the operands as they are.
fn check_differs(case: &Case, tie: (usize, usize)) {
    let permitted = contract(&case.kernel, &case.reads, &case.writes);
    assert!(!permitted.iter().any(|pair| (pair.0, pair.1) == tie), "{:?}", case.kernel);
    let tied = case.expected_tied(&How { isa: Isa::PORTABLE, threads: 1, ties: &[tie], shift: 0 });
    assert!(tied != case.expected(), "the tie {tie:?} of {} shows nothing", case.kernel.name());
}

/// Shapes whose lengths lie around vectors (4, 8 and 16 elements: 1, W - 1, W, W + 1, 2 W - 1, 2 W + 1, 5 W + 3), around
/// tiles, and what is worth a thread.
const SHAPES: [[usize; 2]; 20] = [
    [1, 1],
    [2, 3],
    [2, 4],
    [1, 5],
    [3, 7],
    [2, 8],
    [3, 9],
    [2, 15],
    [2, 16],
    [3, 17],
    [1, 23],
    [2, 31],
    [5, 33],
    [2, 43],
    [1, 83],
    [1, 511],
    [2, 512],
    [3, 513],
    [40, 257],
    [300, 130],
];

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
            // A scalar is read at the place of the only element, too.
            let expected = if shape == [1, 1] { vec![same(0), same(1), same(2)] } else { vec![same(0), same(2)] };
            check_permitted(case, &mut random, &expected);
            // A cast between types of one size, read from the bytes it is written to.
            let cast = PointInstr { function: PointFn::Cast(DType::I32), args: [0; 3] };
            let program = Program { inputs: vec![F], code: vec![cast], outputs: vec![1] };
            let writes = vec![(DType::I32, layout.clone())];
            let case = Case::new(Kernel::Map { program }, vec![(F, layout.clone())], writes, &mut random);
            check_permitted(case, &mut random, &[same(0)]);
        }
    }
}

/// A result whose elements are wider than the operand's would overwrite elements that are still to be read.
#[test]
fn no_element_is_written_over_one_of_another_size() {
    for (from, to) in [(F, DType::F64), (DType::F64, F), (DType::F16, F), (DType::Bool, DType::I64), (F, DType::I8)] {
        let cast = PointInstr { function: PointFn::Cast(to), args: [0; 3] };
        let program = Program { inputs: vec![from], code: vec![cast], outputs: vec![1] };
        for layout in written_layouts(&[3, 5]) {
            let access = |dtype| Access { value: 0, dtype, layout: layout.clone() };
            let writes = [Write { access: access(to), base: None }];
            assert_eq!(contract(&Kernel::Map { program: program.clone() }, &[access(from)], &writes), []);
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
                // Where there is one dense row, its scale lies like it.
                let scales = shape[0] == 1 && case.writes[0].access.layout.strides[1] == 1;
                let expected: Vec<_> = match scales {
                    true => vec![local(0), local(1), local(2), same(3), same(4)],
                    false => vec![local(0), local(2), same(4)],
                };
                check_permitted(case, &mut random, &expected);
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
fn totals_are_stored_after_their_element_is_read() {
    let mut random = Random(37);
    let kinds = [(CumulativeFn::Sum, false, false), (CumulativeFn::Sum, true, true), (CumulativeFn::Prod, false, true)];
    for dtype in [F, DType::F16, DType::I32] {
        for (function, exclusive, reverse) in kinds {
            for shape in SHAPES {
                for layout in written_layouts(&shape) {
                    for axis in 0..2 {
                        let kernel = Kernel::Cumulative { function, axis, exclusive, reverse };
                        let (reads, writes) = (vec![(dtype, layout.clone())], vec![(dtype, layout.clone())]);
                        let mut case = Case::new(kernel, reads, writes, &mut random);
                        // Neither sums nor products grow beyond what a half holds, and no two results in a row are equal.
                        for (n, bits) in case.contents[0].iter_mut().enumerate() {
                            *bits = match dtype {
                                DType::I32 => (n % 3 + 1) as u64,
                                _ => crate::scalar::encode_float(dtype, if n % 2 == 0 { 0.75 } else { 1.5 }),
                            };
                        }
                        case.check(&[&[(0, 0)]], 0.02);
                        assert_eq!(
                            contract(&case.kernel, &case.reads, &case.writes),
                            [(0, 0, Permission::Running)],
                            "{:?}",
                            case.kernel
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_is_tied_to_nothing() {
    let mut random = Random(40);
    for shape in [[3, 0], [0, 5]] {
        let layout = Layout::dense(&shape);
        let double = Program {
            inputs: vec![F],
            code: vec![PointInstr { function: PointFn::Add, args: [0, 0, 0] }],
            outputs: vec![1],
        };
        let softmax =
            Kernel::Row { function: RowFn::Softmax, prologue: double.clone(), epilogue: Program::identity(F) };
        let total = Kernel::Cumulative { function: CumulativeFn::Sum, axis: 0, exclusive: false, reverse: false };
        for kernel in [Kernel::Map { program: double }, softmax, total] {
            Case::new(kernel, vec![(F, layout.clone())], vec![(F, layout.clone())], &mut random)
                .check(&[&[(0, 0)]], 0.0);
        }
    }
}

/// `[steps, batch, input, hidden]` of a recurrent kernel.
fn recurrent(function: RecurrentFn, sizes: [usize; 4], reverse: &[bool], dtype: DType, random: &mut Random) -> Case {
    let [steps, batch, input, hidden] = sizes;
    let (dirs, is_lstm) = (reverse.len(), function == RecurrentFn::Lstm);
    let gates = match function {
        RecurrentFn::Lstm => 4,
        RecurrentFn::Gru { .. } => 3,
        RecurrentFn::Rnn => 1,
    };
    let dense = |shape: &[usize]| (dtype, Layout::dense(shape));
    let state = dense(&[dirs, batch, hidden]);
    let mut reads = vec![
        dense(&[steps, batch, input]),
        dense(&[dirs, gates * hidden, input]),
        dense(&[dirs, gates * hidden, hidden]),
        dense(&[dirs, 2 * gates * hidden]),
        state.clone(),
    ];
    let mut writes = vec![dense(&[steps, dirs, batch, hidden]), state.clone()];
    if is_lstm {
        reads.extend([state.clone(), dense(&[dirs, 3 * hidden])]);
        writes.push(state);
    }
    reads.push((DType::I32, Layout::dense(&[batch])));
    let kernel = Kernel::Recurrent {
        function,
        hidden,
        reverse: reverse.to_vec(),
        clip: None,
        input_forget: false,
        packed: false,
    };
    let mut case = Case::new(kernel, reads, writes, random);
    integral(&mut case, random);
    for content in &mut case.contents {
        for bits in content.iter_mut().filter(|_| dtype.is_float()) {
            *bits = crate::scalar::encode_float(dtype, crate::scalar::decode_float(dtype, *bits) / 8.0);
        }
    }
    let last = case.contents.len() - 1;
    case.contents[last] = (0..batch).map(|b| steps.saturating_sub(b % 3) as u64).collect();
    case
}

const CELLS: [RecurrentFn; 4] = [
    RecurrentFn::Lstm,
    RecurrentFn::Gru { linear_before_reset: false },
    RecurrentFn::Gru { linear_before_reset: true },
    RecurrentFn::Rnn,
];

#[test]
fn sequences_read_their_first_state_before_they_write_the_last() {
    let mut random = Random(38);
    for function in CELLS {
        for (sizes, reverse) in [
            ([1, 1, 1, 1], &[false][..]),
            ([5, 3, 7, 17], &[false]),
            ([4, 2, 9, 16], &[true]),
            ([3, 4, 5, 33], &[false, true]),
            ([2, 40, 64, 130], &[false]),
        ] {
            for dtype in [F, DType::F16] {
                let case = recurrent(function, sizes, reverse, dtype, &mut random);
                let carried = |read, write| (read, write, Permission::Carried);
                let (expected, ties): (Vec<_>, Vec<&[(usize, usize)]>) = match function {
                    RecurrentFn::Lstm => (
                        vec![carried(4, 1), carried(5, 1), carried(4, 2), carried(5, 2)],
                        vec![&[(4, 1)], &[(5, 2)], &[(5, 1)], &[(4, 2)], &[(4, 1), (5, 2)], &[(4, 2), (5, 1)]],
                    ),
                    _ => (vec![carried(4, 1)], vec![&[(4, 1)]]),
                };
                // Of one direction, one batch element and one unit the weights have the state's layout, but are none.
                assert_eq!(contract(&case.kernel, &case.reads, &case.writes), expected);
                case.check(&ties, if dtype == F { 1e-3 } else { 0.05 });
            }
        }
    }
}

#[test]
fn elements_of_every_type_are_mapped_in_place() {
    let mut random = Random(39);
    for dtype in [DType::F16, DType::BF16, DType::F64, DType::I8, DType::U8, DType::I16, DType::I32, DType::I64] {
        for shape in SHAPES {
            for layout in written_layouts(&shape) {
                // `x + x + y`, which no second application leaves alone.
                let code = vec![
                    PointInstr { function: PointFn::Add, args: [0, 0, 0] },
                    PointInstr { function: PointFn::Add, args: [2, 1, 0] },
                ];
                let program = Program { inputs: vec![dtype; 2], code, outputs: vec![3] };
                let reads = vec![(dtype, layout.clone()), (dtype, layout.clone())];
                let case = Case::new(Kernel::Map { program }, reads, vec![(dtype, layout.clone())], &mut random);
                check_permitted(case, &mut random, &[same(0), same(1)]);
            }
        }
    }
}

/// Whether some tie of a form is shown to differ, cannot be asked for, or need not be forbidden; by an exhaustive match, so
/// that a new kernel is missed here.
fn what_is_forbidden(kernel: &Kernel) -> &'static str {
    match kernel {
        Kernel::Map { .. } | Kernel::Row { .. } => "every operand of the result's layout is permitted",
        Kernel::Reduce { .. } => {
            "an operand has the result's layout only where every reduced axis has extent 1; then it would be safe"
        }
        Kernel::MatMul { .. } | Kernel::Conv { .. } | Kernel::ConvTranspose { .. } => "either factor differs",
        Kernel::Pool { .. } | Kernel::Resize { .. } => "the input differs",
        Kernel::Gather { .. } | Kernel::GatherElements { .. } | Kernel::GatherNd { .. } => "data and indices differ",
        Kernel::ScatterElements { .. } | Kernel::ScatterNd { .. } => "updates and indices differ",
        Kernel::ArgReduce { .. } => {
            "positions have the input's layout only where the axis has extent 1, and then read it before they are written"
        }
        Kernel::TopK { .. } => "the input differs in values and in positions",
        Kernel::Cumulative { .. } => "the operand is permitted",
        Kernel::Recurrent { .. } => {
            "recurrent weights differ; inputs, biases and lengths have another rank than any result that is dense"
        }
        Kernel::DynamicSlice { .. } => "its source has another shape than the block it takes, or is that block",
        Kernel::DynamicUpdate { .. } => "its base is permitted as the base of the write; the block has another shape",
        // What a body may share is a matter of its own steps; the tests of schedules spoil them.
        Kernel::If { .. } | Kernel::Loop { .. } => "operands and results of a body are apart",
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
    // Indices under the result: what is gathered overwrites where to gather next.
    let reads = vec![(F, line.clone()), (DType::I32, line.clone())];
    let mut case = Case::new(Kernel::Gather { axis: 0 }, reads, vec![(F, line.clone())], &mut random);
    case.contents[1] = (0..9).rev().collect();
    assert!(contract(&case.kernel, &case.reads, &case.writes).is_empty());
    // They are read element by element, so the scalar meaning bears it; a kernel that looks ahead in them does not.
    assert_eq!(what_is_forbidden(&case.kernel), "data and indices differ");
    for function in [ScatterFn::Assign, ScatterFn::Add] {
        // The updates are the old content, which is the base at the same time.
        let kernel = Kernel::ScatterElements { axis: 0, function };
        let reads = vec![(DType::I32, line.clone()), (F, line.clone())];
        let mut case = Case::new(kernel, reads, vec![(F, line.clone())], &mut random);
        case.contents[0] = (0..9).rev().collect();
        check_forbidden(case, &mut random, (1, 0));
    }
    let half = [0.5f64, 2.0, 1.0, 0.0].map(f64::to_bits);
    let axis =
        ResizeAxis { offset: half[0], numerator: half[2], denominator: half[2], shift: half[3], support: half[2] };
    let function = ResizeFn::Linear { exclude_outside: false };
    // Half an element aside: every result is the mean of an element and the one after it, backwards the one before it.
    let shifted = ResizeAxis { shift: (-1.0f64).to_bits(), ..axis };
    let kernel = Kernel::Resize { function, axes: vec![shifted], extrapolation: None };
    check_forbidden(
        Case::new(kernel, vec![(F, line.clone())], vec![(F, line.clone())], &mut random),
        &mut random,
        (0, 0),
    );
    let long = DType::I64;
    let kernel = Kernel::TopK { axis: 0, largest: true, sorted: true };
    for write in [0, 1] {
        let writes = vec![(long, line.clone()), (long, line.clone())];
        let mut case = Case::new(kernel.clone(), vec![(long, line.clone())], writes, &mut random);
        case.contents[0] = (0..9).collect();
        check_forbidden(case, &mut random, (0, write));
    }
    // Recurrent weights under the last state: the second batch element would run with what the first has left.
    let case = recurrent(RecurrentFn::Rnn, [2, 3, 3, 3], &[false], F, &mut random);
    check_differs(&case, (2, 1));
    for kernel in [
        Kernel::Conv { dtype: F, window: same_size.clone(), groups: 1, packed: false, epilogue: identity.clone() },
        Kernel::ConvTranspose { dtype: F, window: same_size, groups: 1, epilogue: identity },
    ] {
        // Two images through two filters of the images' own shape.
        let four = Layout::dense(&[2, 2, 3, 3]);
        let reads = vec![(F, four.clone()), (F, four.clone())];
        check_forbidden(Case::new(kernel, reads, vec![(F, four)], &mut random), &mut random, (1, 0));
    }
}
