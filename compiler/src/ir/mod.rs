//! The IR: what a program is.
//!
//! A [`Graph`] is one function over tensors in SSA form. Its *values* are defined once: as an input, as a constant, as a
//! parameter of a block, or as a result of an *instruction*. An instruction applies an op to operands and has results;
//! ops with regions (`if`, `loop`, `scan`, `kernel`) hold *blocks*, straight lists of instructions over parameters of
//! their own.
//!
//! **When an op runs.** Instructions of a block run in order. Order matters only where something is written: a `Graph`
//! may hold views (`slice`, `permute`, ...) that share bytes with their operand, and *mutating* instructions (written
//! with a trailing `_`), which write their result into the storage of operand 0; every value with bytes there shows
//! the change, exactly as in a PyTorch program.
//!
//! **Two forms, two types.** [`PureGraph`](crate::functional::PureGraph) is a graph in which nothing is written.
//!
//! **Ids** are `u32` indices into arenas, one type each; they print as in the text (`%4`). Analyses are tables beside the
//! graph, never fields in it, and are computed anew after a change.

mod builder;
mod canonical;
mod constant;
mod graph;
pub mod layout;
mod print;
pub mod spelling;
pub mod verify;

pub use builder::{BuildError, Builder};
pub use canonical::{canonical, in_program_order, pruned};
pub use constant::{Constant, ConstantData, Distribution};
pub use graph::{
    Block, BlockId, ConstId, Def, Graph, Input, Inst, InstId, Location, Output, StateView, Value, ValueId,
};
pub use print::{Stored, elided, print, stored};
pub use verify::verify;
