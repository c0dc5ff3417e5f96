//! Why something could not be done, and the next step.

use crate::catalogue::CatalogueError;
use crate::layout::LayoutError;
use crate::manifest::ManifestError;
use crate::receipt::ReceiptError;
use crate::seal::SealError;
use crate::stream::StreamError;
use crate::walk::WalkError;
use holdfast_market_core::message::Unencodable;
use holdfast_wire::folder::FolderError;
use holdfast_wire::keys::{KeyFileError, PhraseError};
use holdfast_wire::ledger::{LedgerError, SendError};
use holdfast_wire::light::FollowError;
use holdfast_wire::network::NetworkError;
use std::io;
use std::path::{Path, PathBuf};

/// Where the reason lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It could not be done here.
    Failed,
    /// The network, a provider or its rules refused.
    Refused,
    /// What was asked for does not exist.
    NotFound,
}

/// Why a client's request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// What was to be stored.
    #[error(transparent)]
    Source(#[from] WalkError),
    /// Keys and ciphers.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// An encrypted content.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The catalogue.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The packs.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The chain, as it is followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// A receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// A message to the ledger.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The network's folder.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The wallet's folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The phrase's file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The phrase.
    #[error(transparent)]
    Phrase(#[from] PhraseError),
    /// A value that cannot be written.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// The operating system.
    #[error("{path}: {source}")]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Anything else: one sentence, and what to do next.
    #[error("{sentence}")]
    Plain {
        /// Where the reason lies.
        kind: ErrorKind,
        /// What happened.
        sentence: String,
        /// What to do.
        next: String,
    },
}

impl ClientError {
    /// It could not be done here.
    pub fn failed(sentence: impl Into<String>, next: impl Into<String>) -> Self {
        Self::plain(ErrorKind::Failed, sentence, next)
    }

    /// The network or its rules do not allow it.
    pub fn refused(sentence: impl Into<String>, next: impl Into<String>) -> Self {
        Self::plain(ErrorKind::Refused, sentence, next)
    }

    /// There is no such thing.
    pub fn not_found(sentence: impl Into<String>, next: impl Into<String>) -> Self {
        Self::plain(ErrorKind::NotFound, sentence, next)
    }

    fn plain(kind: ErrorKind, sentence: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Plain {
            kind,
            sentence: sentence.into(),
            next: next.into(),
        }
    }

    /// For `map_err` on what the system says of a path.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Where the reason lies.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Plain { kind, .. } => *kind,
            Self::Source(WalkError::Missing(_)) | Self::Ledger(LedgerError::NotFound(_)) => {
                ErrorKind::NotFound
            }
            Self::Send(_) | Self::Ledger(LedgerError::Refused { .. }) => ErrorKind::Refused,
            _ => ErrorKind::Failed,
        }
    }

    /// What to do next; empty where the sentence says it.
    pub fn next(&self) -> &str {
        match self {
            Self::Plain { next, .. } => next,
            Self::Source(WalkError::Missing(_)) => "check the path; nothing was stored or paid",
            Self::Source(WalkError::Changed(_)) => {
                "run the same command again when it is no longer being written"
            }
            Self::Source(WalkError::TooMany(_)) => {
                "store the folders in it one by one; nothing was stored or paid"
            }
            Self::Source(_) => "make it readable or leave it out; nothing was stored or paid",
            Self::Stream(_) | Self::Manifest(_) => {
                "run `holdfast status` to see how the object is; what was read is not used"
            }
            Self::Catalogue(CatalogueError::TooLarge(_)) => "use another wallet for more",
            Self::Seal(_) | Self::Catalogue(_) => {
                "give the folder of the wallet that stored it with --wallet"
            }
            Self::Io { .. } => {
                "see whether this user may read and write there, and whether the disk is full"
            }
            Self::Layout(LayoutError::TooMany) => "store parts of it one by one; nothing was paid",
            Self::Layout(_) => {
                "wait until there is more capacity, or store it with another wallet; nothing was paid"
            }
            _ => "",
        }
    }
}
