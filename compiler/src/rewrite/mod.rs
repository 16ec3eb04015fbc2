//! Rewriting: what is computed, and by which kernels.
//!
//! `optimize` takes the functional graph apart (`decompose`), evaluates what depends on constants only (`fold`), cuts it
//! into regions and optimises each distinct one in an e-graph of its own (`regions`, `recipe`): algebra and recovery until
//! nothing changes, then kernels, then the cheapest program that was found. `assemble` makes a graph of the results.
//!
//! The result holds views, movement, ops of their own, and `kernel` instructions. A kernel's parameters are its operands;
//! its body uses the ops of the graph: point ops, and at most one *core* (row function or contraction). Values that the
//! core's operand needs are computed over its input domain, everything else over the written shape. The last
//! instruction's result is what the kernel gives. Regions of branches and loops are rewritten each by itself (`bodies`).
//!
//! Nothing here decides about memory. A tie on a kernel is a request that `place` grants or refuses.

mod analysis;
mod assemble;
mod bodies;
mod cost;
mod decompose;
mod derivation;
mod extract;
mod fold;
mod fuse;
mod language;
mod plan;
mod rebuild;
mod recipe;
mod regions;
pub mod rules;
mod saturate;
mod siblings;
mod table;
#[cfg(test)]
mod tests;
mod ties;

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;
use rayon::prelude::*;

pub use derivation::Derivations;
pub use rules::{Freedom, Phase, Rule};

use crate::diagnostic::Fault;
use crate::functional::PureGraph;
use crate::ir::{Graph, ValueId};
use crate::ops::Class;

/// How much rounding may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Math {
    /// Exact rules only.
    Strict,
    /// Also the sign of zero, a few units in the last place, and constants folded into weights.
    #[default]
    Default,
    /// Everything but what drops NaN and infinity.
    Fast,
}

/// What the rewriter may do.
#[derive(Clone, Debug)]
pub struct RewriteOptions {
    pub math: Math,
    /// `false`: composites are taken apart, and every op is a kernel of its own.
    pub rewrite: bool,
    /// Whether kernels ask to overwrite an operand.
    pub inplace: bool,
    /// Whether every value may be taken to be finite, so that rules which drop NaN and infinity are used as well.
    pub assume_finite: bool,
    /// The only algebraic rule to use, for finding out which one does what.
    pub only_rule: Option<String>,
    /// Algebraic rules that are not used.
    pub without_rules: Vec<String>,
    /// Use only the first so many rules of the table.
    pub rule_limit: Option<usize>,
    /// Most e-nodes a region may grow to, for each of its instructions.
    pub node_cap: usize,
    /// `false`: every op that algebra leaves is a kernel of its own.
    pub fuse: bool,
    /// Whether kernels and contractions are merged that read the same.
    pub merge: bool,
    /// Distinct regions in which requests to overwrite an operand are not priced as granted: `place` refused one.
    pub pessimistic: BTreeSet<u32>,
}

impl Default for RewriteOptions {
    fn default() -> RewriteOptions {
        RewriteOptions {
            math: Math::Default,
            rewrite: true,
            inplace: true,
            assume_finite: false,
            only_rule: None,
            without_rules: Vec::new(),
            rule_limit: None,
            node_cap: 50,
            fuse: true,
            merge: true,
            pessimistic: BTreeSet::new(),
        }
    }
}

impl RewriteOptions {
    /// Whether a rule may be used.
    pub(crate) fn admits(&self, rule: &Rule) -> bool {
        let position = || rules::all().iter().position(|other| other.name == rule.name).unwrap_or(0);
        let chosen = self.only_rule.as_ref().is_none_or(|only| only == rule.name)
            && !self.without_rules.iter().any(|other| other == rule.name);
        rule.freedom.granted(self.math, self.assume_finite)
            && (self.merge || rule.phase != Phase::Merge)
            && (self.fuse || rule.phase != Phase::Fuse)
            && (!rule.phase.is_optional() || chosen)
            && self.rule_limit.is_none_or(|limit| position() < limit)
    }
}

