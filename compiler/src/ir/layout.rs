//! Layouts of the values of a source program, by eager PyTorch's rules.
//!
//! Strides decide whether `reshape` is a view, whether `view` is possible, and whether a write is well defined, so they
//! are part of what a source program means. Every value has a *placement*: the value whose storage it has (its root) and
//! a layout in that storage, in elements. Inputs and constants are row-major. A fresh result follows its row's
//! [`LayoutRule`]; a view is derived from its operand; a mutating instruction returns operand 0's placement.
//!
//! The elementwise rule is PyTorch's `TensorIterator` (aten/src/ATen/TensorIterator.cpp, `fast_set_up`,
//! `reorder_dimensions` and `allocate_or_resize_outputs`). The rule that makes `reshape` a view is `computeStride` in
//! aten/src/ATen/TensorUtils.cpp.

mod control;

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{BlockId, Graph, Inst, InstId, ValueId};
use crate::ops::{LayoutRule, Op, Storage, views};
use crate::types::{Layout, dense_strides};

/// The most layouts that one value may have: what joins in it has its own strides.
pub const MAX_LAYOUTS: usize = 8;

/// Where a value lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The value that owns the storage; a value with bytes of its own is its own root.
    pub root: ValueId,
    /// In elements from the start of the root's storage.
    pub layout: Layout,
}

/// A view that cannot be: what was found, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    pub message: String,
    pub hint: &'static str,
}

/// Placements of all values, by id.
#[derive(Clone, Debug)]
pub struct Placements {
    values: Vec<Placement>,
    /// Layouts that a value may have besides that of its placement. Their offsets mean nothing.
    others: BTreeMap<ValueId, Vec<Layout>>,
    /// For each join, the values it may stand for.
    joined: BTreeMap<ValueId, Vec<ValueId>>,
    /// Views that their operand's storage and strides forbid, and why. Their results are placed as copies.
    pub impossible: BTreeMap<InstId, Impossible>,
    /// Instructions of which it cannot be said what they do: a `view` or `reshape` of a value with several layouts, only
    /// some of which allow it, a view of a storage through a value that may stand for several, or an instruction whose
    /// result has more than [`MAX_LAYOUTS`] layouts.
    pub undecided: BTreeSet<InstId>,
}

impl Placements {
    pub fn of(&self, value: ValueId) -> &Placement {
        &self.values[value.index()]
    }

    /// The value whose storage `value` has. A join (see [`Placements::joined`]) is the root of its views, though the
    /// storage is that of one of the values that flow into it.
    pub fn root(&self, value: ValueId) -> ValueId {
        self.of(value).root
    }

    /// The layout of a value, or one of several that it may have.
    pub fn layout(&self, value: ValueId) -> &Layout {
        &self.of(value).layout
    }

    /// All layouts a value may have, apart from their offsets.
    pub fn layouts(&self, value: ValueId) -> impl Iterator<Item = &Layout> {
        std::iter::once(self.layout(value)).chain(self.others.get(&value).into_iter().flatten())
    }

    /// Whether the layout of a value is known.
    pub fn has_one_layout(&self, value: ValueId) -> bool {
        !self.others.contains_key(&value)
    }

    /// The values that `value` may stand for, if it is a join: the result of an `if`, what a loop carries, an element of
    /// a sequence.
    pub fn joined(&self, value: ValueId) -> Option<&[ValueId]> {
        self.joined.get(&value).map(Vec::as_slice)
    }

    /// The values that own the storages which `value` may have, through any number of joins; in order.
    pub fn owners(&self, value: ValueId) -> BTreeSet<ValueId> {
        let mut owners = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![self.root(value)];
        while let Some(root) = open.pop() {
            match self.joined(root) {
                _ if !seen.insert(root) => {}
                Some(sources) => open.extend(sources.iter().map(|&source| self.root(source))),
                None => {
                    owners.insert(root);
                }
            }
        }
        owners
    }

    fn set(&mut self, value: ValueId, placement: Placement, others: Vec<Layout>) {
        self.values[value.index()] = placement;
        if others.is_empty() {
            self.others.remove(&value);
        } else {
            self.others.insert(value, others);
        }
    }

