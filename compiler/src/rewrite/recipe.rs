//! What became of a region: its e-graph is saturated, one program is extracted, and the program is written down without
//! ids of the e-graph, so that every place where the region stands can be made from it.

use egg::Id;
use situ_runtime::scalar;
use smallvec::SmallVec;

use super::analysis::{Data, Egraph, Facts, SOURCE, op_of};
use super::derivation::{Account, Derived, History};
use super::extract::{self, Choice, Roots, Work};
use super::fuse::{self, Fused};
use super::language::{Kind, Node};
use super::plan;
use super::rebuild::fault;
use super::regions::{Operand, Region};
use super::rules::{self, Phase};
use super::saturate::{Limits, Overflow, saturate};
use super::table::{Alternative, Table};
use super::{Math, RewriteOptions};
use crate::diagnostic::Fault;
use crate::ops::{Op, PointFn};
use crate::types::{DType, TensorType};

/// An operand of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ref {
    Leaf(u32),
    /// Step and result.
    Step(u32, u32),
    Literal(DType, u64),
}

/// An operand inside a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inner {
    Param(u32),
    Op(u32),
    Literal(DType, u64),
}

/// An op inside a kernel.
#[derive(Clone, Debug)]
pub(super) struct InnerOp {
    pub op: Op,
    pub operands: Vec<Inner>,
    pub ty: TensorType,
}

/// What a step is.
#[derive(Clone, Debug)]
pub(super) enum StepKind {
    Op(Op),
    /// Ops in order; the last one is the result.
    Kernel(Vec<InnerOp>),
}

/// One instruction of the result.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub kind: StepKind,
    pub operands: Vec<Ref>,
    pub types: Vec<TensorType>,
    /// Instructions of the region that it stands for.
    pub sources: Vec<u32>,
    /// Values of the region that its results are: (result, instruction, position).
    pub values: Vec<(u32, u32, u32)>,
    pub rules: Vec<&'static str>,
    /// How it came of the source, step by step.
    pub derived: Vec<Derived>,
}

