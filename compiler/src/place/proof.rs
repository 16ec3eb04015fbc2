//! The outcome of a tie as data: a proof with its ten parts, or a refusal with the one to blame.
//!
//! A tie lets a result take the bytes of something that exists already. It is granted when all ten [`Condition`]s
//! hold, and then carries a [`Proof`]; otherwise it is a [`Refused`] with a [`Reason`]. Nothing here decides; `sharing`
//! does. The text of both is made in `report`, each reason's meaning for a reader stands in `docs/report.md`.

use situ_runtime::contract::Permission;

use crate::lower::BufferId;

/// The ten conditions of a safe tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// The kernel's contract lets the operand and the result share bytes.
    Contract,
    /// Both name the same bytes: one injective region, one size, one alignment.
    Region,
    /// The bytes may be written.
    Root,
    /// Nobody observes the old content afterwards.
    Observers,
    /// The other operands of the step keep clear, or the contract allows them.
    Operands,
    /// The readers that must come first can come first.
    Order,
    /// The bytes have one line of versions.
    Versions,
    /// Both are of one iteration.
    Iteration,
    /// Outputs are pairwise distinct, and distinct from inputs and weights.
    Boundary,
    /// The step runs once for each run.
    Once,
}

impl Condition {
    pub const ALL: [Condition; 10] = [
        Condition::Contract,
        Condition::Region,
        Condition::Root,
        Condition::Observers,
        Condition::Operands,
        Condition::Order,
        Condition::Versions,
        Condition::Iteration,
        Condition::Boundary,
        Condition::Once,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Condition::Contract => "contract",
            Condition::Region => "region",
            Condition::Root => "root",
            Condition::Observers => "observers",
            Condition::Operands => "operands",
            Condition::Order => "order",
            Condition::Versions => "versions",
            Condition::Iteration => "iteration",
            Condition::Boundary => "boundary",
            Condition::Once => "once",
        }
    }
}

/// What kind of sharing a tie is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TieKind {
    /// A result overwrites an operand of its own step.
    Overwrite,
    /// A copy that would have moved a whole value is gone: both names are one value.
    Forward,
    /// A copy of the base of an update is gone: the update happens in the base's bytes.
    Update,
    /// A copy into a part of a larger value is gone: the producer writes into the part.
    Emplace,
    /// The last copy into an `inout` input is gone: the final value is computed in the input's bytes.
    Final,
    /// A result takes the bytes of an input that is dead by then, without reading it in the same step.
    Succeed,
}

impl TieKind {
    pub fn name(self) -> &'static str {
        match self {
            TieKind::Overwrite => "overwrite",
            TieKind::Forward => "forward",
            TieKind::Update => "update",
            TieKind::Emplace => "emplace",
            TieKind::Final => "final",
            TieKind::Succeed => "succeed",
        }
    }
}

/// Why the bytes of a tie may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// The program's own memory.
    Fresh,
    /// Graph input `i`, which the caller gave up.
    Donated(u32),
    /// Graph input `i`, which is state and ends with its final value.
    State(u32),
}

/// How a reader of the old content is known to come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Before {
    /// The overwriting step needs it, directly or through others.
    Data,
    /// Nothing ordered the two; an anti-dependence edge was added.
    Added,
    /// It is the overwriting step itself, which the contract permits.
    Itself,
}

/// A reader of the old content, by its label, and why it comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observer {
    pub step: String,
    pub before: Before,
}

/// How another operand of the step keeps clear of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// It has other bytes altogether.
    Apart,
    /// It is in the same line of bytes, in a region that what is written does not meet.
    Beside,
    /// It is at the very place, and the contract permits it as well.
    Permitted(Permission),
}

/// Another operand, by the name of its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    pub name: String,
    pub clear: Clear,
}

/// Why a tie is safe: the evidence for each condition. `Iteration` alone has no field: a body is a plan of its own, and one
/// iteration meets another only in its carries, which are state with a final value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// `Contract`: the rule of the kernel that permits it; a tie without a step of its own has none.
    pub contract: Option<Permission>,
    /// `Region`: offset of the shared bytes from the start of the root, and how many there are.
    pub offset: u64,
    pub bytes: u64,
    /// `Root`.
    pub root: Root,
    /// `Observers` and `Order`: every reader of the old content; those that were `Added` are the edges of this tie.
    pub observers: Vec<Observer>,
    /// `Operands`: what else the writing steps read.
    pub operands: Vec<Operand>,
    /// `Versions`: the place of the new content in the line of versions of these bytes; the first is 0.
    pub version: u32,
    /// `Boundary`: whether the result is a graph output.
    pub output: bool,
    /// `Once`: the steps that write the new content, each of which is in the order once.
    pub steps: Vec<String>,
}

/// A tie that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tied {
    pub kind: TieKind,
    /// The value that needed bytes.
    pub value: String,
    /// The value whose bytes it has.
    pub over: String,
    /// Label of the step that writes it (for an elided copy: of the copy).
    pub step: String,
    /// Bytes that are not allocated, or not moved, because of it.
    pub bytes: u64,
    /// Whether the rewriter asked for it.
    pub requested: bool,
    pub proof: Proof,
}

