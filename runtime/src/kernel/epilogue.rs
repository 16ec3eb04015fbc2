//! What a product does with its sums: the epilogue program, applied to a line of a tile while it is in the cache.
//!
//! Nearly all epilogues are chains: each function takes the result of the one before, and perhaps a constant or an
//! extra operand (bias, residual). A chain runs on vectors in registers. Any other program goes through the scalar
//! meaning of its functions.
//!
//! An extra operand may be the old content of the result (a tie). Each element of it is read before the same element
//! is written, and by the thread that owns the tile.

use crate::bands::Tile;
use crate::executable::Access;
use crate::kernel::call::{Operand, RunError, Source};
use crate::kernel::element::{load_bits, store_bits};
use crate::kernel::gemm::Finish;
use crate::kernel::stack::{Stack, StackStrides};
use crate::point::{MAX_REGISTERS, PointFn, Program};
use crate::scalar;
use crate::simd::{Algorithm, Isa, Lanes, math};
use crate::types::DType;

/// The most functions in a chain; longer programs are rare and take the general way.
const MAX_LINKS: usize = 8;

/// An epilogue ready to run on the tiles of one product.
#[derive(Clone, Debug)]
pub struct Epilogue {
    form: Form,
    /// Dtype of the core's result.
    core: DType,
    /// Strides of the extra operands over the written stack.
    extras: Vec<StackStrides>,
}

