//! What a product does with its sums: the epilogue program, applied to a line of a tile while it is in the cache.
//!
//! Nearly all epilogues are chains: each function takes the result of the one before, and perhaps a constant or an
//! extra operand (bias, residual). A chain of cheap functions runs on vectors in registers, from the sums straight to the
//! result. Any other program, and any other dtype, goes to the tile interpreter.
//!
//! An extra operand may be the old content of the result (a tie). Each element of it is read before the same element
//! is written, and by the thread that owns the tile.

use half::{bf16, f16};

use crate::bands::Tile;
use crate::executable::Access;
use crate::kernel::call::{Operand, RunError, Source};
use crate::kernel::gemm::Finish;
use crate::kernel::grid::Grid;
use crate::kernel::stack::{Stack, StackStrides};
use crate::kernel::tile::{Feed, Out, Results, TileProgram, Values};
use crate::point::{PointFn, Program};
use crate::simd::{Algorithm, Isa, Lanes, math};
use crate::types::{DType, Layout};

/// The most functions in a chain; longer programs are rare and take the general way.
const MAX_LINKS: usize = 8;

/// An epilogue ready to run on the tiles of one product.
#[derive(Debug)]
pub struct Epilogue {
    form: Form,
    /// Dtype of the core's result.
    core: DType,
    written: DType,
    /// Strides of the extra operands over the written stack.
    extras: Vec<StackStrides>,
}

#[derive(Debug)]
enum Form {
    Chain(Vec<Link>),
    /// Over the positions of the written stack.
    Program(TileProgram),
}

