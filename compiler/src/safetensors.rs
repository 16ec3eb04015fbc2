//! The safetensors format: named, dense, row-major arrays in one file, read where they lie and written in one order.
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | length of the header, a little-endian `u64` |
//! | 8.. | the header: a JSON object of `name: {dtype, shape, data_offsets}`, spaces at its end |
//! | | the elements; offsets count from here |
//!
//! A file is treated as hostile: the header is at most [`MAX_HEADER`] bytes, names are unique, and the arrays cover the
//! elements without gap and without overlap, as the format demands. An array of a dtype that the compiler does not know may
//! stand in a file; only who asks for it is refused.

use std::io::{self, Write};

use indexmap::IndexMap;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use situ_runtime::map::FileBytes;

use crate::ir::spelling::METADATA;
use crate::ir::{Constant, ConstantData};
use crate::types::{DType, TensorType};

/// The longest header that is read, in bytes.
pub const MAX_HEADER: u64 = 100_000_000;

/// Dtypes in the order in which a file has them backwards, with their names.
const DTYPES: [(DType, &str); 10] = [
    (DType::Bool, "BOOL"),
    (DType::U8, "U8"),
    (DType::I8, "I8"),
    (DType::I16, "I16"),
    (DType::F16, "F16"),
    (DType::BF16, "BF16"),
    (DType::I32, "I32"),
    (DType::F32, "F32"),
    (DType::F64, "F64"),
    (DType::I64, "I64"),
];

/// One array as the header describes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Entry {
    fn known_dtype(&self) -> Option<DType> {
        DTYPES.iter().find(|(_, name)| *name == self.dtype).map(|(dtype, _)| *dtype)
    }

    /// Bytes of its elements, where the dtype is known; `Err` when there are too many to count.
    fn bytes(&self) -> Result<Option<u64>, ()> {
        let elements = self.shape.iter().try_fold(1u64, |all, &extent| all.checked_mul(extent)).ok_or(())?;
        let size = self.known_dtype().map(|dtype| dtype.size() as u64);
        size.map(|size| elements.checked_mul(size).ok_or(())).transpose()
    }
}

