//! State that comes with a program, from one run to the next: `--state-in`, `--state-out`.
//!
//! A file of state holds an array for each input that has initial state, under the input's name, and one for each named
//! part of it under the part's name. Reading takes them in that order, so that a part counts where it differs from the
//! whole; what a file does not hold is as it is in the program.

use std::cell::RefCell;
use std::path::Path;

use situ::npz::{self, Array};
use situ::source::closest;
use situ::types::TensorType;
use situ_runtime::executable::{InputPort, StateView};
use situ_runtime::file;
use situ_runtime::types::Layout;

use super::failure::Failure;
use super::values::Named;

/// What a result's key begins with that is state.
pub const PREFIX: &str = "state:";

/// Whether an input is the program's own state, so that callers need not give it.
pub fn is_state(port: &InputPort) -> bool {
    port.initial.is_some()
}

/// The type of a named part.
fn type_of(port: &InputPort, view: &StateView) -> TensorType {
    TensorType::new(port.dtype, view.layout.shape.clone())
}

/// What each input holds before a run, as far as the program and a file say; `weights` are the program's.
pub fn before(ports: &[InputPort], weights: &[u8], file: Option<&Path>) -> Result<Vec<Option<Array>>, Failure> {
    let mut arrays = match file {
        Some(path) => read(ports, path)?,
        None => indexmap::IndexMap::new(),
    };
    let mut before = Vec::with_capacity(ports.len());
    for port in ports {
        let ty = TensorType::new(port.dtype, port.shape.clone());
        let Some(initial) = port.initial_bytes(weights) else {
            before.push(None);
            continue;
        };
        let mut take = |name: &str, ty: &TensorType| match arrays.swap_remove(name) {
            Some(array) if array.ty != *ty => {
                Err(Failure::wrong(format!("--state-in: {name} is {ty}, found {}", array.ty)))
            }
            other => Ok(other),
        };
        let mut state = match take(&port.name, &ty)? {
            Some(array) => array,
            None => Array { ty, bytes: initial.to_vec() },
        };
        for view in &port.views {
            if let Some(part) = take(&view.name, &type_of(port, view))? {
                scatter(&mut state.bytes, &view.layout, port.dtype.size(), &part.bytes);
            }
        }
        before.push(Some(state));
    }
    Ok(before)
}

/// The arrays of a file of state, by name.
fn read(ports: &[InputPort], path: &Path) -> Result<indexmap::IndexMap<String, Array>, Failure> {
    let stated = || ports.iter().filter(|port| is_state(port));
    let known: Vec<&str> = stated()
        .flat_map(|port| std::iter::once(port.name.as_str()).chain(port.views.iter().map(|view| view.name.as_str())))
        .collect();
    if known.is_empty() {
        return Err(Failure::usage("--state-in: the program comes with no state"));
    }
    let foreign = RefCell::new(None);
    let arrays = npz::read(path, |key| {
        let is_known = known.contains(&key);
        if !is_known {
            foreign.borrow_mut().get_or_insert_with(|| key.to_string());
        }
        is_known
    })
    .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))?;
    if arrays.contains_key("") {
        return Err(Failure::usage(format!("--state-in: {} is not an .npz file", path.display())));
    }
    match foreign.into_inner() {
        None => Ok(arrays),
        Some(key) => {
            let hint = match closest(&key, known.iter().copied()) {
                Some(close) => format!("; did you mean {close}?"),
                None => String::new(),
            };
            let known = known.join(", ");
            Err(Failure::usage(format!("--state-in: the program has no state {key}; it has {known}{hint}")))
        }
    }
}

/// What the state of an input and its named parts are after a run.
pub fn after(port: &InputPort, bytes: &[u8]) -> Result<Vec<Named>, Failure> {
    let ty = TensorType::new(port.dtype, port.shape.clone());
    let mut named = vec![Named { key: format!("{PREFIX}{}", port.name), array: Array { ty, bytes: bytes.to_vec() } }];
    for view in &port.views {
        let ty = type_of(port, view);
        let part = gather(bytes, &view.layout, port.dtype.size(), ty.bytes()).ok_or_else(|| {
            Failure::budget(format!("state {} has {} bytes; this machine has no room for them", view.name, ty.bytes()))
        })?;
        named.push(Named { key: format!("{PREFIX}{}", view.name), array: Array { ty, bytes: part } });
    }
    Ok(named)
}

/// Writes the state among the results of a run, whole or not at all.
pub fn write(results: &[Named], path: &Path) -> Result<(), Failure> {
    let state = || results.iter().filter_map(|named| Some((named.key.strip_prefix(PREFIX)?.to_string(), &named.array)));
    file::replace(path, |file| npz::write_npz(file, state()).map_err(std::io::Error::other))
        .map_err(|error| Failure::wrong(format!("{}: {error}", path.display())))
}

/// The first elements of the rows of a layout, in row-major order; the runtime has seen to it that they lie inside.
fn rows(layout: &Layout) -> impl Iterator<Item = i64> + '_ {
    let axes = layout.shape.len().saturating_sub(1);
    let mut index = vec![0usize; axes];
    let mut next = (!layout.is_empty()).then_some(layout.offset);
    std::iter::from_fn(move || {
        let row = next?;
        let mut at = row;
        next = None;
        for axis in (0..axes).rev() {
            index[axis] += 1;
            at += layout.strides[axis];
            if index[axis] < layout.shape[axis] {
                next = Some(at);
                break;
            }
            at -= layout.strides[axis] * index[axis] as i64;
            index[axis] = 0;
        }
        Some(row)
    })
}

/// Each element of a layout, in row-major order, as the byte it begins at.
fn elements(layout: &Layout, size: usize) -> impl Iterator<Item = usize> + '_ {
    let (count, stride) = match (layout.shape.last(), layout.strides.last()) {
        (Some(&count), Some(&stride)) => (count as i64, stride),
        _ => (1, 0),
    };
    rows(layout).flat_map(move |row| (0..count).map(move |at| (row + at * stride) as usize * size))
}

/// The elements of a layout, dense; `None` when there is no room for so many.
fn gather(bytes: &[u8], layout: &Layout, size: usize, length: usize) -> Option<Vec<u8>> {
    let mut dense = Vec::new();
    dense.try_reserve_exact(length).ok()?;
    elements(layout, size).for_each(|at| dense.extend_from_slice(&bytes[at..at + size]));
    Some(dense)
}

/// Writes dense elements to where a layout has them; of two for one place the later counts.
fn scatter(bytes: &mut [u8], layout: &Layout, size: usize, dense: &[u8]) {
    for (at, element) in elements(layout, size).zip(dense.chunks_exact(size)) {
        bytes[at..at + size].copy_from_slice(element);
    }
}
