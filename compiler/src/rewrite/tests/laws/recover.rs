//! Cases of the rules in `rules/recover`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
    ("sigmoid", "input %x: f32[4, 8]; %n = neg %x; %e = exp %n; %a = add 1.0, %e; %r = reciprocal %a"),
    ("sigmoid-scaled", "input %x: f32[4, 8]; %n = mul %x, -1.702; %e = exp %n; %a = add %e, 1.0; %r = reciprocal %a"),
    (
        "sigmoid-quotient",
        "input %x: f32[4, 8]; input %y: f32[4, 8]; %n = neg %x; %e = exp %n; %a = add %e, 1.0; %r = div %y, %a",
    ),
    (
        "sigmoid-quotient-scaled",
        "input %x: f32[4, 8]; %n = mul -1.702, %x; %e = exp %n; %a = add %e, 1.0; %r = div %x, %a",
    ),
    ("sigmoid-of-exp", "input %x: f32[4, 8]; %e = exp %x; %a = add %e, 1.0; %r = div %e, %a"),
    ("sigmoid-of-tanh", "input %x: f32[4, 8]; %h = mul %x, 0.5; %t = tanh %h; %s = mul %t, 0.5; %r = add %s, 0.5"),
    ("silu", "input %x: f32[4, 8]; %s = sigmoid %x; %r = mul %s, %x"),
    ("erf-odd", "input %x: f32[4, 8]; %n = neg %x; %r = erf %n"),
    ("erf-odd-scaled", "input %x: f32[4, 8]; %n = neg %x; %m = mul %n, 0.70710677; %r = erf %m"),
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
        "gelu-tanh-cube-from-left",
        "input %x: f32[4, 8]; %a = mul 0.044715, %x; %s = mul %a, %x; %c = mul %s, %x; %e = add %x, %c; \
         %f = mul %e, 0.79788456; %r = tanh %f",
    ),
    (
        "gelu-tanh-cube-of-square",
        "input %x: f32[4, 8]; %a = mul %x, %x; %s = mul %a, 0.044715; %c = mul %x, %s; %e = add %c, %x; \
         %f = mul 0.79788456, %e; %r = tanh %f",
    ),
    (
        "gelu-tanh-factored",
        "input %x: f32[4, 8]; %s = mul %x, %x; %d = mul %s, 0.044715; %e = add %d, 1.0; %f = mul %x, 0.79788456; \
         %g = mul %f, %e; %r = tanh %g",
    ),
    (
        "gelu-tanh-factored-from-left",
        "input %x: f32[4, 8]; %s = mul %x, 0.044715; %d = mul %s, %x; %e = add 1.0, %d; %f = mul %x, 0.79788456; \
         %g = mul %e, %f; %r = tanh %g",
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
    ("hard-sigmoid", "input %x: f32[4, 8]; %a = mul %x, 0.16666667; %b = add %a, 0.5; %c = relu %b; %r = min %c, 1.0"),
    (
        "softplus-guarded",
        "input %x: f32[4, 8]; %y = mul %x, 20.0; %c = gt %y, 20.0; %s = softplus %y; %r = where %c, %y, %s",
    ),
    (
        "softplus-threshold",
        "input %x: f32[4, 8]; %y = mul %x, 20.0; %c = gt %y, 20.0; %e = exp %y; %s = log1p %e; %r = where %c, %y, %s",
    ),
    (
        "softplus-in-range",
        "input %x: f32[4, 8]; %a = abs %x; %n = neg %a; %e = exp %n; %l = log1p %e; %m = relu %x; %r = add %m, %l",
    ),
    (
        "softplus-in-range-log",
        "input %x: f32[4, 8]; %a = abs %x; %n = neg %a; %e = exp %n; %o = add %e, 1.0; %l = log %o; %m = relu %x; \
         %r = add %l, %m",
    ),
    ("softplus", "input %x: f32[4, 8]; %e = exp %x; %r = log1p %e"),
    ("softplus-log", "input %x: f32[4, 8]; %e = exp %x; %o = add 1.0, %e; %r = log %o"),
    ("mish", "input %x: f32[4, 8]; %s = softplus %x; %t = tanh %s; %r = mul %t, %x"),
    ("mean-of-sum", "input %x: f32[4, 8]; %s = reduce %x {function=sum, axes=[1], keepdim=true}; %r = mul %s, 0.125"),
    (
        "mean-of-sum",
        "input %x: f32[3, 4, 8]; %s = reduce %x {function=sum, axes=[0, 2], keepdim=true}; %r = mul 0.041666668, %s",
    ),
    (
        "softmax",
        "input %x: f32[4, 8]; %m = reduce %x {function=amax, axes=[1], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %r = div %e, %s",
    ),
    (
        "softmax",
        "input %x: f32[2, 4, 3]; %m = reduce %x {function=amax, axes=[1], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %r = div %e, %s",
    ),
    (
        "softmax-without-maximum",
        "input %x: f32[4, 8]; %e = exp %x; %s = reduce %e {function=sum, axes=[0], keepdim=true}; %r = div %e, %s",
    ),
    ("exp-of-log-softmax", "input %x: f32[4, 8]; %s = log_softmax %x {axis=0}; %r = exp %s"),
    (
        "log-softmax",
        "input %x: f32[4, 8]; %m = reduce %x {function=amax, axes=[1], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %l = log %s; %r = sub %d, %l",
    ),
    (
        "log-softmax-of-sum",
        "input %x: f32[4, 8]; %m = reduce %x {function=amax, axes=[0], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[0], keepdim=true}; %l = log %s; %a = add %l, %m; %r = sub %x, %a",
    ),
    (
        "log-softmax-of-sum",
        "input %x: f32[4, 8]; %m = reduce %x {function=amax, axes=[1], keepdim=true}; %i = is_inf %m; \
         %w = where %i, 0.0, %m; %d = sub %x, %w; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %l = log %s; %a = add %w, %l; %r = sub %x, %a",
    ),
    (
        "log-softmax-without-maximum",
        "input %x: f32[4, 8]; %e = exp %x; %s = reduce %e {function=sum, axes=[1], keepdim=true}; %l = log %s; \
         %r = sub %x, %l",
    ),
    ("log-of-softmax", "input %x: f32[4, 8]; %s = softmax %x {axis=0}; %r = log %s"),
    ("softmax-permuted", "input %x: f32[2, 4, 3]; %p = permute %x {axes=[2, 0, 1]}; %r = softmax %p {axis=1}"),
    ("softmax-permuted", "input %x: f32[2, 4, 3]; %p = permute %x {axes=[0, 2, 1]}; %r = log_softmax %p {axis=2}"),
    (
        "layer-norm",
        "input %x: f32[4, 8]; %m = reduce %x {function=mean, axes=[1], keepdim=true}; %d = sub %x, %m; %q = mul %d, %d; \
         %v = reduce %q {function=mean, axes=[1], keepdim=true}; %e = add %v, 1e-5; %s = rsqrt %e; %r = mul %s, %d",
    ),
    (
        "layer-norm",
        "input %x: f32[2, 3, 4]; %m = reduce %x {function=mean, axes=[1, 2], keepdim=true}; %d = sub %x, %m; \
         %q = mul %d, %d; %v = reduce %q {function=mean, axes=[1, 2], keepdim=true}; %e = add 1e-5, %v; %s = rsqrt %e; \
         %r = mul %d, %s",
    ),
    (
        "rms-norm",
        "input %x: f32[4, 8]; %q = mul %x, %x; %v = reduce %q {function=mean, axes=[1], keepdim=true}; \
         %e = add %v, 1e-6; %s = rsqrt %e; %r = mul %x, %s",
    ),
    (
        "norm-scaled-root",
        "input %x: f32[4, 8]; input %w: f32[8]; %q = mul %x, %x; \
         %v = reduce %q {function=mean, axes=[1], keepdim=true}; %e = add %v, 1e-6; %s = rsqrt %e; %t = mul %s, %w; \
         %r = mul %x, %t",
    ),
    (
        "norm-scaled-first",
        "input %x: f32[4, 8]; input %w: f32[8]; %q = mul %x, %x; \
         %v = reduce %q {function=mean, axes=[1], keepdim=true}; %e = add %v, 1e-6; %s = rsqrt %e; %t = mul %w, %x; \
         %r = mul %s, %t",
    ),
    (
        "variance-of-moments",
        "input %x: f32[4, 8]; %m = reduce %x {function=mean, axes=[1], keepdim=true}; %q = mul %x, %x; \
         %v = reduce %q {function=mean, axes=[1], keepdim=true}; %n = mul %m, %m; %r = sub %v, %n",
    ),
    (
        "moments-applied-apart",
        "input %x: f32[4, 8]; input %s: f32[4, 8]; input %b: f32[8]; \
         %m = reduce %x {function=mean, axes=[1], keepdim=true}; %p = mul %x, %s; %n = mul %m, %s; %o = sub %b, %n; \
         %r = add %p, %o",
    ),
    (
        "pointwise-conv",
        "input %x: f32[2, 5, 4]; input %w: f32[3, 4, 1]; %p = permute %x {axes=[0, 2, 1]}; \
         %r = conv %p, %w {strides=[1], pads_begin=[0], pads_end=[0], dilations=[1], groups=1}",
    ),
    (
        "scale-into-projection",
        "input %x: f32[1, 4, 8]; input %k: f32[2, 3, 4]; const %w: f32[8, 6] = seeded(normal, std=0.3, seed=1); \
         const %b: f32[6] = seeded(normal, std=0.3, seed=2); %m = matmul %x, %w; %a = add %m, %b; \
         %h = reshape %a {shape=[4, 2, 3]}; %q = permute %h {axes=[1, 0, 2]}; %s = matmul %q, %k; %r = mul %s, 0.57735026",
    ),
    (
        "scale-on-one-side",
        "input %x: f32[2, 4, 5]; input %y: f32[2, 5, 3]; %a = mul %x, 0.6; %b = mul 0.7, %y; %r = matmul %a, %b",
    ),
    (
        "permute-repeated",
        "input %x: f32[2, 2, 1, 1, 3, 5]; %e = expand %x {shape=[2, 2, 4, 1, 3, 5]}; %m = reshape %e {shape=[2, 8, 3, 5]}; \
         %r = permute %m {axes=[0, 1, 3, 2]}",
    ),
    (
        "matmul-of-merged",
        "input %x: f32[2, 3, 4, 5]; input %y: f32[2, 3, 5, 2]; %a = reshape %x {shape=[6, 4, 5]}; \
         %b = reshape %y {shape=[6, 5, 2]}; %r = matmul %a, %b",
    ),
    (
        "rotation-of-parts",
        "input %x: f32[2, 3, 8]; input %c: f32[3, 4]; input %d: f32[3, 4]; \
         %a = slice %x {axis=2, start=0, end=4, step=1}; %b = slice %x {axis=2, start=4, end=8, step=1}; \
         %e = mul %a, %c; %f = mul %d, %b; %p = sub %e, %f; %g = mul %b, %c; %h = mul %a, %d; %q = add %h, %g; \
         %r = concat %p, %q {axis=2}",
    ),
    (
        "rotation-of-parts",
        "input %x: f32[2, 3, 8]; input %c: f32[3, 4]; input %d: f32[3, 4]; \
         %a = slice %x {axis=2, start=0, end=7, step=2}; %b = slice %x {axis=2, start=1, end=8, step=2}; \
         %e = mul %a, %c; %f = mul %d, %b; %p = sub %e, %f; %g = mul %b, %c; %h = mul %a, %d; %q = add %h, %g; \
         %s = reshape %p {shape=[2, 3, 4, 1]}; %t = reshape %q {shape=[2, 3, 4, 1]}; %r = concat %s, %t {axis=3}",
    ),
    (
        "rotation-of-whole",
        "input %x: f32[2, 3, 8]; input %c: f32[3, 8]; input %d: f32[3, 8]; \
         %a = slice %x {axis=2, start=0, end=4, step=1}; %b = slice %x {axis=2, start=4, end=8, step=1}; %n = neg %b; \
         %t = concat %n, %a {axis=2}; %e = mul %x, %c; %f = mul %t, %d; %r = add %f, %e",
    ),
    (
        "rotation-of-whole",
        "input %x: f32[2, 3, 8]; input %c: f32[3, 4]; input %d: f32[3, 4]; %m = neg %d; \
         %k = concat %c, %c {axis=1}; %l = concat %m, %d {axis=1}; \
         %a = slice %x {axis=2, start=0, end=4, step=1}; %b = slice %x {axis=2, start=4, end=8, step=1}; \
         %t = concat %b, %a {axis=2}; %e = mul %x, %k; %f = mul %t, %l; %r = add %f, %e",
    ),
    (
        "rotation-of-whole",
        "input %x: f32[2, 3, 8]; input %c: f32[3, 8]; input %d: f32[3, 8]; \
         %a = slice %x {axis=2, start=0, end=7, step=2}; %b = slice %x {axis=2, start=1, end=8, step=2}; %n = neg %b; \
         %s = reshape %n {shape=[2, 3, 4, 1]}; %u = reshape %a {shape=[2, 3, 4, 1]}; %k = concat %s, %u {axis=3}; \
         %t = reshape %k {shape=[2, 3, 8]}; %e = mul %x, %c; %f = mul %t, %d; %r = add %f, %e",
    ),
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    ("sigmoid-scaled", "input %x: f32[4, 8]; %n = mul %x, 1.702; %e = exp %n; %a = add %e, 1.0; %r = reciprocal %a"),
    ("sigmoid-quotient", "input %x: f16[4, 8]; %n = neg %x; %e = exp %n; %a = add %e, 1.0; %r = div %x, %a"),
    (
        "sigmoid-quotient-scaled",
        "input %x: f16[4, 8]; %n = mul %x, -2.0; %e = exp %n; %a = add %e, 1.0; %r = div %x, %a",
    ),
    (
        "sigmoid-quotient-scaled",
        "input %x: f32[4, 8]; %n = mul %x, 2.0; %e = exp %n; %a = add %e, 1.0; %r = div %x, %a",
    ),
    (
        "mean-of-sum",
        "input %x: f64[4, 3]; %s = reduce %x {function=sum, axes=[1], keepdim=true}; %r = mul %s, 0.3333333",
    ),
    (
        "gelu",
        "input %x: f64[4, 8]; %u = mul %x, 0.7071069; %f = erf %u; %g = add %f, 1.0; %h = mul %x, 0.5; %r = mul %h, %g",
    ),
    ("mean-of-sum", "input %x: f32[4, 8]; %s = reduce %x {function=sum, axes=[1], keepdim=true}; %r = mul %s, 0.25"),
    (
        "layer-norm",
        "input %x: f32[4, 8]; input %e: f32[]; %m = reduce %x {function=mean, axes=[1], keepdim=true}; %d = sub %x, %m; \
         %q = mul %d, %d; %v = reduce %q {function=mean, axes=[1], keepdim=true}; %f = add %v, %e; %s = rsqrt %f; \
         %r = mul %s, %d",
    ),
    (
        "layer-norm",
        "input %x: f32[4, 8]; %m = reduce %x {function=mean, axes=[0], keepdim=true}; %d = sub %x, %m; %q = mul %d, %d; \
         %v = reduce %q {function=mean, axes=[0], keepdim=true}; %e = add %v, 1e-5; %s = rsqrt %e; %r = mul %s, %d",
    ),
    (
        "layer-norm",
        "input %x: f32[4, 8]; %m = reduce %x {function=mean, axes=[0, 1], keepdim=true}; %d = sub %x, %m; \
         %q = mul %d, %d; %v = reduce %q {function=mean, axes=[1], keepdim=true}; %e = add %v, 1e-5; %s = rsqrt %e; \
         %r = mul %s, %d",
    ),
    (
        "rms-norm",
        "input %x: f32[4, 8]; %q = mul %x, %x; %v = reduce %q {function=mean, axes=[0], keepdim=true}; \
         %e = add %v, 1e-6; %s = rsqrt %e; %r = mul %x, %s",
    ),
    (
        "norm-scaled-root",
        "input %x: f32[4, 8]; input %y: f32[4, 8]; input %w: f32[8]; %q = mul %y, %y; \
         %v = reduce %q {function=mean, axes=[1], keepdim=true}; %e = add %v, 1e-6; %s = rsqrt %e; %t = mul %s, %w; \
         %r = mul %x, %t",
    ),
    (
        "norm-scaled-first",
        "input %x: f32[4, 8]; input %w: f32[8]; %q = mul %x, %x; \
         %v = reduce %q {function=mean, axes=[1], keepdim=true}; %e = sub %v, 1e-6; %s = rsqrt %e; %t = mul %w, %x; \
         %r = mul %s, %t",
    ),
    (
        "variance-of-moments",
        "input %x: f32[4, 4]; %m = reduce %x {function=mean, axes=[1], keepdim=true}; %q = mul %x, %x; \
         %v = reduce %q {function=mean, axes=[0], keepdim=true}; %n = mul %m, %m; %r = sub %v, %n",
    ),
    (
        "moments-applied-apart",
        "input %x: f32[4, 8]; input %s: f32[4, 8]; input %b: f32[8]; \
         %m = reduce %x {function=amax, axes=[1], keepdim=true}; %p = mul %x, %s; %n = mul %m, %s; %o = sub %b, %n; \
         %r = add %p, %o",
    ),
    (
        "softmax",
        "input %x: f32[8, 8]; %m = reduce %x {function=amax, axes=[0], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %r = div %e, %s",
    ),
    (
        "softmax-without-maximum",
        "input %x: f32[4, 8]; %e = exp %x; %s = reduce %e {function=sum, axes=[0, 1], keepdim=true}; %r = div %e, %s",
    ),
    (
        "log-softmax",
        "input %x: f32[8, 8]; %m = reduce %x {function=amax, axes=[1], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[0], keepdim=true}; %l = log %s; %r = sub %d, %l",
    ),
    (
        "log-softmax-of-sum",
        "input %x: f32[4, 8]; %m = reduce %x {function=amin, axes=[1], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %l = log %s; %a = add %l, %m; %r = sub %x, %a",
    ),
    (
        "log-softmax-without-maximum",
        "input %x: f32[4, 8]; %e = exp %x; %s = reduce %e {function=sum, axes=[0, 1], keepdim=true}; %l = log %s; \
         %r = sub %x, %l",
    ),
    (
        "pointwise-conv",
        "input %x: f32[2, 5, 4]; input %w: f32[3, 4, 1]; %p = permute %x {axes=[0, 2, 1]}; \
         %r = conv %p, %w {strides=[2], pads_begin=[0], pads_end=[0], dilations=[1], groups=1}",
    ),
    (
        "pointwise-conv",
        "input %x: f32[2, 5, 4]; input %w: f32[3, 4, 1]; %p = permute %x {axes=[0, 2, 1]}; \
         %r = conv %p, %w {strides=[1], pads_begin=[1], pads_end=[0], dilations=[1], groups=1}",
    ),
    (
        "pointwise-conv",
        "input %x: f32[4, 2, 5]; input %w: f32[3, 4, 1]; %p = permute %x {axes=[1, 0, 2]}; \
         %r = conv %p, %w {strides=[1], pads_begin=[0], pads_end=[0], dilations=[1], groups=1}",
    ),
    (
        "scale-into-projection",
        "input %x: f32[4, 8]; input %k: f32[6, 3]; const %w: f32[8, 6] = seeded(normal, std=0.3, seed=1); \
         %q = matmul %x, %w; %s = matmul %q, %k; %r = mul %s, 1.5",
    ),
    ("scale-into-projection", "input %q: f32[4, 6]; input %k: f32[6, 3]; %s = matmul %q, %k; %r = mul %s, 0.5"),
    (
        "scale-on-one-side",
        "input %x: f32[2, 4, 5]; input %y: f32[2, 5, 3]; %a = mul %x, 1.5; %b = mul 0.7, %y; %r = matmul %a, %b",
    ),
    (
        "permute-repeated",
        "input %x: f32[2, 2, 1, 1, 3, 5]; %e = expand %x {shape=[2, 2, 4, 1, 3, 5]}; %m = reshape %e {shape=[2, 8, 3, 5]}; \
         %r = permute %m {axes=[1, 0, 2, 3]}",
    ),
    (
        "permute-repeated",
        "input %x: f32[2, 2, 1, 3, 5]; %e = expand %x {shape=[2, 2, 4, 3, 5]}; %m = reshape %e {shape=[2, 8, 3, 5]}; \
         %r = permute %m {axes=[0, 1, 3, 2]}",
    ),
    (
        "matmul-of-merged",
        "input %x: f32[2, 3, 4, 5]; input %y: f32[3, 2, 5, 2]; %a = reshape %x {shape=[6, 4, 5]}; \
         %b = reshape %y {shape=[6, 5, 2]}; %r = matmul %a, %b",
    ),
    (
        "matmul-of-merged",
        "input %x: f32[2, 3, 4, 5]; input %y: f32[2, 3, 2, 5]; %a = reshape %x {shape=[6, 4, 5]}; \
         %b = reshape %y {shape=[6, 5, 2]}; %r = matmul %a, %b",
    ),
    (
        "rotation-of-parts",
        "input %x: f32[2, 3, 8]; input %c: f32[3, 4]; input %d: f32[3, 4]; \
         %a = slice %x {axis=2, start=0, end=4, step=1}; %b = slice %x {axis=2, start=4, end=8, step=1}; \
         %e = mul %a, %c; %f = mul %d, %b; %p = sub %e, %f; %g = mul %b, %d; %h = mul %a, %c; %q = add %h, %g; \
         %r = concat %p, %q {axis=2}",
    ),
    (
        "rotation-of-parts",
        "input %x: f32[2, 3, 8]; input %c: f32[3, 4]; input %d: f32[3, 4]; \
         %a = slice %x {axis=2, start=0, end=7, step=2}; %b = slice %x {axis=2, start=1, end=8, step=2}; \
         %e = mul %a, %c; %f = mul %d, %b; %p = sub %e, %f; %g = mul %b, %c; %h = mul %a, %d; %q = add %h, %g; \
         %r = concat %p, %q {axis=2}",
    ),
    (
        "rotation-of-whole",
        "input %x: f32[2, 3, 8]; input %y: f32[2, 3, 8]; input %c: f32[3, 8]; input %d: f32[3, 8]; \
         %a = slice %x {axis=2, start=0, end=4, step=1}; %b = slice %x {axis=2, start=4, end=8, step=1}; %n = neg %b; \
         %t = concat %n, %a {axis=2}; %e = mul %y, %c; %f = mul %t, %d; %r = add %f, %e",
    ),
    (
        "rotation-of-whole",
        "input %x: f32[2, 3, 8]; input %c: f32[3, 8]; input %d: f32[3, 8]; \
         %a = slice %x {axis=2, start=0, end=4, step=1}; %b = slice %x {axis=2, start=4, end=8, step=1}; %n = neg %a; \
         %t = concat %n, %b {axis=2}; %e = mul %x, %c; %f = mul %t, %d; %r = add %f, %e",
    ),
];
