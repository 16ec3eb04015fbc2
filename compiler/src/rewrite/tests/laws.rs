//! Every rule on cases where it applies, both sides evaluated, and on cases where its side condition forbids it.

use egg::Id;

use super::super::analysis::{Egraph, op_of};
use super::super::language::Kind;
use super::super::recipe::build;
use super::super::rules::{self, Freedom, Phase};
use super::super::saturate::{Limits, search};
use super::super::{decompose, plan, regions};
use super::*;
use crate::eval::evaluate_op;
use crate::types::DType;

/// Rule and the lines of a graph whose last value is `%r`.
const APPLIES: &[(&str, &str)] = &[
    ("add-negative-zero", "input %x: f32[4, 8]; %r = add %x, -0.0"),
    ("add-zero", "input %x: f32[4, 8]; %r = add %x, 0.0"),
    ("add-zero", "input %x: i32[4, 8]; %r = add %x, 0"),
    ("sub-zero", "input %x: f32[4, 8]; %r = sub %x, 0.0"),
    ("mul-one", "input %x: f32[4, 8]; %r = mul 1.0, %x"),
    ("div-one", "input %x: f32[4, 8]; %r = div %x, 1.0"),
    ("pow-one", "input %x: f32[4, 8]; %r = pow %x, 1.0"),
    ("pow-two", "input %x: f32[4, 8]; %r = pow %x, 2.0"),
    ("pow-two", "input %x: i32[4, 8]; %r = pow %x, 2"),
    ("pow-three", "input %x: f32[4, 8]; %r = pow %x, 3.0"),
    ("pow-half", "input %w: f32[4, 8]; %x = mul %w, %w; %r = pow %x, 0.5"),
    ("pow-minus-half", "input %w: f32[4, 8]; %x = exp %w; %r = pow %x, -0.5"),
    ("pow-minus-one", "input %w: f32[4, 8]; %x = exp %w; %r = pow %x, -1.0"),
    ("mul-minus-one", "input %x: f32[4, 8]; %r = mul %x, -1.0"),
    ("mul-minus-one", "input %x: i64[4, 8]; %r = mul %x, -1"),
    ("mul-two", "input %x: f32[4, 8]; %r = add %x, %x"),
    ("div-power-of-two", "input %x: f32[4, 8]; %r = div %x, 8.0"),
    ("div-power-of-two", "input %x: f16[4, 8]; %r = div %x, -0.25"),
    ("div-constant", "input %x: f32[4, 8]; %r = div %x, 3.0"),
    ("mul-mul-constants", "input %x: f32[4, 8]; %y = mul %x, 3.0; %r = mul %y, 0.7"),
    ("mul-mul-power-of-two", "input %x: f32[4, 8]; %y = mul %x, 0.5; %r = mul %y, 0.7"),
    ("add-add-constants", "input %x: f32[4, 8]; %y = add %x, 0.5; %r = add %y, 0.7"),
    ("neg-neg", "input %x: f32[4, 8]; %y = neg %x; %r = neg %y"),
    ("sub-neg", "input %x: f32[4, 8]; input %y: f32[8]; %n = neg %y; %r = sub %x, %n"),
    ("add-neg", "input %x: f32[4, 8]; input %y: f32[8]; %n = neg %y; %r = add %n, %x"),
    ("mul-neg-neg", "input %x: f32[4, 8]; input %y: f32[8]; %m = neg %x; %n = neg %y; %r = mul %m, %n"),
    ("neg-sub", "input %x: f32[4, 8]; input %y: f32[8]; %s = sub %x, %y; %r = neg %s"),
    ("zero-sub", "input %x: f32[4, 8]; %r = sub 0.0, %x"),
    ("abs-abs", "input %x: f32[4, 8]; %y = abs %x; %r = abs %y"),
    ("abs-neg", "input %x: f32[4, 8]; %y = neg %x; %r = abs %y"),
    ("abs-squared", "input %x: f32[4, 8]; %y = abs %x; %r = mul %y, %y"),
    ("relu-relu", "input %x: f32[4, 8]; %y = relu %x; %r = relu %y"),
    ("max-zero", "input %x: f32[4, 8]; %r = max 0.0, %x"),
    ("max-zero", "input %x: i32[4, 8]; %r = max %x, 0"),
    ("relu-min-max", "input %x: f32[4, 8]; %y = max %x, 0.0; %r = min %y, 6.0"),
    ("relu-max", "input %x: f32[4, 8]; %y = max %x, 0.5; %r = relu %y"),
    ("max-relu", "input %x: f32[4, 8]; %y = relu %x; %r = max %y, -1.0"),
    ("max-same", "input %x: f32[4, 8]; %r = max %x, %x"),
    ("min-same", "input %x: f32[4, 8]; %r = min %x, %x"),
    ("reciprocal", "input %x: f32[4, 8]; %r = div 1.0, %x"),
    ("reciprocal-sqrt", "input %w: f32[4, 8]; %x = exp %w; %y = sqrt %x; %r = reciprocal %y"),
    ("sqrt-reciprocal", "input %w: f32[4, 8]; %x = exp %w; %y = reciprocal %x; %r = sqrt %y"),
    ("div-sqrt", "input %w: f32[4, 8]; %x = exp %w; %y = sqrt %x; %r = div %w, %y"),
    ("mul-reciprocal", "input %w: f32[4, 8]; %x = exp %w; %y = reciprocal %x; %r = mul %y, %w"),
    ("not-not", "input %x: bool[4, 8]; %y = not %x; %r = not %y"),
    ("where-not", "input %c: bool[4, 8]; input %a: f32[8]; input %b: f32[4, 1]; %n = not %c; %r = where %n, %a, %b"),
    ("where-same", "input %c: bool[4, 8]; input %a: f32[4, 8]; %r = where %c, %a, %a"),
    ("where-constant", "input %a: f32[4, 8]; input %b: f32[4, 8]; %r = where true, %a, %b"),
    ("cast-cast", "input %x: f16[4, 8]; %y = cast %x {to=f64}; %r = cast %y {to=f32}"),
    ("cast-cast", "input %x: u8[4, 8]; %y = cast %x {to=i32}; %r = cast %y {to=i8}"),
    ("cast-cast", "input %x: i16[4, 8]; %y = cast %x {to=f64}; %r = cast %y {to=i32}"),
    ("cast-cast", "input %x: i16[4, 8]; %y = cast %x {to=f64}; %r = cast %y {to=bf16}"),
    ("scalar-operand", "input %x: f32[4, 8]; const %c: f32[1, 8] = splat(0.3); %r = mul %x, %c"),
    ("reshape-reshape", "input %x: f32[4, 8]; %y = reshape %x {shape=[32]}; %r = reshape %y {shape=[2, 16]}"),
    ("permute-permute", "input %x: f32[4, 8, 3]; %y = permute %x {axes=[2, 0, 1]}; %r = permute %y {axes=[2, 0, 1]}"),
    ("expand-expand", "input %x: f32[4, 1]; %y = expand %x {shape=[4, 8]}; %r = expand %y {shape=[3, 4, 8]}"),
    (
        "slice-slice",
        "input %x: f32[4, 16]; %y = slice %x {axis=1, start=14, end=1, step=-3}; \
         %r = slice %y {axis=1, start=1, end=4, step=2}",
    ),
    (
        "slice-concat",
        "input %x: f32[4, 3]; input %y: f32[4, 5]; %c = concat %x, %y {axis=1}; \
         %r = slice %c {axis=1, start=7, end=3, step=-2}",
    ),
    (
        "concat-slices",
        "input %x: f32[4, 8]; %a = slice %x {axis=1, start=2, end=5, step=1}; \
         %b = slice %x {axis=1, start=5, end=7, step=1}; %r = concat %a, %b {axis=1}",
    ),
    (
        "concat-concat",
        "input %x: f32[4, 3]; input %y: f32[4, 5]; %c = concat %x, %y {axis=1}; %r = concat %y, %c, %x {axis=1}",
    ),
    ("bitcast-bitcast", "input %x: i32[4, 8]; %y = bitcast %x {to=i8}; %r = bitcast %y {to=i64}"),
    ("contiguous", "input %x: f32[4, 8]; %y = permute %x {axes=[1, 0]}; %r = contiguous %y"),
    ("gather-slice", "input %x: f32[4, 8, 3]; %r = gather %x, i64(-2) {axis=1}"),
    ("broadcast-operand", "input %x: f32[4, 8]; input %y: f32[1, 8]; %e = expand %y {shape=[4, 8]}; %r = sub %x, %e"),
    (
        "broadcast-operand",
        "input %x: f32[2, 4, 8]; input %y: f32[4, 8]; %e = reshape %y {shape=[1, 4, 8]}; %r = sub %x, %e",
    ),
    ("reshape-point", "input %x: f32[4, 8]; %y = reshape %x {shape=[1, 4, 8]}; %r = tanh %y"),
    ("reshape-point", "input %x: f32[6, 8]; input %b: f32[8]; %y = reshape %x {shape=[2, 3, 8]}; %r = sub %y, %b"),
    (
        "reshape-point",
        "input %x: f32[6, 8]; input %b: f32[2, 3, 1]; %y = reshape %x {shape=[2, 3, 8]}; %r = sub %b, %y",
    ),
    (
        "permute-point",
        "input %x: f32[4, 8]; const %w: f32[4] = seeded(normal, std=1.0, seed=3); \
         %y = permute %x {axes=[1, 0]}; %r = sub %y, %w",
    ),
    (
        "permute-point",
        "input %x: f32[4, 8, 2]; input %z: f32[4, 8, 2]; %y = permute %x {axes=[2, 0, 1]}; \
         %v = permute %z {axes=[2, 0, 1]}; %r = div %y, %v",
    ),
    ("reshape-row", "input %x: f32[4, 8]; %y = reshape %x {shape=[2, 2, 8]}; %r = softmax %y {axis=2}"),
    (
        "reshape-row",
        "input %x: f32[4, 8]; %y = reshape %x {shape=[2, 2, 8]}; %r = reduce %y {function=sum, axes=[2], keepdim=true}",
    ),
    (
        "permute-reshape",
        "input %x: f32[4, 6, 8]; %y = reshape %x {shape=[4, 2, 3, 8]}; %r = permute %y {axes=[1, 2, 0, 3]}",
    ),
    (
        "reshape-matmul",
        "input %x: f32[2, 3, 8]; input %w: f32[8, 5]; %y = reshape %x {shape=[6, 8]}; %r = matmul %y, %w",
    ),
    (
        "matmul-repeated",
        "input %x: f32[6, 4, 8]; input %y: f32[2, 1, 8, 5]; %e = expand %y {shape=[2, 3, 8, 5]}; \
         %z = reshape %e {shape=[6, 8, 5]}; %r = matmul %x, %z",
    ),
    ("sigmoid", "input %x: f32[4, 8]; %n = neg %x; %e = exp %n; %a = add 1.0, %e; %r = reciprocal %a"),
    ("silu", "input %x: f32[4, 8]; %s = sigmoid %x; %r = mul %s, %x"),
    ("silu-quotient", "input %x: f32[4, 8]; %n = neg %x; %e = exp %n; %a = add %e, 1.0; %r = div %x, %a"),
    (
        "gelu",
        "input %x: f32[4, 8]; %h = mul %x, 0.5; %d = mul %x, 0.7071067811865476; %e = erf %d; %f = add %e, 1.0; \
         %r = mul %f, %h",
    ),
    (
        "gelu-halved-last",
        "input %x: f32[4, 8]; %d = mul %x, 0.70710677; %e = erf %d; %f = add 1.0, %e; %g = mul %x, %f; %r = mul %g, 0.5",
    ),
    (
        "gelu-halved-inside",
        "input %x: f32[4, 8]; %d = mul %x, 0.70710677; %e = erf %d; %f = add %e, 1.0; %g = mul %f, 0.5; %r = mul %x, %g",
    ),
    (
        "gelu-tanh",
        "input %x: f32[4, 8]; %h = mul %x, 0.5; %s = mul %x, %x; %c = mul %s, %x; %d = mul %c, 0.044715; \
         %e = add %x, %d; %f = mul %e, 0.79788456; %t = tanh %f; %g = add %t, 1.0; %r = mul %h, %g",
    ),
    (
        "gelu-tanh-halved-last",
        "input %x: f32[4, 8]; %s = mul %x, %x; %c = mul %s, %x; %d = mul %c, 0.044715; \
         %e = add %d, %x; %f = mul %e, 0.79788456; %t = tanh %f; %g = add %t, 1.0; %h = mul %x, %g; %r = mul %h, 0.5",
    ),
    (
        "gelu-tanh-halved-inside",
        "input %x: f32[4, 8]; %s = mul %x, %x; %c = mul %x, %s; %d = mul %c, 0.044715; \
         %e = add %d, %x; %f = mul %e, 0.79788456; %t = tanh %f; %g = add %t, 1.0; %h = mul %g, 0.5; %r = mul %h, %x",
    ),
    (
        "gelu-tanh-factored",
        "input %x: f32[4, 8]; %s = mul %x, %x; %d = mul %s, 0.044715; %e = add %d, 1.0; %f = mul %x, 0.79788456; \
         %g = mul %f, %e; %t = tanh %g; %u = add %t, 1.0; %h = mul %x, 0.5; %r = mul %h, %u",
    ),
    (
        "hard-swish",
        "input %x: f32[4, 8]; %a = add %x, 3.0; %b = relu %a; %c = min %b, 6.0; %d = mul %x, %c; %r = mul %d, 0.16666667",
    ),
    (
        "hard-swish-inside",
        "input %x: f32[4, 8]; %a = add %x, 3.0; %b = relu %a; %c = min %b, 6.0; %d = mul %c, 0.16666667; %r = mul %x, %d",
    ),
    (
        "hard-swish-sigmoid",
        "input %x: f32[4, 8]; %a = mul %x, 0.16666667; %b = add %a, 0.5; %c = relu %b; %d = min %c, 1.0; %r = mul %x, %d",
    ),
    ("mish", "input %x: f32[4, 8]; %s = softplus %x; %t = tanh %s; %r = mul %t, %x"),
    ("mean-of-sum", "input %x: f32[4, 8]; %s = reduce %x {function=sum, axes=[1], keepdim=true}; %r = mul %s, 0.125"),
    (
        "softmax",
        "input %x: f32[4, 8]; %m = reduce %x {function=amax, axes=[1], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %r = div %e, %s",
    ),
    (
        "log-softmax",
        "input %x: f32[4, 8]; %m = reduce %x {function=amax, axes=[1], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %l = log %s; %r = sub %d, %l",
    ),
    ("log-of-softmax", "input %x: f32[4, 8]; %s = softmax %x {axis=0}; %r = log %s"),
    (
        "layer-norm",
        "input %x: f32[4, 8]; %m = reduce %x {function=mean, axes=[1], keepdim=true}; %d = sub %x, %m; %q = mul %d, %d; \
         %v = reduce %q {function=mean, axes=[1], keepdim=true}; %e = add %v, 1e-5; %s = rsqrt %e; %r = mul %s, %d",
    ),
    (
        "rms-norm",
        "input %x: f32[4, 8]; %q = mul %x, %x; %v = reduce %q {function=mean, axes=[1], keepdim=true}; \
         %e = add %v, 1e-6; %s = rsqrt %e; %r = mul %x, %s",
    ),
    (
        "matmul-scale-left",
        "input %x: f32[4, 8]; const %y: f32[8, 5] = seeded(normal, std=1.0, seed=1); %c = mul %x, 0.3; %r = matmul %c, %y",
    ),
    (
        "matmul-scale-right",
        "const %x: f32[4, 8] = seeded(normal, std=1.0, seed=1); input %y: f32[8, 5]; %c = mul %y, 0.3; %r = matmul %x, %c",
    ),
    ("matmul-scale-left-late", "input %x: f32[4, 8]; input %y: f32[8, 5]; %c = mul %x, 0.3; %r = matmul %c, %y"),
    ("matmul-scale-right-late", "input %x: f32[4, 8]; input %y: f32[8, 5]; %c = mul %y, 0.3; %r = matmul %x, %c"),
    ("scale-scale", "input %x: f32[4, 8]; input %y: f32[8, 5]; %m = matmul %x, %y; %a = mul %m, 0.3; %r = mul %a, 0.7"),
    (
        "scale-bias",
        "input %x: f32[4, 8]; input %y: f32[8, 5]; const %b: f32[5] = seeded(normal, std=1.0, seed=1); \
         const %s: f32[5] = seeded(normal, std=1.0, seed=2); %m = matmul %x, %y; %a = add %m, %b; %r = mul %a, %s",
    ),
    (
        "bias-bias",
        "input %x: f32[4, 8]; input %y: f32[8, 5]; const %b: f32[5] = seeded(normal, std=1.0, seed=1); \
         const %s: f32[5] = seeded(normal, std=1.0, seed=2); %m = matmul %x, %y; %a = add %m, %b; %r = add %a, %s",
    ),
    (
        "contraction-scale",
        "input %x: f32[4, 8]; const %w: f32[8, 5] = seeded(normal, std=1.0, seed=1); \
         const %s: f32[5] = seeded(normal, std=1.0, seed=2); %m = matmul %x, %w; %r = mul %m, %s",
    ),
    (
        "contraction-scale",
        "input %x: f32[1, 4, 5, 5]; const %w: f32[6, 2, 3, 3] = seeded(normal, std=1.0, seed=1); \
         const %s: f32[1, 6, 1, 1] = seeded(normal, std=1.0, seed=2); \
         %m = conv %x, %w {strides=[1, 1], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1], groups=2}; \
         %r = mul %m, %s",
    ),
    (
        "contraction-scale",
        "input %x: f32[1, 4, 3, 3]; const %w: f32[4, 6, 2, 2] = seeded(normal, std=1.0, seed=1); \
         const %s: f32[6, 1, 1] = seeded(normal, std=1.0, seed=2); \
         %m = conv_transpose %x, %w {strides=[2, 2], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1], \
         output_padding=[0, 0], groups=1}; %r = mul %m, %s",
    ),
    (
        "conv-pad",
        "input %x: f32[1, 2, 5, 5]; const %w: f32[3, 2, 3, 3] = seeded(normal, std=1.0, seed=1); %p = pad %x, 0.0 {before=[0, 0, 1, 2], after=[0, 0, 0, 1]}; \
         %r = conv %p, %w {strides=[1, 1], pads_begin=[0, 1], pads_end=[0, 0], dilations=[1, 1], groups=1}",
    ),
];

