//! The messages of an ONNX file as structures that borrow from it: `ModelProto`, `GraphProto`, `NodeProto`,
//! `AttributeProto`, `TensorProto`, `ValueInfoProto` and `FunctionProto`. Field numbers are those of `onnx.proto`; fields
//! that do not change the meaning of a model (documentation, value infos, metadata) are skipped, not read.

use super::wire::{Budget, Field, Fields, Payload, Read, malformed};

/// A whole model.
#[derive(Debug, Default)]
pub struct Model<'a> {
    pub opsets: Vec<Opset<'a>>,
    pub graph: Graph<'a>,
    pub functions: Vec<Function<'a>>,
}

/// Which version of an operator set is meant; the empty domain is ONNX's own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Opset<'a> {
    pub domain: &'a str,
    pub version: i64,
}

#[derive(Debug, Default)]
pub struct Graph<'a> {
    pub name: &'a str,
    pub nodes: Vec<Node<'a>>,
    pub initializers: Vec<Tensor<'a>>,
    pub sparse_initializers: usize,
    pub inputs: Vec<ValueInfo<'a>>,
    pub outputs: Vec<ValueInfo<'a>>,
}

#[derive(Debug, Default)]
pub struct Node<'a> {
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub name: &'a str,
    pub op_type: &'a str,
    pub domain: &'a str,
    pub overload: &'a str,
    pub attributes: Vec<Attribute<'a>>,
}

#[derive(Debug)]
pub struct Attribute<'a> {
    pub name: &'a str,
    /// In a function: the attribute of the function that gives the value; else empty.
    pub reference: &'a str,
    pub value: AttributeValue<'a>,
}

#[derive(Debug)]
pub enum AttributeValue<'a> {
    Float(f32),
    Int(i64),
    Text(&'a [u8]),
    Tensor(Box<Tensor<'a>>),
    Graph(Box<Graph<'a>>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Texts(Vec<&'a [u8]>),
    /// A kind the importer has no use for, by name.
    Other(&'static str),
}

impl AttributeValue<'_> {
    /// The kind in words.
    pub fn kind(&self) -> &'static str {
        match self {
            AttributeValue::Float(_) => "a float",
            AttributeValue::Int(_) => "an integer",
            AttributeValue::Text(_) => "a string",
            AttributeValue::Tensor(_) => "a tensor",
            AttributeValue::Graph(_) => "a graph",
            AttributeValue::Floats(_) => "floats",
            AttributeValue::Ints(_) => "integers",
            AttributeValue::Texts(_) => "strings",
            AttributeValue::Other(kind) => kind,
        }
    }
}

/// A tensor whose elements have not been looked at.
#[derive(Clone, Debug, Default)]
pub struct Tensor<'a> {
    pub name: &'a str,
    pub dims: Vec<i64>,
    /// The dtype's number in `TensorProto.DataType`.
    pub data_type: i64,
    pub raw: Option<&'a [u8]>,
    pub external: bool,
    /// Keys and values that say where external data are.
    pub external_keys: Vec<(&'a str, &'a str)>,
    /// The message, for the typed data fields.
    pub message: &'a [u8],
}

#[derive(Debug, Default)]
pub struct ValueInfo<'a> {
    pub name: &'a str,
    pub ty: ValueType<'a>,
}

#[derive(Debug, Default)]
pub enum ValueType<'a> {
    #[default]
    Unknown,
    Tensor {
        data_type: i64,
        /// `None`: not even the rank is known.
        shape: Option<Vec<Dim<'a>>>,
    },
    /// A sequence, a map, an optional or a sparse tensor, in words.
    Other(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dim<'a> {
    Known(i64),
    Symbol(&'a str),
    Unknown,
}

#[derive(Debug, Default)]
pub struct Function<'a> {
    pub name: &'a str,
    pub domain: &'a str,
    pub overload: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    /// Attributes with a default.
    pub defaults: Vec<Attribute<'a>>,
    pub nodes: Vec<Node<'a>>,
    pub opsets: Vec<Opset<'a>>,
}

/// Calls `visit` for every field of a message.
fn each<'a>(message: &'a [u8], mut visit: impl FnMut(Field<'a>) -> Read<()>) -> Read<()> {
    let mut fields = Fields::of(message);
    while let Some(field) = fields.next()? {
        visit(field)?;
    }
    Ok(())
}

