//! Interpolation onto other grids, as every source of models has it.

use crate::ir::ValueId;
use crate::ops::{Float, Op, ResizeAxis, ResizeFn};
use crate::source::words::{Stop, Words, invalid};
use crate::types::MAX_ELEMENTS;

/// Where the positions of one output axis lie in the input.
pub struct Axis {
    pub extent: usize,
    pub resized: usize,
    /// Elements of the output for each of the input; not always their quotient.
    pub scale: f64,
    /// The part of the input that is taken, for `tf_crop_and_resize`.
    pub crop: (f64, f64),
}

/// The source coordinate `(at + offset) * numerator / denominator + shift`, and how far the filter is stretched.
pub fn coordinates(source: [f64; 4], support: f64) -> ResizeAxis {
    let [offset, numerator, denominator, shift] = source.map(f64::to_bits);
    ResizeAxis { offset, numerator, denominator, shift, support: support.to_bits() }
}

impl Axis {
    /// The transformation called `mode`.
    pub fn transformation(&self, mode: &str, antialias: bool) -> Result<ResizeAxis, Stop> {
        let (extent, resized) = (self.extent as f64, self.resized as f64);
        // A quotient of extents is exact where a scale is not.
        let (numerator, denominator) =
            if (extent * self.scale - resized).abs() < 1e-9 { (extent, resized) } else { (1.0, self.scale) };
        let support = if antialias && self.scale < 1.0 { 1.0 / self.scale } else { 1.0 };
        let real = self.scale * extent;
        let source = match mode {
            "asymmetric" => [0.0, numerator, denominator, 0.0],
            "half_pixel" => [0.5, numerator, denominator, -0.5],
            "pytorch_half_pixel" if self.resized == 1 => [0.0, 0.0, 1.0, if real == 1.0 { -0.5 } else { 0.0 }],
            "pytorch_half_pixel" => [0.5, numerator, denominator, -0.5],
            "half_pixel_symmetric" => [0.5, numerator, denominator, extent / 2.0 * (1.0 - resized / real) - 0.5],
            "align_corners" if real <= 1.0 => [0.0, 0.0, 1.0, 0.0],
            "align_corners" => [0.0, extent - 1.0, real - 1.0, 0.0],
            "tf_crop_and_resize" => {
                let (start, end) = self.crop;
                if real <= 1.0 {
                    [0.0, 0.0, 1.0, (start + end) / 2.0 * (extent - 1.0)]
                } else {
                    [0.0, (end - start) * (extent - 1.0), real - 1.0, start * (extent - 1.0)]
                }
            }
            "tf_half_pixel_for_nn" => [0.5, numerator, denominator, 0.0],
            other => return invalid(format!("coordinate_transformation_mode {other:?} is not known")),
        };
        Ok(coordinates(source, support))
    }
}

/// The extent of an axis that is scaled.
pub fn scaled_extent(extent: usize, scale: f64) -> Result<usize, Stop> {
    let resized = (extent as f64 * scale).floor();
    if (0.0..=MAX_ELEMENTS as f64).contains(&resized) {
        Ok(resized as usize)
    } else {
        invalid(format!("a scale of {scale}"))
    }
}

/// Interpolates along all axes, of which those that stay as they are cost nothing.
pub fn finish(
    s: &mut impl Words,
    x: ValueId,
    function: ResizeFn,
    axes: &[Axis],
    mode: &str,
    extrapolation: Option<Float>,
    antialias: bool,
) -> Result<ValueId, Stop> {
    let shape = axes.iter().map(|axis| axis.resized).collect();
    let crop = mode == "tf_crop_and_resize";
    let axes: Vec<ResizeAxis> = axes
        .iter()
        .map(|axis| {
            let whole = axis.crop == (0.0, 1.0) || !crop;
            if axis.extent == axis.resized && axis.scale == 1.0 && whole {
                Ok(coordinates([0.0, 1.0, 1.0, 0.0], 1.0))
            } else {
                axis.transformation(mode, antialias)
            }
        })
        .collect::<Result<_, _>>()?;
    s.one(Op::Resize { function, shape, axes, extrapolation }, &[x])
}
