//! Every rule on cases where it applies, both sides evaluated, and on cases where its side condition forbids it.

mod contraction;
mod identity;
mod merge;
mod recover;
mod scalar;
mod views;

use egg::Id;

use super::super::analysis::{Egraph, op_of};
use super::super::language::Kind;
use super::super::recipe::build;
use super::super::rules::{self, Freedom, Phase};
use super::super::saturate::{Finding, Limits, search};
use super::super::{decompose, plan, regions};
use super::*;
use crate::eval::evaluate_op;
use crate::types::DType;

/// Rule and the lines of a graph whose last value is `%r`.
type Case = (&'static str, &'static str);

fn applies() -> impl Iterator<Item = &'static Case> {
    [contraction::APPLIES, identity::APPLIES, merge::APPLIES, recover::APPLIES, scalar::APPLIES, views::APPLIES]
        .into_iter()
        .flatten()
}

fn forbidden() -> impl Iterator<Item = &'static Case> {
    [
        contraction::FORBIDDEN,
        identity::FORBIDDEN,
        merge::FORBIDDEN,
        recover::FORBIDDEN,
        scalar::FORBIDDEN,
        views::FORBIDDEN,
    ]
    .into_iter()
    .flatten()
}

fn text(lines: &str) -> String {
    let lines: Vec<&str> = lines.split(';').map(str::trim).collect();
    format!("graph law {{\n {}\n return %r\n}}\n", lines.join("\n "))
}

/// Elements that rules like to forget, then ordinary ones.
fn elements(ty: &TensorType, position: usize, special: bool) -> Tensor {
    let mut bytes = seeded::draw(Distribution::Normal { mean: 0.2, std: 1.5 }, 7 + position as u64, ty.dtype, ty.len());
    if special && ty.dtype.is_float() {
        let rare = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40, -1e-40, 3e38, -3e38, 1.0, -1.0];
        let size = ty.dtype.size();
        for (at, element) in bytes.chunks_exact_mut(size).enumerate().step_by(2) {
            let value = rare[(at / 2 * 3 + position * 5) % rare.len()];
            element.copy_from_slice(&situ_runtime::scalar::encode_float(ty.dtype, value).to_le_bytes()[..size]);
        }
    }
    if special && !ty.dtype.is_float() && ty.dtype != DType::Bool {
        let rare = [0, 1, -1, 2, i64::MAX, i64::MIN, 127, 128, 255, 300, -129, 40_000, 1 << 31, (1 << 53) + 1];
        let size = ty.dtype.size();
        for (at, element) in bytes.chunks_exact_mut(size).enumerate().step_by(2) {
            let value = rare[(at / 2 * 3 + position * 5) % rare.len()];
            element.copy_from_slice(&situ_runtime::scalar::encode_int(ty.dtype, value).to_le_bytes()[..size]);
        }
    }
    if ty.dtype == DType::Bool {
        bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at % 3 == position % 3) as u8);
    }
    Tensor::new(ty.clone(), bytes)
}

/// The value of an e-node by the op it was made as.
fn value(egraph: &Egraph, id: Id, leaves: &[Tensor]) -> Tensor {
    let node = &egraph.nodes()[usize::from(id)];
    match node.kind {
        Kind::LEAF => leaves[node.attr as usize].clone(),
        Kind::CONST => {
            let (bits, dtype) = egraph.analysis.words.constant(node.attr).expect("a literal has bits");
            Tensor::new(TensorType::scalar(dtype), bits.to_le_bytes()[..dtype.size()].to_vec())
        }
        _ => {
            let operands: Vec<Tensor> = node.children.iter().map(|&child| value(egraph, child, leaves)).collect();
            let op = op_of(egraph, node).expect("an op of the graph");
            evaluate_op(&op, &operands).expect("an op evaluates").remove(0)
        }
    }
}

/// Applies one rule once to a case; for each application both sides, evaluated.
fn applications(name: &str, lines: &str) -> Vec<(Tensor, Tensor)> {
    let number = rules::all().iter().position(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule {name}"));
    let rule = &rules::all()[number];
    let source = graph(&text(lines));
    let plain = decompose::decompose(&source, &RewriteOptions::default()).expect("decomposition");
    let (distinct, pieces) = regions::partition(&plain);
    assert_eq!(distinct.len(), 1, "a case is one region");
    let special = rule.freedom == Freedom::Exact || rule.freedom == Freedom::ZeroSign;
    let [regions::Piece::Region(instance)] = &pieces[..] else { panic!("a case is one region") };
    let leaves: Vec<Tensor> = instance
        .leaves
        .iter()
        .enumerate()
        .map(|(position, &leaf)| match plain.constant_of(leaf) {
            Some(constant) => Tensor::new(constant.ty.clone(), constant.bytes().into_owned()),
            None => elements(plain.ty(leaf), position, special),
        })
        .collect();
    let mut egraph = build(&distinct[0]).expect("an e-graph").egraph;
    egraph.rebuild();
    let admitted: Vec<bool> = (0..rules::all().len()).map(|at| at == number).collect();
    let limits = Limits { nodes: 10_000, iterations: 1 };
    let found = search(&egraph, rule.phase, &admitted, &limits).expect("a small case");
    let mut pairs = Vec::new();
    for Finding { root, plan, .. } in found {
        let Some(result) = plan::instantiate(&mut egraph, &plan) else { continue };
        if egraph[root].data.types == egraph[result].data.types {
            pairs.push((value(&egraph, root, &leaves), value(&egraph, result, &leaves)));
        }
    }
    pairs
}

fn agree(freedom: Freedom, left: &Tensor, right: &Tensor) -> bool {
    let float = left.ty.dtype.is_float();
    let bits = (0..left.ty.len()).all(|at| {
        let (a, b) = (left.bits(at), right.bits(at));
        let nan = |bits: u64| float && situ_runtime::scalar::decode_float(left.ty.dtype, bits).is_nan();
        a == b || nan(a) && nan(b)
    });
    match freedom {
        Freedom::Exact => bits,
        Freedom::ZeroSign => distance(left, right) == 0.0,
        Freedom::Ulp | Freedom::Fold | Freedom::Reassociate => distance(left, right) < 1e-5,
    }
}

#[test]
fn both_sides_of_every_rule_agree() {
    let mut wrong = Vec::new();
    for (name, lines) in applies() {
        let pairs = applications(name, lines);
        if pairs.is_empty() {
            wrong.push(format!("{name} does not apply to {lines}"));
        }
        let rule = rules::all().iter().find(|rule| rule.name == *name).expect("checked before");
        for (left, right) in pairs {
            if !agree(rule.freedom, &left, &right) {
                wrong.push(format!("{name}: {:?} became {:?}", left.floats(), right.floats()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn side_conditions_forbid() {
    for (name, lines) in forbidden() {
        assert!(applications(name, lines).is_empty(), "{name} applies to {lines}");
    }
}

#[test]
fn every_rule_has_a_case_and_a_name_of_its_own() {
    let mut names = std::collections::BTreeSet::new();
    for rule in rules::all() {
        assert!(names.insert(rule.name), "{} stands twice", rule.name);
        if matches!(rule.phase, Phase::Algebra | Phase::Merge) {
            assert!(applies().any(|(name, _)| *name == rule.name), "{} has no case", rule.name);
        }
    }
}
