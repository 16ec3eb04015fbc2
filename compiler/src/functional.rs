//! Functional form: a graph in which nothing is written.

use std::ops::Deref;

use crate::ir::Graph;

/// A graph without writes. Only `functional` and `rewrite` make one.
#[derive(Clone, Debug, PartialEq)]
pub struct PureGraph(Graph);

impl Deref for PureGraph {
    type Target = Graph;
    fn deref(&self) -> &Graph {
        &self.0
    }
}

impl PureGraph {
    /// Takes a graph that has no mutating instruction; the caller vouches for the outputs and finals.
    pub(crate) fn new(graph: Graph) -> Result<PureGraph, crate::diagnostic::Fault> {
        match graph.insts.iter().find(|inst| inst.mutates) {
            Some(inst) => Err(crate::diagnostic::Fault {
                stage: "functional",
                message: format!("{} still writes", inst.op.name()),
            }),
            None => Ok(PureGraph(graph)),
        }
    }

    pub(crate) fn into_graph(self) -> Graph {
        self.0
    }
}
