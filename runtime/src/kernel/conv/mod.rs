//! `Kernel::Conv` and `Kernel::ConvTranspose` over any number of spatial axes.
//!
//! A convolution is a product with the weights on the left and patches of the input on the right (Chellapilla et al.,
//! "High Performance Convolutional Neural Networks for Document Processing", 2006), whose panels are made in scratch as
//! they are needed; a pointwise one copies rows. Where windows overlap, patches are not made but read where they lie
//! ([`direct`]). Depthwise convolutions have too few products for either and go their own way ([`depthwise`]).
//!
//! A transposed convolution is computed by what each output position gathers, not by what each input position scatters.
//! Positions with the same remainder modulo the stride meet the same taps, so they form a convolution of stride one
//! whose results lie a stride apart: a *phase*. Where kernel and stride are equal, each phase has one tap and all
//! are one product with the phases as batch. So every element has its whole sum before the epilogue, as in any product.

mod band;
mod depthwise;
mod direct;
mod filters;
mod flat;
mod patches;

use depthwise::Depthwise;
use direct::{Direct, Input, Sizes, Tiles};
use filters::{FilterStrides, Filters};
use patches::{Axis, Patches, Tap, taps};

use crate::bands::Bands;
use crate::executable::{Access, Write};
use crate::kernel::Window;
use crate::kernel::call::{Call, Operand, RunError, Source};
use crate::kernel::epilogue::{Epilogue, body_bytes, check_hull, strides};
use crate::kernel::gemm::{Product, Shape};
use crate::kernel::matmul::Floats;
use crate::kernel::stack::{Stack, StackStrides};
use crate::pack::PANEL;
use crate::point::Program;
use crate::simd::Isa;
use crate::types::DType;

/// The most taps along one axis, so that a damaged file cannot ask for long tables.
const MAX_TAPS: usize = 1 << 16;
/// The most phases of a transposed convolution.
const MAX_PHASES: usize = 1 << 10;
/// The most extra operands of a transposed convolution with phases.
const MAX_EXTRAS: usize = 8;

/// A convolution ready to run.
#[derive(Debug)]
pub struct PreparedConv {
    form: Form,
    dtype: DType,
    workspace_bytes: usize,
}

#[derive(Debug)]
enum Form {
    Depthwise(Box<Depthwise>),
    Phases(Vec<Phase>),
}

/// One product that writes all results, or those of one phase of a transposed convolution.
#[derive(Debug)]
struct Phase {
    core: Core,
    epilogue: Epilogue,
    axes: Vec<Axis>,
    input: StackStrides,
    /// Strides of the input along its channels, and along rows and columns where there are no more axes.
    channel: i64,
    spatial: [i64; 2],
    filters: FilterStrides,
    in_place: bool,
    /// First element written, relative to the result's own.
    out_shift: i64,
    /// Likewise for the extra operands.
    extra_shifts: Vec<i64>,
}

/// What multiplies weights and patches.
#[derive(Debug)]
enum Core {
    /// Patches made in scratch.
    Product(Box<Product>),
    /// Patches read where they lie.
    Direct(Box<Direct>),
}

impl Core {
    fn bands(&self) -> &Bands {
        match self {
            Core::Product(product) => product.bands(),
            Core::Direct(direct) => direct.bands(),
        }
    }

    fn workspace_bytes(&self) -> usize {
        match self {
            Core::Product(product) => product.workspace_bytes(),
            Core::Direct(direct) => direct.workspace_bytes(),
        }
    }
}

/// The operands of a convolution before they are cut into phases.
struct Operands<'a> {
    dtype: DType,
    window: &'a Window,
    groups: usize,
    epilogue: &'a Program,
    x: &'a Access,
    w: &'a Access,
    extras: &'a [Access],
    out: &'a Access,
    threads: usize,
}

