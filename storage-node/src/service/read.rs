//! Giving shards out: verified ranges, and openings under both roots.

use super::payment::Unpaid;
use super::{Service, Shared, TURN_TIME};
use crate::error::NodeError;
use crate::journal::ShardRecord;
use holdfast_market_core::message::PieceOpening;
use holdfast_market_core::units::{ByteCount, DealId};
use holdfast_proofs::piece::{PieceShape, QUAD_BYTES, QuadOpening};
use holdfast_wire::bao::{Outboard, encoded_length};
use holdfast_wire::protocol::{
    ByteRange, GetPieceProof, GetShard, MAX_QUADS, Refusal, RefusalCode, Response,
    ranges_are_orderly,
};
use holdfast_wire::quic::{Reply, Turn, serve::ReplyError};
use holdfast_wire::transfer::{SendShardError, send_openings, send_shard};
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::sync::{Arc, Mutex, PoisonError};

/// Shards whose hashes are kept in memory: 64 bytes for each 16 KiB of them.
const OUTBOARDS: usize = 128;

/// The hashes of shards that were read lately.
#[derive(Debug, Default)]
pub(super) struct Outboards(Mutex<HashMap<DealId, Outboard>>);

impl Outboards {
    fn get(&self, shard: DealId) -> Option<Outboard> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&shard).cloned()
    }

    fn put(&self, shard: DealId, outboard: Outboard) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= OUTBOARDS
            && let Some(any) = kept.keys().next().copied()
        {
            kept.remove(&any);
        }
        kept.insert(shard, outboard);
    }

    fn forget(&self, shard: DealId) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(&shard);
    }
}

impl Service {
    /// Sends ranges of a shard.
    pub(super) async fn get_shard(&self, get: GetShard, reply: Reply) -> Result<(), ReplyError> {
        let deal = DealId {
            pack: get.pack,
            shard: get.shard,
        };
        let (file, outboard) = match self.open_shard(deal).await {
            Ok(opened) => opened,
            Err(refusal) => return reply.refuse(refusal).await,
        };
        // All that goes out is paid for: whole groups, and the hashes above them. What cannot be sent is
        // refused below, and costs nothing.
        let bytes = match ranges_are_orderly(&get.ranges) {
            true => encoded_length(outboard.length(), &get.ranges).unwrap_or_default(),
            false => ByteCount(0),
        };
        let is_refused = bytes == ByteCount(0) && !get.ranges.is_empty();
        if !is_refused {
            match self.paid_for(&get, bytes).await {
                Ok(()) => {}
                Err(Unpaid::Due(due)) => return reply.send(&Response::PaymentDue(due)).await,
                Err(Unpaid::Refused(refusal)) => return reply.refuse(refusal).await,
            }
        }
        match send_shard(reply, file, outboard, get.ranges).await {
            Ok(()) => Ok(()),
            Err(SendShardError::Stored(error)) => {
                if let Some(signed) = &get.voucher {
                    self.shared.till.not_sent(&signed.voucher.channel, bytes);
                }
                self.outboards.forget(deal);
                // The stream was broken off: the asker goes to another for the rest.
                let error = self.shared.shards.damage(deal, error.to_string());
                tracing::error!(%error, "a shard was not sent to its end");
                Ok(())
            }
            Err(SendShardError::Reply(error)) => Err(error),
            Err(SendShardError::Write(error)) => Err(ReplyError::Body(error)),
        }
    }

