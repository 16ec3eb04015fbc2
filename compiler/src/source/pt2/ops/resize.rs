//! Interpolation: the `upsample` ops, which `torch.nn.functional.interpolate` is made of.

use super::super::site::{Outputs, Site, Stop, Words, invalid, unsupported};
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{NearestFn, Op, ResizeFn};
use crate::source::resize::{Axis, coordinates, finish, scaled_extent};
use crate::types::DType;

const NEAREST: &str = "self|input output_size scale_factors=None scales_d=None scales_h=None scales_w|scales=None";
const BLENDED: &str =
    "self|input output_size align_corners scale_factors=None scales_d=None scales_h=None scales_w|scales=None";

pub const ROWS: &[Row] = &[
    row("upsample_nearest1d.default upsample_nearest1d.vec", NEAREST, |s| nearest(s, 1, false)),
    row("upsample_nearest2d.default upsample_nearest2d.vec", NEAREST, |s| nearest(s, 2, false)),
    row("upsample_nearest3d.default upsample_nearest3d.vec", NEAREST, |s| nearest(s, 3, false)),
    row("_upsample_nearest_exact1d.default _upsample_nearest_exact1d.vec", NEAREST, |s| nearest(s, 1, true)),
    row("_upsample_nearest_exact2d.default _upsample_nearest_exact2d.vec", NEAREST, |s| nearest(s, 2, true)),
    row("_upsample_nearest_exact3d.default _upsample_nearest_exact3d.vec", NEAREST, |s| nearest(s, 3, true)),
    row("upsample_linear1d.default upsample_linear1d.vec", BLENDED, |s| blended(s, 1, LINEAR, false)),
    row("upsample_bilinear2d.default upsample_bilinear2d.vec", BLENDED, |s| blended(s, 2, LINEAR, false)),
    row("upsample_trilinear3d.default upsample_trilinear3d.vec", BLENDED, |s| blended(s, 3, LINEAR, false)),
    row("upsample_bicubic2d.default upsample_bicubic2d.vec", BLENDED, |s| {
        let function = ResizeFn::Cubic { a: (-0.75f64).to_bits(), exclude_outside: false };
        blended(s, 2, function, false)
    }),
    row("_upsample_bilinear2d_aa.default _upsample_bilinear2d_aa.vec", BLENDED, |s| {
        blended(s, 2, ResizeFn::Linear { exclude_outside: true }, true)
    }),
    row("_upsample_bicubic2d_aa.default _upsample_bicubic2d_aa.vec", BLENDED, |s| {
        let function = ResizeFn::Cubic { a: (-0.5f64).to_bits(), exclude_outside: true };
        blended(s, 2, function, true)
    }),
];

const LINEAR: ResizeFn = ResizeFn::Linear { exclude_outside: false };

/// The most positions along one axis that are worked out while importing.
const MAX_POSITIONS: usize = 1 << 24;

/// One spatial axis: its extents, and the scale where one is given.
struct Grid {
    extent: usize,
    resized: usize,
    scale: Option<f64>,
}

/// The operand and its last `count` axes. A scale beside a size only says where positions lie.
fn grids(s: &Site, count: usize) -> Result<(ValueId, Vec<Grid>), Stop> {
    let x = s.tensor("self")?;
    let shape = s.shape(x);
    if shape.len() != count + 2 {
        return invalid(format!("{} has not {count} spatial axes", s.ty(x)));
    }
    let names = ["scales_d", "scales_h", "scales_w"];
    let scales: Vec<Option<f64>> = match s.floats_opt("scale_factors")? {
        Some(factors) => factors.into_iter().map(Some).collect(),
        None => names[3 - count..]
            .iter()
            .map(|name| Ok(s.numeral_opt(name)?.map(|scale| scale.as_f64())))
            .collect::<Result<_, Stop>>()?,
    };
    if scales.len() != count {
        return invalid(format!("{} scales for {count} axes", scales.len()));
    }
    let sizes = if s.has("output_size") { Some(s.per_axis("output_size", count)?) } else { None };
    let mut grids = Vec::with_capacity(count);
    for (axis, scale) in scales.into_iter().enumerate() {
        let extent = shape[axis + 2];
        let resized = match (&sizes, scale) {
            (Some(sizes), _) => sizes[axis],
            (None, Some(scale)) => scaled_extent(extent, scale)?,
            (None, None) => return invalid("neither a size nor scales"),
        };
        if resized > MAX_POSITIONS {
            return unsupported(format!("{resized} positions along an axis"));
        }
        if extent == 0 || resized == 0 {
            return invalid(format!("an axis of {extent} cannot become one of {resized}"));
        }
        grids.push(Grid { extent, resized, scale: scale.filter(|&scale| scale > 0.0) });
    }
    Ok((x, grids))
}

