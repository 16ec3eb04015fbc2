//! The one test binary: every module is a family of tests over the whole house.

mod functional;
mod text;
mod kernels;
mod memory;
mod hostile_onnx;
mod support;
