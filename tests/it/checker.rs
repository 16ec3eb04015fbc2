//! The checker against an oracle that follows every byte: random plans, sound and spoiled.
//!
//! The oracle is the definition of a right plan, run literally. Memory is a table with a tag for each byte, "byte `i` of
//! value `v`"; a step must find the tags it names, may overwrite an operand only through a tie that the kernel's contract
//! permits, and puts its own tags. It knows no intervals and no regions. What the oracle rejects the checker must refuse;
//! what the oracle accepts the checker should accept, and mostly does (it compares the hulls of the operands of one
//! step, the oracle their bytes).

use std::collections::{BTreeMap, BTreeSet};

use situ_runtime::check::{Finding, check_plan};
use situ_runtime::contract::contract;
use situ_runtime::executable::{
    Access, Distinct, InputPort, OutputPort, Place, Plan, PlannedValue, Space, Step, Write,
};
use situ_runtime::kernel::Kernel;
use situ_runtime::point::{PointFn, PointInstr, Program};
use situ_runtime::types::{DType, InputMode, Layout};

/// A generator of numbers that are the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % n as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// All values are matrices of this shape.
const ROWS: usize = 4;
const COLUMNS: usize = 6;
const BYTES: u64 = 96;

/// A view of some rows and columns of a matrix.
fn window(rows: (usize, usize), columns: (usize, usize)) -> Layout {
    let offset = (rows.0 * COLUMNS + columns.0) as i64;
    Layout { offset, shape: vec![rows.1, columns.1], strides: vec![COLUMNS as i64, 1] }
}

fn random_window(random: &mut Random) -> Layout {
    if random.below(3) == 0 {
        return window((0, ROWS), (0, COLUMNS));
    }
    let (row, column) = (random.below(ROWS), random.below(COLUMNS));
    window((row, 1 + random.below(ROWS - row)), (column, 1 + random.below(COLUMNS - column)))
}

/// A view of the given shape at a random position.
fn window_of(random: &mut Random, shape: &[usize]) -> Layout {
    let (row, column) = (random.below(ROWS - shape[0] + 1), random.below(COLUMNS - shape[1] + 1));
    window((row, shape[0]), (column, shape[1]))
}

fn map(arity: usize) -> Kernel {
    let function = if arity == 1 { PointFn::Neg } else { PointFn::Add };
    let code = vec![PointInstr { function, args: [0, arity as u16 - 1, 0] }];
    Kernel::Map { program: Program { inputs: vec![DType::F32; arity], code, outputs: vec![arity as u16] } }
}

/// The bytes of a space that an access names, in the order of its indices, each with its position in the value.
fn touched(plan: &Plan, access: &Access) -> Vec<(Space, u64, u64)> {
    let place = plan.values[access.value as usize].place;
    let layout = &access.layout;
    let mut bytes = Vec::new();
    for linear in 0..layout.len() {
        let (mut rest, mut at) = (linear, layout.offset);
        for axis in (0..layout.rank()).rev() {
            at += (rest % layout.shape[axis]) as i64 * layout.strides[axis];
            rest /= layout.shape[axis];
        }
        bytes.extend((0..4).map(|byte| (place.space, place.offset, at as u64 * 4 + byte)));
    }
    bytes
}

/// The definition of a right plan.
#[derive(Clone)]
struct Oracle {
    memory: BTreeMap<(Space, u64), (u32, u64)>,
    /// For each value that exists, which of its bytes were ever written; an input or update is written whole.
    written: Vec<Option<BTreeSet<u64>>>,
    replaced: Vec<bool>,
}

impl Oracle {
    fn begin(plan: &Plan) -> Oracle {
        let count = plan.values.len();
        let mut oracle = Oracle { memory: BTreeMap::new(), written: vec![None; count], replaced: vec![false; count] };
        for &value in &plan.input_values {
            let place = plan.values[value as usize].place;
            oracle.written[value as usize] = Some((0..place.bytes).collect());
            for byte in 0..place.bytes {
                oracle.memory.insert((place.space, place.offset + byte), (value, byte));
            }
        }
        oracle
    }