/// Every position gets one element. PyTorch finds it in `f32`, which may round to another element than the exact quotient:
/// the places are what counts, so they are worked out as PyTorch does.
fn nearest(s: &mut Site, count: usize, middle: bool) -> Outputs {
    let (x, grids) = grids(s, count)?;
    let wide = s.dtype(x) == DType::F64;
    let place = |grid: &Grid, at: usize| {
        let found = if wide {
            let scale = grid.scale.map_or(grid.extent as f64 / grid.resized as f64, |scale| 1.0 / scale);
            let source = if middle { scale * (at as f64 + 0.5) - 0.5 + 0.5 } else { scale * at as f64 };
            f64::from((source as f32).floor())
        } else {
            let scale = grid.scale.map_or(grid.extent as f32 / grid.resized as f32, |scale| (1.0 / scale) as f32);
            let source = if middle { scale * (at as f32 + 0.5) - 0.5 + 0.5 } else { scale * at as f32 };
            f64::from(source.floor())
        };
        found.clamp(0.0, grid.extent as f64 - 1.0) as i64
    };
    let places: Vec<Vec<i64>> =
        grids.iter().map(|grid| (0..grid.resized).map(|at| place(grid, at)).collect()).collect();
    let exact = |(grid, places): (&Grid, &Vec<i64>)| {
        let (extent, resized) = (grid.extent as f64, grid.resized as f64);
        let offset = if middle { 0.5 } else { 0.0 };
        let at = |at: usize| ((at as f64 + offset) * extent / resized).floor();
        places.iter().enumerate().all(|(n, &place)| at(n) == place as f64)
    };
    if grids.iter().zip(&places).all(exact) {
        let mut axes = vec![coordinates([0.0, 1.0, 1.0, 0.0], 1.0); 2];
        let mut shape = s.shape(x)[..2].to_vec();
        for grid in &grids {
            let offset = if middle { 0.5 } else { 0.0 };
            axes.push(coordinates([offset, grid.extent as f64, grid.resized as f64, 0.0], 1.0));
            shape.push(grid.resized);
        }
        let function = ResizeFn::Nearest(NearestFn::Floor);
        return Ok(vec![s.one(Op::Resize { function, shape, axes, extrapolation: None }, &[x])?]);
    }
    let mut y = x;
    for (axis, places) in places.iter().enumerate() {
        let index = s.int_constant(&[places.len()], places)?;
        y = s.one(Op::Gather { axis: axis + 2 }, &[y, index])?;
    }
    Ok(vec![y])
}

/// Every position gets a weighted sum of elements around it.
fn blended(s: &mut Site, count: usize, function: ResizeFn, antialias: bool) -> Outputs {
    let (x, grids) = grids(s, count)?;
    let corners = s.flag("align_corners")?;
    if !s.dtype(x).is_float() {
        return unsupported(format!("interpolation of {}, which PyTorch rounds in steps", s.dtype(x)));
    }
    let mut axes: Vec<Axis> =
        s.shape(x)[..2].iter().map(|&extent| Axis { extent, resized: extent, scale: 1.0, crop: (0.0, 1.0) }).collect();
    for Grid { extent, resized, scale } in grids {
        let quotient = resized as f64 / extent as f64;
        let scale = match (corners, antialias) {
            // Between the corners, but counted from the middle of an element.
            (true, true) if resized > 1 && extent > 1 => (resized as f64 - 1.0) / (extent as f64 - 1.0),
            (true, true) => return unsupported("corners of an axis of one element, antialiased"),
            (true, false) => quotient,
            (false, _) => scale.unwrap_or(quotient),
        };
        // A filter stretched beyond the operand is no interpolation any more.
        if antialias && 1.0 / scale > 2.0 * extent as f64 {
            return unsupported(format!("a scale of {scale} for an axis of {extent}"));
        }
        axes.push(Axis { extent, resized, scale, crop: (0.0, 1.0) });
    }
    let mode = if corners && !antialias { "align_corners" } else { "half_pixel" };
    Ok(vec![finish(s, x, function, &axes, mode, None, antialias)?])
}
