//! Positions of the largest or smallest element along an axis.
//!
//! A line that is dense is searched twice, for the extreme key and for where it is, which are both vector loops. Other
//! lines are searched side by side, so that the operand is read in the order it is stored.

use crate::executable::Access;
use crate::kernel::call::{Call, RunError};
use crate::kernel::domain::Odometer;
use crate::kernel::element::{Element, typed, typed_mut, with_element};
use crate::kernel::lookup::slice;
use crate::kernel::share::{Share, share_units};
use crate::simd::{Algorithm, Isa, Lanes};
use crate::types::{DType, Layout};

/// Elements whose keys are compared at once.
const BLOCK: usize = 32;
/// Elements passed over at once.
const CHUNK: usize = 64;
/// Lines searched side by side.
const TILE: usize = 64;
/// Elements that a thread should search at least.
const GRAIN: usize = 1 << 15;

#[derive(Debug)]
pub struct PreparedArgReduce {
    dtype: DType,
    largest: bool,
    last: bool,
    extent: usize,
    /// Distance between the elements of a line.
    step: i64,
    /// The operand over the written domain: the searched axis has extent one.
    lines: Layout,
    /// The innermost axis of `lines` along which there is more than one line; lines run side by side along it.
    inner: Option<usize>,
}

/// `ArgReduce`, validated.
pub fn prepare(largest: bool, axis: usize, last: bool, reads: &[Access]) -> Result<PreparedArgReduce, String> {
    let x = &reads[0].layout;
    let mut lines = x.clone();
    lines.shape[axis] = 1;
    let step = x.strides[axis];
    let inner = (0..lines.rank()).rev().find(|&n| lines.shape[n] > 1);
    if u32::try_from(x.shape[axis]).is_err() {
        return Err("the axis is too long to search".into());
    }
    Ok(PreparedArgReduce { dtype: reads[0].dtype, largest, last, extent: x.shape[axis], step, lines, inner })
}

impl PreparedArgReduce {
    pub fn run(&self, isa: Isa, call: Call) -> Result<(), RunError> {
        let x = slice(&call.reads[0])?;
        let [out] = call.writes else { return Ok(()) };
        if out.layout.is_empty() {
            return Ok(());
        }
        let lead = self.inner.unwrap_or(self.lines.rank());
        let inner: usize = self.lines.shape[lead..].iter().product();
        let grain = GRAIN.div_ceil(self.extent * inner);
        let layout = out.layout;
        with_element!(self.dtype, T => {
            let x: &[T] = typed(x);
            share_units(call.threads, std::array::from_mut(out), lead, grain, call.workspace, 0, |share| {
                isa.run(Search { kernel: self, x, layout, lead, share });
            });
        });
        Ok(())
    }
}

struct Search<'s, T> {
    kernel: &'s PreparedArgReduce,
    x: &'s [T],
    layout: &'s Layout,
    lead: usize,
    share: Share<'s, 1>,
}

impl<T: Element> Algorithm for Search<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Search { kernel, x, layout, lead, share } = self;
        let Share { units, targets: [bytes], starts: [start], .. } = share;
        let out: &mut [i64] = typed_mut(bytes);
        let lines = &kernel.lines;
        let views = [(lines.offset, &lines.strides[..lead]), (layout.offset, &layout.strides[..lead])];
        let mut odometer = Odometer::new(&lines.shape[..lead], views).range(units.start, units.len());
        // Extents behind the inner axis are one.
        let (count, across, written) = match kernel.inner {
            Some(axis) => (lines.shape[axis], lines.strides[axis], layout.strides[axis]),
            None => (1, 0, 0),
        };
        while let Some([from, to]) = odometer.advance() {
            if kernel.step == 1 {
                for n in 0..count as i64 {
                    let line = &x[(from + n * across) as usize..][..kernel.extent];
                    let at = if kernel.largest {
                        search(line, kernel.last, T::key)
                    } else {
                        search(line, kernel.last, smallest_key)
                    };
                    out[(to + n * written - start) as usize] = at as i64;
                }
                continue;
            }
            for tile in (0..count).step_by(TILE) {
                let width = TILE.min(count - tile);
                let from = from + tile as i64 * across;
                let positions = if kernel.largest {
                    side_by_side(kernel, x, from, across, width, T::key)
                } else {
                    side_by_side(kernel, x, from, across, width, smallest_key)
                };
                for (n, at) in positions[..width].iter().enumerate() {
                    out[(to + (tile + n) as i64 * written - start) as usize] = i64::from(*at);
                }
            }
        }
    }
}

/// A key that is the higher the smaller the element, and highest for NaN.
#[inline(always)]
fn smallest_key<T: Element>(element: T) -> T::Key {
    if element.is_nan() { T::LAST_KEY } else { !element.key() }
}

#[inline(always)]
fn search<T: Element>(line: &[T], last: bool, key: impl Fn(T) -> T::Key) -> usize {
    // Every lane of a block keeps a maximum of its own, so that they make up vectors.
    let (blocks, rest) = line.as_chunks::<BLOCK>();
    let mut lanes = [key(line[0]); BLOCK];
    for block in blocks {
        for n in 0..BLOCK {
            let candidate = key(block[n]);
            lanes[n] = if candidate > lanes[n] { candidate } else { lanes[n] };
        }
    }
    let best = lanes.into_iter().chain(rest.iter().map(|&element| key(element))).fold(lanes[0], T::Key::max);
    // Chunks are passed over whole, so that looking for the place is a vector loop too.
    let has_best = |chunk: &[T]| chunk.iter().fold(false, |any, &element| any | (key(element) == best));
    let is_best = |&element: &T| key(element) == best;
    if last {
        let start = line.rchunks(CHUNK).take_while(|chunk| !has_best(chunk)).map(<[T]>::len).sum::<usize>();
        line[..line.len() - start].iter().rposition(is_best).unwrap_or(0)
    } else {
        let start = line.chunks(CHUNK).take_while(|chunk| !has_best(chunk)).map(<[T]>::len).sum::<usize>();
        line[start..].iter().position(is_best).map_or(0, |place| start + place)
    }
}

/// Positions of the extremes of `width` lines whose first elements are `across` apart.
#[inline(always)]
fn side_by_side<T: Element>(
    kernel: &PreparedArgReduce,
    x: &[T],
    from: i64,
    across: i64,
    width: usize,
    key: impl Fn(T) -> T::Key,
) -> [u32; TILE] {
    let mut positions = [0u32; TILE];
    let mut best = [key(x[from as usize]); TILE];
    for i in 0..kernel.extent {
        let row = from + i as i64 * kernel.step;
        let mut keys = [best[0]; TILE];
        if across == 1 {
            for (key_of, &element) in keys.iter_mut().zip(&x[row as usize..][..width]) {
                *key_of = key(element);
            }
        } else {
            for (n, key_of) in keys[..width].iter_mut().enumerate() {
                *key_of = key(x[(row + n as i64 * across) as usize]);
            }
        }
        // Whole tiles, without branches: lanes beyond `width` are computed and dropped.
        let first = i == 0;
        for ((best, position), &candidate) in best.iter_mut().zip(&mut positions).zip(&keys) {
            let better = first | (candidate > *best) | (kernel.last & (candidate == *best));
            *best = if better { candidate } else { *best };
            *position = if better { i as u32 } else { *position };
        }
    }
    positions
}
