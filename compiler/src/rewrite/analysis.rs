//! What the e-graph knows of a class: type, sort, constant elements, and whether only weights lead to it.
//!
//! All of it is a fact of the *value*, so it survives every union; liveness, layout and buffers are not here. The
//! analysis also keeps the log of unions from which a rewrite explains itself: each union joins two trees of e-node ids,
//! so between any two ids of one class there is exactly one path, and the rules on it led from the one to the other.

use std::cell::{Cell, RefCell};

use egg::{Analysis, DidMerge, EGraph, Id, Justification, Subst};
use situ_runtime::point::PointFn;
use situ_runtime::scalar;
use smallvec::SmallVec;

use super::fold::has_the_bits_of_a_run;
use super::language::{Kind, Node, TypeId, Vocabulary};
use crate::ops::{Op, ReduceFn};
use crate::types::{DType, TensorType};

pub(super) type Egraph = EGraph<Node, Facts>;

/// Why a union happened or a node was made: a rule's number, or one of these.
pub(super) type Reason = u16;
/// Equal children.
pub(super) const CONGRUENCE: Reason = u16::MAX;
/// The source graph.
pub(super) const SOURCE: Reason = u16::MAX - 1;
/// A function of constants was evaluated.
pub(super) const FOLDED: Reason = u16::MAX - 2;

/// Two e-nodes that were found to be equal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Union {
    pub a: Id,
    pub b: Id,
    pub reason: Reason,
    /// The application that found it.
    pub application: Option<u32>,
}

/// A rule that was applied.
#[derive(Clone, Debug)]
pub(super) struct Application {
    pub rule: Reason,
    /// The class it was applied to.
    pub root: Id,
    pub matched: Matched,
    /// E-nodes there were; what was matched is among them.
    pub nodes: usize,
    /// The root of the right side.
    pub made: Option<Id>,
}

/// What a rule saw.
#[derive(Clone, Debug)]
pub(super) enum Matched {
    /// A left side, by its number, and the classes of its variables.
    Left(u16, Subst),
    /// An e-node.
    Node(Node),
}

/// Facts of one class.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Data {
    /// Type of each result; more than one only before [`Kind::RESULT`].
    pub types: SmallVec<[TypeId; 1]>,
    /// Whether the value is inside a kernel.
    pub inner: bool,
    /// The bits every element has, if they are known to be the same.
    pub constant: Option<u64>,
    /// Whether only constants lead to it.
    pub weight: bool,
    /// Whether no element has a sign: each is known to be at least +0, or NaN.
    pub unsigned: bool,
    /// First element and step, where the integers in row-major order are known to be an arithmetic progression.
    pub progression: Option<(i64, i64)>,
    /// Whether its elements are known to be finite and of moderate size.
    pub moderate: bool,
}

/// State of the analysis.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub words: Vocabulary,
    /// Whether a function of constants is evaluated only where a run would give the same bits.
    pub strict: bool,
    /// Facts of the leaves, by number.
    pub leaves: Vec<Data>,
    /// In the last phase, for each kernel by number: which operands it reads only where it writes.
    pub in_place: Vec<SmallVec<[bool; 8]>>,
    /// What is being done now.
    pub reason: Cell<Reason>,
    /// The application that is being carried out.
    pub application: Cell<Option<u32>>,
    pub applications: Vec<Application>,
    /// Unions as they happened.
    pub unions: RefCell<Vec<Union>>,
    /// Why each e-node was made, by id, and the application that made it.
    pub makers: Vec<(Reason, Option<u32>)>,
    /// Unions of classes that turned out to disagree on a fact; a rule is wrong if there is one.
    pub disagreements: usize,
}

impl Facts {
    pub fn ty(&self, data: &Data) -> &TensorType {
        self.words.ty(data.types[0])
    }
}

/// Type of the (first) value of a class.
pub(super) fn ty(egraph: &Egraph, id: Id) -> &TensorType {
    egraph.analysis.ty(&egraph[id].data)
}

/// The op a node stands for, if it is one of the graph's.
pub(super) fn op_of(egraph: &Egraph, node: &Node) -> Option<Op> {
    let operands: SmallVec<[&TensorType; 3]> = node.children.iter().map(|&child| ty(egraph, child)).collect();
    egraph.analysis.words.op(node.kind, node.attr, &operands)
}

