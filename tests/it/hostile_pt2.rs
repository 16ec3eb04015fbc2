//! `.pt2` files that are wrong, on purpose or by mutation: always a diagnostic, never a panic, a hang or an unbounded
//! allocation. The mutants come from a fixed generator, so a failure names a seed that can be run again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use situ::diagnostic::Diagnostic;
use situ::source::Bindings;
use situ::source::pt2::{ImportOptions, Imported, import_bytes};
use situ_runtime::map::FileBytes;

use crate::support::pt2::{Entry, entries, entry, meta, node, sample, strided, tensor, weights, zip};
use crate::support::random::Random;

fn read(bytes: Vec<u8>) -> Result<Imported, Vec<Diagnostic>> {
    import_bytes(&FileBytes::from_vec(bytes), "net", &ImportOptions { bindings: Bindings::new(), mmap: false })
}

/// The messages of a refusal.
fn refusal(bytes: Vec<u8>) -> String {
    match read(bytes) {
        Ok(imported) => panic!("accepted: {} instructions", imported.graph.insts.len()),
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "a refusal has a reason");
            diagnostics.iter().map(|diagnostic| diagnostic.render("", "")).collect()
        }
    }
}

/// What is said of the sample with one entry changed.
fn with_entry(name: &str, change: impl FnOnce(&mut Entry)) -> String {
    let mut all = entries(&sample(), &weights());
    let found = all.iter_mut().find(|entry| entry.name.ends_with(name)).expect("the sample has the entry");
    change(found);
    refusal(zip(&all))
}

fn with_program(change: impl FnOnce(&mut Value)) -> String {
    let mut program = sample();
    change(&mut program);
    refusal(zip(&entries(&program, &weights())))
}

fn with_weights(change: impl FnOnce(&mut Value)) -> String {
    let mut table = weights();
    change(&mut table);
    refusal(zip(&entries(&sample(), &table)))
}

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in\n{text}");
    }
}

#[test]
fn the_sample_is_accepted() {
    let imported = read(zip(&entries(&sample(), &weights()))).expect("the sample is right");
    assert_eq!(imported.warnings, Vec::<String>::new());
    let graph = &imported.graph;
    let names: Vec<&str> = graph.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["x", "b"], "what is written is state, behind the caller's inputs");
    assert!(graph.inputs[1].initial.is_some());
    assert_eq!(graph.constants.iter().filter(|constant| !constant.is_inline()).count(), 1, "one storage, one constant");
    assert!(graph.insts.iter().any(|inst| inst.location.text == "net.py:7 in n"));
}

#[test]
fn what_is_no_archive_is_refused() {
    says(&refusal(Vec::new()), &["not a zip archive", "empty"]);
    says(&refusal(vec![0x80, 2, 0x63]), &["pickle", "torch.export.save"]);
    says(&refusal(vec![0x1f, 0x8b, 8, 0]), &["gzip"]);
    says(&refusal(b"<!DOCTYPE html>".to_vec()), &["not a zip archive"]);
    says(&refusal(b"PK\x03\x04".repeat(1000)), &["not a zip archive"]);
}

