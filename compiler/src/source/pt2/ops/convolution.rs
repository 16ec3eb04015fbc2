//! Convolutions.

use super::super::site::{Outputs, Site, Stop, Words, invalid, unsupported};
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{Op, Window};
use crate::source::windows::{reach, spatial};

const FORWARD: &str = "input weight bias=None stride=1 padding=0 dilation=1 groups=1";
const BACKWARD: &str = "input weight bias=None stride=1 padding=0 output_padding=0 groups=1 dilation=1";

pub const ROWS: &[Row] = &[
    row("conv1d.default conv1d.padding", FORWARD, |s| batched(s, 1, conv)),
    row("conv2d.default conv2d.padding", FORWARD, |s| batched(s, 2, conv)),
    row("conv3d.default conv3d.padding", FORWARD, |s| batched(s, 3, conv)),
    row("conv_transpose1d.default", BACKWARD, |s| batched(s, 1, conv_transpose)),
    row("conv_transpose2d.input", BACKWARD, |s| batched(s, 2, conv_transpose)),
    row("conv_transpose3d.input", BACKWARD, |s| batched(s, 3, conv_transpose)),
    row(
        "convolution.default",
        "input weight bias=None stride padding dilation transposed output_padding groups",
        |s| {
            let rank = s.rank(s.tensor("weight")?).saturating_sub(2);
            let transposed = s.flag("transposed")?;
            batched(s, rank, if transposed { conv_transpose } else { conv })
        },
    ),
];

/// A sample without the axis of samples gets one of extent 1.
fn batched(s: &mut Site, axes: usize, import: fn(&mut Site, ValueId, usize) -> Result<ValueId, Stop>) -> Outputs {
    let x = s.tensor("input")?;
    match s.rank(x).checked_sub(axes) {
        Some(2) if axes > 0 => Ok(vec![import(s, x, axes)?]),
        Some(1) if axes > 0 => {
            let x = s.unsqueeze(x, &[0])?;
            let y = import(s, x, axes)?;
            Ok(vec![s.squeeze(y, &[0])?])
        }
        _ => invalid(format!("{} has not {axes} spatial axes", s.ty(x))),
    }
}

fn groups(s: &Site) -> Result<usize, Stop> {
    match usize::try_from(s.int("groups")?) {
        Ok(groups) if groups > 0 => Ok(groups),
        _ => invalid("there is at least one group"),
    }
}

/// Padding before and behind each axis, from numbers or from a word.
fn pads(s: &Site, window: &Window, axes: usize) -> Result<(Vec<usize>, Vec<usize>), Stop> {
    match s.text("padding") {
        Ok("valid") => Ok((vec![0; axes], vec![0; axes])),
        Ok("same") => {
            if window.strides.iter().any(|&stride| stride != 1) {
                return unsupported("padding \"same\" with strides");
            }
            let total = (0..axes).map(|axis| Ok(reach(window, axis)? - 1)).collect::<Result<Vec<usize>, Stop>>()?;
            Ok((total.iter().map(|n| n / 2).collect(), total.iter().map(|n| n - n / 2).collect()))
        }
        Ok(other) => invalid(format!("argument padding is {other:?}, expected same or valid")),
        Err(_) => {
            let pads = s.per_axis("padding", axes)?;
            Ok((pads.clone(), pads))
        }
    }
}

fn window(s: &Site, weight: ValueId, axes: usize) -> Result<Window, Stop> {
    let kernel = spatial(s, weight)?;
    if kernel.len() != axes {
        return invalid(format!("a weight {} for {axes} spatial axes", s.ty(weight)));
    }
    Ok(Window {
        kernel,
        strides: s.per_axis("stride", axes)?,
        dilations: s.per_axis("dilation", axes)?,
        pads_begin: vec![0; axes],
        pads_end: vec![0; axes],
    })
}

fn conv(s: &mut Site, x: ValueId, axes: usize) -> Result<ValueId, Stop> {
    let weight = s.tensor("weight")?;
    let window = window(s, weight, axes)?;
    let (pads_begin, pads_end) = pads(s, &window, axes)?;
    let Window { strides, dilations, .. } = window;
    let mut operands = vec![x, weight];
    operands.extend(s.tensor_opt("bias")?);
    s.one(Op::Conv { strides, pads_begin, pads_end, dilations, groups: groups(s)? }, &operands)
}

fn conv_transpose(s: &mut Site, x: ValueId, axes: usize) -> Result<ValueId, Stop> {
    let weight = s.tensor("weight")?;
    let Window { strides, dilations, .. } = window(s, weight, axes)?;
    let pads = s.per_axis("padding", axes)?;
    let output_padding = s.per_axis("output_padding", axes)?;
    let mut operands = vec![x, weight];
    operands.extend(s.tensor_opt("bias")?);
    let (pads_begin, pads_end) = (pads.clone(), pads);
    let op = Op::ConvTranspose { strides, pads_begin, pads_end, dilations, output_padding, groups: groups(s)? };
    s.one(op, &operands)
}