impl<'a> Operands<'a> {
    fn new(
        dtype: DType,
        window: &'a Window,
        groups: usize,
        epilogue: &'a Program,
        reads: &'a [Access],
        writes: &'a [Write],
        threads: usize,
    ) -> Result<Operands<'a>, String> {
        let ([x, w, extras @ ..], [write]) = (reads, writes) else {
            return Err("a convolution reads an input and weights and writes one result".into());
        };
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            return Err(format!("there is no fast convolution of {dtype}"));
        }
        let out = &write.access;
        let rank = out.layout.rank();
        if rank < 2 || groups == 0 {
            return Err("a convolution has a batch and a channel axis".into());
        }
        for access in [x, w, out].into_iter().chain(extras) {
            strides(access, rank)?;
        }
        let lists = [&window.kernel, &window.strides, &window.pads_begin, &window.dilations];
        if lists.iter().any(|list| list.len() != rank - 2) || window.kernel.iter().any(|&taps| taps > MAX_TAPS) {
            return Err("the window of a convolution does not fit its axes".into());
        }
        Ok(Operands { dtype, window, groups, epilogue, x, w, extras, out, threads })
    }

    /// The one or two spatial axes, as rows and columns.
    fn axes(&self) -> (band::Axis, band::Axis) {
        let axis = |axis: usize| band::Axis {
            input: self.x.layout.shape[axis + 2],
            output: self.out.layout.shape[axis + 2],
            kernel: self.window.kernel[axis],
            stride: self.window.strides[axis],
            pad: self.window.pads_begin[axis],
            dilation: self.window.dilations[axis],
        };
        if self.window.kernel.len() == 2 { (axis(0), axis(1)) } else { (band::Axis::ONE, axis(0)) }
    }

    /// Output channels of a group.
    fn channels_out(&self) -> usize {
        self.out.layout.shape[1] / self.groups
    }
}

/// Views of the written domain `[n, groups, more.., oc / groups, spatial..]`, in the order of their axes.
struct Views {
    shape: Vec<usize>,
    out: Vec<i64>,
    input: Vec<i64>,
    weights: Vec<i64>,
    extras: Vec<Vec<i64>>,
}

impl Views {
    /// The axes `n` and `groups`. `group` is the weights' stride from group to group.
    fn new(operands: &Operands, group: i64) -> Views {
        let channels_in = operands.x.layout.shape[1] / operands.groups;
        let oc = operands.channels_out() as i64;
        // Where there is one group its stride is never used, and may not overflow.
        let by = |stride: i64, times: i64| if operands.groups == 1 { 0 } else { stride.wrapping_mul(times) };
        let split = |access: &Access| vec![access.layout.strides[0], by(access.layout.strides[1], oc)];
        Views {
            shape: vec![operands.out.layout.shape[0], operands.groups],
            out: split(operands.out),
            input: vec![operands.x.layout.strides[0], by(operands.x.layout.strides[1], channels_in as i64)],
            weights: vec![0, if operands.groups == 1 { 0 } else { group }],
            extras: operands.extras.iter().map(split).collect(),
        }
    }

    /// Adds an axis. Results and extra operands have `factor` times their stride along `axis`; the input stands still.
    fn push(&mut self, operands: &Operands, extent: usize, axis: usize, factor: usize, weights: i64) {
        let stride = |access: &Access| access.layout.strides[axis].wrapping_mul(factor as i64);
        self.shape.push(extent);
        self.out.push(stride(operands.out));
        self.input.push(0);
        self.weights.push(weights);
        for (view, extra) in self.extras.iter_mut().zip(operands.extras) {
            view.push(stride(extra));
        }
    }
}

