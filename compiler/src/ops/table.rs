//! The rows.
//!
//! A row reads: name in text, variant, attributes, the result types as a function of the operands' types `x` (the
//! attributes are in scope by name), and the facts of [`OpRow`].

use situ_runtime::kernel::{CumulativeFn, PoolFn, RecurrentFn, ReduceFn, ResizeAxis, ResizeFn, ScatterFn, Window};
use situ_runtime::point::{PointFn, Typing};

use super::attr::{AttrValue, Attribute, Float};
use super::{Accuracy, Class, Inferred, LayoutRule, Mutation, OpRow, Storage};
use super::{control, shape};
use crate::types::{DType, TensorType};

macro_rules! ops {
    ($(
        #[doc = $doc:literal]
        $name:literal = $variant:ident { $($attr:ident : $type:ty),* }
        |$x:ident| $infer:expr => $arity:expr, $storage:expr, $mutation:expr, $layout:expr, $class:expr, $accuracy:expr;
    )*) => {
        /// An op with its attributes.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Op {
            /// An elementwise function with numpy broadcasting; its row is in `situ_runtime::point`.
            Point(PointFn),
            $(#[doc = $doc] $variant { $($attr: $type),* },)*
        }

        impl Op {
            /// Names of all ops that are not point functions, in the order of the table.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The name in text, without the `_` of a mutating form.
            pub fn name(&self) -> &'static str {
                match self {
                    Op::Point(function) => function.row().name,
                    $(Op::$variant { .. } => $name,)*
                }
            }

            pub fn row(&self) -> OpRow {
                match self {
                    Op::Point(function) => point_row(*function),
                    $(Op::$variant { .. } => OpRow { arity: $arity, storage: $storage, mutation: $mutation, layout: $layout, class: $class, accuracy: $accuracy, doc: $doc.trim_ascii() },)*
                }
            }

            /// Names and values of the attributes, in the order of the row.
            pub fn attributes(&self) -> Vec<(&'static str, AttrValue)> {
                match self {
                    Op::Point(PointFn::Cast(to)) => vec![("to", to.write())],
                    Op::Point(_) => Vec::new(),
                    $(Op::$variant { $($attr),* } => vec![$((stringify!($attr), $attr.write())),*],)*
                }
            }

            /// Names of the attributes an op called `name` has, with what is expected of each; `None` if there is no such op.
            pub fn signature(name: &str) -> Option<Vec<(&'static str, &'static str)>> {
                match name {
                    "cast" => Some(vec![("to", DType::EXPECTED)]),
                    $($name => Some(vec![$((stringify!($attr), <$type as Attribute>::EXPECTED)),*]),)*
                    _ => PointFn::from_name(name).map(|_| Vec::new()),
                }
            }

            /// The op called `name` with attributes found by `get`. `None` if there is no such op, `Some(Err(name of the
            /// first bad attribute))` if one is missing or of the wrong kind.
            pub fn read(name: &str, get: &dyn Fn(&str) -> Option<AttrValue>) -> Option<Result<Op, &'static str>> {
                fn attribute<T: Attribute>(name: &'static str, get: &dyn Fn(&str) -> Option<AttrValue>) -> Result<T, &'static str> {
                    get(name).and_then(|value| T::read(&value)).ok_or(name)
                }
                match name {
                    "cast" => Some(attribute("to", get).map(|to| Op::Point(PointFn::Cast(to)))),
                    $($name => {
                        let read = || Ok(Op::$variant { $($attr: attribute::<$type>(stringify!($attr), get)?),* });
                        Some(read())
                    })*
                    _ => PointFn::from_name(name).map(|function| Ok(Op::Point(function))),
                }
            }

            /// Types of the results for operands of types `operands`, or what is wrong. Checks arity, attributes and types
            /// completely: a graph whose instructions all pass has no shape or dtype error left.
            pub fn infer(&self, operands: &[TensorType]) -> Inferred {
                let row = self.row();
                if operands.len() < row.arity.0 || operands.len() > row.arity.1 {
                    return Err(shape::arity_message(self.name(), row.arity, operands.len()));
                }
                let results = match self {
                    Op::Point(function) => shape::point(*function, operands),
                    $(Op::$variant { $($attr),* } => { $(let _ = $attr;)* let $x = operands; $infer })*
                }?;
                for result in &results {
                    result.check()?;
                }
                Ok(results)
            }
        }
    };
}

