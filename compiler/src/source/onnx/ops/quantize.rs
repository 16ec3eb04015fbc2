//! Quantisation: numbers as small integers with a scale and a zero point.
//!
//! Products of quantised tensors are computed in `i32` on the integers less their zero points, which is exact; scales are
//! applied afterwards.

use super::super::site::{Outputs, Site, Stop, Words, axis_of, invalid, unsupported};
use super::convolution::window;
use super::{Row, row_of};
use crate::ir::ValueId;
use crate::ops::{Op, PointFn, ReduceFn, Window};
use crate::source::windows::spatial;
use crate::types::DType;

pub const ROWS: &[Row] = &[
    row_of("QuantizeLinear", 10, quantize),
    row_of("DequantizeLinear", 10, dequantize),
    row_of("DynamicQuantizeLinear", 11, dynamic_quantize),
    row_of("MatMulInteger", 10, matmul_integer),
    row_of("ConvInteger", 10, conv_integer),
    row_of("QLinearMatMul", 10, linear_matmul),
    row_of("QLinearConv", 10, linear_conv),
];

/// A scale or zero point in a shape that broadcasts over `x`: one for all, one for each index of an axis, or one for each
/// block of an axis.
fn spread(s: &mut Site, parameter: ValueId, x: ValueId) -> Result<ValueId, Stop> {
    let (shape, rank) = (s.shape(x), s.rank(x));
    let own = s.shape(parameter);
    if s.ty(parameter).len() == 1 && own.len() <= 1 {
        return s.reshape(parameter, &[]);
    }
    let axis = axis_of(s.int("axis", 1)?, rank)?;
    let block = s.int("block_size", 0)?;
    if own.len() == 1 {
        return s.along_axis(parameter, axis, rank);
    }
    let block = match usize::try_from(block) {
        Ok(block) if block > 0 && own.len() == rank && own[axis].checked_mul(block) >= Some(shape[axis]) => block,
        _ => return invalid(format!("a parameter {} does not fit {}", s.ty(parameter), s.ty(x))),
    };
    let repeated = s.unsqueeze(parameter, &[axis + 1])?;
    let mut wide = own.clone();
    wide.insert(axis + 1, block);
    let repeated = s.expand(repeated, &wide)?;
    wide.remove(axis + 1);
    wide[axis] = own[axis] * block;
    let flat = s.reshape(repeated, &wide)?;
    s.slice(flat, axis, 0, shape[axis])
}

/// `round(x) + zero_point`, saturated to the zero point's dtype.
fn rounded(s: &mut Site, x: ValueId, zero_point: Option<ValueId>, dtype: DType) -> Result<ValueId, Stop> {
    if !matches!(dtype, DType::I8 | DType::U8 | DType::I16) {
        return unsupported(format!("quantisation to {dtype}"));
    }
    let mut y = s.unary(PointFn::Round, x)?;
    if let Some(zero_point) = zero_point {
        let wide = s.dtype(y);
        let zero_point = s.cast(zero_point, wide)?;
        y = s.add(y, zero_point)?;
    }
    // A cast to a small integer saturates; before it, so that 16 bits do, too.
    if dtype == DType::I16 {
        y = s.with_number(PointFn::Max, y, f64::from(i16::MIN))?;
        y = s.with_number(PointFn::Min, y, f64::from(i16::MAX))?;
    }
    s.cast(y, dtype)
}

fn quantize(s: &mut Site) -> Outputs {
    let (x, scale) = (s.input(0)?, s.input(1)?);
    let dtype = match (s.optional(2), s.dtype_attribute("output_dtype")?) {
        (Some(zero_point), _) => s.dtype(zero_point),
        (None, Some(dtype)) => dtype,
        (None, None) => DType::U8,
    };
    let wide = match s.dtype_attribute("precision")? {
        Some(precision) => precision,
        None => DType::F32,
    };
    let scale = spread(s, scale, x)?;
    let zero_point = match s.optional(2) {
        Some(zero_point) => Some(spread(s, zero_point, x)?),
        None => None,
    };
    let (x, scale) = (s.cast(x, wide)?, s.cast(scale, wide)?);
    let scaled = s.div(x, scale)?;
    Ok(vec![rounded(s, scaled, zero_point, dtype)?])
}

