//! The plain bytes of receipted shards: one file each under `shards/`.
//!
//! A file appears under its shard's name only when it is whole and on the disk
//! (`holdfast_wire::transfer::receive_shard`). The store remembers which files were found damaged,
//! by whoever read them, until they are put right ([`crate::heal`]).

use crate::error::NodeError;
use holdfast_market_core::units::{ByteCount, DealId, PackId, ShardIndex, ShardRoot};
use holdfast_proofs::durable::{COMMON_MODE, create_folder, sync_folder};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The end of the name of a file that is not whole yet.
const UNFINISHED: &str = ".part";

/// The end of the name of a file that no record speaks of.
const ASIDE: &str = ".aside";

/// The folder of shards.
#[derive(Debug)]
pub struct ShardStore {
    folder: PathBuf,
    /// Why each was found damaged.
    damaged: Mutex<BTreeMap<DealId, String>>,
}

impl ShardStore {
    /// Opens the folder, or makes it, and removes what an interrupted transfer left.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, NodeError> {
        create_folder(folder, COMMON_MODE).map_err(NodeError::file(folder))?;
        for entry in std::fs::read_dir(folder).map_err(NodeError::file(folder))? {
            let path = entry.map_err(NodeError::file(folder))?.path();
            let unfinished = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.ends_with(UNFINISHED));
            if unfinished {
                std::fs::remove_file(&path).map_err(NodeError::file(&path))?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            damaged: Mutex::default(),
        })
    }

    /// A shard's file was found damaged: remembered, and as the error that says so.
    pub fn damage(&self, shard: DealId, reason: String) -> NodeError {
        self.lock().insert(shard, reason.clone());
        NodeError::Shard {
            shard,
            path: self.path(shard),
            reason,
        }
    }

    /// The shards whose files were found damaged, each with the reason.
    pub fn damaged(&self) -> Vec<(DealId, String)> {
        let damaged = self.lock();
        let damaged = damaged.iter();
        damaged.map(|(shard, why)| (*shard, why.clone())).collect()
    }

    /// A shard's file is whole again, or not wanted any more.
    pub fn mended(&self, shard: DealId) {
        self.lock().remove(&shard);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DealId, String>> {
        // One insertion or removal at a time: a panic elsewhere leaves nothing half done.
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the shard's bytes lie.
    pub fn path(&self, shard: DealId) -> PathBuf {
        self.folder.join(format!("{}-{}", shard.pack, shard.shard))
    }

    /// Opens a shard's file and checks its length.
    ///
    /// # Errors
    /// A file that is missing or of another length: named with its shard. Where the process may
    /// open no more files, that says nothing of this one.
    pub fn file(&self, shard: DealId, length: ByteCount) -> Result<File, NodeError> {
        let path = self.path(shard);
        let damaged = |reason: String| self.damage(shard, reason);
        let unread = |error: io::Error| match is_shortage(&error) {
            true => NodeError::file(&path)(error),
            false => damaged(error.to_string()),
        };
        let file = File::open(&path).map_err(unread)?;
        let found = file.metadata().map_err(unread)?.len();
        if found != length.0 {
            return Err(damaged(format!(
                "it has {found} bytes where the receipt says {length}"
            )));
        }
        Ok(file)
    }

    /// Reads a whole shard and checks it against its root.
    ///
    /// # Errors
    /// A file that is missing, of another length, or damaged: named with its shard.
    pub fn read_checked(
        &self,
        shard: DealId,
        root: ShardRoot,
        length: ByteCount,
    ) -> Result<Vec<u8>, NodeError> {
        let damaged = |reason: String| self.damage(shard, reason);
        let mut bytes = Vec::new();
        self.file(shard, length)?
            .take(length.0)
            .read_to_end(&mut bytes)
            .map_err(|error| damaged(error.to_string()))?;
        let found = ShardRoot(*blake3::hash(&bytes).as_bytes());
        if found != root {
            return Err(damaged(format!(
                "its BLAKE3 root is {found} and the receipt says {root}"
            )));
        }
        Ok(bytes)
    }

    /// Deletes a shard's bytes; one that is not there is deleted already.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn delete(&self, shard: DealId) -> Result<(), NodeError> {
        self.mended(shard);
        let path = self.path(shard);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(NodeError::file(&path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Sets every shard aside that the journal does not know: its receipt was never given, or the
    /// journal is an older copy than the shards. One that was set aside and is known comes back.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub fn keep_only(&self, known: &BTreeSet<DealId>) -> Result<(), NodeError> {
        let mut changed = false;
        for path in self.entries()? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let (from, to) = match (parse_name(name), parse_aside(name)) {
                (Some(shard), _) if !known.contains(&shard) => (&path, self.aside_path(shard)),
                (_, Some(shard)) if known.contains(&shard) && !self.path(shard).exists() => {
                    (&path, self.path(shard))
                }
                _ => continue,
            };
            std::fs::rename(from, to).map_err(NodeError::file(from))?;
            changed = true;
        }
        if changed {
            sync_folder(&self.folder).map_err(NodeError::file(&self.folder))?;
        }
        Ok(())
    }

    /// The shards that were set aside.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn aside(&self) -> Result<Vec<DealId>, NodeError> {
        let name = |path: &PathBuf| parse_aside(path.file_name()?.to_str()?);
        Ok(self.entries()?.iter().filter_map(name).collect())
    }

    /// Where a shard lies that was set aside.
    pub fn aside_path(&self, shard: DealId) -> PathBuf {
        self.folder
            .join(format!("{}-{}{ASIDE}", shard.pack, shard.shard))
    }

    fn entries(&self) -> Result<Vec<PathBuf>, NodeError> {
        let entries = std::fs::read_dir(&self.folder).map_err(NodeError::file(&self.folder))?;
        let paths = entries.map(|entry| Ok(entry?.path()));
        paths
            .collect::<io::Result<_>>()
            .map_err(NodeError::file(&self.folder))
    }
}

