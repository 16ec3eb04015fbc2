//! Random numbers: drawn by a counter, so that runs can be repeated.
//!
//! PyTorch draws from a generator that remembers what it gave. Here what is remembered is state like any other: an input
//! `rng` of two integers, the seed and the number of runs, which a run increments. Element `i` of draw `d` in run `r` is a
//! function of these four alone. With `mix` the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), `G` its increment
//! and arithmetic modulo 2^64, the stream of a draw begins at `s = mix(mix(seed + G) + (2^32 r + d + 1) G)` and its word `i`
//! is `mix(s + (i + 1) G)`. The upper 24 bits of a word over 2^24 (53 over 2^53 for `f64`) are uniform in `[0, 1)`.
//! `docs/pytorch.md` says what is made of them. Bits differ from PyTorch's, distributions do not.

use super::super::import::Importer;
use super::super::site::{Number, Outputs, Site, Stop, Words, invalid, unsupported};
use super::{Row, row};
use crate::ir::{Constant, ConstantData, Location, ValueId};
use crate::ops::{Op, PointFn};
use crate::types::{DType, InputMode, TensorType};

pub const ROWS: &[Row] = &[
    row("dropout.default", "input|self p train", |s| dropout(s, 0)),
    row("native_dropout.default", "input p train=None", |s| {
        let x = s.tensor("input")?;
        if s.has("train") && !s.flag("train")? {
            let (y, shape) = (s.one(Op::Contiguous {}, &[x])?, s.shape(x));
            return Ok(vec![y, s.fresh(DType::Bool, &shape, Number::Bool(true))?]);
        }
        let shape = s.shape(x);
        let p = probability(s)?;
        let kept = kept(s, &shape, p)?;
        Ok(vec![scaled(s, x, kept, p)?, kept])
    }),
    // Whole channels are dropped.
    row("feature_dropout.default", "input|self p train", |s| dropout(s, 2)),
    row("alpha_dropout.default feature_alpha_dropout.default", "input|self p train", |s| {
        match s.flag("train")? && s.float("p")? != 0.0 {
            true => unsupported("alpha dropout while training"),
            false => Ok(vec![s.tensor("input")?]),
        }
    }),
    row("rand.default", "size dtype=None layout=None device=None pin_memory=None", |s| {
        let (shape, dtype) = sized(s)?;
        Ok(vec![uniform(s, &shape, dtype)?])
    }),
    row("rand_like.default", LIKE, |s| {
        let (shape, dtype) = as_operand(s)?;
        Ok(vec![uniform(s, &shape, dtype)?])
    }),
    row("randn.default", "size dtype=None layout=None device=None pin_memory=None", |s| {
        let (shape, dtype) = sized(s)?;
        Ok(vec![normal(s, &shape, dtype)?])
    }),
    row("randn_like.default", LIKE, |s| {
        let (shape, dtype) = as_operand(s)?;
        Ok(vec![normal(s, &shape, dtype)?])
    }),
    row("randint.default", "high size dtype=None layout=None device=None pin_memory=None", |s| integers(s, false)),
    row("randint.low", "low high size dtype=None layout=None device=None pin_memory=None", |s| integers(s, true)),
    row("uniform.default", "self from=0.0 to=1.0 generator=None", |s| {
        let (shape, dtype) = as_operand(s)?;
        let (low, high) = (s.float("from")?, s.float("to")?);
        let u = uniform(s, &shape, dtype)?;
        let wide = s.with_number(PointFn::Mul, u, high - low)?;
        Ok(vec![s.with_number(PointFn::Add, wide, low)?])
    }),
    row("normal.default normal_functional.default", "self mean=0.0 std=1.0 generator=None", |s| {
        let (shape, dtype) = as_operand(s)?;
        let (mean, std) = (s.float("mean")?, s.float("std")?);
        let x = normal(s, &shape, dtype)?;
        let wide = s.with_number(PointFn::Mul, x, std)?;
        Ok(vec![s.with_number(PointFn::Add, wide, mean)?])
    }),
    row("bernoulli.default", "self generator=None", |s| {
        let p = s.tensor("self")?;
        let (shape, dtype) = (s.shape(p), s.dtype(p));
        if !dtype.is_float() {
            return invalid(format!("probabilities of {dtype}"));
        }
        let u = uniform(s, &shape, DType::F32)?;
        let p = s.cast(p, DType::F32)?;
        let hit = s.binary(PointFn::Lt, u, p)?;
        Ok(vec![s.cast(hit, dtype)?])
    }),
    row("bernoulli.p bernoulli.float", "self p=0.5 generator=None", |s| {
        let (shape, dtype) = as_operand(s)?;
        let p = s.float("p")?;
        let u = uniform(s, &shape, DType::F32)?;
        let hit = s.with_number(PointFn::Lt, u, p)?;
        Ok(vec![s.cast(hit, dtype)?])
    }),
];

