//! ONNX `If`, `Loop` and `Scan`: what they become, and that it means what the model says.

use situ::eval::{Tensor, evaluate};
use situ::ir::{Graph, verify};
use situ::ops::Op;
use situ::source::onnx::{ImportOptions, import_bytes};
use situ::types::{DType, TensorType};
use situ_runtime::map::FileBytes;

use crate::functional::generated::agrees_on;
use crate::support::onnx::{
    Message, attribute_graph, attribute_int, attribute_ints, graph, model, node, scalar_i64, tensor, tensor_f32,
    tensor_i64, value,
};

const F32: i64 = 1;
const I64: i64 = 7;
const BOOL: i64 = 9;

fn read(graph: Message, opset: i64) -> Result<Graph, String> {
    let bytes = FileBytes::from_vec(model(graph, opset).0);
    import_bytes(&bytes, &ImportOptions::default())
        .map_err(|mistakes| mistakes.iter().map(|mistake| mistake.render("", "")).collect())
}

fn graph_of(message: Message) -> Graph {
    let graph = read(message, 16).expect("the model is right");
    assert_eq!(verify(&graph), []);
    agrees_on(&graph).expect("the functional form means the same");
    graph
}

fn count(graph: &Graph, is: impl Fn(&Op) -> bool) -> usize {
    graph.all_insts().iter().filter(|&&id| is(&graph.inst(id).op)).count()
}

