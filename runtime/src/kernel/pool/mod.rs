//! Pooling: the largest element or the mean of a window that slides over the spatial axes.
//!
//! `f32` and `f64` means are added up in their own precision, rows of the window first; `f16` and `bf16` in `f32`;
//! integers in `i64`. A window that holds no element gives the lowest value at position 0, or a mean of 0.

mod positions;
mod rows;

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, RunError, Target, Threads};
use crate::kernel::element::{typed, with_element};
use crate::kernel::lookup::slice;
use crate::kernel::share::share_units;
use crate::kernel::{PoolFn, Window};
use crate::simd::Isa;
use crate::types::{DType, Layout};

use positions::{Run, Searched, runs};
use rows::{Line, Rows};

/// Operand elements that a thread should read at least.
const GRAIN: usize = 1 << 15;

/// The taps of a window at one result position along one axis.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    /// The input position that the first tap inside reads.
    input: usize,
    /// Taps inside.
    inside: usize,
    /// Taps inside or on the padding.
    padded: usize,
}

#[derive(Debug)]
pub struct PreparedPool {
    dtype: DType,
    function: PoolFn,
    window: Window,
    column_major: bool,
    x: Layout,
    /// For each spatial axis the reach at every result position.
    reaches: Vec<Vec<Reach>>,
    /// Number of elements that each result of a row averages along the innermost axis.
    counts: Vec<u32>,
    line: Line,
    runs: Vec<Run>,
    with_positions: bool,
    threads: usize,
}

/// `Pool`, validated.
pub fn prepare(
    function: PoolFn,
    window: &Window,
    column_major: bool,
    reads: &[Access],
    writes: &[Write],
    threads: usize,
) -> Result<PreparedPool, String> {
    let (x, out) = (reads[0].layout.clone(), &writes[0].access.layout);
    let spatial = x.rank() - 2;
    let (width, results) = (x.shape[spatial + 1], out.shape[spatial + 1]);
    let reaches: Vec<Vec<Reach>> = (0..spatial)
        .map(|axis| (0..out.shape[axis + 2]).map(|at| reach(window, axis, x.shape[axis + 2], at)).collect())
        .collect();
    let counts = reaches[spatial - 1]
        .iter()
        .map(|reach| match function {
            PoolFn::Average { count_padding: true } => reach.padded as u32,
            _ => reach.inside as u32,
        })
        .collect();
    let with_positions = writes.len() > 1;
    let image = x.shape[2..].iter().try_fold(1u32, |image, &extent| image.checked_mul(u32::try_from(extent).ok()?));
    if with_positions && image.is_none_or(|image| image == u32::MAX) {
        return Err("an image is too large to search".into());
    }
    let line = Line::new(window, width, results).ok_or("a window is too wide")?;
    let runs = if with_positions { runs(window, width, results) } else { Vec::new() };
    let (dtype, window, threads) = (reads[0].dtype, window.clone(), threads.max(1));
    Ok(PreparedPool { dtype, function, window, column_major, x, reaches, counts, line, runs, with_positions, threads })
}

/// The taps of the window at result position `at` of spatial axis `axis`.
fn reach(window: &Window, axis: usize, extent: usize, at: usize) -> Reach {
    let (kernel, dilation, pad) = (window.kernel[axis], window.dilations[axis], window.pads_begin[axis]);
    let first = at * window.strides[axis];
    // Taps below `limit` read positions below it; divided up, since taps are `dilation` apart.
    let taps_below = |limit: usize| limit.saturating_sub(first).div_ceil(dilation).min(kernel);
    let tap = taps_below(pad);
    Reach {
        input: (first + tap * dilation).saturating_sub(pad),
        inside: taps_below(pad + extent).saturating_sub(tap),
        padded: taps_below(pad + extent + window.pads_end[axis]),
    }
}

impl PreparedPool {
    /// Scratch bytes of one thread.
    fn scratch(&self) -> usize {
        let width = self.x.shape[self.x.rank() - 1];
        if self.with_positions {
            positions::scratch(width, self.counts.len()).iter().sum()
        } else {
            self.line.scratch(width).iter().sum()
        }
    }

    pub fn workspace_bytes(&self) -> usize {
        self.scratch().saturating_mul(self.threads)
    }

    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let x = slice(&call.reads[0])?;
        if call.writes.iter().any(|out| out.layout.is_empty()) {
            return Ok(());
        }
        // A unit is an image of one channel.
        let image: usize = self.x.shape[2..].iter().product();
        let grain = GRAIN.div_ceil(image.max(1));
        let threads = Threads { count: call.threads.count.min(self.threads), ..call.threads };
        with_element!(self.dtype, T => {
            let x: &[T] = typed(x);
            match call.writes {
                [out] => {
                    let (layout, line) = (out.layout, &self.line);
                    let out = std::array::from_mut(out);
                    share_units(threads, out, 2, grain, call.workspace, self.scratch(), |share| {
                        isa.run(Rows { pool: self, line, x, layout, share });
                    });
                }
                [out, positions] => {
                    let layouts = [out.layout, positions.layout];
                    let mut targets = [out, positions].map(|target| Target {
                        bytes: &mut *target.bytes,
                        dtype: target.dtype,
                        layout: target.layout,
                    });
                    share_units(threads, &mut targets, 2, grain, call.workspace, self.scratch(), |share| {
                        isa.run(Searched { pool: self, x, layouts, share });
                    });
                }
                _ => {}
            }
        });
        Ok(())
    }
}
