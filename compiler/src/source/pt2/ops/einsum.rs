//! Sums of products over named axes.

use super::super::site::{Outputs, Site, Stop, Words, invalid};
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{Op, ReduceFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[row("einsum.default", "equation tensors path=None", einsum)];

/// Sums of products over named axes, two operands at a time from the left: each step is one matrix product over what both
/// share, batched over what is kept.
fn einsum(s: &mut Site) -> Outputs {
    let equation: String = s.text("equation")?.chars().filter(|c| !c.is_whitespace()).collect();
    let tensors = s.tensors("tensors")?;
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_string(), Some(right.to_string())),
        None => (equation.clone(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != tensors.len() {
        return invalid(format!("{} operands for {equation:?}", tensors.len()));
    }
    // Axes of an ellipsis get capital letters that the equation does not use, aligned from the right.
    let wide = |term: &str, rank: usize| -> Result<Vec<char>, Stop> {
        let Some((front, back)) = term.split_once("...") else {
            return Ok(term.chars().collect());
        };
        let named = front.chars().count() + back.chars().count();
        let Some(hidden) = rank.checked_sub(named) else {
            return invalid(format!("{term:?} names {named} axes of {rank}"));
        };
        let letters = (0..hidden).rev().map(|place| char::from_u32(0xE000 + place as u32).unwrap_or('?'));
        Ok(front.chars().chain(letters).chain(back.chars()).collect())
    };
    // Every letter as often as the equation has it.
    let mut named: Vec<char> = Vec::new();
    let mut operands: Vec<(Vec<char>, ValueId)> = Vec::new();
    for (term, &tensor) in terms.iter().zip(&tensors) {
        let labels = wide(term, s.rank(tensor))?;
        if labels.len() != s.rank(tensor) {
            return invalid(format!("{term:?} names {} axes of {}", labels.len(), s.rank(tensor)));
        }
        named.extend(&labels);
        operands.push(diagonals(s, labels, tensor)?);
    }
    let all: Vec<char> = operands.iter().flat_map(|(labels, _)| labels.iter().copied()).collect();
    let hidden: Vec<char> = {
        let mut hidden: Vec<char> = all.iter().copied().filter(|&c| c >= '\u{E000}').collect();
        hidden.sort_unstable_by(|a, b| b.cmp(a));
        hidden.dedup();
        hidden
    };
    let output: Vec<char> = match right {
        Some(right) => {
            let shown = hidden.iter().collect::<String>();
            right.replace("...", &shown).chars().collect()
        }
        // Implicitly: the ellipsis, then what is named once, in the order of the alphabet.
        None => {
            let mut once: Vec<char> = all
                .iter()
                .copied()
                .filter(|c| *c < '\u{E000}' && named.iter().filter(|d| *d == c).count() == 1)
                .collect();
            once.sort_unstable();
            hidden.iter().copied().chain(once).collect()
        }
    };
    if output.iter().any(|c| !all.contains(c)) || output.iter().enumerate().any(|(i, c)| output[..i].contains(c)) {
        return invalid(format!("the result of {equation:?} names an axis that is not there, or twice"));
    }
    let mut rest = operands.into_iter();
    let Some((mut labels, mut value)) = rest.next() else { return invalid("an equation without operands") };
    let mut rest: Vec<(Vec<char>, ValueId)> = rest.collect();
    while !rest.is_empty() {
        let (other_labels, other) = rest.remove(0);
        let needed = |c: &char| output.contains(c) || rest.iter().any(|(labels, _)| labels.contains(c));
        (labels, value) = contract(s, (labels, value), (other_labels, other), needed)?;
    }
    let gone: Vec<usize> = (0..labels.len()).filter(|&axis| !output.contains(&labels[axis])).collect();
    if !gone.is_empty() {
        // A sum alone is wider than its integers, as everywhere; a product is not.
        if tensors.len() == 1 && !s.dtype(value).is_float() {
            value = s.cast(value, DType::I64)?;
        }
        value = s.reduce(ReduceFn::Sum, value, &gone, false)?;
        labels.retain(|c| output.contains(c));
    }
    let axes: Option<Vec<usize>> = output.iter().map(|c| labels.iter().position(|d| d == c)).collect();
    let Some(axes) = axes else { return invalid(format!("the result of {equation:?}")) };
    let value = s.permute(value, &axes)?;
    // Of one operand that is not summed the result is a view, as PyTorch has it.
    Ok(vec![value])
}

/// An axis named twice is the diagonal of both.
fn diagonals(s: &mut Site, mut labels: Vec<char>, mut value: ValueId) -> Result<(Vec<char>, ValueId), Stop> {
    loop {
        let twice =
            (0..labels.len()).find_map(|i| (i + 1..labels.len()).find(|&j| labels[j] == labels[i]).map(|j| (i, j)));
        let Some((i, j)) = twice else { return Ok((labels, value)) };
        value = s.one(Op::Diagonal { offset: 0, axis1: i, axis2: j }, &[value])?;
        let label = labels[i];
        labels.retain(|&c| c != label);
        labels.push(label);
    }
}

/// The product of two operands, summed over what nothing else needs.
fn contract(
    s: &mut Site,
    (mut a_labels, mut a): (Vec<char>, ValueId),
    (mut b_labels, mut b): (Vec<char>, ValueId),
    needed: impl Fn(&char) -> bool,
) -> Result<(Vec<char>, ValueId), Stop> {
    let (of_a, of_b) = (a_labels.clone(), b_labels.clone());
    // What only one of them has, and nobody needs, is summed first; so are axes of 1 that broadcast.
    for (labels, value, others) in [(&mut a_labels, &mut a, of_b), (&mut b_labels, &mut b, of_a)] {
        let gone: Vec<usize> =
            (0..labels.len()).filter(|&axis| !others.contains(&labels[axis]) && !needed(&labels[axis])).collect();
        if !gone.is_empty() {
            *value = s.reduce(ReduceFn::Sum, *value, &gone, false)?;
            let kept: Vec<char> =
                (0..labels.len()).filter(|axis| !gone.contains(axis)).map(|axis| labels[axis]).collect();
            *labels = kept;
        }
    }
    let shared: Vec<char> = a_labels.iter().copied().filter(|c| b_labels.contains(c)).collect();
    let extent = |s: &Site, labels: &[char], value: ValueId, c: char| {
        labels.iter().position(|&d| d == c).map_or(1, |axis| s.shape(value)[axis])
    };
    for &c in &shared {
        let (x, y) = (extent(s, &a_labels, a, c), extent(s, &b_labels, b, c));
        if x != y && x != 1 && y != 1 {
            return invalid(format!("an axis of {x} against one of {y}"));
        }
        for (labels, value, other) in [(&a_labels, &mut a, y), (&b_labels, &mut b, x)] {
            let axis = labels.iter().position(|&d| d == c).unwrap_or_default();
            let mut shape = s.shape(*value);
            if shape[axis] != other && shape[axis] == 1 {
                shape[axis] = other;
                *value = s.expand(*value, &shape)?;
            }
        }
    }
    let batch: Vec<char> = shared.iter().copied().filter(|c| needed(c)).collect();
    let inner: Vec<char> = shared.iter().copied().filter(|c| !needed(c)).collect();
    let free = |labels: &[char]| labels.iter().copied().filter(|c| !shared.contains(c)).collect::<Vec<char>>();
    let (rows, columns) = (free(&a_labels), free(&b_labels));
    let arranged =
        |s: &mut Site, labels: &[char], value: ValueId, parts: [&[char]; 3]| -> Result<(ValueId, Vec<usize>), Stop> {
            let order: Vec<char> = parts.concat();
            let axes: Vec<usize> =
                order.iter().map(|c| labels.iter().position(|d| d == c).unwrap_or_default()).collect();
            let turned = s.permute(value, &axes)?;
            let shape = s.shape(turned);
            let mut place = 0;
            let mut matrix = shape[..parts[0].len()].to_vec();
            place += parts[0].len();
            for part in &parts[1..] {
                matrix.push(shape[place..place + part.len()].iter().product());
                place += part.len();
            }
            Ok((s.reshape(turned, &matrix)?, shape))
        };
    let (left, left_shape) = arranged(s, &a_labels, a, [&batch, &rows, &inner])?;
    let (right, right_shape) = arranged(s, &b_labels, b, [&batch, &inner, &columns])?;
    let product = s.matmul(left, right)?;
    let shape = [&left_shape[..batch.len() + rows.len()], &right_shape[batch.len() + inner.len()..]].concat();
    let labels = [batch, rows, columns].concat();
    Ok((labels, s.reshape(product, &shape)?))
}