    /// Gives `value` the layouts, of which there is at least one, over the storage of `root`.
    fn set_layouts(&mut self, value: ValueId, root: ValueId, layouts: Vec<Layout>) {
        let mut distinct: Vec<Layout> = Vec::new();
        for layout in layouts {
            if distinct.iter().all(|known| known.strides != layout.strides) {
                distinct.push(layout);
            }
        }
        let mut distinct = distinct.into_iter();
        if let Some(layout) = distinct.next() {
            self.set(value, Placement { root, layout }, distinct.collect());
        }
    }
}

/// Placement of graphs that grow, for those who make them.
impl Placements {
    /// Of a graph without values.
    pub fn new() -> Placements {
        Placements {
            values: Vec::new(),
            others: BTreeMap::new(),
            joined: BTreeMap::new(),
            impossible: BTreeMap::new(),
            undecided: BTreeSet::new(),
        }
    }

    /// Places the values that are new, row-major in storages of their own.
    pub fn grow(&mut self, graph: &Graph) {
        for at in self.values.len()..graph.values.len() {
            let value = ValueId(at as u32);
            self.values.push(Placement { root: value, layout: Layout::dense(&graph.ty(value).shape) });
        }
    }

    /// Places the results of an instruction whose operands are placed, and what is in its regions.
    pub fn place(&mut self, graph: &Graph, inst: InstId) {
        self.grow(graph);
        match graph.inst(inst).op.is_control() {
            true => control::place_regions(graph, inst, self),
            false => place_results(graph, inst, self),
        }
    }

    /// Places a parameter that stands for one operand.
    pub fn alias(&mut self, param: ValueId, operand: ValueId) {
        let (placement, others) = (self.of(operand).clone(), self.others.get(&operand).cloned().unwrap_or_default());
        self.set(param, placement, others);
    }
}

impl Default for Placements {
    fn default() -> Placements {
        Placements::new()
    }
}

/// Places every value of `graph`, whose instructions must pass inference and whose regions must be well formed, in the
/// order of the program; kernels' bodies compute in registers and count as row-major.
pub fn placements(graph: &Graph) -> Placements {
    let mut placed = Placements::new();
    placed.grow(graph);
    place_block(graph, Graph::BODY, &mut placed);
    placed
}

fn place_block(graph: &Graph, block: BlockId, placed: &mut Placements) {
    for &id in &graph.block(block).insts {
        match graph.inst(id).op.is_control() {
            true => control::place_regions(graph, id, placed),
            false => place_results(graph, id, placed),
        }
    }
}

fn place_results(graph: &Graph, id: InstId, placed: &mut Placements) {
    let inst = graph.inst(id);
    if inst.mutates {
        let destination = inst.operands[0];
        let others = placed.others.get(&destination).cloned().unwrap_or_default();
        placed.set(inst.results[0], placed.of(destination).clone(), others);
        return;
    }
    let row = inst.op.row();
    match row.storage {
        Storage::Yielded => {}
        Storage::Fresh => match row.layout {
            LayoutRule::Contiguous | LayoutRule::View => {}
            LayoutRule::Elementwise => {
                for &result in &inst.results {
                    let shape = &graph.ty(result).shape;
                    let combinations = combinations(inst, placed);
                    let Some(combinations) = combinations else {
                        placed.undecided.insert(id);
                        continue;
                    };
                    let layouts = combinations.iter().map(|operands| {
                        let operands: Vec<&Layout> = operands.iter().collect();
                        Layout { offset: 0, shape: shape.clone(), strides: elementwise_strides(shape, &operands) }
                    });
                    let layouts = layouts.collect();
                    placed.set_layouts(result, result, layouts);
                }
            }
        },
        Storage::ViewOf(operand) | Storage::MayViewOf(operand) => {
            let operand = inst.operands[operand];
            let root = placed.root(operand);
            let bytes = graph.ty(root).bytes();
            let views: Vec<Option<Vec<Layout>>> =
                placed.layouts(operand).map(|layout| view_layouts(graph, inst, layout, bytes)).collect();
            // Strides and offsets of a storage say nothing where it may be one of several.
            let of_storage = matches!(
                inst.op,
                Op::AsStrided { .. } | Op::Strided { .. } | Op::ViewDtype { .. } | Op::Bitcast { .. }
            );
            if of_storage && placed.joined.contains_key(&root) {
                placed.undecided.insert(id);
            }
            let possible = views.iter().flatten().count();
            if possible == views.len() {
                for (place, &result) in inst.results.iter().enumerate() {
                    let layouts = views.iter().flatten().map(|layouts| layouts[place].clone()).collect();
                    placed.set_layouts(result, root, layouts);
                }
                return;
            }
            if matches!(row.storage, Storage::ViewOf(_)) {
                let why = why_not(graph, inst, placed.layout(operand), bytes);
                placed.impossible.insert(id, why);
            } else if possible > 0 {
                placed.undecided.insert(id);
            }
            for &result in &inst.results {
                placed.set_layouts(result, result, vec![Layout::dense(&graph.ty(result).shape)]);
            }
        }
    }
}

