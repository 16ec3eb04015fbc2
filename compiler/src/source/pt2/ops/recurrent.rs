//! LSTM, GRU and RNN: whole networks and single cells.
//!
//! Layers become the `recurrent` op, whose gates stand in another order; what it has not (rectified units, projections)
//! becomes a scan over the steps.

use super::super::promote;
use super::super::site::{Outputs, Site, Stop, Words, invalid};
use super::control::over_sequence;
use super::random;
use super::{Row, row};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, RecurrentFn};
use crate::types::DType;

const LAYERS: &str = "input hx params has_biases num_layers dropout train bidirectional batch_first";
const CELL: &str = "input hx w_ih w_hh b_ih=None b_hh=None";

pub const ROWS: &[Row] = &[
    row("lstm.input", LAYERS, |s| layers(s, Cell::Lstm)),
    row("gru.input", LAYERS, |s| layers(s, Cell::Gru)),
    row("rnn_tanh.input", LAYERS, |s| layers(s, Cell::Tanh)),
    row("rnn_relu.input", LAYERS, |s| layers(s, Cell::Relu)),
    row("lstm_cell.default", CELL, |s| single(s, Cell::Lstm)),
    row("gru_cell.default", CELL, |s| single(s, Cell::Gru)),
    row("rnn_tanh_cell.default", CELL, |s| single(s, Cell::Tanh)),
    row("rnn_relu_cell.default", CELL, |s| single(s, Cell::Relu)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Lstm,
    Gru,
    Tanh,
    Relu,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Tanh | Cell::Relu => 1,
        }
    }

    /// The op, and which of PyTorch's gates stands at each of its places.
    fn op(self) -> Option<(RecurrentFn, &'static [usize])> {
        match self {
            // i, f, g, o there; i, o, f, c here.
            Cell::Lstm => Some((RecurrentFn::Lstm, &[0, 3, 1, 2])),
            // r, z, n there; z, r, h here.
            Cell::Gru => Some((RecurrentFn::Gru { linear_before_reset: true }, &[1, 0, 2])),
            Cell::Tanh => Some((RecurrentFn::Rnn, &[0])),
            Cell::Relu => None,
        }
    }
}

/// The parameters of one layer in one direction.
struct Params {
    w_ih: ValueId,
    w_hh: ValueId,
    bias: Option<(ValueId, ValueId)>,
    projection: Option<ValueId>,
}

impl Params {
    /// In the order in which a scan sees them.
    fn all(&self) -> Vec<ValueId> {
        let bias = self.bias.map_or(Vec::new(), |(b_ih, b_hh)| vec![b_ih, b_hh]);
        [vec![self.w_ih, self.w_hh], bias, self.projection.into_iter().collect()].concat()
    }

    fn from_all(values: &[ValueId], biased: bool, projected: bool) -> Result<Params, Stop> {
        let &[w_ih, w_hh, ref rest @ ..] = values else { return invalid("a layer without weights") };
        let (bias, rest) = match (biased, rest) {
            (false, rest) => (None, rest),
            (true, [b_ih, b_hh, rest @ ..]) => (Some((*b_ih, *b_hh)), rest),
            _ => return invalid("a layer with biases has two"),
        };
        let projection = if projected { rest.first().copied() } else { None };
        Ok(Params { w_ih, w_hh, bias, projection })
    }
}

