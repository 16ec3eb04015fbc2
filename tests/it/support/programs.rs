//! Programs made of views and writes, from a list of numbers.
//!
//! Every list is a program: each step takes what it needs from its numbers and is left out where the numbers ask for
//! something impossible. Shrinking the list shrinks the program, so a failing one is small.

use situ::eval::{Tensor, element};
use situ::ir::layout::placements;
use situ::ir::{BlockId, Constant, ConstantData, Graph, Location, StateView, ValueId, verify::mistakes};
use situ::ops::{Op, PointFn};
use situ::types::{DType, InputMode, Layout, TensorType};

/// Numbers that choose one step.
pub type Step = [u8; 6];

/// A verified program over small inputs of every mode; every value is an output. The inputs are `f32`, or integers of several
/// sizes: bytes written as another dtype are bytes of integers, because arithmetic on a float made of odd bytes may give
/// any NaN.
pub fn program(steps: &[Step]) -> Graph {
    let mut graph = Graph::new("generated");
    let integers = steps.first().is_some_and(|step| step[5] % 2 == 1);
    let dtypes = if integers { [DType::I32, DType::I64, DType::U8, DType::I16] } else { [DType::F32; 4] };
    graph.add_input("state", InputMode::InOut, TensorType::new(dtypes[0], [3, 4]));
    graph.add_input("cube", InputMode::InOut, TensorType::new(dtypes[1], [2, 3, 2]));
    graph.add_input("gift", InputMode::Donate, TensorType::new(dtypes[2], [6]));
    graph.add_input("given", InputMode::Read, TensorType::new(dtypes[3], [2, 1]));
    comes_with_state(&mut graph, steps.iter().flatten().map(|&number| usize::from(number)).sum());
    for &step in steps {
        attempt(&mut graph, step, take_anywhere);
    }
    imported(&mut graph);
    let values: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    for value in values {
        graph.add_output(format!("out{}", value.0), value);
    }
    graph
}

/// Gives the `inout` inputs of a program initial state and names for parts of it; `choice` says which.
pub fn comes_with_state(graph: &mut Graph, choice: usize) {
    // Rows, a column backwards, elements that repeat, one element, none.
    let parts: [(&[usize], &[i64], i64); 5] =
        [(&[1, 2], &[2, 1], 1), (&[2], &[-2], 3), (&[2, 3], &[0, 1], 1), (&[], &[], 2), (&[0, 3], &[3, 1], 4)];
    for at in 0..graph.inputs.len() {
        let ty = graph.ty(graph.inputs[at].value).clone();
        let input = &mut graph.inputs[at];
        let chosen = choice + 3 * at;
        if input.mode != InputMode::InOut || chosen.is_multiple_of(4) {
            continue;
        }
        let element = |i: usize| element(ty.dtype, i as f64 - 2.0).to_le_bytes()[..ty.dtype.size()].to_vec();
        let data = match chosen % 3 {
            0 => ConstantData::Splat(situ::eval::element(ty.dtype, 3.0)),
            _ => ConstantData::Bytes((0..ty.len()).flat_map(element).collect::<Vec<u8>>().into()),
        };
        let name = input.name.clone();
        for (number, (shape, strides, offset)) in parts.into_iter().enumerate().skip(chosen % 5) {
            let layout = Layout { offset, shape: shape.to_vec(), strides: strides.to_vec() };
            input.views.push(StateView { name: format!("{name}.\"{number}\""), layout });
        }
        input.initial = Some(Constant { name, ty, data });
    }
}

/// Lets some instructions say where they come from, in all kinds of words.
pub fn imported(graph: &mut Graph) {
    let words = ["zoo.py:98 in blocks.0", "\"quoted\\\" \u{7}\n}", "// no comment", "ünïcode {a=1}"];
    for (at, inst) in graph.insts.iter_mut().enumerate().filter(|(at, _)| at % 3 != 0) {
        inst.location = Location { text: words[at / 3 % words.len()].to_string(), line: 0, column: 0 };
    }
}

/// A program of views alone, over one input of 48 bytes.
pub fn views(dtype: DType, steps: &[Step]) -> Graph {
    let mut graph = Graph::new("views");
    let shape = match dtype.size() {
        1 => vec![6, 8],
        2 => vec![2, 3, 4],
        4 => vec![3, 4],
        _ => vec![6],
    };
    graph.add_input("x", InputMode::Read, TensorType::new(dtype, shape));
    for &step in steps {
        attempt(&mut graph, step, |graph, step| {
            let kind = [0, 0, 0, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 21, 22, 22, 23, 24, 25, 26][usize::from(step[0]) % 20];
            take_anywhere(graph, [kind, step[1], step[2], step[3], step[4], step[5]])
        });
    }
    graph
}

