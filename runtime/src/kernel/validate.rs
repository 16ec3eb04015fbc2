//! Whether the accesses of a step fit its kernel: dtypes, shapes and numbers that a file may get wrong.
//!
//! What passes here can be run without a panic: programs are well formed, shapes agree, every layout's positions and
//! every window's coordinates fit an `i64`. That positions lie inside the places the plan gives is the checker's part.

use crate::executable::{Access, Write};
use crate::kernel::{Kernel, PoolFn, RecurrentFn, ReduceFn, ResizeAxis, ResizeFn, ScatterFn, Window, control};
use crate::point::Program;
use crate::types::{DType, Layout, MAX_ELEMENTS, MAX_RANK, elements};

type Check = Result<(), String>;

/// Fails with the message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if $condition {
        } else {
            return Err(format!($($message)*));
        }
    };
}

/// Checks a step's accesses against its kernel. The message is one clause without the kernel's name.
pub fn validate(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Check {
    for access in reads {
        layout(&access.layout, access.dtype)?;
    }
    for write in writes {
        layout(&write.access.layout, write.access.dtype)?;
        ensure!(write.access.layout.is_injective(), "a written layout may name an element twice");
    }
    match kernel {
        Kernel::Map { program } => map(program, reads, writes),
        Kernel::Reduce { function, axes, prologue, epilogue } => {
            reduce(*function, axes, prologue, epilogue, reads, writes)
        }
        Kernel::Row { prologue, epilogue, .. } => {
            let (core, extra) = body(prologue, reads)?;
            ensure!(core.is_float(), "a row function is not defined on {core}");
            let domain = &reads[0].layout.shape;
            ensure!(!domain.is_empty(), "a row function needs an axis");
            ensure!(one(writes)?.layout.shape == *domain, "the result's shape is not the domain");
            finish(epilogue, core, extra, writes)
        }
        Kernel::MatMul { dtype, packed, epilogue } => matmul(*dtype, *packed, epilogue, reads, writes),
        Kernel::Conv { dtype, window, groups, packed, epilogue } => {
            conv(*dtype, window, *groups, false, *packed, epilogue, reads, writes)
        }
        Kernel::ConvTranspose { dtype, window, groups, epilogue } => {
            conv(*dtype, window, *groups, true, false, epilogue, reads, writes)
        }
        Kernel::Pool { function, window, .. } => pool(*function, window, reads, writes),
        Kernel::Gather { axis } => gather(*axis, reads, writes),
        Kernel::GatherElements { axis } => gather_elements(*axis, reads, writes),
        Kernel::GatherNd { batch_dims } => gather_nd(*batch_dims, reads, writes),
        Kernel::ScatterElements { axis, function } => scatter_elements(*axis, *function, reads, writes),
        Kernel::ScatterNd { function } => scatter_nd(*function, reads, writes),
        Kernel::DynamicSlice { axes } => {
            let out = one(writes)?;
            let x = reads.first().ok_or("takes an operand")?;
            block(axes, x, out, &reads[1..])
        }
        Kernel::DynamicUpdate { axes } => {
            let out = one(writes)?;
            let x = reads.first().ok_or("takes an operand")?;
            block(axes, out, x, &reads[1..])
        }
        Kernel::ArgReduce { axis, .. } => {
            let ([x], out) = (operands(reads)?, one(writes)?);
            let extent = *x.layout.shape.get(*axis).ok_or("the axis does not exist")?;
            ensure!(out.dtype == DType::I64, "positions are i64, found {}", out.dtype);
            same_but(&x.layout.shape, &out.layout.shape, *axis, 1)?;
            ensure!(extent > 0 || out.layout.is_empty(), "an empty axis has no extreme");
            Ok(())
        }
        Kernel::TopK { axis, .. } => top_k(*axis, reads, writes),
        Kernel::Cumulative { axis, .. } => {
            let ([x], out) = (operands(reads)?, one(writes)?);
            ensure!(*axis < x.layout.rank(), "the axis does not exist");
            ensure!(x.dtype == out.dtype && x.dtype != DType::Bool, "not defined from {} to {}", x.dtype, out.dtype);
            ensure!(x.layout.shape == out.layout.shape, "operand and result differ in shape");
            Ok(())
        }
        Kernel::Resize { function, axes, .. } => resize(*function, axes, reads, writes),
        Kernel::Recurrent { .. } => recurrent(kernel, reads, writes),
        Kernel::If { .. } | Kernel::Loop { .. } => control::validate(kernel, reads, writes),
    }
}

/// Rank, extents and positions of a layout are in bounds, even when some extent is zero.
fn layout(layout: &Layout, dtype: DType) -> Check {
    ensure!(layout.rank() <= MAX_RANK, "{} axes are more than {MAX_RANK}", layout.rank());
    ensure!(layout.strides.len() == layout.rank(), "a layout has one stride an axis");
    let product = layout.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent.max(1)));
    ensure!(product.is_some_and(|n| n <= MAX_ELEMENTS), "a shape has too many elements");
    if layout.is_empty() {
        return Ok(());
    }
    let (low, high) = layout.hull().ok_or("the positions of a layout overflow")?;
    ensure!(low >= 0 && high <= i64::MAX / dtype.size() as i64, "a layout leaves its storage");
    Ok(())
}

