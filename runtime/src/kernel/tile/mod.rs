//! The tile interpreter: runs a [`Program`] over ranges of positions, [`TILE`] elements at a time.
//!
//! A register is a tile, small enough that the live ones stay in the first-level cache, and each instruction is one
//! vector loop over it. Registers come in four *classes*, by what they are computed in: `f32` (for `f32`, and for `f16`
//! and `bf16` whose values are rounded after each instruction), `i32` (for `bool` and the integers up to 32 bits,
//! wrapped after each instruction), `f64` and `i64`. Values are converted when loaded and when stored.
//!
//! An operand is used where it lies when the tile's elements lie there contiguously in their class's own type, as one
//! value when the tile names a single element of it, and is copied into its register else. Operands tied to a result
//! ([`Source::Written`]) are always copied, all of them before anything of the tile is stored; that is what makes ties of
//! equal layout safe here.
//!
//! Tails go through whole vectors, so the bits of a result do not depend on its position in the tile.

mod apply;
mod exact;
mod float;
mod memory;
#[cfg(test)]
pub(crate) mod tests;

use crate::kernel::call::{Operand, Source};
use crate::kernel::grid::{Grid, Pattern};
use crate::point::{MAX_REGISTERS, PointFn, Program, Typing};
use crate::simd::Isa;
use crate::types::DType;

pub use apply::round as round_values;
use apply::{Target, View, apply};
use memory::{class_bits, load, store};

/// Elements of a register.
pub const TILE: usize = 512;

type Narrow = [u32; TILE];
type Wide = [u64; TILE];

/// What a register is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    F32,
    I32,
    F64,
    I64,
}

impl Class {
    pub fn of(dtype: DType) -> Class {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 => Class::F32,
            DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::Bool => Class::I32,
            DType::F64 => Class::F64,
            DType::I64 => Class::I64,
        }
    }

    /// The dtype whose elements are the class's own values.
    pub fn native(self) -> DType {
        match self {
            Class::F32 => DType::F32,
            Class::I32 => DType::I32,
            Class::F64 => DType::F64,
            Class::I64 => DType::I64,
        }
    }

    fn is_wide(self) -> bool {
        matches!(self, Class::F64 | Class::I64)
    }
}

/// Values of a class.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    F32(&'a [f32]),
    I32(&'a [i32]),
    F64(&'a [f64]),
    I64(&'a [i64]),
}

impl<'a> Values<'a> {
    fn slice(self, start: usize, len: usize) -> Values<'a> {
        match self {
            Values::F32(values) => Values::F32(&values[start..][..len]),
            Values::I32(values) => Values::I32(&values[start..][..len]),
            Values::F64(values) => Values::F64(&values[start..][..len]),
            Values::I64(values) => Values::I64(&values[start..][..len]),
        }
    }

    /// Bytes as values of `class`.
    pub fn of_bytes(class: Class, bytes: &[u8]) -> Values<'_> {
        match class {
            Class::F32 => Values::F32(bytemuck::cast_slice(bytes)),
            Class::I32 => Values::I32(bytemuck::cast_slice(bytes)),
            Class::F64 => Values::F64(bytemuck::cast_slice(bytes)),
            Class::I64 => Values::I64(bytemuck::cast_slice(bytes)),
        }
    }
}

/// Where results go.
#[derive(Debug, Default)]
pub struct Out<'a> {
    pub bytes: &'a mut [u8],
    /// The element of `bytes` that belongs to position 0; negative when `bytes` begins at a later one.
    pub origin: i64,
}

/// What a run of a program takes its inputs from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Feed<'a> {
    pub reads: &'a [Operand<'a>],
    /// The core's results of the positions to compute, in the class of input 0, for programs with a core.
    pub core: Option<Values<'a>>,
    /// What tied operands read, when that is not the results of this program: their storage, and the element of it that
    /// belongs to position 0.
    pub old: Option<(&'a [u8], i64)>,
}

