//! `.situx`: the bytes of a compiled program.
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | magic `\x89situx\r\n`, which a text-mode transfer would damage |
//! | 8..12 | version |
//! | 12..16 | `0x01020304`: the byte order of the weights is little endian, and so is every number here |
//! | 16..64 | metadata: offset, length; weights: offset, length (`u64` each); 16 zero bytes |
//! | 64..96 | SHA-256 of the metadata |
//! | 96..128 | SHA-256 of the weights |
//! | 128..160 | SHA-256 of bytes 0..128 |
//! | 160..192 | zero |
//! | 192.. | metadata: the [`Executable`] in postcard's form, zero bytes up to a multiple of 64 |
//! | | weights, to the end of the file |
//!
//! Loading checks everything but the hash of the weights, which would mean reading them all; `situ check` asks for it
//! with [`Compiled::verify_weights`]. The file is treated as hostile: each length is compared with what is there
//! before anything is allocated, the types of the metadata do not nest without bound, a list in it is never longer than
//! the bytes left, and the result passes [`validate`] before anybody sees it. What loads still needs
//! [`check`](crate::check::check), which every [`Session`](crate::session::Session) does first.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::arena::Block;
use crate::executable::{ALIGNMENT, Executable};
use crate::file;
use crate::map::{FileBytes, Weights};
use crate::validate::{self, Invalid};

const MAGIC: [u8; 8] = *b"\x89situx\r\n";

/// Files of another version are refused.
pub const VERSION: u32 = 3;

const ENDIANNESS: u32 = 0x0102_0304;
const HEADER_BYTES: usize = 192;

/// The most bytes of metadata that are decoded.
const MAX_METADATA: u64 = 1 << 28;

type Hash = [u8; 32];

/// A compiled program with its weights: what a `.situx` file holds.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub executable: Executable,
    pub weights: Weights,
    /// What the file says the weights hash to; `None` for a program that was not loaded.
    weights_hash: Option<Hash>,
}

/// Why a file does not load.
#[derive(Debug)]
pub enum LoadError {
    Io(io::Error),
    /// The file does not begin as a `.situx` file does.
    NotSitux,
    /// The file was written by another version.
    Version(u32),
    /// The file is damaged; what does not fit.
    Damaged(&'static str),
    /// The file is whole, and holds a plan that cannot be run.
    Invalid(Invalid),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Io(error) => write!(f, "{error}"),
            LoadError::NotSitux => f.write_str("not a .situx file"),
            LoadError::Version(found) => write!(f, "written in version {found} of the format, expected {VERSION}"),
            LoadError::Damaged(what) => write!(f, "the file is damaged: {what}"),
            LoadError::Invalid(invalid) => write!(f, "the file holds no valid plan: {invalid}"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Io(error) => Some(error),
            LoadError::Invalid(invalid) => Some(invalid),
            _ => None,
        }
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> LoadError {
        LoadError::Io(error)
    }
}

impl Compiled {
    /// A program fresh from the compiler. The weights are as long as the executable says.
    pub fn new(executable: Executable, weights: Weights) -> Result<Compiled, Invalid> {
        if weights.len() as u64 != executable.weights_bytes {
            let what = format!("{} bytes of weights are expected, found {}", executable.weights_bytes, weights.len());
            return Err(Invalid { at: String::new(), what });
        }
        validate::executable(&executable)?;
        Ok(Compiled { executable, weights, weights_hash: None })
    }

    /// Loads a file. With `mmap` the weights stay in the file and come in as they are touched; the file must then keep
    /// its content while the program is in use.
    pub fn load(path: impl AsRef<Path>, mmap: bool) -> Result<Compiled, LoadError> {
        Compiled::from_file(&FileBytes::open(path, mmap)?)
    }

    /// Loads from bytes; the weights are shared with them when they are aligned, else copied.
    pub fn from_file(file: &FileBytes) -> Result<Compiled, LoadError> {
        let header = Header::parse(file)?;
        let metadata = &file[header.metadata.0..header.metadata.1];
        if sha256(metadata) != header.metadata_hash {
            return Err(LoadError::Damaged("the hash of the metadata"));
        }
        let (executable, rest) = postcard::take_from_bytes::<Executable>(metadata)
            .map_err(|_| LoadError::Damaged("the metadata do not decode"))?;
        if !rest.is_empty() {
            return Err(LoadError::Damaged("the metadata are longer than their content"));
        }
        let (start, end) = header.weights;
        if executable.weights_bytes != (end - start) as u64 {
            return Err(LoadError::Damaged("the weights have another length"));
        }
        validate::executable(&executable).map_err(LoadError::Invalid)?;
        let weights = match Weights::section(file, start..end) {
            Some(weights) => weights,
            None => Weights::owned(Block::copied(&file[start..end]).map_err(io::Error::other)?),
        };
        Ok(Compiled { executable, weights, weights_hash: Some(header.weights_hash) })
    }

