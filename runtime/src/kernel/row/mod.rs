//! `Row`: softmax, layer norm and their like over the last axis, with a program before and one after.
//!
//! A row is computed in three steps: its elements by the prologue, into a buffer unless they lie ready in the operand;
//! the row function, in place or from the operand into the buffer; the epilogue, from the buffer into the result. All
//! of a row's elements are read before the first of its results is written, except where prologue and epilogue are
//! identities and the row is computed in the result itself. So an operand of the prologue may be the old content of the
//! result.
//!
//! Short rows go several at a time, so that the programs work on full tiles.

mod function;

use crate::kernel::RowFn;
use crate::kernel::call::{Call, Operand, RunError, Source};
use crate::kernel::grid::{Grid, Pattern};
use crate::kernel::parallel::{check_call, cut_out, for_parts, part_of, parts};
use crate::kernel::tile::{Class, Feed, Out, Results, TILE, TileProgram, Values, round_values};
use crate::point::Program;
use crate::simd::Isa;
use crate::types::{DType, Layout};

use function::{DoubleRows, FloatRows};

/// A prepared `Row`.
#[derive(Debug)]
pub struct Row {
    function: RowFn,
    prologue: TileProgram,
    /// Its grid's last layout is the result's.
    epilogue: TileProgram,
    /// Of the operands, then of the result.
    layouts: Vec<Layout>,
    body: usize,
    core: DType,
    written: DType,
    /// Whether the prologue passes on its one operand, of the core's dtype in its class.
    plain_body: bool,
    /// Whether moreover that operand lies densely.
    dense_body: bool,
    /// Whether the result is what the row function gives, densely in its class.
    plain_result: bool,
    rows: usize,
    len: usize,
    /// Rows computed at a time.
    block: usize,
    threads: usize,
    cost: u64,
}

impl Row {
    /// Prepares a row function for operands of these layouts (those of the prologue first) and one result.
    ///
    /// Errors when a program is ill-formed, the core's dtype is no float, or a layout does not fit the domain.
    pub fn prepare(
        function: RowFn,
        prologue: &Program,
        epilogue: &Program,
        reads: &[&Layout],
        write: &Layout,
        threads: usize,
    ) -> Result<Row, String> {
        let (before, after) = (prologue.dtypes()?, epilogue.dtypes()?);
        let (&[core], &[written]) = (prologue.outputs.as_slice(), epilogue.outputs.as_slice()) else {
            return Err("a row function has one operand and one result".into());
        };
        let (core, written) = (before[core as usize], after[written as usize]);
        if !core.is_float() || epilogue.inputs.first() != Some(&core) {
            return Err(format!("a row function is not defined on {core}"));
        }
        let body = prologue.inputs.len();
        let extra = epilogue.inputs.len() - 1;
        if reads.len() != body + extra {
            return Err(format!("expected {} operands, found {}", body + extra, reads.len()));
        }
        let shape = &write.shape;
        let (&len, outer) = shape.split_last().ok_or("a row function needs an axis")?;
        let rows = if len == 0 { 0 } else { outer.iter().product() };
        let before_grid = Grid::row_major(shape, &reads[..body])?;
        let after_layouts: Vec<&Layout> = reads[body..].iter().copied().chain([write]).collect();
        let after_grid = Grid::row_major(shape, &after_layouts)?;
        let native = core == Class::of(core).native();
        let plain_body = prologue.is_identity();
        let dense_body = plain_body && native && before_grid.pattern(0) == Pattern::Dense;
        let plain_result = epilogue.is_identity() && native && after_grid.pattern(extra) == Pattern::Dense;
        let cost = (prologue.flops() + epilogue.flops() + 20).saturating_mul(after_grid.len() as u64);
        Ok(Row {
            function,
            prologue: TileProgram::new(prologue, false, before_grid, Results::Values)?,
            epilogue: TileProgram::new(epilogue, true, after_grid, Results::Layouts)?,
            layouts: reads.iter().copied().chain([write]).cloned().collect(),
            body,
            core,
            written,
            plain_body,
            dense_body,
            plain_result,
            rows,
            len,
            block: (TILE / len.max(1)).max(1),
            threads: threads.max(1),
            cost,
        })
    }

    fn value_bytes(&self) -> usize {
        Class::of(self.core).native().size()
    }

    /// Bytes of the buffer of one thread.
    fn buffer_bytes(&self) -> usize {
        (self.block.saturating_mul(self.len)).saturating_mul(self.value_bytes()).next_multiple_of(64)
    }

