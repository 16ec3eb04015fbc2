//! The signature: inputs, weights and state before the walk, outputs after it.

use std::collections::HashMap;

use super::import::{Importer, Item, Source};
use super::schema::{Argument, InputSpec, OutputSpec, SymIntArgument};
use super::site::{Number, Stop, Value, invalid, non_negative, plain, unsupported};
use super::storage::{self, Storage};
use crate::ir::{Constant, ConstantData, Graph, Location, StateView, ValueId};
use crate::ops::Op;
use crate::types::{DType, InputMode, Layout, TensorType};

/// The name under which an input is stored in the archive.
pub fn stored_name(spec: &InputSpec) -> Option<&str> {
    match spec {
        InputSpec::Parameter { parameter_name: name, .. }
        | InputSpec::Buffer { buffer_name: name, .. }
        | InputSpec::TensorConstant { tensor_constant_name: name, .. } => Some(name),
        _ => None,
    }
}

impl<'a> Importer<'a> {
    /// An input of the caller's. One that was traced with strides of its own is read through a copy that has them, which
    /// is given back with the input: strides decide what is a view.
    pub fn user_input(&mut self, at: usize, spec: &'a InputSpec) -> Result<Option<(ValueId, ValueId)>, Stop> {
        let name = match spec {
            InputSpec::User { arg: Argument::Tensor(tensor) } => tensor.name.as_str(),
            InputSpec::User { arg } => {
                if let Argument::SymInt(SymIntArgument::Name(name)) = arg {
                    let root = self.scopes[0].graph;
                    let Some(value) = root.sym_int_values.get(name) else {
                        return invalid(format!("the number {name} is not described"));
                    };
                    let number = self.extent(value)?;
                    self.bind(name, Item::Number(Number::Int(number)));
                }
                return Ok(None);
            }
            InputSpec::Constant { name, value } => {
                if let Value::Number(number) = plain(value)? {
                    self.bind(name, Item::Number(number));
                }
                return Ok(None);
            }
            InputSpec::CustomObject { arg, custom_obj_name } => {
                let message = format!("the object {custom_obj_name} of class {}, which is pickled", arg.class_fqn);
                return unsupported(message);
            }
            InputSpec::Token(_) => return unsupported("tokens of effects"),
            InputSpec::Parameter { .. } | InputSpec::Buffer { .. } | InputSpec::TensorConstant { .. } => {
                return Ok(None);
            }
        };
        self.bind(name, Item::Refused);
        let Some(meta) = self.scopes[0].graph.tensor_values.get(name) else {
            return invalid(format!("the input {name} is not described"));
        };
        let ty = self.declared(meta)?;
        let mut strides = self.extents(&meta.strides)?;
        let traced = Layout { offset: 0, shape: ty.shape.clone(), strides: strides.clone() };
        if !traced.is_injective() && strides.len() == ty.rank() {
            strides = apart(&ty.shape);
        }
        let source = Source::User(at);
        let mode = if self.written.contains(&source) { InputMode::InOut } else { InputMode::Read };
        let own = self.unique(if name.is_empty() { "input" } else { name });
        let input = self.graph.add_input(own, mode, ty);
        self.placements.grow(&self.graph);
        let shadow = self.with_strides(input, &strides, &named(name))?;
        self.sources.insert(self.placements.root(shadow), source);
        self.bind(name, Item::Tensor(shadow));
        Ok((shadow != input).then_some((input, shadow)))
    }

    /// A parameter, buffer or constant: a view of its storage.
    pub fn stored_input(&mut self, spec: &'a InputSpec, bases: &mut HashMap<usize, ValueId>) -> Result<(), Stop> {
        let (arg, place) = match spec {
            InputSpec::Parameter { arg, parameter_name: name } | InputSpec::Buffer { arg, buffer_name: name } => {
                (arg, self.storages.weight(name))
            }
            InputSpec::TensorConstant { arg, tensor_constant_name: name } => (arg, self.storages.constant(name)),
            _ => return Ok(()),
        };
        self.bind(&arg.name, Item::Refused);
        let Some((at, view)) = place else { return invalid("the archive does not hold it") };
        let (_, storage) = self.storages.storages.get_index(at).expect("places of storages are valid");
        let base = match bases.get(&at) {
            Some(&base) => base,
            None => {
                let base = self.storage(at, storage)?;
                bases.insert(at, base);
                base
            }
        };
        let view = &storage.views[view];
        let seen = if self.graph.ty(base).dtype == view.dtype {
            base
        } else {
            self.append_one(Op::ViewDtype { to: view.dtype }, &[base], &named(&view.name))?
        };
        let value = if storage::whole(storage).is_some() {
            seen
        } else {
            let strides = non_negative(&view.layout.strides, "strides")?;
            let offset = usize::try_from(view.layout.offset).or_else(|_| invalid("a negative offset"))?;
            let op = Op::AsStrided { shape: view.layout.shape.clone(), strides, offset: Some(offset) };
            self.append_one(op, &[seen], &named(&view.name))?
        };
        self.name(value, &view.name);
        if let Some(meta) = self.scopes[0].graph.tensor_values.get(arg.name.as_str()) {
            let declared = self.declared(meta)?;
            if declared != *self.graph.ty(value) {
                return invalid(format!(
                    "the program has it as {declared}, the archive holds {}",
                    self.graph.ty(value)
                ));
            }
        }
        self.bind(&arg.name, Item::Tensor(value));
        Ok(())
    }

