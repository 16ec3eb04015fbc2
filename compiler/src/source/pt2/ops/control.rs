//! Branches and loops, and regions of code that only set modes.

use super::super::import::Item;
use super::super::schema;
use super::super::site::{Number, Site, Stop, Value, Words, invalid, unsupported};
use super::ItemImport;
use crate::ir::{BlockId, ValueId};
use crate::ops::Op;
use crate::types::{DType, TensorType};

pub const ROWS: &[(&str, ItemImport)] = &[
    // Modes of autograd change nothing here.
    ("higher_order.wrap_with_set_grad_enabled", |s| inlined(s, 1)),
    ("higher_order.wrap_with_autocast", |s| {
        // device, dtype, enabled, ...: what autocast converts is not written in the program.
        if !matches!(s.positional.get(2), Some(Value::Number(enabled)) if enabled.as_f64() == 0.0) {
            return unsupported("a region of autocast, whose conversions the program does not hold");
        }
        let place = s.positional.iter().position(|value| matches!(value, Value::Graph(_)));
        inlined(s, place.unwrap_or_default())
    }),
    ("torch._C._set_grad_enabled aten._set_grad_enabled.default", |_| Ok(vec![Item::None])),
    ("higher_order.cond", branch),
    ("higher_order.while_loop", repeat),
    ("higher_order.scan", scan),
    ("higher_order.map_impl", |_| unsupported("map; torch.export writes it as scan when strict=False")),
];

/// The graph among the arguments at a place, its inputs what follows it.
fn inlined(s: &mut Site, place: usize) -> Result<Vec<Item>, Stop> {
    let graph = graph_at(s, place)?;
    let operands = s.positional[place + 1..].iter().map(item).collect::<Result<Vec<Item>, Stop>>()?;
    s.importer.inline(graph, &operands)
}

fn graph_at<'a>(s: &Site<'_, 'a>, place: usize) -> Result<&'a schema::Graph, Stop> {
    match s.positional.get(place) {
        Some(Value::Graph(graph)) => Ok(graph),
        _ => invalid(format!("argument {place} should be a graph")),
    }
}

fn item(value: &Value) -> Result<Item, Stop> {
    Ok(match value {
        Value::Tensor(value) => Item::Tensor(*value),
        Value::Number(number) => Item::Number(*number),
        Value::None => Item::None,
        _ => return invalid("a graph takes tensors and numbers"),
    })
}

/// A list of tensors and numbers, as operands of a graph.
fn list(s: &Site, place: usize) -> Result<Vec<Item>, Stop> {
    match s.positional.get(place) {
        None | Some(Value::None) => Ok(Vec::new()),
        Some(Value::Tensors(values)) => values
            .iter()
            .map(|value| value.map(Item::Tensor).ok_or(Stop::Invalid("a list holds None".into())))
            .collect(),
        Some(Value::Numbers(numbers)) => Ok(numbers.iter().map(|&number| Item::Number(number)).collect()),
        Some(_) => invalid(format!("argument {place} should be a list of tensors")),
    }
}

fn tensors(items: &[Item]) -> Result<Vec<ValueId>, Stop> {
    items
        .iter()
        .map(|item| match item {
            Item::Tensor(value) => Ok(*value),
            _ => unsupported("a number that changes from trip to trip"),
        })
        .collect()
}

/// A region whose parameters stand for the tensors among `operands`; numbers are the same inside.
fn region<'a>(
    s: &mut Site<'_, 'a>,
    graph: &'a schema::Graph,
    operands: &[Item],
    params: &[TensorType],
    aliases: bool,
) -> Result<(BlockId, Vec<Item>), Stop> {
    let importer = &mut s.importer;
    let block = importer.graph.add_block();
    let mut types = params.iter();
    let mut inside = Vec::with_capacity(operands.len());
    for &operand in operands {
        inside.push(match operand {
            Item::Tensor(value) => {
                let ty = types.next().cloned().unwrap_or_else(|| importer.graph.ty(value).clone());
                let param = importer.graph.add_param(block, ty, "");
                importer.placements.grow(&importer.graph);
                if aliases {
                    importer.placements.alias(param, value);
                }
                Item::Tensor(param)
            }
            other => other,
        });
    }
    let outer = std::mem::replace(&mut importer.block, block);
    let yields = importer.inline(graph, &inside);
    importer.block = outer;
    Ok((block, yields?))
}

/// Closes a region with what it yields.
fn close(s: &mut Site, block: BlockId, yields: Vec<ValueId>) {
    s.importer.graph.blocks[block.index()].yields = yields;
}

