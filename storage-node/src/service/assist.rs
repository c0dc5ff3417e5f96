//! Coding a pack and spreading its shards. The client names the targets, but it is the ledger that
//! says who is a provider and where: a node that dialled whatever it is told would lend its line and
//! its address to anybody.

use super::{Service, TURN_TIME};
use futures::stream::{self, StreamExt};
use holdfast_market_core::message::ProviderOffer;
use holdfast_market_core::units::{NodeKey, ProviderId};
use holdfast_wire::ledger::{LedgerClient, LedgerError};
use holdfast_wire::protocol::{AssistPut, PutShard, Refusal, RefusalCode, Response, ShardTarget};
use holdfast_wire::quic::{Body, Reply, serve::ReplyError};
use holdfast_wire::transfer::assist;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Targets of one upload that are looked up at once: the ledger answers this node's own questions
/// over the same connections.
const LOOK_UPS: usize = 8;
/// The ledger has so long to say where the targets are: the client's stripes are on their way.
const LOOK_UP: Duration = Duration::from_secs(5);

/// What the ledger says of each provider, or why it says nothing.
type Offers = BTreeMap<ProviderId, Result<ProviderOffer, String>>;

impl Service {
    /// Codes a pack and spreads its shards; those for this node are taken in like any other.
    pub(super) async fn assist(
        &self,
        put: AssistPut,
        body: Body,
        reply: Reply,
    ) -> Result<(), ReplyError> {
        let me = self.shared.node;
        let shards = match assist::layout(&put, &body) {
            Ok(layout) => u32::from(layout.n()),
            Err(refusal) => return reply.refuse(refusal).await,
        };
        let coding = self.turns.coding.take(body.pace(), shards, TURN_TIME).await;
        let Some(_turn) = coding else {
            let refusal = Refusal::new(
                RefusalCode::Busy,
                "this node is coding as many packs as it can; ask another, or again in a moment",
            );
            return reply.refuse(refusal).await;
        };
        let offers = offers(&self.ledger, me, &put.targets).await;
        // The ledger's time is not the asker's.
        body.pace().begin();
        let refusal = |target: &ShardTarget| refusal(target, offers.get(&target.provider));
        let local = |put: PutShard, body: Body| async move { self.put_shard(&put, body).await };
        match assist::assist(&self.peers, me, put, body, refusal, local).await {
            Ok(outcomes) => reply.send(&Response::Assisted(outcomes)).await,
            Err(refusal) => reply.refuse(refusal).await,
        }
    }
}

/// Asks the ledger for every provider among the targets, several at once, and all in [`LOOK_UP`].
async fn offers(ledger: &LedgerClient, me: NodeKey, targets: &[ShardTarget]) -> Offers {
    let asked: BTreeSet<ProviderId> = targets
        .iter()
        .filter(|target| target.node != me)
        .map(|target| target.provider)
        .collect();
    let by = Instant::now() + LOOK_UP;
    let asking = asked.into_iter().map(|provider| async move {
        let found = match tokio::time::timeout_at(by, ledger.provider(provider)).await {
            Ok(Ok(found)) => Ok(found.offer),
            Ok(Err(LedgerError::NotFound(_))) => {
                Err(format!("provider {provider} is not on the ledger"))
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, %provider, "a target was not looked up");
                Err(silent(provider))
            }
            Err(_) => Err(silent(provider)),
        };
        (provider, found)
    });
    stream::iter(asking)
        .buffer_unordered(LOOK_UPS)
        .collect()
        .await
}

fn silent(provider: ProviderId) -> String {
    format!("the assisting node's ledger does not say where provider {provider} is; try again")
}

/// Why a target is not dialled; nothing where it is what the ledger states.
fn refusal(target: &ShardTarget, known: Option<&Result<ProviderOffer, String>>) -> Option<String> {
    let provider = target.provider;
    match known {
        None => Some(silent(provider)),
        Some(Err(sentence)) => Some(sentence.clone()),
        Some(Ok(offer)) if offer.node != target.node => Some(format!(
            "provider {provider} has another QUIC identity on the ledger"
        )),
        Some(Ok(offer)) if offer.endpoint != target.endpoint => Some(format!(
            "provider {provider} is at {} by the ledger, not at {}",
            offer.endpoint, target.endpoint
        )),
        Some(Ok(_)) => None,
    }
}
