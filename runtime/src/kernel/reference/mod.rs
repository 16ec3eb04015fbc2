//! What every kernel means, written to be obviously right: one element at a time, in the order of the definition.
//!
//! This is the oracle of the production kernels, and what runs where a dtype has no fast form. Floats are accumulated
//! in `f64` and rounded once to the dtype of the core's result; integers are accumulated in `i64` and wrap. Nothing is
//! allocated: scratch lives on the stack or in the workspace. Every result element is written after all the operands
//! that its formula names have been read, so a tied operand with the layout of the result is read in time wherever
//! the formula names only the element of the same index (`Map`, epilogues, rows, running sums).

mod dynamic;
mod fold;
mod gather;
mod order;
mod product;
mod program;
mod recurrent;
mod resize;
mod scatter;
mod window;

pub use self::dynamic::place;
use crate::kernel::Kernel;
use crate::kernel::call::{Call, Operand, RunError, Source, Target};
use crate::kernel::domain::position;
use crate::kernel::element::{load_bits, number, store_bits};
use crate::scalar;
use crate::types::DType;

/// Bytes of scratch that [`run`] needs: only recurrent cells keep state between steps.
pub fn workspace_bytes(kernel: &Kernel) -> usize {
    match kernel {
        Kernel::Recurrent { hidden, .. } => recurrent::workspace_bytes(*hidden),
        _ => 0,
    }
}

/// Runs `kernel`, whose accesses `validate` has accepted.
pub fn run(kernel: &Kernel, call: Call) -> Result<(), RunError> {
    let mut memory = Memory { reads: call.reads, writes: call.writes };
    match kernel {
        Kernel::Map { program } => program::map(&mut memory, program),
        Kernel::Reduce { function, axes, prologue, epilogue } => {
            fold::reduce(&mut memory, *function, axes, prologue, epilogue);
        }
        Kernel::Row { function, prologue, epilogue } => fold::row(&mut memory, *function, prologue, epilogue),
        Kernel::MatMul { dtype, packed, epilogue } => product::matmul(&mut memory, *dtype, *packed, epilogue),
        Kernel::Conv { dtype, window, groups, epilogue, .. } => {
            product::conv(&mut memory, *dtype, window, *groups, epilogue);
        }
        Kernel::ConvTranspose { dtype, window, groups, epilogue } => {
            product::conv_transpose(&mut memory, *dtype, window, *groups, epilogue);
        }
        Kernel::Pool { function, window, column_major } => {
            window::pool(&mut memory, *function, window, *column_major);
        }
        Kernel::Gather { axis } => return gather::gather(&mut memory, *axis, kernel.name()),
        Kernel::GatherElements { axis } => return gather::gather_elements(&mut memory, *axis, kernel.name()),
        Kernel::GatherNd { batch_dims } => return gather::gather_nd(&mut memory, *batch_dims, kernel.name()),
        Kernel::ScatterElements { axis, function } => {
            return scatter::scatter_elements(&mut memory, *axis, *function, kernel.name());
        }
        Kernel::ScatterNd { function } => return scatter::scatter_nd(&mut memory, *function, kernel.name()),
        Kernel::DynamicSlice { axes } => return dynamic::slice(&mut memory, axes, kernel.name()),
        Kernel::DynamicUpdate { axes } => return dynamic::update(&mut memory, axes, kernel.name()),
        Kernel::ArgReduce { largest, axis, last } => order::arg_reduce(&mut memory, *largest, *axis, *last),
        Kernel::TopK { axis, largest, .. } => order::top_k(&mut memory, *axis, *largest),
        Kernel::Cumulative { function, axis, exclusive, reverse } => {
            order::cumulative(&mut memory, *function, *axis, *exclusive, *reverse);
        }
        Kernel::Resize { function, axes, extrapolation } => {
            resize::resize(&mut memory, *function, axes, extrapolation.map(f64::from_bits));
        }
        Kernel::Recurrent { .. } => recurrent::run(&mut memory, kernel, call.workspace),
        Kernel::If { .. } | Kernel::Loop { .. } => {
            return Err(RunError::Fault(format!("{} is not one call", kernel.name())));
        }
    }
    Ok(())
}

/// The operands and results of a call, addressed by index.
struct Memory<'a, 'b> {
    reads: &'b [Operand<'a>],
    writes: &'b mut [Target<'a>],
}

