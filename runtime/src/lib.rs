//! Loads, checks and runs what situ has compiled: all that a deployed program needs beside its `.situx` file.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use situ_runtime::{Argument, Compiled, Options, Session};
//!
//! let compiled = Compiled::load("model.situx", true)?;
//! let mut session = Session::new(compiled, Options::default())?;
//!
//! let image = vec![0.5f32; 3 * 224 * 224];
//! let mut arguments = [Argument::read(&image)];
//! let outputs = session.run(&mut arguments)?;
//! let scores: &[f32] = outputs.slice(0)?;
//! # let _ = scores; Ok(()) }
//! ```
//!
//! # The promise
//!
//! - **Checked.** [`Session::new`] runs the independent checker ([`check`]) over the plan; a plan that it refuses does
//!   not run. A file is treated as hostile: damage gives an error, never a panic or an unbounded allocation.
//! - **No allocation while running.** The session allocates one arena, of the size that the report names. With one
//!   thread a run allocates nothing at all; with more, only what rayon needs to queue work.
//! - **The same bits** for the same input on one instruction set, whatever the number of threads.
//! - **Errors.** A run fails only when an argument does not fit its input (before anything is touched) or when the data
//!   hold an index out of range. If state was written before that, the session is poisoned and says so
//!   ([`RunError::Poisoned`]).
//! - **Threads.** A session is `Send`; its own threads come from a pool of its own. Sessions of one program share its
//!   weights: pass an `Arc<Compiled>`.
//!
//! # State and donated inputs
//!
//! The program below keeps a sum in state: `total` is updated in its own bytes, and `x`, which the caller gives up, is
//! overwritten with twice its value. (It is written as a plan by hand; the compiler makes such plans, and
//! [`Compiled::write`] and [`Compiled::load`] bring them from one to the other.)
//!
//! ```
//! # use situ_runtime::{executable::*, kernel::Kernel, kernel::prepared::workspace_bytes, map::Weights, point::*, types::*};
//! # fn program() -> Compiled {
//! #     let port = |name: &str, mode| InputPort { name: name.into(), dtype: DType::F32, shape: vec![4], mode, initial: None, views: vec![] };
//! #     let twenty = Place { space: Space::Weights, offset: 0, bytes: 16 };
//! #     let total = InputPort { initial: Some(twenty), ..port("total", InputMode::InOut) };
//! #     let value = |name: &str, input| PlannedValue {
//! #         name: name.into(),
//! #         dtype: DType::F32,
//! #         place: Place { space: Space::Input(input), offset: 0, bytes: 16 },
//! #     };
//! #     let access = |value| Access { value, dtype: DType::F32, layout: Layout::dense(&[4]) };
//! #     let add = |label: &str, a, b, result| {
//! #         let code = vec![PointInstr { function: PointFn::Add, args: [0, 1, 0] }];
//! #         let program = Program { inputs: vec![DType::F32; 2], code, outputs: vec![2] };
//! #         let (kernel, reads) = (Kernel::Map { program }, vec![access(a), access(b)]);
//! #         let writes = vec![Write { access: access(result), base: None }];
//! #         let bytes = workspace_bytes(&kernel, &reads, &writes, 1).unwrap() as u64;
//! #         let workspace = (bytes > 0).then_some(Place { space: Space::Arena, offset: 0, bytes });
//! #         Step { kernel, reads, writes, workspace, label: label.into() }
//! #     };
//! #     let steps = vec![add("double", 0, 0, 2), add("add", 1, 2, 3)];
//! #     let plan = Plan {
//! #         inputs: vec![port("x", InputMode::Donate), total],
//! #         outputs: vec![OutputPort { name: "doubled".into(), access: access(2) }],
//! #         input_values: vec![0, 1],
//! #         finals: vec![(1, 3)],
//! #         weight_values: vec![],
//! #         values: vec![value("%x", 0), value("%total", 1), value("%doubled", 0), value("%sum", 1)],
//! #         arena_bytes: steps.iter().filter_map(|step| step.workspace).map(|place| place.bytes).max().unwrap_or(0),
//! #         steps,
//! #         threads: 1,
//! #         assumed_distinct: Distinct { written: vec![0, 1], others: vec![] },
//! #     };
//! #     let report = String::new();
//! #     let fallbacks = vec![Fallback::Missing("made by hand".into())];
//! #     let executable = Executable { name: "sum".into(), plans: vec![plan], fallbacks, bodies: Vec::new(), bindings: vec![Vec::new()], weights_bytes: 64, report, report_text: String::new() };
//! #     let weights = [20.0f32; 16].map(f32::to_le_bytes).concat();
//! #     let weights = situ_runtime::arena::Block::copied(&weights).unwrap();
//! #     Compiled::new(executable, Weights::owned(weights)).unwrap()
//! # }
//! use situ_runtime::{Argument, Compiled, Options, Session, Tensor};
//!
//! let mut session = Session::new(program(), Options::default())?;
//! // What the state is before the first run comes with this program; the caller keeps it from then on.
//! let initial = session.initial(1).expect("`total` has initial state");
//! let mut total = initial.as_slice::<f32>().expect("it is f32").to_vec();
//! assert_eq!(total, [20.0; 4]);
//! for round in 1..=3 {
//!     let x = Tensor::copied(&[4], &[round as f32; 4])?;
//!     let mut arguments = [Argument::Donate(x), Argument::inout(&mut total)];
//!     let outputs = session.run(&mut arguments)?;
//!     assert_eq!(outputs.slice::<f32>(0)?, [2.0 * round as f32; 4]);
//! }
//! assert_eq!(total, [32.0; 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A donated tensor is moved, so it cannot be used afterwards:
//!
//! ```compile_fail,E0382
//! # use situ_runtime::{Argument, RunError, Session, Tensor};
//! fn run(session: &mut Session, x: Tensor, total: &mut [f32]) -> Result<(), RunError> {
//!     session.run(&mut [Argument::Donate(x), Argument::inout(total)])?;
//!     println!("{:?}", x.bytes()); // its bytes are the program's now
//!     Ok(())
//! }
//! ```
//!
//! State is borrowed mutably, so it can neither be a second argument nor be looked at while the results, which may lie
//! in it, are:
//!
//! ```compile_fail,E0502
//! # use situ_runtime::{Argument, RunError, Session};
//! fn run(session: &mut Session, total: &mut [f32]) -> Result<(), RunError> {
//!     session.run(&mut [Argument::inout(&mut *total), Argument::read(&*total)])?;
//!     Ok(())
//! }
//! ```
//!
//! Results are views of the session's memory, so the next run must wait until they are no longer used:
//!
//! ```compile_fail,E0499
//! # use situ_runtime::{Argument, RunError, Session};
//! fn run(session: &mut Session, x: &[f32]) -> Result<(), RunError> {
//!     let (mut first, mut second) = ([Argument::read(x)], [Argument::read(x)]);
//!     let before = session.run(&mut first)?;
//!     session.run(&mut second)?;
//!     before.slice::<f32>(0)?;
//!     Ok(())
//! }
//! ```
//!
//! Callers who have pointers instead of borrows, and whose inputs may share bytes, use [`raw`].

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
pub mod file;
pub mod validate;
pub mod check;
pub mod wire;
pub mod tensor;
mod guard;
mod schedule;
pub mod session;
pub mod raw;
#[cfg(test)]
mod fixture;

pub use kernel::call::RunError;
pub use session::{Argument, Options, Outputs, Session, SessionError};
pub use tensor::Tensor;
pub use wire::{Compiled, LoadError};
