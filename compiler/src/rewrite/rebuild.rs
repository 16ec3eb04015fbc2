//! Making a graph from another one, instruction by instruction.
//!
//! Every pass over whole graphs in this stage reads one graph and writes a new one; nothing is patched. Inputs and their
//! order stay, constants are taken over when they are first used, and literals are shared by their bits.

use indexmap::IndexMap;

use crate::diagnostic::Fault;
use crate::functional::PureGraph;
use crate::ir::{Block, BlockId, Constant, Def, Graph, Inst, Location, ValueId};
use crate::ops::{Class, Op};
use crate::types::{DType, TensorType};

pub(super) fn fault(message: impl Into<String>) -> Fault {
    Fault { stage: "rewrite", message: message.into() }
}

/// A graph under construction and where the values of the old one are in it.
pub(super) struct Rebuild<'a> {
    pub source: &'a Graph,
    pub graph: Graph,
    map: Vec<Option<ValueId>>,
    literals: IndexMap<(DType, u64), ValueId>,
}

impl<'a> Rebuild<'a> {
    pub fn new(source: &'a Graph) -> Rebuild<'a> {
        let mut graph = Graph::new(source.name.clone());
        let mut map = vec![None; source.values.len()];
        for input in &source.inputs {
            let value = graph.add_input(input.name.clone(), input.mode, source.ty(input.value).clone());
            graph.values[value.index()].name.clone_from(&source.value(input.value).name);
            map[input.value.index()] = Some(value);
        }
        Rebuild { source, graph, map, literals: IndexMap::new() }
    }

    /// Where an old value is in the new graph; constants are taken over when asked for.
    pub fn value(&mut self, old: ValueId) -> Result<ValueId, Fault> {
        if let Some(new) = self.map[old.index()] {
            return Ok(new);
        }
        let Def::Constant(constant) = self.source.value(old).def else {
            return Err(fault(format!("{} is used before it is defined", self.source.display(old))));
        };
        let new = self.graph.add_constant(self.source.constant(constant).clone());
        self.map[old.index()] = Some(new);
        Ok(new)
    }

    pub fn values(&mut self, old: &[ValueId]) -> Result<Vec<ValueId>, Fault> {
        old.iter().map(|&value| self.value(value)).collect()
    }

    /// Lets `new` stand for `old` from now on. A name is kept unless the new value has one already.
    pub fn set(&mut self, old: ValueId, new: ValueId) {
        self.map[old.index()] = Some(new);
        let name = &self.source.value(old).name;
        let value = &mut self.graph.values[new.index()];
        if value.name.is_empty() && !matches!(value.def, Def::Constant(_)) {
            value.name.clone_from(name);
        }
    }

    /// A literal; equal literals are one value.
    pub fn literal(&mut self, dtype: DType, bits: u64) -> ValueId {
        let graph = &mut self.graph;
        *self.literals.entry((dtype, bits)).or_insert_with(|| graph.add_constant(Constant::scalar(dtype, bits)))
    }

    /// Appends an instruction to the body and gives its results.
    pub fn emit(&mut self, op: Op, operands: &[ValueId], location: &Location) -> Result<Vec<ValueId>, Fault> {
        let name = op.name();
        let inst = self
            .graph
            .append(Graph::BODY, op, operands, location.clone())
            .map_err(|message| fault(format!("{name}: {message}")))?;
        Ok(self.graph.inst(inst).results.clone())
    }

    /// Appends an instruction with one result.
    pub fn one(&mut self, op: Op, operands: &[ValueId], location: &Location) -> Result<ValueId, Fault> {
        Ok(self.emit(op, operands, location)?[0])
    }

    /// Copies an instruction, its body included.
    pub fn copy(&mut self, inst: &Inst) -> Result<(), Fault> {
        let operands = self.values(&inst.operands)?;
        let types = inst.results.iter().map(|&result| self.source.ty(result).clone()).collect();
        let id = self.graph.append_typed(Graph::BODY, inst.op.clone(), &operands, types, inst.location.clone());
        for &region in &inst.regions {
            let block = self.copy_block(region)?;
            self.graph.insts[id.index()].regions.push(block);
        }
        self.graph.insts[id.index()].tie = inst.tie;
        self.graph.insts[id.index()].rules.clone_from(&inst.rules);
        let results = self.graph.inst(id).results.clone();
        for (&old, new) in inst.results.iter().zip(results) {
            self.set(old, new);
        }
        Ok(())
    }

    fn copy_block(&mut self, old: BlockId) -> Result<BlockId, Fault> {
        let source = self.source;
        let Block { params, insts, yields } = source.block(old);
        let block = self.graph.add_block();
        for &param in params {
            let new = self.graph.add_param(block, source.ty(param).clone(), "");
            self.map[param.index()] = Some(new);
        }
        for &inst in insts {
            let inst = source.inst(inst);
            let operands = self.values(&inst.operands)?;
            let types = inst.results.iter().map(|&result| source.ty(result).clone()).collect();
            let id = self.graph.append_typed(block, inst.op.clone(), &operands, types, inst.location.clone());
            for (position, &result) in inst.results.iter().enumerate() {
                self.map[result.index()] = Some(self.graph.inst(id).results[position]);
            }
        }
        let yields = self.values(yields)?;
        self.graph.blocks[block.index()].yields = yields;
        Ok(block)
    }

    /// The new graph, with the outputs and finals of the old one and without instructions nobody needs.
    pub fn finish(mut self) -> Result<Graph, Fault> {
        for output in &self.source.outputs {
            let value = self.value(output.value)?;
            self.graph.add_output(output.name.clone(), value);
        }
        for &(input, value) in &self.source.finals {
            let value = self.value(value)?;
            self.graph.finals.push((input, value));
        }
        sweep(&mut self.graph);
        Ok(self.graph)
    }
}

/// Takes instructions whose results nobody needs out of the body. Their arena places stay.
pub(super) fn sweep(graph: &mut Graph) {
    let mut needed = vec![false; graph.values.len()];
    for output in &graph.outputs {
        needed[output.value.index()] = true;
    }
    for &(_, value) in &graph.finals {
        needed[value.index()] = true;
    }
    let mut insts = graph.body().insts.clone();
    insts.reverse();
    insts.retain(|&id| {
        let inst = graph.inst(id);
        let live = inst.results.iter().any(|result| needed[result.index()]);
        if live {
            let inside = inst.regions.iter().flat_map(|&region| &graph.block(region).insts);
            let captured = inside.flat_map(|&inner| &graph.inst(inner).operands);
            for &operand in inst.operands.iter().chain(captured) {
                needed[operand.index()] = true;
            }
        }
        live
    });
    insts.reverse();
    graph.blocks[Graph::BODY.index()].insts = insts;
}

/// Puts every op that becomes a kernel and is not one yet into a kernel of its own.
pub(super) fn wrap(graph: Graph) -> Result<PureGraph, Fault> {
    let mut new = Rebuild::new(&graph);
    for (_, inst) in graph.body_insts() {
        if !matches!(inst.op.row().class, Class::Point | Class::Row | Class::Contraction) {
            new.copy(inst)?;
            continue;
        }
        let operands = new.values(&inst.operands)?;
        let types: Vec<TensorType> = inst.results.iter().map(|&result| graph.ty(result).clone()).collect();
        let op = Op::Kernel {
            results: types.iter().map(|ty| ty.dtype).collect(),
            shapes: types.iter().map(|ty| ty.shape.clone()).collect(),
        };
        // An operand that stands twice is one parameter.
        let mut distinct: Vec<ValueId> = Vec::new();
        for &operand in &operands {
            if !distinct.contains(&operand) && !is_literal(&new.graph, operand) {
                distinct.push(operand);
            }
        }
        let id = new.graph.append_typed(Graph::BODY, op, &distinct, types.clone(), inst.location.clone());
        let block = new.graph.add_block();
        let mut params = Vec::with_capacity(distinct.len());
        for &operand in &distinct {
            let ty = new.graph.ty(operand).clone();
            params.push(new.graph.add_param(block, ty, ""));
        }
        let inner: Vec<ValueId> = operands
            .iter()
            .map(|operand| distinct.iter().position(|other| other == operand).map_or(*operand, |at| params[at]))
            .collect();
        let core = new.graph.append_typed(block, inst.op.clone(), &inner, types, inst.location.clone());
        new.graph.blocks[block.index()].yields = new.graph.inst(core).results.clone();
        new.graph.insts[id.index()].regions.push(block);
        new.graph.insts[id.index()].rules.clone_from(&inst.rules);
        let results = new.graph.inst(id).results.clone();
        for (&old, result) in inst.results.iter().zip(results) {
            new.set(old, result);
        }
    }
    PureGraph::new(new.finish()?)
}

/// Whether a value is a constant of one element that a body names directly instead of reading it.
fn is_literal(graph: &Graph, value: ValueId) -> bool {
    graph.constant_of(value).is_some_and(Constant::is_inline)
}
