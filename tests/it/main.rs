//! The one test binary: every module is a family of tests over the whole house.

mod support;

mod alias;
mod docs;
mod functional;
mod text;
mod kernels;
mod memory;