/// The header in the order of the file. A name that stands twice is a mistake, which a map would not show.
struct Header(IndexMap<String, Entry>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Header;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of arrays by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = IndexMap::new();
                let mut metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    let again = if name == METADATA {
                        map.next_value::<IndexMap<String, String>>()?;
                        std::mem::replace(&mut metadata, true)
                    } else {
                        entries.insert(name.clone(), map.next_value::<Entry>()?).is_some()
                    };
                    if again {
                        return Err(A::Error::custom(format!("there are two arrays called {name:?}")));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// The arrays of an open file.
#[derive(Clone, Debug)]
pub struct Archive {
    file: FileBytes,
    entries: IndexMap<String, Entry>,
    /// Where the elements begin.
    start: usize,
}

impl Archive {
    /// Reads the header; the elements stay where they are.
    pub fn read(file: &FileBytes) -> Result<Archive, String> {
        let (length, rest) =
            file.split_first_chunk::<8>().ok_or("it is no safetensors file: it has fewer than 8 bytes")?;
        let length = u64::from_le_bytes(*length);
        if length > MAX_HEADER || length > rest.len() as u64 {
            return Err(format!(
                "it is no safetensors file: its header would have {length} bytes, {} are left and {MAX_HEADER} allowed",
                rest.len()
            ));
        }
        let (header, elements) = rest.split_at(length as usize);
        if header.first() != Some(&b'{') {
            return Err("it is no safetensors file: its header does not begin with `{`".into());
        }
        let Header(entries) =
            serde_json::from_slice(header).map_err(|error| format!("its header is wrong: {}", clipped(&error)))?;
        let mut order: Vec<(&String, &Entry)> = entries.iter().collect();
        order.sort_by_key(|(_, entry)| entry.data_offsets);
        let mut end = 0u64;
        for (name, entry) in order {
            let (from, to) = entry.data_offsets;
            let name = clipped(&format!("{name:?}"));
            if from != end || to < from {
                return Err(format!("the array {name} has the bytes {from}..{to}, expected them to begin at {end}"));
            }
            end = to;
            match entry.bytes() {
                Err(()) => return Err(format!("the array {name} has too many elements")),
                Ok(Some(bytes)) if bytes != to - from => {
                    return Err(format!(
                        "the array {name} has {bytes} bytes by its type, {} by its offsets",
                        to - from
                    ));
                }
                Ok(_) => {}
            }
        }
        if end != elements.len() as u64 {
            return Err(format!("its arrays have {end} bytes, the file has {} after its header", elements.len()));
        }
        Ok(Archive { file: file.clone(), entries, start: 8 + length as usize })
    }

    /// The names of the arrays, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The elements of the array called `name`, which has the type `ty`, where they lie in the file.
    pub fn elements(&self, name: &str, ty: &TensorType) -> Result<ConstantData, String> {
        let entry =
            self.entries.get(name).ok_or_else(|| format!("the file has no array {}", clipped(&format!("{name:?}"))))?;
        let dtype = entry.known_dtype().ok_or_else(|| {
            format!("the array has the dtype {}, which is not known", clipped(&format!("{:?}", entry.dtype)))
        })?;
        let same = entry.shape.len() == ty.shape.len()
            && entry.shape.iter().zip(&ty.shape).all(|(&found, &expected)| found == expected as u64);
        if dtype != ty.dtype || !same {
            let shape = clipped(&format!("{:?}", entry.shape));
            return Err(format!("expected an array of type {ty}, the file has {dtype}{shape}"));
        }
        let offset = self.start + entry.data_offsets.0 as usize;
        if dtype == DType::Bool && self.file[offset..offset + ty.bytes()].iter().any(|&byte| byte > 1) {
            return Err("a bool is 0 or 1, and the array holds other bytes".into());
        }
        Ok(ConstantData::Mapped { file: self.file.clone(), offset })
    }
}

/// What is quoted of a file, which may be long.
fn clipped(text: &impl ToString) -> String {
    const MOST: usize = 200;
    let text = text.to_string();
    if text.chars().nth(MOST).is_none() { text } else { text.chars().take(MOST - 1).chain(['…']).collect() }
}

/// Writes a file: wide dtypes first, then by name, so that equal arrays give equal bytes and each lies at a multiple of the
/// size of its elements. Names are unique.
pub fn write(mut out: impl Write, arrays: &[(String, Constant)]) -> io::Result<()> {
    let rank = |dtype: DType| DTYPES.iter().position(|(known, _)| *known == dtype);
    let mut order: Vec<&(String, Constant)> = arrays.iter().collect();
    order.sort_by(|(a, x), (b, y)| rank(y.ty.dtype).cmp(&rank(x.ty.dtype)).then_with(|| a.cmp(b)));
    let mut header = IndexMap::new();
    let mut end = 0u64;
    for (name, constant) in &order {
        let dtype = DTYPES.iter().find(|(known, _)| *known == constant.ty.dtype).map(|(_, name)| *name);
        let dtype = dtype.ok_or_else(|| io::Error::other(format!("the format has no dtype {}", constant.ty.dtype)))?;
        let from = end;
        end =
            end.checked_add(constant.ty.bytes() as u64).ok_or_else(|| io::Error::other("there are too many bytes"))?;
        let shape = constant.ty.shape.iter().map(|&extent| extent as u64).collect();
        header.insert(name, Entry { dtype: dtype.to_string(), shape, data_offsets: (from, end) });
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > MAX_HEADER {
        return Err(io::Error::other(format!(
            "the header would have {} bytes, {MAX_HEADER} are allowed",
            header.len()
        )));
    }
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, constant) in order {
        out.write_all(&constant.bytes())?;
    }
    out.flush()
}
