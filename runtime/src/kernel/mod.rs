//! Kernels as data: what one step of a plan computes, apart from where its operands lie.
//!
//! A step reads a list of [`Access`](crate::executable::Access)es and writes another. The order of the reads is
//! fixed by the kernel: first the *body* operands, then the extra operands of its epilogue. Every access carries
//! a layout whose shape is the domain it is read over, with stride 0 where it broadcasts:
//!
//! | kernel | body operands (shape of their layouts) | written |
//! |---|---|---|
//! | `Map` | one for each program input (domain) | one for each program output (domain) |
//! | `Reduce` | prologue inputs (input domain) | one (input domain with reduced axes 1) |
//! | `Row` | prologue inputs (domain; the row is the last axis) | one (domain) |
//! | `MatMul` | `a` `[batch.., m, k]`, `b` `[batch.., k, n]` or packed | one `[batch.., m, n]` |
//! | `Conv`, `ConvTranspose` | `x` `[n, c, spatial..]`, weights (packed or as written) | one `[n, oc, spatial..]` |
//! | the others | as said at the variant | as said at the variant |
//!
//! The epilogue of a kernel is a program whose input 0 is the core's result and whose other inputs are the extra
//! operands, read over the written domain. A kernel without epilogue has the identity.
//!
//! Every kernel has a scalar meaning (`scalar`), the oracle; hot ones have vector forms; and each has a contract
//! (`contract`) that says which operand may share bytes with which result.

pub mod call;
pub mod control;
pub mod copy;
pub mod grid;
pub mod domain;
pub mod element;
pub mod map;
pub mod parallel;
pub mod prepared;
pub mod reduce;
pub mod reference;
pub mod row;
pub mod tile;
mod arg_reduce;
mod cumulative;
mod dynamic;
mod gather;
mod lookup;
mod pool;
mod resize;
mod scatter;
mod share;
mod sum;
mod top_k;
pub(crate) mod validate;

pub mod stack;
pub mod gemm;
pub mod epilogue;
pub mod matmul;
pub mod conv;
pub mod recurrent;
#[cfg(test)]
mod testing;

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
pub(crate) mod harness;
#[cfg(test)]
mod map_tests;
#[cfg(test)]
mod reduce_tests;
#[cfg(test)]
mod row_tests;

use serde::{Deserialize, Serialize};

use crate::point::Program;
use crate::types::DType;

/// What is combined along the reduced axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReduceFn {
    Sum,
    /// The sum divided by the number of elements; integers truncate towards zero.
    Mean,
    /// NaN if any element is NaN.
    Max,
    /// NaN if any element is NaN.
    Min,
    Prod,
}

impl ReduceFn {
    pub const ALL: [ReduceFn; 5] = [ReduceFn::Sum, ReduceFn::Mean, ReduceFn::Max, ReduceFn::Min, ReduceFn::Prod];

    pub fn name(self) -> &'static str {
        match self {
            ReduceFn::Sum => "sum",
            ReduceFn::Mean => "mean",
            ReduceFn::Max => "amax",
            ReduceFn::Min => "amin",
            ReduceFn::Prod => "prod",
        }
    }
}

/// A function of a whole row. `eps` is the bits of an `f64`, so that kernels can be compared and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RowFn {
    /// `exp(x - max) / sum(exp(x - max))`.
    Softmax,
    /// `x - max - log(sum(exp(x - max)))`.
    LogSoftmax,
    /// `(x - mean) / sqrt(var + eps)` with the biased variance.
    LayerNorm { eps: u64 },
    /// `x / sqrt(mean(x^2) + eps)`.
    RmsNorm { eps: u64 },
}

/// Strides, padding and dilation of a window that slides over the spatial axes; one entry an axis.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub pads_begin: Vec<usize>,
    pub pads_end: Vec<usize>,
    pub dilations: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PoolFn {
    Max,
    /// The mean; padding counts as zeros when `count_padding`, else it does not count.
    Average {
        count_padding: bool,
    },
}

