//! What the checker can find wrong with a plan, in words.

use crate::executable::{Place, Space};
use crate::validate::Invalid;

/// Where in a plan: a step and one of its operands, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub step: usize,
    /// The step's label.
    pub label: String,
    pub operand: Operand,
}

/// An operand of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    Read(usize),
    Write(usize),
    Workspace,
}

impl std::fmt::Display for Operand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Operand::Read(index) => write!(f, "read {index}"),
            Operand::Write(index) => write!(f, "write {index}"),
            Operand::Workspace => f.write_str("workspace"),
        }
    }
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {} ({}): {}", self.step, self.label, self.operand)
    }
}

/// Why two operands that share bytes are not a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTie {
    /// They touch different bytes of what they share, or touch them in a different order.
    DifferentLayout,
    /// The contract of the kernel does not permit this operand in that result.
    Contract,
    /// Neither is a read: results and workspace never share bytes.
    BothWritten,
}

/// One thing wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The plan is not well formed; nothing else was looked at.
    Malformed(Invalid),
    /// A step reads bytes that do not hold the value. `overwritten_by` is the last step before it that writes there.
    Absent { site: Site, value: String, place: Place, overwritten_by: Option<usize> },
    /// A step writes to weights or to an input that may only be read.
    ReadOnly { site: Site, value: String, space: Space },
    /// Two operands of a step share bytes (hulls are compared), and that is no permitted tie.
    Overlap { site: Site, other: Operand, why: NoTie },
    /// Two indices of a written view may name one byte.
    NotInjective { site: Site, value: String },
    /// A region of a value is written a second time.
    WrittenTwice { site: Site, value: String },
    /// A value that replaces a region of another was defined already.
    Redefined { site: Site, value: String },
    /// The value to be updated was never written, or was replaced by another update.
    BaseGone { site: Site, value: String, base: String },
    /// The value to be updated lies elsewhere.
    BaseElsewhere { site: Site, value: String, base: String },
    /// A `read` input or a weight ends with other bytes than it began with, or a final value is missing.
    FinalAbsent { input: String, value: String, overwritten_by: Option<usize> },
    /// An `inout` input has no final value.
    FinalUndeclared { input: String },
    /// The bytes of an output do not hold it after the last step.
    OutputAbsent { output: String, value: String, overwritten_by: Option<usize> },
    /// An output lies in a `read` input, in weights, or in state that is not its final value.
    OutputBorrowed { output: String, space: Space },
    /// Two outputs share bytes.
    OutputsOverlap { output: String, other: String },
    /// The plan writes one input and relies on the other not sharing its bytes, without saying so.
    Unassumed { written: String, other: String },
    /// A step of the fallback writes an input and touches another one, which may share its bytes.
    FallbackAliases { site: Site, written: u32, other: u32 },
    /// A step of the fallback does not run where the source has it among the writes of inputs.
    OutOfOrder { step: usize, label: String, expected: u32, found: u32 },
    /// Something is wrong with a body.
    InBody { body: usize, finding: Box<Finding> },
    /// The regions of the plan are too intricate to be told apart in bounded time.
    TooComplex { step: usize },
}

fn show_space(space: Space) -> String {
    match space {
        Space::Arena => "the arena".into(),
        Space::Weights => "the weights".into(),
        Space::Input(input) => format!("input {input}"),
    }
}

/// Who destroyed the bytes, when it is known.
struct By(Option<usize>);

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(step) => write!(f, "; step {step} writes there"),
            None => f.write_str("; nothing wrote it there"),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Finding::Malformed(invalid) => write!(f, "malformed: {invalid}"),
            Finding::Absent { site, value, place, overwritten_by } => write!(
                f,
                "{site}: {value} is not in bytes {}+{} of {}{}",
                place.offset,
                place.bytes,
                show_space(place.space),
                By(*overwritten_by)
            ),
            Finding::ReadOnly { site, value, space } => {
                write!(f, "{site}: {value} would be written to {}, which may only be read", show_space(*space))
            }
            Finding::Overlap { site, other, why } => {
                let why = match why {
                    NoTie::DifferentLayout => "without having the same layout",
                    NoTie::Contract => "which the kernel's contract does not permit",
                    NoTie::BothWritten => "and both are written",
                };
                write!(f, "{site} shares bytes with {other}, {why}")
            }
            Finding::NotInjective { site, value } => write!(f, "{site}: two indices may name one byte of {value}"),
            Finding::WrittenTwice { site, value } => write!(f, "{site}: this region of {value} was written before"),
            Finding::Redefined { site, value } => write!(f, "{site}: {value} is defined already"),
            Finding::BaseGone { site, value, base } => {
                write!(f, "{site}: {value} updates {base}, which does not exist at this step")
            }
            Finding::BaseElsewhere { site, value, base } => {
                write!(f, "{site}: {value} updates {base}, which has another place")
            }
            Finding::FinalAbsent { input, value, overwritten_by } => {
                write!(f, "input {input} does not end as {value}{}", By(*overwritten_by))
            }
            Finding::FinalUndeclared { input } => write!(f, "inout input {input} has no final value"),
            Finding::OutputAbsent { output, value, overwritten_by } => {
                write!(f, "output {output}: {value} is not there after the last step{}", By(*overwritten_by))
            }
            Finding::OutputBorrowed { output, space } => {
                write!(f, "output {output} lies in {}, which is not the program's to give away", show_space(*space))
            }
            Finding::OutputsOverlap { output, other } => write!(f, "outputs {output} and {other} share bytes"),
            Finding::Unassumed { written, other } => {
                write!(f, "input {written} is written, and nothing says that {other} must not share its bytes")
            }
            Finding::FallbackAliases { site, written, other } => {
                write!(f, "{site}: input {written} is written beside input {other}, which may share its bytes")
            }
            Finding::OutOfOrder { step, label, expected, found } => write!(
                f,
                "step {step} ({label}): the source has {expected} writes of inputs before it, the fallback {found}; they may share bytes"
            ),
            Finding::InBody { body, finding } => write!(f, "body {body}: {finding}"),
            Finding::TooComplex { step } => {
                write!(f, "step {step}: the regions up to here are too intricate to be told apart")
            }
        }
    }
}
