//! What a file tree is made of, to the last mode bit: what the demo compares before and after.

use crate::error::{TestnetError, at};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Every entry of a tree by its path below the root; the root itself is the empty path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<PathBuf, Entry>);

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Permission bits.
    pub mode: u32,
    /// Time of the last change of its content, in nanoseconds since the epoch.
    pub modified: i128,
    /// What it is.
    pub content: Content,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file: its length and BLAKE3.
    File {
        /// Bytes.
        length: u64,
        /// BLAKE3 of them.
        hash: blake3::Hash,
    },
    /// A directory.
    Directory,
    /// A symbolic link and what it says.
    Link(PathBuf),
}

impl Tree {
    /// Reads a file or a directory, whole.
    ///
    /// # Errors
    /// What cannot be read, and what is neither file, directory nor symbolic link.
    pub fn read(root: &Path) -> Result<Self, TestnetError> {
        let mut entries = BTreeMap::new();
        for found in walkdir::WalkDir::new(root).follow_links(false) {
            let found = found.map_err(|error| {
                let path = error.path().unwrap_or(root).to_owned();
                let source = error
                    .into_io_error()
                    .unwrap_or_else(|| io::Error::other("the folder leads back into itself"));
                TestnetError::Io { path, source }
            })?;
            let path = found.path();
            // A root that is a link is followed: what the user names is what it points at.
            let metadata = if found.depth() == 0 {
                std::fs::metadata(path)
            } else {
                std::fs::symlink_metadata(path)
            };
            let metadata = metadata.map_err(at(path))?;
            let below = path.strip_prefix(root).unwrap_or(path);
            entries.insert(below.to_owned(), Entry::read(path, &metadata)?);
        }
        Ok(Self(entries))
    }

    /// Files in it.
    pub fn files(&self) -> usize {
        self.0
            .values()
            .filter(|entry| matches!(entry.content, Content::File { .. }))
            .count()
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.0
            .values()
            .map(|entry| match entry.content {
                Content::File { length, .. } => length,
                Content::Directory | Content::Link(_) => 0,
            })
            .fold(0, u64::saturating_add)
    }

    /// In one sentence each, how `other` differs from this tree; nothing where it is the same.
    pub fn differences(&self, other: &Tree) -> Vec<String> {
        let mut differences = Vec::new();
        for (path, entry) in &self.0 {
            let name = if path.as_os_str().is_empty() {
                "the root".into()
            } else {
                path.display().to_string()
            };
            match other.0.get(path) {
                None => differences.push(format!("{name} is missing")),
                Some(back) => {
                    if entry.content != back.content {
                        differences.push(format!("{name} has another content"));
                    }
                    if entry.mode != back.mode {
                        differences.push(format!(
                            "{name} has mode {:o} instead of {:o}",
                            back.mode, entry.mode
                        ));
                    }
                    if entry.modified != back.modified {
                        differences.push(format!("{name} has another time"));
                    }
                }
            }
        }
        for path in other.0.keys().filter(|path| !self.0.contains_key(*path)) {
            differences.push(format!("{} was not there before", path.display()));
        }
        differences
    }
}

impl Entry {
    fn read(path: &Path, metadata: &Metadata) -> Result<Self, TestnetError> {
        let kind = metadata.file_type();
        let content = if kind.is_file() {
            let mut hasher = blake3::Hasher::new();
            let length = std::fs::File::open(path)
                .and_then(|mut file| io::copy(&mut file, &mut hasher))
                .map_err(at(path))?;
            Content::File {
                length,
                hash: hasher.finalize(),
            }
        } else if kind.is_dir() {
            Content::Directory
        } else if kind.is_symlink() {
            Content::Link(std::fs::read_link(path).map_err(at(path))?)
        } else {
            return Err(at(path)(io::Error::other(
                "it is neither a file, a directory nor a symbolic link",
            )));
        };
        let link = matches!(content, Content::Link(_));
        Ok(Self {
            // The system gives every link the same mode.
            mode: if link { 0 } else { metadata.mode() & 0o7777 },
            modified: i128::from(metadata.mtime()) * 1_000_000_000
                + i128::from(metadata.mtime_nsec()),
            content,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn sample(root: &Path) {
        std::fs::create_dir_all(root.join("empty")).unwrap();
        std::fs::write(root.join("a"), b"alpha").unwrap();
        std::fs::write(root.join("nothing"), b"").unwrap();
        symlink("a", root.join("link")).unwrap();
    }

    #[test]
    fn every_change_of_a_tree_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        std::fs::create_dir(&root).unwrap();
        sample(&root);
        let before = Tree::read(&root).unwrap();
        assert_eq!((before.files(), before.bytes()), (2, 5));
        assert_eq!(before.differences(&before), Vec::<String>::new());

        let time = std::fs::metadata(root.join("a"))
            .unwrap()
            .modified()
            .unwrap();
        std::fs::write(root.join("a"), b"ALPHA").unwrap();
        let file = std::fs::File::options()
            .write(true)
            .open(root.join("a"))
            .unwrap();
        file.set_modified(time).unwrap();
        let after = Tree::read(&root).unwrap();
        assert_eq!(before.differences(&after), ["a has another content"]);

        let before = after;
        file.set_modified(time + std::time::Duration::from_nanos(1))
            .unwrap();
        std::fs::set_permissions(root.join("nothing"), std::fs::Permissions::from_mode(0o600))
            .unwrap();
        let differences = before.differences(&Tree::read(&root).unwrap());
        assert_eq!(differences.len(), 2, "{differences:?}");
        assert!(differences.iter().any(|text| text == "a has another time"));

        let before = Tree::read(&root).unwrap();
        std::fs::remove_file(root.join("link")).unwrap();
        std::fs::write(root.join("more"), b"").unwrap();
        let differences = before.differences(&Tree::read(&root).unwrap());
        assert!(
            differences.contains(&"link is missing".to_owned()),
            "{differences:?}"
        );
        assert!(
            differences.contains(&"more was not there before".to_owned()),
            "{differences:?}"
        );
    }

    #[test]
    fn a_single_file_is_a_tree_of_one_entry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"12").unwrap();
        let tree = Tree::read(&path).unwrap();
        assert_eq!((tree.files(), tree.bytes()), (1, 2));
        assert!(Tree::read(&folder.path().join("missing")).is_err());
    }
}
