//! Programs of views, writes and control flow, from a tree of numbers.
//!
//! Every tree is a program. An op with regions is put into the graph at first with regions that do nothing (an `if`
//! yields what it takes, a loop its carries), then the regions are filled step by step, then what they yield is chosen
//! among what is visible: other carries, outer storages, views, fresh values. Whatever makes the graph ill-formed is
//! taken back, so a smaller tree is a smaller program.

use proptest::prelude::*;
use situ::ir::{BlockId, Constant, Def, Graph, InstId, Location, ValueId, verify::mistakes};
use situ::ops::{Op, PointFn};
use situ::types::{DType, InputMode, TensorType};

use super::programs::{Step, comes_with_state, imported, take};

/// A step of a program.
#[derive(Clone, Debug)]
pub enum Node {
    Step(Step),
    If([u8; 8], Vec<Node>, Vec<Node>),
    Loop([u8; 8], Vec<Node>),
    Scan([u8; 8], Vec<Node>),
}

/// Trees of steps, three regions deep.
pub fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let leaf = any::<Step>().prop_map(Node::Step);
    let node = leaf.prop_recursive(3, 24, 5, |inner| {
        let body = || proptest::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            4 => any::<Step>().prop_map(Node::Step),
            2 => (any::<[u8; 8]>(), body(), body()).prop_map(|(choice, then, otherwise)| Node::If(choice, then, otherwise)),
            3 => (any::<[u8; 8]>(), body()).prop_map(|(choice, body)| Node::Loop(choice, body)),
            1 => (any::<[u8; 8]>(), body()).prop_map(|(choice, body)| Node::Scan(choice, body)),
        ]
    });
    proptest::collection::vec(node, 0..12)
}

/// A verified program; every value of its body is an output.
pub fn program(nodes: &[Node]) -> Graph {
    let mut graph = Graph::new("generated");
    let f32 = |shape: &[usize]| TensorType::new(DType::F32, shape);
    graph.add_input("state", InputMode::InOut, f32(&[3, 4]));
    graph.add_input("square", InputMode::InOut, f32(&[2, 2]));
    graph.add_input("other", InputMode::InOut, f32(&[2, 2]));
    graph.add_input("gift", InputMode::Donate, f32(&[4]));
    graph.add_input("given", InputMode::Read, f32(&[2, 1]));
    graph.add_input("yes", InputMode::Read, TensorType::new(DType::Bool, Vec::<usize>::new()));
    graph.add_input("no", InputMode::Read, TensorType::new(DType::Bool, Vec::<usize>::new()));
    graph.add_input("two", InputMode::Read, TensorType::new(DType::I64, Vec::<usize>::new()));
    comes_with_state(&mut graph, nodes.len());
    let scope: Vec<ValueId> = graph.inputs.iter().map(|input| input.value).collect();
    let mut builder = Generator { graph, budget: 60 };
    let scope = builder.fill(Graph::BODY, scope, nodes);
    let mut graph = builder.graph;
    imported(&mut graph);
    for value in scope {
        graph.add_output(format!("out{}", value.0), value);
    }
    graph
}

struct Generator {
    graph: Graph,
    /// Steps that may still be taken.
    budget: usize,
}

/// Numbers of a choice, one after the other.
struct Choices([u8; 8], usize);

impl Choices {
    fn next(&mut self, below: usize) -> usize {
        self.1 += 1;
        if below == 0 { 0 } else { usize::from(self.0[(self.1 - 1) % 8]) % below }
    }

    fn of(&mut self, values: &[ValueId]) -> Option<ValueId> {
        let at = self.next(values.len());
        values.get(at).copied()
    }
}

impl Generator {
    fn is(&self, value: ValueId, dtype: DType) -> bool {
        self.graph.ty(value).dtype == dtype
    }

    fn of_type(&self, scope: &[ValueId], ty: &TensorType) -> Vec<ValueId> {
        scope.iter().copied().filter(|&value| self.graph.ty(value) == ty).collect()
    }

    fn scalar(&mut self, dtype: DType, bits: u64) -> ValueId {
        self.graph.add_constant(Constant::scalar(dtype, bits))
    }

    fn inst(&mut self, block: BlockId, op: Op, operands: &[ValueId]) -> Option<ValueId> {
        let id = self.graph.append(block, op, operands, Location::default()).ok()?;
        self.graph.inst(id).results.first().copied()
    }

