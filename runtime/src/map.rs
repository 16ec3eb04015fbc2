//! Files as bytes: mapped, or read to the heap. The one file that maps.
//!
//! A mapped file must not shrink while it is open: touching a page past its end raises SIGBUS, which no library can
//! turn into an error. Whoever cannot promise that opens with `mmap: false`.

use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

/// The bytes of a file. Cloning shares them.
#[derive(Clone, Debug)]
pub struct FileBytes(Arc<Content>);

#[derive(Debug)]
enum Content {
    Mapped(memmap2::Mmap),
    Heap(Vec<u8>),
}

impl FileBytes {
    /// Opens a plain file. Anything else (a directory, a device, a pipe) is refused before it is read.
    pub fn open(path: &Path, mmap: bool) -> std::io::Result<FileBytes> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a plain file"));
        }
        if mmap && metadata.len() > 0 {
            // SAFETY: the map is private to this value and only read. That the file does not shrink while it is open is
            // the caller's duty, stated in the module's head.
            let map = unsafe { memmap2::Mmap::map(&file)? };
            return Ok(FileBytes(Arc::new(Content::Mapped(map))));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(FileBytes(Arc::new(Content::Heap(bytes))))
    }

    /// Bytes that are already in memory.
    pub fn from_vec(bytes: Vec<u8>) -> FileBytes {
        FileBytes(Arc::new(Content::Heap(bytes)))
    }
}

impl Deref for FileBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Content::Mapped(map) => map,
            Content::Heap(bytes) => bytes,
        }
    }
}
