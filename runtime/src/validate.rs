//! Validation of a plan that comes from outside: is it well formed, so that checking and running it cannot panic?
//!
//! The checker asks whether a plan computes what its certificate says. This file asks the simpler questions that come
//! first, and answers them for hostile plans: every index exists, every number fits, every place lies in its space and
//! every access in its place, buffers are aligned, and the operands of each kernel have the number, dtypes and shapes
//! that its documentation names ([`crate::kernel::validate`]), and each body has the ports that its step lends it. What it
//! accepts, `check`, `prepare` and `run` may index without looking.

use std::collections::HashSet;

use crate::executable::{
    ALIGNMENT, Access, Distinct, Executable, Fallback, InputPort, OutputPort, Place, Plan, Space, Step,
};
use crate::kernel::control::{MAX_NESTING, ports, workspace_bytes};
use crate::kernel::{self, Kernel};
use crate::types::{DType, InputMode, Layout, MAX_ELEMENTS, MAX_RANK, elements};

/// The most operands (reads and writes) of one kernel call: a run keeps their slices on the stack.
pub const MAX_OPERANDS: usize = 64;

/// The most bytes a space may have.
pub const MAX_BYTES: u64 = 1 << 46;

/// The most threads a plan may be made for.
pub const MAX_THREADS: u32 = 1 << 12;

/// What is wrong with a plan, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// As in `step 3 (relu): read 1`; empty when the whole plan is meant.
    pub at: String,
    pub what: String,
}

impl Invalid {
    fn new(at: impl Into<String>, what: impl Into<String>) -> Invalid {
        Invalid { at: at.into(), what: what.into() }
    }

    fn inside(mut self, outer: impl std::fmt::Display) -> Invalid {
        self.at = if self.at.is_empty() { outer.to_string() } else { format!("{outer}: {}", self.at) };
        self
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.at.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.at, self.what) }
    }
}

impl std::error::Error for Invalid {}

/// Whether all plans of `executable` are well formed.
pub fn executable(executable: &Executable) -> Result<(), Invalid> {
    if executable.plans.is_empty() {
        return Err(Invalid::new("", "an executable has at least one plan"));
    }
    let (weights, plans) = (executable.weights_bytes, &executable.bodies);
    let mut bodies = Bodies { plans, owned: vec![false; plans.len()], depths: Vec::with_capacity(plans.len()) };
    for (index, body) in plans.iter().enumerate() {
        let depth = whole_plan(body, weights, &mut bodies, index, true)
            .map_err(|invalid| invalid.inside(format_args!("body {index}")))?;
        if depth == MAX_NESTING {
            return Err(Invalid::new(format!("body {index}"), format!("bodies nest more than {MAX_NESTING} deep")));
        }
        bodies.depths.push(depth + 1);
    }
    for (index, each) in executable.plans.iter().enumerate() {
        whole_plan(each, weights, &mut bodies, plans.len(), false)
            .map_err(|invalid| invalid.inside(format_args!("plan {index}")))?;
    }
    if executable.bindings.len() != executable.plans.len() {
        return Err(Invalid::new("", "every plan has its bindings"));
    }
    if executable.fallbacks.len() != executable.plans.len() {
        return Err(Invalid::new("", "every plan has exactly one fallback"));
    }
    for (index, (main, each)) in executable.plans.iter().zip(&executable.fallbacks).enumerate() {
        fallback(main, each, weights, &mut bodies)
            .map_err(|invalid| invalid.inside(format_args!("fallback {index}")))?;
    }
    match bodies.owned.iter().position(|owned| !owned) {
        Some(index) => Err(Invalid::new(format!("body {index}"), "no step runs it")),
        None => Ok(()),
    }
}

