//! Recurrent cells: LSTM, GRU and the plain cell, as the ONNX operators define them.

use super::Memory;
use crate::kernel::{Kernel, RecurrentFn};
use crate::scalar;
use crate::types::DType;

/// Four vectors of `hidden` numbers: the state, the next state, the cell, and the state after the reset gate.
pub(super) fn workspace_bytes(hidden: usize) -> usize {
    hidden.saturating_mul(4 * size_of::<f64>())
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// One direction of one batch element.
struct Cell<'m, 'a, 'b> {
    memory: &'m Memory<'a, 'b>,
    hidden: usize,
    gates: usize,
    direction: usize,
    batch: usize,
    clip: f64,
}

impl Cell<'_, '_, '_> {
    /// `W[gate, unit] · x + bias`, the input's share of a gate before its activation.
    fn input(&self, gate: usize, unit: usize, time: usize) -> f64 {
        let row = gate * self.hidden + unit;
        let dot: f64 = (0..self.memory.read_shape(0)[2])
            .map(|i| self.memory.number(0, &[time, self.batch, i]) * self.memory.number(1, &[self.direction, row, i]))
            .sum();
        dot + self.memory.number(3, &[self.direction, row])
    }

    /// `R[gate, unit] · state`.
    fn recurrent(&self, gate: usize, unit: usize, state: &[f64]) -> f64 {
        let row = gate * self.hidden + unit;
        (0..self.hidden).map(|j| state[j] * self.memory.number(2, &[self.direction, row, j])).sum()
    }

    fn recurrent_bias(&self, gate: usize, unit: usize) -> f64 {
        self.memory.number(3, &[self.direction, (self.gates + gate) * self.hidden + unit])
    }

    fn gate(&self, gate: usize, unit: usize, time: usize, state: &[f64]) -> f64 {
        self.input(gate, unit, time) + self.recurrent(gate, unit, state) + self.recurrent_bias(gate, unit)
    }

    fn clipped(&self, x: f64) -> f64 {
        x.max(-self.clip).min(self.clip)
    }
}

pub(super) fn run(memory: &mut Memory, kernel: &Kernel, workspace: &mut [u8]) {
    let Kernel::Recurrent { function, hidden, reverse, clip, input_forget, .. } = kernel else { return };
    let (hidden, function) = (*hidden, *function);
    let (gates, lengths) = match function {
        RecurrentFn::Lstm => (4, 7),
        RecurrentFn::Gru { .. } => (3, 5),
        RecurrentFn::Rnn => (1, 5),
    };
    let clip = clip.map_or(f64::INFINITY, f64::from_bits);
    let scratch: &mut [f64] = bytemuck::cast_slice_mut(&mut workspace[..workspace_bytes(hidden)]);
    let (state, scratch) = scratch.split_at_mut(hidden);
    let (next, scratch) = scratch.split_at_mut(hidden);
    let (cell, reset) = scratch.split_at_mut(hidden);
    let [steps, batches, _] = *memory.read_shape(0) else { return };
    for (direction, &backwards) in reverse.iter().enumerate() {
        for batch in 0..batches {
            let length = memory.integer(lengths, &[batch]).clamp(0, steps as i64) as usize;
            for unit in 0..hidden {
                state[unit] = memory.number(4, &[direction, batch, unit]);
                cell[unit] =
                    if function == RecurrentFn::Lstm { memory.number(5, &[direction, batch, unit]) } else { 0.0 };
            }
            for step in 0..steps {
                let time = if backwards && step < length { length - 1 - step } else { step };
                if step >= length {
                    for unit in 0..hidden {
                        store(memory, 0, &[time, direction, batch, unit], 0.0);
                    }
                    continue;
                }
                let at = Cell { memory, hidden, gates, direction, batch, clip };
                match function {
                    RecurrentFn::Lstm => lstm(&at, time, *input_forget, state, next, cell),
                    RecurrentFn::Gru { linear_before_reset } => {
                        gru(&at, time, linear_before_reset, state, next, reset);
                    }
                    RecurrentFn::Rnn => {
                        for (unit, next) in next.iter_mut().enumerate() {
                            *next = libm::tanh(at.clipped(at.gate(0, unit, time, state)));
                        }
                    }
                }
                state.copy_from_slice(next);
                for (unit, &value) in state.iter().enumerate() {
                    store(memory, 0, &[time, direction, batch, unit], value);
                }
            }
            for unit in 0..hidden {
                store(memory, 1, &[direction, batch, unit], state[unit]);
                if function == RecurrentFn::Lstm {
                    store(memory, 2, &[direction, batch, unit], cell[unit]);
                }
            }
        }
    }
}

fn store(memory: &mut Memory, target: usize, index: &[usize], value: f64) {
    let dtype: DType = memory.write_dtype(target);
    memory.write(target, index, scalar::encode_float(dtype, value));
}

/// Gates i, o, f, c; peepholes i, o, f. `input_forget` couples the forget gate to the input gate.
fn lstm(at: &Cell, time: usize, input_forget: bool, state: &[f64], next: &mut [f64], cell: &mut [f64]) {
    let peephole = |gate: usize, unit: usize| at.memory.number(6, &[at.direction, gate * at.hidden + unit]);
    for unit in 0..at.hidden {
        let old = cell[unit];
        let input = sigmoid(at.clipped(at.gate(0, unit, time, state) + peephole(0, unit) * old));
        let forget = if input_forget {
            1.0 - input
        } else {
            sigmoid(at.clipped(at.gate(2, unit, time, state) + peephole(2, unit) * old))
        };
        let candidate = libm::tanh(at.clipped(at.gate(3, unit, time, state)));
        cell[unit] = forget * old + input * candidate;
        let output = sigmoid(at.clipped(at.gate(1, unit, time, state) + peephole(1, unit) * cell[unit]));
        next[unit] = output * libm::tanh(cell[unit]);
    }
}

/// Gates z, r, h. `linear_before_reset` applies the reset gate after the recurrent product and its bias.
fn gru(at: &Cell, time: usize, linear_before_reset: bool, state: &[f64], next: &mut [f64], reset: &mut [f64]) {
    for (unit, reset) in reset.iter_mut().enumerate() {
        *reset = sigmoid(at.clipped(at.gate(1, unit, time, state)));
    }
    if !linear_before_reset {
        for (reset, state) in reset.iter_mut().zip(state) {
            *reset *= state;
        }
    }
    for unit in 0..at.hidden {
        let update = sigmoid(at.clipped(at.gate(0, unit, time, state)));
        let memory = if linear_before_reset {
            reset[unit] * (at.recurrent(2, unit, state) + at.recurrent_bias(2, unit))
        } else {
            at.recurrent(2, unit, reset) + at.recurrent_bias(2, unit)
        };
        let candidate = libm::tanh(at.clipped(at.input(2, unit, time) + memory));
        next[unit] = (1.0 - update) * candidate + update * state[unit];
    }
}
