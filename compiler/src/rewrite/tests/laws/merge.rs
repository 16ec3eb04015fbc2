//! Cases of the rules in `rules/merge.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
    (
        "merge-contractions",
        "input %x: f32[4, 8]; const %v: f32[8, 3] = seeded(normal, std=1.0, seed=1); \
         const %w: f32[8, 5] = seeded(normal, std=1.0, seed=2); %p = matmul %x, %v; %q = matmul %x, %w; \
         %r = concat %p, %q {axis=1}",
    ),
    (
        "merge-contractions",
        "input %x: f32[2, 4, 8]; const %u: f32[8, 1] = seeded(normal, std=1.0, seed=1); \
         const %v: f32[8, 5] = seeded(normal, std=1.0, seed=2); const %w: f32[8, 2] = seeded(normal, std=1.0, seed=3); \
         %p = matmul %x, %u; %q = matmul %x, %v; %s = matmul %x, %w; %r = concat %p, %q, %s {axis=2}",
    ),
    (
        "merge-contractions",
        "input %x: f32[1, 4, 5, 5]; const %v: f32[3, 4, 3, 3] = seeded(normal, std=1.0, seed=1); \
         const %w: f32[2, 4, 3, 3] = seeded(normal, std=1.0, seed=2); \
         %p = conv %x, %v {strides=[1, 1], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1], groups=1}; \
         %q = conv %x, %w {strides=[1, 1], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1], groups=1}; \
         %r = concat %p, %q {axis=1}",
    ),
    (
        "merge-linears",
        "input %x: f32[4, 8]; const %v: f32[8, 3] = seeded(normal, std=1.0, seed=1); \
         const %w: f32[8, 5] = seeded(normal, std=1.0, seed=2); const %b: f32[3] = seeded(normal, std=1.0, seed=3); \
         const %c: f32[1, 5] = seeded(normal, std=1.0, seed=4); %p = matmul %x, %v; %q = matmul %x, %w; \
         %s = add %b, %p; %t = add %q, %c; %r = concat %s, %t {axis=1}",
    ),
    (
        "merge-linears",
        "input %x: f32[1, 4, 5, 5]; const %v: f32[3, 4, 1, 1] = seeded(normal, std=1.0, seed=1); \
         const %w: f32[2, 4, 1, 1] = seeded(normal, std=1.0, seed=2); const %b: f32[3, 1, 1] = seeded(normal, std=1.0, seed=3); \
         %p = conv %x, %v {strides=[1, 1], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1], groups=1}; \
         %q = conv %x, %w {strides=[1, 1], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1], groups=1}; \
         %s = add %p, %b; %t = add %q, 0.3; %r = concat %s, %t {axis=1}",
    ),
    (
        "scale-slices",
        "input %x: f32[4, 8]; const %w: f32[8, 9] = seeded(normal, std=1.0, seed=1); %y = matmul %x, %w; \
         %a = slice %y {axis=1, start=1, end=4, step=1}; %b = slice %y {axis=1, start=4, end=8, step=1}; \
         %c = mul %a, 0.3; %r = concat %b, %c {axis=1}",
    ),
    (
        "scale-slices",
        "input %x: f32[4, 8]; const %w: f32[8, 9] = seeded(normal, std=1.0, seed=1); \
         const %c: f32[9] = seeded(normal, std=1.0, seed=2); %m = matmul %x, %w; %y = add %m, %c; \
         %a = slice %y {axis=1, start=0, end=4, step=1}; %b = slice %y {axis=1, start=4, end=8, step=1}; \
         %d = mul %a, 0.3; %e = mul %b, -2.5; %r = concat %e, %d {axis=1}",
    ),
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    (
        "merge-contractions",
        "input %x: f32[4, 8]; input %v: f32[8, 3]; const %w: f32[8, 5] = seeded(normal, std=1.0, seed=2); \
         %p = matmul %x, %v; %q = matmul %x, %w; %r = concat %p, %q {axis=1}",
    ),
    (
        "merge-contractions",
        "input %x: f32[1, 4, 5, 5]; const %v: f32[4, 2, 3, 3] = seeded(normal, std=1.0, seed=1); \
         const %w: f32[2, 2, 3, 3] = seeded(normal, std=1.0, seed=2); \
         %p = conv %x, %v {strides=[1, 1], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1], groups=2}; \
         %q = conv %x, %w {strides=[1, 1], pads_begin=[1, 1], pads_end=[1, 1], dilations=[1, 1], groups=2}; \
         %r = concat %p, %q {axis=1}",
    ),
    (
        "merge-linears",
        "input %x: f32[4, 8]; const %v: f32[8, 3] = seeded(normal, std=1.0, seed=1); \
         const %w: f32[8, 5] = seeded(normal, std=1.0, seed=2); const %b: f32[4, 1] = seeded(normal, std=1.0, seed=3); \
         %p = matmul %x, %v; %q = matmul %x, %w; %s = add %b, %p; %t = add %q, %b; %r = concat %s, %t {axis=1}",
    ),
    (
        "scale-slices",
        "input %x: f32[4, 8]; const %w: f32[8, 9] = seeded(normal, std=1.0, seed=1); %y = matmul %x, %w; \
         %a = slice %y {axis=1, start=1, end=5, step=1}; %b = slice %y {axis=1, start=4, end=8, step=1}; \
         %c = mul %a, 0.3; %r = concat %b, %c {axis=1}",
    ),
    (
        "scale-slices",
        "input %x: f32[4, 8]; input %w: f32[8, 9]; %y = matmul %x, %w; \
         %a = slice %y {axis=1, start=1, end=4, step=1}; %c = mul %a, 0.3; %r = tanh %c",
    ),
];
