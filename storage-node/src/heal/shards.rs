//! A damaged shard: had again from k others of its pack, which their providers serve.

use crate::error::NodeError;
use crate::pipeline::{Pipeline, View};
use crate::service::Shared;
use crate::work::Lane;
use holdfast_market_core::units::DealId;
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::quic::Peers;
use holdfast_wire::transfer::{PeerFault, Purse, ShardSource, rebuild_shard};
use std::sync::Arc;

impl Pipeline {
    /// Begins to have the next damaged shard again, where its deal set says what it was made of.
    pub(super) fn heal_shards(&mut self, view: &View) -> Result<(), NodeError> {
        for (deal, reason) in self.shared.shards.damaged() {
            let Some(record) = self.shared.journal.shard(deal)? else {
                self.shared.shards.mended(deal);
                continue;
            };
            // Until its deal set is on the ledger nobody says who has the others.
            if !view.deals.contains_key(&deal) {
                continue;
            }
            let (shared, peers) = (self.shared.clone(), self.peers.clone());
            let purse = Some(self.purse.clone());
            let (ledger, healed) = (self.ledger.clone(), self.healed.clone());
            let (runtime, height) = (tokio::runtime::Handle::current(), view.height);
            let job = move || {
                let receipt = &record.receipt.receipt;
                let whole = shared
                    .shards
                    .read_checked(deal, receipt.root, receipt.length);
                if whole.is_ok() {
                    // A moment's trouble of the disk.
                    shared.shards.mended(deal);
                    return Ok(());
                }
                // On the runtime's own threads: those that it starts for this would inherit the low
                // priority of the job, and keep it.
                let (say, hear) = std::sync::mpsc::channel();
                runtime.spawn(async move {
                    let _ = say.send(rebuild(&shared, &peers, purse, &ledger, deal).await);
                });
                let faults = hear.recv().map_err(|_| NodeError::Rebuild {
                    shard: deal,
                    reason: "the node is ending".into(),
                })??;
                for fault in faults {
                    tracing::warn!(shard = %deal, %fault, "another shard was not read");
                }
                healed.say(format!(
                    "shard {deal} was rebuilt from others of its pack at height {height}; {reason}"
                ));
                Ok(())
            };
            let name = format!("rebuild shard {deal}");
            if self.work.start(Lane::Heal, &name, view.height, job) {
                break;
            }
        }
        Ok(())
    }
}

/// Has a shard again from k others of its pack: whole, durable and of the root that was promised,
/// or not at all. Answers which holders failed; they were gone around.
///
/// # Errors
/// Fewer than k that can be read, a ledger that does not answer, a disk that refuses.
pub async fn rebuild(
    shared: &Shared,
    peers: &Peers,
    purse: Option<Arc<Purse>>,
    ledger: &LedgerClient,
    deal: DealId,
) -> Result<Vec<PeerFault>, NodeError> {
    let failed = |error: &dyn std::fmt::Display| NodeError::Rebuild {
        shard: deal,
        reason: error.to_string(),
    };
    let set = ledger
        .deal_set(deal.pack)
        .await
        .map_err(|error| failed(&error))?;
    let providers = ledger.providers().await.map_err(|error| failed(&error))?;
    let others = set.deals.iter().zip(0..).filter_map(|(other, index)| {
        let provider = providers.iter().find(|one| one.id == other.provider)?;
        Some(ShardSource {
            shard: holdfast_market_core::units::ShardIndex(index),
            provider: provider.id,
            node: provider.offer.node,
            endpoint: provider.offer.endpoint.clone(),
        })
    });
    let path = shared.shards.path(deal);
    let header = &set.proposal.pack;
    let faults = rebuild_shard(peers, purse, header, deal.shard, others.collect(), &path)
        .await
        .map_err(|error| failed(&error))?;
    shared.shards.mended(deal);
    Ok(faults)
}
