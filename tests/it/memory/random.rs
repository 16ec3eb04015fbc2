//! Random kernel graphs.

use situ::lower::{BufferId, KernelGraph};
use situ::types::InputMode::{Donate, InOut, Read};

use super::graphs::{Builder, rows, transposed};

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % bound as u64) as usize
    }
}

/// A random program over values `[side, side]` of maps, transposed reads, concatenations, updates, state and several outputs.
pub fn random(seed: u64, side: usize, nodes: usize) -> KernelGraph {
    let mut random = Random::new(seed);
    let mut b = Builder::new("random");
    let modes = [Read, Donate, InOut];
    let inputs: Vec<BufferId> =
        (0..3).map(|i| b.input(&format!("in{i}"), &[side, side], modes[random.below(3)])).collect();
    let weight = b.weight("w", &[side, side]);
    // Values that are `[side, side]`.
    let mut values = inputs.clone();
    values.push(weight);
    for node in 0..nodes {
        let pick = |random: &mut Random| values[random.below(values.len())];
        let name = format!("v{node}");
        let made = match random.below(12) {
            0 => b.resized(&name, pick(&mut random)),
            1 => {
                let (x, y) = (pick(&mut random), pick(&mut random));
                let reads = vec![b.read(x), transposed(b.read(y))];
                b.map(&name, reads)
            }
            2 | 3 => {
                let parts = [pick(&mut random), pick(&mut random)];
                let joined = b.concat(&name, &parts, random.below(2) == 0);
                let read = if b.graph.buffers[joined.index()].ty.shape == [2 * side, side] {
                    rows(b.read(joined), random.below(side), side)
                } else {
                    let mut read = b.read(joined);
                    read.layout.offset = random.below(side) as i64;
                    read.layout.shape = vec![side, side];
                    read
                };
                b.map(&format!("{name}.part"), vec![read])
            }
            4 | 5 => {
                let base = pick(&mut random);
                let rows_of = pick(&mut random);
                let count = 1 + random.below(side);
                let read = rows(b.read(rows_of), random.below(side + 1 - count), count);
                let value = b.map(&format!("{name}.rows"), vec![read]);
                b.update(&name, base, value)
            }
            6 => b.forwarded(&name, pick(&mut random)),
            7 => b.on(&name, &[pick(&mut random)]),
            _ => b.on(&name, &[pick(&mut random), pick(&mut random)]),
        };
        values.push(made);
    }
    for _ in 0..1 + random.below(2) {
        let value = values[random.below(values.len())];
        let out = b.forwarded("out", value);
        b.output(out);
    }
    let last = *values.last().expect("there are values");
    if last.index() > weight.index() {
        b.output(last);
    }
    for (position, &input) in inputs.iter().enumerate() {
        if b.graph.inputs[position].mode == InOut {
            let value = values[random.below(values.len())];
            b.finish(input, value);
        }
    }
    b.graph
}

/// A random graph of maps over values of one size, all ties of which are a choice of edges.
pub fn maps(seed: u64, side: usize, nodes: usize) -> KernelGraph {
    let mut random = Random::new(seed);
    let mut b = Builder::new("maps");
    let x = b.input("x", &[side, side], Read);
    let mut values = vec![b.resized("v0", x)];
    for node in 1..nodes {
        let recent = values.len().min(5);
        let pick = |random: &mut Random| values[values.len() - 1 - random.below(recent)];
        let operands = [pick(&mut random), pick(&mut random)];
        let many = 1 + random.below(2);
        let name = format!("v{node}");
        values.push(b.on(&name, &operands[..many]));
    }
    b.output(*values.last().expect("there are values"));
    b.graph
}
