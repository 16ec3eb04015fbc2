//! Views: other indices of the same bytes. Every view op of the ATen schema has a row here.

use super::super::site::{CONTIGUOUS, Outputs, Site, Stop, Words, axes_of, axis_of, invalid, unsupported};
use super::{Row, view};
use crate::ir::ValueId;
use crate::ops::Op;

pub const ROWS: &[Row] = &[
    view("view.default _unsafe_view.default", "self size", |s| {
        let x = s.tensor("self")?;
        let shape = resolved(s, x, &s.ints("size")?)?;
        Ok(vec![s.one(Op::View { shape }, &[x])?])
    }),
    view("view.dtype", "self dtype", |s| {
        let x = s.tensor("self")?;
        match s.dtype_opt("dtype")? {
            Some(to) if to == s.dtype(x) => Ok(vec![x]),
            Some(to) => Ok(vec![s.one(Op::ViewDtype { to }, &[x])?]),
            None => invalid("argument dtype is None"),
        }
    }),
    view("view_as.default", "self other", |s| {
        let (x, other) = (s.tensor("self")?, s.tensor("other")?);
        let shape = s.shape(other);
        Ok(vec![s.one(Op::View { shape }, &[x])?])
    }),
    view("reshape.default _reshape_alias.default", "self shape|size stride=None", |s| {
        let x = s.tensor("self")?;
        let shape = resolved(s, x, &s.ints("shape")?)?;
        Ok(vec![s.reshape(x, &shape)?])
    }),
    view("reshape_as.default", "self other", |s| {
        let (x, other) = (s.tensor("self")?, s.tensor("other")?);
        let shape = s.shape(other);
        Ok(vec![s.reshape(x, &shape)?])
    }),
    view("ravel.default", "self", |s| {
        let x = s.tensor("self")?;
        // Row-major first: a vector with gaps could be seen in place, but is copied.
        let x = super::copy::in_format(s, x, CONTIGUOUS)?[0];
        let length = s.ty(x).len();
        Ok(vec![s.reshape(x, &[length])?])
    }),
    view("flatten.using_ints", "self start_dim=0 end_dim=-1", flatten),
    view("unflatten.int", "self dim sizes", |s| {
        let x = s.tensor("self")?;
        let axis = s.axis("dim", s.rank(x))?;
        let mut shape = s.shape(x);
        if shape.is_empty() {
            return invalid("a scalar has no axis to take apart");
        }
        let inner = resolve(&s.ints("sizes")?, shape[axis])?;
        shape.splice(axis..=axis, inner);
        Ok(vec![s.one(Op::View { shape }, &[x])?])
    }),
    view("permute.default", "self dims", |s| {
        let x = s.tensor("self")?;
        let axes = axes_of(&s.ints("dims")?, s.rank(x))?;
        Ok(vec![s.permute(x, &axes)?])
    }),
    view("transpose.int transpose.default", "self dim0 dim1", |s| swapped(s, "dim0", "dim1")),
    view("swapaxes.default", "self axis0 axis1", |s| swapped(s, "axis0", "axis1")),
    view("swapdims.default", "self dim0 dim1", |s| swapped(s, "dim0", "dim1")),
    view("t.default", "self", |s| {
        let x = s.tensor("self")?;
        if s.rank(x) > 2 { invalid("more than two axes") } else { Ok(vec![reversed(s, x)?]) }
    }),
    view("numpy_T.default matrix_H.default", "self", |s| {
        let x = s.tensor("self")?;
        Ok(vec![reversed(s, x)?])
    }),
    view("mT.default mH.default adjoint.default", "self", |s| {
        let x = s.tensor("self")?;
        Ok(vec![s.transposed(x)?])
    }),
    view("movedim.int moveaxis.int movedim.intlist moveaxis.intlist", "self source destination", moved),
    view("squeeze.default", "self", |s| {
        let x = s.tensor("self")?;
        let axes: Vec<usize> = (0..s.rank(x)).filter(|&axis| s.shape(x)[axis] == 1).collect();
        Ok(vec![s.squeeze(x, &axes)?])
    }),
    view("squeeze.dim squeeze.dims", "self dim", |s| {
        let x = s.tensor("self")?;
        let axes = axes_of(&s.ints("dim")?, s.rank(x).max(1))?;
        let shape = s.shape(x);
        let axes: Vec<usize> = axes.into_iter().filter(|&axis| shape.get(axis) == Some(&1)).collect();
        Ok(vec![s.squeeze(x, &axes)?])
    }),
    view("unsqueeze.default", "self dim", |s| {
        let x = s.tensor("self")?;
        let axis = axis_of(s.int("dim")?, s.rank(x) + 1)?;
        Ok(vec![s.unsqueeze(x, &[axis])?])
    }),
    view("expand.default", "self size implicit=False", |s| {
        let x = s.tensor("self")?;
        let shape = expanded(s, x, &s.ints("size")?)?;
        Ok(vec![s.expand(x, &shape)?])
    }),
    view("broadcast_to.default", "self size", |s| {
        let x = s.tensor("self")?;
        let shape = expanded(s, x, &s.ints("size")?)?;
        Ok(vec![s.expand(x, &shape)?])
    }),
    view("expand_as.default", "self other", |s| {
        let (x, other) = (s.tensor("self")?, s.tensor("other")?);
        let shape = s.shape(other);
        Ok(vec![s.expand(x, &shape)?])
    }),
    view("broadcast_tensors.default", "tensors", |s| {
        let tensors = s.tensors("tensors")?;
        let mut shape = Vec::new();
        for &tensor in &tensors {
            shape = crate::ops::shape::broadcast(&shape, &s.shape(tensor))?;
        }
        tensors.into_iter().map(|tensor| s.expand(tensor, &shape)).collect()
    }),
    view("meshgrid.default meshgrid.indexing", "tensors indexing='ij'", mesh),
    view("slice.Tensor", "self dim=0 start=None end=None step=1", |s| {
        let x = s.tensor("self")?;
        let axis = s.axis("dim", s.rank(x))?;
        let Some(&extent) = s.shape(x).get(axis) else { return invalid("a scalar has no slices") };
        let extent = extent as i64;
        let place = |value: i64| if value < 0 { value.saturating_add(extent) } else { value }.clamp(0, extent);
        let start = place(s.int_opt("start")?.unwrap_or(0));
        let end = place(s.int_opt("end")?.unwrap_or(extent)).max(start);
        let step = s.int("step")?;
        if step < 1 {
            return invalid(format!("a slice has a step of at least 1, found {step}"));
        }
        // A step beyond the axis leaves one element; a smaller one that does the same keeps strides within bounds.
        let step = if end - start <= 1 { 1 } else { step.min(extent) };
        Ok(vec![s.one(Op::Slice { axis, start, end, step }, &[x])?])
    }),
    view("select.int", "self dim index", |s| {
        let x = s.tensor("self")?;
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let index = axis_of(s.int("index")?, s.shape(x)[axis])?;
        Ok(vec![s.one(Op::Select { axis, index }, &[x])?])
    }),
    view("narrow.default", "self dim start length", |s| {
        let (x, length) = (s.tensor("self")?, s.int("length")?);
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let extent = s.shape(x)[axis] as i64;
        let start = s.int("start")?;
        let start = if start < 0 { start.saturating_add(extent) } else { start };
        match start.checked_add(length) {
            Some(end) if start >= 0 && length >= 0 && end <= extent => {
                Ok(vec![s.slice(x, axis, start as usize, end as usize)?])
            }
            _ => invalid(format!("{length} elements from {start} leave an axis of {extent}")),
        }
    }),
    view("split.Tensor unsafe_split.Tensor", "self split_size dim=0", |s| {
        let (x, size) = (s.tensor("self")?, s.int("split_size")?);
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let extent = s.shape(x)[axis];
        let Ok(size) = usize::try_from(size) else { return invalid(format!("parts of {size} elements")) };
        if size == 0 && extent > 0 {
            return invalid(format!("an axis of {extent} in parts of nothing"));
        }
        let parts = if size == 0 { 1 } else { extent.div_ceil(size).max(1) };
        split(s, x, axis, (0..parts).map(|part| size.min(extent - part * size)).collect())
    }),
    view(
        "split_with_sizes.default split.sizes split.default unsafe_split_with_sizes.default",
        "self split_sizes|split_size dim=0",
        |s| {
            let x = s.tensor("self")?;
            let axis = axis_of(s.int("dim")?, s.rank(x))?;
            split(s, x, axis, s.sizes("split_sizes")?)
        },
    ),
    view("chunk.default unsafe_chunk.default", "self chunks dim=0", |s| {
        let (x, chunks) = (s.tensor("self")?, s.int("chunks")?);
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let extent = s.shape(x)[axis];
        let Some(chunks) = usize::try_from(chunks).ok().filter(|&chunks| chunks > 0) else {
            return invalid(format!("{chunks} parts"));
        };
        if extent == 0 {
            if chunks > 4096 {
                return unsupported(format!("{chunks} parts"));
            }
            return split(s, x, axis, vec![0; chunks]);
        }
        let size = extent.div_ceil(chunks);
        split(s, x, axis, (0..extent.div_ceil(size)).map(|part| size.min(extent - part * size)).collect())
    }),
    view("tensor_split.sections", "self sections dim=0", |s| {
        let (x, sections) = (s.tensor("self")?, s.int("sections")?);
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        in_sections(s, x, axis, sections)
    }),
    view("tensor_split.indices", "self indices dim=0", |s| {
        let (x, indices) = (s.tensor("self")?, s.ints("indices")?);
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        at_indices(s, x, axis, &indices)
    }),
    view("hsplit.int hsplit.array", "self sections|indices", |s| {
        let x = s.tensor("self")?;
        let axis = usize::from(s.rank(x) > 1);
        stack_split(s, x, axis)
    }),
    view("vsplit.int vsplit.array", "self sections|indices", |s| {
        let x = s.tensor("self")?;
        stack_split(s, x, 0)
    }),
    view("dsplit.int dsplit.array", "self sections|indices", |s| {
        let x = s.tensor("self")?;
        stack_split(s, x, 2)
    }),
    view("unbind.int", "self dim=0", |s| {
        let x = s.tensor("self")?;
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        let extent = s.shape(x)[axis];
        if extent > 1 << 16 {
            return unsupported(format!("{extent} tensors of one"));
        }
        (0..extent).map(|index| s.one(Op::Select { axis, index }, &[x])).collect()
    }),
    view("unfold.default", "self dimension size step", |s| {
        let mut x = s.tensor("self")?;
        let sizes = super::super::site::non_negative(&[s.int("size")?, s.int("step")?], "a window")?;
        if s.rank(x) == 0 {
            // A scalar has one window, without an axis that counts it.
            x = s.unsqueeze(x, &[0])?;
            return Ok(vec![s.slice(x, 0, 0, sizes[0])?]);
        }
        let axis = s.axis("dimension", s.rank(x))?;
        Ok(vec![s.one(Op::Unfold { axis, size: sizes[0], step: sizes[1] }, &[x])?])
    }),
    view("diagonal.default linalg_diagonal.default", "self|A offset=0 dim1=0 dim2=1", |s| {
        let x = s.tensor("self")?;
        let axes = axes_of(&[s.int("dim1")?, s.int("dim2")?], s.rank(x))?;
        Ok(vec![s.one(Op::Diagonal { offset: s.int("offset")?, axis1: axes[0], axis2: axes[1] }, &[x])?])
    }),
    view("as_strided.default", "self size stride storage_offset=None", |s| {
        let x = s.tensor("self")?;
        let (shape, strides) = (s.sizes("size")?, s.sizes("stride")?);
        let offset =
            s.int_opt("storage_offset")?.map(|offset| super::super::site::non_negative(&[offset], "an offset"));
        let offset = offset.transpose()?.map(|offset| offset[0]);
        Ok(vec![s.one(Op::AsStrided { shape, strides, offset }, &[x])?])
    }),
    view("atleast_1d.default", "self", |s| at_least(s, 1)),
    view("atleast_2d.default", "self", |s| at_least(s, 2)),
    view("atleast_3d.default", "self", |s| at_least(s, 3)),
    // Of real tensors these are the tensor itself.
    view(
        "alias.default detach.default lift_fresh.default lift.default real.default conj.default _conj.default \
         resolve_conj.default resolve_neg.default positive.default requires_grad.default",
        "self",
        |s| Ok(vec![s.tensor("self")?]),
    ),
];

