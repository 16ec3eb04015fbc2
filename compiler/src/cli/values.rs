//! Values of inputs from the command line, and comparison of outputs.

use std::path::Path;

use indexmap::IndexMap;
use situ::ir::Distribution;
use situ::npz::{self, Array};
use situ::seeded;
use situ::types::TensorType;
use situ_runtime::executable::InputPort;
use situ_runtime::types::{DType, InputMode};

use super::args::InputArgs;
use super::failure::Failure;

fn read(path: &Path) -> Result<IndexMap<String, Array>, Failure> {
    npz::read(path).map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))
}

/// A value for every input, in order. `fill` is used for inputs nothing is said about.
pub fn inputs(args: &InputArgs, ports: &[InputPort], fill: Option<&str>) -> Result<Vec<Array>, Failure> {
    let given = given(args, ports, fill)?;
    ports
        .iter()
        .zip(given)
        .map(|(port, array)| {
            array.ok_or_else(|| {
                Failure::usage(format!(
                    "input {} has no value; give --input {}=FILE.npy, =zeros or =random:SEED",
                    port.name, port.name
                ))
            })
        })
        .collect()
}

/// The value of each input that is given one.
pub fn given(args: &InputArgs, ports: &[InputPort], fill: Option<&str>) -> Result<Vec<Option<Array>>, Failure> {
    let mut given: IndexMap<&str, &str> = IndexMap::new();
    for text in &args.input {
        let (name, value) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("--input {text}: expected NAME=VALUE")))?;
        if !ports.iter().any(|port| port.name == name) {
            let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            return Err(Failure::usage(format!("there is no input {name}; the inputs are {}", known.join(", "))));
        }
        given.insert(name, value);
    }
    let arrays = match &args.input_npz {
        Some(path) => read(path)?,
        None => IndexMap::new(),
    };
    ports
        .iter()
        .enumerate()
        .map(|(position, port)| {
            let array = if let Some(value) = given.get(port.name.as_str()) {
                value_of(port, value)?
            } else if let Some(array) = arrays.get(&port.name).or_else(|| arrays.get(&format!("in{position}"))) {
                array.clone()
            } else if let Some(fill) = fill {
                value_of(port, fill)?
            } else {
                return Ok(None);
            };
            if array.ty.dtype != port.dtype || array.ty.shape != port.shape {
                let expected = TensorType::new(port.dtype, port.shape.clone());
                return Err(Failure::wrong(format!("input {} is {expected}, found {}", port.name, array.ty)));
            }
            Ok(Some(array))
        })
        .collect()
}

/// `zeros`, `random:SEED` (floats normal, integers 0 to 7, from the generator of seeded weights) or a file.
fn value_of(port: &InputPort, value: &str) -> Result<Array, Failure> {
    let ty = TensorType::new(port.dtype, port.shape.clone());
    if value == "zeros" {
        return Ok(Array { bytes: vec![0; ty.bytes()], ty });
    }
    if let Some(seed) = value.strip_prefix("random:") {
        let seed: u64 = seed.parse().map_err(|_| Failure::usage(format!("{seed:?} is not a seed")))?;
        let distribution = match port.dtype {
            dtype if dtype.is_float() => Distribution::Normal { mean: 0.0, std: 1.0 },
            DType::Bool => Distribution::Uniform { low: 0.0, high: 1.0 },
            _ => Distribution::Uniform { low: 0.0, high: 8.0 },
        };
        return Ok(Array { bytes: seeded::draw(distribution, seed, ty.dtype, ty.len()), ty });
    }
    let mut arrays = read(Path::new(value))?;
    match arrays.swap_remove("") {
        Some(array) => Ok(array),
        None => Err(Failure::usage(format!("{value} is not a .npy file; use --input-npz for an .npz"))),
    }
}

/// One tensor a run leaves behind, under the name it is written and compared by.
pub struct Named {
    pub key: String,
    pub array: Array,
}

/// Compares with the `out*` and `mut*` arrays of a file. The report has a line an array; the largest relative error
/// decides. Positions where both are NaN, or equal infinities, agree.
pub fn compare(results: &[Named], path: &Path, max_rel: f64) -> Result<String, Failure> {
    let expected = read(path)?;
    let mut lines = Vec::new();
    let mut failed = false;
    let mut compared = 0;
    for (key, want) in &expected {
        let counted = ["out", "mut"].iter().any(|prefix| {
            key.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        });
        if !counted {
            continue;
        }
        compared += 1;
        match results.iter().find(|result| &result.key == key) {
            None => {
                failed = true;
                lines.push(format!("{key}: the program has no such result"));
            }
            Some(result) if result.array.ty.shape != want.ty.shape => {
                failed = true;
                lines.push(format!("{key}: expected {}, found {}", want.ty, result.array.ty));
            }
            Some(result) => {
                let error = relative_error(&result.array, want);
                let bad = error.is_nan() || error > max_rel;
                failed |= bad;
                lines.push(format!("{key}: relative error {error:.2e}{}", if bad { " (too large)" } else { "" }));
            }
        }
    }
    if compared == 0 {
        return Err(Failure::usage(format!("{} holds no out* or mut* array", path.display())));
    }
    let text = lines.join("\n");
    if failed { Err(Failure::wrong(format!("results differ by more than {max_rel:e}\n{text}"))) } else { Ok(text) }
}

/// Largest absolute difference over the largest finite expected magnitude; NaN where only one side is NaN.
pub fn relative_error(found: &Array, expected: &Array) -> f64 {
    let (found, expected) = (found.to_f64(), expected.to_f64());
    let scale = expected.iter().filter(|x| x.is_finite()).fold(0.0f64, |scale, x| scale.max(x.abs()));
    let mut worst = 0.0f64;
    for (&a, &b) in found.iter().zip(&expected) {
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        let difference = (a - b).abs();
        if difference.is_nan() {
            return f64::NAN;
        }
        worst = worst.max(difference);
    }
    if worst == 0.0 { 0.0 } else { worst / (scale + 1e-30) }
}

/// Whether the program writes any input.
pub fn writes_inputs(ports: &[InputPort]) -> bool {
    ports.iter().any(|port| port.mode == InputMode::InOut)
}
