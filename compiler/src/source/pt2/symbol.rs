//! Symbolic extents: expressions as sympy's `srepr` and `str` write them, evaluated under the bindings.
//!
//! `Symbol('s77', positive=True, integer=True)`, `2*s77`, `Mul(Integer(2), Symbol('s77', ...))`, `FloorDiv(s77, 2)`,
//! `s77//2`, `Max(1, s77)`. Nothing else is needed: a compiled program has its extents bound, so an expression is a
//! number. Arithmetic is checked, and depth is bounded.

use crate::source::Bindings;

/// How deep an expression may be nested.
const MAX_DEPTH: usize = 64;

/// The value of an expression.
///
/// # Errors
/// A sentence: a symbol without a value, or what is not understood.
pub fn evaluate(text: &str, bindings: &Bindings) -> Result<i64, Unknown> {
    let mut reader = Reader { text, at: 0, bindings, depth: 0 };
    let value = reader.sum()?;
    reader.space();
    if reader.at < text.len() { Err(reader.wrong()) } else { Ok(value) }
}

/// Why an expression has no value.
#[derive(Debug, PartialEq, Eq)]
pub enum Unknown {
    /// A symbol is not bound.
    Symbol(String),
    Wrong(String),
    /// Nothing is wrong, but it is not known here.
    Foreign(String),
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    bindings: &'a Bindings,
    depth: usize,
}

fn overflow() -> Unknown {
    Unknown::Wrong("a number leaves 64 bits".into())
}

