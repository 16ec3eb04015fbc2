//! Convolutions over one or two spatial axes whose patches are read where they lie.
//!
//! The product behind a convolution needs each input element once a tap. Instead of laying patches out tap by tap, the
//! channels of a few output rows are copied once, with their padding ([`Band`]); each line of a panel is then a run of
//! neighbours in that copy, at a distance that the tap alone decides. This moves an eighth of the bytes for 3 x 3 taps
//! and is bit for bit the same product (Zhang et al., "High Performance Zero-Memory Overhead Direct Convolutions", 2018,
//! for why patches need not exist).
//!
//! Panels lie either row by row, the last of each row partly beyond it, or, for a stride of one, one behind the other along
//! the rows and the padding between them; whichever takes fewer. Sums of lanes that belong to no output are dropped.

use super::band::{Axis, Band};
use super::filters::Filters;
use crate::bands::{Bands, Tile};
use crate::kernel::call::{RunError, Target, Threads};
use crate::kernel::epilogue::Bound;
use crate::kernel::gemm::{Columns, Finish, Left, Lines, Rows, STRIP, Strip, strip_height};
use crate::kernel::matmul::Floats;
use crate::kernel::stack::StackStrides;
use crate::pack::PANEL;
use crate::simd::Isa;

/// Output positions of a tile: enough to pay for reading the weights, few enough for their input to stay in the cache.
const POSITIONS: usize = 384;
/// Positions below which a tile takes its channels in passes instead.
const FEW: usize = 96;
/// Columns of a tile at most.
const COLUMNS: usize = 128;
/// Elements of all bands that stay in the second-level cache.
const BANDS: usize = 48 << 10;
/// Likewise for the sums of a tile that takes passes.
const SUMS: usize = 32 << 10;
/// Tiles that a large convolution has at least, to share between threads.
const TILES: usize = 20;

/// What of the input a call reads.
pub(super) struct Input<'a> {
    pub floats: Floats<'a>,
    pub offset: i64,
    /// Over the written stack.
    pub stack: &'a StackStrides,
    /// Along channels, rows and columns.
    pub strides: [i64; 3],
}

#[derive(Debug)]
pub(super) struct Direct {
    bands: Bands,
    band: Band,
    /// Output columns in all, and how many are taken at once.
    columns: usize,
    width: usize,
    /// Input channels of a group, and how many are taken at once.
    all_channels: usize,
    channels: usize,
    cut: Cut,
    /// Where line `k` of a panel begins, from the panel's first element, and how far they reach.
    lines: Vec<u32>,
    reach: usize,
    /// Where each panel begins in the band of the first channel.
    panels: Vec<u32>,
    /// Output channels of a tile.
    tile_rows: usize,
    finish_bytes: usize,
    threads: usize,
}

/// How the output positions of a tile fall into panels.
#[derive(Clone, Copy, Debug)]
struct Cut {
    width: usize,
    /// From one output row to the next, in lanes.
    pitch: usize,
}

impl Cut {
    /// `line`: elements of a row of the band, where the stride is one.
    fn new(height: usize, width: usize, line: Option<usize>) -> Cut {
        let by_row = Cut { width, pitch: width.next_multiple_of(PANEL) };
        let joined = line.map(|pitch| Cut { width, pitch });
        joined.filter(|joined| joined.panels(height) < by_row.panels(height)).unwrap_or(by_row)
    }

    /// Panels that `height` output rows take.
    fn panels(self, height: usize) -> usize {
        ((height.max(1) - 1) * self.pitch + self.width).div_ceil(PANEL)
    }
}

/// The shape of one product, as far as tiles depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub batches: usize,
    /// Output channels of a group.
    pub rows: usize,
    /// Input channels of a group.
    pub channels: usize,
}

/// Tiles of a direct convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    height: usize,
    width: usize,
    channels: usize,
    cut: Cut,
    /// Output channels of a tile.
    pub rows: usize,
    /// Output positions of a tile.
    pub positions: usize,
}

