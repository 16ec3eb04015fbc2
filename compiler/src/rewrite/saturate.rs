//! The driver: searches rules on a snapshot, then applies what they planned.
//!
//! Bounded by iterations and nodes, never by the clock, so that the result does not depend on the machine. egg's own
//! runner checks its limits between rules and cannot map attributes, which is why it is not used.

use egg::{Id, Searcher};

use super::analysis::Egraph;
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
        for (number, root, plan) in found {
            egraph.analysis.reason.set(number);
            if let Some(result) = plan::instantiate(egraph, &plan) {
                let (from, to) = (&egraph[root].data, &egraph[result].data);
                if from.types == to.types && from.inner == to.inner {
                    egraph.union(root, result);
                }
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

pub(super) type Found = Vec<(u16, Id, Plan)>;

pub(super) fn search(egraph: &Egraph, phase: Phase, admitted: &[bool], limits: &Limits) -> Result<Found, Overflow> {
    let mut found = Found::new();
    for (number, rule) in rules::all().iter().enumerate().filter(|(n, rule)| rule.phase == phase && admitted[*n]) {
        match &rule.body {
            Body::Structural { kinds, planner } => {
                for kind in kinds {
                    let mut classes: Vec<Id> = egraph.classes_for_op(kind).into_iter().flatten().collect();
                    classes.sort_unstable();
                    for class in classes {
                        for node in egraph[class].iter().filter(|node| node.kind == *kind) {
                            found.extend(
                                planner(egraph, class, node).into_iter().map(|plan| (number as u16, class, plan)),
                            );
                        }
                    }
                }
            }
            Body::Pattern { left, right, guard } => {
                for left in left {
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
                                found.extend(m.plan(right).map(|plan| (number as u16, class.eclass, plan)));
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
