//! The one product behind matmul, convolution and recurrences: `sums[i, j] = sum over k of left[i, k] * right[k, j]`.
//!
//! Source: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), and Van Zee and van de
//! Geijn, "BLIS" (2015). Registers hold a strip of [`STRIP`] rows by one panel of [`PANEL`] columns; the right side comes
//! in panels `[k][PANEL]`, packed ahead of time or into scratch; the rows of the left side are read where they are, one
//! element broadcast to a vector, which measures as fast as packing them. A block of panels stays in the second-level
//! cache while the strips of a tile pass over it; a strip's rows stay in the first.
//!
//! Each element is one chain of multiply-adds in the order of `k`, begun with zero, whatever tile, strip or thread it
//! falls to, so its bits depend on its operands alone. Where `k` is cut into blocks, sums wait in scratch, exactly.

use std::ops::Range;

use crate::bands::{Bands, Tile};
use crate::kernel::call::{RunError, Threads};
use crate::pack::PANEL;
use crate::simd::{Algorithm, Isa, Lanes};

/// Rows in a strip.
pub const STRIP: usize = 6;

/// Vectors that a panel takes where vectors are narrowest.
const PANEL_VECTORS: usize = 4;

/// Sizes of blocks, chosen by the shape alone, so that scratch and bits are the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Rows of a tile, a multiple of [`STRIP`].
    pub rows: usize,
    /// Panels of a tile.
    pub panels: usize,
    /// Steps along `k` of one pass over a tile.
    pub depth: usize,
}

/// What the shape of a product is, and which sides must be copied to scratch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub batches: usize,
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    pub packs_left: bool,
    pub packs_right: bool,
}

impl Shape {
    /// Elements of panels that stay in the second-level cache: 128 KiB where they are copied there, 256 KiB otherwise.
    fn panel_budget(&self) -> usize {
        if self.packs_right { 32 << 10 } else { 64 << 10 }
    }

    /// Block sizes for this shape: as above, and small enough that a large product has some sixteen tiles to share
    /// between threads.
    pub fn blocks(&self) -> Blocks {
        const LONGEST: usize = 1024;
        const SUMS: usize = 32 << 10;
        const TILES: usize = 16;
        let depth = match self.depth {
            0 => 1,
            depth if depth <= LONGEST || (self.rows <= STRIP && !self.packs_right) => depth,
            depth => depth.div_ceil(depth.div_ceil(LONGEST * 3 / 4)),
        };
        let all_panels = self.columns.div_ceil(PANEL).max(1);
        let mut panels = match self.rows {
            0..=STRIP if !self.packs_right => 8,
            _ => (self.panel_budget() / PANEL / depth).clamp(1, 16),
        };
        panels = panels.min(all_panels);
        let mut rows = self.rows.max(1);
        if depth < self.depth {
            rows = rows.min(SUMS / (panels * PANEL));
        }
        if self.packs_left {
            rows = rows.min((SUMS / depth).max(STRIP));
        }
        // Halving rows repeats the packing of panels for each thread, and halving panels shortens the lines of results,
        // each of which costs a call; both stop where that would show, rows later.
        while self.batches.saturating_mul(self.rows.div_ceil(rows)).saturating_mul(all_panels.div_ceil(panels)) < TILES
        {
            if rows >= 8 * STRIP {
                rows = rows.div_ceil(2);
            } else if panels > 2 {
                panels = panels.div_ceil(2);
            } else {
                break;
            }
        }
        Blocks { rows: rows.next_multiple_of(STRIP), panels, depth }
    }

    /// Elements of scratch a thread needs.
    fn scratch(&self, blocks: Blocks) -> Scratch {
        let columns = blocks.panels * PANEL;
        Scratch {
            sums: if blocks.depth < self.depth { blocks.rows } else { STRIP } * columns,
            right: if self.packs_right { blocks.depth.saturating_mul(columns) } else { 0 },
            left: if self.packs_left { blocks.depth.saturating_mul(blocks.rows) } else { 0 },
        }
    }

    /// Whether the work is worth the hand-over to other threads, some ten microseconds.
    fn is_large(&self) -> bool {
        let columns = self.columns as f64 * self.batches as f64;
        let work = columns * self.depth as f64 * (self.rows as f64 + 4.0);
        work > 1e6
    }
}

/// Scratch of one thread, in elements.
#[derive(Clone, Copy, Debug)]
struct Scratch {
    sums: usize,
    right: usize,
    left: usize,
}

