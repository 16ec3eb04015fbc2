//! The aligned block, and the one function that hands out slices of several memories for one step.
//!
//! A step reads and writes ranges of the arena, of the weights and of the caller's inputs. [`Binding::carve`] turns
//! those ranges into `&[u8]` and `&mut [u8]`. It trusts no plan: every range is compared with the bounds of its
//! memory, and every written range with every other range of the step, *by address*, so that two memories which share
//! bytes (foreign callers can pass such pointers) are found out as well. A plan that is wrong in any way gets a
//! [`Conflict`], never undefined behaviour. A step has few operands, so comparing them all costs less than a
//! table would.
//!
//! A step that runs another plan [lends](Binding::lend) that plan ranges of its own memories, under the same
//! conditions, and may move [windows](Binding::slide) over them.
//!
//! Nothing here allocates while a session runs: the tables of memories keep their capacity from run to run.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::executable::ALIGNMENT;

/// Bytes at an address that is a multiple of [`ALIGNMENT`], zero at first.
pub struct Block {
    pointer: NonNull<u8>,
    bytes: usize,
}

/// The system has no block of this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    pub bytes: u64,
}

impl std::fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the system has no block of {} bytes", self.bytes)
    }
}

impl std::error::Error for OutOfMemory {}

impl Block {
    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes, ALIGNMENT as usize).ok()
    }

    /// A block of `bytes` zeros, or an error where an ordinary vector would abort the process.
    pub fn zeroed(bytes: u64) -> Result<Block, OutOfMemory> {
        let refused = OutOfMemory { bytes };
        let length = usize::try_from(bytes).map_err(|_| refused)?;
        let layout = Block::layout(length).ok_or(refused)?;
        if length == 0 {
            return Ok(Block { pointer: NonNull::<Line>::dangling().cast(), bytes: 0 });
        }
        // SAFETY: the layout has a size above zero.
        let pointer = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(refused)?;
        Ok(Block { pointer, bytes: length })
    }

    /// A block that holds a copy of `content`.
    pub fn copied(content: &[u8]) -> Result<Block, OutOfMemory> {
        let mut block = Block::zeroed(content.len() as u64)?;
        block.copy_from_slice(content);
        Ok(block)
    }
}

/// Gives an empty block an address of the promised alignment.
#[repr(align(64))]
struct Line;

const _: () = assert!(align_of::<Line>() as u64 == ALIGNMENT);

impl Drop for Block {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let layout = Block::layout(self.bytes).expect("the block was allocated with this layout");
            // SAFETY: `pointer` came from `alloc_zeroed` with this very layout and is freed once.
            unsafe { dealloc(self.pointer.as_ptr(), layout) }
        }
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `bytes` initialised bytes belong to the block; `&self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.bytes) }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: `bytes` initialised bytes belong to the block; `&mut self` keeps everybody else out.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.bytes) }
    }
}

// SAFETY: a block owns its bytes, as a boxed slice does.
unsafe impl Send for Block {}
// SAFETY: shared access to a block is shared access to plain bytes.
unsafe impl Sync for Block {}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({} bytes)", self.bytes)
    }
}

/// A range of bytes of one memory of a [`Binding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position in the binding.
    pub memory: usize,
    pub start: usize,
    pub bytes: usize,
}

/// Why the ranges of a step cannot be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The range is not inside its memory, or the memory does not exist.
    Bounds(Span),
    /// The range is written, and its memory may only be read.
    ReadOnly(Span),
    /// The first range is written and shares bytes with the second.
    Overlap(Span, Span),
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |span: &Span| format!("bytes {}+{} of memory {}", span.start, span.bytes, span.memory);
        match self {
            Conflict::Bounds(span) => write!(f, "{} do not exist", show(span)),
            Conflict::ReadOnly(span) => write!(f, "{} must not be written", show(span)),
            Conflict::Overlap(a, b) => write!(f, "{} are written and shared with {}", show(a), show(b)),
        }
    }
}

/// Where one memory lies. Dangling outside a [`Binding`], and never looked at there.
struct Bounds {
    pointer: *mut u8,
    bytes: usize,
    writable: bool,
    /// The part of the memory that spans count from: its start, and how many bytes.
    window: (usize, usize),
}

impl Bounds {
    fn new(pointer: *mut u8, bytes: usize, writable: bool) -> Bounds {
        Bounds { pointer, bytes, writable, window: (0, bytes) }
    }
}

