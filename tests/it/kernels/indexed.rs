//! Gathers and scatters, with indices in and out of range.

use situ_runtime::kernel::{Kernel, ScatterFn};
use situ_runtime::types::DType;

use super::case::{Bound, Case, Fill, Random, Tensor, bits_of};
use super::walk;

/// An index tensor into axes of `extent`; one time in ten with an index out of range somewhere.
fn indices(random: &mut Random, shape: &[usize], extent: usize) -> Tensor {
    let dtype = random.pick(&[DType::I32, DType::I64]);
    let mut indices = Tensor::read(random, dtype, shape, Fill::Index(extent));
    if random.chance(10)
        && let Some((_, high)) = indices.layout.hull()
    {
        let wrong = random.pick(&[extent as f64, -(extent as f64) - 1.0, 2e9]);
        let position = random.range(0, high as usize - 1);
        indices.buffer.set(dtype, position, bits_of(dtype, wrong));
    }
    indices
}

#[test]
fn gather() {
    walk("gather", 600, |random| {
        let rank = random.range(1, 4);
        let axis = random.range(0, rank - 1);
        let shape = random.shape(rank, 6);
        let lookups = random.range(0, 2);
        let index_shape = random.shape(lookups, 5);
        let result = [&shape[..axis], &index_shape, &shape[axis + 1..]].concat();
        let dtype = random.pick(&DType::ALL);
        Case {
            kernel: Kernel::Gather { axis },
            reads: vec![Tensor::read(random, dtype, &shape, Fill::Plain), indices(random, &index_shape, shape[axis])],
            writes: vec![Tensor::written(random, dtype, &result)],
            bound: Bound::Equal,
        }
    });
}

#[test]
fn embedding() {
    walk("embedding", 10, |random| {
        let (rows, width, count) = (random.range(50, 90), random.range(60, 130), random.range(500, 900));
        Case {
            kernel: Kernel::Gather { axis: 0 },
            reads: vec![Tensor::read(random, DType::F32, &[rows, width], Fill::Plain), indices(random, &[count], rows)],
            writes: vec![Tensor::written(random, DType::F32, &[count, width])],
            bound: Bound::Equal,
        }
    });
}

#[test]
fn gather_elements() {
    walk("gather_elements", 400, |random| {
        let rank = random.range(1, 4);
        let axis = random.range(0, rank - 1);
        let shape = random.shape(rank, 6);
        let mut index_shape: Vec<usize> = shape.iter().map(|&extent| random.range(1, extent)).collect();
        index_shape[axis] = random.range(1, 8);
        let dtype = random.pick(&DType::ALL);
        Case {
            kernel: Kernel::GatherElements { axis },
            reads: vec![Tensor::read(random, dtype, &shape, Fill::Plain), indices(random, &index_shape, shape[axis])],
            writes: vec![Tensor::written(random, dtype, &index_shape)],
            bound: Bound::Equal,
        }
    });
}

/// Fills a tensor of coordinates so that each is in range of its own axis.
fn coordinates(random: &mut Random, lookups: &[usize], extents: &[usize]) -> Tensor {
    let shape = [lookups, &[extents.len()]].concat();
    let least = extents.iter().copied().min().unwrap_or(1);
    indices(random, &shape, least)
}

#[test]
fn gather_nd() {
    walk("gather_nd", 400, |random| {
        let rank = random.range(1, 4);
        let shape = random.shape(rank, 6);
        let batch_dims = random.range(0, rank - 1);
        let depth = random.range(0, rank - batch_dims);
        let more = random.range(0, 2);
        let lookups = [&shape[..batch_dims], &random.shape(more, 4)].concat();
        let result = [&lookups, &shape[batch_dims + depth..]].concat();
        let dtype = random.pick(&DType::ALL);
        Case {
            kernel: Kernel::GatherNd { batch_dims },
            reads: vec![
                Tensor::read(random, dtype, &shape, Fill::Plain),
                coordinates(random, &lookups, &shape[batch_dims..batch_dims + depth]),
            ],
            writes: vec![Tensor::written(random, dtype, &result)],
            bound: Bound::Equal,
        }
    });
}

