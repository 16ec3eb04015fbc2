//! The gates of one step of one batch element, on vectors of units.

use crate::simd::{Algorithm, Lanes, math};

/// Which cell, with the attributes that change its formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Gates i, o, f, c. `input_forget` couples the forget gate to the input gate.
    Lstm {
        input_forget: bool,
    },
    /// Gates z, r, h. `linear_before_reset` applies the reset gate after the recurrent product and its bias.
    Gru {
        linear_before_reset: bool,
    },
    Rnn,
}

/// One step: the new `state`, and for an LSTM the new `cell`, from the two shares of the gates. For a GRU that resets the
/// state before the product, `recurrent` holds the candidate's share of the reset state.
pub(super) struct Cell<'a> {
    pub kind: Kind,
    pub hidden: usize,
    pub clip: f32,
    /// The input's share, `[gates][hidden]`.
    pub shares: &'a [f32],
    /// The state's share, `[gates][hidden]`.
    pub recurrent: &'a [f32],
    /// Peepholes i, o, f, `[3][hidden]`.
    pub peephole: &'a [f32],
    pub state: &'a mut [f32],
    pub cell: &'a mut [f32],
}

impl Algorithm for Cell<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut unit = 0;
        while unit < self.hidden {
            let end = (unit + L::WIDTH).min(self.hidden);
            let load = Gates { shares: self.shares, recurrent: self.recurrent, hidden: self.hidden, unit, end };
            let old = L::load_partial(&self.state[unit..end], 0.0);
            let new = match self.kind {
                Kind::Rnn => math::tanh(clipped(load.sum::<L>(0), self.clip)),
                Kind::Gru { linear_before_reset } => {
                    let update = math::sigmoid(clipped(load.sum::<L>(0), self.clip));
                    let candidate = if linear_before_reset {
                        let reset = math::sigmoid(clipped(load.sum::<L>(1), self.clip));
                        load.share::<L>(2) + reset * load.recurrent::<L>(2)
                    } else {
                        load.sum::<L>(2)
                    };
                    let candidate = math::tanh(clipped(candidate, self.clip));
                    (L::splat(1.0) - update) * candidate + update * old
                }
                Kind::Lstm { input_forget } => {
                    let cell = L::load_partial(&self.cell[unit..end], 0.0);
                    let mut peephole = [L::splat(0.0); 3];
                    for (gate, weights) in peephole.iter_mut().enumerate() {
                        *weights = L::load_partial(&self.peephole[gate * self.hidden..][unit..end], 0.0);
                    }
                    let [of_input, of_output, of_forget] = peephole;
                    let input = math::sigmoid(clipped(load.sum::<L>(0) + of_input * cell, self.clip));
                    let forget = if input_forget {
                        L::splat(1.0) - input
                    } else {
                        math::sigmoid(clipped(load.sum::<L>(2) + of_forget * cell, self.clip))
                    };
                    let candidate = math::tanh(clipped(load.sum::<L>(3), self.clip));
                    let cell = forget * cell + input * candidate;
                    cell.store_partial(&mut self.cell[unit..end]);
                    let output = math::sigmoid(clipped(load.sum::<L>(1) + of_output * cell, self.clip));
                    output * math::tanh(cell)
                }
            };
            new.store_partial(&mut self.state[unit..end]);
            unit = end;
        }
    }
}

/// The reset gate of a GRU and the state it lets through.
pub(super) struct Reset<'a> {
    pub share: &'a [f32],
    pub recurrent: &'a [f32],
    pub clip: f32,
    pub state: &'a [f32],
    pub reset: &'a mut [f32],
}

impl Algorithm for Reset<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let hidden = self.reset.len();
        let mut unit = 0;
        while unit < hidden {
            let end = (unit + L::WIDTH).min(hidden);
            let sum = L::load_partial(&self.share[unit..end], 0.0) + L::load_partial(&self.recurrent[unit..end], 0.0);
            let gate = math::sigmoid(clipped(sum, self.clip));
            let state = L::load_partial(&self.state[unit..end], 0.0);
            (gate * state).store_partial(&mut self.reset[unit..end]);
            unit = end;
        }
    }
}

/// The gates of some units.
struct Gates<'a> {
    shares: &'a [f32],
    recurrent: &'a [f32],
    hidden: usize,
    unit: usize,
    end: usize,
}

impl Gates<'_> {
    #[inline(always)]
    fn share<L: Lanes>(&self, gate: usize) -> L {
        L::load_partial(&self.shares[gate * self.hidden..][self.unit..self.end], 0.0)
    }

    #[inline(always)]
    fn recurrent<L: Lanes>(&self, gate: usize) -> L {
        L::load_partial(&self.recurrent[gate * self.hidden..][self.unit..self.end], 0.0)
    }

    #[inline(always)]
    fn sum<L: Lanes>(&self, gate: usize) -> L {
        self.share::<L>(gate) + self.recurrent::<L>(gate)
    }
}

#[inline(always)]
fn clipped<L: Lanes>(x: L, clip: f32) -> L {
    L::splat(clip).min(L::splat(-clip).max(x))
}
