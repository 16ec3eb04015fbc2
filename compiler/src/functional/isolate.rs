//! Regions that take all they use through their parameters.
//!
//! The walk lets regions use what is around them. Here the graph is written anew: what a region uses from outside,
//! constants aside, becomes an operand of its instruction and a parameter of its own, and what nobody needs is left out.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::chain::fault;
use super::needed::Needed;
use super::{FunctionalNotes, Stop};
use crate::ir::{BlockId, Def, Graph, InstId, ValueId};
use crate::ops::Op;
use crate::types::TensorType;

/// `graph` with isolated regions and without what is not `needed`. The values in `notes` become those of the new graph.
pub fn isolate(graph: &Graph, needed: &Needed, notes: &mut FunctionalNotes) -> Result<Graph, Stop> {
    let mut isolate = Isolate {
        from: graph,
        needed,
        to: Graph::new(graph.name.clone()),
        made: BTreeMap::new(),
        names: graph.values.iter().map(|value| value.name.clone()).collect(),
        free: BTreeMap::new(),
    };
    for (position, input) in graph.inputs.iter().enumerate() {
        let value = isolate.to.add_input_of(graph, position);
        isolate.made.insert(input.value, value);
    }
    for (at, value) in graph.values.iter().enumerate() {
        let id = ValueId(at as u32);
        if let Def::Constant(constant) = value.def
            && (needed.is(id) || !graph.constant(constant).name.is_empty())
        {
            let made = isolate.to.add_constant(graph.constant(constant).clone());
            isolate.made.insert(id, made);
        }
    }
    isolate.block(Graph::BODY, Graph::BODY)?;
    for &(input, value) in &graph.finals {
        let value = isolate.value(value)?;
        isolate.to.finals.push((input, value));
    }
    for output in &graph.outputs {
        let value = isolate.value(output.value)?;
        isolate.to.add_output(output.name.clone(), value);
    }
    for value in &mut notes.values {
        *value = value.and_then(|value| isolate.made.get(&value).copied());
    }
    Ok(isolate.to)
}

struct Isolate<'a> {
    from: &'a Graph,
    needed: &'a Needed,
    to: Graph,
    /// For each value of the old graph the one that holds it where we are.
    made: BTreeMap<ValueId, ValueId>,
    names: HashSet<String>,
    /// What each region uses from outside.
    free: BTreeMap<BlockId, BTreeSet<ValueId>>,
}

/// Which parts of an instruction with regions are kept.
struct Kept {
    op: Op,
    operands: Vec<ValueId>,
    /// For each region.
    params: Vec<Vec<ValueId>>,
    yields: Vec<Vec<ValueId>>,
    results: Vec<ValueId>,
}

