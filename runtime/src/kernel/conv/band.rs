//! A part of input channels, copied to scratch with its padding.
//!
//! A band holds what some neighbouring output positions see of a channel. Each of its rows is split by the remainder of
//! the column modulo the stride, so that every tap reads neighbours for neighbouring outputs, whatever stride and dilation,
//! and needs no bounds of its own: output `(r, c)` meets tap `t` at element `r * distance() + c + taps()[t]`.

use crate::kernel::matmul::Floats;
use crate::simd::{Algorithm, Isa, Lanes};

/// Geometry along one axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub dilation: usize,
}

impl Axis {
    /// An axis that does nothing.
    pub const ONE: Axis = Axis { input: 1, output: 1, kernel: 1, stride: 1, pad: 0, dilation: 1 };

    /// Input elements from the first tap to the last.
    fn reach(&self) -> Option<usize> {
        self.kernel.checked_sub(1)?.checked_mul(self.dilation)
    }

    /// Input element that `output` meets first; padding makes it negative.
    fn first(&self, output: usize) -> i64 {
        (output * self.stride) as i64 - self.pad as i64
    }
}

/// The shape of bands of at most `height` x `width` output positions.
#[derive(Debug)]
pub struct Band {
    rows: Axis,
    columns: Axis,
    height: usize,
    /// Elements of one remainder of one row.
    line: usize,
    taps: Vec<usize>,
    /// Elements of a channel.
    elements: usize,
}

/// The most elements of a channel's band, so that a damaged file cannot ask for long tables.
const MAX_ELEMENTS: usize = 1 << 22;

impl Band {
    /// Elements of one remainder of one row of a band.
    pub fn line_of(columns: Axis, width: usize) -> Option<usize> {
        width.checked_add(columns.reach()? / columns.stride)
    }

    /// Elements of a channel; `None` where they are absurdly many.
    pub fn elements_of(rows: Axis, columns: Axis, height: usize, width: usize) -> Option<usize> {
        let line = Band::line_of(columns, width)?;
        let count = (height.checked_sub(1)?.checked_mul(rows.stride)?).checked_add(rows.reach()?)?.checked_add(1)?;
        count.checked_mul(line.checked_mul(columns.stride)?).filter(|&elements| elements <= MAX_ELEMENTS)
    }

    /// `None` where a band would be absurdly large.
    pub fn new(rows: Axis, columns: Axis, height: usize, width: usize) -> Option<Band> {
        let elements = Band::elements_of(rows, columns, height, width)?;
        let line = Band::line_of(columns, width)?;
        let row = line * columns.stride;
        if rows.kernel.checked_mul(columns.kernel)? > MAX_ELEMENTS {
            return None;
        }
        let taps = (0..rows.kernel)
            .flat_map(|i| (0..columns.kernel).map(move |j| (i, j)))
            .map(|(i, j)| {
                let column = j * columns.dilation;
                i * rows.dilation * row + column % columns.stride * line + column / columns.stride
            })
            .collect();
        Some(Band { rows, columns, height, line, taps, elements })
    }

    /// Output rows at most.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Elements from one output row to the next.
    pub fn distance(&self) -> usize {
        self.rows.stride * self.row()
    }

    /// Elements of a channel.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Where each tap's element lies, from that of the first; in row-major order.
    pub fn taps(&self) -> &[usize] {
        &self.taps
    }

    fn row(&self) -> usize {
        self.columns.stride * self.line
    }

    /// Copies what `count` output rows from `row` on and the output columns from `column` on see of one channel, whose
    /// first element is element `start` of `x` and whose strides along rows and columns are `strides`.
    pub fn copy(
        &self,
        isa: Isa,
        x: Floats,
        (start, strides): (i64, [i64; 2]),
        (row, count, column): (usize, usize, usize),
        target: &mut [f32],
    ) {
        let reach = (self.rows.kernel - 1) * self.rows.dilation;
        let rows = (count.max(1) - 1) * self.rows.stride + reach + 1;
        let target = &mut target[..rows * self.row()];
        let from = self.columns.first(column);
        match x {
            Floats::F32(source) if strides[1] == 1 && self.columns.stride <= 2 => {
                let rows = Rows { band: self, source, start, stride: strides[0], row, from, target };
                isa.run(rows);
            }
            _ => {
                for (i, target) in target.chunks_exact_mut(self.row()).enumerate() {
                    match self.input_row(row, i) {
                        Some(at) => self.split(x, start + at as i64 * strides[0], strides[1], from, target),
                        None => target.fill(0.0),
                    }
                }
            }
        }
    }

