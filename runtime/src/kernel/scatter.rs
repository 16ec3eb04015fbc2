//! Scatters: updates combined into the base that the result already holds.
//!
//! Updates are applied one after the other in row-major order, so the last of several assignments to one element stays
//! and sums are added up in one order. All indices are checked before anything is written.

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, RunError};
use crate::kernel::element::{Element, typed, typed_mut, with_bits, with_element};
use crate::kernel::lookup::{Indices, Lookup, slice};
use crate::kernel::{Kernel, ScatterFn};
use crate::types::DType;

#[derive(Debug)]
pub struct PreparedScatter {
    name: &'static str,
    function: ScatterFn,
    dtype: DType,
    lookup: Lookup,
}

/// `ScatterElements` or `ScatterNd`, validated.
pub fn prepare(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> PreparedScatter {
    let (indices, updates, base) = (&reads[0].layout, &reads[1].layout, &writes[0].access.layout);
    let (function, lookup) = match kernel {
        Kernel::ScatterElements { axis, function } => (*function, Lookup::elements(*axis, updates, indices, base)),
        Kernel::ScatterNd { function } => (*function, Lookup::points(0, updates, indices, base)),
        other => unreachable!("{} is not a scatter", other.name()),
    };
    PreparedScatter { name: kernel.name(), function, dtype: reads[1].dtype, lookup }
}

impl PreparedScatter {
    pub fn run(&self, call: Call) -> Result<(), RunError> {
        let (indices, updates) = (Indices::of(&call.reads[0])?, slice(&call.reads[1])?);
        let [base] = call.writes else { return Ok(()) };
        if call.reads[1].layout.is_empty() {
            return Ok(());
        }
        self.lookup.check(&indices, self.name)?;
        if self.function == ScatterFn::Assign {
            let block = self.lookup.block;
            with_bits!(self.dtype, T => {
                let updates: &[T] = typed(updates);
                let base: &mut [T] = typed_mut(base.bytes);
                self.lookup.for_each(&indices, 0, usize::MAX, |moved, store| {
                    let (from, to) = (moved as usize, store as usize);
                    base[to..to + block].copy_from_slice(&updates[from..from + block]);
                });
            });
            return Ok(());
        }
        with_element!(self.dtype, T => {
            let updates: &[T] = typed(updates);
            let base: &mut [T] = typed_mut(base.bytes);
            match self.function {
                ScatterFn::Mul => self.combine(&indices, updates, base, T::times),
                ScatterFn::Max => self.combine(&indices, updates, base, T::larger),
                ScatterFn::Min => self.combine(&indices, updates, base, T::smaller),
                ScatterFn::Add | ScatterFn::Assign => self.combine(&indices, updates, base, T::plus),
            }
        });
        Ok(())
    }

    #[inline(always)]
    fn combine<T: Element>(&self, indices: &Indices, updates: &[T], base: &mut [T], function: impl Fn(T, T) -> T) {
        let block = self.lookup.block;
        self.lookup.for_each(indices, 0, usize::MAX, |moved, store| {
            let (from, to) = (moved as usize, store as usize);
            for (old, &update) in base[to..to + block].iter_mut().zip(&updates[from..from + block]) {
                *old = function(*old, update);
            }
        });
    }
}