/// Whether a fallback is well formed and takes and gives what its plan does.
fn fallback(main: &Plan, fallback: &Fallback, weights_bytes: u64, bodies: &mut Bodies<'_>) -> Result<(), Invalid> {
    let wrong = |what: &str| Err(Invalid::new("", what));
    let written = match fallback {
        Fallback::Unneeded if !main.assumed_distinct.is_empty() => {
            return wrong("the plan assumes inputs to be distinct, and nothing says what happens when they are not");
        }
        Fallback::Unneeded | Fallback::Missing(_) | Fallback::Promised => return Ok(()),
        Fallback::AsWritten(written) => written,
    };
    whole_plan(&written.plan, weights_bytes, bodies, bodies.plans.len(), false)?;
    if written.plan.inputs != main.inputs {
        return wrong("its inputs are not those of its plan");
    }
    let same = |(a, b): (&OutputPort, &OutputPort)| {
        a.name == b.name && a.access.dtype == b.access.dtype && a.access.layout.shape == b.access.layout.shape
    };
    if written.plan.outputs.len() != main.outputs.len() || !written.plan.outputs.iter().zip(&main.outputs).all(same) {
        return wrong("its outputs are not those of its plan");
    }
    if written.plan.threads < main.threads {
        return wrong("its workspaces are made for fewer threads than its plan");
    }
    if !written.plan.assumed_distinct.is_empty() {
        return wrong("a fallback assumes nothing");
    }
    if written.epochs.len() != written.plan.steps.len() {
        return wrong("every step has exactly one epoch");
    }
    Ok(())
}

/// Whether `plan`, which runs no bodies, is well formed, for weights of `weights_bytes` bytes.
pub fn plan(plan: &Plan, weights_bytes: u64) -> Result<(), Invalid> {
    whole_plan(plan, weights_bytes, &mut Bodies { plans: &[], owned: Vec::new(), depths: Vec::new() }, 0, false)
        .map(drop)
}

/// The bodies of an executable, and what is known of them.
struct Bodies<'e> {
    plans: &'e [Plan],
    /// Whether a step runs it: one does, not two, so that what is prepared for each is no more than what the file holds.
    owned: Vec<bool>,
    /// One more than the depth of the bodies in it, for those that have been looked at.
    depths: Vec<usize>,
}

/// Whether a plan is well formed which may run the first `known` bodies; the depth of those it runs.
fn whole_plan(
    plan: &Plan,
    weights_bytes: u64,
    bodies: &mut Bodies<'_>,
    known: usize,
    is_body: bool,
) -> Result<usize, Invalid> {
    let whole = |what: &str| Err(Invalid::new("", what));
    let foreign = if is_body { InputMode::Donate } else { InputMode::Out };
    if plan.inputs.iter().any(|port| port.mode == foreign) {
        return whole("an input is donated to a body, or only written by a program");
    }
    if is_body && !plan.outputs.is_empty() {
        return whole("a body gives results by its ports alone");
    }
    if plan.arena_bytes > MAX_BYTES || weights_bytes > MAX_BYTES {
        return whole("the memory is larger than any machine's");
    }
    if plan.threads == 0 || plan.threads > MAX_THREADS {
        return whole("the thread count is out of range");
    }
    if plan.values.len() > u32::MAX as usize || plan.inputs.len() > u32::MAX as usize {
        return whole("there are more values than indices");
    }
    let mut input_bytes = Vec::with_capacity(plan.inputs.len());
    for port in &plan.inputs {
        let bytes = port_bytes(port).map_err(|what| Invalid::new(format!("input {}", port.name), what))?;
        input_bytes.push(bytes);
    }
    let sizes = Sizes { arena: plan.arena_bytes, weights: weights_bytes, inputs: &input_bytes };
    state(plan, &sizes, is_body)?;
    for value in &plan.values {
        sizes.place(value.place, value.dtype).map_err(|what| Invalid::new(format!("value {}", value.name), what))?;
    }
    inputs(plan, &input_bytes)?;
    let mut depth = 0;
    for (index, step) in plan.steps.iter().enumerate() {
        validate_step(plan, step, &sizes)
            .and_then(|()| control(plan, step, bodies, known))
            .map(|inner| depth = depth.max(inner))
            .map_err(|invalid| invalid.inside(format_args!("step {index} ({})", step.label)))?;
    }
    for port in &plan.outputs {
        let at = || format!("output {}", port.name);
        access(plan, &port.access).map_err(|what| Invalid::new(at(), what))?;
        if !port.access.layout.is_dense() {
            return Err(Invalid::new(at(), "its bytes are not dense"));
        }
    }
    Ok(depth)
}

