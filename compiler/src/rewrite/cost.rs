//! What a choice costs: integers, so that the choice does not depend on rounding or on the machine.
//!
//! The unit is a picosecond of one core of an ordinary desktop machine. Only ratios matter: what a kernel launch, a byte
//! moved, an addition in a point program and a multiply-add of a matrix product cost against each other.

use super::language::{Kind, Vocabulary, class_of};
use crate::ops::{Class, Op};
use crate::types::TensorType;

/// Starting one kernel on a pool of threads.
pub(super) const LAUNCH: u64 = 1_500_000;
/// Reading or writing a byte that may be in a cache.
pub(super) const BYTE: u64 = 40;
/// One addition on one element in a point program, vectorised.
const POINT_FLOP: u64 = 60;
/// One pass of a row function over one element.
const ROW_ELEMENT: u64 = 700;
/// One multiply-add of a contraction, vectorised.
const MULTIPLY_ADD: u64 = 30;
/// A view: nothing is moved, but fewer of them are easier to read.
pub(super) const VIEW: u64 = 1_000;
/// A byte of the most that is held at once, in bytes moved: memory that a program would hold longer has to save moving four
/// times as much. The least memory comes before speed.
pub(super) const PEAK: u64 = 4;
/// A choice that cannot be.
pub(super) const IMPOSSIBLE: u64 = u64::MAX;

pub(super) fn bytes(ty: &TensorType) -> u64 {
    (ty.bytes() as u64).saturating_mul(BYTE)
}

/// Arithmetic of one op over a domain of `len` elements.
pub(super) fn arithmetic(words: &Vocabulary, kind: Kind, attr: u32, operands: &[&TensorType], len: usize) -> u64 {
    let elements = len as u64;
    match class_of(kind) {
        Some(Class::Point) => {
            let flops = kind.function().map_or(1, |function| function.row().flops);
            elements.saturating_mul(u64::from(flops) * POINT_FLOP)
        }
        Some(Class::Row) => (operands[0].len() as u64).saturating_mul(ROW_ELEMENT),
        Some(Class::Contraction) => {
            let depth = match kind.outer() {
                Kind::MATMUL => operands[0].shape.last().copied().unwrap_or(1),
                Kind::CONV => operands[1].shape[1..].iter().product(),
                _ => match words.attribute(attr) {
                    Op::ConvTranspose { strides, groups, .. } => {
                        let taps: usize = operands[1].shape[2..].iter().product();
                        let spread: usize = strides.iter().product();
                        operands[0].shape[1] / (*groups).max(1) * taps / spread.max(1)
                    }
                    _ => 1,
                },
            };
            elements.saturating_mul(depth as u64).saturating_mul(MULTIPLY_ADD)
        }
        _ => 0,
    }
}
