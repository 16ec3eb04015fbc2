//! Pools and resizing.

use situ_runtime::kernel::{Kernel, NearestFn, PoolFn, ResizeAxis, ResizeFn, Window};
use situ_runtime::types::DType;

use super::case::{Bound, Case, Fill, Random, Tensor};
use super::walk;

fn window(random: &mut Random, spatial: usize) -> Window {
    Window {
        kernel: random.shape(spatial, 3),
        strides: random.shape(spatial, 3),
        pads_begin: (0..spatial).map(|_| random.range(0, 2)).collect(),
        pads_end: (0..spatial).map(|_| random.range(0, 2)).collect(),
        dilations: random.shape(spatial, 2),
    }
}

/// An operand, a window over it, and the result's shape, at times rounded up.
fn pooled(random: &mut Random) -> (Vec<usize>, Window, Vec<usize>) {
    let spatial = random.range(1, 3);
    let slide = window(random, spatial);
    let mut shape = random.shape(2, 3);
    let mut result = shape.clone();
    for axis in 0..spatial {
        let extent = random.range(1, [40, 14, 7][spatial - 1]);
        shape.push(extent);
        let padded = extent + slide.pads_begin[axis] + slide.pads_end[axis];
        let reach = (slide.kernel[axis] - 1) * slide.dilations[axis] + 1;
        let room = padded.saturating_sub(reach);
        let steps = if random.flip() { room.div_ceil(slide.strides[axis]) } else { room / slide.strides[axis] };
        result.push(steps + 1);
    }
    (shape, slide, result)
}

#[test]
fn max_pool() {
    walk("max_pool", 600, |random| {
        let (shape, window, result) = pooled(random);
        let dtype = random.pick(&DType::ALL);
        let fill = random.pick(&[Fill::Plain, Fill::Special]);
        let mut writes = vec![Tensor::written(random, dtype, &result)];
        if random.flip() {
            writes.push(Tensor::written(random, DType::I64, &result));
        }
        Case {
            kernel: Kernel::Pool { function: PoolFn::Max, window, column_major: random.flip() },
            reads: vec![Tensor::read(random, dtype, &shape, fill)],
            writes,
            bound: Bound::Equal,
        }
    });
}

#[test]
fn average_pool() {
    walk("average_pool", 600, |random| {
        let (shape, window, result) = pooled(random);
        let dtype = random.pick(&DType::ALL[..9]);
        let function = PoolFn::Average { count_padding: random.flip() };
        Case {
            kernel: Kernel::Pool { function, window, column_major: false },
            reads: vec![Tensor::read(random, dtype, &shape, Fill::Plain)],
            writes: vec![Tensor::written(random, dtype, &result)],
            bound: Bound::Ulps(8.0),
        }
    });
}

#[test]
fn pool_of_a_large_image() {
    walk("pool_of_a_large_image", 20, |random| {
        let kernel = random.range(2, 3);
        let window = Window {
            kernel: vec![kernel; 2],
            strides: vec![2; 2],
            pads_begin: vec![kernel / 2; 2],
            pads_end: vec![kernel / 2; 2],
            dilations: vec![1; 2],
        };
        let extent = random.range(100, 130);
        let result = (extent + 2 * (kernel / 2) - kernel) / 2 + 1;
        let function = random.pick(&[PoolFn::Max, PoolFn::Average { count_padding: false }]);
        Case {
            kernel: Kernel::Pool { function, window, column_major: false },
            reads: vec![Tensor::read(random, DType::F32, &[1, 9, extent, extent], Fill::Plain)],
            writes: vec![Tensor::written(random, DType::F32, &[1, 9, result, result])],
            bound: Bound::Ulps(8.0),
        }
    });
}

/// Coordinates as ONNX's transformation modes give them, and some that reach outside.
fn resize_axis(random: &mut Random, from: usize, to: usize, antialias: bool) -> ResizeAxis {
    let scale = to as f64 / from as f64;
    let (offset, numerator, denominator, shift) = match random.range(0, 3) {
        // half_pixel
        0 => (0.5, 1.0, scale, -0.5),
        // asymmetric
        1 => (0.0, 1.0, scale, 0.0),
        // align_corners
        2 => (0.0, from as f64 - 1.0, (to as f64 - 1.0).max(1.0), 0.0),
        // tf_crop_and_resize of a region that sticks out
        _ => (0.0, 1.3 * (from as f64 - 1.0), (to as f64 - 1.0).max(1.0), -0.2 * (from as f64 - 1.0)),
    };
    let support = if antialias { (1.0 / scale).max(1.0) } else { 1.0 };
    let [offset, numerator, denominator, shift, support] =
        [offset, numerator, denominator, shift, support].map(f64::to_bits);
    ResizeAxis { offset, numerator, denominator, shift, support }
}

const IDENTITY: ResizeAxis = ResizeAxis {
    offset: 0,
    numerator: 1.0f64.to_bits(),
    denominator: 1.0f64.to_bits(),
    shift: 0,
    support: 1.0f64.to_bits(),
};

#[test]
fn resize() {
    walk("resize", 900, |random| {
        let rank = random.range(0, 4);
        let shape = random.shape(rank, if rank < 3 { 20 } else { 6 });
        let function = random.pick(&[
            ResizeFn::Nearest(NearestFn::RoundPreferFloor),
            ResizeFn::Nearest(NearestFn::RoundPreferCeil),
            ResizeFn::Nearest(NearestFn::Floor),
            ResizeFn::Nearest(NearestFn::Ceil),
            ResizeFn::Linear { exclude_outside: false },
            ResizeFn::Linear { exclude_outside: true },
            ResizeFn::Linear { exclude_outside: false },
            ResizeFn::Cubic { a: (-0.75f64).to_bits(), exclude_outside: false },
            ResizeFn::Cubic { a: (-0.5f64).to_bits(), exclude_outside: true },
        ]);
        let nearest = matches!(function, ResizeFn::Nearest(_));
        let dtype = random.pick(if nearest { &DType::ALL } else { &DType::ALL[..9] });
        let antialias = !nearest && random.flip();
        let mut result = Vec::new();
        let axes = shape
            .iter()
            .map(|&extent| {
                if random.chance(3) {
                    result.push(extent);
                    return IDENTITY;
                }
                let to = random.range(1, 2 * extent + 1);
                result.push(to);
                resize_axis(random, extent, to, antialias)
            })
            .collect();
        let extrapolation = random.chance(3).then(|| 7.0f64.to_bits());
        Case {
            kernel: Kernel::Resize { function, axes, extrapolation },
            reads: vec![Tensor::read(random, dtype, &shape, Fill::Plain)],
            writes: vec![Tensor::written(random, dtype, &result)],
            bound: if nearest { Bound::Equal } else { Bound::Ulps(64.0) },
        }
    });
}