/// The row of an elementwise function, derived from its point row.
fn point_row(function: PointFn) -> OpRow {
    let row = function.row();
    OpRow {
        arity: (row.arity, row.arity),
        storage: Storage::Fresh,
        mutation: if row.typing == Typing::Same { Mutation::Form } else { Mutation::Never },
        layout: LayoutRule::Elementwise,
        class: Class::Point,
        accuracy: Accuracy::Ulps,
        doc: row.doc,
    }
}

use Accuracy::{Exact, Sum};
use LayoutRule::{Contiguous, View};
use Mutation::{Form, Never, Only};
use Storage::{Fresh, MayViewOf, ViewOf, Yielded};

ops! {
    // Views.
    /// The same elements in row-major order under another shape; always a view, an error where strides forbid it.
    "view" = View { shape: Vec<usize> } |x| shape::reshaped(&x[0], shape) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// The same elements in row-major order under another shape; a view where strides allow it, else a copy.
    "reshape" = Reshape { shape: Vec<usize> } |x| shape::reshaped(&x[0], shape) => (1, 1), MayViewOf(0), Never, View, Class::View, Exact;
    /// The axes in another order: axis `i` of the result is axis `axes[i]` of the operand.
    "permute" = Permute { axes: Vec<usize> } |x| shape::permuted(&x[0], axes) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// Elements `start, start + step, ...` before `end` of one axis; a negative step runs down and `end` may then be -1.
    "slice" = Slice { axis: usize, start: i64, end: i64, step: i64 } |x| shape::sliced(&x[0], *axis, *start, *end, *step) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// One index of one axis, which disappears.
    "select" = Select { axis: usize, index: usize } |x| shape::selected(&x[0], *axis, *index) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// Axes of extent 1 repeated and new axes put in front, without copying.
    "expand" = Expand { shape: Vec<usize> } |x| shape::expanded(&x[0], shape) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// Axes of extent 1 removed.
    "squeeze" = Squeeze { axes: Vec<usize> } |x| shape::squeezed(&x[0], axes) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// Axes of extent 1 put at the given places of the result.
    "unsqueeze" = Unsqueeze { axes: Vec<usize> } |x| shape::unsqueezed(&x[0], axes) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// Consecutive parts of one axis, each a view.
    "split" = Split { axis: usize, sizes: Vec<usize> } |x| shape::split(&x[0], *axis, sizes) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// Windows of `size` indices of one axis, each `step` after the last, as a new last axis; windows overlap where `step` is smaller.
    "unfold" = Unfold { axis: usize, size: usize, step: usize } |x| shape::unfolded(&x[0], *axis, *size, *step) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// The elements `(i, i + offset)` of two axes, which disappear, as a new last axis.
    "diagonal" = Diagonal { offset: i64, axis1: usize, axis2: usize } |x| shape::diagonal(&x[0], *offset, *axis1, *axis2) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// Elements `offset + sum(index * strides)` of the operand's storage, wherever the operand itself lies in it; without `offset`, from the operand's first element.
    "as_strided" = AsStrided { shape: Vec<usize>, strides: Vec<usize>, offset: Option<usize> } |x| shape::seen_strided(&x[0], shape, strides, *offset) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// Elements `offset + sum(index * strides)` of the operand's elements in row-major order; a view where one stride reaches them, else a copy.
    "strided" = Strided { shape: Vec<usize>, strides: Vec<i64>, offset: usize } |x| shape::strided(&x[0], shape, strides, *offset) => (1, 1), MayViewOf(0), Never, View, Class::View, Exact;
    /// The bytes of the last axis as elements of another dtype; always a view, an error where strides forbid it.
    "view_dtype" = ViewDtype { to: DType } |x| shape::reinterpreted(&x[0], *to) => (1, 1), ViewOf(0), Never, View, Class::View, Exact;
    /// The bytes of the last axis as elements of another dtype; a view where strides allow it, else a copy.
    "bitcast" = Bitcast { to: DType } |x| shape::reinterpreted(&x[0], *to) => (1, 1), MayViewOf(0), Never, View, Class::View, Exact;

    // Movement.
    /// The elements in bytes of their own, row-major.
    "contiguous" = Contiguous { } |x| Ok(vec![x[0].clone()]) => (1, 1), Fresh, Never, Contiguous, Class::Movement, Exact;
    /// Operand 1, broadcast, written over operand 0.
    "copy" = Copy { } |x| shape::copied(&x[0], &x[1]) => (2, 2), Fresh, Only, Contiguous, Class::Movement, Exact;
    /// Operand 0, dense, with the elements at `offset + sum(index * strides)` replaced by operand 1: a write, in functional form.
    "update" = Update { offset: usize, strides: Vec<i64> } |x| shape::updated(&x[0], &x[1], *offset, strides) => (2, 2), Fresh, Never, Contiguous, Class::Movement, Exact;
    /// The operands one after the other along one axis.
    "concat" = Concat { axis: usize } |x| shape::concatenated(x, *axis) => (1, 4096), Fresh, Never, Contiguous, Class::Movement, Exact;
    /// Operand 0 with `before` and `after` elements of the scalar operand 1 around each axis.
    "pad" = Pad { before: Vec<usize>, after: Vec<usize> } |x| shape::padded(x, before, after) => (2, 2), Fresh, Never, Contiguous, Class::Movement, Exact;
    /// Rows of operand 0 along one axis, chosen by the integers of operand 1; negative counts from the end.
    "gather" = Gather { axis: usize } |x| shape::gathered(x, *axis) => (2, 2), Fresh, Never, Contiguous, Class::Opaque, Exact;
    /// For each index, the element of operand 0 whose coordinate on one axis operand 1 gives.
    "gather_elements" = GatherElements { axis: usize } |x| shape::gathered_elements(x, *axis) => (2, 2), Fresh, Never, Contiguous, Class::Opaque, Exact;
    /// Slices of operand 0 at the coordinates in the last axis of operand 1, after `batch_dims` common axes.
    "gather_nd" = GatherNd { batch_dims: usize } |x| shape::gathered_nd(x, *batch_dims) => (2, 2), Fresh, Never, Contiguous, Class::Opaque, Exact;
    /// Operand 0 with the elements of operand 2 combined in at the coordinates operand 1 gives on one axis.
    "scatter_elements" = ScatterElements { axis: usize, function: ScatterFn } |x| shape::scattered_elements(x, *axis) => (3, 3), Fresh, Form, Contiguous, Class::Opaque, Exact;
    /// Operand 0 with the slices of operand 2 combined in at the coordinates in the last axis of operand 1.
    "scatter_nd" = ScatterNd { function: ScatterFn } |x| shape::scattered_nd(x) => (3, 3), Fresh, Form, Contiguous, Class::Opaque, Exact;
    /// The block of operand 0 with `sizes` elements on `axes`, from the places that the other operands give, one for each axis; nothing wraps.
    "dynamic_slice" = DynamicSlice { axes: Vec<usize>, sizes: Vec<usize> } |x| shape::dynamic_sliced(x, axes, sizes) => (2, 17), Fresh, Never, Contiguous, Class::Opaque, Exact;
    /// Operand 0 with the block operand 1 at the places that the other operands give, one for each of `axes`; nothing wraps.
    "dynamic_update" = DynamicUpdate { axes: Vec<usize> } |x| shape::dynamic_updated(x, axes) => (3, 18), Fresh, Form, Contiguous, Class::Opaque, Exact;

    // Rows.
    /// Elements combined along axes, which become 1 or disappear.
    "reduce" = Reduce { function: ReduceFn, axes: Vec<usize>, keepdim: bool } |x| shape::reduced(*function, &x[0], axes, *keepdim) => (1, 1), Fresh, Never, Contiguous, Class::Row, Sum;
    /// `exp(x - max) / sum(exp(x - max))` along one axis.
    "softmax" = Softmax { axis: usize } |x| shape::along(&x[0], *axis) => (1, 1), Fresh, Form, Contiguous, Class::Row, Sum;
    /// `x - max - log(sum(exp(x - max)))` along one axis.
    "log_softmax" = LogSoftmax { axis: usize } |x| shape::along(&x[0], *axis) => (1, 1), Fresh, Form, Contiguous, Class::Row, Sum;
    /// `(x - mean) / sqrt(var + eps) * scale + bias` over the axes from `axis` on; scale and bias broadcast from the right and may be absent.
    "layer_norm" = LayerNorm { axis: usize, eps: Float } |x| shape::normalised(x, *axis) => (1, 3), Fresh, Never, Contiguous, Class::Row, Sum;
    /// `x / sqrt(mean(x^2) + eps) * scale` over the axes from `axis` on; scale broadcasts from the right and may be absent.
    "rms_norm" = RmsNorm { axis: usize, eps: Float } |x| shape::normalised(x, *axis) => (1, 2), Fresh, Never, Contiguous, Class::Row, Sum;
    /// `(x - mean) / sqrt(var + eps) * scale + bias` per channel; operands x, scale, bias, mean, var.
    "batch_norm" = BatchNorm { eps: Float } |x| shape::batch_normalised(x) => (5, 5), Fresh, Never, Contiguous, Class::Composite, Sum;
    /// Layer norm over groups of channels, then scale and bias per channel; operands x, scale, bias.
    "group_norm" = GroupNorm { groups: usize, eps: Float } |x| shape::group_normalised(x, *groups) => (3, 3), Fresh, Never, Contiguous, Class::Composite, Sum;

    // Contractions.
    /// Matrix product of the last two axes with the others broadcast; a vector operand counts as a row or a column.
    "matmul" = MatMul { } |x| shape::multiplied(&x[0], &x[1]) => (2, 2), Fresh, Never, Contiguous, Class::Contraction, Sum;
    /// `x @ weight^T + bias`, weight `[out, in]`; the bias may be absent.
    "linear" = Linear { } |x| shape::linear(x) => (2, 3), Fresh, Never, Contiguous, Class::Composite, Sum;
    /// Cross-correlation of x `[n, c, ..]` with weight `[oc, c / groups, ..]`, plus bias `[oc]` if there is one.
    "conv" = Conv { strides: Vec<usize>, pads_begin: Vec<usize>, pads_end: Vec<usize>, dilations: Vec<usize>, groups: usize } |x| shape::convolved(x, strides, pads_begin, pads_end, dilations, *groups) => (2, 3), Fresh, Never, Contiguous, Class::Contraction, Sum;
    /// The gradient of a convolution as an op of its own: x `[n, c, ..]`, weight `[c, oc / groups, ..]`, bias `[oc]` if there is one.
    "conv_transpose" = ConvTranspose { strides: Vec<usize>, pads_begin: Vec<usize>, pads_end: Vec<usize>, dilations: Vec<usize>, output_padding: Vec<usize>, groups: usize } |x| shape::convolved_transposed(x, strides, pads_begin, pads_end, dilations, output_padding, *groups) => (2, 3), Fresh, Never, Contiguous, Class::Contraction, Sum;

    // Kernels of their own.
    /// Largest or mean element of a window that slides over the spatial axes of `[n, c, ..]`.
    "pool" = Pool { function: PoolFn, kernel: Vec<usize>, strides: Vec<usize>, pads_begin: Vec<usize>, pads_end: Vec<usize>, dilations: Vec<usize> } |x| shape::pooled(&x[0], &Window { kernel: kernel.clone(), strides: strides.clone(), pads_begin: pads_begin.clone(), pads_end: pads_end.clone(), dilations: dilations.clone() }).map(|y| { let _ = function; vec![y] }) => (1, 1), Fresh, Never, Contiguous, Class::Opaque, Sum;
    /// Max pool with the `i64` positions of the maxima in the flattened operand as second result.
    "max_pool_indices" = MaxPoolIndices { kernel: Vec<usize>, strides: Vec<usize>, pads_begin: Vec<usize>, pads_end: Vec<usize>, dilations: Vec<usize>, column_major: bool } |x| shape::pooled(&x[0], &Window { kernel: kernel.clone(), strides: strides.clone(), pads_begin: pads_begin.clone(), pads_end: pads_end.clone(), dilations: dilations.clone() }).map(|y| { let at = TensorType::new(DType::I64, y.shape.clone()); vec![y, at] }) => (1, 1), Fresh, Never, Contiguous, Class::Opaque, Exact;
    /// `i64` position of the largest or smallest element along one axis; of equals the first, or the last.
    "arg_reduce" = ArgReduce { largest: bool, axis: usize, keepdim: bool, last: bool } |x| shape::arg_reduced(&x[0], *axis, *keepdim) => (1, 1), Fresh, Never, Contiguous, Class::Opaque, Exact;
    /// The `k` largest or smallest elements along one axis and their `i64` positions.
    "top_k" = TopK { k: usize, axis: usize, largest: bool, sorted: bool } |x| shape::top_k(&x[0], *k, *axis) => (1, 1), Fresh, Never, Contiguous, Class::Opaque, Exact;
    /// Running sum or product along one axis.
    "cumulative" = Cumulative { function: CumulativeFn, axis: usize, exclusive: bool, reverse: bool } |x| shape::accumulated(&x[0], *axis) => (1, 1), Fresh, Never, Contiguous, Class::Opaque, Sum;
    /// Interpolation onto another grid: per axis, the source coordinate is a linear function of the output coordinate.
    "resize" = Resize { function: ResizeFn, shape: Vec<usize>, axes: Vec<ResizeAxis>, extrapolation: Option<Float> } |x| shape::resized(&x[0], shape, axes) => (1, 1), Fresh, Never, Contiguous, Class::Opaque, Sum;
    /// LSTM, GRU or RNN over a sequence; operands and results as the runtime's kernel of that name.
    "recurrent" = Recurrent { function: RecurrentFn, hidden: usize, reverse: Vec<bool>, clip: Option<Float>, input_forget: bool } |x| shape::recurrent(x, *function, *hidden, reverse) => (6, 8), Fresh, Never, Contiguous, Class::Opaque, Sum;

    // Control.
    /// The results of the first region where operand 0 is true, else of the second; both take the other operands.
    "if" = If { results: Vec<DType>, shapes: Vec<Vec<usize>> } |x| control::branched(x, results, shapes) => (1, 4096), Yielded, Never, View, Class::Control, Sum;
    /// The region once a trip while trips are left and its condition holds; operands trip count, condition, initial values, then what every trip sees.
    "loop" = Loop { carried: usize } |x| control::repeated(x, *carried) => (2, 4096), Yielded, Never, View, Class::Control, Sum;
    /// The region once for each element of the sequences; results are the last carried values, then what the trips gave, stacked.
    "scan" = Scan { trips: usize, carried: usize, sequences: usize, results: Vec<DType>, shapes: Vec<Vec<usize>> } |x| control::scanned(x, *trips, *carried, *sequences, results, shapes) => (0, 4096), Yielded, Never, View, Class::Control, Sum;

    // Made by the rewriter.
    /// A fused kernel: its region computes the results from the operands.
    "kernel" = Kernel { results: Vec<DType>, shapes: Vec<Vec<usize>> } |x| { let _ = x; shape::declared(results, shapes) } => (0, 64), Fresh, Never, Contiguous, Class::Kernel, Sum;
}
