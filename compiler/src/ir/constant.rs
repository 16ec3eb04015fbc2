//! Constants: weights and literals.

use std::sync::Arc;

use situ_runtime::map::FileBytes;

use crate::types::{DType, TensorType};

/// How a seeded constant is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    Normal { mean: f64, std: f64 },
    Uniform { low: f64, high: f64 },
}

/// Where the elements of a constant are. Row-major, little endian, in the dtype of the constant.
#[derive(Clone, Debug)]
pub enum ConstantData {
    Bytes(Arc<[u8]>),
    /// A range of a mapped file, not copied. The range was checked when it was made; it may be misaligned.
    Mapped {
        file: FileBytes,
        offset: usize,
    },
    /// The same element everywhere (its bits in the low bytes).
    Splat(u64),
    /// Drawn by the documented generator (`docs/ir.md`), the same on every machine.
    Seeded {
        distribution: Distribution,
        seed: u64,
    },
}

/// A constant tensor.
#[derive(Clone, Debug)]
pub struct Constant {
    /// The name in the text; empty for a literal.
    pub name: String,
    pub ty: TensorType,
    pub data: ConstantData,
}

impl PartialEq for Constant {
    fn eq(&self, other: &Constant) -> bool {
        self.name == other.name
            && self.ty == other.ty
            && match (&self.data, &other.data) {
                (
                    ConstantData::Seeded { distribution: a, seed: m },
                    ConstantData::Seeded { distribution: b, seed: n },
                ) => a == b && m == n,
                (ConstantData::Splat(a), ConstantData::Splat(b)) => a == b,
                _ => self.bytes() == other.bytes(),
            }
    }
}

impl Constant {
    /// A scalar literal that is printed where it is used.
    pub fn scalar(dtype: DType, bits: u64) -> Constant {
        Constant { name: String::new(), ty: TensorType::scalar(dtype), data: ConstantData::Splat(bits) }
    }

    /// A literal without a name of its own.
    pub fn is_inline(&self) -> bool {
        self.name.is_empty() && self.ty.shape.is_empty()
    }

    /// The bits every element has, if they are known to be the same without looking at many bytes.
    pub fn splat(&self) -> Option<u64> {
        match &self.data {
            ConstantData::Splat(bits) => Some(*bits),
            ConstantData::Seeded { .. } => None,
            _ if self.ty.len() == 1 => {
                let mut element = [0u8; 8];
                let bytes = self.bytes();
                element[..bytes.len()].copy_from_slice(&bytes);
                Some(u64::from_le_bytes(element))
            }
            _ => None,
        }
    }

    /// The elements, row-major and little endian. Seeded and splat constants are made on demand.
    pub fn bytes(&self) -> std::borrow::Cow<'_, [u8]> {
        match &self.data {
            ConstantData::Bytes(bytes) => bytes.as_ref().into(),
            ConstantData::Mapped { file, offset } => (&file[*offset..*offset + self.ty.bytes()]).into(),
            ConstantData::Splat(bits) => {
                let size = self.ty.dtype.size();
                bits.to_le_bytes()[..size].repeat(self.ty.len()).into()
            }
            ConstantData::Seeded { distribution, seed } => {
                crate::seeded::draw(*distribution, *seed, self.ty.dtype, self.ty.len()).into()
            }
        }
    }
}
