//! Random variations of the cases: other extents, dtypes, broadcast operands and constants.
//!
//! A variation is text that was made from a case without understanding it, so most are no programs, or programs to which the
//! rule does not apply; of those that are, both sides have to agree. The rule itself decides, and that is the point: whatever
//! its side condition lets through has to hold.

use super::*;

/// SplitMix64.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

const EXTENTS: [&str; 8] = ["1", "2", "3", "5", "8", "16", "17", "4"];
const DTYPES: [&str; 8] = ["f32", "f64", "f16", "bf16", "i32", "i64", "u8", "i8"];
const FLOATS: [&str; 24] = [
    "0.0", "-0.0", "1.0", "-1.0", "2.0", "0.5", "-0.25", "3.0", "0.7", "-7.5", "1e-3", "1e3", "6e4", "1e-7", "1e30",
    "-1e30", "1e-30", "4096.0", "9000.0", "1e-40", "inf", "-inf", "nan", "16.0",
];
const INTEGERS: [&str; 14] = ["0", "1", "-1", "2", "3", "-3", "7", "8", "31", "64", "127", "-128", "255", "1000"];

/// `text` with each of its numbers, whole tokens, mapped by `change`.
fn numbers(text: &str, change: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut result = String::new();
    let mut token = String::new();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '%' | '_' | '+');
    for c in text.chars().chain(std::iter::once('\n')) {
        if is_part(c) {
            token.push(c);
            continue;
        }
        let is_number = token.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
        match if is_number { change(&token) } else { None } {
            Some(other) => result.push_str(&other),
            None => result.push_str(&token),
        }
        token.clear();
        result.push(c);
    }
    result.pop();
    result
}

/// Numbers that keep what is ordinary ordinary.
const MODERATE: [&str; 8] = ["0.5", "-0.25", "3.0", "0.7", "-7.5", "2.0", "1.25", "16.0"];

/// A variation of the lines of a case. A rule that changes the order of sums, or what lies between, is held in wide floats
/// and on constants of moderate size.
fn varied(lines: &str, random: &mut Random, moderate: bool) -> String {
    let dtype = *random.one(if moderate { &DTYPES[..2] } else { &DTYPES[..] });
    let extents: Vec<&str> = (0..4).map(|_| *random.one(&EXTENTS)).collect();
    let change_extents = random.below(3) > 0;
    let change_dtype = random.below(3) > 0;
    let mut seen: Vec<String> = Vec::new();
    let mut statements: Vec<String> = Vec::new();
    for statement in lines.split(';') {
        let (operands, attributes) = match statement.find('{') {
            Some(at) => statement.split_at(at),
            None => (statement, ""),
        };
        let mut operands = operands.to_string();
        if let (Some(open), true) = (operands.find('['), operands.contains(':')) {
            // A declaration: its shape, and for an input perhaps one that broadcasts.
            let close = operands.find(']').expect("a shape ends");
            let mut shape: Vec<String> = operands[open + 1..close].split(',').map(|n| n.trim().to_string()).collect();
            shape.retain(|extent| !extent.is_empty());
            if change_extents {
                for extent in &mut shape {
                    let at = seen.iter().position(|other| other == extent).unwrap_or_else(|| {
                        seen.push(extent.clone());
                        seen.len() - 1
                    });
                    *extent = extents.get(at).map_or_else(|| extent.clone(), ToString::to_string);
                }
            }
            if operands.trim_start().starts_with("input") && shape.len() > 1 && random.below(4) == 0 {
                match random.below(4) {
                    0 => shape[0] = "1".to_string(),
                    1 => *shape.last_mut().expect("two axes") = "1".to_string(),
                    2 => drop(shape.remove(0)),
                    _ => shape.clear(),
                }
            }
            operands.replace_range(open + 1..close, &shape.join(", "));
        } else if random.below(2) == 0 {
            operands = numbers(&operands, &mut |number| {
                let pool: &[&str] = match number.contains('.') {
                    true if moderate => &MODERATE,
                    true => &FLOATS,
                    false => &INTEGERS,
                };
                (random.below(3) > 0).then(|| random.one(pool).to_string())
            });
        }
        if change_dtype {
            for own in ["f32", "i32"] {
                operands = operands.replace(&format!(": {own}["), &format!(": {dtype}["));
            }
            if !dtype.starts_with(['f', 'b']) {
                operands = numbers(&operands, &mut |number| number.strip_suffix(".0").map(str::to_string));
            }
        }
        statements.push(operands + attributes);
    }
    statements.join(";")
}

/// The graph of lines, if they are a program.
fn program(lines: &str) -> Option<Graph> {
    let (graph, mistakes) = parse(&text(lines), &Bindings::new());
    graph.filter(|graph| mistakes.is_empty() && crate::ir::verify(graph).is_empty())
}

#[test]
fn both_sides_agree_whatever_the_extents_dtypes_and_constants() {
    let mut wrong: Vec<String> = Vec::new();
    let mut applied = vec![0usize; rules::all().len()];
    for (place, (name, lines)) in applies().enumerate() {
        let number = number_of(name);
        let mut random = Random(place as u64);
        let moderate = matches!(rules::all()[number].freedom, Freedom::Fold | Freedom::Reassociate);
        for round in 0..rounds() {
            let lines = varied(lines, &mut random, moderate);
            let Some(source) = program(&lines) else { continue };
            for application in applications(&source, &[number], &[round]) {
                for (left, right) in &application.sides {
                    applied[number] += 1;
                    if let Some(why) = disagreement(&rules::all()[number], left, right) {
                        wrong.push(format!("{name}: {why}: {lines}"));
                    }
                }
            }
        }
    }
    for (rule, times) in rules::all().iter().zip(&applied) {
        if rule.phase.is_optional() && *times < 5 {
            wrong.push(format!("{} was varied {times} times", rule.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them\n{}",
        wrong.len(),
        wrong.iter().take(120).cloned().collect::<Vec<_>>().join("\n")
    );
}

/// Variations of each case; `SITU_HUNT` asks for so many times as many.
fn rounds() -> u64 {
    60 * hunt()
}

/// How much longer than usual to look.
pub(super) fn hunt() -> u64 {
    std::env::var("SITU_HUNT").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}
