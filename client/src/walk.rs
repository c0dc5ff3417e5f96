//! What there is to store: a walk over a file or a folder, before anything is read or paid.

use crate::manifest::{EntryName, Timestamp};
use holdfast_market_core::units::ByteCount;
use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FoundKind {
    /// A folder.
    Directory,
    /// A symbolic link and what it says.
    Symlink {
        /// Never followed.
        #[serde(with = "serde_bytes")]
        target: Vec<u8>,
    },
    /// A regular file of so many bytes.
    File {
        /// Its size.
        size: ByteCount,
    },
}

/// One file, folder or link as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Number of its folder in the list; none for the first.
    pub parent: Option<u32>,
    /// Its name.
    pub name: EntryName,
    /// Permission bits.
    pub mode: u32,
    /// When it was last changed.
    pub modified: Timestamp,
    /// What it is.
    pub kind: FoundKind,
}

/// Why something cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// It does not exist.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Neither file, folder nor symbolic link.
    #[error("{path} is a {kind}; only files, folders and symbolic links can be stored")]
    Special {
        /// Which.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It changed while it was read.
    #[error("{0} changed while it was being stored")]
    Changed(PathBuf),
    /// More entries than a manifest numbers.
    #[error("{0} has more files than one object holds")]
    TooMany(PathBuf),
}

/// A source: where it is and what was found there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file or folder, absolute.
    pub root: PathBuf,
    /// What was found, folders before what is in them, names in byte order.
    pub found: Vec<Found>,
}

impl Source {
    /// Walks `path`: lists every name, follows no link, opens every file once to see that it can
    /// be read.
    ///
    /// # Errors
    /// Anything missing, unreadable, or of a kind that cannot be stored, by name.
    pub fn walk(path: &Path) -> Result<Self, WalkError> {
        let root = absolute(path)?;
        let name = root
            .file_name()
            .and_then(|name| EntryName::new(name.as_bytes()))
            .or_else(|| EntryName::new(b"root"))
            .ok_or_else(|| WalkError::Missing(path.to_owned()))?;
        let mut source = Self {
            found: Vec::new(),
            root,
        };
        // Folders still to be listed; a list, not a recursion, so that depth costs no stack.
        let mut open: Vec<(u32, PathBuf)> = Vec::new();
        let root = source.root.clone();
        source.add(None, name, &root, &mut open)?;
        while let Some((parent, folder)) = open.pop() {
            for (name, path) in list(&folder)? {
                source.add(Some(parent), name, &path, &mut open)?;
            }
        }
        Ok(source)
    }

    fn add(
        &mut self,
        parent: Option<u32>,
        name: EntryName,
        path: &Path,
        open: &mut Vec<(u32, PathBuf)>,
    ) -> Result<(), WalkError> {
        let metadata = path
            .symlink_metadata()
            .map_err(|error| named(path, error))?;
        let kind = kind_of(path, &metadata)?;
        let index =
            u32::try_from(self.found.len()).map_err(|_| WalkError::TooMany(self.root.clone()))?;
        if kind == FoundKind::Directory {
            open.push((index, path.to_owned()));
        }
        self.found.push(Found {
            parent,
            name,
            mode: metadata.mode() & 0o7777,
            modified: modified(&metadata),
            kind,
        });
        Ok(())
    }

    /// Where an entry is on this machine.
    pub fn path_of(&self, index: usize) -> PathBuf {
        let mut names = Vec::new();
        let mut next = self.found.get(index);
        while let Some(found) = next {
            let Some(parent) = found.parent.and_then(|parent| usize::try_from(parent).ok()) else {
                break;
            };
            names.push(found.name.as_os_str());
            next = self.found.get(parent);
        }
        let mut path = self.root.clone();
        path.extend(names.iter().rev());
        path
    }

    /// Plain bytes of all files.
    pub fn bytes(&self) -> ByteCount {
        let sizes = self.found.iter().map(|found| match found.kind {
            FoundKind::File { size } => size.0,
            _ => 0,
        });
        ByteCount(sizes.fold(0, u64::saturating_add))
    }

    /// How many regular files there are.
    pub fn files(&self) -> u64 {
        let files = self
            .found
            .iter()
            .filter(|found| matches!(found.kind, FoundKind::File { .. }));
        files.count() as u64
    }

    /// Whether a file is still as the walk found it: size and time of change.
    ///
    /// # Errors
    /// It changed, or cannot be read any more.
    pub fn check_unchanged(&self, index: usize) -> Result<(), WalkError> {
        let path = self.path_of(index);
        let metadata = path
            .symlink_metadata()
            .map_err(|error| named(&path, error))?;
        let same = self.found.get(index).is_some_and(|found| {
            found.modified == modified(&metadata)
                && match found.kind {
                    FoundKind::File { size } => metadata.is_file() && metadata.len() == size.0,
                    FoundKind::Directory => metadata.is_dir(),
                    FoundKind::Symlink { .. } => metadata.is_symlink(),
                }
        });
        if same {
            Ok(())
        } else {
            Err(WalkError::Changed(path))
        }
    }
}

/// An error of the system with the name of what it is about.
pub(crate) fn named(path: &Path, error: io::Error) -> WalkError {
    if error.kind() == io::ErrorKind::NotFound {
        WalkError::Missing(path.to_owned())
    } else {
        WalkError::Unreadable {
            path: path.to_owned(),
            reason: error,
        }
    }
}