/// The table of the memories of a run; keeps its capacity, holds nothing between runs.
#[derive(Default)]
pub struct Memories {
    table: Vec<Bounds>,
}

// SAFETY: outside a binding the table is empty capacity; a binding borrows it exclusively.
unsafe impl Send for Memories {}
// SAFETY: `&Memories` gives access to nothing.
unsafe impl Sync for Memories {}

impl Memories {
    /// A table with room for `count` memories.
    pub fn with_capacity(count: usize) -> Memories {
        Memories { table: Vec::with_capacity(count) }
    }

    /// Starts a run. The binding holds what is pushed into it for as long as `'m`.
    pub fn bind<'m>(&'m mut self) -> Binding<'m> {
        self.table.clear();
        Binding { table: &mut self.table, memories: PhantomData }
    }
}

/// The memories of one run, addressed by the order in which they were pushed.
pub struct Binding<'m> {
    table: &'m mut Vec<Bounds>,
    memories: PhantomData<&'m mut [u8]>,
}

impl<'m> Binding<'m> {
    /// Adds a memory that is only read.
    pub fn push_shared(&mut self, bytes: &'m [u8]) {
        self.table.push(Bounds::new(bytes.as_ptr().cast_mut(), bytes.len(), false));
    }

    /// Adds a memory that may be written.
    pub fn push_exclusive(&mut self, bytes: &'m mut [u8]) {
        self.table.push(Bounds::new(bytes.as_mut_ptr(), bytes.len(), true));
    }

    /// Adds a memory of a foreign caller; it may share bytes with other memories added this way.
    ///
    /// # Safety
    /// `pointer` is valid for reading `bytes` initialised bytes, and for writing them when `writable`, as long as
    /// `'m`; meanwhile they are accessed through this binding only (others may read what is not `writable`).
    pub(crate) unsafe fn push_raw(&mut self, pointer: *mut u8, bytes: usize, writable: bool) {
        self.table.push(Bounds::new(pointer, bytes, writable));
    }

