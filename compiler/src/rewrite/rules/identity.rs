//! Neutral elements and constants. Where broadcasting would change the type, the union is refused by the driver.

use super::Freedom::{Exact, Reassociate, Ulp, ZeroSign};
use super::{Rule, guarded, pattern};

pub(super) fn rules() -> Vec<Rule> {
    vec![
        pattern("add-negative-zero", "(add ?x -0)", "?x", Exact),
        pattern("add-zero", "(add ?x 0)", "?x", ZeroSign),
        pattern("sub-zero", "(sub ?x 0)", "?x", Exact),
        pattern("mul-one", "(mul ?x 1)", "?x", Exact),
        pattern("div-one", "(div ?x 1)", "?x", Exact),
        pattern("pow-one", "(pow ?x 1)", "?x", Exact),
        pattern("pow-two", "(pow ?x 2)", "(mul ?x ?x)", Exact),
        guarded("pow-three", "(pow ?x 3)", "(mul ?x (mul ?x ?x))", Ulp, "a float", |m| m.root_ty().dtype.is_float()),
        // Powers of minus infinity and of the negative zero are positive where their roots are not.
        guarded("pow-half", "(pow ?x 0.5)", "(sqrt ?x)", Ulp, "floats without a sign", |m| m.is_unsigned("x")),
        guarded("pow-minus-half", "(pow ?x -0.5)", "(rsqrt ?x)", Ulp, "floats without a sign", |m| m.is_unsigned("x")),
        guarded("pow-minus-one", "(pow ?x -1)", "(reciprocal ?x)", Ulp, "a float", |m| m.root_ty().dtype.is_float()),
        pattern("mul-minus-one", "(mul ?x -1)", "(neg ?x)", Exact),
        pattern("mul-two", "(add ?x ?x)", "(mul ?x 2)", Exact),
        guarded(
            "div-power-of-two",
            "(div ?x ?c)",
            "(mul ?x (reciprocal ?c))",
            Exact,
            "?c is a power of two whose reciprocal is normal",
            |m| m.root_ty().dtype.is_float() && m.number("c").is_some_and(is_power_of_two),
        ),
        guarded(
            "div-constant",
            "(div ?x ?c)",
            "(mul ?x (reciprocal ?c))",
            Ulp,
            "?c is a constant neither zero nor subnormal",
            |m| m.root_ty().dtype.is_float() && m.number("c").is_some_and(|c| (1e-4..1e4).contains(&c.abs())),
        ),
        guarded(
            "mul-mul-constants",
            "(mul (mul ?x ?a) ?b)",
            "(mul ?x (mul ?a ?b))",
            Reassociate,
            "?a and ?b are constants",
            |m| m.number("a").is_some() && m.number("b").is_some(),
        ),
        guarded(
            "mul-mul-power-of-two",
            "(mul (mul ?x ?a) ?b)",
            "(mul ?x (mul ?a ?b))",
            Ulp,
            "?a and ?b are constants, one a power of two of moderate size",
            |m| {
                m.root_ty().dtype.is_float()
                    && m.number("a").zip(m.number("b")).is_some_and(|(a, b)| {
                        let (a, b) = (a.abs(), b.abs());
                        (is_power_of_two(a) || is_power_of_two(b))
                            && (1e-4..1e4).contains(&a)
                            && (1e-4..1e4).contains(&b)
                    })
            },
        ),
        guarded(
            "add-add-constants",
            "(add (add ?x ?a) ?b)",
            "(add ?x (add ?a ?b))",
            Reassociate,
            "?a and ?b are constants",
            |m| m.number("a").is_some() && m.number("b").is_some(),
        ),
    ]
}

/// Whether `x` is plus or minus 2^k with |k| <= 14, so that it and its reciprocal are normal in every float dtype.
pub(super) fn is_power_of_two(x: f64) -> bool {
    let mantissa = x.to_bits() & ((1 << 52) - 1);
    mantissa == 0 && (2f64.powi(-14)..=2f64.powi(14)).contains(&x.abs())
}