/// Reads a file. A file that is no protobuf message at all is recognised by its first bytes.
pub fn read(bytes: &[u8]) -> Read<Model<'_>> {
    const FOREIGN: [(&[u8], &str); 6] = [
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1F\x8B", "a gzip archive"),
        (b"<", "a web page"),
        (b"version https://git-lfs", "a Git LFS pointer"),
        (b"\x89HDF", "an HDF5 file"),
        (b"{", "a JSON text"),
    ];
    if bytes.is_empty() {
        return malformed("the file is empty");
    }
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return malformed(format!("this is {what}, not an ONNX model"));
    }
    let mut budget = Budget::MODEL;
    let mut model = Model::default();
    let mut graphs = 0;
    each(bytes, |field| {
        match field.number {
            7 => {
                graphs += 1;
                model.graph = graph(field.bytes()?, &mut budget)?;
            }
            8 => model.opsets.push(opset(field.bytes()?, &mut budget)?),
            25 => model.functions.push(function(field.bytes()?, &mut budget)?),
            _ => {}
        }
        Ok(())
    })?;
    match graphs {
        0 => malformed("the file holds no graph: it is not an ONNX model"),
        1 => Ok(model),
        _ => malformed("the file holds more than one graph"),
    }
}

fn opset<'a>(message: &'a [u8], budget: &mut Budget) -> Read<Opset<'a>> {
    budget.part()?;
    let mut opset = Opset::default();
    each(message, |field| {
        match field.number {
            1 => opset.domain = domain(field.text()?),
            2 => opset.version = field.int()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(opset)
}

/// ONNX's own domain has two names.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

fn graph<'a>(message: &'a [u8], budget: &mut Budget) -> Read<Graph<'a>> {
    budget.part()?;
    budget.nested(|budget| {
        let mut graph = Graph::default();
        each(message, |field| {
            match field.number {
                1 => graph.nodes.push(node(field.bytes()?, budget)?),
                2 => graph.name = field.text()?,
                5 => graph.initializers.push(tensor(field.bytes()?, budget)?),
                11 => graph.inputs.push(value_info(field.bytes()?, budget)?),
                12 => graph.outputs.push(value_info(field.bytes()?, budget)?),
                15 => graph.sparse_initializers += 1,
                _ => {}
            }
            Ok(())
        })?;
        Ok(graph)
    })
}

fn node<'a>(message: &'a [u8], budget: &mut Budget) -> Read<Node<'a>> {
    budget.part()?;
    let mut node = Node::default();
    each(message, |field| {
        match field.number {
            1 => {
                budget.part()?;
                node.inputs.push(field.text()?);
            }
            2 => {
                budget.part()?;
                node.outputs.push(field.text()?);
            }
            3 => node.name = field.text()?,
            4 => node.op_type = field.text()?,
            5 => node.attributes.push(attribute(field.bytes()?, budget)?),
            7 => node.domain = domain(field.text()?),
            8 => node.overload = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(node)
}

fn attribute<'a>(message: &'a [u8], budget: &mut Budget) -> Read<Attribute<'a>> {
    budget.part()?;
    let (mut name, mut reference, mut kind) = ("", "", 0);
    let (mut float, mut int, mut text) = (None, None, None);
    let (mut one_tensor, mut one_graph) = (None, None);
    let (mut floats, mut ints, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let mut other = None;
    each(message, |field| {
        match field.number {
            1 => name = field.text()?,
            2 => float = Some(field.float()?),
            3 => int = Some(field.int()?),
            4 => text = Some(field.bytes()?),
            5 => one_tensor = Some(Box::new(tensor(field.bytes()?, budget)?)),
            6 => one_graph = Some(Box::new(graph(field.bytes()?, budget)?)),
            7 => field.extend_floats(&mut floats)?,
            8 => field.extend_ints(&mut ints)?,
            9 => {
                budget.part()?;
                texts.push(field.bytes()?);
            }
            10 => other = Some("a list of tensors"),
            11 => other = Some("a list of graphs"),
            14 | 15 => other = Some("a type"),
            20 => kind = field.int()?,
            21 => reference = field.text()?,
            22 | 23 => other = Some("a sparse tensor"),
            _ => {}
        }
        Ok(())
    })?;
    // Models older than IR version 2 leave the kind out; what is there then tells it.
    if kind == 0 {
        kind = match () {
            () if float.is_some() => 1,
            () if int.is_some() => 2,
            () if text.is_some() => 3,
            () if one_tensor.is_some() => 4,
            () if one_graph.is_some() => 5,
            () if !floats.is_empty() => 6,
            () if !ints.is_empty() => 7,
            () if !texts.is_empty() => 8,
            () => 0,
        };
    }
    let missing = || malformed(format!("attribute {name} holds no value of its kind {kind}"));
    let value = match kind {
        _ if !reference.is_empty() => AttributeValue::Other("a reference"),
        1 => AttributeValue::Float(float.unwrap_or(0.0)),
        2 => AttributeValue::Int(int.unwrap_or(0)),
        3 => AttributeValue::Text(text.unwrap_or_default()),
        4 => match one_tensor {
            Some(tensor) => AttributeValue::Tensor(tensor),
            None => return missing(),
        },
        5 => match one_graph {
            Some(graph) => AttributeValue::Graph(graph),
            None => return missing(),
        },
        6 => AttributeValue::Floats(floats),
        7 => AttributeValue::Ints(ints),
        8 => AttributeValue::Texts(texts),
        _ => AttributeValue::Other(other.unwrap_or("of no known kind")),
    };
    Ok(Attribute { name, reference, value })
}

/// Reads a `TensorProto` file, as the ONNX backend tests keep inputs and outputs.
pub fn read_tensor(bytes: &[u8]) -> Read<Tensor<'_>> {
    tensor(bytes, &mut Budget::MODEL.clone())
}

