//! `Map`: a point program over a domain, with one result or several, of any layouts.
//!
//! Positions are numbered so that the first result is written upwards, and threads take ranges of positions. A program
//! that only passes its operand on is a copy, with loops of its own that also transpose (`copy.rs`).

use crate::kernel::call::{Call, RunError};
use crate::kernel::copy::Copy;
use crate::kernel::grid::Grid;
use crate::kernel::parallel::{check_call, cut_out, for_parts, part_of, parts};
use crate::kernel::tile::{Feed, Out, Results, TILE, TileProgram};
use crate::point::{MAX_REGISTERS, Program};
use crate::simd::Isa;
use crate::types::{DType, Layout};

/// A prepared `Map`.
#[derive(Debug)]
pub struct Map {
    form: Form,
    /// Of the operands, then of the results.
    layouts: Vec<Layout>,
    results: Vec<DType>,
    operands: usize,
    threads: usize,
    /// Additions in all, for the decision how many threads are worth it.
    cost: u64,
}

#[derive(Debug)]
enum Form {
    Tiles(TileProgram),
    Copy(Copy),
}

impl Map {
    /// Prepares `program` for operands and results of these layouts, for at most `threads` threads.
    ///
    /// Errors when the program is ill-formed, or a layout does not fit the domain or is written twice in one element.
    pub fn prepare(program: &Program, reads: &[&Layout], writes: &[&Layout], threads: usize) -> Result<Map, String> {
        let dtypes = program.dtypes()?;
        if reads.len() != program.inputs.len() || writes.len() != program.outputs.len() {
            return Err("a map takes one layout for each operand and result of its program".into());
        }
        let shape = &writes.first().ok_or("a map has a result")?.shape;
        let grid = Grid::ascending(shape, reads, writes)?;
        let results: Vec<DType> = program.outputs.iter().map(|&reg| dtypes[reg as usize]).collect();
        let cost = (program.flops() + reads.len() as u64 + 1).saturating_mul(grid.len() as u64);
        let form = if program.is_identity() {
            Form::Copy(Copy::new(grid, results[0]))
        } else {
            Form::Tiles(TileProgram::new(program, false, grid, Results::Layouts)?)
        };
        let layouts = reads.iter().chain(writes).map(|&layout| layout.clone()).collect();
        Ok(Map { form, layouts, results, operands: reads.len(), threads: threads.max(1), cost })
    }

    /// Bytes of scratch for all threads together.
    pub fn workspace_bytes(&self) -> usize {
        match &self.form {
            Form::Tiles(tiles) => tiles.scratch_bytes().saturating_mul(self.threads),
            Form::Copy(_) => 0,
        }
    }

    /// Runs the map. Fails, before anything is written, when the call does not fit what was prepared.
    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        check_call(call.reads, call.writes, &self.layouts)?;
        match self.results.len() {
            1 => self.run_with::<1>(isa, call),
            2..=4 => self.run_with::<4>(isa, call),
            _ => self.run_with::<MAX_REGISTERS>(isa, call),
        }
    }

    fn grid(&self) -> &Grid {
        match &self.form {
            Form::Tiles(tiles) => tiles.grid(),
            Form::Copy(copy) => copy.grid(),
        }
    }

    fn run_with<const OUTS: usize>(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let grid = self.grid();
        let len = grid.len();
        let count = self.results.len();
        if call.workspace.len() < self.workspace_bytes() {
            return Err(RunError::Argument("a workspace is too small".into()));
        }
        let mut writes = call.writes.iter_mut();
        let outs: [Out; OUTS] = std::array::from_fn(|i| match writes.next() {
            Some(write) => {
                let origin = write.layout.offset + grid.starts[self.operands + i];
                Out { bytes: &mut *write.bytes, origin }
            }
            None => Out::default(),
        });
        // Results whose elements do not ascend cannot be divided among threads.
        let ascending = (0..count).all(|i| grid.is_ascending(self.operands + i));
        let threads = if ascending { call.threads.count.min(self.threads) } else { 1 };
        let parts = parts(threads, self.cost, len.div_ceil(TILE));
        let range = |part: usize| part_of(len, TILE, part, parts);
        let scratch_bytes = match &self.form {
            Form::Tiles(tiles) => tiles.scratch_bytes(),
            Form::Copy(_) => 0,
        };
        let reads = call.reads;
        for_parts(
            call.threads,
            0..parts,
            State { outs, scratch: call.workspace },
            &|state, at, of| self.cut(state, range(at).start, (at - of.start) * scratch_bytes),
            &|mut state, part| {
                let range = range(part);
                let outs = &mut state.outs[..count];
                match &self.form {
                    Form::Tiles(tiles) => {
                        let feed = Feed { reads, ..Feed::default() };
                        tiles.run(isa, &feed, outs, range.start, range.len(), state.scratch);
                    }
                    Form::Copy(copy) => copy.run(&reads[0], &mut outs[0], range),
                }
            },
        );
        Ok(())
    }

    /// Divides results at a position, and scratch at a byte.
    fn cut<'a, const OUTS: usize>(
        &self,
        state: State<'a, OUTS>,
        position: usize,
        byte: usize,
    ) -> (State<'a, OUTS>, State<'a, OUTS>) {
        let (first, second) = state.scratch.split_at_mut(byte);
        let mut before = State { outs: std::array::from_fn(|_| Out::default()), scratch: first };
        let mut after = State { outs: std::array::from_fn(|_| Out::default()), scratch: second };
        for (i, out) in state.outs.into_iter().enumerate().take(self.results.len()) {
            let (left, right) = cut_out(self.grid(), self.operands + i, self.results[i], out, position);
            (before.outs[i], after.outs[i]) = (left, right);
        }
        (before, after)
    }
}

/// What one thread has to itself.
struct State<'a, const OUTS: usize> {
    outs: [Out<'a>; OUTS],
    scratch: &'a mut [u8],
}
