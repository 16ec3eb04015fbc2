//! Attributes as they are written, and how they become the attributes of an op's row.
//!
//! Text is kinder than the rows: axes may be negative, a list of one may be written as its element, `dim` and `dims` are
//! `axis` and `axes`, and attributes that nearly always have the same value may be left out. All of that ends here.

use crate::diagnostic::Span;
use crate::ops::shape::normalised_axis;
use crate::ops::{AttrValue, Attribute, Op};
use crate::types::TensorType;

/// What is wrong with an instruction; without a span, the whole instruction is at fault.
#[derive(Clone, Debug)]
pub struct Mistake {
    pub span: Option<Span>,
    pub message: String,
    pub note: Option<String>,
}

impl From<String> for Mistake {
    fn from(message: String) -> Mistake {
        Mistake { span: None, message, note: None }
    }
}

/// Attributes of one instruction, in the order written. Symbols are bound.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    entries: Vec<(String, AttrValue, Span)>,
}

impl Attributes {
    pub fn push(&mut self, name: String, value: AttrValue, span: Span) {
        self.entries.push((name, value, span));
    }

    pub fn get(&self, name: &str) -> Option<&AttrValue> {
        self.entries.iter().find(|entry| entry.0 == name).map(|entry| &entry.1)
    }

    pub fn span(&self, name: &str) -> Option<Span> {
        self.entries.iter().find(|entry| entry.0 == name).map(|entry| entry.2)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Span)> {
        self.entries.iter().map(|entry| (entry.0.as_str(), entry.2))
    }

    fn set(&mut self, name: &str, value: AttrValue) {
        match self.entries.iter_mut().find(|entry| entry.0 == name) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((name.to_string(), value, Span::default())),
        }
    }

    /// `dim` is another word for `axis`, `dims` for `axes`, where those are expected.
    pub fn rename(&mut self, expected: &[&str]) {
        for (other, name) in [("dim", "axis"), ("dims", "axes"), ("axis", "axes"), ("dim", "axes")] {
            if expected.contains(&name)
                && !expected.contains(&other)
                && self.get(name).is_none()
                && let Some(entry) = self.entries.iter_mut().find(|entry| entry.0 == other)
            {
                entry.0 = name.to_string();
            }
        }
    }

    /// A mistake at an attribute.
    pub fn wrong(&self, name: &str, message: impl Into<String>) -> Mistake {
        Mistake { span: self.span(name), message: message.into(), note: None }
    }

    /// The attribute `name` as a `T`, if it is written.
    pub fn read<T: Attribute>(&self, name: &str) -> Result<Option<T>, Mistake> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match T::read(value) {
                Some(read) => Ok(Some(read)),
                None => Err(self.wrong(name, format!("{name} is {}, found {value}", T::EXPECTED))),
            },
        }
    }

    /// The attribute `name` as a `T`, which must be written.
    pub fn require<T: Attribute>(&self, name: &str) -> Result<T, Mistake> {
        self.read(name)?.ok_or_else(|| Mistake::from(format!("the attribute {name} is missing ({})", T::EXPECTED)))
    }

    /// One axis of `rank`, negative counting from the end.
    pub fn axis(&self, name: &str, rank: usize) -> Result<Option<usize>, Mistake> {
        match self.read::<i64>(name)? {
            None => Ok(None),
            Some(axis) => normalised_axis(axis, rank).map(Some).map_err(|message| self.wrong(name, message)),
        }
    }

    /// A list of axes of `rank`, or one axis.
    pub fn axes(&self, name: &str, rank: usize) -> Result<Option<Vec<usize>>, Mistake> {
        let Some(axes) = self.integers(name, 1)? else { return Ok(None) };
        let axes: Result<Vec<usize>, String> = axes.into_iter().map(|axis| normalised_axis(axis, rank)).collect();
        axes.map(Some).map_err(|message| self.wrong(name, message))
    }

    /// A list of integers; a single integer stands for `count` of it.
    pub fn integers(&self, name: &str, count: usize) -> Result<Option<Vec<i64>>, Mistake> {
        match self.get(name) {
            Some(AttrValue::Int(value)) => Ok(Some(vec![*value; count])),
            Some(value) => match <Vec<i64>>::read(value) {
                Some(list) => Ok(Some(list)),
                None => Err(self.wrong(name, format!("{name} is an integer or a list of integers, found {value}"))),
            },
            None => Ok(None),
        }
    }

    /// Like [`Attributes::integers`], for numbers that are not negative.
    pub fn counts(&self, name: &str, count: usize) -> Result<Option<Vec<usize>>, Mistake> {
        let Some(list) = self.integers(name, count)? else { return Ok(None) };
        let counts: Option<Vec<usize>> = list.iter().map(|&value| usize::try_from(value).ok()).collect();
        counts.map(Some).ok_or_else(|| self.wrong(name, format!("{name} has a negative entry")))
    }
}

