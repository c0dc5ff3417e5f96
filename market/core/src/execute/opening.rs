//! Openings: a shard's bytes under its BLAKE3 root beside its nodes under its piece roots. Where
//! they disagree, the provider signed two roots of different bytes, which is fraud.

use super::Context;
use super::deal::{refuse_deal, shape_of};
use super::due::Due;
use crate::message::PieceOpening;
use crate::refusal::{Refusal, Stop, require, require_equal, require_range};
use crate::slice;
use crate::state::{Deal, Demand};
use crate::units::{Address, Amount, DealId};
use crate::view::{ReadView, ViewError};
use holdfast_proofs::piece::{OpeningError, PieceRoots, QUAD_BYTES};

impl<V: ReadView> Context<'_, V> {
    pub(super) fn demand_opening(
        &mut self,
        sender: &Address,
        id: &DealId,
        quad: u64,
    ) -> Result<(), Stop> {
        let mut deal = self.ledger.deal(id)?;
        if !deal.status.is_held() {
            return Err(refuse_deal(id, &deal, "accepted or proven"));
        }
        require(deal.demand.is_none(), || {
            Refusal::Exists(format!("a demand for an opening of deal {id}"))
        })?;
        require_range("the quad", quad, 0, last_quad(&deal))?;
        let parameters = &self.rules.parameters;
        let deposit = parameters.economy.opening_deposit;
        let due = self.height.after(parameters.opening_due);
        self.ledger.debit(sender, deposit)?;
        deal.demand = Some(Demand {
            quad,
            by: *sender,
            due,
            deposit,
        });
        self.schedule(Due::Opening(*id), due);
        self.ledger.put_deal(id, &deal)
    }

    /// The deposit pays for the answer; an answer that shows the fraud itself is one.
    pub(super) fn answer_opening(
        &mut self,
        sender: &Address,
        id: &DealId,
        opening: &PieceOpening,
    ) -> Result<(), Stop> {
        let mut deal = self.ledger.deal(id)?;
        let provider = self.by_worker(deal.provider, sender)?;
        let Some(demand) = deal.demand.clone() else {
            return Err(Refusal::State {
                what: format!("deal {id}"),
                found: "without a demand",
                needed: "a demand for an opening",
            }
            .into());
        };
        require_equal("the quad", &opening.quad, &demand.quad)?;
        require(self.height <= demand.due, || Refusal::TooLate {
            what: "the opening",
            last: demand.due,
            height: self.height,
        })?;
        if !self.agrees(id, &deal, opening)? {
            return self.fraud(id, deal, "its two roots are of different bytes", &demand.by);
        }
        deal.demand = None;
        self.unschedule(Due::Opening(*id), demand.due);
        self.ledger.put_deal(id, &deal)?;
        self.ledger.credit(&provider.owner, demand.deposit)
    }

    pub(super) fn submit_fraud(
        &mut self,
        sender: &Address,
        id: &DealId,
        opening: &PieceOpening,
    ) -> Result<(), Stop> {
        let deal = self.ledger.deal(id)?;
        // A deal that is over can still be shown a fraud while its collateral is there.
        if !deal.status.is_held() && deal.locked == Amount::ZERO {
            return Err(refuse_deal(
                id,
                &deal,
                "accepted or proven, or in its dispute window",
            ));
        }
        require(!self.agrees(id, &deal, opening)?, || Refusal::NoFraud)?;
        self.fraud(id, deal, "its two roots are of different bytes", sender)
    }

    /// The height of an answer has passed.
    pub(super) fn opening_due(&mut self, id: &DealId) -> Result<(), Stop> {
        let deal = self.ledger.deal(id)?;
        match deal.demand.clone() {
            Some(demand) => self.fraud(id, deal, "it did not open its shard", &demand.by),
            None => Ok(()),
        }
    }

    fn fraud(&mut self, id: &DealId, deal: Deal, why: &str, finder: &Address) -> Result<(), Stop> {
        let mut provider = self.ledger.provider(deal.provider)?;
        provider.record.frauds = provider.record.frauds.saturating_add(1);
        self.ledger.put_provider(&provider)?;
        self.fail_deal(id, deal, why, Some(finder))
    }

    /// Whether both roots are of the same bytes here.
    fn agrees(&self, id: &DealId, deal: &Deal, opening: &PieceOpening) -> Result<bool, Stop> {
        require_range("the quad", opening.quad, 0, last_quad(deal))?;
        let set = self.ledger.deal_set(&id.pack)?;
        let roots = &set.proposal.pack.shard_roots;
        let root = roots
            .get(id.shard.position())
            .ok_or_else(|| ViewError(format!("the deal set of pack {} lacks a shard", id.pack)))?;
        let start = opening.quad.saturating_mul(QUAD_BYTES as u64);
        let end = start.saturating_add(QUAD_BYTES as u64).min(deal.length.0);
        let bytes = slice::verify(
            root.as_bytes(),
            deal.length.0,
            &(start..end),
            &opening.slice,
        )
        .map_err(|_| Refusal::Opening("the shard root"))?;
        let mut quad = [0u8; QUAD_BYTES];
        for (to, from) in quad.iter_mut().zip(bytes) {
            *to = from;
        }
        let shape = shape_of(deal.length, self.rules.parameters.piece_levels)?;
        let piece = PieceRoots(deal.piece_roots.clone());
        match opening.opening.verify(&shape, &piece, opening.quad) {
            Ok(shown) => Ok(shown == quad),
            // Under the root, but no data at all: certainly not the shard's.
            Err(OpeningError::NotData(_)) => Ok(false),
            Err(_) => Err(Refusal::Opening("the piece roots").into()),
        }
    }
}

fn last_quad(deal: &Deal) -> u64 {
    deal.length.0.saturating_sub(1) / QUAD_BYTES as u64
}
