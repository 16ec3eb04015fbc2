//! Loads, checks and runs what situ has compiled.

pub mod types;
pub mod point;
pub mod scalar;
pub mod kernel;
pub mod simd;
pub mod executable;
pub mod map;
pub mod pack;
