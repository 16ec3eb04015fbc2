//! Lanes in 256-bit registers: AVX2 with fused multiply-add and half-precision conversion.
//!
//! Contract of everything here that is `unsafe`: the machine has the features that [`detected`] asks for. The types
//! are visible only inside `simd`, and values of them come to be only below [`run`], whose callers have asked.

use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Sub};

use super::{Algorithm, IntLanes, Lanes, MaskLanes};

const WIDTH: usize = 8;

#[derive(Clone, Copy)]
pub(super) struct F32x8(__m256);

#[derive(Clone, Copy)]
pub(super) struct I32x8(__m256i);

/// All ones where true, zero where false.
#[derive(Clone, Copy)]
pub(super) struct Mask8(__m256);

/// From `WIDTH - count` on: a mask of the first `count` lanes.
const FIRST: [i32; 2 * WIDTH] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// The mask of the first `count` lanes; all from `WIDTH` on.
#[inline(always)]
fn first(count: usize) -> I32x8 {
    I32x8::load(&FIRST[WIDTH - count.min(WIDTH)..])
}

/// Whether the machine has the features of this file.
pub(super) fn detected() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// Runs `algorithm` with the vectors of this file. Callable where [`detected`] is true.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn run<A: Algorithm>(algorithm: A) -> A::Output {
    algorithm.run::<F32x8>()
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

/// The sum of four lanes, upper half to lower.
#[inline(always)]
pub(super) fn halves(four: __m128) -> f32 {
    let two = registers!(_mm_add_ps(four, _mm_movehl_ps(four, four)));
    registers!(_mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two))))
}

operators! { F32x8:
    Add add = _mm256_add_ps;
    Sub sub = _mm256_sub_ps;
    Mul mul = _mm256_mul_ps;
    Div div = _mm256_div_ps;
}

operators! { I32x8:
    Add add = _mm256_add_epi32;
    Sub sub = _mm256_sub_epi32;
    BitAnd bitand = _mm256_and_si256;
    BitOr bitor = _mm256_or_si256;
    BitXor bitxor = _mm256_xor_si256;
}

operators! { Mask8:
    BitAnd bitand = _mm256_and_ps;
    BitOr bitor = _mm256_or_ps;
    BitXor bitxor = _mm256_xor_ps;
}

impl Neg for F32x8 {
    type Output = F32x8;
    #[inline(always)]
    fn neg(self) -> F32x8 {
        F32x8(registers!(_mm256_xor_ps(self.0, _mm256_set1_ps(-0.0))))
    }
}

impl Not for Mask8 {
    type Output = Mask8;
    #[inline(always)]
    fn not(self) -> Mask8 {
        Mask8(registers!(_mm256_xor_ps(self.0, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))))
    }
}

impl Lanes for F32x8 {
    type Int = I32x8;
    type Mask = Mask8;

