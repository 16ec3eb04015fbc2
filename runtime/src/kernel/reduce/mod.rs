//! `Reduce`: sums, means, products and extremes over any axes, with a program before and one after.
//!
//! Positions are numbered so that the operand is read in its own order: where the last axis is reduced, lines of
//! elements that fold to one total (`[kept.., reduced..]`); else rows of elements that fold to as many totals
//! (`[kept.., reduced.., columns]`). The order in which a total's elements are combined is that of the reduced axes, in
//! vectors and blocks fixed by the sizes (see `fold`); it does not depend on threads, which take ranges of the totals.
//! Floats have totals in `f64`, integers in `i64`, rounded or wrapped once.

mod fold;

use std::ops::Range;

use crate::kernel::ReduceFn;
use crate::kernel::call::{Call, Operand, RunError, Source};
use crate::kernel::grid::{Grid, Pattern};
use crate::kernel::parallel::{check_call, cut_out, for_parts, part_of, parts};
use crate::kernel::sum::PIECE;
use crate::kernel::tile::{Class, Feed, Out, Results, TileProgram, Values, round_values};
use crate::point::Program;
use crate::scalar;
use crate::simd::Isa;
use crate::types::{DType, Layout};

use fold::{Columns, ROWS, Totals, lines, neutral_float, neutral_int};

/// Totals that are finished together.
const BLOCK: usize = 1024;

/// Columns below which several rows go through the programs at once.
const NARROW: usize = 64;

/// A prepared `Reduce`.
#[derive(Debug)]
pub struct Reduce {
    function: ReduceFn,
    prologue: TileProgram,
    /// Its grid's last layout is the result's.
    epilogue: TileProgram,
    /// Of the operands, then of the result.
    layouts: Vec<Layout>,
    body: usize,
    core: DType,
    written: DType,
    /// Whether the prologue passes on its one operand, in its class and densely in the order of the positions.
    dense_body: bool,
    /// Elements that fold to one total.
    count: usize,
    /// Neighbouring totals of one row; one where lines are folded.
    columns: usize,
    totals: usize,
    threads: usize,
    cost: u64,
}

/// One thread's memory.
struct Scratch<'a> {
    /// [`PIECE`] values of any class.
    values: &'a mut [u64],
    totals: &'a mut [u64],
    partial: &'a mut [f32],
    program: &'a mut [u8],
}

impl Reduce {
    /// Prepares a reduction over `axes` of operands of these layouts (those of the prologue, over the domain, then those
    /// of the epilogue, over the result's shape).
    ///
    /// Errors when a program is ill-formed, or an axis or layout does not fit.
    pub fn prepare(
        function: ReduceFn,
        axes: &[usize],
        (prologue, epilogue): (&Program, &Program),
        reads: &[&Layout],
        write: &Layout,
        threads: usize,
    ) -> Result<Reduce, String> {
        let (before, after) = (prologue.dtypes()?, epilogue.dtypes()?);
        let (&[core], &[written]) = (prologue.outputs.as_slice(), epilogue.outputs.as_slice()) else {
            return Err("a reduction has one operand and one result".into());
        };
        let (core, written) = (before[core as usize], after[written as usize]);
        let body = prologue.inputs.len();
        if epilogue.inputs.first() != Some(&core) || reads.len() != body + epilogue.inputs.len() - 1 {
            return Err("the epilogue of a reduction does not fit".into());
        }
        let domain = &reads.first().ok_or("a reduction has an operand")?.shape;
        if axes.iter().any(|&axis| axis >= domain.len()) {
            return Err("a reduced axis does not exist".into());
        }
        let mut is_reduced = vec![false; domain.len()];
        axes.iter().for_each(|&axis| is_reduced[axis] = true);
        let product = |reduced: bool| -> usize {
            let axes = (0..domain.len()).filter(|&axis| is_reduced[axis] == reduced);
            axes.map(|axis| domain[axis]).product()
        };
        let (count, totals) = (product(true), product(false));
        // The kept axes after the last reduced one that has a length to speak of.
        let inner =
            (0..domain.len()).rev().find(|&axis| is_reduced[axis] && domain[axis] > 1).map_or(0, |last| last + 1);
        let columns: usize = (inner..domain.len()).filter(|&axis| !is_reduced[axis]).map(|axis| domain[axis]).product();
        let kept = |range: Range<usize>| range.filter(|&axis| !is_reduced[axis]).collect::<Vec<_>>();
        let reduced: Vec<usize> = (0..domain.len()).filter(|&axis| is_reduced[axis]).collect();
        let order = [kept(0..inner), reduced, kept(inner..domain.len())].concat();
        let before_grid = Grid::new(domain, &reads[..body], &order)?;
        let after_layouts: Vec<&Layout> = reads[body..].iter().copied().chain([write]).collect();
        let after_grid = Grid::row_major(&write.shape, &after_layouts)?;
        if after_grid.len() != totals {
            return Err("the result of a reduction has another shape".into());
        }
        let native = core == Class::of(core).native();
        let dense_body = prologue.is_identity() && native && before_grid.pattern(0) == Pattern::Dense;
        let cost = (prologue.flops() + 1).saturating_mul(before_grid.len() as u64);
        Ok(Reduce {
            function,
            prologue: TileProgram::new(prologue, false, before_grid, Results::Values)?,
            epilogue: TileProgram::new(epilogue, true, after_grid, Results::Layouts)?,
            layouts: reads.iter().copied().chain([write]).cloned().collect(),
            body,
            core,
            written,
            dense_body,
            count,
            columns,
            totals,
            threads: threads.max(1),
            cost,
        })
    }