fn dequantize(s: &mut Site) -> Outputs {
    let (x, scale) = (s.input(0)?, s.input(1)?);
    let dtype = match s.dtype_attribute("output_dtype")? {
        Some(dtype) => dtype,
        None => s.dtype(scale),
    };
    let zero_point = match s.optional(2) {
        Some(zero_point) => Some(spread(s, zero_point, x)?),
        None => None,
    };
    let scale = spread(s, scale, x)?;
    let scale = s.cast(scale, DType::F32)?;
    // Integers of 32 bits have no exact f32, so they are centred first.
    let centred = if s.dtype(x) == DType::I32 { centred(s, x, zero_point)? } else { x };
    let mut y = s.cast(centred, DType::F32)?;
    if let Some(zero_point) = zero_point.filter(|_| s.dtype(x) != DType::I32) {
        let zero_point = s.cast(zero_point, DType::F32)?;
        y = s.sub(y, zero_point)?;
    }
    let y = s.mul(y, scale)?;
    Ok(vec![s.cast(y, dtype)?])
}

/// `x - zero_point` in `i32`.
fn centred(s: &mut Site, x: ValueId, zero_point: Option<ValueId>) -> Result<ValueId, Stop> {
    let wide = s.cast(x, DType::I32)?;
    match zero_point {
        Some(zero_point) => {
            let zero_point = s.cast(zero_point, DType::I32)?;
            s.sub(wide, zero_point)
        }
        None => Ok(wide),
    }
}

/// Scale and zero point from the range of the operand, which always includes zero; the result is `u8`.
fn dynamic_quantize(s: &mut Site) -> Outputs {
    let x = s.input(0)?;
    let axes: Vec<usize> = (0..s.rank(x)).collect();
    let most = s.reduce(ReduceFn::Max, x, &axes, false)?;
    let least = s.reduce(ReduceFn::Min, x, &axes, false)?;
    let (most, least) = (s.with_number(PointFn::Max, most, 0.0)?, s.with_number(PointFn::Min, least, 0.0)?);
    let range = s.sub(most, least)?;
    let scale = s.with_number(PointFn::Div, range, 255.0)?;
    let negative = s.unary(PointFn::Neg, least)?;
    let start = s.div(negative, scale)?;
    let start = s.unary(PointFn::Round, start)?;
    let zero_point = s.cast(start, DType::U8)?;
    let scaled = s.div(x, scale)?;
    let y = rounded(s, scaled, Some(zero_point), DType::U8)?;
    Ok(vec![y, scale, zero_point])
}

/// A parameter of a matrix with one number for each row (`axis` -2) or column (`axis` -1).
fn of_matrix(s: &mut Site, parameter: ValueId, rows: bool) -> Result<ValueId, Stop> {
    let own = s.shape(parameter);
    match own.as_slice() {
        [] | [1] => s.reshape(parameter, &[]),
        [m] if rows => s.reshape(parameter, &[*m, 1]),
        _ => Ok(parameter),
    }
}

fn matrix_zero_point(s: &mut Site, position: usize, rows: bool) -> Result<Option<ValueId>, Stop> {
    match s.optional(position) {
        Some(zero_point) => of_matrix(s, zero_point, rows).map(Some),
        None => Ok(None),
    }
}

fn matmul_integer(s: &mut Site) -> Outputs {
    let (a, b) = (s.input(0)?, s.input(1)?);
    let (a_zero, b_zero) = (matrix_zero_point(s, 2, true)?, matrix_zero_point(s, 3, false)?);
    let (a, b) = (centred(s, a, a_zero)?, centred(s, b, b_zero)?);
    Ok(vec![s.matmul(a, b)?])
}