/// One function of a chain and its second operand.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Link {
    function: LinkFn,
    term: Term,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum LinkFn {
    Add,
    /// The chain minus the term.
    Sub,
    /// The term minus the chain.
    SubFrom,
    Mul,
    Max,
    Min,
    Relu,
    HardSwish,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Term {
    None,
    Constant(f32),
    /// Position among the extra operands.
    Extra(usize),
}

impl Epilogue {
    /// Prepares `program` for a core result of dtype `core` and extra operands with these strides over `stack`, written
    /// as `written`.
    pub fn new(
        program: &Program,
        core: DType,
        stack: &Stack,
        extras: Vec<StackStrides>,
        written: DType,
    ) -> Result<Epilogue, String> {
        let dtypes = program.dtypes()?;
        let fits = program.inputs.len() == extras.len() + 1
            && program.inputs[0] == core
            && program.outputs.len() == 1
            && dtypes[usize::from(program.outputs[0])] == written;
        if !fits {
            return Err("the epilogue does not fit its operands".into());
        }
        let form = match chain(program, &dtypes) {
            Some(links) if links.iter().all(|link| regular(link, &extras)) => Form::Chain(links),
            _ => {
                let layouts: Vec<Layout> = extras.iter().map(|extra| extra.layout(stack)).collect();
                let layouts: Vec<&Layout> = layouts.iter().collect();
                let grid = Grid::row_major(&stack.shape(), &layouts)?;
                Form::Program(TileProgram::new(program, true, grid, Results::Contiguous)?)
            }
        };
        Ok(Epilogue { form, core, written, extras })
    }

    /// Scratch of one thread.
    pub fn scratch_bytes(&self) -> usize {
        match &self.form {
            Form::Chain(_) => 0,
            Form::Program(program) => program.scratch_bytes(),
        }
    }
}

/// Whether the term of a link is one element or neighbours along a line.
fn regular(link: &Link, extras: &[StackStrides]) -> bool {
    match link.term {
        Term::Extra(extra) => matches!(extras[extra].column(), 0 | 1),
        _ => true,
    }
}

/// The program as a chain, if it is one in `f32`.
fn chain(program: &Program, dtypes: &[DType]) -> Option<Vec<Link>> {
    if dtypes.iter().any(|&dtype| dtype != DType::F32) {
        return None;
    }
    let inputs = program.inputs.len();
    let mut links = Vec::new();
    let mut current = 0usize;
    for (i, instr) in program.code.iter().enumerate() {
        let row = instr.function.row();
        let args = instr.args.map(usize::from);
        let term = |register: usize| match register {
            0 => None,
            extra if extra < inputs => Some(Term::Extra(extra - 1)),
            defined => match program.code[defined - inputs].function {
                PointFn::Const(bits, _) => Some(Term::Constant(f32::from_bits(bits as u32))),
                _ => None,
            },
        };
        let link = match row.arity {
            0 => continue,
            1 if args[0] == current => (unary(instr.function)?, Term::None),
            2 if args[0] == current => (binary(instr.function, false)?, term(args[1])?),
            2 if args[1] == current => (binary(instr.function, true)?, term(args[0])?),
            _ => return None,
        };
        links.push(Link { function: link.0, term: link.1 });
        current = inputs + i;
    }
    (usize::from(program.outputs[0]) == current && links.len() <= MAX_LINKS).then_some(links)
}

fn unary(function: PointFn) -> Option<LinkFn> {
    Some(match function {
        PointFn::Relu => LinkFn::Relu,
        PointFn::HardSwish => LinkFn::HardSwish,
        _ => return None,
    })
}

/// `swapped`: the chain is the second operand.
fn binary(function: PointFn, swapped: bool) -> Option<LinkFn> {
    Some(match (function, swapped) {
        (PointFn::Add, _) => LinkFn::Add,
        (PointFn::Mul, _) => LinkFn::Mul,
        (PointFn::Max, _) => LinkFn::Max,
        (PointFn::Min, _) => LinkFn::Min,
        (PointFn::Sub, false) => LinkFn::Sub,
        (PointFn::Sub, true) => LinkFn::SubFrom,
        _ => return None,
    })
}

/// The strides of a read over an axis list, or an error where the access does not have one stride an axis.
pub fn strides(access: &Access, rank: usize) -> Result<&[i64], String> {
    if access.layout.strides.len() != rank || access.layout.shape.len() != rank {
        return Err("an operand differs from the result in rank".into());
    }
    Ok(&access.layout.strides)
}

/// The bytes of an operand that is not tied, checked against its layout.
pub fn body_bytes<'a>(operand: &Operand<'a>) -> Result<&'a [u8], RunError> {
    match operand.source {
        Source::Bytes(bytes) => {
            check_hull(operand, bytes.len())?;
            Ok(bytes)
        }
        Source::Written(_) => Err(RunError::Argument("a factor of a product is tied to its result".into())),
    }
}

/// Checks that all elements of an operand lie in its slice of `bytes`.
pub fn check_hull(operand: &Operand, bytes: usize) -> Result<(), RunError> {
    let elements = (bytes / operand.dtype.size()) as i64;
    match operand.layout.hull() {
        Some((low, high)) if low >= 0 && high <= elements => Ok(()),
        None if operand.layout.is_empty() => Ok(()),
        _ => Err(RunError::Argument("an operand lies outside its buffer".into())),
    }
}

/// The elements of an operand's bytes.
pub fn elements<T: bytemuck::Pod>(bytes: &[u8]) -> Result<&[T], RunError> {
    // An empty slice may have any address.
    if bytes.is_empty() {
        return Ok(&[]);
    }
    bytemuck::try_cast_slice(bytes).map_err(|_| RunError::Argument("an operand is not aligned to its elements".into()))
}

/// An epilogue together with the operands of one call.
pub struct Bound<'a> {
    epilogue: &'a Epilogue,
    stack: &'a Stack,
    extras: &'a [Operand<'a>],
}

