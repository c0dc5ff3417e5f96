//! Frames: a u32 length, a DAG-CBOR header, and what the header says of the body.

use super::HEADER_LIMIT;
use holdfast_market_core::message::{Undecodable, decode, encode};
use holdfast_market_core::units::ByteCount;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A header: a message, and how many bytes of body follow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame<T> {
    /// The request or response.
    pub message: T,
    /// Bytes of body that follow.
    pub body: ByteCount,
}

/// Why a frame was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than [`HEADER_LIMIT`], or empty.
    #[error("a header of {0} bytes was announced, and one has 1 to {HEADER_LIMIT}")]
    Length(u64),
    /// It ended before its announced end.
    #[error("the stream ended inside a header")]
    Truncated,
    /// Not canonical DAG-CBOR of the expected kind.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// A value that DAG-CBOR cannot carry.
    #[error(transparent)]
    Unencodable(#[from] holdfast_market_core::message::Unencodable),
    /// The connection broke.
    #[error("the stream broke inside a header: {0}")]
    Io(std::io::Error),
}

/// The bytes of a frame, without its body.
///
/// # Errors
/// A header beyond the limit.
pub fn to_bytes<T: Serialize>(frame: &Frame<T>) -> Result<Vec<u8>, FrameError> {
    let header = encode(frame)?;
    let length = u32::try_from(header.len())
        .ok()
        .filter(|length| *length <= HEADER_LIMIT)
        .ok_or(FrameError::Length(header.len() as u64))?;
    let mut bytes = Vec::with_capacity(header.len().saturating_add(4));
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&header);
    Ok(bytes)
}

/// Reads a frame's header. Memory is bounded by [`HEADER_LIMIT`].
///
/// # Errors
/// A header that is cut off, too long, or not canonical.
pub async fn read<T: Serialize + for<'de> Deserialize<'de>>(
    kind: &'static str,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Frame<T>, FrameError> {
    let io_error = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => FrameError::Truncated,
        _ => FrameError::Io(error),
    };
    let length = stream.read_u32().await.map_err(io_error)?;
    if length == 0 || length > HEADER_LIMIT {
        return Err(FrameError::Length(length.into()));
    }
    let mut header = Vec::new();
    let read = stream
        .take(length.into())
        .read_to_end(&mut header)
        .await
        .map_err(io_error)?;
    if read as u64 != u64::from(length) {
        return Err(FrameError::Truncated);
    }
    Ok(decode(kind, &header)?)
}