    fn holds(&self, plan: &Plan, access: &Access) -> bool {
        touched(plan, access)
            .iter()
            .all(|&(space, start, byte)| self.memory.get(&(space, start + byte)) == Some(&(access.value, byte)))
    }

    /// Performs a step, or says that it must not be.
    fn step(&mut self, plan: &Plan, step: &Step) -> bool {
        let addresses = |access: &Access| -> Vec<(Space, u64)> {
            touched(plan, access).iter().map(|&(space, start, byte)| (space, start + byte)).collect()
        };
        let mut fine = step.reads.iter().all(|read| self.holds(plan, read));
        let ties = contract(&step.kernel, &step.reads, &step.writes);
        for (number, write) in step.writes.iter().enumerate() {
            let target = addresses(&write.access);
            for (other, read) in step.reads.iter().enumerate() {
                let source = addresses(read);
                let meets = source.iter().any(|byte| target.contains(byte));
                let tied = source == target && ties.iter().any(|&(read, write, _)| (read, write) == (other, number));
                fine &= !meets || tied;
            }
            if let Space::Input(input) = plan.values[write.access.value as usize].place.space {
                fine &= plan.inputs[input as usize].mode != InputMode::Read;
            }
            if let Some(workspace) = step.workspace {
                let inside = |&(space, byte): &(Space, u64)| {
                    space == workspace.space && (workspace.offset..workspace.offset + workspace.bytes).contains(&byte)
                };
                fine &= !target.iter().any(inside);
                fine &= !step.reads.iter().any(|read| addresses(read).iter().any(inside));
            }
        }
        if let Some(workspace) = step.workspace {
            for byte in workspace.offset..workspace.offset + workspace.bytes {
                self.memory.remove(&(workspace.space, byte));
            }
        }
        for write in &step.writes {
            let value = write.access.value as usize;
            let bytes = touched(plan, &write.access);
            if let Some(base) = write.base {
                fine &= self.written[base as usize].is_some() && !self.replaced[base as usize];
                fine &= self.written[value].is_none() && plan.values[base as usize].place == plan.values[value].place;
                self.replaced[base as usize] = true;
                self.memory.values_mut().filter(|tag| tag.0 == base).for_each(|tag| tag.0 = value as u32);
                self.written[value] = Some((0..plan.values[value].place.bytes).collect());
            } else {
                let written = self.written[value].get_or_insert_default();
                fine &= !self.replaced[value] && bytes.iter().all(|&(_, _, byte)| written.insert(byte));
            }
            for (space, start, byte) in bytes {
                self.memory.insert((space, start + byte), (value as u32, byte));
            }
        }
        fine
    }

    fn accepts(plan: &Plan) -> bool {
        let mut oracle = Oracle::begin(plan);
        let steps = plan.steps.iter().all(|step| oracle.step(plan, step));
        let finals = plan.finals.iter().all(|&(input, value)| {
            let layout = Layout::dense(&plan.inputs[input as usize].shape);
            oracle.holds(plan, &Access { value, dtype: DType::F32, layout })
        });
        steps && finals && plan.outputs.iter().all(|port| oracle.holds(plan, &port.access))
    }
}