    /// A storage as a constant, or as state if the program writes it.
    fn storage(&mut self, at: usize, storage: &Storage) -> Result<ValueId, Stop> {
        let first = &storage.views[0];
        let (name, ty) = match storage::whole(storage) {
            Some(view) => (view.name.clone(), TensorType::new(view.dtype, view.layout.shape.clone())),
            None => {
                let elements = storage.range.len() / first.dtype.size();
                (format!("{}.storage", first.name), TensorType::new(first.dtype, [elements]))
            }
        };
        ty.check().map_err(Stop::Invalid)?;
        if ty.bytes() != storage.range.len() {
            return invalid(format!("its storage of {} bytes is no whole number of {}", storage.range.len(), ty.dtype));
        }
        let name = self.unique(&name);
        let bytes = &self.file[storage.range.clone()];
        // True is every byte but zero in PyTorch, and one here.
        let data = match first.dtype == DType::Bool && bytes.iter().any(|&byte| byte > 1) {
            true => ConstantData::Bytes(bytes.iter().map(|&byte| u8::from(byte != 0)).collect()),
            false => ConstantData::Mapped { file: self.file.clone(), offset: storage.range.start },
        };
        let source = Source::Storage(at);
        let value = if self.written.contains(&source) {
            let value = self.graph.add_input(name, InputMode::InOut, ty.clone());
            // The first view of a whole storage is the storage; a name that an input has cannot be that of a part.
            let taken: Vec<String> = self.graph.inputs.iter().map(|input| input.name.clone()).collect();
            let parts = storage.views.iter().skip(usize::from(storage::whole(storage).is_some()));
            let parts = parts.filter(|view| view.dtype == first.dtype && !taken.contains(&view.name));
            let views = parts.map(|view| StateView { name: view.name.clone(), layout: view.layout.clone() }).collect();
            let input = self.graph.inputs.last_mut().expect("an input was just added");
            (input.initial, input.views) = (Some(Constant { name: String::new(), ty, data }), views);
            self.placements.grow(&self.graph);
            value
        } else {
            self.constant(Constant { name, ty, data })
        };
        self.sources.insert(value, source);
        Ok(value)
    }

    pub fn output(&mut self, spec: &'a OutputSpec) -> Result<(), Stop> {
        let signature = &self.program.graph_module.signature;
        let tensor = match spec {
            OutputSpec::User { arg: Argument::Tensor(tensor) } => tensor,
            // Numbers and None are no results of a tensor program.
            OutputSpec::User { .. } => return Ok(()),
            OutputSpec::Loss { arg }
            | OutputSpec::GradientToParameter { arg }
            | OutputSpec::GradientToUserInput { arg } => arg,
            OutputSpec::Token(_) => return unsupported("tokens of effects"),
            // Programs made functional say at their end what is written.
            OutputSpec::BufferMutation { arg, buffer_name: name }
            | OutputSpec::ParameterMutation { arg, parameter_name: name } => {
                let spec = signature.input_specs.iter().find(|spec| stored_name(spec) == Some(name));
                let destination = match spec {
                    Some(InputSpec::Parameter { arg, .. } | InputSpec::Buffer { arg, .. }) => &arg.name,
                    _ => return invalid(format!("there is no buffer {name}")),
                };
                return self.write_back(destination, &arg.name);
            }
            OutputSpec::UserInputMutation { arg, user_input_name } => {
                return self.write_back(user_input_name, &arg.name);
            }
        };
        let value = self.lookup_tensor(&tensor.name)?;
        let mut name = tensor.name.clone();
        let taken = |name: &String, graph: &Graph| graph.outputs.iter().any(|output| output.name == *name);
        for count in 1.. {
            if !taken(&name, &self.graph) {
                break;
            }
            name = format!("{}.{count}", tensor.name);
        }
        self.graph.add_output(name, value);
        Ok(())
    }

    fn write_back(&mut self, target: &str, value: &str) -> Result<(), Stop> {
        let (destination, value) = (self.lookup_tensor(target)?, self.lookup_tensor(value)?);
        let ty = self.graph.ty(destination).clone();
        if *self.graph.ty(value) != ty {
            return invalid(format!("{} is written over {ty}", self.graph.ty(value)));
        }
        self.append(Op::Copy {}, &[destination, value], vec![ty], true, &named(target))?;
        Ok(())
    }
}

/// Strides for an input that was traced as an expanded tensor or as windows that overlap. A caller may pass what has an
/// element at each index, so none may be lost; no two axes can be seen as one, as they cannot where elements repeat.
fn apart(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![0; shape.len()];
    let mut next = 2i64;
    for (stride, &extent) in strides.iter_mut().zip(shape).rev() {
        *stride = next;
        next = next.saturating_mul(extent.max(1) as i64).saturating_add(1);
    }
    strides
}

/// The place of what no line of the program asked for: the input or weight that it serves.
pub fn named(name: &str) -> Location {
    Location { text: name.chars().filter(|c| !c.is_control()).take(200).collect(), ..Location::default() }
}
