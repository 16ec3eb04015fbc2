//! Cases of the rules in `rules/logic.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
    ("where-not", "input %c: bool[4, 8]; input %a: f32[8]; input %b: f32[4, 1]; %n = not %c; %r = where %n, %a, %b"),
    ("where-same", "input %c: bool[4, 8]; input %a: f32[4, 8]; %r = where %c, %a, %a"),
    ("where-constant", "input %a: f32[4, 8]; input %b: f32[4, 8]; %r = where true, %a, %b"),
    ("where-constant", "input %a: f32[4, 8]; input %b: f32[8]; %r = where false, %a, %b"),
    (
        "where-then-where",
        "input %c: bool[4, 8]; input %a: f32[4, 8]; input %b: f32[8]; %w = where %c, %a, %b; %r = where %c, %w, 0.5",
    ),
    (
        "where-else-where",
        "input %c: bool[4, 8]; input %a: f32[4, 8]; input %b: f32[8]; %w = where %c, %b, %a; %r = where %c, 0.5, %w",
    ),
    ("where-true-false", "input %c: bool[4, 8]; %r = where %c, bool(true), bool(false)"),
    ("where-false-true", "input %c: bool[4, 8]; %r = where %c, bool(false), bool(true)"),
    ("not-compare", "input %x: i32[4, 8]; input %y: i32[8]; %c = lt %x, %y; %r = not %c"),
    ("not-compare", "input %x: u8[4, 8]; input %y: u8[8]; %c = ge %x, %y; %r = not %c"),
    ("not-compare", "input %x: f32[4, 8]; input %y: f32[8]; %c = eq %x, %y; %r = not %c"),
    ("not-compare-float", "input %x: f32[4, 8]; input %y: f32[8]; %c = le %x, %y; %r = not %c"),
    ("compare-same", "input %x: i32[4, 8]; %r = le %x, %x"),
    ("compare-same", "input %x: f32[4, 8]; %r = gt %x, %x"),
    ("differs-from-itself", "input %x: f32[4, 8]; %r = ne %x, %x"),
    ("compare-cast", "input %b: bool[4, 8]; %x = cast %b {to=f32}; %r = gt %x, 0.5"),
    ("compare-cast", "input %b: bool[4, 8]; %x = cast %b {to=i32}; %r = eq %x, 0"),
    ("compare-cast", "input %b: bool[4, 8]; %x = cast %b {to=f16}; %r = lt %x, 2.0"),
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    ("where-true-false", "input %c: bool[4, 8]; %r = where %c, 1.0, 0.0"),
    ("not-compare", "input %x: f32[4, 8]; input %y: f32[8]; %c = lt %x, %y; %r = not %c"),
    ("not-compare-float", "input %x: i32[4, 8]; input %y: i32[8]; %c = lt %x, %y; %r = not %c"),
    ("compare-same", "input %x: f32[4, 8]; %r = le %x, %x"),
    ("compare-same", "input %x: f32[4, 8]; %r = eq %x, %x"),
    ("differs-from-itself", "input %x: i32[4, 8]; %r = ne %x, %x"),
    ("compare-cast", "input %b: i8[4, 8]; %x = cast %b {to=f32}; %r = gt %x, 0.5"),
];
