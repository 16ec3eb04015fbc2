//! LSTM, GRU and RNN.

use super::super::site::{Outputs, Site, Stop, Words, invalid, unsupported};
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Float, Op, RecurrentFn};
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row_of("LSTM", 1, |s| recurrent(s, Cell::Lstm)),
    row_of("GRU", 1, |s| recurrent(s, Cell::Gru)),
    row_of("RNN", 1, |s| recurrent(s, Cell::Rnn)),
];

#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Lstm,
    Gru,
    Rnn,
}

impl Cell {
    /// Activations the kernel has, of one direction.
    fn activations(self) -> &'static [&'static str] {
        match self {
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
            Cell::Gru => &["Sigmoid", "Tanh"],
            Cell::Rnn => &["Tanh"],
        }
    }
}

fn directions(s: &Site) -> Result<Vec<bool>, Stop> {
    Ok(match s.text("direction", "forward")? {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => return invalid(format!("direction {other:?} is not known")),
    })
}

/// Refuses activations other than the usual ones.
fn check_activations(s: &Site, cell: Cell, directions: usize) -> Result<(), Stop> {
    let usual: Vec<&str> = cell.activations().repeat(directions);
    match s.texts("activations")? {
        Some(names) if !names.is_empty() => {
            let same = names.len() == usual.len() && names.iter().zip(&usual).all(|(a, b)| a.eq_ignore_ascii_case(b));
            if !same {
                return unsupported(format!("activations {names:?}"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Operands that may be left out become constants; the batch-first layout becomes views around the op.
fn recurrent(s: &mut Site, cell: Cell) -> Outputs {
    let (mut x, w, r) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let reverse = directions(s)?;
    let dirs = reverse.len();
    check_activations(s, cell, dirs)?;
    let batch_first = s.flag("layout", false)?;
    if batch_first {
        x = s.permute(x, &[1, 0, 2])?;
    }
    let dtype = s.dtype(x);
    let (&[seq, batch, _], &[_, _, hidden]) = (s.shape(x).as_slice(), s.shape(r).as_slice()) else {
        return invalid(format!(
            "expected x [seq, batch, input] and r [dirs, gates * hidden, hidden], found {} and {}",
            s.ty(x),
            s.ty(r)
        ));
    };
    if s.int("hidden_size", hidden as i64)? != hidden as i64 {
        return invalid(format!("hidden_size differs from the weights' {hidden}"));
    }
    let function = match cell {
        Cell::Lstm => RecurrentFn::Lstm,
        Cell::Gru => RecurrentFn::Gru { linear_before_reset: s.flag("linear_before_reset", false)? },
        Cell::Rnn => RecurrentFn::Rnn,
    };
    let gates = match cell {
        Cell::Lstm => 4usize,
        Cell::Gru => 3,
        Cell::Rnn => 1,
    };
    let wide = hidden.checked_mul(2 * gates).ok_or_else(|| Stop::Invalid("the hidden size is too large".into()))?;
    let bias = or_zeros(s, 3, dtype, &[dirs, wide])?;
    let mut operands = vec![x, w, r, bias, state(s, 5, dtype, [dirs, batch, hidden], batch_first)?];
    if cell == Cell::Lstm {
        operands.push(state(s, 6, dtype, [dirs, batch, hidden], batch_first)?);
        operands.push(or_zeros(s, 7, dtype, &[dirs, 3 * hidden])?);
    }
    operands.push(match s.optional(4) {
        Some(lengths) => s.cast(lengths, DType::I32)?,
        None => s.filled(DType::I32, &[batch], seq as f64)?,
    });
    let clip = s.float_opt("clip")?.filter(|clip| *clip > 0.0).map(Float::new);
    let input_forget = cell == Cell::Lstm && s.flag("input_forget", false)?;
    let mut results = s.apply(Op::Recurrent { function, hidden, reverse, clip, input_forget }, &operands)?;
    if batch_first {
        // y [seq, dirs, batch, hidden] becomes [batch, seq, dirs, hidden], the states [batch, dirs, hidden].
        results[0] = s.permute(results[0], &[2, 0, 1, 3])?;
        for result in &mut results[1..] {
            *result = s.permute(*result, &[1, 0, 2])?;
        }
    }
    Ok(results)
}

fn or_zeros(s: &mut Site, position: usize, dtype: DType, shape: &[usize]) -> Result<ValueId, Stop> {
    match s.optional(position) {
        Some(value) => Ok(value),
        None => s.filled(dtype, shape, 0.0),
    }
}

/// An initial state `[dirs, batch, hidden]`.
fn state(s: &mut Site, position: usize, dtype: DType, shape: [usize; 3], batch_first: bool) -> Result<ValueId, Stop> {
    match s.optional(position) {
        Some(value) if batch_first => s.permute(value, &[1, 0, 2]),
        Some(value) => Ok(value),
        None => s.filled(dtype, &shape, 0.0),
    }
}
