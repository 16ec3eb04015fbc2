//! A writer of ONNX files: just enough protobuf to make small models, right or wrong on purpose.

/// A protobuf message being written. Fields stand in the order they are added, as often as they are added.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    pub fn new() -> Message {
        Message::default()
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn int(mut self, field: u32, value: i64) -> Message {
        self.varint(u64::from(field) << 3);
        self.varint(value as u64);
        self
    }

    pub fn float(mut self, field: u32, value: f32) -> Message {
        self.varint(u64::from(field) << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub fn bytes(mut self, field: u32, bytes: &[u8]) -> Message {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub fn text(self, field: u32, text: &str) -> Message {
        self.bytes(field, text.as_bytes())
    }

    pub fn message(self, field: u32, message: Message) -> Message {
        self.bytes(field, &message.0)
    }

    pub fn messages(self, field: u32, messages: impl IntoIterator<Item = Message>) -> Message {
        messages.into_iter().fold(self, |whole, message| whole.message(field, message))
    }

    pub fn ints(self, field: u32, values: &[i64]) -> Message {
        values.iter().fold(self, |whole, &value| whole.int(field, value))
    }
}

/// A `TensorProto` whose elements are raw bytes.
pub fn tensor(name: &str, data_type: i64, dims: &[i64], raw: &[u8]) -> Message {
    Message::new().ints(1, dims).int(2, data_type).text(8, name).bytes(9, raw)
}

pub fn tensor_f32(name: &str, dims: &[i64], elements: &[f32]) -> Message {
    let raw: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
    tensor(name, 1, dims, &raw)
}

pub fn tensor_i64(name: &str, elements: &[i64]) -> Message {
    let raw: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
    tensor(name, 7, &[elements.len() as i64], &raw)
}

pub fn scalar_i64(name: &str, element: i64) -> Message {
    tensor(name, 7, &[], &element.to_le_bytes())
}

/// A `ValueInfoProto` of a tensor; extents below zero become symbols.
pub fn value(name: &str, data_type: i64, dims: &[i64]) -> Message {
    let dim = |&extent: &i64| match extent {
        0.. => Message::new().int(1, extent),
        _ => Message::new().text(2, "N"),
    };
    let shape = Message::new().messages(1, dims.iter().map(dim));
    let ty = Message::new().message(1, Message::new().int(1, data_type).message(2, shape));
    Message::new().text(1, name).message(2, ty)
}

pub fn attribute_int(name: &str, value: i64) -> Message {
    Message::new().text(1, name).int(3, value).int(20, 2)
}

pub fn attribute_float(name: &str, value: f32) -> Message {
    Message::new().text(1, name).float(2, value).int(20, 1)
}

pub fn attribute_ints(name: &str, values: &[i64]) -> Message {
    Message::new().text(1, name).ints(8, values).int(20, 7)
}

pub fn attribute_text(name: &str, text: &str) -> Message {
    Message::new().text(1, name).text(4, text).int(20, 3)
}

pub fn attribute_tensor(name: &str, tensor: Message) -> Message {
    Message::new().text(1, name).message(5, tensor).int(20, 4)
}

pub fn attribute_graph(name: &str, graph: Message) -> Message {
    Message::new().text(1, name).message(6, graph).int(20, 5)
}

/// A `NodeProto`; its name is its first output with an `n` in front.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<Message>) -> Message {
    let with_inputs = inputs.iter().fold(Message::new(), |node, input| node.text(1, input));
    let with_outputs = outputs.iter().fold(with_inputs, |node, output| node.text(2, output));
    let name = format!("n{}", outputs.first().copied().unwrap_or(""));
    with_outputs.text(3, &name).text(4, op).messages(5, attributes)
}

/// A `GraphProto`.
pub fn graph(nodes: Vec<Message>, initializers: Vec<Message>, inputs: Vec<Message>, outputs: Vec<Message>) -> Message {
    Message::new().messages(1, nodes).text(2, "g").messages(5, initializers).messages(11, inputs).messages(12, outputs)
}

/// A `ModelProto` of an opset.
pub fn model(graph: Message, opset: i64) -> Message {
    Message::new().int(1, 10).message(7, graph).message(8, Message::new().text(1, "").int(2, opset))
}
