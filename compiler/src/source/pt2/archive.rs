//! The container of a `.pt2` file: a zip whose entries are stored, not compressed, so that each is a range of the map.
//!
//! Format: APPNOTE 6.3.10 of PKWARE, as `torch.export.save` uses it (docs.pytorch.org, "PT2 archive"). The crate `zip`
//! reads the directory; everything it says is checked here before a byte is used: names, methods, overlaps, sizes and
//! checksums. All entries lie in one folder, whose name is that of the archive.

use std::io::Cursor;
use std::ops::Range;

use indexmap::IndexMap;
use situ_runtime::map::FileBytes;
use zip::CompressionMethod;

/// The most entries an archive may have.
const MAX_ENTRIES: usize = 1 << 20;

/// The content of a file as the crate reads it.
struct Content(FileBytes);

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The entries of an archive.
pub struct Archive {
    pub file: FileBytes,
    zip: zip::ZipArchive<Cursor<Content>>,
    /// Ranges of `file` by name, without the archive's folder.
    entries: IndexMap<String, Range<usize>>,
}

impl Archive {
    /// Reads the directory of an archive.
    ///
    /// # Errors
    /// What is wrong with the container, in words.
    pub fn open(file: &FileBytes) -> Result<Archive, String> {
        if !file.starts_with(b"PK\x03\x04") {
            return Err(format!("not a zip archive: it begins with {}", beginning(file)));
        }
        // The number of entries is believed only as far as the file has room for their headers.
        let mut zip = zip::ZipArchive::new(Cursor::new(Content(file.clone())))
            .map_err(|error| format!("not a zip archive: {error}"))?;
        if zip.len() > MAX_ENTRIES {
            return Err(format!("{} entries, at most {MAX_ENTRIES} are read", zip.len()));
        }
        let mut entries: IndexMap<String, Range<usize>> = IndexMap::with_capacity(zip.len());
        let mut headers = Vec::with_capacity(zip.len());
        let mut ranges: Vec<(Range<usize>, String)> = Vec::with_capacity(zip.len());
        let mut folder: Option<String> = None;
        for at in 0..zip.len() {
            let entry = zip.by_index_raw(at).map_err(|error| format!("entry {at}: {error}"))?;
            let name = entry.name().to_string();
            let wrong = |what: String| Err(format!("entry {name:?}: {what}"));
            headers.push(entry.central_header_start());
            if entry.encrypted() {
                return wrong("it is encrypted".into());
            }
            if entry.compression() != CompressionMethod::Stored {
                return wrong(format!("it is compressed ({}), expected it stored", entry.compression()));
            }
            if entry.size() != entry.compressed_size() {
                return wrong(format!("{} bytes stored as {}", entry.size(), entry.compressed_size()));
            }
            let start = usize::try_from(entry.data_start()).ok();
            let end = start.zip(usize::try_from(entry.size()).ok()).and_then(|(start, size)| start.checked_add(size));
            let range = match (start, end) {
                (Some(start), Some(end)) if end <= file.len() => start..end,
                _ => return wrong(format!("{} bytes from {} leave the file", entry.size(), entry.data_start())),
            };
            let parts: Vec<&str> = name.split('/').collect();
            let plain = |part: &&str| !part.is_empty() && *part != "." && *part != ".." && !part.contains(['\\', '\0']);
            let [first, rest @ ..] = parts.as_slice() else { return wrong("it has no name".into()) };
            if !parts.iter().all(plain) || rest.is_empty() {
                return wrong("expected a path FOLDER/NAME without `..`".into());
            }
            match &folder {
                None => folder = Some((*first).to_string()),
                Some(folder) if folder == first => {}
                Some(folder) => return wrong(format!("it is not in the archive's folder {folder:?}")),
            }
            ranges.push((usize::try_from(entry.header_start()).unwrap_or(range.start)..range.end, name.clone()));
            if entries.insert(rest.join("/"), range).is_some() {
                return wrong("there are two entries of that name".into());
            }
        }
        // Bytes of one entry inside another are how zip bombs are made; nothing honest has them.
        ranges.sort_by_key(|(range, _)| (range.start, range.end));
        if let Some(pair) = ranges.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
            return Err(format!("entries {:?} and {:?} overlap", pair[0].1, pair[1].1));
        }
        refuse_hidden(file, headers)?;
        Ok(Archive { file: file.clone(), zip, entries })
    }

    /// The bytes of an entry as a range of the file, the checksum verified.
    pub fn entry(&mut self, name: &str) -> Result<Range<usize>, String> {
        let found = self.entries.get_full(name).map(|(at, _, range)| (at, range.clone()));
        let (at, range) = found.ok_or_else(|| format!("the archive has no entry {name:?}"))?;
        // The crate compares the content with the checksum when it reads to the end.
        let read = |zip: &mut zip::ZipArchive<_>| std::io::copy(&mut zip.by_index(at)?, &mut std::io::sink());
        read(&mut self.zip).map_err(|error| format!("entry {name:?}: {error}"))?;
        Ok(range)
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Names of the entries in a folder.
    pub fn names_in<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.entries.keys().map(String::as_str).filter(move |name| name.starts_with(folder))
    }

    /// A short entry that is text, without white space around it.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        if !self.has(name) {
            return Ok(None);
        }
        let range = self.entry(name)?;
        let bytes = &self.file[range];
        let text = bytes.get(..bytes.len().min(64)).and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.map(|text| Some(text.trim().to_string())).ok_or_else(|| format!("entry {name:?} is not text"))
    }
}

/// The crate keeps one of several entries with the same name. Headers of the directory stand one behind the other, so a
/// header that it does not know is one of those.
fn refuse_hidden(file: &[u8], mut headers: Vec<u64>) -> Result<(), String> {
    headers.sort_unstable();
    for pair in headers.windows(2) {
        let length = usize::try_from(pair[0]).ok().and_then(|at| {
            let field =
                |by: usize| Some(usize::from(u16::from_le_bytes(file.get(at + by..at + by + 2)?.try_into().ok()?)));
            Some(46 + field(28)? + field(30)? + field(32)?)
        });
        if length.is_none_or(|length| pair[0] + length as u64 != pair[1]) {
            return Err(format!("the directory holds an entry twice, near byte {}", pair[0]));
        }
    }
    Ok(())
}

/// How a file begins, for those who gave the wrong one.
fn beginning(file: &[u8]) -> String {
    match file {
        [] => "nothing, it is empty".to_string(),
        [0x1f, 0x8b, ..] => "the mark of gzip".to_string(),
        [0x80, 2..=5, ..] => "the mark of a Python pickle: save the program with torch.export.save".to_string(),
        _ => format!("bytes {:02x?}", &file[..file.len().min(4)]),
    }
}
