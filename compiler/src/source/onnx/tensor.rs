//! Tensors of an ONNX file as constants. `raw_data` stays where it is, in the file; the typed data fields are decoded.
//!
//! **External data.** A tensor may name a file that holds its elements, which [`Folder`] finds or refuses. Offset and length
//! are checked against the file and against the size of the tensor.

use std::path::{Path, PathBuf};

use situ_runtime::map::FileBytes;

use super::model::Tensor;
use super::site::Stop;
use super::wire::{Fields, Malformed};
use crate::eval;
use crate::ir::{Constant, ConstantData};
use crate::source::folder::Folder;
use crate::types::{DType, TensorType};

/// The dtype with a number of `TensorProto.DataType`, or why there is none.
pub fn dtype(number: i64) -> Result<DType, Stop> {
    const FOREIGN: [(i64, &str); 15] = [
        (4, "uint16"),
        (8, "string"),
        (12, "uint32"),
        (13, "uint64"),
        (14, "complex64"),
        (15, "complex128"),
        (17, "float8e4m3fn"),
        (18, "float8e4m3fnuz"),
        (19, "float8e5m2"),
        (20, "float8e5m2fnuz"),
        (21, "uint4"),
        (22, "int4"),
        (23, "float4e2m1"),
        (24, "float8e8m0"),
        (25, "uint2"),
    ];
    Ok(match number {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        16 => DType::BF16,
        _ => {
            return Err(match FOREIGN.iter().find(|(code, _)| *code == number) {
                Some((_, name)) => Stop::Unsupported(format!("dtype {name}")),
                None if number == 26 => Stop::Unsupported("dtype int2".into()),
                None => Stop::Invalid(format!("{number} is not a dtype")),
            });
        }
    })
}

/// Dtype and shape of a tensor.
pub fn tensor_type(tensor: &Tensor) -> Result<TensorType, Stop> {
    let shape: Result<Vec<usize>, _> = tensor.dims.iter().map(|&dim| usize::try_from(dim)).collect();
    let shape = shape.map_err(|_| Stop::Invalid(format!("tensor {} has the shape {:?}", tensor.name, tensor.dims)))?;
    let ty = TensorType::new(dtype(tensor.data_type)?, shape);
    ty.check().map_err(Stop::Invalid)?;
    Ok(ty)
}

/// Where the files of a model are.
#[derive(Debug)]
pub struct Files {
    /// The model itself; raw data are ranges of it.
    pub model: FileBytes,
    folder: Folder,
}

impl Files {
    pub fn new(model: FileBytes, folder: Option<PathBuf>, mmap: bool) -> Files {
        Files { model, folder: Folder::new(folder, mmap) }
    }

    /// The constant a tensor of the model is.
    pub fn constant(&mut self, tensor: &Tensor, name: &str) -> Result<Constant, Stop> {
        let ty = tensor_type(tensor)?;
        let data = if tensor.external {
            let (file, offset) = self.external(tensor, &ty)?;
            ConstantData::Mapped { file, offset }
        } else if let Some(raw) = tensor.raw.filter(|raw| !raw.is_empty() || ty.is_empty()) {
            self.expect_bytes(tensor, &ty, raw.len())?;
            match (raw.as_ptr() as usize).checked_sub(self.model.as_ptr() as usize) {
                Some(offset) if offset.checked_add(raw.len()).is_some_and(|end| end <= self.model.len()) => {
                    ConstantData::Mapped { file: self.model.clone(), offset }
                }
                _ => ConstantData::Bytes(raw.into()),
            }
        } else {
            ConstantData::Bytes(typed_elements(tensor, &ty)?.into())
        };
        let constant = Constant { name: name.to_string(), ty, data };
        Ok(normalised(constant))
    }

    fn expect_bytes(&self, tensor: &Tensor, ty: &TensorType, found: usize) -> Result<(), Stop> {
        if found == ty.bytes() {
            return Ok(());
        }
        Err(Stop::Invalid(format!("tensor {} of type {ty} has {} bytes, found {found}", tensor.name, ty.bytes())))
    }

