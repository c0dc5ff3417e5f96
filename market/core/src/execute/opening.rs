//! Openings: a shard's bytes under its BLAKE3 root beside its nodes under its piece roots. Where
//! they disagree, the provider signed two roots of different bytes, which is fraud.

use super::Context;
use super::deal::{refuse_deal, shape_of};
use super::due::Due;
use crate::ledger::take;
use crate::message::PieceOpening;
use crate::opening::{self, Roots, Unshown};
use crate::refusal::{Refusal, Stop, require, require_equal, require_range};
use crate::schedule;
use crate::state::{Deal, Demand};
use crate::units::{Address, Amount, DealId};
use crate::view::{ReadView, ViewError};

/// Demands that wait behind a deal's first, at most, beside the one that is added.
const MAX_WAITING: u64 = 62;

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
        require_range("the quad", quad, 0, last_quad(&deal))?;
        // No demand can keep another out: a provider that demands openings of its own would
        // otherwise be safe from everybody else's.
        let mut waiting = self.ledger.waiting_demands(id)?;
        let mut known = deal.demand.iter().chain(&waiting);
        require(known.all(|demand| demand.quad != quad), || {
            Refusal::Exists(format!("a demand for quad {quad} of deal {id}"))
        })?;
        let others = waiting.len() as u64;
        require_range("the number of demands that wait", others, 0, MAX_WAITING)?;
        let parameters = &self.parameters;
        let deposit = parameters.economy.opening_deposit;
        let last = waiting.last().or(deal.demand.as_ref());
        let due = schedule::opening_due(parameters, self.height, last.map(|last| last.due));
        self.ledger.debit(sender, deposit)?;
        let demand = Demand {
            quad,
            by: *sender,
            due,
            deposit,
        };
        if deal.demand.is_some() {
            waiting.push(demand);
            return self.ledger.put_waiting_demands(id, &waiting);
        }
        deal.demand = Some(demand);
        self.schedule(Due::Opening(*id), due);
        self.ledger.put_deal(id, &deal)
    }

    /// Half of the deposit pays for the answer and half burns, so that demanding openings of oneself
    /// costs; an answer that shows the fraud itself is one.
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
        self.unschedule(Due::Opening(*id), demand.due);
        let mut waiting = self.ledger.waiting_demands(id)?;
        deal.demand = None;
        if !waiting.is_empty() {
            let next = waiting.remove(0);
            self.schedule(Due::Opening(*id), next.due);
            deal.demand = Some(next);
            self.ledger.put_waiting_demands(id, &waiting)?;
        }
        self.ledger.put_deal(id, &deal)?;
        let burnt = Amount(demand.deposit.0.div_ceil(2));
        self.ledger.burn(burnt)?;
        let pay = take(demand.deposit, burnt, "a deposit")?;
        self.ledger.credit(&provider.owner, pay)
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
    fn agrees(&self, id: &DealId, deal: &Deal, shown: &PieceOpening) -> Result<bool, Stop> {
        require_range("the quad", shown.quad, 0, last_quad(deal))?;
        let set = self.ledger.deal_set(&id.pack)?;
        let roots = &set.proposal.pack.shard_roots;
        let root = roots
            .get(id.shard.position())
            .ok_or_else(|| ViewError(format!("the deal set of pack {} lacks a shard", id.pack)))?;
        let shape = shape_of(deal.length, self.parameters.piece_levels)?;
        let roots = Roots {
            shard: *root,
            length: deal.length,
            piece: &deal.piece_roots,
        };
        opening::agrees(&roots, &shape, shown).map_err(|unshown| {
            let root = match unshown {
                Unshown::NoSuchQuad(_) | Unshown::Shard => "the shard root",
                Unshown::Piece => "the piece roots",
            };
            Refusal::Opening(root).into()
        })
    }
}

fn last_quad(deal: &Deal) -> u64 {
    opening::quads(deal.length).saturating_sub(1)
}
