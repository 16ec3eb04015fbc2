//! What constants and initial state are filled with, and the parts of state that have names.

use super::super::attributes::{Attributes, Mistake};
use super::super::folder::is_plain_name;
use super::super::parser::MAX_MISTAKES;
use super::super::syntax::{AttributeSyntax, Filling, Item, Name};
use super::super::{Folder, closest};
use super::{Lowering, Poisoned};
use crate::diagnostic::{Diagnostic, Span};
use crate::ir::spelling::unquote;
use crate::ir::{ConstantData, Distribution, StateView};
use crate::ops::PointFn;
use crate::safetensors::Archive;
use crate::types::{DType, InputMode, Layout, TensorType, dense_strides};

/// The most elements that all `arange` constants of a text may have together: these are made at once, and a short text
/// must not ask for much memory.
const MAX_ARANGE: usize = 1 << 24;

/// The attributes of a named part of the state.
const PART: [&str; 3] = ["shape", "strides", "offset"];

impl Lowering<'_> {
    /// Opens the file that the `weights` item names, if there is one.
    pub(super) fn weights(&mut self, items: &[Item], folder: &mut Folder) {
        let mut named = items.iter().filter_map(|item| match item {
            Item::Weights(name) => Some(name),
            _ => None,
        });
        let Some(name) = named.next() else { return };
        for again in named {
            self.note(again.span, "a graph names one file of weights");
        }
        let opened = match is_plain_name(&name.text) {
            true => folder
                .open(&name.text)
                .and_then(|file| Archive::read(&file).map_err(|message| format!("{:?}: {message}", name.text))),
            false => Err(format!("{:?} is not the name of a file in the folder of this text", name.text)),
        };
        self.archive = Some(match opened {
            Ok(archive) => Ok(archive),
            Err(message) => {
                self.note(name.span, message);
                Err(Poisoned)
            }
        });
    }

    fn stored(&mut self, ty: &TensorType, name: &Name) -> Result<ConstantData, Poisoned> {
        let archive = match &self.archive {
            Some(Ok(archive)) => archive,
            Some(Err(Poisoned)) => return Err(Poisoned),
            None => {
                let diagnostic = Diagnostic::at(name.span, "the graph names no file of weights")
                    .with_note("name one in the folder of this text: `weights \"model.safetensors\"`");
                self.push(diagnostic);
                return Err(Poisoned);
            }
        };
        let message = match archive.elements(&name.text, ty) {
            Ok(data) => return Ok(data),
            Err(message) => message,
        };
        let mut diagnostic = Diagnostic::at(name.span, message);
        if self.mistakes.len() < MAX_MISTAKES
            && let Some(close) = closest(&name.text, archive.names()).filter(|close| *close != name.text)
        {
            diagnostic = diagnostic.with_note(format!("did you mean {close:?}?"));
        }
        self.push(diagnostic);
        Err(Poisoned)
    }

    /// `state "layer.b" = %base {shape=[4, 3], strides=[6, 2], offset=6}`.
    pub(super) fn state(&mut self, name: &Name, input: &Name, attributes: &[AttributeSyntax]) {
        let attributes = self.attributes(attributes);
        let place = self.graph.inputs.iter().position(|known| known.name == input.text);
        let Some(place) = place else {
            // An input whose type is wrong has been told.
            if self.scope.get(&input.key()).is_none_or(|known| known.value.is_some()) {
                self.note(input.span, format!("%{} is not an input that is declared before", input.text));
            }
            return;
        };
        let Ok(attributes) = attributes else { return };
        let (mode, ty) = (self.graph.inputs[place].mode, self.graph.ty(self.graph.inputs[place].value).clone());
        if mode != InputMode::InOut || self.graph.inputs[place].initial.is_none() {
            let message =
                format!("%{} is no `inout` input with initial state, parts of which could have names", input.text);
            return self.note(input.span, message);
        }
        let inputs = self.graph.inputs.iter();
        let taken =
            |known: &crate::ir::Input| known.name == name.text || known.views.iter().any(|view| view.name == name.text);
        if name.text.is_empty() || inputs.clone().any(taken) {
            let message = match name.text.is_empty() {
                true => "a part of the state has a name".to_string(),
                false => format!("{:?} is already the name of an input or of a part of the state", name.text),
            };
            return self.note(name.span, message);
        }
        let made = part(&attributes, &name.text).and_then(|view| match view.check(&ty) {
            Ok(()) => Ok(view),
            Err(message) => Err(Mistake::from(format!("{:?} is no part of %{}: {message}", name.text, input.text))),
        });
        match made {
            Ok(view) => self.graph.inputs[place].views.push(view),
            Err(mistake) => self.note(mistake.span.unwrap_or(name.span), mistake.message),
        }
    }

    pub(super) fn filling(&mut self, ty: &TensorType, filling: &Filling, span: Span) -> Result<ConstantData, Poisoned> {
        match filling {
            Filling::Splat(number) => Ok(ConstantData::Splat(self.literal(*number, ty.dtype)?)),
            Filling::Seeded { distribution, settings } => self.seeded(distribution, settings),
            Filling::List(numbers) => {
                if numbers.len() != ty.len() {
                    self.note(span, format!("{ty} has {} elements, found {}", ty.len(), numbers.len()));
                    return Err(Poisoned);
                }
                let mut bytes = Vec::with_capacity(ty.bytes());
                for &number in numbers {
                    let bits = self.literal(number, ty.dtype)?;
                    bytes.extend_from_slice(&bits.to_le_bytes()[..ty.dtype.size()]);
                }
                Ok(ConstantData::Bytes(bytes.into()))
            }
            Filling::Stored(name) => self.stored(ty, name),
            Filling::Arange(numbers) => self.arange(ty, numbers, span),
            Filling::Hex(digits) => {
                let written = unquote(self.written(*digits));
                let expected = ty.bytes();
                let bytes: Option<Vec<u8>> = (written.len() == 2 * expected && written.is_ascii())
                    .then(|| (0..expected).map(|i| u8::from_str_radix(&written[2 * i..2 * i + 2], 16).ok()).collect())
                    .flatten();
                match bytes {
                    Some(bytes) if ty.dtype != DType::Bool || bytes.iter().all(|&byte| byte <= 1) => {
                        Ok(ConstantData::Bytes(bytes.into()))
                    }
                    _ => {
                        let message = format!("expected {} hexadecimal digits, the bytes of {ty}", 2 * expected);
                        self.note(*digits, message);
                        Err(Poisoned)
                    }
                }
            }
        }
    }

    fn arange(&mut self, ty: &TensorType, numbers: &[Span], span: Span) -> Result<ConstantData, Poisoned> {
        if numbers.len() > 2 {
            self.note(span, "arange takes a start and a step");
            return Err(Poisoned);
        }
        self.arange = self.arange.saturating_add(ty.len());
        if self.arange > MAX_ARANGE || ty.dtype == DType::Bool {
            self.note(span, format!("arange makes at most {MAX_ARANGE} numbers in one text, and no bool"));
            return Err(Poisoned);
        }
        let one = situ_runtime::scalar::cast(DType::I64, ty.dtype, 1);
        let start = numbers.first().map_or(Ok(0), |&number| self.literal(number, ty.dtype))?;
        let step = numbers.get(1).map_or(Ok(one), |&number| self.literal(number, ty.dtype))?;
        let mut bytes = Vec::with_capacity(ty.bytes());
        for i in 0..ty.len() {
            let index = situ_runtime::scalar::cast(DType::I64, ty.dtype, i as u64);
            let dtypes = [ty.dtype, ty.dtype];
            let offset = situ_runtime::scalar::eval(PointFn::Mul, &dtypes, &[index, step]);
            let element = situ_runtime::scalar::eval(PointFn::Add, &dtypes, &[start, offset]);
            bytes.extend_from_slice(&element.to_le_bytes()[..ty.dtype.size()]);
        }
        Ok(ConstantData::Bytes(bytes.into()))
    }

    fn seeded(&mut self, distribution: &Name, settings: &[(Name, Span)]) -> Result<ConstantData, Poisoned> {
        let names: [&str; 2] = match distribution.text.as_str() {
            "normal" => ["mean", "std"],
            "uniform" => ["low", "high"],
            _ => {
                let message = format!("expected `normal` or `uniform`, found `{}`", distribution.text);
                self.note(distribution.span, message);
                return Err(Poisoned);
            }
        };
        let mut numbers = [0.0, 1.0];
        let mut seed = None;
        for (name, value) in settings {
            let written = self.written(*value);
            if name.text == "seed" {
                seed = written.parse::<u64>().ok();
                if seed.is_none() {
                    self.note(*value, format!("a seed is an integer that is not negative, found `{written}`"));
                    return Err(Poisoned);
                }
            } else if let Some(place) = names.iter().position(|&expected| expected == name.text) {
                match written.parse::<f64>() {
                    Ok(number) if number.is_finite() => numbers[place] = number,
                    _ => {
                        self.note(*value, format!("{} is a finite number, found `{written}`", name.text));
                        return Err(Poisoned);
                    }
                }
            } else {
                let expected = format!("expected {}, {} or seed, found `{}`", names[0], names[1], name.text);
                self.note(name.span, expected);
                return Err(Poisoned);
            }
        }
        let Some(seed) = seed else {
            self.note(distribution.span, "a seeded constant has a seed: write `seed=1`");
            return Err(Poisoned);
        };
        let [first, second] = numbers;
        let distribution = match distribution.text.as_str() {
            "normal" => Distribution::Normal { mean: first, std: second },
            _ => Distribution::Uniform { low: first, high: second },
        };
        Ok(ConstantData::Seeded { distribution, seed })
    }
}

/// The part of a state that its attributes say: row-major from its first element on, unless they say otherwise.
fn part(attributes: &Attributes, name: &str) -> Result<StateView, Mistake> {
    if let Some((found, span)) = attributes.iter().find(|(found, _)| !PART.contains(found)) {
        let message = format!("a part of the state has a shape, strides and an offset, found `{found}`");
        return Err(Mistake { span: Some(span), message, note: None });
    }
    let shape: Vec<usize> = attributes.require("shape")?;
    // Extents that are too large make no strides; they are refused with the whole part.
    let small = TensorType::new(DType::U8, shape.clone()).check().is_ok();
    let strides = match attributes.read::<Vec<i64>>("strides")? {
        Some(strides) => strides,
        None if small => dense_strides(&shape),
        None => Vec::new(),
    };
    let offset = attributes.read::<i64>("offset")?.unwrap_or(0);
    Ok(StateView { name: name.to_string(), layout: Layout { offset, shape, strides } })
}