/// A plan that the oracle accepts: each step is drawn at random, and kept when the oracle can perform it.
fn sound_plan(random: &mut Random, steps: usize) -> Plan {
    let modes = [InputMode::Read, InputMode::Donate, InputMode::InOut];
    let mut plan = Plan {
        inputs: Vec::new(),
        outputs: Vec::new(),
        input_values: vec![0, 1, 2],
        finals: Vec::new(),
        weight_values: Vec::new(),
        values: Vec::new(),
        steps: Vec::new(),
        arena_bytes: 512,
        threads: 1,
        assumed_distinct: Distinct { written: vec![1, 2], others: vec![0] },
    };
    let value = |space, offset, number: usize| {
        let place = Place { space, offset, bytes: BYTES };
        PlannedValue { name: format!("%{number}"), dtype: DType::F32, place }
    };
    for (input, mode) in modes.into_iter().enumerate() {
        let shape = vec![ROWS, COLUMNS];
        plan.inputs.push(InputPort {
            name: format!("in{input}"),
            dtype: DType::F32,
            shape,
            mode,
            initial: None,
            views: Vec::new(),
        });
        plan.values.push(value(Space::Input(input as u32), 0, input));
    }
    // The value that input 2 holds as a whole, by updates alone, so that there is a final value.
    let mut state = 2u32;
    let mut oracle = Oracle::begin(&plan);
    let mut attempts = 0;
    while plan.steps.len() < steps && attempts < 40 * steps {
        attempts += 1;
        let number = plan.values.len();
        let before = oracle.clone();
        let (target, base) = match random.below(8) {
            // A new value, anywhere; an update of an old one; another part of an old one; state.
            0..=3 => {
                plan.values.push(value(Space::Arena, 64 * random.below(6) as u64, number));
                (number as u32, None)
            }
            4 => {
                plan.values.push(value(Space::Input(1), 0, number));
                (number as u32, None)
            }
            5 => {
                let base = random.below(number) as u32;
                plan.values.push(PlannedValue { name: format!("%{number}"), ..plan.values[base as usize].clone() });
                (number as u32, Some(base))
            }
            6 => {
                plan.values.push(value(Space::Input(2), 0, number));
                (number as u32, Some(state))
            }
            _ => (random.below(number) as u32, None),
        };
        oracle.written.resize(plan.values.len(), None);
        oracle.replaced.resize(plan.values.len(), false);
        let layout = random_window(random);
        let arity = 1 + random.below(2);
        let mut reads = Vec::new();
        for _ in 0..arity {
            // Mostly what can be read, so that plans come to an end; with a tie now and then.
            let value = match base {
                Some(base) if random.below(2) == 0 => base,
                _ => random.below(number) as u32,
            };
            let layout = if random.below(2) == 0 { layout.clone() } else { window_of(random, &layout.shape) };
            reads.push(Access { value, dtype: DType::F32, layout });
        }
        let workspace = (random.below(4) == 0).then(|| {
            let offset = 64 * random.below(7) as u64;
            Place { space: Space::Arena, offset, bytes: 64 }
        });
        let write = Write { access: Access { value: target, dtype: DType::F32, layout }, base };
        let label = format!("s{}", plan.steps.len());
        let step = Step { kernel: map(arity), reads, writes: vec![write], workspace, label };
        if oracle.step(&plan, &step) {
            if base == Some(state) {
                state = target;
            }
            plan.steps.push(step);
        } else {
            plan.values.truncate(before.written.len());
            oracle = before;
        }
    }
    plan.finals = vec![(2, state)];
    let whole = Layout::dense(&[ROWS, COLUMNS]);
    let results: Vec<Access> = (3..plan.values.len() as u32)
        .map(|value| Access { value, dtype: DType::F32, layout: whole.clone() })
        .filter(|access| plan.values[access.value as usize].place.space == Space::Arena && oracle.holds(&plan, access))
        .collect();
    if !results.is_empty() {
        let access = random.pick(&results).clone();
        plan.outputs.push(OutputPort { name: "out".into(), access });
    }
    plan
}

/// Damages a plan in one place. What comes out is well formed more often than not, and may still be sound.
fn spoil(random: &mut Random, plan: &mut Plan) -> &'static str {
    let (steps, values) = (plan.steps.len(), plan.values.len());
    let step = random.below(steps);
    let any_value = random.below(values);
    match random.below(12) {
        0 => {
            plan.values[any_value].place.offset = 64 * random.below(7) as u64;
            "a place moves"
        }
        1 => {
            let other = random.below(values);
            plan.values[any_value].place = plan.values[other].place;
            "a place becomes another's"
        }
        2 => {
            plan.steps.swap(step, (step + 1) % steps);
            "two steps change places"
        }
        3 => {
            plan.steps.remove(step);
            "a step is gone"
        }
        4 => {
            let again = plan.steps[step].clone();
            plan.steps.insert(random.below(steps), again);
            "a step runs twice"
        }
        5 => {
            let reads = &mut plan.steps[step].reads;
            let read = random.below(reads.len());
            reads[read].value = any_value as u32;
            "a read names another value"
        }
        6 => {
            plan.steps[step].writes[0].access.value = any_value as u32;
            "a write names another value"
        }
        7 => {
            let shape = plan.steps[step].writes[0].access.layout.shape.clone();
            plan.steps[step].writes[0].access.layout = window_of(random, &shape);
            "a write goes elsewhere in its value"
        }
        8 => {
            let read = random.below(plan.steps[step].reads.len());
            let shape = plan.steps[step].reads[read].layout.shape.clone();
            plan.steps[step].reads[read].layout = window_of(random, &shape);
            "a read comes from elsewhere in its value"
        }
        9 => {
            let base = &mut plan.steps[step].writes[0].base;
            *base = if base.is_some() { None } else { Some(any_value as u32) };
            "a base is gone, or new"
        }
        10 => {
            let place = Place { space: Space::Arena, offset: 64 * random.below(7) as u64, bytes: 64 };
            plan.steps[step].workspace = Some(place);
            "a workspace appears"
        }
        _ => {
            plan.finals[0].1 = any_value as u32;
            "another value is final"
        }
    }
}

