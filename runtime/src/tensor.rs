//! Tensors as a caller has them: owned, borrowed, borrowed mutably. All are dense and row-major.

use half::{bf16, f16};

use std::borrow::Cow;

use crate::arena::{Block, OutOfMemory};
use crate::types::{DType, elements};

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that is the element of a dtype. (`bool` has no such type, because not every byte is a `bool`; see
/// [`TensorRef::bools`] and [`Tensor::to_bools`].)
pub trait Element: bytemuck::Pod + sealed::Sealed {
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty: $dtype:ident),*) => {
        $(
            impl sealed::Sealed for $rust {}
            impl Element for $rust {
                const DTYPE: DType = DType::$dtype;
            }
        )*
    };
}

elements!(f32: F32, f64: F64, f16: F16, bf16: BF16, i8: I8, u8: U8, i16: I16, i32: I32, i64: I64);

/// Why there is no such tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorError {
    /// The shape has another number of elements than the data, or more than any tensor.
    Shape {
        shape: Vec<usize>,
        elements: usize,
    },
    OutOfMemory(OutOfMemory),
}

impl std::fmt::Display for TensorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TensorError::Shape { shape, elements } => write!(f, "{elements} elements do not have the shape {shape:?}"),
            TensorError::OutOfMemory(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for TensorError {}

/// An owned tensor; its bytes start at a 64-byte boundary. What a caller donates.
#[derive(Debug)]
pub struct Tensor {
    dtype: DType,
    shape: Cow<'static, [usize]>,
    block: Block,
}

impl Default for Tensor {
    /// The tensor without elements; it owns no memory.
    fn default() -> Tensor {
        let block = Block::zeroed(0).expect("an empty block needs no memory");
        Tensor { dtype: DType::U8, shape: Cow::Borrowed(&[0]), block }
    }
}

impl Tensor {
    /// A tensor of zeros (`false` for bool).
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let count = elements(shape).ok_or_else(|| TensorError::Shape { shape: shape.to_vec(), elements: 0 })?;
        let block = Block::zeroed(count as u64 * dtype.size() as u64).map_err(TensorError::OutOfMemory)?;
        Ok(Tensor { dtype, shape: Cow::Owned(shape.to_vec()), block })
    }

    /// A copy of `data`, in row-major order.
    pub fn copied<T: Element>(shape: &[usize], data: &[T]) -> Result<Tensor, TensorError> {
        Tensor::from_bytes(T::DTYPE, shape, bytemuck::cast_slice(data))
    }

    /// A copy of the little-endian bytes of the elements. Bytes of a bool are 0 or 1; others become 1.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
        if elements(shape).map(|count| count * dtype.size()) != Some(bytes.len()) {
            return Err(TensorError::Shape { shape: shape.to_vec(), elements: bytes.len() / dtype.size() });
        }
        let mut tensor = Tensor::zeros(dtype, shape)?;
        tensor.block.copy_from_slice(bytes);
        if dtype == DType::Bool {
            tensor.block.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        Ok(tensor)
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn bytes(&self) -> &[u8] {
        &self.block
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.block
    }

    /// The elements, or `None` when they are of another type.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        (self.dtype == T::DTYPE).then(|| bytemuck::cast_slice(&self.block))
    }

    /// The elements, or `None` when they are of another type.
    pub fn as_mut_slice<T: Element>(&mut self) -> Option<&mut [T]> {
        (self.dtype == T::DTYPE).then(|| bytemuck::cast_slice_mut(&mut self.block))
    }

    /// The elements of a bool tensor.
    pub fn to_bools(&self) -> Option<Vec<bool>> {
        (self.dtype == DType::Bool).then(|| self.block.iter().map(|&byte| byte != 0).collect())
    }

    /// Borrowed for [`Argument::Read`](crate::session::Argument::Read).
    pub fn view(&self) -> TensorRef<'_> {
        TensorRef { dtype: self.dtype, bytes: &self.block }
    }

    /// Borrowed for [`Argument::InOut`](crate::session::Argument::InOut).
    pub fn view_mut(&mut self) -> TensorMut<'_> {
        TensorMut { dtype: self.dtype, bytes: &mut self.block }
    }
}

