//! The pipeline: at each height it compares what the ledger shows with what the journal and the
//! disk hold, and takes the next step of everything that waits. Nothing else drives it, so it may
//! be killed between any two steps and goes on from there.

mod account;
mod deals;
pub(crate) mod embed;
mod layout;
mod retire;
pub(crate) mod seal;
mod spacetime;
#[cfg(test)]
mod tests;
mod view;
mod vouchers;

pub use view::View;

use crate::error::NodeError;
use crate::heal::{Healed, Scrub};
use crate::outbox::{Outbox, ledger};
use crate::progress::Sealings;
use crate::prover::Prover;
use crate::report::NodeReport;
use crate::sectors::Sectors;
use crate::service::Shared;
use crate::work::Work;
use ed25519_dalek::SigningKey;
use holdfast_market_core::message::{Body, ProviderOffer};
use holdfast_market_core::units::{Beacon, DealId, Height, ProviderId, SectorNumber};
use holdfast_proofs::sector::SectorClass;
use holdfast_wire::ledger::LedgerClient;
use holdfast_wire::protocol::NodeStatus;
use holdfast_wire::quic::Peers;
use holdfast_wire::transfer::Purse;
use spacetime::DeadlineProofs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// What the node is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The class of its sectors.
    pub class: SectorClass,
    /// How many.
    pub sectors: u32,
    /// Whether it is to leave the network.
    pub retire: bool,
}

/// What the pipeline is made of.
pub struct Pipeline {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ledger: LedgerClient,
    pub(crate) owner: SigningKey,
    pub(crate) offer: ProviderOffer,
    pub(crate) goal: Goal,
    pub(crate) outbox: Outbox,
    pub(crate) work: Work,
    pub(crate) sectors: Arc<Sectors>,
    pub(crate) prover: Arc<Prover>,
    pub(crate) proofs: DeadlineProofs,
    /// The other nodes, which have what makes a damaged shard again.
    pub(crate) peers: Peers,
    /// Pays those that want to be paid for it.
    pub(crate) purse: Arc<Purse>,
    /// Where the slow look at everything is.
    pub(crate) scrub: Scrub,
    /// What was put right lately.
    pub(crate) healed: Healed,
    /// How far the seals under way are.
    pub(crate) sealing: watch::Sender<Sealings>,
    /// Where the report for `node status` is kept up to date.
    pub(crate) report: PathBuf,
    pub(crate) provider: watch::Sender<Option<ProviderId>>,
    pub(crate) status: watch::Sender<NodeStatus>,
    pub(crate) beacons: BTreeMap<Height, Beacon>,
    /// What could not be done at the last height, for the report.
    pub(crate) troubles: BTreeMap<&'static str, String>,
    /// Sectors whose files were found unreadable, until they can be read again.
    pub(crate) unreadable: BTreeSet<SectorNumber>,
    /// The first height that was seen.
    pub(crate) started: Option<Height>,
    /// Shards that were set aside at the start, once they are read, and whether it was said of one
    /// that it has a deal.
    pub(crate) aside: Option<BTreeMap<DealId, bool>>,
}

/// Who signs a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    /// Collateral and registration.
    Owner,
    /// Everything else.
    Worker,
}

impl Pipeline {
    /// Follows the ledger until `stop` is done.
    pub async fn follow(&mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut height = Height(0);
        let mut answering = true;
        loop {
            let next = Height(height.0.saturating_add(1));
            let work = self.work.clone();
            tokio::select! {
                () = &mut stop => return,
                // A job has ended: its result may be sent without waiting for the next block.
                () = work.ended(), if height > Height(0) => {}
                status = self.ledger.wait(next) => match status {
                    Ok(status) => {
                        if !answering {
                            tracing::info!(height = %status.height, "the ledger answers again");
                        }
                        answering = true;
                        if status.height < next {
                            continue;
                        }
                        height = status.height;
                    }
                    Err(error) => {
                        if answering {
                            tracing::warn!(%error, "the ledger does not answer; the node goes on asking");
                            let done = self.forget_readers();
                            self.note("vouchers", done);
                        }
                        answering = false;
                        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                        continue;
                    }
                },
            }
            tokio::select! {
                () = &mut stop => return,
                () = self.tick(height) => {}
            }
        }
    }