impl Scratch {
    fn elements(&self) -> Option<usize> {
        self.sums.checked_add(self.right)?.checked_add(self.left)
    }
}

/// Rows of `f32` in memory: row `i` begins at element `start + i * stride`, its elements are neighbours.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub elements: &'a [f32],
    pub start: i64,
    pub stride: i64,
}

impl<'a> Rows<'a> {
    /// The first `depth` elements of a row.
    #[inline(always)]
    pub fn row(&self, index: usize, depth: usize) -> &'a [f32] {
        let start = (self.start + index as i64 * self.stride) as usize;
        &self.elements[start..][..depth]
    }
}

/// Panels in memory: panel `p` begins at element `p * stride`.
#[derive(Clone, Copy)]
pub struct Panels<'a> {
    pub elements: &'a [f32],
    pub stride: usize,
}

/// The columns of a product as the inner kernel meets them: panel by panel, and in each a line of [`PANEL`] elements for
/// every step of `k`.
pub trait Columns: Copy {
    type Lines<const P: usize>: Lines;

    /// The first `depth` lines of the `P` panels from `panel` on.
    fn lines<const P: usize>(&self, panel: usize, depth: usize) -> Self::Lines<P>;
}

/// The lines of a few neighbouring panels.
pub trait Lines: Copy {
    /// Line `k` of panel `panel`: [`PANEL`] elements.
    fn line(&self, panel: usize, k: usize) -> &[f32];
}

impl<'a> Columns for Panels<'a> {
    type Lines<const P: usize> = PanelLines<'a, P>;

    #[inline(always)]
    fn lines<const P: usize>(&self, panel: usize, depth: usize) -> PanelLines<'a, P> {
        let mut panels: [&[[f32; PANEL]]; P] = [&[]; P];
        for (p, lines) in panels.iter_mut().enumerate() {
            // Slices cut to one known length let the compiler drop the bounds checks of the loop.
            *lines = &self.elements[(panel + p) * self.stride..].as_chunks::<PANEL>().0[..depth];
        }
        PanelLines(panels)
    }
}

/// Lines of packed panels.
#[derive(Clone, Copy)]
pub struct PanelLines<'a, const P: usize>([&'a [[f32; PANEL]]; P]);

impl<const P: usize> Lines for PanelLines<'_, P> {
    #[inline(always)]
    fn line(&self, panel: usize, k: usize) -> &[f32] {
        &self.0[panel][k]
    }
}

/// The left side of a product.
pub trait Left: Sync {
    /// The rows from `row` on, from `depth` on, if they can be read where they are.
    fn in_place(&self, batch: usize, row: usize, depth: usize) -> Option<Rows<'_>>;

    /// Copies rows to `packed`, dense `[rows][depths]`.
    fn pack(&self, batch: usize, rows: Range<usize>, depths: Range<usize>, packed: &mut [f32]);
}

/// The right side of a product.
pub trait Right: Sync {
    /// The panels from `panel` on, from `depth` on, if they are packed already.
    fn in_place(&self, batch: usize, panel: usize, depth: usize) -> Option<Panels<'_>>;

    /// Copies columns to panels `[panels][depths][PANEL]`; the lanes after the last column may hold anything.
    fn pack(&self, isa: Isa, batch: usize, columns: Range<usize>, depths: Range<usize>, packed: &mut [f32]);
}

/// What becomes of the sums.
pub trait Finish: Sync {
    /// Writes the elements of `row` from `column` on, given their sums, which it may change. `scratch` has the bytes
    /// that the product was prepared with.
    fn finish(&self, isa: Isa, tile: &mut Tile, row: usize, column: usize, sums: &mut [f32], scratch: &mut [u8]);
}

/// A product of fixed shape, ready to run.
#[derive(Debug)]
pub struct Product {
    bands: Bands,
    shape: Shape,
    blocks: Blocks,
    scratch: Scratch,
    /// Bytes of scratch for [`Finish`].
    finish_bytes: usize,
    threads: usize,
}

impl Product {
    /// A product for up to `threads` threads whose result is written through `bands`, which have the tile sizes of
    /// `shape.blocks()`. Finishing a row needs `finish_bytes` of scratch.
    pub fn new(bands: Bands, shape: Shape, finish_bytes: usize, threads: usize) -> Result<Product, String> {
        let blocks = shape.blocks();
        let scratch = shape.scratch(blocks);
        let fits = scratch.elements().is_some_and(|elements| elements < 1 << 40);
        if !fits {
            return Err("a product needs too much scratch".into());
        }
        let threads = if shape.is_large() { bands.workers(threads) } else { 1 };
        Ok(Product { bands, shape, blocks, scratch, finish_bytes, threads })
    }

