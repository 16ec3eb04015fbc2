//! Words both crates speak: element types, shapes, layouts and the regions they name.
//!
//! A *shape* is a list of extents. A *layout* says where each index of a shape lies inside a storage, in
//! elements: `offset + sum(index[i] * strides[i])`. A layout whose strides hold a zero repeats elements
//! (a broadcast read); a layout that is written must be injective.

use serde::{Deserialize, Serialize};

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DType {
    F32,
    F64,
    F16,
    BF16,
    I8,
    U8,
    I16,
    I32,
    I64,
    Bool,
}

impl DType {
    pub const ALL: [DType; 10] = [
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::I8,
        DType::U8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::Bool,
    ];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::BF16 | DType::I16 => 2,
            DType::I8 | DType::U8 | DType::Bool => 1,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
    }

    pub fn is_int(self) -> bool {
        matches!(self, DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// The name in text, reports and JSON.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::I8 => "i8",
            DType::U8 => "u8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::Bool => "bool",
        }
    }

    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.name() == name)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The most axes a tensor may have.
pub const MAX_RANK: usize = 16;

/// The most elements a tensor may have: every offset in bytes then fits an `i64` with room to spare.
pub const MAX_ELEMENTS: usize = 1 << 40;

/// Number of elements of `shape`, or `None` when it exceeds [`MAX_ELEMENTS`]. An empty axis does not excuse the others:
/// strides are products of extents and must fit as well.
pub fn elements(shape: &[usize]) -> Option<usize> {
    let bounded = |product: usize, &extent: &usize| product.checked_mul(extent.max(1)).filter(|&n| n <= MAX_ELEMENTS);
    let product = shape.iter().try_fold(1usize, bounded)?;
    Some(if shape.contains(&0) { 0 } else { product })
}

/// Row-major strides of `shape`, in elements.
pub fn dense_strides(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1i64; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1].max(1) as i64;
    }
    strides
}

/// Where the elements of a view lie in their storage. Units: elements of the view's dtype.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// Position of the element with index zero.
    pub offset: i64,
    pub shape: Vec<usize>,
    /// One stride an axis; zero repeats, negative runs backwards.
    pub strides: Vec<i64>,
}

impl Layout {
    /// The row-major layout of `shape` at the start of its storage.
    pub fn dense(shape: &[usize]) -> Layout {
        Layout { offset: 0, shape: shape.to_vec(), strides: dense_strides(shape) }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Number of indices (a repeated element counts once for each index that names it).
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Lowest and one-past-highest element touched, or `None` when there is no element or the numbers overflow.
    pub fn hull(&self) -> Option<(i64, i64)> {
        if self.is_empty() {
            return None;
        }
        let (mut low, mut high) = (self.offset, self.offset);
        for (&extent, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = stride.checked_mul(extent as i64 - 1)?;
            if reach < 0 {
                low = low.checked_add(reach)?;
            } else {
                high = high.checked_add(reach)?;
            }
        }
        Some((low, high.checked_add(1)?))
    }

    /// Whether the elements lie row-major without gaps (axes of extent one may have any stride).
    pub fn is_dense(&self) -> bool {
        let mut expected = 1i64;
        for (&extent, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if extent != 1 && stride != expected {
                return false;
            }
            expected *= extent.max(1) as i64;
        }
        true
    }

    /// Whether both name the same elements in the same order, apart from where they begin: an axis of extent 1 may have any
    /// stride.
    pub fn is_parallel(&self, other: &Layout) -> bool {
        let mut axes = self.shape.iter().zip(self.strides.iter().zip(&other.strides));
        self.shape == other.shape && axes.all(|(&extent, (a, b))| extent == 1 || a == b)
    }

    /// Whether no two indices name the same element: strides, sorted by size, each step over all smaller ones.
    /// This is sufficient, not necessary; `false` means "not known to be injective".
    pub fn is_injective(&self) -> bool {
        if self.is_empty() {
            return true;
        }
        let mut axes: Vec<(i64, i64)> = self
            .shape
            .iter()
            .zip(&self.strides)
            .filter(|(extent, _)| **extent > 1)
            .map(|(&extent, &stride)| (stride.abs(), extent as i64))
            .collect();
        axes.sort_unstable();
        let mut reach = 0i64;
        for (stride, extent) in axes {
            if stride <= reach {
                return false;
            }
            reach += stride * (extent - 1);
        }
        true
    }
}

/// Who may read and write a graph input, and whose bytes it is afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InputMode {
    /// Nobody writes it.
    Read,
    /// The caller gives its bytes up: the program may overwrite them.
    Donate,
    /// State: updated in its own bytes.
    InOut,
    /// Bytes that hold nothing at first and a value in the end: a result that a branch or a loop leaves with the step
    /// that runs it. Only inputs of bodies are of this mode.
    Out,
}

impl InputMode {
    pub fn name(self) -> &'static str {
        match self {
            InputMode::Read => "read",
            InputMode::Donate => "donate",
            InputMode::InOut => "inout",
            InputMode::Out => "out",
        }
    }
}
