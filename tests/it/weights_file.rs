//! Weights in a safetensors file beside a text: what is written reads back to the same executable, and what is wrong is
//! refused.

use std::path::Path;

use situ::ir::{Constant, ConstantData, Graph, in_program_order, stored};
use situ::pipeline::{Options, compile};
use situ::safetensors::{Archive, write};
use situ::source::onnx::{ImportOptions, import_bytes};
use situ::source::{Bindings, parse_in};
use situ::types::{DType, TensorType};
use situ_runtime::map::FileBytes;

use crate::cli::Folder;
use crate::examples;
use crate::hostile_onnx;
use crate::text::graph_of;

fn file_of(arrays: &[(String, Constant)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, arrays).expect("it is written");
    bytes
}

/// A graph as an importer makes it: it says where its instructions come from, in words, and its seeded weights are bytes.
fn imported(path: &Path) -> Graph {
    let mut graph = examples::graph(path);
    for inst in &mut graph.insts {
        inst.location.text = format!("model.py:{} in layer", inst.location.line);
        (inst.location.line, inst.location.column) = (0, 0);
    }
    for constant in &mut graph.constants {
        if matches!(constant.data, ConstantData::Seeded { .. }) {
            constant.data = ConstantData::Bytes(constant.bytes().into());
        }
    }
    in_program_order(&graph)
}

/// A graph, and its text beside a file of its weights, become the same executable and the same report.
#[test]
fn the_text_beside_its_weights_is_the_same_program() {
    let folder = Folder::new("same-program");
    let mut files = 0;
    for path in examples::programs() {
        let graph = imported(&path);
        let printed = stored(&graph, "w.safetensors");
        std::fs::write(folder.file("w.safetensors"), file_of(&printed.arrays)).expect("a file");
        files += usize::from(!printed.arrays.is_empty());
        let whole = |graph: &Graph| {
            let compilation = compile(graph, &Options::default()).expect("it compiles");
            let mut file = std::io::Cursor::new(Vec::new());
            compilation.compiled.write_to(&mut file).expect("it is written");
            (compilation.report, file.into_inner())
        };
        let (report, executable) = whole(&graph);
        for mmap in [true, false] {
            let (again, mistakes) = parse_in(&printed.text, &Bindings::new(), Path::new(&folder.file("")), mmap);
            let again = again.unwrap_or_else(|| panic!("{mistakes:?}\n{}", printed.text));
            assert_eq!(again, graph, "{}", path.display());
            let (report_again, executable_again) = whole(&again);
            assert_eq!(report_again, report, "{}", path.display());
            assert!(executable_again == executable, "{}", path.display());
        }
    }
    assert!(files > 10, "{files} examples have large constants");
}

/// What is imported is in the order in which its text is read, so that both have the same numbers.
#[test]
fn imported_models_are_what_their_text_says() {
    let import =
        |bytes: Vec<u8>| import_bytes(&FileBytes::from_vec(bytes), &ImportOptions::default()).expect("it is imported");
    let folder = Folder::new("imported");
    let same = |graph: &Graph| {
        let printed = stored(graph, "w.safetensors");
        std::fs::write(folder.file("w.safetensors"), file_of(&printed.arrays)).expect("a file");
        let (again, mistakes) = parse_in(&printed.text, &Bindings::new(), Path::new(&folder.file("")), true);
        assert_eq!(again.as_ref(), Some(graph), "{mistakes:?}\n{}", printed.text);
        printed
    };
    same(&import(hostile_onnx::sample()));
    // Two constants of one place in a file are one array; equal ones of two places are two.
    let file = FileBytes::from_vec((0..200u32).flat_map(|i| ((i % 100) as f32 + 0.25).to_le_bytes()).collect());
    let mut graph = Graph::new("tied");
    let ty = TensorType::new(DType::F32, [100]);
    for (name, offset) in [("a", 0), ("tied", 0), ("equal", 400)] {
        let data = ConstantData::Mapped { file: file.clone(), offset };
        let value = graph.add_constant(Constant { name: name.into(), ty: ty.clone(), data });
        graph.add_output(name, value);
    }
    let printed = same(&graph);
    assert_eq!(printed.arrays.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "equal"]);
    // Names that the file cannot have twice, or at all.
    let mut graph = Graph::new("names");
    for name in ["", "0", "__metadata__"] {
        let bytes: Vec<u8> = (0..100u32).flat_map(|i| (i as f32 + name.len() as f32).to_le_bytes()).collect();
        let data = ConstantData::Bytes(bytes.into());
        let value = graph.add_constant(Constant { name: name.into(), ty: ty.clone(), data });
        graph.add_output(format!("{name} out"), value);
    }
    let printed = same(&graph);
    assert_eq!(printed.arrays.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["0", "0'", "__metadata__'"]);
}

fn constant(name: &str, dtype: DType, shape: &[usize], bytes: Vec<u8>) -> (String, Constant) {
    let ty = TensorType::new(dtype, shape);
    (name.to_string(), Constant { name: name.to_string(), ty, data: ConstantData::Bytes(bytes.into()) })
}