const LIKE: &str = "self dtype=None layout=None device=None pin_memory=None memory_format=None";

fn sized(s: &Site) -> Result<(Vec<usize>, DType), Stop> {
    Ok((s.sizes("size")?, s.dtype_opt("dtype")?.unwrap_or(DType::F32)))
}

fn as_operand(s: &Site) -> Result<(Vec<usize>, DType), Stop> {
    let x = s.tensor("self")?;
    let dtype = if s.has("dtype") { s.dtype_opt("dtype")? } else { None };
    Ok((s.shape(x), dtype.unwrap_or(s.dtype(x))))
}

fn probability(s: &Site) -> Result<f64, Stop> {
    match s.float("p")? {
        p if (0.0..=1.0).contains(&p) => Ok(p),
        p => invalid(format!("a probability of {p}")),
    }
}

/// Elements kept with probability `1 - p` and scaled by its reciprocal; from axis `whole` on they share one draw, all have
/// their own where it is 0. Where nothing is dropped the result is the operand.
fn dropout(s: &mut Site, whole: usize) -> Outputs {
    let (x, p) = (s.tensor("input")?, probability(s)?);
    if !s.flag("train")? || p == 0.0 || s.ty(x).is_empty() {
        return Ok(vec![x]);
    }
    let mut shape = s.shape(x);
    if whole > 0 {
        shape.iter_mut().skip(whole).for_each(|extent| *extent = 1);
    }
    let kept = kept(s, &shape, p)?;
    Ok(vec![scaled(s, x, kept, p)?])
}

pub fn kept(s: &mut Site, shape: &[usize], p: f64) -> Result<ValueId, Stop> {
    let u = uniform(s, shape, DType::F32)?;
    s.with_number(PointFn::Ge, u, p)
}

pub fn scaled(s: &mut Site, x: ValueId, kept: ValueId, p: f64) -> Result<ValueId, Stop> {
    let zero = s.scalar(Number::Int(0), s.dtype(x));
    if p == 1.0 {
        return s.with_number(PointFn::Mul, x, 0.0);
    }
    let up = s.with_number(PointFn::Mul, x, 1.0 / (1.0 - p))?;
    s.select(kept, up, zero)
}

/// `G` of SplitMix64.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn word(s: &mut Site, value: u64) -> ValueId {
    s.literal(Constant::scalar(DType::I64, value))
}

fn shifted_right(s: &mut Site, x: ValueId, by: u32) -> Result<ValueId, Stop> {
    // Signed shifts copy the sign; the mask takes it away.
    let (by_value, mask) = (word(s, u64::from(by)), word(s, u64::MAX >> by));
    let shifted = s.binary(PointFn::Shr, x, by_value)?;
    s.binary(PointFn::And, shifted, mask)
}

fn mix(s: &mut Site, mut x: ValueId) -> Result<ValueId, Stop> {
    for (by, factor) in [(30, 0xBF58_476D_1CE4_E5B9), (27, 0x94D0_49BB_1331_11EB)] {
        let high = shifted_right(s, x, by)?;
        let folded = s.binary(PointFn::Xor, x, high)?;
        let factor = word(s, factor);
        x = s.mul(folded, factor)?;
    }
    let high = shifted_right(s, x, 31)?;
    s.binary(PointFn::Xor, x, high)
}

/// The state of the generator, made when it is first asked for.
fn generator(s: &mut Site) -> Result<(ValueId, u64), Stop> {
    let importer = &mut s.importer;
    let (state, draws) = match importer.randomness {
        Some(known) => known,
        None => {
            let name = importer.unique("rng");
            let ty = TensorType::new(DType::I64, [2]);
            let value = importer.graph.add_input(name, InputMode::InOut, ty.clone());
            let input = importer.graph.inputs.last_mut().expect("an input was just added");
            input.initial = Some(Constant { name: String::new(), ty, data: ConstantData::Bytes(vec![0; 16].into()) });
            importer.placements.grow(&importer.graph);
            (value, 0)
        }
    };
    if importer.block != crate::ir::Graph::BODY {
        return unsupported("random numbers in a branch or a loop");
    }
    importer.randomness = Some((state, draws + 1));
    Ok((state, draws))
}

/// Run numbers count up at the end of a program that draws.
pub fn count_draws(importer: &mut Importer) -> Result<(), Stop> {
    let Some((state, _)) = importer.randomness else { return Ok(()) };
    let at = Location { text: "the generator of random numbers".into(), ..Location::default() };
    let runs = importer.append_one(Op::Select { axis: 0, index: 1 }, &[state], &at)?;
    let one = importer.constant(Constant::scalar(DType::I64, 1));
    let ty = TensorType::scalar(DType::I64);
    importer.append(Op::Point(PointFn::Add), &[runs, one], vec![ty], true, &at)?;
    Ok(())
}

