//! One form for all graphs that are the same program.

use super::graph::{BlockId, ConstId, Def, Graph, Location, ValueId};

/// The graph with its arenas in program order and without what nothing refers to: two graphs are the same program exactly
/// when their canonical forms are equal. Locations and rules are dropped, they are not part of what a program means.
pub fn canonical(graph: &Graph) -> Graph {
    Canonical::of(graph, None, false).graph()
}

/// The graph with its arenas in program order, literals once for each use: as reading its print makes it, so that both have
/// the same numbers and become the same executable. Locations and rules stay.
pub fn in_program_order(graph: &Graph) -> Graph {
    Canonical::of(graph, None, true).graph()
}

/// The graph, which writes nothing, without instructions and constants that no output depends on. Inputs, locations and
/// rules stay, and the arenas are as [`in_program_order`] makes them.
pub fn pruned(graph: &Graph) -> Graph {
    let mut live = vec![false; graph.values.len()];
    for value in graph.outputs.iter().map(|output| output.value).chain(graph.finals.iter().map(|entry| entry.1)) {
        live[value.index()] = true;
    }
    mark(graph, Graph::BODY, &mut live);
    Canonical::of(graph, Some(live), true).graph()
}

/// Marks what is behind the live values of a block. An instruction with regions is taken whole.
fn mark(graph: &Graph, block: BlockId, live: &mut [bool]) {
    for &id in graph.block(block).insts.iter().rev() {
        let inst = graph.inst(id);
        if !inst.results.iter().any(|result| live[result.index()]) {
            continue;
        }
        inst.operands.iter().for_each(|operand| live[operand.index()] = true);
        for &region in &inst.regions {
            graph.block(region).yields.iter().for_each(|value| live[value.index()] = true);
            mark(graph, region, live);
        }
    }
}

struct Canonical<'a> {
    from: &'a Graph,
    to: Graph,
    renumbered: Vec<Option<ValueId>>,
    /// What is kept; everything, if nothing is said.
    live: Option<Vec<bool>>,
    /// Whether locations and rules are.
    keeps_notes: bool,
}

impl<'a> Canonical<'a> {
    fn of(from: &'a Graph, live: Option<Vec<bool>>, keeps_notes: bool) -> Canonical<'a> {
        let renumbered = vec![None; from.values.len()];
        Canonical { from, to: Graph::new(from.name.clone()), renumbered, live, keeps_notes }
    }

    fn graph(mut self) -> Graph {
        self.to.apart.clone_from(&self.from.apart);
        for (position, input) in self.from.inputs.iter().enumerate() {
            let value = self.to.add_input_of(self.from, position);
            if let Some(initial) = &mut self.to.inputs[position].initial {
                initial.name.clone_from(&input.name);
            }
            self.renumbered[input.value.index()] = Some(value);
        }
        for (at, value) in self.from.values.iter().enumerate() {
            let kept =
                |id: ConstId| !self.from.constant(id).is_inline() && self.live.as_ref().is_none_or(|live| live[at]);
            if let Def::Constant(id) = value.def
                && kept(id)
            {
                self.value(ValueId(at as u32));
            }
        }
        self.block(Graph::BODY, Graph::BODY);
        for &(input, value) in &self.from.finals {
            let value = self.value(value);
            self.to.finals.push((input, value));
        }
        for output in &self.from.outputs {
            let value = self.value(output.value);
            self.to.add_output(output.name.clone(), value);
        }
        self.to
    }

    fn value(&mut self, value: ValueId) -> ValueId {
        if let Def::Constant(id) = self.from.value(value).def {
            let constant = self.from.constant(id);
            // A literal stands where it is used, once for each use, as in the text.
            if constant.is_inline() {
                return self.to.add_constant(constant.clone());
            }
            if self.renumbered[value.index()].is_none() {
                self.renumbered[value.index()] = Some(self.to.add_constant(constant.clone()));
            }
        }
        self.renumbered[value.index()].expect("a verified graph defines values before their uses")
    }

    fn block(&mut self, from: BlockId, to: BlockId) {
        for &param in &self.from.block(from).params {
            let value = self.from.value(param);
            let made = self.to.add_param(to, value.ty.clone(), value.name.clone());
            self.renumbered[param.index()] = Some(made);
        }
        for &id in &self.from.block(from).insts {
            let inst = self.from.inst(id);
            if let Some(live) = &self.live
                && !inst.results.iter().any(|result| live[result.index()])
            {
                continue;
            }
            let operands: Vec<ValueId> = inst.operands.iter().map(|&operand| self.value(operand)).collect();
            let regions: Vec<BlockId> = inst
                .regions
                .iter()
                .map(|&region| {
                    let made = self.to.add_block();
                    self.block(region, made);
                    made
                })
                .collect();
            let types = inst.results.iter().map(|&result| self.from.ty(result).clone()).collect();
            let made = self.to.append_typed(to, inst.op.clone(), &operands, types, Location::default());
            let copy = &mut self.to.insts[made.index()];
            (copy.mutates, copy.regions, copy.tie) = (inst.mutates, regions, inst.tie);
            if self.keeps_notes {
                (copy.location, copy.rules) = (inst.location.clone(), inst.rules.clone());
            }
            let results = self.to.inst(made).results.clone();
            for (&result, made) in inst.results.iter().zip(results) {
                self.to.values[made.index()].name = self.from.value(result).name.clone();
                self.renumbered[result.index()] = Some(made);
            }
        }
        let yields: Vec<ValueId> = self.from.block(from).yields.iter().map(|&value| self.value(value)).collect();
        self.to.blocks[to.index()].yields = yields;
    }
}
