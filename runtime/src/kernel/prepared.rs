//! From a kernel as data to one that runs: the form chosen, its tables computed, its scratch known.
//!
//! Preparing happens once, at load, and may allocate; running may not. The form depends on the kernel, the dtypes and
//! the layouts alone, so a compiled program runs the same form on every machine; the instruction set is chosen within.

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, RunError, Source};
use crate::kernel::conv::PreparedConv;
use crate::kernel::map::Map;
use crate::kernel::matmul::PreparedMatMul;
use crate::kernel::recurrent::{Attributes, PreparedRecurrent};
use crate::kernel::reduce::Reduce;
use crate::kernel::row::Row;
use crate::kernel::validate::validate;
use crate::kernel::{Kernel, arg_reduce, cumulative, dynamic, gather, pool, reference, resize, scatter, top_k};
use crate::simd::Isa;
use crate::types::{DType, Layout};

/// A kernel ready to run on operands of the layouts it was prepared for.
#[derive(Debug)]
pub struct Prepared {
    form: Form,
    workspace_bytes: usize,
}

#[derive(Debug)]
enum Form {
    ArgReduce(arg_reduce::PreparedArgReduce),
    Conv(Box<PreparedConv>),
    Cumulative(cumulative::PreparedCumulative),
    Dynamic(dynamic::PreparedDynamic),
    Gather(gather::PreparedGather),
    Map(Map),
    MatMul(Box<PreparedMatMul>),
    Pool(pool::PreparedPool),
    Recurrent(Box<PreparedRecurrent>),
    Reduce(Reduce),
    Resize(resize::PreparedResize),
    Row(Row),
    Scatter(scatter::PreparedScatter),
    TopK(top_k::PreparedTopK),
    Reference(Kernel),
}

