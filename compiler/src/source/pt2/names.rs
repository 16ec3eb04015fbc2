//! What names and symbols of a program stand for.

use super::import::{Importer, Item};
use super::schema::{
    self, Argument, OptionalTensor, SymBoolArgument, SymFloatArgument, SymInt, SymIntArgument, TensorMeta,
};
use super::site::{Number, Stop, Value, invalid, non_negative, plain, unsupported};
use super::storage;
use super::symbol::{self, Unknown};
use crate::ir::{Def, ValueId};
use crate::types::TensorType;

impl<'a> Importer<'a> {
    /// Whether the bound extents are in the ranges that the program was exported for.
    pub fn check_ranges(&mut self) {
        for (symbol, extent) in self.options.bindings.iter() {
            let Some(range) = self.program.range_constraints.get(symbol) else { continue };
            let (least, most) = (range.min_val.unwrap_or(i64::MIN), range.max_val.unwrap_or(i64::MAX));
            if i64::try_from(extent).is_ok_and(|extent| extent < least || extent > most) {
                let most = if most == i64::MAX { "any".to_string() } else { most.to_string() };
                let message = format!(
                    "the dimension {symbol} is bound to {extent}; the program was exported for {least} to {most}"
                );
                self.refuse(String::new(), "", Stop::Invalid(message));
            }
        }
    }

    /// The number behind an extent.
    pub fn extent(&mut self, value: &SymInt) -> Result<i64, Stop> {
        match value {
            SymInt::Int(value) => Ok(*value),
            SymInt::Expr(expr) => match symbol::evaluate(&expr.expr_str, &self.options.bindings) {
                Ok(value) => Ok(value),
                Err(Unknown::Wrong(message)) => invalid(message),
                Err(Unknown::Foreign(message)) => unsupported(message),
                // A symbol that no input has stands for a number that is known only when running.
                Err(Unknown::Symbol(symbol)) if symbol.starts_with('u') => {
                    unsupported(format!("the extent {symbol} depends on data"))
                }
                Err(Unknown::Symbol(symbol)) => {
                    self.unbound.insert(symbol);
                    Err(Stop::Poisoned)
                }
            },
        }
    }

    pub fn extents(&mut self, values: &[SymInt]) -> Result<Vec<i64>, Stop> {
        values.iter().map(|value| self.extent(value)).collect()
    }

    /// The type that a description gives.
    pub fn declared(&mut self, meta: &TensorMeta) -> Result<TensorType, Stop> {
        if meta.layout != storage::STRIDED {
            return unsupported("a tensor that is not strided");
        }
        let dtype = storage::dtype(meta.dtype).map_err(Stop::Unsupported)?;
        let shape = non_negative(&self.extents(&meta.sizes)?, "a shape")?;
        let ty = TensorType::new(dtype, shape);
        ty.check().map_err(Stop::Invalid)?;
        Ok(ty)
    }

    /// Gives a value a name, if it has none and the name is free.
    pub fn name(&mut self, value: ValueId, name: &str) {
        let named = &self.graph.value(value);
        if named.name.is_empty() && !matches!(named.def, Def::Param(..)) && self.names.insert(name.to_string()) {
            self.graph.values[value.index()].name = name.to_string();
        }
    }

    /// The name, or one like it that is free; it is taken then.
    pub fn unique(&mut self, name: &str) -> String {
        let mut unique = name.to_string();
        let mut count = 1;
        while unique == "out" || !self.names.insert(unique.clone()) {
            unique = format!("{name}.{count}");
            count += 1;
        }
        unique
    }

    pub fn bind(&mut self, name: &'a str, item: Item) {
        self.scopes.last_mut().expect("an import always has a scope").items.insert(name, item);
    }

    pub fn lookup(&self, name: &str) -> Result<Item, Stop> {
        let scope = self.scopes.last().expect("an import always has a scope");
        match scope.items.get(name) {
            None => invalid(format!("the name {name:?} is not defined")),
            Some(Item::Refused) => Err(Stop::Poisoned),
            Some(item) => Ok(*item),
        }
    }

    pub fn lookup_tensor(&self, name: &str) -> Result<ValueId, Stop> {
        match self.lookup(name)? {
            Item::Tensor(value) => Ok(value),
            _ => invalid(format!("{name} is not a tensor")),
        }
    }

    /// An argument, its names and symbols replaced by what they stand for.
    pub fn resolve(&self, argument: &'a Argument) -> Result<Value<'a>, Stop> {
        let numbers = |values: Result<Vec<Number>, Stop>| values.map(Value::Numbers);
        match argument {
            Argument::Tensor(tensor) => self.lookup(&tensor.name)?.value(),
            Argument::Tensors(tensors) => {
                let values = tensors.iter().map(|tensor| self.lookup_tensor(&tensor.name).map(Some));
                values.collect::<Result<_, _>>().map(Value::Tensors)
            }
            Argument::OptionalTensor(OptionalTensor::Tensor(tensor)) => self.lookup(&tensor.name)?.value(),
            Argument::OptionalTensor(OptionalTensor::None(_)) => Ok(Value::None),
            Argument::OptionalTensors(tensors) => {
                let values = tensors.iter().map(|tensor| match tensor {
                    OptionalTensor::Tensor(tensor) => self.lookup_tensor(&tensor.name).map(Some),
                    OptionalTensor::None(_) => Ok(None),
                });
                values.collect::<Result<_, _>>().map(Value::Tensors)
            }
            Argument::SymInt(value) => self.sym_int(value).map(Value::Number),
            Argument::SymInts(values) => numbers(values.iter().map(|value| self.sym_int(value)).collect()),
            Argument::SymFloat(value) => self.sym_float(value).map(Value::Number),
            Argument::SymFloats(values) => numbers(values.iter().map(|value| self.sym_float(value)).collect()),
            Argument::SymBool(value) => self.sym_bool(value).map(Value::Number),
            Argument::SymBools(values) => numbers(values.iter().map(|value| self.sym_bool(value)).collect()),
            other => plain(other),
        }
    }

    fn named_number(&self, name: &str) -> Result<Number, Stop> {
        match self.lookup(name)? {
            Item::Number(number) => Ok(number),
            _ => invalid(format!("{name} is not a number")),
        }
    }

    fn sym_int(&self, value: &SymIntArgument) -> Result<Number, Stop> {
        match value {
            SymIntArgument::Int(value) => Ok(Number::Int(*value)),
            SymIntArgument::Name(name) => self.named_number(name),
        }
    }

    fn sym_float(&self, value: &SymFloatArgument) -> Result<Number, Stop> {
        match value {
            SymFloatArgument::Float(value) => Ok(Number::Float(value.0)),
            SymFloatArgument::Name(name) => self.named_number(name),
        }
    }

    fn sym_bool(&self, value: &SymBoolArgument) -> Result<Number, Stop> {
        match value {
            SymBoolArgument::Bool(value) => Ok(Number::Bool(*value)),
            SymBoolArgument::Name(name) => self.named_number(name),
        }
    }
}

/// The extent that a symbol had while tracing, if a description says.
pub fn hint_of(graph: &schema::Graph, symbol: &str) -> Option<i64> {
    let sizes = graph.tensor_values.values().flat_map(|meta| &meta.sizes);
    sizes.into_iter().find_map(|size| match size {
        SymInt::Expr(expr) if expr.expr_str.contains(&format!("Symbol('{symbol}'")) => match expr.hint {
            Some(schema::Hint::Int(hint)) if expr.expr_str.starts_with("Symbol(") => Some(hint),
            _ => None,
        },
        _ => None,
    })
}
