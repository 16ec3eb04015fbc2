//! Running compiled programs on seeded inputs.

use situ::ir::{Distribution, Graph};
use situ::npz::Array;
use situ::seeded;
use situ::types::{DType, InputMode, TensorType};
use situ_runtime::session::{Argument, Session};
use situ_runtime::tensor::{Tensor, TensorMut, TensorRef};

/// Inputs that are neither constant nor zero: floats normal, integers 0 to 7.
pub fn random_inputs(graph: &Graph, seed: u64) -> Vec<Array> {
    graph
        .inputs
        .iter()
        .enumerate()
        .map(|(position, input)| {
            let ty = graph.ty(input.value).clone();
            let distribution = match ty.dtype {
                dtype if dtype.is_float() => Distribution::Normal { mean: 0.0, std: 1.0 },
                DType::Bool => Distribution::Uniform { low: 0.0, high: 1.0 },
                _ => Distribution::Uniform { low: 0.0, high: 8.0 },
            };
            Array { bytes: seeded::draw(distribution, seed + position as u64, ty.dtype, ty.len()), ty }
        })
        .collect()
}

/// Outputs, then the `inout` inputs after the run.
pub fn once(session: &mut Session, inputs: &[Array]) -> Vec<Array> {
    let modes: Vec<InputMode> = session.inputs().iter().map(|port| port.mode).collect();
    let mut held: Vec<Tensor> = inputs
        .iter()
        .map(|array| Tensor::from_bytes(array.ty.dtype, &array.ty.shape, &array.bytes).expect("an input fits its type"))
        .collect();
    let mut results = Vec::new();
    {
        let mut arguments: Vec<Argument> = held
            .iter_mut()
            .zip(&modes)
            .map(|(tensor, mode)| match mode {
                InputMode::Read => Argument::Read(TensorRef::from(&*tensor)),
                InputMode::Donate => Argument::Donate(std::mem::take(tensor)),
                InputMode::InOut | InputMode::Out => Argument::InOut(TensorMut::from(tensor)),
            })
            .collect();
        let outputs = session.run(&mut arguments).expect("the program runs");
        for (index, port) in outputs.ports().iter().enumerate() {
            let ty = TensorType::new(port.access.dtype, port.access.layout.shape.clone());
            results.push(Array { ty, bytes: outputs.bytes(index).expect("an output").to_vec() });
        }
    }
    for (mode, (tensor, input)) in modes.iter().zip(held.iter().zip(inputs)) {
        if *mode == InputMode::InOut {
            results.push(Array { ty: input.ty.clone(), bytes: tensor.bytes().to_vec() });
        }
    }
    results
}

/// Largest absolute difference over the largest finite expected magnitude; NaN where only one side is NaN.
pub fn relative_error(found: &Array, expected: &Array) -> f64 {
    let (found, expected) = (found.to_f64(), expected.to_f64());
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().filter(|x| x.is_finite()).fold(0.0f64, |scale, x| scale.max(x.abs()));
    let mut worst = 0.0f64;
    for (&a, &b) in found.iter().zip(&expected) {
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        if (a - b).is_nan() {
            return f64::NAN;
        }
        worst = worst.max((a - b).abs());
    }
    if worst == 0.0 { 0.0 } else { worst / (scale + 1e-30) }
}
