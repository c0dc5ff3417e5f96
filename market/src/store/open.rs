//! Opening a database: begun, checked, or refused before anything in its folder is changed.

use super::columns::{self, Column};
use super::{FORMAT, Head, Store, StoreError};
use holdfast_market_core::message::encode;
use holdfast_market_core::units::{Height, NetworkId};
use holdfast_market_core::view::Writes;
use holdfast_proofs::durable::{COMMON_MODE, create_folder};
use holdfast_wire::folder::{DataFolder, FolderError, FolderKind, patiently};
use holdfast_wire::watermark::{Mark, Watermark};
use rocksdb::{DB, Options, WriteBatch};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The state at height 0.
pub struct GenesisState {
    /// First objects.
    pub writes: Writes,
    /// Their tree.
    pub tree: jmt::storage::TreeUpdateBatch,
    /// Where the chain begins.
    pub head: Head,
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

pub(super) fn database_folder(folder: &Path) -> PathBuf {
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

pub(super) fn options() -> Options {
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
