//! Shape rules that rows share. Each returns the result types, or a sentence: what was found, what was expected.

use situ_runtime::kernel::{RecurrentFn, ReduceFn, ResizeAxis, Window};
use situ_runtime::point::{PointFn, Typing};

use super::Inferred;
use crate::types::{DType, Layout, TensorType, elements};

pub fn arity_message(name: &str, (least, most): (usize, usize), found: usize) -> String {
    let expected = if least == most { format!("{least}") } else { format!("{least} to {most}") };
    format!("{name} takes {expected} operands, found {found}")
}

fn axis_in(x: &TensorType, axis: usize) -> Result<(), String> {
    if axis < x.rank() { Ok(()) } else { Err(format!("axis {axis} is not an axis of {x}")) }
}

fn distinct_axes(axes: &[usize], rank: usize) -> Result<(), String> {
    let mut seen = vec![false; rank];
    for &axis in axes {
        match seen.get_mut(axis) {
            None => return Err(format!("axis {axis} is out of range for rank {rank}")),
            Some(true) => return Err(format!("axis {axis} is named twice")),
            Some(free) => *free = true,
        }
    }
    Ok(())
}

fn one_dtype(x: &[TensorType]) -> Result<DType, String> {
    match x.windows(2).find(|pair| pair[0].dtype != pair[1].dtype) {
        Some(pair) => Err(format!("operands must have one dtype, found {} and {}", pair[0], pair[1])),
        None => Ok(x[0].dtype),
    }
}

