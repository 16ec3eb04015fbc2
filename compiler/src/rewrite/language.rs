//! The e-graph's language: small nodes over interned ops.
//!
//! A [`Node`] is a [`Kind`] (what rules look for), an interned attribute and children. There is no list of ops here: a
//! node is made from an [`Op`] by [`Vocabulary::node`] and turned back into one by [`Vocabulary::op`]; attributes never
//! are children. Two *sorts* of values exist: tensors in memory, and values inside a kernel (`reg`), whose kinds carry
//! [`Kind::INNER`]. `load` leads from memory into a kernel and `kernel` back.
//!
//! Reductions over the last axis have kinds of their own without attribute, so that patterns can name them.

use egg::{Id, Language};
use indexmap::IndexSet;
use smallvec::SmallVec;

use crate::ops::{Class, Op, PointFn, ReduceFn};
use crate::types::{DType, TensorType};

/// What a node is, without its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Kind(pub u16);

impl Kind {
    /// A value that comes from outside the region; the attribute is its number.
    pub const LEAF: Kind = Kind(0);
    /// A scalar constant.
    pub const CONST: Kind = Kind(1);
    /// One result of an op with several; the attribute is its position.
    pub const RESULT: Kind = Kind(2);
    /// A tensor read by a kernel.
    pub const LOAD: Kind = Kind(3);
    /// A kernel's value written to memory.
    pub const KERNEL: Kind = Kind(4);
    /// A kernel that asks to overwrite its operand; the attribute is the position.
    pub const TIE: Kind = Kind(5);
    /// Reduction over the last axis, which stays with extent 1; followed by those of the other functions.
    pub const LAST: u16 = 8;
    pub const RESHAPE: Kind = Kind(16);
    pub const PERMUTE: Kind = Kind(17);
    pub const SLICE: Kind = Kind(18);
    pub const EXPAND: Kind = Kind(19);
    pub const CONCAT: Kind = Kind(20);
    pub const MATMUL: Kind = Kind(21);
    pub const CONV: Kind = Kind(22);
    pub const CONV_TRANSPOSE: Kind = Kind(23);
    pub const REDUCE: Kind = Kind(24);
    pub const SOFTMAX: Kind = Kind(25);
    pub const LOG_SOFTMAX: Kind = Kind(26);
    pub const LAYER_NORM: Kind = Kind(27);
    pub const RMS_NORM: Kind = Kind(28);
    pub const CAST: Kind = Kind(29);
    pub const CONTIGUOUS: Kind = Kind(30);
    pub const GATHER: Kind = Kind(31);
    pub const PAD: Kind = Kind(32);
    /// Any other op, told apart by its attribute.
    pub const OTHER: Kind = Kind(33);
    /// A fused kernel of the last phase; the attribute is its number.
    pub const FUSED: Kind = Kind(34);
    pub const BITCAST: Kind = Kind(35);
    /// Any other view, told apart by its attribute.
    pub const SEEN: Kind = Kind(36);
    pub const UPDATE: Kind = Kind(37);
    pub const DYNAMIC_SLICE: Kind = Kind(38);
    pub const DYNAMIC_UPDATE: Kind = Kind(39);
    /// Elements or slices at given coordinates: `gather_elements` and `gather_nd`.
    pub const PICK: Kind = Kind(40);
    pub const SCATTER: Kind = Kind(41);
    /// Point functions, in the order of their table.
    pub const POINT: u16 = 64;
    /// Marks an op inside a kernel.
    pub const INNER: u16 = 0x8000;

    pub fn point(function: PointFn) -> Kind {
        let at = PointFn::NAMED.iter().position(|&other| other == function);
        Kind(Kind::POINT + at.expect("cast and constants have kinds of their own") as u16)
    }

    pub fn last(function: ReduceFn) -> Kind {
        let at = ReduceFn::ALL.iter().position(|&other| other == function);
        Kind(Kind::LAST + at.expect("every function is listed") as u16)
    }

    pub fn is_inner(self) -> bool {
        self.0 & Kind::INNER != 0
    }

    pub fn inner(self) -> Kind {
        Kind(self.0 | Kind::INNER)
    }

    pub fn outer(self) -> Kind {
        Kind(self.0 & !Kind::INNER)
    }

    /// The point function of a named kind.
    pub fn function(self) -> Option<PointFn> {
        let at = self.outer().0.checked_sub(Kind::POINT)?;
        PointFn::NAMED.get(at as usize).copied()
    }

    /// The function of a reduction over the last axis.
    pub fn reduction(self) -> Option<ReduceFn> {
        let at = self.outer().0.checked_sub(Kind::LAST)?;
        ReduceFn::ALL.get(at as usize).copied()
    }

    /// The kind patterns call `name`: a point function, or `sum`, `mean`, ... for a reduction over the last axis.
    pub fn from_name(name: &str) -> Option<Kind> {
        let reduction =
            name.strip_suffix("-last").and_then(|name| ReduceFn::ALL.into_iter().find(|f| f.name() == name));
        match name {
            "load" => Some(Kind::LOAD),
            "kernel" => Some(Kind::KERNEL),
            "matmul" => Some(Kind::MATMUL),
            _ => reduction.map(Kind::last).or_else(|| PointFn::from_name(name).map(Kind::point)),
        }
    }
}

/// An e-node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Node {
    pub kind: Kind,
    pub attr: u32,
    pub children: SmallVec<[Id; 3]>,
}

impl Node {
    pub fn new(kind: Kind, attr: u32, children: &[Id]) -> Node {
        Node { kind, attr, children: SmallVec::from_slice(children) }
    }
}

impl Language for Node {
    type Discriminant = Kind;

    fn discriminant(&self) -> Kind {
        self.kind
    }

