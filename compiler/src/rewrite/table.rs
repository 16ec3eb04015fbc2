//! A saturated e-graph as plain arrays, in an order that depends on nothing but the order of its making.

use egg::Id;

use super::analysis::{Egraph, Reason, SOURCE};
use super::cost;
use super::language::{Kind, TypeId, class_of};
use crate::ops::Class;
use crate::types::TensorType;

/// One way to compute a class.
#[derive(Clone, Debug)]
pub(super) struct Alternative {
    /// The e-node, by the id it was made with.
    pub id: usize,
    pub kind: Kind,
    pub attr: u32,
    pub class: Option<Class>,
    pub children: Vec<u32>,
    /// Its own arithmetic over its result.
    pub arithmetic: u64,
}

/// A class of the e-graph.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub types: Vec<TypeId>,
    pub inner: bool,
    pub weight: bool,
    pub constant: Option<u64>,
    pub bytes: u64,
    pub len: usize,
    /// Ways that can be chosen: kernels, views, movement and opaque ops of memory classes; ops inside kernels of inner
    /// classes (not loads).
    pub alternatives: Vec<Alternative>,
    /// Ops on memory of which kernels were made: where the rules on a chosen op are found.
    pub origins: Vec<Alternative>,
    /// For an inner class its memory class, and the other way round.
    pub partner: Option<u32>,
}

pub(super) struct Table<'a> {
    pub egraph: &'a Egraph,
    pub entries: Vec<Entry>,
    /// Class of each e-node id.
    pub class: Vec<u32>,
}

impl<'a> Table<'a> {
    pub fn new(egraph: &'a Egraph) -> Table<'a> {
        let mut ids: Vec<Id> = egraph.classes().map(|class| class.id).collect();
        ids.sort_unstable();
        let mut dense = vec![u32::MAX; egraph.nodes().len()];
        for (at, id) in ids.iter().enumerate() {
            dense[usize::from(*id)] = at as u32;
        }
        let class: Vec<u32> =
            (0..egraph.nodes().len()).map(|id| dense[usize::from(egraph.find(Id::from(id)))]).collect();
        let mut entries: Vec<Entry> = ids
            .iter()
            .map(|&id| {
                let data = &egraph[id].data;
                let ty = egraph.analysis.ty(data);
                Entry {
                    types: data.types.to_vec(),
                    inner: data.inner,
                    weight: data.weight,
                    constant: data.constant,
                    bytes: cost::bytes(ty),
                    len: ty.len(),
                    alternatives: Vec::new(),
                    origins: Vec::new(),
                    partner: None,
                }
            })
            .collect();
        for (id, node) in egraph.nodes().iter().enumerate() {
            let children: Vec<u32> = node.children.iter().map(|&child| class[usize::from(child)]).collect();
            let own = class[id];
            match node.kind {
                Kind::LOAD => {
                    entries[own as usize].partner = Some(children[0]);
                    entries[children[0] as usize].partner = Some(own);
                    continue;
                }
                Kind::KERNEL => {
                    entries[own as usize].partner = Some(children[0]);
                    entries[children[0] as usize].partner = Some(own);
                }
                _ => {}
            }
            let types: Vec<&TensorType> =
                children.iter().map(|&child| egraph.analysis.words.ty(entries[child as usize].types[0])).collect();
            let len = entries[own as usize].len;
            let alternative = Alternative {
                id,
                kind: node.kind,
                attr: node.attr,
                class: class_of(node.kind),
                arithmetic: cost::arithmetic(&egraph.analysis.words, node.kind, node.attr, &types, len),
                children,
            };
            // What is known when compiling is made of what is known, not by an op on a value of the run, like `x * 0`.
            if entries[own as usize].weight && alternative.children.iter().any(|&child| !entries[child as usize].weight)
            {
                continue;
            }
            let entry = &mut entries[own as usize];
            let compute = matches!(alternative.class, Some(Class::Point | Class::Row | Class::Contraction));
            let list = if compute && !entry.inner && !entry.weight && node.kind != Kind::CONST {
                &mut entry.origins
            } else {
                &mut entry.alternatives
            };
            let known = list.iter().any(|other: &Alternative| {
                other.kind == alternative.kind
                    && other.attr == alternative.attr
                    && other.children == alternative.children
            });
            if !known {
                list.push(alternative);
            }
        }
        Table { egraph, entries, class }
    }

    pub fn ty(&self, class: u32) -> &TensorType {
        self.egraph.analysis.words.ty(self.entries[class as usize].types[0])
    }

    /// The op on memory that an op inside a kernel was made of.
    pub fn origin(&self, inner: u32, alternative: &Alternative) -> Option<usize> {
        let memory = &self.entries[self.entries[inner as usize].partner? as usize];
        let origin = memory.origins.iter().find(|origin| {
            origin.kind == alternative.kind.outer()
                && origin.attr == alternative.attr
                && origin.children.iter().zip(&alternative.children).all(|(&memory, &inner)| {
                    self.entries[inner as usize].partner == Some(memory)
                        || self.entries[inner as usize].constant.is_some()
                            && self.entries[inner as usize].types == self.entries[memory as usize].types
                })
        })?;
        Some(origin.id)
    }

    /// Why an e-node was made, and the application that made it.
    pub fn maker(&self, id: usize) -> (Reason, Option<u32>) {
        self.egraph.analysis.makers.get(id).copied().unwrap_or((SOURCE, None))
    }
}