impl Tiles {
    /// Tiles for these axes, where they waste little.
    pub fn new(sizes: Sizes, rows: Axis, columns: Axis) -> Option<Tiles> {
        let taps = rows.kernel.checked_mul(columns.kernel)?;
        let Sizes { channels, .. } = sizes;
        if taps < 2 || rows.output == 0 || columns.output == 0 || channels == 0 || sizes.rows == 0 {
            return None;
        }
        let chunks = columns.output.div_ceil(COLUMNS);
        let width = match chunks {
            1 => columns.output,
            _ => columns.output.div_ceil(chunks).next_multiple_of(PANEL),
        };
        let most = (POSITIONS / width).clamp(1, rows.output);
        let most = rows.output.div_ceil(rows.output.div_ceil(most));
        let elements = |height: usize| Band::elements_of(rows, columns, height, width);
        let fits = |height: usize| elements(height).is_some_and(|elements| elements.saturating_mul(channels) <= BANDS);
        let whole = (1..=most).rev().take_while(|&height| height == most || height * width >= FEW).find(|&h| fits(h));
        let height = whole.unwrap_or(most);
        let at_once = match (whole, BANDS / elements(height)?.max(1)) {
            (Some(_), _) => channels,
            (None, 0) => return None,
            (None, most) => channels.div_ceil(channels.div_ceil(most)),
        };
        let line = Band::line_of(columns, width)?;
        let cut = Cut::new(height, width, (columns.stride == 1 && rows.stride == 1).then_some(line));
        let panels = cut.panels(height);
        let plain = (rows.output * columns.output).div_ceil(PANEL);
        let all = panels * rows.output.div_ceil(height) * columns.output.div_ceil(width);
        if all > plain + plain / 4 {
            return None;
        }
        let mut tile_rows = match whole {
            Some(_) => sizes.rows,
            None => sizes.rows.min((SUMS / (panels * PANEL)).max(STRIP)),
        };
        // Halving rows repeats the copies, so it stops where that would show.
        while sizes.batches.saturating_mul(sizes.rows.div_ceil(tile_rows)) * rows.output.div_ceil(height) < TILES
            && tile_rows >= 16 * STRIP
        {
            tile_rows = tile_rows.div_ceil(2);
        }
        let rows = tile_rows.next_multiple_of(STRIP);
        Some(Tiles { height, width, channels: at_once, cut, rows, positions: height * columns.output })
    }
}

impl Direct {
    /// A convolution whose result is written through `bands`, which have the sizes of `tiles`.
    pub fn new(
        bands: Bands,
        tiles: Tiles,
        sizes: Sizes,
        (rows, columns): (Axis, Axis),
        finish_bytes: usize,
        threads: usize,
    ) -> Option<Direct> {
        let band = Band::new(rows, columns, tiles.height, tiles.width)?;
        let (elements, taps) = (band.elements(), band.taps());
        let lines: Vec<u32> = (0..tiles.channels)
            .flat_map(|channel| taps.iter().map(move |tap| channel.checked_mul(elements)?.checked_add(*tap)))
            .map(|line| u32::try_from(line?).ok())
            .collect::<Option<_>>()?;
        let reach = *lines.iter().max()? as usize + PANEL;
        // Where panels follow each other along a band's rows, a row of it is as long as the pitch.
        let (pitch, distance) = (tiles.cut.pitch, band.distance());
        let place = |panel: usize| panel * PANEL / pitch * distance + panel * PANEL % pitch;
        let panels = (0..tiles.cut.panels(tiles.height)).map(|panel| place(panel) as u32).collect();
        let work = sizes.batches as f64 * sizes.rows as f64 * (rows.output * columns.output) as f64;
        let work = work * (sizes.channels * taps.len()) as f64;
        let threads = if work > 1e6 { bands.workers(threads) } else { 1 };
        Some(Direct {
            bands,
            band,
            columns: columns.output,
            width: tiles.width,
            all_channels: sizes.channels,
            channels: tiles.channels,
            cut: tiles.cut,
            lines,
            reach,
            panels,
            tile_rows: tiles.rows,
            finish_bytes,
            threads,
        })
    }

    pub fn bands(&self) -> &Bands {
        &self.bands
    }

    /// Whether the channels do not fit into scratch together.
    pub(super) fn in_passes(&self) -> bool {
        self.channels < self.all_channels
    }

    /// Elements of scratch: the sums, the bands.
    fn scratch(&self) -> [usize; 2] {
        let rows = if self.in_passes() { self.tile_rows } else { STRIP };
        [rows * self.panels.len() * PANEL, self.channels * self.band.elements() + PANEL]
    }

    fn scratch_bytes(&self) -> usize {
        let elements: usize = self.scratch().iter().sum();
        (elements * 4).next_multiple_of(64) + self.finish_bytes
    }

    /// Scratch for all threads.
    pub fn workspace_bytes(&self) -> usize {
        self.scratch_bytes().next_multiple_of(64).saturating_mul(self.threads)
    }

    pub fn run(
        &self,
        isa: Isa,
        input: &Input,
        filters: &Filters,
        finish: &Bound,
        out: &mut Target,
        workspace: &mut [u8],
        threads: Threads,
    ) -> Result<(), RunError> {
        let threads = Threads { count: threads.count.min(self.threads), ..threads };
        let offset = out.layout.offset;
        self.bands.run(threads, out.bytes, offset, workspace, self.scratch_bytes(), |mut tile, scratch, previous| {
            let (finish_scratch, scratch) = scratch.split_at_mut(self.finish_bytes);
            let (sums, band) = bytemuck::cast_slice_mut(scratch).split_at_mut(self.scratch()[0]);
            let chunks = self.columns.div_ceil(self.width);
            let kept = !self.in_passes() && chunks == 1 && previous == Some((tile.family(), tile.columns().start));
            for column in (0..self.columns).step_by(self.width) {
                let mut part = Part { direct: self, isa, tile: &mut tile, column, sums, finish, finish_scratch };
                part.run(input, filters, band, kept);
            }
        })
    }
}

