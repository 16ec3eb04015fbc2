//! Activations: point functions written with exponentials, `erf`, `tanh` and clips.

use super::super::Freedom::{Reassociate, Ulp};
use super::super::pattern::Match;
use super::super::{Rule, guarded, pattern};
use crate::types::DType;

/// The argument of `tanh` that every spelling of its gelu leads to.
const GELU_TANH: &str = "(tanh (mul (add ?x (mul (mul ?x (mul ?x ?x)) 0.044715)) 0.7978845608028654))";

pub(super) fn rules() -> Vec<Rule> {
    vec![
        pattern("sigmoid", "(reciprocal (add (exp (neg ?x)) 1))", "(sigmoid ?x)", Ulp),
        guarded(
            "sigmoid-scaled",
            "(reciprocal (add (exp (mul ?x ?c)) 1))",
            "(sigmoid (mul ?x (neg ?c)))",
            Ulp,
            "?c is a constant below zero",
            is_negative,
        ),
        // Where the exponential overflows, the quotient is zero and the product nearly so; the range of `f16` is too small
        // to call it that.
        guarded("sigmoid-quotient", "(div ?a (add (exp (neg ?x)) 1))", "(mul ?a (sigmoid ?x))", Ulp, "not f16", |m| {
            m.root_ty().dtype != DType::F16
        }),
        guarded(
            "sigmoid-quotient-scaled",
            "(div ?a (add (exp (mul ?x ?c)) 1))",
            "(mul ?a (sigmoid (mul ?x (neg ?c))))",
            Ulp,
            "?c is a constant below zero; not f16",
            |m| is_negative(m) && m.root_ty().dtype != DType::F16,
        ),
        pattern("sigmoid-of-exp", "(div (exp ?x) (add (exp ?x) 1))", "(sigmoid ?x)", Reassociate),
        pattern("sigmoid-of-tanh", "(add (mul (tanh (mul ?x 0.5)) 0.5) 0.5)", "(sigmoid ?x)", Reassociate),
        pattern("silu", "(mul ?x (sigmoid ?x))", "(silu ?x)", Ulp),
        pattern("erf-odd", "(erf (neg ?x))", "(neg (erf ?x))", Ulp),
        pattern("erf-odd-scaled", "(erf (mul (neg ?x) ?c))", "(neg (erf (mul ?x ?c)))", Ulp),
        pattern("gelu", "(mul (mul ?x 0.5) (add (erf (mul ?x 0.7071067811865476)) 1))", "(gelu ?x)", Ulp),
        pattern("gelu-halved-last", "(mul (mul ?x (add (erf (mul ?x 0.7071067811865476)) 1)) 0.5)", "(gelu ?x)", Ulp),
        pattern("gelu-halved-inside", "(mul ?x (mul (add (erf (mul ?x 0.7071067811865476)) 1) 0.5))", "(gelu ?x)", Ulp),
        pattern(
            "gelu-tanh",
            "(mul (mul ?x 0.5) (add (tanh (mul (add ?x (mul (mul ?x (mul ?x ?x)) 0.044715)) 0.7978845608028654)) 1))",
            "(gelu_tanh ?x)",
            Ulp,
        ),
        pattern(
            "gelu-tanh-halved-last",
            "(mul (mul ?x (add (tanh (mul (add ?x (mul (mul ?x (mul ?x ?x)) 0.044715)) 0.7978845608028654)) 1)) 0.5)",
            "(gelu_tanh ?x)",
            Ulp,
        ),
        pattern(
            "gelu-tanh-halved-inside",
            "(mul ?x (mul (add (tanh (mul (add ?x (mul (mul ?x (mul ?x ?x)) 0.044715)) 0.7978845608028654)) 1) 0.5))",
            "(gelu_tanh ?x)",
            Ulp,
        ),
        // The sum has terms of one sign, so nothing cancels, and `tanh` is one wherever a product could overflow.
        pattern(
            "gelu-tanh-cube-from-left",
            "(tanh (mul (add ?x (mul (mul (mul ?x 0.044715) ?x) ?x)) 0.7978845608028654))",
            GELU_TANH,
            Ulp,
        ),
        pattern(
            "gelu-tanh-cube-of-square",
            "(tanh (mul (add ?x (mul (mul (mul ?x ?x) 0.044715) ?x)) 0.7978845608028654))",
            GELU_TANH,
            Ulp,
        ),
        pattern(
            "gelu-tanh-factored",
            "(tanh (mul (mul ?x 0.7978845608028654) (add (mul (mul ?x ?x) 0.044715) 1)))",
            GELU_TANH,
            Ulp,
        ),
        pattern(
            "gelu-tanh-factored-from-left",
            "(tanh (mul (mul ?x 0.7978845608028654) (add (mul (mul ?x 0.044715) ?x) 1)))",
            GELU_TANH,
            Ulp,
        ),
        pattern("hard-swish", "(mul (mul ?x (min (relu (add ?x 3)) 6)) 0.16666666666666666)", "(hard_swish ?x)", Ulp),
        pattern(
            "hard-swish-inside",
            "(mul ?x (mul (min (relu (add ?x 3)) 6) 0.16666666666666666))",
            "(hard_swish ?x)",
            Ulp,
        ),
        pattern(
            "hard-swish-sigmoid",
            "(mul ?x (min (relu (add (mul ?x 0.16666666666666666) 0.5)) 1))",
            "(hard_swish ?x)",
            Ulp,
        ),
        // The left side cancels near -3, the right side does not.
        pattern(
            "hard-sigmoid",
            "(min (relu (add (mul ?x 0.16666666666666666) 0.5)) 1)",
            "(mul (min (relu (add ?x 3)) 6) 0.16666666666666666)",
            Reassociate,
        ),
        // Beyond 20 the two differ by 2e-9, which is less than the last place of all but the widest floats.
        guarded("softplus-guarded", "(where (gt ?x 20) ?x (softplus ?x))", "(softplus ?x)", Ulp, "not f64", |m| {
            m.root_ty().dtype != DType::F64
        }),
        // In `f16` the exponential overflows before 20.
        guarded(
            "softplus-threshold",
            "(where (gt ?x 20) ?x (log1p (exp ?x)))",
            "(softplus ?x)",
            Ulp,
            "f32 or bf16",
            |m| matches!(m.root_ty().dtype, DType::F32 | DType::BF16),
        ),
        pattern("softplus-in-range", "(add (relu ?x) (log1p (exp (neg (abs ?x)))))", "(softplus ?x)", Ulp),
        // A logarithm of one and something small has lost the digits of what is small.
        pattern(
            "softplus-in-range-log",
            "(add (relu ?x) (log (add (exp (neg (abs ?x))) 1)))",
            "(softplus ?x)",
            Reassociate,
        ),
        pattern("softplus", "(log1p (exp ?x))", "(softplus ?x)", Reassociate),
        pattern("softplus-log", "(log (add (exp ?x) 1))", "(softplus ?x)", Reassociate),
        pattern("mish", "(mul ?x (tanh (softplus ?x)))", "(mish ?x)", Ulp),
    ]
}

fn is_negative(m: &Match<'_>) -> bool {
    m.number("c").is_some_and(|c| c < 0.0)
}