/// Extents with one `-1` resolved so that the product is the number of elements of `x`.
pub fn inferred_shape(x: &TensorType, extents: &[i64]) -> Result<Vec<usize>, String> {
    let mut shape = Vec::with_capacity(extents.len());
    let mut open = None;
    for (axis, &extent) in extents.iter().enumerate() {
        match usize::try_from(extent) {
            Ok(extent) => shape.push(extent),
            Err(_) if extent == -1 && open.is_none() => {
                open = Some(axis);
                shape.push(1);
            }
            Err(_) => return Err(format!("an extent is not negative, and one may be -1, found {extents:?}")),
        }
    }
    if let Some(axis) = open {
        let known = crate::types::elements(&shape).filter(|&known| known > 0 && x.len().is_multiple_of(known));
        let known =
            known.ok_or_else(|| format!("{x} has {} elements and cannot take the shape {extents:?}", x.len()))?;
        shape[axis] = x.len() / known;
    }
    Ok(shape)
}

fn list(values: &[usize]) -> AttrValue {
    values.to_vec().write()
}

/// Brings the attributes of the op called `name` into the form its row reads. `x` are the operands' types; their number
/// has been checked against the row.
pub fn complete(name: &str, attributes: &mut Attributes, x: &[TensorType]) -> Result<(), Mistake> {
    let Some(signature) = Op::signature(name) else { return Ok(()) };
    let rank = x.first().map_or(0, TensorType::rank);
    let spatial = rank.saturating_sub(2);
    let last = rank.saturating_sub(1);
    for (attribute, _) in signature {
        let value = match (name, attribute) {
            ("resize", "axes") => None,
            ("as_strided", "shape" | "strides") => attributes.integers(attribute, 1)?.map(|list| list.write()),
            ("as_strided", "offset") if attributes.get("offset").is_none() => Some(AttrValue::Word("none".into())),
            ("unfold", "axis") => Some(attributes.axis("axis", rank)?.unwrap_or(last).write()),
            ("unfold", "step") if attributes.get("step").is_none() => Some(1usize.write()),
            ("diagonal", "offset") if attributes.get("offset").is_none() => Some(0i64.write()),
            ("diagonal", "axis1") => Some(attributes.axis("axis1", rank)?.unwrap_or(0).write()),
            ("diagonal", "axis2") => Some(attributes.axis("axis2", rank)?.unwrap_or(1).write()),
            ("unsqueeze", "axes") => {
                let more = match attributes.get("axes") {
                    Some(AttrValue::List(items)) => items.len(),
                    _ => 1,
                };
                attributes.axes("axes", rank + more)?.map(|axes| list(&axes))
            }
            ("reduce", "axes") => {
                let all = || (0..rank).collect();
                Some(list(&attributes.axes("axes", rank)?.unwrap_or_else(all)))
            }
            ("squeeze", "axes") => {
                let ones = || (0..rank).filter(|&axis| x[0].shape[axis] == 1).collect();
                Some(list(&attributes.axes("axes", rank)?.unwrap_or_else(ones)))
            }
            (_, "axes") => attributes.axes("axes", rank)?.map(|axes| list(&axes)),
            (_, "axis") => {
                let default = match name {
                    "softmax" | "log_softmax" | "layer_norm" | "rms_norm" | "top_k" => Some(last),
                    "gather" | "concat" => Some(0),
                    _ => None,
                };
                attributes.axis("axis", rank)?.or(default).map(|axis| axis.write())
            }
            ("view" | "reshape", "shape") => match attributes.integers("shape", 1)? {
                Some(extents) => {
                    let shape = inferred_shape(&x[0], &extents).map_err(|m| attributes.wrong("shape", m))?;
                    Some(list(&shape))
                }
                None => None,
            },
            ("expand", "shape") => match attributes.integers("shape", 1)? {
                Some(mut extents) => {
                    let new = extents.len().saturating_sub(rank);
                    for (axis, extent) in extents.iter_mut().enumerate().skip(new) {
                        if *extent == -1 {
                            *extent = x[0].shape.get(axis - new).map_or(1, |&extent| extent as i64);
                        }
                    }
                    Some(extents.write())
                }
                None => None,
            },
            ("slice", "start" | "end" | "step") => Some(slice_bound(attribute, attributes, &x[0])?),
            ("select", "index") => match attributes.read::<i64>("index")? {
                Some(index) if index < 0 => {
                    let axis = attributes.axis("axis", rank)?.unwrap_or(0);
                    Some((index + x[0].shape.get(axis).map_or(0, |&extent| extent as i64)).write())
                }
                _ => None,
            },
            ("conv" | "conv_transpose" | "pool" | "max_pool_indices", "strides") => {
                let kernel = attributes.counts("kernel", spatial)?;
                let default = kernel.unwrap_or_else(|| vec![1; spatial]);
                Some(list(&attributes.counts("strides", spatial)?.unwrap_or(default)))
            }
            (_, "pads_begin" | "pads_end") => {
                let own = attributes.counts(attribute, spatial)?;
                let both = attributes.counts("pads", spatial)?;
                Some(list(&own.or(both).unwrap_or_else(|| vec![0; spatial])))
            }
            (_, "dilations") => Some(list(&attributes.counts(attribute, spatial)?.unwrap_or_else(|| vec![1; spatial]))),
            (_, "output_padding") => {
                Some(list(&attributes.counts(attribute, spatial)?.unwrap_or_else(|| vec![0; spatial])))
            }
            (_, "kernel") => attributes.counts("kernel", spatial)?.map(|kernel| list(&kernel)),
            ("conv" | "conv_transpose", "groups") => Some(attributes.read::<usize>("groups")?.unwrap_or(1).write()),
            (_, "eps") if attributes.get("eps").is_none() => Some(AttrValue::Float(1e-5)),
            (_, "keepdim" | "last" | "exclusive" | "column_major" | "input_forget") => {
                attributes.get(attribute).is_none().then(|| false.write())
            }
            ("cumulative", "reverse") if attributes.get("reverse").is_none() => Some(false.write()),
            ("arg_reduce" | "top_k", "largest" | "sorted") if attributes.get(attribute).is_none() => Some(true.write()),
            ("gather_nd", "batch_dims") if attributes.get("batch_dims").is_none() => Some(0usize.write()),
            ("scatter_elements" | "scatter_nd", "function") if attributes.get("function").is_none() => {
                Some(AttrValue::Word("assign".into()))
            }
            (_, "clip" | "extrapolation") if attributes.get(attribute).is_none() => {
                Some(AttrValue::Word("none".into()))
            }
            _ => None,
        };
        if let Some(value) = value {
            attributes.set(attribute, value);
        }
    }
    Ok(())
}

