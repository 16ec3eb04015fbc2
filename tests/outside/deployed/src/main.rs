//! A deployed program: depends on the runtime alone, loads an executable and runs it.

use situ_runtime::session::{Argument, Options, Session};
use situ_runtime::wire::Compiled;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: deployed F.situx")?;
    let mut session = Session::new(Compiled::load(path, true)?, Options::default())?;
    let x: Vec<f32> = (0..16).map(|i| i as f32 / 4.0 - 2.0).collect();
    let mut arguments = [Argument::read(x.as_slice())];
    let outputs = session.run(&mut arguments)?;
    println!("{:?}", outputs.slice::<f32>(0)?);
    Ok(())
}
