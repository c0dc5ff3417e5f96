//! Providers: registration, offer, collateral.

use super::Context;
use crate::ledger::{add, take};
use crate::message::ProviderOffer;
use crate::refusal::{Refusal, Stop, require, require_range};
use crate::schedule;
use crate::state::{PastWorker, Provider, ProviderRecord};
use crate::units::{Address, Amount, Blocks, ProviderId, SectorNumber};
use crate::view::ReadView;

/// Bytes of a provider's end point, at most.
pub const MAX_ENDPOINT_BYTES: usize = 128;
/// The most that reading a GiB may cost: no product of it leaves the numbers.
const MAX_READ_PRICE: Amount = Amount(1 << 80);
/// Workers that a provider had before and still answers for, at most.
const MAX_PAST_WORKERS: usize = 16;

impl<V: ReadView> Context<'_, V> {
    /// The provider, where the sender is its worker.
    pub(super) fn by_worker(&self, id: ProviderId, sender: &Address) -> Result<Provider, Stop> {
        let provider = self.ledger.provider(id)?;
        require(provider.worker == *sender, || Refusal::NotWorker(id))?;
        Ok(provider)
    }

    fn by_owner(&self, id: ProviderId, sender: &Address) -> Result<Provider, Stop> {
        let provider = self.ledger.provider(id)?;
        require(provider.owner == *sender, || {
            Refusal::NotOwner(format!("provider {id}"))
        })?;
        Ok(provider)
    }

    pub(super) fn register_provider(
        &mut self,
        owner: &Address,
        worker: &Address,
        offer: &ProviderOffer,
        collateral: Amount,
    ) -> Result<(), Stop> {
        check_offer(offer)?;
        self.require_price(offer.price)?;
        let least = self.parameters.economy.minimum_collateral;
        require(collateral >= least, || Refusal::Collateral {
            have: collateral,
            need: least,
            missing: least.saturating_sub(collateral),
        })?;
        self.ledger.debit(owner, collateral)?;
        let id = self.ledger.chain.next_provider;
        self.ledger.chain.next_provider = ProviderId(id.0.checked_add(1).ok_or(Refusal::Overflow)?);
        self.ledger.put_provider(&Provider {
            id,
            owner: *owner,
            worker: *worker,
            offer: offer.clone(),
            collateral,
            locked: Amount::ZERO,
            vesting: Vec::new(),
            since: self.height,
            next_sector: SectorNumber(0),
            retiring: None,
            record: ProviderRecord::default(),
        })
    }

    pub(super) fn update_provider(
        &mut self,
        sender: &Address,
        id: ProviderId,
        worker: &Address,
        offer: &ProviderOffer,
    ) -> Result<(), Stop> {
        check_offer(offer)?;
        self.require_price(offer.price)?;
        let mut provider = self.by_owner(id, sender)?;
        if provider.worker != *worker {
            self.remember_worker(id, &provider.worker)?;
        }
        provider.worker = *worker;
        provider.offer = offer.clone();
        self.ledger.put_provider(&provider)
    }

    /// A receipt is owed whoever the worker is by the time it is funded: otherwise a change of the
    /// worker would undo every promise that waits for its deal set.
    fn remember_worker(&mut self, id: ProviderId, worker: &Address) -> Result<(), Stop> {
        let parameters = &self.parameters;
        let mut past = self.ledger.past_workers(id)?;
        past.retain(|past| self.height <= schedule::past_worker_forgotten(parameters, past.until));
        // Whoever served only inside this block was never seen by a client.
        if past.last().is_some_and(|last| last.until == self.height) {
            return Ok(());
        }
        if let Some(oldest) = past.first()
            && past.len() >= MAX_PAST_WORKERS
        {
            return Err(Refusal::TooEarly {
                what: "another change of the worker",
                first: schedule::past_worker_forgotten(parameters, oldest.until).after(Blocks(1)),
                height: self.height,
            }
            .into());
        }
        past.push(PastWorker {
            worker: *worker,
            until: self.height,
        });
        self.ledger.put_past_workers(id, &past)
    }

    pub(super) fn add_collateral(
        &mut self,
        sender: &Address,
        id: ProviderId,
        amount: Amount,
    ) -> Result<(), Stop> {
        require(amount != Amount::ZERO, || Refusal::Empty("the amount"))?;
        let mut provider = self.by_owner(id, sender)?;
        self.ledger.debit(sender, amount)?;
        provider.collateral = add(provider.collateral, amount)?;
        self.ledger.put_provider(&provider)
    }

    /// The provider leaves: its offer stands no longer. What it has promised binds it, so its sectors
    /// end one by one as they come to hold nothing.
    pub(super) fn retire(&mut self, sender: &Address, id: ProviderId) -> Result<(), Stop> {
        let mut provider = self.by_owner(id, sender)?;
        require(provider.retiring.is_none(), || Refusal::State {
            what: format!("provider {id}"),
            found: "retiring",
            needed: "not retiring",
        })?;
        provider.retiring = Some(self.height);
        self.ledger.put_provider(&provider)
    }

    /// Receipts of before a retirement are funded in time or never: afterwards nothing would answer
    /// for them.
    pub(super) fn require_fundable(&self, provider: &Provider) -> Result<(), Stop> {
        let Some(retiring) = provider.retiring else {
            return Ok(());
        };
        let last = schedule::last_funding(&self.parameters, retiring);
        require(self.height <= last, || Refusal::TooLate {
            what: "the funding of a receipt of a provider that retires",
            last,
            height: self.height,
        })
    }

    /// What vests counts as collateral but cannot be withdrawn, and the least collateral stays:
    /// it answers for receipts whose deals were never accepted. Once no receipt of a provider that
    /// retires can be claimed any more, it is free too.
    pub(super) fn withdraw_collateral(
        &mut self,
        sender: &Address,
        id: ProviderId,
        amount: Amount,
    ) -> Result<(), Stop> {
        require(amount != Amount::ZERO, || Refusal::Empty("the amount"))?;
        let mut provider = self.by_owner(id, sender)?;
        let parameters = &self.parameters;
        let answered = provider
            .retiring
            .is_some_and(|since| self.height > schedule::past_worker_forgotten(parameters, since));
        let least = match answered {
            true => Amount::ZERO,
            false => parameters.economy.minimum_collateral,
        };
        let free = provider
            .free()?
            .min(provider.collateral.saturating_sub(least));
        require(free >= amount, || Refusal::Collateral {
            have: free,
            need: amount,
            missing: amount.saturating_sub(free),
        })?;
        provider.collateral = take(provider.collateral, amount, "collateral")?;
        self.ledger.put_provider(&provider)?;
        self.ledger.credit(sender, amount)
    }

    /// Gives the owner what has vested, except what is locked and nothing else covers.
    pub(super) fn release_vesting(&mut self, id: ProviderId) -> Result<(), Stop> {
        let mut provider = self.ledger.provider(id)?;
        let now = crate::schedule::period_of(&self.parameters, self.height);
        let mut due = Amount::ZERO;
        let mut left = Vec::new();
        for vesting in std::mem::take(&mut provider.vesting) {
            if vesting.due <= now {
                due = add(due, vesting.amount)?;
            } else {
                left.push(vesting);
            }
        }
        provider.vesting = left;
        let kept = provider.locked.saturating_sub(provider.holds()?).min(due);
        provider.collateral = add(provider.collateral, kept)?;
        self.ledger.put_provider(&provider)?;
        self.ledger
            .credit(&provider.owner, take(due, kept, "vesting")?)
    }
}

fn check_offer(offer: &ProviderOffer) -> Result<(), Stop> {
    let length = offer.endpoint.len() as u64;
    require_range(
        "the end point's length",
        length,
        1,
        MAX_ENDPOINT_BYTES as u64,
    )?;
    require(offer.endpoint.chars().all(|c| c.is_ascii_graphic()), || {
        Refusal::Malformed {
            what: "the end point",
            why: "it is `host:port` in printable ASCII".into(),
        }
    })?;
    require(offer.read_price <= MAX_READ_PRICE, || Refusal::Malformed {
        what: "the price of reading",
        why: format!("it is at most {MAX_READ_PRICE} for a GiB"),
    })
}