/// Value of the constant a class is, in the numbers of its dtype.
pub(super) fn number(egraph: &Egraph, id: Id) -> Option<f64> {
    let data = &egraph[id].data;
    let bits = data.constant?;
    let dtype = egraph.analysis.ty(data).dtype;
    Some(if dtype.is_float() { scalar::decode_float(dtype, bits) } else { scalar::decode_int(dtype, bits) as f64 })
}

impl Analysis<Node> for Facts {
    type Data = Data;

    fn make(egraph: &mut Egraph, node: &Node, id: Id) -> Data {
        let index = usize::from(id);
        if egraph.analysis.makers.len() <= index {
            let maker = (egraph.analysis.reason.get(), egraph.analysis.application.get());
            egraph.analysis.makers.resize(index + 1, maker);
        }
        match node.kind {
            Kind::LEAF | Kind::FUSED => return egraph.analysis.leaves[node.attr as usize].clone(),
            Kind::RESULT => {
                let of = &egraph[node.children[0]].data;
                let at = (node.attr as usize).min(of.types.len() - 1);
                return Data {
                    types: SmallVec::from_slice(&[of.types[at]]),
                    inner: false,
                    constant: None,
                    weight: of.weight,
                    unsigned: false,
                    progression: None,
                    moderate: false,
                };
            }
            Kind::LOAD | Kind::KERNEL => {
                let of = egraph[node.children[0]].data.clone();
                return Data { inner: node.kind == Kind::LOAD, ..of };
            }
            Kind::TIE => return egraph[node.children[0]].data.clone(),
            _ => {}
        }
        let operands: SmallVec<[TensorType; 3]> =
            node.children.iter().map(|&child| ty(egraph, child).clone()).collect();
        let references: SmallVec<[&TensorType; 3]> = operands.iter().collect();
        let op = egraph.analysis.words.op(node.kind, node.attr, &references);
        let results = op.as_ref().and_then(|op| op.infer(&operands).ok()).unwrap_or_default();
        debug_assert!(!results.is_empty(), "an ill-typed node was added: {node:?}");
        let constant = op.as_ref().and_then(|op| folded(egraph, op, node));
        let types = results.into_iter().map(|ty| egraph.analysis.words.intern_type(ty)).collect();
        let weight = node.children.iter().all(|&child| egraph[child].data.weight);
        let unsigned = op.as_ref().is_some_and(|op| is_unsigned(egraph, op, node));
        let progression = op.as_ref().and_then(|op| progression(egraph, op, node));
        let moderate = op.as_ref().is_some_and(|op| is_moderate(egraph, op, node));
        Data { types, inner: node.kind.is_inner(), constant, weight, unsigned, progression, moderate }
    }

    fn pre_union(egraph: &Egraph, a: Id, b: Id, justification: &Option<Justification>) {
        if egraph.find(a) != egraph.find(b) {
            let reason = match justification {
                Some(Justification::Congruence) => CONGRUENCE,
                _ => egraph.analysis.reason.get(),
            };
            let application = if reason == CONGRUENCE { None } else { egraph.analysis.application.get() };
            egraph.analysis.unions.borrow_mut().push(Union { a, b, reason, application });
        }
    }

    fn merge(&mut self, a: &mut Data, b: Data) -> DidMerge {
        let before = a.clone();
        if a.types != b.types || a.inner != b.inner {
            self.disagreements += 1;
        }
        // Under rules that round, two constants of one class may differ in the last bit: the smaller bits stay.
        a.constant = match (a.constant, b.constant) {
            (Some(x), Some(y)) => Some(x.min(y)),
            (x, y) => x.or(y),
        };
        a.weight |= b.weight;
        a.unsigned |= b.unsigned;
        a.progression = a.progression.or(b.progression);
        a.moderate |= b.moderate;
        DidMerge(*a != before, *a != b)
    }

    fn modify(egraph: &mut Egraph, id: Id) {
        let data = &egraph[id].data;
        let Some(bits) = data.constant else { return };
        let ty = egraph.analysis.ty(data);
        if data.inner || ty.rank() != 0 {
            return;
        }
        let op = Op::Point(PointFn::Const(bits, ty.dtype));
        let (kind, attr) = egraph.analysis.words.head(&op, &[]);
        let before = egraph.analysis.reason.replace(FOLDED);
        let constant = egraph.add_uncanonical(Node::new(kind, attr, &[]));
        egraph.union(id, constant);
        egraph.analysis.reason.set(before);
    }
}

