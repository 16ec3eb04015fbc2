//! Which operand of a kernel may share bytes with which result.
//!
//! The answer holds for every instruction set and every thread count, so that a plan proved with it may run anywhere: it
//! is the meet over all variants. It is the trusted base of every tie, so it is short, and it is tested: tied against
//! untied, bit for bit, for every variant and every pair it names, and forbidden pairs are shown to differ.
//!
//! Operand and result are understood to have one address and one layout, which is injective; what is not listed must be
//! disjoint. A second operand with the same address and layout is permitted where it is listed as well.

use crate::executable::{Access, Write};
use crate::kernel::{Kernel, RecurrentFn};

/// Why sharing is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// The element at an index is read before the element at that index is written, and nothing else reads it.
    SameIndex,
    /// A row is read whole into scratch before any of it is written; threads take whole rows.
    RowLocal,
    /// The element is read by the epilogue, after the core has accumulated its result in scratch.
    Accumulate,
    /// A line is followed in one direction: the element at an index is read, added to the total, and then written; threads
    /// take whole lines.
    Running,
    /// What a direction starts from is read whole into scratch before what it ends with is written.
    Carried,
}

impl Permission {
    /// The words of reports.
    pub fn name(self) -> &'static str {
        match self {
            Permission::SameIndex => "element by element",
            Permission::RowLocal => "row by row",
            Permission::Accumulate => "read as the result is stored",
            Permission::Running => "read before the total is stored",
            Permission::Carried => "read before the sequence is run",
        }
    }
}

/// Why result `write` may have the bytes of operand `read`, of `reads`, where both have one layout; `None`: it never may.
pub fn permission(kernel: &Kernel, reads: usize, read: usize, write: usize) -> Option<Permission> {
    let in_body = read < kernel.body_operands(reads);
    match kernel {
        Kernel::Map { .. } => Some(Permission::SameIndex),
        Kernel::Row { .. } if in_body => Some(Permission::RowLocal),
        Kernel::Row { .. } => Some(Permission::SameIndex),
        Kernel::Reduce { .. } | Kernel::MatMul { .. } | Kernel::Conv { .. } | Kernel::ConvTranspose { .. }
            if !in_body =>
        {
            Some(Permission::Accumulate)
        }
        Kernel::Cumulative { .. } => Some(Permission::Running),
        // `h0` and `c0`; `h` and `c`.
        Kernel::Recurrent { function, .. } if write > 0 => {
            let states = if *function == RecurrentFn::Lstm { 4..6 } else { 4..5 };
            states.contains(&read).then_some(Permission::Carried)
        }
        _ => None,
    }
}

/// The `(read, write)` pairs that may share bytes.
pub fn contract(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Vec<(usize, usize, Permission)> {
    let mut permitted = Vec::new();
    for (index, Write { access: target, .. }) in writes.iter().enumerate() {
        if !target.layout.is_injective() {
            continue;
        }
        for (read, access) in reads.iter().enumerate() {
            if access.dtype.size() == target.dtype.size()
                && access.layout.offset == target.layout.offset
                && access.layout.is_parallel(&target.layout)
            {
                let permission = permission(kernel, reads.len(), read, index);
                permitted.extend(permission.map(|permission| (read, index, permission)));
            }
        }
    }
    permitted
}
