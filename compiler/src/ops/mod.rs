//! What an op is.
//!
//! An op is a row of `table.rs`: name, attributes, shape rule, storage, effect, layout rule, class and one sentence. No
//! field has a default; leaving one out is a compile error at the row. Parsing, printing, verification, the alias
//! database, the rewriter and `docs/ops.md` read the row; nothing else lists the ops.
//!
//! Elementwise functions have their rows in `situ_runtime::point` (their arithmetic and their typing are one thing);
//! here they are the single op [`Op::Point`].

pub mod attr;
pub mod control;
pub mod shape;
mod table;
pub mod views;

pub use attr::{AttrValue, Attribute, Float};
pub use situ_runtime::kernel::{
    CumulativeFn, NearestFn, PoolFn, RecurrentFn, ReduceFn, ResizeAxis, ResizeFn, ScatterFn, Window,
};
pub use situ_runtime::point::PointFn;
pub use table::Op;

use crate::types::TensorType;

/// Whose bytes a result has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Bytes of its own.
    Fresh,
    /// Always the bytes of operand `i`, seen through another layout.
    ViewOf(usize),
    /// The bytes of operand `i` where its layout allows it, else a copy; decided by strides (`reshape`).
    MayViewOf(usize),
    /// The bytes of what its regions yield, whosever they are; what a `scan` stacks has bytes of its own.
    Yielded,
}

/// Whether a mutating form, written with a trailing `_`, exists. It writes its result into operand 0 and returns
/// operand 0's storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// No mutating form.
    Never,
    /// `op` and `op_` both exist.
    Form,
    /// Only the mutating form exists (`copy_`).
    Only,
}

/// Strides of a fresh result in a source program, as eager PyTorch gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutRule {
    /// Row-major.
    Contiguous,
    /// The operands' common order of strides, dense (`TensorIterator`): transposed in, transposed out.
    Elementwise,
    /// Not fresh: derived from the operand's layout by the view, or that of what a region yields.
    View,
}

/// What kind of work an op is, for the rewriter and `lower`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Elementwise with broadcasting.
    Point,
    /// Other indices of the same elements; costs nothing until somebody needs another layout.
    View,
    /// Elements moved, not changed.
    Movement,
    /// A core that can take a prologue and an epilogue: reduction or row function.
    Row,
    /// A core that can take an epilogue: matmul, convolution.
    Contraction,
    /// A kernel of its own, without fusion.
    Opaque,
    /// Rewritten into other ops before kernels are made; never reaches `lower`.
    Composite,
    /// A fused kernel with a body region; only `rewrite` makes it.
    Kernel,
    /// Regions that run under the op's control: branches and loops.
    Control,
}

/// How far a compiled result may be from the scalar meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accuracy {
    /// Bit-equal.
    Exact,
    /// As the point function's row says.
    Ulps,
    /// Sums in another order: relative to the sum of magnitudes.
    Sum,
}

/// The facts of one op, apart from its attributes.
pub struct OpRow {
    /// Least and largest number of operands.
    pub arity: (usize, usize),
    pub storage: Storage,
    pub mutation: Mutation,
    pub layout: LayoutRule,
    pub class: Class,
    pub accuracy: Accuracy,
    /// One sentence, from the row's doc comment.
    pub doc: &'static str,
}

/// Result types of an op, or what is wrong with its operands: found and expected, lower case, no full stop.
pub type Inferred = Result<Vec<TensorType>, String>;