/// How a program's results are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Results {
    /// In the layouts that follow the operands' in the grid.
    Layouts,
    /// One after the other in the order of the positions.
    Contiguous,
    /// Likewise, but as values of their classes.
    Values,
}

/// Where a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Input(usize),
    Narrow(usize),
    Wide(usize),
    /// One value, as bits of its class.
    Constant(u64),
    /// In the memory of a result, and read by no instruction.
    Output(usize),
}

#[derive(Debug)]
struct Input {
    dtype: DType,
    class: Class,
    /// The operand, `None` for the core's result.
    read: Option<usize>,
    pattern: Pattern,
    /// The register to copy the operand into where it cannot be used in place.
    register: Place,
}

#[derive(Debug)]
struct Instr {
    function: PointFn,
    /// Of the last argument: the one that values are computed in.
    dtype: DType,
    result: DType,
    args: [Place; 3],
    to: Place,
}

#[derive(Debug)]
struct Output {
    dtype: DType,
    from: Place,
    class: Class,
    /// Which layout of the grid, or none when results are stored contiguously in the order of the positions.
    layout: Option<usize>,
    pattern: Pattern,
}

/// A program prepared for operands and results of given layouts.
#[derive(Debug)]
pub struct TileProgram {
    /// Layouts: the operands', then the results' unless they are contiguous.
    grid: Grid,
    inputs: Vec<Input>,
    code: Vec<Instr>,
    outputs: Vec<Output>,
    narrow: usize,
    wide: usize,
}

/// What of an input a tile uses in place.
#[derive(Clone, Copy)]
enum Bound<'a> {
    Slice(Values<'a>),
    /// One value, as bits of its class.
    Splat(u64),
    Register,
}

impl TileProgram {
    /// Prepares `program` for positions of `grid`, whose layouts are those of the operands in order and then, for
    /// [`Results::Layouts`], those of the results. With `core` the program's input 0 is no operand but the core's result.
    ///
    /// Errors when the program is ill-formed or the numbers do not fit.
    pub fn new(program: &Program, core: bool, grid: Grid, results: Results) -> Result<TileProgram, String> {
        let dtypes = program.dtypes()?;
        let operands = program.inputs.len().checked_sub(usize::from(core)).ok_or("a program lacks its core's input")?;
        let contiguous = results != Results::Layouts;
        let layouts = operands + if contiguous { 0 } else { program.outputs.len() };
        if grid.strides.len() != layouts {
            return Err(format!("a program takes {layouts} layouts, found {}", grid.strides.len()));
        }
        // Position of the instruction that reads each register last; outputs are read after all instructions.
        let mut last_read = vec![None; dtypes.len()];
        for (at, instr) in program.code.iter().enumerate() {
            for &arg in &instr.args[..instr.function.row().arity] {
                last_read[arg as usize] = Some(at);
            }
        }
        let is_read = last_read.clone();
        for &reg in &program.outputs {
            last_read[reg as usize] = Some(program.code.len());
        }
        let mut pool = Pool::default();
        let mut places = Vec::with_capacity(dtypes.len());
        let mut inputs = Vec::with_capacity(program.inputs.len());
        for (index, &dtype) in program.inputs.iter().enumerate() {
            let read = index.checked_sub(usize::from(core));
            let pattern = read.map_or(Pattern::Dense, |read| grid.pattern(read));
            let class = Class::of(dtype);
            let register = match (read, last_read[index]) {
                // A register of its own even if it may never be needed: whether the operand is tied is known at the call.
                (Some(_), Some(_)) => pool.take(class),
                _ => Place::Constant(0),
            };
            inputs.push(Input { dtype, class, read, pattern, register });
            places.push(Place::Input(index));
        }
        let mut code = Vec::with_capacity(program.code.len());
        for (at, instr) in program.code.iter().enumerate() {
            let reg = program.inputs.len() + at;
            let result = dtypes[reg];
            let arity = instr.function.row().arity;
            if let PointFn::Const(bits, dtype) = instr.function {
                places.push(Place::Constant(class_bits(dtype, bits)));
                continue;
            }
            let mut args = [Place::Constant(0); 3];
            for (place, &arg) in args.iter_mut().zip(&instr.args[..arity]) {
                *place = places[arg as usize];
            }
            let mut found = (0..program.outputs.len()).filter(|&output| program.outputs[output] as usize == reg);
            let direct = match (found.next(), found.next(), is_read[reg]) {
                (Some(output), None, None) => {
                    let dense = contiguous || grid.pattern(operands + output) == Pattern::Dense;
                    let native = results == Results::Values || Class::of(result).native() == result;
                    Some(output).filter(|_| dense && native)
                }
                _ => None,
            };
            // The result's register is taken before those of the arguments are given back: an instruction never
            // writes where it reads.
            let to = match direct {
                Some(output) => Place::Output(output),
                None => pool.take(Class::of(result)),
            };
            places.push(to);
            for (nth, &arg) in instr.args[..arity].iter().enumerate() {
                let first = !instr.args[..nth].contains(&arg);
                if first && last_read[arg as usize] == Some(at) {
                    pool.give(match places[arg as usize] {
                        Place::Input(input) => inputs[input].register,
                        place => place,
                    });
                }
            }
            if last_read[reg].is_none() {
                pool.give(to);
            }
            let dtype = arity.checked_sub(1).map_or(result, |last| dtypes[instr.args[last] as usize]);
            code.push(Instr { function: instr.function, dtype, result, args, to });
        }
        let outputs = program.outputs.iter().enumerate().map(|(index, &reg)| {
            let layout = (!contiguous).then_some(operands + index);
            let (dtype, class) = (dtypes[reg as usize], Class::of(dtypes[reg as usize]));
            Output {
                dtype: if results == Results::Values { class.native() } else { dtype },
                class,
                from: places[reg as usize],
                layout,
                pattern: layout.map_or(Pattern::Dense, |layout| grid.pattern(layout)),
            }
        });
        let outputs = outputs.collect();
        Ok(TileProgram { grid, inputs, code, outputs, narrow: pool.narrow, wide: pool.wide })
    }

