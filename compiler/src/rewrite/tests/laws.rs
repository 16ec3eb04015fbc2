//! Every rule on cases where it applies, both sides evaluated, and on cases where its side condition forbids it; then on
//! random variations of the cases (`vary`) and all over random programs (`random`).
//!
//! Both sides are evaluated by the scalar meaning of each op. What they may differ by is what the rule's mark says: nothing,
//! the sign of a zero, or so many units in the last place of each element. Marks that speak of ordinary numbers only are held
//! on ordinary numbers; the others on infinities, NaN, zeros of both signs, subnormal numbers and the ends of the range as well.

mod contraction;
mod gather;
mod identity;
mod integer;
mod logic;
mod merge;
mod random;
mod recover;
mod reduction;
mod scalar;
mod updates;
mod vary;
mod views;

use std::collections::BTreeMap;

use egg::Id;
use situ_runtime::scalar::{decode_float, encode_float, encode_int};

use super::super::analysis::{Egraph, op_of};
use super::super::language::Kind;
use super::super::recipe::build;
use super::super::rules::{self, Freedom};
use super::super::saturate::{Finding, Limits, search};
use super::super::{decompose, plan, regions};
use super::*;
use crate::eval::evaluate_op;
use crate::types::DType;

/// Rule and the lines of a graph whose last value is `%r`.
type Case = (&'static str, &'static str);

fn applies() -> impl Iterator<Item = &'static Case> {
    [
        contraction::APPLIES,
        gather::APPLIES,
        identity::APPLIES,
        integer::APPLIES,
        logic::APPLIES,
        merge::APPLIES,
        recover::APPLIES,
        reduction::APPLIES,
        scalar::APPLIES,
        updates::APPLIES,
        views::APPLIES,
    ]
    .into_iter()
    .flatten()
}

fn forbidden() -> impl Iterator<Item = &'static Case> {
    [
        contraction::FORBIDDEN,
        gather::FORBIDDEN,
        identity::FORBIDDEN,
        integer::FORBIDDEN,
        logic::FORBIDDEN,
        merge::FORBIDDEN,
        recover::FORBIDDEN,
        reduction::FORBIDDEN,
        scalar::FORBIDDEN,
        updates::FORBIDDEN,
        views::FORBIDDEN,
    ]
    .into_iter()
    .flatten()
}

fn text(lines: &str) -> String {
    let lines: Vec<&str> = lines.split(';').map(str::trim).collect();
    format!("graph law {{\n {}\n return %r\n}}\n", lines.join("\n "))
}

fn number_of(name: &str) -> usize {
    rules::all().iter().position(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule {name}"))
}

/// What the elements of inputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elements {
    /// Every other one is of a kind that rules like to forget.
    Special,
    /// Ordinary numbers, with zeros, infinities and NaN among them.
    Ends,
    /// Ordinary numbers: neither zero nor near the ends of a dtype's range.
    Ordinary,
}

impl Elements {
    /// What the mark of a rule is held on.
    fn of(rule: &rules::Rule) -> Elements {
        match rule.freedom {
            Freedom::Exact | Freedom::ZeroSign => Elements::Special,
            Freedom::Ulp if !TAKEN_APART.contains(&rule.name) => Elements::Ends,
            _ => Elements::Ordinary,
        }
    }
}

/// Bits of the floats of a dtype at the ends of its ranges: the least and the largest subnormal and normal numbers.
fn ends(dtype: DType) -> [u64; 4] {
    let (mantissa, exponent) = match dtype {
        DType::F64 => (52, 11),
        DType::F16 => (10, 5),
        DType::BF16 => (7, 8),
        _ => (23, 8),
    };
    let infinity = ((1u64 << exponent) - 1) << mantissa;
    [1, (1 << mantissa) - 1, 1 << mantissa, infinity - 1]
}

/// Elements drawn for an input.
fn elements(ty: &TensorType, position: usize, seed: u64, kind: Elements) -> Tensor {
    let std = if ty.dtype.is_float() { 1.5 } else { 60.0 };
    let seed_of = seed.wrapping_mul(1_000_003).wrapping_add(7 + position as u64);
    let mut bytes = seeded::draw(Distribution::Normal { mean: 0.2, std }, seed_of, ty.dtype, ty.len());
    let size = ty.dtype.size();
    let mut rare: Vec<u64> = Vec::new();
    if ty.dtype.is_float() && kind != Elements::Ordinary {
        let numbers = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, -1.0];
        rare.extend(numbers.map(|number| encode_float(ty.dtype, number)));
        if kind == Elements::Special {
            let sign = 1u64 << (8 * size - 1);
            rare.extend(ends(ty.dtype).into_iter().flat_map(|end| [end, end | sign]));
        }
    }
    if !ty.dtype.is_float() && ty.dtype != DType::Bool && kind != Elements::Ordinary {
        let numbers = [0, 1, -1, 2, i64::MAX, i64::MIN, 127, 128, 255, 300, -129, 40_000, 1 << 31, (1 << 53) + 1];
        rare.extend(numbers.map(|number| encode_int(ty.dtype, number)));
    }
    if !rare.is_empty() {
        let first = position * 5 + seed as usize * 7;
        for (at, element) in bytes.chunks_exact_mut(size).enumerate().step_by(2) {
            element.copy_from_slice(&rare[(at / 2 * 3 + first) % rare.len()].to_le_bytes()[..size]);
        }
    }
    if ty.dtype == DType::Bool {
        let shift = position + seed as usize;
        bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 3 == shift % 3) as u8);
    }
    Tensor::new(ty.clone(), bytes)
}

