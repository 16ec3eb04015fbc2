//! Ties on random graphs: every plan is accepted by the checker, and the choice is near the best there is.

use situ::lower::{BufferId, KernelGraph};
use situ::place::{PlaceOptions, TieKind};
use situ::types::InputMode::{Donate, InOut, Read};

use super::graphs::{Builder, examine, planned, rows, transposed};

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % bound as u64) as usize
    }
}

/// A random program of maps, transposed reads, concatenations, updates, state and several outputs.
fn random(seed: u64, nodes: usize) -> KernelGraph {
    let mut random = Random::new(seed);
    let mut b = Builder::new("random");
    let modes = [Read, Donate, InOut];
    let inputs: Vec<BufferId> = (0..3).map(|i| b.input(&format!("in{i}"), &[32, 32], modes[random.below(3)])).collect();
    let weight = b.weight("w", &[32, 32]);
    // Values that are [32, 32].
    let mut values = inputs.clone();
    values.push(weight);
    let mut others: Vec<BufferId> = Vec::new();
    for node in 0..nodes {
        let pick = |random: &mut Random| values[random.below(values.len())];
        let name = format!("v{node}");
        let made = match random.below(12) {
            0 => b.cumulative(&name, pick(&mut random)),
            1 => {
                let (x, y) = (pick(&mut random), pick(&mut random));
                let reads = vec![b.read(x), transposed(b.read(y))];
                b.map(&name, reads)
            }
            2 | 3 => {
                let parts = [pick(&mut random), pick(&mut random)];
                let joined = b.concat(&name, &parts, random.below(2) == 0);
                others.push(joined);
                let read = if b.graph.buffers[joined.index()].ty.shape == [64, 32] {
                    rows(b.read(joined), random.below(32), 32)
                } else {
                    let mut read = b.read(joined);
                    read.layout.offset = random.below(32) as i64;
                    read.layout.shape = vec![32, 32];
                    read
                };
                b.map(&format!("{name}.part"), vec![read])
            }
            4 | 5 => {
                let base = pick(&mut random);
                let rows_of = pick(&mut random);
                let count = 1 + random.below(32);
                let read = rows(b.read(rows_of), random.below(33 - count), count);
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

#[test]
fn the_checker_accepts_every_plan() {
    let mut tied = 0;
    let mut worse = Vec::new();
    let mut kinds = std::collections::BTreeMap::new();
    for seed in 0..48 {
        let graph = random(seed, 2 + seed as usize % 20);
        let with = planned(&graph, &PlaceOptions::default());
        examine(&with);
        let without = planned(&graph, &PlaceOptions { inplace: false, ..PlaceOptions::default() });
        examine(&without);
        assert!(without.placed.ties.is_empty());
        if with.lower_bound_bytes > without.lower_bound_bytes {
            worse.push((seed, with.lower_bound_bytes, without.lower_bound_bytes));
        }
        tied += with.placed.ties.len();
        for tie in &with.placed.ties {
            *kinds.entry(tie.kind).or_insert(0) += 1;
        }
    }
    assert!(worse.is_empty(), "{worse:?}");
    assert!(tied > 300, "{tied}");
    for kind in [TieKind::Overwrite, TieKind::Forward, TieKind::Update, TieKind::Emplace, TieKind::Final] {
        assert!(kinds.contains_key(&kind), "{kinds:?}");
    }
}

#[test]
fn any_number_of_ties_is_a_sound_plan() {
    for seed in 0..12 {
        let graph = random(seed + 5000, 12);
        let all = planned(&graph, &PlaceOptions::default()).placed.ties.len();
        for limit in 0..=all {
            let some = planned(&graph, &PlaceOptions { tie_limit: Some(limit), ..PlaceOptions::default() });
            assert!(some.placed.ties.len() <= limit);
            examine(&some);
        }
    }
}

#[test]
fn one_tie_alone_can_be_asked_for() {
    let mut b = Builder::new("one");
    let x = b.input("x", &[32, 32], Read);
    let a = b.cumulative("a", x);
    let c = b.on("c", &[a]);
    let d = b.on("d", &[c]);
    b.output(d);
    let only = PlaceOptions { only_tie: Some("%d".into()), ..PlaceOptions::default() };
    let plan = planned(&b.graph, &only);
    examine(&plan);
    let values: Vec<&str> = plan.placed.ties.iter().map(|tie| tie.value.as_str()).collect();
    assert_eq!(values, ["%d"]);
}

/// A random graph of maps over values of one size, all ties of which are a choice of edges.
fn maps(seed: u64, nodes: usize) -> KernelGraph {
    let mut random = Random::new(seed);
    let mut b = Builder::new("maps");
    let x = b.input("x", &[32, 32], Read);
    let mut values = vec![b.cumulative("v0", x)];
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

/// The most ties of a graph of [`maps`], by trying every choice.
fn most_ties(graph: &KernelGraph) -> usize {
    let nodes = graph.nodes.len();
    let writer = |value: u32| graph.nodes.iter().position(|node| node.writes[0].access.value == value);
    let readers = |value: u32| -> Vec<usize> {
        (0..nodes).filter(|&n| graph.nodes[n].reads.iter().any(|read| read.value == value)).collect()
    };
    let mut edges = vec![vec![false; nodes]; nodes];
    for (n, node) in graph.nodes.iter().enumerate() {
        for read in &node.reads {
            if let Some(w) = writer(read.value) {
                edges[w][n] = true;
            }
        }
    }
    fn is_acyclic(edges: &[Vec<bool>]) -> bool {
        let mut left: Vec<usize> = (0..edges.len()).collect();
        while let Some(at) = left.iter().position(|&n| left.iter().all(|&m| !edges[m][n])) {
            left.remove(at);
        }
        left.is_empty()
    }
    #[allow(clippy::too_many_arguments)]
    fn choose(
        graph: &KernelGraph,
        readers: &dyn Fn(u32) -> Vec<usize>,
        node: usize,
        taken: &mut Vec<u32>,
        edges: &[Vec<bool>],
        count: usize,
        best: &mut usize,
    ) {
        if count + (graph.nodes.len() - node) <= *best {
            return;
        }
        if node == graph.nodes.len() {
            *best = count;
            return;
        }
        if !matches!(graph.nodes[node].kernel, situ_runtime::kernel::Kernel::Cumulative { .. }) {
            for read in &graph.nodes[node].reads {
                let value = read.value;
                let output = graph.outputs.iter().any(|output| output.access.value == value);
                if taken.contains(&value) || output {
                    continue;
                }
                let mut more = edges.to_vec();
                for reader in readers(value).into_iter().filter(|&reader| reader != node) {
                    more[reader][node] = true;
                }
                if is_acyclic(&more) {
                    taken.push(value);
                    choose(graph, readers, node + 1, taken, &more, count + 1, best);
                    taken.pop();
                }
            }
        }
        choose(graph, readers, node + 1, taken, edges, count, best);
    }
    let mut best = 0;
    choose(graph, &readers, 0, &mut Vec::new(), &edges, 0, &mut best);
    best
}

#[test]
fn the_choice_is_near_the_most_ties_there_are() {
    let (mut found, mut most, mut below) = (0, 0, 0);
    for seed in 0..150 {
        let graph = maps(seed, 10);
        let plan = planned(&graph, &PlaceOptions::default());
        examine(&plan);
        let exact = most_ties(&graph);
        assert!(plan.placed.ties.len() <= exact, "seed {seed}: more ties than are possible");
        found += plan.placed.ties.len();
        most += exact;
        below += usize::from(plan.placed.ties.len() < exact);
    }
    assert!(found * 100 >= most * 95, "{found} of {most}, below in {below}");
}
