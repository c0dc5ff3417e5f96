//! The market's database: RocksDB, one atomic and synced batch a block.
//!
//! The batch of a block carries everything that the block changes: state, tree nodes, the block
//! with its certificate, its outcomes, the index of its messages, the head. So after a kill at any
//! moment the folder holds exactly the blocks whose commit was acknowledged, or one more. A database
//! that has lost an acknowledged block, because a file of it is damaged, is refused before anything
//! in its folder is changed.

pub mod columns;
mod error;
mod open;
mod read;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub use error::StoreError;
pub use open::GenesisState;
pub use view::StateView;

use columns::{Column, Place};
use holdfast_market_core::block::{CertifiedBlock, Outcome, Validator};
use holdfast_market_core::message::encode;
use holdfast_market_core::units::{BlockId, Height, NetworkId, TreeRoot};
use holdfast_market_core::view::Writes;
use holdfast_wire::folder::DataFolder;
use holdfast_wire::watermark::Watermark;
use open::database_folder;
use rocksdb::{DB, IteratorMode, WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What this version writes; a folder of another one is refused by name.
pub const FORMAT: &str = "holdfast market store 2";

/// Old tree nodes are kept for so many heights, so that a proof asked for at the head stays
/// answerable while the head moves on.
const TREE_HISTORY: u64 = 64;

/// Stale tree nodes deleted with one block, so that the work of a commit stays bounded.
const PRUNE_PER_BLOCK: usize = 20_000;

/// Where the chain stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last block's height; 0 before the first.
    pub height: Height,
    /// Its name; the network id's bytes before the first.
    pub block: BlockId,
    /// The state tree's root after it.
    pub state_root: TreeRoot,
    /// Its time; genesis' before the first.
    pub time: u64,
}

/// What one commit writes.
pub struct Commit<'a> {
    /// The block.
    pub certified: &'a CertifiedBlock,
    /// What came of its messages.
    pub outcomes: &'a [Outcome],
    /// Changes of the state; `None` deletes.
    pub writes: &'a Writes,
    /// Changes of the state tree.
    pub tree: &'a jmt::storage::TreeUpdateBatch,
    /// Where the chain stands after it.
    pub head: &'a Head,
    /// The validators that its header names.
    pub named: &'a [Validator],
}

/// The database of one ledger.
pub struct Store {
    folder: PathBuf,
    network: NetworkId,
    db: DB,
    // Held by a write until it is noted, so that nothing is noted that is not synced. None while
    // the database is only read.
    mark: Option<Mutex<Watermark>>,
    // Declared after the database: the folder is let go when the database is closed.
    _held: Option<DataFolder>,
}

impl Store {
    /// Of which network it is.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// That what is stored does not fit together.
    pub(crate) fn damaged(&self, height: Height, reason: &str) -> StoreError {
        StoreError::Damaged {
            folder: self.folder.clone(),
            height,
            reason: reason.into(),
        }
    }

    fn database<T>(&self, result: Result<T, rocksdb::Error>) -> Result<T, StoreError> {
        result.map_err(|source| StoreError::Database {
            folder: self.folder.clone(),
            source,
        })
    }

    /// Every column exists: the database was opened with all of them, or not at all.
    #[allow(clippy::expect_used)]
    fn column(&self, column: Column) -> &rocksdb::ColumnFamily {
        self.db
            .cf_handle(column.name())
            .expect("a column that the database was opened with")
    }

    fn raw(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database(self.db.get_cf(self.column(column), key))
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let mark = self.lock_mark();
        self.database(self.db.write_opt(batch, &options))?;
        match mark {
            None => Ok(()),
            Some(mark) => mark
                .note(self.db.latest_sequence_number())
                .map_err(|source| StoreError::Mark {
                    path: Watermark::path_of(&database_folder(&self.folder)),
                    source,
                }),
        }
    }

    /// A panic elsewhere leaves the mark's file with one number or the other.
    fn lock_mark(&self) -> Option<MutexGuard<'_, Watermark>> {
        let mark = self.mark.as_ref()?;
        Some(mark.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_state(&self, batch: &mut WriteBatch, writes: &Writes) {
        let state = self.column(Column::State);
        for (key, value) in writes {
            match value {
                Some(value) => batch.put_cf(state, key, value),
                None => batch.delete_cf(state, key),
            }
        }
    }

    fn put_tree(
        &self,
        batch: &mut WriteBatch,
        tree: &jmt::storage::TreeUpdateBatch,
    ) -> Result<(), StoreError> {
        let nodes = self.column(Column::Nodes);
        for (key, node) in tree.node_batch.nodes() {
            batch.put_cf(nodes, columns::node_key(key)?, encode(node)?);
        }
        let stale = self.column(Column::Stale);
        for index in &tree.stale_node_index_batch {
            batch.put_cf(
                stale,
                columns::stale_key(index.stale_since_version, &index.node_key)?,
                [],
            );
        }
        Ok(())
    }

    /// Deletes tree nodes that became stale long enough ago.
    fn prune(&self, batch: &mut WriteBatch, height: Height) -> Result<(), StoreError> {
        let Some(until) = height.0.checked_sub(TREE_HISTORY) else {
            return Ok(());
        };
        let stale = self.column(Column::Stale);
        let nodes = self.column(Column::Nodes);
        for entry in self
            .db
            .iterator_cf(stale, IteratorMode::Start)
            .take(PRUNE_PER_BLOCK)
        {
            let (key, _) = self.database(entry)?;
            match columns::stale_since(&key) {
                Some((since, node)) if since <= until => {
                    batch.delete_cf(nodes, node);
                    batch.delete_cf(stale, &key);
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Writes one block and all that it changes, atomically and durably.
    ///
    /// # Errors
    /// The database fails.
    pub fn commit(&self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let height = commit.head.height;
        let mut batch = WriteBatch::default();
        self.put_state(&mut batch, commit.writes);
        self.put_tree(&mut batch, commit.tree)?;
        self.prune(&mut batch, height)?;
        let key = columns::height_key(height);
        batch.put_cf(self.column(Column::Blocks), key, encode(commit.certified)?);
        batch.put_cf(
            self.column(Column::Outcomes),
            key,
            encode(&commit.outcomes)?,
        );
        let index = self.column(Column::Messages);
        for (position, outcome) in commit.outcomes.iter().enumerate() {
            let place = Place {
                height,
                position: u32::try_from(position).unwrap_or(u32::MAX),
            };
            batch.put_cf(index, outcome.message.as_bytes(), place.to_bytes());
        }
        let meta = self.column(Column::Meta);
        let named = columns::validators_key(commit.certified.block.header.next_validators);
        // A set is written once, however many blocks name it.
        if self.raw(Column::Meta, &named)?.is_none() {
            batch.put_cf(meta, named, encode(&commit.named)?);
        }
        batch.put_cf(meta, columns::HEAD_KEY, encode(commit.head)?);
        self.write(batch)
    }

    /// Keeps a row of the history. It is derived from the ledger and not synced: a kill may lose the
    /// newest one, and a chart then has a gap.
    ///
    /// # Errors
    /// The database fails.
    pub fn keep_history(&self, height: Height, row: &[u8]) -> Result<(), StoreError> {
        let column = self.column(Column::History);
        // Not between a synced write and its note, which would then count this one as synced.
        let _mark = self.lock_mark();
        self.database(self.db.put_cf(column, columns::height_key(height), row))
    }
}
