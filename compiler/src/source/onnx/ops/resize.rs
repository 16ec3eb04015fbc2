//! Interpolation onto other grids.

use super::super::site::{Outputs, Site, Words, axes_of, invalid, non_negative};
use super::{Row, row_of};
use crate::ops::{Float, NearestFn, ResizeFn};
use crate::source::resize::{Axis, finish, scaled_extent};

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
    Ok(vec![finish(s, x, function, &axes, "asymmetric", None, false)?])
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
    Ok(vec![finish(s, x, function, &axes, mode, extrapolation, antialias)?])
}
