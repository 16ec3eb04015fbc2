//! Matrix products.

use super::super::site::{Outputs, Site, Words, invalid};
use super::{Row, row_of};
use crate::ops::PointFn;

pub const ROWS: &[Row] = &[row_of("MatMul", 1, matmul), row_of("Gemm", 1, gemm)];

fn matmul(s: &mut Site) -> Outputs {
    let (a, b) = (s.input(0)?, s.input(1)?);
    Ok(vec![s.matmul(a, b)?])
}

/// `alpha * a' @ b' + beta * c`; factors of 1 leave no trace.
fn gemm(s: &mut Site) -> Outputs {
    let (mut a, mut b) = (s.input(0)?, s.input(1)?);
    if s.rank(a) != 2 || s.rank(b) != 2 {
        return invalid(format!("expected two matrices, found {} and {}", s.ty(a), s.ty(b)));
    }
    if s.flag("transA", false)? {
        a = s.transposed(a)?;
    }
    if s.flag("transB", false)? {
        b = s.transposed(b)?;
    }
    let (alpha, beta) = (s.float("alpha", 1.0)?, s.float("beta", 1.0)?);
    let mut y = s.matmul(a, b)?;
    if alpha != 1.0 {
        y = s.with_number(PointFn::Mul, y, alpha)?;
    }
    if let Some(mut c) = s.optional(2) {
        if beta != 1.0 {
            c = s.with_number(PointFn::Mul, c, beta)?;
        }
        y = s.add(y, c)?;
    }
    Ok(vec![y])
}
