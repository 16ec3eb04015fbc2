//! Cases of the rules in `rules/updates.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
    // The same, inside, disjoint, and disjoint from the upper of two.
    (
        "read-update",
        "input %b: f32[8, 4]; input %v: f32[3, 4]; %u = update %b, %v {offset=8, strides=[4, 1]}; %r = slice %u {axis=0, start=2, end=5, step=1}",
    ),
    (
        "read-update",
        "input %b: f32[8, 4]; input %v: f32[3, 4]; %u = update %b, %v {offset=8, strides=[4, 1]}; %r = slice %u {axis=0, start=4, end=2, step=-1}",
    ),
    (
        "read-update",
        "input %b: f32[8, 4]; input %v: f32[4, 3]; %u = update %b, %v {offset=8, strides=[1, 4]}; %a = slice %u {axis=0, start=2, end=4, step=1}; %r = slice %a {axis=1, start=1, end=3, step=1}",
    ),
    (
        "read-update",
        "input %b: f32[8, 4]; input %v: f32[3, 4]; %u = update %b, %v {offset=8, strides=[4, 1]}; %r = slice %u {axis=0, start=5, end=8, step=1}",
    ),
    (
        "read-update",
        "input %b: f32[8, 4]; input %v: f32[8, 2]; %u = update %b, %v {offset=0, strides=[4, 2]}; %a = slice %u {axis=0, start=1, end=4, step=1}; %r = slice %a {axis=1, start=1, end=4, step=2}",
    ),
    (
        "read-update",
        "input %b: f32[8, 4]; input %v: f32[3, 4]; input %w: f32[4]; %u = update %b, %v {offset=8, strides=[4, 1]}; %t = update %u, %w {offset=0, strides=[1]}; %r = slice %t {axis=0, start=3, end=5, step=1}",
    ),
    ("update-whole", "input %b: f32[4, 8]; input %v: f32[4, 8]; %r = update %b, %v {offset=0, strides=[8, 1]}"),
    ("update-whole", "input %b: f32[4, 8]; input %v: f32[8, 4]; %r = update %b, %v {offset=0, strides=[1, 8]}"),
    (
        "update-same",
        "input %b: f32[8, 4]; %v = slice %b {axis=0, start=6, end=1, step=-2}; %r = update %b, %v {offset=24, strides=[-8, 1]}",
    ),
    (
        "update-same",
        "input %b: f32[8, 4]; %v = slice %b {axis=0, start=2, end=3, step=1}; %w = reshape %v {shape=[4]}; %r = update %b, %w {offset=8, strides=[1]}",
    ),
    (
        "update-overwritten",
        "input %b: f32[8, 4]; input %v: f32[2, 4]; input %w: f32[3, 4]; %u = update %b, %v {offset=8, strides=[4, 1]}; %r = update %u, %w {offset=4, strides=[4, 1]}",
    ),
    (
        "update-overwritten",
        "input %b: f32[8, 4]; input %v: f32[2, 4]; input %x: f32[8]; input %w: f32[3, 4]; %u = update %b, %v {offset=8, strides=[4, 1]}; %t = update %u, %x {offset=1, strides=[4]}; %r = update %t, %w {offset=4, strides=[4, 1]}",
    ),
    (
        "updates-concat",
        "input %b: f32[8, 4]; input %v: f32[5, 4]; input %w: f32[3, 4]; %u = update %b, %v {offset=12, strides=[4, 1]}; %r = update %u, %w {offset=0, strides=[4, 1]}",
    ),
    (
        "updates-concat",
        "input %b: f32[4, 3]; input %v: f32[4]; input %w: f32[4, 2]; %u = update %b, %v {offset=2, strides=[3]}; %r = update %u, %w {offset=0, strides=[3, 1]}",
    ),
    (
        "dynamic-update",
        "input %b: f32[8, 4]; input %v: f32[3, 2]; %r = dynamic_update %b, %v, i64(2), i64(1) {axes=[0, 1]}",
    ),
    (
        "scatter-update",
        "input %b: f32[8, 4]; input %v: f32[3, 4]; const %i: i64[3, 1] = [6, 4, 2]; %r = scatter_nd %b, %i, %v {function=assign}",
    ),
    (
        "scatter-update",
        "input %b: f32[8]; input %v: f32[3]; const %i: i64[3] = [-3, -2, -1]; %r = scatter_elements %b, %i, %v {axis=0, function=assign}",
    ),
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    (
        "read-update",
        "input %b: f32[8, 4]; input %v: f32[3, 4]; %u = update %b, %v {offset=8, strides=[4, 1]}; %r = slice %u {axis=0, start=4, end=7, step=1}",
    ),
    ("update-whole", "input %b: f32[4, 8]; input %v: f32[3, 8]; %r = update %b, %v {offset=0, strides=[8, 1]}"),
    (
        "update-same",
        "input %b: f32[8, 4]; %v = slice %b {axis=0, start=2, end=4, step=1}; %r = update %b, %v {offset=4, strides=[4, 1]}",
    ),
    (
        "update-overwritten",
        "input %b: f32[8, 4]; input %v: f32[2, 4]; input %w: f32[3, 4]; %u = update %b, %v {offset=8, strides=[4, 1]}; %r = update %u, %w {offset=12, strides=[4, 1]}",
    ),
    (
        "updates-concat",
        "input %b: f32[8, 4]; input %v: f32[4, 4]; input %w: f32[3, 4]; %u = update %b, %v {offset=16, strides=[4, 1]}; %r = update %u, %w {offset=0, strides=[4, 1]}",
    ),
    ("dynamic-update", "input %b: f32[8, 4]; input %v: f32[3, 4]; %r = dynamic_update %b, %v, i64(6) {axes=[0]}"),
    (
        "scatter-update",
        "input %b: f32[8]; input %v: f32[3]; const %i: i64[3] = splat(1); %r = scatter_elements %b, %i, %v {axis=0, function=assign}",
    ),
    (
        "scatter-update",
        "input %b: f32[8]; input %v: f32[3]; const %i: i64[3] = [1, 2, 3]; %r = scatter_elements %b, %i, %v {axis=0, function=add}",
    ),
];
