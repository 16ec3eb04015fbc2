//! Weights in the order kernels read them, the same on every machine.
//!
//! `pack_b` cuts a `[k, n]` matrix into panels of [`PANEL`] columns, `[panels][k][PANEL]`, the last one padded with zeros:
//! the micro-kernel then reads one contiguous line a step of `k` (Goto and van de Geijn, "Anatomy of high-performance
//! matrix multiplication", ACM TOMS 34(3), 2008).

use crate::types::Layout;

/// Columns of a panel.
pub const PANEL: usize = 16;

/// Shape of a packed `[k, n]` matrix: `[panels, k, PANEL]`.
pub fn pack_b_shape(k: usize, n: usize) -> Vec<usize> {
    vec![n.div_ceil(PANEL), k, PANEL]
}

/// Packs the `[k, n]` view `layout` of `source`. `packed` holds the elements of [`pack_b_shape`].
pub fn pack_b(source: &[f32], layout: &Layout, packed: &mut [f32]) {
    let (k, n) = (layout.shape[0], layout.shape[1]);
    for (panel, lines) in packed.chunks_mut((k * PANEL).max(1)).enumerate() {
        let columns = (n - (panel * PANEL).min(n)).min(PANEL);
        for (row, line) in lines.chunks_mut(PANEL).enumerate() {
            let start = layout.offset + row as i64 * layout.strides[0] + (panel * PANEL) as i64 * layout.strides[1];
            for (column, element) in line.iter_mut().enumerate() {
                *element =
                    if column < columns { source[(start + column as i64 * layout.strides[1]) as usize] } else { 0.0 };
            }
        }
    }
}

/// Shape of packed convolution weights `[oc, c / groups, kernel..]`, or `None` where the kernel reads them as written: they
/// are the left side of the product, whose elements are broadcast one by one, and rows measure as fast as blocks.
pub fn pack_conv_shape(_shape: &[usize], _groups: usize) -> Option<Vec<usize>> {
    None
}

/// Packs convolution weights. `packed` holds the elements of [`pack_conv_shape`].
pub fn pack_conv(source: &[f32], _shape: &[usize], _groups: usize, packed: &mut [f32]) {
    packed.copy_from_slice(source);
}
