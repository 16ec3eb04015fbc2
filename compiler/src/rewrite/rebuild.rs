//! Making a graph from another one, instruction by instruction.
//!
//! Every pass over whole graphs in this stage reads one graph and writes a new one; nothing is patched. Inputs and their
//! order stay, constants are taken over when they are first used, and literals are shared by their bits.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::diagnostic::Fault;
use crate::functional::PureGraph;
use crate::ir::{Block, BlockId, Constant, ConstantData, Def, Graph, Inst, InstId, Location, ValueId};
use crate::ops::{Class, Op};
use crate::types::{DType, InputMode, TensorType};

pub(super) fn fault(message: impl Into<String>) -> Fault {
    Fault { stage: "rewrite", message: message.into() }
}

/// A graph under construction and where the values of the old one are in it.
pub(super) struct Rebuild<'a> {
    pub source: &'a Graph,
    pub graph: Graph,
    map: Vec<Option<ValueId>>,
    literals: IndexMap<(DType, u64), ValueId>,
    /// Constants of the new graph that have a name.
    named: IndexMap<String, ValueId>,
    /// Values of the source by name, once somebody has asked.
    names: OnceCell<HashMap<&'a str, ValueId>>,
    /// Whether the new graph is made of one block of the source.
    is_block: bool,
}