/// The shape two shapes broadcast to, from the right, as in numpy.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (m, n) if m == n => Ok(m),
            (1, n) => Ok(n),
            (m, 1) => Ok(m),
            _ => Err(format!("shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

pub fn point(function: PointFn, x: &[TensorType]) -> Inferred {
    let dtypes: Vec<DType> = x.iter().map(|x| x.dtype).collect();
    let dtype = function.result_dtype(&dtypes)?;
    debug_assert!(x.is_empty() || function.row().typing != Typing::Cast || x.len() == 1);
    let mut shape = Vec::new();
    for operand in x {
        shape = broadcast(&shape, &operand.shape)?;
    }
    Ok(vec![TensorType { dtype, shape }])
}

pub fn reshaped(x: &TensorType, shape: &[usize]) -> Inferred {
    match elements(shape) {
        Some(n) if n == x.len() => Ok(vec![TensorType::new(x.dtype, shape)]),
        _ => Err(format!("{x} has {} elements and cannot take the shape {shape:?}", x.len())),
    }
}

pub fn permuted(x: &TensorType, axes: &[usize]) -> Inferred {
    if axes.len() != x.rank() {
        return Err(format!("a permutation of {x} names {} axes, found {}", x.rank(), axes.len()));
    }
    distinct_axes(axes, x.rank())?;
    Ok(vec![TensorType::new(x.dtype, axes.iter().map(|&axis| x.shape[axis]).collect::<Vec<_>>())])
}

/// Number of elements of `start, start + step, ...` before `end` on an axis of `extent`.
pub fn slice_len(extent: usize, start: i64, end: i64, step: i64) -> Result<usize, String> {
    let extent = extent as i64;
    // A step over the whole axis is as good as any larger one; a bound keeps products of strides and steps in range.
    if step == 0 || step.unsigned_abs() > 1024 * extent.max(1) as u64 {
        return Err(format!("a slice of an axis of {extent} does not step by {step}"));
    }
    let len = if step > 0 {
        if start < 0 || start > extent || end < 0 || end > extent {
            return Err(format!("slice {start}..{end} leaves an axis of {extent}"));
        }
        if end <= start { 0 } else { (end - start - 1) / step + 1 }
    } else {
        if start >= extent || end < -1 || (start < 0 && extent > 0) {
            return Err(format!("slice {start}..{end} leaves an axis of {extent}"));
        }
        if end >= start { 0 } else { (start - end - 1) / -step + 1 }
    };
    if len > 0 && !(0..extent).contains(&start) {
        return Err(format!("slice {start}..{end} leaves an axis of {extent}"));
    }
    Ok(len as usize)
}

pub fn sliced(x: &TensorType, axis: usize, start: i64, end: i64, step: i64) -> Inferred {
    axis_in(x, axis)?;
    let mut shape = x.shape.clone();
    shape[axis] = slice_len(x.shape[axis], start, end, step)?;
    Ok(vec![TensorType::new(x.dtype, shape)])
}

pub fn selected(x: &TensorType, axis: usize, index: usize) -> Inferred {
    axis_in(x, axis)?;
    if index >= x.shape[axis] {
        return Err(format!("index {index} is outside axis {axis} of {x}"));
    }
    let mut shape = x.shape.clone();
    shape.remove(axis);
    Ok(vec![TensorType::new(x.dtype, shape)])
}

pub fn expanded(x: &TensorType, shape: &[usize]) -> Inferred {
    if shape.len() < x.rank() || broadcast(&x.shape, shape)? != shape {
        return Err(format!("{x} does not expand to {shape:?}"));
    }
    Ok(vec![TensorType::new(x.dtype, shape)])
}

pub fn squeezed(x: &TensorType, axes: &[usize]) -> Inferred {
    distinct_axes(axes, x.rank())?;
    if let Some(axis) = axes.iter().find(|&&axis| x.shape[axis] != 1) {
        return Err(format!("axis {axis} of {x} is not 1"));
    }
    let shape: Vec<usize> = (0..x.rank()).filter(|axis| !axes.contains(axis)).map(|axis| x.shape[axis]).collect();
    Ok(vec![TensorType::new(x.dtype, shape)])
}

pub fn unsqueezed(x: &TensorType, axes: &[usize]) -> Inferred {
    let rank = x.rank() + axes.len();
    distinct_axes(axes, rank)?;
    let mut rest = x.shape.iter();
    let shape: Vec<usize> =
        (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { rest.next().copied().unwrap_or(1) }).collect();
    Ok(vec![TensorType::new(x.dtype, shape)])
}

pub fn split(x: &TensorType, axis: usize, sizes: &[usize]) -> Inferred {
    axis_in(x, axis)?;
    let total = sizes.iter().try_fold(0usize, |sum, &size| sum.checked_add(size));
    if total != Some(x.shape[axis]) || sizes.is_empty() || sizes.len() > 4096 {
        return Err(format!("sizes {sizes:?} do not add up to axis {axis} of {x}"));
    }
    Ok(sizes
        .iter()
        .map(|&size| {
            let mut shape = x.shape.clone();
            shape[axis] = size;
            TensorType::new(x.dtype, shape)
        })
        .collect())
}

pub fn unfolded(x: &TensorType, axis: usize, size: usize, step: usize) -> Inferred {
    axis_in(x, axis)?;
    if step == 0 || size > x.shape[axis] {
        return Err(format!("axis {axis} of {x} has no windows of {size} every {step}"));
    }
    let mut shape = x.shape.clone();
    shape[axis] = (x.shape[axis] - size) / step + 1;
    shape.push(size);
    Ok(vec![TensorType::new(x.dtype, shape)])
}

/// Number of elements `(i, i + offset)` of a matrix; `(i - offset, i)` where the offset is negative.
pub fn diagonal_len(rows: usize, columns: usize, offset: i64) -> usize {
    let by = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    if offset >= 0 { rows.min(columns.saturating_sub(by)) } else { columns.min(rows.saturating_sub(by)) }
}

pub fn diagonal(x: &TensorType, offset: i64, axis1: usize, axis2: usize) -> Inferred {
    distinct_axes(&[axis1, axis2], x.rank())?;
    let kept = (0..x.rank()).filter(|&axis| axis != axis1 && axis != axis2).map(|axis| x.shape[axis]);
    let shape: Vec<usize> = kept.chain([diagonal_len(x.shape[axis1], x.shape[axis2], offset)]).collect();
    Ok(vec![TensorType::new(x.dtype, shape)])
}

/// The region of `shape` and `strides`, with numbers in bounds.
fn strided_region(shape: &[usize], strides: &[i64], offset: usize) -> Result<Layout, String> {
    if shape.len() != strides.len() {
        return Err(format!("the shape {shape:?} and the strides {strides:?} differ in length"));
    }
    let most = crate::types::MAX_ELEMENTS;
    let offset = i64::try_from(offset).ok().filter(|&offset| offset <= most as i64);
    let offset = offset.ok_or("the offset is beyond 2^40 elements")?;
    if elements(shape).is_none() || strides.iter().any(|stride| stride.unsigned_abs() > most as u64) {
        return Err(format!("the shape {shape:?} with strides {strides:?} is beyond 2^40 elements"));
    }
    Ok(Layout { offset, shape: shape.to_vec(), strides: strides.to_vec() })
}

/// That the storage is large enough depends on where the operand lies; the verifier asks it.
pub fn seen_strided(x: &TensorType, shape: &[usize], strides: &[usize], offset: Option<usize>) -> Inferred {
    let signed: Result<Vec<i64>, _> = strides.iter().map(|&stride| i64::try_from(stride)).collect();
    let signed = signed.map_err(|_| format!("the strides {strides:?} are beyond 2^40 elements"))?;
    strided_region(shape, &signed, offset.unwrap_or(0))?;
    Ok(vec![TensorType::new(x.dtype, shape)])
}

pub fn strided(x: &TensorType, shape: &[usize], strides: &[i64], offset: usize) -> Inferred {
    let region = strided_region(shape, strides, offset)?;
    let inside = region.hull().is_some_and(|(low, high)| low >= 0 && high <= x.len() as i64);
    if !region.is_empty() && !inside {
        return Err(format!(
            "shape {shape:?} with strides {strides:?} from {offset} leaves the {} elements of {x}",
            x.len()
        ));
    }
    Ok(vec![TensorType::new(x.dtype, shape)])
}

/// PyTorch's `view(dtype)`: the last axis has the same bytes. A byte that is neither 0 nor 1 is no `bool`.
pub fn reinterpreted(x: &TensorType, to: DType) -> Inferred {
    let (from_size, to_size) = (x.dtype.size(), to.size());
    if to == DType::Bool && x.dtype != DType::Bool {
        return Err(format!("{x} cannot be seen as bool, whose bytes are 0 or 1: compare it with `ne`"));
    }
    let mut shape = x.shape.clone();
    if from_size != to_size {
        let last = shape.last_mut().ok_or_else(|| format!("a scalar {} does not have the bytes of {to}", x.dtype))?;
        let bytes = last.checked_mul(from_size).ok_or("the last axis is too long")?;
        if !bytes.is_multiple_of(to_size) {
            return Err(format!("the last axis of {x} has {bytes} bytes, which are no whole number of {to}"));
        }
        *last = bytes / to_size;
    }
    Ok(vec![TensorType::new(to, shape)])
}

pub fn copied(destination: &TensorType, source: &TensorType) -> Inferred {
    if destination.dtype != source.dtype || broadcast(&source.shape, &destination.shape)? != destination.shape {
        return Err(format!("{source} cannot be copied into {destination}"));
    }
    Ok(vec![destination.clone()])
}

pub fn updated(base: &TensorType, value: &TensorType, offset: usize, strides: &[i64]) -> Inferred {
    one_dtype(&[base.clone(), value.clone()])?;
    if strides.len() != value.rank() {
        return Err(format!("an update by {value} names {} strides, found {}", value.rank(), strides.len()));
    }
    let offset = i64::try_from(offset).map_err(|_| "an offset beyond 2^63")?;
    let region = Layout { offset, shape: value.shape.clone(), strides: strides.to_vec() };
    if !region.is_empty() {
        match region.hull() {
            Some((low, high)) if low >= 0 && high <= base.len() as i64 => {}
            _ => return Err(format!("the updated region leaves {base}")),
        }
    }
    if !region.is_injective() {
        return Err("the updated region maps two indices to one element".into());
    }
    Ok(vec![base.clone()])
}

pub fn concatenated(x: &[TensorType], axis: usize) -> Inferred {
    let dtype = one_dtype(x)?;
    axis_in(&x[0], axis)?;
    let mut shape = x[0].shape.clone();
    shape[axis] = 0;
    for operand in x {
        let same =
            operand.rank() == shape.len() && (0..shape.len()).all(|a| a == axis || operand.shape[a] == x[0].shape[a]);
        if !same {
            return Err(format!("{} and {operand} differ outside axis {axis}", x[0]));
        }
        shape[axis] = shape[axis].checked_add(operand.shape[axis]).ok_or("the concatenation is too long")?;
    }
    Ok(vec![TensorType::new(dtype, shape)])
}

pub fn padded(x: &[TensorType], before: &[usize], after: &[usize]) -> Inferred {
    let dtype = one_dtype(x)?;
    if x[1].rank() != 0 || before.len() != x[0].rank() || after.len() != x[0].rank() {
        return Err(format!("pad of {} takes a scalar and two lists of {} extents", x[0], x[0].rank()));
    }
    let shape: Option<Vec<usize>> =
        (0..x[0].rank()).map(|axis| x[0].shape[axis].checked_add(before[axis])?.checked_add(after[axis])).collect();
    Ok(vec![TensorType::new(dtype, shape.ok_or("the padded tensor is too large")?)])
}

fn index_dtype(x: &TensorType) -> Result<(), String> {
    if matches!(x.dtype, DType::I32 | DType::I64) { Ok(()) } else { Err(format!("indices are i32 or i64, found {x}")) }
}

pub fn gathered(x: &[TensorType], axis: usize) -> Inferred {
    axis_in(&x[0], axis)?;
    index_dtype(&x[1])?;
    let shape = [&x[0].shape[..axis], &x[1].shape, &x[0].shape[axis + 1..]].concat();
    if x[0].shape[axis] == 0 && elements(&shape) != Some(0) {
        return Err(format!("nothing can be gathered from axis {axis} of {}", x[0]));
    }
    Ok(vec![TensorType::new(x[0].dtype, shape)])
}

pub fn gathered_elements(x: &[TensorType], axis: usize) -> Inferred {
    axis_in(&x[0], axis)?;
    index_dtype(&x[1])?;
    let fits = x[0].rank() == x[1].rank() && (0..x[0].rank()).all(|a| a == axis || x[1].shape[a] <= x[0].shape[a]);
    if !fits {
        return Err(format!("indices {} do not fit {}", x[1], x[0]));
    }
    Ok(vec![TensorType::new(x[0].dtype, x[1].shape.clone())])
}

pub fn gathered_nd(x: &[TensorType], batch_dims: usize) -> Inferred {
    index_dtype(&x[1])?;
    let depth = *x[1].shape.last().ok_or("indices have at least one axis")?;
    let batch_fits =
        batch_dims < x[1].rank() && batch_dims <= x[0].rank() && x[0].shape[..batch_dims] == x[1].shape[..batch_dims];
    if !batch_fits || depth + batch_dims > x[0].rank() {
        return Err(format!("indices {} do not fit {} with {batch_dims} batch axes", x[1], x[0]));
    }
    let shape = [&x[1].shape[..x[1].rank() - 1], &x[0].shape[batch_dims + depth..]].concat();
    Ok(vec![TensorType::new(x[0].dtype, shape)])
}

pub fn scattered_elements(x: &[TensorType], axis: usize) -> Inferred {
    axis_in(&x[0], axis)?;
    index_dtype(&x[1])?;
    one_dtype(&[x[0].clone(), x[2].clone()])?;
    let fits = x[0].rank() == x[1].rank()
        && x[1].shape == x[2].shape
        && (0..x[0].rank()).all(|a| a == axis || x[1].shape[a] <= x[0].shape[a]);
    if !fits {
        return Err(format!("indices {} and updates {} do not fit {}", x[1], x[2], x[0]));
    }
    Ok(vec![x[0].clone()])
}

pub fn scattered_nd(x: &[TensorType]) -> Inferred {
    index_dtype(&x[1])?;
    one_dtype(&[x[0].clone(), x[2].clone()])?;
    let depth = *x[1].shape.last().ok_or("indices have at least one axis")?;
    if depth > x[0].rank() || x[2].shape != [&x[1].shape[..x[1].rank() - 1], &x[0].shape[depth..]].concat() {
        return Err(format!("indices {} and updates {} do not fit {}", x[1], x[2], x[0]));
    }
    Ok(vec![x[0].clone()])
}

/// Places on `axes` of a value of type `x`.
fn places(x: &TensorType, axes: &[usize], places: &[TensorType]) -> Result<(), String> {
    distinct_axes(axes, x.rank())?;
    if places.len() != axes.len() {
        return Err(format!("{} axes take as many places, found {}", axes.len(), places.len()));
    }
    match places.iter().find(|place| **place != super::control::index_type()) {
        Some(place) => Err(format!("a place is {}, found {place}", super::control::index_type())),
        None => Ok(()),
    }
}

pub fn dynamic_sliced(x: &[TensorType], axes: &[usize], sizes: &[usize]) -> Inferred {
    places(&x[0], axes, &x[1..])?;
    if sizes.len() != axes.len() {
        return Err(format!("{} axes have as many sizes, found {}", axes.len(), sizes.len()));
    }
    let mut shape = x[0].shape.clone();
    for (&axis, &size) in axes.iter().zip(sizes) {
        if size > shape[axis] {
            return Err(format!("a block of {size} elements is longer than axis {axis} of {}", x[0]));
        }
        shape[axis] = size;
    }
    Ok(vec![TensorType::new(x[0].dtype, shape)])
}

pub fn dynamic_updated(x: &[TensorType], axes: &[usize]) -> Inferred {
    places(&x[0], axes, &x[2..])?;
    one_dtype(&x[..2])?;
    let fits = |(axis, (&extent, &size)): (usize, (&usize, &usize))| {
        if axes.contains(&axis) { size <= extent } else { size == extent }
    };
    if x[0].rank() != x[1].rank() || !x[0].shape.iter().zip(&x[1].shape).enumerate().all(fits) {
        return Err(format!("a block {} does not fit {} on axes {axes:?}", x[1], x[0]));
    }
    Ok(vec![x[0].clone()])
}

/// `shape` with `axes` of extent 1 (`keepdim`) or without them.
fn without_axes(shape: &[usize], axes: &[usize], keepdim: bool) -> Vec<usize> {
    (0..shape.len())
        .filter(|axis| keepdim || !axes.contains(axis))
        .map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] })
        .collect()
}

