//! The written domain of a product, seen as a stack of matrices: batch x rows x columns.
//!
//! A matmul `[batch.., m, n]` and a convolution `[n, groups, oc / groups, spatial..]` are the same to the code that
//! computes tiles. Axes are joined where every view that takes part allows it, so that the usual dense case has few
//! long ones: a column index then names a run of neighbours in memory.

use crate::types::{Layout, MAX_RANK};

/// Extents of a written domain. Built by [`Stack::new`] only, together with the strides of its views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    batch: Vec<usize>,
    rows: usize,
    columns: Vec<usize>,
}

/// Strides of one view over a [`Stack`], in elements. Offsets are not part of it, they are known at the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackStrides {
    batch: Vec<i64>,
    row: i64,
    columns: Vec<i64>,
}

impl Stack {
    /// The stack of `shape` whose rows are `row_axis`; what comes before is batch, what comes after are columns. Each
    /// of `views` has one stride an axis of `shape`. With `merge_rows` the innermost batch axis joins the rows where
    /// the views allow it.
    pub fn new(
        shape: &[usize],
        row_axis: usize,
        merge_rows: bool,
        views: &[&[i64]],
    ) -> Result<(Stack, Vec<StackStrides>), String> {
        if row_axis >= shape.len() || shape.len() > MAX_RANK + 1 {
            return Err(format!("a product needs rows among its {} axes", shape.len()));
        }
        if views.iter().any(|view| view.len() != shape.len()) {
            return Err("a view of a product differs from it in rank".into());
        }
        // One entry a joined axis: its extent and the stride of every view.
        let mut batch = join(shape, views, 0..row_axis);
        let columns = join(shape, views, row_axis + 1..shape.len());
        let mut rows = (shape[row_axis], views.iter().map(|view| view[row_axis]).collect::<Vec<_>>());
        if merge_rows {
            while let Some((extent, strides)) = batch.pop_if(|(_, strides)| {
                rows.0 == 1 || strides.iter().zip(&rows.1).all(|(&outer, &inner)| continues(outer, inner, rows.0))
            }) {
                if rows.0 == 1 {
                    rows.1 = strides;
                }
                rows.0 = rows.0.checked_mul(extent).ok_or("a product has too many rows")?;
            }
        }
        let strides = (0..views.len())
            .map(|view| StackStrides {
                batch: batch.iter().map(|(_, strides)| strides[view]).collect(),
                row: rows.1[view],
                columns: columns.iter().map(|(_, strides)| strides[view]).collect(),
            })
            .collect();
        let extents = |axes: &[(usize, Vec<i64>)]| axes.iter().map(|(extent, _)| *extent).collect::<Vec<_>>();
        Ok((Stack { batch: extents(&batch), rows: rows.0, columns: extents(&columns) }, strides))
    }

    /// Number of batch entries.
    pub fn batches(&self) -> usize {
        self.batch.iter().product()
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns.iter().product()
    }

    /// Extents: batch, rows, columns.
    pub fn shape(&self) -> Vec<usize> {
        self.batch.iter().chain([&self.rows]).chain(&self.columns).copied().collect()
    }

    /// How many columns from `column` on, at most `limit`, lie on one line: their positions are an arithmetic
    /// progression in every view.
    #[inline]
    pub fn line(&self, column: usize, limit: usize) -> usize {
        match self.columns[..] {
            [] => limit.min(1),
            // Divisions are slow beside the short lines this is asked for.
            [inner] => limit.min(inner.saturating_sub(column)),
            [.., inner] => limit.min(inner.max(1) - column % inner.max(1)),
        }
    }
}

impl StackStrides {
    /// Offset of a batch entry, relative to the view's own.
    #[inline]
    pub fn batch_offset(&self, stack: &Stack, index: usize) -> i64 {
        unravel(&stack.batch, &self.batch, index)
    }

    /// Offset of a column.
    #[inline]
    pub fn column_offset(&self, stack: &Stack, index: usize) -> i64 {
        unravel(&stack.columns, &self.columns, index)
    }

    /// Distance from one row to the next.
    #[inline]
    pub fn row(&self) -> i64 {
        self.row
    }

