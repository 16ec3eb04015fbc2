//! One form for all graphs that are the same program.

use super::graph::{BlockId, Def, Graph, Location, ValueId};

/// The graph with its arenas in program order and without what nothing refers to: two graphs are the same program exactly
/// when their canonical forms are equal. Locations and rules are dropped, they are not part of what a program means.
pub fn canonical(graph: &Graph) -> Graph {
    Canonical { from: graph, to: Graph::new(graph.name.clone()), renumbered: vec![None; graph.values.len()] }.graph()
}

struct Canonical<'a> {
    from: &'a Graph,
    to: Graph,
    renumbered: Vec<Option<ValueId>>,
}

impl Canonical<'_> {
    fn graph(mut self) -> Graph {
        for input in &self.from.inputs {
            let value = self.to.add_input(input.name.clone(), input.mode, self.from.ty(input.value).clone());
            self.to.values[value.index()].name = self.from.value(input.value).name.clone();
            self.renumbered[input.value.index()] = Some(value);
        }
        for (at, value) in self.from.values.iter().enumerate() {
            if let Def::Constant(id) = value.def
                && !self.from.constant(id).is_inline()
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
        if let (None, Def::Constant(id)) = (self.renumbered[value.index()], self.from.value(value).def) {
            self.renumbered[value.index()] = Some(self.to.add_constant(self.from.constant(id).clone()));
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
