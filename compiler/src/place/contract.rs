//! What a kernel allows, in the words of this stage.
//!
//! The contract itself belongs to the runtime, beside the kernels; here it is asked with accesses as they would be
//! after a tie.

use situ_runtime::contract::contract;
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
) -> Option<&'static str> {
    if !is_same(&reads[read], &writes[write].access) {
        return None;
    }
    let permitted = contract(kernel, reads, writes).iter().any(|&(r, w, _)| (r, w) == (read, write));
    permitted.then_some(match kernel {
        Kernel::Row { .. } if read < kernel.body_operands(reads.len()) => "row by row",
        _ if kernel.epilogue().is_some() && read >= kernel.body_operands(reads.len()) => "read as the result is stored",
        _ => "element by element",
    })
}

/// Whether a kernel writes `access` at full speed although it is not one block.
pub(super) fn writes_region(kernel: &Kernel, access: &Access) -> bool {
    let layout = &access.layout;
    if layout.is_dense() {
        return true;
    }
    let inner = layout.shape.iter().zip(&layout.strides).rev().find(|(extent, _)| **extent != 1);
    match kernel {
        Kernel::Map { .. } | Kernel::DynamicSlice { .. } => layout.is_injective(),
        Kernel::Row { .. } | Kernel::MatMul { .. } | Kernel::Conv { .. } | Kernel::Reduce { .. } => {
            layout.is_injective() && inner.is_none_or(|(_, &stride)| stride == 1)
        }
        _ => false,
    }
}
