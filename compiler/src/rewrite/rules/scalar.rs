//! Simplification of point functions.

use super::Freedom::{Exact, Reassociate, Ulp, ZeroSign};
use super::{Match, Plans, Rule, guarded, pattern, structural};
use crate::ops::{Op, PointFn};
use crate::rewrite::analysis::{Egraph, op_of, ty};
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
        pattern("negative-zero-sub", "(sub -0 ?x)", "(neg ?x)", Exact),
        pattern("abs-abs", "(abs (abs ?x))", "(abs ?x)", Exact),
        // The negative of an unsigned integer wraps, and is its own magnitude.
        guarded("abs-neg", "(abs (neg ?x))", "(abs ?x)", Exact, "not u8", |m| m.root_ty().dtype != DType::U8),
        guarded("abs-unsigned", "(abs ?x)", "?x", Exact, "no element has a sign", has_no_sign),
        pattern("abs-relu", "(abs (relu ?x))", "(relu ?x)", ZeroSign),
        pattern("abs-squared", "(mul (abs ?x) (abs ?x))", "(mul ?x ?x)", Exact),
        pattern("relu-relu", "(relu (relu ?x))", "(relu ?x)", Exact),
        guarded("relu-unsigned", "(relu ?x)", "?x", Exact, "no element has a sign", has_no_sign),
        pattern("max-zero", "(max ?x 0)", "(relu ?x)", ZeroSign),
        guarded("relu-max", "(relu (max ?x ?c))", "(max ?x ?c)", Exact, "?c is a constant not below zero", |m| {
            m.number("c").is_some_and(|c| c >= 0.0)
        }),
        guarded("relu-max-negative", "(relu (max ?x ?c))", "(relu ?x)", Exact, "?c is a constant below zero", |m| {
            m.number("c").is_some_and(|c| c < 0.0)
        }),
        guarded("max-relu", "(max (relu ?x) ?c)", "(relu ?x)", Exact, "?c is a constant below zero", |m| {
            m.number("c").is_some_and(|c| c < 0.0)
        }),
        guarded("relu-min", "(relu (min ?x ?c))", "(min (relu ?x) ?c)", Exact, "?c is a constant above zero", |m| {
            m.number("c").is_some_and(|c| c > 0.0)
        }),
        pattern("max-same", "(max ?x ?x)", "?x", Exact),
        pattern("min-same", "(min ?x ?x)", "?x", Exact),
        // Of two zeros `max` and `min` give the second, so a bound that is zero depends on the order of the operands.
        guarded("max-max", "(max (max ?x ?a) ?b)", "(max ?x (max ?a ?b))", Exact, BOUNDS, |m| {
            bounds(m).is_some_and(|(a, b)| a.max(b) != 0.0)
        }),
        guarded("min-min", "(min (min ?x ?a) ?b)", "(min ?x (min ?a ?b))", Exact, BOUNDS, |m| {
            bounds(m).is_some_and(|(a, b)| a.min(b) != 0.0)
        }),
        guarded(
            "max-min",
            "(max (min ?x ?b) ?a)",
            "(min (max ?x ?a) ?b)",
            Exact,
            "?a and ?b are constants other than zero, ?a the smaller one",
            |m| bounds(m).is_some_and(|(a, b)| a < b && a != 0.0 && b != 0.0),
        ),
        guarded("reciprocal", "(div 1 ?x)", "(reciprocal ?x)", Exact, "a float", |m| m.is_float()),
        pattern("reciprocal-reciprocal", "(reciprocal (reciprocal ?x))", "?x", Ulp),
        pattern("reciprocal-sqrt", "(reciprocal (sqrt ?x))", "(rsqrt ?x)", Ulp),
        // One over the negative zero has no square root, while `rsqrt` of it is an infinity.
        guarded("sqrt-reciprocal", "(sqrt (reciprocal ?x))", "(rsqrt ?x)", Ulp, "no element has a sign", has_no_sign),
        pattern("div-sqrt", "(div ?a (sqrt ?x))", "(mul ?a (rsqrt ?x))", Ulp),
        pattern("mul-reciprocal", "(mul ?a (reciprocal ?x))", "(div ?a ?x)", Ulp),
        pattern("div-reciprocal", "(div ?a (reciprocal ?x))", "(mul ?a ?x)", Ulp),
        guarded("sqrt-squared", "(mul (sqrt ?x) (sqrt ?x))", "?x", Ulp, "no element has a sign", has_no_sign),
        // The square overflows, or is lost, where the magnitude is not.
        pattern("squared-sqrt", "(sqrt (mul ?x ?x))", "(abs ?x)", Reassociate),
        pattern("exp-product", "(mul (exp ?x) (exp ?y))", "(exp (add ?x ?y))", Reassociate),
        pattern("log-exp", "(log (exp ?x))", "?x", Reassociate),
        guarded("exp-log", "(exp (log ?x))", "?x", Reassociate, "no element has a sign", has_no_sign),
        structural(
            "round-round",
            "floor(ceil(x)) => ceil(x), ..",
            "both are floor, ceil, round or trunc",
            Exact,
            &ROUNDS.map(Kind::point),
            round_round,
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

/// Functions after which a number is whole.
const ROUNDS: [PointFn; 4] = [PointFn::Floor, PointFn::Ceil, PointFn::Round, PointFn::Trunc];

fn has_no_sign(m: &Match<'_>) -> bool {
    m.is_unsigned("x") || m.ty("x").dtype == DType::U8
}

const BOUNDS: &str = "?a and ?b are constants, and the one that counts is not zero";

/// The constants `?a` and `?b`, neither of them NaN.
fn bounds(m: &Match<'_>) -> Option<(f64, f64)> {
    m.number("a").zip(m.number("b")).filter(|(a, b)| !a.is_nan() && !b.is_nan())
}

fn round_round(egraph: &Egraph, _: Id, node: &Node) -> Plans {
    let whole = egraph[node.children[0]].iter().any(|inner| inner.kind.function().is_some_and(|f| ROUNDS.contains(&f)));
    whole.then(|| Plan::Class(node.children[0])).into_iter().collect()
}

/// Whether `cast(cast(x: from) {to=middle}) {to=to}` is `cast(x) {to=to}` for every element.
///
/// Nothing may be lost in the middle. Then the last cast starts from the same number, but by the rules of another
/// dtype: floats saturate where integers wrap, and integers reach a narrow float by way of `f32` where `f64` rounds once.
fn is_transparent(from: DType, middle: DType, to: DType) -> bool {
    let turned = !from.is_float() && middle.is_float();
    let alike = match to {
        DType::F32 | DType::F64 | DType::Bool => true,
        to if to.is_float() => widens(from, DType::F32),
        to => widens(from, to),
    };
    widens(from, middle) && (!turned || alike)
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
        .filter(|node| node.kind == Kind::CAST && is_transparent(ty(egraph, node.children[0]).dtype, middle, to))
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
