//! Storing a pack: through one node that codes it, or directly; receipts are checked for exactly
//! what was asked.

use super::PeerFault;
use super::spread::{WAITING, spread};
use crate::pack::encode::EncodeError;
use crate::pack::{LayoutError, PackLayout};
use crate::protocol::{
    AssistPut, PutShard, Request, Response, ShardOutcome, ShardTarget, truncate,
};
use crate::quic::body::BodyError;
use crate::quic::{Body, CallError, Peers};
use bytes::Bytes;
use futures::future::join_all;
use holdfast_market_core::message::{PackHeader, SigningContext, Unencodable};
use holdfast_market_core::receipt::{Receipt, SignedReceipt};
use holdfast_market_core::units::{
    Address, ByteCount, Height, NetworkId, NodeKey, PackId, ProviderId, ShardIndex,
};
use std::io::Read;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A provider has so long to make the bytes durable and to sign.
const RECEIPT_TIME: Duration = Duration::from_secs(45);
/// An assistant that takes fewer bytes a second, beside a time of grace, is given up: every line of
/// one's own that is slower is better used without one.
const LEAST_RATE: u64 = 64 << 10;
const GRACE: Duration = Duration::from_secs(30);
/// Bytes of source that are sent at once.
const PIECE: usize = 64 << 10;

/// Where one shard goes, and who signs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutTarget {
    /// Where, and on what terms.
    pub target: ShardTarget,
    /// The provider's worker key on the ledger: it signs receipts.
    pub worker: Address,
}

/// What is stored where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutPlan {
    /// The pack, as [`crate::pack::encode::commit`] named it from the client's own bytes.
    pub header: PackHeader,
    /// One a shard, in index order.
    pub targets: Vec<PutTarget>,
    /// A receipt must hold at least until this height.
    pub fund_by: Height,
}

/// Why a pack was not stored at all.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The pack's header has no layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Not one target a shard.
    #[error("there are {targets} targets for {n} shards")]
    Targets {
        /// How many there are.
        targets: usize,
        /// How many shards.
        n: u8,
    },
    /// The source cannot be read, or has another length than before.
    #[error(transparent)]
    Source(#[from] EncodeError),
    /// The assisting node failed; another can be tried.
    #[error("the assisting node {node} failed: {source}")]
    Assistant {
        /// Which.
        node: NodeKey,
        /// How.
        source: Box<CallError>,
    },
    /// A value that DAG-CBOR cannot carry.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

/// What came of each shard, in index order: its receipt, checked, or who failed how.
pub type PutResult = Vec<Result<SignedReceipt, PeerFault>>;

/// A plan that was checked.
struct Checked<'a> {
    plan: &'a PutPlan,
    layout: PackLayout,
    pack: PackId,
    network: NetworkId,
}

impl<'a> Checked<'a> {
    fn new(peers: &Peers, plan: &'a PutPlan) -> Result<Self, PutError> {
        let layout = PackLayout::of(&plan.header)?;
        if plan.targets.len() != usize::from(layout.n()) {
            return Err(PutError::Targets {
                targets: plan.targets.len(),
                n: layout.n(),
            });
        }
        Ok(Self {
            plan,
            layout,
            pack: plan.header.id()?,
            network: peers.network(),
        })
    }

    fn targets(&self) -> impl Iterator<Item = (ShardIndex, &'a PutTarget)> {
        (0..=u8::MAX).map(ShardIndex).zip(&self.plan.targets)
    }

    /// Takes a receipt that says exactly what was asked, with the worker's signature.
    fn accept(
        &self,
        shard: ShardIndex,
        target: &PutTarget,
        receipt: SignedReceipt,
    ) -> Result<SignedReceipt, PeerFault> {
        self.check(shard, target, &receipt)
            .map(|()| receipt)
            .map_err(|reason| PeerFault {
                provider: target.target.provider,
                shard,
                lied: true,
                reason,
                told_by: None,
            })
    }

