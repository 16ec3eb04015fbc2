//! Numbers and sentences that several reports share.

use situ_runtime::contract::Permission;

use crate::place::{Before, Clear, Condition, Proof, Reason, Refused, Root, TieKind, Tied};
use crate::savings::{Action, Savings, What};

/// `6,422,528`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `6.1 MiB`: three significant digits or so, for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let places = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.places$} {}", UNITS[unit])
}

/// What the class `state` is made of, in bytes.
pub(super) fn state(weights: u64, updated: u64, initial: u64) -> String {
    let said = format!("weights {}, updated in place {}", grouped(weights), grouped(updated));
    match initial {
        0 => said,
        all if all == updated => said + ", which comes with the program",
        part => format!("{said}, of which {} comes with the program", grouped(part)),
    }
}

/// `1 tie`, `2 ties`.
pub(super) fn count(number: usize, one: &str) -> String {
    match (number, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {one}s"),
    }
}

/// Arenas of other plans: the name of the line, bytes, and what is missing in that plan.
pub(super) fn without(savings: &Savings) -> Vec<(&'static str, u64, &'static str)> {
    let lines = [
        ("not in place", Some(savings.without_inplace), "in place"),
        ("not emplaced", savings.without_emplacement, "writing parts into the whole"),
        ("not reordered", savings.without_order, "the order"),
        ("not recomputed", savings.without_rematerialisation, "computing twice"),
    ];
    lines.into_iter().filter_map(|(name, bytes, what)| Some((name, bytes?, what))).collect()
}

/// What a decision saved, given the arena with it and without it.
pub(super) fn saved(arena: u64, without: u64, what: &str) -> String {
    match without.checked_sub(arena) {
        Some(0) => format!("{what} saves nothing"),
        Some(saved) => format!("{what} saves {} ({:.1} %)", grouped(saved), 100.0 * saved as f64 / without as f64),
        None => format!("{what} costs {}", grouped(arena - without)),
    }
}

/// What the user could do, and what it costs.
pub(super) fn action(action: &Action) -> (String, String) {
    match &action.what {
        What::Donate { input } => (format!("declare {input} `donate`"), "the caller then loses its bytes".to_string()),
        What::Recompute(again) => (
            format!("compute {} twice", again.value),
            format!(
                "{} flops and {} bytes written again; `--max-peak {}` allows it",
                grouped(again.flops),
                grouped(again.bytes),
                action.arena_bytes
            ),
        ),
    }
}

/// Why a tie was refused, in a sentence without a full stop.
pub(super) fn reason(refused: &Refused) -> String {
    let Refused { value, over, step, .. } = refused;
    match &refused.reason {
        Reason::ReadLater { by } => format!("{by} needs {value} and reads {over}"),
        Reason::AntiDependenceCycle { by, through } if by == through => {
            format!("{by} reads {over}, and an order with {by} first would cost more than the tie saves")
        }
        Reason::AntiDependenceCycle { by, through } => {
            format!("{by} reads {over} and, because of other ties, runs after {through}, which follows {step}")
        }
        Reason::IsOutput => format!("{over} is returned to the caller"),
        Reason::NotDonated { input } => format!("the caller keeps input {input}"),
        Reason::IsConstant => format!("{over} is a weight"),
        Reason::IsState { input } => format!("the bytes of {input} are state and end as its final value"),
        Reason::LayoutDiffers => format!("{over} is read in another order than {value} is written"),
        Reason::SizeDiffers { found, expected } => {
            format!("{over} has {} bytes, {value} {}", grouped(*found), grouped(*expected))
        }
        Reason::KernelForbids { kernel } => format!("{kernel} reads its operand after it has begun to write"),
        Reason::CannotWriteRegion { kernel } => format!("{kernel} cannot write a region with gaps"),
        Reason::AlreadyTaken { by } => format!("{by} has the bytes of {over} already"),
        Reason::PartialOverlap { whole } => format!("its bytes are a part of {whole}"),
        Reason::OtherOperandOverlaps { by, operand } => {
            format!("{by} reads {operand}, which is there, at other positions than it writes")
        }
        Reason::OutputsCollide { with } => format!("{value} and {with} both belong to the caller"),
        Reason::PlaceFixed { at } => format!("{over} already has its bytes in {at}"),
        Reason::RaisesPeak { from, to } if from == to => "safe, but ties that save more would be lost".to_string(),
        Reason::RaisesPeak { from, to } => {
            format!("safe, but the peak would rise from {} to {}", grouped(*from), grouped(*to))
        }
        Reason::Withheld => "switched off by the options".to_string(),
    }
}

