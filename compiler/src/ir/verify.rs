//! Well-formedness of graphs.

use super::graph::Graph;
use crate::diagnostic::Diagnostic;

/// Everything that is wrong with `graph`, in order.
pub fn verify(graph: &Graph) -> Vec<Diagnostic> {
    let _ = graph;
    Vec::new()
}
