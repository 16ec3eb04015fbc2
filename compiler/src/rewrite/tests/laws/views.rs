//! Cases of the rules in `rules/views.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
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
    ("concat-nothing", "input %x: f32[4, 3]; input %y: f32[4, 0]; %r = concat %x, %y {axis=1}"),
    ("pad-nothing", "input %x: f32[4, 8]; %r = pad %x, 0.5 {before=[0, 0], after=[0, 0]}"),
    (
        "pad-pad",
        "input %x: f32[4, 8]; %y = pad %x, 0.5 {before=[1, 0], after=[2, 3]}; %r = pad %y, 0.5 {before=[0, 4], after=[1, 0]}",
    ),
    (
        "slice-concat-parts",
        "input %x: f32[4, 3]; input %y: f32[4, 5]; %c = concat %x, %y, %x {axis=1}; \
         %r = slice %c {axis=1, start=1, end=7, step=1}",
    ),
    (
        "slice-pad",
        "input %x: f32[4, 8]; %y = pad %x, 0.5 {before=[1, 2], after=[2, 3]}; %r = slice %y {axis=1, start=8, end=2, step=-2}",
    ),
    (
        "slice-pad",
        "input %x: f32[4, 8]; %y = pad %x, 0.5 {before=[1, 0], after=[2, 0]}; %r = slice %y {axis=0, start=1, end=4, step=1}",
    ),
    (
        "slice-pad",
        "input %x: f32[4, 8]; %y = pad %x, 0.5 {before=[1, 0], after=[2, 0]}; %r = slice %y {axis=0, start=5, end=7, step=1}",
    ),
    (
        "slice-expand",
        "input %x: f32[4, 8]; %y = expand %x {shape=[3, 4, 8]}; %r = slice %y {axis=0, start=1, end=3, step=1}",
    ),
    (
        "slice-expand",
        "input %x: f32[1, 8]; %y = expand %x {shape=[4, 8]}; %r = slice %y {axis=1, start=7, end=1, step=-2}",
    ),
    (
        "slice-permute",
        "input %x: f32[4, 8, 3]; %y = permute %x {axes=[2, 0, 1]}; %r = slice %y {axis=2, start=1, end=8, step=3}",
    ),
    (
        "slice-reshape",
        "input %x: f32[4, 24]; %y = reshape %x {shape=[4, 3, 8]}; %r = slice %y {axis=1, start=1, end=3, step=1}",
    ),
    (
        "slice-reshape",
        "input %x: f32[4, 8, 3]; %y = reshape %x {shape=[32, 3]}; %r = slice %y {axis=1, start=1, end=3, step=1}",
    ),
    (
        "slice-reshape",
        "input %x: f32[4, 8]; %y = reshape %x {shape=[1, 4, 1, 8]}; %r = slice %y {axis=1, start=1, end=3, step=1}",
    ),
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    (
        "slice-slice",
        "input %x: f32[4, 16]; %y = slice %x {axis=0, start=0, end=2, step=1}; %r = slice %y {axis=1, start=1, end=4, step=2}",
    ),
    (
        "slice-concat",
        "input %x: f32[4, 3]; input %y: f32[4, 5]; %c = concat %x, %y {axis=1}; %r = slice %c {axis=1, start=2, end=4, step=1}",
    ),
    (
        "slice-concat-parts",
        "input %x: f32[4, 3]; input %y: f32[4, 5]; %c = concat %x, %y {axis=1}; %r = slice %c {axis=1, start=1, end=7, step=1}",
    ),
    (
        "slice-pad",
        "input %x: f32[4, 8]; %y = pad %x, 0.5 {before=[0, 2], after=[0, 3]}; %r = slice %y {axis=1, start=1, end=5, step=1}",
    ),
    (
        "pad-pad",
        "input %x: f32[4, 8]; %y = pad %x, 0.5 {before=[1, 0], after=[2, 3]}; %r = pad %y, 0.0 {before=[0, 4], after=[1, 0]}",
    ),
    (
        "slice-reshape",
        "input %x: f32[4, 8, 3]; %y = reshape %x {shape=[32, 3]}; %r = slice %y {axis=0, start=1, end=3, step=1}",
    ),
    (
        "concat-slices",
        "input %x: f32[4, 8]; %a = slice %x {axis=1, start=2, end=5, step=1}; \
         %b = slice %x {axis=1, start=6, end=7, step=1}; %r = concat %a, %b {axis=1}",
    ),
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
];
