//! Cases of the rules in `rules/gather.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
    ("gather-slice", "input %x: f32[4, 8, 3]; %r = gather %x, i64(-2) {axis=1}"),
    ("gather-slice", "input %x: f32[4, 8, 3]; const %i: i64[3] = [1, 3, 5]; %r = gather %x, %i {axis=1}"),
    ("gather-slice", "input %x: f32[4, 8, 3]; const %i: i32[2, 2] = [-1, -2, -3, -4]; %r = gather %x, %i {axis=1}"),
    ("gather-slice", "input %x: f32[4, 8, 3]; const %i: i64[3] = splat(2); %r = gather %x, %i {axis=0}"),
    (
        "gather-gather",
        "input %x: f32[4, 8]; const %i: i64[4] = [3, 0, 7, 2]; const %j: i64[2, 2] = [0, -1, 1, 3]; \
         %y = gather %x, %i {axis=1}; %r = gather %y, %j {axis=1}",
    ),
    ("pick-slice", "input %x: f32[4, 8]; const %i: i64[4, 3] = splat(5); %r = gather_elements %x, %i {axis=1}"),
    ("pick-slice", "input %x: f32[8]; const %i: i64[3] = [6, 4, 2]; %r = gather_elements %x, %i {axis=0}"),
    ("pick-slice", "input %x: f32[8, 3]; const %i: i64[3, 1] = [1, 2, 3]; %r = gather_nd %x, %i {batch_dims=0}"),
    ("dynamic-slice", "input %x: f32[8, 4]; %r = dynamic_slice %x, i64(2), i64(0) {axes=[0, 1], sizes=[3, 2]}"),
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    ("gather-slice", "input %x: f32[4, 8]; input %i: i64[]; %r = gather %x, %i {axis=1}"),
    ("gather-slice", "input %x: f32[4, 8]; const %i: i64[3] = [1, 3, 4]; %r = gather %x, %i {axis=1}"),
    ("gather-slice", "input %x: f32[4, 8]; const %i: i64[3] = [-1, 0, 1]; %r = gather %x, %i {axis=1}"),
    ("gather-slice", "input %x: f32[4, 8]; %r = gather %x, i64(8) {axis=1}"),
    (
        "gather-gather",
        "input %x: f32[4, 8]; const %i: i64[2, 2] = [3, 0, 7, 2]; const %j: i64[2] = [0, 1]; \
         %y = gather %x, %i {axis=1}; %r = gather %y, %j {axis=1}",
    ),
    ("pick-slice", "input %x: f32[4, 8]; const %i: i64[3, 3] = splat(5); %r = gather_elements %x, %i {axis=1}"),
    ("pick-slice", "input %x: f32[8, 3]; const %i: i64[2, 2] = [1, 0, 2, 0]; %r = gather_nd %x, %i {batch_dims=0}"),
    ("dynamic-slice", "input %x: f32[8, 4]; input %i: i64[]; %r = dynamic_slice %x, %i {axes=[0], sizes=[3]}"),
    ("dynamic-slice", "input %x: f32[8, 4]; %r = dynamic_slice %x, i64(6) {axes=[0], sizes=[3]}"),
];
