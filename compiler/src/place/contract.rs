//! What a kernel allows, in the words of this stage.
//!
//! The contract itself belongs to the runtime, beside the kernels; here it is asked with accesses as they would be
//! after a tie.

use situ_runtime::contract::{Permission, contract};
use situ_runtime::executable::{Access, Write};
use situ_runtime::kernel::Kernel;

use super::region::is_same;

/// Why the contract permits `reads[read]` to be the old content of `writes[write]`; `None`: it does not.
pub(super) fn permits(
    kernel: &Kernel,
    reads: &[Access],
    writes: &[Write],
    read: usize,
    write: usize,
) -> Option<Permission> {
    if !is_same(&reads[read], &writes[write].access) {
        return None;
    }
    let permitted = contract(kernel, reads, writes);
    permitted.into_iter().find(|&(r, w, _)| (r, w) == (read, write)).map(|(_, _, permission)| permission)
}

/// Whether a kernel writes `access` at full speed although it is not one block.
pub(super) fn writes_region(kernel: &Kernel, access: &Access) -> bool {
    let layout = &access.layout;
    if layout.is_dense() {
        return true;
    }
    let inner = layout.shape.iter().zip(&layout.strides).rev().find(|(extent, _)| **extent != 1);
    let in_rows = inner.is_none_or(|(_, &stride)| stride == 1);
    match kernel {
        Kernel::Map { .. } | Kernel::DynamicSlice { .. } => layout.is_injective(),
        Kernel::Row { .. }
        | Kernel::MatMul { .. }
        | Kernel::Conv { .. }
        | Kernel::ConvTranspose { .. }
        | Kernel::Reduce { .. }
        | Kernel::Pool { .. }
        | Kernel::Gather { .. }
        | Kernel::GatherElements { .. }
        | Kernel::GatherNd { .. }
        | Kernel::Cumulative { .. }
        | Kernel::Resize { .. }
        | Kernel::Recurrent { .. } => layout.is_injective() && in_rows,
        // The first write all over their base, the next sort whole lines, the last give bodies whole ports.
        Kernel::ScatterElements { .. }
        | Kernel::ScatterNd { .. }
        | Kernel::DynamicUpdate { .. }
        | Kernel::ArgReduce { .. }
        | Kernel::TopK { .. }
        | Kernel::If { .. }
        | Kernel::Loop { .. } => false,
    }
}