#[test]
fn truncation_anywhere_is_refused() {
    let whole = zip(&entries(&sample(), &weights()));
    for length in 0..whole.len() {
        assert!(read(whole[..length].to_vec()).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn containers_that_lie_are_refused() {
    says(&with_entry("byteorder", |entry| entry.name = "net/../../etc/passwd".into()), &["without `..`"]);
    says(&with_entry("byteorder", |entry| entry.name = "/net/byteorder".into()), &["expected a path"]);
    says(&with_entry("byteorder", |entry| entry.name = "other/byteorder".into()), &["not in the archive's folder"]);
    says(&with_entry("weight_0", |entry| entry.method = 8), &["weight_0", "compressed", "expected it stored"]);
    says(&with_entry("weight_0", |entry| entry.flags = 1), &["weight_0", "encrypted"]);
    says(&with_entry("weight_0", |entry| entry.crc = Some(7)), &["weight_0", "checksum"]);
    says(&with_entry("model.json", |entry| entry.crc = Some(7)), &["model.json", "checksum"]);
    // A smaller uncompressed size is how a stored entry pretends to be compressed.
    says(&with_entry("weight_0", |entry| entry.sizes = Some((48, 24))), &["weight_0", "stored as 48"]);
    says(&with_entry("weight_0", |entry| entry.sizes = Some((1 << 30, 1 << 30))), &["weight_0", "leave the file"]);
    // 64-bit sizes in an extra field, larger than any file.
    let zip64 = |entry: &mut Entry| {
        entry.sizes = Some((u32::MAX, u32::MAX));
        entry.extra = [&[1, 0, 16, 0][..], &(u64::MAX - 40).to_le_bytes(), &(u64::MAX - 40).to_le_bytes()].concat();
    };
    says(&with_entry("weight_0", zip64), &["weight_0"]);
    // Two entries of one name, and two entries over the same bytes.
    let mut twice = entries(&sample(), &weights());
    twice.push(entry("net/data/weights/weight_1", vec![0; 16]));
    says(&refusal(zip(&twice)), &["twice"]);
    let mut overlapping = entries(&sample(), &weights());
    let mut second = overlapping[5].clone();
    second.name = "net/data/weights/weight_9".into();
    second.offset = Some(0);
    overlapping.push(second);
    assert!(read(zip(&overlapping)).is_err());
}

/// A data descriptor says sizes and checksum behind the content; the directory has them too and is what counts.
#[test]
fn data_descriptors_change_nothing() {
    let mut all = entries(&sample(), &weights());
    all.iter_mut().for_each(|entry| entry.flags |= 8);
    assert!(read(zip(&all)).is_ok());
}

#[test]
fn versions_and_dialects_are_told_apart() {
    says(
        &with_program(|program| program["schema_version"]["major"] = json!(9)),
        &["unsupported", "schema version 9.20"],
    );
    let mut newer = sample();
    newer["schema_version"]["minor"] = json!(21);
    let imported = read(zip(&entries(&newer, &weights()))).expect("a minor version is no reason to refuse");
    assert_eq!(imported.warnings.len(), 1);
    assert!(imported.warnings[0].contains("8.21"));
    says(&with_entry("byteorder", |entry| entry.content = b"big".to_vec()), &["unsupported", "byte order \"big\""]);
    says(&with_entry("archive_format", |entry| entry.content = b"pt3".to_vec()), &["expected \"pt2\""]);
    says(&with_entry("archive_format", |entry| entry.name = "net/x".into()), &["no entry archive_format"]);
    says(&with_entry("model.json", |entry| entry.name = "net/models.json".into()), &["no program"]);
    says(&with_entry("model.json", |entry| entry.content = vec![0xff; 9]), &["model.json"]);
    says(&with_entry("model.json", |entry| entry.content = b"[".repeat(1 << 20)), &["model.json"]);
    says(&with_entry("model.json", |entry| entry.content = b"{\"schema_version\":".repeat(1 << 16)), &["model.json"]);
}

#[test]
fn weights_that_are_not_there_are_refused() {
    says(&with_weights(|table| table["config"]["w"]["use_pickle"] = json!(true)), &["w: ", "weight_0", "pickle"]);
    says(&with_weights(|table| table["config"]["w"]["path_name"] = json!("weight_7")), &["no entry", "weight_7"]);
    says(&with_weights(|table| table["config"]["w"]["path_name"] = json!("../../../w")), &["no entry"]);
    says(&with_weights(|table| table["config"]["w"]["tensor_meta"] = Value::Null), &["w: ", "not described"]);
    says(
        &with_weights(|table| {
            table["config"].as_object_mut().expect("an object").remove("w");
        }),
        &["w: ", "does not hold it"],
    );
    let laid = |meta: Value| with_weights(move |table| table["config"]["w"]["tensor_meta"] = meta);
    says(&laid(strided(7, &[4, 3], &[3, 1], 1)), &["leaves the 48 bytes"]);
    says(&laid(strided(7, &[4, 3], &[-3, 1], 9)), &["w: "]);
    says(&laid(strided(7, &[4, 3], &[3, 1], -1)), &["leaves the 48 bytes"]);
    says(&laid(strided(7, &[4, 3], &[i64::MAX, i64::MAX], 0)), &["leaves the 48 bytes"]);
    says(&laid(strided(7, &[i64::MAX, i64::MAX], &[1, 1], 0)), &["w: "]);
    says(&laid(strided(7, &[1 << 40, 1 << 40], &[0, 0], 0)), &["w: "]);
    says(&laid(strided(7, &[-4, 3], &[3, 1], 0)), &["an extent of -4"]);
    says(&laid(strided(7, &[4, 3], &[3], 0)), &["2 extents and 1 strides"]);
    says(&laid(strided(10, &[4, 3], &[3, 1], 0)), &["complex"]);
    says(&laid(strided(99, &[4, 3], &[3, 1], 0)), &["not known"]);
    says(&laid(strided(8, &[4, 3], &[3, 1], 0)), &["leaves the 48 bytes"]);
    // The table and the program have to agree.
    says(&laid(strided(6, &[4, 3], &[3, 1], 0)), &["f16[4, 3]", "f32[4, 3]"]);
    says(&with_entry("weight_1", |entry| entry.content.truncate(15)), &["b: "]);
}

/// Two views of one storage as numbers of different widths: both are seen.
#[test]
fn views_of_two_dtypes_share_a_storage() {
    let (mut program, mut table) = (sample(), weights());
    program["graph_module"]["graph"]["tensor_values"]["p_v"] = strided(4, &[4, 3], &[3, 1], 0);
    table["config"]["v"]["tensor_meta"] = strided(4, &[4, 3], &[3, 1], 0);
    let nodes = &mut program["graph_module"]["graph"]["nodes"];
    nodes[3] = node("torch.ops.aten.sum.default", &[("self", tensor("p_v"))], &["matmul"]);
    program["graph_module"]["graph"]["tensor_values"]["matmul"] = strided(5, &[], &[], 0);
    let imported = read(zip(&entries(&program, &table))).expect("dtypes of one width");
    assert_eq!(imported.graph.constants.iter().filter(|constant| !constant.is_inline()).count(), 1);
}

#[test]
fn programs_that_are_wrong_are_refused_in_place() {
    let nodes = |change: fn(&mut Vec<Value>)| {
        with_program(move |program| {
            change(program["graph_module"]["graph"]["nodes"].as_array_mut().expect("a list"));
        })
    };
    says(
        &nodes(|nodes| nodes[0]["target"] = json!("torch.ops.aten.frobnicate.default")),
        &["unsupported", "frobnicate", "net.py:7 in n", "not known"],
    );
    says(&nodes(|nodes| nodes[0]["target"] = json!("")), &["unsupported"]);
    says(&nodes(|nodes| nodes.swap(0, 2)), &["\"linear\" is not defined"]);
    says(&nodes(|nodes| nodes[0]["inputs"][0]["name"] = json!("weight")), &["argument weight is given twice"]);
    says(&nodes(|nodes| nodes[0]["inputs"][0]["name"] = json!("inputs")), &["argument inputs is not known"]);
    says(&nodes(|nodes| nodes[0]["inputs"] = json!([])), &["argument input is missing"]);
    says(&nodes(|nodes| nodes[0]["inputs"][0]["arg"] = json!({"as_int": 3})), &["should be a tensor, found a number"]);
    says(&nodes(|nodes| nodes[0]["inputs"][0]["arg"] = json!({"as_widget": 3})), &["as_widget"]);
    says(&nodes(|nodes| nodes[0]["outputs"] = json!([tensor("a"), tensor("b")])), &["2 results are named"]);
    says(
        &nodes(|nodes| {
            let trace = json!({"as_graph": {"name": "g", "graph": {"inputs": [], "outputs": [], "nodes": [], "tensor_values": {}}}});
            nodes[0] = node(
                "torch.ops.higher_order.cond",
                &[("", tensor("x")), ("", trace.clone()), ("", trace)],
                &["linear"],
            );
        }),
        &["higher_order.cond", "one element"],
    );
    says(
        &with_program(|program| program["graph_module"]["graph"]["tensor_values"]["linear"] = meta(&[2, 5])),
        &["the file says f32[2, 5] of linear", "f32[2, 4]"],
    );
    says(&with_program(|program| program["graph_module"]["graph"]["tensor_values"]["x"] = meta(&[2, -3])), &["-3"]);
    says(
        &with_program(|program| program["graph_module"]["graph"]["tensor_values"]["x"]["layout"] = json!(1)),
        &["strided"],
    );
    says(
        &with_program(|program| {
            program["graph_module"]["signature"]["output_specs"][0]["user_output"]["arg"] = tensor("nowhere")
        }),
        &["\"nowhere\" is not defined"],
    );
    says(
        &with_program(|program| {
            let spec =
                json!({"custom_obj": {"arg": {"name": "o", "class_fqn": "__torch__.Thing"}, "custom_obj_name": "o"}});
            program["graph_module"]["signature"]["input_specs"].as_array_mut().expect("a list").push(spec);
        }),
        &["__torch__.Thing", "pickled"],
    );
}

/// Everything that is unsupported is listed at once, an op once with all its lines.
#[test]
fn unsupported_ops_are_listed_together() {
    let text = with_program(|program| {
        let nodes = program["graph_module"]["graph"]["nodes"].as_array_mut().expect("a list");
        for name in ["one", "two", "two"] {
            let mut strange = node(&format!("torch.ops.mine.{name}.default"), &[("self", tensor("x"))], &[]);
            strange["metadata"]["stack_trace"] = json!(format!("File \"/a/b/{name}.py\", line {}, in f", nodes.len()));
            nodes.push(strange);
        }
    });
    assert_eq!(
        text,
        "unsupported: torch.ops.mine.one.default (one.py:4 in n): the op is not known\n\
         unsupported: torch.ops.mine.two.default (two.py:5 in n): the op is not known\n  = also two.py:6 in n\n"
    );
}

#[test]
fn symbols_are_bound_or_asked_for() {
    let symbolic = |expr: &str| json!({"as_expr": {"expr_str": expr, "hint": {"as_int": 2}}});
    let with_rows = |expr: &str| {
        let mut program = sample();
        program["range_constraints"] = json!({"s7": {"min_val": 2, "max_val": 64}});
        for name in ["x", "linear", "add", "matmul"] {
            program["graph_module"]["graph"]["tensor_values"][name]["sizes"][0] = symbolic(expr);
        }
        zip(&entries(&program, &weights()))
    };
    let symbol = "Symbol('s7', positive=True, integer=True)";
    says(&refusal(with_rows(symbol)), &["--bind s7=N", "from 2 to 64", "traced with 2"]);
    let bound = |expr: &str, extent: usize| {
        let options = ImportOptions { bindings: Bindings::new().bind("s7", extent), mmap: false };
        import_bytes(&FileBytes::from_vec(with_rows(expr)), "net", &options)
    };
    let graph = bound(symbol, 5).expect("bound").graph;
    assert_eq!(graph.ty(graph.inputs[0].value).shape, [5, 3]);
    let graph = bound(&format!("FloorDiv(Mul(Integer(3), {symbol}), Integer(2))"), 5).expect("bound").graph;
    assert_eq!(graph.ty(graph.inputs[0].value).shape, [7, 3]);
    says(&bound(symbol, 65).map(|_| String::new()).unwrap_err()[0].render("", ""), &["s7", "65", "64"]);
    for bomb in
        ["(".repeat(100_000), "Max(".repeat(100_000), format!("{symbol}**{symbol}**9999999"), "-".repeat(100_000)]
    {
        let began = Instant::now();
        assert!(bound(&bomb, 5).is_err());
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

/// Changes one place of a description: another number, another word of the same file, something of another kind, or
/// nothing at all.
fn spoil(value: &mut Value, random: &mut Random, words: &[String]) {
    let numbers = [0, -1, 1, 3, 7, i64::MAX, i64::MIN, 1 << 31, 1 << 40];
    match value {
        Value::Object(map) if !map.is_empty() && random.below(12) > 0 => {
            let at = random.below(map.len());
            let key = map.keys().nth(at).cloned().unwrap_or_default();
            if random.below(20) == 0 {
                map.remove(&key);
            } else if let Some(inner) = map.get_mut(&key) {
                spoil(inner, random, words);
            }
        }
        Value::Array(list) if !list.is_empty() && random.below(12) > 0 => {
            let at = random.below(list.len());
            match random.below(12) {
                0 => {
                    list.remove(at);
                }
                1 => {
                    let copy = list[at].clone();
                    list.push(copy);
                }
                _ => spoil(&mut list[at], random, words),
            }
        }
        other => {
            *other = match random.below(5) {
                0 => json!(words[random.below(words.len())]),
                1 => json!(random.below(2) == 0),
                2 => Value::Null,
                _ => json!(numbers[random.below(numbers.len())]),
            };
        }
    }
}

fn words_of(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::String(word) => words.push(word.clone()),
        Value::Array(list) => list.iter().for_each(|inner| words_of(inner, words)),
        Value::Object(map) => map.values().for_each(|inner| words_of(inner, words)),
        _ => {}
    }
}

/// Reading a mutant ends soon, and what is accepted can be compiled or is refused there.
fn survives(bytes: Vec<u8>, seed: u64) {
    let began = Instant::now();
    let outcome = std::panic::catch_unwind(|| {
        if let Ok(imported) = read(bytes) {
            let _ = situ::pipeline::compile(&imported.graph, &situ::pipeline::Options::default());
        }
    });
    assert!(outcome.is_ok(), "seed {seed} panics");
    assert!(began.elapsed() < Duration::from_secs(20), "seed {seed} takes {:?}", began.elapsed());
}

#[test]
fn mutations_are_survived() {
    let (program, table) = (sample(), weights());
    let mut words = Vec::new();
    words_of(&program, &mut words);
    for seed in 0..1500u64 {
        let mut random = Random(seed);
        let (mut program, mut table) = (program.clone(), table.clone());
        for _ in 0..1 + random.below(3) {
            if random.below(5) == 0 {
                spoil(&mut table, &mut random, &words)
            } else {
                spoil(&mut program, &mut random, &words)
            }
        }
        survives(zip(&entries(&program, &table)), seed);
    }
}

#[test]
fn flipped_bytes_are_survived() {
    let whole = zip(&entries(&sample(), &weights()));
    for seed in 0..3000u64 {
        let mut random = Random(seed ^ 0x5117);
        let mut bytes = whole.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        survives(bytes, seed);
    }
}
