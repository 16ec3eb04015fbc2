//! Lanes in 512-bit registers: AVX-512F.
//!
//! Contract of everything here that is `unsafe`: the machine has the features that [`detected`] asks for. The types
//! are visible only inside `simd`, and values of them come to be only below [`run`], whose callers have asked.

use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Sub};

use super::{Algorithm, IntLanes, Lanes, MaskLanes};

const WIDTH: usize = 16;

#[derive(Clone, Copy)]
pub(super) struct F32x16(__m512);

#[derive(Clone, Copy)]
pub(super) struct I32x16(__m512i);

/// A bit a lane.
#[derive(Clone, Copy)]
pub(super) struct Mask16(__mmask16);

/// The mask of the first `count` lanes; all from `WIDTH` on.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1u32 << count.min(WIDTH)) - 1) as __mmask16
}

/// Whether the machine has the features of this file.
pub(super) fn detected() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Runs `algorithm` with the vectors of this file. Callable where [`detected`] is true.
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
pub(super) fn run<A: Algorithm>(algorithm: A) -> A::Output {
    algorithm.run::<F32x16>()
}

macro_rules! operators {
    ($vector:ident: $($operator:ident $method:ident = $intrinsic:ident;)*) => {
        $(impl $operator for $vector {
            type Output = $vector;
            #[inline(always)]
            fn $method(self, other: $vector) -> $vector {
                // SAFETY: the file's contract; the intrinsic works on registers alone.
                $vector(unsafe { $intrinsic(self.0, other.0) })
            }
        })*
    };
}

/// A value from intrinsics that work on registers alone.
macro_rules! registers {
    ($value:expr) => {
        // SAFETY: the file's contract; no memory is touched.
        unsafe { $value }
    };
}

operators! { F32x16:
    Add add = _mm512_add_ps;
    Sub sub = _mm512_sub_ps;
    Mul mul = _mm512_mul_ps;
    Div div = _mm512_div_ps;
}

operators! { I32x16:
    Add add = _mm512_add_epi32;
    Sub sub = _mm512_sub_epi32;
    BitAnd bitand = _mm512_and_si512;
    BitOr bitor = _mm512_or_si512;
    BitXor bitxor = _mm512_xor_si512;
}

macro_rules! mask_operators {
    ($($operator:ident $method:ident = |$a:ident, $b:ident| $value:expr;)*) => {
        $(impl $operator for Mask16 {
            type Output = Mask16;
            #[inline(always)]
            fn $method(self, other: Mask16) -> Mask16 {
                let ($a, $b) = (self.0, other.0);
                Mask16($value)
            }
        })*
    };
}

mask_operators! {
    BitAnd bitand = |a, b| a & b;
    BitOr bitor = |a, b| a | b;
    BitXor bitxor = |a, b| a ^ b;
}

impl Neg for F32x16 {
    type Output = F32x16;
    #[inline(always)]
    fn neg(self) -> F32x16 {
        (self.to_bits() ^ I32x16::splat(i32::MIN)).bitcast()
    }
}

impl Not for Mask16 {
    type Output = Mask16;
    #[inline(always)]
    fn not(self) -> Mask16 {
        Mask16(!self.0)
    }
}

impl Lanes for F32x16 {
    type Int = I32x16;
    type Mask = Mask16;

