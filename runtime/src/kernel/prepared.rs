//! From a kernel as data to one that runs: the form chosen, its tables computed, its scratch known.
//!
//! Preparing happens once, at load, and may allocate; running may not. The form depends on the kernel, the dtypes and
//! the layouts alone, so a compiled program runs the same form on every machine; the instruction set is chosen within.

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, RunError};
use crate::kernel::validate::validate;
use crate::kernel::{Kernel, reference};
use crate::simd::Isa;

/// A kernel ready to run on operands of the layouts it was prepared for.
#[derive(Debug)]
pub struct Prepared {
    form: Form,
    workspace_bytes: usize,
}

#[derive(Debug)]
enum Form {
    Reference(Kernel),
}

/// Validates the accesses of a step and prepares its kernel for at most `threads` threads. The error says what does
/// not fit, with the kernel's name.
pub fn prepare(kernel: &Kernel, reads: &[Access], writes: &[Write], threads: usize) -> Result<Prepared, String> {
    let named = |message: String| format!("{}: {message}", kernel.name());
    validate(kernel, reads, writes).map_err(named)?;
    let (form, workspace_bytes) = match kernel {
        Kernel::Conv { packed: true, .. } | Kernel::Recurrent { packed: true, .. } => {
            return Err(named("packed weights have no form for these operands".into()));
        }
        _ => (Form::Reference(kernel.clone()), reference::workspace_bytes(kernel)),
    };
    let _ = threads;
    Ok(Prepared { form, workspace_bytes })
}

/// Scratch bytes that the prepared kernel will need, for all threads together.
pub fn workspace_bytes(kernel: &Kernel, reads: &[Access], writes: &[Write], threads: usize) -> Result<usize, String> {
    Ok(prepare(kernel, reads, writes, threads)?.workspace_bytes())
}

impl Prepared {
    /// Scratch bytes for all threads together; every call's workspace has at least as many.
    pub fn workspace_bytes(&self) -> usize {
        self.workspace_bytes
    }

    /// Runs the kernel. The layouts and dtypes of the call are those it was prepared for. Fails only on an index out of
    /// range or on an operand tied against the kernel's contract, and then has written nothing.
    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let _ = isa;
        match &self.form {
            Form::Reference(kernel) => reference::run(kernel, call),
        }
    }
}
