//! `DynamicSlice` and `DynamicUpdate`: a block of elements at a place that is known when the program runs.
//!
//! Places are compared with the bounds before anything is written. The block is then moved as any copy is: only where it
//! begins depends on the operands.

use std::ops::Range;

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, Operand, RunError};
use crate::kernel::copy::Copy;
use crate::kernel::element::typed;
use crate::kernel::grid::Grid;
use crate::kernel::lookup::slice;
use crate::kernel::tile::Out;
use crate::kernel::{Kernel, reference};
use crate::types::Layout;

#[derive(Debug)]
pub struct PreparedDynamic {
    name: &'static str,
    /// Whether the block is written and not read at a place of its own.
    updates: bool,
    /// Which reads are starts.
    starts: Range<usize>,
    /// For each start: the extent of its axis, the block's extent on it, and the stride.
    axes: Vec<(usize, usize, i64)>,
    copy: Copy,
}

/// `DynamicSlice` or `DynamicUpdate`, validated.
pub fn prepare(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Result<PreparedDynamic, String> {
    let (axes, updates) = match kernel {
        Kernel::DynamicSlice { axes } => (axes, false),
        Kernel::DynamicUpdate { axes } => (axes, true),
        other => return Err(format!("{} has no place", other.name())),
    };
    let (first, target) = (&reads[0].layout, &writes[0].access.layout);
    let (whole, block) = if updates { (target, first) } else { (first, target) };
    let window = Layout { shape: block.shape.clone(), ..whole.clone() };
    let (from, to) = if updates { (first, &window) } else { (&window, target) };
    let grid = Grid::ascending(&block.shape, &[from], &[to])?;
    let axes = axes.iter().map(|&axis| (whole.shape[axis], block.shape[axis], whole.strides[axis])).collect();
    let copy = Copy::new(grid, reads[0].dtype);
    Ok(PreparedDynamic { name: kernel.name(), updates, starts: 1..reads.len(), axes, copy })
}

impl PreparedDynamic {
    pub fn run(&self, call: Call) -> Result<(), RunError> {
        let mut shift = 0;
        for (read, &(extent, size, stride)) in call.reads[self.starts.clone()].iter().zip(&self.axes) {
            shift += reference::place(start(read)?, extent, size, self.name)? as i64 * stride;
        }
        let [write] = call.writes else { return Ok(()) };
        let grid = self.copy.grid();
        if grid.is_empty() {
            return Ok(());
        }
        // A block that shares bytes with what it is copied to is against the contract.
        slice(&call.reads[0])?;
        let (from, to) = if self.updates { (0, shift) } else { (shift, 0) };
        let mut out = Out { bytes: &mut *write.bytes, origin: write.layout.offset + grid.starts[1] + to };
        self.copy.run_from(&call.reads[0], from, &mut out, 0..grid.len());
        Ok(())
    }
}

/// The value of a scalar operand.
fn start(read: &Operand) -> Result<i64, RunError> {
    let elements: &[i64] = typed(slice(read)?);
    let found = usize::try_from(read.layout.offset).ok().and_then(|at| elements.get(at)).copied();
    found.ok_or_else(|| RunError::Argument("a start has no bytes".into()))
}
