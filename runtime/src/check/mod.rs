//! The checker: whether a finished plan computes what its certificate says. No plan runs unchecked.
//!
//! It shares no code with the planner. It is told nothing about orders, lifetimes, ties or proofs; it re-derives from
//! the steps alone that every operand of every step finds its value, and trusts only the kernels' contracts
//! ([`crate::contract`]) and the files of this folder.
//!
//! **The lattice.** The abstract memory maps every byte of every space to the value whose byte it holds, or to
//! "unknown". It is kept as facts `(region, value)`; one state is above another when it knows less. A value has one
//! place for all its life, and byte `i` of the place holds byte `i` of the value, so a fact needs no map beside
//! its region. Weights need no facts: nothing may write them.
//!
//! **At the start** each input's bytes hold its value, and nothing else is known.
//!
//! **A step** is accepted in this state when
//! 1. every byte that a read touches holds the value it names;
//! 2. each read whose hull meets the hull of a write has the write's very address and layout, and the kernel's contract
//!    permits that pair; results and workspace meet nothing;
//! 3. what is written is the arena, a `donate` or an `inout` input, through an injective view;
//! 4. each `base` is defined, not yet replaced, and has the place of the value that replaces it; kernels that keep part
//!    of the old content (scatters) find it there;
//! 5. a region of a value is written once in all the run, and only an update writes to what an update has made.
//!
//! **Its transfer**: the value of each base becomes the value that updates it; every fact loses the bytes that the
//! workspace or a write may touch; each written region then holds its value.
//!
//! **At the end** every output and every final value of an `inout` input must be there, whole; outputs lie in bytes that
//! are the program's to give away, apart from one another.
//!
//! **Why this suffices.** A kernel that meets its contract and reads the right bytes writes the right bytes. By induction
//! over the steps each fact is true: a step reads only bytes whose facts name the operand (1), reads them before they
//! change or from a tie the contract permits (2), and every byte it can change loses its fact first. Regions are
//! over-approximated where they are written and where they are read, "not known to be disjoint" counts as
//! overlap and "not known to be covered" as absent, so that ignorance only ever refuses.
//!
//! **Branches and loops** need no meet and no fixpoint, because what holds around a body is written down: its ports. A
//! body is a plan and is replayed by itself, once. It may assume that its `read` and `inout` ports hold their values, and
//! must leave every `inout` and `out` port with its final value; it writes no `read` port. For the step that runs it
//! the conditions above are just those assumptions: what is read is there and meets nothing that is written (no contract
//! permits a tie), the body's arena and scalars are the step's workspace and meet nothing, and each carried result has a
//! base that is there, whole, like that of a scatter. So the body finds what it assumes in the first iteration, by its
//! own replay in each that follows, and the results hold what the last one has left, or, when there was none, the base,
//! which is then what they mean. An element of a result is written by the one iteration that has its number, and validation
//! has seen that there are as many.
//!
//! Cost: a logarithm and a few facts for each operand. Regions that must be compared run by run draw on a budget;
//! a plan that exhausts it is refused.
//!
//! A fallback (the program as written, for callers whose inputs share bytes) is checked in the same way, for inputs that do
//! not share bytes. Two rules beyond that make it right for those that do: no step touches one input while it writes
//! another, so that every step means the same either way; and every step runs after as many writes of inputs as
//! the source has before it, so that what it finds in the caller's bytes is what the source finds there.

mod finding;
mod memory;
mod region;

pub use finding::{Finding, NoTie, Operand, Site};

use self::memory::Memory;
use self::region::{Region, Touched};
use crate::contract::contract;
use crate::executable::{Access, Executable, Fallback, Place, Plan, PlannedValue, Space, Step, Write};
use crate::kernel::Kernel;
use crate::kernel::control::is_carried;
use crate::types::{InputMode, Layout};
use crate::validate;

/// After this many findings the checker stops.
const MAX_FINDINGS: usize = 64;