impl Phase {
    /// `row_axis` is the axis of output channels in `views`; `shared` batch entries in a row meet the same patches.
    /// `windows` are the spatial axes where patches may be read where they lie.
    #[expect(clippy::too_many_arguments)]
    fn new(
        operands: &Operands,
        views: Views,
        row_axis: usize,
        shared: usize,
        mut axes: Vec<Axis>,
        channel_of_weights: i64,
        spatial_of_weights: &[i64],
        shifts: (i64, Vec<i64>),
        windows: Option<(band::Axis, band::Axis)>,
    ) -> Result<Phase, String> {
        let mut all: Vec<&[i64]> = vec![&views.out, &views.input, &views.weights];
        all.extend(views.extras.iter().map(|view| &view[..]));
        let (stack, mut strides) = Stack::new(&views.shape, row_axis, false, &all)?;
        let extras = strides.split_off(3);
        let [out, input, weights] =
            <[StackStrides; 3]>::try_from(strides).map_err(|_| "a convolution has three views".to_string())?;
        let mut filters =
            FilterStrides { stack: weights, channel: channel_of_weights, spatial: spatial_of_weights.to_vec() };
        if axes.is_empty() {
            // A convolution without spatial axes is one with an axis of extent one.
            let tap = Tap { index: 0, shift: 0 };
            axes.push(Axis { input: 1, output: 1, stride: 1, taps: vec![tap], step: 1 });
            filters.spatial.push(1);
        }
        let channels = operands.x.layout.shape[1] / operands.groups;
        let depth = taps(&axes).checked_mul(channels).ok_or("a convolution has too many taps")?;
        let in_place = operands.dtype == DType::F32 && filters.is_dense(&axes);
        patches::join(&mut axes, &mut filters.spatial);
        let epilogue = Epilogue::new(operands.epilogue, operands.dtype, &stack, extras, operands.out.dtype)?;
        let shape = Shape {
            batches: stack.batches(),
            rows: stack.rows(),
            columns: stack.columns(),
            depth,
            packs_left: !in_place,
            packs_right: true,
        };
        let size = operands.out.dtype.size();
        let sizes = Sizes { batches: stack.batches(), rows: stack.rows(), channels };
        let direct = windows.filter(|_| in_place).and_then(|(rows, columns)| {
            let tiles = Tiles::new(sizes, rows, columns)?;
            let bands = Bands::new(stack.clone(), out.clone(), size, tiles.rows, tiles.positions).ok()?;
            Direct::new(bands, tiles, sizes, (rows, columns), epilogue.scratch_bytes(), operands.threads)
        });
        let core = match direct {
            Some(direct) => Core::Direct(Box::new(direct)),
            None => {
                let blocks = shape.blocks();
                let bands = Bands::new(stack, out, size, blocks.rows, blocks.panels * PANEL)?.sharing(shared);
                Core::Product(Box::new(Product::new(bands, shape, epilogue.scratch_bytes(), operands.threads)?))
            }
        };
        let strides = &operands.x.layout.strides;
        let channel = strides[1];
        let spatial = match strides[2..] {
            [column] => [0, column],
            [row, column] => [row, column],
            _ => [0, 0],
        };
        let (out_shift, extra_shifts) = shifts;
        Ok(Phase { core, epilogue, axes, input, channel, spatial, filters, in_place, out_shift, extra_shifts })
    }
}

impl PreparedConv {
    /// Prepares a convolution whose accesses have been validated against the kernel, for up to `threads` threads. There
    /// is no form for integers and `f64`.
    pub fn prepare(
        dtype: DType,
        window: &Window,
        groups: usize,
        epilogue: &Program,
        reads: &[Access],
        writes: &[Write],
        threads: usize,
    ) -> Result<PreparedConv, String> {
        let operands = Operands::new(dtype, window, groups, epilogue, reads, writes, threads)?;
        if let Some(depthwise) = Depthwise::prepare(&operands)? {
            let workspace_bytes = depthwise.workspace_bytes();
            return Ok(PreparedConv { form: Form::Depthwise(Box::new(depthwise)), dtype, workspace_bytes });
        }
        let (out, x, w) = (&operands.out.layout, &operands.x.layout, &operands.w.layout);
        let oc = operands.channels_out();
        let mut views = Views::new(&operands, w.strides[0].wrapping_mul(oc as i64));
        views.push(&operands, oc, 1, 1, w.strides[0]);
        let mut axes = Vec::new();
        for axis in 0..window.kernel.len() {
            views.push(&operands, out.shape[axis + 2], axis + 2, 1, 0);
            let tap = |index: usize| Tap {
                index,
                shift: (index * window.dilations[axis]) as i64 - window.pads_begin[axis] as i64,
            };
            axes.push(Axis {
                input: x.shape[axis + 2],
                output: out.shape[axis + 2],
                stride: window.strides[axis],
                taps: (0..window.kernel[axis]).map(tap).collect(),
                step: x.strides[axis + 2],
            });
        }
        let shifts = (0, vec![0; operands.extras.len()]);
        let windows = (1..=2).contains(&axes.len()).then(|| operands.axes());
        let phase = Phase::new(&operands, views, 2, 1, axes, w.strides[1], &w.strides[2..], shifts, windows)?;
        Ok(PreparedConv::of_phases(dtype, vec![phase]))
    }