/// Rule and a case its side condition forbids.
const FORBIDDEN: &[(&str, &str)] = &[
    ("abs-neg", "input %x: u8[4, 8]; %y = neg %x; %r = abs %y"),
    ("add-negative-zero", "input %x: f32[4, 8]; %r = add %x, 0.0"),
    ("div-power-of-two", "input %x: f32[4, 8]; %r = div %x, 3.0"),
    ("div-power-of-two", "input %x: f32[4, 8]; %r = div %x, 1e-30"),
    ("div-power-of-two", "input %x: i32[4, 8]; %r = div %x, 2"),
    ("div-constant", "input %x: f32[4, 8]; %r = div %x, 0.0"),
    ("pow-three", "input %x: i32[4, 8]; %r = pow %x, 3"),
    ("pow-half", "input %x: f32[4, 8]; %r = pow %x, 0.5"),
    ("pow-half", "input %x: f32[4, 8]; %y = relu %x; %r = pow %y, 0.5"),
    ("pow-minus-half", "input %x: f32[4, 8]; %y = mul %x, 2.0; %r = pow %y, -0.5"),
    ("relu-max", "input %x: f32[4, 8]; %y = max %x, -1.0; %r = relu %y"),
    ("max-relu", "input %x: f32[4, 8]; %y = relu %x; %r = max %y, 1.0"),
    ("not-not", "input %x: u8[4, 8]; %y = not %x; %r = not %y"),
    ("cast-cast", "input %x: f32[4, 8]; %y = cast %x {to=i32}; %r = cast %y {to=f32}"),
    ("cast-cast", "input %x: i64[4, 8]; %y = cast %x {to=f32}; %r = cast %y {to=i64}"),
    ("cast-cast", "input %x: i16[4, 8]; %y = cast %x {to=f32}; %r = cast %y {to=i8}"),
    ("cast-cast", "input %x: i32[4, 8]; %y = cast %x {to=f64}; %r = cast %y {to=f16}"),
    ("abs-neg", "input %x: u8[4, 8]; %y = neg %x; %r = abs %y"),
    ("matmul-scale-left", "input %x: f32[4, 8]; input %y: f32[8, 5]; %c = mul %x, 0.3; %r = matmul %c, %y"),
    ("matmul-scale-right", "input %x: f32[4, 8]; input %y: f32[8, 5]; %c = mul %y, 0.3; %r = matmul %x, %c"),
    (
        "scale-scale",
        "input %x: f32[4, 8]; input %y: f32[8, 5]; %m = matmul %x, %y; %a = mul %m, 1e30; %r = mul %a, 1e-30",
    ),
    (
        "mean-of-sum",
        "input %x: f64[4, 3]; %s = reduce %x {function=sum, axes=[1], keepdim=true}; %r = mul %s, 0.3333333",
    ),
    (
        "gelu",
        "input %x: f64[4, 8]; %u = mul %x, 0.7071069; %f = erf %u; %g = add %f, 1.0; %h = mul %x, 0.5; %r = mul %h, %g",
    ),
    (
        "slice-slice",
        "input %x: f32[4, 16]; %y = slice %x {axis=0, start=0, end=2, step=1}; %r = slice %y {axis=1, start=1, end=4, step=2}",
    ),
    (
        "slice-concat",
        "input %x: f32[4, 3]; input %y: f32[4, 5]; %c = concat %x, %y {axis=1}; %r = slice %c {axis=1, start=2, end=4, step=1}",
    ),
    (
        "concat-slices",
        "input %x: f32[4, 8]; %a = slice %x {axis=1, start=2, end=5, step=1}; \
         %b = slice %x {axis=1, start=6, end=7, step=1}; %r = concat %a, %b {axis=1}",
    ),
    ("gather-slice", "input %x: f32[4, 8]; input %i: i64[]; %r = gather %x, %i {axis=1}"),
    ("reshape-point", "input %x: f32[6, 8]; input %b: f32[3, 1]; %y = reshape %x {shape=[2, 3, 8]}; %r = sub %b, %y"),
    ("permute-point", "input %x: f32[4, 8]; input %z: f32[8, 4]; %y = permute %x {axes=[1, 0]}; %r = sub %y, %z"),
    ("reshape-row", "input %x: f32[4, 8]; %y = reshape %x {shape=[8, 4]}; %r = softmax %y {axis=1}"),
    ("reshape-row", "input %x: f32[4, 8]; %y = reshape %x {shape=[2, 2, 8]}; %r = softmax %y {axis=1}"),
    (
        "permute-reshape",
        "input %x: f32[4, 6, 8]; %y = reshape %x {shape=[4, 2, 3, 8]}; %r = permute %y {axes=[1, 0, 2, 3]}",
    ),
    (
        "reshape-matmul",
        "input %x: f32[3, 2, 8]; input %w: f32[16, 5]; %y = reshape %x {shape=[3, 16]}; %r = matmul %y, %w",
    ),
    ("mean-of-sum", "input %x: f32[4, 8]; %s = reduce %x {function=sum, axes=[1], keepdim=true}; %r = mul %s, 0.25"),
    (
        "layer-norm",
        "input %x: f32[4, 8]; input %e: f32[]; %m = reduce %x {function=mean, axes=[1], keepdim=true}; %d = sub %x, %m; \
         %q = mul %d, %d; %v = reduce %q {function=mean, axes=[1], keepdim=true}; %f = add %v, %e; %s = rsqrt %f; \
         %r = mul %s, %d",
    ),
    (
        "softmax",
        "input %x: f32[8, 8]; %m = reduce %x {function=amax, axes=[0], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %r = div %e, %s",
    ),
    (
        "contraction-scale",
        "input %x: f32[4, 8]; const %w: f32[8, 5] = seeded(normal, std=1.0, seed=1); input %s: f32[5]; \
         %m = matmul %x, %w; %r = mul %m, %s",
    ),
    (
        "contraction-scale",
        "input %x: f32[4, 8]; const %w: f32[8, 4] = seeded(normal, std=1.0, seed=1); \
         const %s: f32[4, 1] = seeded(normal, std=1.0, seed=2); %m = matmul %x, %w; %r = mul %m, %s",
    ),
    (
        "conv-pad",
        "input %x: f32[1, 2, 5, 5]; input %w: f32[3, 2, 3, 3]; %p = pad %x, 0.0 {before=[0, 0, 1, 2], after=[0, 0, 0, 1]}; \
         %r = conv %p, %w {strides=[1, 1], pads_begin=[0, 1], pads_end=[0, 0], dilations=[1, 1], groups=1}",
    ),
    (
        "conv-pad",
        "input %x: f32[1, 2, 5, 5]; const %w: f32[3, 2, 3, 3] = seeded(normal, std=1.0, seed=1); %p = pad %x, 1.0 {before=[0, 0, 1, 2], after=[0, 0, 0, 1]}; \
         %r = conv %p, %w {strides=[1, 1], pads_begin=[0, 1], pads_end=[0, 0], dilations=[1, 1], groups=1}",
    ),
];

