//! Lowering: the functional graph becomes kernels on buffers.
//!
//! Every value that needs memory becomes a [`Buffer`], dense and row-major; views become layouts on the reads. The result
//! says nothing about order (beyond data dependence) and nothing about who shares bytes; `place` alone decides both.
//! Where the meaning asks for bytes to be shared or moved, lowering writes a *copy*, a `Map` with the identity program,
//! that `place` may elide:
//!
//! - `concat`: one copy of each part into a region of the result (several writers of one buffer, disjoint regions);
//!   eliding it is *emplacement*: the producer writes into the region.
//! - `update(base, region, v)`: a copy of the base into a new buffer, then a write of `v` into the region with
//!   [`Write::base`](situ_runtime::executable::Write); eliding the copy makes the update in place.
//! - an `inout` input: a last copy of its final value into a buffer pinned to the input's bytes.
//! - an output that is an input, a weight or another output: a copy into bytes of its own;
//! - an initial value of a loop: a copy that the loop writes its result over.
//!
//! A region becomes a kernel graph of its own, which the node that runs it names by its number. `written` lowers a source
//! program instead, for inputs that may share bytes: there order and bytes are the program's.

mod body;
mod control;
mod cores;
mod graph;
mod written;
use crate::ops::views;

pub use graph::{LowerOptions, find_workspaces, lower};
pub use written::{LoweredAsWritten, lower_as_written, straightened};

use situ_runtime::executable::{Access, Write};
use situ_runtime::kernel::Kernel;

use crate::ir::{ConstId, Constant, Graph, Input, Location, StateView};
use crate::types::{InputMode, Layout, TensorType};

/// A buffer of a [`KernelGraph`]; the `value` of its accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub u32);

impl BufferId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whose bytes a buffer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufferKind {
    /// The plan finds it a place in the arena.
    Temporary,
    /// It holds graph input `i` before the first step.
    Input(u32),
    /// It is the final content of `inout` input `i`: it has that input's bytes, and is written by the last copy.
    Final(u32),
    /// Weight `i` of [`KernelGraph::weights`].
    Weight(u32),
}

/// Memory for one value.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// As in the graph (`%12`).
    pub name: String,
    pub ty: TensorType,
    pub kind: BufferKind,
}

impl Buffer {
    pub fn bytes(&self) -> u64 {
        self.ty.bytes() as u64
    }
}

/// Which constant a weight is, and how its bytes are laid out in the file.
#[derive(Clone, Debug)]
pub struct Weight {
    pub constant: ConstId,
    pub form: WeightForm,
    /// Dtype and shape as stored.
    pub stored: TensorType,
}

/// How the bytes of a weight are arranged for the kernel that reads them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WeightForm {
    /// As in the graph.
    Dense,
    /// `pack::pack_b` of a strided matrix view of the constant.
    MatMul { layout: Layout },
    /// `pack::pack_conv` of the constant.
    Conv { groups: usize },
}

/// One kernel to be called. `reads[i].value` and `writes[i].access.value` are buffers.
#[derive(Clone, Debug)]
pub struct KernelNode {
    pub kernel: Kernel,
    pub reads: Vec<Access>,
    pub writes: Vec<Write>,
    /// Scratch bytes at the compiled thread count.
    pub workspace: u64,
    /// For a node that runs bodies, once these are planned.
    pub scratch: Option<BodyScratch>,
    /// `(read, write)` pairs the rewriter asks to tie, best first.
    pub requests: Vec<(usize, usize)>,
    /// Names of the source ops in it, for reports.
    pub label: String,
    pub location: Location,
    /// Additions and multiplications, for reports.
    pub flops: u64,
    /// Rules that led to it.
    pub rules: Vec<&'static str>,
    /// Where in the rewriter's record it was made, as stretch and step.
    pub origins: Vec<(u32, u32)>,
}

/// What the scratch of a node that runs bodies would be if these were planned in other ways, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyScratch {
    /// If each body had no more bytes than are live in it at once.
    pub least: u64,
    /// If no body used bytes twice.
    pub unshared: u64,
}

/// A graph input after lowering.
#[derive(Clone, Debug)]
pub struct KernelInput {
    pub name: String,
    pub mode: InputMode,
    pub ty: TensorType,
    pub buffer: BufferId,
    /// What its bytes hold before the first run, and names for parts of them.
    pub initial: Option<Constant>,
    pub views: Vec<StateView>,
}

impl KernelInput {
    /// An input of `graph`, whose bytes are `buffer`.
    pub fn of(graph: &Graph, input: &Input, buffer: BufferId) -> KernelInput {
        KernelInput {
            name: input.name.clone(),
            mode: input.mode,
            ty: graph.ty(input.value).clone(),
            buffer,
            initial: input.initial.clone(),
            views: input.views.clone(),
        }
    }
}

/// A graph output after lowering: a dense buffer, or a dense part of one.
#[derive(Clone, Debug)]
pub struct KernelOutput {
    pub name: String,
    pub access: Access,
}

/// Kernels and buffers; nodes stand in source order, which is one valid order.
#[derive(Clone, Debug, Default)]
pub struct KernelGraph {
    pub name: String,
    pub buffers: Vec<Buffer>,
    pub nodes: Vec<KernelNode>,
    pub inputs: Vec<KernelInput>,
    pub outputs: Vec<KernelOutput>,
    /// `(input, buffer)`: the buffer (of kind `Final`) that ends in an `inout` input's bytes.
    pub finals: Vec<(u32, BufferId)>,
    pub weights: Vec<Weight>,
    /// Instructions of the source graph, for the report's header.
    pub source_ops: usize,
}

/// The graphs of a program.
#[derive(Clone, Debug, Default)]
pub struct Lowered {
    pub main: KernelGraph,
    /// What the nodes of branches and loops run, innermost first: a body runs only bodies before it. All graphs have the
    /// same list of weights.
    pub bodies: Vec<KernelGraph>,
}

impl KernelGraph {
    pub fn buffer(&self, value: u32) -> &Buffer {
        &self.buffers[value as usize]
    }

    pub fn add_buffer(&mut self, name: impl Into<String>, ty: TensorType, kind: BufferKind) -> BufferId {
        self.buffers.push(Buffer { name: name.into(), ty, kind });
        BufferId(u32::try_from(self.buffers.len() - 1).expect("fewer than 2^32 buffers"))
    }
}

/// Whether a node only moves the elements of one buffer, so that it can be elided.
pub fn is_copy(node: &KernelNode) -> bool {
    matches!(&node.kernel, Kernel::Map { program } if program.is_identity())
        && node.reads.len() == 1
        && node.reads[0].dtype == node.writes[0].access.dtype
}

/// The dense access of a whole buffer.
pub fn whole(buffer: BufferId, ty: &TensorType) -> Access {
    Access { value: buffer.0, dtype: ty.dtype, layout: Layout::dense(&ty.shape) }
}

/// Where the elements of a graph value are.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    Memory {
        buffer: BufferId,
        layout: Layout,
    },
    /// A view of a constant that has no buffer yet: who reads it decides the form it is stored in.
    Constant {
        constant: ConstId,
        layout: Layout,
    },
    /// The same element everywhere, by its bits; needs no memory inside a program.
    Splat(u64),
}
