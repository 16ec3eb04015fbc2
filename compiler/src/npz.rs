//! Arrays in numpy's formats: `.npy` (one array) and `.npz` (a zip of them), read and written.
//!
//! Format: NEP 1, versions 1 to 3. Python objects are refused; nothing of a file is believed before it is checked, and
//! no more is allocated than the file holds (or, for compressed members, than their stated size, at most [`LIMIT`]).

use std::io::{Cursor, Read, Seek, Write};
use std::path::Path;

use indexmap::IndexMap;

use crate::types::{DType, TensorType};

/// The largest array that is read, in bytes.
pub const LIMIT: u64 = 1 << 34;

/// A dense, row-major array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub ty: TensorType,
    /// Little endian elements, row-major.
    pub bytes: Vec<u8>,
}

impl Array {
    /// An array of `f32` elements.
    pub fn f32(shape: &[usize], elements: &[f32]) -> Array {
        Array {
            ty: TensorType::new(DType::F32, shape),
            bytes: elements.iter().flat_map(|element| element.to_le_bytes()).collect(),
        }
    }

    /// The first `count` elements as people write them: integers and `bool` exactly, floats to six places.
    pub fn shown(&self, count: usize) -> Vec<String> {
        let (dtype, size) = (self.ty.dtype, self.ty.dtype.size());
        let elements = self.bytes.chunks_exact(size).take(count).map(|element| {
            let mut bits = [0u8; 8];
            bits[..size].copy_from_slice(element);
            u64::from_le_bytes(bits)
        });
        elements
            .map(|bits| match dtype {
                DType::Bool => (bits != 0).to_string(),
                dtype if dtype.is_float() => format!("{:.6}", situ_runtime::scalar::decode_float(dtype, bits)),
                dtype => situ_runtime::scalar::decode_int(dtype, bits).to_string(),
            })
            .collect()
    }

    /// Elements as `f64`, for comparisons.
    pub fn to_f64(&self) -> Vec<f64> {
        let size = self.ty.dtype.size();
        self.bytes
            .chunks_exact(size)
            .map(|element| {
                let mut bits = [0u8; 8];
                bits[..size].copy_from_slice(element);
                let bits = situ_runtime::scalar::cast(self.ty.dtype, DType::F64, u64::from_le_bytes(bits));
                f64::from_bits(bits)
            })
            .collect()
    }
}

/// numpy has no `bf16`; those who have (ml_dtypes, jax) write two bytes of no type.
fn descr(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 => "<V2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::F16 => "<f2",
        DType::I8 => "|i1",
        DType::U8 => "|u1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::Bool => "|b1",
    }
}

fn dtype_of(word: &str) -> Option<DType> {
    let bare = word.trim_start_matches(['<', '|', '=']);
    DType::ALL.into_iter().find(|&dtype| &descr(dtype)[1..] == bare)
}

/// The text after `'key':` in a header.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let at = header.find(&format!("'{key}'")).or_else(|| header.find(&format!("\"{key}\"")))?;
    Some(header[at + key.len() + 2..].trim_start().strip_prefix(':')?.trim_start())
}

/// Reads one `.npy`.
pub fn read_npy(bytes: &[u8]) -> Result<Array, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("not a .npy array")?;
    let (&[major, _minor], rest) = rest.split_first_chunk::<2>().ok_or("the header is cut off")?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>().ok_or("the header is cut off")?;
            (u16::from_le_bytes(*length) as usize, rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or("the header is cut off")?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        other => return Err(format!("version {other} of .npy is not known")),
    };
    let (header, data) = rest.split_at_checked(length).ok_or("the header is cut off")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is not text")?;
    let word = field(header, "descr").and_then(|text| text.get(1..)).ok_or("the header has no descr")?;
    let word = word.split(['\'', '"']).next().unwrap_or("");
    if word.starts_with('>') {
        return Err("big-endian arrays are not read".into());
    }
    let dtype = dtype_of(word).ok_or_else(|| format!("arrays of dtype {word:?} are not read"))?;
    let fortran = field(header, "fortran_order").is_some_and(|text| text.starts_with("True"));
    let shape = field(header, "shape").and_then(|text| text.strip_prefix('(')).ok_or("the header has no shape")?;
    let shape = shape.split(')').next().unwrap_or("");
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|extent| !extent.is_empty())
        .map(|extent| extent.trim_end_matches('L').parse().map_err(|_| format!("{extent:?} is not an extent")))
        .collect::<Result<_, String>>()?;
    let ty = TensorType::new(dtype, shape);
    ty.check()?;
    if data.len() < ty.bytes() {
        return Err(format!("{ty} has {} bytes, the file holds {}", ty.bytes(), data.len()));
    }
    let data = &data[..ty.bytes()];
    let bytes = if fortran && ty.rank() > 1 { from_column_major(&ty, data) } else { data.to_vec() };
    Ok(Array { ty, bytes })
}

