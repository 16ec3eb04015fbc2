//! Rules: a name people can say, the equation, the side condition, and the floating-point freedom it needs.
//!
//! A *pattern* rule is text on both sides; a number on the left matches a constant of that value, a number on the right
//! is a constant of the result's dtype; both orders of a commutative function are tried. A *structural* rule looks at
//! one kind of node and reads attributes and types. Rules are directed; there is no associativity and no distributivity.
//! Side conditions read facts of classes only (types, constants, weights), so what was true once stays true.

mod contraction;
mod fusion;
mod gather;
mod identity;
mod integer;
mod logic;
mod merge;
mod pattern;
mod recover;
mod reduction;
mod scalar;
mod updates;
mod views;

use egg::{Id, Pattern};
use smallvec::SmallVec;
use std::sync::OnceLock;

use super::Math;
use super::analysis::Egraph;
use super::language::{Kind, Node};
use super::plan::Plan;
pub(super) use pattern::{Match, Right};

/// What a rule may change in a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freedom {
    /// Nothing: bit for bit the same.
    Exact,
    /// The sign of a zero.
    ZeroSign,
    /// A few units in the last place of each result.
    Ulp,
    /// Constants are combined with weights, which rounds once more or once less.
    Fold,
    /// Sums or products are taken in another order, or what lies between has another range.
    Reassociate,
    /// What is NaN or infinite, now or on the way, becomes something else.
    Finite,
}

impl Freedom {
    pub const ALL: [Freedom; 6] =
        [Freedom::Exact, Freedom::ZeroSign, Freedom::Ulp, Freedom::Fold, Freedom::Reassociate, Freedom::Finite];

    /// Whether a mode grants it. No mode grants `Finite`; the promise that every value is finite does.
    pub fn granted(self, math: Math, finite: bool) -> bool {
        match (self, math) {
            (Freedom::Finite, _) => finite,
            (_, Math::Strict) => self == Freedom::Exact,
            (_, Math::Default) => self <= Freedom::Fold,
            (_, Math::Fast) => true,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Freedom::Exact => "exact",
            Freedom::ZeroSign => "sign of zero",
            Freedom::Ulp => "ulp",
            Freedom::Fold => "constants into weights",
            Freedom::Reassociate => "reassociates",
            Freedom::Finite => "drops NaN and infinity",
        }
    }
}

/// When a rule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Algebra, views, recovery: until nothing changes.
    Algebra,
    /// Several users of one value together: once, then algebra on what came of it.
    Merge,
    /// Into kernels: once.
    Lower,
    /// Joining kernels: until nothing changes.
    Fuse,
    /// Requests to overwrite an operand.
    Tie,
}

impl Phase {
    /// Whether a program is complete without rules of this phase, so that they can be chosen by name.
    pub fn is_optional(self) -> bool {
        matches!(self, Phase::Algebra | Phase::Merge)
    }
}

pub(super) type Plans = SmallVec<[Plan; 1]>;
/// Reads a node of a class and says what the class also is.
pub(super) type Planner = fn(&Egraph, Id, &Node) -> Plans;

pub(super) enum Body {
    Pattern {
        /// One for each order of commutative operands.
        left: Vec<Left>,
        right: Right,
        /// The side condition.
        guard: fn(&Match<'_>) -> bool,
    },
    Structural {
        kinds: Vec<Kind>,
        planner: Planner,
    },
}

/// A compiled left side.
pub(super) struct Left {
    pub pattern: Pattern<Node>,
    /// Kinds that have to be in the e-graph for a match to exist.
    pub kinds: Vec<Kind>,
    pub names: Vec<String>,
    /// Variables that stand for numbers.
    pub numbers: Vec<(usize, f64)>,
}

/// A rule.
pub struct Rule {
    pub name: &'static str,
    /// `left => right` as a person reads it.
    pub equation: String,
    /// The side condition in words; empty if there is none.
    pub condition: &'static str,
    pub freedom: Freedom,
    pub phase: Phase,
    pub(super) body: Body,
}

/// A rule of two patterns.
fn pattern(name: &'static str, left: &'static str, right: &'static str, freedom: Freedom) -> Rule {
    guarded(name, left, right, freedom, "", |_| true)
}

/// A rule of two patterns with a side condition.
fn guarded(
    name: &'static str,
    left: &'static str,
    right: &'static str,
    freedom: Freedom,
    condition: &'static str,
    guard: fn(&Match<'_>) -> bool,
) -> Rule {
    let right_side = Right::Term(pattern::parse(right));
    let body = Body::Pattern { left: pattern::variants(left), right: right_side, guard };
    Rule { name, equation: format!("{left} => {right}"), condition, freedom, phase: Phase::Algebra, body }
}

/// A rule of a pattern and a right side made by a function.
fn built(
    name: &'static str,
    left: &'static str,
    right: &'static str,
    freedom: Freedom,
    condition: &'static str,
    build: fn(&Match<'_>) -> Option<Plan>,
) -> Rule {
    let body = Body::Pattern { left: pattern::variants(left), right: Right::Built(build), guard: |_| true };
    Rule { name, equation: format!("{left} => {right}"), condition, freedom, phase: Phase::Algebra, body }
}

/// A rule over one kind of node.
fn structural(
    name: &'static str,
    equation: &'static str,
    condition: &'static str,
    freedom: Freedom,
    kinds: &[Kind],
    planner: Planner,
) -> Rule {
    let body = Body::Structural { kinds: kinds.to_vec(), planner };
    Rule { name, equation: equation.to_string(), condition, freedom, phase: Phase::Algebra, body }
}

/// The rules in the order in which they are tried. A rule's number is its position.
pub fn all() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let mut rules = identity::rules();
        rules.extend(integer::rules());
        rules.extend(scalar::rules());
        rules.extend(logic::rules());
        rules.extend(views::rules());
        rules.extend(reduction::rules());
        rules.extend(gather::rules());
        rules.extend(updates::rules());
        rules.extend(recover::rules());
        rules.extend(contraction::rules());
        rules.extend(merge::rules());
        rules.extend(fusion::rules());
        rules
    })
}

/// The names most like `name`, best first: those that hold it or that it holds, then those a few letters away.
pub fn nearest(name: &str) -> Vec<&'static str> {
    let mut found: Vec<(usize, &'static str)> = all()
        .iter()
        .filter_map(|rule| {
            let holds = rule.name.contains(name) || name.contains(rule.name);
            let apart = if holds { 1 } else { letters_apart(rule.name, name) };
            (apart <= 1 + name.len() / 3 && !name.is_empty()).then_some((apart, rule.name))
        })
        .collect();
    found.sort_unstable();
    found.truncate(5);
    found.into_iter().map(|(_, name)| name).collect()
}

/// Fewest letters to add, drop or replace that turn one word into the other.
fn letters_apart(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Name of the reason with this number.
pub(super) fn reason_name(reason: super::analysis::Reason) -> Option<&'static str> {
    if reason == super::analysis::FOLDED {
        return Some("fold-constants");
    }
    all().get(reason as usize).map(|rule| rule.name)
}