    /// Takes every step that can be taken at this height.
    pub async fn tick(&mut self, height: Height) {
        // Outcomes before state: what is forgotten here is visible in the state read after it.
        let refreshed = self.outbox.refresh(&self.shared.journal, height).await;
        // Whatever could not be looked up still waits, and nothing is sent for it meanwhile.
        self.note("messages", refreshed);
        let view = match self.read_view(height).await {
            Ok(view) => {
                self.troubles.remove("ledger");
                view
            }
            Err(error) => {
                self.note("ledger", Err(error));
                return;
            }
        };
        if let Some(provider) = &view.provider {
            let leaving = self.goal.retire || provider.retiring.is_some();
            self.shared.leaving.store(leaving, Ordering::SeqCst);
            self.provider.send_if_modified(|own| {
                let known = *own == Some(provider.id);
                *own = Some(provider.id);
                !known
            });
        }
        // Deadlines first, whatever else there is to do.
        let done = self.prove_deadlines(&view).await;
        self.note("deadlines", done);
        let done = self.keep_account(&view).await;
        self.note("account", done);
        if view.provider.is_some() {
            let done = self.keep_shards(&view).await;
            let counted = self.note("shards", done);
            let done = self.embed_all(&view).await;
            self.note("embeds", done);
            let done = self.accept_deals(&view).await;
            self.note("deals", done);
            let done = self.answer_openings(&view).await;
            self.note("openings", done);
            let done = self.redeem_vouchers(&view).await;
            self.note("vouchers", done);
            // Before new sectors: keys that are made again take the place of a seal.
            let done = self.heal(&view);
            self.note("healing", done);
            let done = self.keep_sectors(&view).await;
            self.note("sectors", done);
            // Only where it is known what room is promised.
            if counted {
                let done = self.leave(&view).await;
                self.note("leaving", done);
            }
        }
        let done = self.publish(&view);
        self.note("report", done);
    }

    /// Remembers or forgets a step's trouble; it is logged when it is new.
    fn note(&mut self, step: &'static str, done: Result<(), NodeError>) -> bool {
        match done {
            Ok(()) => {
                self.troubles.remove(step);
                true
            }
            Err(error) => {
                let text = error.to_string();
                if self.troubles.get(step) != Some(&text) {
                    tracing::warn!(step, error = %text, "a step could not be taken");
                }
                self.troubles.insert(step, text);
                false
            }
        }
    }

    /// Sends a message for a purpose; see [`Outbox::post`].
    pub(crate) async fn post(
        &mut self,
        height: Height,
        signer: Signer,
        purpose: &str,
        body: Body,
        last: Option<Height>,
    ) -> Result<bool, NodeError> {
        let key = match signer {
            Signer::Owner => &self.owner,
            Signer::Worker => &self.shared.worker,
        };
        self.outbox
            .post(&self.shared.journal, height, key, purpose, body, last)
            .await
    }

    /// The beacon of a height that has passed.
    pub(crate) async fn beacon(&mut self, height: Height) -> Result<Beacon, NodeError> {
        if let Some(beacon) = self.beacons.get(&height) {
            return Ok(*beacon);
        }
        let beacon = self.ledger.beacon(height).await.map_err(ledger)?;
        if self.beacons.len() >= 256 {
            self.beacons.pop_first();
        }
        self.beacons.insert(height, beacon);
        Ok(beacon)
    }

    /// Says how the node is: to peers, and in the report's file.
    fn publish(&mut self, view: &View) -> Result<(), NodeError> {
        let report = NodeReport::of(self, view)?;
        self.status.send_replace(report.status.clone());
        report.write(&self.report)
    }
}
