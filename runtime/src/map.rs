//! The one file that maps files into memory, and the weights, which are usually such a mapping.
//!
//! A mapped file must not change or shrink while it is open: the operating system would show the change in bytes
//! that Rust believes constant, or stop the process. `--no-mmap` reads the file instead. Either way the
//! content of a file starts at a 64-byte boundary, so that a section at a 64-byte offset is aligned for every element
//! type.

use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use crate::arena::{Block, OutOfMemory};
use crate::executable::ALIGNMENT;

enum Content {
    Mapped(memmap2::Mmap),
    Read(Block),
    Given(Vec<u8>),
}

/// The content of a file. Cloning shares it.
#[derive(Clone)]
pub struct FileBytes {
    content: Arc<Content>,
}

impl FileBytes {
    /// Opens a plain file, mapped when `mmap`, else read to the heap.
    ///
    /// # Errors
    /// Those of the file system; `InvalidInput` for what is no plain file (a folder, a pipe, a device), which could
    /// block or never end; `OutOfMemory` when the content does not fit.
    pub fn open(path: impl AsRef<Path>, mmap: bool) -> io::Result<FileBytes> {
        let path = path.as_ref();
        // A pipe without writer would block in `open`, so the kind is asked first, and again of the opened file.
        if !std::fs::metadata(path)?.is_file() {
            return Err(not_plain());
        }
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(not_plain());
        }
        if mmap && metadata.len() > 0 {
            // SAFETY: the map is only read; the documentation of this file and of the command line asks that the file
            // keeps its content while it is open.
            let map = unsafe { memmap2::Mmap::map(&file)? };
            return Ok(FileBytes { content: Arc::new(Content::Mapped(map)) });
        }
        let mut block = Block::zeroed(metadata.len()).map_err(out_of_memory)?;
        file.read_exact(&mut block)?;
        Ok(FileBytes { content: Arc::new(Content::Read(block)) })
    }

    /// Bytes that are already in memory, at whatever address they are.
    pub fn from_vec(bytes: Vec<u8>) -> FileBytes {
        FileBytes { content: Arc::new(Content::Given(bytes)) }
    }
}

fn not_plain() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a plain file")
}

fn out_of_memory(error: OutOfMemory) -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, error)
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &*self.content {
            Content::Mapped(map) => map,
            Content::Read(block) => block,
            Content::Given(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileBytes({} bytes)", self.len())
    }
}

#[derive(Clone)]
enum Storage {
    Owned(Arc<Block>),
    Section { file: FileBytes, range: Range<usize> },
}

/// The weights of an executable: bytes at a 64-byte boundary that nobody writes. Cloning shares them.
#[derive(Clone)]
pub struct Weights {
    storage: Storage,
}

impl Weights {
    /// Weights made in memory.
    pub fn owned(block: Block) -> Weights {
        Weights { storage: Storage::Owned(Arc::new(block)) }
    }

    /// Weights of a program that has none.
    pub fn none() -> Weights {
        Weights::owned(Block::zeroed(0).expect("an empty block needs no memory"))
    }

    /// A section of a file, without a copy; `None` when it is out of bounds or does not start at a 64-byte boundary.
    pub fn section(file: &FileBytes, range: Range<usize>) -> Option<Weights> {
        let bytes = file.get(range.clone())?;
        if !(bytes.as_ptr() as u64).is_multiple_of(ALIGNMENT) {
            return None;
        }
        Some(Weights { storage: Storage::Section { file: file.clone(), range } })
    }
}

impl Deref for Weights {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.storage {
            Storage::Owned(block) => block,
            Storage::Section { file, range } => &file[range.clone()],
        }
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Weights({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_opening_give_the_same_aligned_bytes() {
        let path = std::env::temp_dir().join(format!("situ-map-{}", std::process::id()));
        for length in [0usize, 1, 64, 5000] {
            let content: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            std::fs::write(&path, &content).unwrap();
            for mmap in [false, true] {
                let file = FileBytes::open(&path, mmap).unwrap();
                assert_eq!(&file[..], &content[..]);
                assert_eq!(Weights::section(&file, 0..length).unwrap().len(), length);
                if length > 64 {
                    assert_eq!(Weights::section(&file, 64..length).unwrap()[0], 64);
                    assert!(Weights::section(&file, 4..length).is_none());
                    assert!(Weights::section(&file, 64..length + 1).is_none());
                }
            }
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        for mmap in [false, true] {
            assert!(FileBytes::open(std::env::temp_dir(), mmap).is_err());
            assert!(FileBytes::open("/dev/zero", mmap).is_err());
            assert!(FileBytes::open("/nonexistent/file", mmap).is_err());
        }
    }
}