/// The optimised form of a region.
#[derive(Clone, Debug, Default)]
pub(super) struct Recipe {
    pub steps: Vec<Step>,
    pub outputs: Vec<Option<Ref>>,
    /// Rules that contributed, with how often.
    pub fired: Vec<(&'static str, usize)>,
    pub overflow: bool,
    /// E-nodes at the end.
    pub nodes: usize,
}

/// Optimises one region; `hopeful`: requests to overwrite an operand are priced as granted. Over the node cap, the region
/// stays as it was, one kernel for each op.
pub(super) fn optimise(region: &Region, options: &RewriteOptions, hopeful: bool) -> Result<Recipe, Fault> {
    match attempt(region, options, hopeful, true)? {
        Ok(recipe) => Ok(recipe),
        Err(Overflow) => match attempt(region, options, hopeful, false)? {
            Ok(recipe) => Ok(Recipe { overflow: true, ..recipe }),
            Err(Overflow) => Err(fault("a region is over the cap without a rule")),
        },
    }
}

fn attempt(
    region: &Region,
    options: &RewriteOptions,
    hopeful: bool,
    rewrite: bool,
) -> Result<Result<Recipe, Overflow>, Fault> {
    let Source { egraph, values } = match saturated(region, options, rewrite)? {
        Ok(source) => source,
        Err(overflow) => return Ok(Err(overflow)),
    };
    let table = Table::new(&egraph);
    let roots = Roots { hopeful, ..roots(region, &table, &values) };
    let (choice, program) = extract::extract(&table, &roots);
    if program.cost == super::cost::IMPOSSIBLE {
        // Rules made a circle that the greedy start did not find a way out of; without rules there is none.
        return if rewrite { Ok(Err(Overflow)) } else { Err(fault("a region has no program")) };
    }
    let sources = sources(&table, &values);
    let history = History::of(&table, &sources);
    let writer = Writer { table: &table, choice: &choice, sources: &sources, history };
    writer.write(program.work, &roots.classes).map(Ok)
}

/// The e-graph of a region when all rules have run, with `rewrite` only those that make kernels.
pub(super) fn saturated(
    region: &Region,
    options: &RewriteOptions,
    rewrite: bool,
) -> Result<Result<Source, Overflow>, Fault> {
    let mut source = build(region, options.math == Math::Strict)?;
    let egraph = &mut source.egraph;
    let admitted: Vec<bool> = rules::all()
        .iter()
        .map(|rule| match rule.phase {
            Phase::Lower => true,
            _ => rewrite && options.admits(rule),
        })
        .collect();
    let cap = if rewrite { options.node_cap.saturating_mul(region.insts.len() + 8) } else { usize::MAX };
    let limits = Limits { nodes: cap, iterations: 24 };
    let once = Limits { nodes: usize::MAX, iterations: 1 };
    let done = saturate(egraph, Phase::Algebra, &admitted, &limits)
        .and_then(|()| merge(egraph, &admitted, &limits))
        .and_then(|()| saturate(egraph, Phase::Lower, &admitted, &once))
        .and_then(|()| saturate(egraph, Phase::Lower, &admitted, &once))
        .map(|()| load_all(egraph))
        .and_then(|()| saturate(egraph, Phase::Fuse, &admitted, &Limits { nodes: usize::MAX, iterations: 8 }));
    if egraph.analysis.disagreements > 0 {
        return Err(fault("a rule joined values of different types"));
    }
    Ok(done.map(|()| source))
}

/// Loads every value that kernels make, so that `load(kernel r) => r` finds all ways to compute it inside a kernel to be one
/// class, also where nobody reads it.
fn load_all(egraph: &mut Egraph) {
    let mut stored: Vec<Id> = egraph.classes_for_op(&Kind::KERNEL).into_iter().flatten().collect();
    stored.sort_unstable();
    egraph.analysis.reason.set(SOURCE);
    for class in stored {
        egraph.add_uncanonical(Node::new(Kind::LOAD, 0, &[class]));
    }
}

/// What the region gives out.
pub(super) fn roots(region: &Region, table: &Table, values: &[Vec<Id>]) -> Roots {
    let class = |&(inst, result): &(u32, u32)| table.class[usize::from(values[inst as usize][result as usize])];
    Roots { classes: region.outputs.iter().map(class).collect(), is_dense: region.given.clone(), hopeful: true }
}

/// Rules that look at all users of a value, and algebra on what came of it; twice, because what is merged the first time may
/// be scaled together the second.
fn merge(egraph: &mut Egraph, admitted: &[bool], limits: &Limits) -> Result<(), Overflow> {
    for _ in 0..2 {
        let nodes = egraph.nodes().len();
        saturate(egraph, Phase::Merge, admitted, &Limits { iterations: 1, ..*limits })?;
        if egraph.nodes().len() == nodes {
            break;
        }
        saturate(egraph, Phase::Algebra, admitted, limits)?;
    }
    Ok(())
}

/// The e-graph of a region and the ids of its values.
pub(super) struct Source {
    pub egraph: Egraph,
    /// For each instruction of the region its results, as they were added.
    pub values: Vec<Vec<Id>>,
}

pub(super) fn build(region: &Region, strict: bool) -> Result<Source, Fault> {
    let mut facts = Facts { strict, ..Facts::default() };
    facts.reason.set(SOURCE);
    for leaf in &region.leaves {
        let types = SmallVec::from_elem(facts.words.intern_type(leaf.ty.clone()), 1);
        let (constant, weight) = (leaf.literal, leaf.weight);
        let float = |bits| leaf.ty.dtype.is_float().then(|| scalar::decode_float(leaf.ty.dtype, bits));
        let unsigned = constant.and_then(float).is_some_and(f64::is_sign_positive);
        facts.leaves.push(Data {
            types,
            inner: false,
            constant,
            weight,
            unsigned,
            progression: leaf.progression,
            moderate: leaf.moderate,
        });
    }
    let mut egraph = Egraph::new(facts);
    let mut leaves = Vec::with_capacity(region.leaves.len());
    for (at, leaf) in region.leaves.iter().enumerate() {
        let id = match leaf.literal {
            Some(bits) if leaf.ty.rank() == 0 => {
                let op = Op::Point(PointFn::Const(bits, leaf.ty.dtype));
                plan::make(&mut egraph, &op, &[]).ok_or_else(|| fault("a literal has no node"))?
            }
            _ => egraph.add_uncanonical(Node::new(Kind::LEAF, at as u32, &[])),
        };
        leaves.push(id);
    }
    let mut values: Vec<Vec<Id>> = Vec::with_capacity(region.insts.len());
    for (op, operands) in &region.insts {
        let operands: SmallVec<[Id; 3]> = operands
            .iter()
            .map(|operand| match *operand {
                Operand::Leaf(leaf) => leaves[leaf as usize],
                Operand::Result(inst, result) => values[inst as usize][result as usize],
            })
            .collect();
        let id = plan::make(&mut egraph, op, &operands).ok_or_else(|| fault(format!("{} is ill-typed", op.name())))?;
        let results = egraph[id].data.types.len();
        values.push(if results == 1 {
            vec![id]
        } else {
            (0..results).map(|at| egraph.add_uncanonical(Node::new(Kind::RESULT, at as u32, &[id]))).collect()
        });
    }
    Ok(Source { egraph, values })
}

/// For each class, the values of the region it holds: instruction, result and e-node.
fn sources(table: &Table, values: &[Vec<Id>]) -> Vec<Vec<(u32, u32, usize)>> {
    let mut sources = vec![Vec::new(); table.entries.len()];
    for (inst, results) in values.iter().enumerate() {
        for (result, &id) in results.iter().enumerate() {
            let id = usize::from(id);
            sources[table.class[id] as usize].push((inst as u32, result as u32, id));
        }
    }
    sources
}

struct Writer<'a> {
    table: &'a Table<'a>,
    choice: &'a Choice,
    sources: &'a [Vec<(u32, u32, usize)>],
    history: History<'a>,
}

