//! Deals from their proposal to their end, promises and openings.

use super::super::play::{opening, piece_roots};
use super::books::{Deal, Demand, GIB, Model, Repair, Set, Status, need, per_gib};
use crate::message::{Acceptance, DealSetProposal, PieceOpening, SigningContext};
use crate::receipt::SignedReceipt;
use crate::units::{Address, DealId, PackId, SectorId, ShardIndex};

/// What the smallest piece takes.
const UNIT: u64 = 16 * 1024;

impl Deal {
    pub fn is_held(&self) -> bool {
        matches!(self.status, Status::Accepted | Status::Proven { .. })
    }

    pub fn lies_in(&self, sector: SectorId) -> bool {
        (self.provider, self.sector) == (sector.provider.0, Some(sector.number.0))
    }

    pub fn is_living(&self) -> bool {
        self.is_held() || self.status == Status::Proposed
    }

    fn unsettled(&self) -> u64 {
        self.term - self.paid - self.refunded
    }
}

impl Model {
    pub fn propose(&mut self, sender: &Address, proposal: &DealSetProposal) -> Option<()> {
        let pack = &proposal.pack;
        let id = pack.id().unwrap();
        need(pack.owner == *sender && !self.sets.contains_key(&id))?;
        let mut sum = proposal.repair_budget.0;
        for (index, terms) in proposal.terms.iter().enumerate() {
            need((1..=1 << 20).contains(&terms.term.0))?;
            need(terms.price.0 >= self.p.economy.minimum_price.0)?;
            need(terms.fund_by.0 >= self.height)?;
            let (height, promise) = (self.height, self.p.promise.0);
            let provider = self.provider(terms.provider.0)?;
            need(
                provider
                    .retiring
                    .is_none_or(|since| height <= since + promise),
            )?;
            let worker = provider.worker;
            let price = per_gib(terms.price.0, pack.shard_length.0.max(UNIT));
            let escrow = price.checked_mul(terms.term.0.into())?;
            sum = sum.checked_add(escrow)?;
            let shard = DealId {
                pack: id,
                shard: ShardIndex(index as u8),
            };
            let deal = Deal {
                owner: *sender,
                provider: terms.provider.0,
                worker,
                tier: terms.tier,
                length: pack.shard_length.0,
                rate: terms.price.0,
                price,
                term: terms.term.0,
                first_term: terms.term.0,
                first_provider: terms.provider.0,
                fund_by: terms.fund_by.0,
                status: Status::Proposed,
                sector: None,
                was_accepted: false,
                lie: false,
                locked: 0,
                paid: 0,
                refunded: 0,
                demands: Vec::new(),
                release: None,
                set_aside: 0,
                lapsed: 0,
                repair: None,
                escrow_went_back: false,
            };
            self.deals.insert(shard, deal);
        }
        self.debit(sender, sum)?;
        let set = Set {
            owner: *sender,
            at: self.height,
            n: pack.n,
            k: pack.k,
            threshold: proposal.repair_threshold,
            budget: proposal.repair_budget.0,
            fined: 0,
        };
        self.sets.insert(id, set);
        Some(())
    }

    fn of_set(&self, pack: &PackId) -> Vec<DealId> {
        let deals = self.deals.keys().filter(|id| id.pack == *pack);
        deals.copied().collect()
    }

    pub fn cancel(&mut self, sender: &Address, pack: &PackId) -> Option<()> {
        need(self.sets.get(pack)?.owner == *sender)?;
        let open: Vec<DealId> = self
            .of_set(pack)
            .into_iter()
            .filter(|id| {
                let deal = &self.deals[id];
                deal.status == Status::Proposed && deal.repair.is_none()
            })
            .collect();
        need(!open.is_empty())?;
        for id in open {
            self.finish(&id, Status::Cancelled);
        }
        Some(())
    }

    pub fn renew(
        &mut self,
        sender: &Address,
        pack: &PackId,
        periods: u64,
        least: u8,
    ) -> Option<()> {
        let set = self.sets.get(pack)?;
        need(set.owner == *sender)?;
        need((1..=1 << 20).contains(&periods) && (1..=set.n).contains(&least))?;
        let mut kept = 0;
        for id in self.of_set(pack) {
            let deal = &self.deals[&id];
            if !deal.is_held() {
                continue;
            }
            let settled = deal.paid + deal.refunded;
            let left = deal.term - settled;
            if left >= periods {
                kept += 1;
                continue;
            }
            let provider = &self.providers[deal.provider as usize];
            let goes_on = provider.retiring.is_none() && deal.repair.is_none();
            if !goes_on || provider.offer.price.0 > deal.rate {
                continue;
            }
            kept += 1;
            let cost = deal.price.checked_mul((periods - left).into())?;
            self.debit(sender, cost)?;
            self.deals.get_mut(&id)?.term = settled + periods;
        }
        need(kept >= least)
    }

