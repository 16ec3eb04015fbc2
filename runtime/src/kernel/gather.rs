//! Gathers: blocks of the data copied to where the indices ask for them.
//!
//! Only the size of an element matters. All indices are checked before anything is written.

use crate::executable::{Access, Write};
use crate::kernel::Kernel;
use crate::kernel::call::{Call, RunError};
use crate::kernel::element::{typed, typed_mut, with_bits};
use crate::kernel::lookup::{Indices, Lookup, slice};
use crate::kernel::share::{Share, share_units};
use crate::types::DType;

/// Elements that a thread should move at least, so that it pays to wake it.
const GRAIN: usize = 1 << 15;

#[derive(Debug)]
pub struct PreparedGather {
    name: &'static str,
    dtype: DType,
    lookup: Lookup,
}

/// `Gather`, `GatherElements` or `GatherNd`, validated.
pub fn prepare(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> PreparedGather {
    let (data, indices, out) = (&reads[0].layout, &reads[1].layout, &writes[0].access.layout);
    let lookup = match kernel {
        Kernel::GatherElements { axis } => Lookup::elements(*axis, out, indices, data),
        Kernel::GatherNd { batch_dims } => Lookup::points(*batch_dims, out, indices, data),
        Kernel::Gather { axis } => Lookup::along(*axis, out, indices, data),
        other => unreachable!("{} is not a gather", other.name()),
    };
    PreparedGather { name: kernel.name(), dtype: reads[0].dtype, lookup }
}

impl PreparedGather {
    pub fn run(&self, call: Call) -> Result<(), RunError> {
        let (data, indices) = (slice(&call.reads[0])?, Indices::of(&call.reads[1])?);
        let [out] = call.writes else { return Ok(()) };
        if out.layout.is_empty() {
            return Ok(());
        }
        self.lookup.check(&indices, self.name)?;
        let (lookup, block) = (&self.lookup, self.lookup.block);
        let grain = GRAIN.div_ceil(block);
        with_bits!(self.dtype, T => {
            let data: &[T] = typed(data);
            share_units(call.threads, std::array::from_mut(out), lookup.outer_rank(), grain, call.workspace, 0, |share| {
                let Share { units, targets: [bytes], starts: [start], .. } = share;
                let out: &mut [T] = typed_mut(bytes);
                lookup.for_each(&indices, units.start, units.len(), |moved, store| {
                    let (to, from) = ((moved - start) as usize, store as usize);
                    if block == 1 {
                        out[to] = data[from];
                    } else {
                        out[to..to + block].copy_from_slice(&data[from..from + block]);
                    }
                });
            });
        });
        Ok(())
    }
}
