//! Repairs: the standing mandate of a deal set. Whoever rebuilds a lost shard stores it for the rest of
//! its term at the deal's own price, paid out of the set's repair budget.
//!
//! The work of rebuilding is paid out of what was taken from whoever lost the shard, and out of nothing
//! else: to lose a shard and repair it under another name costs more than it brings.

use super::Context;
use super::deal::refuse_deal;
use super::due::Due;
use crate::keys;
use crate::ledger::{add, take};
use crate::quote;
use crate::refusal::{Refusal, Stop, require};
use crate::schedule;
use crate::state::{Deal, DealSetRecord, DealStatus, Repair};
use crate::units::{Address, Amount, DealId, PackId, Periods, ProviderId, ShardIndex};
use crate::view::ReadView;

impl<V: ReadView> Context<'_, V> {
    /// Anybody adds to a set's repair budget; what is left in the end goes to the set's owner.
    pub(super) fn top_up_repair(
        &mut self,
        sender: &Address,
        pack: &PackId,
        amount: Amount,
    ) -> Result<(), Stop> {
        require(amount != Amount::ZERO, || Refusal::Empty("the amount"))?;
        let mut set = self.ledger.deal_set(pack)?;
        require_living(pack, &set)?;
        self.ledger.debit(sender, amount)?;
        set.repair_budget = add(set.repair_budget, amount)?;
        self.ledger.put_deal_set(pack, &set)
    }

    /// The deal becomes the claiming provider's, with its price for the rest of the term: funded, and
    /// not accepted yet.
    pub(super) fn claim_repair(
        &mut self,
        sender: &Address,
        id: &DealId,
        provider: ProviderId,
    ) -> Result<(), Stop> {
        let mut repairer = self.by_worker(provider, sender)?;
        require(repairer.retiring.is_none(), || Refusal::State {
            what: format!("provider {provider}"),
            found: "retiring",
            needed: "not retiring",
        })?;
        let mut set = self.ledger.deal_set(&id.pack)?;
        let mut deal = self.ledger.deal(id)?;
        if !deal.status.is_lost() {
            return Err(refuse_deal(id, &deal, "failed, or its promise broken"));
        }
        if let Some(end) = deal.release {
            return Err(Refusal::TooEarly {
                what: "the repair of a shard whose provider still answers for it",
                first: end.after(crate::units::Blocks(1)),
                height: self.height,
            }
            .into());
        }
        require_living(&id.pack, &set)?;
        let threshold = set.proposal.repair_threshold;
        require(set.live < threshold, || Refusal::RepairNotDue {
            pack: id.pack,
            living: set.live,
            threshold,
        })?;
        require(deal.provider != provider, || Refusal::Mismatch {
            what: "the repairing provider",
            found: provider.to_string(),
            expected: "another than the one that had the shard last".into(),
        })?;
        let longest = self.longest_living(&id.pack, &set, provider)?;
        let rest = deal.unsettled().min(longest);
        require(rest > Periods(0), || {
            Refusal::Empty("the rest of the deal's term")
        })?;
        let price = deal.per_period.0.checked_mul(u128::from(rest.0));
        let escrow = Amount(price.ok_or(Refusal::Overflow)?);
        let work = std::mem::take(&mut deal.set_aside);
        let need = add(escrow, work)?;
        let left = set.repair_budget.checked_sub(need);
        set.repair_budget = left.ok_or_else(|| Refusal::RepairBudget {
            have: set.repair_budget,
            need,
            missing: need.saturating_sub(set.repair_budget),
        })?;
        let of_penalties = set.of_penalties.min(need);
        set.of_penalties = take(set.of_penalties, of_penalties, "a set's penalties")?;
        set.live = set.live.saturating_add(1);
        self.ledger.put_deal_set(&id.pack, &set)?;
        let economy = &self.parameters.economy;
        let deposit = quote::repair_deposit(economy, deal.lapsed)?;
        repairer.lock_above(deposit, economy.minimum_collateral)?;
        self.ledger.put_provider(&repairer)?;
        let due = schedule::repair_due(&self.parameters, self.height);
        self.schedule(Due::Repair(*id), due);
        let before = keys::provider_deal(deal.provider, id);
        self.ledger.put(before, None);
        self.ledger
            .put(keys::provider_deal(provider, id), Some(vec![1]));
        let claimed = Deal {
            provider,
            worker: *sender,
            term: Periods(deal.settled().0.saturating_add(rest.0)),
            status: DealStatus::Proposed,
            sector: None,
            piece_roots: Vec::new(),
            escrow,
            repair: Some(Repair {
                due,
                deposit,
                work,
                of_penalties,
                term: deal.term,
            }),
            ..deal
        };
        self.ledger.put_deal(id, &claimed)
    }

    /// Periods that the longest of the set's living deals still runs; the claiming provider may hold
    /// none of them.
    fn longest_living(
        &self,
        pack: &PackId,
        set: &DealSetRecord,
        provider: ProviderId,
    ) -> Result<Periods, Stop> {
        let mut longest = Periods(0);
        for index in 0..set.proposal.pack.n {
            let other = DealId {
                pack: *pack,
                shard: ShardIndex(index),
            };
            let deal = self.ledger.deal(&other)?;
            if !deal.status.is_living() {
                continue;
            }
            require(deal.provider != provider, || {
                Refusal::Exists(format!("deal {other} of provider {provider}"))
            })?;
            longest = longest.max(deal.unsettled());
        }
        Ok(longest)
    }

    /// A claimed repair was not proven by its last height.
    pub(super) fn repair_due(&mut self, id: &DealId) -> Result<(), Stop> {
        let deal = self.ledger.deal(id)?;
        let mut provider = self.ledger.provider(deal.provider)?;
        provider.record.broken = provider.record.broken.saturating_add(1);
        self.ledger.put_provider(&provider)?;
        self.fail_deal(id, deal, "its repair was not finished in time", None)
    }

    /// The repair's embed is proven: the work is paid, the deposit free.
    pub(super) fn finish_repair(&mut self, id: &DealId, deal: &mut Deal) -> Result<(), Stop> {
        let Some(repair) = deal.repair.take() else {
            return Ok(());
        };
        self.unschedule(Due::Repair(*id), repair.due);
        let mut provider = self.ledger.provider(deal.provider)?;
        provider.unlock(repair.deposit)?;
        provider.record.paid = add(provider.record.paid, repair.work)?;
        self.ledger.put_provider(&provider)?;
        self.ledger.credit(&provider.owner, repair.work)
    }

    /// A repair under way comes to nothing: its deposit burns, and what it took returns to the repair
    /// budget. The caller writes the deal.
    pub(super) fn abandon_repair(&mut self, id: &DealId, deal: &mut Deal) -> Result<(), Stop> {
        let Some(repair) = deal.repair.take() else {
            return Ok(());
        };
        self.unschedule(Due::Repair(*id), repair.due);
        let mut provider = self.ledger.provider(deal.provider)?;
        provider.forfeit(repair.deposit)?;
        self.ledger.put_provider(&provider)?;
        self.ledger.burn(repair.deposit)?;
        let mut set = self.ledger.deal_set(&id.pack)?;
        set.repair_budget = add(set.repair_budget, add(deal.escrow, repair.work)?)?;
        set.of_penalties = add(set.of_penalties, repair.of_penalties)?;
        deal.escrow = Amount::ZERO;
        deal.set_aside = repair.work;
        deal.term = repair.term;
        deal.lapsed = deal.lapsed.saturating_add(1);
        // Out of the deal first: the books never hold it twice.
        self.ledger.put_deal(id, deal)?;
        self.ledger.put_deal_set(&id.pack, &set)
    }

    /// What of a penalty goes into the repair budget: for the work, and for storing the shard for the
    /// rest of its term.
    pub(super) fn set_aside(
        &self,
        set: &DealSetRecord,
        deal: &mut Deal,
        penalty: Amount,
    ) -> Result<Amount, Stop> {
        let k = set.proposal.pack.k;
        let work = quote::repair_work(&self.parameters.economy, k, deal.length)?;
        let work = work.saturating_sub(deal.set_aside).min(penalty);
        deal.set_aside = add(deal.set_aside, work)?;
        let periods = u128::from(deal.unsettled().0);
        let storing = Amount(deal.per_period.0.saturating_mul(periods));
        let rest = take(penalty, work, "a penalty")?;
        add(work, storing.min(rest))
    }
}

/// Some deal of the set runs, or may yet: with the last one the budget is paid out.
fn require_living(pack: &PackId, set: &DealSetRecord) -> Result<(), Stop> {
    require(set.live > 0, || Refusal::State {
        what: format!("the deal set of pack {pack}"),
        found: "over",
        needed: "a deal that is not over",
    })
}
