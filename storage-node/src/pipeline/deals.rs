//! Deals: acceptance with piece roots, openings, and shards whose deals are over.

use super::layout::{living_pieces, piece_of, placed_deals, standing};
use super::{Pipeline, Signer, View};
use crate::error::NodeError;
use crate::journal::ShardRecord;
use crate::service::read::open_quad;
use crate::work::Lane;
use holdfast_market_core::message::{Acceptance, Body};
use holdfast_market_core::receipt::Receipt;
use holdfast_market_core::state::{DealStatus, Demand, SectorStatus};
use holdfast_market_core::units::{Blocks, DealId};
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::piece::PieceRoots;
use holdfast_wire::ledger::ProviderDeal;
use std::collections::{BTreeMap, BTreeSet};

/// Deals accepted in one message at most.
const ACCEPTANCES: usize = 32;
/// A shard is dropped so many blocks after its last height, so that no deal set can be in the air.
const MARGIN: Blocks = Blocks(5);

impl Pipeline {
    /// Tells the service what room there is, and drops shards that nothing binds any more.
    pub(crate) async fn keep_shards(&mut self, view: &View) -> Result<(), NodeError> {
        let placed = placed_deals(view);
        let mut promises = Vec::new();
        let mut settled: BTreeSet<DealId> = placed.clone();
        let records = self.shared.journal.shards()?;
        for (deal, record) in &records {
            if view.deals.contains_key(deal) && !view.is_living(*deal) {
                settled.insert(*deal);
            } else if !placed.contains(deal) {
                let piece = piece_of(&self.shared.parameters, *deal, record)?;
                promises.push((record.sector, piece));
            }
        }
        let living = living_pieces(&self.shared.parameters, view)?;
        let mut sectors = BTreeMap::new();
        for (number, sector) in &view.sectors {
            let usable = match sector.status {
                SectorStatus::Active { .. } => true,
                // The staging area: room that is proven within a few blocks, long before a
                // promise falls due.
                SectorStatus::PreCommitted { .. } => self
                    .shared
                    .journal
                    .sector(*number)?
                    .is_some_and(|record| record.seal_proofs.is_some()),
                SectorStatus::Faulty { .. } | SectorStatus::Terminated { .. } => false,
            };
            if usable && !self.unreadable.contains(number) {
                sectors.insert(*number, standing(sector, &living)?);
            }
        }
        let homes = self.shared.room.refresh(sectors, promises, &settled);
        let known = records.iter().map(|(deal, _)| *deal).collect();
        self.look_aside(view, &known)?;
        for (deal, record) in records {
            if let Some(home) = homes.get(&deal).filter(|home| **home != record.sector) {
                let moved = ShardRecord {
                    sector: *home,
                    ..record
                };
                self.shared.journal.put_shard(deal, &moved)?;
            } else {
                self.drop_when_over(view, deal, record, &placed)?;
            }
        }
        Ok(())
    }