/// The bodies of a step exist, are nobody else's, and have the ports, the threads and the scratch they need; the depth of
/// the deepest.
fn control(plan: &Plan, step: &Step, bodies: &mut Bodies<'_>, known: usize) -> Result<usize, Invalid> {
    let mut depth = 0;
    for number in step.kernel.bodies() {
        let at = || format!("body {number}");
        let index = number as usize;
        let Some(body) = bodies.plans.get(index).filter(|_| index < known) else {
            return Err(Invalid::new(at(), "it is no body that comes before"));
        };
        if std::mem::replace(&mut bodies.owned[index], true) {
            return Err(Invalid::new(at(), "two steps run it"));
        }
        depth = depth.max(bodies.depths[index]);
        let ports = ports(&step.kernel, step.reads.len(), step.writes.len());
        if ports.len() != body.inputs.len() {
            let (found, expected) = (body.inputs.len(), ports.len());
            return Err(Invalid::new(at(), format!("it has {found} ports, {expected} are lent")));
        }
        for (number, (port, input)) in ports.into_iter().zip(&body.inputs).enumerate() {
            let ty = port.ty(&step.reads, &step.writes);
            if port.mode() != input.mode || ty.is_none_or(|(dtype, shape)| dtype != input.dtype || shape != input.shape)
            {
                return Err(Invalid::new(at(), format!("port {number} is not what is lent")));
            }
        }
        if body.threads < plan.threads {
            return Err(Invalid::new(at(), "it is made for fewer threads"));
        }
        let (needed, found) =
            (workspace_bytes(&step.kernel, |_| body.arena_bytes), step.workspace.map_or(0, |place| place.bytes));
        if found < needed {
            return Err(Invalid::new(at(), format!("it needs {needed} bytes of workspace, the step has {found}")));
        }
    }
    Ok(depth)
}

/// Input values, finals and weights name what exists, at the places that belong to them.
fn inputs(plan: &Plan, input_bytes: &[u64]) -> Result<(), Invalid> {
    let value = |index: u32| {
        plan.values.get(index as usize).ok_or_else(|| Invalid::new("", format!("value {index} does not exist")))
    };
    if plan.input_values.len() != plan.inputs.len() {
        return Err(Invalid::new("", "every input has exactly one value"));
    }
    let of_input = |input: usize, index: u32| -> Result<(), Invalid> {
        let (port, value) = (&plan.inputs[input], value(index)?);
        let place = Place { space: Space::Input(input as u32), offset: 0, bytes: input_bytes[input] };
        // What a program leaves in an input may have been written as another dtype, apart from bools.
        let holds = port.dtype != DType::Bool || value.dtype == DType::Bool;
        if value.place != place || !holds {
            return Err(Invalid::new(format!("input {}", port.name), "its value is not the bytes of the input"));
        }
        Ok(())
    };
    for (input, &index) in plan.input_values.iter().enumerate() {
        of_input(input, index)?;
        if value(index)?.dtype != plan.inputs[input].dtype {
            return Err(Invalid::new(format!("input {}", plan.inputs[input].name), "its value has another dtype"));
        }
    }
    let mut last = None;
    for &(input, index) in &plan.finals {
        let written = |port: &InputPort| matches!(port.mode, InputMode::InOut | InputMode::Out);
        if !plan.inputs.get(input as usize).is_some_and(written) {
            return Err(Invalid::new("", "only an inout input has a final value"));
        }
        if last.replace(input).is_some_and(|last| last >= input) {
            return Err(Invalid::new("", "final values stand in the order of their inputs, one each"));
        }
        of_input(input as usize, index)?;
    }
    for &index in &plan.weight_values {
        if value(index)?.place.space != Space::Weights {
            return Err(Invalid::new("", format!("value {index} is named a weight and lies elsewhere")));
        }
    }
    distinct(&plan.assumed_distinct, plan.inputs.len() as u32).map_err(|what| Invalid::new("", what))
}