/// The values of e-nodes by the ops they were made as.
struct Values<'a> {
    egraph: &'a Egraph,
    leaves: &'a [Tensor],
    known: BTreeMap<Id, Tensor>,
}

impl Values<'_> {
    /// Errors where an op refuses its operands: an index outside its axis.
    fn of(&mut self, id: Id) -> Result<Tensor, String> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let node = &self.egraph.nodes()[usize::from(id)];
        let value = match node.kind {
            Kind::LEAF => self.leaves[node.attr as usize].clone(),
            Kind::CONST => {
                let (bits, dtype) = self.egraph.analysis.words.constant(node.attr).expect("a literal has bits");
                Tensor::new(TensorType::scalar(dtype), bits.to_le_bytes()[..dtype.size()].to_vec())
            }
            _ => {
                let operands: Vec<Tensor> =
                    node.children.iter().map(|&child| self.of(child)).collect::<Result<_, String>>()?;
                let op = op_of(self.egraph, node).expect("an op of the graph");
                evaluate_op(&op, &operands)?.remove(0)
            }
        };
        self.known.insert(id, value.clone());
        Ok(value)
    }
}

/// One application of a rule: its number, and both sides for each choice of inputs.
struct Application {
    rule: usize,
    sides: Vec<(Tensor, Tensor)>,
}

/// Applies rules once, each to the graph as it is; for each application both sides, evaluated.
fn applications(source: &Graph, numbers: &[usize], seeds: &[u64]) -> Vec<Application> {
    let plain = decompose::decompose(source, &RewriteOptions::default()).expect("decomposition");
    let (distinct, pieces) = regions::partition(&plain);
    let mut found = Vec::new();
    for piece in &pieces {
        let regions::Piece::Region(instance) = piece else { panic!("a case has no branch") };
        let leaves = |seed: u64, kind: Elements| -> Vec<Tensor> {
            let leaf = |(position, &leaf): (usize, &crate::ir::ValueId)| match plain.constant_of(leaf) {
                Some(constant) => Tensor::new(constant.ty.clone(), constant.bytes().into_owned()),
                None => elements(plain.ty(leaf), position, seed, kind),
            };
            instance.leaves.iter().enumerate().map(leaf).collect()
        };
        let mut egraph = build(&distinct[instance.region], false).expect("an e-graph").egraph;
        egraph.rebuild();
        let mut planned = Vec::new();
        for &number in numbers {
            let admitted: Vec<bool> = (0..rules::all().len()).map(|at| at == number).collect();
            let limits = Limits { nodes: 100_000, iterations: 1 };
            planned.extend(search(&egraph, rules::all()[number].phase, &admitted, &limits).expect("a small case"));
        }
        let mut pairs = Vec::new();
        for Finding { rule, root, plan, .. } in planned {
            let Some(result) = plan::instantiate(&mut egraph, &plan) else { continue };
            if egraph[root].data.types == egraph[result].data.types {
                pairs.push((rule as usize, root, result));
            }
        }
        for (rule, root, result) in pairs {
            let kind = Elements::of(&rules::all()[rule]);
            let sides = seeds.iter().filter_map(|&seed| {
                let leaves = leaves(seed, kind);
                let mut values = Values { egraph: &egraph, leaves: &leaves, known: BTreeMap::new() };
                // A left side that is refused says nothing; a right side that is refused alone is wrong.
                let left = values.of(root).ok()?;
                let right = values.of(result).unwrap_or_else(|why| panic!("{}: {why}", rules::all()[rule].name));
                Some((left, right))
            });
            found.push(Application { rule, sides: sides.collect() });
        }
    }
    found
}

/// Functions that exporters take apart. The parts cancel where the function does not, and sums have their own order, so each
/// side is as far from the other as the parts are from the function: measured against the largest magnitude, not by element.
const TAKEN_APART: &[&str] = &[
    "gelu",
    "gelu-halved-last",
    "gelu-halved-inside",
    "gelu-tanh",
    "gelu-tanh-halved-last",
    "gelu-tanh-halved-inside",
    "gelu-tanh-factored",
    "hard-swish",
    "hard-swish-inside",
    "hard-swish-sigmoid",
    "mish",
    "sigmoid",
    "silu",
    "mean-of-sum",
    "softmax",
    "log-softmax",
    "layer-norm",
    "rms-norm",
];