    /// Removes shards that the journal did not know at the start and that nobody can have a claim
    /// to: they have no deal, and no receipt from before the start can be funded any more.
    fn look_aside(&mut self, view: &View, known: &BTreeSet<DealId>) -> Result<(), NodeError> {
        let started = *self.started.get_or_insert(view.height);
        let promised = started.after(self.shared.parameters.promise).after(MARGIN);
        // They are set aside at the start and never later: the folder is read once.
        let aside = match &mut self.aside {
            Some(aside) => aside,
            unread => {
                let found = self.shared.shards.aside()?;
                unread.insert(found.into_iter().map(|deal| (deal, false)).collect())
            }
        };
        let mut gone = Vec::new();
        for (deal, told) in aside.iter_mut() {
            let path = self.shared.shards.aside_path(*deal);
            if known.contains(deal) || !view.is_living(*deal) && view.height > promised {
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(NodeError::file(&path)(error));
                    }
                    // One that is gone was removed before another could not be.
                    _ => gone.push(*deal),
                }
            } else if view.is_living(*deal) && !std::mem::replace(told, true) {
                tracing::error!(
                    path = %path.display(),
                    "the journal does not know a shard that has a deal: it is an older copy; stop the node and put the newest journal back"
                );
            }
        }
        aside.retain(|deal, _| !gone.contains(deal));
        Ok(())
    }

    fn drop_when_over(
        &self,
        view: &View,
        deal: DealId,
        record: ShardRecord,
        placed: &BTreeSet<DealId>,
    ) -> Result<(), NodeError> {
        let (gone, why) = match view.deals.get(&deal) {
            None => {
                // Or another repairs what this node has lost; a group that holds the piece cannot be
                // rewritten without it.
                let last = record.receipt.receipt.fund_by.after(MARGIN);
                (
                    view.height > last && !placed.contains(&deal),
                    "no deal set was funded in time that names this node for it",
                )
            }
            Some(_) if view.is_living(deal) => (false, ""),
            Some(_) => match record.ended {
                None => {
                    let ended = ShardRecord {
                        ended: Some(view.height),
                        ..record
                    };
                    return self.shared.journal.put_shard(deal, &ended);
                }
                // Openings may be demanded until the dispute window is over, and a group that
                // holds the piece cannot be rewritten without it.
                Some(ended) => {
                    let last = ended
                        .after(self.shared.parameters.dispute_window)
                        .after(MARGIN);
                    (
                        view.height > last && !placed.contains(&deal),
                        "its deal is over",
                    )
                }
            },
        };
        if !gone {
            return Ok(());
        }
        tracing::info!(shard = %deal, why, "a shard is dropped");
        // The record first: bytes without a record are set aside at the next start, and go.
        self.shared.journal.forget_shard(deal)?;
        crash_point("node.shard.forgotten");
        self.shared.room.release(deal);
        self.shared.shards.delete(deal)
    }

    /// Accepts every funded deal whose shard is here on the receipt's terms.
    pub(crate) async fn accept_deals(&mut self, view: &View) -> Result<(), NodeError> {
        let Some(provider) = &view.provider else {
            return Ok(());
        };
        let mut ready = Vec::new();
        let mut unhashed = Vec::new();
        for deal in view.deals.values() {
            if deal.deal.status != DealStatus::Proposed {
                continue;
            }
            let Some(record) = self.shared.journal.shard(deal.id)? else {
                continue;
            };
            if !stands_on(deal, &record.receipt.receipt) {
                tracing::debug!(deal = %deal.id, "a deal set does not stand on our receipt's terms");
                continue;
            }
            match record.piece_roots {
                Some(piece_roots) => ready.push(Acceptance {
                    shard: deal.id,
                    piece_roots,
                }),
                None => unhashed.push(deal.id),
            }
        }
        if !unhashed.is_empty() {
            let shared = self.shared.clone();
            // One damaged file does not keep the other shards from being accepted.
            let job = move || {
                let hashed = unhashed.iter().map(|deal| hash_piece(&shared, *deal));
                hashed.fold(Ok(()), Result::and)
            };
            self.work
                .start(Lane::Proof, "piece roots", view.height, job);
        }
        if ready.is_empty() || self.outbox.waits_for_any("accept") {
            return Ok(());
        }
        ready.truncate(ACCEPTANCES);
        let one = ready.first().cloned();
        let body = Body::AcceptDeals {
            provider: provider.id,
            deals: ready,
        };
        let sent = self
            .post(view.height, Signer::Worker, "accept", body, None)
            .await?;
        // All together were refused a moment ago: one that is refused must not hold up the rest.
        if !sent && let Some(one) = one {
            let purpose = format!("accept/{}", one.shard);
            let body = Body::AcceptDeals {
                provider: provider.id,
                deals: vec![one],
            };
            self.post(view.height, Signer::Worker, &purpose, body, None)
                .await?;
        }
        Ok(())
    }

    /// Opens what was demanded on the ledger: silence would be fraud.
    pub(crate) async fn answer_openings(&mut self, view: &View) -> Result<(), NodeError> {
        let mut first = Ok(());
        for deal in view.deals.values() {
            if let Some(demand) = &deal.deal.demand {
                // A shard that cannot be opened does not keep the others' demands waiting.
                let done = self.answer_opening(view, deal.id, demand).await;
                first = first.and(done);
            }
        }
        first
    }

    async fn answer_opening(
        &mut self,
        view: &View,
        deal: DealId,
        demand: &Demand,
    ) -> Result<(), NodeError> {
        let purpose = format!("opening/{deal}/{}", demand.quad);
        if self.outbox.waits(&purpose) {
            return Ok(());
        }
        let Some(record) = self.shared.journal.shard(deal)? else {
            return Err(NodeError::State(format!(
                "an opening of shard {deal} is demanded, of which this node has no bytes"
            )));
        };
        let (shared, quad) = (self.shared.clone(), demand.quad);
        let opening = tokio::task::spawn_blocking(move || open_quad(&shared, deal, &record, quad))
            .await
            .map_err(|error| NodeError::State(error.to_string()))??;
        let body = Body::AnswerOpening { deal, opening };
        let due = Some(demand.due);
        self.post(view.height, Signer::Worker, &purpose, body, due)
            .await?;
        Ok(())
    }
}

/// Whether the ledger's deal is the one that was promised.
fn stands_on(deal: &ProviderDeal, receipt: &Receipt) -> bool {
    let terms = &deal.terms;
    deal.root == receipt.root
        && deal.length == receipt.length
        && terms.provider == receipt.provider
        && terms.tier == receipt.tier
        && terms.price == receipt.price
        && terms.term == receipt.term
        && terms.fund_by == receipt.fund_by
}

/// Computes a shard's piece roots from bytes that are checked against its BLAKE3 root, so that both
/// roots are of the same bytes.
fn hash_piece(shared: &crate::service::Shared, deal: DealId) -> Result<(), NodeError> {
    let Some(record) = shared.journal.shard(deal)? else {
        return Ok(());
    };
    let receipt = &record.receipt.receipt;
    let bytes = shared
        .shards
        .read_checked(deal, receipt.root, receipt.length)?;
    let roots = PieceRoots::compute(
        bytes.as_slice(),
        receipt.length.0,
        shared.parameters.piece_levels,
    )
    .map_err(|error| NodeError::State(format!("shard {deal}: {error}")))?;
    // The record may have changed while this took its time.
    let Some(record) = shared.journal.shard(deal)? else {
        return Ok(());
    };
    crash_point("node.piece-roots.made");
    let hashed = ShardRecord {
        piece_roots: Some(roots.0),
        ..record
    };
    shared.journal.put_shard(deal, &hashed)?;
    crash_point("node.piece-roots.recorded");
    Ok(())
}