/// Checks every plan of an executable; the findings of the first plan that has any.
pub fn check(executable: &Executable) -> Result<(), Vec<Finding>> {
    validate::executable(executable).map_err(|invalid| vec![Finding::Malformed(invalid)])?;
    for (number, body) in executable.bodies.iter().enumerate() {
        let inside = |finding| Finding::InBody { body: number, finding: Box::new(finding) };
        replay(body, Purpose::Body).map_err(|findings| findings.into_iter().map(inside).collect::<Vec<_>>())?;
    }
    executable.plans.iter().try_for_each(|plan| replay(plan, Purpose::Main))?;
    executable.fallbacks.iter().try_for_each(|fallback| match fallback {
        Fallback::AsWritten(written) => replay(&written.plan, Purpose::Fallback(&written.epochs)),
        Fallback::Unneeded | Fallback::Missing(_) | Fallback::Promised => Ok(()),
    })
}

/// Checks one plan (not a fallback, and one that runs no bodies) for weights of `weights_bytes` bytes.
pub fn check_plan(plan: &Plan, weights_bytes: u64) -> Result<(), Vec<Finding>> {
    validate::plan(plan, weights_bytes).map_err(|invalid| vec![Finding::Malformed(invalid)])?;
    replay(plan, Purpose::Main)
}

/// Which rules hold for inputs that share bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose<'p> {
    /// The plan may rely on what it lists in `assumed_distinct`.
    Main,
    /// The plan relies on nothing; for each step, how many writes of inputs come before it.
    Fallback(&'p [u32]),
    /// The plan is a body: the step that runs it keeps what is written apart from everything else.
    Body,
}

/// What has become of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Undefined,
    /// Written region by region; more may come.
    Written,
    /// An input, a weight or the result of an update: all of it is there, nothing more is written to it.
    Complete,
    /// Another value has taken its bytes by an update.
    Replaced,
}

fn replay(plan: &Plan, purpose: Purpose<'_>) -> Result<(), Vec<Finding>> {
    let mut replay = Replay {
        plan,
        purpose,
        memory: Memory::new(),
        lives: vec![Life::Undefined; plan.values.len()],
        written: vec![Vec::new(); plan.values.len()],
        written_inputs: vec![false; plan.inputs.len()],
        input_writes: 0,
        findings: Vec::new(),
    };
    replay.begin();
    for (index, step) in plan.steps.iter().enumerate() {
        replay.step(index, step);
        if replay.memory.is_exhausted() {
            replay.findings.push(Finding::TooComplex { step: index });
        }
        if replay.memory.is_exhausted() || replay.findings.len() >= MAX_FINDINGS {
            return Err(replay.findings);
        }
    }
    replay.end();
    if replay.findings.is_empty() { Ok(()) } else { Err(replay.findings) }
}

struct Replay<'p> {
    plan: &'p Plan,
    purpose: Purpose<'p>,
    memory: Memory,
    lives: Vec<Life>,
    /// For each value written region by region, the regions.
    written: Vec<Vec<Region>>,
    written_inputs: Vec<bool>,
    /// Steps so far that write an input.
    input_writes: u32,
    findings: Vec<Finding>,
}

/// Bytes that an operand touches.
struct Footprint {
    space: Space,
    region: Region,
    /// Where the place of the value begins.
    frame: u64,
    exact: bool,
}