    /// Distance from one column to the next on a line.
    #[inline]
    pub fn column(&self) -> i64 {
        self.columns.last().copied().unwrap_or(1)
    }

    /// The layout of a view with these strides and offset zero.
    pub fn layout(&self, stack: &Stack) -> Layout {
        Layout {
            offset: 0,
            shape: stack.shape(),
            strides: self.batch.iter().chain([&self.row]).chain(&self.columns).copied().collect(),
        }
    }
}

/// Whether an axis with stride `outer` goes on where an axis of `extent` steps of `inner` ends.
fn continues(outer: i64, inner: i64, extent: usize) -> bool {
    i64::try_from(extent).ok().and_then(|extent| inner.checked_mul(extent)) == Some(outer)
}

/// The axes of `range`, without those of extent one, neighbours joined where all views allow it.
fn join(shape: &[usize], views: &[&[i64]], range: std::ops::Range<usize>) -> Vec<(usize, Vec<i64>)> {
    let mut joined: Vec<(usize, Vec<i64>)> = Vec::new();
    for axis in range {
        if shape[axis] == 1 {
            continue;
        }
        let strides: Vec<i64> = views.iter().map(|view| view[axis]).collect();
        match joined.last_mut() {
            Some((extent, outer))
                if outer.iter().zip(&strides).all(|(&outer, &inner)| continues(outer, inner, shape[axis])) =>
            {
                *extent = extent.saturating_mul(shape[axis]);
                *outer = strides;
            }
            _ => joined.push((shape[axis], strides)),
        }
    }
    joined
}

#[inline]
fn unravel(extents: &[usize], strides: &[i64], index: usize) -> i64 {
    let mut rest = index;
    let mut offset = 0;
    // The index is inside the extents, so the outermost one needs no division.
    for (&extent, &stride) in extents.iter().zip(strides).skip(1).rev() {
        offset += (rest % extent.max(1)) as i64 * stride;
        rest /= extent.max(1);
    }
    offset + strides.first().map_or(0, |&stride| rest as i64 * stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_axes_join() {
        // [2, 3, 4, 5, 6] with rows at axis 2, dense, and a bias along the rows.
        let dense = [360, 120, 30, 6, 1];
        let bias = [0, 0, 1, 0, 0];
        let (stack, views) = Stack::new(&[2, 3, 4, 5, 6], 2, false, &[&dense, &bias]).unwrap();
        assert_eq!((stack.batches(), stack.rows(), stack.columns()), (6, 4, 30));
        assert_eq!(views[0].batch_offset(&stack, 5), 600);
        assert_eq!(views[0].column_offset(&stack, 29), 29);
        assert_eq!((views[1].row(), views[1].column_offset(&stack, 29)), (1, 0));
        assert_eq!(stack.line(7, 100), 23);
    }

    #[test]
    fn batch_joins_rows_only_where_all_views_continue() {
        let (a, b, out) = ([20, 5, 0], [0, 0, 1], [28, 7, 1]);
        let (stack, views) = Stack::new(&[3, 4, 7], 1, true, &[&a, &b, &out]).unwrap();
        assert_eq!((stack.batches(), stack.rows(), views[0].row()), (1, 12, 5));
        let separate = [35, 0, 1];
        let (stack, _) = Stack::new(&[3, 4, 7], 1, true, &[&a, &separate, &out]).unwrap();
        assert_eq!((stack.batches(), stack.rows()), (3, 4));
        // A single row takes the strides of the batch, whatever they are.
        let (stack, views) = Stack::new(&[3, 1, 7], 1, true, &[&[9, 1, 0], &[0, 3, 1], &[7, 7, 1]]).unwrap();
        assert_eq!((stack.batches(), stack.rows(), views[0].row(), views[1].row()), (1, 3, 9, 0));
    }

    #[test]
    fn lines_end_where_strides_break() {
        let padded = [1000, 100, 10, 1];
        let (stack, views) = Stack::new(&[1, 2, 3, 4], 1, false, &[&padded]).unwrap();
        assert_eq!(stack.columns(), 12);
        assert_eq!(stack.line(0, 12), 4);
        assert_eq!(stack.line(6, 12), 2);
        assert_eq!(views[0].column_offset(&stack, 6), 12);
    }
}
