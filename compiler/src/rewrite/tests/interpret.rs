//! Runs a rewritten graph: lowered, every buffer with bytes of its own, node after node.

use situ_runtime::kernel::call::{Call, Operand, Source, Target, Threads};
use situ_runtime::kernel::prepared::prepare;
use situ_runtime::simd::Isa;
use situ_runtime::types::DType;

use crate::functional::PureGraph;
use crate::lower::{BufferKind, KernelGraph, LowerOptions, WeightForm, lower};

/// Bytes aligned for every dtype.
#[derive(Clone)]
struct Bytes(Vec<u64>, usize);

impl Bytes {
    fn zeroed(len: usize) -> Bytes {
        Bytes(vec![0; len.div_ceil(8)], len)
    }

    fn of(bytes: &[u8]) -> Bytes {
        let mut all = Bytes::zeroed(bytes.len());
        all.get_mut().copy_from_slice(bytes);
        all
    }

    fn get(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[..self.1]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.0)[..self.1]
    }
}

/// Outputs of `graph` for inputs given as bytes, in order.
pub fn run(graph: &PureGraph, inputs: &[Vec<u8>]) -> Vec<(DType, Vec<u8>)> {
    let kernels = lower(graph, &LowerOptions { threads: 1, pack: false }).expect("the graph lowers");
    execute(graph, &kernels, inputs)
}

fn execute(graph: &PureGraph, kernels: &KernelGraph, inputs: &[Vec<u8>]) -> Vec<(DType, Vec<u8>)> {
    let mut buffers: Vec<Bytes> = kernels
        .buffers
        .iter()
        .map(|buffer| match buffer.kind {
            BufferKind::Input(at) => Bytes::of(&inputs[at as usize]),
            BufferKind::Weight(at) => {
                let weight = &kernels.weights[at as usize];
                assert_eq!(weight.form, WeightForm::Dense, "weights are not packed here");
                Bytes::of(&graph.constant(weight.constant).bytes())
            }
            _ => Bytes::zeroed(buffer.ty.bytes()),
        })
        .collect();
    for node in &kernels.nodes {
        let prepared = prepare(&node.kernel, &node.reads, &node.writes, 1).expect("a kernel prepares");
        let mut written: Vec<Bytes> = node
            .writes
            .iter()
            .map(|write| buffers[write.base.unwrap_or(write.access.value) as usize].clone())
            .collect();
        let reads: Vec<Operand> = node
            .reads
            .iter()
            .map(|read| Operand {
                source: Source::Bytes(buffers[read.value as usize].get()),
                dtype: read.dtype,
                layout: &read.layout,
            })
            .collect();
        let mut writes: Vec<Target> = written
            .iter_mut()
            .zip(&node.writes)
            .map(|(bytes, write)| Target {
                bytes: bytes.get_mut(),
                dtype: write.access.dtype,
                layout: &write.access.layout,
            })
            .collect();
        let mut workspace = vec![0u64; prepared.workspace_bytes().div_ceil(8) + 8];
        let workspace: &mut [u8] = bytemuck::cast_slice_mut(&mut workspace);
        let aligned = workspace.as_ptr().align_offset(64);
        prepared
            .run(
                Isa::PORTABLE,
                Call {
                    reads: &reads,
                    writes: &mut writes,
                    workspace: &mut workspace[aligned..],
                    threads: Threads { pool: None, count: 1 },
                },
            )
            .expect("a kernel runs");
        for (bytes, write) in written.into_iter().zip(&node.writes) {
            buffers[write.access.value as usize] = bytes;
        }
    }
    kernels
        .outputs
        .iter()
        .map(|output| {
            let access = &output.access;
            assert!(access.layout.is_dense(), "outputs are dense");
            let size = access.dtype.size();
            let start = access.layout.offset as usize * size;
            let bytes = buffers[access.value as usize].get()[start..start + access.layout.len() * size].to_vec();
            (access.dtype, bytes)
        })
        .collect()
}
