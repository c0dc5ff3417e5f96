//! The plain bytes of receipted shards: one file each under `shards/`.
//!
//! A file is written under a name of its own, checked, synced and only then renamed to its shard's
//! name, so a file with a shard's name is whole.

use crate::error::NodeError;
use holdfast_market_core::units::{ByteCount, DealId, PackId, ShardIndex, ShardRoot};
use holdfast_wire::quic::{Body, BodyError};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::AsyncWriteExt;

const INCOMING: &str = "incoming-";

/// The folder of shards.
#[derive(Debug)]
pub struct ShardStore {
    folder: PathBuf,
    next: AtomicU64,
}

/// Why a shard was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The stream broke, or has another length than was stated.
    #[error("{0}; send the shard again")]
    Body(#[from] BodyError),
    /// The bytes are others.
    #[error("the bytes have the BLAKE3 root {found}, and the pack says {expected}; code the pack again")]
    WrongRoot {
        /// What came.
        found: ShardRoot,
        /// What was stated.
        expected: ShardRoot,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] NodeError),
}

impl ShardStore {
    /// Opens the folder, or makes it, and removes what an interrupted transfer left.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, NodeError> {
        std::fs::create_dir_all(folder).map_err(NodeError::file(folder))?;
        for entry in std::fs::read_dir(folder).map_err(NodeError::file(folder))? {
            let path = entry.map_err(NodeError::file(folder))?.path();
            let unfinished = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(INCOMING));
            if unfinished {
                std::fs::remove_file(&path).map_err(NodeError::file(&path))?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            next: AtomicU64::new(0),
        })
    }

    /// Where the shard's bytes lie.
    pub fn path(&self, shard: DealId) -> PathBuf {
        self.folder.join(format!("{}-{}", shard.pack, shard.shard))
    }

    /// Takes in a shard: reads exactly its bytes from `body`, checks them against `root`, and
    /// answers when file and folder are on the disk. Whatever fails leaves nothing behind.
    ///
    /// # Errors
    /// A body of another length or root, a disk that refuses.
    pub async fn take_in(
        &self,
        shard: DealId,
        root: ShardRoot,
        mut body: Body,
    ) -> Result<(), IntakeError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = Unfinished(self.folder.join(format!("{INCOMING}{number}")));
        self.receive(&unfinished.0, root, &mut body).await?;
        let (from, to, folder) = (unfinished, self.path(shard), self.folder.clone());
        let moved = tokio::task::spawn_blocking(move || {
            std::fs::rename(&from.0, &to).map_err(NodeError::file(&to))?;
            File::open(&folder)
                .and_then(|folder| folder.sync_all())
                .map_err(NodeError::file(&folder))
        });
        moved.await.unwrap_or_else(|error| {
            Err(NodeError::State(format!(
                "the shard's file was not kept: {error}"
            )))
        })?;
        Ok(())
    }

    async fn receive(
        &self,
        path: &Path,
        root: ShardRoot,
        body: &mut Body,
    ) -> Result<(), IntakeError> {
        let mut file = tokio::fs::File::create_new(path)
            .await
            .map_err(NodeError::file(path))?;
        let mut hasher = blake3::Hasher::new();
        while let Some(bytes) = body.chunk().await? {
            hasher.update(&bytes);
            file.write_all(&bytes).await.map_err(NodeError::file(path))?;
        }
        let found = ShardRoot(*hasher.finalize().as_bytes());
        if found != root {
            return Err(IntakeError::WrongRoot {
                found,
                expected: root,
            });
        }
        file.flush().await.map_err(NodeError::file(path))?;
        file.sync_all().await.map_err(NodeError::file(path))?;
        Ok(())
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
        let path = self.path(shard);
        let damaged = |reason: String| NodeError::Shard {
            shard,
            path: path.clone(),
            reason,
        };
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| {
                file.take(length.0.saturating_add(1))
                    .read_to_end(&mut bytes)
            })
            .map_err(|error| damaged(error.to_string()))?;
        if bytes.len() as u64 != length.0 {
            return Err(damaged(format!(
                "it has {} bytes where the receipt says {length}",
                bytes.len()
            )));
        }
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
        let path = self.path(shard);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(NodeError::file(&path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes every shard that the journal does not know: its receipt was never given.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub fn keep_only(&self, known: &BTreeSet<DealId>) -> Result<(), NodeError> {
        for entry in std::fs::read_dir(&self.folder).map_err(NodeError::file(&self.folder))? {
            let path = entry.map_err(NodeError::file(&self.folder))?.path();
            let shard = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(parse_name);
            if shard.is_some_and(|shard| !known.contains(&shard)) {
                std::fs::remove_file(&path).map_err(NodeError::file(&path))?;
            }
        }
        Ok(())
    }
}

/// A file that goes when it is dropped; once renamed there is nothing left to remove.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _ = std::fs::remove_file(&self.0);
    }
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

    fn body(bytes: &[u8], length: usize) -> Body {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        tokio::spawn(async move { sender.send(bytes).await });
        Body::from_channel(receiver, ByteCount(length as u64))
    }

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn a_shard_is_kept_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = ShardStore::open(folder.path()).unwrap();
        let bytes = vec![9; 700_000];
        let length = ByteCount(700_000);
        let short = store
            .take_in(deal(0), root(&bytes), body(&bytes[..699_999], 700_000))
            .await;
        assert!(matches!(short, Err(IntakeError::Body(BodyError::Short { missing: 1 }))));
        let wrong = store
            .take_in(deal(0), root(b"other"), body(&bytes, 700_000))
            .await;
        assert!(matches!(wrong, Err(IntakeError::WrongRoot { .. })));
        assert_eq!(files(folder.path()), 0);
        store
            .take_in(deal(0), root(&bytes), body(&bytes, 700_000))
            .await
            .unwrap();
        assert_eq!(files(folder.path()), 1);
        let read = store.read_checked(deal(0), root(&bytes), length).unwrap();
        assert_eq!(read, bytes);
        store.delete(deal(0)).unwrap();
        store.delete(deal(0)).unwrap();
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn a_shard_that_lacks_or_changes_a_byte_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = ShardStore::open(folder.path()).unwrap();
        let bytes = b"some bytes of a shard".to_vec();
        let length = ByteCount(bytes.len() as u64);
        store
            .take_in(deal(3), root(&bytes), body(&bytes, bytes.len()))
            .await
            .unwrap();
        let mut damaged = bytes.clone();
        damaged[4] ^= 1;
        std::fs::write(store.path(deal(3)), &damaged).unwrap();
        let error = store
            .read_checked(deal(3), root(&bytes), length)
            .unwrap_err()
            .to_string();
        assert!(error.contains(&deal(3).to_string()), "{error}");
        std::fs::write(store.path(deal(3)), &bytes[1..]).unwrap();
        let error = store.read_checked(deal(3), root(&bytes), length).unwrap_err();
        assert!(error.to_string().contains("20 bytes"), "{error}");
        std::fs::remove_file(store.path(deal(3))).unwrap();
        assert!(store.read_checked(deal(3), root(&bytes), length).is_err());
    }

    #[tokio::test]
    async fn what_was_interrupted_or_never_receipted_goes_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let store = ShardStore::open(folder.path()).unwrap();
        for index in [0, 1] {
            store
                .take_in(deal(index), root(b"x"), body(b"x", 1))
                .await
                .unwrap();
        }
        std::fs::write(folder.path().join("incoming-7"), "half").unwrap();
        drop(store);
        let store = ShardStore::open(folder.path()).unwrap();
        store.keep_only(&[deal(1)].into()).unwrap();
        assert_eq!(files(folder.path()), 1);
        assert!(store.path(deal(1)).exists());
    }
}
