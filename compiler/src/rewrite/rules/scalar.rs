//! Simplification of point functions.

use super::Freedom::{Exact, Ulp, ZeroSign};
use super::{Plans, Rule, guarded, pattern, structural};
use crate::ops::{Op, PointFn};
use crate::rewrite::analysis::{Egraph, number, op_of, ty};
use crate::rewrite::language::{Kind, Node};
use crate::rewrite::plan::Plan;
use crate::types::DType;
use egg::Id;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        pattern("neg-neg", "(neg (neg ?x))", "?x", Exact),
        pattern("sub-neg", "(sub ?x (neg ?y))", "(add ?x ?y)", Exact),
        pattern("add-neg", "(add ?x (neg ?y))", "(sub ?x ?y)", Exact),
        pattern("mul-neg-neg", "(mul (neg ?x) (neg ?y))", "(mul ?x ?y)", Exact),
        pattern("neg-sub", "(neg (sub ?x ?y))", "(sub ?y ?x)", ZeroSign),
        pattern("zero-sub", "(sub 0 ?x)", "(neg ?x)", ZeroSign),
        pattern("abs-abs", "(abs (abs ?x))", "(abs ?x)", Exact),
        guarded("abs-neg", "(abs (neg ?x))", "(abs ?x)", Exact, "the dtype has a sign", |m| {
            m.root_ty().dtype != DType::U8
        }),
        pattern("abs-squared", "(mul (abs ?x) (abs ?x))", "(mul ?x ?x)", Exact),
        pattern("relu-relu", "(relu (relu ?x))", "(relu ?x)", Exact),
        pattern("max-zero", "(max ?x 0)", "(relu ?x)", ZeroSign),
        guarded("relu-min-max", "(min (max ?x 0) ?c)", "(min (relu ?x) ?c)", ZeroSign, "?c is a constant", |m| {
            m.number("c").is_some()
        }),
        guarded("relu-max", "(relu (max ?x ?c))", "(max ?x ?c)", ZeroSign, "?c is a constant above zero", |m| {
            m.number("c").is_some_and(|c| c > 0.0)
        }),
        guarded("max-relu", "(max (relu ?x) ?c)", "(relu ?x)", ZeroSign, "?c is a constant not above zero", |m| {
            m.number("c").is_some_and(|c| c <= 0.0)
        }),
        pattern("max-same", "(max ?x ?x)", "?x", Exact),
        pattern("min-same", "(min ?x ?x)", "?x", Exact),
        guarded("reciprocal", "(div 1 ?x)", "(reciprocal ?x)", Exact, "a float", |m| m.root_ty().dtype.is_float()),
        pattern("reciprocal-sqrt", "(reciprocal (sqrt ?x))", "(rsqrt ?x)", Ulp),
        pattern("sqrt-reciprocal", "(sqrt (reciprocal ?x))", "(rsqrt ?x)", Ulp),
        pattern("div-sqrt", "(div ?a (sqrt ?x))", "(mul ?a (rsqrt ?x))", Ulp),
        pattern("mul-reciprocal", "(mul ?a (reciprocal ?x))", "(div ?a ?x)", Ulp),
        guarded("not-not", "(not (not ?x))", "?x", Exact, "bool", |m| m.root_ty().dtype == DType::Bool),
        pattern("where-not", "(where (not ?c) ?a ?b)", "(where ?c ?b ?a)", Exact),
        pattern("where-same", "(where ?c ?a ?a)", "?a", Exact),
        structural(
            "where-constant",
            "(where c a b) => a, or b",
            "c is a constant",
            Exact,
            &[Kind::point(PointFn::Where)],
            where_constant,
        ),
        structural(
            "cast-cast",
            "cast(cast(x)) => cast(x)",
            "the inner cast loses nothing",
            Exact,
            &[Kind::CAST],
            cast_cast,
        ),
        structural(
            "scalar-operand",
            "f(x, [c, c, ..]) => f(x, c)",
            "the type of the result stays",
            Exact,
            &POINT_KINDS.map(Kind::point),
            scalar_operand,
        ),
    ]
}

/// Point functions in which a constant operand is worth naming by its value.
const POINT_KINDS: [PointFn; 10] = [
    PointFn::Add,
    PointFn::Sub,
    PointFn::Mul,
    PointFn::Div,
    PointFn::Pow,
    PointFn::Max,
    PointFn::Min,
    PointFn::Where,
    PointFn::Eq,
    PointFn::Lt,
];

fn where_constant(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    number(egraph, node.children[0])
        .map(|condition| Plan::Class(node.children[if condition != 0.0 { 1 } else { 2 }]))
        .into_iter()
        .collect()
}

/// Whether every element of `from` has its value in `to`.
fn widens(from: DType, to: DType) -> bool {
    use DType::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};
    from == to
        || match from {
            Bool => true,
            U8 => matches!(to, I16 | I32 | I64 | F16 | F32 | F64),
            I8 => matches!(to, I16 | I32 | I64 | F16 | F32 | F64),
            I16 => matches!(to, I32 | I64 | F32 | F64),
            I32 => matches!(to, I64 | F64),
            F16 | BF16 => matches!(to, F32 | F64),
            F32 => to == F64,
            I64 | F64 => false,
        }
}

fn cast_cast(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(Op::Point(PointFn::Cast(to))) = op_of(egraph, node) else { return Plans::new() };
    let inner = &egraph[node.children[0]];
    let middle = ty(egraph, inner.id).dtype;
    inner
        .iter()
        .filter(|node| node.kind == Kind::CAST && widens(ty(egraph, node.children[0]).dtype, middle))
        .map(|node| Plan::point(PointFn::Cast(to), [Plan::Class(node.children[0])]))
        .collect()
}

fn scalar_operand(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let Some(op) = op_of(egraph, node) else { return Plans::new() };
    let mut changed = false;
    let operands: Vec<Plan> = node
        .children
        .iter()
        .map(|&child| match egraph[child].data.constant {
            Some(bits) if ty(egraph, child).rank() > 0 => {
                changed = true;
                Plan::Const(bits, ty(egraph, child).dtype)
            }
            _ => Plan::Class(child),
        })
        .collect();
    if changed { [Plan::Op(op, operands)].into_iter().collect() } else { Plans::new() }
}
