//! Recurrent cells against their scalar meaning, with every attribute.

use super::*;
use crate::kernel::Kernel;
use crate::kernel::testing::{Case, access, strided};

struct Numbers {
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
}

fn case(function: RecurrentFn, numbers: &Numbers, reverse: &[bool], clip: Option<f64>, forget: bool) -> Case {
    let Numbers { steps, batch, input, hidden } = *numbers;
    case_of(DType::F32, function, [steps, batch, input, hidden], reverse, clip, forget)
}

fn case_of(
    dtype: DType,
    function: RecurrentFn,
    [steps, batch, input, hidden]: [usize; 4],
    reverse: &[bool],
    clip: Option<f64>,
    input_forget: bool,
) -> Case {
    let dirs = reverse.len();
    let gates = match function {
        RecurrentFn::Lstm => 4,
        RecurrentFn::Gru { .. } => 3,
        RecurrentFn::Rnn => 1,
    };
    let dense = |shape: &[usize]| access(dtype, Layout::dense(shape));
    let mut reads = vec![
        dense(&[steps, batch, input]),
        dense(&[dirs, gates * hidden, input]),
        dense(&[dirs, gates * hidden, hidden]),
        dense(&[dirs, 2 * gates * hidden]),
        dense(&[dirs, batch, hidden]),
    ];
    let mut writes = vec![dense(&[steps, dirs, batch, hidden]), dense(&[dirs, batch, hidden])];
    if function == RecurrentFn::Lstm {
        reads.push(dense(&[dirs, batch, hidden]));
        reads.push(dense(&[dirs, 3 * hidden]));
        writes.push(dense(&[dirs, batch, hidden]));
    }
    reads.push(access(DType::I32, Layout::dense(&[batch])));
    let mut given = vec![None; reads.len()];
    // Lengths are written times eleven, as integers are.
    given[reads.len() - 1] = Some((0..batch).map(|b| (steps.saturating_sub(b % 3)) as f64 / 11.0 + 0.01).collect());
    let clip = clip.map(f64::to_bits);
    let kernel = Kernel::Recurrent { function, hidden, reverse: reverse.to_vec(), clip, input_forget, packed: false };
    let writes = writes.into_iter().map(|access| Write { access, base: None }).collect();
    Case { kernel, reads, writes, tied: Vec::new(), given }
}

fn check(case: &Case, tolerance: f64) {
    let Kernel::Recurrent { function, hidden, reverse, clip, input_forget, .. } = &case.kernel else {
        panic!("a recurrent kernel")
    };
    let attributes =
        Attributes { function: *function, hidden: *hidden, reverse, clip: *clip, input_forget: *input_forget };
    let prepared = PreparedRecurrent::prepare(attributes, &case.reads, &case.writes, 3).unwrap();
    case.check(&|isa, call| prepared.run(isa, call), prepared.workspace_bytes(), tolerance);
}

const CELLS: [RecurrentFn; 4] = [
    RecurrentFn::Lstm,
    RecurrentFn::Gru { linear_before_reset: false },
    RecurrentFn::Gru { linear_before_reset: true },
    RecurrentFn::Rnn,
];

#[test]
fn every_cell_in_both_directions() {
    for function in CELLS {
        for reverse in [&[false][..], &[true], &[false, true]] {
            for (steps, batch, input, hidden) in [(4, 3, 5, 7), (1, 1, 1, 1), (9, 2, 16, 17), (70, 1, 3, 8)] {
                check(&case(function, &Numbers { steps, batch, input, hidden }, reverse, None, false), 1e-5);
            }
        }
    }
}

#[test]
fn clips_and_coupled_gates() {
    for function in CELLS {
        let numbers = Numbers { steps: 5, batch: 4, input: 6, hidden: 9 };
        check(&case(function, &numbers, &[false], Some(0.3), true), 1e-5);
    }
}

#[test]
fn large_enough_for_threads() {
    let numbers = Numbers { steps: 3, batch: 5, input: 40, hidden: 180 };
    check(&case(RecurrentFn::Lstm, &numbers, &[false, true], None, false), 1e-4);
}

#[test]
fn half_precision() {
    for (dtype, tolerance) in [(DType::F16, 3e-3), (DType::BF16, 3e-2)] {
        check(&case_of(dtype, RecurrentFn::Lstm, [4, 2, 5, 9], &[true], None, false), tolerance);
    }
}

#[test]
fn strided_operands() {
    let numbers = Numbers { steps: 4, batch: 3, input: 5, hidden: 6 };
    let mut case = case(RecurrentFn::Rnn, &numbers, &[false], None, false);
    case.reads[0].layout = strided(0, &[4, 3, 5], &[5, 20, 1]);
    case.reads[1].layout = strided(0, &[1, 6, 5], &[0, 1, 6]);
    case.reads[2].layout = strided(1, &[1, 6, 6], &[0, 9, 1]);
    case.writes[0].access.layout = strided(0, &[4, 1, 3, 6], &[6, 0, 24, 1]);
    check(&case, 1e-5);
}

#[test]
fn nothing_to_do() {
    for [steps, batch, input, hidden] in [[0, 2, 3, 4], [2, 0, 3, 4], [2, 2, 0, 4], [2, 2, 3, 0]] {
        check(&case(RecurrentFn::Lstm, &Numbers { steps, batch, input, hidden }, &[false], None, false), 1e-5);
    }
}
