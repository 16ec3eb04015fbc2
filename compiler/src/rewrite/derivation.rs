//! How a value of the source became what computes it: the record a rewrite explains itself with.
//!
//! Unions join e-nodes to trees, so between two nodes of a class there is one way, and the rules on it led from the one to
//! the other. A rule could be applied because other rules had made what it matched; these are found by matching its left
//! side once more among the nodes there were, and come before it. egg's own explanations are not used: they need a term on
//! both sides of every union, and most rules here read attributes and have none.

use std::collections::BTreeSet;

use egg::{ENodeOrVar, Id, PatternAst, Subst};

use super::analysis::{Application, CONGRUENCE, FOLDED, Matched, Reason, SOURCE, op_of};
use super::language::{Kind, Node};
use super::regions::Instance;
use super::rules::{self, Body};
use super::table::Table;
use crate::ir::{Constant, Graph, ValueId};

/// A part of a term: text, or a value of the region by instruction and result, or by leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(u32, u32),
    Leaf(u32),
}

/// One step: by `rule`, the one term is the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    pub rule: &'static str,
    from: Vec<Piece>,
    to: Vec<Piece>,
}

/// The derivations of a program. An instruction is named by the number of its stretch of the program and of its step in what
/// that became.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivations {
    /// The program the stretches are of.
    pub(super) plain: Graph,
    pub(super) instances: Vec<Instance>,
    /// For each distinct region and each of its steps.
    pub(super) chains: Vec<Vec<Vec<Derived>>>,
}

impl Derivations {
    /// The distinct region of a stretch.
    pub fn region(&self, made: (u32, u32)) -> Option<u32> {
        self.instances.get(made.0 as usize).map(|instance| instance.region as u32)
    }

    /// How many stretches are one region with this one.
    pub fn repeats(&self, made: (u32, u32)) -> usize {
        let region = self.region(made);
        self.instances.iter().filter(|instance| Some(instance.region as u32) == region).count()
    }

    /// The steps that led to an instruction: rule, what was there, what it is.
    pub fn chain(&self, made: (u32, u32)) -> Vec<(&'static str, String, String)> {
        let Some(instance) = self.instances.get(made.0 as usize) else { return Vec::new() };
        let steps = self.chains.get(instance.region).and_then(|steps| steps.get(made.1 as usize));
        let said = |pieces: &[Piece]| pieces.iter().map(|piece| self.said(instance, piece)).collect::<String>();
        let derived = steps.into_iter().flatten();
        derived.map(|step| (step.rule, said(&step.from), said(&step.to))).collect()
    }

    fn said(&self, instance: &Instance, piece: &Piece) -> String {
        match *piece {
            Piece::Text(ref text) => text.clone(),
            Piece::Leaf(leaf) => self.name(instance.leaves[leaf as usize]),
            Piece::Value(inst, result) => {
                self.name(self.plain.inst(instance.insts[inst as usize]).results[result as usize])
            }
        }
    }

    fn name(&self, value: ValueId) -> String {
        match self.plain.constant_of(value).filter(|constant| constant.is_inline()).and_then(Constant::splat) {
            Some(bits) => number(self.plain.ty(value).dtype, bits),
            None => self.plain.display(value),
        }
    }
}

fn number(dtype: crate::types::DType, bits: u64) -> String {
    if dtype.is_float() {
        format!("{:?}", situ_runtime::scalar::decode_float(dtype, bits) as f32)
    } else {
        situ_runtime::scalar::decode_int(dtype, bits).to_string()
    }
}

/// The trees of unions of one e-graph.
pub(super) struct History<'a> {
    table: &'a Table<'a>,
    /// For each class the values of the region it holds: instruction, result and e-node.
    sources: &'a [Vec<(u32, u32, usize)>],
    /// For each e-node the one nearer to the root of its tree, and the union between them.
    parents: Vec<Option<(usize, usize)>>,
    depth: Vec<u32>,
    /// E-nodes of each class.
    members: Vec<Vec<usize>>,
}

/// What contributed to the result of a region, each counted once.
#[derive(Default)]
pub(super) struct Account {
    counted: BTreeSet<(Reason, u32)>,
    pub fired: indexmap::IndexMap<&'static str, usize>,
}

impl Account {
    pub fn count(&mut self, rule: &'static str) {
        *self.fired.entry(rule).or_default() += 1;
    }
}

/// Steps that are being collected.
#[derive(Default)]
struct Trail {
    nodes: BTreeSet<usize>,
    unions: BTreeSet<usize>,
    applications: BTreeSet<u32>,
    steps: Vec<Derived>,
}

/// Terms inside terms up to here are written out.
const DEEPEST: usize = 3;

