//! One kernel call on made-up operands: laid out, filled, run in the production form and in the reference form, compared.

use half::{bf16, f16};
use situ_runtime::executable::{Access, Write};
use situ_runtime::kernel::call::{Call, Operand, RunError, Source, Target, Threads};
use situ_runtime::kernel::{Kernel, prepared, reference};
use situ_runtime::simd::Isa;
use situ_runtime::types::{DType, Layout, dense_strides};

/// A deterministic generator of numbers (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..=high`.
    pub fn range(&mut self, low: usize, high: usize) -> usize {
        low + (self.bits() % (high - low + 1) as u64) as usize
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.bits().is_multiple_of(one_in)
    }

    pub fn flip(&mut self) -> bool {
        self.chance(2)
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.range(0, items.len() - 1)].clone()
    }

    /// A number in `-scale..scale`.
    pub fn float(&mut self, scale: f64) -> f64 {
        ((self.bits() >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) * scale
    }

    pub fn shape(&mut self, rank: usize, most: usize) -> Vec<usize> {
        (0..rank).map(|_| self.range(1, most)).collect()
    }

    /// A layout of `shape` whose slice begins at its hull: dense, a region of a larger buffer, with axes in another
    /// order or backwards, and for reads with repeated elements.
    pub fn layout(&mut self, shape: &[usize], written: bool) -> Layout {
        if self.chance(3) {
            return Layout::dense(shape);
        }
        let mut layout = Layout::dense(shape);
        let mut order: Vec<usize> = (0..shape.len()).collect();
        if self.chance(3) {
            for i in (1..order.len()).rev() {
                order.swap(i, self.range(0, i));
            }
        }
        let gaps = self.flip();
        let last = shape.len().saturating_sub(1);
        let inner_gap = self.chance(3);
        let larger: Vec<usize> = order
            .iter()
            .enumerate()
            .map(|(n, &axis)| shape[axis] + if gaps && (n != last || inner_gap) { self.range(0, 2) } else { 0 })
            .collect();
        let steps = dense_strides(&larger);
        for (n, &axis) in order.iter().enumerate() {
            layout.strides[axis] = steps[n];
            if self.chance(8) {
                layout.strides[axis] = -layout.strides[axis];
            }
            if !written && self.chance(8) {
                layout.strides[axis] = 0;
            }
        }
        layout.offset = -layout.hull().map_or(0, |(low, _)| low);
        layout
    }
}

/// What the elements of an operand are like.
#[derive(Clone, Copy)]
pub enum Fill {
    /// Numbers of both signs, a few units large.
    Plain,
    /// Numbers near one, for products.
    NearOne,
    /// Few distinct numbers, zeros of both signs, infinities and NaN: for kernels that order.
    Special,
    /// Indices into an axis of this extent, from either end.
    Index(usize),
    /// Numbers in `0..=n`.
    Below(usize),
}

pub fn element(random: &mut Random, dtype: DType, fill: Fill) -> u64 {
    let number = match fill {
        Fill::Plain => random.float(4.0),
        Fill::NearOne => 1.0 + random.float(0.25),
        Fill::Special => match random.range(0, 11) {
            0 if dtype.is_float() => f64::NAN,
            1 if dtype.is_float() => f64::INFINITY,
            2 if dtype.is_float() => f64::NEG_INFINITY,
            3 => -0.0,
            4 => 0.0,
            _ => random.float(5.0).round(),
        },
        Fill::Index(extent) => random.range(0, 2 * extent - 1) as f64 - extent as f64,
        Fill::Below(most) => random.range(0, most) as f64,
    };
    bits_of(dtype, number)
}

pub fn bits_of(dtype: DType, number: f64) -> u64 {
    match dtype {
        DType::F32 => u64::from((number as f32).to_bits()),
        DType::F64 => number.to_bits(),
        DType::F16 => u64::from(f16::from_f64(number).to_bits()),
        DType::BF16 => u64::from(bf16::from_f64(number).to_bits()),
        DType::I8 => u64::from(number.round() as i8 as u8),
        DType::U8 => u64::from(number.round().abs() as u8),
        DType::I16 => u64::from(number.round() as i16 as u16),
        DType::I32 => u64::from(number.round() as i32 as u32),
        DType::I64 => number.round() as i64 as u64,
        DType::Bool => u64::from(number.round() as i64 & 1 != 0),
    }
}

