//! Seeded weights: the generator behind `seeded(normal, std=0.02, seed=7)`.
//!
//! Element `i` of a constant depends only on its seed and `i`, and on nothing of the machine. Bits come from SplitMix64
//! (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) at state
//! `seed * GAMMA' + i * GAMMA`; a uniform number in [0, 1) takes the top 53 bits. A normal number is the sum of twelve
//! uniform numbers minus six, scaled (Irwin-Hall): exact arithmetic everywhere, no logarithm, tails cut at six.

use half::{bf16, f16};

use crate::ir::Distribution;
use crate::types::DType;

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A uniform number in [0, 1): number `index` of the stream of `seed`.
pub fn uniform(seed: u64, index: u64) -> f64 {
    let state = mix(seed.wrapping_add(GAMMA)).wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA));
    (mix(state) >> 11) as f64 / (1u64 << 53) as f64
}

/// Number `index` of the stream of `seed`, distributed as asked.
pub fn number(distribution: Distribution, seed: u64, index: u64) -> f64 {
    match distribution {
        Distribution::Uniform { low, high } => low + (high - low) * uniform(seed, index),
        Distribution::Normal { mean, std } => {
            // Three draws of 64 bits give twelve 16-bit uniform numbers; their sum has mean 6 and variance close to 1.
            let sum: u64 = (0..3)
                .map(|k| {
                    let bits = mix(mix(seed.wrapping_add(GAMMA))
                        .wrapping_add(index.wrapping_mul(3).wrapping_add(k + 1).wrapping_mul(GAMMA)));
                    (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
                })
                .sum();
            mean + std * ((sum as f64 + 6.0) / 65536.0 - 6.0)
        }
    }
}

/// `len` elements as little endian bytes. Integers are rounded towards zero; `bool` is "at least one half".
pub fn draw(distribution: Distribution, seed: u64, dtype: DType, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len * dtype.size());
    for index in 0..len as u64 {
        let x = number(distribution, seed, index);
        match dtype {
            DType::F32 => bytes.extend((x as f32).to_le_bytes()),
            DType::F64 => bytes.extend(x.to_le_bytes()),
            DType::F16 => bytes.extend(f16::from_f64(x).to_le_bytes()),
            DType::BF16 => bytes.extend(bf16::from_f64(x).to_le_bytes()),
            DType::I8 => bytes.extend((x as i8).to_le_bytes()),
            DType::U8 => bytes.push(x as u8),
            DType::I16 => bytes.extend((x as i16).to_le_bytes()),
            DType::I32 => bytes.extend((x as i32).to_le_bytes()),
            DType::I64 => bytes.extend((x as i64).to_le_bytes()),
            DType::Bool => bytes.push(u8::from(x >= 0.5)),
        }
    }
    bytes
}