fn truth(value: bool) -> Tensor {
    Tensor::new(TensorType::new(DType::Bool, Vec::<usize>::new()), vec![u8::from(value)])
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Vec<Vec<f64>> {
    evaluate(graph, inputs).expect("it evaluates").iter().map(Tensor::floats).collect()
}

/// A body that passes its condition on.
fn body(mut nodes: Vec<Message>, inputs: Vec<Message>, outputs: Vec<Message>) -> Message {
    nodes.push(node("Identity", &["c"], &["c_out"], vec![]));
    let inputs = [vec![value("i", I64, &[]), value("c", BOOL, &[])], inputs].concat();
    graph(nodes, vec![], inputs, [vec![value("c_out", BOOL, &[])], outputs].concat())
}

#[test]
fn a_branch_sees_what_is_around_it() {
    let branch =
        |op: &str| graph(vec![node(op, &["h", "x"], &["b"], vec![])], vec![], vec![], vec![value("b", F32, &[2])]);
    let nodes = vec![
        node("Neg", &["x"], &["h"], vec![]),
        node(
            "If",
            &["c"],
            &["y"],
            vec![attribute_graph("then_branch", branch("Mul")), attribute_graph("else_branch", branch("Sub"))],
        ),
    ];
    let inputs = vec![value("x", F32, &[2]), value("c", BOOL, &[])];
    let graph = graph_of(graph(nodes, vec![], inputs, vec![value("y", F32, &[2])]));
    assert_eq!(count(&graph, |op| matches!(op, Op::If { .. })), 1);
    let x = Tensor::from_f32(&[2], &[1.5, -3.0]);
    assert_eq!(run(&graph, &[x.clone(), truth(true)]), [[-2.25, -9.0]]);
    assert_eq!(run(&graph, &[x, truth(false)]), [[-3.0, 6.0]]);
}

#[test]
fn a_loop_counts_and_stops_at_run_time() {
    // Doubles while the sum is below the limit, at most n times.
    let nodes = vec![
        node("Add", &["v", "v"], &["v_out"], vec![]),
        node("ReduceSum", &["v_out"], &["total"], vec![attribute_int("keepdims", 0)]),
        node("Less", &["total", "limit"], &["c_out"], vec![]),
    ];
    let inside = graph(
        nodes,
        vec![],
        vec![value("i", I64, &[]), value("c", BOOL, &[]), value("v", F32, &[2])],
        vec![value("c_out", BOOL, &[]), value("v_out", F32, &[2])],
    );
    let nodes = vec![node("Loop", &["n", "", "x"], &["y"], vec![attribute_graph("body", inside)])];
    let inputs = vec![value("x", F32, &[2]), value("n", I64, &[]), value("limit", F32, &[])];
    let graph = graph_of(graph(nodes, vec![], inputs, vec![value("y", F32, &[2])]));
    assert_eq!(count(&graph, |op| matches!(op, Op::Loop { .. })), 1);
    let run = |n: i64, limit: f32| {
        let inputs =
            [Tensor::from_f32(&[2], &[1.0, 0.5]), Tensor::from_i64(&[], &[n]), Tensor::from_f32(&[], &[limit])];
        self::run(&graph, &inputs).remove(0)
    };
    assert_eq!(run(10, 10.0), [8.0, 4.0]);
    assert_eq!(run(2, 10.0), [4.0, 2.0]);
    assert_eq!(run(0, 10.0), [1.0, 0.5]);
}

#[test]
fn a_loop_that_collects_rows_is_a_scan() {
    let nodes = vec![node("Add", &["v", "x"], &["v_out"], vec![]), node("Mul", &["v", "v"], &["row"], vec![])];
    let inside = body(nodes, vec![value("v", F32, &[2])], vec![value("v_out", F32, &[2]), value("row", F32, &[2])]);
    let nodes = vec![node("Loop", &["n", "", "x"], &["y", "rows"], vec![attribute_graph("body", inside)])];
    let outputs = vec![value("y", F32, &[2]), value("rows", F32, &[3, 2])];
    let whole = |trips: Message, inputs: Vec<Message>| graph(nodes.clone(), vec![trips], inputs, outputs.clone());
    let graph = graph_of(whole(scalar_i64("n", 3), vec![value("x", F32, &[2])]));
    assert_eq!(count(&graph, |op| matches!(op, Op::Scan { trips: 3, sequences: 0, .. })), 1);
    let found = run(&graph, &[Tensor::from_f32(&[2], &[1.0, -2.0])]);
    assert_eq!(found, [vec![4.0, -8.0], vec![1.0, 4.0, 4.0, 16.0, 9.0, 36.0]]);
    // The number of rows has to be known.
    let unknown = vec![value("x", F32, &[2]), value("n", I64, &[])];
    let why = read(whole(scalar_i64("unused", 3), unknown), 16).expect_err("the type of the rows is not known");
    assert!(why.contains("unsupported") && why.contains("trip count"), "{why}");
}

#[test]
fn what_changes_shape_is_written_out() {
    let nodes = vec![node("Concat", &["v", "x"], &["v_out"], vec![attribute_int("axis", 0)])];
    let inside = body(nodes, vec![value("v", F32, &[-1])], vec![value("v_out", F32, &[-1])]);
    let nodes = vec![node("Loop", &["n", "", "x"], &["y"], vec![attribute_graph("body", inside)])];
    let graph =
        graph_of(graph(nodes, vec![scalar_i64("n", 3)], vec![value("x", F32, &[1])], vec![value("y", F32, &[4])]));
    assert_eq!(count(&graph, Op::is_control), 0);
    assert_eq!(run(&graph, &[Tensor::from_f32(&[1], &[2.5])]), [[2.5; 4]]);
}

#[test]
fn a_loop_over_constants_decides_a_shape() {
    // 1 doubled three times, as the extent of a reshape.
    let inside = body(
        vec![node("Add", &["v", "v"], &["v_out"], vec![])],
        vec![value("v", I64, &[1])],
        vec![value("v_out", I64, &[1])],
    );
    let nodes = vec![
        node("Loop", &["n", "", "one"], &["shape"], vec![attribute_graph("body", inside)]),
        node("Reshape", &["x", "shape"], &["y"], vec![]),
    ];
    let initializers = vec![scalar_i64("n", 3), tensor_i64("one", &[1])];
    let graph = graph_of(graph(nodes, initializers, vec![value("x", F32, &[2, 4])], vec![value("y", F32, &[8])]));
    assert_eq!(count(&graph, Op::is_control), 0);
}

/// `[seq, n]` running sums along axis 1, last column first, the results put together along axis 1 in the same order.
#[test]
fn a_scan_runs_along_any_axis_either_way() {
    let inside = |rank: &[i64]| {
        graph(
            vec![node("Add", &["s", "t"], &["s_out"], vec![]), node("Identity", &["s_out"], &["row"], vec![])],
            vec![],
            vec![value("s", F32, rank), value("t", F32, rank)],
            vec![value("s_out", F32, rank), value("row", F32, rank)],
        )
    };
    let nodes = vec![node(
        "Scan",
        &["zero", "x"],
        &["last", "rows"],
        vec![
            attribute_graph("body", inside(&[2])),
            attribute_int("num_scan_inputs", 1),
            attribute_ints("scan_input_axes", &[1]),
            attribute_ints("scan_input_directions", &[1]),
            attribute_ints("scan_output_axes", &[-1]),
            attribute_ints("scan_output_directions", &[1]),
        ],
    )];
    let outputs = vec![value("last", F32, &[2]), value("rows", F32, &[2, 3])];
    let zero = tensor_f32("zero", &[2], &[0.25, 0.5]);
    let graph = graph_of(graph(nodes, vec![zero], vec![value("x", F32, &[2, 3])], outputs));
    assert_eq!(count(&graph, |op| matches!(op, Op::Scan { trips: 3, carried: 1, sequences: 1, .. })), 1);
    let x = Tensor::from_f32(&[2, 3], &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
    assert_eq!(run(&graph, &[x]), [vec![6.25, 60.5], vec![6.25, 5.25, 3.25, 60.5, 50.5, 30.5]]);
}

#[test]
fn the_first_scan_runs_over_a_batch() {
    let inside = graph(
        vec![node("Add", &["s", "t"], &["s_out"], vec![]), node("Mul", &["s", "t"], &["row"], vec![])],
        vec![],
        vec![value("s", F32, &[1]), value("t", F32, &[1])],
        vec![value("s_out", F32, &[1]), value("row", F32, &[1])],
    );
    let attributes =
        vec![attribute_graph("body", inside), attribute_int("num_scan_inputs", 1), attribute_ints("directions", &[1])];
    let nodes = vec![node("Scan", &["", "s0", "x"], &["last", "rows"], attributes)];
    let inputs = vec![value("s0", F32, &[2, 1]), value("x", F32, &[2, 3, 1])];
    let outputs = vec![value("last", F32, &[2, 1]), value("rows", F32, &[2, 3, 1])];
    let graph = read(graph(nodes, vec![], inputs, outputs), 8).expect("the model is right");
    assert_eq!(count(&graph, |op| matches!(op, Op::Scan { .. })), 2);
    let s0 = Tensor::from_f32(&[2, 1], &[1.0, -1.0]);
    let x = Tensor::from_f32(&[2, 3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    // Backwards: 1 * 3, 4 * 2, 6 * 1 and -1 * 6, 5 * 5, 10 * 4.
    assert_eq!(run(&graph, &[s0, x]), [vec![7.0, 14.0], vec![3.0, 8.0, 6.0, -6.0, 25.0, 40.0]]);
}

#[test]
fn control_flow_nests() {
    let step = body(
        vec![node("Mul", &["v", "x"], &["v_out"], vec![])],
        vec![value("v", F32, &[2])],
        vec![value("v_out", F32, &[2])],
    );
    let then = graph(
        vec![node("Loop", &["n", "", "x"], &["b"], vec![attribute_graph("body", step)])],
        vec![],
        vec![],
        vec![value("b", F32, &[2])],
    );
    let otherwise =
        graph(vec![node("Identity", &["x"], &["b2"], vec![])], vec![], vec![], vec![value("b2", F32, &[2])]);
    let nodes = vec![node(
        "If",
        &["c"],
        &["y"],
        vec![attribute_graph("then_branch", then), attribute_graph("else_branch", otherwise)],
    )];
    let inputs = vec![value("x", F32, &[2]), value("c", BOOL, &[]), value("n", I64, &[])];
    let graph = graph_of(graph(nodes, vec![], inputs, vec![value("y", F32, &[2])]));
    let x = Tensor::from_f32(&[2], &[3.0, -2.0]);
    assert_eq!(run(&graph, &[x.clone(), truth(true), Tensor::from_i64(&[], &[2])]), [[27.0, -8.0]]);
    assert_eq!(run(&graph, &[x, truth(false), Tensor::from_i64(&[], &[2])]), [[3.0, -2.0]]);
}

#[test]
fn a_constant_condition_chooses() {
    let branch = |op: &str| graph(vec![node(op, &["x"], &["b"], vec![])], vec![], vec![], vec![value("b", F32, &[2])]);
    let nodes = vec![node(
        "If",
        &["yes"],
        &["y"],
        vec![attribute_graph("then_branch", branch("Neg")), attribute_graph("else_branch", branch("Abs"))],
    )];
    let yes = tensor("yes", BOOL, &[], &[1]);
    let graph = graph_of(graph(nodes, vec![yes], vec![value("x", F32, &[2])], vec![value("y", F32, &[2])]));
    assert_eq!(count(&graph, |_| true), 1);
}
