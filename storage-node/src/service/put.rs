//! Taking shards in: checks, room, durable bytes, journal, and only then the receipt.

use super::{Service, TURN_TIME};
use crate::error::NodeError;
use crate::journal::ShardRecord;
use crate::placement::Piece;
use crate::room::{NoRoom, Reservation};
use holdfast_market_core::message::SigningContext;
use holdfast_market_core::receipt::{Receipt, SignedReceipt, Tier};
use holdfast_market_core::units::{DealId, Height, Periods, ProviderId, ShardRoot};
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::piece::PieceShape;
use holdfast_wire::pack::PackLayout;
use holdfast_wire::protocol::{PutShard, Refusal, RefusalCode};
use holdfast_wire::quic::{Body, Pace};
use holdfast_wire::transfer::{ReceiveError, receive_shard};
use std::sync::Arc;
use std::time::Duration;

/// The longest term that is promised.
const LONGEST_TERM: Periods = Periods(1_000_000);

/// A transfer that was told to give way lets go of its room in this time, looked at so often.
const ROOM_PAUSE: Duration = Duration::from_millis(50);
const ROOM_LOOKS: u32 = 20;

/// A request that was found to be in order.
struct Order {
    deal: DealId,
    root: ShardRoot,
    piece: Piece,
}

impl Service {
    /// Takes in a shard and signs for it. The same request gets the same receipt again.
    ///
    /// # Errors
    /// Why not, in one sentence with the figures.
    pub async fn put_shard(&self, put: &PutShard, body: Body) -> Result<SignedReceipt, Refusal> {
        let (provider, height) = self.standing()?;
        let order = self.check(put, &body)?;
        let deal = order.deal;
        if let Some(receipt) = self.receipt_of(deal, put)? {
            return Ok(receipt);
        }
        self.stays()?;
        let turns = &self.turns.transfers;
        let turn = turns.take(body.pace(), 1, TURN_TIME).await;
        let turn = turn.ok_or_else(|| {
            Refusal::new(
                RefusalCode::Busy,
                "this node is receiving as many shards as it can; ask again in a moment",
            )
        })?;
        let reserved = self.reserve(&order.piece, body.pace()).await;
        let reservation = reserved.map_err(|error| {
            let code = match error {
                NoRoom::Full { .. } => RefusalCode::NoRoom,
                NoRoom::Underway => RefusalCode::Busy,
            };
            Refusal::new(code, error.to_string())
        })?;
        // A node that leaves ends no sector while room of it is set aside, and sets none aside after.
        self.stays()?;
        // Between the first look and the reservation the same shard may have come to its end.
        if let Some(receipt) = self.receipt_of(deal, put)? {
            return Ok(receipt);
        }
        // A task of its own: whoever hangs up in the middle must not leave bytes without a record,
        // or a record whose room is given away.
        let (service, put) = (self.clone(), put.clone());
        let taking = async move {
            // Held until the shard is journalled, however soon its asker has gone.
            let _turn = turn;
            service
                .take_in(&put, body, order, (provider, height), reservation)
                .await
        };
        tokio::spawn(taking)
            .await
            .map_err(|error| self.internal(&error))?
    }

    /// Receives a shard for which room is set aside, journals it and signs for it.
    async fn take_in(
        &self,
        put: &PutShard,
        body: Body,
        order: Order,
        (provider, height): (ProviderId, Height),
        reservation: Reservation,
    ) -> Result<SignedReceipt, Refusal> {
        let (deal, length) = (order.deal, put.header.shard_length);
        receive_shard(body, &self.shared.shards.path(deal), order.root, length)
            .await
            .map_err(|error| {
                if let ReceiveError::Io { .. } = error {
                    tracing::error!(%error, shard = %deal, "a shard was not taken in");
                }
                error.refusal()
            })?;
        crash_point("node.shard.received");
        let receipt = Receipt {
            pack: deal.pack,
            shard: deal.shard,
            root: order.root,
            length,
            provider,
            tier: put.offer.tier,
            price: put.offer.price,
            term: put.offer.term,
            fund_by: height.after(self.shared.parameters.promise),
        };
        let signature = SigningContext::Receipt
            .sign(self.shared.network, &self.shared.worker, &receipt)
            .map_err(|error| self.internal(&error))?;
        let record = ShardRecord {
            receipt: SignedReceipt { receipt, signature },
            sector: reservation.sector(),
            piece_roots: None,
            ended: None,
        };
        let shared = self.shared.clone();
        let journalled = tokio::task::spawn_blocking(move || {
            shared.journal.put_shard(deal, &record).map(|()| record)
        });
        let record = journalled
            .await
            .map_err(|error| self.internal(&error))?
            .map_err(|error| self.unwritten(&error))?;
        crash_point("node.receipt.journalled");
        reservation.keep();
        Ok(record.receipt)
    }

