//! The one test binary: every module is a family of tests over the whole house.

mod allocation;
mod checker;
mod text;
mod kernels;