    /// The stack of matrices that is written.
    pub fn bands(&self) -> &Bands {
        &self.bands
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    fn scratch_bytes(&self) -> usize {
        (4 * (self.scratch.sums + self.scratch.right + self.scratch.left)).next_multiple_of(64) + self.finish_bytes
    }

    /// Scratch for all threads.
    pub fn workspace_bytes(&self) -> usize {
        self.scratch_bytes().next_multiple_of(64).saturating_mul(self.threads)
    }

    /// Computes the product. Element zero of the written layout is element `offset` of `out`.
    #[allow(clippy::too_many_arguments)]
    pub fn run(
        &self,
        isa: Isa,
        left: &dyn Left,
        right: &dyn Right,
        finish: &dyn Finish,
        out: &mut [u8],
        offset: i64,
        workspace: &mut [u8],
        threads: Threads,
    ) -> Result<(), RunError> {
        let threads = Threads { count: threads.count.min(self.threads), ..threads };
        self.bands.run(threads, out, offset, workspace, self.scratch_bytes(), |tile, scratch, previous| {
            self.tile(isa, left, right, finish, tile, scratch, previous);
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn tile(
        &self,
        isa: Isa,
        left: &dyn Left,
        right: &dyn Right,
        finish: &dyn Finish,
        mut tile: Tile,
        scratch: &mut [u8],
        previous: Option<(usize, usize)>,
    ) {
        let (batch, rows, columns) = (tile.batch(), tile.rows(), tile.columns());
        let panels = columns.len().div_ceil(PANEL);
        let width = panels * PANEL;
        let (finish_scratch, scratch) = scratch.split_at_mut(self.finish_bytes);
        let (sums, scratch) = bytemuck::cast_slice_mut(scratch).split_at_mut(self.scratch.sums);
        let (right_scratch, left_scratch) = scratch.split_at_mut(self.scratch.right);
        let one_pass = self.blocks.depth >= self.shape.depth;
        if self.shape.depth == 0 {
            // There is nothing to read, not even an address; the sums are empty.
            for row in rows {
                sums[..columns.len()].fill(0.0);
                let sums = &mut sums[..columns.len()];
                finish.finish(isa, &mut tile, row, columns.start, sums, finish_scratch);
            }
            return;
        }
        let mut begin = 0;
        loop {
            let depths = begin..(begin + self.blocks.depth).min(self.shape.depth);
            let (first, last) = (begin == 0, depths.end == self.shape.depth);
            let panels = match right.in_place(batch, columns.start / PANEL, depths.start) {
                Some(panels) => panels,
                None => {
                    let kept = one_pass && previous == Some((tile.family(), columns.start));
                    if !kept {
                        right.pack(isa, batch, columns.clone(), depths.clone(), right_scratch);
                    }
                    Panels { elements: right_scratch, stride: depths.len() * PANEL }
                }
            };
            let strips = match left.in_place(batch, rows.start, depths.start) {
                Some(rows) => rows,
                None => {
                    left.pack(batch, rows.clone(), depths.clone(), left_scratch);
                    Rows { elements: left_scratch, start: 0, stride: depths.len() as i64 }
                }
            };
            let mut row = 0;
            while row < rows.len() {
                let height = strip_height(rows.len() - row);
                let sums = if one_pass { &mut sums[..] } else { &mut sums[row * width..] };
                isa.run(Strip {
                    left: Rows { start: strips.start + row as i64 * strips.stride, ..strips },
                    height,
                    right: panels,
                    width,
                    depth: depths.len(),
                    sums,
                    first,
                });
                if last {
                    for (i, sums) in sums.chunks_exact_mut(width).take(height).enumerate() {
                        let sums = &mut sums[..columns.len()];
                        finish.finish(isa, &mut tile, rows.start + row + i, columns.start, sums, finish_scratch);
                    }
                }
                row += height;
            }
            begin = depths.end;
            if last {
                break;
            }
        }
    }
}

/// Rows to take next when `left` remain: full strips, but no strip of one or two rows where a shorter one before it
/// helps, since those cannot keep the multipliers busy.
pub fn strip_height(left: usize) -> usize {
    match left {
        7 | 8 => 4,
        left => left.min(STRIP),
    }
}

/// One strip of rows times a block of panels; the sums of row `i` are at `sums[i * width..]`.
pub struct Strip<'a, C> {
    pub left: Rows<'a>,
    pub height: usize,
    pub right: C,
    pub width: usize,
    pub depth: usize,
    pub sums: &'a mut [f32],
    /// Whether the sums begin with zero, or with what is there.
    pub first: bool,
}

impl<C: Columns> Algorithm for Strip<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        // Enough sums in flight to hide the latency of multiply-adds, and few enough to stay in registers.
        if L::REGISTERS < 16 {
            let Strip { left, height, right, width, depth, sums, first } = self;
            for row in (0..height).step_by(2) {
                let part = Strip {
                    left: Rows { start: left.start + row as i64 * left.stride, ..left },
                    height: height.min(row + 2) - row,
                    right,
                    width,
                    depth,
                    sums: &mut sums[row * width..],
                    first,
                };
                match part.height {
                    1 => part.panels::<L, 1, 2>(),
                    _ => part.panels::<L, 2, 1>(),
                }
            }
        } else if L::WIDTH == PANEL {
            match self.height {
                1 => self.panels::<L, 1, 4>(),
                2 => self.panels::<L, 2, 4>(),
                3 => self.panels::<L, 3, 4>(),
                4 => self.panels::<L, 4, 4>(),
                5 => self.panels::<L, 5, 3>(),
                _ => self.panels::<L, 6, 3>(),
            }
        } else {
            match self.height {
                1 => self.panels::<L, 1, 4>(),
                2 => self.panels::<L, 2, 2>(),
                3 => self.panels::<L, 3, 2>(),
                4 => self.panels::<L, 4, 1>(),
                5 => self.panels::<L, 5, 1>(),
                _ => self.panels::<L, 6, 1>(),
            }
        }
    }
}

impl<C: Columns> Strip<'_, C> {
    /// Takes the panels `P` at a time, then the rest in pairs and alone. Where `P` is three, four are two pairs, since
    /// one panel alone cannot keep the multipliers busy.
    #[inline(always)]
    fn panels<L: Lanes, const R: usize, const P: usize>(self) {
        let Strip { left, right, width, depth, sums, first, .. } = self;
        let mut rows = [&[][..]; R];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = left.row(i, depth);
        }
        let (mut panel, panels) = (0, width / PANEL);
        while panel < panels {
            let rest = panels - panel;
            let sums = &mut sums[panel * PANEL..];
            panel += if rest >= P && !(P == 3 && rest == 4) {
                multiply::<L, _, R, P>(depth, rows, right.lines::<P>(panel, depth), sums, width, first)
            } else if P > 2 && rest >= 2 {
                multiply::<L, _, R, 2>(depth, rows, right.lines::<2>(panel, depth), sums, width, first)
            } else {
                multiply::<L, _, R, 1>(depth, rows, right.lines::<1>(panel, depth), sums, width, first)
            };
        }
    }
}