impl Reader<'_> {
    fn wrong(&self) -> Unknown {
        let shown: String = self.text.chars().take(80).collect();
        Unknown::Foreign(format!("the expression {shown:?} is not understood at character {}", self.at))
    }

    fn space(&mut self) {
        while self.text[self.at..].starts_with(' ') {
            self.at += 1;
        }
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn sum(&mut self) -> Result<i64, Unknown> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Unknown::Wrong(format!("an expression is nested more than {MAX_DEPTH} deep")));
        }
        let mut value = self.product()?;
        loop {
            if self.take("+") {
                value = value.checked_add(self.product()?).ok_or_else(overflow)?;
            } else if self.take("-") {
                value = value.checked_sub(self.product()?).ok_or_else(overflow)?;
            } else {
                self.depth -= 1;
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<i64, Unknown> {
        let mut value = self.power()?;
        loop {
            if self.text[self.at..].trim_start().starts_with("**") {
                return Err(self.wrong());
            } else if self.take("*") {
                value = value.checked_mul(self.power()?).ok_or_else(overflow)?;
            } else if self.take("//") {
                value = floor_div(value, self.power()?)?;
            } else if self.take("/") {
                let divisor = self.power()?;
                value = exact_div(value, divisor)?;
            } else if self.take("%") {
                value = modulo(value, self.power()?)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn power(&mut self) -> Result<i64, Unknown> {
        if self.take("-") {
            return self.power_of_atom()?.checked_neg().ok_or_else(overflow);
        }
        self.power_of_atom()
    }

    fn power_of_atom(&mut self) -> Result<i64, Unknown> {
        let base = self.atom()?;
        if self.take("**") {
            let exponent = u32::try_from(self.atom()?).map_err(|_| self.wrong())?;
            return base.checked_pow(exponent).ok_or_else(overflow);
        }
        Ok(base)
    }

    fn atom(&mut self) -> Result<i64, Unknown> {
        if self.take("(") {
            let value = self.sum()?;
            return if self.take(")") { Ok(value) } else { Err(self.wrong()) };
        }
        self.space();
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let word = &rest[..length];
        if word.is_empty() {
            return Err(self.wrong());
        }
        self.at += length;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().map_err(|_| overflow());
        }
        if word == "Symbol" && self.take("(") {
            let quote = ["'", "\""].into_iter().find(|quote| self.take(quote)).ok_or_else(|| self.wrong())?;
            let rest = &self.text[self.at..];
            let name = rest.split(quote).next().unwrap_or_default();
            let close = rest.find(')').ok_or_else(|| self.wrong())?;
            self.at += close + 1;
            return self.symbol(name);
        }
        if !self.take("(") {
            return self.symbol(word);
        }
        let mut operands = Vec::new();
        while !self.take(")") {
            operands.push(self.sum()?);
            self.take(",");
        }
        apply(word, &operands)?.ok_or_else(|| Unknown::Foreign(format!("the function {word} of extents is not known")))
    }

    fn symbol(&self, name: &str) -> Result<i64, Unknown> {
        let bound = self.bindings.get(name).ok_or_else(|| Unknown::Symbol(name.to_string()))?;
        i64::try_from(bound).map_err(|_| overflow())
    }
}

/// A function of extents, or `None` where it is not known.
fn apply(name: &str, x: &[i64]) -> Result<Option<i64>, Unknown> {
    let fold = |combine: fn(i64, i64) -> Option<i64>| {
        let (first, rest) = x.split_first()?;
        rest.iter().try_fold(*first, |total, &next| combine(total, next))
    };
    Ok(Some(match (name, x) {
        ("Integer" | "Identity", [value]) => *value,
        ("Add", _) => fold(i64::checked_add).ok_or_else(overflow)?,
        ("Mul", _) => fold(i64::checked_mul).ok_or_else(overflow)?,
        ("Max", [_, ..]) => x.iter().copied().max().unwrap_or_default(),
        ("Min", [_, ..]) => x.iter().copied().min().unwrap_or_default(),
        ("FloorDiv" | "CleanDiv", [a, b]) => floor_div(*a, *b)?,
        ("CeilDiv", [a, b]) => {
            floor_div(a.checked_neg().ok_or_else(overflow)?, *b)?.checked_neg().ok_or_else(overflow)?
        }
        ("Mod" | "PythonMod", [a, b]) => modulo(*a, *b)?,
        ("Pow" | "PowByNatural", [a, b]) => {
            let exponent = u32::try_from(*b).map_err(|_| overflow())?;
            a.checked_pow(exponent).ok_or_else(overflow)?
        }
        ("Abs", [a]) => a.checked_abs().ok_or_else(overflow)?,
        _ => return Ok(None),
    }))
}

fn zero_divisor() -> Unknown {
    Unknown::Wrong("an extent is divided by zero".into())
}

/// Quotient rounded down.
pub fn floor_div(a: i64, b: i64) -> Result<i64, Unknown> {
    if b == 0 {
        return Err(zero_divisor());
    }
    let quotient = a.checked_div(b).ok_or_else(overflow)?;
    Ok(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

/// Remainder with the sign of the divisor.
pub fn modulo(a: i64, b: i64) -> Result<i64, Unknown> {
    if b == 0 {
        return Err(zero_divisor());
    }
    let rest = a.checked_rem(b).ok_or_else(overflow)?;
    Ok(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
}

fn exact_div(a: i64, b: i64) -> Result<i64, Unknown> {
    match modulo(a, b)? {
        0 => floor_div(a, b),
        _ => Err(Unknown::Wrong(format!("{a} is not a multiple of {b}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_values() {
        let bindings = Bindings::new().bind("s77", 12).bind("s0", 5);
        let value = |text: &str| evaluate(text, &bindings);
        for (text, expected) in [
            ("Symbol('s77', positive=True, integer=True)", 12),
            ("Mul(Integer(2), Symbol('s77', positive=True, integer=True))", 24),
            ("2*s77 + 1", 25),
            ("s77 - 3*s0", -3),
            ("(s77 + 1)//2", 6),
            ("((s77*s0)//7)", 8),
            ("FloorDiv(s77, 5)", 2),
            ("-s0//2", -3),
            ("Max(1, s0 - 7)", 1),
            ("Mod(-1, s0)", 4),
            ("s0**2", 25),
            ("-1 + 2*Symbol('s0', integer=True)", 9),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        assert_eq!(value("s1 + 1"), Err(Unknown::Symbol("s1".into())));
        for text in ["", "2 +", "f(s0)", "1/0", "7/2", "9223372036854775807 + 1", "s0 s0", "'", "Symbol(", "Max("] {
            assert!(matches!(value(text), Err(Unknown::Wrong(_) | Unknown::Foreign(_))), "{text}");
        }
        assert!(matches!(value(&"(".repeat(10_000)), Err(Unknown::Wrong(_))));
        assert!(matches!(value(&"-".repeat(10_000)), Err(Unknown::Foreign(_))));
    }
}
