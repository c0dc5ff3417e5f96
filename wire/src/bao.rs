//! BLAKE3 verified streaming in groups of 16 KiB: bad bytes are caught within one group.

use crate::protocol::ByteRange;
use crate::quic::{Body, BodyError};
use bao_tree::io::fsm::{ResponseDecoder, ResponseDecoderNext};
use bao_tree::io::outboard::PreOrderOutboard;
use bao_tree::io::sync::{DecodeResponseIter, ReadAt, encode_ranges_validated, truncate_ranges};
use bao_tree::io::{BaoContentItem, DecodeError};
use bao_tree::io::{round_up_to_chunks, round_up_to_chunks_groups};
use bao_tree::iter::{BaoChunk, ResponseIterRef};
use bao_tree::{BaoTree, BlockSize, ByteRanges, ChunkRanges};
use bytes::Bytes;
use holdfast_market_core::units::{ByteCount, ShardRoot};
use std::cmp;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// 2^4 chunks of 1 KiB.
const BLOCK: BlockSize = BlockSize::from_chunk_log(4);
/// Bytes of a group.
pub const GROUP: u64 = 16 << 10;
/// Bytes of the longest shard: a pack of one shard is as long as the pack. What walks over a shard's
/// groups walks over no more than these.
pub const MAX_SHARD: ByteCount = crate::pack::MAX_PACK;

/// Why bytes were not encoded or verified.
#[derive(Debug, thiserror::Error)]
pub enum BaoError {
    /// They are not the bytes of this root: whoever sent them lied or lost them.
    #[error("the bytes at {offset} are not those of the shard's root")]
    Mismatch {
        /// The first byte of the group, or of the subtree that a wrong hash stands for.
        offset: u64,
    },
    /// The encoding ended early.
    #[error("the encoded shard ended early")]
    Short,
    /// The encoding goes on after its end.
    #[error("the encoded shard has bytes after its end")]
    Long,
    /// A range that is empty, out of order, or beyond the end.
    #[error("the range {start}..{end} is not inside a shard of {length} bytes")]
    Range {
        /// Its first byte.
        start: u64,
        /// The one after its last.
        end: u64,
        /// The shard's bytes.
        length: u64,
    },
    /// No shard is so long.
    #[error("a shard of {} bytes is too long: one has at most {}", .0.0, MAX_SHARD.0)]
    TooLong(ByteCount),
    /// The stored hashes are not of this shard.
    #[error(
        "the stored hashes have {found} bytes, and those of a shard of {length} bytes have {expected}"
    )]
    Outboard {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: u64,
        /// The shard's bytes.
        length: u64,
    },
    /// The body stalled or broke.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl BaoError {
    /// Whether the peer sent bytes that are not the shard's: not a fault of the line.
    pub const fn is_lie(&self) -> bool {
        matches!(self, Self::Mismatch { .. })
    }
}

fn tree(length: u64) -> BaoTree {
    BaoTree::new(length, BLOCK)
}

/// The hashes of a shard above its groups: 64 bytes for each pair, kept beside the shard so that
/// ranges are served without hashing all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Outboard {
    root: ShardRoot,
    length: u64,
    hashes: Vec<u8>,
}

impl std::fmt::Debug for Outboard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outboard({}, {} bytes)", self.root, self.length)
    }
}

impl Outboard {
    /// Hashes exactly `length` bytes of `source`; their root is the shard's BLAKE3.
    ///
    /// # Errors
    /// A source that ends early or cannot be read.
    pub fn compute(length: ByteCount, source: impl Read) -> io::Result<Self> {
        let tree = tree(length.0);
        let mut outboard = PreOrderOutboard {
            root: blake3::Hash::from_bytes([0; 32]),
            tree,
            data: Vec::new(),
        };
        let root = bao_tree::io::sync::outboard(source, tree, &mut outboard)?;
        Ok(Self {
            root: ShardRoot(*root.as_bytes()),
            length: length.0,
            hashes: outboard.data,
        })
    }

    /// Stored hashes as [`Outboard::as_bytes`] gave them.
    ///
    /// # Errors
    /// Another number of bytes than a shard of this length has.
    pub fn from_bytes(
        root: ShardRoot,
        length: ByteCount,
        hashes: Vec<u8>,
    ) -> Result<Self, BaoError> {
        let expected = tree(length.0).outboard_size();
        if hashes.len() as u64 != expected {
            return Err(BaoError::Outboard {
                found: hashes.len(),
                expected,
                length: length.0,
            });
        }
        Ok(Self {
            root,
            length: length.0,
            hashes,
        })
    }