    /// Bytes of scratch for one thread; scratch is aligned to 8 at least.
    pub fn scratch_bytes(&self) -> usize {
        (self.narrow * size_of::<Narrow>() + self.wide * size_of::<Wide>()).next_multiple_of(64)
    }

    /// Whether the one result is the core's result, unchanged.
    pub fn is_identity(&self) -> bool {
        self.code.is_empty() && self.outputs.len() == 1 && self.outputs[0].from == Place::Input(0)
    }

    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Computes the positions `start .. start + len`.
    ///
    /// The caller has seen to it that the slices of operands and `outs` hold their hulls and are aligned to their dtypes.
    pub fn run(&self, isa: Isa, feed: &Feed, outs: &mut [Out], start: usize, len: usize, scratch: &mut [u8]) {
        let (narrow, rest) = scratch.split_at_mut(self.narrow * size_of::<Narrow>());
        let mut tiles = Tiles {
            narrow: bytemuck::cast_slice_mut(narrow),
            wide: bytemuck::cast_slice_mut(&mut rest[..self.wide * size_of::<Wide>()]),
        };
        // Where lines are long, tiles end with them, so that operands can be used in place.
        let by_lines = self.grid.extents.len() > 1 && self.grid.extents.last().is_some_and(|&inner| inner >= TILE / 4);
        let mut done = 0;
        while done < len {
            let at = start + done;
            let mut n = (len - done).min(TILE);
            if by_lines {
                n = n.min(self.grid.run_left(at));
            }
            let feed = Feed { core: feed.core.map(|core| core.slice(done, n)), ..*feed };
            match self.inputs.len() {
                0..=8 => self.run_tile::<8>(isa, &feed, outs, at, n, &mut tiles),
                _ => self.run_tile::<MAX_REGISTERS>(isa, &feed, outs, at, n, &mut tiles),
            }
            done += n;
        }
    }