/// Elements that are only read. The shape is that of the port they are passed to.
#[derive(Clone, Copy, Debug)]
pub struct TensorRef<'a> {
    pub(crate) dtype: DType,
    pub(crate) bytes: &'a [u8],
}

impl<'a> TensorRef<'a> {
    /// The little-endian bytes of elements of `dtype`. They must be aligned for it, or a run refuses them.
    pub fn new(dtype: DType, bytes: &'a [u8]) -> TensorRef<'a> {
        TensorRef { dtype, bytes }
    }

    pub fn bools(elements: &'a [bool]) -> TensorRef<'a> {
        TensorRef { dtype: DType::Bool, bytes: bytemuck::cast_slice(elements) }
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The elements in little endian, dense and row-major.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The elements, if they have this type; a `bool` is a byte here.
    pub fn as_slice<T: Element>(&self) -> Option<&'a [T]> {
        if self.dtype == T::DTYPE { bytemuck::try_cast_slice(self.bytes).ok() } else { None }
    }
}

impl<'a, T: Element> From<&'a [T]> for TensorRef<'a> {
    fn from(elements: &'a [T]) -> TensorRef<'a> {
        TensorRef { dtype: T::DTYPE, bytes: bytemuck::cast_slice(elements) }
    }
}

impl<'a, T: Element> From<&'a Vec<T>> for TensorRef<'a> {
    fn from(elements: &'a Vec<T>) -> TensorRef<'a> {
        elements.as_slice().into()
    }
}

impl<'a, T: Element, const N: usize> From<&'a [T; N]> for TensorRef<'a> {
    fn from(elements: &'a [T; N]) -> TensorRef<'a> {
        elements.as_slice().into()
    }
}

impl<'a> From<&'a Tensor> for TensorRef<'a> {
    fn from(tensor: &'a Tensor) -> TensorRef<'a> {
        tensor.view()
    }
}

/// State: elements that a run updates in their own bytes. The shape is that of the port they are passed to.
#[derive(Debug)]
pub struct TensorMut<'a> {
    pub(crate) dtype: DType,
    pub(crate) bytes: &'a mut [u8],
}

impl<'a> TensorMut<'a> {
    /// The little-endian bytes of elements of `dtype`. They must be aligned for it, or a run refuses them.
    pub fn new(dtype: DType, bytes: &'a mut [u8]) -> TensorMut<'a> {
        TensorMut { dtype, bytes }
    }
}

impl<'a, T: Element> From<&'a mut [T]> for TensorMut<'a> {
    fn from(elements: &'a mut [T]) -> TensorMut<'a> {
        TensorMut { dtype: T::DTYPE, bytes: bytemuck::cast_slice_mut(elements) }
    }
}

impl<'a, T: Element> From<&'a mut Vec<T>> for TensorMut<'a> {
    fn from(elements: &'a mut Vec<T>) -> TensorMut<'a> {
        elements.as_mut_slice().into()
    }
}

impl<'a, T: Element, const N: usize> From<&'a mut [T; N]> for TensorMut<'a> {
    fn from(elements: &'a mut [T; N]) -> TensorMut<'a> {
        elements.as_mut_slice().into()
    }
}

impl<'a> From<&'a mut Tensor> for TensorMut<'a> {
    fn from(tensor: &'a mut Tensor) -> TensorMut<'a> {
        tensor.view_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_keep_what_they_are_given() {
        let tensor = Tensor::copied(&[2, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        assert_eq!(tensor.as_slice::<f32>().unwrap()[4], 5.0);
        assert_eq!(tensor.as_slice::<i32>(), None);
        assert!(Tensor::copied(&[2, 2], &[1.0f32]).is_err());
        assert!(Tensor::zeros(DType::F64, &[1 << 30, 1 << 30]).is_err());
        let bools = Tensor::from_bytes(DType::Bool, &[3], &[0, 1, 9]).unwrap();
        assert_eq!(bools.bytes(), [0, 1, 1]);
        assert_eq!(bools.to_bools().unwrap(), [false, true, true]);
    }
}
