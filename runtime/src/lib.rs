//! Loads, checks and runs what situ has compiled.

pub mod types;
pub mod point;
pub mod scalar;
pub mod kernel;
pub mod contract;
pub mod simd;
pub mod pack;
pub mod bands;
pub mod executable;
pub mod arena;
pub mod map;
pub mod validate;
pub mod check;
pub mod wire;
pub mod tensor;
mod schedule;
pub mod session;
pub mod raw;
#[cfg(test)]
mod fixture;