/// Every combination of the operands' layouts, unless there are too many.
fn combinations(inst: &Inst, placed: &Placements) -> Option<Vec<Vec<Layout>>> {
    let mut combined: Vec<Vec<Layout>> = vec![Vec::new()];
    for &operand in &inst.operands {
        let layouts: Vec<&Layout> = placed.layouts(operand).collect();
        if combined.len() * layouts.len() > MAX_LAYOUTS {
            return None;
        }
        let with = |chosen: &Vec<Layout>, layout: &Layout| [chosen.as_slice(), std::slice::from_ref(layout)].concat();
        combined = combined.iter().flat_map(|chosen| layouts.iter().map(|&layout| with(chosen, layout))).collect();
    }
    Some(combined)
}

/// Why a view that must be one is none.
fn why_not(graph: &Graph, inst: &Inst, x: &Layout, bytes: usize) -> Impossible {
    let (operand, result) = (graph.ty(inst.operands[0]), graph.ty(inst.results[0]));
    match &inst.op {
        Op::AsStrided { shape, strides, offset } => {
            let offset = offset.map_or(x.offset, |offset| offset as i64);
            let elements = bytes / operand.dtype.size();
            let message = format!(
                "shape {shape:?} with strides {strides:?} from {offset} leaves a storage of {elements} elements"
            );
            Impossible { message, hint: "an offset counts from the start of the storage, in elements of the operand" }
        }
        Op::ViewDtype { to } => {
            let ratio = (to.size() / operand.dtype.size()).max(1);
            let whole = if ratio > 1 {
                format!(", and its offset and other strides multiples of {ratio}")
            } else {
                String::new()
            };
            let message = format!(
                "{operand} with strides {:?} from element {} cannot be seen as {to}: its last stride must be 1{whole}",
                x.strides, x.offset
            );
            Impossible { message, hint: "use `bitcast`, which copies where it must" }
        }
        _ => {
            let message = format!("{operand} with strides {:?} cannot be viewed as {:?}", x.strides, result.shape);
            Impossible { message, hint: "use `reshape`, which copies where it must" }
        }
    }
}