    const WIDTH: usize = WIDTH;
    const REGISTERS: usize = 32;
    const FUSED: bool = true;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        F32x16(registers!(_mm512_set1_ps(value)))
    }

    #[inline(always)]
    fn load(source: &[f32]) -> Self {
        let source = &source[..WIDTH];
        // SAFETY: the slice has `WIDTH` elements, and the load needs no alignment.
        F32x16(unsafe { _mm512_loadu_ps(source.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, target: &mut [f32]) {
        let target = &mut target[..WIDTH];
        // SAFETY: the slice has `WIDTH` elements and is ours to write; the store needs no alignment.
        unsafe { _mm512_storeu_ps(target.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn load_partial(source: &[f32], fill: f32) -> Self {
        let mask = first(source.len());
        // SAFETY: the mask selects elements of the slice alone, and the others are not touched.
        F32x16(unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask, source.as_ptr()) })
    }

    #[inline(always)]
    fn store_partial(self, target: &mut [f32]) {
        // SAFETY: the mask selects elements of the slice alone, and the others are not touched.
        unsafe { _mm512_mask_storeu_ps(target.as_mut_ptr(), first(target.len()), self.0) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        F32x16(registers!(_mm512_fmadd_ps(self.0, factor.0, addend.0)))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        F32x16(registers!(_mm512_min_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        F32x16(registers!(_mm512_max_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        F32x16(registers!(_mm512_sqrt_ps(self.0)))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        F32x16(registers!(_mm512_abs_ps(self.0)))
    }

    #[inline(always)]
    fn floor(self) -> Self {
        F32x16(registers!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(self.0)))
    }

    #[inline(always)]
    fn ceil(self) -> Self {
        F32x16(registers!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(self.0)))
    }

    #[inline(always)]
    fn trunc(self) -> Self {
        F32x16(registers!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(self.0)))
    }

    #[inline(always)]
    fn round(self) -> Self {
        F32x16(registers!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)))
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Mask16 {
        Mask16(registers!(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self.0, other.0)))
    }

    #[inline(always)]
    fn lt(self, other: Self) -> Mask16 {
        Mask16(registers!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0)))
    }

    #[inline(always)]
    fn le(self, other: Self) -> Mask16 {
        Mask16(registers!(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(self.0, other.0)))
    }

    #[inline(always)]
    fn select(mask: Mask16, chosen: Self, other: Self) -> Self {
        F32x16(registers!(_mm512_mask_blend_ps(mask.0, other.0, chosen.0)))
    }

    #[inline(always)]
    fn to_bits(self) -> I32x16 {
        I32x16(registers!(_mm512_castps_si512(self.0)))
    }

    #[inline(always)]
    fn deinterleave(self, next: Self) -> (Self, Self) {
        let even = I32x16::load(&[0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30]);
        let odd = even + I32x16::splat(1);
        let even = registers!(_mm512_permutex2var_ps(self.0, even.0, next.0));
        let odd = registers!(_mm512_permutex2var_ps(self.0, odd.0, next.0));
        (F32x16(even), F32x16(odd))
    }

    #[inline(always)]
    fn reduce_sum(self) -> f32 {
        let upper = registers!(_mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0))));
        let eight = registers!(_mm256_add_ps(_mm512_castps512_ps256(self.0), upper));
        let four = registers!(_mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight)));
        super::avx2::halves(four)
    }

    #[inline(always)]
    fn to_int(self) -> I32x16 {
        // Rounds by the control register, which Rust requires to be at its default, nearest even.
        I32x16(registers!(_mm512_cvtps_epi32(self.0)))
    }
}

impl IntLanes for I32x16 {
    type Float = F32x16;
    type Mask = Mask16;

    #[inline(always)]
    fn splat(value: i32) -> Self {
        I32x16(registers!(_mm512_set1_epi32(value)))
    }

    #[inline(always)]
    fn load(source: &[i32]) -> Self {
        let source = &source[..WIDTH];
        // SAFETY: the slice has `WIDTH` elements, and the load needs no alignment.
        I32x16(unsafe { _mm512_loadu_si512(source.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, target: &mut [i32]) {
        let target = &mut target[..WIDTH];
        // SAFETY: the slice has `WIDTH` elements and is ours to write; the store needs no alignment.
        unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        I32x16(registers!(_mm512_mullo_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        I32x16(registers!(_mm512_sll_epi32(self.0, _mm_cvtsi32_si128(BITS as i32))))
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self) -> Self {
        I32x16(registers!(_mm512_sra_epi32(self.0, _mm_cvtsi32_si128(BITS as i32))))
    }

    #[inline(always)]
    fn shr_logical<const BITS: u32>(self) -> Self {
        I32x16(registers!(_mm512_srl_epi32(self.0, _mm_cvtsi32_si128(BITS as i32))))
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Mask16 {
        Mask16(registers!(_mm512_cmpeq_epi32_mask(self.0, other.0)))
    }

    #[inline(always)]
    fn gt(self, other: Self) -> Mask16 {
        Mask16(registers!(_mm512_cmpgt_epi32_mask(self.0, other.0)))
    }

    #[inline(always)]
    fn select(mask: Mask16, chosen: Self, other: Self) -> Self {
        I32x16(registers!(_mm512_mask_blend_epi32(mask.0, other.0, chosen.0)))
    }

    #[inline(always)]
    fn bitcast(self) -> F32x16 {
        F32x16(registers!(_mm512_castsi512_ps(self.0)))
    }

    #[inline(always)]
    fn to_float(self) -> F32x16 {
        F32x16(registers!(_mm512_cvtepi32_ps(self.0)))
    }
}

impl MaskLanes for Mask16 {
    #[inline(always)]
    fn any(self) -> bool {
        self.0 != 0
    }

    #[inline(always)]
    fn all(self) -> bool {
        self.0 == u16::MAX
    }
}