fn split(s: &mut Site, x: ValueId, axis: usize, sizes: Vec<usize>) -> Outputs {
    match sizes.as_slice() {
        [_] => Ok(vec![x]),
        _ if sizes.len() > 4096 => unsupported(format!("{} parts", sizes.len())),
        _ => s.apply(Op::Split { axis, sizes }, &[x]),
    }
}

/// A shape in which one extent may be -1.
fn resolved(s: &Site, x: ValueId, shape: &[i64]) -> Result<Vec<usize>, Stop> {
    resolve(shape, s.ty(x).len())
}

fn resolve(shape: &[i64], elements: usize) -> Result<Vec<usize>, Stop> {
    let open = shape.iter().filter(|&&extent| extent == -1).count();
    let known = shape.iter().filter(|&&extent| extent != -1).try_fold(1usize, |product, &extent| {
        usize::try_from(extent).ok().and_then(|extent| product.checked_mul(extent))
    });
    let Some(known) = known else { return invalid(format!("the shape {shape:?}")) };
    let inferred = match open {
        0 => 0,
        1 if known > 0 && elements.is_multiple_of(known) => elements / known,
        _ => return invalid(format!("the shape {shape:?} for {elements} elements")),
    };
    Ok(shape.iter().map(|&extent| if extent == -1 { inferred } else { extent as usize }).collect())
}