    /// Likewise for a transposed convolution.
    pub fn prepare_transpose(
        dtype: DType,
        window: &Window,
        groups: usize,
        epilogue: &Program,
        reads: &[Access],
        writes: &[Write],
        threads: usize,
    ) -> Result<PreparedConv, String> {
        let operands = Operands::new(dtype, window, groups, epilogue, reads, writes, threads)?;
        let (out, x) = (&operands.out.layout, &operands.x.layout);
        let spatial = window.kernel.len();
        let tiles = (0..spatial).all(|axis| {
            window.kernel[axis] == window.strides[axis]
                && (window.pads_begin[axis], window.dilations[axis]) == (0, 1)
                && x.shape[axis + 2].checked_mul(window.strides[axis]) == Some(out.shape[axis + 2])
        });
        if tiles && spatial > 0 {
            return Ok(PreparedConv::of_phases(dtype, vec![tiled(&operands)?]));
        }
        if operands.extras.len() > MAX_EXTRAS {
            return Err("a transposed convolution has too many operands".into());
        }
        let phases = (0..spatial)
            .map(|axis| window.strides[axis].min(out.shape[axis + 2]))
            .try_fold(1usize, usize::checked_mul)
            .filter(|&phases| phases <= MAX_PHASES)
            .ok_or("a transposed convolution has too many phases")?;
        let mut all = Vec::with_capacity(phases);
        for number in 0..phases {
            let mut rest = number;
            let mut remainders = vec![0; spatial];
            for axis in (0..spatial).rev() {
                let count = window.strides[axis].min(out.shape[axis + 2]);
                remainders[axis] = rest % count;
                rest /= count;
            }
            all.push(phase(&operands, &remainders)?);
        }
        Ok(PreparedConv::of_phases(dtype, all))
    }

    fn of_phases(dtype: DType, phases: Vec<Phase>) -> PreparedConv {
        let workspace_bytes = phases.iter().map(|phase| phase.core.workspace_bytes()).max().unwrap_or(0);
        PreparedConv { form: Form::Phases(phases), dtype, workspace_bytes }
    }

    /// Scratch for all threads.
    pub fn workspace_bytes(&self) -> usize {
        self.workspace_bytes
    }

    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let Call { reads, writes, workspace, threads } = call;
        let ([x, w, extras @ ..], [out]) = (reads, writes) else {
            return Err(RunError::Argument("a convolution reads an input and weights and writes one result".into()));
        };
        let (x_floats, w_floats) = (Floats::new(body_bytes(x)?, self.dtype)?, Floats::new(body_bytes(w)?, self.dtype)?);
        for extra in extras {
            if let Source::Bytes(bytes) = extra.source {
                check_hull(extra, bytes.len())?;
            }
        }
        let phases = match &self.form {
            Form::Depthwise(depthwise) => {
                let (x, w) = ((x_floats, x.layout.offset), (w_floats, w.layout.offset));
                return depthwise.run(isa, x, w, extras, out, workspace, threads);
            }
            Form::Phases(phases) => phases,
        };
        for phase in phases {
            let stack = phase.core.bands().stack();
            let patches = Patches {
                floats: x_floats,
                offset: x.layout.offset,
                strides: &phase.input,
                stack,
                channel: phase.channel,
                axes: &phase.axes,
            };
            let filters = Filters {
                floats: w_floats,
                offset: w.layout.offset,
                strides: &phase.filters,
                stack,
                axes: &phase.axes,
                in_place: phase.in_place,
            };
            let mut shifted = [*x; MAX_EXTRAS];
            let finish = if phase.extra_shifts.iter().all(|&shift| shift == 0) {
                phase.epilogue.bind(stack, extras)?
            } else {
                for ((extra, shifted), &shift) in extras.iter().zip(&mut shifted).zip(&phase.extra_shifts) {
                    *shifted = shift_slice(extra, shift)?;
                }
                phase.epilogue.bind(stack, &shifted[..extras.len()])?
            };
            match &phase.core {
                Core::Product(product) => {
                    let offset = out.layout.offset + phase.out_shift;
                    product.run(isa, &filters, &patches, &finish, out.bytes, offset, workspace, threads)?;
                }
                Core::Direct(direct) => {
                    let strides = [phase.channel, phase.spatial[0], phase.spatial[1]];
                    let input = Input { floats: x_floats, offset: x.layout.offset, stack: &phase.input, strides };
                    direct.run(isa, &input, &filters, &finish, out, workspace, threads)?;
                }
            }
        }
        Ok(())
    }
}

