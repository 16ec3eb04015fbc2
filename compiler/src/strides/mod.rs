//! Arithmetic of strides: which numbers a strided region holds.
//!
//! Progressions are the indices that a view takes of one axis; [`meet`] decides whether two regions have a number in common, and
//! [`injective`] whether one region names a number twice. All of it is about integers and knows neither values nor ops.

pub mod injective;
pub mod meet;
pub mod progression;

use crate::types::Layout;

/// The elements of `layout`, each of `size` bytes, in units of `unit` bytes, which divide `size`: an element becomes a last axis
/// of the units it holds. `None` where a number does not fit.
pub fn in_units(layout: &Layout, size: usize, unit: usize) -> Option<Layout> {
    if size == unit {
        return Some(layout.clone());
    }
    let ratio = i64::try_from(size / unit).ok()?;
    let mut strides = layout.strides.iter().map(|stride| stride.checked_mul(ratio)).collect::<Option<Vec<i64>>>()?;
    let mut shape = layout.shape.clone();
    shape.push(size / unit);
    strides.push(1);
    Some(Layout { offset: layout.offset.checked_mul(ratio)?, shape, strides })
}
