//! Convolutions, and how ONNX says where their windows lie.

use super::super::site::{Outputs, Site, Stop, Words, invalid, non_negative};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Op, Window};
use crate::source::windows::{reach, spatial};

pub const ROWS: &[Row] = &[row_of("Conv", 1, conv), row_of("ConvTranspose", 1, conv_transpose)];

/// Kernel extents, strides, pads and dilations of a node, for an operand with these spatial extents.
///
/// Pads follow `auto_pad`: `SAME_*` gives `ceil(extent / stride)` positions, the odd element behind (`UPPER`) or in front.
pub fn window(s: &Site, spatial: &[usize], kernel: Vec<usize>) -> Result<Window, Stop> {
    let axes = spatial.len();
    let list = |name: &str| -> Result<Vec<usize>, Stop> {
        let values = s.sizes(name)?.unwrap_or_else(|| vec![1; axes]);
        if values.len() == axes { Ok(values) } else { invalid(format!("{name} should have {axes} entries")) }
    };
    let (strides, dilations) = (list("strides")?, list("dilations")?);
    if kernel.len() != axes {
        return invalid(format!("the kernel should have {axes} extents, has {}", kernel.len()));
    }
    let pads = non_negative(&s.ints("pads")?.unwrap_or_else(|| vec![0; 2 * axes]), "pads")?;
    if pads.len() != 2 * axes {
        return invalid(format!("pads should have {} entries", 2 * axes));
    }
    let mut window =
        Window { pads_begin: pads[..axes].to_vec(), pads_end: pads[axes..].to_vec(), kernel, strides, dilations };
    match s.text("auto_pad", "NOTSET")? {
        "NOTSET" | "" => {}
        "VALID" => (window.pads_begin, window.pads_end) = (vec![0; axes], vec![0; axes]),
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            for axis in 0..axes {
                let total = same_padding(spatial[axis], &window, axis)?;
                let (less, more) = (total / 2, total - total / 2);
                (window.pads_begin[axis], window.pads_end[axis]) =
                    if same == "SAME_UPPER" { (less, more) } else { (more, less) };
            }
        }
        other => return invalid(format!("auto_pad {other:?} is not a mode")),
    }
    Ok(window)
}

fn same_padding(extent: usize, window: &Window, axis: usize) -> Result<usize, Stop> {
    let stride = window.strides[axis];
    if stride == 0 {
        return invalid("a window moves by strides of at least 1");
    }
    let last = extent.div_ceil(stride).saturating_sub(1).saturating_mul(stride);
    Ok(last.saturating_add(reach(window, axis)?).saturating_sub(extent))
}

fn groups(s: &Site) -> Result<usize, Stop> {
    match usize::try_from(s.int("group", 1)?) {
        Ok(groups) if groups > 0 => Ok(groups),
        _ => invalid("there is at least one group"),
    }
}

fn weight_kernel(s: &Site, weight: ValueId) -> Result<Vec<usize>, Stop> {
    let kernel = spatial(s, weight)?;
    match s.sizes("kernel_shape")? {
        Some(declared) if declared != kernel => {
            invalid(format!("kernel_shape is {declared:?}, the weight's is {kernel:?}"))
        }
        _ => Ok(kernel),
    }
}

fn conv(s: &mut Site) -> Outputs {
    let (x, weight) = (s.input(0)?, s.input(1)?);
    let kernel = weight_kernel(s, weight)?;
    let Window { strides, pads_begin, pads_end, dilations, .. } = window(s, &spatial(s, x)?, kernel)?;
    let op = Op::Conv { strides, pads_begin, pads_end, dilations, groups: groups(s)? };
    let operands: Vec<ValueId> = [Some(x), Some(weight), s.optional(2)].into_iter().flatten().collect();
    Ok(vec![s.one(op, &operands)?])
}

/// The output's extents follow from the pads, or the pads from the extents when those are given.
fn conv_transpose(s: &mut Site) -> Outputs {
    let (x, weight) = (s.input(0)?, s.input(1)?);
    let kernel = weight_kernel(s, weight)?;
    let extents = spatial(s, x)?;
    let axes = extents.len();
    let window = window(s, &extents, kernel)?;
    let Window { strides, mut pads_begin, mut pads_end, dilations, .. } = window.clone();
    let mut output_padding = s.sizes("output_padding")?.unwrap_or_else(|| vec![0; axes]);
    if output_padding.len() != axes {
        return invalid(format!("output_padding should have {axes} entries"));
    }
    let auto_pad = s.text("auto_pad", "NOTSET")?;
    let same = auto_pad.starts_with("SAME");
    let target = match s.sizes("output_shape")? {
        Some(shape) if shape.len() == axes => Some(shape),
        // Some writers give the whole shape.
        Some(shape) if shape.len() == axes + 2 => Some(shape[2..].to_vec()),
        Some(_) => return invalid(format!("output_shape should have {axes} entries")),
        None if same => Some((0..axes).map(|axis| extents[axis].saturating_mul(strides[axis])).collect()),
        None => None,
    };
    if let Some(target) = target {
        for axis in 0..axes {
            let full = extents[axis]
                .saturating_sub(1)
                .saturating_mul(strides[axis])
                .saturating_add(reach(&window, axis)?)
                .saturating_add(output_padding[axis]);
            let total = full.saturating_sub(target[axis]);
            // What the window does not reach is left at the bias.
            output_padding[axis] = output_padding[axis].saturating_add(target[axis].saturating_sub(full));
            let (less, more) = (total / 2, total - total / 2);
            (pads_begin[axis], pads_end[axis]) = if auto_pad == "SAME_UPPER" { (less, more) } else { (more, less) };
        }
    }
    let op = Op::ConvTranspose { strides, pads_begin, pads_end, dilations, output_padding, groups: groups(s)? };
    let operands: Vec<ValueId> = [Some(x), Some(weight), s.optional(2)].into_iter().flatten().collect();
    Ok(vec![s.one(op, &operands)?])
}
