//! What can go wrong in a storage node, in sentences that name the thing and the way out.

use holdfast_market_core::units::{DealId, SectorNumber};
use holdfast_proofs::seal::SealError;
use holdfast_proofs::sector::SectorClass;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Why a step of the node failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The journal's store refused.
    #[error("the journal {path} cannot be used: {reason}; stop the node and check the disk")]
    Journal {
        /// Where it lies.
        path: PathBuf,
        /// What the store says.
        reason: String,
    },
    /// Another process has the journal open.
    #[error(
        "the journal {path} is in use by another process; stop that one or give another data folder"
    )]
    JournalInUse {
        /// Where it lies.
        path: PathBuf,
    },
    /// The journal opens and lacks what was written to it.
    #[error(
        "the journal {path} has lost writes that were acknowledged (it ends at {found}, and {noted} was noted): a file in it is damaged or missing; restore it and {path}.mark from a copy"
    )]
    JournalLost {
        /// Where it lies.
        path: PathBuf,
        /// The number of its last write.
        found: u64,
        /// The number that was acknowledged.
        noted: u64,
    },
    /// The journal's manifest was longer.
    #[error(
        "{manifest} has lost its end ({found} bytes are left of {noted}): the journal may lack what it acknowledged; restore the folder that it is in from a copy"
    )]
    JournalCut {
        /// The manifest.
        manifest: PathBuf,
        /// Bytes that it has.
        found: u64,
        /// Bytes that it had.
        noted: u64,
    },
    /// An entry of the journal cannot be understood.
    #[error("the journal's entry for {entry} is damaged: {reason}; restore node.db from a copy")]
    Entry {
        /// Which entry.
        entry: String,
        /// What is wrong.
        reason: String,
    },
    /// The report cannot be read.
    #[error(
        "{path} is damaged or of another version; the node writes it anew at the next block, so start it with `holdfast node run` where it is not running"
    )]
    Report {
        /// The file.
        path: PathBuf,
    },
    /// A file of the data folder cannot be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A shard's plain bytes are not those that its receipt names.
    #[error("the file {path} of shard {shard} is damaged: {reason}")]
    Shard {
        /// Which shard.
        shard: DealId,
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A shard cannot be had again from the network now.
    #[error("shard {shard} is damaged here and cannot be rebuilt now: {reason}; it is tried again")]
    Rebuild {
        /// Which shard.
        shard: DealId,
        /// Why not.
        reason: String,
    },
    /// A sector's files cannot be used.
    #[error("sector {number} in {path}: {reason}")]
    Sector {
        /// Which sector.
        number: SectorNumber,
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A sector would not fit on the disk while it is sealed.
    #[error(
        "sealing a sector of {class} in {path} takes {more} more bytes of disk for a while, and {free} are free; make room"
    )]
    Disk {
        /// Its class.
        class: SectorClass,
        /// Its folder.
        path: PathBuf,
        /// What is still to be written.
        more: u64,
        /// What there is.
        free: u64,
    },
    /// A sector would not fit in memory while it is sealed.
    #[error("{path}: {source}")]
    Memory {
        /// Its folder.
        path: PathBuf,
        /// What it takes, and what there is.
        source: SealError,
    },
    /// The ledger answered something, or not at all.
    #[error("the ledger: {0}")]
    Ledger(String),
    /// The ledger's state and this node's do not fit together.
    #[error("{0}")]
    State(String),
    /// A proof could not be made.
    #[error("the {what} cannot be proven: {reason}")]
    Proof {
        /// What was to be proven.
        what: String,
        /// Why not.
        reason: String,
    },
    /// Something of the start: keys, folder, network, socket.
    #[error("{0}")]
    Start(String),
}

/// Whether the system lacked what it takes to try: that says nothing of the file.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSPC];
    let number = error.raw_os_error();
    short.iter().any(|one| number == Some(one.raw_os_error()))
}

impl NodeError {
    /// Whether it failed because the disk is full. RocksDB says so in words only.
    pub fn is_full_disk(&self) -> bool {
        match self {
            Self::Journal { reason, .. } => reason.contains("No space left on device"),
            Self::File { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// A file's error, with its name.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> NodeError + '_ {
        move |source| NodeError::File {
            path: path.to_owned(),
            source,
        }
    }
}
