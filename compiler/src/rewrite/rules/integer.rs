//! Integers and `bool`, where sums and products wrap and therefore have no order, and functions of bits.

use super::Freedom::Exact;
use super::pattern::{Match, filled};
use super::{Rule, built, guarded, pattern};
use crate::types::DType;

pub(super) fn rules() -> Vec<Rule> {
    vec![
        built("mul-zero-integer", "(mul ?x 0)", "0", Exact, "an integer", |m| {
            m.is_integer().then(|| filled(m.root_ty(), 0.0))
        }),
        // Not so for `?x / ?x`: an integer over zero is zero.
        built("sub-same-integer", "(sub ?x ?x)", "0", Exact, "an integer", |m| {
            m.is_integer().then(|| filled(m.root_ty(), 0.0))
        }),
        guarded("sub-added", "(sub (add ?x ?y) ?y)", "?x", Exact, "integers", |m| m.is_integer()),
        guarded("add-subtracted", "(add (sub ?x ?y) ?y)", "?x", Exact, "integers", |m| m.is_integer()),
        guarded(
            "add-add-integer",
            "(add (add ?x ?a) ?b)",
            "(add ?x (add ?a ?b))",
            Exact,
            "integers; ?a and ?b are weights, ?x is none",
            meets_weights,
        ),
        guarded(
            "add-sub-integer",
            "(add (sub ?x ?a) ?b)",
            "(add ?x (sub ?b ?a))",
            Exact,
            "integers; ?a and ?b are weights, ?x is none",
            meets_weights,
        ),
        guarded(
            "mul-mul-integer",
            "(mul (mul ?x ?a) ?b)",
            "(mul ?x (mul ?a ?b))",
            Exact,
            "integers; ?a and ?b are weights, ?x is none",
            meets_weights,
        ),
        guarded("div-minus-one", "(div ?x -1)", "(neg ?x)", Exact, "signed integers", |m| {
            m.is_integer() && m.root_ty().dtype != DType::U8
        }),
        pattern("shl-zero", "(shl ?x 0)", "?x", Exact),
        pattern("shr-zero", "(shr ?x 0)", "?x", Exact),
        guarded("shl-shl", "(shl (shl ?x ?a) ?b)", "(shl ?x (add ?a ?b))", Exact, SHIFTS, shifts),
        guarded("shr-shr", "(shr (shr ?x ?a) ?b)", "(shr ?x (add ?a ?b))", Exact, SHIFTS, shifts),
        pattern("and-same", "(and ?x ?x)", "?x", Exact),
        pattern("or-same", "(or ?x ?x)", "?x", Exact),
        built("xor-same", "(xor ?x ?x)", "0", Exact, "", |m| Some(filled(m.root_ty(), 0.0))),
        pattern("and-ones", "(and ?x -1)", "?x", Exact),
        built("and-zero", "(and ?x 0)", "0", Exact, "", |m| Some(filled(m.root_ty(), 0.0))),
        pattern("or-zero", "(or ?x 0)", "?x", Exact),
        built("or-ones", "(or ?x -1)", "-1", Exact, "", |m| Some(filled(m.root_ty(), -1.0))),
        pattern("xor-zero", "(xor ?x 0)", "?x", Exact),
        pattern("xor-ones", "(xor ?x -1)", "(not ?x)", Exact),
        pattern("not-not", "(not (not ?x))", "?x", Exact),
    ]
}

fn meets_weights(m: &Match<'_>) -> bool {
    m.is_integer() && m.is_weight("a") && m.is_weight("b") && !m.is_weight("x")
}

const SHIFTS: &str = "?a and ?b are known, not negative and less than the width";

/// Two such amounts add up without wrapping, even in eight bits.
fn shifts(m: &Match<'_>) -> bool {
    let width = 8 * m.root_ty().dtype.size() as i64;
    ["a", "b"].iter().all(|name| m.integer(name).is_some_and(|amount| (0..width).contains(&amount)))
}
