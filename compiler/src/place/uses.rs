//! Who reads and who writes each buffer of a kernel graph, as it came from lowering.

use crate::lower::KernelGraph;

/// Readers and writers of every buffer, by node, ascending.
#[derive(Clone, Debug)]
pub(super) struct Uses {
    pub readers: Vec<Vec<usize>>,
    pub writers: Vec<Vec<usize>>,
    /// Whether some write names the buffer as its base.
    pub is_base: Vec<bool>,
}

impl Uses {
    pub fn of(graph: &KernelGraph) -> Uses {
        let mut readers = vec![Vec::new(); graph.buffers.len()];
        let mut writers = vec![Vec::new(); graph.buffers.len()];
        let mut is_base = vec![false; graph.buffers.len()];
        for (number, node) in graph.nodes.iter().enumerate() {
            readers_of(&mut readers, number, node.reads.iter().map(|read| read.value));
            readers_of(&mut writers, number, node.writes.iter().map(|write| write.access.value));
            node.writes.iter().filter_map(|write| write.base).for_each(|base| is_base[base as usize] = true);
        }
        Uses { readers, writers, is_base }
    }

    /// A node by what it writes and what it is: `%12 = relu`.
    pub fn name(&self, graph: &KernelGraph, node: usize) -> String {
        let node = &graph.nodes[node];
        match node.writes.first() {
            Some(write) => format!("{} = {}", graph.buffer(write.access.value).name, node.label),
            None => node.label.clone(),
        }
    }
}

fn readers_of(lists: &mut [Vec<usize>], node: usize, buffers: impl Iterator<Item = u32>) {
    for buffer in buffers {
        let list = &mut lists[buffer as usize];
        if list.last() != Some(&node) {
            list.push(node);
        }
    }
}
