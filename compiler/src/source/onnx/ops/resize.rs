//! Interpolation onto other grids.

use super::super::site::{Outputs, Site, Stop, Words, axes_of, invalid, non_negative};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Float, NearestFn, Op, ResizeAxis, ResizeFn};
use crate::types::MAX_ELEMENTS;

pub const ROWS: &[Row] = &[
    row_of("Upsample", 7, |s| {
        let scales = s.floats("scales")?.unwrap_or_default();
        let scales = scales.into_iter().map(f64::from).collect();
        by_scales(s, scales)
    }),
    row_of("Upsample", 9, |s| {
        let scales = s.known_floats(1, "scales")?.unwrap_or_default();
        by_scales(s, scales)
    }),
    row_of("Resize", 10, |s| {
        let scales = s.known_floats(1, "scales")?.unwrap_or_default();
        by_scales(s, scales)
    }),
    row_of("Resize", 11, resize),
];

/// Where the positions of one output axis lie in the input.
struct Axis {
    extent: usize,
    resized: usize,
    /// Elements of the output for each of the input; not always their quotient.
    scale: f64,
    /// The part of the input that is taken, for `tf_crop_and_resize`.
    crop: (f64, f64),
}

fn coordinates(source: [f64; 4], support: f64) -> ResizeAxis {
    let [offset, numerator, denominator, shift] = source.map(f64::to_bits);
    ResizeAxis { offset, numerator, denominator, shift, support: support.to_bits() }
}

impl Axis {
    /// The transformation called `mode`.
    fn transformation(&self, mode: &str, antialias: bool) -> Result<ResizeAxis, Stop> {
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

fn scaled_extent(extent: usize, scale: f64) -> Result<usize, Stop> {
    let resized = (extent as f64 * scale).floor();
    if (0.0..=MAX_ELEMENTS as f64).contains(&resized) {
        Ok(resized as usize)
    } else {
        invalid(format!("a scale of {scale}"))
    }
}

/// The older form: scales for every axis, the coordinate divided by the scale.
fn by_scales(s: &mut Site, scales: Vec<f64>) -> Outputs {
    let x = s.input(0)?;
    let shape = s.shape(x);
    if scales.len() != shape.len() {
        return invalid(format!("{} scales for {} axes", scales.len(), shape.len()));
    }
    let function = match s.text("mode", "nearest")? {
        "nearest" => ResizeFn::Nearest(NearestFn::Floor),
        "linear" | "bilinear" => ResizeFn::Linear { exclude_outside: false },
        other => return invalid(format!("mode {other:?} is not known")),
    };
    let mut axes = Vec::with_capacity(shape.len());
    for (&extent, &scale) in shape.iter().zip(&scales) {
        axes.push(Axis { extent, resized: scaled_extent(extent, scale)?, scale, crop: (0.0, 1.0) });
    }
    finish(s, x, function, axes, "asymmetric", None, false)
}

fn finish(
    s: &mut Site,
    x: ValueId,
    function: ResizeFn,
    axes: Vec<Axis>,
    mode: &str,
    extrapolation: Option<Float>,
    antialias: bool,
) -> Outputs {
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
    Ok(vec![s.one(Op::Resize { function, shape, axes, extrapolation }, &[x])?])
}

fn resize(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let shape = s.shape(x);
    let rank = shape.len();
    let chosen = match s.ints("axes")? {
        Some(axes) => axes_of(&axes, rank)?,
        None => (0..rank).collect(),
    };
    let mode = s.text("coordinate_transformation_mode", "half_pixel")?;
    let roi = if mode == "tf_crop_and_resize" { s.known_floats(1, "roi")?.unwrap_or_default() } else { Vec::new() };
    let scales = s.known_floats(2, "scales")?.filter(|scales| !scales.is_empty());
    let sizes = if scales.is_none() { s.known_ints(3, "sizes")? } else { None };
    let mut axes: Vec<Axis> =
        shape.iter().map(|&extent| Axis { extent, resized: extent, scale: 1.0, crop: (0.0, 1.0) }).collect();
    match (scales, sizes) {
        (Some(scales), _) if scales.len() == chosen.len() => {
            for (&axis, &scale) in chosen.iter().zip(&scales) {
                let scale = f64::from(scale as f32);
                axes[axis].resized = scaled_extent(shape[axis], scale)?;
                axes[axis].scale = scale;
            }
        }
        (None, Some(sizes)) if sizes.len() == chosen.len() => {
            let sizes = non_negative(&sizes, "sizes")?;
            let quotient = |(&axis, &size): (&usize, &usize)| size as f64 / shape[axis].max(1) as f64;
            let quotients = chosen.iter().zip(&sizes).map(quotient);
            let common = match s.text("keep_aspect_ratio_policy", "stretch")? {
                "stretch" => None,
                "not_larger" => Some(quotients.fold(f64::INFINITY, f64::min)),
                "not_smaller" => Some(quotients.fold(0.0, f64::max)),
                other => return invalid(format!("keep_aspect_ratio_policy {other:?} is not known")),
            };
            for (&axis, &size) in chosen.iter().zip(&sizes) {
                match common {
                    // Halves are rounded up.
                    Some(scale) => {
                        let resized = (scale * shape[axis] as f64 + 0.5).floor();
                        axes[axis].resized = scaled_extent(1, resized)?;
                        axes[axis].scale = scale;
                    }
                    None => {
                        axes[axis].resized = size;
                        axes[axis].scale = size as f64 / shape[axis].max(1) as f64;
                    }
                }
            }
        }
        _ => return invalid("expected scales or sizes, one for each axis"),
    }
    if !roi.is_empty() {
        if roi.len() != 2 * chosen.len() {
            return invalid(format!("roi should have {} entries", 2 * chosen.len()));
        }
        for (i, &axis) in chosen.iter().enumerate() {
            axes[axis].crop = (roi[i], roi[i + chosen.len()]);
        }
    }
    let exclude_outside = s.flag("exclude_outside", false)?;
    let function = match s.text("mode", "nearest")? {
        "nearest" => ResizeFn::Nearest(match s.text("nearest_mode", "round_prefer_floor")? {
            "round_prefer_floor" => NearestFn::RoundPreferFloor,
            "round_prefer_ceil" => NearestFn::RoundPreferCeil,
            "floor" => NearestFn::Floor,
            "ceil" => NearestFn::Ceil,
            other => return invalid(format!("nearest_mode {other:?} is not known")),
        }),
        "linear" => ResizeFn::Linear { exclude_outside },
        "cubic" => ResizeFn::Cubic { a: s.float("cubic_coeff_a", -0.75)?.to_bits(), exclude_outside },
        other => return invalid(format!("mode {other:?} is not known")),
    };
    let extrapolation = match mode {
        "tf_crop_and_resize" => Some(Float::new(s.float("extrapolation_value", 0.0)?)),
        _ => None,
    };
    let antialias = s.flag("antialias", false)?;
    finish(s, x, function, axes, mode, extrapolation, antialias)
}