/// Some columns of the output rows of one tile.
struct Part<'a, 't> {
    direct: &'a Direct,
    isa: Isa,
    tile: &'a mut Tile<'t>,
    /// First output column.
    column: usize,
    sums: &'a mut [f32],
    finish: &'a Bound<'a>,
    finish_scratch: &'a mut [u8],
}

impl Part<'_, '_> {
    /// `kept`: the band holds the input of this tile already.
    fn run(&mut self, input: &Input, filters: &Filters, band: &mut [f32], kept: bool) {
        let Direct { columns, all_channels, channels, cut, .. } = *self.direct;
        let (batch, rows) = (self.tile.batch(), self.tile.rows());
        let (first_row, count) = (self.tile.columns().start / columns, self.tile.columns().len() / columns);
        let panels = &self.direct.panels[..cut.panels(count)];
        let width = panels.len() * PANEL;
        let taps = self.direct.band.taps().len();
        for channel in (0..all_channels).step_by(channels) {
            let block = channels.min(all_channels - channel);
            if !kept {
                self.copy(input, channel..channel + block, (first_row, count), band);
            }
            let depth = block * taps;
            let windows =
                Windows { elements: band, reach: self.direct.reach, lines: &self.direct.lines[..depth], panels };
            let Some(left) = filters.in_place(batch, rows.start, channel * taps) else { return };
            let mut row = 0;
            while row < rows.len() {
                let height = strip_height(rows.len() - row);
                let from = if self.direct.in_passes() { row * width } else { 0 };
                self.isa.run(Strip {
                    left: Rows { start: left.start + row as i64 * left.stride, ..left },
                    height,
                    right: windows,
                    width,
                    depth,
                    sums: &mut self.sums[from..],
                    first: channel == 0,
                });
                if channel + block == all_channels {
                    for i in 0..height {
                        self.finish(rows.start + row + i, first_row, count, from + i * width);
                    }
                }
                row += height;
            }
        }
    }

    fn copy(&self, input: &Input, channels: std::ops::Range<usize>, (row, count): (usize, usize), band: &mut [f32]) {
        let [channel_stride, row_stride, column_stride] = input.strides;
        let bands = self.direct.bands.stack();
        let start = input.offset + input.stack.batch_offset(bands, self.tile.batch());
        let elements = self.direct.band.elements();
        for (channel, band) in channels.zip(band.chunks_exact_mut(elements)) {
            let from = (start + channel as i64 * channel_stride, [row_stride, column_stride]);
            self.direct.band.copy(self.isa, input.floats, from, (row, count, self.column), band);
        }
    }

    /// Finishes the sums of output channel `row`, which lie `cut.pitch` apart from `from` on.
    fn finish(&mut self, row: usize, first_row: usize, count: usize, from: usize) {
        let Direct { columns, cut, .. } = *self.direct;
        let sums = &mut self.sums[from..];
        if cut.width == columns {
            if cut.pitch != columns {
                for r in 1..count {
                    sums.copy_within(r * cut.pitch..r * cut.pitch + columns, r * columns);
                }
            }
            let sums = &mut sums[..count * columns];
            self.finish.finish(self.isa, self.tile, row, first_row * columns, sums, self.finish_scratch);
            return;
        }
        let width = cut.width.min(columns - self.column);
        for r in 0..count {
            let sums = &mut sums[r * cut.pitch..][..width];
            let column = (first_row + r) * columns + self.column;
            self.finish.finish(self.isa, self.tile, row, column, sums, self.finish_scratch);
        }
    }
}

/// The lines of panels where they lie in the bands of some channels.
#[derive(Clone, Copy)]
struct Windows<'a> {
    elements: &'a [f32],
    reach: usize,
    lines: &'a [u32],
    panels: &'a [u32],
}

impl<'a> Columns for Windows<'a> {
    type Lines<const P: usize> = WindowLines<'a, P>;

    #[inline(always)]
    fn lines<const P: usize>(&self, panel: usize, depth: usize) -> WindowLines<'a, P> {
        let mut panels = [&[][..]; P];
        for (p, elements) in panels.iter_mut().enumerate() {
            // All of one length, so that one check a line serves all panels.
            *elements = &self.elements[self.panels[panel + p] as usize..][..self.reach];
        }
        WindowLines { panels, lines: &self.lines[..depth] }
    }
}

#[derive(Clone, Copy)]
struct WindowLines<'a, const P: usize> {
    panels: [&'a [f32]; P],
    lines: &'a [u32],
}

impl<const P: usize> Lines for WindowLines<'_, P> {
    #[inline(always)]
    fn line(&self, panel: usize, k: usize) -> &[f32] {
        &self.panels[panel][self.lines[k] as usize..][..PANEL]
    }
}