/// Layouts of a view's results over its operand's layout, or `None` where no strides express the view. The storage has
/// `bytes` bytes.
pub fn view_layouts(graph: &Graph, inst: &Inst, x: &Layout, bytes: usize) -> Option<Vec<Layout>> {
    let one = |layout: Layout| Some(vec![layout]);
    match &inst.op {
        Op::View { shape } | Op::Reshape { shape } => {
            let strides = reshaped_strides(x, shape)?;
            one(Layout { offset: x.offset, shape: shape.clone(), strides })
        }
        Op::Permute { axes } => one(Layout {
            offset: x.offset,
            shape: axes.iter().map(|&axis| x.shape[axis]).collect(),
            strides: axes.iter().map(|&axis| x.strides[axis]).collect(),
        }),
        Op::Slice { axis, start, step, .. } => {
            let mut layout = x.clone();
            layout.shape[*axis] = graph.ty(inst.results[0]).shape[*axis];
            // An empty slice may start outside; it touches nothing.
            if layout.shape[*axis] > 0 {
                layout.offset = start.checked_mul(x.strides[*axis]).and_then(|by| x.offset.checked_add(by))?;
            }
            layout.strides[*axis] = x.strides[*axis].checked_mul(*step)?;
            one(layout)
        }
        Op::Select { axis, index } => {
            let mut layout = x.clone();
            layout.offset += *index as i64 * x.strides[*axis];
            layout.shape.remove(*axis);
            layout.strides.remove(*axis);
            one(layout)
        }
        Op::Expand { shape } => {
            let new = shape.len() - x.rank();
            let mut strides = vec![0; new];
            for (axis, &stride) in x.strides.iter().enumerate() {
                strides.push(if x.shape[axis] == 1 && shape[new + axis] != 1 { 0 } else { stride });
            }
            one(Layout { offset: x.offset, shape: shape.clone(), strides })
        }
        Op::Squeeze { axes } => {
            let kept: Vec<usize> = (0..x.rank()).filter(|axis| !axes.contains(axis)).collect();
            one(Layout {
                offset: x.offset,
                shape: kept.iter().map(|&axis| x.shape[axis]).collect(),
                strides: kept.iter().map(|&axis| x.strides[axis]).collect(),
            })
        }
        Op::Unsqueeze { axes } => {
            let mut layout = x.clone();
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            for axis in sorted {
                // PyTorch gives the new axis the stride one step over the axis behind it.
                let stride = match layout.shape.get(axis) {
                    Some(&extent) => layout.strides[axis].checked_mul(extent as i64)?,
                    None => 1,
                };
                layout.shape.insert(axis, 1);
                layout.strides.insert(axis, stride);
            }
            one(layout)
        }
        Op::Split { axis, sizes } => {
            let mut start = 0i64;
            let mut layouts = Vec::with_capacity(sizes.len());
            for &size in sizes {
                let mut layout = x.clone();
                layout.offset += start * x.strides[*axis];
                layout.shape[*axis] = size;
                layouts.push(layout);
                start += size as i64;
            }
            Some(layouts)
        }
        Op::Unfold { axis, size, step } => {
            let mut layout = x.clone();
            layout.shape[*axis] = (x.shape[*axis] - size) / step + 1;
            // A step too long for a number leaves one window, which nothing steps over.
            let stepped = i64::try_from(*step).ok().and_then(|step| x.strides[*axis].checked_mul(step));
            layout.strides[*axis] = stepped.unwrap_or(x.strides[*axis]);
            layout.shape.push(*size);
            layout.strides.push(x.strides[*axis]);
            one(layout)
        }
        Op::Diagonal { offset, axis1, axis2 } => one(views::diagonal(x, *offset, *axis1, *axis2)),
        Op::AsStrided { shape, strides, offset } => {
            let strides = strides.iter().map(|&stride| i64::try_from(stride).ok()).collect::<Option<Vec<i64>>>()?;
            let offset = match offset {
                Some(offset) => i64::try_from(*offset).ok()?,
                None => x.offset,
            };
            let layout = Layout { offset, shape: shape.clone(), strides };
            let elements = (bytes / graph.ty(inst.operands[0]).dtype.size()) as i64;
            let inside = layout.is_empty() || layout.hull().is_some_and(|(low, high)| low >= 0 && high <= elements);
            if inside { one(layout) } else { None }
        }
        Op::Strided { shape, strides, offset } => one(views::strided(x, shape, strides, *offset)?),
        Op::ViewDtype { to } | Op::Bitcast { to } => {
            let from = graph.ty(inst.operands[0]).dtype.size();
            one(reinterpreted_layout(x, from, to.size())?)
        }
        // Every op whose row says it is a view is above; a new one must be added there.
        _ => None,
    }
}

/// `x` in elements of `to` bytes instead of `from`, by the rules of `view_dtype` in
/// aten/src/ATen/native/TensorConversions.cpp.
fn reinterpreted_layout(x: &Layout, from: usize, to: usize) -> Option<Layout> {
    let last = x.rank().wrapping_sub(1);
    if from == to {
        return Some(x.clone());
    }
    if *x.strides.get(last)? != 1 {
        return None;
    }
    let mut layout = x.clone();
    layout.shape[last] = x.shape[last] * from / to;
    if from > to {
        let ratio = (from / to) as i64;
        layout.offset = x.offset.checked_mul(ratio)?;
        for stride in &mut layout.strides[..last] {
            *stride = stride.checked_mul(ratio)?;
        }
    } else {
        let ratio = (to / from) as i64;
        if x.offset % ratio != 0 || x.strides[..last].iter().any(|stride| stride % ratio != 0) {
            return None;
        }
        layout.offset = x.offset / ratio;
        for stride in &mut layout.strides[..last] {
            *stride /= ratio;
        }
    }
    Some(layout)
}