/// Initial state belongs to `inout` inputs of a program, lies whole in the weights, and the names of its parts are nobody
/// else's.
fn state(plan: &Plan, sizes: &Sizes<'_>, is_body: bool) -> Result<(), Invalid> {
    let mut names: HashSet<&str> = HashSet::new();
    let mut stated = plan.inputs.iter().zip(sizes.inputs).filter(|(port, _)| port.initial.is_some()).peekable();
    if let Some(port) = plan.inputs.iter().find(|port| port.initial.is_none() && !port.views.is_empty()) {
        return Err(Invalid::new(format!("input {}", port.name), "parts of a state that is not there have names"));
    }
    if stated.peek().is_some() {
        names.extend(plan.inputs.iter().map(|port| port.name.as_str()));
        if names.len() != plan.inputs.len() {
            return Err(Invalid::new("", "two inputs of a program with state have one name"));
        }
    }
    for (port, &bytes) in stated {
        let at = || format!("input {}", port.name);
        if port.mode != InputMode::InOut || is_body {
            return Err(Invalid::new(at(), "it has initial state and is no inout input of a program"));
        }
        if let Some(place) = port.initial {
            if place.space != Space::Weights || place.bytes != bytes {
                return Err(Invalid::new(at(), format!("its initial state is not {bytes} bytes of the weights")));
            }
            sizes.place(place, port.dtype).map_err(|what| Invalid::new(format!("{}: initial state", at()), what))?;
        }
        for view in &port.views {
            let at = || format!("{}: state {:?}", at(), view.name);
            if view.name.is_empty() || !names.insert(&view.name) {
                return Err(Invalid::new(at(), "its name is empty, or something else's"));
            }
            layout(&view.layout, bytes / port.dtype.size() as u64).map_err(|what| Invalid::new(at(), what))?;
        }
    }
    Ok(())
}

/// Assumptions are about inputs that exist, each named once.
fn distinct(assumed: &Distinct, inputs: u32) -> Result<(), &'static str> {
    let Distinct { written, others } = assumed;
    for list in [written, others] {
        if list.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("inputs that are assumed distinct stand in their order, each once");
        }
        if list.last().is_some_and(|&last| last >= inputs) {
            return Err("an assumption is about an input that does not exist");
        }
    }
    match others.iter().any(|input| written.binary_search(input).is_ok()) {
        true => Err("an input is assumed distinct from itself"),
        false => Ok(()),
    }
}

/// Bytes of an input.
fn port_bytes(port: &InputPort) -> Result<u64, String> {
    shape(&port.shape)?;
    let count = elements(&port.shape).ok_or("it has too many elements")?;
    Ok(count as u64 * port.dtype.size() as u64)
}

/// Rank and extents are such that products of extents never overflow, even where one of them is zero.
fn shape(shape: &[usize]) -> Result<(), String> {
    if shape.len() > MAX_RANK {
        return Err(format!("it has {} axes, at most {MAX_RANK} are allowed", shape.len()));
    }
    let mut product = 1usize;
    for &extent in shape {
        product = product
            .checked_mul(extent.max(1))
            .filter(|&product| product <= MAX_ELEMENTS)
            .ok_or("it has too many elements")?;
    }
    Ok(())
}

struct Sizes<'a> {
    arena: u64,
    weights: u64,
    inputs: &'a [u64],
}