    /// The hashes, to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.hashes
    }

    /// The shard's BLAKE3.
    pub const fn root(&self) -> ShardRoot {
        self.root
    }

    /// Bytes of the shard.
    pub const fn length(&self) -> ByteCount {
        ByteCount(self.length)
    }

    /// Writes the encoding of ranges of the shard `data`, checking every group on the way, so that
    /// a disk's fault is not sent as a lie.
    ///
    /// # Errors
    /// Ranges that are not inside the shard, data that is not the shard's, a writer that fails.
    pub fn encode(
        &self,
        data: impl ReadAt,
        ranges: &[ByteRange],
        writer: impl Write,
    ) -> Result<(), BaoError> {
        let chunks = chunk_ranges(self.length, ranges)?;
        let outboard = PreOrderOutboard {
            root: blake3::Hash::from_bytes(*self.root.as_bytes()),
            tree: tree(self.length),
            data: self.hashes.as_slice(),
        };
        encode_ranges_validated(data, outboard, &chunks, writer).map_err(|error| {
            use bao_tree::io::EncodeError;
            match error {
                EncodeError::ParentHashMismatch(node) => BaoError::Mismatch {
                    offset: node.chunk_range().start.to_bytes(),
                },
                EncodeError::LeafHashMismatch(chunk) => BaoError::Mismatch {
                    offset: chunk.to_bytes(),
                },
                EncodeError::Io(error) => BaoError::Io(error),
                other => BaoError::Io(io::Error::other(other.to_string())),
            }
        })
    }

    /// The encoding of ranges as bytes: for a slice of a group or two.
    ///
    /// # Errors
    /// As [`Outboard::encode`].
    pub fn slice(&self, data: impl ReadAt, ranges: &[ByteRange]) -> Result<Vec<u8>, BaoError> {
        let mut encoded = Vec::new();
        self.encode(data, ranges, &mut encoded)?;
        Ok(encoded)
    }
}

/// Rounds ranges to groups, after checking that they are inside the shard.
fn chunk_ranges(length: u64, ranges: &[ByteRange]) -> Result<ChunkRanges, BaoError> {
    if length > MAX_SHARD.0 {
        return Err(BaoError::TooLong(ByteCount(length)));
    }
    let mut bytes = ByteRanges::empty();
    for range in ranges {
        if range.start >= range.end || range.end > length {
            return Err(BaoError::Range {
                start: range.start,
                end: range.end,
                length,
            });
        }
        bytes |= ByteRanges::from(range.start..range.end);
    }
    Ok(round_up_to_chunks_groups(round_up_to_chunks(&bytes), BLOCK))
}

/// Bytes that the encoding of these ranges has.
///
/// # Errors
/// Ranges that are not inside the shard.
pub fn encoded_length(length: ByteCount, ranges: &[ByteRange]) -> Result<ByteCount, BaoError> {
    let chunks = chunk_ranges(length.0, ranges)?;
    let chunks = truncate_ranges(&chunks, length.0);
    let sum = ResponseIterRef::new(tree(length.0), chunks).fold(0u64, |sum, item| {
        sum.saturating_add(match item {
            BaoChunk::Parent { .. } => 64,
            BaoChunk::Leaf { size, .. } => size as u64,
        })
    });
    Ok(ByteCount(sum))
}

fn decode_error(error: DecodeError) -> BaoError {
    match error {
        DecodeError::ParentHashMismatch(node) => BaoError::Mismatch {
            offset: node.chunk_range().start.to_bytes(),
        },
        DecodeError::LeafHashMismatch(chunk) => BaoError::Mismatch {
            offset: chunk.to_bytes(),
        },
        DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) => BaoError::Short,
        DecodeError::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(body) => BaoError::Body(BodyError::clone(body)),
            None => BaoError::Io(error),
        },
    }
}

/// Takes the bytes of one range out of the groups that hold it.
struct Window {
    range: ByteRange,
    bytes: Vec<u8>,
}

impl Window {
    fn new(range: ByteRange) -> Self {
        Self {
            range,
            bytes: Vec::new(),
        }
    }

    /// Adds what a verified group has of the range.
    fn add(&mut self, offset: u64, data: &[u8]) {
        let low = self.range.start.saturating_sub(offset);
        let high = self.range.end.saturating_sub(offset).min(data.len() as u64);
        let (Ok(low), Ok(high)) = (usize::try_from(low), usize::try_from(high)) else {
            return;
        };
        if let Some(wanted) = data.get(low..high) {
            self.bytes.extend_from_slice(wanted);
        }
    }

