//! Random programs in functional form: branches, loops and scans, nested, over values of few types, so that carries are
//! swapped, shifted, turned, equal, unchanged and unused as a matter of course. Only functions that every kernel computes
//! exactly occur, so that results can be compared bit for bit.

/// Numbers that depend on the seed alone (Steele, Lea and Flood, *SplitMix*, 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// `f32[4]`
    Vector,
    /// `f32[2, 2]`
    Matrix,
    /// `f32[3, 4]`
    Sequence,
    /// `i64[]`
    Count,
    /// `bool[]`
    Truth,
}

use Type::{Count, Matrix, Sequence, Truth, Vector};

type Scope = Vec<(String, Type)>;

struct Writer {
    numbers: Numbers,
    text: String,
    names: usize,
    /// Instructions that may still be written.
    left: usize,
}

/// A program; the same for the same seed.
pub fn program(seed: u64) -> String {
    let mut writer = Writer { numbers: Numbers(seed), text: String::new(), names: 0, left: 24 };
    writer.text.push_str(
        "graph random {\n  input %x: f32[4]\n  donate %d: f32[4]\n  inout %s: f32[4]\n  inout %m: f32[2, 2]\n  \
         input %q: f32[3, 4]\n  inout %r: f32[3, 4]\n  input %n: i64[]\n  input %c: bool[]\n  \
         const %w: f32[4] = [1.5, -2.0, 0.25, 3.0]\n",
    );
    let names = [("x", Vector), ("d", Vector), ("s", Vector), ("m", Matrix), ("q", Sequence), ("r", Sequence)];
    let scalars = [("n", Count), ("c", Truth), ("w", Vector)];
    let mut scope: Scope = names.iter().chain(&scalars).map(|&(name, ty)| (format!("%{name}"), ty)).collect();
    let count = 3 + writer.numbers.below(5);
    writer.block(&mut scope, count, 0);
    for (name, ty) in [("s", Vector), ("m", Matrix), ("r", Sequence)] {
        let value = writer.of(&scope, ty, 3);
        writer.line(0, &format!("final %{name} = {value}"));
    }
    let results: Vec<String> = [Vector, Sequence, Matrix].map(|ty| writer.of(&scope, ty, 3)).to_vec();
    writer.line(0, &format!("return {}", results.join(", ")));
    writer.text.push_str("}\n");
    writer.text
}

impl Writer {
    fn line(&mut self, depth: usize, line: &str) {
        self.text.push_str(&"  ".repeat(depth + 1));
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("%v{}", self.names)
    }

    /// A value of a type; every scope has one of each. One of the `newest`, mostly, so that what is computed is used.
    fn of(&mut self, scope: &Scope, ty: Type, newest: usize) -> String {
        let all: Vec<&String> = scope.iter().filter(|(_, other)| *other == ty).map(|(name, _)| name).collect();
        let from = if self.numbers.one_in(3) { 0 } else { all.len().saturating_sub(newest) };
        all[from + self.numbers.below(all.len() - from)].clone()
    }

    fn block(&mut self, scope: &mut Scope, count: usize, depth: usize) {
        for _ in 0..count {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            if depth < 3 && self.numbers.one_in(3) {
                match self.numbers.below(3) {
                    0 => self.branch(scope, depth),
                    1 => self.repeat(scope, depth),
                    _ => self.scan(scope, depth),
                }
            } else {
                self.op(scope, depth);
            }
        }
    }