/// Strides under which the elements of `x`, in row-major order, have the shape `shape`; `None` if there are none.
pub fn reshaped_strides(x: &Layout, shape: &[usize]) -> Option<Vec<i64>> {
    if x.is_empty() {
        return Some(if x.shape == shape { x.strides.clone() } else { dense_strides(shape) });
    }
    if x.rank() == 0 {
        return Some(vec![1; shape.len()]);
    }
    let mut strides = vec![0i64; shape.len()];
    let mut axis = shape.len();
    let mut base = x.strides[x.rank() - 1];
    let (mut elements, mut covered) = (1i64, 1i64);
    for old in (0..x.rank()).rev() {
        elements *= x.shape[old] as i64;
        // The last axis of a run that steps evenly through memory.
        let ends_run = old == 0 || (x.shape[old - 1] != 1 && x.strides[old - 1] != elements.checked_mul(base)?);
        if !ends_run {
            continue;
        }
        while axis > 0 && (covered < elements || shape[axis - 1] == 1) {
            axis -= 1;
            strides[axis] = covered.checked_mul(base)?;
            covered *= shape[axis] as i64;
        }
        if covered != elements {
            return None;
        }
        if old > 0 {
            base = x.strides[old - 1];
            (elements, covered) = (1, 1);
        }
    }
    (axis == 0).then_some(strides)
}

/// Strides of the fresh result of an elementwise op, as `TensorIterator` allocates it.
pub fn elementwise_strides(shape: &[usize], operands: &[&Layout]) -> Vec<i64> {
    let rank = shape.len();
    let same_shape = operands.iter().all(|operand| operand.shape == shape);
    if operands.is_empty() || (same_shape && operands.iter().all(|operand| is_contiguous(operand))) {
        return dense_strides(shape);
    }
    let first = operands[0];
    let common = same_shape && operands.iter().all(|operand| operand.strides == first.strides);
    if common && is_dense_without_overlap(first) {
        return first.strides.clone();
    }
    // Strides over the result's axes, zero where an operand is broadcast.
    let broadcast: Vec<Vec<i64>> = operands
        .iter()
        .map(|operand| {
            let new = rank - operand.rank();
            let stride = |axis: usize| match axis.checked_sub(new) {
                Some(own) if operand.shape[own] != 1 || shape[axis] == 1 => operand.strides[own],
                _ => 0,
            };
            (0..rank).map(stride).collect()
        })
        .collect();
    // Which of two axes lies further in: the first operand that tells decides, equal strides go by extent.
    let order = |a: usize, b: usize| -> std::cmp::Ordering {
        for strides in &broadcast {
            let (p, q) = (strides[a], strides[b]);
            if p == 0 || q == 0 {
                continue;
            }
            match p.cmp(&q) {
                std::cmp::Ordering::Equal if shape[a] > shape[b] => return std::cmp::Ordering::Greater,
                std::cmp::Ordering::Equal => {}
                decided => return decided,
            }
        }
        std::cmp::Ordering::Equal
    };
    // An insertion sort that leaves undecided pairs where they are, innermost axis first.
    let mut permutation: Vec<usize> = (0..rank).rev().collect();
    for i in 1..rank {
        let mut moving = i;
        for before in (0..i).rev() {
            match order(permutation[before], permutation[moving]) {
                std::cmp::Ordering::Greater => {
                    permutation.swap(before, moving);
                    moving = before;
                }
                std::cmp::Ordering::Less => break,
                std::cmp::Ordering::Equal => {}
            }
        }
    }
    if permutation.iter().rev().copied().eq(0..rank) {
        return dense_strides(shape);
    }
    let mut strides = vec![0; rank];
    let mut next = 1i64;
    for axis in permutation {
        strides[axis] = next;
        next *= shape[axis].max(1) as i64;
    }
    strides
}

fn is_contiguous(layout: &Layout) -> bool {
    layout.is_empty() || layout.is_dense()
}

/// Whether the layout fills its hull exactly, in whatever order of axes.
fn is_dense_without_overlap(layout: &Layout) -> bool {
    if layout.rank() == 1 {
        return layout.shape[0] < 2 || layout.strides[0] == 1;
    }
    let mut axes: Vec<usize> = (0..layout.rank()).collect();
    axes.sort_by_key(|&axis| if layout.shape[axis] < 2 { i64::MAX } else { layout.strides[axis] });
    let mut next = 1i64;
    for axis in axes {
        if layout.shape[axis] < 2 {
            return true;
        }
        if layout.strides[axis] != next {
            return false;
        }
        next *= layout.shape[axis] as i64;
    }
    true
}