    fn finish(self) -> Result<Vec<u8>, BaoError> {
        if self.bytes.len() as u64 == self.range.length().0 {
            Ok(self.bytes)
        } else {
            Err(BaoError::Short)
        }
    }
}

/// Verifies the encoding of one range, and gives its bytes. Nothing but the root is trusted.
///
/// # Errors
/// Bytes that are not the shard's, too few or too many of them.
pub fn verify_slice(
    root: ShardRoot,
    length: ByteCount,
    range: ByteRange,
    encoded: &[u8],
) -> Result<Vec<u8>, BaoError> {
    let chunks = chunk_ranges(length.0, &[range])?;
    let root = blake3::Hash::from_bytes(*root.as_bytes());
    let mut rest = encoded;
    let mut window = Window::new(range);
    for item in DecodeResponseIter::new(root, tree(length.0), &mut rest, &chunks) {
        if let BaoContentItem::Leaf(leaf) = item.map_err(decode_error)? {
            window.add(leaf.offset, &leaf.data);
        }
    }
    if !rest.is_empty() {
        return Err(BaoError::Long);
    }
    window.finish()
}

/// Verifies the encoding of one range as it arrives, group by group, and gives its bytes. It stops
/// at the first wrong group. `verified` counts the bytes of the groups so far.
///
/// # Errors
/// As [`verify_slice`]; a body that stalls or breaks.
pub async fn verify_body(
    root: ShardRoot,
    length: ByteCount,
    range: ByteRange,
    body: Body,
    verified: &AtomicU64,
) -> Result<Vec<u8>, BaoError> {
    let chunks = chunk_ranges(length.0, &[range])?;
    match body.length().cmp(&encoded_length(length, &[range])?) {
        cmp::Ordering::Less => return Err(BaoError::Short),
        cmp::Ordering::Greater => return Err(BaoError::Long),
        cmp::Ordering::Equal => {}
    }
    let root = blake3::Hash::from_bytes(*root.as_bytes());
    let mut window = Window::new(range);
    let mut decoder = ResponseDecoder::new(root, chunks, tree(length.0), Groups(body));
    loop {
        match decoder.next().await {
            ResponseDecoderNext::More((next, item)) => {
                if let BaoContentItem::Leaf(leaf) = item.map_err(decode_error)? {
                    window.add(leaf.offset, &leaf.data);
                    verified.fetch_add(leaf.data.len() as u64, Ordering::Relaxed);
                }
                decoder = next;
            }
            ResponseDecoderNext::Done(Groups(mut body)) => {
                if body.chunk().await?.is_some() {
                    return Err(BaoError::Long);
                }
                return window.finish();
            }
        }
    }
}

/// A body as the decoder reads it.
struct Groups(Body);

impl Groups {
    async fn bytes(&mut self, length: usize) -> io::Result<Bytes> {
        self.0.take(length).await.map_err(io::Error::other)
    }
}

impl iroh_io::AsyncStreamReader for Groups {
    async fn read_bytes(&mut self, length: usize) -> io::Result<Bytes> {
        self.bytes(length).await
    }

