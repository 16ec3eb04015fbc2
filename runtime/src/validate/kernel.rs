//! Whether the operands of a kernel have the number, dtypes and shapes that its documentation names.
//!
//! One function for each family. Layouts are sound already (rank, extents and bounds), so that products of extents
//! cannot overflow. What depends on how weights are packed is left to `prepare`, which knows the packing.

use crate::executable::{Access, Write};
use crate::kernel::{Kernel, RecurrentFn, Window};
use crate::point::Program;
use crate::types::DType;

/// The most rows, columns, taps or padded positions along one axis of a window.
const MAX_EXTENT: usize = 1 << 31;

type Checked = Result<(), String>;

fn ensure(holds: bool, what: impl Into<String>) -> Checked {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// Whether `reads` and `writes` fit `kernel`.
pub(super) fn operands(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Checked {
    ensure(!writes.is_empty(), "it writes nothing")?;
    match kernel {
        Kernel::Map { program } => map(program, reads, writes),
        Kernel::Reduce { axes, prologue, epilogue, .. } => {
            let (domain, core) = prologue_of(prologue, reads)?;
            let reduced = reduced_shape(&domain, axes)?;
            finish(epilogue, core, &reads[prologue.inputs.len()..], one_write(writes)?, Some(&reduced))
        }
        Kernel::Row { prologue, epilogue, .. } => {
            let (domain, core) = prologue_of(prologue, reads)?;
            ensure(!domain.is_empty(), "its operands have no axis that could be the row")?;
            ensure(core.is_float(), format!("it is not defined on {core}"))?;
            finish(epilogue, core, &reads[prologue.inputs.len()..], one_write(writes)?, Some(&domain))
        }
        Kernel::MatMul { dtype, packed, epilogue } => {
            let out = one_write(writes)?;
            let [a, b, extra @ ..] = reads else { return Err("it reads two matrices".into()) };
            matmul(*dtype, *packed, a, b, &out.layout.shape)?;
            finish(epilogue, *dtype, extra, out, None)
        }
        Kernel::Conv { dtype, window, groups, packed, epilogue } => {
            let out = one_write(writes)?;
            let [x, weights, extra @ ..] = reads else { return Err("it reads an input and weights".into()) };
            ensure(x.dtype == *dtype && weights.dtype == *dtype, format!("its operands are not {dtype}"))?;
            conv(window, *groups, &x.layout.shape, (!packed).then_some(&weights.layout.shape), &out.layout.shape)?;
            finish(epilogue, *dtype, extra, out, None)
        }
        Kernel::ConvTranspose { dtype, window, groups, epilogue } => {
            let out = one_write(writes)?;
            let [x, weights, extra @ ..] = reads else { return Err("it reads an input and weights".into()) };
            ensure(x.dtype == *dtype && weights.dtype == *dtype, format!("its operands are not {dtype}"))?;
            conv_transpose(window, *groups, &x.layout.shape, &weights.layout.shape, &out.layout.shape)?;
            finish(epilogue, *dtype, extra, out, None)
        }
        Kernel::Pool { window, .. } => pool(window, reads, writes),
        Kernel::Gather { .. } | Kernel::GatherElements { .. } | Kernel::GatherNd { .. } => gather(kernel, reads, writes),
        Kernel::ScatterElements { .. } | Kernel::ScatterNd { .. } => scatter(kernel, reads, writes),
        Kernel::ArgReduce { axis, .. } => {
            let [x] = reads else { return Err("it reads one operand".into()) };
            let out = one_write(writes)?;
            let shape = reduced_shape(&x.layout.shape, &[*axis])?;
            ensure(x.layout.shape[*axis] > 0 || x.layout.is_empty() && shape.contains(&0), "the axis has no element")?;
            ensure(out.dtype == DType::I64, "it writes i64")?;
            same_shape(&out.layout.shape, &shape)
        }
        Kernel::TopK { axis, .. } => top_k(*axis, reads, writes),
        Kernel::Cumulative { axis, .. } => {
            let [x] = reads else { return Err("it reads one operand".into()) };
            let out = one_write(writes)?;
            ensure(*axis < x.layout.rank(), "its axis does not exist")?;
            ensure(x.dtype == out.dtype && x.dtype != DType::Bool, "its operand and result differ, or are bool")?;
            same_shape(&out.layout.shape, &x.layout.shape)
        }
        Kernel::Resize { axes, .. } => {
            let [x] = reads else { return Err("it reads one operand".into()) };
            let out = one_write(writes)?;
            ensure(x.dtype == out.dtype, "its operand and result differ in dtype")?;
            ensure(axes.len() == x.layout.rank() && axes.len() == out.layout.rank(), "it needs one entry an axis")?;
            ensure(!x.layout.is_empty() || out.layout.is_empty(), "it has nothing to read from")
        }
        Kernel::Recurrent { .. } => recurrent(kernel, reads, writes),
    }
}

fn one_write(writes: &[Write]) -> Result<&Access, String> {
    match writes {
        [write] => Ok(&write.access),
        _ => Err(format!("it has one result, found {}", writes.len())),
    }
}

fn same_shape(found: &[usize], expected: &[usize]) -> Checked {
    ensure(found == expected, format!("expected shape {expected:?}, found {found:?}"))
}

/// The operands agree with the inputs of `program`; gives the dtypes of all registers.
fn program_inputs(program: &Program, reads: &[Access]) -> Result<Vec<DType>, String> {
    let dtypes = program.dtypes()?;
    ensure(reads.len() == program.inputs.len(), format!("expected {} operands, found {}", program.inputs.len(), reads.len()))?;
    for (read, &expected) in reads.iter().zip(&program.inputs) {
        ensure(read.dtype == expected, format!("expected an operand of {expected}, found {}", read.dtype))?;
    }
    Ok(dtypes)
}

fn map(program: &Program, reads: &[Access], writes: &[Write]) -> Checked {
    let dtypes = program_inputs(program, reads)?;
    ensure(writes.len() == program.outputs.len(), "the number of results differs from its program's")?;
    let domain = &writes[0].access.layout.shape;
    for (write, &reg) in writes.iter().zip(&program.outputs) {
        ensure(write.access.dtype == dtypes[reg as usize], "a result's dtype differs from its program's")?;
        same_shape(&write.access.layout.shape, domain)?;
    }
    reads.iter().try_for_each(|read| same_shape(&read.layout.shape, domain))
}

/// Domain and result dtype of a prologue.
fn prologue_of(prologue: &Program, reads: &[Access]) -> Result<(Vec<usize>, DType), String> {
    let count = prologue.inputs.len();
    ensure(count >= 1 && reads.len() >= count, "it has too few operands")?;
    let dtypes = program_inputs(prologue, &reads[..count])?;
    let domain = reads[0].layout.shape.clone();
    reads[..count].iter().try_for_each(|read| same_shape(&read.layout.shape, &domain))?;
    match prologue.outputs[..] {
        [reg] => Ok((domain, dtypes[reg as usize])),
        _ => Err("its prologue has one result".into()),
    }
}

/// The epilogue fits the core's dtype, the extra operands and what is written.
fn finish(epilogue: &Program, core: DType, extra: &[Access], out: &Access, domain: Option<&[usize]>) -> Checked {
    let dtypes = epilogue.dtypes()?;
    ensure(epilogue.inputs.first() == Some(&core), format!("its epilogue does not begin with {core}"))?;
    ensure(extra.len() + 1 == epilogue.inputs.len(), "the number of operands differs from its epilogue's")?;
    if let Some(domain) = domain {
        same_shape(&out.layout.shape, domain)?;
    }
    for (read, &expected) in extra.iter().zip(&epilogue.inputs[1..]) {
        ensure(read.dtype == expected, format!("expected an operand of {expected}, found {}", read.dtype))?;
        same_shape(&read.layout.shape, &out.layout.shape)?;
    }
    match epilogue.outputs[..] {
        [reg] => ensure(dtypes[reg as usize] == out.dtype, "the result's dtype differs from its epilogue's"),
        _ => Err("its epilogue has one result".into()),
    }
}

fn reduced_shape(domain: &[usize], axes: &[usize]) -> Result<Vec<usize>, String> {
    ensure(axes.windows(2).all(|pair| pair[0] < pair[1]), "its axes do not ascend")?;
    ensure(axes.iter().all(|&axis| axis < domain.len()), "its axis does not exist")?;
    let mut shape = domain.to_vec();
    axes.iter().for_each(|&axis| shape[axis] = 1);
    Ok(shape)
}

fn matmul(dtype: DType, packed: bool, a: &Access, b: &Access, out: &[usize]) -> Checked {
    ensure(a.dtype == dtype && b.dtype == dtype, format!("its operands are not {dtype}"))?;
    ensure(dtype != DType::Bool, "it is not defined on bool")?;
    let (a, b) = (&a.layout.shape, &b.layout.shape);
    ensure(a.len() >= 2 && out.len() == a.len(), "its operands are not matrices of one rank")?;
    let batch = a.len() - 2;
    let (k, n) = (a[batch + 1], out[batch + 1]);
    ensure(a[..batch] == out[..batch] && a[batch] == out[batch], "rows or batch of operand and result differ")?;
    if packed {
        ensure(b.len() == batch + 3 && b[..batch] == out[..batch], "the packed operand has another batch")?;
        let panel = b[batch + 2];
        ensure(b[batch + 1] == k && panel > 0 && b[batch] == n.div_ceil(panel), "the packed operand has another extent")
    } else {
        ensure(b.len() == a.len() && b[..batch] == out[..batch], "the second operand has another batch")?;
        ensure(b[batch] == k && b[batch + 1] == n, "the second operand has another extent")
    }
}

/// The window has one entry for each of `spatial` axes, within bounds.
fn window_of(window: &Window, spatial: usize) -> Checked {
    let lists = [&window.kernel, &window.strides, &window.pads_begin, &window.pads_end, &window.dilations];
    ensure(lists.iter().all(|list| list.len() == spatial), "its window has not one entry an axis")?;
    ensure(lists.iter().all(|list| list.iter().all(|&n| n < MAX_EXTENT)), "its window is too large")?;
    let positive = [&window.kernel, &window.strides, &window.dilations];
    ensure(positive.iter().all(|list| list.iter().all(|&n| n > 0)), "its window holds a zero")?;
    let reach = window.kernel.iter().zip(&window.dilations).all(|(&kernel, &dilation)| {
        kernel.checked_mul(dilation).is_some_and(|reach| reach < MAX_EXTENT)
    });
    ensure(reach, "its window is too large")
}

/// Batch, channels and spatial extents of `shape`, all below the bound.
fn image(shape: &[usize], spatial: usize) -> Checked {
    ensure(shape.len() == spatial + 2, format!("expected {} axes, found {}", spatial + 2, shape.len()))?;
    ensure(shape.iter().all(|&extent| extent < MAX_EXTENT), "an extent is too large")
}

fn conv(window: &Window, groups: usize, x: &[usize], weights: Option<&Vec<usize>>, out: &[usize]) -> Checked {
    let spatial = window.kernel.len();
    window_of(window, spatial)?;
    image(x, spatial)?;
    image(out, spatial)?;
    ensure(groups > 0 && x[1].is_multiple_of(groups) && out[1].is_multiple_of(groups), "channels are no multiple of groups")?;
    ensure(x[0] == out[0], "operand and result differ in batch")?;
    if let Some(weights) = weights {
        let expected: Vec<usize> = [out[1], x[1] / groups].iter().chain(&window.kernel).copied().collect();
        same_shape(weights, &expected)?;
    }
    for axis in 0..spatial {
        let padded = x[axis + 2] + window.pads_begin[axis] + window.pads_end[axis];
        let reach = window.dilations[axis] * (window.kernel[axis] - 1) + 1;
        let expected = if padded < reach { 0 } else { (padded - reach) / window.strides[axis] + 1 };
        ensure(out[axis + 2] == expected, format!("expected spatial extent {expected}, found {}", out[axis + 2]))?;
    }
    Ok(())
}

fn conv_transpose(window: &Window, groups: usize, x: &[usize], weights: &[usize], out: &[usize]) -> Checked {
    let spatial = window.kernel.len();
    window_of(window, spatial)?;
    image(x, spatial)?;
    image(out, spatial)?;
    ensure(groups > 0 && x[1].is_multiple_of(groups) && out[1].is_multiple_of(groups), "channels are no multiple of groups")?;
    ensure(x[0] == out[0], "operand and result differ in batch")?;
    let expected: Vec<usize> = [x[1], out[1] / groups].iter().chain(&window.kernel).copied().collect();
    same_shape(weights, &expected)
}

fn pool(window: &Window, reads: &[Access], writes: &[Write]) -> Checked {
    let ([x], [values, positions @ ..]) = (reads, writes) else { return Err("it reads one operand".into()) };
    let (spatial, out) = (window.kernel.len(), &values.access);
    window_of(window, spatial)?;
    image(&x.layout.shape, spatial)?;
    image(&out.layout.shape, spatial)?;
    ensure(x.layout.shape[..2] == out.layout.shape[..2], "operand and result differ in batch or channels")?;
    ensure(x.dtype == out.dtype, "operand and result differ in dtype")?;
    for axis in 0..spatial {
        let padded = x.layout.shape[axis + 2] + window.pads_begin[axis] + window.pads_end[axis];
        let last = out.layout.shape[axis + 2].saturating_sub(1).checked_mul(window.strides[axis]);
        ensure(last.is_some_and(|last| last <= padded), "a window lies outside the padded operand")?;
    }
    match positions {
        [] => Ok(()),
        [positions] => {
            ensure(positions.access.dtype == DType::I64, "positions are i64")?;
            same_shape(&positions.access.layout.shape, &out.layout.shape)
        }
        _ => Err("it has at most two results".into()),
    }
}

fn is_index(dtype: DType) -> bool {
    matches!(dtype, DType::I32 | DType::I64)
}

fn gather(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Checked {
    let [data, indices] = reads else { return Err("it reads data and indices".into()) };
    let out = one_write(writes)?;
    ensure(is_index(indices.dtype), "indices are i32 or i64")?;
    ensure(data.dtype == out.dtype, "data and result differ in dtype")?;
    let (data, indices, out) = (&data.layout.shape, &indices.layout.shape, &out.layout.shape);
    match kernel {
        Kernel::Gather { axis } => {
            ensure(*axis < data.len(), "its axis does not exist")?;
            let expected: Vec<usize> = data[..*axis].iter().chain(indices).chain(&data[axis + 1..]).copied().collect();
            same_shape(out, &expected)
        }
        Kernel::GatherElements { axis } => {
            along_axis(data, indices, *axis)?;
            same_shape(out, indices)
        }
        Kernel::GatherNd { batch_dims } => {
            let batch = *batch_dims;
            ensure(batch < data.len() && batch < indices.len(), "it has too few axes for its batch")?;
            ensure(data[..batch] == indices[..batch], "data and indices differ in batch")?;
            let coordinates = indices[indices.len() - 1];
            ensure(coordinates >= 1 && coordinates <= data.len() - batch, "more coordinates than axes")?;
            let tail = &data[batch + coordinates..];
            let expected: Vec<usize> = indices[..indices.len() - 1].iter().chain(tail).copied().collect();
            same_shape(out, &expected)
        }
        _ => Err("it is no gather".into()),
    }
}

/// `indices` selects along `axis` of `data`, inside `data` along every other axis.
fn along_axis(data: &[usize], indices: &[usize], axis: usize) -> Checked {
    ensure(axis < data.len() && data.len() == indices.len(), "its axis does not exist, or ranks differ")?;
    let inside = data.iter().zip(indices).enumerate().all(|(at, (data, index))| at == axis || index <= data);
    ensure(inside, "indices reach outside the data")
}

fn scatter(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Checked {
    let [indices, updates] = reads else { return Err("it reads indices and updates".into()) };
    let out = one_write(writes)?;
    ensure(writes[0].base.is_some(), "it needs a base to write into")?;
    ensure(is_index(indices.dtype), "indices are i32 or i64")?;
    ensure(updates.dtype == out.dtype, "updates and result differ in dtype")?;
    let (indices, updates, out) = (&indices.layout.shape, &updates.layout.shape, &out.layout.shape);
    match kernel {
        Kernel::ScatterElements { axis, .. } => {
            along_axis(out, indices, *axis)?;
            same_shape(updates, indices)
        }
        _ => {
            let Some((&coordinates, outer)) = indices.split_last() else { return Err("indices have no axis".into()) };
            ensure(coordinates >= 1 && coordinates <= out.len(), "more coordinates than axes")?;
            let expected: Vec<usize> = outer.iter().chain(&out[coordinates..]).copied().collect();
            same_shape(updates, &expected)
        }
    }
}

fn top_k(axis: usize, reads: &[Access], writes: &[Write]) -> Checked {
    let ([x], [values, positions]) = (reads, writes) else {
        return Err("it reads one operand and writes values and positions".into());
    };
    let (values, positions) = (&values.access, &positions.access);
    let (from, to) = (&x.layout.shape, &values.layout.shape);
    ensure(axis < from.len() && from.len() == to.len(), "its axis does not exist, or ranks differ")?;
    ensure(values.dtype == x.dtype && positions.dtype == DType::I64, "values keep their dtype, positions are i64")?;
    ensure(to[axis] <= from[axis], "it selects more than there is")?;
    ensure(from.iter().zip(to).enumerate().all(|(at, (a, b))| at == axis || a == b), "another axis differs")?;
    same_shape(&positions.layout.shape, to)
}

fn recurrent(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Checked {
    let Kernel::Recurrent { function, hidden, reverse, packed, .. } = kernel else {
        return Err("it is no recurrent kernel".into());
    };
    let (hidden, directions, lstm) = (*hidden, reverse.len(), *function == RecurrentFn::Lstm);
    let gates = match function {
        RecurrentFn::Lstm => 4,
        RecurrentFn::Gru { .. } => 3,
        RecurrentFn::Rnn => 1,
    };
    ensure(reads.len() == if lstm { 8 } else { 6 }, "the number of operands is wrong")?;
    ensure(writes.len() == if lstm { 3 } else { 2 }, "the number of results is wrong")?;
    ensure((1..=2).contains(&directions), "it has one or two directions")?;
    ensure(hidden > 0 && hidden < MAX_EXTENT, "its hidden extent is out of range")?;
    let (lengths, floats) = reads.split_last().expect("there are six or eight operands");
    let dtype = reads[0].dtype;
    ensure(dtype.is_float() && floats.iter().all(|read| read.dtype == dtype), "its operands are not of one float")?;
    ensure(writes.iter().all(|write| write.access.dtype == dtype), "its results differ in dtype")?;
    ensure(lengths.dtype == DType::I32, "lengths are i32")?;
    let [seq, batch, input] = reads[0].layout.shape[..] else { return Err("x has three axes".into()) };
    let state = [directions, batch, hidden];
    if !packed {
        same_shape(&reads[1].layout.shape, &[directions, gates * hidden, input])?;
        same_shape(&reads[2].layout.shape, &[directions, gates * hidden, hidden])?;
    }
    same_shape(&reads[3].layout.shape, &[directions, 2 * gates * hidden])?;
    same_shape(&reads[4].layout.shape, &state)?;
    if lstm {
        same_shape(&reads[5].layout.shape, &state)?;
        same_shape(&reads[6].layout.shape, &[directions, 3 * hidden])?;
    }
    same_shape(&lengths.layout.shape, &[batch])?;
    same_shape(&writes[0].access.layout.shape, &[seq, directions, batch, hidden])?;
    writes[1..].iter().try_for_each(|write| same_shape(&write.access.layout.shape, &state))
}
