//! `Map` against its scalar meaning: random programs, layouts, ties and threads.

use crate::kernel::Kernel;
use crate::kernel::harness::{Case, strided};
use crate::kernel::tile::tests::{Random, random_program};
use crate::point::{PointFn, PointInstr, Program};
use crate::types::{DType, Layout, dense_strides};

fn random_shape(random: &mut Random) -> Vec<usize> {
    let extents = [1, 2, 3, 5, 7, 16, 33, 130, 513];
    let mut shape: Vec<usize> = (0..random.below(4)).map(|_| extents[random.below(5)]).collect();
    shape.push(extents[random.below(extents.len())]);
    if random.below(3) == 0 {
        shape.rotate_right(1);
    }
    shape
}

/// Dense, permuted, broadcast, backwards or spaced.
fn random_layout(random: &mut Random, shape: &[usize], written: bool) -> Layout {
    let mut order: Vec<usize> = (0..shape.len()).collect();
    if random.below(3) == 0 {
        for i in (1..order.len()).rev() {
            order.swap(i, random.below(i + 1));
        }
    }
    let mut strides = vec![0i64; shape.len()];
    let mut step = if random.below(4) == 0 { 2 } else { 1 };
    for &axis in order.iter().rev() {
        strides[axis] = step;
        step *= shape[axis] as i64 + i64::from(random.below(6) == 0);
    }
    for stride in &mut strides {
        match random.below(8) {
            0 => *stride = -*stride,
            1 | 2 if !written => *stride = 0,
            _ => {}
        }
    }
    strided(shape, &strides)
}

fn one(function: PointFn, dtypes: &[DType]) -> Program {
    let mut args = [0; 3];
    (0..dtypes.len()).for_each(|i| args[i] = i as u16);
    Program { inputs: dtypes.to_vec(), code: vec![PointInstr { function, args }], outputs: vec![dtypes.len() as u16] }
}

#[test]
fn random_programs_agree_with_their_scalar_meaning() {
    let mut random = Random(5);
    for _ in 0..150 {
        let inputs: Vec<DType> = (0..1 + random.below(4)).map(|_| DType::ALL[random.below(10)]).collect();
        let length = random.below(9);
        let mut program = random_program(&mut random, &inputs, length);
        for _ in 0..random.below(3) {
            program.outputs.push(random.below(program.registers()) as u16);
        }
        // Functions whose error the next instruction may magnify without bound are left to tests of their own.
        program.code.iter_mut().for_each(|instr| {
            let row = instr.function.row();
            if row.ulps > 0 {
                instr.function = match row.arity {
                    1 => PointFn::Neg,
                    _ => PointFn::Mul,
                };
            }
        });
        let shape = random_shape(&mut random);
        let dtypes = program.dtypes().unwrap();
        let outputs: Vec<DType> = program.outputs.iter().map(|&reg| dtypes[reg as usize]).collect();
        let reads: Vec<_> = inputs.iter().map(|&dtype| (dtype, random_layout(&mut random, &shape, false))).collect();
        let writes: Vec<_> = outputs.iter().map(|&dtype| (dtype, random_layout(&mut random, &shape, true))).collect();
        // Every read of a result's size takes that result's layout, so that it can be tied.
        let mut reads: Vec<(DType, Layout)> = reads;
        let mut ties = Vec::new();
        for (index, read) in reads.iter_mut().enumerate() {
            let write = random.below(writes.len());
            if writes[write].0.size() == read.0.size() && !ties.iter().any(|&(_, tied)| tied == write) {
                read.1 = writes[write].1.clone();
                ties.push((index, write));
            }
        }
        let case = Case::new(Kernel::Map { program }, reads, writes, &mut random);
        case.check(&[&ties], 0.0);
    }
}

#[test]
fn large_maps_are_divided_among_threads() {
    let mut random = Random(6);
    let shape = [70, 33, 65];
    let dense = Layout::dense(&shape);
    let f = DType::F32;
    let by_middle = strided(&shape, &[0, 1, 0]);
    let turned = strided(&shape, &[1, 70, 70 * 33]);
    for (function, second) in [(PointFn::Add, dense.clone()), (PointFn::Mul, by_middle), (PointFn::Sub, turned)] {
        let program = one(function, &[f, f]);
        let reads = vec![(f, dense.clone()), (f, second)];
        let case = Case::new(Kernel::Map { program }, reads, vec![(f, dense.clone())], &mut random);
        case.check(&[&[(0, 0)]], 0.0);
    }
    let case = Case::new(
        Kernel::Map { program: one(PointFn::Gelu, &[f]) },
        vec![(f, dense.clone())],
        vec![(f, dense)],
        &mut random,
    );
    case.check(&[&[(0, 0)]], 1e-5);
}

#[test]
fn copies_transpose_every_width() {
    let mut random = Random(7);
    for dtype in [DType::Bool, DType::F16, DType::F32, DType::I64] {
        for shape in [vec![3, 50, 37], vec![64, 64], vec![2, 19, 3, 33], vec![120, 5, 120]] {
            let mut reversed: Vec<usize> = shape.iter().rev().copied().collect();
            let mut strides = dense_strides(&reversed);
            strides.reverse();
            let turned = strided(&shape, &strides);
            reversed.clear();
            let program = Program::identity(dtype);
            let writes = vec![(dtype, Layout::dense(&shape))];
            let case =
                Case::new(Kernel::Map { program: program.clone() }, vec![(dtype, turned.clone())], writes, &mut random);
            // Any byte but 0 and 1 is no `bool`; copies keep the bits of what they are given.
            let mut case = case;
            if dtype == DType::Bool {
                case.contents.iter_mut().flatten().for_each(|bits| *bits &= 1);
            }
            case.check(&[], 0.0);
            let writes = vec![(dtype, turned)];
            let mut case =
                Case::new(Kernel::Map { program }, vec![(dtype, Layout::dense(&shape))], writes, &mut random);
            if dtype == DType::Bool {
                case.contents.iter_mut().flatten().for_each(|bits| *bits &= 1);
            }
            case.check(&[], 0.0);
        }
    }
}

#[test]
fn empty_and_scalar_domains_are_maps() {
    let mut random = Random(8);
    let program = one(PointFn::Add, &[DType::F32, DType::F32]);
    for shape in [vec![], vec![1, 1], vec![0], vec![3, 0, 2]] {
        let layout = Layout::dense(&shape);
        let reads = vec![(DType::F32, layout.clone()), (DType::F32, layout.clone())];
        let case = Case::new(Kernel::Map { program: program.clone() }, reads, vec![(DType::F32, layout)], &mut random);
        case.check(&[&[(1, 0)]], 0.0);
    }
}