impl Sizes<'_> {
    fn place(&self, place: Place, dtype: DType) -> Result<(), String> {
        let (bytes, alignment) = match place.space {
            Space::Arena => (self.arena, ALIGNMENT),
            Space::Weights => (self.weights, ALIGNMENT),
            Space::Input(input) => (
                *self.inputs.get(input as usize).ok_or("it lies in an input that does not exist")?,
                dtype.size() as u64,
            ),
        };
        if !place.offset.is_multiple_of(alignment) {
            return Err(format!("its offset {} is not a multiple of {alignment}", place.offset));
        }
        match place.offset.checked_add(place.bytes) {
            Some(end) if end <= bytes => Ok(()),
            _ => Err(format!("bytes {}+{} are outside of {bytes}", place.offset, place.bytes)),
        }
    }
}

/// The layout is sound by itself and lies in the place of its value.
fn access(plan: &Plan, access: &Access) -> Result<(), String> {
    let value = plan.values.get(access.value as usize).ok_or("its value does not exist")?;
    // Bytes may be seen as another dtype, but a bool is 0 or 1, which other bytes are not, and an element lies at a multiple
    // of its size.
    if access.dtype == DType::Bool && value.dtype != DType::Bool {
        return Err(format!("{} is {}, seen as bool", value.name, value.dtype));
    }
    if !value.place.offset.is_multiple_of(access.dtype.size() as u64) {
        return Err(format!("{} lies at {}, where no {} begins", value.name, value.place.offset, access.dtype));
    }
    layout(&access.layout, value.place.bytes / access.dtype.size() as u64)
        .map_err(|what| format!("{} of {}", what, value.name))
}

fn layout(layout: &Layout, available: u64) -> Result<(), String> {
    shape(&layout.shape)?;
    if layout.strides.len() != layout.shape.len() {
        return Err("an axis without stride, or a stride without axis, in a view".into());
    }
    let limit = MAX_ELEMENTS as u64;
    if layout.offset.unsigned_abs() > limit || layout.strides.iter().any(|stride| stride.unsigned_abs() > limit) {
        return Err("an offset or stride too large, in a view".into());
    }
    if layout.is_empty() {
        return Ok(());
    }
    match layout.hull() {
        Some((low, high)) if low >= 0 && high as u64 <= available => Ok(()),
        _ => Err(format!("a view outside the {available} elements")),
    }
}

fn validate_step(plan: &Plan, step: &Step, sizes: &Sizes<'_>) -> Result<(), Invalid> {
    let runs_bodies = matches!(step.kernel, Kernel::If { .. } | Kernel::Loop { .. });
    if !runs_bodies && step.reads.len() + step.writes.len() > MAX_OPERANDS {
        return Err(Invalid::new("", format!("more than {MAX_OPERANDS} operands")));
    }
    for (index, read) in step.reads.iter().enumerate() {
        access(plan, read).map_err(|what| Invalid::new(format!("read {index}"), what))?;
    }
    for (index, write) in step.writes.iter().enumerate() {
        let at = || format!("write {index}");
        access(plan, &write.access).map_err(|what| Invalid::new(at(), what))?;
        if plan.values[write.access.value as usize].dtype == DType::Bool && write.access.dtype != DType::Bool {
            return Err(Invalid::new(at(), "bools are written as another dtype"));
        }
        if !write.access.layout.is_injective() {
            return Err(Invalid::new(at(), "two indices may name one element"));
        }
        if let Some(base) = write.base {
            let value = plan.values.get(base as usize).ok_or_else(|| Invalid::new(at(), "its base does not exist"))?;
            if (value.dtype == DType::Bool) != (write.access.dtype == DType::Bool) {
                return Err(Invalid::new(at(), "bools are written among other bytes"));
            }
        }
    }
    if let Some(place) = step.workspace {
        if place.space != Space::Arena {
            return Err(Invalid::new("workspace", "it lies outside the arena"));
        }
        sizes.place(place, DType::U8).map_err(|what| Invalid::new("workspace", what))?;
    }
    kernel::validate::validate(&step.kernel, &step.reads, &step.writes)
        .map_err(|what| Invalid::new(step.kernel.name(), what))
}
