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

/// The tensors among operands, which a region takes as such; numbers are the same inside.
fn passed(items: &[Item]) -> Vec<ValueId> {
    let tensor = |item: &Item| if let Item::Tensor(value) = item { Some(*value) } else { None };
    items.iter().filter_map(tensor).collect()
}

/// A parameter of a region; one that stands for a single operand lies where that does.
fn param(s: &mut Site, block: BlockId, ty: TensorType, stands_for: Option<ValueId>) -> ValueId {
    let importer = &mut s.importer;
    let param = importer.graph.add_param(block, ty, "");
    importer.placements.grow(&importer.graph);
    if let Some(operand) = stands_for {
        importer.placements.alias(param, operand);
    }
    param
}

/// Operands as a region sees them: parameters in the place of tensors.
fn seen(s: &mut Site, block: BlockId, operands: &[Item]) -> Vec<Item> {
    let inside = operands.iter().map(|&operand| match operand {
        Item::Tensor(value) => {
            let ty = s.ty(value);
            Item::Tensor(param(s, block, ty, Some(value)))
        }
        other => other,
    });
    inside.collect()
}

/// Runs `body` with its instructions in a block.
fn within<'s, 'a, T>(
    s: &mut Site<'s, 'a>,
    block: BlockId,
    body: impl FnOnce(&mut Site<'s, 'a>) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let outer = std::mem::replace(&mut s.importer.block, block);
    let result = body(s);
    s.importer.block = outer;
    result
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
        let block = s.importer.graph.add_block();
        let inside = seen(s, block, &operands);
        let yields = within(s, block, |s| s.importer.inline(graph, &inside))?;
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
    control(s, Op::If { results, shapes }, &[&[predicate], passed(&operands).as_slice()].concat(), regions)
}

/// `while_loop(condition, body, carried, additional)`: the condition is asked before the first trip, and in each trip of
/// what it leaves.
fn repeat(s: &mut Site) -> Result<Vec<Item>, Stop> {
    let (condition, body) = (graph_at(s, 0)?, graph_at(s, 1)?);
    let (carried, additional) = (list(s, 2)?, list(s, 3)?);
    let inits = tensors(&carried)?;
    let first = condition_of(s, condition, &[carried.clone(), additional.clone()].concat())?;
    let trips = s.literal(crate::ir::Constant::scalar(DType::I64, i64::MAX as u64));
    let block = s.importer.graph.add_block();
    param(s, block, TensorType::scalar(DType::I64), None);
    let types: Vec<TensorType> = inits.iter().map(|&init| s.ty(init)).collect();
    let inside: Vec<Item> = types.into_iter().map(|ty| Item::Tensor(param(s, block, ty, None))).collect();
    let around = seen(s, block, &additional);
    let (again, carries) = within(s, block, |s| trip(s, condition, body, &inside, &around))?;
    close(s, block, [&[again], carries.as_slice()].concat());
    let operands = [&[trips, first], inits.as_slice(), &passed(&additional)].concat();
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
    repeated(s, trips, &inits, &xs, &additional, |s, carried, elements, around| {
        let inside: Vec<Item> = carried.iter().chain(elements).map(|&value| Item::Tensor(value)).collect();
        let yields = s.importer.inline(body, &[inside.as_slice(), around].concat())?;
        tensors(&yields)
    })
}

/// A scan over sequences: from the carried values, one element of each sequence and what every trip sees to the next
/// carried values and one element of each result. Results are the last carried values, then the stacked ones.
fn repeated<'s, 'a>(
    s: &mut Site<'s, 'a>,
    trips: usize,
    inits: &[ValueId],
    sequences: &[ValueId],
    additional: &[Item],
    body: impl FnOnce(&mut Site<'s, 'a>, &[ValueId], &[ValueId], &[Item]) -> Result<Vec<ValueId>, Stop>,
) -> Result<Vec<Item>, Stop> {
    let mut elements = Vec::with_capacity(sequences.len());
    for &sequence in sequences {
        let mut ty = s.ty(sequence);
        if ty.shape.first() != Some(&trips) {
            return invalid(format!("a scan of {trips} trips over {ty}"));
        }
        ty.shape.remove(0);
        elements.push(ty);
    }
    let block = s.importer.graph.add_block();
    param(s, block, TensorType::scalar(DType::I64), None);
    let types: Vec<TensorType> = inits.iter().map(|&init| s.ty(init)).collect();
    let carried: Vec<ValueId> = types.into_iter().map(|ty| param(s, block, ty, None)).collect();
    let elements: Vec<ValueId> = elements.into_iter().map(|ty| param(s, block, ty, None)).collect();
    let around = seen(s, block, additional);
    let yields = within(s, block, |s| body(s, &carried, &elements, &around))?;
    let stacked: Vec<TensorType> = yields.iter().skip(inits.len()).map(|&value| s.ty(value)).collect();
    let (results, shapes) = stacked.into_iter().map(|ty| (ty.dtype, ty.shape)).unzip();
    close(s, block, yields);
    let op = Op::Scan { trips, carried: inits.len(), sequences: sequences.len(), results, shapes };
    control(s, op, &[inits, sequences, &passed(additional)].concat(), vec![block])
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
    let around: Vec<Item> = seen.iter().map(|&value| Item::Tensor(value)).collect();
    let items = repeated(s, trips, initial, &[sequence], &around, |s, carried, elements, around| {
        body(s, carried, elements[0], &passed(around))
    })?;
    tensors(&items)
}