fn text(lines: &str) -> String {
    let lines: Vec<&str> = lines.split(';').map(str::trim).collect();
    format!("graph law {{\n {}\n return %r\n}}\n", lines.join("\n "))
}

/// Elements that rules like to forget, then ordinary ones.
fn elements(ty: &TensorType, position: usize, special: bool) -> Tensor {
    let mut bytes = seeded::draw(Distribution::Normal { mean: 0.2, std: 1.5 }, 7 + position as u64, ty.dtype, ty.len());
    if special && ty.dtype.is_float() {
        let rare = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40, -1e-40, 3e38, -3e38, 1.0, -1.0];
        let size = ty.dtype.size();
        for (at, element) in bytes.chunks_exact_mut(size).enumerate().step_by(2) {
            let value = rare[(at / 2 * 3 + position * 5) % rare.len()];
            element.copy_from_slice(&situ_runtime::scalar::encode_float(ty.dtype, value).to_le_bytes()[..size]);
        }
    }
    if special && !ty.dtype.is_float() && ty.dtype != DType::Bool {
        let rare = [0, 1, -1, 2, i64::MAX, i64::MIN, 127, 128, 255, 300, -129, 40_000, 1 << 31, (1 << 53) + 1];
        let size = ty.dtype.size();
        for (at, element) in bytes.chunks_exact_mut(size).enumerate().step_by(2) {
            let value = rare[(at / 2 * 3 + position * 5) % rare.len()];
            element.copy_from_slice(&situ_runtime::scalar::encode_int(ty.dtype, value).to_le_bytes()[..size]);
        }
    }
    if ty.dtype == DType::Bool {
        bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 3 == position % 3) as u8);
    }
    Tensor::new(ty.clone(), bytes)
}