    /// The input row that row `i` of a band from output row `row` on holds, unless it lies in the padding.
    fn input_row(&self, row: usize, i: usize) -> Option<usize> {
        let at = self.rows.first(row) + i as i64;
        usize::try_from(at).ok().filter(|&at| at < self.rows.input)
    }

    /// Of the line of `remainder`, the elements that lie in the input, when the band begins at input column `from`:
    /// element `i` is column `from + i * stride + remainder`.
    fn inside(&self, from: i64, remainder: usize) -> std::ops::Range<usize> {
        let stride = self.columns.stride as i64;
        let before = |column: i64| -> usize {
            let distance = (column - from - remainder as i64).max(0) + stride - 1;
            ((distance / stride) as usize).min(self.line)
        };
        let end = before(self.columns.input as i64);
        before(0).min(end)..end
    }

    /// Copies one row element by element.
    fn split(&self, x: Floats, start: i64, step: i64, from: i64, target: &mut [f32]) {
        for (remainder, line) in target.chunks_exact_mut(self.line).enumerate() {
            let inside = self.inside(from, remainder);
            line[..inside.start].fill(0.0);
            line[inside.end..].fill(0.0);
            let column = from + (inside.start * self.columns.stride + remainder) as i64;
            x.copy(start + column * step, self.columns.stride as i64 * step, &mut line[inside]);
        }
    }
}

/// Rows of a band whose elements are neighbours in the input, of stride one or two.
struct Rows<'a> {
    band: &'a Band,
    source: &'a [f32],
    start: i64,
    stride: i64,
    /// First output row.
    row: usize,
    /// First input column.
    from: i64,
    target: &'a mut [f32],
}

impl Algorithm for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Rows { band, source, start, stride, row, from, target } = self;
        let input = band.columns.input;
        let one = band.columns.stride == 1;
        let inside = [band.inside(from, 0), band.inside(from, 1)];
        for (i, target) in target.chunks_exact_mut(band.row()).enumerate() {
            let Some(at) = band.input_row(row, i) else {
                clear::<L>(target);
                continue;
            };
            let values = &source[(start + at as i64 * stride) as usize..][..input];
            let line = &inside[0];
            if one {
                clear::<L>(&mut target[..line.start]);
                if !line.is_empty() {
                    let first = (from + line.start as i64) as usize;
                    copy::<L>(&values[first..][..line.len()], &mut target[line.clone()]);
                }
                clear::<L>(&mut target[line.end..]);
            } else {
                let (zero, one) = target.split_at_mut(band.line);
                for (line, inside) in [&mut *zero, &mut *one].into_iter().zip(&inside) {
                    clear::<L>(&mut line[..inside.start]);
                    clear::<L>(&mut line[inside.end..]);
                }
                // The first column that is there, and the line that it belongs to.
                let first = from.max(0) as usize;
                let swapped = (first as i64 - from) % 2 == 1;
                let [zero, one] = [&mut zero[inside[0].clone()], &mut one[inside[1].clone()]];
                let (even, odd) = if swapped { (one, zero) } else { (zero, one) };
                deal::<L>(values.get(first..).unwrap_or_default(), even, odd);
            }
        }
    }
}

#[inline(always)]
fn clear<L: Lanes>(target: &mut [f32]) {
    for target in target.chunks_mut(L::WIDTH) {
        L::splat(0.0).store_partial(target);
    }
}

#[inline(always)]
fn copy<L: Lanes>(source: &[f32], target: &mut [f32]) {
    for (source, target) in source.chunks(L::WIDTH).zip(target.chunks_mut(L::WIDTH)) {
        L::load_partial(source, 0.0).store_partial(target);
    }
}

/// Deals the elements of `values` to two lines in turn, until both are full.
#[inline(always)]
fn deal<L: Lanes>(values: &[f32], even: &mut [f32], odd: &mut [f32]) {
    let count = even.len().max(odd.len());
    let mut at = 0;
    while at < count {
        let rest = &values[(2 * at).min(values.len())..];
        let (low, high) = rest.split_at(rest.len().min(L::WIDTH));
        let (a, b) = L::load_partial(low, 0.0).deinterleave(L::load_partial(high, 0.0));
        for (vector, line) in [(a, &mut *even), (b, &mut *odd)] {
            let end = (at + L::WIDTH).min(line.len());
            vector.store_partial(&mut line[at.min(end)..end]);
        }
        at += L::WIDTH;
    }
}
