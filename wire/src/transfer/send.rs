//! Answering `GetShard`: ranges of a stored shard, verified on the way out.

use crate::bao::{BaoError, Outboard, encoded_length};
use crate::protocol::{ByteRange, MAX_RANGES, Refusal, RefusalCode, Response, ranges_are_orderly};
use crate::quic::serve::ReplyError;
use crate::quic::{Reply, body::WriteError};
use bao_tree::io::sync::ReadAt;
use bytes::{Bytes, BytesMut};
use std::io::{self, Write};
use tokio::sync::mpsc;

/// Bytes that go out at once, and such pieces that wait for the line.
const PIECE: usize = 64 << 10;
const WAITING: usize = 2;

/// Why a shard was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendShardError {
    /// The bytes on the disk are not the shard's any more, or cannot be read.
    #[error("the stored shard cannot be read: {0}")]
    Stored(BaoError),
    /// The asker is gone.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The asker takes nothing, or is gone.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Answers with ranges of the shard `data`. A disk's fault breaks the answer off: wrong bytes are
/// never sent.
///
/// # Errors
/// A disk's fault, or an asker that is gone. Ranges that are out of order are refused to the asker
/// and no error here.
pub async fn send_shard(
    reply: Reply,
    data: impl ReadAt + Send + 'static,
    outboard: Outboard,
    ranges: Vec<ByteRange>,
) -> Result<(), SendShardError> {
    let length = outboard.length();
    let encoded = match encoded_length(length, &ranges) {
        Ok(encoded) if ranges_are_orderly(&ranges) => encoded,
        Ok(_) => {
            let sentence = format!("ask for 1 to {MAX_RANGES} ranges, ascending and disjoint");
            let refusal = Refusal::new(RefusalCode::Malformed, sentence);
            return Ok(reply.refuse(refusal).await?);
        }
        Err(error) => {
            let refusal = Refusal::new(RefusalCode::Malformed, error.to_string());
            return Ok(reply.refuse(refusal).await?);
        }
    };
    let mut writer = reply.start(&Response::Shard { length }, encoded).await?;
    let (sender, mut pieces) = mpsc::channel(WAITING);
    let encoding = tokio::task::spawn_blocking(move || {
        let mut channel = Channel {
            sender,
            buffer: BytesMut::new(),
        };
        outboard.encode(data, &ranges, &mut channel)?;
        Ok(channel.flush()?)
    });
    while let Some(piece) = pieces.recv().await {
        writer.write(piece).await?;
        if writer.is_stopped() {
            // The asker has what it wanted from another; that is no fault of anybody.
            return Ok(());
        }
    }
    let encoded = encoding
        .await
        .unwrap_or_else(|error| Err(BaoError::Io(io::Error::other(error.to_string()))));
    encoded.map_err(SendShardError::Stored)?;
    Ok(writer.finish()?)
}

/// Gathers pieces and hands them to the async side.
struct Channel {
    sender: mpsc::Sender<Bytes>,
    buffer: BytesMut,
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.sender
            .blocking_send(self.buffer.split().freeze())
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
