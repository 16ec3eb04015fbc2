//! Element types as Rust types, for kernels that are written once for all dtypes.
//!
//! Kernels that only move elements work on their bits and need the size alone ([`with_bits`]); kernels that order or
//! add them are generic over [`Element`] ([`with_element`]). `bool` is a byte that holds 0 or 1 and is treated as `u8`.

use half::{bf16, f16};

use crate::scalar;
use crate::types::DType;

/// An element of a tensor. Arithmetic is that of the point functions: integers wrap, `f16` and `bf16` compute in `f32`.
pub trait Element: bytemuck::Pod + Send + Sync + PartialOrd {
    /// Orders as the elements do: both zeros are equal, and every NaN is equal to every other and above all numbers.
    type Key: Copy + Ord + Into<u64> + std::ops::Not<Output = Self::Key>;
    /// What averages are added up in: `f32`, `f64` or `i64`.
    type Sum: Sum;

    /// The value below all others: minus infinity or the least integer.
    const LOWEST: Self;
    /// The key above all others, which every NaN has.
    const LAST_KEY: Self::Key;
    const IS_FLOAT: bool;

    /// Exact but for 64-bit integers above 2^53.
    fn to_f64(self) -> f64;
    /// Floats round to nearest even (`f16` and `bf16` by way of `f32`, as everywhere); integers round halves to even and
    /// saturate, NaN gives 0.
    fn from_f64(value: f64) -> Self;
    /// Floats truncate and saturate.
    fn to_i64(self) -> i64;
    /// Integers wrap.
    fn from_i64(value: i64) -> Self;
    fn key(self) -> Self::Key;
    fn is_nan(self) -> bool;
    fn to_sum(self) -> Self::Sum;
    fn from_sum(sum: Self::Sum) -> Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;

    /// The larger element, of equal ones the second; NaN if either is NaN.
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }

    /// The smaller element, of equal ones the second; NaN if either is NaN.
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
}

/// A sum of elements that becomes their mean.
pub trait Sum: bytemuck::Pod + Send + Sync {
    fn add(self, other: Self) -> Self;
    /// Integers truncate towards zero.
    fn divide(self, count: u32) -> Self;
}

impl Sum for f32 {
    #[inline(always)]
    fn add(self, other: f32) -> f32 {
        self + other
    }

    #[inline(always)]
    fn divide(self, count: u32) -> f32 {
        self / count as f32
    }
}

impl Sum for f64 {
    #[inline(always)]
    fn add(self, other: f64) -> f64 {
        self + other
    }

    #[inline(always)]
    fn divide(self, count: u32) -> f64 {
        self / f64::from(count)
    }
}

impl Sum for i64 {
    #[inline(always)]
    fn add(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn divide(self, count: u32) -> i64 {
        self / i64::from(count)
    }
}

macro_rules! float_element {
    ($type:ident, $bits:ty, $sum:ty, $to_sum:expr, $from_sum:expr, $to_f64:expr, $from_f64:expr) => {
        impl Element for $type {
            type Key = $bits;
            type Sum = $sum;

            const LOWEST: Self = <$type>::NEG_INFINITY;
            const LAST_KEY: $bits = <$bits>::MAX;
            const IS_FLOAT: bool = true;

            #[inline(always)]
            fn to_f64(self) -> f64 {
                $to_f64(self)
            }

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                $from_f64(value)
            }

            #[inline(always)]
            fn to_i64(self) -> i64 {
                self.to_f64() as i64
            }

            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                Self::from_f64(value as f64)
            }

            #[inline(always)]
            fn key(self) -> $bits {
                // Without branches, whose outcome nobody could predict: the sign of every other element.
                let bits = self.to_bits();
                let sign: $bits = 1 << (<$bits>::BITS - 1);
                let magnitude = bits & !sign;
                // Minus zero gets the key of zero.
                let bits = if magnitude == 0 { 0 } else { bits };
                let flipped = (0 as $bits).wrapping_sub(bits >> (<$bits>::BITS - 1)) | sign;
                if magnitude > <$type>::INFINITY.to_bits() { <$bits>::MAX } else { bits ^ flipped }
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }

            #[inline(always)]
            fn to_sum(self) -> $sum {
                $to_sum(self)
            }

            #[inline(always)]
            fn from_sum(sum: $sum) -> Self {
                $from_sum(sum)
            }

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                $from_sum($to_sum(self) + $to_sum(other))
            }

            #[inline(always)]
            fn times(self, other: Self) -> Self {
                $from_sum($to_sum(self) * $to_sum(other))
            }
        }
    };
}

float_element!(f32, u32, f32, |x| x, |x| x, f64::from, |x| x as f32);
float_element!(f64, u64, f64, |x| x, |x| x, |x| x, |x| x);
float_element!(f16, u16, f32, f16::to_f32, f16::from_f32, f16::to_f64, |x| f16::from_f32(x as f32));
float_element!(bf16, u16, f32, bf16::to_f32, bf16::from_f32, bf16::to_f64, |x| bf16::from_f32(x as f32));