    /// [`run`](Self::run) for a program of one `f32` core result and one contiguous `f32` result, whose elements of the
    /// positions from `start` on are `core` and `out`.
    pub fn run_segment(
        &self,
        isa: Isa,
        reads: &[Operand],
        core: &[f32],
        start: usize,
        out: &mut [f32],
        scratch: &mut [u8],
    ) {
        let len = out.len();
        let out = Out { bytes: bytemuck::cast_slice_mut(out), origin: -(start as i64) };
        let feed = Feed { reads, core: Some(Values::F32(core)), old: None };
        self.run(isa, &feed, &mut [out], start, len, scratch);
    }

    fn run_tile<const INPUTS: usize>(
        &self,
        isa: Isa,
        feed: &Feed,
        outs: &mut [Out],
        start: usize,
        n: usize,
        tiles: &mut Tiles,
    ) {
        let mut bound = [Bound::Register; INPUTS];
        for (input, bound) in self.inputs.iter().zip(&mut bound) {
            *bound = match (input.read, feed.core) {
                (Some(read), _) => self.bind(input, read, feed, outs, start, n, tiles),
                (None, Some(core)) => Bound::Slice(core),
                (None, None) => Bound::Splat(0),
            };
        }
        for instr in &self.code {
            let (narrow, wide): (Split<Narrow>, Split<Wide>);
            let result = Class::of(instr.result);
            let target = match instr.to {
                Place::Narrow(at) => {
                    let (target, split) = Split::around(tiles.narrow, at);
                    (narrow, wide) = (split, Split::all(tiles.wide));
                    Target::of_narrow(result, &mut target[..n])
                }
                Place::Wide(at) => {
                    let (target, split) = Split::around(tiles.wide, at);
                    (narrow, wide) = (Split::all(tiles.narrow), split);
                    Target::of_wide(result, &mut target[..n])
                }
                Place::Output(output) => {
                    (narrow, wide) = (Split::all(tiles.narrow), Split::all(tiles.wide));
                    let out = &mut outs[output];
                    // Written in place only where the result is stored as values of its class.
                    let size = result.native().size();
                    let from = (out.origin + start as i64) as usize * size;
                    Target::of_bytes(result, &mut out.bytes[from..][..n * size])
                }
                Place::Input(_) | Place::Constant(_) => continue,
            };
            let view = View { bound: &bound, inputs: &self.inputs, narrow, wide, n };
            apply(isa, instr, &view, target);
        }
        for (output, out) in self.outputs.iter().zip(outs) {
            if matches!(output.from, Place::Output(_)) {
                continue;
            }
            let (narrow, wide) = (Split::all(tiles.narrow), Split::all(tiles.wide));
            let view = View { bound: &bound, inputs: &self.inputs, narrow, wide, n };
            let from = view.operand(output.from, output.class);
            match (output.layout, output.pattern) {
                (Some(layout), Pattern::Strided | Pattern::Constant) => {
                    let stride = self.grid.run_stride(layout);
                    store(output.dtype, from, out.bytes, out.origin, stride, self.grid.runs(layout, start, n));
                }
                _ => store(output.dtype, from, out.bytes, out.origin, 1, std::iter::once((start as i64, n))),
            }
        }
    }

