//! Folders and names that stay when the power goes.
//!
//! A file's sync makes its bytes durable and not its name; a name is durable when the folder that it
//! lies in is synced, and that folder's own name when the folder above it is. Whoever acknowledges
//! something that lies in a folder made a moment ago makes the folder with [`create_folder`].
//!
//! They are in this crate because it is the lowest of those that write.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What a folder may have at most where nothing is said: the process's mask takes the rest.
pub const COMMON_MODE: u32 = 0o777;

/// Makes a folder and those above it that are missing, all with `mode`, and their names durable. One
/// that is there is left as it is; its name is made durable, since whoever made it may have been
/// killed before.
///
/// # Errors
/// The operating system's.
pub fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    let above = above(path);
    let make = || DirBuilder::new().mode(mode).create(path);
    let made = match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && path != above => {
            create_folder(above, mode)?;
            make()
        }
        made => made,
    };
    match made {
        Ok(()) => sync_folder(above),
        Err(_) if path.is_dir() => match sync_folder(above) {
            // A folder that this process may not read, or that knows no syncs, is not one in which
            // it has made anything.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::Unsupported
                ) =>
            {
                Ok(())
            }
            synced => synced,
        },
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The operating system's.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The folder that a path's name lies in.
pub fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file under a name that is not its own yet. Unless it has got it, it is removed: half a file
/// serves nobody, and on a full disk it takes the room that everybody else needs.
#[derive(Debug)]
pub struct Unfinished<'a>(pub &'a Path);

impl Unfinished<'_> {
    /// The file has its own name.
    pub fn finished(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // What went wrong before matters, and not this.
        let _ = std::fs::remove_file(self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_is_made_with_those_above_it_and_taken_where_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        for _ in 0..2 {
            create_folder(&path, 0o700).unwrap();
        }
        for part in ["a", "a/b", "a/b/c"] {
            let mode = std::fs::metadata(folder.path().join(part)).unwrap();
            assert_eq!(mode.permissions().mode() & 0o777, 0o700);
        }
        std::fs::write(folder.path().join("file"), "").unwrap();
        let error = create_folder(&folder.path().join("file"), 0o700).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(create_folder(&folder.path().join("file/below"), 0o700).is_err());
    }

    #[test]
    fn an_unfinished_file_goes_and_a_finished_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        Unfinished(&path).finished();
        assert!(path.exists());
        drop(Unfinished(&path));
        assert!(!path.exists());
    }
}
