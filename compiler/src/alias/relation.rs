//! How two regions of a storage lie to each other.
//!
//! [`relate`] is a ladder; the first rung that answers, answers:
//!
//! 1. a region without elements meets nothing;
//! 2. equal maps are identical;
//! 3. two boxes in the coordinates of one root, or two [grids](super::grid): per axis, the intersection of arithmetic
//!    progressions, exact;
//! 4. intervals of elements that do not touch;
//! 5. the greatest common divisor of all strides does not divide the distance;
//! 6. a bounded search for a common element.
//!
//! Regions whose elements differ in size are compared in the units of the smaller one, and what is told of them counts bytes.
//!
//! What no rung decides is [`Relation::Unknown`], and unknown means overlap.

use super::grid::grid;
use super::view::BoxMap;
use crate::strides::in_units;
use crate::strides::injective::{Naming, naming};
use crate::strides::meet::{Meeting, search};
use crate::strides::progression::{Progression, extended_gcd};
use crate::types::Layout;

/// Cases that the search of rung 6 may try. NumPy's figure; 12 % of random pairs of slices and reshapes need it at all.
pub const SEARCH_BUDGET: usize = 10_000;

/// Region `a` compared with region `b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same elements at the same indices, apart from axes of extent 1.
    Identical,
    /// The same elements in another order or shape.
    Permuted,
    /// Every element of `a` is in `b`; that `b` has no more is not known.
    Inside,
    /// Every element of `b` is in `a`; that `a` has no more is not known.
    Around,
    /// They share an element, and neither is known to hold the other.
    Partial(Witness),
    Disjoint(Why),
    /// Not decided: to be treated as overlap.
    Unknown(Why),
}

/// An element that two regions share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witness {
    /// Indices of the root's axes.
    Index(Vec<i64>),
    /// Position in the storage, in elements.
    Element(i64),
    /// Position in the storage, in bytes, where elements of two sizes overlap.
    Byte(i64),
}

/// What numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Elements,
    /// So many bytes each, told in bytes.
    Bytes(i64),
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Elements => "elements",
            Unit::Bytes(_) => "bytes",
        }
    }

    fn scale(self, number: i64) -> i64 {
        match self {
            Unit::Elements => number,
            Unit::Bytes(size) => number.saturating_mul(size),
        }
    }
}

/// Why two regions are disjoint, or why nobody can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Two storages that never share bytes.
    OtherStorage { a: String, b: String },
    /// One of them has no element.
    Empty,
    /// They take different indices of one axis of the root.
    Axis { axis: usize, a: Progression, b: Progression, root: String },
    /// Their elements lie in separate intervals of the storage (half-open).
    Interval { a: (i64, i64), b: (i64, i64), unit: Unit, root: String },
    /// All their strides are multiples of `divisor`, and their offsets differ by something else.
    Stride { divisor: i64, distance: i64, unit: Unit },
    /// A complete search found no common element.
    Searched { cases: usize },
    /// Two inputs that the caller may pass the same bytes for.
    Inputs { a: String, b: String },
    /// Made by different trips of a loop.
    OtherTrip { root: String },
    /// Control flow decides whose storage they have; they may both have that of `owner`.
    Joined { a: String, b: String, owner: Option<String> },
    /// The search gave up.
    Budget { cases: usize },
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::OtherStorage { a, b } => write!(f, "{a} and {b} have bytes of their own"),
            Why::Empty => f.write_str("one of them has no element"),
            Why::Axis { axis, a, b, root } => write!(f, "{a} and {b} of axis {axis} of {root}"),
            Why::Interval { a, b, unit, root } => {
                let [p, q, r, s] = [a.0, a.1, b.0, b.1].map(|number| unit.scale(number));
                write!(f, "{} {p}..{q} and {r}..{s} of {root}", unit.name())
            }
            Why::Stride { divisor, distance, unit } => {
                let (divisor, distance) = (unit.scale(*divisor), unit.scale(*distance));
                write!(f, "all strides are multiples of {divisor}, the offsets differ by {distance}")
            }
            Why::Searched { cases } => write!(f, "no index of one meets an index of the other ({cases} cases)"),
            Why::Inputs { a, b } => write!(f, "the caller may pass the same bytes as {a} and {b}"),
            Why::OtherTrip { root } => write!(f, "{root} is another storage at every trip"),
            Why::Joined { a, b, owner: Some(owner) } => write!(f, "{a} and {b} may both have bytes of {owner}"),
            Why::Joined { a, b, owner: None } => write!(f, "too many storages meet in {a} or {b}"),
            Why::Budget { cases } => write!(f, "not decided after {cases} cases"),
        }
    }
}