fn scatter_function(random: &mut Random, dtype: DType) -> ScatterFn {
    let all = [ScatterFn::Assign, ScatterFn::Max, ScatterFn::Min, ScatterFn::Add, ScatterFn::Mul];
    random.pick(if dtype == DType::Bool { &all[..3] } else { &all })
}

#[test]
fn scatter_elements() {
    walk("scatter_elements", 500, |random| {
        let rank = random.range(1, 4);
        let axis = random.range(0, rank - 1);
        let shape = random.shape(rank, 6);
        let mut index_shape: Vec<usize> = shape.iter().map(|&extent| random.range(1, extent)).collect();
        index_shape[axis] = random.range(1, 8);
        let dtype = random.pick(&DType::ALL);
        let fill = random.pick(&[Fill::Plain, Fill::Special]);
        Case {
            kernel: Kernel::ScatterElements { axis, function: scatter_function(random, dtype) },
            reads: vec![indices(random, &index_shape, shape[axis]), Tensor::read(random, dtype, &index_shape, fill)],
            writes: vec![Tensor::written(random, dtype, &shape)],
            bound: Bound::Equal,
        }
    });
}

#[test]
fn scatter_nd() {
    walk("scatter_nd", 500, |random| {
        let rank = random.range(1, 4);
        let shape = random.shape(rank, 6);
        let (depth, more) = (random.range(0, rank), random.range(0, 2));
        let lookups = random.shape(more, 4);
        let updates = [&lookups, &shape[depth..]].concat();
        let dtype = random.pick(&DType::ALL);
        let fill = random.pick(&[Fill::Plain, Fill::Special]);
        Case {
            kernel: Kernel::ScatterNd { function: scatter_function(random, dtype) },
            reads: vec![coordinates(random, &lookups, &shape[..depth]), Tensor::read(random, dtype, &updates, fill)],
            writes: vec![Tensor::written(random, dtype, &shape)],
            bound: Bound::Equal,
        }
    });
}

/// Places for a block of `sizes` on `axes` of `shape`, a few of them outside.
fn places(random: &mut Random, axes: &[usize], shape: &[usize], sizes: &[usize]) -> Vec<Tensor> {
    let place = |&axis: &usize| {
        let last = (shape[axis] - sizes[axis]) as i64;
        let inside = random.range(0, last as usize) as i64;
        let value = if random.chance(15) { random.pick(&[-1, last + 1, i64::MAX, i64::MIN]) } else { inside };
        let mut place = Tensor::read(random, DType::I64, &[], Fill::Plain);
        place.buffer.set(DType::I64, place.layout.offset as usize, value as u64);
        place
    };
    axes.iter().map(place).collect()
}

fn block(random: &mut Random) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let rank = random.range(1, 4);
    let shape = random.shape(rank, 6);
    let axes: Vec<usize> = (0..rank).filter(|_| random.range(0, 1) == 0).collect();
    let sizes = (0..rank).map(|axis| if axes.contains(&axis) { random.range(0, shape[axis]) } else { shape[axis] });
    let sizes = sizes.collect();
    (shape, axes, sizes)
}

#[test]
fn dynamic_slice() {
    walk("dynamic_slice", 500, |random| {
        let (shape, axes, sizes) = block(random);
        let dtype = random.pick(&DType::ALL);
        let mut reads = vec![Tensor::read(random, dtype, &shape, Fill::Special)];
        reads.extend(places(random, &axes, &shape, &sizes));
        let writes = vec![Tensor::written(random, dtype, &sizes)];
        Case { kernel: Kernel::DynamicSlice { axes }, reads, writes, bound: Bound::Equal }
    });
}

#[test]
fn dynamic_update() {
    walk("dynamic_update", 500, |random| {
        let (shape, axes, sizes) = block(random);
        let dtype = random.pick(&DType::ALL);
        let mut reads = vec![Tensor::read(random, dtype, &sizes, Fill::Special)];
        reads.extend(places(random, &axes, &shape, &sizes));
        let writes = vec![Tensor::written(random, dtype, &shape)];
        Case { kernel: Kernel::DynamicUpdate { axes }, reads, writes, bound: Bound::Equal }
    });
}
