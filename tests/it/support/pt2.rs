//! `.pt2` archives made by hand: a zip of stored entries, byte by byte, so that tests can spoil every field of it.

use serde_json::{Value, json};

/// One entry, and what its headers say of it where that is not the truth.
#[derive(Clone, Default)]
pub struct Entry {
    pub name: String,
    pub content: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    /// Compressed and uncompressed sizes, if they are to differ from the content's.
    pub sizes: Option<(u32, u32)>,
    pub crc: Option<u32>,
    /// Offset of the local header that the directory names.
    pub offset: Option<u32>,
    /// Extra field of the directory.
    pub extra: Vec<u8>,
}

/// An honest entry.
pub fn entry(name: &str, content: impl Into<Vec<u8>>) -> Entry {
    Entry { name: name.into(), content: content.into(), ..Entry::default() }
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    let over = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, over)
}

/// The archive (APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16).
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let length = entry.content.len() as u32;
        let (compressed, size) = entry.sizes.unwrap_or((length, length));
        let crc = entry.crc.unwrap_or_else(|| crc32(&entry.content));
        let start = entry.offset.unwrap_or(file.len() as u32);
        let shorts =
            |out: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|value| out.extend(value.to_le_bytes()));
        let longs = |out: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|value| out.extend(value.to_le_bytes()));
        file.extend(b"PK\x03\x04");
        shorts(&mut file, &[20, entry.flags, entry.method, 0, 33]);
        longs(&mut file, &[crc, compressed, size]);
        shorts(&mut file, &[entry.name.len() as u16, 0]);
        file.extend(entry.name.as_bytes());
        file.extend(&entry.content);
        directory.extend(b"PK\x01\x02");
        shorts(&mut directory, &[20, 20, entry.flags, entry.method, 0, 33]);
        longs(&mut directory, &[crc, compressed, size]);
        shorts(&mut directory, &[entry.name.len() as u16, entry.extra.len() as u16, 0, 0, 0]);
        longs(&mut directory, &[0, start]);
        directory.extend(entry.name.as_bytes());
        directory.extend(&entry.extra);
    }
    let (count, start, length) = (entries.len() as u16, file.len() as u32, directory.len() as u32);
    file.extend(&directory);
    file.extend(b"PK\x05\x06");
    [0, 0, count, count].iter().for_each(|value: &u16| file.extend(value.to_le_bytes()));
    [length, start].iter().for_each(|value| file.extend(value.to_le_bytes()));
    file.extend([0, 0]);
    file
}

pub fn tensor(name: &str) -> Value {
    json!({"as_tensor": {"name": name}})
}

/// A row-major `f32` tensor as the schema describes it.
pub fn meta(shape: &[i64]) -> Value {
    let mut strides = vec![1i64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strided(7, shape, &strides, 0)
}

pub fn strided(dtype: u64, shape: &[i64], strides: &[i64], offset: i64) -> Value {
    let ints = |values: &[i64]| values.iter().map(|value| json!({"as_int": value})).collect::<Vec<Value>>();
    json!({"dtype": dtype, "sizes": ints(shape), "requires_grad": false, "device": {"type": "cpu", "index": null},
        "strides": ints(strides), "storage_offset": {"as_int": offset}, "layout": 7})
}

/// `target(arguments) -> outputs`, asked for by line 7 of `net.py`.
pub fn node(target: &str, arguments: &[(&str, Value)], outputs: &[&str]) -> Value {
    let inputs: Vec<Value> =
        arguments.iter().map(|(name, value)| json!({"name": name, "arg": value, "kind": 1})).collect();
    let trace = "File \"/home/somebody/net.py\", line 7, in forward\n    y = f(x)";
    json!({"target": target, "inputs": inputs, "outputs": outputs.iter().map(|name| tensor(name)).collect::<Vec<Value>>(),
        "metadata": {"stack_trace": trace, "nn_module_stack": "L__self__,,m.Net;L__self__n,n,m.Layer"}})
}

/// `y = linear(x, w); b.add_(1); y + b`, with two views of one storage and a buffer that is written.
pub fn sample() -> Value {
    let nodes = [
        node("torch.ops.aten.linear.default", &[("input", tensor("x")), ("weight", tensor("p_w"))], &["linear"]),
        node("torch.ops.aten.add_.Tensor", &[("self", tensor("b_b")), ("other", json!({"as_float": 1.5}))], &["add_"]),
        node("torch.ops.aten.add.Tensor", &[("self", tensor("linear")), ("other", tensor("add_"))], &["add"]),
        node("torch.ops.aten.matmul.default", &[("self", tensor("add")), ("other", tensor("p_v"))], &["matmul"]),
    ];
    let values = json!({"x": meta(&[2, 3]), "p_w": meta(&[4, 3]), "p_v": strided(7, &[4, 3], &[3, 1], 0), "b_b": meta(&[4]),
        "linear": meta(&[2, 4]), "add_": meta(&[4]), "add": meta(&[2, 4]), "matmul": meta(&[2, 3])});
    let inputs = ["p_w", "p_v", "b_b", "x"].map(tensor);
    json!({
        "graph_module": {
            "graph": {"inputs": inputs, "outputs": [tensor("matmul")], "nodes": nodes, "tensor_values": values,
                "sym_int_values": {}, "sym_bool_values": {}, "is_single_tensor_return": false},
            "signature": {
                "input_specs": [
                    {"parameter": {"arg": {"name": "p_w"}, "parameter_name": "w"}},
                    {"parameter": {"arg": {"name": "p_v"}, "parameter_name": "v"}},
                    {"buffer": {"arg": {"name": "b_b"}, "buffer_name": "b", "persistent": true}},
                    {"user_input": {"arg": tensor("x")}},
                ],
                "output_specs": [{"user_output": {"arg": tensor("matmul")}}],
            },
            "module_call_graph": [],
        },
        "opset_version": {"aten": 10}, "range_constraints": {}, "schema_version": {"major": 8, "minor": 20},
        "verifiers": ["TRAINING"], "torch_version": "2.15.0",
    })
}

fn payload(path: &str, meta: Value) -> Value {
    json!({"path_name": path, "is_param": true, "use_pickle": false, "tensor_meta": meta})
}

/// The table of weights of [`sample`]: `w` and `v` share one storage.
pub fn weights() -> Value {
    json!({"config": {
        "w": payload("weight_0", meta(&[4, 3])),
        "v": payload("weight_0", meta(&[4, 3])),
        "b": payload("weight_1", meta(&[4])),
    }})
}

/// The entries of an archive with this description and table.
pub fn entries(program: &Value, weights: &Value) -> Vec<Entry> {
    let floats = |count: usize| (0..count).flat_map(|i| (i as f32 * 0.37 - 1.1).to_le_bytes()).collect::<Vec<u8>>();
    vec![
        entry("net/archive_format", "pt2"),
        entry("net/models/model.json", program.to_string()),
        entry("net/archive_version", "0"),
        entry("net/byteorder", "little"),
        entry("net/data/weights/model_weights_config.json", weights.to_string()),
        entry("net/data/weights/weight_0", floats(12)),
        entry("net/data/weights/weight_1", floats(4)),
        entry("net/data/constants/model_constants_config.json", "{\"config\": {}}"),
    ]
}