/// Appends the instruction that runs regions.
fn control(s: &mut Site, op: Op, operands: &[ValueId], regions: Vec<BlockId>) -> Result<Vec<Item>, Stop> {
    let types: Vec<TensorType> = operands.iter().map(|&operand| s.ty(operand)).collect();
    let results = op.infer(&types)?;
    let importer = &mut s.importer;
    let inst = importer.graph.append_typed(importer.block, op, operands, results, s.location.clone());
    importer.graph.insts[inst.index()].regions = regions;
    importer.placements.place(&importer.graph, inst);
    Ok(importer.graph.inst(inst).results.iter().map(|&result| Item::Tensor(result)).collect())
}

fn scalar_bool(s: &mut Site, value: ValueId) -> Result<ValueId, Stop> {
    if s.ty(value).len() != 1 {
        return invalid(format!("a condition is one element, found {}", s.ty(value)));
    }
    let value = s.reshape(value, &[])?;
    s.cast(value, DType::Bool)
}

/// `cond(predicate, true_graph, false_graph, operands)`.
fn branch(s: &mut Site) -> Result<Vec<Item>, Stop> {
    let graphs = [graph_at(s, 1)?, graph_at(s, 2)?];
    let operands = list(s, 3)?;
    let predicate = match s.positional.first() {
        Some(Value::Number(number)) => {
            // Known already: only one side is left.
            let graph = graphs[usize::from(number.as_f64() == 0.0)];
            return s.importer.inline(graph, &operands);
        }
        Some(Value::Tensor(value)) => *value,
        _ => return invalid("the condition should be a tensor or a bool"),
    };
    let predicate = scalar_bool(s, predicate)?;
    let mut regions = Vec::with_capacity(2);
    let mut yielded: Vec<Vec<ValueId>> = Vec::with_capacity(2);
    for graph in graphs {
        let (block, yields) = region(s, graph, &operands, &[], true)?;
        let yields = tensors(&yields)?;
        close(s, block, yields.clone());
        regions.push(block);
        yielded.push(yields);
    }
    let types = |yields: &[ValueId]| yields.iter().map(|&value| s.ty(value)).collect::<Vec<TensorType>>();
    let (then, otherwise) = (types(&yielded[0]), types(&yielded[1]));
    if then != otherwise {
        return invalid("both sides of a branch give the same types");
    }
    let (results, shapes) = then.into_iter().map(|ty| (ty.dtype, ty.shape)).unzip();
    let passed: Vec<ValueId> = operands
        .iter()
        .filter_map(|item| match item {
            Item::Tensor(value) => Some(*value),
            _ => None,
        })
        .collect();
    control(s, Op::If { results, shapes }, &[&[predicate], passed.as_slice()].concat(), regions)
}

/// `while_loop(condition, body, carried, additional)`: the condition is asked before the first trip, and in each trip of
/// what it leaves.
fn repeat(s: &mut Site) -> Result<Vec<Item>, Stop> {
    let (condition, body) = (graph_at(s, 0)?, graph_at(s, 1)?);
    let (carried, additional) = (list(s, 2)?, list(s, 3)?);
    let inits = tensors(&carried)?;
    let first = condition_of(s, condition, &[carried.clone(), additional.clone()].concat())?;
    let trips = s.literal(crate::ir::Constant::scalar(DType::I64, i64::MAX as u64));
    let args: Vec<ValueId> = additional
        .iter()
        .filter_map(|item| match item {
            Item::Tensor(value) => Some(*value),
            _ => None,
        })
        .collect();
    let importer = &mut s.importer;
    let block = importer.graph.add_block();
    importer.graph.add_param(block, TensorType::scalar(DType::I64), "");
    let mut inside = Vec::new();
    for &init in &inits {
        let ty = importer.graph.ty(init).clone();
        inside.push(Item::Tensor(importer.graph.add_param(block, ty, "")));
    }
    let mut seen = Vec::new();
    for &item in &additional {
        seen.push(match item {
            Item::Tensor(value) => {
                let ty = importer.graph.ty(value).clone();
                let param = importer.graph.add_param(block, ty, "");
                importer.placements.grow(&importer.graph);
                importer.placements.alias(param, value);
                Item::Tensor(param)
            }
            other => other,
        });
    }
    importer.placements.grow(&importer.graph);
    let outer = std::mem::replace(&mut importer.block, block);
    let trip = trip(s, condition, body, &inside, &seen);
    s.importer.block = outer;
    let (again, carries) = trip?;
    close(s, block, [&[again], carries.as_slice()].concat());
    let operands = [&[trips, first], inits.as_slice(), &args].concat();
    control(s, Op::Loop { carried: inits.len() }, &operands, vec![block])
}

/// One trip: the next carries, and whether there is another.
fn trip<'a>(
    s: &mut Site<'_, 'a>,
    condition: &'a schema::Graph,
    body: &'a schema::Graph,
    carried: &[Item],
    additional: &[Item],
) -> Result<(ValueId, Vec<ValueId>), Stop> {
    let next = s.importer.inline(body, &[carried, additional].concat())?;
    let again = condition_of(s, condition, &[next.as_slice(), additional].concat())?;
    Ok((again, tensors(&next)?))
}