/// One step: the next hidden state, and the next cell state of an LSTM.
fn step(
    s: &mut Site,
    cell: Cell,
    x: ValueId,
    h: ValueId,
    c: Option<ValueId>,
    params: &Params,
) -> Result<(ValueId, Option<ValueId>), Stop> {
    let linear = |s: &mut Site, x: ValueId, w: ValueId, bias: Option<ValueId>| {
        let operands: Vec<ValueId> = [x, w].into_iter().chain(bias).collect();
        s.one(Op::Linear {}, &operands)
    };
    let (b_ih, b_hh) = params.bias.unzip();
    let (of_x, of_h) = (linear(s, x, params.w_ih, b_ih)?, linear(s, h, params.w_hh, b_hh)?);
    let axis = s.rank(of_x) - 1;
    let hidden = s.shape(of_x)[axis] / cell.gates();
    let gate = |s: &mut Site, of: ValueId, n: usize| s.slice(of, axis, n * hidden, (n + 1) * hidden);
    match (cell, c) {
        (Cell::Lstm, Some(c)) => {
            let sum = s.add(of_x, of_h)?;
            let (i, f, g, o) = (gate(s, sum, 0)?, gate(s, sum, 1)?, gate(s, sum, 2)?, gate(s, sum, 3)?);
            let (i, f) = (s.unary(PointFn::Sigmoid, i)?, s.unary(PointFn::Sigmoid, f)?);
            let (g, o) = (s.unary(PointFn::Tanh, g)?, s.unary(PointFn::Sigmoid, o)?);
            let (kept, new) = (s.mul(f, c)?, s.mul(i, g)?);
            let c = s.add(kept, new)?;
            let shown = s.unary(PointFn::Tanh, c)?;
            let mut h = s.mul(o, shown)?;
            if let Some(projection) = params.projection {
                h = linear(s, h, projection, None)?;
            }
            Ok((h, Some(c)))
        }
        (Cell::Lstm, None) => invalid("an LSTM has two states"),
        (Cell::Gru, _) => {
            let mut open = Vec::with_capacity(2);
            for n in 0..2 {
                let (a, b) = (gate(s, of_x, n)?, gate(s, of_h, n)?);
                let sum = s.add(a, b)?;
                open.push(s.unary(PointFn::Sigmoid, sum)?);
            }
            let (a, b) = (gate(s, of_x, 2)?, gate(s, of_h, 2)?);
            let b = s.mul(open[0], b)?;
            let sum = s.add(a, b)?;
            let new = s.unary(PointFn::Tanh, sum)?;
            let distance = s.sub(h, new)?;
            let kept = s.mul(distance, open[1])?;
            Ok((s.add(kept, new)?, None))
        }
        (Cell::Tanh | Cell::Relu, _) => {
            let sum = s.add(of_x, of_h)?;
            let function = if cell == Cell::Tanh { PointFn::Tanh } else { PointFn::Relu };
            Ok((s.unary(function, sum)?, None))
        }
    }
}

fn single(s: &mut Site, cell: Cell) -> Outputs {
    let (x, w_ih, w_hh) = (s.tensor("input")?, s.tensor("w_ih")?, s.tensor("w_hh")?);
    let states = if cell == Cell::Lstm { s.tensors("hx")? } else { vec![s.tensor("hx")?] };
    let (b_ih, b_hh) = (s.tensor_opt("b_ih")?, s.tensor_opt("b_hh")?);
    let own = s.dtype(x);
    let wide = promote::computed(own);
    let [h, rest @ ..] = states.as_slice() else { return invalid("a cell has a state") };
    let rows = s.shape(w_ih).first().copied().unwrap_or(0);
    let (x, h) = (s.cast(x, wide)?, s.cast(*h, wide)?);
    let c = rest.first().map(|&c| s.cast(c, wide)).transpose()?;
    let (w_ih, w_hh) = (s.cast(w_ih, wide)?, s.cast(w_hh, wide)?);
    let bias = match (b_ih, b_hh) {
        (None, None) => None,
        (b_ih, b_hh) => Some((bias_or_zero(s, b_ih, rows, wide)?, bias_or_zero(s, b_hh, rows, wide)?)),
    };
    let (h, c) = step(s, cell, x, h, c, &Params { w_ih, w_hh, bias, projection: None })?;
    [h].into_iter().chain(c).map(|state| s.cast(state, own)).collect()
}