    /// Finds the elements of an operand that a tile names, and copies them where they cannot be used in place.
    #[expect(clippy::too_many_arguments)]
    fn bind<'a>(
        &self,
        input: &Input,
        read: usize,
        feed: &Feed<'a>,
        outs: &[Out],
        start: usize,
        n: usize,
        tiles: &mut Tiles,
    ) -> Bound<'a> {
        let operand = &feed.reads[read];
        let (bytes, origin, pattern, layout) = match operand.source {
            Source::Bytes(bytes) => {
                let origin = operand.layout.offset + self.grid.starts[read];
                let native = input.dtype == input.class.native();
                let size = input.dtype.size();
                let element = |offset: i64| {
                    let at = (origin + offset) as usize * size;
                    let mut bits = [0u8; 8];
                    bits[..size].copy_from_slice(&bytes[at..][..size]);
                    Bound::Splat(class_bits(input.dtype, u64::from_le_bytes(bits)))
                };
                let slice = |offset: i64| {
                    let at = (origin + offset) as usize * size;
                    Bound::Slice(Values::of_bytes(input.class, &bytes[at..][..n * size]))
                };
                match input.pattern {
                    Pattern::Constant => return element(0),
                    Pattern::Dense if native => return slice(start as i64),
                    Pattern::Strided => {
                        let stride = self.grid.run_stride(read);
                        if let Some((offset, len)) = self.grid.runs(read, start, n).next()
                            && len == n
                        {
                            match stride {
                                0 => return element(offset),
                                1 if native => return slice(offset),
                                _ => {}
                            }
                        }
                    }
                    Pattern::Dense => {}
                }
                (bytes, origin, input.pattern, Some(read))
            }
            // The old content has the result's layout.
            Source::Written(write) => match feed.old {
                Some((bytes, origin)) => (bytes, origin, input.pattern, Some(read)),
                None => {
                    let (output, out) = (&self.outputs[write], &outs[write]);
                    (&*out.bytes, out.origin, output.pattern, output.layout)
                }
            },
        };
        let target = match input.register {
            Place::Narrow(at) => Target::of_narrow(input.class, &mut tiles.narrow[at][..n]),
            Place::Wide(at) => Target::of_wide(input.class, &mut tiles.wide[at][..n]),
            // Nothing reads the operand.
            _ => return Bound::Splat(0),
        };
        match (layout, pattern) {
            (Some(layout), Pattern::Strided | Pattern::Constant) => {
                let stride = self.grid.run_stride(layout);
                load(input.dtype, bytes, origin, stride, self.grid.runs(layout, start, n), target);
            }
            _ => load(input.dtype, bytes, origin, 1, std::iter::once((start as i64, n)), target),
        }
        Bound::Register
    }
}

/// Gives out registers.
#[derive(Default)]
struct Pool {
    narrow: usize,
    wide: usize,
    free_narrow: Vec<usize>,
    free_wide: Vec<usize>,
}

impl Pool {
    fn take(&mut self, class: Class) -> Place {
        let (free, count) = match class.is_wide() {
            true => (&mut self.free_wide, &mut self.wide),
            false => (&mut self.free_narrow, &mut self.narrow),
        };
        let at = free.pop().unwrap_or_else(|| {
            *count += 1;
            *count - 1
        });
        if class.is_wide() { Place::Wide(at) } else { Place::Narrow(at) }
    }

    fn give(&mut self, place: Place) {
        match place {
            Place::Narrow(at) => self.free_narrow.push(at),
            Place::Wide(at) => self.free_wide.push(at),
            Place::Input(_) | Place::Constant(_) | Place::Output(_) => {}
        }
    }
}

/// The registers of one thread.
struct Tiles<'a> {
    narrow: &'a mut [Narrow],
    wide: &'a mut [Wide],
}

/// All registers of a width but the one that is being written.
struct Split<'a, T> {
    low: &'a [T],
    high: &'a [T],
}

impl<'a, T> Split<'a, T> {
    fn all(tiles: &'a [T]) -> Split<'a, T> {
        Split { low: tiles, high: &[] }
    }

    fn around(tiles: &'a mut [T], at: usize) -> (&'a mut T, Split<'a, T>) {
        let (low, rest) = tiles.split_at_mut(at);
        let (target, high) = rest.split_first_mut().expect("registers are numbered below their count");
        (target, Split { low, high })
    }

    fn get(&self, at: usize) -> &'a T {
        if at < self.low.len() { &self.low[at] } else { &self.high[at - self.low.len() - 1] }
    }
}
