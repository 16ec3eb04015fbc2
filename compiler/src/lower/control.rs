//! Branches and loops: each region becomes a kernel graph of its own, a *body*, whose inputs are ports.
//!
//! What an iteration hands to the next, and what a branch may leave as it is, is *carried*: the step writes a result into
//! a copy of its initial value, which `place` may elide as it does for an update, and the body has it as state, read and
//! written in its own bytes. Everything else that a region yields is a port that is only written. Arguments are dense,
//! because a body's inputs are; a slice of a sequence then is a block of its bytes.

use std::collections::BTreeMap;

use situ_runtime::executable::{Access, Write};
use situ_runtime::kernel::Kernel;
use situ_runtime::kernel::control::{Port, ports};

use super::body::fault;
use super::graph::{Lowering, Origin};
use super::{BufferKind, KernelInput, Source};
use crate::diagnostic::Fault;
use crate::ir::{BlockId, Inst, ValueId};
use crate::ops::control::{condition_type, index_type, without_first_axis};
use crate::ops::{Class, Op};
use crate::types::{Layout, TensorType};

/// A port of a body: the parameter that is in it at first and the value that is in it in the end.
struct BodyPort {
    ty: TensorType,
    param: Option<ValueId>,
    last: Option<ValueId>,
    /// For a port without parameter.
    name: String,
}

