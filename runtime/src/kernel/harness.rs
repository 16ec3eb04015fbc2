//! Runs kernels on generated operands for tests: untied and tied, shifted in memory, on every instruction set and
//! several threads, and against their scalar meanings.

use std::sync::OnceLock;

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, Operand, Source, Target, Threads};
use crate::kernel::domain::{for_each_index, position};
use crate::kernel::prepared::prepare;
use crate::kernel::tile::tests::{Random, close};
use crate::kernel::{Kernel, reference};
use crate::scalar;
use crate::simd::Isa;
use crate::types::{DType, Layout};

/// A kernel with operands.
pub(crate) struct Case {
    pub(crate) kernel: Kernel,
    pub(crate) reads: Vec<Access>,
    pub(crate) writes: Vec<Write>,
    /// Elements of each operand's storage.
    pub(crate) contents: Vec<Vec<u64>>,
}

/// How a case is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How<'a> {
    pub(crate) isa: Isa,
    pub(crate) threads: usize,
    /// Pairs of a read and the result whose old content it is.
    pub(crate) ties: &'a [(usize, usize)],
    /// Elements by which every slice is shifted from an aligned address.
    pub(crate) shift: usize,
}

impl How<'_> {
    pub(crate) fn plain() -> How<'static> {
        How { isa: Isa::PORTABLE, threads: 1, ties: &[], shift: 0 }
    }
}

pub(crate) fn access(dtype: DType, layout: Layout) -> Access {
    Access { value: 0, dtype, layout }
}

pub(crate) fn strided(shape: &[usize], strides: &[i64]) -> Layout {
    let mut layout = Layout { offset: 0, shape: shape.to_vec(), strides: strides.to_vec() };
    if let Some((low, _)) = layout.hull() {
        layout.offset = -low;
    }
    layout
}

fn storage_len(layout: &Layout) -> usize {
    layout.hull().map_or(0, |(_, high)| high as usize)
}

/// Bytes in memory whose address is a multiple of 64, `shift` elements further on.
struct Buffer {
    words: Vec<[u64; 8]>,
    from: usize,
    len: usize,
}