    /// Sets room aside; transfers whose room this one needs and that hardly move give way, one after
    /// the other.
    async fn reserve(&self, piece: &Piece, pace: &Arc<Pace>) -> Result<Reservation, NoRoom> {
        loop {
            let refusal = match self.shared.room.reserve(piece.clone(), pace) {
                Ok(reservation) => return Ok(reservation),
                Err(refusal) => refusal,
            };
            let under_way = self.turns.transfers.under_way();
            if !Pace::make_way(&self.shared.room.in_the_way_of(piece)) {
                return Err(refusal);
            }
            for _ in 0..ROOM_LOOKS {
                if self.turns.transfers.under_way() < under_way {
                    break;
                }
                tokio::time::sleep(ROOM_PAUSE).await;
            }
        }
    }

    /// Whether the request is one that this node takes.
    fn check(&self, put: &PutShard, body: &Body) -> Result<Order, Refusal> {
        let malformed = |sentence: String| Refusal::new(RefusalCode::Malformed, sentence);
        let terms = |sentence: String| Refusal::new(RefusalCode::Terms, sentence);
        PackLayout::of(&put.header).map_err(|error| malformed(error.to_string()))?;
        let pack = put
            .header
            .id()
            .map_err(|error| malformed(error.to_string()))?;
        let root = put
            .header
            .shard_roots
            .get(put.shard.position())
            .copied()
            .ok_or_else(|| {
                malformed(format!(
                    "the pack has {} shards and none of number {}",
                    put.header.n, put.shard
                ))
            })?;
        let length = put.header.shard_length;
        if length.0 == 0 {
            return Err(malformed("a shard of no bytes needs no storing".into()));
        }
        if body.length() != length {
            return Err(malformed(format!(
                "the body has {} bytes, and a shard of this pack has {length}",
                body.length()
            )));
        }
        if put.offer.tier == Tier::Cold {
            return Err(terms(
                "this node stores hot shards only; offer the hot tier".into(),
            ));
        }
        if put.offer.price < self.shared.price {
            return Err(terms(format!(
                "the offered price is {} and this node takes at least {} for a GiB and a period",
                put.offer.price, self.shared.price
            )));
        }
        if put.offer.term < Periods(1) || put.offer.term > LONGEST_TERM {
            return Err(terms(format!(
                "the offered term is {} periods and this node takes 1 to {LONGEST_TERM}",
                put.offer.term
            )));
        }
        let shape = PieceShape::of(length.0, self.shared.parameters.piece_levels)
            .map_err(|error| malformed(error.to_string()))?;
        let deal = DealId {
            pack,
            shard: put.shard,
        };
        Ok(Order {
            deal,
            root,
            piece: Piece {
                deal,
                tier: put.offer.tier,
                subtrees: shape.subtrees().to_vec(),
            },
        })
    }

    /// The receipt that was given for this shard, where it was.
    fn receipt_of(&self, deal: DealId, put: &PutShard) -> Result<Option<SignedReceipt>, Refusal> {
        let record = self
            .shared
            .journal
            .shard(deal)
            .map_err(|error| self.internal(&error))?;
        let Some(record) = record else {
            return Ok(None);
        };
        let receipt = &record.receipt.receipt;
        let offer = &put.offer;
        if (receipt.tier, receipt.price, receipt.term) == (offer.tier, offer.price, offer.term) {
            return Ok(Some(record.receipt));
        }
        Err(Refusal::new(
            RefusalCode::Terms,
            format!(
                "this shard was receipted here at {} for {} periods until height {}; ask on those terms, or after that height",
                receipt.price, receipt.term, receipt.fund_by
            ),
        ))
    }

    /// A receipt that could not be journalled is not given: full disks are said to be full.
    fn unwritten(&self, error: &NodeError) -> Refusal {
        if !error.is_full_disk() {
            return self.internal(error);
        }
        tracing::error!(%error, "a receipt was not given");
        Refusal::new(
            RefusalCode::NoRoom,
            "this node's disk is full; use another provider, or ask again when there is room",
        )
    }

    /// A fault of this node: the log has the details, the asker learns that it is not theirs.
    pub(super) fn internal(&self, error: &dyn std::fmt::Display) -> Refusal {
        tracing::error!(%error, "a request failed");
        Refusal::new(
            RefusalCode::Internal,
            "this node has a fault of its own; use another provider",
        )
    }
}