/// Appends what a step asks for to the body, where every value is visible.
fn take_anywhere(graph: &mut Graph, step: Step) -> Option<()> {
    let scope: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    take(graph, Graph::BODY, &scope, step)
}

/// A step may leave a graph that does not verify, such as a write of an expanded view; it is taken back.
fn attempt(graph: &mut Graph, step: Step, take: impl Fn(&mut Graph, Step) -> Option<()>) {
    let before = graph.clone();
    if take(graph, step).is_none() || !mistakes(graph).is_empty() {
        *graph = before;
    }
}

/// Small integers as the inputs of `graph`, so that sums are exact and mistakes easy to read.
pub fn inputs(graph: &Graph) -> Vec<Tensor> {
    graph
        .inputs
        .iter()
        .enumerate()
        .map(|(place, input)| {
            let ty = graph.ty(input.value).clone();
            let value = |i: usize| (i as f64 + 1.0 + 100.0 * place as f64) * if i % 3 == 2 { -1.0 } else { 1.0 };
            let size = ty.dtype.size();
            let bits = |i: usize| element(ty.dtype, value(i)).to_le_bytes();
            let bytes: Vec<u8> = match ty.dtype {
                // Conditions are true and false in turn, counts are 2.
                DType::Bool => (0..ty.len()).map(|i| u8::from((i + place) % 2 == 0)).collect(),
                DType::I64 if ty.rank() == 0 => 2i64.to_le_bytes().to_vec(),
                _ => (0..ty.len()).flat_map(|i| bits(i)[..size].to_vec()).collect(),
            };
            Tensor::new(ty, bytes)
        })
        .collect()
}

/// Numbers of a step, one after the other.
struct Choices(Step, usize);

impl Choices {
    fn next(&mut self, below: usize) -> usize {
        self.1 += 1;
        if below == 0 { 0 } else { usize::from(self.0[(self.1 - 1) % 6]) % below }
    }
}

