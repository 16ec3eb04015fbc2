//! From memory into kernels. Two sorts of values and one rule, `load(kernel r) => r`, are all that fusion needs:
//! epilogues, prologues and chains of point functions fall out of it.

use egg::Id;

use super::Freedom::Exact;
use super::{Phase, Plans, Rule, pattern, structural};
use crate::ops::{Class, PointFn};
use crate::rewrite::analysis::{Egraph, op_of, ty};
use crate::rewrite::language::{Kind, Node, class_of};
use crate::rewrite::plan::Plan;

pub(super) fn rules() -> Vec<Rule> {
    let cores = [
        Kind::MATMUL,
        Kind::CONV,
        Kind::CONV_TRANSPOSE,
        Kind::REDUCE,
        Kind::SOFTMAX,
        Kind::LOG_SOFTMAX,
        Kind::LAYER_NORM,
        Kind::RMS_NORM,
        Kind::CAST,
    ];
    let mut kinds: Vec<Kind> = PointFn::NAMED.iter().map(|&function| Kind::point(function)).collect();
    kinds.extend(crate::ops::ReduceFn::ALL.map(Kind::last));
    kinds.extend(cores);
    vec![
        Rule {
            phase: Phase::Lower,
            ..structural(
                "lower",
                "f(x..) => kernel(f(load x..))",
                "f is a point, row or contraction op",
                Exact,
                &kinds,
                lower,
            )
        },
        Rule {
            phase: Phase::Lower,
            ..structural("literal", "load(c) => c", "c is one element", Exact, &[Kind::LOAD], literal)
        },
        Rule {
            phase: Phase::Tie,
            ..structural(
                "overwrite-operand",
                "kernel(.., x, ..) => tie k (kernel(.., x, ..))",
                "operand k has the result's type and is read only where the kernel writes",
                Exact,
                &[Kind::FUSED],
                overwrite,
            )
        },
        Rule { phase: Phase::Fuse, ..pattern("fuse", "(load (kernel ?r))", "?r", Exact) },
    ]
}

fn lower(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let compute = matches!(class_of(node.kind), Some(Class::Point | Class::Row | Class::Contraction));
    if !compute || egraph[class].data.weight {
        return Plans::new();
    }
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let operands = node.children.iter().map(|&child| operand(egraph, child)).collect();
    let kernel = Plan::Kind(Kind::KERNEL, vec![Plan::Inner(op, operands)]);
    [kernel].into_iter().collect()
}

/// A literal goes into the body, anything else is loaded.
fn operand(egraph: &Egraph, child: Id) -> Plan {
    match literal_of(egraph, child) {
        Some(plan) => plan,
        None => Plan::Kind(Kind::LOAD, vec![Plan::Class(child)]),
    }
}

fn literal_of(egraph: &Egraph, child: Id) -> Option<Plan> {
    let bits = egraph[child].data.constant?;
    let ty = ty(egraph, child);
    (ty.rank() == 0).then(|| Plan::Inner(crate::ops::Op::Point(PointFn::Const(bits, ty.dtype)), Vec::new()))
}

fn overwrite(egraph: &Egraph, class: Id, node: &Node) -> Plans {
    let in_place = &egraph.analysis.in_place[node.attr as usize];
    (0u32..).zip(in_place).filter(|(_, allowed)| **allowed).map(|(k, _)| Plan::Tie(k, class)).collect()
}

fn literal(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    literal_of(egraph, node.children[0]).into_iter().collect()
}
