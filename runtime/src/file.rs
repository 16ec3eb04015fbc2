//! Writing a file whole or not at all.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Gives `path` what `write` writes. The bytes go to a temporary file in the same folder, which takes the name only when it is
/// complete and is removed when something fails; a link is followed, so that its target is replaced. What is no ordinary
/// file (a device, a pipe) is written to instead of replaced.
pub fn replace(path: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    // A name that leads nowhere yet is used as it is.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if let Ok(found) = std::fs::metadata(&target)
        && !found.is_file()
    {
        return match found.is_dir() {
            true => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
            false => write(&OpenOptions::new().write(true).open(&target)?),
        };
    }
    let (temporary, file) = create_beside(&target)?;
    let renamed = write(&file).and_then(|()| std::fs::rename(&temporary, &target));
    if renamed.is_err() {
        // The first error is the one to report; a file that cannot be removed either is left behind.
        let _ = std::fs::remove_file(&temporary);
    }
    renamed
}

/// A new file in the folder of `path`, with a name that nobody has.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    for attempt in 0..100 {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{attempt}", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "temporary files of earlier attempts are in the way"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::replace;

    #[test]
    fn a_failed_write_leaves_the_old_content_and_nothing_beside_it() {
        let folder = std::env::temp_dir().join(format!("situ-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("kept");
        replace(&path, |mut file| file.write_all(b"old")).unwrap();
        let failed = replace(&path, |mut file| {
            file.write_all(b"half")?;
            Err(std::io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        replace(&path, |mut file| file.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_stay_devices() {
        let folder = std::env::temp_dir().join(format!("situ-link-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (target, link) = (folder.join("target"), folder.join("link"));
        std::fs::write(&target, b"old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, |mut file| file.write_all(b"new")).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert!(replace(&folder, |_| Ok(())).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
