//! Matrix products and convolutions.

use super::program::Body;
use super::{Memory, Total};
use crate::kernel::Window;
use crate::kernel::domain::for_each_index;
use crate::point::Program;
use crate::types::{DType, MAX_RANK};

/// Columns of a panel of a packed right-hand side.
const PANEL: usize = 16;

pub(super) fn matmul(memory: &mut Memory, dtype: DType, packed: bool, epilogue: &Program) {
    let mut after = Body::new(epilogue);
    let a_shape = memory.read_shape(0);
    let rank = a_shape.len();
    let depth = a_shape[rank - 1];
    for_each_index(memory.write_shape(0), |index| {
        let (mut a, mut b) = ([0usize; MAX_RANK], [0usize; MAX_RANK]);
        a[..rank - 1].copy_from_slice(&index[..rank - 1]);
        b[..rank - 2].copy_from_slice(&index[..rank - 2]);
        let column = index[rank - 1];
        let mut total = Total::from_integer(dtype, 0);
        for k in 0..depth {
            a[rank - 1] = k;
            let right = if packed {
                // [batch.., panel, k, column of the panel]
                b[rank - 2..=rank].copy_from_slice(&[column / PANEL, k, column % PANEL]);
                memory.read(1, &b[..=rank])
            } else {
                b[rank - 2..rank].copy_from_slice(&[k, column]);
                memory.read(1, &b[..rank])
            };
            let left = Total::from_bits(dtype, memory.read(0, &a[..rank]));
            total = total.add(left.mul(Total::from_bits(dtype, right)));
        }
        after.finish(memory, total.to_bits(dtype), 2, index);
    });
}

pub(super) fn conv(memory: &mut Memory, dtype: DType, window: &Window, groups: usize, epilogue: &Program) {
    let mut after = Body::new(epilogue);
    let (x_shape, out_shape) = (memory.read_shape(0), memory.write_shape(0));
    let rank = x_shape.len();
    let (channels, out_channels) = (x_shape[1] / groups, out_shape[1] / groups);
    for_each_index(out_shape, |index| {
        let group = index[1] / out_channels.max(1);
        let mut total = Total::from_integer(dtype, 0);
        for channel in 0..channels {
            for_each_index(&window.kernel, |tap| {
                let (mut x, mut w) = ([0usize; MAX_RANK], [0usize; MAX_RANK]);
                (x[0], x[1]) = (index[0], group * channels + channel);
                (w[0], w[1]) = (index[1], channel);
                for axis in 0..tap.len() {
                    let padded = index[axis + 2] * window.strides[axis] + tap[axis] * window.dilations[axis];
                    match padded.checked_sub(window.pads_begin[axis]).filter(|&i| i < x_shape[axis + 2]) {
                        Some(i) => x[axis + 2] = i,
                        None => return,
                    }
                    w[axis + 2] = tap[axis];
                }
                let left = Total::from_bits(dtype, memory.read(0, &x[..rank]));
                total = total.add(left.mul(Total::from_bits(dtype, memory.read(1, &w[..rank]))));
            });
        }
        after.finish(memory, total.to_bits(dtype), 2, index);
    });
}

/// Every result element collects the inputs whose window covers it: `input * stride + tap * dilation - pad = output`.
pub(super) fn conv_transpose(memory: &mut Memory, dtype: DType, window: &Window, groups: usize, epilogue: &Program) {
    let mut after = Body::new(epilogue);
    let (x_shape, out_shape) = (memory.read_shape(0), memory.write_shape(0));
    let rank = x_shape.len();
    let (channels, out_channels) = (x_shape[1] / groups, out_shape[1] / groups);
    for_each_index(out_shape, |index| {
        let group = index[1] / out_channels.max(1);
        let mut total = Total::from_integer(dtype, 0);
        for channel in group * channels..(group + 1) * channels {
            for_each_index(&window.kernel, |tap| {
                let (mut x, mut w) = ([0usize; MAX_RANK], [0usize; MAX_RANK]);
                (x[0], x[1]) = (index[0], channel);
                (w[0], w[1]) = (channel, index[1] % out_channels);
                for axis in 0..tap.len() {
                    let padded = index[axis + 2] + window.pads_begin[axis];
                    let Some(reach) = padded.checked_sub(tap[axis] * window.dilations[axis]) else { return };
                    let input = reach / window.strides[axis];
                    if reach % window.strides[axis] != 0 || input >= x_shape[axis + 2] {
                        return;
                    }
                    x[axis + 2] = input;
                    w[axis + 2] = tap[axis];
                }
                let left = Total::from_bits(dtype, memory.read(0, &x[..rank]));
                total = total.add(left.mul(Total::from_bits(dtype, memory.read(1, &w[..rank]))));
            });
        }
        after.finish(memory, total.to_bits(dtype), 2, index);
    });
}