/// The words of a draw, one for each element of `shape`; `lanes` words apart, beginning with word `lane`.
fn words(s: &mut Site, stream: ValueId, shape: &[usize], lane: u64, lanes: u64) -> Result<ValueId, Stop> {
    // The number of an element is a sum over axes, so that no tensor of numbers is stored.
    let mut number = word(s, (lane + 1).wrapping_mul(GAMMA));
    number = s.add(stream, number)?;
    let mut stride = lanes;
    for (axis, &extent) in shape.iter().enumerate().rev() {
        if extent > 1 {
            let along = s.iota(DType::I64, extent, axis, shape.len())?;
            let step = word(s, stride.wrapping_mul(GAMMA));
            let part = s.mul(along, step)?;
            number = s.add(number, part)?;
        }
        stride = stride.wrapping_mul(extent as u64);
    }
    let mixed = mix(s, number)?;
    s.expand(mixed, shape)
}

/// Where the stream of the next draw begins.
fn stream(s: &mut Site) -> Result<ValueId, Stop> {
    let (state, draw) = generator(s)?;
    let seed = s.one(Op::Select { axis: 0, index: 0 }, &[state])?;
    let run = s.one(Op::Select { axis: 0, index: 1 }, &[state])?;
    let gamma = word(s, GAMMA);
    let seed = s.add(seed, gamma)?;
    let seed = mix(s, seed)?;
    let step = word(s, GAMMA.wrapping_mul(1 << 32));
    let by_run = s.mul(run, step)?;
    let by_draw = word(s, GAMMA.wrapping_mul(draw + 1));
    let start = s.add(seed, by_run)?;
    let start = s.add(start, by_draw)?;
    mix(s, start)
}

/// The upper bits of words over their range.
fn fraction(s: &mut Site, words: ValueId, dtype: DType) -> Result<ValueId, Stop> {
    let bits = if dtype == DType::F64 { 53 } else { 24 };
    let high = shifted_right(s, words, 64 - bits)?;
    let computed = super::super::promote::computed(dtype);
    let number = s.cast(high, computed)?;
    let u = s.with_number(PointFn::Mul, number, 1.0 / (1u64 << bits) as f64)?;
    s.cast(u, dtype)
}

fn uniform(s: &mut Site, shape: &[usize], dtype: DType) -> Result<ValueId, Stop> {
    if !dtype.is_float() {
        return invalid(format!("uniform numbers of {dtype}"));
    }
    TensorType::new(dtype, shape).check()?;
    let stream = stream(s)?;
    let words = words(s, stream, shape, 0, 1)?;
    fraction(s, words, dtype)
}

/// Two uniform numbers make a normal one (Box and Muller, 1958).
fn normal(s: &mut Site, shape: &[usize], dtype: DType) -> Result<ValueId, Stop> {
    if !dtype.is_float() {
        return invalid(format!("normal numbers of {dtype}"));
    }
    TensorType::new(dtype, shape).check()?;
    let computed = super::super::promote::computed(dtype);
    let stream = stream(s)?;
    let (first, second) = (words(s, stream, shape, 0, 2)?, words(s, stream, shape, 1, 2)?);
    let (u, v) = (fraction(s, first, computed)?, fraction(s, second, computed)?);
    // 1 - u is above zero.
    let one = s.scalar(Number::Int(1), computed);
    let u = s.sub(one, u)?;
    let log = s.unary(PointFn::Log, u)?;
    let square = s.with_number(PointFn::Mul, log, -2.0)?;
    let radius = s.unary(PointFn::Sqrt, square)?;
    let angle = s.with_number(PointFn::Mul, v, 2.0 * std::f64::consts::PI)?;
    let cosine = s.unary(PointFn::Cos, angle)?;
    let x = s.mul(radius, cosine)?;
    s.cast(x, dtype)
}

fn integers(s: &mut Site, with_low: bool) -> Outputs {
    let low = if with_low { s.int("low")? } else { 0 };
    let (high, shape) = (s.int("high")?, s.sizes("size")?);
    let dtype = s.dtype_opt("dtype")?.unwrap_or(DType::I64);
    TensorType::new(dtype, shape.as_slice()).check()?;
    let Some(span) = high.checked_sub(low).filter(|&span| span > 0) else {
        return invalid(format!("integers from {low} to {high}"));
    };
    let stream = stream(s)?;
    let words = words(s, stream, &shape, 0, 1)?;
    let positive = shifted_right(s, words, 1)?;
    let span = word(s, span as u64);
    let rest = s.binary(PointFn::Rem, positive, span)?;
    let low = word(s, low as u64);
    let x = s.add(rest, low)?;
    Ok(vec![s.cast(x, dtype)?])
}
