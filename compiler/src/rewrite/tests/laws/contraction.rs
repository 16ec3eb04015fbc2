//! Cases of the rules in `rules/contraction.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
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

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    (
        "contraction-scale",
        "input %x: f32[4, 8]; const %w: f32[8, 3] = seeded(normal, std=1.0, seed=1); const %s: f32[3] = [inf, 1.0, 2.0]; \
         %m = matmul %x, %w; %r = mul %m, %s",
    ),
    (
        "scale-bias",
        "input %x: f32[4, 8]; input %y: f32[8, 3]; const %b: f32[3] = seeded(normal, std=1.0, seed=1); \
         const %s: f32[3] = [1.0, nan, 2.0]; %m = matmul %x, %y; %a = add %m, %b; %r = mul %a, %s",
    ),
    ("matmul-scale-left", "input %x: f32[4, 8]; input %y: f32[8, 5]; %c = mul %x, 0.3; %r = matmul %c, %y"),
    ("matmul-scale-right", "input %x: f32[4, 8]; input %y: f32[8, 5]; %c = mul %y, 0.3; %r = matmul %x, %c"),
    (
        "scale-scale",
        "input %x: f32[4, 8]; input %y: f32[8, 5]; %m = matmul %x, %y; %a = mul %m, 1e30; %r = mul %a, 1e-30",
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