/// Why a tie is safe, in short phrases.
pub(super) fn proof(tied: &Tied, inputs: &[String]) -> String {
    let Proof { contract, root, observers, output, .. } = &tied.proof;
    let mut phrases = Vec::new();
    phrases.push(match tied.kind {
        TieKind::Overwrite => contract.map_or("the same bytes", Permission::name).to_string(),
        TieKind::Forward => "the copy moved nothing but a name".to_string(),
        TieKind::Update => "written in the bytes of its base".to_string(),
        TieKind::Emplace => "written where it is needed".to_string(),
        TieKind::Final => "computed in the bytes of the state".to_string(),
        TieKind::Succeed => "the input is dead by then".to_string(),
    });
    let others: Vec<_> = observers.iter().filter(|observer| observer.before != Before::Itself).collect();
    let added: Vec<&str> =
        others.iter().filter(|o| o.before == Before::Added).map(|observer| observer.step.as_str()).collect();
    match (others.len() - added.len(), added.len()) {
        (0, 0) if tied.kind == TieKind::Forward => {}
        (0, 0) => phrases.push("no other reader".into()),
        (data, 0) => phrases.push(format!("{} before it by data", count(data, "reader"))),
        (0, _) => phrases.push(format!("ordered first: {}", added.join(", "))),
        (data, _) => {
            phrases.push(format!("{} before it by data, ordered first: {}", count(data, "reader"), added.join(", ")));
        }
    }
    match root {
        Root::Fresh => {}
        Root::Donated(input) => phrases.push(format!("{} was given up", name(inputs, *input))),
        Root::State(input) => phrases.push(format!("state {}", name(inputs, *input))),
    }
    if *output {
        phrases.push("an output".into());
    }
    phrases.join("; ")
}

/// What the proof has to say on one condition.
pub(super) fn evidence(tied: &Tied, condition: Condition, inputs: &[String]) -> String {
    let Proof { contract, offset, bytes, root, observers, operands, version, output, steps } = &tied.proof;
    let all = |names: Vec<&str>| if names.is_empty() { "none".to_string() } else { names.join(", ") };
    match condition {
        Condition::Contract => match contract {
            Some(permission) => format!("{}: {}", tied.step, permission.name()),
            None => "no kernel reads and writes these bytes in one step because of it".into(),
        },
        Condition::Region => {
            format!("{} bytes at {} of the root, each named once, in one order", grouped(*bytes), grouped(*offset))
        }
        Condition::Root => match root {
            Root::Fresh => "the program's own memory".into(),
            Root::Donated(input) => format!("input {}, which the caller gave up", name(inputs, *input)),
            Root::State(input) => format!("input {}, which is state", name(inputs, *input)),
        },
        Condition::Observers => {
            let known = |before: Before| {
                all(observers.iter().filter(|o| o.before == before).map(|o| o.step.as_str()).collect::<Vec<_>>())
            };
            format!(
                "readers of the old content: by data before it {}; the step itself {}; put before it {}",
                known(Before::Data),
                known(Before::Itself),
                known(Before::Added)
            )
        }
        Condition::Operands => {
            let clear = |wanted: fn(&Clear) -> bool| {
                all(operands.iter().filter(|o| wanted(&o.clear)).map(|o| o.name.as_str()).collect::<Vec<_>>())
            };
            format!(
                "elsewhere {}; beside it {}; at the place, permitted {}",
                clear(|clear| *clear == Clear::Apart),
                clear(|clear| *clear == Clear::Beside),
                clear(|clear| matches!(clear, Clear::Permitted(_)))
            )
        }
        Condition::Order => {
            let added = observers.iter().filter(|observer| observer.before == Before::Added).count();
            match added {
                0 => "no edge was added".into(),
                _ => format!("{} added, and the steps still have an order", count(added, "edge")),
            }
        }
        Condition::Versions => format!("version {version} of its bytes"),
        Condition::Iteration => "one list of steps, which nothing repeats".into(),
        Condition::Boundary => match output {
            true => "an output, with bytes that no other output, input or weight has".into(),
            false => "not an output".into(),
        },
        Condition::Once => format!("written by {}, in the order once", all(steps.iter().map(String::as_str).collect())),
    }
}