pub fn reduced(function: ReduceFn, x: &TensorType, axes: &[usize], keepdim: bool) -> Inferred {
    distinct_axes(axes, x.rank())?;
    let empty = axes.iter().any(|&axis| x.shape[axis] == 0);
    if empty && matches!(function, ReduceFn::Max | ReduceFn::Min) && x.dtype == DType::Bool {
        return Err(format!("{} of no element of {x}", function.name()));
    }
    if x.dtype == DType::Bool && !matches!(function, ReduceFn::Max | ReduceFn::Min) {
        return Err(format!("{} is not defined on bool", function.name()));
    }
    Ok(vec![TensorType::new(x.dtype, without_axes(&x.shape, axes, keepdim))])
}

pub fn arg_reduced(x: &TensorType, axis: usize, keepdim: bool) -> Inferred {
    axis_in(x, axis)?;
    if x.shape[axis] == 0 {
        return Err(format!("axis {axis} of {x} has no element"));
    }
    Ok(vec![TensorType::new(DType::I64, without_axes(&x.shape, &[axis], keepdim))])
}

pub fn accumulated(x: &TensorType, axis: usize) -> Inferred {
    axis_in(x, axis)?;
    if x.dtype == DType::Bool {
        return Err("a running sum or product is not defined on bool".into());
    }
    Ok(vec![x.clone()])
}

