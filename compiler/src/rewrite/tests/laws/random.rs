//! All rules all over random programs of views, movement, reductions, updates and a few functions.
//!
//! Programs grow from their last value as a rule, so that views meet views and reads meet writes. Every application of every
//! rule to the program as it stands is evaluated on both sides.

use super::vary::Random;
use super::*;
use crate::types::dense_strides;

/// A program being written.
struct Program {
    text: String,
    /// Name, shape, and whether it is of floats.
    values: Vec<(String, Vec<usize>, bool)>,
    random: Random,
    constants: usize,
}

fn shown(shape: &[usize]) -> String {
    format!("[{}]", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

impl Program {
    fn new(seed: u64) -> Program {
        let mut program = Program { text: String::new(), values: Vec::new(), random: Random(seed), constants: 0 };
        let dtypes = ["f32", "f32", "i32", "i8"];
        let dtype = *program.random.one(&dtypes);
        for at in 0..3 {
            let rank = 1 + program.random.below(3);
            let shape: Vec<usize> = (0..rank).map(|_| *program.random.one(&[1, 2, 3, 4, 6])).collect();
            program.text.push_str(&format!(" input %x{at}: {dtype}{}\n", shown(&shape)));
            program.values.push((format!("%x{at}"), shape, dtype == "f32"));
        }
        program
    }

    fn pick(&mut self) -> (String, Vec<usize>, bool) {
        let back = if self.random.below(3) > 0 { 0 } else { self.random.below(self.values.len()) };
        self.values[self.values.len() - 1 - back].clone()
    }

    fn add(&mut self, line: String, shape: Vec<usize>, float: bool) {
        let name = format!("%v{}", self.values.len());
        self.text.push_str(&format!(" {name} = {line}\n"));
        self.values.push((name, shape, float));
    }

    fn constant(&mut self, shape: &[usize], elements: &[i64]) -> String {
        let name = format!("%i{}", self.constants);
        self.constants += 1;
        let list: Vec<String> = elements.iter().map(i64::to_string).collect();
        // Declarations stand before their use wherever that is.
        self.text.push_str(&format!(" const {name}: i64{} = [{}]\n", shown(shape), list.join(", ")));
        name
    }

    /// A slice of an axis: start, step, length.
    fn cut(&mut self, extent: usize) -> (i64, i64, usize) {
        let len = 1 + self.random.below(extent);
        let most = if len == 1 { 1 } else { (extent - 1) / (len - 1) };
        let step = 1 + if self.random.below(2) == 0 { 0 } else { self.random.below(most) };
        let start = self.random.below(extent - step * (len - 1));
        match self.random.below(4) {
            0 => ((start + step * (len - 1)) as i64, -(step as i64), len),
            _ => (start as i64, step as i64, len),
        }
    }

    fn slice(&mut self, (x, shape, float): (String, Vec<usize>, bool)) {
        let axis = self.random.below(shape.len());
        let (start, step, len) = self.cut(shape[axis]);
        let end = start + step * (len as i64 - 1) + step.signum();
        let mut own = shape;
        own[axis] = len;
        self.add(format!("slice {x} {{axis={axis}, start={start}, end={end}, step={step}}}"), own, float);
    }

    fn step(&mut self) {
        let (x, shape, float) = self.pick();
        if shape.is_empty() || shape.len() > 4 || shape.iter().product::<usize>() > 600 {
            let whole = shape.iter().product::<usize>();
            self.add(format!("reshape {x} {{shape=[{whole}]}}"), vec![whole], float);
            if whole > 40 {
                let last = self.values.last().cloned().expect("just added");
                self.slice(last);
            }
            return;
        }
        let axis = self.random.below(shape.len());
        let zero = if float { "0.0" } else { "0" };
        match self.random.below(20) {
            0..=3 => self.slice((x, shape, float)),
            4 => {
                let mut axes: Vec<usize> = (0..shape.len()).collect();
                for at in (1..axes.len()).rev() {
                    axes.swap(at, self.random.below(at + 1));
                }
                let own = axes.iter().map(|&axis| shape[axis]).collect();
                self.add(format!("permute {x} {{axes={}}}", shown(&axes)), own, float);
            }
            5 => {
                // Two axes joined, one split off, or one of extent 1 put in.
                let mut own = shape;
                if own.len() > 1 && self.random.below(2) == 0 {
                    let at = self.random.below(own.len() - 1);
                    let next = own.remove(at + 1);
                    own[at] *= next;
                } else if own[axis] % 2 == 0 {
                    own[axis] /= 2;
                    own.insert(axis, 2);
                } else {
                    own.insert(axis, 1);
                }
                self.add(format!("reshape {x} {{shape={}}}", shown(&own)), own, float);
            }
            6 => {
                let mut own = shape;
                own.iter_mut().for_each(|extent| {
                    if *extent == 1 {
                        *extent = 2;
                    }
                });
                own.insert(0, 2);
                self.add(format!("expand {x} {{shape={}}}", shown(&own)), own, float);
            }
            7 | 8 => {
                let fitting: Vec<(String, Vec<usize>, bool)> = self
                    .values
                    .iter()
                    .filter(|(_, other, kind)| {
                        *kind == float
                            && other.len() == shape.len()
                            && (0..shape.len()).all(|at| at == axis || other[at] == shape[at])
                    })
                    .cloned()
                    .collect();
                let mut own = shape.clone();
                let mut names = vec![x];
                for _ in 0..1 + self.random.below(2) {
                    let (name, other, _) = self.random.one(&fitting).clone();
                    own[axis] += other[axis];
                    names.push(name);
                }
                self.add(format!("concat {} {{axis={axis}}}", names.join(", ")), own, float);
            }
            9 => {
                let pads = |random: &mut Random| -> Vec<usize> { shape.iter().map(|_| random.below(3)).collect() };
                let (before, after) = (pads(&mut self.random), pads(&mut self.random));
                let own = (0..shape.len()).map(|at| shape[at] + before[at] + after[at]).collect();
                self.add(format!("pad {x}, {zero} {{before={}, after={}}}", shown(&before), shown(&after)), own, float);
            }
            10 | 11 => {
                let function = *self.random.one(&["sum", "amax", "amin"]);
                let axes: Vec<usize> = (0..shape.len()).filter(|at| *at == axis || self.random.below(3) == 0).collect();
                let own = (0..shape.len()).map(|at| if axes.contains(&at) { 1 } else { shape[at] }).collect();
                let axes = shown(&axes);
                self.add(format!("reduce {x} {{function={function}, axes={axes}, keepdim=true}}"), own, float);
            }
            12 => {
                let (start, step, len) = self.cut(shape[axis]);
                let mut elements: Vec<i64> = (0..len as i64).map(|k| start + k * step).collect();
                match self.random.below(3) {
                    0 => elements.iter_mut().for_each(|index| *index -= shape[axis] as i64),
                    1 => elements.reverse(),
                    _ => elements.push(0),
                }
                let mut own = shape.clone();
                own[axis] = elements.len();
                let index = self.constant(&[elements.len()], &elements);
                self.add(format!("gather {x}, {index} {{axis={axis}}}"), own, float);
            }
            13..=17 => self.update((x, shape, float)),
            18 => {
                let (start, _, len) = self.cut(shape[axis]);
                let start = start.min((shape[axis] - len) as i64);
                let mut own = shape;
                own[axis] = len;
                self.add(format!("dynamic_slice {x}, i64({start}) {{axes=[{axis}], sizes=[{len}]}}"), own, float);
            }
            _ => {
                let line = match self.random.below(5) {
                    0 => format!("neg {x}"),
                    1 => format!("max {x}, {zero}"),
                    2 => format!("add {x}, {x}"),
                    3 => format!("abs {x}"),
                    _ => format!("sub {x}, {x}"),
                };
                self.add(line, shape, float);
            }
        }
    }

    /// A write of a box of `x`: of another value that fits, of a box of `x` itself, or of a new one.
    fn update(&mut self, (x, shape, float): (String, Vec<usize>, bool)) {
        let strides = dense_strides(&shape);
        let mut cuts: Vec<(i64, i64, usize)> = shape.iter().map(|&extent| (0, 1, extent)).collect();
        for _ in 0..1 + self.random.below(2) {
            let axis = self.random.below(shape.len());
            cuts[axis] = self.cut(shape[axis]);
        }
        let own: Vec<usize> = cuts.iter().map(|cut| cut.2).collect();
        let offset: i64 = cuts.iter().zip(&strides).map(|(cut, stride)| cut.0 * stride).sum();
        let stepped: Vec<String> =
            cuts.iter().zip(&strides).map(|(cut, stride)| (cut.1 * stride).to_string()).collect();
        let value = match self.random.below(3) {
            0 => self
                .values
                .iter()
                .rfind(|(_, other, kind)| *other == own && *kind == float)
                .map(|found| found.0.clone()),
            1 => None,
            _ => {
                let mut of = (x.clone(), shape.clone());
                for (axis, &(start, step, len)) in cuts.iter().enumerate() {
                    if len != of.1[axis] || step != 1 {
                        let end = start + step * (len as i64 - 1) + step.signum();
                        of.1[axis] = len;
                        let line = format!("slice {} {{axis={axis}, start={start}, end={end}, step={step}}}", of.0);
                        self.add(line, of.1.clone(), float);
                        of.0 = self.values.last().expect("just added").0.clone();
                    }
                }
                Some(of.0)
            }
        };
        let value = value.unwrap_or_else(|| {
            let source = self.values.iter().find(|(_, _, kind)| *kind == float).expect("an input").clone();
            // One element of an input, repeated: a value nobody has written yet.
            let one: usize = source.1.iter().product();
            self.add(format!("reshape {} {{shape=[{one}]}}", source.0), vec![one], float);
            let flat = self.values.last().expect("just added").0.clone();
            let at = self.random.below(one);
            self.add(format!("slice {flat} {{axis=0, start={at}, end={}, step=1}}", at + 1), vec![1], float);
            let one = self.values.last().expect("just added").0.clone();
            self.add(format!("expand {one} {{shape={}}}", shown(&own)), own.clone(), float);
            self.values.last().expect("just added").0.clone()
        });
        let strides = stepped.join(", ");
        self.add(format!("update {x}, {value} {{offset={offset}, strides=[{strides}]}}"), shape, float);
    }

    fn finish(self) -> String {
        let last = &self.values.last().expect("an input").0;
        format!("graph random {{\n{} return {last}\n}}\n", self.text)
    }
}

fn program(seed: u64) -> String {
    let mut program = Program::new(seed);
    for _ in 0..14 {
        program.step();
    }
    program.finish()
}

/// Rules that such programs are made for.
const EXPECTED: &[&str] = &[
    "reshape-reshape",
    "permute-permute",
    "expand-expand",
    "slice-slice",
    "concat-concat",
    "slice-concat",
    "slice-concat-parts",
    "slice-pad",
    "slice-expand",
    "slice-permute",
    "slice-reshape",
    "pad-pad",
    "pad-nothing",
    "reduce-one",
    "reduce-reduce-integer",
    "extremum-extremum",
    "reduce-permute-integer",
    "extremum-permute",
    "extremum-expand",
    "sum-expand-integer",
    "gather-slice",
    "dynamic-slice",
    "read-update",
    "update-whole",
    "update-same",
    "update-overwritten",
    "updates-concat",
];

#[test]
fn both_sides_agree_all_over_random_programs() {
    let numbers: Vec<usize> = (0..rules::all().len()).filter(|&at| rules::all()[at].phase.is_optional()).collect();
    let mut applied: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong: Vec<String> = Vec::new();
    for seed in 0..programs() {
        let text = program(seed);
        for application in applications(&graph(&text), &numbers, &[seed]) {
            let rule = &rules::all()[application.rule];
            for (left, right) in &application.sides {
                *applied.entry(rule.name).or_default() += 1;
                if let Some(why) = disagreement(rule, left, right) {
                    wrong.push(format!("{} in program {seed}: {why}\n{text}", rule.name));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them\n{}",
        wrong.len(),
        wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n")
    );
    for name in EXPECTED {
        let times = applied.get(name).copied().unwrap_or(0);
        assert!(times >= 3, "{name} applied {times} times: {applied:?}");
    }
}

fn programs() -> u64 {
    2000 * super::vary::hunt()
}