fn several() -> Vec<(String, Constant)> {
    vec![
        constant("b", DType::F16, &[3], vec![1, 2, 3, 4, 5, 6]),
        constant("a \"quoted\" \u{7} name", DType::F32, &[2, 1], (1..9).collect()),
        constant("a", DType::Bool, &[3], vec![1, 0, 1]),
        constant("none", DType::I64, &[0, 4], vec![]),
        constant("scalar", DType::I64, &[], (1..9).collect()),
    ]
}

#[test]
fn what_is_written_reads_back() {
    let arrays = several();
    let bytes = file_of(&arrays);
    let mut turned = arrays.clone();
    turned.reverse();
    assert_eq!(file_of(&turned), bytes, "the order of the arrays is the format's");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    assert!(length.is_multiple_of(8));
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
    let names: Vec<&String> = header.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["none", "scalar", "a \"quoted\" \u{7} name", "b", "a"]);
    assert_eq!(header["b"], serde_json::json!({"dtype": "F16", "shape": [3], "data_offsets": [16, 22]}));
    let archive = Archive::read(&FileBytes::from_vec(bytes)).expect("it reads");
    for (name, constant) in arrays {
        let data = archive.elements(&name, &constant.ty).expect("it is there");
        assert!(matches!(data, ConstantData::Mapped { .. }), "nothing is copied");
        assert_eq!(Constant { data, ..constant.clone() }, constant);
        let other = TensorType::new(constant.ty.dtype, [constant.ty.shape.as_slice(), &[2]].concat());
        assert!(archive.elements(&name, &other).expect_err("another type").contains("expected an array of type"));
    }
    assert!(archive.elements("absent", &TensorType::scalar(DType::F32)).is_err());
}

fn with_header(header: &str, elements: &[u8]) -> Result<Archive, String> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    Archive::read(&FileBytes::from_vec(bytes))
}

#[test]
fn hostile_files_are_refused() {
    let entry = |name: &str, dtype: &str, shape: &str, from: u64, to: u64| {
        format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
    };
    let good = entry("a", "F32", "[2]", 0, 8);
    with_header(&format!("{{{good}}}   "), &[0; 8]).expect("spaces at the end");
    with_header(&format!("{{\"__metadata__\":{{\"format\":\"pt\"}},{good}}}"), &[0; 8]).expect("metadata");
    let wrong = [
        (good.clone(), 8, "begin with"),
        (format!("{{{good}"), 8, "header is wrong"),
        (format!("{{{good},{}}}", entry("a", "F32", "[0]", 8, 8)), 8, "two arrays"),
        (format!("{{{good}}}"), 7, "the file has 7"),
        (format!("{{{good}}}"), 9, "the file has 9"),
        (format!("{{{}}}", entry("a", "F32", "[2]", 4, 12)), 12, "begin at 0"),
        (format!("{{{}}}", entry("a", "F32", "[2]", 8, 0)), 8, "begin at 0"),
        (format!("{{{good},{}}}", entry("b", "F32", "[2]", 4, 12)), 12, "begin at 8"),
        (format!("{{{good},{}}}", entry("b", "F32", "[2]", 12, 20)), 20, "begin at 8"),
        (format!("{{{good},{}}}", entry("b", "F32", "[2]", 0, 8)), 8, "begin at 8"),
        (format!("{{{}}}", entry("a", "F64", "[2]", 0, 8)), 8, "16 bytes by its type"),
        (format!("{{{}}}", entry("a", "F32", "[4294967296,4294967296]", 0, 8)), 8, "too many elements"),
        (format!("{{{}}}", entry("a", "F64", "[2305843009213693952]", 0, 8)), 8, "too many elements"),
        (format!("{{{}}}", entry("a", "F32", "[-2]", 0, 8)), 8, "header is wrong"),
        (format!("{{{}}}", entry("a", "F32", "[2.0]", 0, 8)), 8, "header is wrong"),
        (format!("{{{}}}", entry("a", "F32", "[2]", 0, u64::MAX)), 8, "by its offsets"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}".to_string(), 8, "header is wrong"),
        (format!("{{\"a\":{}", "[".repeat(100_000)), 8, "header is wrong"),
        ("{\"__metadata__\":{\"a\":1}}".to_string(), 0, "header is wrong"),
    ];
    for (header, elements, told) in wrong {
        let shown: String = header.chars().take(80).collect();
        let message = with_header(&header, &vec![0; elements]).expect_err(&shown);
        assert!(message.contains(told) && message.len() < 600, "{shown}: {message}");
    }
    for bytes in [vec![], vec![0; 7], vec![0; 8], u64::MAX.to_le_bytes().to_vec(), vec![9, 0, 0, 0, 0, 0, 0, 0, b'{']] {
        assert!(Archive::read(&FileBytes::from_vec(bytes.clone())).is_err(), "{bytes:?}");
    }
    // Dtypes that nobody asks for may stand in a file.
    let foreign = format!("{{{},{}}}", entry("a", "F8_E4M3", "[5]", 0, 5), entry("b", "BOOL", "[3]", 5, 8));
    let archive = with_header(&foreign, &[0, 0, 0, 0, 0, 0, 2, 1]).expect("it reads");
    let asked = |name: &str, dtype| archive.elements(name, &TensorType::new(dtype, [3])).expect_err("refused");
    assert!(asked("a", DType::F32).contains("F8_E4M3"));
    assert!(asked("b", DType::Bool).contains("0 or 1"));
    assert!(asked("b", DType::U8).contains("expected"));
}

