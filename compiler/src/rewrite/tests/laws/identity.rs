//! Cases of the rules in `rules/identity.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
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
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    ("add-negative-zero", "input %x: f32[4, 8]; %r = add %x, 0.0"),
    ("div-power-of-two", "input %x: f32[4, 8]; %r = div %x, 3.0"),
    ("div-power-of-two", "input %x: f32[4, 8]; %r = div %x, 1e-30"),
    ("div-power-of-two", "input %x: i32[4, 8]; %r = div %x, 2"),
    ("div-constant", "input %x: f32[4, 8]; %r = div %x, 0.0"),
    ("pow-three", "input %x: i32[4, 8]; %r = pow %x, 3"),
    ("pow-half", "input %x: f32[4, 8]; %r = pow %x, 0.5"),
    ("pow-half", "input %x: f32[4, 8]; %y = relu %x; %r = pow %y, 0.5"),
    ("pow-minus-half", "input %x: f32[4, 8]; %y = mul %x, 2.0; %r = pow %y, -0.5"),
];