macro_rules! int_element {
    ($($type:ty, $key:ty;)*) => {
        $(impl Element for $type {
            type Key = $key;
            type Sum = i64;

            const LOWEST: Self = <$type>::MIN;
            const LAST_KEY: $key = <$key>::MAX;
            const IS_FLOAT: bool = false;

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value.round_ties_even() as $type
            }

            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as i64
            }

            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $type
            }

            #[inline(always)]
            fn key(self) -> $key {
                self.wrapping_sub(<$type>::MIN) as $key
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }

            #[inline(always)]
            fn to_sum(self) -> i64 {
                self as i64
            }

            #[inline(always)]
            fn from_sum(sum: i64) -> Self {
                sum as $type
            }

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
        })*
    };
}

int_element! {
    i8, u8;
    u8, u8;
    i16, u16;
    i32, u32;
    i64, u64;
}

/// Evaluates an expression with a type name bound to the element type of a dtype.
macro_rules! with_element {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            $crate::types::DType::F32 => {
                type $type = f32;
                $body
            }
            $crate::types::DType::F64 => {
                type $type = f64;
                $body
            }
            $crate::types::DType::F16 => {
                type $type = half::f16;
                $body
            }
            $crate::types::DType::BF16 => {
                type $type = half::bf16;
                $body
            }
            $crate::types::DType::I8 => {
                type $type = i8;
                $body
            }
            $crate::types::DType::U8 | $crate::types::DType::Bool => {
                type $type = u8;
                $body
            }
            $crate::types::DType::I16 => {
                type $type = i16;
                $body
            }
            $crate::types::DType::I32 => {
                type $type = i32;
                $body
            }
            $crate::types::DType::I64 => {
                type $type = i64;
                $body
            }
        }
    };
}

/// Evaluates an expression with a type name bound to the unsigned integer as wide as a dtype.
macro_rules! with_bits {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $type = u8;
                $body
            }
            2 => {
                type $type = u16;
                $body
            }
            4 => {
                type $type = u32;
                $body
            }
            _ => {
                type $type = u64;
                $body
            }
        }
    };
}

pub(crate) use {with_bits, with_element};

/// The elements that aligned bytes hold. Bytes that hold none may lie anywhere.
pub fn typed<T: bytemuck::Pod>(bytes: &[u8]) -> &[T] {
    if bytes.is_empty() { &[] } else { bytemuck::cast_slice(bytes) }
}

/// As [`typed`], to write.
pub fn typed_mut<T: bytemuck::Pod>(bytes: &mut [u8]) -> &mut [T] {
    if bytes.is_empty() { &mut [] } else { bytemuck::cast_slice_mut(bytes) }
}

/// The bits of the element at `position` (in elements) of `bytes`.
#[inline]
pub fn load_bits(bytes: &[u8], dtype: DType, position: usize) -> u64 {
    let size = dtype.size();
    let mut bits = [0u8; 8];
    bits[..size].copy_from_slice(&bytes[position * size..][..size]);
    u64::from_le_bytes(bits)
}

/// Stores the low bytes of `bits` as the element at `position` (in elements) of `bytes`.
#[inline]
pub fn store_bits(bytes: &mut [u8], dtype: DType, position: usize, bits: u64) {
    let size = dtype.size();
    bytes[position * size..][..size].copy_from_slice(&bits.to_le_bytes()[..size]);
}

/// The number that `bits` stand for: exact but for 64-bit integers above 2^53.
#[inline]
pub fn number(dtype: DType, bits: u64) -> f64 {
    if dtype.is_float() { scalar::decode_float(dtype, bits) } else { scalar::decode_int(dtype, bits) as f64 }
}

/// Bits of the element of `dtype` nearest to `value`, as [`Element::from_f64`] rounds.
#[inline]
pub fn number_bits(dtype: DType, value: f64) -> u64 {
    match dtype {
        DType::I8 => u64::from(i8::from_f64(value) as u8),
        DType::U8 => u64::from(u8::from_f64(value)),
        DType::I16 => u64::from(i16::from_f64(value) as u16),
        DType::I32 => u64::from(i32::from_f64(value) as u32),
        DType::I64 => i64::from_f64(value) as u64,
        DType::Bool => u64::from(value != 0.0),
        _ => scalar::encode_float(dtype, value),
    }
}

/// [`Element::key`] on bits.
pub fn order_key(dtype: DType, bits: u64) -> u64 {
    match dtype {
        DType::F32 => u64::from(f32::from_bits(bits as u32).key()),
        DType::F64 => f64::from_bits(bits).key(),
        DType::F16 => u64::from(f16::from_bits(bits as u16).key()),
        DType::BF16 => u64::from(bf16::from_bits(bits as u16).key()),
        _ => (scalar::decode_int(dtype, bits) as u64) ^ (1 << 63),
    }
}
