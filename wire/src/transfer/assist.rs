//! Answering `AssistPut`: one node codes a pack and spreads its shards.

use super::put::put_shard;
use super::spread::{ChannelReader, WAITING, spread};
use crate::pack::PackLayout;
use crate::protocol::{
    AssistPut, PutShard, Refusal, RefusalCode, ShardOutcome, ShardTarget, truncate,
};
use crate::quic::{Body, BodyError, Peers};
use futures::future::join_all;
use holdfast_market_core::receipt::SignedReceipt;
use holdfast_market_core::units::{NodeKey, ShardIndex};
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The longest end point that is tried.
const ENDPOINT_LIMIT: usize = 128;
/// The targets may keep an upload waiting for so long in all; beyond, it gives way to others like one
/// whose asker keeps it waiting.
const TARGETS_TIME: Duration = Duration::from_secs(10);
/// The longest sentence in an outcome.
const SENTENCE_LIMIT: usize = 200;

/// The layout of the pack that is to be coded: what can be known of a request before anything is
/// done for it.
///
/// # Errors
/// A request that contradicts itself.
pub fn layout(put: &AssistPut, body: &Body) -> Result<PackLayout, Refusal> {
    let malformed = |sentence: String| Refusal::new(RefusalCode::Malformed, sentence);
    let layout = PackLayout::of(&put.header).map_err(|error| malformed(error.to_string()))?;
    if put.targets.len() != usize::from(layout.n()) {
        let sentence = format!("{} targets for {} shards", put.targets.len(), layout.n());
        return Err(malformed(sentence));
    }
    if body.length() != layout.length() {
        let sentence = format!(
            "the body has {} bytes and the pack {}",
            body.length(),
            layout.length()
        );
        return Err(malformed(sentence));
    }
    Ok(layout)
}

/// Codes the pack in `body` and gives every shard to its target; `local` stores the shards whose
/// target is this node itself (`me`), as for a `PutShard` of its own. `refusal` says why another
/// target is not to be dialled, where it is not. Memory is a few columns a shard. A target that
/// fails does not touch the others.
///
/// # Errors
/// A request that contradicts itself, or a body that breaks; then no shard is stored.
pub async fn assist<L, F>(
    peers: &Peers,
    me: NodeKey,
    put: AssistPut,
    mut body: Body,
    refusal: impl Fn(&ShardTarget) -> Option<String>,
    local: L,
) -> Result<Vec<ShardOutcome>, Refusal>
where
    L: Fn(PutShard, Body) -> F,
    F: Future<Output = Result<SignedReceipt, Refusal>>,
{
    let layout = layout(&put, &body)?;
    let AssistPut { header, targets } = put;
    let mut lines = Vec::new();
    let mut puts = Vec::new();
    for (shard, target) in (0..layout.n()).map(ShardIndex).zip(&targets) {
        let (line, pieces) = mpsc::channel(WAITING);
        lines.push(Some(line));
        let shard_body = Body::from_channel(pieces, layout.shard_length());
        let request = PutShard {
            header: header.clone(),
            shard,
            offer: target.offer.clone(),
        };
        let (local, refusal) = (&local, &refusal);
        puts.push(async move {
            let stored = if target.node == me {
                local(request, shard_body)
                    .await
                    .map_err(|error| error.sentence)
            } else if let Some(sentence) = refusal(target) {
                Err(sentence)
            } else {
                remote(peers, target, request, shard_body).await
            };
            match stored {
                Ok(receipt) => ShardOutcome::Receipt(Box::new(receipt)),
                Err(mut sentence) => {
                    truncate(&mut sentence, SENTENCE_LIMIT);
                    ShardOutcome::Failed(sentence)
                }
            }
        });
    }
    let (source, receiver) = mpsc::channel(WAITING);
    let pace = body.pace().clone();
    let reading = async move {
        let mut waited = Duration::ZERO;
        while let Some(piece) = body.chunk().await? {
            let begun = Instant::now();
            let room = tokio::time::timeout(TARGETS_TIME.saturating_sub(waited), source.reserve());
            let room = match room.await {
                Ok(room) => room,
                // The asker named them: where they dawdle, it does.
                Err(_) => pace.with_peer(source.reserve()).await?,
            };
            waited = waited.saturating_add(begun.elapsed());
            match room {
                Ok(room) => room.send(piece),
                Err(_) => break,
            }
        }
        Ok::<(), BodyError>(())
    };
    let spreading = spread(layout, ChannelReader::new(receiver), lines, |_| {});
    let (read, spread, outcomes) = tokio::join!(reading, spreading, join_all(puts));
    read.map_err(|error| Refusal::new(error.code(), error.to_string()))?;
    spread.map_err(|error| Refusal::new(RefusalCode::WrongBytes, error.to_string()))?;
    Ok(outcomes)
}

async fn remote(
    peers: &Peers,
    target: &ShardTarget,
    request: PutShard,
    body: Body,
) -> Result<SignedReceipt, String> {
    if target.endpoint.len() > ENDPOINT_LIMIT {
        return Err(format!(
            "its end point is longer than {ENDPOINT_LIMIT} bytes"
        ));
    }
    put_shard(peers, target, request, body)
        .await
        .map_err(|error| error.to_string())
}