/// Appends what a step asks for to a block in which the values of `scope` are visible.
pub fn take(graph: &mut Graph, block: BlockId, scope: &[ValueId], step: Step) -> Option<()> {
    let mut choices = Choices(step, 0);
    let kind = choices.next(28);
    // Later values are chosen more often: chains of views get long.
    let count = scope.len();
    let back = choices.next(2 * count);
    let x = scope[if back < count { back } else { count - 1 - (back - count) / 4 }];
    let ty = graph.ty(x).clone();
    let rank = ty.rank();
    let axis = choices.next(rank);
    let (op, mutates) = match kind {
        0 | 1 if rank > 0 => {
            let extent = ty.shape[axis] as i64;
            let (start, len) = (choices.next(ty.shape[axis].max(1)) as i64, choices.next(4) as i64);
            let step = [1, 1, 2, -1, -2][choices.next(5)];
            let end = if step > 0 { (start + len * step).min(extent) } else { (start + len * step).max(-1) };
            (Op::Slice { axis, start, end, step }, false)
        }
        2 if rank > 0 => (Op::Select { axis, index: choices.next(ty.shape[axis]) }, false),
        3 if rank > 1 => {
            let mut axes: Vec<usize> = (0..rank).collect();
            axes.swap(axis, choices.next(rank));
            axes.rotate_left(choices.next(rank));
            (Op::Permute { axes }, false)
        }
        4 | 5 => {
            let shape = other_shape(&ty.shape, &mut choices)?;
            (if kind == 4 { Op::Reshape { shape } } else { Op::View { shape } }, false)
        }
        6 => {
            let mut shape = ty.shape.clone();
            let wide = 1 + choices.next(3);
            match shape.get_mut(axis) {
                Some(extent) if *extent == 1 => *extent = wide,
                _ => shape.insert(0, wide),
            }
            (Op::Expand { shape }, false)
        }
        7 if rank > 0 && ty.shape[axis] == 1 => (Op::Squeeze { axes: vec![axis] }, false),
        7 | 8 => (Op::Unsqueeze { axes: vec![choices.next(rank + 1)] }, false),
        9 if rank > 0 => {
            let first = choices.next(ty.shape[axis] + 1);
            (Op::Split { axis, sizes: vec![first, ty.shape[axis] - first] }, false)
        }
        10 => (Op::Point([PointFn::Neg, PointFn::Relu, PointFn::Abs][choices.next(3)]), false),
        11 => (Op::Point([PointFn::Add, PointFn::Sub, PointFn::Max][choices.next(3)]), false),
        12 | 13 => (Op::Point([PointFn::Neg, PointFn::Relu, PointFn::Abs][choices.next(3)]), true),
        14 | 15 => (Op::Point([PointFn::Add, PointFn::Sub, PointFn::Mul][choices.next(3)]), true),
        16 | 17 => (Op::Copy {}, true),
        18 if rank > 0 => {
            // A sum depends on the order in which it is taken, a largest zero on the one that comes first; where the
            // largest element is does not.
            let [largest, keepdim, last] = [0; 3].map(|_| choices.next(2) == 0);
            (Op::ArgReduce { largest, axis, keepdim, last }, false)
        }
        19 => (Op::Contiguous {}, false),
        20 if rank > 0 => {
            let size = choices.next(ty.shape[axis].min(4) + 1);
            (Op::Unfold { axis, size, step: 1 + choices.next(4) }, false)
        }
        21 | 22 => {
            // A view of the whole storage, or of the operand's own elements by number.
            let axes = choices.next(3);
            let shape: Vec<usize> = (0..axes).map(|_| 1 + choices.next(3)).collect();
            let strides: Vec<usize> = shape.iter().map(|_| choices.next(5)).collect();
            let start = choices.next(6);
            match kind {
                21 => (Op::AsStrided { shape, strides, offset: (start > 0).then(|| start - 1) }, false),
                _ => {
                    let back = |at: usize| if choices.next(2) == 0 { -(at as i64) } else { at as i64 };
                    let strides = strides.into_iter().map(back).collect();
                    (Op::Strided { shape, strides, offset: start }, false)
                }
            }
        }
        23 if rank > 1 => {
            let other = (axis + 1 + choices.next(rank - 1)) % rank;
            (Op::Diagonal { offset: choices.next(5) as i64 - 2, axis1: axis, axis2: other }, false)
        }
        24..=26 => {
            let dtypes = [DType::I8, DType::U8, DType::I16, DType::I32, DType::I64];
            let to = dtypes[choices.next(5)];
            (if kind == 26 { Op::Bitcast { to } } else { Op::ViewDtype { to } }, false)
        }
        _ => return None,
    };
    let root = placements(graph).root(x);
    if mutates && graph.ty(root).dtype.is_float() && !ty.dtype.is_float() {
        return None;
    }
    let mut operands = vec![x];
    if op.row().arity.0 == 2 {
        // The first of a few candidates that broadcasts; a scalar always does.
        let start = choices.next(count);
        let fits = |&value: &ValueId| op.infer(&[ty.clone(), graph.ty(value).clone()]).is_ok();
        let candidates = (0..count).map(|i| scope[(start + i) % count]);
        operands.push(candidates.take(8).find(fits)?);
    }
    // Elements stay few, so that thousands of programs run in a second.
    let id = graph.append(block, op, &operands, Location::default()).ok()?;
    graph.insts[id.index()].mutates = mutates;
    let results = graph.inst(id).results.clone();
    results.iter().all(|&result| graph.ty(result).len() <= 64 && graph.ty(result).rank() <= 5).then_some(())
}

/// Another shape with as many elements: two axes joined, one split, or all joined.
fn other_shape(shape: &[usize], choices: &mut Choices) -> Option<Vec<usize>> {
    let mut shape = shape.to_vec();
    let elements: usize = shape.iter().product();
    match choices.next(3) {
        0 => Some(vec![elements]),
        1 if shape.len() > 1 => {
            let axis = choices.next(shape.len() - 1);
            let joined = shape[axis] * shape[axis + 1];
            shape.splice(axis..axis + 2, [joined]);
            Some(shape)
        }
        _ if !shape.is_empty() => {
            let axis = choices.next(shape.len());
            let divisor = [2, 3][choices.next(2)];
            let extent = shape[axis];
            if extent == 0 || !extent.is_multiple_of(divisor) {
                return None;
            }
            let parts = if choices.next(2) == 0 { [divisor, extent / divisor] } else { [extent / divisor, divisor] };
            shape.splice(axis..=axis, parts);
            Some(shape)
        }
        _ => None,
    }
}
