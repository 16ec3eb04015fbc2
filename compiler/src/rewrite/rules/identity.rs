//! Neutral elements, signs and constants. Where broadcasting would change the type, the union is refused by the driver.

use super::Freedom::{Exact, Finite, Reassociate, Ulp, ZeroSign};
use super::pattern::{Match, filled};
use super::{Rule, built, guarded, pattern};
use crate::ops::PointFn;
use crate::rewrite::language::Kind;
use crate::types::DType;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        pattern("add-negative-zero", "(add ?x -0)", "?x", Exact),
        pattern("add-zero", "(add ?x 0)", "?x", ZeroSign),
        pattern("sub-zero", "(sub ?x 0)", "?x", Exact),
        pattern("mul-one", "(mul ?x 1)", "?x", Exact),
        pattern("div-one", "(div ?x 1)", "?x", Exact),
        built("pow-zero", "(pow ?x 0)", "1", Exact, "", |m| Some(filled(m.root_ty(), 1.0))),
        pattern("pow-one", "(pow ?x 1)", "?x", Exact),
        pattern("pow-two", "(pow ?x 2)", "(mul ?x ?x)", Exact),
        guarded("pow-three", "(pow ?x 3)", "(mul ?x (mul ?x ?x))", Ulp, "a float", |m| m.is_float()),
        // Powers of minus infinity and of the negative zero are positive where their roots are not.
        guarded("pow-half", "(pow ?x 0.5)", "(sqrt ?x)", Ulp, "floats without a sign", |m| m.is_unsigned("x")),
        guarded("pow-minus-half", "(pow ?x -0.5)", "(rsqrt ?x)", Ulp, "floats without a sign", |m| m.is_unsigned("x")),
        guarded("pow-minus-one", "(pow ?x -1)", "(reciprocal ?x)", Ulp, "a float", |m| m.is_float()),
        pattern("mul-minus-one", "(mul ?x -1)", "(neg ?x)", Exact),
        pattern("mul-two", "(add ?x ?x)", "(mul ?x 2)", Exact),
        built("mul-zero", "(mul ?x 0)", "0", Finite, "a float", |m| m.is_float().then(|| filled(m.root_ty(), 0.0))),
        built("sub-same", "(sub ?x ?x)", "0", Finite, "a float", |m| m.is_float().then(|| filled(m.root_ty(), 0.0))),
        built("div-same", "(div ?x ?x)", "1", Finite, "a float, taken not to be zero", |m| {
            m.is_float().then(|| filled(m.root_ty(), 1.0))
        }),
        // The constants of two sums meet.
        guarded(
            "sub-constant",
            "(sub ?x ?c)",
            "(add ?x (neg ?c))",
            Exact,
            "?c is one known number and ?x a sum or a difference",
            |m| {
                let sums = [PointFn::Add, PointFn::Sub].map(Kind::point);
                is_literal(m) && m.egraph[m.id("x")].iter().any(|node| sums.contains(&node.kind))
            },
        ),
        guarded(
            "mul-neg-constant",
            "(mul (neg ?x) ?c)",
            "(mul ?x (neg ?c))",
            Exact,
            "?c is one known number",
            is_literal,
        ),
        guarded(
            "neg-mul-constant",
            "(neg (mul ?x ?c))",
            "(mul ?x (neg ?c))",
            Exact,
            "?c is one known number",
            is_literal,
        ),
        guarded("div-neg-constant", "(div (neg ?x) ?c)", "(div ?x (neg ?c))", Exact, "?c is one known float", |m| {
            m.is_float() && is_literal(m)
        }),
        guarded("neg-div-constant", "(neg (div ?x ?c))", "(div ?x (neg ?c))", Exact, "?c is one known float", |m| {
            m.is_float() && is_literal(m)
        }),
        guarded(
            "div-power-of-two",
            "(div ?x ?c)",
            "(mul ?x (reciprocal ?c))",
            Exact,
            "?c is a power of two whose reciprocal is normal",
            |m| m.is_float() && m.number("c").is_some_and(is_power_of_two),
        ),
        guarded(
            "div-constant",
            "(div ?x ?c)",
            "(mul ?x (reciprocal ?c))",
            Ulp,
            "?c is a constant of moderate size",
            |m| m.is_float() && m.number("c").is_some_and(|c| is_moderate(m.root_ty().dtype, c)),
        ),
        guarded(
            "mul-mul-constants",
            "(mul (mul ?x ?a) ?b)",
            "(mul ?x (mul ?a ?b))",
            Reassociate,
            "floats; ?a and ?b are constants",
            |m| m.is_float() && m.number("a").is_some() && m.number("b").is_some(),
        ),
        guarded(
            "mul-mul-power-of-two",
            "(mul (mul ?x ?a) ?b)",
            "(mul ?x (mul ?a ?b))",
            Ulp,
            "?a and ?b are constants of moderate size, one a power of two",
            |m| {
                let dtype = m.root_ty().dtype;
                m.is_float()
                    && m.number("a").zip(m.number("b")).is_some_and(|(a, b)| {
                        (is_power_of_two(a) || is_power_of_two(b)) && is_moderate(dtype, a) && is_moderate(dtype, b)
                    })
            },
        ),
        guarded(
            "add-add-constants",
            "(add (add ?x ?a) ?b)",
            "(add ?x (add ?a ?b))",
            Reassociate,
            "floats; ?a and ?b are constants",
            |m| m.is_float() && m.number("a").is_some() && m.number("b").is_some(),
        ),
        guarded(
            "add-sub-constants",
            "(add (sub ?x ?a) ?b)",
            "(add ?x (sub ?b ?a))",
            Reassociate,
            "floats; ?a and ?b are constants",
            |m| m.is_float() && m.number("a").is_some() && m.number("b").is_some(),
        ),
    ]
}

/// Whether `?c` is one number, so that what is made of it is one as well.
fn is_literal(m: &Match<'_>) -> bool {
    m.number("c").is_some() && m.ty("c").rank() == 0
}

/// Whether `x` is plus or minus 2^k with |k| <= 14, so that it and its reciprocal are normal in every float dtype.
pub(super) fn is_power_of_two(x: f64) -> bool {
    let mantissa = x.to_bits() & ((1 << 52) - 1);
    mantissa == 0 && (2f64.powi(-14)..=2f64.powi(14)).contains(&x.abs())
}

/// Whether two such factors together keep what is normal normal and what is finite finite, but for the ends of a dtype's
/// range.
fn is_moderate(dtype: DType, x: f64) -> bool {
    let most = if dtype == DType::F16 { 6 } else { 14 };
    (2f64.powi(-most)..=2f64.powi(most)).contains(&x.abs())
}