/// The operand whose element zero is the element `shift` of `operand`.
fn shift_slice<'a>(operand: &Operand<'a>, shift: i64) -> Result<Operand<'a>, RunError> {
    match operand.source {
        Source::Bytes(bytes) => {
            let from = usize::try_from(shift).ok().and_then(|shift| bytes.get(shift * operand.dtype.size()..));
            let bytes = from.ok_or_else(|| RunError::Argument("an operand lies outside its buffer".into()))?;
            Ok(Operand { source: Source::Bytes(bytes), ..*operand })
        }
        // A tie is read through the result, which has a shift of its own.
        Source::Written(_) => Ok(*operand),
    }
}

/// The one product of a transposed convolution whose kernel and stride are equal, without padding.
fn tiled(operands: &Operands) -> Result<Phase, String> {
    let (x, w, window) = (&operands.x.layout, &operands.w.layout, operands.window);
    let mut views = weights_of_groups(operands);
    let spatial = window.kernel.len();
    for axis in 0..spatial {
        views.push(operands, window.kernel[axis], axis + 2, 1, w.strides[axis + 2]);
    }
    views.push(operands, operands.channels_out(), 1, 1, w.strides[1]);
    let mut axes = Vec::new();
    for axis in 0..spatial {
        let extent = x.shape[axis + 2];
        views.push(operands, extent, axis + 2, window.strides[axis], 0);
        let taps = vec![Tap { index: 0, shift: 0 }];
        axes.push(Axis { input: extent, output: extent, stride: 1, taps, step: x.strides[axis + 2] });
    }
    let shared = window.kernel.iter().product();
    let shifts = (0, vec![0; operands.extras.len()]);
    Phase::new(operands, views, 2 + spatial, shared, axes, w.strides[0], &w.strides[2..], shifts, None)
}

/// The views of a transposed convolution, whose weights have the input's channels first.
fn weights_of_groups<'a>(operands: &Operands<'a>) -> Views {
    let channels_in = operands.x.layout.shape[1] / operands.groups;
    Views::new(operands, operands.w.layout.strides[0].wrapping_mul(channels_in as i64))
}

/// The phase of the positions that leave these remainders modulo the strides.
fn phase(operands: &Operands, remainders: &[usize]) -> Result<Phase, String> {
    let (out, x, w, window) = (&operands.out.layout, &operands.x.layout, &operands.w.layout, operands.window);
    let mut views = weights_of_groups(operands);
    views.push(operands, operands.channels_out(), 1, 1, w.strides[1]);
    let mut axes = Vec::new();
    let mut out_shift = 0i64;
    let mut extra_shifts = vec![0i64; operands.extras.len()];
    for (axis, &remainder) in remainders.iter().enumerate() {
        let stride = window.strides[axis];
        let extent = (out.shape[axis + 2] - remainder.min(out.shape[axis + 2])).div_ceil(stride);
        views.push(operands, extent, axis + 2, stride, 0);
        let mut taps = Vec::new();
        for index in 0..window.kernel[axis] {
            // Position q * stride + remainder meets the input element i with i * stride - pad + index * dilation equal to it.
            let reach = (remainder + window.pads_begin[axis]) as i64 - (index * window.dilations[axis]) as i64;
            if reach.rem_euclid(stride as i64) == 0 {
                taps.push(Tap { index, shift: reach.div_euclid(stride as i64) });
            }
        }
        axes.push(Axis { input: x.shape[axis + 2], output: extent, stride: 1, taps, step: x.strides[axis + 2] });
        out_shift = out_shift.wrapping_add((remainder as i64).wrapping_mul(out.strides[axis + 2]));
        for (shift, extra) in extra_shifts.iter_mut().zip(operands.extras) {
            *shift = shift.wrapping_add((remainder as i64).wrapping_mul(extra.layout.strides[axis + 2]));
        }
    }
    if extra_shifts.iter().any(|&shift| shift < 0) {
        return Err("an operand of a transposed convolution runs backwards".into());
    }
    let shifts = (out_shift, extra_shifts);
    Phase::new(operands, views, 2, 1, axes, w.strides[0], &w.strides[2..], shifts, None)
}

#[cfg(test)]
mod tests;
