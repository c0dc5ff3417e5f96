//! How a node of the loopback network behaves: as its service does, or in one way otherwise.

use bytes::Bytes;
use holdfast_market_core::message::PieceOpening;
use holdfast_market_core::units::ByteCount;
use holdfast_node::service::Shared;
use holdfast_wire::protocol::{Refusal, RefusalCode, Request, Response, ShardOutcome};
use holdfast_wire::quic::Call;
use holdfast_wire::transfer::send_openings;
use std::time::Duration;

/// How a node behaves.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// As its service does.
    Honest,
    /// It has signed, and has nothing any more.
    Dropped,
    /// Answers reads with bytes that nobody asked for.
    ReadsRubbish,
    /// Opens nothing, and says so.
    RefusesToOpen,
    /// Opens nothing, and says nothing.
    OpensSilently,
    /// Opens with bytes of no shard at all.
    OpensRubbish,
    /// Opens under the roots that it stated: of bytes that are not the shard's.
    OpensAsStated(fn(&mut Vec<u8>)),
    /// Spreads nothing, and says that every other node refused.
    SpreadsNothing,
    /// Ends every upload that it is asked to spread without a word.
    HangsUp,
}

impl Manner {
    /// Answers in its way; gives the call back where that is the service's.
    pub async fn answer(self, shared: &Shared, call: Call) -> Option<Call> {
        match (self, &call.request) {
            (Self::Dropped, Request::GetShard(_) | Request::GetPieceProof(_))
            | (Self::RefusesToOpen, Request::GetPieceProof(_)) => {
                let refusal = Refusal::new(RefusalCode::NotFound, "this node has no such shard");
                let _ = call.reply.refuse(refusal).await;
            }
            (Self::ReadsRubbish, Request::GetShard(_)) => {
                let response = Response::Shard {
                    length: ByteCount(5),
                };
                let writer = call.reply.start(&response, ByteCount(5)).await;
                if let Ok(mut writer) = writer {
                    let _ = writer.write(Bytes::from_static(b"trust")).await;
                    let _ = writer.finish();
                }
            }
            (Self::OpensSilently, Request::GetPieceProof(_)) => {
                tokio::time::sleep(Duration::from_secs(120)).await;
            }
            (Self::OpensRubbish, Request::GetPieceProof(get)) => {
                let mut openings = openings(shared, get, |_| {});
                for opening in &mut openings {
                    opening.slice.reverse();
                }
                let _ = send_openings(call.reply, &openings).await;
            }
            (Self::OpensAsStated(spoil), Request::GetPieceProof(get)) => {
                let openings = openings(shared, get, spoil);
                let _ = send_openings(call.reply, &openings).await;
            }
            (Self::SpreadsNothing, Request::AssistPut(put)) => {
                let failed = ShardOutcome::Failed("it has no room".into());
                let outcomes = vec![failed; put.targets.len()];
                let _ = call.reply.send(&Response::Assisted(outcomes)).await;
            }
            (Self::HangsUp, Request::AssistPut(_)) => drop(call),
            _ => return Some(call),
        }
        None
    }
}

/// Openings of quads: bytes of the shard, and nodes of what `spoil` makes of them.
fn openings(
    shared: &Shared,
    get: &holdfast_wire::protocol::GetPieceProof,
    spoil: impl Fn(&mut Vec<u8>),
) -> Vec<PieceOpening> {
    let deal = holdfast_market_core::units::DealId {
        pack: get.pack,
        shard: get.shard,
    };
    let bytes = std::fs::read(shared.shards.path(deal)).unwrap();
    let length = ByteCount(bytes.len() as u64);
    let outboard = holdfast_wire::bao::Outboard::compute(length, &*bytes).unwrap();
    let levels = shared.parameters.piece_levels;
    let shape = holdfast_proofs::piece::PieceShape::of(length.0, levels).unwrap();
    let mut spoiled = bytes.clone();
    spoil(&mut spoiled);
    let open = |quad: &u64| {
        let range = holdfast_market_core::opening::quad_range(length, *quad);
        let range = holdfast_wire::protocol::ByteRange {
            start: range.start,
            end: range.end,
        };
        PieceOpening {
            quad: *quad,
            slice: outboard.slice(&*bytes, &[range]).unwrap(),
            opening: holdfast_proofs::piece::QuadOpening::read(&*spoiled, &shape, *quad).unwrap(),
        }
    };
    get.quads.iter().map(open).collect()
}
