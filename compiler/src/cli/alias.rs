//! Inputs that share bytes, as `--alias` wants them.
//!
//! Inputs that are bound together by `--alias` lie in one buffer: the base first, each alias at its offset, as far beyond the
//! end of the base as it needs. Where two have bytes in common the base's value counts; an alias needs a value of its own
//! only for what no base covers. All buffers lie in one block, each aligned like a buffer of the arena.

use situ::npz::Array;
use situ::types::TensorType;
use situ_runtime::arena::Block;
use situ_runtime::executable::{ALIGNMENT, Fallback, InputPort};
use situ_runtime::kernel::call::RunError;
use situ_runtime::raw::{AliasPolicy, RawSession, Route};
use situ_runtime::session::Options;
use situ_runtime::wire::Compiled;

use super::args::Alias;
use super::execute::{after, run_failure};
use super::failure::Failure;
use super::values::Named;

/// Inputs in one block.
pub struct Shared {
    memory: Block,
    /// Where each input begins, in bytes.
    starts: Vec<usize>,
}

fn bytes_of(port: &InputPort) -> usize {
    port.shape.iter().product::<usize>() * port.dtype.size()
}

/// For each input, the one it lies in and how many bytes from its start.
fn bases(aliases: &[Alias], ports: &[InputPort]) -> Result<Vec<Option<(usize, usize)>>, Failure> {
    let number = |name: &str| {
        ports.iter().position(|port| port.name == name).ok_or_else(|| {
            let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            Failure::usage(format!("--alias: there is no input {name}; the inputs are {}", known.join(", ")))
        })
    };
    let mut bases = vec![None; ports.len()];
    for Alias { name, base, bytes } in aliases {
        let (input, within) = (number(name)?, number(base)?);
        if bases[input].is_some() {
            return Err(Failure::usage(format!("--alias: {name} is given a place twice")));
        }
        let length = bytes_of(&ports[within]);
        if *bytes > length {
            let message = format!("--alias: {base} has {length} bytes, so {name} cannot begin at byte {bytes} of it");
            return Err(Failure::usage(message));
        }
        bases[input] = Some((within, *bytes));
    }
    Ok(bases)
}

/// The base at the end of the chain from `input`, how many bytes `input` begins after it, and how many links that takes.
fn resolve(
    bases: &[Option<(usize, usize)>],
    ports: &[InputPort],
    input: usize,
) -> Result<(usize, usize, usize), Failure> {
    let (mut at, mut offset, mut links) = (input, 0usize, 0);
    while let Some((base, bytes)) = bases[at] {
        (at, offset, links) = (base, offset.saturating_add(bytes), links + 1);
        if links > bases.len() {
            return Err(Failure::usage(format!("--alias: {} lies in its own bytes", ports[input].name)));
        }
    }
    Ok((at, offset, links))
}

/// Lays out the inputs. `given` is the value of each, where it has one.
pub fn share(aliases: &[Alias], ports: &[InputPort], given: &[Option<Array>]) -> Result<Shared, Failure> {
    let bases = bases(aliases, ports)?;
    let placed: Vec<(usize, usize, usize)> =
        (0..ports.len()).map(|input| resolve(&bases, ports, input)).collect::<Result<_, _>>()?;
    let mut extents = vec![0usize; ports.len()];
    for (port, &(base, offset, _)) in ports.iter().zip(&placed) {
        if !offset.is_multiple_of(port.dtype.size()) {
            return Err(Failure::usage(format!(
                "--alias: {} would begin {offset} bytes after {}, which is not a multiple of {} bytes, the size of {}",
                port.name,
                ports[base].name,
                port.dtype.size(),
                port.dtype
            )));
        }
        extents[base] = extents[base].max(offset.saturating_add(bytes_of(port)));
    }
    let mut end = 0usize;
    let mut buffers = vec![0usize; ports.len()];
    for (buffer, extent) in buffers.iter_mut().zip(&extents) {
        *buffer = end;
        end =
            end.saturating_add(extent.saturating_add(ALIGNMENT as usize - 1) / ALIGNMENT as usize * ALIGNMENT as usize);
    }
    let mut memory = Block::zeroed(end as u64).map_err(Failure::wrong)?;
    let starts: Vec<usize> = placed.iter().map(|&(base, offset, _)| buffers[base] + offset).collect();
    // What counts is written last: an alias before what it lies in.
    let mut order: Vec<usize> = (0..ports.len()).collect();
    order.sort_by_key(|&input| (std::cmp::Reverse(placed[input].2), input));
    let mut covered = vec![false; if given.iter().all(Option::is_some) { 0 } else { end }];
    for input in order {
        let range = starts[input]..starts[input] + bytes_of(&ports[input]);
        if let Some(array) = &given[input] {
            memory[range.clone()].copy_from_slice(&array.bytes);
            if !covered.is_empty() {
                covered[range].fill(true);
            }
        }
    }
    for (input, port) in ports.iter().enumerate().filter(|_| !covered.is_empty()) {
        let range = starts[input]..starts[input] + bytes_of(port);
        if covered[range].iter().any(|&covered| !covered) {
            let hint =
                if bases[input].is_some() { ", or not all of its bytes lie in inputs that have one" } else { "" };
            return Err(Failure::usage(format!(
                "input {name} has no value{hint}; give --input {name}=FILE.npy, =zeros or =random:SEED",
                name = port.name
            )));
        }
    }
    Ok(Shared { memory, starts })
}

/// Runs once on inputs that share bytes: what [`super::execute::run`] gives, and which plan ran.
pub fn run(
    compiled: std::sync::Arc<Compiled>,
    plan: usize,
    threads: usize,
    strict: bool,
    mut shared: Shared,
) -> Result<(Vec<Named>, Route), Failure> {
    let ports = compiled.executable.plans[plan].inputs.clone();
    let most = compiled.executable.plans[plan].threads as usize;
    let fallback = compiled.executable.fallbacks.get(plan).cloned();
    // A promise that inputs do not share bytes is not relied on where they visibly do.
    let policy = match &fallback {
        Some(Fallback::Promised) => AliasPolicy::Strict,
        _ if strict => AliasPolicy::Strict,
        _ => AliasPolicy::Fallback,
    };
    let options = Options { threads: Some(threads.min(most)), plan, ..Options::default() };
    let mut session = RawSession::new(compiled, options, policy).map_err(Failure::fault)?;
    let refused = |error: RunError| match (&error, &fallback) {
        (RunError::Aliased { .. }, Some(Fallback::Promised)) => {
            Failure::wrong(format!("{error}; it was compiled with --assume-noalias"))
        }
        (RunError::Aliased { .. }, Some(Fallback::Missing(why))) => {
            Failure::wrong(format!("{error}, and cannot be run as written: {why}"))
        }
        _ => run_failure(error),
    };
    let (mut results, route) = {
        let (outputs, route) = session.run_within(&mut shared.memory, &shared.starts).map_err(refused)?;
        let mut results = Vec::new();
        for (index, port) in outputs.ports().iter().enumerate() {
            let ty = TensorType::new(port.access.dtype, port.access.layout.shape.clone());
            let bytes = outputs.bytes(index).map_err(run_failure)?.to_vec();
            results.push(Named { key: format!("out{index}"), array: Array { ty, bytes } });
        }
        (results, route)
    };
    let bytes = |input: usize| &shared.memory[shared.starts[input]..][..bytes_of(&ports[input])];
    results.extend(after(&ports, bytes)?);
    Ok((results, route))
}
