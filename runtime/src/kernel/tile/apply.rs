//! One instruction on one tile: finds its arguments, and picks the loop by class.

use super::exact::{self, map1, map2};
use super::{Bound, Class, Input, Instr, Narrow, Place, Split, Typing, Values, Wide, float};
use crate::point::PointFn;
use crate::scalar;
use crate::simd::Isa;
use crate::types::DType;

/// An argument: the elements of a tile, or one value for all of them.
#[derive(Clone, Copy)]
pub(super) enum Arg<'a, T> {
    Slice(&'a [T]),
    Splat(T),
}

/// An argument of any class.
#[derive(Clone, Copy)]
pub(super) enum AnyArg<'a> {
    F32(Arg<'a, f32>),
    I32(Arg<'a, i32>),
    F64(Arg<'a, f64>),
    I64(Arg<'a, i64>),
}

/// The tile an instruction writes.
pub(super) enum Target<'a> {
    F32(&'a mut [f32]),
    I32(&'a mut [i32]),
    F64(&'a mut [f64]),
    I64(&'a mut [i64]),
}

impl<'a> Target<'a> {
    pub(super) fn of_narrow(class: Class, tile: &'a mut [u32]) -> Target<'a> {
        match class {
            Class::I32 => Target::I32(bytemuck::cast_slice_mut(tile)),
            _ => Target::F32(bytemuck::cast_slice_mut(tile)),
        }
    }

    pub(super) fn of_wide(class: Class, tile: &'a mut [u64]) -> Target<'a> {
        match class {
            Class::I64 => Target::I64(bytemuck::cast_slice_mut(tile)),
            _ => Target::F64(bytemuck::cast_slice_mut(tile)),
        }
    }

    pub(super) fn of_bytes(class: Class, bytes: &'a mut [u8]) -> Target<'a> {
        match class {
            Class::F32 => Target::F32(bytemuck::cast_slice_mut(bytes)),
            Class::I32 => Target::I32(bytemuck::cast_slice_mut(bytes)),
            Class::F64 => Target::F64(bytemuck::cast_slice_mut(bytes)),
            Class::I64 => Target::I64(bytemuck::cast_slice_mut(bytes)),
        }
    }
}

/// The registers that an instruction can read.
pub(super) struct View<'a> {
    pub(super) bound: &'a [Bound<'a>],
    pub(super) inputs: &'a [Input],
    pub(super) narrow: Split<'a, Narrow>,
    pub(super) wide: Split<'a, Wide>,
    pub(super) n: usize,
}

impl<'a> View<'a> {
    pub(super) fn operand(&self, place: Place, class: Class) -> AnyArg<'a> {
        match place {
            Place::Input(input) => match self.bound[input] {
                Bound::Slice(Values::F32(values)) => AnyArg::F32(Arg::Slice(values)),
                Bound::Slice(Values::I32(values)) => AnyArg::I32(Arg::Slice(values)),
                Bound::Slice(Values::F64(values)) => AnyArg::F64(Arg::Slice(values)),
                Bound::Slice(Values::I64(values)) => AnyArg::I64(Arg::Slice(values)),
                Bound::Splat(bits) => splat(class, bits),
                Bound::Register => self.operand(self.inputs[input].register, class),
            },
            Place::Narrow(at) => {
                let tile = &self.narrow.get(at)[..self.n];
                match class {
                    Class::I32 => AnyArg::I32(Arg::Slice(bytemuck::cast_slice(tile))),
                    _ => AnyArg::F32(Arg::Slice(bytemuck::cast_slice(tile))),
                }
            }
            Place::Wide(at) => {
                let tile = &self.wide.get(at)[..self.n];
                match class {
                    Class::I64 => AnyArg::I64(Arg::Slice(bytemuck::cast_slice(tile))),
                    _ => AnyArg::F64(Arg::Slice(bytemuck::cast_slice(tile))),
                }
            }
            Place::Constant(bits) => splat(class, bits),
            Place::Output(_) => splat(class, 0),
        }
    }
}

fn splat<'a>(class: Class, bits: u64) -> AnyArg<'a> {
    match class {
        Class::F32 => AnyArg::F32(Arg::Splat(f32::from_bits(bits as u32))),
        Class::I32 => AnyArg::I32(Arg::Splat(bits as i32)),
        Class::F64 => AnyArg::F64(Arg::Splat(f64::from_bits(bits))),
        Class::I64 => AnyArg::I64(Arg::Splat(bits as i64)),
    }
}

/// Computes one instruction. Combinations of classes that no typed program has leave the target as it is.
pub(super) fn apply(isa: Isa, instr: &Instr, view: &View, target: Target) {
    let function = instr.function;
    let row = function.row();
    let class = Class::of(instr.dtype);
    let arg = |nth: usize| view.operand(instr.args[nth], class);
    match (row.typing, row.arity) {
        (Typing::Cast, 1) => cast(arg(0), instr.result, target),
        (Typing::Select, _) => {
            let AnyArg::I32(condition) = view.operand(instr.args[0], Class::I32) else { return };
            match (arg(1), arg(2), target) {
                (AnyArg::F32(a), AnyArg::F32(b), Target::F32(out)) => float::select(isa, condition, a, b, out),
                (AnyArg::I32(a), AnyArg::I32(b), Target::I32(out)) => exact::select(condition, a, b, out),
                (AnyArg::F64(a), AnyArg::F64(b), Target::F64(out)) => exact::select(condition, a, b, out),
                (AnyArg::I64(a), AnyArg::I64(b), Target::I64(out)) => exact::select(condition, a, b, out),
                _ => {}
            }
        }
        (Typing::Compare, arity) => {
            let (a, Target::I32(out)) = (arg(0), target) else { return };
            match (a, if arity == 1 { a } else { arg(1) }) {
                (AnyArg::F32(a), AnyArg::F32(b)) => float::compare(isa, function, a, b, out),
                (AnyArg::I32(a), AnyArg::I32(b)) => exact::compare(function, a, b, out),
                (AnyArg::F64(a), AnyArg::F64(b)) => {
                    map2(a, b, out, |a, b| i32::from(scalar::float_compare(function, a, b)));
                }
                (AnyArg::I64(a), AnyArg::I64(b)) => exact::compare(function, a, b, out),
                _ => {}
            }
        }
        (_, 1) => match (arg(0), target) {
            (AnyArg::F32(a), Target::F32(out)) => {
                float::unary(isa, function, a, out);
                if !is_exact(function) {
                    round(instr.result, out);
                }
            }
            (AnyArg::I32(a), Target::I32(out)) => exact::int_unary(function, instr.dtype, a, out),
            (AnyArg::F64(a), Target::F64(out)) => map1(a, out, |x| scalar::float_unary(function, x)),
            (AnyArg::I64(a), Target::I64(out)) => exact::int_unary(function, instr.dtype, a, out),
            _ => {}
        },
        _ => match (arg(0), arg(1), target) {
            (AnyArg::F32(a), AnyArg::F32(b), Target::F32(out)) => {
                float::binary(isa, function, a, b, out);
                if !is_exact(function) {
                    round(instr.result, out);
                }
            }
            (AnyArg::I32(a), AnyArg::I32(b), Target::I32(out)) => {
                exact::narrow_binary(function, instr.dtype, a, b, out);
            }
            (AnyArg::F64(a), AnyArg::F64(b), Target::F64(out)) => exact::double_binary(function, a, b, out),
            (AnyArg::I64(a), AnyArg::I64(b), Target::I64(out)) => exact::long_binary(function, a, b, out),
            _ => {}
        },
    }
}

/// Whether a function of floats of fewer digits has a result of as few.
fn is_exact(function: PointFn) -> bool {
    use PointFn::*;
    matches!(function, Neg | Abs | Sign | Relu | Floor | Ceil | Round | Trunc | Max | Min | Where)
}

/// Rounds values to those of a dtype of the `f32` class.
pub fn round(dtype: DType, values: &mut [f32]) {
    use half::slice::HalfFloatSliceExt;
    match dtype {
        DType::F16 => {
            let mut halves = [half::f16::ZERO; 64];
            for values in values.chunks_mut(64) {
                let halves = &mut halves[..values.len()];
                halves.convert_from_f32_slice(values);
                halves.convert_to_f32_slice(values);
            }
        }
        DType::BF16 => {
            for value in values {
                *value = half::bf16::from_f32(*value).to_f32();
            }
        }
        _ => {}
    }
}

fn cast(from: AnyArg, to: DType, target: Target) {
    macro_rules! from {
        ($a:ident, $zero:literal) => {
            match (to, target) {
                (DType::F32, Target::F32(out)) => map1($a, out, |x| x as f32),
                (DType::F16 | DType::BF16, Target::F32(out)) => {
                    map1($a, out, |x| x as f32);
                    round(to, out);
                }
                (DType::F64, Target::F64(out)) => map1($a, out, |x| x as f64),
                (DType::I8, Target::I32(out)) => map1($a, out, |x| i32::from(x as i8)),
                (DType::U8, Target::I32(out)) => map1($a, out, |x| i32::from(x as u8)),
                (DType::I16, Target::I32(out)) => map1($a, out, |x| i32::from(x as i16)),
                (DType::I32, Target::I32(out)) => map1($a, out, |x| x as i32),
                (DType::I64, Target::I64(out)) => map1($a, out, |x| x as i64),
                (DType::Bool, Target::I32(out)) => map1($a, out, |x| i32::from(x != $zero)),
                _ => {}
            }
        };
    }
    match from {
        AnyArg::F32(a) => from!(a, 0.0),
        AnyArg::I32(a) => from!(a, 0),
        AnyArg::F64(a) => from!(a, 0.0),
        AnyArg::I64(a) => from!(a, 0),
    }
}
