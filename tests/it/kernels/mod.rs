//! Every kernel in its production form against its scalar meaning: random shapes, layouts and dtypes from fixed seeds,
//! all instruction sets of the machine, one thread and two.

mod case;
mod fused;
mod indexed;
mod ordered;
mod sampled;

use case::{Case, Random};

/// Checks `count` cases of a family; the seed of each is its number, so that a failure can be looked at alone.
fn walk(family: &str, count: u64, build: impl Fn(&mut Random) -> Case) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
    for seed in 0..count {
        let case = build(&mut Random(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ family.len() as u64));
        case.check(&format!("{family} {seed}"), &pool);
    }
}
