//! Weights: the storages of an archive, and the parameters, buffers and constants that are views of them.

use std::collections::HashMap;
use std::ops::Range;

use indexmap::IndexMap;

use super::archive::Archive;
use super::schema::{Payload, PayloadConfig, SymInt, TensorMeta};
use crate::types::{DType, Layout, TensorType};

/// One parameter, buffer or constant.
pub struct View {
    pub name: String,
    pub dtype: DType,
    /// In elements of `dtype` from the start of the storage.
    pub layout: Layout,
}

/// Bytes of the archive, and what is seen in them.
pub struct Storage {
    pub range: Range<usize>,
    pub views: Vec<View>,
}

/// All storages of an archive, by the name of their entry.
pub struct Storages {
    pub storages: IndexMap<String, Storage>,
    /// Storage and view of each name; weights and constants have names of their own.
    weights: HashMap<String, (usize, usize)>,
    constants: HashMap<String, (usize, usize)>,
}

/// The folders, their tables, and the kind of what is in them.
const WEIGHTS: (&str, &str) = ("data/weights/", "model_weights_config.json");
const CONSTANTS: (&str, &str) = ("data/constants/", "model_constants_config.json");

impl Storages {
    /// Reads both tables of an archive. `needed` says which names the program uses; others are passed over.
    ///
    /// # Errors
    /// One sentence for each entry that cannot be used.
    pub fn read(archive: &mut Archive, needed: impl Fn(&str) -> bool) -> Result<Storages, Vec<String>> {
        let mut storages = Storages { storages: IndexMap::new(), weights: HashMap::new(), constants: HashMap::new() };
        let mut wrong = Vec::new();
        for ((folder, table), constants) in [(WEIGHTS, false), (CONSTANTS, true)] {
            let table = format!("{folder}{table}");
            if !archive.has(&table) {
                continue;
            }
            let config = archive.entry(&table).and_then(|range| {
                serde_json::from_slice::<PayloadConfig>(&archive.file[range])
                    .map_err(|error| format!("{table}: {error}"))
            });
            let config = match config {
                Ok(config) => config.config,
                Err(message) => {
                    wrong.push(message);
                    continue;
                }
            };
            for (name, payload) in config.into_iter().filter(|(name, _)| needed(name)) {
                match storages.add(archive, folder, &name, &payload) {
                    Ok(place) => {
                        let names = if constants { &mut storages.constants } else { &mut storages.weights };
                        names.insert(name, place);
                    }
                    Err(message) => wrong.push(format!("{name}: {message}")),
                }
            }
        }
        if wrong.is_empty() { Ok(storages) } else { Err(wrong) }
    }

    fn add(
        &mut self,
        archive: &mut Archive,
        folder: &str,
        name: &str,
        payload: &Payload,
    ) -> Result<(usize, usize), String> {
        let path = format!("{folder}{}", payload.path_name);
        if payload.use_pickle {
            return Err(format!("entry {path:?} is a Python pickle, which is never read; only plain tensors are"));
        }
        let meta =
            payload.tensor_meta.as_ref().ok_or_else(|| format!("entry {path:?} is not described as a tensor"))?;
        let dtype = dtype(meta.dtype)?;
        let layout = layout(meta)?;
        let range = match self.storages.get(&path) {
            Some(storage) => storage.range.clone(),
            None => archive.entry(&path)?,
        };
        let bytes = range.len() as u64;
        let elements = i64::try_from(bytes / dtype.size() as u64).unwrap_or(i64::MAX);
        if !layout.is_empty() && !layout.hull().is_some_and(|(low, high)| low >= 0 && high <= elements) {
            return Err(format!(
                "shape {:?} with strides {:?} from element {} leaves the {bytes} bytes of entry {path:?}",
                layout.shape, layout.strides, layout.offset
            ));
        }
        let entry = self.storages.entry(path);
        let at = entry.index();
        let storage = entry.or_insert_with(|| Storage { range, views: Vec::new() });
        storage.views.push(View { name: name.to_string(), dtype, layout });
        Ok((at, storage.views.len() - 1))
    }

    /// Where a parameter or buffer is; buffers that are not persistent are among the constants.
    pub fn weight(&self, name: &str) -> Option<(usize, usize)> {
        self.weights.get(name).or_else(|| self.constants.get(name)).copied()
    }

    /// Where a constant of the program is.
    pub fn constant(&self, name: &str) -> Option<(usize, usize)> {
        self.constants.get(name).or_else(|| self.weights.get(name)).copied()
    }
}

/// Whether all views of a storage are its elements in one dense order, and which.
pub fn whole(storage: &Storage) -> Option<&View> {
    let first = storage.views.first()?;
    let same = |view: &View| view.dtype == first.dtype && view.layout == first.layout;
    let dense = first.layout.offset == 0 && first.layout.is_dense();
    let all = first.layout.len().checked_mul(first.dtype.size()) == Some(storage.range.len());
    (dense && all && storage.views.iter().all(same)).then_some(first)
}

/// The layout a description gives, whose extents are numbers.
fn layout(meta: &TensorMeta) -> Result<Layout, String> {
    let number = |value: &SymInt| match value {
        SymInt::Int(value) => Ok(*value),
        SymInt::Expr(expr) => Err(format!("a stored tensor has the extent {:?}", expr.expr_str)),
    };
    if meta.layout != STRIDED {
        return Err("it is not a strided tensor".into());
    }
    if meta.sizes.len() != meta.strides.len() {
        return Err(format!("{} extents and {} strides", meta.sizes.len(), meta.strides.len()));
    }
    let extent = |value: &SymInt| {
        let value = number(value)?;
        usize::try_from(value).map_err(|_| format!("an extent of {value}"))
    };
    let shape = meta.sizes.iter().map(extent).collect::<Result<Vec<usize>, String>>()?;
    TensorType::new(dtype(meta.dtype)?, shape.clone()).check()?;
    let strides = meta.strides.iter().map(number).collect::<Result<Vec<i64>, String>>()?;
    Ok(Layout { offset: number(&meta.storage_offset)?, shape, strides })
}

/// `Layout::Strided` of the schema.
pub const STRIDED: u64 = 7;

/// The dtype of a number of the schema's `ScalarType`.
pub fn dtype(number: u64) -> Result<DType, String> {
    Ok(match number {
        1 => DType::U8,
        2 => DType::I8,
        3 => DType::I16,
        4 => DType::I32,
        5 => DType::I64,
        6 => DType::F16,
        7 => DType::F32,
        8 => DType::F64,
        12 => DType::Bool,
        13 => DType::BF16,
        other => {
            let name = match other {
                9..=11 => "a complex dtype",
                28 | 34 | 35 => "a wide unsigned dtype",
                29..=33 => "an 8-bit float dtype",
                _ => "a dtype that is not known",
            };
            return Err(format!("{name} (number {other} of ScalarType)"));
        }
    })
}