    fn op(&mut self, scope: &mut Scope, depth: usize) {
        let result = self.name();
        let ty = [Vector, Vector, Vector, Matrix, Matrix, Sequence, Count, Truth][self.numbers.below(8)];
        let (a, b) = (self.of(scope, ty, 4), self.of(scope, ty, 4));
        let binary = ["add", "sub", "mul", "maximum", "minimum"][self.numbers.below(3)];
        let line = match (ty, self.numbers.below(8)) {
            (Count, 0..4) => format!("{binary} {a}, {b}"),
            (Count, _) => format!("add {a}, {}", self.numbers.below(3)),
            (Truth, 0..4) => {
                let count = self.of(scope, Count, 4);
                format!("lt {count}, {}", self.numbers.below(4))
            }
            (Truth, 4) => format!("xor {a}, {b}"),
            (Truth, _) => format!("not {a}"),
            (_, 0..3) => format!("{binary} {a}, {b}"),
            (_, 3) => format!("neg {a}"),
            (_, 4) => format!("mul {a}, 0.5"),
            (Vector, 5) => {
                let (low, high) = (self.name(), self.name());
                let at = 1 + self.numbers.below(3);
                self.line(depth, &format!("{low} = slice {a} {{axis=0, start=0, end={at}}}"));
                self.line(depth, &format!("{high} = slice {b} {{axis=0, start={at}, end=4}}"));
                format!("concat {high}, {low} {{axis=0}}")
            }
            (Vector, 6) => {
                let matrix = self.of(scope, Matrix, 4);
                format!("reshape {matrix} {{shape=[4]}}")
            }
            (Vector, _) => {
                let sequence = self.of(scope, Sequence, 4);
                format!("select {sequence} {{axis=0, index={}}}", self.numbers.below(3))
            }
            (Matrix, 5) => format!("permute {a} {{axes=[1, 0]}}"),
            (Matrix, 6) => {
                let vector = self.of(scope, Vector, 4);
                format!("reshape {vector} {{shape=[2, 2]}}")
            }
            (Matrix, _) => {
                let part = self.name();
                self.line(depth, &format!("{part} = slice {b} {{axis=1, start=0, end=1}}"));
                format!("update {a}, {part} {{offset={}, strides=[2, 1]}}", self.numbers.below(2))
            }
            (Sequence, 5) => {
                let vector = self.of(scope, Vector, 4);
                format!("add {a}, {vector}")
            }
            (Sequence, _) => format!("slice {a} {{axis=0, start=2, end=-1, step=-1}}"),
        };
        self.line(depth, &format!("{result} = {line}"));
        scope.push((result, ty));
    }

    /// Arguments for a region: one of each type and a few more, as `(parameter, value, type)`.
    fn arguments(&mut self, scope: &Scope, types: &[Type]) -> Vec<(String, String, Type)> {
        types.iter().map(|&ty| (self.name(), self.of(scope, ty, 4), ty)).collect()
    }

    fn types(&mut self, least: usize, most: usize) -> Vec<Type> {
        let count = least + self.numbers.below(most - least + 1);
        (0..count).map(|_| [Vector, Vector, Matrix, Sequence, Count, Truth][self.numbers.below(6)]).collect()
    }

    fn list(arguments: &[(String, String, Type)]) -> String {
        arguments.iter().map(|(param, value, _)| format!("{param} = {value}")).collect::<Vec<_>>().join(", ")
    }

    fn inner(arguments: &[(String, String, Type)]) -> Scope {
        arguments.iter().map(|(param, _, ty)| (param.clone(), *ty)).collect()
    }

    fn branch(&mut self, scope: &mut Scope, depth: usize) {
        let condition = self.of(scope, Truth, 2);
        let all = [&[Vector, Matrix, Sequence, Count, Truth][..], &self.types(0, 2)].concat();
        let arguments = self.arguments(scope, &all);
        let results = self.types(1, 3);
        let names: Vec<String> = results.iter().map(|_| self.name()).collect();
        self.line(depth, &format!("{} = if {condition} ({}) {{", names.join(", "), Self::list(&arguments)));
        for second in [false, true] {
            let mut inner = Self::inner(&arguments);
            if second {
                for (name, _) in &mut inner {
                    *name = self.name();
                }
                let params: Vec<String> = inner.iter().map(|(name, _)| name.clone()).collect();
                self.line(depth, &format!("}} else ({}) {{", params.join(", ")));
            }
            let count = self.numbers.below(4);
            self.block(&mut inner, count, depth + 1);
            self.yields(&inner, &results, depth, None);
        }
        self.line(depth, "}");
        scope.extend(names.into_iter().zip(results));
    }

