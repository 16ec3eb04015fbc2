//! The folder a model lies in, and the files beside it that it names.
//!
//! A model may keep its weights in other files. Such a name has been a hole in loader after loader (`../`, absolute paths,
//! links), so a name is followed only to a plain file in the model's own folder or below it: every part of the path must be
//! a plain name, no part may be a symbolic link, and the resolved file must lie in the resolved folder.

use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use situ_runtime::map::FileBytes;

/// Where the other files of a model are, and those that are open.
#[derive(Debug)]
pub struct Folder {
    /// The model's folder, resolved; `None` when the model did not come from a file.
    path: Option<PathBuf>,
    mmap: bool,
    open: IndexMap<String, FileBytes>,
}

impl Folder {
    /// `path` is resolved (`Path::canonicalize`).
    pub fn new(path: Option<PathBuf>, mmap: bool) -> Folder {
        Folder { path, mmap, open: IndexMap::new() }
    }

    /// The folder of a model that did not come from a file: nothing is beside it.
    pub fn none() -> Folder {
        Folder::new(None, false)
    }

    /// The file called `location` in the folder or below it, opened once, or why there is none.
    pub fn open(&mut self, location: &str) -> Result<FileBytes, String> {
        if let Some(file) = self.open.get(location) {
            return Ok(file.clone());
        }
        let folder = self.path.as_deref().ok_or("the model has no folder")?;
        let path = contained(folder, location)?;
        let file = FileBytes::open(&path, self.mmap).map_err(|error| format!("{location:?}: {error}"))?;
        self.open.insert(location.to_string(), file.clone());
        Ok(file)
    }
}

/// Whether `location` is the name of a file in the folder itself.
pub fn is_plain_name(location: &str) -> bool {
    let mut components = Path::new(location).components();
    let one = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    one && !location.contains(['/', '\\', '\0'])
}

/// The plain file called `location` in `folder` or below it, or why there is none.
fn contained(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let shown = format!("{location:?}");
    if location.is_empty() || location.contains('\0') || location.contains('\\') {
        return Err(format!("{shown} is not a file name"));
    }
    let mut path = folder.to_path_buf();
    for component in Path::new(location).components() {
        match component {
            Component::CurDir => continue,
            Component::Normal(part) => path.push(part),
            _ => return Err(format!("{shown} leaves the model's folder")),
        }
        let metadata = path.symlink_metadata().map_err(|error| format!("{shown}: {error}"))?;
        if metadata.is_symlink() {
            return Err(format!("{shown} is a link, which is not followed"));
        }
    }
    let resolved = path.canonicalize().map_err(|error| format!("{shown}: {error}"))?;
    if !resolved.starts_with(folder) {
        return Err(format!("{shown} leaves the model's folder"));
    }
    if !resolved.is_file() {
        return Err(format!("{shown} is not a plain file"));
    }
    Ok(resolved)
}
