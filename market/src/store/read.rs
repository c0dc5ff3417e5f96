//! Reading: blocks, outcomes, the index of messages, the history, the state and its tree.

use super::columns::{self, Column, Place};
use super::view;
use super::{Head, StateView, Store, StoreError};
use holdfast_market_core::block::{CertifiedBlock, Outcome, Validator};
use holdfast_market_core::message::{Undecodable, decode};
use holdfast_market_core::units::{Height, MessageId, TreeRoot};
use rocksdb::{IteratorMode, ReadOptions};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

impl Store {
    /// The validators of that root, where a block that was committed here names them.
    ///
    /// # Errors
    /// The database fails or is damaged.
    pub fn validators(&self, root: TreeRoot) -> Result<Option<Vec<Validator>>, StoreError> {
        match self.raw(Column::Meta, &columns::validators_key(root))? {
            None => Ok(None),
            Some(bytes) => self.read(Height(0), "list of validators", &bytes).map(Some),
        }
    }

    /// Where the chain stands.
    ///
    /// # Errors
    /// The database fails or is damaged.
    pub fn head(&self) -> Result<Head, StoreError> {
        let bytes = self
            .raw(Column::Meta, columns::HEAD_KEY)?
            .ok_or_else(|| self.damaged(Height(0), "it has no head"))?;
        self.read(Height(0), "head", &bytes)
    }

    fn read<T: Serialize + for<'de> Deserialize<'de>>(
        &self,
        height: Height,
        kind: &'static str,
        bytes: &[u8],
    ) -> Result<T, StoreError> {
        decode(kind, bytes).map_err(|error: Undecodable| self.damaged(height, &error.to_string()))
    }

    pub(super) fn last_block_height(&self) -> Result<Height, StoreError> {
        let mut blocks = self
            .db
            .iterator_cf(self.column(Column::Blocks), IteratorMode::End);
        match blocks.next() {
            None => Ok(Height(0)),
            Some(entry) => {
                let (key, _) = self.database(entry)?;
                columns::height_of(&key)
                    .ok_or_else(|| self.damaged(Height(0), "a block lies under a malformed key"))
            }
        }
    }

    /// The block at `height`.
    ///
    /// # Errors
    /// The database fails, or the block's bytes are not a block.
    pub fn block(&self, height: Height) -> Result<Option<CertifiedBlock>, StoreError> {
        match self.raw(Column::Blocks, &columns::height_key(height))? {
            None => Ok(None),
            Some(bytes) => self.read_block(height, &bytes).map(Some),
        }
    }

    /// Reads what [`Store::blocks`] gave.
    ///
    /// # Errors
    /// The bytes are not a block.
    pub fn read_block(&self, height: Height, bytes: &[u8]) -> Result<CertifiedBlock, StoreError> {
        self.read(height, "block", bytes)
    }

    /// The stored bytes of the blocks in `heights`, in order, until there are `count` or the next
    /// would pass `bytes` (one is always given).
    ///
    /// # Errors
    /// The database fails.
    pub fn blocks(
        &self,
        heights: RangeInclusive<Height>,
        count: usize,
        bytes: usize,
    ) -> Result<Vec<(Height, Vec<u8>)>, StoreError> {
        let mut found: Vec<(Height, Vec<u8>)> = Vec::new();
        let mut size = 0usize;
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(columns::after_key(*heights.end()));
        let start = columns::height_key(*heights.start());
        let blocks = self.db.iterator_cf_opt(
            self.column(Column::Blocks),
            options,
            IteratorMode::From(&start, rocksdb::Direction::Forward),
        );
        for entry in blocks.take(count) {
            let (key, block) = self.database(entry)?;
            let height = columns::height_of(&key).ok_or_else(|| {
                self.damaged(*heights.start(), "a block lies under a malformed key")
            })?;
            size = size.saturating_add(block.len());
            if !found.is_empty() && size > bytes {
                break;
            }
            found.push((height, block.into_vec()));
        }
        Ok(found)
    }

    /// What came of the messages of the block at `height`.
    ///
    /// # Errors
    /// The database fails or is damaged.
    pub fn outcomes(&self, height: Height) -> Result<Option<Vec<Outcome>>, StoreError> {
        match self.raw(Column::Outcomes, &columns::height_key(height))? {
            None => Ok(None),
            Some(bytes) => self.read(height, "list of outcomes", &bytes).map(Some),
        }
    }

    /// Where a message was included.
    ///
    /// # Errors
    /// The database fails or is damaged.
    pub fn place(&self, message: MessageId) -> Result<Option<Place>, StoreError> {
        match self.raw(Column::Messages, message.as_bytes())? {
            None => Ok(None),
            Some(bytes) => Place::from_bytes(&bytes)
                .map(Some)
                .ok_or_else(|| self.damaged(Height(0), "the index of messages is malformed")),
        }
    }

    /// The newest `count` rows of the history, oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn history(&self, count: usize) -> Result<Vec<(Height, Vec<u8>)>, StoreError> {
        let mut rows = Vec::new();
        let newest = self
            .db
            .iterator_cf(self.column(Column::History), IteratorMode::End);
        for entry in newest.take(count) {
            let (key, row) = self.database(entry)?;
            if let Some(height) = columns::height_of(&key) {
                rows.push((height, row.into_vec()));
            }
        }
        rows.reverse();
        Ok(rows)
    }

    /// A consistent view of the state as it stands now.
    pub fn view(&self) -> StateView<'_> {
        StateView::new(&self.db, self.column(Column::State))
    }

    /// The tree's nodes, for reading.
    pub fn tree(&self) -> view::TreeNodes<'_> {
        view::TreeNodes::new(&self.db, self.column(Column::Nodes))
    }

    /// The state tree's root at `height`, where it is still kept.
    ///
    /// # Errors
    /// The database fails.
    pub fn tree_root(&self, height: Height) -> Result<Option<TreeRoot>, StoreError> {
        use holdfast_market_core::tree::Blake3;
        let nodes = self.tree();
        jmt::JellyfishMerkleTree::<_, Blake3>::new(&nodes)
            .get_root_hash_option(height.0)
            .map(|root| root.map(|root| TreeRoot(root.0)))
            .map_err(|error| self.damaged(height, &error.to_string()))
    }
}