fn condition_of<'a>(s: &mut Site<'_, 'a>, graph: &'a schema::Graph, operands: &[Item]) -> Result<ValueId, Stop> {
    match s.importer.inline(graph, operands)?.as_slice() {
        [Item::Tensor(value)] => scalar_bool(s, *value),
        [Item::Number(number)] => {
            let truth = Number::Bool(number.as_f64() != 0.0);
            Ok(s.scalar(truth, DType::Bool))
        }
        _ => invalid("a condition gives one value"),
    }
}

/// `scan(body, init, xs, additional)`: carries, then what each trip gives, stacked.
fn scan(s: &mut Site) -> Result<Vec<Item>, Stop> {
    let body = graph_at(s, 0)?;
    let (init, sequences, additional) = (list(s, 1)?, list(s, 2)?, list(s, 3)?);
    let (inits, xs) = (tensors(&init)?, tensors(&sequences)?);
    let Some(trips) = xs.first().and_then(|&x| s.shape(x).first().copied()) else {
        return unsupported("a scan over nothing");
    };
    let args: Vec<ValueId> = additional
        .iter()
        .filter_map(|item| match item {
            Item::Tensor(value) => Some(*value),
            _ => None,
        })
        .collect();
    let importer = &mut s.importer;
    let block = importer.graph.add_block();
    importer.graph.add_param(block, TensorType::scalar(DType::I64), "");
    let mut inside = Vec::new();
    for &init in &inits {
        let ty = importer.graph.ty(init).clone();
        inside.push(Item::Tensor(importer.graph.add_param(block, ty, "")));
    }
    for &x in &xs {
        let mut ty = importer.graph.ty(x).clone();
        ty.shape.remove(0);
        inside.push(Item::Tensor(importer.graph.add_param(block, ty, "")));
    }
    for &item in &additional {
        inside.push(match item {
            Item::Tensor(value) => {
                let ty = importer.graph.ty(value).clone();
                let param = importer.graph.add_param(block, ty, "");
                importer.placements.grow(&importer.graph);
                importer.placements.alias(param, value);
                Item::Tensor(param)
            }
            other => other,
        });
    }
    importer.placements.grow(&importer.graph);
    let outer = std::mem::replace(&mut importer.block, block);
    let yields = importer.inline(body, &inside);
    importer.block = outer;
    let yields = tensors(&yields?)?;
    let stacked: Vec<TensorType> = yields.iter().skip(inits.len()).map(|&value| s.ty(value)).collect();
    let (results, shapes) = stacked.into_iter().map(|ty| (ty.dtype, ty.shape)).unzip();
    close(s, block, yields);
    let op = Op::Scan { trips, carried: inits.len(), sequences: xs.len(), results, shapes };
    control(s, op, &[inits, xs, args].concat(), vec![block])
}

/// A scan whose body is written by a row: from the carried values, one element of the sequence and what every trip sees to
/// the next carried values and one element of each result. Results are the last carried values, then the stacked ones.
pub fn over_sequence(
    s: &mut Site,
    trips: usize,
    initial: &[ValueId],
    sequence: ValueId,
    seen: &[ValueId],
    body: impl FnOnce(&mut Site, &[ValueId], ValueId, &[ValueId]) -> Result<Vec<ValueId>, Stop>,
) -> Result<Vec<ValueId>, Stop> {
    let mut element = s.ty(sequence);
    element.shape.remove(0);
    let importer = &mut s.importer;
    let block = importer.graph.add_block();
    importer.graph.add_param(block, TensorType::scalar(DType::I64), "");
    let param = |importer: &mut super::super::import::Importer, ty: TensorType| importer.graph.add_param(block, ty, "");
    let mut carried = Vec::with_capacity(initial.len());
    for &value in initial {
        let ty = importer.graph.ty(value).clone();
        carried.push(param(importer, ty));
    }
    let x = param(importer, element);
    let mut inside = Vec::with_capacity(seen.len());
    for &value in seen {
        let ty = importer.graph.ty(value).clone();
        inside.push(param(importer, ty));
        importer.placements.grow(&importer.graph);
        importer.placements.alias(inside[inside.len() - 1], value);
    }
    importer.placements.grow(&importer.graph);
    let outer = std::mem::replace(&mut importer.block, block);
    let yields = body(s, &carried, x, &inside);
    s.importer.block = outer;
    let yields = yields?;
    let stacked: Vec<TensorType> = yields.iter().skip(initial.len()).map(|&value| s.ty(value)).collect();
    let (results, shapes) = stacked.into_iter().map(|ty| (ty.dtype, ty.shape)).unzip();
    close(s, block, yields);
    let op = Op::Scan { trips, carried: initial.len(), sequences: 1, results, shapes };
    let items = control(s, op, &[initial, &[sequence], seen].concat(), vec![block])?;
    tensors(&items)
}
