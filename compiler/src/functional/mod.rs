//! Functional form: a graph in which nothing is written.
//!
//! Each storage that the source program writes becomes a chain of *versions*, values of the storage's whole content in
//! row-major order. A write through a view makes a new version, `update(base, region, value)`, where the region is the
//! view's layout in the storage; a write that covers the storage makes the written value the new version. A read of an
//! alias is a view of the newest version: the chain of views that led from the storage to the alias, applied again.
//!
//! The alias database makes this precise instead of pessimistic: a value read before is still right if every write since
//! lies apart from it, and what was written is read back as the value that was written.
//!
//! At the end each `inout` input has a final version (`graph.finals`). A donated input that was written has none: its
//! bytes are nobody's. Every operand of a mutating op is read before its result is written, however they overlap.
//!
//! Through branches and loops everything is by reference. A storage that a region writes is carried through it as a
//! version (`branch`, `repeat`). What control flow makes of a value is a *handle*, a list of alternatives under conditions
//! (`handle`), unless nobody can tell it from a copy (`identity`); a storage that a region made and hands out lives in a
//! *slot* (`escape`). The walk lets regions see what is around them; in the end they are isolated (`isolate`).
//!
//! Inputs are taken to be distinct. Where that matters, because one of them is written, [`FunctionalNotes`] says so, and
//! the executable carries a guard.

mod branch;
mod chain;
mod escape;
mod handle;
mod identity;
mod isolate;
mod needed;
mod region;
mod repeat;
mod versions;

use std::ops::Deref;

use crate::alias::AliasDb;
use crate::diagnostic::Fault;
use crate::ir::verify::captured;
use crate::ir::{Graph, InstId, ValueId};

/// A graph without writes, whose regions take all they use through their parameters. Only `functional` and `rewrite` make one.
#[derive(Clone, Debug, PartialEq)]
pub struct PureGraph(Graph);

impl Deref for PureGraph {
    type Target = Graph;
    fn deref(&self) -> &Graph {
        &self.0
    }
}

impl PureGraph {
    /// Takes a graph that has no mutating instruction and whose regions are isolated; the caller vouches for the outputs
    /// and finals.
    pub(crate) fn new(graph: Graph) -> Result<PureGraph, Fault> {
        if let Some(inst) = graph.insts.iter().find(|inst| inst.mutates) {
            return Err(Fault { stage: "functional", message: format!("{} still writes", inst.op.name()) });
        }
        match captured(&graph) {
            Some((inst, value)) => {
                let (op, value) = (graph.inst(inst).op.name(), graph.display(value));
                Err(Fault { stage: "functional", message: format!("{op} still sees {value} past its parameters") })
            }
            None => Ok(PureGraph(graph)),
        }
    }

    pub(crate) fn into_graph(self) -> Graph {
        self.0
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteForm {
    /// It covered the storage: the written value is the next version.
    Whole,
    /// It covered a region: an `update` of the last version.
    Region,
    /// It wrote no element.
    Nothing,
}

/// What functionalization decided.
#[derive(Clone, Debug, Default)]
pub struct FunctionalNotes {
    /// For each mutating instruction of the source, in order: the owner of the storage in the source, and what became
    /// of the write.
    pub writes: Vec<(InstId, ValueId, WriteForm)>,
    /// Positions of inputs that are written. None of them may share bytes with another input that is used.
    pub written_inputs: Vec<u32>,
    /// Positions of inputs that an instruction reads or writes, or that are outputs.
    pub used_inputs: Vec<u32>,
    /// For each value of the source the value of the functional form that holds it when it is last read.
    pub values: Vec<Option<ValueId>>,
}

/// Why there is no functional form.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// The program is beyond a bound.
    Unsupported(String),
    /// A mistake of ours.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Unsupported(what) => write!(f, "unsupported: {what}"),
            Stop::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

/// The functional form of `graph`, which must be verified; `aliases` is its database.
pub fn functionalize(graph: &Graph, aliases: &AliasDb<'_>) -> Result<(PureGraph, FunctionalNotes), Stop> {
    let (graph, mut notes) = chain::Chains::new(graph, aliases).run()?;
    let needed = needed::Needed::of(&graph);
    let graph = match graph.insts.iter().any(|inst| inst.op.is_control()) {
        true => isolate::isolate(&graph, &needed, &mut notes)?,
        false => needed::without_unneeded(graph, &needed),
    };
    Ok((PureGraph::new(graph)?, notes))
}