    fn scratch_bytes(&self) -> usize {
        // The two programs never run at the same time.
        self.prologue.scratch_bytes().max(self.epilogue.scratch_bytes()).saturating_add(self.buffer_bytes())
    }

    /// Bytes of scratch for all threads together.
    pub fn workspace_bytes(&self) -> usize {
        self.scratch_bytes().saturating_mul(self.threads)
    }

    /// Runs the function. Fails, before anything is written, when the call does not fit what was prepared.
    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        check_call(call.reads, call.writes, &self.layouts)?;
        if call.workspace.len() < self.workspace_bytes() {
            return Err(RunError::Argument("a workspace is too small".into()));
        }
        if self.rows == 0 {
            return Ok(());
        }
        let write = &mut call.writes[0];
        let out = Out { origin: write.layout.offset, bytes: &mut *write.bytes };
        let grid = self.epilogue.grid();
        let layout = grid.strides.len() - 1;
        let threads = if grid.is_ascending(layout) { call.threads.count.min(self.threads) } else { 1 };
        let parts = parts(threads, self.cost, self.rows.div_ceil(self.block));
        let range = |part: usize| part_of(self.rows, self.block, part, parts);
        let reads = call.reads;
        for_parts(
            call.threads,
            0..parts,
            (out, call.workspace),
            &|(out, scratch), at, of| {
                let (left, right) = cut_out(grid, layout, self.written, out, range(at).start * self.len);
                let (first, second) = scratch.split_at_mut((at - of.start) * self.scratch_bytes());
                ((left, first), (right, second))
            },
            &|(mut out, scratch), part| {
                let rows = range(part);
                let mut first = rows.start;
                while first < rows.end {
                    let count = self.block.min(rows.end - first);
                    self.block(isa, reads, &mut out, first, count, scratch);
                    first += count;
                }
            },
        );
        Ok(())
    }

    /// Computes `rows` rows from `first` on.
    fn block(&self, isa: Isa, reads: &[Operand], out: &mut Out, first: usize, rows: usize, scratch: &mut [u8]) {
        let (buffer, scratch) = scratch.split_at_mut(self.buffer_bytes());
        let (body, extras) = reads.split_at(self.body);
        let (start, n) = (first * self.len, rows * self.len);
        let bytes = n * self.value_bytes();
        let tied = body.iter().any(|operand| matches!(operand.source, Source::Written(_)));
        let ready = match body[0].source {
            Source::Bytes(bytes) if self.dense_body => Some((bytes, body[0].layout.offset)),
            _ => None,
        };
        if self.plain_result && (ready.is_some() || (tied && self.plain_body)) {
            // The result serves as the buffer; where the operand is tied it holds the elements already.
            let at = (out.origin + start as i64) as usize * self.value_bytes();
            let target = &mut out.bytes[at..][..bytes];
            return self.rows(isa, ready.map(|ready| self.elements(ready, start, n)), target);
        }
        let buffer = &mut buffer[..bytes];
        match ready {
            Some(ready) => self.rows(isa, Some(self.elements(ready, start, n)), buffer),
            None => {
                let feed = Feed { reads: body, core: None, old: Some((&*out.bytes, out.origin)) };
                let origin = -(start as i64);
                self.prologue.run(isa, &feed, &mut [Out { bytes: &mut *buffer, origin }], start, n, scratch);
                self.rows(isa, None, buffer);
            }
        }
        let core = Values::of_bytes(Class::of(self.core), buffer);
        let feed = Feed { reads: extras, core: Some(core), old: None };
        self.epilogue.run(isa, &feed, std::slice::from_mut(out), start, n, scratch);
    }

    /// Bytes of the elements of a dense operand.
    fn elements<'a>(&self, (bytes, offset): (&'a [u8], i64), start: usize, n: usize) -> &'a [u8] {
        &bytes[(offset + start as i64) as usize * self.value_bytes()..][..n * self.value_bytes()]
    }

    /// Applies the function to whole rows: those of `source`, or of `target` itself.
    fn rows(&self, isa: Isa, source: Option<&[u8]>, target: &mut [u8]) {
        let (function, len) = (self.function, self.len);
        if self.core == DType::F64 {
            let source = source.map(bytemuck::cast_slice);
            DoubleRows { function, len, source, target: bytemuck::cast_slice_mut(target) }.run();
        } else {
            let target: &mut [f32] = bytemuck::cast_slice_mut(target);
            isa.run(FloatRows { function, len, source: source.map(bytemuck::cast_slice), target: &mut *target });
            round_values(self.core, target);
        }
    }
}
