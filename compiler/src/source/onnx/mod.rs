//! ONNX models as graphs.
//!
//! The file stays where it is: [`wire`] reads protobuf in place, [`model`] borrows from it, and weights become ranges of
//! the map. [`import`](import()) walks the nodes; a row of [`ops`] says what each becomes.

mod import;
mod model;
mod ops;
mod site;
mod tensor;
mod wire;

pub use import::{BoundImport, ImportOptions, import, import_bytes, import_for, signature};
pub use site::Stop;
pub use tensor::read_file as read_tensor;
