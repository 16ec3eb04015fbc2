//! Orders against brute force: the least peak of small graphs, with one sink and with several.

use situ::place::OrderStatus;
use situ::place::order::{Object, Problem, order};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % bound as u64) as usize
    }
}

/// A random graph in which every node writes a value that some later nodes read. `single` joins all sinks in the last.
fn random(seed: u64, nodes: usize, single: bool) -> Problem {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut edges = Vec::new();
    let mut objects = Vec::new();
    for node in 0..nodes {
        let mut touched_by = vec![node];
        for later in node + 1..nodes {
            if random.below(nodes) < 2 {
                touched_by.push(later);
            }
        }
        if single && touched_by.len() == 1 && node + 1 < nodes {
            touched_by.push(nodes - 1);
        }
        edges.extend(touched_by[1..].iter().map(|&reader| (node, reader)));
        // Now and then a value has two writers (the parts of a concatenation).
        if touched_by.len() > 2 && random.below(4) == 0 {
            edges.extend(touched_by[2..].iter().map(|&reader| (touched_by[1], reader)));
        }
        let kept = random.below(6) == 0 || touched_by.len() == 1;
        objects.push(Object { bytes: 1 + random.below(9) as u64, touched_by, kept });
    }
    let workspace = (0..nodes).map(|_| if random.below(3) == 0 { random.below(6) as u64 } else { 0 }).collect();
    Problem::new(workspace, &edges, objects)
}

/// Least peak over all orders.
fn least_peak(problem: &Problem) -> u64 {
    fn extend(problem: &Problem, order: &mut Vec<usize>, best: &mut u64) {
        if problem.peak(order) >= *best {
            return;
        }
        if order.len() == problem.len() {
            *best = problem.peak(order);
            return;
        }
        for node in 0..problem.len() {
            if !order.contains(&node) && problem.predecessors[node].iter().all(|p| order.contains(p)) {
                order.push(node);
                extend(problem, order, best);
                order.pop();
            }
        }
    }
    let mut best = u64::MAX;
    extend(problem, &mut Vec::new(), &mut best);
    best
}

#[test]
fn the_least_peak_is_found() {
    for single in [true, false] {
        for seed in 0..4000 {
            let problem = random(seed + if single { 0 } else { 10_000 }, 3 + seed as usize % 7, single);
            let source: Vec<usize> = (0..problem.len()).collect();
            let found = order(&problem, &[source], 1_000_000);
            assert!(problem.is_valid(&found.nodes));
            assert_eq!(problem.peak(&found.nodes), found.peak);
            assert_eq!(found.status, OrderStatus::Optimal, "seed {seed}");
            assert_eq!(found.peak, least_peak(&problem), "seed {seed}, single {single}");
        }
    }
}

#[test]
fn a_bounded_search_is_never_worse_than_the_source_and_says_so() {
    let mut bounded = 0;
    for seed in 0..20 {
        let problem = random(seed + 7000, 60, false);
        let source: Vec<usize> = (0..problem.len()).collect();
        let before = problem.peak(&source);
        let found = order(&problem, &[source], 200);
        assert!(problem.is_valid(&found.nodes) && found.peak <= before);
        let thorough = order(&problem, std::slice::from_ref(&found.nodes), 20_000);
        assert!(thorough.peak <= found.peak);
        match found.status {
            OrderStatus::Optimal => assert_eq!(found.peak, thorough.peak, "seed {seed}"),
            OrderStatus::Bounded { lower_bound } | OrderStatus::Heuristic { lower_bound } => {
                bounded += 1;
                assert!(lower_bound <= thorough.peak, "seed {seed}");
            }
        }
    }
    assert!(bounded > 0);
}

#[test]
fn long_chains_are_cut_and_proved() {
    // Blocks of a wide part each, joined by single values: thousands of nodes, proved in no time.
    let (blocks, width) = (300, 6);
    let mut edges = Vec::new();
    let mut objects = Vec::new();
    let mut random = Random(99);
    for block in 0..blocks {
        let first = block * (width + 2);
        let last = first + width + 1;
        objects.push(Object { bytes: 4, touched_by: (first..first + width + 1).collect(), kept: false });
        for branch in first + 1..last {
            edges.push((first, branch));
            edges.push((branch, last));
            objects.push(Object { bytes: 1 + random.below(9) as u64, touched_by: vec![branch, last], kept: false });
        }
        let next = last + 1;
        let ends = block + 1 == blocks;
        objects.push(Object { bytes: 4, touched_by: if ends { vec![last] } else { vec![last, next] }, kept: ends });
        if !ends {
            edges.push((last, next));
        }
    }
    let problem = Problem::new(vec![0; blocks * (width + 2)], &edges, objects);
    let source: Vec<usize> = (0..problem.len()).collect();
    let found = order(&problem, &[source], 100_000);
    assert_eq!(found.status, OrderStatus::Optimal);
}
