//! Memory formats of packed weights. They are part of the executable's format: the same on every machine.
//!
//! A matrix `b [k, n]` is packed in panels of [`PANEL`] columns: `[panels][k][PANEL]`, the last panel filled with zeros.
//! The product then reads one cache line for each step along `k`, whatever the instruction set: a vector of 16 lanes,
//! two of 8 or four of 4 (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008).
//!
//! Convolution weights stay rows, `[groups][oc / groups][c / groups * kernel..]`: they are the left side of the product,
//! whose elements are broadcast one by one, and rows measured as fast as interleaved blocks.

use crate::types::{Layout, elements};

/// Columns in a panel of packed weights.
pub const PANEL: usize = 16;

/// Shape of a packed stack of matrices: `[batch.., panels, k, PANEL]` for a shape `[batch.., k, n]`.
pub fn packed_b_shape(shape: &[usize]) -> Result<Vec<usize>, String> {
    let [batch @ .., k, n] = shape else { return Err("a matrix has two axes".into()) };
    let packed = [batch, &[n.div_ceil(PANEL), *k, PANEL]].concat();
    elements(&packed).ok_or("the packed weights are too large")?;
    Ok(packed)
}

/// Packs the matrices that `layout`, of shape `[batch.., k, n]`, names in `source`, whose elements have `element`
/// bytes. The result is dense, of shape [`packed_b_shape`].
pub fn pack_b(source: &[u8], element: usize, layout: &Layout) -> Result<Vec<u8>, String> {
    let shape = packed_b_shape(&layout.shape)?;
    check(source, element, layout)?;
    let (k, n) = (shape[shape.len() - 2], layout.shape[layout.rank() - 1]);
    let bytes = shape.iter().product::<usize>().checked_mul(element).ok_or("the packed weights are too large")?;
    let mut packed = vec![0; bytes];
    if packed.is_empty() {
        return Ok(packed);
    }
    let mut rows = Rows::new(layout);
    for matrix in packed.chunks_exact_mut(n.div_ceil(PANEL) * k * PANEL * element) {
        for depth in 0..k {
            let start = rows.next_row();
            for column in 0..n {
                let at = (start + column as i64 * layout.strides[layout.rank() - 1]) as usize * element;
                let to = ((column / PANEL * k + depth) * PANEL + column % PANEL) * element;
                matrix[to..to + element].copy_from_slice(&source[at..at + element]);
            }
        }
    }
    Ok(packed)
}

/// Shape of packed convolution weights: `[groups, oc / groups, c / groups * kernel..]` for `[oc, c / groups, kernel..]`.
pub fn packed_conv_shape(shape: &[usize], groups: usize) -> Result<Vec<usize>, String> {
    let [oc, inner @ ..] = shape else { return Err("convolution weights have an axis of channels".into()) };
    if groups == 0 || oc % groups != 0 {
        return Err(format!("{groups} groups do not divide {oc} channels"));
    }
    elements(shape).ok_or("the weights are too large")?;
    Ok(vec![groups, oc / groups, elements(inner).ok_or("the weights are too large")?])
}

/// Packs convolution weights of the view `layout`, `[oc, c / groups, kernel..]`: dense rows, one an output channel. The
/// result has the shape [`packed_conv_shape`].
pub fn pack_conv(source: &[u8], element: usize, layout: &Layout, groups: usize) -> Result<Vec<u8>, String> {
    let shape = packed_conv_shape(&layout.shape, groups)?;
    check(source, element, layout)?;
    let bytes = shape.iter().product::<usize>().checked_mul(element).ok_or("the packed weights are too large")?;
    let mut packed = vec![0; bytes];
    let Some(&last) = layout.shape.last().filter(|_| !packed.is_empty()) else { return Ok(packed) };
    let mut rows = Rows::new(layout);
    for row in packed.chunks_exact_mut(last * element) {
        let start = rows.next_row();
        for (column, to) in row.chunks_exact_mut(element).enumerate() {
            let at = (start + column as i64 * layout.strides[layout.rank() - 1]) as usize * element;
            to.copy_from_slice(&source[at..at + element]);
        }
    }
    Ok(packed)
}

/// Whether all positions of `layout` exist in `source`.
fn check(source: &[u8], element: usize, layout: &Layout) -> Result<(), String> {
    if layout.strides.len() != layout.shape.len() || element == 0 {
        return Err("the weights' layout is malformed".into());
    }
    match layout.hull() {
        Some((low, high)) if low >= 0 && usize::try_from(high).is_ok_and(|high| high <= source.len() / element) => Ok(()),
        None if layout.is_empty() => Ok(()),
        _ => Err("the weights' layout reaches outside their bytes".into()),
    }
}

/// Positions of the rows of a layout, in row-major order of the axes before the last.
struct Rows<'l> {
    layout: &'l Layout,
    index: Vec<usize>,
    position: i64,
}

impl Rows<'_> {
    fn new(layout: &Layout) -> Rows<'_> {
        Rows { layout, index: vec![0; layout.rank() - 1], position: layout.offset }
    }

    /// The position of the current row, after which the next becomes current.
    fn next_row(&mut self) -> i64 {
        let position = self.position;
        for axis in (0..self.index.len()).rev() {
            self.index[axis] += 1;
            self.position += self.layout.strides[axis];
            if self.index[axis] < self.layout.shape[axis] {
                break;
            }
            self.position -= self.layout.strides[axis] * self.index[axis] as i64;
            self.index[axis] = 0;
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_columns_and_zeros() {
        let (batch, k, n) = (2, 3, 18);
        let source: Vec<u8> = (0..batch * k * n).map(|i| i as u8).collect();
        let layout = Layout::dense(&[batch, k, n]);
        assert_eq!(packed_b_shape(&layout.shape).unwrap(), [2, 2, 3, PANEL]);
        let packed = pack_b(&source, 1, &layout).unwrap();
        let turned: Vec<u8> = (0..batch * k * n).map(|i| (i / 54 * 54 + i % 3 * 18 + i % 54 / 3) as u8).collect();
        let back = Layout { offset: 0, shape: vec![batch, k, n], strides: vec![54, 1, 3] };
        assert_eq!(pack_b(&turned, 1, &back).unwrap(), packed);
        for (i, &byte) in packed.iter().enumerate() {
            let (b, panel, depth, lane) = (i / 96, i / 48 % 2, i / 16 % 3, i % 16);
            let column = panel * 16 + lane;
            assert_eq!(byte, if column < n { source[(b * k + depth) * n + column] } else { 0 });
        }
    }

    #[test]
    fn convolution_weights_become_rows() {
        let source: Vec<u8> = (0..24).collect();
        let dense = Layout::dense(&[4, 2, 3]);
        assert_eq!(packed_conv_shape(&dense.shape, 2).unwrap(), [2, 2, 6]);
        assert_eq!(pack_conv(&source, 1, &dense, 2).unwrap(), source);
        let turned = Layout { offset: 0, shape: vec![4, 2, 3], strides: vec![1, 12, 4] };
        assert_eq!(pack_conv(&source, 1, &turned, 1).unwrap()[..6], [0, 4, 8, 12, 16, 20]);
        assert!(pack_conv(&source, 1, &dense, 3).is_err());
        assert!(pack_conv(&source[1..], 1, &dense, 1).is_err());
    }
}