impl Epilogue {
    /// Binds the extra operands of a call, whose hulls have been checked. `stack` is the one the strides were made with.
    pub fn bind<'a>(&'a self, stack: &'a Stack, extras: &'a [Operand<'a>]) -> Result<Bound<'a>, RunError> {
        if extras.len() != self.extras.len() {
            return Err(RunError::Argument("a step has another number of operands than it was prepared for".into()));
        }
        for extra in extras {
            if let (Source::Bytes(bytes), DType::F32) = (extra.source, extra.dtype) {
                elements::<f32>(bytes)?;
            }
        }
        Ok(Bound { epilogue: self, stack, extras })
    }
}

/// A term of a chain over one line.
#[derive(Clone, Copy)]
enum Line<'a> {
    Splat(f32),
    Elements(&'a [f32]),
    /// What the result holds before it is written.
    Old,
}

impl Bound<'_> {
    /// Finishes one line of a row, given the core's results in the class of their dtype, rounded to the dtype.
    #[expect(clippy::too_many_arguments)]
    pub fn line(
        &self,
        isa: Isa,
        tile: &mut Tile,
        row: usize,
        column: usize,
        length: usize,
        core: Values,
        scratch: &mut [u8],
    ) {
        if tile.is_contiguous() {
            let at = Place { batch: tile.batch(), row, column };
            self.dense(isa, at, core, tile.line_mut(row, column, length), scratch);
            return;
        }
        // Scattered results pass through a dense piece, which first holds the old elements if anybody reads them.
        const PIECE: usize = 64;
        let mut piece = [0u64; PIECE];
        let size = self.epilogue.written.size();
        let reads_old = self.extras.iter().any(|extra| matches!(extra.source, Source::Written(_)));
        for start in (0..length).step_by(PIECE) {
            let count = PIECE.min(length - start);
            let piece: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut piece)[..count * size];
            if reads_old {
                tile.read_line(row, column + start, piece);
            }
            let at = Place { batch: tile.batch(), row, column: column + start };
            self.dense(isa, at, part(core, start, count), piece, scratch);
            tile.write_line(row, column + start, piece);
        }
    }

    /// Finishes neighbours on one line whose results lie, or will lie, densely in `out`.
    fn dense(&self, isa: Isa, at: Place, core: Values, out: &mut [u8], scratch: &mut [u8]) {
        match (&self.epilogue.form, core) {
            (Form::Chain(links), Values::F32(sums)) => self.chain(isa, links, at, sums, bytemuck::cast_slice_mut(out)),
            (Form::Chain(_), _) => {}
            (Form::Program(program), core) => {
                let position = (at.batch * self.stack.rows() + at.row) * self.stack.columns() + at.column;
                let length = out.len() / self.epilogue.written.size();
                let out = Out { bytes: out, origin: -(position as i64) };
                let feed = Feed { reads: self.extras, core: Some(core), old: None };
                program.run(isa, &feed, &mut [out], position, length, scratch);
            }
        }
    }

    fn chain(&self, isa: Isa, links: &[Link], at: Place, sums: &[f32], out: &mut [f32]) {
        let mut bound = [(LinkFn::Relu, Line::Splat(0.0)); MAX_LINKS];
        for (link, bound) in links.iter().zip(&mut bound) {
            let line = match link.term {
                Term::None => Line::Splat(0.0),
                Term::Constant(value) => Line::Splat(value),
                Term::Extra(extra) => match self.extras[extra].source {
                    Source::Written(_) => Line::Old,
                    Source::Bytes(bytes) => {
                        let elements: &[f32] = bytemuck::cast_slice(bytes);
                        let position = self.position(extra, at);
                        match self.epilogue.extras[extra].column() {
                            0 => Line::Splat(elements[position]),
                            _ => Line::Elements(&elements[position..][..sums.len()]),
                        }
                    }
                },
            };
            *bound = (link.function, line);
        }
        isa.run(Chain { links: &bound[..links.len()], sums, out });
    }

    /// Where in its slice the element of extra operand `extra` lies that belongs to `at`.
    fn position(&self, extra: usize, at: Place) -> usize {
        let strides = &self.epilogue.extras[extra];
        let position = self.extras[extra].layout.offset
            + strides.batch_offset(self.stack, at.batch)
            + at.row as i64 * strides.row()
            + strides.column_offset(self.stack, at.column);
        position as usize
    }
}

