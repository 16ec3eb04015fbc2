//! Vectors of `f32`, once for all instruction sets.
//!
//! An algorithm is written once, generic over [`Lanes`], as an [`Algorithm`]; [`Isa::run`] instantiates it for the
//! instruction set chosen at load. The vector types are private to this module and the only way to one is
//! [`Isa::run`] with an [`Isa`] that detection has handed out. So safe code cannot reach an instruction that the
//! machine lacks, and all `unsafe` for vector instructions stays in this directory. (The pattern is the one of
//! `memchr`'s `Vector` and `pulp`'s `WithSimd`.)
//!
//! What an author must do: mark `run` and every function on the way to a lane operation `#[inline(always)]`, and keep
//! lane operations out of closures. The instruction set is a property of the outermost function; whatever is not
//! inlined into it is compiled without the instructions, correct but slow.
//!
//! All operations are IEEE single precision with one rounding, except [`Lanes::mul_add`], which is fused where the
//! instruction set can do it. Results are therefore equal on all machines of one instruction set.

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Sub};

pub mod math;
mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

/// The widest vector of any instruction set, in lanes.
pub const MAX_WIDTH: usize = 16;

/// Computation written over lanes.
pub trait Algorithm {
    type Output;

    /// The computation; mark it `#[inline(always)]`.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// A vector of `f32`.
pub trait Lanes:
    Copy
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// As many `i32`.
    type Int: IntLanes<Float = Self, Mask = Self::Mask>;
    /// As many truth values.
    type Mask: MaskLanes;

    /// Number of lanes; divides [`MAX_WIDTH`].
    const WIDTH: usize;
    /// Number of vector registers, which bounds how much an algorithm should keep in flight.
    const REGISTERS: usize;
    /// Whether [`Lanes::mul_add`] rounds once.
    const FUSED: bool;

    fn splat(value: f32) -> Self;

    /// The first `WIDTH` elements. Panics when there are fewer.
    fn load(source: &[f32]) -> Self;

    /// Writes the first `WIDTH` elements. Panics when there are fewer.
    fn store(self, target: &mut [f32]);

    /// Elements of a slice that may be shorter than a vector; the lanes beyond are `fill`.
    #[inline(always)]
    fn load_partial(source: &[f32], fill: f32) -> Self {
        if source.len() >= Self::WIDTH {
            return Self::load(source);
        }
        let mut lanes = [fill; MAX_WIDTH];
        lanes[..source.len()].copy_from_slice(source);
        Self::load(&lanes)
    }

    /// Writes as many lanes as the slice has room for.
    #[inline(always)]
    fn store_partial(self, target: &mut [f32]) {
        if target.len() >= Self::WIDTH {
            return self.store(target);
        }
        let mut lanes = [0.0; MAX_WIDTH];
        self.store(&mut lanes);
        target.copy_from_slice(&lanes[..target.len()]);
    }

    /// `self * factor + addend`: one rounding where the instruction set has a fused form, else two.
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// `if self < other { self } else { other }`, so `other` when either is NaN.
    fn min(self, other: Self) -> Self;

    /// `if self > other { self } else { other }`, so `other` when either is NaN.
    fn max(self, other: Self) -> Self;

    /// The smaller one, NaN when either is NaN.
    #[inline(always)]
    fn minimum(self, other: Self) -> Self {
        Self::select(self.is_nan(), self, self.min(other))
    }

