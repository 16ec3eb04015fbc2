//! The left side of a convolution as a product: one row for each output channel, one column for each input channel
//! and tap.

use std::ops::Range;

use super::patches::{Axis, taps};
use crate::kernel::gemm::{Left, Rows};
use crate::kernel::matmul::Floats;
use crate::kernel::stack::{Stack, StackStrides};

/// Strides of the weights.
#[derive(Clone, Debug)]
pub struct FilterStrides {
    /// Over the written stack: along groups and output channels.
    pub stack: StackStrides,
    pub channel: i64,
    /// Along each spatial axis.
    pub spatial: Vec<i64>,
}

impl FilterStrides {
    /// Whether the columns of a row are neighbours in memory, in order.
    pub fn is_dense(&self, axes: &[Axis]) -> bool {
        let mut expected = 1;
        for (axis, &stride) in axes.iter().zip(&self.spatial).rev() {
            let ordered = axis.taps.iter().enumerate().all(|(i, tap)| tap.index == i);
            if !ordered || (axis.taps.len() > 1 && stride != expected) {
                return false;
            }
            expected *= axis.taps.len() as i64;
        }
        self.channel == expected
    }
}

/// The weights of one call.
pub struct Filters<'a> {
    pub floats: Floats<'a>,
    pub offset: i64,
    pub strides: &'a FilterStrides,
    pub stack: &'a Stack,
    pub axes: &'a [Axis],
    pub in_place: bool,
}

impl Filters<'_> {
    fn start(&self, batch: usize, row: usize) -> i64 {
        let strides = &self.strides.stack;
        self.offset + strides.batch_offset(self.stack, batch) + row as i64 * strides.row()
    }
}

impl Left for Filters<'_> {
    fn in_place(&self, batch: usize, row: usize, depth: usize) -> Option<Rows<'_>> {
        match self.floats {
            Floats::F32(elements) if self.in_place => {
                let start = self.start(batch, row) + depth as i64;
                Some(Rows { elements, start, stride: self.strides.stack.row() })
            }
            _ => None,
        }
    }

    fn pack(&self, batch: usize, rows: Range<usize>, depths: Range<usize>, packed: &mut [f32]) {
        let taps = taps(self.axes);
        for (column, depth) in depths.clone().enumerate() {
            let mut offset = (depth / taps) as i64 * self.strides.channel;
            let mut rest = depth % taps;
            for (axis, &stride) in self.axes.iter().zip(&self.strides.spatial).rev() {
                offset += axis.taps[rest % axis.taps.len()].index as i64 * stride;
                rest /= axis.taps.len();
            }
            for (i, row) in rows.clone().enumerate() {
                let target = &mut packed[i * depths.len() + column..][..1];
                self.floats.copy(self.start(batch, row) + offset, 1, target);
            }
        }
    }
}
