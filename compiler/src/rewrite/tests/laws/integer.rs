//! Cases of the rules in `rules/integer.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
    ("mul-zero-integer", "input %x: i32[4, 8]; %r = mul %x, 0"),
    ("sub-same-integer", "input %x: i32[4, 8]; %r = sub %x, %x"),
    ("sub-added", "input %x: i32[4, 8]; input %y: i32[8]; %s = add %y, %x; %r = sub %s, %y"),
    ("add-subtracted", "input %x: i32[4, 8]; input %y: i32[8]; %s = sub %x, %y; %r = add %s, %y"),
    ("add-add-integer", "input %x: i32[4, 8]; %s = add %x, 3; %r = add %s, 7"),
    (
        "add-add-integer",
        "input %x: i32[4, 8]; const %w: i32[8] = seeded(uniform, low=-9.0, high=9.0, seed=4); %s = add %x, %w; %r = add %s, 7",
    ),
    ("add-sub-integer", "input %x: i32[4, 8]; %s = sub %x, 3; %r = add %s, 7"),
    ("mul-mul-integer", "input %x: i32[4, 8]; %s = mul %x, 3; %r = mul %s, 7"),
    ("div-minus-one", "input %x: i32[4, 8]; %r = div %x, -1"),
    ("shl-zero", "input %x: i32[4, 8]; %r = shl %x, 0"),
    ("shr-zero", "input %x: i32[4, 8]; %r = shr %x, 0"),
    ("shl-shl", "input %x: i32[4, 8]; %s = shl %x, 3; %r = shl %s, 30"),
    ("shr-shr", "input %x: i32[4, 8]; %s = shr %x, 3; %r = shr %s, 30"),
    ("shr-shr", "input %x: u8[4, 8]; %s = shr %x, 3; %r = shr %s, 6"),
    ("and-same", "input %x: i32[4, 8]; %r = and %x, %x"),
    ("or-same", "input %x: bool[4, 8]; %r = or %x, %x"),
    ("xor-same", "input %x: i32[4, 8]; %r = xor %x, %x"),
    ("and-ones", "input %x: bool[4, 8]; %r = and %x, true"),
    ("and-ones", "input %x: u8[4, 8]; %r = and %x, 255"),
    ("and-zero", "input %x: i32[4, 8]; %r = and %x, 0"),
    ("or-zero", "input %x: i32[4, 8]; %r = or %x, 0"),
    ("or-ones", "input %x: i32[4, 8]; %r = or %x, -1"),
    ("or-ones", "input %x: bool[4, 8]; %r = or true, %x"),
    ("xor-zero", "input %x: bool[4, 8]; %r = xor %x, false"),
    ("xor-ones", "input %x: bool[4, 8]; %r = xor %x, true"),
    ("xor-ones", "input %x: i32[4, 8]; %r = xor %x, -1"),
    ("not-not", "input %x: bool[4, 8]; %y = not %x; %r = not %y"),
    ("not-not", "input %x: u8[4, 8]; %y = not %x; %r = not %y"),
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    ("mul-zero-integer", "input %x: f32[4, 8]; %r = mul %x, 0.0"),
    ("sub-same-integer", "input %x: f32[4, 8]; %r = sub %x, %x"),
    ("sub-added", "input %x: f32[4, 8]; input %y: f32[8]; %s = add %y, %x; %r = sub %s, %y"),
    ("add-add-integer", "input %x: f32[4, 8]; %s = add %x, 3.0; %r = add %s, 7.0"),
    ("add-add-integer", "input %x: i32[4, 8]; input %y: i32[8]; %s = add %x, 3; %r = add %s, %y"),
    ("div-minus-one", "input %x: u8[4, 8]; %r = div %x, 255"),
    ("shl-shl", "input %x: i32[4, 8]; %s = shl %x, 3; %r = shl %s, 40"),
    ("shl-shl", "input %x: i8[4, 8]; %s = shl %x, -3; %r = shl %s, 4"),
];