impl<'p> Replay<'p> {
    fn value(&self, index: u32) -> &'p PlannedValue {
        &self.plan.values[index as usize]
    }

    /// The bytes of an access; `None` when it has no element.
    fn footprint(&self, access: &Access) -> Option<Footprint> {
        let place = self.value(access.value).place;
        match Region::of(place.offset, access.dtype.size() as u64, &access.layout) {
            Touched::Bytes { region, exact } => {
                Some(Footprint { space: place.space, region, frame: place.offset, exact })
            }
            // Validation has seen every access inside its place, so nothing is out of range.
            Touched::Nothing | Touched::OutOfRange => None,
        }
    }

    fn begin(&mut self) {
        for &index in &self.plan.weight_values {
            self.lives[index as usize] = Life::Complete;
        }
        for (port, &index) in self.plan.inputs.iter().zip(&self.plan.input_values) {
            // What an `out` port holds at first is no value.
            if port.mode == InputMode::Out {
                continue;
            }
            let place = self.value(index).place;
            self.lives[index as usize] = Life::Complete;
            if let Some(region) = whole(place) {
                self.memory.define(place.space, region, index);
            }
        }
    }

    fn site(&self, index: usize, operand: Operand) -> Site {
        Site { step: index, label: self.plan.steps[index].label.clone(), operand }
    }

    fn is_defined(&self, value: u32) -> bool {
        matches!(self.lives[value as usize], Life::Written | Life::Complete)
    }

    /// Whether all bytes of `access` hold its value.
    fn holds(&mut self, access: &Access) -> bool {
        let defined = self.is_defined(access.value);
        match self.footprint(access) {
            // Nothing is read of a value without elements, but it must be a value of this moment all the same.
            None => defined || self.value(access.value).place.bytes == 0,
            Some(footprint) if footprint.space == Space::Weights => defined,
            Some(footprint) => {
                defined && self.memory.holds(footprint.space, &footprint.region, footprint.frame, access.value)
            }
        }
    }

    /// The last step before `end` that writes bytes of `access`; asked only to word a finding.
    fn last_writer(&self, access: &Access, end: usize) -> Option<usize> {
        let wanted = self.footprint(access)?;
        let meets = |place: Place| {
            place.space == wanted.space && whole(place).is_some_and(|region| region.hulls_meet(&wanted.region))
        };
        self.plan.steps[..end].iter().rposition(|step| {
            step.workspace.is_some_and(meets)
                || step.writes.iter().any(|write| {
                    self.footprint(&write.access).is_some_and(|written| {
                        written.space == wanted.space && written.region.hulls_meet(&wanted.region)
                    })
                })
        })
    }

    fn step(&mut self, index: usize, step: &Step) {
        for (number, read) in step.reads.iter().enumerate() {
            if !self.holds(read) {
                self.findings.push(Finding::Absent {
                    site: self.site(index, Operand::Read(number)),
                    value: self.value(read.value).name.clone(),
                    place: self.value(read.value).place,
                    overwritten_by: self.last_writer(read, index),
                });
            }
        }
        self.operands(index, step);
        let kept = self.bases(index, step);
        if let Some((place, region)) = step.workspace.and_then(|place| Some((place, whole(place)?))) {
            self.memory.kill(place.space, &region, place.offset, None);
        }
        for (write, kept) in step.writes.iter().zip(&kept) {
            if let Some(footprint) = self.footprint(&write.access) {
                let spared = kept.then_some(write.access.value);
                self.memory.kill(footprint.space, &footprint.region, footprint.frame, spared);
            }
        }
        for (number, (write, kept)) in step.writes.iter().zip(kept).enumerate() {
            self.define(index, number, write, kept);
        }
    }

    /// Conditions 2 and 3: what the operands of one step may share, and what may be written.
    fn operands(&mut self, index: usize, step: &Step) {
        let reads: Vec<Option<Footprint>> = step.reads.iter().map(|read| self.footprint(read)).collect();
        let writes: Vec<Option<Footprint>> = step.writes.iter().map(|write| self.footprint(&write.access)).collect();
        // The contract is asked only by steps that share bytes; most do not.
        let mut permitted: Option<Vec<(usize, usize)>> = None;
        for (number, (write, footprint)) in step.writes.iter().zip(&writes).enumerate() {
            let Some(footprint) = footprint else { continue };
            self.writable(index, number, write, footprint);
            for (other, read) in reads.iter().enumerate() {
                let Some(read) = read else { continue };
                if read.space != footprint.space || !read.region.hulls_meet(&footprint.region) {
                    continue;
                }
                let why = if !is_same_access(self.plan, &step.reads[other], &write.access) {
                    NoTie::DifferentLayout
                } else if !permitted.get_or_insert_with(|| permitted_ties(step)).contains(&(other, number)) {
                    NoTie::Contract
                } else {
                    continue;
                };
                let site = self.site(index, Operand::Write(number));
                self.findings.push(Finding::Overlap { site, other: Operand::Read(other), why });
            }
            for (other, later) in writes.iter().enumerate().skip(number + 1) {
                let Some(later) = later else { continue };
                if later.space == footprint.space && later.region.hulls_meet(&footprint.region) {
                    let site = self.site(index, Operand::Write(number));
                    let (other, why) = (Operand::Write(other), NoTie::BothWritten);
                    self.findings.push(Finding::Overlap { site, other, why });
                }
            }
        }
        self.workspace(index, step, &reads, &writes);
        if let Purpose::Fallback(epochs) = self.purpose {
            self.fallback_operands(index, &reads, &writes);
            if epochs[index] != self.input_writes {
                let (expected, found) = (epochs[index], self.input_writes);
                let label = step.label.clone();
                self.findings.push(Finding::OutOfOrder { step: index, label, expected, found });
            }
        }
        let writes_input = |footprint: &Footprint| matches!(footprint.space, Space::Input(_));
        self.input_writes += u32::from(writes.iter().flatten().any(writes_input));
    }

    fn writable(&mut self, index: usize, number: usize, write: &Write, footprint: &Footprint) {
        let read_only = match footprint.space {
            Space::Arena => false,
            Space::Weights => true,
            Space::Input(input) => {
                self.written_inputs[input as usize] = true;
                self.plan.inputs[input as usize].mode == InputMode::Read
            }
        };
        let (site, value) = (self.site(index, Operand::Write(number)), self.value(write.access.value).name.clone());
        if read_only {
            self.findings.push(Finding::ReadOnly { site, value, space: footprint.space });
        } else if !footprint.exact {
            self.findings.push(Finding::NotInjective { site, value });
        }
    }

    fn workspace(&mut self, index: usize, step: &Step, reads: &[Option<Footprint>], writes: &[Option<Footprint>]) {
        let Some((place, region)) = step.workspace.and_then(|place| Some((place, whole(place)?))) else { return };
        let reads = reads.iter().enumerate().map(|(number, footprint)| (Operand::Read(number), footprint));
        let writes = writes.iter().enumerate().map(|(number, footprint)| (Operand::Write(number), footprint));
        for (other, footprint) in reads.chain(writes) {
            let Some(footprint) = footprint else { continue };
            if footprint.space == place.space && footprint.region.hulls_meet(&region) {
                let site = self.site(index, Operand::Workspace);
                self.findings.push(Finding::Overlap { site, other, why: NoTie::BothWritten });
            }
        }
    }

    /// No input is touched while another is written.
    fn fallback_operands(&mut self, index: usize, reads: &[Option<Footprint>], writes: &[Option<Footprint>]) {
        let written = writes.iter().enumerate().find_map(|(number, footprint)| match footprint.as_ref()?.space {
            Space::Input(input) => Some((number, input)),
            _ => None,
        });
        let Some((number, written)) = written else { return };
        let other = reads.iter().chain(writes).flatten().find_map(|footprint| match footprint.space {
            Space::Input(input) if input != written => Some(input),
            _ => None,
        });
        if let Some(other) = other {
            let site = self.site(index, Operand::Write(number));
            self.findings.push(Finding::FallbackAliases { site, written, other });
        }
    }

    /// Condition 4, and the first part of the transfer. For each write: whether its region already holds the updated
    /// value because the base was whole there.
    fn bases(&mut self, index: usize, step: &Step) -> Vec<bool> {
        let mut kept = Vec::with_capacity(step.writes.len());
        for (number, write) in step.writes.iter().enumerate() {
            let Some(base) = write.base else {
                kept.push(false);
                if keeps_content(&step.kernel, number) && !write.access.layout.is_empty() {
                    self.base_gone(index, number, write, "nothing");
                }
                continue;
            };
            let (old, new) = (self.value(base), self.value(write.access.value));
            if self.lives[write.access.value as usize] != Life::Undefined {
                let site = self.site(index, Operand::Write(number));
                self.findings.push(Finding::Redefined { site, value: new.name.clone() });
            }
            if old.place != new.place {
                let site = self.site(index, Operand::Write(number));
                let (value, base) = (new.name.clone(), old.name.clone());
                self.findings.push(Finding::BaseElsewhere { site, value, base });
            }
            let whole_there = self.holds(&Access { value: base, ..write.access.clone() });
            if !self.is_defined(base) || (keeps_content(&step.kernel, number) && !whole_there) {
                self.base_gone(index, number, write, &old.name);
            }
            self.lives[base as usize] = Life::Replaced;
            if let Some(region) = whole(old.place) {
                self.memory.rename(old.place.space, &region, base, write.access.value);
            }
            kept.push(whole_there);
        }
        kept
    }

    fn base_gone(&mut self, index: usize, number: usize, write: &Write, base: &str) {
        let site = self.site(index, Operand::Write(number));
        let value = self.value(write.access.value).name.clone();
        self.findings.push(Finding::BaseGone { site, value, base: base.into() });
    }

    /// The last part of the transfer, and condition 5. That a region is written once is a fact about all of the run, so it
    /// does not depend on what the memory still holds.
    fn define(&mut self, index: usize, number: usize, write: &Write, kept: bool) {
        let value = write.access.value;
        let footprint = self.footprint(&write.access);
        let once = match (write.base, self.lives[value as usize]) {
            (Some(_), Life::Undefined) => true,
            // Reported with the bases.
            (Some(_), _) => return,
            (None, Life::Undefined | Life::Written) => {
                footprint.as_ref().is_none_or(|Footprint { region, frame, .. }| {
                    self.memory.write_once(&mut self.written[value as usize], region, *frame)
                })
            }
            (None, Life::Complete | Life::Replaced) => false,
        };
        if !once {
            let site = self.site(index, Operand::Write(number));
            self.findings.push(Finding::WrittenTwice { site, value: self.value(value).name.clone() });
            return;
        }
        self.lives[value as usize] = if write.base.is_some() { Life::Complete } else { Life::Written };
        if let (Some(footprint), false) = (footprint, kept) {
            self.memory.define(footprint.space, footprint.region, value);
        }
    }

    fn end(&mut self) {
        let plan = self.plan;
        for (index, port) in plan.inputs.iter().enumerate() {
            let declared = plan.finals.iter().find(|&&(input, _)| input as usize == index);
            let Some(&(_, value)) = declared else {
                if matches!(port.mode, InputMode::InOut | InputMode::Out) {
                    self.findings.push(Finding::FinalUndeclared { input: port.name.clone() });
                }
                continue;
            };
            let access = Access { value, dtype: port.dtype, layout: Layout::dense(&port.shape) };
            if !self.holds(&access) {
                self.findings.push(Finding::FinalAbsent {
                    input: port.name.clone(),
                    value: self.value(value).name.clone(),
                    overwritten_by: self.last_writer(&access, plan.steps.len()),
                });
            }
        }
        self.outputs();
        if self.purpose == Purpose::Main {
            self.assumptions();
        }
    }

    fn outputs(&mut self) {
        let plan = self.plan;
        let mut places: Vec<(Space, u64, u64, usize)> = Vec::new();
        for (index, port) in plan.outputs.iter().enumerate() {
            if !self.holds(&port.access) {
                self.findings.push(Finding::OutputAbsent {
                    output: port.name.clone(),
                    value: self.value(port.access.value).name.clone(),
                    overwritten_by: self.last_writer(&port.access, plan.steps.len()),
                });
            }
            let Some(footprint) = self.footprint(&port.access) else { continue };
            let own = match footprint.space {
                Space::Arena => true,
                Space::Weights => false,
                Space::Input(input) => match plan.inputs[input as usize].mode {
                    InputMode::Read => false,
                    InputMode::Donate => true,
                    InputMode::InOut | InputMode::Out => plan.finals.contains(&(input, port.access.value)),
                },
            };
            if !own {
                let (output, space) = (port.name.clone(), footprint.space);
                self.findings.push(Finding::OutputBorrowed { output, space });
            }
            places.push((footprint.space, footprint.region.low, footprint.region.high(), index));
        }
        places.sort_unstable();
        for pair in places.windows(2) {
            let ((space, _, end, first), (next_space, start, _, second)) = (pair[0], pair[1]);
            if space == next_space && start < end {
                let [output, other] = [first, second].map(|index| plan.outputs[index].name.clone());
                self.findings.push(Finding::OutputsOverlap { output, other });
            }
        }
    }

    /// Every pair of a written input and another one whose bytes matter is named. What the plan touches matters. The rest is
    /// at least looked at by the caller after the run: it may share the bytes of state, which end as the source wants
    /// them, but not those of a donated input, which end as anything.
    fn assumptions(&mut self) {
        let plan = self.plan;
        let filled = |&input: &u32| whole(self.value(plan.input_values[input as usize]).place).is_some();
        let filled: Vec<u32> = (0..plan.inputs.len() as u32).filter(filled).collect();
        let written = |input: u32| self.written_inputs[input as usize];
        let gives_up = |&input: &u32| written(input) && plan.inputs[input as usize].mode == InputMode::Donate;
        let all_matter = filled.iter().any(gives_up);
        let touched = self.touched_inputs();
        let matter: Vec<u32> =
            filled.into_iter().filter(|&input| all_matter || written(input) || touched[input as usize]).collect();
        let Some(&first) = matter.iter().find(|&&input| written(input)) else { return };
        for &other in matter.iter().filter(|_| matter.len() > 1) {
            let named = plan.assumed_distinct.written.binary_search(&other).is_ok()
                || (!written(other) && plan.assumed_distinct.others.binary_search(&other).is_ok());
            if !named {
                let partner = if other == first { matter[usize::from(matter[0] == first)] } else { other };
                let [written, other] = [first, partner].map(|input| plan.inputs[input as usize].name.clone());
                self.findings.push(Finding::Unassumed { written, other });
                if self.findings.len() >= MAX_FINDINGS {
                    return;
                }
            }
        }
    }

    /// Inputs of which a step reads or writes any byte, or an output has any.
    fn touched_inputs(&self) -> Vec<bool> {
        let mut touched = vec![false; self.plan.inputs.len()];
        let steps = self.plan.steps.iter();
        let operands = steps.flat_map(|step| step.reads.iter().chain(step.writes.iter().map(|write| &write.access)));
        for access in operands.chain(self.plan.outputs.iter().map(|port| &port.access)) {
            if let Some(Footprint { space: Space::Input(input), .. }) = self.footprint(access) {
                touched[input as usize] = true;
            }
        }
        touched
    }
}

