//! Promises: a receipt that was funded on its terms and not proven in time costs collateral.

use super::Context;
use super::deal::refuse_deal;
use crate::message::SigningContext;
use crate::quote;
use crate::receipt::SignedReceipt;
use crate::refusal::{Refusal, Stop, require, require_equal};
use crate::schedule;
use crate::state::DealStatus;
use crate::units::{Address, Amount, DealId, PackId, ShardIndex};
use crate::view::{ReadView, ViewError};
use std::collections::BTreeSet;

impl<V: ReadView> Context<'_, V> {
    /// The promised height has passed: what is not proven is broken, and its escrow goes back.
    pub(super) fn promises_due(&mut self, pack: &PackId) -> Result<(), Stop> {
        let set = self.ledger.deal_set(pack)?;
        for index in 0..set.proposal.pack.n {
            let id = DealId {
                pack: *pack,
                shard: ShardIndex(index),
            };
            self.break_promise(&id)?;
        }
        Ok(())
    }

    /// One deal whose promised height has passed.
    fn break_promise(&mut self, id: &DealId) -> Result<(), Stop> {
        let deal = self.ledger.deal(id)?;
        match deal.status {
            // A repair has a height of its own.
            DealStatus::Proposed | DealStatus::Accepted if deal.repair.is_none() => {
                // A set that a provider never agreed to is no stain on it.
                if deal.status == DealStatus::Accepted {
                    self.count_broken(deal.provider)?;
                }
                self.finish_deal(id, deal, DealStatus::Broken { claimed: false })
            }
            _ => Ok(()),
        }
    }

    fn count_broken(&mut self, provider: crate::units::ProviderId) -> Result<(), Stop> {
        let mut provider = self.ledger.provider(provider)?;
        provider.record.broken = provider.record.broken.saturating_add(1);
        self.ledger.put_provider(&provider)
    }

    /// Anyone who holds the receipt takes the penalty, until the dispute window is over.
    pub(super) fn claim_broken_promise(
        &mut self,
        sender: &Address,
        signed: &SignedReceipt,
    ) -> Result<(), Stop> {
        let receipt = &signed.receipt;
        let id = DealId {
            pack: receipt.pack,
            shard: receipt.shard,
        };
        let set = self.ledger.deal_set(&id.pack)?;
        let promised = schedule::promise_height(&self.parameters, set.at);
        // The claim does not wait for a block's end that has room for this promise: a backlog would
        // close the claim's window before it opened.
        if self.height > promised {
            self.break_promise(&id)?;
        }
        let mut deal = self.ledger.deal(&id)?;
        if deal.status != (DealStatus::Broken { claimed: false }) {
            return Err(refuse_deal(&id, &deal, "broken and not claimed yet"));
        }
        // The claim ends with the dispute window after the promised height.
        let last = promised.after(self.parameters.dispute_window);
        require(self.height <= last, || Refusal::TooLate {
            what: "the claim",
            last,
            height: self.height,
        })?;
        let lacking = || ViewError(format!("the deal set of pack {} lacks a shard", id.pack));
        let place = id.shard.position();
        let terms = set.proposal.terms.get(place).ok_or_else(lacking)?;
        let pack = &set.proposal.pack;
        let root = pack.shard_roots.get(place).ok_or_else(lacking)?;
        require_equal("the receipt's shard root", &receipt.root, root)?;
        require_equal("the receipt's length", &receipt.length, &pack.shard_length)?;
        require_equal("the receipt's provider", &receipt.provider, &terms.provider)?;
        require_equal("the receipt's price", &receipt.price, &terms.price)?;
        require_equal("the receipt's term", &receipt.term, &terms.term)?;
        require_equal(
            "the receipt's last height",
            &receipt.fund_by,
            &terms.fund_by,
        )?;
        require(receipt.tier == terms.tier, || Refusal::Mismatch {
            what: "the receipt's tier",
            found: format!("{:?}", receipt.tier),
            expected: format!("{:?}", terms.tier),
        })?;
        let parameters = &self.parameters;
        let before = self.ledger.past_workers(deal.provider)?;
        let earlier = before
            .iter()
            .filter(|past| set.at <= schedule::last_funding(parameters, past.until))
            .map(|past| past.worker);
        let mut workers: BTreeSet<Address> = earlier.collect();
        workers.insert(deal.worker);
        let signed_by_worker = workers.iter().any(|worker| {
            SigningContext::Receipt.verify(
                self.rules.network,
                worker.as_bytes(),
                receipt,
                &signed.signature,
            )
        });
        require(signed_by_worker, || Refusal::Signature)?;
        let mut provider = self.ledger.provider(deal.provider)?;
        let penalty = if deal.piece_roots.is_empty() {
            // Never accepted: nothing was locked for it, so it comes from what is free.
            provider.record.broken = provider.record.broken.saturating_add(1);
            let full = quote::deal_collateral(&parameters.economy, deal.length)?;
            provider.fine(full)?
        } else {
            provider.forfeit(deal.locked)?;
            deal.locked
        };
        self.ledger.put_provider(&provider)?;
        deal.locked = Amount::ZERO;
        deal.status = DealStatus::Broken { claimed: true };
        self.distribute(&mut deal, &id, penalty, Some(sender))?;
        self.ledger.put_deal(&id, &deal)
    }
}