fn bias_or_zero(s: &mut Site, bias: Option<ValueId>, rows: usize, dtype: DType) -> Result<ValueId, Stop> {
    match bias {
        Some(bias) => s.cast(bias, dtype),
        None => s.filled(dtype, &[rows], 0.0),
    }
}

/// Layers one on the other; between them elements are dropped while training.
fn layers(s: &mut Site, cell: Cell) -> Outputs {
    let given = s.tensor("input")?;
    let own = s.dtype(given);
    let wide = promote::computed(own);
    let mut x = s.cast(given, wide)?;
    let batch_first = s.flag("batch_first")?;
    if s.rank(x) != 3 {
        return invalid(format!("expected a sequence [seq, batch, input], found {}", s.ty(x)));
    }
    if batch_first {
        x = s.permute(x, &[1, 0, 2])?;
    }
    let states = if cell == Cell::Lstm { s.tensors("hx")? } else { vec![s.tensor("hx")?] };
    let states = states.into_iter().map(|state| s.cast(state, wide)).collect::<Result<Vec<_>, _>>()?;
    if states.len() != if cell == Cell::Lstm { 2 } else { 1 } || states.iter().any(|&state| s.rank(state) != 3) {
        return invalid("an LSTM has two states [layers, batch, hidden], the others have one");
    }
    let (biased, dirs) = (s.flag("has_biases")?, if s.flag("bidirectional")? { 2 } else { 1 });
    let params = s.tensors("params")?;
    let count = usize::try_from(s.int("num_layers")?).ok().filter(|&count| (1..=1 << 12).contains(&count));
    let Some(count) = count else { return invalid("num_layers is at least 1") };
    let (each, least) = (params.len() / (count * dirs), if biased { 4 } else { 2 });
    if params.len() != each * count * dirs || (each != least && (each != least + 1 || cell != Cell::Lstm)) {
        return invalid(format!("{} parameters for {count} layers", params.len()));
    }
    let params = params.into_iter().map(|param| s.cast(param, wide)).collect::<Result<Vec<_>, _>>()?;
    let (p, train) = (s.float("dropout")?, s.flag("train")?);
    if !(0.0..=1.0).contains(&p) {
        return invalid(format!("a probability of {p}"));
    }
    let mut last = vec![Vec::new(); states.len()];
    for (layer, params) in params.chunks(each * dirs).enumerate() {
        let params: Vec<Params> = params
            .chunks(each)
            .map(|params| Params::from_all(params, biased, each > least))
            .collect::<Result<_, Stop>>()?;
        let mut first = Vec::with_capacity(states.len());
        for &state in &states {
            first.push(s.slice(state, 0, layer * dirs, (layer + 1) * dirs)?);
        }
        let mut results = match cell.op() {
            Some((function, order)) if each == least => whole_layer(s, function, order, x, &params, &first)?,
            _ => stepwise_layer(s, cell, x, &params, &first)?,
        };
        x = results.remove(0);
        results.into_iter().zip(&mut last).for_each(|(state, last)| last.push(state));
        if train && p > 0.0 && layer + 1 < count && !s.ty(x).is_empty() {
            let shape = s.shape(x);
            let kept = random::kept(s, &shape, p)?;
            x = random::scaled(s, x, kept, p)?;
        }
    }
    let x = s.cast(x, own)?;
    let mut results = vec![if batch_first { s.permute(x, &[1, 0, 2])? } else { x }];
    for states in last {
        let state = s.concat(&states, 0)?;
        results.push(s.cast(state, own)?);
    }
    Ok(results)
}

