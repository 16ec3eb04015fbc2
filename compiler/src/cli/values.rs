//! Values of inputs from the command line, and comparison of outputs.

use std::path::Path;

use indexmap::IndexMap;
use situ::ir::Distribution;
use situ::npz::{self, Array};
use situ::seeded;
use situ::types::TensorType;
use situ_runtime::executable::InputPort;
use situ_runtime::types::DType;

use super::args::InputArgs;
use super::failure::Failure;
use super::state::{self, is_state};

fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<IndexMap<String, Array>, Failure> {
    npz::read(path, wanted).map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))
}

/// A value for every input, in order. `before` is the state that is known without being given; `fill` is used for inputs
/// nothing is said about.
pub fn inputs(
    args: &InputArgs,
    ports: &[InputPort],
    before: Vec<Option<Array>>,
    fill: Option<&str>,
) -> Result<Vec<Array>, Failure> {
    let given = given(args, ports, before, fill)?;
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

/// The value of each input that is given one, or has one before.
pub fn given(
    args: &InputArgs,
    ports: &[InputPort],
    before: Vec<Option<Array>>,
    fill: Option<&str>,
) -> Result<Vec<Option<Array>>, Failure> {
    let mut given: IndexMap<&str, &str> = IndexMap::new();
    for text in &args.input {
        // A name may hold `=`: the longest that is an input counts.
        let splits = text.match_indices('=').map(|(at, _)| (&text[..at], &text[at + 1..]));
        let known = splits.clone().rev().find(|(name, _)| ports.iter().any(|port| port.name == *name));
        let (name, value) = known
            .or_else(|| splits.clone().next())
            .ok_or_else(|| Failure::usage(format!("--input {text}: expected NAME=VALUE")))?;
        if known.is_none() {
            let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            return Err(Failure::usage(format!("there is no input {name}; the inputs are {}", known.join(", "))));
        }
        if given.insert(name, value).is_some() {
            return Err(Failure::usage(format!("input {name} is given twice")));
        }
    }
    let arrays = match &args.input_npz {
        Some(path) => {
            let positions: Vec<String> = (0..ports.len()).map(|position| format!("in{position}")).collect();
            let known = |key: &str| positions.iter().any(|at| at == key) || ports.iter().any(|port| port.name == key);
            read(path, known)?
        }
        None => IndexMap::new(),
    };
    let mut caller = 0..;
    ports
        .iter()
        .zip(before)
        .map(|(port, before)| {
            // The caller's inputs are numbered, the program's state is not.
            let position = if is_state(port) { None } else { caller.next() };
            let numbered = || arrays.get(&format!("in{}", position?));
            // State with a name such as `in0` leaves that array to the caller's input.
            let named =
                |port: &InputPort| arrays.get(&port.name).filter(|_| !(is_state(port) && is_position(&port.name)));
            let array = if let Some(value) = given.get(port.name.as_str()) {
                value_of(port, value)?
            } else if let Some(array) = named(port).or_else(numbered) {
                array.clone()
            } else if let Some(before) = before {
                before
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

/// Whether a name is that of a position: `in0`.
fn is_position(name: &str) -> bool {
    name.strip_prefix("in").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `zeros`, `random:SEED` (floats normal, integers 0 to 7, from the generator of seeded weights) or a file.
fn value_of(port: &InputPort, value: &str) -> Result<Array, Failure> {
    let ty = TensorType::new(port.dtype, port.shape.clone());
    if value == "zeros" {
        return Ok(Array {
            bytes: room_for(port, ty.bytes()).map(|mut room| {
                room.resize(ty.bytes(), 0);
                room
            })?,
            ty,
        });
    }
    if let Some(seed) = value.strip_prefix("random:") {
        let seed: u64 = seed.parse().map_err(|_| Failure::usage(format!("{seed:?} is not a seed")))?;
        let distribution = match port.dtype {
            dtype if dtype.is_float() => Distribution::Normal { mean: 0.0, std: 1.0 },
            DType::Bool => Distribution::Uniform { low: 0.0, high: 1.0 },
            _ => Distribution::Uniform { low: 0.0, high: 8.0 },
        };
        room_for(port, ty.bytes())?;
        return Ok(Array { bytes: seeded::draw(distribution, seed, ty.dtype, ty.len()), ty });
    }
    let mut arrays = read(Path::new(value), |_| true)?;
    match arrays.swap_remove("") {
        Some(array) => Ok(array),
        None => Err(Failure::usage(format!("{value} is not a .npy file; use --input-npz for an .npz"))),
    }
}

/// An empty vector with room for the value of an input, or why there is none.
fn room_for(port: &InputPort, bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut room = Vec::new();
    match room.try_reserve_exact(bytes) {
        Ok(()) => Ok(room),
        Err(_) => {
            Err(Failure::budget(format!("input {} has {bytes} bytes; this machine has no room for them", port.name)))
        }
    }
}

/// One tensor a run leaves behind, under the name it is written and compared by.
pub struct Named {
    pub key: String,
    pub array: Array,
}

/// Whether an array of a file is the expectation of a result: `out0`, `mut3`, `state:cache`.
fn is_result(key: &str) -> bool {
    let digits = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    key.starts_with(state::PREFIX) || ["out", "mut"].iter().any(|prefix| key.strip_prefix(prefix).is_some_and(digits))
}

/// Compares with the `out*`, `mut*` and `state:*` arrays of a file. The report has a line an array; the largest relative error
/// decides. Positions where both are NaN, or equal infinities, agree.
pub fn compare(results: &[Named], path: &Path, max_rel: f64) -> Result<String, Failure> {
    let expected = read(path, is_result)?;
    let mut lines = Vec::new();
    let mut failed = false;
    let mut compared = 0;
    for (key, want) in &expected {
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
        return Err(Failure::usage(format!("{} holds no out*, mut* or state:* array", path.display())));
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
