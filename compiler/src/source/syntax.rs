//! The syntax tree: what was written, with its place, before anything is known about types.

use crate::diagnostic::Span;
use crate::types::{DType, InputMode};

/// A name and where it stands; of a value without `%` and quotes.
#[derive(Clone, Debug)]
pub struct Name {
    pub text: String,
    pub span: Span,
    /// Written with digits alone and without quotes (`%4`): a number, not a name to keep.
    pub numbered: bool,
}

impl Name {
    /// What it is known by: the number `%4` is not the name `%"4"`.
    pub fn key(&self) -> (bool, String) {
        (self.numbered, self.text.clone())
    }
}

#[derive(Clone, Debug)]
pub enum Extent {
    Number(u64),
    Symbol(String),
}

/// `f32[B, 784]`.
#[derive(Clone, Debug)]
pub struct TypeSyntax {
    pub dtype: DType,
    pub extents: Vec<(Extent, Span)>,
    pub span: Span,
}

/// A number as written; read once its dtype is known. `dtype` is set for `f32(2.0)`.
#[derive(Clone, Copy, Debug)]
pub struct Literal {
    pub dtype: Option<DType>,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum Argument {
    Value(Name),
    Literal(Literal),
}

impl Argument {
    pub fn span(&self) -> Span {
        match self {
            Argument::Value(name) => name.span,
            Argument::Literal(literal) => literal.span,
        }
    }
}

/// The value of an attribute as written.
#[derive(Clone, Debug)]
pub enum AttrSyntax {
    Number(Span),
    Word(String, Span),
    List(Vec<AttrSyntax>, Span),
}

impl AttrSyntax {
    pub fn span(&self) -> Span {
        match self {
            AttrSyntax::Number(span) | AttrSyntax::Word(_, span) | AttrSyntax::List(_, span) => *span,
        }
    }
}

/// `name=value` in braces.
#[derive(Clone, Debug)]
pub struct AttributeSyntax {
    pub name: Name,
    pub value: AttrSyntax,
}

/// A region: parameters, instructions, what it yields.
#[derive(Clone, Debug)]
pub struct BodySyntax {
    pub params: Vec<Name>,
    pub insts: Vec<InstSyntax>,
    pub yields: Vec<Argument>,
    /// The brace that ends it.
    pub end: Span,
}

/// Ops with regions, which have a syntax of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    Kernel,
    If,
    Loop,
    Scan,
}

impl RegionKind {
    pub fn from_name(name: &str) -> Option<RegionKind> {
        match name {
            "kernel" => Some(RegionKind::Kernel),
            "if" => Some(RegionKind::If),
            "loop" => Some(RegionKind::Loop),
            "scan" => Some(RegionKind::Scan),
            _ => None,
        }
    }
}

/// The regions of an instruction, and how its operands divide.
#[derive(Clone, Debug)]
pub struct RegionSyntax {
    pub kind: RegionKind,
    /// Operands that are initial values of what is carried.
    pub carried: usize,
    /// Operands that a scan runs over.
    pub sequences: usize,
    pub bodies: Vec<BodySyntax>,
}

/// `%y: type = op operands {attributes} {region}`. The op of an item that could not be read is empty.
#[derive(Clone, Debug)]
pub struct InstSyntax {
    pub results: Vec<(Name, Option<TypeSyntax>)>,
    pub op: Name,
    pub operands: Vec<Argument>,
    pub attributes: Vec<AttributeSyntax>,
    pub regions: Option<RegionSyntax>,
    /// `at "model.py:98"`: where it stands in what the text was made from.
    pub at: Option<Span>,
    /// From the first result to the last attribute.
    pub span: Span,
}

/// What a constant is filled with.
#[derive(Clone, Debug)]
pub enum Filling {
    /// `seeded(normal, std=0.02, seed=7)`.
    Seeded { distribution: Name, settings: Vec<(Name, Span)> },
    /// `splat(1.0)`.
    Splat(Span),
    /// `arange(start, step)`.
    Arange(Vec<Span>),
    /// `[1.0, 2.0]`.
    List(Vec<Span>),
    /// `hex("0000803f")`.
    Hex(Span),
    /// `safetensors("layer.weight")`: an array of the weights file.
    Stored(Name),
}

#[derive(Clone, Debug)]
pub enum Item {
    Input {
        mode: InputMode,
        name: Name,
        ty: TypeSyntax,
        /// What an `inout` input holds before the first run.
        initial: Option<Filling>,
        span: Span,
    },
    /// `state "layer.b" = %base {shape=[4, 3], strides=[6, 2], offset=6}`.
    State {
        name: Name,
        input: Name,
        attributes: Vec<AttributeSyntax>,
    },
    /// `weights "model.safetensors"`.
    Weights(Name),
    /// `apart "why inputs must not share bytes"`.
    Apart(Name),
    Constant {
        name: Name,
        ty: TypeSyntax,
        filling: Filling,
        span: Span,
    },
    Inst(InstSyntax),
    /// `final %cache = %7`.
    Final {
        input: Name,
        value: Argument,
    },
    Return {
        outputs: Vec<(Option<Name>, Argument)>,
        span: Span,
    },
}

#[derive(Clone, Debug)]
pub struct GraphSyntax {
    pub name: Name,
    pub items: Vec<Item>,
}