/// What rewriting did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RewriteReport {
    /// Rules that contributed to the result, with how often, most first.
    pub rules: IndexMap<&'static str, usize>,
    /// Instructions of the graph as it came.
    pub source_ops: usize,
    /// Kernels if every op had one of its own.
    pub kernels_before: usize,
    pub kernels_after: usize,
    /// Bytes that these kernels read and write, each operand counted once for each kernel that reads it.
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub regions: usize,
    pub unique_regions: usize,
    /// Kernels that ask to overwrite an operand.
    pub requests: usize,
    /// Distinct regions that outgrew the cap and stayed as they were.
    pub overflows: usize,
    /// E-nodes of all distinct regions.
    pub nodes: usize,
    /// How each instruction of the result came of the source.
    pub derivations: Option<Arc<Derivations>>,
}

/// Whether the rule of this name joins what the source has apart, so that values may live longer.
pub fn is_merge(rule: &str) -> bool {
    rule == siblings::MERGED || rules::all().iter().any(|other| other.name == rule && other.phase == Phase::Merge)
}

/// Decides what is computed. Fails only by a mistake of ours.
pub fn optimize(graph: PureGraph, options: &RewriteOptions) -> Result<(PureGraph, RewriteReport), Fault> {
    let source_ops = graph.body().insts.len();
    let graph = graph.into_graph();
    let simple = if options.rewrite { bodies::simplify(graph)? } else { graph };
    let plain = decompose::decompose(&simple, options)?;
    let (kernels_before, bytes_before) = kernels(&plain);
    let mut report = RewriteReport { source_ops, kernels_before, bytes_before, ..RewriteReport::default() };
    if !options.rewrite {
        let result = rebuild::wrap(plain)?.into_graph();
        (report.kernels_after, report.bytes_after) = kernels(&result);
        let result = PureGraph::new(bodies::optimise(result, options, &mut report)?)?;
        return Ok((result, report));
    }
    let plain = fold::fold(&plain, options.math)?;
    let (regions, pieces) = regions::partition(&plain);
    let recipes: Vec<recipe::Recipe> = (0u32..)
        .zip(&regions)
        .collect::<Vec<_>>()
        .par_iter()
        .map(|(number, region)| recipe::optimise(region, options, !options.pessimistic.contains(number)))
        .collect::<Result<_, _>>()?;
    let joined = fold::fold(&assemble::assemble(&plain, &pieces, &recipes)?, options.math)?;
    let wrapped = rebuild::wrap(joined)?;
    let (result, merged) = if options.merge && options.fuse { siblings::merge(wrapped)? } else { (wrapped, 0) };
    let mut result = result.into_graph();
    report.requests = if options.inplace { ties::request(&mut result)? } else { 0 };
    report.unique_regions = regions.len();
    report.overflows = recipes.iter().filter(|recipe| recipe.overflow).count();
    report.nodes = recipes.iter().map(|recipe| recipe.nodes).sum();
    let instances: Vec<regions::Instance> = pieces
        .into_iter()
        .filter_map(|piece| match piece {
            regions::Piece::Region(instance) => Some(instance),
            regions::Piece::Control(_) => None,
        })
        .collect();
    report.regions = instances.len();
    for instance in &instances {
        for &(rule, times) in &recipes[instance.region].fired {
            *report.rules.entry(rule).or_default() += times;
        }
    }
    let chains =
        recipes.into_iter().map(|recipe| recipe.steps.into_iter().map(|step| step.derived).collect()).collect();
    report.derivations = Some(Arc::new(Derivations { plain, instances, chains }));
    if merged > 0 {
        report.rules.insert(siblings::MERGED, merged);
    }
    report.rules.sort_by(|a, m, b, n| n.cmp(m).then(a.cmp(b)));
    (report.kernels_after, report.bytes_after) = kernels(&result);
    let result = PureGraph::new(bodies::optimise(result, options, &mut report)?)?;
    Ok((result, report))
}

/// Instructions that become a kernel, and the bytes they read and write.
fn kernels(graph: &Graph) -> (usize, u64) {
    let computed = graph.body_insts().filter(|(_, inst)| !matches!(inst.op.row().class, Class::View));
    let bytes =
        |values: &[ValueId]| values.iter().map(|&value| graph.ty(value).bytes() as u64).fold(0, u64::saturating_add);
    computed.fold((0, 0), |(count, moved), (_, inst)| {
        (count + 1, moved.saturating_add(bytes(&inst.operands)).saturating_add(bytes(&inst.results)))
    })
}