/// Defaults and negative positions of a slice. With a negative step, `end=-1` means "down to the first element" and is
/// the default; otherwise a negative position counts from the end, as in Python.
fn slice_bound(bound: &str, attributes: &Attributes, x: &TensorType) -> Result<AttrValue, Mistake> {
    let axis = attributes.axis("axis", x.rank())?.unwrap_or(0);
    let extent = x.shape.get(axis).map_or(0, |&extent| extent as i64);
    let step = attributes.read::<i64>("step")?.unwrap_or(1);
    let from_end = |value: i64| if value < 0 { value.saturating_add(extent) } else { value };
    let value = match (bound, attributes.read::<i64>(bound)?) {
        // One element is left either way; see `shape::slice_len`.
        ("step", _) => step.clamp(-1024 * extent.max(1), 1024 * extent.max(1)),
        ("start", Some(start)) => from_end(start),
        ("start", None) => {
            if step < 0 {
                extent - 1
            } else {
                0
            }
        }
        (_, Some(end)) if step < 0 => end,
        (_, Some(end)) => from_end(end),
        (_, None) => {
            if step < 0 {
                -1
            } else {
                extent
            }
        }
    };
    Ok(value.write())
}

/// Names of attributes that text knows beside those of the row.
pub fn extra_names(name: &str) -> &'static [&'static str] {
    match name {
        "conv" | "conv_transpose" | "pool" | "max_pool_indices" => &["pads"],
        _ => &[],
    }
}