fn flatten(s: &mut Site) -> Outputs {
    let x = s.tensor("self")?;
    let rank = s.rank(x);
    let (start, end) = (s.axis("start_dim", rank)?, s.axis("end_dim", rank)?);
    let mut shape = s.shape(x);
    if rank == 0 {
        return Ok(vec![s.reshape(x, &[1])?]);
    }
    if start > end {
        return invalid(format!("axes {start} to {end}"));
    }
    let joined: usize = shape[start..=end].iter().product();
    shape.splice(start..=end, [joined]);
    Ok(vec![s.reshape(x, &shape)?])
}

fn swapped(s: &mut Site, first: &str, second: &str) -> Outputs {
    let x = s.tensor("self")?;
    let rank = s.rank(x);
    let (a, b) = (s.axis(first, rank)?, s.axis(second, rank)?);
    let mut axes: Vec<usize> = (0..rank).collect();
    if rank > 0 {
        axes.swap(a, b);
    }
    Ok(vec![s.permute(x, &axes)?])
}

fn reversed(s: &mut Site, x: ValueId) -> Result<ValueId, Stop> {
    let axes: Vec<usize> = (0..s.rank(x)).rev().collect();
    s.permute(x, &axes)
}

fn moved(s: &mut Site) -> Outputs {
    let x = s.tensor("self")?;
    let rank = s.rank(x);
    let (from, to) = (axes_of(&s.ints("source")?, rank)?, axes_of(&s.ints("destination")?, rank)?);
    if from.len() != to.len() {
        return invalid(format!("{} axes are moved to {} places", from.len(), to.len()));
    }
    let mut rest = (0..rank).filter(|axis| !from.contains(axis));
    let axes = (0..rank).map(|place| match to.iter().position(|&at| at == place) {
        Some(at) => from[at],
        None => rest.next().unwrap_or_default(),
    });
    let axes: Vec<usize> = axes.collect();
    Ok(vec![s.permute(x, &axes)?])
}

