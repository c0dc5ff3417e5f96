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

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use crate::protocol::{ByteRange, GetShard, Hello, PROTOCOL_VERSION, Request};
    use holdfast_market_core::units::{NetworkId, PackId, ShardIndex};
    use proptest::prelude::*;

    fn requests() -> [Request; 3] {
        [
            Request::Status,
            Request::Hello(Hello {
                network: NetworkId([7; 32]),
                version: PROTOCOL_VERSION,
            }),
            Request::GetShard(GetShard {
                pack: PackId([9; 32]),
                shard: ShardIndex(3),
                ranges: vec![
                    ByteRange {
                        start: 1,
                        end: 70_000
                    };
                    5
                ],
                voucher: None,
            }),
        ]
    }

    fn framed(message: Request) -> Vec<u8> {
        to_bytes(&Frame {
            message,
            body: ByteCount(12),
        })
        .unwrap()
    }

    fn parse(bytes: &[u8]) -> Result<Frame<Request>, FrameError> {
        let mut stream = bytes;
        futures::executor::block_on(read("request", &mut stream))
    }

    #[test]
    fn a_frame_is_read_back_and_its_body_is_left_alone() {
        for request in requests() {
            let mut bytes = framed(request.clone());
            bytes.extend_from_slice(b"body");
            let mut stream = bytes.as_slice();
            let frame: Frame<Request> =
                futures::executor::block_on(read("request", &mut stream)).unwrap();
            assert_eq!(
                frame,
                Frame {
                    message: request,
                    body: ByteCount(12)
                }
            );
            assert_eq!(stream, b"body");
        }
    }

    #[test]
    fn a_frame_cut_off_anywhere_is_refused() {
        for request in requests() {
            let bytes = framed(request);
            for length in 0..bytes.len() {
                let error = parse(&bytes[..length]).unwrap_err();
                assert!(matches!(error, FrameError::Truncated), "{length}: {error}");
            }
        }
    }

    #[test]
    fn a_header_beyond_the_limit_is_neither_read_nor_written() {
        for length in [0, HEADER_LIMIT + 1, u32::MAX] {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.resize(100, 0xff);
            assert!(matches!(parse(&bytes), Err(FrameError::Length(_))));
        }
        let refusal = crate::protocol::Response::Refused(crate::protocol::Refusal {
            code: crate::protocol::RefusalCode::Busy,
            sentence: "x".repeat(70_000),
        });
        let frame = Frame {
            message: refusal,
            body: ByteCount(0),
        };
        assert!(matches!(to_bytes(&frame), Err(FrameError::Length(_))));
    }

    proptest! {
        #[test]
        fn random_bytes_are_an_error_and_no_panic(bytes: Vec<u8>) {
            let mut framed = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            prop_assert!(parse(&framed).is_err());
            prop_assert!(parse(&bytes).is_err());
        }

        /// A changed header is refused, or says something else in canonical form: never the same.
        #[test]
        fn a_changed_byte_never_passes_for_the_same_request(
            which in 0usize..3, at in 0.0f64..1.0, change in 1u8..=255,
        ) {
            let request = requests()[which].clone();
            let mut bytes = framed(request.clone());
            let index = (at * bytes.len() as f64) as usize;
            bytes[index] ^= change;
            if let Ok(frame) = parse(&bytes) {
                let same = Frame { message: request, body: ByteCount(12) };
                prop_assert!(frame != same);
                prop_assert!(to_bytes(&frame).unwrap() == bytes);
            }
        }
    }
}
