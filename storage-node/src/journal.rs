//! The journal: what the node has promised, made and begun, durable before anybody is told.
//!
//! One RocksDB store; every write is one synced batch, so that a SIGKILL or a loss of power at any
//! moment leaves either the state before or the state after. A store that has lost what was
//! acknowledged, because a file of it is damaged, is refused before anything in its folder is changed.
//! One whose disk refused a write takes no more; it is opened anew at the next write, once the disk
//! has room again, and is read until then.

mod records;

pub use records::{EmbedRecord, OutboxEntry, SectorRecord, ShardRecord};

use crate::error::NodeError;
use holdfast_market_core::channel::{ChannelId, Parties, SignedVoucher, Voucher};
use holdfast_market_core::message::{decode, encode};
use holdfast_market_core::units::{DealId, PackId, SectorNumber, ShardIndex};
use holdfast_proofs::durable::{COMMON_MODE, above, create_folder};
use holdfast_wire::room;
use holdfast_wire::watermark::{Mark, Watermark};
use rocksdb::{DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// First byte of a key: the kind of its record.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Shard = b's',
    Sector = b'c',
    Outbox = b'o',
    Voucher = b'v',
}

impl Kind {
    fn key(self, name: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(name.len().saturating_add(1));
        key.push(self as u8);
        key.extend_from_slice(name);
        key
    }
}

/// Room that there must be before a store that failed is opened anew: it writes out what it had in
/// memory, at most half of this, and begins new files.
const ROOM: u64 = 16 << 20;

/// The open journal.
pub struct Journal {
    /// None where it was closed to be opened anew, and could not be.
    opened: RwLock<Option<Opened>>,
    /// Whether a write has failed since the store was opened.
    failed: AtomicBool,
    /// Held while a voucher is compared and written.
    vouchers: Mutex<()>,
    path: PathBuf,
}

struct Opened {
    store: DB,
    // Held by a write until it is noted, so that nothing is noted that is not synced.
    mark: Mutex<Watermark>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Journal({})", self.path.display())
    }
}

impl Journal {
    /// Opens the journal at `path`, or makes an empty one.
    ///
    /// # Errors
    /// A store that another process holds, that the disk refuses, or whose files are damaged.
    pub fn open(path: &Path) -> Result<Self, NodeError> {
        Ok(Self {
            opened: RwLock::new(Some(Opened::open(path)?)),
            failed: AtomicBool::new(false),
            vouchers: Mutex::default(),
            path: path.to_owned(),
        })
    }

    /// The record of a shard.
    ///
    /// # Errors
    /// A store that fails, or a damaged entry.
    pub fn shard(&self, shard: DealId) -> Result<Option<ShardRecord>, NodeError> {
        self.get(Kind::Shard, &shard_name(shard))
    }

    /// Every shard that this node has bytes of.
    ///
    /// # Errors
    /// A store that fails, or a damaged entry.
    pub fn shards(&self) -> Result<Vec<(DealId, ShardRecord)>, NodeError> {
        self.scan(Kind::Shard)?
            .into_iter()
            .map(|(name, record)| {
                let (pack, shard) = match name.split_last() {
                    Some((shard, pack)) => (<[u8; 32]>::try_from(pack).ok(), *shard),
                    None => (None, 0),
                };
                let pack = pack.ok_or_else(|| NodeError::Entry {
                    entry: "a shard".into(),
                    reason: "its key has another length".into(),
                })?;
                let id = DealId {
                    pack: PackId(pack),
                    shard: ShardIndex(shard),
                };
                Ok((id, record))
            })
            .collect()
    }

    /// Records a shard, durably.
    ///
    /// # Errors
    /// A store that fails.
    pub fn put_shard(&self, shard: DealId, record: &ShardRecord) -> Result<(), NodeError> {
        self.put(Kind::Shard, &shard_name(shard), record)
    }

    /// Forgets a shard, durably.
    ///
    /// # Errors
    /// A store that fails.
    pub fn forget_shard(&self, shard: DealId) -> Result<(), NodeError> {
        self.delete(Kind::Shard, &shard_name(shard))
    }

    /// The record of a sector.
    ///
    /// # Errors
    /// A store that fails, or a damaged entry.
    pub fn sector(&self, number: SectorNumber) -> Result<Option<SectorRecord>, NodeError> {
        self.get(Kind::Sector, &number.0.to_be_bytes())
    }

    /// Every sector, ascending.
    ///
    /// # Errors
    /// A store that fails, or a damaged entry.
    pub fn sectors(&self) -> Result<Vec<(SectorNumber, SectorRecord)>, NodeError> {
        self.scan(Kind::Sector)?
            .into_iter()
            .map(|(name, record)| {
                let number =
                    <[u8; 8]>::try_from(name.as_slice()).map_err(|_| NodeError::Entry {
                        entry: "a sector".into(),
                        reason: "its key has another length".into(),
                    })?;
                Ok((SectorNumber(u64::from_be_bytes(number)), record))
            })
            .collect()
    }