    pub fn accept(&mut self, sender: &Address, id: u64, deals: &[Acceptance]) -> Option<()> {
        self.worked(id, sender)?;
        let mut accepted = 0;
        for acceptance in deals {
            let shard = acceptance.shard;
            let deal = self.deals.get(&shard)?;
            if deal.provider != id || deal.status != Status::Proposed {
                continue;
            }
            let rate = self.p.economy.deal_collateral_per_gib.0;
            let locked = per_gib(rate, deal.length.max(UNIT));
            need(self.free(id) >= locked)?;
            let levels = self.p.piece_levels;
            let true_roots = piece_roots(shard.shard.0, deal.length, false, levels);
            let deal = self.deals.get_mut(&shard)?;
            deal.locked = locked;
            deal.lie = acceptance.piece_roots != true_roots;
            deal.was_accepted = true;
            deal.status = Status::Accepted;
            accepted += 1;
        }
        need(accepted > 0)
    }

    /// A deal ends without blame, or its promise is broken.
    pub fn finish(&mut self, id: &DealId, status: Status) {
        let height = self.height;
        let deal = self.deals.get_mut(id).unwrap();
        let (owner, escrow) = (deal.owner, Self::escrow(deal));
        deal.status = status;
        if status != Status::Cancelled {
            deal.release = Some(height + self.p.dispute_window.0);
        }
        self.credit(&owner, escrow);
        self.last_of_set(&id.pack);
    }

    fn last_of_set(&mut self, pack: &PackId) {
        if self.live(pack) == 0 {
            let set = self.sets.get_mut(pack).unwrap();
            let (owner, budget) = (set.owner, std::mem::take(&mut set.budget));
            let fined = std::mem::take(&mut set.fined);
            self.burnt += fined;
            self.credit(&owner, budget - fined);
        }
    }

    /// A lost shard's deal becomes that of whoever takes it over.
    pub fn claim_repair(&mut self, sender: &Address, id: &DealId, by: u64) -> Option<()> {
        self.worked(by, sender)?;
        need(self.provider(by)?.retiring.is_none())?;
        let deal = self.deals.get(id)?;
        need(matches!(
            deal.status,
            Status::Failed | Status::Broken { .. }
        ))?;
        need(deal.release.is_none() && deal.provider != by)?;
        let living = self.live(&id.pack);
        need(living > 0 && living < self.sets[&id.pack].threshold)?;
        let others = self.of_set(&id.pack).into_iter().map(|id| &self.deals[&id]);
        let others: Vec<&Deal> = others.filter(|other| other.is_living()).collect();
        need(others.iter().all(|other| other.provider != by))?;
        let longest = others.iter().map(|other| other.unsettled()).max()?;
        let rest = deal.unsettled().min(longest);
        need(rest > 0)?;
        let work = deal.set_aside;
        let cost = deal.price * u128::from(rest) + work;
        let deposit = self.p.economy.repair_deposit.0 << deal.lapsed.min(20);
        need(self.free(by) >= deposit + self.p.economy.minimum_collateral.0)?;
        let due = self.height + self.p.promise.0;
        let set = self.sets.get_mut(&id.pack)?;
        set.budget = set.budget.checked_sub(cost)?;
        let fined = set.fined.min(cost);
        set.fined -= fined;
        let deal = self.deals.get_mut(id)?;
        let term = deal.term;
        deal.set_aside = 0;
        deal.provider = by;
        deal.worker = *sender;
        deal.term = deal.paid + deal.refunded + rest;
        deal.status = Status::Proposed;
        deal.sector = None;
        deal.was_accepted = false;
        deal.lie = false;
        deal.repair = Some(Repair {
            due,
            deposit,
            work,
            fined,
            term,
        });
        Some(())
    }