/// Units in the last place by which an element may differ under a rule that is marked `ulp`.
const MOST_ULPS: f64 = 4.0;

/// Distance of two elements in units in the last place of the larger one; subnormal numbers count as the least normal one.
fn ulps_apart(dtype: DType, a: f64, b: f64) -> f64 {
    if a == b || a.is_nan() && b.is_nan() {
        return 0.0;
    }
    if !a.is_finite() || !b.is_finite() {
        return f64::INFINITY;
    }
    let (mantissa, least) = match dtype {
        DType::F64 => (52, -1022),
        DType::F16 => (10, -14),
        DType::BF16 => (7, -126),
        _ => (23, -126),
    };
    let exponent = (a.abs().max(b.abs()).log2().floor() as i32).max(least);
    (a - b).abs() / 2f64.powi(exponent - mantissa)
}

/// What is wrong with the two sides of an application, if anything.
fn disagreement(rule: &rules::Rule, left: &Tensor, right: &Tensor) -> Option<String> {
    let dtype = left.ty.dtype;
    let taken_apart = TAKEN_APART.contains(&rule.name);
    if dtype.is_float() && (taken_apart || matches!(rule.freedom, Freedom::Fold | Freedom::Reassociate)) {
        let bound = match dtype {
            // The norm of a row of two nearly equal elements is what is left of their difference.
            DType::F16 => 4e-2,
            DType::BF16 => 2e-1,
            _ => 1e-5,
        };
        let largest = left.floats().into_iter().filter(|x| x.is_finite()).fold(1e-30, |most: f64, x| most.max(x.abs()));
        // Numbers that the inputs are like: a single result may be what is left of two that cancel.
        let far = distance(left, right) * largest / largest.max(1.0);
        return (far > bound).then(|| format!("{far} apart"));
    }
    (0..left.ty.len()).find_map(|at| {
        let (a, b) = (left.bits(at), right.bits(at));
        if a == b {
            return None;
        }
        if !dtype.is_float() {
            return Some(format!("element {at}: bits {a:x} became {b:x}"));
        }
        let (x, y) = (decode_float(dtype, a), decode_float(dtype, b));
        let apart = match rule.freedom {
            Freedom::Exact => !(x.is_nan() && y.is_nan()),
            Freedom::ZeroSign | Freedom::Finite => ulps_apart(dtype, x, y) > 0.0,
            _ => ulps_apart(dtype, x, y) > MOST_ULPS,
        };
        apart.then(|| format!("element {at}: {x:e} became {y:e}"))
    })
}

#[test]
fn both_sides_of_every_rule_agree() {
    let mut wrong = Vec::new();
    for (name, lines) in applies() {
        let found = applications(&graph(&text(lines)), &[number_of(name)], &[0, 1, 2, 3]);
        if found.iter().all(|application| application.sides.is_empty()) {
            wrong.push(format!("{name} does not apply to {lines}"));
        }
        for application in found {
            let rule = &rules::all()[application.rule];
            for (left, right) in &application.sides {
                if let Some(why) = disagreement(rule, left, right) {
                    wrong.push(format!("{name}: {why}: {lines}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn side_conditions_forbid() {
    for (name, lines) in forbidden() {
        let found = applications(&graph(&text(lines)), &[number_of(name)], &[0]);
        assert!(found.is_empty(), "{name} applies to {lines}");
    }
}

#[test]
fn every_rule_has_a_case_and_a_name_of_its_own() {
    let mut names = std::collections::BTreeSet::new();
    for rule in rules::all() {
        assert!(names.insert(rule.name), "{} stands twice", rule.name);
        if rule.phase.is_optional() {
            assert!(applies().any(|(name, _)| *name == rule.name), "{} has no case", rule.name);
        }
    }
}

/// An oracle that sees nothing would agree with everything.
#[test]
fn differences_are_noticed() {
    let rule = |name| &rules::all()[number_of(name)];
    let x = |elements: &[f32]| Tensor::from_f32(&[elements.len()], elements);
    let (one, next) = (x(&[1.0, f32::NAN]), x(&[1.000_000_1, f32::NAN]));
    assert!(disagreement(rule("neg-neg"), &one, &next).is_some());
    assert!(disagreement(rule("div-constant"), &one, &next).is_none());
    assert!(disagreement(rule("div-constant"), &one, &x(&[1.000_001, f32::NAN])).is_some());
    assert!(disagreement(rule("div-constant"), &x(&[0.0, 3e38]), &x(&[0.0, f32::INFINITY])).is_some());
    assert!(disagreement(rule("neg-neg"), &x(&[0.0]), &x(&[-0.0])).is_some());
    assert!(disagreement(rule("add-zero"), &x(&[0.0]), &x(&[-0.0])).is_none());
    assert!(disagreement(rule("add-zero"), &x(&[0.0]), &x(&[f32::NAN])).is_some());
    assert!(disagreement(rule("softmax"), &one, &x(&[1.01, f32::NAN])).is_some());
}