/// How a scatter combines an update with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ScatterFn {
    /// The update replaces the element; of several updates to one element the last in row-major order stays.
    Assign,
    Add,
    Mul,
    Max,
    Min,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CumulativeFn {
    Sum,
    Prod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResizeFn {
    /// Rounding of the source coordinate, see [`NearestFn`].
    Nearest(NearestFn),
    /// `exclude_outside`: taps outside weigh nothing and the others are scaled to sum to one.
    Linear { exclude_outside: bool },
    /// `cubic_coeff_a` as the bits of an `f64`; `exclude_outside` as for `Linear`.
    Cubic { a: u64, exclude_outside: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NearestFn {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// One axis of a resize: `source = (output + offset) * numerator / denominator + shift`, evaluated from left to right in
/// `f64`. A quotient and not a factor, because a source coordinate that is an integer must come out as one. All fields
/// are bits of an `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResizeAxis {
    pub offset: u64,
    pub numerator: u64,
    pub denominator: u64,
    pub shift: u64,
    /// How far the filter is stretched: 1, or, to antialias while shrinking, the reciprocal of ONNX's `scale`.
    pub support: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecurrentFn {
    /// Gates in ONNX's order i, o, f, c.
    Lstm,
    /// Gates in ONNX's order z, r, h.
    Gru { linear_before_reset: bool },
    /// `tanh(W x + R h + b)`.
    Rnn,
}

/// What a step computes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kernel {
    Map {
        program: Program,
    },
    Reduce {
        function: ReduceFn,
        axes: Vec<usize>,
        prologue: Program,
        epilogue: Program,
    },
    Row {
        function: RowFn,
        prologue: Program,
        epilogue: Program,
    },
    /// `packed`: `b` is a weight laid out by `pack::pack_b`, its access dense over `[batch.., panels, k, PANEL]`;
    /// `n` then comes from the written layout. Accumulation of one element runs over `k` in order, so results
    /// depend on neither tiles nor threads.
    MatMul {
        dtype: DType,
        packed: bool,
        epilogue: Program,
    },
    /// `packed`: weights laid out by `pack::pack_conv`. Weights as written are `[oc, c / groups, kernel..]`.
    Conv {
        dtype: DType,
        window: Window,
        groups: usize,
        packed: bool,
        epilogue: Program,
    },
    /// Weights as written are `[c, oc / groups, kernel..]`. The written spatial extents include output padding.
    ConvTranspose {
        dtype: DType,
        window: Window,
        groups: usize,
        epilogue: Program,
    },
    /// Reads `x`; writes the pooled values and, when a second access is written (`Max` only), `i64` positions in
    /// the flattened input (row-major, or column-major over the spatial axes when `column_major`).
    Pool {
        function: PoolFn,
        window: Window,
        column_major: bool,
    },
    /// Reads `data`, `indices` (`i32` or `i64`, negative counts from the end);
    /// writes `data[..axis] + indices + data[axis + 1..]`.
    Gather {
        axis: usize,
    },
    /// Reads `data`, `indices` of the written shape.
    GatherElements {
        axis: usize,
    },
    /// Reads `data`, `indices` whose last axis holds coordinates.
    GatherNd {
        batch_dims: usize,
    },
    /// Reads `indices`, `updates`; writes into its base.
    ScatterElements {
        axis: usize,
        function: ScatterFn,
    },
    /// Reads `indices`, `updates`; writes into its base.
    ScatterNd {
        function: ScatterFn,
    },
    /// Reads `x`, then for each of `axes` where the block begins on it (`i64`, `[]`; nothing wraps); writes the block.
    DynamicSlice {
        axes: Vec<usize>,
    },
    /// Reads a block, then for each of `axes` where it begins on it (`i64`, `[]`; nothing wraps); writes it into its base.
    DynamicUpdate {
        axes: Vec<usize>,
    },
    /// Reads `x`; writes `i64` positions with the reduced axis of extent 1.
    ArgReduce {
        largest: bool,
        axis: usize,
        last: bool,
    },
    /// Reads `x`; writes values and `i64` positions, ties by the lower position.
    TopK {
        axis: usize,
        largest: bool,
        sorted: bool,
    },
    Cumulative {
        function: CumulativeFn,
        axis: usize,
        exclusive: bool,
        reverse: bool,
    },
    /// Reads `x`; one entry of `axes` an axis. Outside taps clamp to the edge, or give `extrapolation` (bits of an
    /// `f64`) when set.
    Resize {
        function: ResizeFn,
        axes: Vec<ResizeAxis>,
        extrapolation: Option<u64>,
    },
    /// Reads `x [seq, batch, input]`, `w [dirs, gates * hidden, input]`, `r [dirs, gates * hidden, hidden]`,
    /// `bias [dirs, 2 * gates * hidden]`, `h0 [dirs, batch, hidden]`, for LSTM `c0` likewise and `peephole
    /// [dirs, 3 * hidden]` (order i, o, f), then `lengths [batch]` (`i32`). Writes `y [seq, dirs, batch, hidden]`, `h`, for
    /// LSTM `c`. `reverse[d]` runs direction `d` backwards. `clip`: bits of an `f64`.
    Recurrent {
        function: RecurrentFn,
        hidden: usize,
        reverse: Vec<bool>,
        clip: Option<u64>,
        input_forget: bool,
        packed: bool,
    },
    /// Reads the condition (`bool`, `[]`), then arguments; runs one of two bodies, which are numbers in
    /// [`Executable::bodies`](crate::executable::Executable::bodies). The first `carried` results replace their base, which
    /// the body finds in them. See [`control`].
    If {
        then_body: u32,
        else_body: u32,
        carried: usize,
    },
    /// Runs a body `trips` times. Reads `sequences`, of which iteration `i` gets slice `i` along axis 0, then arguments;
    /// writes `carried` results, which replace their base, then results of which iteration `i` writes slice `i`. With
    /// `trips` unset it reads their number (`i64`, `[]`) and whether to begin (`bool`, `[]`) first, every iteration says
    /// whether there is another, and nothing is sliced. See [`control`].
    Loop {
        body: u32,
        trips: Option<u64>,
        carried: usize,
        sequences: usize,
    },
}

impl Kernel {
    /// The name in reports and traces.
    pub fn name(&self) -> &'static str {
        match self {
            Kernel::Map { program } if program.is_identity() => "copy",
            Kernel::Map { .. } => "map",
            Kernel::Reduce { .. } => "reduce",
            Kernel::Row { function: RowFn::Softmax, .. } => "softmax",
            Kernel::Row { function: RowFn::LogSoftmax, .. } => "log_softmax",
            Kernel::Row { function: RowFn::LayerNorm { .. }, .. } => "layer_norm",
            Kernel::Row { function: RowFn::RmsNorm { .. }, .. } => "rms_norm",
            Kernel::MatMul { .. } => "matmul",
            Kernel::Conv { .. } => "conv",
            Kernel::ConvTranspose { .. } => "conv_transpose",
            Kernel::Pool { function: PoolFn::Max, .. } => "max_pool",
            Kernel::Pool { .. } => "average_pool",
            Kernel::Gather { .. } => "gather",
            Kernel::GatherElements { .. } => "gather_elements",
            Kernel::GatherNd { .. } => "gather_nd",
            Kernel::ScatterElements { .. } => "scatter_elements",
            Kernel::ScatterNd { .. } => "scatter_nd",
            Kernel::DynamicSlice { .. } => "dynamic_slice",
            Kernel::DynamicUpdate { .. } => "dynamic_update",
            Kernel::ArgReduce { .. } => "arg_reduce",
            Kernel::TopK { .. } => "top_k",
            Kernel::Cumulative { .. } => "cumulative",
            Kernel::Resize { .. } => "resize",
            Kernel::Recurrent { function: RecurrentFn::Lstm, .. } => "lstm",
            Kernel::Recurrent { function: RecurrentFn::Gru { .. }, .. } => "gru",
            Kernel::Recurrent { .. } => "rnn",
            Kernel::If { .. } => "if",
            Kernel::Loop { trips: None, .. } => "loop",
            Kernel::Loop { .. } => "scan",
        }
    }

    /// The bodies that the kernel runs.
    pub fn bodies(&self) -> impl Iterator<Item = u32> + use<> {
        let [first, second] = match *self {
            Kernel::If { then_body, else_body, .. } => [Some(then_body), Some(else_body)],
            Kernel::Loop { body, .. } => [Some(body), None],
            _ => [None, None],
        };
        first.into_iter().chain(second)
    }

    /// Lets the kernel run other bodies: each number as `renumber` gives it.
    pub fn renumber_bodies(&mut self, renumber: impl Fn(u32) -> u32) {
        match self {
            Kernel::If { then_body, else_body, .. } => {
                (*then_body, *else_body) = (renumber(*then_body), renumber(*else_body));
            }
            Kernel::Loop { body, .. } => *body = renumber(*body),
            _ => {}
        }
    }

    /// The epilogue, for kernels that can have one.
    pub fn epilogue(&self) -> Option<&Program> {
        match self {
            Kernel::Reduce { epilogue, .. }
            | Kernel::Row { epilogue, .. }
            | Kernel::MatMul { epilogue, .. }
            | Kernel::Conv { epilogue, .. }
            | Kernel::ConvTranspose { epilogue, .. } => Some(epilogue),
            _ => None,
        }
    }

    /// How many of the reads are body operands; the rest belong to the epilogue.
    pub fn body_operands(&self, reads: usize) -> usize {
        reads - self.epilogue().map_or(0, |epilogue| epilogue.inputs.len().saturating_sub(1)).min(reads)
    }
}