    /// Records a sector, durably.
    ///
    /// # Errors
    /// A store that fails.
    pub fn put_sector(&self, number: SectorNumber, record: &SectorRecord) -> Result<(), NodeError> {
        self.put(Kind::Sector, &number.0.to_be_bytes(), record)
    }

    /// Forgets a sector, durably.
    ///
    /// # Errors
    /// A store that fails.
    pub fn forget_sector(&self, number: SectorNumber) -> Result<(), NodeError> {
        self.delete(Kind::Sector, &number.0.to_be_bytes())
    }

    /// Every message that was sent and whose effect is not known yet, by purpose.
    ///
    /// # Errors
    /// A store that fails, or a damaged entry.
    pub fn outbox(&self) -> Result<Vec<(String, OutboxEntry)>, NodeError> {
        self.scan(Kind::Outbox)?
            .into_iter()
            .map(|(name, entry)| Ok((String::from_utf8_lossy(&name).into_owned(), entry)))
            .collect()
    }

    /// Records a message before it is submitted.
    ///
    /// # Errors
    /// A store that fails.
    pub fn put_outbox(&self, purpose: &str, entry: &OutboxEntry) -> Result<(), NodeError> {
        self.put(Kind::Outbox, purpose.as_bytes(), entry)
    }

    /// Forgets a message whose outcome is known.
    ///
    /// # Errors
    /// A store that fails.
    pub fn forget_outbox(&self, purpose: &str) -> Result<(), NodeError> {
        self.delete(Kind::Outbox, purpose.as_bytes())
    }

    /// The last voucher that a payer gave and that was written down.
    ///
    /// # Errors
    /// A store that fails, or a damaged entry.
    pub fn voucher(&self, parties: &Parties) -> Result<Option<SignedVoucher>, NodeError> {
        self.get(Kind::Voucher, &parties.to_bytes())
    }

    /// The last voucher of every payer.
    ///
    /// # Errors
    /// A store that fails, or a damaged entry.
    pub fn vouchers(&self) -> Result<Vec<SignedVoucher>, NodeError> {
        let all = self.scan(Kind::Voucher)?.into_iter();
        Ok(all.map(|(_, voucher)| voucher).collect())
    }

    /// Records a voucher in place of its payer's last one, where it is higher or of a later channel,
    /// durably.
    ///
    /// # Errors
    /// A store that fails.
    pub fn put_voucher(&self, signed: &SignedVoucher) -> Result<(), NodeError> {
        let voucher = &signed.voucher;
        let parties = voucher.channel.parties();
        let _turn = self.turn();
        // Whoever comes late with a lower one, or one of a channel before, changes nothing.
        let later = |there: SignedVoucher| {
            let there = there.voucher;
            let rank = |voucher: &Voucher| (voucher.channel.opened, voucher.amount);
            rank(&there) >= rank(voucher)
        };
        if self.voucher(&parties)?.is_some_and(later) {
            return Ok(());
        }
        self.put(Kind::Voucher, &parties.to_bytes(), signed)
    }

