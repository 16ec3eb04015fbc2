//! What families of tests share: a second opinion on what programs mean.

pub mod evaluate;
pub mod interpreter;
pub mod programs;