#[derive(Clone, Debug)]
enum Form {
    Chain(Vec<Link>),
    Program { program: Program, dtypes: Vec<DType>, written: DType },
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
    Sigmoid,
    Silu,
    Tanh,
    Gelu,
    GeluTanh,
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
    /// Prepares `program` for a core result of dtype `core` and extra operands with these strides, written as `written`.
    pub fn new(program: &Program, core: DType, extras: Vec<StackStrides>, written: DType) -> Result<Epilogue, String> {
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
            _ => Form::Program { program: program.clone(), dtypes, written },
        };
        Ok(Epilogue { form, core, extras })
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
        PointFn::Sigmoid => LinkFn::Sigmoid,
        PointFn::Silu => LinkFn::Silu,
        PointFn::Tanh => LinkFn::Tanh,
        PointFn::Gelu => LinkFn::Gelu,
        PointFn::GeluTanh => LinkFn::GeluTanh,
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

fn check_hull(operand: &Operand, bytes: usize) -> Result<(), RunError> {
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
    /// Binds the extra operands of a call. `stack` is the one the strides were made with.
    pub fn bind<'a>(&'a self, stack: &'a Stack, extras: &'a [Operand<'a>]) -> Result<Bound<'a>, RunError> {
        if extras.len() != self.extras.len() {
            return Err(RunError::Argument("a step has another number of operands than it was prepared for".into()));
        }
        for extra in extras {
            if let Source::Bytes(bytes) = extra.source {
                check_hull(extra, bytes.len())?;
                if extra.dtype == DType::F32 {
                    elements::<f32>(bytes)?;
                }
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
    /// Element of extra operand `extra` that belongs to `row`, `column` of a batch entry.
    fn position(&self, extra: usize, tile: &Tile, row: usize, column: usize) -> usize {
        let strides = &self.epilogue.extras[extra];
        let position = self.extras[extra].layout.offset
            + strides.batch_offset(self.stack, tile.batch())
            + row as i64 * strides.row()
            + strides.column_offset(self.stack, column);
        position as usize
    }

    /// Applies a chain to the sums of one line.
    fn chain(&self, isa: Isa, links: &[Link], tile: &mut Tile, row: usize, column: usize, sums: &mut [f32]) {
        let mut bound = [(LinkFn::Relu, Line::Splat(0.0)); MAX_LINKS];
        for (link, bound) in links.iter().zip(&mut bound) {
            let line = match link.term {
                Term::None => Line::Splat(0.0),
                Term::Constant(value) => Line::Splat(value),
                Term::Extra(extra) => match self.extras[extra].source {
                    Source::Written(_) => Line::Old,
                    Source::Bytes(bytes) => {
                        let elements: &[f32] = bytemuck::cast_slice(bytes);
                        let position = self.position(extra, tile, row, column);
                        match self.epilogue.extras[extra].column() {
                            0 => Line::Splat(elements[position]),
                            _ => Line::Elements(&elements[position..][..sums.len()]),
                        }
                    }
                },
            };
            *bound = (link.function, line);
        }
        let links = &bound[..links.len()];
        if tile.is_contiguous() {
            let out: &mut [f32] = bytemuck::cast_slice_mut(tile.line_mut(row, column, sums.len()));
            isa.run(Chain { links, sums, out });
            return;
        }
        // Scattered results pass through a dense piece, which first holds the old elements.
        let mut piece = [0f32; 64];
        for start in (0..sums.len()).step_by(piece.len()) {
            let len = piece.len().min(sums.len() - start);
            for (i, old) in piece[..len].iter_mut().enumerate() {
                tile.read(row, column + start + i, bytemuck::bytes_of_mut(old));
            }
            let mut part = [(LinkFn::Relu, Line::Splat(0.0)); MAX_LINKS];
            for (&(function, line), part) in links.iter().zip(&mut part) {
                let line = match line {
                    Line::Elements(elements) => Line::Elements(&elements[start..][..len]),
                    line => line,
                };
                *part = (function, line);
            }
            isa.run(Chain { links: &part[..links.len()], sums: &sums[start..start + len], out: &mut piece[..len] });
            for (i, value) in piece[..len].iter().enumerate() {
                tile.write(row, column + start + i, bytemuck::bytes_of(value));
            }
        }
    }

    /// Writes one element, given the core's result as bits of its dtype.
    pub fn element(&self, tile: &mut Tile, row: usize, column: usize, core: u64) {
        let mut registers = [0u64; MAX_REGISTERS];
        let (program, dtypes, written) = match &self.epilogue.form {
            Form::Program { program, dtypes, written } => (program, dtypes, *written),
            Form::Chain(_) => return self.chain_element(tile, row, column, core),
        };
        registers[0] = core;
        let mut old = [0u8; 8];
        for (extra, operand) in self.extras.iter().enumerate() {
            registers[extra + 1] = match operand.source {
                Source::Bytes(bytes) => load_bits(bytes, operand.dtype, self.position(extra, tile, row, column)),
                Source::Written(_) => {
                    tile.read(row, column, &mut old[..written.size()]);
                    load_bits(&old, written, 0)
                }
            };
        }
        let inputs = program.inputs.len();
        for (i, instr) in program.code.iter().enumerate() {
            let arity = instr.function.row().arity;
            let (mut of, mut values) = ([DType::F32; 3], [0u64; 3]);
            for (place, &arg) in instr.args[..arity].iter().enumerate() {
                of[place] = dtypes[usize::from(arg)];
                values[place] = registers[usize::from(arg)];
            }
            registers[inputs + i] = scalar::eval(instr.function, &of[..arity], &values[..arity]);
        }
        let mut bytes = [0u8; 8];
        store_bits(&mut bytes, written, 0, registers[usize::from(program.outputs[0])]);
        tile.write(row, column, &bytes[..written.size()]);
    }

    fn chain_element(&self, tile: &mut Tile, row: usize, column: usize, core: u64) {
        let Form::Chain(links) = &self.epilogue.form else { return };
        self.chain(Isa::PORTABLE, links, tile, row, column, &mut [f32::from_bits(core as u32)]);
    }
}

impl Finish for Bound<'_> {
    fn finish(&self, isa: Isa, tile: &mut Tile, row: usize, column: usize, sums: &mut [f32]) {
        let mut start = 0;
        while start < sums.len() {
            let len = self.stack.line(column + start, sums.len() - start);
            let sums = &mut sums[start..start + len];
            match &self.epilogue.form {
                Form::Chain(links) => self.chain(isa, links, tile, row, column + start, sums),
                Form::Program { .. } => {
                    for (i, &sum) in sums.iter().enumerate() {
                        let core = scalar::encode_float(self.epilogue.core, f64::from(sum));
                        self.element(tile, row, column + start + i, core);
                    }
                }
            }
            start += len;
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
                LinkFn::Sigmoid => math::sigmoid(x[v]),
                LinkFn::Silu => math::silu(x[v]),
                LinkFn::Tanh => math::tanh(x[v]),
                LinkFn::Gelu => math::gelu(x[v]),
                LinkFn::GeluTanh => math::gelu_tanh(x[v]),
                LinkFn::HardSwish => math::hard_swish(x[v]),
            };
        }
    }
    for v in 0..N {
        let start = at + v * L::WIDTH;
        let end = (start + L::WIDTH).min(out.len());
        x[v].store_partial(&mut out[start..end]);
    }
}