    fn check(
        &self,
        shard: ShardIndex,
        target: &PutTarget,
        signed: &SignedReceipt,
    ) -> Result<(), String> {
        let header = &self.plan.header;
        let offer = &target.target.offer;
        let Receipt {
            pack,
            shard: index,
            root,
            length,
            provider,
            tier,
            price,
            term,
            fund_by,
        } = &signed.receipt;
        let what = if *pack != self.pack {
            "pack"
        } else if *index != shard {
            "shard"
        } else if header.shard_roots.get(shard.position()) != Some(root) {
            "root"
        } else if *length != header.shard_length {
            "length"
        } else if *provider != target.target.provider {
            "provider"
        } else if *tier != offer.tier {
            "tier"
        } else if *price != offer.price {
            "price"
        } else if *term != offer.term {
            "term"
        } else if *fund_by < self.plan.fund_by {
            return Err(format!(
                "its receipt holds until height {fund_by}, and {} is needed",
                self.plan.fund_by
            ));
        } else if !SigningContext::Receipt.verify(
            self.network,
            target.worker.as_bytes(),
            &signed.receipt,
            &signed.signature,
        ) {
            return Err("its receipt is not signed by its worker".into());
        } else {
            return Ok(());
        };
        Err(format!("its receipt says another {what} than was asked"))
    }

    fn failed(&self, shard: ShardIndex, provider: ProviderId, reason: impl ToString) -> PeerFault {
        let mut reason = reason.to_string();
        truncate(&mut reason, 400);
        PeerFault {
            provider,
            shard,
            lied: false,
            reason,
            told_by: None,
        }
    }
}

/// Sends the pack once, to `assistant`, which codes it and spreads the shards. `source` gives the
/// same bytes from which the header was made; nothing but receipts for exactly its roots counts.
/// `progress` is told how many bytes of the pack are sent.
///
/// # Errors
/// A plan that contradicts itself, a source that fails, an assistant that fails. What single
/// shards came to is in the result.
pub async fn assisted_put(
    peers: &Peers,
    plan: &PutPlan,
    assistant: &ShardTarget,
    source: impl Read + Send + 'static,
    mut progress: impl FnMut(ByteCount),
) -> Result<PutResult, PutError> {
    let checked = Checked::new(peers, plan)?;
    let failed = |source: CallError| PutError::Assistant {
        node: assistant.node,
        source: Box::new(source),
    };
    let request = Request::AssistPut(AssistPut {
        header: plan.header.clone(),
        targets: plan
            .targets
            .iter()
            .map(|target| target.target.clone())
            .collect(),
    });
    let length = plan.header.length;
    let connection = peers
        .connect(&assistant.endpoint, assistant.node)
        .await
        .map_err(failed)?;
    let mut exchange = connection.open(&request, length).await.map_err(failed)?;
    let (sender, mut pieces) = mpsc::channel(WAITING);
    let reading = tokio::task::spawn_blocking(move || read(source, length, &sender));
    let begun = Instant::now();
    let mut sent = ByteCount(0);
    while let Some(piece) = pieces.recv().await {
        sent = ByteCount(sent.0.saturating_add(piece.len() as u64));
        exchange.write(piece).await.map_err(failed)?;
        if dawdles(begun.elapsed(), sent) {
            return Err(failed(CallError::Dawdled(LEAST_RATE)));
        }
        if exchange.is_stopped() {
            // The assistant has answered already: what it says is what counts.
            break;
        }
        progress(sent);
    }
    drop(pieces);
    if !exchange.is_stopped() {
        reading
            .await
            .map_err(|error| EncodeError::Io(std::io::Error::other(error.to_string())))??;
    }
    let (response, _) = exchange.answer().await.map_err(failed)?;
    let Response::Assisted(outcomes) = response else {
        return Err(failed(CallError::Unexpected("Assisted")));
    };
    if outcomes.len() != plan.targets.len() {
        return Err(failed(CallError::Unexpected("one outcome a shard")));
    }
    Ok(checked
        .targets()
        .zip(outcomes)
        .map(|((shard, target), outcome)| {
            let provider = target.target.provider;
            let accepted = match outcome {
                ShardOutcome::Receipt(receipt) => checked.accept(shard, target, *receipt),
                ShardOutcome::Failed(reason) => Err(checked.failed(shard, provider, reason)),
            };
            accepted.map_err(|fault| PeerFault {
                told_by: (provider != assistant.provider).then_some(assistant.provider),
                ..fault
            })
        })
        .collect())
}

