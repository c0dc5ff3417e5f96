//! Having one shard again from k others of its pack.

use super::{FetchError, Fetcher, PeerFault, Purse, ReceiveError, ShardSource, receive_shard};
use crate::erasure::{CodeError, Coder};
use crate::pack::{LayoutError, PackLayout};
use crate::protocol::ByteRange;
use crate::quic::{Body, Peers};
use bytes::{Bytes, BytesMut};
use holdfast_market_core::message::PackHeader;
use holdfast_market_core::units::ShardIndex;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Columns that wait for the disk.
const WAITING: usize = 4;

/// Why a shard was not had again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The pack has no such shard.
    #[error("the pack has {n} shards and none of number {shard}")]
    NoShard {
        /// Which was asked for.
        shard: ShardIndex,
        /// How many there are.
        n: u8,
    },
    /// The others cannot be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be written, or is not the shard.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
}

impl From<LayoutError> for RebuildError {
    fn from(error: LayoutError) -> Self {
        Self::Fetch(error.into())
    }
}

impl From<CodeError> for RebuildError {
    fn from(error: CodeError) -> Self {
        Self::Fetch(error.into())
    }
}

/// Fetches the pack from k other shards, codes it again and writes the shard to `path`: whole,
/// durable and of the root that the header names, or not at all. Where reading is paid, `purse` pays. Memory is a few stripes. Answers
/// which holders failed; the fetch went around them.
///
/// # Errors
/// Fewer than k other shards that can be read; a disk that refuses.
pub async fn rebuild_shard(
    peers: &Peers,
    purse: Option<Arc<Purse>>,
    header: &PackHeader,
    shard: ShardIndex,
    sources: Vec<ShardSource>,
    path: &Path,
) -> Result<Vec<PeerFault>, RebuildError> {
    let layout = PackLayout::of(header)?;
    let root = header.shard_roots.get(shard.position()).copied();
    let root = root.ok_or(RebuildError::NoShard { shard, n: header.n })?;
    let others = sources.into_iter().filter(|source| source.shard != shard);
    let range = ByteRange {
        start: 0,
        end: header.length.0,
    };
    let mut fetcher = Fetcher::new(peers, purse, header, others.collect(), range)?;
    let (line, pieces) = mpsc::channel(WAITING);
    let body = Body::from_channel(pieces, header.shard_length);
    let coding = code(&mut fetcher, layout, shard, line);
    let receiving = receive_shard(body, path, root, header.shard_length);
    let (coded, received) = tokio::join!(coding, receiving);
    // A fetch that ends early makes a short body of it; the cause is what is told.
    coded?;
    received?;
    Ok(fetcher.faults())
}

/// Cuts what is fetched into stripes and passes on the shard's column of each.
async fn code(
    fetcher: &mut Fetcher,
    layout: PackLayout,
    shard: ShardIndex,
    line: mpsc::Sender<Bytes>,
) -> Result<(), RebuildError> {
    let coder = Coder::new(layout.k(), layout.n())?;
    let (k, n) = (usize::from(layout.k()), usize::from(layout.n()));
    let mut waiting = BytesMut::new();
    let mut left = layout.length().0;
    for stripe in 0..layout.stripes() {
        let width = usize::try_from(layout.column_length(stripe)).unwrap_or(usize::MAX);
        let wanted = width.saturating_mul(k);
        let wanted = usize::try_from(left).map_or(wanted, |left| left.min(wanted));
        while waiting.len() < wanted {
            match fetcher.next().await? {
                Some(piece) => waiting.extend_from_slice(&piece),
                None => break,
            }
        }
        let bytes = waiting.split_to(wanted.min(waiting.len()));
        left = left.saturating_sub(wanted as u64);
        let mut columns = vec![vec![0; width]; n];
        for (column, bytes) in columns.iter_mut().zip(bytes.chunks(width.max(1))) {
            if let Some(place) = column.get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
        coder.encode(&mut columns)?;
        let column = columns
            .into_iter()
            .nth(shard.position())
            .unwrap_or_default();
        if line.send(Bytes::from(column)).await.is_err() {
            // Nobody takes it any more, and says why.
            return Ok(());
        }
    }
    Ok(())
}