pub fn number_of(dtype: DType, bits: u64) -> f64 {
    match dtype {
        DType::F32 => f64::from(f32::from_bits(bits as u32)),
        DType::F64 => f64::from_bits(bits),
        DType::F16 => f16::from_bits(bits as u16).to_f64(),
        DType::BF16 => bf16::from_bits(bits as u16).to_f64(),
        DType::I8 => f64::from(bits as i8),
        DType::U8 | DType::Bool => f64::from(bits as u8),
        DType::I16 => f64::from(bits as i16),
        DType::I32 => f64::from(bits as i32),
        DType::I64 => bits as i64 as f64,
    }
}

/// Bytes aligned to 64.
#[derive(Clone)]
pub struct Buffer {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    pub fn new(len: usize, byte: u8) -> Buffer {
        let storage = vec![byte; len + 64];
        let start = storage.as_ptr().align_offset(64);
        Buffer { storage, start, len }
    }

    fn copy(&self) -> Buffer {
        let mut copy = Buffer::new(self.len, 0);
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }

    pub fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len]
    }

    pub fn get(&self, dtype: DType, position: usize) -> u64 {
        let mut bits = [0; 8];
        bits[..dtype.size()].copy_from_slice(&self.bytes()[position * dtype.size()..][..dtype.size()]);
        u64::from_le_bytes(bits)
    }

    pub fn set(&mut self, dtype: DType, position: usize, bits: u64) {
        self.bytes_mut()[position * dtype.size()..][..dtype.size()]
            .copy_from_slice(&bits.to_le_bytes()[..dtype.size()]);
    }
}

/// A tensor in memory.
#[derive(Clone)]
pub struct Tensor {
    pub dtype: DType,
    pub layout: Layout,
    pub buffer: Buffer,
    /// Index of the result whose bytes this operand has.
    pub tied: Option<usize>,
}

impl Tensor {
    pub fn with_layout(random: &mut Random, dtype: DType, layout: Layout, fill: Fill) -> Tensor {
        let elements = layout.hull().map_or(0, |(_, high)| high as usize);
        let mut buffer = Buffer::new(elements * dtype.size(), 0);
        for position in 0..elements {
            buffer.set(dtype, position, element(random, dtype, fill));
        }
        Tensor { dtype, layout, buffer, tied: None }
    }

    pub fn read(random: &mut Random, dtype: DType, shape: &[usize], fill: Fill) -> Tensor {
        let layout = random.layout(shape, false);
        Tensor::with_layout(random, dtype, layout, fill)
    }

    pub fn written(random: &mut Random, dtype: DType, shape: &[usize]) -> Tensor {
        let layout = random.layout(shape, true);
        Tensor::with_layout(random, dtype, layout, Fill::Plain)
    }

    fn access(&self) -> Access {
        Access { value: 0, dtype: self.dtype, layout: self.layout.clone() }
    }
}

/// How far a result may be from the reference.
#[derive(Clone, Copy)]
pub enum Bound {
    /// Equal as numbers: zeros of either sign are equal, and so are NaNs.
    Equal,
    /// `|difference| <= units in the last place of the dtype * (1 + |expected|)`.
    Ulps(f64),
}

pub struct Case {
    pub kernel: Kernel,
    pub reads: Vec<Tensor>,
    pub writes: Vec<Tensor>,
    pub bound: Bound,
}

impl Case {
    pub fn accesses(&self) -> (Vec<Access>, Vec<Write>) {
        let into_base = matches!(
            self.kernel,
            Kernel::ScatterElements { .. } | Kernel::ScatterNd { .. } | Kernel::DynamicUpdate { .. }
        );
        let base = into_base.then_some(1);
        let reads = self.reads.iter().map(Tensor::access).collect();
        (reads, self.writes.iter().map(|write| Write { access: write.access(), base }).collect())
    }

