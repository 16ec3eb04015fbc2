//! Cases of the rules in `rules/reduction.rs`.

use super::Case;

/// A case for each rule, several where its forms differ.
pub(super) const APPLIES: &[Case] = &[
    ("reduce-one", "input %x: f32[4, 1]; %r = reduce %x {function=amax, axes=[1], keepdim=true}"),
    ("reduce-one", "input %x: i32[4, 1, 3]; %r = reduce %x {function=sum, axes=[1, 2], keepdim=true}"),
    ("sum-one", "input %x: f32[4, 1]; %r = reduce %x {function=mean, axes=[1], keepdim=true}"),
    (
        "reduce-reduce-integer",
        "input %x: i32[4, 8, 3]; %y = reduce %x {function=sum, axes=[1], keepdim=true}; %r = reduce %y {function=sum, axes=[2], keepdim=true}",
    ),
    (
        "extremum-extremum",
        "input %x: f32[4, 8, 3]; %y = reduce %x {function=amax, axes=[0], keepdim=true}; %r = reduce %y {function=amax, axes=[2], keepdim=true}",
    ),
    (
        "reduce-reduce",
        "input %x: f32[4, 8, 3]; %y = reduce %x {function=mean, axes=[0], keepdim=true}; %r = reduce %y {function=mean, axes=[2], keepdim=true}",
    ),
    (
        "reduce-permute-integer",
        "input %x: i32[4, 8, 3]; %y = permute %x {axes=[2, 0, 1]}; %r = reduce %y {function=sum, axes=[0, 2], keepdim=true}",
    ),
    (
        "extremum-permute",
        "input %x: f32[4, 8, 3]; %y = permute %x {axes=[2, 0, 1]}; %r = reduce %y {function=amin, axes=[0, 2], keepdim=true}",
    ),
    (
        "reduce-permute",
        "input %x: f32[4, 8, 3]; %y = permute %x {axes=[2, 0, 1]}; %r = reduce %y {function=sum, axes=[2], keepdim=true}",
    ),
    (
        "extremum-expand",
        "input %x: f32[4, 1, 3]; %y = expand %x {shape=[4, 8, 3]}; %r = reduce %y {function=amax, axes=[1, 2], keepdim=true}",
    ),
    (
        "sum-expand-integer",
        "input %x: i32[4, 1, 3]; %y = expand %x {shape=[4, 8, 3]}; %r = reduce %y {function=sum, axes=[1, 2], keepdim=true}",
    ),
    (
        "sum-expand",
        "input %x: f32[8, 1]; %y = expand %x {shape=[3, 8, 4]}; %r = reduce %y {function=sum, axes=[0], keepdim=true}",
    ),
    (
        "sum-expand",
        "input %x: f32[8, 1]; %y = expand %x {shape=[3, 8, 4]}; %r = reduce %y {function=mean, axes=[0, 1], keepdim=true}",
    ),
];

/// Cases that a side condition forbids.
pub(super) const FORBIDDEN: &[Case] = &[
    ("reduce-one", "input %x: f32[4, 1]; %r = reduce %x {function=sum, axes=[1], keepdim=true}"),
    ("reduce-one", "input %x: f32[4, 8]; %r = reduce %x {function=amax, axes=[1], keepdim=true}"),
    (
        "reduce-reduce-integer",
        "input %x: i32[4, 8, 3]; %y = reduce %x {function=mean, axes=[1], keepdim=true}; %r = reduce %y {function=mean, axes=[2], keepdim=true}",
    ),
    (
        "reduce-reduce",
        "input %x: f32[4, 8, 3]; %y = reduce %x {function=sum, axes=[0], keepdim=true}; %r = reduce %y {function=mean, axes=[2], keepdim=true}",
    ),
    (
        "extremum-permute",
        "input %x: f32[4, 8, 3]; %y = permute %x {axes=[2, 0, 1]}; %r = reduce %y {function=sum, axes=[0, 2], keepdim=true}",
    ),
    (
        "sum-expand-integer",
        "input %x: i32[4, 1, 3]; %y = expand %x {shape=[4, 8, 3]}; %r = reduce %y {function=mean, axes=[1, 2], keepdim=true}",
    ),
    (
        "sum-expand",
        "input %x: f32[8, 1]; %y = expand %x {shape=[3, 8, 4]}; %r = reduce %y {function=sum, axes=[1], keepdim=true}",
    ),
];