/// The rules of a derivation, each once.
fn names(derived: &[Derived]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for step in derived {
        if !names.contains(&step.rule) {
            names.push(step.rule);
        }
    }
    names
}

impl Writer<'_> {
    fn write(&self, work: Vec<Work>, roots: &[u32]) -> Result<Recipe, Fault> {
        let mut recipe = Recipe { nodes: self.table.egraph.nodes().len(), ..Recipe::default() };
        let mut places: Vec<Option<Ref>> = vec![None; self.table.entries.len()];
        let mut account = Account::default();
        for work in &work {
            let (class, step) = match work {
                Work::Op(class) => match self.op(*class, &mut places, &mut account)? {
                    Some(step) => (*class, step),
                    None => continue,
                },
                Work::Kernel(class, fused) => (*class, self.kernel(*class, fused, &mut places, &mut account)?),
            };
            places[class as usize] = Some(Ref::Step(recipe.steps.len() as u32, 0));
            recipe.steps.push(step);
        }
        for &root in roots {
            let place = self.place(root, &mut places)?;
            recipe.outputs.push(Some(place));
            if !matches!(place, Ref::Step(..)) {
                // A value that turned out to be an input of the region still says by which rule.
                if let Some(way) = self.way(root) {
                    self.history.derive(root, way.id, &mut account);
                }
            }
        }
        // Further results of steps with several.
        recipe.fired = account.fired.into_iter().collect();
        Ok(recipe)
    }

    fn way(&self, class: u32) -> Option<&Alternative> {
        self.table.entries[class as usize].alternatives.get(self.choice.pick[class as usize] as usize)
    }

    /// Where the value of a memory class is.
    fn place(&self, class: u32, places: &mut [Option<Ref>]) -> Result<Ref, Fault> {
        if let Some(place) = places[class as usize] {
            return Ok(place);
        }
        let way = self.way(class).ok_or_else(|| fault("a class has no way"))?;
        let place = match way.kind {
            Kind::LEAF => Ref::Leaf(way.attr),
            Kind::CONST => {
                let (bits, dtype) = self
                    .table
                    .egraph
                    .analysis
                    .words
                    .constant(way.attr)
                    .ok_or_else(|| fault("a literal has no bits"))?;
                Ref::Literal(dtype, bits)
            }
            Kind::RESULT => match self.place(way.children[0], places)? {
                Ref::Step(step, _) => Ref::Step(step, way.attr),
                _ => return Err(fault("a result of no step")),
            },
            _ => return Err(fault("a class is used before it is computed")),
        };
        places[class as usize] = Some(place);
        Ok(place)
    }

    fn types(&self, class: u32) -> Vec<TensorType> {
        let words = &self.table.egraph.analysis.words;
        self.table.entries[class as usize].types.iter().map(|&ty| words.ty(ty).clone()).collect()
    }

    fn op(&self, class: u32, places: &mut [Option<Ref>], account: &mut Account) -> Result<Option<Step>, Fault> {
        let way = self.way(class).ok_or_else(|| fault("a class has no way"))?;
        if way.kind == Kind::RESULT {
            return Ok(None);
        }
        let node = &self.table.egraph.nodes()[way.id];
        let op = op_of(self.table.egraph, node).ok_or_else(|| fault("a node is no op"))?;
        let operands = way.children.iter().map(|&child| self.place(child, places)).collect::<Result<_, _>>()?;
        let mut derived = self.history.derive(class, way.id, account);
        for &child in &way.children {
            derived.extend(self.given(child, account));
        }
        let rules = names(&derived);
        let types = self.types(class);
        let (sources, values) = self.stands_for(&[class], class, types.len());
        Ok(Some(Step { kind: StepKind::Op(op), operands, types, sources, values, rules, derived }))
    }

    fn kernel(
        &self,
        class: u32,
        fused: &Fused,
        places: &mut [Option<Ref>],
        account: &mut Account,
    ) -> Result<Step, Fault> {
        let loads = fused.loads();
        let operands = loads.iter().map(|&load| self.place(load, places)).collect::<Result<_, _>>()?;
        let mut ops: Vec<InnerOp> = Vec::new();
        let mut derived: Vec<Derived> = Vec::new();
        let mut classes: Vec<u32> = Vec::new();
        let mut root = None;
        // A value needed before and after the core is computed twice, with a place for each.
        let mut inside: Vec<Option<u32>> = vec![None; self.table.entries.len()];
        let parts = [&fused.prologue[..], fused.core.as_slice(), &fused.epilogue[..]];
        for (part, members) in parts.into_iter().enumerate() {
            if part == 2 {
                for &member in &fused.prologue {
                    inside[member as usize] = None;
                }
            }
            for &member in members {
                let way = self.way(member).ok_or_else(|| fault("an inner class has no way"))?;
                let op = op_of(self.table.egraph, &self.table.egraph.nodes()[way.id])
                    .ok_or_else(|| fault("an inner node is no op"))?;
                let contraction = part == 1 && !fused.core_loads.is_empty();
                let mut arguments = Vec::with_capacity(way.children.len());
                for &child in &way.children {
                    arguments.push(self.inner_operand(child, &inside, &loads, contraction)?);
                }
                inside[member as usize] = Some(ops.len() as u32);
                ops.push(InnerOp { op, operands: arguments, ty: self.table.ty(member).clone() });
                let memory = self.table.entries[member as usize].partner;
                if let Some(memory) = memory {
                    if !classes.contains(&memory) {
                        classes.push(memory);
                    }
                    if let Some(origin) = self.table.origin(member, way) {
                        for step in self.history.derive(memory, origin, account) {
                            if !derived.contains(&step) {
                                derived.push(step);
                            }
                        }
                    }
                }
                root = Some(member);
            }
        }
        if root.is_none() {
            return Err(fault("a kernel is empty"));
        }
        for &load in &loads {
            derived.extend(self.given(load, account));
        }
        let mut rules = names(&derived);
        if ops.len() > 1 {
            rules.push("fuse");
            for _ in 1..ops.len() {
                account.count("fuse");
            }
        }
        let (sources, values) = self.stands_for(&classes, class, 1);
        Ok(Step { kind: StepKind::Kernel(ops), operands, types: self.types(class), sources, values, rules, derived })
    }

    /// How values of the source turned out to be what comes from outside, for those who read it.
    fn given(&self, class: u32, account: &mut Account) -> Vec<Derived> {
        match self.way(class) {
            Some(way) if way.kind == Kind::LEAF => self.history.derive(class, way.id, account),
            _ => Vec::new(),
        }
    }

    fn inner_operand(
        &self,
        child: u32,
        inside: &[Option<u32>],
        loads: &[u32],
        contraction: bool,
    ) -> Result<Inner, Fault> {
        if !contraction {
            if let Some(at) = inside[child as usize] {
                return Ok(Inner::Op(at));
            }
            if fuse::is_literal(self.table, child) {
                let bits = self.table.entries[child as usize].constant.ok_or_else(|| fault("a literal has no bits"))?;
                return Ok(Inner::Literal(self.table.ty(child).dtype, bits));
            }
        }
        let memory = self.table.entries[child as usize].partner;
        let at = memory.and_then(|memory| loads.iter().position(|&load| load == memory));
        at.map(|at| Inner::Param(at as u32)).ok_or_else(|| fault("a kernel misses an operand"))
    }

    /// Instructions of the region among `classes`, and the values that `class` is.
    fn stands_for(&self, classes: &[u32], class: u32, results: usize) -> (Vec<u32>, Vec<(u32, u32, u32)>) {
        let mut insts: Vec<u32> =
            classes.iter().flat_map(|&class| &self.sources[class as usize]).map(|&(inst, ..)| inst).collect();
        let mut values: Vec<(u32, u32, u32)> =
            self.sources[class as usize].iter().map(|&(inst, result, _)| (0, inst, result)).collect();
        if results > 1 {
            // The results of an op with several are classes of their own.
            values.clear();
            for (at, entry) in self.table.entries.iter().enumerate() {
                for way in entry.alternatives.iter().filter(|way| way.kind == Kind::RESULT && way.children[0] == class)
                {
                    for &(inst, result, _) in &self.sources[at] {
                        values.push((way.attr, inst, result));
                        insts.push(inst);
                    }
                }
            }
        }
        insts.sort_unstable();
        insts.dedup();
        (insts, values)
    }
}