/// A layer as one op: the sequence `[seq, batch, dirs * hidden]`, then the last states.
fn whole_layer(
    s: &mut Site,
    function: RecurrentFn,
    order: &[usize],
    x: ValueId,
    params: &[Params],
    first: &[ValueId],
) -> Outputs {
    let dirs = params.len();
    let &[seq, batch, _] = s.shape(x).as_slice() else { return invalid("a sequence has three axes") };
    let hidden = s.shape(params[0].w_hh).get(1).copied().unwrap_or(0);
    let dtype = s.dtype(x);
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for layer in params {
        let zero = s.filled(dtype, &[order.len() * hidden], 0.0)?;
        let (b_ih, b_hh) = layer.bias.unwrap_or((zero, zero));
        let (b_ih, b_hh) = (ordered(s, b_ih, order, hidden)?, ordered(s, b_hh, order, hidden)?);
        let bias = s.concat(&[b_ih, b_hh], 0)?;
        let (w_ih, w_hh) = (ordered(s, layer.w_ih, order, hidden)?, ordered(s, layer.w_hh, order, hidden)?);
        for (column, value) in columns.iter_mut().zip([w_ih, w_hh, bias]) {
            column.push(s.unsqueeze(value, &[0])?);
        }
    }
    let mut operands = vec![x];
    for column in columns {
        operands.push(s.concat(&column, 0)?);
    }
    operands.extend(first);
    if function == RecurrentFn::Lstm {
        operands.push(s.filled(dtype, &[dirs, 3 * hidden], 0.0)?);
    }
    operands.push(s.filled(DType::I32, &[batch], seq as f64)?);
    let reverse = [false, true][..dirs].to_vec();
    let mut results =
        s.apply(Op::Recurrent { function, hidden, reverse, clip: None, input_forget: false }, &operands)?;
    let y = s.permute(results[0], &[0, 2, 1, 3])?;
    results[0] = s.reshape(y, &[seq, batch, dirs * hidden])?;
    Ok(results)
}

/// Blocks of rows in another order.
fn ordered(s: &mut Site, x: ValueId, order: &[usize], hidden: usize) -> Result<ValueId, Stop> {
    if order.len() == 1 {
        return Ok(x);
    }
    let mut parts = Vec::with_capacity(order.len());
    for &gate in order {
        parts.push(s.slice(x, 0, gate * hidden, (gate + 1) * hidden)?);
    }
    s.concat(&parts, 0)
}

/// The same as a scan for each direction.
fn stepwise_layer(s: &mut Site, cell: Cell, x: ValueId, params: &[Params], first: &[ValueId]) -> Outputs {
    let trips = s.shape(x)[0];
    let (mut sequences, mut last) = (Vec::new(), vec![Vec::new(); first.len()]);
    for (direction, layer) in params.iter().enumerate() {
        let mut initial = Vec::with_capacity(first.len());
        for &state in first {
            initial.push(s.one(Op::Select { axis: 0, index: direction }, &[state])?);
        }
        let ahead = if direction == 0 { x } else { turned(s, x)? };
        let (biased, projected) = (layer.bias.is_some(), layer.projection.is_some());
        let results = over_sequence(s, trips, &initial, ahead, &layer.all(), |s, carried, x, seen| {
            let layer = Params::from_all(seen, biased, projected)?;
            let (h, c) = step(s, cell, x, carried[0], carried.get(1).copied(), &layer)?;
            Ok([h].into_iter().chain(c).chain([h]).collect())
        })?;
        let Some((&y, states)) = results.split_last() else { return invalid("a scan without results") };
        sequences.push(if direction == 0 { y } else { turned(s, y)? });
        for (&state, last) in states.iter().zip(&mut last) {
            last.push(s.unsqueeze(state, &[0])?);
        }
    }
    let mut results = vec![s.concat(&sequences, 2)?];
    for states in last {
        results.push(s.concat(&states, 0)?);
    }
    Ok(results)
}

/// A sequence from its end to its beginning.
fn turned(s: &mut Site, x: ValueId) -> Result<ValueId, Stop> {
    let extent = s.shape(x)[0] as i64;
    s.one(Op::Slice { axis: 0, start: extent - 1, end: -1, step: -1 }, &[x])
}