pub fn top_k(x: &TensorType, k: usize, axis: usize) -> Inferred {
    axis_in(x, axis)?;
    if k > x.shape[axis] {
        return Err(format!("axis {axis} of {x} has fewer than {k} elements"));
    }
    let mut shape = x.shape.clone();
    shape[axis] = k;
    Ok(vec![TensorType::new(x.dtype, shape.clone()), TensorType::new(DType::I64, shape)])
}

fn float(x: &TensorType) -> Result<(), String> {
    if x.dtype.is_float() { Ok(()) } else { Err(format!("expected a float tensor, found {x}")) }
}

/// A float row function along one axis.
pub fn along(x: &TensorType, axis: usize) -> Inferred {
    axis_in(x, axis)?;
    float(x)?;
    Ok(vec![x.clone()])
}

pub fn normalised(x: &[TensorType], axis: usize) -> Inferred {
    axis_in(&x[0], axis)?;
    float(&x[0])?;
    one_dtype(x)?;
    for operand in &x[1..] {
        if operand.rank() > x[0].rank() - axis || broadcast(&operand.shape, &x[0].shape)? != x[0].shape {
            return Err(format!("{operand} does not broadcast over the normalised axes of {}", x[0]));
        }
    }
    Ok(vec![x[0].clone()])
}