#[test]
fn the_checker_refuses_what_the_oracle_rejects() {
    let mut random = Random(7);
    let mut sound = (0, 0);
    // For each kind of damage: wrong by the oracle, harmless and accepted, harmless and refused.
    let mut kinds: BTreeMap<&str, [u32; 3]> = BTreeMap::new();
    for _ in 0..300 {
        let steps = 2 + random.below(12);
        let plan = sound_plan(&mut random, steps);
        assert!(Oracle::accepts(&plan));
        match check_plan(&plan, 0) {
            Ok(()) => sound.0 += 1,
            Err(findings) => {
                sound.1 += 1;
                // The one thing that the checker is stricter about by design.
                let by_design = |finding: &Finding| matches!(finding, Finding::Overlap { .. } | Finding::Absent { .. });
                assert!(findings.iter().any(by_design), "{findings:?}");
            }
        }
        for _ in 0..20 {
            let mut spoiled = plan.clone();
            if spoiled.steps.is_empty() {
                continue;
            }
            let kind = spoil(&mut random, &mut spoiled);
            let verdict = check_plan(&spoiled, 0);
            if matches!(verdict.as_ref().map_err(|findings| &findings[..]), Err([Finding::Malformed(_)])) {
                continue;
            }
            let counts = kinds.entry(kind).or_default();
            match (Oracle::accepts(&spoiled), verdict) {
                (false, verdict) => {
                    counts[0] += 1;
                    assert!(verdict.is_err(), "{kind}: {spoiled:#?}");
                }
                (true, Ok(())) => counts[1] += 1,
                (true, Err(_)) => counts[2] += 1,
            }
        }
    }
    assert!(sound.0 > 2 * sound.1, "sound plans: accepted and refused {sound:?}");
    assert_eq!(kinds.len(), 12);
    for (kind, counts) in kinds {
        assert!(counts[0] > 20, "{kind}: {counts:?}");
    }
}

/// Programs whose plans the checker once refused, rightly or not.
#[test]
fn plans_once_refused_are_accepted() {
    for text in [
        // The rows of the inner border lie between the columns of the outer one.
        "graph g {\n input %x: f32[4, 4]\n %y = pad %x, 0.5 {before=[1, 0], after=[0, 0]}\n \
         %r = pad %y, 0.25 {before=[0, 1], after=[0, 0]}\n return %r\n}",
        "graph g {\n input %x: f32[4, 8]\n %y = pad %x, 0.5 {before=[1, 0], after=[2, 3]}\n \
         %r = pad %y, 0.5 {before=[0, 4], after=[1, 0]}\n return %r\n}",
        // Two rows of one state, updated by kernels that could be one: the versions come one after the other.
        "graph g {\n inout %x: f32[3, 64]\n input %g: f32[64]\n %b = select %x {axis=0, index=0}\n \
         %d = select %x {axis=0, index=1}\n add_ %b, %g\n add_ %d, %g\n return %g\n}",
    ] {
        let (graph, mistakes) = situ::source::parse(text, &situ::source::Bindings::new());
        let graph = graph.unwrap_or_else(|| panic!("{mistakes:?}"));
        for (rewrite, inplace) in [(true, true), (false, true), (false, false)] {
            let options = situ::pipeline::Options { rewrite, inplace, ..situ::pipeline::Options::default() };
            situ::pipeline::compile(&graph, &options).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
    }
}
