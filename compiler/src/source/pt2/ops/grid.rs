//! Sampling at places that are data, and windows laid out as columns.

use super::super::promote;
use super::super::site::{Number, Outputs, Site, Stop, Words, invalid, unsupported};
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn};
use crate::types::DType;

const SAMPLER: &str = "input grid interpolation_mode padding_mode align_corners";

pub const ROWS: &[Row] = &[
    row("grid_sampler.default grid_sampler_2d.default grid_sampler_3d.default", SAMPLER, sample),
    row("_grid_sampler_2d_cpu_fallback.default", SAMPLER, sample),
    row("affine_grid_generator.default", "theta size align_corners", affine_grid),
    row("im2col.default", "self kernel_size dilation padding stride", columns),
    row("col2im.default", "self output_size kernel_size dilation padding stride", fold),
];

/// What places outside the operand have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// The operand with one row of channels for each place, and what is asked of it.
struct Sampled {
    /// `[n, places, channels]`.
    rows: ValueId,
    extents: Vec<usize>,
    padding: Padding,
    corners: bool,
}

/// `[n, c, ..]` at the places `[n, .., axes]`, whose last axis counts from the last spatial axis and goes from -1 to 1.
fn sample(s: &mut Site) -> Outputs {
    let (x, grid) = (s.tensor("input")?, s.tensor("grid")?);
    let own = s.dtype(x);
    let wide = promote::computed(own);
    let (x, grid) = (s.cast(x, wide)?, s.cast(grid, wide)?);
    let (shape, places) = (s.shape(x), s.shape(grid));
    let count = shape.len().saturating_sub(2);
    if !(2..=3).contains(&count) || places.len() != shape.len() || places[0] != shape[0] || places[count + 1] != count {
        return invalid(format!("{} at places {}", s.ty(x), s.ty(grid)));
    }
    let padding = match s.int("padding_mode")? {
        0 => Padding::Zeros,
        1 => Padding::Border,
        2 => Padding::Reflection,
        other => return invalid(format!("argument padding_mode is {other}")),
    };
    let (n, channels, extents) = (shape[0], shape[1], shape[2..].to_vec());
    let (image, wanted) = (extents.iter().product::<usize>(), places[1..=count].iter().product::<usize>());
    if image == 0 {
        return invalid(format!("{} has no element to sample", s.ty(x)));
    }
    let flat = s.reshape(x, &[n, channels, image])?;
    let rows = s.permute(flat, &[0, 2, 1])?;
    let sampled = Sampled { rows, extents: extents.clone(), padding, corners: s.flag("align_corners")? };
    let mode = s.int("interpolation_mode")?;
    let mut coordinates = Vec::with_capacity(count);
    for axis in 0..count {
        let last = places.len() - 1;
        let place = s.one(Op::Select { axis: last, index: count - 1 - axis }, &[grid])?;
        let place = s.reshape(place, &[n, wanted])?;
        let place = sampled.scaled(s, place, axis)?;
        // The taps of a cubic are padded one by one.
        coordinates.push(if mode == 2 { place } else { sampled.padded(s, place, axis)? });
    }
    let y = match mode {
        0 => sampled.linear(s, &coordinates)?,
        1 => {
            let nearest = coordinates.iter().map(|&at| s.unary(PointFn::Round, at)).collect::<Result<Vec<_>, _>>()?;
            sampled.at(s, &nearest)?
        }
        2 if count == 2 => sampled.cubic(s, &coordinates)?,
        other => return invalid(format!("argument interpolation_mode is {other}")),
    };
    let y = s.permute(y, &[0, 2, 1])?;
    let y = s.reshape(y, &[&[n, channels], &places[1..=count]].concat())?;
    Ok(vec![s.cast(y, own)?])
}

impl Sampled {
    /// From `-1 .. 1` to the indices of an axis.
    fn scaled(&self, s: &mut Site, at: ValueId, axis: usize) -> Result<ValueId, Stop> {
        let extent = self.extents[axis] as f64;
        let above = s.with_number(PointFn::Add, at, 1.0)?;
        if self.corners {
            let half = s.with_number(PointFn::Div, above, 2.0)?;
            return s.with_number(PointFn::Mul, half, extent - 1.0);
        }
        let wide = s.with_number(PointFn::Mul, above, extent)?;
        let less = s.with_number(PointFn::Sub, wide, 1.0)?;
        s.with_number(PointFn::Div, less, 2.0)
    }

