//! The driver: searches rules on a snapshot, then applies what they planned.
//!
//! Bounded by iterations and nodes, never by the clock, so that the result does not depend on the machine. egg's own
//! runner checks its limits between rules and cannot map attributes, which is why it is not used.

use egg::{Id, Searcher};

use super::analysis::{Application, Egraph, Matched, Reason};
use super::plan::{self, Plan};
use super::rules::{self, Body, Match, Phase};

/// Bounds and choice of rules of one run.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub nodes: usize,
    pub iterations: usize,
}

/// The e-graph grew over its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// Applies the rules of `phase` that `admitted` lets through until nothing changes.
pub(super) fn saturate(egraph: &mut Egraph, phase: Phase, admitted: &[bool], limits: &Limits) -> Result<(), Overflow> {
    egraph.rebuild();
    for _ in 0..limits.iterations {
        let (nodes, unions) = (egraph.nodes().len(), egraph.analysis.unions.borrow().len());
        let found = search(egraph, phase, admitted, limits)?;
        for Finding { rule, root, plan, matched } in found {
            let application = egraph.analysis.applications.len() as u32;
            let before = egraph.nodes().len();
            egraph.analysis.applications.push(Application { rule, root, matched, nodes: before, made: None });
            egraph.analysis.reason.set(rule);
            egraph.analysis.application.set(Some(application));
            let mut changed = false;
            if let Some(result) = plan::instantiate(egraph, &plan) {
                egraph.analysis.applications[application as usize].made = Some(result);
                let (from, to) = (&egraph[root].data, &egraph[result].data);
                if from.types == to.types && from.inner == to.inner {
                    changed = egraph.union(root, result);
                }
            }
            egraph.analysis.application.set(None);
            if !changed && egraph.nodes().len() == before {
                egraph.analysis.applications.pop();
            }
            if egraph.nodes().len() > limits.nodes {
                return Err(Overflow);
            }
        }
        egraph.rebuild();
        if egraph.nodes().len() == nodes && egraph.analysis.unions.borrow().len() == unions {
            return Ok(());
        }
    }
    Ok(())
}

/// What a rule wants to add to a class.
pub(super) struct Finding {
    pub rule: Reason,
    pub root: Id,
    pub plan: Plan,
    pub matched: Matched,
}

pub(super) fn search(
    egraph: &Egraph,
    phase: Phase,
    admitted: &[bool],
    limits: &Limits,
) -> Result<Vec<Finding>, Overflow> {
    let mut found: Vec<Finding> = Vec::new();
    for (number, rule) in rules::all().iter().enumerate().filter(|(n, rule)| rule.phase == phase && admitted[*n]) {
        match &rule.body {
            Body::Structural { kinds, planner } => {
                for kind in kinds {
                    let mut classes: Vec<Id> = egraph.classes_for_op(kind).into_iter().flatten().collect();
                    classes.sort_unstable();
                    for class in classes {
                        for node in egraph[class].iter().filter(|node| node.kind == *kind) {
                            found.extend(planner(egraph, class, node).into_iter().map(|plan| Finding {
                                rule: number as Reason,
                                root: class,
                                plan,
                                matched: Matched::Node(node.clone()),
                            }));
                        }
                    }
                }
            }
            Body::Pattern { left, right, guard } => {
                for (at, left) in left.iter().enumerate() {
                    let possible =
                        left.kinds.iter().all(|kind| egraph.classes_for_op(kind).is_some_and(|ids| ids.len() > 0));
                    if !possible {
                        continue;
                    }
                    let mut matches = left.pattern.search(egraph);
                    matches.sort_by_key(|found| found.eclass);
                    for class in &matches {
                        for subst in &class.substs {
                            let m = Match { egraph, root: class.eclass, left, subst };
                            if m.numbers_hold() && guard(&m) {
                                found.extend(m.plan(right).map(|plan| Finding {
                                    rule: number as Reason,
                                    root: class.eclass,
                                    plan,
                                    matched: Matched::Left(at as u16, subst.clone()),
                                }));
                            }
                        }
                    }
                }
            }
        }
        if found.len() > limits.nodes {
            return Err(Overflow);
        }
    }
    Ok(found)
}
