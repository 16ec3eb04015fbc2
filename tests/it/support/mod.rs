//! What several families of tests need.

pub mod onnx;
pub mod run;
