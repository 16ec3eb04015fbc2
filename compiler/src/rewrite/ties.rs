//! Requests to overwrite an operand.
//!
//! Each kernel of the result is one node of a last e-graph. A rule adds, for each operand that the kernel reads only where
//! it writes, a node `tie k` to the kernel's class: the same value, asking for operand `k`'s bytes. Its guard speaks of
//! values only. Whether those bytes are free is no fact of an e-graph; here the requests are only priced, by what the
//! source order says of later readers, and the best one of each kernel is written on it. `place` proves or refuses.

use egg::Id;
use smallvec::SmallVec;

use super::analysis::{Data, Egraph, Facts};
use super::language::{Kind, Node};
use super::rebuild::fault;
use super::rules::{self, Phase};
use super::saturate::{Limits, saturate};
use crate::diagnostic::Fault;
use crate::ir::{BlockId, Def, Graph, InstId, ValueId};
use crate::ops::{Class, Op};
use crate::types::InputMode;

/// Writes the best request on each kernel; how many there are.
pub(super) fn request(graph: &mut Graph) -> Result<usize, Fault> {
    let candidates = candidates(graph)?;
    let prices = Prices::of(graph);
    let mut claimed = vec![false; graph.values.len()];
    let mut requests = 0;
    for (position, id) in graph.body().insts.clone().into_iter().enumerate() {
        let best = candidates[position]
            .iter()
            .filter_map(|&k| {
                let operand = graph.inst(id).operands[k as usize];
                let price = prices.price(graph, position, operand)?;
                let root = prices.root[operand.index()];
                (!claimed[root.index()]).then_some((price, std::cmp::Reverse(k), root))
            })
            .max();
        if let Some((_, std::cmp::Reverse(k), root)) = best {
            claimed[root.index()] = true;
            graph.insts[id.index()].tie = Some(k);
            graph.insts[id.index()].rules.push("overwrite-operand");
            requests += 1;
        }
    }
    Ok(requests)
}

/// For each instruction of the body, operands with a `tie` node in its class.
fn candidates(graph: &Graph) -> Result<Vec<Vec<u32>>, Fault> {
    let mut facts = Facts::default();
    let leaf = |facts: &mut Facts, value: ValueId| {
        let ty = facts.words.intern_type(graph.ty(value).clone());
        let types = SmallVec::from_elem(ty, 1);
        facts.leaves.push(Data {
            types,
            inner: false,
            constant: None,
            weight: false,
            unsigned: false,
            progression: None,
            moderate: false,
        });
        (facts.leaves.len() - 1) as u32
    };
    let insts: Vec<InstId> = graph.body().insts.clone();
    let mut heads: Vec<Option<u32>> = vec![None; graph.values.len()];
    for (at, value) in graph.values.iter().enumerate() {
        let outside = matches!(value.def, Def::Param(block, _) if block != Graph::BODY);
        if !outside {
            heads[at] = Some(leaf(&mut facts, ValueId(at as u32)));
        }
    }
    facts.in_place = vec![SmallVec::new(); facts.leaves.len()];
    for &id in &insts {
        let inst = graph.inst(id);
        if let (Op::Kernel { .. }, &[body], &[result]) = (&inst.op, &inst.regions[..], &inst.results[..])
            && let Some(head) = heads[result.index()]
        {
            facts.in_place[head as usize] =
                (0..inst.operands.len()).map(|k| reads_where_it_writes(graph, body, k, result)).collect();
        }
    }
    let mut egraph = Egraph::new(facts);
    let mut classes: Vec<Option<Id>> = vec![None; graph.values.len()];
    let mut nodes: Vec<Option<Id>> = Vec::with_capacity(insts.len());
    let class = |egraph: &mut Egraph, classes: &mut Vec<Option<Id>>, value: ValueId| {
        let head = heads[value.index()].unwrap_or(0);
        *classes[value.index()].get_or_insert_with(|| egraph.add_uncanonical(Node::new(Kind::LEAF, head, &[])))
    };
    for &id in &insts {
        let inst = graph.inst(id);
        let fused = matches!(inst.op, Op::Kernel { .. }) && inst.results.len() == 1;
        nodes.push(if fused {
            let operands: Vec<Id> =
                inst.operands.iter().map(|&operand| class(&mut egraph, &mut classes, operand)).collect();
            let result = inst.results[0];
            let head = heads[result.index()].unwrap_or(0);
            let node = egraph.add_uncanonical(Node::new(Kind::FUSED, head, &operands));
            classes[result.index()] = Some(node);
            Some(node)
        } else {
            None
        });
    }
    let admitted = vec![true; rules::all().len()];
    let limits = Limits { nodes: usize::MAX, iterations: 1 };
    saturate(&mut egraph, Phase::Tie, &admitted, &limits)
        .map_err(|_| fault("requests outgrew a bound there is not"))?;
    Ok(nodes
        .iter()
        .map(|node| {
            let Some(node) = node else { return Vec::new() };
            let mut ties: Vec<u32> =
                egraph[*node].iter().filter(|other| other.kind == Kind::TIE).map(|other| other.attr).collect();
            ties.sort_unstable();
            ties
        })
        .collect())
}