    /// The memories of a plan that a step of this one runs: each is a range of bytes, and may be written or not. Until
    /// the result is dropped nobody else gets any of them.
    ///
    /// Every range must be in bounds, every one to be written in a writable memory and disjoint from every other by
    /// address; ranges that are only read may overlap one another. `memories` should have room for as many.
    pub fn lend<'s>(
        &'s mut self,
        memories: &'s mut Memories,
        ranges: &[(Span, bool)],
    ) -> Result<Binding<'s>, Conflict> {
        memories.table.clear();
        for (position, &(span, writable)) in ranges.iter().enumerate() {
            let pointer = self.locate(span)?;
            if writable && span.bytes > 0 && !self.table[span.memory].writable {
                return Err(Conflict::ReadOnly(span));
            }
            let start = pointer as usize;
            for (other, known) in memories.table.iter().enumerate() {
                let known_start = known.pointer as usize;
                let meet = start < known_start + known.bytes && known_start < start + span.bytes;
                if span.bytes > 0 && known.bytes > 0 && (writable || known.writable) && meet {
                    debug_assert!(other < position);
                    return Err(Conflict::Overlap(span, ranges[other].0));
                }
            }
            // In bounds of a memory that is valid for `'m`, which outlives `'s`; whoever holds the result has borrowed
            // this binding for `'s`, and the loop has kept what is written apart from everything else.
            memories.table.push(Bounds::new(pointer, span.bytes, writable));
        }
        Ok(Binding { table: &mut memories.table, memories: PhantomData })
    }

    /// Lets the ranges of one memory count from its byte `start`, and end `bytes` further on.
    pub fn slide(&mut self, memory: usize, start: usize, bytes: usize) -> Result<(), Conflict> {
        let outside = Conflict::Bounds(Span { memory, start, bytes });
        let bounds = self.table.get_mut(memory).ok_or(outside)?;
        if start.checked_add(bytes).is_none_or(|end| end > bounds.bytes) {
            return Err(outside);
        }
        bounds.window = (start, bytes);
        Ok(())
    }

    /// Writes `bytes` to the start of a memory.
    pub fn store(&mut self, memory: usize, bytes: &[u8]) -> Result<(), Conflict> {
        let mut exclusive: [&mut [u8]; 1] = [&mut []];
        self.carve(&[], &[Span { memory, start: 0, bytes: bytes.len() }], &mut [], &mut exclusive)?;
        exclusive[0].copy_from_slice(bytes);
        Ok(())
    }

    fn locate(&self, span: Span) -> Result<*mut u8, Conflict> {
        let bounds = self.table.get(span.memory).ok_or(Conflict::Bounds(span))?;
        let (start, bytes) = bounds.window;
        match span.start.checked_add(span.bytes) {
            // SAFETY: the window lies inside the memory, and `span.start` inside the window or one past its end.
            Some(end) if end <= bytes => Ok(unsafe { bounds.pointer.add(start + span.start) }),
            _ => Err(Conflict::Bounds(span)),
        }
    }

    /// The bytes of one range, read only.
    pub fn view(&self, span: Span) -> Result<&[u8], Conflict> {
        let pointer = self.locate(span)?;
        if span.bytes == 0 {
            return Ok(&[]);
        }
        // SAFETY: in bounds of a memory that is valid for `'m`; `&self` keeps `carve` from handing out writers.
        Ok(unsafe { std::slice::from_raw_parts(pointer, span.bytes) })
    }

    /// Puts the bytes of `reads[i]` into `shared[i]` and those of `writes[j]` into `exclusive[j]`; entries of empty
    /// ranges stay as they are.
    ///
    /// Every range must be in bounds, every written memory writable, and every written range disjoint from every
    /// other range by address; read ranges may overlap one another. Empty ranges overlap nothing.
    ///
    /// # Panics
    /// When `shared` or `exclusive` is shorter than its list of ranges.
    pub fn carve<'s>(
        &'s mut self,
        reads: &[Span],
        writes: &[Span],
        shared: &mut [&'s [u8]],
        exclusive: &mut [&'s mut [u8]],
    ) -> Result<(), Conflict> {
        for (position, &write) in writes.iter().enumerate() {
            let start = self.locate(write)? as usize;
            if write.bytes == 0 {
                continue;
            }
            if !self.table[write.memory].writable {
                return Err(Conflict::ReadOnly(write));
            }
            for &other in reads.iter().chain(&writes[position + 1..]) {
                let other_start = self.locate(other)? as usize;
                if other.bytes > 0 && start < other_start + other.bytes && other_start < start + write.bytes {
                    return Err(Conflict::Overlap(write, other));
                }
            }
        }
        for (slot, &read) in shared[..reads.len()].iter_mut().zip(reads) {
            let pointer = self.locate(read)?;
            if read.bytes > 0 {
                // SAFETY: in bounds of a memory that is valid for `'m`, which outlives `'s`; no written range of this
                // call shares a byte with it, and `&'s mut self` keeps other calls away while the slices live.
                *slot = unsafe { std::slice::from_raw_parts(pointer, read.bytes) };
            }
        }
        for (slot, &write) in exclusive[..writes.len()].iter_mut().zip(writes) {
            let pointer = self.locate(write)?;
            if write.bytes > 0 {
                // SAFETY: as above, and writable; no other range of this call, read or written, shares a byte with it.
                *slot = unsafe { std::slice::from_raw_parts_mut(pointer, write.bytes) };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(memory: usize, start: usize, bytes: usize) -> Span {
        Span { memory, start, bytes }
    }

    fn carve(binding: &mut Binding<'_>, reads: &[Span], writes: &[Span]) -> Result<(), Conflict> {
        let mut shared: [&[u8]; 4] = [&[]; 4];
        let mut exclusive: [&mut [u8]; 4] = std::array::from_fn(|_| &mut [][..]);
        binding.carve(reads, writes, &mut shared, &mut exclusive)?;
        for slice in exclusive {
            slice.fill(7);
        }
        Ok(())
    }

    #[test]
    fn blocks_are_aligned_zero_and_refused_without_abort() {
        for bytes in [0u64, 1, 63, 64, 65, 4096] {
            let block = Block::zeroed(bytes).unwrap();
            assert_eq!(block.as_ptr() as u64 % ALIGNMENT, 0);
            assert_eq!(block.len() as u64, bytes);
            assert!(block.iter().all(|&byte| byte == 0));
        }
        assert!(Block::zeroed(u64::MAX).is_err());
        assert!(Block::zeroed(1 << 62).is_err());
    }

    #[test]
    fn carve_hands_out_disjoint_ranges_only() {
        let mut memories = Memories::with_capacity(2);
        let mut arena = Block::zeroed(256).unwrap();
        let weights = vec![1u8; 64];
        {
            let mut binding = memories.bind();
            binding.push_exclusive(&mut arena);
            binding.push_shared(&weights);
            let ok = [span(0, 0, 64), span(0, 32, 64), span(1, 0, 64)];
            assert_eq!(carve(&mut binding, &ok, &[span(0, 96, 32), span(0, 128, 128)]), Ok(()));
            assert_eq!(
                carve(&mut binding, &[span(0, 0, 64)], &[span(0, 63, 1)]),
                Err(Conflict::Overlap(span(0, 63, 1), span(0, 0, 64)))
            );
            let twice = [span(0, 0, 8), span(0, 4, 8)];
            assert_eq!(carve(&mut binding, &[], &twice), Err(Conflict::Overlap(twice[0], twice[1])));
            assert_eq!(carve(&mut binding, &[], &[span(1, 0, 8)]), Err(Conflict::ReadOnly(span(1, 0, 8))));
            for bad in [span(0, 200, 57), span(0, usize::MAX, 2), span(2, 0, 0), span(1, 65, 0)] {
                assert_eq!(carve(&mut binding, &[bad], &[]), Err(Conflict::Bounds(bad)));
                assert_eq!(carve(&mut binding, &[], &[bad]), Err(Conflict::Bounds(bad)));
            }
            assert_eq!(binding.view(span(0, 96, 2)), Ok(&[7u8, 7][..]));
        }
        assert_eq!(arena[95], 0);
        assert_eq!(arena[96], 7);
    }

    #[test]
    fn what_is_lent_is_apart_and_windows_move_over_it() {
        let (mut memories, mut inner) = (Memories::with_capacity(2), Memories::with_capacity(3));
        let mut arena = Block::zeroed(256).unwrap();
        let weights = vec![1u8; 64];
        let mut binding = memories.bind();
        binding.push_exclusive(&mut arena);
        binding.push_shared(&weights);
        for bad in [
            [(span(0, 0, 64), true), (span(0, 63, 64), false)],
            [(span(0, 0, 64), false), (span(0, 63, 64), true)],
            [(span(0, 0, 64), true), (span(0, 0, 64), true)],
            [(span(1, 0, 64), true), (span(0, 0, 64), true)],
            [(span(0, 0, 64), true), (span(0, 200, 57), false)],
            [(span(0, 0, 64), true), (span(2, 0, 0), false)],
        ] {
            assert!(binding.lend(&mut inner, &bad).is_err(), "{bad:?}");
        }
        let good =
            [(span(0, 64, 64), true), (span(0, 0, 64), false), (span(0, 32, 32), false), (span(1, 0, 64), false)];
        {
            let mut lent = binding.lend(&mut inner, &good).unwrap();
            assert_eq!(carve(&mut lent, &[span(1, 0, 64)], &[span(0, 0, 64)]), Ok(()));
            assert!(carve(&mut lent, &[], &[span(0, 1, 64)]).is_err());
            assert!(carve(&mut lent, &[], &[span(1, 0, 1)]).is_err());
            lent.slide(0, 16, 8).unwrap();
            lent.store(0, &[9; 8]).unwrap();
            assert_eq!(lent.store(0, &[9; 9]), Err(Conflict::Bounds(span(0, 0, 9))));
            assert_eq!(lent.view(span(0, 7, 1)), Ok(&[9u8][..]));
            assert!(lent.view(span(0, 8, 1)).is_err());
            for (start, bytes) in [(57, 8), (usize::MAX, 2), (0, 65)] {
                assert!(lent.slide(0, start, bytes).is_err());
            }
            assert!(lent.slide(4, 0, 0).is_err());
            lent.slide(0, 64, 0).unwrap();
            assert_eq!(lent.view(span(0, 0, 0)), Ok(&[][..]));
        }
        assert_eq!(binding.view(span(0, 79, 10)), Ok(&[7u8, 9, 9, 9, 9, 9, 9, 9, 9, 7][..]));
    }

    #[test]
    fn memories_that_share_bytes_are_found_by_address() {
        let mut memories = Memories::default();
        let mut bytes = [0u8; 64];
        let mut binding = memories.bind();
        let pointer = bytes.as_mut_ptr();
        // SAFETY: both ranges lie inside `bytes`, which nobody else touches in this test.
        unsafe {
            binding.push_raw(pointer, 32, true);
            binding.push_raw(pointer.add(16), 32, true);
        }
        assert!(carve(&mut binding, &[span(1, 16, 16)], &[span(0, 0, 32)]).is_ok());
        assert!(carve(&mut binding, &[span(1, 0, 16)], &[span(0, 0, 32)]).is_err());
    }
}