    /// Places outside moved to the border, or reflected at it.
    fn padded(&self, s: &mut Site, at: ValueId, axis: usize) -> Result<ValueId, Stop> {
        let last = self.extents[axis] as f64 - 1.0;
        let mut at = at;
        if self.padding == Padding::Zeros {
            return Ok(at);
        }
        if self.padding == Padding::Reflection {
            let (low, span) = if self.corners { (0.0, last) } else { (-0.5, last + 1.0) };
            if span == 0.0 {
                return s.with_number(PointFn::Mul, at, 0.0);
            }
            let distance = s.with_number(PointFn::Sub, at, low)?;
            let distance = s.unary(PointFn::Abs, distance)?;
            let rest = s.with_number(PointFn::Fmod, distance, span)?;
            let turns = s.with_number(PointFn::Div, distance, span)?;
            let turns = s.unary(PointFn::Floor, turns)?;
            let odd = s.with_number(PointFn::Fmod, turns, 2.0)?;
            let even = s.with_number(PointFn::Eq, odd, 0.0)?;
            let (there, top) = (s.with_number(PointFn::Add, rest, low)?, s.number(s.dtype(at), span + low));
            let back = s.sub(top, rest)?;
            at = s.select(even, there, back)?;
        }
        let at = s.with_number(PointFn::Max, at, 0.0)?;
        s.with_number(PointFn::Min, at, last)
    }

    /// The rows at whole coordinates; zeros outside.
    fn at(&self, s: &mut Site, coordinates: &[ValueId]) -> Result<ValueId, Stop> {
        let (mut inside, mut index) = (None, None);
        for (axis, &at) in coordinates.iter().enumerate() {
            let last = self.extents[axis] as f64 - 1.0;
            let (low, high) = (s.with_number(PointFn::Ge, at, 0.0)?, s.with_number(PointFn::Le, at, last)?);
            let here = s.binary(PointFn::And, low, high)?;
            inside = Some(match inside {
                Some(inside) => s.binary(PointFn::And, inside, here)?,
                None => here,
            });
            // What is no number counts as outside, and must not become an index.
            let zero = s.number(s.dtype(at), 0.0);
            let at = s.select(here, at, zero)?;
            let at = s.cast(at, DType::I64)?;
            index = Some(match index {
                Some(index) => {
                    let extent = s.scalar(Number::Int(self.extents[axis] as i64), DType::I64);
                    let row = s.mul(index, extent)?;
                    s.add(row, at)?
                }
                None => at,
            });
        }
        let (Some(inside), Some(index)) = (inside, index) else { return invalid("places without coordinates") };
        let index = s.unsqueeze(index, &[2])?;
        let rows = s.one(Op::GatherNd { batch_dims: 1 }, &[self.rows, index])?;
        let (inside, zero) = (s.unsqueeze(inside, &[2])?, s.number(s.dtype(rows), 0.0));
        s.select(inside, rows, zero)
    }

    /// The corners of the cell around each place, by their distance.
    fn linear(&self, s: &mut Site, coordinates: &[ValueId]) -> Result<ValueId, Stop> {
        let mut sides = Vec::with_capacity(coordinates.len());
        for &at in coordinates {
            let low = s.unary(PointFn::Floor, at)?;
            let high = s.with_number(PointFn::Add, low, 1.0)?;
            let (to_high, to_low) = (s.sub(high, at)?, s.sub(at, low)?);
            sides.push([(low, to_high), (high, to_low)]);
        }
        let mut sum = None;
        for corner in 0..1usize << sides.len() {
            let side = |axis: usize| sides[axis][corner >> (sides.len() - 1 - axis) & 1];
            let (mut places, mut weight) = (Vec::with_capacity(sides.len()), None);
            for axis in 0..sides.len() {
                let (place, part) = side(axis);
                places.push(place);
                weight = Some(match weight {
                    Some(weight) => s.mul(weight, part)?,
                    None => part,
                });
            }
            let Some(weight) = weight else { continue };
            let (value, weight) = (self.at(s, &places)?, s.unsqueeze(weight, &[2])?);
            let part = s.mul(value, weight)?;
            sum = Some(match sum {
                Some(sum) => s.add(sum, part)?,
                None => part,
            });
        }
        sum.ok_or_else(|| Stop::Invalid("places without coordinates".into()))
    }

