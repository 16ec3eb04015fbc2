//! Types of values: dtype and shape. Layouts of source values are kept beside the graph, by the alias database.

pub use situ_runtime::types::{DType, InputMode, Layout, MAX_ELEMENTS, MAX_RANK, dense_strides, elements};

/// Dtype and shape of a value. Symbols are bound before a graph is made, so every extent is a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    pub dtype: DType,
    pub shape: Vec<usize>,
}

impl TensorType {
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>) -> TensorType {
        TensorType { dtype, shape: shape.into() }
    }

    pub fn scalar(dtype: DType) -> TensorType {
        TensorType { dtype, shape: Vec::new() }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements. Types are made only with at most [`MAX_ELEMENTS`], see [`TensorType::check`].
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.size()
    }

    /// Rank and element count within bounds, or what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.rank() > MAX_RANK {
            return Err(format!("a tensor has at most {MAX_RANK} axes, found {}", self.rank()));
        }
        match elements(&self.shape) {
            Some(_) => Ok(()),
            None => Err(format!("{self} has more than 2^40 elements")),
        }
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, extent) in self.shape.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{extent}")?;
        }
        f.write_str("]")
    }
}
