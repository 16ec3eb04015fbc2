//! Somebody else's program: makes a graph with the builder, compiles it, runs it, and saves the executable.

use situ::ir::{Builder, Distribution};
use situ::pipeline::{Options, compile};
use situ::types::{DType, TensorType};
use situ_runtime::session::{self, Argument, Session};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: builder F.situx")?;
    let mut b = Builder::new("outside");
    let x = b.input("x", TensorType::new(DType::F32, [2, 8]));
    let uniform = Distribution::Uniform { low: -1.0, high: 1.0 };
    let w = b.seeded("w", TensorType::new(DType::F32, [4, 8]), uniform, 1)?;
    let bias = b.seeded("b", TensorType::new(DType::F32, [4]), uniform, 2)?;
    let h = b.linear(x, w, bias)?;
    let y = b.relu(h)?;
    b.output("y", y);
    let compilation = compile(&b.finish()?, &Options::default())?;
    compilation.compiled.write(&path)?;

    let mut session = Session::new(compilation.compiled, session::Options::default())?;
    let x: Vec<f32> = (0..16).map(|i| i as f32 / 4.0 - 2.0).collect();
    let mut arguments = [Argument::read(x.as_slice())];
    let outputs = session.run(&mut arguments)?;
    println!("{:?}", outputs.slice::<f32>(0)?);
    Ok(())
}