fn channels(x: &TensorType) -> Result<usize, String> {
    if x.rank() < 2 { Err(format!("expected [n, c, ..], found {x}")) } else { Ok(x.shape[1]) }
}

pub fn batch_normalised(x: &[TensorType]) -> Inferred {
    let c = channels(&x[0])?;
    float(&x[0])?;
    one_dtype(x)?;
    match x[1..].iter().find(|operand| operand.shape != [c]) {
        Some(operand) => Err(format!("expected [{c}] for each channel of {}, found {operand}", x[0])),
        None => Ok(vec![x[0].clone()]),
    }
}

pub fn group_normalised(x: &[TensorType], groups: usize) -> Inferred {
    let c = channels(&x[0])?;
    float(&x[0])?;
    one_dtype(x)?;
    if groups == 0 || c % groups != 0 || x[1].shape != [c] || x[2].shape != [c] {
        return Err(format!("{groups} groups with scale {} and bias {} do not fit {}", x[1], x[2], x[0]));
    }
    Ok(vec![x[0].clone()])
}

pub fn multiplied(a: &TensorType, b: &TensorType) -> Inferred {
    one_dtype(&[a.clone(), b.clone()])?;
    let mismatch = || format!("{a} and {b} do not multiply");
    if a.rank() == 0 || b.rank() == 0 || a.dtype == DType::Bool {
        return Err(mismatch());
    }
    let (a_batch, m, k) = match a.shape.as_slice() {
        [k] => (&a.shape[..0], None, *k),
        [batch @ .., m, k] => (batch, Some(*m), *k),
        [] => return Err(mismatch()),
    };
    let (b_batch, l, n) = match b.shape.as_slice() {
        [k] => (&b.shape[..0], *k, None),
        [batch @ .., k, n] => (batch, *k, Some(*n)),
        [] => return Err(mismatch()),
    };
    if k != l {
        return Err(mismatch());
    }
    let mut shape = broadcast(a_batch, b_batch).map_err(|_| mismatch())?;
    shape.extend(m);
    shape.extend(n);
    Ok(vec![TensorType::new(a.dtype, shape)])
}

