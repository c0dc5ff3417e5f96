//! Why the database cannot be opened, read or written.

use super::FORMAT;
use holdfast_market_core::message::Unencodable;
use holdfast_market_core::units::{Height, NetworkId};
use holdfast_wire::folder::FolderError;
use std::path::PathBuf;

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