impl Buffer {
    fn new(dtype: DType, elements: &[u64], shift: usize) -> Buffer {
        let (from, len) = (shift * dtype.size(), elements.len() * dtype.size());
        let mut buffer = Buffer { words: vec![[0xdead_beef; 8]; (from + len).div_ceil(64) + 1], from, len };
        let size = dtype.size();
        for (chunk, element) in buffer.bytes_mut().chunks_exact_mut(size).zip(elements) {
            chunk.copy_from_slice(&element.to_le_bytes()[..size]);
        }
        buffer
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[self.from..][..self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[self.from..][..self.len]
    }

    fn elements(&self, dtype: DType) -> Vec<u64> {
        let elements = self.bytes().chunks_exact(dtype.size()).map(|chunk| {
            let mut bits = [0; 8];
            bits[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(bits)
        });
        elements.collect()
    }
}

impl Case {
    pub(crate) fn new(
        kernel: Kernel,
        reads: Vec<(DType, Layout)>,
        writes: Vec<(DType, Layout)>,
        random: &mut Random,
    ) -> Case {
        let contents =
            reads.iter().map(|(dtype, layout)| (0..storage_len(layout)).map(|_| random.element(*dtype)).collect());
        Case {
            kernel,
            contents: contents.collect(),
            reads: reads.into_iter().map(|(dtype, layout)| access(dtype, layout)).collect(),
            writes: writes
                .into_iter()
                .map(|(dtype, layout)| Write { access: access(dtype, layout), base: None })
                .collect(),
        }
    }

    /// The elements of every result, in row-major order of its layout, by the kernel's scalar meaning.
    pub(crate) fn expected(&self) -> Vec<Vec<u64>> {
        self.execute(
            &How::plain(),
            &|_, call| reference::run(&self.kernel, call),
            reference::workspace_bytes(&self.kernel),
            None,
        )
    }

    /// As [`expected`](Self::expected), with operands tied as `how` says, whatever the contract.
    pub(crate) fn expected_tied(&self, how: &How) -> Vec<Vec<u64>> {
        self.execute(how, &|_, call| reference::run(&self.kernel, call), reference::workspace_bytes(&self.kernel), None)
    }

    /// The elements of every result, in row-major order of its layout. Panics when the kernel writes anything else.
    pub(crate) fn run(&self, how: &How) -> Vec<Vec<u64>> {
        let prepared = prepare(&self.kernel, &self.reads, &self.writes, how.threads).expect("the case is valid");
        let pool = (how.threads > 1).then(|| pool(how.threads));
        self.execute(how, &|isa, call| prepared.run(isa, call), prepared.workspace_bytes(), pool)
    }

    fn execute(
        &self,
        how: &How,
        run: &dyn Fn(Isa, Call) -> Result<(), crate::kernel::call::RunError>,
        workspace_bytes: usize,
        pool: Option<&rayon::ThreadPool>,
    ) -> Vec<Vec<u64>> {
        let mut random = Random(77);
        let operands: Vec<Buffer> = self
            .reads
            .iter()
            .zip(&self.contents)
            .map(|(read, content)| Buffer::new(read.dtype, content, how.shift))
            .collect();
        let reads: Vec<Operand> = self
            .reads
            .iter()
            .zip(&operands)
            .enumerate()
            .map(|(index, (read, buffer))| {
                let source = match how.ties.iter().find(|(tied, _)| *tied == index) {
                    Some(&(_, write)) => Source::Written(write),
                    None => Source::Bytes(buffer.bytes()),
                };
                Operand { source, dtype: read.dtype, layout: &read.layout }
            })
            .collect();
        let before: Vec<Vec<u64>> = self
            .writes
            .iter()
            .enumerate()
            .map(|(index, write)| {
                let (dtype, layout) = (write.access.dtype, &write.access.layout);
                let mut elements: Vec<u64> = (0..storage_len(layout)).map(|_| random.element(dtype)).collect();
                if let Some(&(read, _)) = how.ties.iter().find(|(_, tied)| *tied == index) {
                    for_each_index(&layout.shape, |at| {
                        elements[position(layout, at)] = self.contents[read][position(&self.reads[read].layout, at)];
                    });
                }
                elements
            })
            .collect();
        let mut results: Vec<Buffer> = self
            .writes
            .iter()
            .zip(&before)
            .map(|(write, elements)| Buffer::new(write.access.dtype, elements, how.shift))
            .collect();
        let mut writes: Vec<Target> = self
            .writes
            .iter()
            .zip(&mut results)
            .map(|(write, buffer)| Target {
                bytes: buffer.bytes_mut(),
                dtype: write.access.dtype,
                layout: &write.access.layout,
            })
            .collect();
        let mut workspace = vec![[u64::MAX; 8]; workspace_bytes.div_ceil(64)];
        let workspace = &mut bytemuck::cast_slice_mut(&mut workspace)[..workspace_bytes];
        let threads = Threads { pool, count: how.threads };
        run(how.isa, Call { reads: &reads, writes: &mut writes, workspace, threads }).expect("the call is valid");
        let after = self.writes.iter().zip(&results).zip(&before).map(|((write, buffer), before)| {
            let layout = &write.access.layout;
            let elements = buffer.elements(write.access.dtype);
            let (mut named, mut touched) = (Vec::new(), vec![false; elements.len()]);
            for_each_index(&layout.shape, |at| {
                named.push(elements[position(layout, at)]);
                touched[position(layout, at)] = true;
            });
            for (i, touched) in touched.into_iter().enumerate() {
                assert!(touched || elements[i] == before[i], "{how:?}: element {i} outside the region was written");
            }
            named
        });
        after.collect()
    }

    /// Runs on every instruction set, with 1, 2, 3 and 7 threads, shifted in memory, and with each of `ties` where it is and
    /// shifted: all must agree bit for bit on one instruction set, and with the scalar meaning within `slack`.
    pub(crate) fn check(&self, ties: &[&[(usize, usize)]], slack: f64) {
        let expected = self.expected();
        for isa in Isa::available() {
            let plain = self.run(&How { isa, ..How::plain() });
            for ((write, found), expected) in self.writes.iter().zip(&plain).zip(&expected) {
                let dtype = write.access.dtype;
                for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
                    assert!(
                        close(dtype, found, expected, slack),
                        "{isa:?}: element {i} is {}, not {}: {:?} on {:?} writes {:?}",
                        show(dtype, found),
                        show(dtype, expected),
                        self.kernel,
                        self.reads,
                        self.writes,
                    );
                }
            }
            for threads in [1, 2, 3, 7] {
                let tied = ties.iter().flat_map(|ties| [(0, *ties), (1, *ties)]);
                for (shift, ties) in [(0, &[][..]), (1, &[]), (3, &[])].into_iter().chain(tied) {
                    let how = How { isa, threads, ties, shift };
                    assert!(self.run(&how) == plain, "{how:?} differs: {:?} on {:?}", self.kernel, self.reads);
                }
            }
        }
    }
}

/// The pool of so many threads, started once.
fn pool(threads: usize) -> &'static rayon::ThreadPool {
    static POOLS: [OnceLock<rayon::ThreadPool>; 8] = [const { OnceLock::new() }; 8];
    POOLS[threads]
        .get_or_init(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started"))
}

fn show(dtype: DType, bits: u64) -> f64 {
    if dtype.is_float() { scalar::decode_float(dtype, bits) } else { scalar::decode_int(dtype, bits) as f64 }
}
