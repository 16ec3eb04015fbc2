//! Which operand of a kernel may share bytes with which result.
//!
//! The answer holds for every instruction set and every thread count, so that a plan proved with it may run anywhere: it
//! is the meet over all variants. It is the trusted base of every tie, so it is short, and it is tested: tied against
//! untied, bit for bit, for every variant and every pair it names, and forbidden pairs are shown to differ.
//!
//! Operand and result are understood to have one address and one layout, which is injective; what is not listed must be
//! disjoint. A second operand with the same address and layout is permitted where it is listed as well.

use crate::executable::{Access, Write};
use crate::kernel::Kernel;

/// Why sharing is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// The element at an index is read before the element at that index is written, and nothing else reads it.
    SameIndex,
    /// A row is read whole into scratch before any of it is written; threads take whole rows.
    RowLocal,
    /// The element is read by the epilogue, after the core has accumulated its result in scratch.
    Accumulate,
}

/// The `(read, write)` pairs that may share bytes.
pub fn contract(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Vec<(usize, usize, Permission)> {
    // Of the kernels with several results only `Map` loads all its operands before it stores the first.
    if writes.len() != 1 && !matches!(kernel, Kernel::Map { .. }) {
        return Vec::new();
    }
    let body = kernel.body_operands(reads.len());
    let permission = |read: usize| match kernel {
        Kernel::Map { .. } => Some(Permission::SameIndex),
        Kernel::Row { .. } if read < body => Some(Permission::RowLocal),
        Kernel::Row { .. } => Some(Permission::SameIndex),
        Kernel::Reduce { .. } | Kernel::MatMul { .. } | Kernel::Conv { .. } | Kernel::ConvTranspose { .. }
            if read >= body =>
        {
            Some(Permission::Accumulate)
        }
        _ => None,
    };
    let mut permitted = Vec::new();
    for (index, write) in writes.iter().enumerate() {
        let target = &write.access;
        if !target.layout.is_injective() {
            continue;
        }
        for (read, access) in reads.iter().enumerate() {
            let same = access.dtype.size() == target.dtype.size() && access.layout == target.layout;
            permitted.extend(permission(read).filter(|_| same).map(|permission| (read, index, permission)));
        }
    }
    permitted
}
