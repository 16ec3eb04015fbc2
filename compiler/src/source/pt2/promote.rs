//! The dtype in which an operation on operands of several dtypes is done.
//!
//! PyTorch's rules (docs.pytorch.org, "Type promotion"; c10/core/ScalarType.cpp and ATen/native/TypeProperties.cpp): operands
//! fall into three groups, tensors with axes, tensors without, and Python numbers. A later group counts only where its
//! category (`bool`, integers, floats) is above that of the groups before it.

use crate::types::DType;

/// How an operand takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Tensor(DType),
    Scalar(DType),
    /// A Python number, by the dtype it would have as a tensor.
    Number(DType),
}

/// `bool`, integers, floats.
fn category(dtype: DType) -> u8 {
    match dtype {
        DType::Bool => 0,
        dtype if dtype.is_float() => 2,
        _ => 1,
    }
}

/// The dtype of an operation on these operands.
pub fn result(parts: &[Part]) -> DType {
    let group = |wanted: fn(Part) -> Option<DType>| parts.iter().copied().filter_map(wanted).reduce(common);
    let tensors = group(|part| if let Part::Tensor(dtype) = part { Some(dtype) } else { None });
    let scalars = group(|part| if let Part::Scalar(dtype) = part { Some(dtype) } else { None });
    let numbers = group(|part| if let Part::Number(dtype) = part { Some(dtype) } else { None });
    let above = |higher: Option<DType>, lower: Option<DType>| match (higher, lower) {
        (Some(a), Some(b)) if category(b) > category(a) => Some(common(a, b)),
        (Some(a), _) => Some(a),
        (None, b) => b,
    };
    above(tensors, above(scalars, numbers)).unwrap_or(DType::F32)
}

/// The least dtype that holds both.
pub fn common(a: DType, b: DType) -> DType {
    use DType::{BF16, Bool, F16, F32, I8, I16, U8};
    if a == b {
        return a;
    }
    match (category(a), category(b)) {
        (2, 2) => match (a, b) {
            (F16, BF16) | (BF16, F16) => F32,
            _ => {
                if a.size() > b.size() {
                    a
                } else {
                    b
                }
            }
        },
        (x, y) if x != y => {
            if x > y {
                a
            } else {
                b
            }
        }
        _ => match (a, b) {
            (U8, I8) | (I8, U8) => I16,
            (Bool, other) | (other, Bool) => other,
            _ => {
                if a.size() > b.size() {
                    a
                } else {
                    b
                }
            }
        },
    }
}

/// The dtype in which floats of a dtype are computed: halves in `f32`.
pub fn computed(dtype: DType) -> DType {
    if matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DType::{BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};

    #[test]
    fn as_in_pytorch() {
        use Part::{Number, Scalar, Tensor};
        for (parts, expected) in [
            (vec![Tensor(F32), Number(F64)], F32),
            (vec![Tensor(I32), Number(F32)], F32),
            (vec![Tensor(I32), Number(I64)], I32),
            (vec![Tensor(Bool), Number(I64)], I64),
            (vec![Tensor(F16), Scalar(F64)], F16),
            (vec![Tensor(I32), Scalar(I64)], I32),
            (vec![Tensor(I32), Scalar(F64)], F64),
            (vec![Scalar(F32), Scalar(F64)], F64),
            (vec![Scalar(I64), Number(F32)], F32),
            (vec![Tensor(U8), Tensor(I8)], I16),
            (vec![Tensor(F16), Tensor(BF16)], F32),
            (vec![Tensor(F16), Tensor(I64)], F16),
            (vec![Tensor(Bool), Tensor(Bool)], Bool),
            (vec![Number(I64), Number(F32)], F32),
        ] {
            assert_eq!(result(&parts), expected, "{parts:?}");
        }
        assert_eq!(common(I8, I16), I16);
    }
}