/// The inner kernel: `R` rows times `P` panels, all sums in registers. Returns `P`.
#[inline(always)]
fn multiply<L: Lanes, T: Lines, const R: usize, const P: usize>(
    depth: usize,
    rows: [&[f32]; R],
    right: T,
    sums: &mut [f32],
    width: usize,
    first: bool,
) -> usize {
    let vectors = PANEL / L::WIDTH;
    let mut held = [[[L::splat(0.0); PANEL_VECTORS]; P]; R];
    if !first {
        for i in 0..R {
            for p in 0..P {
                for v in 0..vectors {
                    held[i][p][v] = L::load(&sums[i * width + p * PANEL + v * L::WIDTH..]);
                }
            }
        }
    }
    let mut left = rows;
    for row in &mut left {
        *row = &row[..depth];
    }
    for k in 0..depth {
        let mut b = [[L::splat(0.0); PANEL_VECTORS]; P];
        for p in 0..P {
            let line = right.line(p, k);
            for v in 0..vectors {
                b[p][v] = L::load(&line[v * L::WIDTH..]);
            }
        }
        for i in 0..R {
            let a = L::splat(left[i][k]);
            for p in 0..P {
                for v in 0..vectors {
                    held[i][p][v] = a.mul_add(b[p][v], held[i][p][v]);
                }
            }
        }
    }
    for i in 0..R {
        for p in 0..P {
            for v in 0..vectors {
                held[i][p][v].store(&mut sums[i * width + p * PANEL + v * L::WIDTH..]);
            }
        }
    }
    P
}