    fn scratch_bytes(&self) -> usize {
        PIECE * 8 + BLOCK * 8 + BLOCK * 4 + self.prologue.scratch_bytes().max(self.epilogue.scratch_bytes())
    }

    /// Bytes of scratch for all threads together.
    pub fn workspace_bytes(&self) -> usize {
        self.scratch_bytes().saturating_mul(self.threads)
    }

    /// Runs the reduction. Fails, before anything is written, when the call does not fit what was prepared.
    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        check_call(call.reads, call.writes, &self.layouts)?;
        if call.workspace.len() < self.workspace_bytes() {
            return Err(RunError::Argument("a workspace is too small".into()));
        }
        if call.reads[..self.body].iter().any(|read| matches!(read.source, Source::Written(_))) {
            return Err(RunError::Argument("what is reduced is tied to the result".into()));
        }
        if self.totals == 0 {
            return Ok(());
        }
        let write = &mut call.writes[0];
        let out = Out { origin: write.layout.offset, bytes: &mut *write.bytes };
        let grid = self.epilogue.grid();
        let layout = grid.strides.len() - 1;
        let threads = if grid.is_ascending(layout) { call.threads.count.min(self.threads) } else { 1 };
        // Narrow rows are not divided.
        let unit = match self.columns {
            1 => 1,
            columns if columns < NARROW => columns,
            _ => 16,
        };
        let parts = parts(threads, self.cost, self.totals.div_ceil(unit));
        let range = |part: usize| part_of(self.totals, unit, part, parts);
        let reads = call.reads;
        for_parts(
            call.threads,
            0..parts,
            (out, call.workspace),
            &|(out, scratch), at, of| {
                let (left, right) = cut_out(grid, layout, self.written, out, range(at).start);
                let (first, second) = scratch.split_at_mut((at - of.start) * self.scratch_bytes());
                ((left, first), (right, second))
            },
            &|(mut out, scratch), part| {
                let (values, rest) = scratch.split_at_mut(PIECE * 8);
                let (totals, rest) = rest.split_at_mut(BLOCK * 8);
                let (partial, program) = rest.split_at_mut(BLOCK * 4);
                let mut scratch = Scratch {
                    values: bytemuck::cast_slice_mut(values),
                    totals: bytemuck::cast_slice_mut(totals),
                    partial: bytemuck::cast_slice_mut(partial),
                    program,
                };
                match self.columns {
                    1 => self.lines(isa, reads, &mut out, range(part), &mut scratch),
                    _ => self.columns(isa, reads, &mut out, range(part), &mut scratch),
                }
            },
        );
        Ok(())
    }

    /// The values of the positions `start .. start + n`, in the operand itself or computed into `buffer`.
    fn values<'a>(
        &self,
        isa: Isa,
        reads: &[Operand<'a>],
        start: usize,
        n: usize,
        buffer: &'a mut [u64],
        scratch: &mut [u8],
    ) -> Values<'a> {
        let class = Class::of(self.core);
        let size = class.native().size();
        if let (true, Source::Bytes(bytes)) = (self.dense_body, reads[0].source) {
            let at = (reads[0].layout.offset + start as i64) as usize * size;
            return Values::of_bytes(class, &bytes[at..][..n * size]);
        }
        let buffer: &mut [u8] = &mut bytemuck::cast_slice_mut(buffer)[..n * size];
        let feed = Feed { reads: &reads[..self.body], ..Feed::default() };
        let out = Out { bytes: &mut *buffer, origin: -(start as i64) };
        self.prologue.run(isa, &feed, &mut [out], start, n, scratch);
        Values::of_bytes(class, buffer)
    }

    /// Folds lines to the totals `range`.
    fn lines(&self, isa: Isa, reads: &[Operand], out: &mut Out, range: Range<usize>, scratch: &mut Scratch) {
        let float = self.core.is_float();
        // Short lines share a piece.
        let together = (PIECE / self.count.max(1)).clamp(1, BLOCK);
        let mut first = range.start;
        while first < range.end {
            let block = BLOCK.min(range.end - first);
            self.clear(&mut scratch.totals[..block]);
            let mut done = 0;
            while done < block && self.count > 0 {
                let n = together.min(block - done);
                let start = (first + done) * self.count;
                for piece in (0..self.count).step_by(PIECE) {
                    let len = PIECE.min(self.count - piece);
                    let positions = if n == 1 { len } else { n * self.count };
                    let values = self.values(isa, reads, start + piece, positions, scratch.values, scratch.program);
                    lines(isa, self.function, len, values, totals_of(float, &mut scratch.totals[done..done + n]));
                }
                done += n;
            }
            self.finish(isa, reads, out, first, block, scratch);
            first += block;
        }
    }

    /// Folds rows to the totals `range`.
    fn columns(&self, isa: Isa, reads: &[Operand], out: &mut Out, range: Range<usize>, scratch: &mut Scratch) {
        let float = self.core.is_float();
        let width = self.columns;
        let mut first = range.start;
        while first < range.end {
            // Several short rows of totals are finished together.
            let block = match width < NARROW {
                true => (BLOCK / width * width).min(range.end - first),
                false => BLOCK.min(range.end - first).min(width - first % width),
            };
            self.clear(&mut scratch.totals[..block]);
            let mut done = 0;
            while done < block {
                let (outer, column) = ((first + done) / width, (first + done) % width);
                let n = (width - column).min(block - done);
                let totals = totals_of(float, &mut scratch.totals[done..done + n]);
                let mut columns = Columns { totals, partial: &mut scratch.partial[..n], pending: 0 };
                columns.clear(self.function, self.core);
                // Rows used in place, and those that fit a piece, are folded together; by divisors of `ROWS`, so that
                // the totals take over after the same rows in any case.
                let together = match self.dense_body {
                    true => ROWS,
                    false if n == width => 1 << (PIECE / width).clamp(1, ROWS).ilog2(),
                    false => 1,
                };
                let mut row = 0;
                while row < self.count {
                    let rows = together.min(self.count - row);
                    let start = (outer * self.count + row) * width + column;
                    let values =
                        self.values(isa, reads, start, (rows - 1) * width + n, scratch.values, scratch.program);
                    columns.rows(isa, self.function, values, width.min((rows - 1) * width + n));
                    row += rows;
                }
                columns.settle(self.function);
                done += n;
            }
            self.finish(isa, reads, out, first, block, scratch);
            first += block;
        }
    }

    fn clear(&self, totals: &mut [u64]) {
        match self.core.is_float() {
            true => totals.fill(neutral_float(self.function).to_bits()),
            false => totals.fill(neutral_int(self.function, self.core) as u64),
        }
    }

    /// Turns totals into results of the core, and runs the epilogue on them.
    fn finish(&self, isa: Isa, reads: &[Operand], out: &mut Out, first: usize, n: usize, scratch: &mut Scratch) {
        let class = Class::of(self.core);
        let mean = self.function == ReduceFn::Mean;
        let totals = &scratch.totals[..n];
        let size = class.native().size();
        let bytes: &mut [u8] = &mut bytemuck::cast_slice_mut(scratch.values)[..n * size];
        let float = |bits: u64| match mean {
            true => f64::from_bits(bits) / self.count as f64,
            false => f64::from_bits(bits),
        };
        let int = |bits: u64| match mean {
            true => scalar::wrap(self.core, (bits as i64).checked_div(self.count as i64).unwrap_or(0)),
            false => scalar::wrap(self.core, bits as i64),
        };
        match class {
            Class::F32 => {
                let results: &mut [f32] = bytemuck::cast_slice_mut(bytes);
                results.iter_mut().zip(totals).for_each(|(result, &bits)| *result = float(bits) as f32);
                round_values(self.core, results);
            }
            Class::F64 => {
                let results: &mut [f64] = bytemuck::cast_slice_mut(bytes);
                results.iter_mut().zip(totals).for_each(|(result, &bits)| *result = float(bits));
            }
            Class::I32 => {
                let results: &mut [i32] = bytemuck::cast_slice_mut(bytes);
                results.iter_mut().zip(totals).for_each(|(result, &bits)| *result = int(bits) as i32);
            }
            Class::I64 => {
                let results: &mut [i64] = bytemuck::cast_slice_mut(bytes);
                results.iter_mut().zip(totals).for_each(|(result, &bits)| *result = int(bits));
            }
        }
        let feed = Feed { reads: &reads[self.body..], core: Some(Values::of_bytes(class, bytes)), old: None };
        self.epilogue.run(isa, &feed, std::slice::from_mut(out), first, n, scratch.program);
    }
}

fn totals_of(float: bool, totals: &mut [u64]) -> Totals<'_> {
    if float { Totals::Float(bytemuck::cast_slice_mut(totals)) } else { Totals::Int(bytemuck::cast_slice_mut(totals)) }
}