impl<'a, 'b> Memory<'a, 'b> {
    fn read_shape(&self, operand: usize) -> &'a [usize] {
        &self.reads[operand].layout.shape
    }

    fn write_shape(&self, target: usize) -> &'a [usize] {
        &self.writes[target].layout.shape
    }

    fn read_dtype(&self, operand: usize) -> DType {
        self.reads[operand].dtype
    }

    fn write_dtype(&self, target: usize) -> DType {
        self.writes[target].dtype
    }

    /// Bits of an operand's element; a tied operand is read from the result it shares bytes with.
    fn read(&self, operand: usize, index: &[usize]) -> u64 {
        let Operand { source, dtype, layout } = self.reads[operand];
        match source {
            Source::Bytes(bytes) => load_bits(bytes, dtype, position(layout, index)),
            Source::Written(target) => self.old(target, index),
        }
    }

    /// The element of an operand as a number.
    fn number(&self, operand: usize, index: &[usize]) -> f64 {
        number(self.reads[operand].dtype, self.read(operand, index))
    }

    /// The element of an integer operand.
    fn integer(&self, operand: usize, index: &[usize]) -> i64 {
        scalar::decode_int(self.reads[operand].dtype, self.read(operand, index))
    }

    /// What a result holds now.
    fn old(&self, target: usize, index: &[usize]) -> u64 {
        let Target { bytes, dtype, layout } = &self.writes[target];
        load_bits(bytes, *dtype, position(layout, index))
    }

    fn write(&mut self, target: usize, index: &[usize], bits: u64) {
        let Target { bytes, dtype, layout } = &mut self.writes[target];
        store_bits(bytes, *dtype, position(layout, index), bits);
    }

    /// An index read from operand `operand`, counted from the end when negative.
    fn index(&self, operand: usize, at: &[usize], extent: usize, step: &str) -> Result<usize, RunError> {
        let index = self.integer(operand, at);
        let wrapped = if index < 0 { index.saturating_add(extent as i64) } else { index };
        usize::try_from(wrapped).ok().filter(|&i| i < extent).ok_or_else(|| RunError::IndexOutOfRange {
            step: step.to_string(),
            index,
            extent,
        })
    }
}

/// A running total: floats in `f64`, integers in `i64`.
#[derive(Clone, Copy)]
enum Total {
    Float(f64),
    Int(i64),
}

impl Total {
    fn from_bits(dtype: DType, bits: u64) -> Total {
        if dtype.is_float() {
            Total::Float(scalar::decode_float(dtype, bits))
        } else {
            Total::Int(scalar::decode_int(dtype, bits))
        }
    }

    fn from_integer(dtype: DType, value: i64) -> Total {
        if dtype.is_float() { Total::Float(value as f64) } else { Total::Int(value) }
    }

    fn to_bits(self, dtype: DType) -> u64 {
        match self {
            Total::Float(value) => scalar::encode_float(dtype, value),
            Total::Int(value) => scalar::encode_int(dtype, value),
        }
    }

    fn add(self, other: Total) -> Total {
        match (self, other) {
            (Total::Int(a), Total::Int(b)) => Total::Int(a.wrapping_add(b)),
            (a, b) => Total::Float(a.float() + b.float()),
        }
    }

    fn mul(self, other: Total) -> Total {
        match (self, other) {
            (Total::Int(a), Total::Int(b)) => Total::Int(a.wrapping_mul(b)),
            (a, b) => Total::Float(a.float() * b.float()),
        }
    }

    fn divide(self, count: usize) -> Total {
        match self {
            Total::Int(a) => Total::Int(a.checked_div(count as i64).unwrap_or(0)),
            Total::Float(a) => Total::Float(a / count as f64),
        }
    }

    /// The larger or the smaller; NaN wins.
    fn extreme(self, other: Total, largest: bool) -> Total {
        match (self, other) {
            (Total::Int(a), Total::Int(b)) => Total::Int(if largest { a.max(b) } else { a.min(b) }),
            (a, b) => {
                let (a, b) = (a.float(), b.float());
                let keep = a.is_nan() || (!b.is_nan() && if largest { a >= b } else { a <= b });
                Total::Float(if keep { a } else { b })
            }
        }
    }

    fn float(self) -> f64 {
        match self {
            Total::Float(value) => value,
            Total::Int(value) => value as f64,
        }
    }
}