fn linear_matmul(s: &mut Site) -> Outputs {
    let (a, b) = (s.input(0)?, s.input(3)?);
    let (a_zero, b_zero) = (matrix_zero_point(s, 2, true)?, matrix_zero_point(s, 5, false)?);
    let (a, b) = (centred(s, a, a_zero)?, centred(s, b, b_zero)?);
    let product = s.matmul(a, b)?;
    let (a_scale, b_scale, y_scale) = (s.input(1)?, s.input(4)?, s.input(6)?);
    let (a_scale, b_scale) = (of_matrix(s, a_scale, true)?, of_matrix(s, b_scale, false)?);
    let y_scale = of_matrix(s, y_scale, true)?;
    let zero_point = s.input(7)?;
    let dtype = s.dtype(zero_point);
    let zero_point = of_matrix(s, zero_point, true)?;
    requantized(s, product, [a_scale, b_scale, y_scale], zero_point, dtype).map(|y| vec![y])
}

/// `i32` products in the scale and zero point of the result.
fn requantized(
    s: &mut Site,
    product: ValueId,
    scales: [ValueId; 3],
    zero_point: ValueId,
    dtype: DType,
) -> Result<ValueId, Stop> {
    let mut wide = [scales[0]; 3];
    for (wide, scale) in wide.iter_mut().zip(scales) {
        *wide = s.cast(scale, DType::F32)?;
    }
    let [a, b, y] = wide;
    let together = s.mul(a, b)?;
    let factor = s.div(together, y)?;
    let product = s.cast(product, DType::F32)?;
    let scaled = s.mul(product, factor)?;
    rounded(s, scaled, Some(zero_point), dtype)
}

/// A number for each output channel over `[oc, c, ..]` or `[n, oc, ..]`.
fn of_channels(s: &mut Site, parameter: ValueId, axis: usize, rank: usize) -> Result<ValueId, Stop> {
    if s.ty(parameter).len() == 1 { s.reshape(parameter, &[]) } else { s.along_axis(parameter, axis, rank) }
}

/// The convolution of integers less their zero points; padding is zero, which is the zero point of `x`.
fn integer_conv(s: &mut Site, operands: [usize; 4], bias: Option<ValueId>) -> Result<ValueId, Stop> {
    let [x, weight, x_zero, w_zero] = operands;
    let (x, weight) = (s.input(x)?, s.input(weight)?);
    let rank = s.rank(weight);
    let kernel = spatial(s, weight)?;
    let Window { strides, pads_begin, pads_end, dilations, .. } = window(s, &spatial(s, x)?, kernel)?;
    let groups = match usize::try_from(s.int("group", 1)?) {
        Ok(groups) if groups > 0 => groups,
        _ => return invalid("there is at least one group"),
    };
    let x_zero = match s.optional(x_zero) {
        Some(zero) => Some(s.reshape(zero, &[])?),
        None => None,
    };
    let w_zero = match s.optional(w_zero) {
        Some(zero) => Some(of_channels(s, zero, 0, rank)?),
        None => None,
    };
    let (x, weight) = (centred(s, x, x_zero)?, centred(s, weight, w_zero)?);
    let operands: Vec<ValueId> = [Some(x), Some(weight), bias].into_iter().flatten().collect();
    s.one(Op::Conv { strides, pads_begin, pads_end, dilations, groups }, &operands)
}

fn conv_integer(s: &mut Site) -> Outputs {
    Ok(vec![integer_conv(s, [0, 1, 2, 3], None)?])
}

fn linear_conv(s: &mut Site) -> Outputs {
    let bias = s.optional(8);
    let product = integer_conv(s, [0, 3, 2, 5], bias)?;
    let rank = s.rank(product);
    let (x_scale, w_scale, y_scale) = (s.input(1)?, s.input(4)?, s.input(6)?);
    let x_scale = s.reshape(x_scale, &[])?;
    let w_scale = of_channels(s, w_scale, 1, rank)?;
    let y_scale = s.reshape(y_scale, &[])?;
    let zero_point = s.input(7)?;
    let dtype = s.dtype(zero_point);
    let zero_point = s.reshape(zero_point, &[])?;
    requantized(s, product, [x_scale, w_scale, y_scale], zero_point, dtype).map(|y| vec![y])
}
