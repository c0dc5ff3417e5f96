//! Spacetime: proofs at a deadline, and what follows when it closes.

use super::Context;
use super::due::Due;
use super::sector::MAX_SECTORS;
use crate::challenge;
use crate::ledger::{add, take};
use crate::message::SpacetimeProof;
use crate::quote;
use crate::refusal::{Refusal, Stop, require, require_range};
use crate::schedule;
use crate::state::{DealStatus, Sector, SectorStatus, Vesting};
use crate::units::{Address, Amount, ByteCount, Deadline, Period, Periods, ProviderId, SectorId};
use crate::view::{ReadView, ViewError};
use holdfast_proofs::statement::Statement;

/// A sector whose deadline closes.
struct Closing {
    sector: Sector,
    period: Period,
    proven: bool,
    /// Bytes of it under deals that were paid now.
    deal_bytes: u64,
    /// What of their payment was burnt: the bonus for deals is at most this.
    burnt: Amount,
}

impl<V: ReadView> Context<'_, V> {
    pub(super) fn prove_spacetime(
        &mut self,
        sender: &Address,
        provider: ProviderId,
        period: Period,
        deadline: Deadline,
        proofs: &[SpacetimeProof],
    ) -> Result<(), Stop> {
        let parameters = &self.parameters;
        self.by_worker(provider, sender)?;
        require_range("the number of proofs", proofs.len() as u64, 1, MAX_SECTORS)?;
        require(proofs.is_sorted_by(|a, b| a.sector < b.sector), || {
            Refusal::NotAscending("sectors")
        })?;
        require_range(
            "the deadline",
            deadline.0.into(),
            0,
            parameters.deadlines.saturating_sub(1).into(),
        )?;
        let window = schedule::window(parameters, period, deadline);
        self.require_between("a proof for this deadline", window.open, window.close)?;
        let beacon = self.ledger.beacon(window.open)?;
        let mut batch = Vec::with_capacity(proofs.len());
        let mut sectors = Vec::with_capacity(proofs.len());
        for proof in proofs {
            let id = SectorId {
                provider,
                number: proof.sector,
            };
            let sector = self.sector_for_period(id, period, deadline)?;
            let statement = challenge::spacetime_statement(&sector, period, &beacon);
            batch.push((Statement::Spacetime(statement), vec![proof.proof]));
            sectors.push(sector);
        }
        let verdict = self.rules.verifier.verify_all(&batch);
        verdict.map_err(|(number, why)| match sectors.get(number) {
            Some(sector) => Stop::from(Refusal::Proof {
                sector: sector.id,
                why,
            }),
            None => ViewError(format!("there is no proof {number} in the message")).into(),
        })?;
        self.proofs.spacetime = self.proofs.spacetime.saturating_add(batch.len() as u64);
        for mut sector in sectors {
            sector.proven = Some(period);
            sector.status = SectorStatus::Active { from: period };
            self.ledger.put_sector(&sector)?;
        }
        Ok(())
    }

    /// Closes one period's deadline of each of these sectors, in the protocol's order: faults,
    /// payments, rewards, terminations.
    pub(super) fn close_deadlines(&mut self, sectors: Vec<Sector>) -> Result<(), Stop> {
        let mut closing = Vec::with_capacity(sectors.len());
        for sector in sectors {
            closing.push(self.assess(sector)?);
        }
        for closed in &mut closing {
            self.settle_deals(closed)?;
        }
        for closed in closing.iter().filter(|closed| closed.proven) {
            self.reward(closed)?;
        }
        let most = self.parameters.faults_to_termination;
        for closed in closing {
            if closed.sector.faults >= most {
                self.end_sector(closed.sector, "its sector missed too many deadlines")?;
            } else {
                self.ledger.put_sector(&closed.sector)?;
                self.schedule_deadline(&closed.sector);
            }
        }
        Ok(())
    }

    /// Proven, or a fault with its fee.
    fn assess(&mut self, mut sector: Sector) -> Result<Closing, Stop> {
        let period = sector.next;
        let proven = sector.proven == Some(period);
        let mut provider = self.ledger.provider(sector.id.provider)?;
        if proven {
            sector.faults.0 = 0;
            provider.record.proven = provider.record.proven.saturating_add(1);
        } else {
            let economy = &self.parameters.economy;
            let declared = sector.status == (SectorStatus::Faulty { recovering: false });
            let rate = if declared {
                economy.fault_fee_per_gib
            } else {
                add(economy.fault_fee_per_gib, economy.missed_fee_per_gib)?
            };
            let fee = quote::per_gib(rate, ByteCount(sector.class.bytes()))?.min(sector.locked);
            provider.forfeit(fee)?;
            self.ledger.burn(fee)?;
            sector.locked = take(sector.locked, fee, "a sector's collateral")?;
            sector.faults.0 = sector.faults.0.saturating_add(1);
            sector.status = SectorStatus::Faulty { recovering: false };
            provider.record.missed = provider.record.missed.saturating_add(1);
        }
        self.ledger.put_provider(&provider)?;
        if sector
            .window
            .as_ref()
            .is_some_and(|window| window.period <= period)
        {
            sector.window = None;
        }
        sector.next = Period(period.0.saturating_add(1));
        Ok(Closing {
            sector,
            period,
            proven,
            deal_bytes: 0,
            burnt: Amount::ZERO,
        })
    }

    /// Pays the sector's deals for the period, or gives the period's price back.
    fn settle_deals(&mut self, closing: &mut Closing) -> Result<(), Stop> {
        let here = closing.sector.id;
        for id in closing.sector.deals() {
            let mut deal = self.ledger.deal(&id)?;
            let DealStatus::Proven { sector, from } = deal.status else {
                continue;
            };
            if (deal.provider, sector) != (here.provider, here.number) || from > closing.period {
                continue;
            }
            let price = deal.per_period;
            deal.escrow = take(deal.escrow, price, "a deal's escrow")?;
            if closing.proven {
                let burnt = self.burnt_share(price)?;
                let paid = take(price, burnt, "a payment")?;
                let mut provider = self.ledger.provider(deal.provider)?;
                provider.record.paid = add(provider.record.paid, paid)?;
                self.ledger.put_provider(&provider)?;
                self.ledger.credit(&provider.owner, paid)?;
                self.ledger.burn(burnt)?;
                deal.paid.0 = deal.paid.0.saturating_add(1);
                closing.burnt = add(closing.burnt, burnt)?;
                closing.deal_bytes = closing.deal_bytes.saturating_add(deal.length.0);
            } else {
                self.ledger.credit(&deal.owner, price)?;
                deal.refunded.0 = deal.refunded.0.saturating_add(1);
            }
            if deal.settled() >= deal.term {
                self.finish_deal(&id, deal, DealStatus::Expired)?;
            } else {
                self.ledger.put_deal(&id, &deal)?;
            }
        }
        Ok(())
    }

    /// Rounded up: against the provider, who gains.
    fn burnt_share(&self, price: Amount) -> Result<Amount, Stop> {
        let share = u128::from(self.parameters.economy.burn_thousandths);
        let product = price.0.checked_mul(share).ok_or(Refusal::Overflow)?;
        Ok(Amount(product.div_ceil(1000)))
    }

    /// Mints for proven capacity, and more for bytes under deals, up to what their price burnt.
    fn reward(&mut self, closing: &Closing) -> Result<(), Stop> {
        let economy = &self.parameters.economy;
        let now = schedule::period_of(&self.parameters, self.height);
        let size = u128::from(closing.sector.class.bytes());
        let all = u128::from(self.ledger.chain.capacity.0).max(1);
        let pool = declined(economy.reward_per_period, economy.reward_halving, now);
        let chain = &mut self.ledger.chain;
        if chain.reward_period < now {
            chain.reward_period = now;
            chain.rewarded = Amount::ZERO;
        }
        let share = Amount(pool.0.checked_mul(size).ok_or(Refusal::Overflow)? / all);
        let cap = quote::per_gib_floor(
            economy.reward_cap_per_gib,
            ByteCount(closing.sector.class.bytes()),
        )?;
        let base = share.min(cap).min(pool.saturating_sub(chain.rewarded));
        chain.rewarded = add(chain.rewarded, base)?;
        let extra = u128::from(economy.deal_weight_tenths.saturating_sub(10));
        let bonus = base
            .0
            .checked_mul(extra)
            .and_then(|product| product.checked_mul(u128::from(closing.deal_bytes)))
            .ok_or(Refusal::Overflow)?
            / size.saturating_mul(10).max(1);
        let reward = add(base, Amount(bonus).min(closing.burnt))?;
        if reward == Amount::ZERO {
            return Ok(());
        }
        let due = Period(now.0.saturating_add(economy.vesting.0));
        self.ledger.mint(reward)?;
        let mut provider = self.ledger.provider(closing.sector.id.provider)?;
        provider.record.rewarded = add(provider.record.rewarded, reward)?;
        match provider.vesting.last_mut() {
            Some(last) if last.due == due => last.amount = add(last.amount, reward)?,
            _ => {
                provider.vesting.push(Vesting {
                    due,
                    amount: reward,
                });
                let at = schedule::period_start(&self.parameters, due);
                self.schedule(Due::Vesting(provider.id), at);
            }
        }
        self.ledger.put_provider(&provider)
    }
}

/// What of a first reward may be minted in a period: halves after each `halving` periods.
pub(super) fn declined(first: Amount, halving: Periods, period: Period) -> Amount {
    let halvings = u32::try_from(period.0 / halving.0.max(1)).unwrap_or(u32::MAX);
    Amount(first.0.checked_shr(halvings).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewards_halve_and_end() {
        let reward = |period| declined(Amount(100), Periods(10), Period(period));
        assert_eq!(reward(0), Amount(100));
        assert_eq!(reward(9), Amount(100));
        assert_eq!(reward(10), Amount(50));
        assert_eq!(reward(69), Amount(1));
        assert_eq!(reward(70), Amount(0));
        assert_eq!(reward(u64::MAX), Amount(0));
    }
}
