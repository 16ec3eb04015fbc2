//! What a rule wants to add: a tree over classes, made into e-nodes by constructors that know the normal forms.
//!
//! A rule only reads the e-graph and returns plans; they are instantiated afterwards. No identity view, no view that
//! only moves axes of extent 1 other than `reshape`, and no literal on the left of a commutative function is ever made.

use egg::Id;
use smallvec::SmallVec;

use super::analysis::{Egraph, ty};
use super::decompose::commutes;
use super::language::{Kind, Node};
use crate::ops::{Op, PointFn};
use crate::types::{DType, TensorType};

/// A term over classes of an e-graph.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    Class(Id),
    Op(Op, Vec<Plan>),
    /// A kind without attribute.
    Kind(Kind, Vec<Plan>),
    /// The same op inside a kernel.
    Inner(Op, Vec<Plan>),
    Const(u64, DType),
    /// The kernel of a class, asking for the bytes of an operand.
    Tie(u32, Id),
}

impl Plan {
    pub fn op(op: Op, operands: impl IntoIterator<Item = Plan>) -> Plan {
        Plan::Op(op, operands.into_iter().collect())
    }

    pub fn point(function: PointFn, operands: impl IntoIterator<Item = Plan>) -> Plan {
        Plan::Op(Op::Point(function), operands.into_iter().collect())
    }

    pub fn reshape(x: Plan, shape: &[usize]) -> Plan {
        Plan::op(Op::Reshape { shape: shape.to_vec() }, [x])
    }

    pub fn permute(x: Plan, axes: &[usize]) -> Plan {
        Plan::op(Op::Permute { axes: axes.to_vec() }, [x])
    }
}

/// Adds the nodes of a plan; `None` where an op refuses its operands.
pub(super) fn instantiate(egraph: &mut Egraph, plan: &Plan) -> Option<Id> {
    match plan {
        Plan::Class(id) => Some(*id),
        Plan::Tie(operand, kernel) => Some(egraph.add_uncanonical(Node::new(Kind::TIE, *operand, &[*kernel]))),
        Plan::Const(bits, dtype) => make(egraph, &Op::Point(PointFn::Const(*bits, *dtype)), &[]),
        Plan::Op(op, operands) => {
            let operands = all(egraph, operands)?;
            make(egraph, op, &operands)
        }
        Plan::Inner(op, operands) => {
            let operands = all(egraph, operands)?;
            let (kind, attr) = head(egraph, op, &operands);
            Some(egraph.add_uncanonical(Node::new(kind.inner(), attr, &operands)))
        }
        Plan::Kind(kind, operands) => {
            let operands = all(egraph, operands)?;
            if kind.reduction().is_some() && ty(egraph, operands[0]).rank() == 0 {
                return None;
            }
            Some(egraph.add_uncanonical(Node::new(*kind, 0, &operands)))
        }
    }
}

fn all(egraph: &mut Egraph, plans: &[Plan]) -> Option<SmallVec<[Id; 3]>> {
    plans.iter().map(|plan| instantiate(egraph, plan)).collect()
}

fn head(egraph: &mut Egraph, op: &Op, operands: &[Id]) -> (Kind, u32) {
    let types: SmallVec<[TensorType; 3]> = operands.iter().map(|&operand| ty(egraph, operand).clone()).collect();
    let types: SmallVec<[&TensorType; 3]> = types.iter().collect();
    egraph.analysis.words.head(op, &types)
}

/// Adds an op in normal form; `None` where it refuses its operands. The id may not be canonical.
pub(super) fn make(egraph: &mut Egraph, op: &Op, operands: &[Id]) -> Option<Id> {
    let types: SmallVec<[TensorType; 3]> = operands.iter().map(|&operand| ty(egraph, operand).clone()).collect();
    let results = op.infer(&types).ok()?;
    if let (Some(from), [to]) = (types.first(), results.as_slice()) {
        let same = from == to;
        match op {
            Op::Reshape { .. } | Op::Expand { .. } | Op::Bitcast { .. } | Op::Point(PointFn::Cast(_)) if same => {
                return Some(operands[0]);
            }
            Op::Slice { start: 0, step: 1, .. } if same => return Some(operands[0]),
            Op::Concat { .. } if operands.len() == 1 => return Some(operands[0]),
            Op::Expand { shape } if from.len() == to.len() => {
                return make(egraph, &Op::Reshape { shape: shape.clone() }, operands);
            }
            Op::Permute { axes } if keeps_order(axes, &from.shape) => {
                return make(egraph, &Op::Reshape { shape: to.shape.clone() }, operands);
            }
            _ => {}
        }
    }
    if let (Op::Point(function), &[a, b]) = (op, operands) {
        let literal = |id: Id| egraph[id].data.constant.is_some();
        if commutes(*function) && literal(a) && !literal(b) {
            return make(egraph, op, &[b, a]);
        }
    }
    let (kind, attr) = head(egraph, op, operands);
    Some(egraph.add_uncanonical(Node::new(kind, attr, operands)))
}

/// Whether a permutation leaves the axes of extent other than 1 in their order.
pub(super) fn keeps_order(axes: &[usize], shape: &[usize]) -> bool {
    let mut wide = axes.iter().filter(|&&axis| shape[axis] != 1);
    let mut before = None;
    wide.all(|&axis| {
        let ascending = before.is_none_or(|before| before < axis);
        before = Some(axis);
        ascending
    })
}