/// Why a tie was refused. The text after each is the line of `docs/report.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A step that needs the result reads the old content too.
    ReadLater { by: String },
    /// The readers could come first, but the edges of ties granted before forbid it.
    AntiDependenceCycle { by: String, through: String },
    /// The operand is a graph output.
    IsOutput,
    /// The operand is a graph input that the caller keeps.
    NotDonated { input: String },
    /// The operand is a weight.
    IsConstant,
    /// The bytes are state that ends as the final value of the input, which would not survive.
    IsState { input: String },
    /// The step reads the operand in another order than it writes the result.
    LayoutDiffers,
    /// Operand and result have different sizes.
    SizeDiffers { found: u64, expected: u64 },
    /// The kernel reads the operand after it has begun to write.
    KernelForbids { kernel: &'static str },
    /// The kernel of the producer cannot write a region with gaps.
    CannotWriteRegion { kernel: &'static str },
    /// Another step overwrites the operand already.
    AlreadyTaken { by: String },
    /// The operand is a part of a larger value that is needed whole.
    PartialOverlap { whole: String },
    /// A step that would write the bytes reads them as well, at other positions than it writes.
    OtherOperandOverlaps { by: String, operand: String },
    /// Two results of the program, or a result and an input, would share bytes.
    OutputsCollide { with: String },
    /// The bytes of the operand lie elsewhere for another reason: in an input, or as a version of other bytes.
    PlaceFixed { at: String },
    /// It is safe, but the peak would be larger.
    RaisesPeak { from: u64, to: u64 },
    /// Switched off (`--no-inplace`, `--tie-limit`, `--only-tie`).
    Withheld,
}

impl Reason {
    /// Every name, in the order of `docs/report.md`.
    pub const NAMES: [&'static str; 17] = [
        "read-later",
        "anti-dependence-cycle",
        "is-output",
        "not-donated",
        "is-constant",
        "is-state",
        "layout-differs",
        "size-differs",
        "kernel-forbids",
        "cannot-write-region",
        "already-taken",
        "partial-overlap",
        "other-operand-overlaps",
        "outputs-collide",
        "place-fixed",
        "raises-peak",
        "withheld",
    ];

    pub fn name(&self) -> &'static str {
        let index = match self {
            Reason::ReadLater { .. } => 0,
            Reason::AntiDependenceCycle { .. } => 1,
            Reason::IsOutput => 2,
            Reason::NotDonated { .. } => 3,
            Reason::IsConstant => 4,
            Reason::IsState { .. } => 5,
            Reason::LayoutDiffers => 6,
            Reason::SizeDiffers { .. } => 7,
            Reason::KernelForbids { .. } => 8,
            Reason::CannotWriteRegion { .. } => 9,
            Reason::AlreadyTaken { .. } => 10,
            Reason::PartialOverlap { .. } => 11,
            Reason::OtherOperandOverlaps { .. } => 12,
            Reason::OutputsCollide { .. } => 13,
            Reason::PlaceFixed { .. } => 14,
            Reason::RaisesPeak { .. } => 15,
            Reason::Withheld => 16,
        };
        Reason::NAMES[index]
    }

    /// The condition that does not hold.
    pub fn condition(&self) -> Condition {
        match self {
            Reason::ReadLater { .. } => Condition::Observers,
            Reason::AntiDependenceCycle { .. } | Reason::RaisesPeak { .. } => Condition::Order,
            Reason::IsOutput | Reason::OutputsCollide { .. } => Condition::Boundary,
            Reason::NotDonated { .. } | Reason::IsConstant | Reason::IsState { .. } => Condition::Root,
            Reason::LayoutDiffers | Reason::SizeDiffers { .. } | Reason::PartialOverlap { .. } => Condition::Region,
            Reason::KernelForbids { .. } | Reason::CannotWriteRegion { .. } | Reason::Withheld => Condition::Contract,
            Reason::AlreadyTaken { .. } | Reason::PlaceFixed { .. } => Condition::Versions,
            Reason::OtherOperandOverlaps { .. } => Condition::Operands,
        }
    }
}

/// A tie that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub kind: TieKind,
    /// The value that needed bytes.
    pub value: String,
    /// The value whose bytes it did not get.
    pub over: String,
    /// Label of the step that would have written it.
    pub step: String,
    pub reason: Reason,
    /// The step or value to blame: without it, or with it elsewhere, the tie would stand.
    pub blame: String,
    /// Bytes it costs.
    pub bytes: u64,
    /// What the author of the program could do about it.
    pub hint: Option<&'static str>,
    pub requested: bool,
}

/// Where the bytes of a buffer are, apart from the offset of its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The first buffer of its line of versions; its kind says which memory.
    pub root: BufferId,
    /// Bytes from the start of the root.
    pub offset: u64,
}