fn from_column_major(ty: &TensorType, data: &[u8]) -> Vec<u8> {
    let size = ty.dtype.size();
    let mut strides = vec![size; ty.rank()];
    for axis in 1..ty.rank() {
        strides[axis] = strides[axis - 1] * ty.shape[axis - 1];
    }
    let mut bytes = Vec::with_capacity(data.len());
    let mut index = vec![0usize; ty.rank()];
    for _ in 0..ty.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        bytes.extend_from_slice(&data[at..at + size]);
        for axis in (0..ty.rank()).rev() {
            index[axis] += 1;
            if index[axis] < ty.shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    bytes
}

/// The `.npy` bytes of an array.
pub fn write_npy(array: &Array) -> Result<Vec<u8>, String> {
    let descr = descr(array.ty.dtype);
    let extents: Vec<String> = array.ty.shape.iter().map(usize::to_string).collect();
    let shape = match extents.as_slice() {
        [one] => format!("({one},)"),
        many => format!("({})", many.join(", ")),
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let padding = 64 - (10 + header.len() + 1) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let length = u16::try_from(header.len()).map_err(|_| "too many axes for a .npy header")?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(&array.bytes);
    Ok(bytes)
}

/// Reads a file: the arrays of an `.npz` whose names are `wanted`, or the one of an `.npy` under the empty name. Other members
/// are not looked at.
pub fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<IndexMap<String, Array>, String> {
    let file = situ_runtime::map::FileBytes::open(path, true).map_err(|error| error.to_string())?;
    if file.starts_with(b"\x93NUMPY") {
        return Ok(IndexMap::from([(String::new(), read_npy(&file)?)]));
    }
    read_npz(&file, wanted)
}

fn read_npz(file: &[u8], wanted: impl Fn(&str) -> bool) -> Result<IndexMap<String, Array>, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).map_err(|error| error.to_string())?;
    let mut arrays = IndexMap::new();
    for position in 0..archive.len() {
        let member = archive.by_index(position).map_err(|error| error.to_string())?;
        let name = member.name().to_string();
        let Some(key) = name.strip_suffix(".npy").filter(|key| wanted(key)) else { continue };
        let size = member.size();
        if size > LIMIT {
            return Err(format!("{name} is larger than {LIMIT} bytes"));
        }
        let mut bytes = Vec::new();
        member.take(LIMIT).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        arrays.insert(key.to_string(), read_npy(&bytes).map_err(|error| format!("{name}: {error}"))?);
    }
    Ok(arrays)
}

/// Writes an `.npz`, members stored, in the order given; a fixed date, so that equal arrays give equal files.
pub fn write_npz<'a>(
    out: impl Write + Seek,
    arrays: impl IntoIterator<Item = (String, &'a Array)>,
) -> Result<(), String> {
    let mut archive = zip::ZipWriter::new(out);
    for (name, array) in arrays {
        let bytes = write_npy(array)?;
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .last_modified_time(zip::DateTime::default())
            .large_file(bytes.len() as u64 >= u64::from(u32::MAX));
        archive.start_file(format!("{name}.npy"), options).map_err(|error| error.to_string())?;
        archive.write_all(&bytes).map_err(|error| error.to_string())?;
    }
    archive.finish().map_err(|error| error.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_round_trip_and_truncation() {
        let array = Array::f32(&[2, 3], &[1.0, -2.5, 3.0, 4.0, f32::NAN, -0.0]);
        let bytes = write_npy(&array).unwrap();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(read_npy(&bytes).unwrap().bytes, array.bytes);
        for cut in 0..bytes.len() {
            assert!(read_npy(&bytes[..cut]).is_err(), "{cut} bytes were accepted");
        }
    }

    #[test]
    fn npz_round_trip() {
        let array = Array::f32(&[3], &[1.0, 2.0, 3.0]);
        let mut file = Cursor::new(Vec::new());
        write_npz(&mut file, [("out0".to_string(), &array)]).unwrap();
        assert_eq!(read_npz(file.get_ref(), |_| true).unwrap()["out0"], array);
        assert!(read_npz(file.get_ref(), |key| key != "out0").unwrap().is_empty());
    }
}
