//! Numbers: extents and arithmetic on them, which are known when compiling; and checks, which then hold or do not.

use super::super::import::Item;
use super::super::site::{Number, Site, Stop, Value, Words, axis_of, invalid, unsupported};
use super::super::symbol::{self, Unknown};
use super::ItemImport;

pub const ROWS: &[(&str, ItemImport)] = &[
    ("aten.sym_size.int", |s| {
        let x = s.tensor("self")?;
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        Ok(vec![int(s.shape(x)[axis] as i64)])
    }),
    ("aten.sym_stride.int", |s| {
        let x = s.tensor("self")?;
        let axis = axis_of(s.int("dim")?, s.rank(x))?;
        Ok(vec![int(s.layout(x).strides[axis])])
    }),
    ("aten.sym_numel.default", |s| {
        let x = s.tensor("self")?;
        Ok(vec![int(s.ty(x).len() as i64)])
    }),
    ("aten.sym_storage_offset.default", |s| {
        let x = s.tensor("self")?;
        Ok(vec![int(s.layout(x).offset)])
    }),
    ("_operator.add", |s| arithmetic(s, |a, b| a.checked_add(b).ok_or(overflow()), |a, b| a + b)),
    ("_operator.sub", |s| arithmetic(s, |a, b| a.checked_sub(b).ok_or(overflow()), |a, b| a - b)),
    ("_operator.mul", |s| arithmetic(s, |a, b| a.checked_mul(b).ok_or(overflow()), |a, b| a * b)),
    ("_operator.floordiv", |s| arithmetic(s, |a, b| symbol::floor_div(a, b).map_err(stop), |a, b| (a / b).floor())),
    ("_operator.mod", |s| arithmetic(s, |a, b| symbol::modulo(a, b).map_err(stop), |a, b| a - (a / b).floor() * b)),
    ("_operator.truediv", |s| {
        let (a, b) = operands(s)?;
        Ok(vec![Item::Number(Number::Float(a.as_f64() / b.as_f64()))])
    }),
    ("_operator.pow math.pow torch.sym_pow", |s| {
        let (a, b) = operands(s)?;
        match (a, b) {
            (Number::Int(a), Number::Int(b)) if b >= 0 => {
                let power = u32::try_from(b).ok().and_then(|b| a.checked_pow(b)).ok_or(overflow())?;
                Ok(vec![int(power)])
            }
            (a, b) => Ok(vec![Item::Number(Number::Float(a.as_f64().powf(b.as_f64())))]),
        }
    }),
    ("_operator.neg", |s| {
        let x = unary(s)?;
        Ok(vec![match x {
            Number::Int(x) => int(x.checked_neg().ok_or(overflow())?),
            other => Item::Number(Number::Float(-other.as_f64())),
        }])
    }),
    ("_operator.eq", |s| compared(s, |a, b| a == b)),
    ("_operator.ne", |s| compared(s, |a, b| a != b)),
    ("_operator.lt", |s| compared(s, |a, b| a < b)),
    ("_operator.le", |s| compared(s, |a, b| a <= b)),
    ("_operator.gt", |s| compared(s, |a, b| a > b)),
    ("_operator.ge", |s| compared(s, |a, b| a >= b)),
    ("_operator.and_", |s| logic(s, |a, b| a && b)),
    ("_operator.or_", |s| logic(s, |a, b| a || b)),
    ("torch.sym_not", |s| {
        let x = unary(s)?;
        Ok(vec![Item::Number(Number::Bool(x.as_f64() == 0.0))])
    }),
    ("torch.sym_max", |s| arithmetic(s, |a, b| Ok(a.max(b)), f64::max)),
    ("torch.sym_min", |s| arithmetic(s, |a, b| Ok(a.min(b)), f64::min)),
    ("torch.sym_int math.trunc _operator.trunc", |s| whole(s, f64::trunc)),
    ("math.floor", |s| whole(s, f64::floor)),
    ("math.ceil", |s| whole(s, f64::ceil)),
    ("builtins.round", |s| whole(s, f64::round_ties_even)),
    ("torch.sym_float", |s| {
        let x = unary(s)?;
        Ok(vec![Item::Number(Number::Float(x.as_f64()))])
    }),
    ("math.sqrt torch._sym_sqrt", |s| {
        let x = unary(s)?;
        Ok(vec![Item::Number(Number::Float(x.as_f64().sqrt()))])
    }),
    // What these constrain are extents, which are bound by now.
    (
        "aten.sym_constrain_range.default aten.sym_constrain_range_for_size.default aten._assert_tensor_metadata.default \
         aten._functional_sym_constrain_range.default",
        |_| Ok(Vec::new()),
    ),
    ("aten._assert_scalar.default aten._functional_assert_scalar.default", |s| {
        let holds = s.flag("self")?;
        let message = s.text("assert_msg").unwrap_or("an assertion of the program");
        if holds { Ok(Vec::new()) } else { invalid(format!("with these extents {message:?} does not hold")) }
    }),
    ("aten._assert_async.msg aten._assert_async.default", |_| {
        unsupported("an assertion about data, which would end a run")
    }),
    ("aten.item.default aten._local_scalar_dense.default", |_| unsupported("a number that depends on data")),
];