    /// Four taps along each axis, weighted by Keys' cubic with the coefficient -3/4.
    fn cubic(&self, s: &mut Site, coordinates: &[ValueId]) -> Result<ValueId, Stop> {
        let mut taps = Vec::with_capacity(2);
        for (axis, &at) in coordinates.iter().enumerate() {
            let low = s.unary(PointFn::Floor, at)?;
            let t = s.sub(at, low)?;
            let one = s.number(s.dtype(t), 1.0);
            let rest = s.sub(one, t)?;
            let (far, behind) = (s.with_number(PointFn::Add, t, 1.0)?, s.with_number(PointFn::Add, rest, 1.0)?);
            let weights = [outer(s, far)?, inner(s, t)?, inner(s, rest)?, outer(s, behind)?];
            let mut found = Vec::with_capacity(4);
            for (tap, weight) in weights.into_iter().enumerate() {
                let place = s.with_number(PointFn::Add, low, tap as f64 - 1.0)?;
                found.push((self.padded(s, place, axis)?, weight));
            }
            taps.push(found);
        }
        let mut sum = None;
        for &(row, down) in &taps[0] {
            let mut line = None;
            for &(column, across) in &taps[1] {
                // Reflection may end between two elements of an axis that has one.
                let row = s.unary(PointFn::Trunc, row)?;
                let column = s.unary(PointFn::Trunc, column)?;
                let (value, across) = (self.at(s, &[row, column])?, s.unsqueeze(across, &[2])?);
                let part = s.mul(value, across)?;
                line = Some(match line {
                    Some(line) => s.add(line, part)?,
                    None => part,
                });
            }
            let Some(line) = line else { continue };
            let down = s.unsqueeze(down, &[2])?;
            let part = s.mul(line, down)?;
            sum = Some(match sum {
                Some(sum) => s.add(sum, part)?,
                None => part,
            });
        }
        sum.ok_or_else(|| Stop::Invalid("places without coordinates".into()))
    }
}

const CUBIC: f64 = -0.75;

/// The cubic at distances up to 1.
fn inner(s: &mut Site, d: ValueId) -> Result<ValueId, Stop> {
    let y = s.with_number(PointFn::Mul, d, CUBIC + 2.0)?;
    let y = s.with_number(PointFn::Sub, y, CUBIC + 3.0)?;
    let y = s.mul(y, d)?;
    let y = s.mul(y, d)?;
    s.with_number(PointFn::Add, y, 1.0)
}

/// The cubic at distances from 1 to 2.
fn outer(s: &mut Site, d: ValueId) -> Result<ValueId, Stop> {
    let y = s.with_number(PointFn::Mul, d, CUBIC)?;
    let y = s.with_number(PointFn::Sub, y, 5.0 * CUBIC)?;
    let y = s.mul(y, d)?;
    let y = s.with_number(PointFn::Add, y, 8.0 * CUBIC)?;
    let y = s.mul(y, d)?;
    s.with_number(PointFn::Sub, y, 4.0 * CUBIC)
}

/// The places of a regular grid under a linear map for each sample.
fn affine_grid(s: &mut Site) -> Outputs {
    let (theta, size, corners) = (s.tensor("theta")?, s.sizes("size")?, s.flag("align_corners")?);
    let own = s.dtype(theta);
    let wide = promote::computed(own);
    let theta = s.cast(theta, wide)?;
    let [n, _, extents @ ..] = size.as_slice() else { return invalid("a size is [n, c, ..]") };
    let count = extents.len();
    if !(2..=3).contains(&count) || s.shape(theta) != [*n, count, count + 1] {
        return invalid(format!("{} for a size of {size:?}", s.ty(theta)));
    }
    let mut columns = Vec::with_capacity(count + 1);
    let shape = [extents, &[1]].concat();
    for axis in (0..count).rev() {
        let extent = extents[axis];
        if extent > 1 << 24 {
            return unsupported(format!("{extent} places along an axis"));
        }
        let steps = extent.saturating_sub(1).max(1) as f64;
        let shrunk = if corners { 1.0 } else { (extent as f64 - 1.0) / extent as f64 };
        let place = |i: usize| if extent <= 1 { 0.0 } else { (2.0 * i as f64 / steps - 1.0) * shrunk };
        let places: Vec<f64> = (0..extent).map(place).collect();
        let mut line = vec![1; count + 1];
        line[axis] = extent;
        let places = s.number_constant(wide, &line, &places)?;
        columns.push(s.expand(places, &shape)?);
    }
    columns.push(s.filled(wide, &shape, 1.0)?);
    let base = s.concat(&columns, count)?;
    let base = s.reshape(base, &[1, extents.iter().product(), count + 1])?;
    let map = s.transposed(theta)?;
    let grid = s.matmul(base, map)?;
    let grid = s.reshape(grid, &[&[*n], extents, &[count]].concat())?;
    Ok(vec![s.cast(grid, own)?])
}

/// Windows over two axes.
struct Windows {
    kernel: Vec<usize>,
    dilation: Vec<usize>,
    padding: Vec<usize>,
    stride: Vec<usize>,
    /// Extents with padding.
    padded: [usize; 2],
    /// How many windows there are along each axis.
    counts: [usize; 2],
}