    /// Whether the weights are those that were written; reads them all. A program that was not loaded has the weights
    /// it was given.
    pub fn verify_weights(&self) -> Result<(), LoadError> {
        match self.weights_hash {
            Some(hash) if hash != sha256(&self.weights) => Err(LoadError::Damaged("the hash of the weights")),
            _ => Ok(()),
        }
    }

    /// Writes the file, whole or not at all ([`file::replace`]).
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        file::replace(path.as_ref(), |file| self.write_to(io::BufWriter::with_capacity(1 << 20, file)))
    }

    /// Writes the bytes of the file: the weights in a stream, then the header, which needs their hash, at the start.
    pub fn write_to(&self, mut out: impl Write + Seek) -> io::Result<()> {
        let metadata = postcard::to_allocvec(&self.executable).map_err(io::Error::other)?;
        if metadata.len() as u64 > MAX_METADATA {
            return Err(io::Error::other("the plan is too large for a file"));
        }
        let metadata_end = HEADER_BYTES + metadata.len();
        let weights_start = metadata_end.next_multiple_of(ALIGNMENT as usize);
        out.write_all(&[0; HEADER_BYTES])?;
        out.write_all(&metadata)?;
        out.write_all(&[0; ALIGNMENT as usize][..weights_start - metadata_end])?;
        let mut hasher = Sha256::new();
        for chunk in self.weights.chunks(1 << 20) {
            hasher.update(chunk);
            out.write_all(chunk)?;
        }
        let header = Header {
            metadata: (HEADER_BYTES, metadata_end),
            weights: (weights_start, weights_start + self.weights.len()),
            metadata_hash: sha256(&metadata),
            weights_hash: hasher.finalize().into(),
        };
        out.seek(SeekFrom::Start(0))?;
        out.write_all(&header.bytes())?;
        out.flush()
    }
}

fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// The first bytes of a file. Sections are `(start, end)`, in bounds.
struct Header {
    metadata: (usize, usize),
    weights: (usize, usize),
    metadata_hash: Hash,
    weights_hash: Hash,
}

