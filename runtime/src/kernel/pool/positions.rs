//! Largest elements together with where they are.
//!
//! As for the values alone, the rows that a window covers are searched first, column by column, and then the taps along
//! the row. With every element goes its place in the image, in row-major order, which breaks ties: of equal elements
//! the first one wins.

use super::PreparedPool;
use crate::kernel::Window;
use crate::kernel::domain::Odometer;
use crate::kernel::element::{Element, typed_mut};
use crate::kernel::share::{Share, aligned};
use crate::simd::{Algorithm, Lanes};
use crate::types::{Layout, MAX_RANK};

/// The place of an element that is not there.
const NOWHERE: u32 = u32::MAX;

/// The results `from..to` of a row read some tap inside, `stride` apart from column `input` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    from: usize,
    to: usize,
    input: usize,
}

/// For every tap of the innermost axis that is inside anywhere, the results where it is: one run, because the column that
/// it reads grows with the result's.
pub(super) fn runs(window: &Window, width: usize, results: usize) -> Vec<Run> {
    let axis = window.kernel.len() - 1;
    let (stride, dilation, pad) = (window.strides[axis], window.dilations[axis], window.pads_begin[axis]);
    (0..window.kernel[axis])
        .map(|tap| tap * dilation)
        .filter_map(|place| {
            let from = pad.saturating_sub(place).div_ceil(stride);
            let to = (pad + width).saturating_sub(place).div_ceil(stride).min(results);
            (from < to).then(|| Run { from, to, input: from * stride + place - pad })
        })
        .collect()
}

/// Scratch bytes: elements and places of a combined row, then of a row of results.
pub(super) fn scratch(width: usize, results: usize) -> [usize; 4] {
    let (elements, places) = (size_of::<u64>(), size_of::<u32>());
    [aligned(width * elements), aligned(width * places), aligned(results * elements), aligned(results * places)]
}

/// A thread's share of the rows.
pub(super) struct Searched<'s, T> {
    pub(super) pool: &'s PreparedPool,
    pub(super) x: &'s [T],
    pub(super) layouts: [&'s Layout; 2],
    pub(super) share: Share<'s, 2>,
}

impl<T: Element> Algorithm for Searched<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Searched { pool, x, layouts, share } = self;
        let Share { units, targets: [values, positions], starts, workspace } = share;
        let (values, positions): (&mut [T], &mut [i64]) = (typed_mut(values), typed_mut(positions));
        let rank = pool.x.rank();
        let (width, results) = (pool.x.shape[rank - 1], pool.counts.len());
        let parts = scratch(width, results);
        let (row, rest) = workspace.split_at_mut(parts[0]);
        let (row_places, rest) = rest.split_at_mut(parts[1]);
        let (best, best_places) = rest.split_at_mut(parts[2]);
        let row: &mut [T] = &mut typed_mut(row)[..width];
        let row_places: &mut [u32] = &mut typed_mut(row_places)[..width];
        let best: &mut [T] = &mut typed_mut(best)[..results];
        let best_places: &mut [u32] = &mut typed_mut(best_places)[..results];
        let shape = &layouts[0].shape[..rank - 1];
        let per_unit: usize = shape[2..].iter().product();
        let views = [0, 1].map(|n| (layouts[n].offset - starts[n], &layouts[n].strides[..rank - 1]));
        let mut odometer = Odometer::new(shape, views).range(units.start * per_unit, units.len() * per_unit);
        let steps = layouts.map(|layout| layout.strides[rank - 1]);
        let image: usize = pool.x.shape[2..].iter().product();
        let stride = pool.window.strides[rank - 3];
        while let Some(to) = odometer.advance() {
            let index = odometer.index();
            row.fill(T::LOWEST);
            row_places.fill(NOWHERE);
            search_rows(pool, x, index, row, row_places);
            best.fill(T::LOWEST);
            best_places.fill(NOWHERE);
            for run in &pool.runs {
                let source = row[run.input..].iter().zip(&row_places[run.input..]).step_by(stride);
                let results = best[run.from..run.to].iter_mut().zip(&mut best_places[run.from..run.to]);
                for ((best, place), (&element, &other)) in results.zip(source) {
                    let (key, best_key) = (element.key(), best.key());
                    let better = (key > best_key) | ((key == best_key) & (other < *place));
                    *best = if better { element } else { *best };
                    *place = if better { other } else { *place };
                }
            }
            let plane = ((index[0] * pool.x.shape[1] + index[1]) * image) as i64;
            for (n, (&element, &place)) in best.iter().zip(&*best_places).enumerate() {
                let place = match place {
                    NOWHERE => 0,
                    place if pool.column_major => plane + column_major(place as usize, &pool.x.shape[2..]) as i64,
                    place => plane + i64::from(place),
                };
                values[(to[0] + n as i64 * steps[0]) as usize] = element;
                positions[(to[1] + n as i64 * steps[1]) as usize] = place;
            }
        }
    }
}

/// Searches the rows that the window covers at one result row, column by column. The first row wins a tie.
#[inline(always)]
fn search_rows<T: Element>(pool: &PreparedPool, x: &[T], index: &[usize], row: &mut [T], places: &mut [u32]) {
    let (layout, window) = (&pool.x, &pool.window);
    let outer = index.len() - 2;
    let mut start = layout.offset + index[0] as i64 * layout.strides[0] + index[1] as i64 * layout.strides[1];
    let (mut taps, mut strides, mut steps) = ([1usize; MAX_RANK], [0i64; MAX_RANK], [0i64; MAX_RANK]);
    let (mut weight, mut place) = (row.len(), 0);
    for axis in (0..outer).rev() {
        let reach = pool.reaches[axis][index[axis + 2]];
        taps[axis] = reach.inside;
        start += reach.input as i64 * layout.strides[axis + 2];
        strides[axis] = window.dilations[axis] as i64 * layout.strides[axis + 2];
        steps[axis] = (window.dilations[axis] * weight) as i64;
        place += (reach.input * weight) as i64;
        weight *= layout.shape[axis + 2];
    }
    let across = layout.strides[outer + 2];
    let views = [(start, &strides[..outer]), (place, &steps[..outer])];
    let mut odometer = Odometer::new(&taps[..outer], views);
    while let Some([from, first]) = odometer.advance() {
        let first = first as u32;
        let mut update = |n: usize, element: T| {
            let better = (element.key() > row[n].key()) | (places[n] == NOWHERE);
            row[n] = if better { element } else { row[n] };
            places[n] = if better { first + n as u32 } else { places[n] };
        };
        let width = layout.shape[outer + 2];
        if across == 1 {
            x[from as usize..][..width].iter().enumerate().for_each(|(n, &element)| update(n, element));
        } else {
            (0..width).for_each(|n| update(n, x[(from + n as i64 * across) as usize]));
        }
    }
}

/// The place in column-major order of what is at `place` in row-major order.
fn column_major(place: usize, shape: &[usize]) -> usize {
    let (mut rest, mut coordinates) = (place, [0usize; MAX_RANK]);
    for (axis, &extent) in shape.iter().enumerate().rev() {
        coordinates[axis] = rest % extent;
        rest /= extent;
    }
    shape.iter().enumerate().rev().fold(0, |place, (axis, &extent)| place * extent + coordinates[axis])
}