fn windows(s: &Site, extents: &[usize]) -> Result<Windows, Stop> {
    let [kernel, dilation, padding, stride] =
        ["kernel_size", "dilation", "padding", "stride"].map(|name| s.per_axis(name, 2));
    let (kernel, dilation, padding, stride) = (kernel?, dilation?, padding?, stride?);
    let (mut padded, mut counts) = ([0; 2], [0; 2]);
    for axis in 0..2 {
        let whole = padding[axis].checked_mul(2).and_then(|twice| twice.checked_add(extents[axis]));
        let reach = kernel[axis].checked_sub(1).and_then(|steps| steps.checked_mul(dilation[axis]));
        let (Some(whole), Some(reach)) = (whole, reach) else { return invalid("windows do not fit") };
        let Some(room) = whole.checked_sub(reach.saturating_add(1)).filter(|_| stride[axis] > 0) else {
            return invalid(format!("a window that reaches {} in an axis of {whole}", reach.saturating_add(1)));
        };
        (padded[axis], counts[axis]) = (whole, room / stride[axis] + 1);
    }
    Ok(Windows { kernel, dilation, padding, stride, padded, counts })
}

/// The elements of every window of `[n, c, h, w]` in a column: `[n, c * kernel, windows]`.
fn columns(s: &mut Site) -> Outputs {
    let mut x = s.tensor("self")?;
    let single = s.rank(x) == 3;
    if single {
        x = s.unsqueeze(x, &[0])?;
    }
    let &[n, c, height, width] = s.shape(x).as_slice() else {
        return invalid(format!("expected [n, c, h, w], found {}", s.ty(x)));
    };
    let w = windows(s, &[height, width])?;
    let zero = s.scalar(Number::Int(0), s.dtype(x));
    let around = [&[0, 0], w.padding.as_slice()].concat();
    let x = s.one(Op::Pad { before: around.clone(), after: around }, &[x, zero])?;
    let [padded_height, padded_width] = w.padded;
    let shape = vec![n, c, w.kernel[0], w.kernel[1], w.counts[0], w.counts[1]];
    let image = padded_height.saturating_mul(padded_width);
    let strides = vec![
        c.saturating_mul(image),
        image,
        w.dilation[0].saturating_mul(padded_width),
        w.dilation[1],
        w.stride[0].saturating_mul(padded_width),
        w.stride[1],
    ];
    let seen = s.one(Op::AsStrided { shape, strides, offset: Some(0) }, &[x])?;
    let y = s.one(Op::Contiguous {}, &[seen])?;
    let rows = c * w.kernel[0] * w.kernel[1];
    let y = s.reshape(y, &[n, rows, w.counts[0] * w.counts[1]])?;
    Ok(vec![if single { s.squeeze(y, &[0])? } else { y }])
}

/// The most elements of a window whose columns are summed.
const MAX_TAPS: usize = 1024;

/// The other way round: elements of columns summed where their windows lie.
fn fold(s: &mut Site) -> Outputs {
    let mut x = s.tensor("self")?;
    let single = s.rank(x) == 2;
    if single {
        x = s.unsqueeze(x, &[0])?;
    }
    let extents = s.per_axis("output_size", 2)?;
    let w = windows(s, &extents)?;
    let taps = w.kernel[0].saturating_mul(w.kernel[1]);
    let &[n, rows, positions] = s.shape(x).as_slice() else {
        return invalid(format!("expected [n, c * kernel, windows], found {}", s.ty(x)));
    };
    if taps == 0 || rows % taps != 0 || w.counts[0].checked_mul(w.counts[1]) != Some(positions) {
        return invalid(format!("{} for {taps} taps of {:?} windows", s.ty(x), w.counts));
    }
    if taps > MAX_TAPS {
        return unsupported(format!("a window of {taps} elements, at most {MAX_TAPS}"));
    }
    let c = rows / taps;
    let own = s.dtype(x);
    let x = s.cast(x, promote::computed(own))?;
    let x = s.reshape(x, &[n, c, taps, w.counts[0], w.counts[1]])?;
    let sum = s.fresh(s.dtype(x), &[n, c, w.padded[0], w.padded[1]], Number::Int(0))?;
    for tap in 0..taps {
        let value = s.one(Op::Select { axis: 2, index: tap }, &[x])?;
        let mut part = sum;
        for (axis, at) in [tap / w.kernel[1], tap % w.kernel[1]].into_iter().enumerate() {
            let start = (at * w.dilation[axis]) as i64;
            let end = start + ((w.counts[axis] - 1) * w.stride[axis]) as i64 + 1;
            part = s.one(Op::Slice { axis: axis + 2, start, end, step: w.stride[axis] as i64 }, &[part])?;
        }
        s.mutate(Op::Point(PointFn::Add), &[part, value])?;
    }
    let y = s.slice(sum, 2, w.padding[0], w.padding[0] + extents[0])?;
    let y = s.slice(y, 3, w.padding[1], w.padding[1] + extents[1])?;
    let y = s.cast(y, own)?;
    let y = s.one(Op::Contiguous {}, &[y])?;
    Ok(vec![if single { s.squeeze(y, &[0])? } else { y }])
}