/// Validates the accesses of a step and prepares its kernel for at most `threads` threads. The error says what does
/// not fit, with the kernel's name.
pub fn prepare(kernel: &Kernel, reads: &[Access], writes: &[Write], threads: usize) -> Result<Prepared, String> {
    let named = |message: String| format!("{}: {message}", kernel.name());
    validate(kernel, reads, writes).map_err(named)?;
    let read_layouts: Vec<&Layout> = reads.iter().map(|read| &read.layout).collect();
    let written_layouts: Vec<&Layout> = writes.iter().map(|write| &write.access.layout).collect();
    let form = match kernel {
        Kernel::Map { program } => {
            Form::Map(Map::prepare(program, &read_layouts, &written_layouts, threads).map_err(named)?)
        }
        Kernel::Reduce { function, axes, prologue, epilogue } => {
            let programs = (prologue, epilogue);
            let reduce = Reduce::prepare(*function, axes, programs, &read_layouts, written_layouts[0], threads);
            Form::Reduce(reduce.map_err(named)?)
        }
        Kernel::Row { function, prologue, epilogue } => Form::Row(
            Row::prepare(*function, prologue, epilogue, &read_layouts, written_layouts[0], threads).map_err(named)?,
        ),
        Kernel::MatMul { dtype, packed, epilogue } => {
            let form = PreparedMatMul::prepare(*dtype, *packed, epilogue, reads, writes, threads);
            Form::MatMul(Box::new(form.map_err(named)?))
        }
        // What has no fast form, by its dtype or its size, is valid all the same.
        Kernel::Conv { dtype, window, groups, packed: false, epilogue } => {
            PreparedConv::prepare(*dtype, window, *groups, epilogue, reads, writes, threads)
                .map_or_else(|_| Form::Reference(kernel.clone()), |conv| Form::Conv(Box::new(conv)))
        }
        Kernel::ConvTranspose { dtype, window, groups, epilogue } => {
            PreparedConv::prepare_transpose(*dtype, window, *groups, epilogue, reads, writes, threads)
                .map_or_else(|_| Form::Reference(kernel.clone()), |conv| Form::Conv(Box::new(conv)))
        }
        Kernel::Recurrent { function, hidden, reverse, clip, input_forget, packed: false } => {
            let (function, hidden, clip, input_forget) = (*function, *hidden, *clip, *input_forget);
            let attributes = Attributes { function, hidden, reverse, clip, input_forget };
            PreparedRecurrent::prepare(attributes, reads, writes, threads)
                .map_or_else(|_| Form::Reference(kernel.clone()), |recurrent| Form::Recurrent(Box::new(recurrent)))
        }
        Kernel::Pool { function, window, column_major } => {
            Form::Pool(pool::prepare(*function, window, *column_major, reads, writes, threads).map_err(named)?)
        }
        Kernel::Gather { .. } | Kernel::GatherElements { .. } | Kernel::GatherNd { .. } => {
            Form::Gather(gather::prepare(kernel, reads, writes))
        }
        Kernel::ScatterElements { .. } | Kernel::ScatterNd { .. } => {
            Form::Scatter(scatter::prepare(kernel, reads, writes))
        }
        Kernel::DynamicSlice { .. } | Kernel::DynamicUpdate { .. } => {
            Form::Dynamic(dynamic::prepare(kernel, reads, writes).map_err(named)?)
        }
        Kernel::ArgReduce { largest, axis, last } => {
            Form::ArgReduce(arg_reduce::prepare(*largest, *axis, *last, reads).map_err(named)?)
        }
        Kernel::TopK { axis, largest, .. } => Form::TopK(top_k::prepare(*axis, *largest, reads, writes, threads)),
        Kernel::Cumulative { function, axis, exclusive, reverse } => {
            Form::Cumulative(cumulative::prepare(*function, *axis, *exclusive, *reverse, reads))
        }
        Kernel::Resize { function, axes, extrapolation } => {
            Form::Resize(resize::prepare(*function, axes, *extrapolation, reads, writes, threads).map_err(named)?)
        }
        Kernel::If { .. } | Kernel::Loop { .. } => {
            return Err(named("it runs a plan, which is more than one call".into()));
        }
        Kernel::Conv { packed: true, .. } | Kernel::Recurrent { packed: true, .. } => {
            return Err(named("packed weights have no form for these operands".into()));
        }
    };
    let workspace_bytes = match &form {
        Form::Conv(conv) => conv.workspace_bytes(),
        Form::Map(map) => map.workspace_bytes(),
        Form::MatMul(matmul) => matmul.workspace_bytes(),
        Form::Pool(pool) => pool.workspace_bytes(),
        Form::Recurrent(recurrent) => recurrent.workspace_bytes(),
        Form::Reduce(reduce) => reduce.workspace_bytes(),
        Form::Resize(resize) => resize.workspace_bytes(),
        Form::Row(row) => row.workspace_bytes(),
        Form::TopK(top_k) => top_k.workspace_bytes(),
        Form::Reference(kernel) => reference::workspace_bytes(kernel),
        Form::ArgReduce(_) | Form::Cumulative(_) | Form::Dynamic(_) | Form::Gather(_) | Form::Scatter(_) => 0,
    };
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
    /// range, or on an argument that is not aligned to its dtype or tied against the kernel's contract, and then has
    /// written nothing.
    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let unaligned = |bytes: &[u8], dtype: DType| {
            let aligned = bytes.is_empty() || (bytes.as_ptr() as usize).is_multiple_of(dtype.size());
            !aligned || !bytes.len().is_multiple_of(dtype.size())
        };
        let reads = call.reads.iter().any(|read| match read.source {
            Source::Bytes(bytes) => unaligned(bytes, read.dtype),
            Source::Written(_) => false,
        });
        if reads || call.writes.iter().any(|write| unaligned(write.bytes, write.dtype)) {
            return Err(RunError::Argument("an argument is not aligned to its element type".into()));
        }
        match &self.form {
            Form::ArgReduce(arg_reduce) => arg_reduce.run(isa, call),
            Form::Cumulative(cumulative) => cumulative.run(call),
            Form::Dynamic(dynamic) => dynamic.run(call),
            Form::Gather(gather) => gather.run(call),
            Form::Conv(conv) => conv.run(isa, call),
            Form::Map(map) => map.run(isa, call),
            Form::MatMul(matmul) => matmul.run(isa, call),
            Form::Pool(pool) => pool.run(isa, call),
            Form::Recurrent(recurrent) => recurrent.run(isa, call),
            Form::Reduce(reduce) => reduce.run(isa, call),
            Form::Resize(resize) => resize.run(isa, call),
            Form::Row(row) => row.run(isa, call),
            Form::Scatter(scatter) => scatter.run(call),
            Form::TopK(top_k) => top_k.run(isa, call),
            Form::Reference(kernel) => reference::run(kernel, call),
        }
    }
}