    /// The larger one, NaN when either is NaN.
    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        Self::select(self.is_nan(), self, self.max(other))
    }

    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn trunc(self) -> Self;
    /// The nearest integer, halves to even.
    fn round(self) -> Self;

    /// Lanes where the operands are equal (never for NaN).
    fn eq(self, other: Self) -> Self::Mask;
    fn lt(self, other: Self) -> Self::Mask;
    fn le(self, other: Self) -> Self::Mask;

    #[inline(always)]
    fn gt(self, other: Self) -> Self::Mask {
        other.lt(self)
    }

    #[inline(always)]
    fn ge(self, other: Self) -> Self::Mask {
        other.le(self)
    }

    #[inline(always)]
    fn is_nan(self) -> Self::Mask {
        !self.eq(self)
    }

    /// Lanes of `chosen` where `mask` holds, else of `other`.
    fn select(mask: Self::Mask, chosen: Self, other: Self) -> Self;

    /// The bits of every lane.
    fn to_bits(self) -> Self::Int;

    /// The integer nearest to every lane, halves to even; lanes outside `i32` and NaN give an arbitrary value.
    fn to_int(self) -> Self::Int;

    /// The lanes of even and those of odd position, of `self` followed by `next`.
    fn deinterleave(self, next: Self) -> (Self, Self);

    /// Sum of all lanes: the upper half is added to the lower until one is left.
    #[inline(always)]
    fn reduce_sum(self) -> f32 {
        let mut lanes = [0.0; MAX_WIDTH];
        self.store(&mut lanes);
        let mut width = Self::WIDTH / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    /// The largest lane, NaN when any is NaN.
    #[inline(always)]
    fn reduce_max(self) -> f32 {
        let mut lanes = [0.0; MAX_WIDTH];
        self.store(&mut lanes);
        let mut largest = lanes[0];
        for &lane in &lanes[1..Self::WIDTH] {
            largest = if largest.is_nan() || largest > lane { largest } else { lane };
        }
        largest
    }

    /// The smallest lane, NaN when any is NaN.
    #[inline(always)]
    fn reduce_min(self) -> f32 {
        -(-self).reduce_max()
    }
}

/// A vector of `i32` as wide as its [`Lanes`]. Arithmetic wraps.
pub trait IntLanes:
    Copy
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
{
    type Float: Lanes<Int = Self, Mask = Self::Mask>;
    type Mask: MaskLanes;

    fn splat(value: i32) -> Self;
    /// The first `WIDTH` elements. Panics when there are fewer.
    fn load(source: &[i32]) -> Self;
    /// Writes the first `WIDTH` elements. Panics when there are fewer.
    fn store(self, target: &mut [i32]);
    /// Low 32 bits of the product.
    fn mul(self, other: Self) -> Self;
    /// Shift left; `0 <= BITS < 32`, as for the other shifts.
    fn shl<const BITS: u32>(self) -> Self;
    /// Shift right that copies the sign.
    fn shr<const BITS: u32>(self) -> Self;
    /// Shift right that fills with zeros.
    fn shr_logical<const BITS: u32>(self) -> Self;
    fn eq(self, other: Self) -> Self::Mask;
    fn gt(self, other: Self) -> Self::Mask;
    fn select(mask: Self::Mask, chosen: Self, other: Self) -> Self;
    /// The floats with these bits.
    fn bitcast(self) -> Self::Float;
    /// The nearest floats.
    fn to_float(self) -> Self::Float;
}

/// A vector of truth values.
pub trait MaskLanes:
    Copy + Send + Sync + 'static + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
    fn any(self) -> bool;
    fn all(self) -> bool;
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(Kind);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// What every machine has: the instructions the crate is compiled for.
    pub const PORTABLE: Isa = Isa(Kind::Portable);

    /// All instruction sets of this machine, the best last.
    pub fn available() -> Vec<Isa> {
        #[allow(unused_mut)]
        let mut found = vec![Isa::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            if avx2::detected() {
                found.push(Isa(Kind::Avx2));
            }
            if avx512::detected() {
                found.push(Isa(Kind::Avx512));
            }
        }
        found
    }

    /// The best instruction set of this machine.
    pub fn detect() -> Isa {
        Isa::available().into_iter().next_back().unwrap_or(Isa::PORTABLE)
    }

    /// `portable`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        }
    }

    /// The instruction set of this name, if the machine has it.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::available().into_iter().find(|isa| isa.name() == name)
    }

    /// Number of `f32` in a vector.
    pub fn width(self) -> usize {
        match self.0 {
            Kind::Portable => portable::F32x8::WIDTH,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => avx2::F32x8::WIDTH,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => avx512::F32x16::WIDTH,
        }
    }

    /// Runs `algorithm` with the vectors of this instruction set.
    #[inline]
    pub fn run<A: Algorithm>(self, algorithm: A) -> A::Output {
        match self.0 {
            Kind::Portable => algorithm.run::<portable::F32x8>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the variant is built only in `available`, after `avx2::detected`.
            Kind::Avx2 => unsafe { avx2::run(algorithm) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the variant is built only in `available`, after `avx512::detected`.
            Kind::Avx512 => unsafe { avx512::run(algorithm) },
        }
    }
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
