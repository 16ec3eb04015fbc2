//! Kernels that run other plans: a branch and a loop.
//!
//! A *body* is a plan of its own ([`Executable::bodies`](crate::executable::Executable::bodies)). Its inputs are *ports*:
//! bytes that the step which runs it lends, for one run of the body. A `read` port is an operand, whole or one slice of
//! it. An `inout` port is *carried*: it holds the old content of a result when the body begins and its new content
//! when the body ends, so that an iteration finds what the one before has left, in the same bytes. An `out` port holds
//! nothing at first, and a result, or one slice of it, in the end. A body has no outputs beside its ports.
//!
//! What a body needs beside its ports, its arena and a loop's two scalars, is the scratch of the step:
//!
//! | kernel | scratch |
//! |---|---|
//! | `If` | the larger of the two arenas |
//! | `Loop` | the arena, rounded up to 64 bytes; the index, 64 bytes; the condition, 64 bytes |

use crate::executable::{ALIGNMENT, Access, Write};
use crate::kernel::Kernel;
use crate::types::{DType, InputMode, Layout};

/// How deep bodies may be nested.
pub const MAX_NESTING: usize = 32;

/// The most operands, results included, of a step that runs bodies.
pub const MAX_PORTS: usize = 1024;

/// What a port of a body is to the step that runs it. The order in which [`ports`] gives them is that of the body's
/// inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The number of the iteration, from 0: an `i64` scalar.
    Index,
    /// The old, then the new content of result `i`.
    Carried(usize),
    /// Operand `i` at the index of its axis 0 that is the number of the iteration.
    Slice(usize),
    /// Operand `i`.
    Argument(usize),
    /// Whether the loop goes on: a `bool` scalar.
    Condition,
    /// Result `i` at the index of its axis 0 that is the number of the iteration.
    Element(usize),
    /// Result `i`.
    Result(usize),
}

impl Port {
    pub fn mode(self) -> InputMode {
        match self {
            Port::Index | Port::Slice(_) | Port::Argument(_) => InputMode::Read,
            Port::Carried(_) => InputMode::InOut,
            Port::Condition | Port::Element(_) | Port::Result(_) => InputMode::Out,
        }
    }

    /// Dtype and shape, as the operands of the step have it; `None` when they have no axis to take slices of.
    pub fn ty(self, reads: &[Access], writes: &[Write]) -> Option<(DType, Vec<usize>)> {
        let sliced = |access: &Access| access.layout.shape.get(1..).map(|shape| (access.dtype, shape.to_vec()));
        let whole = |access: &Access| Some((access.dtype, access.layout.shape.clone()));
        match self {
            Port::Index => Some((DType::I64, Vec::new())),
            Port::Condition => Some((DType::Bool, Vec::new())),
            Port::Slice(read) => sliced(reads.get(read)?),
            Port::Argument(read) => whole(reads.get(read)?),
            Port::Element(write) => sliced(&writes.get(write)?.access),
            Port::Carried(write) | Port::Result(write) => whole(&writes.get(write)?.access),
        }
    }
}

/// The ports of every body of `kernel`, in order, when it reads and writes so many operands; none for other kernels.
pub fn ports(kernel: &Kernel, reads: usize, writes: usize) -> Vec<Port> {
    match *kernel {
        Kernel::If { carried, .. } => {
            let own = (0..carried).map(Port::Carried).chain((1..reads).map(Port::Argument));
            own.chain((carried..writes).map(Port::Result)).collect()
        }
        Kernel::Loop { trips, carried, sequences, .. } => {
            let first = if trips.is_none() { 2 } else { 0 };
            let slices = (first..reads).take(sequences).map(Port::Slice);
            let arguments = (first..reads).skip(sequences).map(Port::Argument);
            let read = slices.chain(arguments);
            let condition = trips.is_none().then_some(Port::Condition);
            let begin = std::iter::once(Port::Index).chain((0..carried).map(Port::Carried));
            begin.chain(read).chain(condition).chain((carried..writes).map(Port::Element)).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the step finds old content in result `write` and may leave it there.
pub fn is_carried(kernel: &Kernel, write: usize) -> bool {
    match *kernel {
        Kernel::If { carried, .. } | Kernel::Loop { carried, .. } => write < carried,
        _ => false,
    }
}

/// Where in the scratch of a loop its index and its condition are, for a body with an arena of `arena_bytes`.
pub fn scalars(arena_bytes: u64) -> (u64, u64) {
    let index = arena_bytes.next_multiple_of(ALIGNMENT);
    (index, index + ALIGNMENT)
}

/// Scratch bytes of a step that runs bodies, when their arenas have `arena_bytes`.
pub fn workspace_bytes(kernel: &Kernel, arena_bytes: impl Fn(u32) -> u64) -> u64 {
    match *kernel {
        Kernel::If { then_body, else_body, .. } => arena_bytes(then_body).max(arena_bytes(else_body)),
        Kernel::Loop { body, .. } => scalars(arena_bytes(body)).1 + ALIGNMENT,
        _ => 0,
    }
}

/// Whether `reads` and `writes` fit `kernel`, apart from its bodies: whoever runs them lends blocks of bytes, so every
/// access is one.
pub fn validate(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Result<(), String> {
    let is_block = |layout: &Layout| layout.is_empty() || layout.is_dense();
    if reads.len() + writes.len() > MAX_PORTS {
        return Err(format!("more than {MAX_PORTS} operands"));
    }
    let mut accesses = reads.iter().chain(writes.iter().map(|write| &write.access));
    if !accesses.all(|access| is_block(&access.layout)) {
        return Err("the bytes of an operand are not one dense block".into());
    }
    let scalar = |read: usize, dtype: DType, what: &str| match reads.get(read) {
        Some(access) if access.dtype == dtype && access.layout.rank() == 0 => Ok(()),
        _ => Err(format!("operand {read} is no {dtype} scalar, which {what} is")),
    };
    match *kernel {
        Kernel::If { carried, .. } => {
            scalar(0, DType::Bool, "the condition")?;
            if carried > writes.len() {
                return Err("more is carried than written".into());
            }
        }
        Kernel::Loop { trips, carried, sequences, .. } => match trips {
            None => {
                scalar(0, DType::I64, "the number of iterations")?;
                scalar(1, DType::Bool, "the condition")?;
                if sequences > 0 || carried != writes.len() {
                    return Err("slices need a number of iterations that is known".into());
                }
            }
            Some(trips) if trips > i64::MAX as u64 => return Err("more iterations than an i64 counts".into()),
            Some(trips) => {
                if carried > writes.len() || sequences > reads.len() {
                    return Err("more is carried or sliced than there is".into());
                }
                let elements = writes[carried..].iter().map(|write| &write.access);
                for access in reads[..sequences].iter().chain(elements) {
                    if access.layout.shape.first().map(|&extent| extent as u64) != Some(trips) {
                        return Err(format!("an operand of {trips} slices has another number of them"));
                    }
                }
            }
        },
        _ => return Err("it runs no body".into()),
    }
    Ok(())
}