    /// Forgets a voucher whose channel is gone, durably.
    ///
    /// # Errors
    /// A store that fails.
    pub fn forget_voucher(&self, channel: &ChannelId) -> Result<(), NodeError> {
        let _turn = self.turn();
        let parties = channel.parties();
        let there = self.voucher(&parties)?;
        if there.is_some_and(|there| there.voucher.channel == *channel) {
            self.delete(Kind::Voucher, &parties.to_bytes())?;
        }
        Ok(())
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.vouchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get<T: Serialize + for<'de> Deserialize<'de>>(
        &self,
        kind: Kind,
        name: &[u8],
    ) -> Result<Option<T>, NodeError> {
        self.with_store(|opened| {
            opened
                .store
                .get_pinned(kind.key(name))
                .map_err(|error| failed(&self.path, &error))?
                .map(|bytes| read(name, &bytes))
                .transpose()
        })
    }

    fn scan<T: Serialize + for<'de> Deserialize<'de>>(
        &self,
        kind: Kind,
    ) -> Result<Vec<(Vec<u8>, T)>, NodeError> {
        let prefix = [kind as u8];
        self.with_store(|opened| {
            let mut found = Vec::new();
            for item in opened
                .store
                .iterator(IteratorMode::From(&prefix, Direction::Forward))
            {
                let (key, value) = item.map_err(|error| failed(&self.path, &error))?;
                match key.split_first() {
                    Some((first, name)) if *first == kind as u8 => {
                        found.push((name.to_vec(), read(name, &value)?));
                    }
                    _ => break,
                }
            }
            Ok(found)
        })
    }

    fn put<T: Serialize>(&self, kind: Kind, name: &[u8], value: &T) -> Result<(), NodeError> {
        let bytes = encode(value).map_err(|error| NodeError::Entry {
            entry: hex::encode(name),
            reason: error.to_string(),
        })?;
        let mut batch = WriteBatch::default();
        batch.put(kind.key(name), bytes);
        self.write(batch)
    }

    fn delete(&self, kind: Kind, name: &[u8]) -> Result<(), NodeError> {
        let mut batch = WriteBatch::default();
        batch.delete(kind.key(name));
        self.write(batch)
    }

    fn write(&self, batch: WriteBatch) -> Result<(), NodeError> {
        if self.failed.load(Ordering::Acquire) {
            self.open_anew()?;
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.with_store(|opened| {
            // A panic elsewhere leaves the file with one number or the other.
            let mark = opened.mark.lock().unwrap_or_else(PoisonError::into_inner);
            let written = opened.store.write_opt(batch, &options);
            if written.is_err() {
                self.failed.store(true, Ordering::Release);
            }
            written.map_err(|error| failed(&self.path, &error))?;
            mark.note(opened.store.latest_sequence_number())
                .map_err(NodeError::file(&Watermark::path_of(&self.path)))
        })
    }

    /// Does something with the store, which is opened first where it is closed.
    fn with_store<T>(
        &self,
        work: impl FnOnce(&Opened) -> Result<T, NodeError>,
    ) -> Result<T, NodeError> {
        let mut opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        if opened.is_none() {
            drop(opened);
            self.open_anew()?;
            opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        }
        match &*opened {
            Some(opened) => work(opened),
            None => Err(NodeError::Journal {
                path: self.path.clone(),
                reason: "it was closed after a failed write and could not be opened".into(),
            }),
        }
    }

    /// Opens a store that failed anew, where the disk has room: it may hold a write more than was
    /// acknowledged, never one less.
    fn open_anew(&self) -> Result<(), NodeError> {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.is_some() && !self.failed.load(Ordering::Acquire) {
            // Another thread was quicker.
            return Ok(());
        }
        room::check(above(&self.path), ROOM).map_err(|error| NodeError::Journal {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        // Closed first: a store has one handle at a time.
        *opened = None;
        *opened = Some(Opened::open(&self.path)?);
        self.failed.store(false, Ordering::Release);
        tracing::info!(path = %self.path.display(), "the journal takes writes again");
        Ok(())
    }
}

impl Opened {
    fn open(path: &Path) -> Result<Self, NodeError> {
        // The store makes its folder's names durable, and not the folder's own.
        create_folder(path, COMMON_MODE).map_err(NodeError::file(path))?;
        let mark = Watermark::read(path);
        let mut options = Options::default();
        if mark != Mark::None || path.join("CURRENT").exists() {
            check(path, &options, mark)?;
        } else {
            options.create_if_missing(true);
        }
        // The journal is small; a home machine's memory belongs to sealing.
        options.set_write_buffer_size(4 << 20);
        options.set_max_write_buffer_number(2);
        options.set_max_open_files(64);
        options.set_keep_log_file_num(2);
        let store = DB::open(&options, path).map_err(|error| {
            if is_locked(&error) {
                let path = path.to_owned();
                return NodeError::JournalInUse { path };
            }
            failed(path, &error)
        })?;
        let mark = Watermark::open(path)
            .and_then(|mark| mark.note(store.latest_sequence_number()).map(|()| mark))
            .map_err(NodeError::file(&Watermark::path_of(path)))?;
        Ok(Self {
            store,
            mark: Mutex::new(mark),
        })
    }
}

fn shard_name(shard: DealId) -> Vec<u8> {
    let mut name = shard.pack.0.to_vec();
    name.push(shard.shard.0);
    name
}

fn read<T: Serialize + for<'de> Deserialize<'de>>(
    name: &[u8],
    bytes: &[u8],
) -> Result<T, NodeError> {
    decode("journal entry", bytes).map_err(|error| NodeError::Entry {
        entry: String::from_utf8(name.to_vec()).unwrap_or_else(|_| hex::encode(name)),
        reason: error.to_string(),
    })
}

/// Reads the store through, every block against its checksum, and compares its end with what was
/// noted. Nothing is written: what a later write would throw away is there still.
fn check(path: &Path, options: &Options, mark: Mark) -> Result<(), NodeError> {
    let failed = |error: rocksdb::Error| failed(path, &error);
    let store = DB::open_for_read_only(options, path, false).map_err(failed)?;
    let found = store.latest_sequence_number();
    match mark {
        Mark::At(noted) if found < noted => {
            let path = path.to_owned();
            return Err(NodeError::JournalLost { path, found, noted });
        }
        Mark::Unreadable => {
            let mark = Watermark::path_of(path);
            tracing::warn!(
                mark = %mark.display(),
                "the file is damaged and written anew: whether the journal lost its last writes cannot be told"
            );
        }
        Mark::Cut {
            manifest,
            found,
            noted,
        } => {
            return Err(NodeError::JournalCut {
                manifest,
                found,
                noted,
            });
        }
        Mark::At(_) | Mark::None => {}
    }
    for item in store.iterator(IteratorMode::Start) {
        item.map_err(failed)?;
    }
    Ok(())
}

/// Whether the store is refused because of its lock. RocksDB says so in words only.
fn is_locked(error: &rocksdb::Error) -> bool {
    let text = error.to_string();
    // By another process, or by this one.
    [
        "IO error: While lock file: ",
        "IO error: lock hold by current process",
    ]
    .iter()
    .any(|words| text.starts_with(words))
}

fn failed(path: &Path, error: &rocksdb::Error) -> NodeError {
    NodeError::Journal {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