/// Every truncation and every changed byte of a file: refused, or arrays that lie inside.
#[test]
fn damaged_files_are_refused_or_sound() {
    let (arrays, whole) = (several(), file_of(&several()));
    let mut accepted = 0;
    let mut attempt = |bytes: Vec<u8>| {
        if let Ok(archive) = Archive::read(&FileBytes::from_vec(bytes)) {
            for (name, constant) in &arrays {
                if let Ok(data) = archive.elements(name, &constant.ty) {
                    assert_eq!(Constant { data, ..constant.clone() }.bytes().len(), constant.ty.bytes());
                    accepted += 1;
                }
            }
        }
    };
    for length in 0..whole.len() {
        attempt(whole[..length].to_vec());
    }
    for at in 0..whole.len() {
        for byte in [0, b'0', b'9', b'"', b'[', b'{', b'a', 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            attempt(bytes);
        }
    }
    assert!(accepted > 0, "a change of elements or of a name is no damage");
}

#[test]
fn texts_find_only_files_beside_them() {
    let folder = Folder::new("beside");
    let values: Vec<u8> = (0..4u32).flat_map(|i| (i as f32 + 0.5).to_le_bytes()).collect();
    let file = file_of(&[constant("weight", DType::F32, &[4], values.clone())]);
    std::fs::create_dir_all(folder.file("inner")).expect("a folder");
    for name in ["w.safetensors", "inner/w.safetensors"] {
        std::fs::write(folder.file(name), &file).expect("a file");
    }
    std::fs::write(folder.file("junk.safetensors"), b"junk that is no archive").expect("a file");
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.file("inner/w.safetensors"), folder.file("link.safetensors")).expect("a link");
    let text = |weights: &str, array: &str| {
        format!(
            "graph g {{\n  input %x: f32[4]\n{weights}  inout %s: f32[4] = safetensors(\"{array}\")\n  \
             const %w: f32[4] = safetensors(\"weight\")\n  %y = mul %x, %w\n  add_ %s, %y\n  return y=%y\n}}\n"
        )
    };
    let read = |text: &str, folder: &str| {
        let (graph, mistakes) = parse_in(text, &Bindings::new(), Path::new(folder), true);
        let told: String = mistakes.iter().map(|mistake| mistake.render("m.situ", text)).collect();
        graph.ok_or(told)
    };
    let here = folder.file("");
    let graph = read(&text("  weights \"w.safetensors\"\n", "weight"), &here).expect("it is beside the text");
    assert_eq!(graph.constants[0].bytes(), values);
    assert_eq!(graph.inputs[1].initial.as_ref().map(|initial| initial.bytes().into_owned()), Some(values));
    // What was read from a file prints without it.
    assert_eq!(graph_of(&situ::ir::print(&graph)).constants[0].bytes(), graph.constants[0].bytes());
    for (weights, array, folder, told) in [
        ("", "weight", here.as_str(), "names no file of weights"),
        ("  weights \"w.safetensors\"\n", "wieght", &here, "did you mean \"weight\"?"),
        ("  weights \"w.safetensors\"\n  weights \"w.safetensors\"\n", "weight", &here, "names one file"),
        ("  weights \"inner/w.safetensors\"\n", "weight", &here, "not the name of a file in the folder"),
        ("  weights \"./w.safetensors\"\n", "weight", &here, "not the name of a file in the folder"),
        ("  weights \"../w.safetensors\"\n", "weight", &here, "not the name of a file in the folder"),
        ("  weights \"/etc/passwd\"\n", "weight", &here, "not the name of a file in the folder"),
        ("  weights \"..\"\n", "weight", &here, "not the name of a file in the folder"),
        ("  weights \"\"\n", "weight", &here, "not the name of a file in the folder"),
        ("  weights \"w\\u{0}\"\n", "weight", &here, "not the name of a file in the folder"),
        ("  weights \"inner\"\n", "weight", &here, "not a plain file"),
        ("  weights \"absent.safetensors\"\n", "weight", &here, "absent.safetensors"),
        ("  weights \"junk.safetensors\"\n", "weight", &here, "no safetensors file"),
        ("  weights \"link.safetensors\"\n", "weight", &here, "a link, which is not followed"),
        ("  weights \"w.safetensors\"\n", "weight", "/nonexistent/folder", "the model has no folder"),
        ("  weights w\n", "weight", &here, "in quotes"),
    ] {
        let text = text(weights, array);
        let message = read(&text, folder).expect_err(&text);
        assert!(message.contains(told), "{weights}: {message}");
    }
}
