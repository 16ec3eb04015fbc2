//! Point programs: `Map`, and the prologues and epilogues of the fused kernels.

use super::Memory;
use crate::kernel::domain::for_each_index;
use crate::point::{MAX_REGISTERS, PointFn, Program};
use crate::scalar;
use crate::types::DType;

/// A program with the dtype of each register, ready to be evaluated without allocation.
pub(super) struct Body<'p> {
    program: &'p Program,
    dtypes: [DType; MAX_REGISTERS],
    registers: [u64; MAX_REGISTERS],
}

impl<'p> Body<'p> {
    /// `program` has been validated: it has at most [`MAX_REGISTERS`] registers, each defined before it is read.
    pub(super) fn new(program: &'p Program) -> Body<'p> {
        let mut dtypes = [DType::F32; MAX_REGISTERS];
        let inputs = program.inputs.len();
        dtypes[..inputs].copy_from_slice(&program.inputs);
        for (i, instr) in program.code.iter().enumerate() {
            let row = instr.function.row();
            let mut operands = [DType::F32; 3];
            for (dtype, &arg) in operands.iter_mut().zip(&instr.args[..row.arity]) {
                *dtype = dtypes[arg as usize];
            }
            let result = instr.function.result_dtype(&operands[..row.arity]);
            dtypes[inputs + i] = result.expect("programs are validated before they run");
        }
        Body { program, dtypes, registers: [0; MAX_REGISTERS] }
    }

    /// Dtype of output `n`.
    pub(super) fn dtype(&self, n: usize) -> DType {
        self.dtypes[self.program.outputs[n] as usize]
    }

    /// Evaluates the program on the operands that `load` gives; afterwards [`Body::output`] holds the results.
    pub(super) fn evaluate(&mut self, load: impl Fn(usize) -> u64) {
        let inputs = self.program.inputs.len();
        for i in 0..inputs {
            self.registers[i] = load(i);
        }
        for (i, instr) in self.program.code.iter().enumerate() {
            self.registers[inputs + i] = match instr.function {
                PointFn::Const(bits, _) => bits,
                function => {
                    let arity = function.row().arity;
                    let (mut dtypes, mut args) = ([DType::F32; 3], [0u64; 3]);
                    for (place, &arg) in instr.args[..arity].iter().enumerate() {
                        dtypes[place] = self.dtypes[arg as usize];
                        args[place] = self.registers[arg as usize];
                    }
                    scalar::eval(function, &dtypes[..arity], &args[..arity])
                }
            };
        }
    }

    pub(super) fn output(&self, n: usize) -> u64 {
        self.registers[self.program.outputs[n] as usize]
    }

    /// Evaluates a prologue at `index` of its domain: operands `0..inputs` of the call.
    pub(super) fn prologue(&mut self, memory: &Memory, index: &[usize]) -> u64 {
        self.evaluate(|operand| memory.read(operand, index));
        self.output(0)
    }

    /// Evaluates an epilogue on the core's result at `index` of the written domain and writes what it gives; its
    /// extra operands are those of the call from `first` on.
    pub(super) fn finish(&mut self, memory: &mut Memory, core: u64, first: usize, index: &[usize]) {
        self.evaluate(|operand| if operand == 0 { core } else { memory.read(first + operand - 1, index) });
        memory.write(0, index, self.output(0));
    }
}

pub(super) fn map(memory: &mut Memory, program: &Program) {
    let mut body = Body::new(program);
    for_each_index(memory.write_shape(0), |index| {
        body.evaluate(|operand| memory.read(operand, index));
        for target in 0..program.outputs.len() {
            memory.write(target, index, body.output(target));
        }
    });
}
