//! Where a long audit stands, in a file, so that one that is interrupted goes on. Whoever resumes
//! trusts this file of his own: that the blocks before it hold is not verified again.

use holdfast_market_core::audit::{Replay, RestoreError, Saved};
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::{Undecodable, Unencodable, decode, encode};
use holdfast_market_core::view::ViewError;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::atomic;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a checkpoint begins with: its kind and version.
const MAGIC: &[u8] = b"holdfast audit checkpoint 1\n";
/// What every version begins with.
const KIND: &[u8] = b"holdfast audit checkpoint ";
/// Bytes of a checkpoint, at most: it is held in memory as the state is.
const LIMIT: u64 = 8 << 30;
/// Time from one checkpoint to the next, at least.
const EVERY: Duration = Duration::from_secs(20);
/// Writing takes at most one part in so many of the time.
const SHARE: u32 = 10;

/// Why an audit does not go on from a file.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system refuses.
    #[error("the checkpoint {path} cannot be read or written: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Another kind of file, or of another version.
    #[error("{path} is no checkpoint of an audit that this version reads; name another file")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Its bytes changed.
    #[error(
        "the checkpoint {path} is damaged: {reason}; remove it, and the audit begins at the genesis"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// It is another network's, or its parts do not fit.
    #[error(
        "the checkpoint {path} cannot be resumed: {source}; remove it, and the audit begins at the genesis"
    )]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<RestoreError>,
    },
    /// The replay cannot be written down.
    #[error(transparent)]
    View(#[from] ViewError),
    /// An object that cannot be encoded.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

/// What the file holds, as DAG-CBOR behind magic and BLAKE3.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    saved: Saved,
    entries: Vec<(ByteBuf, ByteBuf)>,
}

/// A replay as the bytes of a checkpoint.
///
/// # Errors
/// A replay that cannot be written down.
pub fn write(replay: &Replay) -> Result<Vec<u8>, CheckpointError> {
    let entries = replay.view().entries();
    let content = Content {
        saved: replay.saved()?,
        entries: entries
            .map(|(key, value)| (ByteBuf::from(key.clone()), ByteBuf::from(value.clone())))
            .collect(),
    };
    let body = encode(&content)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(blake3::hash(&body).as_bytes());
    bytes.extend(body);
    Ok(bytes)
}

/// The replay that bytes of a checkpoint hold; `path` is where they are from.
///
/// # Errors
/// Bytes that are damaged, or another network's.
pub fn read(
    path: &Path,
    bytes: &[u8],
    genesis: &Genesis,
    keys: &VerifyingKeys,
) -> Result<Replay, CheckpointError> {
    let path = path.to_owned();
    let damaged = |path: PathBuf, reason: &str| CheckpointError::Damaged {
        path,
        reason: reason.into(),
    };
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err(match KIND.starts_with(bytes) || MAGIC.starts_with(bytes) {
            true => damaged(path, "it ends too early"),
            false => CheckpointError::Foreign { path },
        });
    };
    let Some((digest, body)) = rest.split_first_chunk::<32>() else {
        return Err(damaged(path, "it ends too early"));
    };
    if blake3::hash(body).as_bytes() != digest {
        return Err(damaged(path, "its bytes are not those of its digest"));
    }
    let content: Content = decode("checkpoint", body)
        .map_err(|error: Undecodable| damaged(path.clone(), &error.to_string()))?;
    let ascending = content
        .entries
        .is_sorted_by(|(one, _), (next, _)| one < next);
    if !ascending {
        return Err(damaged(path, "its objects are out of order"));
    }
    let entries: BTreeMap<Vec<u8>, Vec<u8>> = content
        .entries
        .into_iter()
        .map(|(key, value)| (key.into_vec(), value.into_vec()))
        .collect();
    Replay::restore(genesis, keys, content.saved, entries).map_err(|source| {
        CheckpointError::Unfit {
            path,
            source: Box::new(source),
        }
    })
}

/// Keeps a replay's checkpoint in a file.
pub(super) struct Keeper {
    path: PathBuf,
    written: Instant,
    cost: Duration,
}

impl Keeper {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            written: Instant::now(),
            cost: Duration::ZERO,
        }
    }

    /// The replay that the file holds, where there is one.
    pub(super) fn resume(
        &self,
        genesis: &Genesis,
        keys: &VerifyingKeys,
    ) -> Result<Option<Replay>, CheckpointError> {
        match atomic::read_bounded(&self.path, LIMIT) {
            Ok(bytes) => read(&self.path, &bytes, genesis, keys).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CheckpointError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// Writes where it is time to.
    pub(super) fn keep_in_turn(&mut self, replay: &Replay) -> Result<(), CheckpointError> {
        let rest = self.cost.saturating_mul(SHARE).max(EVERY);
        match self.written.elapsed() >= rest {
            true => self.keep(replay),
            false => Ok(()),
        }
    }

    /// Writes now.
    pub(super) fn keep(&mut self, replay: &Replay) -> Result<(), CheckpointError> {
        let started = Instant::now();
        let bytes = write(replay)?;
        atomic::write(&self.path, &bytes, 0o600).map_err(|source| CheckpointError::Io {
            path: self.path.clone(),
            source,
        })?;
        self.written = Instant::now();
        self.cost = started.elapsed();
        Ok(())
    }
}
