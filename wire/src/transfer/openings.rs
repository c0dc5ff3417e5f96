//! Asking for and answering `GetPieceProof`: quads of a shard under both its roots.

use crate::protocol::{GetPieceProof, MAX_QUADS, Request, Response};
use crate::quic::serve::ReplyError;
use crate::quic::{CallError, Connection, Reply};
use bytes::Bytes;
use holdfast_market_core::message::{PieceOpening, decode, encode};
use holdfast_market_core::units::{ByteCount, PackId, ShardIndex};

/// An opening is two groups of 16 KiB at most, their path, and a few hundred nodes.
const OPENING_LIMIT: u64 = 64 << 10;

/// Asks a node to open quads of a shard; that what it answers lies under the shard's roots is not
/// verified yet.
///
/// # Errors
/// A refusal, a broken connection, an answer that cannot be read or opens other quads.
pub async fn piece_openings(
    connection: &Connection,
    pack: PackId,
    shard: ShardIndex,
    quads: Vec<u64>,
) -> Result<Vec<PieceOpening>, CallError> {
    let wanted = quads.clone();
    let request = Request::GetPieceProof(GetPieceProof { pack, shard, quads });
    let exchange = connection.open(&request, ByteCount(0)).await?;
    let (response, mut body) = exchange.answer().await?;
    if response != Response::PieceOpenings {
        return Err(CallError::Unexpected("PieceOpenings"));
    }
    let limit = OPENING_LIMIT.saturating_mul(wanted.len().min(MAX_QUADS) as u64);
    let bytes = body.read_all(ByteCount(limit)).await?;
    let openings: Vec<PieceOpening> =
        decode("list of openings", &bytes).map_err(crate::protocol::frame::FrameError::from)?;
    if !openings.iter().map(|opening| opening.quad).eq(wanted) {
        return Err(CallError::Unexpected("one opening of each quad asked for"));
    }
    Ok(openings)
}

/// Answers with openings, in the order asked.
///
/// # Errors
/// An asker that is gone.
pub async fn send_openings(reply: Reply, openings: &Vec<PieceOpening>) -> Result<(), ReplyError> {
    let bytes = encode(openings).map_err(crate::protocol::frame::FrameError::from)?;
    let length = ByteCount(bytes.len() as u64);
    let mut writer = reply.start(&Response::PieceOpenings, length).await?;
    writer.write(Bytes::from(bytes)).await?;
    Ok(writer.finish()?)
}