fn expanded(s: &Site, x: ValueId, size: &[i64]) -> Result<Vec<usize>, Stop> {
    let shape = s.shape(x);
    let Some(new) = size.len().checked_sub(shape.len()) else {
        return invalid(format!("{} axes expanded to {}", shape.len(), size.len()));
    };
    let extents = size.iter().enumerate().map(|(axis, &extent)| match (extent, axis.checked_sub(new)) {
        (-1, Some(own)) => Ok(shape[own]),
        (extent, _) => usize::try_from(extent).or_else(|_| invalid(format!("an extent of {extent}"))),
    });
    extents.collect()
}

fn mesh(s: &mut Site) -> Outputs {
    let mut tensors = s.tensors("tensors")?;
    let turned = match s.text("indexing")? {
        "ij" => false,
        "xy" => tensors.len() >= 2,
        other => return invalid(format!("argument indexing is {other:?}, expected ij or xy")),
    };
    if turned {
        tensors.swap(0, 1);
    }
    let shape: Vec<usize> = tensors.iter().map(|&tensor| s.ty(tensor).len()).collect();
    let mut grids = Vec::with_capacity(tensors.len());
    for (axis, &tensor) in tensors.iter().enumerate() {
        let mut along = vec![1; shape.len()];
        along[axis] = shape[axis];
        let column = s.one(Op::View { shape: along }, &[tensor])?;
        grids.push(s.expand(column, &shape)?);
    }
    if turned {
        grids.swap(0, 1);
    }
    Ok(grids)
}