/// Whether operand `k` of a kernel has the result's type and is read only at the index, or in the row, that is written.
fn reads_where_it_writes(graph: &Graph, body: BlockId, k: usize, result: ValueId) -> bool {
    let block = graph.block(body);
    let param = block.params[k];
    if graph.ty(param) != graph.ty(result) {
        return false;
    }
    let core = block.insts.iter().find(|&&id| matches!(graph.inst(id).op.row().class, Class::Row | Class::Contraction));
    let Some(&core) = core else { return true };
    let core = graph.inst(core);
    // What the core reads: its operands and all that leads to them.
    let mut before = core.operands.clone();
    let mut at = 0;
    while at < before.len() {
        if let Some(producer) = graph.producer(before[at]) {
            before.extend(&graph.inst(producer).operands);
        }
        at += 1;
    }
    !before.contains(&param)
        || core.op.row().class == Class::Row && graph.ty(core.operands[0]).shape == graph.ty(result).shape
}

/// What source order says about the bytes of values.
struct Prices {
    /// The value whose bytes a view shows.
    root: Vec<ValueId>,
    /// Positions at which the bytes of a root are read.
    readers: Vec<Vec<usize>>,
    /// Whether the bytes outlive the run or are not the program's.
    kept: Vec<bool>,
    /// For each position, the positions that need its result; empty for programs too long for it.
    after: Vec<Vec<u64>>,
    /// Whether the whole root is seen in row-major order.
    whole: Vec<bool>,
}

impl Prices {
    fn of(graph: &Graph) -> Prices {
        let count = graph.values.len();
        let mut prices = Prices {
            root: (0..count).map(|at| ValueId(at as u32)).collect(),
            readers: vec![Vec::new(); count],
            kept: vec![false; count],
            after: after(graph),
            whole: vec![true; count],
        };
        for (position, (_, inst)) in graph.body_insts().enumerate() {
            let view = inst.op.row().class == Class::View;
            for &operand in &inst.operands {
                let root = prices.root[operand.index()];
                if !view {
                    prices.readers[root.index()].push(position);
                }
            }
            if view {
                for &result in &inst.results {
                    let operand = inst.operands[0];
                    prices.root[result.index()] = prices.root[operand.index()];
                    prices.whole[result.index()] =
                        prices.whole[operand.index()] && matches!(inst.op, Op::Reshape { .. } | Op::View { .. });
                }
            }
        }
        let kept = graph.outputs.iter().map(|output| output.value).chain(graph.finals.iter().map(|&(_, value)| value));
        for value in kept {
            prices.kept[prices.root[value.index()].index()] = true;
        }
        for (at, value) in graph.values.iter().enumerate() {
            let kept = match value.def {
                Def::Input(position) => graph.inputs[position as usize].mode == InputMode::Read,
                Def::Constant(_) => true,
                _ => false,
            };
            prices.kept[at] |= kept;
        }
        prices
    }

    /// Bytes saved if the kernel at `position` may overwrite `operand`; less where later readers would have to run before
    /// it; `None` where that cannot be.
    fn price(&self, graph: &Graph, position: usize, operand: ValueId) -> Option<usize> {
        let root = self.root[operand.index()].index();
        if !self.whole[operand.index()] || self.kept[root] {
            return None;
        }
        let bytes = graph.ty(operand).bytes();
        let later: Vec<usize> = self.readers[root].iter().copied().filter(|&reader| reader > position).collect();
        if later.is_empty() {
            return Some(bytes);
        }
        let after = self.after.get(position)?;
        let free = later.iter().all(|&reader| after[reader / 64] >> (reader % 64) & 1 == 0);
        free.then_some(bytes / 2)
    }
}

/// Programs up to this long are asked which instruction needs which.
const LONGEST: usize = 4096;

/// For each position, the set of positions that need its results, directly or not.
fn after(graph: &Graph) -> Vec<Vec<u64>> {
    let count = graph.body().insts.len();
    if count > LONGEST {
        return Vec::new();
    }
    let mut sets = vec![vec![0u64; count.div_ceil(64)]; count];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); graph.values.len()];
    for (position, (_, inst)) in graph.body_insts().enumerate() {
        for operand in &inst.operands {
            users[operand.index()].push(position);
        }
    }
    for (position, (_, inst)) in graph.body_insts().enumerate().collect::<Vec<_>>().into_iter().rev() {
        let mut set = vec![0u64; count.div_ceil(64)];
        for &user in inst.results.iter().flat_map(|result| &users[result.index()]) {
            set[user / 64] |= 1 << (user % 64);
            set.iter_mut().zip(&sets[user]).for_each(|(word, other)| *word |= other);
        }
        sets[position] = set;
    }
    sets
}