impl<'a> History<'a> {
    pub fn of(table: &'a Table<'a>, sources: &'a [Vec<(u32, u32, usize)>]) -> History<'a> {
        let count = table.egraph.nodes().len();
        let unions = table.egraph.analysis.unions.borrow();
        let mut edges = vec![Vec::new(); count];
        for (at, union) in unions.iter().enumerate() {
            edges[usize::from(union.a)].push((usize::from(union.b), at));
            edges[usize::from(union.b)].push((usize::from(union.a), at));
        }
        let mut parents: Vec<Option<(usize, usize)>> = vec![None; count];
        let mut depth = vec![u32::MAX; count];
        for root in 0..count {
            if depth[root] != u32::MAX {
                continue;
            }
            depth[root] = 0;
            let mut open = vec![root];
            while let Some(at) = open.pop() {
                for &(next, edge) in &edges[at] {
                    if depth[next] == u32::MAX {
                        depth[next] = depth[at] + 1;
                        parents[next] = Some((at, edge));
                        open.push(next);
                    }
                }
            }
        }
        let mut members = vec![Vec::new(); table.entries.len()];
        for (node, &class) in table.class.iter().enumerate() {
            members[class as usize].push(node);
        }
        History { table, sources, parents, depth, members }
    }

    /// Unions on the way from one e-node to another of its class, in that order.
    fn path(&self, from: usize, to: usize) -> Vec<usize> {
        let (mut a, mut b) = (from, to);
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while a != b {
            let (node, edges) = if self.depth[a] >= self.depth[b] { (&mut a, &mut up) } else { (&mut b, &mut down) };
            let Some((parent, edge)) = self.parents[*node] else { break };
            edges.push(edge);
            *node = parent;
        }
        up.extend(down.into_iter().rev());
        up
    }

    /// The steps from the region's values in a class to the chosen e-node.
    pub fn derive(&self, class: u32, chosen: usize, account: &mut Account) -> Vec<Derived> {
        let mut trail = Trail::default();
        self.node(class, chosen, true, &mut trail);
        for &application in &trail.applications {
            let rule = self.table.egraph.analysis.applications[application as usize].rule;
            if account.counted.insert((rule, application)) {
                account.count(rules::all()[rule as usize].name);
            }
        }
        for &union in &trail.unions {
            let is_folded = self.table.egraph.analysis.unions.borrow()[union].reason == FOLDED;
            if let (true, true, Some(name)) =
                (is_folded, account.counted.insert((FOLDED, union as u32)), rules::reason_name(FOLDED))
            {
                account.count(name);
            }
        }
        trail.steps
    }

    /// Why an e-node is what the region's values in its class are; `all`: of each of them.
    fn node(&self, class: u32, node: usize, all: bool, trail: &mut Trail) {
        if !trail.nodes.insert(node) {
            return;
        }
        let sources = &self.sources[class as usize];
        if sources.is_empty() {
            self.application(self.table.maker(node).1, node, trail);
            return;
        }
        let count = if all { sources.len() } else { 1 };
        if sources.iter().any(|&(_, _, source)| source == node) && !all {
            return;
        }
        for &(_, _, source) in &sources[..count] {
            self.way(source, node, trail);
        }
    }

    fn way(&self, from: usize, to: usize, trail: &mut Trail) {
        for edge in self.path(from, to) {
            if !trail.unions.insert(edge) {
                continue;
            }
            let union = self.table.egraph.analysis.unions.borrow()[edge];
            match union.reason {
                CONGRUENCE => {
                    let nodes = self.table.egraph.nodes();
                    let (a, b) = (&nodes[usize::from(union.a)], &nodes[usize::from(union.b)]);
                    for (&x, &y) in a.children.iter().zip(&b.children) {
                        self.way(usize::from(x), usize::from(y), trail);
                    }
                }
                FOLDED => {
                    let (from, to) = (self.term(usize::from(union.a), 1), self.term(usize::from(union.b), 1));
                    trail.steps.push(Derived { rule: "fold-constants", from, to });
                }
                _ => self.application(union.application, usize::from(union.b), trail),
            }
        }
    }

    /// A rule that was applied, after what made it applicable.
    fn application(&self, number: Option<u32>, made: usize, trail: &mut Trail) {
        let Some(number) = number else { return };
        let application = &self.table.egraph.analysis.applications[number as usize];
        let rule = &rules::all()[application.rule as usize];
        if !rule.phase.is_optional() || !trail.applications.insert(number) {
            return;
        }
        let (premises, from) = self.matched(application);
        for premise in premises {
            if self.table.maker(premise).0 != SOURCE {
                self.node(self.table.class[premise], premise, false, trail);
            }
        }
        // A node inside the right side is explained by all of it.
        let to = self.term(application.made.map_or(made, usize::from), DEEPEST);
        trail.steps.push(Derived { rule: rule.name, from, to });
    }

    /// E-nodes that an application matched, and the term they are.
    fn matched(&self, application: &Application) -> (Vec<usize>, Vec<Piece>) {
        let root = self.class(application.root);
        match &application.matched {
            Matched::Node(node) => {
                let alike = |&&id: &&usize| id < application.nodes && self.is_like(id, node);
                match self.members[root as usize].iter().find(alike) {
                    Some(&id) => (vec![id], self.term(id, DEEPEST)),
                    None => (Vec::new(), self.class_term(root, DEEPEST)),
                }
            }
            Matched::Left(at, subst) => {
                let Body::Pattern { left, .. } = &rules::all()[application.rule as usize].body else {
                    return (Vec::new(), self.class_term(root, DEEPEST));
                };
                let ast = &left[*at as usize].pattern.ast;
                let top = Id::from(ast.as_ref().len() - 1);
                let mut found = Vec::new();
                match self.find(ast, top, root, subst, application.nodes, &mut found) {
                    Some(from) => (found, from),
                    None => (Vec::new(), self.class_term(root, DEEPEST)),
                }
            }
        }
    }

    /// The e-node of `class` that a part of a left side matches, with those below it, and its term.
    fn find(
        &self,
        ast: &PatternAst<Node>,
        part: Id,
        class: u32,
        subst: &Subst,
        nodes: usize,
        found: &mut Vec<usize>,
    ) -> Option<Vec<Piece>> {
        let wanted = match &ast.as_ref()[usize::from(part)] {
            ENodeOrVar::Var(variable) => {
                return (self.class(*subst.get(*variable)?) == class).then(|| self.class_term(class, 1));
            }
            ENodeOrVar::ENode(node) => node,
        };
        let candidates = self.members[class as usize].iter().copied().filter(|&id| id < nodes);
        for id in candidates {
            let node = &self.table.egraph.nodes()[id];
            if node.kind != wanted.kind || node.attr != wanted.attr || node.children.len() != wanted.children.len() {
                continue;
            }
            let before = found.len();
            found.push(id);
            let parts: Option<Vec<Vec<Piece>>> = wanted
                .children
                .iter()
                .zip(&node.children)
                .map(|(&part, &child)| self.find(ast, part, self.class(child), subst, nodes, found))
                .collect();
            match parts {
                Some(parts) => return Some(self.applied(node, parts)),
                None => found.truncate(before),
            }
        }
        None
    }

    fn class(&self, id: Id) -> u32 {
        self.table.class[usize::from(id)]
    }

    fn is_like(&self, id: usize, node: &Node) -> bool {
        let other = &self.table.egraph.nodes()[id];
        let alike = |(&a, &b): (&Id, &Id)| self.class(a) == self.class(b);
        other.kind == node.kind && other.attr == node.attr && other.children.iter().zip(&node.children).all(alike)
    }

    fn class_term(&self, class: u32, depth: usize) -> Vec<Piece> {
        if let Some(&(inst, result, _)) = self.sources[class as usize].first() {
            return vec![Piece::Value(inst, result)];
        }
        let entry = &self.table.entries[class as usize];
        if let (Some(bits), true) = (entry.constant, entry.len == 1) {
            return vec![Piece::Text(number(self.table.ty(class).dtype, bits))];
        }
        match self.members[class as usize].first() {
            Some(&node) => self.term(node, depth),
            None => vec![Piece::Text("?".into())],
        }
    }

    /// An e-node as a term; what is deeper than `depth` is left out.
    fn term(&self, id: usize, depth: usize) -> Vec<Piece> {
        let node = &self.table.egraph.nodes()[id];
        match node.kind {
            Kind::LEAF => vec![Piece::Leaf(node.attr)],
            Kind::CONST => {
                let known = self.table.egraph.analysis.words.constant(node.attr);
                vec![Piece::Text(known.map_or_else(|| "?".into(), |(bits, dtype)| number(dtype, bits)))]
            }
            _ if depth == 0 => vec![Piece::Text("..".into())],
            _ => {
                let parts = node.children.iter().map(|&child| self.class_term(self.class(child), depth - 1)).collect();
                self.applied(node, parts)
            }
        }
    }

    fn applied(&self, node: &Node, parts: Vec<Vec<Piece>>) -> Vec<Piece> {
        let (name, attributes) = match op_of(self.table.egraph, node) {
            Some(op) => {
                let attributes: Vec<String> =
                    op.attributes().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
                (op.name(), attributes.join(", "))
            }
            None => ("?", String::new()),
        };
        let mut pieces = vec![Piece::Text(format!("{name}("))];
        for (at, part) in parts.into_iter().enumerate() {
            if at > 0 {
                pieces.push(Piece::Text(", ".into()));
            }
            pieces.extend(part);
        }
        let end = if attributes.is_empty() { ")".to_string() } else { format!("; {attributes})") };
        pieces.push(Piece::Text(end));
        pieces
    }
}