/// What would let a refused tie stand, and what that would cost.
pub(super) fn unblock(refused: &Refused) -> String {
    let Refused { value, over, step, bytes, .. } = refused;
    let cost = grouped(*bytes);
    match &refused.reason {
        Reason::ReadLater { by } => {
            format!(
                "let {by} read a copy of {over}, or something else; the copy has the same {cost} bytes, but a shorter life may be cheaper"
            )
        }
        Reason::AntiDependenceCycle { by, through } if by == through => {
            format!("nothing: with {by} before {step} more than {cost} bytes would be live at the peak")
        }
        Reason::AntiDependenceCycle { by, .. } => {
            format!("let {by} not depend on {step} by way of other ties; `--only-tie {value}` grants this one alone")
        }
        Reason::IsOutput => format!("return a copy of {over} ({cost} bytes moved), or do not return it"),
        Reason::NotDonated { input } => format!("declare {input} `donate`; the caller then loses its {cost} bytes"),
        Reason::IsConstant => "nothing: a weight is there for every run".into(),
        Reason::IsState { input } => {
            format!("let the new {input} be made last, or be a copy of {over} ({cost} bytes moved)")
        }
        Reason::LayoutDiffers => {
            format!("keep {over} in the order in which {step} reads it; its other readers then read it across")
        }
        Reason::SizeDiffers { .. } => "compute both in one element type".into(),
        Reason::KernelForbids { kernel } => {
            format!("nothing: a {kernel} needs {over} until its end; {cost} bytes are the price of it")
        }
        Reason::CannotWriteRegion { .. } => {
            format!("let {value} be stored in the order in which {step} writes; else {cost} bytes are moved")
        }
        Reason::AlreadyTaken { by } => {
            format!("let {by} come later or not overwrite {over}; it then needs {cost} bytes itself")
        }
        Reason::PartialOverlap { whole } => format!("take {over} out of {whole}, by a copy of {cost} bytes"),
        Reason::OtherOperandOverlaps { by, operand } => {
            format!("set aside what {by} reads of {operand} first, by a copy of at most {cost} bytes")
        }
        Reason::OutputsCollide { with } => format!("return one of {value} and {with}"),
        Reason::PlaceFixed { at } => {
            format!("compute {over} instead of taking it from {at}; else {cost} bytes are moved")
        }
        Reason::RaisesPeak { .. } => format!("nothing: {cost} bytes are moved so that the peak is lower"),
        Reason::Withheld => "leave out `--no-inplace`, `--tie-limit` and `--only-tie`".into(),
    }
}

fn name(inputs: &[String], input: u32) -> &str {
    inputs.get(input as usize).map_or("?", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!([0, 7, 1000, 6_422_528].map(grouped), ["0", "7", "1,000", "6,422,528"]);
        assert_eq!([0, 1023, 1024, 15_000, 6_422_528].map(size), ["0 B", "1023 B", "1.00 KiB", "14.6 KiB", "6.12 MiB"]);
        assert_eq!(
            (count(1, "copy"), count(2, "copy"), count(0, "tie")),
            ("1 copy".into(), "2 copies".into(), "0 ties".into())
        );
    }
}
