//! What several families of tests need: running programs from outside, and second opinions on what programs mean.

pub mod controlled;
pub mod onnx;
pub mod interpreter;
pub mod programs;
pub mod pt2;
pub mod random;
pub mod run;
pub mod xml;