fn operands<const N: usize>(reads: &[Access]) -> Result<[&Access; N], String> {
    let found = reads.len();
    let operands: Vec<&Access> = reads.iter().collect();
    operands.try_into().map_err(|_| format!("takes {N} operands, found {found}"))
}

fn one(writes: &[Write]) -> Result<&Access, String> {
    match writes {
        [write] => Ok(&write.access),
        _ => Err(format!("writes one result, found {}", writes.len())),
    }
}

fn same_but(shape: &[usize], other: &[usize], axis: usize, extent: usize) -> Check {
    let fits = shape.len() == other.len()
        && shape.iter().zip(other).enumerate().all(|(i, (&a, &b))| if i == axis { b == extent } else { a == b });
    ensure!(fits, "shapes {shape:?} and {other:?} do not agree");
    Ok(())
}

/// The program is well formed and has one result, of the returned dtype.
fn result_dtype(program: &Program) -> Result<DType, String> {
    let dtypes = program.dtypes()?;
    match program.outputs[..] {
        [reg] => Ok(dtypes[reg as usize]),
        _ => Err(format!("a program of one result is needed, found {}", program.outputs.len())),
    }
}

/// Checks a prologue over the first reads; gives the core's dtype and the remaining reads.
fn body<'r>(prologue: &Program, reads: &'r [Access]) -> Result<(DType, &'r [Access]), String> {
    let core = result_dtype(prologue)?;
    let inputs = prologue.inputs.len();
    ensure!(inputs >= 1 && inputs <= reads.len(), "a prologue has an operand for each input and at least one");
    let (own, extra) = reads.split_at(inputs);
    for (access, &dtype) in own.iter().zip(&prologue.inputs) {
        ensure!(access.dtype == dtype, "a prologue expects {dtype}, found {}", access.dtype);
        ensure!(access.layout.shape == own[0].layout.shape, "operands of a prologue differ in shape");
    }
    Ok((core, extra))
}

/// Checks an epilogue over a core result of dtype `core` and the extra operands.
fn finish(epilogue: &Program, core: DType, extra: &[Access], writes: &[Write]) -> Check {
    let out = one(writes)?;
    let result = result_dtype(epilogue)?;
    ensure!(result == out.dtype, "the epilogue gives {result}, the result is {}", out.dtype);
    ensure!(epilogue.inputs.len() == extra.len() + 1, "an epilogue has an operand for each input but the first");
    ensure!(epilogue.inputs[0] == core, "the epilogue expects {}, the core gives {core}", epilogue.inputs[0]);
    for (access, &dtype) in extra.iter().zip(&epilogue.inputs[1..]) {
        ensure!(access.dtype == dtype, "an epilogue expects {dtype}, found {}", access.dtype);
        ensure!(access.layout.shape == out.layout.shape, "an operand of the epilogue differs in shape");
    }
    Ok(())
}

fn map(program: &Program, reads: &[Access], writes: &[Write]) -> Check {
    let dtypes = program.dtypes()?;
    ensure!(!writes.is_empty() && writes.len() == program.outputs.len(), "one result for each output is written");
    ensure!(reads.len() == program.inputs.len(), "one operand for each input is read");
    let domain = &writes[0].access.layout.shape;
    for (access, &dtype) in reads.iter().zip(&program.inputs) {
        ensure!(access.dtype == dtype, "the program expects {dtype}, found {}", access.dtype);
        ensure!(access.layout.shape == *domain, "an operand is not read over the domain");
    }
    for (write, &reg) in writes.iter().zip(&program.outputs) {
        let dtype = dtypes[reg as usize];
        ensure!(write.access.dtype == dtype, "the program gives {dtype}, the result is {}", write.access.dtype);
        ensure!(write.access.layout.shape == *domain, "a result is not written over the domain");
    }
    Ok(())
}