    /// A repair that comes to nothing: its deposit burns, and what it took goes back.
    fn abandon_repair(&mut self, id: &DealId) {
        let deal = self.deals.get_mut(id).unwrap();
        let Some(repair) = deal.repair.take() else {
            return;
        };
        let (provider, escrow) = (deal.provider, Self::escrow(deal));
        deal.set_aside = repair.work;
        deal.term = repair.term;
        deal.lapsed += 1;
        deal.escrow_went_back = true;
        let set = self.sets.get_mut(&id.pack).unwrap();
        set.budget += escrow + repair.work;
        set.fined += repair.fined;
        self.take(provider, repair.deposit);
        self.burnt += repair.deposit;
    }

    /// Repairs whose last height this is.
    pub fn end_repairs(&mut self) {
        let ids: Vec<DealId> = self.deals.keys().copied().collect();
        for id in ids {
            let repair = self.deals[&id].repair.as_ref();
            if repair.is_some_and(|repair| repair.due == self.height) {
                let provider = self.deals[&id].provider;
                self.provider(provider).unwrap().broken += 1;
                self.fail(&id, None);
            }
        }
    }

    /// A deal fails by its provider's fault.
    pub fn fail(&mut self, id: &DealId, finder: Option<Address>) {
        self.abandon_repair(id);
        let deal = self.deals.get_mut(id).unwrap();
        let penalty = std::mem::take(&mut deal.locked);
        let provider = deal.provider;
        self.take(provider, penalty);
        self.distribute(id, penalty, finder);
        let deal = self.deals.get_mut(id).unwrap();
        let (owner, mut escrow) = (deal.owner, Self::escrow(deal));
        if std::mem::take(&mut deal.escrow_went_back) {
            escrow = 0;
        }
        let demands = std::mem::take(&mut deal.demands);
        deal.status = Status::Failed;
        for demand in demands {
            self.credit(&demand.by, demand.deposit);
        }
        self.credit(&owner, escrow);
        self.last_of_set(&id.pack);
    }

    /// The finder's share, then what replacing the shard costs, then fire.
    fn distribute(&mut self, id: &DealId, penalty: u128, finder: Option<Address>) {
        let mut rest = penalty;
        if let Some(finder) = finder {
            let share = penalty * u128::from(self.p.economy.finder_thousandths) / 1000;
            self.credit(&finder, share);
            rest -= share;
        }
        let deal = &self.deals[id];
        let others = self.live(&id.pack) - u8::from(deal.is_living());
        if others > 0 {
            // First the work of fetching k shards, then storing the rest of the term.
            let k = u128::from(self.sets[&id.pack].k);
            let fetched = k * u128::from(deal.length.max(UNIT));
            let work = self.p.economy.repair_per_gib.0 * fetched / GIB;
            let work = work.saturating_sub(deal.set_aside).min(rest);
            let left = deal.term - deal.paid - deal.refunded;
            let storing = (rest - work).min(deal.price * u128::from(left));
            self.deals.get_mut(id).unwrap().set_aside += work;
            let set = self.sets.get_mut(&id.pack).unwrap();
            set.budget += work + storing;
            set.fined += work + storing;
            rest -= work + storing;
        }
        self.burnt += rest;
    }

    pub fn claim(&mut self, sender: &Address, signed: &SignedReceipt) -> Option<()> {
        let receipt = &signed.receipt;
        let id = DealId {
            pack: receipt.pack,
            shard: receipt.shard,
        };
        let at = self.sets.get(&id.pack)?.at;
        let last = at + self.p.promise.0 + self.p.dispute_window.0;
        let deal = self.deals.get(&id)?.clone();
        need(deal.status == Status::Broken { claimed: false } && self.height <= last)?;
        need(receipt.length.0 == deal.length && receipt.tier == deal.tier)?;
        need(receipt.provider.0 == deal.provider && receipt.price.0 == deal.rate)?;
        need(receipt.term.0 == deal.first_term)?;
        need(receipt.fund_by.0 == deal.fund_by)?;
        let provider = &self.providers[deal.provider as usize];
        // Whoever worked for the provider then, or before and not too long ago.
        let past = provider.past.iter();
        let mut workers: Vec<Address> = past
            .filter(|(_, until)| at <= until + self.p.promise.0)
            .map(|(worker, _)| *worker)
            .collect();
        workers.push(deal.worker);
        need(workers.iter().any(|worker| {
            let bytes = worker.as_bytes();
            SigningContext::Receipt.verify(self.network, bytes, receipt, &signed.signature)
        }))?;
        let penalty = if deal.was_accepted {
            deal.locked
        } else {
            self.provider(deal.provider)?.broken += 1;
            let rate = self.p.economy.deal_collateral_per_gib.0;
            per_gib(rate, deal.length.max(UNIT)).min(self.free(deal.provider))
        };
        self.deals.get_mut(&id)?.locked = 0;
        self.take(deal.provider, penalty);
        self.deals.get_mut(&id)?.status = Status::Broken { claimed: true };
        self.distribute(&id, penalty, Some(*sender));
        Some(())
    }