impl std::fmt::Display for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Relation::Identical => f.write_str("identical"),
            Relation::Permuted => f.write_str("the same elements in another order"),
            Relation::Inside => f.write_str("inside"),
            Relation::Around => f.write_str("around"),
            Relation::Partial(Witness::Index(index)) => write!(f, "partial overlap, for example at index {index:?}"),
            Relation::Partial(Witness::Element(element)) => write!(f, "overlap, for example at element {element}"),
            Relation::Partial(Witness::Byte(byte)) => write!(f, "overlap, for example at byte {byte}"),
            Relation::Disjoint(why) => write!(f, "disjoint: {why}"),
            Relation::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

impl Relation {
    pub fn is_disjoint(&self) -> bool {
        matches!(self, Relation::Disjoint(_))
    }

    /// Whether an element is known to be shared.
    pub fn meets(&self) -> bool {
        !matches!(self, Relation::Disjoint(_) | Relation::Unknown(_))
    }

    /// The relation of `b` to `a`.
    pub fn reversed(self) -> Relation {
        match self {
            Relation::Inside => Relation::Around,
            Relation::Around => Relation::Inside,
            Relation::Disjoint(why) => Relation::Disjoint(why.reversed()),
            other => other,
        }
    }
}

impl Why {
    fn reversed(self) -> Why {
        match self {
            Why::OtherStorage { a, b } => Why::OtherStorage { a: b, b: a },
            Why::Axis { axis, a, b, root } => Why::Axis { axis, a: b, b: a, root },
            Why::Interval { a, b, unit, root } => Why::Interval { a: b, b: a, unit, root },
            Why::Stride { divisor, distance, unit } => Why::Stride { divisor, distance: -distance, unit },
            Why::Joined { a, b, owner } => Why::Joined { a: b, b: a, owner },
            other => other,
        }
    }
}

/// A region of one storage: always by strides, and as a box where it is one.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    pub map: Option<&'a BoxMap>,
    /// In elements of its own size.
    pub layout: &'a Layout,
    /// Bytes of an element.
    pub size: usize,
    /// Layout of the root, where its elements have the same size.
    pub root: Option<&'a Layout>,
}

impl Region<'_> {
    /// The indices taken of each axis of the root, where they are a product.
    fn axes(&self) -> Option<Vec<Progression>> {
        match (self.map, self.root) {
            (Some(map), _) => Some(map.axes.clone()),
            (None, Some(root)) if !root.is_empty() => grid(self.layout, root),
            _ => None,
        }
    }
}

/// How `a` lies to `b`, both in the storage of the value that is shown as `root`.
pub fn relate(a: Region<'_>, b: Region<'_>, root: &str) -> Relation {
    relate_within(a, b, root, SEARCH_BUDGET)
}

/// [`relate`] with a budget of its own for the last rung.
pub fn relate_within(a: Region<'_>, b: Region<'_>, root: &str, budget: usize) -> Relation {
    if a.layout.is_empty() || b.layout.is_empty() {
        return Relation::Disjoint(Why::Empty);
    }
    if a.size == b.size {
        if same_map(a.layout, b.layout) {
            return Relation::Identical;
        }
        if let (Some(a), Some(b)) = (a.axes(), b.axes()) {
            return relate_boxes(&a, &b, root);
        }
        return relate_layouts(a.layout, b.layout, Unit::Elements, root, budget);
    }
    let size = a.size.min(b.size);
    match (in_units(a.layout, a.size, size), in_units(b.layout, b.size, size)) {
        (Some(a), Some(b)) => relate_layouts(&a, &b, Unit::Bytes(size as i64), root, budget),
        _ => Relation::Unknown(Why::Budget { cases: 0 }),
    }
}