impl<'a> Rebuild<'a> {
    pub fn new(source: &'a Graph) -> Rebuild<'a> {
        let mut new = Rebuild::empty(source);
        for (position, input) in source.inputs.iter().enumerate() {
            let value = new.graph.add_input_of(source, position);
            new.map[input.value.index()] = Some(value);
        }
        new
    }

    fn empty(source: &'a Graph) -> Rebuild<'a> {
        let map = vec![None; source.values.len()];
        let graph = Graph::new(source.name.clone());
        Rebuild {
            source,
            graph,
            map,
            literals: IndexMap::new(),
            named: IndexMap::new(),
            names: OnceCell::new(),
            is_block: false,
        }
    }

    /// Begins a graph of one block of `source`: an input for each parameter, with the mode `mode` gives it.
    pub fn of_block(source: &'a Graph, block: BlockId, mode: impl Fn(usize) -> InputMode) -> Rebuild<'a> {
        let mut new = Rebuild::empty(source);
        for (position, &param) in source.block(block).params.iter().enumerate() {
            let value = new.graph.add_input(position.to_string(), mode(position), source.ty(param).clone());
            new.graph.values[value.index()].name.clone_from(&source.value(param).name);
            new.map[param.index()] = Some(value);
        }
        new.is_block = true;
        new
    }

    /// Where an old value is in the new graph; constants are taken over when asked for.
    pub fn value(&mut self, old: ValueId) -> Result<ValueId, Fault> {
        if let Some(new) = self.map[old.index()] {
            return Ok(new);
        }
        let Def::Constant(constant) = self.source.value(old).def else {
            return Err(fault(format!("{} is used before it is defined", self.source.display(old))));
        };
        let new = self.add_constant(self.source.constant(constant).clone());
        self.map[old.index()] = Some(new);
        Ok(new)
    }

    fn add_constant(&mut self, constant: Constant) -> ValueId {
        let name = constant.name.clone();
        let value = self.graph.add_constant(constant);
        if !name.is_empty() {
            self.named.insert(name, value);
        }
        value
    }

    /// A constant of another graph: the one that is here already, if it is the same, else a new one under a name that
    /// nobody has.
    pub fn constant(&mut self, constant: &Constant) -> Result<ValueId, Fault> {
        if let (true, Some(bits)) = (constant.is_inline(), constant.splat()) {
            return Ok(self.literal(constant.ty.dtype, bits));
        }
        let is_this = |other: &Constant| is_same(constant, other);
        let mut name = constant.name.clone();
        for attempt in 0.. {
            let of_source = self.names.get_or_init(|| names(self.source)).get(name.as_str()).copied();
            if let Some(value) = of_source
                && self.source.constant_of(value).is_some_and(is_this)
            {
                return self.value(value);
            }
            let known = self.named.get(&name).copied();
            if let Some(value) = known
                && self.graph.constant_of(value).is_some_and(is_this)
            {
                return Ok(value);
            }
            if of_source.is_none() && known.is_none() {
                break;
            }
            name = format!("{}.{attempt}", constant.name);
        }
        Ok(self.add_constant(Constant { name, ..constant.clone() }))
    }

    /// Lets `new` stand for `old` from now on, under its own name.
    pub fn stand(&mut self, old: ValueId, new: ValueId) {
        self.map[old.index()] = Some(new);
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

    /// Copies an instruction, its regions included.
    pub fn copy(&mut self, inst: &Inst) -> Result<(), Fault> {
        let operands = self.values(&inst.operands)?;
        let id = self.append_like(inst, &operands)?;
        let mut copy = Copy { from: self.source, map: std::mem::take(&mut self.map) };
        let copied = copy.regions(self, inst, id);
        self.map = copy.map;
        copied
    }

    /// Appends an instruction like `inst` on other operands, without regions.
    pub fn append_like(&mut self, inst: &Inst, operands: &[ValueId]) -> Result<InstId, Fault> {
        let types = inst.results.iter().map(|&result| self.source.ty(result).clone()).collect();
        let id = self.graph.append_typed(Graph::BODY, inst.op.clone(), operands, types, inst.location.clone());
        self.graph.insts[id.index()].tie = inst.tie;
        self.graph.insts[id.index()].rules.clone_from(&inst.rules);
        self.graph.insts[id.index()].origins.clone_from(&inst.origins);
        let results = self.graph.inst(id).results.clone();
        for (&old, new) in inst.results.iter().zip(results) {
            self.set(old, new);
        }
        Ok(id)
    }

    /// Makes a region of instruction `id` out of a graph: a parameter for each of its inputs at `params`, a yield for each
    /// output.
    pub fn inline(&mut self, id: InstId, region: &Graph, params: &[usize]) -> Result<(), Fault> {
        let mut copy = Copy { from: region, map: vec![None; region.values.len()] };
        let inputs: Vec<ValueId> = params.iter().map(|&at| region.inputs[at].value).collect();
        let yields: Vec<ValueId> = region.outputs.iter().map(|output| output.value).collect();
        let block = copy.block(self, &inputs, &region.body().insts, &yields, true)?;
        self.graph.insts[id.index()].regions.push(block);
        Ok(())
    }

    /// The new graph, with the outputs and finals of the old one (a graph of a block has those it was given) and without
    /// instructions nobody needs.
    pub fn finish(mut self) -> Result<Graph, Fault> {
        let source = self.source;
        if !self.is_block {
            for output in &source.outputs {
                let value = self.value(output.value)?;
                self.graph.add_output(output.name.clone(), value);
            }
            for &(input, value) in &source.finals {
                let value = self.value(value)?;
                self.graph.finals.push((input, value));
            }
        }
        sweep(&mut self.graph);
        Ok(self.graph)
    }
}

/// Copies blocks of a graph, with all they hold.
struct Copy<'a> {
    from: &'a Graph,
    /// Where the values of `from` are in the new graph.
    map: Vec<Option<ValueId>>,
}

impl Copy<'_> {
    fn regions(&mut self, new: &mut Rebuild, inst: &Inst, id: InstId) -> Result<(), Fault> {
        let named = inst.op.is_control();
        for &region in &inst.regions {
            let Block { params, insts, yields } = self.from.block(region);
            let block = self.block(new, params, insts, yields, named)?;
            new.graph.insts[id.index()].regions.push(block);
        }
        Ok(())
    }

    /// A new block; its values keep their names if it is `named`.
    fn block(
        &mut self,
        new: &mut Rebuild,
        params: &[ValueId],
        insts: &[InstId],
        yields: &[ValueId],
        named: bool,
    ) -> Result<BlockId, Fault> {
        let from = self.from;
        let name = |value: ValueId| if named { from.value(value).name.as_str() } else { "" };
        let block = new.graph.add_block();
        for &param in params {
            let value = new.graph.add_param(block, from.ty(param).clone(), name(param));
            self.map[param.index()] = Some(value);
        }
        for &inst in insts {
            let inst = from.inst(inst);
            let operands = self.values(new, &inst.operands)?;
            let types = inst.results.iter().map(|&result| from.ty(result).clone()).collect();
            let id = new.graph.append_typed(block, inst.op.clone(), &operands, types, inst.location.clone());
            let copy = &mut new.graph.insts[id.index()];
            copy.tie = inst.tie;
            copy.rules.clone_from(&inst.rules);
            copy.origins.clone_from(&inst.origins);
            self.regions(new, inst, id)?;
            for (position, &result) in inst.results.iter().enumerate() {
                let value = new.graph.inst(id).results[position];
                new.graph.values[value.index()].name = name(result).to_string();
                self.map[result.index()] = Some(value);
            }
        }
        let yields = self.values(new, yields)?;
        new.graph.blocks[block.index()].yields = yields;
        Ok(block)
    }

    fn values(&mut self, new: &mut Rebuild, old: &[ValueId]) -> Result<Vec<ValueId>, Fault> {
        old.iter().map(|&value| self.value(new, value)).collect()
    }

    fn value(&mut self, new: &mut Rebuild, old: ValueId) -> Result<ValueId, Fault> {
        if let Some(value) = self.map[old.index()] {
            return Ok(value);
        }
        let Def::Constant(constant) = self.from.value(old).def else {
            return Err(fault(format!("{} is used before it is defined", self.from.display(old))));
        };
        let constant = self.from.constant(constant);
        // Of the source every constant is taken over once; another graph may have some of the same.
        let value = if std::ptr::eq(self.from, new.source) {
            new.add_constant(constant.clone())
        } else {
            new.constant(constant)?
        };
        self.map[old.index()] = Some(value);
        Ok(value)
    }
}

fn names(graph: &Graph) -> HashMap<&str, ValueId> {
    let named = graph.values.iter().enumerate().filter(|(_, value)| !value.name.is_empty());
    named.map(|(at, value)| (value.name.as_str(), ValueId(at as u32))).collect()
}

/// Whether two constants have the same elements and type, without comparing bytes that are stored once.
fn is_same(a: &Constant, b: &Constant) -> bool {
    let stored_once = match (&a.data, &b.data) {
        (ConstantData::Bytes(x), ConstantData::Bytes(y)) => Arc::ptr_eq(x, y),
        (ConstantData::Mapped { file: x, offset: i }, ConstantData::Mapped { file: y, offset: j }) => {
            x.as_ptr() == y.as_ptr() && i == j
        }
        _ => false,
    };
    a.ty == b.ty && (stored_once || *a == Constant { name: a.name.clone(), ..b.clone() })
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
        new.graph.insts[id.index()].origins.clone_from(&inst.origins);
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