    async fn read<const L: usize>(&mut self) -> io::Result<[u8; L]> {
        let bytes = self.bytes(L).await?;
        <[u8; L]>::try_from(bytes.as_ref()).map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use holdfast_market_core::slice;
    use proptest::prelude::*;

    fn shard(length: usize) -> Vec<u8> {
        (0..length)
            .map(|at| (at ^ at >> 7 ^ at >> 15) as u8)
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_range_is_verified_to_the_naive_slice(
            length in prop_oneof![1usize..3000, 1usize..200_000],
            start in 0.0f64..1.0, span in 0.0f64..1.0, flip in 0.0f64..1.0,
        ) {
            let shard = shard(length);
            let outboard = Outboard::compute(ByteCount(length as u64), shard.as_slice()).unwrap();
            prop_assert_eq!(outboard.root(), ShardRoot(*blake3::hash(&shard).as_bytes()));
            let start = (start * length as f64) as u64;
            let end = (start + 1 + (span * length as f64) as u64).min(length as u64);
            let range = ByteRange { start, end };
            let mut encoded = outboard.slice(shard.as_slice(), &[range]).unwrap();
            let stated = encoded_length(ByteCount(length as u64), &[range]).unwrap();
            prop_assert_eq!(stated.0, encoded.len() as u64);
            // The ledger makes and reads the same bytes with code of its own.
            let on_the_ledger = slice::encode(&shard, &(start..end)).unwrap();
            prop_assert!(on_the_ledger == encoded);
            let verify = |encoded: &[u8]| {
                verify_slice(outboard.root(), ByteCount(length as u64), range, encoded)
            };
            prop_assert!(verify(&encoded).unwrap() == shard[start as usize..end as usize]);
            prop_assert!(verify(&encoded[..encoded.len() - 1]).is_err());
            let at = (flip * encoded.len() as f64) as usize;
            encoded[at] ^= 1;
            prop_assert!(verify(&encoded).unwrap_err().is_lie());
            encoded[at] ^= 1;
            encoded.push(0);
            prop_assert!(matches!(verify(&encoded), Err(BaoError::Long)));
        }
    }

    #[test]
    fn a_shard_that_is_longer_than_any_is_refused_and_not_walked() {
        let range = ByteRange {
            start: 0,
            end: 1 << 60,
        };
        let length = ByteCount(1 << 60);
        assert!(matches!(
            encoded_length(length, &[range]),
            Err(BaoError::TooLong(_))
        ));
        assert!(matches!(
            verify_slice(ShardRoot([0; 32]), length, range, &[]),
            Err(BaoError::TooLong(_))
        ));
        let all = ByteRange {
            start: 0,
            end: MAX_SHARD.0,
        };
        assert!(encoded_length(MAX_SHARD, &[all]).is_ok());
    }

    #[test]
    fn a_slice_is_as_small_as_one_group_and_its_path() {
        let shard = shard(1 << 20);
        let outboard = Outboard::compute(ByteCount(1 << 20), shard.as_slice()).unwrap();
        let slice = outboard
            .slice(
                shard.as_slice(),
                &[ByteRange {
                    start: 70_000,
                    end: 70_127,
                }],
            )
            .unwrap();
        assert_eq!(slice.len() as u64, GROUP + 6 * 64);
    }

    #[test]
    fn a_disks_fault_is_noticed_before_it_is_sent() {
        let mut shard = shard(100_000);
        let outboard = Outboard::compute(ByteCount(100_000), shard.as_slice()).unwrap();
        shard[50_000] ^= 1;
        let all = [ByteRange {
            start: 0,
            end: 100_000,
        }];
        let error = outboard.slice(shard.as_slice(), &all).unwrap_err();
        assert!(
            matches!(error, BaoError::Mismatch { offset: 49_152 }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_wrong_group_is_detected_before_the_next_one_arrives() {
        // Bytes that occur once, so that the group is found in its encoding.
        let mut shard = vec![0; 200_000];
        blake3::Hasher::new().finalize_xof().fill(&mut shard);
        let length = ByteCount(200_000);
        let outboard = Outboard::compute(length, shard.as_slice()).unwrap();
        let range = ByteRange {
            start: 0,
            end: 200_000,
        };
        let mut encoded = outboard.slice(shard.as_slice(), &[range]).unwrap();
        // The last byte of the third group is another.
        let third = encoded
            .windows(32)
            .position(|window| *window == shard[49_120..49_152])
            .unwrap();
        encoded[third + 31] ^= 1;
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let stated = ByteCount(encoded.len() as u64);
        encoded.truncate(third + 32);
        sender.send(Bytes::from(encoded)).await.unwrap();
        // The line stays open and nothing more comes: waiting for more would time out.
        let verified = AtomicU64::new(0);
        let body = Body::from_channel(receiver, stated);
        let verifying = verify_body(outboard.root(), length, range, body, &verified);
        let error = tokio::time::timeout(std::time::Duration::from_secs(5), verifying)
            .await
            .unwrap()
            .unwrap_err();
        assert!(
            matches!(error, BaoError::Mismatch { offset: 32_768 }),
            "{error}"
        );
        assert_eq!(verified.into_inner(), 32_768);
        drop(sender);
    }

    #[test]
    fn hashes_are_stored_and_read_back_and_ranges_outside_are_refused() {
        let shard = shard(50_000);
        let length = ByteCount(50_000);
        let outboard = Outboard::compute(length, shard.as_slice()).unwrap();
        let stored = outboard.as_bytes().to_vec();
        let again = Outboard::from_bytes(outboard.root(), length, stored).unwrap();
        assert_eq!(again, outboard);
        assert!(Outboard::from_bytes(outboard.root(), length, vec![0; 64]).is_err());
        for (start, end) in [
            (0, 0),
            (5, 4),
            (0, 50_001),
            (50_000, 50_001),
            (u64::MAX, u64::MAX),
        ] {
            let range = ByteRange { start, end };
            assert!(matches!(
                encoded_length(length, &[range]),
                Err(BaoError::Range { .. })
            ));
        }
    }
}