fn reduce(
    function: ReduceFn,
    axes: &[usize],
    prologue: &Program,
    epilogue: &Program,
    reads: &[Access],
    writes: &[Write],
) -> Check {
    let (core, extra) = body(prologue, reads)?;
    let sums = matches!(function, ReduceFn::Sum | ReduceFn::Mean | ReduceFn::Prod);
    ensure!(!sums || core != DType::Bool, "{} is not defined on bool", function.name());
    let mut kept = reads[0].layout.shape.clone();
    for (i, &axis) in axes.iter().enumerate() {
        ensure!(axis < kept.len() && !axes[..i].contains(&axis), "the reduced axes are not distinct axes");
        kept[axis] = 1;
    }
    ensure!(one(writes)?.layout.shape == kept, "the result's shape is not the kept one {kept:?}");
    finish(epilogue, core, extra, writes)
}

/// Columns of a panel of a packed right-hand side.
const PANEL: usize = 16;

fn matmul(dtype: DType, packed: bool, epilogue: &Program, reads: &[Access], writes: &[Write]) -> Check {
    ensure!(dtype != DType::Bool, "not defined on bool");
    ensure!(reads.len() >= 2, "takes two operands, found {}", reads.len());
    let (a, b, out) = (&reads[0], &reads[1], one(writes)?);
    ensure!(a.dtype == dtype && b.dtype == dtype, "operands are {dtype}, found {} and {}", a.dtype, b.dtype);
    let [batch @ .., m, k] = &a.layout.shape[..] else { return Err("operands have two axes or more".into()) };
    ensure!(out.layout.rank() == a.layout.rank(), "operand and result differ in rank");
    let n = out.layout.shape[out.layout.rank() - 1];
    let right = if packed { vec![n.div_ceil(PANEL), *k, PANEL] } else { vec![*k, n] };
    ensure!(b.layout.shape == [batch, &right].concat(), "the right-hand side has shape {:?}", b.layout.shape);
    ensure!(out.layout.shape == [batch, &[*m, n]].concat(), "the result has shape {:?}", out.layout.shape);
    finish(epilogue, dtype, &reads[2..], writes)
}

