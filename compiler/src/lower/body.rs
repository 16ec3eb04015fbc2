//! Bodies of kernels: from point ops on tensors to a [`Program`] over registers.
//!
//! A program is evaluated at every index of a domain. Operands of lower rank are read with stride 0 where they
//! broadcast, and since numpy's broadcasting is aligned from the right and associative, an intermediate value of lower
//! rank can be evaluated over the whole domain as well.

use std::collections::BTreeMap;

use situ_runtime::point::{MAX_REGISTERS, PointFn, PointInstr, Program, Reg};

use super::Source;
use crate::diagnostic::Fault;
use crate::ir::{Graph, ValueId};
use crate::ops::Op;
use crate::types::DType;

pub(super) fn fault(message: impl Into<String>) -> Fault {
    Fault { stage: "lower", message: message.into() }
}

/// A program under construction and the operands it reads.
pub(super) struct Body<'a> {
    graph: &'a Graph,
    /// Where memory values are: operands of the kernel, by the value that names them in the body.
    sources: &'a BTreeMap<ValueId, Source>,
    /// Value of the core's result, which is register 0, if there is a core.
    core: Option<(ValueId, DType)>,
    /// Whether a repeated element is an operand like any other instead of a constant of the program.
    splats_in_memory: bool,
    /// Operand values in register order (after the core's result).
    pub operands: Vec<(ValueId, Source)>,
    steps: Vec<Step>,
    at: BTreeMap<ValueId, Operand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operand {
    Core,
    Input(usize),
    Step(usize),
}

struct Step {
    function: PointFn,
    args: Vec<Operand>,
}

impl<'a> Body<'a> {
    pub fn new(graph: &'a Graph, sources: &'a BTreeMap<ValueId, Source>, core: Option<(ValueId, DType)>) -> Body<'a> {
        Body {
            graph,
            sources,
            core,
            splats_in_memory: false,
            operands: Vec::new(),
            steps: Vec::new(),
            at: BTreeMap::new(),
        }
    }

    /// Lets repeated elements be operands.
    pub fn with_splats_in_memory(self) -> Body<'a> {
        Body { splats_in_memory: true, ..self }
    }

    /// Makes sure that `value` is in a register.
    fn place(&mut self, value: ValueId) -> Result<Operand, Fault> {
        if let Some(&operand) = self.at.get(&value) {
            return Ok(operand);
        }
        if self.core.is_some_and(|(core, _)| core == value) {
            return Ok(Operand::Core);
        }
        let operand = match self.sources.get(&value) {
            Some(Source::Splat(bits)) if !self.splats_in_memory => {
                self.step(PointFn::Const(*bits, self.graph.ty(value).dtype), Vec::new())
            }
            Some(source) => {
                // One read serves all names of the same bytes.
                let known = self
                    .operands
                    .iter()
                    .position(|(other, known)| known == source && self.graph.ty(*other) == self.graph.ty(value));
                let index = known.unwrap_or_else(|| {
                    self.operands.push((value, source.clone()));
                    self.operands.len() - 1
                });
                Operand::Input(index)
            }
            None => {
                let inst = self.graph.producer(value).ok_or_else(|| fault("a body reads a value it does not have"))?;
                let inst = self.graph.inst(inst);
                let Op::Point(function) = inst.op else {
                    return Err(fault(format!("{} cannot be part of a program", inst.op.name())));
                };
                let args = inst.operands.iter().map(|&arg| self.place(arg)).collect::<Result<Vec<_>, _>>()?;
                self.step(function, args)
            }
        };
        self.at.insert(value, operand);
        Ok(operand)
    }

    fn step(&mut self, function: PointFn, args: Vec<Operand>) -> Operand {
        self.steps.push(Step { function, args });
        Operand::Step(self.steps.len() - 1)
    }

    /// Applies `function` to the core's result and a memory value, and lets the result stand for the core from now on.
    pub fn apply_to_core(&mut self, function: PointFn, value: ValueId) -> Result<(), Fault> {
        let (core, _) = self.core.ok_or_else(|| fault("a kernel without core has no bias"))?;
        let current = self.place(core)?;
        let operand = self.place(value)?;
        let step = self.step(function, vec![current, operand]);
        self.at.insert(core, step);
        Ok(())
    }

    /// The program that computes `outputs`.
    pub fn finish(mut self, outputs: &[ValueId]) -> Result<(Program, Vec<(ValueId, Source)>), Fault> {
        let results = outputs.iter().map(|&output| self.place(output)).collect::<Result<Vec<_>, _>>()?;
        let lead = usize::from(self.core.is_some());
        let inputs = lead + self.operands.len();
        if inputs + self.steps.len() > MAX_REGISTERS {
            return Err(fault(format!("a body needs {} registers", inputs + self.steps.len())));
        }
        let register = |operand: &Operand| -> Reg {
            match *operand {
                Operand::Core => 0,
                Operand::Input(i) => (lead + i) as Reg,
                Operand::Step(i) => (inputs + i) as Reg,
            }
        };
        let code = self
            .steps
            .iter()
            .map(|step| {
                let mut args = [0; 3];
                for (place, arg) in args.iter_mut().zip(&step.args) {
                    *place = register(arg);
                }
                PointInstr { function: step.function, args }
            })
            .collect();
        let mut dtypes: Vec<DType> = self.core.iter().map(|&(_, dtype)| dtype).collect();
        dtypes.extend(self.operands.iter().map(|(value, _)| self.graph.ty(*value).dtype));
        let program = Program { inputs: dtypes, code, outputs: results.iter().map(register).collect() };
        program.dtypes().map_err(fault)?;
        Ok((program, self.operands))
    }
}
