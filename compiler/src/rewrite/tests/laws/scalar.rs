//! Cases of the rules in `rules/scalar.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
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
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    ("abs-neg", "input %x: u8[4, 8]; %y = neg %x; %r = abs %y"),
    ("relu-max", "input %x: f32[4, 8]; %y = max %x, -1.0; %r = relu %y"),
    ("max-relu", "input %x: f32[4, 8]; %y = relu %x; %r = max %y, 1.0"),
    ("not-not", "input %x: u8[4, 8]; %y = not %x; %r = not %y"),
    ("cast-cast", "input %x: f32[4, 8]; %y = cast %x {to=i32}; %r = cast %y {to=f32}"),
    ("cast-cast", "input %x: i64[4, 8]; %y = cast %x {to=f32}; %r = cast %y {to=i64}"),
    ("cast-cast", "input %x: i16[4, 8]; %y = cast %x {to=f32}; %r = cast %y {to=i8}"),
    ("cast-cast", "input %x: i32[4, 8]; %y = cast %x {to=f64}; %r = cast %y {to=f16}"),
];