/// Every coordinate that a window over `input` reaches from `output` fits.
fn window(window: &Window, input: &[usize], output: &[usize]) -> Check {
    let rank = input.len();
    let lists = [&window.kernel, &window.strides, &window.pads_begin, &window.pads_end, &window.dilations];
    ensure!(lists.iter().all(|list| list.len() == rank), "a window has one entry for each of {rank} axes");
    ensure!(output.len() == rank, "operand and result differ in rank");
    ensure!(elements(&window.kernel).is_some(), "a window is too large");
    for axis in 0..rank {
        let positive = window.kernel[axis] > 0 && window.strides[axis] > 0 && window.dilations[axis] > 0;
        ensure!(positive, "kernel, strides and dilations of a window are positive");
        let reach = window.strides[axis]
            .checked_mul(output[axis].max(input[axis]).max(1))
            .zip(window.dilations[axis].checked_mul(window.kernel[axis]))
            .and_then(|(step, taps)| step.checked_add(taps))
            .and_then(|reach| reach.checked_add(window.pads_begin[axis]))
            .and_then(|reach| reach.checked_add(window.pads_end[axis]))
            .and_then(|reach| reach.checked_add(input[axis].max(output[axis])));
        ensure!(reach.is_some_and(|reach| reach <= i64::MAX as usize), "the coordinates of a window overflow");
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the fields of two kernels that share all their rules")]
fn conv(
    dtype: DType,
    slide: &Window,
    groups: usize,
    transposed: bool,
    packed: bool,
    epilogue: &Program,
    reads: &[Access],
    writes: &[Write],
) -> Check {
    ensure!(dtype != DType::Bool, "not defined on bool");
    ensure!(reads.len() >= 2, "takes two operands, found {}", reads.len());
    let (x, w, out) = (&reads[0], &reads[1], one(writes)?);
    ensure!(x.dtype == dtype && w.dtype == dtype, "operands are {dtype}, found {} and {}", x.dtype, w.dtype);
    let ([n, c, spatial @ ..], [out_n, oc, out_spatial @ ..]) = (&x.layout.shape[..], &out.layout.shape[..]) else {
        return Err("operand and result have a batch and a channel axis".into());
    };
    ensure!(n == out_n, "operand and result differ in batch");
    window(slide, spatial, out_spatial)?;
    ensure!(groups > 0 && c % groups == 0 && oc % groups == 0, "{groups} groups do not divide the channels");
    let channels = if transposed { [*c, oc / groups] } else { [*oc, c / groups] };
    let weights = [&channels, &slide.kernel[..]].concat();
    ensure!(packed || w.layout.shape == weights, "weights have shape {:?}, not {weights:?}", w.layout.shape);
    finish(epilogue, dtype, &reads[2..], writes)
}

fn pool(function: PoolFn, slide: &Window, reads: &[Access], writes: &[Write]) -> Check {
    let [x] = operands(reads)?;
    let (out, positions) = match writes {
        [out] => (&out.access, None),
        [out, positions] if function == PoolFn::Max => (&out.access, Some(&positions.access)),
        _ => return Err(format!("{} results are written", writes.len())),
    };
    ensure!(x.dtype == out.dtype, "operand and result differ in dtype");
    ensure!(function == PoolFn::Max || x.dtype != DType::Bool, "an average is not defined on bool");
    let ([n, c, spatial @ ..], [out_n, out_c, out_spatial @ ..]) = (&x.layout.shape[..], &out.layout.shape[..]) else {
        return Err("operand and result have a batch and a channel axis".into());
    };
    ensure!(n == out_n && c == out_c, "operand and result differ in batch or channels");
    window(slide, spatial, out_spatial)?;
    // Tables are as long as the result's axes, and windows are counted in 32 bits.
    ensure!(!spatial.is_empty(), "a pool has a spatial axis");
    ensure!(elements(&slide.kernel).is_some_and(|taps| taps <= 1 << 28), "a window is too large");
    for (axis, &taps) in slide.kernel.iter().enumerate() {
        let padded = spatial[axis] + slide.pads_begin[axis] + slide.pads_end[axis];
        ensure!(taps <= padded.max(1 << 16) && padded <= 1 << 26, "a window is too large");
    }
    ensure!(out_spatial.iter().all(|&extent| extent <= 1 << 24), "an axis is too long to pool");
    ensure!(out.layout.is_empty() || !x.layout.is_empty(), "an empty operand has nothing to pool");
    if let Some(positions) = positions {
        ensure!(positions.dtype == DType::I64, "positions are i64, found {}", positions.dtype);
        ensure!(positions.layout.shape == out.layout.shape, "values and positions differ in shape");
    }
    Ok(())
}

fn index_dtype(indices: &Access) -> Check {
    ensure!(matches!(indices.dtype, DType::I32 | DType::I64), "indices are i32 or i64, found {}", indices.dtype);
    Ok(())
}

/// A block fits into something whole, at starts that are `i64` scalars.
fn block(axes: &[usize], whole: &Access, block: &Access, starts: &[Access]) -> Check {
    ensure!(whole.dtype == block.dtype, "a block of {} is no part of {}", block.dtype, whole.dtype);
    let (all, part) = (&whole.layout.shape, &block.layout.shape);
    ensure!(all.len() == part.len(), "a block has as many axes as what it is a part of");
    ensure!(starts.len() == axes.len(), "one start for each of {} axes, found {}", axes.len(), starts.len());
    for (number, &axis) in axes.iter().enumerate() {
        ensure!(axis < all.len() && !axes[..number].contains(&axis), "the axes of a block are not distinct axes");
    }
    for (axis, (&extent, &size)) in all.iter().zip(part).enumerate() {
        let fits = if axes.contains(&axis) { size <= extent } else { size == extent };
        ensure!(fits, "a block {part:?} does not fit {all:?}");
    }
    let scalar = |start: &Access| start.dtype == DType::I64 && start.layout.rank() == 0;
    ensure!(starts.iter().all(scalar), "a start is an i64 scalar");
    Ok(())
}

fn gather(axis: usize, reads: &[Access], writes: &[Write]) -> Check {
    let ([data, indices], out) = (operands(reads)?, one(writes)?);
    index_dtype(indices)?;
    ensure!(data.dtype == out.dtype, "operand and result differ in dtype");
    let shape = &data.layout.shape;
    ensure!(axis < shape.len(), "the axis does not exist");
    let expected = [&shape[..axis], &indices.layout.shape, &shape[axis + 1..]].concat();
    ensure!(out.layout.shape == expected, "the result has shape {:?}, not {expected:?}", out.layout.shape);
    Ok(())
}

/// No axis of `inner` but `axis` is longer than that of `outer`.
fn inside(inner: &[usize], outer: &[usize], axis: usize) -> Check {
    ensure!(axis < outer.len() && inner.len() == outer.len(), "ranks do not agree");
    let fits = inner.iter().zip(outer).enumerate().all(|(i, (&a, &b))| i == axis || a <= b);
    ensure!(fits, "indices of shape {inner:?} do not fit into {outer:?}");
    Ok(())
}

fn gather_elements(axis: usize, reads: &[Access], writes: &[Write]) -> Check {
    let ([data, indices], out) = (operands(reads)?, one(writes)?);
    index_dtype(indices)?;
    ensure!(data.dtype == out.dtype, "operand and result differ in dtype");
    inside(&indices.layout.shape, &data.layout.shape, axis)?;
    ensure!(out.layout.shape == indices.layout.shape, "indices and result differ in shape");
    Ok(())
}

fn gather_nd(batch_dims: usize, reads: &[Access], writes: &[Write]) -> Check {
    let ([data, indices], out) = (operands(reads)?, one(writes)?);
    index_dtype(indices)?;
    ensure!(data.dtype == out.dtype, "operand and result differ in dtype");
    let shape = &data.layout.shape;
    let (&depth, lookups) = indices.layout.shape.split_last().ok_or("indices have an axis of coordinates")?;
    ensure!(batch_dims <= lookups.len(), "more batch axes than indices have");
    let rest = batch_dims.checked_add(depth).filter(|&rest| rest <= shape.len());
    let rest = rest.ok_or("more coordinates than axes")?;
    ensure!(lookups[..batch_dims] == shape[..batch_dims], "operands differ in a batch axis");
    let expected = [lookups, &shape[rest..]].concat();
    ensure!(out.layout.shape == expected, "the result has shape {:?}, not {expected:?}", out.layout.shape);
    Ok(())
}

fn scatter(function: ScatterFn, reads: &[Access], writes: &[Write]) -> Check {
    let ([indices, updates], out) = (operands(reads)?, one(writes)?);
    index_dtype(indices)?;
    ensure!(writes[0].base.is_some(), "a scatter writes into a base");
    ensure!(updates.dtype == out.dtype, "updates and base differ in dtype");
    let sums = matches!(function, ScatterFn::Add | ScatterFn::Mul);
    ensure!(!sums || out.dtype != DType::Bool, "sums and products are not defined on bool");
    Ok(())
}

fn scatter_elements(axis: usize, function: ScatterFn, reads: &[Access], writes: &[Write]) -> Check {
    scatter(function, reads, writes)?;
    let ([indices, updates], out) = (operands(reads)?, one(writes)?);
    inside(&indices.layout.shape, &out.layout.shape, axis)?;
    ensure!(updates.layout.shape == indices.layout.shape, "indices and updates differ in shape");
    Ok(())
}

fn scatter_nd(function: ScatterFn, reads: &[Access], writes: &[Write]) -> Check {
    scatter(function, reads, writes)?;
    let ([indices, updates], out) = (operands(reads)?, one(writes)?);
    let shape = &out.layout.shape;
    let (&depth, lookups) = indices.layout.shape.split_last().ok_or("indices have an axis of coordinates")?;
    ensure!(depth <= shape.len(), "more coordinates than axes");
    let expected = [lookups, &shape[depth..]].concat();
    ensure!(updates.layout.shape == expected, "updates have shape {:?}, not {expected:?}", updates.layout.shape);
    Ok(())
}

fn top_k(axis: usize, reads: &[Access], writes: &[Write]) -> Check {
    let [x] = operands(reads)?;
    let [values, positions] = writes else { return Err(format!("writes two results, found {}", writes.len())) };
    let (values, positions) = (&values.access, &positions.access);
    let extent = *x.layout.shape.get(axis).ok_or("the axis does not exist")?;
    ensure!(values.dtype == x.dtype && positions.dtype == DType::I64, "results are {} and i64", x.dtype);
    ensure!(values.layout.shape == positions.layout.shape, "values and positions differ in shape");
    let count = *values.layout.shape.get(axis).ok_or("operand and result differ in rank")?;
    ensure!(count <= extent, "the {count} best of {extent} do not exist");
    same_but(&x.layout.shape, &values.layout.shape, axis, count)
}

fn resize(function: ResizeFn, axes: &[ResizeAxis], reads: &[Access], writes: &[Write]) -> Check {
    let ([x], out) = (operands(reads)?, one(writes)?);
    ensure!(x.dtype == out.dtype, "operand and result differ in dtype");
    let nearest = matches!(function, ResizeFn::Nearest(_));
    ensure!(nearest || x.dtype != DType::Bool, "interpolation is not defined on bool");
    if let ResizeFn::Cubic { a, .. } = function {
        ensure!(f64::from_bits(a).is_finite(), "the coefficient of the cubic is not finite");
    }
    let (from, to) = (&x.layout.shape, &out.layout.shape);
    ensure!(axes.len() == from.len() && to.len() == from.len(), "one entry for each axis is needed");
    ensure!(out.layout.is_empty() || !x.layout.is_empty(), "an empty operand has nothing to resize");
    for (n, axis) in axes.iter().enumerate() {
        let numbers = [axis.offset, axis.numerator, axis.denominator, axis.shift, axis.support].map(f64::from_bits);
        ensure!(numbers.iter().all(|number| number.is_finite() && number.abs() < 1e12), "a coordinate is not finite");
        ensure!(numbers[2].abs() > 1e-12, "the denominator of a coordinate is zero");
        // Shrinking needs about as many taps as there are source elements; more come from a damaged file.
        let taps = 4.0 * numbers[4].max(1.0) * to[n] as f64;
        let bound = (16.0 * (from[n] + to[n] + 64) as f64).min(f64::from(1 << 24));
        ensure!(numbers[4] >= 1.0 && taps <= bound, "a filter is stretched too far or an axis too long");
    }
    Ok(())
}

fn recurrent(kernel: &Kernel, reads: &[Access], writes: &[Write]) -> Check {
    let Kernel::Recurrent { function, hidden, reverse, clip, packed, .. } = kernel else { return Ok(()) };
    let (gates, peephole) = match function {
        RecurrentFn::Lstm => (4usize, true),
        RecurrentFn::Gru { .. } => (3, false),
        RecurrentFn::Rnn => (1, false),
    };
    let count = if peephole { 8 } else { 6 };
    ensure!(reads.len() == count, "takes {count} operands, found {}", reads.len());
    ensure!(writes.len() == if peephole { 3 } else { 2 }, "{} results are written", writes.len());
    ensure!(clip.is_none_or(|clip| f64::from_bits(clip) >= 0.0), "the clip is negative");
    ensure!(*hidden <= MAX_ELEMENTS, "the state is too large");
    let [steps, batch, input] = reads[0].layout.shape[..] else { return Err("the sequence has three axes".into()) };
    let (dirs, dtype, rows) = (reverse.len(), reads[0].dtype, gates * hidden);
    ensure!(dtype.is_float(), "not defined on {dtype}");
    let state = vec![dirs, batch, *hidden];
    let mut expected = vec![
        vec![steps, batch, input],
        vec![dirs, rows, input],
        vec![dirs, rows, *hidden],
        vec![dirs, 2 * rows],
        state.clone(),
    ];
    if peephole {
        expected.extend([state.clone(), vec![dirs, 3 * hidden]]);
    }
    for (n, (access, shape)) in reads.iter().zip(&expected).enumerate() {
        ensure!(access.dtype == dtype, "operands are {dtype}, found {}", access.dtype);
        let weights = *packed && (n == 1 || n == 2);
        ensure!(
            weights || access.layout.shape == *shape,
            "operand {n} has shape {:?}, not {shape:?}",
            access.layout.shape
        );
    }
    let lengths = &reads[count - 1];
    ensure!(lengths.dtype == DType::I32 && lengths.layout.shape == [batch], "lengths are one i32 a batch element");
    let results = [vec![steps, dirs, batch, *hidden], state.clone(), state];
    for (write, shape) in writes.iter().zip(&results) {
        ensure!(write.access.dtype == dtype, "results are {dtype}, found {}", write.access.dtype);
        ensure!(
            write.access.layout.shape == *shape,
            "a result has shape {:?}, not {shape:?}",
            write.access.layout.shape
        );
    }
    Ok(())
}
