//! Extraction against the best choice there is, found by trying all of them.

use super::super::extract::{Choice, Roots, extract, program};
use super::super::recipe::{Source, roots, saturated};
use super::super::regions::{self, Region};
use super::super::table::Table;
use super::super::{decompose, fold};
use super::*;

/// Every choice that differs in what it computes is tried; `None` after `budget` programs.
struct Exhaustive<'a> {
    table: &'a Table<'a>,
    roots: &'a Roots,
    choice: Choice,
    pick_is_made: Vec<bool>,
    inline_is_made: Vec<bool>,
    best: u64,
    budget: usize,
}

impl Exhaustive<'_> {
    fn search(&mut self) -> Option<()> {
        self.budget = self.budget.checked_sub(1)?;
        let found = program(self.table, &self.choice, self.roots);
        let open = |made: &[bool]| (0..made.len()).find(|&class| found.touched[class] && !made[class]);
        if let Some(class) = open(&self.pick_is_made) {
            self.pick_is_made[class] = true;
            let before = self.choice.pick[class];
            for way in 0..self.table.entries[class].alternatives.len().max(1) as u16 {
                self.choice.pick[class] = way;
                self.search()?;
            }
            self.choice.pick[class] = before;
            self.pick_is_made[class] = false;
        } else if let Some(class) = open(&self.inline_is_made) {
            self.inline_is_made[class] = true;
            let before = self.choice.inline[class];
            for inline in [false, true] {
                self.choice.inline[class] = inline;
                self.search()?;
            }
            self.choice.inline[class] = before;
            self.inline_is_made[class] = false;
        } else {
            self.best = self.best.min(found.cost);
        }
        Some(())
    }
}

/// Cost of what extraction finds in a region, and of the best there is.
fn costs(region: &Region, budget: usize) -> Option<(u64, u64)> {
    let Source { egraph, values } =
        saturated(region, &RewriteOptions::default(), true).expect("rules agree").expect("a small region");
    let table = Table::new(&egraph);
    let roots = roots(region, &table, &values);
    let (choice, found) = extract(&table, &roots);
    let inner = |class: usize| {
        let entry = &table.entries[class];
        entry.inner && !entry.alternatives.is_empty() && entry.constant.is_none()
    };
    let count = table.entries.len();
    let mut search = Exhaustive {
        table: &table,
        roots: &roots,
        choice,
        pick_is_made: vec![false; count],
        inline_is_made: (0..count).map(|class| !inner(class)).collect(),
        best: u64::MAX,
        budget,
    };
    search.search()?;
    Some((found.cost, search.best))
}

fn regions_of(text: &str) -> Vec<Region> {
    let plain = decompose::decompose(&graph(text), &RewriteOptions::default()).expect("decomposition");
    regions::partition(&fold::fold(&plain, Math::Default).expect("folding")).0
}

/// Small programs of several consumers, rows, products and views.
fn random(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % end as u64) as usize
    };
    let size = [16, 256][below(2)];
    let mut text = format!(
        "graph g {{\n input %v0: f32[{size}, {size}]\n input %v1: f32[{size}, {size}]\n \
         const %w: f32[{size}, {size}] = seeded(normal, std=0.1, seed=1)\n \
         const %u: f32[{size}, {size}] = seeded(normal, std=0.1, seed=2)\n"
    );
    let count = 4 + below(4);
    for n in 2..2 + count {
        let (a, b) = (n - 1 - below(n.min(3)), n - 1 - below(n.min(4)));
        text.push_str(&match below(10) {
            0 | 1 => format!(" %v{n} = matmul %v{a}, %w\n"),
            2 => format!(" %v{n} = matmul %v{a}, %u\n"),
            3 => format!(" %v{n} = softmax %v{a} {{axis=1}}\n"),
            4 => format!(" %v{n} = permute %v{a} {{axes=[1, 0]}}\n"),
            5 => format!(" %v{n} = exp %v{a}\n"),
            6 => format!(" %v{n} = mul %v{a}, 0.3\n"),
            _ => format!(" %v{n} = add %v{a}, %v{b}\n"),
        });
    }
    let last = 1 + count;
    text.push_str(&format!(" return %v{last}, %v{}\n}}", last - 1));
    text
}

#[test]
fn near_the_best_choice() {
    let (mut solved, mut worse, mut gaps) = (0, 0, 0.0f64);
    let mut most = 1.0f64;
    for seed in 0..400 {
        for region in regions_of(&random(seed)) {
            let Some((found, best)) = costs(&region, 6_000) else { continue };
            assert!(best <= found, "the exhaustive search misses {found} of seed {seed}");
            solved += 1;
            let gap = found as f64 / best as f64;
            worse += usize::from(found > best);
            gaps += gap.ln();
            most = most.max(gap);
        }
    }
    println!(
        "{solved} regions, {worse} above the best, mean {:.5}, most {most:.4}",
        (gaps / f64::from(solved as u32)).exp()
    );
    assert!(solved >= 300, "{solved} regions are too few");
    assert!(worse * 33 <= solved, "{worse} of {solved} are above the best");
    assert!(most < 1.3, "one is {most} times the best");
}