/// Whether it is this process that lacks something, and not the file.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

fn parse_aside(name: &str) -> Option<DealId> {
    parse_name(name.strip_suffix(ASIDE)?)
}

fn parse_name(name: &str) -> Option<DealId> {
    let (pack, shard) = name.split_once('-')?;
    let pack = <[u8; 32]>::try_from(hex::decode(pack).ok()?).ok()?;
    Some(DealId {
        pack: PackId(pack),
        shard: ShardIndex(shard.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn deal(index: u8) -> DealId {
        DealId {
            pack: PackId([7; 32]),
            shard: ShardIndex(index),
        }
    }

    fn root(bytes: &[u8]) -> ShardRoot {
        ShardRoot(*blake3::hash(bytes).as_bytes())
    }

    #[test]
    fn a_shard_that_lacks_or_changes_a_byte_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = ShardStore::open(folder.path()).unwrap();
        let bytes = b"some bytes of a shard".to_vec();
        let length = ByteCount(bytes.len() as u64);
        std::fs::write(store.path(deal(3)), &bytes).unwrap();
        let read = store.read_checked(deal(3), root(&bytes), length).unwrap();
        assert_eq!(read, bytes);
        let mut damaged = bytes.clone();
        damaged[4] ^= 1;
        std::fs::write(store.path(deal(3)), &damaged).unwrap();
        let error = store
            .read_checked(deal(3), root(&bytes), length)
            .unwrap_err()
            .to_string();
        assert!(error.contains(&deal(3).to_string()), "{error}");
        std::fs::write(store.path(deal(3)), &bytes[1..]).unwrap();
        let error = store
            .read_checked(deal(3), root(&bytes), length)
            .unwrap_err();
        assert!(error.to_string().contains("20 bytes"), "{error}");
        assert_eq!(store.damaged()[0].0, deal(3));
        store.delete(deal(3)).unwrap();
        store.delete(deal(3)).unwrap();
        assert_eq!(store.damaged(), []);
        assert!(store.read_checked(deal(3), root(&bytes), length).is_err());
    }

    #[test]
    fn a_process_that_may_open_no_more_files_finds_no_shard_damaged() {
        for (errno, expected) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOMEM, true),
            (Errno::NOENT, false),
            (Errno::IO, false),
        ] {
            assert_eq!(is_shortage(&errno.into()), expected, "{errno}");
        }
    }

    #[test]
    fn what_was_interrupted_goes_and_what_is_unknown_is_set_aside_until_it_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let store = ShardStore::open(folder.path()).unwrap();
        for index in [0, 1] {
            std::fs::write(store.path(deal(index)), "x").unwrap();
        }
        let mut unfinished = store.path(deal(2)).into_os_string();
        unfinished.push(".77.0.part");
        std::fs::write(unfinished, "half").unwrap();
        drop(store);
        let store = ShardStore::open(folder.path()).unwrap();
        store.keep_only(&[deal(1)].into()).unwrap();
        let left = |store: &ShardStore| BTreeSet::from_iter(store.entries().unwrap());
        let expected = BTreeSet::from([store.aside_path(deal(0)), store.path(deal(1))]);
        assert_eq!(left(&store), expected);
        assert_eq!(store.aside().unwrap(), [deal(0)]);
        // With a newer journal it is there again.
        store.keep_only(&[deal(0), deal(1)].into()).unwrap();
        let expected = BTreeSet::from([store.path(deal(0)), store.path(deal(1))]);
        assert_eq!(left(&store), expected);
        assert_eq!(store.aside().unwrap(), []);
    }
}
