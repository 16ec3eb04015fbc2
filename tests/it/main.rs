//! The one test binary: every module is a family of tests over the whole house.

mod support;

mod tidy;
mod docs;
mod text;
mod alias;
mod bodies;
mod control;
mod regions;
mod functional;
mod overlap;
mod kernels;
mod memory;
mod checker;
mod examples;
mod forms;
mod hazards;
mod faults;
mod determinism;
mod rounds;
mod rules;
mod rematerialise;
mod allocation;
mod hostile;
mod hostile_onnx;
mod hostile_pt2;
mod pt2;
mod pt2_random;
mod onnx_control;
mod cli;
mod cli_state;
mod state;
mod weights_file;
mod report_formats;
mod library;
