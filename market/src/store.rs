//! The market's database: RocksDB, one atomic and synced batch a block.
//!
//! The batch of a block carries everything that the block changes: state, tree nodes, the block
//! with its certificate, its outcomes, the index of its messages, the head. So after a kill at any
//! moment the folder holds exactly the blocks whose commit was acknowledged, or one more. A database
//! that has lost an acknowledged block, because a file of it is damaged, is refused before anything
//! in its folder is changed.

pub mod columns;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub use view::StateView;

use columns::{Column, Place};
use holdfast_market_core::block::{CertifiedBlock, Outcome, Validator};
use holdfast_market_core::message::{Undecodable, Unencodable, decode, encode};
use holdfast_market_core::units::{BlockId, Height, MessageId, NetworkId, TreeRoot};
use holdfast_market_core::view::Writes;
use holdfast_proofs::durable::{COMMON_MODE, create_folder};
use holdfast_wire::folder::{DataFolder, FolderError, FolderKind, patiently};
use holdfast_wire::watermark::{Mark, Watermark};
use rocksdb::{DB, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
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

/// Why the database cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// In use, or another kind's, network's or version's.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Made by another version.
    #[error(
        "{folder} was written as `{found}`, and this program reads `{FORMAT}`; use the version that wrote it, or another folder"
    )]
    OtherFormat {
        /// The folder.
        folder: PathBuf,
        /// What it says it is.
        found: String,
    },
    /// Of another network.
    #[error(
        "{folder} holds the ledger of network {found}, not of {expected}; give the folder of this network, or an empty one"
    )]
    OtherNetwork {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: NetworkId,
        /// Whose was asked for.
        expected: NetworkId,
    },
    /// Nothing there.
    #[error("{0} holds no ledger; name the data folder of a market")]
    Absent(PathBuf),
    /// The parts do not fit together.
    #[error(
        "the ledger in {folder} is damaged at height {height}: {reason}; restore the folder from a copy, or start from an empty one"
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// Where.
        height: Height,
        /// What does not fit.
        reason: String,
    },
    /// It opens and lacks what was written to it.
    #[error(
        "the database {database} has lost blocks that were acknowledged (it ends at write {found}, and {noted} was noted): a file in it is damaged or missing; restore it and {database}.mark from a copy"
    )]
    Lost {
        /// The database's folder.
        database: PathBuf,
        /// The number of its last write.
        found: u64,
        /// The number that was acknowledged.
        noted: u64,
    },
    /// Its manifest was longer.
    #[error(
        "{manifest} has lost its end ({found} bytes are left of {noted}): the database may lack what it acknowledged; restore the folder that it is in from a copy"
    )]
    Cut {
        /// The manifest.
        manifest: PathBuf,
        /// Bytes that it has.
        found: u64,
        /// Bytes that it had.
        noted: u64,
    },
    /// How far it was written cannot be noted.
    #[error("{path}: {source}")]
    Mark {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// RocksDB says no.
    #[error("the database in {folder} failed: {source}")]
    Database {
        /// The folder.
        folder: PathBuf,
        /// What RocksDB says.
        source: rocksdb::Error,
    },
    /// The system refuses the database's folder.
    #[error("{folder} cannot be made: {source}")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// An object that cannot be encoded.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

impl StoreError {
    /// Whether the disk refused.
    pub fn is_the_disks(&self) -> bool {
        match self {
            Self::Database { source, .. } => source.kind() == rocksdb::ErrorKind::IOError,
            Self::Folder(FolderError::Io { .. }) => true,
            Self::Io { .. } | Self::Mark { .. } => true,
            _ => false,
        }
    }
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
    /// Opens the ledger of `network` in `folder`, or begins one there from `genesis`: its writes,
    /// its tree and the head at height 0.
    ///
    /// # Errors
    /// A folder in use, of another network or version, or damaged.
    pub fn open(
        folder: &Path,
        network: NetworkId,
        genesis: &GenesisState,
    ) -> Result<Self, StoreError> {
        let held = patiently(
            || DataFolder::open(folder, FolderKind::Market, network),
            |error| matches!(error, FolderError::InUse { .. }),
        )?;
        // The database makes its folder's names durable, and not the folder's own.
        let database = database_folder(folder);
        create_folder(&database, COMMON_MODE).map_err(|source| StoreError::Io {
            folder: database.clone(),
            source,
        })?;
        let mark = Watermark::read(&database);
        let mut options = options();
        let begun = database.join("CURRENT").exists();
        if mark == Mark::None {
            // New, or its first opening was cut short: then it may lack columns, and has no blocks.
            options.create_if_missing(!begun);
            options.create_missing_column_families(true);
        } else {
            drop(open_checked(folder, mark)?);
        }
        let open = || {
            let columns = Column::ALL.map(Column::descriptor);
            DB::open_cf_descriptors(&options, &database, columns)
        };
        let db = patiently(open, is_locked).map_err(|source| StoreError::Database {
            folder: folder.into(),
            source,
        })?;
        let mark = Watermark::open(&database)
            .and_then(|mark| mark.note(db.latest_sequence_number()).map(|()| mark))
            .map_err(|source| StoreError::Mark {
                path: Watermark::path_of(&database),
                source,
            })?;
        let store = Self {
            folder: folder.into(),
            network,
            db,
            mark: Some(Mutex::new(mark)),
            _held: Some(held),
        };
        if store.raw(Column::Meta, columns::FORMAT_KEY)?.is_none() {
            store.begin(network, genesis)?;
        }
        store.check(network)?;
        Ok(store)
    }

    /// Opens the ledger in `folder` for reading, also while a market runs on it: what it holds at
    /// this moment.
    ///
    /// # Errors
    /// A folder without a ledger, of another network or version, or damaged.
    pub fn open_read_only(folder: &Path, network: NetworkId) -> Result<Self, StoreError> {
        let database = database_folder(folder);
        if !database.join("CURRENT").exists() {
            return Err(StoreError::Absent(folder.into()));
        }
        let mark = Watermark::read(&database);
        let store = Self {
            folder: folder.into(),
            network,
            db: open_checked(folder, mark)?,
            mark: None,
            _held: None,
        };
        if store.raw(Column::Meta, columns::FORMAT_KEY)?.is_none() {
            return Err(StoreError::Absent(folder.into()));
        }
        store.check(network)?;
        Ok(store)
    }

    /// Of which network it is.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    fn begin(&self, network: NetworkId, genesis: &GenesisState) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        self.put_state(&mut batch, &genesis.writes);
        self.put_tree(&mut batch, &genesis.tree)?;
        let meta = self.column(Column::Meta);
        batch.put_cf(meta, columns::HEAD_KEY, encode(&genesis.head)?);
        batch.put_cf(meta, columns::NETWORK_KEY, network.as_bytes());
        batch.put_cf(meta, columns::FORMAT_KEY, FORMAT);
        self.write(batch)
    }

    fn check(&self, network: NetworkId) -> Result<(), StoreError> {
        let format = self
            .raw(Column::Meta, columns::FORMAT_KEY)?
            .unwrap_or_default();
        if format != FORMAT.as_bytes() {
            return Err(StoreError::OtherFormat {
                folder: self.folder.clone(),
                found: String::from_utf8_lossy(&format).chars().take(100).collect(),
            });
        }
        let found = self.raw(Column::Meta, columns::NETWORK_KEY)?;
        let found = found
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(NetworkId)
            .ok_or_else(|| self.damaged(Height(0), "it does not say of which network it is"))?;
        if found != network {
            return Err(StoreError::OtherNetwork {
                folder: self.folder.clone(),
                found,
                expected: network,
            });
        }
        let head = self.head()?;
        let damaged = |reason: &str| Err(self.damaged(head.height, reason));
        let last = self.last_block_height()?;
        if last != head.height {
            return damaged(&format!(
                "the last block stored is {last}, the head is another"
            ));
        }
        if self.tree_root(head.height)? != Some(head.state_root) {
            return damaged("the state tree's root is not the head's");
        }
        if head.height == Height(0) {
            return match head.block.as_bytes() == network.as_bytes() {
                true => Ok(()),
                false => damaged("the chain does not begin at this network's id"),
            };
        }
        let Some(certified) = self.block(head.height)? else {
            return damaged("the head's block is missing");
        };
        if certified.block.header.id()? != head.block {
            return damaged("the head's block is not the one that the head names");
        }
        if self.tree_root(head.height.before(holdfast_market_core::units::Blocks(1)))?
            != Some(certified.block.header.state_root)
        {
            return damaged("the state tree before the head is not what the head's block says");
        }
        Ok(())
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

    fn last_block_height(&self) -> Result<Height, StoreError> {
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

/// The state at height 0.
pub struct GenesisState {
    /// First objects.
    pub writes: Writes,
    /// Their tree.
    pub tree: jmt::storage::TreeUpdateBatch,
    /// Where the chain begins.
    pub head: Head,
}

/// Opens the database for reading and compares its end with what was noted. Nothing is written:
/// what a later write would throw away is there still.
fn open_checked(folder: &Path, mark: Mark) -> Result<DB, StoreError> {
    let database = database_folder(folder);
    let columns = Column::ALL.map(Column::descriptor);
    let db = DB::open_cf_descriptors_read_only(&options(), &database, columns, false);
    let db = db.map_err(|source| StoreError::Database {
        folder: folder.into(),
        source,
    })?;
    let found = db.latest_sequence_number();
    match mark {
        Mark::At(noted) if found < noted => {
            return Err(StoreError::Lost {
                database,
                found,
                noted,
            });
        }
        Mark::Unreadable => {
            let mark = Watermark::path_of(&database);
            tracing::warn!(
                "{} is damaged: whether the ledger lost its last blocks cannot be told",
                mark.display()
            );
        }
        Mark::Cut {
            manifest,
            found,
            noted,
        } => {
            return Err(StoreError::Cut {
                manifest,
                found,
                noted,
            });
        }
        Mark::At(_) | Mark::None => {}
    }
    Ok(db)
}

fn database_folder(folder: &Path) -> PathBuf {
    folder.join("ledger")
}

/// Whether the database is refused because of its lock, which the process that held it, this one or
/// another, has not let go of yet. RocksDB says so in words only.
fn is_locked(error: &rocksdb::Error) -> bool {
    let text = error.to_string();
    [
        "IO error: While lock file: ",
        "IO error: lock hold by current process",
    ]
    .iter()
    .any(|words| text.starts_with(words))
}

fn options() -> Options {
    let mut options = Options::default();
    // A market runs beside storage nodes on a home machine: its memory is small and bounded.
    options.set_write_buffer_size(8 << 20);
    options.set_max_write_buffer_number(2);
    options.set_db_write_buffer_size(32 << 20);
    options.set_max_open_files(256);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_max_total_wal_size(64 << 20);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options.set_paranoid_checks(true);
    options
}