    fn yields(&mut self, inner: &Scope, results: &[Type], depth: usize, first: Option<String>) {
        let values = results.iter().map(|&ty| self.of(inner, ty, 3)).collect::<Vec<_>>();
        let all: Vec<String> = first.into_iter().chain(values).collect();
        self.line(depth + 1, &format!("yield {}", all.join(", ")));
    }

    fn repeat(&mut self, scope: &mut Scope, depth: usize) {
        let trips = if self.numbers.one_in(3) {
            // What a count has become by sums and products may be large, so it is bounded.
            let (some, few) = (self.of(scope, Count, 3), self.name());
            self.line(depth, &format!("{few} = rem {some}, 4"));
            few
        } else {
            self.numbers.below(4).to_string()
        };
        let condition = if self.numbers.one_in(3) { self.of(scope, Truth, 3) } else { "true".into() };
        let carried = self.types(1, 4);
        let carries = self.arguments(scope, &carried);
        let all = [&[Vector, Matrix, Sequence, Count, Truth][..], &self.types(0, 1)].concat();
        let arguments = self.arguments(scope, &all);
        let index = self.name();
        let names: Vec<String> = carried.iter().map(|_| self.name()).collect();
        self.line(
            depth,
            &format!(
                "{} = loop {trips}, {condition} ({index}, {}) ({}) {{",
                names.join(", "),
                Self::list(&carries),
                Self::list(&arguments)
            ),
        );
        let mut inner = Self::inner(&arguments);
        inner.push((index, Count));
        inner.extend(Self::inner(&carries));
        let count = self.numbers.below(5);
        self.block(&mut inner, count, depth + 1);
        let next = if self.numbers.one_in(2) { "true".to_string() } else { self.of(&inner, Truth, 3) };
        self.yields(&inner, &carried, depth, Some(next));
        self.line(depth, "}");
        scope.extend(names.into_iter().zip(carried));
    }

    fn scan(&mut self, scope: &mut Scope, depth: usize) {
        let carried = self.types(0, 3);
        let carries = self.arguments(scope, &carried);
        let slices = 1 + self.numbers.below(2);
        let sequences: Vec<(String, String)> =
            (0..slices).map(|_| (self.name(), self.of(scope, Sequence, 3))).collect();
        let arguments = self.arguments(scope, &[Vector, Matrix, Sequence, Count, Truth]);
        let stacks = 1 + self.numbers.below(2);
        let index = self.name();
        let names: Vec<String> = (0..carried.len() + stacks).map(|_| self.name()).collect();
        let begin: Vec<String> = std::iter::once(index.clone())
            .chain(carries.iter().map(|(param, value, _)| format!("{param} = {value}")))
            .collect();
        let over: Vec<String> = sequences.iter().map(|(param, value)| format!("{param} in {value}")).collect();
        self.line(
            depth,
            &format!(
                "{} = scan ({}) ({}) ({}) {{",
                names.join(", "),
                begin.join(", "),
                over.join(", "),
                Self::list(&arguments)
            ),
        );
        let mut inner = Self::inner(&arguments);
        inner.push((index, Count));
        inner.extend(sequences.into_iter().map(|(param, _)| (param, Vector)));
        inner.extend(Self::inner(&carries));
        let count = self.numbers.below(5);
        self.block(&mut inner, count, depth + 1);
        let elements = vec![Vector; stacks];
        self.yields(&inner, &[carried.clone(), elements].concat(), depth, None);
        self.line(depth, "}");
        scope.extend(names.into_iter().zip([carried, vec![Sequence; stacks]].concat()));
    }
}
