//! Patterns as text: `(mul ?x (add ?y 1))`.

use std::collections::BTreeSet;

use egg::{ENodeOrVar, Id, PatternAst, Subst, Var};
use situ_runtime::scalar;

use super::super::analysis::{self, Egraph};
use super::super::language::{Kind, Node};
use super::super::plan::Plan;
use super::Left;
use crate::types::{DType, TensorType};

/// A parsed term.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(in super::super) enum Term {
    Variable(String),
    Number(f64),
    Apply(Kind, Vec<Term>),
}

/// The right side of a rule.
pub(in super::super) enum Right {
    Term(Term),
    Built(fn(&Match<'_>) -> Option<Plan>),
}

/// One match of a left side.
pub(in super::super) struct Match<'a> {
    pub egraph: &'a Egraph,
    pub root: Id,
    pub left: &'a Left,
    pub subst: &'a Subst,
}

impl Match<'_> {
    /// The class a variable stands for. The name is part of the rule, so it exists.
    pub fn id(&self, name: &str) -> Id {
        let at = self.left.names.iter().position(|other| other == name).expect("a rule uses its own variables");
        self.egraph.find(self.subst[Var::from_u32(at as u32)])
    }

    pub fn class(&self, name: &str) -> Plan {
        Plan::Class(self.id(name))
    }

    pub fn ty(&self, name: &str) -> &TensorType {
        analysis::ty(self.egraph, self.id(name))
    }

    pub fn root_ty(&self) -> &TensorType {
        analysis::ty(self.egraph, self.root)
    }

    /// The number every element of a variable's class is.
    pub fn number(&self, name: &str) -> Option<f64> {
        analysis::number(self.egraph, self.id(name))
    }

    /// The integer every element of a variable's class is.
    pub fn integer(&self, name: &str) -> Option<i64> {
        analysis::progression_of(self.egraph, self.id(name)).filter(|(_, step)| *step == 0).map(|(number, _)| number)
    }

    /// Whether the result is of integers, which wrap: their sums and products have no order.
    pub fn is_integer(&self) -> bool {
        let dtype = self.root_ty().dtype;
        !dtype.is_float() && dtype != DType::Bool
    }

    pub fn is_float(&self) -> bool {
        self.root_ty().dtype.is_float()
    }

    pub fn is_weight(&self, name: &str) -> bool {
        self.egraph[self.id(name)].data.weight
    }

    /// Whether a variable's class is of floats of which none has a sign (at least +0, or NaN).
    pub fn is_unsigned(&self, name: &str) -> bool {
        self.ty(name).dtype.is_float() && self.egraph[self.id(name)].data.unsigned
    }

    /// Whether the numbers of the left side are what the classes hold.
    pub fn numbers_hold(&self) -> bool {
        self.left.numbers.iter().all(|&(at, expected)| {
            let id = self.egraph.find(self.subst[Var::from_u32(at as u32)]);
            let data = &self.egraph[id].data;
            data.constant.is_some_and(|bits| equals(self.egraph.analysis.ty(data).dtype, bits, expected))
        })
    }

    /// The plan of the right side.
    pub fn plan(&self, right: &Right) -> Option<Plan> {
        match right {
            Right::Built(build) => build(self),
            Right::Term(term) => Some(self.term(term)),
        }
    }

    fn term(&self, term: &Term) -> Plan {
        match term {
            Term::Variable(name) => self.class(name),
            Term::Number(value) => constant(self.root_ty().dtype, *value),
            Term::Apply(kind, operands) => {
                let operands = operands.iter().map(|operand| self.term(operand)).collect();
                match kind.function() {
                    Some(function) => Plan::Op(crate::ops::Op::Point(function), operands),
                    None => Plan::Kind(*kind, operands),
                }
            }
        }
    }
}

/// A tensor of one number everywhere.
pub(in super::super) fn filled(ty: &TensorType, value: f64) -> Plan {
    spread(constant(ty.dtype, value), ty)
}

/// A scalar as a tensor.
pub(in super::super) fn spread(scalar: Plan, ty: &TensorType) -> Plan {
    match ty.rank() {
        0 => scalar,
        _ => Plan::op(crate::ops::Op::Expand { shape: ty.shape.clone() }, [scalar]),
    }
}

/// A scalar of a dtype.
pub(in super::super) fn constant(dtype: DType, value: f64) -> Plan {
    Plan::Const(encode(dtype, value), dtype)
}

fn encode(dtype: DType, value: f64) -> u64 {
    if dtype.is_float() { scalar::encode_float(dtype, value) } else { scalar::encode_int(dtype, value as i64) }
}

/// The relative error with which exporters round the numbers of a formula: a few units in the last place.
pub(in super::super) fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        DType::F64 => 8e-16,
        _ => 4e-7,
    }
}

