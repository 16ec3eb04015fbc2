//! The same input gives the same bytes.

use situ::pipeline::{Options, compile};

use crate::examples;

/// Compiled twice, and by a pool of one thread: the same report, the same executable, the same weights.
#[test]
fn compiled_twice() {
    for path in examples::programs() {
        let graph = examples::graph(&path);
        let make = || compile(&graph, &Options::default()).expect("an example compiles");
        let first = make();
        let alone = rayon_alone(make);
        for other in [make(), alone] {
            assert_eq!(first.report, other.report, "{}", path.display());
            assert_eq!(first.report_json, other.report_json, "{}", path.display());
            assert!(first.compiled.executable == other.compiled.executable, "{}", path.display());
            assert!(first.compiled.weights[..] == other.compiled.weights[..], "{}", path.display());
        }
    }
}

fn rayon_alone<T: Send>(make: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool").install(make)
}