/// The path without `.` and `..`, so that it has a name; a link at its end stays a link.
fn absolute(path: &Path) -> Result<PathBuf, WalkError> {
    let unreadable = |error| named(path, error);
    let plain = matches!(
        path.components().next_back(),
        Some(std::path::Component::Normal(_))
    );
    if !plain {
        return path.canonicalize().map_err(unreadable);
    }
    path.symlink_metadata().map_err(unreadable)?;
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize().map_err(unreadable)?.join(name)),
        _ => Ok(absolute),
    }
}

fn list(folder: &Path) -> Result<Vec<(EntryName, PathBuf)>, WalkError> {
    let unreadable = |error| named(folder, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let name =
            EntryName::new(entry.file_name().as_bytes()).ok_or_else(|| WalkError::Unreadable {
                path: path.clone(),
                reason: io::Error::other("its name cannot be stored"),
            })?;
        names.push((name, path));
    }
    names.sort();
    Ok(names)
}

fn kind_of(path: &Path, metadata: &Metadata) -> Result<FoundKind, WalkError> {
    let file_type = metadata.file_type();
    if file_type.is_dir() {
        return Ok(FoundKind::Directory);
    }
    if file_type.is_symlink() {
        let target = std::fs::read_link(path).map_err(|error| named(path, error))?;
        return Ok(FoundKind::Symlink {
            target: target.as_os_str().as_bytes().to_vec(),
        });
    }
    if file_type.is_file() {
        std::fs::File::open(path).map_err(|error| named(path, error))?;
        return Ok(FoundKind::File {
            size: ByteCount(metadata.len()),
        });
    }
    let kind = if file_type.is_fifo() {
        "named pipe"
    } else if file_type.is_socket() {
        "socket"
    } else {
        "device"
    };
    Err(WalkError::Special {
        path: path.to_owned(),
        kind,
    })
}

fn modified(metadata: &Metadata) -> Timestamp {
    Timestamp {
        seconds: metadata.mtime(),
        nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::fs::symlink;

    fn names(source: &Source) -> Vec<String> {
        source
            .found
            .iter()
            .map(|found| found.name.to_text())
            .collect()
    }

    #[test]
    fn odd_names_empty_files_and_empty_folders_are_all_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        std::fs::create_dir_all(root.join("empty folder")).unwrap();
        let odd: [&[u8]; 6] = [
            b"-rf",
            b" ",
            b"new\nline",
            b"\xff\xfe",
            "Ünïcödé".as_bytes(),
            b"...",
        ];
        for name in odd {
            std::fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
        }
        std::fs::write(root.join("empty"), "").unwrap();
        let source = Source::walk(&root).unwrap();
        assert_eq!(source.found.len(), 1 + 1 + odd.len() + 1);
        assert_eq!(source.files(), 7);
        for (index, found) in source.found.iter().enumerate() {
            let path = source.path_of(index);
            assert!(path.symlink_metadata().is_ok(), "{path:?}");
            if let FoundKind::File { size } = found.kind {
                assert_eq!(std::fs::read(&path).unwrap().len() as u64, size.0);
            }
        }
        let expected: u64 = odd.iter().map(|name| name.len() as u64).sum();
        assert_eq!(source.bytes(), ByteCount(expected));
    }

    #[test]
    fn a_link_is_stored_as_a_link_and_never_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        std::fs::create_dir(&root).unwrap();
        symlink("/etc", root.join("out")).unwrap();
        symlink("missing", root.join("dangling")).unwrap();
        symlink(".", root.join("self")).unwrap();
        let source = Source::walk(&root).unwrap();
        assert_eq!(names(&source), ["tree", "dangling", "out", "self"]);
        assert_eq!(
            source.found[2].kind,
            FoundKind::Symlink {
                target: b"/etc".to_vec()
            }
        );
        let link = Source::walk(&root.join("out")).unwrap();
        assert_eq!(names(&link), ["out"]);
        assert!(matches!(link.found[0].kind, FoundKind::Symlink { .. }));
    }

    #[test]
    fn what_is_missing_or_no_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no-such-file");
        let error = Source::walk(&missing).unwrap_err().to_string();
        assert!(error.contains("no-such-file does not exist"), "{error}");
        let socket = folder.path().join("a-socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = Source::walk(folder.path()).unwrap_err().to_string();
        assert!(error.contains("a-socket is a socket"), "{error}");
    }

    #[test]
    fn dots_at_the_end_of_a_path_still_give_the_folder_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        std::fs::create_dir_all(root.join("inner")).unwrap();
        for path in [root.join("."), root.join("inner").join("..")] {
            assert_eq!(names(&Source::walk(&path).unwrap())[0], "tree");
        }
    }

    #[test]
    fn a_file_that_changed_after_the_walk_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note");
        std::fs::write(&path, "one").unwrap();
        let source = Source::walk(&path).unwrap();
        source.check_unchanged(0).unwrap();
        std::fs::write(&path, "longer").unwrap();
        assert!(matches!(
            source.check_unchanged(0),
            Err(WalkError::Changed(_))
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(
            source.check_unchanged(0),
            Err(WalkError::Missing(_))
        ));
    }
}