/// Whether two layouts name the same elements in the same order; axes of extent 1 do not count.
fn same_map(a: &Layout, b: &Layout) -> bool {
    let wide = |layout: &Layout| -> Vec<(usize, i64)> {
        let axes = layout.shape.iter().copied().zip(layout.strides.iter().copied());
        axes.filter(|axis| axis.0 != 1).collect()
    };
    a.offset == b.offset && wide(a) == wide(b)
}

/// Rung 3. Boxes are products of progressions, so they meet exactly where they meet on every axis.
pub(super) fn relate_boxes(a: &[Progression], b: &[Progression], root: &str) -> Relation {
    let mut witness = Vec::with_capacity(a.len());
    let (mut inside, mut around) = (true, true);
    for (axis, (&p, &q)) in a.iter().zip(b).enumerate() {
        let common = p.intersection(q);
        if common.len == 0 {
            return Relation::Disjoint(Why::Axis { axis, a: p, b: q, root: root.to_string() });
        }
        witness.push(common.start);
        inside &= common.len == p.distinct();
        around &= common.len == q.distinct();
    }
    match (inside, around) {
        (true, true) => Relation::Permuted,
        (true, false) => Relation::Inside,
        (false, true) => Relation::Around,
        (false, false) => Relation::Partial(Witness::Index(witness)),
    }
}

/// Rungs 4 to 6.
fn relate_layouts(a: &Layout, b: &Layout, unit: Unit, root: &str, budget: usize) -> Relation {
    let (Some(p), Some(q)) = (a.hull(), b.hull()) else {
        // Offsets beyond 64 bits cannot be compared.
        return Relation::Unknown(Why::Budget { cases: 0 });
    };
    if p.1 <= q.0 || q.1 <= p.0 {
        return Relation::Disjoint(Why::Interval { a: p, b: q, unit, root: root.to_string() });
    }
    let strides = |layout: &Layout| -> Vec<i64> {
        let axes = layout.shape.iter().zip(&layout.strides);
        axes.filter(|axis| *axis.0 > 1 && *axis.1 != 0).map(|axis| axis.1.abs()).collect()
    };
    let all = strides(a).into_iter().chain(strides(b));
    let divisor = all.fold(0i128, |gcd, stride| match gcd {
        0 => i128::from(stride),
        gcd => extended_gcd(gcd, i128::from(stride)).0,
    });
    let distance = b.offset - a.offset;
    if divisor > 1 && i128::from(distance) % divisor != 0 {
        let divisor = i64::try_from(divisor).unwrap_or(i64::MAX);
        return Relation::Disjoint(Why::Stride { divisor, distance, unit });
    }
    // A dense region holds whatever lies between its ends.
    let fills = |layout: &Layout, hull: (i64, i64)| {
        naming(layout) == Naming::Unique && i64::try_from(layout.len()).is_ok_and(|len| len == hull.1 - hull.0)
    };
    let (a_fills, b_fills) = (fills(a, p), fills(b, q));
    match (b_fills && q.0 <= p.0 && p.1 <= q.1, a_fills && p.0 <= q.0 && q.1 <= p.1) {
        (true, true) => return Relation::Permuted,
        (true, false) => return Relation::Inside,
        (false, true) => return Relation::Around,
        (false, false) => {}
    }
    match search(a, b, budget) {
        Meeting::At(at) => Relation::Partial(match unit {
            Unit::Elements => Witness::Element(at),
            Unit::Bytes(_) => Witness::Byte(unit.scale(at)),
        }),
        Meeting::Never(cases) => Relation::Disjoint(Why::Searched { cases }),
        Meeting::Unknown => Relation::Unknown(Why::Budget { cases: budget }),
    }
}