fn stack_split(s: &mut Site, x: ValueId, axis: usize) -> Outputs {
    if axis >= s.rank(x) {
        return invalid(format!("there is no axis {axis}"));
    }
    match s.int("sections") {
        Ok(sections) => in_sections(s, x, axis, sections),
        Err(_) => at_indices(s, x, axis, &s.ints("sections")?),
    }
}

/// As even as can be, the first parts one longer.
fn in_sections(s: &mut Site, x: ValueId, axis: usize, sections: i64) -> Outputs {
    let Some(sections) = usize::try_from(sections).ok().filter(|&sections| (1..=4096).contains(&sections)) else {
        return invalid(format!("{sections} parts"));
    };
    let extent = s.shape(x)[axis];
    let sizes = (0..sections).map(|part| extent / sections + usize::from(part < extent % sections)).collect();
    split(s, x, axis, sizes)
}

fn at_indices(s: &mut Site, x: ValueId, axis: usize, indices: &[i64]) -> Outputs {
    let extent = s.shape(x)[axis] as i64;
    let place = |value: i64| if value < 0 { value.saturating_add(extent) } else { value }.clamp(0, extent);
    let mut start = 0;
    let mut parts = Vec::with_capacity(indices.len() + 1);
    for end in indices.iter().map(|&index| place(index)).chain([extent]) {
        parts.push(s.slice(x, axis, start as usize, end.max(start) as usize)?);
        start = end;
    }
    Ok(parts)
}

fn at_least(s: &mut Site, wanted: usize) -> Outputs {
    let mut x = s.tensor("self")?;
    while s.rank(x) < wanted {
        // A third axis goes behind, all others before.
        let place = if s.rank(x) == 2 { 2 } else { 0 };
        x = s.unsqueeze(x, &[place])?;
    }
    Ok(vec![x])
}