    /// Fills a block; what is visible behind it.
    fn fill(&mut self, block: BlockId, mut scope: Vec<ValueId>, nodes: &[Node]) -> Vec<ValueId> {
        for node in nodes {
            if self.budget == 0 {
                break;
            }
            self.budget -= 1;
            let before = self.graph.clone();
            let made = match node {
                Node::Step(step) => {
                    let tensors: Vec<ValueId> =
                        scope.iter().copied().filter(|&value| self.is(value, DType::F32)).collect();
                    take(&mut self.graph, block, &tensors, *step).and_then(|()| self.last(block))
                }
                Node::If(choice, then, otherwise) => self.branch(block, &scope, *choice, then, otherwise),
                Node::Loop(choice, body) => self.repeat(block, &scope, *choice, body),
                Node::Scan(choice, body) => self.scan(block, &scope, *choice, body),
            };
            match made.filter(|_| mistakes(&self.graph).is_empty()) {
                Some(id) => scope.extend(&self.graph.inst(id).results),
                None => self.graph = before,
            }
        }
        scope
    }

    fn last(&self, block: BlockId) -> Option<InstId> {
        self.graph.block(block).insts.last().copied()
    }

    fn region(&mut self, params: &[ValueId]) -> (BlockId, Vec<ValueId>) {
        let block = self.graph.add_block();
        let types: Vec<TensorType> = params.iter().map(|&value| self.graph.ty(value).clone()).collect();
        let made = types.into_iter().map(|ty| self.graph.add_param(block, ty, "")).collect();
        (block, made)
    }

    /// Up to `most` tensors.
    fn tensors(&self, scope: &[ValueId], most: usize, choices: &mut Choices) -> Vec<ValueId> {
        let tensors: Vec<ValueId> = scope.iter().copied().filter(|&value| self.is(value, DType::F32)).collect();
        (0..choices.next(most + 1)).filter_map(|_| choices.of(&tensors)).collect()
    }

    /// Lets `place` of what `block` yields be something else of its type.
    fn yield_other(&mut self, block: BlockId, place: usize, scope: &[ValueId], choices: &mut Choices) {
        let ty = self.graph.ty(self.graph.block(block).yields[place]).clone();
        let candidates = self.of_type(scope, &ty);
        let late = candidates.len().saturating_sub(4);
        let candidates = if choices.next(2) == 0 { &candidates[..] } else { &candidates[late..] };
        let Some(other) = choices.of(candidates) else { return };
        let old = std::mem::replace(&mut self.graph.blocks[block.index()].yields[place], other);
        if !mistakes(&self.graph).is_empty() {
            self.graph.blocks[block.index()].yields[place] = old;
        }
    }

    fn branch(
        &mut self,
        block: BlockId,
        scope: &[ValueId],
        choice: [u8; 8],
        then: &[Node],
        otherwise: &[Node],
    ) -> Option<InstId> {
        let mut choices = Choices(choice, 0);
        let conditions: Vec<ValueId> = scope.iter().copied().filter(|&value| self.is(value, DType::Bool)).collect();
        let condition = choices.of(&conditions)?;
        let given = self.tensors(scope, 3, &mut choices);
        let args = self.tensors(scope, 2, &mut choices);
        let (results, shapes) = given.iter().map(|&value| (DType::F32, self.graph.ty(value).shape.clone())).unzip();
        let types = given.iter().map(|&value| self.graph.ty(value).clone()).collect();
        let operands = [&[condition], args.as_slice()].concat();
        let id = self.graph.append_typed(block, Op::If { results, shapes }, &operands, types, Location::default());
        let regions: Vec<(BlockId, Vec<ValueId>)> = (0..2).map(|_| self.region(&args)).collect();
        for (region, _) in &regions {
            self.graph.blocks[region.index()].yields.clone_from(&given);
            self.graph.insts[id.index()].regions.push(*region);
        }
        for ((region, params), nodes) in regions.iter().zip([then, otherwise]) {
            let inside = self.fill(*region, [scope, params].concat(), nodes);
            for place in 0..given.len() {
                self.yield_other(*region, place, &inside, &mut choices);
            }
        }
        Some(id)
    }

