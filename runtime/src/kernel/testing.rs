//! Runs a prepared kernel and its scalar meaning on the same operands and compares.

use crate::executable::{Access, Write};
use crate::kernel::call::{Call, Operand, RunError, Source, Target, Threads};
use crate::kernel::{Kernel, reference};
use crate::scalar;
use crate::simd::Isa;
use crate::types::{DType, Layout};

/// A step with operands filled from a seed.
pub struct Case {
    pub kernel: Kernel,
    pub reads: Vec<Access>,
    pub writes: Vec<Write>,
    /// Reads that are the old content of the result.
    pub tied: Vec<usize>,
    /// `Some` gives the elements of a read instead of the seed.
    pub given: Vec<Option<Vec<f64>>>,
}

/// What runs under test.
pub type Run<'r> = dyn Fn(Isa, Call) -> Result<(), RunError> + 'r;

pub fn access(dtype: DType, layout: Layout) -> Access {
    Access { value: 0, dtype, layout }
}

pub fn strided(offset: i64, shape: &[usize], strides: &[i64]) -> Layout {
    Layout { offset, shape: shape.to_vec(), strides: strides.to_vec() }
}

/// Numbers in [-1, 1), the same for the same seed (a linear congruential generator).
pub fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1u64 << 23) as f64 - 1.0
        })
        .collect()
}

fn encode(dtype: DType, value: f64) -> u64 {
    if dtype.is_float() { scalar::encode_float(dtype, value) } else { scalar::encode_int(dtype, (value * 11.0) as i64) }
}

fn decode(dtype: DType, bits: u64) -> f64 {
    if dtype.is_float() { scalar::decode_float(dtype, bits) } else { scalar::decode_int(dtype, bits) as f64 }
}

fn bytes_of(access: &Access, seed: u64, given: Option<&Vec<f64>>) -> Vec<u8> {
    let count = access.layout.hull().map_or(0, |(_, high)| high as usize);
    let values = given.cloned().unwrap_or_else(|| numbers(seed, count));
    values.iter().flat_map(|&x| encode(access.dtype, x).to_le_bytes()[..access.dtype.size()].to_vec()).collect()
}

impl Case {
    pub fn new(kernel: Kernel, reads: Vec<Access>, out: Access) -> Case {
        let given = vec![None; reads.len()];
        Case { kernel, reads, writes: vec![Write { access: out, base: None }], tied: Vec::new(), given }
    }

    fn execute(&self, run: &Run, isa: Isa, threads: Threads, workspace_bytes: usize) -> Vec<Vec<u8>> {
        let buffers: Vec<Vec<u8>> = self
            .reads
            .iter()
            .enumerate()
            .map(|(i, read)| bytes_of(read, i as u64 + 1, self.given[i].as_ref()))
            .collect();
        let reads: Vec<Operand> = (self.reads.iter().zip(&buffers).enumerate())
            .map(|(i, (read, bytes))| Operand {
                source: if self.tied.contains(&i) { Source::Written(0) } else { Source::Bytes(bytes) },
                dtype: read.dtype,
                layout: &read.layout,
            })
            .collect();
        let mut results: Vec<Vec<u8>> =
            self.writes.iter().enumerate().map(|(i, write)| bytes_of(&write.access, 100 + i as u64, None)).collect();
        let mut targets: Vec<Target> = (self.writes.iter().zip(&mut results))
            .map(|(write, bytes)| Target { bytes, dtype: write.access.dtype, layout: &write.access.layout })
            .collect();
        // Whatever a kernel wrongly takes from its workspace shows as NaN.
        let mut workspace = vec![[u64::MAX; 8]; workspace_bytes.div_ceil(64)];
        let workspace = &mut bytemuck::cast_slice_mut(&mut workspace)[..workspace_bytes];
        run(isa, Call { reads: &reads, writes: &mut targets, workspace, threads }).expect("the case is valid");
        results
    }

    /// Runs `run`, prepared for three threads, on every instruction set with one and with three. All must agree bit for
    /// bit on one instruction set, and with the scalar meaning within `tolerance`, relative to the largest element.
    pub fn check(&self, run: &Run, workspace_bytes: usize, tolerance: f64) {
        let one = Threads { pool: None, count: 1 };
        let oracle = |_: Isa, call: Call| reference::run(&self.kernel, call);
        let expected = self.execute(&oracle, Isa::PORTABLE, one, reference::workspace_bytes(&self.kernel));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads start");
        for isa in Isa::available() {
            let found = self.execute(run, isa, one, workspace_bytes);
            let shared = self.execute(run, isa, Threads { pool: Some(&pool), count: 3 }, workspace_bytes);
            assert_eq!(found, shared, "threads change the result of {:?}", self.kernel);
            for ((write, found), expected) in self.writes.iter().zip(&found).zip(&expected) {
                let dtype = write.access.dtype;
                let values = |bytes: &[u8]| -> Vec<f64> {
                    bytes
                        .chunks_exact(dtype.size())
                        .map(|chunk| {
                            let mut bits = [0; 8];
                            bits[..chunk.len()].copy_from_slice(chunk);
                            decode(dtype, u64::from_le_bytes(bits))
                        })
                        .collect()
                };
                let (found, expected) = (values(found), values(expected));
                let largest = expected.iter().fold(1e-3f64, |largest, x| largest.max(x.abs()));
                for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    let fits = (found - expected).abs() <= tolerance * largest || (found.is_nan() && expected.is_nan());
                    assert!(
                        fits,
                        "{isa:?}: element {i} is {found}, not {expected}: {:?} on {:?} writes {:?}",
                        self.kernel, self.reads, self.writes
                    );
                }
            }
        }
    }
}
