//! Must-sharing: which values have the same storage, and through which map.
//!
//! A weighted union-find. The edge from a value to its parent carries the map of the value in the parent's coordinates;
//! finding the root composes the maps on the way and shortens the path. A value without a parent owns its storage.

use super::view::BoxMap;
use crate::ir::ValueId;

/// A map on an edge. `None` where the map is no box: strides in the root's storage then say what the value has.
type Edge = Option<BoxMap>;

#[derive(Clone, Debug)]
pub struct Sharing {
    parent: Vec<ValueId>,
    /// In the coordinates of the root: edges are composed as they are made, since a view's operand comes before it.
    edges: Vec<Edge>,
}

impl Sharing {
    /// Every value by itself.
    pub fn new(shapes: &[&[usize]]) -> Sharing {
        Sharing {
            parent: (0..shapes.len() as u32).map(ValueId).collect(),
            edges: shapes.iter().map(|shape| Some(BoxMap::whole(shape))).collect(),
        }
    }

    /// The root of `value`, and the value's box in it.
    pub fn find(&self, value: ValueId) -> (ValueId, Option<&BoxMap>) {
        (self.parent[value.index()], self.edges[value.index()].as_ref())
    }

    /// Makes `value` a view of `operand`, with `map` in the coordinates of the operand's root. A value is joined once,
    /// before anything is joined to it, so paths have length one.
    pub fn join(&mut self, value: ValueId, operand: ValueId, map: Edge) {
        self.parent[value.index()] = self.parent[operand.index()];
        self.edges[value.index()] = map;
    }
}