pub fn linear(x: &[TensorType]) -> Inferred {
    one_dtype(x)?;
    let (Some(&k), [out, inner]) = (x[0].shape.last(), x[1].shape.as_slice()) else {
        return Err(format!("linear takes [.., in] and [out, in], found {} and {}", x[0], x[1]));
    };
    if *inner != k || x.get(2).is_some_and(|bias| bias.shape != [*out]) || x[0].dtype == DType::Bool {
        return Err(format!("linear takes [.., in], [out, in] and [out], found {x:?}"));
    }
    let mut shape = x[0].shape.clone();
    shape.pop();
    shape.push(*out);
    Ok(vec![TensorType::new(x[0].dtype, shape)])
}

/// How far a window may move at once, and how far it may reach.
const MAX_STRIDE: usize = 1 << 23;
const MAX_REACH: usize = 1 << 27;

/// Number of positions of a window on one axis.
pub fn window_positions(extent: usize, window: &Window, axis: usize) -> Result<usize, String> {
    let message = || format!("a window {window:?} does not fit an axis of {extent}");
    let (kernel, dilation, stride) = (window.kernel[axis], window.dilations[axis], window.strides[axis]);
    if kernel == 0 || dilation == 0 || stride == 0 {
        return Err(message());
    }
    let reach = (kernel - 1).checked_mul(dilation).and_then(|n| n.checked_add(1)).ok_or_else(message)?;
    let padded = extent
        .checked_add(window.pads_begin[axis])
        .and_then(|n| n.checked_add(window.pads_end[axis]))
        .ok_or_else(message)?;
    // Kernels lay a line of windows out in scratch memory.
    if padded > crate::types::MAX_ELEMENTS || stride > MAX_STRIDE || reach > MAX_REACH {
        return Err(message());
    }
    Ok((padded.checked_sub(reach).ok_or_else(message)?) / stride + 1)
}

