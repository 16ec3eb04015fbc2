//! Which operand of a kernel may share bytes with which result.
//!
//! The answer holds for every instruction set and every thread count, so that a plan proved with it may run anywhere.
//! Operand and result are understood to have one address and one layout; what is not listed must be disjoint.

use crate::executable::{Access, Write};
use crate::kernel::Kernel;

/// Why sharing is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// The element at an index is read before the element at that index is written, and nothing else reads it.
    SameIndex,
}

/// The `(read, write)` pairs that may share bytes.
pub fn contract(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Vec<(usize, usize, Permission)> {
    match (kernel, writes) {
        (Kernel::Map { .. }, [write]) => (0..reads.len())
            .filter(|&read| reads[read].dtype.size() == write.access.dtype.size())
            .map(|read| (read, 0, Permission::SameIndex))
            .collect(),
        _ => Vec::new(),
    }
}
