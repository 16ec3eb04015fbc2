//! Branches and loops: regions run as their ops say, one trip after the other.

use super::{Run, Tensor, run_body};
use crate::ir::{Graph, Inst};
use crate::ops::Op;
use crate::types::{DType, Layout, TensorType};

/// The results of an op with regions on `operands`.
pub fn run_regions(graph: &Graph, inst: &Inst, operands: Vec<Tensor>, run: &mut Run) -> Result<Vec<Tensor>, String> {
    match &inst.op {
        Op::If { .. } => {
            let region = if is_true(&operands[0]) { 0 } else { 1 };
            run_body(graph, inst.regions[region], operands[1..].to_vec(), run)
        }
        Op::Loop { carried } => {
            let (trips, mut holds) = (operands[0].ints()[0], is_true(&operands[1]));
            let (inits, args) = operands[2..].split_at(*carried);
            let mut carries = inits.to_vec();
            let mut trip = 0;
            while trip < trips && holds {
                run.spend()?;
                let params = [&[number(trip)], carries.as_slice(), args].concat();
                let mut yields = run_body(graph, inst.regions[0], params, run)?;
                holds = is_true(&yields[0]);
                carries = yields.split_off(1);
                trip += 1;
            }
            Ok(carries)
        }
        Op::Scan { trips, carried, sequences, .. } => {
            let (inits, rest) = operands.split_at(*carried);
            let (sequences, args) = rest.split_at(*sequences);
            let mut carries = inits.to_vec();
            let types: Vec<TensorType> = inst.results[*carried..].iter().map(|&v| graph.ty(v).clone()).collect();
            let mut stacked = types.into_iter().map(Tensor::zeros).collect::<Result<Vec<_>, _>>()?;
            for trip in 0..*trips {
                run.spend()?;
                let mut params = vec![number(trip as i64)];
                params.extend(carries);
                for sequence in sequences {
                    params.push(slice(sequence, trip)?);
                }
                params.extend_from_slice(args);
                let mut yields = run_body(graph, inst.regions[0], params, run)?;
                for (all, element) in stacked.iter_mut().zip(yields.split_off(*carried)) {
                    let len = element.bytes.len();
                    all.bytes[trip * len..(trip + 1) * len].copy_from_slice(&element.bytes);
                }
                carries = yields;
            }
            carries.extend(stacked.into_iter().map(super::Buffer::finish));
            Ok(carries)
        }
        _ => run_body(graph, inst.regions[0], operands, run),
    }
}

/// Element `trip` of axis 0.
fn slice(sequence: &Tensor, trip: usize) -> Result<Tensor, String> {
    let layout = Layout::dense(&sequence.ty.shape);
    let one = Layout {
        offset: trip as i64 * layout.strides[0],
        shape: layout.shape[1..].to_vec(),
        strides: layout.strides[1..].to_vec(),
    };
    let ty = TensorType::new(sequence.ty.dtype, one.shape.clone());
    super::gathered(sequence, &one, ty)
}

fn is_true(condition: &Tensor) -> bool {
    condition.bits(0) != 0
}

fn number(trip: i64) -> Tensor {
    Tensor::new(TensorType::new(DType::I64, Vec::<usize>::new()), trip.to_le_bytes().to_vec())
}