fn window_axes(window: &Window, axes: usize) -> Result<(), String> {
    let lists = [&window.kernel, &window.strides, &window.pads_begin, &window.pads_end, &window.dilations];
    if axes > 0 && lists.iter().all(|list| list.len() == axes) {
        Ok(())
    } else {
        Err(format!("expected {axes} entries for each of kernel, strides, pads and dilations"))
    }
}

pub fn pooled(x: &TensorType, window: &Window) -> Result<TensorType, String> {
    channels(x)?;
    window_axes(window, x.rank() - 2)?;
    if x.dtype == DType::Bool {
        return Err("a pool is not defined on bool".into());
    }
    let mut shape = x.shape[..2].to_vec();
    for axis in 0..x.rank() - 2 {
        shape.push(window_positions(x.shape[axis + 2], window, axis)?);
    }
    Ok(TensorType::new(x.dtype, shape))
}

fn bias_of(x: &[TensorType], oc: usize) -> Result<(), String> {
    match x.get(2) {
        Some(bias) if bias.shape != [oc] => Err(format!("expected a bias [{oc}], found {bias}")),
        _ => Ok(()),
    }
}

pub fn convolved(
    x: &[TensorType],
    strides: &[usize],
    pads_begin: &[usize],
    pads_end: &[usize],
    dilations: &[usize],
    groups: usize,
) -> Inferred {
    let dtype = one_dtype(x)?;
    let c = channels(&x[0])?;
    let (oc, per_group) = match x[1].shape.as_slice() {
        [oc, per_group, ..] if x[1].rank() == x[0].rank() => (*oc, *per_group),
        _ => return Err(format!("{} is not a convolution weight for {}", x[1], x[0])),
    };
    if groups == 0 || per_group.checked_mul(groups) != Some(c) || oc % groups != 0 || dtype == DType::Bool {
        return Err(format!("{} with {groups} groups is not a convolution weight for {}", x[1], x[0]));
    }
    bias_of(x, oc)?;
    let window = Window {
        kernel: x[1].shape[2..].to_vec(),
        strides: strides.to_vec(),
        pads_begin: pads_begin.to_vec(),
        pads_end: pads_end.to_vec(),
        dilations: dilations.to_vec(),
    };
    window_axes(&window, x[0].rank() - 2)?;
    let mut shape = vec![x[0].shape[0], oc];
    for axis in 0..x[0].rank() - 2 {
        shape.push(window_positions(x[0].shape[axis + 2], &window, axis)?);
    }
    Ok(vec![TensorType::new(dtype, shape)])
}

pub fn convolved_transposed(
    x: &[TensorType],
    strides: &[usize],
    pads_begin: &[usize],
    pads_end: &[usize],
    dilations: &[usize],
    output_padding: &[usize],
    groups: usize,
) -> Inferred {
    let dtype = one_dtype(x)?;
    let c = channels(&x[0])?;
    let per_group = match x[1].shape.as_slice() {
        [wc, per_group, ..] if x[1].rank() == x[0].rank() && *wc == c => *per_group,
        _ => return Err(format!("{} is not a transposed convolution weight for {}", x[1], x[0])),
    };
    let oc = per_group.checked_mul(groups).filter(|_| groups > 0 && c % groups == 0 && dtype != DType::Bool);
    let oc = oc.ok_or_else(|| format!("{groups} groups do not fit {} and {}", x[0], x[1]))?;
    bias_of(x, oc)?;
    let spatial = x[0].rank() - 2;
    let lists = [strides, pads_begin, pads_end, dilations, output_padding];
    if spatial == 0 || lists.iter().any(|list| list.len() != spatial) {
        return Err(format!("expected {spatial} entries for each of strides, pads, dilations and output padding"));
    }
    let mut shape = vec![x[0].shape[0], oc];
    for axis in 0..spatial {
        let (extent, kernel) = (x[0].shape[axis + 2], x[1].shape[axis + 2]);
        let size = (|| {
            let steps = extent.checked_sub(1)?.checked_mul(strides[axis])?;
            let reach = kernel.checked_sub(1)?.checked_mul(dilations[axis])?.checked_add(1)?;
            let full = steps.checked_add(reach)?.checked_add(output_padding[axis])?;
            full.checked_sub(pads_begin[axis])?.checked_sub(pads_end[axis])
        })();
        match size {
            Some(size) if strides[axis] > 0 && dilations[axis] > 0 => shape.push(size),
            _ => return Err(format!("the window of axis {} does not fit {}", axis + 2, x[0])),
        }
    }
    Ok(vec![TensorType::new(dtype, shape)])
}