    fn matches(&self, other: &Node) -> bool {
        self.kind == other.kind && self.attr == other.attr && self.children.len() == other.children.len()
    }

    fn children(&self) -> &[Id] {
        &self.children
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.children
    }
}

/// Interned ops and types of one e-graph, filled in a fixed order.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    ops: IndexSet<Op>,
    types: IndexSet<TensorType>,
}

/// An interned type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TypeId(pub u32);

impl Vocabulary {
    pub fn intern_type(&mut self, ty: TensorType) -> TypeId {
        TypeId(self.types.insert_full(ty).0 as u32)
    }

    pub fn ty(&self, id: TypeId) -> &TensorType {
        &self.types[id.0 as usize]
    }

    fn intern(&mut self, op: &Op) -> u32 {
        match self.ops.get_index_of(op) {
            Some(at) => at as u32,
            None => self.ops.insert_full(op.clone()).0 as u32,
        }
    }

    /// Kind and attribute of an op on operands of these types.
    pub fn head(&mut self, op: &Op, operands: &[&TensorType]) -> (Kind, u32) {
        let kind = match op {
            Op::Point(PointFn::Const(..)) => Kind::CONST,
            Op::Point(PointFn::Cast(_)) => Kind::CAST,
            Op::Point(function) => return (Kind::point(*function), 0),
            Op::MatMul {} => return (Kind::MATMUL, 0),
            Op::Contiguous {} => return (Kind::CONTIGUOUS, 0),
            Op::Reduce { function, axes, keepdim: true } if axes.len() == 1 && axes[0] + 1 == operands[0].rank() => {
                return (Kind::last(*function), 0);
            }
            Op::Reshape { .. } => Kind::RESHAPE,
            Op::Permute { .. } => Kind::PERMUTE,
            Op::Slice { .. } => Kind::SLICE,
            Op::Expand { .. } => Kind::EXPAND,
            Op::Concat { .. } => Kind::CONCAT,
            Op::Conv { .. } => Kind::CONV,
            Op::ConvTranspose { .. } => Kind::CONV_TRANSPOSE,
            Op::Reduce { .. } => Kind::REDUCE,
            Op::Softmax { .. } => Kind::SOFTMAX,
            Op::LogSoftmax { .. } => Kind::LOG_SOFTMAX,
            Op::LayerNorm { .. } => Kind::LAYER_NORM,
            Op::RmsNorm { .. } => Kind::RMS_NORM,
            Op::Gather { .. } => Kind::GATHER,
            Op::Pad { .. } => Kind::PAD,
            Op::Bitcast { .. } => Kind::BITCAST,
            Op::Update { .. } => Kind::UPDATE,
            Op::DynamicSlice { .. } => Kind::DYNAMIC_SLICE,
            Op::DynamicUpdate { .. } => Kind::DYNAMIC_UPDATE,
            Op::GatherElements { .. } | Op::GatherNd { .. } => Kind::PICK,
            Op::ScatterElements { .. } | Op::ScatterNd { .. } => Kind::SCATTER,
            other if other.row().class == Class::View => Kind::SEEN,
            _ => Kind::OTHER,
        };
        (kind, self.intern(op))
    }

    /// The op a kind and attribute stand for on operands of these types; `None` for kinds that are no op of the graph.
    pub fn op(&self, kind: Kind, attr: u32, operands: &[&TensorType]) -> Option<Op> {
        let kind = kind.outer();
        if let Some(function) = kind.function() {
            return Some(Op::Point(function));
        }
        match kind {
            Kind::LEAF | Kind::RESULT | Kind::LOAD | Kind::KERNEL | Kind::TIE | Kind::FUSED => None,
            Kind::MATMUL => Some(Op::MatMul {}),
            Kind::CONTIGUOUS => Some(Op::Contiguous {}),
            _ => match kind.reduction() {
                Some(function) => {
                    Some(Op::Reduce { function, axes: vec![operands[0].rank().checked_sub(1)?], keepdim: true })
                }
                None => self.ops.get_index(attr as usize).cloned(),
            },
        }
    }

    /// The op behind a kind with an attribute of its own, without cloning.
    pub fn attribute(&self, attr: u32) -> &Op {
        &self.ops[attr as usize]
    }

    /// Bits and dtype of a constant node.
    pub fn constant(&self, attr: u32) -> Option<(u64, DType)> {
        match self.ops.get_index(attr as usize) {
            Some(Op::Point(PointFn::Const(bits, dtype))) => Some((*bits, *dtype)),
            _ => None,
        }
    }
}

/// Class of work of a kind of node; memory and inner nodes alike.
pub(super) fn class_of(kind: Kind) -> Option<Class> {
    let kind = kind.outer();
    if kind.function().is_some() {
        return Some(Class::Point);
    }
    match kind {
        Kind::CONST | Kind::CAST => Some(Class::Point),
        Kind::RESHAPE | Kind::PERMUTE | Kind::SLICE | Kind::EXPAND | Kind::BITCAST | Kind::SEEN => Some(Class::View),
        Kind::CONCAT | Kind::CONTIGUOUS | Kind::PAD | Kind::UPDATE => Some(Class::Movement),
        Kind::MATMUL | Kind::CONV | Kind::CONV_TRANSPOSE => Some(Class::Contraction),
        Kind::REDUCE | Kind::SOFTMAX | Kind::LOG_SOFTMAX | Kind::LAYER_NORM | Kind::RMS_NORM => Some(Class::Row),
        Kind::GATHER | Kind::PICK | Kind::SCATTER | Kind::DYNAMIC_SLICE | Kind::DYNAMIC_UPDATE | Kind::OTHER => {
            Some(Class::Opaque)
        }
        _ => kind.reduction().map(|_| Class::Row),
    }
}