impl Isolate<'_> {
    fn value(&self, value: ValueId) -> Result<ValueId, Stop> {
        self.made.get(&value).copied().ok_or_else(|| fault(format!("{} is lost", self.from.display(value))))
    }

    fn values(&self, values: &[ValueId]) -> Result<Vec<ValueId>, Stop> {
        values.iter().map(|&value| self.value(value)).collect()
    }

    fn block(&mut self, from: BlockId, to: BlockId) -> Result<(), Stop> {
        let graph = self.from;
        for &id in &graph.block(from).insts {
            let inst = graph.inst(id);
            if !self.needed.any(&inst.results) {
                continue;
            }
            if inst.op.is_control() {
                self.control(id, to)?;
                continue;
            }
            let operands = self.values(&inst.operands)?;
            let mut regions = Vec::new();
            for &region in &inst.regions {
                regions.push(self.kernel(region)?);
            }
            let types = inst.results.iter().map(|&result| graph.ty(result).clone()).collect();
            self.append(id, to, inst.op.clone(), &operands, types, regions, &inst.results);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an instruction")]
    fn append(
        &mut self,
        id: InstId,
        to: BlockId,
        op: Op,
        operands: &[ValueId],
        types: Vec<TensorType>,
        regions: Vec<BlockId>,
        results: &[ValueId],
    ) {
        let inst = self.from.inst(id);
        let made = self.to.append_typed(to, op, operands, types, inst.location.clone());
        let copy = &mut self.to.insts[made.index()];
        (copy.regions, copy.tie, copy.rules) = (regions, inst.tie, inst.rules.clone());
        for (&result, made) in results.iter().zip(self.to.inst(made).results.clone()) {
            self.to.values[made.index()].name = self.from.value(result).name.clone();
            self.made.insert(result, made);
        }
    }

    /// The body of a kernel as it is.
    fn kernel(&mut self, region: BlockId) -> Result<BlockId, Stop> {
        let to = self.to.add_block();
        let params = self.from.block(region).params.clone();
        self.params(&params, to);
        self.block(region, to)?;
        self.to.blocks[to.index()].yields = self.values(&self.from.block(region).yields)?;
        Ok(to)
    }

    fn params(&mut self, params: &[ValueId], to: BlockId) {
        for &param in params {
            let value = self.from.value(param);
            let made = self.to.add_param(to, value.ty.clone(), value.name.clone());
            self.made.insert(param, made);
        }
    }

    fn control(&mut self, id: InstId, to: BlockId) -> Result<(), Stop> {
        let inst = self.from.inst(id);
        let kept = self.kept(id);
        let mut free = BTreeSet::new();
        for &region in &inst.regions {
            free.extend(self.free(region).iter().copied());
        }
        let free: Vec<ValueId> = free.into_iter().collect();
        let mut operands = self.values(&kept.operands)?;
        operands.extend(self.values(&free)?);
        let mut regions = Vec::new();
        for (at, &region) in inst.regions.iter().enumerate() {
            let block = self.to.add_block();
            self.params(&kept.params[at], block);
            let outside: Vec<ValueId> = self.values(&free)?;
            for &value in &free {
                let name = self.inner_name(value);
                let made = self.to.add_param(block, self.from.ty(value).clone(), name);
                self.made.insert(value, made);
            }
            self.block(region, block)?;
            self.to.blocks[block.index()].yields = self.values(&kept.yields[at])?;
            self.made.extend(free.iter().copied().zip(outside));
            regions.push(block);
        }
        let types = kept.results.iter().map(|&result| self.from.ty(result).clone()).collect();
        self.append(id, to, kept.op, &operands, types, regions, &kept.results);
        Ok(())
    }

    /// A name for the parameter that brings a value in.
    fn inner_name(&mut self, value: ValueId) -> String {
        let name = &self.from.value(value).name;
        if name.is_empty() {
            return String::new();
        }
        let mut count = 0;
        loop {
            let candidate = if count == 0 { format!("{name}.in") } else { format!("{name}.in{count}") };
            if self.names.insert(candidate.clone()) {
                return candidate;
            }
            count += 1;
        }
    }

    /// What a region uses from outside, constants aside.
    fn free(&mut self, region: BlockId) -> &BTreeSet<ValueId> {
        if !self.free.contains_key(&region) {
            let graph = self.from;
            let block = graph.block(region);
            let mut own: HashSet<ValueId> = block.params.iter().copied().collect();
            let mut used: Vec<ValueId> = Vec::new();
            for &id in &block.insts {
                let inst = graph.inst(id);
                own.extend(&inst.results);
                if !self.needed.any(&inst.results) {
                    continue;
                }
                if inst.op.is_control() {
                    let kept = self.kept(id);
                    used.extend(&kept.operands);
                    for &inner in &inst.regions {
                        used.extend(self.free(inner).iter().copied());
                    }
                } else {
                    used.extend(&inst.operands);
                }
            }
            used.extend(block.yields.iter().filter(|&&value| self.needed.is(value)));
            let outside = |value: &ValueId| graph.constant_of(*value).is_none() && !own.contains(value);
            self.free.insert(region, used.into_iter().filter(outside).collect());
        }
        &self.free[&region]
    }

    /// The parts of an instruction with regions that are needed.
    fn kept(&self, id: InstId) -> Kept {
        let graph = self.from;
        let inst = graph.inst(id);
        let block = |at: usize| graph.block(inst.regions[at]);
        let is = |value: &ValueId| self.needed.is(*value);
        let pick = |values: &[ValueId], keep: &[bool]| -> Vec<ValueId> {
            values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(&value, _)| value).collect()
        };
        let declared =
            |values: &[ValueId]| values.iter().map(|&v| (graph.ty(v).dtype, graph.ty(v).shape.clone())).unzip();
        match inst.op {
            Op::Loop { carried } => {
                let (params, yields) = (&block(0).params, &block(0).yields);
                let keep: Vec<bool> = (0..carried).map(|k| is(&params[1 + k]) || is(&inst.results[k])).collect();
                let inits = pick(&inst.operands[2..2 + carried], &keep);
                Kept {
                    op: Op::Loop { carried: inits.len() },
                    operands: [&inst.operands[..2], &inits].concat(),
                    params: vec![[&params[..1], &pick(&params[1..=carried], &keep)].concat()],
                    yields: vec![[&yields[..1], &pick(&yields[1..], &keep)].concat()],
                    results: pick(&inst.results, &keep),
                }
            }
            Op::Scan { trips, carried, sequences, .. } => {
                let (params, yields) = (&block(0).params, &block(0).yields);
                let keep: Vec<bool> = (0..carried).map(|k| is(&params[1 + k]) || is(&inst.results[k])).collect();
                let runs: Vec<bool> = params[1 + carried..][..sequences].iter().map(is).collect();
                let elements: Vec<bool> = inst.results[carried..].iter().map(is).collect();
                let inits = pick(&inst.operands[..carried], &keep);
                let slices = pick(&params[1 + carried..][..sequences], &runs);
                let stacked = pick(&yields[carried..], &elements);
                let (results, shapes) = declared(&stacked);
                Kept {
                    op: Op::Scan { trips, carried: inits.len(), sequences: slices.len(), results, shapes },
                    operands: [inits, pick(&inst.operands[carried..][..sequences], &runs)].concat(),
                    params: vec![[&params[..1], &pick(&params[1..=carried], &keep), &slices].concat()],
                    yields: vec![[pick(&yields[..carried], &keep), stacked].concat()],
                    results: [pick(&inst.results[..carried], &keep), pick(&inst.results[carried..], &elements)]
                        .concat(),
                }
            }
            _ => {
                let keep: Vec<bool> = inst.results.iter().map(is).collect();
                let results = pick(&inst.results, &keep);
                let (dtypes, shapes) = declared(&results);
                Kept {
                    op: Op::If { results: dtypes, shapes },
                    operands: vec![inst.operands[0]],
                    params: vec![Vec::new(); 2],
                    yields: (0..2).map(|at| pick(&block(at).yields, &keep)).collect(),
                    results,
                }
            }
        }
    }
}
