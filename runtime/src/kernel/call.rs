//! How a kernel meets memory: operands and results as slices, scratch, and threads.
//!
//! The session hands a kernel only disjoint slices. An operand that has the very place and layout of a result (a tie)
//! does not get a slice: it is [`Source::Written`], and the kernel reads it from the result before it overwrites it.

use crate::types::{DType, Layout};

/// Where the elements of an operand are.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The bytes of the operand's hull: `layout.offset` of the operand counts from the start of this slice.
    Bytes(&'a [u8]),
    /// The operand is the old content of result `i`, with the same layout.
    Written(usize),
}

/// What a kernel reads.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    pub source: Source<'a>,
    pub dtype: DType,
    /// In elements of `dtype`, relative to the slice.
    pub layout: &'a Layout,
}

/// What a kernel writes.
#[derive(Debug)]
pub struct Target<'a> {
    pub bytes: &'a mut [u8],
    pub dtype: DType,
    /// In elements of `dtype`, relative to the slice; injective.
    pub layout: &'a Layout,
}

/// One kernel call.
pub struct Call<'a, 'b> {
    pub reads: &'b [Operand<'a>],
    pub writes: &'b mut [Target<'a>],
    /// At least `workspace_bytes(kernel, …, threads)` bytes, aligned to 64; content arbitrary.
    pub workspace: &'a mut [u8],
    pub threads: Threads<'a>,
}

/// The threads of a session. With one thread nothing of rayon is touched.
#[derive(Clone, Copy)]
pub struct Threads<'a> {
    pub pool: Option<&'a rayon::ThreadPool>,
    pub count: usize,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// A run-time index outside its axis.
    IndexOutOfRange { step: String, index: i64, extent: usize },
    /// An argument of `run` does not fit its port.
    Argument(String),
    /// An earlier run failed after it had begun to write state.
    Poisoned,
    /// Inputs share bytes against the plan's assumptions, and nothing was compiled for that case.
    Aliased { written: String, other: String },
    /// Our fault: a checked plan asks for something that it cannot have. Nothing was overrun.
    Fault(String),
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunError::IndexOutOfRange { step, index, extent } => {
                write!(f, "{step}: index {index} is outside an axis of {extent}")
            }
            RunError::Argument(message) => f.write_str(message),
            RunError::Aliased { written, other } => {
                write!(
                    f,
                    "input {written}, which is written, shares bytes with {other}, against the plan's assumptions"
                )
            }
            RunError::Fault(message) => f.write_str(message),
            RunError::Poisoned => f.write_str("an earlier run failed after it had begun to write state"),
        }
    }
}

impl std::error::Error for RunError {}