/// An element of the written stack.
#[derive(Clone, Copy)]
struct Place {
    batch: usize,
    row: usize,
    column: usize,
}

fn part(values: Values, start: usize, count: usize) -> Values {
    match values {
        Values::F32(values) => Values::F32(&values[start..][..count]),
        Values::I32(values) => Values::I32(&values[start..][..count]),
        Values::F64(values) => Values::F64(&values[start..][..count]),
        Values::I64(values) => Values::I64(&values[start..][..count]),
    }
}

impl Finish for Bound<'_> {
    fn finish(&self, isa: Isa, tile: &mut Tile, row: usize, column: usize, sums: &mut [f32], scratch: &mut [u8]) {
        match self.epilogue.core {
            DType::F16 => {
                for sum in sums.iter_mut() {
                    *sum = f16::from_f32(*sum).to_f32();
                }
            }
            DType::BF16 => {
                for sum in sums.iter_mut() {
                    *sum = bf16::from_f32(*sum).to_f32();
                }
            }
            _ => {}
        }
        let mut start = 0;
        while start < sums.len() {
            let length = self.stack.line(column + start, sums.len() - start);
            let core = Values::F32(&sums[start..start + length]);
            self.line(isa, tile, row, column + start, length, core, scratch);
            start += length;
        }
    }
}

/// A chain over one line: `sums` in, `out` written.
struct Chain<'a> {
    links: &'a [(LinkFn, Line<'a>)],
    sums: &'a [f32],
    out: &'a mut [f32],
}

impl Algorithm for Chain<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Chain { links, sums, out } = self;
        let out = &mut out[..sums.len()];
        if links.is_empty() {
            out.copy_from_slice(sums);
            return;
        }
        let mut at = 0;
        while at + 4 * L::WIDTH <= sums.len() {
            block::<L, 4>(links, sums, out, at);
            at += 4 * L::WIDTH;
        }
        while at < sums.len() {
            block::<L, 1>(links, sums, out, at);
            at += L::WIDTH;
        }
    }
}

/// The chain on `N` vectors from `at` on; the last may be partial.
#[inline(always)]
fn block<L: Lanes, const N: usize>(links: &[(LinkFn, Line)], sums: &[f32], out: &mut [f32], at: usize) {
    let mut x = [L::splat(0.0); N];
    for v in 0..N {
        x[v] = L::load_partial(&sums[at + v * L::WIDTH..], 0.0);
    }
    for &(function, line) in links {
        let mut t = [L::splat(0.0); N];
        match line {
            Line::Splat(value) => t = [L::splat(value); N],
            Line::Elements(elements) => {
                for v in 0..N {
                    t[v] = L::load_partial(&elements[at + v * L::WIDTH..], 0.0);
                }
            }
            Line::Old => {
                for v in 0..N {
                    t[v] = L::load_partial(&out[at + v * L::WIDTH..], 0.0);
                }
            }
        }
        for v in 0..N {
            x[v] = match function {
                LinkFn::Add => x[v] + t[v],
                LinkFn::Sub => x[v] - t[v],
                LinkFn::SubFrom => t[v] - x[v],
                LinkFn::Mul => x[v] * t[v],
                LinkFn::Max => x[v].maximum(t[v]),
                LinkFn::Min => x[v].minimum(t[v]),
                LinkFn::Relu => math::relu(x[v]),
                LinkFn::HardSwish => math::hard_swish(x[v]),
            };
        }
    }
    for (v, x) in x.into_iter().enumerate() {
        let start = at + v * L::WIDTH;
        let end = (start + L::WIDTH).min(out.len());
        x.store_partial(&mut out[start..end]);
    }
}