    /// The file with the elements of a tensor, and where they begin.
    fn external(&mut self, tensor: &Tensor, ty: &TensorType) -> Result<(FileBytes, usize), Stop> {
        let refuse = |why: String| Stop::Invalid(format!("external data of tensor {}: {why}", tensor.name));
        let (mut location, mut offset, mut length) = ("", 0usize, None);
        for &(key, value) in &tensor.external_keys {
            let number = || value.parse::<usize>().map_err(|_| refuse(format!("{key} {value:?} is not a size")));
            match key {
                "location" => location = value,
                "offset" => offset = number()?,
                "length" => length = Some(number()?),
                _ => {}
            }
        }
        if let Some(length) = length {
            self.expect_bytes(tensor, ty, length)?;
        }
        let file = self.folder.open(location).map_err(&refuse)?;
        match offset.checked_add(ty.bytes()) {
            Some(end) if end <= file.len() => Ok((file, offset)),
            _ => Err(refuse(format!(
                "{} bytes from {offset} leave the file {location:?} of {} bytes",
                ty.bytes(),
                file.len()
            ))),
        }
    }
}

/// A constant in the form the compiler expects: every `bool` 0 or 1, and a single element as a splat. A scalar loses its
/// name, so that it counts as a literal.
fn normalised(mut constant: Constant) -> Constant {
    if constant.ty.dtype == DType::Bool && constant.bytes().iter().any(|&byte| byte > 1) {
        let bytes: Vec<u8> = constant.bytes().iter().map(|&byte| u8::from(byte != 0)).collect();
        constant.data = ConstantData::Bytes(bytes.into());
    }
    if constant.ty.shape.is_empty()
        && let Some(bits) = constant.splat()
    {
        return Constant::scalar(constant.ty.dtype, bits);
    }
    constant
}

/// The elements in the typed data fields of a tensor, as little endian bytes.
fn typed_elements(tensor: &Tensor, ty: &TensorType) -> Result<Vec<u8>, Stop> {
    let invalid = |Malformed(message)| Stop::Invalid(format!("tensor {}: {message}", tensor.name));
    let (mut floats, mut doubles, mut ints) = (Vec::new(), Vec::new(), Vec::new());
    let mut fields = Fields::of(tensor.message);
    while let Some(field) = fields.next().map_err(invalid)? {
        match (field.number, ty.dtype) {
            (4, DType::F32) => field.extend_floats(&mut floats).map_err(invalid)?,
            (10, DType::F64) => field.extend_doubles(&mut doubles).map_err(invalid)?,
            (7, DType::I64) => field.extend_ints(&mut ints).map_err(invalid)?,
            (5, dtype) if !matches!(dtype, DType::F32 | DType::F64 | DType::I64) => {
                field.extend_ints(&mut ints).map_err(invalid)?;
            }
            _ => {}
        }
    }
    let found = match ty.dtype {
        DType::F32 => floats.len(),
        DType::F64 => doubles.len(),
        _ => ints.len(),
    };
    if found != ty.len() {
        return Err(Stop::Invalid(format!(
            "tensor {} of type {ty} has {} elements, found {found}",
            tensor.name,
            ty.len()
        )));
    }
    let mut bytes = Vec::with_capacity(ty.bytes());
    for x in floats {
        bytes.extend(x.to_le_bytes());
    }
    for x in doubles {
        bytes.extend(x.to_le_bytes());
    }
    for x in ints {
        match ty.dtype {
            DType::Bool => bytes.push(u8::from(x != 0)),
            // Half floats are kept as the bits of 16-bit integers; integers wrap to their width.
            _ => bytes.extend(&x.to_le_bytes()[..ty.dtype.size()]),
        }
    }
    Ok(bytes)
}

/// A tensor of a `TensorProto` file, as the ONNX backend tests keep inputs and outputs.
pub fn read_file(path: &Path) -> Result<eval::Tensor, Stop> {
    let bytes = std::fs::read(path).map_err(|error| Stop::Invalid(format!("{}: {error}", path.display())))?;
    let tensor = super::model::read_tensor(&bytes).map_err(|Malformed(message)| Stop::Invalid(message))?;
    let mut files = Files::new(FileBytes::from_vec(Vec::new()), None, false);
    let constant = files.constant(&tensor, "")?;
    Ok(eval::Tensor::new(constant.ty.clone(), constant.bytes().into_owned()))
}
