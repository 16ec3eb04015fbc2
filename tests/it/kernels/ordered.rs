//! Searches along an axis and running totals.

use situ_runtime::kernel::{CumulativeFn, Kernel};
use situ_runtime::types::DType;

use super::case::{Bound, Case, Fill, Random, Tensor};
use super::walk;

fn shape_and_axis(random: &mut Random) -> (Vec<usize>, usize) {
    let rank = random.range(1, 4);
    let mut shape = random.shape(rank, 5);
    let axis = random.range(0, rank - 1);
    shape[axis] = random.range(1, 40);
    if random.chance(3) {
        let wide = random.range(0, rank - 1);
        shape[wide] = random.range(60, 140);
    }
    (shape, axis)
}

#[test]
fn arg_reduce() {
    walk("arg_reduce", 500, |random| {
        let (shape, axis) = shape_and_axis(random);
        let mut result = shape.clone();
        result[axis] = 1;
        let dtype = random.pick(&DType::ALL);
        let fill = random.pick(&[Fill::Plain, Fill::Special]);
        Case {
            kernel: Kernel::ArgReduce { largest: random.flip(), axis, last: random.flip() },
            reads: vec![Tensor::read(random, dtype, &shape, fill)],
            writes: vec![Tensor::written(random, DType::I64, &result)],
            bound: Bound::Equal,
        }
    });
}

#[test]
fn top_k() {
    walk("top_k", 500, |random| {
        let (shape, axis) = shape_and_axis(random);
        let mut result = shape.clone();
        result[axis] = if random.flip() { random.range(0, shape[axis].min(4)) } else { random.range(0, shape[axis]) };
        let dtype = random.pick(&DType::ALL);
        let fill = random.pick(&[Fill::Plain, Fill::Special]);
        Case {
            kernel: Kernel::TopK { axis, largest: random.flip(), sorted: true },
            reads: vec![Tensor::read(random, dtype, &shape, fill)],
            writes: vec![Tensor::written(random, dtype, &result), Tensor::written(random, DType::I64, &result)],
            bound: Bound::Equal,
        }
    });
}

/// A line much longer than the buffer of candidates, which is cut down many times.
#[test]
fn top_k_of_a_long_line() {
    walk("top_k_of_a_long_line", 8, |random| {
        let dtype = random.pick(&[DType::F32, DType::F64, DType::I8]);
        let count = random.range(1, 9);
        Case {
            kernel: Kernel::TopK { axis: 1, largest: random.flip(), sorted: true },
            reads: vec![Tensor::read(random, dtype, &[3, 9000], Fill::Plain)],
            writes: vec![Tensor::written(random, dtype, &[3, count]), Tensor::written(random, DType::I64, &[3, count])],
            bound: Bound::Equal,
        }
    });
}

#[test]
fn cumulative() {
    walk("cumulative", 600, |random| {
        let (shape, axis) = shape_and_axis(random);
        let dtype = random.pick(&DType::ALL[..9]);
        let function = random.pick(&[CumulativeFn::Sum, CumulativeFn::Prod]);
        let fill = if function == CumulativeFn::Sum { Fill::Plain } else { Fill::NearOne };
        let kernel = Kernel::Cumulative { function, axis, exclusive: random.flip(), reverse: random.flip() };
        let write = Tensor::written(random, dtype, &shape);
        let mut read = Tensor::read(random, dtype, &shape, fill);
        // In its own bytes, one time in three.
        if random.chance(3) {
            read = Tensor { tied: Some(0), ..write.clone() };
        }
        Case { kernel, reads: vec![read], writes: vec![write], bound: Bound::Ulps(1.0) }
    });
}
