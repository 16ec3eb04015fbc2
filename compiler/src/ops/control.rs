//! Ops with regions: which types the parameters and yields of each region have, and what the results are.
//!
//! Text, builder, verifier, interpreter and the stages ask here, so that the meaning of a region's places is written
//! once:
//!
//! | op | operands | a region's parameters | its yields | results |
//! |---|---|---|---|---|
//! | `if` | cond, args | args | the results | what the taken branch yielded |
//! | `loop` | trip, cond, inits, args | i, carries, args | cond, carries | the last carries |
//! | `scan` | inits, sequences, args | i, carries, slices, args | carries, elements | the last carries, elements stacked |
//! | `kernel` | operands | operands | the results | what the body yielded |

use super::Inferred;
use super::table::Op;
use crate::types::{DType, TensorType};

/// How deep regions may nest: a bound on the depth of every recursion over them, here and where they run.
pub use situ_runtime::kernel::control::MAX_NESTING;

/// The types of one region's parameters and yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionTypes {
    pub params: Vec<TensorType>,
    pub yields: Vec<TensorType>,
}

/// The type of a trip count and of the number of a trip.
pub fn index_type() -> TensorType {
    TensorType::new(DType::I64, Vec::<usize>::new())
}

/// The type of a condition.
pub fn condition_type() -> TensorType {
    TensorType::new(DType::Bool, Vec::<usize>::new())
}

impl Op {
    /// What each region of the op takes and yields, for operands and results that pass [`Op::infer`]; empty for an op
    /// without regions.
    pub fn regions(&self, operands: &[TensorType], results: &[TensorType]) -> Vec<RegionTypes> {
        match self {
            Op::Kernel { .. } => vec![RegionTypes { params: operands.to_vec(), yields: results.to_vec() }],
            Op::If { .. } => vec![RegionTypes { params: operands[1..].to_vec(), yields: results.to_vec() }; 2],
            Op::Loop { .. } => {
                let params = [&[index_type()], &operands[2..]].concat();
                vec![RegionTypes { params, yields: [&[condition_type()], results].concat() }]
            }
            Op::Scan { carried, sequences, .. } => {
                let (inits, rest) = operands.split_at(*carried);
                let (sequences, args) = rest.split_at(*sequences);
                let slices: Vec<TensorType> = sequences.iter().map(without_first_axis).collect();
                let params = [&[index_type()], inits, &slices, args].concat();
                let (carries, stacked) = results.split_at(*carried);
                let elements: Vec<TensorType> = stacked.iter().map(without_first_axis).collect();
                vec![RegionTypes { params, yields: [carries, &elements].concat() }]
            }
            _ => Vec::new(),
        }
    }

    /// Whether the op has regions that run zero times or more under its control: `if`, `loop` and `scan`.
    pub fn is_control(&self) -> bool {
        self.row().class == super::Class::Control
    }
}

/// One step of a sequence: its type without axis 0. A scalar has no such axis and stays what it is; inference refuses it.
pub fn without_first_axis(sequence: &TensorType) -> TensorType {
    TensorType::new(sequence.dtype, sequence.shape.get(1..).unwrap_or_default())
}

pub(super) fn branched(x: &[TensorType], results: &[DType], shapes: &[Vec<usize>]) -> Inferred {
    expect("the condition of an if", &x[0], &condition_type())?;
    super::shape::declared(results, shapes)
}

pub(super) fn repeated(x: &[TensorType], carried: usize) -> Inferred {
    expect("the trip count of a loop", &x[0], &index_type())?;
    expect("the condition of a loop", &x[1], &condition_type())?;
    match x[2..].get(..carried) {
        Some(inits) => Ok(inits.to_vec()),
        None => Err(format!("a loop that carries {carried} values takes their initial values, found {}", x.len() - 2)),
    }
}

pub(super) fn scanned(
    x: &[TensorType],
    trips: usize,
    carried: usize,
    sequences: usize,
    results: &[DType],
    shapes: &[Vec<usize>],
) -> Inferred {
    if carried.checked_add(sequences).is_none_or(|least| least > x.len()) {
        return Err(format!(
            "a scan of {carried} carried values and {sequences} sequences takes as many operands, found {}",
            x.len()
        ));
    }
    for sequence in &x[carried..carried + sequences] {
        if sequence.shape.first() != Some(&trips) {
            return Err(format!("a scan of {trips} trips takes sequences with {trips} elements, found {sequence}"));
        }
    }
    let elements = super::shape::declared(results, shapes)?;
    let stacked = elements.iter().map(|ty| TensorType::new(ty.dtype, [&[trips], ty.shape.as_slice()].concat()));
    Ok(x[..carried].iter().cloned().chain(stacked).collect())
}

fn expect(what: &str, found: &TensorType, expected: &TensorType) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {expected}, found {found}")) }
}