/// Whether an op gives no element with a sign, whatever its operands that are not known to have none.
fn is_unsigned(egraph: &Egraph, op: &Op, node: &Node) -> bool {
    let known = |at: usize| egraph[node.children[at]].data.unsigned;
    match op {
        Op::Point(PointFn::Const(bits, dtype)) => {
            dtype.is_float() && (scalar::decode_float(*dtype, *bits)).is_sign_positive()
        }
        Op::Point(PointFn::Abs | PointFn::Exp | PointFn::Sigmoid | PointFn::Softplus) | Op::Softmax { .. } => true,
        Op::Point(PointFn::Mul) if egraph.find(node.children[0]) == egraph.find(node.children[1]) => true,
        Op::Point(PointFn::Add | PointFn::Mul | PointFn::Div | PointFn::Max | PointFn::Min) => known(0) && known(1),
        Op::Point(PointFn::Where) => known(1) && known(2),
        Op::Point(PointFn::Cast(to)) => to.is_float() && ty(egraph, node.children[0]).dtype.is_float() && known(0),
        Op::Point(PointFn::Sqrt | PointFn::Rsqrt | PointFn::Reciprocal | PointFn::Relu) => known(0),
        Op::Reduce { function: ReduceFn::Sum | ReduceFn::Mean, .. } => known(0),
        Op::Reshape { .. } | Op::Permute { .. } | Op::Slice { .. } | Op::Expand { .. } | Op::Contiguous {} => known(0),
        _ => false,
    }
}

/// Whether an element is finite and so small that a scale by it overflows only at the end of a dtype's range, which is narrow
/// for `f16`.
pub(super) fn is_moderate_element(dtype: DType, bits: u64) -> bool {
    let largest = if dtype == DType::F16 { 256.0 } else { 4096.0 };
    dtype.is_float() && scalar::decode_float(dtype, bits).abs() <= largest
}

/// Whether an op only moves elements that are of moderate size, or is such an element.
fn is_moderate(egraph: &Egraph, op: &Op, node: &Node) -> bool {
    match op {
        Op::Point(PointFn::Const(bits, dtype)) => is_moderate_element(*dtype, *bits),
        Op::Reshape { .. }
        | Op::Permute { .. }
        | Op::Slice { .. }
        | Op::Expand { .. }
        | Op::Contiguous {}
        | Op::Concat { .. } => node.children.iter().all(|&child| egraph[child].data.moderate),
        _ => false,
    }
}

/// The arithmetic progression that an op leaves of its operand's.
fn progression(egraph: &Egraph, op: &Op, node: &Node) -> Option<(i64, i64)> {
    let of = |at: usize| egraph[node.children[at]].data.progression;
    match op {
        Op::Reshape { .. } | Op::Contiguous {} => of(0),
        Op::Slice { start, step, .. } if ty(egraph, node.children[0]).rank() == 1 => {
            let (first, stride) = of(0)?;
            Some((first.checked_add(stride.checked_mul(*start)?)?, stride.checked_mul(*step)?))
        }
        _ => None,
    }
}

/// First element and step of a class whose integers in row-major order are an arithmetic progression; one number
/// everywhere has step 0.
pub(super) fn progression_of(egraph: &Egraph, id: Id) -> Option<(i64, i64)> {
    let data = &egraph[id].data;
    let dtype = egraph.analysis.ty(data).dtype;
    if dtype.is_float() {
        return None;
    }
    data.constant.map(|bits| (scalar::decode_int(dtype, bits), 0)).or(data.progression)
}

/// The bits every element of a node's value has, where its operands' elements are known to be the same.
fn folded(egraph: &Egraph, op: &Op, node: &Node) -> Option<u64> {
    match op {
        Op::Point(_) if egraph.analysis.strict && !has_the_bits_of_a_run(op) => None,
        Op::Point(function) => {
            let mut dtypes: SmallVec<[_; 3]> = SmallVec::new();
            let mut bits: SmallVec<[u64; 3]> = SmallVec::new();
            for &child in &node.children {
                dtypes.push(ty(egraph, child).dtype);
                bits.push(egraph[child].data.constant?);
            }
            Some(scalar::eval(*function, &dtypes, &bits))
        }
        Op::Reshape { .. } | Op::Permute { .. } | Op::Slice { .. } | Op::Expand { .. } | Op::Contiguous {} => {
            egraph[node.children[0]].data.constant
        }
        Op::Concat { .. } => {
            let first = egraph[node.children[0]].data.constant?;
            node.children.iter().all(|&child| egraph[child].data.constant == Some(first)).then_some(first)
        }
        _ => None,
    }
}