/// The value of an e-node by the op it was made as.
fn value(egraph: &Egraph, id: Id, leaves: &[Tensor]) -> Tensor {
    let node = &egraph.nodes()[usize::from(id)];
    match node.kind {
        Kind::LEAF => leaves[node.attr as usize].clone(),
        Kind::CONST => {
            let (bits, dtype) = egraph.analysis.words.constant(node.attr).expect("a literal has bits");
            Tensor::new(TensorType::scalar(dtype), bits.to_le_bytes()[..dtype.size()].to_vec())
        }
        _ => {
            let operands: Vec<Tensor> = node.children.iter().map(|&child| value(egraph, child, leaves)).collect();
            let op = op_of(egraph, node).expect("an op of the graph");
            evaluate_op(&op, &operands).expect("an op evaluates").remove(0)
        }
    }
}

/// Applies one rule once to a case; for each application both sides, evaluated.
fn applications(name: &str, lines: &str) -> Vec<(Tensor, Tensor)> {
    let number = rules::all().iter().position(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule {name}"));
    let rule = &rules::all()[number];
    let source = graph(&text(lines));
    let plain = decompose::decompose(&source, &RewriteOptions::default()).expect("decomposition");
    let (distinct, pieces) = regions::partition(&plain);
    assert_eq!(distinct.len(), 1, "a case is one region");
    let special = rule.freedom == Freedom::Exact || rule.freedom == Freedom::ZeroSign;
    let [regions::Piece::Region(instance)] = &pieces[..] else { panic!("a case is one region") };
    let leaves: Vec<Tensor> = instance
        .leaves
        .iter()
        .enumerate()
        .map(|(position, &leaf)| match plain.constant_of(leaf) {
            Some(constant) => Tensor::new(constant.ty.clone(), constant.bytes().into_owned()),
            None => elements(plain.ty(leaf), position, special),
        })
        .collect();
    let mut egraph = build(&distinct[0]).expect("an e-graph").egraph;
    egraph.rebuild();
    let admitted: Vec<bool> = (0..rules::all().len()).map(|at| at == number).collect();
    let limits = Limits { nodes: 10_000, iterations: 1 };
    let found = search(&egraph, rule.phase, &admitted, &limits).expect("a small case");
    let mut pairs = Vec::new();
    for (_, root, plan) in found {
        let Some(result) = plan::instantiate(&mut egraph, &plan) else { continue };
        if egraph[root].data.types == egraph[result].data.types {
            pairs.push((value(&egraph, root, &leaves), value(&egraph, result, &leaves)));
        }
    }
    pairs
}

fn agree(freedom: Freedom, left: &Tensor, right: &Tensor) -> bool {
    let float = left.ty.dtype.is_float();
    let bits = (0..left.ty.len()).all(|at| {
        let (a, b) = (left.bits(at), right.bits(at));
        let nan = |bits: u64| float && situ_runtime::scalar::decode_float(left.ty.dtype, bits).is_nan();
        a == b || nan(a) && nan(b)
    });
    match freedom {
        Freedom::Exact => bits,
        Freedom::ZeroSign => distance(left, right) == 0.0,
        Freedom::Ulp | Freedom::Fold | Freedom::Reassociate => distance(left, right) < 1e-5,
    }
}

#[test]
fn both_sides_of_every_rule_agree() {
    let mut wrong = Vec::new();
    for (name, lines) in APPLIES {
        let pairs = applications(name, lines);
        if pairs.is_empty() {
            wrong.push(format!("{name} does not apply to {lines}"));
        }
        let rule = rules::all().iter().find(|rule| rule.name == *name).expect("checked before");
        for (left, right) in pairs {
            if !agree(rule.freedom, &left, &right) {
                wrong.push(format!("{name}: {:?} became {:?}", left.floats(), right.floats()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn side_conditions_forbid() {
    for (name, lines) in FORBIDDEN {
        assert!(applications(name, lines).is_empty(), "{name} applies to {lines}");
    }
}

#[test]
fn every_rule_has_a_case_and_a_name_of_its_own() {
    let mut names = std::collections::BTreeSet::new();
    for rule in rules::all() {
        assert!(names.insert(rule.name), "{} stands twice", rule.name);
        if rule.phase == Phase::Algebra {
            assert!(APPLIES.iter().any(|(name, _)| *name == rule.name), "{} has no case", rule.name);
        }
    }
}