/// Whether an element is the number a rule names. A number that `f32` cannot hold, like the square root of 2, also matches
/// its neighbours, because exporters round it in different ways.
fn equals(dtype: DType, bits: u64, expected: f64) -> bool {
    if encode(dtype, expected) == bits {
        return true;
    }
    if !dtype.is_float() || f64::from(expected as f32) == expected {
        return false;
    }
    (scalar::decode_float(dtype, bits) - expected).abs() <= rounding(dtype) * expected.abs()
}

/// Parses a term of a rule. Rules are part of the program, so a mistake in one is ours and stops the first test.
pub(in super::super) fn parse(text: &str) -> Term {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut tokens = spaced.split_whitespace().peekable();
    let term = parse_term(&mut tokens, text);
    assert!(tokens.next().is_none(), "a rule's term ends: {text}");
    term
}

fn parse_term<'a>(tokens: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>, text: &str) -> Term {
    match tokens.next() {
        Some("(") => {
            let name = tokens.next().unwrap_or_default();
            let kind = Kind::from_name(name).unwrap_or_else(|| panic!("a rule names an op, found {name} in {text}"));
            let mut operands = Vec::new();
            while tokens.peek() != Some(&")") {
                assert!(tokens.peek().is_some(), "a rule closes its brackets: {text}");
                operands.push(parse_term(tokens, text));
            }
            tokens.next();
            Term::Apply(kind, operands)
        }
        Some(token) if token.starts_with('?') => Term::Variable(token[1..].to_string()),
        Some(token) => Term::Number(token.parse().unwrap_or_else(|_| panic!("{token} is not a number in {text}"))),
        None => panic!("a rule's term is not empty: {text}"),
    }
}

/// The term in every order of its commutative operands.
fn orders(term: &Term) -> Vec<Term> {
    let Term::Apply(kind, operands) = term else { return vec![term.clone()] };
    let mut lists: Vec<Vec<Term>> = vec![Vec::new()];
    for operand in operands {
        let variants = orders(operand);
        lists = lists
            .into_iter()
            .flat_map(|list| {
                variants.iter().map(move |variant| {
                    let mut list = list.clone();
                    list.push(variant.clone());
                    list
                })
            })
            .collect();
    }
    let mut terms = Vec::new();
    for list in lists {
        let commutes = kind.function().is_some_and(|function| {
            use situ_runtime::point::PointFn::{Add, Max, Min, Mul};
            matches!(function, Add | Mul | Max | Min)
        });
        // A literal of a commutative function stands on the right already, except under max and min.
        let fixed =
            !matches!(kind.function(), Some(situ_runtime::point::PointFn::Max | situ_runtime::point::PointFn::Min))
                && matches!(list.last(), Some(Term::Number(_)));
        if commutes && !fixed && list[0] != list[1] {
            terms.push(Term::Apply(*kind, vec![list[1].clone(), list[0].clone()]));
        }
        terms.push(Term::Apply(*kind, list));
    }
    terms
}

/// Compiles a left side in every order of its commutative operands.
pub(in super::super) fn variants(text: &str) -> Vec<Left> {
    let mut distinct: Vec<Term> = Vec::new();
    for term in orders(&parse(text)) {
        if !distinct.contains(&term) {
            distinct.push(term);
        }
    }
    distinct.iter().map(compile).collect()
}

fn compile(term: &Term) -> Left {
    let mut compiler = Compiler::default();
    compiler.add(term);
    Left {
        pattern: egg::Pattern::new(compiler.ast),
        kinds: compiler.kinds.into_iter().collect(),
        names: compiler.names,
        numbers: compiler.numbers,
    }
}

#[derive(Default)]
struct Compiler {
    ast: PatternAst<Node>,
    kinds: BTreeSet<Kind>,
    names: Vec<String>,
    numbers: Vec<(usize, f64)>,
}

impl Compiler {
    fn add(&mut self, term: &Term) -> Id {
        match term {
            Term::Variable(name) => {
                let at = self.names.iter().position(|other| other == name).unwrap_or_else(|| {
                    self.names.push(name.clone());
                    self.names.len() - 1
                });
                self.ast.add(ENodeOrVar::Var(Var::from_u32(at as u32)))
            }
            Term::Number(value) => {
                let at = self.names.len();
                self.names.push(format!("#{at}"));
                self.numbers.push((at, *value));
                self.ast.add(ENodeOrVar::Var(Var::from_u32(at as u32)))
            }
            Term::Apply(kind, operands) => {
                let children: Vec<Id> = operands.iter().map(|operand| self.add(operand)).collect();
                self.kinds.insert(*kind);
                self.ast.add(ENodeOrVar::ENode(Node::new(*kind, 0, &children)))
            }
        }
    }
}