    async fn open_shard(&self, deal: DealId) -> Result<(File, Outboard), Refusal> {
        let record = self.record(deal)?;
        let kept = self.outboards.get(deal);
        let turn = match kept {
            Some(_) => None,
            None => Some(self.turn_to_hash().await?),
        };
        // Whoever had the turn before may have read the same shard.
        let kept = kept.or_else(|| self.outboards.get(deal));
        let (shared, outboards) = (self.shared.clone(), self.outboards.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let length = record.receipt.receipt.length;
            let file = shared.shards.file(deal, length)?;
            let outboard = match kept {
                Some(outboard) => outboard,
                None => {
                    let outboard = checked_outboard(&shared, deal, &record, &file)?;
                    outboards.put(deal, outboard.clone());
                    outboard
                }
            };
            Ok::<_, NodeError>((file, outboard))
        });
        opened
            .await
            .map_err(|error| self.internal(&error))?
            .map_err(|error| self.internal(&error))
    }

    /// A turn to read and hash a shard. The work takes it along: it goes on when its asker is gone.
    async fn turn_to_hash(&self) -> Result<Turn, Refusal> {
        let turn = self.turns.opening.take(&Arc::default(), 1, TURN_TIME).await;
        turn.ok_or_else(|| {
            Refusal::new(
                RefusalCode::Busy,
                "this node is opening as many shards as it can; ask again in a moment",
            )
        })
    }

    /// Sends openings of a shard's quads under both its roots.
    pub(super) async fn get_piece_proof(
        &self,
        get: GetPieceProof,
        reply: Reply,
    ) -> Result<(), ReplyError> {
        match self.piece_openings(get).await {
            Ok(openings) => send_openings(reply, &openings).await,
            Err(refusal) => reply.refuse(refusal).await,
        }
    }

    async fn piece_openings(&self, get: GetPieceProof) -> Result<Vec<PieceOpening>, Refusal> {
        if get.quads.is_empty() || get.quads.len() > MAX_QUADS {
            return Err(Refusal::new(
                RefusalCode::Malformed,
                format!("ask for 1 to {MAX_QUADS} quads"),
            ));
        }
        let deal = DealId {
            pack: get.pack,
            shard: get.shard,
        };
        let record = self.record(deal)?;
        let quads = record.receipt.receipt.length.0.div_ceil(QUAD_BYTES as u64);
        if let Some(beyond) = get.quads.iter().find(|quad| **quad >= quads) {
            return Err(Refusal::new(
                RefusalCode::Malformed,
                format!("the shard has {quads} quads and none of number {beyond}"),
            ));
        }
        let turn = self.turn_to_hash().await?;
        let shared = self.shared.clone();
        let opening = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let file = shared.shards.file(deal, record.receipt.receipt.length)?;
            let outboard = checked_outboard(&shared, deal, &record, &file)?;
            get.quads
                .iter()
                .map(|quad| open_checked(&shared, deal, &file, &outboard, *quad))
                .collect::<Result<_, _>>()
        });
        opening
            .await
            .map_err(|error| self.internal(&error))?
            .map_err(|error| self.internal(&error))
    }

    fn record(&self, deal: DealId) -> Result<ShardRecord, Refusal> {
        let record = self.shared.journal.shard(deal);
        record
            .map_err(|error| self.internal(&error))?
            .ok_or_else(|| {
                Refusal::new(
                    RefusalCode::NotFound,
                    format!("this node does not store shard {deal}"),
                )
            })
    }
}

/// The hashes of a shard's file, which must be those of its receipt.
fn checked_outboard(
    shared: &Shared,
    deal: DealId,
    record: &ShardRecord,
    file: &File,
) -> Result<Outboard, NodeError> {
    let receipt = &record.receipt.receipt;
    let damaged = |reason: String| shared.shards.damage(deal, reason);
    let outboard = Outboard::compute(receipt.length, BufReader::with_capacity(1 << 18, file))
        .map_err(|error| damaged(error.to_string()))?;
    if outboard.root() != receipt.root {
        return Err(damaged(format!(
            "its BLAKE3 root is {} and the receipt says {}",
            outboard.root(),
            receipt.root
        )));
    }
    Ok(outboard)
}

/// Opens one quad of a shard under both its roots.
///
/// # Errors
/// A file that is missing or damaged, by name; a quad that the shard does not have.
pub fn open_quad(
    shared: &Shared,
    deal: DealId,
    record: &ShardRecord,
    quad: u64,
) -> Result<PieceOpening, NodeError> {
    let file = shared.shards.file(deal, record.receipt.receipt.length)?;
    let outboard = checked_outboard(shared, deal, record, &file)?;
    open_checked(shared, deal, &file, &outboard, quad)
}

/// The same, of a file that was found to be the receipt's.
fn open_checked(
    shared: &Shared,
    deal: DealId,
    file: &File,
    outboard: &Outboard,
    quad: u64,
) -> Result<PieceOpening, NodeError> {
    let length = outboard.length();
    let damaged = |reason: String| shared.shards.damage(deal, reason);
    let start = quad.saturating_mul(QUAD_BYTES as u64);
    let range = ByteRange {
        start,
        end: start.saturating_add(QUAD_BYTES as u64).min(length.0),
    };
    let slice = outboard
        .slice(file, &[range])
        .map_err(|error| damaged(error.to_string()))?;
    let shape = PieceShape::of(length.0, shared.parameters.piece_levels)
        .map_err(|error| damaged(error.to_string()))?;
    // Reads from the file's start: hashing may have moved its place.
    let again = shared.shards.file(deal, length)?;
    let opening = QuadOpening::read(BufReader::with_capacity(1 << 18, again), &shape, quad)
        .map_err(|error| damaged(error.to_string()))?;
    Ok(PieceOpening {
        quad,
        slice,
        opening,
    })
}