impl Header {
    fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&ENDIANNESS.to_le_bytes());
        let (metadata, weights) = (self.metadata, self.weights);
        let numbers = [metadata.0, metadata.1 - metadata.0, weights.0, weights.1 - weights.0];
        for (slot, number) in bytes[16..48].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&(number as u64).to_le_bytes());
        }
        bytes[64..96].copy_from_slice(&self.metadata_hash);
        bytes[96..128].copy_from_slice(&self.weights_hash);
        let hash = sha256(&bytes[..128]);
        bytes[128..160].copy_from_slice(&hash);
        bytes
    }

    fn parse(file: &[u8]) -> Result<Header, LoadError> {
        if !file.starts_with(&MAGIC) {
            return Err(LoadError::NotSitux);
        }
        let bytes: &[u8; HEADER_BYTES] = file.first_chunk().ok_or(LoadError::Damaged("it ends in its header"))?;
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let version = u32::from_le_bytes(word(8));
        if version != VERSION {
            return Err(LoadError::Version(version));
        }
        // Read in this machine's order: the weights are used as they lie, so a machine of the other order refuses.
        if u32::from_ne_bytes(word(12)) != ENDIANNESS {
            return Err(LoadError::Damaged("its byte order is not this machine's"));
        }
        if sha256(&bytes[..128]) != bytes[128..160] {
            return Err(LoadError::Damaged("the hash of the header"));
        }
        if bytes[48..64].iter().chain(&bytes[160..]).any(|&byte| byte != 0) {
            return Err(LoadError::Damaged("reserved bytes are in use"));
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let section = |at: usize| {
            let (start, length) = (number(at), number(at + 8));
            let end = start.checked_add(length).filter(|&end| end <= file.len() as u64);
            end.map(|end| (start as usize, end as usize)).ok_or(LoadError::Damaged("a section is outside of it"))
        };
        let (metadata, weights) = (section(16)?, section(32)?);
        let padding = file.get(metadata.1..weights.0).ok_or(LoadError::Damaged("its sections overlap"))?;
        let in_order = metadata.0 == HEADER_BYTES
            && (weights.0 as u64).is_multiple_of(ALIGNMENT)
            && weights.1 == file.len()
            && (padding.len() as u64) < ALIGNMENT
            && padding.iter().all(|&byte| byte == 0);
        if !in_order || (metadata.1 - metadata.0) as u64 > MAX_METADATA {
            return Err(LoadError::Damaged("its sections are out of order"));
        }
        let hash = |at: usize| std::array::from_fn(|i| bytes[at + i]);
        Ok(Header { metadata, weights, metadata_hash: hash(64), weights_hash: hash(96) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;
    use crate::fixture::update;

    fn bytes() -> Vec<u8> {
        let mut executable = update();
        executable.weights_bytes = 100;
        let weights = Weights::owned(Block::copied(&[5; 100]).unwrap());
        let mut out = io::Cursor::new(Vec::new());
        Compiled::new(executable, weights).unwrap().write_to(&mut out).unwrap();
        out.into_inner()
    }

    #[test]
    fn what_is_written_loads() {
        let path = std::env::temp_dir().join(format!("situ-wire-{}.situx", std::process::id()));
        let loaded = Compiled::from_file(&FileBytes::from_vec(bytes())).unwrap();
        loaded.write(&path).unwrap();
        for mmap in [true, false] {
            let again = Compiled::load(&path, mmap).unwrap();
            assert_eq!(again.executable, loaded.executable);
            assert_eq!(again.weights[..], [5; 100]);
            again.verify_weights().unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes());
        std::fs::remove_file(&path).unwrap();
        assert!(loaded.write("/nonexistent/folder/f.situx").is_err());
        assert!(Compiled::new(update(), loaded.weights.clone()).is_err());
    }

    #[test]
    fn damage_is_noticed() {
        let good = bytes();
        let weights = good.len() - 100;
        for position in 0..good.len() {
            for mask in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[position] ^= mask;
                match Compiled::from_file(&FileBytes::from_vec(bad)) {
                    // Only the weights are not read while loading; their hash tells.
                    Ok(loaded) => {
                        assert!(position >= weights && check(&loaded.executable).is_ok());
                        assert!(matches!(loaded.verify_weights(), Err(LoadError::Damaged(_))));
                    }
                    Err(error) => assert!(position < weights && !error.to_string().is_empty()),
                }
            }
        }
        for length in 0..good.len() {
            assert!(Compiled::from_file(&FileBytes::from_vec(good[..length].to_vec())).is_err());
        }
        let longer = [good, vec![0]].concat();
        assert!(Compiled::from_file(&FileBytes::from_vec(longer)).is_err());
    }

    /// Metadata with right hashes and wrong content: whoever writes the file can make the hashes fit.
    #[test]
    fn forged_metadata_load_or_not_but_never_panic() {
        let good = bytes();
        let metadata = postcard::to_allocvec(&{
            let mut executable = update();
            executable.weights_bytes = 100;
            executable
        })
        .unwrap();
        let forge = |metadata: &[u8]| {
            let end = HEADER_BYTES + metadata.len();
            let start = end.next_multiple_of(64);
            let header = Header {
                metadata: (HEADER_BYTES, end),
                weights: (start, start + 100),
                metadata_hash: sha256(metadata),
                weights_hash: [0; 32],
            };
            let padding = vec![0; start - end];
            let file = [&header.bytes(), metadata, &padding, &good[good.len() - 100..]].concat();
            Compiled::from_file(&FileBytes::from_vec(file))
        };
        assert!(forge(&metadata).is_ok());
        let (mut loaded, mut accepted) = (0, 0);
        let mut try_one = |bad: &[u8]| {
            if let Ok(compiled) = forge(bad) {
                loaded += 1;
                accepted += u32::from(check(&compiled.executable).is_ok());
            }
        };
        for position in 0..metadata.len() {
            for value in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                let mut bad = metadata.clone();
                bad[position] = value;
                try_one(&bad);
                bad.splice(position..position, [0xff; 9]);
                try_one(&bad);
            }
            try_one(&metadata[..position]);
        }
        assert!(loaded > accepted && accepted > 0);
    }
}
