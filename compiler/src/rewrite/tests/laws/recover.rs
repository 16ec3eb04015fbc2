//! Cases of the rules in `rules/recover.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
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
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
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
        "softmax",
        "input %x: f32[8, 8]; %m = reduce %x {function=amax, axes=[0], keepdim=true}; %d = sub %x, %m; %e = exp %d; \
         %s = reduce %e {function=sum, axes=[1], keepdim=true}; %r = div %e, %s",
    ),
];