fn int(value: i64) -> Item {
    Item::Number(Number::Int(value))
}

fn overflow() -> Stop {
    Stop::Invalid("a number leaves 64 bits".into())
}

fn stop(unknown: Unknown) -> Stop {
    match unknown {
        Unknown::Symbol(symbol) => Stop::Invalid(format!("the symbol {symbol} has no value")),
        Unknown::Wrong(message) => Stop::Invalid(message),
        Unknown::Foreign(message) => Stop::Unsupported(message),
    }
}

/// The numbers among the arguments, in order.
fn numbers(s: &Site) -> Result<Vec<Number>, Stop> {
    s.all()
        .map(|value| match value {
            Value::Number(number) => Ok(*number),
            _ => invalid("an argument should be a number"),
        })
        .collect()
}

fn unary(s: &Site) -> Result<Number, Stop> {
    match numbers(s)?.as_slice() {
        [x] => Ok(*x),
        other => invalid(format!("expected one number, found {}", other.len())),
    }
}

fn operands(s: &Site) -> Result<(Number, Number), Stop> {
    match numbers(s)?.as_slice() {
        [a, b] => Ok((*a, *b)),
        other => invalid(format!("expected two numbers, found {}", other.len())),
    }
}

fn arithmetic(
    s: &Site,
    ints: fn(i64, i64) -> Result<i64, Stop>,
    floats: fn(f64, f64) -> f64,
) -> Result<Vec<Item>, Stop> {
    Ok(vec![match operands(s)? {
        (Number::Int(a), Number::Int(b)) => int(ints(a, b)?),
        (a, b) => Item::Number(Number::Float(floats(a.as_f64(), b.as_f64()))),
    }])
}

fn compared(s: &Site, holds: fn(f64, f64) -> bool) -> Result<Vec<Item>, Stop> {
    let (a, b) = operands(s)?;
    Ok(vec![Item::Number(Number::Bool(holds(a.as_f64(), b.as_f64())))])
}

fn logic(s: &Site, holds: fn(bool, bool) -> bool) -> Result<Vec<Item>, Stop> {
    let (a, b) = operands(s)?;
    Ok(vec![Item::Number(Number::Bool(holds(a.as_f64() != 0.0, b.as_f64() != 0.0)))])
}

fn whole(s: &Site, rounded: fn(f64) -> f64) -> Result<Vec<Item>, Stop> {
    let x = unary(s)?;
    let value = rounded(x.as_f64());
    if value.abs() < 9e15 { Ok(vec![int(value as i64)]) } else { invalid(format!("{value} is no extent")) }
}
