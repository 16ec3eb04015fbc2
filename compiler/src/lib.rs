//! situ: an ahead-of-time tensor compiler that works in place where it can prove it safe.
#![forbid(unsafe_code)]

pub mod diagnostic;

pub mod types;
pub mod strides;
pub mod ops;
pub mod ir;
pub mod seeded;
pub mod eval;

pub mod source;

pub mod alias;
pub mod functional;

pub mod rewrite;

pub mod lower;

pub mod place;
pub mod plan;
pub mod rematerialise;
pub mod rounds;
pub mod savings;
pub mod report;
pub mod emit;
pub mod pipeline;
pub mod bundle;

pub mod conformance;
pub mod npz;
pub mod safetensors;
