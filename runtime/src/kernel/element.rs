//! Element types as Rust types, for kernels that are written once for all dtypes.
//!
//! Kernels that only move elements work on their bits and need the size alone ([`with_bits`]); kernels that order or
//! add them are generic over [`Element`] ([`with_element`]). `bool` is a byte that holds 0 or 1 and is treated as `u8`.

use half::{bf16, f16};

use crate::scalar;
use crate::types::DType;

/// An element of a tensor.
pub trait Element: bytemuck::Pod + Send + Sync + PartialOrd {
    /// Exact but for 64-bit integers above 2^53.
    fn to_f64(self) -> f64;
    /// Floats round to nearest even (`f16` and `bf16` by way of `f32`, as everywhere); integers round halves to even and saturate, NaN gives 0.
    fn from_f64(value: f64) -> Self;
    /// A number that orders as the elements do: both zeros are equal, and every NaN is equal to every other and above
    /// all numbers.
    fn order_key(self) -> u64;
    fn is_nan(self) -> bool;
    /// The value below all others: minus infinity or the least integer.
    const LOWEST: Self;
}

macro_rules! float_element {
    ($type:ty, $bits:ty, $to:expr, $from:expr, $lowest:expr) => {
        impl Element for $type {
            const LOWEST: Self = $lowest;

            #[inline]
            fn to_f64(self) -> f64 {
                $to(self)
            }

            #[inline]
            fn from_f64(value: f64) -> Self {
                $from(value)
            }

            #[inline]
            fn order_key(self) -> u64 {
                if self.is_nan() {
                    return u64::from(<$bits>::MAX);
                }
                let bits = self.to_bits();
                let sign: $bits = 1 << (<$bits>::BITS - 1);
                // Minus zero gets the key of zero.
                let key = if bits & sign == 0 || bits == sign { (bits & !sign) | sign } else { !bits };
                u64::from(key)
            }

            #[inline]
            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }
        }
    };
}

float_element!(f32, u32, f64::from, |value| value as f32, f32::NEG_INFINITY);
float_element!(f64, u64, |value| value, |value| value, f64::NEG_INFINITY);
float_element!(f16, u16, f16::to_f64, |value| f16::from_f32(value as f32), f16::NEG_INFINITY);
float_element!(bf16, u16, bf16::to_f64, |value| bf16::from_f32(value as f32), bf16::NEG_INFINITY);

macro_rules! int_element {
    ($($type:ty),*) => {
        $(impl Element for $type {
            const LOWEST: Self = <$type>::MIN;

            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline]
            fn from_f64(value: f64) -> Self {
                value.round_ties_even() as $type
            }

            #[inline]
            fn order_key(self) -> u64 {
                (self as i64).wrapping_sub(<$type>::MIN as i64) as u64
            }

            #[inline]
            fn is_nan(self) -> bool {
                false
            }
        })*
    };
}

int_element!(i8, u8, i16, i32, i64);

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

/// [`Element::order_key`] on bits.
pub fn order_key(dtype: DType, bits: u64) -> u64 {
    match dtype {
        DType::F32 => f32::from_bits(bits as u32).order_key(),
        DType::F64 => f64::from_bits(bits).order_key(),
        DType::F16 => f16::from_bits(bits as u16).order_key(),
        DType::BF16 => bf16::from_bits(bits as u16).order_key(),
        _ => (scalar::decode_int(dtype, bits) as u64) ^ (1 << 63),
    }
}
