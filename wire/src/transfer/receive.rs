//! Receiving a shard: to a file, hashed on the way, durable before it is acknowledged.

use crate::bao::Outboard;
use crate::protocol::{Refusal, RefusalCode};
use crate::quic::{Body, BodyError};
use bytes::{Buf, Bytes};
use holdfast_market_core::units::{ByteCount, ShardRoot};
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::durable::{above, sync_folder};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Pieces that wait for the disk.
const WAITING: usize = 8;

/// Why a shard was not received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The request states another length than the pack's header.
    #[error("the body has {stated} bytes and the pack's shards have {expected}")]
    Length {
        /// What the request states.
        stated: ByteCount,
        /// What the header says.
        expected: ByteCount,
    },
    /// The bytes are others.
    #[error("the bytes have the root {found}, and the pack says {expected}")]
    WrongRoot {
        /// Their root.
        found: ShardRoot,
        /// The header's.
        expected: ShardRoot,
    },
    /// The body is short, long, slow or broken.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The disk refuses.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl ReceiveError {
    /// What the sender is told.
    pub fn refusal(&self) -> Refusal {
        let code = match self {
            Self::Length { .. } | Self::WrongRoot { .. } => RefusalCode::WrongBytes,
            Self::Body(error) => error.code(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                return Refusal::new(
                    RefusalCode::NoRoom,
                    "the node's disk is full; use another provider, or ask again when there is room",
                );
            }
            // The path is nobody's business.
            Self::Io { .. } => {
                return Refusal::new(
                    RefusalCode::Internal,
                    "the node cannot write the shard to its disk",
                );
            }
        };
        Refusal::new(code, self.to_string())
    }
}

/// Receives a shard into the file `path`, which appears only once it is whole, of this root, and
/// durable. What was there before is replaced. Memory is a few pieces.
///
/// # Errors
/// Another length or root, a body that breaks, a disk that refuses; then there is no file.
pub async fn receive_shard(
    mut body: Body,
    path: &Path,
    root: ShardRoot,
    length: ByteCount,
) -> Result<Outboard, ReceiveError> {
    if body.length() != length {
        return Err(ReceiveError::Length {
            stated: body.length(),
            expected: length,
        });
    }
    let (pieces, receiver) = mpsc::channel(WAITING);
    let target = path.to_owned();
    let writing = tokio::task::spawn_blocking(move || write(receiver, &target, root, length));
    let read = async {
        while let Some(piece) = body.chunk().await? {
            // The writer only goes early where it failed, and then says why.
            if !piece.is_empty() && pieces.send(piece).await.is_err() {
                break;
            }
        }
        // Only after the body's true end: before, a dropped channel means that it broke.
        let _ = pieces.send(Bytes::new()).await;
        drop(pieces);
        Ok::<(), BodyError>(())
    }
    .await;
    let written = writing.await.map_err(|error| ReceiveError::Io {
        path: path.to_owned(),
        source: io::Error::other(error.to_string()),
    })?;
    read?;
    written
}

fn write(
    receiver: mpsc::Receiver<Bytes>,
    path: &Path,
    root: ShardRoot,
    length: ByteCount,
) -> Result<Outboard, ReceiveError> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let io_error = |source| ReceiveError::Io {
        path: path.to_owned(),
        source,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}.{serial}.part", std::process::id()));
    let part = Part(path.with_file_name(name));
    // A name that stood there is of a killed process with the same number: nobody's.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part.0)
        .map_err(io_error)?;
    let mut tee = Tee {
        receiver,
        current: Bytes::new(),
        file,
        ended: false,
    };
    let outboard = Outboard::compute(length, &mut tee).map_err(io_error)?;
    if outboard.root() != root {
        return Err(ReceiveError::WrongRoot {
            found: outboard.root(),
            expected: root,
        });
    }
    // The last piece may be read while the body's end is not yet known: a body that is longer
    // than stated must not leave a file.
    if tee.read(&mut [0u8]).map_err(io_error)? != 0 || !tee.ended {
        return Err(BodyError::Long.into());
    }
    tee.file.sync_all().map_err(io_error)?;
    crash_point("shard.written");
    std::fs::rename(&part.0, path).map_err(io_error)?;
    crash_point("shard.named");
    sync_folder(above(path)).map_err(io_error)?;
    Ok(outboard)
}

/// A file that is not whole yet: removed unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads pieces from the body and writes each to the file once.
struct Tee {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
    file: File,
    ended: bool,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(piece) if piece.is_empty() => self.ended = true,
                Some(piece) => {
                    self.file.write_all(&piece)?;
                    self.current = piece;
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        if let Some(target) = buffer.get_mut(..count) {
            self.current.copy_to_slice(target);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn receive(
        stated: u64,
        sent: &[&'static [u8]],
        expected: &[u8],
        folder: &Path,
    ) -> Result<Outboard, ReceiveError> {
        let (sender, receiver) = mpsc::channel(16);
        for piece in sent {
            sender.send(Bytes::from_static(piece)).await.unwrap();
        }
        drop(sender);
        let root = ShardRoot(*blake3::hash(expected).as_bytes());
        receive_shard(
            Body::from_channel(receiver, ByteCount(stated)),
            &folder.join("shard"),
            root,
            ByteCount(expected.len() as u64),
        )
        .await
    }

    #[tokio::test]
    async fn a_shard_is_on_the_disk_once_it_is_received() {
        let folder = tempfile::tempdir().unwrap();
        let outboard = receive(5, &[b"ab", b"cde"], b"abcde", folder.path())
            .await
            .unwrap();
        assert_eq!(outboard.length(), ByteCount(5));
        assert_eq!(
            std::fs::read(folder.path().join("shard")).unwrap(),
            b"abcde"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        receive(0, &[], b"", folder.path()).await.unwrap();
        assert_eq!(std::fs::read(folder.path().join("shard")).unwrap(), b"");
    }

    #[tokio::test]
    async fn a_shard_that_lacks_a_byte_has_one_more_or_another_is_refused_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = receive(5, &[b"ab", b"cd"], b"abcde", folder.path())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ReceiveError::Body(BodyError::Short { missing: 1 })),
            "{error}"
        );
        let error = receive(5, &[b"ab", b"cde", b"f"], b"abcde", folder.path())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ReceiveError::Body(BodyError::Long)),
            "{error}"
        );
        let error = receive(5, &[b"abcdX"], b"abcde", folder.path())
            .await
            .unwrap_err();
        assert!(matches!(error, ReceiveError::WrongRoot { .. }), "{error}");
        assert_eq!(error.refusal().code, RefusalCode::WrongBytes);
        let error = receive(6, &[b"abcdef"], b"abcde", folder.path())
            .await
            .unwrap_err();
        assert!(matches!(error, ReceiveError::Length { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_body_that_was_only_slow_may_be_sent_again() {
        let code = |error: BodyError| ReceiveError::from(error).refusal().code;
        assert_eq!(code(BodyError::GaveWay), RefusalCode::Busy);
        assert_eq!(code(BodyError::Stalled { missing: 1 }), RefusalCode::Busy);
        assert_eq!(code(BodyError::Long), RefusalCode::WrongBytes);
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_not_described_to_the_sender() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = receive(1, &[b"a"], b"a", &missing).await.unwrap_err();
        assert!(error.to_string().contains("missing"));
        assert!(!error.refusal().sentence.contains("missing"));
        assert_eq!(error.refusal().code, RefusalCode::Internal);
    }
}
