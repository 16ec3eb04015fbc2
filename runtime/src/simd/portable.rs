//! Lanes as arrays of eight, for machines without a file of their own here: the compiler turns the loops into
//! whatever vectors the target has.

use std::array::from_fn;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Sub};

use super::{IntLanes, Lanes, MaskLanes};

const WIDTH: usize = 8;

#[derive(Clone, Copy)]
pub(super) struct F32x8([f32; WIDTH]);

#[derive(Clone, Copy)]
pub(super) struct I32x8([i32; WIDTH]);

/// All ones where true, zero where false.
#[derive(Clone, Copy)]
pub(super) struct Mask8([u32; WIDTH]);

macro_rules! operators {
    ($vector:ident: $($operator:ident $method:ident = |$a:ident, $b:ident| $value:expr;)*) => {
        $(impl $operator for $vector {
            type Output = $vector;
            #[inline(always)]
            fn $method(self, other: $vector) -> $vector {
                $vector(from_fn(|lane| {
                    let ($a, $b) = (self.0[lane], other.0[lane]);
                    $value
                }))
            }
        })*
    };
}

operators! { F32x8:
    Add add = |a, b| a + b;
    Sub sub = |a, b| a - b;
    Mul mul = |a, b| a * b;
    Div div = |a, b| a / b;
}

operators! { I32x8:
    Add add = |a, b| a.wrapping_add(b);
    Sub sub = |a, b| a.wrapping_sub(b);
    BitAnd bitand = |a, b| a & b;
    BitOr bitor = |a, b| a | b;
    BitXor bitxor = |a, b| a ^ b;
}

operators! { Mask8:
    BitAnd bitand = |a, b| a & b;
    BitOr bitor = |a, b| a | b;
    BitXor bitxor = |a, b| a ^ b;
}

impl Neg for F32x8 {
    type Output = F32x8;
    #[inline(always)]
    fn neg(self) -> F32x8 {
        F32x8(self.0.map(|x| -x))
    }
}

impl Not for Mask8 {
    type Output = Mask8;
    #[inline(always)]
    fn not(self) -> Mask8 {
        Mask8(self.0.map(|x| !x))
    }
}

#[inline(always)]
fn mask(truth: impl Fn(usize) -> bool) -> Mask8 {
    Mask8(from_fn(|lane| if truth(lane) { u32::MAX } else { 0 }))
}

impl Lanes for F32x8 {
    type Int = I32x8;
    type Mask = Mask8;

    const WIDTH: usize = WIDTH;
    // In vectors of this width; the machine's own are usually half as wide.
    const REGISTERS: usize = 8;
    // Without the instruction the fused form is a slow library call.
    const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

    #[inline(always)]
    fn splat(value: f32) -> Self {
        F32x8([value; WIDTH])
    }

    #[inline(always)]
    fn load(source: &[f32]) -> Self {
        let source = &source[..WIDTH];
        F32x8(from_fn(|lane| source[lane]))
    }

    #[inline(always)]
    fn store(self, target: &mut [f32]) {
        target[..WIDTH].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        if Self::FUSED {
            F32x8(from_fn(|lane| self.0[lane].mul_add(factor.0[lane], addend.0[lane])))
        } else {
            self * factor + addend
        }
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        F32x8(from_fn(|lane| if self.0[lane] < other.0[lane] { self.0[lane] } else { other.0[lane] }))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        F32x8(from_fn(|lane| if self.0[lane] > other.0[lane] { self.0[lane] } else { other.0[lane] }))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        F32x8(self.0.map(f32::sqrt))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        F32x8(self.0.map(f32::abs))
    }

    #[inline(always)]
    fn floor(self) -> Self {
        F32x8(self.0.map(f32::floor))
    }

    #[inline(always)]
    fn ceil(self) -> Self {
        F32x8(self.0.map(f32::ceil))
    }

    #[inline(always)]
    fn trunc(self) -> Self {
        F32x8(self.0.map(f32::trunc))
    }

    #[inline(always)]
    fn round(self) -> Self {
        F32x8(self.0.map(f32::round_ties_even))
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Mask8 {
        mask(|lane| self.0[lane] == other.0[lane])
    }

    #[inline(always)]
    fn lt(self, other: Self) -> Mask8 {
        mask(|lane| self.0[lane] < other.0[lane])
    }

    #[inline(always)]
    fn le(self, other: Self) -> Mask8 {
        mask(|lane| self.0[lane] <= other.0[lane])
    }

    #[inline(always)]
    fn select(mask: Mask8, chosen: Self, other: Self) -> Self {
        F32x8(from_fn(|lane| if mask.0[lane] != 0 { chosen.0[lane] } else { other.0[lane] }))
    }

    #[inline(always)]
    fn to_bits(self) -> I32x8 {
        I32x8(self.0.map(|x| x.to_bits() as i32))
    }

    #[inline(always)]
    fn deinterleave(self, next: Self) -> (Self, Self) {
        let lane = |i: usize| if i < WIDTH { self.0[i] } else { next.0[i - WIDTH] };
        (F32x8(from_fn(|i| lane(2 * i))), F32x8(from_fn(|i| lane(2 * i + 1))))
    }

    #[inline(always)]
    fn to_int(self) -> I32x8 {
        I32x8(self.0.map(|x| x.round_ties_even() as i32))
    }
}

impl IntLanes for I32x8 {
    type Float = F32x8;
    type Mask = Mask8;

    #[inline(always)]
    fn splat(value: i32) -> Self {
        I32x8([value; WIDTH])
    }

    #[inline(always)]
    fn load(source: &[i32]) -> Self {
        let source = &source[..WIDTH];
        I32x8(from_fn(|lane| source[lane]))
    }

    #[inline(always)]
    fn store(self, target: &mut [i32]) {
        target[..WIDTH].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        I32x8(from_fn(|lane| self.0[lane].wrapping_mul(other.0[lane])))
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        I32x8(self.0.map(|x| x << BITS))
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self) -> Self {
        I32x8(self.0.map(|x| x >> BITS))
    }

    #[inline(always)]
    fn shr_logical<const BITS: u32>(self) -> Self {
        I32x8(self.0.map(|x| (x as u32 >> BITS) as i32))
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Mask8 {
        mask(|lane| self.0[lane] == other.0[lane])
    }

    #[inline(always)]
    fn gt(self, other: Self) -> Mask8 {
        mask(|lane| self.0[lane] > other.0[lane])
    }

    #[inline(always)]
    fn select(mask: Mask8, chosen: Self, other: Self) -> Self {
        I32x8(from_fn(|lane| if mask.0[lane] != 0 { chosen.0[lane] } else { other.0[lane] }))
    }

    #[inline(always)]
    fn bitcast(self) -> F32x8 {
        F32x8(self.0.map(|x| f32::from_bits(x as u32)))
    }

    #[inline(always)]
    fn to_float(self) -> F32x8 {
        F32x8(self.0.map(|x| x as f32))
    }
}

impl MaskLanes for Mask8 {
    #[inline(always)]
    fn any(self) -> bool {
        self.0.iter().fold(0, |all, &lane| all | lane) != 0
    }

    #[inline(always)]
    fn all(self) -> bool {
        self.0.iter().fold(u32::MAX, |all, &lane| all & lane) == u32::MAX
    }
}