    const WIDTH: usize = WIDTH;
    const REGISTERS: usize = 16;
    const FUSED: bool = true;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        F32x8(registers!(_mm256_set1_ps(value)))
    }

    #[inline(always)]
    fn load(source: &[f32]) -> Self {
        let source = &source[..WIDTH];
        // SAFETY: the slice has `WIDTH` elements, and the load needs no alignment.
        F32x8(unsafe { _mm256_loadu_ps(source.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, target: &mut [f32]) {
        let target = &mut target[..WIDTH];
        // SAFETY: the slice has `WIDTH` elements and is ours to write; the store needs no alignment.
        unsafe { _mm256_storeu_ps(target.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn load_partial(source: &[f32], fill: f32) -> Self {
        let mask = first(source.len());
        // SAFETY: the mask selects elements of the slice alone, and the others are not touched.
        let loaded = F32x8(unsafe { _mm256_maskload_ps(source.as_ptr(), mask.0) });
        Self::select(Mask8(registers!(_mm256_castsi256_ps(mask.0))), loaded, Self::splat(fill))
    }

    #[inline(always)]
    fn store_partial(self, target: &mut [f32]) {
        // A whole vector takes the plain store, which is much faster on some machines.
        if target.len() >= WIDTH {
            return self.store(target);
        }
        // SAFETY: the mask selects elements of the slice alone, and the others are not touched.
        unsafe { _mm256_maskstore_ps(target.as_mut_ptr(), first(target.len()).0, self.0) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        F32x8(registers!(_mm256_fmadd_ps(self.0, factor.0, addend.0)))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        F32x8(registers!(_mm256_min_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        F32x8(registers!(_mm256_max_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        F32x8(registers!(_mm256_sqrt_ps(self.0)))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        F32x8(registers!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0)))
    }

    #[inline(always)]
    fn floor(self) -> Self {
        F32x8(registers!(_mm256_floor_ps(self.0)))
    }

    #[inline(always)]
    fn ceil(self) -> Self {
        F32x8(registers!(_mm256_ceil_ps(self.0)))
    }

    #[inline(always)]
    fn trunc(self) -> Self {
        F32x8(registers!(_mm256_round_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(self.0)))
    }

    #[inline(always)]
    fn round(self) -> Self {
        F32x8(registers!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)))
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Mask8 {
        Mask8(registers!(_mm256_cmp_ps::<_CMP_EQ_OQ>(self.0, other.0)))
    }

    #[inline(always)]
    fn lt(self, other: Self) -> Mask8 {
        Mask8(registers!(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0)))
    }

    #[inline(always)]
    fn le(self, other: Self) -> Mask8 {
        Mask8(registers!(_mm256_cmp_ps::<_CMP_LE_OQ>(self.0, other.0)))
    }

    #[inline(always)]
    fn select(mask: Mask8, chosen: Self, other: Self) -> Self {
        F32x8(registers!(_mm256_blendv_ps(other.0, chosen.0, mask.0)))
    }

    #[inline(always)]
    fn to_bits(self) -> I32x8 {
        I32x8(registers!(_mm256_castps_si256(self.0)))
    }

    #[inline(always)]
    fn deinterleave(self, next: Self) -> (Self, Self) {
        // Within halves of 128 bits first, then pairs of elements across them.
        let even = registers!(_mm256_castps_pd(_mm256_shuffle_ps::<0b10_00_10_00>(self.0, next.0)));
        let odd = registers!(_mm256_castps_pd(_mm256_shuffle_ps::<0b11_01_11_01>(self.0, next.0)));
        let even = registers!(_mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(even)));
        let odd = registers!(_mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(odd)));
        (F32x8(even), F32x8(odd))
    }

    #[inline(always)]
    fn reduce_sum(self) -> f32 {
        halves(registers!(_mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0))))
    }

    #[inline(always)]
    fn to_int(self) -> I32x8 {
        // Rounds by the control register, which Rust requires to be at its default, nearest even.
        I32x8(registers!(_mm256_cvtps_epi32(self.0)))
    }
}

impl IntLanes for I32x8 {
    type Float = F32x8;
    type Mask = Mask8;

    #[inline(always)]
    fn splat(value: i32) -> Self {
        I32x8(registers!(_mm256_set1_epi32(value)))
    }

    #[inline(always)]
    fn load(source: &[i32]) -> Self {
        let source = &source[..WIDTH];
        // SAFETY: the slice has `WIDTH` elements, and the load needs no alignment.
        I32x8(unsafe { _mm256_loadu_si256(source.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, target: &mut [i32]) {
        let target = &mut target[..WIDTH];
        // SAFETY: the slice has `WIDTH` elements and is ours to write; the store needs no alignment.
        unsafe { _mm256_storeu_si256(target.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        I32x8(registers!(_mm256_mullo_epi32(self.0, other.0)))
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        I32x8(registers!(_mm256_sll_epi32(self.0, _mm_cvtsi32_si128(BITS as i32))))
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self) -> Self {
        I32x8(registers!(_mm256_sra_epi32(self.0, _mm_cvtsi32_si128(BITS as i32))))
    }

    #[inline(always)]
    fn shr_logical<const BITS: u32>(self) -> Self {
        I32x8(registers!(_mm256_srl_epi32(self.0, _mm_cvtsi32_si128(BITS as i32))))
    }

    #[inline(always)]
    fn eq(self, other: Self) -> Mask8 {
        Mask8(registers!(_mm256_castsi256_ps(_mm256_cmpeq_epi32(self.0, other.0))))
    }

    #[inline(always)]
    fn gt(self, other: Self) -> Mask8 {
        Mask8(registers!(_mm256_castsi256_ps(_mm256_cmpgt_epi32(self.0, other.0))))
    }

    #[inline(always)]
    fn select(mask: Mask8, chosen: Self, other: Self) -> Self {
        I32x8(registers!(_mm256_blendv_epi8(other.0, chosen.0, _mm256_castps_si256(mask.0))))
    }

    #[inline(always)]
    fn bitcast(self) -> F32x8 {
        F32x8(registers!(_mm256_castsi256_ps(self.0)))
    }

    #[inline(always)]
    fn to_float(self) -> F32x8 {
        F32x8(registers!(_mm256_cvtepi32_ps(self.0)))
    }
}

impl MaskLanes for Mask8 {
    #[inline(always)]
    fn any(self) -> bool {
        registers!(_mm256_movemask_ps(self.0)) != 0
    }

    #[inline(always)]
    fn all(self) -> bool {
        registers!(_mm256_movemask_ps(self.0)) == 0xff
    }
}