    /// Runs the kernel and gives the bytes of the results, or why it failed.
    fn run(&self, workspace: usize, run: impl FnOnce(Call) -> Result<(), RunError>, threads: Threads) -> Outcome {
        let mut results: Vec<Buffer> = self.writes.iter().map(|write| write.buffer.copy()).collect();
        let reads: Vec<Operand> = self
            .reads
            .iter()
            .map(|read| Operand {
                source: read.tied.map_or(Source::Bytes(read.buffer.bytes()), Source::Written),
                dtype: read.dtype,
                layout: &read.layout,
            })
            .collect();
        let mut writes: Vec<Target> = results
            .iter_mut()
            .zip(&self.writes)
            .map(|(buffer, write)| Target { bytes: buffer.bytes_mut(), dtype: write.dtype, layout: &write.layout })
            .collect();
        let mut workspace = Buffer::new(workspace, 0xab);
        let call = Call { reads: &reads, writes: &mut writes, workspace: workspace.bytes_mut(), threads };
        let result = run(call);
        Outcome { results, result }
    }

    /// Runs production form (every instruction set, one and two threads) and reference form, and compares them.
    pub fn check(&self, name: &str, pool: &rayon::ThreadPool) {
        let (reads, writes) = self.accesses();
        let describe = || {
            let layouts: Vec<String> = self
                .reads
                .iter()
                .chain(&self.writes)
                .map(|t| format!("{} {:?} tied {:?}", t.dtype, t.layout, t.tied))
                .collect();
            format!("{name}: {:?}\n  {}", self.kernel, layouts.join("\n  "))
        };
        let serial = Threads { pool: None, count: 1 };
        let scratch = reference::workspace_bytes(&self.kernel);
        let expected = self.run(scratch, |call| reference::run(&self.kernel, call), serial);
        let single =
            prepared::prepare(&self.kernel, &reads, &writes, 1).unwrap_or_else(|e| panic!("{}\n{e}", describe()));
        let double =
            prepared::prepare(&self.kernel, &reads, &writes, 2).unwrap_or_else(|e| panic!("{}\n{e}", describe()));
        for isa in Isa::available() {
            let found = self.run(single.workspace_bytes(), |call| single.run(isa, call), serial);
            let threads = Threads { pool: Some(pool), count: 2 };
            let other = self.run(double.workspace_bytes(), |call| double.run(isa, call), threads);
            assert_eq!(found.result.is_ok(), expected.result.is_ok(), "{}\n{:?}", describe(), found.result);
            for n in 0..self.writes.len() {
                let same = found.results[n].bytes() == other.results[n].bytes();
                assert!(same, "{}\n{isa:?}: two threads differ from one in result {n}", describe());
                if let Some(difference) = self.difference(n, &expected.results[n], &found.results[n]) {
                    panic!("{}\n{isa:?}: result {n}: {difference}", describe());
                }
            }
        }
    }

    /// The first element of result `n` that is out of bound; elements between those of the layout must be untouched.
    fn difference(&self, n: usize, expected: &Buffer, found: &Buffer) -> Option<String> {
        let Tensor { dtype, layout, buffer, .. } = &self.writes[n];
        let size = dtype.size();
        let mut inside = vec![false; buffer.len / size];
        let mut index = vec![0usize; layout.rank()];
        for _ in 0..layout.len() {
            let reach: i64 = index.iter().zip(&layout.strides).map(|(&i, &s)| i as i64 * s).sum();
            let position = (layout.offset + reach) as usize;
            inside[position] = true;
            let (a, b) = (expected.get(*dtype, position), found.get(*dtype, position));
            if !within(self.bound, *dtype, a, b) {
                let (a, b) = (number_of(*dtype, a), number_of(*dtype, b));
                return Some(format!("at {index:?} expected {a}, found {b}"));
            }
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < layout.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        let touched = (0..inside.len()).find(|&p| !inside[p] && buffer.get(*dtype, p) != found.get(*dtype, p));
        touched.map(|position| format!("position {position} outside the layout was written"))
    }
}

struct Outcome {
    results: Vec<Buffer>,
    result: Result<(), RunError>,
}

fn within(bound: Bound, dtype: DType, expected: u64, found: u64) -> bool {
    if expected == found {
        return true;
    }
    let (a, b) = (number_of(dtype, expected), number_of(dtype, found));
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b && dtype != DType::I64 {
        return true;
    }
    let Bound::Ulps(ulps) = bound else { return false };
    let unit = match dtype {
        DType::F64 => f64::EPSILON,
        DType::F32 => f64::from(f32::EPSILON),
        DType::F16 => f16::EPSILON.to_f64(),
        DType::BF16 => bf16::EPSILON.to_f64(),
        // A value near a half may round to either side.
        _ => return (a - b).abs() <= 1.0,
    };
    (a - b).abs() <= ulps * unit * (1.0 + a.abs())
}