pub fn resized(x: &TensorType, shape: &[usize], axes: &[ResizeAxis]) -> Inferred {
    if shape.len() != x.rank() || axes.len() != x.rank() || x.dtype == DType::Bool {
        return Err(format!("a resize of {x} names {} extents and axes", x.rank()));
    }
    if x.is_empty() && elements(shape) != Some(0) {
        return Err(format!("{x} has no element to interpolate"));
    }
    let finite = |axis: &ResizeAxis| {
        [axis.offset, axis.numerator, axis.denominator, axis.shift, axis.support]
            .iter()
            .all(|&bits| f64::from_bits(bits).is_finite())
    };
    if !axes.iter().all(finite) {
        return Err("a resize has finite coordinates".into());
    }
    Ok(vec![TensorType::new(x.dtype, shape)])
}

pub fn recurrent(x: &[TensorType], function: RecurrentFn, hidden: usize, reverse: &[bool]) -> Inferred {
    float(&x[0])?;
    let gates = match function {
        RecurrentFn::Lstm => 4,
        RecurrentFn::Gru { .. } => 3,
        RecurrentFn::Rnn => 1,
    };
    let lstm = function == RecurrentFn::Lstm;
    let dirs = reverse.len();
    let [seq, batch, input] = x[0].shape.as_slice() else {
        return Err(format!("expected a sequence [seq, batch, input], found {}", x[0]));
    };
    let wide = gates_times(gates, hidden).ok_or("the hidden size is too large")?;
    let twice = wide.checked_mul(2).ok_or("the hidden size is too large")?;
    let mut expected =
        vec![vec![dirs, wide, *input], vec![dirs, wide, hidden], vec![dirs, twice], vec![dirs, *batch, hidden]];
    if lstm {
        expected.push(vec![dirs, *batch, hidden]);
        expected.push(vec![dirs, 3 * hidden]);
    }
    if x.len() != expected.len() + 2 || dirs == 0 || dirs > 2 {
        return Err(format!(
            "expected {} operands and 1 or 2 directions, found {} and {dirs}",
            expected.len() + 2,
            x.len()
        ));
    }
    one_dtype(&x[..x.len() - 1])?;
    for (operand, shape) in x[1..].iter().zip(&expected) {
        if operand.shape != *shape {
            return Err(format!("expected shape {shape:?}, found {operand}"));
        }
    }
    let lengths = &x[x.len() - 1];
    if lengths.dtype != DType::I32 || lengths.shape != [*batch] {
        return Err(format!("expected lengths i32[{batch}], found {lengths}"));
    }
    let dtype = x[0].dtype;
    let mut results = vec![
        TensorType::new(dtype, vec![*seq, dirs, *batch, hidden]),
        TensorType::new(dtype, vec![dirs, *batch, hidden]),
    ];
    if lstm {
        results.push(TensorType::new(dtype, vec![dirs, *batch, hidden]));
    }
    Ok(results)
}

fn gates_times(gates: usize, hidden: usize) -> Option<usize> {
    gates.checked_mul(hidden)
}

pub fn declared(results: &[DType], shapes: &[Vec<usize>]) -> Inferred {
    if results.len() != shapes.len() {
        return Err("a kernel declares one shape a result".into());
    }
    Ok(results.iter().zip(shapes).map(|(&dtype, shape)| TensorType::new(dtype, shape.clone())).collect())
}

/// An axis of `rank` written as in Python: negative counts from the end.
pub fn normalised_axis(axis: i64, rank: usize) -> Result<usize, String> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match from_start.map(usize::try_from) {
        Some(Ok(found)) if found < rank => Ok(found),
        _ => Err(format!("axis {axis} is out of range for rank {rank}")),
    }
}