    /// Conditions that change from trip to trip.
    fn conditions(&mut self, block: BlockId, index: ValueId) -> Option<Vec<ValueId>> {
        let (zero, one) = (self.scalar(DType::I64, 0), self.scalar(DType::I64, 1));
        let early = self.inst(block, Op::Point(PointFn::Eq), &[index, zero])?;
        let late = self.inst(block, Op::Point(PointFn::Lt), &[index, one])?;
        let late = self.inst(block, Op::Point(PointFn::Not), &[late])?;
        Some(vec![early, late])
    }

    fn repeat(&mut self, block: BlockId, scope: &[ValueId], choice: [u8; 8], body: &[Node]) -> Option<InstId> {
        let mut choices = Choices(choice, 0);
        let count = choices.next(5);
        let trips = match count {
            4 => *scope.iter().find(|&&value| self.is(value, DType::I64))?,
            count => self.scalar(DType::I64, count as u64),
        };
        let yes = self.scalar(DType::Bool, 1);
        let carried = self.tensors(scope, 3, &mut choices);
        let args = self.tensors(scope, 1, &mut choices);
        let operands = [&[trips, yes], carried.as_slice(), &args].concat();
        let op = Op::Loop { carried: carried.len() };
        let id = self.graph.append(block, op, &operands, Location::default()).ok()?;
        let (region, params) = self.region(&[&[trips], carried.as_slice(), &args].concat());
        let again = self.scalar(DType::Bool, 1);
        let carries = &params[1..=carried.len()];
        self.graph.blocks[region.index()].yields = [&[again], carries].concat();
        self.graph.insts[id.index()].regions.push(region);
        let conditions = self.conditions(region, params[0])?;
        let inside = self.fill(region, [scope, &params, &conditions].concat(), body);
        if choices.next(4) == 0 {
            self.yield_other(region, 0, &inside, &mut choices);
        }
        for place in 0..carried.len() {
            self.yield_other(region, 1 + place, &inside, &mut choices);
        }
        Some(id)
    }

    fn scan(&mut self, block: BlockId, scope: &[ValueId], choice: [u8; 8], body: &[Node]) -> Option<InstId> {
        let mut choices = Choices(choice, 0);
        let carried = self.tensors(scope, 2, &mut choices);
        let candidates: Vec<ValueId> = scope
            .iter()
            .copied()
            .filter(|&value| self.is(value, DType::F32) && self.graph.ty(value).rank() > 0)
            .collect();
        let first = choices.of(&candidates)?;
        let trips = self.graph.ty(first).shape[0];
        let more: Vec<ValueId> =
            candidates.iter().copied().filter(|&value| self.graph.ty(value).shape[0] == trips).collect();
        let mut sequences = vec![first];
        if choices.next(2) == 0 {
            sequences.extend(choices.of(&more));
        }
        let number = self.scalar(DType::I64, 0);
        let block_of = self.graph.add_block();
        let index = self.graph.add_param(block_of, self.graph.ty(number).clone(), "");
        let mut params = vec![index];
        for &init in &carried {
            params.push(self.graph.add_param(block_of, self.graph.ty(init).clone(), ""));
        }
        for &sequence in &sequences {
            let shape = self.graph.ty(sequence).shape[1..].to_vec();
            params.push(self.graph.add_param(block_of, TensorType::new(DType::F32, shape), ""));
        }
        let elements = choices.next(3).min(params.len() - 1);
        let carries = &params[1..=carried.len()];
        let stacked = params[params.len() - elements..].to_vec();
        let yields = [carries, &stacked].concat();
        let (results, shapes) = stacked.iter().map(|&value| (DType::F32, self.graph.ty(value).shape.clone())).unzip();
        let op = Op::Scan { trips, carried: carried.len(), sequences: sequences.len(), results, shapes };
        let operands = [carried.as_slice(), &sequences].concat();
        let id = self.graph.append(block, op, &operands, Location::default()).ok()?;
        self.graph.blocks[block_of.index()].yields = yields;
        self.graph.insts[id.index()].regions.push(block_of);
        debug_assert!(matches!(self.graph.value(index).def, Def::Param(..)));
        let conditions = self.conditions(block_of, index)?;
        let inside = self.fill(block_of, [scope, &params, &conditions].concat(), body);
        for place in 0..carried.len() + elements {
            self.yield_other(block_of, place, &inside, &mut choices);
        }
        Some(id)
    }
}