/// All bytes of a place, unless it has none.
fn whole(place: Place) -> Option<Region> {
    (place.bytes > 0).then(|| Region::interval(place.offset, place.offset + place.bytes))
}

/// Whether the kernel reads what it replaces in a result, or leaves some of it as it was.
fn keeps_content(kernel: &Kernel, write: usize) -> bool {
    let into_base =
        matches!(kernel, Kernel::ScatterElements { .. } | Kernel::ScatterNd { .. } | Kernel::DynamicUpdate { .. });
    into_base || is_carried(kernel, write)
}

/// Same address, same element size, and the same strides along every axis that has a choice.
fn is_same_access(plan: &Plan, read: &Access, write: &Access) -> bool {
    let [from, to] = [read, write].map(|access| plan.values[access.value as usize].place);
    let (a, b) = (&read.layout, &write.layout);
    from.space == to.space
        && from.offset == to.offset
        && read.dtype.size() == write.dtype.size()
        && a.offset == b.offset
        && a.shape == b.shape
        && a.shape.iter().zip(a.strides.iter().zip(&b.strides)).all(|(&extent, (a, b))| extent == 1 || a == b)
}

/// The `(read, write)` pairs of a step that may share bytes, whatever instruction set and threads run it.
fn permitted_ties(step: &Step) -> Vec<(usize, usize)> {
    contract(&step.kernel, &step.reads, &step.writes).into_iter().map(|(read, write, _)| (read, write)).collect()
}

#[cfg(test)]
mod tests;