fn tensor<'a>(message: &'a [u8], budget: &mut Budget) -> Read<Tensor<'a>> {
    budget.part()?;
    let mut tensor = Tensor { message, ..Tensor::default() };
    each(message, |field| {
        match field.number {
            1 if matches!(field.payload, Payload::Bytes(bytes) if bytes.len() > 640) => {
                return malformed(format!("tensor {} has more than 64 axes", tensor.name));
            }
            1 => field.extend_ints(&mut tensor.dims)?,
            2 => tensor.data_type = field.int()?,
            3 => return malformed("a tensor is cut into segments, which no writer does"),
            8 => tensor.name = field.text()?,
            9 => tensor.raw = Some(field.bytes()?),
            13 => {
                budget.part()?;
                let (mut key, mut value) = ("", "");
                each(field.bytes()?, |field| {
                    match field.number {
                        1 => key = field.text()?,
                        2 => value = field.text()?,
                        _ => {}
                    }
                    Ok(())
                })?;
                tensor.external_keys.push((key, value));
            }
            14 => tensor.external = field.int()? == 1,
            _ => {}
        }
        if tensor.dims.len() > 64 {
            return malformed(format!("tensor {} has more than 64 axes", tensor.name));
        }
        Ok(())
    })?;
    Ok(tensor)
}

fn value_info<'a>(message: &'a [u8], budget: &mut Budget) -> Read<ValueInfo<'a>> {
    budget.part()?;
    let mut info = ValueInfo::default();
    each(message, |field| {
        match field.number {
            1 => info.name = field.text()?,
            2 => info.ty = value_type(field.bytes()?, budget)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(info)
}

fn value_type<'a>(message: &'a [u8], budget: &mut Budget) -> Read<ValueType<'a>> {
    let mut ty = ValueType::Unknown;
    each(message, |field| {
        match field.number {
            1 => ty = tensor_type(field.bytes()?, budget)?,
            4 => ty = ValueType::Other("a sequence"),
            5 => ty = ValueType::Other("a map"),
            8 => ty = ValueType::Other("a sparse tensor"),
            9 => ty = ValueType::Other("an optional"),
            _ => {}
        }
        Ok(())
    })?;
    Ok(ty)
}

fn tensor_type<'a>(message: &'a [u8], budget: &mut Budget) -> Read<ValueType<'a>> {
    let (mut data_type, mut shape) = (0, None);
    each(message, |field| {
        match field.number {
            1 => data_type = field.int()?,
            2 => {
                let mut dims = Vec::new();
                each(field.bytes()?, |field| {
                    if field.number == 1 {
                        budget.part()?;
                        dims.push(dim(field.bytes()?)?);
                    }
                    Ok(())
                })?;
                shape = Some(dims);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(ValueType::Tensor { data_type, shape })
}

fn dim(message: &[u8]) -> Read<Dim<'_>> {
    let mut dim = Dim::Unknown;
    each(message, |field| {
        match field.number {
            1 => dim = Dim::Known(field.int()?),
            2 => dim = Dim::Symbol(field.text()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(if dim == Dim::Symbol("") { Dim::Unknown } else { dim })
}

fn function<'a>(message: &'a [u8], budget: &mut Budget) -> Read<Function<'a>> {
    budget.part()?;
    let mut function = Function::default();
    each(message, |field| {
        match field.number {
            1 => function.name = field.text()?,
            4 => {
                budget.part()?;
                function.inputs.push(field.text()?);
            }
            5 => {
                budget.part()?;
                function.outputs.push(field.text()?);
            }
            7 => function.nodes.push(node(field.bytes()?, budget)?),
            9 => function.opsets.push(opset(field.bytes()?, budget)?),
            10 => function.domain = domain(field.text()?),
            11 => function.defaults.push(attribute(field.bytes()?, budget)?),
            13 => function.overload = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(function)
}