impl Lowering<'_> {
    /// Lowers an `if`, `loop` or `scan`.
    pub(super) fn control(&mut self, inst: &Inst) -> Result<(), Fault> {
        if inst.results.iter().all(|&result| self.graph.ty(result).is_empty()) {
            // Nothing is computed, whatever the condition is.
            for &result in &inst.results {
                self.result(result);
            }
            return Ok(());
        }
        match &inst.op {
            Op::If { .. } => self.branch(inst),
            Op::Loop { carried } => {
                let (first, inits) = inst.operands.split_at(2);
                let (inits, arguments) = inits.split_at(*carried);
                let read = [first, arguments].concat();
                self.repeat(inst, None, inits, 0, &read)
            }
            Op::Scan { trips, carried, sequences, .. } => {
                let (inits, read) = inst.operands.split_at(*carried);
                self.repeat(inst, Some(*trips as u64), inits, *sequences, read)
            }
            other => Err(fault(format!("{} has no body", other.name()))),
        }
    }

    /// A body of `inst`, named by its first result.
    fn body_name(&self, inst: &Inst, part: &str) -> String {
        let result = self.graph.display(inst.results[0]);
        let own = format!("{} {result}{part}", inst.op.name());
        if self.is_body { format!("{} / {own}", self.out.name) } else { own }
    }

    /// Dense reads of values, and the write of each carried result over a copy of its initial value.
    fn operands(
        &mut self,
        inst: &Inst,
        read: &[ValueId],
        carried: &[(ValueId, ValueId)],
    ) -> Result<(Vec<Access>, Vec<Write>), Fault> {
        let origin = || Origin { label: format!("layout for {}", inst.op.name()), ..Origin::of(inst) };
        let reads = read.iter().map(|&value| self.dense(value, origin())).collect::<Result<Vec<_>, _>>()?;
        let mut writes = Vec::with_capacity(inst.results.len());
        for &(result, init) in carried {
            // What has no bytes has none to begin with.
            let is_empty = self.graph.ty(result).is_empty();
            let base = if is_empty { None } else { Some(self.copied(init, inst)?.0) };
            writes.push(Write { access: self.result(result), base });
        }
        Ok((reads, writes))
    }

    /// A `loop`, whose reads begin with the number of iterations and the condition, or a `scan`, which has `trips`.
    fn repeat(
        &mut self,
        inst: &Inst,
        trips: Option<u64>,
        inits: &[ValueId],
        sequences: usize,
        read: &[ValueId],
    ) -> Result<(), Fault> {
        let (results, stacked) = inst.results.split_at(inits.len());
        let carried: Vec<(ValueId, ValueId)> = results.iter().copied().zip(inits.iter().copied()).collect();
        let (reads, mut writes) = self.operands(inst, read, &carried)?;
        writes.extend(stacked.iter().map(|&result| Write { access: self.result(result), base: None }));
        let block = self.graph.block(inst.regions[0]);
        let (params, yields) = (block.params.clone(), block.yields.clone());
        // A region's parameters are the index, the carries, and what is read except for the two scalars of a loop; its
        // yields are the condition of a loop, the carries, and the elements.
        let (scalars, condition) = if trips.is_none() { (2, 1) } else { (0, 0) };
        let kernel = |body| Kernel::Loop { body, trips, carried: inits.len(), sequences };
        let first = self.graph.display(inst.results[0]);
        let of_read = |read: usize| params.get(1 + inits.len() + read - scalars).copied();
        let port = |port: Port| {
            let (ty, param, last, name) = match port {
                Port::Index => (index_type(), params.first().copied(), None, String::new()),
                Port::Condition => (condition_type(), None, yields.first().copied(), format!("{first}.while")),
                Port::Carried(write) => {
                    let (param, last) = (params.get(1 + write), yields.get(condition + write));
                    (self.graph.ty(inst.results[write]).clone(), param.copied(), last.copied(), String::new())
                }
                Port::Slice(at) => (without_first_axis(self.graph.ty(read[at])), of_read(at), None, String::new()),
                Port::Argument(at) => (self.graph.ty(read[at]).clone(), of_read(at), None, String::new()),
                Port::Element(write) | Port::Result(write) => {
                    let result = inst.results[write];
                    let ty = without_first_axis(self.graph.ty(result));
                    let name = format!("{}.element", self.graph.display(result));
                    (ty, None, yields.get(condition + write).copied(), name)
                }
            };
            BodyPort { ty, param, last, name }
        };
        let all = ports(&kernel(0), reads.len(), writes.len());
        let described: Vec<BodyPort> = all.iter().map(|&each| port(each)).collect();
        let body = self.body(self.body_name(inst, ""), inst.regions[0], &all, described)?;
        let flops = self.shared.flops(body).saturating_mul(trips.unwrap_or(1));
        self.run_bodies(kernel(body), reads, writes, flops, inst);
        Ok(())
    }

    /// An `if`. A result is carried over an argument when a branch leaves that argument as it is, or nobody needs the
    /// argument afterwards; then the other branch may overwrite it.
    fn branch(&mut self, inst: &Inst) -> Result<(), Fault> {
        let (condition, arguments) = (inst.operands[0], &inst.operands[1..]);
        let blocks: Vec<_> = inst.regions.iter().map(|&region| self.graph.block(region).clone()).collect();
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        let leaves = |result: usize, argument: usize| {
            blocks.iter().any(|block| block.yields.get(result) == block.params.get(argument))
        };
        for dies in [false, true] {
            for result in 0..inst.results.len() {
                let ty = self.graph.ty(inst.results[result]);
                let fits = |argument: usize| {
                    let unpaired = pairs.iter().all(|&(r, a)| r != result && a != argument);
                    let good = if dies { self.dies(inst, arguments[argument]) } else { leaves(result, argument) };
                    unpaired && self.graph.ty(arguments[argument]) == ty && !ty.is_empty() && good
                };
                if let Some(argument) = (0..arguments.len()).find(|&argument| fits(argument)) {
                    pairs.push((result, argument));
                }
            }
        }
        pairs.sort_unstable();
        let is_carried = |argument: usize| pairs.iter().any(|pair| pair.1 == argument);
        let kept: Vec<usize> = (0..arguments.len()).filter(|&argument| !is_carried(argument)).collect();
        let fresh: Vec<usize> =
            (0..inst.results.len()).filter(|&result| pairs.iter().all(|pair| pair.0 != result)).collect();
        let read: Vec<ValueId> =
            std::iter::once(condition).chain(kept.iter().map(|&argument| arguments[argument])).collect();
        let carried: Vec<(ValueId, ValueId)> =
            pairs.iter().map(|&(result, argument)| (inst.results[result], arguments[argument])).collect();
        let (reads, mut writes) = self.operands(inst, &read, &carried)?;
        writes.extend(fresh.iter().map(|&result| Write { access: self.result(inst.results[result]), base: None }));
        let kernel = |bodies: [u32; 2]| Kernel::If { then_body: bodies[0], else_body: bodies[1], carried: pairs.len() };
        let all = ports(&kernel([0, 1]), reads.len(), writes.len());
        let mut bodies = [0; 2];
        for (number, block) in blocks.iter().enumerate() {
            let port = |port: &Port| {
                let (param, result) = match *port {
                    Port::Carried(write) => (Some(pairs[write].1), Some(pairs[write].0)),
                    Port::Result(write) => (None, Some(fresh[write - pairs.len()])),
                    Port::Argument(read) => (Some(kept[read - 1]), None),
                    _ => (None, None),
                };
                let value = param.map(|param| arguments[param]).or(result.map(|result| inst.results[result]));
                BodyPort {
                    ty: value.map_or_else(condition_type, |value| self.graph.ty(value).clone()),
                    param: param.and_then(|param| block.params.get(param).copied()),
                    last: result.and_then(|result| block.yields.get(result).copied()),
                    name: value.map_or_else(String::new, |value| self.graph.display(value)),
                }
            };
            let described: Vec<BodyPort> = all.iter().map(port).collect();
            let name = self.body_name(inst, [" then", " else"][number]);
            bodies[number] = self.body(name, inst.regions[number], &all, described)?;
        }
        let flops = self.shared.flops(bodies[0]).max(self.shared.flops(bodies[1]));
        self.run_bodies(kernel(bodies), reads, writes, flops, inst);
        Ok(())
    }

    /// Whether the bytes of `value` are the program's own, and `inst` is the only one who asks for them.
    fn dies(&self, inst: &Inst, value: ValueId) -> bool {
        let own = self.graph.producer(value).is_some_and(|id| self.graph.inst(id).op.row().class != Class::View);
        let Some(Source::Memory { buffer, layout }) = self.sources.get(&value) else { return false };
        let buffer_is_free = self.out.buffer(buffer.0).kind == BufferKind::Temporary && layout.is_dense();
        let here = inst.operands.iter().filter(|&&operand| operand == value).count();
        own && buffer_is_free && here == 1 && self.uses(value) == 1
    }

    fn run_bodies(&mut self, kernel: Kernel, reads: Vec<Access>, writes: Vec<Write>, flops: u64, inst: &Inst) {
        let before = self.out.nodes.len();
        self.push(kernel, reads, writes, Origin::of(inst));
        if let Some(node) = self.out.nodes.get_mut(before) {
            node.flops = flops;
        }
    }

    /// Lowers a region; the number of its body.
    fn body(&mut self, name: String, block: BlockId, ports: &[Port], described: Vec<BodyPort>) -> Result<u32, Fault> {
        let mut inner = Lowering::new(self.graph, self.options, std::mem::take(&mut self.shared));
        inner.out.name = name;
        inner.is_body = true;
        inner.users = std::mem::take(&mut self.users);
        let lowered = inner.region(block, ports, described);
        self.users = std::mem::take(&mut inner.users);
        self.shared = std::mem::take(&mut inner.shared);
        lowered?;
        self.shared.bodies.push(inner.out);
        u32::try_from(self.shared.bodies.len() - 1).map_err(|_| fault("there are more bodies than numbers"))
    }

    fn region(&mut self, block: BlockId, ports: &[Port], described: Vec<BodyPort>) -> Result<(), Fault> {
        let mut last: BTreeMap<u32, ValueId> = BTreeMap::new();
        for (number, (port, BodyPort { ty, param, last: yielded, name })) in ports.iter().zip(described).enumerate() {
            let position = number as u32;
            let name = param.map_or(name, |param| self.graph.display(param));
            let buffer = self.out.add_buffer(name.clone(), ty.clone(), BufferKind::Input(position));
            if let Some(param) = param {
                self.sources.insert(param, Source::Memory { buffer, layout: Layout::dense(&ty.shape) });
            }
            let name = name.trim_start_matches('%').to_string();
            self.out.inputs.push(KernelInput { name, mode: port.mode(), ty, buffer, initial: None, views: Vec::new() });
            if let Some(value) = yielded {
                last.insert(position, value);
            }
        }
        for &inst in &self.graph.block(block).insts {
            self.instruction(self.graph.inst(inst))?;
        }
        for (position, value) in last {
            self.final_value(position, value)?;
        }
        Ok(())
    }
}