/// Whether whoever took so much in this time is to be given up. What lies in a connection's windows
/// counts as taken.
fn dawdles(elapsed: Duration, taken: ByteCount) -> bool {
    elapsed > GRACE.saturating_add(Duration::from_secs(taken.0 / LEAST_RATE))
}

/// Codes the pack here and sends each shard to its provider. `progress` is told how many bytes of
/// the pack are coded and given out.
///
/// # Errors
/// A plan that contradicts itself, or a source that fails. What single shards came to is in the
/// result.
pub async fn direct_put(
    peers: &Peers,
    plan: &PutPlan,
    source: impl Read + Send + 'static,
    progress: impl FnMut(ByteCount),
) -> Result<PutResult, PutError> {
    let checked = Checked::new(peers, plan)?;
    let mut lines = Vec::new();
    let mut puts = Vec::new();
    for (shard, target) in checked.targets() {
        let (line, pieces) = mpsc::channel(WAITING);
        lines.push(Some(line));
        let body = Body::from_channel(pieces, plan.header.shard_length);
        let request = PutShard {
            header: plan.header.clone(),
            shard,
            offer: target.target.offer.clone(),
        };
        let checked = &checked;
        puts.push(async move {
            match put_shard(peers, &target.target, request, body).await {
                Ok(receipt) => checked.accept(shard, target, receipt),
                Err(error) => Err(checked.failed(shard, target.target.provider, error)),
            }
        });
    }
    let spreading = spread(checked.layout, source, lines, progress);
    let (spread, results) = tokio::join!(spreading, join_all(puts));
    spread?;
    Ok(results)
}

/// Sends one shard to its provider, and gives the receipt unchecked.
pub(super) async fn put_shard(
    peers: &Peers,
    target: &ShardTarget,
    request: PutShard,
    mut body: Body,
) -> Result<SignedReceipt, CallError> {
    let connection = peers.connect(&target.endpoint, target.node).await?;
    let request = Request::PutShard(request);
    let mut exchange = connection.open(&request, body.length()).await?;
    let left_behind = |error| match error {
        // The one that codes the pack gives no more.
        BodyError::Short { .. } => CallError::LeftBehind,
        other => other.into(),
    };
    while let Some(piece) = body.chunk().await.map_err(left_behind)? {
        exchange.write(piece).await?;
        if exchange.is_stopped() {
            break;
        }
    }
    drop(body);
    let answer = tokio::time::timeout(RECEIPT_TIME, exchange.answer());
    match answer.await.map_err(|_| CallError::Slow(RECEIPT_TIME))??.0 {
        Response::Receipt(receipt) => Ok(*receipt),
        _ => Err(CallError::Unexpected("Receipt")),
    }
}

/// Reads exactly `length` bytes and hands them over; stops where nobody takes them.
fn read(
    mut source: impl Read,
    length: ByteCount,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<(), EncodeError> {
    let mut left = length.0;
    while left > 0 {
        let size = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = vec![0; size];
        source
            .read_exact(&mut piece)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => EncodeError::Short { missing: left },
                _ => EncodeError::Io(error),
            })?;
        left = left.saturating_sub(size as u64);
        if pieces.blocking_send(Bytes::from(piece)).is_err() {
            return Ok(());
        }
    }
    match source.read(&mut [0u8])? {
        0 => Ok(()),
        _ => Err(EncodeError::Long),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assistant_that_dribbles_is_given_up_and_one_on_a_slow_line_is_not() {
        // What an assistant has taken that reads so many KiB a second and has a window of 6 MiB.
        let taken = |rate: u64, seconds: u64| ByteCount((6 << 20) + rate * 1024 * seconds);
        for (rate, given_up) in [(0, Some(127)), (3, Some(133)), (63, Some(8065)), (64, None)] {
            let at = (0..10_000u64)
                .find(|seconds| dawdles(Duration::from_secs(*seconds), taken(rate, *seconds)));
            assert_eq!(at, given_up, "{rate} KiB/s");
        }
    }
}