    pub fn demand(&mut self, sender: &Address, id: &DealId, quad: u64) -> Option<()> {
        let deal = self.deals.get(id)?;
        need(deal.is_held() && quad < deal.length.div_ceil(127))?;
        need(deal.demands.len() < 64)?;
        need(deal.demands.iter().all(|demand| demand.quad != quad))?;
        let apart = (self.p.opening_due.0 / 10).max(1);
        let due = self.height + self.p.opening_due.0;
        let last = deal.demands.last().map_or(0, |last| last.due + apart);
        let deposit = self.p.economy.opening_deposit.0;
        self.debit(sender, deposit)?;
        self.deals.get_mut(id)?.demands.push(Demand {
            quad,
            by: *sender,
            due: due.max(last),
            deposit,
        });
        Some(())
    }

    /// Whether an opening shows both roots of a deal's bytes, and then whether they agree.
    fn shown(&self, id: &DealId, shown: &PieceOpening) -> Option<bool> {
        let deal = &self.deals[id];
        let levels = self.p.piece_levels;
        let right = opening(id.shard.0, deal.length, deal.lie, shown.quad, levels)?;
        need(*shown == right && deal.was_accepted)?;
        Some(!(deal.lie && shown.quad == 0))
    }

    pub fn answer(&mut self, sender: &Address, id: &DealId, shown: &PieceOpening) -> Option<()> {
        let deal = self.deals.get(id)?.clone();
        self.worked(deal.provider, sender)?;
        let demand = deal.demands.first()?;
        need(shown.quad == demand.quad && self.height <= demand.due)?;
        if !self.shown(id, shown)? {
            self.fraud(id, demand.by);
            return Some(());
        }
        self.deals.get_mut(id)?.demands.remove(0);
        let burnt = demand.deposit.div_ceil(2);
        self.burnt += burnt;
        let owner = self.provider(deal.provider)?.owner;
        self.credit(&owner, demand.deposit - burnt);
        Some(())
    }

    pub fn show_fraud(
        &mut self,
        sender: &Address,
        id: &DealId,
        shown: &PieceOpening,
    ) -> Option<()> {
        let deal = self.deals.get(id)?;
        need(deal.is_held() || deal.locked > 0)?;
        need(!self.shown(id, shown)?)?;
        self.fraud(id, *sender);
        Some(())
    }

    fn fraud(&mut self, id: &DealId, finder: Address) {
        let provider = self.deals[id].provider;
        self.provider(provider).unwrap().frauds += 1;
        self.fail(id, Some(finder));
    }

    /// Promises, openings and dispute windows that end with this block.
    pub fn end_deals(&mut self) {
        let ids: Vec<DealId> = self.deals.keys().copied().collect();
        for id in &ids {
            let promised = self.sets[&id.pack].at + self.p.promise.0;
            let status = self.deals[id].status;
            let open = matches!(status, Status::Proposed | Status::Accepted);
            if promised == self.height && open && self.deals[id].repair.is_none() {
                if status == Status::Accepted {
                    let provider = self.deals[id].provider;
                    self.provider(provider).unwrap().broken += 1;
                }
                self.finish(id, Status::Broken { claimed: false });
            }
        }
        for id in &ids {
            let first = self.deals[id].demands.first();
            if let Some(demand) = first.filter(|demand| demand.due == self.height) {
                let by = demand.by;
                self.fraud(id, by);
            }
        }
        for id in &ids {
            let height = self.height;
            let deal = self.deals.get_mut(id).unwrap();
            if deal.release == Some(height) {
                match deal.demands.first() {
                    Some(demand) => deal.release = Some(demand.due + 1),
                    None => {
                        deal.locked = 0;
                        deal.release = None;
                    }
                }
            }
        }
    }
}
