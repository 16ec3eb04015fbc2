//! PyTorch programs as graphs: `.pt2` files of `torch.export.save`, mutation and views included.
//!
//! The file stays where it is: [`archive`] reads the container, [`schema`] the JSON in it, and weights become ranges of the
//! map ([`storage`]: several views of one storage stay so). [`import`](import()) walks the nodes; a row of [`ops`] says what
//! each becomes, in the words of [`site`]. Nothing is unpickled: entries that would need it are refused by name.
//!
//! A program says by what it does which inputs and buffers it writes, so it is read twice: the first graph shows whose bytes
//! its writes reach, and the second has those as state.

mod archive;
mod fold;
mod import;
mod location;
mod names;
mod ops;
mod program;
mod promote;
mod schema;
mod signature;
mod site;
mod storage;
mod symbol;

pub use ops::listed as supported_ops;

pub use import::{ImportOptions, Imported, import, import_bytes};
